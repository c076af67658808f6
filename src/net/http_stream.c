/*
 * net/http_stream.c - bodies that are made while they are sent
 *
 *     producer's thread:  http_stream_write() ──► compressed ──► queue, bounded ──► on_read(): MHD, on the loop's
 * thread
 *
 * With an empty queue the connection is parked (suspended in MHD) until the producer posts a task that wakes it; with a
 * full one the producer waits until MHD has taken some, or the connection is gone. A client that does not read is found
 * by the connection's deadline, which is put off with each MiB that it takes.
 *
 * The request outlives its connection as long as there is a producer: it is an orphan then, until the task that
 * http_stream_end() posts has run. Only that task lets MHD see the end, so that MHD cannot be done with the request,
 * and begin another one in its place, while the producer or a task of its still has to do with it.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/buf.h"
#include "net/http_internal.h"

/* What the deadline is put off for. */
#define PROGRESS_BYTES ((uint64_t)1 << 20)

/* For clients of HTTP/1.0; the chunks of the others are as large as the connection's memory allows. */
#define MHD_BLOCK_BYTES (32 * 1024)

struct http_stream {
    /* Set at the start, then constant. */
    struct http_request *request; /* which owns this */
    struct http_loop *loop;
    size_t queue_bytes_max;
    bool is_head; /* there is no body to be sent */

    /* The producer's. */
    uint64_t head_bytes;           /* of a body that is not sent */
    struct compressor *compressor; /* NULL: not compressed */
    struct ap_buf compressed;
    bool has_failed;
    bool is_whole; /* from http_stream_end() on: the loop's */

    /* Loop thread only. */
    bool is_ended; /* the producer is gone */
    uint64_t taken_bytes;
    uint64_t progress_bytes; /* taken_bytes when the deadline was last put off */

    /* Any thread, under mtx. The loop's inbox_mtx is taken while it is held. */
    pthread_mutex_t mtx;
    pthread_cond_t room;
    struct ap_buf queue; /* starts at queue_offset */
    size_t queue_offset;
    bool is_gone;   /* the connection is */
    bool is_parked; /* suspended in MHD */
    bool is_waking; /* wake_task is posted */
    struct http_task wake_task;
    struct http_task end_task;
};

/* ---- Whether anybody listens ---- */

/* Closed or broken; also behind bytes that have come in and are not read yet, as of a next request, or of TLS. */
static bool has_peer_left(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLRDHUP};
    return poll(&poll_fd, 1, 0) > 0;
}

bool http_is_gone(const struct http_request *request)
{
    AP_ASSERT(!request->is_detached);
    struct http_stream *stream = request->stream;
    if (!stream) /* suspended: MHD does not close it */
        return has_peer_left(request->conn->fd);
    pthread_mutex_lock(&stream->mtx);
    /* Under the lock: once it is gone, the descriptor may be another connection's. */
    bool is_gone = stream->is_gone || has_peer_left(request->conn->fd);
    pthread_mutex_unlock(&stream->mtx);
    return is_gone;
}

/* ---- The loop's side ---- */

static void unpark(struct http_stream *stream)
{
    pthread_mutex_lock(&stream->mtx);
    bool was_parked = stream->is_parked;
    stream->is_parked = false;
    pthread_mutex_unlock(&stream->mtx);
    if (!was_parked)
        return;
    struct http_conn *conn = stream->request->conn;
    if (!conn->is_cut)
        http_conn_set_deadline(conn, conn->server->limits.stream_timeout_ms);
    http_loop_resume(conn);
}

static void wake_run(struct http_task *task)
{
    struct http_stream *stream = AP_CONTAINER_OF(task, struct http_stream, wake_task);
    pthread_mutex_lock(&stream->mtx);
    stream->is_waking = false;
    pthread_mutex_unlock(&stream->mtx);
    unpark(stream);
}

static void wake_locked(struct http_stream *stream)
{
    if (!stream->is_parked || stream->is_waking)
        return;
    stream->is_waking = true;
    http_loop_post(stream->loop, &stream->wake_task);
}

void http_stream_cut(struct http_stream *stream)
{
    /*
     * A reset (this is how tcp(7) is asked for one, connect(2)): shutting down would look like a proper end to a client
     * of HTTP/1.0.
     */
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    (void)connect(stream->request->conn->fd, &none, sizeof(none));
    unpark(stream); /* so that MHD sees it */
}

static void end_run(struct http_task *task)
{
    struct http_stream *stream = AP_CONTAINER_OF(task, struct http_stream, end_task);
    struct http_conn *conn = stream->request->conn;
    stream->is_ended = true;
    if (conn->is_orphan)
        http_conn_release(conn);
    else if (stream->is_whole)
        unpark(stream);
    else
        http_conn_cut(conn);
}

/* MHD asks for bytes. */
static ssize_t on_read(void *context, uint64_t position, char *room, size_t room_bytes)
{
    (void)position;
    struct http_stream *stream = context;
    struct http_conn *conn = stream->request->conn;
    if (stream->is_ended && !stream->is_whole)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    pthread_mutex_lock(&stream->mtx);
    size_t bytes = AP_MIN(stream->queue.bytes - stream->queue_offset, room_bytes);
    if (bytes > 0)
        memcpy(room, stream->queue.data + stream->queue_offset, bytes);
    stream->queue_offset += bytes;
    bool is_end = bytes == 0 && stream->is_ended;
    bool is_parked = bytes == 0 && !is_end;
    stream->is_parked = is_parked;
    pthread_cond_signal(&stream->room);
    pthread_mutex_unlock(&stream->mtx);

    HTTP_COUNT_OWN(stream->loop->stats.reply_bytes, bytes);
    stream->taken_bytes += bytes;
    if (is_parked) { /* all has been taken: nothing is to be waited for but the producer */
        http_conn_set_deadline(conn, 0);
        MHD_suspend_connection(conn->mhd);
    } else if (stream->taken_bytes - stream->progress_bytes >= PROGRESS_BYTES) {
        stream->progress_bytes = stream->taken_bytes;
        http_conn_set_deadline(conn, conn->server->limits.stream_timeout_ms);
    }
    return is_end ? MHD_CONTENT_READER_END_OF_STREAM : (ssize_t)bytes;
}

bool http_stream_detach(struct http_stream *stream)
{
    pthread_mutex_lock(&stream->mtx);
    stream->is_gone = true;
    stream->is_parked = false;
    ap_buf_clear(&stream->queue);
    stream->queue_offset = 0;
    pthread_cond_signal(&stream->room);
    pthread_mutex_unlock(&stream->mtx);
    return stream->is_ended;
}

void http_stream_free(struct http_stream *stream)
{
    if (!stream)
        return;
    pthread_mutex_destroy(&stream->mtx);
    pthread_cond_destroy(&stream->room);
    ap_buf_clear(&stream->queue);
    ap_buf_clear(&stream->compressed);
    free(stream);
}

/* ---- The producer's side ---- */

static void compressor_take(struct http_stream *stream, enum compress_encoding encoding)
{
    struct ap_err err;
    stream->compressor = http_compressor_get(stream->loop->server);
    stream->has_failed = compressor_begin(stream->compressor, encoding, &err) != AP_OK;
}

static void compressor_return(struct http_stream *stream)
{
    if (stream->compressor)
        http_compressor_put(stream->loop->server, stream->compressor);
    stream->compressor = NULL;
}

struct http_stream *http_reply_stream(struct http_request *request, const struct http_reply *reply)
{
    AP_ASSERT(request->state == REQUEST_SUSPENDED && !request->is_detached && request->reply_status == 0);
    AP_ASSERT(reply->body.bytes == 0);
    struct http_conn *conn = request->conn;
    struct http_stream *stream = ap_new0(struct http_stream);
    stream->request = request;
    stream->loop = conn->loop;
    stream->queue_bytes_max = conn->server->limits.stream_queue_bytes_max;
    stream->is_head = request->method == HTTP_METHOD_HEAD;
    stream->wake_task.run = wake_run;
    stream->end_task.run = end_run;
    pthread_mutex_init(&stream->mtx, NULL);
    pthread_cond_init(&stream->room, NULL);

    bool varies;
    enum compress_encoding encoding = http_reply_encoding(request, reply, &varies);
    if (stream->is_head)
        encoding = COMPRESS_IDENTITY;
    if (encoding != COMPRESS_IDENTITY)
        compressor_take(stream, encoding);
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, MHD_BLOCK_BYTES, on_read, stream, NULL);
    AP_ASSERT(response != NULL);
    http_reply_add_fields(request, response, reply, encoding, varies);
    request->reply = response;
    request->reply_status = reply->status;
    request->is_last = reply->is_last;
    request->stream = stream;
    if (!stream->is_head) /* else MHD would be done with the request at once, and the producer is not */
        http_reply_send(request);
    return stream;
}

/* False: the connection is gone. */
static bool queue_add(struct http_stream *stream, struct ap_slice bytes)
{
    pthread_mutex_lock(&stream->mtx);
    while (!stream->is_gone && stream->queue.bytes > stream->queue_offset &&
           stream->queue.bytes - stream->queue_offset + bytes.bytes > stream->queue_bytes_max)
        pthread_cond_wait(&stream->room, &stream->mtx);
    bool is_gone = stream->is_gone;
    if (!is_gone) {
        http_queue_compact(&stream->queue, &stream->queue_offset);
        ap_buf_add_slice(&stream->queue, bytes);
        wake_locked(stream);
    }
    pthread_mutex_unlock(&stream->mtx);
    return !is_gone;
}

static enum ap_rc write_piece(struct http_stream *stream, struct ap_slice piece, bool is_last, struct ap_err *err)
{
    if (stream->compressor) {
        ap_buf_reset(&stream->compressed);
        enum ap_rc rc = compressor_add(stream->compressor, piece, is_last, &stream->compressed, err);
        if (rc != AP_OK)
            return rc;
        piece = ap_buf_slice(&stream->compressed);
    }
    if (piece.bytes == 0 || queue_add(stream, piece))
        return AP_OK;
    return ap_fail(err, AP_E_BUSY, "the client has closed the connection");
}

enum ap_rc http_stream_write(struct http_stream *stream, struct ap_slice piece, struct ap_err *err)
{
    stream->head_bytes += piece.bytes;
    if (stream->is_head || piece.bytes == 0)
        return AP_OK;
    if (stream->has_failed)
        return ap_fail(err, AP_E_NOMEM, "no memory to compress an answer");
    enum ap_rc rc = write_piece(stream, piece, false, err);
    stream->has_failed = rc != AP_OK;
    return rc;
}

static enum MHD_Result copy_field(void *to, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    return MHD_add_response_header(to, name, value);
}

/* MHD ends a body of unknown size as if it had been sent, even for HEAD: so it gets the size, which is known by now. */
static void end_head(struct http_stream *stream)
{
    struct http_request *request = stream->request;
    struct MHD_Response *sized = NULL;
    if (stream->is_whole) {
        sized = MHD_create_response_from_callback(stream->head_bytes, MHD_BLOCK_BYTES, on_read, stream, NULL);
        AP_ASSERT(sized != NULL);
        (void)MHD_get_response_headers(request->reply, copy_field, sized);
    } else {
        request->reply_status = 500;
    }
    MHD_destroy_response(request->reply);
    request->reply = sized;
    stream->is_ended = true; /* the loop sees the stream after this */
    http_reply_send(request);
}

void http_stream_end(struct http_stream *stream, bool is_whole)
{
    struct ap_err err;
    if (is_whole && stream->compressor)
        is_whole = !stream->has_failed && write_piece(stream, ap_slice("", 0), true, &err) == AP_OK;
    compressor_return(stream);
    stream->is_whole = is_whole;
    if (stream->is_head)
        end_head(stream);
    else
        http_loop_post(stream->loop, &stream->end_task);
}
