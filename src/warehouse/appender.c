#include "warehouse/appender.h"

#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "warehouse/duck.h"

/* Columns before those of the declaration; `date` comes behind the first declared one, which is the timestamp. */
enum { COLUMN_LSN, COLUMN_RECEIVED_AT, COLUMN_AT, COLUMN_DATE, COLUMN_FIRST_DECLARED };

struct appender {
    duckdb_appender appender;
    const struct table *table;
    duckdb_data_chunk chunk;
    idx_t chunk_rows;  /* filled so far */
    idx_t vector_rows; /* room */
    size_t column_count;
    duckdb_vector vectors[TABLE_COLUMNS_MAX + COLUMN_FIRST_DECLARED];
    void *data[TABLE_COLUMNS_MAX + COLUMN_FIRST_DECLARED];
    uint64_t *validity[TABLE_COLUMNS_MAX + COLUMN_FIRST_DECLARED];
};

static enum ap_rc appender_failed(struct appender *appender, struct ap_err *err)
{
    duckdb_error_data data = duckdb_appender_error_data(appender->appender);
    enum ap_rc rc = duck_fail(err, duckdb_error_data_error_type(data), duckdb_error_data_message(data), NULL, NULL);
    duckdb_destroy_error_data(&data);
    return rc;
}

static void point_at_vectors(struct appender *appender)
{
    for (size_t i = 0; i < appender->column_count; i++) {
        appender->vectors[i] = duckdb_data_chunk_get_vector(appender->chunk, i);
        appender->data[i] = duckdb_vector_get_data(appender->vectors[i]);
        duckdb_vector_ensure_validity_writable(appender->vectors[i]);
        appender->validity[i] = duckdb_vector_get_validity(appender->vectors[i]);
    }
}

enum ap_rc appender_open(duckdb_connection connection, const struct table *table, struct appender **ret_appender,
                         struct ap_err *err)
{
    struct appender *appender = ap_new0(struct appender);
    appender->table = table;
    appender->vector_rows = duckdb_vector_size();
    appender->column_count = COLUMN_FIRST_DECLARED + table->column_count - 1;
    if (duckdb_appender_create(connection, NULL, table->name, &appender->appender) == DuckDBError) {
        enum ap_rc rc = appender_failed(appender, err);
        appender_close(appender);
        return rc;
    }
    AP_ASSERT(duckdb_appender_column_count(appender->appender) == appender->column_count);
    duckdb_logical_type types[TABLE_COLUMNS_MAX + COLUMN_FIRST_DECLARED];
    for (size_t i = 0; i < appender->column_count; i++)
        types[i] = duckdb_appender_column_type(appender->appender, i);
    appender->chunk = duckdb_create_data_chunk(types, appender->column_count);
    for (size_t i = 0; i < appender->column_count; i++)
        duckdb_destroy_logical_type(&types[i]);
    point_at_vectors(appender);
    *ret_appender = appender;
    return AP_OK;
}

void appender_close(struct appender *appender)
{
    if (!appender)
        return;
    if (appender->chunk)
        duckdb_destroy_data_chunk(&appender->chunk);
    if (appender->appender)
        duckdb_appender_destroy(&appender->appender);
    free(appender);
}

static enum ap_rc hand_over_chunk(struct appender *appender, struct ap_err *err)
{
    if (appender->chunk_rows == 0)
        return AP_OK;
    duckdb_data_chunk_set_size(appender->chunk, appender->chunk_rows);
    appender->chunk_rows = 0;
    if (duckdb_append_data_chunk(appender->appender, appender->chunk) == DuckDBError)
        return appender_failed(appender, err);
    duckdb_data_chunk_reset(appender->chunk);
    point_at_vectors(appender); /* a reset chunk has new memory */
    return AP_OK;
}

/* Where a declared column stands in the table. */
static size_t position_of(size_t declared_index)
{
    return declared_index == 0 ? COLUMN_AT : COLUMN_FIRST_DECLARED + declared_index - 1;
}

static void put_value(struct appender *appender, idx_t at, size_t declared_index, const union row_value *value)
{
    size_t position = position_of(declared_index);
    switch (appender->table->columns[declared_index].type) {
    case COLUMN_TEXT:
    case COLUMN_JSON:
        duckdb_vector_assign_string_element_len(appender->vectors[position], at, value->text.data, value->text.bytes);
        break;
    case COLUMN_F64:
        ((double *)appender->data[position])[at] = value->f64;
        break;
    case COLUMN_TIMESTAMP:
        ((int64_t *)appender->data[position])[at] = value->ts_us;
        break;
    case COLUMN_BOOL:
        ((bool *)appender->data[position])[at] = value->boolean;
        break;
    }
}

static void put_row(struct appender *appender, const struct row *row, int64_t received_at_us, uint64_t lsn)
{
    idx_t at = appender->chunk_rows++;
    int64_t at_us = row_has(row, 0) ? row->values[0].ts_us : received_at_us;
    ((uint64_t *)appender->data[COLUMN_LSN])[at] = lsn;
    ((int64_t *)appender->data[COLUMN_RECEIVED_AT])[at] = received_at_us;
    ((int64_t *)appender->data[COLUMN_AT])[at] = at_us;
    ((int32_t *)appender->data[COLUMN_DATE])[at] = ap_days_of_us(at_us);
    for (size_t i = 1; i < appender->table->column_count; i++) {
        if (row_has(row, i))
            put_value(appender, at, i, &row->values[i]);
        else
            duckdb_validity_set_row_invalid(appender->validity[position_of(i)], at);
    }
}

enum ap_rc appender_add(struct appender *appender, struct row_reader *reader, uint64_t lsn, struct ap_err *err)
{
    for (;;) {
        struct row row;
        bool has_row;
        enum ap_rc rc = row_reader_next(reader, &row, &has_row, err);
        if (rc != AP_OK || !has_row)
            return rc;
        put_row(appender, &row, reader->received_at_us, lsn);
        if (appender->chunk_rows == appender->vector_rows && (rc = hand_over_chunk(appender, err)) != AP_OK)
            return rc;
    }
}

enum ap_rc appender_flush(struct appender *appender, struct ap_err *err)
{
    enum ap_rc rc = hand_over_chunk(appender, err);
    if (rc != AP_OK)
        return rc;
    if (duckdb_appender_flush(appender->appender) == DuckDBError)
        return appender_failed(appender, err);
    return AP_OK;
}
