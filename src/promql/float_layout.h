/*
 * promql/float_layout.h - how native histograms are laid out, and how two come to one layout
 *
 * The layout: the schema, the width of the zero bucket, and the bounds of custom buckets. Only histograms of one layout
 * can be added or compared bucket by bucket. Two exponential ones meet at the lower resolution and the wider zero
 * bucket, two with custom bounds at the bounds that both have; an exponential one and one with custom bounds never do.
 * As Prometheus' native-histogram specification has it.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "promql/float_histogram.h"

bool float_layout_has_same_bounds(const struct float_histogram *a, const struct float_histogram *b);

static inline bool float_layout_is_same(const struct float_histogram *a, const struct float_histogram *b)
{
    return a->schema == b->schema && a->zero_threshold == b->zero_threshold &&
           (!float_histogram_is_custom(a) || float_layout_has_same_bounds(a, b));
}

/* Changes both, which are of one sort: both custom or both exponential. Their arrays must be their own. */
void float_layout_align(struct float_histogram *a, struct float_histogram *b, struct ap_arena *arena,
                        struct float_histogram_notes *notes);
/* To the layout of `other`, which came from this one's by float_layout_align(). */
void float_layout_follow(struct float_histogram *histogram, const struct float_histogram *other);

/*
 * Whether a counter that was laid out like `previous` can have come to the layout of `histogram` without being reset:
 * its resolution only falls, and its zero bucket only grows, to where a bucket ends. Always, of custom buckets.
 */
bool float_layout_is_successor(const struct float_histogram *histogram, const struct float_histogram *previous);
