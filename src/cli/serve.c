/*
 * apiary serve: builds everything, in the order in which it depends on each other, and takes it down in reverse.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "alert/heartbeats.h"
#include "api/live.h"
#include "api/pages.h"
#include "api/pool.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/serve_alerting.h"
#include "cli/serve_arguments.h"
#include "cli/serve_internal.h"
#include "history/handover_desk.h"
#include "ingest/geo.h"
#include "ingest/ingest.h"
#include "ingest/push.h"
#include "ingest/statsd.h"
#include "meta/keyring.h"
#include "meta/meta.h"
#include "pack/pack.h"
#include "promql/engine.h"
#include "rules/keep.h"
#include "rules/manager.h"
#include "scrape/manager.h"
#include "scrape/scraper.h"
#include "tsdb/tsdb.h"
#include "wal/wal.h"
#include "warehouse/warehouse.h"
enum { DRAIN_MS = 10000 };

/* ---- All of it ---- */

static enum ap_rc apiary_open(struct apiary *apiary, struct ap_err *err)
{
    apiary->live = live_new(&ap_clock_system);
    static enum ap_rc (*const steps[])(struct apiary *, struct ap_err *) = {
        serve_open_data,       serve_open_wal,   serve_hold_log,        serve_open_alerting, serve_open_stores,
        serve_open_collectors, serve_open_rules, serve_open_heartbeats, serve_open_scrape,   serve_open_meta,
        serve_open_geo,        serve_open_push,  serve_open_ingest,
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
        rc = serve_open_statsd(apiary, err);
    if (rc == AP_OK)
        rc = serve_open_server(apiary, err);
    if (rc == AP_OK)
        serve_open_import(apiary);
    if (rc == AP_OK)
        rc = push_start(apiary->push, err);
    if (rc == AP_OK)
        rc = heartbeats_start(apiary->heartbeats, err); /* their series are there before rules ask for them */
    if (rc == AP_OK)
        rc = serve_alerting_start(apiary->alerting, apiary->warehouse, err);
    if (rc == AP_OK)
        rc = scrape_manager_start(apiary->scrape, err); /* it knows who is told of what the rules say */
    return rc == AP_OK ? rule_manager_start(apiary->rules, err) : rc;
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
    handover_desk_close(apiary->handover);
    if (apiary->scrape)
        scrape_manager_stop(apiary->scrape);
    if (apiary->scraper)
        scraper_stop(apiary->scraper);
    if (apiary->rules)
        rule_manager_stop(apiary->rules);
    heartbeats_stop(apiary->heartbeats);
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
    heartbeats_close(apiary->heartbeats);
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
    pages_free(apiary->pages);
    ingest_free(apiary->ingest);
    geo_close(apiary->geo);
    keyring_close(apiary->keyring);
    meta_close(apiary->meta);
    for (size_t i = 0; i < apiary->pack_count; i++)
        pack_free(apiary->packs[i]);
    free(apiary->packs);
    builtin_rules_close(apiary->builtin_rules);
    heartbeat_list_clear(&apiary->heartbeat_list);
    config_free(apiary->config_of_heartbeats);
    config_free(apiary->config_of_path_test);
    free(apiary->hosts);
    free(apiary->config_text);
    if (apiary->wal_fd >= 0)
        close(apiary->wal_fd);
    if (apiary->lock_fd >= 0)
        close(apiary->lock_fd);
    if (apiary->data_fd >= 0)
        close(apiary->data_fd);
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
        (void)!serve_reload(apiary, &err);
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
        .config = config,
        .data_fd = -1,
        .lock_fd = -1,
        .wal_fd = -1,
        .reload_mutex = PTHREAD_MUTEX_INITIALIZER,
        .config_mutex = PTHREAD_MUTEX_INITIALIZER,
    };
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
