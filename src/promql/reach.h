/*
 * promql/reach.h - which samples the value of a step depends on
 *
 * The newest of them decides whether an answer from before is still right: range_cache.c. Internal to promql/.
 */
#pragma once

#include "promql/run.h"

struct reach {
    /* Samples up to t + ahead_ms matter at step t; INT64_MIN: none that move with the step. */
    int64_t ahead_ms;
    /* At every step, samples up to here (something has an @); INT64_MIN: nothing has. */
    int64_t fixed_ms;
};

/*
 * False: a step's value depends on more than its samples, namely on where the query begins and ends, or there are no
 * samples to it at all. Then answers are not worth keeping.
 */
bool reach_find(struct run *run, const struct promql_expr *expr, struct reach *ret_reach);
