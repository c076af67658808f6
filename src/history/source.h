/*
 * history/source.h - the data directory of a Prometheus as a whole: its blocks and its head, merged series by series
 *
 * Blocks may overlap each other and the head. Where several have a sample of one time, the oldest block's counts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"
#include "history/prometheus_block.h"
#include "history/prometheus_head.h"
#include "history/samples.h"
#include "history/trouble.h"
#include "tsdb/matcher.h"

struct history_source {
    char *dir; /* owned */
    int dir_fd;
    int lock_fd;                      /* Prometheus' own lock, held; -1: it has none */
    struct prometheus_block **blocks; /* owned; by their first sample */
    size_t block_count;
    size_t damaged_blocks; /* told, and left out */
    struct prometheus_head *head;
    struct prometheus_head_facts head_facts;
    struct history_trouble *trouble; /* lent */
};

struct history_source_options {
    struct history_trouble *trouble; /* lent */
    /* A block was looked through, the number-th of count; may be NULL. */
    void (*opened)(size_t number, size_t count, void *context);
    void *context;
};

/*
 * Opens all there is. AP_E_CONFLICT: a Prometheus runs on the directory; AP_E_NOT_FOUND: it is none of Prometheus'.
 * Blocks that are damaged are told, counted and left out.
 */
ap_nodiscard enum ap_rc history_source_open(const char *dir, const struct history_source_options *options,
                                            struct history_source **ret_source, struct ap_err *err);
void history_source_close(struct history_source *source); /* NULL is allowed */
AP_DEFINE_AUTO(history_source, struct history_source, history_source_close)

/* ---- Series by series ---- */

struct history_merge; /* private to merge.c; one thread */

struct history_merge_options {
    int64_t min_ts_ms; /* both inclusive */
    int64_t max_ts_ms;
    const struct matchers *selectors; /* lent; a series has to match one of them */
    size_t selector_count;            /* 0: all series */
    size_t memory_bytes;              /* for samples of the head at a time */
    struct history_trouble *trouble;  /* lent */
};
struct history_merge *history_merge_new(const struct history_source *source,
                                        const struct history_merge_options *options);
void history_merge_free(struct history_merge *merge); /* NULL is allowed */
AP_DEFINE_AUTO(history_merge, struct history_merge, history_merge_free)

/* The next series, in order of labels, and its samples in order of time; there may be none. Labels are lent. */
ap_nodiscard enum ap_rc history_merge_next(struct history_merge *merge, struct ap_slice *ret_labels,
                                           struct history_samples *samples, struct prometheus_refusals *refusals,
                                           bool *ret_is_end, struct ap_err *err);
