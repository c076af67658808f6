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
#include "tsdb/labels.h"

struct export_options {
    struct question *question;
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

static void add_float(struct ap_buf *out, const struct tsdb_columns *columns, size_t i, bool is_raw)
{
    if (is_raw)
        add_bits(out, columns->values[i]);
    else
        add_value(out, columns->values[i]);
}

static enum ap_rc add_times(const struct export_options *options, struct ap_buf *out, const int64_t *ts_ms,
                            size_t count, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    ap_buf_add_cstr(out, "],\"timestamps\":[");
    for (size_t i = 0; rc == AP_OK && i < count; i++) {
        ap_buf_add_cstr(out, i ? "," : "");
        ap_buf_add_integer(out, ts_ms[i]);
        rc = question_flush(options->question, out, err);
    }
    ap_buf_add_cstr(out, "]}\n");
    return rc;
}

static enum ap_rc add_floats(struct ap_buf *out, struct ap_slice labels, const struct tsdb_columns *columns,
                             const struct export_options *options, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t first = 0; rc == AP_OK && first < columns->count; first += options->line_rows_max) {
        size_t end = first + AP_MIN(columns->count - first, options->line_rows_max);
        ap_buf_add_cstr(out, "{\"metric\":");
        labels_format_json(labels, out);
        ap_buf_add_cstr(out, options->is_raw ? ",\"bits\":[" : ",\"values\":[");
        for (size_t i = first; rc == AP_OK && i < end; i++) {
            ap_buf_add_cstr(out, i > first ? "," : "");
            add_float(out, columns, i, options->is_raw);
            rc = question_flush(options->question, out, err);
        }
        if (rc == AP_OK)
            rc = add_times(options, out, columns->ts_ms + first, end - first, err);
    }
    return rc;
}

static enum ap_rc add_histograms(struct ap_buf *out, struct ap_slice labels, const struct tsdb_columns *columns,
                                 const struct export_options *options, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t first = 0; rc == AP_OK && first < columns->histogram_count; first += options->line_rows_max) {
        size_t end = first + AP_MIN(columns->histogram_count - first, options->line_rows_max);
        ap_buf_add_cstr(out, "{\"metric\":");
        labels_format_json(labels, out);
        ap_buf_add_cstr(out, ",\"histograms\":[");
        for (size_t i = first; rc == AP_OK && i < end; i++) {
            ap_buf_add_cstr(out, i > first ? "," : "");
            rc = histogram_json_add_stored(out, columns->histograms[i], err);
            if (rc == AP_OK)
                rc = question_flush(options->question, out, err);
        }
        if (rc == AP_OK)
            rc = add_times(options, out, columns->histogram_ts_ms + first, end - first, err);
    }
    return rc;
}

static enum ap_rc add_series(struct selection_cursor *cursor, const struct export_options *options, struct ap_buf *out,
                             struct ap_err *err)
{
    struct tsdb_columns columns = {0};
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && selection_next(cursor)) {
        rc = tsdb_set_read(cursor->set, cursor->index, &columns, err);
        if (rc == AP_OK)
            rc = add_floats(out, cursor->labels, &columns, options, err);
        if (rc == AP_OK)
            rc = add_histograms(out, cursor->labels, &columns, options, err);
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
        rc = selection_check_time(&selection, err);
    if (rc == AP_OK)
        rc = read_options(&question->params, &options, err);
    struct selection_cursor cursor = {0};
    if (rc == AP_OK)
        rc = selection_open(&selection, question->api->tsdb, &cursor, err);
    if (rc == AP_OK) {
        options.question = question;
        question_set_bare(question, out, "application/stream+json; charset=utf-8");
        rc = add_series(&cursor, &options, out, err);
    }
    selection_close(&cursor);
    selection_clear(&selection);
    return rc;
}

void export_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer);
}
