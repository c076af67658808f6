/* apiary check routes: Alertmanager's configuration file, and where an alert would go by it. */
#include <inttypes.h>
#include <stdio.h>

#include "alert/config.h"
#include "alert/matcher_text.h"
#include "base/buf.h"
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "tsdb/labels.h"

struct report {
    const struct alert_config *config;
    struct ap_slice labels; /* of the alert */
    int64_t now_s;
    bool is_json;
    struct ap_buf json;
    size_t count;
};

static void add_string(struct ap_buf *json, const char *key, struct ap_slice text)
{
    ap_buf_printf(json, "%s\"%s\":", json->bytes && json->data[json->bytes - 1] != '{' ? "," : "", key);
    ap_buf_add_json_string(json, text);
}

static void add_duration(struct ap_buf *out, int64_t ms)
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    if (ms == 0)
        ap_buf_add_cstr(out, "0s");
    for (size_t i = 0; i < AP_ARRAY_COUNT(units); i++) {
        if (ms / units[i].ms)
            ap_buf_printf(out, "%" PRId64 "%s", ms / units[i].ms, units[i].unit);
        ms %= units[i].ms;
    }
}

/* The interval that keeps the route silent now, or NULL. */
static const char *muted_by(const struct report *report, const struct route *route)
{
    for (size_t i = 0; i < route->muted_in.count; i++)
        if (named_intervals_contain(alert_config_intervals(report->config, route->muted_in.items[i]), report->now_s))
            return route->muted_in.items[i];
    bool is_active = route->active_in.count == 0;
    for (size_t i = 0; i < route->active_in.count && !is_active; i++)
        is_active =
            named_intervals_contain(alert_config_intervals(report->config, route->active_in.items[i]), report->now_s);
    return is_active ? NULL : route->active_in.items[0];
}

static void say_times(const struct route *route, struct ap_buf *out)
{
    ap_buf_add_cstr(out, "waits ");
    add_duration(out, route->group_wait_ms);
    ap_buf_add_cstr(out, ", changes after ");
    add_duration(out, route->group_interval_ms);
    ap_buf_add_cstr(out, ", again after ");
    add_duration(out, route->repeat_interval_ms);
}

/* "falls back to oncall-mail after 5m, boss after 15m"; nothing when there is none. */
static void say_fallback(const struct route *route, struct ap_buf *out)
{
    for (size_t i = 1; i < route->step_count; i++) {
        ap_buf_printf(out, "%s%s after ", i > 1 ? ", " : "falls back to ", route->steps[i].name);
        add_duration(out, route->steps[i].after_ms);
    }
}

static void add_fallback(struct ap_buf *json, const struct route *route)
{
    ap_buf_add_cstr(json, ",\"fallback\":[");
    for (size_t i = 1; i < route->step_count; i++) {
        ap_buf_add_cstr(json, i > 1 ? ",{" : "{");
        add_string(json, "receiver", ap_slice_cstr(route->steps[i].name));
        ap_buf_printf(json, ",\"after_ms\":%" PRId64 "}", route->steps[i].after_ms);
    }
    ap_buf_add_char(json, ']');
}

static void tell_match(const struct route *route, void *context)
{
    struct report *report = context;
    AP_AUTO_BUF struct ap_buf group = {0};
    AP_AUTO_BUF struct ap_buf group_text = {0};
    AP_AUTO_BUF struct ap_buf key = {0};
    struct ap_err err;
    const char *muted = muted_by(report, route);
    (void)!route_group_labels(route, report->labels, &group, &err);
    labels_format(ap_buf_slice(&group), &group_text);
    route_key(route, &key);
    report->count++;
    if (!report->is_json) {
        AP_AUTO_BUF struct ap_buf times = {0};
        say_times(route, &times);
        printf("%s\n  route  %.*s\n  group  %.*s\n  %.*s\n", route->receiver, AP_SLICE_ARG(ap_buf_slice(&key)),
               AP_SLICE_ARG(ap_buf_slice(&group_text)), AP_SLICE_ARG(ap_buf_slice(&times)));
        AP_AUTO_BUF struct ap_buf fallback = {0};
        say_fallback(route, &fallback);
        if (fallback.bytes)
            printf("  %.*s\n", AP_SLICE_ARG(ap_buf_slice(&fallback)));
        if (muted)
            printf("  silent now: time interval %s\n", muted);
        return;
    }
    ap_buf_add_cstr(&report->json, report->count > 1 ? ",{" : "{");
    add_string(&report->json, "receiver", ap_slice_cstr(route->receiver));
    add_string(&report->json, "route", ap_buf_slice(&key));
    add_string(&report->json, "group", ap_buf_slice(&group_text));
    ap_buf_printf(&report->json,
                  ",\"group_wait_ms\":%" PRId64 ",\"group_interval_ms\":%" PRId64 ",\"repeat_interval_ms\":%" PRId64
                  ",\"is_muted\":%s",
                  route->group_wait_ms, route->group_interval_ms, route->repeat_interval_ms, muted ? "true" : "false");
    add_fallback(&report->json, route);
    ap_buf_add_char(&report->json, '}');
}

static void tell_route(const struct route *route, void *context)
{
    struct report *report = context;
    AP_AUTO_BUF struct ap_buf matchers = {0};
    AP_AUTO_BUF struct ap_buf fallback = {0};
    report->count++;
    if (report->is_json)
        return;
    for (const struct route *above = route->parent; above; above = above->parent)
        printf("  ");
    matcher_text_format_list(route->matchers, &matchers);
    say_fallback(route, &fallback);
    printf("%.*s  to %s%s%s%.*s\n", AP_SLICE_ARG(ap_buf_slice(&matchers)), route->receiver,
           route->is_continuing ? ", and goes on" : "", fallback.bytes ? ", " : "",
           AP_SLICE_ARG(ap_buf_slice(&fallback)));
}

/* "name=value" arguments as a canonical label set. */
static enum ap_rc read_labels(char **arguments, int count, struct ap_buf *out, struct ap_err *err)
{
    AP_AUTO_FREE struct label *labels = ap_new0_array(struct label, (size_t)count + 1);
    for (int i = 0; i < count; i++) {
        struct ap_slice value = ap_slice_cstr(arguments[i]);
        struct ap_slice name = ap_slice_split(&value, '=');
        if (!value.data || name.bytes == 0)
            return ap_fail(err, AP_E_PARSE, "expected NAME=VALUE, found \"%s\"", arguments[i]);
        if (value.bytes >= 2 && value.data[0] == '"' && value.data[value.bytes - 1] == '"')
            value = ap_slice(value.data + 1, value.bytes - 2);
        labels[i] = (struct label){name, value};
    }
    return labels_encode(labels, (size_t)count, out, err);
}

static int say_error(bool is_json, const struct ap_err *err)
{
    if (is_json) {
        AP_AUTO_BUF struct ap_buf text = {0};
        ap_buf_add_json_string(&text, ap_slice_cstr(err->text));
        printf("{\"ok\":false,\"error\":%.*s}\n", AP_SLICE_ARG(ap_buf_slice(&text)));
    } else {
        fprintf(stderr, "%s\n", err->text);
    }
    return CLI_FAILED;
}

static int check(const char *path, char **arguments, int count, int64_t now_s, bool is_json)
{
    struct ap_err err;
    AP_AUTO(alert_config) struct alert_config *config = NULL;
    AP_AUTO_BUF struct ap_buf labels = {0};
    enum ap_rc rc = alert_config_load(path, &config, &err);
    if (rc == AP_OK && count)
        rc = read_labels(arguments, count, &labels, &err);
    if (rc != AP_OK)
        return say_error(is_json, &err);
    struct report report = {.config = config, .labels = ap_buf_slice(&labels), .now_s = now_s, .is_json = is_json};
    if (count)
        route_match(config->root, report.labels, tell_match, &report);
    else
        route_walk(config->root, tell_route, &report);
    if (is_json && count == 0)
        ap_buf_printf(&report.json, "%zu", report.count);
    if (is_json)
        printf("{\"ok\":true,\"receivers\":%zu,\"inhibit_rules\":%zu,\"time_intervals\":%zu,%s%.*s%s}\n",
               config->receiver_count, config->inhibit_rule_count, config->interval_count,
               count ? "\"matches\":[" : "\"routes\":", AP_SLICE_ARG(ap_buf_slice(&report.json)), count ? "]" : "");
    else if (count == 0)
        printf("good: %zu routes, %zu receivers, %zu inhibition rules, %zu time intervals\n", report.count,
               config->receiver_count, config->inhibit_rule_count, config->interval_count);
    ap_buf_clear(&report.json);
    return CLI_DONE;
}

int cli_check_routes(int argc, char **argv)
{
    bool is_json = false;
    uint64_t at_s = 0;
    const struct cli_option options[] = {
        {"at", 0, CLI_OPTION_NUMBER, "SECONDS", &at_s, "since 1970, for time intervals\n(default: now)"},
        {"json", 0, CLI_OPTION_FLAG, NULL, &is_json, "for programs"},
    };
    const struct cli_command command = {
        .name = "check routes",
        .arguments = "FILE [NAME=VALUE...]",
        .summary =
            "Checks Alertmanager's configuration file; with labels, tells where an alert that has them would go.",
        .details = "Examples:\n  apiary check routes alertmanager.yml\n"
                   "  apiary check routes alertmanager.yml alertname=Down severity=page\n",
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    if (first >= argc)
        return cli_misused(&command, "name the configuration file");
    int64_t now_s = at_s ? (int64_t)at_s : ap_clock_wall_us(&ap_clock_system) / 1000000;
    return check(argv[first], argv + first + 1, argc - first - 1, now_s, is_json);
}
