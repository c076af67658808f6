/*
 * bench/appender.c - DuckDB's appender alone, on the columns of the server's table `events`
 *
 *     bench-appender FILE DIRECTORY
 *
 * Reads NDJSON into memory first, which is not counted. Then appends all of it to a new database in DIRECTORY, once
 * value by value and once in data chunks, each with what it takes until the rows are committed. What the server's rate
 * of NDJSON is compared with: it has to receive, check, log and sync them on top. Prints one JSON object.
 */
#include <duckdb.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "warehouse/tables.h"

enum { FIRST = 4 /* lsn, received_at, timestamp and date come before the declared columns */, BATCH_ROWS = 1000 };

/* Texts are owned by the documents that they were read from. */
struct value {
    bool is_null;
    union {
        double number;
        bool flag;
        int64_t ts_us;
        struct ap_slice text;
    };
};

static const struct table *table;
static struct value *values; /* row by row, as many for each as the table has columns */
static size_t row_count;
static int64_t received_at_us;

static void check(duckdb_state state, const char *what)
{
    if (state == DuckDBError) {
        fprintf(stderr, "bench-appender: %s failed\n", what);
        exit(1);
    }
}

static struct value read_value(const struct column *column, json_t *json)
{
    struct value value = {.is_null = !json};
    if (!json)
        return value;
    switch (column->type) {
    case COLUMN_F64:
        value.number = json_number_value(json);
        break;
    case COLUMN_BOOL:
        value.flag = json_is_true(json);
        break;
    case COLUMN_TIMESTAMP:
        value.ts_us = json_integer_value(json) * AP_US_PER_MS;
        break;
    case COLUMN_JSON: {
        char *text = json_dumps(json, JSON_COMPACT);
        value.text = ap_slice_cstr(text); /* kept until the end of the process, like everything here */
        break;
    }
    case COLUMN_TEXT:
        value.text = ap_slice(json_string_value(json), json_string_length(json));
        break;
    }
    return value;
}

static void read_rows(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        exit(1);
    }
    char *line = NULL;
    size_t capacity = 0, rows_capacity = 0;
    while (getline(&line, &capacity, file) > 0) {
        if (row_count == rows_capacity) {
            rows_capacity = rows_capacity ? 2 * rows_capacity : 1 << 16;
            values = ap_realloc(values, rows_capacity * table->column_count * sizeof(*values));
        }
        json_t *object = json_loads(line, 0, NULL);
        AP_ASSERT(object);
        struct value *row = &values[row_count++ * table->column_count];
        for (size_t i = 0; i < table->column_count; i++) {
            const struct column *column = &table->columns[i];
            row[i] = read_value(column, json_object_get(object, column->name.data));
            /* What the server finds out from the address. */
            if (column->role == COLUMN_ROLE_COUNTRY)
                row[i] = (struct value){.text = AP_SLICE_LITERAL("DE")};
            else if (column->role == COLUMN_ROLE_ADDRESS_PREFIX)
                row[i] = (struct value){.text = AP_SLICE_LITERAL("192.0.2.0/24")};
        }
    }
    free(line);
    fclose(file);
}

static void append_values(duckdb_appender appender)
{
    for (size_t r = 0; r < row_count; r++) {
        const struct value *row = &values[r * table->column_count];
        duckdb_append_uint64(appender, r / BATCH_ROWS);
        duckdb_append_timestamp(appender, (duckdb_timestamp){received_at_us});
        duckdb_append_timestamp(appender, (duckdb_timestamp){row[0].ts_us});
        duckdb_append_date(appender, (duckdb_date){ap_days_of_us(row[0].ts_us)});
        for (size_t i = 1; i < table->column_count; i++) {
            if (row[i].is_null)
                duckdb_append_null(appender);
            else if (table->columns[i].type == COLUMN_F64)
                duckdb_append_double(appender, row[i].number);
            else if (table->columns[i].type == COLUMN_BOOL)
                duckdb_append_bool(appender, row[i].flag);
            else
                duckdb_append_varchar_length(appender, row[i].text.data, row[i].text.bytes);
        }
        check(duckdb_appender_end_row(appender), "append a row");
    }
}

static void fill_column(duckdb_vector vector, size_t column_index, size_t first_row, size_t count)
{
    void *data = duckdb_vector_get_data(vector);
    duckdb_vector_ensure_validity_writable(vector);
    uint64_t *validity = duckdb_vector_get_validity(vector);
    for (size_t r = 0; r < count; r++) {
        const struct value *value = &values[(first_row + r) * table->column_count + column_index];
        if (value->is_null)
            duckdb_validity_set_row_invalid(validity, r);
        else if (table->columns[column_index].type == COLUMN_F64)
            ((double *)data)[r] = value->number;
        else if (table->columns[column_index].type == COLUMN_BOOL)
            ((bool *)data)[r] = value->flag;
        else
            duckdb_vector_assign_string_element_len(vector, r, value->text.data, value->text.bytes);
    }
}

static void append_chunks(duckdb_appender appender)
{
    size_t column_count = FIRST + table->column_count - 1;
    duckdb_logical_type types[FIRST + TABLE_COLUMNS_MAX];
    for (size_t i = 0; i < column_count; i++)
        types[i] = duckdb_appender_column_type(appender, i);
    duckdb_data_chunk chunk = duckdb_create_data_chunk(types, column_count);
    for (size_t first = 0; first < row_count; first += duckdb_vector_size()) {
        size_t count = AP_MIN(row_count - first, duckdb_vector_size());
        duckdb_data_chunk_reset(chunk);
        uint64_t *lsn = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 0));
        int64_t *received = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 1));
        int64_t *timestamp = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 2));
        int32_t *date = duckdb_vector_get_data(duckdb_data_chunk_get_vector(chunk, 3));
        for (size_t r = 0; r < count; r++) {
            int64_t ts_us = values[(first + r) * table->column_count].ts_us;
            lsn[r] = (first + r) / BATCH_ROWS;
            received[r] = received_at_us;
            timestamp[r] = ts_us;
            date[r] = ap_days_of_us(ts_us);
        }
        for (size_t i = 1; i < table->column_count; i++)
            fill_column(duckdb_data_chunk_get_vector(chunk, FIRST + i - 1), i, first, count);
        duckdb_data_chunk_set_size(chunk, count);
        check(duckdb_append_data_chunk(appender, chunk), "append a chunk");
    }
    duckdb_destroy_data_chunk(&chunk);
    for (size_t i = 0; i < column_count; i++)
        duckdb_destroy_logical_type(&types[i]);
}

/* Rows a second, from the first value to the commit. */
static double measure(const char *directory, void (*append)(duckdb_appender appender))
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/appender.duckdb", directory);
    AP_AUTO_FREE char *log_path = ap_asprintf("%s.wal", path);
    unlink(path);
    unlink(log_path);
    duckdb_database database;
    duckdb_connection connection;
    duckdb_appender appender;
    check(duckdb_open(path, &database), "open");
    check(duckdb_connect(database, &connection), "connect");
    AP_AUTO_BUF struct ap_buf sql = {0};
    ap_buf_printf(&sql, "CREATE TABLE %s (lsn UBIGINT, received_at TIMESTAMP, timestamp TIMESTAMP, date DATE",
                  table->name);
    for (size_t i = 1; i < table->column_count; i++)
        ap_buf_printf(&sql, ", %s %s", table->columns[i].name.data, column_type_sql(table->columns[i].type));
    ap_buf_printf(&sql, ")%c", 0);
    check(duckdb_query(connection, sql.data, NULL), "create the table");

    int64_t start_us = ap_clock_monotonic_us(&ap_clock_system);
    check(duckdb_query(connection, "BEGIN", NULL), "begin");
    check(duckdb_appender_create(connection, NULL, table->name, &appender), "open the appender");
    append(appender);
    check(duckdb_appender_destroy(&appender), "flush");
    check(duckdb_query(connection, "COMMIT", NULL), "commit");
    double seconds = (double)(ap_clock_monotonic_us(&ap_clock_system) - start_us) / 1e6;
    duckdb_disconnect(&connection);
    duckdb_close(&database);
    unlink(path);
    unlink(log_path);
    return (double)row_count / seconds;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "Usage: bench-appender FILE DIRECTORY\n");
        return 2;
    }
    table = table_find("events");
    received_at_us = ap_clock_wall_us(&ap_clock_system);
    read_rows(argv[1]);
    double by_value = measure(argv[2], append_values);
    double by_chunk = measure(argv[2], append_chunks);
    printf("{\"rows\":%zu,\"values_per_second\":%.1f,\"chunks_per_second\":%.1f}\n", row_count, by_value, by_chunk);
    return 0;
}
