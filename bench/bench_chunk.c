/*
 * bench/bench_chunk.c - bytes and nanoseconds per sample of float chunks, by kind of data
 *
 *   bench-chunk [SAMPLES]        samples per chunk, 256 unless told otherwise
 *
 * Chunks of data as servers report it, every 10 s. Prints for each kind the codec that was chosen, bytes a sample with
 * everything (times, head, checksum), and the median over rounds of the time to encode and to decode. Also what zstd
 * would save on top (level 3, chunk by chunk): the reason why it is not there.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"
#include "tsdb/chunk.h"

enum { CHUNKS = 256, ROUNDS = 15 };

struct kind {
    const char *name;
    double (*next)(double *state, struct ap_random *random);
    bool is_jittered;
};

static double decimal(double value, double power)
{
    return round(value * power) / power;
}

static double next_constant(double *state, struct ap_random *random)
{
    (void)random;
    return *state == 0 ? *state = 16384 : *state;
}

/* Free memory, temperature: 10 steps of a tenth to each side, small ones more often. */
static double next_gauge_1(double *state, struct ap_random *random)
{
    *state = decimal(*state + ap_random_normal(random) * 0.3, 10);
    return *state;
}

static double next_gauge_2(double *state, struct ap_random *random)
{
    *state = decimal(*state + ap_random_normal(random) * 0.2, 100);
    return *state;
}

/* Usage in percent, as TSBS makes it: whole numbers that wander. */
static double next_percent(double *state, struct ap_random *random)
{
    *state = fmin(100, fmax(0, *state + ap_random_normal(random)));
    return floor(*state);
}

static double next_counter(double *state, struct ap_random *random)
{
    *state = ap_random_below(random, 2000) == 0 ? 0 : *state + (double)ap_random_below(random, 500);
    return *state;
}

static double next_counter_bytes(double *state, struct ap_random *random)
{
    *state += floor(1e6 + ap_random_normal(random) * 1e5);
    return *state;
}

/* Mostly still, then some requests at once. */
static double next_counter_bursts(double *state, struct ap_random *random)
{
    uint64_t clock = (uint64_t)(*state * 7) % 97;
    *state += clock < 30 ? (double)ap_random_below(random, 60) : ap_random_below(random, 20) == 0;
    return *state;
}

static double next_flag(double *state, struct ap_random *random)
{
    if (ap_random_below(random, 60) == 0)
        *state = *state == 0;
    return *state;
}

static double next_stale(double *state, struct ap_random *random)
{
    static const uint64_t stale_bits = UINT64_C(0x7ff0000000000002);
    double stale;
    memcpy(&stale, &stale_bits, sizeof(stale));
    double value = next_gauge_1(state, random);
    return ap_random_below(random, 100) == 0 ? stale : value;
}

static double next_uniform(double *state, struct ap_random *random)
{
    (void)state;
    return ap_random_unit(random) * 100;
}

static double next_real_walk(double *state, struct ap_random *random)
{
    *state += ap_random_normal(random) * 0.01;
    return 50 + *state;
}

static double next_seconds_sum(double *state, struct ap_random *random)
{
    *state += ap_random_unit(random) * 0.3; /* a sum of durations: a counter with a full mantissa */
    return 1000 + *state;
}

static double next_float32(double *state, struct ap_random *random)
{
    *state += ap_random_normal(random) * 0.3;
    return (double)(float)(50 + *state);
}

static double next_held(double *state, struct ap_random *random)
{
    if (*state == 0 || ap_random_below(random, 12) == 0)
        *state = ap_random_unit(random) * 100;
    return *state;
}

static const struct kind kinds[] = {
    {"constant", next_constant, false},
    {"gauge, 1 decimal", next_gauge_1, false},
    {"gauge, 2 decimals", next_gauge_2, false},
    {"counter, ~250 a step", next_counter, false},
    {"uniform [0, 100)", next_uniform, false},
    {"percent, whole", next_percent, false},
    {"counter, ~1e6 a step", next_counter_bytes, false},
    {"counter, bursts", next_counter_bursts, false},
    {"flag", next_flag, false},
    {"gauge, 1 % stale", next_stale, false},
    {"gauge, jittered times", next_gauge_1, true},
    {"real random walk", next_real_walk, false},
    {"sum of durations", next_seconds_sum, false},
    {"float32 walk", next_float32, false},
    {"real, held", next_held, false},
};
enum { MIX_KINDS = 5 /* the first so many make the mix that goals are stated for */ };

static int64_t ts_ms[CHUNKS][CHUNK_SAMPLES_MAX];
static double values[CHUNKS][CHUNK_SAMPLES_MAX];

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static void make(const struct kind *kind, size_t count)
{
    struct ap_random random;
    ap_random_init(&random, 7);
    for (size_t c = 0; c < CHUNKS; c++) {
        double state = kind->next == next_flag || kind->next == next_constant || kind->next == next_held ? 0
                       : kind->next == next_counter_bytes ? floor(ap_random_unit(&random) * 1e11)
                                                          : floor(ap_random_unit(&random) * 100);
        for (size_t i = 0; i < count; i++) {
            int64_t jitter = kind->is_jittered ? (int64_t)(ap_random_normal(&random) * 4) : 0;
            ts_ms[c][i] = 1764000000000 + (int64_t)(c * 256 + i) * 10000 + jitter;
            values[c][i] = kind->next(&state, &random);
        }
    }
}

struct figures {
    double bytes;
    double encode_ns;
    double decode_ns;
    double zstd_bytes;
    const char *codec;
};

static struct figures measure(size_t count)
{
    static struct chunk_floats floats;
    struct figures figures = {0};
    AP_AUTO_BUF struct ap_buf out = {0};
    size_t offsets[CHUNKS + 1] = {0};
    double encode_ns[ROUNDS];
    double decode_ns[ROUNDS];
    struct ap_err err;
    for (unsigned round = 0; round < ROUNDS; round++) {
        ap_buf_reset(&out);
        uint64_t begin = now_ns();
        for (size_t c = 0; c < CHUNKS; c++) {
            chunk_encode_floats(ts_ms[c], values[c], count, &out);
            offsets[c + 1] = out.bytes;
        }
        uint64_t middle = now_ns();
        for (size_t c = 0; c < CHUNKS; c++) {
            struct ap_slice chunk = ap_slice(out.data + offsets[c], offsets[c + 1] - offsets[c]);
            enum ap_rc rc = chunk_decode_floats(chunk, ts_ms[c][0], &floats, &err);
            AP_ASSERT(rc == AP_OK);
            if (round == 0)
                AP_ASSERT(memcmp(floats.values, values[c], count * sizeof(double)) == 0 &&
                          memcmp(floats.ts_ms, ts_ms[c], count * sizeof(int64_t)) == 0);
        }
        encode_ns[round] = (double)(middle - begin);
        decode_ns[round] = (double)(now_ns() - middle);
    }
    qsort(encode_ns, ROUNDS, sizeof(double), compare);
    qsort(decode_ns, ROUNDS, sizeof(double), compare);
    char packed[32768];
    for (size_t c = 0; c < CHUNKS; c++) {
        size_t bytes = offsets[c + 1] - offsets[c];
        size_t packed_bytes = ZSTD_compress(packed, sizeof(packed), out.data + offsets[c], bytes, 3);
        figures.zstd_bytes += (double)AP_MIN(bytes, packed_bytes);
    }
    double samples = (double)(CHUNKS * count);
    figures.bytes = (double)out.bytes / samples;
    figures.zstd_bytes /= samples;
    figures.encode_ns = encode_ns[ROUNDS / 2] / samples;
    figures.decode_ns = decode_ns[ROUNDS / 2] / samples;
    figures.codec = chunk_codec_name(ap_slice(out.data, offsets[1]));
    return figures;
}

int main(int argc, char **argv)
{
    size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 256;
    if (argc > 2 || count < 1 || count > CHUNK_SAMPLES_MAX) {
        fprintf(stderr, "usage: %s [SAMPLES], 1 to %d\n", argv[0], CHUNK_SAMPLES_MAX);
        return 2;
    }
    struct figures mix = {0};
    printf("%-24s %-9s %9s %9s %9s %9s\n", "data", "codec", "B/sample", "enc ns", "dec ns", "zstd B");
    for (size_t i = 0; i < AP_ARRAY_COUNT(kinds); i++) {
        make(&kinds[i], count);
        struct figures figures = measure(count);
        printf("%-24s %-9s %9.3f %9.2f %9.2f %9.3f\n", kinds[i].name, figures.codec, figures.bytes, figures.encode_ns,
               figures.decode_ns, figures.zstd_bytes);
        if (i < MIX_KINDS) {
            mix.bytes += figures.bytes / MIX_KINDS;
            mix.encode_ns += figures.encode_ns / MIX_KINDS;
            mix.decode_ns += figures.decode_ns / MIX_KINDS;
            mix.zstd_bytes += figures.zstd_bytes / MIX_KINDS;
        }
    }
    printf("%-24s %-9s %9.3f %9.2f %9.2f %9.3f\n", "mean of the first five", "", mix.bytes, mix.encode_ns,
           mix.decode_ns, mix.zstd_bytes);
    return 0;
}
