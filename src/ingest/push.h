/*
 * ingest/push.h - the Pushgateway within: groups of metrics that jobs push, and that stay when the job has ended
 *
 *     push_submit() ──► push thread: does it fit? ──► meta.sqlite (one commit for all that wait) ──► tsdb_append() ──►
 * 2xx every interval: all series again, as if somebody scraped them
 *
 * There is no second scrape to wait for: a push is in the store when it is answered. Then its series are written again
 * at every interval, with the same values and the time that it is, as a scrape of a Pushgateway with honor_labels would
 * have it, until the group is replaced, deleted or expires: what is gone ends with staleness markers.
 *
 * The groups have one owner, the push thread. Others submit and read.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "ingest/metrics.h"
#include "ingest/push_groups.h"
#include "tsdb/tsdb.h"

struct push; /* private to push.c */

struct push_options {
    const char *meta_path;    /* of meta.sqlite; lent until push_open() returns */
    struct tsdb *tsdb;        /* lent */
    metrics_append_fn append; /* tsdb_append(), or what stands in for it in a test */
    uint64_t hash_seed;       /* tsdb_hash_seed() */
    const struct ap_clock *clock;
    int64_t interval_ms;
    int64_t expire_ms; /* a group that nobody has pushed to for so long goes; 0: none does */
    size_t groups_max;
    size_t bytes_max;                                         /* of memory, of all groups */
    void (*trouble)(const struct ap_err *err, void *context); /* any thread; for the log */
    void *context;
};

/* Reads the groups that are there. */
ap_nodiscard enum ap_rc push_open(const struct push_options *options, struct push **ret_push, struct ap_err *err);
/* Writes what is there, and begins to take updates. */
ap_nodiscard enum ap_rc push_start(struct push *push, struct ap_err *err);
/* Answers what was submitted and ends the thread. Before the log stops; nothing may be submitted from here on. */
void push_stop(struct push *push);
/* Waits until the log has answered what was written. NULL is allowed. */
void push_close(struct push *push);
AP_DEFINE_AUTO(push, struct push, push_close)

enum push_kind {
    PUSH_REPLACE, /* PUT: the group is what is pushed */
    PUSH_ADD,     /* POST: families of the same name are replaced */
    PUSH_DELETE,  /* the group goes */
    PUSH_WIPE,    /* all groups go */
};

struct push_update {
    enum push_kind kind;
    struct ap_buf labels; /* canonical; of no meaning with PUSH_WIPE */
    struct push_families families;
    /*
     * The submitter's: gets the outcome, and its done() is called when all is on disk, as by tsdb_append(). If that
     * does not happen, failed() is, with append's context: AP_E_PARSE (it does not fit, `text` says why), AP_E_LIMIT,
     * or what the disk says.
     */
    struct tsdb_append *append;
    void (*failed)(void *context, enum ap_rc rc, const char *text);
    struct push_update *next; /* push.c's */
};
struct push_update *push_update_new(enum push_kind kind);
void push_update_free(struct push_update *update); /* NULL is allowed */
AP_DEFINE_AUTO(push_update, struct push_update, push_update_free)

uint64_t push_hash_seed(const struct push *push);
size_t push_bytes_max(const struct push *push);
/* AP_E_BUSY: too many wait. Any thread; does not wait. */
ap_nodiscard enum ap_rc push_submit(struct push *push, struct push_update *take_update, struct ap_err *err);

/* Every group; `each` must not call the push. Any thread. */
typedef void (*push_group_fn)(const struct push_group *group, void *context);
void push_each(struct push *push, push_group_fn each, void *context);

struct push_stats { /* counters since the start, but for the first three */
    uint64_t groups;
    uint64_t series;
    uint64_t bytes;
    uint64_t pushes;
    uint64_t refused; /* inconsistent, or over a limit */
    uint64_t deletions;
    uint64_t expired;
    uint64_t samples_written;   /* at intervals */
    uint64_t samples_refused;   /* of these */
    uint64_t intervals_skipped; /* the log had yet to take the last one, or refused */
};
void push_stats_get(struct push *push, struct push_stats *ret_stats);
