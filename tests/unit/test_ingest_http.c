/* The endpoints from the socket to the log: a real server, log and key file; only time is the test's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "ingest/ingest.h"
#include "meta/keyring.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "os/fs.h"
#include "test_dir.h"
#include "wal/wal.h"
#include "warehouse/row.h"

struct fixture {
    char dir[64];
    char meta_path[96];
    int dir_fd;
    _Atomic int64_t now_us;
    struct ap_clock clock;
    struct meta *meta;
    struct keyring *keyring;
    atomic_int write_errno; /* not 0: the log's writes fail with it */
    struct os_fs fs;
    struct wal *wal;
    struct ingest *ingest;
    struct http_server *server;
    struct http_client *client;
    char token[KEY_TOKEN_BYTES_MAX]; /* of a secret key */
    /* The last answer. */
    unsigned status;
    char body[4096];
};

static struct ap_err must_err;
#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != AP_OK)                                                                                           \
            fail_msg("%s: %s", #call, must_err.text);                                                                  \
    } while (0)

static int64_t fixture_now_us(void *context)
{
    return ((struct fixture *)context)->now_us;
}

static ssize_t failing_pwritev(void *context, int fd, const struct iovec *parts, int part_count, uint64_t offset)
{
    int write_errno = ((struct fixture *)context)->write_errno;
    return write_errno ? -write_errno : os_fs_system.pwritev(os_fs_system.context, fd, parts, part_count, offset);
}

static void admit(struct http_request *request, void *context)
{
    struct fixture *fx = context;
    ingest_admit(fx->ingest, ingest_endpoint_find(http_path(request)), request);
}

static void handle(struct http_request *request, void *context)
{
    struct fixture *fx = context;
    ingest_handle(fx->ingest, ingest_endpoint_find(http_path(request)), request);
}

static int64_t create_key(struct fixture *fx, const struct key_options *options, char token[KEY_TOKEN_BYTES_MAX])
{
    int64_t id = 0;
    MUST(key_create(fx->meta, &fx->clock, options, &id, token, &must_err));
    MUST(keyring_refresh(fx->keyring, &must_err));
    return id;
}

static void open_ingest(struct fixture *fx, bool is_open)
{
    struct ingest_options options = {.wal = fx->wal, .keyring = fx->keyring, .clock = &fx->clock, .is_open = is_open};
    client_networks_init_loopback(&options.trusted_proxies);
    fx->ingest = ingest_new(&options);
    struct http_listener listener = {.address = "127.0.0.1"};
    struct http_server_options server_options = {
        .listeners = &listener,
        .listener_count = 1,
        .thread_count = 2,
        .admit = admit,
        .handle = handle,
        .context = fx,
    };
    MUST(http_server_open(&server_options, &fx->server, &must_err));
}

static void close_ingest(struct fixture *fx)
{
    http_server_close(fx->server);
    ingest_free(fx->ingest);
}

static int setup(void **state)
{
    struct fixture *fx = ap_new0(struct fixture);
    snprintf(fx->dir, sizeof(fx->dir), "/tmp/test_ingest.XXXXXX");
    assert_non_null(mkdtemp(fx->dir));
    fx->dir_fd = open(fx->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(fx->meta_path, sizeof(fx->meta_path), "%s/meta.sqlite", fx->dir);
    fx->now_us = INT64_C(1795435200000000);
    fx->clock = (struct ap_clock){fixture_now_us, fixture_now_us, fx};
    MUST(meta_open(fx->meta_path, &fx->meta, &must_err));
    MUST(keyring_open(fx->meta_path, &fx->clock, &fx->keyring, &must_err));
    fx->fs = os_fs_system;
    fx->fs.context = fx;
    fx->fs.pwritev = failing_pwritev;
    struct wal_options wal_options;
    wal_options_init(&wal_options);
    wal_options.fs = &fx->fs;
    uint64_t cut_bytes;
    MUST(wal_open(fx->dir_fd, &wal_options, &fx->wal, &cut_bytes, &must_err));
    create_key(fx, &(struct key_options){.kind = KEY_KIND_SECRET, .name = "test"}, fx->token);
    open_ingest(fx, false);
    fx->client = http_client_new(&(struct http_client_options){.is_direct = true});
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    http_client_free(fx->client);
    close_ingest(fx);
    wal_close(fx->wal);
    keyring_close(fx->keyring);
    meta_close(fx->meta);
    close(fx->dir_fd);
    dir_remove(fx->dir);
    free(fx);
    return 0;
}

/* ---- Asking ---- */

static unsigned ask(struct fixture *fx, const char *method, const char *path, const struct http_field *fields,
                    size_t field_count, struct ap_slice body)
{
    char url[256];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", http_server_port(fx->server, 0), path);
    struct http_client_request request = {
        .method = method, .url = url, .fields = fields, .field_count = field_count, .body = body};
    struct http_client_answer answer;
    MUST(http_client_ask(fx->client, &request, &answer, &must_err));
    fx->status = answer.status;
    snprintf(fx->body, sizeof(fx->body), "%.*s", AP_SLICE_ARG(answer.body));
    return answer.status;
}

/* With this token (NULL: none), one more field ("": none) and this body. */
static unsigned post_with(struct fixture *fx, const char *path, const char *token, const char *name, const char *value,
                          const char *body)
{
    char authorization[128];
    snprintf(authorization, sizeof(authorization), "Bearer %s", token ? token : "");
    struct http_field fields[3] = {{"Content-Type", "application/json"}};
    size_t field_count = 1;
    if (token)
        fields[field_count++] = (struct http_field){"Authorization", authorization};
    if (name[0] != '\0')
        fields[field_count++] = (struct http_field){name, value};
    return ask(fx, "POST", path, fields, field_count, ap_slice_cstr(body));
}

static unsigned post(struct fixture *fx, const char *path, const char *body)
{
    return post_with(fx, path, fx->token, "", "", body);
}

static void assert_says(const struct fixture *fx, const char *wanted)
{
    if (!strstr(fx->body, wanted))
        fail_msg("answer %u is %s, wanted %s", fx->status, fx->body, wanted);
}

/* ---- What the log holds ---- */

/* Rows of `table` in the log; the last one of these has `text` as the text of `column`, unless that is NULL. */
static size_t log_rows(struct fixture *fx, const char *table, const char *column, const char *text)
{
    struct wal_cursor *cursor;
    MUST(wal_cursor_open(fx->wal, "test", 0, &cursor, &must_err));
    size_t count = 0;
    char last[256] = "";
    struct wal_record record;
    while (wal_cursor_next(cursor, 0, &record, &must_err) == AP_OK) {
        struct row_reader reader;
        struct row row;
        bool has_row = true;
        assert_int_equal(record.type, ROW_RECORD_TYPE);
        MUST(row_reader_open(&reader, record.payload, &must_err));
        while (row_reader_next(&reader, &row, &has_row, &must_err) == AP_OK && has_row) {
            if (strcmp(reader.table->name, table) != 0)
                continue;
            count++;
            for (size_t i = 0; column && i < reader.table->column_count; i++)
                if (ap_slice_equal_cstr(reader.table->columns[i].name, column) && row_has(&row, i))
                    snprintf(last, sizeof(last), "%.*s", AP_SLICE_ARG(row.values[i].text));
        }
        assert_false(has_row);
    }
    wal_cursor_close(cursor);
    if (text)
        assert_string_equal(last, text);
    return count;
}

static struct ingest_stats stats(struct fixture *fx, const char *table)
{
    struct ingest_table_stats all[INGEST_ENDPOINT_COUNT];
    ingest_stats_get(fx->ingest, all);
    for (size_t i = 0; i < INGEST_ENDPOINT_COUNT; i++)
        if (strcmp(all[i].table, table) == 0)
            return all[i].stats;
    fail_msg("no statistics of %s", table);
    return (struct ingest_stats){0};
}

/* ---- Tests ---- */

static void test_each_endpoint_fills_its_table(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(post(fx, "/events", "{\"event_type\":\"startup\"}"), 204);
    assert_string_equal(fx->body, "");
    assert_int_equal(post(fx, "/vitals", "{\"name\":\"LCP\",\"value\":1834}"), 204);
    assert_int_equal(post(fx, "/downloads", "{\"platform\":\"macos\"}"), 204);
    assert_int_equal(post(fx, "/synthetic", "{\"test\":\"download_flow\",\"success\":true}"), 204);
    assert_int_equal(log_rows(fx, "events", "event_type", "startup"), 1);
    assert_int_equal(log_rows(fx, "vitals", "name", "LCP"), 1);
    assert_int_equal(log_rows(fx, "downloads", "platform", "macos"), 1);
    assert_int_equal(log_rows(fx, "synthetic_runs", "test", "download_flow"), 1);
    assert_false(ingest_endpoint_is_there(ingest_endpoint_find(ap_slice_cstr("/eventsx"))));
    assert_int_equal(stats(fx, "events").rows_accepted_count, 1);
}

static void test_good_rows_stay_and_bad_ones_are_told(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(post(fx, "/events", "[{\"event_type\":\"a\"},{\"event_type\":\"b\",\"duration_ms\":\"x\"}]"), 200);
    assert_string_equal(fx->body, "{\"accepted\":1,\"rejected\":1,\"errors\":[{\"row\":2,\"field\":\"duration_ms\","
                                  "\"error\":\"expected a number, got string\"}]}");
    assert_int_equal(log_rows(fx, "events", "event_type", "a"), 1);
    assert_int_equal(post(fx, "/events", "[{\"event_type\":1}]"), 400);
    assert_says(fx, "{\"accepted\":0,\"rejected\":1,");
    assert_int_equal(post(fx, "/events", "{\"event_type\":\"x\""), 400);
    assert_string_equal(fx->body, "{\"error\":\"expected ',' or '}' after a member, got the end of the text\","
                                  "\"offset\":17,\"line\":1,\"column\":18}");
    assert_int_equal(post(fx, "/events", ""), 400);
    assert_says(fx, "the body is empty");
    assert_int_equal(post(fx, "/events", "[]"), 204);
    assert_int_equal(log_rows(fx, "events", NULL, NULL), 1);
    assert_int_equal(stats(fx, "events").rows_rejected_count, 2);
    assert_int_equal(stats(fx, "events").requests_refused_count, 3);
}

static void test_a_key_is_needed(void **state)
{
    struct fixture *fx = *state;
    static const char body[] = "{\"event_type\":\"a\"}";
    assert_int_equal(post_with(fx, "/events", NULL, "", "", body), 401);
    assert_says(fx, "no key given");
    assert_string_equal(http_client_header(fx->client, "WWW-Authenticate"), "Bearer");
    assert_int_equal(post_with(fx, "/events", "apk_pub_typo", "", "", body), 401);
    assert_says(fx, "mistyped");

    char token[KEY_TOKEN_BYTES_MAX], path[128];
    create_key(fx, &(struct key_options){.kind = KEY_KIND_VIEWER, .name = "pages"}, token);
    assert_int_equal(post_with(fx, "/events", token, "", "", body), 403);
    assert_says(fx, "viewer key");

    int64_t id = create_key(fx, &(struct key_options){.kind = KEY_KIND_PUBLIC, .name = "site"}, token);
    assert_int_equal(post_with(fx, "/events", token, "", "", body), 204);
    assert_int_equal(post_with(fx, "/events", NULL, "X-Apiary-Key", token, body), 204);
    snprintf(path, sizeof(path), "/events?key=%s", token);
    assert_int_equal(post_with(fx, path, NULL, "", "", body), 204);
    assert_int_equal(log_rows(fx, "events", NULL, NULL), 3);

    MUST(key_revoke(fx->meta, &fx->clock, id, &must_err));
    MUST(keyring_refresh(fx->keyring, &must_err));
    assert_int_equal(post_with(fx, "/events", token, "", "", body), 401);
    assert_says(fx, "was revoked");
    assert_int_equal(log_rows(fx, "events", NULL, NULL), 3);
    assert_int_equal(stats(fx, "events").requests_unauthorized_count, 4);
}

static void test_over_the_rate(void **state)
{
    struct fixture *fx = *state;
    char token[KEY_TOKEN_BYTES_MAX];
    create_key(fx,
               &(struct key_options){.kind = KEY_KIND_PUBLIC, .name = "slow", .rows_per_second = 1, .rows_burst = 2},
               token);
    static const char body[] = "[{\"event_type\":\"a\"},{\"event_type\":\"b\"},{\"event_type\":\"c\"}]";
    assert_int_equal(post_with(fx, "/events", token, "", "", body), 204);
    assert_int_equal(post_with(fx, "/events", token, "", "", body), 429);
    assert_says(fx, "rows a second");
    assert_string_equal(http_client_header(fx->client, "Retry-After"), "3"); /* 1 over the burst, 1 for the next row */
    fx->now_us += 3 * AP_US_PER_S;
    assert_int_equal(post_with(fx, "/events", token, "", "", body), 204);
    assert_int_equal(log_rows(fx, "events", NULL, NULL), 6);
    assert_int_equal(stats(fx, "events").requests_over_rate_count, 1);
}

static void test_methods_and_content_types(void **state)
{
    struct fixture *fx = *state;
    char path[128];
    snprintf(path, sizeof(path), "/events?key=%s", fx->token);
    static const struct {
        const char *content_type;
        unsigned want;
    } cases[] = {
        {"application/json", 204},
        {"Application/JSON; charset=utf-8", 204},
        {"text/plain;charset=UTF-8", 204},
        {"application/x-ndjson", 204},
        {"application/x-www-form-urlencoded", 204},
        {"application/xml", 415},
        {"multipart/form-data; boundary=x", 415},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        struct http_field field = {"Content-Type", cases[i].content_type};
        if (ask(fx, "POST", path, &field, 1, ap_slice_cstr("{\"event_type\":\"a\"}")) != cases[i].want)
            fail_msg("%s: %u %s", cases[i].content_type, fx->status, fx->body);
    }
    assert_says(fx, "application/x-ndjson");
    assert_int_equal(ask(fx, "GET", path, NULL, 0, (struct ap_slice){0}), 405);
    assert_string_equal(http_client_header(fx->client, "Allow"), "POST, OPTIONS");
    /* The type decides how a malformed line is taken. */
    struct http_field field = {"Content-Type", "application/x-ndjson"};
    assert_int_equal(ask(fx, "POST", path, &field, 1, ap_slice_cstr("{\"event_type\":\"a\"}\nnonsense\n")), 200);
    assert_says(fx, "\"row\":2");
}

static void test_cross_origin_requests(void **state)
{
    struct fixture *fx = *state;
    struct http_field preflight[] = {{"Origin", "https://example.com"},
                                     {"Access-Control-Request-Method", "POST"},
                                     {"Access-Control-Request-Headers", "content-type,x-apiary-key"}};
    assert_int_equal(ask(fx, "OPTIONS", "/vitals", preflight, 3, (struct ap_slice){0}), 204);
    assert_string_equal(http_client_header(fx->client, "Access-Control-Allow-Origin"), "*");
    assert_non_null(strstr(http_client_header(fx->client, "Access-Control-Allow-Methods"), "POST"));
    assert_non_null(strstr(http_client_header(fx->client, "Access-Control-Allow-Headers"), "X-Apiary-Key"));
    assert_null(http_client_header(fx->client, "Access-Control-Allow-Credentials"));

    char token[KEY_TOKEN_BYTES_MAX];
    create_key(fx,
               &(struct key_options){
                   .kind = KEY_KIND_PUBLIC, .name = "site", .origins = "https://example.com https://www.example.com"},
               token);
    static const char body[] = "{\"name\":\"CLS\",\"value\":0.1}";
    assert_int_equal(post_with(fx, "/vitals", token, "Origin", "https://www.example.com", body), 204);
    assert_string_equal(http_client_header(fx->client, "Access-Control-Allow-Origin"), "*");
    assert_int_equal(post_with(fx, "/vitals", token, "Origin", "https://example.com.evil.org", body), 403);
    assert_says(fx, "https://example.com.evil.org");
    assert_string_equal(http_client_header(fx->client, "Access-Control-Allow-Origin"), "*");
    assert_int_equal(post_with(fx, "/vitals", token, "", "", body), 204);
    assert_null(http_client_header(fx->client, "Access-Control-Allow-Origin"));
    assert_int_equal(post_with(fx, "/vitals", fx->token, "Origin", "https://anywhere.org", body), 204);
    assert_int_equal(log_rows(fx, "vitals", NULL, NULL), 3);
}

static void test_who_asks_not_to_be_tracked_is_not(void **state)
{
    struct fixture *fx = *state;
    static const char body[] = "[{\"event_type\":\"a\"},{\"event_type\":\"b\"}]";
    assert_int_equal(post_with(fx, "/events", fx->token, "DNT", "1", body), 204);
    assert_int_equal(post_with(fx, "/events", fx->token, "Sec-GPC", "1", body), 204);
    assert_int_equal(post_with(fx, "/events", NULL, "DNT", "1", body), 401);
    assert_int_equal(log_rows(fx, "events", NULL, NULL), 0);
    assert_int_equal(stats(fx, "events").rows_dropped_count, 4);
    assert_int_equal(post_with(fx, "/events", fx->token, "DNT", "0", body), 204);
    assert_int_equal(log_rows(fx, "events", NULL, NULL), 2);
    assert_int_equal(stats(fx, "events").rows_dropped_count, 4);
}

static void test_address_comes_through_trusted_proxies(void **state)
{
    struct fixture *fx = *state;
    static const char body[] = "{\"event_type\":\"a\"}";
    post_with(fx, "/events", fx->token, "X-Forwarded-For", "192.0.2.1, 203.0.113.77", body);
    log_rows(fx, "events", "address_prefix", "203.0.113.0/24");
    post_with(fx, "/events", fx->token, "X-Forwarded-For", "198.51.100.9, 127.0.0.5", body);
    log_rows(fx, "events", "address_prefix", "198.51.100.0/24");
    post(fx, "/events", body);
    log_rows(fx, "events", "address_prefix", "127.0.0.0/24");
    post(fx, "/events", "{\"event_type\":\"a\",\"client_ip\":\"2001:db8:7::1\"}");
    assert_int_equal(log_rows(fx, "events", "address_prefix", "2001:db8:7::/48"), 4);
}

/* The disk fills up, says so, and room comes back: nothing was acknowledged in between, and nobody has to restart. */
static void test_full_disk_is_retry_later(void **state)
{
    struct fixture *fx = *state;
    fx->write_errno = ENOSPC;
    assert_int_equal(post(fx, "/events", "{\"event_type\":\"lost\"}"), 503);
    assert_says(fx, "disk is full");
    assert_non_null(http_client_header(fx->client, "Retry-After"));
    fx->write_errno = EIO;
    assert_int_equal(post(fx, "/events", "{\"event_type\":\"lost\"}"), 503);
    fx->write_errno = 0;
    assert_int_equal(post(fx, "/events", "{\"event_type\":\"kept\"}"), 204);
    assert_int_equal(log_rows(fx, "events", "event_type", "kept"), 1);
    assert_int_equal(stats(fx, "events").requests_unavailable_count, 2);
}

static void test_stopped_log_and_drain(void **state)
{
    struct fixture *fx = *state;
    wal_stop(fx->wal);
    assert_int_equal(post(fx, "/events", "{\"event_type\":\"a\"}"), 503);
    assert_non_null(http_client_header(fx->client, "Retry-After"));
    ingest_drain(fx->ingest);
    assert_int_equal(post(fx, "/events", "{\"event_type\":\"a\"}"), 503);
    assert_says(fx, "stopping");
}

static void test_body_too_large(void **state)
{
    struct fixture *fx = *state;
    size_t bytes = INGEST_BODY_BYTES_MAX + 1;
    AP_AUTO_FREE char *body = malloc(bytes);
    assert_non_null(body);
    memset(body, ' ', bytes);
    char path[128];
    snprintf(path, sizeof(path), "/events?key=%s", fx->token);
    assert_int_equal(ask(fx, "POST", path, NULL, 0, ap_slice(body, bytes)), 413);
}

static void test_open_server_asks_for_no_key(void **state)
{
    struct fixture *fx = *state;
    close_ingest(fx);
    open_ingest(fx, true);
    assert_int_equal(post_with(fx, "/events", NULL, "", "",
                               "{\"event_type\":\"a\",\"timestamp\":\"2020-01-01T00:00:00Z\","
                               "\"client_ip\":\"203.0.113.77\"}"),
                     204);
    assert_int_equal(log_rows(fx, "events", "address_prefix", "203.0.113.0/24"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_endpoint_fills_its_table, setup, teardown),
        cmocka_unit_test_setup_teardown(test_good_rows_stay_and_bad_ones_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_key_is_needed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_over_the_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_methods_and_content_types, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cross_origin_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_asks_not_to_be_tracked_is_not, setup, teardown),
        cmocka_unit_test_setup_teardown(test_address_comes_through_trusted_proxies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk_is_retry_later, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopped_log_and_drain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_body_too_large, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_server_asks_for_no_key, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
