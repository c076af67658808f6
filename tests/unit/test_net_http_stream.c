/* Bodies in pieces: what clients see of them that read, read slowly, leave, or do not know chunks. */
#include "net/http_server.h"

#include <pthread.h>
#include <zlib.h>
#include <zstd.h>

#include "test_net_socket.h"

/* ---- A server whose bodies are made by threads ---- */

enum { PIECE_BYTES = 64 * 1024, PRODUCERS_MAX = 8 };

struct fixture {
    struct http_server *server;
    uint16_t port;
    pthread_mutex_t mtx;
    pthread_cond_t cond;
    pthread_t producers[PRODUCERS_MAX];
    size_t producer_count;
    size_t ended_count;   /* producers that are done with their request */
    size_t broken_count;  /* of these, with a write that failed */
    size_t written_bytes; /* of all */
    bool is_waiting_gone; /* a producer asks whether its client is gone */
    bool is_held;         /* producers wait behind their first piece */
    struct ap_clock clock;
    _Atomic int64_t ahead_us; /* of the machine's clock */
};

struct production {
    struct fixture *fx;
    struct http_request *request;
    size_t piece_count;
    bool is_whole;
    bool is_endless;
    bool is_waiting_gone;
};

static void piece_fill(char *piece, size_t number)
{
    for (size_t i = 0; i < PIECE_BYTES; i += 16) {
        char line[32];
        snprintf(line, sizeof(line), "%07zu %07zu", number % 10000000, i);
        memcpy(piece + i, line, 15);
        piece[i + 15] = '\n';
    }
}

static void signal_locked(struct fixture *fx)
{
    pthread_cond_broadcast(&fx->cond);
    pthread_mutex_unlock(&fx->mtx);
}

static void wait_gone(struct production *production)
{
    struct fixture *fx = production->fx;
    pthread_mutex_lock(&fx->mtx);
    fx->is_waiting_gone = true;
    signal_locked(fx);
    while (!http_is_gone(production->request))
        (void)poll(NULL, 0, 1);
}

static void *produce(void *context)
{
    struct production production = *(struct production *)context; /* the request's arena would do as well */
    struct fixture *fx = production.fx;
    if (production.is_waiting_gone && production.piece_count == 0) {
        wait_gone(&production);
        http_reply_empty(production.request, 204);
        pthread_mutex_lock(&fx->mtx);
        fx->ended_count++;
        signal_locked(fx);
        return NULL;
    }
    static const struct http_field field = {"X-Made", "in pieces"};
    struct http_stream *stream = http_reply_stream(
        production.request,
        &(struct http_reply){.status = 200, .content_type = "text/plain", .fields = &field, .field_count = 1});
    char *piece = ap_arena_try_alloc(http_arena(production.request), PIECE_BYTES);
    enum ap_rc rc = AP_OK;
    struct ap_err err;
    for (size_t i = 0; rc == AP_OK && (i < production.piece_count || production.is_endless); i++) {
        piece_fill(piece, i);
        rc = http_stream_write(stream, ap_slice(piece, PIECE_BYTES), &err);
        pthread_mutex_lock(&fx->mtx);
        fx->written_bytes += rc == AP_OK ? PIECE_BYTES : 0;
        pthread_cond_broadcast(&fx->cond);
        while (fx->is_held)
            pthread_cond_wait(&fx->cond, &fx->mtx);
        pthread_mutex_unlock(&fx->mtx);
    }
    if (production.is_waiting_gone)
        wait_gone(&production);
    memset(piece, 'x', PIECE_BYTES); /* the arena is there as long as the stream */
    bool is_whole = rc == AP_OK && production.is_whole;
    pthread_mutex_lock(&fx->mtx);
    fx->broken_count += rc != AP_OK;
    pthread_mutex_unlock(&fx->mtx);
    http_stream_end(stream, is_whole);
    pthread_mutex_lock(&fx->mtx);
    fx->ended_count++;
    signal_locked(fx);
    return NULL;
}

/* /pieces/9, /broken/9, /endless, /gone: waits until its client has left, before or behind some pieces. */
static void handle(struct http_request *request, void *context)
{
    struct fixture *fx = context;
    struct ap_slice path = http_path(request);
    struct production *production = ap_arena_alloc0(http_arena(request), sizeof(*production));
    const char *number = memrchr(path.data, '/', path.bytes);
    *production = (struct production){
        .fx = fx,
        .request = request,
        .piece_count = strtoul(number + 1, NULL, 10),
        .is_whole = !ap_slice_starts_with(path, "/broken"),
        .is_endless = ap_slice_starts_with(path, "/endless"),
        .is_waiting_gone = ap_slice_starts_with(path, "/gone"),
    };
    http_suspend(request);
    assert_true(fx->producer_count < PRODUCERS_MAX);
    assert_int_equal(pthread_create(&fx->producers[fx->producer_count++], NULL, produce, production), 0);
}

static int64_t fixture_now_us(void *context)
{
    struct fixture *fx = context;
    return ap_clock_monotonic_us(&ap_clock_system) + fx->ahead_us;
}

static void fixture_open(struct fixture *fx, struct http_limits limits)
{
    *fx = (struct fixture){.clock = {fixture_now_us, fixture_now_us, fx}};
    struct http_listener listener = {.address = "127.0.0.1"};
    struct http_server_options options = {.listeners = &listener,
                                          .listener_count = 1,
                                          .thread_count = 1,
                                          .limits = limits,
                                          .clock = &fx->clock,
                                          .handle = handle,
                                          .context = fx};
    pthread_mutex_init(&fx->mtx, NULL);
    pthread_cond_init(&fx->cond, NULL);
    struct ap_err err = {0};
    if (http_server_open(&options, &fx->server, &err) != AP_OK)
        fail_msg("%s", err.text);
    fx->port = http_server_port(fx->server, 0);
}

static void fixture_close(struct fixture *fx)
{
    http_server_close(fx->server);
    for (size_t i = 0; i < fx->producer_count; i++)
        pthread_join(fx->producers[i], NULL);
    pthread_cond_destroy(&fx->cond);
    pthread_mutex_destroy(&fx->mtx);
}

#define WAIT(fx, condition)                                                                                            \
    do {                                                                                                               \
        pthread_mutex_lock(&(fx)->mtx);                                                                                \
        while (!(condition))                                                                                           \
            pthread_cond_wait(&(fx)->cond, &(fx)->mtx);                                                                \
        pthread_mutex_unlock(&(fx)->mtx);                                                                              \
    } while (0)

static const struct http_limits defaults = {0};

static void check_pieces(struct ap_slice body, size_t count)
{
    assert_int_equal(body.bytes, count * PIECE_BYTES);
    AP_AUTO_FREE char *piece = malloc(PIECE_BYTES);
    for (size_t i = 0; i < count; i++) {
        piece_fill(piece, i);
        assert_memory_equal(body.data + i * PIECE_BYTES, piece, PIECE_BYTES);
    }
}

static void ask(int fd, struct answer *answer, const char *method, const char *path, const char *fields)
{
    AP_AUTO_FREE char *text = ap_asprintf("%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, path, fields);
    client_text(fd, text);
    client_answer(fd, answer, strcmp(method, "HEAD") == 0);
}

/* ---- Clients that read ---- */

static void test_in_chunks_and_kept_alive(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, defaults);
    int fd = client_connect(fx.port);
    AUTO_ANSWER struct answer answer = {0};
    const size_t counts[] = {0, 1, 100};
    for (size_t i = 0; i < AP_ARRAY_COUNT(counts); i++) {
        char path[32];
        snprintf(path, sizeof(path), "/pieces/%zu", counts[i]);
        ask(fd, &answer, "GET", path, "");
        assert_int_equal(answer.status, 200);
        assert_string_equal(answer_field(&answer, "Transfer-Encoding"), "chunked");
        assert_string_equal(answer_field(&answer, "Content-Type"), "text/plain");
        assert_string_equal(answer_field(&answer, "X-Made"), "in pieces");
        assert_string_equal(answer_field(&answer, "Vary"), "Accept-Encoding");
        assert_null(answer_field(&answer, "Content-Length"));
        check_pieces(ap_buf_slice(&answer.body), counts[i]);
    }
    close(fd);
    struct http_stats stats;
    http_server_stats(fx.server, &stats);
    assert_int_equal(stats.connections_accepted_count, 1);
    assert_int_equal(stats.reply_bytes, 101 * PIECE_BYTES);
    fixture_close(&fx);
}

static void test_head(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, defaults);
    int fd = client_connect(fx.port);
    AUTO_ANSWER struct answer answer = {0};
    ask(fd, &answer, "HEAD", "/pieces/100", "");
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer_field(&answer, "X-Made"), "in pieces");
    assert_string_equal(answer_field(&answer, "Content-Length"), "6553600");
    ask(fd, &answer, "HEAD", "/broken/3", "");
    assert_int_equal(answer.status, 500);
    ask(fd, &answer, "GET", "/pieces/1", ""); /* nothing of a body came before */
    check_pieces(ap_buf_slice(&answer.body), 1);
    close(fd);
    fixture_close(&fx);
}

/* Everything that comes until the connection ends; *ret_is_reset: not by a proper end. */
static void read_all(int fd, struct ap_buf *all, bool *ret_is_reset)
{
    for (;;) {
        char *room = ap_buf_reserve(all, PIECE_BYTES);
        ssize_t got = recv(fd, room, PIECE_BYTES, 0);
        *ret_is_reset = got < 0 && errno == ECONNRESET;
        assert_true(got >= 0 || *ret_is_reset);
        if (got <= 0)
            return;
        all->bytes += (size_t)got;
    }
}

static struct ap_slice body_of(const struct ap_buf *all)
{
    const char *end = memmem(all->data, all->bytes, "\r\n\r\n", 4);
    assert_non_null(end);
    assert_null(memmem(all->data, (size_t)(end - all->data), "chunked", 7));
    return ap_slice(end + 4, all->bytes - (size_t)(end + 4 - all->data));
}

/* No chunks: up to the end of the connection, which must not be a proper one when something is missing. */
static void test_http_1_0(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, defaults);
    int fd = client_connect(fx.port);
    client_text(fd, "GET /pieces/20 HTTP/1.0\r\n\r\n");
    AP_AUTO_BUF struct ap_buf all = {0};
    bool is_reset;
    read_all(fd, &all, &is_reset);
    assert_false(is_reset);
    check_pieces(body_of(&all), 20);
    close(fd);

    fd = client_connect(fx.port);
    client_text(fd, "GET /broken/20 HTTP/1.0\r\n\r\n");
    ap_buf_reset(&all);
    read_all(fd, &all, &is_reset);
    assert_true(is_reset);
    close(fd);
    fixture_close(&fx);
}

static void test_broken(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, defaults);
    const char *const encodings[] = {"", "Accept-Encoding: gzip\r\n", "Accept-Encoding: zstd\r\n"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(encodings); i++) {
        int fd = client_connect(fx.port);
        AP_AUTO_FREE char *text = ap_asprintf("GET /broken/3 HTTP/1.1\r\nHost: x\r\n%s\r\n", encodings[i]);
        client_text(fd, text);
        AP_AUTO_BUF struct ap_buf all = {0};
        bool is_reset;
        read_all(fd, &all, &is_reset);
        assert_true(is_reset);
        assert_true(all.bytes < 5 || memcmp(all.data + all.bytes - 5, "0\r\n\r\n", 5) != 0);
        close(fd);
    }
    WAIT(&fx, fx.ended_count == 3);
    assert_int_equal(fx.broken_count, 0);
    fixture_close(&fx);
}

/* ---- Compressed ---- */

static struct ap_slice ungzipped(struct ap_slice body, size_t bytes_max)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)body.data, .avail_in = (uInt)body.bytes};
    char *plain = malloc(bytes_max);
    stream.next_out = (Bytef *)plain;
    stream.avail_out = (uInt)bytes_max;
    assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    size_t bytes = stream.total_out;
    assert_int_equal(stream.avail_in, 0);
    inflateEnd(&stream);
    return ap_slice(plain, bytes);
}

static struct ap_slice unzstded(struct ap_slice body, size_t bytes_max)
{
    char *plain = malloc(bytes_max);
    ZSTD_DCtx *context = ZSTD_createDCtx();
    ZSTD_inBuffer input = {body.data, body.bytes, 0};
    ZSTD_outBuffer output = {plain, bytes_max, 0};
    size_t left = 1;
    while (input.pos < input.size && left > 0) {
        left = ZSTD_decompressStream(context, &output, &input);
        assert_false(ZSTD_isError(left));
    }
    assert_int_equal(left, 0);
    assert_int_equal(input.pos, input.size);
    ZSTD_freeDCtx(context);
    return ap_slice(plain, output.pos);
}

static void test_compressed(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, defaults);
    int fd = client_connect(fx.port);
    AUTO_ANSWER struct answer answer = {0};
    enum { COUNT = 50 };
    ask(fd, &answer, "GET", "/pieces/50", "Accept-Encoding: gzip\r\n");
    assert_string_equal(answer_field(&answer, "Content-Encoding"), "gzip");
    assert_true(answer.body.bytes < COUNT * PIECE_BYTES / 3);
    struct ap_slice plain = ungzipped(ap_buf_slice(&answer.body), (COUNT + 1) * PIECE_BYTES);
    check_pieces(plain, COUNT);
    free((void *)(uintptr_t)plain.data);

    ask(fd, &answer, "GET", "/pieces/50", "Accept-Encoding: gzip, zstd\r\n");
    assert_string_equal(answer_field(&answer, "Content-Encoding"), "zstd");
    assert_true(answer.body.bytes < COUNT * PIECE_BYTES / 3);
    plain = unzstded(ap_buf_slice(&answer.body), (COUNT + 1) * PIECE_BYTES);
    check_pieces(plain, COUNT);
    free((void *)(uintptr_t)plain.data);
    close(fd);
    fixture_close(&fx);
}

/* ---- Clients that do not read, or leave ---- */

static int client_connect_narrow(uint16_t port)
{
    int fd = client_connect(port);
    int bytes = 256 * 1024;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    return fd;
}

/* The producer is as far ahead as the queue is long, and goes on when the client does. */
static void test_slow_reader(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, (struct http_limits){.stream_queue_bytes_max = 3 * PIECE_BYTES});
    enum { COUNT = 400 };
    int fd = client_connect_narrow(fx.port);
    client_text(fd, "GET /pieces/400 HTTP/1.1\r\nHost: x\r\n\r\n");
    WAIT(&fx, fx.written_bytes >= 4 * PIECE_BYTES);
    AUTO_ANSWER struct answer answer = {0};
    client_answer(fd, &answer, false);
    check_pieces(ap_buf_slice(&answer.body), COUNT);
    close(fd);
    WAIT(&fx, fx.ended_count == 1);
    assert_int_equal(fx.broken_count, 0);
    fixture_close(&fx);
}

/* A client that takes nothing is cut, and its producer told. */
static void test_unread(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, (struct http_limits){.stream_timeout_ms = 200, .stream_queue_bytes_max = 3 * PIECE_BYTES});
    int fd = client_connect_narrow(fx.port);
    client_text(fd, "GET /endless/ HTTP/1.1\r\nHost: x\r\n\r\n");
    WAIT(&fx, fx.ended_count == 1);
    assert_int_equal(fx.broken_count, 1);
    AP_AUTO_BUF struct ap_buf all = {0};
    bool is_reset;
    read_all(fd, &all, &is_reset);
    assert_true(is_reset);
    close(fd);
    struct http_stats stats;
    http_server_stats(fx.server, &stats);
    assert_int_equal(stats.connections_cut_count, 1);
    fixture_close(&fx);
}

/* Reads a chunked body up to so many bytes. */
static void read_chunks(int fd, struct ap_buf *body, size_t bytes)
{
    char line[64];
    while (body->bytes < bytes) {
        assert_true(client_line(fd, line, sizeof(line)));
        size_t chunk_bytes = strtoul(line, NULL, 16);
        char *room = ap_buf_reserve(body, chunk_bytes + 2);
        assert_true(client_read(fd, room, chunk_bytes + 2));
        body->bytes += chunk_bytes;
    }
}

/* As long as there is nothing to be sent, the client cannot be late. */
static void test_slow_producer_is_not_cut(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, defaults);
    fx.is_held = true;
    int fd = client_connect(fx.port), other = client_connect(fx.port);
    client_text(fd, "GET /pieces/3 HTTP/1.1\r\nHost: x\r\n\r\n");
    char line[512];
    do
        assert_true(client_line(fd, line, sizeof(line)));
    while (strcmp(line, "\r\n") != 0);
    AUTO_ANSWER struct answer answer = {0}, other_answer = {0};
    read_chunks(fd, &answer.body, PIECE_BYTES);
    ask(other, &other_answer, "GET", "/pieces/0", ""); /* the loop has parked the first one now */
    fx.ahead_us = 3600 * AP_US_PER_S;
    close(other);
    other = client_connect(fx.port);
    for (int i = 0; i < 2; i++) /* turns of the loop, which looks for deadlines in each */
        ask(other, &other_answer, "GET", "/pieces/0", "");
    pthread_mutex_lock(&fx.mtx);
    fx.is_held = false;
    signal_locked(&fx);
    answer_read_chunked(fd, &answer);
    check_pieces(ap_buf_slice(&answer.body), 3);
    close(fd);
    close(other);
    fixture_close(&fx);
}

static void test_reader_leaves(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, (struct http_limits){.stream_queue_bytes_max = 3 * PIECE_BYTES});
    int fd = client_connect_narrow(fx.port);
    client_text(fd, "GET /endless/ HTTP/1.1\r\nHost: x\r\nAccept-Encoding: zstd\r\n\r\n");
    WAIT(&fx, fx.written_bytes >= 4 * PIECE_BYTES);
    close(fd);
    WAIT(&fx, fx.ended_count == 1);
    assert_int_equal(fx.broken_count, 1);
    fixture_close(&fx);
}

/* A producer that asks, before and behind the first piece, and with bytes of a next request unread. */
static void test_gone(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, defaults);
    const char *const texts[] = {"GET /gone/ HTTP/1.1\r\nHost: x\r\n\r\n", "GET /gone/1 HTTP/1.1\r\nHost: x\r\n\r\n",
                                 "GET /gone/ HTTP/1.1\r\nHost: x\r\n\r\nGET /pieces/1 HTTP/1.1\r\nHost: x\r\n\r\n"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(texts); i++) {
        fx.is_waiting_gone = false;
        int fd = client_connect(fx.port);
        client_text(fd, texts[i]);
        WAIT(&fx, fx.is_waiting_gone);
        close(fd);
        WAIT(&fx, fx.ended_count > i); /* the next request, in the last one, may be answered as well */
    }
    fixture_close(&fx);
}

/* Closing the server ends what is being sent, read or not. */
static void test_close(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, (struct http_limits){.stream_queue_bytes_max = 3 * PIECE_BYTES});
    int unread = client_connect_narrow(fx.port), parked = client_connect(fx.port);
    client_text(unread, "GET /endless/ HTTP/1.1\r\nHost: x\r\n\r\n");
    WAIT(&fx, fx.written_bytes >= 4 * PIECE_BYTES);
    client_text(parked, "GET /gone/1 HTTP/1.1\r\nHost: x\r\n\r\n");
    WAIT(&fx, fx.is_waiting_gone);
    fixture_close(&fx);
    assert_int_equal(fx.ended_count, 2);
    close(unread);
    close(parked);
}

/* Draining lets it come to its end, and the connection is closed behind it. */
static void *drain(void *context)
{
    struct fixture *fx = context;
    assert_true(http_server_drain(fx->server, GUARD_MS));
    return NULL;
}

static void test_drain(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, (struct http_limits){.stream_queue_bytes_max = 3 * PIECE_BYTES});
    int fd = client_connect_narrow(fx.port);
    client_text(fd, "GET /pieces/100 HTTP/1.1\r\nHost: x\r\n\r\n");
    WAIT(&fx, fx.written_bytes >= 4 * PIECE_BYTES);
    pthread_t drainer;
    assert_int_equal(pthread_create(&drainer, NULL, drain, &fx), 0);
    AUTO_ANSWER struct answer answer = {0};
    client_answer(fd, &answer, false);
    check_pieces(ap_buf_slice(&answer.body), 100);
    assert_true(client_is_closed(fd));
    pthread_join(drainer, NULL);
    close(fd);
    fixture_close(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_chunks_and_kept_alive),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_http_1_0),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_compressed),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_unread),
        cmocka_unit_test(test_slow_producer_is_not_cut),
        cmocka_unit_test(test_reader_leaves),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
