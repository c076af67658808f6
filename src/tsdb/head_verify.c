#include "tsdb/head_verify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "tsdb/chunk.h"
#include "tsdb/head.h"
#include "tsdb/registry.h"
#include "wal/crc32c.h"

enum {
    CHECKPOINT_HEADER_BYTES = 24,
    CHECKPOINT_VERSION = 1,
    FAULTS_MAX = 10000, /* that are told; the rest is counted */
    ATTEMPTS_MAX = 10,  /* a server makes a checkpoint once in seconds, and reading takes seconds */
};
#define FILE_BYTES_MAX (UINT64_C(64) << 30)

struct range {
    uint64_t id;
    int64_t start_ms;
    struct chunk_file *file; /* owned; NULL: it could not be opened, and that was told */
};

struct verifying {
    const struct os_fs *fs;
    int head_fd;
    struct head_verified verified;
    struct block_fault *faults; /* owned */
    size_t fault_count;         /* all, also those that are not kept */
    /* Of the checkpoint. */
    struct ap_buf checkpoint;
    uint64_t seed;
    uint64_t file_number;
    uint64_t series_bytes;
    uint64_t list_bytes;
    struct range *ranges; /* owned */
    size_t range_count;
};

static void add_fault(struct verifying *verifying, const char *file, uint64_t offset, const char *text)
{
    if (verifying->fault_count++ >= FAULTS_MAX)
        return;
    if (!verifying->faults)
        verifying->faults = ap_new0_array(struct block_fault, FAULTS_MAX);
    struct block_fault *fault = &verifying->faults[verifying->fault_count - 1];
    snprintf(fault->file, sizeof(fault->file), "%s", file);
    snprintf(fault->text, sizeof(fault->text), "%s", text);
    fault->offset = offset;
}

/* ---- Bytes ---- */

static uint64_t take(struct ap_slice *rest, size_t bytes, bool *is_sound)
{
    uint64_t value = 0;
    if (rest->bytes < bytes) {
        *is_sound = false;
        return 0;
    }
    memcpy(&value, rest->data, bytes);
    *rest = ap_slice(rest->data + bytes, rest->bytes - bytes);
    return value;
}

static uint64_t take_varint(struct ap_slice *rest, bool *is_sound)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && *is_sound; shift += 7) {
        uint64_t byte = take(rest, 1, is_sound);
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    *is_sound = false;
    return 0;
}

/* The first `bytes` of a file, UINT64_MAX: all of it. */
static enum ap_rc read_file(const struct verifying *verifying, const char *name, uint64_t bytes, struct ap_buf *out,
                            struct ap_err *err)
{
    const struct os_fs *fs = verifying->fs;
    int fd = fs->open(fs->context, verifying->head_fd, name, O_RDONLY, 0);
    if (fd < 0)
        return ap_fail_errno(err, -fd, "open it");
    uint64_t there = 0;
    int result = fs->size(fs->context, fd, &there);
    enum ap_rc rc = result < 0 ? ap_fail_errno(err, -result, "ask for its size") : AP_OK;
    if (bytes == UINT64_MAX)
        bytes = there;
    if (rc == AP_OK && (there < bytes || bytes > FILE_BYTES_MAX))
        rc = ap_fail(err, AP_E_CORRUPT, "it has %" PRIu64 " bytes where the checkpoint knows %" PRIu64, there, bytes);
    char *to = rc == AP_OK ? ap_buf_reserve(out, (size_t)bytes + 1) : NULL;
    if (rc == AP_OK)
        rc = os_read_all(fs, fd, to, (size_t)bytes, 0, name, err);
    if (rc == AP_OK)
        out->bytes = (size_t)bytes;
    fs->close(fs->context, fd);
    return rc;
}

/* ---- The checkpoint ---- */

static bool read_ranges(struct verifying *verifying, struct ap_slice *rest)
{
    bool is_sound = true;
    uint64_t count = take_varint(rest, &is_sound);
    if (!is_sound || count > rest->bytes)
        return false;
    verifying->ranges = ap_new0_array(struct range, (size_t)count + 1);
    for (uint64_t i = 0; i < count && is_sound; i++) {
        struct range range = {.id = take_varint(rest, &is_sound)};
        range.start_ms = (int64_t)take(rest, 8, &is_sound);
        uint64_t bytes = take_varint(rest, &is_sound);
        (void)take_varint(rest, &is_sound); /* whether it is closed */
        if (!is_sound)
            return false;
        char name[40];
        head_range_name(range.id, ".chunks", name);
        struct ap_err err;
        if (chunk_file_open(verifying->fs, verifying->head_fd, name, bytes, false, &range.file, &err) != AP_OK)
            add_fault(verifying, name, 0, err.text);
        verifying->ranges[verifying->range_count++] = range;
    }
    return is_sound;
}

static bool read_checkpoint(struct verifying *verifying)
{
    struct ap_buf *bytes = &verifying->checkpoint;
    uint32_t version, crc;
    uint64_t body_bytes;
    if (bytes->bytes < CHECKPOINT_HEADER_BYTES || memcmp(bytes->data, "APIARYCP", 8) != 0) {
        add_fault(verifying, "checkpoint", 0, "it is not a checkpoint");
        return false;
    }
    memcpy(&version, bytes->data + 8, sizeof(version));
    memcpy(&crc, bytes->data + 12, sizeof(crc));
    memcpy(&body_bytes, bytes->data + 16, sizeof(body_bytes));
    struct ap_slice body = ap_slice(bytes->data + CHECKPOINT_HEADER_BYTES, bytes->bytes - CHECKPOINT_HEADER_BYTES);
    if (version != CHECKPOINT_VERSION) {
        add_fault(verifying, "checkpoint", 8, "its version is one that this program does not know");
        return false;
    }
    if (body_bytes != body.bytes || crc != wal_crc32c(0, body.data, body.bytes)) {
        add_fault(verifying, "checkpoint", CHECKPOINT_HEADER_BYTES, "its checksum does not fit");
        return false;
    }
    bool is_sound = true;
    verifying->seed = take(&body, 8, &is_sound);
    for (int i = 0; i < 5; i++)
        (void)take(&body, 8, &is_sound); /* where replay begins (two), newest record, epochs, newest sample */
    verifying->file_number = take(&body, 8, &is_sound);
    verifying->series_bytes = take(&body, 8, &is_sound);
    verifying->list_bytes = take(&body, 8, &is_sound);
    (void)take(&body, 8, &is_sound); /* next range */
    if (!is_sound || !read_ranges(verifying, &body)) {
        add_fault(verifying, "checkpoint", bytes->bytes, "it ends too early");
        return false;
    }
    return true;
}

/* ---- Series and chunks ---- */

static void verify_series(struct verifying *verifying)
{
    char name[40];
    head_range_name(verifying->file_number, ".series", name);
    AP_AUTO_BUF struct ap_buf bytes = {0};
    struct ap_err err;
    if (read_file(verifying, name, verifying->series_bytes, &bytes, &err) != AP_OK) {
        add_fault(verifying, name, 0, err.text);
        return;
    }
    struct registry *registry = registry_new(verifying->seed);
    struct ap_slice rest = ap_buf_slice(&bytes);
    registry_write_lock(registry);
    while (rest.bytes) {
        size_t offset = bytes.bytes - rest.bytes;
        if (registry_decode_locked(registry, &rest, &err) == AP_OK)
            continue;
        add_fault(verifying, name, offset, err.text);
        break; /* batches build on those before */
    }
    registry_unlock(registry);
    registry_read_lock(registry);
    verifying->verified.series_count = registry_count(registry);
    registry_unlock(registry);
    registry_free(registry);
}

static const struct range *find_range(const struct verifying *verifying, uint64_t id)
{
    for (size_t i = 0; i < verifying->range_count; i++)
        if (verifying->ranges[i].id == id)
            return &verifying->ranges[i];
    return NULL;
}

/* One entry of the list, and the chunk that it names. */
static bool verify_entry(struct verifying *verifying, struct ap_slice *rest)
{
    bool is_sound = true;
    uint64_t range_id = take_varint(rest, &is_sound);
    (void)take_varint(rest, &is_sound); /* series */
    uint64_t min_offset_ms = take_varint(rest, &is_sound);
    (void)take_varint(rest, &is_sound); /* span */
    uint64_t offset = take_varint(rest, &is_sound);
    uint64_t bytes = take_varint(rest, &is_sound);
    uint64_t sample_count = take_varint(rest, &is_sound);
    uint64_t kind = take(rest, 1, &is_sound);
    if (kind & HEAD_LIST_HAS_DELETED_FIRST)
        (void)take_varint(rest, &is_sound); /* which deleted spans it has */
    kind &= ~(uint64_t)HEAD_LIST_HAS_DELETED_FIRST;
    if (!is_sound)
        return false;
    const struct range *range = find_range(verifying, range_id);
    if (!range || !range->file)
        return true; /* history: it is a block by now */
    char name[40];
    head_range_name(range_id, ".chunks", name);
    struct ap_slice chunk;
    struct ap_err err;
    enum chunk_kind found;
    enum ap_rc rc = bytes <= UINT32_MAX ? chunk_file_read(range->file, offset, (uint32_t)bytes, &chunk, &err)
                                        : ap_fail(&err, AP_E_CORRUPT, "a chunk of %" PRIu64 " bytes", bytes);
    if (rc == AP_OK)
        rc = chunk_check(chunk, range->start_ms + (int64_t)min_offset_ms, &found, &err);
    if (rc == AP_OK && (uint64_t)found != kind)
        rc = ap_fail(&err, AP_E_CORRUPT, "the chunk is of another kind than the list says");
    if (rc != AP_OK) {
        add_fault(verifying, name, offset, err.text);
        return true;
    }
    verifying->verified.chunk_count++;
    verifying->verified.sample_count += sample_count;
    return true;
}

static void verify_list(struct verifying *verifying)
{
    char name[40];
    head_range_name(verifying->file_number, ".list", name);
    AP_AUTO_BUF struct ap_buf bytes = {0};
    struct ap_err err;
    if (read_file(verifying, name, verifying->list_bytes, &bytes, &err) != AP_OK) {
        add_fault(verifying, name, 0, err.text);
        return;
    }
    struct ap_slice rest = ap_buf_slice(&bytes);
    while (rest.bytes) {
        size_t offset = bytes.bytes - rest.bytes;
        bool is_sound = true;
        uint64_t batch_bytes = take(&rest, 4, &is_sound);
        uint32_t crc = (uint32_t)take(&rest, 4, &is_sound);
        if (!is_sound || batch_bytes > rest.bytes || wal_crc32c(0, rest.data, batch_bytes) != crc) {
            add_fault(verifying, name, offset, "the checksum of a batch of entries does not fit");
            return; /* where the next one begins is not known */
        }
        struct ap_slice batch = ap_slice(rest.data, (size_t)batch_bytes);
        rest = ap_slice(rest.data + batch_bytes, rest.bytes - (size_t)batch_bytes);
        while (batch.bytes && verify_entry(verifying, &batch))
            ;
        if (batch.bytes)
            add_fault(verifying, name, offset, "an entry of this batch makes no sense");
    }
}

/* ---- All of it ---- */

static void clear(struct verifying *verifying)
{
    for (size_t i = 0; i < verifying->range_count; i++)
        chunk_file_unref(verifying->ranges[i].file);
    free(verifying->ranges);
    free(verifying->faults);
    ap_buf_clear(&verifying->checkpoint);
}

/* False: the checkpoint was replaced while we read. */
static bool verify_once(struct verifying *verifying)
{
    struct ap_err err;
    enum ap_rc rc = read_file(verifying, "checkpoint", UINT64_MAX, &verifying->checkpoint, &err);
    if (rc == AP_E_NOT_FOUND)
        return true;
    if (rc != AP_OK) {
        add_fault(verifying, "checkpoint", 0, err.text);
        return true;
    }
    if (read_checkpoint(verifying)) {
        verify_series(verifying);
        verify_list(verifying);
    }
    if (verifying->fault_count == 0)
        return true;
    AP_AUTO_BUF struct ap_buf now = {0};
    return read_file(verifying, "checkpoint", UINT64_MAX, &now, &err) != AP_OK ||
           ap_slice_equal(ap_buf_slice(&now), ap_buf_slice(&verifying->checkpoint));
}

size_t head_verify(const struct os_fs *fs, int store_fd, void (*each)(const struct block_fault *fault, void *context),
                   void *context, struct head_verified *ret_verified)
{
    *ret_verified = (struct head_verified){0};
    AP_AUTO_FD int head_fd = openat(store_fd, "head", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (head_fd < 0)
        return 0;
    struct verifying verifying = {.fs = fs, .head_fd = head_fd};
    for (int i = 0; !verify_once(&verifying) && i < ATTEMPTS_MAX; i++) {
        clear(&verifying);
        verifying = (struct verifying){.fs = fs, .head_fd = head_fd};
    }
    for (size_t i = 0; i < AP_MIN(verifying.fault_count, (size_t)FAULTS_MAX); i++)
        each(&verifying.faults[i], context);
    *ret_verified = verifying.verified;
    size_t fault_count = verifying.fault_count;
    clear(&verifying);
    return fault_count;
}
