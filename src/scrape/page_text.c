/*
 * Pages of text. The common line is the one that stood there last time with another number behind it: compared, and
 * only its number read. All others go through the parser.
 */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "scrape/page_internal.h"

/*
 * A sample that is told plainly by an expected line: no time, no exemplar. Behind the line, or NULL: it is something
 * else. *ret_lines counts.
 */
static inline const char *read_expected(struct page *page, const char *at, const char *end)
{
    struct line_cache *cache = page->cache;
    struct cached_line *line = line_cache_expected(cache, at, end);
    if (!line)
        return NULL;
    const char *next = at + line->text_bytes;
    if (line->kind == LINE_COMMENT) {
        if (next == end || *next != '\n' || !line_cache_take_expected(cache))
            return NULL;
        return next + 1;
    }
    double value;
    if (next == end || *next != ' ' || line->is_timed || line->is_histogram)
        return NULL;
    next = exposition_number(next + 1, end, &value);
    if (!next || next == end || *next != '\n')
        return NULL;
    size_t index = cache->next;
    if (page->is_over_limit || (line->kind == LINE_SERIES && page->row_count >= page->row_max) ||
        !line_cache_take_expected(cache))
        return NULL;
    page->sample_count++;
    if (line->kind == LINE_SERIES) {
        page->kept_count++;
        page_add_row(page, (uint32_t)index, value, 0);
    }
    return next + 1;
}

/* ---- The others ---- */

static uint32_t add_extra(struct page *page, const struct exposition_entry *entry, int64_t own_ts_ms)
{
    struct page_extra *extra = page_add_extra(page);
    uint32_t index = (uint32_t)page->extra_count;
    extra->ts_ms = own_ts_ms;
    if (!entry->has_exemplar)
        return index;
    const struct exposition_exemplar *exemplar = &entry->exemplar;
    struct label labels[EXPOSITION_LABELS_MAX];
    for (size_t i = 0; i < exemplar->label_count; i++)
        labels[i] = (struct label){exemplar->labels[i].name, exemplar->labels[i].value};
    int64_t ts_ms = own_ts_ms == PAGE_NO_TS ? page->options.ts_ms : own_ts_ms;
    page_add_exemplar(page, extra, labels, exemplar->label_count, exemplar->value,
                      exemplar->has_ts ? exemplar->ts_ms : ts_ms);
    return index;
}

static enum ap_rc read_sample(struct page *page, const struct exposition_entry *entry, struct ap_err *err)
{
    struct line_cache *cache = page->cache;
    page->sample_count++;
    if (page->is_over_limit) {
        page->kept_count++;
        return AP_OK;
    }
    int64_t own_ts_ms = entry->has_ts && page->options.job->is_honoring_timestamps ? entry->ts_ms : PAGE_NO_TS;
    uint32_t index = line_cache_find(cache, entry->series);
    bool is_news = true;
    if (index != LINE_NONE) {
        is_news = line_cache_take(cache, index);
    } else {
        enum ap_rc rc = page_add_line(page, entry, &index, err);
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
    line->is_timed = own_ts_ms != PAGE_NO_TS && !page->options.job->is_tracking_timestamps_staleness;
    line->is_histogram = false;
    if (page->row_count >= page->row_max) {
        page->is_over_limit = true;
        return AP_OK;
    }
    bool has_extra = own_ts_ms != PAGE_NO_TS || entry->has_exemplar;
    page_add_row(page, index, entry->value, has_extra ? add_extra(page, entry, own_ts_ms) : 0);
    return AP_OK;
}

/* HELP, TYPE and UNIT: the whole line is the text. Other comments the parser does not tell. */
static enum ap_rc read_comment(struct page *page, enum exposition_kind kind, const struct exposition_entry *entry,
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
    }
    return is_known ? AP_OK : page_add_metadata(page, kind, entry, err);
}

static enum ap_rc read_entry(struct page *page, enum exposition_kind kind, const struct exposition_entry *entry,
                             struct ap_err *err)
{
    switch (kind) {
    case EXPOSITION_BAD:
        return ap_fail(err, AP_E_PARSE, "line %zu, column %zu: %s", entry->line, entry->column, entry->reason);
    case EXPOSITION_SAMPLE:
        break;
    case EXPOSITION_HELP:
    case EXPOSITION_TYPE:
    case EXPOSITION_UNIT:
        return read_comment(page, kind, entry, err);
    case EXPOSITION_END:
        return AP_OK;
    }
    enum ap_rc rc = read_sample(page, entry, err);
    return rc == AP_OK ? rc : ap_err_prefix(err, "line %zu", entry->line);
}

/* The metadata of the lines that the page before had told already. */
static void retell_metadata(struct page *page)
{
    struct exposition_entry entry;
    enum exposition_kind kind;
    struct ap_err err;
    for (size_t i = 0; i < page->cache->known_count; i++)
        if (page->cache->lines[i].kind == LINE_COMMENT && line_cache_is_taken(page->cache, i) &&
            page_parse_metadata(page->parser, line_cache_text(page->cache, i), &kind, &entry) &&
            page_add_metadata(page, kind, &entry, &err) != AP_OK)
            return; /* next time */
}

enum ap_rc page_read_text(struct page *page, enum exposition_format format, struct ap_slice body, struct ap_err *err)
{
    struct exposition *parser = page->parser;
    struct exposition_entry entry = {0};
    const char *end = body.data + body.bytes;
    exposition_begin(parser, format, body);
    for (;;) {
        const char *at = exposition_place(parser);
        if (!at)
            break;
        size_t line_count = 0;
        for (const char *next; at < end && (next = read_expected(page, at, end)) != NULL; at = next)
            line_count++;
        if (line_count)
            exposition_go_on(parser, at, line_count);
        enum exposition_kind kind = exposition_next(parser, &entry);
        if (kind == EXPOSITION_END)
            break;
        enum ap_rc rc = read_entry(page, kind, &entry, err);
        if (rc != AP_OK)
            return rc;
    }
    if (format == EXPOSITION_OPENMETRICS && !exposition_has_eof(parser))
        return ap_fail(err, AP_E_PARSE, "data does not end with # EOF");
    if (page->is_over_limit)
        return ap_fail(err, AP_E_LIMIT, "sample limit exceeded");
    if (page->options.is_telling_all_metadata)
        retell_metadata(page);
    return AP_OK;
}
