/* Any bytes as a question to a server that takes in an import, and as an answer to each kind of question. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "history/handover.h"
#include "tsdb/labels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void read_question(struct ap_slice message)
{
    struct handover_question question;
    struct batch batch = {0};
    struct ap_err err;
    if (handover_decode_question(message, &question, &err) == AP_OK && question.kind == HANDOVER_EXTRAS &&
        handover_decode_batch(question.batch_encoding, &batch, &err) == AP_OK)
        for (size_t i = 0; i < batch.series_count; i++)
            AP_ASSERT(labels_check(batch.series[i].labels, &err) == AP_OK);
    batch_clear(&batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct handover_answer answer;
    struct ap_err err;
    char *exact = malloc(bytes + 1); /* of just this size, so that reading beyond it shows */
    if (bytes)
        memcpy(exact, data, bytes);
    exact = realloc(exact, bytes ? bytes : 1);
    read_question(ap_slice(exact, bytes));
    for (int kind = 0; kind < HANDOVER_KIND_COUNT; kind++)
        if (handover_decode_answer((enum handover_kind)kind, ap_slice(exact, bytes), &answer, &err) == AP_OK)
            AP_ASSERT(answer.err.rc < AP_RC_COUNT);
    free(exact);
    return 0;
}
