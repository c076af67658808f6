/*
 * Opens and reads a log whose files hold arbitrary bytes. The first byte chooses how they come about:
 *   even: a sound log of two segments, changed where the input says (position, value) and cut at its end
 *   odd:  records that are well-formed but for what their headers claim
 * A record that is delivered is one that was written, at its place; a log that opens can be appended to; and opening it
 * once more finds the same.
 */
#include <stdint.h>

#include "../unit/test_wal_disk.h"
#include "wal/crc32c.h"
#include "wal/record.h"
#include "wal/wal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_BYTES = 1024, SALT = 77, RECORDS_MAX = 64 };

struct log {
    uint8_t bytes[2][FILE_BYTES];
    size_t size[2];
    uint64_t lsns[RECORDS_MAX]; /* of the records of a sound log */
    size_t lengths[RECORDS_MAX];
    size_t record_count;
};

static const char *const names[2] = {"0000000000000000.wal", "0000000000000100.wal"};
enum { SECOND_LSN = 0x100 };

static void begin_file(struct log *log, int file)
{
    struct wal_segment_header header = {.first_lsn = file == 0 ? 0 : SECOND_LSN, .salt = SALT};
    wal_segment_header_encode(&header, log->bytes[file]);
    log->size[file] = WAL_SEGMENT_HEADER_BYTES;
}

static void add_record(struct log *log, int file, uint64_t group_lsn, size_t payload_bytes)
{
    uint64_t lsn = (file == 0 ? 0 : SECOND_LSN) + log->size[file] - WAL_SEGMENT_HEADER_BYTES;
    uint8_t *at = log->bytes[file] + log->size[file];
    memset(at + WAL_RECORD_HEADER_BYTES, (int)lsn | 1, payload_bytes);
    struct wal_record_header header = {
        .group_lsn = group_lsn,
        .payload_bytes = (uint32_t)payload_bytes,
        .payload_crc = wal_crc32c(0, at + WAL_RECORD_HEADER_BYTES, payload_bytes),
        .type = 1,
    };
    wal_record_header_encode(&header, SALT, lsn, at);
    log->size[file] += wal_record_bytes(payload_bytes);
    log->lsns[log->record_count] = lsn;
    log->lengths[log->record_count++] = payload_bytes;
}

static void make_sound(struct log *log)
{
    begin_file(log, 0);
    add_record(log, 0, 0, 40);   /* 64 bytes with its header, ends at LSN 64 */
    add_record(log, 0, 64, 100); /* 128, ends at 192 */
    add_record(log, 0, 64, 38);  /* 64, ends at 256 */
    begin_file(log, 1);
    add_record(log, 1, SECOND_LSN, 0);
    add_record(log, 1, SECOND_LSN + 24, 77);
    add_record(log, 1, SECOND_LSN + 24, 8);
    add_record(log, 1, SECOND_LSN + 24, 200);
}

static void change(struct log *log, const uint8_t *data, size_t size)
{
    for (; size >= 3; data += 3, size -= 3) {
        size_t position = (size_t)(data[0] | data[1] << 8) % (2 * FILE_BYTES);
        log->bytes[position / FILE_BYTES][position % FILE_BYTES] ^= data[2];
    }
    if (size == 2)
        log->size[data[0] & 1] = (size_t)data[1] * 4;
    if (size == 1)
        log->size[1] = FILE_BYTES;
}

/* Records of seven bytes of input each: what their header says of group, length, checksum and type. */
static void make_claims(struct log *log, const uint8_t *data, size_t size)
{
    make_sound(log);
    begin_file(log, 1);
    for (; size >= 7 && log->size[1] + 256 <= FILE_BYTES; data += 7, size -= 7) {
        uint64_t lsn = SECOND_LSN + log->size[1] - WAL_SEGMENT_HEADER_BYTES;
        struct wal_record_header header = {
            .group_lsn = SECOND_LSN + (uint64_t)data[0] * 8,
            .payload_bytes = (uint32_t)data[1] << (data[2] & 31),
            .payload_crc = data[3],
            .type = data[4],
        };
        wal_record_header_encode(&header, SALT, lsn, log->bytes[1] + log->size[1]);
        if (data[5] & 1) /* a length that is true */
            log->size[1] += (size_t)data[6] / 8 * 8;
        log->size[1] += WAL_RECORD_HEADER_BYTES;
    }
}

static void check_record(const struct log *log, const struct wal_record *record)
{
    for (size_t i = 0; i < log->record_count; i++)
        if (log->lsns[i] == record->lsn) {
            AP_ASSERT(record->payload.bytes == log->lengths[i]);
            for (size_t k = 0; k < record->payload.bytes; k++)
                AP_ASSERT((uint8_t)record->payload.data[k] == (uint8_t)(record->lsn | 1));
            return;
        }
    AP_ASSERT(!"a record that nobody wrote");
}

/* Reads all; *ret_rc is AP_E_TIMEOUT at the end. Returns the LSN after the last record. */
static uint64_t read_all(const struct log *log, struct wal *wal, bool is_sound, enum ap_rc *ret_rc)
{
    struct wal_cursor *cursor;
    struct ap_err err;
    enum ap_rc rc = wal_cursor_open(wal, "fuzz", 0, &cursor, &err);
    AP_ASSERT(rc == AP_OK);
    struct wal_record record;
    uint64_t lsn = 0;
    while ((*ret_rc = wal_cursor_next(cursor, 0, &record, &err)) == AP_OK) {
        AP_ASSERT(record.lsn == lsn && record.next_lsn > lsn);
        if (is_sound)
            check_record(log, &record);
        lsn = record.next_lsn;
    }
    AP_ASSERT(*ret_rc == AP_E_TIMEOUT || *ret_rc == AP_E_CORRUPT);
    wal_cursor_close(cursor);
    return lsn;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    static struct log log;
    memset(&log, 0, sizeof(log));
    bool is_sound = data[0] % 2 == 0;
    if (is_sound) {
        make_sound(&log);
        change(&log, data + 1, size - 1);
    } else {
        make_claims(&log, data + 1, size - 1);
    }
    struct disk *disk = disk_new(1);
    for (int i = 0; i < 2; i++)
        disk_put(disk, names[i], log.bytes[i], log.size[i]);
    struct wal_options options;
    wal_options_init(&options);
    options.fs = &disk->fs;
    options.segment_bytes = FILE_BYTES;
    options.record_bytes_max = 512;
    struct wal *wal;
    struct ap_err err;
    uint64_t cut_bytes;
    enum ap_rc rc = wal_open(1, &options, &wal, &cut_bytes, &err);
    if (rc == AP_OK) {
        uint64_t end_lsn = read_all(&log, wal, is_sound, &rc);
        uint64_t lsn = 0;
        AP_ASSERT(wal_append_sync(wal, 2, ap_slice("more", 4), &lsn, &err) == AP_OK);
        AP_ASSERT(rc == AP_E_CORRUPT || lsn == end_lsn);
        wal_close(wal);
        enum ap_rc again_rc = wal_open(1, &options, &wal, &cut_bytes, &err);
        AP_ASSERT(again_rc == AP_OK && cut_bytes == 0);
        uint64_t again_lsn = read_all(&log, wal, false, &again_rc);
        AP_ASSERT(again_rc == rc);
        AP_ASSERT(again_lsn == (rc == AP_E_CORRUPT ? end_lsn : end_lsn + wal_record_bytes(4)));
        wal_close(wal);
    } else {
        AP_ASSERT(rc == AP_E_CORRUPT);
    }
    disk_free(disk);
    return 0;
}
