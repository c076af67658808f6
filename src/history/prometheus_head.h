/*
 * history/prometheus_head.h - the newest samples of a Prometheus: its logs, and the chunks of its head
 *
 *     wal/checkpoint.N, wal/…   every sample that came in order, since the last block
 *     chunks_head/…             the same, of series whose chunks were full, and such that came out of order
 *     wbl/…                     samples that came out of order
 *
 * Prometheus puts the same sample into the log and later into a chunk; here each is taken once. As there, a sample of
 * wal/ that is not newer than the one before it counts only when wbl/ has it too, and what is before the end of the
 * newest block that was cut from the head is that block's: it may have been deleted from there. A chunk of late samples
 * counts while wbl/ speaks of it: afterwards they are in a block, and may have been deleted from there. memory
 * snapshots (chunk_snapshot.N) say nothing that wal/ does not.
 *
 * Opening goes through the logs once, for the series and how many samples each has. Reading hands the series out in
 * order of labels, as blocks do: as many at a time as their samples fit the memory that it may use, and for each such
 * group goes through the logs again. So memory is bounded, whatever the size of the logs.
 *
 * Threads: a head that is open does not change; each stream is one thread's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "history/prometheus_decode.h"
#include "history/samples.h"
#include "history/trouble.h"

struct prometheus_head; /* private to prometheus_head.c */

struct prometheus_head_facts {
    uint64_t series_count;
    uint64_t sample_count; /* as the logs have them: one that is in a chunk as well counts twice */
    uint64_t bytes;
    uint64_t lost_samples;    /* of series that no record names */
    uint64_t refused_series;  /* with labels that Apiary does not take */
    uint64_t unknown_records; /* of a newer Prometheus */
    uint64_t torn_bytes;      /* at the end of the logs, as a crash leaves them */
    int64_t min_ts_ms;        /* INT64_MAX: no sample */
    int64_t max_ts_ms;
    struct ap_err refusal; /* the first one */
};

/*
 * `block_ends_ms`: where the blocks end that say nothing of late samples. Prometheus 2.42 forgets to say it when it
 * merges such blocks, so an end counts only when the log goes on for so long behind it that the head was cut there.
 * A directory without logs is an empty head.
 */
ap_nodiscard enum ap_rc prometheus_head_open(int dir_fd, const char *path, const int64_t *block_ends_ms,
                                             size_t block_end_count, struct history_trouble *trouble,
                                             struct prometheus_head **ret_head, struct ap_err *err);
void prometheus_head_close(struct prometheus_head *head); /* NULL is allowed */
void prometheus_head_facts(const struct prometheus_head *head, struct prometheus_head_facts *ret_facts);

/* ---- Series by series ---- */

struct prometheus_head_stream; /* private */

/* Samples from min_ts_ms to max_ts_ms, both inclusive. `memory_bytes`: for samples at a time. */
struct prometheus_head_stream *prometheus_head_stream_new(struct prometheus_head *head, int64_t min_ts_ms,
                                                          int64_t max_ts_ms, size_t memory_bytes);
void prometheus_head_stream_free(struct prometheus_head_stream *stream); /* NULL is allowed */

/* Lends the labels of the next series that may have samples; *ret_is_end: there is none. */
ap_nodiscard enum ap_rc prometheus_head_stream_next(struct prometheus_head_stream *stream, struct ap_slice *ret_labels,
                                                    bool *ret_is_end, struct ap_err *err);
/* Adds the samples of this series. */
ap_nodiscard enum ap_rc prometheus_head_stream_read(struct prometheus_head_stream *stream,
                                                    struct history_samples *samples,
                                                    struct prometheus_refusals *refusals, struct ap_err *err);

/* ---- What is about series ---- */

/* Each in the order of the log; labels lent, canonical, of exemplars perhaps empty. */
typedef void (*prometheus_head_exemplar_fn)(struct ap_slice series_labels, int64_t ts_ms, double value,
                                            struct ap_slice labels, void *context);
void prometheus_head_exemplars(struct prometheus_head *head, prometheus_head_exemplar_fn each, void *context);
typedef void (*prometheus_head_metadata_fn)(struct ap_slice series_labels, uint8_t type, struct ap_slice unit,
                                            struct ap_slice help, void *context);
void prometheus_head_metadata(struct prometheus_head *head, prometheus_head_metadata_fn each, void *context);
