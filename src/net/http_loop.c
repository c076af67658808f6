/*
 * net/http_loop.c - one thread of the HTTP server: its sockets, its inbox, its deadlines
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "net/http_internal.h"

/* What an epoll event is about; the index is in the low half. */
enum event_kind { EVENT_INBOX, EVENT_LISTEN, EVENT_DAEMON, EVENT_LINGER };
#define EVENT_TAG(kind, index) ((uint64_t)(kind) << 32 | (uint32_t)(index))

/* Deadlines are kept to this; scanning all connections more often would cost more than the precision is worth. */
#define SCAN_INTERVAL_US (100 * AP_US_PER_MS)

#define ACCEPT_BATCH_COUNT       64
#define ACCEPT_PAUSE_US          (100 * AP_US_PER_MS)
#define LINGER_TIMEOUT_US        (2 * AP_US_PER_S)
#define LINGER_BYTES_MAX         ((size_t)256 << 20)
#define PEM_BYTES_MAX            ((size_t)1 << 20)
#define DAEMON_PENDING_RUN_COUNT 4
#define HOT_WAIT_MS              1

/* SUSPEND_RESUME without the eventfd that comes with it: both calls are made on the loop's own thread. */
#define MHD_FLAG_SUSPEND_RESUME ((unsigned)MHD_ALLOW_SUSPEND_RESUME & ~(unsigned)MHD_USE_ITC)

/* ---- Inbox ---- */

void http_loop_post(struct http_loop *loop, struct http_task *take_task)
{
    /*
     * This task may be what the server waits for before it ends, and it may run before the next line here: the loop
     * stays as long as somebody is posting. The lock is not for that: the thread that is woken wants it at once.
     */
    atomic_fetch_add(&loop->posting_count, 1);
    take_task->next = NULL;
    pthread_mutex_lock(&loop->inbox_mtx);
    bool was_empty = loop->inbox_first == NULL;
    *loop->inbox_tail = take_task;
    loop->inbox_tail = &take_task->next;
    pthread_mutex_unlock(&loop->inbox_mtx);
    if (was_empty) /* otherwise a wake-up is already under way */
        (void)eventfd_write(loop->inbox_event_fd, 1);
    atomic_fetch_sub(&loop->posting_count, 1);
}

static void inbox_run(struct http_loop *loop)
{
    pthread_mutex_lock(&loop->inbox_mtx);
    struct http_task *task = loop->inbox_first;
    loop->inbox_first = NULL;
    loop->inbox_tail = &loop->inbox_first;
    pthread_mutex_unlock(&loop->inbox_mtx);
    while (task) {
        struct http_task *next = task->next; /* run() may free the task */
        task->run(task);
        task = next;
    }
}

/* ---- Connections: arriving ---- */

void http_conn_set_deadline(struct http_conn *conn, int64_t timeout_ms)
{
    struct http_loop *loop = conn->loop;
    if (timeout_ms == 0) {
        conn->deadline_us = 0;
        return;
    }
    conn->deadline_us = loop->now_us + timeout_ms * AP_US_PER_MS;
    loop->next_scan_us = AP_MIN(loop->next_scan_us, conn->deadline_us);
}

void http_conn_cut(struct http_conn *conn)
{
    conn->is_cut = true;
    conn->deadline_us = 0;
    if (conn->body_stream)
        http_stream_cut(conn->body_stream);
    (void)shutdown(conn->fd, SHUT_RDWR);
}

void http_loop_resume(struct http_conn *conn)
{
    MHD_resume_connection(conn->mhd);
    conn->loop->daemons[conn->listener_index].is_ready = true;
}

void http_server_gauge_fell(struct http_server *server)
{
    pthread_mutex_lock(&server->state_mtx);
    pthread_cond_broadcast(&server->state_cond);
    pthread_mutex_unlock(&server->state_mtx);
}

void http_conn_free(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    if (conn->is_counted)
        peer_count_remove(server->peer_count, (const struct sockaddr *)&conn->peer);
    atomic_fetch_sub(&conn->loop->connections_assigned, 1);
    http_request_reset(&conn->request);
    free(conn);
    if (atomic_fetch_sub(&server->connections_open, 1) == 1)
        http_server_gauge_fell(server);
}

void http_conn_release(struct http_conn *conn)
{
    http_request_reset(&conn->request);
    conn->is_orphan = false;
    if (!conn->mhd) /* else MHD is about to close it */
        http_conn_free(conn);
}

static void conn_add(struct http_conn *conn)
{
    struct http_loop *loop = conn->loop;
    struct http_daemon *daemon = &loop->daemons[conn->listener_index];
    loop->adding = conn;
    enum MHD_Result is_added =
        MHD_add_connection(daemon->mhd, conn->fd, (const struct sockaddr *)&conn->peer, conn->peer_bytes);
    /* On failure MHD has closed the socket; whether it called back first depends on how far it came. */
    if (is_added == MHD_NO && loop->adding)
        http_conn_free(conn);
    loop->adding = NULL;
    daemon->is_ready = true;
}

static void conn_add_task(struct http_task *task)
{
    conn_add(AP_CONTAINER_OF(task, struct http_conn, add_task));
}

static struct http_conn *conn_new(struct http_loop *loop, size_t listener_index, int fd,
                                  const struct sockaddr_storage *peer, socklen_t peer_bytes)
{
    struct http_conn *conn = ap_new0(struct http_conn);
    conn->server = loop->server;
    conn->loop = loop;
    conn->listener_index = listener_index;
    conn->fd = fd;
    conn->peer = *peer;
    conn->peer_bytes = peer_bytes;
    conn->add_task.run = conn_add_task;
    if (peer->ss_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)peer)->sin6_addr, conn->peer_text, sizeof(conn->peer_text));
    else
        inet_ntop(AF_INET, &((const struct sockaddr_in *)peer)->sin_addr, conn->peer_text, sizeof(conn->peer_text));
    http_request_init(&conn->request, conn);
    return conn;
}

/* The last word to a connection that is one too many. It may not fit; then there is only the closing. */
static void connection_refuse(struct http_server *server, size_t listener_index, int fd)
{
    static const char text[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
                               "Content-Length: 0\r\n\r\n";
    HTTP_COUNT(server->connections_refused_count, 1);
    if (!server->listen_sockets[listener_index].is_tls)
        (void)send(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    close(fd);
}

static struct http_loop *least_loaded_loop(struct http_server *server)
{
    struct http_loop *least = &server->loops[0];
    for (size_t i = 1; i < server->loop_count; i++)
        if (atomic_load(&server->loops[i].connections_assigned) < atomic_load(&least->connections_assigned))
            least = &server->loops[i];
    return least;
}

static void connection_accepted(struct http_loop *loop, size_t listener_index, int fd,
                                const struct sockaddr_storage *peer, socklen_t peer_bytes)
{
    struct http_server *server = loop->server;
    const struct http_limits *limits = &server->limits;
    const struct sockaddr *address = (const struct sockaddr *)peer;
    bool is_counted = limits->is_loopback_limited || !peer_is_loopback(address);
    if (atomic_load(&server->connections_open) >= limits->connections_max ||
        (is_counted && !peer_count_add(server->peer_count, address, limits->connections_per_peer_max))) {
        connection_refuse(server, listener_index, fd);
        return;
    }
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    HTTP_COUNT(server->connections_accepted_count, 1);
    atomic_fetch_add(&server->connections_open, 1);
    struct http_loop *to = least_loaded_loop(server);
    atomic_fetch_add(&to->connections_assigned, 1);
    struct http_conn *conn = conn_new(to, listener_index, fd, peer, peer_bytes);
    conn->is_counted = is_counted;
    if (to == loop)
        conn_add(conn);
    else
        http_loop_post(to, &conn->add_task);
}

static void listen_on(struct http_loop *loop)
{
    for (size_t i = 0; i < loop->server->listener_count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = EVENT_TAG(EVENT_LISTEN, i)};
        (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->server->listen_sockets[i].fd, &event);
    }
    loop->is_accepting = true;
}

static void listen_off(struct http_loop *loop)
{
    for (size_t i = 0; i < loop->server->listener_count; i++)
        (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, loop->server->listen_sockets[i].fd, NULL);
    loop->is_accepting = false;
}

/* Only the first loop accepts, and hands each connection to the loop that has the fewest. */
static void accept_some(struct http_loop *loop, size_t listener_index)
{
    int listen_fd = loop->server->listen_sockets[listener_index].fd;
    for (int i = 0; i < ACCEPT_BATCH_COUNT && loop->is_accepting; i++) {
        struct sockaddr_storage peer;
        socklen_t peer_bytes = sizeof(peer);
        int fd = accept4(listen_fd, (struct sockaddr *)&peer, &peer_bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            connection_accepted(loop, listener_index, fd, &peer, peer_bytes);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            /* The socket would stay readable and the loop would spin: look away for a moment. */
            listen_off(loop);
            loop->accept_again_us = loop->now_us + ACCEPT_PAUSE_US;
            loop->next_scan_us = AP_MIN(loop->next_scan_us, loop->accept_again_us);
        }
        if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

/* ---- Connections: leaving ---- */

static void linger_start(struct http_loop *loop, struct http_conn *conn)
{
    int fd = fcntl(conn->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u64 = EVENT_TAG(EVENT_LINGER, 0)};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        close(fd);
        return;
    }
    (void)shutdown(fd, SHUT_WR);
    struct http_linger *linger = ap_new0(struct http_linger);
    linger->fd = fd;
    linger->deadline_us = loop->now_us + LINGER_TIMEOUT_US;
    linger->left_bytes = LINGER_BYTES_MAX;
    linger->next = loop->lingers;
    loop->lingers = linger;
    loop->next_scan_us = AP_MIN(loop->next_scan_us, linger->deadline_us);
}

/* False when the client has closed, or has had its fill. */
static bool linger_discard(struct http_linger *linger)
{
    /* MSG_TRUNC on TCP drops the bytes in the kernel, without copying them. A few rounds, then others have their turn.
     */
    for (int i = 0; i < 8; i++) {
        ssize_t bytes = recv(linger->fd, NULL, (size_t)1 << 20, MSG_TRUNC | MSG_DONTWAIT);
        if (bytes < 0)
            return errno == EAGAIN || errno == EINTR;
        if (bytes == 0 || (size_t)bytes > linger->left_bytes)
            return false;
        linger->left_bytes -= (size_t)bytes;
    }
    return true;
}

static void lingers_visit(struct http_loop *loop)
{
    for (struct http_linger **link = &loop->lingers; *link;) {
        struct http_linger *linger = *link;
        if (loop->now_us < linger->deadline_us && linger_discard(linger)) {
            link = &linger->next;
            continue;
        }
        *link = linger->next;
        close(linger->fd); /* the only descriptor left of this socket, so epoll forgets it too */
        free(linger);
    }
}

static void on_connection_started(struct http_loop *loop, struct MHD_Connection *mhd, void **socket_context)
{
    struct http_conn *conn = loop->adding;
    AP_ASSERT(conn != NULL);
    loop->adding = NULL;
    *socket_context = conn;
    conn->mhd = mhd;
    conn->request.mhd = mhd;
    conn->next = loop->conns;
    if (loop->conns)
        loop->conns->previous = conn;
    loop->conns = conn;
    loop->conn_count++;
    http_conn_set_deadline(conn, loop->server->limits.request_timeout_ms);
}

static void on_connection_closed(struct http_loop *loop, struct http_conn *conn)
{
    if (conn->previous)
        conn->previous->next = conn->next;
    else
        loop->conns = conn->next;
    if (conn->next)
        conn->next->previous = conn->previous;
    loop->conn_count--;
    if (conn->is_lingering && !conn->is_cut)
        linger_start(loop, conn);
    conn->mhd = NULL;
    if (!conn->is_orphan) /* else whoever holds the request is waited for */
        http_conn_free(conn);
}

/* MHD calls this before it closes the socket. */
static void on_connection(void *context, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_daemon *daemon = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        on_connection_started(daemon->loop, mhd, socket_context);
    else if (*socket_context)
        on_connection_closed(daemon->loop, *socket_context);
}

/* ---- Deadlines ---- */

static void scan(struct http_loop *loop)
{
    int64_t earliest_us = INT64_MAX;
    loop->next_scan_us = INT64_MAX; /* the event streams lower it */
    for (struct http_conn *conn = loop->conns; conn; conn = conn->next) {
        if (conn->stream)
            http_event_stream_tick(conn->stream);
        if (conn->deadline_us == 0)
            continue;
        if (conn->deadline_us <= loop->now_us) {
            HTTP_COUNT_OWN(loop->stats.connections_cut_count, 1);
            http_conn_cut(conn);
        } else {
            earliest_us = AP_MIN(earliest_us, conn->deadline_us);
        }
    }
    lingers_visit(loop);
    for (struct http_linger *linger = loop->lingers; linger; linger = linger->next)
        earliest_us = AP_MIN(earliest_us, linger->deadline_us);
    if (loop->accept_again_us && loop->accept_again_us <= loop->now_us) {
        loop->accept_again_us = 0;
        listen_on(loop);
    } else if (loop->accept_again_us) {
        earliest_us = AP_MIN(earliest_us, loop->accept_again_us);
    }
    earliest_us = AP_MIN(earliest_us, loop->next_scan_us);
    loop->next_scan_us = AP_MAX(earliest_us, loop->now_us + SCAN_INTERVAL_US);
}

/* ---- The thread ---- */

static int wait_timeout_ms(const struct http_loop *loop)
{
    bool is_hot = false;
    for (size_t i = 0; i < loop->server->listener_count; i++) {
        if (loop->daemons[i].is_ready)
            return 0;
        is_hot |= loop->daemons[i].hot_count > 0;
    }
    if (is_hot)
        return HOT_WAIT_MS;
    if (!loop->conns && !loop->lingers && !loop->accept_again_us)
        return -1;
    int64_t left_us = loop->next_scan_us - loop->now_us;
    if (left_us <= 0)
        return 0;
    return (int)AP_MIN((left_us + AP_US_PER_MS - 1) / AP_US_PER_MS, INT64_C(60000));
}

static void events_wait(struct http_loop *loop)
{
    struct epoll_event events[32];
    int count = epoll_wait(loop->epoll_fd, events, AP_ARRAY_COUNT(events), wait_timeout_ms(loop));
    loop->now_us = ap_clock_monotonic_us(loop->server->clock);
    for (size_t i = 0; i < loop->server->listener_count; i++)
        loop->daemons[i].is_ready |= loop->daemons[i].hot_count > 0;
    bool has_lingers = false;
    for (int i = 0; i < count; i++) {
        size_t index = (uint32_t)events[i].data.u64;
        switch ((enum event_kind)(events[i].data.u64 >> 32)) {
        case EVENT_INBOX: /* edge-triggered: need not be read */
            break;
        case EVENT_LISTEN:
            accept_some(loop, index);
            break;
        case EVENT_DAEMON:
            loop->daemons[index].is_ready = true;
            break;
        case EVENT_LINGER:
            has_lingers = true;
            break;
        }
    }
    if (has_lingers)
        lingers_visit(loop);
}

/*
 * MHD says whether it has more to do without waiting for a socket. Hot requests make it say so always; then its answer
 * tells nothing, and we wait for the next event or HOT_WAIT_MS, which is how long any other connection may have to wait
 * for its next step while there are hot ones.
 */
static void daemon_run(struct http_daemon *daemon)
{
    /* Often one turn reads and the next one writes; doing both before the next wait saves a system call. */
    for (int i = 0; i < DAEMON_PENDING_RUN_COUNT && daemon->is_ready; i++) {
        MHD_run(daemon->mhd);
        MHD_UNSIGNED_LONG_LONG timeout_ms;
        daemon->is_ready = MHD_get_timeout(daemon->mhd, &timeout_ms) == MHD_YES && timeout_ms == 0;
        if (daemon->hot_count > 0) {
            daemon->is_ready = false;
            return;
        }
    }
}

static void *loop_main(void *context)
{
    struct http_loop *loop = context;
    loop->now_us = ap_clock_monotonic_us(loop->server->clock);
    loop->next_scan_us = loop->now_us + SCAN_INTERVAL_US;
    while (!loop->is_stopping || loop->conn_count > 0) {
        events_wait(loop);
        inbox_run(loop);
        for (size_t i = 0; i < loop->server->listener_count; i++)
            daemon_run(&loop->daemons[i]);
        if (loop->now_us >= loop->next_scan_us)
            scan(loop);
    }
    return NULL;
}

/* ---- Making and clearing ---- */

/* A whole PEM file as a string; free() it. */
static enum ap_rc pem_read(const char *path, char **ret_text, struct ap_err *err)
{
    AP_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ap_fail_errno(err, errno, "open %s", path);
    AP_AUTO_BUF struct ap_buf buf = {.bytes_max = PEM_BYTES_MAX};
    for (;;) {
        char *room = ap_buf_reserve(&buf, 4096);
        if (!room)
            return ap_fail(err, AP_E_LIMIT, "%s is larger than %zu bytes", path, PEM_BYTES_MAX);
        ssize_t bytes = read(fd, room, 4096);
        if (bytes < 0)
            return ap_fail_errno(err, errno, "read %s", path);
        if (bytes == 0)
            break;
        buf.bytes += (size_t)bytes;
    }
    *ret_text = ap_buf_detach(&buf);
    return AP_OK;
}

static enum ap_rc daemon_start(struct http_daemon *daemon, const struct http_listener *listener, struct ap_err *err)
{
    const struct http_limits *limits = &daemon->loop->server->limits;
    AP_AUTO_FREE char *certificate = NULL;
    AP_AUTO_FREE char *key = NULL;
    unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_FLAG_SUSPEND_RESUME;
    if (listener->certificate_file) {
        enum ap_rc rc = pem_read(listener->certificate_file, &certificate, err);
        if (rc == AP_OK)
            rc = pem_read(listener->key_file, &key, err);
        if (rc != AP_OK)
            return rc;
        flags |= MHD_USE_TLS;
    }
    struct MHD_OptionItem tls_options[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, key},
        {MHD_OPTION_END, 0, NULL},
    };
    struct MHD_OptionItem no_options[] = {{MHD_OPTION_END, 0, NULL}};
    /*
     * Half of a connection's pool is its read buffer, and the parsed header must leave room for the reply's. MHD clears
     * the pool for each request, so generosity here costs time.
     */
    daemon->mhd = MHD_start_daemon(flags, 0, NULL, NULL, http_request_on_access, daemon, MHD_OPTION_CONNECTION_LIMIT,
                                   (unsigned)limits->connections_max + 16, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                   (size_t)limits->header_bytes_max * 2, MHD_OPTION_CONNECTION_TIMEOUT, 0U,
                                   MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
                                   MHD_OPTION_NOTIFY_CONNECTION, on_connection, daemon, MHD_OPTION_NOTIFY_COMPLETED,
                                   http_request_on_completed, daemon, MHD_OPTION_ARRAY,
                                   listener->certificate_file ? tls_options : no_options, MHD_OPTION_END);
    if (!daemon->mhd)
        return listener->certificate_file
                   ? ap_fail(err, AP_E_INTERNAL,
                             "TLS cannot be set up with certificate %s and key %s: do they belong "
                             "together, and are both PEM?",
                             listener->certificate_file, listener->key_file)
                   : ap_fail(err, AP_E_INTERNAL, "the HTTP library could not start");
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon->mhd, MHD_DAEMON_INFO_EPOLL_FD);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = EVENT_TAG(EVENT_DAEMON, daemon->listener_index)};
    if (!info || epoll_ctl(daemon->loop->epoll_fd, EPOLL_CTL_ADD, info->epoll_fd, &event) < 0)
        return ap_fail_errno(err, errno, "watch the HTTP library's sockets");
    return AP_OK;
}

enum ap_rc http_loop_init(struct http_loop *loop, struct http_server *server, size_t index,
                          const struct http_listener *listeners, struct ap_err *err)
{
    loop->server = server;
    loop->index = index;
    loop->inbox_tail = &loop->inbox_first;
    loop->inflate = inflate_new();
    loop->daemons = ap_new0_array(struct http_daemon, server->listener_count);
    pthread_mutex_init(&loop->inbox_mtx, NULL);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->inbox_event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = EVENT_TAG(EVENT_INBOX, 0)};
    if (loop->epoll_fd < 0 || loop->inbox_event_fd < 0 ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->inbox_event_fd, &event) < 0)
        return ap_fail_errno(err, errno, "make an event loop");
    for (size_t i = 0; i < server->listener_count; i++) {
        loop->daemons[i].loop = loop;
        loop->daemons[i].listener_index = i;
        enum ap_rc rc = daemon_start(&loop->daemons[i], &listeners[i], err);
        if (rc != AP_OK)
            return rc;
    }
    if (index == 0)
        listen_on(loop);
    return AP_OK;
}

enum ap_rc http_loop_start(struct http_loop *loop, struct ap_err *err)
{
    /* Signals are the main thread's; SIGPIPE must not end the program when a client goes away. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&loop->thread, NULL, loop_main, loop);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        return ap_fail_errno(err, error, "start an HTTP thread");
    loop->has_thread = true;
    char name[16];
    snprintf(name, sizeof(name), "http-%zu", loop->index);
    (void)pthread_setname_np(loop->thread, name);
    return AP_OK;
}

/* ---- Orders from http_server.c ---- */

struct order {
    struct http_task task;
    struct http_loop *loop;
    bool is_done; /* under the server's state_mtx */
};

static void order_done(struct order *order)
{
    struct http_server *server = order->loop->server;
    pthread_mutex_lock(&server->state_mtx);
    order->is_done = true;
    pthread_cond_broadcast(&server->state_cond);
    pthread_mutex_unlock(&server->state_mtx);
}

static void order_run(struct http_loop *loop, void (*run)(struct http_task *task))
{
    struct order order = {.task.run = run, .loop = loop};
    http_loop_post(loop, &order.task);
    pthread_mutex_lock(&loop->server->state_mtx);
    while (!order.is_done)
        pthread_cond_wait(&loop->server->state_cond, &loop->server->state_mtx);
    pthread_mutex_unlock(&loop->server->state_mtx);
}

static void quiesce_run(struct http_task *task)
{
    struct order *order = AP_CONTAINER_OF(task, struct order, task);
    if (order->loop->is_accepting)
        listen_off(order->loop);
    order->loop->accept_again_us = 0;
    order_done(order);
}

void http_loop_quiesce(struct http_loop *loop)
{
    order_run(loop, quiesce_run);
}

static void drain_run(struct http_task *task)
{
    struct order *order = AP_CONTAINER_OF(task, struct order, task);
    for (struct http_conn *conn = order->loop->conns; conn; conn = conn->next) {
        char byte;
        if (conn->stream)
            http_event_stream_end(conn->stream);
        else if (conn->request.state == REQUEST_NONE && recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
            http_conn_cut(conn); /* idle. One that has sent something gets its answer first. */
    }
    order_done(order);
}

void http_loop_drain(struct http_loop *loop)
{
    order_run(loop, drain_run);
}

static void cut_run(struct http_task *task)
{
    struct order *order = AP_CONTAINER_OF(task, struct order, task);
    for (struct http_conn *conn = order->loop->conns; conn; conn = conn->next) {
        if (conn->stream)
            http_event_stream_end(conn->stream);
        if (!conn->is_cut)
            HTTP_COUNT_OWN(order->loop->stats.connections_cut_count, 1);
        http_conn_cut(conn);
    }
    order_done(order);
}

void http_loop_cut(struct http_loop *loop)
{
    order_run(loop, cut_run);
}

static void stop_run(struct http_task *task)
{
    struct order *order = AP_CONTAINER_OF(task, struct order, task);
    order->loop->is_stopping = true;
    order_done(order);
}

void http_loop_stop(struct http_loop *loop)
{
    if (!loop->has_thread)
        return;
    order_run(loop, stop_run);
    pthread_join(loop->thread, NULL);
    loop->has_thread = false;
}

void http_loop_clear(struct http_loop *loop)
{
    while (atomic_load(&loop->posting_count) > 0) /* between two lines of http_loop_post() */
        (void)sched_yield();
    for (size_t i = 0; loop->daemons && i < loop->server->listener_count; i++)
        if (loop->daemons[i].mhd)
            MHD_stop_daemon(loop->daemons[i].mhd);
    free(loop->daemons);
    while (loop->lingers) {
        struct http_linger *linger = loop->lingers;
        loop->lingers = linger->next;
        close(linger->fd);
        free(linger);
    }
    for (size_t status = 0; status <= EMPTY_REPLY_STATUS_MAX; status++)
        for (size_t i = 0; i < 2; i++)
            if (loop->empty_replies[status][i])
                MHD_destroy_response(loop->empty_replies[status][i]);
    inflate_free(loop->inflate);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    if (loop->inbox_event_fd >= 0)
        close(loop->inbox_event_fd);
    pthread_mutex_destroy(&loop->inbox_mtx);
}
