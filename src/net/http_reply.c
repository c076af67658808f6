/*
 * net/http_reply.c - replies: made on any thread, handed to MHD on the loop's
 */
#include <gnutls/gnutls.h>
#include <libdeflate.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "base/buf.h"
#include "net/http_internal.h"

#define COMPRESS_BYTES_MIN 1024

/* Of libdeflate's 1 to 12: three quarters of what 6 saves in a third of its time. */
#define COMPRESS_LEVEL 2

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
    if (!conn->stream)
        http_conn_set_deadline(conn, conn->server->limits.reply_timeout_ms);
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
        http_request_reset(request);
        conn->is_orphan = false;
        if (!conn->mhd) /* else MHD is about to close it */
            http_conn_free(conn);
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

/* The reply is filled in: off it goes. From here on the request belongs to its loop again. */
static void reply_send(struct http_request *request)
{
    if (request->state == REQUEST_SUSPENDED) {
        request->reply_task.run = reply_task_run;
        http_loop_post(request->conn->loop, &request->reply_task);
        return;
    }
    /* admit() or handle() is running: it is sent when that returns. */
    AP_ASSERT(request->state == REQUEST_ADMITTING || request->state == REQUEST_HANDLING);
}

void http_reply_empty(struct http_request *request, unsigned status)
{
    AP_ASSERT(request->reply_status == 0);
    request->reply_status = status;
    reply_send(request);
}

/* ---- Compression ---- */

static struct libdeflate_compressor *compressor_get(struct http_server *server)
{
    struct libdeflate_compressor *compressor = NULL;
    pthread_mutex_lock(&server->compressor_mtx);
    if (server->compressor_count > 0)
        compressor = server->compressors[--server->compressor_count];
    pthread_mutex_unlock(&server->compressor_mtx);
    return compressor ? compressor : libdeflate_alloc_compressor(COMPRESS_LEVEL);
}

static void compressor_put(struct http_server *server, struct libdeflate_compressor *compressor)
{
    pthread_mutex_lock(&server->compressor_mtx);
    bool is_kept = server->compressor_count < COMPRESSORS_KEPT;
    if (is_kept)
        server->compressors[server->compressor_count++] = compressor;
    pthread_mutex_unlock(&server->compressor_mtx);
    if (!is_kept)
        libdeflate_free_compressor(compressor);
}

/* Smaller than `body`, for free(); data NULL when it cannot be made smaller. */
static struct ap_slice gzip(struct http_server *server, struct ap_slice body)
{
    struct ap_slice result = {0};
    struct libdeflate_compressor *compressor = compressor_get(server);
    size_t room_bytes = body.bytes - body.bytes / 16; /* less gain is not worth the client's work */
    char *room = compressor ? malloc(room_bytes) : NULL;
    size_t bytes = room ? libdeflate_gzip_compress(compressor, body.data, body.bytes, room, room_bytes) : 0;
    if (compressor)
        compressor_put(server, compressor);
    if (bytes == 0) {
        free(room);
        return result;
    }
    char *fitted = realloc(room, bytes);
    result = ap_slice(fitted ? fitted : room, bytes);
    return result;
}

static bool is_textlike(const char *content_type)
{
    if (!content_type)
        return false;
    static const char *const prefixes[] = {"text/",           "application/json",     "application/javascript",
                                           "application/xml", "application/x-ndjson", "application/manifest+json",
                                           "image/svg+xml"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(prefixes); i++)
        if (strncasecmp(content_type, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

/* Whether Accept-Encoding names gzip (or *) without q=0. */
bool http_accepts_gzip(const struct http_request *request)
{
    struct ap_slice rest = http_header(request, MHD_HTTP_HEADER_ACCEPT_ENCODING);
    while (rest.data) {
        struct ap_slice parameters = ap_slice_split(&rest, ',');
        struct ap_slice coding = ap_slice_trim(ap_slice_split(&parameters, ';'));
        if (!ap_slice_equal_nocase(coding, "gzip") && !ap_slice_equal_nocase(coding, "*"))
            continue;
        struct ap_slice quality = ap_slice_trim(parameters);
        if (!ap_slice_starts_with(quality, "q=0"))
            return true;
        for (size_t i = 3; i < quality.bytes; i++) /* "q=0.5" is a yes, "q=0.000" a no */
            if (quality.data[i] >= '1' && quality.data[i] <= '9')
                return true;
        return false;
    }
    return false;
}

static bool has_content_encoding(const struct http_reply *reply)
{
    for (size_t i = 0; i < reply->field_count; i++)
        if (strcasecmp(reply->fields[i].name, MHD_HTTP_HEADER_CONTENT_ENCODING) == 0)
            return true;
    return false;
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

void http_reply(struct http_request *request, const struct http_reply *reply)
{
    AP_ASSERT(request->reply_status == 0);
    struct ap_slice body = reply->body;
    enum http_body_owner owner = reply->body_owner;
    bool may_compress = !reply->is_uncompressed && body.bytes >= COMPRESS_BYTES_MIN &&
                        is_textlike(reply->content_type) && !has_content_encoding(reply);
    bool is_compressed = false;
    if (may_compress && (request->is_detached ? request->accepts_gzip : http_accepts_gzip(request))) {
        struct ap_slice smaller = gzip(request->conn->server, body);
        if (smaller.data) {
            if (owner == HTTP_BODY_TAKEN)
                free((void *)(uintptr_t)body.data);
            body = smaller;
            owner = HTTP_BODY_TAKEN;
            is_compressed = true;
        }
    }
    struct MHD_Response *response = response_of_body(body, owner);
    AP_ASSERT(response != NULL);
    /* MHD refuses names and values with CR or LF; leaving such a field out is what the header promises. */
    if (reply->content_type)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
    for (size_t i = 0; i < reply->field_count; i++)
        (void)MHD_add_response_header(response, reply->fields[i].name, reply->fields[i].value);
    if (is_compressed)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
    if (may_compress) /* what this client got is not what another one gets */
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ACCEPT_ENCODING);
    HTTP_COUNT(request->conn->loop->stats.reply_bytes, body.bytes);
    request->reply = response;
    request->reply_status = reply->status;
    request->is_last = reply->is_last;
    reply_send(request);
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
