#include "api/dashboards.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/mem.h"
#include "net/http_client.h"
#include "pack/pack.h"
#include "warehouse/warehouse.h"

#define MINUTE_MS INT64_C(60000)
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)

/* 2026-11-23T12:34:56.789Z, a Monday. */
static const int64_t now_ms = INT64_C(1795437296789);

/* ---- The window ---- */

#define RANGE(range, want_from_ago, want_to_ahead, want_step)                                                          \
    do {                                                                                                               \
        struct dashboards_window window;                                                                               \
        dashboards_window_of_range(range, now_ms, &window);                                                            \
        assert_int_equal(window.step_ms, want_step);                                                                   \
        assert_int_equal(window.to_ms - now_ms, want_to_ahead);                                                        \
        assert_int_equal(now_ms - window.from_ms, want_from_ago);                                                      \
    } while (0)
static void test_range(void **state)
{
    (void)state;
    int64_t in_hour = 34 * MINUTE_MS + 56789;
    RANGE(HOUR_MS, HOUR_MS - (MINUTE_MS - 56789), MINUTE_MS - 56789, MINUTE_MS);
    RANGE(DAY_MS, DAY_MS - (10 * MINUTE_MS - 4 * MINUTE_MS - 56789), 10 * MINUTE_MS - 4 * MINUTE_MS - 56789,
          10 * MINUTE_MS);
    RANGE(7 * DAY_MS, 7 * DAY_MS - (HOUR_MS - in_hour), HOUR_MS - in_hour, HOUR_MS);
    RANGE(30 * DAY_MS, 30 * DAY_MS - (4 * HOUR_MS - in_hour), 4 * HOUR_MS - in_hour, 4 * HOUR_MS);
    RANGE(90 * DAY_MS, 90 * DAY_MS - (12 * HOUR_MS - in_hour), 12 * HOUR_MS - in_hour, 12 * HOUR_MS);
    /* In steps of weeks a point begins on a Monday, as DuckDB's buckets do; today is one. */
    RANGE(1000 * DAY_MS, 1000 * DAY_MS - (7 * DAY_MS - 12 * HOUR_MS - in_hour) + 1 * DAY_MS,
          7 * DAY_MS - 12 * HOUR_MS - in_hour, 7 * DAY_MS);
}

static void test_range_holds_for_a_whole_step(void **state)
{
    (void)state;
    struct dashboards_window first, later;
    int64_t hour_begins_ms = now_ms - now_ms % HOUR_MS;
    dashboards_window_of_range(7 * DAY_MS, hour_begins_ms, &first);
    dashboards_window_of_range(7 * DAY_MS, hour_begins_ms + HOUR_MS - 1, &later);
    assert_memory_equal(&first, &later, sizeof(first));
    assert_true(first.to_ms > hour_begins_ms + HOUR_MS - 1); /* the newest row is always in */
    dashboards_window_of_range(7 * DAY_MS, hour_begins_ms + HOUR_MS, &later);
    assert_int_equal(later.to_ms, first.to_ms + HOUR_MS);
}

/* Whatever the length: points are few, the step divides both ends, and what was asked for is in it. */
static void test_ends(void **state)
{
    (void)state;
    for (int64_t length_ms = 1; length_ms <= 3653 * DAY_MS; length_ms = length_ms * 3 / 2 + 1) {
        struct dashboards_window window;
        assert_true(dashboards_window_of_ends(now_ms - length_ms, now_ms, &window));
        assert_true(window.from_ms <= now_ms - length_ms && window.to_ms >= now_ms);
        assert_int_equal((window.to_ms - window.from_ms) % window.step_ms, 0);
        assert_true((window.to_ms - window.from_ms) / window.step_ms <= 202);
        assert_int_equal((window.to_ms - INT64_C(946857600000)) % window.step_ms, 0);
    }
    struct dashboards_window window;
    assert_true(dashboards_window_of_ends(-5 * DAY_MS, -4 * DAY_MS, &window)); /* before 1970 */
    assert_true(window.from_ms <= -5 * DAY_MS && window.to_ms >= -4 * DAY_MS);
    assert_false(dashboards_window_of_ends(now_ms, now_ms, &window));
    assert_false(dashboards_window_of_ends(now_ms, now_ms - 1, &window));
    assert_false(dashboards_window_of_ends(0, 4000 * DAY_MS, &window));
    assert_false(dashboards_window_of_ends(INT64_MIN, INT64_MAX, &window));
    assert_false(dashboards_window_of_ends(INT64_MAX - 1, INT64_MAX, &window));
}

/* ---- Over HTTP, with a real warehouse ---- */

static const char dashboard_text[] =
    "title: Test\n"
    "description: >\n"
    "  What it says.\n"
    "sections:\n"
    "  - title: Cards\n"
    "    style: cards\n"
    "    panels:\n"
    "      - {id: plain, title: Plain, visualization: number, unit: s, target: '< 50ms', query: SELECT 1.5,\n"
    "         previous: SELECT 3, trend: \"SELECT TIMESTAMP '2026-11-23 00:00:00' + i * INTERVAL '1 day', i\n"
    "         FROM (SELECT unnest([0, NULL, 2]) AS i) WHERE i IS NULL OR i < 9 ORDER BY i NULLS FIRST\"}\n"
    "      - {id: shifted, title: Shifted, visualization: gauge,\n"
    "         query: 'SELECT epoch_ms($from) + epoch_ms($to)'}\n"
    "      - {id: empty, title: Empty, visualization: number, query: SELECT count FROM (SELECT 1 AS count) WHERE "
    "false}\n"
    "  - title: Charts\n"
    "    panels:\n"
    "      - id: lines\n"
    "        title: Lines\n"
    "        visualization: line_chart\n"
    "        query: SELECT $from AS time, 1::BIGINT AS a, 0.5::DOUBLE AS b, NULL AS c, true AS d, 'x\"y' AS e\n"
    "      - {id: broken, title: Broken, visualization: table, query: SELECT error('deliberate')}\n";

struct fixture {
    char dir[64];
    struct pack *pack;
    const struct pack *packs[1];
    struct warehouse *warehouse;
    struct http_server *server;
    struct http_client *client;
    struct api api;
    struct ap_clock clock;
};

static int64_t fixed_wall_us(void *context)
{
    (void)context;
    return now_ms * AP_US_PER_MS;
}

static int64_t real_monotonic_us(void *context)
{
    (void)context;
    return ap_clock_monotonic_us(&ap_clock_system);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

static const char prefix[] = "/api/apiary/v1/dashboards";

static void handle(struct http_request *request, void *context)
{
    struct ap_slice path = http_path(request);
    assert_true(ap_slice_starts_with(path, prefix));
    dashboards_handle(context, request, ap_slice(path.data + strlen(prefix), path.bytes - strlen(prefix)));
}

static int setup(void **state)
{
    struct fixture *fx = ap_new0(struct fixture);
    struct ap_err err;
    strcpy(fx->dir, "/tmp/test_dashboards_XXXXXX");
    assert_non_null(mkdtemp(fx->dir));
    AP_AUTO_FREE char *folder = ap_asprintf("%s/dashboards", fx->dir);
    assert_int_equal(mkdir(folder, 0700), 0);
    write_file(fx->dir, "pack.yaml", "name: t\nversion: \"1\"\ntitle: T\n");
    write_file(fx->dir, "dashboards/test.yaml", dashboard_text);
    if (pack_load(fx->dir, &fx->pack, &err) != AP_OK)
        fail_msg("%s", err.text);
    fx->packs[0] = fx->pack;

    struct warehouse_options options;
    warehouse_options_init(&options);
    options.dir = fx->dir;
    options.clock = &ap_clock_system;
    options.memory_bytes_max = 128 << 20;
    options.threads = 1;
    if (warehouse_open(&options, &fx->warehouse, &err) != AP_OK)
        fail_msg("%s", err.text);

    fx->clock = (struct ap_clock){.wall_us = fixed_wall_us, .monotonic_us = real_monotonic_us};
    fx->api = (struct api){.warehouse = fx->warehouse, .packs = fx->packs, .pack_count = 1, .clock = &fx->clock};
    struct http_listener listener = {.address = "127.0.0.1"};
    struct http_server_options server_options = {
        .listeners = &listener, .listener_count = 1, .thread_count = 1, .handle = handle, .context = &fx->api};
    if (http_server_open(&server_options, &fx->server, &err) != AP_OK)
        fail_msg("%s", err.text);
    fx->client = http_client_new(&(struct http_client_options){.is_direct = true});
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    http_client_free(fx->client);
    http_server_close(fx->server);
    warehouse_close(fx->warehouse);
    pack_free(fx->pack);
    static const char *const names[] = {"/pack.yaml",  "/dashboards/test.yaml", "/dashboards",
                                        "/hot.duckdb", "/hot.duckdb.wal",       ""};
    for (size_t i = 0; i < AP_ARRAY_COUNT(names); i++) {
        AP_AUTO_FREE char *path = ap_asprintf("%s%s", fx->dir, names[i]);
        remove(path);
    }
    free(fx);
    return 0;
}

/* The answer as JSON; json_decref() it. */
static json_t *get(struct fixture *fx, const char *path, unsigned want_status)
{
    AP_AUTO_FREE char *url = ap_asprintf("http://127.0.0.1:%u%s%s", http_server_port(fx->server, 0), prefix, path);
    struct http_client_answer answer;
    struct ap_err err;
    if (http_client_ask(fx->client, &(struct http_client_request){.url = url}, &answer, &err) != AP_OK)
        fail_msg("%s", err.text);
    if (answer.status != want_status)
        fail_msg("%s: %u %.*s", path, answer.status, AP_SLICE_ARG(answer.body));
    json_error_t error;
    json_t *json = json_loadb(answer.body.data, answer.body.bytes, 0, &error);
    if (!json)
        fail_msg("%s: %s in %.*s", path, error.text, AP_SLICE_ARG(answer.body));
    return json;
}

/* Whether `json` has the shape and values of `want`, written as JSON; members that `want` does not name are free. */
static bool is_like(const json_t *json, const json_t *want)
{
    if (json_is_number(json) && json_is_number(want))
        return json_number_value(json) == json_number_value(want);
    if (json_typeof(json) != json_typeof(want))
        return false;
    if (json_is_object(want)) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)want, key, value)
        {
            const json_t *member = json_object_get(json, key);
            if (!member || !is_like(member, value))
                return false;
        }
        return true;
    }
    if (json_is_array(want)) {
        bool is_same = json_array_size(json) == json_array_size(want);
        for (size_t i = 0; is_same && i < json_array_size(want); i++)
            is_same = is_like(json_array_get(json, i), json_array_get(want, i));
        return is_same;
    }
    return json_equal(json, want);
}

static void check_get(struct fixture *fx, const char *path, unsigned status, const char *want_text, int line)
{
    json_error_t error;
    json_t *want = json_loads(want_text, 0, &error);
    if (!want)
        fail_msg("line %d: %s", line, error.text);
    json_t *have = get(fx, path, status);
    bool is_good = is_like(have, want);
    char *shown = json_dumps(have, 0);
    json_decref(have);
    json_decref(want);
    if (!is_good)
        fail_msg("line %d: %s", line, shown);
    free(shown);
}
#define GET(path, status, want) check_get(*state, path, status, want, __LINE__)

static void test_list_and_dashboard(void **state)
{
    GET("", 200,
        "{\"dashboards\":[{\"id\":\"test\",\"title\":\"Test\",\"description\":\"What it says.\",\"is_home\":false}]}");
    GET("/test", 200,
        "{\"id\":\"test\",\"title\":\"Test\",\"description\":\"What it says.\",\"default_range\":\"7d\","
        "\"ranges\":[\"24h\",\"7d\",\"30d\",\"90d\"]}");
    json_t *json = get(*state, "/test", 200);
    json_t *sections = json_object_get(json, "sections");
    assert_int_equal(json_array_size(sections), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(sections, 0), "style")), "cards");
    json_t *panel = json_array_get(json_object_get(json_array_get(sections, 0), "panels"), 0);
    json_t *want =
        json_pack("{s:s, s:s, s:n, s:s, s:s, s:{s:s, s:f, s:s}, s:s, s:i, s:b, s:s}", "id", "plain", "title", "Plain",
                  "description", "visualization", "number", "unit", "s", "target", "op", "<", "value", 0.05, "text",
                  "< 50 ms", "better", "lower", "width", 3, "uses_range", 0, "query", "SELECT 1.5");
    assert_true(is_like(panel, want));
    json_decref(want);
    json_decref(json);
}

static void test_figure(void **state)
{
    GET("/test/panels/plain?range=24h", 200,
        "{\"panel\":\"plain\",\"value\":1.5,\"previous\":3,\"columns\":[],\"rows\":[],"
        "\"trend\":[[null,null],[1795392000000,0],[1795564800000,2]]}");
    GET("/test/panels/empty", 200, "{\"value\":null,\"previous\":null,\"trend\":[]}");
}

/* Without a query for it, the previous value is that of the window before. */
static void test_previous_is_shifted(void **state)
{
    struct dashboards_window window;
    dashboards_window_of_range(7 * DAY_MS, now_ms, &window);
    json_t *json = get(*state, "/test/panels/shifted", 200);
    double value = json_number_value(json_object_get(json, "value"));
    double previous = json_number_value(json_object_get(json, "previous"));
    assert_true(value == (double)(window.from_ms + window.to_ms));
    assert_true(value - previous == 2.0 * (double)(window.to_ms - window.from_ms));
    assert_true(json_integer_value(json_object_get(json, "from")) == window.from_ms);
    assert_true(json_integer_value(json_object_get(json, "to")) == window.to_ms);
    json_decref(json);
}

static void test_rows(void **state)
{
    GET("/test/panels/lines?from=1795392000000&to=1795478400000", 200,
        "{\"value\":null,\"previous\":null,\"trend\":[],\"from\":1795392000000,\"to\":1795478400000,"
        "\"columns\":[{\"name\":\"time\",\"type\":\"timestamp\"},{\"name\":\"a\",\"type\":\"number\"},"
        "{\"name\":\"b\",\"type\":\"number\"},{\"name\":\"c\"},{\"name\":\"d\",\"type\":\"boolean\"},"
        "{\"name\":\"e\",\"type\":\"text\"}],\"rows\":[[1795392000000,1,0.5,null,true,\"x\\\"y\"]]}");
}

static void test_errors(void **state)
{
    static const char any[] = "{}";
    GET("/nothing", 404, any);
    GET("/test/panels/nothing", 404, any);
    GET("/test/panels/", 404, any);
    GET("/test/panels", 404, any);
    GET("/test/other/plain", 404, any);
    GET("/test/panels/plain/more", 404, any);
    GET("/test/panels/plain?range=soon", 400,
        "{\"error\":\"range is a duration such as 24h, 7d or 90d, at most ten years\"}");
    GET("/test/panels/plain?from=5", 400, any);
    GET("/test/panels/plain?from=5&to=5", 400, any);
    GET("/test/panels/plain?from=5&to=99999999999999999999", 400, any);
    GET("/test/panels/plain?from=0&to=60000&range=7d", 400, any);
    json_t *json = get(*state, "/test/panels/broken", 500);
    const char *error = json_string_value(json_object_get(json, "error"));
    if (!strstr(error, "panel broken, query: ") || !strstr(error, "deliberate"))
        fail_msg("%s", error);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_range),  cmocka_unit_test(test_range_holds_for_a_whole_step),
        cmocka_unit_test(test_ends),   cmocka_unit_test(test_list_and_dashboard),
        cmocka_unit_test(test_figure), cmocka_unit_test(test_previous_is_shifted),
        cmocka_unit_test(test_rows),   cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
