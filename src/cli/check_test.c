/* apiary check test: unit tests of rules, as promtool has them. */
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "rules/rule_test.h"

struct report {
    bool is_json;
    struct ap_buf json; /* failures of one file */
};

static void add_failure(const char *test, const char *sentence, void *context)
{
    struct report *report = context;
    if (!report->is_json) {
        fprintf(stderr, "  %s%s%s\n", test ? test : "", test ? ": " : "", sentence);
        return;
    }
    ap_buf_add_cstr(&report->json, report->json.bytes ? ",{\"test\":" : "{\"test\":");
    if (test)
        ap_buf_add_json_string(&report->json, ap_slice_cstr(test));
    else
        ap_buf_add_cstr(&report->json, "null");
    ap_buf_add_cstr(&report->json, ",\"error\":");
    ap_buf_add_json_string(&report->json, ap_slice_cstr(sentence));
    ap_buf_add_char(&report->json, '}');
}

/* False: something is not as expected. */
static bool test_file(const char *path, struct rule_test_options *options, struct report *report)
{
    if (!report->is_json) {
        printf("Unit Testing: %s\n", path);
        fflush(stdout); /* before what goes to standard error */
    }
    options->context = report;
    struct rule_test_counts counts;
    bool is_good = rule_test_run(path, options, &counts) == AP_OK;
    if (report->is_json) {
        AP_AUTO_BUF struct ap_buf name = {0};
        ap_buf_add_json_string(&name, ap_slice_cstr(path));
        printf("{\"file\":%.*s,\"ok\":%s,\"tests\":%zu,\"failed\":%zu,\"compared\":%zu,\"failures\":[%.*s]}\n",
               AP_SLICE_ARG(ap_buf_slice(&name)), is_good ? "true" : "false", counts.tests, counts.failed,
               counts.compared, AP_SLICE_ARG(ap_buf_slice(&report->json)));
        ap_buf_reset(&report->json);
    } else if (!is_good) {
        fprintf(stderr, "  FAILED: %zu of %zu tests\n", counts.failed, counts.tests);
    } else {
        printf("  SUCCESS: %zu tests, %zu expectations\n", counts.tests, counts.compared);
    }
    return is_good;
}

int cli_check_test(int argc, char **argv)
{
    bool is_json = false, is_experimental = false;
    const char *name_regex = NULL;
    const struct cli_option cli_options[] = {
        {"run", 'r', CLI_OPTION_TEXT, "REGEX", &name_regex, "only tests whose name has a match"},
        {"experimental", 0, CLI_OPTION_FLAG, NULL, &is_experimental,
         "allow what Prometheus keeps behind a flag (setting promql.experimental)"},
        {"json", 0, CLI_OPTION_FLAG, NULL, &is_json, "for programs: one object a file"},
    };
    const struct cli_command command = {
        .name = "check test",
        .arguments = "FILE...",
        .summary = "Runs unit tests of rules, in the format of promtool test rules.",
        .details = "Example:\n  apiary check test rules_test.yml\n",
        .options = cli_options,
        .option_count = AP_ARRAY_COUNT(cli_options),
    };
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    if (first >= argc)
        return cli_misused(&command, "name at least one file of tests");
    struct rule_test_options options = {
        .name_regex = name_regex, .is_experimental = is_experimental, .report = add_failure};
    struct report report = {.is_json = is_json};
    bool are_good = true;
    for (int i = first; i < argc; i++)
        are_good = test_file(argv[i], &options, &report) && are_good;
    ap_buf_clear(&report.json);
    return are_good ? CLI_DONE : CLI_FAILED;
}
