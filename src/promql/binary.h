/*
 * promql/binary.h - what binary operators do with two samples
 *
 * Internal to promql/.
 */
#pragma once

#include "promql/run.h"

static inline bool operator_compares(enum promql_operator operator)
{
    return operator>= OPERATOR_EQUAL && operator<= OPERATOR_GREATER_EQUAL;
}

/* Results are another thing than what went in: the name does not fit any more. */
static inline bool operator_drops_name(const struct promql_expr *expr)
{
    return expr->binary.operator<= OPERATOR_SUB || expr->binary.returns_bool;
}

/* A comparison without bool lets a side's value through. */
enum kept_side { KEPT_LEFT, KEPT_RIGHT };

/*
 * `count` floats of both sides; where one is absent, so is the result. `out` may be one of them.
 */
void operate_floats(const struct promql_expr *expr, enum kept_side kept, const double *left, const double *right,
                    double *out, size_t count);

/* A float, or a histogram, or neither. */
struct sample {
    double value; /* absent() where there is no float */
    struct float_histogram *histogram;
};

static inline bool sample_exists(struct sample sample)
{
    return sample.histogram || !is_absent(sample.value);
}

enum combination {
    COMBINED,
    COMBINED_NOT_KEPT,   /* a comparison did not hold */
    COMBINED_IMPOSSIBLE, /* the operator is not for these two; it was annotated */
};
/* Both are there. The result's histogram is from the worker's arena. Does not look at `bool`. */
enum combination combine_samples(struct run *run, struct worker *worker, const struct promql_expr *expr,
                                 struct sample left, struct sample right, struct sample *ret);

/* Columns as they are, histograms among them. `out` may be `left`. */
void combine_columns(struct run *run, struct worker *worker, const struct promql_expr *expr, enum kept_side kept,
                     const struct column *left, const struct column *right, struct column *out, size_t count);

/* binary_match.c: vectors on both sides, arithmetic and comparisons. */
struct operator* plan_match(struct run *run, const struct promql_expr *expr, const struct steps *steps,
                            struct operator* left, struct operator* right);
/* binary_sets.c: and, or, unless. */
struct operator* plan_set(struct run *run, const struct promql_expr *expr, const struct steps *steps,
                          struct operator* left, struct operator* right);

/* Which series of two vectors belong together: those of one signature. */
struct signatures {
    struct promql_labels names;   /* of on() or ignoring(), sorted */
    struct promql_labels matched; /* these, and the metric's name where they are ignored */
    bool is_on;
    uint32_t *of[2]; /* each series' signature, of the left side and of the right one */
    size_t count;
};
void signatures_make(struct signatures *signatures, struct run *run, const struct promql_expr *expr,
                     const struct operator* left, const struct operator* right);
/* The labels that are matched. */
void signature_labels(const struct signatures *signatures, struct ap_slice labels, struct ap_buf *out);
