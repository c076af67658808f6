#include "metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <curl/curl.h>

struct reply metrics_import(struct server *server, const char *text, size_t bytes)
{
    return http_ask(server, "/api/v1/import/prometheus", "Content-Type: text/plain", text, bytes);
}

long metrics_import_status(struct server *server, const char *text)
{
    struct reply reply = metrics_import(server, text, strlen(text));
    long status = reply.status;
    reply_clear(&reply);
    return status;
}

char *metrics_ask(struct server *server, const char *path, const char *form, long want)
{
    struct reply reply = http_ask(server, path, form ? "Content-Type: application/x-www-form-urlencoded" : NULL, form,
                                  form ? strlen(form) : 0);
    if (reply.status != want)
        fail_msg("%s: status %ld, should be %ld: %s", path, reply.status, want, reply.body);
    char *body = reply.body;
    reply.body = NULL;
    reply_clear(&reply);
    return body;
}

uint64_t metrics_figure(struct server *server, const char *name)
{
    char *body = metrics_ask(server, "/api/apiary/v1/status", NULL, 200);
    json_t *status = json_loads(body, 0, NULL);
    json_t *figure = json_object_get(json_object_get(status, "tsdb"), name);
    if (!json_is_integer(figure))
        fail_msg("there is no tsdb.%s in %s", name, body);
    uint64_t value = (uint64_t)json_integer_value(figure);
    json_decref(status);
    free(body);
    return value;
}

static void read_series(const json_t *line, struct metrics_series *series)
{
    const json_t *bits = json_object_get(line, "bits"), *times = json_object_get(line, "timestamps");
    series->labels = json_dumps(json_object_get(line, "metric"), JSON_SORT_KEYS | JSON_COMPACT);
    series->count = json_array_size(times);
    assert_int_equal(json_array_size(bits), series->count);
    series->ts_ms = calloc(series->count + 1, sizeof(*series->ts_ms));
    series->bits = calloc(series->count + 1, sizeof(*series->bits));
    for (size_t i = 0; i < series->count; i++) {
        series->ts_ms[i] = json_integer_value(json_array_get(times, i));
        series->bits[i] = strtoull(json_string_value(json_array_get(bits, i)), NULL, 16);
        if (i > 0)
            assert_true(series->ts_ms[i] > series->ts_ms[i - 1]);
    }
}

struct metrics_answer metrics_export(struct server *server, const char *selector)
{
    char *escaped = curl_easy_escape(NULL, selector, 0);
    size_t form_bytes = strlen(escaped) + 64;
    char *form = malloc(form_bytes);
    snprintf(form, form_bytes, "match[]=%s&raw=1", escaped);
    curl_free(escaped);
    char *body = metrics_ask(server, "/api/v1/export", form, 200);
    free(form);
    struct metrics_answer answer = {0};
    for (char *line = body; *line;) {
        char *end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        json_error_t error;
        json_t *object = json_loads(line, 0, &error);
        if (!object)
            fail_msg("not JSON: %s: %.200s", error.text, line);
        answer.series = realloc(answer.series, (answer.count + 1) * sizeof(*answer.series));
        read_series(object, &answer.series[answer.count++]);
        json_decref(object);
        line = end + 1;
    }
    free(body);
    return answer;
}

void metrics_answer_clear(struct metrics_answer *answer)
{
    for (size_t i = 0; i < answer->count; i++) {
        free(answer->series[i].labels);
        free(answer->series[i].ts_ms);
        free(answer->series[i].bits);
    }
    free(answer->series);
    *answer = (struct metrics_answer){0};
}

size_t metrics_sample_count(struct server *server, const char *selector)
{
    struct metrics_answer answer = metrics_export(server, selector);
    size_t count = 0;
    for (size_t i = 0; i < answer.count; i++)
        count += answer.series[i].count;
    metrics_answer_clear(&answer);
    return count;
}

void metrics_settle(struct server *server)
{
    free(metrics_ask(server, "/api/apiary/v1/tsdb/settle", "", 200));
}
