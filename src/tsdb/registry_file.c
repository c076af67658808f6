/* The series file: what registry_encode() writes. Bytes: docs/format/tsdb.md, "Series file". */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "tsdb/registry_internal.h"
#include "wal/crc32c.h"

enum { BATCH_HEADER_BYTES = 12 };
#define BATCH_BYTES_MAX (UINT64_C(1) << 36)

static void add_pair(struct registry *registry, struct pair *pair, struct ap_buf *out)
{
    const struct name *name = &registry->names[pair->name];
    ap_buf_add_varint(out, name->bytes);
    ap_buf_add(out, name->text, name->bytes);
    ap_buf_add_varint(out, pair->value_bytes);
    ap_buf_add(out, pair->value, pair->value_bytes);
    pair->file_number = registry->file_pair_count++;
}

/* Series as fixed-width numbers; pairs nobody has named yet go to `pairs`. */
static void add_series(struct registry *registry, uint32_t ref, struct ap_buf *pairs, uint32_t *pair_count,
                       struct ap_buf *out)
{
    const struct series_entry *entry = registry_entry(registry, ref);
    ap_buf_add_u32(out, ref);
    ap_buf_add_u64(out, entry->hash.low);
    ap_buf_add_u64(out, entry->hash.high);
    ap_buf_add_u32(out, entry->pairs[0]);
    for (uint32_t i = 1; i <= entry->pairs[0]; i++) {
        struct pair *pair = &registry->pairs[entry->pairs[i]];
        if (pair->file_number == PAIR_NONE) {
            add_pair(registry, pair, pairs);
            (*pair_count)++;
        }
        ap_buf_add_u32(out, pair->file_number);
    }
}

static void begin_anew(struct registry *registry)
{
    for (uint32_t i = 0; i < registry->pair_count; i++)
        registry->pairs[i].file_number = PAIR_NONE;
    registry->file_pair_count = 0;
}

void registry_encode(struct registry *registry, bool is_all, struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf pairs = {0};
    AP_AUTO_BUF struct ap_buf series = {0};
    AP_AUTO_BUF struct ap_buf removed = {0};
    uint32_t pair_count = 0;
    uint32_t series_count = 0;
    registry->encoded_count = registry->unsaved.count;
    registry->encoded_removed_count = registry->unsaved_removed.count;
    if (is_all) {
        begin_anew(registry);
        roaring_uint32_iterator_t iterator;
        roaring_init_iterator(registry->live, &iterator);
        for (; iterator.has_value; roaring_advance_uint32_iterator(&iterator), series_count++)
            add_series(registry, iterator.current_value, &pairs, &pair_count, &series);
    } else {
        for (size_t i = 0; i < registry->encoded_removed_count; i++)
            ap_buf_add_u32(&removed, registry->unsaved_removed.items[i]);
        for (size_t i = 0; i < registry->encoded_count; i++) {
            if (!registry_has(registry, registry->unsaved.items[i]))
                continue;
            add_series(registry, registry->unsaved.items[i], &pairs, &pair_count, &series);
            series_count++;
        }
        if (removed.bytes == 0 && series_count == 0)
            return;
    }
    AP_AUTO_BUF struct ap_buf payload = {0};
    ap_buf_add_u32(&payload, (uint32_t)(removed.bytes / sizeof(uint32_t)));
    ap_buf_add_u32(&payload, pair_count);
    ap_buf_add_u32(&payload, series_count);
    ap_buf_add_slice(&payload, ap_buf_slice(&removed));
    ap_buf_add_slice(&payload, ap_buf_slice(&pairs));
    ap_buf_add_slice(&payload, ap_buf_slice(&series));
    ap_buf_add_u64(out, payload.bytes);
    ap_buf_add_u32(out, wal_crc32c(0, payload.data, payload.bytes));
    ap_buf_add_slice(out, ap_buf_slice(&payload));
}

static void drop_first(struct refs *refs, size_t count)
{
    refs->count -= count;
    if (refs->count)
        memmove(refs->items, refs->items + count, refs->count * sizeof(uint32_t));
}

void registry_encoded_locked(struct registry *registry)
{
    drop_first(&registry->unsaved, registry->encoded_count);
    drop_first(&registry->unsaved_removed, registry->encoded_removed_count);
    registry->encoded_count = registry->encoded_removed_count = 0;
}

size_t registry_unsaved_count(const struct registry *registry)
{
    return __atomic_load_n(&registry->unsaved.count, __ATOMIC_RELAXED);
}

/* ---- Reading ---- */

static bool take(struct ap_slice *rest, void *to, size_t bytes)
{
    if (rest->bytes < bytes)
        return false;
    memcpy(to, rest->data, bytes);
    rest->data += bytes;
    rest->bytes -= bytes;
    return true;
}

static bool take_text(struct ap_slice *rest, struct ap_slice *ret_text)
{
    uint64_t bytes = 0;
    uint8_t byte = 0x80;
    for (unsigned shift = 0; byte >= 0x80; shift += 7) {
        if (shift > 28 || !take(rest, &byte, 1))
            return false;
        bytes |= (uint64_t)(byte & 0x7f) << shift;
    }
    if (bytes > rest->bytes)
        return false;
    *ret_text = ap_slice(rest->data, (size_t)bytes);
    rest->data += bytes;
    rest->bytes -= (size_t)bytes;
    return true;
}

static bool decode_removed(struct registry *registry, struct ap_slice *rest, uint32_t count)
{
    roaring_bitmap_t *refs = roaring_bitmap_create();
    bool is_sound = true;
    for (uint32_t i = 0; i < count && is_sound; i++) {
        uint32_t ref;
        is_sound = take(rest, &ref, sizeof(ref));
        if (is_sound)
            roaring_bitmap_add(refs, ref);
    }
    if (is_sound)
        registry_remove_locked(registry, refs);
    roaring_bitmap_free(refs);
    /* Nobody has ever seen them in this process: their refs are free at once. */
    registry_reuse_removed_locked(registry);
    return is_sound;
}

static bool decode_pairs(struct registry *registry, struct ap_slice *rest, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct ap_slice name;
        struct ap_slice value;
        if (!take_text(rest, &name) || !take_text(rest, &value) || name.bytes == 0 || value.bytes == 0)
            return false;
        uint32_t pair = registry_pair_locked(registry, name, value);
        registry->pairs[pair].file_number = registry->file_pair_count++;
        registry_refs_add(&registry->file_pairs, pair);
    }
    return true;
}

static bool decode_series(struct registry *registry, struct ap_slice *rest)
{
    uint32_t ref;
    struct labels_hash hash;
    uint32_t count;
    uint32_t pairs[LABELS_COUNT_MAX];
    if (!take(rest, &ref, sizeof(ref)) || !take(rest, &hash.low, 8) || !take(rest, &hash.high, 8) ||
        !take(rest, &count, sizeof(count)) || count == 0 || count > LABELS_COUNT_MAX ||
        !take(rest, pairs, count * sizeof(uint32_t)))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (pairs[i] >= registry->file_pairs.count)
            return false;
        pairs[i] = registry->file_pairs.items[pairs[i]];
    }
    if (ref == REGISTRY_NONE || registry_has(registry, ref) || registry_find(registry, hash) != REGISTRY_NONE)
        return false;
    (void)registry_add_pairs_locked(registry, pairs, count, hash, ref);
    return true;
}

/* The refs below the end that no series has. */
static void find_reusable(struct registry *registry)
{
    registry->reusable.count = 0;
    for (uint32_t ref = registry_ref_end(registry); ref-- > 0;)
        if (!roaring_bitmap_contains(registry->live, ref))
            registry_refs_add(&registry->reusable, ref);
}

enum ap_rc registry_decode_locked(struct registry *registry, struct ap_slice *rest, struct ap_err *err)
{
    struct ap_slice batch = *rest;
    uint64_t bytes;
    uint32_t crc;
    uint32_t removed_count;
    uint32_t pair_count;
    uint32_t series_count;
    if (!take(&batch, &bytes, sizeof(bytes)) || !take(&batch, &crc, sizeof(crc)) || bytes > batch.bytes ||
        wal_crc32c(0, batch.data, (size_t)bytes) != crc)
        return ap_fail(err, AP_E_CORRUPT, "a batch of series is damaged %zu bytes before the end", rest->bytes);
    struct ap_slice payload = ap_slice(batch.data, (size_t)bytes);
    bool is_sound = take(&payload, &removed_count, 4) && take(&payload, &pair_count, 4) &&
                    take(&payload, &series_count, 4) && decode_removed(registry, &payload, removed_count) &&
                    decode_pairs(registry, &payload, pair_count);
    for (uint32_t i = 0; i < series_count && is_sound; i++)
        is_sound = decode_series(registry, &payload);
    if (!is_sound || payload.bytes)
        return ap_fail(err, AP_E_CORRUPT, "a batch of series makes no sense %zu bytes before the end", rest->bytes);
    find_reusable(registry);
    registry->encoded_count = registry->unsaved.count;
    registry->encoded_removed_count = registry->unsaved_removed.count;
    *rest = ap_slice(batch.data + bytes, batch.bytes - (size_t)bytes);
    return AP_OK;
}
