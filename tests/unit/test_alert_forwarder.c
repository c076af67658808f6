/* Alerts to Alertmanagers elsewhere: a server of the test's own says what an Alertmanager could. */
#include "alert/forwarder.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "net/http_server.h"
#include "scrape/job_internal.h"
#include "scrape/scrape_file.h"
#include "scrape/scraper.h"
#include "tsdb/labels.h"

struct fixture {
    pthread_mutex_t mutex; /* all that follows */
    unsigned statuses[8];  /* of the answers to come; 0: 200 from there on */
    size_t answers;
    struct ap_buf bodies; /* of good requests, a line each */
    size_t troubles;
    struct http_server *server;
    struct alert_forwarder *forwarder;
};

static void handle(struct http_request *request, void *context)
{
    struct fixture *fx = context;
    pthread_mutex_lock(&fx->mutex);
    unsigned status = fx->statuses[AP_MIN(fx->answers, AP_ARRAY_COUNT(fx->statuses) - 1)];
    fx->answers++;
    assert_true(ap_slice_equal_cstr(http_header(request, "Authorization"), "Basic dXNlcjpwQHNz"));
    if (!status) {
        assert_true(ap_slice_equal_cstr(http_path(request), "/am/api/v2/alerts"));
        ap_buf_add_slice(&fx->bodies, http_body(request));
        ap_buf_add_char(&fx->bodies, '\n');
    }
    pthread_mutex_unlock(&fx->mutex);
    http_reply_empty(request, status ? status : 200);
}

static void trouble(const struct ap_err *err, void *context)
{
    struct fixture *fx = context;
    assert_null(strstr(err->text, "user"));
    pthread_mutex_lock(&fx->mutex);
    fx->troubles++;
    pthread_mutex_unlock(&fx->mutex);
}

static void open_all(struct fixture *fx, const unsigned *statuses, size_t count)
{
    *fx = (struct fixture){.mutex = PTHREAD_MUTEX_INITIALIZER};
    if (count)
        memcpy(fx->statuses, statuses, count * sizeof(*statuses));
    const struct http_listener listener = {.address = "127.0.0.1"};
    const struct http_server_options server_options = {
        .listeners = &listener, .listener_count = 1, .thread_count = 1, .handle = handle, .context = fx};
    struct ap_err err;
    assert_int_equal(http_server_open(&server_options, &fx->server, &err), AP_OK);
    AP_AUTO_FREE char *url = ap_asprintf("http://user:p%%40ss@127.0.0.1:%u/am/", http_server_port(fx->server, 0));
    const char *urls[] = {url};
    const struct alert_forwarder_options options = {.urls = urls, .url_count = 1, .trouble = trouble, .context = fx};
    assert_int_equal(alert_forwarder_open(&options, &fx->forwarder, &err), AP_OK);
}

static void close_all(struct fixture *fx)
{
    alert_forwarder_close(fx->forwarder);
    http_server_close(fx->server);
    ap_buf_clear(&fx->bodies);
}

static void put(struct fixture *fx, size_t count)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct label label = {ap_slice_cstr("alertname"), ap_slice_cstr("Down")};
    struct ap_err err;
    assert_int_equal(labels_encode(&label, 1, &labels, &err), AP_OK);
    const struct alert_in alert = {.labels = ap_buf_slice(&labels),
                                   .annotations = ap_slice("", 0),
                                   .generator_url = ap_slice_cstr("http://a/\"b\""),
                                   .starts_ms = INT64_C(1795435200123),
                                   .ends_ms = INT64_C(1795435260000)};
    for (size_t i = 0; i < count; i++)
        alert_forwarder_put(fx->forwarder, &alert, 1);
}

static void take_stats(const struct alert_forwarder_stats *stats, void *context)
{
    *(struct alert_forwarder_stats *)context = *stats;
}

/* Of the one address that there is; its URL is lent until the forwarder closes. */
static void stats_get(struct fixture *fx, struct alert_forwarder_stats *ret_stats)
{
    alert_forwarder_each(fx->forwarder, take_stats, ret_stats);
}

/* Once everything has been sent, or given up. */
static struct alert_forwarder_stats settled(struct fixture *fx, uint64_t count)
{
    struct alert_forwarder_stats stats = {0};
    while (stats.sent + stats.dropped < count) {
        usleep(1000);
        stats_get(fx, &stats);
    }
    return stats;
}

static void test_retry(void **state)
{
    (void)state;
    struct fixture fx;
    open_all(&fx, (const unsigned[]){503, 429}, 2);
    put(&fx, 1);
    struct alert_forwarder_stats stats = settled(&fx, 1);
    assert_int_equal(stats.sent, 1);
    assert_int_equal(stats.errors, 2);
    assert_int_equal(stats.dropped, 0);
    assert_int_equal(stats.queued, 0);
    assert_int_equal(fx.troubles, 2);
    assert_non_null(strstr(stats.url, "http://127.0.0.1:"));
    ap_buf_add_char(&fx.bodies, '\0');
    assert_string_equal(fx.bodies.data,
                        "[{\"annotations\":{},\"endsAt\":\"2026-11-23T12:01:00.000Z\","
                        "\"startsAt\":\"2026-11-23T12:00:00.123Z\","
                        "\"generatorURL\":\"http://a/\\\"b\\\"\",\"labels\":{\"alertname\":\"Down\"}}]\n");
    close_all(&fx);
}

static void test_refused(void **state)
{
    (void)state;
    struct fixture fx;
    open_all(&fx, (const unsigned[]){400}, 1);
    put(&fx, 1);
    assert_int_equal(settled(&fx, 1).dropped, 1);
    put(&fx, 1);
    struct alert_forwarder_stats stats = settled(&fx, 2);
    assert_int_equal(stats.sent, 1);
    assert_int_equal(stats.errors, 1);
    close_all(&fx);
}

/* More than there is room for: the oldest go, and closing does not wait for the one that is down. */
static void test_overflow(void **state)
{
    (void)state;
    struct fixture fx;
    open_all(&fx, (const unsigned[]){503, 503, 503, 503, 503, 503, 503, 503}, 8);
    put(&fx, FORWARDER_QUEUE_MAX + FORWARDER_BATCH_MAX + 100);
    struct alert_forwarder_stats stats;
    stats_get(&fx, &stats);
    assert_int_equal(stats.queued, FORWARDER_QUEUE_MAX);
    assert_true(stats.dropped >= 100 && stats.dropped <= 100 + FORWARDER_BATCH_MAX);
    close_all(&fx);
}

/* Nobody there: it is told, without the password. */
static void test_nobody_there(void **state)
{
    (void)state;
    struct fixture fx;
    open_all(&fx, NULL, 0);
    http_server_close(fx.server);
    fx.server = NULL;
    put(&fx, 1);
    struct alert_forwarder_stats stats = {0};
    while (stats.errors == 0) {
        usleep(1000);
        stats_get(&fx, &stats);
    }
    close_all(&fx);
    assert_int_equal(fx.troubles > 0, 1);
}

/* ---- Lists ---- */

/* "a b?": the last part of each; with a question mark where nothing was, or is to be, tried. */
static void add_stats(const struct alert_forwarder_stats *stats, void *context)
{
    ap_buf_printf(context, "%s%s ", strrchr(stats->url, '/') + 1, stats->queued + stats->errors ? "" : "?");
}

/* Waits for it: what is being tried is nowhere counted. */
static void wait_for_addresses(struct fixture *fx, const char *want)
{
    AP_AUTO_BUF struct ap_buf got = {0};
    do {
        ap_buf_reset(&got);
        alert_forwarder_each(fx->forwarder, add_stats, &got);
        ap_buf_add_char(&got, '\0');
    } while (strcmp(got.data, want) != 0 && usleep(1000) == 0);
}

static bool put_one(struct fixture *fx)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct label label = {ap_slice_cstr("alertname"), ap_slice_cstr("Down")};
    struct ap_err err;
    assert_int_equal(labels_encode(&label, 1, &labels, &err), AP_OK);
    const struct alert_in alert = {.labels = ap_buf_slice(&labels), .annotations = ap_slice("", 0)};
    return alert_forwarder_put(fx->forwarder, &alert, 1);
}

static struct scrape_file read_file(const char *text)
{
    static const struct job_collectors none = {0};
    struct scrape_file file;
    struct ap_err err;
    if (scrape_file_parse(ap_slice_cstr(text), "s.yml", &none, &file, &err) != AP_OK)
        fail_msg("%s", err.text);
    return file;
}

/* Nobody answers there; what is tested is who is told. */
static void test_lists(void **state)
{
    (void)state;
    struct fixture fx = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    struct ap_err err;
    const struct alert_forwarder_options options = {.trouble = trouble, .context = &fx};
    assert_int_equal(alert_forwarder_open(&options, &fx.forwarder, &err), AP_OK);
    assert_true(put_one(&fx)); /* there is nobody, and nobody to come */
    struct scrape_file file = read_file(
        "alerting: {alertmanagers: [{timeout: 1s}, {timeout: 1s, alert_relabel_configs: [{source_labels: [alertname], "
        "regex: Down, action: drop}]}]}");
    const struct scrape_target a = {.job = &file.alertmanagers[0]->shown, .url = "http://127.0.0.1:1/a"};
    const struct scrape_target b = {.job = &file.alertmanagers[0]->shown, .url = "http://127.0.0.1:1/b"};
    const struct scrape_target deaf = {.job = &file.alertmanagers[1]->shown, .url = "http://127.0.0.1:1/deaf"};
    const struct scrape_target *first[] = {&a, &b}, *second[] = {&b, &deaf};
    alert_forwarder_sync(fx.forwarder, "one", first, 0);
    assert_false(put_one(&fx)); /* somebody is to come */
    alert_forwarder_sync(fx.forwarder, "one", first, 2);
    alert_forwarder_sync(fx.forwarder, "two", second, 2);
    assert_true(put_one(&fx));
    /* One that two lists name is told once; by rules of its own one is not told of this. */
    wait_for_addresses(&fx, "a b deaf? ");
    alert_forwarder_sync(fx.forwarder, "one", NULL, 0);
    wait_for_addresses(&fx, "b deaf? "); /* b with what was tried before */
    alert_forwarder_sync(fx.forwarder, "two", second, 1);
    wait_for_addresses(&fx, "b ");
    alert_forwarder_sync(fx.forwarder, "two", NULL, 0);
    wait_for_addresses(&fx, "");
    assert_true(put_one(&fx));
    alert_forwarder_close(fx.forwarder);
    scrape_file_clear(&file);
}

static void test_wrong_addresses(void **state)
{
    (void)state;
    static const char *const urls[] = {"alertmanager:9093", "ftp://a", "http://", "http:///path", "http://?x"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(urls); i++) {
        struct ap_err err;
        struct alert_forwarder *forwarder;
        const struct alert_forwarder_options options = {.urls = &urls[i], .url_count = 1, .trouble = trouble};
        assert_int_equal(alert_forwarder_open(&options, &forwarder, &err), AP_E_PARSE);
        assert_non_null(strstr(err.text, "alerting.alertmanagers"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry),        cmocka_unit_test(test_refused),         cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_nobody_there), cmocka_unit_test(test_wrong_addresses), cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
