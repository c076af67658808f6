/* Whether two histograms say the same, however their spans are cut. */
#include <string.h>

#include "base/bits.h"
#include "tsdb/histogram.h"

/* Goes through the buckets of one sign that are not 0. */
struct walk {
    const struct histogram_buckets *buckets;
    size_t span;
    uint32_t in_span;
    int64_t index; /* of the bucket that stands next, in its schema */
    size_t at;     /* and in the arrays */
    bool is_begun;
};

static uint64_t bits_at(const struct histogram_buckets *buckets, size_t at)
{
    return buckets->values ? ap_double_to_bits(buckets->values[at]) : buckets->counts[at];
}

static bool walk_next(struct walk *walk, int64_t *ret_index, uint64_t *ret_bits)
{
    const struct histogram_buckets *buckets = walk->buckets;
    while (walk->span < buckets->span_count && walk->at < buckets->count) {
        const struct histogram_span *span = &buckets->spans[walk->span];
        if (!walk->is_begun) {
            walk->index += span->offset;
            walk->is_begun = true;
        }
        if (walk->in_span == span->length) {
            walk->span++;
            walk->in_span = 0;
            walk->is_begun = false;
            continue;
        }
        *ret_index = walk->index++;
        *ret_bits = bits_at(buckets, walk->at++);
        walk->in_span++;
        if (*ret_bits)
            return true;
    }
    return false;
}

static bool are_same_buckets(const struct histogram_buckets *a, const struct histogram_buckets *b)
{
    struct walk x = {.buckets = a}, y = {.buckets = b};
    for (;;) {
        int64_t x_index = 0, y_index = 0;
        uint64_t x_bits = 0, y_bits = 0;
        bool has_x = walk_next(&x, &x_index, &x_bits), has_y = walk_next(&y, &y_index, &y_bits);
        if (!has_x || !has_y)
            return has_x == has_y;
        if (x_index != y_index || x_bits != y_bits)
            return false;
    }
}

bool histogram_says_same(const struct histogram *a, const struct histogram *b)
{
    bool is_gauge = a->reset_hint == HISTOGRAM_RESET_GAUGE;
    if (a->is_float != b->is_float || is_gauge != (b->reset_hint == HISTOGRAM_RESET_GAUGE) ||
        !ap_double_same(a->sum, b->sum))
        return false;
    if (histogram_is_stale(a))
        return true;
    bool is_same_count =
        a->is_float ? ap_double_same(a->count_value, b->count_value) && ap_double_same(a->zero_value, b->zero_value)
                    : a->count == b->count && a->zero_count == b->zero_count;
    return is_same_count && a->schema == b->schema && ap_double_same(a->zero_threshold, b->zero_threshold) &&
           a->custom_value_count == b->custom_value_count &&
           (a->custom_value_count == 0 ||
            memcmp(a->custom_values, b->custom_values, a->custom_value_count * sizeof(*a->custom_values)) == 0) &&
           are_same_buckets(&a->positive, &b->positive) && are_same_buckets(&a->negative, &b->negative);
}
