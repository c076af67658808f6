/*
 * tsdb/block_internal.h - the index file, as block*.c write and read it. Bytes: docs/format/tsdb.md, "Blocks"
 *
 *     header, section table, sections. Names are in order of bytes, pairs in order of name and value, series in order
 *     of labels; all refer to each other by number.
 */
#pragma once

#include <pthread.h>
#include <string.h>

#include "tsdb/block.h"
#include "tsdb/postings.h"

enum index_section {
    SECTION_META,
    SECTION_FILES, /* u64 bytes of each chunk file */
    SECTION_NAMES, /* struct index_name each */
    SECTION_PAIRS, /* struct index_pair each */
    SECTION_TEXTS,
    SECTION_POSTINGS,
    SECTION_OFFSETS, /* u32 for each series: where it begins in SECTION_SERIES */
    SECTION_SERIES,
    SECTION_COUNT
};

enum {
    INDEX_VERSION = 1,
    INDEX_HEADER_BYTES = 32,
    INDEX_TABLE_ENTRY_BYTES = 24,
    POSTINGS_DELTAS_MAX = 64, /* more are a roaring bitmap */
};

struct index_name {
    uint32_t text_offset;
    uint32_t text_bytes;
    uint32_t first_pair;
    uint32_t pair_count;
};

struct index_pair {
    uint32_t text_offset;
    uint32_t text_bytes;
    uint32_t name;
    uint32_t series_count;
    uint64_t postings; /* one series: its number; more: offset in SECTION_POSTINGS */
};

struct block_deletion {
    uint32_t series;
    uint32_t reserved;
    struct time_span span;
};

struct block {
    const struct os_fs *fs;
    int dir_fd;
    uint32_t reference_count; /* atomic */
    struct block_meta meta;
    char *index; /* mapped */
    size_t index_bytes;
    struct ap_slice sections[SECTION_COUNT];
    uint32_t name_count;
    uint32_t pair_count;
    uint32_t series_count;
    struct chunk_file **files; /* owned */
    /* Under tombstones_mtx. */
    pthread_mutex_t tombstones_mtx;
    struct block_deletion *deletions; /* owned; by series, then time */
    size_t deletion_count;            /* read without it by block_has_tombstones() */
};

void block_meta_encode(const struct block_meta *meta, struct ap_buf *out);
ap_nodiscard bool block_meta_decode(struct ap_slice bytes, struct block_meta *ret_meta);
/* meta.json: for people. What it must be, to the byte. */
void block_meta_json(const struct block_meta *meta, struct ap_buf *out);

void block_chunk_file_name(uint32_t file_index, char ret_name[16]); /* "chunks-0000" */

/* Inline: asked for every label of every series that a query selects. */

static inline struct index_name block_name(const struct block *block, uint32_t number)
{
    struct index_name name = {0};
    if (number < block->name_count)
        memcpy(&name, block->sections[SECTION_NAMES].data + (size_t)number * sizeof(name), sizeof(name));
    /* A count that the checksum vouches for may still be nonsense of a program's making. */
    if (name.first_pair > block->pair_count || name.pair_count > block->pair_count - name.first_pair)
        name.pair_count = 0;
    return name;
}

static inline struct index_pair block_pair(const struct block *block, uint32_t number)
{
    struct index_pair pair = {0};
    if (number < block->pair_count)
        memcpy(&pair, block->sections[SECTION_PAIRS].data + (size_t)number * sizeof(pair), sizeof(pair));
    return pair;
}

static inline struct ap_slice block_text(const struct block *block, uint32_t offset, uint32_t bytes)
{
    struct ap_slice texts = block->sections[SECTION_TEXTS];
    if (offset > texts.bytes || bytes > texts.bytes - offset)
        return ap_slice("", 0);
    return ap_slice(texts.data + offset, bytes);
}

uint32_t block_find_name(const struct block *block, struct ap_slice text); /* UINT32_MAX: none */
/* bitmap |= the series that have this pair. False: malformed. */
bool block_postings_or(const struct block *block, const struct index_pair *pair, roaring_bitmap_t *bitmap);

/* block_tombstones.c */
ap_nodiscard enum ap_rc block_tombstones_load(struct block *block, struct ap_err *err);
/* Writes `bytes` to a new file in the directory and syncs it. */
ap_nodiscard enum ap_rc block_write_file(const struct os_fs *fs, int dir_fd, const char *name, struct ap_slice bytes,
                                         struct ap_err *err);
