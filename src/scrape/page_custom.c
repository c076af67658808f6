/*
 * Classic histograms that become native ones with custom buckets (convert_classic_histograms_to_nhcb): the lines of
 * one, which stand together, are gathered; when another begins, a histogram is made of them, by the name without
 * `_bucket` and the labels without `le`. What makes no sense as one (bounds or counts that fall) is left out.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scrape/page_internal.h"

struct page_custom {
    bool is_open;
    bool is_bad;
    bool has_count;
    double count;
    double sum;
    struct ap_buf key; /* the series that will be: its text */
    struct exposition_entry entry;
    struct exposition_label labels[EXPOSITION_LABELS_MAX]; /* texts in the page's arena */
    double bounds[HISTOGRAM_BUCKETS_MAX];
    double cumulative[HISTOGRAM_BUCKETS_MAX];
    size_t bucket_count;
    struct exposition_exemplar *exemplars; /* owned; texts in the page's arena, labels too */
    size_t exemplar_count;
    size_t exemplar_capacity;
};

void page_custom_reset(struct page_custom *custom)
{
    if (custom)
        custom->is_open = false;
}

void page_custom_free(struct page_custom *custom)
{
    if (!custom)
        return;
    ap_buf_clear(&custom->key);
    free(custom->exemplars);
    free(custom);
}

enum part { PART_NONE, PART_BUCKET, PART_COUNT, PART_SUM };

/* Which part of the family's histograms the sample is. */
static enum part part_of(const struct page *page, const struct exposition_entry *entry)
{
    static const struct {
        const char *suffix;
        enum part part;
    } parts[] = {{"_bucket", PART_BUCKET}, {"_count", PART_COUNT}, {"_sum", PART_SUM}};
    struct ap_slice family = ap_buf_slice(&page->family);
    if (entry->name.bytes <= family.bytes || memcmp(entry->name.data, family.data, family.bytes) != 0)
        return PART_NONE;
    struct ap_slice suffix = ap_slice(entry->name.data + family.bytes, entry->name.bytes - family.bytes);
    for (size_t i = 0; i < AP_ARRAY_COUNT(parts); i++)
        if (ap_slice_equal_cstr(suffix, parts[i].suffix))
            return parts[i].part;
    return PART_NONE;
}

static bool keep_labels(struct page *page, const struct exposition_label *from, size_t count,
                        struct exposition_label *to)
{
    for (size_t i = 0; i < count; i++)
        if (!page_keep_text(page, from[i].name, &to[i].name) || !page_keep_text(page, from[i].value, &to[i].value))
            return false;
    return true;
}

static enum ap_rc begin(struct page *page, const struct exposition_entry *entry, const struct exposition_label *labels,
                        size_t label_count, struct ap_err *err)
{
    struct page_custom *custom = page->custom;
    custom->is_open = true;
    custom->is_bad = custom->has_count = false;
    custom->count = custom->sum = 0;
    custom->bucket_count = custom->exemplar_count = 0;
    custom->entry = *entry;
    custom->entry.has_exemplar = false;
    custom->entry.labels = custom->labels;
    custom->entry.label_count = label_count;
    if (!page_keep_text(page, ap_buf_slice(&page->family), &custom->entry.name) ||
        !keep_labels(page, labels, label_count, custom->labels))
        return ap_fail(err, AP_E_LIMIT, "the page has too many histograms");
    return AP_OK;
}

static void add_exemplar(struct page *page, const struct exposition_exemplar *exemplar)
{
    struct page_custom *custom = page->custom;
    struct exposition_label *labels = ap_arena_try_alloc(&page->arena, (exemplar->label_count + 1) * sizeof(*labels));
    if (!labels || !keep_labels(page, exemplar->labels, exemplar->label_count, labels))
        return;
    if (custom->exemplar_count == custom->exemplar_capacity) {
        custom->exemplar_capacity = AP_MAX(custom->exemplar_capacity * 2, (size_t)16);
        custom->exemplars = ap_realloc(custom->exemplars, custom->exemplar_capacity * sizeof(*custom->exemplars));
    }
    custom->exemplars[custom->exemplar_count] = *exemplar;
    custom->exemplars[custom->exemplar_count++].labels = labels;
}

/* False: there is no `le`, or it is no number. */
static bool read_bound(struct ap_slice text, double *ret_bound)
{
    return text.data && exposition_number(text.data, text.data + text.bytes, ret_bound) == text.data + text.bytes;
}

static void add_bucket(struct page *page, const struct exposition_entry *entry, struct ap_slice bound_text)
{
    struct page_custom *custom = page->custom;
    size_t last = custom->bucket_count - 1;
    double bound;
    if (!read_bound(bound_text, &bound) || isnan(bound) || custom->bucket_count == HISTOGRAM_BUCKETS_MAX ||
        !(entry->value >= 0) ||
        (custom->bucket_count && (bound <= custom->bounds[last] || entry->value < custom->cumulative[last]))) {
        custom->is_bad = true;
        return;
    }
    custom->bounds[custom->bucket_count] = bound;
    custom->cumulative[custom->bucket_count++] = entry->value;
    if (entry->has_exemplar)
        add_exemplar(page, &entry->exemplar);
}

enum ap_rc page_custom_take(struct page *page, const struct exposition_entry *entry, bool *ret_is_taken,
                            struct ap_err *err)
{
    struct exposition_label labels[EXPOSITION_LABELS_MAX];
    size_t count = 0;
    struct ap_slice bound = {0};
    enum part part = page_type(page) == EXPOSITION_HISTOGRAM ? part_of(page, entry) : PART_NONE;
    *ret_is_taken = part != PART_NONE;
    if (part == PART_NONE)
        return page_custom_end(page, err);
    for (size_t i = 0; i < entry->label_count; i++) {
        if (part == PART_BUCKET && ap_slice_equal_cstr(entry->labels[i].name, "le"))
            bound = entry->labels[i].value;
        else
            labels[count++] = entry->labels[i];
    }
    if (!page->custom)
        page->custom = ap_new0(struct page_custom);
    struct page_custom *custom = page->custom;
    ap_buf_reset(&page->text);
    page_add_series_text(&page->text, ap_buf_slice(&page->family), labels, count);
    if (!custom->is_open || !ap_slice_equal(ap_buf_slice(&page->text), ap_buf_slice(&custom->key))) {
        AP_AUTO_BUF struct ap_buf key = {0};
        ap_buf_add_slice(&key, ap_buf_slice(&page->text));
        enum ap_rc rc = page_custom_end(page, err);
        if (rc == AP_OK)
            rc = begin(page, entry, labels, count, err);
        if (rc != AP_OK)
            return rc;
        ap_buf_reset(&custom->key);
        ap_buf_add_slice(&custom->key, ap_buf_slice(&key));
    }
    if (part == PART_BUCKET) {
        add_bucket(page, entry, bound);
    } else if (part == PART_COUNT) {
        custom->has_count = true;
        custom->count = entry->value;
    } else {
        custom->sum = entry->value;
    }
    return AP_OK;
}

/* ---- The histogram ---- */

struct making {
    struct histogram histogram;
    struct histogram_span spans[HISTOGRAM_BUCKETS_MAX + 1];
    uint64_t counts[HISTOGRAM_BUCKETS_MAX + 1];
    double values[HISTOGRAM_BUCKETS_MAX + 1];
    size_t span_count;
    size_t count;
    size_t next; /* the bucket behind the last one made */
};

static bool is_whole(double value)
{
    return value == floor(value) && value < 9007199254740992.0;
}

/* Buckets without observations are left out. */
static void make_bucket(struct making *making, size_t index, double value)
{
    if (value == 0)
        return;
    size_t offset = index - making->next; /* from the end of the span before; of the first one from 0 */
    if (making->span_count && offset == 0)
        making->spans[making->span_count - 1].length++;
    else
        making->spans[making->span_count++] = (struct histogram_span){(int32_t)offset, 1};
    making->counts[making->count] = is_whole(value) ? (uint64_t)value : 0;
    making->values[making->count++] = value;
    making->next = index + 1;
}

static void make(const struct page_custom *custom, struct making *making)
{
    size_t bounds = custom->bucket_count;
    double before = 0;
    bool is_integer = is_whole(custom->count);
    if (bounds && isinf(custom->bounds[bounds - 1]))
        bounds--;
    for (size_t i = 0; i < bounds; i++) {
        is_integer &= is_whole(custom->cumulative[i]);
        make_bucket(making, i, custom->cumulative[i] - before);
        before = custom->cumulative[i];
    }
    make_bucket(making, bounds, custom->count - before);
    making->histogram = (struct histogram){
        .schema = HISTOGRAM_SCHEMA_CUSTOM,
        .is_float = !is_integer,
        .count = is_integer ? (uint64_t)custom->count : 0,
        .count_value = custom->count,
        .sum = custom->sum,
        .positive = {.spans = making->spans,
                     .span_count = making->span_count,
                     .counts = making->counts,
                     .values = making->values,
                     .count = making->count},
        .custom_values = custom->bounds,
        .custom_value_count = bounds,
    };
}

enum ap_rc page_custom_end(struct page *page, struct ap_err *err)
{
    struct page_custom *custom = page->custom;
    if (!custom || !custom->is_open)
        return AP_OK;
    custom->is_open = false;
    double last = custom->bucket_count ? custom->cumulative[custom->bucket_count - 1] : 0;
    if (!custom->has_count)
        custom->count = last;
    if (custom->is_bad || !(custom->count >= last))
        return AP_OK;
    AP_AUTO_FREE struct making *making = ap_new0(struct making);
    make(custom, making);
    struct told_sample sample = {.entry = &custom->entry, .start_ts_ms = PAGE_NO_TS, .has_exemplars = true};
    enum ap_rc rc = page_keep_histogram(page, &making->histogram, &sample.histogram, err);
    if (rc != AP_OK)
        return rc;
    custom->entry.series = ap_buf_slice(&custom->key);
    struct page_extra *extra;
    rc = page_take_sample(page, &sample, &extra, err);
    for (size_t i = 0; rc == AP_OK && extra && i < custom->exemplar_count; i++) {
        const struct exposition_exemplar *exemplar = &custom->exemplars[i];
        struct label labels[EXPOSITION_LABELS_MAX];
        for (size_t j = 0; j < exemplar->label_count; j++)
            labels[j] = (struct label){exemplar->labels[j].name, exemplar->labels[j].value};
        if (exemplar->has_ts) /* without one, of several nobody could tell which are new */
            page_add_exemplar(page, extra, labels, exemplar->label_count, exemplar->value, exemplar->ts_ms);
    }
    return rc;
}
