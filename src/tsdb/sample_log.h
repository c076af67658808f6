/*
 * tsdb/sample_log.h - the log's record of samples: what a sample is, told by how it differs from the one before
 *
 * A record holds samples of one shard of the head, in the order in which they were appended. A value is written as the
 * difference to the value that the same series had before it in the log: gauges and counters take a byte or two, a
 * constant half a byte before compression. So a record can be read only after its predecessors. What bounds that is the
 * epoch: within one, records build on each other; in a new one every series begins anew with a whole value. A new epoch
 * begins at every checkpoint, after every start, and after every write that the log refused.
 *
 * Bytes: docs/format/tsdb.md, "Log records". No locks: whoever owns the series' states owns the call.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"

/* What both sides remember of a series: the value last logged, and how many decimals its values have. Zero: nothing. */
struct sample_state {
    double last;
    uint32_t epoch;  /* `last` and `exponent` count in this epoch alone; 0: none */
    int8_t exponent; /* values are integers / 10^exponent; negative: real numbers */
};

enum { SAMPLE_LOG_EXPONENT_MAX = 6 };

/* ---- Writing ---- */

/* The columns of one record under construction. {0} is empty; reset keeps the memory. */
struct sample_writer {
    uint32_t epoch;
    uint64_t series_count; /* series with samples here */
    struct ap_buf definitions;
    struct ap_buf refs;
    struct ap_buf counts;
    struct ap_buf times;
    struct ap_buf codes; /* two of 4 bits a byte */
    struct ap_buf values;
    struct ap_buf histograms;
    struct ap_buf exemplars;
    struct ap_buf metadata;
    uint64_t sample_count;
    /* Runs that are not written yet. */
    int64_t ref_next;
    uint64_t ref_repeat;
    uint64_t run_samples; /* samples of the series under way */
    uint64_t count_value;
    uint64_t count_repeat;
    int64_t ts_last;
    int64_t ts_delta;
    uint64_t ts_repeat;
    int64_t histogram_ts_last;
    struct ap_buf body;
    struct ZSTD_CCtx_s *zstd; /* owned; made when it is needed */
};

void sample_writer_reset(struct sample_writer *writer, uint32_t epoch);
void sample_writer_clear(struct sample_writer *writer);

/* A series' labels: needed before its first sample of an epoch unless the checkpoint has it. */
void sample_writer_define(struct sample_writer *writer, uint32_t ref, struct ap_slice labels);
/* Samples that follow belong to this series. `local` is its number within the shard: neighbours cost nothing. */
void sample_writer_series(struct sample_writer *writer, uint32_t local);
void sample_writer_sample(struct sample_writer *writer, struct sample_state *state, int64_t ts_ms, double value);
void sample_writer_histogram(struct sample_writer *writer, uint32_t local, int64_t ts_ms, struct ap_slice blob);
void sample_writer_exemplar(struct sample_writer *writer, uint32_t ref, int64_t ts_ms, double value,
                            struct ap_slice labels);
void sample_writer_metadata(struct sample_writer *writer, uint8_t type, struct ap_slice metric, struct ap_slice help,
                            struct ap_slice unit);
bool sample_writer_is_empty(const struct sample_writer *writer);
/* The whole record. `seq` rises from record to record of a shard, over restarts too. */
void sample_writer_finish(struct sample_writer *writer, uint32_t shard, uint32_t shard_count, uint64_t seq,
                          struct ap_buf *out);

/* ---- Reading ---- */

struct sample_record_head {
    uint32_t epoch;
    uint64_t seq;
    uint32_t shard;
    uint32_t shard_count; /* a power of two; ref = local * shard_count + shard */
};

/* What a record says, in its order. All slices are lent for the call. */
struct sample_sink {
    void *context;
    void (*define)(void *context, uint32_t ref, struct ap_slice labels);
    /* The state of this series, or NULL: it is not known (damage). May move between calls of other sinks. */
    struct sample_state *(*state)(void *context, uint32_t ref);
    /* The samples of one series that stand together. */
    void (*samples)(void *context, uint32_t ref, const int64_t *ts_ms, const double *values, size_t count);
    void (*histogram)(void *context, uint32_t ref, int64_t ts_ms, struct ap_slice blob);
    void (*exemplar)(void *context, uint32_t ref, int64_t ts_ms, double value, struct ap_slice labels);
    void (*metadata)(void *context, uint8_t type, struct ap_slice metric, struct ap_slice help, struct ap_slice unit);
};

/* Reads the head, and unpacks the rest into `body`. */
ap_nodiscard enum ap_rc sample_record_open(struct ap_slice record, struct sample_record_head *ret_head,
                                           struct ap_buf *body, struct ap_err *err);
/* Calls the sink for everything in what was unpacked, where it has a function for it. AP_E_CORRUPT: what was called
 * before stands. */
ap_nodiscard enum ap_rc sample_record_read(const struct sample_record_head *head, struct ap_slice body,
                                           const struct sample_sink *sink, struct ap_err *err);
