/* tsdb/matcher.h: what a matcher matches, what it says about itself, and the text of selectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "tsdb/labels.h"
#include "tsdb/matcher.h"

#define TEXT(literal) ap_slice(literal, sizeof(literal) - 1)

static struct matcher *make(enum matcher_kind kind, const char *value)
{
    struct matcher *matcher = NULL;
    struct ap_err err;
    if (matcher_new(kind, TEXT("l"), ap_slice_cstr(value), &matcher, &err) != AP_OK)
        fail_msg("%s: %s", value, err.text);
    return matcher;
}

static void assert_matches(enum matcher_kind kind, const char *text, struct ap_slice value, bool want, int line)
{
    AP_AUTO(matcher) struct matcher *matcher = make(kind, text);
    AP_AUTO_FREE char *copy = ap_strndup(value.data, value.bytes);
    _assert_int_equal(matcher_matches(matcher, ap_slice(copy, value.bytes)), want, __FILE__, line);
    if (value.bytes == 0)
        _assert_int_equal(matcher_matches_empty(matcher), want, __FILE__, line);
}
#define YES(kind, text, value) assert_matches(MATCHER_##kind, text, TEXT(value), true, __LINE__)
#define NO(kind, text, value)  assert_matches(MATCHER_##kind, text, TEXT(value), false, __LINE__)

static void test_kinds(void **state)
{
    (void)state;
    YES(EQUAL, "a", "a");
    NO(EQUAL, "a", "");
    YES(EQUAL, "", "");
    NO(EQUAL, "a", "a\0");
    NO(NOT_EQUAL, "a", "a");
    YES(NOT_EQUAL, "a", "");
    NO(NOT_EQUAL, "", "");
    YES(REGEX, "a.*", "abc");
    NO(REGEX, "a.*", "");
    NO(NOT_REGEX, "a.*", "abc");
    YES(NOT_REGEX, "a.*", "");
    YES(REGEX, "", "");
    NO(REGEX, "", "a");
}

static void test_expressions(void **state)
{
    (void)state;
    NO(REGEX, "b", "abc"); /* anchored at both ends */
    NO(REGEX, "a|ab", "abc");
    YES(REGEX, "a|ab|abc", "abc");
    YES(REGEX, "a.c", "a\nc");
    NO(REGEX, "a", "a\n");
    NO(REGEX, "a$", "a\n");
    YES(REGEX, "(?i)abc", "ABC");
    YES(REGEX, "(?P<name>a)b", "ab");
    YES(REGEX, "(?:a|b)+", "abab");
    YES(REGEX, ".", "\xc3\xa4"); /* one character, two bytes */
    YES(REGEX, "[[:alpha:]]+", "abc");
    YES(REGEX, "[]a]+", "a]");
    YES(REGEX, "[^]a]+", "bc");
    YES(REGEX, "a{2,3}", "aaa");
    NO(REGEX, "a{2,3}", "aaaa");
    YES(REGEX, "a\\.b", "a.b");
    NO(REGEX, "a\\.b", "axb");
    YES(REGEX, "\\Qa.b\\E", "a.b");
    NO(REGEX, "\\Qa.b\\E", "axb");
    YES(REGEX, "\\d+\\s\\w", "12 x");
    YES(REGEX, "a+?", "aaa");
    YES(REGEX, "\\x41", "A");
    YES(REGEX, "\\p{L}", "\xc3\xa4");
}

static void test_long_values(void **state)
{
    (void)state;
    AP_AUTO_FREE char *value = malloc(LABEL_VALUE_BYTES_MAX);
    memset(value, 'a', LABEL_VALUE_BYTES_MAX);
    AP_AUTO(matcher) struct matcher *any = make(MATCHER_REGEX, ".*a");
    assert_true(matcher_matches(any, ap_slice(value, LABEL_VALUE_BYTES_MAX)));
    AP_AUTO(matcher) struct matcher *none = make(MATCHER_REGEX, ".*b");
    assert_false(matcher_matches(none, ap_slice(value, LABEL_VALUE_BYTES_MAX)));
    /* Exponential for who goes back; it ends, and matches nothing. */
    AP_AUTO(matcher) struct matcher *slow = make(MATCHER_REGEX, "(a+)+b");
    assert_false(matcher_matches(slow, ap_slice(value, LABEL_VALUE_BYTES_MAX)));
}

static void assert_refused(const char *text, enum ap_rc want, int line)
{
    struct matcher *matcher = NULL;
    struct ap_err err = {0};
    enum ap_rc rc = matcher_new(MATCHER_REGEX, TEXT("l"), ap_slice_cstr(text), &matcher, &err);
    if (rc == AP_OK)
        matcher_free(matcher);
    _assert_int_equal(rc, want, __FILE__, line);
    _assert_true(err.text[0] != '\0', "err", __FILE__, line);
}
#define REFUSED(text) assert_refused(text, AP_E_PARSE, __LINE__)

static void test_what_re2_has_not(void **state)
{
    (void)state;
    REFUSED("(a)\\1");
    REFUSED("(?P<n>a)(?P=n)");
    REFUSED("(?P<n>a)\\k<n>");
    REFUSED("(a)\\g1");
    REFUSED("a(?=b)");
    REFUSED("a(?!b)");
    REFUSED("(?<=a)b");
    REFUSED("(?<!a)b");
    REFUSED("(?>a)");
    REFUSED("(?|a|b)");
    REFUSED("(?#comment)a");
    REFUSED("(a|(?R))");
    REFUSED("(a|(?1))");
    REFUSED("(a|(?-1))");
    REFUSED("(?P<n>a|(?P>n))");
    REFUSED("(?(1)a|b)");
    REFUSED("(?C1)a");
    REFUSED("(?'n'a)");
    REFUSED("(?x) a");
    REFUSED("(*UTF)a");
    REFUSED("a(*SKIP)b");
    REFUSED("a++");
    REFUSED("a*+");
    REFUSED("a?+");
    REFUSED("a{2}+");
    REFUSED("a**");
    REFUSED("a\\Kb");
    REFUSED("\\Ga");
    REFUSED("\\Ra");
    REFUSED("\\X");
    REFUSED("a\\Z");
    REFUSED("\\h");
    REFUSED("[\\h]");
    REFUSED("\\e");
    REFUSED("\\ca");
    REFUSED("[[:alpha:]\\1]");
    YES(REGEX, "}+", "}}"); /* not possessive: a sign, repeated */
    YES(REGEX, "[*+]+", "*+");
    YES(REGEX, "\\*+", "**");
    YES(REGEX, "\\(?=b", "(=b");
}

static void test_bad_expressions(void **state)
{
    (void)state;
    REFUSED("(");
    REFUSED(")");
    REFUSED("[");
    REFUSED("*");
    REFUSED("a\\");
    REFUSED("\xff");
    REFUSED("[b-a]");
    AP_AUTO_FREE char *deep = malloc(2001);
    memset(deep, '(', 1000);
    memset(deep + 1000, ')', 1000);
    deep[2000] = '\0';
    REFUSED(deep);
    AP_AUTO_FREE char *text = malloc(MATCHER_REGEX_BYTES_MAX + 2);
    memset(text, 'a', MATCHER_REGEX_BYTES_MAX + 1);
    text[MATCHER_REGEX_BYTES_MAX + 1] = '\0';
    assert_refused(text, AP_E_LIMIT, __LINE__);
}

/* The values as "a|b", in order; NULL: not known. */
static void assert_values(enum matcher_kind kind, const char *text, const char *want, int line)
{
    AP_AUTO(matcher) struct matcher *matcher = make(kind, text);
    const struct ap_slice *values;
    size_t count;
    bool is_known = matcher_values(matcher, &values, &count);
    _assert_int_equal(is_known, want != NULL, __FILE__, line);
    if (!is_known)
        return;
    AP_AUTO_BUF struct ap_buf out = {0};
    for (size_t i = 0; i < count; i++) {
        ap_buf_add_cstr(&out, i ? "|" : "");
        ap_buf_add_slice(&out, values[i]);
        _assert_true(matcher_matches(matcher, values[i]), "matches its own value", __FILE__, line);
    }
    ap_buf_add_char(&out, '\0');
    _assert_string_equal(out.data, want, __FILE__, line);
}
#define VALUES(text, want) assert_values(MATCHER_REGEX, text, want, __LINE__)

static void test_values(void **state)
{
    (void)state;
    assert_values(MATCHER_EQUAL, "a.b", "a.b", __LINE__);
    assert_values(MATCHER_NOT_EQUAL, "a", NULL, __LINE__);
    assert_values(MATCHER_NOT_REGEX, "a|b", NULL, __LINE__);
    VALUES("a", "a");
    VALUES("c|a|b|a", "a|b|c");
    VALUES("", "");
    VALUES("a|", "|a");
    VALUES("x(1|2)", "x1|x2");
    VALUES("(a|b)(?:c|d)e", "ace|ade|bce|bde");
    VALUES("a\\.b|c\\|d", "a.b|c|d");
    VALUES("(a(b|c)|d)", "ab|ac|d");
    VALUES("\xc3\xa4|\xe2\x82\xac", "\xc3\xa4|\xe2\x82\xac");
    VALUES("a.b", NULL);
    VALUES("ab?", NULL);
    VALUES("(a|b)*", NULL);
    VALUES("(?i)a", NULL);
    VALUES("[ab]", NULL);
    VALUES("^a$", NULL);
    VALUES("a{2}", NULL);
    VALUES("\\d", NULL);
    VALUES("(?P<n>a)", NULL);
    VALUES("(0|1|2|3)(0|1|2|3)(0|1|2|3)(0|1|2|3)(0|1|2|3)", NULL); /* too many */
}

#define PREFIX(text, want)                                                                                             \
    do {                                                                                                               \
        AP_AUTO(matcher) struct matcher *matcher = make(MATCHER_REGEX, text);                                          \
        assert_true(ap_slice_equal_cstr(matcher_prefix(matcher), want));                                               \
    } while (0)

static void test_prefix(void **state)
{
    (void)state;
    PREFIX("abc.*", "abc");
    PREFIX("abc?", "ab");
    PREFIX("abc{0,1}", "ab");
    PREFIX("abc+", "ab");
    PREFIX("a\\.b.*", "a.b");
    PREFIX("a\\.?b", "a");
    PREFIX("a\xc3\xa4*", "a");
    PREFIX("foo(bar|x).*", "foo");
    PREFIX("foo.*|bar", "");
    PREFIX("foo[|]x", "foo");
    PREFIX("(?i)foo.*", "");
    PREFIX(".*foo", "");
    PREFIX("\\d", "");
    AP_AUTO(matcher) struct matcher *not_regex = make(MATCHER_NOT_REGEX, "abc.*");
    assert_int_equal(matcher_prefix(not_regex).bytes, 0);
}

/* ---- Selectors ---- */

/* As `name kind value;` for each matcher. */
static void assert_selector(const char *text, const char *want, int line)
{
    static const char *const kinds[] = {"=", "!=", "=~", "!~"};
    struct matchers matchers;
    struct ap_err err;
    if (matchers_parse(ap_slice_cstr(text), &matchers, &err) != AP_OK)
        fail_msg("line %d: %s: %s", line, text, err.text);
    AP_AUTO_BUF struct ap_buf out = {0};
    for (size_t i = 0; i < matchers.count; i++) {
        ap_buf_add_slice(&out, matcher_name(matchers.items[i]));
        ap_buf_add_cstr(&out, kinds[matcher_kind_of(matchers.items[i])]);
        ap_buf_add_slice(&out, matcher_value(matchers.items[i]));
        ap_buf_add_char(&out, ';');
    }
    ap_buf_add_char(&out, '\0');
    matchers_clear(&matchers);
    _assert_string_equal(out.data, want, __FILE__, line);
}
#define SELECTOR(text, want) assert_selector(text, want, __LINE__)

static void test_selectors(void **state)
{
    (void)state;
    SELECTOR("up", "__name__=up;");
    SELECTOR(" up ", "__name__=up;");
    SELECTOR("a:b", "__name__=a:b;");
    SELECTOR("up{}", "__name__=up;");
    SELECTOR("up{job=\"a\"}", "__name__=up;job=a;");
    SELECTOR("up { job = \"a\" , x != 'b' , y =~ `c` , z !~ \"d\" , }", "__name__=up;job=a;x!=b;y=~c;z!~d;");
    SELECTOR("{__name__=\"x\"}", "__name__=x;");
    SELECTOR("{__name__=~\"x.+\"}", "__name__=~x.+;");
    SELECTOR("{\"a b\"}", "__name__=a b;");
    SELECTOR("{\"a b\",\"c d\"=\"e\"}", "__name__=a b;c d=e;");
    SELECTOR("{a=\"\\\"\\\\\\n\\x41\\u00e4\\101\"}", "a=\"\\\nA\xc3\xa4"
                                                     "A;");
    SELECTOR("{a='\"'}", "a=\";");
    SELECTOR("{a=`\\n`}", "a=\\n;");
    SELECTOR("{a=\"1\",a=\"2\"}", "a=1;a=2;");
    SELECTOR("{a!=\"\"}", "a!=;");
    SELECTOR("{a=\"b\",c=\"\"}", "a=b;c=;");
}

#define BAD(text) assert_bad(TEXT(text), __LINE__)
static void assert_bad(struct ap_slice text, int line)
{
    struct matchers matchers;
    struct ap_err err = {0};
    _assert_int_equal(matchers_parse(text, &matchers, &err), AP_E_PARSE, __FILE__, line);
    _assert_int_equal(matchers.count, 0, __FILE__, line);
    _assert_true(err.text[0] != '\0', "err", __FILE__, line);
}

static void test_bad_selectors(void **state)
{
    (void)state;
    BAD("");
    BAD("{}");
    BAD("{a=\"\"}");
    BAD("{a=~\".*\"}");
    BAD("{a!=\"b\"}"); /* everything without it */
    BAD("up{");
    BAD("up{job}");
    BAD("up{job=}");
    BAD("up{job=a}");
    BAD("up{job=\"a}");
    BAD("up{job=\"a\" x=\"b\"}");
    BAD("up{,}");
    BAD("up{job==\"a\"}");
    BAD("up{job~\"a\"}");
    BAD("up}");
    BAD("up up");
    BAD("1up");
    BAD("up[5m]");
    BAD("up offset 5m");
    BAD("up{\"x\"}"); /* two names of the metric */
    BAD("{\"x\",\"y\"}");
    BAD("{a=\"\\z\"}");
    BAD("{a=\"\\ud800\"}");
    BAD("{a=\"\\U00110000\"}");
    BAD("{a=\"b\nc\"}");
    BAD("{a=~\"(\"}");
    BAD("up\0");
    BAD("{a=\"\\");
}

static void test_match_labels(void **state)
{
    (void)state;
    struct label labels[] = {{TEXT("__name__"), TEXT("up")}, {TEXT("job"), TEXT("a")}};
    AP_AUTO_BUF struct ap_buf out = {0};
    struct ap_err err;
    assert_int_equal(labels_encode(labels, 2, &out, &err), AP_OK);
    static const struct {
        const char *text;
        bool want;
    } cases[] = {
        {"up", true},         {"up{job=\"a\"}", true},    {"up{job=\"b\"}", false},    {"up{job!=\"b\"}", true},
        {"up{x=\"\"}", true}, {"up{x!=\"\"}", false},     {"up{x=~\"|y\"}", true},     {"up{x!~\"y\"}", true},
        {"down", false},      {"up{job=~\"a|b\"}", true}, {"up{job!~\"a|b\"}", false}, {"{job=~\".+\"}", true},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        struct matchers matchers;
        assert_int_equal(matchers_parse(ap_slice_cstr(cases[i].text), &matchers, &err), AP_OK);
        if (matchers_match(&matchers, ap_buf_slice(&out)) != cases[i].want)
            fail_msg("%s", cases[i].text);
        matchers_clear(&matchers);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),           cmocka_unit_test(test_expressions),
        cmocka_unit_test(test_long_values),     cmocka_unit_test(test_what_re2_has_not),
        cmocka_unit_test(test_bad_expressions), cmocka_unit_test(test_values),
        cmocka_unit_test(test_prefix),          cmocka_unit_test(test_selectors),
        cmocka_unit_test(test_bad_selectors),   cmocka_unit_test(test_match_labels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
