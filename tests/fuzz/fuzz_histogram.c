/* Any bytes as a histogram sample. What decodes is encoded to the same bytes or to shorter ones, and then for good. */
#include "base/arena.h"
#include "base/assert.h"
#include "tsdb/histogram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct ap_arena arena;
    struct histogram histogram;
    struct histogram again;
    struct ap_err err;
    ap_arena_init(&arena, 64 << 20);
    if (histogram_decode(ap_slice(data, bytes), &arena, &histogram, &err) == AP_OK) {
        struct ap_buf first = {0};
        struct ap_buf second = {0};
        histogram_encode(&histogram, &first);
        AP_ASSERT(histogram_decode(ap_buf_slice(&first), &arena, &again, &err) == AP_OK);
        histogram_encode(&again, &second);
        AP_ASSERT(ap_slice_equal(ap_buf_slice(&first), ap_buf_slice(&second)));
        (void)histogram_check(&histogram, &err);
        histogram.schema = HISTOGRAM_SCHEMA_WIRE_MAX;
        if (histogram_reduce(&histogram, &arena, &err) == AP_OK)
            AP_ASSERT(histogram.schema == HISTOGRAM_SCHEMA_MAX);
        ap_buf_clear(&first);
        ap_buf_clear(&second);
    }
    ap_arena_clear(&arena);
    return 0;
}
