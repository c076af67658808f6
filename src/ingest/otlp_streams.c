#include "ingest/otlp_streams.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bits.h"
#include "ingest/otlp_native.h"

enum {
    SEEN_MAX = 8, /* intervals that a stream remembers: a sender repeats its last few requests */
    BUCKETS_FIRST = 1024,
    CHANGES_KEPT_MAX = 64 << 10,
    NS_PER_MS = 1000 * 1000,
    NEWEST_BYTES_MAX = 4 << 20, /* of a histogram that the store has */
};

#define STALE_NAN_BITS UINT64_C(0x7ff0000000000002) /* Prometheus' staleness marker */

/* What changes with a delta. */
struct state {
    bool has_sum;               /* false: nothing to go on from; the next delta begins anew */
    double sum;                 /* of numbers */
    struct otlp_native *native; /* owned; of histograms, NULL without a sum */
    int64_t last_ts_ms;         /* of the newest sample; INT64_MIN: none */
    uint64_t seen[SEEN_MAX];    /* of the newest deltas; 0: none */
    uint32_t seen_next;
};

struct stream {
    struct labels_hash hash;
    bool is_histogram;
    struct stream *chain; /* of the same bucket */
    struct stream *newer; /* by use */
    struct stream *older;
    int64_t used_ms;
    uint64_t turn;       /* the last request that used it */
    int64_t floor_ts_ms; /* deltas up to here are in what the store had; INT64_MIN: none was */
    struct state state;
};

/* A change that the store may refuse. */
struct change {
    struct stream *stream;
    uint32_t series;
    bool is_kept; /* while settling: a later change of the same stream was taken */
    struct state before;
};

struct otlp_streams {
    struct otlp_streams_options options; /* constant */
    pthread_mutex_t mtx;
    /* All under mtx. */
    uint64_t turn;
    struct stream **buckets; /* owned */
    size_t bucket_count;     /* a power of two */
    size_t count;
    struct stream *newest;
    struct stream *oldest;
    struct change *changes; /* owned; of the request at hand */
    size_t change_count;
    size_t change_capacity;
    struct otlp_streams_stats stats;
};

/* ---- Life ---- */

struct otlp_streams *otlp_streams_new(const struct otlp_streams_options *options)
{
    struct otlp_streams *streams = ap_new0(struct otlp_streams);
    streams->options = *options;
    streams->bucket_count = BUCKETS_FIRST;
    streams->buckets = ap_new0_array(struct stream *, streams->bucket_count);
    pthread_mutex_init(&streams->mtx, NULL);
    return streams;
}

static void stream_free(struct stream *stream)
{
    otlp_native_free(stream->state.native);
    free(stream);
}

void otlp_streams_free(struct otlp_streams *streams)
{
    if (!streams)
        return;
    for (struct stream *stream = streams->newest, *older; stream; stream = older) {
        older = stream->older;
        stream_free(stream);
    }
    free(streams->buckets);
    free(streams->changes);
    pthread_mutex_destroy(&streams->mtx);
    free(streams);
}

void otlp_streams_stats_get(struct otlp_streams *streams, struct otlp_streams_stats *ret_stats)
{
    pthread_mutex_lock(&streams->mtx);
    *ret_stats = streams->stats;
    ret_stats->stream_count = streams->count;
    pthread_mutex_unlock(&streams->mtx);
}

/* ---- Finding ---- */

static struct stream **bucket_of(struct otlp_streams *streams, struct labels_hash hash)
{
    return &streams->buckets[hash.low & (streams->bucket_count - 1)];
}

static void unlink_use(struct otlp_streams *streams, struct stream *stream)
{
    *(stream->newer ? &stream->newer->older : &streams->newest) = stream->older;
    *(stream->older ? &stream->older->newer : &streams->oldest) = stream->newer;
}

static void link_newest(struct otlp_streams *streams, struct stream *stream)
{
    stream->newer = NULL;
    stream->older = streams->newest;
    *(streams->newest ? &streams->newest->newer : &streams->oldest) = stream;
    streams->newest = stream;
}

static void let_go(struct otlp_streams *streams, struct stream *stream)
{
    struct stream **at = bucket_of(streams, stream->hash);
    while (*at != stream)
        at = &(*at)->chain;
    *at = stream->chain;
    unlink_use(streams, stream);
    stream_free(stream);
    streams->count--;
    streams->stats.let_go++;
}

static void grow(struct otlp_streams *streams)
{
    size_t old_count = streams->bucket_count;
    struct stream **old = streams->buckets;
    streams->bucket_count *= 2;
    streams->buckets = ap_new0_array(struct stream *, streams->bucket_count);
    for (size_t i = 0; i < old_count; i++) {
        for (struct stream *stream = old[i], *chain; stream; stream = chain) {
            chain = stream->chain;
            struct stream **bucket = bucket_of(streams, stream->hash);
            stream->chain = *bucket;
            *bucket = stream;
        }
    }
    free(old);
}

/* Goes on from what the store has. */
static void restore(struct otlp_streams *streams, struct stream *stream)
{
    struct state *state = &stream->state;
    struct tsdb_newest newest;
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, NEWEST_BYTES_MAX);
    state->last_ts_ms = stream->floor_ts_ms = INT64_MIN;
    if (!streams->options.newest || !streams->options.newest(streams->options.tsdb, stream->hash, &arena, &newest))
        return;
    state->last_ts_ms = stream->is_histogram ? newest.histogram_ts_ms : newest.ts_ms;
    stream->floor_ts_ms = state->last_ts_ms;
    if (!stream->is_histogram) {
        state->has_sum = newest.has_value && ap_double_to_bits(newest.value) != STALE_NAN_BITS;
        state->sum = state->has_sum ? newest.value : 0;
        return;
    }
    struct histogram histogram;
    AP_AUTO_ARENA struct ap_arena decoded;
    ap_arena_init(&decoded, 0);
    struct ap_err ignored;
    if (newest.histogram.data && histogram_decode(newest.histogram, &decoded, &histogram, &ignored) == AP_OK &&
        !histogram.is_float && !histogram_is_stale(&histogram)) {
        state->native = otlp_native_new(&histogram);
        state->has_sum = true;
    }
}

static struct stream *find(struct otlp_streams *streams, struct labels_hash hash, bool is_histogram)
{
    struct stream **bucket = bucket_of(streams, hash);
    struct stream *stream = *bucket;
    while (stream && !(labels_hash_equal(stream->hash, hash) && stream->is_histogram == is_histogram))
        stream = stream->chain;
    if (stream) {
        unlink_use(streams, stream);
    } else {
        stream = ap_new0(struct stream);
        stream->hash = hash;
        stream->is_histogram = is_histogram;
        stream->chain = *bucket;
        *bucket = stream;
        restore(streams, stream);
        if (++streams->count > streams->bucket_count)
            grow(streams);
    }
    link_newest(streams, stream);
    stream->used_ms = ap_clock_monotonic_us(streams->options.clock) / AP_US_PER_MS;
    stream->turn = streams->turn;
    return stream;
}

/* ---- A request ---- */

void otlp_streams_begin(struct otlp_streams *streams)
{
    pthread_mutex_lock(&streams->mtx);
    AP_ASSERT(streams->change_count == 0);
    streams->turn++;
    int64_t before_ms = ap_clock_monotonic_us(streams->options.clock) / AP_US_PER_MS - streams->options.idle_ms;
    while (streams->oldest && streams->oldest->used_ms < before_ms)
        let_go(streams, streams->oldest);
}

static struct state *change(struct otlp_streams *streams, struct stream *stream, uint32_t series)
{
    if (streams->change_count == streams->change_capacity) {
        streams->change_capacity = streams->change_capacity ? streams->change_capacity * 2 : 256;
        streams->changes = ap_realloc(streams->changes, streams->change_capacity * sizeof(*streams->changes));
    }
    streams->changes[streams->change_count++] =
        (struct change){.stream = stream, .series = series, .before = stream->state};
    if (stream->state.native)
        stream->state.native = otlp_native_copy(stream->state.native);
    return &stream->state;
}

/*
 * From the last change to the first: one that was refused is undone, unless a later one of its stream was taken, whose
 * sum it is part of. Then it stays in the sum, and is in the store with the later sample.
 */
static void settle(struct otlp_streams *streams, const uint32_t *refused_by_series)
{
    for (size_t i = streams->change_count; i > 0; i--) {
        struct change *change = &streams->changes[i - 1];
        struct stream *stream = change->stream;
        bool is_refused = !refused_by_series || refused_by_series[change->series] > 0;
        if (is_refused && stream->turn == streams->turn) {
            otlp_native_free(stream->state.native);
            stream->state = change->before;
        } else {
            otlp_native_free(change->before.native);
            stream->turn = 0;
        }
    }
    streams->change_count = 0;
    if (streams->change_capacity > CHANGES_KEPT_MAX) { /* an unusually large request */
        free(streams->changes);
        streams->changes = NULL;
        streams->change_capacity = 0;
    }
}

void otlp_streams_end(struct otlp_streams *streams, const uint32_t *refused_by_series)
{
    settle(streams, refused_by_series);
    while (streams->count > streams->options.streams_max && streams->oldest)
        let_go(streams, streams->oldest);
    pthread_mutex_unlock(&streams->mtx);
}

/* ---- Deltas ---- */

/* One number for an interval; never 0. */
static uint64_t interval_of(const struct otlp_delta *delta)
{
    uint64_t mixed = (delta->ts_ns ^ (delta->start_ns << 29 | delta->start_ns >> 35)) * UINT64_C(0x9e3779b97f4a7c15);
    return (mixed ^ mixed >> 32) | 1;
}

static bool is_repeated(const struct stream *stream, const struct otlp_delta *delta)
{
    uint64_t interval = interval_of(delta);
    for (size_t i = 0; i < SEEN_MAX; i++)
        if (stream->state.seen[i] == interval)
            return true;
    return (int64_t)(delta->ts_ns / NS_PER_MS) <= stream->floor_ts_ms;
}

/* Where the sample goes, and the 0 before it if the sum begins here. */
static void place(struct otlp_streams *streams, const struct otlp_delta *delta, struct state *state,
                  struct otlp_cumulative *cumulative)
{
    int64_t ts_ms = (int64_t)(delta->ts_ns / NS_PER_MS), start_ms = (int64_t)(delta->start_ns / NS_PER_MS);
    streams->stats.late += ts_ms <= state->last_ts_ms;
    cumulative->ts_ms = AP_MAX(ts_ms, state->last_ts_ms == INT64_MIN ? INT64_MIN : state->last_ts_ms + 1);
    if (!state->has_sum && delta->has_start) {
        int64_t zero_ms = start_ms > 0 && start_ms < cumulative->ts_ms ? start_ms : cumulative->ts_ms - 1;
        if (zero_ms <= state->last_ts_ms)
            zero_ms = state->last_ts_ms + 1;
        cumulative->has_zero = zero_ms < cumulative->ts_ms;
        cumulative->zero_ts_ms = zero_ms;
    }
    state->last_ts_ms = cumulative->ts_ms;
    state->seen[state->seen_next++ % SEEN_MAX] = interval_of(delta);
}

/* True: the delta is in the sum, which was the newest sample. The caller repeats that. */
static bool repeat(struct otlp_streams *streams, const struct stream *stream, const struct otlp_delta *delta,
                   struct otlp_cumulative *cumulative)
{
    *cumulative = (struct otlp_cumulative){.ts_ms = stream->state.last_ts_ms, .value = stream->state.sum};
    streams->stats.deltas++;
    if (!is_repeated(stream, delta))
        return false;
    streams->stats.repeated++;
    cumulative->is_nothing = !stream->state.has_sum;
    return true;
}

void otlp_streams_add_number(struct otlp_streams *streams, const struct otlp_delta *delta, double value,
                             struct otlp_cumulative *ret_cumulative)
{
    struct stream *stream = find(streams, delta->hash, false);
    if (repeat(streams, stream, delta, ret_cumulative))
        return;
    struct state *state = change(streams, stream, delta->series);
    place(streams, delta, state, ret_cumulative);
    state->sum += value;
    state->has_sum = true;
    ret_cumulative->value = state->sum;
}

enum ap_rc otlp_streams_add_histogram(struct otlp_streams *streams, const struct otlp_delta *delta,
                                      const struct histogram *histogram, struct ap_arena *arena,
                                      struct otlp_cumulative *ret_cumulative, struct histogram *ret_sum,
                                      struct histogram *ret_zero, struct ap_err *err)
{
    struct stream *stream = find(streams, delta->hash, true);
    if (repeat(streams, stream, delta, ret_cumulative))
        return ret_cumulative->is_nothing ? AP_OK
                                          : otlp_native_histogram(stream->state.native, false, arena, ret_sum, err);
    struct state *state = change(streams, stream, delta->series);
    if (state->native && !otlp_native_fits(state->native, histogram)) { /* other bounds: a new sum */
        otlp_native_free(state->native);
        state->native = NULL;
        state->has_sum = false;
    }
    enum ap_rc rc = AP_OK;
    if (state->native)
        rc = otlp_native_add(state->native, histogram, err);
    if (rc != AP_OK) { /* the change is no change */
        otlp_native_free(state->native);
        *state = streams->changes[--streams->change_count].before;
        return rc;
    }
    if (!state->native)
        state->native = otlp_native_new(histogram);
    place(streams, delta, state, ret_cumulative);
    state->has_sum = true;
    /* A copy of bounds goes with the sum: they are the stream's, which is locked until the store has the batch. */
    rc = otlp_native_histogram(state->native, false, arena, ret_sum, err);
    if (rc == AP_OK && ret_cumulative->has_zero)
        rc = otlp_native_histogram(state->native, true, arena, ret_zero, err);
    return rc;
}

void otlp_streams_note_stale(struct otlp_streams *streams, const struct otlp_delta *delta, bool is_histogram)
{
    struct stream *stream = find(streams, delta->hash, is_histogram);
    struct state *state = change(streams, stream, delta->series);
    state->last_ts_ms = AP_MAX(state->last_ts_ms, (int64_t)(delta->ts_ns / NS_PER_MS));
}
