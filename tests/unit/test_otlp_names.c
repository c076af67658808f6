#include "ingest/otlp_names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"

static const struct otlp_naming naming_default = {OTLP_UNDERSCORES_WITH_SUFFIXES, true, true};

static void check_metric(const struct otlp_naming *naming, const char *name, const char *unit, enum otlp_suffix suffix,
                         const char *want, int line)
{
    struct ap_buf out = {0};
    struct ap_err err = {0};
    enum ap_rc rc = otlp_metric_name(naming, ap_slice_cstr(name), ap_slice_cstr(unit), suffix, &out, &err);
    AP_AUTO_FREE char *text = ap_buf_detach(&out);
    if (strcmp(rc == AP_OK ? text : err.text, want) != 0)
        fail_msg("line %d: \"%s\" %s: \"%s\", wanted \"%s\"", line, name, unit, rc == AP_OK ? text : err.text, want);
}
#define GAUGE(name, unit, want)                                                                                        \
    check_metric(&naming, name, unit, strcmp(unit, "1") == 0 ? OTLP_SUFFIX_RATIO : OTLP_SUFFIX_NONE, want, __LINE__)
#define COUNTER(name, unit, want) check_metric(&naming, name, unit, OTLP_SUFFIX_TOTAL, want, __LINE__)

/* UnderscoreEscapingWithSuffixes: rules 1 and 2 one by one. */
static void test_names_with_suffixes(void **state)
{
    (void)state;
    struct otlp_naming naming = naming_default;
    /* Everything outside [A-Za-z0-9:] divides, in runs and at the ends. */
    GAUGE("a.b", "", "a_b");
    GAUGE("a..b--c", "", "a_b_c");
    GAUGE("_a_", "", "a");
    GAUGE("job:a:b", "", "job:a:b");
    GAUGE("größe", "", "gr_e");
    GAUGE("4xx", "", "_4xx");
    GAUGE("", "", "nothing is left of the metric name \"\"");
    GAUGE("..", "", "nothing is left of the metric name \"..\"");
    /* The unit's word, unless one of the parts says it. */
    GAUGE("a", "d", "a_days");
    GAUGE("a", "h", "a_hours");
    GAUGE("a", "min", "a_minutes");
    GAUGE("a", "s", "a_seconds");
    GAUGE("a", "ms", "a_milliseconds");
    GAUGE("a", "us", "a_microseconds");
    GAUGE("a", "ns", "a_nanoseconds");
    GAUGE("a", "By", "a_bytes");
    GAUGE("a", "KiBy", "a_kibibytes");
    GAUGE("a", "MiBy", "a_mebibytes");
    GAUGE("a", "GiBy", "a_gibibytes");
    GAUGE("a", "TiBy", "a_tibibytes"); /* as Prometheus has it */
    GAUGE("a", "KBy", "a_kilobytes");
    GAUGE("a", "kBy", "a_kBy"); /* UCUM's, which Prometheus does not know */
    GAUGE("a", "MBy", "a_megabytes");
    GAUGE("a", "GBy", "a_gigabytes");
    GAUGE("a", "TBy", "a_terabytes");
    GAUGE("a", "m", "a_meters");
    GAUGE("a", "V", "a_volts");
    GAUGE("a", "A", "a_amperes");
    GAUGE("a", "J", "a_joules");
    GAUGE("a", "W", "a_watts");
    GAUGE("a", "g", "a_grams");
    GAUGE("a", "Cel", "a_celsius");
    GAUGE("a", "Hz", "a_hertz");
    GAUGE("a", "%", "a_percent");
    GAUGE("a", "furlong", "a_furlong");
    GAUGE("a", " s ", "a_seconds");
    GAUGE("a", "m^2", "a_m_2");
    GAUGE("a.seconds.b", "s", "a_seconds_b");
    GAUGE("hive_memory_usage_bytes", "By", "hive_memory_usage_bytes");
    GAUGE("startup_duration_seconds", "s", "startup_duration_seconds");
    /* What is in braces is no unit. */
    GAUGE("a", "{packet}", "a");
    GAUGE("a", "{packet}/s", "a_per_second");
    GAUGE("a", "By/{packet}", "a_bytes");
    /* a/b is a_per_b, in the singular. */
    GAUGE("a", "By/s", "a_bytes_per_second");
    GAUGE("a", "m/m", "a_meters_per_minute");
    GAUGE("a", "1/h", "a_per_hour");
    GAUGE("a", "1/d", "a_per_day");
    GAUGE("a", "1/w", "a_per_week");
    GAUGE("a", "1/mo", "a_per_month");
    GAUGE("a", "1/y", "a_per_year");
    GAUGE("a", "By/furlong", "a_bytes_per_furlong");
    GAUGE("a", "By/", "a_bytes");
    /* total for counters, once and at the end; ratio for gauges of unit 1. */
    COUNTER("a", "", "a_total");
    COUNTER("a", "s", "a_seconds_total");
    COUNTER("errors_total", "", "errors_total");
    COUNTER("total.errors", "", "errors_total");
    COUNTER("a", "1", "a_total");
    COUNTER("total", "", "total");
    GAUGE("a", "1", "a_ratio");
    GAUGE("a.ratio.b", "1", "a_b_ratio");
}

static void test_other_strategies(void **state)
{
    (void)state;
    struct otlp_naming naming = naming_default;
    naming.strategy = OTLP_UNDERSCORES_WITHOUT_SUFFIXES;
    COUNTER("http.requests", "s", "http_requests");
    GAUGE("a__b", "1", "a__b"); /* what is a name already stays one */
    GAUGE("a.-b.", "", "a_b");
    GAUGE("4xx", "", "_4xx");
    GAUGE("..", "", "nothing is left of the metric name \"..\"");
    naming.strategy = OTLP_UTF8_WITH_SUFFIXES;
    COUNTER("http.requests", "s", "http.requests_seconds_total");
    COUNTER("http.requests.total", "", "http.requests_total");
    COUNTER("http.seconds", "s", "http.seconds_total");
    GAUGE("größe", "1", "größe_ratio");
    GAUGE("a", "By/s", "a_bytes_per_second");
    GAUGE("a_per_second", "By/s", "a_bytes_per_second");
    GAUGE("", "s", "nothing is left of the metric name \"\"");
    naming.strategy = OTLP_NO_TRANSLATION;
    COUNTER("http.requests", "s", "http.requests");
    GAUGE("größe", "1", "größe");
}

static void check_label(const struct otlp_naming *naming, const char *key, const char *want, int line)
{
    struct ap_buf out = {0};
    struct ap_err err = {0};
    enum ap_rc rc = otlp_label_name(naming, ap_slice_cstr(key), &out, &err);
    AP_AUTO_FREE char *text = ap_buf_detach(&out);
    if (strcmp(rc == AP_OK ? text : err.text, want) != 0)
        fail_msg("line %d: \"%s\": \"%s\", wanted \"%s\"", line, key, rc == AP_OK ? text : err.text, want);
}
#define LABEL(key, want) check_label(&naming, key, want, __LINE__)

static void test_labels(void **state)
{
    (void)state;
    struct otlp_naming naming = naming_default;
    LABEL("http.method", "http_method");
    LABEL("a..b", "a__b");
    LABEL("größe", "gr__e");
    LABEL("a:b", "a_b");
    LABEL("4xx", "key_4xx");
    LABEL("_a", "key_a");
    LABEL("__a", "__a");
    LABEL("_", "key_");
    LABEL("", "nothing is left of the attribute name \"\"");
    LABEL("__", "nothing is left of the attribute name \"__\"");
    naming.is_prefixing_underscores = false;
    LABEL("_a", "_a");
    LABEL("_", "nothing is left of the attribute name \"_\"");
    naming.is_keeping_underscores = false;
    LABEL("a..b", "a_b");
    LABEL("__a..b__", "__a_b__");
    naming.strategy = OTLP_UTF8_WITH_SUFFIXES;
    LABEL("größe.a", "größe.a");
    LABEL("4xx", "4xx");
    LABEL("___", "nothing is left of the attribute name \"___\"");
}

static void check_unit(const char *unit, const char *want)
{
    struct ap_buf out = {0};
    otlp_unit_name(ap_slice_cstr(unit), &out);
    AP_AUTO_FREE char *text = ap_buf_detach(&out);
    assert_string_equal(text, want);
}

static void test_units(void **state)
{
    (void)state;
    check_unit("", "");
    check_unit("1", "");
    check_unit("s", "seconds");
    check_unit("By/s", "bytes_per_second");
    check_unit("{request}", "");
    check_unit("{request}/s", "per_second");
    check_unit("m^2", "m_2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_with_suffixes),
        cmocka_unit_test(test_other_strategies),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_units),
    };
    return cmocka_run_group_tests_name("otlp_names", tests, NULL, NULL);
}
