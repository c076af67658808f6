#include "scrape/relabel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "codec/yaml.h"

/* ---- Rules and labels from text ---- */

static enum ap_rc read_rules(const char *text, bool is_utf8, struct relabel_rules **ret_rules, struct ap_err *err)
{
    AP_AUTO(yaml) struct yaml_document *document = NULL;
    *ret_rules = NULL;
    enum ap_rc rc = yaml_parse(ap_slice_cstr(text), "r.yml", &document, err);
    return rc == AP_OK ? relabel_rules_read(yaml_root(document), is_utf8, ret_rules, err) : rc;
}

static struct relabel_rules *rules_or_die(const char *text, int line)
{
    struct relabel_rules *rules;
    struct ap_err err;
    if (read_rules(text, true, &rules, &err) != AP_OK)
        fail_msg("line %d: %s", line, err.text);
    return rules;
}

/* "a=1,b=2" */
static void add_given(struct relabel_labels *labels, const char *text)
{
    struct ap_slice rest = ap_slice_cstr(text);
    while (rest.data && rest.bytes) {
        struct ap_slice value = ap_slice_split(&rest, ',');
        struct ap_slice name = ap_slice_split(&value, '=');
        relabel_labels_set(labels, name, value);
    }
    labels->given_count = labels->count;
}

static void print_labels(struct relabel_labels *labels, struct ap_buf *out)
{
    relabel_labels_sort(labels);
    for (size_t i = 0; i < labels->count; i++)
        ap_buf_printf(out, "%s%.*s=%.*s", i ? "," : "", AP_SLICE_ARG(labels->items[i].name),
                      AP_SLICE_ARG(labels->items[i].value));
    ap_buf_add_char(out, '\0');
}

static void check(const char *given, const char *text, const char *want, int line)
{
    AP_AUTO(relabel_rules) struct relabel_rules *rules = rules_or_die(text, line);
    AP_AUTO_ARENA struct ap_arena arena = {0};
    AP_AUTO_BUF struct ap_buf out = {0};
    struct relabel_labels labels;
    relabel_labels_init(&labels, &arena);
    add_given(&labels, given);
    enum relabel_result result = relabel_apply(rules, &labels);
    if (result == RELABEL_KEPT)
        print_labels(&labels, &out);
    const char *got = result == RELABEL_KEPT ? out.data : result == RELABEL_DROPPED ? "dropped" : "too large";
    if (strcmp(got, want) != 0)
        fail_msg("line %d: %s", line, got);
}
#define GIVES(given, rules, want) check(given, rules, want, __LINE__)

static void check_bad(const char *text, bool is_utf8, const char *want, int line)
{
    struct relabel_rules *rules = NULL;
    struct ap_err err = {0};
    enum ap_rc rc = read_rules(text, is_utf8, &rules, &err);
    relabel_rules_free(rules);
    if (rc == AP_OK || strncmp(err.text, want, strlen(want)) != 0)
        fail_msg("line %d: rc %s, \"%s\"", line, ap_rc_name(rc), err.text);
}
#define BAD(text, want)        check_bad(text, true, want, __LINE__)
#define BAD_LEGACY(text, want) check_bad(text, false, want, __LINE__)

/* ---- Actions ---- */

static void test_replace(void **state)
{
    (void)state;
    GIVES("a=x", "[{source_labels: [a], target_label: b}]", "a=x,b=x");
    GIVES("a=x,b=y", "[{source_labels: [a, b, c], target_label: d}]", "a=x,b=y,d=x;y;");
    GIVES("a=x,b=y", "[{source_labels: [a, b], separator: '', target_label: d}]", "a=x,b=y,d=xy");
    GIVES("a=foo", "[{source_labels: [a], regex: 'f(.*)', replacement: '$1-${1}', target_label: b}]", "a=foo,b=oo-oo");
    GIVES("a=foo", "[{source_labels: [a], regex: 'f(?P<rest>.*)', replacement: '${rest}!$rest', target_label: b}]",
          "a=foo,b=oo!oo");
    GIVES("a=foo", "[{source_labels: [a], regex: 'o+', target_label: b}]", "a=foo"); /* anchored at both ends */
    GIVES("a=foo", "[{source_labels: [a], regex: 'f|foo', target_label: b, replacement: x}]", "a=foo,b=x");
    GIVES("a=foo", "[{source_labels: [a], regex: 'bar', target_label: a, replacement: x}]", "a=foo");
    GIVES("a=foo", "[{source_labels: [a], target_label: a, replacement: ''}]", "");
    GIVES("a=foo", "[{source_labels: [a], regex: '(x)?foo', target_label: b, replacement: '<$1>'}]", "a=foo,b=<>");
    GIVES("a=foo", "[{source_labels: [a], regex: '(f)(o+)', target_label: '${1}_$2', replacement: '$1'}]",
          "a=foo,f_oo=f");
    GIVES("a=foo", "[{source_labels: [a], target_label: 'to_$1', replacement: v}]", "a=foo,to_foo=v");
    GIVES("a=foo", "[{source_labels: [a], target_label: b, replacement: '$$1 costs $'}]", "a=foo,b=$1 costs $");
    GIVES("a=foo", "[{source_labels: [a], regex: '(.*)', target_label: b, replacement: '$1x'}]",
          "a=foo"); /* there is no group "1x" */
    GIVES("a=foo", "[{target_label: b, replacement: const}]", "a=foo,b=const");
    GIVES("a=foo", "[{source_labels: [none], regex: '', target_label: b, replacement: '-'}]", "a=foo,b=-");
    GIVES("a=foo", "[{source_labels: [a], regex: 'f.*', target_label: 'b.c é', replacement: '$0'}]", "a=foo,b.c é=foo");
    GIVES("a=l1\nl2", "[{source_labels: [a], regex: 'l1.l2', target_label: a, replacement: one}]", "a=one");
    GIVES("", "[{source_labels: [a], target_label: b}]", "");
}

static void test_keep_and_drop(void **state)
{
    (void)state;
    GIVES("a=foo", "[{source_labels: [a], regex: 'f.*', action: keep}]", "a=foo");
    GIVES("a=foo", "[{source_labels: [a], regex: 'g.*', action: keep}]", "dropped");
    GIVES("a=foo", "[{source_labels: [a], regex: 'f.*', action: DROP}]", "dropped");
    GIVES("a=foo", "[{source_labels: [a], regex: 'fo', action: drop}]", "a=foo");
    GIVES("a=foo", "[{source_labels: [a], regex: '', action: keep}]", "dropped");
    GIVES("a=foo", "[{source_labels: [z], regex: '', action: keep}]", "a=foo");
    GIVES("a=1,b=1", "[{source_labels: [a], target_label: b, action: keepequal}]", "a=1,b=1");
    GIVES("a=1,b=2", "[{source_labels: [a], target_label: b, action: keepequal}]", "dropped");
    GIVES("a=1,b=1", "[{source_labels: [a], target_label: b, action: dropequal}]", "dropped");
    GIVES("a=1,b=2", "[{source_labels: [a], target_label: b, action: dropequal}]", "a=1,b=2");
    GIVES("b=2", "[{source_labels: [a], target_label: c, action: keepequal}]", "b=2"); /* both are not there */
    GIVES("a=x", "[{source_labels: [a], regex: x, action: drop}, {target_label: b, replacement: c}]", "dropped");
}

static void test_letters_and_hash(void **state)
{
    (void)state;
    GIVES("a=FoO-1", "[{source_labels: [a], target_label: b, action: lowercase}]", "a=FoO-1,b=foo-1");
    GIVES("a=FoO-1", "[{source_labels: [a], target_label: b, action: uppercase}]", "a=FoO-1,b=FOO-1");
    GIVES("a=ÄÉx,b=y", "[{source_labels: [a, b], target_label: c, action: lowercase}]", "a=ÄÉx,b=y,c=äéx;y");
    GIVES("a=é", "[{source_labels: [a], target_label: a, action: uppercase}]", "a=É");
    GIVES("b=1", "[{source_labels: [a], target_label: b, action: uppercase}]", "");
    /* printf foo | md5sum: acbd18db4cc2f85c edef654fccc4a4d8; the second half modulo 1000 and 8; the same of nothing.
     */
    GIVES("a=foo", "[{source_labels: [a], target_label: d, action: hashmod, modulus: 1000}]", "a=foo,d=696");
    GIVES("a=foo", "[{source_labels: [a], target_label: d, action: hashmod, modulus: 8}]", "a=foo,d=0");
    GIVES("", "[{source_labels: [a], target_label: d, action: hashmod, modulus: 1000}]", "d=958");
}

static void test_names(void **state)
{
    (void)state;
    GIVES("a=1,b1=x,b2=y", "[{regex: 'b(.)', replacement: 'c_$1', action: labelmap}]", "a=1,b1=x,b2=y,c_1=x,c_2=y");
    GIVES("a=1", "[{regex: 'a', replacement: 'x${1}', action: labelmap}]", "a=1,x=1");
    GIVES("__meta_x=1", "[{regex: '__meta_(.+)', action: labelmap}]", "__meta_x=1,x=1");
    GIVES("a=1,b=2", "[{action: labelmap}]", "a=1,b=2");
    /* Two names become one: those that were set come behind those that were given, and the last one wins. */
    GIVES("b=1,c=2", "[{regex: '[bc]', replacement: x, action: labelmap}]", "b=1,c=2,x=2");
    GIVES("b=1,c=2", "[{target_label: b, replacement: 3}, {regex: '[bc]', replacement: x, action: labelmap}]",
          "b=3,c=2,x=3");
    GIVES("a=1,b1=x,b2=y", "[{regex: 'b.', action: labeldrop}]", "a=1");
    GIVES("a=1,b1=x,b2=y", "[{regex: 'b.', action: labelkeep}]", "b1=x,b2=y");
    GIVES("a=1", "[{action: labeldrop}]", "");
    GIVES("a=1", "[{action: labelkeep}]", "a=1");
}

/* What grows with each rule has an end. */
static void test_growth(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf values = {0}, names = {0}, joined = {0};
    for (int i = 0; i < 40; i++) {
        ap_buf_add_cstr(&values, "- {source_labels: [a], regex: (.*), replacement: '$1${1}', target_label: a}\n");
        ap_buf_printf(&names, "- {regex: (.*), replacement: 'x%d${1}', action: labelmap}\n", i);
        ap_buf_add_cstr(&joined, "- {source_labels: [a, a], target_label: a}\n");
    }
    ap_buf_add_char(&values, '\0');
    ap_buf_add_char(&names, '\0');
    ap_buf_add_char(&joined, '\0');
    GIVES("a=1", values.data, "too large");
    GIVES("a=1", names.data, "too large");
    GIVES("a=1", joined.data, "too large");
}

static void test_checks(void **state)
{
    (void)state;
    BAD("{}", "r.yml:1:1: expected a list of relabeling rules, found a map");
    BAD("[~]", "r.yml:1:2: empty or null relabeling rule");
    BAD("[{actin: keep}]", "r.yml:1:3: unknown key \"actin\"; did you mean \"action\"?");
    BAD("[{action: kep}]", "r.yml:1:11: unknown relabel action \"kep\"");
    BAD("[{source_labels: ['']}]", "r.yml:1:19: \"\" is not a valid label name");
    BAD("[{action: replace}]", "r.yml:1:2: relabel configuration for replace action requires 'target_label' value");
    BAD("[{action: hashmod, target_label: a}]",
        "r.yml:1:2: relabel configuration for hashmod requires non-zero modulus");
    BAD("[{action: hashmod, modulus: 2}]",
        "r.yml:1:2: relabel configuration for hashmod action requires 'target_label'");
    BAD("[{action: lowercase, target_label: a, replacement: b}]",
        "r.yml:1:52: 'replacement' can not be set for lowercase action");
    BAD("[{action: labelmap, replacement: ''}]", "r.yml:1:34: \"\" is invalid 'replacement' for labelmap action");
    BAD("[{action: keepequal, source_labels: [a], target_label: b, regex: x}]",
        "r.yml:1:2: keepequal action requires only 'source_labels' and `target_label`, and no other fields");
    BAD("[{action: labeldrop, target_label: b}]", "r.yml:1:2: labeldrop action requires only 'regex'");
    BAD("[{action: keep, regex: 'a('}]", "r.yml:1:24: regular expression \"a(\" at character 3: ");
    BAD("[{action: keep, regex: '(?=a)'}]", "r.yml:1:24: regular expression \"(?=a)\": RE2's syntax has no look-ahead");
    BAD("[{action: keep, regex: [a]}]", "r.yml:1:24: regex: expected text, found a list");
    BAD_LEGACY("[{target_label: a.b}]", "r.yml:1:17: \"a.b\" is invalid 'target_label' for replace action");
    BAD_LEGACY("[{target_label: '$1-x'}]", "r.yml:1:17: \"$1-x\" is invalid 'target_label' for replace action");
    BAD_LEGACY("[{target_label: '${1'}]", "r.yml:1:17: \"${1\" is invalid 'target_label' for replace action");
    BAD_LEGACY("[{target_label: 1a}]", "r.yml:1:17: \"1a\" is invalid 'target_label' for replace action");
    BAD_LEGACY("[{action: labelmap, replacement: 'a.$1'}]",
               "r.yml:1:34: \"a.$1\" is invalid 'replacement' for labelmap action");
    struct relabel_rules *rules;
    struct ap_err err;
    assert_int_equal(read_rules("[{target_label: 'a1_${x}$1'}, {target_label: '$1'}]", false, &rules, &err), AP_OK);
    relabel_rules_free(rules);
    assert_int_equal(read_rules("[]", true, &rules, &err), AP_OK);
    assert_null(rules);
    assert_int_equal(relabel_rules_count(rules), 0);
}

/* With old names a rule that would make another one does nothing. */
static void test_legacy_names(void **state)
{
    (void)state;
    AP_AUTO(relabel_rules) struct relabel_rules *rules = NULL;
    struct ap_err err;
    assert_int_equal(read_rules("[{source_labels: [a], target_label: 'to_$1'}]", false, &rules, &err), AP_OK);
    AP_AUTO_ARENA struct ap_arena arena = {0};
    struct relabel_labels labels;
    relabel_labels_init(&labels, &arena);
    add_given(&labels, "a=b.c");
    assert_int_equal(relabel_apply(rules, &labels), RELABEL_KEPT);
    assert_int_equal(labels.count, 1);
}

static void test_json(void **state)
{
    (void)state;
    AP_AUTO(relabel_rules)
    struct relabel_rules *rules = rules_or_die(
        "[{source_labels: [a, b], target_label: c}, {action: hashmod, target_label: d, modulus: 4}]", __LINE__);
    AP_AUTO_BUF struct ap_buf out = {0};
    relabel_rule_json(rules, 0, &out);
    relabel_rule_json(rules, 1, &out);
    ap_buf_add_char(&out, '\0');
    assert_string_equal(out.data,
                        "{\"sourceLabels\":[\"a\",\"b\"],\"separator\":\";\",\"regex\":\"(.*)\",\"targetLabel\":\"c\","
                        "\"replacement\":\"$1\",\"action\":\"replace\"}"
                        "{\"separator\":\";\",\"regex\":\"(.*)\",\"modulus\":4,\"targetLabel\":\"d\","
                        "\"replacement\":\"$1\",\"action\":\"hashmod\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replace),          cmocka_unit_test(test_keep_and_drop),
        cmocka_unit_test(test_letters_and_hash), cmocka_unit_test(test_names),
        cmocka_unit_test(test_growth),           cmocka_unit_test(test_checks),
        cmocka_unit_test(test_legacy_names),     cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
