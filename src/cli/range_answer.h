/*
 * cli/range_answer.h - what a query gave over a span of time: series of points, and what asking came to at each step
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/mem.h"
#include "rules/replay.h"

enum { RANGE_SERIES_MAX = 10000 };

struct range_answer {
    int64_t start_ms; /* of step 0 */
    int64_t step_ms;
    size_t first;              /* step from which on it is known; those before it were not asked */
    struct replay_step *steps; /* owned */
    size_t step_count;
    struct replay_series *series; /* owned, with labels and points */
    size_t series_count;
    struct ap_arena arena; /* of the reasons in `steps` */
};

/* Steps are start_ms + n * step_ms until end_ms; all RULE_CONDITION_OK. */
void range_answer_init(struct range_answer *answer, int64_t start_ms, int64_t end_ms, int64_t step_ms);
void range_answer_clear(struct range_answer *answer);

/* The series with these labels (canonical, or empty), which is made where there is none; NULL: too many. `hint`: where
 * it may be. */
struct replay_series *range_answer_find(struct range_answer *answer, struct ap_slice labels, size_t hint);
/* Room for `count` points behind those of the series, which has `count` more of them then. */
struct replay_point *range_answer_grow(struct replay_series *series, size_t count);
/* Puts the points in order of time. */
void range_answer_sort(struct range_answer *answer);

struct replay_step *range_answer_step(struct range_answer *answer, int64_t ts_ms);
/* The rule could not be evaluated then. */
void range_answer_fail(struct range_answer *answer, int64_t ts_ms, const char *reason);
