#include "codec/histogram_chunk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bits.h"
#include "base/mem.h"

enum {
    COUNT_BITS = 16,
    FLAGS_BITS = 8,
    FLAGS_SHIFT = 6,
    THRESHOLD_PLAIN = 255,
    THRESHOLD_BIAS = 243,
    THRESHOLD_EXPONENT_MIN = -242,
    THRESHOLD_EXPONENT_MAX = 11,
    BOUND_THOUSANDTHS_MAX = 33554430, /* so that they take four bytes at most */
    FIGURES_FIXED = 2,                /* the count and the zero bucket's, before the buckets */
};
#define STALE_BITS UINT64_C(0x7ff0000000000002)

static const struct bit_buckets *const numbers = &bit_buckets_numbers;

/*
 * Buckets of integers are written as the difference to their left neighbour of the same sign; the first of each sign,
 * and what is before the buckets, as they are.
 */
static bool has_neighbour(size_t index, const size_t bucket_counts[2])
{
    return index > FIGURES_FIXED && index != FIGURES_FIXED + bucket_counts[0];
}

/* ---- Writing ---- */

/* Powers of two, which thresholds mostly are, in one byte. */
static void add_threshold(struct bit_writer *bits, double threshold)
{
    int exponent = 0;
    double fraction = frexp(threshold, &exponent);
    if (threshold == 0) {
        bit_writer_add(bits, 0, 8);
    } else if (fraction != 0.5 || exponent < THRESHOLD_EXPONENT_MIN || exponent > THRESHOLD_EXPONENT_MAX) {
        bit_writer_add(bits, THRESHOLD_PLAIN, 8);
        bit_writer_add(bits, ap_double_to_bits(threshold), 64);
    } else {
        bit_writer_add(bits, (unsigned)(exponent + THRESHOLD_BIAS), 8);
    }
}

/* Whole thousandths as a number above 0, others behind a zero. */
static void add_bound(struct bit_writer *bits, double bound)
{
    double thousandths = bound * 1000;
    bool is_short = thousandths >= 0 && thousandths <= BOUND_THOUSANDTHS_MAX && !signbit(bound) &&
                    round(thousandths) / 1000 == bound;
    bit_writer_add_uint(bits, numbers, is_short ? (uint64_t)round(thousandths) + 1 : 0);
    if (!is_short)
        bit_writer_add(bits, ap_double_to_bits(bound), 64);
}

static void add_layout(struct bit_writer *bits, const struct histogram_chunk_layout *layout)
{
    bit_writer_add(bits, (uint64_t)layout->reset << FLAGS_SHIFT, FLAGS_BITS);
    add_threshold(bits, layout->zero_threshold);
    bit_writer_add_int(bits, numbers, layout->schema);
    for (int sign = 0; sign < 2; sign++) {
        bit_writer_add_uint(bits, numbers, layout->span_counts[sign]);
        for (size_t i = 0; i < layout->span_counts[sign]; i++) {
            bit_writer_add_uint(bits, numbers, layout->spans[sign][i].length);
            bit_writer_add_int(bits, numbers, layout->spans[sign][i].offset);
        }
    }
    if (layout->schema != HISTOGRAM_CHUNK_SCHEMA_CUSTOM)
        return;
    bit_writer_add_uint(bits, numbers, layout->bound_count);
    for (size_t i = 0; i < layout->bound_count; i++)
        add_bound(bits, layout->bounds[i]);
}

void histogram_chunk_begin(struct histogram_chunk_writer *writer, const struct histogram_chunk_layout *layout,
                           struct ap_buf *out)
{
    *writer =
        (struct histogram_chunk_writer){.bits = bit_writer(out), .count_at = out->bytes, .is_float = layout->is_float};
    for (int sign = 0; sign < 2; sign++)
        for (size_t i = 0; i < layout->span_counts[sign]; i++)
            writer->bucket_counts[sign] += layout->spans[sign][i].length;
    size_t count = FIGURES_FIXED + writer->bucket_counts[0] + writer->bucket_counts[1];
    if (layout->is_float) {
        writer->states = ap_new0_array(struct bit_xor, count);
    } else {
        writer->before = ap_new0_array(uint64_t, count);
        writer->delta_before = ap_new0_array(uint64_t, count);
    }
    bit_writer_add(&writer->bits, 0, COUNT_BITS);
    add_layout(&writer->bits, layout);
}

static void add_integer(struct histogram_chunk_writer *writer, size_t index, const uint64_t *figures)
{
    bool is_first = writer->sample_count == 0;
    if (!figures) { /* goes on as before, as far as the reader can tell */
        bit_writer_add(&writer->bits, 0, 1);
        writer->before[index] += writer->delta_before[index];
        return;
    }
    uint64_t value = figures[index] - (has_neighbour(index, writer->bucket_counts) ? figures[index - 1] : 0);
    uint64_t delta = is_first ? 0 : value - writer->before[index];
    if (!is_first)
        bit_writer_add_int(&writer->bits, numbers, (int64_t)(delta - writer->delta_before[index]));
    else if (index < FIGURES_FIXED)
        bit_writer_add_uint(&writer->bits, numbers, value);
    else
        bit_writer_add_int(&writer->bits, numbers, (int64_t)value);
    writer->before[index] = value;
    writer->delta_before[index] = delta;
}

static void add_xor(struct histogram_chunk_writer *writer, struct bit_xor *state, uint64_t bits)
{
    if (writer->sample_count) {
        bit_writer_add_xor(&writer->bits, state, bits);
        return;
    }
    bit_writer_add(&writer->bits, bits, 64);
    state->bits = bits;
}

static void add_figure(struct histogram_chunk_writer *writer, size_t index, const uint64_t *figures)
{
    if (writer->is_float)
        add_xor(writer, &writer->states[index], figures ? figures[index] : 0);
    else
        add_integer(writer, index, figures);
}

void histogram_chunk_add(struct histogram_chunk_writer *writer, const struct histogram_chunk_sample *sample)
{
    AP_ASSERT(writer->sample_count < HISTOGRAM_CHUNK_SAMPLES_MAX);
    uint64_t bucket_count = writer->bucket_counts[0] + writer->bucket_counts[1];
    uint64_t delta = writer->sample_count ? (uint64_t)sample->ts_ms - (uint64_t)writer->ts_ms : 0;
    bit_writer_add_int(&writer->bits, numbers,
                       writer->sample_count ? (int64_t)(delta - writer->ts_delta) : sample->ts_ms);
    add_figure(writer, 0, sample->figures);
    add_figure(writer, 1, sample->figures);
    add_xor(writer, &writer->sum, ap_double_to_bits(sample->sum));
    for (size_t i = 0; i < bucket_count && (sample->figures || writer->sample_count == 0); i++)
        add_figure(writer, FIGURES_FIXED + i, sample->figures);
    writer->ts_ms = sample->ts_ms;
    writer->ts_delta = delta;
    writer->sample_count++;
}

void histogram_chunk_end(struct histogram_chunk_writer *writer)
{
    struct ap_buf *out = writer->bits.out;
    bit_writer_end(&writer->bits);
    if (ap_buf_ok(out)) {
        out->data[writer->count_at] = (char)(writer->sample_count >> 8);
        out->data[writer->count_at + 1] = (char)writer->sample_count;
    }
    free(writer->before);
    free(writer->delta_before);
    free(writer->states);
}

/* ---- Reading ---- */

static double get_threshold(struct bit_reader *bits)
{
    unsigned first = (unsigned)bit_reader_get(bits, 8);
    if (first == 0)
        return 0;
    return first == THRESHOLD_PLAIN ? ap_double_of_bits(bit_reader_get(bits, 64))
                                    : ldexp(0.5, (int)first - THRESHOLD_BIAS);
}

static enum ap_rc fail_cut(struct ap_err *err)
{
    return ap_fail(err, AP_E_CORRUPT, "a chunk of histograms ends too early");
}

static size_t bits_left(const struct bit_reader *bits)
{
    return (size_t)(bits->end - bits->next) * 8 + bits->count;
}

/* The array for `count` things of at least `bits_each` bits. */
static enum ap_rc get_array(struct histogram_chunk_reader *reader, uint64_t count, unsigned bits_each,
                            size_t item_bytes, struct ap_arena *arena, void *ret_array, struct ap_err *err)
{
    if (reader->bits.is_cut || count > bits_left(&reader->bits) / bits_each)
        return fail_cut(err);
    void *array = ap_arena_try_alloc(arena, count * item_bytes + 1); /* none has an address as well */
    if (!array)
        return ap_fail(err, AP_E_NOMEM, "no memory for the layout of a chunk of histograms");
    memcpy(ret_array, &array, sizeof(array));
    return AP_OK;
}

static enum ap_rc get_spans(struct histogram_chunk_reader *reader, int sign, struct ap_arena *arena, struct ap_err *err)
{
    uint64_t count = bit_reader_get_uint(&reader->bits, numbers);
    struct histogram_chunk_span *spans = NULL;
    enum ap_rc rc = get_array(reader, count, 2, sizeof(*spans), arena, &spans, err);
    if (rc != AP_OK)
        return rc;
    for (size_t i = 0; i < count; i++) {
        uint64_t length = bit_reader_get_uint(&reader->bits, numbers);
        int64_t offset = bit_reader_get_int(&reader->bits, numbers);
        reader->bucket_counts[sign] += AP_MIN(length, (uint64_t)HISTOGRAM_CHUNK_BUCKETS_MAX + 1);
        if (reader->bucket_counts[sign] > HISTOGRAM_CHUNK_BUCKETS_MAX || offset < INT32_MIN || offset > INT32_MAX)
            return ap_fail(err, AP_E_CORRUPT, "a chunk of histograms has a span of %llu buckets at %lld",
                           (unsigned long long)length, (long long)offset);
        spans[i] = (struct histogram_chunk_span){(int32_t)offset, (uint32_t)length};
    }
    reader->layout.spans[sign] = spans;
    reader->layout.span_counts[sign] = count;
    return AP_OK;
}

static enum ap_rc get_bounds(struct histogram_chunk_reader *reader, struct ap_arena *arena, struct ap_err *err)
{
    uint64_t count = bit_reader_get_uint(&reader->bits, numbers);
    double *bounds = NULL;
    enum ap_rc rc = get_array(reader, count, 5, sizeof(*bounds), arena, &bounds, err);
    if (rc != AP_OK)
        return rc;
    for (size_t i = 0; i < count; i++) {
        uint64_t thousandths = bit_reader_get_uint(&reader->bits, numbers);
        bounds[i] =
            thousandths ? (double)(thousandths - 1) / 1000 : ap_double_of_bits(bit_reader_get(&reader->bits, 64));
    }
    reader->layout.bounds = bounds;
    reader->layout.bound_count = count;
    return AP_OK;
}

/* Memory for the figures of one sample, which has to have so many bits at least; without samples they are not needed.
 */
static enum ap_rc get_memory(struct histogram_chunk_reader *reader, struct ap_arena *arena, struct ap_err *err)
{
    size_t count = FIGURES_FIXED + reader->bucket_counts[0] + reader->bucket_counts[1];
    if (reader->bits.is_cut || count > bits_left(&reader->bits))
        return fail_cut(err);
    size_t state_bytes = reader->layout.is_float ? sizeof(*reader->states) : 2 * sizeof(uint64_t);
    char *memory = ap_arena_try_alloc(arena, count * (sizeof(*reader->figures) + state_bytes));
    if (!memory)
        return ap_fail(err, AP_E_NOMEM, "no memory for histograms of %zu buckets", count);
    memset(memory, 0, count * (sizeof(*reader->figures) + state_bytes));
    reader->figures = (uint64_t *)(void *)memory;
    if (reader->layout.is_float) {
        reader->states = (struct bit_xor *)(void *)(reader->figures + count);
    } else {
        reader->before = reader->figures + count;
        reader->delta_before = reader->before + count;
    }
    return AP_OK;
}

enum ap_rc histogram_chunk_open(struct ap_slice chunk, bool is_float, struct ap_arena *arena,
                                struct histogram_chunk_reader *ret_reader, struct ap_err *err)
{
    *ret_reader = (struct histogram_chunk_reader){.bits = bit_reader(chunk), .layout = {.is_float = is_float}};
    struct histogram_chunk_layout *layout = &ret_reader->layout;
    struct bit_reader *bits = &ret_reader->bits;
    ret_reader->sample_count = bit_reader_get(bits, COUNT_BITS);
    layout->reset = (enum histogram_chunk_reset)(bit_reader_get(bits, FLAGS_BITS) >> FLAGS_SHIFT);
    if (ret_reader->sample_count == 0)
        return bits->is_cut ? fail_cut(err) : AP_OK;
    layout->zero_threshold = get_threshold(bits);
    int64_t schema = bit_reader_get_int(bits, numbers);
    if (schema < INT32_MIN || schema > INT32_MAX)
        return ap_fail(err, AP_E_CORRUPT, "a chunk of histograms has the schema %lld", (long long)schema);
    layout->schema = (int32_t)schema;
    enum ap_rc rc = get_spans(ret_reader, 0, arena, err);
    if (rc == AP_OK)
        rc = get_spans(ret_reader, 1, arena, err);
    if (rc == AP_OK && schema == HISTOGRAM_CHUNK_SCHEMA_CUSTOM)
        rc = get_bounds(ret_reader, arena, err);
    return rc == AP_OK ? get_memory(ret_reader, arena, err) : rc;
}

static void get_integer(struct histogram_chunk_reader *reader, size_t index)
{
    struct bit_reader *bits = &reader->bits;
    if (reader->read_count == 0) {
        reader->before[index] =
            index < FIGURES_FIXED ? bit_reader_get_uint(bits, numbers) : (uint64_t)bit_reader_get_int(bits, numbers);
    } else {
        reader->delta_before[index] += (uint64_t)bit_reader_get_int(bits, numbers);
        reader->before[index] += reader->delta_before[index];
    }
    reader->figures[index] =
        reader->before[index] + (has_neighbour(index, reader->bucket_counts) ? reader->figures[index - 1] : 0);
}

static uint64_t get_xor(struct histogram_chunk_reader *reader, struct bit_xor *state)
{
    if (reader->read_count)
        return bit_reader_get_xor(&reader->bits, state);
    return state->bits = bit_reader_get(&reader->bits, 64);
}

static void get_figure(struct histogram_chunk_reader *reader, size_t index)
{
    if (reader->layout.is_float)
        reader->figures[index] = get_xor(reader, &reader->states[index]);
    else
        get_integer(reader, index);
}

enum ap_rc histogram_chunk_next(struct histogram_chunk_reader *reader, struct histogram_chunk_sample *ret_sample,
                                bool *ret_is_end, struct ap_err *err)
{
    *ret_is_end = reader->read_count == reader->sample_count;
    if (*ret_is_end)
        return AP_OK;
    uint64_t number = (uint64_t)bit_reader_get_int(&reader->bits, numbers);
    if (reader->read_count)
        number = reader->ts_delta += number;
    reader->ts += number;
    get_figure(reader, 0);
    get_figure(reader, 1);
    uint64_t sum = get_xor(reader, &reader->sum);
    /* Behind one in the middle there are no buckets; one in front has a layout without any. */
    bool is_stale = sum == STALE_BITS;
    size_t bucket_count = reader->bucket_counts[0] + reader->bucket_counts[1];
    for (size_t i = 0; i < bucket_count && !(is_stale && reader->read_count); i++)
        get_figure(reader, FIGURES_FIXED + i);
    if (reader->bits.is_cut)
        return fail_cut(err);
    *ret_sample = (struct histogram_chunk_sample){
        (int64_t)reader->ts,
        ap_double_of_bits(sum),
        is_stale ? NULL : reader->figures,
    };
    reader->read_count++;
    return AP_OK;
}
