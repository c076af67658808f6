/*
 * Doubles with a full mantissa of which there are few: a computed value that is held for many samples, thirds of small
 * integers. Each is written once, in the order in which they appear; so a value that is held and then another one is an
 * index that stays and then rises by 1.
 */
#include "base/bits.h"
#include "base/mem.h"
#include "tsdb/bitpack.h"
#include "tsdb/chunk.h"
#include "tsdb/chunk_values.h"
#include "tsdb/int_column.h"

enum {
    SLOTS = 2 * CHUNK_SAMPLES_MAX,
    SLOT_BITS = 11,
    /* When so many of the first ones are distinct, the others are not worth looking at. */
    PROBE = 64,
    PROBE_DISTINCT_MAX = 60,
};

_Static_assert(1 << SLOT_BITS == SLOTS, "a slot's number comes from the upper bits of a product");

/* Fills ret_distinct and the index into it of each value; false: more than `max`. */
static bool find_distinct(const double *values, size_t count, size_t max, double *ret_distinct, int64_t *ret_indices,
                          size_t *ret_distinct_count)
{
    uint16_t slots[SLOTS] = {0}; /* index + 1 */
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = ap_double_to_bits(values[i]);
        size_t slot = (size_t)(bits * UINT64_C(0x9e3779b97f4a7c15) >> (64 - SLOT_BITS)); /* 2^64 / golden ratio */
        while (slots[slot] && ap_double_to_bits(ret_distinct[slots[slot] - 1]) != bits)
            slot = (slot + 1) % SLOTS;
        if (!slots[slot]) {
            if (found == max || (i < PROBE && found == PROBE_DISTINCT_MAX))
                return false;
            ret_distinct[found++] = values[i];
            slots[slot] = (uint16_t)found;
        }
        ret_indices[i] = slots[slot] - 1;
    }
    *ret_distinct_count = found;
    return true;
}

bool chunk_encode_distinct(const double *values, size_t count, struct ap_buf *out)
{
    double distinct[CHUNK_SAMPLES_MAX];
    int64_t indices[CHUNK_SAMPLES_MAX];
    size_t distinct_count;
    if (!find_distinct(values, count, count - count / 4, distinct, indices, &distinct_count))
        return false;
    ap_buf_add_char(out, CODEC_DISTINCT);
    ap_buf_add_varint(out, distinct_count);
    chunk_encode_split(distinct, distinct_count, out);
    int_column_encode(indices, count, out);
    return true;
}

bool chunk_decode_distinct(struct ap_slice *rest, size_t count, double *ret_values)
{
    uint64_t distinct_count;
    double distinct[CHUNK_SAMPLES_MAX];
    int64_t indices[CHUNK_SAMPLES_MAX + INT_COLUMN_PADDING];
    if (!bitpack_take_varint(rest, &distinct_count) || distinct_count == 0 || distinct_count > count ||
        !chunk_decode_split(rest, (size_t)distinct_count, distinct) || !int_column_decode(rest, count, indices))
        return false;
    for (size_t i = 0; i < count; i++) {
        if ((uint64_t)indices[i] >= distinct_count)
            return false;
        ret_values[i] = distinct[indices[i]];
    }
    return true;
}
