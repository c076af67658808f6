#include "promql/float_buckets.h"

#include <math.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "promql/sums.h"

struct float_buckets float_buckets_copy(const struct float_buckets *buckets, struct ap_arena *arena)
{
    struct float_buckets copy = float_buckets_make(arena, buckets->count);
    copy.count = buckets->count;
    if (copy.count) {
        memcpy(copy.indexes, buckets->indexes, copy.count * sizeof(*copy.indexes));
        memcpy(copy.values, buckets->values, copy.count * sizeof(*copy.values));
    }
    return copy;
}

/* ---- Sums ---- */

static bool have_same_indexes(const struct float_buckets *a, const struct float_buckets *b)
{
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->indexes, b->indexes, a->count * sizeof(*a->indexes)) == 0);
}

void float_buckets_add(struct float_buckets *buckets, const struct float_buckets *other, double sign,
                       struct ap_arena *arena)
{
    if (have_same_indexes(buckets, other)) {
        for (uint32_t i = 0; i < buckets->count; i++)
            buckets->values[i] += sign * other->values[i];
        return;
    }
    struct float_buckets sum = float_buckets_make(arena, (size_t)buckets->count + other->count);
    uint32_t i = 0, j = 0;
    while (i < buckets->count || j < other->count) {
        if (j == other->count || (i < buckets->count && buckets->indexes[i] < other->indexes[j])) {
            float_buckets_push(&sum, buckets->indexes[i], buckets->values[i]);
            i++;
        } else if (i == buckets->count || other->indexes[j] < buckets->indexes[i]) {
            float_buckets_push(&sum, other->indexes[j], sign * other->values[j]);
            j++;
        } else {
            float_buckets_push(&sum, buckets->indexes[i], buckets->values[i] + sign * other->values[j]);
            i++;
            j++;
        }
    }
    *buckets = sum;
}

static bool is_at(const struct float_buckets *buckets, uint32_t at, int32_t index)
{
    return at < buckets->count && buckets->indexes[at] == index;
}

void float_buckets_kahan_add(struct float_buckets *sum, struct float_buckets *rest, const struct float_buckets *other,
                             struct ap_arena *arena)
{
    if (have_same_indexes(sum, other) && have_same_indexes(sum, rest)) {
        for (uint32_t i = 0; i < sum->count; i++)
            kahan_add_to(&sum->values[i], &rest->values[i], other->values[i]);
        return;
    }
    size_t most = (size_t)sum->count + rest->count + other->count;
    struct float_buckets sums = float_buckets_make(arena, most);
    struct float_buckets rests = float_buckets_make(arena, most);
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
        float_buckets_push(&sums, index, value);
        float_buckets_push(&rests, index, lost);
    }
    *sum = sums;
    *rest = rests;
}

/* ---- Each by itself ---- */

void float_buckets_multiply(struct float_buckets *buckets, double factor)
{
    for (uint32_t i = 0; i < buckets->count; i++)
        buckets->values[i] *= factor;
}

void float_buckets_divide(struct float_buckets *buckets, double divisor)
{
    for (uint32_t i = 0; i < buckets->count; i++)
        buckets->values[i] /= divisor;
}

void float_buckets_zero(struct float_buckets *buckets)
{
    if (buckets->count)
        memset(buckets->values, 0, buckets->count * sizeof(*buckets->values));
}

void float_buckets_reduce(struct float_buckets *buckets, int32_t by)
{
    uint32_t count = buckets->count;
    buckets->count = 0;
    for (uint32_t i = 0; i < count; i++)
        float_buckets_push(buckets, ((buckets->indexes[i] - 1) >> by) + 1, buckets->values[i]);
}

void float_buckets_compact(struct float_buckets *buckets)
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

/* ---- Comparisons ---- */

static bool is_same(double a, double b)
{
    return ap_double_to_bits(a) == ap_double_to_bits(b);
}

bool float_buckets_equal(const struct float_buckets *a, const struct float_buckets *b)
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

bool float_buckets_have_fallen(const struct float_buckets *now, const struct float_buckets *before)
{
    /* As nearly always; a rate() spent half its time on the branches of the merge below. */
    if (have_same_indexes(now, before)) {
        bool has_fallen = false;
        for (uint32_t i = 0; i < before->count; i++)
            has_fallen |= before->values[i] > now->values[i];
        return has_fallen;
    }
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

bool float_buckets_have_infinite(const struct float_buckets *buckets)
{
    for (uint32_t i = 0; i < buckets->count; i++)
        if (isinf(buckets->values[i]))
            return true;
    return false;
}
