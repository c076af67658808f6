/*
 * First byte: table and options; the rest: a body. Whatever it is, the batch that comes out reads back row by row, its
 * texts are UTF-8, its JSON is JSON to another parser, and the counts add up.
 */
#include <jansson.h>
#include <math.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/clock.h"
#include "ingest/ingest.h"
#include "ingest/json_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_json(struct ap_slice text)
{
    json_error_t error;
    json_t *tree =
        json_loadb(text.data, text.bytes, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &error);
    AP_ASSERT(tree || json_error_code(&error) == json_error_numeric_overflow ||
              json_error_code(&error) == json_error_null_byte_in_key);
    json_decref(tree);
}

static void check_row(const struct table *table, const struct row *row)
{
    for (size_t i = 0; i < table->column_count; i++) {
        const struct column *column = &table->columns[i];
        AP_ASSERT(row_has(row, i) || !column->is_required);
        if (!row_has(row, i))
            continue;
        if (column->type == COLUMN_TEXT || column->type == COLUMN_JSON) {
            AP_ASSERT(row->values[i].text.bytes <= column->bytes_max);
            AP_ASSERT(ap_utf8_valid_bytes(row->values[i].text) == row->values[i].text.bytes);
        }
        if (column->type == COLUMN_JSON)
            check_json(row->values[i].text);
        if (column->type == COLUMN_F64)
            AP_ASSERT(isfinite(row->values[i].f64));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t hash_key[32];
    if (size == 0)
        return 0;
    struct client_address client = {0};
    struct json_rows_context context = {
        .table = &tables[data[0] % INGEST_ENDPOINT_COUNT], /* clients write no others */
        .received_us = INT64_C(1795435200000000),
        .client = &client,
        .is_ndjson = data[0] & 0x10,
        .may_date_back = data[0] & 0x20,
        .may_give_client_ip = data[0] & 0x20,
        .user_id_hash_key = data[0] & 0x40 ? hash_key : NULL,
    };
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 1 << 20);
    AP_AUTO_BUF struct ap_buf record = {.bytes_max = 1 << 20};
    struct row_report report;
    row_report_init(&report, &arena);
    struct json_position position;
    struct ap_err err;
    struct ap_slice body = ap_slice(data + 1, size - 1);
    enum ap_rc rc = json_rows_decode(&context, body, &record, &report, &position, &err);
    AP_ASSERT(position.offset <= body.bytes);
    check_json(row_report_json(&report));
    if (rc != AP_OK)
        return 0;

    struct row_reader reader;
    struct row row;
    bool has_row = true;
    uint64_t rows_count = 0;
    AP_ASSERT(row_reader_open(&reader, ap_buf_slice(&record), &err) == AP_OK);
    while (has_row) {
        AP_ASSERT(row_reader_next(&reader, &row, &has_row, &err) == AP_OK);
        rows_count += has_row;
        if (has_row)
            check_row(context.table, &row);
    }
    AP_ASSERT(rows_count == report.accepted_count);
    return 0;
}
