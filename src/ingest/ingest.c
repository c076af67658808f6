#include "ingest/ingest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/log.h"
#include "ingest/admit.h"
#include "ingest/backlog.h"
#include "ingest/cors.h"
#include "ingest/geo.h"
#include "ingest/json_rows.h"
#include "ingest/metrics_protocol.h"
#include "ingest/otlp_streams.h"
#include "ingest/row_report.h"
#include "ingest/user_id.h"
#include "meta/keyring.h"
#include "net/http_server.h"
#include "wal/wal.h"

_Static_assert((int)INGEST_HASH_KEY_BYTES == (int)USER_ID_HASH_KEY_BYTES, "one key, two names");

enum {
    RETRY_BUSY_MS = 1000,  /* the log's queue empties within a commit or two */
    RETRY_FULL_MS = 10000, /* somebody has to make room, or a store to catch up */
    RETRY_DRAIN_MS = 5000, /* a restart takes about that long */
    LOG_INTERVAL_MS = 5000,
    BULK_ROWS_MIN = 100,         /* from here on a request is a large batch, which may have to wait for the store */
    BACKLOG_BYTES_MAX = 8 << 20, /* of log: some 45,000 events, which the store takes in a fraction of a second */
    BACKLOG_HOLD_MS_MAX = 2000,
    RECORD_BYTES_MAX = 24 << 20, /* rows are seldom larger than their JSON; the log's own limit is higher */
};

/* One that takes rows. Its place is also that of its table and figures. */
struct row_endpoint {
    const char *path;
    const char *table;
};
static const struct row_endpoint endpoints[INGEST_ENDPOINT_COUNT] = {
    {"/events", "events"},
    {"/vitals", "vitals"},
    {"/downloads", "downloads"},
    {"/synthetic", "synthetic_runs"},
};

struct ingest {
    /* Constant. */
    struct ingest_options options;
    const struct table *tables[INGEST_ENDPOINT_COUNT];
    struct backlog *backlog; /* owned */
    struct metrics *metrics; /* owned; NULL: no store for them */
    /* Any thread, atomic. */
    bool is_draining;
    struct ingest_stats stats[INGEST_ENDPOINT_COUNT];
    struct ap_log_limit log_limit;
};

/* One request from admit() until its answer; in the request's arena. */
struct ingest_request {
    struct ingest *ingest;
    struct ingest_stats *stats;
    struct http_request *http;
    struct keyring_entry *key; /* NULL: open */
    bool is_from_page;         /* it has an Origin */
    bool is_ndjson;
    uint64_t accepted_count;
    struct ap_slice answer; /* what to say when the rows are durable; data NULL: nothing, 204 */
    struct ap_buf record;   /* the rows, as the log keeps them */
    struct wal_ticket ticket;
    struct backlog_entry backlog_entry;
};

struct ingest *ingest_new(const struct ingest_options *options)
{
    AP_ASSERT(options->is_open || options->keyring);
    struct ingest *ingest = ap_new0(struct ingest);
    ingest->options = *options;
    ingest->log_limit.interval_ms = LOG_INTERVAL_MS;
    ingest->backlog = backlog_new(BACKLOG_BYTES_MAX, BACKLOG_HOLD_MS_MAX, options->clock);
    for (size_t i = 0; i < INGEST_ENDPOINT_COUNT; i++) {
        ingest->tables[i] = table_find(endpoints[i].table);
        AP_ASSERT(ingest->tables[i] != NULL);
    }
    if (options->tsdb_append)
        ingest->metrics = metrics_new(&(struct metrics_options){
            .tsdb = options->tsdb,
            .append = options->tsdb_append,
            .newest = options->tsdb_newest,
            .hash_seed = options->tsdb_hash_seed,
            .is_injecting_start_zeros = options->is_injecting_start_zeros,
            .otlp = options->otlp,
            .keyring = options->keyring,
            .clock = options->clock,
            .is_open = options->is_open,
            .influx_separator = options->influx_separator ? options->influx_separator : "_",
            .push = options->push,
        });
    return ingest;
}

void ingest_free(struct ingest *ingest)
{
    if (!ingest)
        return;
    backlog_free(ingest->backlog);
    metrics_free(ingest->metrics);
    free(ingest);
}

static bool is_draining(const struct ingest *ingest)
{
    return __atomic_load_n(&ingest->is_draining, __ATOMIC_SEQ_CST);
}

void ingest_drain(struct ingest *ingest)
{
    __atomic_store_n(&ingest->is_draining, true, __ATOMIC_SEQ_CST);
    backlog_release_all(ingest->backlog);
    if (ingest->metrics)
        metrics_drain(ingest->metrics);
}

void ingest_note_visible(struct ingest *ingest, uint64_t lsn)
{
    if (!is_draining(ingest))
        backlog_note_visible(ingest->backlog, lsn);
    if (is_draining(ingest)) /* also when it began in between: nobody may be held from then on */
        backlog_release_all(ingest->backlog);
}

void ingest_note_store_trouble(struct ingest *ingest)
{
    backlog_release_all(ingest->backlog);
}

struct ingest_endpoint ingest_endpoint_find(struct ap_slice path)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(endpoints); i++)
        if (ap_slice_equal_cstr(path, endpoints[i].path))
            return (struct ingest_endpoint){.rows = &endpoints[i]};
    struct ingest_endpoint endpoint = {0};
    endpoint.metrics = metrics_protocol_find(path, &endpoint.rest);
    return endpoint;
}

bool ingest_endpoint_is_otlp(struct ingest_endpoint endpoint)
{
    return endpoint.metrics == &metrics_protocol_otlp || endpoint.metrics == &metrics_protocol_otlp_prometheus;
}

static void count(uint64_t *counter, uint64_t by)
{
    __atomic_fetch_add(counter, by, __ATOMIC_RELAXED);
}

void ingest_stats_get(const struct ingest *ingest, struct ingest_table_stats ret_stats[INGEST_ENDPOINT_COUNT])
{
    _Static_assert(sizeof(struct ingest_stats) % sizeof(uint64_t) == 0, "all fields are counters");
    for (size_t i = 0; i < INGEST_ENDPOINT_COUNT; i++) {
        const uint64_t *from = (const uint64_t *)&ingest->stats[i];
        uint64_t *to = (uint64_t *)&ret_stats[i].stats;
        for (size_t j = 0; j < sizeof(struct ingest_stats) / sizeof(uint64_t); j++)
            to[j] = __atomic_load_n(&from[j], __ATOMIC_RELAXED);
        ret_stats[i].table = endpoints[i].table;
    }
}

void ingest_otlp_stats_get(const struct ingest *ingest, struct otlp_streams_stats *ret_stats)
{
    *ret_stats = (struct otlp_streams_stats){0};
    if (ingest->metrics)
        otlp_streams_stats_get(metrics_streams(ingest->metrics), ret_stats);
}

uint64_t ingest_otlp_cache_bytes(const struct ingest *ingest)
{
    return ingest->metrics ? metrics_otlp_cache_bytes(ingest->metrics) : 0;
}

void ingest_metrics_stats_get(const struct ingest *ingest, struct metrics_stats ret_stats[METRICS_WAY_COUNT])
{
    memset(ret_stats, 0, METRICS_WAY_COUNT * sizeof(*ret_stats));
    if (ingest->metrics)
        metrics_stats_get(ingest->metrics, ret_stats);
}

/* ---- Answers ---- */

/* Replies with `json` (data NULL: no body), CORS fields where a page asked, and Retry-After unless that is 0. */
static void reply(struct ingest_request *request, unsigned status, struct ap_slice json, enum http_body_owner owner,
                  int64_t retry_after_ms)
{
    struct http_field fields[CORS_FIELDS_MAX + 3];
    size_t field_count = cors_answer_fields(request->is_from_page, fields);
    char retry_after[24];
    if (retry_after_ms > 0) {
        snprintf(retry_after, sizeof(retry_after), "%" PRId64, (retry_after_ms + 999) / 1000);
        fields[field_count++] = (struct http_field){"Retry-After", retry_after};
    }
    if (status == 401)
        fields[field_count++] = (struct http_field){"WWW-Authenticate", "Bearer"};
    if (status == 405)
        fields[field_count++] = (struct http_field){"Allow", "POST, OPTIONS"};
    if (!json.data && field_count == 0) {
        http_reply_empty(request->http, status);
        return;
    }
    http_reply(request->http, &(struct http_reply){
                                  .status = status,
                                  .content_type = json.data ? "application/json" : NULL,
                                  .body = json,
                                  .body_owner = owner,
                                  .fields = fields,
                                  .field_count = field_count,
                              });
}

static void count_refused(struct ingest_stats *stats, unsigned status)
{
    count(&stats->requests_refused_count, 1);
    if (status == 401 || status == 403)
        count(&stats->requests_unauthorized_count, 1);
    else if (status == 429)
        count(&stats->requests_over_rate_count, 1);
    else if (status == 503)
        count(&stats->requests_unavailable_count, 1);
}

/* {"error":"…"}, with where in the body it went wrong if `position` is given. */
static void reply_error(struct ingest_request *request, unsigned status, int64_t retry_after_ms, const char *text,
                        const struct json_position *position)
{
    count_refused(request->stats, status);
    struct ap_buf json = {0};
    ap_buf_add_cstr(&json, "{\"error\":");
    ap_buf_add_json_string(&json, ap_slice_cstr(text));
    if (position)
        ap_buf_printf(&json, ",\"offset\":%zu,\"line\":%zu,\"column\":%zu", position->offset, position->line,
                      position->column);
    ap_buf_add_char(&json, '}');
    reply(request, status, ap_buf_slice(&json), HTTP_BODY_TAKEN, retry_after_ms);
}

/* ---- Before the body ---- */

static void admit_metrics(struct ingest *ingest, struct ingest_endpoint endpoint, struct http_request *http)
{
    static const char text[] = "{\"error\":\"this server keeps no metrics\"}";
    if (ingest->metrics)
        metrics_admit(ingest->metrics, endpoint.metrics, endpoint.rest, http);
    else
        http_reply(http, &(struct http_reply){.status = 404,
                                              .content_type = "application/json",
                                              .body = ap_slice(text, sizeof(text) - 1),
                                              .body_owner = HTTP_BODY_STATIC});
}

void ingest_admit(struct ingest *ingest, struct ingest_endpoint endpoint, struct http_request *http)
{
    if (endpoint.metrics) {
        admit_metrics(ingest, endpoint, http);
        return;
    }
    if (http_method(http) == HTTP_METHOD_OPTIONS)
        return; /* the preflight comes without a key */
    struct ingest_request *request = ap_arena_alloc0(http_arena(http), sizeof(*request));
    request->ingest = ingest;
    request->stats = &ingest->stats[endpoint.rows - endpoints];
    request->http = http;
    struct ap_slice origin = http_header(http, "Origin");
    request->is_from_page = origin.data != NULL;
    if (is_draining(ingest)) {
        reply_error(request, 503, RETRY_DRAIN_MS, "the server is stopping; send this again in a moment", NULL);
        return;
    }
    struct admit_header header = {
        .method = http_method(http),
        .content_type = http_header(http, "Content-Type"),
        .token = admit_find_token(http),
        .origin = origin,
    };
    struct admit_refusal refusal;
    int64_t now_us = ap_clock_monotonic_us(ingest->options.clock);
    if (!admit_check(ingest->options.keyring, ingest->options.is_open, &header, now_us, &request->key,
                     &request->is_ndjson, &refusal)) {
        reply_error(request, refusal.status, refusal.retry_after_ms, refusal.text, NULL);
        return;
    }
    http_set_user(http, request);
    http_set_body_limits(http, INGEST_BODY_BYTES_MAX, INGEST_INFLATED_BYTES_MAX);
}

/* ---- With the body ---- */

/* Do Not Track and Global Privacy Control: what they ask for is that nothing is kept. */
static bool asks_not_to_be_tracked(const struct http_request *http)
{
    return ap_slice_equal_cstr(http_header(http, "DNT"), "1") || ap_slice_equal_cstr(http_header(http, "Sec-GPC"), "1");
}

static enum ap_rc decode(struct ingest_request *request, const struct table *table, struct row_report *report,
                         struct json_position *ret_position, struct ap_err *err)
{
    const struct ingest_options *options = &request->ingest->options;
    struct client_address client;
    client_address_find(http_peer(request->http), http_header(request->http, "X-Forwarded-For"),
                        &options->trusted_proxies, &client);
    bool is_secret = !request->key || request->key->kind == KEY_KIND_SECRET;
    struct json_rows_context context = {
        .table = table,
        .received_us = ap_clock_wall_us(options->clock),
        .geo = options->geo,
        .client = &client,
        .user_id_hash_key = options->is_hashing_user_ids ? options->user_id_hash_key : NULL,
        .is_ndjson = request->is_ndjson,
        .may_date_back = is_secret,
        .may_give_client_ip = is_secret,
    };
    return json_rows_decode(&context, http_body(request->http), &request->record, report, ret_position, err);
}

static void reply_unavailable(struct ingest_request *request, enum ap_rc rc, const char *text)
{
    struct ingest *ingest = request->ingest;
    ap_log_limited(&ingest->log_limit, AP_LOG_WARN, "ingest", "rows refused: %s", text);
    reply_error(request, 503, rc == AP_E_BUSY ? RETRY_BUSY_MS : RETRY_FULL_MS, text, NULL);
}

static void reply_accepted(struct ingest_request *request)
{
    reply(request, request->answer.data ? 200 : 204, request->answer, HTTP_BODY_ARENA, 0);
}

static void backlog_released(struct backlog_entry *entry)
{
    reply_accepted(AP_CONTAINER_OF(entry, struct ingest_request, backlog_entry));
}

/* On the log's commit thread: must not block. */
static void ticket_done(struct wal_ticket *ticket, enum ap_rc rc, uint64_t lsn)
{
    struct ingest_request *request = ticket->context;
    ap_buf_clear(&request->record);
    if (rc != AP_OK) {
        reply_unavailable(request, rc,
                          rc == AP_E_FULL ? "the disk is full; send this again later"
                                          : "the disk refused the rows; send this again later");
        return;
    }
    count(&request->stats->rows_accepted_count, request->accepted_count);
    request->backlog_entry.release = backlog_released;
    if (request->accepted_count < BULK_ROWS_MIN ||
        !backlog_hold(request->ingest->backlog, &request->backlog_entry, lsn))
        reply_accepted(request);
}

/*
 * Hands the rows to the log. The request is suspended first: done() may come before wal_submit() returns. Briefly,
 * because it comes within milliseconds; from here on the request's header must not be read.
 */
static void submit(struct ingest_request *request)
{
    struct wal_ticket *ticket = &request->ticket;
    ticket->type = ROW_RECORD_TYPE;
    ticket->slices[0] = ap_buf_slice(&request->record);
    ticket->slice_count = 1;
    ticket->done = ticket_done;
    ticket->context = request;
    http_suspend_briefly(request->http);
    struct ap_err err;
    enum ap_rc rc = wal_submit(request->ingest->options.wal, ticket, &err);
    if (rc == AP_OK)
        return;
    ap_buf_clear(&request->record);
    if (rc == AP_E_LIMIT)
        reply_error(request, 413, 0, "too many rows at once; send them in smaller batches", NULL);
    else
        reply_unavailable(request, rc, err.text);
}

void ingest_handle(struct ingest *ingest, struct ingest_endpoint endpoint, struct http_request *http)
{
    if (endpoint.metrics) {
        metrics_handle(ingest->metrics, http);
        return;
    }
    if (http_method(http) == HTTP_METHOD_OPTIONS) {
        cors_reply_preflight(http);
        return;
    }
    struct ingest_request *request = http_user(http);
    AP_ASSERT(request && request->http == http);
    struct row_report report;
    row_report_init(&report, http_arena(http));
    struct json_position position;
    struct ap_err err;
    ap_buf_init(&request->record, RECORD_BYTES_MAX);
    enum ap_rc rc = decode(request, ingest->tables[endpoint.rows - endpoints], &report, &position, &err);
    if (request->key)
        keyring_entry_charge(request->key, ap_clock_monotonic_us(ingest->options.clock),
                             report.accepted_count + report.rejected_count);
    if (asks_not_to_be_tracked(http)) {
        ap_buf_clear(&request->record);
        count(&request->stats->rows_dropped_count, report.accepted_count);
        reply(request, 204, (struct ap_slice){0}, HTTP_BODY_STATIC, 0);
        return;
    }
    if (rc != AP_OK) {
        ap_buf_clear(&request->record);
        if (rc == AP_E_LIMIT)
            reply_error(request, 413, 0, err.text, NULL);
        else
            reply_error(request, 400, 0, err.text, &position);
        return;
    }
    count(&request->stats->rows_rejected_count, report.rejected_count);
    request->accepted_count = report.accepted_count;
    if (report.rejected_count)
        request->answer = row_report_json(&report);
    if (report.accepted_count) {
        submit(request);
        return;
    }
    ap_buf_clear(&request->record);
    if (report.rejected_count)
        count_refused(request->stats, 400);
    reply(request, report.rejected_count ? 400 : 204, request->answer, HTTP_BODY_ARENA, 0);
}
