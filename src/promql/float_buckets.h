/*
 * promql/float_buckets.h - the buckets that a native histogram has on one side of zero
 *
 * Index and count, in rising order of index; an index that is not there counts 0. Adding two is a merge, and gaps cost
 * nothing. What an index means is the histogram's to know (float_bucket.h).
 *
 * Memory: arrays are from the arena that an operation is given, and live as long as it. What changes buckets changes
 * them in place, or gives them new arrays.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

struct float_buckets {
    int32_t *indexes; /* rising */
    double *values;
    uint32_t count;
    uint32_t capacity;
};

/* Empty ones, with room for as many; NULL arrays never come out. */
static inline struct float_buckets float_buckets_make(struct ap_arena *arena, size_t capacity)
{
    struct float_buckets buckets = {.capacity = (uint32_t)capacity};
    buckets.indexes = ap_arena_alloc0(arena, (capacity + 1) * sizeof(*buckets.indexes));
    buckets.values = ap_arena_alloc0(arena, (capacity + 1) * sizeof(*buckets.values));
    return buckets;
}

struct float_buckets float_buckets_copy(const struct float_buckets *buckets, struct ap_arena *arena);

/* Within the capacity, in rising order of index; to one that is there already it is added. */
static inline void float_buckets_push(struct float_buckets *buckets, int32_t index, double value)
{
    if (buckets->count && buckets->indexes[buckets->count - 1] == index) {
        buckets->values[buckets->count - 1] += value;
        return;
    }
    buckets->indexes[buckets->count] = index;
    buckets->values[buckets->count++] = value;
}

/* buckets += sign * other. */
void float_buckets_add(struct float_buckets *buckets, const struct float_buckets *other, double sign,
                       struct ap_arena *arena);
/* sum += other, compensated (promql/sums.h): what rounding loses of a bucket goes into the same one of `rest`. */
void float_buckets_kahan_add(struct float_buckets *sum, struct float_buckets *rest, const struct float_buckets *other,
                             struct ap_arena *arena);

void float_buckets_multiply(struct float_buckets *buckets, double factor);
void float_buckets_divide(struct float_buckets *buckets, double divisor);
void float_buckets_zero(struct float_buckets *buckets); /* all counts; the indexes stay */

/* To a resolution lower by so many schemas: 2^by buckets become one. Of exponential ones. */
void float_buckets_reduce(struct float_buckets *buckets, int32_t by);
void float_buckets_compact(struct float_buckets *buckets); /* drops empty ones */

/* The same numbers, bit by bit, in the same buckets; empty ones do not count. */
bool float_buckets_equal(const struct float_buckets *a, const struct float_buckets *b);
/* Whether some bucket has less now than before. */
bool float_buckets_have_fallen(const struct float_buckets *now, const struct float_buckets *before);
bool float_buckets_have_infinite(const struct float_buckets *buckets);
