/*
 * The notifier at work: real sockets, a server in the test that answers by path. What messages look like is compared
 * with Alertmanager's in tests/clients/notify_test.
 */
#include "notify/notifier.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "alert/notification_internal.h"
#include "notify/message.h"
#include "os/thread.h"
#include "tsdb/labels.h"

enum { GUARD_MS = 60000, REQUESTS_MAX = 256, BODY_BYTES = 16384 };

/* ---- A server: /hang says nothing until the test ends, /500 and /429 fail, all else is taken ---- */

struct server {
    int fd;
    unsigned port;
    pthread_t thread;
    pthread_t workers[REQUESTS_MAX];
    unsigned worker_count;
    pthread_mutex_t mtx;
    pthread_cond_t changed;
    unsigned hanging_count;
    bool is_ending;
};

struct connection {
    struct server *server;
    int fd;
};

static void read_request(int fd, char *text)
{
    size_t bytes = 0;
    for (;;) {
        ssize_t got = recv(fd, text + bytes, BODY_BYTES - 1 - bytes, 0);
        if (got <= 0)
            return;
        bytes += (size_t)got;
        text[bytes] = '\0';
        const char *end = strstr(text, "\r\n\r\n");
        const char *length = strstr(text, "Content-Length: ");
        if (end && length && bytes >= (size_t)(end + 4 - text) + strtoul(length + 16, NULL, 10))
            return;
    }
}

static void *answer(void *context)
{
    struct connection *connection = context;
    struct server *server = connection->server;
    char *text = ap_alloc0(1, BODY_BYTES);
    read_request(connection->fd, text);
    const char *reply = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    if (strstr(text, "POST /500"))
        reply = "HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    if (strstr(text, "POST /429"))
        reply = "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    pthread_mutex_lock(&server->mtx);
    bool is_hanging = strstr(text, "POST /hang") != NULL;
    server->hanging_count += is_hanging;
    pthread_cond_broadcast(&server->changed);
    while (is_hanging && !server->is_ending)
        pthread_cond_wait(&server->changed, &server->mtx);
    pthread_mutex_unlock(&server->mtx);
    if (!is_hanging)
        (void)!send(connection->fd, reply, strlen(reply), MSG_NOSIGNAL);
    close(connection->fd);
    free(text);
    free(connection);
    return NULL;
}

static void *accept_all(void *context)
{
    struct server *server = context;
    for (;;) {
        int fd = accept(server->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        struct connection *connection = ap_new0(struct connection);
        *connection = (struct connection){server, fd};
        assert_true(server->worker_count < REQUESTS_MAX);
        pthread_create(&server->workers[server->worker_count++], NULL, answer, connection);
    }
}

static void server_open(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);
    *server = (struct server){.fd = socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(server->fd, 64), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &bytes), 0);
    server->port = ntohs(address.sin_port);
    pthread_mutex_init(&server->mtx, NULL);
    os_cond_init(&server->changed);
    pthread_create(&server->thread, NULL, accept_all, server);
}

static void server_close(struct server *server)
{
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->fd);
    pthread_mutex_lock(&server->mtx);
    server->is_ending = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->mtx);
    for (unsigned i = 0; i < server->worker_count; i++)
        pthread_join(server->workers[i], NULL);
}

/* ---- What came of it ---- */

struct outcome {
    uint64_t id;
    enum delivery_outcome outcome;
    int64_t retry_after_ms;
    unsigned status;
    char receiver[32];
    char text[256];
};

struct fixture {
    struct server server;
    char dir[64];
    struct config_hold *hold;
    struct notifier *notifier;
    pthread_mutex_t mtx;
    pthread_cond_t changed;
    struct outcome outcomes[REQUESTS_MAX];
    unsigned outcome_count;
};

static void delivered(void *context, struct notification *notification, const struct delivery *delivery)
{
    struct fixture *fixture = context;
    pthread_mutex_lock(&fixture->mtx);
    assert_true(fixture->outcome_count < REQUESTS_MAX);
    struct outcome *outcome = &fixture->outcomes[fixture->outcome_count++];
    outcome->id = notification->id;
    outcome->outcome = delivery->outcome;
    outcome->retry_after_ms = delivery->retry_after_ms;
    outcome->status = delivery->status;
    snprintf(outcome->receiver, sizeof(outcome->receiver), "%s", notification->receiver->name);
    snprintf(outcome->text, sizeof(outcome->text), "%s", delivery->text);
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->mtx);
}

static void wait_outcomes(struct fixture *fixture, unsigned count)
{
    int64_t guard_us = os_deadline_us(GUARD_MS);
    pthread_mutex_lock(&fixture->mtx);
    while (fixture->outcome_count < count)
        if (!os_cond_wait_until(&fixture->changed, &fixture->mtx, guard_us))
            fail_msg("only %u of %u", fixture->outcome_count, count);
    pthread_mutex_unlock(&fixture->mtx);
}

static void wait_hanging(struct fixture *fixture, unsigned count)
{
    int64_t guard_us = os_deadline_us(GUARD_MS);
    pthread_mutex_lock(&fixture->server.mtx);
    while (fixture->server.hanging_count < count)
        if (!os_cond_wait_until(&fixture->server.changed, &fixture->server.mtx, guard_us))
            fail_msg("only %u of %u hang", fixture->server.hanging_count, count);
    pthread_mutex_unlock(&fixture->server.mtx);
}

static void write_file(struct fixture *fixture, const char *name, const char *text)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/%s", fixture->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static struct alert_config *load(struct fixture *fixture, const char *receivers)
{
    struct ap_err err;
    struct alert_config *config;
    AP_AUTO_FREE char *path = ap_asprintf("%s/am.yml", fixture->dir);
    AP_AUTO_FREE char *text = ap_asprintf("route: {receiver: good}\ntemplates: ['*.tmpl']\nreceivers:\n%s", receivers);
    write_file(fixture, "am.yml", text);
    if (alert_config_load(path, &config, &err) != AP_OK)
        fail_msg("%s", err.text);
    return config;
}

static int set_up(void **state)
{
    struct fixture *fixture = ap_new0(struct fixture);
    *state = fixture;
    snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/apiary-notify-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    pthread_mutex_init(&fixture->mtx, NULL);
    os_cond_init(&fixture->changed);
    server_open(&fixture->server);
    unsigned port = fixture->server.port;
    AP_AUTO_FREE char *receivers =
        ap_asprintf("- {name: good, webhook_configs: [{url: 'http://127.0.0.1:%u/good'}]}\n"
                    "- {name: hang, webhook_configs: [{url: 'http://127.0.0.1:%u/hang', timeout: 10m}]}\n"
                    "- {name: slow, webhook_configs: [{url: 'http://127.0.0.1:%u/hang', timeout: 50ms}]}\n"
                    "- {name: broken, webhook_configs: [{url: 'http://127.0.0.1:%u/500'}]}\n"
                    "- {name: limited, webhook_configs: [{url: 'http://127.0.0.1:%u/429'}]}\n"
                    "- {name: nofile, webhook_configs: [{url_file: missing}]}\n",
                    port, port, port, port, port);
    fixture->hold = config_hold_new(load(fixture, receivers));
    struct notifier_options options = {.config = fixture->hold->config,
                                       .clock = &ap_clock_system,
                                       .external_url = ap_slice_cstr("http://apiary.example"),
                                       .thread_count = 8,
                                       .queue_max = 50,
                                       .delivered = delivered,
                                       .context = fixture};
    struct ap_err err;
    if (notifier_open(&options, &fixture->notifier, &err) != AP_OK)
        fail_msg("%s", err.text);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    notifier_close(fixture->notifier);
    server_close(&fixture->server);
    config_hold_unref(fixture->hold);
    static const char *const files[] = {"am.yml", "a.tmpl", "b.tmpl"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(files); i++) {
        AP_AUTO_FREE char *path = ap_asprintf("%s/%s", fixture->dir, files[i]);
        unlink(path);
    }
    rmdir(fixture->dir);
    free(fixture);
    return 0;
}

static struct notification *make(struct fixture *fixture, const char *receiver_name, const char *group, uint64_t id)
{
    const struct receiver *receiver = alert_config_receiver(fixture->hold->config, receiver_name);
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct label label[] = {{ap_slice_cstr("alertname"), ap_slice_cstr("<Down>")},
                            {ap_slice_cstr("group"), ap_slice_cstr(group)}};
    assert_int_equal(labels_encode(label, 2, &labels, NULL), AP_OK);
    struct notified_alert alert = {.labels = ap_buf_slice(&labels),
                                   .generator_url = ap_slice_cstr("javascript:alert(1)"),
                                   .starts_ms = 1767225600000};
    struct notification parts = {.receiver = receiver,
                                 .way = &receiver->ways[0],
                                 .global = &fixture->hold->config->global,
                                 .group_key = ap_slice_cstr(group),
                                 .group_labels = ap_buf_slice(&labels),
                                 .alerts = &alert,
                                 .alert_count = 1,
                                 .firing_count = 1,
                                 .id = id};
    return notification_new(fixture->hold, &parts);
}

static void deliver(struct fixture *fixture, const char *receiver, const char *group, uint64_t id)
{
    struct notification *notification = make(fixture, receiver, group, id);
    notifier_deliver(fixture->notifier, notification);
    notification_unref(notification);
}

/* ---- Cases ---- */

static void test_outcomes(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *receiver;
        enum delivery_outcome outcome;
        unsigned status;
        int64_t retry_after_ms;
    } cases[] = {
        {"good", DELIVERY_DONE, 200, 0},    {"broken", DELIVERY_RETRY, 500, 0}, {"limited", DELIVERY_RETRY, 429, 7000},
        {"nofile", DELIVERY_REFUSED, 0, 0}, {"slow", DELIVERY_RETRY, 0, 0},
    };
    for (unsigned i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        deliver(fixture, cases[i].receiver, "g", i);
        wait_outcomes(fixture, i + 1);
        const struct outcome *outcome = &fixture->outcomes[i];
        assert_int_equal(outcome->outcome, cases[i].outcome);
        assert_int_equal(outcome->status, cases[i].status);
        assert_int_equal(outcome->retry_after_ms, cases[i].retry_after_ms);
        assert_true(outcome->text[0]);
        assert_null(strstr(outcome->text, "/500")); /* addresses of webhooks are secret */
    }
}

struct totals {
    struct notifier_way_stats ways[16];
    unsigned count;
};
static void note_way(const struct notifier_way_stats *stats, void *context)
{
    struct totals *totals = context;
    totals->ways[totals->count++] = *stats;
}
static struct notifier_way_stats way_stats(struct fixture *fixture, const char *receiver)
{
    struct totals totals = {.count = 0};
    notifier_each_way(fixture->notifier, note_way, &totals);
    for (unsigned i = 0; i < totals.count; i++)
        if (strcmp(totals.ways[i].receiver, receiver) == 0)
            return totals.ways[i];
    fail_msg("no figures of %s", receiver);
    return (struct notifier_way_stats){0};
}

static void test_figures_of_ways(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *receiver;
        enum delivery_outcome outcome;
        enum notifier_failure failure;
    } cases[] = {
        {"good", DELIVERY_DONE, NOTIFIER_FAILURE_COUNT},
        {"broken", DELIVERY_RETRY, NOTIFIER_FAILURE_SERVER_ERROR},
        {"limited", DELIVERY_RETRY, NOTIFIER_FAILURE_RATE_LIMITED},
        {"nofile", DELIVERY_REFUSED, NOTIFIER_FAILURE_NOT_MADE},
        {"slow", DELIVERY_RETRY, NOTIFIER_FAILURE_NO_ANSWER},
    };
    for (unsigned i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        struct notifier_way_stats stats = way_stats(fixture, cases[i].receiver); /* there from the start */
        assert_int_equal(stats.attempts[cases[i].outcome], 0);
        assert_int_equal(stats.failing_us, 0);
        deliver(fixture, cases[i].receiver, "g", i);
        wait_outcomes(fixture, i + 1);
        stats = way_stats(fixture, cases[i].receiver);
        uint64_t attempts = 0, failures = 0, durations = 0;
        for (unsigned n = 0; n < DELIVERY_OUTCOME_COUNT; n++)
            attempts += stats.attempts[n];
        for (unsigned n = 0; n < NOTIFIER_FAILURE_COUNT; n++)
            failures += stats.failures[n];
        for (unsigned n = 0; n < NOTIFIER_DURATION_COUNT; n++)
            durations += stats.durations[n];
        bool is_failure = cases[i].outcome != DELIVERY_DONE;
        assert_int_equal(attempts, 1);
        assert_int_equal(stats.attempts[cases[i].outcome], 1);
        assert_int_equal(durations, 1);
        assert_int_equal(failures, is_failure);
        assert_int_equal(stats.failing_us > 0, is_failure);
        if (is_failure)
            assert_int_equal(stats.failures[cases[i].failure], 1);
    }
}

/* A receiver that is taken away is not one that fails for ever. */
static void test_figures_end_with_the_way(void **state)
{
    struct fixture *fixture = *state;
    struct totals totals = {.count = 0};
    deliver(fixture, "broken", "g", 1);
    wait_outcomes(fixture, 1);
    AP_AUTO(alert_config) struct alert_config *config = load(fixture, "- {name: good}\n");
    assert_int_equal(notifier_reload(fixture->notifier, config, NULL), AP_OK);
    notifier_each_way(fixture->notifier, note_way, &totals);
    assert_int_equal(totals.count, 0);
    assert_int_equal(notifier_reload(fixture->notifier, fixture->hold->config, NULL), AP_OK);
    struct notifier_way_stats stats = way_stats(fixture, "broken");
    assert_int_equal(stats.attempts[DELIVERY_RETRY], 1);
    assert_int_equal(stats.failing_us, 0);
}

static void test_groups_stay_in_order(void **state)
{
    struct fixture *fixture = *state;
    for (uint64_t i = 0; i < 40; i++)
        deliver(fixture, "good", i % 2 ? "odd" : "even", i);
    wait_outcomes(fixture, 40);
    uint64_t next[2] = {0, 1};
    for (unsigned i = 0; i < 40; i++) {
        uint64_t id = fixture->outcomes[i].id;
        assert_int_equal(id, next[id % 2]);
        next[id % 2] += 2;
    }
}

static void test_hanging_receiver_delays_nobody(void **state)
{
    struct fixture *fixture = *state;
    char group[16];
    for (unsigned i = 0; i < 20; i++) {
        snprintf(group, sizeof(group), "g%u", i);
        deliver(fixture, "hang", group, i);
    }
    wait_hanging(fixture, 2); /* a quarter of eight threads */
    deliver(fixture, "good", "g", 100);
    wait_outcomes(fixture, 1);
    assert_int_equal(fixture->outcomes[0].id, 100);
    struct notifier_stats stats;
    notifier_stats_get(fixture->notifier, &stats);
    assert_int_equal(stats.waiting, 18);
    /* Nothing is lost in the end: all come back, to be tried again. */
    notifier_close(fixture->notifier);
    fixture->notifier = NULL;
    assert_int_equal(fixture->outcome_count, 21);
    for (unsigned i = 1; i < 21; i++)
        assert_int_equal(fixture->outcomes[i].outcome, DELIVERY_RETRY);
}

static void test_queue_is_bounded(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < 60; i++)
        deliver(fixture, "hang", "g", i);
    /* One is under way or waits as the 50th; the others were told within the call. */
    pthread_mutex_lock(&fixture->mtx);
    unsigned count = fixture->outcome_count;
    pthread_mutex_unlock(&fixture->mtx);
    assert_true(count == 9 || count == 10);
    assert_int_equal(fixture->outcomes[0].outcome, DELIVERY_RETRY);
}

static void expect_text(struct fixture *fixture, bool is_html, const char *template, const char *want)
{
    AP_AUTO(message_templates) struct message_templates *templates = NULL;
    struct ap_err err;
    AP_AUTO_BUF struct ap_buf out = {0};
    struct notification *notification = make(fixture, "good", "it's <1>", 1);
    assert_int_equal(message_templates_load(fixture->hold->config, &templates, &err), AP_OK);
    AP_AUTO(message)
    struct message *message =
        message_new(notification, templates, ap_slice_cstr("http://apiary.example"), 1767225600000 + 90000);
    enum ap_rc rc = (is_html ? message_html : message_text)(message, "text", template, &out, &err);
    if (rc != AP_OK)
        ap_buf_printf(&out, "ERROR %s", err.text);
    ap_buf_add_char(&out, '\0');
    assert_string_equal(out.data, want);
    notification_unref(notification);
}
#define TEXT(template, want) expect_text(fixture, false, template, want)
#define HTML(template, want) expect_text(fixture, true, template, want)

static void test_texts(void **state)
{
    struct fixture *fixture = *state;
    write_file(fixture, "a.tmpl", "{{ define \"a\" }}a:{{ template \"b\" . }}{{ end }}{{ define \"c\" }}old{{ end }}");
    write_file(fixture, "b.tmpl", "{{ define \"b\" }}b{{ template \"c\" . }}{{ end }}{{ define \"c\" }}new{{ end }}");
    TEXT("{{ template \"a\" . }}", "a:bnew");
    TEXT("{{ .CommonLabels.SortedPairs }}|{{ .CommonLabels.Names | join \",\" }}",
         "alertname=<Down>, group=it's <1>|alertname,group");
    TEXT("{{ (.CommonLabels.Remove (stringSlice \"group\")).Values | join \" \" | trimSpace }}", "<Down>");
    TEXT("{{ range .Alerts.Firing }}{{ .StartsAt.Format \"Mon, 2 Jan 2006 03:04 PM\" }}{{ .EndsAt.IsZero }}{{ end }}",
         "Thu, 1 Jan 2026 12:00 AMtrue");
    TEXT("{{ range .Alerts }}{{ .StartsAt | tz \"Europe/Berlin\" | date \"15:04:05.00 -0700\" }}{{ end }}",
         "01:00:00.00 +0100");
    TEXT("{{ range .Alerts }}{{ since .StartsAt }} {{ since .StartsAt | humanizeDuration }}{{ end }}", "1m30s 1m 30s");
    TEXT("{{ len .Alerts.Resolved }}{{ (index .Alerts 0).Status }}{{ urlUnescape \"a%20b+c\" }}", "0firinga b c");
    TEXT("{{ .Alerts.Firing 1 }}", "ERROR text: template, line 1, column 4: error calling Firing: Firing takes no "
                                   "arguments");
    TEXT("{{ .Receiver.x }}", "ERROR text: template, line 1, column 4: can't evaluate field x in type string");
    HTML("<b>{{ .GroupLabels.group }}</b>{{ \"<i>\" | safeHtml }}", "<b>it&#39;s &lt;1&gt;</b><i>");
    HTML("<a title=\"{{ .GroupLabels.group }}\" href=\"{{ (index .Alerts 0).GeneratorURL }}\">",
         "<a title=\"it&#39;s &lt;1&gt;\" href=\"#ZgotmplZ\">");
    HTML("<a href=\"{{ .ExternalURL }}/?q={{ .GroupLabels.group }}\">",
         "<a href=\"http://apiary.example/?q=it%27s%20%3c1%3e\">");
}

static void test_reload_checks(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *receivers, *want;
    } cases[] = {
        {"- {name: good, slack_configs: [{api_url: 'http://x/', text: '{{ .Status'}]}\n", "receiver good, slack: text"},
        {"- {name: good, email_configs: [{to: a@b, from: c@d, smarthost: 'h:25', html: '{{ nope }}'}]}\n", "html"},
        {"- {name: good, webhook_configs: [{url: 'http://x/', http_config: {nope: 1}}]}\n", "http_config"},
        {"- {name: good, pagerduty_configs: [{routing_key: k, details: {a: '{{'}}]}\n", "pagerduty: a"},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        AP_AUTO(alert_config) struct alert_config *config = load(fixture, cases[i].receivers);
        struct ap_err err = {0};
        assert_int_not_equal(notifier_reload(fixture->notifier, config, &err), AP_OK);
        if (!strstr(err.text, cases[i].want))
            fail_msg("%s", err.text);
    }
    AP_AUTO(alert_config) struct alert_config *config = load(fixture, "- {name: good}\n");
    assert_int_equal(notifier_reload(fixture->notifier, config, NULL), AP_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_outcomes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_figures_of_ways, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_figures_end_with_the_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_groups_stay_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hanging_receiver_delays_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_queue_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_texts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reload_checks, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
