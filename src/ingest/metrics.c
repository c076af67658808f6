#include "ingest/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/log.h"
#include "ingest/admit.h"
#include "ingest/cors.h"
#include "ingest/metrics_body.h"
#include "ingest/metrics_protocol.h"
#include "ingest/otlp_cache.h"
#include "ingest/otlp_sink.h"
#include "ingest/otlp_streams.h"
#include "meta/keyring.h"
#include "net/http_server.h"

enum {
    RETRY_BUSY_MS = 1000,  /* the log's queue empties within a commit or two */
    RETRY_FULL_MS = 10000, /* somebody has to make room */
    RETRY_DRAIN_MS = 5000, /* a restart takes about that long */
    LOG_INTERVAL_MS = 5000,
    IDLE_BODIES_MAX = 64, /* each loop needs one at a time */
};

static const struct metrics_protocol *const protocols[] = {
    &metrics_protocol_remote_write, &metrics_protocol_import,
    &metrics_protocol_otlp,         &metrics_protocol_otlp_prometheus,
    &metrics_protocol_influx_1,     &metrics_protocol_influx_2,
    &metrics_protocol_push,         &metrics_protocol_push_base64,
    &metrics_protocol_push_wipe,
};

struct metrics {
    /* Constant. */
    struct metrics_options options;
    struct otlp_settings otlp_default; /* of those who give none */
    struct otlp_streams *streams;      /* owned */
    /* Any thread, atomic. */
    bool is_draining;
    struct metrics_stats stats[METRICS_WAY_COUNT];
    uint64_t otlp_cache_bytes; /* of all bodies, each as it was when it was given back */
    struct ap_log_limit log_limit;
    /* Under idle_mtx, a leaf. */
    pthread_mutex_t idle_mtx;
    struct metrics_body *idle[IDLE_BODIES_MAX]; /* owned; warm memory for the next request */
    size_t idle_count;
};

/* ---- Life ---- */

struct metrics *metrics_new(const struct metrics_options *options)
{
    AP_ASSERT(options->is_open || options->keyring);
    struct metrics *metrics = ap_new0(struct metrics);
    metrics->options = *options;
    otlp_settings_init(&metrics->otlp_default);
    if (!options->otlp)
        metrics->options.otlp = &metrics->otlp_default;
    metrics->streams = otlp_streams_new(&(struct otlp_streams_options){
        .streams_max = metrics->options.otlp->streams_max,
        .idle_ms = metrics->options.otlp->stream_idle_ms,
        .tsdb = options->tsdb,
        .newest = options->newest,
        .clock = options->clock,
    });
    metrics->log_limit.interval_ms = LOG_INTERVAL_MS;
    pthread_mutex_init(&metrics->idle_mtx, NULL);
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    for (size_t i = 0; i < metrics->idle_count; i++)
        metrics_body_free(metrics->idle[i]);
    otlp_streams_free(metrics->streams);
    pthread_mutex_destroy(&metrics->idle_mtx);
    free(metrics);
}

struct otlp_streams *metrics_streams(struct metrics *metrics)
{
    return metrics->streams;
}

uint64_t metrics_otlp_cache_bytes(const struct metrics *metrics)
{
    return __atomic_load_n(&metrics->otlp_cache_bytes, __ATOMIC_RELAXED);
}

void metrics_drain(struct metrics *metrics)
{
    __atomic_store_n(&metrics->is_draining, true, __ATOMIC_SEQ_CST);
}

/* The one used last is given out first: it is the one in the caches. */
static struct metrics_body *body_take(struct metrics *metrics)
{
    struct metrics_body *body = NULL;
    pthread_mutex_lock(&metrics->idle_mtx);
    if (metrics->idle_count > 0)
        body = metrics->idle[--metrics->idle_count];
    pthread_mutex_unlock(&metrics->idle_mtx);
    return body ? body : metrics_body_new(metrics->options.hash_seed, metrics->options.is_injecting_start_zeros);
}

static uint64_t cache_bytes(const struct metrics_body *body)
{
    return body->otlp_cache ? otlp_cache_bytes(body->otlp_cache) : 0;
}

/* `taken_cache_bytes`: how large its cache was when it was taken. */
static void body_give(struct metrics *metrics, struct metrics_body *take_body, uint64_t taken_cache_bytes)
{
    metrics_body_reset(take_body);
    pthread_mutex_lock(&metrics->idle_mtx);
    bool has_room = metrics->idle_count < IDLE_BODIES_MAX;
    if (has_room)
        metrics->idle[metrics->idle_count++] = take_body;
    uint64_t now_cache_bytes = has_room ? cache_bytes(take_body) : 0;
    __atomic_fetch_add(&metrics->otlp_cache_bytes, now_cache_bytes - taken_cache_bytes, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&metrics->idle_mtx);
    if (!has_room)
        metrics_body_free(take_body);
}

/* ---- Figures ---- */

const char *metrics_way_name(enum metrics_way way)
{
    static const char *const names[METRICS_WAY_COUNT] = {
        [METRICS_WAY_WRITE_1] = "remote_write_1", [METRICS_WAY_WRITE_2] = "remote_write_2",
        [METRICS_WAY_IMPORT] = "import",          [METRICS_WAY_OTLP_PROTOBUF] = "otlp_protobuf",
        [METRICS_WAY_OTLP_JSON] = "otlp_json",    [METRICS_WAY_PUSH] = "push",
        [METRICS_WAY_INFLUX] = "influx",
    };
    AP_ASSERT((size_t)way < METRICS_WAY_COUNT);
    return names[way];
}

static void count(uint64_t *counter, uint64_t by)
{
    if (by)
        __atomic_fetch_add(counter, by, __ATOMIC_RELAXED);
}

void metrics_stats_get(const struct metrics *metrics, struct metrics_stats ret_stats[METRICS_WAY_COUNT])
{
    _Static_assert(sizeof(struct metrics_stats) % sizeof(uint64_t) == 0, "all fields are counters");
    for (size_t i = 0; i < METRICS_WAY_COUNT; i++) {
        const uint64_t *from = (const uint64_t *)&metrics->stats[i];
        uint64_t *to = (uint64_t *)&ret_stats[i];
        for (size_t j = 0; j < sizeof(struct metrics_stats) / sizeof(uint64_t); j++)
            to[j] = __atomic_load_n(&from[j], __ATOMIC_RELAXED);
    }
}

void metrics_request_count_refused(struct metrics_request *request, unsigned status)
{
    struct metrics_stats *stats = &request->metrics->stats[request->way];
    count(&stats->requests_refused, 1);
    if (status == 401 || status == 403)
        count(&stats->requests_unauthorized, 1);
    else if (status == 429)
        count(&stats->requests_over_rate, 1);
    else if (status == 503)
        count(&stats->requests_unavailable, 1);
}

uint64_t metrics_request_samples_refused(const struct metrics_request *request)
{
    return request->samples_refused + request->append.outcome.samples_refused;
}

uint64_t metrics_request_exemplars_refused(const struct metrics_request *request)
{
    return request->exemplars_refused + request->append.outcome.exemplars_refused;
}

static void count_outcome(const struct metrics_request *request)
{
    struct metrics_stats *stats = &request->metrics->stats[request->way];
    const struct tsdb_outcome *outcome = &request->append.outcome;
    count(&stats->samples_written, outcome->samples_written);
    count(&stats->histograms_written, outcome->histograms_written);
    count(&stats->exemplars_written, outcome->exemplars_written);
    count(&stats->refused_malformed, request->samples_refused);
    count(&stats->refused_labels, outcome->refused_labels);
    count(&stats->refused_series, outcome->refused_series);
    count(&stats->refused_old, outcome->refused_old);
    count(&stats->refused_duplicate, outcome->refused_duplicate);
    count(&stats->refused_future, outcome->refused_future);
    count(&stats->exemplars_refused, metrics_request_exemplars_refused(request));
}

/* ---- Answers ---- */

void metrics_fields_add_number(struct metrics_fields *fields, const char *name, uint64_t number)
{
    AP_ASSERT(fields->count < METRICS_FIELDS_MAX);
    char *text = fields->texts[fields->count];
    snprintf(text, sizeof(fields->texts[0]), "%" PRIu64, number);
    fields->fields[fields->count++] = (struct http_field){name, text};
}

void metrics_fields_add_error(struct metrics_fields *fields, const struct metrics_request *request, unsigned status,
                              int64_t retry_after_ms)
{
    AP_ASSERT(fields->count + 2 < METRICS_FIELDS_MAX);
    if (retry_after_ms > 0)
        metrics_fields_add_number(fields, "Retry-After", (uint64_t)(retry_after_ms + 999) / 1000);
    if (status == 401)
        fields->fields[fields->count++] = (struct http_field){"WWW-Authenticate", "Bearer"};
    if (status == 405)
        fields->fields[fields->count++] = (struct http_field){"Allow", request->protocol->allow};
}

static void reply_error(struct metrics_request *request, unsigned status, int64_t retry_after_ms, const char *text)
{
    request->append.outcome = (struct tsdb_outcome){0}; /* nothing that the sender may count on */
    metrics_request_count_refused(request, status);
    request->protocol->reply_error(request, status, retry_after_ms, text);
}

/* The store or the log refused all of it, for now. */
static void reply_unavailable(struct metrics_request *request, enum ap_rc rc, const char *text)
{
    ap_log_limited(&request->metrics->log_limit, AP_LOG_WARN, "ingest", "metrics refused: %s", text);
    reply_error(request, 503, rc == AP_E_BUSY ? RETRY_BUSY_MS : RETRY_FULL_MS, text);
}

static void reply_failed(struct metrics_request *request, enum ap_rc rc)
{
    switch (rc) {
    case AP_E_LIMIT:
        reply_error(request, 413, 0, "too many samples at once; send them in smaller parts");
        break;
    case AP_E_FULL:
        reply_unavailable(request, rc, "there is no room on the disk or in the log; send this again later");
        break;
    case AP_E_BUSY:
        reply_unavailable(request, rc, "too much is waiting for the disk; send this again in a moment");
        break;
    default:
        reply_unavailable(request, rc, "the disk refused the samples; send this again later");
        break;
    }
}

static void add_reason(struct ap_buf *text, bool *is_first, uint64_t refused, const char *what)
{
    if (refused == 0)
        return;
    ap_buf_printf(text, "%s%" PRIu64 " %s", *is_first ? " (" : ", ", refused, what);
    *is_first = false;
}

void metrics_request_say_refused(const struct metrics_request *request, bool is_telling_exemplars, struct ap_buf *text)
{
    const struct tsdb_outcome *outcome = &request->append.outcome;
    uint64_t written = outcome->samples_written + outcome->histograms_written;
    uint64_t refused = metrics_request_samples_refused(request);
    uint64_t exemplars_refused = metrics_request_exemplars_refused(request);
    bool is_first = true;
    if (refused) {
        ap_buf_printf(text, "%" PRIu64 " of %" PRIu64 " samples were refused", refused, written + refused);
        add_reason(text, &is_first, request->samples_refused, "malformed");
        add_reason(text, &is_first, outcome->refused_labels, "with invalid labels");
        add_reason(text, &is_first, outcome->refused_series, "of new series over the limit");
        add_reason(text, &is_first, outcome->refused_old, "too old");
        add_reason(text, &is_first, outcome->refused_duplicate, "with another value for a time that has one");
        add_reason(text, &is_first, outcome->refused_future, "too far in the future");
        ap_buf_add_cstr(text, is_first ? "" : ")");
        ap_buf_add_cstr(text, written ? "; the others were written" : "; none was written");
    }
    if (exemplars_refused && (is_telling_exemplars || !refused))
        ap_buf_printf(text, "%s%" PRIu64 " exemplars were refused", refused ? "; " : "", exemplars_refused);
    const char *decoded = request->reason[0] || !is_telling_exemplars ? request->reason : request->exemplar_reason;
    const char *reason = decoded[0] ? decoded : outcome->reason;
    if (reason[0])
        ap_buf_printf(text, ". First: %s", reason);
}

/* ---- Before the body ---- */

static bool matches(const struct metrics_protocol *protocol, struct ap_slice path)
{
    size_t bytes = strlen(protocol->path);
    return path.bytes >= bytes && memcmp(path.data, protocol->path, bytes) == 0 &&
           (path.bytes == bytes || (protocol->is_prefix && path.data[bytes] == '/'));
}

const struct metrics_protocol *metrics_protocol_find(struct ap_slice path, struct ap_slice *ret_rest)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(protocols); i++)
        if (matches(protocols[i], path)) {
            size_t bytes = strlen(protocols[i]->path);
            *ret_rest = ap_slice(path.data + bytes, path.bytes - bytes);
            return protocols[i];
        }
    return NULL;
}

static struct ap_slice find_token(const struct metrics_protocol *protocol, struct http_request *http)
{
    struct ap_slice token = admit_find_token(http);
    return token.data || !protocol->key_parameter ? token : http_query(http, protocol->key_parameter);
}

/* Whatever is answered, the page may read it. */
static void set_cors_fields(struct http_request *http)
{
    struct http_field *fields = ap_arena_alloc0(http_arena(http), CORS_FIELDS_MAX * sizeof(*fields));
    http_set_reply_fields(http, fields, cors_answer_fields(true, fields));
}

void metrics_admit(struct metrics *metrics, const struct metrics_protocol *protocol, struct ap_slice rest,
                   struct http_request *http)
{
    const struct otlp_settings *otlp = metrics->options.otlp;
    struct ap_slice origin = http_header(http, "Origin");
    bool is_from_page = protocol->is_for_pages && cors_origin_is_listed(origin, otlp->origins, otlp->origin_count);
    if (is_from_page && http_method(http) == HTTP_METHOD_OPTIONS) {
        cors_reply_preflight(http);
        return;
    }
    if (is_from_page)
        set_cors_fields(http);
    struct metrics_request *request = ap_arena_alloc0(http_arena(http), sizeof(*request));
    request->metrics = metrics;
    request->options = &metrics->options;
    request->protocol = protocol;
    request->http = http;
    request->rest = rest;
    request->way = protocol->way;
    const char *unsupported = protocol->begin ? protocol->begin(request) : NULL;
    count(&metrics->stats[request->way].requests, 1);
    if (__atomic_load_n(&metrics->is_draining, __ATOMIC_SEQ_CST)) {
        reply_error(request, 503, RETRY_DRAIN_MS, "the server is stopping; send this again in a moment");
        return;
    }
    struct admit_header header = {
        .method = http_method(http),
        .token = find_token(protocol, http),
        .origin = origin,
    };
    if (!(protocol->methods >> header.method & 1)) {
        char text[64];
        snprintf(text, sizeof(text), "this endpoint takes %s", protocol->allow);
        reply_error(request, 405, 0, text);
        return;
    }
    if (unsupported) {
        reply_error(request, 415, 0, unsupported);
        return;
    }
    struct admit_refusal refusal;
    if (!metrics->options.is_open &&
        !admit_check_key(metrics->options.keyring, &header, is_from_page, ap_clock_monotonic_us(metrics->options.clock),
                         &request->key, &refusal)) {
        reply_error(request, refusal.status, refusal.retry_after_ms, refusal.text);
        return;
    }
    http_set_user(http, request);
    http_set_body_limits(http, METRICS_BODY_BYTES_MAX, METRICS_INFLATED_BYTES_MAX);
}

/* ---- With the body ---- */

static void reply_outcome(struct metrics_request *request)
{
    count_outcome(request);
    request->protocol->reply_outcome(request);
}

void metrics_request_finish(struct metrics_request *request)
{
    reply_outcome(request);
}

void metrics_request_fail(struct metrics_request *request, enum ap_rc rc)
{
    reply_failed(request, rc);
}

void metrics_request_refuse(struct metrics_request *request, unsigned status, const char *text)
{
    reply_error(request, status, 0, text);
}

void metrics_request_count_texts_skipped(struct metrics_request *request, uint64_t skipped)
{
    count(&request->metrics->stats[request->way].texts_skipped, skipped);
}

static void append_done(struct tsdb_append *append, enum ap_rc rc)
{
    struct metrics_request *request = append->context;
    if (rc == AP_OK)
        reply_outcome(request);
    else
        reply_failed(request, rc);
}

static void settle(struct metrics_request *request, bool is_appended)
{
    if (request->protocol->settle && request->body)
        request->protocol->settle(request, is_appended);
    request->body = NULL;
}

static void appended(struct tsdb_append *append)
{
    settle(append->context, true);
}

/* Hands the batch to the store. Suspended first: done() may come before the store returns. */
static void append(struct metrics_request *request, const struct metrics_body *body)
{
    struct metrics *metrics = request->metrics;
    request->append.batch = &body->batch;
    request->append.done = append_done;
    request->append.appended = request->protocol->settle ? appended : NULL;
    request->append.context = request;
    http_suspend_briefly(request->http);
    struct ap_err err;
    enum ap_rc rc = metrics->options.append(metrics->options.tsdb, &request->append, &err);
    if (rc == AP_OK)
        return;
    settle(request, false);
    reply_failed(request, rc);
}

static void take_refusals(struct metrics_request *request, const struct metrics_body *body)
{
    request->samples_refused = body->samples_refused + body->histograms_refused;
    request->exemplars_refused = body->exemplars_refused;
    memcpy(request->reason, body->reason, sizeof(request->reason));
    memcpy(request->exemplar_reason, body->exemplar_reason, sizeof(request->exemplar_reason));
}

static unsigned status_of(enum ap_rc rc)
{
    return rc == AP_E_LIMIT ? 413 : rc == AP_E_NOMEM ? 503 : 400;
}

/* Samples and histograms that came in: not the beginnings that nobody sent. */
static uint64_t count_sent(const struct metrics_body *body)
{
    const struct batch *batch = &body->batch;
    uint64_t count = batch->sample_count + batch->histogram_count + body->samples_refused + body->histograms_refused;
    for (size_t i = 0; i < batch->series_count; i++)
        count -= batch->series[i].has_start_zero;
    return count;
}

static void handle_bytes(struct metrics_request *request, struct metrics_body *body, struct ap_slice bytes)
{
    const struct batch *batch = &body->batch;
    struct metrics_stats *stats = &request->metrics->stats[request->way];
    struct ap_err err;
    request->body = body;
    enum ap_rc rc = request->protocol->decode(request, body, bytes, &err);
    count(&stats->body_bytes, body->unpacked ? body->unpacked_bytes : bytes.bytes);
    if (request->key)
        keyring_entry_charge(request->key, ap_clock_monotonic_us(request->options->clock), count_sent(body));
    if (rc != AP_OK) {
        settle(request, false);
        reply_error(request, status_of(rc), 0, err.text);
        return;
    }
    count(&stats->metadata_received, batch->metadata_count);
    take_refusals(request, body);
    if (batch->series_count + batch->metadata_count > 0) {
        append(request, body);
        return;
    }
    settle(request, false);
    reply_outcome(request);
}

void metrics_handle(struct metrics *metrics, struct http_request *http)
{
    struct metrics_request *request = http_user(http);
    AP_ASSERT(request && request->http == http);
    if (request->protocol->take) {
        count(&metrics->stats[request->way].body_bytes, http_body(http).bytes);
        request->protocol->take(request, http_body(http));
        return;
    }
    struct metrics_body *body = body_take(metrics);
    uint64_t taken_cache_bytes = cache_bytes(body);
    /* From here on the request may be gone; what the batch lends is not read. */
    handle_bytes(request, body, http_body(http));
    body_give(metrics, body, taken_cache_bytes);
}
