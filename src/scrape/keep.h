/*
 * scrape/keep.h - what was scraped, into the time-series store: samples, staleness markers, `up` and the like
 *
 * Samples can be queried as soon as they are kept; they are on disk a commit of the log later. A page goes in slices,
 * so that a large one needs no memory for all of it once more.
 *
 * Threads: one keeper for all; a keep_… call works on what its caller owns.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"
#include "scrape/line_cache.h"
#include "scrape/page.h"
#include "tsdb/batch.h"
#include "tsdb/tsdb.h"

struct keeper; /* private to keep.c */

struct keeper_options {
    struct tsdb *tsdb; /* lent */
    enum ap_rc (*append)(struct tsdb *tsdb, struct tsdb_append *append, struct ap_err *err);
    void (*trouble)(const struct ap_err *err, void *context); /* any thread */
    void *context;
};

struct keeper *keeper_new(const struct keeper_options *options);
/* Waits until the log has what was kept. NULL is allowed. */
void keeper_free(struct keeper *keeper);
AP_DEFINE_AUTO(keeper, struct keeper, keeper_free)

uint64_t keeper_hash_seed(const struct keeper *keeper);
/* How often the log did not take something: metadata that was said then has to be said again. */
uint64_t keeper_failures(const struct keeper *keeper);

/* ---- One scrape ---- */

enum report_series {
    REPORT_UP,
    REPORT_DURATION_SECONDS,
    REPORT_SAMPLES_SCRAPED,
    REPORT_SAMPLES_POST_METRIC_RELABELING,
    REPORT_SERIES_ADDED,
    REPORT_BASIC_COUNT,
    /* with extra_scrape_metrics: */
    REPORT_TIMEOUT_SECONDS = REPORT_BASIC_COUNT,
    REPORT_SAMPLE_LIMIT,
    REPORT_BODY_SIZE_BYTES,
    REPORT_COUNT
};
const char *report_series_name(enum report_series series);

/* The report series of one target. */
struct report {
    struct ap_slice target_labels; /* lent */
    struct {
        struct labels_hash hash;
        uint32_t ref;
    } series[REPORT_COUNT];
};
void report_init(struct report *report, struct ap_slice target_labels, uint64_t hash_seed);

/* Samples and markers of some scrapes on their way in. */
struct keeping; /* private to keep.c; memory that is used again and again */

struct keeping *keeping_new(struct keeper *keeper);
void keeping_free(struct keeping *keeping); /* NULL is allowed */
AP_DEFINE_AUTO(keeping, struct keeping, keeping_free)

struct keep_outcome {
    uint64_t refused_duplicate;
    uint64_t refused_old;
    uint64_t refused_future;
    uint64_t refused_other;
    char reason[TSDB_REASON_BYTES]; /* of the first, with the series; empty: none */
    enum ap_rc rc;                  /* of the store, when it failed; then `reason` is its sentence */
};

/*
 * One scrape: begin, then any of these: the page's samples, markers for what it does not tell any more or
 * (keep_markers_of_all()) for all lines that were there before it, the report. Several scrapes are kept together, since
 * the log takes one large record more easily than many small ones: until keep_flush() a cache and a report must stay as
 * they are, and the page too when anything of it is not just a number of a line that was known.
 */
void keep_begin(struct keeping *keeping, int64_t ts_ms, struct page *page, struct line_cache *cache,
                struct report *report);
void keep_page(struct keeping *keeping);
void keep_markers_of_missing(struct keeping *keeping);
void keep_markers_of_all(struct keeping *keeping, struct line_cache *cache);
/* `values` by enum report_series; `count` REPORT_BASIC_COUNT or REPORT_COUNT. NULL: staleness markers. */
void keep_report(struct keeping *keeping, const double *values, size_t count);
/* What was kept since the last flush is in the store. */
void keep_flush(struct keeping *keeping, struct keep_outcome *ret_outcome);
