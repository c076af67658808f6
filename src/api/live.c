#include "api/live.h"

#include <inttypes.h>
#include <pthread.h>

#include "base/buf.h"
#include "net/http_server.h"
#include "warehouse/tables.h"

struct live_page {
    struct live *live;                /* owns this page */
    struct http_event_stream *stream; /* owned */
    struct live_page *next;
    struct live_page **link; /* what points to this page */
};

struct live {
    const struct ap_clock *clock;
    /* Any thread, under mutex. Held while publishing, which never waits. */
    pthread_mutex_t mutex;
    struct live_page *first;
};

struct live *live_new(const struct ap_clock *clock)
{
    struct live *live = ap_new0(struct live);
    live->clock = clock;
    pthread_mutex_init(&live->mutex, NULL);
    return live;
}

void live_free(struct live *live)
{
    if (!live)
        return;
    while (live->first) {
        struct live_page *page = live->first;
        live->first = page->next;
        http_event_stream_close(page->stream);
        free(page);
    }
    pthread_mutex_destroy(&live->mutex);
    free(live);
}

static void page_closed(struct http_event_stream *stream, void *context)
{
    struct live_page *page = context;
    pthread_mutex_lock(&page->live->mutex);
    *page->link = page->next;
    if (page->next)
        page->next->link = page->link;
    pthread_mutex_unlock(&page->live->mutex);
    http_event_stream_close(stream);
    free(page);
}

void live_handle(struct live *live, struct http_request *request)
{
    struct live_page *page = ap_new0(struct live_page);
    page->live = live;
    /* page_closed() runs on this same thread, so it cannot come before the page is in the list. */
    page->stream = http_reply_events(request, &(struct http_event_options){.closed = page_closed, .context = page});
    pthread_mutex_lock(&live->mutex);
    page->next = live->first;
    page->link = &live->first;
    if (page->next)
        page->next->link = &page->next;
    live->first = page;
    pthread_mutex_unlock(&live->mutex);
}

void live_publish(struct live *live, uint64_t lsn, uint64_t tables_mask)
{
    AP_AUTO_BUF struct ap_buf data = {0};
    ap_buf_printf(&data, "{\"lsn\":%" PRIu64 ",\"ts_ms\":%" PRId64 ",\"tables\":[", lsn,
                  ap_clock_wall_us(live->clock) / AP_US_PER_MS);
    const char *separator = "";
    for (size_t i = 0; i < tables_count; i++) {
        if (!(tables_mask >> tables[i].id & 1))
            continue;
        ap_buf_printf(&data, "%s\"%s\"", separator, tables[i].name);
        separator = ",";
    }
    ap_buf_add_cstr(&data, "]}");

    pthread_mutex_lock(&live->mutex);
    for (struct live_page *page = live->first; page; page = page->next)
        (void)http_event_stream_publish(page->stream, "commit", ap_buf_slice(&data));
    pthread_mutex_unlock(&live->mutex);
}
