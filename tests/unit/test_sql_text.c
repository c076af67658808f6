#include "rules/sql_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "warehouse/sql_words.h"
#include "warehouse/warehouse.h"

#define GOOD(sql)      assert_string_equal(reason_of(sql), "")
#define BAD(sql, want) assert_string_equal(reason_of(sql), want)

static const char *reason_of(const char *sql)
{
    static struct ap_err err;
    return sql_text_check(ap_slice_cstr(sql), &err) == AP_OK ? "" : err.text;
}

static void test_parameters(void **state)
{
    (void)state;
    GOOD("SELECT 1 WHERE $now > $from AND $to > $now - $step");
    GOOD("SELECT '$then', \"$then\" -- $then\n/* $then */ FROM events");
    BAD("SELECT $then", "unknown parameter $then; there are $now, $from, $to and $step");
    BAD("SELECT $", "unknown parameter $; there are $now, $from, $to and $step");
    BAD("SELECT $nowhere", "unknown parameter $nowhere; there are $now, $from, $to and $step");
}

static void test_clocks(void **state)
{
    (void)state;
    BAD("SELECT now()", "now() cannot be asked by a rule: write $now, the time that is evaluated");
    BAD("SELECT Now (\n)", "now() cannot be asked by a rule: write $now, the time that is evaluated");
    BAD("SELECT CURRENT_DATE - 1",
        "current_date cannot be asked by a rule: write $now::DATE, the time that is evaluated");
    GOOD("SELECT now FROM t");
    GOOD("SELECT 'now()' -- current_date");
}

static void test_size(void **state)
{
    (void)state;
    struct ap_err err;
    AP_AUTO_FREE char *text = ap_new0_array(char, WAREHOUSE_SQL_BYTES_MAX + 2);
    memset(text, ' ', WAREHOUSE_SQL_BYTES_MAX + 1);
    assert_int_equal(sql_text_check(ap_slice(text, WAREHOUSE_SQL_BYTES_MAX), &err), AP_OK);
    assert_int_equal(sql_text_check(ap_slice(text, WAREHOUSE_SQL_BYTES_MAX + 1), &err), AP_E_LIMIT);
}

/* The words with a '|' behind each. */
static const char *words_of(const char *sql)
{
    static char out[200];
    struct ap_slice rest = ap_slice_cstr(sql), word;
    size_t bytes = 0;
    while (sql_next_word(&rest, &word)) {
        memcpy(out + bytes, word.data, word.bytes);
        out[bytes + word.bytes] = '|';
        bytes += word.bytes + 1;
    }
    out[bytes] = '\0';
    return out;
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(words_of("SELECT a.b1, $now+1.5"), "SELECT|a|b1|$now|1|5|");
    assert_string_equal(words_of("a 'it''s' b \"c\"\"d\" e"), "a|b|e|");
    assert_string_equal(words_of("a--b\nc /* d ' */ e"), "a|c|e|");
    assert_string_equal(words_of("a 'never ends"), "a|");
    assert_string_equal(words_of("a /*/ b"), "a|");
    assert_string_equal(words_of("a -- b"), "a|");
    assert_string_equal(words_of("$a$b"), "$a|$b|");
    assert_string_equal(words_of(""), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parameters), cmocka_unit_test(test_clocks),
                                       cmocka_unit_test(test_size), cmocka_unit_test(test_words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
