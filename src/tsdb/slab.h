/*
 * tsdb/slab.h - millions of small pieces of memory without an allocator's cost for each
 *
 * Pieces are cut from large blocks. A freed piece goes to a list of its size and is handed out again; blocks are given
 * back when all is. The caller says a piece's size when it frees it, so that none is kept. One owner, no locks.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    SLAB_STEP_BYTES = 8,
    SLAB_FINE_BYTES_MAX = 1032, /* a list for every step up to here, */
    SLAB_COARSE_SHIFT_MAX = 17, /* then for powers of two up to 128 KiB */
    SLAB_CLASSES = SLAB_FINE_BYTES_MAX / SLAB_STEP_BYTES + 1 + SLAB_COARSE_SHIFT_MAX - 10,
};

struct slab_block;

struct slab {
    struct slab_block *blocks; /* owned */
    char *next;
    size_t left_bytes;
    uint64_t block_bytes; /* of all blocks */
    uint64_t used_bytes;  /* of all pieces that are out */
    void *free[SLAB_CLASSES];
};

/* {0} is empty. */
void slab_clear(struct slab *slab);
/* Uninitialised, aligned to 8 bytes. At most 1 << SLAB_COARSE_SHIFT_MAX bytes. */
void *slab_alloc(struct slab *slab, size_t bytes) __attribute__((returns_nonnull));
void slab_free(struct slab *slab, void *piece, size_t bytes);
