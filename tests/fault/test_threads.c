/*
 * All of the server's threads at once: what comes in, rules, alerts, notifications, scrapes, questions, reloads. For
 * the thread sanitizer (tools/run-tests tsan), which ends the server at the first race that it sees.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server.h"

enum { RELOADS = 5, ASKS_MAX = 4, PAUSE_US = 2000 };

static const char rules[] = "groups:\n"
                            "- name: g\n"
                            "  interval: 1s\n"
                            "  rules:\n"
                            "  - {record: doubled, expr: 'load * 2'}\n"
                            "  - {alert: Busy, expr: 'load > 0', labels: {severity: page}}\n";
/* Nobody is there: each message is tried again and again. */
static const char alerting[] = "route: {receiver: team, group_by: [alertname], group_wait: 1ms, group_interval: 1s}\n"
                               "receivers:\n"
                               "- {name: team, webhook_configs: [{url: 'http://127.0.0.1:1/hook'}]}\n";

/* What one client asks, round after round. %d is the number of the round. */
struct ask {
    const char *path;
    const char *header;
    const char *body; /* NULL: GET */
};
#define JSON "Content-Type: application/json"
#define TEXT "Content-Type: text/plain"
static const struct ask clients[][ASKS_MAX] = {
    {{"/events", JSON, "{\"event_type\":\"startup\",\"duration_ms\":%d}"},
     {"/vitals", JSON, "{\"name\":\"CLS\",\"value\":0.%d}"},
     {"/api/sql", JSON, "{\"query\":\"SELECT COUNT(*) FROM events\"}"}},
    {{"/api/v1/import/prometheus", TEXT, "load{round=\"%d\"} 1\n"},
     {"/api/v1/query?query=sum(load)", NULL, NULL},
     {"/api/v1/labels", NULL, NULL}},
    {{"/v1/metrics", JSON,
      "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"name\":\"m\",\"gauge\":{\"dataPoints\":[{"
      "\"timeUnixNano\":\"1795435200000000000\",\"asInt\":\"%d\"}]}}]}]}]}"},
     {"/metrics", NULL, NULL},
     {"/api/v1/targets", NULL, NULL}},
    {{"/api/v1/rules", NULL, NULL}, {"/api/v1/alerts", NULL, NULL}, {"/api/v2/alerts/groups", NULL, NULL}},
    {{"/api/v2/alerts", JSON, "[{\"labels\":{\"alertname\":\"Posted\",\"round\":\"%d\"}}]"},
     {"/api/v2/alerts", NULL, NULL},
     {"/api/apiary/v1/notifications?since=1h", NULL, NULL}},
};
enum { CLIENTS = sizeof(clients) / sizeof(clients[0]) };

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

/* In a process of its own, until *is_over; ends with 1 when an answer was not 2xx. */
_Noreturn static void be_client(struct server *server, const struct ask *asks, const _Atomic bool *is_over)
{
    bool has_failed = false;
    for (int i = 0; !*is_over; i++) {
        const struct ask *ask = &asks[i % ASKS_MAX];
        char body[512];
        if (!ask->path)
            continue;
        int bytes = ask->body ? snprintf(body, sizeof(body), ask->body, i) : 0;
        struct reply reply = http_ask(server, ask->path, ask->header, ask->body ? body : NULL, (size_t)bytes);
        if (reply.status < 200 || reply.status > 299) {
            printf("  %s: %ld %s\n", ask->path, reply.status, reply.body);
            has_failed = true;
        }
        reply_clear(&reply);
        usleep(PAUSE_US);
    }
    fflush(stdout);
    _exit(has_failed);
}

static void test_all_at_once(void **state)
{
    (void)state;
    char dir[] = "/tmp/apiary-test-threads.XXXXXX", rule_file[64], alerting_file[64];
    assert_non_null(mkdtemp(dir));
    snprintf(rule_file, sizeof(rule_file), "%s/rules.yml", dir);
    snprintf(alerting_file, sizeof(alerting_file), "%s/alerting.yml", dir);
    write_file(rule_file, rules);
    write_file(alerting_file, alerting);
    static struct server server;
    server_init(&server);
    const char *const arguments[] = {"--open",
                                     "--otlp-listen",
                                     "",
                                     "--rules",
                                     rule_file,
                                     "--alerting",
                                     alerting_file,
                                     "--set",
                                     "scrape.interval=1s",
                                     "--set",
                                     "tsdb.out_of_order_window=12h"};
    memcpy(server.arguments, arguments, sizeof(arguments));
    server_start(&server);
    _Atomic bool *is_over = mmap(NULL, sizeof(*is_over), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(is_over, MAP_FAILED);
    pid_t pids[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0)
            be_client(&server, clients[i], is_over);
    }
    for (int i = 0; i < RELOADS; i++) {
        struct reply reply = http_ask(&server, "/-/reload", NULL, "", 0);
        assert_int_equal(reply.status, 200);
        reply_clear(&reply);
    }
    /* Until an alert of the rules has been told in vain more than once. */
    sql_wait_for(&server, "SELECT (COUNT(*) > 2)::INTEGER FROM notifications WHERE group_key LIKE '%Busy%'", 1);
    *is_over = true;
    for (int i = 0; i < CLIENTS; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    assert_int_equal(server_terminate(&server), 0);
    server_clear(&server);
    munmap(is_over, sizeof(*is_over));
    unlink(rule_file);
    unlink(alerting_file);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
