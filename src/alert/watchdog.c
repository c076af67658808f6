#include "alert/watchdog.h"

#include <inttypes.h>

#include "tsdb/labels.h"

#define ALERT "Watchdog"
#define LABEL "watchdog"
#define VALUE "built-in"

bool watchdog_is_on(const struct watchdog *watchdog)
{
    return watchdog->url || watchdog->url_file;
}

void watchdog_add_rules(const struct watchdog *watchdog, struct ap_buf *out)
{
    ap_buf_printf(
        out,
        "- name: watchdog\n"
        "  interval: %" PRId64 "ms\n"
        "  rules:\n"
        "  - alert: " ALERT "\n"
        "    expr: vector(1)\n"
        "    on_error: ok\n" /* an alert that is told on would say that rules are evaluated */
        "    labels: {severity: none, " LABEL ": " VALUE "}\n"
        "    annotations:\n"
        "      summary: Alerting works\n"
        "      description: This alert always fires. Whoever is told of it raises the alarm when that stops.\n",
        watchdog->interval_ms);
}

/*
 * Grouped by its own label too: alerting knows groups by their labels and the place of their route in the tree, and a
 * route at the same place in somebody's file may have another Watchdog.
 * Told at each flush: a repeat_interval as long as the interval would leave out each second one, which comes a moment
 * before the interval has passed since the last was sent.
 */
static void print_config(const struct watchdog *watchdog, struct ap_buf *out)
{
    ap_buf_printf(out,
                  "route:\n"
                  "  receiver: " WATCHDOG_RECEIVER "\n"
                  "  routes:\n"
                  "  - receiver: " WATCHDOG_RECEIVER "\n"
                  "    matchers: [alertname=" ALERT ", " LABEL "=" VALUE "]\n"
                  "    group_by: [alertname, " LABEL "]\n"
                  "    group_wait: 0s\n"
                  "    group_interval: %" PRId64 "ms\n"
                  "    repeat_interval: %" PRId64 "ms\n"
                  "receivers:\n"
                  "- name: " WATCHDOG_RECEIVER "\n"
                  "  webhook_configs:\n"
                  "  - send_resolved: false\n"
                  "    %s: ",
                  watchdog->interval_ms, watchdog->interval_ms / 2, watchdog->url_file ? "url_file" : "url");
    ap_buf_add_json_string(out, ap_slice_cstr(watchdog->url_file ? watchdog->url_file : watchdog->url));
    if (watchdog->key_file) {
        ap_buf_add_cstr(out, "\n    http_config: {authorization: {credentials_file: ");
        ap_buf_add_json_string(out, ap_slice_cstr(watchdog->key_file));
        ap_buf_add_cstr(out, "}}");
    }
    ap_buf_add_char(out, '\n');
}

enum ap_rc watchdog_add_route(const struct watchdog *watchdog, struct alert_config *config, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    print_config(watchdog, &text);
    struct alert_config *builtin;
    enum ap_rc rc = alert_config_parse(ap_buf_slice(&text), "watchdog", &builtin, err);
    return rc == AP_OK ? alert_config_add_builtin(config, builtin, err) : rc;
}

bool watchdog_is_alert(struct ap_slice labels)
{
    return ap_slice_equal_cstr(labels_get(labels, ap_slice_cstr(LABEL)), VALUE) &&
           ap_slice_equal_cstr(labels_get(labels, ap_slice_cstr("alertname")), ALERT);
}
