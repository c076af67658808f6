#include "codec/exposition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/buf.h"
#include "base/random.h"

/* ---- Reading a text back as one line of our own for each entry ---- */

static void write_labels(struct ap_buf *out, const struct exposition_label *labels, size_t count)
{
    ap_buf_add_char(out, '{');
    for (size_t i = 0; i < count; i++)
        ap_buf_printf(out, "%s%.*s=<%.*s>", i ? "," : "", AP_SLICE_ARG(labels[i].name), AP_SLICE_ARG(labels[i].value));
    ap_buf_add_char(out, '}');
}

static void write_entry(struct ap_buf *out, enum exposition_kind kind, const struct exposition_entry *entry)
{
    switch (kind) {
    case EXPOSITION_SAMPLE:
        ap_buf_printf(out, "%.*s", AP_SLICE_ARG(entry->name));
        write_labels(out, entry->labels, entry->label_count);
        ap_buf_printf(out, "=%.17g", entry->value);
        if (entry->has_ts)
            ap_buf_printf(out, "@%" PRId64, entry->ts_ms);
        if (entry->has_exemplar) {
            ap_buf_add_cstr(out, "#");
            write_labels(out, entry->exemplar.labels, entry->exemplar.label_count);
            ap_buf_printf(out, "=%.17g", entry->exemplar.value);
            if (entry->exemplar.has_ts)
                ap_buf_printf(out, "@%" PRId64, entry->exemplar.ts_ms);
        }
        break;
    case EXPOSITION_HELP:
        ap_buf_printf(out, "help %.*s <%.*s>", AP_SLICE_ARG(entry->name), AP_SLICE_ARG(entry->text));
        break;
    case EXPOSITION_UNIT:
        ap_buf_printf(out, "unit %.*s <%.*s>", AP_SLICE_ARG(entry->name), AP_SLICE_ARG(entry->text));
        break;
    case EXPOSITION_TYPE:
        ap_buf_printf(out, "type %.*s %d", AP_SLICE_ARG(entry->name), (int)entry->type);
        break;
    case EXPOSITION_BAD:
        ap_buf_printf(out, "bad %zu:%zu %s", entry->line, entry->column, entry->reason);
        break;
    case EXPOSITION_END:
        break;
    }
    ap_buf_add_char(out, '\n');
}

static void check(int line, enum exposition_format format, const char *text, const char *want)
{
    AP_AUTO(exposition) struct exposition *parser = exposition_new();
    AP_AUTO_BUF struct ap_buf out = {0};
    struct exposition_entry entry;
    enum exposition_kind kind;
    /* In memory of its own size, so that the address sanitizer sees a read past its end. */
    size_t bytes = strlen(text);
    AP_AUTO_FREE char *copy = malloc(bytes ? bytes : 1);
    memcpy(copy, text, bytes);
    exposition_begin(parser, format, ap_slice(copy, bytes));
    while ((kind = exposition_next(parser, &entry)) != EXPOSITION_END)
        write_entry(&out, kind, &entry);
    if (!ap_slice_equal_cstr(ap_buf_slice(&out), want))
        fail_msg("line %d:\n%s\ngives\n%.*s\nwanted\n%s", line, text, AP_SLICE_ARG(ap_buf_slice(&out)), want);
}
#define TEXT(text, want)        check(__LINE__, EXPOSITION_TEXT, text, want)
#define OPENMETRICS(text, want) check(__LINE__, EXPOSITION_OPENMETRICS, text, want)

static void test_samples(void **state)
{
    (void)state;
    TEXT("", "");
    TEXT("up 1", "up{}=1\n");
    TEXT("up 1\n", "up{}=1\n");
    TEXT("\n \t\nup 1\r\n\n", "up{}=1\n");
    TEXT("up{} 1 1395066363000\n", "up{}=1@1395066363000\n");
    TEXT("up 1 -5", "up{}=1@-5\n");
    TEXT("http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n",
         "http_requests_total{method=<post>,code=<200>}=1027@1395066363000\n");
    TEXT("  a:b \t{ a = \"x\" , b=\"y\" , }\t 3 \t 4 \n", "a:b{a=<x>,b=<y>}=3@4\n");
    TEXT("a{b=\"\"} 2", "a{b=<>}=2\n");
    TEXT("# a comment\n#\n# EOF\nup 1\n", "up{}=1\n"); /* no end in this format */
    TEXT("a 1\na 2", "a{}=1\na{}=2\n");
}

static void test_quoted_names(void **state)
{
    (void)state;
    TEXT("{\"http.requests\",code=\"200\"} 3", "http.requests{code=<200>}=3\n");
    TEXT("{\"http.requests\"} 3", "http.requests{}=3\n");
    TEXT("{\"my \\\"metric\\\"\",\"a.b\"=\"c\"} 3 4", "my \"metric\"{a.b=<c>}=3@4\n");
    TEXT("up{\"ü\"=\"ß\"} 1", "up{ü=<ß>}=1\n");
    TEXT("# TYPE \"http.requests\" counter\n# HELP \"http.requests\" What\n",
         "type http.requests 1\nhelp http.requests <What>\n");
    TEXT("{a=\"b\"} 3", "bad 1:1 the metric has no name\n");
    TEXT("x{\"y\"} 3", "bad 1:6 expected = behind the name of the label\n");
    TEXT("{\"\"} 3", "bad 1:1 the metric has no name\n");
}

static void test_escapes(void **state)
{
    (void)state;
    TEXT("a{p=\"C:\\\\DIR\\\\x\",e=\"line\\n\\\"quoted\\\"\"} 1", "a{p=<C:\\DIR\\x>,e=<line\n\"quoted\">}=1\n");
    TEXT("a{p=\"\\d\\\\\"} 1", "a{p=<\\d\\>}=1\n"); /* others keep their backslash */
    TEXT("a{p=\"a long value without any escape in it at all\",q=\"and one with \\\\ one, also long enough\"} 1",
         "a{p=<a long value without any escape in it at all>,q=<and one with \\ one, also long enough>}=1\n");
    TEXT("# HELP a one \\n two \\\\ \\\"three\\\" \\x\n", "help a <one \n two \\ \\\"three\\\" \\x>\n");
    OPENMETRICS("# HELP a \\\"three\\\"\n", "help a <\"three\">\n");
    TEXT("# HELP a\n# HELP b  spaces stay\n", "help a <>\nhelp b < spaces stay>\n");
}

static void test_types(void **state)
{
    (void)state;
    TEXT("# TYPE a counter\n#\tTYPE  a\tgauge \n# TYPE a untyped\n# TYPE a histogram\n", //
         "type a 1\ntype a 2\ntype a 0\ntype a 3\n");
    OPENMETRICS("# TYPE a info\n# TYPE a stateset\n# TYPE a gaugehistogram\n# UNIT a_seconds seconds\n",
                "type a 6\ntype a 7\ntype a 4\nunit a_seconds <seconds>\n");
    TEXT("# TYPE a guage\n", "bad 1:10 expected a type: counter, gauge, histogram, summary, unknown, …\n");
    TEXT("# TYPE\n", "bad 1:7 expected the name of a metric\n");
    TEXT("# HELP \"\" x\n", "bad 1:10 expected the name of a metric and a space\n");
    TEXT("# HELP a-b x\n", "bad 1:9 expected the name of a metric and a space\n");
}

static void test_openmetrics(void **state)
{
    (void)state;
    OPENMETRICS("a_total 1 1395066363.123\n", "a_total{}=1@1395066363123\n");
    OPENMETRICS("a 1 1.001\na 1 1.0019\na 1 -2\na 1 1e3\n", "a{}=1@1001\na{}=1@1001\na{}=1@-2000\na{}=1@1000000\n");
    OPENMETRICS("a_bucket{le=\"0.1\"} 8 # {} 0.054\na_bucket{le=\"1\"} 11 1.5 # {trace_id=\"KOO5S4vxi0o\"} 0.67\n"
                "a_bucket{le=\"+Inf\"} 17 # {trace_id=\"oHg5SJYRHA0\",b=\"c\"} 9.8 1520879607.789\n# EOF\n",
                "a_bucket{le=<0.1>}=8#{}=0.053999999999999999\n"
                "a_bucket{le=<1>}=11@1500#{trace_id=<KOO5S4vxi0o>}=0.67000000000000004\n"
                "a_bucket{le=<+Inf>}=17#{trace_id=<oHg5SJYRHA0>,b=<c>}=9.8000000000000007@1520879607789\n");
    OPENMETRICS("a 1\n# EOF\na 2\n", "a{}=1\nbad 3:1 there is something behind # EOF\n");
    OPENMETRICS("a 1 1e40\n", "bad 1:5 the time is out of range\n");
    OPENMETRICS("a 1 NaN\n", "bad 1:5 the time is out of range\n");
    TEXT("a 1 1395066363.123\n", "bad 1:5 expected a time in milliseconds\n");
    TEXT("a 1 99999999999999999999\n", "bad 1:5 the time is out of range\n");

    AP_AUTO(exposition) struct exposition *parser = exposition_new();
    struct exposition_entry entry;
    exposition_begin(parser, EXPOSITION_OPENMETRICS, ap_slice_cstr("a 1\n"));
    while (exposition_next(parser, &entry) != EXPOSITION_END)
        ;
    assert_false(exposition_has_eof(parser));
    exposition_begin(parser, EXPOSITION_OPENMETRICS, ap_slice_cstr("a 1\n# EOF"));
    while (exposition_next(parser, &entry) != EXPOSITION_END)
        ;
    assert_true(exposition_has_eof(parser));
}

/* Line and column are where a person would point; the next line is read all the same. */
static void test_bad_lines(void **state)
{
    (void)state;
    TEXT("ok 1\n9a 1\nok 2\n", "ok{}=1\nbad 2:1 expected the name of a metric\nok{}=2\n");
    TEXT("a", "bad 1:2 expected a number\n");
    TEXT("a ", "bad 1:3 expected a number\n");
    TEXT("a x", "bad 1:3 expected a number\n");
    TEXT("a 1x", "bad 1:4 expected a space behind the number\n");
    TEXT("a 1 x", "bad 1:5 expected a time in milliseconds\n");
    TEXT("a 1 2 3", "bad 1:7 expected the end of the line\n");
    TEXT("a{", "bad 1:3 expected the name of a label, or }\n");
    TEXT("a{b", "bad 1:4 expected = behind the name of the label\n");
    TEXT("a{b=", "bad 1:5 expected the label's value in quotes\n");
    TEXT("a{b=c} 1", "bad 1:5 expected the label's value in quotes\n");
    TEXT("a{b=\"c} 1\na 1", "bad 1:5 the quote is not closed\na{}=1\n");
    TEXT("a{b=\"c\\", "bad 1:5 the quote is not closed\n");
    TEXT("a{b=\"c\\\"} 1\na 1", "bad 1:5 the quote is not closed\na{}=1\n");
    TEXT("a{b=\"c\" d=\"e\"} 1", "bad 1:9 expected , or } behind the label\n");
    TEXT("a{,b=\"c\"} 1", "bad 1:3 expected the name of a label, or }\n");
    TEXT("a{b=\"c\",,} 1", "bad 1:9 expected the name of a label, or }\n");
    TEXT("a{9=\"c\"} 1", "bad 1:3 expected the name of a label, or }\n");
    TEXT("a{b:c=\"c\"} 1", "bad 1:4 expected = behind the name of the label\n");
    TEXT("a{b=\"c\"}", "bad 1:9 expected a number\n");
    TEXT("a 1 # {b=\"c\"}", "bad 1:14 expected a number\n");
    TEXT("a 1 # 5", "bad 1:7 expected the labels of an exemplar\n");
    TEXT("a 1 # {b=\"c\"} 1 2 3", "bad 1:19 expected the end of the line\n");
    TEXT("a 1 # {\"b\"} 1", "bad 1:11 expected = behind the name of the label\n");
}

static void test_many_labels(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf text = {0};
    ap_buf_add_cstr(&text, "a{");
    for (int i = 0; i < EXPOSITION_LABELS_MAX; i++)
        ap_buf_printf(&text, "l%d=\"v\",", i);
    AP_AUTO(exposition) struct exposition *parser = exposition_new();
    struct exposition_entry entry;
    size_t bytes = text.bytes;
    ap_buf_add_cstr(&text, "} 1");
    exposition_begin(parser, EXPOSITION_TEXT, ap_buf_slice(&text));
    assert_int_equal(exposition_next(parser, &entry), EXPOSITION_SAMPLE);
    assert_int_equal(entry.label_count, EXPOSITION_LABELS_MAX);
    text.bytes = bytes;
    ap_buf_add_cstr(&text, "more=\"x\"} 1");
    exposition_begin(parser, EXPOSITION_TEXT, ap_buf_slice(&text));
    assert_int_equal(exposition_next(parser, &entry), EXPOSITION_BAD);
    assert_string_equal(entry.reason, "too many labels");
}

/* ---- Numbers: strtod() is the judge ---- */

static double number_of(const char *text)
{
    char line[EXPOSITION_NUMBER_BYTES_MAX + 64];
    snprintf(line, sizeof(line), "a %s", text);
    AP_AUTO(exposition) struct exposition *parser = exposition_new();
    struct exposition_entry entry;
    exposition_begin(parser, EXPOSITION_TEXT, ap_slice_cstr(line));
    if (exposition_next(parser, &entry) != EXPOSITION_SAMPLE)
        fail_msg("%s: %s", text, entry.reason);
    return entry.value;
}

static void number(const char *text)
{
    double got = number_of(text);
    double want = strtod(text, NULL);
    if (ap_double_to_bits(got) != ap_double_to_bits(want))
        fail_msg("%s is %.17g, wanted %.17g", text, got, want);
}

static void test_numbers(void **state)
{
    (void)state;
    static const char *const texts[] = {"0",
                                        "-0",
                                        "+1",
                                        "1.",
                                        ".5",
                                        "-.5e1",
                                        "1e5",
                                        "1E+5",
                                        "1e-5",
                                        "0.1",
                                        "123456789.125",
                                        "9007199254740993",
                                        "9007199254740992.5",
                                        "1.7976931348623157e308",
                                        "4.9e-324",
                                        "2.4703282292062328e-324",
                                        "1e-400",
                                        "0e999999999",
                                        "2.2250738585072011e-308",
                                        "18446744073709551615",
                                        "18446744073709551616",
                                        "99999999999999999999999",
                                        "0.30000000000000004",
                                        "1.0000000000000002",
                                        "1.00000000000000011102230246251565",
                                        "123456789012345678901e-5",
                                        "9223372036854775809",
                                        "9223372036854774784.5",
                                        "0.000000000000000000000000000001",
                                        "00000000000000000000001.5",
                                        "1e22",
                                        "1e23",
                                        "3e-23",
                                        "8.41e+20",
                                        "1e0000000005"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(texts); i++)
        number(texts[i]);
    assert_true(ap_double_to_bits(number_of("NaN")) == UINT64_C(0x7ff8000000000001));
    assert_true(ap_double_to_bits(number_of("-nan")) == UINT64_C(0x7ff8000000000001));
    assert_true(ap_double_to_bits(number_of("+Inf")) == UINT64_C(0x7ff0000000000000));
    assert_true(ap_double_to_bits(number_of("-inf")) == UINT64_C(0xfff0000000000000));
    assert_true(ap_double_to_bits(number_of("Infinity")) == UINT64_C(0x7ff0000000000000));
    TEXT("a 0x10", "bad 1:4 expected a space behind the number\n");
    TEXT("a 1_000", "bad 1:4 expected a space behind the number\n");
    TEXT("a 1e", "bad 1:3 expected a number\n");
    TEXT("a 1e+", "bad 1:3 expected a number\n");
    TEXT("a .", "bad 1:3 expected a number\n");
    TEXT("a -", "bad 1:3 expected a number\n");
    TEXT("a 1.2.3", "bad 1:6 expected a space behind the number\n");
    TEXT("a nano", "bad 1:6 expected a space behind the number\n");
    TEXT("a 1e309", "bad 1:3 the number is larger than a double can be\n");
}

/* Random doubles and random decimals, short and long: always the nearest double. */
static void test_random_numbers(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 20261123);
    char text[64];
    for (int i = 0; i < 200000; i++) {
        uint64_t bits = ap_random_u64(&random);
        double value;
        memcpy(&value, &bits, sizeof(value));
        if (value - value != 0) /* not finite */
            continue;
        snprintf(text, sizeof(text), "%.*g", (int)(1 + ap_random_below(&random, 20)), value);
        if (strtod(text, NULL) - strtod(text, NULL) == 0)
            number(text);
        int64_t integer = (int64_t)(ap_random_u64(&random) >> ap_random_below(&random, 64));
        snprintf(text, sizeof(text), "%" PRIu64 "e%d", (uint64_t)integer, (int)ap_random_below(&random, 60) - 30);
        number(text);
        snprintf(text, sizeof(text), "%" PRIu64 ".%0*" PRIu64, ap_random_below(&random, 100000),
                 (int)ap_random_below(&random, 18) + 1, ap_random_below(&random, 1000000));
        number(text);
    }
}

/* Who has read some lines by itself goes on behind them. */
static void test_going_on(void **state)
{
    (void)state;
    static const char text[] = "a 1\nb{x=\"y\"} 2\n  c  3\nd{ 4\n";
    AP_AUTO(exposition) struct exposition *parser = exposition_new();
    struct exposition_entry entry;
    exposition_begin(parser, EXPOSITION_TEXT, ap_slice_cstr(text));
    assert_ptr_equal(exposition_place(parser), text);
    exposition_go_on(parser, text + 4, 1);
    assert_int_equal(exposition_next(parser, &entry), EXPOSITION_SAMPLE);
    assert_true(ap_slice_equal_cstr(entry.series, "b{x=\"y\"}"));
    assert_int_equal(entry.line, 2);
    assert_int_equal(exposition_next(parser, &entry), EXPOSITION_SAMPLE);
    assert_true(ap_slice_equal_cstr(entry.series, "c"));
    assert_int_equal(exposition_next(parser, &entry), EXPOSITION_BAD);
    assert_int_equal(entry.line, 4);
    assert_null(exposition_place(parser));
}

static void test_number_alone(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int bytes; /* 0: it is none */
        double value;
    } cases[] = {{"12\n", 2, 12}, {"-1.5 7", 4, -1.5}, {"1e3", 3, 1000}, {"+Inf\n", 4, INFINITY},
                 {"1\n2", 1, 1},  {"", 0, 0},          {"x", 0, 0},      {"1x", 0, 0},
                 {"1\r\n", 0, 0}, {"0.1}", 0, 0},      {" 1", 0, 0}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        double value = 0;
        const char *text = cases[i].text;
        const char *end = exposition_number(text, text + strlen(text), &value);
        assert_int_equal(end ? end - text : 0, cases[i].bytes);
        assert_true(value == cases[i].value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples),     cmocka_unit_test(test_quoted_names), cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_types),       cmocka_unit_test(test_openmetrics),  cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_many_labels), cmocka_unit_test(test_numbers),      cmocka_unit_test(test_random_numbers),
        cmocka_unit_test(test_going_on),    cmocka_unit_test(test_number_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
