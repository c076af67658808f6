/*
 * Exemplars and metadata are about what is new, and live in the store's memory: they take the ordinary way in. Coming
 * twice costs nothing, the store knows what it has.
 */
#include <string.h>

#include "history/import_internal.h"
#include "os/thread.h"
#include "tsdb/labels.h"

enum { BATCH_SERIES = 4096 };

struct sending {
    struct history_import *import;
    struct tsdb *tsdb;
    struct history_report *report;
    struct batch batch;
    struct ap_arena texts; /* labels of the batch */
    enum ap_rc rc;
    struct ap_err err;
    pthread_mutex_t mtx;
    pthread_cond_t cond;
    bool is_done; /* under mtx */
    enum ap_rc done_rc;
};

static void done(struct tsdb_append *append, enum ap_rc rc)
{
    struct sending *sending = append->context;
    pthread_mutex_lock(&sending->mtx);
    sending->is_done = true;
    sending->done_rc = rc;
    pthread_cond_signal(&sending->cond);
    pthread_mutex_unlock(&sending->mtx);
}

static void send(struct sending *sending)
{
    if (sending->rc != AP_OK || sending->batch.series_count + sending->batch.metadata_count == 0)
        return;
    struct tsdb_append append = {.batch = &sending->batch, .done = done, .context = sending};
    sending->is_done = false;
    sending->rc = tsdb_append(sending->tsdb, &append, &sending->err);
    if (sending->rc == AP_OK) {
        pthread_mutex_lock(&sending->mtx);
        while (!sending->is_done)
            (void)pthread_cond_wait(&sending->cond, &sending->mtx);
        pthread_mutex_unlock(&sending->mtx);
        if (sending->done_rc != AP_OK)
            sending->rc = ap_fail(&sending->err, sending->done_rc, "the log did not take exemplars and metadata");
    }
    sending->report->exemplars += append.outcome.exemplars_written;
    sending->report->metadata += sending->batch.metadata_count;
    batch_reset(&sending->batch);
    ap_arena_reset(&sending->texts);
}

static struct ap_slice keep(struct sending *sending, struct ap_slice text)
{
    char *copy = ap_arena_alloc0(&sending->texts, text.bytes + 1);
    if (text.bytes)
        memcpy(copy, text.data, text.bytes);
    return ap_slice(copy, text.bytes);
}

static bool is_wanted(const struct history_import *import, struct ap_slice labels)
{
    for (size_t i = 0; i < import->options.selector_count; i++)
        if (matchers_match(&import->options.selectors[i], labels))
            return true;
    return import->options.selector_count == 0;
}

static void add_exemplar(struct ap_slice series_labels, int64_t ts_ms, double value, struct ap_slice labels,
                         void *context)
{
    struct sending *sending = context;
    if (ts_ms < sending->import->facts.first_ts_ms || ts_ms > sending->import->facts.last_ts_ms ||
        !is_wanted(sending->import, series_labels))
        return;
    (void)batch_add_series(&sending->batch, keep(sending, series_labels),
                           labels_hash_of(tsdb_hash_seed(sending->tsdb), series_labels));
    struct batch_exemplar *exemplar = batch_add_exemplar(&sending->batch);
    exemplar->ts_ms = ts_ms;
    exemplar->value = value;
    exemplar->labels = keep(sending, labels);
    if (sending->batch.series_count == BATCH_SERIES)
        send(sending);
}

static void add_metadata(struct ap_slice series_labels, uint8_t type, struct ap_slice unit, struct ap_slice help,
                         void *context)
{
    struct sending *sending = context;
    struct ap_slice name = labels_get(series_labels, ap_slice_cstr(LABEL_METRIC_NAME));
    if (!name.data || !is_wanted(sending->import, series_labels))
        return;
    struct batch_metadata *metadata = batch_add_metadata(&sending->batch);
    metadata->metric = keep(sending, name);
    metadata->type = type < METADATA_TYPE_COUNT ? (enum metadata_type)type : METADATA_UNKNOWN;
    metadata->unit = keep(sending, unit);
    metadata->help = keep(sending, help);
    if (sending->batch.metadata_count == BATCH_SERIES)
        send(sending);
}

enum ap_rc import_extras(struct history_import *import, struct tsdb *tsdb, struct history_report *report,
                         struct ap_err *err)
{
    struct sending sending = {.import = import, .tsdb = tsdb, .report = report};
    ap_arena_init(&sending.texts, 0);
    pthread_mutex_init(&sending.mtx, NULL);
    os_cond_init(&sending.cond);
    prometheus_head_metadata(import->source->head, add_metadata, &sending);
    send(&sending);
    prometheus_head_exemplars(import->source->head, add_exemplar, &sending);
    send(&sending);
    batch_clear(&sending.batch);
    ap_arena_clear(&sending.texts);
    pthread_mutex_destroy(&sending.mtx);
    pthread_cond_destroy(&sending.cond);
    if (sending.rc != AP_OK)
        *err = sending.err;
    return sending.rc;
}
