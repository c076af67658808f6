/*
 * Any bytes as a series file, as they are and with checksums put right: it is read or refused, and what was read is a
 * sound index that writes a file which reads back.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "tsdb/registry.h"
#include "wal/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum ap_rc keep_batch(struct ap_slice batch, void *context, struct ap_err *err)
{
    (void)err;
    ap_buf_add_slice(context, batch);
    return AP_OK;
}

static void save(struct registry *registry, bool is_all, struct ap_buf *file)
{
    struct ap_err err;
    if (registry_encode(registry, is_all, keep_batch, file, &err) != AP_OK)
        abort();
}

static bool count_one(struct ap_slice text, uint64_t series_count, void *context)
{
    AP_ASSERT(text.bytes > 0 && series_count > 0);
    (*(size_t *)context)++;
    return true;
}

static void walk(const struct registry *registry)
{
    struct ap_err err;
    size_t count = 0;
    struct matchers none = {.count = 0};
    roaring_bitmap_t *all = registry_select(registry, &none);
    AP_ASSERT(roaring_bitmap_get_cardinality(all) == registry_count(registry));
    AP_AUTO_BUF struct ap_buf labels = {0};
    roaring_uint32_iterator_t iterator;
    roaring_init_iterator(all, &iterator);
    for (; iterator.has_value; roaring_advance_uint32_iterator(&iterator)) {
        uint32_t ref = iterator.current_value;
        ap_buf_reset(&labels);
        registry_labels(registry, ref, &labels);
        enum ap_rc rc = labels_check(ap_buf_slice(&labels), &err);
        AP_ASSERT(rc == AP_OK || rc == AP_E_LIMIT); /* single labels are within their limits, all together may not be */
        AP_ASSERT(registry_find(registry, registry_hash(registry, ref)) == ref);
    }
    registry_each_name(registry, count_one, &count);
    registry_each_name_of(registry, all, count_one, &count);
    registry_each_value(registry, ap_slice("a", 1), count_one, &count);
    roaring_bitmap_free(all);
}

/* Returns how many bytes were read. */
static size_t read_file(const uint8_t *data, size_t size)
{
    AP_AUTO(registry) struct registry *registry = registry_new(1);
    AP_AUTO(registry) struct registry *again = registry_new(1);
    struct ap_slice rest = ap_slice(data, size);
    struct ap_err err = {0};
    registry_write_lock(registry);
    while (rest.bytes) {
        size_t before = registry_count(registry);
        if (registry_decode_locked(registry, &rest, &err) == AP_OK)
            continue;
        AP_ASSERT(err.text[0] != '\0' && registry_count(registry) <= before);
        break;
    }
    registry_encoded_locked(registry);
    registry_unlock(registry);
    walk(registry);

    AP_AUTO_BUF struct ap_buf file = {0};
    save(registry, true, &file);
    struct ap_slice written = ap_buf_slice(&file);
    registry_write_lock(again);
    AP_ASSERT(registry_decode_locked(again, &written, &err) == AP_OK && written.bytes == 0);
    registry_encoded_locked(again);
    registry_unlock(again);
    AP_ASSERT(registry_count(again) == registry_count(registry));
    registry_write_lock(registry);
    registry_reuse_removed_locked(registry);
    registry_unlock(registry);
    walk(registry);
    return size - rest.bytes;
}

/* A fuzzer does not guess checksums. */
static void mend(uint8_t *data, size_t size)
{
    size_t at = 0;
    while (size - at >= 16) {
        uint64_t bytes;
        memcpy(data + at, "ASR1", 4);
        memcpy(&bytes, data + at + 8, sizeof(bytes));
        bytes = bytes > size - at - 16 ? size - at - 16 : bytes;
        memcpy(data + at + 8, &bytes, sizeof(bytes));
        uint32_t crc = wal_crc32c(0, data + at + 8, (size_t)bytes + 8);
        memcpy(data + at + 4, &crc, sizeof(crc));
        at += 16 + (size_t)bytes;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AP_ASSERT(read_file(data, size) <= size);
    if (size == 0)
        return 0;
    uint8_t *copy = malloc(size);
    AP_ASSERT(copy);
    memcpy(copy, data, size);
    mend(copy, size);
    AP_ASSERT(read_file(copy, size) <= size);
    free(copy);
    return 0;
}
