/*
 * cli/config.h - the settings of `apiary serve`
 *
 * One table in config_settings.c names every setting once: its key, type, default and one line of documentation. A
 * value comes from, first wins: a flag, the environment (APIARY_WAL_MAX_SIZE for wal.max_size), the file, the default.
 * Reference: docs/configuration.md, printed from the same table by config_describe().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rc.h"
#include "codec/yaml.h"

struct config_memory; /* private to these files: what the texts below live in, and where each value came from */

/* Durations are in milliseconds, sizes in bytes. Texts are lent and live as long as the config. */
struct config {
    const char *data;
    struct yaml_texts listen; /* "127.0.0.1:8484", "[::1]:8484" */
    bool open;
    struct yaml_texts packs; /* directories */
    struct yaml_texts hosts; /* keys: host names, items: path prefixes */
    struct yaml_texts external_labels;
    const char *external_url; /* NULL: none was given */
    struct {
        const char *certificate; /* NULL: no TLS */
        const char *key;
    } tls;
    struct {
        int level; /* enum ap_log_level */
    } log;
    struct {
        int64_t segment_size;
        int64_t max_size;
    } wal;
    struct {
        int64_t memory_limit;
        int64_t threads;
        int64_t readers;
        int64_t cache_size;
        int64_t retention_days; /* 0: keep all */
        int64_t query_timeout;
        int64_t query_rows_max;
    } warehouse;
    struct {
        int64_t max_series;
        int64_t out_of_order_window;
        int64_t retention;      /* 0: for ever */
        int64_t retention_size; /* 0: no limit */
        int64_t block_range;
        int64_t max_exemplars;
        bool created_timestamp_zero_ingestion;
        int64_t remote_read_size;
    } tsdb;
    struct {
        int64_t max_samples;
        int64_t lookback_delta;
        int64_t timeout;
        int64_t subquery_step;
        int64_t threads;
        int64_t max_concurrency;
        int64_t cache_size;
        bool experimental;
    } promql;
    struct {
        struct yaml_texts files; /* paths and patterns */
        int64_t interval;
        int64_t query_offset;
        int64_t outage_tolerance; /* 0: alerts begin anew */
        int64_t resend_delay;
        bool self;
    } rules;
    struct {
        const char *config;              /* Alertmanager's file; NULL: nobody is told */
        struct yaml_texts alertmanagers; /* addresses; may hold passwords, shown nowhere */
        int64_t max_alerts;
        int64_t path_test; /* 0: only when somebody asks */
        int64_t path_test_at;
        struct yaml_texts path_test_receivers; /* none: all */
        const char *watchdog_url;              /* secret, shown nowhere; NULL: none, as the next */
        const char *watchdog_url_file;
        const char *watchdog_key_file;
        int64_t watchdog_interval;
    } alerting;
    const struct yaml_node *heartbeats; /* NULL: none; alert/heartbeat_list.h reads it */
    struct {
        const char *config; /* Prometheus' file; NULL: none was given */
        bool host;
        bool self;
        int64_t interval;
    } scrape;
    struct {
        struct yaml_texts listen;
        struct yaml_texts cors_origins;
        int translation_strategy; /* enum otlp_strategy */
        struct yaml_texts promote_resource_attributes;
        bool promote_all_resource_attributes;
        struct yaml_texts ignore_resource_attributes;
        bool keep_identifying_resource_attributes;
        bool promote_scope_metadata;
        bool convert_histograms_to_nhcb;
        bool label_name_underscore_sanitization;
        bool label_name_preserve_multiple_underscores;
        int64_t max_delta_streams;
        int64_t delta_stream_idle;
    } otlp;
    struct {
        const char *modules; /* NULL: the built-in ones */
    } probes;
    struct {
        const char *proc;
        const char *sys;
        const char *root;
        const char *textfile; /* NULL: none */
    } host;
    struct {
        struct yaml_texts connections; /* keys: names, items: what libpq takes; may hold passwords, shown nowhere */
        int64_t max_statements;
        int64_t max_databases;
        int64_t max_tables;
    } postgres;
    struct {
        int64_t header;
        int64_t body;
        int64_t decompressed_body;
        int64_t body_memory;
        int64_t connections;
        int64_t connections_per_address;
        int64_t idle_timeout;
        int64_t request_timeout;
    } limits;
    struct {
        struct yaml_texts trusted_proxies; /* addresses or networks */
        const char *influx_separator;
    } ingest;
    struct {
        int64_t interval;
        int64_t expire; /* 0: never */
        int64_t max_groups;
        int64_t max_size;
    } push;
    struct {
        const char *listen; /* NULL: StatsD is off */
        int64_t flush_interval;
        int64_t expire; /* 0: never */
        int64_t max_series;
    } statsd;
    struct {
        bool hash_user_ids;
    } privacy;
    struct {
        const char *database; /* NULL: none was given */
    } geo;
    struct config_memory *memory;
};

/* "wal.max_size" and its value as text. */
struct config_flag {
    const char *key;
    const char *value;
};

/*
 * Reads all sources and checks what can be checked without touching the system. `file` NULL: none. `environment`: like
 * environ(7); NULL: none; lent for as long as somebody may call config_load_again(). Errors name the source:
 * file:line:column, the variable, or the flag.
 */
ap_nodiscard enum ap_rc config_load(const struct config_flag *flags, size_t flag_count, const char *file,
                                    const char *const *environment, struct config **ret_config, struct ap_err *err);
/* The same sources again, as they are now. */
ap_nodiscard enum ap_rc config_load_again(const struct config *config, struct config **ret_config, struct ap_err *err);
/* Who holds one of those that were loaded again. Not for several threads at a time. */
struct config *config_ref(struct config *config);
void config_free(struct config *config); /* lets go of it; NULL is allowed */
/* The keys whose values differ, but for `count` that are expected to; separated by commas. free() it. */
char *config_differences(const struct config *a, const struct config *b, const char *const *expected, size_t count);
/* Whether nobody has set it: flag, environment or file. */
bool config_is_default(const struct config *config, const char *key);
AP_DEFINE_AUTO(config, struct config, config_free)

/* A listen address in its parts: "127.0.0.1:8484", "[::1]:0", ":8484" (all of IPv4). `ret_address` holds 64 bytes. */
ap_nodiscard enum ap_rc config_split_address(const char *text, char ret_address[64], uint16_t *ret_port,
                                             struct ap_err *err);

/*
 * The address that links begin with, without a '/' at its end: external_url, or made of the first address that is
 * listened on, where the machine's name stands for all addresses. "": the system chooses the port. Owned by the caller.
 */
char *config_link_base(const struct config *config);

/* The path of external_url without a '/' at its end: "/apiary", or nothing. Lent by `config`. */
struct ap_slice config_path_prefix(const struct config *config);

/* 127.0.0.0/8, ::1. */
bool config_is_loopback(const char *address);

/* That the settings go together: `open` only on loopback, both files of TLS or none, sizes that fit each other. */
ap_nodiscard enum ap_rc config_check(const struct config *config, struct ap_err *err);

/*
 * The values in effect, as YAML that can be used as a file, each with a comment that says where it came from;
 * "<secret>" stands for what may hold a password.
 */
void config_print(const struct config *config, struct ap_buf *out);

/* The reference of all settings, as Markdown. */
void config_describe(struct ap_buf *out);
