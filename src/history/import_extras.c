/*
 * Exemplars and metadata are about what is new, and live in the store's memory: they take the ordinary way in. Coming
 * twice costs nothing, the store knows what it has.
 */
#include <string.h>

#include "history/import_internal.h"
#include "tsdb/labels.h"

enum { BATCH_SERIES = 4096, BATCH_BYTES = 1 << 20 };

struct sending {
    struct history_import *import;
    const struct history_store *store;
    struct history_report *report;
    struct batch batch;
    struct ap_arena texts; /* of the batch */
    size_t text_bytes;     /* in there */
    enum ap_rc rc;
    struct ap_err err;
};

static void send(struct sending *sending)
{
    struct batch *batch = &sending->batch;
    uint64_t exemplars = 0;
    if (sending->rc != AP_OK || batch->series_count + batch->metadata_count == 0)
        return;
    sending->rc = sending->store->add_extras(sending->store->context, batch, &exemplars, &sending->err);
    sending->report->exemplars += exemplars;
    sending->report->metadata += batch->metadata_count;
    batch_reset(batch);
    ap_arena_reset(&sending->texts);
    sending->text_bytes = 0;
}

static void send_what_is_much(struct sending *sending)
{
    if (sending->batch.series_count + sending->batch.metadata_count >= BATCH_SERIES ||
        sending->text_bytes >= BATCH_BYTES)
        send(sending);
}

static struct ap_slice keep(struct sending *sending, struct ap_slice text)
{
    char *copy = ap_arena_alloc0(&sending->texts, text.bytes + 1);
    if (text.bytes)
        memcpy(copy, text.data, text.bytes);
    sending->text_bytes += text.bytes;
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
    (void)batch_add_series(&sending->batch, keep(sending, series_labels), (struct labels_hash){0});
    struct batch_exemplar *exemplar = batch_add_exemplar(&sending->batch);
    exemplar->ts_ms = ts_ms;
    exemplar->value = value;
    exemplar->labels = keep(sending, labels);
    send_what_is_much(sending);
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
    send_what_is_much(sending);
}

enum ap_rc import_extras(struct history_import *import, const struct history_store *store,
                         struct history_report *report, struct ap_err *err)
{
    struct sending sending = {.import = import, .store = store, .report = report};
    ap_arena_init(&sending.texts, 0);
    prometheus_head_metadata(import->source->head, add_metadata, &sending);
    send(&sending);
    prometheus_head_exemplars(import->source->head, add_exemplar, &sending);
    send(&sending);
    batch_clear(&sending.batch);
    ap_arena_clear(&sending.texts);
    if (sending.rc != AP_OK)
        *err = sending.err;
    return sending.rc;
}
