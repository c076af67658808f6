/*
 * Pages of text. The common line is the one that stood there last time with another number behind it: compared, and
 * only its number read. All others go through the parser.
 */
#include <string.h>

#include "scrape/page_internal.h"

/* Milliseconds, in as many digits as they have since 2001 and until 2286, or fewer; NULL: something else. */
static const char *read_own_time(const char *at, const char *end, int64_t *ret_ts_ms)
{
    enum { DIGITS_MAX = 15 };
    int64_t value = 0;
    const char *begin = at;
    for (; at < end && at - begin < DIGITS_MAX && (uint8_t)(*at - '0') <= 9; at++)
        value = value * 10 + (*at - '0');
    *ret_ts_ms = value;
    return at > begin ? at : NULL;
}

/* Whether the line says what it said last as to times; a time that the job does not want becomes none. */
static bool is_timed_as_before(const struct page *page, const struct cached_line *line, int64_t *ts_ms)
{
    const struct scrape_job *job = page->options.job;
    if (!job->is_honoring_timestamps)
        *ts_ms = PAGE_NO_TS;
    bool is_timed = *ts_ms != PAGE_NO_TS && !job->is_tracking_timestamps_staleness;
    return line->kind == LINE_DROPPED ||
           (is_timed == line->is_timed && *ts_ms <= page->options.ts_ms + PAGE_FUTURE_MS_MAX);
}

/* A comment, or a sample that is told plainly, by an expected line. Returns what is behind it; NULL: it is not that. */
static inline const char *read_expected(struct page *page, const char *at, const char *end)
{
    struct line_cache *cache = page->cache;
    struct cached_line *line = line_cache_expected(cache, at, end);
    if (!line)
        return NULL;
    const char *next = at + line->text_bytes;
    if (line->kind == LINE_COMMENT) {
        size_t index = cache->next;
        if (next == end || *next != '\n' || !line_cache_take_expected(cache))
            return NULL;
        if (line->is_type) {
            page->type_line = (uint32_t)index;
            page->group_row = page->row_count;
        }
        return next + 1;
    }
    double value;
    int64_t ts_ms = PAGE_NO_TS;
    if (next == end || *next != ' ' || line->is_histogram || line->is_created ||
        (page->is_gathering && page_type(page) == EXPOSITION_HISTOGRAM))
        return NULL;
    next = exposition_number(next + 1, end, &value);
    if (next && next < end && *next == ' ' && page->has_ms_times)
        next = read_own_time(next + 1, end, &ts_ms);
    if (!next || next == end || *next != '\n' || !is_timed_as_before(page, line, &ts_ms))
        return NULL;
    size_t index = cache->next;
    if (page->is_over_limit || (line->kind == LINE_SERIES && page->row_count >= page->row_max) ||
        !line_cache_take_expected(cache))
        return NULL;
    page->sample_count++;
    if (line->kind == LINE_SERIES) {
        page->kept_count++;
        page_add_row(page, (uint32_t)index, value, 0);
        if (ts_ms != PAGE_NO_TS)
            page_extra_of(page, page->row_count - 1)->ts_ms = ts_ms;
    }
    return next + 1;
}

/* ---- The others ---- */

/* The labels as they are written, without those that tell buckets and quantiles apart. */
static void add_labels_text(struct ap_slice series, struct ap_buf *out)
{
    const char *open = memchr(series.data, '{', series.bytes);
    if (!open)
        return;
    struct ap_slice rest = ap_slice(open + 1, (size_t)(series.data + series.bytes - open - 2));
    while (rest.data) {
        struct ap_slice part = ap_slice_split(&rest, ',');
        if (part.bytes == 0 || ap_slice_starts_with(part, "le=") || ap_slice_starts_with(part, "quantile="))
            continue;
        ap_buf_add_slice(out, part);
        ap_buf_add_char(out, ',');
    }
}

/* `x_created` of OpenMetrics says since when the samples before it count that have the same labels. */
static bool take_created(struct page *page, const struct exposition_entry *entry)
{
    enum exposition_type type = page_type(page);
    if (!page->options.is_wanting_start_times || !page_is_created(entry->name) ||
        (type != EXPOSITION_COUNTER && type != EXPOSITION_HISTOGRAM && type != EXPOSITION_SUMMARY) ||
        !ap_slice_equal(ap_slice(entry->name.data, entry->name.bytes - strlen("_created")),
                        ap_buf_slice(&page->family)))
        return false;
    AP_AUTO_BUF struct ap_buf wanted = {0};
    AP_AUTO_BUF struct ap_buf labels = {0};
    add_labels_text(entry->series, &wanted);
    for (size_t i = page->row_count; i-- > page->group_row;) {
        ap_buf_reset(&labels);
        add_labels_text(line_cache_text(page->cache, page->rows[i].line), &labels);
        if (!ap_slice_equal(ap_buf_slice(&wanted), ap_buf_slice(&labels)))
            break;
        if (entry->value > 0 && entry->value < 9e12)
            page_extra_of(page, i)->start_ts_ms = (int64_t)(entry->value * 1e3);
    }
    return true;
}

static enum ap_rc read_sample(struct page *page, enum exposition_format format, const struct exposition_entry *entry,
                              struct ap_err *err)
{
    if (format == EXPOSITION_OPENMETRICS && take_created(page, entry))
        return AP_OK;
    return page_tell_sample(page, entry, PAGE_NO_TS, err);
}

static enum ap_rc read_entry(struct page *page, enum exposition_format format, enum exposition_kind kind,
                             const struct exposition_entry *entry, struct ap_err *err)
{
    switch (kind) {
    case EXPOSITION_BAD:
        return ap_fail(err, AP_E_PARSE, "line %zu, column %zu: %s", entry->line, entry->column, entry->reason);
    case EXPOSITION_SAMPLE:
        break;
    case EXPOSITION_HELP:
    case EXPOSITION_TYPE:
    case EXPOSITION_UNIT:
        return page_take_comment(page, kind, entry, err);
    case EXPOSITION_END:
        return AP_OK;
    }
    enum ap_rc rc = read_sample(page, format, entry, err);
    return rc == AP_OK ? rc : ap_err_prefix(err, "line %zu", entry->line);
}

enum ap_rc page_read_text(struct page *page, enum exposition_format format, struct ap_slice body, struct ap_err *err)
{
    struct exposition *parser = page->parser;
    struct exposition_entry entry = {0};
    const char *end = body.data + body.bytes;
    page->has_ms_times = format == EXPOSITION_TEXT;
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
        enum ap_rc rc = read_entry(page, format, kind, &entry, err);
        if (rc != AP_OK)
            return rc;
    }
    if (format == EXPOSITION_OPENMETRICS && !exposition_has_eof(parser))
        return ap_fail(err, AP_E_PARSE, "data does not end with # EOF");
    return page_end(page, err);
}
