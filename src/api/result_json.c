#include "api/result_json.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"

void result_add_cell(struct ap_buf *out, const struct warehouse_cell *cell)
{
    char text[AP_TIME_TEXT_BYTES];
    switch (cell->kind) {
    case WAREHOUSE_CELL_NULL:
        ap_buf_add_cstr(out, "null");
        break;
    case WAREHOUSE_CELL_INTEGER:
        ap_buf_printf(out, "%" PRId64, cell->integer);
        break;
    case WAREHOUSE_CELL_DOUBLE:
        ap_buf_add_json_double(out, cell->number);
        break;
    case WAREHOUSE_CELL_BOOLEAN:
        ap_buf_add_cstr(out, cell->boolean ? "true" : "false");
        break;
    case WAREHOUSE_CELL_TIMESTAMP:
        ap_time_format(cell->ts_us, text);
        ap_buf_add_json_string(out, ap_slice_cstr(text));
        break;
    case WAREHOUSE_CELL_TEXT:
        ap_buf_add_json_string(out, cell->text);
        break;
    }
}

void result_add_json(struct ap_buf *out, const struct warehouse_result *result)
{
    size_t column_count = warehouse_result_columns(result), row_count = warehouse_result_rows(result);
    ap_buf_add_cstr(out, "{\"columns\":[");
    for (size_t i = 0; i < column_count; i++) {
        ap_buf_add_cstr(out, i ? ",{\"name\":" : "{\"name\":");
        ap_buf_add_json_string(out, ap_slice_cstr(warehouse_result_name(result, i)));
        ap_buf_printf(out, ",\"type\":\"%s\"}", warehouse_kind_name(warehouse_result_kind(result, i)));
    }
    ap_buf_add_cstr(out, "],\"rows\":[");
    for (size_t row = 0; row < row_count; row++) {
        ap_buf_add_cstr(out, row ? ",[" : "[");
        for (size_t i = 0; i < column_count; i++) {
            if (i)
                ap_buf_add_char(out, ',');
            result_add_cell(out, warehouse_result_cell(result, row, i));
        }
        ap_buf_add_char(out, ']');
    }
    ap_buf_printf(out, "],\"row_count\":%zu,\"truncated\":%s,\"took_ms\":%.3f}\n", row_count,
                  warehouse_result_is_truncated(result) ? "true" : "false",
                  (double)warehouse_result_took_us(result) / AP_US_PER_MS);
}

static void add_csv_text(struct ap_buf *out, struct ap_slice text)
{
    bool is_plain = text.bytes > 0;
    for (size_t i = 0; i < text.bytes && is_plain; i++)
        is_plain = !strchr("\",\r\n", text.data[i]);
    if (is_plain) {
        ap_buf_add_slice(out, text);
        return;
    }
    ap_buf_add_char(out, '"');
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] == '"')
            ap_buf_add_char(out, '"');
        ap_buf_add_char(out, text.data[i]);
    }
    ap_buf_add_char(out, '"');
}

static void add_csv_cell(struct ap_buf *out, const struct warehouse_cell *cell)
{
    char text[AP_TIME_TEXT_BYTES];
    if (cell->kind == WAREHOUSE_CELL_NULL)
        return;
    if (cell->kind == WAREHOUSE_CELL_TEXT) {
        add_csv_text(out, cell->text);
    } else if (cell->kind == WAREHOUSE_CELL_TIMESTAMP) {
        ap_time_format(cell->ts_us, text);
        ap_buf_add_cstr(out, text);
    } else {
        result_add_cell(out, cell);
    }
}

void result_add_csv(struct ap_buf *out, const struct warehouse_result *result)
{
    size_t column_count = warehouse_result_columns(result);
    for (size_t i = 0; i < column_count; i++) {
        if (i)
            ap_buf_add_char(out, ',');
        add_csv_text(out, ap_slice_cstr(warehouse_result_name(result, i)));
    }
    ap_buf_add_cstr(out, "\r\n");
    for (size_t row = 0; row < warehouse_result_rows(result); row++) {
        for (size_t i = 0; i < column_count; i++) {
            if (i)
                ap_buf_add_char(out, ',');
            add_csv_cell(out, warehouse_result_cell(result, row, i));
        }
        ap_buf_add_cstr(out, "\r\n");
    }
}
