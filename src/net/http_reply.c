/*
 * net/http_reply.c - replies: made on any thread, handed to MHD on the loop's
 */
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "base/buf.h"
#include "net/http_internal.h"

#define COMPRESS_BYTES_MIN 1024

/* ---- Handing to MHD ---- */

struct MHD_Response *http_empty_reply(struct http_loop *loop, unsigned status, bool is_last)
{
    AP_ASSERT(status >= 100 && status <= EMPTY_REPLY_STATUS_MAX);
    struct MHD_Response **reply = &loop->empty_replies[status][is_last];
    if (!*reply) {
        *reply = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        AP_ASSERT(*reply != NULL);
        if (is_last)
            (void)MHD_add_response_header(*reply, MHD_HTTP_HEADER_CONNECTION, "close");
    }
    return *reply;
}

enum MHD_Result http_reply_queue(struct http_request *request)
{
    struct http_conn *conn = request->conn;
    struct http_loop *loop = conn->loop;
    unsigned status = request->reply_status;
    bool is_last = request->is_last || atomic_load_explicit(&conn->server->is_draining, memory_order_relaxed);
    request->state = REQUEST_REPLIED;
    HTTP_COUNT_OWN(loop->stats.replies_count[status / 100], 1);
    conn->body_stream = request->stream;
    if (!conn->stream)
        http_conn_set_deadline(conn, request->stream ? conn->server->limits.stream_timeout_ms
                                                     : conn->server->limits.reply_timeout_ms);
    if (!request->reply)
        return MHD_queue_response(request->mhd, status, http_empty_reply(loop, status, is_last));
    if (is_last)
        (void)MHD_add_response_header(request->reply, MHD_HTTP_HEADER_CONNECTION, "close");
    struct MHD_Response *reply = AP_MOVE(request->reply);
    enum MHD_Result result = MHD_queue_response(request->mhd, status, reply);
    MHD_destroy_response(reply); /* MHD holds it now */
    return result;
}

static void reply_task_run(struct http_task *task)
{
    struct http_request *request = AP_CONTAINER_OF(task, struct http_request, reply_task);
    struct http_conn *conn = request->conn;
    if (atomic_fetch_sub(&conn->server->requests_suspended, 1) == 1 &&
        atomic_load_explicit(&conn->server->is_draining, memory_order_relaxed))
        http_server_gauge_fell(conn->server);
    if (conn->is_orphan) {
        http_conn_release(conn);
        return;
    }
    bool was_hot = request->is_hot;
    http_request_cool(request);
    if (http_reply_queue(request) == MHD_NO)
        http_conn_cut(conn);
    if (was_hot)
        conn->loop->daemons[conn->listener_index].is_ready = true;
    else
        http_loop_resume(conn);
}

/* From here on the request belongs to its loop again. */
void http_reply_send(struct http_request *request)
{
    if (request->state == REQUEST_SUSPENDED) {
        request->reply_task.run = reply_task_run;
        http_loop_post(request->conn->loop, &request->reply_task);
        return;
    }
    /* admit() or handle() is running: it is sent when that returns. */
    AP_ASSERT(request->state == REQUEST_ADMITTING || request->state == REQUEST_HANDLING);
}

void http_set_reply_fields(struct http_request *request, const struct http_field *fields, size_t field_count)
{
    request->reply_fields = fields;
    request->reply_field_count = field_count;
}

void http_reply_empty(struct http_request *request, unsigned status)
{
    AP_ASSERT(request->reply_status == 0);
    if (request->reply_field_count) {
        http_reply(request, &(struct http_reply){.status = status});
        return;
    }
    request->reply_status = status;
    http_reply_send(request);
}

/* ---- Compression ---- */

struct compressor *http_compressor_get(struct http_server *server)
{
    struct compressor *compressor = NULL;
    pthread_mutex_lock(&server->compressor_mtx);
    if (server->compressor_count > 0)
        compressor = server->compressors[--server->compressor_count];
    pthread_mutex_unlock(&server->compressor_mtx);
    return compressor ? compressor : compressor_new();
}

void http_compressor_put(struct http_server *server, struct compressor *take_compressor)
{
    pthread_mutex_lock(&server->compressor_mtx);
    bool is_kept = server->compressor_count < COMPRESSORS_KEPT;
    if (is_kept)
        server->compressors[server->compressor_count++] = take_compressor;
    pthread_mutex_unlock(&server->compressor_mtx);
    if (!is_kept)
        compressor_free(take_compressor);
}

/* Smaller than `body`, for free(); data NULL when it cannot be made smaller. */
static struct ap_slice compress(struct http_server *server, enum compress_encoding encoding, struct ap_slice body)
{
    AP_AUTO_BUF struct ap_buf smaller = {0};
    size_t bytes_max = body.bytes - body.bytes / 16; /* less gain is not worth the client's work */
    struct compressor *compressor = http_compressor_get(server);
    bool is_smaller = compressor_whole(compressor, encoding, body, bytes_max, &smaller);
    http_compressor_put(server, compressor);
    if (!is_smaller)
        return (struct ap_slice){0};
    size_t bytes = smaller.bytes;
    return ap_slice(ap_realloc(ap_buf_detach(&smaller), bytes), bytes);
}

static bool is_textlike(const char *content_type)
{
    if (!content_type)
        return false;
    static const char *const prefixes[] = {"text/",           "application/json",       "application/javascript",
                                           "application/xml", "application/x-ndjson",   "application/manifest+json",
                                           "image/svg+xml",   "application/stream+json"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(prefixes); i++)
        if (strncasecmp(content_type, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

enum compress_encoding http_accepted(const struct http_request *request)
{
    return request->is_detached ? request->accepted
                                : compress_encoding_choose(http_header(request, MHD_HTTP_HEADER_ACCEPT_ENCODING));
}

static bool has_content_encoding(const struct http_reply *reply)
{
    for (size_t i = 0; i < reply->field_count; i++)
        if (strcasecmp(reply->fields[i].name, MHD_HTTP_HEADER_CONTENT_ENCODING) == 0)
            return true;
    return false;
}

enum compress_encoding http_reply_encoding(const struct http_request *request, const struct http_reply *reply,
                                           bool *ret_varies)
{
    *ret_varies = !reply->is_uncompressed && is_textlike(reply->content_type) && !has_content_encoding(reply);
    return *ret_varies ? http_accepted(request) : COMPRESS_IDENTITY;
}

/* ---- Making ---- */

static struct MHD_Response *response_of_body(struct ap_slice body, enum http_body_owner owner)
{
    void *data = (void *)(uintptr_t)body.data; /* MHD does not write to it */
    switch (owner) {
    case HTTP_BODY_COPIED:
        return MHD_create_response_from_buffer(body.bytes, data, MHD_RESPMEM_MUST_COPY);
    case HTTP_BODY_TAKEN:
        return MHD_create_response_from_buffer_with_free_callback(body.bytes, data, free);
    case HTTP_BODY_STATIC:
    case HTTP_BODY_ARENA:
        break;
    }
    return MHD_create_response_from_buffer(body.bytes, data, MHD_RESPMEM_PERSISTENT);
}

void http_reply_add_fields(const struct http_request *request, struct MHD_Response *response,
                           const struct http_reply *reply, enum compress_encoding encoding, bool varies)
{
    /* MHD refuses names and values with CR or LF; leaving such a field out is what the header promises. */
    if (reply->content_type)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
    for (size_t i = 0; i < reply->field_count; i++)
        (void)MHD_add_response_header(response, reply->fields[i].name, reply->fields[i].value);
    for (size_t i = 0; i < request->reply_field_count; i++)
        (void)MHD_add_response_header(response, request->reply_fields[i].name, request->reply_fields[i].value);
    if (encoding != COMPRESS_IDENTITY)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, compress_encoding_name(encoding));
    if (varies) /* what this client got is not what another one gets */
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT_ENCODING);
}

void http_reply(struct http_request *request, const struct http_reply *reply)
{
    AP_ASSERT(request->reply_status == 0);
    struct ap_slice body = reply->body;
    enum http_body_owner owner = reply->body_owner;
    enum compress_encoding encoding = COMPRESS_IDENTITY;
    bool varies = false;
    if (body.bytes >= COMPRESS_BYTES_MIN)
        encoding = http_reply_encoding(request, reply, &varies);
    if (encoding != COMPRESS_IDENTITY) {
        struct ap_slice smaller = compress(request->conn->server, encoding, body);
        if (smaller.data) {
            if (owner == HTTP_BODY_TAKEN)
                free((void *)(uintptr_t)body.data);
            body = smaller;
            owner = HTTP_BODY_TAKEN;
        } else {
            encoding = COMPRESS_IDENTITY;
        }
    }
    struct MHD_Response *response = response_of_body(body, owner);
    AP_ASSERT(response != NULL);
    http_reply_add_fields(request, response, reply, encoding, varies);
    HTTP_COUNT(request->conn->loop->stats.reply_bytes, body.bytes);
    request->reply = response;
    request->reply_status = reply->status;
    request->is_last = reply->is_last;
    http_reply_send(request);
}

/* ---- The server's own errors ---- */

static struct ap_slice error_body(struct http_request *request, unsigned status, const char *reason,
                                  const char **ret_content_type)
{
    const struct http_server_options *options = &request->conn->server->options;
    if (options->error_body) {
        *ret_content_type = options->error_content_type;
        return options->error_body(status, reason, &request->arena, options->context);
    }
    *ret_content_type = "text/plain; charset=utf-8";
    return ap_slice_cstr(reason);
}

void http_reply_error(struct http_request *request, unsigned status, const char *reason)
{
    static const struct http_field retry_after = {MHD_HTTP_HEADER_RETRY_AFTER, "5"};
    const char *content_type;
    struct ap_slice body = error_body(request, status, reason, &content_type);
    http_reply(request, &(struct http_reply){.status = status,
                                             .content_type = content_type,
                                             .body = body,
                                             .fields = &retry_after,
                                             .field_count = status == 503 ? 1 : 0});
}

void http_reply_raw_error(struct http_request *request, unsigned status, const char *reason)
{
    const char *content_type;
    struct ap_slice body = error_body(request, status, reason, &content_type);
    AP_AUTO_BUF struct ap_buf text = {0};
    ap_buf_printf(&text, "HTTP/1.1 %u %s\r\n", status, MHD_get_reason_phrase_for(status));
    if (content_type)
        ap_buf_printf(&text, "Content-Type: %s\r\n", content_type);
    if (status == 503)
        ap_buf_add_cstr(&text, "Retry-After: 5\r\n");
    ap_buf_printf(&text, "Content-Length: %zu\r\nConnection: close\r\n\r\n", body.bytes);
    ap_buf_add_slice(&text, body);
    HTTP_COUNT_OWN(request->conn->loop->stats.replies_count[status / 100], 1);
    /* Nothing has been sent for this request yet, so it fits; if not, the client sees the closing alone. */
    const union MHD_ConnectionInfo *tls = MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (tls && tls->tls_session)
        (void)gnutls_record_send(tls->tls_session, text.data, text.bytes);
    else
        (void)send(request->conn->fd, text.data, text.bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
}
