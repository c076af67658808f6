#include "ingest/influx_write.h"

#include <stdio.h>
#include <string.h>

#include "ingest/influx_line.h"

enum { LABELS_MAX = INFLUX_TAGS_MAX + 2, NS_PER_MS = 1000000 };

struct writing {
    struct metrics_body *body;
    const struct influx_write_options *options;
    struct influx_write_report *report;
    struct influx_line parser;
    struct influx_point point;
    struct ap_buf names;             /* of the point's labels, and of the metric */
    struct label labels[LABELS_MAX]; /* sorted; one is the name */
    size_t label_count;
};

bool influx_write_precision(struct ap_slice word, int64_t *ret_ns_per_unit)
{
    static const struct {
        const char *word;
        int64_t ns;
    } precisions[] = {
        {"", 1},
        {"n", 1},
        {"ns", 1},
        {"u", 1000},
        {"us", 1000},
        {"\xc2\xb5", 1000},
        {"ms", NS_PER_MS},
        {"s", 1000000000},
        {"m", INT64_C(60000000000)},
        {"h", INT64_C(3600000000000)},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(precisions); i++)
        if (ap_slice_equal_cstr(word, precisions[i].word)) {
            *ret_ns_per_unit = precisions[i].ns;
            return true;
        }
    return false;
}

static void refuse_point(struct writing *writing, const char *reason)
{
    struct influx_write_report *report = writing->report;
    report->lines_refused++;
    metrics_body_refuse_sample(writing->body, reason);
    if (report->error_count == INFLUX_WRITE_ERRORS_MAX)
        return;
    struct influx_write_error *error = &report->errors[report->error_count++];
    error->line = writing->point.line;
    error->text = ap_slice(writing->point.text.data, AP_MIN(writing->point.text.bytes, INFLUX_WRITE_LINE_BYTES));
    snprintf(error->reason, sizeof(error->reason), "%s", reason);
}

/* ---- Names ---- */

static bool is_name_byte(char c, bool is_metric)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (is_metric && c == ':');
}

/* `text` with what a name cannot hold as underscores, behind what is in writing->names. */
static void add_name(struct writing *writing, struct ap_slice text, bool is_metric, bool is_first)
{
    struct ap_buf *out = &writing->names;
    if (is_first && text.bytes && text.data[0] >= '0' && text.data[0] <= '9')
        ap_buf_add_char(out, '_');
    char *to = ap_buf_reserve(out, text.bytes + 1);
    for (size_t i = 0; i < text.bytes; i++)
        to[i] = is_name_byte(text.data[i], is_metric) ? text.data[i] : '_';
    out->bytes += text.bytes;
}

/* All that names of this point can become together, so that slices of them stay where they are. */
static void reserve_names(struct writing *writing)
{
    const struct influx_point *point = &writing->point;
    size_t field_bytes = 0;
    size_t bytes = point->measurement.bytes + writing->options->separator.bytes + 4;
    for (size_t i = 0; i < point->tag_count; i++)
        bytes += point->tags[i].name.bytes + 2;
    for (size_t i = 0; i < point->field_count; i++)
        field_bytes = AP_MAX(field_bytes, point->fields[i].key.bytes);
    ap_buf_reset(&writing->names);
    (void)ap_buf_reserve(&writing->names, bytes + field_bytes + 2);
}

static int compare_labels(const struct label *a, const struct label *b)
{
    int order = memcmp(a->name.data, b->name.data, AP_MIN(a->name.bytes, b->name.bytes));
    return order ? order : (int)a->name.bytes - (int)b->name.bytes;
}

/* Keeps the array sorted: clients send tags in order, and so this hardly ever moves anything. */
static void add_label(struct writing *writing, struct label label)
{
    size_t at = writing->label_count++;
    for (; at > 0 && compare_labels(&writing->labels[at - 1], &label) > 0; at--)
        writing->labels[at] = writing->labels[at - 1];
    writing->labels[at] = label;
}

static void make_labels(struct writing *writing)
{
    const struct influx_point *point = &writing->point;
    bool has_db = writing->options->db.bytes == 0;
    reserve_names(writing);
    writing->label_count = 0;
    for (size_t i = 0; i < point->tag_count; i++) {
        size_t first = writing->names.bytes;
        add_name(writing, point->tags[i].name, false, true);
        struct ap_slice name = ap_slice(writing->names.data + first, writing->names.bytes - first);
        has_db |= ap_slice_equal_cstr(name, "db");
        add_label(writing, (struct label){name, point->tags[i].value});
    }
    if (!has_db)
        add_label(writing, (struct label){ap_slice_cstr("db"), writing->options->db});
    add_label(writing, (struct label){ap_slice_cstr(LABEL_METRIC_NAME), ap_slice("", 0)});
}

static struct label *find_name_label(struct writing *writing)
{
    size_t i = 0;
    while (writing->labels[i].value.bytes != 0)
        i++;
    return &writing->labels[i];
}

/* ---- Samples ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* False: no time that a sample can have. */
static bool find_ts(const struct writing *writing, int64_t *ret_ts_ms)
{
    const struct influx_point *point = &writing->point;
    int64_t unit = writing->options->ns_per_unit;
    *ret_ts_ms = writing->options->default_ts_ms;
    if (!point->has_ts)
        return true;
    if (unit < NS_PER_MS) {
        *ret_ts_ms = floor_div(point->ts, NS_PER_MS / unit);
        return true;
    }
    return !__builtin_mul_overflow(point->ts, unit / NS_PER_MS, ret_ts_ms);
}

static enum ap_rc add_field(struct writing *writing, const struct influx_field *field, struct label *name,
                            int64_t ts_ms, struct ap_err *err)
{
    struct metrics_body *body = writing->body;
    size_t first = writing->names.bytes;
    add_name(writing, writing->point.measurement, true, true);
    if (!ap_slice_equal_cstr(field->key, "value")) {
        add_name(writing, writing->options->separator, true, false);
        add_name(writing, field->key, true, false);
    }
    name->value = ap_slice(writing->names.data + first, writing->names.bytes - first);
    writing->names.bytes = first; /* the next one takes its place */
    ap_buf_reset(&body->labels);
    enum ap_rc rc = labels_encode(writing->labels, writing->label_count, &body->labels, err);
    if (rc != AP_OK)
        return AP_E_PARSE;
    struct ap_slice labels;
    rc = metrics_body_keep(body, ap_buf_slice(&body->labels), &labels, err);
    if (rc != AP_OK)
        return rc;
    (void)batch_add_series(&body->batch, labels, labels_hash_of(body->hash_seed, labels));
    batch_add_sample(&body->batch, ts_ms, field->value);
    return metrics_body_check_size(body, err);
}

/* AP_E_LIMIT: the request is too large. What is wrong with a tag is wrong with all series of the point, so that the
 * first of them tells. */
static enum ap_rc add_point(struct writing *writing, struct ap_err *err)
{
    const struct influx_point *point = &writing->point;
    int64_t ts_ms;
    if (!find_ts(writing, &ts_ms)) {
        refuse_point(writing, "time outside range");
        return AP_OK;
    }
    make_labels(writing);
    struct label *name = find_name_label(writing);
    for (size_t i = 0; i < point->field_count; i++) {
        if (point->fields[i].is_text) {
            writing->report->texts_skipped++;
            continue;
        }
        enum ap_rc rc = add_field(writing, &point->fields[i], name, ts_ms, err);
        if (rc == AP_E_PARSE) {
            refuse_point(writing, err->text);
            return AP_OK;
        }
        if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}

static enum ap_rc read_points(struct writing *writing, struct ap_err *err)
{
    for (;;) {
        enum ap_rc rc = AP_OK;
        switch (influx_line_next(&writing->parser, &writing->point)) {
        case INFLUX_END:
            return AP_OK;
        case INFLUX_BAD:
            refuse_point(writing, writing->point.reason);
            break;
        case INFLUX_POINT:
            rc = add_point(writing, err);
            break;
        }
        if (rc != AP_OK)
            return rc;
    }
}

enum ap_rc influx_write_decode(struct metrics_body *body, const struct influx_write_options *options,
                               struct ap_slice text, struct influx_write_report *ret_report, struct ap_err *err)
{
    AP_AUTO_FREE struct writing *writing = ap_new0(struct writing); /* some 50 KB: too much for a stack */
    writing->body = body;
    writing->options = options;
    writing->report = ret_report;
    ret_report->lines_refused = 0;
    ret_report->texts_skipped = 0;
    ret_report->error_count = 0;
    influx_line_begin(&writing->parser, text);
    enum ap_rc rc = read_points(writing, err);
    influx_line_clear(&writing->parser);
    ap_buf_clear(&writing->names);
    return rc;
}
