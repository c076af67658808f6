#include "wal/wal.h"

#include <inttypes.h>
#include <semaphore.h>
#include <stdio.h>

#include "base/assert.h"
#include "wal/crc32c.h"
#include "wal/wal_internal.h"

void wal_options_init(struct wal_options *options)
{
    *options = (struct wal_options){
        .segment_bytes = UINT64_C(64) << 20,
        .bytes_max = UINT64_C(4) << 30,
        .queue_bytes_max = UINT64_C(64) << 20,
        .record_bytes_max = UINT32_C(32) << 20,
        .patience_ms = 50,
        .fs = &os_fs_system,
        .clock = &ap_clock_system,
    };
}

static enum ap_rc check_options(const struct wal_options *options, struct ap_err *err)
{
    uint64_t longest_bytes = wal_record_bytes(options->record_bytes_max);
    if (WAL_SEGMENT_HEADER_BYTES + longest_bytes > options->segment_bytes)
        return ap_fail(err, AP_E_LIMIT,
                       "the log's segments (%" PRIu64 " bytes) are too small for its records (%" PRIu32 " bytes)",
                       options->segment_bytes, options->record_bytes_max);
    if (longest_bytes > options->bytes_max)
        return ap_fail(err, AP_E_LIMIT,
                       "the log's size limit (%" PRIu64 " bytes) is below that of one record (%" PRIu32 " bytes)",
                       options->bytes_max, options->record_bytes_max);
    return AP_OK;
}

static struct wal *wal_new(int dir_fd, const struct wal_options *options)
{
    struct wal *wal = ap_new0(struct wal);
    wal->options = *options;
    wal->dir_fd = dir_fd;
    wal->active_fd = -1;
    ap_random_init(&wal->random, ap_random_system_seed());
    wal->staging = ap_alloc0(1, WAL_STAGING_BYTES);
    wal->zeros = ap_alloc0(1, WAL_ZERO_BYTES);
    wal->queue_tail = &wal->queue_first;
    pthread_mutex_init(&wal->queue_mtx, NULL);
    pthread_mutex_init(&wal->state_mtx, NULL);
    pthread_mutex_init(&wal->remove_mtx, NULL);
    os_cond_init(&wal->queue_cond);
    os_cond_init(&wal->durable_cond);
    return wal;
}

enum ap_rc wal_open(int dir_fd, const struct wal_options *options, struct wal **ret_wal, uint64_t *ret_cut_bytes,
                    struct ap_err *err)
{
    enum ap_rc rc = check_options(options, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO(wal) struct wal *wal = wal_new(dir_fd, options);
    uint64_t cut_bytes;
    rc = wal_recover(wal, &cut_bytes, err);
    if (rc != AP_OK)
        return rc;
    rc = os_thread_start("wal-commit", wal_commit_main, wal, &wal->commit_thread, err);
    if (rc != AP_OK)
        return rc;
    wal->has_commit_thread = true;
    *ret_cut_bytes = cut_bytes;
    *ret_wal = AP_MOVE(wal);
    return AP_OK;
}

void wal_stop(struct wal *wal)
{
    pthread_mutex_lock(&wal->queue_mtx);
    wal->is_stopping = true;
    pthread_cond_signal(&wal->queue_cond);
    pthread_mutex_unlock(&wal->queue_mtx);
    if (wal->has_commit_thread)
        pthread_join(wal->commit_thread, NULL);
    wal->has_commit_thread = false;
    pthread_mutex_lock(&wal->state_mtx);
    wal->is_stopped = true;
    pthread_cond_broadcast(&wal->durable_cond);
    pthread_mutex_unlock(&wal->state_mtx);
}

void wal_close(struct wal *wal)
{
    if (!wal)
        return;
    wal_stop(wal);
    while (wal->pins) {
        struct wal_pin *pin = wal->pins;
        AP_ASSERT(!pin->is_open);
        wal->pins = pin->next;
        free(pin);
    }
    while (wal->segments) {
        struct wal_segment *segment = wal->segments;
        wal->segments = segment->next;
        free(segment);
    }
    if (wal->active_fd >= 0)
        wal->options.fs->close(wal->options.fs->context, wal->active_fd);
    pthread_cond_destroy(&wal->durable_cond);
    pthread_cond_destroy(&wal->queue_cond);
    pthread_mutex_destroy(&wal->remove_mtx);
    pthread_mutex_destroy(&wal->state_mtx);
    pthread_mutex_destroy(&wal->queue_mtx);
    free(wal->zeros);
    free(wal->staging);
    free(wal);
}

/*
 * The commit thread has to know when there is something to be written now, and when the first comes that can wait. In a
 * queue that is half full nothing waits.
 */
static bool note_urgency_locked(struct wal *wal, const struct wal_ticket *ticket)
{
    bool is_first = !wal->queue_first;
    bool was_urgent = wal->is_urgent;
    wal->is_urgent |= !ticket->can_wait || wal->queued_bytes > wal->options.queue_bytes_max / 2;
    if (is_first)
        wal->patient_until_us = os_deadline_us(wal->options.patience_ms);
    return is_first || wal->is_urgent != was_urgent;
}

/* *ret_must_wake: the commit thread sleeps, and nobody has woken it yet. */
static enum ap_rc enqueue_locked(struct wal *wal, struct wal_ticket *ticket, bool *ret_must_wake, struct ap_err *err)
{
    uint64_t bytes = wal_record_bytes(ticket->payload_bytes);
    if (wal->is_stopping) {
        wal->refused_busy++;
        return ap_fail(err, AP_E_BUSY, "the log is stopping");
    }
    if (wal_is_broken(wal, ticket))
        return ap_fail(err, AP_E_CONFLICT, "a record that this one builds on is not in the log");
    if (wal->queued_bytes > 0 && wal->queued_bytes + bytes > wal->options.queue_bytes_max) {
        wal->refused_busy++;
        return ap_fail(err, AP_E_BUSY, "more than %" PRIu64 " bytes wait to be written to the log",
                       wal->options.queue_bytes_max);
    }
    /* released_lsn first: it never passes the durable_lsn that is read after it. */
    uint64_t released_lsn = atomic_load(&wal->released_lsn);
    uint64_t retained_bytes = atomic_load(&wal->durable_lsn) - released_lsn;
    if (retained_bytes + wal->queued_bytes + bytes > wal->options.bytes_max) {
        wal->refused_full++;
        return ap_fail(err, AP_E_FULL,
                       "the log holds %" PRIu64 " bytes that the stores have not taken yet, at most %" PRIu64
                       " are allowed",
                       retained_bytes, wal->options.bytes_max);
    }
    bool is_news = note_urgency_locked(wal, ticket);
    wal->queued_bytes += bytes;
    *wal->queue_tail = ticket;
    wal->queue_tail = &ticket->next;
    *ret_must_wake = wal->is_idle && is_news;
    wal->is_idle = wal->is_idle && !is_news;
    return AP_OK;
}

uint64_t wal_break_count(const struct wal *wal)
{
    return atomic_load_explicit(&wal->break_count, memory_order_acquire);
}

uint64_t wal_durable_lsn(const struct wal *wal)
{
    return atomic_load_explicit(&wal->durable_lsn, memory_order_acquire);
}

enum ap_rc wal_submit(struct wal *wal, struct wal_ticket *ticket, struct ap_err *err)
{
    AP_ASSERT(ticket->type != 0 && ticket->done && ticket->slice_count <= WAL_TICKET_SLICES_MAX);
    uint64_t payload_bytes = 0;
    for (unsigned i = 0; i < ticket->slice_count; i++) {
        if (ticket->slices[i].bytes > wal->options.record_bytes_max)
            payload_bytes = UINT32_MAX;
        payload_bytes += ticket->slices[i].bytes;
    }
    if (payload_bytes > wal->options.record_bytes_max)
        return ap_fail(err, AP_E_LIMIT, "a log record may have at most %" PRIu32 " bytes",
                       wal->options.record_bytes_max);
    /* Here and not on the commit thread: there is one of that. */
    uint32_t crc = 0;
    for (unsigned i = 0; i < ticket->slice_count; i++)
        crc = wal_crc32c(crc, ticket->slices[i].data, ticket->slices[i].bytes);
    ticket->payload_bytes = (uint32_t)payload_bytes;
    ticket->payload_crc = crc;
    ticket->next = NULL;

    bool must_wake = false;
    pthread_mutex_lock(&wal->queue_mtx);
    enum ap_rc rc = enqueue_locked(wal, ticket, &must_wake, err);
    /*
     * The signal stays inside the lock: after it, done() may already have run, and its owner may have closed the log.
     */
    if (must_wake)
        pthread_cond_signal(&wal->queue_cond);
    pthread_mutex_unlock(&wal->queue_mtx);
    return rc;
}

struct waiting_ticket {
    struct wal_ticket ticket;
    sem_t is_done;
    enum ap_rc rc;
    uint64_t lsn;
};

static void waiting_done(struct wal_ticket *ticket, enum ap_rc rc, uint64_t lsn)
{
    struct waiting_ticket *waiting = AP_CONTAINER_OF(ticket, struct waiting_ticket, ticket);
    waiting->rc = rc;
    waiting->lsn = lsn;
    sem_post(&waiting->is_done);
}

enum ap_rc wal_append_sync(struct wal *wal, uint8_t type, struct ap_slice payload, uint64_t *ret_lsn,
                           struct ap_err *err)
{
    struct waiting_ticket waiting = {
        .ticket = {.slices = {payload}, .slice_count = 1, .type = type, .done = waiting_done},
    };
    sem_init(&waiting.is_done, 0, 0);
    enum ap_rc rc = wal_submit(wal, &waiting.ticket, err);
    if (rc == AP_OK) {
        while (sem_wait(&waiting.is_done) != 0)
            ; /* EINTR */
        rc = waiting.rc;
        if (rc != AP_OK) {
            pthread_mutex_lock(&wal->state_mtx);
            ap_fail(err, rc, "%s", wal->stats.last_error);
            pthread_mutex_unlock(&wal->state_mtx);
        } else if (ret_lsn) {
            *ret_lsn = waiting.lsn;
        }
    }
    sem_destroy(&waiting.is_done);
    return rc;
}

void wal_add_segment_locked(struct wal *wal, const struct wal_segment_header *header)
{
    struct wal_segment **link = &wal->segments;
    while (*link && (*link)->header.first_lsn != header->first_lsn)
        link = &(*link)->next;
    if (!*link)
        *link = ap_new0(struct wal_segment);
    AP_ASSERT((*link)->next == NULL);
    (*link)->header = *header;
}

uint64_t wal_segment_end_locked(const struct wal *wal, const struct wal_segment *segment)
{
    return segment->next ? segment->next->header.first_lsn : atomic_load(&wal->durable_lsn);
}

void wal_note_error_locked(struct wal *wal, const struct ap_err *err)
{
    snprintf(wal->stats.last_error, sizeof(wal->stats.last_error), "%.*s", WAL_ERROR_TEXT_BYTES - 1, err->text);
    wal->stats.last_error_us = ap_clock_wall_us(wal->options.clock);
}

void wal_stats_get(struct wal *wal, struct wal_stats *ret_stats)
{
    pthread_mutex_lock(&wal->state_mtx);
    struct wal_stats stats = wal->stats;
    stats.released_lsn = atomic_load(&wal->released_lsn);
    stats.durable_lsn = atomic_load(&wal->durable_lsn);
    stats.oldest_lsn = wal->segments ? wal->segments->header.first_lsn : stats.durable_lsn;
    for (const struct wal_segment *segment = wal->segments; segment; segment = segment->next)
        stats.segment_count++;
    for (struct wal_pin *pin = wal->pins; pin && stats.cursor_count < WAL_STATS_CURSORS_MAX; pin = pin->next) {
        size_t i = stats.cursor_count++;
        memcpy(stats.cursors[i].name, pin->name, sizeof(pin->name));
        stats.cursors[i].next_lsn = atomic_load(&pin->next_lsn);
        stats.cursors[i].released_lsn = pin->released_lsn;
    }
    pthread_mutex_unlock(&wal->state_mtx);
    stats.retained_bytes = stats.durable_lsn - stats.released_lsn;
    stats.bytes_max = wal->options.bytes_max;
    pthread_mutex_lock(&wal->queue_mtx);
    stats.queued_bytes = wal->queued_bytes;
    stats.refused_busy = wal->refused_busy;
    stats.refused_full = wal->refused_full;
    pthread_mutex_unlock(&wal->queue_mtx);
    *ret_stats = stats;
}
