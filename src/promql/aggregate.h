/*
 * promql/aggregate.h - groups of series, as aggregations make them
 *
 * Internal to promql/.
 */
#pragma once

#include "promql/run.h"

struct aggregate_groups {
    size_t count;
    struct ap_slice *labels; /* of each group, in order of first appearance */
    uint32_t *of;            /* each series' group */
    uint32_t *starts;        /* group g has members[starts[g]] up to members[starts[g + 1]], in order: the input's; */
    uint32_t *members;       /* over a span of time, that of their labels */
};

/* Of the operator's input 0; in the run's arena. */
void aggregate_group(struct aggregate_groups *groups, struct operator* op);
/* by() or without() as sorted names; for aggregate_group_labels(). */
struct promql_labels aggregate_names(struct run *run, const struct promql_expr *expr);
/* The labels of the group that a series with these belongs to. */
void aggregate_group_labels(const struct promql_expr *expr, const struct promql_labels *names, struct ap_slice labels,
                            struct ap_buf *out);
/* Whether the groups may differ in nothing but a metric's name. */
bool aggregate_keeps_name(const struct promql_expr *expr);
/* Says that a histogram was left out. */
void aggregate_ignore(struct operator* op);

/* aggregate_choice.c: topk, bottomk, limitk, limit_ratio, quantile, count_values. */
struct operator* plan_choice(struct run *run, const struct promql_expr *expr, const struct steps *steps,
                             struct operator* input, struct ap_err *err);
