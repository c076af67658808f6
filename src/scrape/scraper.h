/*
 * scrape/scraper.h - asks targets for their samples, each at its time, and keeps what they say
 *
 *     targets (manager.h) ──scraper_sync()──► loop: due? ──HTTP or collector──► text ──► samples ──► tsdb_append()
 *                                                                             └── `up`, `scrape_*`, staleness
 *
 * Which targets there are is decided elsewhere (manager.h); this file's are only asked. A target that is told again
 * with the same labels and job keeps its place in the interval, its series and its figures; one that is gone ends its
 * series with staleness markers.
 *
 * Threads: _open(), _stop(), _close() from one; all others from any.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "collect/collector.h"
#include "scrape/job.h"
#include "tsdb/batch.h"
#include "tsdb/tsdb.h"

struct scraper; /* private to scraper.c */

/* What relabelling left of a discovered target. Immutable, owned by whoever made it. */
struct scrape_target {
    const struct scrape_job *job; /* held */
    const char *url;              /* with parameters; for a collector: what /api/v1/targets shows */
    struct ap_slice labels;       /* canonical; those of its series: job, instance and what relabelling kept */
    struct ap_slice discovered;   /* canonical; before relabelling, with the __meta_… ones */
    struct ap_slice address;      /* `__address__`, for a collector */
    const struct label *params;   /* `__param_…` and the job's, for a collector */
    size_t param_count;
    int64_t interval_ms; /* `__scrape_interval__` may differ from the job's */
    int64_t timeout_ms;
    uint64_t hash;     /* of labels and URL: the place in the interval, the same on every start */
    uint64_t too_many; /* targets of its pool, when these are more than target_limit: it fails unasked; else 0 */
};

struct scraper_options {
    struct tsdb *tsdb; /* lent, as all that follows */
    enum ap_rc (*append)(struct tsdb *tsdb, struct tsdb_append *append, struct ap_err *err); /* tsdb_append() */
    const struct ap_clock *clock;
    const struct collector *collectors;
    size_t collector_count;
    bool is_injecting_start_zeros;
    void (*trouble)(const struct ap_err *err, void *context); /* any thread; for the log */
    void *context;
};
ap_nodiscard enum ap_rc scraper_open(const struct scraper_options *options, struct scraper **ret_scraper,
                                     struct ap_err *err);
/* Asks nobody any more, and waits for what is being kept. What is known of targets can still be read. */
void scraper_stop(struct scraper *scraper);
/* Stops too. The series stay as they are: who starts again goes on with them. */
void scraper_close(struct scraper *scraper); /* NULL is allowed */
AP_DEFINE_AUTO(scraper, struct scraper, scraper_close)

/* From now on these are the targets of the pool named (a job), and no others. Targets are copied. */
void scraper_sync(struct scraper *scraper, const char *pool, const struct scrape_target *const *targets, size_t count);

/* ---- Reading ---- */

enum scrape_health { SCRAPE_HEALTH_UNKNOWN, SCRAPE_HEALTH_UP, SCRAPE_HEALTH_DOWN };

struct scraper_target_view {
    const struct scrape_target *target;
    const char *pool;
    enum scrape_health health;
    const char *last_error; /* "" when there is none */
    int64_t last_scrape_ms; /* 0: never */
    int64_t last_duration_us;
    uint64_t last_samples;
};
/* In order of pool, then labels; the view is lent for the call. `each` must not call the scraper. */
typedef void (*scraper_target_fn)(const struct scraper_target_view *view, void *context);
void scraper_each_target(struct scraper *scraper, scraper_target_fn each, void *context);

/* HELP, TYPE and UNIT as the target told them last. */
typedef bool (*scraper_metadata_fn)(const struct scrape_target *target, const struct batch_metadata *metadata,
                                    void *context);
void scraper_each_metadata(struct scraper *scraper, scraper_metadata_fn each, void *context);

struct scraper_stats { /* since the start, but for the first two */
    uint64_t target_count;
    uint64_t up_count;
    uint64_t scrapes;
    uint64_t failures;
    uint64_t missed; /* not begun in time, since the one before was under way */
    uint64_t samples_scraped;
    uint64_t samples_refused;
    uint64_t body_bytes;
};
void scraper_stats_get(struct scraper *scraper, struct scraper_stats *ret_stats);
