/*
 * A target's pages, one after the other: with what was remembered of the pages before they must become the same as
 * without it. The first byte chooses the format and what the job says, 0xFE ends a page.
 */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/bits.h"
#include "scrape/page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEED = 7, END_OF_PAGE = 0xFE, PAGES_MAX = 8 };

/* instance="i", job="j" */
static const char target_labels[] = "\x0a\x0d\x0a\x08instance\x12\x01i\x0a\x08\x0a\x03job\x12\x01j";

struct reader {
    struct page *page;
    struct line_cache cache;
    enum ap_rc rc;
    struct ap_err err;
};

static void read_page(struct reader *reader, const struct page_options *options, unsigned format, struct ap_slice body)
{
    reader->err = (struct ap_err){.rc = AP_OK};
    page_begin(reader->page, options, &reader->cache);
    if (format == 2)
        reader->rc = page_read_protobuf(reader->page, body, &reader->err);
    else
        reader->rc =
            page_read_text(reader->page, format ? EXPOSITION_OPENMETRICS : EXPOSITION_TEXT, body, &reader->err);
}

static void check_extra(const struct page *a, const struct page_extra *extra, const struct page *b,
                        const struct page_extra *other)
{
    AP_ASSERT(extra->ts_ms == other->ts_ms && extra->start_ts_ms == other->start_ts_ms);
    AP_ASSERT(ap_slice_equal(extra->histogram, other->histogram));
    AP_ASSERT(extra->exemplar_count == other->exemplar_count);
    for (uint32_t i = 0; i < extra->exemplar_count; i++) {
        const struct batch_exemplar *left = &a->exemplars[extra->exemplar_first + i];
        const struct batch_exemplar *right = &b->exemplars[other->exemplar_first + i];
        AP_ASSERT(left->ts_ms == right->ts_ms && ap_double_same(left->value, right->value));
        AP_ASSERT(ap_slice_equal(left->labels, right->labels));
    }
}

static void check_labels(struct reader *reader, const struct page_options *options, const struct page_row *row)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    page_find_labels(reader->page, options->job, options->target_labels, &reader->cache, row->line, &labels);
    struct ap_err err;
    AP_ASSERT(labels_check(ap_buf_slice(&labels), &err) == AP_OK);
    AP_ASSERT(labels_hash_equal(reader->cache.lines[row->line].hash, labels_hash_of(SEED, ap_buf_slice(&labels))));
}

static void compare(struct reader *warm, struct reader *cold, const struct page_options *options)
{
    const struct page *a = warm->page;
    const struct page *b = cold->page;
    AP_ASSERT(warm->rc == cold->rc && strcmp(warm->err.text, cold->err.text) == 0);
    AP_ASSERT(a->sample_count == b->sample_count && a->kept_count == b->kept_count);
    if (warm->rc != AP_OK)
        return;
    AP_ASSERT(a->row_count == b->row_count && a->duplicate_count == b->duplicate_count);
    AP_ASSERT(a->future_count == b->future_count && a->exemplars_refused == b->exemplars_refused);
    for (size_t i = 0; i < a->row_count; i++) {
        const struct page_row *left = &a->rows[i];
        const struct page_row *right = &b->rows[i];
        const struct cached_line *left_line = &warm->cache.lines[left->line];
        const struct cached_line *right_line = &cold->cache.lines[right->line];
        AP_ASSERT(
            ap_slice_equal(line_cache_text(&warm->cache, left->line), line_cache_text(&cold->cache, right->line)));
        /* A line whose TYPE has changed keeps the labels that it had. */
        AP_ASSERT(left_line->type != right_line->type || labels_hash_equal(left_line->hash, right_line->hash));
        AP_ASSERT(ap_double_same(left->value, right->value) && !left->extra == !right->extra);
        if (left->extra)
            check_extra(a, &a->extras[left->extra - 1], b, &b->extras[right->extra - 1]);
        check_labels(warm, options, left);
        check_labels(cold, options, right);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct scrape_job job = {
        .name = "j",
        .is_honoring_labels = data[0] & 4,
        .is_honoring_timestamps = data[0] & 8,
        .is_native_histograms = data[0] & 16,
        .is_always_classic = data[0] & 32,
        .is_classic_to_custom = data[0] & 64,
        .is_utf8_names = true,
    };
    unsigned format = data[0] & 3;
    struct page_options options = {
        .job = &job,
        .target_labels = {target_labels, sizeof(target_labels) - 1},
        .ts_ms = 1000000,
        .hash_seed = SEED,
        .is_wanting_start_times = data[0] & 128,
        .is_telling_all_metadata = data[0] & 128,
    };
    struct reader warm = {.page = page_new()};
    struct reader cold = {.page = page_new()};
    line_cache_init(&warm.cache, 1);
    line_cache_init(&cold.cache, 2);
    const uint8_t *at = data + 1;
    const uint8_t *end = data + size;
    for (int i = 0; i < PAGES_MAX && at < end; i++) {
        const uint8_t *page_end = memchr(at, END_OF_PAGE, (size_t)(end - at));
        page_end = page_end ? page_end : end;
        struct ap_slice body = ap_slice(at, (size_t)(page_end - at));
        line_cache_clear(&cold.cache);
        read_page(&warm, &options, format, body);
        read_page(&cold, &options, format, body);
        compare(&warm, &cold, &options);
        if (warm.rc == AP_OK)
            line_cache_keep(&warm.cache);
        else
            line_cache_drop(&warm.cache);
        line_cache_drop(&cold.cache);
        at = page_end < end ? page_end + 1 : end;
    }
    page_free(warm.page);
    page_free(cold.page);
    line_cache_clear(&warm.cache);
    line_cache_clear(&cold.cache);
    return 0;
}
