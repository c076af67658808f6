#include "scrape/keep.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bits.h"
#include "scrape/series_labels.h"

enum { SLICE_SERIES = 16 << 10, SOURCES_MAX = 64 };

/* Prometheus' staleness marker. */
static const uint64_t STALE_BITS = UINT64_C(0x7ff0000000000002);

struct keeper {
    struct keeper_options options;
    struct ap_buf stale_histogram; /* constant */
    _Atomic uint64_t failures;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int64_t pending_count; /* appends that the log has yet to answer; under mutex */
};

/* One append, until both the log and the scrape are done with it. */
struct kept {
    struct tsdb_append append;
    struct keeper *keeper;
    uint32_t holder_count; /* atomic */
};

/* One scrape of those that are kept together. */
struct source {
    const struct scrape_job *job; /* lent, as all here */
    struct ap_slice target_labels;
    struct page *page;
    struct line_cache *cache;
    struct report *report;
};

struct keeping {
    struct keeper *keeper; /* lent */
    int64_t ts_ms;
    struct source sources[SOURCES_MAX]; /* the last one is under way */
    size_t source_count;
    struct keep_outcome outcome;
    struct batch batch;
    /* By series of the batch. */
    struct place {
        uint32_t *ref; /* where the number is remembered; lent */
        uint32_t line; /* in the source's cache, or REPORT_LINE and what the report has */
        uint32_t source;
    } * places;     /* owned */
    uint32_t *refs; /* owned */
    size_t capacity;
};
#define REPORT_LINE (UINT32_MAX - REPORT_COUNT)
#define MARKER_LINE (REPORT_LINE - 1)

/* ---- The keeper ---- */

struct keeper *keeper_new(const struct keeper_options *options)
{
    struct keeper *keeper = ap_new0(struct keeper);
    keeper->options = *options;
    pthread_mutex_init(&keeper->mutex, NULL);
    pthread_cond_init(&keeper->changed, NULL);
    struct histogram stale = {.schema = 0};
    histogram_set_stale(&stale);
    histogram_encode(&stale, &keeper->stale_histogram);
    return keeper;
}

void keeper_free(struct keeper *keeper)
{
    if (!keeper)
        return;
    pthread_mutex_lock(&keeper->mutex);
    while (keeper->pending_count)
        pthread_cond_wait(&keeper->changed, &keeper->mutex);
    pthread_mutex_unlock(&keeper->mutex);
    pthread_cond_destroy(&keeper->changed);
    pthread_mutex_destroy(&keeper->mutex);
    ap_buf_clear(&keeper->stale_histogram);
    free(keeper);
}

uint64_t keeper_hash_seed(const struct keeper *keeper)
{
    return tsdb_hash_seed(keeper->options.tsdb);
}

uint64_t keeper_failures(const struct keeper *keeper)
{
    return atomic_load_explicit(&keeper->failures, memory_order_relaxed);
}

static void count_pending(struct keeper *keeper, int change)
{
    pthread_mutex_lock(&keeper->mutex);
    keeper->pending_count += change;
    if (keeper->pending_count == 0)
        pthread_cond_broadcast(&keeper->changed);
    pthread_mutex_unlock(&keeper->mutex);
}

static void let_go(struct kept *kept)
{
    if (__atomic_sub_fetch(&kept->holder_count, 1, __ATOMIC_ACQ_REL) == 0)
        free(kept);
}

static void appended(struct tsdb_append *append, enum ap_rc rc)
{
    struct kept *kept = append->context;
    struct keeper *keeper = kept->keeper;
    if (rc != AP_OK) {
        struct ap_err err;
        (void)ap_fail(&err, rc, "the log did not take scraped samples; after a crash they may be missing");
        atomic_fetch_add_explicit(&keeper->failures, 1, memory_order_relaxed);
        keeper->options.trouble(&err, keeper->options.context);
    }
    let_go(kept);
    count_pending(keeper, -1);
}

/* ---- Slices ---- */

struct keeping *keeping_new(struct keeper *keeper)
{
    struct keeping *keeping = ap_new0(struct keeping);
    keeping->keeper = keeper;
    return keeping;
}

void keeping_free(struct keeping *keeping)
{
    if (!keeping)
        return;
    batch_clear(&keeping->batch);
    free(keeping->refs);
    free(keeping->places);
    free(keeping);
}

static void flush(struct keeping *keeping);

static void find_labels(void *context, size_t series_index, struct ap_buf *out)
{
    struct keeping *keeping = context;
    const struct place *place = &keeping->places[series_index];
    struct source *source = &keeping->sources[place->source];
    if (place->line == MARKER_LINE) /* no series is made for one */
        return;
    if (place->line >= REPORT_LINE)
        series_labels_report(source->report->target_labels,
                             report_series_name((enum report_series)(place->line - REPORT_LINE)), out);
    else
        page_find_labels(source->page, source->job, source->target_labels, source->cache, place->line, out);
}

void keep_begin(struct keeping *keeping, int64_t ts_ms, struct page *page, struct line_cache *cache,
                struct report *report)
{
    if (keeping->source_count == SOURCES_MAX)
        flush(keeping);
    keeping->ts_ms = ts_ms;
    keeping->sources[keeping->source_count++] = (struct source){
        .job = page->options.job,
        .target_labels = report->target_labels,
        .page = page,
        .cache = cache,
        .report = report,
    };
}

static void note_reason(struct keep_outcome *outcome, const char *reason)
{
    if (outcome->reason[0] == '\0')
        memcpy(outcome->reason, reason, AP_MIN(strlen(reason) + 1, sizeof(outcome->reason) - 1));
}

static void note_outcome(struct keep_outcome *outcome, const struct tsdb_outcome *from)
{
    outcome->refused_duplicate += from->refused_duplicate;
    outcome->refused_old += from->refused_old;
    outcome->refused_future += from->refused_future;
    outcome->refused_other += from->refused_series + from->refused_labels;
    note_reason(outcome, from->reason);
}

static void flush(struct keeping *keeping)
{
    struct batch *batch = &keeping->batch;
    struct keeper *keeper = keeping->keeper;
    batch->find_labels = find_labels;
    batch->find_labels_context = keeping;
    if (batch->series_count + batch->metadata_count == 0)
        return;
    struct kept *kept = ap_new0(struct kept);
    kept->keeper = keeper;
    kept->holder_count = 2;
    kept->append.batch = batch;
    kept->append.refs = keeping->refs;
    kept->append.done = appended;
    kept->append.context = kept;
    count_pending(keeper, 1);
    struct ap_err err;
    enum ap_rc rc = keeper->options.append(keeper->options.tsdb, &kept->append, &err);
    if (rc == AP_OK) {
        if (kept->append.outcome.samples_refused)
            note_outcome(&keeping->outcome, &kept->append.outcome);
        for (size_t i = 0; i < batch->series_count; i++)
            *keeping->places[i].ref = keeping->refs[i];
    } else { /* appended() was not and will not be called */
        keeping->outcome.rc = rc;
        note_reason(&keeping->outcome, err.text);
        let_go(kept);
        count_pending(keeper, -1);
    }
    let_go(kept);
    batch_reset(batch);
    keeping->sources[0] = keeping->sources[keeping->source_count - 1]; /* may be under way */
    keeping->source_count = 1;
}

static void grow(struct keeping *keeping)
{
    size_t capacity = keeping->capacity ? keeping->capacity * 2 : 1024;
    keeping->refs = ap_realloc(keeping->refs, capacity * sizeof(*keeping->refs));
    keeping->places = ap_realloc(keeping->places, capacity * sizeof(*keeping->places));
    keeping->capacity = capacity;
}

static struct batch_series *add_series(struct keeping *keeping, struct labels_hash hash, uint32_t *ref, uint32_t line)
{
    if (keeping->batch.series_count == SLICE_SERIES)
        flush(keeping);
    size_t index = keeping->batch.series_count;
    if (index == keeping->capacity)
        grow(keeping);
    keeping->refs[index] = *ref;
    keeping->places[index] = (struct place){ref, line, (uint32_t)keeping->source_count - 1};
    return batch_add_series(&keeping->batch, (struct ap_slice){0}, hash);
}

/* ---- Samples ---- */

static void add_start_zero(struct batch *batch, struct batch_series *series, const struct page_extra *extra,
                           int64_t ts_ms)
{
    if (extra->start_ts_ms == PAGE_NO_TS || extra->start_ts_ms >= ts_ms || extra->start_ts_ms <= 0)
        return;
    series->has_start_zero = true;
    batch_add_sample(batch, extra->start_ts_ms, 0);
}

static void add_with_extra(struct keeping *keeping, const struct page_row *row, struct batch_series *series)
{
    struct batch *batch = &keeping->batch;
    const struct page *page = keeping->sources[keeping->source_count - 1].page;
    const struct page_extra *extra = &page->extras[row->extra - 1];
    int64_t ts_ms = extra->ts_ms == PAGE_NO_TS ? keeping->ts_ms : extra->ts_ms;
    if (extra->histogram.data) {
        batch_add_histogram(batch, ts_ms, extra->histogram);
    } else {
        add_start_zero(batch, series, extra, ts_ms);
        batch_add_sample(batch, ts_ms, row->value);
    }
    for (uint32_t i = 0; i < extra->exemplar_count; i++)
        *batch_add_exemplar(batch) = page->exemplars[extra->exemplar_first + i];
}

void keep_page(struct keeping *keeping)
{
    const struct page *page = keeping->sources[keeping->source_count - 1].page;
    for (size_t i = 0; i < page->metadata_count; i++)
        *batch_add_metadata(&keeping->batch) = page->metadata[i];
    for (size_t i = 0; i < page->row_count; i++) {
        const struct page_row *row = &page->rows[i];
        struct cached_line *line = &page->cache->lines[row->line];
        struct batch_series *series = add_series(keeping, line->hash, &line->ref, row->line);
        if (row->extra)
            add_with_extra(keeping, row, series);
        else
            batch_add_sample(&keeping->batch, keeping->ts_ms, row->value);
    }
}

/* ---- Markers ---- */

static void add_marker(struct keeping *keeping, struct labels_hash hash, uint32_t *ref, bool is_histogram)
{
    struct batch_series *series = add_series(keeping, hash, ref, MARKER_LINE);
    series->is_only_if_newest = true;
    if (is_histogram)
        batch_add_histogram(&keeping->batch, keeping->ts_ms, ap_buf_slice(&keeping->keeper->stale_histogram));
    else
        batch_add_sample(&keeping->batch, keeping->ts_ms, ap_double_of_bits(STALE_BITS));
}

static void mark_line(struct keeping *keeping, struct cached_line *line)
{
    if (line->kind == LINE_SERIES && line->ref != TSDB_REF_NONE && !line->is_timed)
        add_marker(keeping, line->hash, &line->ref, line->is_histogram);
}

void keep_markers_of_missing(struct keeping *keeping)
{
    struct line_cache *cache = keeping->sources[keeping->source_count - 1].cache;
    for (size_t i = 0; line_cache_next_missing(cache, &i); i++)
        mark_line(keeping, &cache->lines[i]);
}

void keep_markers_of_all(struct keeping *keeping, struct line_cache *cache)
{
    for (size_t i = 0; i < cache->known_count; i++)
        mark_line(keeping, &cache->lines[i]);
}

/* ---- The report ---- */

const char *report_series_name(enum report_series series)
{
    static const char *const names[REPORT_COUNT] = {
        [REPORT_UP] = "up",
        [REPORT_DURATION_SECONDS] = "scrape_duration_seconds",
        [REPORT_SAMPLES_SCRAPED] = "scrape_samples_scraped",
        [REPORT_SAMPLES_POST_METRIC_RELABELING] = "scrape_samples_post_metric_relabeling",
        [REPORT_SERIES_ADDED] = "scrape_series_added",
        [REPORT_TIMEOUT_SECONDS] = "scrape_timeout_seconds",
        [REPORT_SAMPLE_LIMIT] = "scrape_sample_limit",
        [REPORT_BODY_SIZE_BYTES] = "scrape_body_size_bytes",
    };
    AP_ASSERT((size_t)series < REPORT_COUNT);
    return names[series];
}

void report_init(struct report *report, struct ap_slice target_labels, uint64_t hash_seed)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    report->target_labels = target_labels;
    for (size_t i = 0; i < REPORT_COUNT; i++) {
        ap_buf_reset(&labels);
        series_labels_report(target_labels, report_series_name((enum report_series)i), &labels);
        report->series[i].hash = labels_hash_of(hash_seed, ap_buf_slice(&labels));
        report->series[i].ref = TSDB_REF_NONE;
    }
}

void keep_report(struct keeping *keeping, const double *values, size_t count)
{
    struct report *report = keeping->sources[keeping->source_count - 1].report;
    AP_ASSERT(count <= REPORT_COUNT);
    for (size_t i = 0; i < count; i++) {
        if (!values) {
            add_marker(keeping, report->series[i].hash, &report->series[i].ref, false);
            continue;
        }
        (void)add_series(keeping, report->series[i].hash, &report->series[i].ref, REPORT_LINE + (uint32_t)i);
        batch_add_sample(&keeping->batch, keeping->ts_ms, values[i]);
    }
}

void keep_flush(struct keeping *keeping, struct keep_outcome *ret_outcome)
{
    if (keeping->source_count)
        flush(keeping);
    keeping->source_count = 0;
    *ret_outcome = keeping->outcome;
    keeping->outcome = (struct keep_outcome){.rc = AP_OK};
}
