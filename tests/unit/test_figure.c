#include "rules/figure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "promql/parser.h"

static const char *figure_of(const char *text)
{
    static char out[400];
    struct promql_query query;
    struct ap_err err;
    AP_AUTO_BUF struct ap_buf printed = {0};
    assert_int_equal(promql_parse(ap_slice_cstr(text), true, &query, &err), AP_OK);
    if (figure_print(query.expr, &printed, &err) != AP_OK) {
        ap_buf_reset(&printed);
        ap_buf_add_cstr(&printed, err.text);
    }
    promql_query_clear(&query);
    ap_buf_add_char(&printed, '\0');
    assert_true(printed.bytes <= sizeof(out));
    memcpy(out, printed.data, printed.bytes);
    struct ap_err again;
    if (!strstr(out, "looks for")) { /* what is printed is a query again */
        assert_int_equal(promql_parse(ap_slice_cstr(out), true, &query, &again), AP_OK);
        promql_query_clear(&query);
    }
    return out;
}

#define OK(text, want) assert_string_equal(figure_of(text), want)

static void test_figure(void **state)
{
    (void)state;
    OK("up == 0", "up == bool 0");
    OK("a / b > 0.05", "a / b > bool 0.05");
    OK("0 < (a)", "0 < bool (a)");
    OK("count(up == 0) > 2", "count(up == bool 0) > bool 2");
    OK("a > 1 and b > 2", "a > bool 1");
    OK("a > 1 unless b", "a > bool 1");
    OK("a > 1 or b > 2", "a > bool 1 or b > bool 2");
    OK("a > bool 1", "a > bool 1");
    OK("rate(a[5m])", "rate(a[5m])");
    OK("-(a > 1)", "-(a > bool 1)");
    OK("max_over_time((a > 1)[5m:1m])", "max_over_time((a > bool 1)[5m:1m])");
    OK("absent(up)", "absent() looks for missing data itself");
    OK("a > 1 or absent_over_time(a[5m])", "absent_over_time() looks for missing data itself");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_figure)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
