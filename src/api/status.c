#include "api/status.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "alert/forwarder.h"
#include "api/figures.h"
#include "api/notify_figures.h"
#include "api/query_figures.h"
#include "base/buf.h"
#include "base/mem.h"
#include "ingest/ingest.h"
#include "ingest/otlp_streams.h"
#include "promql/engine.h"
#include "wal/wal.h"
#include "warehouse/warehouse.h"

/* All figures, taken at about the same time. */
struct figures {
    struct http_stats http;
    struct wal_stats wal;
    struct warehouse_stats warehouse;
    struct tsdb_stats tsdb;
    struct rule_manager_stats rules;
    struct alerting_stats alerting;
    struct scrape_manager_stats targets;
    struct scraper_stats scrapes;
    struct push_stats push;
    struct statsd_stats statsd;
    struct promql_cache_stats promql_cache;
    struct ingest_table_stats ingest[INGEST_ENDPOINT_COUNT];
    struct metrics_stats metrics[METRICS_WAY_COUNT];
    struct otlp_streams_stats deltas;
    uint64_t otlp_cache_bytes;
    uint64_t rss_bytes;
    int64_t now_ms;
};

/* The second number of /proc/self/statm, in pages (proc(5)). */
static uint64_t resident_bytes(void)
{
    char text[128] = "";
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    char *line = fgets(text, sizeof(text), file);
    fclose(file);
    char *second = line ? strchr(line, ' ') : NULL;
    return second ? strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

static void take_figures(const struct api *api, struct figures *figures)
{
    *figures = (struct figures){0};
    /* The first request can come before http_server_open() has returned. */
    const struct http_server *server = __atomic_load_n(&api->server, __ATOMIC_ACQUIRE);
    if (server)
        http_server_stats(server, &figures->http);
    wal_stats_get(api->wal, &figures->wal);
    warehouse_stats_get(api->warehouse, &figures->warehouse);
    tsdb_stats_get(api->tsdb, &figures->tsdb);
    rule_manager_stats_get(api->rules, &figures->rules);
    if (api->alerting)
        alerting_stats_get(api->alerting, &figures->alerting);
    if (api->scrape)
        scrape_manager_stats_get(api->scrape, &figures->targets);
    if (api->scraper)
        scraper_stats_get(api->scraper, &figures->scrapes);
    if (api->push)
        push_stats_get(api->push, &figures->push);
    if (api->statsd)
        statsd_stats_get(api->statsd, &figures->statsd);
    promql_engine_cache_stats(api->engine, &figures->promql_cache);
    ingest_stats_get(api->ingest, figures->ingest);
    ingest_metrics_stats_get(api->ingest, figures->metrics);
    ingest_otlp_stats_get(api->ingest, &figures->deltas);
    figures->otlp_cache_bytes = ingest_otlp_cache_bytes(api->ingest);
    figures->rss_bytes = resident_bytes();
    figures->now_ms = ap_clock_wall_us(api->clock) / AP_US_PER_MS;
}

static void reply_text(struct http_request *request, unsigned status, const char *text)
{
    http_reply(request, &(struct http_reply){
                            .status = status,
                            .content_type = "text/plain; charset=utf-8",
                            .body = ap_slice_cstr(text),
                            .body_owner = HTTP_BODY_STATIC,
                        });
}

void status_handle_healthy(struct api *api, struct http_request *request, struct ap_slice rest)
{
    (void)api;
    (void)rest;
    reply_text(request, 200, "healthy\n");
}

void status_handle_ready(struct api *api, struct http_request *request, struct ap_slice rest)
{
    (void)rest;
    struct warehouse_stats stats;
    warehouse_stats_get(api->warehouse, &stats);
    if (__atomic_load_n(&api->is_draining, __ATOMIC_RELAXED))
        reply_text(request, 503, "shutting down\n");
    else if (!stats.is_caught_up)
        reply_text(request, 503, "reading the log: rows come in, but older ones are not all visible yet\n");
    else
        reply_text(request, 200, "ready\n");
}

void status_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    (void)rest;
    struct figures figures;
    take_figures(api, &figures);
    struct ap_buf out = {0};
    ap_buf_printf(&out,
                  "{\"version\":\"" APIARY_VERSION "\",\"started_ms\":%" PRId64 ",\"now_ms\":%" PRId64
                  ",\"rss_bytes\":%" PRIu64 ",\"is_open\":%s,",
                  api->started_ms, figures.now_ms, figures.rss_bytes, api->is_open ? "true" : "false");
    const struct wal_stats *wal = &figures.wal;
    ap_buf_printf(&out,
                  "\"wal\":{\"durable_lsn\":%" PRIu64 ",\"retained_bytes\":%" PRIu64 ",\"bytes_max\":%" PRIu64
                  ",\"records\":%" PRIu64 ",\"groups\":%" PRIu64 ",\"syncs\":%" PRIu64 ",\"is_failing\":%s},",
                  wal->durable_lsn, wal->retained_bytes, wal->bytes_max, wal->appended_records, wal->appended_groups,
                  wal->syncs, wal->is_failing ? "true" : "false");
    const struct warehouse_stats *warehouse = &figures.warehouse;
    ap_buf_printf(&out,
                  "\"warehouse\":{\"applied_lsn\":%" PRIu64 ",\"is_caught_up\":%s,\"is_failing\":%s,\"bytes\":%" PRIu64
                  ",\"commits\":%" PRIu64 ",\"set_aside\":%" PRIu64 ",\"queries\":%" PRIu64 ",\"cache_hits\":%" PRIu64
                  ",\"last_error\":",
                  warehouse->applied_lsn, warehouse->is_caught_up ? "true" : "false",
                  warehouse->is_failing ? "true" : "false", warehouse->database_bytes, warehouse->commit_count,
                  warehouse->quarantine_count, warehouse->query_count, warehouse->cache_hit_count);
    ap_buf_add_json_string(&out, ap_slice_cstr(warehouse->last_error));
    ap_buf_add_cstr(&out, "},\"tsdb\":");
    figures_add_json(&out, FIGURES_TSDB, &figures.tsdb);
    ap_buf_add_cstr(&out, ",\"rules\":");
    figures_add_json(&out, FIGURES_RULES, &figures.rules);
    ap_buf_add_cstr(&out, ",\"alerting\":");
    figures_add_json(&out, FIGURES_ALERTING, &figures.alerting);
    ap_buf_add_cstr(&out, ",\"targets\":");
    figures_add_json(&out, FIGURES_TARGETS, &figures.targets);
    ap_buf_add_cstr(&out, ",\"scrapes\":");
    figures_add_json(&out, FIGURES_SCRAPES, &figures.scrapes);
    ap_buf_add_cstr(&out, ",\"push\":");
    figures_add_json(&out, FIGURES_PUSH, &figures.push);
    ap_buf_add_cstr(&out, ",\"statsd\":");
    figures_add_json(&out, FIGURES_STATSD, &figures.statsd);
    ap_buf_add_cstr(&out, ",\"ingest\":{");
    for (size_t i = 0; i < INGEST_ENDPOINT_COUNT; i++) {
        const struct ingest_stats *stats = &figures.ingest[i].stats;
        ap_buf_printf(&out,
                      "%s\"%s\":{\"accepted\":%" PRIu64 ",\"rejected\":%" PRIu64 ",\"not_tracked\":%" PRIu64
                      ",\"refused_requests\":%" PRIu64 "}",
                      i ? "," : "", figures.ingest[i].table, stats->rows_accepted_count, stats->rows_rejected_count,
                      stats->rows_dropped_count, stats->requests_refused_count);
    }
    ap_buf_add_cstr(&out, "},\"metrics_ingest\":{");
    for (int i = 0; i < METRICS_WAY_COUNT; i++) {
        const struct metrics_stats *stats = &figures.metrics[i];
        ap_buf_printf(&out,
                      "%s\"%s\":{\"requests\":%" PRIu64 ",\"refused_requests\":%" PRIu64 ",\"samples\":%" PRIu64
                      ",\"histograms\":%" PRIu64 ",\"exemplars\":%" PRIu64 "}",
                      i ? "," : "", metrics_way_name((enum metrics_way)i), stats->requests, stats->requests_refused,
                      stats->samples_written, stats->histograms_written, stats->exemplars_written);
    }
    ap_buf_add_cstr(&out, "}}\n");
    api_reply_json(request, ap_buf_slice(&out));
}

/* ---- /metrics ---- */

enum metric_type { METRIC_COUNTER, METRIC_GAUGE };

static void add_head(struct ap_buf *out, const char *name, enum metric_type type, const char *help)
{
    ap_buf_printf(out, "# HELP apiary_%s %s\n# TYPE apiary_%s %s\n", name, help, name,
                  type == METRIC_COUNTER ? "counter" : "gauge");
}

static void add_metric(struct ap_buf *out, const char *name, enum metric_type type, const char *help, double value)
{
    add_head(out, name, type, help);
    ap_buf_printf(out, "apiary_%s %.17g\n", name, value);
}

static void add_ingest_metrics(struct ap_buf *out, const struct figures *figures)
{
    static const struct {
        const char *name;
        size_t offset; /* of the counter in struct ingest_stats */
        const char *help;
    } counters[] = {
        {"ingest_rows_accepted_total", offsetof(struct ingest_stats, rows_accepted_count),
         "Rows that are durable and were acknowledged."},
        {"ingest_rows_rejected_total", offsetof(struct ingest_stats, rows_rejected_count),
         "Rows that were refused, while others of their request may have been taken."},
        {"ingest_rows_not_tracked_total", offsetof(struct ingest_stats, rows_dropped_count),
         "Rows of clients that asked not to be tracked; counted, not kept."},
        {"ingest_requests_refused_total", offsetof(struct ingest_stats, requests_refused_count),
         "Requests answered with 4xx or 5xx."},
        {"ingest_requests_over_rate_total", offsetof(struct ingest_stats, requests_over_rate_count),
         "Requests answered with 429."},
        {"ingest_requests_unavailable_total", offsetof(struct ingest_stats, requests_unavailable_count),
         "Requests answered with 503."},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(counters); i++) {
        add_head(out, counters[i].name, METRIC_COUNTER, counters[i].help);
        for (size_t j = 0; j < INGEST_ENDPOINT_COUNT; j++) {
            const char *stats = (const char *)&figures->ingest[j].stats;
            ap_buf_printf(out, "apiary_%s{table=\"%s\"} %" PRIu64 "\n", counters[i].name, figures->ingest[j].table,
                          *(const uint64_t *)(const void *)(stats + counters[i].offset));
        }
    }
}

static void add_metrics_ingest_metrics(struct ap_buf *out, const struct figures *figures)
{
    static const struct {
        const char *name;
        const char *labels; /* behind way="…" */
        size_t offset;      /* of the counter in struct metrics_stats */
        const char *help;   /* NULL: the metric before, other labels */
    } counters[] = {
        {"metrics_requests_total", "", offsetof(struct metrics_stats, requests), "Requests that brought metrics."},
        {"metrics_requests_refused_total", "", offsetof(struct metrics_stats, requests_refused),
         "Of these, answered with 4xx or 5xx."},
        {"metrics_requests_unauthorized_total", "", offsetof(struct metrics_stats, requests_unauthorized),
         "Of these, with 401 or 403."},
        {"metrics_requests_over_rate_total", "", offsetof(struct metrics_stats, requests_over_rate),
         "Of these, with 429."},
        {"metrics_requests_unavailable_total", "", offsetof(struct metrics_stats, requests_unavailable),
         "Of these, with 503."},
        {"metrics_body_bytes_total", "", offsetof(struct metrics_stats, body_bytes), "Bytes of bodies, decompressed."},
        {"metrics_samples_written_total", "", offsetof(struct metrics_stats, samples_written),
         "Samples that are durable and were acknowledged."},
        {"metrics_histograms_written_total", "", offsetof(struct metrics_stats, histograms_written),
         "Native histograms that are durable and were acknowledged."},
        {"metrics_exemplars_written_total", "", offsetof(struct metrics_stats, exemplars_written),
         "Exemplars that are durable and were acknowledged."},
        {"metrics_metadata_received_total", "", offsetof(struct metrics_stats, metadata_received),
         "Descriptions of metrics that came in."},
        {"metrics_samples_refused_total", ",reason=\"malformed\"", offsetof(struct metrics_stats, refused_malformed),
         "Samples and histograms that were refused."},
        {"metrics_samples_refused_total", ",reason=\"labels\"", offsetof(struct metrics_stats, refused_labels), NULL},
        {"metrics_samples_refused_total", ",reason=\"series_limit\"", offsetof(struct metrics_stats, refused_series),
         NULL},
        {"metrics_samples_refused_total", ",reason=\"too_old\"", offsetof(struct metrics_stats, refused_old), NULL},
        {"metrics_samples_refused_total", ",reason=\"duplicate\"", offsetof(struct metrics_stats, refused_duplicate),
         NULL},
        {"metrics_samples_refused_total", ",reason=\"future\"", offsetof(struct metrics_stats, refused_future), NULL},
        {"metrics_texts_skipped_total", "", offsetof(struct metrics_stats, texts_skipped),
         "Values left out because they are no numbers."},
        {"metrics_exemplars_refused_total", "", offsetof(struct metrics_stats, exemplars_refused),
         "Exemplars that were refused."},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(counters); i++) {
        if (counters[i].help)
            add_head(out, counters[i].name, METRIC_COUNTER, counters[i].help);
        for (int way = 0; way < METRICS_WAY_COUNT; way++) {
            const char *stats = (const char *)&figures->metrics[way];
            ap_buf_printf(out, "apiary_%s{way=\"%s\"%s} %" PRIu64 "\n", counters[i].name,
                          metrics_way_name((enum metrics_way)way), counters[i].labels,
                          *(const uint64_t *)(const void *)(stats + counters[i].offset));
        }
    }
}

struct forwarder_figure {
    const char *name;
    enum metric_type type;
    size_t offset; /* in struct alert_forwarder_stats */
    const char *help;
};

struct forwarder_figures {
    const struct forwarder_figure *figure;
    struct ap_buf *out;
};

static void add_forwarder_figure(const struct alert_forwarder_stats *stats, void *context)
{
    const struct forwarder_figures *figures = context;
    const struct forwarder_figure *figure = figures->figure;
    ap_buf_printf(figures->out, "apiary_%s{alertmanager=\"%s\"} %" PRIu64 "\n", figure->name, stats->url,
                  *(const uint64_t *)(const void *)((const char *)stats + figure->offset));
}

static void add_forwarder_metrics(struct ap_buf *out, struct alert_forwarder *forwarder)
{
    static const struct forwarder_figure figures[] = {
        {"forwarder_alerts_sent_total", METRIC_COUNTER, offsetof(struct alert_forwarder_stats, sent),
         "Alerts that an Alertmanager elsewhere has taken (alerting.alertmanagers)."},
        {"forwarder_alerts_failed_total", METRIC_COUNTER, offsetof(struct alert_forwarder_stats, errors),
         "Alerts in attempts that failed."},
        {"forwarder_alerts_dropped_total", METRIC_COUNTER, offsetof(struct alert_forwarder_stats, dropped),
         "Alerts that were refused, or found the queue full."},
        {"forwarder_alerts_queued", METRIC_GAUGE, offsetof(struct alert_forwarder_stats, queued),
         "Alerts that wait to be sent."},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(figures); i++) {
        struct forwarder_figures each = {&figures[i], out};
        add_head(out, figures[i].name, figures[i].type, figures[i].help);
        alert_forwarder_each(forwarder, add_forwarder_figure, &each);
    }
}

static void add_delta_metrics(struct ap_buf *out, const struct otlp_streams_stats *deltas)
{
    add_metric(out, "otlp_delta_streams", METRIC_GAUGE, "Series of delta temporality whose sums are in memory.",
               (double)deltas->stream_count);
    add_metric(out, "otlp_delta_streams_let_go_total", METRIC_COUNTER,
               "Sums that were let go because nothing came for long, or too many were there.", (double)deltas->let_go);
    add_metric(out, "otlp_deltas_total", METRIC_COUNTER, "Deltas that came in, by series.", (double)deltas->deltas);
    add_metric(out, "otlp_deltas_repeated_total", METRIC_COUNTER, "Of these, repeated ones.", (double)deltas->repeated);
    add_metric(out, "otlp_deltas_late_total", METRIC_COUNTER, "Of these, added behind a newer sample.",
               (double)deltas->late);
}

static void add_http_metrics(struct ap_buf *out, const struct http_stats *http)
{
    add_head(out, "http_replies_total", METRIC_COUNTER, "Replies by class of status.");
    for (int digit = 1; digit <= 5; digit++)
        ap_buf_printf(out, "apiary_http_replies_total{class=\"%dxx\"} %" PRIu64 "\n", digit,
                      http->replies_count[digit]);
    add_metric(out, "http_connections", METRIC_GAUGE, "Open connections.", http->connections_open);
    add_metric(out, "http_connections_refused_total", METRIC_COUNTER, "Connections over a limit.",
               (double)http->connections_refused_count);
    add_metric(out, "http_connections_cut_total", METRIC_COUNTER, "Connections cut by a deadline.",
               (double)http->connections_cut_count);
    add_metric(out, "http_body_memory_bytes", METRIC_GAUGE, "Memory that request bodies hold.",
               (double)http->body_memory_bytes);
    add_metric(out, "live_pages", METRIC_GAUGE, "Pages that listen for commits.", http->event_streams_open);
}

static void add_store_metrics(struct ap_buf *out, const struct figures *figures)
{
    const struct wal_stats *wal = &figures->wal;
    const struct warehouse_stats *warehouse = &figures->warehouse;
    const struct promql_cache_stats *cache = &figures->promql_cache;
    const struct {
        const char *name;
        enum metric_type type;
        const char *help;
        double value;
    } metrics[] = {
        {"wal_appended_bytes_total", METRIC_COUNTER, "Bytes written to the log.", (double)wal->appended_bytes},
        {"wal_records_total", METRIC_COUNTER, "Records written to the log.", (double)wal->appended_records},
        {"wal_syncs_total", METRIC_COUNTER, "fdatasync calls on the log.", (double)wal->syncs},
        {"wal_sync_seconds_total", METRIC_COUNTER, "Time spent in writing and syncing.", (double)wal->sync_us / 1e6},
        {"wal_retained_bytes", METRIC_GAUGE, "Log that a store still needs.", (double)wal->retained_bytes},
        {"wal_max_bytes", METRIC_GAUGE, "How much that may become (setting wal.max_size).", (double)wal->bytes_max},
        {"wal_failed_records_total", METRIC_COUNTER, "Records that the disk refused.", (double)wal->failed_records},
        {"warehouse_lag_bytes", METRIC_GAUGE, "Log that is durable and not yet visible.",
         (double)(wal->durable_lsn - AP_MIN(warehouse->applied_lsn, wal->durable_lsn))},
        {"warehouse_commits_total", METRIC_COUNTER, "Transactions of the writer.", (double)warehouse->commit_count},
        {"warehouse_failures_total", METRIC_COUNTER, "Transactions that were rolled back and tried again.",
         (double)warehouse->failure_count},
        {"warehouse_records_set_aside_total", METRIC_COUNTER, "Records in _apiary_quarantine since the start.",
         (double)warehouse->quarantine_count},
        {"warehouse_rollups_broken", METRIC_GAUGE, "Roll-ups that are not kept up to date until the next start.",
         (double)warehouse->broken_rollup_count},
        {"warehouse_bytes", METRIC_GAUGE, "Size of the database file.", (double)warehouse->database_bytes},
        {"queries_total", METRIC_COUNTER, "Queries that ran.", (double)warehouse->query_count},
        {"query_failures_total", METRIC_COUNTER, "Queries that failed.", (double)warehouse->query_failure_count},
        {"query_seconds_total", METRIC_COUNTER, "Running time of queries.", (double)warehouse->query_us / 1e6},
        {"query_cache_hits_total", METRIC_COUNTER, "Queries answered from the cache.",
         (double)warehouse->cache_hit_count},
        {"promql_cache_hits_total", METRIC_COUNTER, "Range queries answered without the store.", (double)cache->hits},
        {"promql_cache_partial_hits_total", METRIC_COUNTER, "Range queries of which some steps were computed.",
         (double)cache->partial_hits},
        {"promql_cache_misses_total", METRIC_COUNTER, "Range queries computed in full, of those that may be kept.",
         (double)cache->misses},
        {"promql_cache_evictions_total", METRIC_COUNTER, "Answers that made room for others.",
         (double)cache->evictions},
        {"promql_cache_answers", METRIC_GAUGE, "Answers of range queries that are kept.", (double)cache->answers},
        {"promql_cache_bytes", METRIC_GAUGE, "Memory that they take.", (double)cache->bytes},
        {"resident_memory_bytes", METRIC_GAUGE, "Memory of the process.", (double)figures->rss_bytes},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(metrics); i++)
        add_metric(out, metrics[i].name, metrics[i].type, metrics[i].help, metrics[i].value);
}

static void add_disk_metrics(struct ap_buf *out, const char *dir)
{
    struct statvfs disk;
    if (!dir || statvfs(dir, &disk) != 0)
        return; /* the other figures are as good without */
    add_metric(out, "data_disk_bytes", METRIC_GAUGE, "Size of the file system that the data is on.",
               (double)disk.f_blocks * (double)disk.f_frsize);
    add_metric(out, "data_disk_available_bytes", METRIC_GAUGE, "What of it is left for this process.",
               (double)disk.f_bavail * (double)disk.f_frsize);
}

void status_add_metrics(const struct api *api, struct ap_buf *out)
{
    struct figures figures;
    take_figures(api, &figures);
    add_head(out, "build_info", METRIC_GAUGE, "The program, as labels.");
    ap_buf_add_cstr(out, "apiary_build_info{version=\"" APIARY_VERSION "\"} 1\n");
    add_metric(out, "start_time_seconds", METRIC_GAUGE, "When the process started, since 1970.",
               (double)api->started_ms / 1e3);
    add_ingest_metrics(out, &figures);
    add_metrics_ingest_metrics(out, &figures);
    add_delta_metrics(out, &figures.deltas);
    add_metric(out, "otlp_cache_bytes", METRIC_GAUGE,
               "Memory for what senders of OTLP metrics repeat with every request.", (double)figures.otlp_cache_bytes);
    add_http_metrics(out, &figures.http);
    add_store_metrics(out, &figures);
    add_disk_metrics(out, api->data_dir);
    figures_add_metrics(out, FIGURES_TSDB, &figures.tsdb);
    figures_add_metrics(out, FIGURES_RULES, &figures.rules);
    figures_add_metrics(out, FIGURES_ALERTING, &figures.alerting);
    notify_figures_add_metrics(out, api);
    if (api->forwarder)
        add_forwarder_metrics(out, api->forwarder);
    figures_add_metrics(out, FIGURES_TARGETS, &figures.targets);
    figures_add_metrics(out, FIGURES_SCRAPES, &figures.scrapes);
    figures_add_metrics(out, FIGURES_PUSH, &figures.push);
    figures_add_metrics(out, FIGURES_STATSD, &figures.statsd);
    query_figures_add_metrics(out, api->engine);
}

void status_handle_metrics(struct api *api, struct http_request *request, struct ap_slice rest)
{
    (void)rest;
    struct ap_buf out = {0};
    status_add_metrics(api, &out);
    http_reply(request, &(struct http_reply){
                            .status = 200,
                            .content_type = "text/plain; version=0.0.4; charset=utf-8",
                            .body = ap_buf_slice(&out),
                            .body_owner = HTTP_BODY_TAKEN,
                        });
}
