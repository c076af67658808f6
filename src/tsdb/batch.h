/*
 * tsdb/batch.h - the samples of one request, decoded: what every way in for metrics hands to tsdb_append()
 *
 * Flat arrays, so that a request of ten thousand samples is a handful of allocations. Labels are lent bytes, usually of
 * the request's body. One owner, no locks; dies with its request.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "tsdb/histogram.h"
#include "tsdb/labels.h"

struct batch_series {
    struct ap_slice labels;  /* lent; as labels.h says, or as near to it as the sender came. Data NULL: find_labels() */
    struct labels_hash hash; /* of exactly these bytes, with tsdb_hash_seed() */
    uint32_t sample_first;   /* in batch.ts_ms and batch.values */
    uint32_t sample_count;
    uint32_t histogram_first; /* in batch.histograms */
    uint32_t histogram_count;
    uint32_t exemplar_first; /* in batch.exemplars */
    uint32_t exemplar_count;
    /*
     * The first sample, or the first histogram where there are no samples, is a 0 that nobody sent: the series'
     * beginning, as its start timestamp says. Senders repeat that with every sample, so the store drops it silently
     * unless it is newer than all that the series has, and counts it neither as written nor as refused.
     */
    bool has_start_zero;
    /* And where the series has nothing yet it is dropped too: it is for a sender that has begun anew since. */
    bool is_start_zero_for_restart;
    /*
     * Staleness markers of a sender that is no longer asked: the store drops them silently unless they are newer than
     * all that the series has, and makes no series for them.
     */
    bool is_only_if_newest;
    /*
     * The bytes are one run of wire-format labels. Whether they are sorted and sound is looked at only when the hash is
     * unknown (a known hash means: these very bytes were checked before).
     */
};

struct batch_histogram {
    int64_t ts_ms;
    struct ap_slice blob; /* lent; made by histogram_encode() */
};

struct batch_exemplar {
    int64_t ts_ms;
    double value;
    struct ap_slice labels; /* lent; canonical, or empty */
};

enum metadata_type {
    METADATA_UNKNOWN,
    METADATA_COUNTER,
    METADATA_GAUGE,
    METADATA_HISTOGRAM,
    METADATA_GAUGE_HISTOGRAM,
    METADATA_SUMMARY,
    METADATA_INFO,
    METADATA_STATE_SET,
    METADATA_TYPE_COUNT
};
const char *metadata_type_name(enum metadata_type type); /* "counter", "gaugehistogram", … as Prometheus says them */

struct batch_metadata {
    struct ap_slice metric; /* family name; all lent */
    struct ap_slice help;
    struct ap_slice unit;
    enum metadata_type type;
};

struct batch {
    /*
     * Appends the canonical, checked labels of a series that came without any. Asked during tsdb_append() and only for
     * series that are not known by their hash: who keeps hashes need not keep labels.
     */
    void (*find_labels)(void *context, size_t series_index, struct ap_buf *out);
    void *find_labels_context;   /* lent; both survive batch_reset() */
    struct batch_series *series; /* owned, as the other arrays */
    size_t series_count;
    size_t series_capacity;
    int64_t *ts_ms;
    double *values;
    size_t sample_count;
    size_t sample_capacity;
    struct batch_histogram *histograms;
    size_t histogram_count;
    size_t histogram_capacity;
    struct batch_exemplar *exemplars;
    size_t exemplar_count;
    size_t exemplar_capacity;
    struct batch_metadata *metadata;
    size_t metadata_count;
    size_t metadata_capacity;
};

/* {0} is an empty batch. Clear frees the arrays; reset keeps them for the next request. */
void batch_clear(struct batch *batch);
void batch_reset(struct batch *batch);

/* Each returns the new element, zeroed but for what the parameters say; samples go to the series added last. */
struct batch_series *batch_add_series(struct batch *batch, struct ap_slice labels, struct labels_hash hash);
void batch_add_sample(struct batch *batch, int64_t ts_ms, double value);
void batch_add_histogram(struct batch *batch, int64_t ts_ms, struct ap_slice blob);
struct batch_exemplar *batch_add_exemplar(struct batch *batch);
struct batch_metadata *batch_add_metadata(struct batch *batch);
