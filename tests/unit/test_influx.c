/* InfluxDB line protocol: lines to points, points to series. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "ingest/influx_line.h"
#include "ingest/influx_write.h"

/* ---- Lines ---- */

static void add_point(struct ap_buf *out, const struct influx_point *point)
{
    ap_buf_printf(out, "[%.*s]", AP_SLICE_ARG(point->measurement));
    for (size_t i = 0; i < point->tag_count; i++)
        ap_buf_printf(out, " %.*s:%.*s", AP_SLICE_ARG(point->tags[i].name), AP_SLICE_ARG(point->tags[i].value));
    ap_buf_add_cstr(out, " |");
    for (size_t i = 0; i < point->field_count; i++) {
        ap_buf_printf(out, " %.*s=", AP_SLICE_ARG(point->fields[i].key));
        if (point->fields[i].is_text)
            ap_buf_add_cstr(out, "text");
        else
            ap_buf_printf(out, "%.17g", point->fields[i].value);
    }
    if (point->has_ts)
        ap_buf_printf(out, " @%lld", (long long)point->ts);
}

/* Every point of `text`, or the line and reason of a bad one, separated by "; ". */
static void expect(const char *text, const char *want, const char *file, int line)
{
    struct influx_line parser = {0};
    struct influx_point *point = ap_new0(struct influx_point);
    struct ap_buf got = {0};
    enum influx_kind kind;
    influx_line_begin(&parser, ap_slice_cstr(text));
    while ((kind = influx_line_next(&parser, point)) != INFLUX_END) {
        ap_buf_add_cstr(&got, got.bytes ? "; " : "");
        if (kind == INFLUX_BAD)
            ap_buf_printf(&got, "%zu: %s", point->line, point->reason);
        else
            add_point(&got, point);
    }
    ap_buf_add_char(&got, '\0');
    _assert_string_equal(got.data, want, file, line);
    ap_buf_clear(&got);
    free(point);
    influx_line_clear(&parser);
}
#define LINES(text, want) expect(text, want, __FILE__, __LINE__)

static void test_points(void **state)
{
    (void)state;
    LINES("m v=1", "[m] | v=1");
    LINES("m v=1\n", "[m] | v=1");
    LINES("m v=1\r\n\r\nn v=2\r\n", "[m] | v=1; [n] | v=2");
    LINES("  m,a=b,c=d  v=1,w=2   17  ", "[m] a:b c:d | v=1 w=2 @17");
    LINES("# m v=1\n   # x\nm v=1", "[m] | v=1");
    LINES("m v=1 -5", "[m] | v=1 @-5");
    LINES("", "");
    LINES("\n\n", "");
}

static void test_escapes(void **state)
{
    (void)state;
    LINES("a\\,b\\ c,t\\=x=y\\,z\\ w f\\ g=1", "[a,b c] t=x:y,z w | f g=1");
    LINES("a\\b,t=c:\\d f=1", "[a\\b] t:c:\\d | f=1");
    LINES("a=b,t=1 f=1", "[a=b] t:1 | f=1");
    LINES("m f=\"x,y z=1\",g=2", "[m] | f=text g=2");
    LINES("m f=\"a\\\"b\",g=2 3", "[m] | f=text g=2 @3");
    LINES("m f=\"a\nb\",g=2\nn f=1\nbad", "[m] | f=text g=2; [n] | f=1; 4: missing fields");
    LINES("m,a=\" f=1\nn f=2", "[m] a:\" | f=1; [n] | f=2");
    LINES("m f=\"\\\\\" 1", "[m] | f=text @1");
}

static void test_values(void **state)
{
    (void)state;
    LINES("m a=1,b=-1.5,c=+2,d=1e3,e=1.25E-2,f=.5,g=3.",
          "[m] | a=1 b=-1.5 c=2 d=1000 e=0.012500000000000001 f=0.5 g=3");
    LINES("m a=12i,b=-3i,c=18446744073709551615u", "[m] | a=12 b=-3 c=1.8446744073709552e+19");
    LINES("m a=t,b=TRUE,c=f,d=False", "[m] | a=1 b=1 c=0 d=0");
    LINES("m a=0.1234567890123456789,b=123456789012345678901234567890",
          "[m] | a=0.12345678901234568 b=1.2345678901234568e+29");
    LINES("m a=1e308,b=2.2250738585072014e-308", "[m] | a=1e+308 b=2.2250738585072014e-308");
}

static void test_bad_lines(void **state)
{
    (void)state;
    LINES("m", "1: missing fields");
    LINES(",a=b v=1", "1: missing measurement");
    LINES("m,a v=1", "1: missing tag value");
    LINES("m,a= v=1", "1: missing tag value");
    LINES("m,=b v=1", "1: missing tag key");
    LINES("m, v=1", "1: missing tag key");
    LINES("m v", "1: invalid field format");
    LINES("m v=", "1: missing field value");
    LINES("m =1", "1: missing field key");
    LINES("m v=1,", "1: missing field key");
    LINES("m v=\"a", "1: unbalanced quotes");
    LINES("m v=\"a\"b", "1: invalid field format");
    LINES("m v=1x", "1: invalid number");
    LINES("m v=nan", "1: invalid number");
    LINES("m v=0x10", "1: invalid number");
    LINES("m v=inf", "1: invalid number");
    LINES("m v=1e999", "1: invalid number");
    LINES("m v=.", "1: invalid number");
    LINES("m v=-", "1: invalid number");
    LINES("m v=1.2.3", "1: invalid number");
    LINES("m v=9223372036854775808i", "1: invalid number");
    LINES("m v=-9223372036854775809i", "1: invalid number");
    LINES("m v=i", "1: invalid number");
    LINES("m v=18446744073709551616u", "1: invalid number");
    LINES("m v=-1u", "1: invalid number");
    LINES("m v=tru", "1: invalid boolean");
    LINES("m v=1 x", "1: bad timestamp");
    LINES("m v=1 1 2", "1: bad timestamp");
    LINES("m v=1 99999999999999999999", "1: bad timestamp");
    LINES("m v=1\nn\nm v=2", "[m] | v=1; 2: missing fields; [m] | v=2");
}

/* ---- Series ---- */

static void write_series(const char *text, const char *precision, struct influx_write_report *report,
                         struct ap_buf *out)
{
    struct influx_write_options options = {
        .separator = ap_slice_cstr("_"),
        .db = ap_slice_cstr("tele"),
        .default_ts_ms = 99,
    };
    assert_true(influx_write_precision(ap_slice_cstr(precision), &options.ns_per_unit));
    struct metrics_body *body = metrics_body_new(7, false);
    struct ap_err err;
    assert_int_equal(influx_write_decode(body, &options, ap_slice_cstr(text), report, &err), AP_OK);
    assert_int_equal(body->samples_refused, report->lines_refused);
    for (size_t i = 0; i < body->batch.series_count; i++) {
        const struct batch_series *series = &body->batch.series[i];
        assert_true(labels_hash_equal(series->hash, labels_hash_of(7, series->labels)));
        assert_int_equal(labels_check(series->labels, &err), AP_OK);
        ap_buf_add_cstr(out, i ? "; " : "");
        labels_format(series->labels, out);
        ap_buf_printf(out, " %.17g @%lld", body->batch.values[series->sample_first],
                      (long long)body->batch.ts_ms[series->sample_first]);
    }
    ap_buf_add_char(out, '\0');
    metrics_body_free(body);
}

static void expect_series(const char *text, const char *precision, const char *want, const char *file, int line)
{
    struct influx_write_report report;
    struct ap_buf got = {0};
    write_series(text, precision, &report, &got);
    _assert_string_equal(got.data, want, file, line);
    _assert_int_equal(report.lines_refused, 0, file, line);
    ap_buf_clear(&got);
}
#define SERIES(text, precision, want) expect_series(text, precision, want, __FILE__, __LINE__)

static void test_series(void **state)
{
    (void)state;
    SERIES("cpu,host=a idle=1,user=2i 5", "ms",
           "cpu_idle{db=\"tele\", host=\"a\"} 1 @5; cpu_user{db=\"tele\", host=\"a\"} 2 @5");
    SERIES("cpu value=1,other=2", "", "cpu{db=\"tele\"} 1 @99; cpu_other{db=\"tele\"} 2 @99");
    SERIES("cpu,db=mine v=1", "", "cpu_v{db=\"mine\"} 1 @99");
    SERIES("a.b-c,x\\ y=1,Z=2 d/e=1", "", "a_b_c_d_e{Z=\"2\", db=\"tele\", x_y=\"1\"} 1 @99");
    SERIES("9m,9t=1 v=1", "", "_9m_v{_9t=\"1\", db=\"tele\"} 1 @99");
    SERIES("m v=\"text\",w=1", "", "m_w{db=\"tele\"} 1 @99");
    SERIES("m v=\"text\"", "", "");
}

static void test_precisions(void **state)
{
    (void)state;
    SERIES("m v=1 1999999", "ns", "m_v{db=\"tele\"} 1 @1");
    SERIES("m v=1 -1", "n", "m_v{db=\"tele\"} 1 @-1");
    SERIES("m v=1 1999", "us", "m_v{db=\"tele\"} 1 @1");
    SERIES("m v=1 2000", "\xc2\xb5", "m_v{db=\"tele\"} 1 @2");
    SERIES("m v=1 7", "s", "m_v{db=\"tele\"} 1 @7000");
    SERIES("m v=1 2", "m", "m_v{db=\"tele\"} 1 @120000");
    SERIES("m v=1 2", "h", "m_v{db=\"tele\"} 1 @7200000");
    int64_t ns;
    assert_false(influx_write_precision(ap_slice_cstr("d"), &ns));
}

static void test_refusals(void **state)
{
    (void)state;
    struct influx_write_report report;
    struct ap_buf got = {0};
    write_series("ok v=1\nm,a.b=1,a-b=2 v=1\nm,__name__=x v=1\nm,a=\xff v=1\nm v=1 9223372036854775807\nm v=\"x\"\nx",
                 "s", &report, &got);
    assert_string_equal(got.data, "ok_v{db=\"tele\"} 1 @99");
    assert_int_equal(report.lines_refused, 5);
    assert_int_equal(report.texts_skipped, 1);
    assert_int_equal(report.error_count, 5);
    static const size_t lines[] = {2, 3, 4, 5, 7};
    for (size_t i = 0; i < AP_ARRAY_COUNT(lines); i++)
        assert_int_equal(report.errors[i].line, lines[i]);
    assert_non_null(strstr(report.errors[0].reason, "a_b"));
    assert_string_equal(report.errors[3].reason, "time outside range");
    ap_buf_clear(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points),    cmocka_unit_test(test_escapes), cmocka_unit_test(test_values),
        cmocka_unit_test(test_bad_lines), cmocka_unit_test(test_series),  cmocka_unit_test(test_precisions),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
