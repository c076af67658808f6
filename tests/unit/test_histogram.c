/* Native histograms: what is refused, lower resolution, samples and chunks that come back to the bit, and their size.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/bits.h"
#include "base/mem.h"
#include "base/random.h"
#include "tsdb/histogram.h"
#include "tsdb/int_column.h"

#define STALE       ap_double_of_bits(UINT64_C(0x7ff0000000000002))
#define OTHER_NAN   ap_double_of_bits(UINT64_C(0x7ff8000000000001))
#define PAYLOAD_NAN ap_double_of_bits(UINT64_C(0xfff8000000abcdef))

/* ---- What is refused ---- */

struct fixture {
    struct histogram_span positive_spans[3];
    struct histogram_span negative_spans[1];
    uint64_t positive_counts[5];
    uint64_t negative_counts[2];
    double positive_values[5];
    double negative_values[2];
    double bounds[4];
    struct histogram histogram;
};

/* -1, 0, gap of 3, 4, 5, 6; and -(7, 8). */
static struct histogram *integer_of(struct fixture *fx)
{
    *fx = (struct fixture){
        .positive_spans = {{-1, 2}, {0, 0}, {3, 3}},
        .negative_spans = {{7, 2}},
        .positive_counts = {1, 0, 5, 7, 2},
        .negative_counts = {3, 4},
        .histogram = {.schema = 3, .zero_threshold = 1e-128, .zero_count = 6, .count = 28, .sum = 12.25},
    };
    fx->histogram.positive = (struct histogram_buckets){
        .spans = fx->positive_spans, .span_count = 3, .counts = fx->positive_counts, .count = 5};
    fx->histogram.negative = (struct histogram_buckets){
        .spans = fx->negative_spans, .span_count = 1, .counts = fx->negative_counts, .count = 2};
    return &fx->histogram;
}

static struct histogram *float_of(struct fixture *fx)
{
    struct histogram *histogram = integer_of(fx);
    memcpy(fx->positive_values, (double[]){1, 0.5, 5.25, 7, -0.0}, sizeof(fx->positive_values));
    memcpy(fx->negative_values, (double[]){0.125, 4}, sizeof(fx->negative_values));
    histogram->is_float = true;
    histogram->zero_count = histogram->count = 0;
    histogram->zero_value = 6.5;
    histogram->count_value = 24.375;
    histogram->positive.counts = histogram->negative.counts = NULL;
    histogram->positive.values = fx->positive_values;
    histogram->negative.values = fx->negative_values;
    return histogram;
}

/* Bounds 0.1, 0.5, 2 and 10: five buckets, of which the second is left out. */
static struct histogram *custom_of(struct fixture *fx)
{
    struct histogram *histogram = integer_of(fx);
    memcpy(fx->bounds, (double[]){0.1, 0.5, 2, 10}, sizeof(fx->bounds));
    fx->positive_spans[0] = (struct histogram_span){0, 1};
    fx->positive_spans[1] = (struct histogram_span){1, 3};
    histogram->schema = HISTOGRAM_SCHEMA_CUSTOM;
    histogram->zero_threshold = 0;
    histogram->zero_count = 0;
    histogram->negative = (struct histogram_buckets){0};
    histogram->positive.span_count = 2;
    histogram->positive.count = 4;
    histogram->count = 13;
    histogram->custom_values = fx->bounds;
    histogram->custom_value_count = 4;
    return histogram;
}

static void check(const struct histogram *histogram, enum ap_rc want, const char *word, int line)
{
    struct ap_err err = {0};
    enum ap_rc rc = histogram_check(histogram, &err);
    if (rc != want || (word && !strstr(err.text, word)))
        fail_msg("line %d: %d, %s", line, (int)rc, err.text);
}
#define GOOD(make, change)                                                                                             \
    do {                                                                                                               \
        struct fixture fx;                                                                                             \
        struct histogram *h = make(&fx);                                                                               \
        change;                                                                                                        \
        check(h, AP_OK, NULL, __LINE__);                                                                               \
    } while (0)
#define BAD(make, change, want, word)                                                                                  \
    do {                                                                                                               \
        struct fixture fx;                                                                                             \
        struct histogram *h = make(&fx);                                                                               \
        change;                                                                                                        \
        check(h, want, word, __LINE__);                                                                                \
    } while (0)

static void test_what_is_refused(void **state)
{
    (void)state;
    GOOD(integer_of, );
    GOOD(float_of, );
    GOOD(custom_of, );
    GOOD(integer_of, h->schema = -4);
    GOOD(integer_of, h->schema = 8);
    BAD(integer_of, h->schema = -5, AP_E_PARSE, "schema");
    BAD(integer_of, h->schema = 9, AP_E_PARSE, "schema");
    BAD(integer_of, h->schema = -52, AP_E_PARSE, "schema");
    BAD(integer_of, h->reset_hint = (enum histogram_reset_hint)4, AP_E_PARSE, "hint");
    BAD(integer_of, h->zero_threshold = -1, AP_E_PARSE, "threshold");
    BAD(integer_of, h->zero_threshold = OTHER_NAN, AP_E_PARSE, "threshold");

    /* Spans. Empty ones are nothing special; the first offset alone may be negative. */
    GOOD(integer_of, fx.positive_spans[0].offset = INT32_MIN);
    BAD(integer_of, fx.positive_spans[1].offset = -1, AP_E_PARSE, "offset");
    BAD(integer_of, fx.positive_spans[2].length = 4, AP_E_PARSE, "positive spans");
    BAD(integer_of, fx.negative_spans[0].length = UINT32_MAX, AP_E_PARSE, "negative spans");
    BAD(integer_of, h->positive.count = HISTOGRAM_BUCKETS_MAX + 1, AP_E_LIMIT, "16384");
    BAD(integer_of, h->positive.span_count = HISTOGRAM_SPANS_MAX + 1, AP_E_LIMIT, "8192");

    /* Counts. Observations of NaN are counted, but in no bucket. */
    BAD(integer_of, h->count++, AP_E_PARSE, "count");
    BAD(integer_of, h->count--, AP_E_PARSE, "count");
    GOOD(integer_of, (h->count++, h->sum = OTHER_NAN));
    BAD(integer_of, (h->count--, h->sum = OTHER_NAN), AP_E_PARSE, "count");
    BAD(integer_of, fx.negative_counts[0] = UINT64_MAX, AP_E_PARSE, "2^64");
    BAD(float_of, fx.positive_values[2] = -0.25, AP_E_PARSE, "-0.25");
    BAD(float_of, h->zero_value = -1, AP_E_PARSE, "negative");
    BAD(float_of, h->count_value = -1, AP_E_PARSE, "negative");
    GOOD(float_of, h->count_value = 1); /* sums of floats are not exact: believed */

    /* Bounds. */
    BAD(integer_of, (h->custom_values = fx.bounds, h->custom_value_count = 1), AP_E_PARSE, "-53");
    BAD(custom_of, fx.bounds[2] = 0.5, AP_E_PARSE, "bound 3");
    BAD(custom_of, fx.bounds[3] = INFINITY, AP_E_PARSE, "bound 4");
    BAD(custom_of, fx.bounds[0] = OTHER_NAN, AP_E_PARSE, "bound 1");
    BAD(custom_of, fx.positive_spans[0].offset = 1, AP_E_PARSE, "beyond");
    BAD(custom_of, fx.positive_spans[0].offset = -1, AP_E_PARSE, "beyond");
    BAD(custom_of, h->zero_threshold = 0.5, AP_E_PARSE, "zero");
    BAD(custom_of, h->zero_count = 1, AP_E_PARSE, "zero");
    BAD(custom_of, (fx.negative_spans[0].length = 0, h->negative.spans = fx.negative_spans, h->negative.span_count = 1),
        AP_E_PARSE, "negative");

    /* A staleness marker is one whatever else it says. */
    GOOD(integer_of, (h->sum = STALE, h->count = 0, h->schema = 77));
}

/* ---- Lower resolution ---- */

static void test_reduce(void **state)
{
    (void)state;
    struct ap_arena arena;
    struct ap_err err;
    ap_arena_init(&arena, 1 << 20);
    struct fixture fx;
    struct histogram *histogram = integer_of(&fx);
    histogram->schema = 10; /* four become one: -1, 0 to 0; 4 to 1; 5, 6 to 2; 7, 8 to 2 */
    assert_int_equal(histogram_reduce(histogram, &arena, &err), AP_OK);
    assert_int_equal(histogram->schema, 8);
    assert_int_equal(histogram->positive.span_count, 1);
    assert_int_equal(histogram->positive.spans[0].offset, 0);
    assert_int_equal(histogram->positive.count, 3);
    assert_memory_equal(histogram->positive.counts, ((uint64_t[]){1, 5, 9}), 24);
    assert_int_equal(histogram->negative.spans[0].offset, 2);
    assert_memory_equal(histogram->negative.counts, ((uint64_t[]){7}), 8);
    check(histogram, AP_OK, NULL, __LINE__);

    histogram = float_of(&fx);
    histogram->schema = HISTOGRAM_SCHEMA_WIRE_MAX; /* so coarse that two buckets are left: up to 1, and above */
    assert_int_equal(histogram_reduce(histogram, &arena, &err), AP_OK);
    assert_int_equal(histogram->positive.count, 2);
    assert_true(histogram->positive.values[0] == 1.5 && histogram->positive.values[1] == 12.25);
    check(histogram, AP_OK, NULL, __LINE__);

    /* As far as one likes. */
    histogram = integer_of(&fx);
    histogram->schema = 3;
    assert_int_equal(histogram_reduce_to(histogram, 1, &arena, &err), AP_OK);
    assert_int_equal(histogram->schema, 1);
    assert_memory_equal(histogram->positive.counts, ((uint64_t[]){1, 5, 9}), 24);
    assert_int_equal(histogram_reduce_to(histogram, 2, &arena, &err), AP_OK);
    assert_int_equal(histogram->schema, 1);

    /* Left alone. */
    histogram = custom_of(&fx);
    assert_int_equal(histogram_reduce(histogram, &arena, &err), AP_OK);
    assert_ptr_equal(histogram->positive.counts, fx.positive_counts);
    histogram = integer_of(&fx);
    histogram->schema = 53;
    assert_int_equal(histogram_reduce(histogram, &arena, &err), AP_OK);
    assert_int_equal(histogram->schema, 53);

    /* Two that pass 2^64 together; a gap that no span can tell. */
    histogram = integer_of(&fx);
    histogram->schema = 9;
    fx.positive_counts[3] = fx.positive_counts[4] = UINT64_MAX;
    assert_int_equal(histogram_reduce(histogram, &arena, &err), AP_E_PARSE);
    struct histogram_span far[] = {{0, 2}, {INT32_MAX, 0}, {INT32_MAX, 0}, {0, 3}}; /* halved it fits just so */
    histogram = integer_of(&fx);
    histogram->schema = 9;
    histogram->positive.spans = far;
    histogram->positive.span_count = 4;
    assert_int_equal(histogram_reduce(histogram, &arena, &err), AP_OK);
    check(histogram, AP_OK, NULL, __LINE__);
    far[3].offset = 8;
    histogram = integer_of(&fx);
    histogram->schema = 9;
    histogram->positive.spans = far;
    histogram->positive.span_count = 4;
    assert_int_equal(histogram_reduce(histogram, &arena, &err), AP_E_PARSE);
    histogram = integer_of(&fx);
    histogram->schema = 9;
    fx.positive_spans[1].offset = -1;
    assert_int_equal(histogram_reduce(histogram, &arena, &err), AP_E_PARSE);
    ap_arena_clear(&arena);
}

/* ---- One sample ---- */

static void check_sample(const struct histogram *histogram, int line)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    AP_AUTO_BUF struct ap_buf again = {0};
    struct ap_arena arena;
    struct ap_err err;
    struct histogram back;
    ap_arena_init(&arena, 1 << 20);
    histogram_encode(histogram, &bytes);
    if (histogram_decode(ap_buf_slice(&bytes), &arena, &back, &err) != AP_OK)
        fail_msg("line %d: %s", line, err.text);
    histogram_encode(&back, &again);
    bool is_same = ap_slice_equal(ap_buf_slice(&bytes), ap_buf_slice(&again)) && back.schema == histogram->schema &&
                   back.is_float == histogram->is_float && back.reset_hint == histogram->reset_hint &&
                   memcmp(&back.sum, &histogram->sum, 8) == 0 && back.count == histogram->count &&
                   back.zero_count == histogram->zero_count && back.zero_value == histogram->zero_value &&
                   back.count_value == histogram->count_value && back.positive.count == histogram->positive.count &&
                   back.positive.span_count == histogram->positive.span_count &&
                   back.negative.count == histogram->negative.count &&
                   back.custom_value_count == histogram->custom_value_count;
    if (!is_same)
        fail_msg("line %d: another histogram comes back", line);
    for (size_t cut = 0; cut < bytes.bytes; cut++)
        if (histogram_decode(ap_slice(bytes.data, cut), &arena, &back, &err) != AP_E_CORRUPT)
            fail_msg("line %d: %zu bytes of %zu are taken for all", line, cut, bytes.bytes);
    ap_arena_clear(&arena);
}

static void test_samples_come_back(void **state)
{
    (void)state;
    struct fixture fx;
    check_sample(integer_of(&fx), __LINE__);
    check_sample(float_of(&fx), __LINE__);
    check_sample(custom_of(&fx), __LINE__);
    struct histogram *histogram = integer_of(&fx);
    histogram->reset_hint = HISTOGRAM_RESET_GAUGE;
    histogram->sum = PAYLOAD_NAN;
    check_sample(histogram, __LINE__);
    check_sample(&(struct histogram){0}, __LINE__);

    /* A marker takes a byte, and nothing else of it is kept. */
    AP_AUTO_BUF struct ap_buf bytes = {0};
    struct ap_arena arena;
    struct ap_err err;
    ap_arena_init(&arena, 1 << 16);
    histogram = float_of(&fx);
    histogram->sum = STALE;
    histogram_encode(histogram, &bytes);
    assert_int_equal(bytes.bytes, 1);
    struct histogram back;
    assert_int_equal(histogram_decode(ap_buf_slice(&bytes), &arena, &back, &err), AP_OK);
    assert_true(histogram_is_stale(&back) && back.is_float && back.positive.count == 0 && back.count_value == 0);

    /* Bytes that are a histogram which contradicts itself are damage. */
    ap_buf_reset(&bytes);
    histogram = integer_of(&fx);
    histogram->count++;
    histogram_encode(histogram, &bytes);
    assert_int_equal(histogram_decode(ap_buf_slice(&bytes), &arena, &back, &err), AP_E_CORRUPT);
    ap_arena_clear(&arena);
}

/* ---- Chunks ---- */

struct samples {
    size_t count;
    int64_t ts_ms[CHUNK_SAMPLES_MAX];
    struct ap_slice blobs[CHUNK_SAMPLES_MAX];
    struct ap_buf bytes;
    size_t ends[CHUNK_SAMPLES_MAX];
};

static void add_sample(struct samples *samples, const struct histogram *histogram)
{
    histogram_encode(histogram, &samples->bytes);
    samples->ts_ms[samples->count] = INT64_C(1700000000000) + (int64_t)samples->count * 15000;
    samples->ends[samples->count++] = samples->bytes.bytes;
}

/* Encodes, decodes and compares; returns the chunk's bytes. Gives the samples back. */
static size_t check_chunk(struct samples *samples, int line)
{
    AP_AUTO_BUF struct ap_buf chunk = {0};
    struct ap_arena arena;
    struct ap_err err;
    size_t count;
    const int64_t *ts_ms;
    const struct ap_slice *blobs;
    for (size_t i = 0, start = 0; i < samples->count; start = samples->ends[i++])
        samples->blobs[i] = ap_slice(samples->bytes.data + start, samples->ends[i] - start);
    ap_arena_init(&arena, 32 << 20);
    chunk_encode_histograms(samples->ts_ms, samples->blobs, samples->count, &chunk);
    if (chunk_decode_histograms(ap_buf_slice(&chunk), samples->ts_ms[0], &arena, &count, &ts_ms, &blobs, &err) != AP_OK)
        fail_msg("line %d: %s", line, err.text);
    if (count != samples->count || memcmp(ts_ms, samples->ts_ms, count * sizeof(*ts_ms)) != 0)
        fail_msg("line %d: other times come back", line);
    for (size_t i = 0; i < count; i++)
        if (!ap_slice_equal(blobs[i], samples->blobs[i]))
            fail_msg("line %d: sample %zu comes back otherwise", line, i);
    if (chunk.bytes > samples->bytes.bytes + 16 * count + 64)
        fail_msg("line %d: %zu bytes of %zu", line, chunk.bytes, samples->bytes.bytes);
    ap_arena_clear(&arena);
    ap_buf_clear(&samples->bytes);
    samples->count = 0;
    return chunk.bytes;
}
#define CHUNK(samples) check_chunk(samples, __LINE__)

static void test_chunks_come_back(void **state)
{
    (void)state;
    static struct samples samples;
    struct fixture fx;
    struct histogram *histogram;
    add_sample(&samples, integer_of(&fx));
    CHUNK(&samples);
    add_sample(&samples, integer_of(&fx));
    add_sample(&samples, float_of(&fx));
    add_sample(&samples, custom_of(&fx));
    CHUNK(&samples);
    for (size_t i = 0; i < CHUNK_SAMPLES_MAX; i++)
        add_sample(&samples, integer_of(&fx));
    assert_true(CHUNK(&samples) < 128);

    /* A schema that changes: the same buckets mean something else. */
    for (size_t i = 0; i < 40; i++) {
        histogram = integer_of(&fx);
        histogram->schema = i < 20 ? 3 : 2;
        add_sample(&samples, histogram);
    }
    CHUNK(&samples);

    /* All kinds, again and again, with markers in between and numbers that no sum foresees. */
    for (size_t i = 0; i < 300; i++) {
        histogram = i % 7 < 4 ? integer_of(&fx) : i % 7 < 6 ? float_of(&fx) : custom_of(&fx);
        histogram->reset_hint = (enum histogram_reset_hint)(i / 50 % 4);
        if (i % 13 == 0)
            histogram->sum = i % 2 ? PAYLOAD_NAN : OTHER_NAN;
        if (i % 17 == 0)
            histogram->count_value = histogram->is_float ? PAYLOAD_NAN : 0;
        if (i % 11 == 0 && histogram->is_float)
            fx.positive_values[i % 5] = i % 2 ? INFINITY : PAYLOAD_NAN;
        if (i % 11 == 0 && !histogram->is_float)
            histogram->count += fx.positive_counts[i % 4] = (UINT64_C(1) << 62) + i, histogram->sum = OTHER_NAN;
        if (i % 19 == 0)
            histogram->sum = STALE;
        add_sample(&samples, histogram);
    }
    CHUNK(&samples);
}

/* Blobs that are none come back too: the chunk asks for nothing but bytes. */
static void test_other_blobs_come_back(void **state)
{
    (void)state;
    static struct samples samples;
    struct ap_random random;
    ap_random_init(&random, 3);
    struct fixture fx;
    for (size_t i = 0; i < 64; i++) {
        add_sample(&samples, integer_of(&fx));
        ap_buf_add_char(&samples.bytes, (char)ap_random_below(&random, 256));
        samples.ends[i]++;
    }
    CHUNK(&samples);
}

/* Each histogram has buckets of its own: columns would be empty but for one cell. */
static void test_nothing_in_common(void **state)
{
    (void)state;
    static struct samples samples;
    static struct histogram_span spans[64];
    static uint64_t counts[64 * 32];
    for (size_t i = 0; i < AP_ARRAY_COUNT(counts); i++)
        counts[i] = i % 97 + 1;
    for (size_t i = 0; i < 200; i++) {
        uint64_t sum = 0;
        for (size_t j = 0; j < 64; j++)
            spans[j] = (struct histogram_span){(int32_t)(j ? i * 7 % 1000 : i * 5000), 32};
        for (size_t j = 0; j < AP_ARRAY_COUNT(counts); j++)
            sum += counts[j];
        add_sample(
            &samples,
            &(struct histogram){
                .schema = 8,
                .count = sum,
                .positive = {.spans = spans, .span_count = 64, .counts = counts, .count = AP_ARRAY_COUNT(counts)},
            });
    }
    CHUNK(&samples);
}

static void test_damage_is_found(void **state)
{
    (void)state;
    static struct samples samples;
    struct fixture fx;
    struct ap_arena arena;
    struct ap_err err;
    size_t count;
    const int64_t *ts_ms;
    const struct ap_slice *blobs;
    AP_AUTO_BUF struct ap_buf chunk = {0};
    for (size_t i = 0; i < 20; i++) {
        struct histogram *histogram = integer_of(&fx);
        histogram->zero_count += i * i;
        histogram->count += i * i;
        add_sample(&samples, histogram);
    }
    for (size_t i = 0, start = 0; i < samples.count; start = samples.ends[i++])
        samples.blobs[i] = ap_slice(samples.bytes.data + start, samples.ends[i] - start);
    chunk_encode_histograms(samples.ts_ms, samples.blobs, samples.count, &chunk);
    ap_arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < chunk.bytes; i++) {
        chunk.data[i] ^= 1;
        assert_int_equal(
            chunk_decode_histograms(ap_buf_slice(&chunk), samples.ts_ms[0], &arena, &count, &ts_ms, &blobs, &err),
            AP_E_CORRUPT);
        chunk.data[i] ^= 1;
    }
    ap_arena_clear(&arena);
    ap_buf_clear(&samples.bytes);
    samples.count = 0;
}

/* A few bytes for each column, which would be 1024 samples of so many buckets. */
static enum ap_rc decode_claiming(uint32_t bucket_count)
{
    static const int64_t zeros[CHUNK_SAMPLES_MAX];
    static int64_t ts_ms[CHUNK_SAMPLES_MAX];
    for (size_t i = 0; i < CHUNK_SAMPLES_MAX; i++)
        ts_ms[i] = (int64_t)i * 1000;
    AP_AUTO_BUF struct ap_buf chunk = {0};
    size_t start = chunk_begin(&chunk, CHUNK_HISTOGRAMS, CHUNK_SAMPLES_MAX);
    chunk_encode_times(ts_ms, CHUNK_SAMPLES_MAX, &chunk);
    ap_buf_add(&chunk, "\2\1\0\0\6\0\0\0\0\0\0\0\0\0\1\0", 16); /* columns, one layout, schema 3, a span */
    ap_buf_add_varint(&chunk, bucket_count);
    ap_buf_add(&chunk, "\0\0\x80\x08", 4); /* no negative buckets; one run of 1024 */
    ap_buf_add(&chunk, "\0\0", 2);         /* sums: the constant 0 */
    for (uint32_t column = 0; column < bucket_count + 2; column++)
        int_column_encode(zeros, CHUNK_SAMPLES_MAX, &chunk);
    chunk_end(&chunk, start, ts_ms[0]);
    struct ap_arena arena;
    struct ap_err err;
    size_t count;
    const int64_t *back_ts_ms;
    const struct ap_slice *blobs;
    ap_arena_init(&arena, 32 << 20);
    enum ap_rc rc = chunk_decode_histograms(ap_buf_slice(&chunk), ts_ms[0], &arena, &count, &back_ts_ms, &blobs, &err);
    ap_arena_clear(&arena);
    return rc;
}

static void test_bombs_are_refused(void **state)
{
    (void)state;
    assert_int_equal(decode_claiming(1024), AP_OK);
    assert_int_equal(decode_claiming(4096), AP_E_CORRUPT);
    assert_int_equal(decode_claiming(HISTOGRAM_BUCKETS_MAX), AP_E_CORRUPT);
    assert_int_equal(decode_claiming(HISTOGRAM_BUCKETS_MAX + 1), AP_E_CORRUPT);
}

/* ---- Size ---- */

enum { LATENCY_BUCKETS = 256, LATENCY_SAMPLES = 120 };

/* A service's response times, log-normal, as a client library keeps them with schema 3: buckets appear as they are hit.
 */
struct latency {
    struct ap_random random;
    uint64_t counts[LATENCY_BUCKETS]; /* of bucket index 0 on; times are milliseconds */
    uint64_t zero_count;
    double sum;
};

static void observe(struct latency *latency, size_t times)
{
    for (; times > 0; times--) {
        double ms = exp(4.5 + 0.6 * ap_random_normal(&latency->random));
        double index = ceil(log2(ms) * 8);
        latency->sum += ms / 1000;
        latency->counts[(size_t)fmin(fmax(index, 0), LATENCY_BUCKETS - 1)]++;
    }
}

/* Buckets that were hit, in spans that bridge gaps of two as client libraries do. */
static void add_latency(struct samples *samples, const struct latency *latency, bool is_stale)
{
    struct histogram_span spans[LATENCY_BUCKETS];
    uint64_t counts[LATENCY_BUCKETS];
    size_t span_count = 0;
    size_t count = 0;
    uint64_t sum = latency->zero_count;
    for (size_t i = 0, end = 0; i < LATENCY_BUCKETS; i++) {
        if (!latency->counts[i])
            continue;
        if (span_count && i - end <= 2) {
            for (; end <= i; end++) {
                spans[span_count - 1].length++;
                counts[count++] = latency->counts[end];
            }
        } else {
            spans[span_count] = (struct histogram_span){(int32_t)(i - end), 1};
            span_count++;
            counts[count++] = latency->counts[i];
        }
        end = i + 1;
        sum += latency->counts[i];
    }
    add_sample(samples, &(struct histogram){
                            .schema = 3,
                            .zero_threshold = 2.938735877055719e-39,
                            .zero_count = latency->zero_count,
                            .count = sum,
                            .sum = is_stale ? STALE : latency->sum,
                            .positive = {.spans = spans, .span_count = span_count, .counts = counts, .count = count},
                        });
}

/* How many bits an integer takes in Prometheus' histogram chunks (its "varbit" encoding). */
static size_t varbit_bits(int64_t number)
{
    static const unsigned widths[] = {3, 6, 9, 12, 18, 25, 56};
    if (number == 0)
        return 1;
    for (unsigned i = 0; i < AP_ARRAY_COUNT(widths); i++) {
        int64_t half = INT64_C(1) << (widths[i] - 1);
        if (number > -half && number <= half)
            return i + 2 + widths[i];
    }
    return 8 + 64;
}

/* Column by column: first number, first difference, then differences of differences. */
struct prometheus_size {
    size_t bits;
    size_t rows;
    int64_t last[LATENCY_BUCKETS + 2];
    int64_t delta[LATENCY_BUCKETS + 2];
};

static void prometheus_number(struct prometheus_size *size, size_t column, int64_t number)
{
    int64_t delta = number - size->last[column];
    size->bits += varbit_bits(size->rows < 2 ? delta : delta - size->delta[column]);
    size->last[column] = number;
    size->delta[column] = delta;
}

static void prometheus_add(struct prometheus_size *size, const struct latency *latency, const struct latency *all,
                           double before)
{
    uint64_t sum = latency->zero_count;
    int64_t neighbour = 0;
    uint64_t bits[2];
    for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
        sum += latency->counts[i];
        if (!all->counts[i])
            continue; /* a chunk has the buckets of its last histogram in all */
        prometheus_number(size, i, (int64_t)latency->counts[i] - neighbour);
        neighbour = (int64_t)latency->counts[i];
    }
    prometheus_number(size, LATENCY_BUCKETS, (int64_t)latency->zero_count);
    prometheus_number(size, LATENCY_BUCKETS + 1, (int64_t)sum);
    memcpy(&bits[0], &latency->sum, 8);
    memcpy(&bits[1], &before, 8);
    uint64_t difference = bits[0] ^ bits[1];
    if (size->rows == 0)
        size->bits += 64;
    else if (difference) /* XOR in the window of the one before: 2 bits and what changed */
        size->bits += 2 + 64 - (size_t)__builtin_clzll(difference) - (size_t)__builtin_ctzll(difference);
    else
        size->bits++;
    size->bits += size->rows == 0 ? 48 : 1; /* time */
    size->rows++;
}

static void check_latency(uint64_t seed, size_t observations, size_t history)
{
    static struct samples samples;
    static struct latency rows[LATENCY_SAMPLES];
    struct latency latency = {.zero_count = 0};
    ap_random_init(&latency.random, seed);
    observe(&latency, history);
    for (size_t i = 0; i < LATENCY_SAMPLES; i++) {
        observe(&latency, observations);
        rows[i] = latency;
        add_latency(&samples, &latency, false);
    }
    static struct prometheus_size size;
    size = (struct prometheus_size){0};
    size_t bucket_count = 0;
    for (size_t i = 0; i < LATENCY_SAMPLES; i++)
        prometheus_add(&size, &rows[i], &latency, i ? rows[i - 1].sum : 0);
    for (size_t i = 0; i < LATENCY_BUCKETS; i++)
        bucket_count += latency.counts[i] > 0;
    size_t prometheus_bytes = size.bits / 8 + 20; /* head, schema, spans */
    size_t plain_bytes = samples.bytes.bytes;
    size_t bytes = CHUNK(&samples);
    print_message(
        "%zu buckets, %zu observations a sample: %zu bytes (%.1f a sample); Prometheus about %zu, plain %zu\n",
        bucket_count, observations, bytes, (double)bytes / LATENCY_SAMPLES, prometheus_bytes, plain_bytes);
    assert_true(bytes < prometheus_bytes);
}

static void test_latencies_take_less_than_elsewhere(void **state)
{
    (void)state;
    check_latency(1, 1500, 200000);
    check_latency(2, 150, 20000);
    check_latency(3, 10, 1000);
    check_latency(4, 0, 100000);
    check_latency(5, 300, 0); /* just started: buckets appear all the time */
}

/* Going away and coming back costs a few bytes, no layout. */
static void test_markers_are_small(void **state)
{
    (void)state;
    static struct samples samples;
    size_t bytes[2];
    for (size_t with_marker = 0; with_marker < 2; with_marker++) {
        struct latency latency = {.zero_count = 3};
        ap_random_init(&latency.random, 9);
        observe(&latency, 50000);
        for (size_t i = 0; i < LATENCY_SAMPLES; i++) {
            if (i != 60)
                observe(&latency, 100);
            if (i != 60 || with_marker)
                add_latency(&samples, &latency, i == 60);
        }
        bytes[with_marker] = CHUNK(&samples);
    }
    assert_in_range(bytes[1], bytes[0], bytes[0] + 8);
}

static void test_says_same(void **state)
{
    (void)state;
    const struct histogram_span whole[] = {{2, 4}}, cut[] = {{0, 1}, {1, 2}, {1, 1}, {7, 1}}, moved[] = {{3, 4}};
    const uint64_t counts[] = {3, 4, 0, 5}, with_zeros[] = {0, 3, 4, 5, 0}, others[] = {3, 4, 0, 6};
    struct histogram a = {.count = 13, .zero_count = 1, .sum = 2.5};
    a.positive = (struct histogram_buckets){.spans = whole, .span_count = 1, .counts = counts, .count = 4};
    struct histogram b = a;
    b.positive = (struct histogram_buckets){.spans = cut, .span_count = 4, .counts = with_zeros, .count = 5};
    assert_true(histogram_says_same(&a, &b)); /* buckets 2, 3 and 5 have 3, 4 and 5 */
    b.reset_hint = HISTOGRAM_RESET_NO;
    assert_true(histogram_says_same(&a, &b));
    b.reset_hint = HISTOGRAM_RESET_GAUGE;
    assert_false(histogram_says_same(&a, &b));
    b = a;
    b.positive.counts = others;
    assert_false(histogram_says_same(&a, &b));
    b = a;
    b.positive.spans = moved;
    assert_false(histogram_says_same(&a, &b));
    b = a;
    b.positive.span_count = b.positive.count = 0;
    assert_false(histogram_says_same(&a, &b));
    b = a;
    b.negative = a.positive;
    assert_false(histogram_says_same(&a, &b));
    b = a;
    b.sum = -2.5;
    assert_false(histogram_says_same(&a, &b));
    histogram_set_stale(&a);
    assert_false(histogram_says_same(&a, &b));
    histogram_set_stale(&b);
    assert_true(histogram_says_same(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_says_same),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_reduce),
        cmocka_unit_test(test_samples_come_back),
        cmocka_unit_test(test_chunks_come_back),
        cmocka_unit_test(test_other_blobs_come_back),
        cmocka_unit_test(test_nothing_in_common),
        cmocka_unit_test(test_damage_is_found),
        cmocka_unit_test(test_bombs_are_refused),
        cmocka_unit_test(test_latencies_take_less_than_elsewhere),
        cmocka_unit_test(test_markers_are_small),
    };
    return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
