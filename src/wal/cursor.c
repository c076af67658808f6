#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "wal/wal_internal.h"

struct wal_cursor {
    struct wal *wal;     /* outlives the cursor */
    struct wal_pin *pin; /* the wal's */
    struct wal_reader reader;
    uint64_t next_lsn;
    uint64_t limit_lsn; /* all below is durable and in the reader's segment */
};

static struct wal_pin *find_pin_locked(struct wal *wal, const char *name)
{
    struct wal_pin *pin = wal->pins;
    while (pin && strcmp(pin->name, name) != 0)
        pin = pin->next;
    return pin;
}

/* Sets released_lsn to what the slowest reader has released. */
static void update_released_locked(struct wal *wal)
{
    uint64_t released_lsn = UINT64_MAX;
    for (const struct wal_pin *pin = wal->pins; pin; pin = pin->next)
        released_lsn = AP_MIN(released_lsn, pin->released_lsn);
    atomic_store(&wal->released_lsn, released_lsn);
}

static enum ap_rc open_pin_locked(struct wal *wal, const char *name, uint64_t lsn, struct wal_pin **ret_pin,
                                  struct ap_err *err)
{
    const struct wal_segment *oldest = wal->segments;
    while (oldest && oldest->is_removing)
        oldest = oldest->next;
    uint64_t durable_lsn = atomic_load(&wal->durable_lsn);
    uint64_t oldest_lsn = oldest ? oldest->header.first_lsn : durable_lsn;
    if (lsn > durable_lsn)
        return ap_fail(err, AP_E_CONFLICT,
                       "%s has read the log up to %" PRIu64 ", but the log ends at %" PRIu64
                       ": it is not the log that belongs to this store",
                       name, lsn, durable_lsn);
    if (lsn < oldest_lsn)
        return ap_fail(err, AP_E_NOT_FOUND, "%s wants the log from %" PRIu64 " on, but it begins at %" PRIu64, name,
                       lsn, oldest_lsn);
    struct wal_pin *pin = find_pin_locked(wal, name);
    if (pin && pin->is_open)
        return ap_fail(err, AP_E_CONFLICT, "a log cursor named %s is already open", name);
    if (!pin) {
        pin = ap_new0(struct wal_pin);
        snprintf(pin->name, sizeof(pin->name), "%s", name);
        pin->next = wal->pins;
        wal->pins = pin;
    }
    pin->is_open = true;
    pin->released_lsn = lsn;
    atomic_store(&pin->next_lsn, lsn);
    update_released_locked(wal);
    *ret_pin = pin;
    return AP_OK;
}

enum ap_rc wal_cursor_open(struct wal *wal, const char *name, uint64_t lsn, struct wal_cursor **ret_cursor,
                           struct ap_err *err)
{
    AP_ASSERT(strlen(name) < WAL_CURSOR_NAME_BYTES);
    struct wal_pin *pin = NULL;
    pthread_mutex_lock(&wal->state_mtx);
    enum ap_rc rc = open_pin_locked(wal, name, lsn, &pin, err);
    pthread_mutex_unlock(&wal->state_mtx);
    if (rc != AP_OK)
        return rc;
    struct wal_cursor *cursor = ap_new0(struct wal_cursor);
    *cursor = (struct wal_cursor){.wal = wal, .pin = pin, .next_lsn = lsn, .limit_lsn = lsn};
    wal_reader_init(&cursor->reader, wal->options.fs);
    *ret_cursor = cursor;
    return AP_OK;
}

void wal_cursor_close(struct wal_cursor *cursor)
{
    if (!cursor)
        return;
    pthread_mutex_lock(&cursor->wal->state_mtx);
    cursor->pin->is_open = false;
    pthread_mutex_unlock(&cursor->wal->state_mtx);
    wal_reader_clear(&cursor->reader);
    free(cursor);
}

/* Waits for a durable record at next_lsn. *ret_header: the segment it is in; *ret_limit_lsn: how far to read in that.
 */
static enum ap_rc wait_durable(struct wal_cursor *cursor, int64_t timeout_ms, struct wal_segment_header *ret_header,
                               uint64_t *ret_limit_lsn, struct ap_err *err)
{
    struct wal *wal = cursor->wal;
    enum ap_rc rc = AP_OK;
    int64_t deadline_us = timeout_ms == 0 ? 0 : os_deadline_us(timeout_ms);
    pthread_mutex_lock(&wal->state_mtx);
    bool is_late = timeout_ms == 0;
    while (atomic_load(&wal->durable_lsn) <= cursor->next_lsn && !wal->is_stopped && !is_late) {
        wal->waiter_count++;
        is_late = !os_cond_wait_until(&wal->durable_cond, &wal->state_mtx, deadline_us);
        wal->waiter_count--;
    }
    if (atomic_load(&wal->durable_lsn) > cursor->next_lsn) {
        const struct wal_segment *segment = wal->segments;
        while (wal_segment_end_locked(wal, segment) <= cursor->next_lsn)
            segment = segment->next;                              /* the last one ends at durable_lsn */
        AP_ASSERT(segment->header.first_lsn <= cursor->next_lsn); /* pinned */
        *ret_header = segment->header;
        *ret_limit_lsn = wal_segment_end_locked(wal, segment);
    } else if (wal->is_stopped) {
        rc = ap_fail(err, AP_E_BUSY, "the log has stopped");
    } else {
        rc = ap_fail(err, AP_E_TIMEOUT, "no record came within %" PRId64 " ms", timeout_ms);
    }
    pthread_mutex_unlock(&wal->state_mtx);
    return rc;
}

static enum ap_rc enter_segment(struct wal_cursor *cursor, const struct wal_segment_header *header, struct ap_err *err)
{
    struct wal_reader *reader = &cursor->reader;
    if (reader->fd >= 0 && reader->segment.first_lsn == header->first_lsn && reader->segment.salt == header->salt)
        return AP_OK;
    struct wal_segment_header found;
    int fd;
    enum ap_rc rc =
        wal_segment_open(cursor->wal->options.fs, cursor->wal->dir_fd, header->first_lsn, O_RDONLY, &found, &fd, err);
    if (rc != AP_OK)
        return rc;
    wal_reader_set_segment(reader, fd, &found);
    return AP_OK;
}

enum ap_rc wal_cursor_next(struct wal_cursor *cursor, int64_t timeout_ms, struct wal_record *ret_record,
                           struct ap_err *err)
{
    if (cursor->next_lsn == cursor->limit_lsn) {
        struct wal_segment_header header = {0};
        uint64_t limit_lsn = 0;
        enum ap_rc rc = wait_durable(cursor, timeout_ms, &header, &limit_lsn, err);
        if (rc == AP_OK)
            rc = enter_segment(cursor, &header, err);
        if (rc != AP_OK)
            return rc;
        cursor->limit_lsn = limit_lsn;
    }
    enum ap_rc rc = wal_reader_next(&cursor->reader, cursor->next_lsn, cursor->limit_lsn, ret_record, err);
    if (rc != AP_OK)
        return rc;
    cursor->next_lsn = ret_record->next_lsn;
    atomic_store_explicit(&cursor->pin->next_lsn, cursor->next_lsn, memory_order_relaxed);
    return AP_OK;
}

/* The oldest segment, when nobody needs it, marked so that no cursor opens in it. NULL: none. */
static struct wal_segment *begin_removal(struct wal *wal)
{
    pthread_mutex_lock(&wal->state_mtx);
    struct wal_segment *segment = wal->segments;
    if (segment && segment->next && segment->next->header.first_lsn <= atomic_load(&wal->released_lsn))
        segment->is_removing = true;
    else
        segment = NULL; /* the last one stays in any case: it knows where the log has got to */
    pthread_mutex_unlock(&wal->state_mtx);
    return segment;
}

static enum ap_rc unlink_segment(struct wal *wal, const struct wal_segment *segment, struct ap_err *err)
{
    const struct os_fs *fs = wal->options.fs;
    char name[WAL_SEGMENT_NAME_BYTES];
    wal_segment_name(segment->header.first_lsn, name);
    int result = fs->unlink(fs->context, wal->dir_fd, name);
    if (result < 0 && result != -ENOENT)
        return ap_fail_errno(err, -result, "remove log segment %s", name);
    /* One by one: if the younger of two vanished first in a crash, the log would have a hole. */
    result = fs->sync_dir(fs->context, wal->dir_fd);
    if (result < 0)
        return ap_fail_errno(err, -result, "sync the log's directory after removing %s", name);
    return AP_OK;
}

static void remove_released(struct wal *wal)
{
    pthread_mutex_lock(&wal->remove_mtx);
    struct wal_segment *segment;
    while ((segment = begin_removal(wal)) != NULL) {
        struct ap_err err;
        enum ap_rc rc = unlink_segment(wal, segment, &err);
        pthread_mutex_lock(&wal->state_mtx);
        if (rc == AP_OK) {
            wal->segments = segment->next;
            wal->stats.removed_segments++;
        } else {
            wal_note_error_locked(wal, &err);
        }
        pthread_mutex_unlock(&wal->state_mtx);
        if (rc != AP_OK)
            break;
        free(segment);
    }
    pthread_mutex_unlock(&wal->remove_mtx);
}

void wal_cursor_release(struct wal_cursor *cursor, uint64_t lsn)
{
    struct wal *wal = cursor->wal;
    AP_ASSERT(lsn <= atomic_load(&wal->durable_lsn)); /* a reader that only holds the log back need not read it */
    pthread_mutex_lock(&wal->state_mtx);
    cursor->pin->released_lsn = AP_MAX(cursor->pin->released_lsn, lsn);
    update_released_locked(wal);
    const struct wal_segment *oldest = wal->segments;
    bool has_work = oldest && oldest->next && oldest->next->header.first_lsn <= atomic_load(&wal->released_lsn);
    pthread_mutex_unlock(&wal->state_mtx);
    if (has_work)
        remove_released(wal);
}
