/* What clients, operators and disks do to a server, one after the other, on the real binary. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server.h"

static int open_server(void **state)
{
    static struct server server;
    server_init(&server);
    server.arguments[0] = "--open";
    server_start(&server);
    *state = &server;
    return 0;
}

static int close_server(void **state)
{
    struct server *server = *state;
    if (server)
        server_clear(server);
    return 0;
}

/* The bodies that the documentation promises, as they stand. */
static void test_documented_bodies(void **state)
{
    struct server *server = *state;
    assert_int_equal(http_post(server, "/events",
                               "{\"event_type\":\"command_execution\",\"session_id\":\"a1\",\"command\":\"consensus\","
                               "\"duration_ms\":412.2,\"success\":true,\"timestamp\":\"2026-11-23T12:00:00Z\","
                               "\"version\":\"2.1.0\",\"platform\":\"linux-x86_64\"}"),
                     204);
    assert_int_equal(
        http_post(server, "/events",
                  "{\"event_type\":\"feature_usage\",\"session_id\":\"a1\",\"feature\":\"planning_mode\","
                  "\"context\":{\"tasks\":7},\"timestamp\":\"2026-11-23T12:00:01Z\",\"version\":\"2.1.0\"}"),
        204);
    assert_int_equal(
        http_post(server, "/vitals",
                  "{\"name\":\"LCP\",\"value\":1834,\"id\":\"v5-1\",\"attribution\":{\"element\":\"h1\"},"
                  "\"timestamp\":1764000000000,\"url\":\"https://hive.example/docs\",\"user_agent\":\"x\"}"),
        204);
    assert_int_equal(http_post(server, "/downloads",
                               "{\"platform\":\"macos\",\"method\":\"homebrew\",\"version\":\"2.1.0\","
                               "\"timestamp\":1764000000000,\"referrer\":\"\",\"user_agent\":\"curl\"}"),
                     204);
    assert_int_equal(http_post(server, "/synthetic",
                               "{\"test\":\"download_flow\",\"duration\":5321,\"success\":true,"
                               "\"timestamp\":\"2026-11-23T12:00:00Z\"}"),
                     204);
    sql_wait_for(server, "SELECT COUNT(*) FROM events", 2);
    sql_wait_for(server, "SELECT COUNT(*) FROM events WHERE duration_ms = 412.2 AND success AND version = '2.1.0'", 1);
    sql_wait_for(server, "SELECT CAST(context->>'tasks' AS INTEGER) FROM events WHERE feature = 'planning_mode'", 7);
    sql_wait_for(server, "SELECT value FROM vitals WHERE name = 'LCP' AND (attribution->>'element') = 'h1'", 1834);
    sql_wait_for(server, "SELECT epoch_ms(timestamp) FROM downloads WHERE method = 'homebrew'", 1764000000000.0);
    sql_wait_for(server, "SELECT duration_ms FROM synthetic_runs WHERE test = 'download_flow'", 5321);
}

static void assert_refused(struct server *server, const char *path, const char *header, const char *body, size_t bytes,
                           long want_status, const char *want_text)
{
    struct reply reply = http_ask(server, path, header, body, bytes);
    if (reply.status != want_status || (want_text && !strstr(reply.body, want_text)))
        fail_msg("%s: want %ld with '%s', got %ld: %s", path, want_status, want_text ? want_text : "", reply.status,
                 reply.body);
    reply_clear(&reply);
}

static void test_bad_bodies_cost_only_themselves(void **state)
{
    struct server *server = *state;
    double rows_before = sql_number(server, "SELECT COUNT(*) FROM events");
    static const char json[] = "Content-Type: application/json";

#define REFUSED(body, status, text) assert_refused(server, "/events", json, body, sizeof(body) - 1, status, text)
    REFUSED("{\"event_type\":\"x\"", 400, "offset");
    REFUSED("{\"event_type\":\"\xff\xfe\"}", 400, "UTF-8");
    REFUSED("", 400, "empty");
    REFUSED("[1,2]", 400, "object");
    REFUSED("{\"session_id\":\"no type\"}", 400, "event_type");
#undef REFUSED

    size_t bytes = 20 << 20;
    char *big = malloc(bytes);
    memset(big, '[', bytes);
    assert_refused(server, "/events", json, big, 10000, 400, "deep");
    assert_refused(server, "/events", json, big, bytes, 413, NULL);
    size_t used = (size_t)sprintf(big, "{\"event_type\":\"wide\"");
    for (int i = 0; i < 10000; i++)
        used += (size_t)sprintf(big + used, ",\"key_%d\":%d", i, i);
    used += (size_t)sprintf(big + used, "}");
    assert_refused(server, "/events", json, big, used, 400, "keys");
    free(big);

    assert_refused(server, "/events", "Content-Type: application/json\nContent-Encoding: gzip", "not gzip", 8, 400,
                   NULL);
    assert_refused(server, "/events", "Content-Type: application/json\nContent-Encoding: compress", "x", 1, 415, NULL);
    assert_true(rows_before == sql_number(server, "SELECT COUNT(*) FROM events"));
}

static void test_wrong_type_in_row_500(void **state)
{
    struct server *server = *state;
    char *body = malloc(200000);
    size_t used = 0;
    for (int row = 1; row <= 1000; row++)
        used += (size_t)sprintf(body + used, "{\"event_type\":\"row500\",\"session_id\":\"w\",\"duration_ms\":%s}\n",
                                row == 500 ? "\"soon\"" : "1");
    struct reply reply = http_ask(server, "/events", "Content-Type: application/x-ndjson", body, used);
    free(body);
    assert_int_equal(reply.status, 200);
    json_t *answer = json_loads(reply.body, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(answer, "accepted")), 999);
    assert_int_equal(json_integer_value(json_object_get(answer, "rejected")), 1);
    json_t *error = json_array_get(json_object_get(answer, "errors"), 0);
    assert_int_equal(json_integer_value(json_object_get(error, "row")), 500);
    assert_string_equal(json_string_value(json_object_get(error, "field")), "duration_ms");
    json_decref(answer);
    reply_clear(&reply);
    sql_wait_for(server, "SELECT COUNT(*) FROM events WHERE event_type = 'row500'", 999);
}

static void test_sql_that_is_refused(void **state)
{
    struct server *server = *state;
    static const char text[] = "Content-Type: text/plain";
    static const struct {
        const char *query;
        const char *want;
    } cases[] = {
        {"DELETE FROM events", "SELECT"},
        {"DROP TABLE events", "SELECT"},
        {"SELECT 1; SELECT 2", "one"},
        {"COPY events TO '/tmp/x.csv'", "disabled"},
        {"ATTACH '/tmp/x.db'", "error"},
        {"SET memory_limit = '100GB'", "SELECT"},
        {"SELECT * FROM read_csv('/etc/passwd')", "error"},
        {"SELECT * FROM read_text('/etc/passwd')", "error"},
        {"SELECT * FROM '/etc/passwd'", "error"},
        {"SELECT nonsense FROM events", "nonsense"},
        {"SELEC 1", "line"},
        {"", "error"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_refused(server, "/api/sql", text, cases[i].query, strlen(cases[i].query), 400, cases[i].want);
    assert_true(sql_number(server, "SELECT COUNT(*) FROM events") > 0);
}

static void test_sql_that_runs_forever_or_returns_too_much(void **state)
{
    struct server *server = *state;
    /* Each factor is small: what it runs out of is time and not memory. */
    static const char endless[] =
        "{\"query\":\"SELECT COUNT(*) FROM range(100000) a, range(100000) b, range(100000) c\",\"timeout_ms\":300}";
    assert_refused(server, "/api/sql", "Content-Type: application/json", endless, sizeof(endless) - 1, 504, "300 ms");

    static const char much[] = "{\"query\":\"SELECT * FROM range(100000000)\",\"limit\":10}";
    struct reply reply = http_ask(server, "/api/sql", "Content-Type: application/json", much, sizeof(much) - 1);
    assert_int_equal(reply.status, 200);
    assert_non_null(strstr(reply.body, "\"truncated\":true"));
    reply_clear(&reply);
    /* Taking rows in went on all the time. */
    assert_int_equal(http_post(server, "/events", "{\"event_type\":\"after\"}"), 204);
}

/* ---- Keys ---- */

static char *make_key(const struct server *server, const char *kind, const char *rate)
{
    char *output;
    const char *arguments[] = {"key",    "create", "--data", server->dir, "--kind", kind,
                               "--name", "test",   "--rate", rate,        NULL};
    assert_int_equal(apiary_run(arguments, &output), 0);
    char *token = strstr(output, "apk_");
    assert_non_null(token);
    token[strcspn(token, " \n")] = '\0';
    token = strdup(token);
    free(output);
    return token;
}

static long post_with_key(struct server *server, const char *key, const char *body, struct reply *ret_reply)
{
    char header[256];
    snprintf(header, sizeof(header), "Content-Type: application/x-ndjson\nAuthorization: Bearer %s", key);
    struct reply reply = http_ask(server, "/events", header, body, strlen(body));
    long status = reply.status;
    if (ret_reply)
        *ret_reply = reply;
    else
        reply_clear(&reply);
    return status;
}

static void test_keys(void **state)
{
    (void)state;
    static const char event[] = "{\"event_type\":\"keyed\"}";
    struct server server;
    server_init(&server);
    server_start(&server);
    char *public_key = make_key(&server, "public", "1000");
    char *slow_key = make_key(&server, "secret", "2");
    char *viewer_key = make_key(&server, "viewer", "0");
    kill(server.pid, SIGHUP); /* do not wait for the keyring's own second */

    /* The server takes the reload at its own time: ask until the key is known. */
    long deadline_ms = 0;
    while (post_with_key(&server, public_key, event, NULL) != 204)
        assert_true(server_wait_more(&deadline_ms));
    assert_int_equal(http_post(&server, "/events", event), 401);
    assert_int_equal(post_with_key(&server, "apk_pub_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", event, NULL), 401);
    assert_int_equal(post_with_key(&server, viewer_key, event, NULL), 403);

    /* So many rows at once that it takes minutes until there may be one more, however slow the machine. */
    enum { MANY = 1000 };
    char *many = calloc(1, MANY * sizeof(event) + 1);
    for (int i = 0; i < MANY; i++)
        strcat(strcat(many, event), "\n");
    assert_int_equal(post_with_key(&server, slow_key, many, NULL), 204);
    free(many);
    struct reply reply;
    assert_int_equal(post_with_key(&server, slow_key, event, &reply), 429);
    assert_non_null(strcasestr(reply.headers, "Retry-After:"));
    reply_clear(&reply);

    /* Reading asks for a viewer key. */
    static const char query[] = "SELECT 1";
    assert_refused(&server, "/api/sql", "Content-Type: text/plain", query, sizeof(query) - 1, 401, "viewer");
    char header[256];
    snprintf(header, sizeof(header), "Content-Type: text/plain\nAuthorization: Bearer %s", viewer_key);
    assert_refused(&server, "/api/sql", header, query, sizeof(query) - 1, 200, "1");
    snprintf(header, sizeof(header), "Content-Type: text/plain\nAuthorization: Bearer %s", public_key);
    assert_refused(&server, "/api/sql", header, query, sizeof(query) - 1, 403, "viewer");

    /* Revoked while the server runs. */
    const char *list_arguments[] = {"key", "list", "--data", server.dir, "--json", NULL};
    char *list;
    assert_int_equal(apiary_run(list_arguments, &list), 0);
    json_t *keys = json_loads(list, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(keys, "keys")), 3);
    char id[24];
    snprintf(id, sizeof(id), "%lld",
             (long long)json_integer_value(json_object_get(json_array_get(json_object_get(keys, "keys"), 0), "id")));
    json_decref(keys);
    free(list);
    const char *revoke_arguments[] = {"key", "revoke", "--data", server.dir, id, NULL};
    assert_int_equal(apiary_run(revoke_arguments, NULL), 0);
    kill(server.pid, SIGHUP);
    deadline_ms = 0;
    while (post_with_key(&server, public_key, event, NULL) == 204)
        assert_true(server_wait_more(&deadline_ms));
    assert_int_equal(post_with_key(&server, public_key, event, NULL), 401);

    free(public_key);
    free(slow_key);
    free(viewer_key);
    server_clear(&server);
}

static void test_open_is_for_loopback_only(void **state)
{
    (void)state;
    const char *arguments[] = {"serve", "--open", "--listen", "0.0.0.0:0", "--data", "/tmp/apiary-never", NULL};
    assert_int_not_equal(apiary_run(arguments, NULL), 0);
}

/* ---- The end of a run, and a full disk ---- */

static void test_terminate_keeps_everything(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server.arguments[0] = "--open";
    server_start(&server);
    for (int i = 0; i < 100; i++)
        assert_int_equal(http_post(&server, "/events", "{\"event_type\":\"kept\"}"), 204);
    assert_int_equal(server_terminate(&server), 0);
    server_start(&server);
    server_wait_for_replay(&server);
    assert_int_equal((int)sql_number(&server, "SELECT COUNT(*) FROM events"), 100);
    server_clear(&server);
}

/* A second process on the same data directory is refused, and the first goes on. */
static void test_data_directory_is_locked(void **state)
{
    struct server *server = *state;
    const char *arguments[] = {"serve", "--open", "--listen", "127.0.0.1:0", "--data", server->dir, NULL};
    assert_int_equal(apiary_run(arguments, NULL), 1);
    assert_int_equal(http_post(server, "/events", "{\"event_type\":\"still_here\"}"), 204);
}

static void test_full_disk(void **state)
{
    (void)state;
    char dir[] = "/tmp/apiary-disk-XXXXXX";
    assert_non_null(mkdtemp(dir));
    assert_int_equal(mount("apiary-test", dir, "tmpfs", 0, "size=48m"), 0);
    char data[64], ballast_path[64];
    snprintf(data, sizeof(data), "%s/data", dir);
    snprintf(ballast_path, sizeof(ballast_path), "%s/ballast", dir);
    assert_int_equal(mkdir(data, 0700), 0);

    struct server server;
    server_init_at(&server, data);
    server.arguments[0] = "--open";
    setenv("APIARY_WAL_SEGMENT_SIZE", "4MiB", 1);
    server_start(&server);
    unsetenv("APIARY_WAL_SEGMENT_SIZE");

    FILE *ballast = fopen(ballast_path, "w");
    assert_non_null(ballast);
    static char block[65536];
    memset(block, 1, sizeof(block));
    while (fwrite(block, sizeof(block), 1, ballast) == 1 && fflush(ballast) == 0)
        ;
    fclose(ballast);

    /* The segment that is already there takes rows for a while, then the answer is 503, and nothing else breaks. */
    char *body = malloc(300000);
    size_t used = 0;
    while (used < 250000)
        used += (size_t)sprintf(body + used, "{\"event_type\":\"disk\",\"session_id\":\"0123456789012345678901\"}\n");
    unsigned rows_per_request = 0;
    for (size_t i = 0; i < used; i++)
        rows_per_request += body[i] == '\n';
    unsigned accepted_requests = 0;
    struct reply reply = {0};
    for (int i = 0; i < 400; i++) {
        reply_clear(&reply);
        reply = http_ask(&server, "/events", "Content-Type: application/x-ndjson", body, used);
        if (reply.status != 204)
            break;
        accepted_requests++;
    }
    assert_int_equal(reply.status, 503);
    assert_non_null(strcasestr(reply.headers, "Retry-After:"));
    reply_clear(&reply);

    /* Space returns, and so does the server, by itself. */
    assert_int_equal(unlink(ballast_path), 0);
    long deadline_ms = 0;
    while (http_post(&server, "/events", "{\"event_type\":\"space\"}") != 204)
        assert_true(server_wait_more(&deadline_ms));
    sql_wait_for(&server, "SELECT COUNT(*) FROM events WHERE event_type = 'space'", 1);
    sql_wait_for(&server, "SELECT COUNT(*) FROM events WHERE event_type = 'disk'",
                 (double)accepted_requests * rows_per_request);
    free(body);
    server_clear(&server);
    assert_int_equal(umount(dir), 0);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documented_bodies),
        cmocka_unit_test(test_bad_bodies_cost_only_themselves),
        cmocka_unit_test(test_wrong_type_in_row_500),
        cmocka_unit_test(test_sql_that_is_refused),
        cmocka_unit_test(test_sql_that_runs_forever_or_returns_too_much),
        cmocka_unit_test(test_data_directory_is_locked),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_open_is_for_loopback_only),
        cmocka_unit_test(test_terminate_keeps_everything),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, open_server, close_server);
}
