/*
 * net/http_events.c - server-sent events
 *
 * A stream is a reply without end. Publishers append to a bounded queue under its lock; MHD asks for bytes on the
 * loop's thread. With nothing to send the connection is parked (suspended in MHD), so that a silent stream costs no
 * time, and the next publisher posts a task that wakes it. Two hold a stream: the publisher and MHD's reply.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/buf.h"
#include "net/http_internal.h"

#define QUEUE_BYTES_MAX  ((size_t)64 * 1024)
#define HEARTBEAT_MS     15000
#define STALL_TIMEOUT_MS 30000
#define MHD_BLOCK_BYTES  4096

/* What the kernel may hold for a client that does not read; its own default is some megabytes. */
#define SEND_BUFFER_BYTES (64 * 1024)

struct http_event_stream {
    /* Set at the start, then constant. */
    struct http_loop *loop;
    size_t queue_bytes_max;
    uint32_t heartbeat_ms;
    uint32_t stall_timeout_ms;

    /* Loop thread only. */
    struct http_conn *conn; /* NULL when the connection is gone */
    int64_t sent_us;        /* when MHD last took bytes, or had nothing to take */

    /* Any thread, under mtx. The loop's inbox_mtx is taken while it is held. */
    pthread_mutex_t mtx;
    unsigned hold_count;
    struct ap_buf queue; /* starts at queue_offset */
    size_t queue_offset;
    void (*closed)(struct http_event_stream *stream, void *context);
    void *context;
    bool is_closed; /* the connection is gone */
    bool is_ending; /* to be closed when the queue is empty */
    bool is_parked; /* suspended in MHD */
    bool is_waking; /* wake_task is posted, and holds the stream */
    struct http_task wake_task;
};

static void stream_unhold(struct http_event_stream *stream)
{
    pthread_mutex_lock(&stream->mtx);
    bool is_last = --stream->hold_count == 0;
    pthread_mutex_unlock(&stream->mtx);
    if (!is_last)
        return;
    pthread_mutex_destroy(&stream->mtx);
    ap_buf_clear(&stream->queue);
    free(stream);
}

/* ---- The loop's side ---- */

static void wake_run(struct http_task *task)
{
    struct http_event_stream *stream = AP_CONTAINER_OF(task, struct http_event_stream, wake_task);
    pthread_mutex_lock(&stream->mtx);
    stream->is_waking = false;
    bool is_to_resume = stream->is_parked && stream->conn;
    if (is_to_resume)
        stream->is_parked = false;
    pthread_mutex_unlock(&stream->mtx);
    if (is_to_resume)
        http_loop_resume(stream->conn);
    stream_unhold(stream);
}

static void wake_locked(struct http_event_stream *stream)
{
    if (!stream->is_parked || stream->is_waking)
        return;
    stream->is_waking = true;
    stream->hold_count++;
    http_loop_post(stream->loop, &stream->wake_task);
}

/* MHD asks for bytes. */
static ssize_t on_read(void *context, uint64_t position, char *room, size_t room_bytes)
{
    (void)position;
    struct http_event_stream *stream = context;
    stream->sent_us = stream->loop->now_us;
    pthread_mutex_lock(&stream->mtx);
    size_t bytes = AP_MIN(stream->queue.bytes - stream->queue_offset, room_bytes);
    if (bytes > 0) {
        memcpy(room, stream->queue.data + stream->queue_offset, bytes);
        stream->queue_offset += bytes;
        if (stream->queue_offset == stream->queue.bytes) {
            ap_buf_reset(&stream->queue);
            stream->queue_offset = 0;
        }
    }
    bool is_end = bytes == 0 && stream->is_ending;
    stream->is_parked = bytes == 0 && !is_end;
    bool is_parked = stream->is_parked;
    pthread_mutex_unlock(&stream->mtx);
    if (is_parked)
        MHD_suspend_connection(stream->conn->mhd);
    return is_end ? MHD_CONTENT_READER_END_OF_STREAM : (ssize_t)bytes;
}

/* MHD lets go of the reply. */
static void on_reply_freed(void *context)
{
    stream_unhold(context);
}

void http_event_stream_detach(struct http_event_stream *stream)
{
    atomic_fetch_sub(&stream->loop->server->event_streams_open, 1);
    stream->conn = NULL;
    pthread_mutex_lock(&stream->mtx);
    stream->is_closed = true;
    stream->is_parked = false;
    stream->hold_count++;
    void (*closed)(struct http_event_stream *, void *) = stream->closed;
    void *closed_context = stream->context;
    stream->closed = NULL;
    pthread_mutex_unlock(&stream->mtx);
    if (closed)
        closed(stream, closed_context);
    stream_unhold(stream);
}

void http_event_stream_end(struct http_event_stream *stream)
{
    pthread_mutex_lock(&stream->mtx);
    stream->is_ending = true;
    wake_locked(stream);
    pthread_mutex_unlock(&stream->mtx);
}

void http_event_stream_tick(struct http_event_stream *stream)
{
    struct http_loop *loop = stream->loop;
    int64_t silent_ms = (loop->now_us - stream->sent_us) / AP_US_PER_MS;
    int64_t next_ms = INT64_MAX;
    pthread_mutex_lock(&stream->mtx);
    if (!stream->is_parked && !stream->is_waking) { /* MHD has bytes that the client does not take */
        if (silent_ms >= stream->stall_timeout_ms && !stream->conn->is_cut) {
            HTTP_COUNT_OWN(loop->stats.events_cut_count, 1);
            http_conn_cut(stream->conn);
        }
        next_ms = stream->stall_timeout_ms - silent_ms;
    } else if (silent_ms >= stream->heartbeat_ms) {
        ap_buf_add_cstr(&stream->queue, ":\n\n");
        wake_locked(stream);
        next_ms = stream->heartbeat_ms;
    } else {
        next_ms = stream->heartbeat_ms - silent_ms;
    }
    pthread_mutex_unlock(&stream->mtx);
    if (next_ms > 0)
        loop->next_scan_us = AP_MIN(loop->next_scan_us, loop->now_us + next_ms * AP_US_PER_MS);
}

/* ---- The publisher's side ---- */

struct http_event_stream *http_reply_events(struct http_request *request, const struct http_event_options *options)
{
    AP_ASSERT(request->state == REQUEST_HANDLING && request->reply_status == 0);
    struct http_conn *conn = request->conn;
    struct http_event_stream *stream = ap_new0(struct http_event_stream);
    stream->loop = conn->loop;
    stream->queue_bytes_max = options->queue_bytes_max ? options->queue_bytes_max : QUEUE_BYTES_MAX;
    stream->heartbeat_ms = options->heartbeat_ms ? options->heartbeat_ms : HEARTBEAT_MS;
    stream->stall_timeout_ms = options->stall_timeout_ms ? options->stall_timeout_ms : STALL_TIMEOUT_MS;
    stream->closed = options->closed;
    stream->context = options->context;
    stream->conn = conn;
    stream->sent_us = conn->loop->now_us;
    stream->hold_count = 2;
    stream->wake_task.run = wake_run;
    pthread_mutex_init(&stream->mtx, NULL);
    /* The first bytes make proxies and browsers pass the header on at once. */
    ap_buf_add_cstr(&stream->queue, ":\n\n");

    int send_buffer_bytes = SEND_BUFFER_BYTES;
    (void)setsockopt(conn->fd, SOL_SOCKET, SO_SNDBUF, &send_buffer_bytes, sizeof(send_buffer_bytes));
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, MHD_BLOCK_BYTES, on_read, stream, on_reply_freed);
    AP_ASSERT(response != NULL);
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    (void)MHD_add_response_header(response, "X-Accel-Buffering", "no"); /* nginx in front of us */
    request->reply = response;
    request->reply_status = 200;
    conn->stream = stream;
    http_conn_set_deadline(conn, 0);
    atomic_fetch_add(&conn->server->event_streams_open, 1);
    int64_t first_tick_us = conn->loop->now_us + AP_MIN(stream->heartbeat_ms, stream->stall_timeout_ms) * AP_US_PER_MS;
    conn->loop->next_scan_us = AP_MIN(conn->loop->next_scan_us, first_tick_us);
    return stream;
}

static void message_add(struct ap_buf *queue, const char *event, struct ap_slice data)
{
    if (event)
        ap_buf_printf(queue, "event: %s\n", event);
    do {
        struct ap_slice line = ap_slice_split(&data, '\n');
        ap_buf_add_cstr(queue, "data: ");
        ap_buf_add_slice(queue, line);
        ap_buf_add_char(queue, '\n');
    } while (data.data);
    ap_buf_add_char(queue, '\n');
}

bool http_event_stream_publish(struct http_event_stream *stream, const char *event, struct ap_slice data)
{
    struct http_loop_stats *stats = &stream->loop->stats;
    pthread_mutex_lock(&stream->mtx);
    bool is_open = !stream->is_closed && !stream->is_ending;
    bool is_queued = false;
    if (is_open) {
        http_queue_compact(&stream->queue, &stream->queue_offset);
        size_t bytes_before = stream->queue.bytes;
        message_add(&stream->queue, event, data);
        is_queued = stream->queue.bytes - stream->queue_offset <= stream->queue_bytes_max;
        if (!is_queued) /* all of a message or nothing */
            stream->queue.bytes = bytes_before;
        else
            wake_locked(stream);
    }
    pthread_mutex_unlock(&stream->mtx);
    if (is_queued)
        HTTP_COUNT(stats->events_published_count, 1);
    else if (is_open)
        HTTP_COUNT(stats->events_skipped_count, 1);
    return is_queued;
}

bool http_event_stream_is_closed(const struct http_event_stream *stream)
{
    struct http_event_stream *lockable = (struct http_event_stream *)(uintptr_t)stream;
    pthread_mutex_lock(&lockable->mtx);
    bool is_closed = stream->is_closed;
    pthread_mutex_unlock(&lockable->mtx);
    return is_closed;
}

void http_event_stream_close(struct http_event_stream *stream)
{
    if (!stream)
        return;
    pthread_mutex_lock(&stream->mtx);
    stream->is_ending = true;
    stream->closed = NULL;
    wake_locked(stream);
    pthread_mutex_unlock(&stream->mtx);
    stream_unhold(stream);
}
