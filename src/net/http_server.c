/*
 * net/http_server.c - opening, draining and closing; the figures
 */
#include "net/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/random.h"
#include "net/http_internal.h"

#define LISTEN_BACKLOG 1024

static struct http_limits limits_with_defaults(const struct http_limits *limits)
{
    struct http_limits filled = *limits;
#define DEFAULT(field, value)                                                                                          \
    if (filled.field == 0)                                                                                             \
    filled.field = (value)
    DEFAULT(header_bytes_max, 8 * 1024);
    DEFAULT(body_bytes_max, (size_t)8 << 20);
    DEFAULT(inflated_bytes_max, (size_t)32 << 20);
    DEFAULT(body_memory_bytes_max, (size_t)256 << 20);
    DEFAULT(connections_max, 4096);
    DEFAULT(connections_per_peer_max, 256);
    DEFAULT(idle_timeout_ms, 60 * 1000);
    DEFAULT(request_timeout_ms, 30 * 1000);
    DEFAULT(reply_timeout_ms, 120 * 1000);
    DEFAULT(stream_timeout_ms, 60 * 1000);
    DEFAULT(stream_queue_bytes_max, (size_t)8 << 20);
#undef DEFAULT
    return filled;
}

/* ---- Listening ---- */

union address {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
};

static enum ap_rc address_parse(const struct http_listener *listener, union address *ret_address, socklen_t *ret_bytes,
                                struct ap_err *err)
{
    union address address = {0};
    if (inet_pton(AF_INET, listener->address, &address.ipv4.sin_addr) == 1) {
        address.ipv4.sin_family = AF_INET;
        address.ipv4.sin_port = htons(listener->port);
        *ret_bytes = sizeof(address.ipv4);
    } else if (inet_pton(AF_INET6, listener->address, &address.ipv6.sin6_addr) == 1) {
        address.ipv6.sin6_family = AF_INET6;
        address.ipv6.sin6_port = htons(listener->port);
        *ret_bytes = sizeof(address.ipv6);
    } else {
        return ap_fail(err, AP_E_PARSE, "\"%s\" is not a numeric IPv4 or IPv6 address, such as 127.0.0.1 or ::1",
                       listener->address);
    }
    *ret_address = address;
    return AP_OK;
}

static enum ap_rc listen_open(const struct http_listener *listener, struct http_listen_socket *ret_socket,
                              struct ap_err *err)
{
    union address address;
    socklen_t address_bytes;
    enum ap_rc rc = address_parse(listener, &address, &address_bytes, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO_FD int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ap_fail_errno(err, errno, "make a socket for %s", listener->address);
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address.any.sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, &address.any, address_bytes) < 0 || listen(fd, LISTEN_BACKLOG) < 0) {
        if (errno == EADDRINUSE && listener->is_optional)
            return AP_OK;
        return ap_fail_errno(err, errno, "listen on %s port %u", listener->address, listener->port);
    }
    address_bytes = sizeof(address);
    if (getsockname(fd, &address.any, &address_bytes) < 0)
        return ap_fail_errno(err, errno, "ask for the port of %s", listener->address);
    ret_socket->port = ntohs(address.any.sa_family == AF_INET6 ? address.ipv6.sin6_port : address.ipv4.sin_port);
    ret_socket->is_tls = listener->certificate_file != NULL;
    ret_socket->fd = AP_MOVE_FD(fd);
    return AP_OK;
}

/* ---- Opening ---- */

static struct http_server *server_new(const struct http_server_options *options, size_t loop_count)
{
    struct http_server *server = ap_new0(struct http_server);
    server->options = *options;
    server->options.listeners = NULL; /* lent for the call only */
    server->limits = limits_with_defaults(&options->limits);
    server->clock = options->clock ? options->clock : &ap_clock_system;
    server->listener_count = options->listener_count;
    server->listen_sockets = ap_new0_array(struct http_listen_socket, options->listener_count);
    for (size_t i = 0; i < options->listener_count; i++)
        server->listen_sockets[i].fd = -1;
    server->loops = ap_new0_array(struct http_loop, loop_count);
    server->peer_count = peer_count_new(ap_random_system_seed());
    pthread_mutex_init(&server->state_mtx, NULL);
    pthread_mutex_init(&server->compressor_mtx, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&server->state_cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return server;
}

AP_DEFINE_AUTO(http_server, struct http_server, http_server_close)

enum ap_rc http_server_open(const struct http_server_options *options, struct http_server **ret_server,
                            struct ap_err *err)
{
    AP_ASSERT(options->listener_count > 0 && options->handle);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t loop_count = options->thread_count ? options->thread_count : (size_t)AP_MAX(cores, 1L);
    AP_AUTO(http_server) struct http_server *server = server_new(options, loop_count);
    for (size_t i = 0; i < options->listener_count; i++) {
        const struct http_listener *listener = &options->listeners[i];
        if (!listener->certificate_file != !listener->key_file)
            return ap_fail(err, AP_E_PARSE, "%s port %u needs a certificate file and a key file, or neither",
                           listener->address, listener->port);
        enum ap_rc rc = listen_open(listener, &server->listen_sockets[i], err);
        if (rc != AP_OK)
            return rc;
    }
    for (size_t i = 0; i < loop_count; i++) {
        server->loop_count++;
        enum ap_rc rc = http_loop_init(&server->loops[i], server, i, options->listeners, err);
        if (rc != AP_OK)
            return rc;
    }
    for (size_t i = 0; i < loop_count; i++) {
        enum ap_rc rc = http_loop_start(&server->loops[i], err);
        if (rc != AP_OK)
            return rc;
    }
    *ret_server = AP_MOVE(server);
    return AP_OK;
}

uint16_t http_server_port(const struct http_server *server, size_t listener_index)
{
    AP_ASSERT(listener_index < server->listener_count);
    return server->listen_sockets[listener_index].port;
}

/* ---- Draining and closing ---- */

static void listen_close(struct http_server *server)
{
    for (size_t i = 0; i < server->listener_count; i++) {
        if (server->listen_sockets[i].fd >= 0)
            close(server->listen_sockets[i].fd);
        server->listen_sockets[i].fd = -1;
    }
}

/* Whether `gauge` became 0 before the deadline; a negative deadline is none. */
static bool wait_for_zero(struct http_server *server, atomic_uint *gauge, int64_t deadline_us)
{
    struct timespec deadline = {.tv_sec = deadline_us / AP_US_PER_S, .tv_nsec = deadline_us % AP_US_PER_S * 1000};
    int error = 0;
    pthread_mutex_lock(&server->state_mtx);
    while (atomic_load(gauge) > 0 && error == 0) {
        if (deadline_us < 0)
            pthread_cond_wait(&server->state_cond, &server->state_mtx);
        else
            error = pthread_cond_timedwait(&server->state_cond, &server->state_mtx, &deadline);
    }
    bool is_zero = atomic_load(gauge) == 0;
    pthread_mutex_unlock(&server->state_mtx);
    return is_zero;
}

/* No connection is made or on its way to a loop after this. */
static void stop_accepting(struct http_server *server)
{
    atomic_store(&server->is_draining, true);
    http_loop_quiesce(&server->loops[0]);
    listen_close(server);
}

bool http_server_drain(struct http_server *server, uint32_t deadline_ms)
{
    int64_t deadline_us = ap_clock_monotonic_us(&ap_clock_system) + (int64_t)deadline_ms * AP_US_PER_MS;
    stop_accepting(server);
    for (size_t i = 0; i < server->loop_count; i++)
        http_loop_drain(&server->loops[i]);
    if (wait_for_zero(server, &server->connections_open, deadline_us))
        return true;
    for (size_t i = 0; i < server->loop_count; i++)
        http_loop_cut(&server->loops[i]);
    return false;
}

void http_server_close(struct http_server *server)
{
    if (!server)
        return;
    bool was_started = server->loop_count > 0 && server->loops[0].has_thread;
    if (was_started) {
        stop_accepting(server);
        for (size_t i = 0; i < server->loop_count && server->loops[i].has_thread; i++)
            http_loop_cut(&server->loops[i]);
        (void)wait_for_zero(server, &server->connections_open, -1);
    }
    for (size_t i = 0; i < server->loop_count; i++)
        http_loop_stop(&server->loops[i]);
    for (size_t i = 0; i < server->loop_count; i++)
        http_loop_clear(&server->loops[i]);
    listen_close(server);
    for (size_t i = 0; i < server->compressor_count; i++)
        compressor_free(server->compressors[i]);
    peer_count_free(server->peer_count);
    pthread_cond_destroy(&server->state_cond);
    pthread_mutex_destroy(&server->compressor_mtx);
    pthread_mutex_destroy(&server->state_mtx);
    free(server->listen_sockets);
    free(server->loops);
    free(server);
}

/* ---- Figures ---- */

void http_server_stats(const struct http_server *server, struct http_stats *ret_stats)
{
    struct http_stats stats = {
        .connections_accepted_count = __atomic_load_n(&server->connections_accepted_count, __ATOMIC_RELAXED),
        .connections_refused_count = __atomic_load_n(&server->connections_refused_count, __ATOMIC_RELAXED),
        .connections_open = atomic_load(&server->connections_open),
        .requests_suspended = atomic_load(&server->requests_suspended),
        .event_streams_open = atomic_load(&server->event_streams_open),
        .body_memory_bytes = atomic_load(&server->body_memory_bytes),
    };
    for (size_t i = 0; i < server->loop_count; i++) {
        const struct http_loop_stats *loop = &server->loops[i].stats;
#define ADD(field) stats.field += __atomic_load_n(&loop->field, __ATOMIC_RELAXED)
        ADD(requests_count);
        for (size_t digit = 0; digit < AP_ARRAY_COUNT(stats.replies_count); digit++)
            ADD(replies_count[digit]);
        ADD(body_bytes);
        ADD(inflated_bytes);
        ADD(reply_bytes);
        ADD(bodies_refused_count);
        ADD(connections_cut_count);
        ADD(events_published_count);
        ADD(events_skipped_count);
        ADD(events_cut_count);
#undef ADD
    }
    *ret_stats = stats;
}
