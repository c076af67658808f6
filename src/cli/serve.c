/*
 * apiary serve: builds everything, in the order in which it depends on each other, and takes it down in reverse.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/api.h"
#include "api/live.h"
#include "api/pool.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/collectors.h"
#include "cli/commands.h"
#include "cli/config.h"
#include "cli/options.h"
#include "cli/paths.h"
#include "cli/serve_alerting.h"
#include "cli/serve_arguments.h"
#include "ingest/geo.h"
#include "ingest/ingest.h"
#include "ingest/otlp_sink.h"
#include "ingest/push.h"
#include "ingest/statsd.h"
#include "meta/keyring.h"
#include "meta/meta.h"
#include "os/fs.h"
#include "os/thread.h"
#include "pack/pack.h"
#include "promql/engine.h"
#include "rules/keep.h"
#include "rules/manager.h"
#include "scrape/manager.h"
#include "scrape/scraper.h"
#include "tsdb/labels.h"
#include "tsdb/tsdb.h"
#include "wal/wal.h"
#include "warehouse/warehouse.h"

enum {
    LISTENERS_MAX = 16,
    DRAIN_MS = 10000,
    LOG_INTERVAL_MS = 1000,
    QUESTIONS_WAITING_MAX = 256,
    CHORES_WAITING_MAX = 16,
    ALERT_QUESTIONS_AT_A_TIME = 4,
    RULE_THREADS = 2,
    PROBES_AT_A_TIME = 16,
    PROBES_WAITING_MAX = 256,
};

/* Everything that the running server is made of; each member is owned. */
struct apiary {
    const struct config *config; /* lent by cli_serve() */
    int data_fd;                 /* the data directory */
    int lock_fd;                 /* data/lock, held with flock(2) */
    int wal_fd;                  /* data/wal */
    struct wal *wal;
    struct tsdb *tsdb;
    struct promql_engine *engine;
    struct pool *questions; /* to the tsdb */
    struct pool *chores;    /* its administration */
    struct pool *alert_questions;
    struct pool *probing; /* probes that somebody asks for */
    struct serve_alerting *alerting;
    struct rules_keep *rules_keep;
    struct rule_manager *rules;
    struct collectors collectors;
    char host_name_text[256];
    const char *host_name; /* that */
    struct scrape_builtin builtins[3];
    size_t builtin_count;
    struct scraper *scraper;
    struct scrape_manager *scrape;
    pthread_mutex_t reload_mutex;  /* one reload at a time */
    struct ap_buf external_labels; /* canonical, or empty */
    struct warehouse *warehouse;
    struct meta *meta;
    struct keyring *keyring;
    struct geo *geo;
    struct push *push;
    struct statsd *statsd; /* NULL: off */
    struct ingest *ingest;
    struct live *live;
    struct pack **packs;
    size_t pack_count;
    const struct rule_group **rule_groups; /* of the packs */
    size_t rule_group_count;
    struct api_host *hosts;
    char *config_text; /* owned */
    struct http_server *server;
    struct http_listener listeners[LISTENERS_MAX];
    char addresses[LISTENERS_MAX][64]; /* what the listeners point to */
    struct otlp_settings otlp;
    struct api api;
};

/* ---- Data directory ---- */

static enum ap_rc open_data(struct apiary *apiary, struct ap_err *err)
{
    enum ap_rc rc = os_dir_open(apiary->config->data, &apiary->data_fd, err);
    if (rc != AP_OK)
        return rc;
    apiary->lock_fd = openat(apiary->data_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (apiary->lock_fd < 0)
        return ap_fail_errno(err, errno, "open %s/lock", apiary->config->data);
    if (flock(apiary->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return ap_fail(err, AP_E_CONFLICT, "%s is in use by another apiary; give each its own --data",
                       apiary->config->data);
    return AP_OK;
}

static enum ap_rc open_wal(struct apiary *apiary, struct ap_err *err)
{
    AP_AUTO_FREE char *dir = ap_asprintf("%s/wal", apiary->config->data);
    enum ap_rc rc = os_dir_open(dir, &apiary->wal_fd, err);
    if (rc != AP_OK)
        return rc;
    struct wal_options options;
    wal_options_init(&options);
    options.segment_bytes = (uint64_t)apiary->config->wal.segment_size;
    options.bytes_max = (uint64_t)apiary->config->wal.max_size;
    options.record_bytes_max = (uint32_t)AP_MIN((uint64_t)options.record_bytes_max, options.segment_bytes / 2);
    uint64_t cut_bytes;
    rc = wal_open(apiary->wal_fd, &options, &apiary->wal, &cut_bytes, err);
    if (rc == AP_OK && cut_bytes)
        ap_log(AP_LOG_WARN, "wal",
               "cut %" PRIu64 " bytes off the end of the log: a write that was under way when the "
               "machine or the process stopped, and that nobody was told had succeeded",
               cut_bytes);
    return rc;
}

/* ---- Stores ---- */

static void tsdb_trouble(const struct ap_err *err, void *context)
{
    (void)context;
    static struct ap_log_limit limit = {.interval_ms = LOG_INTERVAL_MS};
    ap_log_limited(&limit, AP_LOG_WARN, "tsdb", "%s", err->text);
}

static enum ap_rc open_engine(struct apiary *apiary, struct ap_err *err)
{
    const struct config *config = apiary->config;
    struct promql_engine_options options;
    promql_engine_options_init(&options);
    options.threads_max = (uint32_t)config->promql.threads;
    options.samples_max = (uint64_t)config->promql.max_samples;
    options.lookback_ms = config->promql.lookback_delta;
    options.timeout_ms = config->promql.timeout;
    options.subquery_step_ms = config->promql.subquery_step;
    options.is_experimental = config->promql.experimental;
    options.cache_bytes_max = (size_t)config->promql.cache_size;
    return promql_engine_open(&options, &apiary->engine, err);
}

static enum ap_rc open_tsdb(struct apiary *apiary, struct ap_err *err)
{
    const struct config *config = apiary->config;
    AP_AUTO_FREE char *dir = ap_asprintf("%s/tsdb", config->data);
    struct tsdb_options options;
    tsdb_options_init(&options);
    options.dir = dir;
    options.wal = apiary->wal;
    options.series_max = (uint64_t)config->tsdb.max_series;
    options.out_of_order_window_ms = config->tsdb.out_of_order_window;
    options.retention_ms = config->tsdb.retention;
    options.retention_bytes = (uint64_t)config->tsdb.retention_size;
    /* Retention removes whole blocks, so that they may not become much of what is kept. */
    if (options.retention_ms)
        options.block_merge_max_ms = AP_MIN(options.block_merge_max_ms, options.retention_ms / 10);
    options.block_range_ms = config->tsdb.block_range;
    options.exemplars_max = (uint32_t)config->tsdb.max_exemplars;
    options.is_injecting_created_zeros = config->tsdb.created_timestamp_zero_ingestion;
    options.trouble = tsdb_trouble;
    options.context = apiary;
    enum ap_rc rc = tsdb_open(&options, &apiary->tsdb, err);
    if (rc != AP_OK)
        return rc;
    struct tsdb_stats stats;
    tsdb_stats_get(apiary->tsdb, &stats);
    ap_log(AP_LOG_INFO, "tsdb",
           "%" PRIu64 " series in memory, %" PRIu64 " blocks; %" PRIu64 " samples read back from the log in %" PRId64
           " ms",
           stats.head_series, stats.block_count, stats.replayed_samples, stats.replay_ms);
    rc = open_engine(apiary, err);
    if (rc == AP_OK)
        rc = pool_open("tsdb-question", (size_t)config->promql.max_concurrency, QUESTIONS_WAITING_MAX,
                       &apiary->questions, err);
    if (rc == AP_OK)
        rc = pool_open("tsdb-chore", 1, CHORES_WAITING_MAX, &apiary->chores, err);
    return rc;
}

/* ---- Rules and alerting ---- */

static enum ap_rc open_alerting(struct apiary *apiary, struct ap_err *err)
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

static enum ap_rc set_external_labels(struct apiary *apiary, struct ap_err *err)
{
    const struct yaml_texts *texts = &apiary->config->external_labels;
    AP_AUTO_FREE struct label *labels = ap_new0_array(struct label, texts->count + 1);
    for (size_t i = 0; i < texts->count; i++)
        labels[i] = (struct label){ap_slice_cstr(texts->keys[i]), ap_slice_cstr(texts->items[i])};
    if (texts->count == 0)
        return AP_OK;
    enum ap_rc rc = labels_encode(labels, texts->count, &apiary->external_labels, err);
    return rc == AP_OK ? rc : ap_err_prefix(err, "external_labels");
}

/* Those that the packs' alerts became. */
static void collect_rule_groups(struct apiary *apiary)
{
    size_t count = 0;
    for (size_t i = 0; i < apiary->pack_count; i++)
        count += apiary->packs[i]->rule_group_count;
    apiary->rule_groups = ap_new0_array(const struct rule_group *, count + 1);
    for (size_t i = 0; i < apiary->pack_count; i++)
        for (size_t g = 0; g < apiary->packs[i]->rule_group_count; g++)
            apiary->rule_groups[apiary->rule_group_count++] = &apiary->packs[i]->rule_groups[g];
}

static enum ap_rc open_rules(struct apiary *apiary, struct ap_err *err)
{
    const struct config *config = apiary->config;
    enum ap_rc rc = set_external_labels(apiary, err);
    if (rc != AP_OK)
        return rc;
    collect_rule_groups(apiary);
    apiary->rules_keep = rules_keep_new(apiary->tsdb, rules_trouble, apiary);
    const struct rule_manager_options options = {
        .world =
            {
                .engine = apiary->engine,
                .storage = promql_storage_tsdb(apiary->tsdb),
                .keep = rules_keep,
                .context = apiary->rules_keep,
                .tell = alerts_from_rules,
                .tell_context = serve_alerting_from_rules(apiary->alerting, ap_buf_slice(&apiary->external_labels)),
                .external_labels = ap_buf_slice(&apiary->external_labels),
                .external_url = ap_slice_cstr(config->external_url ? config->external_url : ""),
                .query_offset_ms = config->rules.query_offset,
                .restore_ms = config->rules.outage_tolerance,
                .clock = &ap_clock_system,
            },
        .patterns = &config->rules.files,
        .groups = apiary->rule_groups,
        .group_count = apiary->rule_group_count,
        .is_experimental = config->promql.experimental,
        .interval_ms = config->rules.interval,
        .thread_count = RULE_THREADS,
    };
    return rule_manager_open(&options, &apiary->rules, err);
}

/* ---- Scraping ---- */

static enum ap_rc open_collectors(struct apiary *apiary, struct ap_err *err)
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

static void log_ignored(const struct apiary *apiary)
{
    AP_AUTO_FREE char *ignored = scrape_manager_ignored(apiary->scrape);
    if (ignored[0])
        ap_log(AP_LOG_INFO, "scrape", "not read from %s, since it is not about scraping: %s",
               apiary->config->scrape.config, ignored);
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

static enum ap_rc open_scrape(struct apiary *apiary, struct ap_err *err)
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
        .trouble = scrape_trouble,
        .context = apiary,
    };
    enum ap_rc rc = scrape_manager_open(&options, &apiary->scrape, err);
    if (rc == AP_OK)
        log_ignored(apiary);
    return rc == AP_OK ? scraper_open(&scraper_options, &apiary->scraper, err) : rc;
}

/*
 * The stores open one after the other, and the first could already let go of what the second has yet to read: a cursor
 * of the second's name holds the log until that opens its own (wal_cursor_close()).
 */
static enum ap_rc hold_log(struct apiary *apiary, struct ap_err *err)
{
    struct wal_stats stats;
    wal_stats_get(apiary->wal, &stats);
    AP_AUTO(wal_cursor) struct wal_cursor *cursor = NULL;
    return wal_cursor_open(apiary->wal, WAREHOUSE_CURSOR_NAME, stats.oldest_lsn, &cursor, err);
}

static void warehouse_committed(uint64_t lsn, uint64_t tables_mask, void *context)
{
    const struct apiary *apiary = context;
    ingest_note_visible(apiary->ingest, lsn);
    if (tables_mask) /* otherwise it only went past what other stores have in the log */
        live_publish(apiary->live, lsn, tables_mask);
}

static void warehouse_trouble(const struct ap_err *err, void *context)
{
    const struct apiary *apiary = context;
    ingest_note_store_trouble(apiary->ingest);
    static struct ap_log_limit limit = {.interval_ms = LOG_INTERVAL_MS};
    ap_log_limited(&limit, AP_LOG_WARN, "warehouse", "%s; the log keeps the rows, trying again", err->text);
}

static enum ap_rc open_warehouse(struct apiary *apiary, struct ap_err *err)
{
    const struct config *config = apiary->config;
    AP_AUTO_FREE char *dir = ap_asprintf("%s/warehouse", config->data);
    AP_AUTO_FD int dir_fd = -1;
    enum ap_rc rc = os_dir_open(dir, &dir_fd, err);
    if (rc != AP_OK)
        return rc;
    struct warehouse_options options;
    warehouse_options_init(&options);
    options.dir = dir;
    options.memory_bytes_max = (uint64_t)config->warehouse.memory_limit;
    options.threads = (uint32_t)config->warehouse.threads;
    options.reader_count = (uint32_t)config->warehouse.readers;
    options.cache_bytes_max = (uint64_t)config->warehouse.cache_size;
    options.retention_days = (uint32_t)config->warehouse.retention_days;
    options.committed = warehouse_committed;
    options.trouble = warehouse_trouble;
    options.context = apiary;
    return warehouse_open(&options, &apiary->warehouse, err);
}

/* ---- Packs ---- */

static void rebuild_progress(const char *name, unsigned day, unsigned day_count, void *context)
{
    (void)context;
    static struct ap_log_limit limit = {.interval_ms = LOG_INTERVAL_MS};
    ap_log_limited(&limit, AP_LOG_INFO, "pack", "building roll-up %s: day %u of %u", name, day, day_count);
}

static enum ap_rc load_packs(struct apiary *apiary, struct ap_err *err)
{
    const struct yaml_texts *dirs = &apiary->config->packs;
    apiary->packs = ap_new0_array(struct pack *, dirs->count);
    for (size_t i = 0; i < dirs->count; i++) {
        enum ap_rc rc = pack_load(dirs->items[i], &apiary->packs[i], err);
        if (rc != AP_OK)
            return rc;
        apiary->pack_count++;
    }
    const struct pack *const *packs = (const struct pack *const *)apiary->packs;
    enum ap_rc rc = pack_check_together(packs, apiary->pack_count, err);
    if (rc == AP_OK)
        rc = pack_apply(packs, apiary->pack_count, apiary->warehouse, rebuild_progress, NULL, err);
    for (size_t i = 0; i < apiary->pack_count && rc == AP_OK; i++)
        rc = pack_check(packs[i], apiary->warehouse, NULL, NULL, err);
    return rc;
}

/* Rows, on a thread of their own. */
struct opening {
    struct apiary *apiary;
    enum ap_rc rc;
    struct ap_err err;
};

static void *open_rows(void *context)
{
    struct opening *opening = context;
    opening->rc = open_warehouse(opening->apiary, &opening->err);
    if (opening->rc == AP_OK)
        opening->rc = load_packs(opening->apiary, &opening->err);
    return NULL;
}

/* Both stores at the same time: each needs a fraction of a second of a core before the server can answer. */
static enum ap_rc open_stores(struct apiary *apiary, struct ap_err *err)
{
    struct opening opening = {.apiary = apiary};
    pthread_t thread;
    enum ap_rc rc = os_thread_start("open-rows", open_rows, &opening, &thread, err);
    if (rc != AP_OK)
        return rc;
    rc = open_tsdb(apiary, err);
    pthread_join(thread, NULL);
    if (rc == AP_OK && opening.rc != AP_OK)
        *err = opening.err;
    return rc == AP_OK ? opening.rc : rc;
}

/* ---- Keys and ingest ---- */

static enum ap_rc open_meta(struct apiary *apiary, struct ap_err *err)
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

static enum ap_rc open_push(struct apiary *apiary, struct ap_err *err)
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

static enum ap_rc open_statsd(struct apiary *apiary, struct ap_err *err)
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
static enum ap_rc open_geo(struct apiary *apiary, struct ap_err *err)
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
}

static enum ap_rc open_ingest(struct apiary *apiary, struct ap_err *err)
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

/* Whether the addresses for OpenTelemetry are there: the default one may be in use, and is no reason not to start. */
static void say_otlp(const struct apiary *apiary)
{
    const struct config *config = apiary->config;
    for (size_t i = 0; i < config->otlp.listen.count; i++) {
        if (http_server_port(apiary->server, config->listen.count + i))
            ap_log(AP_LOG_INFO, "serve", "OpenTelemetry at %s", config->otlp.listen.items[i]);
        else
            ap_log(AP_LOG_WARN, "serve",
                   "%s is in use: OpenTelemetry's exporters must be told the main address (setting otlp.listen)",
                   config->otlp.listen.items[i]);
    }
}

static enum ap_rc reload(void *context, struct ap_err *err);

static enum ap_rc open_server(struct apiary *apiary, struct ap_err *err)
{
    const struct config *config = apiary->config;
    enum ap_rc rc = set_listeners(apiary, err);
    if (rc != AP_OK)
        return rc;
    set_hosts(apiary);
    AP_AUTO_BUF struct ap_buf text = {0};
    config_print(config, &text);
    apiary->config_text = ap_buf_detach(&text);
    apiary->api = (struct api){
        .wal = apiary->wal,
        .warehouse = apiary->warehouse,
        .tsdb = apiary->tsdb,
        .engine = apiary->engine,
        .alerting = serve_alerting_get(apiary->alerting),
        .forwarder = serve_alerting_forwarder(apiary->alerting),
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
        .config_text = apiary->config_text,
        .external_url = config->external_url,
        .reload = reload,
        .reload_context = apiary,
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

/* ---- All of it ---- */

static enum ap_rc apiary_open(struct apiary *apiary, struct ap_err *err)
{
    apiary->live = live_new(&ap_clock_system);
    static enum ap_rc (*const steps[])(struct apiary *, struct ap_err *) = {
        open_data,  open_wal,    hold_log,  open_alerting, open_stores, open_collectors,
        open_rules, open_scrape, open_meta, open_geo,      open_push,   open_ingest,
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(steps); i++) {
        enum ap_rc rc = steps[i](apiary, err);
        if (rc != AP_OK)
            return rc;
    }
    enum ap_rc rc = warehouse_start(apiary->warehouse, apiary->wal, err);
    if (rc == AP_OK)
        rc = tsdb_start(apiary->tsdb, err);
    if (rc == AP_OK)
        rc = open_statsd(apiary, err);
    if (rc == AP_OK)
        rc = open_server(apiary, err);
    if (rc == AP_OK)
        rc = push_start(apiary->push, err);
    if (rc == AP_OK)
        rc = serve_alerting_start(apiary->alerting, err);
    if (rc == AP_OK)
        rc = rule_manager_start(apiary->rules, err);
    return rc == AP_OK ? scrape_manager_start(apiary->scrape, err) : rc;
}

/*
 * New requests get 503, those under way are answered, scrapes, rules and alerting end, the log and then the warehouse
 * take what was accepted. The server goes behind them, because it waits for their answers; the tsdb behind the server,
 * whose loops append to it.
 */
static void apiary_close(struct apiary *apiary)
{
    __atomic_store_n(&apiary->api.is_draining, true, __ATOMIC_RELAXED);
    if (apiary->ingest)
        ingest_drain(apiary->ingest);
    if (apiary->server && !http_server_drain(apiary->server, DRAIN_MS))
        ap_log(AP_LOG_WARN, "serve", "some connections did not end within %d s and were cut", DRAIN_MS / 1000);
    if (apiary->scrape)
        scrape_manager_stop(apiary->scrape);
    if (apiary->scraper)
        scraper_stop(apiary->scraper);
    if (apiary->rules)
        rule_manager_stop(apiary->rules);
    if (apiary->alerting)
        serve_alerting_stop(apiary->alerting);
    if (apiary->push)
        push_stop(apiary->push);
    if (apiary->statsd)
        statsd_stop(apiary->statsd);
    if (apiary->wal)
        wal_stop(apiary->wal);
    rules_keep_free(apiary->rules_keep);
    if (apiary->questions)
        pool_stop(apiary->questions);
    if (apiary->chores)
        pool_stop(apiary->chores);
    if (apiary->alert_questions)
        pool_stop(apiary->alert_questions);
    if (apiary->probing)
        pool_stop(apiary->probing);
    warehouse_close(apiary->warehouse);
    http_server_close(apiary->server);
    push_close(apiary->push);
    statsd_close(apiary->statsd);
    rule_manager_close(apiary->rules);
    scrape_manager_close(apiary->scrape);
    scraper_close(apiary->scraper);
    serve_alerting_close(apiary->alerting);
    ap_buf_clear(&apiary->external_labels);
    pool_close(apiary->questions);
    pool_close(apiary->chores);
    pool_close(apiary->alert_questions);
    pool_close(apiary->probing);
    collectors_close(&apiary->collectors);
    promql_engine_close(apiary->engine);
    tsdb_close(apiary->tsdb);
    wal_close(apiary->wal);
    live_free(apiary->live);
    ingest_free(apiary->ingest);
    geo_close(apiary->geo);
    keyring_close(apiary->keyring);
    meta_close(apiary->meta);
    for (size_t i = 0; i < apiary->pack_count; i++)
        pack_free(apiary->packs[i]);
    free(apiary->packs);
    free(apiary->rule_groups);
    free(apiary->hosts);
    free(apiary->config_text);
    if (apiary->wal_fd >= 0)
        close(apiary->wal_fd);
    if (apiary->lock_fd >= 0)
        close(apiary->lock_fd);
    if (apiary->data_fd >= 0)
        close(apiary->data_fd);
}

/* One line for whoever started this, person or program; everything else goes to the log. */
static void say_ready(const struct apiary *apiary)
{
    const struct config *config = apiary->config;
    for (size_t i = 0; i < config->listen.count; i++) {
        bool is_v6 = strchr(apiary->addresses[i], ':') != NULL;
        printf("apiary: listening on %s://%s%s%s:%u/\n", config->tls.certificate ? "https" : "http", is_v6 ? "[" : "",
               apiary->addresses[i], is_v6 ? "]" : "", http_server_port(apiary->server, i));
    }
    fflush(stdout);
    say_otlp(apiary);
    ap_log(AP_LOG_INFO, "serve", "version " APIARY_VERSION ", data in %s, %zu packs%s", config->data,
           apiary->pack_count, config->open ? ", open: no keys are asked for" : "");
}

static enum ap_rc reload_keys(struct apiary *apiary, struct ap_err *err)
{
    enum ap_rc rc = keyring_refresh(apiary->keyring, err);
    if (rc == AP_OK)
        ap_log(AP_LOG_INFO, "serve", "keys reloaded");
    else
        ap_log(AP_LOG_ERROR, "serve", "reload of the keys: %s; the ones known before stay", err->text);
    return rc;
}

static enum ap_rc reload_rules(struct apiary *apiary, struct ap_err *err)
{
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

static enum ap_rc reload_alerting(struct apiary *apiary, struct ap_err *err)
{
    if (!apiary->config->alerting.config)
        return AP_OK;
    enum ap_rc rc = serve_alerting_reload(apiary->alerting, err);
    if (rc == AP_OK)
        ap_log(AP_LOG_INFO, "serve", "who is told of alerts reloaded");
    else
        ap_log(AP_LOG_ERROR, "serve", "reload of alerting.config: %s; what was before stays", err->text);
    return rc;
}

static enum ap_rc reload_collectors(struct apiary *apiary, struct ap_err *err)
{
    enum ap_rc rc = collectors_reload(&apiary->collectors, err);
    if (rc != AP_OK)
        ap_log(AP_LOG_ERROR, "serve", "reload of the collectors' files: %s; those before stay", err->text);
    return rc;
}

static enum ap_rc reload_scrape(struct apiary *apiary, struct ap_err *err)
{
    enum ap_rc rc = scrape_manager_reload(apiary->scrape, err);
    if (rc != AP_OK) {
        ap_log(AP_LOG_ERROR, "serve", "reload of what is scraped: %s; what was before stays", err->text);
        return rc;
    }
    struct scrape_manager_stats stats;
    scrape_manager_stats_get(apiary->scrape, &stats);
    ap_log(AP_LOG_INFO, "serve", "what is scraped reloaded: %" PRIu64 " jobs", stats.pool_count);
    log_ignored(apiary);
    return AP_OK;
}

/* What cannot be read leaves what was in effect before as it is. All is tried; `err` is of the first that failed. */
static enum ap_rc reload(void *context, struct ap_err *err)
{
    struct apiary *apiary = context;
    static enum ap_rc (*const steps[])(struct apiary *, struct ap_err *) = {reload_keys, reload_rules, reload_alerting,
                                                                            reload_collectors, reload_scrape};
    enum ap_rc first_rc = AP_OK;
    pthread_mutex_lock(&apiary->reload_mutex);
    for (size_t i = 0; i < AP_ARRAY_COUNT(steps); i++) {
        struct ap_err reason;
        enum ap_rc rc = steps[i](apiary, &reason);
        if (rc == AP_OK || first_rc != AP_OK)
            continue;
        first_rc = rc;
        *err = reason;
    }
    pthread_mutex_unlock(&apiary->reload_mutex);
    return first_rc;
}

static void wait_for_end(struct apiary *apiary, const sigset_t *signals)
{
    for (;;) {
        int number = 0;
        if (sigwait(signals, &number) != 0)
            continue;
        if (number != SIGHUP) {
            ap_log(AP_LOG_INFO, "serve", "shutting down on %s", strsignal(number));
            return;
        }
        struct ap_err err; /* it has been told */
        (void)!reload(apiary, &err);
    }
}

/* A connection is a file. Shells and systemd start programs with 1,024, for the sake of those that use select(). */
static void allow_all_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur == files.rlim_max)
        return;
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
}

static int serve(const struct config *config)
{
    allow_all_files();
    /* Before any thread is started, so that all of them leave these to wait_for_end(). */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    struct apiary apiary = {
        .config = config, .data_fd = -1, .lock_fd = -1, .wal_fd = -1, .reload_mutex = PTHREAD_MUTEX_INITIALIZER};
    struct ap_err err = {0};
    enum ap_rc rc = apiary_open(&apiary, &err);
    if (rc == AP_OK) {
        say_ready(&apiary);
        wait_for_end(&apiary, &signals);
    } else {
        fprintf(stderr, "apiary serve: %s\n", err.text);
    }
    apiary_close(&apiary);
    return rc == AP_OK ? CLI_DONE : CLI_FAILED;
}

int cli_serve(int argc, char **argv)
{
    AP_AUTO(config) struct config *config = NULL;
    int exit_code;
    if (!serve_arguments_read(argc, argv, &config, &exit_code))
        return exit_code;
    ap_log_set_level((enum ap_log_level)config->log.level);
    return serve(config);
}
