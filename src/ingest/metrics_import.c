#include "ingest/metrics_import.h"

#include <stdio.h>
#include <string.h>

_Static_assert((int)EXPOSITION_UNKNOWN == (int)METADATA_UNKNOWN && (int)EXPOSITION_COUNTER == (int)METADATA_COUNTER &&
                   (int)EXPOSITION_GAUGE == (int)METADATA_GAUGE &&
                   (int)EXPOSITION_HISTOGRAM == (int)METADATA_HISTOGRAM &&
                   (int)EXPOSITION_GAUGE_HISTOGRAM == (int)METADATA_GAUGE_HISTOGRAM &&
                   (int)EXPOSITION_SUMMARY == (int)METADATA_SUMMARY && (int)EXPOSITION_INFO == (int)METADATA_INFO &&
                   (int)EXPOSITION_STATE_SET == (int)METADATA_STATE_SET,
               "the same types in the same order");

enum { LABELS_MAX = EXPOSITION_LABELS_MAX + METRICS_IMPORT_EXTRA_LABELS_MAX + 1 };

struct importing {
    struct metrics_body *body;
    const struct metrics_import_options *options;
    struct metrics_import_report *report;
    struct label labels[LABELS_MAX];
};

static void refuse_line(struct importing *importing, const struct exposition_entry *entry, size_t column,
                        const char *reason)
{
    struct metrics_import_report *report = importing->report;
    report->lines_refused++;
    if (report->error_count == METRICS_IMPORT_ERRORS_MAX)
        return;
    struct metrics_import_error *error = &report->errors[report->error_count++];
    error->line = entry->line;
    error->column = column;
    size_t bytes = AP_MIN(strlen(reason), sizeof(error->text) - 1);
    memcpy(error->text, reason, bytes);
    error->text[bytes] = '\0';
}

/* ---- Samples ---- */

static bool is_extra(const struct importing *importing, struct ap_slice name)
{
    for (size_t i = 0; i < importing->options->extra_label_count; i++)
        if (ap_slice_equal(importing->options->extra_labels[i].name, name))
            return true;
    return false;
}

/* The whole label set, canonical, into body->labels. */
static enum ap_rc make_labels(struct importing *importing, const struct exposition_entry *entry, struct ap_err *err)
{
    struct label *labels = importing->labels;
    size_t count = 0;
    if (!is_extra(importing, ap_slice_cstr(LABEL_METRIC_NAME)))
        labels[count++] = (struct label){ap_slice_cstr(LABEL_METRIC_NAME), entry->name};
    for (size_t i = 0; i < entry->label_count; i++)
        if (!is_extra(importing, entry->labels[i].name))
            labels[count++] = (struct label){entry->labels[i].name, entry->labels[i].value};
    for (size_t i = 0; i < importing->options->extra_label_count; i++)
        labels[count++] = importing->options->extra_labels[i];
    ap_buf_reset(&importing->body->labels);
    return labels_encode(labels, count, &importing->body->labels, err);
}

/* Begins a series, unless the line before was of the same one. */
static enum ap_rc begin_series(struct importing *importing, struct ap_err *err)
{
    struct metrics_body *body = importing->body;
    struct batch *batch = &body->batch;
    struct ap_slice labels = ap_buf_slice(&body->labels);
    struct labels_hash hash = labels_hash_of(body->hash_seed, labels);
    if (batch->series_count && labels_hash_equal(batch->series[batch->series_count - 1].hash, hash))
        return AP_OK;
    enum ap_rc rc = metrics_body_keep(body, labels, &labels, err);
    if (rc == AP_OK)
        (void)batch_add_series(batch, labels, hash);
    return rc;
}

static enum ap_rc add_exemplar(struct importing *importing, const struct exposition_entry *entry, int64_t ts_ms,
                               struct ap_err *err)
{
    const struct exposition_exemplar *exemplar = &entry->exemplar;
    for (size_t i = 0; i < exemplar->label_count; i++)
        importing->labels[i] = (struct label){exemplar->labels[i].name, exemplar->labels[i].value};
    return metrics_body_add_exemplar(importing->body, importing->labels, exemplar->label_count,
                                     exemplar->has_ts ? exemplar->ts_ms : ts_ms, exemplar->value, err);
}

static enum ap_rc add_sample(struct importing *importing, const struct exposition_entry *entry, struct ap_err *err)
{
    struct metrics_body *body = importing->body;
    if (make_labels(importing, entry, err) != AP_OK) {
        refuse_line(importing, entry, 1, err->text);
        metrics_body_refuse_sample(body, err->text);
        return AP_OK;
    }
    enum ap_rc rc = begin_series(importing, err);
    if (rc != AP_OK)
        return rc;
    int64_t ts_ms = entry->has_ts ? entry->ts_ms : importing->options->default_ts_ms;
    batch_add_sample(&body->batch, ts_ms, entry->value);
    if (entry->has_exemplar)
        rc = add_exemplar(importing, entry, ts_ms, err);
    return rc == AP_OK ? metrics_body_check_size(body, err) : rc;
}

/* ---- Metadata ---- */

/* Lent from the input where it is there as it stands, copied where it was unescaped. */
static enum ap_rc keep_text(struct importing *importing, struct ap_slice input, struct ap_slice text,
                            struct ap_slice *ret_kept, struct ap_err *err)
{
    *ret_kept = text;
    if (text.bytes == 0 || (text.data >= input.data && text.data < input.data + input.bytes))
        return AP_OK;
    return metrics_body_keep(importing->body, text, ret_kept, err);
}

static enum ap_rc add_metadata(struct importing *importing, struct ap_slice input, enum exposition_kind kind,
                               const struct exposition_entry *entry, struct ap_err *err)
{
    struct batch *batch = &importing->body->batch;
    struct batch_metadata *metadata = batch->metadata_count ? &batch->metadata[batch->metadata_count - 1] : NULL;
    if (!metadata || !ap_slice_equal(metadata->metric, entry->name)) {
        struct ap_slice metric;
        enum ap_rc rc = keep_text(importing, input, entry->name, &metric, err);
        if (rc != AP_OK || batch->metadata_count >= METRICS_SERIES_MAX)
            return rc;
        metadata = batch_add_metadata(batch);
        *metadata = (struct batch_metadata){metric, ap_slice("", 0), ap_slice("", 0), METADATA_UNKNOWN};
    }
    switch (kind) {
    case EXPOSITION_HELP:
        return keep_text(importing, input, entry->text, &metadata->help, err);
    case EXPOSITION_UNIT:
        return keep_text(importing, input, entry->text, &metadata->unit, err);
    default:
        metadata->type = (enum metadata_type)entry->type;
        return AP_OK;
    }
}

static enum ap_rc read_lines(struct importing *importing, struct exposition *parser, struct ap_slice text,
                             struct ap_err *err)
{
    struct exposition_entry entry = {0};
    for (;;) {
        enum ap_rc rc = AP_OK;
        enum exposition_kind kind = exposition_next(parser, &entry);
        switch (kind) {
        case EXPOSITION_END:
            if (importing->options->format == EXPOSITION_OPENMETRICS && !exposition_has_eof(parser)) {
                static const char reason[] = "the text does not end in # EOF: it may have been cut off";
                entry.line++;
                refuse_line(importing, &entry, 1, reason);
                metrics_body_refuse_sample(importing->body, reason);
            }
            return AP_OK;
        case EXPOSITION_BAD:
            refuse_line(importing, &entry, entry.column, entry.reason);
            metrics_body_refuse_sample(importing->body, entry.reason);
            break;
        case EXPOSITION_SAMPLE:
            rc = add_sample(importing, &entry, err);
            break;
        case EXPOSITION_HELP:
        case EXPOSITION_TYPE:
        case EXPOSITION_UNIT:
            rc = add_metadata(importing, text, kind, &entry, err);
            break;
        }
        if (rc != AP_OK)
            return rc;
    }
}

enum ap_rc metrics_import_decode(struct metrics_body *body, const struct metrics_import_options *options,
                                 struct ap_slice text, struct metrics_import_report *ret_report, struct ap_err *err)
{
    struct importing importing;
    importing.body = body;
    importing.options = options;
    importing.report = ret_report;
    ret_report->lines_refused = 0;
    ret_report->error_count = 0;
    AP_AUTO(exposition) struct exposition *parser = exposition_new();
    exposition_begin(parser, options->format, text);
    return read_lines(&importing, parser, text, err);
}
