#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { ARENA_ALIGN_BYTES = 16, ARENA_BLOCK_BYTES_MIN = 1024, ARENA_BLOCK_BYTES_MAX = 8192 };

struct ap_arena_block {
    struct ap_arena_block *previous;
    size_t bytes;
    _Alignas(ARENA_ALIGN_BYTES) char memory[];
};

void ap_arena_init_with(struct ap_arena *arena, void *memory, size_t memory_bytes, size_t bytes_max)
{
    AP_ASSERT((uintptr_t)memory % ARENA_ALIGN_BYTES == 0);
    *arena = (struct ap_arena){
        .next = memory,
        .left_bytes = memory_bytes,
        .bytes_max = bytes_max,
        .first_memory = memory,
        .first_memory_bytes = memory_bytes,
    };
}

void ap_arena_init(struct ap_arena *arena, size_t bytes_max)
{
    ap_arena_init_with(arena, NULL, 0, bytes_max);
}

void ap_arena_clear(struct ap_arena *arena)
{
    while (arena->last) {
        struct ap_arena_block *block = arena->last;
        arena->last = block->previous;
        free(block);
    }
    ap_arena_init_with(arena, NULL, 0, arena->bytes_max);
}

void ap_arena_reset(struct ap_arena *arena)
{
    void *memory = arena->first_memory;
    size_t memory_bytes = arena->first_memory_bytes;
    ap_arena_clear(arena);
    ap_arena_init_with(arena, memory, memory_bytes, arena->bytes_max);
}

void ap_arena_recycle(struct ap_arena *arena)
{
    AP_ASSERT(!arena->first_memory);
    struct ap_arena_block *kept = arena->last;
    if (!kept)
        return;
    arena->last = kept->previous;
    ap_arena_clear(arena);
    kept->previous = NULL;
    arena->last = kept;
    arena->next = kept->memory;
    arena->left_bytes = kept->bytes;
    arena->block_bytes = sizeof(*kept) + kept->bytes;
}

void *ap_arena_try_alloc(struct ap_arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + ARENA_ALIGN_BYTES - 1) & ~(size_t)(ARENA_ALIGN_BYTES - 1);
    if (arena->bytes_max && bytes > arena->bytes_max - AP_MIN(arena->bytes_max, arena->used_bytes))
        return NULL;
    if (bytes > arena->left_bytes) {
        /* As large as all before it: thousands of small ones, of rules and their queries, take little. */
        size_t block_bytes =
            AP_MIN(AP_MAX(arena->block_bytes, (size_t)ARENA_BLOCK_BYTES_MIN), (size_t)ARENA_BLOCK_BYTES_MAX);
        block_bytes = AP_MAX(bytes, block_bytes);
        struct ap_arena_block *block = malloc(sizeof(*block) + block_bytes);
        if (!block)
            return NULL;
        block->previous = arena->last;
        block->bytes = block_bytes;
        arena->last = block;
        arena->block_bytes += sizeof(*block) + block_bytes;
        arena->next = block->memory;
        arena->left_bytes = block_bytes;
    }
    void *memory = arena->next;
    arena->next += bytes;
    arena->left_bytes -= bytes;
    arena->used_bytes += bytes;
    return memory;
}

void *ap_arena_alloc0(struct ap_arena *arena, size_t bytes)
{
    void *memory = ap_arena_try_alloc(arena, bytes);
    AP_ASSERT(memory != NULL);
    memset(memory, 0, bytes);
    return memory;
}

char *ap_arena_try_strndup(struct ap_arena *arena, struct ap_slice text)
{
    char *copy = ap_arena_try_alloc(arena, text.bytes + 1);
    if (!copy)
        return NULL;
    if (text.bytes)
        memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    return copy;
}
