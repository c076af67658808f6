#include "tsdb/changes.h"

#include "base/mem.h"

void changes_clear(struct changes *changes)
{
    free(changes->periods);
    changes->periods = NULL;
}

void changes_note(struct changes *changes, uint64_t period, int64_t ts_ms)
{
    if (!changes->periods)
        changes->periods = ap_new0_array(struct changes_period, CHANGES_PERIODS_MAX);
    struct changes_period *at = &changes->periods[period % CHANGES_PERIODS_MAX];
    if (at->number != period)
        *at = (struct changes_period){period, INT64_MAX};
    at->min_ts_ms = AP_MIN(at->min_ts_ms, ts_ms);
}

int64_t changes_since(const struct changes *changes, uint64_t mark, uint64_t period)
{
    int64_t min_ts_ms = INT64_MAX;
    for (uint64_t i = mark; i <= period && changes->periods; i++) {
        const struct changes_period *at = &changes->periods[i % CHANGES_PERIODS_MAX];
        if (at->number == i)
            min_ts_ms = AP_MIN(min_ts_ms, at->min_ts_ms);
    }
    return min_ts_ms;
}
