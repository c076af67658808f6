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

/* Whole numbers are most of what there is to write, and printf is slow. */
static void add_integer(struct ap_buf *out, int64_t value)
{
    char text[24];
    char *at = text + sizeof(text);
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (value < 0)
        *--at = '-';
    ap_buf_add(out, at, (size_t)(text + sizeof(text) - at));
}

/*
 * What people measure has few decimals. An integer below 2^53 divided by such a power of ten is rounded once, as
 * reading the text back is: when it gives the value, so does the text.
 */
static bool add_decimal(struct ap_buf *out, double value)
{
    static const struct {
        double scale;
        int64_t divisor;
    } powers[] = {{1e1, 10}, {1e2, 100}, {1e3, 1000}, {1e4, 10000}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(powers); i++) {
        double scaled = nearbyint(fabs(value) * powers[i].scale);
        if (!(scaled < 1e15) || scaled / powers[i].scale != fabs(value))
            continue;
        int64_t whole = (int64_t)scaled / powers[i].divisor, rest = (int64_t)scaled % powers[i].divisor;
        if (value < 0)
            ap_buf_add_char(out, '-');
        add_integer(out, whole);
        ap_buf_add_char(out, '.');
        for (int64_t digit = powers[i].divisor / 10; digit > 0; digit /= 10)
            ap_buf_add_char(out, (char)('0' + rest / digit % 10));
        return true;
    }
    return false;
}

static void add_value(struct ap_buf *out, double value)
{
    bool is_negative_zero = value == 0 && signbit(value);
    if (fabs(value) < 1e15 && value == (double)(int64_t)value && !is_negative_zero)
        add_integer(out, (int64_t)value);
    else if (isinf(value))
        ap_buf_add_cstr(out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    else if (value == 0)
        ap_buf_add_cstr(out, "-0");
    else if (!add_decimal(out, value))
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
            add_integer(out, columns->ts_ms[i]);
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
            enum ap_rc rc = histogram_json_add(out, columns->histograms[i], err);
            if (rc != AP_OK)
                return rc;
        }
        ap_buf_add_cstr(out, "],\"timestamps\":[");
        for (size_t i = first; i < end; i++) {
            if (i > first)
                ap_buf_add_char(out, ',');
            add_integer(out, columns->histogram_ts_ms[i]);
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
