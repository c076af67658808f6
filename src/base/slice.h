/*
 * base/slice.h - bytes with a length, owned by somebody else
 *
 * Input travels as slices: a value may hold a NUL, so strlen() on input is a bug.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct ap_slice {
    const char *data; /* lent; may be NULL when bytes is 0 */
    size_t bytes;
};

/* For printf("%.*s", AP_SLICE_ARG(slice)). */
#define AP_SLICE_ARG(slice) (int)(slice).bytes, (slice).data ? (slice).data : ""

/* A slice of a string literal, usable in static initialisers. */
#define AP_SLICE_LITERAL(literal)                                                                                      \
    {                                                                                                                  \
        (literal), sizeof(literal) - 1                                                                                 \
    }

static inline struct ap_slice ap_slice(const void *data, size_t bytes)
{
    return (struct ap_slice){data, bytes};
}

static inline struct ap_slice ap_slice_cstr(const char *text)
{
    return (struct ap_slice){text, text ? strlen(text) : 0};
}

static inline bool ap_slice_equal(struct ap_slice a, struct ap_slice b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

static inline bool ap_slice_equal_cstr(struct ap_slice a, const char *text)
{
    return ap_slice_equal(a, ap_slice_cstr(text));
}

static inline bool ap_slice_starts_with(struct ap_slice whole, const char *prefix)
{
    size_t bytes = strlen(prefix);
    return whole.bytes >= bytes && (bytes == 0 || memcmp(whole.data, prefix, bytes) == 0);
}

/* ASCII letters only; what HTTP header names need. */
bool ap_slice_equal_nocase(struct ap_slice a, const char *text);

/* Without spaces, tabs, CR and LF at both ends. */
struct ap_slice ap_slice_trim(struct ap_slice slice);

/*
 * Cuts *rest at the first `separator`: returns what is before it and moves *rest behind it. Without a separator returns
 * all and leaves *rest empty with data NULL, so that `while (rest.data)` visits every part.
 */
struct ap_slice ap_slice_split(struct ap_slice *rest, char separator);

/* A NUL-terminated copy; aborts when memory is gone. free() it. Bytes after an inner NUL are kept but invisible to C.
 */
char *ap_slice_dup(struct ap_slice slice);

/* Offset of the first byte that is not valid UTF-8 (RFC 3629: no surrogates, no overlong forms), or slice.bytes. */
size_t ap_utf8_valid_bytes(struct ap_slice slice);

enum { AP_UTF8_BYTES_MAX = 4 };
/* Writes a code point (up to U+10FFFF, no surrogate) and returns its length. */
size_t ap_utf8_encode(uint32_t rune, char bytes[AP_UTF8_BYTES_MAX]);
