/*
 * promql/float_histogram_figures.h - what native histograms are asked for: quantiles, shares, variance
 *
 * Estimates, from where observations are taken to lie inside their buckets: in exponential ones spread evenly on a
 * logarithmic scale, in custom ones and the zero bucket evenly. As Prometheus' native-histogram specification has it.
 * None changes the histogram. NaN without observations.
 */
#pragma once

#include <stdbool.h>

#include "promql/float_histogram.h"

/* Notes that a quantile or fraction may come with; Prometheus says them as infos. Set, never cleared. */
struct float_histogram_figure_notes {
    bool is_nan_counted; /* observations of NaN are in it: the quantile fell among them, so it is NaN */
    bool is_nan_skewing; /* they are in it, and the figure is only of the others' share */
};

/* The value that the share q, 0 to 1, of the observations is up to; ±Inf for a q outside, as histogram_quantile() has
 * it. */
double float_histogram_quantile(double q, const struct float_histogram *histogram,
                                struct float_histogram_figure_notes *notes);
/* The share of observations between the two values. */
double float_histogram_fraction(double lower, double upper, const struct float_histogram *histogram,
                                struct float_histogram_figure_notes *notes);
double float_histogram_variance(const struct float_histogram *histogram);
