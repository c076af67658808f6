/* What the log has and the last checkpoint has not: every acknowledged sample once. */
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "os/thread.h"
#include "tsdb/tsdb_internal.h"

/*
 * One thread reads the log, unpacks records and knows the series; the samples in them are read by workers, each with
 * shards of its own, so that all of a series comes in order.
 */
enum { WORKERS_MAX = 8, JOBS_MAX = 32 /* that wait for a worker */ };

struct replay {
    struct tsdb *tsdb;
    struct sample_record_head record;
    uint32_t epoch_max;
    uint64_t seq_max;
    uint64_t checkpoint_seq; /* records above are newer than the checkpoint */
    roaring_bitmap_t *added; /* series that are not of the checkpoint */
    bool is_locked;          /* the registry, for writing, by replay_define() */
    bool is_mismatch;        /* a definition contradicts what is known */
    struct worker {
        struct replay *replay;
        pthread_t thread;
        /* The worker's while it runs. */
        struct sample_record_head record;
        roaring_bitmap_t *sealed; /* owned; series that this record sealed, while the rest of it is still to come */
        uint64_t samples;
        uint32_t ref_floor;
        /* Under mtx. */
        pthread_mutex_t mtx;
        pthread_cond_t cond; /* broadcast when any of this changes */
        struct job {
            struct sample_record_head record;
            struct ap_buf body; /* owned */
            uint64_t lsn;
        } jobs[JOBS_MAX];
        unsigned first;
        unsigned count; /* with the one under way */
        bool is_ending;
        enum ap_rc rc; /* of the first record that failed; nothing after it is done */
        struct ap_err err;
    } workers[WORKERS_MAX];
    unsigned worker_count;
    uint32_t shard_count; /* of the records that are with the workers */
};

/* ---- What workers do ---- */

/*
 * Also of a series that is gone: it was removed after the checkpoint's log began. Its values are decoded and dropped,
 * and drop_guests() forgets it. Records mostly have a sample of each series of the shard, so the next one is fetched
 * early.
 */
static struct head_series *series_of(struct worker *worker, uint32_t ref)
{
    struct head *head = worker->replay->tsdb->head;
    uint32_t local = head_local(head, ref);
    struct head_series *series = head_series_locked(head_shard_of(head, ref), local);
    if (local % HEAD_SERIES_PER_PAGE + 2 < HEAD_SERIES_PER_PAGE && series[2].tail)
        __builtin_prefetch(series[2].tail);
    worker->ref_floor = AP_MAX(worker->ref_floor, ref + 1);
    return series;
}

static struct sample_state *replay_state(void *context, uint32_t ref)
{
    return &series_of(context, ref)->state;
}

/* What was accepted once is not refused now. */
static const struct head_limits everything = {INT64_MIN, INT64_MAX};

/* Samples of one series come in pieces; sealing after one of them must not make the next ones look as if in chunks. */
static bool is_in_chunks(const struct worker *worker, const struct head_series *series, uint32_t ref)
{
    uint64_t seq = worker->record.seq;
    return seq < series->sealed_seq || (seq == series->sealed_seq && !roaring_bitmap_contains(worker->sealed, ref));
}

static void note_if_sealed(struct worker *worker, const struct head_series *series, uint32_t ref)
{
    if (series->sealed_seq == worker->record.seq)
        roaring_bitmap_add(worker->sealed, ref);
}

static void replay_samples(void *context, uint32_t ref, const int64_t *ts_ms, const double *values, size_t count)
{
    struct worker *worker = context;
    struct tsdb *tsdb = worker->replay->tsdb;
    struct head_series *series = series_of(worker, ref);
    if (is_in_chunks(worker, series, ref) || !registry_has(tsdb->registry, ref))
        return;
    uint8_t verdicts[4096];
    AP_ASSERT(count <= sizeof(verdicts));
    head_append_locked(tsdb->head, head_shard_of(tsdb->head, ref), ref, series, &everything, worker->record.seq, ts_ms,
                       values, count, verdicts);
    note_if_sealed(worker, series, ref);
    worker->samples += count;
}

static void replay_histogram(void *context, uint32_t ref, int64_t ts_ms, struct ap_slice blob)
{
    struct worker *worker = context;
    struct tsdb *tsdb = worker->replay->tsdb;
    struct head_series *series = series_of(worker, ref);
    if (is_in_chunks(worker, series, ref) || !registry_has(tsdb->registry, ref))
        return;
    (void)head_append_histogram_locked(tsdb->head, head_shard_of(tsdb->head, ref), ref, series, &everything,
                                       worker->record.seq, ts_ms, blob);
    note_if_sealed(worker, series, ref);
    worker->samples++;
}

static void replay_exemplar(void *context, uint32_t ref, int64_t ts_ms, double value, struct ap_slice labels)
{
    struct worker *worker = context;
    struct tsdb *tsdb = worker->replay->tsdb;
    pthread_mutex_lock(&tsdb->extras_mtx);
    (void)extras_add_exemplar(&tsdb->extras, ref, ts_ms, value, labels);
    pthread_mutex_unlock(&tsdb->extras_mtx);
}

static void replay_metadata(void *context, uint8_t type, struct ap_slice metric, struct ap_slice help,
                            struct ap_slice unit)
{
    struct worker *worker = context;
    struct tsdb *tsdb = worker->replay->tsdb;
    struct batch_metadata metadata = {metric, help, unit, METADATA_UNKNOWN};
    if (type < METADATA_TYPE_COUNT)
        metadata.type = (enum metadata_type)type;
    pthread_mutex_lock(&tsdb->extras_mtx);
    (void)extras_set_metadata(&tsdb->extras, &metadata, 0);
    pthread_mutex_unlock(&tsdb->extras_mtx);
}

static enum ap_rc say_where(enum ap_rc rc, uint64_t lsn, struct ap_err *err)
{
    return rc == AP_OK ? rc : ap_err_prefix(err, "log record at LSN %" PRIu64, lsn);
}

static enum ap_rc do_job(struct worker *worker, const struct job *job, struct ap_err *err)
{
    const struct sample_sink sink = {
        .context = worker,
        .state = replay_state,
        .samples = replay_samples,
        .histogram = replay_histogram,
        .exemplar = replay_exemplar,
        .metadata = replay_metadata,
    };
    struct tsdb *tsdb = worker->replay->tsdb;
    struct head *head = tsdb->head;
    worker->record = job->record;
    roaring_bitmap_clear(worker->sealed);
    /* Tails that begin now are of the record's epoch: the next checkpoint keeps the log from there on. */
    for (uint32_t i = 0; i < head->options.shard_count; i++)
        if (i == job->record.shard || job->record.shard_count != head->options.shard_count)
            head->shards[i].epoch = job->record.epoch;
    registry_read_lock(tsdb->registry);
    enum ap_rc rc = sample_record_read(&job->record, ap_buf_slice(&job->body), &sink, err);
    registry_unlock(tsdb->registry);
    return say_where(rc, job->lsn, err);
}

static void *work(void *context)
{
    struct worker *worker = context;
    pthread_mutex_lock(&worker->mtx);
    while (worker->count > 0 || !worker->is_ending) {
        if (worker->count == 0) {
            pthread_cond_wait(&worker->cond, &worker->mtx);
            continue;
        }
        const struct job *job = &worker->jobs[worker->first];
        if (worker->rc == AP_OK) {
            struct ap_err err;
            pthread_mutex_unlock(&worker->mtx);
            enum ap_rc rc = do_job(worker, job, &err);
            pthread_mutex_lock(&worker->mtx);
            worker->rc = rc;
            worker->err = err;
        }
        worker->first = (worker->first + 1) % JOBS_MAX;
        worker->count--;
        pthread_cond_broadcast(&worker->cond);
    }
    pthread_mutex_unlock(&worker->mtx);
    return NULL;
}

/* Waits until the worker has fewer jobs than that; what it failed with. */
static enum ap_rc wait_for_worker(struct worker *worker, unsigned jobs, struct ap_err *err)
{
    pthread_mutex_lock(&worker->mtx);
    while (worker->count >= jobs)
        pthread_cond_wait(&worker->cond, &worker->mtx);
    enum ap_rc rc = worker->rc;
    if (rc != AP_OK)
        *err = worker->err;
    pthread_mutex_unlock(&worker->mtx);
    return rc;
}

static enum ap_rc wait_for_all(struct replay *replay, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (unsigned i = 0; i < replay->worker_count && rc == AP_OK; i++)
        rc = wait_for_worker(&replay->workers[i], 1, err);
    return rc;
}

static enum ap_rc start_workers(struct replay *replay, struct ap_err *err)
{
    uint32_t shard_count = replay->tsdb->head->options.shard_count;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned count = AP_MIN(AP_MIN(shard_count, (uint32_t)WORKERS_MAX), cores > 1 ? (uint32_t)cores : 1);
    for (unsigned i = 0; i < count; i++) {
        struct worker *worker = &replay->workers[i];
        worker->replay = replay;
        worker->sealed = roaring_bitmap_create();
        pthread_mutex_init(&worker->mtx, NULL);
        pthread_cond_init(&worker->cond, NULL);
        enum ap_rc rc = os_thread_start("tsdb-replay", work, worker, &worker->thread, err);
        if (rc != AP_OK) {
            roaring_bitmap_free(worker->sealed);
            return rc;
        }
        replay->worker_count++;
    }
    return AP_OK;
}

static void end_workers(struct replay *replay)
{
    struct tsdb *tsdb = replay->tsdb;
    for (unsigned i = 0; i < replay->worker_count; i++) {
        struct worker *worker = &replay->workers[i];
        pthread_mutex_lock(&worker->mtx);
        worker->is_ending = true;
        pthread_cond_broadcast(&worker->cond);
        pthread_mutex_unlock(&worker->mtx);
        pthread_join(worker->thread, NULL);
        for (unsigned j = 0; j < JOBS_MAX; j++)
            ap_buf_clear(&worker->jobs[j].body);
        roaring_bitmap_free(worker->sealed);
        pthread_mutex_destroy(&worker->mtx);
        pthread_cond_destroy(&worker->cond);
        tsdb->replayed_samples += worker->samples;
        tsdb->ref_floor = AP_MAX(tsdb->ref_floor, worker->ref_floor);
    }
}

/* ---- What the reading thread does ---- */

static void drop_guests(struct tsdb *tsdb)
{
    struct head *head = tsdb->head;
    for (uint32_t i = 0; i < head->options.shard_count; i++) {
        struct head_shard *shard = &head->shards[i];
        for (uint32_t page = 0; page < shard->page_count; page++) {
            for (uint32_t j = 0; shard->pages[page] && j < HEAD_SERIES_PER_PAGE; j++) {
                uint32_t ref = (page * HEAD_SERIES_PER_PAGE + j) << head->shard_shift | i;
                if (shard->pages[page][j].is_live && !registry_has(tsdb->registry, ref))
                    head_series_remove_locked(&shard->pages[page][j]);
            }
        }
    }
}

/*
 * A series that went away, because all of it was in blocks, and came back under another ref. The log is in order of
 * time: a record wins against records before it, and against the checkpoint when it was made after that. False: `other`
 * stays; what the record has for its ref is dropped, it is in blocks.
 */
static bool give_way(struct replay *replay, uint32_t other)
{
    struct tsdb *tsdb = replay->tsdb;
    if (!roaring_bitmap_contains(replay->added, other) && replay->record.seq <= replay->checkpoint_seq)
        return false;
    roaring_bitmap_t *refs = roaring_bitmap_of(1, other);
    registry_remove_locked(tsdb->registry, refs);
    roaring_bitmap_free(refs);
    tsdb->must_rewrite_series = true;
    return true;
}

static void replay_define(void *context, uint32_t ref, struct ap_slice labels)
{
    struct replay *replay = context;
    struct registry *registry = replay->tsdb->registry;
    if (!replay->is_locked)
        registry_write_lock(registry);
    replay->is_locked = true;
    replay->tsdb->ref_floor = AP_MAX(replay->tsdb->ref_floor, ref + 1);
    struct labels_hash hash = labels_hash_of(registry_seed(registry), labels);
    if (registry_has(registry, ref)) {
        replay->is_mismatch |= !labels_hash_equal(registry_hash(registry, ref), hash);
        return;
    }
    struct ap_err err;
    uint32_t other = registry_find(registry, hash);
    if (other != REGISTRY_NONE && !give_way(replay, other))
        return;
    if (labels_check(labels, &err) != AP_OK) {
        replay->is_mismatch = true;
        return;
    }
    (void)registry_add_locked(registry, labels, hash, ref);
    roaring_bitmap_add(replay->added, ref);
}

/* A record's samples go to the worker of its shard. */
static enum ap_rc hand_over(struct replay *replay, struct ap_buf *body, uint64_t lsn, struct ap_err *err)
{
    uint32_t shard_count = replay->record.shard_count;
    bool is_sharded_alike = shard_count == replay->tsdb->head->options.shard_count;
    enum ap_rc rc = AP_OK;
    /* Records that were written with another number of shards have series of all of them: one worker takes them. */
    if (shard_count != replay->shard_count)
        rc = wait_for_all(replay, err);
    replay->shard_count = shard_count;
    struct worker *worker = &replay->workers[is_sharded_alike ? replay->record.shard % replay->worker_count : 0];
    if (rc == AP_OK)
        rc = wait_for_worker(worker, JOBS_MAX, err);
    if (rc != AP_OK)
        return rc;
    pthread_mutex_lock(&worker->mtx);
    struct job *job = &worker->jobs[(worker->first + worker->count) % JOBS_MAX];
    struct ap_buf empty = job->body;
    *job = (struct job){.record = replay->record, .body = *body, .lsn = lsn};
    *body = empty;
    worker->count++;
    pthread_cond_broadcast(&worker->cond);
    pthread_mutex_unlock(&worker->mtx);
    return AP_OK;
}

static enum ap_rc replay_samples_record(struct replay *replay, const struct wal_record *record, struct ap_buf *body,
                                        struct ap_err *err)
{
    struct tsdb *tsdb = replay->tsdb;
    enum ap_rc rc = sample_record_open(record->payload, &replay->record, body, err);
    if (rc != AP_OK)
        return say_where(rc, record->lsn, err);
    replay->epoch_max = AP_MAX(replay->epoch_max, replay->record.epoch);
    replay->seq_max = AP_MAX(replay->seq_max, replay->record.seq);
    if (tsdb->epoch_count && replay->record.epoch < tsdb->epochs[0].epoch)
        return AP_OK; /* all of it is in chunks */
    const struct sample_sink definitions = {.context = replay, .define = replay_define};
    rc = sample_record_read(&replay->record, ap_buf_slice(body), &definitions, err);
    if (replay->is_locked)
        registry_unlock(tsdb->registry);
    replay->is_locked = false;
    if (rc == AP_OK && replay->is_mismatch)
        rc = ap_fail(err, AP_E_CORRUPT, "a series of the log contradicts the checkpoint");
    return rc == AP_OK ? hand_over(replay, body, record->lsn, err) : say_where(rc, record->lsn, err);
}

static enum ap_rc replay_record(struct replay *replay, const struct wal_record *record, struct ap_buf *body,
                                struct ap_err *err)
{
    if (record->type == TSDB_RECORD_SAMPLES)
        return replay_samples_record(replay, record, body, err);
    if (record->type != TSDB_RECORD_DELETION)
        return AP_OK;
    enum ap_rc rc = wait_for_all(replay, err);
    if (rc != AP_OK)
        return rc;
    registry_write_lock(replay->tsdb->registry);
    rc = tsdb_replay_deletion(replay->tsdb, record->payload, replay->checkpoint_seq, &replay->seq_max, err);
    registry_unlock(replay->tsdb->registry);
    return say_where(rc, record->lsn, err);
}

enum ap_rc tsdb_replay(struct tsdb *tsdb, struct ap_err *err)
{
    struct head *head = tsdb->head;
    AP_AUTO_FREE struct replay *replay = ap_new0(struct replay);
    replay->tsdb = tsdb;
    replay->epoch_max = head->epoch;
    replay->seq_max = replay->checkpoint_seq = head->seq;
    replay->added = roaring_bitmap_create();
    AP_AUTO_BUF struct ap_buf body = {0};
    int64_t start_us = ap_clock_monotonic_us(tsdb->options.clock);
    enum ap_rc rc = start_workers(replay, err);
    while (rc == AP_OK) {
        struct wal_record record;
        rc = wal_cursor_next(tsdb->cursor, 0, &record, err);
        if (rc != AP_OK)
            break;
        rc = replay_record(replay, &record, &body, err);
    }
    bool is_end = rc == AP_E_TIMEOUT || rc == AP_E_BUSY;
    if (is_end)
        rc = wait_for_all(replay, err);
    end_workers(replay);
    registry_write_lock(tsdb->registry);
    drop_guests(tsdb);
    registry_unlock(tsdb->registry);
    roaring_bitmap_free(replay->added);
    if (rc != AP_OK)
        return rc;
    head->epoch = replay->epoch_max;
    head->seq = replay->seq_max;
    tsdb->replay_ms = (ap_clock_monotonic_us(tsdb->options.clock) - start_us) / AP_US_PER_MS;
    return AP_OK;
}
