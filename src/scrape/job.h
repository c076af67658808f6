/*
 * scrape/job.h - one entry of `scrape_configs:`, checked: how its targets are found, asked and kept
 *
 * Names and meanings are Prometheus' (configuration reference, <scrape_config>). What the entry leaves out comes from
 * `global:`. A job is immutable once read and counted: targets hold the job they were made of, also over a reload.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/slice.h"
#include "tsdb/labels.h"

struct relabel_rules; /* relabel.h */

enum scrape_protocol {
    SCRAPE_PROTOCOL_PROTOBUF,   /* PrometheusProto */
    SCRAPE_PROTOCOL_TEXT_0_0_4, /* PrometheusText0.0.4 */
    SCRAPE_PROTOCOL_TEXT_1_0_0, /* PrometheusText1.0.0 */
    SCRAPE_PROTOCOL_OPENMETRICS_0_0_1,
    SCRAPE_PROTOCOL_OPENMETRICS_1_0_0,
    SCRAPE_PROTOCOL_COUNT, /* also: none */
};

struct oauth2;

/* <http_config>: how a target, or a discovery by HTTP, is reached. Texts are the job's; NULL: not set. */
struct scrape_http {
    const char *basic_user;
    const char *basic_user_file;
    const char *basic_password;      /* secret: never logged or shown */
    const char *basic_password_file; /* read anew for each request, as all files here */
    const char *authorization_type;  /* "Bearer" */
    const char *credentials;         /* secret */
    const char *credentials_file;
    const struct oauth2 *oauth2; /* scrape/oauth2.h; NULL: none */
    const char *ca_file;
    const char *cert_file;
    const char *key_file;
    const char *server_name;
    const char *tls_min; /* "TLS12" */
    const char *tls_max;
    bool is_insecure; /* insecure_skip_verify */
    bool is_following_redirects;
    bool is_http2_allowed;
    const char *proxy_url;
    const char *no_proxy;
    bool is_proxy_from_environment;
    const struct label *proxy_headers; /* proxy_connect_header; values are secret */
    size_t proxy_header_count;
    const struct label
        *headers; /* http_headers, those of files as they were when this was read; values may be secret */
    size_t header_count;
};

struct scrape_limits { /* 0: none */
    uint64_t body_bytes_max;
    uint64_t samples_max;
    uint64_t labels_max;
    uint64_t label_name_bytes_max;
    uint64_t label_value_bytes_max;
    uint64_t targets_max;
    uint64_t histogram_buckets_max;
    double histogram_bucket_factor_min;
};

/* metric_name_escaping_scheme: what a target is asked to do with names beyond [a-zA-Z_:][a-zA-Z0-9_:]*. */
enum scrape_escaping {
    SCRAPE_ESCAPING_NONE,        /* allow-utf-8 */
    SCRAPE_ESCAPING_UNDERSCORES, /* underscores */
    SCRAPE_ESCAPING_DOTS,        /* dots */
    SCRAPE_ESCAPING_VALUES,      /* values */
};

struct scrape_job {
    const char *name;
    const char *collector; /* NULL: over HTTP */
    int64_t interval_ms;
    int64_t timeout_ms;                                    /* at most interval_ms */
    enum scrape_protocol protocols[SCRAPE_PROTOCOL_COUNT]; /* in order of preference */
    size_t protocol_count;
    enum scrape_protocol fallback; /* of an answer that does not say what it is; _COUNT: none, the scrape fails */
    bool is_honoring_labels;
    bool is_honoring_timestamps;
    bool is_tracking_timestamps_staleness;
    bool is_compression_allowed;
    bool is_native_histograms;     /* scrape_native_histograms */
    bool is_always_classic;        /* always_scrape_classic_histograms */
    bool is_classic_to_custom;     /* convert_classic_histograms_to_nhcb */
    bool is_extra_metrics;         /* extra_scrape_metrics: scrape_timeout_seconds and the like */
    bool is_utf8_names;            /* metric_name_validation_scheme utf8, the default */
    enum scrape_escaping escaping; /* NONE unless the names may not be UTF-8 */
    const char *failure_log_file;  /* scrape_failure_log_file; NULL: none */
    struct scrape_http http;
    struct scrape_limits limits;
    const struct relabel_rules *metric_relabel; /* NULL: none */
    /* What only the finding of targets needs (paths, params, discovery, relabel_configs) is in job_internal.h. */
};

/* "PrometheusProto", "PrometheusText0.0.4" … */
const char *scrape_protocol_name(enum scrape_protocol protocol);

const struct scrape_job *scrape_job_ref(const struct scrape_job *job);
void scrape_job_unref(const struct scrape_job *job); /* NULL is allowed */
