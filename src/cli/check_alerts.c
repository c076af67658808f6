/* apiary check alerts: alerts of packs and rule files in words, the query they are, and when they would have fired. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cli/alert_history.h"
#include "cli/check_warehouse.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/range_query.h"
#include "cli/range_sql.h"
#include "codec/yaml.h"
#include "pack/alerts.h"
#include "pack/catalogue.h"
#include "promql/float_text.h"
#include "promql/parser.h"
#include "rules/rule_file.h"
#include "rules/self.h"
#include "rules/sql_query.h"
#include "tsdb/labels.h"

struct arguments {
    struct alert_history_options past; /* remote.address NULL: nothing is replayed */
    const char *since;
    const char *name; /* only alerts with it; NULL: all */
    bool is_self;
    bool is_json;
};

/* One alert, from a pack or from a rule file. */
struct subject {
    const struct rule *rule;
    const struct rule_group *group;
    const struct pack_alert *alert; /* NULL: of a rule file */
    bool is_downward;               /* the worst value is the least one */
};

struct report {
    const struct arguments *arguments;
    const struct cli_list *packs;
    struct check_warehouse *made; /* owned; NULL until SQL is to be bound */
    bool is_not_made;             /* and cannot be */
    size_t shown;
    size_t failed;
    struct ap_buf errors; /* for programs: those of files */
};

/* ---- Words ---- */

/* "labels severity="critical", notify="slack"" of a rule file's, whose notify stands for nothing. */
static void print_rule_labels(const struct rule *rule, struct ap_buf *out)
{
    for (size_t i = 0; i < rule->labels.count; i++)
        ap_buf_printf(out, "%s%s=\"%s\"", i ? ", " : "; labels ", rule->labels.keys[i], rule->labels.items[i]);
}

static const struct promql_expr *without_parens(const struct promql_expr *expr)
{
    while (expr->kind == EXPR_PAREN)
        expr = expr->paren;
    return expr;
}

/* "… is above 0.05" where that is what the expression compares; false: it is something else. */
static bool print_comparison(const struct promql_expr *expr, struct ap_buf *out)
{
    static const struct {
        enum promql_operator operator;
        const char *word;
    } words[] = {{OPERATOR_GREATER, "is above"}, {OPERATOR_GREATER_EQUAL, "is at least"},
                 {OPERATOR_LESS, "is below"},    {OPERATOR_LESS_EQUAL, "is at most"},
                 {OPERATOR_EQUAL, "is"},         {OPERATOR_NOT_EQUAL, "is not"}};
    if (expr->kind != EXPR_BINARY || expr->binary.returns_bool)
        return false;
    for (size_t i = 0; i < AP_ARRAY_COUNT(words); i++) {
        if (words[i].operator!= expr->binary.operator)
            continue;
        ap_buf_add_cstr(out, "Fires for each series of which ");
        promql_print(without_parens(expr->binary.left), out);
        ap_buf_printf(out, " %s ", words[i].word);
        promql_print(without_parens(expr->binary.right), out);
        return true;
    }
    return false;
}

static void explain_promql(const struct rule *rule, struct ap_buf *out)
{
    struct promql_query query;
    struct ap_err err;
    if (promql_parse(rule->expr, true, &query, &err) != AP_OK)
        return; /* cannot be: it was read with the file */
    const struct promql_expr *expr = without_parens(query.expr);
    bool is_absent = expr->kind == EXPR_CALL && strcmp(expr->call.function->name, "absent") == 0;
    if (is_absent) {
        ap_buf_add_cstr(out, "Fires when there is no ");
        promql_print(expr->call.arguments[0], out);
    } else if (!print_comparison(expr, out)) {
        ap_buf_add_cstr(out, "Fires for each series that is in ");
        promql_print(expr, out);
    }
    promql_query_clear(&query);
    if (rule->for_ms) {
        ap_buf_add_cstr(out, " for ");
        pack_alert_print_duration(rule->for_ms, out);
    }
    if (rule->keep_firing_for_ms) {
        ap_buf_add_cstr(out, ", and on for ");
        pack_alert_print_duration(rule->keep_firing_for_ms, out);
        ap_buf_add_cstr(out, " when that has ended");
    }
    pack_alert_explain_absence(rule, out);
}

static void explain(const struct subject *subject, struct ap_buf *out)
{
    if (subject->alert) {
        pack_alert_explain(subject->alert, out);
        return;
    }
    if (subject->rule->language == RULE_LANGUAGE_SQL)
        pack_alert_explain_sql(subject->rule, subject->group->interval_ms, out);
    else
        explain_promql(subject->rule, out);
    print_rule_labels(subject->rule, out);
    ap_buf_add_char(out, '.');
}

static bool is_downward(const struct rule *rule)
{
    struct promql_query query;
    struct ap_err err;
    if (rule->language == RULE_LANGUAGE_SQL)
        return rule->threshold.op == THRESHOLD_LESS || rule->threshold.op == THRESHOLD_LESS_EQUAL;
    if (promql_parse(rule->expr, true, &query, &err) != AP_OK)
        return false;
    const struct promql_expr *expr = without_parens(query.expr);
    bool is_down = expr->kind == EXPR_BINARY &&
                   (expr->binary.operator== OPERATOR_LESS || expr->binary.operator== OPERATOR_LESS_EQUAL);
    promql_query_clear(&query);
    return is_down;
}

static double peak_of(const struct subject *subject, const struct replay_firing *firing)
{
    return subject->is_downward ? firing->least : firing->most;
}

/* ---- For people ---- */

/* Labels that tell this alert from others of its rule: what the rule sets is above them already. */
static void print_own_labels(const struct rule *rule, struct ap_slice labels, struct ap_buf *out)
{
    struct label label;
    const char *separator = "  {";
    while (labels_next(&labels, &label)) {
        bool is_known = ap_slice_equal_cstr(label.name, "alertname");
        for (size_t i = 0; i < rule->labels.count && !is_known; i++)
            is_known = ap_slice_equal_cstr(label.name, rule->labels.keys[i]) &&
                       ap_slice_equal_cstr(label.value, rule->labels.items[i]);
        if (is_known)
            continue;
        ap_buf_printf(out, "%s%.*s=", separator, AP_SLICE_ARG(label.name));
        ap_buf_add_json_string(out, label.value);
        separator = ", ";
    }
    ap_buf_add_cstr(out, *separator == ',' ? "}" : "");
}

static void print_time(int64_t ts_ms, struct ap_buf *out)
{
    enum { SECONDS_BYTES = 19 }; /* "2026-11-23T12:00:00" */
    char text[AP_TIME_TEXT_BYTES];
    ap_time_format(ts_ms * AP_US_PER_MS, text);
    ap_buf_printf(out, "%.*sZ", SECONDS_BYTES, text);
}

static void print_peak(const struct subject *subject, const struct replay_firing *firing, struct ap_buf *out)
{
    if (subject->alert && subject->alert->metric)
        pack_alert_print_value(subject->alert, peak_of(subject, firing), out);
    else
        ap_buf_add_cstr(out, go_float(peak_of(subject, firing)).text);
}

static void print_firing(const struct subject *subject, const struct replay_firing *firing, int64_t end_ms,
                         struct ap_buf *out)
{
    bool is_over = firing->resolved_ms != RULES_TIME_NONE;
    ap_buf_add_cstr(out, "    ");
    print_time(firing->fired_ms, out);
    ap_buf_add_cstr(out, is_over ? "  for " : "  and still, for ");
    pack_alert_print_duration((is_over ? firing->resolved_ms : end_ms) - firing->fired_ms, out);
    if (firing->condition == RULE_CONDITION_OK) {
        ap_buf_add_cstr(out, subject->is_downward ? ", down to " : ", up to ");
        print_peak(subject, firing, out);
    } else if (firing->condition == RULE_CONDITION_NO_DATA) {
        ap_buf_add_cstr(out, ", without data");
    } else {
        ap_buf_printf(out, ", not evaluated: %s", firing->reason);
    }
    print_own_labels(subject->rule, firing->labels, out);
    ap_buf_add_char(out, '\n');
}

static void print_firings(const struct arguments *arguments, const struct subject *subject,
                          const struct alert_history *history, struct ap_buf *out)
{
    size_t count;
    const struct replay_firing *firings = replay_firings(history->replay, &count);
    struct replay_failures failures = replay_failures(history->replay);
    if (count == 0)
        ap_buf_printf(out, "  Would not have fired in the last %s.\n", arguments->since);
    else
        ap_buf_printf(out, "  Would have fired %zu time%s in the last %s:\n", count, count == 1 ? "" : "s",
                      arguments->since);
    for (size_t i = 0; i < count; i++)
        print_firing(subject, &firings[i], history->end_ms, out);
    if (failures.count == 0)
        return;
    ap_buf_printf(out, "  Could not have been evaluated %zu time%s, first at ", failures.count,
                  failures.count == 1 ? "" : "s");
    print_time(failures.first_ms, out);
    ap_buf_printf(out, ": %s.\n", failures.reason);
}

static void print_query(const struct rule *rule, struct ap_buf *out)
{
    struct ap_slice rest = ap_slice_trim(rule->expr);
    if (rule->language == RULE_LANGUAGE_PROMQL) {
        ap_buf_printf(out, "  PromQL: %.*s\n", AP_SLICE_ARG(rule->expr));
        return;
    }
    ap_buf_add_cstr(out, "  SQL:\n");
    while (rest.bytes) {
        struct ap_slice line = ap_slice_split(&rest, '\n');
        ap_buf_printf(out, "    %.*s\n", AP_SLICE_ARG(line));
    }
}

static void print_head(const struct subject *subject, size_t shown, struct ap_buf *out)
{
    const struct rule *rule = subject->rule;
    ap_buf_printf(out, "%s%s", shown ? "\n" : "", rule->name);
    if (subject->alert)
        ap_buf_printf(out, ", %s", subject->alert->severity);
    ap_buf_printf(out, "  (%s:%d)\n  ", subject->group->file, rule->line);
    explain(subject, out);
    ap_buf_add_char(out, '\n');
    print_query(rule, out);
}

/* ---- What cannot be replayed ---- */

static void add_left_out(const struct arguments *arguments, const struct subject *subject,
                         const struct alert_history *history, void (*add)(struct ap_buf *out, const char *sentence),
                         struct ap_buf *out)
{
    bool is_sql = subject->rule->language == RULE_LANGUAGE_SQL;
    if (history->reason) {
        add(out, history->reason);
        return;
    }
    if (history->end_ms - history->start_ms + history->step_ms <= arguments->past.since_ms) {
        AP_AUTO_BUF struct ap_buf text = {0};
        ap_buf_printf(&text, "what was before ");
        print_time(history->start_ms, &text);
        if (is_sql)
            ap_buf_printf(&text, ": SQL is asked once for each evaluation, here the last %d", RANGE_SQL_STEPS_MAX);
        else
            ap_buf_printf(&text, ": to find out when it cannot be evaluated takes more than %d questions",
                          RANGE_QUERY_QUESTIONS_MAX);
        ap_buf_add_char(&text, '\0');
        add(out, text.data);
    }
    if (is_sql)
        add(out, "rows as they were at the time: those that came late are there, and those that are gone are not");
}

static void print_left_out(struct ap_buf *out, const char *sentence)
{
    ap_buf_printf(out, "  Not replayed: %s.\n", sentence);
}

static void add_left_out_json(struct ap_buf *out, const char *sentence)
{
    ap_buf_add_cstr(out, out->data[out->bytes - 1] == '[' ? "" : ",");
    ap_buf_add_json_string(out, ap_slice_cstr(sentence));
}

/* ---- For programs ---- */

static void add_member(struct ap_buf *out, const char *before, struct ap_slice text)
{
    ap_buf_add_cstr(out, before);
    ap_buf_add_json_string(out, text);
}

static void add_number(struct ap_buf *out, const char *before, double value)
{
    ap_buf_add_cstr(out, before);
    ap_buf_add_cstr(out, isfinite(value) ? go_float(value).text : "null");
}

static void add_firings(const struct subject *subject, const struct replay *replay, struct ap_buf *out)
{
    size_t count;
    const struct replay_firing *firings = replay_firings(replay, &count);
    ap_buf_add_cstr(out, ",\"firings\":[");
    for (size_t i = 0; i < count; i++) {
        ap_buf_add_cstr(out, i ? ",{\"labels\":" : "{\"labels\":");
        labels_format_json(firings[i].labels, out);
        add_member(out, ",\"condition\":", ap_slice_cstr(rule_condition_name(firings[i].condition)));
        if (firings[i].reason)
            add_member(out, ",\"reason\":", ap_slice_cstr(firings[i].reason));
        ap_buf_printf(out, ",\"active_ms\":%" PRId64 ",\"fired_ms\":%" PRId64 ",\"resolved_ms\":", firings[i].active_ms,
                      firings[i].fired_ms);
        if (firings[i].resolved_ms == RULES_TIME_NONE)
            ap_buf_add_cstr(out, "null");
        else
            ap_buf_printf(out, "%" PRId64, firings[i].resolved_ms);
        add_number(out, ",\"peak\":", peak_of(subject, &firings[i]));
        ap_buf_add_char(out, '}');
    }
    ap_buf_add_char(out, ']');
    struct replay_failures failures = replay_failures(replay);
    ap_buf_printf(out, ",\"failures\":{\"count\":%zu", failures.count);
    if (failures.count) {
        ap_buf_printf(out, ",\"first_ms\":%" PRId64, failures.first_ms);
        add_member(out, ",\"reason\":", ap_slice_cstr(failures.reason));
    }
    ap_buf_add_char(out, '}');
}

static void add_head(const struct subject *subject, size_t shown, struct ap_buf *out)
{
    const struct rule *rule = subject->rule;
    AP_AUTO_BUF struct ap_buf words = {0};
    explain(subject, &words);
    add_member(out, shown ? ",\n{\"name\":" : "{\"name\":", ap_slice_cstr(rule->name));
    add_member(out, ",\"group\":", ap_slice_cstr(subject->group->name));
    add_member(out, ",\"file\":", ap_slice_cstr(subject->group->file));
    ap_buf_printf(out, ",\"line\":%d", rule->line);
    add_member(out, ",\"explanation\":", ap_buf_slice(&words));
    add_member(out, ",\"language\":", ap_slice_cstr(rule->language == RULE_LANGUAGE_SQL ? "sql" : "promql"));
    add_member(out, ",\"query\":", rule->expr);
    ap_buf_printf(out, ",\"for_ms\":%" PRId64 ",\"labels\":{", rule->for_ms);
    for (size_t i = 0; i < rule->labels.count; i++) {
        add_member(out, i ? "," : "", ap_slice_cstr(rule->labels.keys[i]));
        add_member(out, ":", ap_slice_cstr(rule->labels.items[i]));
    }
    ap_buf_add_char(out, '}');
}

/* ---- One alert ---- */

/* Nothing is replayed without a server, and when that failed. */
static bool is_asked(const struct alert_history *history)
{
    return history->replay || history->reason;
}

static void print_subject(const struct report *report, const struct subject *subject,
                          const struct alert_history *history, struct ap_buf *out)
{
    const struct arguments *arguments = report->arguments;
    print_head(subject, report->shown, out);
    if (history->replay)
        print_firings(arguments, subject, history, out);
    if (is_asked(history))
        add_left_out(arguments, subject, history, print_left_out, out);
}

static void add_subject(const struct report *report, const struct subject *subject, const struct alert_history *history,
                        const char *error, struct ap_buf *out)
{
    add_head(subject, report->shown, out);
    if (history->replay)
        add_firings(subject, history->replay, out);
    if (is_asked(history)) {
        ap_buf_add_cstr(out, ",\"not_replayed\":[");
        add_left_out(report->arguments, subject, history, add_left_out_json, out);
        ap_buf_add_char(out, ']');
    }
    if (error)
        add_member(out, ",\"error\":", ap_slice_cstr(error));
    ap_buf_add_char(out, '}');
}

static void report_subject(struct report *report, const struct subject *subject)
{
    const struct arguments *arguments = report->arguments;
    if (arguments->name && strcmp(arguments->name, subject->rule->name) != 0)
        return;
    AP_AUTO_BUF struct ap_buf out = {0};
    struct alert_history history = {0};
    struct ap_err err;
    bool has_failed = arguments->past.remote.address &&
                      alert_history_ask(&arguments->past, subject->rule, subject->group, &history, &err) != AP_OK;
    if (arguments->is_json)
        add_subject(report, subject, &history, has_failed ? err.text : NULL, &out);
    else
        print_subject(report, subject, &history, &out);
    alert_history_clear(&history);
    fwrite(out.data, 1, out.bytes, stdout);
    if (has_failed && !arguments->is_json) {
        fflush(stdout); /* before what goes to standard error */
        fprintf(stderr, "apiary check alerts: %s: %s\n", subject->rule->name, err.text);
    }
    report->shown++;
    report->failed += has_failed;
}

/* ---- All of them ---- */

static void fail_file(struct report *report, const char *sentence)
{
    if (report->arguments->is_json)
        add_member(&report->errors, report->errors.bytes ? "," : "", ap_slice_cstr(sentence));
    else
        fprintf(stderr, "apiary check alerts: %s\n", sentence);
    report->failed++;
}

static const struct rule_group *group_of(const struct pack *pack, const struct rule *rule)
{
    const struct rule_group *group = pack->rule_groups;
    while (rule < group->rules || rule >= group->rules + group->rule_count)
        group++;
    return group;
}

static void report_sentence(const char *sentence, void *context)
{
    fail_file(context, sentence);
}

/* Whether a warehouse with the packs understands the SQL. */
static void check_sql(struct report *report, const struct rule_group *groups, size_t count)
{
    struct ap_err err;
    for (size_t i = 0; i < count && !report->is_not_made; i++) {
        if (!rules_group_has_sql(&groups[i]))
            continue;
        if (!report->made && check_warehouse_open_dirs(report->packs, &report->made, &err) != AP_OK) {
            fail_file(report, err.text);
            report->is_not_made = true;
            return;
        }
        (void)rules_sql_check_group(check_warehouse_of(report->made), &groups[i], report_sentence, report);
    }
}

static void report_pack(struct report *report, const char *dir)
{
    AP_AUTO(pack) struct pack *pack = NULL;
    struct ap_err err;
    if (pack_load(dir, &pack, &err) != AP_OK) {
        fail_file(report, err.text);
        return;
    }
    check_sql(report, pack->rule_groups, pack->rule_group_count);
    for (size_t i = 0; i < pack->alert_count; i++) {
        const struct pack_alert *alert = &pack->alerts[i];
        const struct subject subject = {.rule = alert->rule,
                                        .group = group_of(pack, alert->rule),
                                        .alert = alert,
                                        .is_downward = is_downward(alert->rule)};
        report_subject(report, &subject);
    }
}

static void report_file(struct report *report, const struct rule_file *file)
{
    check_sql(report, file->groups, file->group_count);
    for (size_t g = 0; g < file->group_count; g++) {
        for (size_t r = 0; r < file->groups[g].rule_count; r++) {
            const struct rule *rule = &file->groups[g].rules[r];
            const struct subject subject = {.rule = rule, .group = &file->groups[g], .is_downward = is_downward(rule)};
            if (rule->is_alert)
                report_subject(report, &subject);
        }
    }
}

static void report_rules(struct report *report, const char *path)
{
    AP_AUTO(rule_file) struct rule_file *file = NULL;
    struct ap_err err;
    if (rule_file_load(path, true, report_sentence, report, &file, &err) == AP_OK)
        report_file(report, file);
}

static void report_self(struct report *report)
{
    AP_AUTO(rule_file) struct rule_file *file = NULL;
    struct ap_err err;
    if (rule_file_parse(ap_slice_cstr(rules_self), RULES_SELF_FILE, false, report_sentence, report, &file, &err) ==
        AP_OK)
        report_file(report, file);
}

static int report_all(const struct arguments *arguments, const struct cli_list *packs, const struct cli_list *rules)
{
    struct report report = {.arguments = arguments, .packs = packs};
    if (arguments->is_json)
        fputs("{\"alerts\":[", stdout);
    for (size_t i = 0; i < packs->count; i++)
        report_pack(&report, packs->items[i]);
    for (size_t i = 0; i < rules->count; i++)
        report_rules(&report, rules->items[i]);
    if (arguments->is_self)
        report_self(&report);
    if (report.shown == 0 && report.failed == 0) {
        AP_AUTO_FREE char *name = arguments->name ? ap_asprintf(" called \"%s\"", arguments->name) : ap_strdup("");
        AP_AUTO_FREE char *sentence = ap_asprintf("there is no alert%s", name);
        fail_file(&report, sentence);
    }
    if (arguments->is_json)
        printf("],\"errors\":[%.*s],\"ok\":%s}\n", AP_SLICE_ARG(ap_buf_slice(&report.errors)),
               report.failed ? "false" : "true");
    ap_buf_clear(&report.errors);
    check_warehouse_close(report.made);
    return report.failed ? CLI_FAILED : CLI_DONE;
}

int cli_check_alerts(int argc, char **argv)
{
    struct arguments arguments = {.past.remote.key = getenv("APIARY_KEY"),
                                  .past.now_ms = ap_clock_wall_us(&ap_clock_system) / AP_US_PER_MS};
    const char *interval = "1m";
    struct cli_list packs = {0}, rules = {0};
    const struct cli_option options[] = {
        {"pack", 0, CLI_OPTION_LIST, "DIR", &packs, "pack whose alerts to explain, may be repeated"},
        {"rules", 0, CLI_OPTION_LIST, "FILE", &rules, "rule file whose alerts to explain, may be repeated"},
        {"self", 0, CLI_OPTION_FLAG, NULL, &arguments.is_self, "the alerts about Apiary itself that come with it"},
        {"server", 's', CLI_OPTION_TEXT, "URL", &arguments.past.remote.address,
         "also say when they would have fired, by what this\nserver has stored"},
        {"key", 'k', CLI_OPTION_TEXT, "KEY", &arguments.past.remote.key,
         "viewer key; also $APIARY_KEY, which others cannot see"},
        {"since", 0, CLI_OPTION_TEXT, "DURATION", &arguments.since,
         "with --server: how far to look back (default: 7d)"},
        {"interval", 0, CLI_OPTION_TEXT, "DURATION", &interval,
         "with --server: how often groups are evaluated that say\nno interval (default: 1m)"},
        {"json", 0, CLI_OPTION_FLAG, NULL, &arguments.is_json, "for programs"},
    };
    const struct cli_command command = {
        .name = "check alerts",
        .arguments = "[NAME]",
        .summary = "Explains alerts in words and shows their PromQL or SQL; with a server, when they would have fired.",
        .details =
            "Examples:\n"
            "  apiary check alerts --pack packs/hive\n"
            "  apiary check alerts --pack packs/hive --server http://127.0.0.1:8484 --since 7d hive_memory_leak\n"
            "  apiary check alerts --rules alerts.yml --json\n"
            "  apiary check alerts --self ApiaryLogFilling\n",
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    if (argc - first > 1)
        return cli_misused(&command, "expected at most one NAME");
    if (packs.count + rules.count == 0 && !arguments.is_self)
        return cli_misused(&command, "name at least one pack or rule file: --pack DIR, --rules FILE, --self");
    if (arguments.since && !arguments.past.remote.address)
        return cli_misused(&command, "--since goes with --server");
    arguments.since = arguments.since ? arguments.since : "7d";
    if (!yaml_parse_duration(ap_slice_cstr(arguments.since), &arguments.past.since_ms) || arguments.past.since_ms <= 0)
        return cli_misused(&command, "--since: \"%s\" is not a duration such as 24h or 7d", arguments.since);
    if (!yaml_parse_duration(ap_slice_cstr(interval), &arguments.past.interval_ms) || arguments.past.interval_ms <= 0)
        return cli_misused(&command, "--interval: \"%s\" is not a duration such as 15s or 1m", interval);
    arguments.name = first < argc ? argv[first] : NULL;
    return report_all(&arguments, &packs, &rules);
}
