/*
 * bench/scrape_page.h - pages as exporters write them, for benches
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum scrape_page_kind {
    SCRAPE_PAGE_NODE, /* as node_exporter's: many families, short lines, much HELP */
    SCRAPE_PAGE_APP,  /* as a service's: histograms and counters by method, path, status … */
};

/* Appends a page of `series` series as it is at `tick`; counters grow from tick to tick. */
void scrape_page_make(enum scrape_page_kind kind, size_t series, uint64_t tick, struct ap_buf *out);
