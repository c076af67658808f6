/*
 * api/api.h - the HTTP surface: which path is what, who may, and what answers
 *
 * One table (routes.c) names every path. A handler decodes the request, calls one verb of a folder below and encodes
 * the answer; it never waits: what blocks runs elsewhere on a suspended request.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/rc.h"
#include "net/http_server.h"

struct alert_forwarder;
struct alerting;
struct ap_buf;
struct heartbeats;
struct ingest;
struct keyring;
struct live;
struct notification_log;
struct notifier;
struct pack;
struct path_test;
struct pool;
struct probes;
struct promql_engine;
struct push;
struct rule_manager;
struct scrape_manager;
struct scraper;
struct statsd;
struct tsdb;
struct wal;
struct warehouse;

/* "siem.example.com" → "/siem": a request for that host has the prefix put before its path. */
struct api_host {
    const char *name;   /* lower case, without port; lent */
    const char *prefix; /* "" or "/siem", without a final slash; lent */
};

/* What the handlers work on. Wired up in cli/serve.c, which owns everything in it. */
struct api {
    /* Set before the server starts, then constant. */
    struct wal *wal;
    struct warehouse *warehouse;
    struct tsdb *tsdb;
    struct promql_engine *engine;
    struct rule_manager *rules;
    struct alerting *alerting;
    struct notifier *notifier; /* NULL, as the next two: in tests */
    struct notification_log *notification_log;
    struct path_test *path_test;
    struct alert_forwarder *forwarder; /* NULL: alerts go to nobody else */
    struct heartbeats *heartbeats;
    struct scraper *scraper; /* NULL, as the next: nothing is scraped */
    struct scrape_manager *scrape;
    struct pool *questions;       /* to the tsdb, from whoever reads */
    struct pool *alert_questions; /* to alerting, and what changes it */
    struct pool *chores;          /* its administration, one after the other */
    struct pool *probing;         /* probes that somebody asks for */
    struct probes *probes;
    struct keyring *keyring;
    struct ingest *ingest;
    struct push *push;
    const struct statsd *statsd; /* NULL: off */
    struct live *live;
    const struct pack *const *packs;
    size_t pack_count;
    const struct api_host *hosts;
    size_t host_count;
    const struct ap_clock *clock;
    int64_t started_ms;
    uint32_t query_timeout_ms;
    uint32_t query_rows_max;
    int64_t retention_ms;            /* 0: for ever */
    struct ap_slice external_labels; /* canonical, or empty; lent */
    uint32_t questions_max;          /* answered at a time (promql.max_concurrency) */
    const char *external_url;        /* NULL: none was given; lent */
    struct ap_slice path_prefix;     /* its path, "/apiary": all addresses are also below it. Empty: none; lent */
    const struct pages *pages;
    /* Appends the settings in effect, as YAML; any thread. */
    void (*config_text)(void *config_context, struct ap_buf *out);
    void *config_context;
    enum ap_rc (*reload)(void *context,
                         struct ap_err *err); /* reads again what can be; any thread. NULL: nothing can */
    void *reload_context;
    const char *data_dir;         /* whose disk has figures; NULL: none has; lent */
    size_t remote_read_bytes_max; /* of one answer of /api/v1/read */
    bool is_open;                 /* no keys are asked for */
    size_t listener_count;        /* listeners from this one on are for OpenTelemetry alone; 0: none is */
    /* Set once the server listens; atomic. */
    const struct http_server *server;
    /* Any thread, atomic. */
    bool is_draining;
};

/* For struct http_server_options; `context` is the struct api. */
void api_admit(struct http_request *request, void *context);
void api_handle(struct http_request *request, void *context);
struct ap_slice api_error_body(unsigned status, const char *reason, struct ap_arena *arena, void *context);

/* ---- For the handlers ---- */

/* Replies {"error":"<text>"} with `status`; on Prometheus' paths in its envelope. */
void api_reply_error(struct http_request *request, unsigned status, const char *format, ...) ap_printf(3, 4);

/* The same, with the status that suits `err->rc` and with Retry-After where that helps. */
void api_reply_err(struct http_request *request, const struct ap_err *err);

/* Replies 200 with JSON from malloc(), which the server frees. */
void api_reply_json(struct http_request *request, struct ap_slice take_json);

/* Whether a header If-None-Match has this ETag; whether one of them is weak does not matter there. */
bool api_is_tag_among(struct ap_slice if_none_match, const char *tag);

/* The HTTP status for a result code: the one table of it. */
unsigned api_status_of(enum ap_rc rc);
