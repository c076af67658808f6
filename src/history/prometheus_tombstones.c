#include "history/prometheus_tombstones.h"

#include <stdlib.h>

#include "base/mem.h"
#include "history/byte_reader.h"
#include "wal/crc32c.h"

enum { HEADER_BYTES = 5, CHECKSUM_BYTES = 4, VERSION = 1, STONE_BYTES_MIN = 3 };
#define TOMBSTONES_MAGIC UINT32_C(0x0130BA30)

enum ap_rc prometheus_tombstones_read(struct ap_slice file, struct prometheus_tombstones *tombstones,
                                      struct ap_err *err)
{
    struct byte_reader reader = byte_reader(file);
    if (byte_reader_u32(&reader) != TOMBSTONES_MAGIC || byte_reader_u8(&reader) != VERSION ||
        file.bytes < HEADER_BYTES + CHECKSUM_BYTES)
        return ap_fail(err, AP_E_CORRUPT, "tombstones: these are none of Prometheus' version %d", VERSION);
    struct ap_slice stones = byte_reader_slice(&reader, file.bytes - HEADER_BYTES - CHECKSUM_BYTES);
    if (byte_reader_u32(&reader) != wal_crc32c(0, stones.data, stones.bytes))
        return ap_fail(err, AP_E_CORRUPT, "tombstones: the checksum does not fit");
    size_t count_before = tombstones->count;
    reader = byte_reader(stones);
    while (byte_reader_left(&reader)) {
        struct prometheus_stone stone = {.series_ref = byte_reader_varint(&reader)};
        stone.min_ts_ms = byte_reader_zigzag(&reader);
        stone.max_ts_ms = byte_reader_zigzag(&reader);
        if (!reader.is_cut)
            prometheus_tombstones_add(tombstones, stone);
    }
    if (!reader.is_cut)
        return AP_OK;
    tombstones->count = count_before;
    return ap_fail(err, AP_E_CORRUPT, "tombstones: they end in the middle of one");
}

void prometheus_tombstones_add(struct prometheus_tombstones *tombstones, struct prometheus_stone stone)
{
    if (tombstones->count == tombstones->capacity) {
        tombstones->capacity = tombstones->capacity ? tombstones->capacity * 2 : 64;
        tombstones->stones = ap_realloc(tombstones->stones, tombstones->capacity * sizeof(*tombstones->stones));
    }
    tombstones->stones[tombstones->count++] = stone;
}

static int compare(const void *a, const void *b)
{
    const struct prometheus_stone *x = a, *y = b;
    if (x->series_ref != y->series_ref)
        return x->series_ref < y->series_ref ? -1 : 1;
    return (x->min_ts_ms > y->min_ts_ms) - (x->min_ts_ms < y->min_ts_ms);
}

void prometheus_tombstones_sort(struct prometheus_tombstones *tombstones)
{
    if (tombstones->count)
        qsort(tombstones->stones, tombstones->count, sizeof(*tombstones->stones), compare);
}

void prometheus_tombstones_clear(struct prometheus_tombstones *tombstones)
{
    free(tombstones->stones);
    *tombstones = (struct prometheus_tombstones){0};
}

const struct prometheus_stone *prometheus_tombstones_of(const struct prometheus_tombstones *tombstones,
                                                        uint64_t series_ref, size_t *ret_count)
{
    size_t low = 0, high = tombstones->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (tombstones->stones[middle].series_ref < series_ref)
            low = middle + 1;
        else
            high = middle;
    }
    size_t end = low;
    while (end < tombstones->count && tombstones->stones[end].series_ref == series_ref)
        end++;
    *ret_count = end - low;
    return tombstones->stones + low;
}
