#include "codec/xor_chunk.h"

#include "base/assert.h"
#include "base/bits.h"
#include "codec/bit_stream.h"

enum { COUNT_BYTES = 2 };

void xor_chunk_encode(const int64_t *ts_ms, const double *values, size_t count, struct ap_buf *out)
{
    AP_ASSERT(count <= XOR_CHUNK_SAMPLES_MAX);
    struct bit_writer writer = bit_writer(out);
    struct bit_xor value = {0};
    uint64_t delta = 0; /* of times; it may pass 63 bits */
    bit_writer_add(&writer, count, 16);
    for (size_t i = 0; i < count; i++) {
        if (i == 0) {
            bit_writer_add_varint(&writer, ap_zigzag(ts_ms[0]));
            value.bits = ap_double_to_bits(values[0]);
            bit_writer_add(&writer, value.bits, 64);
            continue;
        }
        uint64_t before = delta;
        delta = (uint64_t)ts_ms[i] - (uint64_t)ts_ms[i - 1];
        if (i == 1)
            bit_writer_add_varint(&writer, delta);
        else
            bit_writer_add_int(&writer, &bit_buckets_times, (int64_t)(delta - before));
        bit_writer_add_xor(&writer, &value, ap_double_to_bits(values[i]));
    }
    bit_writer_end(&writer);
}

enum ap_rc xor_chunk_decode(struct ap_slice chunk, struct ap_arena *arena, size_t *ret_count, int64_t **ret_ts_ms,
                            double **ret_values, struct ap_err *err)
{
    struct bit_reader reader = bit_reader(chunk);
    size_t count = bit_reader_get(&reader, 16);
    /* Two bits a sample is the least: no count is believed that the bytes cannot hold. */
    if (reader.is_cut || count > (chunk.bytes - COUNT_BYTES) * 4)
        return ap_fail(err, AP_E_CORRUPT, "a chunk of %zu bytes says that it has %zu samples", chunk.bytes, count);
    int64_t *ts_ms = ap_arena_try_alloc(arena, (count + 1) * sizeof(*ts_ms)); /* none has an address as well */
    double *values = ap_arena_try_alloc(arena, (count + 1) * sizeof(*values));
    if (!ts_ms || !values)
        return ap_fail(err, AP_E_NOMEM, "no memory for a chunk of %zu samples", count);
    struct bit_xor value = {0};
    uint64_t delta = 0, ts = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0) {
            ts = (uint64_t)ap_unzigzag(bit_reader_get_varint(&reader));
            value.bits = bit_reader_get(&reader, 64);
        } else {
            delta = i == 1 ? bit_reader_get_varint(&reader)
                           : delta + (uint64_t)bit_reader_get_int(&reader, &bit_buckets_times);
            ts += delta;
            bit_reader_get_xor(&reader, &value);
        }
        if (reader.is_cut)
            return ap_fail(err, AP_E_CORRUPT, "a chunk of %zu samples ends in sample %zu", count, i + 1);
        ts_ms[i] = (int64_t)ts;
        values[i] = ap_double_of_bits(value.bits);
    }
    *ret_count = count;
    *ret_ts_ms = ts_ms;
    *ret_values = values;
    return AP_OK;
}
