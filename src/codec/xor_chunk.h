/*
 * codec/xor_chunk.h - Prometheus' chunks of doubles (its encoding 1): in its blocks, and in answers of remote read
 *
 *     count u16 BE │ ts varint │ value 64 │ ts difference varint │ value XOR │ difference of differences │ value XOR …
 *
 * Values keep every bit, NaNs' payloads too. Histograms: histogram_chunk.h.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"

enum { XOR_CHUNK_SAMPLES_MAX = UINT16_MAX };

/* Times may have any distance. Prometheus makes chunks of 120 samples. */
void xor_chunk_encode(const int64_t *ts_ms, const double *values, size_t count, struct ap_buf *out);

/* Arrays from `arena`, at most 64 bytes for each of the chunk's, and 32. AP_E_CORRUPT: the bytes end too early. */
ap_nodiscard enum ap_rc xor_chunk_decode(struct ap_slice chunk, struct ap_arena *arena, size_t *ret_count,
                                         int64_t **ret_ts_ms, double **ret_values, struct ap_err *err);
