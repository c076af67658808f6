#include "ingest/otlp_known.h"

#include "base/arena.h"
#include "base/assert.h"
#include "codec/protobuf.h"
#include "ingest/otlp_protobuf.h"
#include "ingest/otlp_sink.h"

/* The context of batch.find_labels(), in the body's arena. */
struct known {
    struct metrics_body *body;
    const struct otlp_settings *settings;
};

/* ---- Contexts ---- */

/* The resource's number, and a ScopeMetrics without metrics. */
uint32_t otlp_known_context(struct otlp_cache *cache, uint32_t resource, const struct otlp_scope *scope)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    if (resource == OTLP_CACHE_NONE || !scope->attributes.raw.data)
        return OTLP_CACHE_NONE;
    ap_buf_add(&text, &resource, sizeof(resource));
    protobuf_add_bytes(&text, 1, scope->attributes.raw);
    protobuf_add_bytes(&text, 3, scope->schema_url);
    return otlp_cache_text(cache, ap_buf_slice(&text));
}

/* ---- Labels again ---- */

/* One point that has nothing but attributes and what a point must have. */
static void add_metric(const struct otlp_cache *cache, const struct otlp_cached_series *series, struct ap_buf *scope)
{
    AP_AUTO_BUF struct ap_buf point = {0}, data = {0}, message = {0};
    const struct otlp_metric *metric = &cache->metrics[cache->groups[series->group].metric].metric;
    ap_buf_add_varint(&point, PROTOBUF_TAG(3, PROTOBUF_FIXED64)); /* time */
    ap_buf_add_u64(&point, 1);
    protobuf_add_double(&point, 4, 0);
    ap_buf_add_slice(&point, otlp_cache_text_at(cache, series->attributes));
    protobuf_add_bytes(&data, 1, ap_buf_slice(&point));
    protobuf_add_varint(&data, 2, OTLP_CUMULATIVE);
    protobuf_add_varint(&data, 3, metric->is_monotonic);
    ap_buf_add_slice(&message, metric->head);
    protobuf_add_bytes(&message, metric->kind == OTLP_SUM ? 7 : 5, ap_buf_slice(&data));
    protobuf_add_bytes(scope, 2, ap_buf_slice(&message));
}

static void make_request(const struct otlp_cache *cache, const struct otlp_cached_series *series, bool has_scope,
                         struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf scope = {0}, resource = {0};
    struct ap_slice context = otlp_cache_text_at(cache, cache->groups[series->group].context);
    if (has_scope) {
        uint32_t number;
        AP_ASSERT(context.bytes >= sizeof(number));
        memcpy(&number, context.data, sizeof(number));
        ap_buf_add(&scope, context.data + sizeof(number), context.bytes - sizeof(number));
        context = otlp_cache_text_at(cache, number);
    }
    add_metric(cache, series, &scope);
    protobuf_add_bytes(&resource, 1, context);
    protobuf_add_bytes(&resource, 2, ap_buf_slice(&scope));
    protobuf_add_bytes(out, 1, ap_buf_slice(&resource));
}

static void find_labels(void *context, size_t series_index, struct ap_buf *out)
{
    const struct known *known = context;
    const struct otlp_cache *cache = known->body->otlp_cache;
    struct metrics_body *body = known->body->again;
    const struct otlp_cached_series *series = &cache->series[otlp_known_origins(known->body)[series_index].number];
    AP_AUTO_BUF struct ap_buf request = {0};
    make_request(cache, series, known->settings->is_promoting_scope, &request);
    if (!body)
        known->body->again = body = metrics_body_new(known->body->hash_seed, false);
    metrics_body_reset(body);
    AP_AUTO(otlp_sink)
    struct otlp_sink *sink = otlp_sink_new(&(struct otlp_sink_options){
        .body = body, .settings = known->settings, .source = ap_buf_slice(&request), .is_making_all_labels = true});
    struct ap_err err;
    enum ap_rc rc = otlp_protobuf_decode(sink, ap_buf_slice(&request), &err);
    /* These bytes have given these labels before. */
    AP_ASSERT(rc == AP_OK && body->batch.series_count > 0);
    AP_ASSERT(labels_hash_equal(body->batch.series[0].hash, series->hash));
    ap_buf_add_slice(out, body->batch.series[0].labels);
}

void otlp_known_begin(struct metrics_body *body, const struct otlp_settings *settings)
{
    struct known *known = ap_arena_alloc0(&body->arena, sizeof(*known));
    *known = (struct known){body, settings};
    body->batch.find_labels = find_labels;
    body->batch.find_labels_context = known;
    body->numbers[0].bytes_max = 0;
}
