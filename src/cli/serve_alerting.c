#include "cli/serve_alerting.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "alert/forwarder.h"
#include "alert/watchdog.h"
#include "base/log.h"
#include "base/mem.h"
#include "notify/notification_log.h"
#include "notify/notifier.h"
#include "notify/path_test.h"
#include "os/thread.h"
#include "wal/wal.h"
#include "warehouse/warehouse.h"

enum { LOG_INTERVAL_MS = 1000, REMEMBER_INTERVAL_MS = 100 };

struct serve_alerting {
    /* Constant. */
    const char *path; /* lent; NULL: nobody is told */
    char *link_base;  /* owned */
    struct watchdog watchdog;
    struct alerting *alerting;
    struct notifier *notifier;
    struct notification_log *log;
    struct path_test *path_test;
    struct warehouse *warehouse;       /* lent */
    struct alert_forwarder *forwarder; /* NULL: people are told from here, and no Alertmanager elsewhere is */
    struct alerts_from_rules from_rules;
    pthread_t thread;
    bool is_started;
    pthread_mutex_t mutex; /* what follows */
    pthread_cond_t changed;
    bool is_changed;
    bool is_ending;
};

static void trouble(const struct ap_err *err, void *context)
{
    (void)context;
    static struct ap_log_limit limit = {.interval_ms = LOG_INTERVAL_MS};
    ap_log_limited(&limit, AP_LOG_WARN, "alerting", "%s", err->text);
}

/* ---- The thread ---- */

static void changed(void *context)
{
    struct serve_alerting *serving = context;
    pthread_mutex_lock(&serving->mutex);
    serving->is_changed = true;
    pthread_cond_signal(&serving->changed);
    pthread_mutex_unlock(&serving->mutex);
}

/* False: the end has come. */
static bool wait_for_change(struct serve_alerting *serving, int64_t wait_ms)
{
    int64_t deadline_us = os_deadline_us(wait_ms);
    pthread_mutex_lock(&serving->mutex);
    while (!serving->is_changed && !serving->is_ending &&
           os_cond_wait_until(&serving->changed, &serving->mutex, deadline_us))
        ;
    serving->is_changed = false;
    bool is_ending = serving->is_ending;
    pthread_mutex_unlock(&serving->mutex);
    return !is_ending;
}

/* ---- Tests before this start ---- */

static void remember(struct warehouse_result *take_result, const struct warehouse_query_err *err, void *context)
{
    const struct serve_alerting *serving = context;
    AP_AUTO(warehouse_result) struct warehouse_result *result = take_result;
    if (!result) {
        trouble(&err->err, NULL);
        return;
    }
    for (size_t row = 0; row < warehouse_result_rows(result); row++) {
        const struct warehouse_cell *cells[5];
        for (size_t i = 0; i < AP_ARRAY_COUNT(cells); i++)
            cells[i] = warehouse_result_cell(result, row, i);
        AP_AUTO_FREE char *receiver = ap_slice_dup(cells[0]->text);
        path_test_remember(serving->path_test, receiver, cells[1]->text, (size_t)cells[2]->integer, cells[3]->integer,
                           cells[4]->integer != 0);
    }
}

/*
 * So that a restart is not taken for a test that is overdue. False: the warehouse does not have all of the log yet, and
 * perhaps not the newest ones.
 */
static bool remember_tests(struct serve_alerting *serving)
{
    static const char sql[] =
        "SELECT receiver, way, CAST(way_index AS BIGINT), epoch_ms(timestamp), CAST(outcome = 'done' AS BIGINT) "
        "FROM notifications WHERE kind = 'test' AND date >= CURRENT_DATE - 62 " /* two of the longest intervals */
        "QUALIFY row_number() OVER (PARTITION BY receiver, way, way_index ORDER BY lsn DESC) = 1";
    const struct warehouse_query query = {.sql = ap_slice(sql, sizeof(sql) - 1)};
    struct warehouse_stats stats;
    struct ap_err err;
    warehouse_stats_get(serving->warehouse, &stats);
    if (!stats.is_caught_up)
        return false;
    if (warehouse_query_submit(serving->warehouse, &query, remember, serving, &err) != AP_OK)
        trouble(&err, NULL);
    return true;
}

/* ---- At work ---- */

static void *work(void *context)
{
    struct serve_alerting *serving = context;
    bool has_remembered = false;
    int64_t wait_ms;
    do {
        has_remembered = has_remembered || remember_tests(serving);
        int64_t test_ms = path_test_step(serving->path_test);
        wait_ms = alerting_step(serving->alerting);
        wait_ms = AP_MIN(wait_ms, test_ms);
    } while (wait_for_change(serving, has_remembered ? wait_ms : AP_MIN(wait_ms, REMEMBER_INTERVAL_MS)));
    return NULL;
}

/* ---- What comes in, and what leaves ---- */

static void note_put(void *context, enum ap_rc rc)
{
    (void)context;
    (void)rc; /* a failure of the log is told as trouble */
}

static bool take_from_rules(void *context, const struct alert_in *alerts, size_t count)
{
    struct serve_alerting *serving = context;
    struct ap_err err;
    /* All are of one rule. The Watchdog is about what is told from here. */
    bool is_taken = !serving->forwarder || watchdog_is_alert(alerts[0].labels) ||
                    alert_forwarder_put(serving->forwarder, alerts, count);
    if (alerting_put(serving->alerting, alerts, count, note_put, NULL, &err) == AP_OK)
        return is_taken;
    trouble(&err, NULL);
    return false;
}

static void deliver(void *context, struct notification *notification)
{
    struct serve_alerting *serving = context;
    notifier_deliver(serving->notifier, notification);
}

static void delivered(void *context, struct notification *notification, const struct delivery *delivery)
{
    struct serve_alerting *serving = context;
    static struct ap_log_limit limit = {.interval_ms = LOG_INTERVAL_MS};
    bool is_test = notification->kind == NOTIFICATION_TEST;
    if (delivery->outcome != DELIVERY_DONE)
        ap_log_limited(&limit, AP_LOG_WARN, "alerting", "%s by %s was not told%s%s: %s", notification->receiver->name,
                       receiver_kind_name(notification->way->kind), is_test ? " of a test" : "",
                       delivery->outcome == DELIVERY_RETRY && !is_test ? ", and will be tried again" : "",
                       delivery->text);
    notification_log_add(serving->log, notification, delivery);
    if (is_test)
        path_test_delivered(serving->path_test, notification, delivery);
    else
        alerting_delivered(serving->alerting, notification, delivery);
}

/* ---- Life ---- */

static enum ap_rc load_config(const struct serve_alerting *serving, struct alert_config **ret_config,
                              struct ap_err *err)
{
    AP_AUTO(alert_config) struct alert_config *config = NULL;
    enum ap_rc rc = AP_OK;
    if (serving->path)
        rc = alert_config_load(serving->path, &config, err);
    else
        config = alert_config_new_silent();
    if (rc == AP_OK && watchdog_is_on(&serving->watchdog))
        rc = watchdog_add_route(&serving->watchdog, config, err);
    if (rc == AP_OK)
        *ret_config = AP_MOVE(config);
    return rc;
}

/* ---- Who is tested ---- */

static struct path_test_schedule schedule_of(const struct config *config)
{
    return (struct path_test_schedule){
        .interval_ms = config->alerting.path_test,
        .at_ms = config->alerting.path_test_at,
        .receivers = config->alerting.path_test_receivers.items,
        .receiver_count = config->alerting.path_test_receivers.count,
    };
}

static enum ap_rc fail_tested(const struct yaml_texts *names, size_t index, const struct alert_config *loaded,
                              const char *path, struct ap_err *err)
{
    AP_AUTO_FREE const char **known = ap_new0_array(const char *, loaded->receiver_count + 1);
    for (size_t i = 0; i < loaded->receiver_count; i++)
        known[i] = loaded->receivers[i].name;
    const char *nearest = yaml_nearest(ap_slice_cstr(names->items[index]), known, loaded->receiver_count);
    AP_AUTO_FREE char *sentence =
        ap_asprintf("alerting.path_test_receivers: there is no receiver \"%s\" in %s%s%s%s", names->items[index], path,
                    nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
    if (names->nodes && names->nodes[index])
        return yaml_fail(err, names->nodes[index], "%s", sentence);
    return ap_fail(err, AP_E_PARSE, "%s", sentence);
}

static enum ap_rc check_tested(const struct config *config, const struct alert_config *loaded, const char *path,
                               struct ap_err *err)
{
    const struct yaml_texts *names = &config->alerting.path_test_receivers;
    for (size_t i = 0; i < names->count; i++) {
        bool is_there = false;
        for (size_t r = 0; r < loaded->receiver_count && !is_there; r++)
            is_there = strcmp(loaded->receivers[r].name, names->items[i]) == 0;
        if (!is_there)
            return fail_tested(names, i, loaded, path, err);
    }
    return AP_OK;
}

/* ---- Life ---- */

static enum ap_rc open_forwarder(struct serve_alerting *serving, const struct yaml_texts *urls, struct ap_err *err)
{
    const struct alert_forwarder_options options = {
        .urls = (const char *const *)urls->items, .url_count = urls->count, .trouble = trouble};
    return serving->path ? AP_OK : alert_forwarder_open(&options, &serving->forwarder, err);
}

static enum ap_rc open_notifier(struct serve_alerting *serving, const struct alert_config *loaded, struct ap_err *err)
{
    const struct notifier_options options = {
        .config = loaded,
        .clock = &ap_clock_system,
        .external_url = serving->from_rules.external_url,
        .delivered = delivered,
        .context = serving,
    };
    return notifier_open(&options, &serving->notifier, err);
}

static enum ap_rc open_alerting(struct serve_alerting *serving, const struct config *config, struct wal *wal,
                                struct ap_err *err)
{
    AP_AUTO_FREE char *dir = ap_asprintf("%s/alerting", config->data);
    const struct alerting_options options = {
        .dir = dir,
        .wal = wal,
        .clock = &ap_clock_system,
        .external_url = serving->from_rules.external_url,
        .alerts_max = (uint64_t)config->alerting.max_alerts,
        .deliver = deliver,
        .trouble = trouble,
        .changed = changed,
        .context = serving,
    };
    struct alert_config *loaded = NULL;
    enum ap_rc rc = load_config(serving, &loaded, err);
    if (rc == AP_OK)
        rc = check_tested(config, loaded, serving->path, err);
    if (rc == AP_OK)
        rc = open_notifier(serving, loaded, err);
    if (rc == AP_OK)
        rc = alerting_open(&options, loaded, &serving->alerting, err);
    else
        alert_config_free(loaded);
    return rc == AP_OK ? rc : ap_err_prefix(err, "alerting");
}

enum ap_rc serve_alerting_open(const struct config *config, struct wal *wal, struct serve_alerting **ret_serving,
                               struct ap_err *err)
{
    struct serve_alerting *serving = ap_new0(struct serve_alerting);
    serving->path = config->alerting.config;
    serving->watchdog = (struct watchdog){
        .url = config->alerting.watchdog_url,
        .url_file = config->alerting.watchdog_url_file,
        .key_file = config->alerting.watchdog_key_file,
        .interval_ms = config->alerting.watchdog_interval,
    };
    serving->link_base = config_link_base(config);
    serving->from_rules = (struct alerts_from_rules){
        .external_url = ap_slice_cstr(serving->link_base),
        .relabel_lock = PTHREAD_RWLOCK_INITIALIZER,
        .take = take_from_rules,
        .context = serving,
    };
    pthread_mutex_init(&serving->mutex, NULL);
    os_cond_init(&serving->changed);
    serving->log = notification_log_new(wal, &ap_clock_system);
    *ret_serving = serving; /* closed by the caller in any case */
    enum ap_rc rc = open_alerting(serving, config, wal, err);
    if (rc == AP_OK)
        serving->path_test = path_test_new(&(struct path_test_options){
            .alerting = serving->alerting,
            .clock = &ap_clock_system,
            .schedule = schedule_of(config),
            .deliver = deliver,
            .changed = changed,
            .context = serving,
        });
    return rc == AP_OK ? open_forwarder(serving, &config->alerting.alertmanagers, err) : rc;
}

enum ap_rc serve_alerting_start(struct serve_alerting *serving, struct warehouse *warehouse, struct ap_err *err)
{
    serving->warehouse = warehouse;
    enum ap_rc rc = os_thread_start("alerting", work, serving, &serving->thread, err);
    serving->is_started = rc == AP_OK;
    return rc;
}

enum ap_rc serve_alerting_reload(struct serve_alerting *serving, const struct config *config, struct ap_err *err)
{
    AP_AUTO(alert_config) struct alert_config *loaded = NULL;
    const struct path_test_schedule schedule = schedule_of(config);
    enum ap_rc rc = load_config(serving, &loaded, err);
    if (rc == AP_OK)
        rc = check_tested(config, loaded, serving->path, err);
    if (rc == AP_OK)
        rc = notifier_reload(serving->notifier, loaded, err);
    if (rc != AP_OK)
        return rc;
    alerting_reconfigure(serving->alerting, AP_MOVE(loaded));
    path_test_reconfigure(serving->path_test, &schedule);
    return AP_OK;
}

void serve_alerting_stop(struct serve_alerting *serving)
{
    pthread_mutex_lock(&serving->mutex);
    serving->is_ending = true;
    pthread_cond_signal(&serving->changed);
    pthread_mutex_unlock(&serving->mutex);
    if (serving->is_started)
        pthread_join(serving->thread, NULL);
    serving->is_started = false;
    if (serving->path_test)
        path_test_stop(serving->path_test);
    if (serving->notifier) /* what is under way comes back, and is noted or sent anew after the start */
        notifier_stop(serving->notifier);
}

void serve_alerting_close(struct serve_alerting *serving)
{
    if (!serving)
        return;
    serve_alerting_stop(serving);
    notifier_close(serving->notifier);
    alert_forwarder_close(serving->forwarder);
    path_test_free(serving->path_test);
    alerting_close(serving->alerting);
    alerts_from_rules_relabel(&serving->from_rules, NULL);
    notification_log_free(serving->log);
    pthread_cond_destroy(&serving->changed);
    pthread_mutex_destroy(&serving->mutex);
    free(serving->link_base);
    free(serving);
}

struct alerting *serve_alerting_get(const struct serve_alerting *serving)
{
    return serving->alerting;
}

struct notifier *serve_alerting_notifier(const struct serve_alerting *serving)
{
    return serving->notifier;
}

struct notification_log *serve_alerting_log(const struct serve_alerting *serving)
{
    return serving->log;
}

struct path_test *serve_alerting_path_test(const struct serve_alerting *serving)
{
    return serving->path_test;
}

const struct watchdog *serve_alerting_watchdog(const struct serve_alerting *serving)
{
    return &serving->watchdog;
}

struct alert_forwarder *serve_alerting_forwarder(const struct serve_alerting *serving)
{
    return serving->forwarder;
}

struct alerts_from_rules *serve_alerting_from_rules(struct serve_alerting *serving, struct ap_slice external_labels)
{
    serving->from_rules.external_labels = external_labels;
    return &serving->from_rules;
}

void serve_alerting_relabel(struct serve_alerting *serving, struct alert_relabel *take_relabel)
{
    alerts_from_rules_relabel(&serving->from_rules, take_relabel);
}
