#include "api/server_status.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "alert/forwarder.h"
#include "api/prometheus.h"
#include "api/question.h"
#include "base/mem.h"
#include "promql/engine.h"
#include "promql/parser.h"
#include "rules/manager.h"
#include "scrape/manager.h"

/* Clients choose by it what they may ask for: the version whose interface this is. */
#define PROMETHEUS_VERSION "3.5.0"

static void add_member(struct ap_buf *out, const char *separator, const char *name, const char *text)
{
    ap_buf_add_cstr(out, separator);
    ap_buf_add_json_string(out, ap_slice_cstr(name));
    ap_buf_add_char(out, ':');
    ap_buf_add_json_string(out, ap_slice_cstr(text));
}

static enum ap_rc answer_buildinfo(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    (void)question;
    (void)err;
    ap_buf_add_cstr(out, "{\"version\":\"" PROMETHEUS_VERSION "\",\"revision\":\"apiary-" APIARY_VERSION
                         "\",\"branch\":\"\",\"buildUser\":\"\",\"buildDate\":\"\",\"goVersion\":\"\"}");
    return AP_OK;
}

static enum ap_rc answer_runtimeinfo(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    const struct api *api = question->api;
    struct rule_manager_stats rules;
    char started[AP_TIME_TEXT_BYTES], loaded[AP_TIME_TEXT_BYTES], now[AP_TIME_TEXT_BYTES];
    char host[256] = "", directory[4096] = "";
    (void)err;
    struct scrape_manager_stats scrape = {.is_reload_good = 1};
    rule_manager_stats_get(api->rules, &rules);
    if (api->scrape)
        scrape_manager_stats_get(api->scrape, &scrape);
    ap_time_format(AP_MAX(rules.loaded_ms, scrape.loaded_ms) * AP_US_PER_MS, loaded);
    ap_time_format(api->started_ms * AP_US_PER_MS, started);
    ap_time_format(ap_clock_wall_us(api->clock), now);
    (void)gethostname(host, sizeof(host) - 1);
    if (!getcwd(directory, sizeof(directory)))
        directory[0] = '\0';
    add_member(out, "{", "startTime", started);
    add_member(out, ",", "CWD", directory);
    add_member(out, ",", "hostname", host);
    add_member(out, ",", "serverTime", now);
    add_member(out, ",", "lastConfigTime", loaded);
    ap_buf_printf(out,
                  ",\"reloadConfigSuccess\":%s,\"corruptionCount\":0,\"goroutineCount\":0,\"GOMAXPROCS\":%ld,"
                  "\"GOMEMLIMIT\":0,\"GOGC\":\"\",\"GODEBUG\":\"\",\"storageRetention\":",
                  rules.is_reload_good && scrape.is_reload_good ? "true" : "false", sysconf(_SC_NPROCESSORS_ONLN));
    AP_AUTO_BUF struct ap_buf retention = {0};
    promql_print_duration(api->retention_ms, &retention);
    ap_buf_add_json_string(out, ap_buf_slice(&retention));
    ap_buf_add_char(out, '}');
    return AP_OK;
}

static enum ap_rc answer_config(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    (void)err;
    const struct api *api = question->api;
    AP_AUTO_BUF struct ap_buf text = {0};
    api->config_text(api->config_context, &text);
    ap_buf_add_cstr(out, "{\"yaml\":");
    ap_buf_add_json_string(out, ap_buf_slice(&text));
    ap_buf_add_char(out, '}');
    return AP_OK;
}

static void add_duration(struct ap_buf *out, const char *name, int64_t ms)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    promql_print_duration(ms, &text);
    ap_buf_printf(out, ",\"%s\":", name);
    ap_buf_add_json_string(out, ap_buf_slice(&text));
}

/* The settings under the names that Prometheus has for the same. */
static enum ap_rc answer_flags(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    const struct promql_engine_options *options = promql_engine_options_of(question->api->engine);
    (void)err;
    ap_buf_printf(out,
                  "{\"enable-feature\":\"%s\",\"query.max-concurrency\":\"%" PRIu32
                  "\",\"query.max-samples\":\"%" PRIu64
                  "\",\"web.enable-admin-api\":\"true\",\"web.enable-remote-write-receiver\":\"true\"",
                  options->is_experimental ? "promql-experimental-functions" : "", question->api->questions_max,
                  options->samples_max);
    add_duration(out, "query.lookback-delta", options->lookback_ms);
    add_duration(out, "query.timeout", options->timeout_ms);
    add_duration(out, "storage.tsdb.retention.time", question->api->retention_ms);
    ap_buf_add_char(out, '}');
    return AP_OK;
}

/* Whoever can ask this was let in after it had ended. */
static enum ap_rc answer_walreplay(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    (void)question;
    (void)err;
    ap_buf_add_cstr(out, "{\"min\":0,\"max\":0,\"current\":0}");
    return AP_OK;
}

/* A stream in which nothing would ever come; it is what Prometheus says to one listener too many. */
static enum ap_rc answer_nothing(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    (void)out;
    (void)err;
    question->status = 204;
    return AP_OK;
}

#define DEFINE_CONSTANT_ANSWER(name, text)                                                                             \
    static enum ap_rc name(struct question *question, struct ap_buf *out, struct ap_err *err)                          \
    {                                                                                                                  \
        (void)question;                                                                                                \
        (void)err;                                                                                                     \
        ap_buf_add_cstr(out, text);                                                                                    \
        return AP_OK;                                                                                                  \
    }
DEFINE_CONSTANT_ANSWER(answer_list, "[]")

static void add_alertmanager(const struct alert_forwarder_stats *stats, void *context)
{
    struct ap_buf *out = context;
    ap_buf_add_cstr(out, out->data[out->bytes - 1] == '}' ? ",{\"url\":" : "{\"url\":");
    ap_buf_add_json_string(out, ap_slice_cstr(stats->url));
    ap_buf_add_char(out, '}');
}

/* Those elsewhere that alerts are sent to. */
static enum ap_rc answer_alertmanagers(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    (void)err;
    ap_buf_add_cstr(out, "{\"activeAlertmanagers\":[");
    if (question->api->forwarder)
        alert_forwarder_each(question->api->forwarder, add_alertmanager, out);
    ap_buf_add_cstr(out, "],\"droppedAlertmanagers\":[]}");
    return AP_OK;
}

#define DEFINE_HANDLER(name)                                                                                           \
    void server_status_handle_##name(struct api *api, struct http_request *request, struct ap_slice rest)              \
    {                                                                                                                  \
        question_ask(api, request, rest, api->questions, answer_##name);                                               \
    }
DEFINE_HANDLER(buildinfo)
DEFINE_HANDLER(runtimeinfo)
DEFINE_HANDLER(config)
DEFINE_HANDLER(flags)
DEFINE_HANDLER(walreplay)
DEFINE_HANDLER(nothing)
DEFINE_HANDLER(list)
DEFINE_HANDLER(alertmanagers)
