/* Queries that would take for ever, or too much: they end, by the clock, by whoever asked, or at a limit. The clock
 * goes on by a second whenever somebody looks at it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <string.h>

#include "promql/engine.h"
#include "promql/memory_storage.h"

static int64_t look_at_clock(void *context)
{
    return __atomic_add_fetch((int64_t *)context, AP_US_PER_S, __ATOMIC_RELAXED);
}

static bool count_down(void *context)
{
    return __atomic_sub_fetch((int *)context, 1, __ATOMIC_RELAXED) < 0;
}

/* What ends the query; `looks_left`: how often it may ask whether it is cancelled, -1 for never cancelled. */
static enum ap_rc outcome(const char *text, int looks_left, struct ap_err *err)
{
    int64_t now_us = 0;
    struct ap_clock clock = {look_at_clock, look_at_clock, &now_us};
    struct promql_engine_options options;
    promql_engine_options_init(&options);
    options.clock = &clock;
    options.threads_max = 2;
    AP_AUTO(promql_engine) struct promql_engine *engine = NULL;
    AP_AUTO(memory_storage) struct memory_storage *storage = memory_storage_new();
    assert_int_equal(promql_engine_open(&options, &engine, err), AP_OK);
    struct promql_request request = {.text = ap_slice_cstr(text), .start_ms = 1000000000, .end_ms = 1000000000};
    if (looks_left >= 0) {
        request.is_cancelled = count_down;
        request.context = &looks_left;
    }
    AP_AUTO(promql_execution) struct promql_execution *execution = NULL;
    enum ap_rc rc = promql_execute(engine, promql_storage_memory(storage), &request, &execution, err);
    for (size_t i = 0; rc == AP_OK && i < promql_execution_count(execution); i++) {
        struct promql_points points;
        rc = promql_execution_read(execution, i, &points, err);
    }
    return rc;
}

/* Each is one series whose windows hold 10^10 samples together. */
static const char *const endless[] = {
    "sum_over_time(sum_over_time(vector(1)[100000:1])[100000:1])",
    "max_over_time(quantile_over_time(0.5, vector(time())[100000:1])[100000:1])",
    "sum(stddev_over_time(deriv(vector(time())[100000:1])[100000:1]))",
};

static void test_timeout(void **state)
{
    (void)state;
    for (size_t i = 0; i < AP_ARRAY_COUNT(endless); i++) {
        struct ap_err err = {0};
        assert_int_equal(outcome(endless[i], -1, &err), AP_E_TIMEOUT);
        assert_string_equal(err.text, "query timed out in expression evaluation");
    }
}

static void test_cancelled(void **state)
{
    (void)state;
    for (size_t i = 0; i < AP_ARRAY_COUNT(endless); i++) {
        struct ap_err err = {0};
        assert_int_equal(outcome(endless[i], 20, &err), AP_E_BUSY);
        assert_string_equal(err.text, "query was canceled in expression evaluation");
    }
}

static void test_too_many_samples(void **state)
{
    (void)state;
    static const char *const queries[] = {
        "sum_over_time(vector(1)[1000d:1s])",
        "count_over_time((vector(1) + vector(2))[1000d:1s])",
        "sum(max_over_time(max_over_time(vector(1)[10m:1s])[1000d:1s]))",
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(queries); i++) {
        struct ap_err err = {0};
        assert_int_equal(outcome(queries[i], -1, &err), AP_E_LIMIT);
        assert_non_null(strstr(err.text, "too many samples"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_too_many_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
