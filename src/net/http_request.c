/*
 * net/http_request.c - from MHD's callbacks to admit() and handle()
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "net/http_internal.h"

/*
 * The body of a refused request up to this size is read and thrown away and the connection goes on: that is cheaper
 * than a new connection for each 401 or 429. Larger ones are not read; the connection closes.
 */
#define DROPPED_BODY_BYTES_MAX (16 * 1024)

/* How often MHD may ask for a reply before the connection is really suspended. */
#define HOT_TURN_COUNT_MAX 32

/* Bodies up to this size live in the connection's own memory. */
#define ARENA_BODY_BYTES_MAX (2 * 1024)

/* What a body starts with: it grows as bytes really come, so that a claimed Content-Length costs nothing. */
#define BODY_FIRST_BYTES ((size_t)16 * 1024)

/* ---- What the program sees ---- */

enum http_method http_method(const struct http_request *request)
{
    return request->method;
}

struct ap_slice http_method_text(const struct http_request *request)
{
    return ap_slice_cstr(request->method_text);
}

struct ap_slice http_path(const struct http_request *request)
{
    return request->path;
}

void http_set_path(struct http_request *request, struct ap_slice path)
{
    request->path = path;
}

static struct ap_slice lookup(const struct http_request *request, enum MHD_ValueKind kind, const char *name)
{
    AP_ASSERT(!request->is_detached);
    const char *value;
    size_t value_bytes;
    if (MHD_lookup_connection_value_n(request->mhd, kind, name, strlen(name), &value, &value_bytes) != MHD_YES)
        return (struct ap_slice){0};
    return value ? ap_slice(value, value_bytes) : ap_slice("", 0);
}

struct ap_slice http_query(const struct http_request *request, const char *name)
{
    return lookup(request, MHD_GET_ARGUMENT_KIND, name);
}

struct visit {
    bool (*each)(struct ap_slice name, struct ap_slice value, void *context);
    void *context;
};

static enum MHD_Result visit_parameter(void *context, enum MHD_ValueKind kind, const char *name, size_t name_bytes,
                                       const char *value, size_t value_bytes)
{
    (void)kind;
    const struct visit *visit = context;
    struct ap_slice value_slice = value ? ap_slice(value, value_bytes) : ap_slice("", 0);
    return visit->each(ap_slice(name, name_bytes), value_slice, visit->context) ? MHD_YES : MHD_NO;
}

void http_query_each(const struct http_request *request,
                     bool (*each)(struct ap_slice name, struct ap_slice value, void *context), void *context)
{
    AP_ASSERT(!request->is_detached);
    struct visit visit = {each, context};
    MHD_get_connection_values_n(request->mhd, MHD_GET_ARGUMENT_KIND, visit_parameter, &visit);
}

struct ap_slice http_header(const struct http_request *request, const char *name)
{
    return lookup(request, MHD_HEADER_KIND, name);
}

struct ap_slice http_body(const struct http_request *request)
{
    return ap_slice(request->body ? request->body : "\0\0\0\0\0\0\0", request->body_bytes);
}

const struct sockaddr *http_peer(const struct http_request *request)
{
    return (const struct sockaddr *)&request->conn->peer;
}

const char *http_peer_text(const struct http_request *request)
{
    return request->conn->peer_text;
}

bool http_is_tls(const struct http_request *request)
{
    return request->conn->server->listen_sockets[request->conn->listener_index].is_tls;
}

size_t http_listener_index(const struct http_request *request)
{
    return request->conn->listener_index;
}

struct ap_arena *http_arena(struct http_request *request)
{
    return &request->arena;
}

void http_set_user(struct http_request *request, void *user)
{
    request->user = user;
}

void *http_user(const struct http_request *request)
{
    return request->user;
}

void http_set_body_limits(struct http_request *request, size_t body_bytes_max, size_t inflated_bytes_max)
{
    AP_ASSERT(request->state == REQUEST_ADMITTING);
    if (body_bytes_max)
        request->body_bytes_max = body_bytes_max;
    if (inflated_bytes_max)
        request->inflated_bytes_max = inflated_bytes_max;
}

void http_suspend(struct http_request *request)
{
    AP_ASSERT(request->state == REQUEST_HANDLING);
    request->state = REQUEST_SUSPENDED;
    http_conn_set_deadline(request->conn, 0);
    atomic_fetch_add(&request->conn->server->requests_suspended, 1);
    MHD_suspend_connection(request->mhd);
}

void http_suspend_briefly(struct http_request *request)
{
    AP_ASSERT(request->state == REQUEST_HANDLING);
    struct http_conn *conn = request->conn;
    request->accepted = http_accepted(request);
    request->is_detached = true;
    request->state = REQUEST_SUSPENDED;
    request->is_hot = true;
    request->turn_count = 0;
    conn->loop->daemons[conn->listener_index].hot_count++;
    http_conn_set_deadline(conn, 0);
    atomic_fetch_add(&conn->server->requests_suspended, 1);
}

void http_request_cool(struct http_request *request)
{
    if (request->is_hot)
        request->conn->loop->daemons[request->conn->listener_index].hot_count--;
    request->is_hot = false;
}

/*
 * MHD asks again for the reply of a hot request. MHD's own suspending and resuming costs three system calls (out of the
 * epoll set, a read that finds nothing, back into the set), being asked costs next to nothing; so a request is
 * suspended only when it has not been replied to after some turns.
 */
static enum MHD_Result on_asked_again(struct http_request *request)
{
    if (request->is_hot && ++request->turn_count >= HOT_TURN_COUNT_MAX) {
        http_request_cool(request);
        MHD_suspend_connection(request->mhd);
    }
    return MHD_YES;
}

/* ---- Life ---- */

void http_request_init(struct http_request *request, struct http_conn *conn)
{
    request->conn = conn;
    ap_arena_init_with(&request->arena, conn->arena_memory, sizeof(conn->arena_memory), 0);
}

/* Returns what was charged for a body to the server's account. */
static void body_uncharge(struct http_request *request)
{
    if (request->charged_bytes)
        atomic_fetch_sub(&request->conn->server->body_memory_bytes, request->charged_bytes);
    request->charged_bytes = 0;
}

static void body_clear(struct http_request *request)
{
    if (request->is_body_owned)
        free(request->body);
    request->body = NULL;
    request->is_body_owned = false;
    request->body_bytes = 0;
    request->body_capacity_bytes = 0;
    body_uncharge(request);
}

void http_request_reset(struct http_request *request)
{
    body_clear(request);
    ap_arena_reset(&request->arena);
    if (request->reply)
        MHD_destroy_response(request->reply);
    request->reply = NULL;
    request->reply_status = 0;
    http_stream_free(request->stream);
    request->stream = NULL;
    request->reply_fields = NULL;
    request->reply_field_count = 0;
    request->is_last = false;
    request->is_body_dropped = false;
    request->is_detached = false;
    request->user = NULL;
    request->state = REQUEST_NONE;
}

static enum http_method method_parse(const char *text)
{
    static const char *const names[] = {
        [HTTP_METHOD_GET] = "GET",         [HTTP_METHOD_HEAD] = "HEAD",   [HTTP_METHOD_POST] = "POST",
        [HTTP_METHOD_PUT] = "PUT",         [HTTP_METHOD_PATCH] = "PATCH", [HTTP_METHOD_DELETE] = "DELETE",
        [HTTP_METHOD_OPTIONS] = "OPTIONS",
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(names); i++)
        if (strcmp(text, names[i]) == 0)
            return (enum http_method)i;
    return HTTP_METHOD_OTHER;
}

/* ---- The body, as it comes in ---- */

/* How a fault of the body is answered; 0: none. */
struct fault {
    unsigned status;
    const char *reason;
};
static const struct fault no_fault = {0, NULL};

/* Takes `bytes` from the memory that all bodies share; false when that is too much: then body_clear() must follow. */
static bool body_charge(struct http_request *request, size_t bytes)
{
    struct http_server *server = request->conn->server;
    size_t before = atomic_fetch_add(&server->body_memory_bytes, bytes);
    request->charged_bytes += bytes;
    return before + bytes <= server->limits.body_memory_bytes_max;
}

static struct fault body_grow(struct http_request *request, size_t needed_bytes)
{
    size_t capacity = AP_MAX(request->body_capacity_bytes * 2, BODY_FIRST_BYTES);
    capacity = AP_MAX(capacity, needed_bytes);
    /* Never more than what may come, but what is already there must fit. */
    if (request->expected_body_bytes < capacity)
        capacity = (size_t)request->expected_body_bytes;
    if (!body_charge(request, capacity - request->body_capacity_bytes))
        return (struct fault){503, "too many large bodies at once: try again in a few seconds"};
    char *body = realloc(request->is_body_owned ? request->body : NULL, capacity + INFLATE_PADDING_BYTES);
    if (!body)
        return (struct fault){503, "no memory for the body: try again in a few seconds"};
    request->body = body;
    request->is_body_owned = true;
    request->body_capacity_bytes = capacity;
    return no_fault;
}

static struct fault body_append(struct http_request *request, const char *data, size_t bytes)
{
    if (bytes > request->body_bytes_max - request->body_bytes)
        return (struct fault){413, "the body is larger than this server takes"};
    size_t needed_bytes = request->body_bytes + bytes;
    if (!request->body && request->expected_body_bytes <= ARENA_BODY_BYTES_MAX) {
        request->body_capacity_bytes = (size_t)request->expected_body_bytes;
        request->body = ap_arena_try_alloc(&request->arena, request->body_capacity_bytes + INFLATE_PADDING_BYTES);
        if (!request->body)
            return (struct fault){503, "no memory for the body: try again in a few seconds"};
    }
    if (needed_bytes > request->body_capacity_bytes) {
        struct fault fault = body_grow(request, needed_bytes);
        if (fault.status)
            return fault;
    }
    memcpy(request->body + request->body_bytes, data, bytes);
    request->body_bytes = needed_bytes;
    HTTP_COUNT_OWN(request->conn->loop->stats.body_bytes, bytes);
    return no_fault;
}

static enum MHD_Result on_body(struct http_request *request, const char *data, size_t bytes)
{
    if (request->is_body_dropped)
        return MHD_YES;
    struct fault fault = body_append(request, data, bytes);
    if (!fault.status)
        return MHD_YES;
    /* MHD takes no reply in the middle of a body, so this one is written past it, and the connection closed. */
    HTTP_COUNT_OWN(request->conn->loop->stats.bodies_refused_count, 1);
    request->conn->is_lingering = true;
    body_clear(request); /* before the client hears of it: there is room again for those whom it tells */
    http_reply_raw_error(request, fault.status, fault.reason);
    return MHD_NO;
}

/* Replaces the body by what it decompresses to. */
static struct fault body_inflate(struct http_request *request, char reason[AP_ERR_TEXT_BYTES])
{
    struct http_server *server = request->conn->server;
    size_t used_bytes = atomic_load(&server->body_memory_bytes);
    size_t left_bytes = server->limits.body_memory_bytes_max - AP_MIN(server->limits.body_memory_bytes_max, used_bytes);
    size_t bytes_max = AP_MIN(request->inflated_bytes_max, left_bytes);
    struct ap_err err;
    char *body;
    size_t body_bytes;
    enum ap_rc rc = inflate_body(request->conn->loop->inflate, request->encoding,
                                 ap_slice(request->body, request->body_bytes), bytes_max, &body, &body_bytes, &err);
    if (rc == AP_E_LIMIT && bytes_max < request->inflated_bytes_max)
        return (struct fault){503, "too many large bodies at once: try again in a few seconds"};
    if (rc != AP_OK) {
        memcpy(reason, err.text, AP_ERR_TEXT_BYTES);
        return (struct fault){rc == AP_E_LIMIT ? 413 : rc == AP_E_NOMEM ? 503 : 400, reason};
    }
    body_clear(request);
    request->body = body;
    request->is_body_owned = true;
    request->body_bytes = body_bytes;
    request->body_capacity_bytes = body_bytes;
    (void)body_charge(request, body_bytes);
    HTTP_COUNT_OWN(request->conn->loop->stats.inflated_bytes, body_bytes);
    return no_fault;
}

/* ---- MHD's callbacks ---- */

static void refuse(struct http_request *request, unsigned status, const char *reason)
{
    HTTP_COUNT_OWN(request->conn->loop->stats.bodies_refused_count, 1);
    http_reply_error(request, status, reason);
}

/* Length of the body according to the header: MHD has already refused what is contradictory or not a number. */
static uint64_t expected_body_bytes(const struct http_request *request)
{
    if (http_header(request, MHD_HTTP_HEADER_TRANSFER_ENCODING).data)
        return UINT64_MAX;
    struct ap_slice length = http_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return length.data ? strtoull(length.data, NULL, 10) : 0;
}

/* The limits of the server itself, after admit(), which may have changed them. */
static void admit_body(struct http_request *request)
{
    if (request->expected_body_bytes == 0)
        return;
    if (request->expected_body_bytes != UINT64_MAX && request->expected_body_bytes > request->body_bytes_max)
        refuse(request, 413, "the body is larger than this server takes");
    else if (!inflate_encoding_parse(http_header(request, MHD_HTTP_HEADER_CONTENT_ENCODING), &request->encoding))
        refuse(request, 415, "this Content-Encoding is not understood: send gzip, deflate, zstd or none");
}

/* A reply was made before the body was read: the body is thrown away if that is cheap, or not read at all. */
static enum MHD_Result refuse_body(struct http_request *request)
{
    bool is_cheap =
        request->expected_body_bytes <= DROPPED_BODY_BYTES_MAX && !http_header(request, MHD_HTTP_HEADER_EXPECT).data;
    if (is_cheap) {
        request->is_body_dropped = request->expected_body_bytes > 0;
        return MHD_YES;
    }
    request->conn->is_lingering = true;
    request->is_last = true;
    return http_reply_queue(request);
}

static enum MHD_Result on_header(struct http_request *request, const char *url, const char *method)
{
    struct http_conn *conn = request->conn;
    struct http_server *server = conn->server;
    request->method = method_parse(method);
    request->method_text = method;
    request->path = ap_slice_cstr(url);
    request->encoding = INFLATE_IDENTITY;
    request->body_bytes_max = server->limits.body_bytes_max;
    request->inflated_bytes_max = server->limits.inflated_bytes_max;
    request->expected_body_bytes = expected_body_bytes(request);
    HTTP_COUNT_OWN(conn->loop->stats.requests_count, 1);
    http_conn_set_deadline(conn, server->limits.request_timeout_ms);

    request->state = REQUEST_ADMITTING;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (info && info->header_size > server->limits.header_bytes_max)
        http_reply_error(request, 431, "the header is larger than this server takes");
    else if (server->options.admit)
        server->options.admit(request, server->options.context);
    if (!request->reply_status)
        admit_body(request);
    request->state = REQUEST_BODY;
    return request->reply_status ? refuse_body(request) : MHD_YES;
}

static enum MHD_Result on_complete(struct http_request *request)
{
    struct http_server *server = request->conn->server;
    if (request->state == REQUEST_SUSPENDED)
        return on_asked_again(request);
    AP_ASSERT(request->state == REQUEST_BODY);
    request->state = REQUEST_HANDLING;
    char reason[AP_ERR_TEXT_BYTES];
    struct fault fault = no_fault;
    if (request->body)
        memset(request->body + request->body_bytes, 0, INFLATE_PADDING_BYTES);
    if (!request->reply_status && request->encoding != INFLATE_IDENTITY)
        fault = body_inflate(request, reason);
    if (fault.status)
        refuse(request, fault.status, fault.reason);
    else if (!request->reply_status)
        server->options.handle(request, server->options.context);
    if (request->state == REQUEST_SUSPENDED)
        return MHD_YES;
    AP_ASSERT(request->reply_status != 0); /* handle() has to reply or suspend */
    return http_reply_queue(request);
}

enum MHD_Result http_request_on_access(void *context, struct MHD_Connection *mhd, const char *url, const char *method,
                                       const char *version, const char *upload_data, size_t *upload_data_bytes,
                                       void **request_context)
{
    (void)context;
    (void)version;
    struct http_request *request = *request_context;
    if (!request) {
        const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        struct http_conn *conn = info->socket_context;
        request = &conn->request;
        *request_context = request;
        return on_header(request, url, method);
    }
    if (*upload_data_bytes > 0) {
        size_t bytes = *upload_data_bytes;
        *upload_data_bytes = 0;
        return on_body(request, upload_data, bytes);
    }
    return on_complete(request);
}

void http_request_on_completed(void *context, struct MHD_Connection *mhd, void **request_context,
                               enum MHD_RequestTerminationCode termination)
{
    (void)context;
    (void)mhd;
    (void)termination;
    struct http_request *request = *request_context;
    if (!request)
        return;
    struct http_conn *conn = request->conn;
    if (request->state == REQUEST_SUSPENDED) { /* a hot one: MHD does not look at the others */
        AP_ASSERT(request->is_hot);
        http_request_cool(request);
        conn->is_orphan = true;
        return;
    }
    if (conn->stream) {
        http_event_stream_detach(conn->stream);
        conn->stream = NULL;
    }
    if (conn->body_stream) {
        bool is_ended = http_stream_detach(conn->body_stream);
        conn->body_stream = NULL;
        if (!is_ended) { /* whoever makes the body still uses the request */
            conn->is_orphan = true;
            return;
        }
    }
    http_request_reset(request);
    http_conn_set_deadline(conn, conn->server->limits.idle_timeout_ms);
    if (atomic_load(&conn->server->is_draining))
        (void)shutdown(conn->fd, SHUT_RDWR);
}
