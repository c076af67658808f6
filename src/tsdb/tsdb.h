/*
 * tsdb/tsdb.h - the time-series store: the door to everything in this folder
 *
 *     tsdb_append() ──► registry: labels to refs ──► head: append to the series' tails, encode the record ──► WAL
 *                                                     │ tail full: chunk, in the range's chunk file            │ done()
 *                                                     ▼                                                        ▼
 *     tsdb_select() ◄── head and blocks           range over: block (index + that file)                  2xx to the
 * client
 *
 * The WAL's records of samples are differences to what the series had before, so that the log costs one or two bytes a
 * sample; that is why appending and logging are one step here (docs/decisions/0006-samples-in-the-log.md).
 *
 * Durability: tsdb_append()'s done() is called when the samples are in the log on disk. They can be read as soon as
 * tsdb_append() returns. After a crash the store goes on from its checkpoint: every acknowledged sample once.
 *
 * Threads: all functions from any thread unless they say otherwise. One background thread seals, checkpoints, cuts and
 * merges blocks, and deletes what is past retention.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "os/fs.h"
#include "tsdb/batch.h"
#include "tsdb/labels.h"
#include "tsdb/matcher.h"

struct tsdb; /* private to tsdb.c */
struct ap_arena;
struct wal;

enum {
    TSDB_RECORD_SAMPLES = 2, /* wal_record.type */
    TSDB_RECORD_DELETION = 3,
    TSDB_REASON_BYTES = 256,
};
#define TSDB_REF_NONE UINT32_MAX

struct tsdb_options {
    const char *dir; /* made if missing */
    struct wal *wal; /* lent */
    const struct ap_clock *clock;
    const struct os_fs *fs;
    uint32_t shard_count; /* of the head; 0: one a core, rounded up to a power of two */
    uint64_t series_max;  /* live series of the head; newcomers above it are refused */
    int64_t out_of_order_window_ms;
    int64_t retention_ms;       /* 0: for ever */
    uint64_t retention_bytes;   /* of blocks; 0: no limit */
    int64_t block_range_ms;     /* 2 h; divides a day */
    int64_t block_merge_max_ms; /* 31 d */
    uint32_t exemplars_max;
    bool is_injecting_created_zeros; /* a created timestamp before the first sample becomes a sample 0 */
    /* May be NULL; called by the background thread with what it logs nowhere else: damage found, disk full … */
    void (*trouble)(const struct ap_err *err, void *context);
    void *context;
};
void tsdb_options_init(struct tsdb_options *options);

/*
 * Opens or makes the store, loads the checkpoint and replays the log behind it. *ret_tsdb answers queries in full when
 * this returns. tsdb_start() then starts the background thread. AP_E_CORRUPT: the head's files are damaged, `err` names
 * file and offset; damaged blocks are moved to quarantine/ instead and do not fail this.
 */
ap_nodiscard enum ap_rc tsdb_open(const struct tsdb_options *options, struct tsdb **ret_tsdb, struct ap_err *err);
ap_nodiscard enum ap_rc tsdb_start(struct tsdb *tsdb, struct ap_err *err);
/* Ends the background thread; tsdb_close() does it too. */
void tsdb_stop(struct tsdb *tsdb);
/* Checkpoints and closes. No append may be under way, no set open. NULL is allowed. */
void tsdb_close(struct tsdb *tsdb);
AP_DEFINE_AUTO(tsdb, struct tsdb, tsdb_close)

/* ---- Writing ---- */

uint64_t tsdb_hash_seed(const struct tsdb *tsdb); /* for batch_series.hash; constant */

/* What became of a batch. Refused samples are the sender's fault and would be refused again. */
struct tsdb_outcome {
    uint64_t samples_written; /* floats; duplicates that say the same are among them */
    uint64_t histograms_written;
    uint64_t exemplars_written;
    uint64_t samples_refused;   /* floats and histograms, for any of these reasons: */
    uint64_t refused_labels;    /* the label set is not valid */
    uint64_t refused_series;    /* series_max reached */
    uint64_t refused_old;       /* before the out-of-order window */
    uint64_t refused_duplicate; /* another value at a time that has one */
    uint64_t refused_future;    /* more than an hour ahead of the clock */
    uint64_t exemplars_refused;
    char reason[TSDB_REASON_BYTES]; /* of the first refusal, with the series; empty: none */
};

/* One batch on its way into the log; in the caller's memory until done(). */
struct tsdb_append {
    const struct batch *batch; /* lent during tsdb_append() only */
    /*
     * May be NULL. The caller's, for each series of the batch: going in, the number that the same labels had last time
     * or TSDB_REF_NONE; coming out, the number that they have, TSDB_REF_NONE where the series was refused. Saves
     * looking the hash up. A number is compared with the hash before it is believed, so one that has become another's
     * does no harm.
     */
    uint32_t *refs;
    /*
     * Called once, on the log's commit thread or within tsdb_append(). AP_OK: all that outcome counts as written is
     * durable. AP_E_FULL, AP_E_IO: it may or may not be after a crash; the client shall repeat the request.
     */
    void (*done)(struct tsdb_append *append, enum ap_rc rc);
    /* May be NULL. Called once within tsdb_append(), before done(), when `outcome` and `refused_by_series` are
     * complete; what the log makes of it is not known yet. */
    void (*appended)(struct tsdb_append *append);
    void *context;
    bool can_wait;               /* for the log, as struct wal_ticket says: done() comes some 50 ms later */
    uint32_t *refused_by_series; /* may be NULL; lent, zeroed, one a series: how many samples and histograms of it */
    struct tsdb_outcome outcome; /* complete when tsdb_append() returns */
    /* The store's. */
    struct tsdb_append_record *records;
    uint32_t pending_count;
    enum ap_rc rc;
};

/*
 * AP_OK: done() was or will be called. AP_E_BUSY, AP_E_FULL (retry later) and AP_E_LIMIT: it will not, though some
 * samples may be readable already.
 */
ap_nodiscard enum ap_rc tsdb_append(struct tsdb *tsdb, struct tsdb_append *append, struct ap_err *err);

/* ---- Reading ---- */

/*
 * The newest sample and the newest histogram of one series, if they are still in the head: some hours. Quick: one
 * look-up, and a chunk decoded at most. False: the head does not know the series.
 */
struct tsdb_newest {
    int64_t ts_ms;  /* INT64_MIN: none; not of histograms */
    bool has_value; /* false: it is in a block by now, or was deleted */
    double value;
    int64_t histogram_ts_ms;   /* INT64_MIN: none */
    struct ap_slice histogram; /* histogram_encode()'s bytes, in the arena; data NULL: as has_value */
};
bool tsdb_newest(struct tsdb *tsdb, struct labels_hash hash, struct ap_arena *arena, struct tsdb_newest *ret_newest);

/* The series that matchers select, with their samples of a span of time, as of the call. Sorted by labels. */
struct tsdb_set;

struct tsdb_select_options {
    const struct matchers *matchers;
    int64_t min_ts_ms; /* both inclusive */
    int64_t max_ts_ms;
    uint64_t series_max; /* more is AP_E_LIMIT; 0: no limit */
};
ap_nodiscard enum ap_rc tsdb_select(struct tsdb *tsdb, const struct tsdb_select_options *options,
                                    struct tsdb_set **ret_set, struct ap_err *err);
void tsdb_set_free(struct tsdb_set *set); /* NULL is allowed */
AP_DEFINE_AUTO(tsdb_set, struct tsdb_set, tsdb_set_free)

size_t tsdb_set_count(const struct tsdb_set *set);
struct ap_slice tsdb_set_labels(const struct tsdb_set *set, size_t index); /* lent by the set */

/*
 * All samples of one series within the span, in order of time, each time once. `columns` is the caller's and reused
 * from series to series; several threads may read a set, each into columns of its own. Damaged chunks are left out,
 * counted and told to options.trouble. A series may have both floats and histograms (each array in order of its own).
 */
struct tsdb_columns {
    int64_t *ts_ms; /* owned; 64 bytes behind the end are readable */
    double *values;
    size_t count;
    size_t capacity;
    int64_t *histogram_ts_ms;
    struct ap_slice *histograms; /* histogram_encode()'s bytes, lent until the next read */
    size_t histogram_count;
    size_t histogram_capacity;
    struct ap_arena *arena;       /* owned: what `histograms` points to */
    struct tsdb_scratch *scratch; /* owned: the store's, for reading the next one */
};
void tsdb_columns_clear(struct tsdb_columns *columns); /* {0} is empty */
ap_nodiscard enum ap_rc tsdb_set_read(struct tsdb_set *set, size_t index, struct tsdb_columns *columns,
                                      struct ap_err *err);

/*
 * For whoever keeps answers. A mark is taken before reading; later, tsdb_changed_since() of it gives the smallest
 * timestamp that may be answered otherwise by now (samples that came, were deleted, or went with their block): what
 * was read below it is what would be read again. INT64_MAX: nothing changed; INT64_MIN: the mark is too old to tell.
 * What can be read, an append's samples as soon as tsdb_append() returns, counts as changed.
 */
uint64_t tsdb_change_mark(struct tsdb *tsdb);
int64_t tsdb_changed_since(struct tsdb *tsdb, uint64_t mark);

/* Names and values that series with samples in the span have; `matchers` may be NULL: of all. In order, each once. */
typedef bool (*tsdb_text_fn)(struct ap_slice text, void *context);
ap_nodiscard enum ap_rc tsdb_label_names(struct tsdb *tsdb, const struct matchers *matchers, int64_t min_ts_ms,
                                         int64_t max_ts_ms, tsdb_text_fn each, void *context, struct ap_err *err);
ap_nodiscard enum ap_rc tsdb_label_values(struct tsdb *tsdb, struct ap_slice name, const struct matchers *matchers,
                                          int64_t min_ts_ms, int64_t max_ts_ms, tsdb_text_fn each, void *context,
                                          struct ap_err *err);

typedef bool (*tsdb_exemplar_fn)(struct ap_slice series_labels, const struct batch_exemplar *exemplar, void *context);
/* By series, then time. */
void tsdb_exemplars(struct tsdb *tsdb, const struct matchers *matchers, int64_t min_ts_ms, int64_t max_ts_ms,
                    tsdb_exemplar_fn each, void *context);
typedef bool (*tsdb_metadata_fn)(const struct batch_metadata *metadata, void *context);
/* In order of the metric's name; `metric` NULL data: all. */
void tsdb_metadata(struct tsdb *tsdb, struct ap_slice metric, tsdb_metadata_fn each, void *context);

/* ---- Administration ---- */

/*
 * A block that somebody else made takes its place among the others: history, which tsdb_append() would refuse as too
 * old. It was finished (block_writer_finish()) in the directory staging/ of the store, and is gone from there on AP_OK,
 * and not before the store has it: after a crash, call this again for what is still in staging/. Samples of times that
 * a series has already are left out, so nothing is there twice, and what the store had stays; outcome counts them.
 * AP_E_NOT_FOUND: there is no such block in staging/. AP_E_LIMIT: it has samples more than an hour ahead of the clock,
 * or all of it is past retention, which would take it away at once.
 */
struct tsdb_adoption {
    uint64_t samples_added;
    uint64_t samples_same;  /* that the store had already */
    uint64_t samples_other; /* whose time it had with another value */
};
ap_nodiscard enum ap_rc tsdb_adopt(struct tsdb *tsdb, const char *id, struct tsdb_adoption *ret_adoption,
                                   struct ap_err *err);
/* The newest sample that the store knows of; INT64_MIN: it has none. Retention counts from there. */
int64_t tsdb_newest_ms(const struct tsdb *tsdb);

/* Durable on return. Blocks for as long as that takes: not on an HTTP loop. */
ap_nodiscard enum ap_rc tsdb_delete(struct tsdb *tsdb, const struct matchers *matchers, int64_t min_ts_ms,
                                    int64_t max_ts_ms, struct ap_err *err);
/* Rewrites blocks without what was deleted from them. */
ap_nodiscard enum ap_rc tsdb_clean_tombstones(struct tsdb *tsdb, struct ap_err *err);
/* A directory below snapshots/ that a store opens: blocks linked, the head (unless left out) as one more block. */
ap_nodiscard enum ap_rc tsdb_snapshot(struct tsdb *tsdb, bool is_skipping_head, char ret_name[64], struct ap_err *err);
/* Runs the background work (seal, cut, merge, retention, checkpoint) to its end now; for tests, benches and tools. */
ap_nodiscard enum ap_rc tsdb_settle(struct tsdb *tsdb, bool is_sealing_all, struct ap_err *err);

struct tsdb_stats {
    uint64_t head_series;
    uint64_t series_max;
    uint64_t series_created;
    uint64_t series_removed;
    uint64_t samples_appended; /* since the start, as the other counters */
    uint64_t histograms_appended;
    uint64_t exemplars_appended;
    uint64_t samples_out_of_order;
    uint64_t samples_duplicate;
    uint64_t refused_labels, refused_series, refused_old, refused_duplicate, refused_future;
    uint64_t head_chunks;
    int64_t head_min_ts_ms; /* INT64_MAX when empty */
    int64_t head_max_ts_ms; /* INT64_MIN when empty */
    uint64_t record_bytes;  /* log records made */
    uint64_t chunk_bytes;   /* chunks sealed */
    uint64_t chunk_samples;
    uint64_t checkpoints;
    uint64_t checkpoint_lsn;
    uint64_t block_count;
    uint64_t block_bytes;
    uint64_t block_samples;
    uint64_t merges;
    uint64_t blocks_removed; /* by retention */
    uint64_t blocks_quarantined;
    uint64_t chunks_damaged; /* found by reads */
    uint64_t replayed_samples;
    int64_t replay_ms;
    uint64_t background_failures;
    uint64_t seal_failures; /* chunks that found no room on the disk; tried again */
};
void tsdb_stats_get(struct tsdb *tsdb, struct tsdb_stats *ret_stats);

/* Blocks on disk, by their oldest sample. `each` must not call the store: it holds a lock. */
struct block_meta;
typedef void (*tsdb_block_fn)(const struct block_meta *meta, void *context);
void tsdb_each_block(struct tsdb *tsdb, tsdb_block_fn each, void *context);

/* Cardinality of the head: lists as /api/v1/status/tsdb shows them; text is copied. */
struct tsdb_top_entry {
    char *text; /* owned: a metric, a label name, or name=value */
    uint64_t count;
};
enum tsdb_top_kind { TSDB_TOP_METRICS, TSDB_TOP_LABEL_NAMES, TSDB_TOP_LABEL_BYTES, TSDB_TOP_PAIRS };
size_t tsdb_top(struct tsdb *tsdb, enum tsdb_top_kind kind, struct tsdb_top_entry *ret_entries, size_t max);
