/* apiary query: PromQL to a running server, answered as a list, sparklines or JSON. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/form.h"
#include "cli/options.h"
#include "cli/remote.h"
#include "net/http_client.h"
#include "promql/lexer.h"

enum { DEADLINE_MS = 150 * 1000, SPARKLINE_COLUMNS = 48, VALUE_WIDTH = 12 };

/* ---- Printing ---- */

static void print_labels(const json_t *metric)
{
    const char *name = json_string_value(json_object_get(metric, "__name__")), *key;
    json_t *value;
    const char *separator = "{";
    fputs(name ? name : "", stdout);
    json_object_foreach((json_t *)metric, key, value)
    {
        if (strcmp(key, "__name__") == 0)
            continue;
        AP_AUTO_FREE char *text = json_dumps(value, JSON_ENCODE_ANY);
        printf("%s%s=%s", separator, key, text);
        separator = ", ";
    }
    puts(*separator == ',' ? "}" : name ? "" : "{}");
}

/* A histogram's count and sum stand for it. */
static void print_point(const json_t *point, bool is_histogram)
{
    const json_t *value = json_array_get(point, 1);
    if (is_histogram)
        printf("count %s, sum %s", json_string_value(json_object_get(value, "count")),
               json_string_value(json_object_get(value, "sum")));
    else
        printf("%*s", VALUE_WIDTH, json_string_value(value));
}

static void print_vector(const json_t *result)
{
    for (size_t i = 0; i < json_array_size(result); i++) {
        const json_t *series = json_array_get(result, i);
        const json_t *histogram = json_object_get(series, "histogram");
        print_point(histogram ? histogram : json_object_get(series, "value"), histogram != NULL);
        fputs("  ", stdout);
        print_labels(json_object_get(series, "metric"));
    }
}

/* What a series looks like: its points put into columns by time, each column its last one. */
struct sparkline {
    double values[SPARKLINE_COLUMNS];
    size_t columns; /* at most as many as there are steps */
    double least, most, last;
};

/* What was asked for, in seconds. */
struct span {
    double start_s, end_s, step_s;
};

static struct sparkline sparkline_of(const json_t *values, const struct span *span)
{
    double length_s = span->end_s - span->start_s;
    size_t columns = (size_t)fmin(length_s / span->step_s + 1.001, SPARKLINE_COLUMNS);
    struct sparkline sparkline = {.columns = columns, .least = INFINITY, .most = -INFINITY, .last = NAN};
    for (size_t i = 0; i < SPARKLINE_COLUMNS; i++)
        sparkline.values[i] = NAN;
    for (size_t i = 0; i < json_array_size(values); i++) {
        const json_t *point = json_array_get(values, i);
        double share = (json_number_value(json_array_get(point, 0)) - span->start_s) / length_s;
        double value = strtod(json_string_value(json_array_get(point, 1)), NULL);
        sparkline.values[(size_t)fmax(round(share * (double)(columns - 1)), 0)] = value;
        sparkline.last = value;
        if (isfinite(value)) {
            sparkline.least = fmin(sparkline.least, value);
            sparkline.most = fmax(sparkline.most, value);
        }
    }
    return sparkline;
}

static void print_sparkline(const struct sparkline *sparkline)
{
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    for (size_t i = 0; i < sparkline->columns; i++) {
        double value = sparkline->values[i], height = sparkline->most - sparkline->least;
        double share = height > 0 ? (value - sparkline->least) / height : 0.5;
        fputs(isfinite(value) ? bars[(size_t)(share * 7.999)] : " ", stdout);
    }
    printf("  %*.6g  %*.6g  %*.6g  ", VALUE_WIDTH, sparkline->least, VALUE_WIDTH, sparkline->most, VALUE_WIDTH,
           sparkline->last);
}

static void print_matrix(const json_t *result, const struct span *span)
{
    if (json_array_size(result)) {
        struct sparkline empty = sparkline_of(NULL, span);
        printf("%-*s  %*s  %*s  %*s\n", (int)empty.columns, "", VALUE_WIDTH, "least", VALUE_WIDTH, "most", VALUE_WIDTH,
               "last");
    }
    for (size_t i = 0; i < json_array_size(result); i++) {
        const json_t *series = json_array_get(result, i);
        struct sparkline sparkline = sparkline_of(json_object_get(series, "values"), span);
        print_sparkline(&sparkline);
        if (json_object_get(series, "histograms"))
            printf("(%zu histograms: --json) ", json_array_size(json_object_get(series, "histograms")));
        print_labels(json_object_get(series, "metric"));
    }
}

static void print_samples(const json_t *result)
{
    for (size_t i = 0; i < json_array_size(result); i++) {
        const json_t *series = json_array_get(result, i);
        const json_t *values = json_object_get(series, "values"), *histograms = json_object_get(series, "histograms");
        print_labels(json_object_get(series, "metric"));
        for (size_t j = 0; j < json_array_size(values) + json_array_size(histograms); j++) {
            bool is_histogram = j >= json_array_size(values);
            const json_t *point =
                is_histogram ? json_array_get(histograms, j - json_array_size(values)) : json_array_get(values, j);
            print_point(point, is_histogram);
            printf("  @%.3f\n", json_number_value(json_array_get(point, 0)));
        }
    }
}

static void print_notes(const json_t *answer)
{
    static const char *const members[] = {"warnings", "infos"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(members); i++) {
        const json_t *notes = json_object_get(answer, members[i]);
        for (size_t j = 0; j < json_array_size(notes); j++)
            fprintf(stderr, "apiary query: %s\n", json_string_value(json_array_get(notes, j)));
    }
}

static void print_answer(const json_t *answer, bool is_range, const struct span *span)
{
    const json_t *data = json_object_get(answer, "data"), *result = json_object_get(data, "result");
    const char *type = json_string_value(json_object_get(data, "resultType"));
    if (strcmp(type, "vector") == 0)
        print_vector(result);
    else if (strcmp(type, "matrix") != 0)
        puts(json_string_value(json_array_get(result, 1)));
    else if (is_range)
        print_matrix(result, span);
    else
        print_samples(result);
    if (strcmp(type, "vector") == 0 || strcmp(type, "matrix") == 0)
        printf("(%zu series)\n", json_array_size(result));
    print_notes(answer);
}

/* ---- Asking ---- */

struct arguments {
    const char *server, *key, *time, *since, *step;
    bool is_json;
};

static void add_seconds(struct ap_buf *form, const char *name, double seconds)
{
    AP_AUTO_FREE char *text = ap_asprintf("%.3f", seconds);
    form_add(form, name, text);
}

static int ask(const struct arguments *arguments, struct ap_slice form, const struct span *span)
{
    bool is_range = arguments->since != NULL;
    AP_AUTO(http_client) struct http_client *client = http_client_new(&(struct http_client_options){0});
    const struct remote remote = {arguments->server, arguments->key};
    const struct remote_question question = {.path = is_range ? "/api/v1/query_range" : "/api/v1/query",
                                             .content_type = "application/x-www-form-urlencoded",
                                             .body = form,
                                             .deadline_ms = DEADLINE_MS};
    struct ap_slice body;
    int exit_code = remote_ask_or_say("query", client, &remote, &question, &body);
    if (exit_code != CLI_DONE)
        return exit_code;
    if (arguments->is_json) {
        fwrite(body.data, 1, body.bytes, stdout);
        return CLI_DONE;
    }
    json_t *json = json_loadb(body.data, body.bytes, 0, NULL);
    if (!json)
        return answer_failed("query", body, 200);
    print_answer(json, is_range, span);
    json_decref(json);
    return CLI_DONE;
}

int cli_query(int argc, char **argv)
{
    const char *server = getenv("APIARY_SERVER");
    struct arguments arguments = {.server = server ? server : "http://127.0.0.1:8484", .key = getenv("APIARY_KEY")};
    const struct cli_option options[] = {
        {"server", 's', CLI_OPTION_TEXT, "URL", &arguments.server,
         "the server to ask; also $APIARY_SERVER\n(default: http://127.0.0.1:8484)"},
        {"key", 'k', CLI_OPTION_TEXT, "KEY", &arguments.key, "viewer key; also $APIARY_KEY, which others cannot see"},
        {"time", 't', CLI_OPTION_TEXT, "TIME", &arguments.time,
         "when: seconds since 1970 or RFC 3339 (default: now);\nwith --since the end"},
        {"since", 0, CLI_OPTION_TEXT, "DURATION", &arguments.since, "over so long, such as 1h, as sparklines"},
        {"step", 0, CLI_OPTION_TEXT, "DURATION", &arguments.step, "with --since: between two points"},
        {"json", 0, CLI_OPTION_FLAG, NULL, &arguments.is_json, "print the answer as JSON"},
    };
    const struct cli_command command = {
        .name = "query",
        .arguments = "QUERY",
        .summary = "Asks a running server one PromQL query, at a time or over a span of it.",
        .details = "Examples:\n"
                   "  apiary query 'sum by (job) (rate(http_requests_total[5m]))'\n"
                   "  apiary query --since 6h 'node_load1'\n",
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    if (argc - first != 1)
        return cli_misused(&command, "expected one QUERY; put it into quotes");
    int64_t since_ms = 0, step_ms = 0, time_us = ap_clock_wall_us(&ap_clock_system);
    if (arguments.since && !promql_parse_duration(ap_slice_cstr(arguments.since), &since_ms))
        return cli_misused(&command, "--since: \"%s\" is not a duration such as 30m or 6h", arguments.since);
    if (arguments.step && !promql_parse_duration(ap_slice_cstr(arguments.step), &step_ms))
        return cli_misused(&command, "--step: \"%s\" is not a duration such as 15s or 1m", arguments.step);
    if (arguments.step && !arguments.since)
        return cli_misused(&command, "--step goes with --since");
    char *end = NULL;
    double seconds = arguments.time ? strtod(arguments.time, &end) : (double)time_us / 1e6;
    if (arguments.time && *end && !ap_time_parse(ap_slice_cstr(arguments.time), &time_us))
        return cli_misused(&command, "--time: \"%s\" is neither seconds since 1970 nor RFC 3339", arguments.time);
    if (arguments.time && *end)
        seconds = (double)time_us / 1e6;
    AP_AUTO_BUF struct ap_buf form = {0};
    struct span span = {.start_s = seconds - (double)since_ms / 1000, .end_s = seconds};
    span.step_s = step_ms ? (double)step_ms / 1000 : fmax((double)since_ms / 1000 / (SPARKLINE_COLUMNS - 1), 0.001);
    form_add(&form, "query", argv[first]);
    if (arguments.since) {
        add_seconds(&form, "start", span.start_s);
        add_seconds(&form, "end", span.end_s);
        add_seconds(&form, "step", span.step_s);
    } else {
        add_seconds(&form, "time", span.end_s);
    }
    return ask(&arguments, ap_buf_slice(&form), &span);
}
