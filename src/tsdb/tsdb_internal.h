/*
 * tsdb/tsdb_internal.h - the state that the tsdb_*.c files share
 *
 * Locks, in the order in which they are taken: maintain_mtx, registry lock, shard lock, head->ranges_mtx, range->mtx;
 * view_mtx, extras_mtx and the one of `selections` are leaves.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/random.h"
#include "tsdb/block.h"
#include "tsdb/changes.h"
#include "tsdb/extras.h"
#include "tsdb/head.h"
#include "tsdb/selections.h"
#include "tsdb/tsdb.h"
#include "wal/wal.h"

/* An epoch that began at a checkpoint: where replay may begin. */
struct epoch_start {
    uint32_t epoch;
    uint64_t seq_before; /* records of this epoch have higher ones */
    uint64_t lsn;        /* and are at this LSN or above */
};

struct tsdb {
    /* Constant after tsdb_open(). */
    struct tsdb_options options;
    char *dir; /* owned */
    int dir_fd;
    int head_fd;
    int blocks_fd;
    struct registry *registry;     /* owned */
    struct head *head;             /* owned */
    struct selections *selections; /* owned */
    struct wal_cursor *cursor;     /* owned; holds the log back */

    /* Whoever does background work holds maintain_mtx: the thread, or a caller that asks for a piece of it. */
    pthread_mutex_t maintain_mtx;
    struct ap_random random;
    struct epoch_start *epochs; /* owned; oldest first; the last one is the current */
    size_t epoch_count;
    size_t epoch_capacity;
    uint64_t file_number; /* of series and list files */
    uint64_t series_file_bytes;
    uint64_t list_file_bytes;
    bool must_rewrite_list;
    bool must_rewrite_series;
    bool must_collect;         /* series may have lost their last chunk */
    bool has_deletions_in_log; /* behind the checkpoint: a replay would do them again, in all blocks */
    uint64_t checkpoint_lsn;
    int64_t checkpoint_us;            /* monotonic, of the last one */
    uint64_t checkpoint_record_bytes; /* record_bytes at the last one */
    struct ap_buf lists;              /* chunks sealed and not yet in the list file: what a failed checkpoint left */
    uint64_t removed_generation;      /* refs removed then wait for sets that are older; 0: none */
    uint64_t removed_seq; /* and for a checkpoint whose replay begins behind the last record that may name them */
    bool is_holding_refs; /* under the registry's lock: no ref is given out that a record may still name */
    uint32_t ref_floor;   /* while that is so: all refs that the log names are below */

    /* The background thread. */
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t wake_mtx;
    pthread_cond_t wake_cond;
    bool is_stopping; /* under wake_mtx */
    bool is_woken;    /* under wake_mtx */

    /* Under view_mtx: what a new set sees. */
    pthread_mutex_t view_mtx;
    struct block **blocks; /* owned references, by min_ts_ms */
    size_t block_count;
    size_t block_capacity;
    uint64_t generation;
    struct tsdb_set *sets; /* open ones */
    struct changes block_changes;
    int64_t deleting_min_ts_ms; /* of the deletion that is under way; INT64_MAX: none is */

    _Atomic int64_t change_period_us; /* monotonic: when head->change_period began */

    /* Under extras_mtx. */
    pthread_mutex_t extras_mtx;
    struct extras extras;

    /* Statistics, atomic. */
    _Atomic uint64_t record_bytes;
    _Atomic uint64_t refused_labels, refused_series, refused_old, refused_duplicate, refused_future;
    _Atomic uint64_t exemplars_appended;
    _Atomic uint64_t checkpoints, merges, blocks_removed, blocks_quarantined, chunks_damaged, background_failures;
    uint64_t replayed_samples; /* constant after tsdb_open() */
    int64_t replay_ms;
};

static inline bool tsdb_failed(struct tsdb *tsdb, const struct ap_err *err)
{
    if (tsdb->options.trouble)
        tsdb->options.trouble(err, tsdb->options.context);
    return false;
}

/* tsdb_checkpoint.c; under maintain_mtx. */
ap_nodiscard enum ap_rc tsdb_checkpoint(struct tsdb *tsdb, struct ap_err *err);
/* Fills registry and head from the files of the last checkpoint; *ret_lsn: where to replay from. AP_E_NOT_FOUND: none.
 */
ap_nodiscard enum ap_rc tsdb_checkpoint_load(struct tsdb *tsdb, uint64_t *ret_lsn, struct ap_err *err);
void tsdb_epoch_begin(struct tsdb *tsdb);
void tsdb_make_head(struct tsdb *tsdb, uint64_t seed); /* tsdb.c: registry and head, empty */

/* tsdb_replay.c */
ap_nodiscard enum ap_rc tsdb_replay(struct tsdb *tsdb, struct ap_err *err);

/* tsdb_changes.c */
void tsdb_note_blocks_locked(struct tsdb *tsdb, int64_t min_ts_ms); /* blocks from then on are others */
void tsdb_deletion_begin(struct tsdb *tsdb, int64_t min_ts_ms);     /* under maintain_mtx, as its end */
void tsdb_deletion_end(struct tsdb *tsdb);

/* tsdb_delete.c */
ap_nodiscard enum ap_rc tsdb_replay_deletion(struct tsdb *tsdb, struct ap_slice record, uint64_t checkpoint_seq,
                                             uint64_t *seq_max, struct ap_err *err);

/* tsdb_maintain.c */
void *tsdb_maintain_main(void *tsdb);
void tsdb_wake(struct tsdb *tsdb);
ap_nodiscard enum ap_rc tsdb_maintain(struct tsdb *tsdb, bool is_sealing_all, struct ap_err *err);
/* The lowest generation of an open set; UINT64_MAX when none is open. */
uint64_t tsdb_oldest_set(struct tsdb *tsdb);
/* Everything that is in tails becomes chunks, so that cutting sees it. */
void tsdb_seal_all(struct tsdb *tsdb);

/* tsdb_cut.c: ranges of the head that are over become blocks; under maintain_mtx. */
ap_nodiscard enum ap_rc tsdb_cut(struct tsdb *tsdb, bool is_all, struct ap_err *err);
/* Writes what the range holds as a block `id` below `blocks_fd`; for snapshots too. */
ap_nodiscard enum ap_rc tsdb_write_range(struct tsdb *tsdb, struct head_range *range, int blocks_fd, const char *id,
                                         struct ap_err *err);
void tsdb_seal_range(struct tsdb *tsdb, int64_t start_ms);
void tsdb_drop_cut_ranges(struct tsdb *tsdb);
void tsdb_collect_series(struct tsdb *tsdb);

/* tsdb_blocks.c: the list of blocks on disk; under maintain_mtx. */
ap_nodiscard enum ap_rc tsdb_blocks_load(struct tsdb *tsdb, struct ap_err *err);
void tsdb_block_id(struct tsdb *tsdb, char ret_id[BLOCK_ID_BYTES]);
/* Adds `take_block` (may be NULL) and takes `remove` away, in one step for readers; returns the new generation. */
/* The range is a block from now on (NULL: nothing of it is left). */
void tsdb_blocks_publish_cut(struct tsdb *tsdb, struct block *take_block, struct head_range *range);
uint64_t tsdb_blocks_replace(struct tsdb *tsdb, struct block *take_block, struct block *const *remove, size_t count);
ap_nodiscard enum ap_rc tsdb_merge_some(struct tsdb *tsdb, bool *ret_merged, struct ap_err *err);
ap_nodiscard enum ap_rc tsdb_retain(struct tsdb *tsdb, struct ap_err *err);
/* A directory and the files in it. */
ap_nodiscard enum ap_rc tsdb_remove_dir(struct tsdb *tsdb, int parent_fd, const char *name, struct ap_err *err);
ap_nodiscard enum ap_rc tsdb_block_remove(struct tsdb *tsdb, const char *id, struct ap_err *err);
