/*
 * Times of a chunk: one interval, and how far each sample is from where that interval puts it. Scrapes are regular, so
 * usually there is nothing but the interval. Bytes: docs/format/tsdb.md, "Chunks".
 */
#include "base/assert.h"
#include "base/mem.h"
#include "tsdb/bitpack.h"
#include "tsdb/chunk.h"
#include "tsdb/int_column.h"
#include "tsdb/vectors.h"

enum {
    IS_IRREGULAR = 1,
    IS_SECONDS = 2,
    MEDIAN_OF = 9,
    SECOND_MS = 1000,
};

static inline uint64_t interval_before(const int64_t *ts_ms, size_t i)
{
    return (uint64_t)ts_ms[i] - (uint64_t)ts_ms[i - 1];
}

/* Stops at the first change: usually there is none, or an early one. */
static bool is_regular(const int64_t *ts_ms, size_t count)
{
    uint64_t interval = interval_before(ts_ms, 1);
    for (size_t i = 2; i < count; i++)
        if (interval_before(ts_ms, i) != interval)
            return false;
    return true;
}

/* The middle one of a few. Jitter is taken off: who scrapes does so every so many seconds. */
static uint64_t usual_interval(const int64_t *ts_ms, size_t count)
{
    uint64_t sorted[MEDIAN_OF] = {0};
    size_t filled = 0;
    size_t step = (count - 1 + MEDIAN_OF - 1) / MEDIAN_OF;
    for (size_t i = 1; i < count; i += step) {
        uint64_t interval = interval_before(ts_ms, i);
        size_t at = filled++;
        for (; at > 0 && sorted[at - 1] > interval; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = interval;
    }
    uint64_t middle = sorted[filled / 2];
    uint64_t off = (middle + SECOND_MS / 2) % SECOND_MS; /* SECOND_MS / 2 at a whole second */
    uint64_t distance = off > SECOND_MS / 2 ? off - SECOND_MS / 2 : SECOND_MS / 2 - off;
    if (middle < SECOND_MS || middle > UINT64_MAX / 2 || distance > middle / 50)
        return middle;
    return (middle + SECOND_MS / 2) / SECOND_MS * SECOND_MS;
}

void chunk_encode_times(const int64_t *ts_ms, size_t count, struct ap_buf *out)
{
    AP_ASSERT(count >= 1 && count <= CHUNK_SAMPLES_MAX);
    if (count < 2)
        return;
    bool is_irregular = !is_regular(ts_ms, count);
    uint64_t interval = is_irregular ? usual_interval(ts_ms, count) : interval_before(ts_ms, 1);
    bool is_seconds = interval % SECOND_MS == 0;
    ap_buf_add_char(out, (char)((is_irregular ? IS_IRREGULAR : 0) | (is_seconds ? IS_SECONDS : 0)));
    ap_buf_add_varint(out, is_seconds ? interval / SECOND_MS : interval);
    if (!is_irregular)
        return;
    int64_t distances[CHUNK_SAMPLES_MAX];
    for (size_t i = 1; i < count; i++)
        distances[i - 1] = (int64_t)((uint64_t)ts_ms[i] - (uint64_t)ts_ms[0] - i * interval);
    int_column_encode(distances, count - 1, out);
}

/* Both go on from ret_ts_ms[0]. False: the times do not rise; what is there then is anything. */

WITH_VECTORS static bool fill_regular(uint64_t interval, size_t count, int64_t *ret_ts_ms)
{
    uint64_t first = (uint64_t)ret_ts_ms[0], left = (uint64_t)INT64_MAX - first;
    if (interval == 0 || interval > left / (count - 1))
        return false;
    for (size_t i = 1; i < count; i++)
        ret_ts_ms[i] = (int64_t)(first += interval);
    return true;
}

WITH_VECTORS static bool fill_irregular(uint64_t interval, const int64_t *distances, size_t count, int64_t *ret_ts_ms)
{
    uint64_t first = (uint64_t)ret_ts_ms[0];
    for (size_t i = 1; i < count; i++)
        ret_ts_ms[i] = (int64_t)(first + i * interval + (uint64_t)distances[i - 1]);
    uint64_t has_fallen = 0;
    for (size_t i = 1; i < count; i++)
        has_fallen |= ret_ts_ms[i] <= ret_ts_ms[i - 1];
    return !has_fallen;
}

enum ap_rc chunk_decode_times(struct ap_slice *rest, int64_t first_ts_ms, size_t count, int64_t *ret_ts_ms,
                              struct ap_err *err)
{
    AP_ASSERT(count >= 1 && count <= CHUNK_SAMPLES_MAX);
    ret_ts_ms[0] = first_ts_ms;
    if (count == 1)
        return AP_OK;
    uint8_t head;
    uint64_t interval;
    int64_t distances[CHUNK_SAMPLES_MAX + INT_COLUMN_PADDING];
    if (!bitpack_take(rest, &head, 1) || head > (IS_IRREGULAR | IS_SECONDS) || !bitpack_take_varint(rest, &interval) ||
        (head & IS_IRREGULAR && !int_column_decode(rest, count - 1, distances)))
        return ap_fail(err, AP_E_CORRUPT, "chunk's times are malformed");
    if (head & IS_SECONDS)
        interval *= SECOND_MS;
    bool is_rising = head & IS_IRREGULAR ? fill_irregular(interval, distances, count, ret_ts_ms)
                                         : fill_regular(interval, count, ret_ts_ms);
    return is_rising ? AP_OK : ap_fail(err, AP_E_CORRUPT, "chunk's times do not rise");
}
