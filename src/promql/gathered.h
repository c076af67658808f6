/*
 * promql/gathered.h - series that come about point by point
 *
 * For operators of which it is not known from the labels alone which series they give: a point's labels say which one
 * it belongs to. One thread.
 */
#pragma once

#include "promql/run.h"

struct gathered {
    struct run *run;
    size_t steps;
    struct label_table labels;
    struct gathered_series {
        double *values; /* owned */
        struct float_histogram **histograms;
    } * series;
    size_t capacity;
    struct ap_arena arena; /* of histograms */
};

/* {0} may be cleared as well. */
void gathered_init(struct gathered *gathered, struct run *run, size_t steps);
void gathered_clear(struct gathered *gathered);
/* The series of these labels, new where they are; AP_E_LIMIT as run_hold(). */
enum ap_rc gathered_find(struct gathered *gathered, struct ap_slice labels, size_t *ret_index, struct ap_err *err);
/* Where it may be changed; absent() where there is none. */
static inline double *gathered_value(struct gathered *gathered, size_t index, size_t step)
{
    return &gathered->series[index].values[step];
}
bool gathered_has(const struct gathered *gathered, size_t index, size_t step);
/* Copies the histogram; NULL: a float. */
void gathered_set(struct gathered *gathered, size_t index, size_t step, double value,
                  const struct float_histogram *histogram);
/* When all is there: the operator's count and labels, in order of first appearance. */
void gathered_take_labels(const struct gathered *gathered, struct operator* op);
void gathered_column(const struct gathered *gathered, size_t index, struct worker *worker, struct column *ret_column);
