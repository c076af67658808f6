#include "ingest/push.h"

#include <pthread.h>
#include <stdlib.h>

#include "ingest/batch_keep.h"
#include "ingest/push_ledger.h"
#include "meta/pushed.h"
#include "os/thread.h"

enum {
    WAITING_MAX = 1024, /* updates */
    BATCH_SERIES_MAX = 50000,
    WAIT_MAX_MS = 60000,
};

struct push {
    /* Constant. */
    struct push_options options;
    struct batch_keeper *keeper; /* owned; of what intervals write */
    /* Push thread, before push_start() the opener's. */
    int64_t next_write_us; /* of the monotonic clock */
    bool is_out_of_step;   /* what is in memory is not what is on disk: it has to be read again */
    pthread_t thread;
    bool has_thread;
    /* Under groups_mtx, which the push thread holds while it changes them. */
    pthread_mutex_t groups_mtx;
    struct push_ledger ledger;
    /* Any thread, atomic. */
    struct push_stats stats;
    /* Under mtx, a leaf. */
    pthread_mutex_t mtx;
    pthread_cond_t changed;
    struct push_update *first;
    struct push_update **last;
    size_t waiting_count;
    bool is_ending;
};

static void count(uint64_t *counter, uint64_t by)
{
    __atomic_fetch_add(counter, by, __ATOMIC_RELAXED);
}

/* ---- Updates ---- */

struct push_update *push_update_new(enum push_kind kind)
{
    struct push_update *update = ap_new0(struct push_update);
    update->kind = kind;
    return update;
}

void push_update_free(struct push_update *update)
{
    if (!update)
        return;
    ap_buf_clear(&update->labels);
    push_families_clear(&update->families);
    free(update);
}

uint64_t push_hash_seed(const struct push *push)
{
    return push->options.hash_seed;
}

size_t push_bytes_max(const struct push *push)
{
    return push->options.bytes_max;
}

enum ap_rc push_submit(struct push *push, struct push_update *take_update, struct ap_err *err)
{
    pthread_mutex_lock(&push->mtx);
    bool has_room = push->waiting_count < WAITING_MAX && !push->is_ending;
    if (has_room) {
        take_update->next = NULL;
        *push->last = take_update;
        push->last = &take_update->next;
        push->waiting_count++;
        pthread_cond_broadcast(&push->changed);
    }
    pthread_mutex_unlock(&push->mtx);
    if (has_room)
        return AP_OK;
    push_update_free(take_update);
    return ap_fail(err, AP_E_BUSY, "too many pushes wait for the disk");
}

/* One update under way, with what it has to tell the store. */
struct outgoing {
    struct push_update *update;
    struct push_samples samples;
    struct outgoing *next;
};

static struct outgoing *outgoing_new(struct push_update *take_update)
{
    struct outgoing *outgoing = ap_new0(struct outgoing);
    push_samples_init(&outgoing->samples);
    outgoing->update = take_update;
    return outgoing;
}

static void outgoing_free(struct outgoing *outgoing)
{
    push_update_free(outgoing->update);
    push_samples_clear(&outgoing->samples);
    free(outgoing);
}

/* ---- A round: all updates that wait, one commit ---- */

static void fail(const struct push_update *update, enum ap_rc rc, const char *text)
{
    update->failed(update->append->context, rc, text);
}

static void tell_trouble(const struct push *push, const struct ap_err *err)
{
    if (push->options.trouble)
        push->options.trouble(err, push->options.context);
}

static enum ap_rc apply(struct push *push, struct outgoing *outgoing, struct ap_err *err)
{
    enum push_kind kind = outgoing->update->kind;
    count(kind == PUSH_DELETE || kind == PUSH_WIPE ? &push->stats.deletions : &push->stats.pushes, 1);
    return push_ledger_apply(&push->ledger, outgoing->update, &outgoing->samples, err);
}

/* Applies them all; those refused are answered and taken out. */
static enum ap_rc apply_all(struct push *push, struct push_update *updates, struct outgoing **ret_outgoing,
                            struct ap_err *err)
{
    struct outgoing **last = ret_outgoing;
    enum ap_rc rc = pushed_begin(push->ledger.meta, err);
    if (rc == AP_OK && push->is_out_of_step)
        rc = push_ledger_load(&push->ledger, err);
    push->is_out_of_step &= rc != AP_OK;
    *ret_outgoing = NULL;
    while (updates) {
        struct outgoing *outgoing = outgoing_new(updates);
        updates = updates->next;
        struct ap_err refusal;
        enum ap_rc applied = rc == AP_OK ? apply(push, outgoing, &refusal) : AP_OK;
        if (applied == AP_E_PARSE || applied == AP_E_LIMIT) {
            count(&push->stats.refused, 1);
            fail(outgoing->update, applied, refusal.text);
            outgoing_free(outgoing);
            continue;
        }
        if (applied != AP_OK) {
            rc = applied;
            *err = refusal;
        }
        *last = outgoing;
        last = &outgoing->next;
    }
    return rc;
}

static void send(struct push *push, const struct outgoing *outgoing)
{
    struct push_update *update = outgoing->update;
    struct tsdb_append *append = update->append;
    struct ap_err err;
    if (outgoing->samples.batch.series_count == 0) {
        append->done(append, AP_OK); /* a group that was not there was deleted */
        return;
    }
    append->batch = &outgoing->samples.batch;
    enum ap_rc rc = push->options.append(push->options.tsdb, append, &err);
    if (rc != AP_OK)
        fail(update, rc, err.text);
}

/* The disk failed in between: what counts is what is on it. */
static void recover(struct push *push, const struct ap_err *failure)
{
    struct ap_err err;
    tell_trouble(push, failure);
    pushed_rollback(push->ledger.meta);
    pthread_mutex_lock(&push->groups_mtx);
    push->is_out_of_step = push_ledger_load(&push->ledger, &err) != AP_OK;
    pthread_mutex_unlock(&push->groups_mtx);
    if (push->is_out_of_step)
        tell_trouble(push, &err);
}

static void run_round(struct push *push, struct push_update *updates)
{
    struct outgoing *outgoing;
    struct ap_err err;
    pthread_mutex_lock(&push->groups_mtx);
    enum ap_rc rc = apply_all(push, updates, &outgoing, &err);
    pthread_mutex_unlock(&push->groups_mtx);
    if (rc == AP_OK)
        rc = pushed_commit(push->ledger.meta, &err);
    if (rc != AP_OK)
        recover(push, &err);
    while (outgoing) {
        struct outgoing *next = outgoing->next;
        if (rc == AP_OK)
            send(push, outgoing);
        else
            fail(outgoing->update, rc == AP_E_FULL ? AP_E_FULL : AP_E_BUSY, err.text);
        outgoing_free(outgoing);
        outgoing = next;
    }
}

/* ---- Every interval ---- */

static void write_batch(struct push *push, const struct batch *batch)
{
    struct tsdb_outcome outcome;
    enum ap_rc rc = batch_keep(push->keeper, batch, &outcome);
    count(&push->stats.samples_written, outcome.samples_written + outcome.histograms_written);
    count(&push->stats.samples_refused, outcome.samples_refused);
    count(&push->stats.intervals_skipped, rc != AP_OK);
}

static void write_all(struct push *push)
{
    struct batch batch = {0};
    for (size_t i = 0; i < push->ledger.groups.count; i++) {
        push_ledger_repeat(&push->ledger, push->ledger.groups.items[i], &batch);
        if (batch.series_count >= BATCH_SERIES_MAX || i + 1 == push->ledger.groups.count) {
            write_batch(push, &batch);
            batch_reset(&batch);
        }
    }
    batch_clear(&batch);
}

static void remove_expired(struct push *push, int64_t since_us)
{
    struct push_samples samples;
    struct ap_err err;
    uint64_t expired = 0;
    push_samples_init(&samples);
    enum ap_rc rc = pushed_begin(push->ledger.meta, &err);
    pthread_mutex_lock(&push->groups_mtx);
    if (rc == AP_OK)
        rc = push_ledger_remove_older(&push->ledger, since_us, &samples, &expired, &err);
    pthread_mutex_unlock(&push->groups_mtx);
    if (rc == AP_OK)
        rc = pushed_commit(push->ledger.meta, &err);
    if (rc == AP_OK) {
        count(&push->stats.expired, expired);
        write_batch(push, &samples.batch);
    } else {
        recover(push, &err);
    }
    push_samples_clear(&samples);
}

static void run_interval(struct push *push)
{
    if (batch_keeper_is_behind(push->keeper)) {
        count(&push->stats.intervals_skipped, 1);
        return;
    }
    int64_t since_us = ap_clock_wall_us(push->options.clock) - push->options.expire_ms * AP_US_PER_MS;
    if (push->options.expire_ms && push_ledger_has_older(&push->ledger, since_us))
        remove_expired(push, since_us);
    write_all(push);
}

/* ---- The thread ---- */

static struct push_update *take_waiting_locked(struct push *push)
{
    struct push_update *updates = push->first;
    push->first = NULL;
    push->last = &push->first;
    push->waiting_count = 0;
    return updates;
}

static void *work(void *context)
{
    struct push *push = context;
    bool is_ending = false;
    while (!is_ending) {
        int64_t wait_ms =
            (push->next_write_us - ap_clock_monotonic_us(push->options.clock) + AP_US_PER_MS - 1) / AP_US_PER_MS;
        pthread_mutex_lock(&push->mtx);
        if (wait_ms > 0 && !push->first && !push->is_ending)
            (void)os_cond_wait_until(&push->changed, &push->mtx, os_deadline_us(AP_MIN(wait_ms, (int64_t)WAIT_MAX_MS)));
        struct push_update *updates = take_waiting_locked(push);
        is_ending = push->is_ending;
        pthread_mutex_unlock(&push->mtx);
        if (updates)
            run_round(push, updates);
        int64_t now_us = ap_clock_monotonic_us(push->options.clock);
        if (!is_ending && now_us >= push->next_write_us) {
            run_interval(push);
            push->next_write_us = now_us + push->options.interval_ms * AP_US_PER_MS;
        }
    }
    return NULL;
}

enum ap_rc push_open(const struct push_options *options, struct push **ret_push, struct ap_err *err)
{
    AP_AUTO(push) struct push *push = ap_new0(struct push);
    push->options = *options;
    push->options.meta_path = NULL;
    push->last = &push->first;
    pthread_mutex_init(&push->groups_mtx, NULL);
    pthread_mutex_init(&push->mtx, NULL);
    os_cond_init(&push->changed);
    push->keeper = batch_keeper_new(options->tsdb, options->append, options->trouble, options->context);
    enum ap_rc rc = push_ledger_open(&push->ledger, options, err);
    if (rc == AP_OK)
        *ret_push = AP_MOVE(push);
    return rc;
}

enum ap_rc push_start(struct push *push, struct ap_err *err)
{
    run_interval(push);
    push->next_write_us = ap_clock_monotonic_us(push->options.clock) + push->options.interval_ms * AP_US_PER_MS;
    enum ap_rc rc = os_thread_start("push", work, push, &push->thread, err);
    push->has_thread = rc == AP_OK;
    return rc;
}

void push_stop(struct push *push)
{
    pthread_mutex_lock(&push->mtx);
    push->is_ending = true;
    pthread_cond_broadcast(&push->changed);
    pthread_mutex_unlock(&push->mtx);
    if (push->has_thread)
        pthread_join(push->thread, NULL);
    push->has_thread = false;
}

void push_close(struct push *push)
{
    if (!push)
        return;
    push_stop(push);
    batch_keeper_free(push->keeper);
    push_ledger_close(&push->ledger);
    pthread_mutex_destroy(&push->groups_mtx);
    pthread_mutex_destroy(&push->mtx);
    pthread_cond_destroy(&push->changed);
    free(push);
}

/* ---- Reading ---- */

void push_each(struct push *push, push_group_fn each, void *context)
{
    pthread_mutex_lock(&push->groups_mtx);
    for (size_t i = 0; i < push->ledger.groups.count; i++)
        each(push->ledger.groups.items[i], context);
    pthread_mutex_unlock(&push->groups_mtx);
}

void push_stats_get(struct push *push, struct push_stats *ret_stats)
{
    _Static_assert(sizeof(struct push_stats) % sizeof(uint64_t) == 0, "all fields are counters");
    const uint64_t *from = (const uint64_t *)&push->stats;
    uint64_t *to = (uint64_t *)ret_stats;
    for (size_t i = 0; i < sizeof(struct push_stats) / sizeof(uint64_t); i++)
        to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
    pthread_mutex_lock(&push->groups_mtx);
    ret_stats->groups = push->ledger.groups.count;
    ret_stats->series = push->ledger.groups.series_count;
    ret_stats->bytes = push->ledger.groups.bytes;
    pthread_mutex_unlock(&push->groups_mtx);
}
