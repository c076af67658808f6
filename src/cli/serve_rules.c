#include "cli/serve_internal.h"

#include "api/pool.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/serve_alerting.h"
#include "rules/keep.h"
#include "rules/manager.h"
#include "scrape/external_labels.h"
#include "tsdb/labels.h"

enum { LOG_INTERVAL_MS = 1000, QUESTIONS_WAITING_MAX = 256, ALERT_QUESTIONS_AT_A_TIME = 4, RULE_THREADS = 2 };

/* ---- Rules and alerting ---- */

enum ap_rc serve_open_alerting(struct apiary *apiary, struct ap_err *err)
{
    enum ap_rc rc = serve_alerting_open(apiary->config, apiary->wal, &apiary->alerting, err);
    return rc == AP_OK ? pool_open("alert-question", ALERT_QUESTIONS_AT_A_TIME, QUESTIONS_WAITING_MAX,
                                   &apiary->alert_questions, err)
                       : rc;
}

static void rules_trouble(const struct ap_err *err, void *context)
{
    (void)context;
    static struct ap_log_limit limit = {.interval_ms = LOG_INTERVAL_MS};
    ap_log_limited(&limit, AP_LOG_WARN, "rules", "%s", err->text);
}

static void report_rule(const char *sentence, void *context)
{
    (void)context;
    ap_log(AP_LOG_ERROR, "rules", "%s", sentence);
}

enum ap_rc serve_read_external_labels(const struct apiary *apiary, struct ap_buf *out, struct ap_err *err)
{
    const struct yaml_texts *texts = &apiary->config->external_labels;
    AP_AUTO_FREE struct label *labels = ap_new0_array(struct label, texts->count + 1);
    for (size_t i = 0; i < texts->count; i++)
        labels[i] = (struct label){ap_slice_cstr(texts->keys[i]), ap_slice_cstr(texts->items[i])};
    if (texts->count == 0)
        return apiary->config->scrape.config ? external_labels_load(apiary->config->scrape.config, out, err) : AP_OK;
    enum ap_rc rc = labels_encode(labels, texts->count, out, err);
    return rc == AP_OK ? rc : ap_err_prefix(err, "external_labels");
}

enum ap_rc serve_open_rules(struct apiary *apiary, struct ap_err *err)
{
    const struct config *config = apiary->config;
    enum ap_rc rc = serve_read_external_labels(apiary, &apiary->external_labels, err);
    if (rc == AP_OK)
        rc = builtin_rules_open(apiary, err);
    if (rc != AP_OK)
        return rc;
    size_t group_count;
    const struct rule_group *const *groups = builtin_rules_groups(apiary->builtin_rules, &group_count);
    struct alerts_from_rules *tell =
        serve_alerting_from_rules(apiary->alerting, ap_buf_slice(&apiary->external_labels));
    apiary->rules_keep = rules_keep_new(apiary->tsdb, rules_trouble, apiary);
    const struct rule_manager_options options = {
        .world =
            {
                .engine = apiary->engine,
                .storage = promql_storage_tsdb(apiary->tsdb),
                .warehouse = apiary->warehouse,
                .sql_timeout_ms = (uint32_t)config->warehouse.query_timeout,
                .keep = rules_keep,
                .context = apiary->rules_keep,
                .tell = alerts_from_rules,
                .tell_context = tell,
                .external_labels = ap_buf_slice(&apiary->external_labels),
                .external_url = tell->external_url,
                .query_offset_ms = config->rules.query_offset,
                .restore_ms = config->rules.outage_tolerance,
                .resend_ms = config->rules.resend_delay,
                .clock = &ap_clock_system,
            },
        .patterns = &config->rules.files,
        .groups = groups,
        .group_count = group_count,
        .is_experimental = config->promql.experimental,
        .interval_ms = config->rules.interval,
        .thread_count = RULE_THREADS,
        .report = report_rule,
    };
    return rule_manager_open(&options, &apiary->rules, err);
}
