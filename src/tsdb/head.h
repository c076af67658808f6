/*
 * tsdb/head.h - the newest samples: open tails of every series, and the chunks that they became
 *
 *     sample ──► tail (up to 360)  ──seal──►  chunk in the chunk file of its range  ──cut──►  block
 *
 * Time is cut into ranges of block_range_ms. A range that has samples here has one chunk file, head/<id>.chunks, to
 * which chunks are appended as tails fill up; when the range is over, the same file becomes part of a block.
 *
 * The head is divided into shards, each with a lock, its series and the writer of its log records. Series ref belongs
 * to shard ref % shard_count. What makes restarts exact: records have sequence numbers; when a series is sealed (all
 * its tails at once), it remembers the sequence number up to which everything of it is in chunks, and replay skips
 * records up to there for this series.
 *
 * Internal to tsdb/. Locks: registry lock before shard lock before ranges_mtx before range->mtx.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "os/fs.h"
#include "tsdb/batch.h"
#include "tsdb/changes.h"
#include "tsdb/chunk.h"
#include "tsdb/chunk_file.h"
#include "tsdb/registry.h"
#include "tsdb/sample_log.h"
#include "tsdb/tail.h"

enum {
    HEAD_TAIL_SAMPLES = 360,     /* a tail that has so many is sealed: an hour of samples every ten seconds */
    HEAD_TAIL_SAMPLES_MAX = 448, /* and it may hold so many when a request brings several at once */
    HEAD_SERIES_PER_PAGE = 1024,
    HEAD_SHARDS_MAX = 64,
    HEAD_FUTURE_MS_MAX = 3600 * 1000, /* ahead of the clock and of what is there: senders' clocks are set wrong */
};

/* An open range of time. Shared by reference: sets that read it may outlive its time in the head. */
struct head_range {
    uint64_t id; /* names its files; never used again */
    int64_t start_ms;
    uint32_t reference_count; /* atomic */
    /* Under mtx. */
    pthread_mutex_t mtx;
    struct chunk_file *file;
    /* Under the store's view lock: 0, or from which generation of sets on a block answers for this range. */
    uint64_t cut_generation;
    /* Background thread only. */
    uint64_t list_bytes; /* of head/<id>.list that are on disk */
    bool is_closed;      /* its file is full: new chunks go to another range of the same time */
};

struct head_chunk {
    struct head_range *range; /* alive while a series lists it */
    int64_t min_ts_ms;
    uint64_t offset;
    uint32_t span_ms; /* to the last sample */
    uint32_t bytes;
    uint16_t sample_count;
    uint8_t kind;
    uint32_t deleted_first; /* the series' deleted spans from here on are of it; those before are older than it */
};

/* Raw histograms of one series in one range, in order of time. */
struct histogram_tail {
    int64_t range_start_ms;
    struct histogram_tail_entry {
        int64_t ts_ms;
        uint32_t offset; /* in bytes */
        uint32_t bytes;
    } * entries;
    uint32_t count;
    uint32_t capacity;
    struct ap_buf bytes; /* histogram_encode()'s, one behind the other */
};

/* What few series have. */
struct head_extra {
    struct tail *late; /* samples that came out of order and do not fit into the tail: one range's at a time */
    struct histogram_tail histograms;
    int64_t histogram_last_ts_ms;
    uint64_t histogram_seq; /* of the record that brought the newest */
    struct deleted_span {
        int64_t min_ts_ms;
        int64_t max_ts_ms;
    } * deleted; /* owned; in order, of chunks: what was in tails was really removed */
    uint32_t deleted_count;
};

/* Whether the series file has a series' labels; what it has, the log need not define. */
enum head_save_state { HEAD_UNSAVED, HEAD_SAVING, HEAD_SAVED };

struct head_series {
    struct tail *tail;         /* owned; may be NULL */
    struct head_chunk *chunks; /* owned */
    struct head_extra *extra;  /* owned; mostly NULL */
    int64_t last_ts_ms;        /* newest float; INT64_MIN: none yet */
    struct sample_state state;
    uint64_t sealed_seq; /* records up to here are in chunks, as far as this series goes */
    uint32_t chunk_count;
    uint32_t chunk_capacity : 30;
    uint32_t save_state : 2;     /* enum head_save_state */
    uint32_t tail_epoch;         /* of the oldest sample in any of its tails; 0: no tail */
    uint32_t defined_epoch : 31; /* the epoch whose records have its labels */
    uint32_t is_live : 1;
};

struct head_shard {
    pthread_mutex_t mtx;
    /* All under mtx. */
    struct head_series **pages; /* owned; series `local` is pages[local / HEAD_SERIES_PER_PAGE][local % …] */
    uint32_t page_count;
    uint32_t page_capacity;
    uint32_t epoch;       /* of the records being made */
    uint64_t break_count; /* wal_break_count() when this epoch began */
    struct sample_writer writer;
    struct ap_buf chunk_scratch;
    struct ap_buf list_pending; /* chunks sealed since the last checkpoint, as the list file has them */
    int64_t max_ts_ms;          /* newest sample ever appended here */
    int64_t min_ts_ms;
    int64_t touched_min_ts_ms; /* appended and not yet in `changes`; INT64_MAX: nothing */
    struct changes changes;
    uint64_t sample_count; /* statistics, since the start */
    uint64_t histogram_count;
    uint64_t late_count;
    uint64_t duplicate_count;
    uint64_t chunk_count; /* in the head now */
    uint64_t chunk_bytes; /* sealed since the start */
    uint64_t chunk_samples;
    uint64_t seal_failures;
    struct ap_err seal_error; /* the newest */
    char padding[64];
};

struct head_options {
    const struct os_fs *fs;
    int dir_fd;           /* head/; lent */
    uint32_t shard_count; /* a power of two */
    int64_t range_ms;
    int64_t window_ms;
};

struct head {
    struct head_options options;
    struct registry *registry; /* lent */
    struct head_shard *shards; /* owned */
    uint32_t shard_mask;
    uint32_t shard_shift;
    _Atomic uint64_t seq;           /* of the newest record */
    _Atomic uint32_t epoch;         /* the newest */
    _Atomic int64_t max_ts_ms;      /* newest sample of any series; INT64_MIN: none */
    _Atomic uint64_t change_period; /* changes.h */
    pthread_mutex_t ranges_mtx;
    struct head_range **ranges; /* owned references; under ranges_mtx */
    size_t range_count;
    size_t range_capacity;
    uint64_t range_id_next;
};

struct head *head_new(const struct head_options *options, struct registry *registry);
void head_free(struct head *head); /* NULL is allowed */

static inline int64_t head_range_start(const struct head *head, int64_t ts_ms)
{
    int64_t range_ms = head->options.range_ms;
    int64_t rest = ts_ms % range_ms;
    return ts_ms - (rest < 0 ? rest + range_ms : rest);
}
static inline struct head_shard *head_shard_of(const struct head *head, uint32_t ref)
{
    return &head->shards[ref & head->shard_mask];
}
static inline uint32_t head_local(const struct head *head, uint32_t ref)
{
    return ref >> head->shard_shift;
}

/* The series of this number in the shard; made when it is not there yet. */
struct head_series *head_series_locked(struct head_shard *shard, uint32_t local);
struct head_extra *head_extra_locked(struct head_series *series); /* made when there is none */
void head_series_remove_locked(struct head_series *series);
/* NULL when it was never made. */
struct head_series *head_series_peek_locked(const struct head_shard *shard, uint32_t local);

enum head_verdict { HEAD_APPENDED, HEAD_DUPLICATE, HEAD_REFUSED_OLD, HEAD_REFUSED_DUPLICATE, HEAD_REFUSED_FUTURE };

struct head_limits {
    int64_t min_ts_ms; /* older ones are refused */
    int64_t max_ts_ms; /* newer ones too */
};
/* What holds for a batch that comes at `now_ms`. */
struct head_limits head_limits_of(const struct head *head, int64_t now_ms);

/*
 * Appends the samples of one series that one record (`seq`) brings, in any order of time, and says for each what became
 * of it. The series is sealed when its tail is full. Appended and duplicate ones must be logged.
 */
void head_append_locked(struct head *head, struct head_shard *shard, uint32_t ref, struct head_series *series,
                        const struct head_limits *limits, uint64_t seq, const int64_t *ts_ms, const double *values,
                        size_t count, uint8_t *ret_verdicts);
enum head_verdict head_append_histogram_locked(struct head *head, struct head_shard *shard, uint32_t ref,
                                               struct head_series *series, const struct head_limits *limits,
                                               uint64_t seq, int64_t ts_ms, struct ap_slice blob);

/* ---- head_seal.c ---- */

/* Chunks of all tails of a series. On failure (disk full) what could not be written stays in the tails. */
bool head_seal_locked(struct head *head, struct head_shard *shard, uint32_t ref, struct head_series *series,
                      uint64_t sealed_seq);
bool head_seal_tail_locked(struct head *head, struct head_shard *shard, uint32_t ref, struct head_series *series,
                           struct tail **tail);
bool head_seal_histograms_locked(struct head *head, struct head_shard *shard, uint32_t ref, struct head_series *series);
void head_add_chunk_locked(struct head_shard *shard, struct head_series *series, const struct head_chunk *chunk);

/* The range to append to for this time; made when there is none. */
ap_nodiscard enum ap_rc head_range_get(struct head *head, int64_t start_ms, struct head_range **ret_range,
                                       struct ap_err *err);
struct head_range *head_range_find(struct head *head, uint64_t id); /* lent; NULL: none */
void head_range_close(struct head *head, struct head_range *range); /* nothing is appended to it any more */
/* Takes over `take_file`. */
struct head_range *head_range_add(struct head *head, uint64_t id, int64_t start_ms, struct chunk_file *take_file);
struct head_range *head_range_ref(struct head_range *range);
void head_range_unref(struct head_range *range);
void head_range_name(uint64_t id, const char *suffix, char ret_name[40]); /* "0000000000000012.chunks" */

/* One entry of a chunk list, as list files have it. */
enum { HEAD_LIST_HAS_DELETED_FIRST = 0x80 /* in the byte of the kind */ };
void head_list_encode(uint64_t range_id, uint32_t ref, const struct head_chunk *chunk, struct ap_buf *out);

/* ---- head_read.c ---- */

/* A series' samples as they are now: copies of the tails, and where its chunks are. */
struct head_copy {
    struct head_chunk *chunks; /* owned array; their ranges are referenced by the set */
    size_t chunk_count;
    size_t chunk_capacity;
    int64_t *ts_ms; /* owned; of tail and late tail, each in order, one behind the other */
    double *values;
    size_t tail_count;
    size_t late_count;
    size_t sample_capacity;
    struct ap_buf histogram_bytes;
    struct histogram_tail_entry *histograms;
    size_t histogram_count;
    size_t histogram_capacity;
    struct deleted_span *deleted;
    size_t deleted_count;
    size_t deleted_capacity;
};
void head_copy_clear(struct head_copy *copy);
/* What touches [min, max] and is not in a range that a block answers for in sets of this generation. */
void head_copy_series(struct head *head, uint32_t ref, uint64_t generation, int64_t min_ts_ms, int64_t max_ts_ms,
                      struct head_copy *copy);
/* The spans that were deleted from one of the copy's chunks; lent. */
struct head_deleted {
    const struct deleted_span *spans;
    size_t count;
};
struct head_deleted head_copy_deleted(const struct head_copy *copy, const struct head_chunk *chunk);
/* The chunk at that place, or NULL. */
const struct head_chunk *head_copy_find(const struct head_copy *copy, const struct head_range *range, uint64_t offset);
bool head_is_deleted(struct head_deleted deleted, int64_t ts_ms);
/*
 * For each of up to HEAD_TOGETHER series, whether there is any sample in [min, max]; deletions are not looked at. Their
 * memory is fetched for all of them together.
 */
enum { HEAD_TOGETHER = 64 };
void head_touches(struct head *head, const uint32_t *refs, size_t count, int64_t min_ts_ms, int64_t max_ts_ms,
                  bool *ret_touches);

/* Removes samples of the span from the tails and marks it for the chunks. */
void head_delete_locked(struct head_series *series, int64_t min_ts_ms, int64_t max_ts_ms);
/* The mark alone, for all chunks that there are. */
void head_add_deleted_locked(struct head_series *series, int64_t min_ts_ms, int64_t max_ts_ms);
