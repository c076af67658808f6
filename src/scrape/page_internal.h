/* scrape/page_internal.h - what page.c and the readers of the formats share */
#pragma once

#include "scrape/page.h"
#include "tsdb/histogram.h"

/* One sample as a reader found it. `entry` has its text, name and labels, value, time, and one exemplar at most. */
struct told_sample {
    const struct exposition_entry *entry;
    struct ap_slice histogram; /* histogram_encode()'s, in the page's arena; data NULL: the value counts */
    int64_t start_ts_ms;       /* PAGE_NO_TS: not told */
    bool has_exemplars;        /* the reader adds them to *ret_extra */
};

/*
 * Takes or adds the sample's line and makes a row of it. *ret_extra is what the row has beside the value, NULL when it
 * has nothing or was left out; may be NULL. Errors are the scrape's.
 */
ap_nodiscard enum ap_rc page_take_sample(struct page *page, const struct told_sample *sample,
                                         struct page_extra **ret_extra, struct ap_err *err);
/* The same for a sample that is a value; it may be part of a classic histogram that becomes another. */
ap_nodiscard enum ap_rc page_tell_sample(struct page *page, const struct exposition_entry *entry, int64_t start_ts_ms,
                                         struct ap_err *err);
/* When all was told. */
ap_nodiscard enum ap_rc page_end(struct page *page, struct ap_err *err);
/* HELP, TYPE or UNIT, entry->series being the whole line. */
ap_nodiscard enum ap_rc page_take_comment(struct page *page, enum exposition_kind kind,
                                          const struct exposition_entry *entry, struct ap_err *err);
/* Whether the name is that of a start time, in OpenMetrics: x_created. */
bool page_is_created(struct ap_slice name);
/* The type that holds here, as the last line that told one said; page->family is whose. */
enum exposition_type page_type(struct page *page);

void page_grow_rows(struct page *page);
static inline void page_add_row(struct page *page, uint32_t line, double value, uint32_t extra)
{
    if (__builtin_expect(page->row_count == page->row_capacity, 0))
        page_grow_rows(page);
    page->rows[page->row_count++] = (struct page_row){value, line, extra};
}
/* The extra of a row, made when it has none. */
struct page_extra *page_extra_of(struct page *page, size_t row);
bool page_keep_text(struct page *page, struct ap_slice text, struct ap_slice *ret_kept);
ap_nodiscard enum ap_rc page_add_metadata(struct page *page, enum exposition_kind kind,
                                          const struct exposition_entry *entry, struct ap_err *err);
/* One more of the extra added last; one that breaks the rules is counted and left out. */
void page_add_exemplar(struct page *page, struct page_extra *extra, const struct label *labels, size_t label_count,
                       double value, int64_t ts_ms);
/* Of a line that is a comment; false: it says nothing. */
bool page_parse_metadata(struct exposition *parser, struct ap_slice line, enum exposition_kind *ret_kind,
                         struct exposition_entry *ret_entry);

/* Within the job's limits, as bytes in the arena. */
ap_nodiscard enum ap_rc page_keep_histogram(struct page *page, struct histogram *histogram, struct ap_slice *ret_blob,
                                            struct ap_err *err);

/*
 * A number as OpenMetrics writes it in a label, "1.0", "+Inf": so `le` and `quantile` are the same whatever a target
 * speaks.
 */
void page_add_number(struct ap_buf *out, double value);
/* `name{label="value"}`, quoted where a name is not of the usual characters. */
void page_add_series_text(struct ap_buf *out, struct ap_slice name, const struct exposition_label *labels,
                          size_t label_count);

/* ---- page_custom.c: classic histograms that become native ones with custom buckets ---- */

/* *ret_is_taken: the sample is part of a classic histogram, and was gathered. */
ap_nodiscard enum ap_rc page_custom_take(struct page *page, const struct exposition_entry *entry, bool *ret_is_taken,
                                         struct ap_err *err);
/* What was gathered becomes a row. */
ap_nodiscard enum ap_rc page_custom_end(struct page *page, struct ap_err *err);
void page_custom_reset(struct page_custom *custom); /* NULL is allowed, as below */
void page_custom_free(struct page_custom *custom);
