/* The series file: what registry_encode() writes. Bytes: docs/format/tsdb.md, "Series file". */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "tsdb/registry_internal.h"
#include "wal/crc32c.h"

static const char batch_magic[4] = {'A', 'S', 'R', '1'};
enum {
    BATCH_HEADER_BYTES = 16,  /* magic, checksum of all behind it, bytes of the payload */
    SERIES_HEADER_BYTES = 24, /* ref, hash, number of pairs */
    PAIR_BYTES_MIN = 4,
    PAIRS_TOGETHER = 32,
    PART_SERIES_MAX = 65536,  /* postings are made for so many series at a time: what that needs stays in the caches */
    BATCH_SERIES_MAX = 32768, /* so that a batch takes a few megabytes of memory */
    AHEAD = 12,               /* series whose slots are fetched early */
};

/* ---- Writing ---- */

static void add_pair(struct registry *registry, struct pair *pair, struct ap_buf *out)
{
    const struct name *name = &registry->names[pair->name];
    ap_buf_add_varint(out, name->bytes);
    ap_buf_add(out, name->text, name->bytes);
    ap_buf_add_varint(out, pair->value_bytes);
    ap_buf_add(out, pair->value, pair->value_bytes);
    pair->file_number = registry->file_pair_count++;
}

static char *put(char *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
    return to + bytes;
}

/* Series as fixed-width numbers; pairs that the file does not have yet go to `pairs`. */
static void add_series(struct registry *registry, uint32_t ref, struct ap_buf *pairs, uint32_t *pair_count,
                       struct ap_buf *out)
{
    const struct series_entry *entry = registry_entry(registry, ref);
    const uint32_t *list = registry_list(entry);
    size_t bytes = SERIES_HEADER_BYTES + (size_t)list[0] * sizeof(uint32_t);
    char *to = ap_buf_reserve(out, bytes);
    to = put(to, &ref, sizeof(ref));
    to = put(to, &entry->hash.low, sizeof(uint64_t));
    to = put(to, &entry->hash.high, sizeof(uint64_t));
    to = put(to, &list[0], sizeof(uint32_t));
    for (uint32_t i = 1; i <= list[0]; i++) {
        struct pair *pair = &registry->pairs[list[i]];
        if (pair->file_number == PAIR_NONE) {
            add_pair(registry, pair, pairs);
            (*pair_count)++;
        }
        to = put(to, &pair->file_number, sizeof(uint32_t));
    }
    out->bytes += bytes;
}

static int compare_refs(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Rising, each once: a ref may have been given out, taken back and given out again since the last batch. */
static uint32_t *sorted_copy(const struct refs *refs, size_t *ret_count)
{
    uint32_t *copy = ap_new0_array(uint32_t, refs->count + 1);
    size_t count = 0;
    bool is_rising = true;
    for (size_t i = 0; i < refs->count; i++) {
        is_rising &= i == 0 || refs->items[i] > copy[i - 1];
        copy[i] = refs->items[i];
    }
    if (!is_rising)
        qsort(copy, refs->count, sizeof(*copy), compare_refs);
    for (size_t i = 0; i < refs->count; i++)
        if (count == 0 || copy[count - 1] != copy[i])
            copy[count++] = copy[i];
    *ret_count = count;
    return copy;
}

static void begin_anew(struct registry *registry)
{
    for (uint32_t i = 0; i < registry->pair_count; i++)
        registry->pairs[i].file_number = PAIR_NONE;
    registry->file_pair_count = 0;
}

static uint32_t *all_live(const struct registry *registry, size_t *ret_count)
{
    *ret_count = registry_count(registry);
    uint32_t *refs = ap_new0_array(uint32_t, *ret_count + 1);
    roaring_bitmap_to_uint32_array(registry->live, refs);
    return refs;
}

/* The next series of `refs`, from *at on, as one batch. `removed` goes in front of them. */
static void encode_batch(struct registry *registry, const uint32_t *refs, size_t ref_count, size_t *at,
                         struct ap_slice removed, struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf pairs = {0};
    AP_AUTO_BUF struct ap_buf series = {0};
    uint32_t pair_count = 0;
    uint32_t series_count = 0;
    for (; *at < ref_count && series_count < BATCH_SERIES_MAX; ++*at) {
        if (!registry_has(registry, refs[*at]))
            continue;
        add_series(registry, refs[*at], &pairs, &pair_count, &series);
        series_count++;
    }
    ap_buf_reset(out);
    ap_buf_add(out, batch_magic, sizeof(batch_magic));
    ap_buf_add_u32(out, 0); /* the checksum, below */
    ap_buf_add_u64(out, 3 * sizeof(uint32_t) + removed.bytes + pairs.bytes + series.bytes);
    ap_buf_add_u32(out, (uint32_t)(removed.bytes / sizeof(uint32_t)));
    ap_buf_add_u32(out, pair_count);
    ap_buf_add_u32(out, series_count);
    ap_buf_add_slice(out, removed);
    ap_buf_add_slice(out, ap_buf_slice(&pairs));
    ap_buf_add_slice(out, ap_buf_slice(&series));
    uint32_t crc = wal_crc32c(0, out->data + 8, out->bytes - 8);
    memcpy(out->data + 4, &crc, sizeof(crc));
}

enum ap_rc registry_encode(struct registry *registry, bool is_all, registry_batch_fn write, void *context,
                           struct ap_err *err)
{
    size_t removed_count = 0;
    size_t ref_count;
    registry_read_lock(registry);
    registry->encoded_count = registry->unsaved.count;
    registry->encoded_removed_count = registry->unsaved_removed.count;
    if (is_all)
        begin_anew(registry);
    AP_AUTO_FREE uint32_t *removed = is_all ? NULL : sorted_copy(&registry->unsaved_removed, &removed_count);
    AP_AUTO_FREE uint32_t *refs = is_all ? all_live(registry, &ref_count) : sorted_copy(&registry->unsaved, &ref_count);
    registry_unlock(registry);

    AP_AUTO_BUF struct ap_buf batch = {0};
    size_t at = 0;
    enum ap_rc rc = AP_OK;
    for (bool is_first = true; rc == AP_OK && (at < ref_count || (is_first && (is_all || removed_count)));
         is_first = false) {
        size_t removed_bytes = is_first ? removed_count * sizeof(uint32_t) : 0;
        registry_read_lock(registry); /* of one batch: others want to add series meanwhile */
        encode_batch(registry, refs, ref_count, &at, ap_slice((const char *)removed, removed_bytes), &batch);
        registry_unlock(registry);
        rc = write(ap_buf_slice(&batch), context, err);
    }
    return rc;
}

static void drop_first(struct refs *refs, size_t count)
{
    refs->count -= count;
    if (refs->count) {
        memmove(refs->items, refs->items + count, refs->count * sizeof(uint32_t));
        return;
    }
    free(refs->items);
    *refs = (struct refs){0};
}

void registry_encoded_locked(struct registry *registry)
{
    drop_first(&registry->unsaved, registry->encoded_count);
    drop_first(&registry->unsaved_removed, registry->encoded_removed_count);
    registry->encoded_count = registry->encoded_removed_count = 0;
    drop_first(&registry->file_pairs, registry->file_pairs.count); /* reading is over */
}

size_t registry_unsaved_count(const struct registry *registry)
{
    return registry->unsaved.count;
}

/* ---- Reading ---- */

static inline bool take(struct ap_slice *rest, void *to, size_t bytes)
{
    if (rest->bytes < bytes)
        return false;
    memcpy(to, rest->data, bytes);
    rest->data += bytes;
    rest->bytes -= bytes;
    return true;
}

static bool take_text(struct ap_slice *rest, size_t bytes_max, struct ap_slice *ret_text)
{
    uint64_t bytes = 0;
    uint8_t byte = 0x80;
    for (unsigned shift = 0; byte >= 0x80; shift += 7) {
        if (shift > 28 || !take(rest, &byte, 1))
            return false;
        bytes |= (uint64_t)(byte & 0x7f) << shift;
    }
    if (bytes == 0 || bytes > bytes_max || bytes > rest->bytes)
        return false;
    *ret_text = ap_slice(rest->data, (size_t)bytes);
    rest->data += bytes;
    rest->bytes -= (size_t)bytes;
    return ap_utf8_valid_bytes(*ret_text) == ret_text->bytes;
}

/* One batch on its way in. */
struct decoding {
    struct registry *registry;
    uint32_t removed_count;
    uint32_t pair_count;
    uint32_t series_count;
    struct ap_slice removed;
    struct ap_slice series;
    uint32_t *name_ranks; /* owned; places of the names in order of bytes */
    uint32_t *counts;     /* owned; for each pair of the registry: how many series of this part have it */
    uint32_t *refs;       /* owned; room for the part's postings, pair after pair */
    size_t ref_capacity;
    roaring_bitmap_t *added; /* owned */
};

static bool check_removed(struct decoding *decoding, struct ap_slice *rest)
{
    if (decoding->removed_count > rest->bytes / sizeof(uint32_t))
        return false;
    decoding->removed = ap_slice(rest->data, decoding->removed_count * sizeof(uint32_t));
    uint32_t before = 0;
    for (uint32_t i = 0; i < decoding->removed_count; i++) {
        uint32_t ref;
        if (!take(rest, &ref, sizeof(ref)) || ref == REGISTRY_NONE || (i && ref <= before))
            return false;
        before = ref;
    }
    return true;
}

static bool add_pairs(struct decoding *decoding, struct ap_slice *rest)
{
    struct registry *registry = decoding->registry;
    if (decoding->pair_count > rest->bytes / PAIR_BYTES_MIN)
        return false;
    registry_refs_reserve(&registry->file_pairs, registry->file_pairs.count + decoding->pair_count);
    slots_reserve(&registry->pair_slots, registry->pair_slots.count + decoding->pair_count);
    uint32_t names[PAIRS_TOGETHER];
    struct ap_slice values[PAIRS_TOGETHER];
    uint32_t pairs[PAIRS_TOGETHER];
    for (uint32_t done = 0; done < decoding->pair_count;) {
        uint32_t count = AP_MIN(decoding->pair_count - done, (uint32_t)PAIRS_TOGETHER);
        for (uint32_t i = 0; i < count; i++) {
            struct ap_slice name;
            if (!take_text(rest, LABEL_NAME_BYTES_MAX, &name) || !take_text(rest, LABEL_VALUE_BYTES_MAX, &values[i]))
                return false;
            names[i] = registry_name_locked(registry, name);
        }
        registry_pairs_locked(registry, names, values, count, pairs);
        for (uint32_t i = 0; i < count; i++) {
            registry->pairs[pairs[i]].file_number = registry->file_pair_count++;
            registry_refs_add(&registry->file_pairs, pairs[i]);
        }
        done += count;
    }
    return true;
}

static int compare_names(const void *a, const void *b, void *context)
{
    const struct registry *registry = context;
    const struct name *x = &registry->names[*(const uint32_t *)a];
    const struct name *y = &registry->names[*(const uint32_t *)b];
    int order = memcmp(x->text, y->text, AP_MIN(x->bytes, y->bytes));
    return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static void rank_names(struct decoding *decoding)
{
    struct registry *registry = decoding->registry;
    AP_AUTO_FREE uint32_t *order = ap_new0_array(uint32_t, registry->name_count + 1);
    for (uint32_t i = 0; i < registry->name_count; i++)
        order[i] = i;
    qsort_r(order, registry->name_count, sizeof(*order), compare_names, registry);
    decoding->name_ranks = ap_new0_array(uint32_t, registry->name_count + 1);
    for (uint32_t i = 0; i < registry->name_count; i++)
        decoding->name_ranks[order[i]] = i + 1;
}

struct series_record {
    uint32_t ref;
    struct labels_hash hash;
    uint32_t count;
    const char *pairs; /* `count` numbers, not aligned */
};

static inline bool take_series(struct ap_slice *rest, struct series_record *ret_record)
{
    if (!take(rest, &ret_record->ref, 4) || !take(rest, &ret_record->hash.low, 8) ||
        !take(rest, &ret_record->hash.high, 8) || !take(rest, &ret_record->count, 4))
        return false;
    size_t bytes = (size_t)ret_record->count * sizeof(uint32_t);
    if (ret_record->count == 0 || ret_record->count > LABELS_COUNT_MAX || bytes > rest->bytes)
        return false;
    ret_record->pairs = rest->data;
    rest->data += bytes;
    rest->bytes -= bytes;
    return true;
}

static inline uint32_t pair_at(const struct series_record *record, uint32_t at)
{
    uint32_t number;
    memcpy(&number, record->pairs + at * sizeof(number), sizeof(number));
    return number;
}

/* Everything about the series that needs no look at those there are. */
static bool check_series(struct decoding *decoding)
{
    struct registry *registry = decoding->registry;
    struct ap_slice rest = decoding->series;
    uint32_t ref_before = 0;
    for (uint32_t i = 0; i < decoding->series_count; i++) {
        struct series_record record;
        if (!take_series(&rest, &record) || record.ref == REGISTRY_NONE || (i && record.ref <= ref_before))
            return false;
        ref_before = record.ref;
        uint32_t rank_before = 0;
        for (uint32_t j = 0; j < record.count; j++) {
            uint32_t number = pair_at(&record, j);
            if (number >= registry->file_pairs.count)
                return false;
            uint32_t rank = decoding->name_ranks[registry->pairs[registry->file_pairs.items[number]].name];
            if (rank <= rank_before)
                return false;
            rank_before = rank;
        }
    }
    return rest.bytes == 0;
}

static void remove_listed(struct decoding *decoding, const roaring_bitmap_t *refs)
{
    struct registry *registry = decoding->registry;
    size_t unsaved_removed_count = registry->unsaved_removed.count;
    registry_remove_locked(registry, refs);
    registry->unsaved_removed.count = unsaved_removed_count; /* the file knows */
    /* Nobody has ever seen them in this process: their refs are free at once. Their pairs have numbers in the file. */
    registry_release_removed_locked(registry, false);
    registry->must_sweep_pairs = true;
}

static void apply_removed(struct decoding *decoding)
{
    if (decoding->removed_count == 0)
        return;
    roaring_bitmap_t *refs = roaring_bitmap_create();
    for (uint32_t i = 0; i < decoding->removed_count; i++) {
        uint32_t ref;
        if (take(&decoding->removed, &ref, sizeof(ref)))
            roaring_bitmap_add(refs, ref);
    }
    remove_listed(decoding, refs);
    roaring_bitmap_free(refs);
}

/* The part's pairs, counted; *ret_total: of all. */
static void count_pairs(struct decoding *decoding, struct ap_slice rest, uint32_t series_count, size_t *ret_total)
{
    const uint32_t *file_pairs = decoding->registry->file_pairs.items;
    struct series_record record;
    *ret_total = 0;
    for (uint32_t i = 0; i < series_count && take_series(&rest, &record); i++) {
        for (uint32_t j = 0; j < record.count; j++)
            decoding->counts[file_pairs[pair_at(&record, j)]]++;
        *ret_total += record.count;
    }
}

static bool add_one(struct decoding *decoding, const struct series_record *record, uint32_t *ends)
{
    struct registry *registry = decoding->registry;
    if (registry_has(registry, record->ref) || registry_find(registry, record->hash) != REGISTRY_NONE)
        return false;
    uint32_t pairs[LABELS_COUNT_MAX];
    for (uint32_t i = 0; i < record->count; i++) {
        pairs[i] = registry->file_pairs.items[pair_at(record, i)];
        decoding->refs[ends[pairs[i]]++] = record->ref;
    }
    registry_make_page_locked(registry, record->ref);
    *registry_entry(registry, record->ref) =
        (struct series_entry){record->hash, registry_make_list_locked(registry, pairs, record->count)};
    slots_add(&registry->slots, registry_tag(record->hash), record->ref);
    return true;
}

/* From counts of each pair to where its refs begin in decoding->refs, of which there are `total`. */
static void make_room(struct decoding *decoding, size_t total)
{
    if (total > decoding->ref_capacity) {
        free(decoding->refs);
        decoding->refs = ap_new0_array(uint32_t, total);
        decoding->ref_capacity = total;
    }
    uint32_t at = 0;
    for (uint32_t i = 0; i < decoding->registry->pair_count; i++) {
        uint32_t count = decoding->counts[i];
        decoding->counts[i] = at;
        at += count;
    }
}

/* Adds series as long as they are sound, those that follow on their way from memory meanwhile. Returns whether all
 * are. */
static bool add_all(struct decoding *decoding, struct ap_slice *rest, uint32_t series_count, uint32_t *added,
                    uint32_t *ret_added_count)
{
    struct registry *registry = decoding->registry;
    struct series_record record, ahead;
    struct ap_slice rest_ahead = *rest;
    uint32_t count = 0;
    for (int i = 0; i < AHEAD && take_series(&rest_ahead, &ahead); i++)
        registry_prefetch(registry, ahead.hash);
    bool is_sound = true;
    while (is_sound && count < series_count && take_series(rest, &record)) {
        if (take_series(&rest_ahead, &ahead))
            registry_prefetch(registry, ahead.hash);
        is_sound = add_one(decoding, &record, decoding->counts);
        if (is_sound)
            added[count++] = record.ref;
    }
    *ret_added_count = count;
    return is_sound;
}

/* Refs of each pair, which are those from `starts` to where decoding->counts is now. */
static void add_postings(struct decoding *decoding, const uint32_t *starts)
{
    struct registry *registry = decoding->registry;
    registry->change++;
    for (uint32_t i = 0; i < registry->pair_count; i++) {
        uint32_t count = decoding->counts[i] - starts[i];
        if (count == 0)
            continue;
        postings_add_many(&registry->pairs[i].postings, decoding->refs + starts[i], count);
        registry->pairs[i].change = registry->change;
        registry->names[registry->pairs[i].name].series_count += count;
    }
}

/* Up to PART_SERIES_MAX series off *rest. False: one of them is there already; those before it are in. */
static bool add_part(struct decoding *decoding, struct ap_slice *rest, uint32_t series_count)
{
    struct registry *registry = decoding->registry;
    size_t total, pairs_bytes = registry->pair_count * sizeof(uint32_t);
    memset(decoding->counts, 0, pairs_bytes);
    count_pairs(decoding, *rest, series_count, &total);
    make_room(decoding, total);
    AP_AUTO_FREE uint32_t *starts = ap_realloc(NULL, pairs_bytes + sizeof(uint32_t));
    memcpy(starts, decoding->counts, pairs_bytes); /* adding moves these to where refs end */

    AP_AUTO_FREE uint32_t *added = ap_new0_array(uint32_t, series_count + 1);
    uint32_t added_count;
    bool is_sound = add_all(decoding, rest, series_count, added, &added_count);
    add_postings(decoding, starts);
    postings_add_to_bitmap(registry->live, added, added_count);
    postings_add_to_bitmap(decoding->added, added, added_count);
    if (added_count && added[added_count - 1] >= registry_ref_end(registry))
        atomic_store_explicit(&registry->ref_end, added[added_count - 1] + 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&registry->count, added_count, memory_order_relaxed);
    registry->created_count += added_count;
    return is_sound;
}

static bool apply_series(struct decoding *decoding)
{
    struct registry *registry = decoding->registry;
    struct ap_slice rest = decoding->series;
    bool is_sound = true;
    registry->is_free_stale = true;
    slots_reserve(&registry->slots, registry->slots.count + decoding->series_count);
    decoding->counts = ap_new0_array(uint32_t, registry->pair_count + 1);
    decoding->added = roaring_bitmap_create();
    for (uint32_t done = 0; is_sound && done < decoding->series_count; done += PART_SERIES_MAX)
        is_sound = add_part(decoding, &rest, AP_MIN(decoding->series_count - done, (uint32_t)PART_SERIES_MAX));
    if (!is_sound)
        remove_listed(decoding, decoding->added);
    return is_sound;
}

static bool decode(struct decoding *decoding, struct ap_slice payload)
{
    if (!take(&payload, &decoding->removed_count, 4) || !take(&payload, &decoding->pair_count, 4) ||
        !take(&payload, &decoding->series_count, 4) || !check_removed(decoding, &payload) ||
        !add_pairs(decoding, &payload) || decoding->series_count > payload.bytes / SERIES_HEADER_BYTES)
        return false;
    decoding->series = payload;
    rank_names(decoding);
    if (!check_series(decoding))
        return false;
    apply_removed(decoding);
    return apply_series(decoding);
}

enum ap_rc registry_decode_locked(struct registry *registry, struct ap_slice *rest, struct ap_err *err)
{
    struct ap_slice batch = *rest;
    char magic[sizeof(batch_magic)];
    uint32_t crc;
    uint64_t bytes;
    if (!take(&batch, magic, sizeof(magic)) || !take(&batch, &crc, sizeof(crc)))
        return ap_fail(err, AP_E_CORRUPT, "a batch of series is cut off: %zu bytes are left", rest->bytes);
    struct ap_slice checked = batch;
    if (!take(&batch, &bytes, sizeof(bytes)) || bytes > batch.bytes)
        return ap_fail(err, AP_E_CORRUPT, "a batch of series is cut off: %zu bytes are left", rest->bytes);
    if (memcmp(magic, batch_magic, sizeof(magic)) != 0)
        return ap_fail(err, AP_E_CORRUPT, "there is no batch of series %zu bytes before the end", rest->bytes);
    if (wal_crc32c(0, checked.data, sizeof(bytes) + (size_t)bytes) != crc)
        return ap_fail(err, AP_E_CORRUPT, "a batch of series is damaged %zu bytes before the end", rest->bytes);
    struct decoding decoding = {.registry = registry};
    bool is_sound = decode(&decoding, ap_slice(batch.data, (size_t)bytes));
    free(decoding.name_ranks);
    free(decoding.counts);
    free(decoding.refs);
    if (decoding.added)
        roaring_bitmap_free(decoding.added);
    if (!is_sound)
        return ap_fail(err, AP_E_CORRUPT, "a batch of series makes no sense %zu bytes before the end", rest->bytes);
    *rest = ap_slice(batch.data + bytes, batch.bytes - (size_t)bytes);
    return AP_OK;
}
