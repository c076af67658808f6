#include "rules/threshold.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define OK(text, want_op, want_value)                                                                                  \
    do {                                                                                                               \
        struct rule_threshold got;                                                                                     \
        assert_true(rule_threshold_parse(ap_slice_cstr(text), &got));                                                  \
        assert_string_equal(rule_threshold_op_name(got.op), want_op);                                                  \
        assert_true(got.value == (want_value));                                                                        \
    } while (0)
#define BAD(text)                                                                                                      \
    do {                                                                                                               \
        struct rule_threshold got;                                                                                     \
        assert_false(rule_threshold_parse(ap_slice_cstr(text), &got));                                                 \
    } while (0)

static void test_parse(void **state)
{
    (void)state;
    OK("> 5", ">", 5);
    OK(">5", ">", 5);
    OK("  <= -0.5 ", "<=", -0.5);
    OK(">= 1e3", ">=", 1000);
    OK("< 0", "<", 0);
    OK("== 1", "==", 1);
    OK("!= 1", "!=", 1);
    BAD("");
    BAD("5");
    BAD(">");
    BAD("> five");
    BAD("> 5 ms");
    BAD("=> 5");
    BAD("= 5");
    BAD("> nan");
    BAD(">> 5");
}

static void test_met(void **state)
{
    (void)state;
    static const struct {
        enum rule_threshold_op op;
        bool is_met[3]; /* by 4, 5 and 6, of 5 */
    } cases[] = {
        {THRESHOLD_GREATER, {false, false, true}}, {THRESHOLD_GREATER_EQUAL, {false, true, true}},
        {THRESHOLD_LESS, {true, false, false}},    {THRESHOLD_LESS_EQUAL, {true, true, false}},
        {THRESHOLD_EQUAL, {false, true, false}},   {THRESHOLD_NOT_EQUAL, {true, false, true}},
        {THRESHOLD_NONE, {true, true, true}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const struct rule_threshold threshold = {cases[i].op, 5};
        for (int value = 4; value <= 6; value++)
            assert_int_equal(rule_threshold_is_met(&threshold, value), cases[i].is_met[value - 4]);
        assert_false(rule_threshold_is_met(&threshold, NAN));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse), cmocka_unit_test(test_met)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
