/*
 * scrape/fetch.h - pages of targets over HTTP, any number at the same time on one thread
 *
 * libcurl's multi interface and epoll. Connections are kept between requests, so that a target is asked over the same
 * one again. A body has a maximum as it comes over the wire and, when it is compressed, the reader of fetch_answer sees
 * to what it becomes.
 *
 * All of a fetcher is one thread's, but for fetcher_wake().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "scrape/job.h"

struct fetcher; /* private to fetch.c */

enum {
    FETCH_BODY_BYTES_MAX = 256 << 20, /* of one, whatever the job allows */
    FETCH_ALL_BYTES_MAX = 1024 << 20, /* of all that are under way or not yet read */
    FETCH_TYPE_BYTES = 256,
};

/* What came back. `err.text` is empty when it was a page. */
struct fetch_answer {
    struct ap_err err;
    bool is_given_up;   /* nobody was asked, or not to the end: the server stops */
    bool is_over_limit; /* why it failed: body_size_limit */
    bool is_kept;       /* it failed, but what the body says is kept all the same; of collectors */
    bool is_gzip;
    char content_type[FETCH_TYPE_BYTES];
    struct ap_buf body; /* as it came; the reader's to clear, or to detach */
    int64_t duration_us;
};

ap_nodiscard enum ap_rc fetcher_open(struct fetcher **ret_fetcher, struct ap_err *err);
/* Those under way are answered as given up. NULL is allowed. */
void fetcher_close(struct fetcher *fetcher);
AP_DEFINE_AUTO(fetcher, struct fetcher, fetcher_close)

struct fetch_request {
    const struct scrape_job *job; /* lent until the answer, as the URL */
    const char *url;
    int64_t timeout_ms;
};
/* `answered` is called within fetcher_wait() or fetcher_close(); never within fetcher_start(). */
void fetcher_start(struct fetcher *fetcher, const struct fetch_request *request,
                   void (*answered)(void *context, struct fetch_answer *answer), void *context);
/* Waits up to `timeout_ms` (negative: for ever) for something to do, and does it. */
void fetcher_wait(struct fetcher *fetcher, int timeout_ms);
/* Ends a fetcher_wait(), or the next one. Any thread. */
void fetcher_wake(struct fetcher *fetcher);
/* A body that an answer had is gone. Any thread. */
void fetcher_release(struct fetcher *fetcher, size_t bytes);

/* Without what a URL may hold of secrets: "http://user:xxxxx@host/". */
void fetch_add_url(struct ap_buf *out, const char *url);
/* The Accept header for this job. */
void fetch_accept(const struct scrape_job *job, struct ap_buf *out);
