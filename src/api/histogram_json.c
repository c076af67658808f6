#include "api/histogram_json.h"

#include "api/prometheus.h"
#include "base/arena.h"
#include "base/mem.h"
#include "promql/float_bucket.h"

enum { ARENA_BYTES_MAX = 8 << 20 };

static void add_bucket(struct ap_buf *out, const struct float_bucket *bucket)
{
    int rule = bucket->has_lower ? (bucket->has_upper ? 3 : 1) : bucket->has_upper ? 0 : 2;
    ap_buf_add_char(out, '[');
    ap_buf_add_char(out, (char)('0' + rule));
    const double numbers[] = {bucket->lower, bucket->upper, bucket->count};
    for (size_t i = 0; i < AP_ARRAY_COUNT(numbers); i++) {
        ap_buf_add_cstr(out, ",\"");
        prometheus_add_value(out, numbers[i]);
        ap_buf_add_char(out, '"');
    }
    ap_buf_add_char(out, ']');
}

void histogram_json_add(struct ap_buf *out, const struct float_histogram *histogram)
{
    ap_buf_add_cstr(out, "{\"count\":\"");
    prometheus_add_value(out, histogram->count);
    ap_buf_add_cstr(out, "\",\"sum\":\"");
    prometheus_add_value(out, histogram->sum);
    ap_buf_add_char(out, '"');
    struct float_bucket_cursor cursor = {.histogram = histogram};
    struct float_bucket bucket;
    const char *separator = ",\"buckets\":[";
    while (float_bucket_next(&cursor, &bucket)) {
        if (bucket.count == 0)
            continue;
        ap_buf_add_cstr(out, separator);
        add_bucket(out, &bucket);
        separator = ",";
    }
    ap_buf_add_cstr(out, separator[1] == '\0' ? "]}" : "}");
}

enum ap_rc histogram_json_add_stored(struct ap_buf *out, struct ap_slice blob, struct ap_err *err)
{
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, ARENA_BYTES_MAX);
    struct float_histogram *histogram;
    enum ap_rc rc = float_histogram_decode(blob, &arena, &histogram, err);
    if (rc != AP_OK)
        return rc;
    if (histogram)
        histogram_json_add(out, histogram);
    else
        ap_buf_add_cstr(out, "{\"count\":\"0\",\"sum\":\"NaN\"}");
    return AP_OK;
}
