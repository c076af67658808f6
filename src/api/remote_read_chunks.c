#include "api/remote_read_chunks.h"

#include <string.h>

#include "base/arena.h"
#include "base/bits.h"
#include "base/mem.h"
#include "codec/histogram_chunk.h"
#include "codec/protobuf.h"
#include "codec/xor_chunk.h"
#include "tsdb/histogram.h"
#include "wal/crc32c.h"

enum {
    FRAME_BYTES_MAX = 1 << 20, /* a frame ends when it has so many; Prometheus' own limit */
    CHUNK_SAMPLES = 120,       /* as Prometheus makes them */
    ARENA_BYTES_MAX = 32 << 20,
    ENCODING_XOR = 1,
    ENCODING_HISTOGRAM = 2,
    ENCODING_FLOAT_HISTOGRAM = 3,
};

/* ---- Frames ---- */

struct framing {
    struct ap_buf *out;
    struct ap_slice labels; /* canonical: written as ChunkedSeries has them */
    uint64_t query_index;
    struct ap_buf series; /* labels and chunks of the frame that is not out yet; owned */
    size_t chunk_count;   /* in it */
};

static void end_frame(struct framing *framing)
{
    if (framing->chunk_count == 0)
        return;
    AP_AUTO_BUF struct ap_buf message = {0};
    protobuf_add_bytes(&message, 1, ap_buf_slice(&framing->series));
    if (framing->query_index)
        protobuf_add_varint(&message, 2, framing->query_index);
    uint32_t crc = wal_crc32c(0, message.data, message.bytes);
    ap_buf_add_varint(framing->out, message.bytes);
    ap_buf_add_u32(framing->out, __builtin_bswap32(crc)); /* which writes the lowest byte first */
    ap_buf_add_slice(framing->out, ap_buf_slice(&message));
    ap_buf_reset(&framing->series);
    ap_buf_add_slice(&framing->series, framing->labels);
    framing->chunk_count = 0;
}

static void add_chunk(struct framing *framing, int64_t min_ts_ms, int64_t max_ts_ms, uint64_t encoding,
                      struct ap_slice data)
{
    AP_AUTO_BUF struct ap_buf chunk = {0};
    protobuf_add_varint(&chunk, 1, (uint64_t)min_ts_ms);
    protobuf_add_varint(&chunk, 2, (uint64_t)max_ts_ms);
    protobuf_add_varint(&chunk, 3, encoding);
    protobuf_add_bytes(&chunk, 4, data);
    if (framing->series.bytes + chunk.bytes > FRAME_BYTES_MAX)
        end_frame(framing);
    protobuf_add_bytes(&framing->series, 2, ap_buf_slice(&chunk));
    framing->chunk_count++;
}

/* ---- Doubles ---- */

static void add_doubles(struct framing *framing, const int64_t *ts_ms, const double *values, size_t count)
{
    for (size_t from = 0; from < count; from += CHUNK_SAMPLES) {
        AP_AUTO_BUF struct ap_buf data = {0};
        size_t chunk_count = AP_MIN(count - from, (size_t)CHUNK_SAMPLES);
        xor_chunk_encode(ts_ms + from, values + from, chunk_count, &data);
        add_chunk(framing, ts_ms[from], ts_ms[from + chunk_count - 1], ENCODING_XOR, ap_buf_slice(&data));
    }
}

/* ---- Histograms ---- */

/* One decoded, with its figures as the chunk has them; in the arena that its turn belongs to. */
struct figures {
    struct ap_arena arena;
    struct histogram histogram;
    uint64_t *figures;
    size_t count;
    bool is_stale;
};

/* A chunk being written, and the histogram before the one at hand. */
struct histogram_chunking {
    struct framing *framing;
    struct histogram_chunk_writer writer;
    struct ap_buf data; /* owned */
    bool is_open;
    int64_t min_ts_ms;
    int64_t max_ts_ms;
    bool is_float;
    struct figures turns[2]; /* this one and the one before, by turns */
    int turn;
    bool has_before;
};

static enum ap_rc read_figures(struct ap_slice blob, struct figures *figures, struct ap_err *err)
{
    struct histogram *histogram = &figures->histogram;
    ap_arena_reset(&figures->arena);
    enum ap_rc rc = histogram_decode(blob, &figures->arena, histogram, err);
    if (rc != AP_OK)
        return rc;
    const struct histogram_buckets *signs[] = {&histogram->positive, &histogram->negative};
    figures->is_stale = histogram_is_stale(histogram);
    figures->count = 2 + signs[0]->count + signs[1]->count;
    uint64_t *to = figures->figures = ap_arena_try_alloc(&figures->arena, figures->count * sizeof(*to));
    if (!to)
        return ap_fail(err, AP_E_NOMEM, "no memory for a histogram of %zu buckets", figures->count);
    *to++ = histogram->is_float ? ap_double_to_bits(histogram->count_value) : histogram->count;
    *to++ = histogram->is_float ? ap_double_to_bits(histogram->zero_value) : histogram->zero_count;
    for (int sign = 0; sign < 2; sign++)
        for (size_t i = 0; i < signs[sign]->count; i++)
            *to++ = histogram->is_float ? ap_double_to_bits(signs[sign]->values[i]) : signs[sign]->counts[i];
    return AP_OK;
}

static bool has_same_spans(const struct histogram_buckets *a, const struct histogram_buckets *b)
{
    return a->span_count == b->span_count &&
           (a->span_count == 0 || memcmp(a->spans, b->spans, a->span_count * sizeof(*a->spans)) == 0);
}

/* A staleness marker has no layout of its own. */
static bool has_same_layout(const struct histogram *a, const struct histogram *b)
{
    return a->is_float == b->is_float && a->schema == b->schema &&
           ap_double_same(a->zero_threshold, b->zero_threshold) && has_same_spans(&a->positive, &b->positive) &&
           has_same_spans(&a->negative, &b->negative) && a->custom_value_count == b->custom_value_count &&
           (a->custom_value_count == 0 ||
            memcmp(a->custom_values, b->custom_values, a->custom_value_count * sizeof(*a->custom_values)) == 0);
}

/* Of the same layout: whether any figure is less than before. */
static bool is_reset(const struct figures *before, const struct figures *now)
{
    for (size_t i = 0; i < now->count; i++)
        if (now->histogram.is_float ? ap_double_of_bits(now->figures[i]) < ap_double_of_bits(before->figures[i])
                                    : now->figures[i] < before->figures[i])
            return true;
    return false;
}

static void end_chunk(struct histogram_chunking *chunking)
{
    if (!chunking->is_open)
        return;
    histogram_chunk_end(&chunking->writer);
    add_chunk(chunking->framing, chunking->min_ts_ms, chunking->max_ts_ms,
              chunking->is_float ? ENCODING_FLOAT_HISTOGRAM : ENCODING_HISTOGRAM, ap_buf_slice(&chunking->data));
    ap_buf_reset(&chunking->data);
    chunking->is_open = false;
}

/* What the first histogram of a new chunk is to the one before it. */
static enum histogram_chunk_reset reset_of(const struct figures *before, const struct figures *now)
{
    enum histogram_reset_hint hint = now->histogram.reset_hint;
    if (hint == HISTOGRAM_RESET_GAUGE)
        return HISTOGRAM_CHUNK_GAUGE;
    if (hint == HISTOGRAM_RESET_YES)
        return HISTOGRAM_CHUNK_RESET_YES;
    if (!before || before->is_stale || now->is_stale || !has_same_layout(&before->histogram, &now->histogram))
        return HISTOGRAM_CHUNK_RESET_UNKNOWN;
    return is_reset(before, now) ? HISTOGRAM_CHUNK_RESET_YES : HISTOGRAM_CHUNK_RESET_NO;
}

static void begin_chunk(struct histogram_chunking *chunking, const struct figures *before, const struct figures *now)
{
    const struct histogram *histogram = &now->histogram;
    const struct histogram_buckets *signs[] = {&histogram->positive, &histogram->negative};
    struct histogram_chunk_layout layout = {
        .is_float = histogram->is_float,
        .reset = reset_of(before, now),
        .schema = histogram->schema,
        .zero_threshold = histogram->zero_threshold,
        .bounds = histogram->custom_values,
        .bound_count = histogram->custom_value_count,
    };
    AP_AUTO_BUF struct ap_buf spans = {0};
    for (int sign = 0; sign < 2; sign++)
        for (size_t i = 0; i < signs[sign]->span_count; i++) {
            struct histogram_chunk_span span = {signs[sign]->spans[i].offset, signs[sign]->spans[i].length};
            ap_buf_add(&spans, &span, sizeof(span));
        }
    layout.spans[0] = (const struct histogram_chunk_span *)(const void *)spans.data;
    layout.spans[1] = layout.spans[0] + signs[0]->span_count;
    layout.span_counts[0] = signs[0]->span_count;
    layout.span_counts[1] = signs[1]->span_count;
    histogram_chunk_begin(&chunking->writer, &layout, &chunking->data);
    chunking->is_open = true;
    chunking->is_float = histogram->is_float;
}

/* Whether the open chunk may go on with it: of the same layout, both gauges or none, and nothing was reset. */
static bool is_going_on(const struct histogram_chunking *chunking, const struct figures *before,
                        const struct figures *now)
{
    if (!chunking->is_open || chunking->writer.sample_count == CHUNK_SAMPLES ||
        before->histogram.is_float != now->histogram.is_float)
        return false;
    if (now->is_stale || before->is_stale)
        return now->is_stale;
    enum histogram_chunk_reset reset = reset_of(before, now);
    bool is_gauge = before->histogram.reset_hint == HISTOGRAM_RESET_GAUGE;
    return is_gauge ? reset == HISTOGRAM_CHUNK_GAUGE && has_same_layout(&before->histogram, &now->histogram)
                    : reset == HISTOGRAM_CHUNK_RESET_NO;
}

static enum ap_rc add_histogram(struct histogram_chunking *chunking, int64_t ts_ms, struct ap_slice blob,
                                struct ap_err *err)
{
    struct figures *now = &chunking->turns[chunking->turn];
    const struct figures *before = chunking->has_before ? &chunking->turns[1 - chunking->turn] : NULL;
    enum ap_rc rc = read_figures(blob, now, err);
    if (rc != AP_OK)
        return rc;
    if (!is_going_on(chunking, before, now)) {
        end_chunk(chunking);
        begin_chunk(chunking, before, now);
        chunking->min_ts_ms = ts_ms;
    }
    struct histogram_chunk_sample sample = {ts_ms, now->histogram.sum, now->is_stale ? NULL : now->figures};
    histogram_chunk_add(&chunking->writer, &sample);
    chunking->max_ts_ms = ts_ms;
    chunking->turn = 1 - chunking->turn;
    chunking->has_before = true;
    return AP_OK;
}

/* ---- A series ---- */

/* Chunks follow each other in time: doubles up to the next histogram, histograms up to the next double. */
static enum ap_rc add_samples(struct framing *framing, struct histogram_chunking *chunking,
                              const struct tsdb_columns *columns, struct ap_err *err)
{
    size_t at = 0, histogram_at = 0;
    while (at < columns->count || histogram_at < columns->histogram_count) {
        size_t from = at;
        while (at < columns->count && (histogram_at == columns->histogram_count ||
                                       columns->ts_ms[at] < columns->histogram_ts_ms[histogram_at]))
            at++;
        if (at > from) {
            end_chunk(chunking);
            chunking->has_before = false;
            add_doubles(framing, columns->ts_ms + from, columns->values + from, at - from);
        }
        for (; histogram_at < columns->histogram_count &&
               (at == columns->count || columns->histogram_ts_ms[histogram_at] <= columns->ts_ms[at]);
             histogram_at++) {
            enum ap_rc rc =
                add_histogram(chunking, columns->histogram_ts_ms[histogram_at], columns->histograms[histogram_at], err);
            if (rc != AP_OK)
                return rc;
        }
    }
    end_chunk(chunking);
    return AP_OK;
}

enum ap_rc remote_read_add_frames(struct ap_buf *out, uint64_t query_index, struct ap_slice labels,
                                  const struct tsdb_columns *columns, struct ap_err *err)
{
    struct framing framing = {.out = out, .labels = labels, .query_index = query_index};
    struct histogram_chunking chunking = {.framing = &framing};
    ap_buf_add_slice(&framing.series, labels);
    for (int i = 0; i < 2; i++)
        ap_arena_init(&chunking.turns[i].arena, ARENA_BYTES_MAX);
    enum ap_rc rc = add_samples(&framing, &chunking, columns, err);
    if (rc == AP_OK)
        end_frame(&framing);
    else
        end_chunk(&chunking); /* for its memory */
    for (int i = 0; i < 2; i++)
        ap_arena_clear(&chunking.turns[i].arena);
    ap_buf_clear(&chunking.data);
    ap_buf_clear(&framing.series);
    return rc;
}
