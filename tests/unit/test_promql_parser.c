/* Queries: what parses, how it is written again, and what errors say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "promql/parser.h"

static const struct {
    const char *text;
    const char *printed; /* NULL: as it is */
} good[] = {
    {"1", NULL},
    {"0x1f", "31"},
    {".5", "0.5"},
    {"1e3", "1000"},
    {"+Inf", "+Inf"},
    {"-inf", "-Inf"},
    {"nan", "NaN"},
    {"1h30m", NULL},
    {"-1 ^ 2", NULL},
    {"2 ^ 3 ^ 2", NULL},
    {"x or {\"Bool\"}", NULL},
    {"{\"inf\"} * x", NULL},
    {"x / Inf ^ -2 / +Inf", "x / Inf ^ -2 / +Inf"},
    {"1 + 2 * 3 - 4 / 5 % 6", NULL},
    {"\"a\\\"b\\n\\x41\\u00e9\"", "\"a\\\"b\\nA\xc3\xa9\""},
    {"`raw \\n`", "\"raw \\\\n\""},
    {"'single'", "\"single\""},
    {"up", NULL},
    {"a:b:c", NULL},
    {"up{}", "up"},
    {"up{job=\"a\",instance!=\"b\",x=~\"c.*\",y!~\"d|e\",}", "up{job=\"a\",instance!=\"b\",x=~\"c.*\",y!~\"d|e\"}"},
    {"{\"a metric\",\"utf8 läbel\"=\"v\"}", NULL},
    {"{__name__=~\"a.+\"}", NULL},
    {"{\"plain\"}", "plain"},
    {"up # a comment\n + down", "up + down"},
    {"rate(x[5m])", NULL},
    {"rate(x[300])", "rate(x[5m])"},
    {"rate(x[5m] offset 1h)", NULL},
    {"x offset -5m", NULL},
    {"x @ 1600000000.123", NULL},
    {"x @ start() offset 5m", NULL},
    {"x offset 5m @ end()", "x @ end() offset 5m"},
    {"max_over_time(rate(x[1m])[1h:5m] @ 10 offset 1m)", "max_over_time(rate(x[1m])[1h:5m] @ 10.000 offset 1m)"},
    {"max_over_time(x[1h:])", NULL},
    {"rate(x[5m + 10s])", NULL},
    {"rate(x[step() * 4])", NULL},
    {"rate(x[min(5m, step())])", NULL},
    {"x offset (1h / 2)", NULL},
    {"sum(x)", NULL},
    {"sum by (a, b) (x)", NULL},
    {"sum(x) by (a)", "sum by (a) (x)"},
    {"sum without (\"a b\") (x)", NULL},
    {"sum by () (x)", "sum(x)"},
    {"topk(5, x)", NULL},
    {"quantile(0.9, x)", NULL},
    {"count_values(\"v\", x)", NULL},
    {"limitk(3, x)", NULL},
    {"sum", NULL},
    {"sum + by", NULL},
    {"a + on (x) group_left (y) b", NULL},
    {"a * ignoring (x) group_right () b", NULL},
    {"a == bool 1", NULL},
    {"1 < bool 2", NULL},
    {"a and on (x) b or c unless d", NULL},
    {"a + on (x) fill (0) b", NULL},
    {"a + on (x) fill_left (1) fill_right (2) b", NULL},
    {"a + on", NULL},
    {"a atan2 b", NULL},
    {"-a * b", NULL},
    {"-(a + b)", NULL},
    {"histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m])))", NULL},
    {"label_replace(x, \"a\", \"$1\", \"b\", \"(.*)\")", NULL},
    {"label_join(x, \"a\", \",\")", NULL},
    {"label_join(x, \"a\", \",\", \"b\", \"c\")", NULL},
    {"round(x)", NULL},
    {"round(x, 5)", NULL},
    {"time() - pi()", NULL},
    {"hour()", NULL},
    {"info(x, {data=~\".*\"})", NULL},
    {"sort_by_label(x, \"a\", \"b\")", NULL},
    {"SUM(x) BY (a)", "sum by (a) (x)"},
    {"a AND b", "a and b"},
};

static void test_good_queries(void **state)
{
    (void)state;
    for (size_t i = 0; i < AP_ARRAY_COUNT(good); i++) {
        struct ap_slice text = ap_slice_cstr(good[i].text);
        AP_AUTO_BUF struct ap_buf first = {0};
        /* What was printed is printed again as the same. */
        for (int round = 0; round < 2; round++) {
            struct promql_query query;
            struct ap_err err = {0};
            if (promql_parse(text, true, &query, &err) != AP_OK)
                fail_msg("%.*s: %s", AP_SLICE_ARG(text), err.text);
            AP_AUTO_BUF struct ap_buf printed = {0};
            promql_print(query.expr, &printed);
            const char *wanted = good[i].printed ? good[i].printed : good[i].text;
            if (!ap_slice_equal_cstr(ap_buf_slice(&printed), wanted))
                fail_msg("%s became %.*s", good[i].text, (int)printed.bytes, printed.data);
            promql_query_clear(&query);
            if (round == 0) {
                ap_buf_add_slice(&first, ap_buf_slice(&printed));
                text = ap_buf_slice(&first);
            }
        }
    }
}

static const struct {
    const char *text;
    const char *error;
} bad[] = {
    {"", "1:1: parse error: no expression found in input"},
    {"# only a comment", "1:1: parse error: no expression found in input"},
    {"1 +", "1:4: parse error: unexpected end of input in expression"},
    {"1 + + )", "1:7: parse error: unexpected \")\" in expression"},
    {"(1", "unexpected end of input in paren expression, expected \")\""},
    {"1)", "1:2: parse error: unexpected \")\" in expression"},
    {"up up", "1:4: parse error: unexpected identifier \"up\" in expression"},
    {"up{", "unexpected end of input in label matching"},
    {"up{a}", "unexpected \"}\" in label matching, expected label matching operator"},
    {"up{a=1}", "expected string"},
    {"up{a=\"b\" c=\"d\"}", "expected \",\" or \"}\""},
    {"up{a=~\"(\"}", "1:1: parse error: "},
    {"{}", "vector selector must contain at least one non-empty matcher"},
    {"{a=\"\"}", "vector selector must contain at least one non-empty matcher"},
    {"{a=~\".*\"}", "vector selector must contain at least one non-empty matcher"},
    {"up{__name__=\"down\"}", "metric name must not be set twice"},
    {"up{\"down\"}", "metric name must not be set twice"},
    {"\"abc", "unterminated quoted string"},
    {"`abc", "unterminated raw string"},
    {"\"\\q\"", "unknown escape sequence"},
    {"\"\xff\"", "not UTF-8"},
    {"1h1h", "bad number or duration syntax"},
    {"1m1h", "bad number or duration syntax"},
    {"5x", "bad number or duration syntax"},
    {"up[5m", "expected \":\" or \"]\""},
    {"up[0s]", "duration must be greater than 0"},
    {"up[1m - 1m]", "duration must be greater than 0"},
    {"sum(up)[5m]", "ranges only allowed for vector selectors"},
    {"up offset 5m [5m]", "no offset modifiers allowed before range"},
    {"up @ 5 [5m]", "no @ modifiers allowed before range"},
    {"up[5m][5m:1m]", "subquery is only allowed on instant vector, got range vector instead"},
    {"sum(up) offset 5m", "offset modifier must be preceded by"},
    {"1 @ 5", "@ modifier must be preceded by"},
    {"up offset 1m offset 2m", "offset may not be set multiple times"},
    {"up @ 1 @ 2", "@ <timestamp> may not be set multiple times"},
    {"up @ Inf", "timestamp out of bounds"},
    {"nothing(up)", "1:1: parse error: unknown function with name \"nothing\""},
    {"rate(up)", "expected type range vector in call to function \"rate\", got instant vector"},
    {"rate(up[5m], 1)", "expected 1 argument(s) in call to \"rate\", got 2"},
    {"clamp(up, 1)", "expected 3 argument(s) in call to \"clamp\", got 2"},
    {"round()", "expected at least 1 argument(s) in call to \"round\", got 0"},
    {"round(up, 1, 2)", "expected at most 2 argument(s) in call to \"round\", got 3"},
    {"label_join(up, \"a\")", "expected at least 3 argument(s)"},
    {"sum(up,)", "trailing commas not allowed in function call args"},
    {"sum(1)", "expected type instant vector in aggregation expression, got scalar"},
    {"sum()", "no arguments for aggregate expression provided"},
    {"topk(up)", "expected 2, got 1"},
    {"topk(\"5\", up)", "expected type scalar in aggregation parameter, got string"},
    {"1 == 2", "comparisons between scalars must use BOOL modifier"},
    {"up + bool 1", "bool modifier can only be used on comparison operators"},
    {"up and 1", "set operator \"and\" not allowed in binary scalar expression"},
    {"up + on(a) 1", "vector matching only allowed between instant vectors"},
    {"up and on(a) group_left() up", "no grouping allowed for \"and\" operation"},
    {"up + on(a) group_left(a) up", "label \"a\" must not occur in ON and GROUP clause at once"},
    {"up + \"a\"", "binary expression must contain only scalar and instant vector types"},
    {"-\"a\"", "unary expression only allowed on expressions of type scalar or instant vector, got string"},
    {"up[5m] + 1", "binary expression must contain only scalar and instant vector types"},
    {"up\n  + )", "2:5: parse error: unexpected \")\""},
    {"info(up, down)", "expected label selectors only"},
    {"sum by (a:b) (up)", "invalid label name for grouping"},
    {"up & down", "unexpected character: '&'"},
};

static void test_bad_queries(void **state)
{
    (void)state;
    for (size_t i = 0; i < AP_ARRAY_COUNT(bad); i++) {
        struct promql_query query;
        struct ap_err err = {0};
        if (promql_parse(ap_slice_cstr(bad[i].text), true, &query, &err) != AP_E_PARSE)
            fail_msg("%s was not refused", bad[i].text);
        if (!strstr(err.text, bad[i].error))
            fail_msg("%s: %s; expected %s", bad[i].text, err.text, bad[i].error);
    }
}

static void test_experimental(void **state)
{
    (void)state;
    static const char *const texts[] = {"limitk(3, up)", "mad_over_time(up[5m])", "up + on(a) fill(0) up"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(texts); i++) {
        struct promql_query query;
        struct ap_err err = {0};
        assert_int_equal(promql_parse(ap_slice_cstr(texts[i]), false, &query, &err), AP_E_PARSE);
        assert_non_null(strstr(err.text, "promql.experimental"));
        assert_int_equal(promql_parse(ap_slice_cstr(texts[i]), true, &query, &err), AP_OK);
        promql_query_clear(&query);
    }
}

/* Deep, long and wide: refused or read, and soon. */
static void test_limits(void **state)
{
    (void)state;
    struct promql_query query;
    struct ap_err err;
    static const char *const parts[] = {"(", "-", "1+(", "sum(", "a+", "up[", "1^"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(parts); i++) {
        AP_AUTO_BUF struct ap_buf text = {0};
        for (int j = 0; j < 10000; j++)
            ap_buf_add_cstr(&text, parts[i]);
        enum ap_rc rc = promql_parse(ap_buf_slice(&text), true, &query, &err);
        assert_true(rc == AP_E_LIMIT || rc == AP_E_PARSE);
    }
    AP_AUTO_BUF struct ap_buf text = {0};
    for (int i = 0; i <= PROMQL_QUERY_BYTES_MAX; i++)
        ap_buf_add_cstr(&text, " ");
    assert_int_equal(promql_parse(ap_buf_slice(&text), true, &query, &err), AP_E_LIMIT);
}

static void test_pretty(void **state)
{
    (void)state;
    struct promql_query query;
    struct ap_err err;
    const char *text = "sum by (job, instance) (rate(http_requests_total{job=\"api-server\",status=~\"5..\"}[5m])) / "
                       "sum by (job, instance) (rate(http_requests_total{job=\"api-server\"}[5m]))";
    assert_int_equal(promql_parse(ap_slice_cstr(text), true, &query, &err), AP_OK);
    AP_AUTO_BUF struct ap_buf out = {0};
    promql_print_pretty(query.expr, &out);
    promql_query_clear(&query);
    const char *wanted =
        "  sum by (job, instance) (rate(http_requests_total{job=\"api-server\",status=~\"5..\"}[5m]))\n"
        "/\n"
        "  sum by (job, instance) (rate(http_requests_total{job=\"api-server\"}[5m]))";
    if (!ap_slice_equal_cstr(ap_buf_slice(&out), wanted))
        fail_msg("%.*s", (int)out.bytes, out.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_queries), cmocka_unit_test(test_bad_queries), cmocka_unit_test(test_experimental),
        cmocka_unit_test(test_limits),       cmocka_unit_test(test_pretty),
    };
    return cmocka_run_group_tests_name("promql parser", tests, NULL, NULL);
}
