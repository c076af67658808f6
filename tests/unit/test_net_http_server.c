#include "net/http_server.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <time.h>
#include <zlib.h>
#include <zstd.h>

#include "net/http_client.h"
#include "test_net_socket.h"

/* ---- A server that tells what it saw ---- */

struct fixture {
    struct http_server *server;
    uint16_t port;
    pthread_t replier;
    pthread_mutex_t mtx;
    pthread_cond_t cond;
    struct http_request *held[512]; /* suspended requests */
    size_t held_count;
    bool is_released; /* the replier may reply */
    bool is_ended;
    struct ap_clock clock; /* of a server whose time stands still */
    _Atomic int64_t now_us;
};

static void reply_text(struct http_request *request, unsigned status, const char *text)
{
    http_reply(request,
               &(struct http_reply){.status = status, .content_type = "text/plain", .body = ap_slice_cstr(text)});
}

/* What the accessors say, a line each. */
static void reply_look(struct http_request *request)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    struct ap_slice method = http_method_text(request), path = http_path(request), q = http_query(request, "q");
    struct ap_slice none = http_query(request, "none"), header = http_header(request, "x-SEEN");
    ap_buf_printf(&text, "%.*s %d\n%.*s\nq=%.*s %d\n%.*s\n%s %d %d", AP_SLICE_ARG(method), (int)http_method(request),
                  AP_SLICE_ARG(path), AP_SLICE_ARG(q), none.data != NULL, AP_SLICE_ARG(header), http_peer_text(request),
                  http_is_tls(request), (int)http_listener_index(request));
    http_reply(request, &(struct http_reply){.status = 200, .content_type = "text/plain", .body = ap_buf_slice(&text)});
}

static void reply_echo(struct http_request *request)
{
    struct ap_slice body = http_body(request);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(body.data[body.bytes + i], 0);
    char *copy = ap_arena_try_strndup(http_arena(request), body);
    http_reply(request, &(struct http_reply){.status = 200,
                                             .content_type = "application/octet-stream",
                                             .body = ap_slice(copy, body.bytes),
                                             .body_owner = HTTP_BODY_ARENA});
}

static void reply_fields(struct http_request *request)
{
    static const struct http_field fields[] = {{"X-Good", "yes"}, {"X-Bad", "a\r\nX-Smuggled: b"}};
    http_reply(request, &(struct http_reply){.status = 200, .fields = fields, .field_count = 2});
}

enum { LARGE_BYTES = 300000 };

static void reply_large(struct http_request *request)
{
    char *body = malloc(LARGE_BYTES);
    for (size_t i = 0; i < LARGE_BYTES; i++)
        body[i] = "{\"a\":1}\n"[i % 8];
    http_reply(request, &(struct http_reply){.status = 200,
                                             .content_type = "application/json",
                                             .body = ap_slice(body, LARGE_BYTES),
                                             .body_owner = HTTP_BODY_TAKEN});
}

/* The queue has room for all of it, so that this may be done on the loop's thread. */
static void reply_pieces(struct http_request *request, bool is_whole)
{
    static const char piece[LARGE_BYTES / 10] = "{\"a\":1}\n";
    struct ap_err err;
    http_suspend(request);
    struct http_stream *stream =
        http_reply_stream(request, &(struct http_reply){.status = 200, .content_type = "application/json"});
    for (int i = 0; i < 10; i++)
        assert_int_equal(http_stream_write(stream, ap_slice(piece, sizeof(piece)), &err), AP_OK);
    http_stream_end(stream, is_whole);
}

static void hold(struct fixture *fx, struct http_request *request)
{
    struct ap_slice path = http_path(request);
    http_set_user(request, ap_slice_equal_cstr(path, "/hold-large") ? fx : NULL);
    if (ap_slice_equal_cstr(path, "/hold"))
        http_suspend(request);
    else
        http_suspend_briefly(request);
    pthread_mutex_lock(&fx->mtx);
    fx->held[fx->held_count++] = request;
    pthread_cond_broadcast(&fx->cond);
    pthread_mutex_unlock(&fx->mtx);
}

static void handle(struct http_request *request, void *context)
{
    struct ap_slice path = http_path(request);
    if (ap_slice_equal_cstr(path, "/empty"))
        http_reply_empty(request, 204);
    else if (ap_slice_equal_cstr(path, "/echo"))
        reply_echo(request);
    else if (ap_slice_equal_cstr(path, "/large"))
        reply_large(request);
    else if (ap_slice_starts_with(path, "/pieces"))
        reply_pieces(request, ap_slice_equal_cstr(path, "/pieces"));
    else if (ap_slice_equal_cstr(path, "/fields"))
        reply_fields(request);
    else if (ap_slice_equal_cstr(path, "/last"))
        http_reply(request, &(struct http_reply){.status = 200, .is_last = true});
    else if (ap_slice_starts_with(path, "/hold"))
        hold(context, request);
    else
        reply_look(request);
}

static void admit(struct http_request *request, void *context)
{
    (void)context;
    struct ap_slice path = http_path(request);
    if (ap_slice_equal_cstr(path, "/refused"))
        reply_text(request, 401, "no key");
    else if (ap_slice_equal_cstr(path, "/ten"))
        http_set_body_limits(request, 10, 0);
    static const struct http_field fields[] = {{"X-Always", "a"}, {"X-Bad", "a\r\nX-Smuggled: b"}};
    if (http_query(request, "always").data)
        http_set_reply_fields(request, fields, 2);
}

static struct ap_slice error_body(unsigned status, const char *reason, struct ap_arena *arena, void *context)
{
    (void)context;
    char text[512];
    snprintf(text, sizeof(text), "{\"status\":%u,\"error\":\"%s\"}", status, reason);
    return ap_slice_cstr(ap_arena_try_strndup(arena, ap_slice_cstr(text)));
}

/* Replies to whatever is held once it may, all in one go, as the WAL's commit thread does. */
static void *replier_main(void *context)
{
    struct fixture *fx = context;
    pthread_mutex_lock(&fx->mtx);
    while (!fx->is_ended) {
        if (fx->is_released && fx->held_count > 0) {
            size_t count = fx->held_count;
            struct http_request *held[512];
            memcpy(held, fx->held, sizeof(held));
            fx->held_count = 0;
            pthread_mutex_unlock(&fx->mtx);
            for (size_t i = 0; i < count; i++)
                http_user(held[i]) ? reply_large(held[i]) : http_reply_empty(held[i], 204);
            pthread_mutex_lock(&fx->mtx);
            continue;
        }
        pthread_cond_wait(&fx->cond, &fx->mtx);
    }
    pthread_mutex_unlock(&fx->mtx);
    return NULL;
}

static void fixture_wait_held(struct fixture *fx, size_t count)
{
    pthread_mutex_lock(&fx->mtx);
    while (fx->held_count < count)
        pthread_cond_wait(&fx->cond, &fx->mtx);
    pthread_mutex_unlock(&fx->mtx);
}

static void fixture_release(struct fixture *fx)
{
    pthread_mutex_lock(&fx->mtx);
    fx->is_released = true;
    pthread_cond_broadcast(&fx->cond);
    pthread_mutex_unlock(&fx->mtx);
}

static int64_t fixture_now_us(void *context)
{
    return ((struct fixture *)context)->now_us;
}

static void fixture_start(struct fixture *fx, struct http_limits limits, size_t thread_count,
                          const struct ap_clock *clock)
{
    struct http_listener listener = {.address = "127.0.0.1"};
    struct http_server_options options = {.listeners = &listener,
                                          .listener_count = 1,
                                          .thread_count = thread_count,
                                          .limits = limits,
                                          .clock = clock,
                                          .admit = admit,
                                          .handle = handle,
                                          .context = fx,
                                          .error_body = error_body,
                                          .error_content_type = "application/json"};
    struct ap_err err = {0};
    if (http_server_open(&options, &fx->server, &err) != AP_OK)
        fail_msg("%s", err.text);
    fx->port = http_server_port(fx->server, 0);
    pthread_mutex_init(&fx->mtx, NULL);
    pthread_cond_init(&fx->cond, NULL);
    assert_int_equal(pthread_create(&fx->replier, NULL, replier_main, fx), 0);
}

static void fixture_open(struct fixture *fx, struct http_limits limits)
{
    *fx = (struct fixture){0};
    fixture_start(fx, limits, 2, NULL);
}

/* Its time goes on by fixture_pass() alone: nobody is late because the machine was busy. */
static void fixture_open_still(struct fixture *fx, struct http_limits limits)
{
    *fx = (struct fixture){.clock = {fixture_now_us, fixture_now_us, fx}, .now_us = AP_US_PER_S};
    fixture_start(fx, limits, 1, &fx->clock);
}

static void fixture_close(struct fixture *fx)
{
    fixture_release(fx);
    http_server_close(fx->server);
    pthread_mutex_lock(&fx->mtx);
    fx->is_ended = true;
    pthread_cond_broadcast(&fx->cond);
    pthread_mutex_unlock(&fx->mtx);
    pthread_join(fx->replier, NULL);
    pthread_cond_destroy(&fx->cond);
    pthread_mutex_destroy(&fx->mtx);
}

static const struct http_limits defaults = {0};

static void ask(int fd, struct answer *answer, const char *method, const char *target, const char *fields,
                struct ap_slice body)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    ap_buf_printf(&text, "%s %s HTTP/1.1\r\nHost: x\r\n%s", method, target, fields);
    if (body.data)
        ap_buf_printf(&text, "Content-Length: %zu\r\n", body.bytes);
    ap_buf_add_cstr(&text, "\r\n");
    ap_buf_add_slice(&text, body);
    assert_true(client_send(fd, text.data, text.bytes));
    client_answer(fd, answer, strcmp(method, "HEAD") == 0);
}

/* Time goes on, and the loop takes a turn in which it cuts who is late by now; what was sent before is read first. */
static void fixture_pass(struct fixture *fx, int64_t ms)
{
    struct answer answer = {0};
    fx->now_us += ms * AP_US_PER_MS;
    int fd = client_connect(fx->port);
    ask(fd, &answer, "GET", "/empty", "", (struct ap_slice){0});
    assert_int_equal(answer.status, 204);
    answer_clear(&answer);
    close(fd);
}

#define ASK(fd, answer, method, target, fields, body) ask(fd, answer, method, target, fields, ap_slice_cstr(body))
#define STATUS(answer, want)                                                                                           \
    if ((answer)->status != (want))                                                                                    \
    fail_msg("line %d: status %u, not %u: %.*s", __LINE__, (answer)->status, (unsigned)(want),                         \
             AP_SLICE_ARG(ap_buf_slice(&(answer)->body)))
#define BODY(answer, want)                                                                                             \
    if (!ap_slice_equal_cstr(ap_buf_slice(&(answer)->body), want))                                                     \
    fail_msg("line %d: body \"%.*s\"", __LINE__, AP_SLICE_ARG(ap_buf_slice(&(answer)->body)))
#define BODY_HAS(answer, want)                                                                                         \
    if (!(answer)->body.data || !strstr((answer)->body.data, want))                                                    \
    fail_msg("line %d: body \"%.*s\"", __LINE__, AP_SLICE_ARG(ap_buf_slice(&(answer)->body)))

/* ---- Opening ---- */

static void open_bad(int line, struct http_listener listener, enum ap_rc want_rc, const char *want_text)
{
    struct http_server_options options = {.listeners = &listener, .listener_count = 1, .handle = handle};
    struct http_server *server;
    struct ap_err err = {0};
    enum ap_rc rc = http_server_open(&options, &server, &err);
    if (rc != want_rc || !strstr(err.text, want_text))
        fail_msg("line %d: %s: %s", line, ap_rc_name(rc), err.text);
}
#define OPEN_BAD(want_rc, want_text, ...) open_bad(__LINE__, (struct http_listener){__VA_ARGS__}, want_rc, want_text)

static void test_open_errors(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, defaults);
    OPEN_BAD(AP_E_PARSE, "localhost", "localhost", 0, NULL, NULL);
    OPEN_BAD(AP_E_IO, "in use", "127.0.0.1", fx.port, NULL, NULL);
    /* Left out where that is allowed, and the others are there. */
    struct http_listener listeners[] = {{.address = "127.0.0.1"},
                                        {.address = "127.0.0.1", .port = fx.port, .is_optional = true}};
    struct http_server_options options = {
        .listeners = listeners, .listener_count = 2, .handle = handle, .context = &fx};
    struct http_server *server;
    struct ap_err err;
    assert_int_equal(http_server_open(&options, &server, &err), AP_OK);
    assert_true(http_server_port(server, 0) > 0);
    assert_int_equal(http_server_port(server, 1), 0);
    http_server_close(server);
    OPEN_BAD(AP_E_PARSE, "key file", "127.0.0.1", 0, "cert.pem", NULL);
    OPEN_BAD(AP_E_NOT_FOUND, "/nonexistent.pem", "127.0.0.1", 0, "/nonexistent.pem", "/nonexistent.pem");
    OPEN_BAD(AP_E_INTERNAL, "certificate /dev/null", "127.0.0.1", 0, "/dev/null", "/dev/null");
    fixture_close(&fx);
}

/* ---- Requests and replies ---- */

static void test_accessors_and_keep_alive(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, defaults);
    int fd = client_connect(fx.port);
    AUTO_ANSWER struct answer answer = {0};
    ASK(fd, &answer, "GET", "/a%20b?q=1%2B1+x&z", "X-Seen: here\r\n", NULL);
    STATUS(&answer, 200);
    BODY(&answer, "GET 0\n/a b\nq=1+1 x 0\nhere\n127.0.0.1 0 0");
    ASK(fd, &answer, "PURGE", "/x?none", "", NULL);
    BODY(&answer, "PURGE 7\n/x\nq= 1\n\n127.0.0.1 0 0");
    ASK(fd, &answer, "POST", "/empty", "", "ignored");
    STATUS(&answer, 204);
    ASK(fd, &answer, "HEAD", "/large", "", NULL);
    STATUS(&answer, 200);
    assert_string_equal(answer_field(&answer, "Content-Length"), "300000");
    ASK(fd, &answer, "GET", "/fields", "", NULL);
    assert_string_equal(answer_field(&answer, "X-Good"), "yes");
    assert_null(answer_field(&answer, "X-Smuggled"));
    ASK(fd, &answer, "GET", "/last", "", NULL);
    STATUS(&answer, 200);
    assert_true(client_is_closed(fd));
    close(fd);
    struct http_stats stats;
    http_server_stats(fx.server, &stats);
    assert_int_equal(stats.connections_accepted_count, 1);
    assert_int_equal(stats.requests_count, 6);
    assert_int_equal(stats.replies_count[2], 6);
    fixture_close(&fx);
}

/* Set before, they are in every reply: one with fields of its own, an empty one, the server's own error. The next
 * request begins without. */
static void test_reply_fields(void **state)
{
    (void)state;
    static const char *const targets[] = {"/fields?always", "/empty?always", "/ten?always"};
    static const unsigned statuses[] = {200, 204, 413};
    struct fixture fx;
    fixture_open(&fx, defaults);
    for (size_t i = 0; i < AP_ARRAY_COUNT(targets); i++) {
        int fd = client_connect(fx.port);
        AUTO_ANSWER struct answer answer = {0};
        ASK(fd, &answer, "POST", targets[i], "", "more than ten bytes");
        STATUS(&answer, statuses[i]);
        assert_string_equal(answer_field(&answer, "X-Always"), "a");
        assert_null(answer_field(&answer, "X-Smuggled"));
        if (statuses[i] < 300) {
            ASK(fd, &answer, "POST", "/empty", "", "");
            assert_null(answer_field(&answer, "X-Always"));
        }
        close(fd);
    }
    fixture_close(&fx);
}

static void test_pipelined(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, defaults);
    fixture_release(&fx);
    int fd = client_connect(fx.port);
    client_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none"
                    "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\ntwo"
                    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nthree");
    AUTO_ANSWER struct answer answer = {0};
    client_answer(fd, &answer, false);
    BODY(&answer, "one");
    client_answer(fd, &answer, false);
    STATUS(&answer, 204);
    client_answer(fd, &answer, false);
    BODY(&answer, "three");
    close(fd);
    fixture_close(&fx);
}

static void test_chunked_and_expect(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, defaults);
    int fd = client_connect(fx.port);
    AUTO_ANSWER struct answer answer = {0};
    client_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n");
    client_text(fd, " world\r\n0\r\n\r\n");
    client_answer(fd, &answer, false);
    BODY(&answer, "hello world");
    client_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    client_answer(fd, &answer, false);
    STATUS(&answer, 100);
    client_text(fd, "ok");
    client_answer(fd, &answer, false);
    BODY(&answer, "ok");
    close(fd);
    fixture_close(&fx);
}

/* Bodies of every size around the places where storage changes: arena, first block, doubling. */
static void test_body_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2047, 2048, 2049, 16383, 16384, 16385, 65537, 1000000};
    struct fixture fx;
    fixture_open(&fx, defaults);
    int fd = client_connect(fx.port);
    AUTO_ANSWER struct answer answer = {0};
    for (size_t i = 0; i < AP_ARRAY_COUNT(sizes); i++) {
        AP_AUTO_FREE char *body = malloc(sizes[i] + 1);
        for (size_t j = 0; j < sizes[i]; j++)
            body[j] = (char)(j * 7 + i);
        ask(fd, &answer, "POST", "/echo", "", ap_slice(body, sizes[i]));
        STATUS(&answer, 200);
        assert_int_equal(answer.body.bytes, sizes[i]);
        assert_memory_equal(answer.body.data, body, sizes[i]);
    }
    close(fd);
    fixture_close(&fx);
}

/* ---- Compression ---- */

static struct ap_slice gzipped(struct ap_slice text)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room_bytes = deflateBound(&stream, text.bytes);
    char *room = malloc(room_bytes);
    stream.next_in = (Bytef *)(uintptr_t)text.data;
    stream.avail_in = (uInt)text.bytes;
    stream.next_out = (Bytef *)room;
    stream.avail_out = (uInt)room_bytes;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    struct ap_slice result = ap_slice(room, stream.total_out);
    deflateEnd(&stream);
    return result;
}

static void test_compressed_bodies(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, (struct http_limits){.inflated_bytes_max = 1 << 20});
    int fd = client_connect(fx.port);
    AUTO_ANSWER struct answer answer = {0};
    const char text[] = "the same words, the same words, the same words";
    struct ap_slice zipped = gzipped(ap_slice_cstr(text));
    ask(fd, &answer, "POST", "/echo", "Content-Encoding: gzip\r\n", zipped);
    BODY(&answer, text);
    ask(fd, &answer, "POST", "/echo", "Content-Encoding: gzip\r\n", ap_slice(zipped.data, zipped.bytes - 9));
    STATUS(&answer, 400);
    BODY_HAS(&answer, "cut off or damaged");
    free((void *)(uintptr_t)zipped.data);

    char compressed[256];
    size_t bytes = ZSTD_compress(compressed, sizeof(compressed), text, strlen(text), 3);
    ask(fd, &answer, "POST", "/echo", "Content-Encoding: zstd\r\n", ap_slice(compressed, bytes));
    BODY(&answer, text);
    ask(fd, &answer, "POST", "/echo", "Content-Encoding: zstd\r\n", ap_slice(compressed, bytes - 1));
    STATUS(&answer, 400);
    ASK(fd, &answer, "POST", "/echo", "Content-Encoding: br\r\n", "x");
    STATUS(&answer, 415);
    BODY_HAS(&answer, "\"status\":415");

    AP_AUTO_FREE char *zeros = calloc(1, 64 << 20);
    struct ap_slice bomb = gzipped(ap_slice(zeros, 64 << 20));
    ask(fd, &answer, "POST", "/echo", "Content-Encoding: gzip\r\n", bomb);
    STATUS(&answer, 413);
    BODY_HAS(&answer, "1048576 bytes after decompression");
    free((void *)(uintptr_t)bomb.data);
    ASK(fd, &answer, "POST", "/echo", "", "alive");
    BODY(&answer, "alive");
    close(fd);
    struct http_stats stats;
    http_server_stats(fx.server, &stats);
    assert_int_equal(stats.bodies_refused_count, 4);
    assert_int_equal(stats.inflated_bytes, 2 * strlen(text));
    fixture_close(&fx);
    assert_int_equal(stats.body_memory_bytes, 0);
}

static void test_compressed_replies(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, defaults);
    int fd = client_connect(fx.port);
    AUTO_ANSWER struct answer answer = {0};
    ASK(fd, &answer, "GET", "/large", "Accept-Encoding: br;q=1.0, gzip;q=0.8\r\n", NULL);
    assert_string_equal(answer_field(&answer, "Content-Encoding"), "gzip");
    assert_string_equal(answer_field(&answer, "Vary"), "Accept-Encoding");
    assert_true(answer.body.bytes < LARGE_BYTES / 10);
    AP_AUTO_FREE char *plain = malloc(LARGE_BYTES);
    z_stream stream = {.next_in = (Bytef *)answer.body.data, .avail_in = (uInt)answer.body.bytes};
    stream.next_out = (Bytef *)plain;
    stream.avail_out = LARGE_BYTES;
    assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(stream.total_out, LARGE_BYTES);
    assert_memory_equal(plain + 8, "{\"a\":1}\n", 8);
    inflateEnd(&stream);
    ASK(fd, &answer, "GET", "/large", "Accept-Encoding: gzip, zstd\r\n", NULL);
    assert_string_equal(answer_field(&answer, "Content-Encoding"), "zstd");
    assert_string_equal(answer_field(&answer, "Vary"), "Accept-Encoding");
    assert_int_equal(ZSTD_getFrameContentSize(answer.body.data, answer.body.bytes), LARGE_BYTES);
    ASK(fd, &answer, "GET", "/large", "Accept-Encoding: gzip;q=0\r\n", NULL);
    assert_null(answer_field(&answer, "Content-Encoding"));
    assert_int_equal(answer.body.bytes, LARGE_BYTES);
    close(fd);
    fixture_close(&fx);
}

/* ---- Refusals ---- */

static void test_refused_before_the_body(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, (struct http_limits){.body_bytes_max = 1 << 20});
    AUTO_ANSWER struct answer answer = {0};
    /* A short body is read away and the connection goes on. */
    int fd = client_connect(fx.port);
    ASK(fd, &answer, "POST", "/refused", "", "short");
    STATUS(&answer, 401);
    BODY(&answer, "no key");
    ASK(fd, &answer, "GET", "/refused", "", NULL);
    STATUS(&answer, 401);
    ASK(fd, &answer, "POST", "/ten", "", "0123456789");
    STATUS(&answer, 200);
    ASK(fd, &answer, "POST", "/ten", "", "0123456789a");
    STATUS(&answer, 413);
    ASK(fd, &answer, "GET", "/empty", "", NULL);
    STATUS(&answer, 204);
    /* A long one is not waited for. */
    client_text(fd, "POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    client_answer(fd, &answer, false);
    STATUS(&answer, 401);
    assert_true(client_is_closed(fd));
    close(fd);
    /* Nor is one whose client waits to be told whether to send it. */
    fd = client_connect(fx.port);
    client_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\nExpect: 100-continue\r\n\r\n");
    client_answer(fd, &answer, false);
    STATUS(&answer, 413);
    close(fd);
    fixture_close(&fx);
}

/* A client that goes on sending still sees the answer, not a reset. */
static void test_oversize_while_sending(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, (struct http_limits){.body_bytes_max = 100000});
    AUTO_ANSWER struct answer answer = {0};
    AP_AUTO_FREE char *chunk = calloc(1, 1 << 20);
    for (int is_chunked = 0; is_chunked < 2; is_chunked++) {
        int fd = client_connect(fx.port);
        client_text(fd, is_chunked ? "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1000000\r\n"
                                   : "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 16777216\r\n\r\n");
        for (int i = 0; i < 16; i++)
            assert_true(client_send(fd, chunk, 1 << 20));
        client_answer(fd, &answer, false);
        STATUS(&answer, 413);
        BODY_HAS(&answer, "larger");
        assert_true(client_is_closed(fd));
        close(fd);
    }
    fixture_close(&fx);
}

static void test_header_too_large(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, (struct http_limits){.header_bytes_max = 4096});
    AUTO_ANSWER struct answer answer = {0};
    char filler[20001];
    memset(filler, 'a', sizeof(filler) - 1);
    filler[sizeof(filler) - 1] = '\0';
    AP_AUTO_BUF struct ap_buf text = {0};
    ap_buf_printf(&text, "GET /x HTTP/1.1\r\nHost: x\r\nX-Long: %.5000s\r\n\r\n", filler);
    int fd = client_connect(fx.port);
    (void)client_send(fd, text.data, text.bytes);
    client_answer(fd, &answer, false);
    STATUS(&answer, 431);
    close(fd);
    ap_buf_reset(&text);
    ap_buf_printf(&text, "GET /x HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", filler);
    fd = client_connect(fx.port);
    (void)client_send(fd, text.data, text.bytes);
    client_answer(fd, &answer, false);
    assert_true(answer.status == 431 || answer.status == 0); /* 0: closed with bytes unread, so reset */
    close(fd);
    fd = client_connect(fx.port);
    ASK(fd, &answer, "GET", "/empty", "", NULL);
    STATUS(&answer, 204);
    close(fd);
    fixture_close(&fx);
}

static bool has_input(int fd)
{
    struct pollfd event = {.fd = fd, .events = POLLIN};
    return poll(&event, 1, 0) > 0;
}

static void test_malformed(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "GET\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "GET /x HTTP/9.9\r\n\r\n",
    };
    struct fixture fx;
    /* MHD overlooks an end of input that comes together with bytes that are no whole line: then the deadline cuts. */
    fixture_open_still(&fx, (struct http_limits){.request_timeout_ms = 500});
    AUTO_ANSWER struct answer answer = {0};
    for (size_t i = 0; i < AP_ARRAY_COUNT(texts); i++) {
        int fd = client_connect(fx.port);
        client_text(fd, texts[i]);
        shutdown(fd, SHUT_WR);
        for (int64_t passed_ms = 0; passed_ms <= 600 && !has_input(fd); passed_ms += 100)
            fixture_pass(&fx, 100);
        client_answer(fd, &answer, false);
        if (answer.status != 0 && answer.status < 400)
            fail_msg("case %zu: status %u", i, answer.status);
        close(fd);
    }
    int fd = client_connect(fx.port);
    ASK(fd, &answer, "POST", "/echo", "", "alive");
    BODY(&answer, "alive");
    close(fd);
    fixture_close(&fx);
}

static void test_body_memory(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, (struct http_limits){.body_memory_bytes_max = 100000});
    AUTO_ANSWER struct answer answer = {0};
    AP_AUTO_FREE char *body = calloc(1, 80000);
    int holder = client_connect(fx.port);
    client_text(holder, "POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 80000\r\n\r\n");
    assert_true(client_send(holder, body, 80000));
    fixture_wait_held(&fx, 1);
    int fd = client_connect(fx.port);
    ask(fd, &answer, "POST", "/echo", "", ap_slice(body, 80000));
    STATUS(&answer, 503);
    assert_string_equal(answer_field(&answer, "Retry-After"), "5");
    close(fd);
    fixture_release(&fx);
    client_answer(holder, &answer, false);
    STATUS(&answer, 204);
    /* The holder's memory is given back before its next request is read. */
    ask(holder, &answer, "POST", "/echo", "", ap_slice(body, 80000));
    STATUS(&answer, 200);
    close(holder);
    fixture_close(&fx);
}

static void test_connection_limits(void **state)
{
    (void)state;
    struct fixture fx;
    AUTO_ANSWER struct answer answer = {0};
    for (int is_by_peer = 0; is_by_peer < 2; is_by_peer++) {
        fixture_open(&fx, is_by_peer ? (struct http_limits){.connections_per_peer_max = 2, .is_loopback_limited = true}
                                     : (struct http_limits){.connections_max = 2});
        int fds[3];
        for (size_t i = 0; i < 3; i++) {
            fds[i] = client_connect(fx.port);
            if (i < 2) {
                ASK(fds[i], &answer, "GET", "/empty", "", NULL);
                STATUS(&answer, 204);
            }
        }
        client_answer(fds[2], &answer, false);
        STATUS(&answer, 503);
        assert_true(client_is_closed(fds[2]));
        close(fds[2]);
        close(fds[0]);
        struct http_stats stats;
        do /* until the server has noticed */
            http_server_stats(fx.server, &stats);
        while (stats.connections_open > 1);
        assert_int_equal(stats.connections_refused_count, 1);
        int fd = client_connect(fx.port);
        ASK(fd, &answer, "GET", "/empty", "", NULL);
        STATUS(&answer, 204);
        close(fd);
        close(fds[1]);
        fixture_close(&fx);
    }
}

/* ---- Slow clients ---- */

/* Sends `text` and then more of `filler`, a byte every 20 ms, until it is cut, while another client is served. */
static void trickle(struct fixture *fx, const char *text, const char *filler)
{
    AUTO_ANSWER struct answer answer = {0};
    int slow = client_connect(fx->port);
    client_text(slow, text);
    int other = client_connect(fx->port);
    bool is_cut = false;
    for (size_t i = 0; !is_cut; i++) {
        assert_true(i < 100);
        fx->now_us += 20 * AP_US_PER_MS;
        is_cut = !client_send(slow, &filler[i % strlen(filler)], 1) || (has_input(slow) && client_is_closed(slow));
        ASK(other, &answer, "POST", "/echo", "", "served");
        BODY(&answer, "served");
    }
    close(slow);
    close(other);
}

static void test_slow_clients_are_cut(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open_still(&fx, (struct http_limits){.request_timeout_ms = 300});
    trickle(&fx, "", "GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    trickle(&fx, "GET / HTTP/1.1\r\n", "X-A: b\r\n");
    trickle(&fx, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n", "x");
    trickle(&fx, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n");
    struct http_stats stats;
    http_server_stats(fx.server, &stats);
    assert_int_equal(stats.connections_cut_count, 4);
    fixture_close(&fx);
}

static void test_idle_and_unread(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open_still(&fx, (struct http_limits){.idle_timeout_ms = 200, .reply_timeout_ms = 300});
    AUTO_ANSWER struct answer answer = {0};
    int idle = client_connect(fx.port);
    ASK(idle, &answer, "GET", "/empty", "", NULL);
    STATUS(&answer, 204);
    fixture_pass(&fx, 201);
    assert_true(client_is_closed(idle));
    close(idle);
    /* A client that asks for much and reads nothing. */
    int deaf = client_connect(fx.port);
    for (int i = 0; i < 100; i++)
        client_text(deaf, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    struct http_stats stats;
    do {
        fixture_pass(&fx, 100);
        http_server_stats(fx.server, &stats);
    } while (stats.connections_cut_count < 2);
    close(deaf);
    fixture_close(&fx);
}

/* ---- Replies from another thread ---- */

enum { CLIENT_COUNT = 200 };

/* Ends the connection by a reset, which the server's side sees at once. */
static void client_reset(int fd)
{
    struct linger linger = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);
}

static void many_suspended(const char *request)
{
    struct fixture fx;
    fixture_open(&fx, defaults);
    AUTO_ANSWER struct answer answer = {0};
    int fds[CLIENT_COUNT];
    for (size_t i = 0; i < CLIENT_COUNT; i++) {
        fds[i] = client_connect(fx.port);
        client_text(fds[i], request);
    }
    fixture_wait_held(&fx, CLIENT_COUNT);
    struct http_stats stats;
    http_server_stats(fx.server, &stats);
    assert_int_equal(stats.requests_suspended, CLIENT_COUNT);
    close(fds[0]); /* gone while their requests are held */
    client_reset(fds[1]);
    fixture_release(&fx);
    for (int round = 0; round < 5; round++) {
        for (size_t i = 2; i < CLIENT_COUNT; i++) {
            client_answer(fds[i], &answer, false);
            STATUS(&answer, 204);
            client_text(fds[i], request);
        }
    }
    for (size_t i = 2; i < CLIENT_COUNT; i++) {
        client_answer(fds[i], &answer, false);
        STATUS(&answer, 204);
        close(fds[i]);
    }
    fixture_close(&fx);
}

static void test_many_suspended(void **state)
{
    (void)state;
    many_suspended("POST /hold HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
    many_suspended("POST /hold-briefly HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
}

/* Clients that vanish while their requests are held: the holder may still use body and arena, and the reply goes
 * nowhere. */
static void test_gone_while_held(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, defaults);
    for (size_t i = 0; i < 50; i++) {
        int fd = client_connect(fx.port);
        client_text(fd, "POST /hold-briefly HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
        fixture_wait_held(&fx, i + 1);
        client_reset(fd);
    }
    int other = client_connect(fx.port);
    AUTO_ANSWER struct answer answer = {0};
    ASK(other, &answer, "POST", "/echo", "", "served");
    BODY(&answer, "served");
    pthread_mutex_lock(&fx.mtx);
    for (size_t i = 0; i < 50; i++) {
        assert_true(ap_slice_equal_cstr(http_body(fx.held[i]), "{}"));
        assert_non_null(ap_arena_try_alloc(http_arena(fx.held[i]), 100000));
    }
    pthread_mutex_unlock(&fx.mtx);
    fixture_release(&fx);
    struct http_stats stats;
    do
        http_server_stats(fx.server, &stats);
    while (stats.requests_suspended > 0 || stats.connections_open > 1);
    close(other);
    fixture_close(&fx);
}

static void test_large_reply_later(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, defaults);
    fixture_release(&fx);
    int fd = client_connect(fx.port);
    AUTO_ANSWER struct answer answer = {0};
    ASK(fd, &answer, "GET", "/hold-large", "Accept-Encoding: gzip\r\n", NULL);
    STATUS(&answer, 200);
    assert_string_equal(answer_field(&answer, "Content-Encoding"), "gzip");
    ASK(fd, &answer, "GET", "/hold-large", "", NULL);
    STATUS(&answer, 200);
    assert_int_equal(answer.body.bytes, LARGE_BYTES);
    close(fd);
    fixture_close(&fx);
}

/* ---- Draining ---- */

struct drain {
    struct http_server *server;
    uint32_t deadline_ms;
    bool is_finished;
};

static void *drain_main(void *context)
{
    struct drain *drain = context;
    drain->is_finished = http_server_drain(drain->server, drain->deadline_ms);
    return NULL;
}

static void drain_with_one_held(const char *path, bool is_answered)
{
    struct fixture fx;
    fixture_open(&fx, defaults);
    AUTO_ANSWER struct answer answer = {0};
    int idle = client_connect(fx.port);
    ASK(idle, &answer, "GET", "/empty", "", NULL);
    int busy = client_connect(fx.port);
    char text[128];
    snprintf(text, sizeof(text), "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", path);
    client_text(busy, text);
    fixture_wait_held(&fx, 1);
    struct drain drain = {fx.server, is_answered ? GUARD_MS : 50, false};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, drain_main, &drain), 0);
    assert_true(client_is_closed(idle));
    if (is_answered) {
        fixture_release(&fx);
        client_answer(busy, &answer, false);
        STATUS(&answer, 204);
        assert_string_equal(answer_field(&answer, "Connection"), "close");
        assert_true(client_is_closed(busy));
    }
    pthread_join(thread, NULL);
    assert_int_equal(drain.is_finished, is_answered);
    int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(fx.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(late, (struct sockaddr *)&address, sizeof(address)), -1);
    close(late);
    close(idle);
    close(busy);
    fixture_close(&fx);
}

static void test_drain(void **state)
{
    (void)state;
    drain_with_one_held("/hold", true);
    drain_with_one_held("/hold", false);
    drain_with_one_held("/hold-briefly", true);
    drain_with_one_held("/hold-briefly", false);
}

/* ---- TLS ---- */

static void pem_write(const char *path, const gnutls_datum_t *pem)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(pem->data, 1, pem->size, file), pem->size);
    fclose(file);
    gnutls_free(pem->data);
}

/* A self-signed certificate for 127.0.0.1. */
static void certificate_make(const char *certificate_path, const char *key_path)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t certificate;
    gnutls_x509_privkey_init(&key);
    assert_int_equal(
        gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0), 0);
    gnutls_x509_crt_init(&certificate);
    gnutls_x509_crt_set_key(certificate, key);
    gnutls_x509_crt_set_version(certificate, 3);
    gnutls_x509_crt_set_serial(certificate, "\x01", 1);
    gnutls_x509_crt_set_dn(certificate, "CN=apiary test", NULL);
    const unsigned char address[] = {127, 0, 0, 1};
    gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_IPADDRESS, address, sizeof(address), 0);
    gnutls_x509_crt_set_ca_status(certificate, 1);
    gnutls_x509_crt_set_activation_time(certificate, time(NULL) - 3600);
    gnutls_x509_crt_set_expiration_time(certificate, time(NULL) + 3600);
    assert_int_equal(gnutls_x509_crt_sign2(certificate, certificate, key, GNUTLS_DIG_SHA256, 0), 0);
    gnutls_datum_t pem;
    assert_int_equal(gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, &pem), 0);
    pem_write(certificate_path, &pem);
    assert_int_equal(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &pem), 0);
    pem_write(key_path, &pem);
    gnutls_x509_crt_deinit(certificate);
    gnutls_x509_privkey_deinit(key);
}

static void test_tls(void **state)
{
    (void)state;
    char folder[] = "/tmp/apiary-test-tls-XXXXXX";
    assert_non_null(mkdtemp(folder));
    AP_AUTO_FREE char *certificate = ap_asprintf("%s/cert.pem", folder);
    AP_AUTO_FREE char *key = ap_asprintf("%s/key.pem", folder);
    certificate_make(certificate, key);

    struct fixture fx = {0};
    struct http_listener listeners[] = {{.address = "127.0.0.1"},
                                        {.address = "127.0.0.1", .certificate_file = certificate, .key_file = key}};
    struct http_server_options options = {
        .listeners = listeners, .listener_count = 2, .handle = handle, .context = &fx};
    struct ap_err err = {0};
    if (http_server_open(&options, &fx.server, &err) != AP_OK)
        fail_msg("%s", err.text);
    char url[64], large_url[64], pieces_url[64], broken_url[64];
    snprintf(url, sizeof(url), "https://127.0.0.1:%u/look", http_server_port(fx.server, 1));
    snprintf(large_url, sizeof(large_url), "https://127.0.0.1:%u/large", http_server_port(fx.server, 1));
    snprintf(pieces_url, sizeof(pieces_url), "https://127.0.0.1:%u/pieces", http_server_port(fx.server, 1));
    snprintf(broken_url, sizeof(broken_url), "https://127.0.0.1:%u/pieces/broken", http_server_port(fx.server, 1));

    AP_AUTO(http_client)
    struct http_client *client =
        http_client_new(&(struct http_client_options){.ca_file = certificate, .is_direct = true});
    struct http_client_answer answer;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(http_client_ask(client, &(struct http_client_request){.url = url}, &answer, &err), AP_OK);
        assert_true(ap_slice_equal_cstr(answer.body, "GET 0\n/look\nq= 0\n\n127.0.0.1 1 1"));
    }
    assert_int_equal(http_client_ask(client, &(struct http_client_request){.url = large_url}, &answer, &err), AP_OK);
    assert_int_equal(answer.body.bytes, LARGE_BYTES);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(http_client_ask(client, &(struct http_client_request){.url = pieces_url}, &answer, &err),
                         AP_OK);
        assert_int_equal(answer.body.bytes, LARGE_BYTES);
    }
    struct http_stats stats;
    http_server_stats(fx.server, &stats);
    assert_int_equal(stats.connections_accepted_count, 1); /* kept alive */
    assert_int_equal(http_client_ask(client, &(struct http_client_request){.url = broken_url}, &answer, &err), AP_E_IO);

    AP_AUTO(http_client)
    struct http_client *stranger = http_client_new(&(struct http_client_options){.is_direct = true});
    assert_int_equal(http_client_ask(stranger, &(struct http_client_request){.url = url}, &answer, &err), AP_E_IO);
    http_server_close(fx.server);
    unlink(certificate);
    unlink(key);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_errors),
        cmocka_unit_test(test_accessors_and_keep_alive),
        cmocka_unit_test(test_reply_fields),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_chunked_and_expect),
        cmocka_unit_test(test_body_sizes),
        cmocka_unit_test(test_compressed_bodies),
        cmocka_unit_test(test_compressed_replies),
        cmocka_unit_test(test_refused_before_the_body),
        cmocka_unit_test(test_oversize_while_sending),
        cmocka_unit_test(test_header_too_large),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_body_memory),
        cmocka_unit_test(test_connection_limits),
        cmocka_unit_test(test_slow_clients_are_cut),
        cmocka_unit_test(test_idle_and_unread),
        cmocka_unit_test(test_many_suspended),
        cmocka_unit_test(test_gone_while_held),
        cmocka_unit_test(test_large_reply_later),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
