/*
 * cli/history.h - what a query gave over a span of time, asked of a running server
 *
 * A span with more steps than a server answers at once is asked piece by piece.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"
#include "rules/replay.h"

struct history_request {
    const char *server; /* address, with or without '/' at the end */
    const char *key;    /* viewer key; NULL: none */
    const char *query;
    int64_t start_ms;
    int64_t end_ms; /* start_ms + n * step_ms */
    int64_t step_ms;
};

struct history {
    struct replay_series *series; /* owned, with labels and points */
    size_t series_count;
};

/* Histograms are left out. `err` has what the server says, or why it cannot be asked. */
ap_nodiscard enum ap_rc history_ask(const struct history_request *request, struct history *ret_history,
                                    struct ap_err *err);
void history_clear(struct history *history);
