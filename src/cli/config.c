#include "cli/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "ingest/otlp_names.h"

/* Their values may hold passwords. */
#define POSTGRES_CONNECTIONS "postgres.connections"
#define ALERTMANAGERS        "alerting.alertmanagers"

enum { ENVIRONMENT_NAME_BYTES = 64, KEY_BYTES = 64 };

static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const otlp_strategies[] = {
    [OTLP_UNDERSCORES_WITH_SUFFIXES] = "UnderscoreEscapingWithSuffixes",
    [OTLP_UNDERSCORES_WITHOUT_SUFFIXES] = "UnderscoreEscapingWithoutSuffixes",
    [OTLP_UTF8_WITH_SUFFIXES] = "NoUTF8EscapingWithSuffixes",
    [OTLP_NO_TRANSLATION] = "NoTranslation",
    NULL,
};

#define AT(member)  .offset = offsetof(struct config, member)
#define SECONDS(n)  ((n)*INT64_C(1000))
#define DAYS(n)     SECONDS((n)*INT64_C(86400))
#define MIB(n)      ((n)*INT64_C(1048576))
#define SIZE_MAX_OK (INT64_C(1) << 50)

/* Every setting, in the order of the reference. A key has at most one dot: section and name. */
static const struct yaml_field settings[] = {
    {.key = "data",
     .type = YAML_TYPE_TEXT,
     AT(data),
     .default_text = "data",
     .doc = "Directory of everything that is kept; made when missing."},
    {.key = "listen",
     .type = YAML_TYPE_TEXT_LIST,
     AT(listen),
     .default_text = "127.0.0.1:8484",
     .doc = "Addresses with port: `127.0.0.1:8484`, `[::1]:8484`; `0.0.0.0:8484` is every IPv4 address. Port 0 takes a "
            "free one."},
    {.key = "open",
     .type = YAML_TYPE_BOOLEAN,
     AT(open),
     .default_text = "false",
     .doc = "Ask for no keys. Refused unless every `listen` address is loopback."},
    {.key = "pack",
     .type = YAML_TYPE_TEXT_LIST,
     AT(packs),
     .default_text = "",
     .doc = "Directories of packs: views, roll-ups and dashboards of a product."},
    {.key = "hosts",
     .type = YAML_TYPE_TEXT_MAP,
     AT(hosts),
     .default_text = "",
     .doc = "Host names that stand for a path: with `siem.example.com: /siem`, a request for `siem.example.com/events` "
            "is one for `/siem/events`. `/` adds nothing."},
    {.key = "external_labels",
     .type = YAML_TYPE_TEXT_MAP,
     AT(external_labels),
     .doc = "What tells this server from others: `$externalLabels` in alerts, and added to the series of `/federate`."},
    {.key = "external_url",
     .type = YAML_TYPE_TEXT,
     AT(external_url),
     .doc = "The address at which people reach this server: `$externalURL` in alerts."},
    {.key = "tls.certificate",
     .type = YAML_TYPE_TEXT,
     AT(tls.certificate),
     .doc = "PEM file with the certificate and its chain, leaf first. With `tls.key`: HTTPS on every address."},
    {.key = "tls.key", .type = YAML_TYPE_TEXT, AT(tls.key), .doc = "PEM file with the private key."},
    {.key = "log.level",
     .type = YAML_TYPE_CHOICE,
     AT(log.level),
     .default_text = "info",
     .choices = log_levels,
     .doc = "What is less important is not logged."},
    {.key = "wal.segment_size",
     .type = YAML_TYPE_BYTES,
     AT(wal.segment_size),
     .default_text = "64MiB",
     .min = MIB(1),
     .max = MIB(4096),
     .doc = "Size of one file of the write-ahead log."},
    {.key = "wal.max_size",
     .type = YAML_TYPE_BYTES,
     AT(wal.max_size),
     .default_text = "4GiB",
     .min = MIB(2),
     .max = SIZE_MAX_OK,
     .doc = "How much may wait in the log for the stores. Above it, writers get 503 with Retry-After."},
    {.key = "warehouse.memory_limit",
     .type = YAML_TYPE_BYTES,
     AT(warehouse.memory_limit),
     .default_text = "512MiB",
     .min = MIB(64),
     .max = SIZE_MAX_OK,
     .doc = "What DuckDB may use for data."},
    {.key = "warehouse.threads",
     .type = YAML_TYPE_INTEGER,
     AT(warehouse.threads),
     .default_text = "2",
     .min = 1,
     .max = 256,
     .doc = "Threads of DuckDB, for all queries together."},
    {.key = "warehouse.readers",
     .type = YAML_TYPE_INTEGER,
     AT(warehouse.readers),
     .default_text = "2",
     .min = 1,
     .max = 64,
     .doc = "Queries that run at the same time; others wait."},
    {.key = "warehouse.cache_size",
     .type = YAML_TYPE_BYTES,
     AT(warehouse.cache_size),
     .default_text = "16MiB",
     .min = 0,
     .max = SIZE_MAX_OK,
     .doc = "Memory for answers that are kept for the same question."},
    {.key = "warehouse.retention_days",
     .type = YAML_TYPE_INTEGER,
     AT(warehouse.retention_days),
     .default_text = "0",
     .min = 0,
     .max = 36500,
     .doc = "Days of rows that are kept; 0 keeps all."},
    {.key = "warehouse.query_timeout",
     .type = YAML_TYPE_DURATION,
     AT(warehouse.query_timeout),
     .default_text = "10s",
     .min = 1,
     .max = SECONDS(3600),
     .doc = "A query that takes longer is ended."},
    {.key = "warehouse.query_rows_max",
     .type = YAML_TYPE_INTEGER,
     AT(warehouse.query_rows_max),
     .default_text = "10000",
     .min = 1,
     .max = 10000000,
     .doc = "Further rows of an answer are cut off."},
    {.key = "tsdb.max_series",
     .type = YAML_TYPE_INTEGER,
     AT(tsdb.max_series),
     .default_text = "2000000",
     .min = 1,
     .max = 1000000000,
     .doc = "Series in memory at the same time, about 450 bytes each. Samples of further ones are refused."},
    {.key = "tsdb.out_of_order_window",
     .type = YAML_TYPE_DURATION,
     AT(tsdb.out_of_order_window),
     .default_text = "2h",
     .min = 0,
     .max = DAYS(31),
     .doc = "A sample may be this much older than the newest one of all; older ones are refused."},
    {.key = "tsdb.retention",
     .type = YAML_TYPE_DURATION,
     AT(tsdb.retention),
     .default_text = "15d",
     .min = 0,
     .max = DAYS(36500),
     .doc = "Samples older than this are removed; 0 keeps them."},
    {.key = "tsdb.retention_size",
     .type = YAML_TYPE_BYTES,
     AT(tsdb.retention_size),
     .default_text = "0",
     .min = 0,
     .max = SIZE_MAX_OK,
     .doc = "When the blocks are larger than this together, the oldest are removed; 0 sets no limit."},
    {.key = "tsdb.block_range",
     .type = YAML_TYPE_DURATION,
     AT(tsdb.block_range),
     .default_text = "2h",
     .min = SECONDS(60),
     .max = DAYS(1),
     .doc = "Span of time of a new block; divides a day. Shorter ones are for tests."},
    {.key = "tsdb.max_exemplars",
     .type = YAML_TYPE_INTEGER,
     AT(tsdb.max_exemplars),
     .default_text = "100000",
     .min = 0,
     .max = 100000000,
     .doc = "Exemplars that are kept; the oldest make room for new ones. 0 keeps none."},
    {.key = "tsdb.created_timestamp_zero_ingestion",
     .type = YAML_TYPE_BOOLEAN,
     AT(tsdb.created_timestamp_zero_ingestion),
     .default_text = "false",
     .doc = "A counter that says when it was created gets a sample of 0 at that time."},
    {.key = "tsdb.remote_read_size",
     .type = YAML_TYPE_BYTES,
     AT(tsdb.remote_read_size),
     .default_text = "256MiB",
     .min = MIB(1),
     .max = MIB(65536),
     .doc = "An answer of `/api/v1/read` that would be larger is refused: it is in memory as a whole."},
    {.key = "promql.max_samples",
     .type = YAML_TYPE_INTEGER,
     AT(promql.max_samples),
     .default_text = "50000000",
     .min = 1,
     .max = INT64_C(1000000000000),
     .doc = "A query that needs more samples in memory at a time is ended; about 8 bytes each."},
    {.key = "promql.lookback_delta",
     .type = YAML_TYPE_DURATION,
     AT(promql.lookback_delta),
     .default_text = "5m",
     .min = 1,
     .max = DAYS(31),
     .doc = "So old a sample still stands for its series where there is no newer one."},
    {.key = "promql.timeout",
     .type = YAML_TYPE_DURATION,
     AT(promql.timeout),
     .default_text = "2m",
     .min = 1,
     .max = SECONDS(86400),
     .doc = "A query that takes longer is ended. A request may ask for less by `timeout=`."},
    {.key = "promql.subquery_step",
     .type = YAML_TYPE_DURATION,
     AT(promql.subquery_step),
     .default_text = "1m",
     .min = 1,
     .max = DAYS(31),
     .doc = "Step of a sub-query that says none, as `[1h:]`."},
    {.key = "promql.threads",
     .type = YAML_TYPE_INTEGER,
     AT(promql.threads),
     .default_text = "0",
     .min = 0,
     .max = 16,
     .doc = "Threads that work on one large query; 0 is one a core."},
    {.key = "promql.max_concurrency",
     .type = YAML_TYPE_INTEGER,
     AT(promql.max_concurrency),
     .default_text = "20",
     .min = 1,
     .max = 1000,
     .doc = "Questions to the time-series store that are answered at a time; others wait for their turn."},
    {.key = "promql.cache_size",
     .type = YAML_TYPE_BYTES,
     AT(promql.cache_size),
     .default_text = "32MiB",
     .min = 0,
     .max = SIZE_MAX_OK,
     .doc =
         "Memory for answers of range queries, from which the next query of a dashboard takes what has not changed; 0: "
         "every query is computed in full."},
    {.key = "promql.experimental",
     .type = YAML_TYPE_BOOLEAN,
     AT(promql.experimental),
     .default_text = "false",
     .doc = "Allows the functions and modifiers that Prometheus keeps behind a feature flag."},
    {.key = "rules.files",
     .type = YAML_TYPE_TEXT_LIST,
     AT(rules.files),
     .doc = "Rule files, in Prometheus' format; `*`, `?` and `[]` stand for what the shell takes them for."},
    {.key = "rules.interval",
     .type = YAML_TYPE_DURATION,
     AT(rules.interval),
     .default_text = "1m",
     .min = 1,
     .max = DAYS(31),
     .doc = "How often groups are evaluated that say no interval."},
    {.key = "rules.query_offset",
     .type = YAML_TYPE_DURATION,
     AT(rules.query_offset),
     .default_text = "0s",
     .min = 0,
     .max = DAYS(31),
     .doc = "So far back groups query that say no offset: time for late samples to come in."},
    {.key = "rules.outage_tolerance",
     .type = YAML_TYPE_DURATION,
     AT(rules.outage_tolerance),
     .default_text = "1h",
     .min = 0,
     .max = DAYS(31),
     .doc = "After a restart alerts go on where they were, unless that was longer ago. 0: they begin anew."},
    {.key = "alerting.config",
     .type = YAML_TYPE_TEXT,
     AT(alerting.config),
     .doc =
         "Alertmanager's configuration file: who is told of which alerts. Without one alerts are shown, and nobody is "
         "told."},
    {.key = ALERTMANAGERS,
     .type = YAML_TYPE_TEXT_LIST,
     AT(alerting.alertmanagers),
     .doc = "Addresses of Alertmanagers that the alerts of rules are sent to, as `http://alertmanager:9093`; they tell "
            "people, and nothing is told from here."},
    {.key = "alerting.max_alerts",
     .type = YAML_TYPE_INTEGER,
     AT(alerting.max_alerts),
     .default_text = "200000",
     .min = 1,
     .max = 100000000,
     .doc = "Alerts that are known at the same time, about 1 KiB each; further ones are refused."},
    {.key = "scrape.config",
     .type = YAML_TYPE_TEXT,
     AT(scrape.config),
     .doc = "Prometheus' configuration file: its `scrape_configs` are scraped, the rest of it is left alone."},
    {.key = "scrape.host",
     .type = YAML_TYPE_BOOLEAN,
     AT(scrape.host),
     .default_text = "true",
     .doc = "The job `node`: figures of this machine, as node_exporter has them. Not when the file has a job of that "
            "name, or one with the collector `host`."},
    {.key = "scrape.self",
     .type = YAML_TYPE_BOOLEAN,
     AT(scrape.self),
     .default_text = "true",
     .doc = "The job `apiary`: this server's own `/metrics`. Not when the file has a job of that name, or one with the "
            "collector `self`."},
    {.key = "scrape.interval",
     .type = YAML_TYPE_DURATION,
     AT(scrape.interval),
     .default_text = "15s",
     .min = SECONDS(1),
     .max = DAYS(1),
     .doc = "How often these two, and the job `postgres`, are asked."},
    {.key = "otlp.listen",
     .type = YAML_TYPE_TEXT_LIST,
     AT(otlp.listen),
     .default_text = "127.0.0.1:4318",
     .doc = "Further addresses with port, for OpenTelemetry alone: its exporters send to 4318 unless told otherwise. "
            "An empty list: none. "
            "The default address is left out, with a warning, when it is in use."},
    {.key = "otlp.translation_strategy",
     .type = YAML_TYPE_CHOICE,
     AT(otlp.translation_strategy),
     .default_text = "UnderscoreEscapingWithSuffixes",
     .choices = otlp_strategies,
     .doc =
         "How OpenTelemetry's names become metric and label names: `http.duration` in `s` as `http_duration_seconds`, "
         "`http_duration`, `http.duration_seconds`, or as it is."},
    {.key = "otlp.promote_resource_attributes",
     .type = YAML_TYPE_TEXT_LIST,
     AT(otlp.promote_resource_attributes),
     .doc = "Attributes of resources that become labels of their series, beside `job` and `instance`."},
    {.key = "otlp.promote_all_resource_attributes",
     .type = YAML_TYPE_BOOLEAN,
     AT(otlp.promote_all_resource_attributes),
     .default_text = "false",
     .doc = "All of them become labels, but those of `otlp.ignore_resource_attributes`."},
    {.key = "otlp.ignore_resource_attributes",
     .type = YAML_TYPE_TEXT_LIST,
     AT(otlp.ignore_resource_attributes),
     .doc = "With `otlp.promote_all_resource_attributes`: those that do not."},
    {.key = "otlp.keep_identifying_resource_attributes",
     .type = YAML_TYPE_BOOLEAN,
     AT(otlp.keep_identifying_resource_attributes),
     .default_text = "false",
     .doc = "`target_info` also has `service.name`, `service.namespace` and `service.instance.id`, of which `job` and "
            "`instance` are made."},
    {.key = "otlp.promote_scope_metadata",
     .type = YAML_TYPE_BOOLEAN,
     AT(otlp.promote_scope_metadata),
     .default_text = "false",
     .doc = "Name, version, schema and attributes of the instrumentation scope become labels `otel_scope_…`."},
    {.key = "otlp.convert_histograms_to_nhcb",
     .type = YAML_TYPE_BOOLEAN,
     AT(otlp.convert_histograms_to_nhcb),
     .default_text = "false",
     .doc = "Histograms with explicit bounds become native histograms with custom buckets, not one series a bucket."},
    {.key = "otlp.label_name_underscore_sanitization",
     .type = YAML_TYPE_BOOLEAN,
     AT(otlp.label_name_underscore_sanitization),
     .default_text = "true",
     .doc = "Where names are escaped, the attribute `_a` becomes the label `key_a`."},
    {.key = "otlp.label_name_preserve_multiple_underscores",
     .type = YAML_TYPE_BOOLEAN,
     AT(otlp.label_name_preserve_multiple_underscores),
     .default_text = "true",
     .doc = "Where names are escaped, the attribute `a..b` becomes the label `a__b`; otherwise `a_b`."},
    {.key = "otlp.max_delta_streams",
     .type = YAML_TYPE_INTEGER,
     AT(otlp.max_delta_streams),
     .default_text = "1000000",
     .min = 1,
     .max = 1000000000,
     .doc = "Series of delta temporality whose sums are in memory, some 200 bytes each. Above it those go that were "
            "used the longest "
            "time ago, and come back from the store."},
    {.key = "otlp.delta_stream_idle",
     .type = YAML_TYPE_DURATION,
     AT(otlp.delta_stream_idle),
     .default_text = "10m",
     .min = SECONDS(1),
     .max = DAYS(31),
     .doc = "And those that got nothing for so long."},
    {.key = "probes.modules",
     .type = YAML_TYPE_TEXT,
     AT(probes.modules),
     .doc =
         "File of modules for the collector `probe` and for `/probe`, as blackbox_exporter has it. Without: http_2xx, "
         "http_post_2xx, tcp_connect, icmp, dns."},
    {.key = "host.proc",
     .type = YAML_TYPE_TEXT,
     AT(host.proc),
     .default_text = "/proc",
     .doc = "Where the collector `host` reads; in a container, where the host's is mounted."},
    {.key = "host.sys", .type = YAML_TYPE_TEXT, AT(host.sys), .default_text = "/sys", .doc = "The same for /sys."},
    {.key = "host.root",
     .type = YAML_TYPE_TEXT,
     AT(host.root),
     .default_text = "/",
     .doc = "The same for /, below which it asks for the size of file systems."},
    {.key = "host.textfile",
     .type = YAML_TYPE_TEXT,
     AT(host.textfile),
     .doc = "A directory whose files NAME.prom, in Prometheus' text format, the collector `host` says too."},
    {.key = POSTGRES_CONNECTIONS,
     .type = YAML_TYPE_TEXT_MAP,
     AT(postgres.connections),
     .doc =
         "PostgreSQL servers of which the job `postgres` collects figures: a name, and how it is reached, as `main: "
         "postgresql://monitor@db1/postgres` or as `host=… user=…`. Passwords are better in a file (`passfile=`); they "
         "are shown nowhere."},
    {.key = "postgres.max_statements",
     .type = YAML_TYPE_INTEGER,
     AT(postgres.max_statements),
     .default_text = "100",
     .min = 0,
     .max = 5000,
     .doc = "Statements of `pg_stat_statements` that have figures: those that took the most time. 0: none."},
    {.key = "postgres.max_databases",
     .type = YAML_TYPE_INTEGER,
     AT(postgres.max_databases),
     .default_text = "50",
     .min = 1,
     .max = 1000,
     .doc = "Databases of a server that have figures, and are visited for those of their tables."},
    {.key = "postgres.max_tables",
     .type = YAML_TYPE_INTEGER,
     AT(postgres.max_tables),
     .default_text = "500",
     .min = 0,
     .max = 100000,
     .doc = "Tables of a database that have figures, and as many indexes: the largest. 0: none."},
    {.key = "limits.header",
     .type = YAML_TYPE_BYTES,
     AT(limits.header),
     .default_text = "8KiB",
     .min = 1024,
     .max = MIB(1),
     .doc = "Request line and header fields."},
    {.key = "limits.body",
     .type = YAML_TYPE_BYTES,
     AT(limits.body),
     .default_text = "8MiB",
     .min = 1024,
     .max = MIB(1024),
     .doc = "Body as it comes over the wire."},
    {.key = "limits.decompressed_body",
     .type = YAML_TYPE_BYTES,
     AT(limits.decompressed_body),
     .default_text = "32MiB",
     .min = 1024,
     .max = MIB(1024),
     .doc = "Body after decompression."},
    {.key = "limits.body_memory",
     .type = YAML_TYPE_BYTES,
     AT(limits.body_memory),
     .default_text = "256MiB",
     .min = MIB(1),
     .max = SIZE_MAX_OK,
     .doc = "Bodies of all requests together."},
    {.key = "limits.connections",
     .type = YAML_TYPE_INTEGER,
     AT(limits.connections),
     .default_text = "4096",
     .min = 1,
     .max = 1000000,
     .doc = "Connections in all."},
    {.key = "limits.connections_per_address",
     .type = YAML_TYPE_INTEGER,
     AT(limits.connections_per_address),
     .default_text = "256",
     .min = 1,
     .max = 1000000,
     .doc = "Connections of one IPv4 address or IPv6 /64 network."},
    {.key = "limits.idle_timeout",
     .type = YAML_TYPE_DURATION,
     AT(limits.idle_timeout),
     .default_text = "60s",
     .min = SECONDS(1),
     .max = SECONDS(86400),
     .doc = "A connection without a request for this long is closed."},
    {.key = "limits.request_timeout",
     .type = YAML_TYPE_DURATION,
     AT(limits.request_timeout),
     .default_text = "30s",
     .min = SECONDS(1),
     .max = SECONDS(86400),
     .doc = "A request must have come in completely within this time."},
    {.key = "ingest.trusted_proxies",
     .type = YAML_TYPE_TEXT_LIST,
     AT(ingest.trusted_proxies),
     .default_text = "127.0.0.0/8, ::1/128",
     .doc = "Addresses or networks whose X-Forwarded-For is believed."},
    {.key = "ingest.influx_separator",
     .type = YAML_TYPE_TEXT,
     AT(ingest.influx_separator),
     .default_text = "_",
     .doc = "What stands between measurement and field in the name of a series that came by InfluxDB line protocol."},
    {.key = "push.interval",
     .type = YAML_TYPE_DURATION,
     AT(push.interval),
     .default_text = "15s",
     .min = SECONDS(1),
     .max = SECONDS(300),
     .doc = "How often metrics that were pushed to `/metrics/job/…` are written again."},
    {.key = "push.expire",
     .type = YAML_TYPE_DURATION,
     AT(push.expire),
     .default_text = "0s",
     .min = 0,
     .max = DAYS(36500),
     .doc = "A group that nobody has pushed to for so long is removed; 0 keeps it until it is deleted, as the "
            "Pushgateway does."},
    {.key = "push.max_groups",
     .type = YAML_TYPE_INTEGER,
     AT(push.max_groups),
     .default_text = "10000",
     .min = 1,
     .max = 10000000,
     .doc = "Groups of pushed metrics. Pushes to further ones are refused."},
    {.key = "push.max_size",
     .type = YAML_TYPE_BYTES,
     AT(push.max_size),
     .default_text = "64MiB",
     .min = MIB(1),
     .max = MIB(4096),
     .doc = "Memory for pushed metrics, all together. Pushes that need more are refused."},
    {.key = "statsd.listen",
     .type = YAML_TYPE_TEXT,
     AT(statsd.listen),
     .doc =
         "UDP address that takes StatsD: `127.0.0.1:8125`. No keys are asked for there. Without one, StatsD is off."},
    {.key = "statsd.flush_interval",
     .type = YAML_TYPE_DURATION,
     AT(statsd.flush_interval),
     .default_text = "10s",
     .min = SECONDS(1),
     .max = SECONDS(300),
     .doc = "How often what came in by StatsD is written."},
    {.key = "statsd.expire",
     .type = YAML_TYPE_DURATION,
     AT(statsd.expire),
     .default_text = "1h",
     .min = 0,
     .max = DAYS(36500),
     .doc = "A series that nothing came in for this long ends; 0: none does."},
    {.key = "statsd.max_series",
     .type = YAML_TYPE_INTEGER,
     AT(statsd.max_series),
     .default_text = "100000",
     .min = 1,
     .max = 100000000,
     .doc = "Series that come by StatsD. Lines of further ones are left out."},
    {.key = "privacy.hash_user_ids",
     .type = YAML_TYPE_BOOLEAN,
     AT(privacy.hash_user_ids),
     .default_text = "false",
     .doc = "Keep user and installation ids as keyed hashes only."},
    {.key = "geo.database",
     .type = YAML_TYPE_TEXT,
     AT(geo.database),
     .doc = "Country database in MMDB format. Without one, the database that was installed with the program."},
};
enum { SETTING_COUNT = AP_ARRAY_COUNT(settings) };

struct config_memory {
    struct yaml_document *file;  /* owned; NULL: none was given */
    struct yaml_document *texts; /* owned; where values from flags, environment and defaults live */
    const char *origins[SETTING_COUNT];
};

static void *target_of(struct config *config, const struct yaml_field *setting)
{
    return (char *)config + setting->offset;
}

static const struct yaml_field *find_setting(struct ap_slice key)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if (ap_slice_equal_cstr(key, settings[i].key))
            return &settings[i];
    }
    return NULL;
}

static void remember_origin(struct config *config, const struct yaml_field *setting, const char *origin)
{
    config->memory->origins[setting - settings] = origin;
}

bool config_is_default(const struct config *config, const char *key)
{
    const struct yaml_field *setting = find_setting(ap_slice_cstr(key));
    AP_ASSERT(setting != NULL);
    return strcmp(config->memory->origins[setting - settings], "default") == 0;
}

static enum ap_rc read_defaults(struct config *config, struct ap_err *err)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        remember_origin(config, &settings[i], "default");
        if (!settings[i].default_text)
            continue;
        enum ap_rc rc = yaml_read_text(config->memory->texts, &settings[i], ap_slice_cstr(settings[i].default_text),
                                       target_of(config, &settings[i]), err);
        AP_ASSERT(rc == AP_OK);
    }
    return AP_OK;
}

/* ---- The file ---- */

/* The keys that may stand here: top level (section data NULL), or in one section. */
static size_t known_keys(struct ap_slice section, const char *known[SETTING_COUNT], char sections[][KEY_BYTES])
{
    size_t count = 0;
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        struct ap_slice rest = ap_slice_cstr(settings[i].key);
        struct ap_slice head = ap_slice_split(&rest, '.');
        if (section.data) {
            if (rest.data && ap_slice_equal(head, section))
                known[count++] = rest.data;
            continue;
        }
        snprintf(sections[count], KEY_BYTES, "%.*s", AP_SLICE_ARG(head));
        if (count == 0 || strcmp(sections[count], known[count - 1]) != 0) {
            known[count] = sections[count];
            count++;
        }
    }
    return count;
}

static enum ap_rc fail_key(const struct yaml_node *value, struct ap_slice section, struct ap_err *err)
{
    const char *known[SETTING_COUNT];
    char sections[SETTING_COUNT + 1][KEY_BYTES];
    size_t known_count = known_keys(section, known, sections);
    return yaml_fail_unknown_key(err, value->key, known, known_count);
}

static bool is_section(struct ap_slice key)
{
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        struct ap_slice rest = ap_slice_cstr(settings[i].key);
        struct ap_slice head = ap_slice_split(&rest, '.');
        if (rest.data && ap_slice_equal(head, key))
            return true;
    }
    return false;
}

static enum ap_rc read_setting(struct config *config, struct ap_slice section, const struct yaml_node *value,
                               struct ap_err *err)
{
    char key[2 * KEY_BYTES];
    struct ap_slice name = value->key->text;
    if (section.data)
        snprintf(key, sizeof(key), "%.*s.%.*s", AP_SLICE_ARG(section), (int)AP_MIN(name.bytes, KEY_BYTES), name.data);
    else
        snprintf(key, sizeof(key), "%.*s", (int)AP_MIN(name.bytes, KEY_BYTES), name.data);
    /* A dotted key is not another way to write a section: then "wal.max_size" could be given twice. */
    const struct yaml_field *setting = memchr(name.data, '.', name.bytes) ? NULL : find_setting(ap_slice_cstr(key));
    if (!setting)
        return fail_key(value, section, err);
    if (yaml_is_null(value))
        return AP_OK;
    enum ap_rc rc = yaml_read_node(value, setting, target_of(config, setting), err);
    if (rc == AP_OK) {
        char *origin = ap_asprintf("%s:%d", yaml_file(value->document), value->line);
        const char *kept = origin;
        struct yaml_field text = {.key = "origin", .type = YAML_TYPE_TEXT};
        rc = yaml_read_text(config->memory->texts, &text, ap_slice_cstr(origin), &kept, err);
        free(origin);
        remember_origin(config, setting, kept);
    }
    return rc;
}

static enum ap_rc read_file(struct config *config, struct ap_err *err)
{
    const struct yaml_node *root = yaml_root(config->memory->file);
    if (root->kind != YAML_KIND_MAP)
        return yaml_fail(err, root, "expected settings such as \"listen: 127.0.0.1:8484\", found a %s",
                         yaml_kind_name(root->kind));
    enum ap_rc rc = AP_OK;
    for (const struct yaml_node *value = root->first; value && rc == AP_OK; value = value->next) {
        struct ap_slice key = value->key->text;
        if (!is_section(key)) {
            rc = read_setting(config, (struct ap_slice){0}, value, err);
            continue;
        }
        if (yaml_is_null(value))
            continue;
        if (value->kind != YAML_KIND_MAP)
            return yaml_fail(err, value, "%.*s: expected a map of settings, found a %s", AP_SLICE_ARG(key),
                             yaml_kind_name(value->kind));
        for (const struct yaml_node *member = value->first; member && rc == AP_OK; member = member->next)
            rc = read_setting(config, key, member, err);
    }
    return rc;
}

/* ---- Environment and flags ---- */

/* "wal.max_size" → "APIARY_WAL_MAX_SIZE". */
static void environment_name(const char *key, char name[ENVIRONMENT_NAME_BYTES])
{
    snprintf(name, ENVIRONMENT_NAME_BYTES, "APIARY_%s", key);
    for (char *c = name; *c; c++)
        *c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
}

static enum ap_rc read_variable(struct config *config, const char *variable, struct ap_err *err)
{
    struct ap_slice value = ap_slice_cstr(variable);
    struct ap_slice name = ap_slice_split(&value, '=');
    for (size_t i = 0; i < SETTING_COUNT && value.data; i++) {
        char expected[ENVIRONMENT_NAME_BYTES];
        environment_name(settings[i].key, expected);
        if (!ap_slice_equal_cstr(name, expected))
            continue;
        enum ap_rc rc =
            yaml_read_text(config->memory->texts, &settings[i], value, target_of(config, &settings[i]), err);
        if (rc != AP_OK)
            return ap_err_prefix(err, "environment variable %s", expected);
        remember_origin(config, &settings[i], "environment");
        return AP_OK;
    }
    return AP_OK; /* other programs have variables too, and so may what starts this one */
}

static enum ap_rc read_flag(struct config *config, const struct config_flag *flag, struct ap_err *err)
{
    const struct yaml_field *setting = find_setting(ap_slice_cstr(flag->key));
    if (!setting) {
        const char *known[SETTING_COUNT];
        for (size_t i = 0; i < SETTING_COUNT; i++)
            known[i] = settings[i].key;
        const char *nearest = yaml_nearest(ap_slice_cstr(flag->key), known, SETTING_COUNT);
        return ap_fail(err, AP_E_PARSE, "unknown setting \"%s\"%s%s%s", flag->key, nearest ? "; did you mean \"" : "",
                       nearest ? nearest : "", nearest ? "\"?" : "");
    }
    enum ap_rc rc =
        yaml_read_text(config->memory->texts, setting, ap_slice_cstr(flag->value), target_of(config, setting), err);
    if (rc != AP_OK)
        return ap_err_prefix(err, "flag");
    remember_origin(config, setting, "flag");
    return AP_OK;
}

static enum ap_rc read_sources(struct config *config, const struct config_flag *flags, size_t flag_count,
                               const char *file, const char *const *environment, struct ap_err *err)
{
    enum ap_rc rc = yaml_parse(ap_slice("", 0), "settings", &config->memory->texts, err);
    if (rc == AP_OK)
        rc = read_defaults(config, err);
    if (rc == AP_OK && file) {
        rc = yaml_load(file, &config->memory->file, err);
        if (rc == AP_OK)
            rc = read_file(config, err);
    }
    for (; rc == AP_OK && environment && *environment; environment++)
        rc = read_variable(config, *environment, err);
    for (size_t i = 0; rc == AP_OK && i < flag_count; i++)
        rc = read_flag(config, &flags[i], err);
    return rc;
}

enum ap_rc config_load(const struct config_flag *flags, size_t flag_count, const char *file,
                       const char *const *environment, struct config **ret_config, struct ap_err *err)
{
    AP_AUTO(config) struct config *config = ap_new0(struct config);
    config->memory = ap_new0(struct config_memory);
    enum ap_rc rc = read_sources(config, flags, flag_count, file, environment, err);
    if (rc == AP_OK)
        *ret_config = AP_MOVE(config);
    return rc;
}

void config_free(struct config *config)
{
    if (!config)
        return;
    yaml_free(config->memory->file);
    yaml_free(config->memory->texts);
    free(config->memory);
    free(config);
}

/* ---- Checks ---- */

enum ap_rc config_split_address(const char *text, char ret_address[64], uint16_t *ret_port, struct ap_err *err)
{
    const char *colon = strrchr(text, ':');
    int64_t port;
    if (!colon || !yaml_parse_integer(ap_slice_cstr(colon + 1), &port) || port < 0 || port > UINT16_MAX)
        return ap_fail(err, AP_E_PARSE, "listen: expected an address with a port such as 127.0.0.1:8484, found \"%s\"",
                       text);
    struct ap_slice host = ap_slice(text, (size_t)(colon - text));
    bool is_bracketed = host.bytes >= 2 && host.data[0] == '[' && host.data[host.bytes - 1] == ']';
    if (is_bracketed)
        host = ap_slice(host.data + 1, host.bytes - 2);
    char address[64];
    snprintf(address, sizeof(address), "%.*s", AP_SLICE_ARG(host));
    if (host.bytes == 0)
        strcpy(address, "0.0.0.0");
    else if (strcmp(address, "localhost") == 0)
        strcpy(address, "127.0.0.1");
    unsigned char bytes[16];
    if (host.bytes >= sizeof(address) || inet_pton(is_bracketed ? AF_INET6 : AF_INET, address, bytes) != 1)
        return ap_fail(err, AP_E_PARSE,
                       "listen: \"%s\" is not a numeric address; write 0.0.0.0:8484, 127.0.0.1:8484 or [::1]:8484",
                       text);
    memcpy(ret_address, address, sizeof(address));
    *ret_port = (uint16_t)port;
    return AP_OK;
}

bool config_is_loopback(const char *address)
{
    struct in_addr ipv4;
    struct in6_addr ipv6;
    if (inet_pton(AF_INET, address, &ipv4) == 1)
        return ntohl(ipv4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, address, &ipv6) == 1 && IN6_IS_ADDR_LOOPBACK(&ipv6);
}

static enum ap_rc fail_text(const struct yaml_texts *texts, size_t index, struct ap_err *err, const char *sentence)
{
    if (texts->nodes && texts->nodes[index])
        return yaml_fail(err, texts->nodes[index], "%s", sentence);
    return ap_fail(err, AP_E_PARSE, "%s", sentence);
}

static enum ap_rc check_addresses(const struct config *config, const struct yaml_texts *listen, struct ap_err *err)
{
    for (size_t i = 0; i < listen->count; i++) {
        char address[64];
        uint16_t port;
        struct ap_err reason;
        if (config_split_address(listen->items[i], address, &port, &reason) != AP_OK)
            return fail_text(listen, i, err, reason.text);
        if (config->open && !config_is_loopback(address))
            return ap_fail(err, AP_E_PARSE,
                           "open: everybody who reaches %s could read and write without a key; listen on 127.0.0.1 "
                           "or [::1] only, or leave \"open\" away and make keys with `apiary key create`",
                           listen->items[i]);
    }
    return AP_OK;
}

static enum ap_rc check_listen(const struct config *config, struct ap_err *err)
{
    if (config->listen.count == 0)
        return ap_fail(err, AP_E_PARSE, "listen: at least one address is needed, such as 127.0.0.1:8484");
    enum ap_rc rc = check_addresses(config, &config->listen, err);
    return rc == AP_OK ? check_addresses(config, &config->otlp.listen, err) : rc;
}

static enum ap_rc check_otlp(const struct config *config, struct ap_err *err)
{
    if (config->otlp.promote_all_resource_attributes && config->otlp.promote_resource_attributes.count)
        return fail_text(&config->otlp.promote_resource_attributes, 0, err,
                         "otlp.promote_resource_attributes names what otlp.promote_all_resource_attributes promotes "
                         "already; keep one of them");
    if (!config->otlp.promote_all_resource_attributes && config->otlp.ignore_resource_attributes.count)
        return fail_text(&config->otlp.ignore_resource_attributes, 0, err,
                         "otlp.ignore_resource_attributes needs otlp.promote_all_resource_attributes");
    return AP_OK;
}

static enum ap_rc check_hosts(const struct config *config, struct ap_err *err)
{
    for (size_t i = 0; i < config->hosts.count; i++) {
        if (config->hosts.items[i][0] != '/')
            return fail_text(&config->hosts, i, err, "hosts: expected a path such as / or /siem");
        if (strpbrk(config->hosts.keys[i], "/:") || config->hosts.keys[i][0] == '\0')
            return fail_text(&config->hosts, i, err, "hosts: expected a host name without port or path as the key");
    }
    return AP_OK;
}

enum ap_rc config_check(const struct config *config, struct ap_err *err)
{
    enum ap_rc rc = check_listen(config, err);
    if (rc == AP_OK)
        rc = check_hosts(config, err);
    if (rc == AP_OK)
        rc = check_otlp(config, err);
    if (rc != AP_OK)
        return rc;
    if (config->data[0] == '\0')
        return ap_fail(err, AP_E_PARSE, "data: expected a directory");
    if (!config->tls.certificate != !config->tls.key)
        return ap_fail(err, AP_E_PARSE, "tls: certificate and key are needed both, or neither; %s is missing",
                       config->tls.key ? "tls.certificate" : "tls.key");
    if (config->wal.max_size < 2 * config->wal.segment_size)
        return ap_fail(err, AP_E_PARSE, "wal.max_size must be at least twice wal.segment_size");
    if (DAYS(1) % config->tsdb.block_range != 0)
        return ap_fail(err, AP_E_PARSE, "tsdb.block_range must divide a day, as 2h, 1h and 30m do");
    if (config->alerting.config && config->alerting.alertmanagers.count)
        return ap_fail(err, AP_E_PARSE,
                       "alerting.config and " ALERTMANAGERS " are both set: people are told from here or from there");
    if (config->limits.body_memory < config->limits.decompressed_body)
        return ap_fail(err, AP_E_PARSE, "limits.body_memory must be at least limits.decompressed_body");
    return AP_OK;
}

/* ---- Printing ---- */

static void print_bytes(int64_t bytes, struct ap_buf *out)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    for (; bytes != 0 && bytes % 1024 == 0 && unit + 1 < AP_ARRAY_COUNT(units); unit++)
        bytes /= 1024;
    ap_buf_printf(out, "%" PRId64 "%s", bytes, units[unit]);
}

static void print_duration(int64_t ms, struct ap_buf *out)
{
    static const struct {
        int64_t ms;
        const char *name;
    } units[] = {{DAYS(1), "d"}, {SECONDS(3600), "h"}, {SECONDS(60), "m"}, {SECONDS(1), "s"}, {1, "ms"}};
    for (size_t i = 0; ms != 0 && i < AP_ARRAY_COUNT(units); i++) {
        if (ms % units[i].ms == 0) {
            ap_buf_printf(out, "%" PRId64 "%s", ms / units[i].ms, units[i].name);
            return;
        }
    }
    ap_buf_add_cstr(out, "0");
}

static void print_text(const char *text, struct ap_buf *out)
{
    if (text)
        ap_buf_add_json_string(out, ap_slice_cstr(text)); /* also a text in double quotes in YAML */
}

/* As Prometheus shows what is secret; as a file it is then refused and does not connect to somewhere else. */
static void print_secrets(const struct yaml_texts *texts, bool is_map, struct ap_buf *out)
{
    ap_buf_add_char(out, is_map ? '{' : '[');
    for (size_t i = 0; i < texts->count; i++) {
        ap_buf_add_cstr(out, i > 0 ? ", " : "");
        if (is_map) {
            print_text(texts->keys[i], out);
            ap_buf_add_cstr(out, ": ");
        }
        ap_buf_add_cstr(out, "\"<secret>\"");
    }
    ap_buf_add_char(out, is_map ? '}' : ']');
}

static void print_texts(const struct yaml_texts *texts, struct ap_buf *out)
{
    ap_buf_add_char(out, texts->keys ? '{' : '[');
    for (size_t i = 0; i < texts->count; i++) {
        ap_buf_add_cstr(out, i > 0 ? ", " : "");
        if (texts->keys) {
            print_text(texts->keys[i], out);
            ap_buf_add_cstr(out, ": ");
        }
        print_text(texts->items[i], out);
    }
    ap_buf_add_char(out, texts->keys ? '}' : ']');
}

static void print_value(const struct config *config, const struct yaml_field *setting, struct ap_buf *out)
{
    const void *value = (const char *)config + setting->offset;
    switch (setting->type) {
    case YAML_TYPE_TEXT:
        print_text(*(const char *const *)value, out);
        break;
    case YAML_TYPE_INTEGER:
        ap_buf_printf(out, "%" PRId64, *(const int64_t *)value);
        break;
    case YAML_TYPE_BOOLEAN:
        ap_buf_add_cstr(out, *(const bool *)value ? "true" : "false");
        break;
    case YAML_TYPE_DURATION:
        print_duration(*(const int64_t *)value, out);
        break;
    case YAML_TYPE_BYTES:
        print_bytes(*(const int64_t *)value, out);
        break;
    case YAML_TYPE_CHOICE:
        ap_buf_add_cstr(out, setting->choices[*(const int *)value]);
        break;
    case YAML_TYPE_TEXT_LIST:
        if (strcmp(setting->key, ALERTMANAGERS) == 0)
            print_secrets(value, false, out);
        else
            print_texts(value, out);
        break;
    case YAML_TYPE_TEXT_MAP:
        if (strcmp(setting->key, POSTGRES_CONNECTIONS) == 0)
            print_secrets(value, true, out);
        else if (((const struct yaml_texts *)value)->count > 0)
            print_texts(value, out);
        else
            ap_buf_add_cstr(out, "{}");
        break;
    case YAML_TYPE_NUMBER:
    case YAML_TYPE_NODE:
        AP_ASSERT(!"a setting of this type");
    }
}

void config_print(const struct config *config, struct ap_buf *out)
{
    struct ap_slice section = {0};
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        struct ap_slice name = ap_slice_cstr(settings[i].key);
        struct ap_slice head = ap_slice_split(&name, '.');
        if (name.data && !ap_slice_equal(head, section)) {
            ap_buf_printf(out, "%.*s:\n", AP_SLICE_ARG(head));
            section = head;
        }
        size_t line_start = out->bytes;
        ap_buf_printf(out, "%s%s: ", name.data ? "  " : "", name.data ? name.data : settings[i].key);
        print_value(config, &settings[i], out);
        while (out->bytes < line_start + 48)
            ap_buf_add_char(out, ' ');
        ap_buf_printf(out, " # %s\n", config->memory->origins[i]);
    }
}

void config_describe(struct ap_buf *out)
{
    yaml_describe_struct(settings, SETTING_COUNT, out);
}
