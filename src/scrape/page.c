#include "scrape/page.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "scrape/page_internal.h"

_Static_assert((int)EXPOSITION_UNKNOWN == (int)METADATA_UNKNOWN && (int)EXPOSITION_COUNTER == (int)METADATA_COUNTER &&
                   (int)EXPOSITION_GAUGE == (int)METADATA_GAUGE &&
                   (int)EXPOSITION_HISTOGRAM == (int)METADATA_HISTOGRAM &&
                   (int)EXPOSITION_GAUGE_HISTOGRAM == (int)METADATA_GAUGE_HISTOGRAM &&
                   (int)EXPOSITION_SUMMARY == (int)METADATA_SUMMARY && (int)EXPOSITION_INFO == (int)METADATA_INFO &&
                   (int)EXPOSITION_STATE_SET == (int)METADATA_STATE_SET,
               "the same types in the same order");

enum { ROWS_KEPT_MAX = 64 << 10 }; /* a larger page's memory is given back */

struct page *page_new(void)
{
    struct page *page = ap_new0(struct page);
    page->parser = exposition_new();
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
    exposition_free(page->parser);
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
    page->duplicate_count = page->future_count = page->exemplars_refused = 0;
    page->is_over_limit = false;
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

struct page_extra *page_add_extra(struct page *page)
{
    ROOM(page->extras, page->extra_count, page->extra_capacity);
    struct page_extra *extra = &page->extras[page->extra_count++];
    *extra = (struct page_extra){
        .ts_ms = PAGE_NO_TS, .start_ts_ms = PAGE_NO_TS, .exemplar_first = (uint32_t)page->exemplar_count};
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

/* ---- Series ---- */

static enum ap_rc make_labels(struct page *page, const struct exposition_entry *entry, struct ap_buf *out,
                              bool *ret_is_dropped, struct ap_err *err)
{
    struct series_labels *maker = &page->maker;
    series_labels_begin(maker, entry->name);
    for (size_t i = 0; i < entry->label_count; i++)
        if (!series_labels_add(maker, entry->labels[i].name, entry->labels[i].value))
            break;
    return series_labels_end(maker, out, ret_is_dropped, err);
}

enum ap_rc page_add_line(struct page *page, const struct exposition_entry *entry, uint32_t *ret_line,
                         struct ap_err *err)
{
    bool is_dropped;
    ap_buf_reset(&page->labels);
    enum ap_rc rc = make_labels(page, entry, &page->labels, &is_dropped, err);
    if (rc != AP_OK)
        return rc;
    uint32_t index = line_cache_add(page->cache, entry->series);
    if (index == LINE_NONE)
        return ap_fail(err, AP_E_LIMIT, "the page has more than %d series", LINE_CACHE_LINES_MAX);
    struct cached_line *line = &page->cache->lines[index];
    line->kind = is_dropped ? LINE_DROPPED : LINE_SERIES;
    if (!is_dropped) {
        line->hash = labels_hash_of(page->options.hash_seed, ap_buf_slice(&page->labels));
        page->series_added++;
    }
    *ret_line = index;
    return AP_OK;
}

void page_find_labels(struct page *page, size_t line, struct ap_buf *out)
{
    /* The line's text was understood once, and the rules have not changed since. */
    AP_AUTO_BUF struct ap_buf text = {0};
    ap_buf_add_slice(&text, line_cache_text(page->cache, line));
    ap_buf_add_cstr(&text, " 0\n");
    struct exposition_entry entry;
    exposition_begin(page->parser, EXPOSITION_OPENMETRICS, ap_buf_slice(&text));
    enum exposition_kind kind = exposition_next(page->parser, &entry);
    AP_ASSERT(kind == EXPOSITION_SAMPLE);
    bool is_dropped;
    struct ap_err err;
    enum ap_rc rc = make_labels(page, &entry, out, &is_dropped, &err);
    AP_ASSERT(rc == AP_OK && !is_dropped);
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
    page->exemplars[page->exemplar_count++] = (struct batch_exemplar){.ts_ms = ts_ms, .value = value, .labels = kept};
    extra->exemplar_count++;
}
