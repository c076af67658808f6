/*
 * The first byte chooses: alerts or a silence that somebody posts. Whatever comes: labels of alerts are canonical, and
 * what is wrong is told.
 */
#include <stdint.h>

#include "api/alert_body.h"
#include "base/assert.h"
#include "tsdb/labels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_alerts(struct ap_slice text, struct ap_arena *arena)
{
    struct alert_body body;
    struct ap_err err = {0};
    enum ap_rc rc = alert_body_read(text, arena, &body, &err);
    AP_ASSERT(rc == AP_OK || ((rc == AP_E_PARSE || rc == AP_E_LIMIT) && err.text[0]));
    for (size_t i = 0; i < body.count; i++) {
        const struct alert_in *alert = &body.alerts[i];
        struct ap_slice annotations = alert->annotations;
        struct label label, before = {0};
        AP_ASSERT(labels_check(alert->labels, &err) == AP_OK);
        AP_ASSERT(!alert->starts_ms || !alert->ends_ms || alert->starts_ms <= alert->ends_ms);
        for (; labels_next(&annotations, &label); before = label)
            AP_ASSERT(!before.name.data || !ap_slice_equal(before.name, label.name));
        AP_ASSERT(annotations.bytes == 0);
    }
    alert_body_clear(&body);
}

static void check_silence(struct ap_slice text, struct ap_arena *arena)
{
    struct silence_body body;
    struct ap_err err = {0};
    enum ap_rc rc = silence_body_read(text, arena, INT64_C(1796029200000), &body, &err);
    AP_ASSERT(rc == AP_OK || ((rc == AP_E_PARSE || rc == AP_E_LIMIT || rc == AP_E_NOT_FOUND) && err.text[0]));
    AP_ASSERT(rc != AP_OK || body.silence.starts_ms < body.silence.ends_ms);
    matchers_clear(&body.matchers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ap_arena arena;
    if (size == 0)
        return 0;
    ap_arena_init(&arena, 0);
    struct ap_slice text = ap_slice((const char *)data + 1, size - 1);
    if (data[0] == 's')
        check_silence(text, &arena);
    else
        check_alerts(text, &arena);
    ap_arena_clear(&arena);
    return 0;
}
