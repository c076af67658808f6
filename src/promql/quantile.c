#include "promql/quantile.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/mem.h"

enum {
    FEW = 16,        /* so many are sorted by insertion */
    ROUNDS_MAX = 64, /* of selection; then something has chosen the values against it */
};

#define SIGN_BIT (UINT64_C(1) << 63)

/* ---- Floats as integers ---- */

static uint64_t key_of(double value)
{
    uint64_t bits = ap_double_to_bits(value);
    return isnan(value) ? 0 : bits & SIGN_BIT ? ~bits : bits | SIGN_BIT;
}

static double value_of(uint64_t key)
{
    return key == 0 ? NAN : ap_double_of_bits(key & SIGN_BIT ? key & ~SIGN_BIT : ~key);
}

static int compare_keys(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* ---- Selection ---- */

static uint64_t median_of(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t low = AP_MIN(a, b), high = AP_MAX(a, b);
    return AP_MAX(low, AP_MIN(high, c));
}

/* Brings those up to `limit` to the front; how many they are. Each is exchanged, needed or not: no branch to guess. */
static size_t partition(uint64_t *keys, size_t count, uint64_t limit)
{
    size_t front = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t key = keys[i];
        keys[i] = keys[front];
        keys[front] = key;
        front += key <= limit;
    }
    return front;
}

static void sort_few(uint64_t *keys, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        uint64_t key = keys[i];
        size_t at = i;
        for (; at > 0 && keys[at - 1] > key; at--)
            keys[at] = keys[at - 1];
        keys[at] = key;
    }
}

/* Afterwards the key of this rank is in its place, none before it is larger, none behind it smaller. */
static void select_rank(uint64_t *keys, size_t count, size_t rank)
{
    for (size_t round = 0; count > FEW; round++) {
        if (round == ROUNDS_MAX) {
            qsort(keys, count, sizeof(*keys), compare_keys);
            return;
        }
        uint64_t pivot = median_of(keys[0], keys[count / 2], keys[count - 1]);
        size_t up_to = partition(keys, count, pivot);
        if (rank < up_to) {
            size_t below = pivot ? partition(keys, up_to, pivot - 1) : 0;
            if (rank >= below)
                return; /* all between are the pivot */
            count = below;
        } else {
            keys += up_to;
            count -= up_to;
            rank -= up_to;
        }
    }
    sort_few(keys, count);
}

/* ---- Quantiles ---- */

/* False: the quantile does not depend on the values; it is *ret_fixed then. */
static bool find_rank(double q, size_t count, size_t *ret_lower, double *ret_weight, double *ret_fixed)
{
    if (count == 0 || isnan(q) || q < 0 || q > 1) {
        *ret_fixed = count == 0 || isnan(q) ? NAN : q < 0 ? -INFINITY : INFINITY;
        return false;
    }
    double rank = q * (double)(count - 1);
    *ret_lower = (size_t)rank;
    *ret_weight = rank - floor(rank);
    return true;
}

static double between(uint64_t lower, uint64_t upper, double weight)
{
    return value_of(lower) * (1 - weight) + value_of(upper) * weight;
}

double quantile_of(double q, double *values, size_t count)
{
    size_t lower;
    double weight, fixed;
    if (!find_rank(q, count, &lower, &weight, &fixed))
        return fixed;
    _Static_assert(sizeof(uint64_t) == sizeof(double), "keys take the values' places");
    uint64_t *keys = (uint64_t *)(void *)values;
    for (size_t i = 0; i < count; i++)
        keys[i] = key_of(values[i]);
    select_rank(keys, count, lower);
    uint64_t upper = lower + 1 < count ? keys[lower + 1] : keys[lower];
    for (size_t i = lower + 2; i < count; i++)
        upper = AP_MIN(upper, keys[i]);
    return between(keys[lower], upper, weight);
}

/* ---- In order ---- */

/* The first place whose key is not below. */
static size_t find_place(const struct sorted_floats *sorted, uint64_t key)
{
    const uint64_t *from = sorted->keys;
    size_t count = sorted->count;
    while (count > 0) { /* halves without a branch on what is found */
        size_t half = count / 2;
        bool is_behind = from[half] < key;
        from += is_behind ? half + 1 : 0;
        count = is_behind ? count - half - 1 : half;
    }
    return (size_t)(from - sorted->keys);
}

void sorted_floats_fill(struct sorted_floats *sorted, const double *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sorted->keys[i] = key_of(values[i]);
    sorted->count = count;
    qsort(sorted->keys, count, sizeof(*sorted->keys), compare_keys);
}

static void move(struct sorted_floats *sorted, size_t to, size_t from, size_t count)
{
    memmove(sorted->keys + to, sorted->keys + from, count * sizeof(*sorted->keys));
}

void sorted_floats_add(struct sorted_floats *sorted, double value)
{
    uint64_t key = key_of(value);
    size_t place = find_place(sorted, key);
    move(sorted, place + 1, place, sorted->count++ - place);
    sorted->keys[place] = key;
}

void sorted_floats_remove(struct sorted_floats *sorted, double value)
{
    size_t place = find_place(sorted, key_of(value));
    move(sorted, place, place + 1, --sorted->count - place);
}

void sorted_floats_replace(struct sorted_floats *sorted, double before, double value)
{
    uint64_t key = key_of(value);
    size_t from = find_place(sorted, key_of(before)), to = find_place(sorted, key);
    if (from < to)
        move(sorted, from, from + 1, --to - from);
    else
        move(sorted, to + 1, to, from - to);
    sorted->keys[to] = key;
}

double sorted_floats_quantile(double q, const struct sorted_floats *sorted)
{
    size_t lower;
    double weight, fixed;
    if (!find_rank(q, sorted->count, &lower, &weight, &fixed))
        return fixed;
    return between(sorted->keys[lower], sorted->keys[AP_MIN(lower + 1, sorted->count - 1)], weight);
}
