#include "api/series.h"

#include <stdlib.h>
#include <string.h>

#include "api/prometheus.h"
#include "api/question.h"
#include "api/selection.h"
#include "base/arena.h"
#include "base/mem.h"
#include "tsdb/labels.h"

enum { TEXTS_BYTES_MAX = 256 << 20, ANSWER_BYTES_MAX = 256 << 20 };

static const char truncated[] = "results truncated due to limit";

static enum ap_rc read_limit(const struct question *question, uint64_t *ret_limit, struct ap_err *err)
{
    enum ap_rc rc = params_number(&question->params, "limit", 0, UINT32_MAX, ret_limit, err);
    if (rc == AP_OK && *ret_limit == 0)
        *ret_limit = UINT64_MAX;
    return rc;
}

static enum ap_rc check_size(const struct ap_buf *out, struct ap_err *err)
{
    return ap_buf_ok(out) ? AP_OK
                          : ap_fail(err, AP_E_LIMIT, "the answer would be larger than %d MiB; narrow it by match[]",
                                    ANSWER_BYTES_MAX >> 20);
}

/* ---- Series ---- */

static enum ap_rc answer_series(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct selection selection;
    struct selection_cursor cursor = {0};
    uint64_t limit;
    enum ap_rc rc = selection_read(&question->params, true, &selection, err);
    if (rc == AP_OK)
        rc = read_limit(question, &limit, err);
    if (rc == AP_OK)
        rc = selection_open(&selection, question->api->tsdb, &cursor, err);
    if (rc == AP_OK) {
        out->bytes_max = ANSWER_BYTES_MAX;
        ap_buf_add_char(out, '[');
        for (uint64_t i = 0; ap_buf_ok(out) && selection_next(&cursor); i++) {
            if (i == limit) {
                question->warning = truncated;
                break;
            }
            ap_buf_add_cstr(out, i ? "," : "");
            labels_format_json(cursor.labels, out);
        }
        ap_buf_add_char(out, ']');
        rc = check_size(out, err);
    }
    selection_close(&cursor);
    selection_clear(&selection);
    return rc;
}

void series_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_series);
}

/* ---- Names and values ---- */

struct texts {
    struct ap_slice *items; /* owned; in the arena */
    size_t count;
    size_t capacity;
    struct ap_arena arena;
    bool is_overflown;
};

static bool take_text(struct ap_slice text, void *context)
{
    struct texts *texts = context;
    char *copy = ap_arena_try_strndup(&texts->arena, text);
    if (!copy) {
        texts->is_overflown = true;
        return false;
    }
    if (texts->count == texts->capacity) {
        texts->capacity = texts->capacity ? texts->capacity * 2 : 64;
        texts->items = ap_realloc(texts->items, texts->capacity * sizeof(*texts->items));
    }
    texts->items[texts->count++] = ap_slice(copy, text.bytes);
    return true;
}

static int compare_texts(const void *left, const void *right)
{
    const struct ap_slice *a = left, *b = right;
    int order = memcmp(a->data, b->data, AP_MIN(a->bytes, b->bytes));
    return order ? order : (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

/* Of every match[] alone; `name` with data NULL: label names. */
static enum ap_rc collect(struct tsdb *tsdb, const struct selection *selection, struct ap_slice name,
                          struct texts *texts, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; (i == 0 || i < selection->count) && rc == AP_OK; i++) {
        const struct matchers *matchers = selection->count ? &selection->items[i] : NULL;
        rc = name.data
                 ? tsdb_label_values(tsdb, name, matchers, selection->min_ts_ms, selection->max_ts_ms, take_text, texts,
                                     err)
                 : tsdb_label_names(tsdb, matchers, selection->min_ts_ms, selection->max_ts_ms, take_text, texts, err);
    }
    if (rc == AP_OK && texts->is_overflown)
        rc = ap_fail(err, AP_E_LIMIT, "more than %d MiB of text; narrow it by match[]", TEXTS_BYTES_MAX >> 20);
    if (selection->count > 1 && texts->count)
        qsort(texts->items, texts->count, sizeof(*texts->items), compare_texts);
    return rc;
}

static void add_texts(const struct texts *texts, uint64_t limit, struct question *question, struct ap_buf *out)
{
    ap_buf_add_char(out, '[');
    uint64_t count = 0;
    for (size_t i = 0; i < texts->count; i++) {
        if (i && ap_slice_equal(texts->items[i], texts->items[i - 1]))
            continue;
        if (count == limit) {
            question->warning = truncated;
            break;
        }
        ap_buf_add_cstr(out, count++ ? "," : "");
        ap_buf_add_json_string(out, texts->items[i]);
    }
    ap_buf_add_char(out, ']');
}

static enum ap_rc answer_texts(struct question *question, struct ap_slice name, struct ap_buf *out, struct ap_err *err)
{
    struct selection selection;
    struct texts texts = {0};
    uint64_t limit;
    ap_arena_init(&texts.arena, TEXTS_BYTES_MAX);
    enum ap_rc rc = selection_read(&question->params, false, &selection, err);
    if (rc == AP_OK)
        rc = read_limit(question, &limit, err);
    if (rc == AP_OK && !selection_is_of_no_time(&selection))
        rc = collect(question->api->tsdb, &selection, name, &texts, err);
    if (rc == AP_OK) {
        out->bytes_max = ANSWER_BYTES_MAX;
        add_texts(&texts, limit, question, out);
        rc = check_size(out, err);
    }
    ap_arena_clear(&texts.arena);
    free(texts.items);
    selection_clear(&selection);
    return rc;
}

static enum ap_rc answer_labels(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    return answer_texts(question, (struct ap_slice){0}, out, err);
}

void series_handle_labels(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_labels);
}

static enum ap_rc answer_label_values(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    static const char tail[] = "/values";
    struct ap_slice rest = question->rest; /* "/job/values" */
    size_t tail_bytes = sizeof(tail) - 1;
    if (rest.bytes < 1 + tail_bytes || memcmp(rest.data + rest.bytes - tail_bytes, tail, tail_bytes) != 0)
        return ap_fail(err, AP_E_NOT_FOUND, "there is nothing at this address; expected /api/v1/label/<name>/values");
    struct ap_slice text = ap_slice(rest.data + 1, rest.bytes - 1 - tail_bytes);
    AP_AUTO_BUF struct ap_buf name = {0};
    if (!prometheus_unescape_name(text, &name))
        return ap_fail(err, AP_E_PARSE, "invalid label name: \"%.*s\"", (int)AP_MIN(text.bytes, (size_t)128),
                       text.data);
    return answer_texts(question, ap_buf_slice(&name), out, err);
}

void series_handle_label_values(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_label_values);
}
