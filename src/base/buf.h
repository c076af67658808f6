/*
 * base/buf.h - a byte buffer that grows, with a maximum
 *
 * Appending past `bytes_max` sets `is_overflown` and drops the bytes: write everything, then check once with
 * ap_buf_ok(). One owner, no locks.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/rc.h"
#include "base/shortest.h"
#include "base/slice.h"

struct ap_buf {
    char *data; /* owned */
    size_t bytes;
    size_t capacity_bytes; /* not above bytes_max */
    size_t bytes_max;      /* 0: none. Set it for whatever a client can make grow, before anything is added. */
    bool is_overflown;
};

void ap_buf_init(struct ap_buf *buf, size_t bytes_max);
void ap_buf_clear(struct ap_buf *buf); /* frees; a cleared buf may be used again */
void ap_buf_reset(struct ap_buf *buf); /* empties, keeps the memory */
static inline void ap_auto_buf(struct ap_buf *buf)
{
    ap_buf_clear(buf);
}
/* AP_AUTO_BUF struct ap_buf buf = {0}; */
#define AP_AUTO_BUF __attribute__((cleanup(ap_auto_buf)))

static inline bool ap_buf_ok(const struct ap_buf *buf)
{
    return !buf->is_overflown;
}
static inline struct ap_slice ap_buf_slice(const struct ap_buf *buf)
{
    return ap_slice(buf->data, buf->bytes);
}

/* As ap_buf_reserve(), where there is no room yet. */
char *ap_buf_grow(struct ap_buf *buf, size_t bytes);

/* Room for `bytes` more behind the end, to be written directly and then added to buf->bytes; NULL when over the
 * maximum. Inline, as what follows: texts are written in many small pieces. */
static inline char *ap_buf_reserve(struct ap_buf *buf, size_t bytes)
{
    if (bytes <= buf->capacity_bytes - buf->bytes && !buf->is_overflown)
        return buf->data + buf->bytes;
    return ap_buf_grow(buf, bytes);
}

static inline void ap_buf_add(struct ap_buf *buf, const void *data, size_t bytes)
{
    char *to = bytes ? ap_buf_reserve(buf, bytes) : NULL;
    if (!to)
        return;
    memcpy(to, data, bytes);
    buf->bytes += bytes;
}

static inline void ap_buf_add_char(struct ap_buf *buf, char c)
{
    ap_buf_add(buf, &c, 1);
}

static inline void ap_buf_add_slice(struct ap_buf *buf, struct ap_slice slice)
{
    ap_buf_add(buf, slice.data, slice.bytes);
}

static inline void ap_buf_add_cstr(struct ap_buf *buf, const char *text)
{
    ap_buf_add(buf, text, strlen(text));
}

void ap_buf_printf(struct ap_buf *buf, const char *format, ...) ap_printf(2, 3);

/* Little-endian fixed-width and base-128 varint (as Protocol Buffers encode them) integers. */
void ap_buf_add_u16(struct ap_buf *buf, uint16_t value);
void ap_buf_add_u32(struct ap_buf *buf, uint32_t value);
void ap_buf_add_u64(struct ap_buf *buf, uint64_t value);
void ap_buf_add_varint(struct ap_buf *buf, uint64_t value);

/* A code point (up to U+10FFFF, no surrogate) in UTF-8. */
void ap_buf_add_utf8(struct ap_buf *buf, uint32_t rune);

/* `text` as a JSON string with quotes (RFC 8259). Bytes that are not UTF-8 become U+FFFD. */
void ap_buf_add_json_string(struct ap_buf *buf, struct ap_slice text);

/* In decimal. Many times quicker than ap_buf_printf(). */
void ap_buf_add_integer(struct ap_buf *buf, int64_t value);

/* `value` as a JSON number with the fewest digits that read back as the same double; null for NaN and infinities. */
void ap_buf_add_json_double(struct ap_buf *buf, double value);

/* A number's digits without an exponent: "0.00012", "3000", "1.5". */
void ap_buf_add_positional(struct ap_buf *buf, const struct ap_shortest *shortest);
/* With one: "1.5e+07"; the exponent has a sign and at least so many digits. */
void ap_buf_add_scientific(struct ap_buf *buf, const struct ap_shortest *shortest, int exponent_digits);

/* The bytes with a final NUL; the caller's from here on (free()). The buf is empty afterwards. */
char *ap_buf_detach(struct ap_buf *buf);
