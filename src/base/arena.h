/*
 * base/arena.h - memory that dies together
 *
 * For what lives as long as one request, one query, one parse. Nothing in it is freed alone, and long-lived data never
 * points into one. One owner, no locks.
 */
#pragma once

#include <stddef.h>

#include "base/slice.h"

struct ap_arena_block;

struct ap_arena {
    struct ap_arena_block *last; /* owned, newest first */
    char *next;                  /* first free byte of the newest block, or of the caller's memory */
    size_t left_bytes;
    size_t used_bytes;  /* all that was handed out */
    size_t block_bytes; /* what that takes */
    size_t bytes_max;   /* 0: none */
    void *first_memory; /* lent by ap_arena_init_with(); not freed */
    size_t first_memory_bytes;
};

void ap_arena_init(struct ap_arena *arena, size_t bytes_max);

/* Uses the caller's `memory` first, which must outlive the arena: no allocation for small requests. */
void ap_arena_init_with(struct ap_arena *arena, void *memory, size_t memory_bytes, size_t bytes_max);
void ap_arena_clear(struct ap_arena *arena); /* frees all of it */
void ap_arena_reset(struct ap_arena *arena); /* as new, keeps the caller's memory */
/* As new, keeps the newest block: for memory of the same size again and again. Only without memory of the caller's. */
void ap_arena_recycle(struct ap_arena *arena);
#define AP_AUTO_ARENA __attribute__((cleanup(ap_arena_clear)))

/* Uninitialised, 16-byte aligned memory; NULL over bytes_max or when memory is gone. */
void *ap_arena_try_alloc(struct ap_arena *arena, size_t bytes);

/* Zeroed; aborts where ap_arena_try_alloc() gives NULL: only for small sizes that the program itself chose. */
void *ap_arena_alloc0(struct ap_arena *arena, size_t bytes) __attribute__((returns_nonnull));

/* A NUL-terminated copy, or NULL as ap_arena_try_alloc(). */
char *ap_arena_try_strndup(struct ap_arena *arena, struct ap_slice text);
