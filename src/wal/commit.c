/*
 * The commit thread: takes all tickets that wait, writes them with one pwritev(), makes them durable with one
 * fdatasync(), then calls their done().
 *
 * After any failed write or sync the segment is given up at its last durable record, and the next group begins a new
 * file. There is one way out of trouble, whatever the trouble was: a file whose pages the kernel may have dropped is
 * never trusted again (a second fsync would report success), half-written records have no chance to be continued, and a
 * full disk is asked anew with every group, so that the log recovers by itself when space returns.
 */
#include "base/assert.h"
#include "wal/wal_internal.h"

/* A longer slice is handed to the kernel where it lies; copying a shorter one is cheaper than another iovec. */
enum { LENT_BYTES_MIN = 32 * 1024 };

/* So that one group does not keep all clients waiting for long. */
enum { GROUP_BYTES_MAX = 8 * 1024 * 1024 };

struct group {
    struct wal_ticket *first;
    struct wal_ticket *end; /* first ticket behind the group; NULL: none */
    uint64_t count;
    uint64_t bytes;
    size_t staged_bytes;
    int part_count;
    bool is_last_part_staged;
};

static uint64_t active_used_bytes(const struct wal *wal)
{
    return WAL_SEGMENT_HEADER_BYTES + (wal->next_lsn - wal->active.first_lsn);
}

/* Closes the active segment and gives back what is behind its last durable record. */
static void drop_active(struct wal *wal, bool is_suspect)
{
    const struct os_fs *fs = wal->options.fs;
    /*
     * Failing here is harmless: readers stop at the next segment's first LSN. Only if the machine dies before there is
     * one might recovery find a record of the failed group, for which nobody got a success.
     */
    if (fs->truncate(fs->context, wal->active_fd, active_used_bytes(wal)) == 0 && is_suspect)
        (void)fs->datasync(fs->context, wal->active_fd);
    fs->close(fs->context, wal->active_fd);
    wal->active_fd = -1;
}

/* An active segment with room for `record_bytes`. */
static enum ap_rc ensure_segment(struct wal *wal, uint64_t record_bytes, struct ap_err *err)
{
    if (wal->active_fd >= 0 && active_used_bytes(wal) + record_bytes <= wal->options.segment_bytes)
        return AP_OK;
    if (wal->active_fd >= 0)
        drop_active(wal, false);
    struct wal_segment_header header = {.first_lsn = wal->next_lsn, .salt = ap_random_u64(&wal->random)};
    int fd;
    enum ap_rc rc = wal_segment_create(wal->options.fs, wal->dir_fd, &header, wal->options.segment_bytes, &fd, err);
    if (rc != AP_OK)
        return rc;
    wal->active_fd = fd;
    wal->active = header;
    wal->zeroed_bytes = WAL_SEGMENT_HEADER_BYTES;
    pthread_mutex_lock(&wal->state_mtx);
    wal_add_segment_locked(wal, &header);
    pthread_mutex_unlock(&wal->state_mtx);
    return AP_OK;
}

static void add_part(struct wal *wal, struct group *group, const void *data, size_t bytes, bool is_staged)
{
    if (is_staged && group->is_last_part_staged) {
        wal->parts[group->part_count - 1].iov_len += bytes; /* staged bytes lie side by side */
        return;
    }
    AP_ASSERT(group->part_count < WAL_GROUP_PARTS_MAX);
    wal->parts[group->part_count++] = (struct iovec){.iov_base = (void *)data, .iov_len = bytes};
    group->is_last_part_staged = is_staged;
}

static void add_staged(struct wal *wal, struct group *group, const void *data, size_t bytes)
{
    if (bytes == 0)
        return;
    char *to = wal->staging + group->staged_bytes;
    memcpy(to, data, bytes);
    group->staged_bytes += bytes;
    add_part(wal, group, to, bytes, true);
}

static bool group_has_room(const struct wal *wal, const struct group *group, const struct wal_ticket *ticket)
{
    uint64_t bytes = group->bytes + wal_record_bytes(ticket->payload_bytes);
    size_t staged_bytes_max =
        group->staged_bytes + WAL_RECORD_HEADER_BYTES + WAL_ALIGN_BYTES + WAL_TICKET_SLICES_MAX * LENT_BYTES_MIN;
    int parts_max = group->part_count + 2 * WAL_TICKET_SLICES_MAX + 2 + 1; /* and the zeros at the end */
    return active_used_bytes(wal) + bytes <= wal->options.segment_bytes &&
           (group->count == 0 || bytes <= GROUP_BYTES_MAX) && staged_bytes_max <= WAL_STAGING_BYTES &&
           parts_max <= WAL_GROUP_PARTS_MAX;
}

static void group_add(struct wal *wal, struct group *group, const struct wal_ticket *ticket)
{
    static const char padding[WAL_ALIGN_BYTES] = {0};
    struct wal_record_header header = {
        .group_lsn = wal->next_lsn,
        .payload_bytes = ticket->payload_bytes,
        .payload_crc = ticket->payload_crc,
        .type = ticket->type,
    };
    uint8_t header_bytes[WAL_RECORD_HEADER_BYTES];
    wal_record_header_encode(&header, wal->active.salt, wal->next_lsn + group->bytes, header_bytes);
    add_staged(wal, group, header_bytes, sizeof(header_bytes));
    for (unsigned i = 0; i < ticket->slice_count; i++) {
        struct ap_slice slice = ticket->slices[i];
        if (slice.bytes >= LENT_BYTES_MIN)
            add_part(wal, group, slice.data, slice.bytes, false);
        else
            add_staged(wal, group, slice.data, slice.bytes);
    }
    uint64_t record_bytes = wal_record_bytes(ticket->payload_bytes);
    add_staged(wal, group, padding, record_bytes - WAL_RECORD_HEADER_BYTES - ticket->payload_bytes);
    group->bytes += record_bytes;
    group->count++;
}

/*
 * Preallocated blocks are marked as unwritten, and the first write to each changes that mark in the file's metadata,
 * which fdatasync() then has to write as well. Zeros written a megabyte ahead move this cost to one group in many: it
 * doubled the syncs per second where it was measured (ext4, 21 KB groups).
 */
static void group_add_zeros(struct wal *wal, struct group *group, uint64_t *ret_zeroed_bytes)
{
    uint64_t end_bytes = active_used_bytes(wal) + group->bytes;
    *ret_zeroed_bytes = wal->zeroed_bytes;
    if (end_bytes <= wal->zeroed_bytes)
        return;
    uint64_t zero_bytes = AP_MIN(wal->options.segment_bytes - end_bytes, (uint64_t)WAL_ZERO_BYTES);
    *ret_zeroed_bytes = end_bytes + zero_bytes;
    if (zero_bytes > 0)
        add_part(wal, group, wal->zeros, zero_bytes, false);
}

static enum ap_rc write_group(struct wal *wal, struct group *group, struct ap_err *err)
{
    char name[WAL_SEGMENT_NAME_BYTES];
    wal_segment_name(wal->active.first_lsn, name);
    uint64_t zeroed_bytes;
    group_add_zeros(wal, group, &zeroed_bytes);
    const struct os_fs *fs = wal->options.fs;
    enum ap_rc rc = os_write_all(fs, wal->active_fd, wal->parts, group->part_count, active_used_bytes(wal), name, err);
    if (rc != AP_OK)
        return rc;
    int result = fs->datasync(fs->context, wal->active_fd);
    if (result < 0)
        return ap_fail_errno(err, -result, "sync log segment %s", name);
    wal->zeroed_bytes = zeroed_bytes;
    return AP_OK;
}

static void publish(struct wal *wal, const struct group *group, int64_t took_us)
{
    wal->next_lsn += group->bytes;
    pthread_mutex_lock(&wal->state_mtx);
    atomic_store(&wal->durable_lsn, wal->next_lsn);
    struct wal_stats *stats = &wal->stats;
    stats->appended_records += group->count;
    stats->appended_bytes += group->bytes;
    stats->appended_groups++;
    stats->syncs++;
    stats->sync_us += (uint64_t)took_us;
    stats->group_records_max = AP_MAX(stats->group_records_max, group->count);
    stats->is_failing = false;
    if (wal->waiter_count > 0)
        pthread_cond_broadcast(&wal->durable_cond);
    pthread_mutex_unlock(&wal->state_mtx);
}

/* Callers are told to retry later or that the disk failed; which system call said so is in the statistics. */
static enum ap_rc failure_rc(const struct ap_err *err)
{
    return err->rc == AP_E_FULL ? AP_E_FULL : AP_E_IO;
}

static void publish_failure(struct wal *wal, uint64_t ticket_count, const struct ap_err *err)
{
    pthread_mutex_lock(&wal->state_mtx);
    wal->stats.failed_records += ticket_count;
    if (err->rc == AP_E_FULL)
        wal->stats.failed_full++;
    else
        wal->stats.failed_io++;
    wal->stats.is_failing = true;
    wal_note_error_locked(wal, err);
    pthread_mutex_unlock(&wal->state_mtx);
    wal->break_rc = failure_rc(err);
    atomic_fetch_add(&wal->break_count, 1);
}

/* Calls done() of all tickets before `end`; each may free its ticket. */
static void finish(struct wal *wal, struct wal_ticket *first, const struct wal_ticket *end, enum ap_rc rc, uint64_t lsn)
{
    uint64_t queued_bytes = 0;
    for (const struct wal_ticket *ticket = first; ticket != end; ticket = ticket->next)
        queued_bytes += wal_record_bytes(ticket->payload_bytes);
    pthread_mutex_lock(&wal->queue_mtx);
    AP_ASSERT(queued_bytes <= wal->queued_bytes);
    wal->queued_bytes -= queued_bytes;
    pthread_mutex_unlock(&wal->queue_mtx);
    while (first != end) {
        struct wal_ticket *next = first->next;
        uint64_t record_bytes = wal_record_bytes(first->payload_bytes);
        first->done(first, rc, rc == AP_OK ? lsn : 0);
        lsn += record_bytes;
        first = next;
    }
    if (wal->options.group_done)
        wal->options.group_done(wal->options.group_context);
}

static void fail_tickets(struct wal *wal, struct wal_ticket *first, struct wal_ticket *end, const struct ap_err *err)
{
    uint64_t count = 0;
    for (const struct wal_ticket *ticket = first; ticket != end; ticket = ticket->next)
        count++;
    publish_failure(wal, count, err);
    finish(wal, first, end, failure_rc(err), 0);
}

bool wal_is_broken(const struct wal *wal, const struct wal_ticket *ticket)
{
    return ticket->is_chained && ticket->break_count != atomic_load_explicit(&wal->break_count, memory_order_relaxed);
}

/* Commits as many of the tickets as one group takes; returns the rest. */
static struct wal_ticket *commit_group(struct wal *wal, struct wal_ticket *first)
{
    struct ap_err err = {0};
    if (wal_is_broken(wal, first)) {
        struct wal_ticket *next = first->next;
        pthread_mutex_lock(&wal->state_mtx);
        wal->stats.failed_records++;
        pthread_mutex_unlock(&wal->state_mtx);
        finish(wal, first, next, wal->break_rc, 0);
        return next;
    }
    int64_t start_us = ap_clock_monotonic_us(wal->options.clock);
    if (ensure_segment(wal, wal_record_bytes(first->payload_bytes), &err) != AP_OK) {
        fail_tickets(wal, first, NULL, &err); /* all that wait: asking again for each would find the same */
        return NULL;
    }
    struct group group = {.first = first, .end = first};
    for (; group.end && group_has_room(wal, &group, group.end) && !wal_is_broken(wal, group.end);
         group.end = group.end->next)
        group_add(wal, &group, group.end);
    AP_ASSERT(group.count > 0);
    if (write_group(wal, &group, &err) != AP_OK) {
        drop_active(wal, true);
        fail_tickets(wal, first, group.end, &err);
        return group.end;
    }
    uint64_t lsn = wal->next_lsn;
    publish(wal, &group, ap_clock_monotonic_us(wal->options.clock) - start_us);
    finish(wal, first, group.end, AP_OK, lsn);
    return group.end;
}

/* Until something has to be written, or the log stops. */
static void wait_locked(struct wal *wal)
{
    while (!wal->is_stopping && !(wal->queue_first && wal->is_urgent)) {
        wal->is_idle = true;
        if (!wal->queue_first)
            pthread_cond_wait(&wal->queue_cond, &wal->queue_mtx);
        else if (!os_cond_wait_until(&wal->queue_cond, &wal->queue_mtx, wal->patient_until_us))
            wal->is_urgent = true;
    }
    wal->is_idle = wal->is_urgent = false;
}

/* All tickets that wait, in order; NULL when the log stops and none is left. */
static struct wal_ticket *take_queue(struct wal *wal)
{
    pthread_mutex_lock(&wal->queue_mtx);
    wait_locked(wal);
    struct wal_ticket *first = wal->queue_first;
    wal->queue_first = NULL;
    wal->queue_tail = &wal->queue_first;
    pthread_mutex_unlock(&wal->queue_mtx);
    return first;
}

void *wal_commit_main(void *context)
{
    struct wal *wal = context;
    struct wal_ticket *tickets;
    while ((tickets = take_queue(wal)) != NULL)
        while (tickets)
            tickets = commit_group(wal, tickets);
    return NULL;
}
