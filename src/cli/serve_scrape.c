#include "cli/serve_internal.h"

#include <string.h>
#include <unistd.h>

#include "alert/forwarder.h"
#include "api/pool.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/serve_alerting.h"
#include "scrape/manager.h"
#include "scrape/scraper.h"
#include "tsdb/tsdb.h"

enum { LOG_INTERVAL_MS = 1000, PROBES_AT_A_TIME = 16, PROBES_WAITING_MAX = 256 };

/* ---- Scraping ---- */

enum ap_rc serve_open_collectors(struct apiary *apiary, struct ap_err *err)
{
    enum ap_rc rc = collectors_open(apiary->config, &apiary->api, &apiary->collectors, err);
    return rc == AP_OK ? pool_open("probe", PROBES_AT_A_TIME, PROBES_WAITING_MAX, &apiary->probing, err) : rc;
}

static void scrape_trouble(const struct ap_err *err, void *context)
{
    (void)context;
    static struct ap_log_limit limit = {.interval_ms = LOG_INTERVAL_MS};
    ap_log_limited(&limit, AP_LOG_WARN, "scrape", "%s", err->text);
}

static void sync_targets(void *context, const char *pool, const struct scrape_target *const *targets, size_t count)
{
    const struct apiary *apiary = context;
    scraper_sync(apiary->scraper, pool, targets, count);
}

static void sync_alertmanagers(void *context, const char *entry, const struct scrape_target *const *targets,
                               size_t count)
{
    const struct apiary *apiary = context;
    alert_forwarder_sync(serve_alerting_forwarder(apiary->alerting), entry, targets, count);
}

static void relabel_alerts(void *context, struct alert_relabel *take_relabel)
{
    const struct apiary *apiary = context;
    serve_alerting_relabel(apiary->alerting, take_relabel);
}

void serve_log_ignored(const struct apiary *apiary)
{
    AP_AUTO_FREE char *ignored = scrape_manager_ignored(apiary->scrape);
    if (ignored[0])
        ap_log(AP_LOG_INFO, "scrape", "not read from %s, since it is not about scraping: %s",
               apiary->config->scrape.config, ignored);
    if (apiary->config->alerting.config && scrape_manager_alertmanager_count(apiary->scrape))
        ap_log(AP_LOG_WARN, "scrape",
               "%s: alerting.alertmanagers: nothing is sent there, since alerting.config tells people from here",
               apiary->config->scrape.config);
}

static void add_builtin(struct apiary *apiary, const char *job, const char *collector, const char *const *instances,
                        size_t instance_count)
{
    apiary->builtins[apiary->builtin_count++] = (struct scrape_builtin){job, collector, instances, instance_count};
}

static void add_builtins(struct apiary *apiary)
{
    const struct config *config = apiary->config;
    const struct yaml_texts *connections = &config->postgres.connections;
    if (gethostname(apiary->host_name_text, sizeof(apiary->host_name_text) - 1) != 0)
        strcpy(apiary->host_name_text, "localhost");
    apiary->host_name = apiary->host_name_text;
    if (config->scrape.host)
        add_builtin(apiary, "node", "host", &apiary->host_name, 1);
    if (config->scrape.self)
        add_builtin(apiary, "apiary", "self", &apiary->host_name, 1);
    if (connections->count > 0)
        add_builtin(apiary, "postgres", "postgres", connections->keys, connections->count);
}

enum ap_rc serve_open_scrape(struct apiary *apiary, struct ap_err *err)
{
    const struct config *config = apiary->config;
    add_builtins(apiary);
    const struct scraper_options scraper_options = {
        .tsdb = apiary->tsdb,
        .append = tsdb_append,
        .clock = &ap_clock_system,
        .collectors = apiary->collectors.items,
        .collector_count = apiary->collectors.count,
        .is_injecting_start_zeros = config->tsdb.created_timestamp_zero_ingestion,
        .trouble = scrape_trouble,
        .context = apiary,
    };
    const struct scrape_manager_options options = {
        .path = config->scrape.config,
        .builtins = apiary->builtins,
        .builtin_count = apiary->builtin_count,
        .builtin_interval_ms = config->scrape.interval,
        .collectors = apiary->collectors.items,
        .collector_count = apiary->collectors.count,
        .clock = &ap_clock_system,
        .sync = sync_targets,
        .sync_context = apiary,
        .sync_alertmanagers = serve_alerting_forwarder(apiary->alerting) ? sync_alertmanagers : NULL,
        .relabel_alerts = relabel_alerts,
        .trouble = scrape_trouble,
        .context = apiary,
    };
    enum ap_rc rc = scrape_manager_open(&options, &apiary->scrape, err);
    if (rc == AP_OK)
        serve_log_ignored(apiary);
    return rc == AP_OK ? scraper_open(&scraper_options, &apiary->scraper, err) : rc;
}
