#include "cli/serve_internal.h"

#include <inttypes.h>
#include <pthread.h>

#include "api/pool.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/serve_alerting.h"
#include "meta/keyring.h"
#include "rules/manager.h"
#include "scrape/manager.h"

/* What of the settings is read again: all others take a restart. */
static const char *const reloaded_settings[] = {"heartbeats", "alerting.path_test", "alerting.path_test_at",
                                                "alerting.path_test_receivers"};

/* When something is wrong with them, nothing of them is taken. */
static enum ap_rc load_settings(const struct apiary *apiary, struct config **ret_config, struct ap_err *err)
{
    AP_AUTO(config) struct config *config = NULL;
    enum ap_rc rc = config_load_again(apiary->config, &config, err);
    if (rc == AP_OK)
        rc = config_check(config, err);
    if (rc != AP_OK) {
        ap_log(AP_LOG_ERROR, "serve", "reload of the settings: %s; those before stay", err->text);
        return rc;
    }
    AP_AUTO_FREE char *others =
        config_differences(apiary->config, config, reloaded_settings, AP_ARRAY_COUNT(reloaded_settings));
    if (others[0])
        ap_log(AP_LOG_WARN, "serve", "changed in the settings, and takes a restart: %s", others);
    *ret_config = AP_MOVE(config);
    return AP_OK;
}

static enum ap_rc reload_heartbeats(struct apiary *apiary, struct config *config, struct ap_err *err)
{
    enum ap_rc rc = config ? serve_reload_heartbeats(apiary, config, err) : AP_OK;
    if (rc != AP_OK)
        ap_log(AP_LOG_ERROR, "serve", "reload of the heart-beats: %s; those before stay", err->text);
    return rc;
}

static enum ap_rc reload_keys(struct apiary *apiary, struct config *config, struct ap_err *err)
{
    (void)config;
    enum ap_rc rc = keyring_refresh(apiary->keyring, err);
    if (rc == AP_OK)
        ap_log(AP_LOG_INFO, "serve", "keys reloaded");
    else
        ap_log(AP_LOG_ERROR, "serve", "reload of the keys: %s; the ones known before stay", err->text);
    return rc;
}

static enum ap_rc reload_rules(struct apiary *apiary, struct config *config, struct ap_err *err)
{
    (void)config;
    enum ap_rc rc = rule_manager_reload(apiary->rules, err);
    if (rc != AP_OK) {
        ap_log(AP_LOG_ERROR, "serve", "reload of the rules: %s; those before stay", err->text);
        return rc;
    }
    struct rule_manager_stats stats;
    rule_manager_stats_get(apiary->rules, &stats);
    ap_log(AP_LOG_INFO, "serve", "rules reloaded: %" PRIu64 " in %" PRIu64 " groups", stats.rule_count,
           stats.group_count);
    return AP_OK;
}

static enum ap_rc reload_alerting(struct apiary *apiary, struct config *config, struct ap_err *err)
{
    if (!apiary->config->alerting.config)
        return AP_OK;
    const struct config *before = apiary->config_of_path_test ? apiary->config_of_path_test : apiary->config;
    enum ap_rc rc = serve_alerting_reload(apiary->alerting, config ? config : before, err);
    if (rc != AP_OK) {
        ap_log(AP_LOG_ERROR, "serve", "reload of alerting.config: %s; what was before stays", err->text);
        return rc;
    }
    ap_log(AP_LOG_INFO, "serve", "who is told of alerts reloaded");
    if (config) {
        config_free(apiary->config_of_path_test);
        apiary->config_of_path_test = config_ref(config);
    }
    return AP_OK;
}

static enum ap_rc reload_collectors(struct apiary *apiary, struct config *config, struct ap_err *err)
{
    (void)config;
    enum ap_rc rc = collectors_reload(&apiary->collectors, err);
    if (rc != AP_OK)
        ap_log(AP_LOG_ERROR, "serve", "reload of the collectors' files: %s; those before stay", err->text);
    return rc;
}

/* Series and alerts that are there have them: others take a restart. */
static enum ap_rc look_at_external_labels(const struct apiary *apiary, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    enum ap_rc rc = serve_read_external_labels(apiary, &labels, err);
    if (rc != AP_OK)
        ap_log(AP_LOG_ERROR, "serve", "reload of what is scraped: %s", err->text);
    else if (!ap_slice_equal(ap_buf_slice(&labels), ap_buf_slice(&apiary->external_labels)))
        ap_log(AP_LOG_WARN, "serve", "changed in %s, and takes a restart: global.external_labels",
               apiary->config->scrape.config);
    return rc;
}

static enum ap_rc reload_scrape(struct apiary *apiary, struct config *config, struct ap_err *err)
{
    (void)config;
    enum ap_rc rc = scrape_manager_reload(apiary->scrape, err);
    if (rc != AP_OK) {
        ap_log(AP_LOG_ERROR, "serve", "reload of what is scraped: %s; what was before stays", err->text);
        return rc;
    }
    struct scrape_manager_stats stats;
    scrape_manager_stats_get(apiary->scrape, &stats);
    ap_log(AP_LOG_INFO, "serve", "what is scraped reloaded: %" PRIu64 " jobs", stats.pool_count);
    serve_log_ignored(apiary);
    return look_at_external_labels(apiary, err);
}

/* What cannot be read leaves what was in effect before as it is. All is tried; `err` is of the first that failed. */
enum ap_rc serve_reload(void *context, struct ap_err *err)
{
    struct apiary *apiary = context;
    static enum ap_rc (*const steps[])(struct apiary *, struct config *, struct ap_err *) = {
        reload_keys, reload_heartbeats, reload_rules, reload_alerting, reload_collectors, reload_scrape};
    AP_AUTO(config) struct config *config = NULL;
    pthread_mutex_lock(&apiary->reload_mutex);
    enum ap_rc first_rc = load_settings(apiary, &config, err);
    for (size_t i = 0; i < AP_ARRAY_COUNT(steps); i++) {
        struct ap_err reason;
        enum ap_rc rc = steps[i](apiary, config, &reason);
        if (rc == AP_OK || first_rc != AP_OK)
            continue;
        first_rc = rc;
        *err = reason;
    }
    serve_set_config_text(apiary);
    pthread_mutex_unlock(&apiary->reload_mutex);
    return first_rc;
}
