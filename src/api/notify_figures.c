#include "api/notify_figures.h"

#include <inttypes.h>

#include "notify/notification_log.h"
#include "notify/notifier.h"
#include "notify/path_test.h"

/* `receiver="…",way="slack",way_index="0"` */
static void add_way(struct ap_buf *out, const char *receiver, enum receiver_kind kind, size_t way_index)
{
    ap_buf_add_cstr(out, "receiver=\"");
    for (const char *c = receiver; *c; c++) {
        if (*c == '\\' || *c == '"')
            ap_buf_add_char(out, '\\');
        if (*c == '\n')
            ap_buf_add_cstr(out, "\\n");
        else
            ap_buf_add_char(out, *c);
    }
    ap_buf_printf(out, "\",way=\"%s\",way_index=\"%zu\"", receiver_kind_name(kind), way_index);
}

static void add_head(struct ap_buf *out, const char *name, const char *type, const char *help)
{
    ap_buf_printf(out, "# HELP apiary_alerting_%s %s\n# TYPE apiary_alerting_%s %s\n", name, help, name, type);
}

static void add_number(struct ap_buf *out, const char *name, const char *type, const char *help, uint64_t value)
{
    add_head(out, name, type, help);
    ap_buf_printf(out, "apiary_alerting_%s %" PRIu64 "\n", name, value);
}

/* ---- Attempts ---- */

static void add_attempts(const struct notifier_way_stats *stats, void *context)
{
    struct ap_buf *out = context;
    for (int i = 0; i < DELIVERY_OUTCOME_COUNT; i++) {
        ap_buf_add_cstr(out, "apiary_alerting_notification_attempts_total{");
        add_way(out, stats->receiver, stats->kind, stats->way_index);
        ap_buf_printf(out, ",outcome=\"%s\"} %" PRIu64 "\n", delivery_outcome_name((enum delivery_outcome)i),
                      stats->attempts[i]);
    }
}

static void add_failures(const struct notifier_way_stats *stats, void *context)
{
    struct ap_buf *out = context;
    for (int i = 0; i < NOTIFIER_FAILURE_COUNT; i++) {
        ap_buf_add_cstr(out, "apiary_alerting_notification_attempts_failed_total{");
        add_way(out, stats->receiver, stats->kind, stats->way_index);
        ap_buf_printf(out, ",reason=\"%s\"} %" PRIu64 "\n", notifier_failure_name((enum notifier_failure)i),
                      stats->failures[i]);
    }
}

static void add_failing(const struct notifier_way_stats *stats, void *context)
{
    struct ap_buf *out = context;
    ap_buf_add_cstr(out, "apiary_alerting_notification_failing_seconds{");
    add_way(out, stats->receiver, stats->kind, stats->way_index);
    ap_buf_printf(out, "} %.3f\n", (double)stats->failing_us / 1e6);
}

static void add_durations(const struct notifier_way_stats *stats, void *context)
{
    struct ap_buf *out = context;
    uint64_t count = 0;
    AP_AUTO_BUF struct ap_buf way = {0};
    add_way(&way, stats->receiver, stats->kind, stats->way_index);
    for (size_t i = 0; i < NOTIFIER_DURATION_COUNT; i++) {
        count += stats->durations[i];
        ap_buf_printf(
            out, "apiary_alerting_notification_duration_seconds_bucket{%.*s,le=", AP_SLICE_ARG(ap_buf_slice(&way)));
        if (notifier_durations_us[i] == INT64_MAX)
            ap_buf_add_cstr(out, "\"+Inf\"}");
        else
            ap_buf_printf(out, "\"%g\"}", (double)notifier_durations_us[i] / 1e6);
        ap_buf_printf(out, " %" PRIu64 "\n", count);
    }
    ap_buf_printf(out, "apiary_alerting_notification_duration_seconds_sum{%.*s} %.6f\n",
                  AP_SLICE_ARG(ap_buf_slice(&way)), (double)stats->duration_us / 1e6);
    ap_buf_printf(out, "apiary_alerting_notification_duration_seconds_count{%.*s} %" PRIu64 "\n",
                  AP_SLICE_ARG(ap_buf_slice(&way)), count);
}

static void add_notifier(struct ap_buf *out, struct notifier *notifier)
{
    struct notifier_stats stats;
    notifier_stats_get(notifier, &stats);
    add_number(out, "notifications_queued", "gauge", "Notifications that wait to be sent.", stats.waiting);
    add_number(out, "notifications_sending", "gauge", "Notifications that are being sent.", stats.sending);
    add_number(out, "notifications_overflowed_total", "counter",
               "Notifications that found the queue full and come again later.", stats.overflows);
    add_head(out, "notification_attempts_total", "counter",
             "Attempts at sending a notification, by what came of them.");
    notifier_each_way(notifier, add_attempts, out);
    add_head(out, "notification_attempts_failed_total", "counter", "Those that failed, by why.");
    notifier_each_way(notifier, add_failures, out);
    add_head(out, "notification_failing_seconds", "gauge",
             "For how long nothing has got through since the start; 0: the newest attempt did.");
    notifier_each_way(notifier, add_failing, out);
    add_head(out, "notification_duration_seconds", "histogram", "How long attempts took.");
    notifier_each_way(notifier, add_durations, out);
}

/* ---- Tests of the path ---- */

static void add_success(const struct path_test_result *result, void *context)
{
    struct ap_buf *out = context;
    if (!result->ended_ms)
        return;
    ap_buf_add_cstr(out, "apiary_alerting_path_test_success{");
    add_way(out, result->receiver, result->kind, result->way_index);
    ap_buf_printf(out, "} %d\n", result->delivery.outcome == DELIVERY_DONE);
}

static void add_timestamp(const struct path_test_result *result, void *context)
{
    struct ap_buf *out = context;
    if (!result->ended_ms)
        return;
    ap_buf_add_cstr(out, "apiary_alerting_path_test_timestamp_seconds{");
    add_way(out, result->receiver, result->kind, result->way_index);
    ap_buf_printf(out, "} %.3f\n", (double)result->ended_ms / 1e3);
}

static void add_interval(const struct path_test_result *result, void *context)
{
    struct ap_buf *out = context;
    ap_buf_add_cstr(out, "apiary_alerting_path_test_interval_seconds{");
    add_way(out, result->receiver, result->kind, result->way_index);
    ap_buf_printf(out, "} %.3f\n", (double)result->interval_ms / 1e3);
}

static void add_path_test(struct ap_buf *out, struct path_test *test)
{
    add_head(out, "path_test_interval_seconds", "gauge",
             "How often a way is tested (alerting.path_test); 0: only when somebody asks.");
    path_test_each(test, NULL, add_interval, out);
    add_head(out, "path_test_success", "gauge", "1, or 0 when the newest test message did not get through.");
    path_test_each(test, NULL, add_success, out);
    add_head(out, "path_test_timestamp_seconds", "gauge", "When the newest test ended, since 1970.");
    path_test_each(test, NULL, add_timestamp, out);
}

void notify_figures_add_metrics(struct ap_buf *out, const struct api *api)
{
    if (!api->notifier)
        return;
    struct notification_log_stats log;
    notification_log_stats_get(api->notification_log, &log);
    add_notifier(out, api->notifier);
    add_number(out, "notifications_logged_total", "counter", "Attempts that are in the table `notifications`.",
               log.logged);
    add_number(out, "notifications_unlogged_total", "counter", "Attempts that the log could not take.", log.lost);
    add_path_test(out, api->path_test);
}
