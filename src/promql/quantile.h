/*
 * promql/quantile.h - quantiles of floats: of some at once, of a window that slides
 *
 * Floats are compared as integers that rise with them, NaN as the lowest of all: comparing integers has no special
 * cases and does not branch.
 *
 * Internal to promql/.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Between the two nearest in rank, in proportion. NaN without values; -Inf and +Inf for q below 0 and above 1. */
double quantile_of(double q, double *values, size_t count); /* leaves other values in the array */

/* Floats in order, of which a few are replaced from time to time. */
struct sorted_floats {
    uint64_t *keys; /* the caller's, with room for all that are there at a time */
    size_t count;
};

void sorted_floats_fill(struct sorted_floats *sorted, const double *values, size_t count);
void sorted_floats_add(struct sorted_floats *sorted, double value);
void sorted_floats_remove(struct sorted_floats *sorted, double value); /* which has to be there */
/* Removes one and adds one. */
void sorted_floats_replace(struct sorted_floats *sorted, double before, double value);
double sorted_floats_quantile(double q, const struct sorted_floats *sorted);
