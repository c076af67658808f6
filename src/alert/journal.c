#include "alert/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"
#include "os/fs.h"
#include "wal/crc32c.h"

enum entry_kind { ENTRY_ALERT = 1, ENTRY_REMOVAL, ENTRY_SILENCE, ENTRY_TOLD, ENTRY_LATE };

static const char magic[8] = "APIARYAL";
enum { HEADER_BYTES = 32, SNAPSHOT_BYTES_MAX = 1 << 30 };

/* ---- Writing ---- */

static void add_text(struct ap_buf *out, struct ap_slice text)
{
    ap_buf_add_varint(out, text.bytes);
    ap_buf_add_slice(out, text);
}

void journal_begin(struct ap_buf *out)
{
    ap_buf_add_char(out, JOURNAL_VERSION);
}

void journal_add_alert(struct ap_buf *out, const struct known_alert *alert)
{
    ap_buf_add_char(out, ENTRY_ALERT);
    add_text(out, alert->alert.labels);
    add_text(out, alert->alert.annotations);
    add_text(out, alert->alert.generator_url);
    ap_buf_add_u64(out, (uint64_t)alert->alert.starts_ms);
    ap_buf_add_u64(out, (uint64_t)alert->alert.ends_ms);
    ap_buf_add_u64(out, (uint64_t)alert->updated_ms);
    ap_buf_add_char(out, alert->is_timeout);
}

void journal_add_removal(struct ap_buf *out, const struct known_alert *alert)
{
    ap_buf_add_char(out, ENTRY_REMOVAL);
    add_text(out, alert->alert.labels);
}

void journal_add_silence(struct ap_buf *out, const struct silence *silence)
{
    ap_buf_add_char(out, ENTRY_SILENCE);
    ap_buf_add(out, silence->id, 36);
    ap_buf_add_u64(out, (uint64_t)silence->starts_ms);
    ap_buf_add_u64(out, (uint64_t)silence->ends_ms);
    ap_buf_add_u64(out, (uint64_t)silence->updated_ms);
    add_text(out, silence->created_by);
    add_text(out, silence->comment);
    ap_buf_add_varint(out, silence->matchers->count);
    for (size_t i = 0; i < silence->matchers->count; i++) {
        const struct matcher *matcher = silence->matchers->items[i];
        ap_buf_add_char(out, (char)matcher_kind_of(matcher));
        add_text(out, matcher_name(matcher));
        add_text(out, matcher_value(matcher));
    }
}

static void add_numbers(struct ap_buf *out, const uint64_t *numbers, size_t count)
{
    ap_buf_add_varint(out, count);
    for (size_t i = 0; i < count; i++)
        ap_buf_add_u64(out, numbers[i]);
}

void journal_add_told(struct ap_buf *out, const struct notify_entry *entry)
{
    ap_buf_add_char(out, ENTRY_TOLD);
    add_text(out, entry->key);
    add_numbers(out, entry->firing, entry->firing_count);
    add_numbers(out, entry->resolved, entry->resolved_count);
    ap_buf_add_u64(out, (uint64_t)entry->sent_ms);
    ap_buf_add_u64(out, (uint64_t)entry->expires_ms);
    add_text(out, ap_slice_cstr(entry->reference ? entry->reference : ""));
}

void journal_add_late(struct ap_buf *out, const struct notify_entry *entry)
{
    ap_buf_add_char(out, ENTRY_LATE);
    add_text(out, entry->key);
    ap_buf_add_u64(out, (uint64_t)entry->late_since_ms);
    ap_buf_add_u64(out, (uint64_t)entry->expires_ms);
}

/* ---- Reading ---- */

struct reading {
    struct ap_slice rest;
    bool is_bad;
};

static struct ap_slice take(struct reading *reading, uint64_t bytes)
{
    if (bytes > reading->rest.bytes) {
        reading->is_bad = true;
        return ap_slice("", 0);
    }
    struct ap_slice taken = ap_slice(reading->rest.data, (size_t)bytes);
    reading->rest = ap_slice(reading->rest.data + bytes, reading->rest.bytes - (size_t)bytes);
    return taken;
}

static uint64_t take_varint(struct reading *reading)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        struct ap_slice byte = take(reading, 1);
        if (byte.bytes == 0)
            return 0;
        value |= (uint64_t)((uint8_t)byte.data[0] & 0x7f) << shift;
        if ((uint8_t)byte.data[0] < 0x80)
            return value;
    }
    reading->is_bad = true;
    return 0;
}

static int64_t take_time(struct reading *reading)
{
    struct ap_slice bytes = take(reading, 8);
    int64_t value = 0;
    if (bytes.bytes == 8)
        memcpy(&value, bytes.data, sizeof(value));
    return value;
}

static struct ap_slice take_text(struct reading *reading)
{
    return take(reading, take_varint(reading));
}

static void read_alert(struct reading *reading, const struct journal_state *state)
{
    struct alert_in in = {0};
    struct ap_err err;
    in.labels = take_text(reading);
    in.annotations = take_text(reading);
    in.generator_url = take_text(reading);
    in.starts_ms = take_time(reading);
    in.ends_ms = take_time(reading);
    int64_t updated_ms = take_time(reading);
    struct ap_slice is_timeout = take(reading, 1);
    if (!reading->is_bad && labels_check(in.labels, &err) != AP_OK)
        reading->is_bad = true;
    if (!reading->is_bad)
        (void)alert_set_restore(state->alerts, &in, updated_ms, is_timeout.data[0] != 0);
}

static void read_removal(struct reading *reading, const struct journal_state *state)
{
    struct ap_slice labels = take_text(reading);
    if (reading->is_bad)
        return;
    struct known_alert *alert = alert_set_find(state->alerts, labels_hash_of(state->alerts->seed, labels));
    if (alert)
        alert_set_remove(state->alerts, alert);
}

static void read_silence(struct reading *reading, const struct journal_state *state)
{
    struct matchers matchers = {0};
    struct silence silence = {.matchers = &matchers};
    struct ap_err err;
    struct ap_slice id = take(reading, 36);
    if (!reading->is_bad)
        memcpy(silence.id, id.data, 36);
    silence.starts_ms = take_time(reading);
    silence.ends_ms = take_time(reading);
    silence.updated_ms = take_time(reading);
    silence.created_by = take_text(reading);
    silence.comment = take_text(reading);
    uint64_t count = take_varint(reading);
    reading->is_bad |= count > MATCHERS_MAX;
    for (uint64_t i = 0; i < count && !reading->is_bad; i++) {
        struct ap_slice kind = take(reading, 1);
        struct ap_slice name = take_text(reading);
        struct ap_slice value = take_text(reading);
        if (reading->is_bad || (uint8_t)kind.data[0] > MATCHER_NOT_REGEX ||
            matcher_new((enum matcher_kind)kind.data[0], name, value, &matchers.items[matchers.count], &err) != AP_OK)
            reading->is_bad = true;
        else
            matchers.count++;
    }
    if (!reading->is_bad && silence_set_restore(state->silences, &silence, &err) != AP_OK)
        reading->is_bad = true;
    matchers_clear(&matchers);
}

static uint64_t *take_numbers(struct reading *reading, size_t *ret_count)
{
    uint64_t count = take_varint(reading);
    *ret_count = 0;
    if (count > reading->rest.bytes / 8) {
        reading->is_bad = true;
        return NULL;
    }
    uint64_t *numbers = ap_new0_array(uint64_t, (size_t)count + 1);
    for (; *ret_count < count; (*ret_count)++)
        numbers[*ret_count] = (uint64_t)take_time(reading);
    return numbers;
}

static void read_told(struct reading *reading, const struct journal_state *state)
{
    struct notify_entry *entry = notify_entry_new(take_text(reading));
    entry->firing = take_numbers(reading, &entry->firing_count);
    entry->resolved = take_numbers(reading, &entry->resolved_count);
    entry->sent_ms = take_time(reading);
    entry->expires_ms = take_time(reading);
    struct ap_slice reference = take_text(reading);
    reading->is_bad |= reference.bytes >= sizeof(((struct delivery *)0)->reference);
    entry->reference = !reading->is_bad && reference.bytes ? ap_slice_dup(reference) : NULL;
    if (reading->is_bad)
        notify_entry_free(entry);
    else
        notify_log_set(state->log, entry);
}

static void read_late(struct reading *reading, const struct journal_state *state)
{
    struct ap_slice key = take_text(reading);
    int64_t since_ms = take_time(reading);
    int64_t expires_ms = take_time(reading);
    if (!reading->is_bad)
        (void)notify_log_set_late(state->log, key, since_ms, expires_ms);
}

enum ap_rc journal_read(struct ap_slice bytes, const struct journal_state *state, struct ap_err *err)
{
    struct reading reading = {.rest = bytes};
    struct ap_slice version = take(&reading, 1);
    if (reading.is_bad || version.data[0] < 1 || version.data[0] > JOURNAL_VERSION)
        return ap_fail(err, AP_E_CORRUPT, "a record of alerting is empty or of a newer version");
    while (reading.rest.bytes && !reading.is_bad) {
        switch ((enum entry_kind)take(&reading, 1).data[0]) {
        case ENTRY_ALERT:
            read_alert(&reading, state);
            break;
        case ENTRY_REMOVAL:
            read_removal(&reading, state);
            break;
        case ENTRY_SILENCE:
            read_silence(&reading, state);
            break;
        case ENTRY_TOLD:
            read_told(&reading, state);
            break;
        case ENTRY_LATE:
            read_late(&reading, state);
            break;
        default:
            reading.is_bad = true;
            break;
        }
    }
    return reading.is_bad ? ap_fail(err, AP_E_CORRUPT, "a record of alerting is malformed") : AP_OK;
}

/* ---- The snapshot ---- */

enum ap_rc journal_save(int dir_fd, struct ap_slice bytes, uint64_t lsn, struct ap_err *err)
{
    const struct os_fs *fs = &os_fs_system;
    AP_AUTO_BUF struct ap_buf header = {0};
    ap_buf_add(&header, magic, sizeof(magic));
    ap_buf_add_u32(&header, JOURNAL_VERSION);
    ap_buf_add_u32(&header, wal_crc32c(0, bytes.data, bytes.bytes));
    ap_buf_add_u64(&header, lsn);
    ap_buf_add_u64(&header, bytes.bytes);
    int fd = fs->open(fs->context, dir_fd, "snapshot.new", O_WRONLY | O_CREAT | O_TRUNC, 0640);
    if (fd < 0)
        return ap_fail_errno(err, -fd, "make alerting/snapshot.new");
    struct iovec parts[] = {{header.data, header.bytes}, {(void *)bytes.data, bytes.bytes}};
    enum ap_rc rc = os_write_all(fs, fd, parts, 2, 0, "alerting/snapshot.new", err);
    int result = rc == AP_OK ? fs->datasync(fs->context, fd) : 0;
    fs->close(fs->context, fd);
    if (rc == AP_OK && result == 0)
        result = fs->rename(fs->context, dir_fd, "snapshot.new", "snapshot");
    if (rc == AP_OK && result == 0)
        result = fs->sync_dir(fs->context, dir_fd);
    return result ? ap_fail_errno(err, -result, "write alerting/snapshot") : rc;
}

enum ap_rc journal_load(int dir_fd, struct ap_buf *out, uint64_t *ret_lsn, struct ap_err *err)
{
    const struct os_fs *fs = &os_fs_system;
    char header[HEADER_BYTES];
    uint64_t size = 0;
    int fd = fs->open(fs->context, dir_fd, "snapshot", O_RDONLY, 0);
    if (fd < 0)
        return ap_fail_errno(err, -fd, "open alerting/snapshot");
    int result = fs->size(fs->context, fd, &size);
    enum ap_rc rc = result ? ap_fail_errno(err, -result, "size of alerting/snapshot") : AP_OK;
    if (rc == AP_OK && (size < HEADER_BYTES || size > SNAPSHOT_BYTES_MAX))
        rc = ap_fail(err, AP_E_CORRUPT, "alerting/snapshot has %" PRIu64 " bytes, which none has", size);
    if (rc == AP_OK)
        rc = os_read_all(fs, fd, header, sizeof(header), 0, "alerting/snapshot", err);
    size_t bytes = (size_t)size - HEADER_BYTES;
    char *to = rc == AP_OK ? ap_buf_reserve(out, bytes + 1) : NULL;
    if (rc == AP_OK)
        rc = os_read_all(fs, fd, to, bytes, HEADER_BYTES, "alerting/snapshot", err);
    fs->close(fs->context, fd);
    if (rc != AP_OK)
        return rc;
    uint32_t version, crc;
    uint64_t told_bytes;
    memcpy(&version, header + 8, sizeof(version));
    memcpy(&crc, header + 12, sizeof(crc));
    memcpy(ret_lsn, header + 16, sizeof(*ret_lsn));
    memcpy(&told_bytes, header + 24, sizeof(told_bytes));
    if (memcmp(header, magic, sizeof(magic)) != 0 || version < 1 || version > JOURNAL_VERSION || told_bytes != bytes ||
        crc != wal_crc32c(0, to, bytes))
        return ap_fail(err, AP_E_CORRUPT, "alerting/snapshot is damaged, or of a newer version");
    out->bytes += bytes;
    return AP_OK;
}
