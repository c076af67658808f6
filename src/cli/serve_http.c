#include "cli/serve_internal.h"

#include <string.h>

#include "api/pages.h"
#include "base/buf.h"
#include "base/mem.h"
#include "cli/serve_alerting.h"
#include "pack/pack.h"

/* ---- HTTP ---- */

static void set_hosts(struct apiary *apiary)
{
    const struct yaml_texts *hosts = &apiary->config->hosts;
    apiary->hosts = ap_new0_array(struct api_host, hosts->count);
    for (size_t i = 0; i < hosts->count; i++)
        apiary->hosts[i] = (struct api_host){hosts->keys[i], strcmp(hosts->items[i], "/") == 0 ? "" : hosts->items[i]};
}

/* The main addresses, and behind them those of OpenTelemetry. */
static enum ap_rc set_listeners(struct apiary *apiary, struct ap_err *err)
{
    const struct config *config = apiary->config;
    if (config->listen.count == 0 || config->listen.count + config->otlp.listen.count > LISTENERS_MAX)
        return ap_fail(err, AP_E_LIMIT, "listen: from 1 to %d addresses can be given, with those of otlp.listen",
                       LISTENERS_MAX);
    for (size_t i = 0; i < config->listen.count + config->otlp.listen.count; i++) {
        bool is_otlp = i >= config->listen.count;
        const char *text = is_otlp ? config->otlp.listen.items[i - config->listen.count] : config->listen.items[i];
        struct http_listener *listener = &apiary->listeners[i];
        enum ap_rc rc = config_split_address(text, apiary->addresses[i], &listener->port, err);
        if (rc != AP_OK)
            return rc;
        listener->address = apiary->addresses[i];
        listener->certificate_file = config->tls.certificate;
        listener->key_file = config->tls.key;
        listener->is_optional = is_otlp && config_is_default(config, "otlp.listen");
    }
    return AP_OK;
}

void serve_set_config_text(struct apiary *apiary)
{
    struct config shown = *apiary->config;
    if (apiary->config_of_heartbeats)
        shown.heartbeats = apiary->config_of_heartbeats->heartbeats;
    if (apiary->config_of_path_test) {
        shown.alerting.path_test = apiary->config_of_path_test->alerting.path_test;
        shown.alerting.path_test_at = apiary->config_of_path_test->alerting.path_test_at;
        shown.alerting.path_test_receivers = apiary->config_of_path_test->alerting.path_test_receivers;
    }
    AP_AUTO_BUF struct ap_buf text = {0};
    config_print(&shown, &text);
    pthread_mutex_lock(&apiary->config_mutex);
    free(apiary->config_text);
    apiary->config_text = ap_buf_detach(&text);
    pthread_mutex_unlock(&apiary->config_mutex);
}

void serve_config_text(void *context, struct ap_buf *out)
{
    struct apiary *apiary = context;
    pthread_mutex_lock(&apiary->config_mutex);
    ap_buf_add_cstr(out, apiary->config_text);
    pthread_mutex_unlock(&apiary->config_mutex);
}

enum ap_rc serve_open_server(struct apiary *apiary, struct ap_err *err)
{
    const struct config *config = apiary->config;
    enum ap_rc rc = set_listeners(apiary, err);
    if (rc != AP_OK)
        return rc;
    set_hosts(apiary);
    serve_set_config_text(apiary);
    apiary->pages = pages_new(config_path_prefix(config));
    apiary->api = (struct api){
        .wal = apiary->wal,
        .warehouse = apiary->warehouse,
        .tsdb = apiary->tsdb,
        .engine = apiary->engine,
        .alerting = serve_alerting_get(apiary->alerting),
        .notifier = serve_alerting_notifier(apiary->alerting),
        .notification_log = serve_alerting_log(apiary->alerting),
        .path_test = serve_alerting_path_test(apiary->alerting),
        .forwarder = serve_alerting_forwarder(apiary->alerting),
        .heartbeats = apiary->heartbeats,
        .rules = apiary->rules,
        .scraper = apiary->scraper,
        .scrape = apiary->scrape,
        .questions = apiary->questions,
        .alert_questions = apiary->alert_questions,
        .chores = apiary->chores,
        .probing = apiary->probing,
        .probes = apiary->collectors.probes,
        .keyring = apiary->keyring,
        .ingest = apiary->ingest,
        .push = apiary->push,
        .statsd = apiary->statsd,
        .live = apiary->live,
        .packs = (const struct pack *const *)apiary->packs,
        .pack_count = apiary->pack_count,
        .hosts = apiary->hosts,
        .host_count = config->hosts.count,
        .clock = &ap_clock_system,
        .started_ms = ap_clock_wall_us(&ap_clock_system) / AP_US_PER_MS,
        .query_timeout_ms = (uint32_t)config->warehouse.query_timeout,
        .query_rows_max = (uint32_t)config->warehouse.query_rows_max,
        .retention_ms = config->tsdb.retention,
        .external_labels = ap_buf_slice(&apiary->external_labels),
        .questions_max = (uint32_t)config->promql.max_concurrency,
        .config_text = serve_config_text,
        .config_context = apiary,
        .external_url = config->external_url,
        .path_prefix = config_path_prefix(config),
        .pages = apiary->pages,
        .reload = serve_reload,
        .reload_context = apiary,
        .data_dir = config->data,
        .remote_read_bytes_max = (size_t)config->tsdb.remote_read_size,
        .listener_count = config->listen.count,
        .is_open = config->open,
    };
    struct http_server_options options = {
        .listeners = apiary->listeners,
        .listener_count = config->listen.count + config->otlp.listen.count,
        .limits =
            {
                .header_bytes_max = (uint32_t)config->limits.header,
                .body_bytes_max = (size_t)config->limits.body,
                .inflated_bytes_max = (size_t)config->limits.decompressed_body,
                .body_memory_bytes_max = (size_t)config->limits.body_memory,
                .connections_max = (uint32_t)config->limits.connections,
                .connections_per_peer_max = (uint32_t)config->limits.connections_per_address,
                .idle_timeout_ms = (uint32_t)config->limits.idle_timeout,
                .request_timeout_ms = (uint32_t)config->limits.request_timeout,
            },
        .admit = api_admit,
        .handle = api_handle,
        .context = &apiary->api,
        .error_body = api_error_body,
        .error_content_type = "application/json",
    };
    rc = http_server_open(&options, &apiary->server, err);
    if (rc == AP_OK)
        __atomic_store_n(&apiary->api.server, apiary->server, __ATOMIC_RELEASE);
    return rc;
}
