/*
 * api/remote_read_chunks.h - one series as Prometheus' chunks, in frames: remote read's STREAMED_XOR_CHUNKS
 *
 *     frame:  varint length │ CRC-32C of the message, u32 BE │ message
 *     message: ChunkedReadResponse{1 ChunkedSeries{1 labels, 2 chunks}, 2 query index}
 *
 * A frame has one series, or the next part of it: the reader puts those of the same labels together again.
 */
#pragma once

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "tsdb/tsdb.h"

/* Appends the frames; none for a series without samples. AP_E_CORRUPT: a histogram that is not one. */
ap_nodiscard enum ap_rc remote_read_add_frames(struct ap_buf *out, uint64_t query_index, struct ap_slice labels,
                                               const struct tsdb_columns *columns, struct ap_err *err);
