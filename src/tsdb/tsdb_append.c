/*
 * A batch in: labels to refs, samples to the head, one record for each shard it touches to the log.
 *
 * The registry stays locked for reading from the look-up to the last shard, so that no series goes away in between. For
 * series nobody has seen the lock is given up, taken for writing, and the look-up done again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "tsdb/tsdb_internal.h"

enum {
    FIND_AHEAD = 8,   /* registry look-ups that wait for memory at the same time */
    SERIES_AHEAD = 6, /* the same for the head's series */
    REASON_LABELS_BYTES_MAX = 120,
};

/* A record on its way into the log. */
struct tsdb_append_record {
    struct wal_ticket ticket;
    struct tsdb_append *append;
    struct ap_buf bytes;
};

/* What tsdb_append() needs while it runs. */
struct appending {
    struct tsdb *tsdb;
    struct tsdb_append *append;
    const struct batch *batch;
    struct head_limits limits;
    uint32_t *refs;          /* by series; REGISTRY_NONE: refused, or not found yet. The caller's, or own_refs */
    uint32_t *own_refs;      /* owned; NULL: the caller lent some */
    uint8_t *verdicts;       /* owned; by sample, then by histogram */
    struct ap_buf canonical; /* labels of unknown series that had to be put in order */
    struct unknown {
        uint32_t series;
        struct labels_hash hash;
        size_t labels_offset; /* in `canonical`, or SIZE_MAX: the bytes as they came */
        size_t labels_bytes;
    } * unknown; /* owned */
    size_t unknown_count;
    struct ap_buf scratch;
};

static void refuse(struct appending *appending, const struct batch_series *series, _Atomic uint64_t *counter,
                   uint64_t *outcome_counter, uint64_t count, const char *reason)
{
    struct tsdb_outcome *outcome = &appending->append->outcome;
    outcome->samples_refused += count;
    *outcome_counter += count;
    if (appending->append->refused_by_series)
        appending->append->refused_by_series[series - appending->batch->series] += (uint32_t)count;
    atomic_fetch_add_explicit(counter, count, memory_order_relaxed);
    if (outcome->reason[0])
        return;
    AP_AUTO_BUF struct ap_buf text = {0};
    AP_AUTO_BUF struct ap_buf found = {0};
    struct ap_slice labels = series->labels;
    if (!labels.data) {
        const struct batch *batch = appending->batch;
        batch->find_labels(batch->find_labels_context, (size_t)(series - batch->series), &found);
        labels = ap_buf_slice(&found);
    }
    struct ap_err ignored;
    if (labels_check(labels, &ignored) == AP_OK)
        labels_format(labels, &text);
    snprintf(outcome->reason, sizeof(outcome->reason), "%s%s%.*s", reason, text.bytes ? ": " : "",
             (int)AP_MIN(text.bytes, (size_t)REASON_LABELS_BYTES_MAX), text.data ? text.data : "");
    /* Cutting may have split a character. */
    outcome->reason[ap_utf8_valid_bytes(ap_slice_cstr(outcome->reason))] = '\0';
}

/* ---- Labels to refs ---- */

static void find_known(struct appending *appending)
{
    const struct batch *batch = appending->batch;
    const struct registry *registry = appending->tsdb->registry;
    for (size_t i = 0; i < batch->series_count; i++) {
        /* Where the caller's numbers hold, they follow each other in memory, and nothing is to be fetched ahead. */
        if (i + FIND_AHEAD < batch->series_count && appending->refs[i + FIND_AHEAD] == REGISTRY_NONE)
            registry_prefetch(registry, batch->series[i + FIND_AHEAD].hash);
        if (!registry_is(registry, appending->refs[i], batch->series[i].hash))
            appending->refs[i] = registry_find(registry, batch->series[i].hash);
        appending->unknown_count += appending->refs[i] == REGISTRY_NONE && !batch->series[i].is_only_if_newest;
    }
}

static enum ap_rc put_in_order(struct ap_slice labels, struct ap_buf *out, struct ap_err *err)
{
    struct label items[LABELS_COUNT_MAX];
    size_t count = 0;
    struct ap_slice rest = labels;
    while (rest.bytes) {
        if (count == LABELS_COUNT_MAX)
            return ap_fail(err, AP_E_LIMIT, "more than %d labels", LABELS_COUNT_MAX);
        if (!labels_next(&rest, &items[count++]))
            return ap_fail(err, AP_E_PARSE, "malformed labels");
    }
    return labels_encode(items, count, out, err);
}

/* Labels whose bytes are unknown: checked, and put in order where the sender did not. */
static void check_unknown(struct appending *appending)
{
    const struct batch *batch = appending->batch;
    struct tsdb *tsdb = appending->tsdb;
    appending->unknown = ap_new0_array(struct unknown, appending->unknown_count);
    size_t count = 0;
    for (size_t i = 0; i < batch->series_count; i++) {
        const struct batch_series *series = &batch->series[i];
        if (appending->refs[i] != REGISTRY_NONE || series->is_only_if_newest)
            continue;
        struct unknown *unknown = &appending->unknown[count];
        *unknown = (struct unknown){(uint32_t)i, series->hash, SIZE_MAX, series->labels.bytes};
        struct ap_err err;
        if (!series->labels.data) {
            unknown->labels_offset = appending->canonical.bytes;
            batch->find_labels(batch->find_labels_context, i, &appending->canonical);
            unknown->labels_bytes = appending->canonical.bytes - unknown->labels_offset;
            count++;
            continue;
        }
        if (labels_check(series->labels, &err) != AP_OK) {
            unknown->labels_offset = appending->canonical.bytes;
            if (put_in_order(series->labels, &appending->canonical, &err) != AP_OK) {
                refuse(appending, series, &tsdb->refused_labels, &appending->append->outcome.refused_labels,
                       (uint64_t)series->sample_count + series->histogram_count, err.text);
                continue;
            }
            unknown->labels_bytes = appending->canonical.bytes - unknown->labels_offset;
            unknown->hash =
                labels_hash_of(registry_seed(tsdb->registry),
                               ap_slice(appending->canonical.data + unknown->labels_offset, unknown->labels_bytes));
        }
        count++;
    }
    appending->unknown_count = count;
}

static void add_unknown_locked(struct appending *appending)
{
    struct tsdb *tsdb = appending->tsdb;
    for (size_t i = 0; i < appending->unknown_count; i++) {
        const struct unknown *unknown = &appending->unknown[i];
        const struct batch_series *series = &appending->batch->series[unknown->series];
        if (registry_find(tsdb->registry, unknown->hash) != REGISTRY_NONE ||
            registry_count(tsdb->registry) >= tsdb->options.series_max)
            continue;
        struct ap_slice labels =
            unknown->labels_offset == SIZE_MAX
                ? series->labels
                : ap_slice(appending->canonical.data + unknown->labels_offset, unknown->labels_bytes);
        (void)registry_add_locked(tsdb->registry, labels, unknown->hash,
                                  tsdb->is_holding_refs ? AP_MAX(registry_ref_end(tsdb->registry), tsdb->ref_floor)
                                                        : REGISTRY_NONE);
    }
}

/* On return the registry is locked for reading, and every series has its ref or was refused. */
static void resolve(struct appending *appending)
{
    struct tsdb *tsdb = appending->tsdb;
    registry_read_lock(tsdb->registry);
    find_known(appending);
    if (appending->unknown_count == 0)
        return;
    registry_unlock(tsdb->registry);
    check_unknown(appending);
    registry_write_lock(tsdb->registry);
    add_unknown_locked(appending);
    registry_unlock(tsdb->registry);

    registry_read_lock(tsdb->registry);
    /* Series that were there before may have gone in between, so all are looked up again. */
    appending->append->outcome.refused_series = 0;
    for (size_t i = 0; i < appending->batch->series_count; i++)
        if (appending->refs[i] != REGISTRY_NONE)
            appending->refs[i] = registry_find(tsdb->registry, appending->batch->series[i].hash);
    for (size_t i = 0; i < appending->unknown_count; i++) {
        const struct unknown *unknown = &appending->unknown[i];
        appending->refs[unknown->series] = registry_find(tsdb->registry, unknown->hash);
        if (appending->refs[unknown->series] != REGISTRY_NONE)
            continue;
        const struct batch_series *series = &appending->batch->series[unknown->series];
        char reason[128];
        snprintf(reason, sizeof(reason),
                 "the limit of %" PRIu64 " series (tsdb.max_series) is reached; a new one is refused",
                 tsdb->options.series_max);
        refuse(appending, series, &tsdb->refused_series, &appending->append->outcome.refused_series,
               (uint64_t)series->sample_count + series->histogram_count, reason);
    }
}

/* ---- Into the head ---- */

static void count_refusals(struct appending *appending, const struct batch_series *series, const uint8_t *verdicts,
                           size_t count)
{
    struct tsdb *tsdb = appending->tsdb;
    struct tsdb_outcome *outcome = &appending->append->outcome;
    for (size_t i = 0; i < count; i++) {
        switch ((enum head_verdict)verdicts[i]) {
        case HEAD_APPENDED:
        case HEAD_DUPLICATE:
            break;
        case HEAD_REFUSED_OLD:
            refuse(appending, series, &tsdb->refused_old, &outcome->refused_old, 1,
                   "a sample is older than the out-of-order window (tsdb.out_of_order_window) allows");
            break;
        case HEAD_REFUSED_DUPLICATE:
            refuse(appending, series, &tsdb->refused_duplicate, &outcome->refused_duplicate, 1,
                   "there is another value for this timestamp");
            break;
        case HEAD_REFUSED_FUTURE:
            refuse(appending, series, &tsdb->refused_future, &outcome->refused_future, 1,
                   "a sample is more than an hour in the future");
            break;
        }
    }
}

static size_t count_kept(const uint8_t *verdicts, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        kept += verdicts[i] <= HEAD_DUPLICATE;
    return kept;
}

/* Whether the 0 that begins a series at this time is news (batch.h). */
static bool is_news(const struct batch_series *from, int64_t ts_ms, int64_t last_ts_ms)
{
    return ts_ms > last_ts_ms && !(from->is_start_zero_for_restart && last_ts_ms == INT64_MIN);
}

/* Whether staleness markers of one that is no longer asked are to be left out (batch.h). */
static bool is_late_marker(const struct appending *appending, const struct batch_series *from,
                           const struct head_series *series)
{
    const struct batch *batch = appending->batch;
    int64_t newest = series->last_ts_ms;
    if (series->extra)
        newest = AP_MAX(newest, series->extra->histogram_last_ts_ms);
    return from->is_only_if_newest &&
           ((from->sample_count && batch->ts_ms[from->sample_first] <= newest) ||
            (from->histogram_count && batch->histograms[from->histogram_first].ts_ms <= newest));
}

/* The 0 that begins a series, if there is one: left out silently unless it is news. Returns how many it is. */
static uint32_t append_start_zero_locked(struct appending *appending, struct head_shard *shard, uint32_t ref,
                                         struct head_series *series, const struct batch_series *from, uint64_t seq)
{
    const struct batch *batch = appending->batch;
    int64_t ts_ms = batch->ts_ms[from->sample_first];
    uint8_t *verdict = appending->verdicts + from->sample_first;
    if (!from->has_start_zero)
        return 0;
    if (!is_news(from, ts_ms, series->last_ts_ms))
        *verdict = HEAD_REFUSED_OLD;
    else
        head_append_locked(appending->tsdb->head, shard, ref, series, &appending->limits, seq, &ts_ms,
                           batch->values + from->sample_first, 1, verdict);
    return 1;
}

/* The same of histograms. */
static uint32_t append_start_zero_histogram_locked(struct appending *appending, struct head_shard *shard, uint32_t ref,
                                                   struct head_series *series, const struct batch_series *from,
                                                   uint64_t seq)
{
    const struct batch_histogram *zero = &appending->batch->histograms[from->histogram_first];
    uint8_t *verdict = appending->verdicts + appending->batch->sample_count + from->histogram_first;
    if (!from->has_start_zero || from->sample_count)
        return 0;
    int64_t last_ts_ms = series->extra ? series->extra->histogram_last_ts_ms : INT64_MIN;
    *verdict = HEAD_REFUSED_OLD;
    if (is_news(from, zero->ts_ms, last_ts_ms))
        *verdict = (uint8_t)head_append_histogram_locked(appending->tsdb->head, shard, ref, series, &appending->limits,
                                                         seq, zero->ts_ms, zero->blob);
    return 1;
}

static void append_series_locked(struct appending *appending, struct head_shard *shard, uint32_t ref,
                                 struct head_series *series, size_t index, uint64_t seq)
{
    struct head *head = appending->tsdb->head;
    const struct batch *batch = appending->batch;
    const struct batch_series *from = &batch->series[index];
    struct tsdb_outcome *outcome = &appending->append->outcome;
    uint8_t *verdicts = appending->verdicts + from->sample_first;
    if (is_late_marker(appending, from, series)) {
        memset(verdicts, HEAD_REFUSED_OLD, from->sample_count);
        memset(appending->verdicts + batch->sample_count + from->histogram_first, HEAD_REFUSED_OLD,
               from->histogram_count);
        return;
    }
    if (from->sample_count) {
        uint32_t first = append_start_zero_locked(appending, shard, ref, series, from, seq);
        size_t count = from->sample_count - first;
        head_append_locked(head, shard, ref, series, &appending->limits, seq, batch->ts_ms + from->sample_first + first,
                           batch->values + from->sample_first + first, count, verdicts + first);
        size_t kept = count_kept(verdicts + first, count);
        outcome->samples_written += kept;
        if (kept < count)
            count_refusals(appending, from, verdicts + first, count);
    }
    verdicts = appending->verdicts + batch->sample_count + from->histogram_first;
    uint32_t first_histogram =
        from->histogram_count ? append_start_zero_histogram_locked(appending, shard, ref, series, from, seq) : 0;
    for (uint32_t i = first_histogram; i < from->histogram_count; i++) {
        const struct batch_histogram *histogram = &batch->histograms[from->histogram_first + i];
        verdicts[i] = (uint8_t)head_append_histogram_locked(head, shard, ref, series, &appending->limits, seq,
                                                            histogram->ts_ms, histogram->blob);
        if (verdicts[i] <= HEAD_DUPLICATE)
            outcome->histograms_written++;
        else
            count_refusals(appending, from, &verdicts[i], 1);
    }
}

/* ---- Into the log ---- */

static void define_locked(struct appending *appending, struct sample_writer *writer, uint32_t ref)
{
    ap_buf_reset(&appending->scratch);
    registry_labels(appending->tsdb->registry, ref, &appending->scratch);
    sample_writer_define(writer, ref, ap_buf_slice(&appending->scratch));
}

static void log_series_locked(struct appending *appending, struct head_shard *shard, uint32_t ref,
                              struct head_series *series, size_t index)
{
    const struct batch *batch = appending->batch;
    const struct batch_series *from = &batch->series[index];
    struct sample_writer *writer = &shard->writer;
    const uint8_t *verdicts = appending->verdicts + from->sample_first;
    const uint8_t *histogram_verdicts = appending->verdicts + batch->sample_count + from->histogram_first;
    if (series->save_state != HEAD_SAVED && series->defined_epoch != writer->epoch) {
        define_locked(appending, writer, ref);
        series->defined_epoch = writer->epoch;
    }
    bool is_begun = false;
    for (uint32_t i = 0; i < from->sample_count; i++) {
        if (verdicts[i] > HEAD_DUPLICATE)
            continue;
        if (!is_begun)
            sample_writer_series(writer, head_local(appending->tsdb->head, ref));
        is_begun = true;
        sample_writer_sample(writer, &series->state, batch->ts_ms[from->sample_first + i],
                             batch->values[from->sample_first + i]);
    }
    for (uint32_t i = 0; i < from->histogram_count; i++)
        if (histogram_verdicts[i] <= HEAD_DUPLICATE)
            sample_writer_histogram(writer, head_local(appending->tsdb->head, ref),
                                    batch->histograms[from->histogram_first + i].ts_ms,
                                    batch->histograms[from->histogram_first + i].blob);
    for (uint32_t i = 0; i < from->exemplar_count; i++) {
        const struct batch_exemplar *exemplar = &batch->exemplars[from->exemplar_first + i];
        sample_writer_exemplar(writer, ref, exemplar->ts_ms, exemplar->value, exemplar->labels);
    }
}

static void log_metadata_locked(struct appending *appending, struct sample_writer *writer)
{
    struct tsdb *tsdb = appending->tsdb;
    pthread_mutex_lock(&tsdb->extras_mtx);
    for (size_t i = 0; i < appending->batch->metadata_count; i++) {
        const struct batch_metadata *metadata = &appending->batch->metadata[i];
        if (extras_set_metadata(&tsdb->extras, metadata, writer->epoch))
            sample_writer_metadata(writer, (uint8_t)metadata->type, metadata->metric, metadata->help, metadata->unit);
    }
    pthread_mutex_unlock(&tsdb->extras_mtx);
}

static void finish(struct tsdb_append *append)
{
    if (__atomic_sub_fetch(&append->pending_count, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    free(append->records);
    append->records = NULL;
    append->done(append, append->rc);
}

static void note_rc(struct tsdb_append *append, enum ap_rc rc)
{
    if (rc != AP_OK)
        __atomic_store_n(&append->rc, rc, __ATOMIC_RELAXED);
}

/* On the log's commit thread. */
static void record_done(struct wal_ticket *ticket, enum ap_rc rc, uint64_t lsn)
{
    (void)lsn;
    struct tsdb_append_record *record = ticket->context;
    ap_buf_clear(&record->bytes);
    note_rc(record->append, rc);
    finish(record->append);
}

/* Records from here on say whole values again: what was said last did not get into the log. */
static void begin_epoch_locked(struct tsdb *tsdb, struct head_shard *shard, uint64_t break_count)
{
    shard->epoch = atomic_fetch_add(&tsdb->head->epoch, 1) + 1;
    shard->break_count = break_count;
}

static bool is_of_shard(const struct appending *appending, size_t index, uint32_t shard_index)
{
    uint32_t ref = appending->refs[index];
    return ref != REGISTRY_NONE && (ref & appending->tsdb->head->shard_mask) == shard_index;
}

static void write_record_locked(struct appending *appending, uint32_t shard_index, bool has_metadata, uint64_t seq,
                                bool is_appending, struct ap_buf *out)
{
    struct head *head = appending->tsdb->head;
    struct head_shard *shard = &head->shards[shard_index];
    size_t count = appending->batch->series_count;
    sample_writer_reset(&shard->writer, shard->epoch);
    for (size_t i = 0; i < count; i++) {
        if (i + SERIES_AHEAD < count && is_of_shard(appending, i + SERIES_AHEAD, shard_index)) {
            struct head_series *ahead =
                head_series_peek_locked(shard, head_local(head, appending->refs[i + SERIES_AHEAD]));
            if (ahead)
                __builtin_prefetch(ahead->tail);
        }
        if (!is_of_shard(appending, i, shard_index))
            continue;
        uint32_t ref = appending->refs[i];
        struct head_series *series = head_series_locked(shard, head_local(head, ref));
        if (is_appending)
            append_series_locked(appending, shard, ref, series, i, seq);
        log_series_locked(appending, shard, ref, series, i);
    }
    if (has_metadata)
        log_metadata_locked(appending, &shard->writer);
    if (!sample_writer_is_empty(&shard->writer))
        sample_writer_finish(&shard->writer, shard_index, head->options.shard_count, seq, out);
}

static void append_to_shard(struct appending *appending, uint32_t shard_index, bool has_metadata)
{
    struct tsdb *tsdb = appending->tsdb;
    struct head_shard *shard = &tsdb->head->shards[shard_index];
    struct tsdb_append_record *record = &appending->append->records[shard_index];
    struct ap_err err = {0};
    enum ap_rc rc = AP_E_CONFLICT;
    pthread_mutex_lock(&shard->mtx);
    uint64_t seq = atomic_fetch_add(&tsdb->head->seq, 1) + 1;
    for (bool is_appending = true; rc == AP_E_CONFLICT; is_appending = false) {
        uint64_t break_count = wal_break_count(tsdb->options.wal);
        if (break_count != shard->break_count)
            begin_epoch_locked(tsdb, shard, break_count);
        ap_buf_reset(&record->bytes);
        write_record_locked(appending, shard_index, has_metadata, seq, is_appending, &record->bytes);
        if (record->bytes.bytes == 0)
            break;
        record->append = appending->append;
        record->ticket = (struct wal_ticket){
            .slices = {ap_buf_slice(&record->bytes)},
            .slice_count = 1,
            .type = TSDB_RECORD_SAMPLES,
            .is_chained = true,
            .break_count = break_count,
            .can_wait = appending->append->can_wait,
            .done = record_done,
            .context = record,
        };
        __atomic_fetch_add(&appending->append->pending_count, 1, __ATOMIC_ACQ_REL);
        size_t bytes = record->bytes.bytes;
        rc = wal_submit(tsdb->options.wal, &record->ticket, &err);
        if (rc == AP_OK)
            atomic_fetch_add_explicit(&tsdb->record_bytes, bytes, memory_order_relaxed);
        else
            __atomic_fetch_sub(&appending->append->pending_count, 1, __ATOMIC_ACQ_REL);
    }
    if (rc != AP_OK && rc != AP_E_CONFLICT)
        begin_epoch_locked(tsdb, shard, shard->break_count);
    /* Also of what the log did not take: it can be read. */
    if (shard->touched_min_ts_ms != INT64_MAX)
        changes_note(&shard->changes, atomic_load(&tsdb->head->change_period), shard->touched_min_ts_ms);
    shard->touched_min_ts_ms = INT64_MAX;
    pthread_mutex_unlock(&shard->mtx);
    if (rc != AP_OK) {
        ap_buf_clear(&record->bytes);
        note_rc(appending->append, rc == AP_E_CONFLICT ? AP_OK : rc);
    }
}

static void keep_exemplars(struct appending *appending)
{
    const struct batch *batch = appending->batch;
    if (batch->exemplar_count == 0)
        return;
    struct tsdb *tsdb = appending->tsdb;
    struct tsdb_outcome *outcome = &appending->append->outcome;
    pthread_mutex_lock(&tsdb->extras_mtx);
    for (size_t i = 0; i < batch->series_count; i++) {
        const struct batch_series *series = &batch->series[i];
        for (uint32_t j = 0; j < series->exemplar_count; j++) {
            const struct batch_exemplar *exemplar = &batch->exemplars[series->exemplar_first + j];
            if (appending->refs[i] == REGISTRY_NONE ||
                extras_add_exemplar(&tsdb->extras, appending->refs[i], exemplar->ts_ms, exemplar->value,
                                    exemplar->labels) == EXEMPLAR_OLD)
                outcome->exemplars_refused++;
            else
                outcome->exemplars_written++;
        }
    }
    pthread_mutex_unlock(&tsdb->extras_mtx);
    atomic_fetch_add_explicit(&tsdb->exemplars_appended, outcome->exemplars_written, memory_order_relaxed);
}

enum ap_rc tsdb_append(struct tsdb *tsdb, struct tsdb_append *append, struct ap_err *err)
{
    (void)err;
    const struct batch *batch = append->batch;
    struct appending appending = {.tsdb = tsdb, .append = append, .batch = batch};
    appending.limits = head_limits_of(tsdb->head, ap_clock_wall_us(tsdb->options.clock) / AP_US_PER_MS);
    appending.refs = append->refs;
    if (!append->refs) {
        appending.own_refs = ap_realloc(NULL, (batch->series_count + 1) * sizeof(*appending.refs));
        memset(appending.own_refs, 0xff, batch->series_count * sizeof(*appending.refs));
        appending.refs = appending.own_refs;
    }
    appending.verdicts = ap_realloc(NULL, batch->sample_count + batch->histogram_count + 1);
    append->outcome = (struct tsdb_outcome){0};
    append->records = ap_new0_array(struct tsdb_append_record, tsdb->head->options.shard_count);
    append->pending_count = 1; /* ours: done() must not come before the last record is submitted */
    append->rc = AP_OK;

    resolve(&appending);
    bool has_metadata = batch->metadata_count > 0;
    for (uint32_t shard = 0; shard < tsdb->head->options.shard_count; shard++) {
        bool is_touched = has_metadata && shard == 0;
        for (size_t i = 0; i < batch->series_count && !is_touched; i++)
            is_touched = is_of_shard(&appending, i, shard);
        if (is_touched)
            append_to_shard(&appending, shard, has_metadata && shard == 0);
    }
    keep_exemplars(&appending);
    registry_unlock(tsdb->registry);
    if (append->appended)
        append->appended(append);

    free(appending.own_refs);
    free(appending.verdicts);
    free(appending.unknown);
    ap_buf_clear(&appending.canonical);
    ap_buf_clear(&appending.scratch);
    finish(append);
    return AP_OK;
}
