/*
 * The scraper at work: real sockets, a server in the test that misbehaves by path, collectors that wait.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <zlib.h>

#include "test_scrape_fixture.h"

#include "base/rc.h"

enum { GUARD_S = 60, TARGETS_MAX = 64 };

/* ---- What the kernel sees ---- */

/* Of descriptors that were closed by then, and may have been another's. */
static _Atomic unsigned late_removals;

/* In place of the library's. */
int epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
    int result = (int)syscall(SYS_epoll_ctl, epoll_fd, operation, fd, event);
    late_removals += result < 0 && operation == EPOLL_CTL_DEL;
    return result;
}

/* ---- A server ---- */

struct server {
    int fd;
    uint16_t port;
    pthread_t thread;
    _Atomic bool is_ending;
    _Atomic unsigned connections;
    char last_request[4096]; /* of /headers; under mutex */
    pthread_mutex_t mutex;
    pthread_t workers[4096];
    _Atomic unsigned worker_count;
};

struct connection {
    struct server *server;
    int fd;
};

static bool say(int fd, const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes) {
        ssize_t sent = send(fd, at, bytes, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
        bytes -= (size_t)sent;
    }
    return true;
}

static bool say_all(int fd, const char *text)
{
    return say(fd, text, strlen(text));
}

static bool say_page(int fd, const char *type, const char *more, const void *body, size_t bytes)
{
    char head[512];
    int used = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%sContent-Length: %zu\r\n\r\n",
                        type, more, bytes);
    return say(fd, head, (size_t)used) && say(fd, body, bytes);
}

static bool say_text(int fd, const char *body)
{
    return say_page(fd, "text/plain", "", body, strlen(body));
}

/* `body` again and again, until the other side has enough. */
static bool say_for_ever(struct server *server, int fd, const char *body, useconds_t pause_us)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";
    bool is_on = say(fd, head, strlen(head));
    while (is_on && !server->is_ending) {
        is_on = say(fd, body, strlen(body));
        if (pause_us)
            usleep(pause_us);
    }
    return false;
}

/* Sixty-four megabytes of line feeds, made once. */
static struct ap_buf bomb;

static void make_bomb(void)
{
    enum { MEGABYTES = 64, ROOM_BYTES = 1 << 16 };
    static char line_feeds[1 << 20];
    memset(line_feeds, '\n', sizeof(line_feeds));
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    for (int i = 0; i < MEGABYTES; i++) {
        stream.next_in = (Bytef *)line_feeds;
        stream.avail_in = sizeof(line_feeds);
        do {
            stream.next_out = (Bytef *)ap_buf_reserve(&bomb, ROOM_BYTES);
            stream.avail_out = ROOM_BYTES;
            assert_int_not_equal(deflate(&stream, i == MEGABYTES - 1 ? Z_FINISH : Z_NO_FLUSH), Z_STREAM_ERROR);
            bomb.bytes += ROOM_BYTES - stream.avail_out;
        } while (stream.avail_out == 0);
    }
    deflateEnd(&stream);
}

static bool say_gzip(int fd, const char *body)
{
    char packed[1024];
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)body;
    stream.avail_in = (uInt)strlen(body);
    stream.next_out = (Bytef *)packed;
    stream.avail_out = sizeof(packed);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    return say_page(fd, "text/plain", "Content-Encoding: gzip\r\n", packed, stream.total_out);
}

static bool say_status(int fd, const char *status, const char *more)
{
    char text[256];
    int used = snprintf(text, sizeof(text), "HTTP/1.1 %s\r\n%sContent-Length: 0\r\n\r\n", status, more);
    return say(fd, text, (size_t)used);
}

/* False: close. */
static bool serve(struct server *server, int fd, const char *path, const char *request)
{
    if (strcmp(path, "/good") == 0)
        return say_text(fd, "# TYPE a gauge\na 1\nb{x=\"y\"} 2\n");
    if (strcmp(path, "/headers") == 0) {
        pthread_mutex_lock(&server->mutex);
        snprintf(server->last_request, sizeof(server->last_request), "%s", request);
        pthread_mutex_unlock(&server->mutex);
        return say_text(fd, "a 1\n");
    }
    if (strcmp(path, "/gzip") == 0)
        return say_gzip(fd, "a 1\n");
    if (strcmp(path, "/bomb") == 0)
        return say_page(fd, "text/plain", "Content-Encoding: gzip\r\n", bomb.data, bomb.bytes);
    if (strcmp(path, "/endless") == 0)
        return say_for_ever(server, fd, "a 1\n", 1000);
    if (strcmp(path, "/drip") == 0)
        return say_for_ever(server, fd, "a", 100000);
    if (strcmp(path, "/flood") == 0)
        return say_for_ever(server, fd, "abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz 1234567890\n", 0);
    if (strcmp(path, "/silent") == 0) {
        while (!server->is_ending)
            usleep(10000);
        return false;
    }
    if (strcmp(path, "/loop") == 0)
        return say_status(fd, "302 Found", "Location: /loop\r\n");
    if (strncmp(path, "/moved", 6) == 0)
        return say_status(fd, "302 Found", "Location: /good\r\n");
    if (strcmp(path, "/broken") == 0)
        return say_status(fd, "500 Internal Server Error", "");
    if (strcmp(path, "/untyped") == 0)
        return say_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n");
    if (strcmp(path, "/utf8") == 0)
        return say_text(fd, "a{x=\"\xff\"} 1\n");
    if (strcmp(path, "/cut") == 0) {
        (void)say_all(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 400\r\n\r\na 1\n");
        return false;
    }
    return say_status(fd, "404 Not Found", "");
}

static void *connection_main(void *context)
{
    struct connection *connection = context;
    char request[4096];
    size_t used = 0;
    for (;;) {
        ssize_t got = TEMP_FAILURE_RETRY(recv(connection->fd, request + used, sizeof(request) - 1 - used, 0));
        if (got <= 0)
            break;
        used += (size_t)got;
        request[used] = '\0';
        if (!strstr(request, "\r\n\r\n"))
            continue;
        char path[128] = "";
        (void)sscanf(request, "GET %127s", path);
        used = 0;
        if (!serve(connection->server, connection->fd, path, request))
            break;
    }
    close(connection->fd);
    free(connection);
    return NULL;
}

static void *server_main(void *context)
{
    struct server *server = context;
    while (!server->is_ending) {
        int fd = accept(server->fd, NULL, NULL);
        if (fd < 0)
            break;
        server->connections++;
        struct timeval guard = {.tv_sec = GUARD_S};
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &guard, sizeof(guard));
        struct connection *connection = ap_new0(struct connection);
        *connection = (struct connection){server, fd};
        assert_int_equal(pthread_create(&server->workers[server->worker_count], NULL, connection_main, connection), 0);
        server->worker_count++;
    }
    return NULL;
}

static void server_start(struct server *server)
{
    memset(server, 0, sizeof(*server));
    pthread_mutex_init(&server->mutex, NULL);
    server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(server->fd, 64), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &bytes), 0);
    server->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, server_main, server), 0);
}

/* After the scraper: its connections are closed then. */
static void server_stop(struct server *server)
{
    server->is_ending = true;
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    for (unsigned i = 0; i < server->worker_count; i++)
        pthread_join(server->workers[i], NULL);
    close(server->fd);
    pthread_mutex_destroy(&server->mutex);
}

/* ---- The fixture ---- */

struct fixture {
    struct store store;
    struct server server;
    struct scraper *scraper;
    struct job job;
    struct job copies[8]; /* others, of the case at work */
    size_t copy_count;
    struct scrape_target targets[TARGETS_MAX];
    struct ap_buf labels[TARGETS_MAX];
    char urls[TARGETS_MAX][96];
    size_t count;
    _Atomic unsigned waiting_collectors;
    _Atomic bool may_go_on;
};

static void ignore_trouble(const struct ap_err *err, void *context)
{
    (void)err;
    (void)context;
}

static enum ap_rc collect_good(void *context, const struct collector_request *request, struct ap_buf *out,
                               struct ap_err *err)
{
    (void)context;
    (void)err;
    ap_buf_printf(out, "probe{target=\"%.*s\",module=\"%.*s\"} 1\n", AP_SLICE_ARG(request->target),
                  AP_SLICE_ARG(request->params[0].value));
    return AP_OK;
}

static enum ap_rc collect_bad(void *context, const struct collector_request *request, struct ap_buf *out,
                              struct ap_err *err)
{
    (void)context;
    (void)request;
    ap_buf_add_cstr(out, "half 1\n");
    return ap_fail(err, AP_E_BUSY, "there is no such machine");
}

/* As one whose database is away: down, and a figure of its own says so. */
static enum ap_rc collect_telling(void *context, const struct collector_request *request, struct ap_buf *out,
                                  struct ap_err *err)
{
    struct fixture *fx = context;
    (void)request;
    ap_buf_printf(out, "db_up %d\n", fx->may_go_on);
    if (fx->may_go_on)
        ap_buf_add_cstr(out, "db_size 5\n");
    return fx->may_go_on ? AP_OK : ap_fail(err, AP_E_IO, "the database is away");
}

static enum ap_rc collect_waiting(void *context, const struct collector_request *request, struct ap_buf *out,
                                  struct ap_err *err)
{
    struct fixture *fx = context;
    (void)request;
    (void)err;
    fx->waiting_collectors++;
    while (!fx->may_go_on)
        usleep(1000);
    ap_buf_add_cstr(out, "waited 1\n");
    return AP_OK;
}

static struct collector collectors[4];

static void open_scraper(struct fixture *fx)
{
    collectors[0] = (struct collector){"good", collect_good, fx};
    collectors[1] = (struct collector){"bad", collect_bad, fx};
    collectors[2] = (struct collector){"waiting", collect_waiting, fx};
    collectors[3] = (struct collector){"telling", collect_telling, fx, .is_telling_of_failure = true};
    struct scraper_options options = {
        .tsdb = fx->store.tsdb,
        .append = tsdb_append,
        .clock = &fx->store.clock,
        .collectors = collectors,
        .collector_count = AP_ARRAY_COUNT(collectors),
        .trouble = ignore_trouble,
    };
    struct ap_err err = {0};
    if (scraper_open(&options, &fx->scraper, &err) != AP_OK)
        fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    struct fixture *fx = ap_new0(struct fixture);
    late_removals = 0;
    fx->job = job_default("j");
    fx->job.shown.interval_ms = 200;
    fx->job.shown.timeout_ms = 5000; /* longer than a job may have, so that a busy machine makes nobody late */
    store_open(&fx->store);
    server_start(&fx->server);
    open_scraper(fx);
    *state = fx;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fx = *state;
    fx->may_go_on = true;
    fx->server.is_ending = true;
    scraper_close(fx->scraper);
    server_stop(&fx->server);
    store_close(&fx->store);
    store_remove(&fx->store);
    assert_int_equal(late_removals, 0);
    for (size_t i = 0; i < TARGETS_MAX; i++)
        ap_buf_clear(&fx->labels[i]);
    free(fx);
    return 0;
}

/* Another job; it lives as long as the scraper, which may hold it. */
static struct job *copy_job(struct fixture *fx)
{
    assert_true(fx->copy_count < AP_ARRAY_COUNT(fx->copies));
    fx->copies[fx->copy_count] = fx->job;
    return &fx->copies[fx->copy_count++];
}

static struct scrape_target *add_target(struct fixture *fx, const struct scrape_job *job, const char *path)
{
    size_t index = fx->count++;
    snprintf(fx->urls[index], sizeof(fx->urls[index]), "http://127.0.0.1:%u%s", fx->server.port, path);
    struct label labels[] = {{ap_slice_cstr("instance"), ap_slice_cstr(path)},
                             {ap_slice_cstr("job"), ap_slice_cstr(job->name)}};
    struct ap_err err;
    assert_int_equal(labels_encode(labels, 2, &fx->labels[index], &err), AP_OK);
    static const struct label params[] = {{AP_SLICE_LITERAL("module"), AP_SLICE_LITERAL("m")}};
    fx->targets[index] = (struct scrape_target){
        .job = job,
        .url = fx->urls[index],
        .labels = ap_buf_slice(&fx->labels[index]),
        .discovered = {"", 0},
        .address = ap_slice_cstr("addr"),
        .params = params,
        .param_count = 1,
        .interval_ms = job->interval_ms,
        .timeout_ms = job->timeout_ms,
        .hash = index * 37,
    };
    return &fx->targets[index];
}

static void sync_all(struct fixture *fx, size_t first, size_t count)
{
    const struct scrape_target *told[TARGETS_MAX];
    for (size_t i = 0; i < count; i++)
        told[i] = &fx->targets[first + i];
    scraper_sync(fx->scraper, "j", told, count);
}

struct looking {
    const char *url;
    enum scrape_health health;
    char last_error[AP_ERR_TEXT_BYTES];
    int64_t last_scrape_ms;
    size_t count;
};

static void look(const struct scraper_target_view *view, void *context)
{
    struct looking *looking = context;
    looking->count++;
    if (strcmp(view->target->url, looking->url) != 0)
        return;
    looking->health = view->health;
    looking->last_scrape_ms = view->last_scrape_ms;
    snprintf(looking->last_error, sizeof(looking->last_error), "%s", view->last_error);
}

static struct looking look_at(struct fixture *fx, const char *url)
{
    struct looking looking = {.url = url};
    scraper_each_target(fx->scraper, look, &looking);
    return looking;
}

#define WAIT_FOR(condition)                                                                                            \
    do {                                                                                                               \
        int64_t deadline_us = ap_clock_monotonic_us(&ap_clock_system) + GUARD_S * AP_US_PER_S;                         \
        while (!(condition)) {                                                                                         \
            assert_true(ap_clock_monotonic_us(&ap_clock_system) < deadline_us);                                        \
            usleep(2000);                                                                                              \
        }                                                                                                              \
    } while (0)

static struct looking wait_scraped(struct fixture *fx, const struct scrape_target *target)
{
    WAIT_FOR(look_at(fx, target->url).health != SCRAPE_HEALTH_UNKNOWN);
    return look_at(fx, target->url);
}

/* On a machine that is busy a scrape or two may be too late. */
static void wait_up(struct fixture *fx, const struct scrape_target *target)
{
    WAIT_FOR(look_at(fx, target->url).health == SCRAPE_HEALTH_UP);
}

static void wait_error(struct fixture *fx, const struct scrape_target *target, const char *want)
{
    int64_t deadline_us = ap_clock_monotonic_us(&ap_clock_system) + GUARD_S * AP_US_PER_S;
    struct looking looking = wait_scraped(fx, target);
    for (; strcmp(looking.last_error, want) != 0; looking = look_at(fx, target->url)) {
        if (ap_clock_monotonic_us(&ap_clock_system) > deadline_us)
            assert_string_equal(looking.last_error, want);
        usleep(2000);
    }
    assert_int_equal(looking.health, SCRAPE_HEALTH_DOWN);
}

static struct scraper_stats stats_of(struct fixture *fx)
{
    struct scraper_stats stats;
    scraper_stats_get(fx->scraper, &stats);
    return stats;
}

static uint64_t scrapes(struct fixture *fx)
{
    return stats_of(fx).scrapes;
}

/* ---- The cases ---- */

static void test_good(void **state)
{
    struct fixture *fx = *state;
    struct scrape_target *target = add_target(fx, &fx->job.shown, "/good");
    sync_all(fx, 0, 1);
    wait_up(fx, target);
    WAIT_FOR(scrapes(fx) >= 4);
    unsigned connections = fx->server.connections; /* before the failures that may have led to more */
    struct scraper_stats stats = stats_of(fx);
    assert_int_equal(stats.target_count, 1);
    assert_true(stats.up_count <= 1);
    assert_int_equal(stats.samples_scraped, (stats.scrapes - stats.failures) * 2);
    assert_true(connections <= 1 + stats.failures); /* kept, but after a failure */
    const char *text = store_text(&fx->store, "b", 0);
    assert_non_null(strstr(text, "b{instance=\"/good\", job=\"j\", x=\"y\"} 2@"));
}

static void test_request(void **state)
{
    struct fixture *fx = *state;
    static const struct label headers[] = {{AP_SLICE_LITERAL("X-Own"), AP_SLICE_LITERAL("value")}};
    fx->job.shown.http.credentials = "secret";
    fx->job.shown.http.authorization_type = "Bearer";
    fx->job.shown.http.headers = headers;
    fx->job.shown.http.header_count = 1;
    fx->job.shown.is_utf8_names = true;
    struct scrape_target *target = add_target(fx, &fx->job.shown, "/headers");
    sync_all(fx, 0, 1);
    wait_up(fx, target);
    pthread_mutex_lock(&fx->server.mutex);
    const char *request = fx->server.last_request;
    assert_non_null(strstr(request, "\r\nAccept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
                                    "application/openmetrics-text;version=0.0.1;q=0.5,"
                                    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
                                    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n"));
    assert_non_null(strstr(request, "\r\nAccept-Encoding: gzip\r\n"));
    assert_non_null(strstr(request, "\r\nX-Prometheus-Scrape-Timeout-Seconds: 5\r\n"));
    assert_non_null(strstr(request, "\r\nUser-Agent: Apiary/"));
    assert_non_null(strstr(request, "\r\nAuthorization: Bearer secret\r\n"));
    assert_non_null(strstr(request, "\r\nX-Own: value\r\n"));
    pthread_mutex_unlock(&fx->server.mutex);
}

static void test_secrets_are_read_anew(void **state)
{
    struct fixture *fx = *state;
    char path[96];
    snprintf(path, sizeof(path), "%s/secret", fx->store.root);
    fx->job.shown.http.basic_user = "u";
    fx->job.shown.http.basic_password_file = path;
    struct scrape_target *target = add_target(fx, &fx->job.shown, "/headers");
    sync_all(fx, 0, 1);
    char want[256];
    snprintf(want, sizeof(want), "Get \"%s\": unable to read basic auth password: open %s: No such file or directory",
             target->url, path);
    wait_error(fx, target, want);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("p\n", file);
    fclose(file);
    WAIT_FOR(look_at(fx, target->url).health == SCRAPE_HEALTH_UP);
    pthread_mutex_lock(&fx->server.mutex);
    assert_non_null(strstr(fx->server.last_request, "\r\nAuthorization: Basic dTpw\r\n"));
    pthread_mutex_unlock(&fx->server.mutex);
}

/* All at the same time, and the good one keeps its pace. */
static void test_hostile_targets(void **state)
{
    struct fixture *fx = *state;
    struct job *job = copy_job(fx);
    struct job *hasty = copy_job(fx);
    hasty->shown.timeout_ms = 200;
    struct job *limited = copy_job(fx);
    limited->shown.limits.body_bytes_max = 1 << 20;
    struct job *strict = copy_job(fx);
    strict->shown.http.is_following_redirects = false;
    const struct {
        const char *path;
        const struct scrape_job *job;
        const char *error; /* behind `Get "URL": ` where it begins with a colon */
    } cases[] = {
        {"/endless", &hasty->shown, "context deadline exceeded"},
        {"/drip", &hasty->shown, "context deadline exceeded"},
        {"/silent", &hasty->shown, ": context deadline exceeded"},
        {"/flood", &limited->shown, "body size limit exceeded"},
        {"/bomb", &limited->shown, "body size limit exceeded"},
        {"/loop", &job->shown, ": stopped after 10 redirects"},
        {"/moved", &strict->shown, "server returned HTTP status 302 Found"},
        {"/broken", &job->shown, "server returned HTTP status 500 Internal Server Error"},
        {"/missing", &job->shown, "server returned HTTP status 404 Not Found"},
        {"/untyped", &job->shown,
         "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target"},
        {"/utf8", &job->shown, NULL},
        {"/cut", &job->shown, "unexpected EOF"},
    };
    make_bomb();
    struct scrape_target *good = add_target(fx, &job->shown, "/good");
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++)
        (void)add_target(fx, cases[i].job, cases[i].path);
    struct scrape_target *moved = add_target(fx, &job->shown, "/moved/2");
    struct scrape_target *gzip = add_target(fx, &job->shown, "/gzip");
    sync_all(fx, 0, fx->count);
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        const struct scrape_target *target = &fx->targets[1 + i];
        bool has_url = cases[i].error && cases[i].error[0] == ':';
        char want[256];
        snprintf(want, sizeof(want), "%s%s%s%s", has_url ? "Get \"" : "", has_url ? target->url : "",
                 has_url ? "\"" : "", cases[i].error ? cases[i].error : "");
        if (cases[i].error)
            wait_error(fx, target, want);
        else
            assert_int_equal(wait_scraped(fx, target).health, SCRAPE_HEALTH_DOWN);
    }
    wait_up(fx, good);
    wait_up(fx, moved);
    wait_up(fx, gzip);
    ap_buf_clear(&bomb);
}

static void test_nobody_there(void **state)
{
    struct fixture *fx = *state;
    struct scrape_target *target = add_target(fx, &fx->job.shown, "/good");
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* bound and not listening */
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    snprintf(fx->urls[0], sizeof(fx->urls[0]), "http://u:secret@127.0.0.1:%u/", ntohs(address.sin_port));
    sync_all(fx, 0, 1);
    char want[256];
    snprintf(want, sizeof(want), "Get \"http://u:xxxxx@127.0.0.1:%u/\": dial tcp: connect: connection refused",
             ntohs(address.sin_port));
    wait_error(fx, target, want);
    close(fd);
}

/* A socket whose connections nobody accepts, and that has as many waiting as it takes. */
static int listen_without_room(uint16_t *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, bytes), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    int first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(first, (struct sockaddr *)&address, bytes), 0);
    close(first); /* still in the queue */
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void test_never_connected(void **state)
{
    struct fixture *fx = *state;
    fx->job.shown.timeout_ms = 100;
    struct scrape_target *target = add_target(fx, &fx->job.shown, "/good");
    uint16_t port;
    AP_AUTO_FD int fd = listen_without_room(&port);
    assert_true(fd >= 0);
    snprintf(fx->urls[0], sizeof(fx->urls[0]), "http://127.0.0.1:%u/", port);
    sync_all(fx, 0, 1);
    char want[256];
    snprintf(want, sizeof(want), "Get \"%s\": context deadline exceeded", target->url);
    wait_error(fx, target, want);
    uint64_t before = scrapes(fx);
    WAIT_FOR(scrapes(fx) >= before + 2);
}

static void test_target_goes(void **state)
{
    struct fixture *fx = *state;
    (void)add_target(fx, &fx->job.shown, "/good");
    (void)add_target(fx, &fx->job.shown, "/gzip");
    sync_all(fx, 0, 2);
    WAIT_FOR(strstr(store_text(&fx->store, "up{instance=\"/gzip\"}", 0), "1@"));
    sync_all(fx, 0, 1);
    assert_int_equal(look_at(fx, "").count, 1);
    WAIT_FOR(strstr(store_text(&fx->store, "up{instance=\"/gzip\"}", 0), "stale"));
    assert_non_null(strstr(store_text(&fx->store, "a{instance=\"/gzip\"}", 0), "stale"));
    assert_null(strstr(store_text(&fx->store, "a{instance=\"/good\"}", 0), "stale"));
    sync_all(fx, 0, 0);
    assert_int_equal(look_at(fx, "").count, 0);
}

static void test_stopping_leaves_series_alone(void **state)
{
    struct fixture *fx = *state;
    struct scrape_target *target = add_target(fx, &fx->job.shown, "/good");
    sync_all(fx, 0, 1);
    (void)wait_scraped(fx, target);
    scraper_close(fx->scraper);
    assert_null(strstr(store_text(&fx->store, "{job=\"j\"}", 0), "stale"));
    open_scraper(fx);
    sync_all(fx, 0, 1);
    (void)wait_scraped(fx, target);
    assert_null(strstr(store_text(&fx->store, "{job=\"j\"}", 0), "stale"));
}

static void test_collectors(void **state)
{
    struct fixture *fx = *state;
    struct job *good = copy_job(fx);
    struct job *bad = copy_job(fx);
    struct job *missing = copy_job(fx);
    good->shown.collector = "good";
    bad->shown.collector = "bad";
    missing->shown.collector = "missing";
    (void)add_target(fx, &good->shown, "/1");
    (void)add_target(fx, &bad->shown, "/2");
    (void)add_target(fx, &missing->shown, "/3");
    sync_all(fx, 0, 3);
    wait_up(fx, &fx->targets[0]);
    wait_error(fx, &fx->targets[1], "there is no such machine");
    wait_error(fx, &fx->targets[2], "there is no collector \"missing\" in this program");
    assert_non_null(strstr(store_text(&fx->store, "probe", 0),
                           "probe{instance=\"/1\", job=\"j\", module=\"m\", target=\"addr\"} 1@"));
    assert_string_equal(store_text(&fx->store, "half", 0), "");
    int64_t before_ms = look_at(fx, fx->targets[1].url).last_scrape_ms;
    WAIT_FOR(look_at(fx, fx->targets[1].url).last_scrape_ms > before_ms); /* asked again, whatever it says */
}

/* Up, then down: its own figure goes on beside `up`, all others end. */
static void test_collectors_that_tell_of_failure(void **state)
{
    struct fixture *fx = *state;
    struct job *telling = copy_job(fx);
    telling->shown.collector = "telling";
    fx->may_go_on = true;
    struct scrape_target *target = add_target(fx, &telling->shown, "/1");
    sync_all(fx, 0, 1);
    wait_up(fx, target);
    fx->may_go_on = false;
    WAIT_FOR(look_at(fx, target->url).health == SCRAPE_HEALTH_DOWN);
    assert_string_equal(look_at(fx, target->url).last_error, "the database is away");
    const char *text = store_text(&fx->store, "db_up", 0);
    assert_true(strstr(text, " 0@") != NULL && strstr(text, "stale") == NULL);
    assert_non_null(strstr(store_text(&fx->store, "db_size", 0), "stale"));
    assert_non_null(strstr(store_text(&fx->store, "up", 0), " 0@"));
}

/* Those that wait keep nobody else waiting; what they say too late is not used. */
static void test_collectors_that_wait(void **state)
{
    struct fixture *fx = *state;
    struct job *waiting = copy_job(fx);
    waiting->shown.collector = "waiting";
    waiting->shown.timeout_ms = 200;
    char paths[20][16];
    for (size_t i = 0; i < AP_ARRAY_COUNT(paths); i++) {
        snprintf(paths[i], sizeof(paths[i]), "/w%zu", i);
        (void)add_target(fx, &waiting->shown, paths[i]);
    }
    struct scrape_target *good = add_target(fx, &fx->job.shown, "/good");
    sync_all(fx, 0, fx->count);
    WAIT_FOR(fx->waiting_collectors == AP_ARRAY_COUNT(paths)); /* all at the same time */
    int64_t late_us = ap_clock_monotonic_us(&ap_clock_system) + waiting->shown.timeout_ms * AP_US_PER_MS;
    uint64_t before = scrapes(fx);
    WAIT_FOR(scrapes(fx) >= before + 3);
    wait_up(fx, good);
    WAIT_FOR(ap_clock_monotonic_us(&ap_clock_system) > late_us && stats_of(fx).missed > 0);
    fx->may_go_on = true;                                                 /* nobody is in time any more */
    WAIT_FOR(look_at(fx, fx->targets[0].url).health == SCRAPE_HEALTH_UP); /* the next one is */
    WAIT_FOR(stats_of(fx).failures >= AP_ARRAY_COUNT(paths));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_good),
        CASE(test_request),
        CASE(test_secrets_are_read_anew),
        CASE(test_hostile_targets),
        CASE(test_nobody_there),
        CASE(test_never_connected),
        CASE(test_target_goes),
        CASE(test_stopping_leaves_series_alone),
        CASE(test_collectors),
        CASE(test_collectors_that_tell_of_failure),
        CASE(test_collectors_that_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
