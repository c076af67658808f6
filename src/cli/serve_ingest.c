#include "cli/serve_internal.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/paths.h"
#include "ingest/geo.h"
#include "ingest/ingest.h"
#include "ingest/push.h"
#include "ingest/statsd.h"
#include "meta/keyring.h"
#include "meta/meta.h"
#include "tsdb/tsdb.h"

enum { LOG_INTERVAL_MS = 1000 };

/* ---- Keys and ingest ---- */

enum ap_rc serve_open_meta(struct apiary *apiary, struct ap_err *err)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/meta.sqlite", apiary->config->data);
    enum ap_rc rc = meta_open(path, &apiary->meta, err);
    return rc == AP_OK ? keyring_open(path, &ap_clock_system, &apiary->keyring, err) : rc;
}

static void push_trouble(const struct ap_err *err, void *context)
{
    (void)context;
    static struct ap_log_limit limit = {.interval_ms = LOG_INTERVAL_MS};
    ap_log_limited(&limit, AP_LOG_WARN, "push", "%s", err->text);
}

enum ap_rc serve_open_push(struct apiary *apiary, struct ap_err *err)
{
    const struct config *config = apiary->config;
    AP_AUTO_FREE char *path = ap_asprintf("%s/meta.sqlite", config->data);
    const struct push_options options = {
        .meta_path = path,
        .tsdb = apiary->tsdb,
        .append = tsdb_append,
        .hash_seed = tsdb_hash_seed(apiary->tsdb),
        .clock = &ap_clock_system,
        .interval_ms = config->push.interval,
        .expire_ms = config->push.expire,
        .groups_max = (size_t)config->push.max_groups,
        .bytes_max = (size_t)config->push.max_size,
        .trouble = push_trouble,
        .context = apiary,
    };
    return push_open(&options, &apiary->push, err);
}

static void statsd_trouble(const struct ap_err *err, void *context)
{
    (void)context;
    static struct ap_log_limit limit = {.interval_ms = LOG_INTERVAL_MS};
    ap_log_limited(&limit, AP_LOG_WARN, "statsd", "%s", err->text);
}

enum ap_rc serve_open_statsd(struct apiary *apiary, struct ap_err *err)
{
    const struct config *config = apiary->config;
    if (!config->statsd.listen)
        return AP_OK;
    char address[64];
    struct statsd_options options = {
        .address = address,
        .tsdb = apiary->tsdb,
        .append = tsdb_append,
        .hash_seed = tsdb_hash_seed(apiary->tsdb),
        .clock = &ap_clock_system,
        .flush_interval_ms = config->statsd.flush_interval,
        .expire_ms = config->statsd.expire,
        .series_max = (size_t)config->statsd.max_series,
        .trouble = statsd_trouble,
        .context = apiary,
    };
    enum ap_rc rc = config_split_address(config->statsd.listen, address, &options.port, err);
    if (rc == AP_OK)
        rc = statsd_open(&options, &apiary->statsd, err);
    if (rc != AP_OK)
        return ap_err_prefix(err, "statsd");
    ap_log(AP_LOG_INFO, "statsd", "listening on UDP port %u of %s", statsd_port(apiary->statsd), address);
    return AP_OK;
}

/* The file that was named must be there; the one that comes with the program may be missing. */
enum ap_rc serve_open_geo(struct apiary *apiary, struct ap_err *err)
{
    const char *named = apiary->config->geo.database;
    AP_AUTO_FREE char *found = named ? NULL : cli_find_file("country.mmdb");
    if (!named && !found) {
        ap_log(AP_LOG_INFO, "ingest", "there is no country.mmdb: rows get no country (setting geo.database)");
        return AP_OK;
    }
    return geo_open(named ? named : found, &apiary->geo, err);
}

static void set_otlp(struct apiary *apiary)
{
    const struct config *config = apiary->config;
    struct otlp_settings *otlp = &apiary->otlp;
    const struct yaml_texts *attributes = config->otlp.promote_all_resource_attributes
                                              ? &config->otlp.ignore_resource_attributes
                                              : &config->otlp.promote_resource_attributes;
    otlp_settings_init(otlp);
    otlp->naming.strategy = (enum otlp_strategy)config->otlp.translation_strategy;
    otlp->naming.is_prefixing_underscores = config->otlp.label_name_underscore_sanitization;
    otlp->naming.is_keeping_underscores = config->otlp.label_name_preserve_multiple_underscores;
    otlp->resource_attributes = (const char *const *)attributes->items;
    otlp->resource_attribute_count = attributes->count;
    otlp->is_promoting_all = config->otlp.promote_all_resource_attributes;
    otlp->is_keeping_identifying = config->otlp.keep_identifying_resource_attributes;
    otlp->is_promoting_scope = config->otlp.promote_scope_metadata;
    otlp->is_making_custom_buckets = config->otlp.convert_histograms_to_nhcb;
    otlp->target_info_interval_ms = AP_MAX(config->promql.lookback_delta / 2, INT64_C(1));
    otlp->window_ms = config->tsdb.out_of_order_window;
    otlp->streams_max = (uint64_t)config->otlp.max_delta_streams;
    otlp->stream_idle_ms = config->otlp.delta_stream_idle;
    otlp->origins = (const char *const *)config->otlp.cors_origins.items;
    otlp->origin_count = config->otlp.cors_origins.count;
}

enum ap_rc serve_open_ingest(struct apiary *apiary, struct ap_err *err)
{
    const struct config *config = apiary->config;
    set_otlp(apiary);
    struct ingest_options options = {
        .wal = apiary->wal,
        .keyring = apiary->keyring,
        .geo = apiary->geo,
        .clock = &ap_clock_system,
        .is_open = config->open,
        .is_hashing_user_ids = config->privacy.hash_user_ids,
        .tsdb = apiary->tsdb,
        .tsdb_append = tsdb_append,
        .tsdb_newest = tsdb_newest,
        .tsdb_hash_seed = tsdb_hash_seed(apiary->tsdb),
        .is_injecting_start_zeros = config->tsdb.created_timestamp_zero_ingestion,
        .influx_separator = config->ingest.influx_separator,
        .otlp = &apiary->otlp,
        .push = apiary->push,
    };
    client_networks_init_loopback(&options.trusted_proxies);
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < config->ingest.trusted_proxies.count && rc == AP_OK; i++)
        rc = client_networks_add(&options.trusted_proxies, config->ingest.trusted_proxies.items[i], err);
    if (rc == AP_OK && options.is_hashing_user_ids)
        rc = meta_secret(apiary->meta, "user_id_hash", options.user_id_hash_key, sizeof(options.user_id_hash_key), err);
    if (rc == AP_OK)
        apiary->ingest = ingest_new(&options);
    return rc;
}
