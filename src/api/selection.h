/*
 * api/selection.h - which series and which time a request asks for: match[], start, end
 *
 * Several match[] mean all series that any of them selects, each once, in order of their labels.
 */
#pragma once

#include "api/params.h"
#include "tsdb/tsdb.h"

enum { SELECTION_MATCHERS_MAX = 32 };

struct selection {
    struct matchers *items; /* owned */
    size_t count;
    int64_t min_ts_ms; /* both inclusive */
    int64_t max_ts_ms;
};

/*
 * Reads the parameters. AP_E_PARSE: a selector or time that is none, or no match[] though `is_needed`. Clear it in
 * every case.
 */
ap_nodiscard enum ap_rc selection_read(const struct params *params, bool is_needed, struct selection *ret_selection,
                                       struct ap_err *err);
void selection_clear(struct selection *selection);

/* The end is before the start. Prometheus finds nothing then; whoever changes or exports something had better be told:
 * AP_E_PARSE. */
bool selection_is_of_no_time(const struct selection *selection);
ap_nodiscard enum ap_rc selection_check_time(const struct selection *selection, struct ap_err *err);

/* The series of a selection, one after the other. One thread. */
struct selection_cursor {
    struct tsdb_set *sets[SELECTION_MATCHERS_MAX]; /* owned */
    size_t next[SELECTION_MATCHERS_MAX];           /* in each */
    size_t set_count;
    /* The one we are at. */
    struct tsdb_set *set;
    size_t index;
    struct ap_slice labels; /* lent by the set */
};

ap_nodiscard enum ap_rc selection_open(const struct selection *selection, struct tsdb *tsdb,
                                       struct selection_cursor *ret_cursor, struct ap_err *err);
bool selection_next(struct selection_cursor *cursor); /* false: there are no more */
void selection_close(struct selection_cursor *cursor);
