#include "scrape/page.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/shortest.h"
#include "scrape/page_internal.h"

_Static_assert((int)EXPOSITION_UNKNOWN == (int)METADATA_UNKNOWN && (int)EXPOSITION_COUNTER == (int)METADATA_COUNTER &&
                   (int)EXPOSITION_GAUGE == (int)METADATA_GAUGE &&
                   (int)EXPOSITION_HISTOGRAM == (int)METADATA_HISTOGRAM &&
                   (int)EXPOSITION_GAUGE_HISTOGRAM == (int)METADATA_GAUGE_HISTOGRAM &&
                   (int)EXPOSITION_SUMMARY == (int)METADATA_SUMMARY && (int)EXPOSITION_INFO == (int)METADATA_INFO &&
                   (int)EXPOSITION_STATE_SET == (int)METADATA_STATE_SET,
               "the same types in the same order");

enum {
    ROWS_KEPT_MAX = 64 << 10, /* a larger page's memory is given back */
    FRESH_KEPT_BYTES_MAX = 1 << 20,
    FRESH_BYTES_MAX = 64 << 20, /* labels of new lines; those of further ones are made again when they are asked for */
    POINT_MIN = -3,             /* numbers below 0.0001 and from a million on are written with an exponent */
    POINT_MAX = 6,
    REDUCED_BYTES_MAX = 8 << 20,
};

struct page *page_new(void)
{
    struct page *page = ap_new0(struct page);
    page->parser = exposition_new();
    page->line_parser = exposition_new();
    series_labels_init(&page->maker, NULL, (struct ap_slice){0});
    ap_arena_init(&page->arena, PAGE_ARENA_BYTES_MAX);
    return page;
}

static void free_arrays(struct page *page)
{
    free(page->rows);
    free(page->extras);
    free(page->exemplars);
    free(page->metadata);
    page->rows = NULL;
    page->extras = NULL;
    page->exemplars = NULL;
    page->metadata = NULL;
    page->row_capacity = page->extra_capacity = page->exemplar_capacity = page->metadata_capacity = 0;
}

void page_free(struct page *page)
{
    if (!page)
        return;
    free_arrays(page);
    free(page->fresh_lines);
    exposition_free(page->parser);
    exposition_free(page->line_parser);
    page_custom_free(page->custom);
    ap_buf_clear(&page->family);
    ap_buf_clear(&page->fresh);
    ap_buf_clear(&page->text);
    ap_buf_clear(&page->number);
    for (size_t i = 0; i < AP_ARRAY_COUNT(page->told); i++)
        ap_buf_clear(&page->told[i]);
    series_labels_clear(&page->maker);
    ap_buf_clear(&page->labels);
    ap_arena_clear(&page->arena);
    free(page);
}

void page_begin(struct page *page, const struct page_options *options, struct line_cache *cache)
{
    if (page->row_capacity > ROWS_KEPT_MAX || page->extra_capacity > ROWS_KEPT_MAX ||
        page->exemplar_capacity > ROWS_KEPT_MAX || page->metadata_capacity > ROWS_KEPT_MAX)
        free_arrays(page);
    page->options = *options;
    page->cache = cache;
    page->row_count = page->extra_count = page->exemplar_count = page->metadata_count = 0;
    page->sample_count = page->kept_count = page->series_added = 0;
    page->duplicate_count = page->future_count = page->exemplars_refused = page->histogram_count = 0;
    page->has_ms_times = false;
    page->is_over_limit = false;
    page->type_line = page->family_type_line = LINE_NONE;
    page->type = EXPOSITION_UNKNOWN;
    page->group_row = 0;
    page->fresh_count = 0;
    if (page->fresh.capacity_bytes > FRESH_KEPT_BYTES_MAX)
        ap_buf_clear(&page->fresh);
    ap_buf_reset(&page->fresh);
    page->is_gathering = options->job->is_classic_to_custom;
    page_custom_reset(page->custom);
    page->maker.job = options->job;
    page->maker.target = options->target_labels;
    ap_arena_recycle(&page->arena);
    uint64_t max = options->job->limits.samples_max;
    page->row_max = max && max < PAGE_SAMPLES_MAX ? (size_t)max : (size_t)PAGE_SAMPLES_MAX;
    line_cache_begin(cache);
}

/* ---- Adding ---- */

#define ROOM(array, count, capacity)                                                                                   \
    do {                                                                                                               \
        if (__builtin_expect((count) == (capacity), 0)) {                                                              \
            (capacity) = (capacity) ? (capacity)*2 : 64;                                                               \
            (array) = ap_realloc((array), (capacity) * sizeof(*(array)));                                              \
        }                                                                                                              \
    } while (0)

void page_grow_rows(struct page *page)
{
    ROOM(page->rows, page->row_count, page->row_capacity);
}

static struct page_extra *add_extra(struct page *page)
{
    ROOM(page->extras, page->extra_count, page->extra_capacity);
    struct page_extra *extra = &page->extras[page->extra_count++];
    *extra = (struct page_extra){
        .ts_ms = PAGE_NO_TS, .start_ts_ms = PAGE_NO_TS, .exemplar_first = (uint32_t)page->exemplar_count};
    return extra;
}

struct page_extra *page_extra_of(struct page *page, size_t row)
{
    if (page->rows[row].extra)
        return &page->extras[page->rows[row].extra - 1];
    struct page_extra *extra = add_extra(page);
    page->rows[row].extra = (uint32_t)page->extra_count;
    return extra;
}

bool page_keep_text(struct page *page, struct ap_slice text, struct ap_slice *ret_kept)
{
    char *kept = ap_arena_try_alloc(&page->arena, text.bytes + 1);
    if (!kept)
        return false;
    if (text.bytes)
        memcpy(kept, text.data, text.bytes);
    *ret_kept = ap_slice(kept, text.bytes);
    return true;
}

/* ---- Metadata ---- */

static void note_metadata(struct batch_metadata *metadata, enum exposition_kind kind,
                          const struct exposition_entry *entry)
{
    if (kind == EXPOSITION_HELP)
        metadata->help = entry->text;
    else if (kind == EXPOSITION_UNIT)
        metadata->unit = entry->text;
    else
        metadata->type = (enum metadata_type)entry->type;
}

bool page_parse_metadata(struct exposition *parser, struct ap_slice line, enum exposition_kind *ret_kind,
                         struct exposition_entry *ret_entry)
{
    exposition_begin(parser, EXPOSITION_OPENMETRICS, line);
    *ret_kind = exposition_next(parser, ret_entry);
    return *ret_kind == EXPOSITION_HELP || *ret_kind == EXPOSITION_TYPE || *ret_kind == EXPOSITION_UNIT;
}

/* Texts of one family, copied, since the parser's own last until the next line. */
struct family {
    struct batch_metadata metadata;
    struct ap_buf texts[3];
};

static struct ap_slice copy_text(struct ap_buf *to, struct ap_slice text)
{
    ap_buf_reset(to);
    ap_buf_add_slice(to, text);
    return ap_slice(to->data ? to->data : "", to->bytes);
}

void page_each_metadata(const struct line_cache *cache, page_metadata_fn each, void *context)
{
    AP_AUTO(exposition) struct exposition *parser = exposition_new();
    struct family family = {.metadata = {.metric = {NULL, 0}}};
    bool is_going_on = true;
    for (size_t i = 0; i < cache->count && is_going_on; i++) {
        enum exposition_kind kind;
        struct exposition_entry entry;
        if (cache->lines[i].kind != LINE_COMMENT ||
            !page_parse_metadata(parser, line_cache_text(cache, i), &kind, &entry))
            continue;
        if (!family.metadata.metric.data || !ap_slice_equal(family.metadata.metric, entry.name)) {
            is_going_on = !family.metadata.metric.data || each(&family.metadata, context);
            family.metadata = (struct batch_metadata){
                .metric = copy_text(&family.texts[0], entry.name), .help = {"", 0}, .unit = {"", 0}};
        }
        entry.text = copy_text(&family.texts[kind == EXPOSITION_HELP ? 1 : 2], entry.text);
        note_metadata(&family.metadata, kind, &entry);
    }
    if (is_going_on && family.metadata.metric.data)
        (void)each(&family.metadata, context);
    for (size_t i = 0; i < AP_ARRAY_COUNT(family.texts); i++)
        ap_buf_clear(&family.texts[i]);
}

enum ap_rc page_add_metadata(struct page *page, enum exposition_kind kind, const struct exposition_entry *entry,
                             struct ap_err *err)
{
    struct exposition_entry kept = *entry;
    if (ap_utf8_valid_bytes(entry->name) < entry->name.bytes || ap_utf8_valid_bytes(entry->text) < entry->text.bytes)
        return ap_fail(err, AP_E_PARSE, "invalid UTF-8 in the metadata of a metric");
    if (!page_keep_text(page, entry->name, &kept.name) || !page_keep_text(page, entry->text, &kept.text))
        return ap_fail(err, AP_E_LIMIT, "the page has too much metadata");
    struct batch_metadata *last = page->metadata_count ? &page->metadata[page->metadata_count - 1] : NULL;
    if (!last || !ap_slice_equal(last->metric, entry->name)) {
        ROOM(page->metadata, page->metadata_count, page->metadata_capacity);
        last = &page->metadata[page->metadata_count++];
        *last = (struct batch_metadata){kept.name, ap_slice("", 0), ap_slice("", 0), METADATA_UNKNOWN};
    }
    note_metadata(last, kind, &kept);
    return AP_OK;
}

/* The metadata of the lines that the page before had told already. */
static void retell_metadata(struct page *page)
{
    struct exposition_entry entry;
    enum exposition_kind kind;
    struct ap_err err;
    for (size_t i = 0; i < page->cache->known_count; i++)
        if (page->cache->lines[i].kind == LINE_COMMENT && line_cache_is_taken(page->cache, i) &&
            page_parse_metadata(page->line_parser, line_cache_text(page->cache, i), &kind, &entry) &&
            page_add_metadata(page, kind, &entry, &err) != AP_OK)
            return; /* next time */
}

/* ---- Text that we make ---- */

void page_add_number(struct ap_buf *out, double value)
{
    if (isnan(value) || isinf(value)) {
        ap_buf_add_cstr(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        return;
    }
    if (signbit(value))
        ap_buf_add_char(out, '-');
    struct ap_shortest shortest = {.digits = "0", .count = 1, .point = 1};
    if (value != 0)
        ap_shortest(value, &shortest);
    if (shortest.point < POINT_MIN || shortest.point > POINT_MAX) { /* as Go prints them */
        ap_buf_add_scientific(out, &shortest, 2);
        return;
    }
    ap_buf_add_positional(out, &shortest);
    if (shortest.count <= shortest.point)
        ap_buf_add_cstr(out, ".0");
}

static void add_quoted(struct ap_buf *out, struct ap_slice text)
{
    ap_buf_add_char(out, '"');
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        if (c == '"' || c == '\\' || c == '\n')
            ap_buf_add_char(out, '\\');
        ap_buf_add_char(out, c == '\n' ? 'n' : c);
    }
    ap_buf_add_char(out, '"');
}

void page_add_series_text(struct ap_buf *out, struct ap_slice name, const struct exposition_label *labels,
                          size_t label_count)
{
    bool is_plain = series_labels_is_legacy_name(name, true);
    const char *separator = "{";
    if (is_plain) {
        ap_buf_add_slice(out, name);
    } else {
        ap_buf_add_char(out, '{');
        add_quoted(out, name);
        separator = ",";
    }
    for (size_t i = 0; i < label_count; i++, separator = ",") {
        ap_buf_add_cstr(out, separator);
        if (series_labels_is_legacy_name(labels[i].name, false))
            ap_buf_add_slice(out, labels[i].name);
        else
            add_quoted(out, labels[i].name);
        ap_buf_add_char(out, '=');
        add_quoted(out, labels[i].value);
    }
    if (!is_plain || label_count)
        ap_buf_add_char(out, '}');
}

/* ---- Series ---- */

enum exposition_type page_type(struct page *page)
{
    if (page->family_type_line == page->type_line)
        return page->type;
    struct exposition_entry entry;
    enum exposition_kind kind;
    page->family_type_line = page->type_line;
    if (page_parse_metadata(page->line_parser, line_cache_text(page->cache, page->type_line), &kind, &entry)) {
        page->type = entry.type;
        ap_buf_reset(&page->family);
        ap_buf_add_slice(&page->family, entry.name);
    }
    return page->type;
}

/* A bound that is written in another way than OpenMetrics': rewritten into page->number. */
static struct ap_slice bound_of(struct page *page, const struct exposition_label *label, enum exposition_type type)
{
    bool is_bound = (type == EXPOSITION_HISTOGRAM && ap_slice_equal_cstr(label->name, "le")) ||
                    (type == EXPOSITION_SUMMARY && ap_slice_equal_cstr(label->name, "quantile"));
    const char *end = label->value.data + label->value.bytes;
    double value;
    if (!is_bound || exposition_number(label->value.data, end, &value) != end)
        return label->value;
    ap_buf_reset(&page->number);
    page_add_number(&page->number, value);
    return ap_buf_slice(&page->number);
}

static enum ap_rc make_labels(struct page *page, const struct exposition_entry *entry, enum exposition_type type,
                              struct ap_buf *out, bool *ret_is_dropped, struct ap_err *err)
{
    struct series_labels *maker = &page->maker;
    series_labels_begin(maker, entry->name);
    for (size_t i = 0; i < entry->label_count; i++)
        if (!series_labels_add(maker, entry->labels[i].name, bound_of(page, &entry->labels[i], type)))
            break;
    return series_labels_end(maker, out, ret_is_dropped, err);
}

static void keep_fresh(struct page *page, struct ap_slice labels)
{
    ROOM(page->fresh_lines, page->fresh_count, page->fresh_capacity);
    struct page_fresh *fresh = &page->fresh_lines[page->fresh_count++];
    *fresh = (struct page_fresh){.bytes = 0};
    if (page->fresh.bytes + labels.bytes > FRESH_BYTES_MAX)
        return;
    *fresh = (struct page_fresh){(uint32_t)page->fresh.bytes, (uint32_t)labels.bytes};
    ap_buf_add_slice(&page->fresh, labels);
}

bool page_is_created(struct ap_slice name)
{
    static const char end[] = "_created";
    enum { END_BYTES = sizeof(end) - 1 };
    return name.bytes >= END_BYTES && memcmp(name.data + name.bytes - END_BYTES, end, END_BYTES) == 0;
}

/* Makes labels, and a line. */
static enum ap_rc add_line(struct page *page, const struct exposition_entry *entry, uint32_t *ret_line,
                           struct ap_err *err)
{
    bool is_dropped;
    enum exposition_type type = page_type(page);
    ap_buf_reset(&page->labels);
    enum ap_rc rc = make_labels(page, entry, type, &page->labels, &is_dropped, err);
    if (rc != AP_OK)
        return rc;
    uint32_t index = line_cache_add(page->cache, entry->series);
    if (index == LINE_NONE)
        return ap_fail(err, AP_E_LIMIT, "the page has more than %d series", LINE_CACHE_LINES_MAX);
    struct cached_line *line = &page->cache->lines[index];
    line->kind = is_dropped ? LINE_DROPPED : LINE_SERIES;
    line->type = (uint8_t)type;
    line->is_created = page->options.is_wanting_start_times && page_is_created(entry->name);
    struct ap_slice labels = ap_buf_slice(&page->labels); /* empty when it is dropped */
    keep_fresh(page, labels);
    if (!is_dropped) {
        line->hash = labels_hash_of(page->options.hash_seed, labels);
        page->series_added++;
    }
    *ret_line = index;
    return AP_OK;
}

void page_find_labels(struct page *page, const struct scrape_job *job, struct ap_slice target_labels,
                      const struct line_cache *cache, size_t line, struct ap_buf *out)
{
    if (cache == page->cache && line >= cache->known_count) {
        const struct page_fresh *fresh = &page->fresh_lines[line - cache->known_count];
        ap_buf_add(out, page->fresh.data + fresh->offset, fresh->bytes);
        if (fresh->bytes)
            return;
    }
    /* The line's text was understood once, and the rules have not changed since. */
    ap_buf_reset(&page->text);
    ap_buf_add_slice(&page->text, line_cache_text(cache, line));
    ap_buf_add_cstr(&page->text, " 0\n");
    page->maker.job = job;
    page->maker.target = target_labels;
    struct exposition_entry entry;
    exposition_begin(page->line_parser, EXPOSITION_OPENMETRICS, ap_buf_slice(&page->text));
    enum exposition_kind kind = exposition_next(page->line_parser, &entry);
    AP_ASSERT(kind == EXPOSITION_SAMPLE);
    bool is_dropped;
    struct ap_err err;
    enum exposition_type type = (enum exposition_type)cache->lines[line].type;
    enum ap_rc rc = make_labels(page, &entry, type, out, &is_dropped, &err);
    AP_ASSERT(rc == AP_OK && !is_dropped);
}

static void add_told_exemplar(struct page *page, const struct exposition_exemplar *exemplar, struct page_extra *extra)
{
    struct label labels[EXPOSITION_LABELS_MAX];
    for (size_t i = 0; i < exemplar->label_count; i++)
        labels[i] = (struct label){exemplar->labels[i].name, exemplar->labels[i].value};
    int64_t ts_ms = extra->ts_ms == PAGE_NO_TS ? page->options.ts_ms : extra->ts_ms;
    page_add_exemplar(page, extra, labels, exemplar->label_count, exemplar->value,
                      exemplar->has_ts ? exemplar->ts_ms : ts_ms);
}

/* The row, and what it has beside its value. */
static void add_told(struct page *page, const struct told_sample *sample, uint32_t line, int64_t own_ts_ms,
                     struct page_extra **ret_extra)
{
    const struct exposition_entry *entry = sample->entry;
    int64_t start_ts_ms = page->options.is_wanting_start_times ? sample->start_ts_ms : PAGE_NO_TS;
    page_add_row(page, line, entry->value, 0);
    if (own_ts_ms == PAGE_NO_TS && !entry->has_exemplar && !sample->histogram.data && !sample->has_exemplars &&
        start_ts_ms == PAGE_NO_TS)
        return;
    struct page_extra *extra = page_extra_of(page, page->row_count - 1);
    extra->ts_ms = own_ts_ms;
    extra->start_ts_ms = start_ts_ms;
    extra->histogram = sample->histogram;
    page->histogram_count += sample->histogram.data != NULL;
    if (entry->has_exemplar)
        add_told_exemplar(page, &entry->exemplar, extra);
    if (ret_extra)
        *ret_extra = extra;
}

enum ap_rc page_take_sample(struct page *page, const struct told_sample *sample, struct page_extra **ret_extra,
                            struct ap_err *err)
{
    const struct exposition_entry *entry = sample->entry;
    const struct scrape_job *job = page->options.job;
    struct line_cache *cache = page->cache;
    if (ret_extra)
        *ret_extra = NULL;
    page->sample_count++;
    if (page->is_over_limit) { /* from here on they are only counted */
        page->kept_count++;
        return AP_OK;
    }
    int64_t own_ts_ms = entry->has_ts && job->is_honoring_timestamps ? entry->ts_ms : PAGE_NO_TS;
    uint32_t index = line_cache_find(cache, entry->series);
    bool is_news = true;
    if (index != LINE_NONE) {
        is_news = line_cache_take(cache, index);
    } else {
        enum ap_rc rc = add_line(page, entry, &index, err);
        if (rc != AP_OK)
            return rc;
    }
    struct cached_line *line = &cache->lines[index];
    if (line->kind == LINE_DROPPED)
        return AP_OK;
    page->kept_count++;
    if (!is_news && own_ts_ms == PAGE_NO_TS) {
        page->duplicate_count++;
        return AP_OK;
    }
    if (own_ts_ms > page->options.ts_ms + PAGE_FUTURE_MS_MAX) {
        page->future_count++;
        return AP_OK;
    }
    line->is_timed = own_ts_ms != PAGE_NO_TS && !job->is_tracking_timestamps_staleness;
    line->is_histogram = sample->histogram.data != NULL;
    page->is_over_limit = page->row_count >= page->row_max;
    if (!page->is_over_limit)
        add_told(page, sample, index, own_ts_ms, ret_extra);
    return AP_OK;
}

enum ap_rc page_take_comment(struct page *page, enum exposition_kind kind, const struct exposition_entry *entry,
                             struct ap_err *err)
{
    struct line_cache *cache = page->cache;
    if (page->is_over_limit)
        return AP_OK;
    uint32_t index = line_cache_find(cache, entry->series);
    bool is_known = index != LINE_NONE;
    if (is_known) {
        (void)line_cache_take(cache, index);
    } else {
        index = line_cache_add(cache, entry->series);
        if (index == LINE_NONE)
            return ap_fail(err, AP_E_LIMIT, "the page has more than %d lines", LINE_CACHE_LINES_MAX);
        cache->lines[index].kind = LINE_COMMENT;
        cache->lines[index].is_type = kind == EXPOSITION_TYPE;
        keep_fresh(page, (struct ap_slice){0});
    }
    if (kind == EXPOSITION_TYPE) {
        page->type_line = index;
        page->group_row = page->row_count;
    }
    return is_known ? AP_OK : page_add_metadata(page, kind, entry, err);
}

/* ---- Histograms ---- */

/* native_histogram_min_bucket_factor: the finest schema whose buckets grow by at least so much. */
static int32_t schema_of_factor(double factor)
{
    if (!(factor > 1))
        return HISTOGRAM_SCHEMA_MAX;
    double schema = floor(-log2(log2(factor)));
    return (int32_t)AP_MAX(AP_MIN(schema, (double)HISTOGRAM_SCHEMA_MAX), (double)HISTOGRAM_SCHEMA_MIN);
}

static enum ap_rc limit_buckets(const struct scrape_limits *limits, struct histogram *histogram, struct ap_arena *arena,
                                struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    bool is_custom = histogram->schema == HISTOGRAM_SCHEMA_CUSTOM;
    if (!is_custom)
        rc = histogram_reduce_to(histogram, schema_of_factor(limits->histogram_bucket_factor_min), arena, err);
    while (rc == AP_OK && limits->histogram_buckets_max &&
           histogram->positive.count + histogram->negative.count > limits->histogram_buckets_max) {
        if (is_custom || histogram->schema <= HISTOGRAM_SCHEMA_MIN)
            return ap_fail(err, AP_E_LIMIT, "histogram bucket limit exceeded");
        rc = histogram_reduce_to(histogram, histogram->schema - 1, arena, err);
    }
    return rc;
}

enum ap_rc page_keep_histogram(struct page *page, struct histogram *histogram, struct ap_slice *ret_blob,
                               struct ap_err *err)
{
    AP_AUTO_ARENA struct ap_arena reduced;
    ap_arena_init(&reduced, REDUCED_BYTES_MAX);
    enum ap_rc rc = limit_buckets(&page->options.job->limits, histogram, &reduced, err);
    if (rc == AP_OK)
        rc = histogram_check(histogram, err);
    if (rc != AP_OK)
        return rc;
    ap_buf_reset(&page->text);
    histogram_encode(histogram, &page->text);
    return page_keep_text(page, ap_buf_slice(&page->text), ret_blob)
               ? AP_OK
               : ap_fail(err, AP_E_LIMIT, "the page has too many histograms");
}

/* ---- Exemplars ---- */

static size_t character_count(struct ap_slice text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.bytes; i++)
        count += ((uint8_t)text.data[i] & 0xc0) != 0x80;
    return count;
}

void page_add_exemplar(struct page *page, struct page_extra *extra, const struct label *labels, size_t label_count,
                       double value, int64_t ts_ms)
{
    struct label sorted[EXPOSITION_LABELS_MAX];
    size_t characters = 0;
    for (size_t i = 0; i < label_count; i++) {
        sorted[i] = labels[i];
        characters += character_count(labels[i].name) + character_count(labels[i].value);
    }
    AP_AUTO_BUF struct ap_buf bytes = {0};
    struct ap_slice kept = {0};
    struct ap_err err;
    if (characters > PAGE_EXEMPLAR_CHARACTERS_MAX || page->exemplar_count >= PAGE_EXEMPLARS_MAX ||
        (label_count && labels_encode(sorted, label_count, &bytes, &err) != AP_OK) ||
        !page_keep_text(page, ap_buf_slice(&bytes), &kept)) {
        page->exemplars_refused++;
        return;
    }
    ROOM(page->exemplars, page->exemplar_count, page->exemplar_capacity);
    /* In order of time: the store takes no older one of a series behind a newer one. */
    size_t at = page->exemplar_count++;
    for (; at > extra->exemplar_first && page->exemplars[at - 1].ts_ms > ts_ms; at--)
        page->exemplars[at] = page->exemplars[at - 1];
    page->exemplars[at] = (struct batch_exemplar){.ts_ms = ts_ms, .value = value, .labels = kept};
    extra->exemplar_count++;
}

/* ---- The end ---- */

enum ap_rc page_tell_sample(struct page *page, const struct exposition_entry *entry, int64_t start_ts_ms,
                            struct ap_err *err)
{
    bool is_taken = false;
    enum ap_rc rc = page->is_gathering ? page_custom_take(page, entry, &is_taken, err) : AP_OK;
    if (rc != AP_OK || (is_taken && !page->options.job->is_always_classic))
        return rc;
    struct told_sample sample = {.entry = entry, .start_ts_ms = start_ts_ms};
    return page_take_sample(page, &sample, NULL, err);
}

enum ap_rc page_end(struct page *page, struct ap_err *err)
{
    enum ap_rc rc = page->is_gathering ? page_custom_end(page, err) : AP_OK;
    if (rc != AP_OK)
        return rc;
    if (page->is_over_limit)
        return ap_fail(err, AP_E_LIMIT, "sample limit exceeded");
    if (page->options.is_telling_all_metadata)
        retell_metadata(page);
    return AP_OK;
}
