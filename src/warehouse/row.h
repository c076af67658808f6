/*
 * warehouse/row.h - rows of one table as bytes: what the log keeps and the warehouse reads back
 *
 * One batch is one record of the log: all rows of one request. Bytes: docs/format/rows.md. No locks; one owner.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "warehouse/tables.h"

enum { ROW_RECORD_TYPE = 1 /* wal_record.type of a batch */ };

union row_value {
    struct ap_slice text; /* COLUMN_TEXT, COLUMN_JSON */
    double f64;           /* COLUMN_F64 */
    int64_t ts_us;        /* COLUMN_TIMESTAMP */
    bool boolean;         /* COLUMN_BOOL */
};

struct row {
    uint32_t present; /* bit i: values[i] is set; otherwise the column is null */
    union row_value values[TABLE_COLUMNS_MAX];
};

static inline bool row_has(const struct row *row, size_t column_index)
{
    return row->present >> column_index & 1;
}

/* ---- Writing ---- */

struct row_batch {
    const struct table *table;
    struct ap_buf *out; /* lent */
    size_t start_bytes; /* where the batch begins in `out` */
    uint32_t row_count;
    struct row row; /* the one being filled; texts are lent until row_batch_commit() */
};

/* Begins a batch behind what `out` holds. `out` must not be written to by others until row_batch_finish(). */
void row_batch_begin(struct row_batch *batch, const struct table *table, int64_t received_at_us, struct ap_buf *out);

/* The last value set for a column counts. The column's type must fit: a promise of the caller. */
static inline void row_set_text(struct row_batch *batch, size_t column_index, struct ap_slice text)
{
    batch->row.present |= 1u << column_index;
    batch->row.values[column_index].text = text;
}
static inline void row_set_f64(struct row_batch *batch, size_t column_index, double value)
{
    batch->row.present |= 1u << column_index;
    batch->row.values[column_index].f64 = value;
}
static inline void row_set_ts(struct row_batch *batch, size_t column_index, int64_t ts_us)
{
    batch->row.present |= 1u << column_index;
    batch->row.values[column_index].ts_us = ts_us;
}
static inline void row_set_bool(struct row_batch *batch, size_t column_index, bool value)
{
    batch->row.present |= 1u << column_index;
    batch->row.values[column_index].boolean = value;
}

void row_batch_commit(struct row_batch *batch);  /* the row is part of the batch; the next one begins, all null */
void row_batch_discard(struct row_batch *batch); /* forgets the row; the next one begins */

/* Completes the record; its bytes are those of `out` from batch->start_bytes on. Check ap_buf_ok(out) before use. */
void row_batch_finish(struct row_batch *batch);

/* ---- Reading: the bytes are from outside, every length is checked ---- */

struct row_reader {
    const struct table *table;
    int64_t received_at_us;
    uint32_t row_count; /* rows in the batch; as many follow, or AP_E_CORRUPT */
    uint32_t column_count;
    uint32_t rows_read;
    struct ap_slice record;
    size_t offset_bytes;
};

/* `record` is lent for as long as rows are read and used. AP_E_CORRUPT names the offset. */
ap_nodiscard enum ap_rc row_reader_open(struct row_reader *reader, struct ap_slice record, struct ap_err *err);

/* Fills `ret_row`; *ret_has_row is false behind the last one. */
ap_nodiscard enum ap_rc row_reader_next(struct row_reader *reader, struct row *ret_row, bool *ret_has_row,
                                        struct ap_err *err);
