/*
 * scrape/target.h - a target that is asked: what is remembered of it between scrapes, and one scrape's end
 *
 * Internal to scraper.c and its like. Whoever scrapes a target (it is_busy) owns what is marked so, for that time.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "codec/inflate.h"
#include "scrape/content_type.h"
#include "scrape/fetch.h"
#include "scrape/keep.h"
#include "scrape/line_cache.h"
#include "scrape/page.h"
#include "scrape/scraper.h"

/* A target as it was told, copied. Immutable and counted: a reload gives a target another one while it is busy. */
struct target_info {
    struct scrape_target shown; /* all in this allocation, but for the job, which is held */
    uint32_t ref_count;         /* atomic */
};
struct target_info *target_info_new(const struct scrape_target *from);
struct target_info *target_info_ref(struct target_info *info);
void target_info_unref(struct target_info *info); /* NULL is allowed */

struct target {
    uint32_t ref_count; /* atomic: the pool, the work under way, readers */
    /* The scraper's, under its mutex. */
    struct target_info *info; /* held */
    int64_t due_ms;           /* wall: of the next scrape, or of the end */
    size_t heap_index;        /* SIZE_MAX: not in the heap */
    bool is_busy;
    bool is_gone;     /* no longer in a pool */
    bool is_listed;   /* by the sync under way */
    int64_t stale_ms; /* when the scrape would have been that it did not live to see */
    enum scrape_health health;
    char *last_error; /* owned; NULL: none */
    int64_t last_scrape_ms;
    int64_t last_duration_us;
    uint64_t last_samples;
    /* Of the scrape under way. */
    struct target *next;       /* in a queue */
    bool is_ending;            /* it is not a scrape, but the end */
    struct target_info *asked; /* held */
    int64_t ts_ms;
    int64_t began_us;
    struct fetch_answer answer;
    /* Whose is_busy, under cache_mutex: readers of metadata look in between. */
    pthread_mutex_t cache_mutex;
    struct line_cache cache;
    /* Whose is_busy. */
    struct target_info *made_by;  /* held; whose rules made what is in the cache */
    struct line_cache *old_cache; /* owned; lines made by other rules, to be ended; NULL: none */
    struct report report;
    bool has_report;        /* with the extra ones: that were written */
    bool is_marked;         /* the lines in the cache have ended */
    uint64_t seen_failures; /* keeper_failures() when all metadata was said */
    uint32_t page_count;
    int64_t told_us; /* when there was trouble that was told */
};

struct target *target_new(const struct scrape_target *from, uint64_t cache_seed, uint64_t hash_seed);
struct target *target_ref(struct target *target);
void target_unref(struct target *target); /* NULL is allowed */

/* What a thread needs that finishes scrapes, some at a time. */
struct target_desk {
    struct keeper *keeper; /* lent */
    struct page *page;     /* owned, as what follows */
    struct keeping *keeping;
    struct inflate *inflate;
    bool is_wanting_start_times;
    void (*trouble)(const struct ap_err *err, void *context);
    void *context;
    int64_t told_us;
    int64_t log_told_us; /* when a failure log could not be written */
};
void target_desk_init(struct target_desk *desk, struct keeper *keeper);
void target_desk_clear(struct target_desk *desk);

struct target_result {
    struct ap_err err; /* rc AP_OK: up */
    int64_t duration_us;
    uint64_t samples;
    uint64_t samples_refused; /* before they came to the store */
    size_t body_bytes;
};
/*
 * Reads target->answer, keeps what it says and that it was said. Consumes the answer's body. The target stays busy
 * until target_desk_flush(), as with target_end(): only then all is in the store.
 */
void target_finish(struct target *target, struct target_desk *desk, struct target_result *ret_result);
/* Ends its series, all of them, at target->stale_ms. */
void target_end(struct target *target, struct target_desk *desk);
/* Returns how many samples the store refused. */
uint64_t target_desk_flush(struct target_desk *desk);
