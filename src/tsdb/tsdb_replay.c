/* What the log has and the last checkpoint has not: every acknowledged sample once. */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "tsdb/tsdb_internal.h"

struct replay {
    struct tsdb *tsdb;
    struct sample_record_head record;
    uint32_t epoch_max;
    uint64_t seq_max;
    uint64_t checkpoint_seq; /* records above are newer than the checkpoint */
    roaring_bitmap_t *added; /* series that are not of the checkpoint */
    bool is_mismatch;        /* a definition contradicts what is known */
};

/*
 * Also of a series that is gone: it was removed after the checkpoint's log began. Its values are decoded and dropped,
 * and drop_guests() forgets it.
 */
static struct head_series *series_of(struct replay *replay, uint32_t ref)
{
    replay->tsdb->ref_floor = AP_MAX(replay->tsdb->ref_floor, ref + 1);
    return head_series_locked(head_shard_of(replay->tsdb->head, ref), head_local(replay->tsdb->head, ref));
}

static void drop_guests(struct tsdb *tsdb)
{
    struct head *head = tsdb->head;
    for (uint32_t i = 0; i < head->options.shard_count; i++) {
        struct head_shard *shard = &head->shards[i];
        for (uint32_t page = 0; page < shard->page_count; page++) {
            for (uint32_t j = 0; shard->pages[page] && j < HEAD_SERIES_PER_PAGE; j++) {
                uint32_t ref = (page * HEAD_SERIES_PER_PAGE + j) << head->shard_shift | i;
                if (shard->pages[page][j].is_live && !registry_has(tsdb->registry, ref))
                    head_series_remove_locked(shard, &shard->pages[page][j]);
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

static struct sample_state *replay_state(void *context, uint32_t ref)
{
    return &series_of(context, ref)->state;
}

/* What was accepted once is not refused now. */
static const struct head_limits everything = {INT64_MIN, INT64_MAX};

static void replay_samples(void *context, uint32_t ref, const int64_t *ts_ms, const double *values, size_t count)
{
    struct replay *replay = context;
    struct head *head = replay->tsdb->head;
    struct head_series *series = series_of(replay, ref);
    if (replay->record.seq <= series->sealed_seq || !registry_has(replay->tsdb->registry, ref))
        return;
    uint8_t verdicts[4096];
    AP_ASSERT(count <= sizeof(verdicts));
    head_append_locked(head, head_shard_of(head, ref), ref, series, &everything, replay->record.seq, ts_ms, values,
                       count, verdicts);
    replay->tsdb->replayed_samples += count;
}

static void replay_histogram(void *context, uint32_t ref, int64_t ts_ms, struct ap_slice blob)
{
    struct replay *replay = context;
    struct head *head = replay->tsdb->head;
    struct head_series *series = series_of(replay, ref);
    if (replay->record.seq <= series->sealed_seq || !registry_has(replay->tsdb->registry, ref))
        return;
    (void)head_append_histogram_locked(head, head_shard_of(head, ref), ref, series, &everything, replay->record.seq,
                                       ts_ms, blob);
    replay->tsdb->replayed_samples++;
}

static void replay_exemplar(void *context, uint32_t ref, int64_t ts_ms, double value, struct ap_slice labels)
{
    struct replay *replay = context;
    (void)extras_add_exemplar(&replay->tsdb->extras, ref, ts_ms, value, labels);
}

static void replay_metadata(void *context, uint8_t type, struct ap_slice metric, struct ap_slice help,
                            struct ap_slice unit)
{
    struct replay *replay = context;
    struct batch_metadata metadata = {metric, help, unit, METADATA_UNKNOWN};
    if (type < METADATA_TYPE_COUNT)
        metadata.type = (enum metadata_type)type;
    (void)extras_set_metadata(&replay->tsdb->extras, &metadata, 0);
}

static enum ap_rc replay_record(struct replay *replay, const struct wal_record *record, struct ap_buf *scratch,
                                struct ap_err *err)
{
    static const struct sample_sink sink_template = {
        .define = replay_define,
        .state = replay_state,
        .samples = replay_samples,
        .histogram = replay_histogram,
        .exemplar = replay_exemplar,
        .metadata = replay_metadata,
    };
    struct tsdb *tsdb = replay->tsdb;
    if (record->type == TSDB_RECORD_DELETION)
        return tsdb_replay_deletion(tsdb, record->payload, err);
    if (record->type != TSDB_RECORD_SAMPLES)
        return AP_OK;
    enum ap_rc rc = sample_record_open(record->payload, &replay->record, err);
    if (rc != AP_OK)
        return rc;
    replay->epoch_max = AP_MAX(replay->epoch_max, replay->record.epoch);
    replay->seq_max = AP_MAX(replay->seq_max, replay->record.seq);
    if (tsdb->epoch_count && replay->record.epoch < tsdb->epochs[0].epoch)
        return AP_OK; /* all of it is in chunks */
    /* Tails that begin now are of the record's epoch: the next checkpoint keeps the log from there on. */
    for (uint32_t i = 0; i < tsdb->head->options.shard_count; i++)
        tsdb->head->shards[i].epoch = replay->record.epoch;
    struct sample_sink sink = sink_template;
    sink.context = replay;
    rc = sample_record_read(record->payload, &sink, scratch, err);
    if (rc == AP_OK && replay->is_mismatch)
        rc = ap_fail(err, AP_E_CORRUPT, "a series of the log contradicts the checkpoint");
    return rc;
}

enum ap_rc tsdb_replay(struct tsdb *tsdb, struct ap_err *err)
{
    struct head *head = tsdb->head;
    struct replay replay = {
        .tsdb = tsdb,
        .epoch_max = head->epoch,
        .seq_max = head->seq,
        .checkpoint_seq = head->seq,
        .added = roaring_bitmap_create(),
    };
    AP_AUTO_BUF struct ap_buf scratch = {0};
    int64_t start_us = ap_clock_monotonic_us(tsdb->options.clock);
    enum ap_rc rc;
    registry_write_lock(tsdb->registry);
    for (;;) {
        struct wal_record record;
        rc = wal_cursor_next(tsdb->cursor, 0, &record, err);
        if (rc != AP_OK)
            break;
        rc = replay_record(&replay, &record, &scratch, err);
        if (rc != AP_OK) {
            (void)ap_err_prefix(err, "log record at LSN %" PRIu64, record.lsn);
            break;
        }
    }
    drop_guests(tsdb);
    roaring_bitmap_free(replay.added);
    registry_unlock(tsdb->registry);
    if (rc != AP_E_TIMEOUT && rc != AP_E_BUSY)
        return rc;
    head->epoch = replay.epoch_max;
    head->seq = replay.seq_max;
    tsdb->replay_ms = (ap_clock_monotonic_us(tsdb->options.clock) - start_us) / AP_US_PER_MS;
    return AP_OK;
}
