#include "ingest/otlp_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* So many that parts of their hashes, which the table keeps, are the same: they are told apart all the same. */
static void test_texts(void **state)
{
    (void)state;
    AP_AUTO(otlp_cache) struct otlp_cache *cache = otlp_cache_new(1);
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < 200 * 1000; i++)
            assert_int_equal(otlp_cache_text(cache, ap_slice(&i, sizeof(i))), i);
    assert_int_equal(otlp_cache_text(cache, ap_slice("", 0)), 200 * 1000);
    assert_int_equal(otlp_cache_text(cache, ap_slice("", 0)), 200 * 1000);
    assert_non_null(otlp_cache_text_at(cache, 200 * 1000).data);
}

/* ---- Metrics ---- */

static struct otlp_metric metric_of(const char *head, enum otlp_kind kind)
{
    struct otlp_metric metric = {.head = ap_slice_cstr(head), .kind = kind};
    return metric;
}

static uint32_t add_metric(struct otlp_cache *cache, const char *head, enum otlp_kind kind)
{
    struct otlp_cached_metric metric = {.metric = metric_of(head, kind), .name = ap_slice_cstr(head)};
    return otlp_cache_add_metric(cache, &metric);
}

static uint32_t find_metric(struct otlp_cache *cache, const char *head, enum otlp_kind kind)
{
    struct otlp_metric metric = metric_of(head, kind);
    return otlp_cache_find_metric(cache, &metric);
}

/* By head and kind; who has no head is found by the texts in it. */
static void test_metrics(void **state)
{
    (void)state;
    AP_AUTO(otlp_cache) struct otlp_cache *cache = otlp_cache_new(1);
    assert_int_equal(find_metric(cache, "\x0a\x01", OTLP_GAUGE), OTLP_CACHE_NONE);
    uint32_t gauge = add_metric(cache, "\x0a\x01m\x12\x02is\x1a\x01s", OTLP_GAUGE);
    uint32_t sum = add_metric(cache, "\x0a\x01m\x12\x02is\x1a\x01s", OTLP_SUM);
    assert_int_not_equal(gauge, sum);
    assert_int_equal(find_metric(cache, "\x0a\x01m\x12\x02is\x1a\x01s", OTLP_GAUGE), gauge);
    assert_int_equal(find_metric(cache, "\x0a\x01m\x12\x02is\x1a\x01s", OTLP_SUM), sum);
    assert_int_equal(find_metric(cache, "\x0a\x01m\x12\x02is\x1a\x01s", OTLP_HISTOGRAM), OTLP_CACHE_NONE);
    assert_int_equal(find_metric(cache, "\x0a\x01m\x12\x02is", OTLP_GAUGE), OTLP_CACHE_NONE);
    const struct otlp_metric *kept = &cache->metrics[gauge].metric;
    assert_true(ap_slice_equal_cstr(kept->name, "m"));
    assert_true(ap_slice_equal_cstr(kept->description, "is"));
    assert_true(ap_slice_equal_cstr(kept->unit, "s"));
    struct otlp_metric headless = {
        .name = ap_slice_cstr("m"), .description = ap_slice_cstr("is"), .unit = ap_slice_cstr("s"), .kind = OTLP_GAUGE};
    assert_int_equal(otlp_cache_find_metric(cache, &headless), gauge);
    headless.is_monotonic = true;
    assert_int_equal(otlp_cache_find_metric(cache, &headless), OTLP_CACHE_NONE);
}

/* What came behind it last time. */
static void test_expected_metric(void **state)
{
    (void)state;
    AP_AUTO(otlp_cache) struct otlp_cache *cache = otlp_cache_new(1);
    assert_null(otlp_cache_expected_metric(cache, ap_slice_cstr("a")));
    for (const char *head = "a\0b\0c\0"; *head; head += 2)
        add_metric(cache, head, OTLP_GAUGE);
    assert_non_null(otlp_cache_expected_metric(cache, ap_slice_cstr("a and its data")));
    assert_null(otlp_cache_expected_metric(cache, ap_slice_cstr("b")));
    assert_null(otlp_cache_expected_metric(cache, ap_slice_cstr("")));
    (void)find_metric(cache, "a", OTLP_GAUGE);
    assert_non_null(otlp_cache_expected_metric(cache, ap_slice_cstr("b")));
    (void)find_metric(cache, "c", OTLP_GAUGE);
    (void)find_metric(cache, "b", OTLP_GAUGE);
    (void)find_metric(cache, "a", OTLP_GAUGE);
    assert_non_null(otlp_cache_expected_metric(cache, ap_slice_cstr("c")));
    (void)find_metric(cache, "c", OTLP_GAUGE);
    assert_non_null(otlp_cache_expected_metric(cache, ap_slice_cstr("b")));
}

/* ---- Series ---- */

static void test_series(void **state)
{
    (void)state;
    AP_AUTO(otlp_cache) struct otlp_cache *cache = otlp_cache_new(1);
    struct ap_slice x = ap_slice_cstr("x"), y = ap_slice_cstr("yy"), none = ap_slice("", 0);
    assert_int_equal(otlp_cache_find_series(cache, 1, 2, x), OTLP_CACHE_NONE);
    assert_null(otlp_cache_expected_attributes(cache, 1, 2, "x", 1).data);
    otlp_cache_add_series(cache, 1, 2, x, (struct labels_hash){10, 0});
    otlp_cache_add_series(cache, 1, 2, none, (struct labels_hash){11, 0});
    otlp_cache_add_series(cache, 1, 3, y, (struct labels_hash){12, 0});
    otlp_cache_add_series(cache, 2, 3, y, (struct labels_hash){13, 0});
    /* In order, each is expected; of another metric or context nothing is. */
    assert_null(otlp_cache_expected_attributes(cache, 1, 3, "x", 1).data);
    assert_null(otlp_cache_expected_attributes(cache, 2, 2, "x", 1).data);
    assert_null(otlp_cache_expected_attributes(cache, 1, 2, "z", 1).data);
    assert_null(otlp_cache_expected_attributes(cache, 1, 2, "", 0).data);
    struct ap_slice expected = otlp_cache_expected_attributes(cache, 1, 2, "x and more", 10);
    assert_true(ap_slice_equal(expected, x));
    assert_int_equal(cache->series[otlp_cache_find_series(cache, 1, 2, expected)].hash.low, 10);
    expected = otlp_cache_expected_attributes(cache, 1, 2, "", 0);
    assert_non_null(expected.data);
    assert_int_equal(cache->series[otlp_cache_find_series(cache, 1, 2, expected)].hash.low, 11);
    /* Out of order they are found. */
    assert_int_equal(cache->series[otlp_cache_find_series(cache, 2, 3, y)].hash.low, 13);
    assert_int_equal(cache->series[otlp_cache_find_series(cache, 1, 3, y)].hash.low, 12);
    assert_int_equal(cache->series[otlp_cache_find_series(cache, 1, 2, x)].hash.low, 10);
    assert_int_equal(otlp_cache_find_series(cache, 2, 2, x), OTLP_CACHE_NONE);
    assert_int_equal(otlp_cache_find_series(cache, 1, 2, y), OTLP_CACHE_NONE);
    assert_int_equal(otlp_cache_find_series(cache, 1, 2, ap_slice_cstr("never")), OTLP_CACHE_NONE);
}

/* ---- Bounds ---- */

static void add_series(struct otlp_cache *cache, uint32_t number)
{
    otlp_cache_add_series(cache, number, 0, ap_slice_cstr("x"), (struct labels_hash){number, 0});
}

/* Up to the maximum all are kept; what comes then is not; after a while all is forgotten. */
static void test_series_are_bounded(void **state)
{
    (void)state;
    AP_AUTO(otlp_cache) struct otlp_cache *cache = otlp_cache_new(1);
    for (uint32_t i = 0; i < OTLP_CACHE_SERIES_MAX; i++)
        add_series(cache, i);
    otlp_cache_begin(cache, 1);
    assert_int_equal(otlp_cache_find_series(cache, 77, 0, ap_slice_cstr("x")), 77);
    add_series(cache, OTLP_CACHE_SERIES_MAX);
    assert_int_equal(otlp_cache_find_series(cache, OTLP_CACHE_SERIES_MAX, 0, ap_slice_cstr("x")), OTLP_CACHE_NONE);
    assert_true(otlp_cache_bytes(cache) < 2 * OTLP_CACHE_BYTES_MAX);
    size_t bytes = otlp_cache_bytes(cache);
    otlp_cache_begin(cache, 5);
    otlp_cache_begin(cache, 5 + OTLP_CACHE_FULL_MS - 1);
    assert_int_equal(otlp_cache_find_series(cache, 77, 0, ap_slice_cstr("x")), 77);
    otlp_cache_begin(cache, 5 + OTLP_CACHE_FULL_MS);
    assert_int_equal(otlp_cache_find_series(cache, 77, 0, ap_slice_cstr("x")), OTLP_CACHE_NONE);
    assert_true(otlp_cache_bytes(cache) < bytes / 10);
    add_series(cache, 5);
    assert_int_equal(otlp_cache_find_series(cache, 5, 0, ap_slice_cstr("x")), 0);
}

static void test_metrics_are_bounded(void **state)
{
    (void)state;
    AP_AUTO(otlp_cache) struct otlp_cache *cache = otlp_cache_new(1);
    char head[16];
    for (uint32_t i = 0; i <= OTLP_CACHE_METRICS_MAX; i++) {
        snprintf(head, sizeof(head), "%u", i);
        assert_int_equal(add_metric(cache, head, OTLP_GAUGE), i < OTLP_CACHE_METRICS_MAX ? i : OTLP_CACHE_NONE);
    }
    assert_int_equal(find_metric(cache, "4711", OTLP_GAUGE), 4711);
    assert_true(otlp_cache_bytes(cache) < 2 * OTLP_CACHE_BYTES_MAX);
}

/* Long texts fill it, and so do many short ones. */
static void test_texts_are_bounded(void **state)
{
    (void)state;
    enum { LONG_BYTES = 1 << 20 };
    AP_AUTO(otlp_cache) struct otlp_cache *cache = otlp_cache_new(1);
    AP_AUTO_FREE char *text = calloc(1, LONG_BYTES);
    unsigned kept = 0;
    for (unsigned i = 0; i < 40; i++) {
        text[0] = (char)i;
        kept += otlp_cache_text(cache, ap_slice(text, LONG_BYTES)) != OTLP_CACHE_NONE;
    }
    assert_in_range(kept, 5, OTLP_CACHE_BYTES_MAX / LONG_BYTES);
    otlp_cache_begin(cache, 1);
    otlp_cache_begin(cache, 1 + OTLP_CACHE_FULL_MS);
    for (uint32_t i = 0; i < 1000 * 1000; i++)
        (void)otlp_cache_text(cache, ap_slice(&i, sizeof(i)));
    assert_true(cache->is_full);
    assert_true(otlp_cache_bytes(cache) < 2 * OTLP_CACHE_BYTES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_expected_metric),
        cmocka_unit_test(test_series),
        cmocka_unit_test(test_series_are_bounded),
        cmocka_unit_test(test_metrics_are_bounded),
        cmocka_unit_test(test_texts_are_bounded),
    };
    return cmocka_run_group_tests_name("otlp_cache", tests, NULL, NULL);
}
