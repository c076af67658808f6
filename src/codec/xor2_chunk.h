/*
 * codec/xor2_chunk.h - Prometheus' newer chunks of doubles (its encoding 4, "XOR2"), reading only
 *
 *     count u16 BE │ start times u8 │ ts varint │ value 64 │ … │ code for time and value, start time if any │ …
 *
 * From the third sample on one code says both whether the interval of time stays and whether the value does. A
 * staleness marker is a code of its own, and the value before it stays the one that others are differences to. Start
 * timestamps may stand behind each sample; they are passed over, since our samples have none.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "base/slice.h"

/* As xor_chunk_decode(). */
ap_nodiscard enum ap_rc xor2_chunk_decode(struct ap_slice chunk, struct ap_arena *arena, size_t *ret_count,
                                          int64_t **ret_ts_ms, double **ret_values, struct ap_err *err);
