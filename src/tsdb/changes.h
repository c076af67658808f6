/*
 * tsdb/changes.h - which times were touched since when
 *
 * For whoever keeps answers: the smallest timestamp that was written or taken away in each of the last periods. Periods
 * are numbered, and begin when somebody asks (tsdb_change_mark()): while nobody does, one period goes on for ever.
 *
 * What makes it exact: a change is noted under the same lock under which it is made and read, with the number that the
 * period has at that moment. So a reader that took its mark, then this lock, and did not see the change, finds it in
 * the mark's period or in a later one.
 *
 * Internal to tsdb/. Every function under the owner's lock.
 */
#pragma once

#include <stdint.h>

enum {
    CHANGES_PERIOD_MS = 500,    /* at least */
    CHANGES_PERIODS_MAX = 4096, /* half an hour, if somebody asks all the time */
};

struct changes {
    struct changes_period {
        uint64_t number;
        int64_t min_ts_ms;
    } * periods; /* owned; CHANGES_PERIODS_MAX of them, by number; NULL: nothing was changed yet */
};

void changes_clear(struct changes *changes);
void changes_note(struct changes *changes, uint64_t period, int64_t ts_ms);
/* The smallest timestamp noted in the periods from `mark` to `period`; INT64_MAX: none. */
int64_t changes_since(const struct changes *changes, uint64_t mark, uint64_t period);
