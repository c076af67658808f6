#include "codec/xor2_chunk.h"

#include "base/bits.h"
#include "codec/bit_stream.h"

enum {
    HEADER_BYTES = 3,
    START_KNOWN = 0x80,      /* the first sample has a start time */
    START_CHANGES_ON = 0x7f, /* and from this sample on each has a difference; 0: none has */
    CODES_MAX = 5,           /* ones in the code of a sample, at most */
};
#define STALE_BITS UINT64_C(0x7ff0000000000002)

struct reading {
    struct bit_reader bits;
    struct bit_xor value; /* of the last sample that is no staleness marker */
    uint64_t ts;
    uint64_t delta;
    uint64_t shown; /* the bits of the sample at hand */
};

static unsigned count_ones(struct bit_reader *bits, unsigned max)
{
    unsigned ones = 0;
    while (ones < max && bit_reader_get(bits, 1))
        ones++;
    return ones;
}

static void read_in_window(struct reading *reading, bool is_new)
{
    struct bit_xor *value = &reading->value;
    if (is_new) {
        unsigned leading = (unsigned)bit_reader_get(&reading->bits, 5);
        unsigned width = (unsigned)bit_reader_get(&reading->bits, 6);
        width = width ? width : 64;
        if (leading + width > 64) {
            reading->bits.is_cut = true;
            return;
        }
        value->leading = (uint8_t)leading;
        value->trailing = (uint8_t)(64 - leading - width);
    }
    unsigned width = 64u - value->leading - value->trailing;
    value->bits ^= bit_reader_get(&reading->bits, width) << value->trailing;
    reading->shown = value->bits;
}

/* 0: as before; 10: in the window; 110: in a new one; 111: a staleness marker. */
static void read_value(struct reading *reading)
{
    switch (count_ones(&reading->bits, 3)) {
    case 0:
        reading->shown = reading->value.bits;
        break;
    case 1:
        read_in_window(reading, false);
        break;
    case 2:
        read_in_window(reading, true);
        break;
    default:
        reading->shown = STALE_BITS;
        break;
    }
}

static void change_interval(struct reading *reading, unsigned width)
{
    uint64_t change = bit_reader_get(&reading->bits, width);
    if (width < 64 && change >> (width - 1))
        change -= UINT64_C(1) << width;
    reading->delta += change;
    reading->ts += reading->delta;
    read_value(reading);
}

static void read_sample(struct reading *reading)
{
    switch (count_ones(&reading->bits, CODES_MAX)) {
    case 0:
        reading->ts += reading->delta;
        reading->shown = reading->value.bits;
        break;
    case 1:
        reading->ts += reading->delta;
        read_in_window(reading, bit_reader_get(&reading->bits, 1));
        break;
    case 2:
        change_interval(reading, 13);
        break;
    case 3:
        change_interval(reading, 20);
        break;
    case 4:
        change_interval(reading, 64);
        break;
    default:
        reading->ts += reading->delta;
        reading->shown = STALE_BITS;
        break;
    }
}

static void read_first(struct reading *reading, unsigned start)
{
    reading->ts = (uint64_t)ap_unzigzag(bit_reader_get_varint(&reading->bits));
    reading->shown = bit_reader_get(&reading->bits, 64);
    if (reading->shown != STALE_BITS)
        reading->value.bits = reading->shown;
    if (start & START_KNOWN)
        (void)bit_reader_get_varint(&reading->bits);
}

enum ap_rc xor2_chunk_decode(struct ap_slice chunk, struct ap_arena *arena, size_t *ret_count, int64_t **ret_ts_ms,
                             double **ret_values, struct ap_err *err)
{
    struct reading reading = {.bits = bit_reader(chunk)};
    size_t count = bit_reader_get(&reading.bits, 16);
    unsigned start = (unsigned)bit_reader_get(&reading.bits, 8);
    /* A bit a sample is the least: no count is believed that the bytes cannot hold. */
    if (reading.bits.is_cut || count > (chunk.bytes - HEADER_BYTES) * 8)
        return ap_fail(err, AP_E_CORRUPT, "a chunk of %zu bytes says that it has %zu samples", chunk.bytes, count);
    int64_t *ts_ms = ap_arena_try_alloc(arena, (count + 1) * sizeof(*ts_ms)); /* none has an address as well */
    double *values = ap_arena_try_alloc(arena, (count + 1) * sizeof(*values));
    if (!ts_ms || !values)
        return ap_fail(err, AP_E_NOMEM, "no memory for a chunk of %zu samples", count);
    for (size_t i = 0; i < count; i++) {
        if (i == 0) {
            read_first(&reading, start);
        } else if (i == 1) {
            reading.delta = bit_reader_get_varint(&reading.bits);
            reading.ts += reading.delta;
            read_value(&reading);
        } else {
            read_sample(&reading);
        }
        unsigned changes_on = start & START_CHANGES_ON;
        if (changes_on && i >= changes_on)
            (void)bit_reader_get_int(&reading.bits, &bit_buckets_numbers);
        if (reading.bits.is_cut)
            return ap_fail(err, AP_E_CORRUPT, "a chunk of %zu samples ends in sample %zu", count, i + 1);
        ts_ms[i] = (int64_t)reading.ts;
        values[i] = ap_double_of_bits(reading.shown);
    }
    *ret_count = count;
    *ret_ts_ms = ts_ms;
    *ret_values = values;
    return AP_OK;
}
