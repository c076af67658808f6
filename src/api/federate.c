#include "api/federate.h"

#include <stdlib.h>
#include <string.h>

#include "api/question.h"
#include "api/selection.h"
#include "base/bits.h"
#include "base/mem.h"
#include "promql/engine.h"
#include "promql/float_text.h"
#include "tsdb/labels.h"

#define STALE_BITS UINT64_C(0x7ff0000000000002)

struct sample {
    struct ap_slice labels; /* lent by the selection */
    struct ap_slice name;
    double value;
    int64_t ts_ms;
    size_t place;
};

struct samples {
    struct sample *items; /* owned */
    size_t count;
    size_t capacity;
};

static int compare_names(const void *a, const void *b)
{
    const struct sample *left = a, *right = b;
    size_t bytes = AP_MIN(left->name.bytes, right->name.bytes);
    int order = bytes ? memcmp(left->name.data, right->name.data, bytes) : 0;
    if (order == 0)
        order = (left->name.bytes > right->name.bytes) - (left->name.bytes < right->name.bytes);
    return order ? order : (left->place > right->place) - (left->place < right->place);
}

/* Newest samples within the look-back that are floats and no staleness markers. */
static enum ap_rc collect(struct selection_cursor *cursor, struct samples *samples, struct ap_err *err)
{
    struct tsdb_columns columns = {0};
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && selection_next(cursor)) {
        rc = tsdb_set_read(cursor->set, cursor->index, &columns, err);
        if (rc != AP_OK || columns.count == 0 || ap_double_to_bits(columns.values[columns.count - 1]) == STALE_BITS)
            continue;
        if (samples->count == samples->capacity) {
            samples->capacity = samples->capacity ? samples->capacity * 2 : 256;
            samples->items = ap_realloc(samples->items, samples->capacity * sizeof(*samples->items));
        }
        samples->items[samples->count] = (struct sample){
            .labels = cursor->labels,
            .name = labels_get(cursor->labels, ap_slice_cstr(LABEL_METRIC_NAME)),
            .value = columns.values[columns.count - 1],
            .ts_ms = columns.ts_ms[columns.count - 1],
            .place = samples->count,
        };
        samples->count++;
    }
    tsdb_columns_clear(&columns);
    return rc;
}

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:0123456789";

/* Digits are none to begin with. */
static size_t alphabet_bytes(size_t position)
{
    return sizeof(alphabet) - 1 - (position ? 0 : 10);
}

static bool is_plain(struct ap_slice name)
{
    for (size_t i = 0; i < name.bytes; i++)
        if (!memchr(alphabet, name.data[i], alphabet_bytes(i)))
            return false;
    return name.bytes > 0;
}

static void add_quoted(struct ap_buf *out, struct ap_slice text)
{
    ap_buf_add_char(out, '"');
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        if (c == '\\' || c == '"')
            ap_buf_add_char(out, '\\');
        if (c == '\n')
            ap_buf_add_cstr(out, "\\n");
        else
            ap_buf_add_char(out, c);
    }
    ap_buf_add_char(out, '"');
}

/* Scrapers that know only the old alphabet get underscores for the rest. */
static void add_name(struct ap_buf *out, struct ap_slice name, bool is_utf8_allowed)
{
    if (is_plain(name)) {
        ap_buf_add_slice(out, name);
    } else if (is_utf8_allowed) {
        add_quoted(out, name);
    } else {
        for (size_t i = 0; i < name.bytes; i++) {
            bool is_kept = memchr(alphabet, name.data[i], alphabet_bytes(i)) != NULL;
            bool is_continuing =
                ((unsigned char)name.data[i] & 0xc0) == 0x80; /* of a character that has its underscore */
            if (is_kept || !is_continuing)
                ap_buf_add_char(out, is_kept ? name.data[i] : '_');
        }
    }
}

static void add_label(struct ap_buf *out, const struct label *label, bool is_first, bool is_utf8_allowed)
{
    ap_buf_add_cstr(out, is_first ? "" : ",");
    add_name(out, label->name, is_utf8_allowed);
    ap_buf_add_char(out, '=');
    add_quoted(out, label->value);
}

/* Then those external ones that it lacks. A series without an instance says so: the scraper would put its own in. */
static void add_labels(struct ap_buf *out, const struct sample *sample, struct ap_slice external, bool is_utf8_allowed)
{
    static const struct label no_instance = {AP_SLICE_LITERAL("instance"), AP_SLICE_LITERAL("")};
    struct ap_slice rest = sample->labels, other = external;
    struct label label;
    bool is_first = is_plain(sample->name) || !is_utf8_allowed;
    if (is_first)
        add_name(out, sample->name, is_utf8_allowed);
    ap_buf_add_char(out, '{');
    if (!is_first)
        add_quoted(out, sample->name);
    while (labels_next(&rest, &label)) {
        if (ap_slice_equal_cstr(label.name, LABEL_METRIC_NAME))
            continue;
        add_label(out, &label, is_first, is_utf8_allowed);
        is_first = false;
    }
    while (labels_next(&other, &label)) {
        if (labels_get(sample->labels, label.name).data)
            continue;
        add_label(out, &label, is_first, is_utf8_allowed);
        is_first = false;
    }
    if (!labels_get(sample->labels, no_instance.name).data && !labels_get(external, no_instance.name).data)
        add_label(out, &no_instance, is_first, is_utf8_allowed);
    ap_buf_add_char(out, '}');
}

static enum ap_rc add_samples(struct question *question, const struct samples *samples, bool is_utf8_allowed,
                              struct ap_buf *out, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; rc == AP_OK && i < samples->count; i++) {
        const struct sample *sample = &samples->items[i];
        if (i == 0 || !ap_slice_equal(sample->name, samples->items[i - 1].name)) {
            ap_buf_add_cstr(out, "# TYPE ");
            add_name(out, sample->name, is_utf8_allowed);
            ap_buf_add_cstr(out, " untyped\n");
        }
        add_labels(out, sample, question->api->external_labels, is_utf8_allowed);
        struct float_text value = go_float(sample->value);
        ap_buf_add_char(out, ' ');
        ap_buf_add_cstr(out, value.text);
        ap_buf_add_char(out, ' ');
        ap_buf_add_integer(out, sample->ts_ms);
        ap_buf_add_char(out, '\n');
        rc = question_flush(question, out, err);
    }
    return rc;
}

static bool is_utf8_allowed(const struct http_request *request)
{
    static const char wanted[] = "escaping=allow-utf-8";
    struct ap_slice accept = http_header(request, "Accept");
    return accept.data && memmem(accept.data, accept.bytes, wanted, sizeof(wanted) - 1);
}

static enum ap_rc answer(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct api *api = question->api;
    struct selection selection;
    struct selection_cursor cursor = {0};
    struct samples samples = {0};
    enum ap_rc rc = selection_read(&question->params, true, &selection, err);
    if (rc == AP_OK) {
        selection.max_ts_ms = ap_clock_wall_us(api->clock) / AP_US_PER_MS;
        selection.min_ts_ms = selection.max_ts_ms - promql_engine_options_of(api->engine)->lookback_ms + 1;
        rc = selection_open(&selection, api->tsdb, &cursor, err);
    }
    if (rc == AP_OK)
        rc = collect(&cursor, &samples, err);
    if (rc == AP_OK) {
        if (samples.count)
            qsort(samples.items, samples.count, sizeof(*samples.items), compare_names);
        question_set_bare(question, out, "text/plain; version=0.0.4; charset=utf-8");
        rc = add_samples(question, &samples, is_utf8_allowed(question->request), out, err);
    }
    free(samples.items);
    selection_close(&cursor);
    selection_clear(&selection);
    return rc;
}

void federate_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer);
}
