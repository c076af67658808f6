/*
 * ingest/metrics_protocol.h - what differs between the protocols that bring metrics over HTTP
 *
 * metrics.c does for all of them what is the same: draining, method, key, rate, the batch, the store, the figures. A
 * protocol is one constant of the struct below, in a file of its own: it looks at the header, makes a batch of the body
 * and answers in its own words. metrics_protocols[] in metrics.c names them all.
 *
 * All functions run on the HTTP loop's thread but reply_outcome() and reply_error(), which may run on the log's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"
#include "ingest/metrics.h"
#include "ingest/metrics_body.h"
#include "net/http_server.h"
#include "tsdb/tsdb.h"

struct keyring_entry;
struct metrics_protocol;

/* One request from admit() until its answer; in the request's arena. */
struct metrics_request {
    struct metrics *metrics;
    const struct metrics_options *options; /* the metrics' */
    const struct metrics_protocol *protocol;
    struct http_request *http;
    struct ap_slice rest;      /* of the path, behind the protocol's; until the request is suspended */
    struct keyring_entry *key; /* NULL: open */
    enum metrics_way way;      /* whose figures it counts for; begin() may choose another than the protocol's */
    void *state;               /* the protocol's own, from begin() on; in the request's arena */
    struct metrics_body *body; /* from decode() to settle() */
    /* What decoding found; the batch is gone when the answer is written. */
    uint64_t samples_refused; /* with histograms */
    uint64_t exemplars_refused;
    char reason[METRICS_REASON_BYTES];          /* of the first of these samples; empty: none */
    char exemplar_reason[METRICS_REASON_BYTES]; /* of the first of these exemplars */
    struct tsdb_append append;                  /* its outcome is the store's part */
};

struct metrics_protocol {
    const char *path;
    bool is_prefix;    /* what is below the path, too */
    unsigned methods;  /* 1u << HTTP_METHOD_… */
    const char *allow; /* the same for people and the field Allow: "POST" */
    enum metrics_way way;
    bool is_for_pages;         /* of the origins that the OTLP settings list */
    const char *key_parameter; /* of the query, may hold the key where the header has none; NULL: only ?key= */
    /* Looks at the header before the body is read. NULL, or why it is answered 415. NULL function: anything goes. */
    const char *(*begin)(struct metrics_request *request);
    /* Adds what is in `bytes` to body->batch, which may lend from it. AP_E_LIMIT: 413; others: 400. */
    enum ap_rc (*decode)(struct metrics_request *request, struct metrics_body *body, struct ap_slice bytes,
                         struct ap_err *err);
    /*
     * Called once behind decode(), before any reply: is_appended, append.outcome is complete, though the log may fail
     * yet; otherwise the store got nothing. NULL: not needed.
     */
    void (*settle)(struct metrics_request *request, bool is_appended);
    /*
     * In place of decode() and the store: takes the body, which is lent for the call, and sees to an answer, at once or
     * later: metrics_request_finish(), _fail() or _refuse().
     */
    void (*take)(struct metrics_request *request, struct ap_slice bytes);
    /* All that append.outcome counts as written is durable. Replies; what it refuses it counts (below). */
    void (*reply_outcome)(struct metrics_request *request);
    /* Replies that nothing was written, or nothing that the sender may count on. retry_after_ms 0: none. */
    void (*reply_error)(struct metrics_request *request, unsigned status, int64_t retry_after_ms, const char *text);
};

extern const struct metrics_protocol metrics_protocol_remote_write;
extern const struct metrics_protocol metrics_protocol_import;
extern const struct metrics_protocol metrics_protocol_otlp;
extern const struct metrics_protocol metrics_protocol_otlp_prometheus; /* the same at Prometheus' path */
extern const struct metrics_protocol metrics_protocol_influx_1;
extern const struct metrics_protocol metrics_protocol_influx_2;
extern const struct metrics_protocol metrics_protocol_push;
extern const struct metrics_protocol metrics_protocol_push_base64;
extern const struct metrics_protocol metrics_protocol_push_wipe;

/* ---- For a protocol that takes bodies itself; on any thread ---- */

/* All that append.outcome counts as written is durable: counts it and replies. */
void metrics_request_finish(struct metrics_request *request);
/* The store or the log refused all of it, for now. */
void metrics_request_fail(struct metrics_request *request, enum ap_rc rc);
/* It is the sender's fault. */
void metrics_request_refuse(struct metrics_request *request, unsigned status, const char *text);
void metrics_request_count_texts_skipped(struct metrics_request *request, uint64_t count);

/* ---- For all ---- */

/* For reply_outcome() of a request with a status of 4xx or 5xx. */
void metrics_request_count_refused(struct metrics_request *request, unsigned status);

/* Samples and histograms that were refused, by decoding and by the store; the same of exemplars. */
uint64_t metrics_request_samples_refused(const struct metrics_request *request);
uint64_t metrics_request_exemplars_refused(const struct metrics_request *request);

/* "3 of 1000 samples were refused (2 too old, 1 …), the others were written. First: …"; for people. */
void metrics_request_say_refused(const struct metrics_request *request, bool is_telling_exemplars, struct ap_buf *text);

/* Text for the numbers of an answer's fields, which http_reply() copies. */
enum { METRICS_FIELDS_MAX = 6 };
struct metrics_fields {
    char texts[METRICS_FIELDS_MAX][24];
    struct http_field fields[METRICS_FIELDS_MAX];
    size_t count;
};
void metrics_fields_add_number(struct metrics_fields *fields, const char *name, uint64_t number);
/* Those that go with any error: Retry-After, WWW-Authenticate with 401, Allow with 405. */
void metrics_fields_add_error(struct metrics_fields *fields, const struct metrics_request *request, unsigned status,
                              int64_t retry_after_ms);
