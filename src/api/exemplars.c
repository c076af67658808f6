#include "api/exemplars.h"

#include <stdlib.h>
#include <string.h>

#include "api/prometheus.h"
#include "api/question.h"
#include "base/mem.h"
#include "promql/engine.h"
#include "promql/parser.h"
#include "tsdb/labels.h"
#include "tsdb/tsdb.h"

enum { ANSWER_BYTES_MAX = 64 << 20 };

/* One series with its exemplars, as offsets into the texts, which move while they grow. */
struct entry {
    size_t labels_at; /* canonical */
    size_t labels_bytes;
    size_t json_at; /* {…},{…} */
    size_t json_bytes;
};

struct gathering {
    struct ap_buf texts; /* owned */
    struct entry *items; /* owned */
    size_t count;
    size_t capacity;
    size_t selector_first; /* the first that the selector at hand gave */
};

static struct ap_slice labels_of(const struct gathering *gathering, const struct entry *entry)
{
    return ap_slice(gathering->texts.data + entry->labels_at, entry->labels_bytes);
}

static struct entry *add_entry(struct gathering *gathering, struct ap_slice labels)
{
    if (gathering->count == gathering->capacity) {
        gathering->capacity = gathering->capacity ? gathering->capacity * 2 : 64;
        gathering->items = ap_realloc(gathering->items, gathering->capacity * sizeof(*gathering->items));
    }
    struct entry *entry = &gathering->items[gathering->count++];
    *entry = (struct entry){.labels_at = gathering->texts.bytes, .labels_bytes = labels.bytes};
    ap_buf_add_slice(&gathering->texts, labels);
    entry->json_at = gathering->texts.bytes;
    return entry;
}

/* They come series by series, for each selector. */
static bool take_exemplar(struct ap_slice labels, const struct batch_exemplar *exemplar, void *context)
{
    struct gathering *gathering = context;
    struct ap_buf *out = &gathering->texts;
    struct entry *entry = gathering->count > gathering->selector_first ? &gathering->items[gathering->count - 1] : NULL;
    if (!ap_buf_ok(out))
        return false;
    if (entry && ap_slice_equal(labels_of(gathering, entry), labels))
        ap_buf_add_char(out, ',');
    else
        entry = add_entry(gathering, labels);
    ap_buf_add_cstr(out, "{\"labels\":");
    labels_format_json(exemplar->labels, out);
    ap_buf_add_cstr(out, ",\"value\":\"");
    prometheus_add_value(out, exemplar->value);
    ap_buf_add_cstr(out, "\",\"timestamp\":");
    prometheus_add_time(out, exemplar->ts_ms);
    ap_buf_add_char(out, '}');
    entry->json_bytes = out->bytes - entry->json_at;
    return ap_buf_ok(out);
}

static int compare_entries(const void *left, const void *right, void *context)
{
    return labels_compare(labels_of(context, left), labels_of(context, right));
}

/* Two selectors may have given the same series; it stands there once. */
static void add_series(struct gathering *gathering, struct ap_buf *out)
{
    if (gathering->count)
        qsort_r(gathering->items, gathering->count, sizeof(*gathering->items), compare_entries, gathering);
    ap_buf_add_char(out, '[');
    for (size_t i = 0; i < gathering->count; i++) {
        const struct entry *entry = &gathering->items[i];
        struct ap_slice labels = labels_of(gathering, entry);
        if (i && ap_slice_equal(labels, labels_of(gathering, entry - 1)))
            continue;
        ap_buf_add_cstr(out, i ? ",{\"seriesLabels\":" : "{\"seriesLabels\":");
        labels_format_json(labels, out);
        ap_buf_add_cstr(out, ",\"exemplars\":[");
        ap_buf_add(out, gathering->texts.data + entry->json_at, entry->json_bytes);
        ap_buf_add_cstr(out, "]}");
    }
    ap_buf_add_char(out, ']');
}

static enum ap_rc answer(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    const struct params *params = &question->params;
    struct promql_query query;
    int64_t min_ts_ms, max_ts_ms;
    enum ap_rc rc = params_time(params, "start", PARAMS_TS_MIN_MS, &min_ts_ms, err);
    if (rc == AP_OK)
        rc = params_time(params, "end", PARAMS_TS_MAX_MS, &max_ts_ms, err);
    if (rc == AP_OK && max_ts_ms < min_ts_ms)
        rc = ap_fail(err, AP_E_PARSE, "end timestamp must not be before start timestamp");
    if (rc == AP_OK)
        rc = promql_parse(params_get(params, "query"), promql_engine_options_of(question->api->engine)->is_experimental,
                          &query, err);
    if (rc != AP_OK)
        return rc;
    struct gathering gathering = {.texts = {.bytes_max = ANSWER_BYTES_MAX}};
    for (size_t i = 0; i < query.matchers_count; i++) {
        gathering.selector_first = gathering.count;
        tsdb_exemplars(question->api->tsdb, query.matchers[i], min_ts_ms, max_ts_ms, take_exemplar, &gathering);
    }
    if (query.matchers_count == 0)
        question->status = 204;
    out->bytes_max = 2 * ANSWER_BYTES_MAX;
    if (ap_buf_ok(&gathering.texts))
        add_series(&gathering, out);
    else
        rc = ap_fail(err, AP_E_LIMIT, "there are too many exemplars; ask for fewer series or a shorter time");
    promql_query_clear(&query);
    ap_buf_clear(&gathering.texts);
    free(gathering.items);
    return rc;
}

void exemplars_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer);
}
