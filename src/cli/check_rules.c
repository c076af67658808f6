/* apiary check rules: rule files, looked at without serving. */
#include <stdio.h>

#include "base/buf.h"
#include "cli/check_warehouse.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "rules/rule_file.h"
#include "rules/sql_query.h"

struct arguments {
    struct cli_list packs; /* whose views rules by SQL may ask */
    bool is_json, is_experimental, is_strict;
};

struct report {
    bool is_json;
    struct ap_buf json; /* errors or duplicates of one file */
    size_t error_count; /* of one file */
};

static void add_sentence(const char *sentence, void *context)
{
    struct report *report = context;
    report->error_count++;
    if (!report->is_json) {
        fprintf(stderr, "  %s\n", sentence);
        return;
    }
    ap_buf_add_cstr(&report->json, report->json.bytes ? "," : "");
    ap_buf_add_json_string(&report->json, ap_slice_cstr(sentence));
}

static void add_duplicate(const struct rule_group *group, const struct rule *rule, void *context)
{
    char sentence[AP_ERR_TEXT_BYTES];
    snprintf(sentence, sizeof(sentence), "%s:%d: group %s: %s \"%s\" is there already, with the same labels",
             group->file, rule->line, group->name, rule->is_alert ? "alert" : "record", rule->name);
    add_sentence(sentence, context);
}

/* Whether a warehouse with these packs understands its SQL. */
static bool check_sql(const struct rule_file *file, const struct cli_list *packs, struct report *report)
{
    AP_AUTO(check_warehouse) struct check_warehouse *made = NULL;
    struct ap_err err;
    size_t wrong = 0;
    for (size_t i = 0; i < file->group_count; i++) {
        if (!rules_group_has_sql(&file->groups[i]))
            continue;
        if (!made && check_warehouse_open_dirs(packs, &made, &err) != AP_OK) {
            add_sentence(err.text, report);
            return false;
        }
        wrong += rules_sql_check_group(check_warehouse_of(made), &file->groups[i], add_sentence, report);
    }
    return wrong == 0;
}

/* False: something is wrong with it. */
static bool check_file(const char *path, const struct arguments *arguments)
{
    bool is_json = arguments->is_json, is_strict = arguments->is_strict;
    struct report report = {.is_json = is_json};
    if (!is_json) {
        printf("Checking %s\n", path);
        fflush(stdout); /* before what goes to standard error */
    }
    AP_AUTO(rule_file) struct rule_file *file = NULL;
    struct ap_err err;
    bool is_good = rule_file_load(path, arguments->is_experimental, add_sentence, &report, &file, &err) == AP_OK &&
                   check_sql(file, &arguments->packs, &report);
    size_t error_count = report.error_count, duplicates = 0;
    AP_AUTO_BUF struct ap_buf errors = report.json;
    report.json = (struct ap_buf){0};
    if (is_good)
        duplicates = rule_file_duplicates(file, add_duplicate, &report);
    AP_AUTO_BUF struct ap_buf repeated = report.json;
    size_t rules = file ? file->rule_count : 0, groups = file ? file->group_count : 0;
    if (is_json) {
        AP_AUTO_BUF struct ap_buf name = {0};
        ap_buf_add_json_string(&name, ap_slice_cstr(path));
        printf("{\"file\":%.*s,\"ok\":%s,\"groups\":%zu,\"rules\":%zu,\"errors\":[%.*s],\"duplicates\":[%.*s]}\n",
               AP_SLICE_ARG(ap_buf_slice(&name)), is_good && !(is_strict && duplicates) ? "true" : "false", groups,
               rules, AP_SLICE_ARG(ap_buf_slice(&errors)), AP_SLICE_ARG(ap_buf_slice(&repeated)));
    } else if (!is_good) {
        fprintf(stderr, "  FAILED: %zu error%s\n", error_count, error_count == 1 ? "" : "s");
    } else {
        printf("  SUCCESS: %zu rules found in %zu groups%s\n", rules, groups,
               duplicates ? "; a rule that is there twice makes two series, or two alerts, of one" : "");
    }
    return is_good && !(is_strict && duplicates);
}

int cli_check_rules(int argc, char **argv)
{
    struct arguments arguments = {0};
    const struct cli_option options[] = {
        {"experimental", 0, CLI_OPTION_FLAG, NULL, &arguments.is_experimental,
         "allow what Prometheus keeps behind a flag (setting promql.experimental)"},
        {"pack", 0, CLI_OPTION_LIST, "DIR", &arguments.packs, "pack whose views rules by SQL may ask, may be repeated"},
        {"strict", 0, CLI_OPTION_FLAG, NULL, &arguments.is_strict, "a rule that is there twice is an error"},
        {"json", 0, CLI_OPTION_FLAG, NULL, &arguments.is_json, "for programs: one object a file"},
    };
    const struct cli_command command = {
        .name = "check rules",
        .arguments = "FILE...",
        .summary = "Checks rule files: their form, labels, every query (PromQL and SQL) and every template.",
        .details = "Examples:\n  apiary check rules alerts.yml recording.yml\n"
                   "  apiary check rules --pack packs/hive product.yml\n",
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    if (first >= argc)
        return cli_misused(&command, "name at least one rule file");
    bool are_good = true;
    for (int i = first; i < argc; i++)
        are_good = check_file(argv[i], &arguments) && are_good;
    return are_good ? CLI_DONE : CLI_FAILED;
}
