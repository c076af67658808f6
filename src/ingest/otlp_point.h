/*
 * ingest/otlp_point.h - OTLP metrics, as both encodings hand them on
 *
 *     otlp_protobuf.c ─┐
 *                      ├─ resource, scope, metric, point ──► otlp_sink.h ──► batch
 *     otlp_json.c    ──┘
 *
 * Plain values without behaviour. All slices and arrays are lent until the call that they are passed to returns; texts
 * of names and values, which the batch keeps, live as long as the request: in its body, or in the arena.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum {
    OTLP_ATTRIBUTES_MAX = 256, /* of one resource, scope or point; as many labels as a series may have */
    OTLP_FLAG_NO_RECORDED_VALUE = 1,
};

/* A value that is no string is here as the text that Prometheus makes of it (otlp_value.h). */
struct otlp_attribute {
    struct ap_slice key;
    struct ap_slice value;
};

struct otlp_attributes {
    struct otlp_attribute *items;
    size_t count;
    /*
     * The bytes that they were read from, with all else that a resource or scope says there: who sends the same bytes
     * means the same. Data NULL: they are not in one piece, or of an encoding that does not keep them.
     */
    struct ap_slice raw;
};

struct otlp_scope {
    struct ap_slice name;
    struct ap_slice version;
    struct ap_slice schema_url;
    struct otlp_attributes attributes;
};

enum otlp_kind { OTLP_NO_DATA, OTLP_GAUGE, OTLP_SUM, OTLP_HISTOGRAM, OTLP_EXPONENTIAL, OTLP_SUMMARY };

/* The protocol's numbers. */
enum otlp_temporality { OTLP_UNSPECIFIED = 0, OTLP_DELTA = 1, OTLP_CUMULATIVE = 2 };

struct otlp_metric {
    struct ap_slice name;
    struct ap_slice description;
    struct ap_slice unit;
    struct ap_slice head; /* the bytes that these three were read from; data NULL: as otlp_attributes.raw */
    enum otlp_kind kind;
    uint64_t temporality; /* enum otlp_temporality, or a number that is none; of sums and histograms */
    bool is_monotonic;    /* of sums */
};

/* Numbers of eight bytes; otlp_array.h makes them grow. */
struct otlp_numbers {
    union {
        uint64_t *items; /* in the arena */
        double *doubles;
    };
    size_t count;
    size_t capacity;
};

/* Structs of one kind, which the field that has them names. */
struct otlp_list {
    void *items;
    size_t count;
};

struct otlp_buckets {
    int32_t offset;
    struct otlp_numbers counts;
};

struct otlp_quantile {
    double quantile;
    double value;
};

struct otlp_exemplar {
    uint64_t ts_ns; /* 0: the point's */
    bool has_value;
    double value;
    struct ap_slice trace_id; /* in lower-case hexadecimal digits; empty: none */
    struct ap_slice span_id;
    struct otlp_attributes attributes;
};

/* A point of any kind. What its kind does not have is 0. */
struct otlp_point {
    bool is_known;     /* otlp_sink_knows() has said so: its attributes need not be here */
    const char *fault; /* why it is refused, whatever it says; static. NULL: it is not */
    struct otlp_attributes attributes;
    uint64_t start_ns; /* 0: not said */
    uint64_t ts_ns;
    uint64_t flags;
    struct otlp_list exemplars; /* struct otlp_exemplar */
    /* Gauges and sums. */
    bool has_value;
    double value;
    /* Histograms and summaries. */
    bool has_sum;
    double sum;
    uint64_t count;
    struct otlp_numbers bounds; /* doubles */
    struct otlp_numbers bucket_counts;
    /* Exponential histograms. */
    int32_t scale;
    uint64_t zero_count;
    double zero_threshold;
    struct otlp_buckets positive;
    struct otlp_buckets negative;
    /* Summaries. */
    struct otlp_list quantiles; /* struct otlp_quantile */
};
