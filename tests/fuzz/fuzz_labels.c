/* Any bytes as labels: what passes the check is canonical, so that encoding its labels gives the same bytes again. */
#include <stdint.h>

#include "base/assert.h"
#include "base/buf.h"
#include "tsdb/labels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ap_slice labels = ap_slice(data, size);
    struct ap_slice rest = labels;
    struct label all[LABELS_COUNT_MAX];
    size_t count = 0;
    struct ap_err err = {0};
    while (count < LABELS_COUNT_MAX && labels_next(&rest, &all[count]))
        count++;
    enum ap_rc checked = labels_check(labels, &err);
    AP_ASSERT(checked == AP_OK || err.text[0] != '\0');

    AP_AUTO_BUF struct ap_buf encoded = {0};
    enum ap_rc rc = labels_encode(all, count, &encoded, &err);
    if (checked == AP_OK) {
        AP_ASSERT(rc == AP_OK && ap_slice_equal(ap_buf_slice(&encoded), labels));
        AP_ASSERT(labels_compare(labels, ap_buf_slice(&encoded)) == 0 && labels_count(labels) == count);
    }
    if (rc == AP_OK) {
        AP_ASSERT(labels_check(ap_buf_slice(&encoded), &err) == AP_OK);
        AP_AUTO_BUF struct ap_buf shown = {0};
        labels_format(ap_buf_slice(&encoded), &shown);
        AP_ASSERT(ap_utf8_valid_bytes(ap_buf_slice(&shown)) == shown.bytes);
        for (size_t i = 0; i < count; i++)
            if (all[i].value.bytes)
                AP_ASSERT(ap_slice_equal(labels_get(ap_buf_slice(&encoded), all[i].name), all[i].value));
    } else {
        AP_ASSERT(encoded.bytes == 0);
    }
    return 0;
}
