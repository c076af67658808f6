/*
 * tsdb/block.h - a sealed span of time: an immutable directory with an index and chunk files
 *
 *     blocks/<id>/  meta.json     what it is: span, counts, where it came from
 *                   index         labels, series, postings, chunk addresses; mapped
 *                   chunks-0000 … the chunks, one file or several, shared with other blocks by hard link when merged
 *                   tombstones    deletions, if any; replaced as a whole
 *
 * Bytes: docs/format/tsdb.md. Every section of the index has a checksum that is looked at when the block is opened
 * (all of index and meta.json is covered), every chunk its own that is looked at when it is read.
 *
 * Threads: an open block is immutable but for its tombstones, which are replaced under its own lock. It is shared by
 * reference; a block that was removed from disk stays readable until its last reference goes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "os/fs.h"
#include "tsdb/chunk.h"
#include "tsdb/chunk_file.h"
#include "tsdb/labels.h"
#include "tsdb/matcher.h"

enum { BLOCK_ID_BYTES = 27 /* a ULID with its NUL: sorts by the time it was made */, BLOCK_CHUNK_FILES_MAX = 4096 };

struct block_meta {
    char id[BLOCK_ID_BYTES];
    int64_t min_ts_ms; /* of its samples, inclusive */
    int64_t max_ts_ms;
    uint64_t series_count;
    uint64_t chunk_count;
    uint64_t sample_count;
    uint64_t bytes; /* of index and chunks */
    uint32_t level; /* 1: cut from the head; one more than its sources' highest when merged */
    uint32_t chunk_file_count;
    uint64_t head_range_id;          /* which open range of the head it was cut from; 0: none */
    char (*sources)[BLOCK_ID_BYTES]; /* owned; the blocks it was merged from, direct ones */
    size_t source_count;
};
void block_meta_clear(struct block_meta *meta);

void block_id_make(int64_t now_ms, uint64_t random_high, uint64_t random_low, char ret_id[BLOCK_ID_BYTES]);

/* ---- Writing ---- */

struct block_writer; /* one thread */

/* Makes blocks/<id>.tmp below `blocks_fd`. */
ap_nodiscard enum ap_rc block_writer_new(const struct os_fs *fs, int blocks_fd, const char *id,
                                         struct block_writer **ret_writer, struct ap_err *err);
/* Removes what it made unless block_writer_finish() succeeded. NULL is allowed. */
void block_writer_free(struct block_writer *writer);
AP_DEFINE_AUTO(block_writer, struct block_writer, block_writer_free)

/* Adds a chunk file by hard link from another directory; gives the file_index for its chunks' entries. */
ap_nodiscard enum ap_rc block_writer_link(struct block_writer *writer, int from_dir_fd, const char *from_name,
                                          uint32_t *ret_file_index, struct ap_err *err);
/* Or a new one to append chunks to (rolled over to another by itself when it is full). Fills offset, bytes and
 * file_index of *entry. */
ap_nodiscard enum ap_rc block_writer_add_chunk(struct block_writer *writer, struct ap_slice chunk,
                                               struct chunk_entry *entry, struct ap_err *err);
/* Series in labels_compare() order, each once, entries sorted by min_ts_ms (they may overlap); at least one entry. */
ap_nodiscard enum ap_rc block_writer_add_series(struct block_writer *writer, struct ap_slice labels,
                                                const struct chunk_entry *entries, size_t entry_count,
                                                struct ap_err *err);
/*
 * A series by its samples, which become chunks: both arrays rise strictly in time; blobs are histogram_encode()'s. With
 * no sample at all nothing is added.
 */
struct block_samples {
    const int64_t *ts_ms;
    const double *values;
    size_t count;
    const int64_t *histogram_ts_ms;
    const struct ap_slice *histograms;
    size_t histogram_count;
};
ap_nodiscard enum ap_rc block_writer_add_samples(struct block_writer *writer, struct ap_slice labels,
                                                 const struct block_samples *samples, struct ap_err *err);
/*
 * Writes index and meta.json, syncs all, renames to blocks/<id>. From `meta` it takes level, head_range_id and sources;
 * the rest it knows. AP_E_NOT_FOUND: there was no series; nothing is made.
 */
ap_nodiscard enum ap_rc block_writer_finish(struct block_writer *writer, const struct block_meta *meta,
                                            struct ap_err *err);

/* ---- Reading ---- */

struct block; /* private to block.c */

/* AP_E_CORRUPT: `err` names file and offset. */
ap_nodiscard enum ap_rc block_open(const struct os_fs *fs, int blocks_fd, const char *id, struct block **ret_block,
                                   struct ap_err *err);
struct block *block_ref(struct block *block);
void block_unref(struct block *block); /* NULL is allowed */
AP_DEFINE_AUTO(block, struct block, block_unref)

const struct block_meta *block_meta_of(const struct block *block);
uint64_t block_disk_bytes(const struct block *block); /* chunk files shared with others count whole */
size_t block_series_count(const struct block *block);

/* Series are numbered in order of labels, 0 to block_series_count() - 1. Fills *ret_series (free() it), rising. */
ap_nodiscard enum ap_rc block_select(const struct block *block, const struct matchers *matchers, uint32_t **ret_series,
                                     size_t *ret_count, struct ap_err *err);
void block_series_labels(const struct block *block, uint32_t series, struct ap_buf *out); /* appends canonical bytes */
/* Appends the entries whose span touches [min, max] to *entries (grown with realloc). */
ap_nodiscard enum ap_rc block_series_chunks(const struct block *block, uint32_t series, int64_t min_ts_ms,
                                            int64_t max_ts_ms, struct chunk_entry **entries, size_t *count,
                                            size_t *capacity, struct ap_err *err);
/* Whether there are such: seldom needs to look at the entries. */
ap_nodiscard enum ap_rc block_series_touches(const struct block *block, uint32_t series, int64_t min_ts_ms,
                                             int64_t max_ts_ms, bool *ret_touches, struct ap_err *err);
/* Lends the bytes as they are: what decodes them checks them, and says what is wrong to block_chunk_failed(). */
ap_nodiscard enum ap_rc block_chunk(const struct block *block, const struct chunk_entry *entry,
                                    struct ap_slice *ret_chunk, struct ap_err *err);
/* Puts file and offset before `err`; returns its code. */
enum ap_rc block_chunk_failed(const struct block *block, const struct chunk_entry *entry, struct ap_err *err);

typedef bool (*block_text_fn)(struct ap_slice text, uint64_t series_count, void *context);
/* In order of bytes; without visiting series. */
void block_each_name(const struct block *block, block_text_fn each, void *context);
void block_each_value(const struct block *block, struct ap_slice name, block_text_fn each, void *context);

/* What the index is made of, for `apiary tsdb inspect`. Returns how many sections there are. */
struct block_section {
    const char *name;
    uint64_t bytes;
};
enum { BLOCK_SECTIONS_MAX = 16 };
size_t block_sections(const struct block *block, struct block_section ret_sections[BLOCK_SECTIONS_MAX]);

/* ---- Deletion ---- */

struct time_span {
    int64_t min_ts_ms; /* both inclusive */
    int64_t max_ts_ms;
};
/* Adds [min, max] to the tombstones of all series that match; durable on return. *ret_series_count: how many. */
ap_nodiscard enum ap_rc block_delete(struct block *block, const struct matchers *matchers, int64_t min_ts_ms,
                                     int64_t max_ts_ms, size_t *ret_series_count, struct ap_err *err);
/* Copies up to `max` spans of this series, merged and in order; returns how many there are. */
size_t block_tombstones(const struct block *block, uint32_t series, struct time_span *ret_spans, size_t max);
bool block_has_tombstones(const struct block *block);

/* ---- Merging ---- */

struct block_merge_options {
    const struct os_fs *fs;
    int blocks_fd;
    const char *id;
    bool is_rewriting; /* decode, merge, drop what was deleted, encode in full chunks; otherwise chunk files are linked
                          and only the index is new, which is right when nothing overlaps and nothing was deleted */
};
/* Makes one block of several. With no sample left AP_E_NOT_FOUND and no block. The sources stay. */
ap_nodiscard enum ap_rc block_merge(const struct block_merge_options *options, struct block *const *blocks,
                                    size_t count, struct ap_err *err);
/* Whether merging these must rewrite: chunks of a series overlap, tombstones, or chunks too small to keep. */
bool block_merge_must_rewrite(struct block *const *blocks, size_t count);

/* ---- Checking ---- */

struct block_fault {
    char file[64];
    uint64_t offset;
    char text[256];
};
/* Reads everything and calls `each` for every fault. Returns the number of faults. Also counts what it read. */
size_t block_verify(const struct os_fs *fs, int blocks_fd, const char *id,
                    void (*each)(const struct block_fault *fault, void *context), void *context,
                    uint64_t *ret_chunk_count, uint64_t *ret_sample_count);
