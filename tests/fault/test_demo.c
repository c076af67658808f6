/* `apiary demo` as a person runs it: fills, goes on live, ends cleanly, and says so when its server dies. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server.h"

struct demo {
    pid_t pid; /* 0: has ended */
    FILE *output;
    char tmp[64];  /* its TMPDIR */
    char pack[64]; /* with a reporter and a node of its own; empty: none */
    struct server server;
};

static void start(struct demo *demo, const char *const *arguments)
{
    strcpy(demo->tmp, "/tmp/apiary-test-demo.XXXXXX");
    assert_non_null(mkdtemp(demo->tmp));
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    demo->pid = fork();
    if (demo->pid == 0) {
        const char *binary = getenv("APIARY_BIN");
        const char *all[SERVER_ARGUMENTS_MAX] = {"apiary", "demo", "--quick", "--listen", "127.0.0.1:0"};
        size_t count = 5;
        while (*arguments)
            all[count++] = *arguments++;
        setenv("TMPDIR", demo->tmp, 1);
        if (demo->pack[0])
            setenv("PATH", demo->pack, 1);
        dup2(fds[1], STDOUT_FILENO);
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        execv(binary, (char *const *)(uintptr_t)all);
        _exit(127);
    }
    close(fds[1]);
    demo->output = fdopen(fds[0], "r");
    assert_non_null(demo->output);
}

/* Reads what it says up to a line that has `text` in it; false when it ends before. */
static bool read_until(struct demo *demo, const char *text, char line[512])
{
    while (fgets(line, 512, demo->output)) {
        printf("  %s", line);
        if (strstr(line, text))
            return true;
    }
    return false;
}

static void read_address(struct demo *demo)
{
    char line[512];
    assert_true(read_until(demo, "Apiary is at", line));
    assert_int_equal(sscanf(line, "Apiary is at http://127.0.0.1:%d/", &demo->server.port), 1);
}

static int end(struct demo *demo)
{
    int status;
    assert_int_equal(waitpid(demo->pid, &status, 0), demo->pid);
    demo->pid = 0;
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The process that the demo has started. */
static pid_t child_of(const struct demo *demo)
{
    char command[64];
    snprintf(command, sizeof(command), "pgrep -P %d", (int)demo->pid);
    FILE *list = popen(command, "r");
    int pid = 0;
    assert_non_null(list);
    assert_int_equal(fscanf(list, "%d", &pid), 1);
    pclose(list);
    return pid;
}

static int set_up(void **state)
{
    static struct demo demo;
    demo = (struct demo){0};
    *state = &demo;
    return 0;
}

static int tear_down(void **state)
{
    struct demo *demo = *state;
    if (demo->pid > 0) {
        kill(demo->pid, SIGKILL); /* its server goes with it */
        waitpid(demo->pid, NULL, 0);
    }
    if (demo->output)
        fclose(demo->output);
    static const char *const files[] = {"pack.yaml",
                                        "node",
                                        "said",
                                        "alerting/alertmanager.yml",
                                        "alerting",
                                        "demo/rules.yml",
                                        "demo/report.mjs",
                                        "demo/node_modules",
                                        "demo",
                                        ""};
    for (size_t i = 0; demo->pack[0] && i < sizeof(files) / sizeof(files[0]); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", demo->pack, files[i]);
        remove(path);
    }
    /* rmdir and not rm -r: the demo has to have removed what it made. */
    return demo->tmp[0] && rmdir(demo->tmp) != 0 ? -1 : 0;
}

static void test_fills_goes_live_and_ends(void **state)
{
    struct demo *demo = *state;
    const char *const arguments[] = {"--seed", "3", "--rate", "50", NULL};
    start(demo, arguments);
    read_address(demo);
    (void)sql_number(&demo->server, "SELECT COUNT(*) FROM events"); /* answers while it fills */
    char line[512];
    assert_true(read_until(demo, "Live:", line));
    /* Acknowledged, and a moment later visible. */
    sql_wait_for(&demo->server, "SELECT round(epoch(max(timestamp) - min(timestamp)) / 86400) FROM events", 35);
    sql_wait_for(&demo->server, "SELECT (COUNT(DISTINCT country) > 40)::INTEGER FROM events", 1);
    double filled = sql_number(&demo->server, "SELECT COUNT(*) FROM events");
    assert_true(filled > 100000);
    char live[128];
    snprintf(live, sizeof(live), "SELECT (COUNT(*) > %.0f)::INTEGER FROM events", filled);
    sql_wait_for(&demo->server, live, 1);
    kill(demo->pid, SIGINT);
    assert_int_equal(end(demo), 0);
}

static void test_says_when_its_server_dies(void **state)
{
    struct demo *demo = *state;
    const char *const arguments[] = {NULL};
    start(demo, arguments);
    read_address(demo);
    kill(child_of(demo), SIGKILL);
    char line[512];
    assert_true(read_until(demo, "the server ended by itself (signal 9)", line));
    assert_int_equal(end(demo), 1);
}

/* ---- The reporter of a pack, played by a script that is called node ---- */

static void write_into_pack(const struct demo *demo, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", demo->pack, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fchmod(fileno(file), 0755), 0);
    fclose(file);
}

static void make_pack(struct demo *demo)
{
    strcpy(demo->pack, "/tmp/apiary-test-pack.XXXXXX");
    assert_non_null(mkdtemp(demo->pack));
    char path[128];
    snprintf(path, sizeof(path), "%s/demo", demo->pack);
    assert_int_equal(mkdir(path, 0700), 0);
    write_into_pack(demo, "pack.yaml", "name: toy\nversion: \"1\"\ntitle: Toy\n");
    write_into_pack(demo, "demo/report.mjs", "");
}

static void give_packages(const struct demo *demo)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/demo/node_modules", demo->pack);
    assert_int_equal(mkdir(path, 0700), 0);
}

/* It is told where the server is, and started again without a past when it ends by itself. */
static void test_restarts_the_reporter(void **state)
{
    struct demo *demo = *state;
    char line[512];
    make_pack(demo);
    write_into_pack(demo, "node", "#!/bin/sh\necho \"$@\"\nexit 3\n");
    give_packages(demo);
    const char *const arguments[] = {"--seed", "5", "--pack", demo->pack, NULL};
    start(demo, arguments);
    read_address(demo);
    assert_true(read_until(demo, "the reporter ended (exit status 3), once more in 1 s", line));
    char want[256];
    snprintf(want, sizeof(want), "/demo/report.mjs --url http://127.0.0.1:%d/ --seed 5 --installations 6 --history 1",
             demo->server.port);
    assert_non_null(strstr(line, want));
    assert_true(read_until(demo, "the reporter ended (exit status 3), once more in 2 s", line));
    assert_non_null(strstr(line, "--history 0"));
    kill(demo->pid, SIGINT);
    assert_int_equal(end(demo), 0);
}

/* However long it would go on: it ends with the demo, and by force when it does not listen. */
static void test_ends_the_reporter(void **state)
{
    struct demo *demo = *state;
    char line[512], path[128];
    make_pack(demo);
    char script[256];
    snprintf(script, sizeof(script), "#!/bin/sh\ntrap '' TERM\necho $$ >%s/said\nwhile :; do :; done\n", demo->pack);
    write_into_pack(demo, "node", script);
    give_packages(demo);
    const char *const arguments[] = {"--pack", demo->pack, NULL};
    start(demo, arguments);
    assert_true(read_until(demo, "Live:", line));
    snprintf(path, sizeof(path), "%s/said", demo->pack);
    int pid = 0;
    for (long deadline_ms = 0; pid == 0; assert_true(server_wait_more(&deadline_ms))) {
        FILE *said = fopen(path, "r"); /* the script may come to it later than the demo to its own line */
        if (said && fscanf(said, "%d", &pid) != 1)
            pid = 0;
        if (said)
            fclose(said);
    }
    kill(demo->pid, SIGINT);
    assert_int_equal(end(demo), 0);
    assert_int_equal(kill(pid, 0), -1);
}

static void test_says_why_it_reports_no_metrics(void **state)
{
    struct demo *demo = *state;
    char line[512];
    make_pack(demo);
    const char *const arguments[] = {"--pack", demo->pack, NULL};
    start(demo, arguments);
    assert_true(read_until(demo, "/demo has no node_modules; `npm ci` there brings them", line));
    assert_true(read_until(demo, "Live:", line));
    kill(demo->pid, SIGINT);
    assert_int_equal(end(demo), 0);
    fclose(demo->output);
    assert_int_equal(rmdir(demo->tmp), 0);
    give_packages(demo);
    start(demo, arguments);
    assert_true(read_until(demo, "Metrics are not reported: there is no node in PATH", line));
    assert_true(read_until(demo, "Live:", line));
    kill(demo->pid, SIGINT);
    assert_int_equal(end(demo), 0);
}

/* ---- Who is told ---- */

static const char everybody[] = "global: {smtp_smarthost: 'mail.invalid:25', smtp_from: a@b.invalid}\n"
                                "route: {receiver: team, group_by: [alertname], group_wait: 1ms}\n"
                                "receivers:\n"
                                "- name: team\n"
                                "  webhook_configs: [{url: 'http://hook.invalid/hunter2', signing_secret: hunter2}]\n"
                                "  pagerduty_configs: [{routing_key: hunter2, severity: warning}]\n"
                                "  slack_configs: [{api_url: 'http://slack.invalid/hunter2', text: 'Own words'}]\n"
                                "  email_configs: [{to: c@d.invalid}]\n";
static const char always[] = "groups:\n- {name: a, interval: 1s, rules: [{alert: Always, expr: 'vector(1)', "
                             "annotations: {summary: It is so}}]}\n";

/* The pack's own routes and receivers, but that each way leads to the inbox; no secret of them goes anywhere. */
static void test_shows_who_is_told(void **state)
{
    struct demo *demo = *state;
    char line[512], path[128];
    make_pack(demo);
    snprintf(path, sizeof(path), "%s/alerting", demo->pack);
    assert_int_equal(mkdir(path, 0700), 0);
    write_into_pack(demo, "alerting/alertmanager.yml", everybody);
    write_into_pack(demo, "demo/rules.yml", always);
    const char *const arguments[] = {"--pack", demo->pack, NULL};
    start(demo, arguments);
    read_address(demo);
    assert_true(read_until(demo, "They tell an inbox", line));
    int inbox_port = 0;
    assert_int_equal(sscanf(strstr(line, "http://"), "http://127.0.0.1:%d/", &inbox_port), 1);
    static const char *const ways[] = {"webhook", "pagerduty", "slack", "email"};
    enum { WAYS = sizeof(ways) / sizeof(ways[0]) };
    bool is_told[WAYS] = {false};
    for (size_t told = 0; told < WAYS; told++) {
        assert_true(read_until(demo, "told team by ", line));
        for (size_t i = 0; i < WAYS; i++) {
            char want[64];
            snprintf(want, sizeof(want), "told team by %s: Always is firing\n", ways[i]);
            is_told[i] |= strstr(line, want) != NULL;
        }
    }
    for (size_t i = 0; i < WAYS; i++)
        assert_true(is_told[i]);
    struct server inbox = {.port = inbox_port};
    static const struct {
        const char *path;
        const char *wants[3];
    } pages[] = {
        {"/", {"    Own words\n", "    severity warning\n", "    It is so\n"}},
        {"/messages", {"\"text\":\"Own words\"", "\"severity\":\"warning\"", "\"way\":\"email\""}},
    };
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        struct reply reply = http_ask(&inbox, pages[i].path, NULL, NULL, 0);
        assert_int_equal(reply.status, 200);
        for (size_t j = 0; j < 3; j++)
            assert_non_null(strstr(reply.body, pages[i].wants[j]));
        assert_null(strstr(reply.body, "hunter2"));
        reply_clear(&reply);
    }
    kill(demo->pid, SIGINT);
    assert_int_equal(end(demo), 0);
}

static void test_refuses_what_makes_no_sense(void **state)
{
    struct demo *demo = *state;
    const char *const arguments[] = {"--at", "yesterday", NULL};
    start(demo, arguments);
    char line[512];
    assert_true(read_until(demo, "--at wants a time like", line));
    assert_int_equal(end(demo), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fills_goes_live_and_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_says_when_its_server_dies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_restarts_the_reporter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ends_the_reporter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_says_why_it_reports_no_metrics, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shows_who_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refuses_what_makes_no_sense, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
