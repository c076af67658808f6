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
    {"x or {\"Bool\"}", "x or {__name__=\"Bool\"}"},
    {"{\"inf\"} * x", "{__name__=\"inf\"} * x"},
    {"x / Inf ^ -2 / +Inf", "x / Inf ^ -2 / +Inf"},
    {"1 + 2 * 3 - 4 / 5 % 6", NULL},
    {"\"a\\\"b\\n\\x41\\u00e9\"", "\"a\\\"b\\nA\xc3\xa9\""},
    {"`raw \\n`", "\"raw \\\\n\""},
    {"'single'", "\"single\""},
    {"up", NULL},
    {"a:b:c", NULL},
    {"up{}", "up"},
    {"up{job=\"a\",instance!=\"b\",x=~\"c.*\",y!~\"d|e\",}", "up{instance!=\"b\",job=\"a\",x=~\"c.*\",y!~\"d|e\"}"},
    {"{\"a metric\",\"utf8 läbel\"=\"v\"}", "{\"utf8 läbel\"=\"v\",__name__=\"a metric\"}"},
    {"{__name__=~\"a.+\"}", NULL},
    {"{\"plain\",\"second\"}", "{__name__=\"plain\",__name__=\"second\"}"},
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
    {"1e6 + 1_000 + 0x_1F + 010 + 08 + 5.", "1000000 + 1000 + 31 + 8 + 8 + 5"},
    {"a:b:c # comment\r + 1", "a:b:c + 1"},
    {"and and and or or", NULL},
    {"offset offset 5m", NULL},
    {"fill + fill_left", NULL},
    {"start - end", NULL},
    {"sum by (on, bool, group_left, by, a:b) (x)", "sum by (on, bool, group_left, by, \"a:b\") (x)"},
    {"x[5m] @ start()", NULL},
    {"x @ start() [5m]", "x[5m] @ start()"},
    {"x offset 0s offset 5m", "x offset 5m"},
    {"x offset 1m+1m", "x offset 1m + 1m"},
    {"rate(x[5m] anchored @ 10 offset 1m)", "rate(x[5m] anchored @ 10.000 offset 1m)"},
    {"rate(x[5m] @ 10 smoothed)", "rate(x[5m] smoothed @ 10.000)"},
    {"x smoothed @ 10 offset 5m", "x @ 10.000 smoothed offset 5m"},
    {"x anchored", NULL},
    {"rate(x smoothed [5m])", "rate(x[5m] smoothed)"},
    {"x @ -0.5", "x @ -0.500"},
    {"rate(x[min_of(5m, step()) + max_of(1m, 2m)])", NULL},
    {"max_of(1, 2) - min_of(3, time())", NULL},
    {"a + fill (5m) b", "a + fill (300) b"},
    {"a + fill (1e6) b", "a + fill (1e+06) b"},
    {"\"\\xff\"", "\"\\xff\""},
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
    {"1 +", "1:4: parse error: unexpected end of input"},
    {"1 + + ", "1:7: parse error: unexpected end of input"},
    {"1 + )", "1:6: parse error: unexpected right parenthesis ')'"},
    {"(1", "1:3: parse error: unclosed left parenthesis"},
    {"(1 + )", "1:6: parse error: unexpected \")\""},
    {"1)", "1:3: parse error: unexpected right parenthesis ')'"},
    {"up up", "1:4: parse error: unexpected identifier \"up\""},
    {"up a:b", "1:4: parse error: unexpected metric identifier \"a:b\""},
    {"up 5", "1:4: parse error: unexpected number \"5\""},
    {"up 5m", "1:4: parse error: unexpected duration \"5m\""},
    {"up \"a text that is long\"", "1:4: parse error: unexpected string \"\\\"a text th\"..."},
    {"up by", "1:4: parse error: unexpected <by>"},
    {"up BY", "1:4: parse error: unexpected <BY>"},
    {"up sum", "1:4: parse error: unexpected <aggr:sum>"},
    {"up start", "1:4: parse error: unexpected \"start\""},
    {"up = 1", "1:4: parse error: unexpected \"=\""},
    {"up =~ 1", "1:4: parse error: unexpected character after '=': '~'"},
    {"up ! 1", "1:4: parse error: unexpected character after '!': ' '"},
    {"* 1", "1:1: parse error: unexpected <op:*>"},
    {"1 + on", "1:7: parse error: unexpected end of input in grouping opts, expected \"(\""},
    {"1 + atan2", "1:5: parse error: unexpected <op:atan2>"},
    {"on", "1:1: parse error: unexpected <on>"},
    {"bool", "1:1: parse error: unexpected <bool>"},
    {"fill(1)", "1:1: parse error: unexpected <fill>"},
    {"and(up)", "1:4: parse error: unexpected \"(\""},
    {"a:b(up)", "1:4: parse error: unexpected \"(\""},
    {"sum(up up)", "1:8: parse error: unexpected identifier \"up\" in aggregation"},
    {"sum by up", "1:8: parse error: unexpected identifier \"up\" in grouping opts, expected \"(\""},
    {"sum by (1) (up)", "1:9: parse error: unexpected number \"1\" in grouping opts, expected label"},
    {"sum by (a b) (up)", "1:11: parse error: unexpected identifier \"b\" in grouping opts, expected \",\" or \")\""},
    {"up{", "1:4: parse error: unexpected end of input inside braces"},
    {"up{a}", "1:5: parse error: unexpected \"}\" in label matching, expected label matching operator"},
    {"up{a=1}", "1:6: parse error: unexpected character inside braces: '1'"},
    {"up{a=b}", "1:6: parse error: unexpected identifier \"b\" in label matching, expected string"},
    {"up{a==\"b\"}", "1:6: parse error: unexpected \"=\" in label matching, expected string"},
    {"up{a!b}", "1:5: parse error: unexpected character after '!' inside braces: 'b'"},
    {"up{a=\"b\" c=\"d\"}",
     "1:10: parse error: unexpected identifier \"c\" in label matching, expected \",\" or \"}\""},
    {"up{,}", "1:4: parse error: unexpected \",\" in label matching, expected identifier or \"}\""},
    {"up{{", "1:4: parse error: unexpected left brace '{'"},
    {"up}", "1:3: parse error: unexpected character: '}'"},
    {"up]", "1:3: parse error: unexpected right bracket ']'"},
    {"up{a=~\"(\"}", "1:4: parse error: "},
    {"{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"},
    {"{a=\"\"}", "vector selector must contain at least one non-empty matcher"},
    {"{a=~\".*\"}", "vector selector must contain at least one non-empty matcher"},
    {"up{__name__=\"down\"}", "1:1: parse error: metric name must not be set twice: \"up\" or \"down\""},
    {"up{\"down\"}", "1:1: parse error: metric name must not be set twice: \"up\" or \"down\""},
    {"\"abc", "1:1: parse error: unterminated quoted string"},
    {"`abc", "1:1: parse error: unterminated raw string"},
    {"\"\\q\"", "1:1: parse error: unknown escape sequence U+0071 'q'"},
    {"\"\\xg0\"", "1:1: parse error: illegal character U+0067 'g' in escape sequence"},
    {"\"\\x", "1:1: parse error: escape sequence not terminated"},
    {"\"\\400\"", "1:1: parse error: escape sequence is an invalid Unicode code point"},
    {"\"\xff\"", "1:1: parse error: invalid UTF-8 rune"},
    {"1h1h", "1:1: parse error: not a valid duration string: \"1h1h\""},
    {"1m1h", "1:1: parse error: not a valid duration string: \"1m1h\""},
    {"5hs", "1:1: parse error: unknown unit \"hs\" in duration \"5hs\""},
    {"300y", "1:1: parse error: duration out of range"},
    {"5x", "1:1: parse error: bad number or duration syntax: \"5\""},
    {"0deadbeef", "1:1: parse error: bad number or duration syntax: \"0de\""},
    {"1e1000", "1:1: parse error: error parsing number: strconv.ParseFloat: parsing \"1e1000\": value out of range"},
    {"up[5m", "1:6: parse error: unexpected end of input in duration expression"},
    {"up[", "1:4: parse error: unexpected end of input in duration expression"},
    {"up[x]", "1:4: parse error: unexpected character in duration expression: 'x'"},
    {"up[]", "1:4: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or "
             "range()"},
    {"up[5m 5m]", "1:7: parse error: unexpected duration \"5m\" in subquery or range, expected \":\" or \"]\""},
    {"up[5m:5m 5m]", "1:10: parse error: unexpected duration \"5m\" in subquery selector, expected \"]\""},
    {"up[:5m]", "1:5: parse error: unexpected colon before duration in duration expression"},
    {"up[5m:5m:]", "1:10: parse error: unexpected repeated colon in duration expression"},
    {"up[0s]", "1:4: parse error: duration must be greater than 0"},
    {"up[1m - 1m]", "3:10: duration must be greater than 0"},
    {"up[1m / 0]", "1:7: parse error: division by zero"},
    {"up[1m % 0]", "1:7: parse error: modulo by zero"},
    {"sum(up)[5m]", "1:8: parse error: ranges only allowed for vector selectors"},
    {"up offset 5m [5m]", "1:14: parse error: no offset modifiers allowed before range"},
    {"up @ 5 [5m]", "1:8: parse error: no @ modifiers allowed before range"},
    {"up[5m][5m:1m]", "1:1: parse error: subquery is only allowed on instant vector, got matrix instead"},
    {"1[5m:1m]", "1:1: parse error: subquery is only allowed on instant vector, got scalar instead"},
    {"sum(up) offset 5m", "1:1: parse error: offset modifier must be preceded by an instant vector selector or range "
                          "vector selector or a subquery"},
    {"1 @ 5", "1:1: parse error: @ modifier must be preceded by an instant vector selector or range vector selector "
              "or a subquery"},
    {"up offset", "1:10: parse error: unexpected end of input in offset, expected number, duration, step(), or "
                  "range()"},
    {"up offset 1m offset 2m", "1:1: parse error: offset may not be set multiple times"},
    {"up @", "1:5: parse error: unexpected end of input in @, expected timestamp"},
    {"up @ 1 @ 2", "1:1: parse error: @ <timestamp> may not be set multiple times"},
    {"up @ Inf", "1:1: parse error: timestamp out of bounds for @ modifier: +Inf"},
    {"up[5m] anchored smoothed", "anchored and smoothed modifiers cannot be used together"},
    {"up[5m:] anchored", "anchored modifier is not supported for subqueries"},
    {"sum(up) smoothed", "smoothed modifier not implemented"},
    {"nothing(up)", "1:1: parse error: unknown function with name \"nothing\""},
    {"rate(up)", "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector"},
    {"rate(up) + )", "1:13: parse error: unexpected right parenthesis ')'"},
    {"rate(up[5m], 1)", "1:1: parse error: expected 1 argument(s) in call to \"rate\", got 2"},
    {"clamp(up, 1)", "expected 3 argument(s) in call to \"clamp\", got 2"},
    {"round()", "expected at least 1 argument(s) in call to \"round\", got 0"},
    {"round(up, 1, 2)", "expected at most 2 argument(s) in call to \"round\", got 3"},
    {"label_join(up, \"a\")", "expected at least 3 argument(s)"},
    {"histogram_quantiles(up, \"a\")", "expected at least 3 argument(s) in call to \"histogram_quantiles\", got 2"},
    {"histogram_quantiles(up, \"a\",1,2,3,4,5,6,7,8,9,10,11)",
     "expected at most 12 argument(s) in call to \"histogram_quantiles\", got 13"},
    {"sum(up,)", "1:7: parse error: trailing commas not allowed in function call args"},
    {"sum(1)", "1:5: parse error: expected type instant vector in aggregation expression, got scalar"},
    {"sum()", "1:1: parse error: no arguments for aggregate expression provided"},
    {"topk(up)", "wrong number of arguments for aggregate expression provided, expected 2, got 1"},
    {"topk(\"5\", up)", "1:6: parse error: expected type scalar in aggregation parameter, got string"},
    {"1 == 2", "1:3: parse error: comparisons between scalars must use BOOL modifier"},
    {"up + bool 1", "1:4: parse error: bool modifier can only be used on comparison operators"},
    {"up and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"},
    {"up + on(a) 1", "1:1: parse error: vector matching only allowed between instant vectors"},
    {"up + fill(0) 1", "1:1: parse error: filling in missing series only allowed between instant vectors"},
    {"up and fill(0) up", "1:1: parse error: filling in missing series not allowed for set operators"},
    {"up and on(a) group_left() up", "1:1: parse error: no grouping allowed for \"and\" operation"},
    {"up + on(a) group_left(a) up", "1:4: parse error: label \"a\" must not occur in ON and GROUP clause at once"},
    {"up + \"a\"", "1:6: parse error: binary expression must contain only scalar and instant vector types"},
    {"-\"a\"", "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got "
               "\"string\""},
    {"up[5m] + 1", "1:1: parse error: binary expression must contain only scalar and instant vector types"},
    {"up\n  + )", "2:6: parse error: unexpected right parenthesis ')'"},
    {"info(up, down)", "1:10: parse error: expected label selectors only, got vector selector instead"},
    {"info(up, 1)", "1:10: parse error: expected label selectors only"},
    {"sum by (\"\\xff\") (up)", "1:9: parse error: invalid label name for grouping: \"\\xff\""},
    {"up \\", "1:4: parse error: unexpected character: '\\\\'"},
    {"up !\n", "1:4: parse error: unexpected character after '!': '\\n'"},
    {"up \x01", "1:4: parse error: unexpected character: '\\x01'"},
    {"up & down", "1:4: parse error: unexpected character: '&'"},
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
    static const char *const texts[] = {"limitk(3, up)",   "mad_over_time(up[5m])", "up + on(a) fill(0) up",
                                        "up[5m] anchored", "up smoothed",           "up[5m + 1m]"};
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

static const struct {
    const char *text;
    const char *pretty;
} pretties[] = {
    {"sum by (job, instance) (rate(http_requests_total{job=\"api-server\",status=~\"5..\"}[5m])) / "
     "sum by (job, instance) (rate(http_requests_total{job=\"api-server\"}[5m]))",
     "  sum by (job, instance) (rate(http_requests_total{job=\"api-server\",status=~\"5..\"}[5m]))\n"
     "/\n"
     "  sum by (job, instance) (rate(http_requests_total{job=\"api-server\"}[5m]))"},
    /* The indentation does not count. */
    {"abs(rate(http_requests_total_of_a_metric{job=\"api-server\",status=~\"5..\",instance=\"a-long-name\"}[5m]))",
     "abs(\n"
     "  rate(http_requests_total_of_a_metric{instance=\"a-long-name\",job=\"api-server\",status=~\"5..\"}[5m])\n"
     ")"},
    {"-(http_requests_total_of_a_metric{job=\"api-server\",status=~\"5..\",instance=\"a-very-long-name-of-it\"} + up)",
     "-(\n"
     "    http_requests_total_of_a_metric{instance=\"a-very-long-name-of-it\",job=\"api-server\",status=~\"5..\"}\n"
     "  +\n"
     "    up\n"
     ")"},
    {"max_over_time(rate(http_requests_total_of_a_metric{job=\"api-server\",status=~\"5..\"}[5m])[1h:5m] offset 1m)",
     "max_over_time(\n"
     "rate(http_requests_total_of_a_metric{job=\"api-server\",status=~\"5..\"}[5m])[1h:5m] offset 1m\n"
     ")"},
};

static void test_pretty(void **state)
{
    (void)state;
    for (size_t i = 0; i < AP_ARRAY_COUNT(pretties); i++) {
        struct promql_query query;
        struct ap_err err;
        assert_int_equal(promql_parse(ap_slice_cstr(pretties[i].text), true, &query, &err), AP_OK);
        AP_AUTO_BUF struct ap_buf out = {0};
        promql_print_pretty(query.expr, &out);
        promql_query_clear(&query);
        if (!ap_slice_equal_cstr(ap_buf_slice(&out), pretties[i].pretty))
            fail_msg("%.*s", (int)out.bytes, out.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_queries), cmocka_unit_test(test_bad_queries), cmocka_unit_test(test_experimental),
        cmocka_unit_test(test_limits),       cmocka_unit_test(test_pretty),
    };
    return cmocka_run_group_tests_name("promql parser", tests, NULL, NULL);
}
