/*
 * codec/compress.h - compression of what is sent: gzip and zstd, whole or piece by piece
 *
 * Quick levels: an answer is made once and read once, so that what a better level saves on the wire costs more than it
 * brings.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"

enum compress_encoding { COMPRESS_IDENTITY, COMPRESS_GZIP, COMPRESS_ZSTD };

/* As it stands in Content-Encoding. */
const char *compress_encoding_name(enum compress_encoding encoding);

/*
 * What suits a client best by its Accept-Encoding field (data NULL: it has none): the coding of the highest quality, of
 * equal ones zstd. "*" stands for gzip alone: whoever says that knows gzip, zstd perhaps not.
 */
enum compress_encoding compress_encoding_choose(struct ap_slice accept);

struct compressor; /* working memory, used again and again; one owner, no locks; private to compress.c */

struct compressor *compressor_new(void);
void compressor_free(struct compressor *compressor); /* NULL is allowed */
AP_DEFINE_AUTO(compressor, struct compressor, compressor_free)

/* All of `input` at once. False: it would be more than `output_bytes_max`, or there is no memory. */
bool compressor_whole(struct compressor *compressor, enum compress_encoding encoding, struct ap_slice input,
                      size_t output_bytes_max, struct ap_buf *out);

/*
 * Piece by piece: begin, add any number of times, the last one with `is_last`; to begin again gives up what was under
 * way. Every piece can be read by the client as soon as it has all of it. AP_E_NOMEM.
 */
ap_nodiscard enum ap_rc compressor_begin(struct compressor *compressor, enum compress_encoding encoding,
                                         struct ap_err *err);
ap_nodiscard enum ap_rc compressor_add(struct compressor *compressor, struct ap_slice piece, bool is_last,
                                       struct ap_buf *out, struct ap_err *err);
