/*
 * scrape/manager.h - which targets there are, now: from the configuration to scraper_sync()
 *
 *     file ──_open(), _reload()──► jobs ──► discoveries, each on a thread ──groups──► relabelling ──sync()──► scraper
 *
 * A job and its targets are a pool, as in Prometheus, and named like the job. Discoveries that find nothing new cost
 * nothing; what one of them finds is a new list for its pool alone.
 *
 * Threads: _open(), _start(), _stop(), _close() from one; all others from any. `sync` and `trouble` are called with a
 * lock held, from any thread; they must not call the manager.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "scrape/job.h"
#include "scrape/relabel.h"
#include "scrape/scraper.h"

struct alert_relabel;
struct scrape_manager; /* private to manager.c */

/* A job that comes with the program; left out when the file has one of that name, or one with that collector. */
struct scrape_builtin {
    const char *job;              /* "node" */
    const char *collector;        /* "host" */
    const char *const *instances; /* its targets, at least one */
    size_t instance_count;
};

struct scrape_manager_options {
    const char *path; /* of the configuration; NULL: only what is built in. Lent, as all that follows */
    const struct scrape_builtin *builtins;
    size_t builtin_count;
    int64_t builtin_interval_ms;
    const struct collector *collectors; /* those that jobs may name */
    size_t collector_count;
    const struct ap_clock *clock;
    /* scraper_sync(), or what stands for it. */
    void (*sync)(void *sync_context, const char *pool, const struct scrape_target *const *targets, size_t count);
    void *sync_context;
    /*
     * The Alertmanagers that an entry of the file names (scrape/alertmanager.h), now; `targets` NULL: there is no such
     * entry any more. NULL: nobody is told.
     */
    void (*sync_alertmanagers)(void *sync_context, const char *entry, const struct scrape_target *const *targets,
                               size_t count);
    /* What the file says of alerts' labels (scrape/alert_relabel.h), whenever it is read; NULL: nobody asks. */
    void (*relabel_alerts)(void *sync_context, struct alert_relabel *take_relabel);
    /* Something is wrong with what a discovery finds; for the log, told once and not each time. */
    void (*trouble)(const struct ap_err *err, void *context);
    void *context;
};

/*
 * Reads the configuration. AP_E_NOT_FOUND, AP_E_IO, AP_E_PARSE, AP_E_LIMIT: `err` has the first thing that is wrong, as
 * "file:line:column: key: …". Nothing is looked for until _start().
 */
ap_nodiscard enum ap_rc scrape_manager_open(const struct scrape_manager_options *options,
                                            struct scrape_manager **ret_manager, struct ap_err *err);
/* sync() for every pool with what is known: before _start(), the targets that stand in the configuration itself. */
void scrape_manager_sync(struct scrape_manager *manager);
/* Does that, and then begins to look for others. */
ap_nodiscard enum ap_rc scrape_manager_start(struct scrape_manager *manager, struct ap_err *err);
/* Nothing is looked for any more, and sync() not called again. Pools stay as they are. */
void scrape_manager_stop(struct scrape_manager *manager);
void scrape_manager_close(struct scrape_manager *manager); /* stops too; NULL is allowed */
AP_DEFINE_AUTO(scrape_manager, struct scrape_manager, scrape_manager_close)

/*
 * Reads the configuration again. Jobs that are as they were are not touched, and a discovery that is as it was goes on
 * with what it has found. On failure (as of _open()) everything stays.
 */
ap_nodiscard enum ap_rc scrape_manager_reload(struct scrape_manager *manager, struct ap_err *err);

/* Keys of the file that are not about scraping and were left alone: "rule_files, global.external_labels"; "" for none.
 * To be freed. */
char *scrape_manager_ignored(struct scrape_manager *manager);

/* ---- Reading ---- */

struct scrape_pool_view {
    const char *name;
    const struct scrape_job *job;
    const struct relabel_rules *relabel; /* NULL: none */
    size_t discovery_count;              /* that may find other targets later: all but static_configs */
    size_t target_count;
    const struct ap_slice *dropped; /* labels before relabelling, canonical */
    size_t dropped_kept;            /* keep_dropped_targets may be less than all */
    uint64_t dropped_count;
    size_t failure_count;       /* targets that cannot be asked: no address, an interval that is none … */
    const char *failure_reason; /* of the first; NULL: none */
    bool is_over_limit;         /* more than target_limit */
};
/* In order of name; the view is lent for the call. `each` must not call the manager. */
typedef void (*scrape_pool_fn)(const struct scrape_pool_view *view, void *context);
void scrape_manager_each_pool(struct scrape_manager *manager, scrape_pool_fn each, void *context);
/* The one of that name, as above. False: there is none. */
bool scrape_manager_pool(struct scrape_manager *manager, struct ap_slice name, scrape_pool_fn each, void *context);

/* How many entries `alerting.alertmanagers` of the file has. */
size_t scrape_manager_alertmanager_count(struct scrape_manager *manager);

struct scrape_manager_stats {
    uint64_t pool_count;
    uint64_t target_count;
    uint64_t dropped_count;
    uint64_t target_failures; /* targets that cannot be asked, now */
    uint64_t discovery_count; /* at work, now */
    uint64_t refreshes;       /* of discoveries; since the start, as the next two */
    uint64_t refresh_failures;
    uint64_t syncs;
    uint64_t is_reload_good; /* 0: the configuration could not be read the last time; the one before is in force */
    int64_t loaded_ms;       /* when the one in force was read */
};
void scrape_manager_stats_get(struct scrape_manager *manager, struct scrape_manager_stats *ret_stats);
