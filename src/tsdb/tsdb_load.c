/* Reading a checkpoint back. Every byte is checked by a checksum before it is believed; then only versions can be
 * wrong. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "tsdb/tsdb_internal.h"
#include "wal/crc32c.h"

enum { CHECKPOINT_HEADER_BYTES = 24, CHECKPOINT_VERSION = 1 };
#define HEAD_FILE_BYTES_MAX (UINT64_C(64) << 30)

struct reading {
    struct ap_slice rest;
    bool is_sound;
};

static uint64_t take(struct reading *reading, size_t bytes)
{
    uint64_t value = 0;
    if (reading->rest.bytes < bytes) {
        reading->is_sound = false;
        return 0;
    }
    memcpy(&value, reading->rest.data, bytes);
    reading->rest.data += bytes;
    reading->rest.bytes -= bytes;
    return value;
}

static uint64_t take_varint(struct reading *reading)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && reading->is_sound; shift += 7) {
        uint64_t byte = take(reading, 1);
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    reading->is_sound = false;
    return 0;
}

/* The first `bytes` of a file of the head (UINT64_MAX: all of it), from malloc. AP_E_NOT_FOUND, AP_E_CORRUPT. */
static enum ap_rc read_file(const struct tsdb *tsdb, const char *name, uint64_t bytes, struct ap_buf *out,
                            struct ap_err *err)
{
    const struct os_fs *fs = tsdb->options.fs;
    int fd = fs->open(fs->context, tsdb->head_fd, name, O_RDONLY, 0);
    if (fd < 0)
        return ap_fail_errno(err, -fd, "open head/%s", name);
    uint64_t there = 0;
    int result = fs->size(fs->context, fd, &there);
    enum ap_rc rc = result < 0 ? ap_fail_errno(err, -result, "size of head/%s", name) : AP_OK;
    if (bytes == UINT64_MAX)
        bytes = there;
    if (rc == AP_OK && (there < bytes || bytes > HEAD_FILE_BYTES_MAX))
        rc = ap_fail(err, AP_E_CORRUPT, "head/%s has %" PRIu64 " bytes where the checkpoint knows %" PRIu64, name,
                     there, bytes);
    char *to = rc == AP_OK ? ap_buf_reserve(out, (size_t)bytes + 1) : NULL;
    if (rc == AP_OK)
        rc = os_read_all(fs, fd, to, (size_t)bytes, 0, name, err);
    fs->close(fs->context, fd);
    if (rc == AP_OK)
        out->bytes = (size_t)bytes;
    return rc;
}

static enum ap_rc read_checkpoint(const struct tsdb *tsdb, struct ap_buf *bytes, struct ap_slice *ret_body,
                                  struct ap_err *err)
{
    enum ap_rc rc = read_file(tsdb, "checkpoint", UINT64_MAX, bytes, err);
    if (rc != AP_OK)
        return rc;
    uint32_t version = 0;
    uint32_t crc = 0;
    uint64_t body_bytes = 0;
    if (bytes->bytes < CHECKPOINT_HEADER_BYTES || memcmp(bytes->data, "APIARYCP", 8) != 0)
        return ap_fail(err, AP_E_CORRUPT, "head/checkpoint is not a checkpoint");
    memcpy(&version, bytes->data + 8, sizeof(version));
    memcpy(&crc, bytes->data + 12, sizeof(crc));
    memcpy(&body_bytes, bytes->data + 16, sizeof(body_bytes));
    if (version != CHECKPOINT_VERSION)
        return ap_fail(err, AP_E_CORRUPT, "head/checkpoint has version %" PRIu32 "; this program knows %d", version,
                       CHECKPOINT_VERSION);
    if (body_bytes != bytes->bytes - CHECKPOINT_HEADER_BYTES ||
        crc != wal_crc32c(0, bytes->data + CHECKPOINT_HEADER_BYTES, bytes->bytes - CHECKPOINT_HEADER_BYTES))
        return ap_fail(err, AP_E_CORRUPT, "head/checkpoint is damaged: its checksum does not fit");
    *ret_body = ap_slice(bytes->data + CHECKPOINT_HEADER_BYTES, (size_t)body_bytes);
    return AP_OK;
}

static enum ap_rc load_series(struct tsdb *tsdb, struct ap_err *err)
{
    char name[40];
    head_range_name(tsdb->file_number, ".series", name);
    AP_AUTO_BUF struct ap_buf bytes = {0};
    enum ap_rc rc = read_file(tsdb, name, tsdb->series_file_bytes, &bytes, err);
    struct ap_slice rest = ap_buf_slice(&bytes);
    registry_write_lock(tsdb->registry);
    while (rc == AP_OK && rest.bytes) {
        rc = registry_decode_locked(tsdb->registry, &rest, err);
        if (rc != AP_OK)
            (void)ap_err_prefix(err, "head/%s", name);
    }
    if (rc == AP_OK)
        registry_encoded_locked(tsdb->registry);
    registry_unlock(tsdb->registry);
    for (uint32_t ref = 0; rc == AP_OK && ref < registry_ref_end(tsdb->registry); ref++)
        if (registry_has(tsdb->registry, ref))
            head_series_locked(head_shard_of(tsdb->head, ref), head_local(tsdb->head, ref))->save_state = HEAD_SAVED;
    return rc;
}

static bool is_in_a_block(const struct tsdb *tsdb, uint64_t range_id)
{
    for (size_t i = 0; i < tsdb->block_count; i++)
        if (block_meta_of(tsdb->blocks[i])->head_range_id == range_id)
            return true;
    return false;
}

static enum ap_rc load_ranges(struct tsdb *tsdb, struct reading *reading, struct ap_err *err)
{
    uint64_t count = take_varint(reading);
    for (uint64_t i = 0; i < count && reading->is_sound; i++) {
        uint64_t id = take_varint(reading);
        int64_t start_ms = (int64_t)take(reading, 8);
        uint64_t bytes = take_varint(reading);
        bool is_closed = take_varint(reading) != 0;
        if (!reading->is_sound || is_in_a_block(tsdb, id))
            continue; /* cut, and then the machine stopped before a checkpoint could tell */
        char name[40];
        head_range_name(id, ".chunks", name);
        struct chunk_file *file;
        enum ap_rc rc = chunk_file_open(tsdb->options.fs, tsdb->head_fd, name, bytes, true, &file, err);
        if (rc != AP_OK)
            return ap_err_prefix(err, "head/%s", name);
        head_range_add(tsdb->head, id, start_ms, file)->is_closed = is_closed;
    }
    return AP_OK;
}

static bool load_list_entry(struct tsdb *tsdb, struct reading *reading)
{
    struct head *head = tsdb->head;
    uint64_t range_id = take_varint(reading);
    uint64_t ref = take_varint(reading);
    struct head_chunk chunk = {.range = head_range_find(head, range_id)};
    uint64_t min_offset_ms = take_varint(reading);
    chunk.span_ms = (uint32_t)take_varint(reading);
    chunk.offset = take_varint(reading);
    chunk.bytes = (uint32_t)take_varint(reading);
    chunk.sample_count = (uint16_t)take_varint(reading);
    chunk.kind = (uint8_t)take(reading, 1);
    if (!reading->is_sound || ref >= REGISTRY_NONE)
        return false;
    if (!chunk.range || !registry_has(tsdb->registry, (uint32_t)ref))
        return true; /* history: the range is a block by now, the series is gone */
    chunk.min_ts_ms = chunk.range->start_ms + (int64_t)min_offset_ms;
    struct head_shard *shard = head_shard_of(head, (uint32_t)ref);
    struct head_series *series = head_series_locked(shard, head_local(head, (uint32_t)ref));
    head_add_chunk_locked(shard, series, &chunk);
    if (chunk.kind == CHUNK_FLOATS)
        series->last_ts_ms = AP_MAX(series->last_ts_ms, chunk.min_ts_ms + chunk.span_ms);
    else
        head_extra_locked(series)->histogram_last_ts_ms =
            AP_MAX(head_extra_locked(series)->histogram_last_ts_ms, chunk.min_ts_ms + chunk.span_ms);
    shard->min_ts_ms = AP_MIN(shard->min_ts_ms, chunk.min_ts_ms);
    shard->max_ts_ms = AP_MAX(shard->max_ts_ms, chunk.min_ts_ms + chunk.span_ms);
    return true;
}

static enum ap_rc load_list(struct tsdb *tsdb, struct ap_err *err)
{
    char name[40];
    head_range_name(tsdb->file_number, ".list", name);
    AP_AUTO_BUF struct ap_buf bytes = {0};
    enum ap_rc rc = read_file(tsdb, name, tsdb->list_file_bytes, &bytes, err);
    if (rc != AP_OK)
        return rc;
    struct reading file = {ap_buf_slice(&bytes), true};
    while (file.rest.bytes) {
        size_t offset = bytes.bytes - file.rest.bytes;
        uint64_t batch_bytes = take(&file, 4);
        uint32_t crc = (uint32_t)take(&file, 4);
        if (!file.is_sound || batch_bytes > file.rest.bytes || wal_crc32c(0, file.rest.data, batch_bytes) != crc)
            return ap_fail(err, AP_E_CORRUPT, "head/%s is damaged at offset %zu", name, offset);
        struct reading batch = {ap_slice(file.rest.data, (size_t)batch_bytes), true};
        file.rest.data += batch_bytes;
        file.rest.bytes -= (size_t)batch_bytes;
        while (batch.rest.bytes)
            if (!load_list_entry(tsdb, &batch))
                return ap_fail(err, AP_E_CORRUPT, "head/%s: an entry behind offset %zu makes no sense", name, offset);
    }
    return AP_OK;
}

static void load_sealed(struct tsdb *tsdb, struct reading *reading, uint64_t seq_before)
{
    struct head *head = tsdb->head;
    uint64_t shard_count = take_varint(reading);
    for (uint64_t i = 0; i < shard_count && reading->is_sound; i++) {
        uint64_t count = take_varint(reading);
        uint32_t ref = 0;
        for (uint64_t j = 0; j < count && reading->is_sound; j++) {
            ref += (uint32_t)take_varint(reading);
            uint64_t seq = seq_before + take_varint(reading);
            if (reading->is_sound && registry_has(tsdb->registry, ref))
                head_series_locked(head_shard_of(head, ref), head_local(head, ref))->sealed_seq = seq;
        }
    }
}

static void load_deleted(struct tsdb *tsdb, struct reading *reading)
{
    struct head *head = tsdb->head;
    while (reading->is_sound) {
        uint32_t ref = (uint32_t)take(reading, 4);
        if (!reading->is_sound || ref == REGISTRY_NONE)
            return;
        int64_t min_ts_ms = (int64_t)take(reading, 8);
        int64_t max_ts_ms = (int64_t)take(reading, 8);
        if (reading->is_sound && registry_has(tsdb->registry, ref)) {
            struct head_shard *shard = head_shard_of(head, ref);
            head_delete_locked(head_series_locked(shard, head_local(head, ref)), min_ts_ms, max_ts_ms);
        }
    }
}

enum ap_rc tsdb_checkpoint_load(struct tsdb *tsdb, uint64_t *ret_lsn, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    struct ap_slice body;
    enum ap_rc rc = read_checkpoint(tsdb, &bytes, &body, err);
    if (rc != AP_OK)
        return rc;
    struct reading reading = {body, true};
    uint64_t seed = take(&reading, 8);
    uint64_t lsn = take(&reading, 8);
    struct epoch_start start = {.lsn = lsn};
    start.seq_before = take(&reading, 8);
    uint64_t seq = take(&reading, 8);
    start.epoch = (uint32_t)take(&reading, 4);
    uint32_t epoch = (uint32_t)take(&reading, 4);
    int64_t max_ts_ms = (int64_t)take(&reading, 8);
    tsdb->file_number = take(&reading, 8);
    tsdb->series_file_bytes = take(&reading, 8);
    tsdb->list_file_bytes = take(&reading, 8);
    uint64_t range_id_next = take(&reading, 8);

    tsdb_make_head(tsdb, seed);
    struct head *head = tsdb->head;
    head->seq = seq;
    head->epoch = epoch;
    head->max_ts_ms = max_ts_ms;
    rc = load_series(tsdb, err);
    if (rc == AP_OK)
        rc = load_ranges(tsdb, &reading, err);
    head->range_id_next = AP_MAX(head->range_id_next, range_id_next);
    if (rc == AP_OK)
        rc = load_list(tsdb, err);
    if (rc == AP_E_NOT_FOUND) /* a file that the checkpoint names: that is no store without a checkpoint */
        rc = err->rc = AP_E_CORRUPT;
    if (rc != AP_OK)
        return rc;
    load_sealed(tsdb, &reading, start.seq_before);
    load_deleted(tsdb, &reading);
    if (!reading.is_sound)
        return ap_fail(err, AP_E_CORRUPT, "head/checkpoint ends too early");
    rc = extras_decode(&tsdb->extras, reading.rest, err);
    tsdb->epochs = ap_new0_array(struct epoch_start, 16);
    tsdb->epoch_capacity = 16;
    tsdb->epochs[tsdb->epoch_count++] = start;
    tsdb->checkpoint_lsn = lsn;
    *ret_lsn = lsn;
    return rc;
}
