#include "promql/float_histogram_sum.h"

#include <math.h>

#include "promql/float_layout.h"
#include "promql/sums.h"

static bool kahan_add_histogram(struct float_histogram *sum, struct float_histogram *rest,
                                const struct float_histogram *other, struct ap_arena *arena,
                                struct float_histogram_notes *notes)
{
    if (float_histogram_is_custom(sum) != float_histogram_is_custom(other))
        return false;
    struct float_histogram_notes hints = {0};
    sum->reset_hint = float_histogram_join_hints(sum->reset_hint, other->reset_hint, &hints);
    if (!float_layout_is_same(sum, other)) {
        struct float_histogram *copy = float_histogram_copy(other, arena);
        float_layout_align(sum, copy, arena, notes);
        float_layout_follow(rest, sum);
        other = copy;
    }
    kahan_add_to(&sum->zero_count, &rest->zero_count, other->zero_count);
    kahan_add_to(&sum->count, &rest->count, other->count);
    kahan_add_to(&sum->sum, &rest->sum, other->sum);
    float_buckets_kahan_add(&sum->positive, &rest->positive, &other->positive, arena);
    float_buckets_kahan_add(&sum->negative, &rest->negative, &other->negative, arena);
    return true;
}

static struct float_histogram *zero_like(const struct float_histogram *histogram, struct ap_arena *arena)
{
    struct float_histogram *zero = float_histogram_copy(histogram, arena);
    zero->count = zero->sum = zero->zero_count = 0;
    float_buckets_zero(&zero->positive);
    float_buckets_zero(&zero->negative);
    return zero;
}

static bool would_overflow(const struct float_histogram *a, const struct float_histogram *b)
{
    return isinf(a->count + b->count) || isinf(a->sum + b->sum) || isinf(a->zero_count + b->zero_count);
}

static void start_running(struct float_histogram_sum *sum)
{
    if (sum->is_running)
        return;
    sum->is_running = true;
    float_histogram_divide(sum->sum, sum->count);
    float_histogram_divide(sum->rest, sum->count);
}

bool float_histogram_sum_add(struct float_histogram_sum *sum, const struct float_histogram *histogram, bool is_mean,
                             struct ap_arena *arena, struct float_histogram_notes *notes)
{
    sum->has_reset |= histogram->reset_hint == HISTOGRAM_RESET_YES;
    sum->has_no_reset |= histogram->reset_hint == HISTOGRAM_RESET_NO;
    if (!sum->sum) {
        sum->sum = float_histogram_copy(histogram, arena);
        sum->rest = zero_like(histogram, arena);
        sum->count = 1;
        return true;
    }
    if (float_histogram_is_custom(sum->sum) != float_histogram_is_custom(histogram))
        return false;
    if (is_mean && !sum->is_running && would_overflow(sum->sum, histogram))
        start_running(sum);
    sum->count++;
    if (!sum->is_running)
        return kahan_add_histogram(sum->sum, sum->rest, histogram, arena, notes);
    double share = (sum->count - 1) / sum->count;
    struct float_histogram *part = float_histogram_copy(histogram, arena);
    float_histogram_divide(part, sum->count);
    float_histogram_multiply(sum->sum, share);
    float_histogram_multiply(sum->rest, share);
    return kahan_add_histogram(sum->sum, sum->rest, part, arena, notes);
}

bool float_histogram_sum_merge(struct float_histogram_sum *sum, const struct float_histogram_sum *other, bool is_mean,
                               struct ap_arena *arena, struct float_histogram_notes *notes)
{
    sum->has_reset |= other->has_reset;
    sum->has_no_reset |= other->has_no_reset;
    if (float_histogram_is_custom(sum->sum) != float_histogram_is_custom(other->sum))
        return false;
    struct float_histogram_sum added = *other;
    added.sum = float_histogram_copy(other->sum, arena);
    added.rest = float_histogram_copy(other->rest, arena);
    double count = sum->count + other->count;
    if (is_mean && (sum->is_running || other->is_running || would_overflow(sum->sum, other->sum))) {
        start_running(sum);
        start_running(&added);
        float_histogram_multiply(sum->sum, sum->count / count);
        float_histogram_multiply(sum->rest, sum->count / count);
        float_histogram_multiply(added.sum, other->count / count);
        float_histogram_multiply(added.rest, other->count / count);
    }
    sum->count = count;
    return kahan_add_histogram(sum->sum, sum->rest, added.sum, arena, notes) &&
           kahan_add_histogram(sum->sum, sum->rest, added.rest, arena, notes);
}

struct float_histogram *float_histogram_sum_total(struct float_histogram_sum *sum, bool is_mean, struct ap_arena *arena)
{
    if (!sum->sum || sum->is_total)
        return sum->sum;
    sum->is_total = true;
    if (is_mean && !sum->is_running) {
        float_histogram_divide(sum->sum, sum->count);
        float_histogram_divide(sum->rest, sum->count);
    }
    struct float_histogram_notes notes;
    sum->rest->reset_hint = sum->sum->reset_hint;
    (void)float_histogram_add(sum->sum, sum->rest, arena, &notes);
    return sum->sum;
}
