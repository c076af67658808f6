/*
 * base/mem.h - allocation, ownership marks and scoped cleanup
 *
 * Two kinds of allocation. Small fixed sizes that the program itself chose: ap_new0() and friends, which abort when
 * memory is gone. Sizes that came from a client, a file or a query: ap_try_alloc() under a maximum that the caller
 * states, where failing is an ordinary result.
 */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define ap_new0(type)              ((type *)ap_alloc0(1, sizeof(type)))
#define ap_new0_array(type, count) ((type *)ap_alloc0((count), sizeof(type)))

/* Zeroed memory; aborts when there is none. free() it. `count` * `size` must not overflow. */
void *ap_alloc0(size_t count, size_t size) __attribute__((malloc, returns_nonnull));

/* As realloc(); aborts when there is none. `bytes` must not be 0. */
void *ap_realloc(void *take_memory, size_t bytes) __attribute__((returns_nonnull));

/* A copy of `text`, or of its first `bytes` bytes with a final NUL; aborts when memory is gone. free() it. */
char *ap_strdup(const char *text) __attribute__((malloc, returns_nonnull));
char *ap_strndup(const char *text, size_t bytes) __attribute__((malloc, returns_nonnull));

/* printf into a new string; aborts when memory is gone. free() it. */
char *ap_asprintf(const char *format, ...) __attribute__((malloc, returns_nonnull, format(printf, 1, 2)));

/* `bytes` of uninitialised memory, or NULL when that is above `bytes_max` or memory is gone. free() it. */
void *ap_try_alloc(size_t bytes, size_t bytes_max) __attribute__((malloc));

#define AP_ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define AP_MIN(a, b)          ((a) < (b) ? (a) : (b))
#define AP_MAX(a, b)          ((a) > (b) ? (a) : (b))

/* The struct of `type` whose `member` is at `pointer`. */
#define AP_CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/*
 * Scoped cleanup, attached where the resource is acquired:
 *
 *     AP_DEFINE_AUTO(wal, struct wal, wal_close)        once, in the module's header
 *     AP_AUTO(wal) struct wal *wal = wal_new(…);        closed at the end of the scope …
 *     *ret_wal = AP_MOVE(wal);                          … unless it was handed out
 */
#define AP_CLEANUP(function) __attribute__((cleanup(function)))
#define AP_AUTO(name)        AP_CLEANUP(ap_auto_##name)
#define AP_DEFINE_AUTO(name, type, free_function)                                                                      \
    static inline void ap_auto_##name(type **owner)                                                                    \
    {                                                                                                                  \
        if (*owner)                                                                                                    \
            free_function(*owner);                                                                                     \
    }
#define AP_MOVE(pointer)                                                                                               \
    ({                                                                                                                 \
        __typeof__(pointer) moved_ = (pointer);                                                                        \
        (pointer) = NULL;                                                                                              \
        moved_;                                                                                                        \
    })

static inline void ap_auto_free_(void *owner)
{
    free(*(void **)owner);
}
#define AP_AUTO_FREE AP_CLEANUP(ap_auto_free_)

/* A file descriptor that closes itself; -1 is none. Implemented in mem.c. */
void ap_auto_fd_(int *fd);
#define AP_AUTO_FD AP_CLEANUP(ap_auto_fd_)
#define AP_MOVE_FD(fd)                                                                                                 \
    ({                                                                                                                 \
        int moved_ = (fd);                                                                                             \
        (fd) = -1;                                                                                                     \
        moved_;                                                                                                        \
    })
