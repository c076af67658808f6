/*
 * history/prometheus_decode.h - Prometheus' samples, as its chunks and its log have them, into ours
 *
 * Floats keep every bit. Of a histogram everything stays but two things: schemas above 8 are reduced, as in every other
 * way in; and of the reset hint only whether it is a gauge. Prometheus itself answers "unknown" or "no reset" by where
 * in a chunk a histogram stood; both are what comparing it with the one before it says.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "history/byte_reader.h"
#include "history/prometheus_tombstones.h"
#include "history/samples.h"

/* Which samples are wanted. */
struct prometheus_clip {
    int64_t min_ts_ms; /* both inclusive */
    int64_t max_ts_ms;
    const struct prometheus_stone *stones; /* lent; what they hold is not */
    size_t stone_count;
};

/* What became of those that are not ours to have. */
struct prometheus_refusals {
    uint64_t histograms; /* that contradict themselves, or are beyond Apiary's limits */
    struct ap_err first; /* why, of the first one */
};

static inline bool prometheus_clip_wants(const struct prometheus_clip *clip, int64_t ts_ms)
{
    return ts_ms >= clip->min_ts_ms && ts_ms <= clip->max_ts_ms &&
           !prometheus_stones_hold(clip->stones, clip->stone_count, ts_ms);
}

/*
 * Adds the samples of a chunk; takes memory of `arena` that is not needed any more on return. AP_E_CORRUPT: its bytes
 * make no sense, or AP_E_LIMIT: its encoding is one that this program does not read; nothing is added then.
 */
ap_nodiscard enum ap_rc prometheus_decode_chunk(uint8_t encoding, struct ap_slice data,
                                                const struct prometheus_clip *clip, struct ap_arena *arena,
                                                struct history_samples *samples, struct prometheus_refusals *refusals,
                                                struct ap_err *err);

/* ---- Histograms of the log ---- */

/* Passes over the histogram that stands next; its bytes are *ret_raw. */
void prometheus_histogram_skip(struct byte_reader *reader, bool is_float, struct ap_slice *ret_raw);
/* Adds it. AP_E_CORRUPT: its bytes make no sense. */
ap_nodiscard enum ap_rc prometheus_histogram_add(struct ap_slice raw, bool is_float, int64_t ts_ms,
                                                 struct ap_arena *arena, struct history_samples *samples,
                                                 struct prometheus_refusals *refusals, struct ap_err *err);
