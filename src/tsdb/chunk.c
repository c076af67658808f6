/* Frames of chunks. Times are in chunk_times.c, values in chunk_values*.c. Bytes: docs/format/tsdb.md, "Chunks". */
#include "tsdb/chunk.h"

#include <string.h>

#include "base/assert.h"
#include "tsdb/bitpack.h"
#include "tsdb/chunk_values.h"
#include "wal/crc32c.h"

enum { CHECKSUM_BYTES = 4, VERSION_SHIFT = 4, CHUNK_VERSION = 1 };

/* ---- Frames ---- */

static uint32_t checksum(const char *data, size_t bytes, int64_t first_ts_ms)
{
    return wal_crc32c(wal_crc32c(0, &first_ts_ms, sizeof(first_ts_ms)), data, bytes);
}

size_t chunk_begin(struct ap_buf *out, enum chunk_kind kind, size_t count)
{
    size_t start = out->bytes;
    ap_buf_add_char(out, (char)(CHUNK_VERSION << VERSION_SHIFT | (int)kind));
    ap_buf_add_varint(out, count);
    return start;
}

void chunk_end(struct ap_buf *out, size_t start, int64_t first_ts_ms)
{
    ap_buf_add_u32(out, checksum(out->data + start, out->bytes - start, first_ts_ms));
}

enum ap_rc chunk_check(struct ap_slice chunk, int64_t first_ts_ms, enum chunk_kind *ret_kind, struct ap_err *err)
{
    if (chunk.bytes < 2 + CHECKSUM_BYTES)
        return ap_fail(err, AP_E_CORRUPT, "chunk of %zu bytes is too short", chunk.bytes);
    uint32_t stored;
    memcpy(&stored, chunk.data + chunk.bytes - CHECKSUM_BYTES, sizeof(stored));
    if (stored != checksum(chunk.data, chunk.bytes - CHECKSUM_BYTES, first_ts_ms))
        return ap_fail(err, AP_E_CORRUPT, "chunk's checksum does not fit");
    unsigned kind = (uint8_t)chunk.data[0] & 0xf;
    if ((uint8_t)chunk.data[0] >> VERSION_SHIFT != CHUNK_VERSION || (kind != CHUNK_FLOATS && kind != CHUNK_HISTOGRAMS))
        return ap_fail(err, AP_E_CORRUPT, "chunk is of a kind or version (0x%02x) that this program does not know",
                       (uint8_t)chunk.data[0]);
    *ret_kind = (enum chunk_kind)kind;
    return AP_OK;
}

enum ap_rc chunk_open(struct ap_slice chunk, int64_t first_ts_ms, enum chunk_kind kind, size_t *ret_count,
                      struct ap_slice *ret_payload, struct ap_err *err)
{
    enum chunk_kind stored_kind;
    enum ap_rc rc = chunk_check(chunk, first_ts_ms, &stored_kind, err);
    if (rc != AP_OK)
        return rc;
    struct ap_slice payload = ap_slice(chunk.data + 1, chunk.bytes - 1 - CHECKSUM_BYTES);
    uint64_t count;
    if (stored_kind != kind || !bitpack_take_varint(&payload, &count) || count == 0 || count > CHUNK_SAMPLES_MAX)
        return ap_fail(err, AP_E_CORRUPT, "chunk has another kind or number of samples than it may have");
    *ret_count = (size_t)count;
    *ret_payload = payload;
    return AP_OK;
}

/* ---- Floats ---- */

void chunk_encode_floats(const int64_t *ts_ms, const double *values, size_t count, struct ap_buf *out)
{
    AP_ASSERT(count >= 1 && count <= CHUNK_SAMPLES_MAX);
    size_t start = chunk_begin(out, CHUNK_FLOATS, count);
    chunk_encode_times(ts_ms, count, out);
    chunk_encode_values(values, count, out);
    chunk_end(out, start, ts_ms[0]);
}

enum ap_rc chunk_decode_columns(struct ap_slice chunk, int64_t first_ts_ms, int64_t *ret_ts_ms, double *ret_values,
                                size_t *ret_count, struct ap_err *err)
{
    size_t count;
    struct ap_slice rest;
    enum ap_rc rc = chunk_open(chunk, first_ts_ms, CHUNK_FLOATS, &count, &rest, err);
    if (rc == AP_OK)
        rc = chunk_decode_times(&rest, first_ts_ms, count, ret_ts_ms, err);
    if (rc != AP_OK)
        return rc;
    if (!chunk_decode_values(&rest, count, ret_values) || rest.bytes)
        return ap_fail(err, AP_E_CORRUPT, "chunk's values are malformed");
    *ret_count = count;
    return AP_OK;
}

enum ap_rc chunk_decode_floats(struct ap_slice chunk, int64_t first_ts_ms, struct chunk_floats *ret_floats,
                               struct ap_err *err)
{
    return chunk_decode_columns(chunk, first_ts_ms, ret_floats->ts_ms, ret_floats->values, &ret_floats->count, err);
}

const char *chunk_codec_name(struct ap_slice chunk)
{
    struct ap_slice rest = chunk.bytes > 1 ? ap_slice(chunk.data + 1, chunk.bytes - 1) : ap_slice("", 0);
    uint64_t count;
    struct chunk_floats floats; /* of times from the earliest there is: whatever follows rises */
    struct ap_err ignored;
    if (chunk.bytes == 0 || ((uint8_t)chunk.data[0] & 0xf) != CHUNK_FLOATS)
        return "histogram";
    if (!bitpack_take_varint(&rest, &count) || count == 0 || count > CHUNK_SAMPLES_MAX ||
        chunk_decode_times(&rest, INT64_MIN, (size_t)count, floats.ts_ms, &ignored) != AP_OK || rest.bytes == 0)
        return "damaged";
    return chunk_value_codec_name((uint8_t)rest.data[0]);
}
