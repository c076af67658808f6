#include "warehouse/row.h"

#include <string.h>

#include "base/assert.h"

/* version, table id, column count, 0, row count u32, received_at i64 */
enum { ROW_FORMAT_VERSION = 1, HEADER_BYTES = 16, ROW_COUNT_AT = 4, RECEIVED_AT = 8, BITMAP_BYTES = 4 };

void row_batch_begin(struct row_batch *batch, const struct table *table, int64_t received_at_us, struct ap_buf *out)
{
    batch->table = table;
    batch->out = out;
    batch->start_bytes = out->bytes;
    batch->row_count = 0;
    batch->row.present = 0;
    ap_buf_add_char(out, ROW_FORMAT_VERSION);
    ap_buf_add_char(out, (char)table->id);
    ap_buf_add_char(out, (char)table->column_count);
    ap_buf_add_char(out, 0);
    ap_buf_add_u32(out, 0); /* row_batch_finish() knows it */
    ap_buf_add_u64(out, (uint64_t)received_at_us);
}

void row_batch_discard(struct row_batch *batch)
{
    batch->row.present = 0;
}

static char *put_varint(char *to, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *to++ = (char)(value | 0x80);
    *to++ = (char)value;
    return to;
}

static bool is_text(enum column_type type)
{
    return type == COLUMN_TEXT || type == COLUMN_JSON;
}

void row_batch_commit(struct row_batch *batch)
{
    const struct column *columns = batch->table->columns;
    uint32_t present = batch->row.present;
    AP_ASSERT(present >> batch->table->column_count == 0);

    size_t room = BITMAP_BYTES + 10 * (size_t)__builtin_popcount(present); /* a varint takes at most 10 */
    for (uint32_t left = present; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctz(left);
        if (is_text(columns[i].type))
            room += batch->row.values[i].text.bytes;
    }
    char *start = ap_buf_reserve(batch->out, room);
    if (!start)
        return; /* over the maximum: ap_buf_ok() tells */

    char *to = start;
    memcpy(to, &present, BITMAP_BYTES); /* every machine we run on is little-endian */
    to += BITMAP_BYTES;
    for (uint32_t left = present; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctz(left);
        const union row_value *value = &batch->row.values[i];
        switch (columns[i].type) {
        case COLUMN_TEXT:
        case COLUMN_JSON:
            to = put_varint(to, value->text.bytes);
            if (value->text.bytes)
                memcpy(to, value->text.data, value->text.bytes);
            to += value->text.bytes;
            break;
        case COLUMN_F64:
            memcpy(to, &value->f64, 8);
            to += 8;
            break;
        case COLUMN_TIMESTAMP:
            memcpy(to, &value->ts_us, 8);
            to += 8;
            break;
        case COLUMN_BOOL:
            *to++ = value->boolean;
            break;
        }
    }
    batch->out->bytes += (size_t)(to - start);
    batch->row_count++;
    batch->row.present = 0;
}

void row_batch_finish(struct row_batch *batch)
{
    if (ap_buf_ok(batch->out))
        memcpy(batch->out->data + batch->start_bytes + ROW_COUNT_AT, &batch->row_count, sizeof(batch->row_count));
}

enum ap_rc row_reader_open(struct row_reader *reader, struct ap_slice record, struct ap_err *err)
{
    if (record.bytes < HEADER_BYTES)
        return ap_fail(err, AP_E_CORRUPT, "row batch of %zu bytes is too short for its header", record.bytes);
    const uint8_t *header = (const uint8_t *)record.data;
    if (header[0] != ROW_FORMAT_VERSION)
        return ap_fail(err, AP_E_CORRUPT, "row batch has format version %u, this program reads %d", header[0],
                       ROW_FORMAT_VERSION);
    const struct table *table = table_find_by_id(header[1]);
    if (!table)
        return ap_fail(err, AP_E_CORRUPT, "row batch is for table %u, which does not exist", header[1]);
    if (header[2] > table->column_count)
        return ap_fail(err, AP_E_CORRUPT, "row batch has %u columns of table %s, this program knows %zu", header[2],
                       table->name, table->column_count);
    *reader = (struct row_reader){
        .table = table,
        .column_count = header[2],
        .record = record,
        .offset_bytes = HEADER_BYTES,
    };
    memcpy(&reader->row_count, header + ROW_COUNT_AT, sizeof(reader->row_count));
    memcpy(&reader->received_at_us, header + RECEIVED_AT, sizeof(reader->received_at_us));
    return AP_OK;
}

static enum ap_rc cut_short(const struct row_reader *reader, struct ap_err *err)
{
    return ap_fail(err, AP_E_CORRUPT, "row %u of a batch for table %s is damaged at offset %zu of %zu",
                   reader->rows_read + 1, reader->table->name, reader->offset_bytes, reader->record.bytes);
}

static bool take(struct row_reader *reader, void *to, size_t bytes)
{
    if (reader->record.bytes - reader->offset_bytes < bytes)
        return false;
    memcpy(to, reader->record.data + reader->offset_bytes, bytes);
    reader->offset_bytes += bytes;
    return true;
}

static bool take_text(struct row_reader *reader, struct ap_slice *ret_text)
{
    uint64_t bytes = 0;
    uint8_t byte = 0x80;
    for (unsigned shift = 0; byte & 0x80; shift += 7) {
        if (shift > 28 || !take(reader, &byte, 1))
            return false;
        bytes |= (uint64_t)(byte & 0x7f) << shift;
    }
    if (reader->record.bytes - reader->offset_bytes < bytes)
        return false;
    *ret_text = ap_slice(reader->record.data + reader->offset_bytes, bytes);
    reader->offset_bytes += bytes;
    return true;
}

static bool take_value(struct row_reader *reader, enum column_type type, union row_value *ret_value)
{
    uint8_t boolean;
    switch (type) {
    case COLUMN_TEXT:
    case COLUMN_JSON:
        return take_text(reader, &ret_value->text);
    case COLUMN_F64:
        return take(reader, &ret_value->f64, 8);
    case COLUMN_TIMESTAMP:
        return take(reader, &ret_value->ts_us, 8);
    case COLUMN_BOOL:
        if (!take(reader, &boolean, 1))
            return false;
        ret_value->boolean = boolean != 0;
        return true;
    }
    return false;
}

enum ap_rc row_reader_next(struct row_reader *reader, struct row *ret_row, bool *ret_has_row, struct ap_err *err)
{
    if (reader->rows_read == reader->row_count) {
        if (reader->offset_bytes != reader->record.bytes)
            return ap_fail(err, AP_E_CORRUPT, "a batch for table %s has %zu bytes behind its last row",
                           reader->table->name, reader->record.bytes - reader->offset_bytes);
        *ret_has_row = false;
        return AP_OK;
    }
    uint32_t present;
    if (!take(reader, &present, BITMAP_BYTES) || (reader->column_count < 32 && present >> reader->column_count != 0))
        return cut_short(reader, err);
    for (uint32_t left = present; left; left &= left - 1) {
        unsigned i = (unsigned)__builtin_ctz(left);
        if (!take_value(reader, reader->table->columns[i].type, &ret_row->values[i]))
            return cut_short(reader, err);
    }
    ret_row->present = present;
    reader->rows_read++;
    *ret_has_row = true;
    return AP_OK;
}
