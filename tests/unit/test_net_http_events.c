#include <pthread.h>

#include "net/http_server.h"
#include "test_net_socket.h"

struct fixture {
    struct http_server *server;
    uint16_t port;
    struct http_event_options options;
    pthread_mutex_t mtx;
    pthread_cond_t cond;
    struct http_event_stream *streams[16]; /* in the order of the path's last digit */
    size_t stream_count;
    size_t closed_count;
};

static void on_closed(struct http_event_stream *stream, void *context)
{
    struct fixture *fx = context;
    assert_true(http_event_stream_is_closed(stream));
    pthread_mutex_lock(&fx->mtx);
    fx->closed_count++;
    pthread_cond_broadcast(&fx->cond);
    pthread_mutex_unlock(&fx->mtx);
}

static void handle(struct http_request *request, void *context)
{
    struct fixture *fx = context;
    struct ap_slice path = http_path(request);
    size_t index = (size_t)(path.data[path.bytes - 1] - '0');
    struct http_event_stream *stream = http_reply_events(request, &fx->options);
    pthread_mutex_lock(&fx->mtx);
    fx->streams[index] = stream;
    fx->stream_count++;
    pthread_cond_broadcast(&fx->cond);
    pthread_mutex_unlock(&fx->mtx);
}

static void fixture_open(struct fixture *fx, struct http_event_options options)
{
    *fx = (struct fixture){.options = options};
    fx->options.closed = on_closed;
    fx->options.context = fx;
    pthread_mutex_init(&fx->mtx, NULL);
    pthread_cond_init(&fx->cond, NULL);
    struct http_listener listener = {.address = "127.0.0.1"};
    struct http_server_options server_options = {
        .listeners = &listener, .listener_count = 1, .thread_count = 2, .handle = handle, .context = fx};
    struct ap_err err = {0};
    if (http_server_open(&server_options, &fx->server, &err) != AP_OK)
        fail_msg("%s", err.text);
    fx->port = http_server_port(fx->server, 0);
}

static void fixture_wait(struct fixture *fx, const size_t *count, size_t want)
{
    pthread_mutex_lock(&fx->mtx);
    while (*count < want)
        pthread_cond_wait(&fx->cond, &fx->mtx);
    pthread_mutex_unlock(&fx->mtx);
}

static void fixture_close(struct fixture *fx)
{
    http_server_close(fx->server);
    for (size_t i = 0; i < AP_ARRAY_COUNT(fx->streams); i++)
        http_event_stream_close(fx->streams[i]); /* streams may outlive the server */
    pthread_cond_destroy(&fx->cond);
    pthread_mutex_destroy(&fx->mtx);
}

/* Connects as client number `index` and reads the header of the answer. */
static int subscribe(struct fixture *fx, size_t index)
{
    int fd = client_connect(fx->port);
    char line[256];
    snprintf(line, sizeof(line), "GET /live/%zu HTTP/1.1\r\nHost: x\r\n\r\n", index);
    client_text(fd, line);
    bool is_event_stream = false;
    while (client_line(fd, line, sizeof(line)) && strcmp(line, "\r\n") != 0)
        is_event_stream |= strcmp(line, "Content-Type: text/event-stream\r\n") == 0;
    assert_true(is_event_stream);
    fixture_wait(fx, &fx->stream_count, index + 1);
    return fd;
}

/* Reads chunks until their payload contains `want`; false when the stream ends first. */
static bool read_until(int fd, struct ap_buf *seen, const char *want)
{
    char line[64];
    while (!seen->data || !memmem(seen->data, seen->bytes, want, strlen(want))) {
        if (!client_line(fd, line, sizeof(line)))
            return false;
        size_t bytes = strtoul(line, NULL, 16);
        if (!client_read(fd, ap_buf_reserve(seen, bytes + 2), bytes + 2) || bytes == 0)
            return false;
        seen->bytes += bytes;
    }
    return true;
}

static void test_messages(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, (struct http_event_options){0});
    int fd = subscribe(&fx, 0);
    AP_AUTO_BUF struct ap_buf seen = {0};
    assert_true(http_event_stream_publish(fx.streams[0], "commit", ap_slice_cstr("{\"lsn\":1}")));
    assert_true(read_until(fd, &seen, "event: commit\ndata: {\"lsn\":1}\n\n"));
    assert_true(http_event_stream_publish(fx.streams[0], NULL, ap_slice_cstr("two\nlines")));
    assert_true(read_until(fd, &seen, "\n\ndata: two\ndata: lines\n\n"));
    /* What is queued arrives before the end. */
    assert_true(http_event_stream_publish(fx.streams[0], NULL, ap_slice_cstr("last")));
    http_event_stream_close(AP_MOVE(fx.streams[0]));
    assert_true(read_until(fd, &seen, "data: last\n\n"));
    assert_false(read_until(fd, &seen, "more"));
    close(fd);
    fixture_close(&fx);
}

/* One client reads nothing: it loses messages and is cut, the others get all. */
static void test_one_stalls(void **state)
{
    (void)state;
    enum { MESSAGE_COUNT = 2000, READER_COUNT = 3 };
    struct fixture fx;
    fixture_open(&fx, (struct http_event_options){.stall_timeout_ms = 300});
    int stalled = subscribe(&fx, 0);
    int readers[READER_COUNT];
    AP_AUTO_BUF struct ap_buf seen = {0};
    for (size_t i = 0; i < READER_COUNT; i++)
        readers[i] = subscribe(&fx, i + 1);
    AP_AUTO_FREE char *text = malloc(8001);
    memset(text, 'x', 8000);
    for (int n = 0; n < MESSAGE_COUNT; n++) {
        char mark[64];
        snprintf(mark, sizeof(mark), "data: <%d>", n);
        snprintf(text, 64, "<%d>", n);
        text[strlen(text)] = 'x';
        (void)http_event_stream_publish(fx.streams[0], NULL, ap_slice(text, 8000));
        for (size_t i = 0; i < READER_COUNT; i++) {
            assert_true(http_event_stream_publish(fx.streams[i + 1], NULL, ap_slice(text, 8000)));
            ap_buf_reset(&seen);
            assert_true(read_until(readers[i], &seen, mark));
            if (seen.data[seen.bytes - 1] != '\n') /* the rest of it, when it came in several chunks */
                assert_true(read_until(readers[i], &seen, "\n\n"));
        }
    }
    fixture_wait(&fx, &fx.closed_count, 1);
    assert_true(http_event_stream_is_closed(fx.streams[0]));
    assert_false(http_event_stream_publish(fx.streams[0], NULL, ap_slice_cstr("nobody")));
    struct http_stats stats;
    http_server_stats(fx.server, &stats);
    assert_int_equal(stats.events_cut_count, 1);
    assert_true(stats.events_skipped_count > 0);
    assert_true(stats.events_published_count >= READER_COUNT * MESSAGE_COUNT);
    assert_int_equal(stats.event_streams_open, READER_COUNT);
    close(stalled);
    for (size_t i = 0; i < READER_COUNT; i++)
        close(readers[i]);
    fixture_close(&fx);
}

/* A client that goes away is noticed by the heartbeat at the latest. */
static void test_heartbeat_finds_the_dead(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, (struct http_event_options){.heartbeat_ms = 100});
    int fd = subscribe(&fx, 0);
    AP_AUTO_BUF struct ap_buf seen = {0};
    assert_true(read_until(fd, &seen, ":\n\n:\n\n:\n\n"));
    close(fd);
    fixture_wait(&fx, &fx.closed_count, 1);
    struct http_stats stats;
    http_server_stats(fx.server, &stats);
    assert_int_equal(stats.event_streams_open, 0);
    fixture_close(&fx);
}

static void test_drain_ends_streams(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, (struct http_event_options){0});
    int fd = subscribe(&fx, 0);
    AP_AUTO_BUF struct ap_buf seen = {0};
    assert_true(http_server_drain(fx.server, GUARD_MS));
    assert_false(read_until(fd, &seen, "more"));
    assert_int_equal(fx.closed_count, 1);
    close(fd);
    fixture_close(&fx);
}

/* Many threads' worth of messages while clients come and go. */
struct publisher {
    struct fixture *fx;
    bool is_ended; /* atomic */
};

static void *publish_main(void *context)
{
    struct publisher *publisher = context;
    struct fixture *fx = publisher->fx;
    while (!__atomic_load_n(&publisher->is_ended, __ATOMIC_ACQUIRE)) {
        pthread_mutex_lock(&fx->mtx);
        for (size_t i = 0; i < AP_ARRAY_COUNT(fx->streams); i++) {
            if (!fx->streams[i])
                continue;
            (void)http_event_stream_publish(fx->streams[i], "tick", ap_slice_cstr("{}"));
            if (http_event_stream_is_closed(fx->streams[i]))
                http_event_stream_close(AP_MOVE(fx->streams[i]));
        }
        pthread_mutex_unlock(&fx->mtx);
    }
    return NULL;
}

static void test_coming_and_going(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_open(&fx, (struct http_event_options){0});
    struct publisher publisher = {&fx, false};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, publish_main, &publisher), 0);
    for (size_t i = 0; i < 8; i++) {
        int fd = subscribe(&fx, i);
        AP_AUTO_BUF struct ap_buf seen = {0};
        assert_true(read_until(fd, &seen, "event: tick\ndata: {}\n\n"));
        close(fd);
    }
    fixture_wait(&fx, &fx.closed_count, 8);
    __atomic_store_n(&publisher.is_ended, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    fixture_close(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_one_stalls),
        cmocka_unit_test(test_heartbeat_finds_the_dead),
        cmocka_unit_test(test_drain_ends_streams),
        cmocka_unit_test(test_coming_and_going),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
