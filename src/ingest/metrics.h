/*
 * ingest/metrics.h - the endpoints that take metrics in, whatever their protocol (ingest/metrics_protocol.h)
 *
 *     admit (header): key, rate, type, encoding ──► handle (body): decode into a batch ──► tsdb_append() ──► answer
 *
 * What they accept and answer: docs/ingest.md. Both functions run on the HTTP loop's thread and never wait; the answer
 * comes from the store's done(), when the log has the samples on disk.
 *
 * Part of ingest/ingest.h, through which the rest of the program uses this.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "tsdb/tsdb.h"

struct http_request;
struct keyring;
struct metrics;
struct otlp_settings;
struct push;

enum {
    METRICS_BODY_BYTES_MAX = 32 << 20,     /* as it comes over the wire */
    METRICS_INFLATED_BYTES_MAX = 32 << 20, /* after decompression */
};

struct metrics_protocol; /* ingest/metrics_protocol.h */

/* The protocol that has this path, or NULL; and what of the path is behind the protocol's own. */
const struct metrics_protocol *metrics_protocol_find(struct ap_slice path, struct ap_slice *ret_rest);

struct otlp_streams; /* ingest/otlp_streams.h */

typedef enum ap_rc (*metrics_append_fn)(struct tsdb *tsdb, struct tsdb_append *append, struct ap_err *err);
typedef bool (*metrics_newest_fn)(struct tsdb *tsdb, struct labels_hash hash, struct ap_arena *arena,
                                  struct tsdb_newest *ret_newest);

struct metrics_options {
    struct tsdb *tsdb;        /* lent */
    metrics_append_fn append; /* tsdb_append(), or what stands in for it in a test */
    metrics_newest_fn newest; /* tsdb_newest(), likewise; NULL: nothing is known of any series */
    uint64_t hash_seed;       /* tsdb_hash_seed() */
    bool is_injecting_start_zeros;
    const struct otlp_settings *otlp; /* lent; NULL: as without a configuration */
    struct keyring *keyring;          /* lent; may be NULL when is_open */
    const struct ap_clock *clock;     /* lent */
    bool is_open;                     /* no keys are asked for */
    const char *influx_separator;     /* between measurement and field; lent */
    struct push *push;                /* lent; NULL: nothing takes pushes */
};

/* Copies the options. */
struct metrics *metrics_new(const struct metrics_options *options);
void metrics_free(struct metrics *metrics); /* NULL is allowed; no request may be under way */
AP_DEFINE_AUTO(metrics, struct metrics, metrics_free)

struct otlp_streams *metrics_streams(struct metrics *metrics);    /* for figures, and the protocol */
uint64_t metrics_otlp_cache_bytes(const struct metrics *metrics); /* memory of ingest/otlp_cache.h; any thread */

/* For http_server_options.admit and .handle, as ingest_admit() and ingest_handle(). */
void metrics_admit(struct metrics *metrics, const struct metrics_protocol *protocol, struct ap_slice rest,
                   struct http_request *http);
void metrics_handle(struct metrics *metrics, struct http_request *http);

/* From here on every request is answered 503. Any thread. */
void metrics_drain(struct metrics *metrics);

/* The ways metrics come in. */
enum metrics_way {
    METRICS_WAY_WRITE_1,
    METRICS_WAY_WRITE_2,
    METRICS_WAY_IMPORT,
    METRICS_WAY_OTLP_PROTOBUF,
    METRICS_WAY_OTLP_JSON,
    METRICS_WAY_PUSH,
    METRICS_WAY_INFLUX,
    METRICS_WAY_COUNT
};
const char *metrics_way_name(enum metrics_way way); /* "remote_write_1", "otlp_json" … */

/* Since the start; all counters. */
struct metrics_stats {
    uint64_t requests;
    uint64_t requests_refused;      /* 4xx and 5xx, for any reason */
    uint64_t requests_unauthorized; /* of these: 401 and 403 */
    uint64_t requests_over_rate;    /* of these: 429 */
    uint64_t requests_unavailable;  /* of these: 503 */
    uint64_t body_bytes;            /* after decompression */
    uint64_t samples_written;       /* durable and acknowledged, as the two that follow */
    uint64_t histograms_written;
    uint64_t exemplars_written;
    uint64_t metadata_received;
    uint64_t refused_malformed; /* samples and histograms, as in all that follow */
    uint64_t refused_labels;
    uint64_t refused_series;
    uint64_t refused_old;
    uint64_t refused_duplicate;
    uint64_t refused_future;
    uint64_t exemplars_refused;
    uint64_t texts_skipped; /* values that are no numbers, in a protocol that has such */
};
/* Any thread. */
void metrics_stats_get(const struct metrics *metrics, struct metrics_stats ret_stats[METRICS_WAY_COUNT]);
