#include "tsdb/tail.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "tsdb/bitpack.h"
#include "tsdb/chunk.h"
#include "tsdb/chunk_values.h"

/* Raw samples there is room for. Whoever is in the first ones is a new guest, in the last ones a stuck disk's. */
static const uint32_t capacities[] = {2, 4, 6, 8, 12, 16, 24, TAIL_RAW_SAMPLES, 448, 1024, 8192, TAIL_SAMPLES_MAX};

struct tail *tail_new(uint32_t capacity, int64_t base_ts_ms)
{
    size_t i = 0;
    while (capacities[i] < capacity)
        i++;
    size_t bytes = (size_t)capacities[i] * (sizeof(double) + sizeof(uint32_t));
    struct tail *tail = ap_realloc(NULL, sizeof(struct tail) + bytes);
    *tail = (struct tail){.base_ts_ms = base_ts_ms, .capacity = capacities[i]};
    return tail;
}

void tail_free(struct tail *tail)
{
    if (!tail)
        return;
    free(tail->packed);
    free(tail);
}

/* The same samples in one with another capacity. */
static void move(struct tail **tail_at, uint32_t capacity)
{
    struct tail *from = *tail_at;
    struct tail *to = tail_new(capacity, from->base_ts_ms);
    AP_ASSERT(to->capacity >= from->count);
    capacity = to->capacity;
    *to = *from;
    to->capacity = capacity;
    memcpy(to->values, from->values, from->count * sizeof(double));
    memcpy(tail_offsets(to), tail_offsets(from), from->count * sizeof(uint32_t));
    free(from);
    *tail_at = to;
}

/* Everything moves to an earlier base. */
static void rebase(struct tail *tail, int64_t base_ts_ms)
{
    uint32_t shift = (uint32_t)(tail->base_ts_ms - base_ts_ms);
    uint32_t *offsets = tail_offsets(tail);
    for (uint32_t i = 0; i < tail->count; i++)
        offsets[i] += shift;
    tail->base_ts_ms = base_ts_ms;
}

bool tail_insert(struct tail **tail_at, int64_t ts_ms, double value, double *ret_value)
{
    if ((*tail_at)->packed_count && ts_ms <= (*tail_at)->base_ts_ms + (*tail_at)->packed_end)
        tail_unpack(tail_at);
    if ((*tail_at)->count == (*tail_at)->capacity) {
        AP_ASSERT((*tail_at)->count < TAIL_SAMPLES_MAX);
        move(tail_at, (*tail_at)->capacity + 1);
    }
    struct tail *tail = *tail_at;
    if (ts_ms < tail->base_ts_ms)
        rebase(tail, ts_ms);
    uint32_t offset = (uint32_t)(ts_ms - tail->base_ts_ms);
    uint32_t *offsets = tail_offsets(tail);
    uint32_t at = tail->count;
    while (at > 0 && offsets[at - 1] >= offset)
        at--;
    if (at < tail->count && offsets[at] == offset) {
        *ret_value = tail->values[at];
        return false;
    }
    memmove(&offsets[at + 1], &offsets[at], (tail->count - at) * sizeof(*offsets));
    memmove(&tail->values[at + 1], &tail->values[at], (tail->count - at) * sizeof(double));
    offsets[at] = offset;
    tail->values[at] = value;
    tail->count++;
    return true;
}

/* ---- Packing ---- */

void tail_pack(struct tail **tail_at, struct ap_buf *scratch)
{
    struct tail *tail = *tail_at;
    if (tail->count < TAIL_RAW_SAMPLES || tail_samples(tail) > CHUNK_SAMPLES_MAX)
        return;
    const uint32_t *offsets = tail_offsets(tail);
    int64_t ts_ms[CHUNK_SAMPLES_MAX];
    for (uint32_t i = 0; i < tail->count; i++)
        ts_ms[i] = tail->base_ts_ms + offsets[i];
    uint32_t first = offsets[0];
    if (!tail->packed_count) {
        tail->base_ts_ms += first;
        first = 0;
    }
    ap_buf_reset(scratch);
    chunk_encode_times(ts_ms, tail->count, scratch);
    chunk_encode_values(tail->values, tail->count, scratch);
    size_t columns_bytes = scratch->bytes;
    ap_buf_add_varint(scratch, tail->count); /* behind the columns for now: how many bytes they are is part of it */
    ap_buf_add_varint(scratch, first);
    ap_buf_add_varint(scratch, (uint64_t)(ts_ms[tail->count - 1] - ts_ms[0]));
    ap_buf_add_varint(scratch, columns_bytes);
    size_t head_bytes = scratch->bytes - columns_bytes, bytes = tail->packed_bytes + scratch->bytes;
    AP_ASSERT(bytes <= UINT16_MAX);
    tail->packed = ap_realloc(tail->packed, bytes);
    memcpy(tail->packed + tail->packed_bytes, scratch->data + columns_bytes, head_bytes);
    memcpy(tail->packed + tail->packed_bytes + head_bytes, scratch->data, columns_bytes);
    tail->packed_bytes = (uint16_t)bytes;
    tail->packed_count = (uint16_t)(tail->packed_count + tail->count);
    tail->packed_end = (uint32_t)(ts_ms[tail->count - 1] - tail->base_ts_ms);
    tail->count = 0;
    if (tail->capacity > TAIL_RAW_SAMPLES)
        move(tail_at, TAIL_RAW_SAMPLES);
}

/* Where in the tail's milliseconds a span of time is; false: it is wholly before or behind what they can say. */
static bool offsets_of_span(const struct tail *tail, int64_t min_ts_ms, int64_t max_ts_ms, uint32_t *ret_from,
                            uint32_t *ret_to)
{
    int64_t base_ts_ms = tail->base_ts_ms;
    if (max_ts_ms < base_ts_ms || min_ts_ms > base_ts_ms + (int64_t)UINT32_MAX)
        return false;
    *ret_from = min_ts_ms <= base_ts_ms ? 0 : (uint32_t)(min_ts_ms - base_ts_ms);
    *ret_to = max_ts_ms >= base_ts_ms + (int64_t)UINT32_MAX ? UINT32_MAX : (uint32_t)(max_ts_ms - base_ts_ms);
    return true;
}

/* What comes before the columns of a packed part. */
struct part_head {
    uint64_t count, first, span, bytes; /* `first` and `span` in ms */
};

static struct part_head take_part_head(struct ap_slice *rest)
{
    struct part_head head;
    bool is_sound = bitpack_take_varint(rest, &head.count) && bitpack_take_varint(rest, &head.first) &&
                    bitpack_take_varint(rest, &head.span) && bitpack_take_varint(rest, &head.bytes) &&
                    head.bytes <= rest->bytes;
    AP_ASSERT(is_sound);
    return head;
}

static void decode_part(struct ap_slice columns, int64_t first_ts_ms, size_t count, struct chunk_floats *ret_part)
{
    struct ap_err err;
    bool is_sound = chunk_decode_times(&columns, first_ts_ms, count, ret_part->ts_ms, &err) == AP_OK &&
                    chunk_decode_values(&columns, count, ret_part->values);
    AP_ASSERT(is_sound);
}

static size_t read_packed(const struct tail *tail, uint32_t from, uint32_t to, int64_t *ret_ts_ms, double *ret_values)
{
    struct ap_slice rest = ap_slice(tail->packed, tail->packed_bytes);
    size_t done = 0;
    while (rest.bytes) {
        struct part_head head = take_part_head(&rest);
        struct ap_slice columns = ap_slice(rest.data, head.bytes);
        rest = ap_slice(rest.data + head.bytes, rest.bytes - head.bytes);
        if (head.first + head.span < from)
            continue;
        if (head.first > to)
            break;
        struct chunk_floats part;
        decode_part(columns, tail->base_ts_ms + (int64_t)head.first, head.count, &part);
        size_t first = 0, end = head.count;
        while (first < end && part.ts_ms[first] < tail->base_ts_ms + from)
            first++;
        while (first < end && part.ts_ms[end - 1] > tail->base_ts_ms + to)
            end--;
        memcpy(ret_ts_ms + done, part.ts_ms + first, (end - first) * sizeof(*ret_ts_ms));
        memcpy(ret_values + done, part.values + first, (end - first) * sizeof(*ret_values));
        done += end - first;
    }
    return done;
}

static size_t read_raw(const struct tail *tail, uint32_t from, uint32_t to, int64_t *ret_ts_ms, double *ret_values)
{
    const uint32_t *offsets = tail_offsets(tail);
    uint32_t first = 0, end = 0;
    for (uint32_t i = 0; i < tail->count; i++) { /* counted, so that it is many at a time */
        first += offsets[i] < from;
        end += offsets[i] <= to;
    }
    if (first >= end)
        return 0;
    for (uint32_t i = first; i < end; i++)
        ret_ts_ms[i - first] = tail->base_ts_ms + offsets[i];
    memcpy(ret_values, tail->values + first, (end - first) * sizeof(double));
    return end - first;
}

size_t tail_read_span(const struct tail *tail, int64_t min_ts_ms, int64_t max_ts_ms, int64_t *ret_ts_ms,
                      double *ret_values)
{
    uint32_t from, to;
    if (!offsets_of_span(tail, min_ts_ms, max_ts_ms, &from, &to))
        return 0;
    size_t count = read_packed(tail, from, to, ret_ts_ms, ret_values);
    return count + read_raw(tail, from, to, ret_ts_ms + count, ret_values + count);
}

void tail_read(const struct tail *tail, int64_t *ret_ts_ms, double *ret_values)
{
    (void)tail_read_span(tail, INT64_MIN, INT64_MAX, ret_ts_ms, ret_values);
}

void tail_unpack(struct tail **tail_at)
{
    struct tail *from = *tail_at;
    if (!from->packed_count)
        return;
    uint32_t count = tail_samples(from);
    struct tail *to = tail_new(count, from->base_ts_ms);
    int64_t *ts_ms = ap_alloc0(count, sizeof(*ts_ms));
    tail_read(from, ts_ms, to->values);
    uint32_t *offsets = tail_offsets(to);
    for (uint32_t i = 0; i < count; i++)
        offsets[i] = (uint32_t)(ts_ms[i] - from->base_ts_ms);
    free(ts_ms);
    to->count = count;
    tail_free(from);
    *tail_at = to;
}

/* ---- All of it ---- */

bool tail_touches(const struct tail *tail, int64_t min_ts_ms, int64_t max_ts_ms)
{
    if (!tail || tail_samples(tail) == 0)
        return false;
    const uint32_t *offsets = tail_offsets(tail);
    int64_t first_ms = tail->base_ts_ms + (tail->packed_count ? 0 : offsets[0]);
    int64_t last_ms = tail->base_ts_ms + (tail->count ? offsets[tail->count - 1] : tail->packed_end);
    return first_ms <= max_ts_ms && last_ms >= min_ts_ms;
}

void tail_delete(struct tail *tail, int64_t min_ts_ms, int64_t max_ts_ms)
{
    AP_ASSERT(!tail->packed_count);
    uint32_t *offsets = tail_offsets(tail);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < tail->count; i++) {
        int64_t ts_ms = tail->base_ts_ms + offsets[i];
        if (ts_ms >= min_ts_ms && ts_ms <= max_ts_ms)
            continue;
        offsets[kept] = offsets[i];
        tail->values[kept++] = tail->values[i];
    }
    tail->count = kept;
}

void tail_drop(struct tail *tail, uint32_t count)
{
    AP_ASSERT(!tail->packed_count && count <= tail->count);
    uint32_t *offsets = tail_offsets(tail);
    memmove(tail->values, tail->values + count, (tail->count - count) * sizeof(double));
    memmove(offsets, offsets + count, (tail->count - count) * sizeof(uint32_t));
    tail->count -= count;
}
