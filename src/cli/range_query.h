/*
 * cli/range_query.h - what a query gave over a span of time, asked of a running server
 *
 * A span with more steps than a server answers at once is asked piece by piece.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"
#include "cli/remote.h"
#include "rules/replay.h"

struct range_query {
    struct remote remote;
    const char *query;
    int64_t start_ms;
    int64_t end_ms; /* start_ms + n * step_ms */
    int64_t step_ms;
};

enum { RANGE_SERIES_MAX = 10000 };

struct range_answer {
    struct replay_series *series; /* owned, with labels and points */
    size_t series_count;
};

/* The series with these labels (canonical, or empty), which is made where there is none; NULL: too many. `hint`: where
 * it may be. */
struct replay_series *range_answer_find(struct range_answer *answer, struct ap_slice labels, size_t hint);
/* Room for `count` points behind those of the series, which has `count` more of them then. */
struct replay_point *range_answer_grow(struct replay_series *series, size_t count);

/* Histograms are left out. `err` has what the server says, or why it cannot be asked. */
ap_nodiscard enum ap_rc range_query_ask(const struct range_query *request, struct range_answer *ret_answer,
                                        struct ap_err *err);
void range_answer_clear(struct range_answer *answer);
