/*
 * net/http_internal.h - what the files of the HTTP server share
 *
 * Each loop is one thread with its own connections and its own MHD daemons, one for each listener. The daemons run in
 * MHD's "external" mode: they have no thread and no listening socket, our loop waits on their epoll descriptors and
 * calls MHD_run(). That is what makes the rest possible: connections are counted and refused before MHD sees them,
 * deadlines and replies are handled on the same thread as the sockets, so that none of it needs a lock, and many
 * replies from another thread cost one wake-up.
 */
#pragma once

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "codec/compress.h"
#include "codec/inflate.h"
#include "net/http_server.h"
#include "net/peer_count.h"

struct http_loop;

/* ---- Work posted to a loop ---- */

struct http_task {
    struct http_task *next; /* under the loop's inbox_mtx */
    void (*run)(struct http_task *task);
};

/* Runs take_task->run on the loop's thread, in posting order. Callable from any thread. */
void http_loop_post(struct http_loop *loop, struct http_task *take_task);

/* ---- A request: part of its connection, used again for the next one ---- */

enum request_state {
    REQUEST_NONE,      /* waiting for a header */
    REQUEST_ADMITTING, /* in admit() */
    REQUEST_BODY,      /* the body is coming in, or is being thrown away */
    REQUEST_HANDLING,  /* in handle() */
    REQUEST_SUSPENDED, /* held by some other thread */
    REQUEST_REPLIED,   /* MHD has the reply */
};

struct http_request {
    struct http_conn *conn;     /* constant */
    struct MHD_Connection *mhd; /* constant */

    /* One owner: the loop's thread, but while suspended whoever holds the request. */
    enum request_state state;
    enum http_method method;
    const char *method_text; /* MHD's */
    struct ap_slice path;    /* MHD's, or what http_set_path() was given */
    char *body;              /* in the arena or, when is_body_owned, from malloc() */
    size_t body_bytes;
    size_t body_capacity_bytes;
    size_t body_bytes_max;
    size_t inflated_bytes_max;
    size_t charged_bytes;         /* of http_server.body_memory_bytes */
    uint64_t expected_body_bytes; /* Content-Length, UINT64_MAX when chunked */
    enum inflate_encoding encoding;
    bool is_body_owned;
    bool is_body_dropped;            /* refused by admit(), but short enough to be read and thrown away */
    bool is_detached;                /* suspended briefly: MHD's memory is out of bounds */
    enum compress_encoding accepted; /* once detached */
    struct ap_arena arena;
    void *user;

    /* The reply on its way to MHD. */
    const struct http_field *reply_fields; /* lent */
    size_t reply_field_count;
    unsigned reply_status;
    struct MHD_Response *reply; /* owned; NULL with reply_status set: an empty one */
    bool is_last;
    struct http_stream *stream; /* owned; NULL, or its body in pieces */
    struct http_task reply_task;

    /* Loop thread only. */
    bool is_hot;         /* suspended for us, not for MHD, which asks again in each of its turns */
    uint32_t turn_count; /* how often it has asked */
};

/* ---- A connection ---- */

/* Enough for the body and the decoded rows of a small request: those then need no malloc() at all. */
enum { CONN_ARENA_BYTES = 6 * 1024 };

struct http_conn {
    /* Set at the start, then constant. */
    struct http_server *server;
    struct http_loop *loop;
    size_t listener_index;
    int fd; /* MHD closes it */
    struct sockaddr_storage peer;
    socklen_t peer_bytes;
    bool is_counted; /* in the peer counts */
    char peer_text[INET6_ADDRSTRLEN];

    /* Loop thread only. */
    struct http_conn *next;
    struct http_conn *previous;
    struct MHD_Connection *mhd;
    int64_t deadline_us; /* 0: none. The connection is cut when it has passed. */
    bool is_cut;
    bool is_orphan;                   /* the client is gone, the request is still held */
    bool is_lingering;                /* closed before the client stopped sending: see http_linger */
    struct http_event_stream *stream; /* NULL, or what this connection has become */
    struct http_stream *body_stream;  /* NULL, or the request's, once MHD has its reply */
    struct http_task add_task;
    struct http_request request;
    char arena_memory[CONN_ARENA_BYTES] __attribute__((aligned(16)));
};

/*
 * A socket on which we have said the last word while the client is still sending. Closing it at once would make the
 * kernel answer with a reset, which can overtake our reply: the client would see "connection reset" in place of "413".
 * So a duplicate of the descriptor is kept, what arrives is thrown away, and it is closed when the client closes or
 * time is up.
 */
struct http_linger {
    struct http_linger *next;
    int fd;
    int64_t deadline_us;
    size_t left_bytes; /* to be thrown away at most */
};

/* ---- Figures: written by one loop's thread or atomically, read by anybody ---- */

struct http_loop_stats {
    uint64_t requests_count;
    uint64_t replies_count[6];
    uint64_t body_bytes;
    uint64_t inflated_bytes;
    uint64_t reply_bytes;
    uint64_t bodies_refused_count;
    uint64_t connections_cut_count;
    uint64_t events_published_count;
    uint64_t events_skipped_count;
    uint64_t events_cut_count;
};

#define HTTP_COUNT(counter, amount) (void)__atomic_fetch_add(&(counter), (amount), __ATOMIC_RELAXED)

/* For counters that only the loop's thread writes: no locked instruction. */
#define HTTP_COUNT_OWN(counter, amount)                                                                                \
    __atomic_store_n(&(counter), __atomic_load_n(&(counter), __ATOMIC_RELAXED) + (amount), __ATOMIC_RELAXED)

/* ---- A loop ---- */

enum { EMPTY_REPLY_STATUS_MAX = 599 };

struct http_daemon {
    struct http_loop *loop;
    size_t listener_index;
    struct MHD_Daemon *mhd; /* owned */
    bool is_ready;          /* to be run in this turn */
    size_t hot_count;       /* its requests that are hot */
};

struct http_loop {
    /* Set before the thread starts, then constant. */
    struct http_server *server;
    size_t index;
    pthread_t thread;
    bool has_thread;
    int epoll_fd;
    struct http_daemon *daemons; /* one for each listener */

    /* Loop thread only. */
    struct http_conn *conns;
    size_t conn_count;
    struct http_conn *adding; /* while MHD_add_connection() calls back */
    struct http_linger *lingers;
    int64_t now_us;
    int64_t next_scan_us;
    int64_t accept_again_us; /* 0, or when to listen again after running out of descriptors */
    bool is_accepting;
    bool is_stopping;
    struct inflate *inflate;
    struct MHD_Response *empty_replies[EMPTY_REPLY_STATUS_MAX + 1][2]; /* made when first used; [1] closes */

    /* Written by the loop's thread or atomically. */
    struct http_loop_stats stats;
    atomic_uint connections_assigned; /* open ones and those on their way here */

    /* Any thread, under inbox_mtx. A leaf lock: nothing else is locked while it is held. */
    pthread_mutex_t inbox_mtx;
    struct http_task *inbox_first;
    struct http_task **inbox_tail;
    int inbox_event_fd; /* becomes readable when the inbox stops being empty */
    /* Any thread. */
    atomic_uint posting_count; /* threads within http_loop_post() */
};

/* ---- The server ---- */

enum { COMPRESSORS_KEPT = 4 };

struct http_server {
    /* Set before the threads start, then constant. */
    struct http_server_options options; /* `listeners` is not kept */
    struct http_limits limits;          /* defaults filled in */
    const struct ap_clock *clock;       /* lent */
    struct http_listen_socket {
        int fd;
        uint16_t port;
        bool is_tls;
    } * listen_sockets;
    size_t listener_count;
    struct http_loop *loops;
    size_t loop_count;

    /* Any thread, atomic. */
    atomic_uint connections_open;
    atomic_uint requests_suspended;
    atomic_uint event_streams_open;
    atomic_size_t body_memory_bytes;
    atomic_bool is_draining;
    uint64_t connections_accepted_count;
    uint64_t connections_refused_count;

    struct peer_count *peer_count; /* has its own lock */

    /* Any thread, under state_mtx; state_cond says that one of the gauges above fell to zero. */
    pthread_mutex_t state_mtx;
    pthread_cond_t state_cond;

    /* Any thread, under compressor_mtx. A leaf lock. */
    pthread_mutex_t compressor_mtx;
    struct compressor *compressors[COMPRESSORS_KEPT];
    size_t compressor_count;
};

/* http_loop.c */
ap_nodiscard enum ap_rc http_loop_init(struct http_loop *loop, struct http_server *server, size_t index,
                                       const struct http_listener *listeners, struct ap_err *err);
ap_nodiscard enum ap_rc http_loop_start(struct http_loop *loop, struct ap_err *err);
void http_loop_clear(struct http_loop *loop); /* the thread has ended or never started */
/* Orders, from another thread; each waits until it has been carried out. */
void http_loop_quiesce(struct http_loop *loop); /* accepts nothing more */
void http_loop_drain(struct http_loop *loop);   /* closes what is idle */
void http_loop_cut(struct http_loop *loop);     /* closes everything */
void http_loop_stop(struct http_loop *loop);    /* ends the thread as soon as it has no connections */
void http_conn_cut(struct http_conn *conn);     /* loop thread only; MHD closes it in its next turn */
void http_conn_set_deadline(struct http_conn *conn, int64_t timeout_ms); /* from now; 0: none */
void http_loop_resume(struct http_conn *conn);                           /* loop thread only */
void http_conn_free(struct http_conn *conn);                             /* all but the socket */
void http_conn_release(struct http_conn *conn);                          /* an orphan's request is held no longer */
void http_request_cool(struct http_request *request);                    /* no longer hot */
void http_server_gauge_fell(struct http_server *server);

/* http_request.c: MHD's callbacks */
enum MHD_Result http_request_on_access(void *context, struct MHD_Connection *mhd, const char *url, const char *method,
                                       const char *version, const char *upload_data, size_t *upload_data_bytes,
                                       void **request_context);
void http_request_on_completed(void *context, struct MHD_Connection *mhd, void **request_context,
                               enum MHD_RequestTerminationCode termination);
void http_request_init(struct http_request *request, struct http_conn *conn);
void http_request_reset(struct http_request *request); /* frees what it holds */

/* http_reply.c */
struct MHD_Response *http_empty_reply(struct http_loop *loop, unsigned status, bool is_last); /* lent */
enum compress_encoding http_accepted(const struct http_request *request);
/* How a body of this reply is to be compressed; COMPRESS_IDENTITY also where it must not be. *ret_varies: other clients
 * may get it otherwise. */
enum compress_encoding http_reply_encoding(const struct http_request *request, const struct http_reply *reply,
                                           bool *ret_varies);
void http_reply_add_fields(const struct http_request *request, struct MHD_Response *response,
                           const struct http_reply *reply, enum compress_encoding encoding, bool varies);
void http_reply_send(struct http_request *request); /* filled in: off it goes, on any thread */
struct compressor *http_compressor_get(struct http_server *server);
void http_compressor_put(struct http_server *server, struct compressor *take_compressor);
void http_reply_error(struct http_request *request, unsigned status, const char *reason);
enum MHD_Result http_reply_queue(struct http_request *request); /* loop thread only: hands the reply to MHD */
void http_reply_raw_error(struct http_request *request, unsigned status, const char *reason);

/* What is sent from the front and added to at the end: moves what is left to the front, when most has been sent. */
static inline void http_queue_compact(struct ap_buf *queue, size_t *sent_bytes)
{
    size_t left_bytes = queue->bytes - *sent_bytes;
    if (*sent_bytes <= left_bytes)
        return;
    memmove(queue->data, queue->data + *sent_bytes, left_bytes);
    queue->bytes = left_bytes;
    *sent_bytes = 0;
}

/* http_stream.c: loop thread only, but for freeing */
void http_stream_free(struct http_stream *stream);   /* NULL is allowed */
bool http_stream_detach(struct http_stream *stream); /* the connection is gone; whether its producer is, too */
void http_stream_cut(struct http_stream *stream);    /* resets the connection: nothing may look like a proper end */

/* http_events.c: loop thread only */
void http_event_stream_detach(struct http_event_stream *stream); /* the connection is gone */
void http_event_stream_tick(struct http_event_stream *stream);   /* heartbeat, stalled clients */
void http_event_stream_end(struct http_event_stream *stream);    /* behind what is queued */
