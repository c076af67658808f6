#include "ingest/push_body.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/exposition.h"
#include "ingest/push_body_internal.h"
#include "promql/float_text.h"

enum { BOUND_BYTES_MAX = 64 };

void push_families_add(struct push_families *families, struct push_family *take_family)
{
    if (families->count == families->capacity) {
        families->capacity = families->capacity ? families->capacity * 2 : 8;
        families->items = ap_realloc(families->items, families->capacity * sizeof(*families->items));
    }
    families->items[families->count++] = take_family;
}

void push_families_clear(struct push_families *families)
{
    for (size_t i = 0; i < families->count; i++)
        push_family_free(families->items[i]);
    free(families->items);
    *families = (struct push_families){0};
}

/* ---- Families and series ---- */

struct push_family *push_reading_find(const struct push_reading *reading, struct ap_slice name)
{
    uint64_t hash = push_name_hash(name);
    const struct slots *slots = &reading->by_name;
    for (uint64_t i = slots_first(slots, (uint32_t)hash); slots->items[i].number != SLOT_EMPTY;
         i = slots_next(slots, i)) {
        struct push_family *family = reading->families.items[slots->items[i].number];
        if (family->name_hash == hash && ap_slice_equal(push_family_name(family), name))
            return family;
    }
    return NULL;
}

struct push_family *push_reading_add_family(struct push_reading *reading, struct ap_slice name, enum metadata_type type)
{
    struct push_family *family = push_family_new(name, type);
    family->pushed_us = reading->options->pushed_us;
    slots_add(&reading->by_name, (uint32_t)family->name_hash, (uint32_t)reading->families.count);
    push_families_add(&reading->families, family);
    return family;
}

static size_t add_labels(struct push_reading *reading, const struct label *labels, size_t label_count,
                         const struct push_value *value)
{
    const struct push_key *key = reading->options->key;
    size_t count = 0;
    reading->labels[count++] = (struct label){ap_slice_cstr(LABEL_METRIC_NAME), value->name};
    for (size_t i = 0; i < label_count; i++)
        if (!push_key_find(key, labels[i].name))
            reading->labels[count++] = labels[i];
    for (size_t i = 0; i < key->count; i++)
        reading->labels[count++] = key->labels[i];
    if (value->more.name.data)
        reading->labels[count++] = value->more;
    return count;
}

enum ap_rc push_reading_add(struct push_reading *reading, struct push_family *family, const struct label *labels,
                            size_t label_count, const struct push_value *value, struct ap_err *err)
{
    if (label_count > PUSH_LABELS_MAX)
        return ap_fail(err, AP_E_LIMIT, "a series may have %d labels", PUSH_LABELS_MAX);
    size_t count = add_labels(reading, labels, label_count, value);
    ap_buf_reset(&reading->encoded);
    enum ap_rc rc = labels_encode(reading->labels, count, &reading->encoded, err);
    if (rc != AP_OK)
        return rc;
    reading->bytes += sizeof(struct push_series) + reading->encoded.bytes + value->blob.bytes;
    if (reading->bytes > reading->options->bytes_max)
        return ap_fail(err, AP_E_LIMIT, "the push takes more than the %zu bytes that all of them may (push.max_size)",
                       reading->options->bytes_max);
    push_family_add(family, reading->options->hash_seed, ap_buf_slice(&reading->encoded), value->number, value->blob);
    return AP_OK;
}

/* ---- Text ---- */

static bool cut_suffix(struct ap_slice *name, const char *suffix)
{
    size_t bytes = strlen(suffix);
    if (name->bytes <= bytes || memcmp(name->data + name->bytes - bytes, suffix, bytes) != 0)
        return false;
    name->bytes -= bytes;
    return true;
}

/* Of a series' name: h_bucket is of the histogram h if there is one, and otherwise a family of its own. */
static struct push_family *find_family(struct push_reading *reading, struct ap_slice name)
{
    struct push_family *family = push_reading_find(reading, name);
    if (family)
        return family;
    struct ap_slice base = name;
    bool is_bucket = cut_suffix(&base, "_bucket");
    if (is_bucket || cut_suffix(&base, "_sum") || cut_suffix(&base, "_count")) {
        family = push_reading_find(reading, base);
        if (family && (family->type == METADATA_HISTOGRAM || (family->type == METADATA_SUMMARY && !is_bucket)))
            return family;
    }
    return push_reading_add_family(reading, name, METADATA_UNKNOWN);
}

/* `le` and `quantile` as Prometheus 3 keeps them, however the client wrote them: 1 and 1e0 are "1.0". */
static enum ap_rc normalise_bound(const struct push_family *family, struct label *label, struct float_text *text,
                                  struct ap_err *err)
{
    const char *bound = family->type == METADATA_HISTOGRAM ? "le" : family->type == METADATA_SUMMARY ? "quantile" : "";
    char number[BOUND_BYTES_MAX];
    char *end = number;
    if (!ap_slice_equal_cstr(label->name, bound))
        return AP_OK;
    double value = 0;
    if (label->value.bytes && label->value.bytes < sizeof(number)) {
        memcpy(number, label->value.data, label->value.bytes);
        number[label->value.bytes] = '\0';
        value = strtod(number, &end);
    }
    if (end == number || (size_t)(end - number) != label->value.bytes)
        return ap_fail(err, AP_E_PARSE, "expected float as value for '%s' label, got \"%.*s\"", bound,
                       AP_SLICE_ARG(ap_slice(label->value.data, AP_MIN(label->value.bytes, (size_t)BOUND_BYTES_MAX))));
    *text = open_metrics_float(value);
    label->value = ap_slice_cstr(text->text);
    return AP_OK;
}

static enum ap_rc add_sample(struct push_reading *reading, const struct exposition_entry *entry, struct ap_err *err)
{
    struct label labels[EXPOSITION_LABELS_MAX];
    struct float_text bound;
    struct push_family *family = find_family(reading, entry->name);
    for (size_t i = 0; i < entry->label_count; i++) {
        labels[i] = (struct label){entry->labels[i].name, entry->labels[i].value};
        if (ap_slice_equal_cstr(labels[i].name, LABEL_METRIC_NAME))
            return ap_fail(err, AP_E_PARSE, "label name \"__name__\" is reserved");
        enum ap_rc rc = normalise_bound(family, &labels[i], &bound, err);
        if (rc != AP_OK)
            return rc;
    }
    struct push_value value = {.name = entry->name, .number = entry->value};
    return push_reading_add(reading, family, labels, entry->label_count, &value, err);
}

static enum ap_rc set_type(struct push_reading *reading, const struct exposition_entry *entry, struct ap_err *err)
{
    struct push_family *family = push_reading_find(reading, entry->name);
    if (family && (family->count || family->type != METADATA_UNKNOWN))
        return ap_fail(err, AP_E_PARSE, "second TYPE line for metric name \"%.*s\", or TYPE reported after samples",
                       AP_SLICE_ARG(entry->name));
    if (!family)
        family = push_reading_add_family(reading, entry->name, METADATA_UNKNOWN);
    family->type = (enum metadata_type)entry->type;
    return AP_OK;
}

static enum ap_rc set_help(struct push_reading *reading, const struct exposition_entry *entry, struct ap_err *err)
{
    struct push_family *family = push_reading_find(reading, entry->name);
    if (!family)
        family = push_reading_add_family(reading, entry->name, METADATA_UNKNOWN);
    if (family->help_at)
        return ap_fail(err, AP_E_PARSE, "second HELP line for metric name \"%.*s\"", AP_SLICE_ARG(entry->name));
    push_family_set_help(family, entry->text);
    return AP_OK;
}

static enum ap_rc read_entry(struct push_reading *reading, enum exposition_kind kind,
                             const struct exposition_entry *entry, struct ap_err *err)
{
    switch (kind) {
    case EXPOSITION_BAD:
        return ap_fail(err, AP_E_PARSE, "%s", entry->reason);
    case EXPOSITION_SAMPLE:
        return add_sample(reading, entry, err);
    case EXPOSITION_TYPE:
        return set_type(reading, entry, err);
    case EXPOSITION_HELP:
        return set_help(reading, entry, err);
    default:
        return AP_OK;
    }
}

static enum ap_rc read_text(struct push_reading *reading, struct ap_slice text, struct ap_err *err)
{
    AP_AUTO(exposition) struct exposition *parser = exposition_new();
    struct exposition_entry entry = {0};
    enum exposition_kind kind;
    exposition_begin(parser, EXPOSITION_TEXT, text);
    while ((kind = exposition_next(parser, &entry)) != EXPOSITION_END) {
        enum ap_rc rc = read_entry(reading, kind, &entry, err);
        if (rc == AP_E_PARSE)
            return ap_err_prefix(err, "text format parsing error in line %zu", entry.line);
        if (rc != AP_OK)
            return rc;
        reading->families.has_ts |= kind == EXPOSITION_SAMPLE && entry.has_ts;
    }
    return AP_OK;
}

/* ---- Both ---- */

/* Without those that were announced and did not come. */
static void complete(struct push_families *families)
{
    size_t kept = 0;
    for (size_t i = 0; i < families->count; i++) {
        push_family_complete(families->items[i]);
        if (families->items[i]->count)
            families->items[kept++] = families->items[i];
        else
            push_family_free(families->items[i]);
    }
    families->count = kept;
}

enum ap_rc push_body_read(const struct push_body_options *options, struct ap_slice bytes,
                          struct push_families *ret_families, struct ap_err *err)
{
    AP_AUTO_FREE struct push_reading *reading = ap_new0(struct push_reading);
    reading->options = options;
    slots_init(&reading->by_name);
    enum ap_rc rc = options->is_protobuf ? push_protobuf_read(reading, bytes, err) : read_text(reading, bytes, err);
    slots_clear(&reading->by_name);
    ap_buf_clear(&reading->encoded);
    if (rc != AP_OK) {
        push_families_clear(&reading->families);
        return rc;
    }
    complete(&reading->families);
    *ret_families = reading->families;
    return AP_OK;
}
