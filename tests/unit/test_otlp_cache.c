#include "ingest/otlp_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void add(struct otlp_cache *cache, uint64_t number)
{
    char name[32];
    int bytes = snprintf(name, sizeof(name), "metric_%llu", (unsigned long long)number);
    struct ap_slice text = ap_slice(name, (size_t)bytes);
    otlp_cache_add(cache, &(struct otlp_cached_metric){
                              .key = {number, ~number}, .told_ms = (int64_t)number, .name = text, .parts = {text}});
}

static void check(struct otlp_cache *cache, uint64_t number)
{
    char want[32];
    snprintf(want, sizeof(want), "metric_%llu", (unsigned long long)number);
    const struct otlp_cached_metric *metric = otlp_cache_find(cache, (struct labels_hash){number, ~number});
    assert_non_null(metric);
    assert_int_equal(metric->told_ms, number);
    assert_true(ap_slice_equal_cstr(metric->name, want));
    assert_true(ap_slice_equal_cstr(metric->parts[0], want));
    assert_int_equal(metric->parts[1].bytes, 0);
}

/* Up to the maximum all are kept; what comes then is not; the next request begins anew. */
static void test_is_bounded(void **state)
{
    (void)state;
    AP_AUTO(otlp_cache) struct otlp_cache *cache = otlp_cache_new();
    assert_null(otlp_cache_find(cache, (struct labels_hash){1, 1}));
    for (uint64_t i = 0; i < OTLP_CACHE_COUNT_MAX; i++)
        add(cache, i * 7919);
    otlp_cache_begin(cache);
    for (uint64_t i = 0; i < OTLP_CACHE_COUNT_MAX; i += 111)
        check(cache, i * 7919);
    assert_null(otlp_cache_find(cache, (struct labels_hash){7919, 7919})); /* half of a key is none */
    add(cache, 1);
    assert_null(otlp_cache_find(cache, (struct labels_hash){1, ~UINT64_C(1)}));
    check(cache, 7919); /* what was lent stays until the request is over */
    otlp_cache_begin(cache);
    assert_null(otlp_cache_find(cache, (struct labels_hash){7919, ~UINT64_C(7919)}));
    add(cache, 1);
    check(cache, 1);
}

/* Long names fill it, too. */
static void test_bytes_are_bounded(void **state)
{
    (void)state;
    AP_AUTO(otlp_cache) struct otlp_cache *cache = otlp_cache_new();
    enum { NAME_BYTES = 1 << 20 };
    AP_AUTO_FREE char *name = calloc(1, NAME_BYTES);
    unsigned kept = 0;
    for (uint64_t i = 0; i < 20; i++) {
        struct labels_hash key = {i, i};
        otlp_cache_add(cache, &(struct otlp_cached_metric){.key = key, .name = ap_slice(name, NAME_BYTES)});
        kept += otlp_cache_find(cache, key) != NULL;
    }
    assert_in_range(kept, 5, OTLP_CACHE_BYTES_MAX / NAME_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_is_bounded), cmocka_unit_test(test_bytes_are_bounded)};
    return cmocka_run_group_tests_name("otlp_cache", tests, NULL, NULL);
}
