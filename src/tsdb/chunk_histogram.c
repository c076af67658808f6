/*
 * Chunks of histograms: times as in other chunks, then the samples in columns. Where these do not pay (few samples,
 * which have little in common) they stand one behind the other, compressed if that helps. Bytes: docs/format/tsdb.md,
 * "Histogram chunks".
 */
#include <string.h>
#include <zstd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "tsdb/bitpack.h"
#include "tsdb/histogram.h"
#include "tsdb/histogram_columns.h"

enum {
    ZSTD_LEVEL = 3,
    COLUMNS_SHARE =
        4, /* columns of more than a quarter of the samples' bytes have to be smaller than zstd makes them */
};

enum form {
    FORM_PLAIN = 0,
    FORM_ZSTD = 1,
    FORM_COLUMNS = 2,
};

static void add_plain(const struct ap_slice *blobs, size_t count, struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf plain = {0};
    for (size_t i = 0; i < count; i++)
        ap_buf_add_varint(&plain, blobs[i].bytes);
    for (size_t i = 0; i < count; i++)
        ap_buf_add_slice(&plain, blobs[i]);
    size_t form_at = out->bytes;
    ap_buf_add_char(out, FORM_ZSTD);
    ap_buf_add_varint(out, plain.bytes);
    size_t bound = ZSTD_compressBound(plain.bytes);
    char *to = ap_buf_reserve(out, bound);
    size_t bytes = ZSTD_compress(to, bound, plain.data, plain.bytes, ZSTD_LEVEL);
    if (!ZSTD_isError(bytes) && bytes < plain.bytes) {
        out->bytes += bytes;
    } else {
        out->data[form_at] = FORM_PLAIN;
        ap_buf_add_slice(out, ap_buf_slice(&plain));
    }
}

void chunk_encode_histograms(const int64_t *ts_ms, const struct ap_slice *blobs, size_t count, struct ap_buf *out)
{
    AP_ASSERT(count >= 1 && count <= CHUNK_SAMPLES_MAX);
    size_t blobs_bytes = 0;
    for (size_t i = 0; i < count; i++)
        blobs_bytes += blobs[i].bytes;
    AP_ASSERT(blobs_bytes < HISTOGRAM_CHUNK_BLOBS_BYTES_MAX);
    size_t start = chunk_begin(out, CHUNK_HISTOGRAMS, count);
    chunk_encode_times(ts_ms, count, out);
    AP_AUTO_BUF struct ap_buf columns = {0};
    bool has_columns = histogram_columns_encode(blobs, count, &columns);
    size_t form_at = out->bytes;
    if (!has_columns || columns.bytes > blobs_bytes / COLUMNS_SHARE)
        add_plain(blobs, count, out);
    if (has_columns && (out->bytes == form_at || columns.bytes + 1 <= out->bytes - form_at)) {
        out->bytes = form_at;
        ap_buf_add_char(out, FORM_COLUMNS);
        ap_buf_add_slice(out, ap_buf_slice(&columns));
    }
    chunk_end(out, start, ts_ms[0]);
}

static enum ap_rc malformed(struct ap_err *err)
{
    return ap_fail(err, AP_E_CORRUPT, "chunk's histograms are malformed");
}

static enum ap_rc inflate(struct ap_slice rest, uint8_t form, struct ap_arena *arena, struct ap_slice *ret_plain,
                          struct ap_err *err)
{
    uint64_t bytes;
    if (form > FORM_ZSTD || !bitpack_take_varint(&rest, &bytes) ||
        bytes > HISTOGRAM_CHUNK_BLOBS_BYTES_MAX + (uint64_t)CHUNK_SAMPLES_MAX * 10 ||
        (form == FORM_PLAIN && bytes != rest.bytes))
        return malformed(err);
    if (form == FORM_ZSTD && ZSTD_getFrameContentSize(rest.data, rest.bytes) != bytes)
        return malformed(err); /* before memory is given for it */
    char *plain = ap_arena_try_alloc(arena, (size_t)bytes + 1);
    if (!plain)
        return ap_fail(err, AP_E_NOMEM, "no memory for a chunk of histograms");
    if (form == FORM_PLAIN)
        memcpy(plain, rest.data, rest.bytes);
    else if (ZSTD_decompress(plain, (size_t)bytes, rest.data, rest.bytes) != bytes)
        return malformed(err);
    *ret_plain = ap_slice(plain, (size_t)bytes);
    return AP_OK;
}

static enum ap_rc read_plain(struct ap_slice rest, uint8_t form, size_t count, struct ap_arena *arena,
                             struct ap_slice *ret_blobs, struct ap_err *err)
{
    struct ap_slice plain;
    enum ap_rc rc = inflate(rest, form, arena, &plain, err);
    if (rc != AP_OK)
        return rc;
    for (size_t i = 0; i < count; i++) {
        uint64_t bytes;
        if (!bitpack_take_varint(&plain, &bytes) || bytes > plain.bytes)
            return malformed(err);
        ret_blobs[i].bytes = (size_t)bytes;
    }
    for (size_t i = 0; i < count; i++) {
        if (ret_blobs[i].bytes > plain.bytes)
            return malformed(err);
        ret_blobs[i].data = plain.data;
        plain.data += ret_blobs[i].bytes;
        plain.bytes -= ret_blobs[i].bytes;
    }
    return plain.bytes ? malformed(err) : AP_OK;
}

enum ap_rc chunk_decode_histograms(struct ap_slice chunk, int64_t first_ts_ms, struct ap_arena *arena,
                                   size_t *ret_count, const int64_t **ret_ts_ms, const struct ap_slice **ret_blobs,
                                   struct ap_err *err)
{
    size_t count;
    struct ap_slice rest;
    enum ap_rc rc = chunk_open(chunk, first_ts_ms, CHUNK_HISTOGRAMS, &count, &rest, err);
    if (rc != AP_OK)
        return rc;
    int64_t *ts_ms = ap_arena_try_alloc(arena, count * sizeof(*ts_ms));
    struct ap_slice *blobs = ap_arena_try_alloc(arena, count * sizeof(*blobs));
    if (!ts_ms || !blobs)
        return ap_fail(err, AP_E_NOMEM, "no memory for a chunk of histograms");
    uint8_t form;
    rc = chunk_decode_times(&rest, first_ts_ms, count, ts_ms, err);
    if (rc != AP_OK)
        return rc;
    if (!bitpack_take(&rest, &form, 1) ||
        (form == FORM_COLUMNS && !histogram_columns_decode(rest, count, arena, blobs)))
        return malformed(err);
    if (form != FORM_COLUMNS)
        rc = read_plain(rest, form, count, arena, blobs, err);
    if (rc != AP_OK)
        return rc;
    *ret_count = count;
    *ret_ts_ms = ts_ms;
    *ret_blobs = blobs;
    return AP_OK;
}
