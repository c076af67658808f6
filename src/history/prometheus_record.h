/*
 * history/prometheus_record.h - what a record of Prometheus' logs says
 *
 * Series get a number there (ref), which all else uses. Types 1 to 14 are read, start timestamps passed over; records
 * of other types are of a newer Prometheus and are counted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"
#include "history/prometheus_tombstones.h"
#include "tsdb/labels.h"

struct prometheus_exemplar {
    uint64_t ref;
    int64_t ts_ms;
    double value;
    struct label *labels; /* lent, may be sorted in place */
    size_t label_count;
};

struct prometheus_metadata {
    uint64_t ref;
    uint8_t type;         /* enum metadata_type has the same numbers */
    struct ap_slice unit; /* lent */
    struct ap_slice help;
};

/* Who is told; members that are NULL are not interested. */
struct prometheus_record_visitor {
    void *context;
    void (*series)(void *context, uint64_t ref, struct label *labels, size_t count);
    void (*sample)(void *context, uint64_t ref, int64_t ts_ms, double value);
    void (*histogram)(void *context, uint64_t ref, int64_t ts_ms, bool is_float, struct ap_slice raw);
    void (*stone)(void *context, const struct prometheus_stone *stone);
    void (*exemplar)(void *context, const struct prometheus_exemplar *exemplar);
    void (*metadata)(void *context, const struct prometheus_metadata *metadata);
    /* A chunk of the head holds what stood before of this series; of wbl/. */
    void (*chunk_marker)(void *context, uint64_t ref, uint64_t chunk_ref);
    void (*min_valid_time)(void *context, int64_t ts_ms);
    void (*unknown)(void *context, uint8_t type);
};

/* AP_E_CORRUPT: the record makes no sense; what stood before that was told. */
ap_nodiscard enum ap_rc prometheus_record_visit(struct ap_slice record, const struct prometheus_record_visitor *visitor,
                                                struct ap_err *err);
