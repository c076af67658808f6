#include "tsdb/slab.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { BLOCK_BYTES_MIN = 16 << 10, BLOCK_BYTES_MAX = 1 << 20 };

struct slab_block {
    struct slab_block *previous;
    _Alignas(SLAB_STEP_BYTES) char memory[];
};

/* The size that a piece takes; its list goes to *ret_class. */
static size_t round_up(size_t bytes, unsigned *ret_class)
{
    if (bytes <= SLAB_FINE_BYTES_MAX) {
        *ret_class = bytes ? (unsigned)((bytes + SLAB_STEP_BYTES - 1) / SLAB_STEP_BYTES) : 1;
        return (size_t)*ret_class * SLAB_STEP_BYTES;
    }
    unsigned shift = 11;
    while ((size_t)1 << shift < bytes)
        shift++;
    AP_ASSERT(shift <= SLAB_COARSE_SHIFT_MAX);
    *ret_class = SLAB_FINE_BYTES_MAX / SLAB_STEP_BYTES + 1 + shift - 11;
    return (size_t)1 << shift;
}

void slab_clear(struct slab *slab)
{
    while (slab->blocks) {
        struct slab_block *block = slab->blocks;
        slab->blocks = block->previous;
        free(block);
    }
    *slab = (struct slab){0};
}

static void add_block(struct slab *slab, size_t bytes)
{
    /* A quarter of what there is: small stores stay small, large ones make few blocks. */
    size_t block_bytes =
        AP_MIN(AP_MAX((size_t)slab->block_bytes / 4, (size_t)BLOCK_BYTES_MIN), (size_t)BLOCK_BYTES_MAX);
    block_bytes = AP_MAX(block_bytes, bytes);
    struct slab_block *block = ap_realloc(NULL, sizeof(*block) + block_bytes);
    block->previous = slab->blocks;
    slab->blocks = block;
    slab->next = block->memory;
    slab->left_bytes = block_bytes;
    slab->block_bytes += sizeof(*block) + block_bytes;
}

void *slab_alloc(struct slab *slab, size_t bytes)
{
    unsigned class;
    bytes = round_up(bytes, &class);
    slab->used_bytes += bytes;
    void *piece = slab->free[class];
    if (piece) {
        memcpy(&slab->free[class], piece, sizeof(void *));
        return piece;
    }
    if (slab->left_bytes < bytes)
        add_block(slab, bytes);
    piece = slab->next;
    slab->next += bytes;
    slab->left_bytes -= bytes;
    return piece;
}

void slab_free(struct slab *slab, void *piece, size_t bytes)
{
    unsigned class;
    slab->used_bytes -= round_up(bytes, &class);
    memcpy(piece, &slab->free[class], sizeof(void *));
    slab->free[class] = piece;
}
