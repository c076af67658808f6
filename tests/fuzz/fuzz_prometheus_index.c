/*
 * Any bytes as the index of one of Prometheus' blocks. With the first byte even as they are; otherwise they are the
 * symbols and the series of an index that is otherwise right, since no fuzzer finds checksums.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "history/prometheus_index.h"
#include "tsdb/labels.h"
#include "wal/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void add_big_endian(struct ap_buf *out, uint64_t value, int count)
{
    for (int i = count - 1; i >= 0; i--)
        ap_buf_add_char(out, (char)(value >> (8 * i)));
}

static void add_checksummed(struct ap_buf *out, struct ap_slice content)
{
    ap_buf_add_slice(out, content);
    add_big_endian(out, wal_crc32c(0, content.data, content.bytes), 4);
}

/* An index of these symbols and series: the first byte of each series is its length. */
static void put_together(uint8_t version, struct ap_slice symbols, struct ap_slice series, struct ap_buf *out)
{
    add_big_endian(out, 0xBAAAD700, 4);
    ap_buf_add_char(out, (char)version);
    size_t symbols_at = out->bytes;
    add_big_endian(out, symbols.bytes, 4);
    add_checksummed(out, symbols);
    while (out->bytes % 16)
        ap_buf_add_char(out, '\0');
    size_t series_at = out->bytes;
    while (series.bytes) {
        size_t length = (uint8_t)series.data[0];
        length = length > series.bytes - 1 ? series.bytes - 1 : length;
        ap_buf_add_varint(out, length);
        add_checksummed(out, ap_slice(series.data + 1, length));
        while (version == 2 && out->bytes % 16)
            ap_buf_add_char(out, '\0');
        series = ap_slice(series.data + 1 + length, series.bytes - 1 - length);
    }
    size_t end = out->bytes;
    AP_AUTO_BUF struct ap_buf contents = {0};
    const uint64_t places[] = {symbols_at, series_at, 0, 0, end, 0};
    for (int i = 0; i < 6; i++)
        add_big_endian(&contents, places[i], 8);
    add_checksummed(out, ap_buf_slice(&contents));
}

static void read_all(struct ap_slice file)
{
    struct prometheus_index index;
    struct prometheus_series series = {0};
    struct ap_err err;
    if (prometheus_index_open(file, &index, &err) != AP_OK)
        return;
    uint64_t offset = index.series_offset;
    for (bool is_end = false; !is_end;) {
        uint64_t before = offset;
        if (prometheus_index_next(&index, &offset, &series, &is_end, &err) != AP_OK || is_end)
            break;
        AP_ASSERT(offset > before && offset <= file.bytes);
        AP_ASSERT(series.refusal.rc != AP_OK || labels_check(ap_buf_slice(&series.labels), &err) == AP_OK);
        for (size_t i = 0; i < series.chunk_count; i++)
            AP_ASSERT(series.chunks[i].min_ts_ms <= series.chunks[i].max_ts_ms);
    }
    prometheus_series_clear(&series);
    prometheus_index_clear(&index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 2)
        return 0;
    AP_AUTO_BUF struct ap_buf file = {0};
    struct ap_slice rest = ap_slice(data + 2, bytes - 2);
    if (data[0] % 2 == 0) {
        ap_buf_add_slice(&file, rest);
    } else {
        size_t symbols = data[1] > rest.bytes ? rest.bytes : data[1];
        put_together(data[0] & 2 ? 2 : 1, ap_slice(rest.data, symbols),
                     ap_slice(rest.data + symbols, rest.bytes - symbols), &file);
    }
    char *exact = malloc(file.bytes + 1); /* of just this size, so that reading beyond it shows */
    if (file.bytes)
        memcpy(exact, file.data, file.bytes);
    read_all(ap_slice(exact, file.bytes));
    free(exact);
    return 0;
}
