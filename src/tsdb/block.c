#include "tsdb/block.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bits.h"
#include "base/mem.h"
#include "tsdb/bitpack.h"
#include "tsdb/block_internal.h"
#include "wal/crc32c.h"

/* ---- Opening ---- */

static void block_close(struct block *block)
{
    for (uint32_t i = 0; block->files && i < block->meta.chunk_file_count; i++)
        chunk_file_unref(block->files[i]);
    free(block->files);
    if (block->index)
        munmap(block->index, block->index_bytes);
    if (block->dir_fd >= 0)
        close(block->dir_fd);
    free(block->deletions);
    block_meta_clear(&block->meta);
    pthread_mutex_destroy(&block->tombstones_mtx);
    free(block);
}

static enum ap_rc map_index(struct block *block, struct ap_err *err)
{
    const struct os_fs *fs = block->fs;
    int fd = fs->open(fs->context, block->dir_fd, "index", O_RDONLY, 0);
    if (fd < 0)
        return ap_fail_errno(err, -fd, "open index");
    uint64_t bytes = 0;
    int result = fs->size(fs->context, fd, &bytes);
    enum ap_rc rc = result < 0 ? ap_fail_errno(err, -result, "size of index") : AP_OK;
    if (rc == AP_OK && bytes < INDEX_HEADER_BYTES + SECTION_COUNT * INDEX_TABLE_ENTRY_BYTES)
        rc = ap_fail(err, AP_E_CORRUPT, "index has %" PRIu64 " bytes: too short", bytes);
    if (rc == AP_OK) {
        void *map = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED)
            rc = ap_fail_errno(err, errno, "map index");
        else
            block->index = map;
        block->index_bytes = (size_t)bytes;
    }
    fs->close(fs->context, fd);
    return rc;
}

static enum ap_rc check_header(const struct block *block, struct ap_err *err)
{
    uint32_t version;
    uint32_t section_count;
    uint64_t bytes;
    uint32_t crc;
    memcpy(&version, block->index + 8, 4);
    memcpy(&section_count, block->index + 12, 4);
    memcpy(&bytes, block->index + 16, 8);
    memcpy(&crc, block->index + 28, 4);
    uint32_t actual = wal_crc32c(0, block->index, INDEX_HEADER_BYTES - 4);
    actual = wal_crc32c(actual, block->index + INDEX_HEADER_BYTES, SECTION_COUNT * INDEX_TABLE_ENTRY_BYTES);
    if (memcmp(block->index, "APIARYIX", 8) != 0 || crc != actual)
        return ap_fail(err, AP_E_CORRUPT, "index: the header at offset 0 is damaged");
    if (version != INDEX_VERSION || section_count != SECTION_COUNT)
        return ap_fail(err, AP_E_CORRUPT, "index has version %" PRIu32 "; this program knows %d", version,
                       INDEX_VERSION);
    if (bytes != block->index_bytes)
        return ap_fail(err, AP_E_CORRUPT, "index has %zu bytes where %" PRIu64 " were written", block->index_bytes,
                       bytes);
    return AP_OK;
}

static enum ap_rc check_sections(struct block *block, struct ap_err *err)
{
    uint64_t expected = INDEX_HEADER_BYTES + SECTION_COUNT * INDEX_TABLE_ENTRY_BYTES;
    for (uint32_t i = 0; i < SECTION_COUNT; i++) {
        const char *entry = block->index + INDEX_HEADER_BYTES + i * INDEX_TABLE_ENTRY_BYTES;
        uint32_t kind;
        uint32_t crc;
        uint64_t offset;
        uint64_t bytes;
        memcpy(&kind, entry, 4);
        memcpy(&crc, entry + 4, 4);
        memcpy(&offset, entry + 8, 8);
        memcpy(&bytes, entry + 16, 8);
        if (kind != i || offset != expected || bytes > block->index_bytes - offset)
            return ap_fail(err, AP_E_CORRUPT, "index: entry %" PRIu32 " of the section table makes no sense", i);
        if (wal_crc32c(0, block->index + offset, (size_t)bytes) != crc)
            return ap_fail(err, AP_E_CORRUPT,
                           "index: section %" PRIu32 ", %" PRIu64 " bytes at offset %" PRIu64 ", is damaged", i, bytes,
                           offset);
        block->sections[i] = ap_slice(block->index + offset, (size_t)bytes);
        expected = offset + bytes;
    }
    if (expected != block->index_bytes)
        return ap_fail(err, AP_E_CORRUPT, "index has bytes behind its last section");
    return AP_OK;
}

static enum ap_rc check_sizes(struct block *block, const char *id, struct ap_err *err)
{
    const struct ap_slice *sections = block->sections;
    if (!block_meta_decode(sections[SECTION_META], &block->meta))
        return ap_fail(err, AP_E_CORRUPT, "index: the description of the block makes no sense");
    block->name_count = (uint32_t)(sections[SECTION_NAMES].bytes / sizeof(struct index_name));
    block->pair_count = (uint32_t)(sections[SECTION_PAIRS].bytes / sizeof(struct index_pair));
    block->series_count = (uint32_t)block->meta.series_count;
    if (strcmp(block->meta.id, id) != 0)
        return ap_fail(err, AP_E_CORRUPT, "index is of block %s", block->meta.id);
    if (sections[SECTION_OFFSETS].bytes != block->meta.series_count * 4 ||
        sections[SECTION_FILES].bytes != (uint64_t)block->meta.chunk_file_count * 8)
        return ap_fail(err, AP_E_CORRUPT, "index: the sizes of its sections do not fit its counts");
    return AP_OK;
}

static enum ap_rc check_meta_json(const struct block *block, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf expected = {0};
    block_meta_json(&block->meta, &expected);
    const struct os_fs *fs = block->fs;
    int fd = fs->open(fs->context, block->dir_fd, "meta.json", O_RDONLY, 0);
    if (fd < 0)
        return ap_fail_errno(err, -fd, "open meta.json");
    uint64_t bytes = 0;
    int result = fs->size(fs->context, fd, &bytes);
    AP_AUTO_FREE char *text = ap_alloc0(1, expected.bytes + 1);
    enum ap_rc rc = result < 0 ? ap_fail_errno(err, -result, "size of meta.json") : AP_OK;
    if (rc == AP_OK && bytes == expected.bytes)
        rc = os_read_all(fs, fd, text, expected.bytes, 0, "meta.json", err);
    fs->close(fs->context, fd);
    if (rc == AP_OK && (bytes != expected.bytes || memcmp(text, expected.data, expected.bytes) != 0))
        rc = ap_fail(err, AP_E_CORRUPT, "meta.json is not what the index says it must be");
    return rc;
}

static enum ap_rc open_files(struct block *block, struct ap_err *err)
{
    block->files = ap_new0_array(struct chunk_file *, block->meta.chunk_file_count + 1);
    for (uint32_t i = 0; i < block->meta.chunk_file_count; i++) {
        char name[16];
        uint64_t bytes;
        block_chunk_file_name(i, name);
        memcpy(&bytes, block->sections[SECTION_FILES].data + (size_t)i * 8, 8);
        enum ap_rc rc = chunk_file_open(block->fs, block->dir_fd, name, bytes, false, &block->files[i], err);
        if (rc == AP_E_NOT_FOUND)
            rc = ap_fail(err, AP_E_CORRUPT, "%s is missing", name);
        if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}

enum ap_rc block_open(const struct os_fs *fs, int blocks_fd, const char *id, struct block **ret_block,
                      struct ap_err *err)
{
    AP_AUTO(block) struct block *block = ap_new0(struct block);
    block->fs = fs;
    block->reference_count = 1;
    pthread_mutex_init(&block->tombstones_mtx, NULL);
    block->dir_fd = openat(blocks_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (block->dir_fd < 0)
        return ap_fail_errno(err, errno, "open block %s", id);
    enum ap_rc rc = map_index(block, err);
    if (rc == AP_OK)
        rc = check_header(block, err);
    if (rc == AP_OK)
        rc = check_sections(block, err);
    if (rc == AP_OK)
        rc = check_sizes(block, id, err);
    if (rc == AP_OK)
        rc = check_meta_json(block, err);
    if (rc == AP_OK)
        rc = open_files(block, err);
    if (rc == AP_OK)
        rc = block_tombstones_load(block, err);
    if (rc != AP_OK) {
        (void)ap_err_prefix(err, "blocks/%s", id);
        return rc;
    }
    *ret_block = AP_MOVE(block);
    return AP_OK;
}

struct block *block_ref(struct block *block)
{
    __atomic_fetch_add(&block->reference_count, 1, __ATOMIC_RELAXED);
    return block;
}

void block_unref(struct block *block)
{
    if (block && __atomic_sub_fetch(&block->reference_count, 1, __ATOMIC_ACQ_REL) == 0)
        block_close(block);
}

const struct block_meta *block_meta_of(const struct block *block)
{
    return &block->meta;
}

uint64_t block_disk_bytes(const struct block *block)
{
    uint64_t bytes = block->index_bytes;
    for (uint32_t i = 0; i < block->meta.chunk_file_count; i++)
        bytes += chunk_file_bytes(block->files[i]);
    return bytes;
}

size_t block_series_count(const struct block *block)
{
    return block->series_count;
}

/* ---- Names and pairs ---- */

static int compare_bytes(struct ap_slice a, struct ap_slice b)
{
    size_t bytes = AP_MIN(a.bytes, b.bytes);
    int order = bytes ? memcmp(a.data, b.data, bytes) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

uint32_t block_find_name(const struct block *block, struct ap_slice text)
{
    uint32_t low = 0;
    uint32_t high = block->name_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct index_name name = block_name(block, middle);
        int order = compare_bytes(block_text(block, name.text_offset, name.text_bytes), text);
        if (order == 0)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return UINT32_MAX;
}

bool block_postings_or(const struct block *block, const struct index_pair *pair, roaring_bitmap_t *bitmap)
{
    if (pair->series_count == 0)
        return true;
    if (pair->series_count == 1) {
        if (pair->postings >= block->series_count)
            return false;
        roaring_bitmap_add(bitmap, (uint32_t)pair->postings);
        return true;
    }
    struct ap_slice rest = block->sections[SECTION_POSTINGS];
    if (pair->postings > rest.bytes)
        return false;
    rest = ap_slice(rest.data + pair->postings, rest.bytes - (size_t)pair->postings);
    if (pair->series_count <= POSTINGS_DELTAS_MAX) {
        uint64_t series = 0;
        for (uint32_t i = 0; i < pair->series_count; i++) {
            uint64_t delta;
            if (!bitpack_take_varint(&rest, &delta) || delta >= block->series_count ||
                (series += delta) >= block->series_count)
                return false;
            roaring_bitmap_add(bitmap, (uint32_t)series);
        }
        return true;
    }
    uint64_t bytes;
    if (!bitpack_take_varint(&rest, &bytes) || bytes > rest.bytes)
        return false;
    roaring_bitmap_t *stored = roaring_bitmap_portable_deserialize_safe(rest.data, (size_t)bytes);
    if (!stored)
        return false;
    bool is_sound = roaring_bitmap_is_empty(stored) || roaring_bitmap_maximum(stored) < block->series_count;
    if (is_sound)
        roaring_bitmap_or_inplace(bitmap, stored);
    roaring_bitmap_free(stored);
    return is_sound;
}

void block_each_name(const struct block *block, block_text_fn each, void *context)
{
    for (uint32_t i = 0; i < block->name_count; i++) {
        struct index_name name = block_name(block, i);
        uint64_t count = 0;
        for (uint32_t j = 0; j < name.pair_count; j++)
            count += block_pair(block, name.first_pair + j).series_count;
        if (!each(block_text(block, name.text_offset, name.text_bytes), count, context))
            return;
    }
}

void block_each_value(const struct block *block, struct ap_slice text, block_text_fn each, void *context)
{
    uint32_t number = block_find_name(block, text);
    if (number == UINT32_MAX)
        return;
    struct index_name name = block_name(block, number);
    for (uint32_t i = 0; i < name.pair_count; i++) {
        struct index_pair pair = block_pair(block, name.first_pair + i);
        if (!each(block_text(block, pair.text_offset, pair.text_bytes), pair.series_count, context))
            return;
    }
}

/* ---- Series ---- */

static struct ap_slice series_record(const struct block *block, uint32_t series)
{
    uint32_t offset;
    struct ap_slice all = block->sections[SECTION_SERIES];
    if (series >= block->series_count)
        return (struct ap_slice){0};
    memcpy(&offset, block->sections[SECTION_OFFSETS].data + (size_t)series * 4, 4);
    if (offset > all.bytes)
        return (struct ap_slice){0};
    return ap_slice(all.data + offset, all.bytes - offset);
}

void block_series_labels(const struct block *block, uint32_t series, struct ap_buf *out)
{
    struct ap_slice rest = series_record(block, series);
    uint64_t count;
    if (!bitpack_take_varint(&rest, &count))
        return;
    uint64_t number = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t delta;
        if (!bitpack_take_varint(&rest, &delta) || delta >= block->pair_count || (number += delta) >= block->pair_count)
            return;
        struct index_pair pair = block_pair(block, (uint32_t)number);
        struct index_name name = block_name(block, pair.name);
        struct label label = {block_text(block, name.text_offset, name.text_bytes),
                              block_text(block, pair.text_offset, pair.text_bytes)};
        labels_add(out, &label);
    }
}

static bool take_entry(struct ap_slice *rest, int64_t *ts_before, uint64_t *end_before, struct chunk_entry *ret_entry)
{
    uint64_t values[6];
    for (size_t i = 0; i < AP_ARRAY_COUNT(values); i++)
        if (!bitpack_take_varint(rest, &values[i]))
            return false;
    struct chunk_entry entry = {
        .min_ts_ms = (int64_t)((uint64_t)*ts_before + (uint64_t)ap_unzigzag(values[0])),
        .offset = *end_before + (uint64_t)ap_unzigzag(values[2]),
        .bytes = (uint32_t)values[3],
        .sample_count = (uint32_t)values[4],
        .file_index = (uint32_t)(values[5] >> 2),
        .kind = (enum chunk_kind)(values[5] & 3),
    };
    entry.max_ts_ms = (int64_t)((uint64_t)entry.min_ts_ms + values[1]);
    *ts_before = entry.max_ts_ms;
    *end_before = entry.offset + entry.bytes;
    *ret_entry = entry;
    return values[3] <= CHUNK_BYTES_MAX && values[4] <= CHUNK_SAMPLES_MAX;
}

/* The chunk entries of a series, one after the other. */
struct entries {
    struct ap_slice rest;
    uint64_t left;
    int64_t ts_before;
    uint64_t end_before;
};

static enum ap_rc fail_series(const struct block *block, uint32_t series, struct ap_err *err)
{
    return ap_fail(err, AP_E_CORRUPT, "blocks/%s/index: series %" PRIu32 " makes no sense", block->meta.id, series);
}

static bool entries_begin(const struct block *block, uint32_t series, struct entries *ret_entries)
{
    struct entries entries = {.rest = series_record(block, series)};
    uint64_t pair_count;
    uint64_t number;
    bool is_sound = bitpack_take_varint(&entries.rest, &pair_count) && pair_count <= LABELS_COUNT_MAX;
    for (uint64_t i = 0; is_sound && i < pair_count; i++)
        is_sound = bitpack_take_varint(&entries.rest, &number);
    is_sound = is_sound && bitpack_take_varint(&entries.rest, &entries.left);
    *ret_entries = entries;
    return is_sound;
}

/* Only while entries->left is not 0. */
static bool entries_next(struct entries *entries, struct chunk_entry *ret_entry)
{
    entries->left--;
    return take_entry(&entries->rest, &entries->ts_before, &entries->end_before, ret_entry);
}

static bool touches(const struct chunk_entry *entry, int64_t min_ts_ms, int64_t max_ts_ms)
{
    return entry->max_ts_ms >= min_ts_ms && entry->min_ts_ms <= max_ts_ms;
}

enum ap_rc block_series_chunks(const struct block *block, uint32_t series, int64_t min_ts_ms, int64_t max_ts_ms,
                               struct chunk_entry **entries, size_t *count, size_t *capacity, struct ap_err *err)
{
    struct entries all;
    struct chunk_entry entry;
    if (!entries_begin(block, series, &all))
        return fail_series(block, series, err);
    while (all.left) {
        if (!entries_next(&all, &entry))
            return fail_series(block, series, err);
        if (!touches(&entry, min_ts_ms, max_ts_ms))
            continue;
        if (*count == *capacity) {
            *capacity = *capacity ? *capacity * 2 : 16;
            *entries = ap_realloc(*entries, *capacity * sizeof(**entries));
        }
        (*entries)[(*count)++] = entry;
    }
    return AP_OK;
}

enum ap_rc block_series_touches(const struct block *block, uint32_t series, int64_t min_ts_ms, int64_t max_ts_ms,
                                bool *ret_touches, struct ap_err *err)
{
    struct entries all;
    struct chunk_entry entry;
    *ret_touches = block->meta.min_ts_ms >= min_ts_ms && block->meta.max_ts_ms <= max_ts_ms;
    if (*ret_touches)
        return AP_OK;
    if (!entries_begin(block, series, &all))
        return fail_series(block, series, err);
    while (all.left && !*ret_touches) {
        if (!entries_next(&all, &entry))
            return fail_series(block, series, err);
        *ret_touches = touches(&entry, min_ts_ms, max_ts_ms);
    }
    return AP_OK;
}

enum ap_rc block_chunk(const struct block *block, const struct chunk_entry *entry, struct ap_slice *ret_chunk,
                       struct ap_err *err)
{
    if (entry->file_index >= block->meta.chunk_file_count)
        return ap_fail(err, AP_E_CORRUPT, "blocks/%s/index names chunk file %" PRIu32 ", which is not there",
                       block->meta.id, entry->file_index);
    enum ap_rc rc = chunk_file_read(block->files[entry->file_index], entry->offset, entry->bytes, ret_chunk, err);
    return rc == AP_OK ? AP_OK : block_chunk_failed(block, entry, err);
}

enum ap_rc block_chunk_failed(const struct block *block, const struct chunk_entry *entry, struct ap_err *err)
{
    return ap_err_prefix(err, "blocks/%s/chunks-%04" PRIu32 " at offset %" PRIu64, block->meta.id, entry->file_index,
                         entry->offset);
}
