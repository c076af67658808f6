/* PromQL from the socket to the store and back, as far as it is about answers on their way: small, large, broken, gone.
 */
#include "test_net_socket.h"

#include <jansson.h>

#include "api/query_figures.h"
#include "test_api_fixture.h"

enum { SERIES = 64, STEPS = 11000 };

/* a{i="00"} to a{i="63"}: three samples each, a minute apart, the last one at noon. */
static void fill(struct fixture *fx)
{
    struct batch batch = {0};
    struct ap_buf encoded[SERIES] = {0};
    for (int i = 0; i < SERIES; i++) {
        char number[3];
        snprintf(number, sizeof(number), "%02d", i);
        struct label labels[] = {{ap_slice_cstr(LABEL_METRIC_NAME), ap_slice_cstr("a")},
                                 {ap_slice_cstr("i"), ap_slice_cstr(number)}};
        MUST(labels_encode(labels, 2, &encoded[i], &must_err));
        struct ap_slice slice = ap_buf_slice(&encoded[i]);
        batch_add_series(&batch, slice, labels_hash_of(tsdb_hash_seed(fx->tsdb), slice));
        for (int minute = 2; minute >= 0; minute--)
            batch_add_sample(&batch, NOON_MS - minute * INT64_C(60000), i * 1e6 + 0.123456);
    }
    append_batch(fx, &batch);
    batch_clear(&batch);
    for (int i = 0; i < SERIES; i++)
        ap_buf_clear(&encoded[i]);
}

static int setup_filled(void **state)
{
    const struct fixture_options options = {.is_going = true, .limits = {.stream_queue_bytes_max = 1 << 20}};
    struct fixture *fx = fixture_new(&options);
    fill(fx);
    *state = fx;
    return 0;
}

static void send_request(int fd, const char *method, const char *target, const char *fields)
{
    AP_AUTO_FREE char *text = ap_asprintf("%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, target, fields);
    client_text(fd, text);
}

static void ask_over(int fd, struct answer *answer, const char *method, const char *target)
{
    send_request(fd, method, target, "");
    client_answer(fd, answer, strcmp(method, "HEAD") == 0);
}

static uint64_t outcome_count(const struct fixture *fx, enum promql_outcome outcome)
{
    struct promql_engine_stats stats;
    promql_engine_stats(fx->engine, &stats);
    return stats.outcomes[outcome];
}

static uint64_t in_flight(const struct fixture *fx)
{
    struct promql_engine_stats stats;
    promql_engine_stats(fx->engine, &stats);
    return stats.in_flight;
}

/* Every series has a value for each of 11,000 steps: about 20 MB, computed in several goes. */
#define LARGE_QUERY "/api/v1/query_range?query=last_over_time(a[30d])&start=1795435200&end=1795446199&step=1"

/* ---- Small and large ---- */

static void test_small_is_whole(void **state)
{
    struct fixture *fx = *state;
    int fd = client_connect(fx->port);
    AUTO_ANSWER struct answer answer = {0};
    ask_over(fd, &answer, "GET", "/api/v1/query?query=a{i=\"07\"}");
    assert_int_equal(answer.status, 200);
    assert_non_null(answer_field(&answer, "Content-Length"));
    assert_string_equal(answer.body.data,
                        "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":"
                        "{\"__name__\":\"a\",\"i\":\"07\"},\"value\":[1795435200,\"7000000.123456\"]}]}}\n");
    ask_over(fd, &answer, "GET", "/api/v1/query?query=a+%2B+");
    assert_int_equal(answer.status, 400);
    close(fd);
}

static void check_large(struct ap_slice body)
{
    assert_true(body.bytes > (size_t)SERIES * STEPS * 20);
    json_t *root = json_loadb(body.data, body.bytes, 0, NULL);
    assert_non_null(root);
    const json_t *result = json_object_get(json_object_get(root, "data"), "result");
    assert_int_equal(json_array_size(result), SERIES);
    for (size_t i = 0; i < SERIES; i++) {
        const json_t *values = json_object_get(json_array_get(result, i), "values");
        assert_int_equal(json_array_size(values), STEPS);
        const json_t *last = json_array_get(values, STEPS - 1);
        assert_int_equal(json_integer_value(json_array_get(last, 0)), NOON_MS / 1000 + STEPS - 1);
        assert_true(strtod(json_string_value(json_array_get(last, 1)), NULL) == (double)i * 1e6 + 0.123456);
    }
    json_decref(root);
}

static void test_large_comes_in_pieces(void **state)
{
    struct fixture *fx = *state;
    int fd = client_connect(fx->port);
    AUTO_ANSWER struct answer answer = {0};
    ask_over(fd, &answer, "GET", LARGE_QUERY);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer_field(&answer, "Transfer-Encoding"), "chunked");
    check_large(ap_buf_slice(&answer.body));
    size_t body_bytes = answer.body.bytes;

    ask_over(fd, &answer, "HEAD", LARGE_QUERY);
    assert_int_equal(answer.status, 200);
    assert_int_equal(strtoul(answer_field(&answer, "Content-Length"), NULL, 10), body_bytes);

    send_request(fd, "GET", LARGE_QUERY, "Accept-Encoding: zstd, gzip\r\n");
    client_answer(fd, &answer, false);
    assert_string_equal(answer_field(&answer, "Content-Encoding"), "zstd");
    assert_true(answer.body.bytes < body_bytes / 4);
    ask_over(fd, &answer, "GET", "/api/v1/query?query=vector(1)"); /* the connection goes on */
    assert_int_equal(answer.status, 200);
    close(fd);
    assert_int_equal(outcome_count(fx, PROMQL_SUCCEEDED), 4);
}

/* ---- What goes wrong on the way ---- */

static void test_failure_in_the_middle(void **state)
{
    struct fixture *fx = *state;
    int fd = client_connect(fx->port);
    send_request(fd, "GET", LARGE_QUERY, "");
    char line[512];
    assert_true(client_line(fd, line, sizeof(line)));
    assert_string_equal(line, "HTTP/1.1 200 OK\r\n");
    fixture_advance(fx, INT64_C(3600000000)); /* the query's time is up */
    AP_AUTO_BUF struct ap_buf rest = {0};
    ssize_t got;
    do {
        char *room = ap_buf_reserve(&rest, 65536);
        got = recv(fd, room, 65536, 0);
        rest.bytes += got > 0 ? (size_t)got : 0;
    } while (got > 0);
    assert_int_equal(got, -1);
    assert_int_equal(errno, ECONNRESET);
    close(fd);
    while (in_flight(fx) > 0)
        (void)poll(NULL, 0, 1);
    assert_int_equal(outcome_count(fx, PROMQL_TIMED_OUT), 1);
}

/* Some hundred million steps for each series, so that it does not end by itself before the test has lost patience. */
#define HEAVY_QUERY                                                                                                    \
    "/api/v1/query?query=sum(max_over_time(max_over_time(last_over_time(a[30d])[1h:1s])[5d:1s]))&time=1795446199"

static void test_client_leaves(void **state)
{
    struct fixture *fx = *state;
    int fd = client_connect(fx->port);
    send_request(fd, "GET", HEAVY_QUERY, "");
    while (in_flight(fx) == 0)
        (void)poll(NULL, 0, 1);
    close(fd);
    while (in_flight(fx) > 0)
        (void)poll(NULL, 0, 1);
    assert_int_equal(outcome_count(fx, PROMQL_CANCELLED), 1);
}

/* Closing one side is leaving, too, as with Prometheus; who does it is told. */
static void test_client_closes_its_side(void **state)
{
    struct fixture *fx = *state;
    int fd = client_connect(fx->port);
    send_request(fd, "GET", HEAVY_QUERY, "");
    while (in_flight(fx) == 0)
        (void)poll(NULL, 0, 1);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    AUTO_ANSWER struct answer answer = {0};
    client_answer(fd, &answer, false);
    assert_int_equal(answer.status, 499);
    assert_non_null(strstr(answer.body.data, "\"errorType\":\"canceled\""));
    close(fd);
}

static void test_client_leaves_while_it_reads(void **state)
{
    struct fixture *fx = *state;
    int fd = client_connect(fx->port);
    send_request(fd, "GET", LARGE_QUERY, "");
    char line[512];
    assert_true(client_line(fd, line, sizeof(line)));
    close(fd);
    while (in_flight(fx) > 0)
        (void)poll(NULL, 0, 1);
    assert_int_equal(outcome_count(fx, PROMQL_CANCELLED), 1);
}

/* Those who do not read theirs do not keep others from their answers. */
static void test_unread_answers(void **state)
{
    struct fixture *fx = *state;
    enum { COUNT = 3 }; /* more than the pool runs at a time */
    int unread[COUNT];
    char line[512];
    for (int i = 0; i < COUNT; i++) {
        unread[i] = client_connect(fx->port);
        send_request(unread[i], "GET", LARGE_QUERY, "");
        assert_true(client_line(unread[i], line, sizeof(line)));
    }
    int fd = client_connect(fx->port);
    AUTO_ANSWER struct answer answer = {0};
    ask_over(fd, &answer, "GET", "/api/v1/query?query=sum(a)");
    assert_int_equal(answer.status, 200);
    close(fd);
    for (int i = 0; i < COUNT; i++)
        close(unread[i]);
    while (in_flight(fx) > 0)
        (void)poll(NULL, 0, 1);
    assert_int_equal(outcome_count(fx, PROMQL_CANCELLED), COUNT);
}

/* ---- Statistics ---- */

static void check_stats(struct fixture *fx, const char *target, const char *want, int line)
{
    int fd = client_connect(fx->port);
    AUTO_ANSWER struct answer answer = {0};
    ask_over(fd, &answer, "GET", target);
    const char *samples = answer.body.data ? strstr(answer.body.data, "\"samples\":") : NULL;
    if (!samples || strncmp(samples, want, strlen(want)) != 0)
        fail_msg("line %d: %s\nshould have %s", line, samples ? samples : answer.body.data, want);
    assert_non_null(strstr(answer.body.data, ",\"stats\":{\"timings\":{\"evalTotalTime\":"));
    close(fd);
}
#define STATS(target, want) check_stats(fx, target, "\"samples\":" want, __LINE__)

static void test_stats(void **state)
{
    struct fixture *fx = *state;
    STATS("/api/v1/query?query=a&stats=all", "{\"totalQueryableSamplesPerStep\":[[1795435200,64]],"
                                             "\"totalQueryableSamples\":64,\"samplesRead\":192,\"peakSamples\":64}");
    STATS("/api/v1/query?query=a&stats=1", "{\"totalQueryableSamples\":64,\"samplesRead\":192,\"peakSamples\":64}");
    STATS("/api/v1/query_range?query=sum(rate(a[90s]))&start=1795435080&end=1795435260&step=60.5&stats=all",
          "{\"totalQueryableSamplesPerStep\":[[1795435080,64],[1795435140.500,128],[1795435201,128]],"
          "\"totalQueryableSamples\":320,");
}

static void test_figures(void **state)
{
    struct fixture *fx = *state;
    int fd = client_connect(fx->port);
    AUTO_ANSWER struct answer answer = {0};
    ask_over(fd, &answer, "GET", "/api/v1/query?query=a");
    ask_over(fd, &answer, "GET", "/api/v1/query?query=a+b");
    close(fd);
    AP_AUTO_BUF struct ap_buf out = {0};
    query_figures_add_metrics(&out, fx->engine);
    ap_buf_add_char(&out, '\0');
    const char *const wanted[] = {
        "apiary_promql_queries_total{outcome=\"success\"} 1\n",
        "apiary_promql_queries_total{outcome=\"refused\"} 1\n",
        "apiary_promql_queries_total{outcome=\"cancelled\"} 0\n",
        "apiary_promql_queries_in_flight 0\n",
        "apiary_promql_samples_read_total 192\n",
        "apiary_promql_query_seconds_bucket{le=\"0.001\"} ",
        "apiary_promql_query_seconds_bucket{le=\"+Inf\"} 2\n",
        "apiary_promql_query_seconds_count 2\n",
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(wanted); i++)
        if (!strstr(out.data, wanted[i]))
            fail_msg("%s is not in\n%s", wanted[i], out.data);
}

#define FILLED_TEST(test) cmocka_unit_test_setup_teardown(test, setup_filled, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILLED_TEST(test_small_is_whole),
        FILLED_TEST(test_large_comes_in_pieces),
        FILLED_TEST(test_failure_in_the_middle),
        FILLED_TEST(test_client_leaves),
        FILLED_TEST(test_client_closes_its_side),
        FILLED_TEST(test_client_leaves_while_it_reads),
        FILLED_TEST(test_unread_answers),
        FILLED_TEST(test_stats),
        FILLED_TEST(test_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
