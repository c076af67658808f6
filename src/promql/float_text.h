/*
 * promql/float_text.h - floats as Prometheus prints them in sentences, and as label values
 */
#pragma once

struct float_text {
    char text[400];
};

/* As Go's %g: the fewest digits that read back the same, an exponent below 1e-4 and from 1e+06 on; NaN, +Inf, -Inf. */
struct float_text go_float(double value);
/* The same digits without an exponent, as the API prints values. */
struct float_text plain_float(double value);
/* As OpenMetrics wants labels le and quantile: "1.0", "0.5", "1e+06". */
struct float_text open_metrics_float(double value);
