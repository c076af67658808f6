/*
 * tsdb/histogram_columns.h - the histograms of a chunk, bucket by bucket; internal to tsdb/chunk_histogram.c
 *
 * A bucket's counts over time go into one column, since they resemble each other more than a histogram's buckets do. A
 * histogram that does not have a bucket which others of its family have stands there with 0: a bucket that appears
 * later costs a list of spans and starts no chunk anew. Bytes: docs/format/tsdb.md, "Histogram chunks".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

/*
 * Appends what histogram_columns_decode() reads. False, with nothing appended, when columns are no form for these: a
 * blob is not what histogram_encode() makes, or they have so little in common that the columns would be mostly empty.
 */
bool histogram_columns_encode(const struct ap_slice *blobs, size_t count, struct ap_buf *out);

/*
 * The blobs to the bit; their bytes are from `arena`. False: malformed, or no memory. Whatever the bytes are, it takes
 * at most HISTOGRAM_CHUNK_BLOBS_BYTES_MAX of the arena, and 80 MiB that it gives back.
 */
bool histogram_columns_decode(struct ap_slice bytes, size_t count, struct ap_arena *arena, struct ap_slice *ret_blobs);
