#include "api/histogram_json.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>

#include "api/prometheus.h"
#include "base/arena.h"
#include "base/mem.h"
#include "tsdb/histogram.h"

enum { ARENA_BYTES_MAX = 8 << 20 };

struct writing {
    struct ap_buf *out;
    const struct histogram *histogram;
    const char *separator;
};

/* The last bucket of finite values ends at the largest double; the one behind it at infinity. */
static double power_of_two(double fraction, int64_t exponent)
{
    if (exponent >= 1024)
        return exponent == 1024 && fraction == 1 ? DBL_MAX : INFINITY;
    return ldexp(fraction, (int)AP_MAX(exponent, (int64_t)-1100));
}

/*
 * Upper bound of bucket `index` of an exponential schema: 2^(index * 2^-schema). The fraction of the exponent is taken
 * apart first, so that powers of two come out exactly.
 */
static double exponential_bound(int32_t schema, int64_t index)
{
    if (schema <= 0) {
        int64_t exponent = index * ((int64_t)1 << -schema);
        return power_of_two(1, exponent);
    }
    int64_t steps = (int64_t)1 << schema;
    int64_t whole = index / steps - (index % steps < 0);
    int64_t part = index - whole * steps;
    return power_of_two(exp2((double)part / (double)steps), whole);
}

static double bound(const struct histogram *histogram, int64_t index)
{
    if (histogram->schema != HISTOGRAM_SCHEMA_CUSTOM)
        return exponential_bound(histogram->schema, index);
    if (index < 0)
        return -INFINITY;
    return (uint64_t)index < histogram->custom_value_count ? histogram->custom_values[index] : INFINITY;
}

static void add_bucket(struct writing *writing, int rule, double left, double right, double count)
{
    struct ap_buf *out = writing->out;
    if (count == 0)
        return;
    ap_buf_printf(out, "%s[%d,\"", writing->separator, rule);
    prometheus_add_value(out, left);
    ap_buf_add_cstr(out, "\",\"");
    prometheus_add_value(out, right);
    ap_buf_add_cstr(out, "\",\"");
    prometheus_add_value(out, count);
    ap_buf_add_cstr(out, "\"]");
    writing->separator = ",";
}

/* Where every bucket of a sign is: calls for each, in order or backwards. */
static void add_buckets(struct writing *writing, const struct histogram_buckets *buckets, bool is_negative)
{
    const struct histogram *histogram = writing->histogram;
    bool is_custom = histogram->schema == HISTOGRAM_SCHEMA_CUSTOM;
    size_t at = is_negative ? buckets->count : 0;
    int64_t end_index = 0; /* behind the last span */
    for (size_t i = 0; i < buckets->span_count; i++)
        end_index += buckets->spans[i].offset + (int64_t)buckets->spans[i].length;
    int64_t index = is_negative ? end_index : 0;
    for (size_t i = 0; i < buckets->span_count; i++) {
        const struct histogram_span *span = &buckets->spans[is_negative ? buckets->span_count - 1 - i : i];
        if (!is_negative)
            index += span->offset;
        for (uint32_t j = 0; j < span->length; j++) {
            if (is_negative) {
                at--;
                index--;
            }
            double count = histogram->is_float ? buckets->values[at] : (double)buckets->counts[at];
            double low = bound(histogram, index - 1), high = bound(histogram, index);
            if (is_negative)
                add_bucket(writing, 1, -high, -low, count);
            else
                add_bucket(writing, is_custom && index == 0 ? 3 : 0, low, high, count);
            if (!is_negative) {
                at++;
                index++;
            }
        }
        if (is_negative)
            index -= span->offset;
    }
}

enum ap_rc histogram_json_add(struct ap_buf *out, struct ap_slice blob, struct ap_err *err)
{
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, ARENA_BYTES_MAX);
    struct histogram histogram;
    enum ap_rc rc = histogram_decode(blob, &arena, &histogram, err);
    if (rc != AP_OK)
        return rc;
    ap_buf_add_cstr(out, "{\"count\":\"");
    if (histogram.is_float)
        prometheus_add_value(out, histogram.count_value);
    else
        ap_buf_printf(out, "%" PRIu64, histogram.count);
    ap_buf_add_cstr(out, "\",\"sum\":\"");
    prometheus_add_value(out, histogram.sum);
    ap_buf_add_char(out, '"');
    struct writing writing = {.out = out, .histogram = &histogram, .separator = ",\"buckets\":["};
    add_buckets(&writing, &histogram.negative, true);
    add_bucket(&writing, 3, -histogram.zero_threshold, histogram.zero_threshold,
               histogram.is_float ? histogram.zero_value : (double)histogram.zero_count);
    add_buckets(&writing, &histogram.positive, false);
    ap_buf_add_cstr(out, *writing.separator == ',' && writing.separator[1] == '\0' ? "]}" : "}");
    return AP_OK;
}
