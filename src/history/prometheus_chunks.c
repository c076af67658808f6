#include "history/prometheus_chunks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "history/byte_reader.h"
#include "history/numbered_files.h"
#include "wal/crc32c.h"

enum {
    HEADER_BYTES = PROMETHEUS_HEAD_CHUNKS_BEGIN, /* in blocks as well */
    VERSION = 1,
    ENTRY_BYTES_MIN = 8 + 8 + 8 + 1 + 1 + 4, /* of the head */
};
#define CHUNKS_MAGIC UINT32_C(0x85BD40DD)
#define HEAD_MAGIC   UINT32_C(0x0130BC91)

static enum ap_rc check_header(struct ap_slice file, uint32_t magic, struct ap_err *err)
{
    struct byte_reader reader = byte_reader(file);
    if (byte_reader_u32(&reader) != magic)
        return ap_fail(err, AP_E_CORRUPT, "this is no file of chunks of Prometheus");
    uint8_t version = byte_reader_u8(&reader);
    if (reader.is_cut || file.bytes < HEADER_BYTES || version != VERSION)
        return ap_fail(err, AP_E_CORRUPT, "its version is %u; this program reads %d", version, VERSION);
    return AP_OK;
}

/* ---- Of a block ---- */

enum ap_rc prometheus_chunks_open(int dir_fd, const char *name, const char *path, struct prometheus_chunks *ret_chunks,
                                  struct ap_err *err)
{
    struct prometheus_chunks chunks = {0};
    struct numbered_files names;
    AP_AUTO_FD int fd = -1;
    enum ap_rc rc = numbered_files_list(dir_fd, name, path, &fd, &names, err);
    if (rc != AP_OK)
        return rc;
    chunks.files = ap_new0_array(struct mapped_file, names.count + 1);
    for (size_t i = 0; i < names.count && rc == AP_OK; i++) {
        AP_AUTO_FREE char *file_path = ap_asprintf("%s/%s", path, names.items[i].name);
        rc = mapped_file_open(fd, names.items[i].name, file_path, &chunks.files[i], err);
        if (rc != AP_OK)
            break;
        chunks.count++;
        chunks.bytes += chunks.files[i].bytes;
        if (check_header(mapped_file_slice(&chunks.files[i]), CHUNKS_MAGIC, err) != AP_OK)
            rc = ap_err_prefix(err, "%s/%s", name, names.items[i].name);
    }
    numbered_files_clear(&names);
    if (rc != AP_OK)
        prometheus_chunks_close(&chunks);
    else
        *ret_chunks = chunks;
    return rc;
}

void prometheus_chunks_close(struct prometheus_chunks *chunks)
{
    for (size_t i = 0; i < chunks->count; i++)
        mapped_file_close(&chunks->files[i]);
    free(chunks->files);
    *chunks = (struct prometheus_chunks){0};
}

enum ap_rc prometheus_chunks_get(const struct prometheus_chunks *chunks, uint64_t ref, uint8_t *ret_encoding,
                                 struct ap_slice *ret_data, struct ap_err *err)
{
    uint64_t file = ref >> 32, offset = ref & UINT32_MAX;
    if (file >= chunks->count)
        return ap_fail(err, AP_E_CORRUPT, "chunks/%06" PRIu64 ": there is no such file", file + 1);
    struct byte_reader reader = byte_reader(mapped_file_slice(&chunks->files[file]));
    (void)byte_reader_slice(&reader, offset);
    uint64_t bytes = byte_reader_varint(&reader);
    struct ap_slice encoding = byte_reader_slice(&reader, 1);
    struct ap_slice data = byte_reader_slice(&reader, bytes);
    uint32_t stored = byte_reader_u32(&reader);
    if (reader.is_cut || stored != wal_crc32c(0, encoding.data, data.bytes + 1))
        return ap_fail(err, AP_E_CORRUPT, "chunks/%06" PRIu64 ", offset %" PRIu64 ": the checksum does not fit",
                       file + 1, offset);
    *ret_encoding = (uint8_t)*encoding.data;
    *ret_data = data;
    return AP_OK;
}

/* ---- Of the head ---- */

enum ap_rc prometheus_head_chunk_next(struct ap_slice file, uint64_t *offset, struct prometheus_head_chunk *ret_chunk,
                                      bool *ret_is_end, struct ap_err *err)
{
    *ret_is_end = file.bytes == 0;
    if (file.bytes == 0) /* made, and not begun */
        return AP_OK;
    if (*offset == 0) {
        enum ap_rc rc = check_header(file, HEAD_MAGIC, err);
        if (rc != AP_OK)
            return rc;
        *offset = HEADER_BYTES;
    }
    struct byte_reader reader = byte_reader(file);
    (void)byte_reader_slice(&reader, *offset);
    const char *begin = (const char *)reader.next;
    size_t left = byte_reader_left(&reader);
    struct prometheus_head_chunk chunk = {.series_ref = byte_reader_u64(&reader)};
    chunk.min_ts_ms = (int64_t)byte_reader_u64(&reader);
    chunk.max_ts_ms = (int64_t)byte_reader_u64(&reader);
    /* Files are made larger than they are filled; a shorter rest is what a crash left of the last chunk. */
    *ret_is_end = left < ENTRY_BYTES_MIN || (chunk.series_ref == 0 && chunk.min_ts_ms == 0 && chunk.max_ts_ms == 0);
    if (*ret_is_end)
        return AP_OK;
    chunk.encoding = byte_reader_u8(&reader);
    chunk.is_out_of_order = chunk.encoding & PROMETHEUS_OUT_OF_ORDER;
    chunk.encoding &= (uint8_t)~PROMETHEUS_OUT_OF_ORDER;
    chunk.data = byte_reader_text(&reader);
    const char *end = (const char *)reader.next;
    uint32_t stored = byte_reader_u32(&reader);
    if (reader.is_cut || stored != wal_crc32c(0, begin, (size_t)(end - begin)))
        return ap_fail(err, AP_E_CORRUPT, "the checksum of a chunk does not fit");
    *offset = (uint64_t)((const char *)reader.next - file.data);
    *ret_chunk = chunk;
    return AP_OK;
}
