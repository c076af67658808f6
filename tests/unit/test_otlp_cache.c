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

static struct ap_slice numbered(uint32_t number)
{
    static uint32_t kept;
    kept = number;
    return ap_slice(&kept, sizeof(kept));
}

/* The lower half of the hash stands for the series. */
static void add_series(struct otlp_cache *cache, uint32_t group, struct ap_slice attributes, uint64_t low)
{
    otlp_cache_add_series(cache, group, attributes, (struct labels_hash){low, 0});
}

enum { NEW = -1, NOT_LOOKED_FOR = -2 };

static int64_t find_series(struct otlp_cache *cache, uint32_t group, struct ap_slice attributes)
{
    if (!otlp_cache_is_worth_asking(cache, group))
        return NOT_LOOKED_FOR;
    uint32_t number = otlp_cache_find_series(cache, group, attributes);
    return number == OTLP_CACHE_NONE ? NEW : (int64_t)cache->series[number].hash.low;
}

static void test_groups(void **state)
{
    (void)state;
    AP_AUTO(otlp_cache) struct otlp_cache *cache = otlp_cache_new(1);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(otlp_cache_group(cache, 1, 2), 0);
        assert_int_equal(otlp_cache_group(cache, 2, 1), 1);
        assert_int_equal(otlp_cache_group(cache, 1, 1), 2);
    }
    assert_int_equal(otlp_cache_group(cache, 2, 1), 1);
    assert_int_equal(otlp_cache_group(cache, 2, 1), 1);
}

static void test_series(void **state)
{
    (void)state;
    AP_AUTO(otlp_cache) struct otlp_cache *cache = otlp_cache_new(1);
    struct ap_slice x = ap_slice_cstr("x"), y = ap_slice_cstr("yy"), none = ap_slice("", 0);
    uint32_t first = otlp_cache_group(cache, 1, 2), second = otlp_cache_group(cache, 1, 3);
    assert_int_equal(find_series(cache, first, x), NEW);
    add_series(cache, first, x, 10);
    add_series(cache, first, none, 11);
    add_series(cache, second, y, 12);
    assert_int_equal(find_series(cache, second, x), NEW);
    add_series(cache, second, x, 13);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(find_series(cache, first, x), 10);
        assert_int_equal(find_series(cache, first, none), 11);
        assert_int_equal(find_series(cache, second, x), 13);
        assert_int_equal(find_series(cache, first, none), 11);
        assert_int_equal(find_series(cache, first, y), NEW);
        assert_int_equal(find_series(cache, first, ap_slice_cstr("never told")), NEW);
        assert_int_equal(find_series(cache, second, y), 12);
    }
}

/* In order all of a large group are found, whatever comes in between or is over; in no order some are. */
static void test_large_group(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    AP_AUTO(otlp_cache) struct otlp_cache *cache = otlp_cache_new(1);
    uint32_t group = otlp_cache_group(cache, 1, 2);
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(find_series(cache, group, numbered(i)), NEW);
        add_series(cache, group, numbered(i), i);
    }
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < COUNT; i++)
            assert_int_equal(find_series(cache, group, numbered(i)), i);
    /* New ones in between: learned where they stand. */
    for (uint32_t i = 0; i < COUNT; i++) {
        if (i % 100 == 50) {
            assert_int_equal(find_series(cache, group, numbered(COUNT + i)), NEW);
            add_series(cache, group, numbered(COUNT + i), COUNT + i);
        }
        assert_int_equal(find_series(cache, group, numbered(i)), i);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        if (i % 100 == 50)
            assert_int_equal(find_series(cache, group, numbered(COUNT + i)), COUNT + i);
        assert_int_equal(find_series(cache, group, numbered(i)), i);
    }
    /* Some are over. */
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < COUNT; i += 1 + (i % 10 == 3))
            assert_int_equal(find_series(cache, group, numbered(i)), i);
    unsigned found = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t number = (i * 37) % COUNT;
        int64_t series = find_series(cache, group, numbered(number));
        assert_true(series == number || series == NOT_LOOKED_FOR);
        found += series == number;
    }
    assert_in_range(found, 1, COUNT / 10);
    found = 0;
    for (uint32_t i = 0; i < COUNT; i++)
        found += find_series(cache, group, numbered(5000 + i)) == NEW;
    assert_in_range(found, 1, COUNT / 10);
}

/* ---- Bounds ---- */

/* Up to the maximum all are kept; what comes then is not; after a while all is forgotten. */
static void test_series_are_bounded(void **state)
{
    (void)state;
    AP_AUTO(otlp_cache) struct otlp_cache *cache = otlp_cache_new(1);
    struct ap_slice x = ap_slice_cstr("x");
    for (uint32_t i = 0; i < OTLP_CACHE_SERIES_MAX; i++) {
        assert_int_equal(otlp_cache_group(cache, i, 0), i);
        add_series(cache, i, x, i);
    }
    otlp_cache_begin(cache, 1);
    assert_int_equal(find_series(cache, 77, x), 77);
    add_series(cache, 77, ap_slice_cstr("one more"), 1);
    assert_int_equal(find_series(cache, 77, ap_slice_cstr("one more")), NEW);
    assert_int_equal(otlp_cache_group(cache, 0, 1), OTLP_CACHE_NONE);
    size_t bytes = otlp_cache_bytes(cache);
    assert_true(bytes < OTLP_CACHE_ALL_BYTES_MAX);
    otlp_cache_begin(cache, 5);
    otlp_cache_begin(cache, 5 + OTLP_CACHE_FULL_MS - 1);
    assert_int_equal(find_series(cache, 77, x), 77);
    otlp_cache_begin(cache, 5 + OTLP_CACHE_FULL_MS);
    assert_true(otlp_cache_bytes(cache) < bytes / 10);
    uint32_t group = otlp_cache_group(cache, 77, 0);
    assert_int_equal(find_series(cache, group, x), NEW);
    add_series(cache, group, x, 5);
    assert_int_equal(find_series(cache, group, x), 5);
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
    assert_true(otlp_cache_bytes(cache) < OTLP_CACHE_ALL_BYTES_MAX);
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
    assert_true(otlp_cache_bytes(cache) < OTLP_CACHE_ALL_BYTES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_expected_metric),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_series),
        cmocka_unit_test(test_large_group),
        cmocka_unit_test(test_series_are_bounded),
        cmocka_unit_test(test_metrics_are_bounded),
        cmocka_unit_test(test_texts_are_bounded),
    };
    return cmocka_run_group_tests_name("otlp_cache", tests, NULL, NULL);
}
