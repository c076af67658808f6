/* What the API reads and writes as text: parameters, times, values, names, histograms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/histogram_json.h"
#include "api/params.h"
#include "api/prometheus.h"
#include "base/buf.h"
#include "base/random.h"
#include "tsdb/histogram.h"

/* ---- Parameters ---- */

static void check_time(const char *text, int64_t want_ms, int line)
{
    int64_t ts_ms;
    if (!params_parse_time(ap_slice_cstr(text), &ts_ms) || ts_ms != want_ms)
        fail_msg("line %d: %s", line, text);
}
#define TIME(text, want_ms) check_time(text, want_ms, __LINE__)
#define NO_TIME(text)       assert_false(params_parse_time(ap_slice_cstr(text), &(int64_t){0}))

static void test_times(void **state)
{
    (void)state;
    TIME("1795435200", 1795435200000);
    TIME("1795435200.25", 1795435200250);
    TIME("1795435200.2506", 1795435200251);
    TIME("1.7954352e9", 1795435200000);
    TIME("0", 0);
    TIME("-1.5", -1500);
    TIME("1e30", INT64_MAX);
    TIME("-1e30", INT64_MIN);
    TIME("2026-11-23T12:00:00Z", 1795435200000);
    TIME("2026-11-23T13:00:00.5+01:00", 1795435200500);
    TIME("1969-12-31T23:59:59.9995Z", -1);
    NO_TIME("");
    NO_TIME("now");
    NO_TIME("nan");
    NO_TIME("inf");
    NO_TIME("0x10");
    NO_TIME("1 ");
    NO_TIME("2026-11-23");
    NO_TIME("111111111111111111111111111111111111111111111111111111111111111111");
}

static void check_decoded(const char *text, const char *want, int line)
{
    char copy[64];
    strcpy(copy, text);
    long bytes = params_decode(copy, strlen(copy));
    if (want ? bytes != (long)strlen(want) || memcmp(copy, want, (size_t)bytes) != 0 : bytes != -1)
        fail_msg("line %d: %s", line, text);
}
#define DECODED(text, want) check_decoded(text, want, __LINE__)

static void test_forms(void **state)
{
    (void)state;
    DECODED("", "");
    DECODED("a+b%20c", "a b c");
    DECODED("up%7Bjob%3D%22a%2bb%22%7d", "up{job=\"a+b\"}");
    DECODED("%", NULL);
    DECODED("%4", NULL);
    DECODED("a%4", NULL);
    DECODED("%g0", NULL);
    DECODED("%0g", NULL);
    DECODED("%41", "A");
}

static void test_parameters(void **state)
{
    (void)state;
    struct param items[] = {
        {ap_slice_cstr("match[]"), ap_slice_cstr("a")},
        {ap_slice_cstr("limit"), ap_slice_cstr("17")},
        {ap_slice_cstr("match[]"), ap_slice_cstr("b")},
        {ap_slice_cstr("on"), ap_slice_cstr("true")},
        {ap_slice_cstr("off"), ap_slice_cstr("0")},
        {ap_slice_cstr("bare"), ap_slice("", 0)},
        {ap_slice_cstr("bad"), ap_slice_cstr("18446744073709551616")},
    };
    struct params params = {items, sizeof(items) / sizeof(items[0])};
    struct ap_err err;
    struct ap_slice value;
    size_t at = 0;
    assert_true(params_next(&params, "match[]", &at, &value) && ap_slice_equal_cstr(value, "a"));
    assert_true(params_next(&params, "match[]", &at, &value) && ap_slice_equal_cstr(value, "b"));
    assert_false(params_next(&params, "match[]", &at, &value));
    assert_null(params_get(&params, "none").data);
    uint64_t number;
    assert_int_equal(params_number(&params, "limit", 0, 17, &number, &err), AP_OK);
    assert_int_equal(number, 17);
    assert_int_equal(params_number(&params, "limit", 0, 16, &number, &err), AP_E_PARSE);
    assert_int_equal(params_number(&params, "none", 5, 16, &number, &err), AP_OK);
    assert_int_equal(number, 5);
    assert_int_equal(params_number(&params, "bad", 0, UINT64_MAX, &number, &err), AP_E_PARSE);
    assert_non_null(strstr(err.text, "\"bad\""));
    bool is_set = false;
    assert_int_equal(params_bool(&params, "on", false, &is_set, &err), AP_OK);
    assert_true(is_set);
    assert_int_equal(params_bool(&params, "off", true, &is_set, &err), AP_OK);
    assert_false(is_set);
    assert_int_equal(params_bool(&params, "bare", false, &is_set, &err), AP_OK);
    assert_true(is_set);
    assert_int_equal(params_bool(&params, "limit", false, &is_set, &err), AP_E_PARSE);
    int64_t ts_ms;
    assert_int_equal(params_time(&params, "none", -7, &ts_ms, &err), AP_OK);
    assert_int_equal(ts_ms, -7);
    assert_int_equal(params_time(&params, "on", 0, &ts_ms, &err), AP_E_PARSE);
    assert_non_null(strstr(
        err.text, "invalid parameter \"on\": Invalid time value for 'on': cannot parse \"true\" to a valid timestamp"));
}

/* ---- Values ---- */

static void check_value(double value, const char *want, int line)
{
    struct ap_buf out = {0};
    prometheus_add_value(&out, value);
    char *text = ap_buf_detach(&out);
    if (strcmp(text, want) != 0)
        fail_msg("line %d: %s, should be %s", line, text, want);
    free(text);
}
#define VALUE(value, want) check_value(value, want, __LINE__)

static void test_values(void **state)
{
    (void)state;
    VALUE(0, "0");
    VALUE(-0.0, "-0");
    VALUE(1, "1");
    VALUE(-1.5, "-1.5");
    VALUE(100, "100");
    VALUE(0.1, "0.1");
    VALUE(0.001, "0.001");
    VALUE(-0.00025, "-0.00025");
    VALUE(123456.789, "123456.789");
    VALUE(1e21, "1e+21");
    VALUE(1e20, "100000000000000000000");
    VALUE(-1.5e300, "-1.5e+300");
    VALUE(1e-6, "0.000001");
    VALUE(2.5e-7, "2.5e-07");
    VALUE(1.0 / 3, "0.3333333333333333");
    VALUE(0.1 + 0.2, "0.30000000000000004");
    VALUE(9007199254740993.0, "9007199254740992");
    VALUE(NAN, "NaN");
    VALUE(INFINITY, "+Inf");
    VALUE(-INFINITY, "-Inf");
}

/* Any double reads back as itself, and no text of fewer digits would. */
static void test_values_read_back(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 7);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = ap_random_u64(&random);
        double value, read;
        memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value))
            continue;
        struct ap_buf out = {0};
        bool is_scalar = i % 2;
        (is_scalar ? prometheus_add_scalar : prometheus_add_value)(&out, value);
        char *text = ap_buf_detach(&out);
        read = strtod(text, NULL);
        if (memcmp(&read, &value, sizeof(read)) != 0 || (is_scalar && strpbrk(text, "eE")))
            fail_msg("%.17g: %s", value, text);
        free(text);
    }
    struct ap_buf largest = {0};
    prometheus_add_scalar(&largest, DBL_MAX);
    assert_int_equal(largest.bytes, 309);
    assert_true(ap_slice_starts_with(ap_buf_slice(&largest), "179769313486231570000"));
    ap_buf_clear(&largest);
}

static void check_timestamp(int64_t ts_ms, const char *want, int line)
{
    struct ap_buf out = {0};
    prometheus_add_time(&out, ts_ms);
    char *text = ap_buf_detach(&out);
    if (strcmp(text, want) != 0)
        fail_msg("line %d: %s, should be %s", line, text, want);
    free(text);
}
#define STAMP(ts_ms, want) check_timestamp(ts_ms, want, __LINE__)

static void test_timestamps(void **state)
{
    (void)state;
    STAMP(1795435200000, "1795435200");
    STAMP(1795435200250, "1795435200.250");
    STAMP(1795435200001, "1795435200.001");
    STAMP(0, "0");
    STAMP(-1, "-0.001");
    STAMP(-1500, "-1.500");
    STAMP(INT64_MIN, "-9223372036854775.808");
}

static void check_name(const char *text, const char *want, int line)
{
    struct ap_buf out = {0};
    bool is_name = prometheus_unescape_name(ap_slice_cstr(text), &out);
    if (is_name != (want != NULL) || (want && !ap_slice_equal_cstr(ap_buf_slice(&out), want)))
        fail_msg("line %d: %s", line, text);
    ap_buf_clear(&out);
}
#define NAME(text, want) check_name(text, want, __LINE__)

static void test_names(void **state)
{
    (void)state;
    NAME("job", "job");
    NAME("http.status", "http.status");
    NAME("U__http_2e_status", "http.status");
    NAME("U__http_2E_status__code", "http.status_code");
    NAME("U__b_fc_cher", "bücher");
    NAME("U__a_1f600_", "a😀");
    NAME("U__a_", "U__a_"); /* not an escape: a name as it stands */
    NAME("U__a_zz_", "U__a_zz_");
    NAME("U__a_d800_", "U__a_d800_");
    NAME("", NULL);
    NAME("U__", NULL);
    NAME("\xff", NULL);
}

/* ---- Histograms ---- */

static void check_histogram(const struct histogram *histogram, const char *want, int line)
{
    struct ap_buf blob = {0}, out = {0};
    struct ap_err err;
    histogram_encode(histogram, &blob);
    if (histogram_json_add_stored(&out, ap_buf_slice(&blob), &err) != AP_OK)
        fail_msg("line %d: %s", line, err.text);
    char *text = ap_buf_detach(&out);
    if (strcmp(text, want) != 0)
        fail_msg("line %d: %s\nshould be %s", line, text, want);
    free(text);
    ap_buf_clear(&blob);
}
#define HISTOGRAM(histogram, want) check_histogram(histogram, want, __LINE__)

static void test_histograms(void **state)
{
    (void)state;
    static const struct histogram_span positive[] = {{0, 2}, {1, 1}}, negative[] = {{-1, 2}};
    static const uint64_t positive_counts[] = {1, 2, 3}, negative_counts[] = {4, 0};
    struct histogram histogram = {
        .schema = 0,
        .zero_threshold = 0.001,
        .zero_count = 2,
        .count = 12,
        .sum = 18.5,
        .positive = {.spans = positive, .span_count = 2, .counts = positive_counts, .count = 3},
        .negative = {.spans = negative, .span_count = 1, .counts = negative_counts, .count = 2},
    };
    HISTOGRAM(&histogram, "{\"count\":\"12\",\"sum\":\"18.5\",\"buckets\":["
                          "[1,\"-0.5\",\"-0.25\",\"4\"],[3,\"-0.001\",\"0.001\",\"2\"],[0,\"0.5\",\"1\",\"1\"],"
                          "[0,\"1\",\"2\",\"2\"],[0,\"4\",\"8\",\"3\"]]}");

    /* The zero bucket reaches into the next one. */
    histogram.zero_threshold = 0.3;
    HISTOGRAM(&histogram, "{\"count\":\"12\",\"sum\":\"18.5\",\"buckets\":["
                          "[1,\"-0.5\",\"-0.3\",\"4\"],[3,\"-0.3\",\"0.3\",\"2\"],[0,\"0.5\",\"1\",\"1\"],"
                          "[0,\"1\",\"2\",\"2\"],[0,\"4\",\"8\",\"3\"]]}");

    static const double bounds[] = {0.5, 2};
    static const struct histogram_span all[] = {{0, 3}};
    static const double values[] = {1, 2.5, 4};
    struct histogram custom = {
        .schema = HISTOGRAM_SCHEMA_CUSTOM,
        .is_float = true,
        .count_value = 7.5,
        .sum = 3,
        .positive = {.spans = all, .span_count = 1, .values = values, .count = 3},
        .custom_values = bounds,
        .custom_value_count = 2,
    };
    HISTOGRAM(&custom, "{\"count\":\"7.5\",\"sum\":\"3\",\"buckets\":[[3,\"-Inf\",\"0.5\",\"1\"],"
                       "[0,\"0.5\",\"2\",\"2.5\"],[0,\"2\",\"+Inf\",\"4\"]]}");

    struct histogram empty = {.schema = 3};
    HISTOGRAM(&empty, "{\"count\":\"0\",\"sum\":\"0\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_values_read_back),
        cmocka_unit_test(test_timestamps),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_histograms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
