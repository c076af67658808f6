#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bits.h"
#include "base/mem.h"
#include "tsdb/bitpack.h"
#include "tsdb/block_internal.h"
#include "tsdb/registry_internal.h"
#include "wal/crc32c.h"

/*
 * Labels are interned by a registry of its own, whose refs are the series' numbers: its pairs and postings are what the
 * index needs, once they are put in order.
 */
struct block_writer {
    const struct os_fs *fs;
    int blocks_fd; /* lent */
    int dir_fd;
    char id[BLOCK_ID_BYTES];
    char unfinished[BLOCK_ID_BYTES + 8];
    struct registry *registry;
    struct ap_buf chunks;        /* of all series: encoded entries */
    struct ap_buf chunk_offsets; /* u64 each: where a series' entries begin in `chunks` */
    struct ap_buf last_labels;
    uint64_t file_bytes[BLOCK_CHUNK_FILES_MAX];
    uint32_t file_count;
    struct chunk_file *file; /* the one that is appended to; NULL: none yet */
    uint32_t file_index;     /* its */
    struct block_meta meta;
    bool is_finished;
};

static void discard(struct block_writer *writer);

enum ap_rc block_writer_new(const struct os_fs *fs, int blocks_fd, const char *id, struct block_writer **ret_writer,
                            struct ap_err *err)
{
    AP_AUTO(block_writer) struct block_writer *writer = ap_new0(struct block_writer);
    writer->fs = fs;
    writer->blocks_fd = blocks_fd;
    writer->dir_fd = -1;
    writer->registry = registry_new(0);
    writer->meta.min_ts_ms = INT64_MAX;
    writer->meta.max_ts_ms = INT64_MIN;
    snprintf(writer->id, sizeof(writer->id), "%s", id);
    snprintf(writer->unfinished, sizeof(writer->unfinished), "%s.tmp", id);
    if (mkdirat(blocks_fd, writer->unfinished, 0750) != 0)
        return ap_fail_errno(err, errno, "make block %s", id);
    writer->dir_fd = openat(blocks_fd, writer->unfinished, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (writer->dir_fd < 0)
        return ap_fail_errno(err, errno, "open block %s", id);
    *ret_writer = AP_MOVE(writer);
    return AP_OK;
}

void block_writer_free(struct block_writer *writer)
{
    if (!writer)
        return;
    chunk_file_unref(writer->file);
    if (!writer->is_finished && writer->dir_fd >= 0)
        discard(writer);
    if (writer->dir_fd >= 0)
        close(writer->dir_fd);
    registry_free(writer->registry);
    ap_buf_clear(&writer->chunks);
    ap_buf_clear(&writer->chunk_offsets);
    ap_buf_clear(&writer->last_labels);
    free(writer);
}

static void discard(struct block_writer *writer)
{
    char name[16];
    for (uint32_t i = 0; i < writer->file_count; i++) {
        block_chunk_file_name(i, name);
        (void)writer->fs->unlink(writer->fs->context, writer->dir_fd, name);
    }
    (void)writer->fs->unlink(writer->fs->context, writer->dir_fd, "index");
    (void)writer->fs->unlink(writer->fs->context, writer->dir_fd, "meta.json");
    (void)unlinkat(writer->blocks_fd, writer->unfinished, AT_REMOVEDIR);
}

/* ---- Chunks ---- */

enum ap_rc block_writer_link(struct block_writer *writer, int from_dir_fd, const char *from_name,
                             uint32_t *ret_file_index, struct ap_err *err)
{
    if (writer->file_count == BLOCK_CHUNK_FILES_MAX)
        return ap_fail(err, AP_E_LIMIT, "block %s would have more than %d chunk files", writer->id,
                       BLOCK_CHUNK_FILES_MAX);
    char name[16];
    block_chunk_file_name(writer->file_count, name);
    if (linkat(from_dir_fd, from_name, writer->dir_fd, name, 0) != 0)
        return ap_fail_errno(err, errno, "link %s into block %s", from_name, writer->id);
    *ret_file_index = writer->file_count++;
    return AP_OK;
}

static enum ap_rc begin_file(struct block_writer *writer, struct ap_err *err)
{
    if (writer->file_count == BLOCK_CHUNK_FILES_MAX)
        return ap_fail(err, AP_E_LIMIT, "block %s would have more than %d chunk files", writer->id,
                       BLOCK_CHUNK_FILES_MAX);
    if (writer->file) {
        enum ap_rc rc = chunk_file_sync(writer->file, err);
        if (rc != AP_OK)
            return rc;
        chunk_file_unref(writer->file);
        writer->file = NULL;
    }
    char name[16];
    block_chunk_file_name(writer->file_count, name);
    enum ap_rc rc = chunk_file_create(writer->fs, writer->dir_fd, name, &writer->file, err);
    if (rc == AP_OK)
        writer->file_index = writer->file_count++;
    return rc;
}

enum ap_rc block_writer_add_chunk(struct block_writer *writer, struct ap_slice chunk, struct chunk_entry *entry,
                                  struct ap_err *err)
{
    enum ap_rc rc = writer->file ? AP_OK : begin_file(writer, err);
    if (rc == AP_OK)
        rc = chunk_file_append(writer->file, chunk, &entry->offset, err);
    if (rc == AP_E_LIMIT) {
        rc = begin_file(writer, err);
        if (rc == AP_OK)
            rc = chunk_file_append(writer->file, chunk, &entry->offset, err);
    }
    if (rc != AP_OK)
        return rc;
    entry->bytes = (uint32_t)chunk.bytes;
    entry->file_index = writer->file_index;
    return AP_OK;
}

/* ---- Series ---- */

/* Entries as differences to the one before: most are 8 to 10 bytes. */
static void add_entries(struct block_writer *writer, const struct chunk_entry *entries, size_t count)
{
    struct ap_buf *out = &writer->chunks;
    ap_buf_add_varint(out, count);
    int64_t ts_before = 0;
    uint64_t end_before = 0;
    for (size_t i = 0; i < count; i++) {
        const struct chunk_entry *entry = &entries[i];
        ap_buf_add_varint(out, ap_zigzag(entry->min_ts_ms - ts_before));
        ap_buf_add_varint(out, (uint64_t)(entry->max_ts_ms - entry->min_ts_ms));
        ap_buf_add_varint(out, ap_zigzag((int64_t)(entry->offset - end_before)));
        ap_buf_add_varint(out, entry->bytes);
        ap_buf_add_varint(out, entry->sample_count);
        ap_buf_add_varint(out, (uint64_t)entry->file_index << 2 | (unsigned)entry->kind);
        ts_before = entry->max_ts_ms;
        end_before = entry->offset + entry->bytes;
        struct block_meta *meta = &writer->meta;
        meta->min_ts_ms = AP_MIN(meta->min_ts_ms, entry->min_ts_ms);
        meta->max_ts_ms = AP_MAX(meta->max_ts_ms, entry->max_ts_ms);
        meta->chunk_count++;
        meta->sample_count += entry->sample_count;
        writer->file_bytes[entry->file_index] =
            AP_MAX(writer->file_bytes[entry->file_index], entry->offset + entry->bytes);
    }
}

enum ap_rc block_writer_add_series(struct block_writer *writer, struct ap_slice labels,
                                   const struct chunk_entry *entries, size_t entry_count, struct ap_err *err)
{
    AP_ASSERT(entry_count > 0);
    AP_ASSERT(writer->last_labels.bytes == 0 || labels_compare(ap_buf_slice(&writer->last_labels), labels) < 0);
    if (writer->meta.series_count >= UINT32_MAX - 1)
        return ap_fail(err, AP_E_LIMIT, "block %s would have too many series", writer->id);
    ap_buf_reset(&writer->last_labels);
    ap_buf_add_slice(&writer->last_labels, labels);
    (void)registry_add_locked(writer->registry, labels, labels_hash_of(0, labels),
                              (uint32_t)writer->meta.series_count++);
    ap_buf_add_u64(&writer->chunk_offsets, writer->chunks.bytes);
    add_entries(writer, entries, entry_count);
    return AP_OK;
}

/* ---- The index ---- */

static int compare_names(const void *a, const void *b, void *context)
{
    const struct registry *registry = context;
    const struct name *x = &registry->names[*(const uint32_t *)a];
    const struct name *y = &registry->names[*(const uint32_t *)b];
    int order = memcmp(x->text, y->text, AP_MIN(x->bytes, y->bytes));
    return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int compare_pairs(const void *a, const void *b, void *context)
{
    const struct registry *registry = context;
    const struct pair *x = &registry->pairs[*(const uint32_t *)a];
    const struct pair *y = &registry->pairs[*(const uint32_t *)b];
    int order = memcmp(x->value, y->value, AP_MIN(x->value_bytes, y->value_bytes));
    return order ? order : (x->value_bytes > y->value_bytes) - (x->value_bytes < y->value_bytes);
}

static uint64_t add_postings(const struct postings *postings, struct ap_buf *out)
{
    uint64_t offset = out->bytes;
    roaring_bitmap_t *bitmap = roaring_bitmap_create();
    postings_or_into(postings, bitmap);
    if (postings->count <= POSTINGS_DELTAS_MAX) {
        uint32_t series[POSTINGS_DELTAS_MAX];
        roaring_bitmap_to_uint32_array(bitmap, series);
        for (uint32_t i = 0; i < postings->count; i++)
            ap_buf_add_varint(out, series[i] - (i ? series[i - 1] : 0));
    } else {
        roaring_bitmap_run_optimize(bitmap);
        size_t bytes = roaring_bitmap_portable_size_in_bytes(bitmap);
        ap_buf_add_varint(out, bytes);
        char *to = ap_buf_reserve(out, bytes);
        out->bytes += roaring_bitmap_portable_serialize(bitmap, to);
    }
    roaring_bitmap_free(bitmap);
    return offset;
}

static uint32_t add_text(const char *text, uint32_t bytes, struct ap_buf *texts)
{
    uint32_t offset = (uint32_t)texts->bytes;
    ap_buf_add(texts, text, bytes);
    return offset;
}

static void add_labels_sections(const struct registry *registry, uint32_t *rank, struct ap_buf *sections)
{
    uint32_t *names = ap_new0_array(uint32_t, registry->name_count + 1);
    for (uint32_t i = 0; i < registry->name_count; i++)
        names[i] = i;
    qsort_r(names, registry->name_count, sizeof(*names), compare_names, (void *)(uintptr_t)registry);
    uint32_t pair_number = 0;
    for (uint32_t i = 0; i < registry->name_count; i++) {
        const struct name *name = &registry->names[names[i]];
        struct index_name index_name = {
            .text_offset = add_text(name->text, name->bytes, &sections[SECTION_TEXTS]),
            .text_bytes = name->bytes,
            .first_pair = pair_number,
            .pair_count = name->pair_count,
        };
        ap_buf_add(&sections[SECTION_NAMES], &index_name, sizeof(index_name));
        qsort_r(name->pairs, name->pair_count, sizeof(*name->pairs), compare_pairs, (void *)(uintptr_t)registry);
        for (uint32_t j = 0; j < name->pair_count; j++) {
            const struct pair *pair = &registry->pairs[name->pairs[j]];
            struct index_pair index_pair = {
                .text_offset = add_text(pair->value, pair->value_bytes, &sections[SECTION_TEXTS]),
                .text_bytes = pair->value_bytes,
                .name = i,
                .series_count = pair->postings.count,
                .postings = pair->postings.count == 1 ? pair->postings.one
                                                      : add_postings(&pair->postings, &sections[SECTION_POSTINGS]),
            };
            rank[name->pairs[j]] = pair_number++;
            ap_buf_add(&sections[SECTION_PAIRS], &index_pair, sizeof(index_pair));
        }
    }
    free(names);
}

static enum ap_rc add_series_sections(const struct block_writer *writer, const uint32_t *rank, struct ap_buf *sections,
                                      struct ap_err *err)
{
    struct ap_buf *out = &sections[SECTION_SERIES];
    for (uint32_t i = 0; i < writer->meta.series_count; i++) {
        if (out->bytes > UINT32_MAX)
            return ap_fail(err, AP_E_LIMIT, "block %s would have too large an index", writer->id);
        ap_buf_add_u32(&sections[SECTION_OFFSETS], (uint32_t)out->bytes);
        const uint32_t *pairs = registry_entry(writer->registry, i)->pairs;
        ap_buf_add_varint(out, pairs[0]);
        for (uint32_t j = 1; j <= pairs[0]; j++)
            ap_buf_add_varint(out, rank[pairs[j]] - (j > 1 ? rank[pairs[j - 1]] : 0));
        uint64_t start;
        uint64_t end = writer->chunks.bytes;
        memcpy(&start, writer->chunk_offsets.data + (size_t)i * 8, 8);
        if (i + 1 < writer->meta.series_count)
            memcpy(&end, writer->chunk_offsets.data + ((size_t)i + 1) * 8, 8);
        ap_buf_add(out, writer->chunks.data + start, (size_t)(end - start));
    }
    return AP_OK;
}

static void put_together(const struct ap_buf *sections, struct ap_buf *out)
{
    uint64_t offset = INDEX_HEADER_BYTES + SECTION_COUNT * INDEX_TABLE_ENTRY_BYTES;
    uint64_t total = offset;
    AP_AUTO_BUF struct ap_buf table = {0};
    for (uint32_t i = 0; i < SECTION_COUNT; i++) {
        ap_buf_add_u32(&table, i);
        ap_buf_add_u32(&table, wal_crc32c(0, sections[i].data, sections[i].bytes));
        ap_buf_add_u64(&table, total);
        ap_buf_add_u64(&table, sections[i].bytes);
        total += sections[i].bytes;
    }
    ap_buf_add(out, "APIARYIX", 8);
    ap_buf_add_u32(out, INDEX_VERSION);
    ap_buf_add_u32(out, SECTION_COUNT);
    ap_buf_add_u64(out, total);
    ap_buf_add_u32(out, 0);
    uint32_t crc = wal_crc32c(0, out->data, out->bytes);
    ap_buf_add_u32(out, wal_crc32c(crc, table.data, table.bytes));
    ap_buf_add_slice(out, ap_buf_slice(&table));
    for (uint32_t i = 0; i < SECTION_COUNT; i++)
        ap_buf_add_slice(out, ap_buf_slice(&sections[i]));
}

enum ap_rc block_write_file(const struct os_fs *fs, int dir_fd, const char *name, struct ap_slice bytes,
                            struct ap_err *err)
{
    int fd = fs->open(fs->context, dir_fd, name, O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return ap_fail_errno(err, -fd, "make %s", name);
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes.data, .iov_len = bytes.bytes};
    enum ap_rc rc = os_write_all(fs, fd, &part, 1, 0, name, err);
    if (rc == AP_OK) {
        int result = fs->datasync(fs->context, fd);
        if (result < 0)
            rc = ap_fail_errno(err, -result, "sync %s", name);
    }
    fs->close(fs->context, fd);
    return rc;
}

static enum ap_rc write_index(struct block_writer *writer, struct ap_err *err)
{
    struct ap_buf sections[SECTION_COUNT] = {{0}};
    AP_AUTO_BUF struct ap_buf index = {0};
    AP_AUTO_BUF struct ap_buf json = {0};
    uint32_t *rank = ap_new0_array(uint32_t, writer->registry->pair_count + 1);
    block_meta_encode(&writer->meta, &sections[SECTION_META]);
    for (uint32_t i = 0; i < writer->file_count; i++)
        ap_buf_add_u64(&sections[SECTION_FILES], AP_MAX(writer->file_bytes[i], (uint64_t)CHUNK_FILE_HEADER_BYTES));
    add_labels_sections(writer->registry, rank, sections);
    enum ap_rc rc = add_series_sections(writer, rank, sections, err);
    if (rc == AP_OK) {
        put_together(sections, &index);
        rc = block_write_file(writer->fs, writer->dir_fd, "index", ap_buf_slice(&index), err);
    }
    block_meta_json(&writer->meta, &json);
    if (rc == AP_OK)
        rc = block_write_file(writer->fs, writer->dir_fd, "meta.json", ap_buf_slice(&json), err);
    for (size_t i = 0; i < SECTION_COUNT; i++)
        ap_buf_clear(&sections[i]);
    free(rank);
    return rc;
}

enum ap_rc block_writer_finish(struct block_writer *writer, const struct block_meta *meta, struct ap_err *err)
{
    if (writer->meta.series_count == 0)
        return ap_fail(err, AP_E_NOT_FOUND, "block %s would be empty", writer->id);
    memcpy(writer->meta.id, writer->id, BLOCK_ID_BYTES);
    writer->meta.level = meta->level;
    writer->meta.head_range_id = meta->head_range_id;
    writer->meta.sources = meta->sources;
    writer->meta.source_count = meta->source_count;
    writer->meta.chunk_file_count = writer->file_count;
    enum ap_rc rc = writer->file ? chunk_file_sync(writer->file, err) : AP_OK;
    if (rc == AP_OK)
        rc = write_index(writer, err);
    if (rc != AP_OK)
        return rc;
    int result = writer->fs->sync_dir(writer->fs->context, writer->dir_fd);
    if (result == 0)
        result = writer->fs->rename(writer->fs->context, writer->blocks_fd, writer->unfinished, writer->id);
    if (result == 0) {
        writer->is_finished = true; /* whatever comes now: it is not ours to remove any more */
        result = writer->fs->sync_dir(writer->fs->context, writer->blocks_fd);
    }
    return result < 0 ? ap_fail_errno(err, -result, "finish block %s", writer->id) : AP_OK;
}
