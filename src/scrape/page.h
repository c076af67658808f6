/*
 * scrape/page.h - what a target answers, understood: samples and what belongs to them, with the cached line of each
 *
 *     body ──page_read_text()─────┐   line by line through the cache      ┌─► rows: value, line
 *     body ──page_read_protobuf()─┴─► (a protobuf page is written as lines) ├─► extras of the few rows that have some
 *                                                                          └─► metadata
 *
 * A page is read as a whole or not at all: on failure the reason is the scrape's, and nothing of it is kept.
 *
 * One owner, no locks. Reused from page to page.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "codec/exposition.h"
#include "scrape/job.h"
#include "scrape/line_cache.h"
#include "scrape/series_labels.h"
#include "tsdb/batch.h"

enum {
    PAGE_SAMPLES_MAX = 4 << 20,       /* of one page, whatever the job allows */
    PAGE_ARENA_BYTES_MAX = 256 << 20, /* metadata, exemplars and histograms of one */
    PAGE_EXEMPLARS_MAX = 1 << 20,
    PAGE_EXEMPLAR_CHARACTERS_MAX = 128, /* OpenMetrics: names and values of an exemplar's labels together */
    PAGE_FUTURE_MS_MAX = 600 * 1000,    /* a target's own times may be ahead so much, as in Prometheus */
};
#define PAGE_NO_TS INT64_MIN

struct page_row {
    double value;
    uint32_t line;  /* in the cache */
    uint32_t extra; /* 0: none; else extras[extra - 1] */
};

struct page_extra {
    int64_t ts_ms;             /* the target's own; PAGE_NO_TS: none */
    int64_t start_ts_ms;       /* since when the sample counts; PAGE_NO_TS: not told */
    struct ap_slice histogram; /* histogram_encode()'s, in the arena; data NULL: the value counts */
    uint32_t exemplar_first;
    uint32_t exemplar_count;
};

struct page_custom; /* private to page_custom.c */

struct page_options {
    const struct scrape_job *job;
    struct ap_slice target_labels; /* canonical */
    int64_t ts_ms;                 /* of the scrape */
    uint64_t hash_seed;            /* tsdb_hash_seed() */
    bool is_wanting_start_times;
    bool is_telling_all_metadata; /* also what the page before had */
};

struct page {
    /* Set by page_begin(), lent. */
    struct page_options options;
    struct line_cache *cache;
    size_t row_max; /* rows beyond are over the limit */
    /* What was read. */
    struct page_row *rows; /* owned */
    size_t row_count;
    size_t row_capacity;
    struct page_extra *extras; /* owned */
    size_t extra_count;
    size_t extra_capacity;
    struct batch_exemplar *exemplars; /* owned; their labels are in the arena */
    size_t exemplar_count;
    size_t exemplar_capacity;
    struct batch_metadata *metadata; /* owned; in the arena */
    size_t metadata_count;
    size_t metadata_capacity;
    uint64_t sample_count;    /* told by the target */
    uint64_t kept_count;      /* of these, not dropped by rules */
    uint64_t series_added;    /* that the page before had not */
    uint64_t duplicate_count; /* told twice */
    uint64_t future_count;    /* times too far ahead */
    uint64_t exemplars_refused;
    uint64_t histogram_count; /* rows that are one */
    bool is_over_limit;       /* of samples: they are still counted */
    /* Where reading is. */
    uint32_t type_line; /* the last line that said a type; LINE_NONE: none did */
    size_t group_row;   /* the first row of the metric being told: what a start time is about */
    enum exposition_type type;
    struct ap_buf family;       /* its name */
    uint32_t family_type_line;  /* the type_line that these two are of */
    bool has_ms_times;          /* the format's times are whole milliseconds */
    bool is_gathering;          /* convert_classic_histograms_to_nhcb */
    struct page_custom *custom; /* owned; a classic histogram that becomes one with custom buckets; NULL: none yet */
    /* Labels of lines that are new: the store asks for them. */
    struct ap_buf fresh;
    struct page_fresh {
        uint32_t offset;
        uint32_t bytes;
    } * fresh_lines; /* owned; by index behind the cache's known ones; bytes 0: not kept */
    size_t fresh_count;
    size_t fresh_capacity;
    /* Working memory. */
    struct exposition *parser;      /* owned */
    struct exposition *line_parser; /* owned; of single lines, while the other is at work */
    struct series_labels maker;
    struct ap_buf labels;  /* of one series */
    struct ap_buf text;    /* of one line made here */
    struct ap_buf number;  /* of one label's value */
    struct ap_buf told[3]; /* of one sample of protobuf: name, bound, series */
    struct ap_arena arena;
};

struct page *page_new(void);
void page_free(struct page *page); /* NULL is allowed */
AP_DEFINE_AUTO(page, struct page, page_free)

/*
 * Begins a page of a target whose lines are in `cache`; line_cache_begin() is called. Then one page_read_…(), then
 * line_cache_keep() or line_cache_drop(), after which the rows mean nothing any more.
 */
void page_begin(struct page *page, const struct page_options *options, struct line_cache *cache);
/* The bytes of `body` must stay until the page is done with. */
ap_nodiscard enum ap_rc page_read_text(struct page *page, enum exposition_format format, struct ap_slice body,
                                       struct ap_err *err);
/* Delimited io.prometheus.client.MetricFamily messages. */
ap_nodiscard enum ap_rc page_read_protobuf(struct page *page, struct ap_slice body, struct ap_err *err);

/*
 * The canonical labels of a line that is a kept series, out of its text and the rules: caches keep no labels. The line
 * is of this page's cache or, while no page is being read, of another's. Appends.
 */
void page_find_labels(struct page *page, const struct scrape_job *job, struct ap_slice target_labels,
                      const struct line_cache *cache, size_t line, struct ap_buf *out);

/* HELP, TYPE and UNIT as they are told now, one family after the other, until `each` returns false. */
typedef bool (*page_metadata_fn)(const struct batch_metadata *metadata, void *context);
void page_each_metadata(const struct line_cache *cache, page_metadata_fn each, void *context);
