/* The rules about Apiary itself: each is told in full, is explained in docs/self-alerts.md, and has a test. */
#include "rules/self.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "rules/rule_file.h"
#include "rules/rule_test.h"

static const char *root;

static char *read_file(const char *name)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/%s", root, name);
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("%s is not there", path);
    enum { BYTES_MAX = 1 << 17 };
    char *text = ap_alloc0(1, BYTES_MAX);
    size_t bytes = fread(text, 1, BYTES_MAX - 1, file);
    assert_true(bytes > 0 && bytes < BYTES_MAX - 1);
    fclose(file);
    return text;
}

static const char *annotation(const struct rule *rule, const char *name)
{
    for (size_t i = 0; i < rule->annotations.count; i++)
        if (strcmp(rule->annotations.keys[i], name) == 0)
            return rule->annotations.items[i];
    fail_msg("%s has no %s", rule->name, name);
    return NULL;
}

static void check_in_page(const struct rule *rule, const char *page)
{
    AP_AUTO_FREE char *anchor = ap_asprintf("docs/self-alerts.md#%s", rule->name);
    AP_AUTO_FREE char *heading = ap_asprintf("\n## %s\n", rule->name);
    assert_int_equal(strcasecmp(annotation(rule, "runbook"), anchor), 0);
    if (!strstr(page, heading))
        fail_msg("docs/self-alerts.md says nothing of %s", rule->name);
}

static void test_each_is_told_in_full(void **state)
{
    (void)state;
    AP_AUTO(rule_file) struct rule_file *file = NULL;
    struct ap_err err;
    if (rule_file_parse(ap_slice_cstr(rules_self), "self.yaml", false, NULL, NULL, &file, &err) != AP_OK)
        fail_msg("%s", err.text);
    AP_AUTO_FREE char *page = read_file("docs/self-alerts.md");
    AP_AUTO_FREE char *cases = read_file("tests/cases/rules/self_passes.yml");
    assert_true(file->rule_count > 10);
    for (size_t i = 0; i < file->groups[0].rule_count; i++) {
        const struct rule *rule = &file->groups[0].rules[i];
        assert_true(annotation(rule, "summary")[0] && annotation(rule, "description")[0]);
        assert_string_equal(rule->labels.keys[0], "severity");
        check_in_page(rule, page);
        AP_AUTO_FREE char *fired = ap_asprintf("alertname=\"%s\", alertstate=\"firing\"", rule->name);
        if (!strstr(cases, fired))
            fail_msg("no test in tests/cases/rules/self_passes.yml has %s fire", rule->name);
    }
}

static void report(const char *test, const char *sentence, void *context)
{
    (void)context;
    print_error("%s: %s\n", test ? test : "", sentence);
}

/* The cases are tests in Prometheus' format: promtool gets them from tests/clients/rules_test. */
static void test_each_fires(void **state)
{
    (void)state;
    AP_AUTO_FREE char *path = ap_asprintf("%s/tests/cases/rules/self_passes.yml", root);
    const struct rule_test_options options = {.report = report};
    struct rule_test_counts counts;
    assert_int_equal(rule_test_run(path, &options, &counts), AP_OK);
    assert_int_equal(counts.failed, 0);
    assert_true(counts.tests > 10);
}

int main(void)
{
    root = getenv("APIARY_SOURCE_ROOT");
    if (!root)
        return 77; /* skipped */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_told_in_full),
        cmocka_unit_test(test_each_fires),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
