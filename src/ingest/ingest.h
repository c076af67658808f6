/*
 * ingest/ingest.h - the endpoints that take data in
 *
 * Rows (/events, /vitals, /downloads, /synthetic):
 *
 *     admit (header): key, kind, rate, content type ──► handle (body): decode into rows ──► WAL ──► 204 / 200 / 400
 *
 * Metrics (/api/v1/write, /api/v1/import/prometheus) go to the time-series store, which logs them: ingest/metrics.h.
 *
 * What the endpoints accept and answer: docs/ingest.md. Decoding runs on the HTTP loop's thread and never waits; then
 * the request is suspended until the log has its rows on disk, and is answered from the log's done(). Rows
 * reach their store through the log alone.
 *
 * What a newcomer gets wrong first: http_user() of a request to one of these endpoints belongs to ingest, from
 * ingest_admit() on.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "ingest/client_address.h"
#include "ingest/metrics.h"

struct geo;
struct http_request;
struct ingest;
struct metrics_protocol;
struct otlp_settings;
struct row_endpoint;
struct keyring;
struct push;
struct wal;

enum {
    INGEST_BODY_BYTES_MAX = 8 << 20,      /* as it comes over the wire */
    INGEST_INFLATED_BYTES_MAX = 16 << 20, /* after decompression */
    INGEST_HASH_KEY_BYTES = 32,
};

struct ingest_options {
    struct wal *wal;                        /* lent */
    struct keyring *keyring;                /* lent; may be NULL when is_open */
    const struct geo *geo;                  /* lent; NULL: countries are not known */
    const struct ap_clock *clock;           /* lent */
    struct client_networks trusted_proxies; /* whose X-Forwarded-For is believed */
    bool is_open;                           /* no keys are asked for; every request counts as one with a secret key */
    bool is_hashing_user_ids;               /* keep a keyed hash in place of user_id */
    uint8_t user_id_hash_key[INGEST_HASH_KEY_BYTES];
    /* Metrics. Without a store their endpoints answer 404. */
    struct tsdb *tsdb;                /* lent */
    metrics_append_fn tsdb_append;    /* tsdb_append(), or what stands in for it in a test */
    metrics_newest_fn tsdb_newest;    /* tsdb_newest(), likewise; may be NULL */
    uint64_t tsdb_hash_seed;          /* tsdb_hash_seed() */
    bool is_injecting_start_zeros;    /* as the store's option for created timestamps */
    const struct otlp_settings *otlp; /* lent; NULL: as without a configuration */
    const char *influx_separator;     /* lent; NULL: "_" */
    struct push *push;                /* lent; NULL: nothing takes pushes */
};

/* Copies the options. */
struct ingest *ingest_new(const struct ingest_options *options);
void ingest_free(struct ingest *ingest); /* NULL is allowed; no request may be under way */
AP_DEFINE_AUTO(ingest, struct ingest, ingest_free)

/* What takes data in at a path: one of the two, or neither where there is nothing. */
struct ingest_endpoint {
    const struct row_endpoint *rows;
    const struct metrics_protocol *metrics;
    struct ap_slice rest; /* of a protocol's path, what is behind its own part */
};
struct ingest_endpoint ingest_endpoint_find(struct ap_slice path);
static inline bool ingest_endpoint_is_there(struct ingest_endpoint endpoint)
{
    return endpoint.rows || endpoint.metrics;
}
bool ingest_endpoint_is_otlp(struct ingest_endpoint endpoint);

/* For http_server_options.admit: replies when the request is refused, before its body is read. */
void ingest_admit(struct ingest *ingest, struct ingest_endpoint endpoint, struct http_request *request);

/* For http_server_options.handle: replies, or suspends and replies later. */
void ingest_handle(struct ingest *ingest, struct ingest_endpoint endpoint, struct http_request *request);

/* From here on every request is answered 503, and nobody waits for the store. Any thread. */
void ingest_drain(struct ingest *ingest);

/*
 * The store has made visible all of the log below `lsn`: senders of large batches wait for it when it falls behind
 * (ingest/backlog.h). Trouble: it may take long, so nobody waits. Any thread; neither blocks. Without these calls
 * nobody waits.
 */
void ingest_note_visible(struct ingest *ingest, uint64_t lsn);
void ingest_note_store_trouble(struct ingest *ingest);

/* Since the start. */
struct ingest_stats {
    uint64_t rows_accepted_count; /* durable and acknowledged */
    uint64_t rows_rejected_count;
    uint64_t rows_dropped_count;          /* in requests that asked not to be tracked; counted, not kept */
    uint64_t requests_refused_count;      /* 4xx and 5xx, for any reason */
    uint64_t requests_unauthorized_count; /* of these: no, unknown, revoked or wrong key */
    uint64_t requests_over_rate_count;    /* of these: 429 */
    uint64_t requests_unavailable_count;  /* of these: 503 */
};
struct ingest_table_stats {
    const char *table;
    struct ingest_stats stats;
};

enum { INGEST_ENDPOINT_COUNT = 4 /* of those that take rows */ };

/* One entry an endpoint. Any thread. */
void ingest_stats_get(const struct ingest *ingest, struct ingest_table_stats ret_stats[INGEST_ENDPOINT_COUNT]);

/* All three: zeros without a store for metrics. Any thread. */
struct otlp_streams_stats; /* ingest/otlp_streams.h */
void ingest_otlp_stats_get(const struct ingest *ingest, struct otlp_streams_stats *ret_stats);
uint64_t ingest_otlp_cache_bytes(const struct ingest *ingest); /* metrics_otlp_cache_bytes() */
void ingest_metrics_stats_get(const struct ingest *ingest, struct metrics_stats ret_stats[METRICS_WAY_COUNT]);
