#include "ingest/push.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/bits.h"
#include "ingest/batch_keep.h"
#include "meta/pushed.h"
#include "os/thread.h"
#include "tsdb/histogram.h"

enum {
    WAITING_MAX = 1024, /* updates */
    BATCH_SERIES_MAX = 50000,
    MARKER_MEMORY_MAX = 64 << 20,
    WAIT_MAX_MS = 60000,
};

static const uint64_t stale_bits = 0x7ff0000000000002;

struct push {
    /* Constant. */
    struct push_options options;
    struct batch_keeper *keeper; /* owned; of what intervals write */
    /* Push thread, before push_start() the opener's. */
    struct meta *meta;     /* owned */
    int64_t next_write_us; /* of the monotonic clock */
    int64_t marker_ts_ms;  /* of the newest staleness markers: what follows is later */
    pthread_t thread;
    bool has_thread;
    /* Under groups_mtx, which the push thread holds while it changes them. */
    pthread_mutex_t groups_mtx;
    struct push_groups groups;
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

/* ---- What goes into the store ---- */

/* One update's samples: copies, since a later update may replace what they are of. */
struct outgoing {
    struct push_update *update;
    struct batch batch;
    struct ap_arena arena;
    struct outgoing *next;
};

static struct outgoing *outgoing_new(struct push_update *take_update)
{
    struct outgoing *outgoing = ap_new0(struct outgoing);
    ap_arena_init(&outgoing->arena, 0);
    outgoing->update = take_update;
    return outgoing;
}

static void outgoing_free(struct outgoing *outgoing)
{
    push_update_free(outgoing->update);
    batch_clear(&outgoing->batch);
    ap_arena_clear(&outgoing->arena);
    free(outgoing);
}

static struct ap_slice copy(struct outgoing *outgoing, struct ap_slice bytes)
{
    char *to = ap_arena_try_alloc(&outgoing->arena, bytes.bytes);
    AP_ASSERT(to); /* the arena has no maximum: what it is filled from is bounded */
    return ap_slice(memcpy(to, bytes.data, bytes.bytes), bytes.bytes);
}

static int64_t now_ms(const struct push *push)
{
    return ap_clock_wall_us(push->options.clock) / AP_US_PER_MS;
}

/* A series has one value at a time: what follows within a millisecond is written a millisecond later. */
static int64_t next_ts(const struct push *push, const struct push_group *group)
{
    int64_t ts_ms = AP_MAX(now_ms(push), push->marker_ts_ms + 1);
    return group ? AP_MAX(ts_ms, group->last_ts_ms + 1) : ts_ms;
}

static void add_number(struct batch *batch, uint64_t seed, struct ap_slice labels, int64_t ts_ms, double value)
{
    (void)batch_add_series(batch, labels, labels_hash_of(seed, labels));
    batch_add_sample(batch, ts_ms, value);
}

static void add_time_copies(const struct push *push, struct outgoing *outgoing, const struct push_group *group,
                            int64_t ts_ms, double pushed, double failed)
{
    uint64_t seed = push->options.hash_seed;
    add_number(&outgoing->batch, seed, copy(outgoing, ap_buf_slice(&group->pushed_labels)), ts_ms, pushed);
    add_number(&outgoing->batch, seed, copy(outgoing, ap_buf_slice(&group->failed_labels)), ts_ms, failed);
}

static void add_family(struct outgoing *outgoing, const struct push_family *family, int64_t ts_ms)
{
    struct batch *batch = &outgoing->batch;
    for (size_t i = 0; i < family->count; i++) {
        const struct push_series *series = &family->series[i];
        (void)batch_add_series(batch, copy(outgoing, push_series_labels(family, series)), series->hash);
        if (series->blob_bytes)
            batch_add_histogram(batch, ts_ms, copy(outgoing, push_series_blob(family, series)));
        else
            batch_add_sample(batch, ts_ms, series->value);
    }
}

/* A series that was a histogram ends as one. */
static void add_histogram_marker(struct outgoing *outgoing, struct ap_slice blob, int64_t ts_ms)
{
    AP_AUTO_ARENA struct ap_arena arena;
    AP_AUTO_BUF struct ap_buf marker = {0};
    struct histogram histogram;
    ap_arena_init(&arena, MARKER_MEMORY_MAX);
    enum ap_rc rc = histogram_decode(blob, &arena, &histogram, NULL);
    AP_ASSERT(rc == AP_OK); /* it was checked when it came in */
    histogram_set_stale(&histogram);
    histogram_encode(&histogram, &marker);
    batch_add_histogram(&outgoing->batch, ts_ms, copy(outgoing, ap_buf_slice(&marker)));
}

/* Markers for series of `before` that `after` (NULL: nothing) does not have. */
static void add_markers(struct push *push, struct outgoing *outgoing, const struct push_family *before,
                        const struct push_family *after, int64_t ts_ms)
{
    for (size_t i = 0; i < before->count; i++) {
        const struct push_series *series = &before->series[i];
        if (after && push_family_find(after, series->hash))
            continue;
        (void)batch_add_series(&outgoing->batch, copy(outgoing, push_series_labels(before, series)), series->hash);
        if (series->blob_bytes)
            add_histogram_marker(outgoing, push_series_blob(before, series), ts_ms);
        else
            batch_add_sample(&outgoing->batch, ts_ms, ap_double_of_bits(stale_bits));
        push->marker_ts_ms = ts_ms;
    }
}

/* ---- One update: the groups, and meta.sqlite within a transaction ---- */

static enum ap_rc keep_group(struct push *push, const struct push_group *group, struct ap_err *err)
{
    const struct pushed_group kept = {ap_buf_slice(&group->labels), group->pushed_us, group->failed_us};
    return pushed_put_group(push->meta, &kept, err);
}

static enum ap_rc keep_family(struct push *push, const struct push_group *group, const struct push_family *family,
                              struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf series = {0};
    push_family_encode(family, &series);
    const struct pushed_family kept = {
        .name = push_family_name(family),
        .help = push_family_help(family),
        .type = family->type,
        .pushed_us = family->pushed_us,
        .series = ap_buf_slice(&series),
    };
    return pushed_put_family(push->meta, ap_buf_slice(&group->labels), &kept, err);
}

static void add_metadata(struct outgoing *outgoing, const struct push_family *family)
{
    *batch_add_metadata(&outgoing->batch) = (struct batch_metadata){
        .metric = copy(outgoing, push_family_name(family)),
        .help = copy(outgoing, push_family_help(family)),
        .unit = ap_slice("", 0),
        .type = family->type,
    };
}

/* All families at once; those that are not pushed again end. */
static void end_missing(struct push *push, struct outgoing *outgoing, struct push_families *before,
                        const struct push_group *group, int64_t ts_ms)
{
    for (size_t i = 0; i < before->count; i++)
        add_markers(push, outgoing, before->items[i], push_group_find(group, push_family_name(before->items[i])),
                    ts_ms);
}

/* A metric of ours that somebody pushes is ours all the same. */
static bool is_ours(const struct push_family *family)
{
    struct ap_slice name = push_family_name(family);
    return ap_slice_equal_cstr(name, "push_time_seconds") || ap_slice_equal_cstr(name, "push_failure_time_seconds");
}

static enum ap_rc put_families(struct push *push, struct push_group *group, struct outgoing *outgoing, int64_t ts_ms,
                               struct ap_err *err)
{
    struct push_families *families = &outgoing->update->families;
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < families->count && rc == AP_OK; i++) {
        struct push_family *family = families->items[i];
        if (is_ours(family))
            continue;
        families->items[i] = NULL;
        AP_AUTO(push_family) struct push_family *before = push_group_put(&push->groups, group, family);
        if (before)
            add_markers(push, outgoing, before, family, ts_ms);
        add_family(outgoing, family, ts_ms);
        add_metadata(outgoing, family);
        rc = keep_family(push, group, family, err);
    }
    return rc;
}

static enum ap_rc put(struct push *push, struct outgoing *outgoing, struct ap_err *err)
{
    struct push_update *update = outgoing->update;
    struct push_group *group = push_groups_find(&push->groups, ap_buf_slice(&update->labels));
    if (!group)
        group = push_groups_add(&push->groups, ap_buf_slice(&update->labels));
    int64_t ts_ms = next_ts(push, group);
    struct push_families before = {0};
    group->pushed_us = ap_clock_wall_us(push->options.clock);
    group->last_ts_ms = ts_ms;
    enum ap_rc rc = keep_group(push, group, err);
    if (rc == AP_OK && update->kind == PUSH_REPLACE) {
        before = push_group_detach(&push->groups, group);
        rc = pushed_delete_families(push->meta, ap_buf_slice(&group->labels), err);
    }
    if (rc == AP_OK)
        rc = put_families(push, group, outgoing, ts_ms, err);
    end_missing(push, outgoing, &before, group, ts_ms);
    push_families_clear(&before);
    add_time_copies(push, outgoing, group, ts_ms, (double)group->pushed_us / 1e6, (double)group->failed_us / 1e6);
    return rc;
}

/* What cannot be taken leaves a mark, so that an alert can be made of it. */
static enum ap_rc note_failure(struct push *push, struct ap_slice labels, struct ap_err *err)
{
    struct push_group *group = push_groups_find(&push->groups, labels);
    if (!group && push->groups.count >= push->options.groups_max)
        return AP_OK;
    if (!group)
        group = push_groups_add(&push->groups, labels);
    group->failed_us = ap_clock_wall_us(push->options.clock);
    return keep_group(push, group, err);
}

static enum ap_rc check_limits(const struct push *push, const struct push_update *update, struct ap_err *err)
{
    size_t bytes = 0;
    for (size_t i = 0; i < update->families.count; i++)
        bytes += push_family_bytes(update->families.items[i]);
    if (push->groups.bytes + bytes > push->options.bytes_max)
        return ap_fail(err, AP_E_LIMIT, "pushed metrics take %zu bytes already; %zu are allowed (push.max_size)",
                       push->groups.bytes, push->options.bytes_max);
    if (push->groups.count >= push->options.groups_max &&
        !push_groups_find(&push->groups, ap_buf_slice(&update->labels)))
        return ap_fail(err, AP_E_LIMIT, "there are %zu groups already, as many as are allowed (push.max_groups)",
                       push->groups.count);
    return AP_OK;
}

static enum ap_rc end_group(struct push *push, struct push_group *group, struct outgoing *outgoing, struct ap_err *err)
{
    int64_t ts_ms = next_ts(push, group);
    for (size_t i = 0; i < group->families.count; i++)
        add_markers(push, outgoing, group->families.items[i], NULL, ts_ms);
    double stale = ap_double_of_bits(stale_bits);
    add_time_copies(push, outgoing, group, ts_ms, stale, stale);
    push->marker_ts_ms = ts_ms;
    enum ap_rc rc = pushed_delete_group(push->meta, ap_buf_slice(&group->labels), err);
    push_groups_remove(&push->groups, group);
    return rc;
}

static enum ap_rc end_groups(struct push *push, struct outgoing *outgoing, struct ap_err *err)
{
    struct push_update *update = outgoing->update;
    enum ap_rc rc = AP_OK;
    if (update->kind == PUSH_DELETE) {
        struct push_group *group = push_groups_find(&push->groups, ap_buf_slice(&update->labels));
        return group ? end_group(push, group, outgoing, err) : AP_OK;
    }
    while (rc == AP_OK && push->groups.count)
        rc = end_group(push, push->groups.items[push->groups.count - 1], outgoing, err);
    return rc;
}

/*
 * AP_E_PARSE and AP_E_LIMIT: refused, `err` says why; all is as it was. Anything else: the disk's fault, and what is in
 * memory is no more what is on disk.
 */
static enum ap_rc apply(struct push *push, struct outgoing *outgoing, struct ap_err *err)
{
    struct push_update *update = outgoing->update;
    if (update->kind == PUSH_DELETE || update->kind == PUSH_WIPE) {
        count(&push->stats.deletions, 1);
        return end_groups(push, outgoing, err);
    }
    count(&push->stats.pushes, 1);
    enum ap_rc rc = check_limits(push, update, err);
    if (rc != AP_OK)
        return rc;
    rc = update->families.has_ts ? ap_fail(err, AP_E_CONFLICT, "pushed metrics must not have timestamps")
                                 : push_groups_check(&push->groups, ap_buf_slice(&update->labels), &update->families,
                                                     update->kind == PUSH_REPLACE, err);
    if (rc == AP_OK)
        return put(push, outgoing, err);
    struct ap_err failure;
    rc = note_failure(push, ap_buf_slice(&update->labels), &failure);
    if (rc != AP_OK) {
        *err = failure;
        return rc;
    }
    err->rc = AP_E_PARSE;
    return ap_err_prefix(err, "pushed metrics are invalid or inconsistent with existing metrics");
}

/* ---- Groups from disk ---- */

struct loading {
    struct push *push;
    struct push_group *group;
};

static enum ap_rc load_family(struct loading *loading, const struct pushed_family *kept, struct ap_err *err)
{
    if (kept->type < 0 || kept->type >= METADATA_TYPE_COUNT)
        return ap_fail(err, AP_E_CORRUPT, "the pushed metric %.*s has no type that there is", AP_SLICE_ARG(kept->name));
    AP_AUTO(push_family) struct push_family *family = push_family_new(kept->name, (enum metadata_type)kept->type);
    family->pushed_us = kept->pushed_us;
    push_family_set_help(family, kept->help);
    enum ap_rc rc = push_family_decode(family, loading->push->options.hash_seed, kept->series, err);
    if (rc == AP_OK)
        push_family_free(push_group_put(&loading->push->groups, loading->group, AP_MOVE(family)));
    return rc;
}

static enum ap_rc load(const struct pushed_group *group, const struct pushed_family *family, void *context,
                       struct ap_err *err)
{
    struct loading *loading = context;
    if (family)
        return load_family(loading, family, err);
    struct ap_slice rest = group->labels;
    if (labels_check(rest, err) != AP_OK || labels_count(rest) > PUSH_KEY_LABELS_MAX)
        return ap_fail(err, AP_E_CORRUPT, "the labels of a pushed group are damaged");
    loading->group = push_groups_add(&loading->push->groups, group->labels);
    loading->group->pushed_us = group->pushed_us;
    loading->group->failed_us = group->failed_us;
    return AP_OK;
}

/* What is in memory becomes what is on disk. */
static enum ap_rc load_groups(struct push *push, struct ap_err *err)
{
    struct loading loading = {.push = push};
    push_groups_clear(&push->groups);
    return pushed_each(push->meta, load, &loading, err);
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

/* Applies them all; those refused are answered and taken out. */
static enum ap_rc apply_all(struct push *push, struct push_update *updates, struct outgoing **ret_outgoing,
                            struct ap_err *err)
{
    struct outgoing **last = ret_outgoing;
    enum ap_rc rc = pushed_begin(push->meta, err);
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
    if (outgoing->batch.series_count == 0) {
        append->done(append, AP_OK); /* a group that was not there was deleted */
        return;
    }
    append->batch = &outgoing->batch;
    enum ap_rc rc = push->options.append(push->options.tsdb, append, &err);
    if (rc != AP_OK)
        fail(update, rc, err.text);
}

/* The disk failed in between: what counts is what is on it. */
static void recover(struct push *push, const struct ap_err *failure)
{
    struct ap_err err;
    tell_trouble(push, failure);
    pushed_rollback(push->meta);
    pthread_mutex_lock(&push->groups_mtx);
    if (load_groups(push, &err) != AP_OK)
        tell_trouble(push, &err);
    pthread_mutex_unlock(&push->groups_mtx);
}

static void run_round(struct push *push, struct push_update *updates)
{
    struct outgoing *outgoing;
    struct ap_err err;
    pthread_mutex_lock(&push->groups_mtx);
    enum ap_rc rc = apply_all(push, updates, &outgoing, &err);
    pthread_mutex_unlock(&push->groups_mtx);
    if (rc == AP_OK)
        rc = pushed_commit(push->meta, &err);
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

static void add_group(const struct push *push, struct push_group *group, struct batch *batch)
{
    int64_t ts_ms = next_ts(push, group);
    group->last_ts_ms = ts_ms;
    for (size_t f = 0; f < group->families.count; f++) {
        const struct push_family *family = group->families.items[f];
        for (size_t i = 0; i < family->count; i++) {
            const struct push_series *series = &family->series[i];
            (void)batch_add_series(batch, push_series_labels(family, series), series->hash);
            if (series->blob_bytes)
                batch_add_histogram(batch, ts_ms, push_series_blob(family, series));
            else
                batch_add_sample(batch, ts_ms, series->value);
        }
    }
    uint64_t seed = push->options.hash_seed;
    add_number(batch, seed, ap_buf_slice(&group->pushed_labels), ts_ms, (double)group->pushed_us / 1e6);
    add_number(batch, seed, ap_buf_slice(&group->failed_labels), ts_ms, (double)group->failed_us / 1e6);
}

static void write_all(struct push *push)
{
    struct batch batch = {0};
    for (size_t i = 0; i < push->groups.count; i++) {
        add_group(push, push->groups.items[i], &batch);
        if (batch.series_count >= BATCH_SERIES_MAX || i + 1 == push->groups.count) {
            write_batch(push, &batch);
            batch_reset(&batch);
        }
    }
    batch_clear(&batch);
}

/* Takes the groups out that nobody pushed to, as if they were deleted. What is on disk is right before the store is. */
static enum ap_rc end_expired(struct push *push, struct outgoing *outgoing, struct ap_err *err)
{
    int64_t oldest_us = ap_clock_wall_us(push->options.clock) - push->options.expire_ms * AP_US_PER_MS;
    enum ap_rc rc = AP_OK;
    for (size_t i = push->groups.count; i-- > 0 && rc == AP_OK;) {
        struct push_group *group = push->groups.items[i];
        if (AP_MAX(group->pushed_us, group->failed_us) >= oldest_us)
            continue;
        rc = end_group(push, group, outgoing, err);
        count(&push->stats.expired, 1);
    }
    return rc;
}

static bool has_expired(const struct push *push)
{
    int64_t oldest_us = ap_clock_wall_us(push->options.clock) - push->options.expire_ms * AP_US_PER_MS;
    for (size_t i = 0; push->options.expire_ms && i < push->groups.count; i++)
        if (AP_MAX(push->groups.items[i]->pushed_us, push->groups.items[i]->failed_us) < oldest_us)
            return true;
    return false;
}

static void expire_groups(struct push *push)
{
    struct outgoing *outgoing = outgoing_new(NULL);
    struct ap_err err;
    enum ap_rc rc = pushed_begin(push->meta, &err);
    pthread_mutex_lock(&push->groups_mtx);
    if (rc == AP_OK)
        rc = end_expired(push, outgoing, &err);
    pthread_mutex_unlock(&push->groups_mtx);
    if (rc == AP_OK)
        rc = pushed_commit(push->meta, &err);
    if (rc == AP_OK)
        write_batch(push, &outgoing->batch);
    else
        recover(push, &err);
    outgoing_free(outgoing);
}

static void run_interval(struct push *push)
{
    if (batch_keeper_is_behind(push->keeper)) {
        count(&push->stats.intervals_skipped, 1);
        return;
    }
    if (has_expired(push))
        expire_groups(push);
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
    push->marker_ts_ms = INT64_MIN / 2;
    push->last = &push->first;
    pthread_mutex_init(&push->groups_mtx, NULL);
    pthread_mutex_init(&push->mtx, NULL);
    os_cond_init(&push->changed);
    push->keeper = batch_keeper_new(options->tsdb, options->append, options->trouble, options->context);
    enum ap_rc rc = meta_open(options->meta_path, &push->meta, err);
    if (rc == AP_OK)
        rc = load_groups(push, err);
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
    push_groups_clear(&push->groups);
    meta_close(push->meta);
    pthread_mutex_destroy(&push->groups_mtx);
    pthread_mutex_destroy(&push->mtx);
    pthread_cond_destroy(&push->changed);
    free(push);
}

/* ---- Reading ---- */

void push_each(struct push *push, push_group_fn each, void *context)
{
    pthread_mutex_lock(&push->groups_mtx);
    for (size_t i = 0; i < push->groups.count; i++)
        each(push->groups.items[i], context);
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
    ret_stats->groups = push->groups.count;
    ret_stats->series = push->groups.series_count;
    ret_stats->bytes = push->groups.bytes;
    pthread_mutex_unlock(&push->groups_mtx);
}
