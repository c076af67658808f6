#include "cli/range_query.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "cli/form.h"
#include "net/http_client.h"
#include "tsdb/labels.h"

enum {
    DEADLINE_MS = 150 * 1000,
    STEPS_MAX = 10000, /* of one request; servers answer 11,000 points a series */
};

/* ---- Reading answers ---- */

static enum ap_rc read_labels(const json_t *metric, struct ap_buf *out, struct ap_err *err)
{
    const char *key;
    json_t *value;
    size_t count = 0;
    AP_AUTO_FREE struct label *labels = ap_new0_array(struct label, json_object_size(metric) + 1);
    json_object_foreach((json_t *)metric, key, value)
    {
        labels[count++] =
            (struct label){ap_slice_cstr(key), ap_slice(json_string_value(value), json_string_length(value))};
    }
    return count ? labels_encode(labels, count, out, err) : AP_OK;
}

struct replay_series *range_answer_find(struct range_answer *all, struct ap_slice labels, size_t hint)
{
    for (size_t i = 0; i < all->series_count; i++) { /* answers are sorted: mostly it is where it was before */
        struct replay_series *series = &all->series[(hint + i) % all->series_count];
        if (ap_slice_equal(series->labels, labels))
            return series;
    }
    if (all->series_count == RANGE_SERIES_MAX)
        return NULL;
    all->series = ap_realloc(all->series, (all->series_count + 1) * sizeof(*all->series));
    struct replay_series *series = &all->series[all->series_count++];
    char *copy = ap_new0_array(char, labels.bytes + 1);
    if (labels.bytes)
        memcpy(copy, labels.data, labels.bytes);
    *series = (struct replay_series){.labels = ap_slice(copy, labels.bytes)};
    return series;
}

struct replay_point *range_answer_grow(struct replay_series *series, size_t count)
{
    struct replay_point *points =
        ap_realloc((void *)series->points, (series->count + count + 1) * sizeof(*series->points));
    series->points = points;
    series->count += count;
    return points + series->count - count;
}

static enum ap_rc add_points(struct replay_series *series, const json_t *values, struct ap_err *err)
{
    size_t count = json_array_size(values);
    struct replay_point *points = range_answer_grow(series, count);
    for (size_t i = 0; i < count; i++) {
        const json_t *pair = json_array_get(values, i);
        const char *text = json_string_value(json_array_get(pair, 1));
        if (!text)
            return ap_fail(err, AP_E_PARSE, "the answer has a point without a value");
        points[i] = (struct replay_point){.ts_ms = llround(json_number_value(json_array_get(pair, 0)) * 1000),
                                          .value = strtod(text, NULL)};
    }
    return AP_OK;
}

static enum ap_rc read_matrix(const json_t *answer, struct range_answer *all, struct ap_err *err)
{
    const json_t *result = json_object_get(json_object_get(answer, "data"), "result");
    if (!json_is_array(result))
        return ap_fail(err, AP_E_PARSE, "the answer is not that of a range query");
    for (size_t i = 0; i < json_array_size(result); i++) {
        const json_t *item = json_array_get(result, i);
        AP_AUTO_BUF struct ap_buf labels = {0};
        enum ap_rc rc = read_labels(json_object_get(item, "metric"), &labels, err);
        if (rc != AP_OK)
            return rc;
        struct replay_series *series = range_answer_find(all, ap_buf_slice(&labels), i);
        if (!series)
            return ap_fail(err, AP_E_LIMIT, "the query gives more than %d series", RANGE_SERIES_MAX);
        rc = add_points(series, json_object_get(item, "values"), err);
        if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}

/* ---- Asking ---- */

static enum ap_rc fail(const json_t *answer, unsigned status, struct ap_err *err)
{
    const char *error = json_string_value(json_object_get(answer, "error"));
    if (error)
        return ap_fail(err, AP_E_IO, "%s", error);
    return ap_fail(err, AP_E_IO, "the server answered with status %u", status);
}

static void add_seconds(struct ap_buf *form, const char *name, int64_t ms)
{
    AP_AUTO_FREE char *text = ap_asprintf("%.3f", (double)ms / 1000);
    form_add(form, name, text);
}

static enum ap_rc ask_piece(struct http_client *client, const struct range_query *request, int64_t start_ms,
                            int64_t end_ms, struct range_answer *all, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf form = {0};
    form_add(&form, "query", request->query);
    add_seconds(&form, "start", start_ms);
    add_seconds(&form, "end", end_ms);
    add_seconds(&form, "step", request->step_ms);
    const struct remote_question question = {.path = "/api/v1/query_range",
                                             .content_type = "application/x-www-form-urlencoded",
                                             .body = ap_buf_slice(&form),
                                             .deadline_ms = DEADLINE_MS};
    struct http_client_answer answer;
    enum ap_rc rc = remote_ask(client, &request->remote, &question, &answer, err);
    if (rc != AP_OK)
        return rc;
    json_t *json = json_loadb(answer.body.data, answer.body.bytes, JSON_ALLOW_NUL, NULL);
    rc = answer.status == 200 ? read_matrix(json, all, err) : fail(json, answer.status, err);
    json_decref(json);
    return rc;
}

enum ap_rc range_query_ask(const struct range_query *request, struct range_answer *ret_answer, struct ap_err *err)
{
    AP_AUTO(http_client) struct http_client *client = http_client_new(&(struct http_client_options){0});
    struct range_answer all = {0};
    enum ap_rc rc = AP_OK;
    for (int64_t start_ms = request->start_ms; start_ms <= request->end_ms && rc == AP_OK;
         start_ms += STEPS_MAX * request->step_ms) {
        int64_t end_ms = AP_MIN(start_ms + (STEPS_MAX - 1) * request->step_ms, request->end_ms);
        rc = ask_piece(client, request, start_ms, end_ms, &all, err);
    }
    if (rc == AP_OK)
        *ret_answer = all;
    else
        range_answer_clear(&all);
    return rc;
}

void range_answer_clear(struct range_answer *answer)
{
    for (size_t i = 0; i < answer->series_count; i++) {
        free((void *)answer->series[i].labels.data);
        free((void *)answer->series[i].points);
    }
    free(answer->series);
    *answer = (struct range_answer){0};
}
