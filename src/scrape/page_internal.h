/* scrape/page_internal.h - what page.c and the readers of the formats share */
#pragma once

#include "scrape/page.h"

void page_grow_rows(struct page *page);
struct page_extra *page_add_extra(struct page *page);
bool page_keep_text(struct page *page, struct ap_slice text, struct ap_slice *ret_kept);

/* A row of the line, which the caller took or added; `extra` as in page_row. */
static inline void page_add_row(struct page *page, uint32_t line, double value, uint32_t extra)
{
    if (__builtin_expect(page->row_count == page->row_capacity, 0))
        page_grow_rows(page);
    page->rows[page->row_count++] = (struct page_row){value, line, extra};
}

/* Makes labels, and a line of entry->series. */
ap_nodiscard enum ap_rc page_add_line(struct page *page, const struct exposition_entry *entry, uint32_t *ret_line,
                                      struct ap_err *err);
ap_nodiscard enum ap_rc page_add_metadata(struct page *page, enum exposition_kind kind,
                                          const struct exposition_entry *entry, struct ap_err *err);
/* One more of the extra added last; one that breaks the rules is counted and left out. */
void page_add_exemplar(struct page *page, struct page_extra *extra, const struct label *labels, size_t label_count,
                       double value, int64_t ts_ms);
/* Of a line that is a comment; false: it says nothing. */
bool page_parse_metadata(struct exposition *parser, struct ap_slice line, enum exposition_kind *ret_kind,
                         struct exposition_entry *ret_entry);
