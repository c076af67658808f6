/*
 * bench/bench_exposition.c - what reading a scraped page costs: the parser alone, a page that was never seen, and one
 * whose lines were
 *
 *     ninja -C build bench/bench-exposition && build/bench/bench-exposition
 *
 * Prints MB/s and nanoseconds a sample of one core, the best of some rounds.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "codec/exposition.h"
#include "scrape/page.h"
#include "scrape_page.h"

enum { SERIES = 1000, PAGES = 16, ROUNDS = 200 };

static double sum; /* keeps the compiler from leaving the work out */

struct pages {
    struct ap_buf bodies[PAGES];
    size_t bytes;
};

static void run_parser(struct exposition *parser, const struct pages *pages)
{
    for (size_t i = 0; i < PAGES; i++) {
        struct exposition_entry entry;
        exposition_begin(parser, EXPOSITION_TEXT, ap_buf_slice(&pages->bodies[i]));
        enum exposition_kind kind;
        while ((kind = exposition_next(parser, &entry)) != EXPOSITION_END) {
            AP_ASSERT(kind != EXPOSITION_BAD);
            if (kind == EXPOSITION_SAMPLE)
                sum += entry.value + (double)entry.label_count;
        }
    }
}

static void run_page(struct page *page, struct line_cache *cache, bool is_forgetting, const struct pages *pages)
{
    static const struct scrape_job job = {.name = "bench", .is_utf8_names = true};
    /* instance="i", job="j" */
    static const char target[] = "\x0a\x0d\x0a\x08instance\x12\x01i\x0a\x08\x0a\x03job\x12\x01j";
    struct page_options options = {
        .job = &job, .target_labels = {target, sizeof(target) - 1}, .ts_ms = 1000, .hash_seed = 1};
    for (size_t i = 0; i < PAGES; i++) {
        struct ap_err err;
        if (is_forgetting)
            line_cache_clear(cache);
        page_begin(page, &options, cache);
        enum ap_rc rc = page_read_text(page, EXPOSITION_TEXT, ap_buf_slice(&pages->bodies[i]), &err);
        AP_ASSERT(rc == AP_OK && page->row_count == SERIES);
        sum += page->rows[page->row_count - 1].value;
        line_cache_keep(cache);
    }
}

static void print(const char *what, const struct pages *pages, int64_t best_us)
{
    printf("  %-28s %7.0f MB/s %7.1f ns a sample\n", what, (double)pages->bytes / (double)best_us,
           (double)best_us * 1e3 / (SERIES * PAGES));
}

static void bench(const char *name, enum scrape_page_kind kind)
{
    struct pages pages = {.bytes = 0};
    for (size_t i = 0; i < PAGES; i++) {
        scrape_page_make(kind, SERIES, i, &pages.bodies[i]);
        pages.bytes += pages.bodies[i].bytes;
    }
    printf("%s, %zu bytes a page of %d series\n", name, pages.bytes / PAGES, SERIES);
    AP_AUTO(exposition) struct exposition *parser = exposition_new();
    AP_AUTO(page) struct page *page = page_new();
    struct line_cache cache;
    line_cache_init(&cache, 1);
    int64_t best_us[3] = {INT64_MAX, INT64_MAX, INT64_MAX};
    for (int way = 0; way < 3; way++)
        for (int round = 0; round < (way == 1 ? ROUNDS / 10 : ROUNDS); round++) {
            int64_t began_us = ap_clock_monotonic_us(&ap_clock_system);
            if (way == 0)
                run_parser(parser, &pages);
            else
                run_page(page, &cache, way == 1, &pages);
            best_us[way] = AP_MIN(best_us[way], ap_clock_monotonic_us(&ap_clock_system) - began_us);
        }
    print("parser, every line", &pages, best_us[0]);
    print("page, never seen", &pages, best_us[1]);
    print("page, lines seen before", &pages, best_us[2]);
    line_cache_clear(&cache);
    for (size_t i = 0; i < PAGES; i++)
        ap_buf_clear(&pages.bodies[i]);
}

int main(void)
{
    bench("node_exporter's kind", SCRAPE_PAGE_NODE);
    bench("an application's kind", SCRAPE_PAGE_APP);
    return sum == 0.5; /* never */
}
