#include "wal/crc32c.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *data, size_t bytes)
{
    uint64_t state = ~crc;
    for (; bytes >= 8; data += 8, bytes -= 8) {
        uint64_t word;
        memcpy(&word, data, sizeof(word));
        state = _mm_crc32_u64(state, word);
    }
    for (; bytes > 0; data++, bytes--)
        state = _mm_crc32_u8((uint32_t)state, *data);
    return ~(uint32_t)state;
}
#endif

/* Bit by bit, polynomial 0x1EDC6F41 reversed: no table to explain, and only old processors come here. */
uint32_t wal_crc32c_portable(uint32_t crc, const void *data, size_t bytes)
{
    const uint8_t *next = data;
    uint32_t state = ~crc;
    for (; bytes > 0; next++, bytes--) {
        state ^= *next;
        for (int bit = 0; bit < 8; bit++)
            state = state >> 1 ^ (state & 1 ? UINT32_C(0x82F63B78) : 0);
    }
    return ~state;
}

uint32_t wal_crc32c(uint32_t crc, const void *data, size_t bytes)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(crc, data, bytes);
#endif
    return wal_crc32c_portable(crc, data, bytes);
}
