#include "promql/float_histogram.h"

#include <math.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "promql/float_bucket.h"
#include "promql/float_layout.h"
#include "promql/float_text.h"

/* ---- From and to samples ---- */

static struct float_buckets read_buckets(const struct histogram_buckets *from, bool is_float, struct ap_arena *arena)
{
    struct float_buckets buckets = float_buckets_make(arena, from->count);
    int64_t index = 0;
    size_t at = 0;
    for (size_t i = 0; i < from->span_count; i++) {
        index += from->spans[i].offset;
        for (uint32_t j = 0; j < from->spans[i].length; j++, at++, index++) {
            double value = is_float ? from->values[at] : (double)from->counts[at];
            if (value != 0)
                float_buckets_push(&buckets, (int32_t)index, value);
        }
    }
    return buckets;
}

enum ap_rc float_histogram_decode(struct ap_slice blob, struct ap_arena *arena, struct float_histogram **ret_histogram,
                                  struct ap_err *err)
{
    struct histogram from;
    *ret_histogram = NULL;
    enum ap_rc rc = histogram_decode(blob, arena, &from, err);
    if (rc != AP_OK || histogram_is_stale(&from))
        return rc;
    struct float_histogram *histogram = ap_arena_try_alloc(arena, sizeof(*histogram));
    if (!histogram)
        return ap_fail(err, AP_E_NOMEM, "no memory for a histogram");
    *histogram = (struct float_histogram){
        .schema = from.schema,
        .reset_hint = from.reset_hint,
        .zero_threshold = from.zero_threshold,
        .zero_count = from.is_float ? from.zero_value : (double)from.zero_count,
        .count = from.is_float ? from.count_value : (double)from.count,
        .sum = from.sum,
        .positive = read_buckets(&from.positive, from.is_float, arena),
        .negative = read_buckets(&from.negative, from.is_float, arena),
        .bounds = from.custom_values,
        .bound_count = (uint32_t)from.custom_value_count,
    };
    *ret_histogram = histogram;
    return AP_OK;
}

static struct histogram_buckets write_buckets(const struct float_buckets *from, struct ap_arena *scratch)
{
    struct histogram_span *spans = ap_arena_alloc0(scratch, (from->count + 1) * sizeof(*spans));
    struct histogram_buckets buckets = {.spans = spans, .values = from->values, .count = from->count};
    int32_t next = 0;
    for (uint32_t i = 0; i < from->count; i++) {
        if (buckets.span_count == 0 || from->indexes[i] != next)
            spans[buckets.span_count++].offset = from->indexes[i] - next;
        spans[buckets.span_count - 1].length++;
        next = from->indexes[i] + 1;
    }
    return buckets;
}

void float_histogram_encode(const struct float_histogram *histogram, struct ap_arena *scratch, struct ap_buf *out)
{
    struct histogram to = {
        .schema = histogram->schema,
        .is_float = true,
        .reset_hint = histogram->reset_hint,
        .zero_threshold = histogram->zero_threshold,
        .zero_value = histogram->zero_count,
        .count_value = histogram->count,
        .sum = histogram->sum,
        .positive = write_buckets(&histogram->positive, scratch),
        .negative = write_buckets(&histogram->negative, scratch),
        .custom_values = histogram->bounds,
        .custom_value_count = histogram->bound_count,
    };
    histogram_encode(&to, out);
}

static uint64_t bytes_of(const struct float_buckets *buckets)
{
    enum { SPAN_BYTES = 8 };
    uint64_t spans = buckets->count > 0;
    for (uint32_t i = 1; i < buckets->count; i++)
        spans += buckets->indexes[i] != buckets->indexes[i - 1] + 1;
    return spans * SPAN_BYTES + buckets->count * sizeof(double);
}

uint64_t float_histogram_samples(const struct float_histogram *histogram)
{
    enum { TIME_BYTES = 8, HISTOGRAM_BYTES = 168, SAMPLE_BYTES = 16 };
    uint64_t bytes = TIME_BYTES + HISTOGRAM_BYTES + bytes_of(&histogram->positive) + bytes_of(&histogram->negative) +
                     histogram->bound_count * sizeof(double);
    return bytes / SAMPLE_BYTES;
}

struct float_histogram *float_histogram_copy(const struct float_histogram *histogram, struct ap_arena *arena)
{
    struct float_histogram *copy = ap_arena_alloc0(arena, sizeof(*copy));
    *copy = *histogram;
    copy->positive = float_buckets_copy(&histogram->positive, arena);
    copy->negative = float_buckets_copy(&histogram->negative, arena);
    if (histogram->bound_count) {
        double *bounds = ap_arena_alloc0(arena, histogram->bound_count * sizeof(*bounds));
        memcpy(bounds, histogram->bounds, histogram->bound_count * sizeof(*bounds));
        copy->bounds = bounds;
    }
    return copy;
}

/* ---- Arithmetic ---- */

void float_histogram_multiply(struct float_histogram *histogram, double factor)
{
    histogram->zero_count *= factor;
    histogram->count *= factor;
    histogram->sum *= factor;
    float_buckets_multiply(&histogram->positive, factor);
    float_buckets_multiply(&histogram->negative, factor);
    if (factor < 0)
        histogram->reset_hint = HISTOGRAM_RESET_GAUGE;
}

void float_histogram_divide(struct float_histogram *histogram, double divisor)
{
    histogram->zero_count /= divisor;
    histogram->count /= divisor;
    histogram->sum /= divisor;
    float_buckets_divide(&histogram->positive, divisor);
    float_buckets_divide(&histogram->negative, divisor);
    if (divisor == 0)
        histogram->positive.count = histogram->negative.count = 0;
    if (divisor < 0)
        histogram->reset_hint = HISTOGRAM_RESET_GAUGE;
}

void float_histogram_compact(struct float_histogram *histogram)
{
    float_buckets_compact(&histogram->positive);
    float_buckets_compact(&histogram->negative);
}

enum histogram_reset_hint float_histogram_join_hints(enum histogram_reset_hint a, enum histogram_reset_hint b,
                                                     struct float_histogram_notes *notes)
{
    if (a == b)
        return a;
    if (a == HISTOGRAM_RESET_GAUGE || b == HISTOGRAM_RESET_GAUGE)
        return HISTOGRAM_RESET_GAUGE;
    notes->is_reset_colliding |= a != HISTOGRAM_RESET_UNKNOWN && b != HISTOGRAM_RESET_UNKNOWN;
    return HISTOGRAM_RESET_UNKNOWN;
}

static bool add(struct float_histogram *histogram, const struct float_histogram *other, double sign,
                struct ap_arena *arena, struct float_histogram_notes *notes)
{
    if (float_histogram_is_custom(histogram) != float_histogram_is_custom(other))
        return false;
    histogram->reset_hint = float_histogram_join_hints(histogram->reset_hint, other->reset_hint, notes);
    if (!float_layout_is_same(histogram, other)) {
        struct float_histogram *copy = float_histogram_copy(other, arena);
        float_layout_align(histogram, copy, arena, notes);
        other = copy;
    }
    histogram->zero_count += sign * other->zero_count;
    histogram->count += sign * other->count;
    histogram->sum += sign * other->sum;
    float_buckets_add(&histogram->positive, &other->positive, sign, arena);
    float_buckets_add(&histogram->negative, &other->negative, sign, arena);
    return true;
}

bool float_histogram_add(struct float_histogram *histogram, const struct float_histogram *other, struct ap_arena *arena,
                         struct float_histogram_notes *notes)
{
    return add(histogram, other, 1, arena, notes);
}

bool float_histogram_subtract(struct float_histogram *histogram, const struct float_histogram *other,
                              struct ap_arena *arena, struct float_histogram_notes *notes)
{
    return add(histogram, other, -1, arena, notes);
}

struct float_histogram *float_histogram_interpolate(const struct float_histogram *before, int64_t before_ms,
                                                    const struct float_histogram *after, int64_t after_ms,
                                                    int64_t at_ms, bool is_counter, struct ap_arena *arena,
                                                    struct float_histogram_notes notes[2])
{
    if (at_ms == before_ms || at_ms == after_ms)
        return float_histogram_copy(at_ms == before_ms ? before : after, arena);
    double share = (double)(at_ms - before_ms) / (double)(after_ms - before_ms);
    struct float_histogram *result = float_histogram_copy(after, arena);
    if (is_counter && float_histogram_is_reset(after, before, arena)) {
        float_histogram_multiply(result, share);
        return result;
    }
    if (!float_histogram_subtract(result, before, arena, &notes[0]))
        return NULL;
    float_histogram_multiply(result, share);
    return float_histogram_add(result, before, arena, &notes[1]) ? result : NULL;
}

/* ---- Comparisons ---- */

static bool is_same(double a, double b)
{
    return ap_double_to_bits(a) == ap_double_to_bits(b);
}

bool float_histogram_equal(const struct float_histogram *a, const struct float_histogram *b)
{
    bool is_sum_equal = is_same(a->sum, b->sum) || (isnan(a->sum) && isnan(b->sum));
    if (!is_sum_equal || !is_same(a->count, b->count) || a->schema != b->schema)
        return false;
    if (float_histogram_is_custom(a) ? !float_layout_has_same_bounds(a, b)
                                     : a->zero_threshold != b->zero_threshold || !is_same(a->zero_count, b->zero_count))
        return false;
    return float_buckets_equal(&a->positive, &b->positive) && float_buckets_equal(&a->negative, &b->negative);
}

static bool has_fallen(const struct float_histogram *now, const struct float_histogram *before)
{
    return now->zero_count < before->zero_count || float_buckets_have_fallen(&now->positive, &before->positive) ||
           float_buckets_have_fallen(&now->negative, &before->negative);
}

bool float_histogram_is_reset(const struct float_histogram *histogram, const struct float_histogram *previous,
                              struct ap_arena *scratch)
{
    if (histogram->reset_hint == HISTOGRAM_RESET_YES || histogram->reset_hint == HISTOGRAM_RESET_NO)
        return histogram->reset_hint == HISTOGRAM_RESET_YES;
    if (histogram->count < previous->count ||
        float_histogram_is_custom(histogram) != float_histogram_is_custom(previous))
        return true;
    if (float_layout_is_same(histogram, previous))
        return has_fallen(histogram, previous);
    if (!float_layout_is_successor(histogram, previous))
        return true;
    struct float_histogram *now = float_histogram_copy(histogram, scratch);
    struct float_histogram *before = float_histogram_copy(previous, scratch);
    struct float_histogram_notes notes;
    float_layout_align(now, before, scratch, &notes);
    return has_fallen(now, before);
}

bool float_histogram_has_overflow(const struct float_histogram *histogram)
{
    return isinf(histogram->count) || isinf(histogram->sum) || isinf(histogram->zero_count) ||
           float_buckets_have_infinite(&histogram->positive) || float_buckets_have_infinite(&histogram->negative);
}

/* ---- Text ---- */

static void print_number(double value, struct ap_buf *out)
{
    struct float_text text = go_float(value);
    ap_buf_add_cstr(out, text.text);
}

void float_histogram_print(const struct float_histogram *histogram, struct ap_buf *out)
{
    ap_buf_add_cstr(out, "{count:");
    print_number(histogram->count, out);
    ap_buf_add_cstr(out, ", sum:");
    print_number(histogram->sum, out);
    struct float_bucket_cursor cursor = {.histogram = histogram, .is_whole = true};
    struct float_bucket bucket;
    while (float_bucket_next(&cursor, &bucket)) {
        if (bucket.count == 0)
            continue;
        ap_buf_add_cstr(out, bucket.has_lower ? ", [" : ", (");
        print_number(bucket.lower, out);
        ap_buf_add_char(out, ',');
        print_number(bucket.upper, out);
        ap_buf_add_cstr(out, bucket.has_upper ? "]:" : "):");
        print_number(bucket.count, out);
    }
    ap_buf_add_char(out, '}');
}
