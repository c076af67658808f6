/*
 * Any bytes as a batch of rows: an error or rows, never a read outside. What is read is written again: reading that
 * gives the same rows, so the reader takes nothing that the writer could not have meant.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "warehouse/row.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_row(struct row_batch *batch, const struct row *row)
{
    for (size_t i = 0; i < batch->table->column_count; i++) {
        if (!row_has(row, i))
            continue;
        switch (batch->table->columns[i].type) {
        case COLUMN_TEXT:
        case COLUMN_JSON:
            row_set_text(batch, i, row->values[i].text);
            break;
        case COLUMN_F64:
            row_set_f64(batch, i, row->values[i].f64);
            break;
        case COLUMN_TIMESTAMP:
            row_set_ts(batch, i, row->values[i].ts_us);
            break;
        case COLUMN_BOOL:
            row_set_bool(batch, i, row->values[i].boolean);
            break;
        }
    }
    row_batch_commit(batch);
}

/* Reads the record and writes what it reads to `out`. */
static enum ap_rc copy(struct ap_slice record, struct ap_buf *out)
{
    struct row_reader reader;
    struct row_batch batch;
    struct ap_err err;
    enum ap_rc rc = row_reader_open(&reader, record, &err);
    if (rc != AP_OK)
        return rc;
    row_batch_begin(&batch, reader.table, reader.received_at_us, out);
    for (;;) {
        struct row row;
        bool has_row;
        size_t before_bytes = reader.offset_bytes;
        rc = row_reader_next(&reader, &row, &has_row, &err);
        AP_ASSERT(reader.offset_bytes <= record.bytes);
        if (rc != AP_OK || !has_row)
            break;
        AP_ASSERT(reader.offset_bytes > before_bytes);
        write_row(&batch, &row);
    }
    row_batch_finish(&batch);
    AP_ASSERT(ap_buf_ok(out));
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AP_AUTO_BUF struct ap_buf first = {0};
    AP_AUTO_BUF struct ap_buf second = {0};
    enum ap_rc rc = copy(ap_slice((const char *)data, size), &first);
    AP_ASSERT(rc == AP_OK || rc == AP_E_CORRUPT);
    if (rc != AP_OK)
        return 0;
    rc = copy(ap_buf_slice(&first), &second);
    AP_ASSERT(rc == AP_OK);
    AP_ASSERT(ap_slice_equal(ap_buf_slice(&first), ap_buf_slice(&second)));
    return 0;
}
