/*
 * The first byte chooses the format, the others are the text. Lines and columns are within the text, what an entry
 * points to is readable to its end, and each line gives at most one entry.
 */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "codec/exposition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned touched; /* so that reading is not optimised away */

/* Reads every byte, so that the address sanitizer sees what is not there. */
static unsigned touch(struct ap_slice text)
{
    unsigned sum = 0;
    for (size_t i = 0; i < text.bytes; i++)
        sum += (uint8_t)text.data[i];
    return sum;
}

static unsigned touch_labels(const struct exposition_label *labels, size_t count)
{
    unsigned sum = 0;
    AP_ASSERT(count <= EXPOSITION_LABELS_MAX);
    for (size_t i = 0; i < count; i++)
        sum += touch(labels[i].name) + touch(labels[i].value);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    AP_AUTO(exposition) struct exposition *parser = exposition_new();
    struct exposition_entry entry;
    enum exposition_kind kind;
    size_t line = 0;
    unsigned sum = 0;
    exposition_begin(parser, data[0] & 1 ? EXPOSITION_OPENMETRICS : EXPOSITION_TEXT, ap_slice(data + 1, size - 1));
    while ((kind = exposition_next(parser, &entry)) != EXPOSITION_END) {
        AP_ASSERT(entry.line > line);
        line = entry.line;
        if (kind == EXPOSITION_BAD) {
            AP_ASSERT(entry.column >= 1 && entry.column <= size && entry.reason[0]);
            continue;
        }
        sum += touch(entry.name);
        if (kind == EXPOSITION_HELP || kind == EXPOSITION_UNIT)
            sum += touch(entry.text);
        else if (kind == EXPOSITION_TYPE)
            AP_ASSERT(entry.type < EXPOSITION_TYPE_COUNT);
        else
            sum += touch_labels(entry.labels, entry.label_count);
        if (kind == EXPOSITION_SAMPLE && entry.has_exemplar)
            sum += touch_labels(entry.exemplar.labels, entry.exemplar.label_count);
    }
    touched = sum;
    return 0;
}
