#include "history/prometheus_index.h"

#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "history/byte_reader.h"
#include "tsdb/labels.h"
#include "wal/crc32c.h"

enum {
    HEADER_BYTES = 5,
    CONTENTS_ENTRIES = 6, /* symbols, series, label indices, their table, postings, their table */
    CONTENTS_BYTES = CONTENTS_ENTRIES * 8 + 4,
    SERIES_ALIGNMENT = 16, /* in version 2 */
    CHUNKS_MAX = 1 << 24,
};
#define INDEX_MAGIC UINT32_C(0xBAAAD700)

static enum ap_rc damaged(struct ap_err *err, const char *what, uint64_t offset)
{
    return ap_fail(err, AP_E_CORRUPT, "index, offset %" PRIu64 ": %s", offset, what);
}

static struct byte_reader reader_at(const struct prometheus_index *index, uint64_t offset)
{
    struct byte_reader reader = byte_reader(index->file);
    (void)byte_reader_slice(&reader, offset);
    return reader;
}

/* ---- Opening ---- */

static enum ap_rc read_contents(struct prometheus_index *index, uint64_t ret_contents[CONTENTS_ENTRIES],
                                struct ap_err *err)
{
    uint64_t at = index->file.bytes - CONTENTS_BYTES;
    struct byte_reader reader = reader_at(index, at);
    for (int i = 0; i < CONTENTS_ENTRIES; i++)
        ret_contents[i] = byte_reader_u64(&reader);
    if (byte_reader_u32(&reader) != wal_crc32c(0, index->file.data + at, CONTENTS_BYTES - 4))
        return damaged(err, "the checksum of the table of contents does not fit", at);
    for (int i = 0; i < CONTENTS_ENTRIES; i++)
        if (ret_contents[i] > at)
            return damaged(err, "the table of contents points behind itself", at);
    return AP_OK;
}

/* Where each symbol begins. */
static enum ap_rc number_symbols(struct prometheus_index *index, uint64_t offset, struct ap_err *err)
{
    struct byte_reader reader = byte_reader(index->symbols);
    index->symbol_count = byte_reader_u32(&reader);
    if (reader.is_cut || index->symbol_count > byte_reader_left(&reader))
        return damaged(err, "there are more symbols than bytes", offset);
    index->symbol_offsets = ap_new0_array(uint32_t, (size_t)index->symbol_count + 1);
    for (uint32_t i = 0; i < index->symbol_count; i++) {
        uint64_t at = (uint64_t)((const char *)reader.next - index->file.data);
        if (at > UINT32_MAX)
            return damaged(err, "the symbols are larger than 4 GiB", at);
        index->symbol_offsets[i] = (uint32_t)at;
        (void)byte_reader_text(&reader);
    }
    return reader.is_cut ? damaged(err, "the symbols end too early", offset) : AP_OK;
}

static enum ap_rc read_symbols(struct prometheus_index *index, uint64_t offset, struct ap_err *err)
{
    struct byte_reader reader = reader_at(index, offset);
    uint32_t bytes = byte_reader_u32(&reader);
    index->symbols = byte_reader_slice(&reader, bytes);
    uint32_t stored = byte_reader_u32(&reader);
    if (reader.is_cut || stored != wal_crc32c(0, index->symbols.data, index->symbols.bytes))
        return damaged(err, "the checksum of the symbols does not fit", offset);
    return index->version == 1 ? AP_OK : number_symbols(index, offset, err);
}

enum ap_rc prometheus_index_open(struct ap_slice file, struct prometheus_index *ret_index, struct ap_err *err)
{
    struct prometheus_index index = {.file = file};
    struct byte_reader reader = byte_reader(file);
    if (file.bytes < HEADER_BYTES + CONTENTS_BYTES || byte_reader_u32(&reader) != INDEX_MAGIC)
        return damaged(err, "this is no index of Prometheus", 0);
    index.version = byte_reader_u8(&reader);
    if (index.version != 1 && index.version != 2)
        return ap_fail(err, AP_E_CORRUPT, "index: its version is %u; this program reads 1 and 2", index.version);
    uint64_t contents[CONTENTS_ENTRIES];
    enum ap_rc rc = read_contents(&index, contents, err);
    if (rc == AP_OK)
        rc = read_symbols(&index, contents[0], err);
    if (rc != AP_OK) {
        prometheus_index_clear(&index);
        return rc;
    }
    index.series_offset = contents[1];
    index.series_end = file.bytes - CONTENTS_BYTES;
    for (int i = 2; i < CONTENTS_ENTRIES; i++) /* 0: there is no such section */
        if (contents[i] >= index.series_offset && contents[i])
            index.series_end = AP_MIN(index.series_end, contents[i]);
    if (index.series_offset == 0)
        index.series_end = 0;
    *ret_index = index;
    return AP_OK;
}

void prometheus_index_clear(struct prometheus_index *index)
{
    free(index->symbol_offsets);
    *index = (struct prometheus_index){0};
}

void prometheus_series_clear(struct prometheus_series *series)
{
    ap_buf_clear(&series->labels);
    free(series->chunks);
    *series = (struct prometheus_series){0};
}

/* ---- Series ---- */

static struct ap_slice symbol(const struct prometheus_index *index, uint64_t number, bool *is_sound)
{
    uint64_t offset = number;
    if (index->version == 2) {
        if (number >= index->symbol_count) {
            *is_sound = false;
            return ap_slice("", 0);
        }
        offset = index->symbol_offsets[number];
    }
    uint64_t begin = (uint64_t)(index->symbols.data - index->file.data);
    if (offset < begin || offset >= begin + index->symbols.bytes) {
        *is_sound = false;
        return ap_slice("", 0);
    }
    struct byte_reader reader =
        byte_reader(ap_slice(index->file.data + offset, (size_t)(begin + index->symbols.bytes - offset)));
    struct ap_slice text = byte_reader_text(&reader);
    *is_sound &= !reader.is_cut;
    return text;
}

static enum ap_rc read_labels(const struct prometheus_index *index, struct byte_reader *reader,
                              struct prometheus_series *series, uint64_t offset, struct ap_err *err)
{
    struct label labels[LABELS_COUNT_MAX];
    uint64_t count = byte_reader_varint(reader);
    bool is_sound = true;
    ap_buf_reset(&series->labels);
    series->refusal.rc = AP_OK;
    for (uint64_t i = 0; i < count && !reader->is_cut && is_sound; i++) {
        struct label label;
        label.name = symbol(index, byte_reader_varint(reader), &is_sound);
        label.value = symbol(index, byte_reader_varint(reader), &is_sound);
        if (i < LABELS_COUNT_MAX)
            labels[i] = label;
    }
    if (reader->is_cut || !is_sound)
        return damaged(err, "the labels of a series make no sense", offset);
    if (count > LABELS_COUNT_MAX)
        (void)ap_fail(&series->refusal, AP_E_LIMIT, "a series has %" PRIu64 " labels; at most %d are taken", count,
                      LABELS_COUNT_MAX);
    else if (labels_encode(labels, (size_t)count, &series->labels, &series->refusal) == AP_OK)
        series->refusal.rc = AP_OK;
    return AP_OK;
}

static enum ap_rc read_places(struct byte_reader *reader, struct prometheus_series *series, uint64_t offset,
                              struct ap_err *err)
{
    uint64_t count = byte_reader_varint(reader);
    if (reader->is_cut || count > CHUNKS_MAX || count > byte_reader_left(reader))
        return damaged(err, "a series has more chunks than bytes", offset);
    if (count > series->chunk_capacity) {
        series->chunk_capacity = AP_MAX((size_t)count, series->chunk_capacity * 2);
        series->chunks = ap_realloc(series->chunks, series->chunk_capacity * sizeof(*series->chunks));
    }
    uint64_t ts = 0, ref = 0; /* unsigned: whatever the bytes say, it is a number */
    for (uint64_t i = 0; i < count; i++) {
        struct prometheus_chunk_place *place = &series->chunks[i];
        ts = i ? ts + byte_reader_varint(reader) : (uint64_t)byte_reader_zigzag(reader);
        place->min_ts_ms = (int64_t)ts;
        ts += byte_reader_varint(reader);
        place->max_ts_ms = (int64_t)ts;
        ref = i ? ref + (uint64_t)byte_reader_zigzag(reader) : byte_reader_varint(reader);
        place->ref = ref;
        if (place->max_ts_ms < place->min_ts_ms)
            return damaged(err, "a chunk ends before it begins", offset);
    }
    series->chunk_count = (size_t)count;
    return reader->is_cut ? damaged(err, "the chunks of a series end too early", offset) : AP_OK;
}

enum ap_rc prometheus_index_next(const struct prometheus_index *index, uint64_t *offset,
                                 struct prometheus_series *series, bool *ret_is_end, struct ap_err *err)
{
    uint64_t at = *offset;
    if (index->version == 2)
        at = (at + SERIES_ALIGNMENT - 1) / SERIES_ALIGNMENT * SERIES_ALIGNMENT;
    while (at < index->series_end && index->file.data[at] == 0) /* no series is empty: this is padding */
        at += index->version == 2 ? SERIES_ALIGNMENT : 1;
    *ret_is_end = at >= index->series_end;
    if (*ret_is_end)
        return AP_OK;
    struct byte_reader reader = byte_reader(ap_slice(index->file.data + at, (size_t)(index->series_end - at)));
    struct ap_slice entry = byte_reader_text(&reader);
    uint32_t stored = byte_reader_u32(&reader);
    if (reader.is_cut || stored != wal_crc32c(0, entry.data, entry.bytes))
        return damaged(err, "the checksum of a series does not fit", at);
    *offset = (uint64_t)((const char *)reader.next - index->file.data);
    series->ref = index->version == 2 ? at / SERIES_ALIGNMENT : at;
    reader = byte_reader(entry);
    enum ap_rc rc = read_labels(index, &reader, series, at, err);
    return rc == AP_OK ? read_places(&reader, series, at, err) : rc;
}
