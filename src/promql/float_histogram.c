#include "promql/float_histogram.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "promql/float_text.h"
#include "promql/sums.h"

/* ---- Bounds ---- */

enum { FRACTIONS = 1 << HISTOGRAM_SCHEMA_MAX };

static double fractions[FRACTIONS]; /* 2^(i / 256) */

/*
 * Bounds are what clients see and what the label of count_values() is made of, so they are Prometheus' to the last bit:
 * the product of the roots of 2 that i is made of, largest first, with a square root that is one bit below the nearest
 * double.
 */
static void make_fractions(void)
{
    fractions[0] = 1;
    for (int bit = FRACTIONS / 2; bit > 0; bit /= 2) {
        double root = (double)exp2l((long double)bit / FRACTIONS);
        if (bit == FRACTIONS / 2)
            root = nextafter(root, 0);
        for (int i = 0; i < FRACTIONS; i += 2 * bit)
            fractions[i + bit] = fractions[i] * root;
    }
}

/* Upper bound of a bucket: 2^(index * 2^-schema). The last bucket of finite values ends at the largest double, the one
 * behind it at infinity. */
static double exponential_bound(int32_t schema, int64_t index)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_fractions);
    int64_t exponent = index;
    double fraction = 1;
    if (schema <= 0) {
        exponent = index * ((int64_t)1 << -schema);
    } else {
        exponent = index >> schema;
        int64_t part = index - exponent * ((int64_t)1 << schema);
        fraction = fractions[part << (HISTOGRAM_SCHEMA_MAX - schema)];
    }
    if (exponent >= 1024)
        return exponent == 1024 && fraction == 1 ? DBL_MAX : INFINITY;
    return ldexp(fraction, (int)AP_MAX(exponent, (int64_t)-1100));
}

static double upper_bound(const struct float_histogram *histogram, int64_t index)
{
    if (!float_histogram_is_custom(histogram))
        return exponential_bound(histogram->schema, index);
    if (index < 0)
        return -INFINITY;
    return index < (int64_t)histogram->bound_count ? histogram->bounds[index] : INFINITY;
}

/* ---- Buckets of one sign ---- */

static struct float_buckets make_buckets(struct ap_arena *arena, size_t capacity)
{
    struct float_buckets buckets = {.capacity = (uint32_t)capacity};
    buckets.indexes = ap_arena_alloc0(arena, (capacity + 1) * sizeof(*buckets.indexes));
    buckets.values = ap_arena_alloc0(arena, (capacity + 1) * sizeof(*buckets.values));
    return buckets;
}

/* In rising order of index; of an index that is there already it is added. */
static void push_bucket(struct float_buckets *buckets, int32_t index, double value)
{
    if (buckets->count && buckets->indexes[buckets->count - 1] == index) {
        buckets->values[buckets->count - 1] += value;
        return;
    }
    buckets->indexes[buckets->count] = index;
    buckets->values[buckets->count++] = value;
}

static struct float_buckets copy_buckets(const struct float_buckets *buckets, struct ap_arena *arena)
{
    struct float_buckets copy = make_buckets(arena, buckets->count);
    copy.count = buckets->count;
    if (copy.count) {
        memcpy(copy.indexes, buckets->indexes, copy.count * sizeof(*copy.indexes));
        memcpy(copy.values, buckets->values, copy.count * sizeof(*copy.values));
    }
    return copy;
}

static bool have_same_indexes(const struct float_buckets *a, const struct float_buckets *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->indexes, b->indexes, a->count * sizeof(*a->indexes)) == 0);
}

/* buckets += sign * other. */
static void add_buckets(struct float_buckets *buckets, const struct float_buckets *other, double sign,
                        struct ap_arena *arena)
{
    if (have_same_indexes(buckets, other)) {
        for (uint32_t i = 0; i < buckets->count; i++)
            buckets->values[i] += sign * other->values[i];
        return;
    }
    struct float_buckets sum = make_buckets(arena, (size_t)buckets->count + other->count);
    uint32_t i = 0, j = 0;
    while (i < buckets->count || j < other->count) {
        if (j == other->count || (i < buckets->count && buckets->indexes[i] < other->indexes[j])) {
            push_bucket(&sum, buckets->indexes[i], buckets->values[i]);
            i++;
        } else if (i == buckets->count || other->indexes[j] < buckets->indexes[i]) {
            push_bucket(&sum, other->indexes[j], sign * other->values[j]);
            j++;
        } else {
            push_bucket(&sum, buckets->indexes[i], buckets->values[i] + sign * other->values[j]);
            i++;
            j++;
        }
    }
    *buckets = sum;
}

static void reduce_buckets(struct float_buckets *buckets, int32_t by)
{
    uint32_t count = buckets->count;
    buckets->count = 0;
    for (uint32_t i = 0; i < count; i++)
        push_bucket(buckets, ((buckets->indexes[i] - 1) >> by) + 1, buckets->values[i]);
}

static void scale_buckets(struct float_buckets *buckets, double factor, bool is_dividing)
{
    for (uint32_t i = 0; i < buckets->count; i++)
        buckets->values[i] = is_dividing ? buckets->values[i] / factor : buckets->values[i] * factor;
}

static void compact_buckets(struct float_buckets *buckets)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < buckets->count; i++) {
        if (buckets->values[i] == 0)
            continue;
        buckets->indexes[kept] = buckets->indexes[i];
        buckets->values[kept++] = buckets->values[i];
    }
    buckets->count = kept;
}

/* ---- From and to samples ---- */

static struct float_buckets read_buckets(const struct histogram_buckets *from, bool is_float, struct ap_arena *arena)
{
    struct float_buckets buckets = make_buckets(arena, from->count);
    int64_t index = 0;
    size_t at = 0;
    for (size_t i = 0; i < from->span_count; i++) {
        index += from->spans[i].offset;
        for (uint32_t j = 0; j < from->spans[i].length; j++, at++, index++) {
            double value = is_float ? from->values[at] : (double)from->counts[at];
            if (value != 0)
                push_bucket(&buckets, (int32_t)index, value);
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
    copy->positive = copy_buckets(&histogram->positive, arena);
    copy->negative = copy_buckets(&histogram->negative, arena);
    if (histogram->bound_count) {
        double *bounds = ap_arena_alloc0(arena, histogram->bound_count * sizeof(*bounds));
        memcpy(bounds, histogram->bounds, histogram->bound_count * sizeof(*bounds));
        copy->bounds = bounds;
    }
    return copy;
}

/* ---- Zero buckets of different width ---- */

static double bucket_lower(const struct float_histogram *histogram, const struct float_buckets *buckets, uint32_t at)
{
    return upper_bound(histogram, (int64_t)buckets->indexes[at] - 1);
}

static double bucket_upper(const struct float_histogram *histogram, const struct float_buckets *buckets, uint32_t at)
{
    return upper_bound(histogram, buckets->indexes[at]);
}

/* Where a zero bucket so wide would really end: a bucket that it cuts, and that is not empty, belongs to it. */
static double fitting_threshold(const struct float_histogram *histogram, double threshold)
{
    const struct float_buckets *signs[] = {&histogram->positive, &histogram->negative};
    for (bool is_changed = true; is_changed;) {
        is_changed = false;
        for (size_t sign = 0; sign < 2; sign++) {
            for (uint32_t i = 0; i < signs[sign]->count && bucket_lower(histogram, signs[sign], i) < threshold; i++) {
                double upper = bucket_upper(histogram, signs[sign], i);
                if (upper <= threshold || signs[sign]->values[i] == 0)
                    continue;
                threshold = upper;
                is_changed = true;
            }
        }
    }
    return threshold;
}

/* Takes the buckets below the threshold away. Returns what was in them. */
static double drop_below(const struct float_histogram *histogram, struct float_buckets *buckets, double threshold)
{
    uint32_t dropped = 0;
    double sum = 0;
    while (dropped < buckets->count && bucket_lower(histogram, buckets, dropped) < threshold)
        sum += buckets->values[dropped++];
    buckets->indexes += dropped;
    buckets->values += dropped;
    buckets->count -= dropped;
    return sum;
}

static void widen_zero_bucket(struct float_histogram *histogram, double threshold)
{
    if (threshold <= histogram->zero_threshold)
        return;
    histogram->zero_threshold = threshold;
    histogram->zero_count += drop_below(histogram, &histogram->positive, threshold);
    histogram->zero_count += drop_below(histogram, &histogram->negative, threshold);
}

/* ---- Custom bounds ---- */

static bool have_same_bounds(const struct float_histogram *a, const struct float_histogram *b)
{
    if (a->bound_count != b->bound_count)
        return false;
    for (uint32_t i = 0; i < a->bound_count; i++)
        if (a->bounds[i] != b->bounds[i])
            return false;
    return true;
}

/* Keeps those of the bounds that are given as well. */
static void take_bounds(struct float_histogram *histogram, const double *bounds, uint32_t count)
{
    struct float_buckets *buckets = &histogram->positive;
    uint32_t had = buckets->count, to = 0;
    buckets->count = 0;
    for (uint32_t i = 0; i < had; i++) {
        double upper = upper_bound(histogram, buckets->indexes[i]);
        while (to < count && bounds[to] < upper)
            to++;
        push_bucket(buckets, (int32_t)to, buckets->values[i]);
    }
    histogram->bounds = bounds;
    histogram->bound_count = count;
}

static void share_bounds(struct float_histogram *a, struct float_histogram *b, struct ap_arena *arena)
{
    double *bounds = ap_arena_alloc0(arena, (AP_MIN(a->bound_count, b->bound_count) + 1) * sizeof(*bounds));
    uint32_t count = 0;
    for (uint32_t i = 0, j = 0; i < a->bound_count && j < b->bound_count;) {
        double left = a->bounds[i], right = b->bounds[j];
        if (left == right)
            bounds[count++] = left;
        i += left <= right;
        j += right <= left;
    }
    take_bounds(a, bounds, count);
    take_bounds(b, bounds, count);
}

/* ---- Sums ---- */

static enum histogram_reset_hint join_hints(enum histogram_reset_hint a, enum histogram_reset_hint b,
                                            struct float_histogram_notes *notes)
{
    if (a == b)
        return a;
    if (a == HISTOGRAM_RESET_GAUGE || b == HISTOGRAM_RESET_GAUGE)
        return HISTOGRAM_RESET_GAUGE;
    notes->is_reset_colliding |= a != HISTOGRAM_RESET_UNKNOWN && b != HISTOGRAM_RESET_UNKNOWN;
    return HISTOGRAM_RESET_UNKNOWN;
}

/* Brings both to one layout. */
static void align(struct float_histogram *a, struct float_histogram *b, struct ap_arena *arena,
                  struct float_histogram_notes *notes)
{
    if (float_histogram_is_custom(a)) {
        if (have_same_bounds(a, b))
            return;
        share_bounds(a, b, arena);
        notes->are_bounds_reconciled = true;
        return;
    }
    while (a->zero_threshold != b->zero_threshold) {
        widen_zero_bucket(b, fitting_threshold(b, AP_MAX(a->zero_threshold, b->zero_threshold)));
        widen_zero_bucket(a, fitting_threshold(a, AP_MAX(a->zero_threshold, b->zero_threshold)));
    }
    int32_t schema = AP_MIN(a->schema, b->schema);
    float_histogram_reduce(a, schema);
    float_histogram_reduce(b, schema);
}

static bool has_same_layout(const struct float_histogram *a, const struct float_histogram *b)
{
    return a->schema == b->schema && a->zero_threshold == b->zero_threshold &&
           (!float_histogram_is_custom(a) || have_same_bounds(a, b));
}

static bool add(struct float_histogram *histogram, const struct float_histogram *other, double sign,
                struct ap_arena *arena, struct float_histogram_notes *notes)
{
    if (float_histogram_is_custom(histogram) != float_histogram_is_custom(other))
        return false;
    histogram->reset_hint = join_hints(histogram->reset_hint, other->reset_hint, notes);
    if (!has_same_layout(histogram, other)) {
        struct float_histogram *copy = float_histogram_copy(other, arena);
        align(histogram, copy, arena, notes);
        other = copy;
    }
    histogram->zero_count += sign * other->zero_count;
    histogram->count += sign * other->count;
    histogram->sum += sign * other->sum;
    add_buckets(&histogram->positive, &other->positive, sign, arena);
    add_buckets(&histogram->negative, &other->negative, sign, arena);
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

/* ---- Compensated sums ---- */

static void kahan_add_to(double *sum, double *rest, double value)
{
    struct kahan kahan = {*sum, *rest};
    kahan_add(&kahan, value);
    *sum = kahan.sum;
    *rest = kahan.rest;
}

static bool is_at(const struct float_buckets *buckets, uint32_t at, int32_t index)
{
    return at < buckets->count && buckets->indexes[at] == index;
}

/* sum += other, and what that loses goes into rest. */
static void kahan_add_buckets(struct float_buckets *sum, struct float_buckets *rest, const struct float_buckets *other,
                              struct ap_arena *arena)
{
    if (have_same_indexes(sum, other) && have_same_indexes(sum, rest)) {
        for (uint32_t i = 0; i < sum->count; i++)
            kahan_add_to(&sum->values[i], &rest->values[i], other->values[i]);
        return;
    }
    size_t most = (size_t)sum->count + rest->count + other->count;
    struct float_buckets sums = make_buckets(arena, most);
    struct float_buckets rests = make_buckets(arena, most);
    for (uint32_t i = 0, j = 0, k = 0; i < sum->count || j < rest->count || k < other->count;) {
        int32_t index = INT32_MAX;
        if (i < sum->count)
            index = sum->indexes[i];
        if (j < rest->count)
            index = AP_MIN(index, rest->indexes[j]);
        if (k < other->count)
            index = AP_MIN(index, other->indexes[k]);
        double value = is_at(sum, i, index) ? sum->values[i++] : 0;
        double lost = is_at(rest, j, index) ? rest->values[j++] : 0;
        if (is_at(other, k, index))
            kahan_add_to(&value, &lost, other->values[k++]);
        push_bucket(&sums, index, value);
        push_bucket(&rests, index, lost);
    }
    *sum = sums;
    *rest = rests;
}

static bool kahan_add_histogram(struct float_histogram *sum, struct float_histogram *rest,
                                const struct float_histogram *other, struct ap_arena *arena,
                                struct float_histogram_notes *notes)
{
    if (float_histogram_is_custom(sum) != float_histogram_is_custom(other))
        return false;
    struct float_histogram_notes hints = {0};
    sum->reset_hint = join_hints(sum->reset_hint, other->reset_hint, &hints);
    if (!has_same_layout(sum, other)) {
        struct float_histogram *copy = float_histogram_copy(other, arena);
        align(sum, copy, arena, notes);
        other = copy;
        if (float_histogram_is_custom(sum)) {
            take_bounds(rest, sum->bounds, sum->bound_count);
        } else {
            widen_zero_bucket(rest, sum->zero_threshold);
            float_histogram_reduce(rest, sum->schema);
        }
    }
    kahan_add_to(&sum->zero_count, &rest->zero_count, other->zero_count);
    kahan_add_to(&sum->count, &rest->count, other->count);
    kahan_add_to(&sum->sum, &rest->sum, other->sum);
    kahan_add_buckets(&sum->positive, &rest->positive, &other->positive, arena);
    kahan_add_buckets(&sum->negative, &rest->negative, &other->negative, arena);
    return true;
}

static struct float_histogram *zero_like(const struct float_histogram *histogram, struct ap_arena *arena)
{
    struct float_histogram *zero = float_histogram_copy(histogram, arena);
    float_histogram_multiply(zero, 0);
    zero->count = zero->sum = zero->zero_count = 0; /* not the NaN of an infinity */
    for (uint32_t i = 0; i < zero->positive.count; i++)
        zero->positive.values[i] = 0;
    for (uint32_t i = 0; i < zero->negative.count; i++)
        zero->negative.values[i] = 0;
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

/* ---- Scaling and layout ---- */

void float_histogram_multiply(struct float_histogram *histogram, double factor)
{
    histogram->zero_count *= factor;
    histogram->count *= factor;
    histogram->sum *= factor;
    scale_buckets(&histogram->positive, factor, false);
    scale_buckets(&histogram->negative, factor, false);
    if (factor < 0)
        histogram->reset_hint = HISTOGRAM_RESET_GAUGE;
}

void float_histogram_divide(struct float_histogram *histogram, double divisor)
{
    histogram->zero_count /= divisor;
    histogram->count /= divisor;
    histogram->sum /= divisor;
    scale_buckets(&histogram->positive, divisor, true);
    scale_buckets(&histogram->negative, divisor, true);
    if (divisor == 0)
        histogram->positive.count = histogram->negative.count = 0;
    if (divisor < 0)
        histogram->reset_hint = HISTOGRAM_RESET_GAUGE;
}

void float_histogram_compact(struct float_histogram *histogram)
{
    compact_buckets(&histogram->positive);
    compact_buckets(&histogram->negative);
}

void float_histogram_reduce(struct float_histogram *histogram, int32_t schema)
{
    if (schema >= histogram->schema)
        return;
    reduce_buckets(&histogram->positive, histogram->schema - schema);
    reduce_buckets(&histogram->negative, histogram->schema - schema);
    histogram->schema = schema;
}

/* ---- Comparisons ---- */

static bool is_same(double a, double b)
{
    return ap_double_to_bits(a) == ap_double_to_bits(b);
}

/* Empty ones do not count. */
static bool are_buckets_equal(const struct float_buckets *a, const struct float_buckets *b)
{
    for (uint32_t i = 0, j = 0;; i++, j++) {
        while (i < a->count && a->values[i] == 0)
            i++;
        while (j < b->count && b->values[j] == 0)
            j++;
        if (i == a->count || j == b->count)
            return i == a->count && j == b->count;
        if (a->indexes[i] != b->indexes[j] || !is_same(a->values[i], b->values[j]))
            return false;
    }
}

bool float_histogram_equal(const struct float_histogram *a, const struct float_histogram *b)
{
    bool is_sum_equal = is_same(a->sum, b->sum) || (isnan(a->sum) && isnan(b->sum));
    if (!is_sum_equal || !is_same(a->count, b->count) || a->schema != b->schema)
        return false;
    if (float_histogram_is_custom(a) ? !have_same_bounds(a, b)
                                     : a->zero_threshold != b->zero_threshold || !is_same(a->zero_count, b->zero_count))
        return false;
    return are_buckets_equal(&a->positive, &b->positive) && are_buckets_equal(&a->negative, &b->negative);
}

static bool has_fallen(const struct float_buckets *now, const struct float_buckets *before)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < before->count; i++) {
        while (at < now->count && now->indexes[at] < before->indexes[i])
            at++;
        bool is_there = at < now->count && now->indexes[at] == before->indexes[i];
        if (before->values[i] > (is_there ? now->values[at] : 0))
            return true;
    }
    return false;
}

bool float_histogram_is_reset(const struct float_histogram *histogram, const struct float_histogram *previous,
                              struct ap_arena *scratch)
{
    if (histogram->reset_hint == HISTOGRAM_RESET_YES || histogram->reset_hint == HISTOGRAM_RESET_NO)
        return histogram->reset_hint == HISTOGRAM_RESET_YES;
    if (histogram->count < previous->count ||
        float_histogram_is_custom(histogram) != float_histogram_is_custom(previous))
        return true;
    if (has_same_layout(histogram, previous))
        return histogram->zero_count < previous->zero_count || has_fallen(&histogram->positive, &previous->positive) ||
               has_fallen(&histogram->negative, &previous->negative);
    /* Of the layout of a counter only the resolution falls, and the zero bucket only grows. */
    if (!float_histogram_is_custom(histogram) &&
        (histogram->schema > previous->schema || histogram->zero_threshold < previous->zero_threshold ||
         fitting_threshold(previous, histogram->zero_threshold) != histogram->zero_threshold))
        return true;
    struct float_histogram *now = float_histogram_copy(histogram, scratch);
    struct float_histogram *before = float_histogram_copy(previous, scratch);
    struct float_histogram_notes notes;
    align(now, before, scratch, &notes);
    return now->zero_count < before->zero_count || has_fallen(&now->positive, &before->positive) ||
           has_fallen(&now->negative, &before->negative);
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

static bool has_infinite(const struct float_buckets *buckets)
{
    for (uint32_t i = 0; i < buckets->count; i++)
        if (isinf(buckets->values[i]))
            return true;
    return false;
}

bool float_histogram_has_overflow(const struct float_histogram *histogram)
{
    return isinf(histogram->count) || isinf(histogram->sum) || isinf(histogram->zero_count) ||
           has_infinite(&histogram->positive) || has_infinite(&histogram->negative);
}

/* ---- In order ---- */

enum { PART_NEGATIVE, PART_ZERO, PART_POSITIVE, PART_END };

static struct float_bucket bucket_at(const struct float_histogram *histogram, const struct float_buckets *buckets,
                                     uint32_t at, bool is_negative)
{
    double lower = bucket_lower(histogram, buckets, at), upper = bucket_upper(histogram, buckets, at);
    struct float_bucket bucket = {.lower = is_negative ? -upper : lower,
                                  .upper = is_negative ? -lower : upper,
                                  .count = buckets->values[at],
                                  .index = buckets->indexes[at]};
    bool is_custom = float_histogram_is_custom(histogram);
    bucket.has_lower = is_custom ? bucket.index == 0 : bucket.lower < 0;
    bucket.has_upper = is_custom || bucket.upper > 0;
    return bucket;
}

/* Observations in what a bucket shares with the zero bucket are in the latter. */
static struct float_bucket beside_zero(struct float_bucket bucket, double zero_threshold)
{
    if (bucket.lower > 0 && bucket.lower < zero_threshold)
        bucket.lower = zero_threshold;
    else if (bucket.upper < 0 && bucket.upper > -zero_threshold)
        bucket.upper = -zero_threshold;
    return bucket;
}

static bool next_whole(struct float_bucket_cursor *cursor, struct float_bucket *ret_bucket)
{
    const struct float_histogram *histogram = cursor->histogram;
    uint32_t at = cursor->position++;
    switch (cursor->part) {
    case PART_NEGATIVE:
        if (at < histogram->negative.count) {
            *ret_bucket = bucket_at(histogram, &histogram->negative, histogram->negative.count - 1 - at, true);
            return true;
        }
        cursor->part = PART_ZERO;
        at = 0;
        /* fall through */
    case PART_ZERO:
        cursor->part = PART_POSITIVE;
        cursor->position = 0;
        if (cursor->is_whole ? histogram->zero_count != 0 : histogram->zero_count > 0) {
            *ret_bucket = (struct float_bucket){
                -histogram->zero_threshold, histogram->zero_threshold, histogram->zero_count, true, true, 0};
            return true;
        }
        at = cursor->position++;
        /* fall through */
    case PART_POSITIVE:
        if (at < histogram->positive.count) {
            *ret_bucket = bucket_at(histogram, &histogram->positive, at, false);
            return true;
        }
        cursor->part = PART_END;
        /* fall through */
    default:
        return false;
    }
}

bool float_bucket_next(struct float_bucket_cursor *cursor, struct float_bucket *ret_bucket)
{
    if (!next_whole(cursor, ret_bucket))
        return false;
    if (!cursor->is_whole)
        *ret_bucket = beside_zero(*ret_bucket, cursor->histogram->zero_threshold);
    return true;
}

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
