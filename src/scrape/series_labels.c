#include "scrape/series_labels.h"

#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "scrape/relabel.h"

#define EXPORTED_PREFIX "exported_"

enum { ARENA_BYTES_MAX = 64 << 20 }; /* what the rules may make of one series */

void series_labels_init(struct series_labels *maker, const struct scrape_job *job, struct ap_slice target_labels)
{
    maker->job = job;
    maker->target = target_labels;
    maker->count = 0;
    maker->names = (struct ap_buf){0};
    ap_arena_init(&maker->arena, ARENA_BYTES_MAX);
}

void series_labels_clear(struct series_labels *maker)
{
    ap_buf_clear(&maker->names);
    ap_arena_clear(&maker->arena);
}

void series_labels_begin(struct series_labels *maker, struct ap_slice metric_name)
{
    ap_buf_reset(&maker->names);
    maker->count = 0;
    if (metric_name.bytes)
        maker->labels[maker->count++] = (struct label){ap_slice_cstr(LABEL_METRIC_NAME), metric_name};
}

bool series_labels_add(struct series_labels *maker, struct ap_slice name, struct ap_slice value)
{
    if (maker->count == SERIES_LABELS_MAX)
        return false;
    maker->labels[maker->count++] = (struct label){name, value};
    return true;
}

static struct label *find(struct series_labels *maker, struct ap_slice name)
{
    for (size_t i = 0; i < maker->count; i++)
        if (ap_slice_equal(maker->labels[i].name, name))
            return &maker->labels[i];
    return NULL;
}

/* ---- The target's labels ---- */

static void add_honoring(struct series_labels *maker)
{
    struct ap_slice rest = maker->target;
    struct label label;
    while (labels_next(&rest, &label))
        if (!find(maker, label.name)) /* an empty one too: so the Pushgateway keeps our `instance` away */
            (void)series_labels_add(maker, label.name, label.value);
}

static bool is_shorter(const struct label *a, const struct label *b)
{
    return a->name.bytes < b->name.bytes;
}

/* The first name exported_NAME, exported_exported_NAME … that is free; lent from maker->names. */
static struct ap_slice exported_name(struct series_labels *maker, struct ap_slice name)
{
    for (size_t prefixes = 1;; prefixes++) {
        size_t start = maker->names.bytes;
        for (size_t i = 0; i < prefixes; i++)
            ap_buf_add_cstr(&maker->names, EXPORTED_PREFIX);
        ap_buf_add_slice(&maker->names, name);
        struct ap_slice made = ap_slice(maker->names.data + start, maker->names.bytes - start);
        const struct label *there = find(maker, made);
        if (!there || there->value.bytes == 0)
            return made;
        maker->names.bytes = start;
    }
}

static void add_overriding(struct series_labels *maker)
{
    struct label conflicts[LABELS_COUNT_MAX];
    size_t conflict_count = 0;
    size_t conflict_bytes = 0;
    struct ap_slice rest = maker->target;
    struct label label;
    while (labels_next(&rest, &label)) {
        struct label *there = find(maker, label.name);
        if (!there) {
            (void)series_labels_add(maker, label.name, label.value);
            continue;
        }
        if (there->value.bytes && conflict_count < AP_ARRAY_COUNT(conflicts)) {
            size_t at = conflict_count++;
            for (; at > 0 && is_shorter(there, &conflicts[at - 1]); at--)
                conflicts[at] = conflicts[at - 1];
            conflicts[at] = *there;
            conflict_bytes += there->name.bytes + sizeof(EXPORTED_PREFIX) * (conflict_count + 1);
        }
        there->value = label.value;
    }
    if (conflict_count == 0)
        return;
    /* All at once, so that names made first do not move; each conflict is in the way of the others at most once. */
    (void)ap_buf_reserve(&maker->names, conflict_bytes + conflict_count * sizeof(EXPORTED_PREFIX) * (maker->count + 1));
    for (size_t i = 0; i < conflict_count; i++) {
        struct ap_slice name = exported_name(maker, conflicts[i].name);
        struct label *there = find(maker, name);
        if (there)
            there->value = conflicts[i].value;
        else
            (void)series_labels_add(maker, name, conflicts[i].value);
    }
}

/* ---- Limits ---- */

static enum ap_rc check_label(const struct scrape_limits *limits, struct ap_slice metric, const struct label *label,
                              struct ap_err *err)
{
    enum { SHOWN_BYTES = 50 };
    metric.bytes = AP_MIN(metric.bytes, (size_t)SHOWN_BYTES);
    struct ap_slice name = ap_slice(label->name.data, AP_MIN(label->name.bytes, (size_t)SHOWN_BYTES));
    struct ap_slice value = ap_slice(label->value.data, AP_MIN(label->value.bytes, (size_t)SHOWN_BYTES));
    if (limits->label_name_bytes_max && label->name.bytes > limits->label_name_bytes_max)
        return ap_fail(err, AP_E_LIMIT,
                       "label_name_length_limit exceeded (metric: %.*s, label name: %.*s, length: %zu, limit: %" PRIu64
                       ")",
                       AP_SLICE_ARG(metric), AP_SLICE_ARG(name), label->name.bytes, limits->label_name_bytes_max);
    if (limits->label_value_bytes_max && label->value.bytes > limits->label_value_bytes_max)
        return ap_fail(err, AP_E_LIMIT,
                       "label_value_length_limit exceeded (metric: %.*s, label name: %.*s, value: \"%.*s\", length: "
                       "%zu, limit: %" PRIu64 ")",
                       AP_SLICE_ARG(metric), AP_SLICE_ARG(name), AP_SLICE_ARG(value), label->value.bytes,
                       limits->label_value_bytes_max);
    return AP_OK;
}

static enum ap_rc check_limits(const struct scrape_limits *limits, struct ap_slice labels, struct ap_err *err)
{
    if (!limits->labels_max && !limits->label_name_bytes_max && !limits->label_value_bytes_max)
        return AP_OK;
    struct ap_slice metric = labels_get(labels, ap_slice_cstr(LABEL_METRIC_NAME));
    size_t count = labels_count(labels);
    if (limits->labels_max && count > limits->labels_max)
        return ap_fail(err, AP_E_LIMIT,
                       "label_limit exceeded (metric: %.*s, number of labels: %zu, limit: %" PRIu64 ")",
                       (int)AP_MIN(metric.bytes, (size_t)50), metric.data, count, limits->labels_max);
    struct label label;
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && labels_next(&labels, &label))
        rc = check_label(limits, metric, &label, err);
    return rc;
}

bool series_labels_is_legacy_name(struct ap_slice name, bool is_metric)
{
    for (size_t i = 0; i < name.bytes; i++) {
        char c = name.data[i];
        bool is_first = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (is_metric && c == ':');
        if (!is_first && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return name.bytes > 0;
}

/* metric_name_validation_scheme: legacy. */
static enum ap_rc check_names(struct ap_slice labels, struct ap_err *err)
{
    struct ap_slice rest = labels;
    struct label label;
    while (labels_next(&rest, &label)) {
        bool is_metric = ap_slice_equal_cstr(label.name, LABEL_METRIC_NAME);
        if (series_labels_is_legacy_name(label.name, false) &&
            (!is_metric || series_labels_is_legacy_name(label.value, true)))
            continue;
        AP_AUTO_BUF struct ap_buf text = {0};
        labels_format_set(labels, &text);
        return ap_fail(err, AP_E_PARSE, "invalid metric name or label names: %.*s",
                       (int)AP_MIN(text.bytes, (size_t)300), text.data);
    }
    return AP_OK;
}

/* ---- All of it ---- */

static bool is_empty(const struct series_labels *maker)
{
    for (size_t i = 0; i < maker->count; i++)
        if (maker->labels[i].value.bytes)
            return false;
    return true;
}

/* The rules want UTF-8, and a name once. */
static enum ap_rc check_told(struct series_labels *maker, struct ap_err *err)
{
    for (size_t i = 0; i < maker->count; i++) {
        const struct label *label = &maker->labels[i];
        if (ap_utf8_valid_bytes(label->name) < label->name.bytes ||
            ap_utf8_valid_bytes(label->value) < label->value.bytes)
            return ap_fail(err, AP_E_PARSE, "invalid UTF-8 in the labels of a series");
        if (find(maker, label->name) != label)
            return ap_fail(err, AP_E_PARSE, "label name \"%.*s\" is not unique", AP_SLICE_ARG(label->name));
    }
    return AP_OK;
}

static enum ap_rc apply_rules(struct series_labels *maker, bool *ret_is_dropped, struct ap_err *err)
{
    struct relabel_labels labels;
    ap_arena_recycle(&maker->arena);
    relabel_labels_init(&labels, &maker->arena);
    for (size_t i = 0; i < maker->count; i++)
        if (maker->labels[i].value.bytes)
            relabel_labels_set(&labels, maker->labels[i].name, maker->labels[i].value);
    labels.given_count = labels.count;
    enum relabel_result result = relabel_apply(maker->job->metric_relabel, &labels);
    *ret_is_dropped = result == RELABEL_DROPPED;
    if (result == RELABEL_TOO_LARGE || labels.count > AP_ARRAY_COUNT(maker->labels))
        return ap_fail(err, AP_E_LIMIT, "metric_relabel_configs make labels of more than %d bytes, or too many",
                       RELABEL_VALUE_BYTES_MAX);
    if (labels.count)
        memcpy(maker->labels, labels.items, labels.count * sizeof(*labels.items));
    maker->count = labels.count;
    return AP_OK;
}

enum ap_rc series_labels_end(struct series_labels *maker, struct ap_buf *out, bool *ret_is_dropped, struct ap_err *err)
{
    if (maker->count == SERIES_LABELS_MAX)
        return ap_fail(err, AP_E_LIMIT, "a series has more than %d labels", LABELS_COUNT_MAX);
    if (maker->job->is_honoring_labels)
        add_honoring(maker);
    else
        add_overriding(maker);
    enum ap_rc rc = maker->job->metric_relabel ? check_told(maker, err) : AP_OK;
    *ret_is_dropped = false;
    if (rc == AP_OK && maker->job->metric_relabel)
        rc = apply_rules(maker, ret_is_dropped, err);
    if (rc != AP_OK)
        return rc;
    *ret_is_dropped |= is_empty(maker);
    if (*ret_is_dropped)
        return AP_OK;
    const struct label *name = find(maker, ap_slice_cstr(LABEL_METRIC_NAME));
    if (!name || name->value.bytes == 0)
        return ap_fail(err, AP_E_PARSE, "missing metric name (__name__ label)");
    size_t start = out->bytes;
    rc = labels_encode(maker->labels, maker->count, out, err);
    if (rc != AP_OK)
        return rc;
    struct ap_slice made = ap_slice(out->data + start, out->bytes - start);
    if (!maker->job->is_utf8_names)
        rc = check_names(made, err);
    return rc == AP_OK ? check_limits(&maker->job->limits, made, err) : rc;
}

void series_labels_report(struct ap_slice target_labels, const char *metric_name, struct ap_buf *out)
{
    struct label labels[LABELS_COUNT_MAX];
    size_t count = 0;
    labels[count++] = (struct label){ap_slice_cstr(LABEL_METRIC_NAME), ap_slice_cstr(metric_name)};
    struct label label;
    while (count < LABELS_COUNT_MAX && labels_next(&target_labels, &label))
        if (!ap_slice_equal_cstr(label.name, LABEL_METRIC_NAME))
            labels[count++] = label;
    struct ap_err err;
    enum ap_rc rc = labels_encode(labels, count, out, &err);
    AP_ASSERT(rc == AP_OK); /* the target's are canonical, and a name was added */
}
