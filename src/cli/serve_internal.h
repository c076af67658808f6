/*
 * cli/serve_internal.h - what the running server is made of, and the steps that build it, a file for each part
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "alert/heartbeat_list.h"
#include "api/api.h"
#include "base/buf.h"
#include "base/rc.h"
#include "cli/collectors.h"
#include "cli/config.h"
#include "ingest/otlp_sink.h"
#include "net/http_server.h"
#include "scrape/manager.h"

struct builtin_rules;
struct geo;
struct handover_desk;
struct heartbeats;
struct meta;
struct rules_keep;
struct serve_alerting;

enum { LISTENERS_MAX = 16 };

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
    struct handover_desk *handover; /* NULL: off */
    struct push *push;
    struct statsd *statsd; /* NULL: off */
    struct ingest *ingest;
    struct live *live;
    struct pages *pages;
    struct pack **packs;
    size_t pack_count;
    struct builtin_rules *builtin_rules;
    struct heartbeat_list heartbeat_list; /* its texts are the configuration's that it came from */
    struct config *config_of_heartbeats;  /* held; NULL: `config`; changed by reloads only, as the next */
    struct config *config_of_path_test;   /* alerting.path_test… */
    struct heartbeats *heartbeats;
    struct api_host *hosts;
    pthread_mutex_t config_mutex; /* the next */
    char *config_text;            /* owned; the settings in effect */
    struct http_server *server;
    struct http_listener listeners[LISTENERS_MAX];
    char addresses[LISTENERS_MAX][64]; /* what the listeners point to */
    struct otlp_settings otlp;
    struct api api;
};

/* The steps; what each needs of those before it is in the order of serve.c. */
ap_nodiscard enum ap_rc serve_open_data(struct apiary *apiary, struct ap_err *err);
ap_nodiscard enum ap_rc serve_open_wal(struct apiary *apiary, struct ap_err *err);
ap_nodiscard enum ap_rc serve_hold_log(struct apiary *apiary, struct ap_err *err);
ap_nodiscard enum ap_rc serve_open_stores(struct apiary *apiary, struct ap_err *err);
ap_nodiscard enum ap_rc serve_open_alerting(struct apiary *apiary, struct ap_err *err);
ap_nodiscard enum ap_rc serve_open_rules(struct apiary *apiary, struct ap_err *err);
ap_nodiscard enum ap_rc serve_open_heartbeats(struct apiary *apiary, struct ap_err *err);
ap_nodiscard enum ap_rc serve_open_collectors(struct apiary *apiary, struct ap_err *err);
ap_nodiscard enum ap_rc serve_open_scrape(struct apiary *apiary, struct ap_err *err);
ap_nodiscard enum ap_rc serve_open_meta(struct apiary *apiary, struct ap_err *err);
ap_nodiscard enum ap_rc serve_open_geo(struct apiary *apiary, struct ap_err *err);
ap_nodiscard enum ap_rc serve_open_push(struct apiary *apiary, struct ap_err *err);
ap_nodiscard enum ap_rc serve_open_statsd(struct apiary *apiary, struct ap_err *err);
ap_nodiscard enum ap_rc serve_open_ingest(struct apiary *apiary, struct ap_err *err);
void serve_open_import(struct apiary *apiary);
ap_nodiscard enum ap_rc serve_open_server(struct apiary *apiary, struct ap_err *err);

/* Rules that stand in no file of rules: packs' alerts, heart-beats, and what this server says about itself. */
ap_nodiscard enum ap_rc builtin_rules_open(struct apiary *apiary, struct ap_err *err);
void builtin_rules_close(struct builtin_rules *rules); /* NULL is allowed */
const struct rule_group *const *builtin_rules_groups(const struct builtin_rules *rules, size_t *ret_count);

/* The `heartbeats` of a configuration that was loaded again, from now on; on failure those before stay. */
ap_nodiscard enum ap_rc serve_reload_heartbeats(struct apiary *apiary, struct config *config, struct ap_err *err);

/* What /api/v1/status/config shows: the settings in effect. `context` is the struct apiary; any thread. */
void serve_config_text(void *context, struct ap_buf *out);
void serve_set_config_text(struct apiary *apiary);

/* Reads again what can be: what cannot leaves what was in effect before. All is tried; `err` is of the first that
 * failed. `context` is the struct apiary; any thread. */
ap_nodiscard enum ap_rc serve_reload(void *context, struct ap_err *err);

/* Those of the settings, or else of the scraping configuration, in canonical form. */
ap_nodiscard enum ap_rc serve_read_external_labels(const struct apiary *apiary, struct ap_buf *out, struct ap_err *err);
/* What of the scraping configuration is not about scraping, to the log. */
void serve_log_ignored(const struct apiary *apiary);
