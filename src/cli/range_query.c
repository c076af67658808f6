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

static enum ap_rc add_points(struct replay_series *series, const json_t *pairs, bool are_histograms, struct ap_err *err)
{
    size_t count = json_array_size(pairs);
    struct replay_point *points = range_answer_grow(series, count);
    for (size_t i = 0; i < count; i++) {
        const json_t *pair = json_array_get(pairs, i);
        const char *text = are_histograms ? "0" : json_string_value(json_array_get(pair, 1));
        if (!text)
            return ap_fail(err, AP_E_IO, "the answer has a point without a value");
        points[i] = (struct replay_point){.ts_ms = llround(json_number_value(json_array_get(pair, 0)) * 1000),
                                          .value = strtod(text, NULL)};
    }
    return AP_OK;
}

static enum ap_rc read_series(const json_t *item, size_t hint, struct range_answer *all, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    enum ap_rc rc = read_labels(json_object_get(item, "metric"), &labels, err);
    if (rc != AP_OK)
        return ap_fail(err, AP_E_IO, "the answer has labels that are none");
    struct replay_series *series = range_answer_find(all, ap_buf_slice(&labels), hint);
    if (!series)
        return ap_fail(err, AP_E_FULL, "the query gives more than %d series", RANGE_SERIES_MAX);
    rc = add_points(series, json_object_get(item, "values"), false, err);
    return rc == AP_OK ? add_points(series, json_object_get(item, "histograms"), true, err) : rc;
}

static enum ap_rc read_matrix(const json_t *answer, struct range_answer *all, struct ap_err *err)
{
    const json_t *result = json_object_get(json_object_get(answer, "data"), "result");
    if (!json_is_array(result))
        return ap_fail(err, AP_E_IO, "the answer is not that of a range query");
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < json_array_size(result) && rc == AP_OK; i++)
        rc = read_series(json_array_get(result, i), i, all, err);
    return rc;
}

/* AP_E_CONFLICT: it cannot be evaluated over the span. */
static enum ap_rc fail(const json_t *answer, unsigned status, struct ap_err *err)
{
    const char *error = json_string_value(json_object_get(answer, "error"));
    const char *type = json_string_value(json_object_get(answer, "errorType"));
    if (!error || !type)
        return ap_fail(err, AP_E_IO, "the server answered with status %u", status);
    return ap_fail(err, strcmp(type, "execution") == 0 ? AP_E_CONFLICT : AP_E_IO, "%s", error);
}

/* ---- Asking ---- */

struct asking {
    const struct remote *remote;
    struct http_client *client; /* owned */
    const char *query;
    struct range_answer *answer;
    size_t questions;
};

static void add_seconds(struct ap_buf *form, const char *name, int64_t ms)
{
    AP_AUTO_FREE char *text = ap_asprintf("%.3f", (double)ms / 1000);
    form_add(form, name, text);
}

/* Steps from ≤ i ≤ last. */
static enum ap_rc ask_steps(struct asking *asking, size_t from, size_t last, struct ap_err *err)
{
    struct range_answer *all = asking->answer;
    AP_AUTO_BUF struct ap_buf form = {0};
    form_add(&form, "query", asking->query);
    add_seconds(&form, "start", all->start_ms + (int64_t)from * all->step_ms);
    add_seconds(&form, "end", all->start_ms + (int64_t)last * all->step_ms);
    add_seconds(&form, "step", all->step_ms);
    const struct remote_question question = {.path = "/api/v1/query_range",
                                             .content_type = "application/x-www-form-urlencoded",
                                             .body = ap_buf_slice(&form),
                                             .deadline_ms = DEADLINE_MS};
    struct http_client_answer answer;
    asking->questions++;
    enum ap_rc rc = remote_ask(asking->client, asking->remote, &question, &answer, err);
    if (rc != AP_OK)
        return rc;
    json_t *json = json_loadb(answer.body.data, answer.body.bytes, JSON_ALLOW_NUL, NULL);
    rc = answer.status == 200 ? read_matrix(json, all, err) : fail(json, answer.status, err);
    json_decref(json);
    return rc;
}

/* The newer half first: what is left out when there are too many questions is the oldest. The depth is log2(STEPS_MAX).
 */
static enum ap_rc ask_halves(struct asking *asking, size_t from, size_t last, struct ap_err *err)
{
    struct range_answer *all = asking->answer;
    if (last < all->first)
        return AP_OK;
    enum ap_rc rc = ask_steps(asking, from, last, err);
    bool is_too_much = rc == AP_E_LIMIT && from < last; /* of an answer */
    if (rc != AP_E_CONFLICT && !is_too_much)
        return rc;
    if (from == last) {
        range_answer_fail(all, all->start_ms + (int64_t)from * all->step_ms, err->text);
        return AP_OK;
    }
    if (asking->questions >= RANGE_QUERY_QUESTIONS_MAX) {
        all->first = last + 1;
        return AP_OK;
    }
    size_t middle = from + (last - from) / 2;
    rc = ask_halves(asking, middle + 1, last, err);
    return rc == AP_OK ? ask_halves(asking, from, middle, err) : rc;
}

enum ap_rc range_query_ask(const struct remote *remote, struct ap_slice query, struct range_answer *answer,
                           struct ap_err *err)
{
    AP_AUTO_FREE char *text = ap_asprintf("%.*s", AP_SLICE_ARG(query));
    AP_AUTO(http_client) struct http_client *client = http_client_new(&(struct http_client_options){0});
    struct asking asking = {.remote = remote, .client = client, .query = text, .answer = answer};
    enum ap_rc rc = AP_OK;
    for (size_t end = answer->step_count; end > answer->first && rc == AP_OK; end -= AP_MIN(end, (size_t)STEPS_MAX))
        rc = ask_halves(&asking, end - AP_MIN(end, (size_t)STEPS_MAX), end - 1, err);
    range_answer_sort(answer);
    return rc;
}
