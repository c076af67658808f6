#include "api/export.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "api/histogram_json.h"
#include "api/prometheus.h"
#include "api/question.h"
#include "api/selection.h"
#include "base/bits.h"
#include "base/mem.h"

struct export_options {
    bool is_raw;
    uint64_t line_rows_max;
};

static void add_value(struct ap_buf *out, double value)
{
    if (isinf(value))
        ap_buf_add_cstr(out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    else
        ap_buf_add_json_double(out, value); /* null for NaN */
}

static void add_bits(struct ap_buf *out, double value)
{
    uint64_t bits = ap_double_to_bits(value);
    char text[18] = "\"";
    for (int i = 0; i < 16; i++)
        text[1 + i] = "0123456789abcdef"[bits >> (60 - 4 * i) & 15];
    text[17] = '"';
    ap_buf_add(out, text, sizeof(text));
}

static void add_floats(struct ap_buf *out, struct ap_slice labels, const struct tsdb_columns *columns,
                       const struct export_options *options)
{
    for (size_t first = 0; first < columns->count && ap_buf_ok(out); first += options->line_rows_max) {
        size_t end = first + AP_MIN(columns->count - first, options->line_rows_max);
        ap_buf_add_cstr(out, "{\"metric\":");
        prometheus_add_labels(out, labels);
        ap_buf_add_cstr(out, options->is_raw ? ",\"bits\":[" : ",\"values\":[");
        for (size_t i = first; i < end; i++) {
            if (i > first)
                ap_buf_add_char(out, ',');
            if (options->is_raw)
                add_bits(out, columns->values[i]);
            else
                add_value(out, columns->values[i]);
        }
        ap_buf_add_cstr(out, "],\"timestamps\":[");
        for (size_t i = first; i < end; i++) {
            if (i > first)
                ap_buf_add_char(out, ',');
            ap_buf_add_integer(out, columns->ts_ms[i]);
        }
        ap_buf_add_cstr(out, "]}\n");
    }
}

static enum ap_rc add_histograms(struct ap_buf *out, struct ap_slice labels, const struct tsdb_columns *columns,
                                 const struct export_options *options, struct ap_err *err)
{
    for (size_t first = 0; first < columns->histogram_count && ap_buf_ok(out); first += options->line_rows_max) {
        size_t end = first + AP_MIN(columns->histogram_count - first, options->line_rows_max);
        ap_buf_add_cstr(out, "{\"metric\":");
        prometheus_add_labels(out, labels);
        ap_buf_add_cstr(out, ",\"histograms\":[");
        for (size_t i = first; i < end; i++) {
            if (i > first)
                ap_buf_add_char(out, ',');
            enum ap_rc rc = histogram_json_add_stored(out, columns->histograms[i], err);
            if (rc != AP_OK)
                return rc;
        }
        ap_buf_add_cstr(out, "],\"timestamps\":[");
        for (size_t i = first; i < end; i++) {
            if (i > first)
                ap_buf_add_char(out, ',');
            ap_buf_add_integer(out, columns->histogram_ts_ms[i]);
        }
        ap_buf_add_cstr(out, "]}\n");
    }
    return AP_OK;
}

static enum ap_rc add_series(struct selection_cursor *cursor, const struct export_options *options, struct ap_buf *out,
                             struct ap_err *err)
{
    struct tsdb_columns columns = {0};
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && ap_buf_ok(out) && selection_next(cursor)) {
        rc = tsdb_set_read(cursor->set, cursor->index, &columns, err);
        if (rc == AP_OK) {
            add_floats(out, cursor->labels, &columns, options);
            rc = add_histograms(out, cursor->labels, &columns, options, err);
        }
    }
    tsdb_columns_clear(&columns);
    return rc;
}

static enum ap_rc read_options(const struct params *params, struct export_options *ret_options, struct ap_err *err)
{
    enum ap_rc rc = params_bool(params, "raw", false, &ret_options->is_raw, err);
    if (rc == AP_OK)
        rc = params_number(params, "max_rows_per_line", 0, INT32_MAX, &ret_options->line_rows_max, err);
    if (rc == AP_OK && ret_options->line_rows_max == 0)
        ret_options->line_rows_max = UINT64_MAX / 2;
    return rc;
}

static enum ap_rc answer(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct export_options options;
    struct selection selection;
    enum ap_rc rc = selection_read(&question->params, true, &selection, err);
    if (rc == AP_OK)
        rc = read_options(&question->params, &options, err);
    struct selection_cursor cursor = {0};
    if (rc == AP_OK)
        rc = selection_open(&selection, question->api->tsdb, &cursor, err);
    if (rc == AP_OK) {
        question_set_bare(question, out, "application/stream+json; charset=utf-8");
        out->bytes_max = question->api->export_bytes_max;
        rc = add_series(&cursor, &options, out, err);
    }
    if (rc == AP_OK && !ap_buf_ok(out))
        rc =
            ap_fail(err, AP_E_LIMIT,
                    "the answer would be larger than %zu MiB: ask for fewer series (match[]) or a shorter time (start, "
                    "end), one part after the other, or raise tsdb.export_size",
                    question->api->export_bytes_max >> 20);
    selection_close(&cursor);
    selection_clear(&selection);
    return rc;
}

void export_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer);
}
