#include "ingest/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/log.h"
#include "codec/inflate.h"
#include "ingest/admit.h"
#include "ingest/metrics_body.h"
#include "ingest/metrics_import.h"
#include "ingest/remote_write.h"
#include "ingest/remote_write2.h"
#include "meta/keyring.h"
#include "net/http_server.h"

enum {
    RETRY_BUSY_MS = 1000,  /* the log's queue empties within a commit or two */
    RETRY_FULL_MS = 10000, /* somebody has to make room */
    RETRY_DRAIN_MS = 5000, /* a restart takes about that long */
    LOG_INTERVAL_MS = 5000,
    IDLE_BODIES_MAX = 64, /* each loop needs one at a time */
    FIELDS_MAX = 6,
};

struct metrics {
    /* Constant. */
    struct metrics_options options;
    /* Any thread, atomic. */
    bool is_draining;
    struct metrics_stats stats[METRICS_WAY_COUNT];
    struct ap_log_limit log_limit;
    /* Under idle_mtx, a leaf. */
    pthread_mutex_t idle_mtx;
    struct metrics_body *idle[IDLE_BODIES_MAX]; /* owned; warm memory for the next request */
    size_t idle_count;
};

/* One request from admit() until its answer; in the request's arena. */
struct metrics_request {
    struct metrics *metrics;
    struct http_request *http;
    struct keyring_entry *key; /* NULL: open */
    struct metrics_stats *stats;
    enum metrics_way way;
    bool is_unsaid_snappy; /* remote write without a Content-Encoding */
    bool is_openmetrics;
    /* What decoding found; the batch is gone when the answer is written. */
    uint64_t samples_refused; /* with histograms */
    uint64_t exemplars_refused;
    char reason[METRICS_REASON_BYTES];
    struct ap_slice lines; /* of an import: a JSON array of the bad lines, in the arena; data NULL: none */
    struct tsdb_append append;
};

/* ---- Life ---- */

struct metrics *metrics_new(const struct metrics_options *options)
{
    AP_ASSERT(options->is_open || options->keyring);
    struct metrics *metrics = ap_new0(struct metrics);
    metrics->options = *options;
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
    pthread_mutex_destroy(&metrics->idle_mtx);
    free(metrics);
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

static void body_give(struct metrics *metrics, struct metrics_body *take_body)
{
    metrics_body_reset(take_body);
    pthread_mutex_lock(&metrics->idle_mtx);
    bool has_room = metrics->idle_count < IDLE_BODIES_MAX;
    if (has_room)
        metrics->idle[metrics->idle_count++] = take_body;
    pthread_mutex_unlock(&metrics->idle_mtx);
    if (!has_room)
        metrics_body_free(take_body);
}

/* ---- Figures ---- */

const char *metrics_way_name(enum metrics_way way)
{
    static const char *const names[METRICS_WAY_COUNT] = {"remote_write_1", "remote_write_2", "import"};
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

static void count_refused(struct metrics_stats *stats, unsigned status)
{
    count(&stats->requests_refused, 1);
    if (status == 401 || status == 403)
        count(&stats->requests_unauthorized, 1);
    else if (status == 429)
        count(&stats->requests_over_rate, 1);
    else if (status == 503)
        count(&stats->requests_unavailable, 1);
}

static void count_outcome(struct metrics_request *request)
{
    struct metrics_stats *stats = request->stats;
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
    count(&stats->exemplars_refused, request->exemplars_refused + outcome->exemplars_refused);
}

/* ---- Answers ---- */

/* Text for the numbers of the fields, which http_reply() copies. */
struct field_texts {
    char texts[FIELDS_MAX][24];
    struct http_field fields[FIELDS_MAX];
    size_t count;
};

static void add_number(struct field_texts *fields, const char *name, uint64_t number)
{
    AP_ASSERT(fields->count < FIELDS_MAX);
    char *text = fields->texts[fields->count];
    snprintf(text, sizeof(fields->texts[0]), "%" PRIu64, number);
    fields->fields[fields->count++] = (struct http_field){name, text};
}

/* A 2.0 sender takes a missing count for 0, and an answer without any for one of a 1.0 receiver: always all three. */
static void add_written(const struct metrics_request *request, struct field_texts *fields)
{
    if (request->way != METRICS_WAY_WRITE_2)
        return;
    const struct tsdb_outcome *outcome = &request->append.outcome;
    add_number(fields, "X-Prometheus-Remote-Write-Samples-Written", outcome->samples_written);
    add_number(fields, "X-Prometheus-Remote-Write-Histograms-Written", outcome->histograms_written);
    add_number(fields, "X-Prometheus-Remote-Write-Exemplars-Written", outcome->exemplars_written);
}

static void reply_json(struct metrics_request *request, unsigned status, struct ap_buf *take_json,
                       int64_t retry_after_ms)
{
    count_refused(request->stats, status);
    struct field_texts fields = {.count = 0};
    add_written(request, &fields);
    if (retry_after_ms > 0)
        add_number(&fields, "Retry-After", (uint64_t)(retry_after_ms + 999) / 1000);
    if (status == 401)
        fields.fields[fields.count++] = (struct http_field){"WWW-Authenticate", "Bearer"};
    if (status == 405)
        fields.fields[fields.count++] = (struct http_field){"Allow", "POST"};
    http_reply(request->http, &(struct http_reply){
                                  .status = status,
                                  .content_type = "application/json",
                                  .body = ap_buf_slice(take_json),
                                  .body_owner = HTTP_BODY_TAKEN,
                                  .fields = fields.fields,
                                  .field_count = fields.count,
                              });
}

static void reply_error(struct metrics_request *request, unsigned status, int64_t retry_after_ms, const char *text)
{
    request->append.outcome = (struct tsdb_outcome){0}; /* nothing that the sender may count on */
    struct ap_buf json = {0};
    ap_buf_add_cstr(&json, "{\"error\":");
    ap_buf_add_json_string(&json, ap_slice_cstr(text));
    ap_buf_add_char(&json, '}');
    reply_json(request, status, &json, retry_after_ms);
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

/* "3 of 1000 samples were refused (2 too old, 1 …), the others were written; first: …" */
static void say_refused(const struct metrics_request *request, uint64_t refused, struct ap_buf *text)
{
    const struct tsdb_outcome *outcome = &request->append.outcome;
    uint64_t written = outcome->samples_written + outcome->histograms_written;
    uint64_t exemplars_refused = request->exemplars_refused + outcome->exemplars_refused;
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
    if (exemplars_refused && (request->way == METRICS_WAY_WRITE_2 || !refused))
        ap_buf_printf(text, "%s%" PRIu64 " exemplars were refused", refused ? "; " : "", exemplars_refused);
    const char *reason = request->reason[0] ? request->reason : outcome->reason;
    if (reason[0])
        ap_buf_printf(text, ". First: %s", reason);
}

static void reply_refused(struct metrics_request *request, uint64_t refused)
{
    const struct tsdb_outcome *outcome = &request->append.outcome;
    AP_AUTO_BUF struct ap_buf text = {0};
    struct ap_buf json = {0};
    say_refused(request, refused, &text);
    ap_buf_add_cstr(&json, "{\"error\":");
    ap_buf_add_json_string(&json, ap_buf_slice(&text));
    ap_buf_printf(&json, ",\"written\":%" PRIu64 ",\"refused\":%" PRIu64,
                  outcome->samples_written + outcome->histograms_written, refused);
    if (request->lines.data) {
        ap_buf_add_cstr(&json, ",\"lines\":");
        ap_buf_add_slice(&json, request->lines);
    }
    ap_buf_add_char(&json, '}');
    reply_json(request, 400, &json, 0);
}

/* Everything is durable that outcome counts as written. */
static void reply_outcome(struct metrics_request *request)
{
    const struct tsdb_outcome *outcome = &request->append.outcome;
    uint64_t refused = request->samples_refused + outcome->samples_refused;
    uint64_t exemplars_refused = request->exemplars_refused + outcome->exemplars_refused;
    count_outcome(request);
    /* 1.0 and text have never failed for an exemplar; 2.0 forbids 2xx unless all was written. */
    if (refused || (exemplars_refused && request->way == METRICS_WAY_WRITE_2)) {
        reply_refused(request, refused);
        return;
    }
    if (request->way != METRICS_WAY_WRITE_2) {
        http_reply_empty(request->http, 204);
        return;
    }
    struct field_texts fields = {.count = 0};
    add_written(request, &fields);
    http_reply(request->http,
               &(struct http_reply){.status = 204, .fields = fields.fields, .field_count = fields.count});
}

/* ---- Before the body ---- */

/* The value of a parameter of a field such as `type; name=value`, without quotes; data NULL: none. */
static struct ap_slice find_parameter(struct ap_slice rest, const char *name)
{
    (void)ap_slice_split(&rest, ';');
    while (rest.data) {
        struct ap_slice value = ap_slice_split(&rest, ';');
        struct ap_slice key = ap_slice_trim(ap_slice_split(&value, '='));
        if (!value.data || !ap_slice_equal_nocase(key, name))
            continue;
        value = ap_slice_trim(value);
        if (value.bytes >= 2 && value.data[0] == '"' && value.data[value.bytes - 1] == '"')
            value = ap_slice(value.data + 1, value.bytes - 2);
        return value;
    }
    return (struct ap_slice){0};
}

/* False: 415. */
static bool find_message(struct ap_slice content_type, enum metrics_way *ret_way)
{
    struct ap_slice rest = content_type;
    struct ap_slice name = ap_slice_trim(ap_slice_split(&rest, ';'));
    struct ap_slice message = find_parameter(content_type, "proto");
    *ret_way = METRICS_WAY_WRITE_1;
    if (name.bytes && !ap_slice_equal_nocase(name, "application/x-protobuf"))
        return false;
    if (ap_slice_equal_cstr(message, "io.prometheus.write.v2.Request")) {
        *ret_way = METRICS_WAY_WRITE_2;
        return true;
    }
    return message.bytes == 0 || ap_slice_equal_cstr(message, "prometheus.WriteRequest");
}

static bool find_text(struct ap_slice content_type, bool *ret_is_openmetrics)
{
    /* The last two are what curl says of a body unless told otherwise. */
    static const char *const names[] = {"text/plain", "application/x-www-form-urlencoded", "application/octet-stream"};
    struct ap_slice name = ap_slice_trim(ap_slice_split(&content_type, ';'));
    *ret_is_openmetrics = ap_slice_equal_nocase(name, "application/openmetrics-text");
    if (name.bytes == 0 || *ret_is_openmetrics)
        return true;
    for (size_t i = 0; i < AP_ARRAY_COUNT(names); i++)
        if (ap_slice_equal_nocase(name, names[i]))
            return true;
    return false;
}

/* Fills what the header says of the body. NULL, or why it is 415. */
static const char *find_type(struct metrics_request *request, enum metrics_endpoint endpoint)
{
    struct ap_slice content_type = http_header(request->http, "Content-Type");
    struct ap_slice content_encoding = http_header(request->http, "Content-Encoding");
    enum inflate_encoding encoding;
    if (endpoint == METRICS_IMPORT) {
        request->way = METRICS_WAY_IMPORT;
        if (!find_text(content_type, &request->is_openmetrics))
            return "send the Prometheus text format as text/plain, or OpenMetrics as application/openmetrics-text";
    } else if (!find_message(content_type, &request->way)) {
        return "send application/x-protobuf, with proto=prometheus.WriteRequest (1.0, the default) or "
               "proto=io.prometheus.write.v2.Request (2.0)";
    }
    if (!inflate_encoding_parse(content_encoding, &encoding))
        return "the Content-Encoding is not known; send snappy, zstd or gzip";
    /* The protocol says snappy, and some of the first senders did not say so. */
    request->is_unsaid_snappy = endpoint == METRICS_WRITE && content_encoding.bytes == 0;
    return NULL;
}

void metrics_admit(struct metrics *metrics, enum metrics_endpoint endpoint, struct http_request *http)
{
    struct metrics_request *request = ap_arena_alloc0(http_arena(http), sizeof(*request));
    request->metrics = metrics;
    request->http = http;
    const char *unsupported = find_type(request, endpoint);
    request->stats = &metrics->stats[request->way];
    count(&request->stats->requests, 1);
    if (__atomic_load_n(&metrics->is_draining, __ATOMIC_SEQ_CST)) {
        reply_error(request, 503, RETRY_DRAIN_MS, "the server is stopping; send this again in a moment");
        return;
    }
    struct admit_header header = {
        .method = http_method(http),
        .token = admit_find_token(http),
        .origin = http_header(http, "Origin"),
    };
    if (header.method != HTTP_METHOD_POST) {
        reply_error(request, 405, 0, "this endpoint takes POST");
        return;
    }
    if (unsupported) {
        reply_error(request, 415, 0, unsupported);
        return;
    }
    struct admit_refusal refusal;
    if (!metrics->options.is_open &&
        !admit_check_key(metrics->options.keyring, &header, false, ap_clock_monotonic_us(metrics->options.clock),
                         &request->key, &refusal)) {
        reply_error(request, refusal.status, refusal.retry_after_ms, refusal.text);
        return;
    }
    http_set_user(http, request);
    http_set_body_limits(http, METRICS_BODY_BYTES_MAX, METRICS_INFLATED_BYTES_MAX);
}

/* ---- With the body ---- */

struct import_parameters {
    struct label extra_labels[METRICS_IMPORT_EXTRA_LABELS_MAX];
    size_t extra_label_count;
    const char *fault;
};

static bool read_parameter(struct ap_slice name, struct ap_slice value, void *context)
{
    struct import_parameters *parameters = context;
    if (!ap_slice_equal_cstr(name, "extra_label"))
        return true;
    struct ap_slice label_value = value;
    struct ap_slice label_name = ap_slice_split(&label_value, '=');
    if (!label_value.data || label_name.bytes == 0)
        parameters->fault = "extra_label must be name=value";
    else if (parameters->extra_label_count == METRICS_IMPORT_EXTRA_LABELS_MAX)
        parameters->fault = "there are too many extra_label";
    else
        parameters->extra_labels[parameters->extra_label_count++] = (struct label){label_name, label_value};
    return !parameters->fault;
}

static bool parse_ts(struct ap_slice text, int64_t *ret_ts_ms)
{
    int64_t value = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text.data[i] - '0', &value))
            return false;
    }
    *ret_ts_ms = value;
    return text.bytes > 0;
}

/* The bad lines as JSON, into the request's arena: the report is gone when the answer is written. */
static void keep_lines(struct metrics_request *request, const struct metrics_import_report *report)
{
    AP_AUTO_BUF struct ap_buf json = {0};
    for (size_t i = 0; i < report->error_count; i++) {
        const struct metrics_import_error *error = &report->errors[i];
        ap_buf_printf(&json, "%c{\"line\":%zu,\"column\":%zu,\"error\":", i ? ',' : '[', error->line, error->column);
        ap_buf_add_json_string(&json, ap_slice_cstr(error->text));
        ap_buf_add_char(&json, '}');
    }
    if (report->error_count == 0)
        return;
    ap_buf_add_char(&json, ']');
    char *kept = ap_arena_try_alloc(http_arena(request->http), json.bytes);
    if (kept)
        request->lines = ap_slice(memcpy(kept, json.data, json.bytes), json.bytes);
}

static enum ap_rc decode_text(struct metrics_request *request, struct metrics_body *body, struct ap_slice text,
                              struct ap_err *err)
{
    struct import_parameters parameters = {.extra_label_count = 0};
    struct metrics_import_options options = {
        .format = request->is_openmetrics ? EXPOSITION_OPENMETRICS : EXPOSITION_TEXT,
        .default_ts_ms = ap_clock_wall_us(request->metrics->options.clock) / AP_US_PER_MS,
    };
    struct ap_slice ts = http_query(request->http, "timestamp");
    if (ts.data && !parse_ts(ts, &options.default_ts_ms))
        return ap_fail(err, AP_E_PARSE, "the parameter timestamp must be milliseconds since 1970");
    http_query_each(request->http, read_parameter, &parameters);
    if (parameters.fault)
        return ap_fail(err, AP_E_PARSE, "%s", parameters.fault);
    options.extra_labels = parameters.extra_labels;
    options.extra_label_count = parameters.extra_label_count;
    struct metrics_import_report report;
    enum ap_rc rc = metrics_import_decode(body, &options, text, &report, err);
    if (rc == AP_OK)
        keep_lines(request, &report);
    return rc;
}

static enum ap_rc decode(struct metrics_request *request, struct metrics_body *body, struct ap_slice bytes,
                         struct ap_err *err)
{
    count(&request->stats->body_bytes, bytes.bytes);
    switch (request->way) {
    case METRICS_WAY_WRITE_1:
        return remote_write_decode(body, bytes, err);
    case METRICS_WAY_WRITE_2:
        return remote_write2_decode(body, bytes, err);
    case METRICS_WAY_IMPORT:
    case METRICS_WAY_COUNT:
        break;
    }
    return decode_text(request, body, bytes, err);
}

/* The body of a sender that does not say how it is compressed. *ret_bytes is the caller's (free()). */
static enum ap_rc uncompress(struct ap_slice packed, char **ret_bytes, size_t *ret_size, struct ap_err *err)
{
    AP_AUTO(inflate) struct inflate *inflate = inflate_new();
    return inflate_body(inflate, INFLATE_SNAPPY, packed, METRICS_INFLATED_BYTES_MAX, ret_bytes, ret_size, err);
}

static void append_done(struct tsdb_append *append, enum ap_rc rc)
{
    struct metrics_request *request = append->context;
    if (rc == AP_OK)
        reply_outcome(request);
    else
        reply_failed(request, rc);
}

/* Hands the batch to the store. Suspended first: done() may come before the store returns. */
static void append(struct metrics_request *request, const struct metrics_body *body)
{
    struct metrics *metrics = request->metrics;
    request->append.batch = &body->batch;
    request->append.done = append_done;
    request->append.context = request;
    http_suspend_briefly(request->http);
    struct ap_err err;
    enum ap_rc rc = metrics->options.append(metrics->options.tsdb, &request->append, &err);
    if (rc != AP_OK)
        reply_failed(request, rc);
}

static void take_refusals(struct metrics_request *request, const struct metrics_body *body)
{
    request->samples_refused = body->samples_refused + body->histograms_refused;
    request->exemplars_refused = body->exemplars_refused;
    const char *reason = body->reason[0] || request->way != METRICS_WAY_WRITE_2 ? body->reason : body->exemplar_reason;
    memcpy(request->reason, reason, sizeof(request->reason));
}

static void handle_bytes(struct metrics_request *request, struct metrics_body *body, struct ap_slice bytes)
{
    const struct batch *batch = &body->batch;
    struct ap_err err;
    enum ap_rc rc = decode(request, body, bytes, &err);
    if (request->key)
        keyring_entry_charge(request->key, ap_clock_monotonic_us(request->metrics->options.clock),
                             batch->sample_count + batch->histogram_count + body->samples_refused +
                                 body->histograms_refused);
    if (rc != AP_OK) {
        reply_error(request, rc == AP_E_LIMIT ? 413 : 400, 0, err.text);
        return;
    }
    count(&request->stats->metadata_received, batch->metadata_count);
    take_refusals(request, body);
    if (batch->series_count + batch->metadata_count > 0)
        append(request, body);
    else
        reply_outcome(request);
}

void metrics_handle(struct metrics *metrics, enum metrics_endpoint endpoint, struct http_request *http)
{
    (void)endpoint;
    struct metrics_request *request = http_user(http);
    AP_ASSERT(request && request->http == http);
    struct ap_slice bytes = http_body(http);
    AP_AUTO_FREE char *unpacked = NULL;
    if (request->is_unsaid_snappy) {
        struct ap_err err;
        enum ap_rc rc = uncompress(bytes, &unpacked, &bytes.bytes, &err);
        if (rc != AP_OK) {
            reply_error(request, rc == AP_E_LIMIT ? 413 : rc == AP_E_NOMEM ? 503 : 400, 0, err.text);
            return;
        }
        bytes.data = unpacked;
    }
    struct metrics_body *body = body_take(metrics);
    handle_bytes(request, body, bytes); /* from here on the request may be gone; what the batch lends is not read */
    body_give(metrics, body);
}
