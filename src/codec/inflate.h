/*
 * codec/inflate.h - decompression of whole bodies: gzip, deflate, zstd, snappy
 *
 * For bodies that have come in completely, from clients that are not trusted: the output has a stated maximum, and
 * nothing is decompressed past it. A small bomb costs at most the time and memory of a body of that maximum.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"

enum inflate_encoding {
    INFLATE_IDENTITY, /* not compressed */
    INFLATE_GZIP,     /* RFC 1952, one or several members */
    INFLATE_DEFLATE,  /* RFC 1950 (zlib), as HTTP says, or raw RFC 1951, as some clients understand it */
    INFLATE_ZSTD,     /* RFC 8878, one or several frames, windows up to 8 MiB */
    INFLATE_SNAPPY,   /* one block, without the framing format: Prometheus remote write */
};

/* Reads the value of a Content-Encoding field; data NULL is identity. False when it is none of the above, or a list of
 * two codings that are not identity. */
bool inflate_encoding_parse(struct ap_slice text, enum inflate_encoding *ret_encoding);

const char *inflate_encoding_name(enum inflate_encoding encoding);

struct inflate; /* working memory, reused from call to call; one owner, no locks; private to inflate.c */

struct inflate *inflate_new(void);
void inflate_free(struct inflate *inflate); /* NULL is allowed */
AP_DEFINE_AUTO(inflate, struct inflate, inflate_free)

enum { INFLATE_PADDING_BYTES = 8 };

/*
 * Decompresses all of `input` into memory that is the caller's (free()); INFLATE_PADDING_BYTES zero bytes follow the
 * output. AP_E_LIMIT: there would be more than `output_bytes_max` bytes. AP_E_PARSE: cut off, damaged, or followed by
 * other bytes. `encoding` must not be INFLATE_IDENTITY.
 */
ap_nodiscard enum ap_rc inflate_body(struct inflate *inflate, enum inflate_encoding encoding, struct ap_slice input,
                                     size_t output_bytes_max, char **ret_output, size_t *ret_output_bytes,
                                     struct ap_err *err);
