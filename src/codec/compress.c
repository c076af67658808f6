#include "codec/compress.h"

#include <libdeflate.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/assert.h"

/* Of libdeflate's 1 to 12: three quarters of what 6 saves in a third of its time. */
#define DEFLATE_LEVEL 2
/* Of zlib's 1 to 9, for what comes in pieces; libdeflate does only whole bodies. */
#define ZLIB_LEVEL 1
#define ZSTD_LEVEL 1

/* RFC 1952 around deflate, with zlib's largest window. */
#define ZLIB_WINDOW_BITS (15 + 16)
#define ZLIB_MEMORY      8

#define ROOM_BYTES ((size_t)32 * 1024)

struct compressor {
    struct libdeflate_compressor *deflate; /* owned, NULL until used, as the others */
    ZSTD_CCtx *zstd;
    z_stream zlib;
    bool has_zlib;
    enum compress_encoding encoding; /* of what comes in pieces */
};

/* ---- Choosing ---- */

const char *compress_encoding_name(enum compress_encoding encoding)
{
    static const char *const names[] = {
        [COMPRESS_IDENTITY] = "identity", [COMPRESS_GZIP] = "gzip", [COMPRESS_ZSTD] = "zstd"};
    return names[encoding];
}

/* "0.5" in thousandths; what is no number is 0, so that the safe answer is given. */
static int parse_quality(struct ap_slice text)
{
    if (text.bytes == 0 || (text.data[0] != '0' && text.data[0] != '1'))
        return 0;
    int quality = (text.data[0] - '0') * 1000, weight = 100;
    if (text.bytes == 1)
        return quality;
    if (text.data[1] != '.')
        return 0;
    for (size_t i = 2; i < text.bytes && weight > 0; i++, weight /= 10) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return 0;
        quality += (text.data[i] - '0') * weight;
    }
    return AP_MIN(quality, 1000);
}

static int quality_of(struct ap_slice parameters)
{
    while (parameters.data) {
        struct ap_slice value = ap_slice_split(&parameters, ';');
        struct ap_slice name = ap_slice_trim(ap_slice_split(&value, '='));
        if (ap_slice_equal_nocase(name, "q"))
            return parse_quality(ap_slice_trim(value));
    }
    return 1000;
}

enum compress_encoding compress_encoding_choose(struct ap_slice accept)
{
    enum { NOT_SAID = -1 };
    int gzip = NOT_SAID, zstd = NOT_SAID, identity = NOT_SAID, any = NOT_SAID;
    const struct {
        const char *name;
        int *quality;
    } codings[] = {{"gzip", &gzip}, {"x-gzip", &gzip}, {"zstd", &zstd}, {"identity", &identity}, {"*", &any}};
    while (accept.data) {
        struct ap_slice parameters = ap_slice_split(&accept, ',');
        struct ap_slice coding = ap_slice_trim(ap_slice_split(&parameters, ';'));
        for (size_t i = 0; i < AP_ARRAY_COUNT(codings); i++)
            if (ap_slice_equal_nocase(coding, codings[i].name))
                *codings[i].quality = quality_of(parameters);
    }
    if (gzip == NOT_SAID)
        gzip = any;
    int best = AP_MAX(gzip, zstd);
    if (best <= 0 || best < identity)
        return COMPRESS_IDENTITY;
    return zstd == best ? COMPRESS_ZSTD : COMPRESS_GZIP;
}

/* ---- Life ---- */

struct compressor *compressor_new(void)
{
    return ap_new0(struct compressor);
}

void compressor_free(struct compressor *compressor)
{
    if (!compressor)
        return;
    libdeflate_free_compressor(compressor->deflate);
    ZSTD_freeCCtx(compressor->zstd);
    if (compressor->has_zlib)
        (void)deflateEnd(&compressor->zlib);
    free(compressor);
}

static bool has_deflate(struct compressor *compressor)
{
    if (!compressor->deflate)
        compressor->deflate = libdeflate_alloc_compressor(DEFLATE_LEVEL);
    return compressor->deflate != NULL;
}

static bool has_zstd(struct compressor *compressor)
{
    if (!compressor->zstd)
        compressor->zstd = ZSTD_createCCtx();
    if (!compressor->zstd)
        return false;
    (void)ZSTD_CCtx_reset(compressor->zstd, ZSTD_reset_session_and_parameters);
    (void)ZSTD_CCtx_setParameter(compressor->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    return true;
}

static bool has_zlib(struct compressor *compressor)
{
    if (compressor->has_zlib)
        return deflateReset(&compressor->zlib) == Z_OK;
    compressor->has_zlib = deflateInit2(&compressor->zlib, ZLIB_LEVEL, Z_DEFLATED, ZLIB_WINDOW_BITS, ZLIB_MEMORY,
                                        Z_DEFAULT_STRATEGY) == Z_OK;
    return compressor->has_zlib;
}

/* ---- Whole ---- */

bool compressor_whole(struct compressor *compressor, enum compress_encoding encoding, struct ap_slice input,
                      size_t output_bytes_max, struct ap_buf *out)
{
    AP_ASSERT(encoding != COMPRESS_IDENTITY);
    bool is_ready = encoding == COMPRESS_ZSTD ? has_zstd(compressor) : has_deflate(compressor);
    char *room = is_ready ? ap_buf_reserve(out, output_bytes_max) : NULL;
    if (!room)
        return false;
    size_t bytes;
    if (encoding == COMPRESS_ZSTD) {
        bytes = ZSTD_compress2(compressor->zstd, room, output_bytes_max, input.data, input.bytes);
        bytes = ZSTD_isError(bytes) ? 0 : bytes;
    } else {
        bytes = libdeflate_gzip_compress(compressor->deflate, input.data, input.bytes, room, output_bytes_max);
    }
    out->bytes += bytes;
    return bytes > 0;
}

/* ---- Piece by piece ---- */

enum ap_rc compressor_begin(struct compressor *compressor, enum compress_encoding encoding, struct ap_err *err)
{
    AP_ASSERT(encoding != COMPRESS_IDENTITY);
    compressor->encoding = encoding;
    bool is_ready = encoding == COMPRESS_ZSTD ? has_zstd(compressor) : has_zlib(compressor);
    return is_ready ? AP_OK : ap_fail(err, AP_E_NOMEM, "no memory to compress an answer");
}

static enum ap_rc fail_room(struct ap_err *err)
{
    return ap_fail(err, AP_E_NOMEM, "no memory for a compressed piece of an answer");
}

static enum ap_rc add_zstd(struct compressor *compressor, struct ap_slice piece, bool is_last, struct ap_buf *out,
                           struct ap_err *err)
{
    ZSTD_inBuffer input = {.src = piece.data, .size = piece.bytes};
    size_t left;
    do {
        ZSTD_outBuffer output = {.dst = ap_buf_reserve(out, ROOM_BYTES), .size = ROOM_BYTES};
        if (!output.dst)
            return fail_room(err);
        left = ZSTD_compressStream2(compressor->zstd, &output, &input, is_last ? ZSTD_e_end : ZSTD_e_flush);
        if (ZSTD_isError(left))
            return ap_fail(err, AP_E_NOMEM, "zstd: %s", ZSTD_getErrorName(left));
        out->bytes += output.pos;
    } while (left > 0);
    return AP_OK;
}

static enum ap_rc add_gzip(struct compressor *compressor, struct ap_slice piece, bool is_last, struct ap_buf *out,
                           struct ap_err *err)
{
    z_stream *zlib = &compressor->zlib;
    AP_ASSERT(piece.bytes <= UINT32_MAX);
    zlib->next_in = (Bytef *)(uintptr_t)piece.data; /* zlib does not write to it */
    zlib->avail_in = (uInt)piece.bytes;
    do {
        zlib->next_out = (Bytef *)ap_buf_reserve(out, ROOM_BYTES);
        if (!zlib->next_out)
            return fail_room(err);
        zlib->avail_out = (uInt)ROOM_BYTES;
        /* It fails only for wrong use, or says that there was nothing to do. */
        (void)deflate(zlib, is_last ? Z_FINISH : Z_SYNC_FLUSH);
        out->bytes += ROOM_BYTES - zlib->avail_out;
    } while (zlib->avail_out == 0);
    return AP_OK;
}

enum ap_rc compressor_add(struct compressor *compressor, struct ap_slice piece, bool is_last, struct ap_buf *out,
                          struct ap_err *err)
{
    return compressor->encoding == COMPRESS_ZSTD ? add_zstd(compressor, piece, is_last, out, err)
                                                 : add_gzip(compressor, piece, is_last, out, err);
}
