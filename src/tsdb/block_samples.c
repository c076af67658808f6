/* A series of a block from its samples: full chunks, in order of time. */
#include <stdlib.h>

#include "base/mem.h"
#include "tsdb/block.h"
#include "tsdb/histogram.h"

enum { FRAME_BYTES = 64, FRAME_BYTES_EACH = 16 }; /* what a chunk of histograms may add to their bytes */

struct adding {
    struct block_writer *writer;
    struct ap_buf chunk;
    struct chunk_entry *entries;
    size_t count;
    size_t capacity;
};

static enum ap_rc end_chunk(struct adding *adding, enum chunk_kind kind, const int64_t *ts_ms, size_t count,
                            struct ap_err *err)
{
    struct chunk_entry entry = {
        .min_ts_ms = ts_ms[0],
        .max_ts_ms = ts_ms[count - 1],
        .sample_count = (uint32_t)count,
        .kind = kind,
    };
    enum ap_rc rc = block_writer_add_chunk(adding->writer, ap_buf_slice(&adding->chunk), &entry, err);
    ap_buf_reset(&adding->chunk);
    if (rc != AP_OK)
        return rc;
    if (adding->count == adding->capacity) {
        adding->capacity = adding->capacity ? adding->capacity * 2 : 16;
        adding->entries = ap_realloc(adding->entries, adding->capacity * sizeof(*adding->entries));
    }
    adding->entries[adding->count++] = entry;
    return AP_OK;
}

static enum ap_rc add_floats(struct adding *adding, const struct block_samples *samples, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t at = 0; at < samples->count && rc == AP_OK;) {
        size_t count = AP_MIN(samples->count - at, (size_t)CHUNK_SAMPLES_MAX);
        chunk_encode_floats(samples->ts_ms + at, samples->values + at, count, &adding->chunk);
        rc = end_chunk(adding, CHUNK_FLOATS, samples->ts_ms + at, count, err);
        at += count;
    }
    return rc;
}

static enum ap_rc add_histograms(struct adding *adding, const struct block_samples *samples, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t at = 0; at < samples->histogram_count && rc == AP_OK;) {
        size_t count = 0, bytes = FRAME_BYTES;
        for (; at + count < samples->histogram_count && count < CHUNK_SAMPLES_MAX; count++) {
            bytes += samples->histograms[at + count].bytes + FRAME_BYTES_EACH;
            if (count && bytes > CHUNK_BYTES_MAX)
                break;
        }
        chunk_encode_histograms(samples->histogram_ts_ms + at, samples->histograms + at, count, &adding->chunk);
        rc = end_chunk(adding, CHUNK_HISTOGRAMS, samples->histogram_ts_ms + at, count, err);
        at += count;
    }
    return rc;
}

static int compare_entries(const void *a, const void *b)
{
    const struct chunk_entry *x = a, *y = b;
    return (x->min_ts_ms > y->min_ts_ms) - (x->min_ts_ms < y->min_ts_ms);
}

enum ap_rc block_writer_add_samples(struct block_writer *writer, struct ap_slice labels,
                                    const struct block_samples *samples, struct ap_err *err)
{
    struct adding adding = {.writer = writer};
    enum ap_rc rc = add_floats(&adding, samples, err);
    if (rc == AP_OK)
        rc = add_histograms(&adding, samples, err);
    if (rc == AP_OK && adding.count) {
        qsort(adding.entries, adding.count, sizeof(*adding.entries), compare_entries);
        rc = block_writer_add_series(writer, labels, adding.entries, adding.count, err);
    }
    ap_buf_clear(&adding.chunk);
    free(adding.entries);
    return rc;
}
