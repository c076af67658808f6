/*
 * promql/buckets.h - classic histograms: figures of cumulative buckets
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "promql/annotations.h"

struct bucket {
    double upper_bound;
    double count; /* of observations up to the bound */
};

/*
 * As Prometheus' histogram_quantile() and histogram_fraction() define them. Both sort the buckets and put those of one
 * bound together; NaN where no bucket is +Inf. *ret_forced: counts fell where they have to rise, by more than rounding
 * explains.
 */
double bucket_quantile(double q, struct bucket *buckets, size_t count, struct forced_buckets *ret_forced);
double bucket_fraction(double lower, double upper, struct bucket *buckets, size_t count);
