/* What senders, operators and disks do to the time-series store, on the real binary. */
#include <fcntl.h>
#include <glob.h>
#include <libdeflate.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "metrics.h"

static int64_t now_ms(void)
{
    return (int64_t)time(NULL) * 1000;
}

struct text {
    char *data;
    size_t bytes;
    size_t capacity;
};

static void __attribute__((format(printf, 2, 3))) add(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int bytes = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (text->bytes + (size_t)bytes + 1 > text->capacity) {
        text->capacity = 2 * (text->bytes + (size_t)bytes + 1);
        text->data = realloc(text->data, text->capacity);
        assert_non_null(text->data);
    }
    va_start(args, format);
    vsnprintf(text->data + text->bytes, (size_t)bytes + 1, format, args);
    va_end(args);
    text->bytes += (size_t)bytes;
}

static void start(struct server *server, const char *setting)
{
    server_init(server);
    server->arguments[0] = "--open";
    if (setting) {
        server->arguments[1] = "--set";
        server->arguments[2] = setting;
    }
    server_start(server);
}

static void restart(struct server *server)
{
    assert_int_equal(server_terminate(server), 0);
    server_start(server);
}

static void assert_import(struct server *server, const struct text *text, long want, const char *want_text)
{
    struct reply reply = metrics_import(server, text->data, text->bytes);
    if (reply.status != want || (want_text && !strcasestr(reply.body, want_text)))
        fail_msg("want %ld with '%s', got %ld: %s", want, want_text ? want_text : "", reply.status, reply.body);
    reply_clear(&reply);
}

/* ---- The documentation ---- */

/* Does `have` say what `want` says, where … stands for anything? */
static bool line_fits(const char *want, const char *have)
{
    static const char any[] = "…";
    const char *gap = strstr(want, any);
    if (!gap)
        return strcmp(want, have) == 0;
    size_t head_bytes = (size_t)(gap - want);
    if (strncmp(want, have, head_bytes) != 0)
        return false;
    const char *tail = gap + strlen(any);
    for (have += head_bytes;; have++) {
        if (line_fits(tail, have))
            return true;
        if (!*have)
            return false;
    }
}

static void run_example(const char *command, const char *want, const char *file_name, int line)
{
    char script[8192];
    /* The last command of a pipe is not the only one that may fail. */
    snprintf(script, sizeof(script), "set -o pipefail; { %s\n} 2>&1", command);
    int out[2];
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        execlp("bash", "bash", "-c", script, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    static char have[1 << 20];
    size_t used = 0;
    for (ssize_t got; (got = read(out[0], have + used, sizeof(have) - 1 - used)) > 0;)
        used += (size_t)got;
    close(out[0]);
    have[used] = '\0';
    int status = 0;
    waitpid(pid, &status, 0);
    if (status != 0)
        fail_msg("%s:%d: status %d of: %s\n%s", file_name, line, status, command, have);
    while (used && have[used - 1] == '\n')
        have[--used] = '\0';
    if (!line_fits(want, have))
        fail_msg("%s:%d: %s\nshould say:\n%s\nbut says:\n%s", file_name, line, command, want, have);
}

/* "127.0.0.1:8484" and "/var/lib/apiary" are those of the server under test. */
static void replace(char *text, size_t room, const char *from, const char *to)
{
    for (char *at = text; (at = strstr(at, from)); at += strlen(to)) {
        size_t rest = strlen(at + strlen(from)) + 1;
        assert_true((size_t)(at - text) + strlen(to) + rest <= room);
        memmove(at + strlen(to), at + strlen(from), rest);
        memcpy(at, to, strlen(to));
    }
}

static void enter_example_directory(const struct server *server)
{
    char path[4096], now[32], *binary_dir = realpath(getenv("APIARY_BIN"), NULL);
    assert_non_null(binary_dir);
    *strrchr(binary_dir, '/') = '\0';
    snprintf(path, sizeof(path), "%s:%s", binary_dir, getenv("PATH"));
    setenv("PATH", path, 1);
    setenv("no_proxy", "*", 1);
    snprintf(now, sizeof(now), "%lld", (long long)time(NULL));
    setenv("NOW", now, 1);
    free(binary_dir);
    assert_int_equal(chdir(server->dir), 0);
}

/* Every "    $ command" of the guide, with what it says below. */
static void test_documented_commands(void **state)
{
    (void)state;
    const char *root = getenv("APIARY_SOURCE_ROOT");
    if (!root)
        skip();
    struct server server;
    start(&server, NULL);
    char name[4096], address[64];
    snprintf(name, sizeof(name), "%s/docs/tsdb.md", root);
    snprintf(address, sizeof(address), "127.0.0.1:%d", server.port);
    FILE *file = fopen(name, "r");
    assert_non_null(file);
    enter_example_directory(&server);

    char line[4096], command[4096] = "", want[8192] = "";
    int number = 0, command_line = 0, count = 0;
    bool is_in_command = false;
    for (bool is_end = false; !is_end;) {
        is_end = !fgets(line, sizeof(line), file);
        number++;
        bool is_example = !is_end && strncmp(line, "    ", 4) == 0;
        bool is_start = is_example && strncmp(line, "    $ ", 6) == 0;
        if ((is_start || !is_example) && *command) {
            if (*want)
                want[strlen(want) - 1] = '\0';
            replace(command, sizeof(command), "127.0.0.1:8484", address);
            replace(command, sizeof(command), "/var/lib/apiary", server.dir);
            run_example(command, want, "docs/tsdb.md", command_line);
            count++;
            *command = *want = '\0';
        }
        if (is_start) {
            strcpy(command, line + 6);
            command_line = number;
        } else if (is_example && is_in_command) {
            strcat(command, line + 4);
        } else if (is_example && *command) {
            strcat(want, line + 4);
        }
        size_t bytes = strlen(line);
        is_in_command = is_example && (is_start || is_in_command) && bytes > 2 &&
                        (line[bytes - 2] == '|' || line[bytes - 2] == '\\');
    }
    fclose(file);
    assert_true(count > 10);
    assert_int_equal(chdir("/"), 0);
    server_clear(&server);
}

/* ---- Senders ---- */

static void add_series(struct text *text, const char *name, int from, int to, double value, int64_t ts_ms)
{
    for (int i = from; i < to; i++)
        add(text, "%s{n=\"%d\"} %.17g %lld\n", name, i, value, (long long)ts_ms);
}

/* Ten times as many series as are allowed: the newcomers are refused and counted, those that are there go on. */
static void test_cardinality_burst(void **state)
{
    (void)state;
    struct server server;
    start(&server, "tsdb.max_series=1000");
    int64_t t = now_ms() - 60000;
    struct text text = {0};
    add_series(&text, "settled", 0, 500, 1, t);
    assert_import(&server, &text, 204, NULL);
    for (int burst = 0; burst < 10; burst++) {
        text.bytes = 0;
        add_series(&text, "burst", burst * 1000, (burst + 1) * 1000, 1, t + 1000 + burst);
        if (burst == 5)
            add_series(&text, "settled", 0, 500, 2, t + 2000); /* among them */
        assert_import(&server, &text, 400, "series");
    }
    assert_int_equal(metrics_figure(&server, "head_series"), 1000);
    assert_int_equal(metrics_figure(&server, "refused_series"), 9500);
    text.bytes = 0;
    add_series(&text, "settled", 0, 500, 3, t + 3000);
    assert_import(&server, &text, 204, NULL);
    struct metrics_answer answer = metrics_export(&server, "settled");
    assert_int_equal(answer.count, 500);
    for (size_t i = 0; i < answer.count; i++)
        assert_int_equal(answer.series[i].count, 3);
    metrics_answer_clear(&answer);
    assert_int_equal(metrics_sample_count(&server, "burst"), 500);
    char *metrics = metrics_ask(&server, "/metrics", NULL, 200);
    assert_non_null(strstr(metrics, "apiary_tsdb_samples_refused_total{reason=\"series_limit\"} 9500\n"));
    free(metrics);

    /* The limit holds after a restart, for the same ones. */
    restart(&server);
    text.bytes = 0;
    add_series(&text, "settled", 0, 500, 4, t + 4000);
    assert_import(&server, &text, 204, NULL);
    text.bytes = 0;
    add_series(&text, "burst", 5000, 5001, 4, t + 4000);
    assert_import(&server, &text, 400, "series");
    free(text.data);
    server_clear(&server);
}

static void add_big_label(struct text *text, const char *metric, size_t bytes, int64_t ts_ms)
{
    char *value = malloc(bytes + 1);
    memset(value, 'v', bytes);
    value[bytes] = '\0';
    add(text, "%s{big=\"%s\"} 1 %lld\n", metric, value, (long long)ts_ms);
    free(value);
}

/* What is wrong with one series does not cost the others of its request. */
static void test_labels(void **state)
{
    struct server *server = *state;
    int64_t t = now_ms() - 60000;
    struct text text = {0};

    add_big_label(&text, "big_fits", 65535, t);
    assert_import(server, &text, 204, NULL);
    text.bytes = 0;
    add_big_label(&text, "big_too_big", 65536, t);
    add(&text, "big_neighbour 1 %lld\n", (long long)t);
    assert_import(server, &text, 400, NULL);
    assert_int_equal(metrics_sample_count(server, "big_fits"), 1);
    assert_int_equal(metrics_sample_count(server, "big_too_big"), 0);

    /* An empty value is no label; order does not matter: all three are one series. */
    text.bytes = 0;
    add(&text, "same{a=\"1\",b=\"2\",c=\"\"} 1 %lld\n", (long long)t);
    add(&text, "same{b=\"2\",a=\"1\"} 2 %lld\n", (long long)t + 1);
    add(&text, "same{c=\"\",b=\"2\",a=\"1\"} 3 %lld\n", (long long)t + 2);
    assert_import(server, &text, 204, NULL);
    struct metrics_answer answer = metrics_export(server, "same");
    assert_int_equal(answer.count, 1);
    assert_int_equal(answer.series[0].count, 3);
    assert_string_equal(answer.series[0].labels, "{\"__name__\":\"same\",\"a\":\"1\",\"b\":\"2\"}");
    metrics_answer_clear(&answer);

    text.bytes = 0;
    add(&text, "twice{a=\"1\",a=\"2\"} 1 %lld\n", (long long)t);
    assert_import(server, &text, 400, NULL);
    text.bytes = 0;
    add(&text, "broken{a=\"\xff\xfe\"} 1 %lld\n", (long long)t);
    assert_import(server, &text, 400, NULL);
    assert_int_equal(metrics_sample_count(server, "{__name__=~\"twice|broken\"}"), 0);
    assert_int_equal(metrics_import_status(server, "still_there 1\n"), 204);
    free(text.data);
}

static void test_decompression_bombs(void **state)
{
    struct server *server = *state;
    size_t bytes = (size_t)256 << 20;
    char *zeros = calloc(1, bytes);
    char *packed = malloc(1 << 20);
    struct libdeflate_compressor *compressor = libdeflate_alloc_compressor(6);
    size_t packed_bytes = libdeflate_gzip_compress(compressor, zeros, bytes, packed, 1 << 20);
    assert_true(packed_bytes > 0);
    libdeflate_free_compressor(compressor);
    free(zeros);
    struct reply reply = http_ask(server, "/api/v1/import/prometheus",
                                  "Content-Type: text/plain\nContent-Encoding: gzip", packed, packed_bytes);
    assert_int_equal(reply.status, 413);
    reply_clear(&reply);
    free(packed);

    /* Snappy says first how much it will be: 4 GiB less a byte, and nothing behind it; then 16 MiB of one byte's
     * copies. */
    static const char snappy[] = "Content-Type: application/x-protobuf\nContent-Encoding: snappy\n"
                                 "X-Prometheus-Remote-Write-Version: 0.1.0";
    reply = http_ask(server, "/api/v1/write", snappy, "\xff\xff\xff\xff\x0f", 5);
    assert_true(reply.status == 400 || reply.status == 413);
    reply_clear(&reply);
    assert_int_equal(metrics_import_status(server, "after_the_bombs 1\n"), 204);
}

/* A sender whose clock was set back: within the window its samples are kept, before it they are refused and counted. */
static void test_clock_set_back(void **state)
{
    (void)state;
    struct server server;
    start(&server, "tsdb.out_of_order_window=10m");
    int64_t t = now_ms() - 60000;
    struct text text = {0};
    add(&text, "clock 1 %lld\n", (long long)t);
    assert_import(&server, &text, 204, NULL);
    for (int round = 0; round < 2; round++) {
        text.bytes = 0;
        add(&text, "clock 2 %lld\n", (long long)(t - 300000 + round)); /* five minutes back */
        assert_import(&server, &text, 204, NULL);
        text.bytes = 0;
        add(&text, "clock 3 %lld\n", (long long)(t - 3600000 + round)); /* an hour back */
        assert_import(&server, &text, 400, NULL);
        text.bytes = 0;
        add(&text, "clock 4 %lld\n", (long long)t); /* another value for a time that has one */
        assert_import(&server, &text, 400, NULL);
        text.bytes = 0;
        add(&text, "clock 1 %lld\n", (long long)t); /* the same again, as after a reply that was lost */
        assert_import(&server, &text, 204, NULL);
        text.bytes = 0;
        add(&text, "clock 5 %lld\n", (long long)(t + 48 * 3600 * 1000)); /* two days ahead */
        assert_import(&server, &text, 400, NULL);
        assert_int_equal(metrics_figure(&server, "refused_old"), 1);
        assert_int_equal(metrics_figure(&server, "refused_duplicate"), 1);
        assert_int_equal(metrics_figure(&server, "refused_future"), 1);
        assert_int_equal(metrics_sample_count(&server, "clock"), 2 + round);
        if (round == 0)
            restart(&server);
    }
    free(text.data);
    server_clear(&server);
}

/* ---- Operators ---- */

static void test_delete_and_restart(void **state)
{
    (void)state;
    struct server server;
    start(&server, NULL);
    int64_t t = now_ms() - 3600000;
    struct text text = {0};
    for (int i = 0; i < 100; i++)
        add_series(&text, "deletable", 0, 10, i, t + i * 1000);
    assert_import(&server, &text, 204, NULL);
    free(metrics_ask(&server, "/api/v1/admin/tsdb/delete_series", "match[]=deletable{n=\"3\"}", 204));
    /* And of all of them the first half, in seconds, both ends with it. */
    char form[256];
    snprintf(form, sizeof(form), "match[]=deletable&start=%lld.000&end=%lld", (long long)(t / 1000),
             (long long)(t / 1000 + 49));
    free(metrics_ask(&server, "/api/v1/admin/tsdb/delete_series", form, 204));
    for (int round = 0; round < 4; round++) {
        assert_int_equal(metrics_sample_count(&server, "deletable"), 9 * 50);
        assert_int_equal(metrics_sample_count(&server, "deletable{n=\"3\"}"), 0);
        if (round == 0) {
            restart(&server);
        } else if (round == 1) {
            metrics_settle(&server); /* the same out of a block */
        } else if (round == 2) {
            free(metrics_ask(&server, "/api/v1/admin/tsdb/clean_tombstones", "", 204));
            server_kill(&server);
            server_start(&server);
        }
    }
    /* Deleted once, and again out of the block. */
    free(metrics_ask(&server, "/api/v1/admin/tsdb/delete_series", "match[]={__name__=~\"delet.*\"}", 204));
    assert_int_equal(metrics_sample_count(&server, "deletable"), 0);
    server_kill(&server);
    server_start(&server);
    assert_int_equal(metrics_sample_count(&server, "deletable"), 0);
    free(text.data);
    server_clear(&server);
}

static void test_admin_errors(void **state)
{
    struct server *server = *state;
    static const struct {
        const char *path;
        const char *form;
        long status;
        const char *text;
    } cases[] = {
        {"/api/v1/admin/tsdb/delete_series", "", 400, "no match[] parameter provided"},
        {"/api/v1/admin/tsdb/delete_series", "match[]=up{", 400, "bad_data"},
        {"/api/v1/admin/tsdb/delete_series", "match[]=up&start=soon", 400, "cannot parse"},
        {"/api/v1/admin/tsdb/delete_series", "match[]=up&start=2&end=1", 400, "before start"},
        {"/api/v1/admin/tsdb/snapshot", "skip_head=maybe", 400, "skip_head"},
        {"/api/v1/export", "match[]=%zz", 400, "percent"},
        {"/api/v1/export", "match[]={a=\"\"}", 400, "match[]"},
        {"/api/v1/nothing", "", 404, "not_found"},
        {"/api/v1/series", "", 400, "no match[] parameter provided"},
        {"/api/v1/status/tsdb?limit=0", NULL, 400, "limit"},
        {"/api/v1/status/tsdb?limit=10001", NULL, 400, "limit"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *body = metrics_ask(server, cases[i].path, cases[i].form, cases[i].status);
        if (!strstr(body, "\"status\":\"error\"") || !strstr(body, cases[i].text))
            fail_msg("%s: %s", cases[i].path, body);
        free(body);
    }
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

static void assert_same_answer(struct server *left, struct server *right, const char *selector)
{
    struct metrics_answer a = metrics_export(left, selector), b = metrics_export(right, selector);
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++) {
        assert_string_equal(a.series[i].labels, b.series[i].labels);
        assert_int_equal(a.series[i].count, b.series[i].count);
        assert_memory_equal(a.series[i].ts_ms, b.series[i].ts_ms, a.series[i].count * sizeof(int64_t));
        assert_memory_equal(a.series[i].bits, b.series[i].bits, a.series[i].count * sizeof(uint64_t));
    }
    metrics_answer_clear(&a);
    metrics_answer_clear(&b);
}

/* A second server on a copy of a snapshot has what the first had then, and is a server like any other from there on. */
static void test_snapshot_is_a_store(void **state)
{
    (void)state;
    struct server server, second;
    start(&server, NULL);
    int64_t t = now_ms() - 3 * 3600000;
    struct text text = {0};
    for (int i = 0; i < 200; i++)
        add_series(&text, "kept", 0, 20, i * 0.25, t + i * 15000);
    assert_import(&server, &text, 204, NULL);
    metrics_settle(&server);
    text.bytes = 0;
    add_series(&text, "kept", 0, 20, 1e300, t + 200 * 15000);
    assert_import(&server, &text, 204, NULL);

    char *body = metrics_ask(&server, "/api/v1/admin/tsdb/snapshot", "", 200);
    json_t *answer = json_loads(body, 0, NULL);
    const char *name = json_string_value(json_object_get(json_object_get(answer, "data"), "name"));
    assert_non_null(name);
    server_init(&second);
    second.arguments[0] = "--open";
    shell("cp -r '%s/tsdb/snapshots/%s' '%s/tsdb'", server.dir, name, second.dir);
    json_decref(answer);
    free(body);
    server_start(&second);
    assert_same_answer(&server, &second, "kept");
    assert_int_equal(metrics_sample_count(&second, "kept"), 20 * 201);

    for (int round = 1; round <= 3; round++) {
        text.bytes = 0;
        add_series(&text, "kept", 0, 20, round, t + 201 * 15000 + round);
        assert_import(&second, &text, 204, NULL);
        if (round == 2)
            server_kill(&second);
        else
            assert_int_equal(server_terminate(&second), 0);
        server_start(&second);
        assert_int_equal(metrics_sample_count(&second, "kept"), 20 * (201 + round));
    }
    assert_int_equal(metrics_sample_count(&server, "kept"), 20 * 201);

    /* In the place of a store that has gone on, beside its log: back to what was. */
    text.bytes = 0;
    add_series(&text, "kept", 0, 20, 7, t + 300 * 15000);
    add_series(&text, "later", 0, 20, 7, t + 300 * 15000);
    assert_import(&server, &text, 204, NULL);
    assert_int_equal(server_terminate(&server), 0);
    shell("mv '%s/tsdb' '%s/before' && cp -r '%s'/before/snapshots/* '%s/tsdb'", server.dir, server.dir, server.dir,
          server.dir);
    for (int round = 0; round < 2; round++) {
        server_start(&server);
        assert_int_equal(metrics_sample_count(&server, "kept"), 20 * (201 + round));
        assert_int_equal(metrics_sample_count(&server, "later"), 20 * round);
        assert_import(&server, &text, 204, NULL);
        server_kill(&server);
    }
    server_start(&server);

    body = metrics_ask(&server, "/api/v1/admin/tsdb/snapshot?skip_head=true", "", 200);
    free(body);
    free(text.data);
    server_clear(&second);
    server_clear(&server);
}

/* ---- Disks ---- */

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
    setenv("APIARY_WAL_SEGMENT_SIZE", "2MiB", 1);
    server_start(&server);
    unsetenv("APIARY_WAL_SEGMENT_SIZE");

    assert_int_equal(metrics_import_status(&server, "first 1\n"), 204); /* a segment of the log is there from now on */
    int ballast = open(ballast_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    static char block[65536];
    memset(block, 1, sizeof(block));
    while (write(ballast, block, sizeof(block)) > 0)
        ;
    close(ballast);

    /* Numbers of full entropy, so that the log fills up; what was acknowledged is remembered. */
    enum { SERIES = 500, REQUESTS = 2000 };
    int64_t t = now_ms() - 3600000;
    unsigned seed = 1, acknowledged = 0;
    long status = 204;
    struct text text = {0};
    for (unsigned i = 0; i < REQUESTS && status == 204; i++) {
        text.bytes = 0;
        for (int n = 0; n < SERIES; n++)
            add(&text, "full{n=\"%d\"} %.17g %lld\n", n, rand_r(&seed) / 7.0, (long long)(t + i * 1000));
        struct reply reply = metrics_import(&server, text.data, text.bytes);
        status = reply.status;
        if (status == 503)
            assert_non_null(strcasestr(reply.headers, "Retry-After:"));
        reply_clear(&reply);
        acknowledged += status == 204;
    }
    assert_int_equal(status, 503);
    assert_true(acknowledged > 0);
    size_t there = metrics_sample_count(&server, "full"); /* reading goes on */
    assert_true(there >= (size_t)acknowledged * SERIES);

    /* Space returns, and so does the server, by itself. */
    assert_int_equal(unlink(ballast_path), 0);
    long deadline_ms = 0;
    while (metrics_import_status(&server, "space 1\n") != 204)
        assert_true(server_wait_more(&deadline_ms));
    /* What was refused may be sent again and is there once. */
    assert_import(&server, &text, 204, NULL);
    assert_int_equal(metrics_sample_count(&server, "full"), (size_t)(acknowledged + 1) * SERIES);
    metrics_settle(&server);
    server_kill(&server);
    server_start(&server);
    assert_int_equal(metrics_sample_count(&server, "full"), (size_t)(acknowledged + 1) * SERIES);
    free(text.data);
    server_clear(&server);
    assert_int_equal(umount(dir), 0);
    rmdir(dir);
}

static char *run_tsdb(const struct server *server, const char *verb, const char *argument, int want_exit_code)
{
    const char *arguments[8] = {"tsdb", verb};
    size_t count = 2;
    if (argument)
        arguments[count++] = argument;
    arguments[count++] = "--json";
    arguments[count++] = "--data";
    arguments[count] = server->dir;
    char *output;
    int exit_code = apiary_run(arguments, &output);
    if (exit_code != want_exit_code)
        fail_msg("apiary tsdb %s: exit code %d, should be %d: %s", verb, exit_code, want_exit_code, output);
    return output;
}

static void flip_byte(const char *path, off_t offset)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    char byte;
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

/* The first file below tsdb/ that is called so; both may have a *. */
static char *find_file(const struct server *server, const char *folder, const char *name)
{
    char pattern[512];
    snprintf(pattern, sizeof(pattern), "%s/tsdb/%s/%s", server->dir, folder, name);
    glob_t found;
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 1);
    char *path = strdup(found.gl_pathv[0]);
    globfree(&found);
    return path;
}

static void assert_does_not_start(const struct server *server)
{
    const char *arguments[] = {"serve", "--open", "--listen", "127.0.0.1:0", "--data", server->dir, NULL};
    assert_int_equal(apiary_run(arguments, NULL), 1);
}

static off_t file_bytes(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_size;
}

/* The tools say what is there, and find what is damaged; the server serves the rest. */
static void test_tools_and_damage(void **state)
{
    (void)state;
    struct server server;
    start(&server, NULL);
    int64_t t = now_ms() - 3600000;
    t -= t % 7200000; /* so that all of it is in one block */
    struct text text = {0};
    for (int i = 0; i < 300; i++)
        add_series(&text, "blocky", 0, 10, i * 0.5, t + i * 1000);
    assert_import(&server, &text, 204, NULL);
    metrics_settle(&server);

    char *stats_text = run_tsdb(&server, "stats", NULL, 0); /* beside the running server */
    json_t *stats = json_loads(stats_text, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(stats, "block_count")), 1);
    assert_int_equal(json_integer_value(json_object_get(stats, "samples")), 3000);
    const char *id = json_string_value(json_object_get(json_array_get(json_object_get(stats, "blocks"), 0), "id"));
    char *inspect_text = run_tsdb(&server, "inspect", id, 0);
    json_t *inspected = json_loads(inspect_text, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(inspected, "series")), 10);
    json_t *name_use = json_object_get(json_object_get(inspected, "labels"), "n");
    assert_int_equal(json_integer_value(json_object_get(name_use, "values")), 10);
    json_int_t codec_samples = 0;
    const char *codec;
    json_t *use;
    json_object_foreach(json_object_get(inspected, "codecs"), codec, use) codec_samples +=
        json_integer_value(json_object_get(use, "samples"));
    assert_int_equal(codec_samples, 3000);
    assert_true(json_integer_value(json_object_get(json_object_get(inspected, "index"), "series")) > 0);
    json_decref(inspected);
    free(inspect_text);
    json_decref(stats);
    free(stats_text);
    free(run_tsdb(&server, "inspect", "01ARZ3NDEKTSV4RRFFQ69G5FAV", 1)); /* there is no such block */

    assert_int_equal(server_terminate(&server), 0);
    free(run_tsdb(&server, "verify", NULL, 0));
    char *chunks = find_file(&server, "blocks/*", "chunks*");
    flip_byte(chunks, file_bytes(chunks) - 20);
    char *verified = run_tsdb(&server, "verify", NULL, 1);
    assert_non_null(strstr(verified, "chunks"));
    assert_non_null(strstr(verified, "\"offset\":"));
    free(verified);
    server_start(&server); /* one chunk of one series is left out and counted */
    assert_true(metrics_sample_count(&server, "blocky") < 3000);
    assert_true(metrics_sample_count(&server, "blocky") > 0);
    assert_true(metrics_figure(&server, "chunks_damaged") > 0);
    assert_int_equal(server_terminate(&server), 0);
    flip_byte(chunks, file_bytes(chunks) - 20);
    free(run_tsdb(&server, "verify", NULL, 0));
    free(chunks);

    char *index = find_file(&server, "blocks/*", "index");
    flip_byte(index, file_bytes(index) / 2);
    free(run_tsdb(&server, "verify", NULL, 1));
    free(index);
    server_start(&server);
    assert_int_equal(metrics_figure(&server, "blocks_quarantined"), 1);
    assert_int_equal(metrics_sample_count(&server, "blocky"), 0);
    assert_int_equal(metrics_import_status(&server, "goes_on 1\n"), 204);
    assert_int_equal(server_terminate(&server), 0);

    /* The head's files: one byte of each turned over is found, and nobody goes on as if nothing was. */
    free(run_tsdb(&server, "verify", NULL, 0));
    static const char *const names[] = {"checkpoint", "*.series"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = find_file(&server, "head", names[i]);
        off_t at = file_bytes(path) / 2;
        flip_byte(path, at);
        free(run_tsdb(&server, "verify", NULL, 1));
        assert_does_not_start(&server);
        flip_byte(path, at);
        char aside[512];
        snprintf(aside, sizeof(aside), "%s/aside", server.dir);
        if (i > 0) { /* without a checkpoint it is a store without a head, which is how a snapshot begins */
            assert_int_equal(rename(path, aside), 0);
            free(run_tsdb(&server, "verify", NULL, 1));
            assert_does_not_start(&server);
            assert_int_equal(rename(aside, path), 0);
        }
        free(path);
    }
    free(run_tsdb(&server, "verify", NULL, 0));

    /* Without its head it is a store with blocks; what the log has is of the head that is gone. */
    shell("mv '%s/tsdb/head' '%s/head-aside' && mv '%s'/tsdb/quarantine/* '%s'/aside", server.dir, server.dir,
          server.dir, server.dir);
    for (int round = 1; round <= 2; round++) {
        server_start(&server);
        assert_int_equal(metrics_sample_count(&server, "goes_on"), round - 1);
        assert_int_equal(metrics_import_status(&server, "goes_on 1\n"), 204);
        server_kill(&server);
    }
    free(text.data);
    server_clear(&server);
}

/* ---- Who may ---- */

static void test_rights(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server);
    free(metrics_ask(&server, "/api/v1/export", "match[]=up", 401));
    free(metrics_ask(&server, "/api/v1/labels", NULL, 401));
    free(metrics_ask(&server, "/api/v1/admin/tsdb/snapshot", "", 401));
    free(metrics_ask(&server, "/api/apiary/v1/tsdb/settle", "", 401));
    static const char *const kinds[] = {"viewer", "secret"};
    for (int i = 0; i < 2; i++) {
        char *output;
        const char *arguments[] = {"key", "create", "--data", server.dir, "--kind", kinds[i], "--name", "test", NULL};
        assert_int_equal(apiary_run(arguments, &output), 0);
        output[strcspn(output, "\n")] = '\0';
        char header[256];
        snprintf(header, sizeof(header), "Content-Type: application/x-www-form-urlencoded\nAuthorization: Bearer %s",
                 output);
        long export_status = 401, snapshot_status = 401, deadline_ms = 0;
        /* The server looks at its keys once a second. */
        while (export_status == 401 && server_wait_more(&deadline_ms)) {
            struct reply reply = http_ask(&server, "/api/v1/export", header, "match[]=up", 10);
            export_status = reply.status;
            reply_clear(&reply);
        }
        struct reply reply = http_ask(&server, "/api/v1/admin/tsdb/snapshot", header, "", 0);
        snapshot_status = reply.status;
        reply_clear(&reply);
        assert_int_equal(export_status, i == 0 ? 200 : 403);
        assert_int_equal(snapshot_status, i == 0 ? 403 : 200);
        free(output);
    }
    server_clear(&server);
}

static int open_server(void **state)
{
    static struct server server;
    start(&server, NULL);
    *state = &server;
    return 0;
}

static int close_server(void **state)
{
    if (*state)
        server_clear(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documented_commands),
        cmocka_unit_test(test_cardinality_burst),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_decompression_bombs),
        cmocka_unit_test(test_clock_set_back),
        cmocka_unit_test(test_delete_and_restart),
        cmocka_unit_test(test_admin_errors),
        cmocka_unit_test(test_snapshot_is_a_store),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_tools_and_damage),
        cmocka_unit_test(test_rights),
    };
    return cmocka_run_group_tests(tests, open_server, close_server);
}
