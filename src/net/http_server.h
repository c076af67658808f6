/*
 * net/http_server.h - an HTTP/1.1 server: bytes in, requests out, replies back
 *
 * Built on libmicrohttpd (MHD), which parses HTTP and speaks TLS. What this module adds is what a server that faces the
 * internet needs: several listeners, limits on everything a client can make grow, deadlines that a trickling client
 * cannot stretch, decompressed bodies, replies from any thread, server-sent events, draining and figures about itself.
 * It knows requests, never what they mean.
 *
 * The life of a request:
 *
 *     header read ──► admit() ──► body read, decompressed ──► handle() ──► http_reply() ──► sent, arena reset
 *                       │                                        │
 *                       └─ http_reply(): refused, the body       └─ http_suspend(): handed to another thread,
 *                          is never read, connection closes         which calls http_reply() once, later, or
 *                                                                   http_reply_stream(), a piece after the other
 *
 * Threads: `thread_count` loops, each with its own connections. admit(), handle() and the closed-callbacks of event
 * streams run on the loop's thread and must not wait for anything: every other client of that loop waits with them.
 * Whatever blocks happens elsewhere, on a suspended request. http_reply() on a suspended request and everything about
 * event streams may be called from any thread.
 *
 * What a newcomer gets wrong first: every request must be replied to exactly once, on every path. After http_reply(),
 * and after http_suspend() once another thread can see the request, the caller must not touch it again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/rc.h"
#include "base/slice.h"
#include "net/http_field.h"

struct http_server;       /* private to net/ */
struct http_request;      /* private to net/ */
struct http_stream;       /* private to net/ */
struct http_event_stream; /* private to net/ */

enum http_method {
    HTTP_METHOD_GET,
    HTTP_METHOD_HEAD, /* handle it like GET: the body of the reply is not sent */
    HTTP_METHOD_POST,
    HTTP_METHOD_PUT,
    HTTP_METHOD_PATCH,
    HTTP_METHOD_DELETE,
    HTTP_METHOD_OPTIONS,
    HTTP_METHOD_OTHER,
};

/* ---- Limits ---- */

/* Every field: 0 means the default that is stated beside it. */
struct http_limits {
    uint32_t header_bytes_max; /* 8 KiB; request line and header fields together; above: 431 (414 for the line alone) */
    size_t body_bytes_max;     /* 8 MiB; as it came over the wire; above: 413 */
    size_t inflated_bytes_max; /* 32 MiB; after decompression; above: 413 */
    size_t body_memory_bytes_max;      /* 256 MiB; bodies of all requests together; above: 503 with Retry-After */
    uint32_t connections_max;          /* 4096; further ones get 503 and are closed */
    uint32_t connections_per_peer_max; /* 256; one IPv4 address or one IPv6 /64 */
    bool is_loopback_limited;          /* false: connections_per_peer_max does not hold for 127.0.0.0/8 and ::1 */
    uint32_t idle_timeout_ms;          /* 60 s from a reply until the next request's header has come in whole */
    uint32_t request_timeout_ms;       /* 30 s for the first header of a connection (TLS handshake included), and
                                          30 s for a body; then the connection is cut */
    uint32_t reply_timeout_ms;         /* 120 s for sending a whole reply to a client that reads slowly */
    uint32_t stream_timeout_ms;        /* 60 s for each MiB of a body in pieces, while there is something to send */
    size_t stream_queue_bytes_max;     /* 8 MiB of such a body wait for the client, then its producer waits */
};

/* ---- The server ---- */

struct http_listener {
    const char *address;          /* numeric: "127.0.0.1", "0.0.0.0", "::1", "::" (IPv6 only) */
    uint16_t port;                /* 0: any free one, see http_server_port() */
    const char *certificate_file; /* PEM, the chain with the leaf first; NULL: plain HTTP */
    const char *key_file;         /* PEM; NULL exactly when certificate_file is */
    bool is_optional;             /* an address that is in use is no error: it is left out, and its port is 0 */
};

/*
 * Called when the header has come in, before the body is read. May look at everything but the body, may raise or lower
 * the limits of this body (http_set_body_limits()), and may refuse by http_reply(), in which case handle() is not
 * called. Must not suspend. NULL: everything is admitted.
 */
typedef void (*http_admit_fn)(struct http_request *request, void *context);

/* Called when the body is in. Must call http_reply(), http_reply_events() or http_suspend() before it returns. */
typedef void (*http_handle_fn)(struct http_request *request, void *context);

struct http_server_options {
    const struct http_listener *listeners;
    size_t listener_count; /* at least 1 */
    uint32_t thread_count; /* 0: one each core */
    struct http_limits limits;
    const struct ap_clock *clock; /* lent; NULL: the machine's */
    http_admit_fn admit;
    http_handle_fn handle;
    void *context; /* lent; passed to both */
    /* NULL, or called for every error answer that the server itself makes once a header could be read (400, 413, 415,
       431, 503) so that these look like the program's other ones: writes the body for `status` and `reason` into
       `arena`. */
    struct ap_slice (*error_body)(unsigned status, const char *reason, struct ap_arena *arena, void *context);
    const char *error_content_type; /* of what error_body() writes; lent */
};

/* Binds every listener, then starts the threads. An address in use or an unreadable certificate is an error that names
 * it. */
ap_nodiscard enum ap_rc http_server_open(const struct http_server_options *options, struct http_server **ret_server,
                                         struct ap_err *err);

/* The port that listener `listener_index` is really bound to. */
uint16_t http_server_port(const struct http_server *server, size_t listener_index);

/*
 * Stops accepting, closes idle connections and event streams, and lets requests in flight finish. True when all
 * connections are gone; false when some were left after `deadline_ms`, and these have then been cut. Blocks; not to be
 * called on a loop's thread.
 */
bool http_server_drain(struct http_server *server, uint32_t deadline_ms);

/*
 * Cuts every connection, waits until each suspended request has been replied to (the reply goes nowhere), joins the
 * threads. Whoever holds suspended requests must therefore still be running, or have replied. NULL is allowed.
 */
void http_server_close(struct http_server *server);

/* All counters since the start; gauges as of now. */
struct http_stats {
    uint64_t connections_accepted_count;
    uint64_t connections_refused_count; /* over connections_max or connections_per_peer_max */
    uint64_t connections_cut_count;     /* by a deadline */
    uint64_t requests_count;            /* headers came in whole */
    uint64_t replies_count[6];          /* by first digit of the status; [0] is unused */
    uint64_t body_bytes;                /* as they came over the wire */
    uint64_t inflated_bytes;            /* of the compressed ones, after decompression */
    uint64_t reply_bytes;               /* bodies, as handed to the socket */
    uint64_t bodies_refused_count;      /* 413, 415, 400 and 503 made by the server itself */
    uint64_t events_published_count;    /* messages put into event streams */
    uint64_t events_skipped_count;      /* messages that a slow client did not get */
    uint64_t events_cut_count;          /* event streams cut for being slow */
    uint32_t connections_open;
    uint32_t requests_suspended;
    uint32_t event_streams_open;
    size_t body_memory_bytes;
};
void http_server_stats(const struct http_server *server, struct http_stats *ret_stats);

/* ---- The request: all slices are lent and end with it ---- */

enum http_method http_method(const struct http_request *request);
struct ap_slice http_method_text(const struct http_request *request);
struct ap_slice http_path(const struct http_request *request); /* percent-decoded, without the query */

/* For admit(), where several addresses mean one: what http_path() says from now on. Lent until the request ends. */
void http_set_path(struct http_request *request, struct ap_slice path);

/* A query parameter, decoded. Data NULL when there is none; "?a" and "?a=" give data that is not NULL and 0 bytes. */
struct ap_slice http_query(const struct http_request *request, const char *name);

/* Every query parameter in its order, decoded, until `each` returns false; for names that may be there several times.
 */
void http_query_each(const struct http_request *request,
                     bool (*each)(struct ap_slice name, struct ap_slice value, void *context), void *context);

/* A header field; the name in any case. Data NULL when there is none; the first of several. */
struct ap_slice http_header(const struct http_request *request, const char *name);

/* Whether the body came compressed is not visible: this is after decompression. Not before handle(). The bytes behind
 * the end, up to 8, are readable and zero, as fast parsers like it. */
struct ap_slice http_body(const struct http_request *request);

const struct sockaddr *http_peer(const struct http_request *request);
const char *http_peer_text(const struct http_request *request); /* address alone: "192.0.2.7", "2001:db8::1" */
bool http_is_tls(const struct http_request *request);
size_t http_listener_index(const struct http_request *request);

/* Lives until the reply has been sent. One owner: the loop's thread, and after http_suspend() whoever holds the
 * request. */
struct ap_arena *http_arena(struct http_request *request);

/* A pointer of the program's, NULL at first; it is not followed or freed. */
void http_set_user(struct http_request *request, void *user);
void *http_user(const struct http_request *request);

/* In admit() only. Overrides the limits of this one body; 0 keeps the server's. */
void http_set_body_limits(struct http_request *request, size_t body_bytes_max, size_t inflated_bytes_max);

/* ---- Replies ---- */

enum http_body_owner {
    HTTP_BODY_COPIED, /* http_reply() copies the bytes */
    HTTP_BODY_STATIC, /* the bytes outlive the server: nothing is copied */
    HTTP_BODY_ARENA,  /* the bytes are in the request's arena: nothing is copied */
    HTTP_BODY_TAKEN,  /* from malloc(); the server frees them when sent */
};

struct http_reply {
    unsigned status;
    const char *content_type; /* NULL: none */
    struct ap_slice body;
    enum http_body_owner body_owner;
    const struct http_field *fields; /* further header fields; copied */
    size_t field_count;
    /* Bodies above 1 KiB of a type that looks like text are sent as zstd or gzip to clients that accept it, unless this
       is set or `fields` has a Content-Encoding. */
    bool is_uncompressed;
    bool is_last; /* close the connection behind this reply */
};

/*
 * Replies. In admit(), handle(), or from any thread on a suspended request. A name or value with CR or LF in it, which
 * could smuggle a header, is left out.
 */
void http_reply(struct http_request *request, const struct http_reply *reply);

/*
 * Header fields that whatever reply follows (but an event stream) will have beside its own, one of the server's own
 * errors too; lent until the reply has been sent: static ones, or in the request's arena. Calling it again replaces
 * them.
 */
void http_set_reply_fields(struct http_request *request, const struct http_field *fields, size_t field_count);

/* A reply without body or further fields, from ready-made parts: the cheapest there is. */
void http_reply_empty(struct http_request *request, unsigned status);

/*
 * The request will be replied to later. Until then nobody but the one who replies may use it, and it outlives whatever
 * the client does. Replies in bulk are cheap: the loop is woken once for all that arrive while it is awake.
 */
void http_suspend(struct http_request *request);

/*
 * The same for replies that come within milliseconds, such as those after a group commit, and a good deal cheaper: the
 * connection stays where it is for a few turns of its loop before it is really parked. The price: the client may go
 * away in between and take its header with it, so from here on only http_body(), http_arena(), http_peer(),
 * http_peer_text(), http_user() and the replies may be used.
 */
void http_suspend_briefly(struct http_request *request);

/*
 * Whether the client of a suspended request has closed its side of the connection, or lost it: nobody waits for the
 * answer. From the holder's or any thread that works for it, until the request is replied to, or its stream ended. Not
 * after http_suspend_briefly(). A system call.
 */
bool http_is_gone(const struct http_request *request);

/* ---- Bodies in pieces ---- */

/*
 * Replies to a suspended request (not a briefly suspended one) with a body that is made while it is sent: chunked, to a
 * client of HTTP/1.0 up to the end of the connection. `reply` has no body; `body_owner` does not matter.
 *
 * Its producer is the thread that held the request, and goes on holding it: http_arena(), http_body(), http_user() and
 * http_is_gone() stay valid until http_stream_end(), whatever the client does; what is in the header does not.
 */
struct http_stream *http_reply_stream(struct http_request *request, const struct http_reply *reply);

/*
 * Queues a copy of `piece`, compressed if the client wants that. Waits while the queue is full, but not for ever: a
 * client that takes nothing is cut. AP_E_BUSY: the client is gone. After a failure there is only http_stream_end().
 */
ap_nodiscard enum ap_rc http_stream_write(struct http_stream *stream, struct ap_slice piece, struct ap_err *err);

/*
 * Once, from the producer, which must not touch stream and request again. Not `is_whole`: the connection is reset, so
 * that the client cannot take what it has got for an answer.
 */
void http_stream_end(struct http_stream *stream, bool is_whole);

/* ---- Server-sent events ---- */

struct http_event_options {
    size_t queue_bytes_max;    /* 0: 64 KiB; a message that does not fit is skipped and counted */
    uint32_t heartbeat_ms;     /* 0: 15 s without a message, then a comment line is sent */
    uint32_t stall_timeout_ms; /* 0: 30 s without taking a byte while there are some: the client is cut */
    /* The client went away or was cut, or the server drains: called once, on the loop's thread, holding no lock.
       Publishing from here on does nothing. The stream stays valid until http_event_stream_close(). */
    void (*closed)(struct http_event_stream *stream, void *context);
    void *context;
};

/*
 * In handle() only: replies 200 text/event-stream and keeps the connection. The stream is the caller's, to be given
 * back by http_event_stream_close(). The request must not be used again.
 */
struct http_event_stream *http_reply_events(struct http_request *request, const struct http_event_options *options);

/*
 * Queues one message: `event` names it (NULL: none), each line of `data` becomes a data field. Never waits. False when
 * it was skipped, because the client is too slow or gone.
 */
bool http_event_stream_publish(struct http_event_stream *stream, const char *event, struct ap_slice data);

bool http_event_stream_is_closed(const struct http_event_stream *stream);

/* Ends the stream behind what is queued, and gives up the caller's hold. NULL is allowed. Also to be called after
 * closed(). */
void http_event_stream_close(struct http_event_stream *stream);
