/* apiary check notify: what a receiver would be told, or a test notification to it. */
#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "alert/config.h"
#include "base/buf.h"
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "notify/sender.h"
#include "notify/test_message.h"
#include "tsdb/labels.h"

struct test {
    const char *receiver;
    const char *alerts_file;
    const char *group_by;
    const char *external_url;
    const char *reference;
    bool is_resolved;
    bool is_sending;
    bool is_json;
};

/* ---- Alerts: as POST /api/v2/alerts takes them ---- */

struct alerts {
    struct notified_alert *items; /* owned; what they point to is the arena's */
    size_t count, firing_count;
    struct ap_arena arena;
    struct test_message test; /* where there is no file */
};

static void alerts_clear(struct alerts *alerts)
{
    free(alerts->items);
    test_message_clear(&alerts->test);
    ap_arena_clear(&alerts->arena);
}

static enum ap_rc take_labels(struct alerts *alerts, const json_t *object, const char *what, struct ap_slice *ret,
                              struct ap_err *err)
{
    struct label labels[LABELS_COUNT_MAX];
    size_t count = 0;
    const char *name;
    json_t *value;
    AP_AUTO_BUF struct ap_buf out = {0};
    if (object && !json_is_object(object))
        return ap_fail(err, AP_E_PARSE, "%s: expected an object", what);
    json_object_foreach((json_t *)object, name, value)
    {
        if (!json_is_string(value) || count == LABELS_COUNT_MAX)
            return ap_fail(err, AP_E_PARSE, "%s: %s: expected a text", what, name);
        labels[count++] = (struct label){ap_slice_cstr(name), ap_slice_cstr(json_string_value(value))};
    }
    enum ap_rc rc = count ? labels_encode(labels, count, &out, err) : AP_OK;
    *ret = ap_slice(ap_arena_try_strndup(&alerts->arena, ap_buf_slice(&out)), out.bytes);
    return rc;
}

static enum ap_rc take_time(const json_t *value, const char *what, int64_t *ret_ms, struct ap_err *err)
{
    int64_t us;
    if (!value)
        return AP_OK;
    if (!json_is_string(value) || !ap_time_parse(ap_slice_cstr(json_string_value(value)), &us))
        return ap_fail(err, AP_E_PARSE, "%s: expected a time such as 2026-01-01T12:00:00Z", what);
    *ret_ms = us / 1000;
    return AP_OK;
}

static enum ap_rc take_alert(struct alerts *alerts, const json_t *from, int64_t now_ms, struct ap_err *err)
{
    struct notified_alert *alert = &alerts->items[alerts->count];
    *alert = (struct notified_alert){.starts_ms = now_ms};
    if (!json_is_object(from))
        return ap_fail(err, AP_E_PARSE, "expected an alert, an object with labels");
    enum ap_rc rc = take_labels(alerts, json_object_get(from, "labels"), "labels", &alert->labels, err);
    if (rc == AP_OK)
        rc = take_labels(alerts, json_object_get(from, "annotations"), "annotations", &alert->annotations, err);
    if (rc == AP_OK)
        rc = take_time(json_object_get(from, "startsAt"), "startsAt", &alert->starts_ms, err);
    if (rc == AP_OK)
        rc = take_time(json_object_get(from, "endsAt"), "endsAt", &alert->ends_ms, err);
    if (rc == AP_OK && alert->labels.bytes == 0)
        rc = ap_fail(err, AP_E_PARSE, "an alert needs labels");
    if (rc != AP_OK)
        return rc;
    const char *url = json_string_value(json_object_get(from, "generatorURL"));
    alert->generator_url = ap_slice_cstr(ap_arena_try_strndup(&alerts->arena, ap_slice_cstr(url ? url : "")));
    alert->is_resolved = alert->ends_ms && alert->ends_ms <= now_ms;
    alerts->firing_count += !alert->is_resolved;
    alerts->count++;
    return AP_OK;
}

/* What the server itself sends when somebody asks it for a test. */
static void take_test(struct alerts *alerts, const char *receiver, int64_t now_ms)
{
    test_message_init(&alerts->test, receiver, now_ms);
    alerts->items = ap_new0_array(struct notified_alert, 1);
    alerts->items[0] = alerts->test.alert;
    alerts->count = alerts->firing_count = 1;
}

static enum ap_rc take_alerts(struct alerts *alerts, const char *path, int64_t now_ms, struct ap_err *err)
{
    json_error_t error;
    json_t *list = json_load_file(path, 0, &error);
    if (!list)
        return ap_fail(err, AP_E_PARSE, "%s:%d:%d: %s", path, error.line, error.column, error.text);
    enum ap_rc rc = json_is_array(list) && json_array_size(list) > 0
                        ? AP_OK
                        : ap_fail(err, AP_E_PARSE, "%s: expected a list of alerts", path);
    alerts->items = ap_new0_array(struct notified_alert, json_array_size(list) + 1);
    for (size_t i = 0; rc == AP_OK && i < json_array_size(list); i++) {
        rc = take_alert(alerts, json_array_get(list, i), now_ms, err);
        if (rc != AP_OK)
            ap_err_prefix(err, "%s: alert %zu", path, i + 1);
    }
    json_decref(list);
    return rc;
}

/* ---- The notification ---- */

static enum ap_rc group_of(const struct alerts *alerts, const char *group_by, struct ap_buf *out, struct ap_err *err)
{
    struct label labels[LABELS_COUNT_MAX];
    size_t count = 0;
    struct ap_slice rest = ap_slice_cstr(group_by);
    while (rest.data && count < LABELS_COUNT_MAX) {
        struct ap_slice name = ap_slice_trim(ap_slice_split(&rest, ','));
        struct ap_slice value = labels_get(alerts->items[0].labels, name);
        if (value.bytes)
            labels[count++] = (struct label){name, value};
    }
    return count ? labels_encode(labels, count, out, err) : AP_OK;
}

struct report {
    const struct test *test;
    struct ap_buf json;
    unsigned failed_count;
};

static void tell(struct report *report, const struct receiver_way *way, const struct delivery *delivery,
                 const struct ap_buf *shown)
{
    report->failed_count += delivery->outcome != DELIVERY_DONE;
    if (!report->test->is_json) {
        if (report->test->is_sending || delivery->outcome != DELIVERY_DONE)
            printf("%s: %s: %s\n", receiver_kind_name(way->kind), delivery_outcome_name(delivery->outcome),
                   delivery->text);
        else
            printf("--- %s\n%.*s\n", receiver_kind_name(way->kind), AP_SLICE_ARG(ap_buf_slice(shown)));
        return;
    }
    ap_buf_printf(&report->json,
                  "%s{\"kind\":\"%s\",\"outcome\":\"%s\",\"status\":%u,\"text\":", report->json.bytes ? "," : "",
                  receiver_kind_name(way->kind), delivery_outcome_name(delivery->outcome), delivery->status);
    ap_buf_add_json_string(&report->json, ap_slice_cstr(delivery->text));
    ap_buf_add_cstr(&report->json, ",\"reference\":");
    ap_buf_add_json_string(&report->json, ap_slice_cstr(delivery->reference));
    ap_buf_add_cstr(&report->json, ",\"message\":");
    ap_buf_add_json_string(&report->json, ap_buf_slice(shown));
    ap_buf_add_char(&report->json, '}');
}

static void try_ways(const struct alert_config *config, const struct receiver *receiver,
                     const struct message_templates *templates, const struct alerts *alerts, struct ap_slice group,
                     int64_t now_ms, struct report *report)
{
    AP_AUTO_BUF struct ap_buf key = {0};
    unsigned char hash[crypto_hash_sha256_BYTES];
    ap_buf_add_cstr(&key, "{}:");
    labels_format_set(group, &key);
    struct notification notification = {
        .receiver = receiver,
        .global = &config->global,
        .group_key = ap_buf_slice(&key),
        .group_labels = group,
        .alerts = alerts->items,
        .alert_count = alerts->count,
        .firing_count = alerts->firing_count,
        .kind = report->test->alerts_file ? NOTIFICATION_ALERT : NOTIFICATION_TEST,
        .decided_ms = now_ms,
    };
    crypto_hash_sha256(hash, (const unsigned char *)key.data, key.bytes);
    sodium_bin2hex(notification.dedup_key, sizeof(notification.dedup_key), hash, sizeof(hash));
    snprintf(notification.reference, sizeof(notification.reference), "%s",
             report->test->reference ? report->test->reference : "");
    for (size_t i = 0; i < receiver->way_count; i++) {
        AP_AUTO_BUF struct ap_buf shown = {0};
        struct delivery delivery = {0};
        notification.way = &receiver->ways[i];
        AP_AUTO(message)
        struct message *message =
            message_new(&notification, templates, ap_slice_cstr(report->test->external_url), now_ms);
        struct sending sending = {
            .notification = &notification, .message = message, .shown = report->test->is_sending ? NULL : &shown};
        sending_run(&sending, &delivery);
        tell(report, notification.way, &delivery, &shown);
    }
}

static enum ap_rc run(const char *path, const struct test *test, struct report *report, struct ap_err *err)
{
    AP_AUTO(alert_config) struct alert_config *config = NULL;
    AP_AUTO(message_templates) struct message_templates *templates = NULL;
    AP_CLEANUP(alerts_clear) struct alerts alerts = {0};
    AP_AUTO_BUF struct ap_buf group = {0};
    ap_arena_init(&alerts.arena, 0);
    int64_t now_ms = ap_clock_wall_us(&ap_clock_system) / 1000;
    enum ap_rc rc = alert_config_load(path, &config, err);
    if (rc == AP_OK)
        rc = message_templates_load(config, &templates, err);
    const char *name = test->receiver ? test->receiver : rc == AP_OK ? config->root->receiver : "";
    const struct receiver *receiver = rc == AP_OK ? alert_config_receiver(config, name) : NULL;
    if (rc == AP_OK && !receiver)
        rc = ap_fail(err, AP_E_NOT_FOUND, "%s: there is no receiver %s", path, name);
    if (rc == AP_OK && !test->alerts_file)
        take_test(&alerts, name, now_ms);
    else if (rc == AP_OK)
        rc = take_alerts(&alerts, test->alerts_file, now_ms, err);
    for (size_t i = 0; rc == AP_OK && test->is_resolved && i < alerts.count; i++) {
        alerts.items[i].is_resolved = true;
        alerts.items[i].ends_ms = alerts.items[i].ends_ms ? alerts.items[i].ends_ms : now_ms;
    }
    if (rc == AP_OK)
        rc = group_of(&alerts, test->group_by, &group, err);
    if (rc == AP_OK)
        try_ways(config, receiver, templates, &alerts, ap_buf_slice(&group), now_ms, report);
    return rc;
}

int cli_check_notify(int argc, char **argv)
{
    struct test test = {.group_by = "alertname", .external_url = "http://127.0.0.1:8484"};
    const struct cli_option options[] = {
        {"receiver", 'r', CLI_OPTION_TEXT, "NAME", &test.receiver, "who is told\n(default: that of the first route)"},
        {"alerts", 'a', CLI_OPTION_TEXT, "FILE", &test.alerts_file,
         "alerts as POST /api/v2/alerts takes them (JSON)\n(default: one that says that this is a test)"},
        {"group-by", 0, CLI_OPTION_TEXT, "NAMES", &test.group_by,
         "labels of the group, of the first alert\n(default: alertname)"},
        {"external-url", 0, CLI_OPTION_TEXT, "URL", &test.external_url, "address of this server, for links"},
        {"reference", 0, CLI_OPTION_TEXT, "TEXT", &test.reference,
         "what an earlier --json gave: the message to change"},
        {"resolved", 0, CLI_OPTION_FLAG, NULL, &test.is_resolved, "as if all alerts were over"},
        {"send", 0, CLI_OPTION_FLAG, NULL, &test.is_sending, "send it; without, it is only shown"},
        {"json", 0, CLI_OPTION_FLAG, NULL, &test.is_json, "for programs"},
    };
    const struct cli_command command = {
        .name = "check notify",
        .arguments = "FILE",
        .summary = "Shows what a receiver of Alertmanager's configuration file would be told, or with --send tells it.",
        .details = "Examples:\n  apiary check notify --receiver team-db alertmanager.yml\n"
                   "  apiary check notify --receiver team-db --send alertmanager.yml\n"
                   "  apiary check notify --alerts alerts.json --resolved alertmanager.yml\n",
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    if (first + 1 != argc)
        return cli_misused(&command, "name the configuration file");
    struct report report = {.test = &test};
    struct ap_err err;
    enum ap_rc rc = run(argv[first], &test, &report, &err);
    if (test.is_json && rc == AP_OK) {
        printf("{\"ok\":%s,\"ways\":[%.*s]}\n", report.failed_count ? "false" : "true",
               AP_SLICE_ARG(ap_buf_slice(&report.json)));
    } else if (test.is_json) {
        AP_AUTO_BUF struct ap_buf text = {0};
        ap_buf_add_json_string(&text, ap_slice_cstr(err.text));
        printf("{\"ok\":false,\"error\":%.*s}\n", AP_SLICE_ARG(ap_buf_slice(&text)));
    } else if (rc != AP_OK) {
        fprintf(stderr, "%s\n", err.text);
    }
    ap_buf_clear(&report.json);
    return rc == AP_OK && report.failed_count == 0 ? CLI_DONE : CLI_FAILED;
}
