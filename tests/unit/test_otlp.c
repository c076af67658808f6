/*
 * OTLP requests in, batches out. A batch is compared as text, one line a series:
 *
 *     name{labels} time value, time value; exemplars
 */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/random.h"
#include "codec/protobuf.h"
#include "ingest/metrics_body.h"
#include "ingest/otlp_json.h"
#include "ingest/otlp_protobuf.h"
#include "ingest/otlp_sink.h"
#include "ingest/otlp_streams.h"
#include "tsdb/histogram.h"

struct fixture {
    struct metrics_body *body;
    struct otlp_settings settings;
    struct otlp_streams *streams; /* NULL: deltas are refused */
    bool is_keeping_body;         /* and what it knows, from request to request */
    bool is_making_all_labels;
    uint64_t points_refused;
};

static void fixture_init(struct fixture *fx)
{
    *fx = (struct fixture){.body = metrics_body_new(1, false)};
    otlp_settings_init(&fx->settings);
}

static void fixture_clear(struct fixture *fx)
{
    metrics_body_free(fx->body);
    otlp_streams_free(fx->streams);
}

/* ---- Batches as text ---- */

static void add_value(struct ap_buf *out, int64_t ts_ms, double value)
{
    if (ap_double_to_bits(value) == UINT64_C(0x7ff0000000000002))
        ap_buf_printf(out, " %" PRId64 " stale", ts_ms);
    else
        ap_buf_printf(out, " %" PRId64 " %.17g", ts_ms, value);
}

static void add_buckets(struct ap_buf *out, const char *sign, const struct histogram_buckets *buckets)
{
    int32_t index = 0;
    size_t at = 0;
    for (size_t i = 0; i < buckets->span_count; i++) {
        index += buckets->spans[i].offset;
        for (uint32_t j = 0; j < buckets->spans[i].length; j++, index++)
            ap_buf_printf(out, " %s%d:%" PRIu64, sign, index, buckets->counts[at++]);
    }
}

static void add_histogram(struct ap_buf *out, int64_t ts_ms, struct ap_slice blob)
{
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    struct histogram histogram;
    struct ap_err err;
    assert_int_equal(histogram_decode(blob, &arena, &histogram, &err), AP_OK);
    if (histogram_is_stale(&histogram)) {
        ap_buf_printf(out, " %" PRId64 " stale histogram", ts_ms);
        return;
    }
    ap_buf_printf(out, " %" PRId64 " schema %d count %" PRIu64 " sum %.17g zero %" PRIu64 "/%g", ts_ms,
                  histogram.schema, histogram.count, histogram.sum, histogram.zero_count, histogram.zero_threshold);
    add_buckets(out, "+", &histogram.positive);
    add_buckets(out, "-", &histogram.negative);
    for (size_t i = 0; i < histogram.custom_value_count; i++)
        ap_buf_printf(out, " le %g", histogram.custom_values[i]);
}

/* `{a="b",c="d"}`, without spaces. */
static void add_labels(struct ap_buf *out, struct ap_slice labels)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    labels_format(labels, &text);
    for (size_t i = 0; i < text.bytes; i++)
        if (!(text.data[i] == ' ' && i > 1 && memcmp(text.data + i - 2, "\",", 2) == 0))
            ap_buf_add_char(out, text.data[i]);
}

static void add_series(struct ap_buf *out, const struct batch *batch, const struct batch_series *series)
{
    AP_AUTO_BUF struct ap_buf found = {0};
    struct ap_slice labels = series->labels;
    struct ap_err err;
    if (!labels.data) {
        batch->find_labels(batch->find_labels_context, (size_t)(series - batch->series), &found);
        labels = ap_buf_slice(&found);
    }
    if (labels_check(labels, &err) != AP_OK)
        fail_msg("%s", err.text);
    assert_true(labels_hash_equal(series->hash, labels_hash_of(1, labels)));
    add_labels(out, labels);
    if (series->has_start_zero)
        ap_buf_add_cstr(out, series->is_start_zero_for_restart ? " from" : " begins");
    for (uint32_t i = 0; i < series->sample_count; i++)
        add_value(out, batch->ts_ms[series->sample_first + i], batch->values[series->sample_first + i]);
    for (uint32_t i = 0; i < series->histogram_count; i++)
        add_histogram(out, batch->histograms[series->histogram_first + i].ts_ms,
                      batch->histograms[series->histogram_first + i].blob);
    for (uint32_t i = 0; i < series->exemplar_count; i++) {
        const struct batch_exemplar *exemplar = &batch->exemplars[series->exemplar_first + i];
        ap_buf_printf(out, " # ");
        if (exemplar->labels.bytes)
            add_labels(out, exemplar->labels);
        add_value(out, exemplar->ts_ms, exemplar->value);
    }
    ap_buf_add_char(out, '\n');
}

static void add_metadata(struct ap_buf *out, const struct batch *batch)
{
    for (size_t i = 0; i < batch->metadata_count; i++) {
        const struct batch_metadata *metadata = &batch->metadata[i];
        ap_buf_printf(out, "# %.*s %s \"%.*s\" %.*s\n", AP_SLICE_ARG(metadata->metric),
                      metadata_type_name(metadata->type), AP_SLICE_ARG(metadata->help), AP_SLICE_ARG(metadata->unit));
    }
}

/* free() it. */
static char *text_of(const struct fixture *fx)
{
    struct ap_buf out = {0};
    const struct metrics_body *body = fx->body;
    for (size_t i = 0; i < body->batch.series_count; i++)
        add_series(&out, &body->batch, &body->batch.series[i]);
    if (!fx->is_keeping_body && !fx->is_making_all_labels) /* these two are compared; the first tells it once */
        add_metadata(&out, &body->batch);
    if (body->samples_refused + body->exemplars_refused)
        ap_buf_printf(&out, "refused %" PRIu64 " points, %" PRIu64 " exemplars: %s%s\n", body->samples_refused,
                      body->exemplars_refused, body->reason, body->reason[0] ? "" : body->exemplar_reason);
    return ap_buf_detach(&out);
}

static enum ap_rc decode(struct fixture *fx, bool is_json, struct ap_slice bytes, struct ap_err *err)
{
    /* Usually a body of its own each time: what was told once is told again. */
    if (fx->is_keeping_body) {
        metrics_body_reset(fx->body);
    } else {
        metrics_body_free(fx->body);
        fx->body = metrics_body_new(1, false);
    }
    AP_AUTO(otlp_sink)
    struct otlp_sink *sink = otlp_sink_new(&(struct otlp_sink_options){
        .body = fx->body,
        .settings = &fx->settings,
        .streams = fx->streams,
        .source = bytes,
        .now_ms = 1,
        .is_making_all_labels = fx->is_making_all_labels,
    });
    enum ap_rc rc = is_json ? otlp_json_decode(sink, bytes, err) : otlp_protobuf_decode(sink, bytes, err);
    uint32_t refused[64] = {0};
    fx->points_refused = otlp_sink_settle(sink, rc == AP_OK && fx->body->batch.series_count <= 64 ? refused : NULL);
    return rc;
}

static void check_json(struct fixture *fx, const char *json, const char *want, int line)
{
    struct ap_err err;
    if (decode(fx, true, ap_slice_cstr(json), &err) != AP_OK)
        fail_msg("line %d: %s", line, err.text);
    AP_AUTO_FREE char *text = text_of(fx);
    if (strcmp(text, want) != 0)
        fail_msg("line %d: got\n%swanted\n%s", line, text, want);
}
#define GIVES(json, want) check_json(&fx, json, want, __LINE__)

#define RESOURCE(attributes, metrics)                                                                                  \
    "{\"resourceMetrics\":[{\"resource\":{\"attributes\":[" attributes "]},\"scopeMetrics\":[{\"metrics\":[" metrics   \
    "]}]}]}"
#define TEXT(key, value)    "{\"key\":\"" key "\",\"value\":{\"stringValue\":\"" value "\"}}"
#define SHOP                TEXT("service.name", "shop")
#define AT                  "\"timeUnixNano\":\"2000000000\""
#define GAUGE(name, points) "{\"name\":\"" name "\",\"gauge\":{\"dataPoints\":[" points "]}}"

/* ---- Kinds ---- */

static void test_numbers(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    GIVES(RESOURCE(SHOP, GAUGE("a", "{" AT ",\"asDouble\":1.5},{" AT
                                    ",\"asInt\":\"-7\",\"attributes\":[" TEXT("b", "c") "]}")),
          "a{job=\"shop\"} 2000 1.5\na{b=\"c\",job=\"shop\"} 2000 -7\n# a gauge \"\" \n");
    /* 64 bits as text or number; members in any order. */
    GIVES("{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"sum\":{\"dataPoints\":[{\"asInt\":"
          "9007199254740993,\"timeUnixNano\":2000000000,\"startTimeUnixNano\":\"1000000000\"}],\"isMonotonic\":true,"
          "\"aggregationTemporality\":2},\"unit\":\"s\",\"description\":\"Said.\",\"name\":\"a.b\"}]}],\"resource\":{"
          "\"attributes\":[" SHOP "]}}]}",
          "a_b_seconds_total{job=\"shop\"} from 1000 0 2000 9007199254740992\n# a_b_seconds_total counter \"Said.\" "
          "seconds\n");
    /* Not monotonic: a gauge, without a beginning. */
    GIVES(RESOURCE(SHOP, "{\"name\":\"q\",\"sum\":{\"aggregationTemporality\":\"AGGREGATION_TEMPORALITY_CUMULATIVE\","
                         "\"dataPoints\":[{" AT ",\"startTimeUnixNano\":\"1000000000\",\"asInt\":3}]}}"),
          "q{job=\"shop\"} 2000 3\n# q gauge \"\" \n");
    /* A start within the millisecond of the point; one that is not known, by the protocol's convention. */
    GIVES(RESOURCE(SHOP, "{\"name\":\"q\",\"sum\":{\"aggregationTemporality\":2,\"isMonotonic\":true,\"dataPoints\":[{"
                         "\"timeUnixNano\":\"2000000001\",\"startTimeUnixNano\":\"2000000000\",\"asInt\":3},{" AT
                         ",\"startTimeUnixNano\":\"2000000000\",\"asInt\":4}]}}"),
          "q_total{job=\"shop\"} from 1999 0 2000 3\nq_total{job=\"shop\"} 2000 4\n# q_total counter \"\" \n");
    /* Longer ago than the store takes. */
    fx.settings.window_ms = 500;
    GIVES(RESOURCE(SHOP,
                   "{\"name\":\"q\",\"sum\":{\"aggregationTemporality\":2,\"isMonotonic\":true,\"dataPoints\":[{" AT
                   ",\"startTimeUnixNano\":\"1000000000\",\"asInt\":3}]}}"),
          "q_total{job=\"shop\"} 2000 3\n# q_total counter \"\" \n");
    GIVES(RESOURCE(SHOP, GAUGE("a", "{" AT ",\"flags\":1}")), "a{job=\"shop\"} 2000 stale\n# a gauge \"\" \n");
    GIVES(RESOURCE(SHOP, GAUGE("a", "{" AT ",\"asDouble\":\"NaN\"},{" AT ",\"asDouble\":\"-Infinity\"}")),
          "a{job=\"shop\"} 2000 nan\na{job=\"shop\"} 2000 -inf\n# a gauge \"\" \n");
    fixture_clear(&fx);
}

static void test_histograms(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
#define HISTOGRAM                                                                                                      \
    "{\"name\":\"h\",\"unit\":\"s\",\"histogram\":{\"aggregationTemporality\":2,\"dataPoints\":[{" AT                  \
    ",\"count\":\"6\",\"sum\":9.5,\"bucketCounts\":[\"1\",2,\"3\"],\"explicitBounds\":[0.1,2.5e9],\"attributes\":"     \
    "[" TEXT("le", "gone") "," TEXT("z", "1") "],\"exemplars\":[{\"asDouble\":2,\"timeUnixNano\":\"1500000000\","      \
                                              "\"traceId\":\"0AF7651916CD43DD8448EB211C80319C\",\"spanId\":"           \
                                              "\"b7ad6b7169203331\",\"filteredAttributes\":[" TEXT(                    \
                                                  "user", "u1") "]},{\"asDouble\":0.1},{\"asInt\":\"5000000000\","     \
                                                                "\"traceId\":\"00000000000000000000000000000000\""     \
                                                                "}]}]}}"
    GIVES(RESOURCE(SHOP, HISTOGRAM),
          "h_seconds_sum{job=\"shop\",z=\"1\"} 2000 9.5\n"
          "h_seconds_count{job=\"shop\",z=\"1\"} 2000 6\n"
          "h_seconds_bucket{job=\"shop\",le=\"0.1\",z=\"1\"} 2000 1 #  2000 0.10000000000000001\n"
          "h_seconds_bucket{job=\"shop\",le=\"2500000000\",z=\"1\"} 2000 3 # {span_id=\"b7ad6b7169203331\","
          "trace_id=\"0af7651916cd43dd8448eb211c80319c\",user=\"u1\"} 1500 2\n"
          "h_seconds_bucket{job=\"shop\",le=\"+Inf\",z=\"1\"} 2000 6 #  2000 5000000000\n"
          "# h_seconds histogram \"\" seconds\n");
    fx.settings.is_making_custom_buckets = true;
    GIVES(RESOURCE(SHOP, "{\"name\":\"h\",\"histogram\":{\"aggregationTemporality\":2,\"dataPoints\":[{" AT
                         ",\"count\":5,\"sum\":9.5,\"bucketCounts\":[0,2,3],\"explicitBounds\":[0.5,2]},{" AT
                         ",\"count\":4},{" AT ",\"count\":4,\"bucketCounts\":[1,2],\"explicitBounds\":[1]},{" AT
                         ",\"flags\":1}]}}"),
          "h{job=\"shop\"} 2000 schema -53 count 5 sum 9.5 zero 0/0 +1:2 +2:3 le 0.5 le 2\n"
          "h{job=\"shop\"} 2000 schema -53 count 4 sum 0 zero 0/0 +0:4\n"
          "h{job=\"shop\"} 2000 stale histogram\n"
          "# h histogram \"\" \n"
          "refused 1 points, 0 exemplars: metric \"h\": the buckets of the histogram count 3, its count is 4\n");
    fixture_clear(&fx);
}

static void test_exponential(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
#define EXPONENTIAL(point)                                                                                             \
    RESOURCE(SHOP, "{\"name\":\"e\",\"exponentialHistogram\":{\"aggregationTemporality\":2,\"dataPoints\":[{" AT       \
                   "," point "}]}}")
    /* (b^i, b^(i+1)] is bucket i + 1; empty buckets within are kept up to two. */
    GIVES(EXPONENTIAL("\"count\":10,\"sum\":-1,\"scale\":3,\"zeroCount\":1,\"positive\":{\"offset\":-2,"
                      "\"bucketCounts\":[0,1,0,0,2,0,0,0,3]},\"negative\":{\"bucketCounts\":[\"3\"]}"),
          "e{job=\"shop\"} 2000 schema 3 count 10 sum -1 zero 1/1e-128 +0:1 +1:0 +2:0 +3:2 +7:3 -1:3\n"
          "# e histogram \"\" \n");
    /* Scale 10 becomes 8: four buckets become one, also left of 0. */
    GIVES(EXPONENTIAL("\"count\":10,\"scale\":10,\"zeroThreshold\":0.25,\"positive\":{\"offset\":-5,\"bucketCounts\":"
                      "[1,1,1,1,1,1,1,1,1,1]}"),
          "e{job=\"shop\"} 2000 schema 8 count 10 sum 0 zero 0/0.25 +-1:1 +0:4 +1:4 +2:1\n# e histogram \"\" \n");
    GIVES(EXPONENTIAL("\"count\":1,\"scale\":-5,\"positive\":{\"bucketCounts\":[1]}"),
          "# e histogram \"\" \nrefused 1 points, 0 exemplars: metric \"e\": the histogram has the scale -5; -4 is the "
          "smallest that can be kept\n");
    GIVES(EXPONENTIAL("\"count\":1,\"scale\":0,\"positive\":{\"offset\":2147483647,\"bucketCounts\":[1]}"),
          "# e histogram \"\" \nrefused 1 points, 0 exemplars: metric \"e\": the histogram has a bucket with an index "
          "beyond 32 bits\n");
    GIVES(EXPONENTIAL("\"flags\":1"), "e{job=\"shop\"} 2000 stale histogram\n# e histogram \"\" \n");
    GIVES(EXPONENTIAL("\"startTimeUnixNano\":\"1000000000\",\"count\":1,\"zeroCount\":1,\"scale\":2"),
          "e{job=\"shop\"} from 1000 schema 2 count 0 sum 0 zero 0/1e-128 2000 schema 2 count 1 sum 0 zero 1/1e-128\n"
          "# e histogram \"\" \n");
    fixture_clear(&fx);
}

static void test_summaries(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    GIVES(RESOURCE(SHOP,
                   "{\"name\":\"s\",\"summary\":{\"dataPoints\":[{" AT ",\"count\":2,\"sum\":3,\"quantileValues\":"
                   "[{\"quantile\":0.5,\"value\":1},{\"quantile\":1,\"value\":2}],\"attributes\":[" TEXT(
                       "quantile", "gone") "]}]}}"),
          "s_sum{job=\"shop\"} 2000 3\ns_count{job=\"shop\"} 2000 2\n"
          "s{job=\"shop\",quantile=\"0.5\"} 2000 1\ns{job=\"shop\",quantile=\"1\"} 2000 2\n# s summary \"\" \n");
    fixture_clear(&fx);
}

/* ---- Labels ---- */

#define POINT(attributes) "{" AT ",\"asInt\":1,\"attributes\":[" attributes "]}"

static void test_attributes(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    /* Values of all kinds, in the order of their names, whatever stands between. */
    GIVES(RESOURCE(SHOP,
                   GAUGE("a", POINT("{\"key\":\"i\",\"value\":{\"intValue\":\"-3\"}},{\"key\":\"B\",\"value\":{"
                                    "\"boolValue\":true}},{\"key\":\"d\",\"value\":{\"doubleValue\":1e21}},{\"key\":"
                                    "\"by\",\"value\":{\"bytesValue\":\"AQID\"}},{\"key\":\"none\",\"value\":{}},{"
                                    "\"key\":\"n\",\"value\":null},{\"key\":\"l\",\"value\":{\"arrayValue\":{"
                                    "\"values\":[{\"stringValue\":\"x\"},{\"intValue\":1},{\"doubleValue\":0.5},{}"
                                    "]}}},{\"key\":\"m\",\"value\":{\"kvlistValue\":{\"values\":[{\"key\":\"z\","
                                    "\"value\":{\"boolValue\":false}},{\"key\":\"y\",\"value\":{\"arrayValue\":{}}},"
                                    "{\"key\":\"z\",\"value\":{\"intValue\":2}}]}}}"))),
          "a{B=\"true\",by=\"AQID\",d=\"1e+21\",i=\"-3\",job=\"shop\",l=\"[\\\"x\\\",1,0.5,null]\","
          "m=\"{\\\"y\\\":[],\\\"z\\\":2}\"} 2000 1\n# a gauge \"\" \n");
    /* Names that become one: joined in order of the names, as far as there is something. */
    GIVES(RESOURCE(SHOP,
                   GAUGE("a", POINT(TEXT("x_y", "3") "," TEXT("x.y", "2") "," TEXT("x-y", "1") "," TEXT("x/y", "")))),
          "a{job=\"shop\",x_y=\"1;2;;3\"} 2000 1\n# a gauge \"\" \n");
    /* What comes from the resource goes first; __name__ is nobody's. */
    GIVES(RESOURCE(SHOP "," TEXT("service.namespace", "eu") "," TEXT("service.instance.id", "i"),
                   GAUGE("a", POINT(TEXT("job", "mine") "," TEXT("instance", "mine") "," TEXT("__name__", "mine")))),
          "a{instance=\"i\",job=\"eu/shop\"} 2000 1\n# a gauge \"\" \n");
    GIVES(RESOURCE("", GAUGE("a", POINT(TEXT("job", "mine")))), "a{job=\"mine\"} 2000 1\n# a gauge \"\" \n");
    GIVES(
        RESOURCE(SHOP, GAUGE("a", POINT(TEXT("", "x")) "," POINT(TEXT("b", "x")))),
        "a{b=\"x\",job=\"shop\"} 2000 1\n# a gauge \"\" \nrefused 1 points, 0 exemplars: metric \"a\": nothing is left "
        "of the attribute name \"\"\n");
    /* Points whose names differ from those before, and come back. */
    GIVES(
        RESOURCE(SHOP, GAUGE("a", POINT(TEXT("b", "1") "," TEXT("c", "2")) "," POINT(TEXT("c", "3")) "," POINT(
                                      TEXT("c", "5") "," TEXT("b", "4")) "," POINT(TEXT("b", "6") "," TEXT("c", "")))),
        "a{b=\"1\",c=\"2\",job=\"shop\"} 2000 1\na{c=\"3\",job=\"shop\"} 2000 1\na{b=\"4\",c=\"5\",job=\"shop\"} 2000 "
        "1\na{b=\"6\",job=\"shop\"} 2000 1\n# a gauge \"\" \n");
    fx.settings.naming.strategy = OTLP_NO_TRANSLATION;
    GIVES(RESOURCE(SHOP, GAUGE("a.b", POINT(TEXT("x.y", "2")))),
          "{\"a.b\",job=\"shop\",\"x.y\"=\"2\"} 2000 1\n# a.b gauge \"\" \n");
    fixture_clear(&fx);
}

static void test_resources(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    static const char request[] = RESOURCE(
        SHOP "," TEXT("host.name", "h") "," TEXT("os", "linux"),
        GAUGE("a", "{\"timeUnixNano\":\"1000000000\",\"asInt\":1},{\"timeUnixNano\":\"400000000000\",\"asInt\":1,"
                   "\"attributes\":[" TEXT("os", "mine") "]}"));
    /* Every half look-back from the first point to the last. */
    GIVES(request, "a{job=\"shop\"} 1000 1\na{job=\"shop\",os=\"mine\"} 400000 1\n"
                   "target_info{host_name=\"h\",job=\"shop\",os=\"linux\"} 1000 1 151000 1 301000 1 400000 1\n"
                   "# a gauge \"\" \n# target_info gauge \"Target metadata\" \n");
    static const char *const some[] = {"os", "nothing"};
    fx.settings.target_info_interval_ms = 1000 * 1000;
    fx.settings.resource_attributes = some;
    fx.settings.resource_attribute_count = 2;
    fx.settings.is_keeping_identifying = true;
    GIVES(request, "a{job=\"shop\",os=\"linux\"} 1000 1\na{job=\"shop\",os=\"mine\"} 400000 1\n"
                   "target_info{host_name=\"h\",job=\"shop\",os=\"linux\",service_name=\"shop\"} 1000 1 400000 1\n"
                   "# a gauge \"\" \n# target_info gauge \"Target metadata\" \n");
    fx.settings.is_promoting_all = true;
    GIVES(request, "a{host_name=\"h\",job=\"shop\",service_name=\"shop\"} 1000 1\n"
                   "a{host_name=\"h\",job=\"shop\",os=\"mine\",service_name=\"shop\"} 400000 1\n"
                   "target_info{host_name=\"h\",job=\"shop\",os=\"linux\",service_name=\"shop\"} 1000 1 400000 1\n"
                   "# a gauge \"\" \n# target_info gauge \"Target metadata\" \n");
    /* Nothing to say, or of nobody. */
    otlp_settings_init(&fx.settings);
    GIVES(RESOURCE(TEXT("host.name", "h"), GAUGE("a", "{" AT ",\"asInt\":1}")), "a 2000 1\n# a gauge \"\" \n");
    /* A point of another century costs a few samples. */
    GIVES(RESOURCE(SHOP, GAUGE("a", "{\"timeUnixNano\":\"1\",\"asInt\":1},{\"timeUnixNano\":\"9000000000000000000\","
                                    "\"asInt\":1}")),
          "a{job=\"shop\"} 0 1\na{job=\"shop\"} 9000000000000 1\n# a gauge \"\" \n");
    fixture_clear(&fx);
}

static void test_scopes(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    static const char request[] =
        "{\"resourceMetrics\":[{\"resource\":{\"attributes\":[" SHOP
        "]},\"scopeMetrics\":[{\"scope\":{\"name\":\"lib\","
        "\"version\":\"1\",\"attributes\":[" TEXT("x.y", "z") "]},\"schemaUrl\":\"u\",\"metrics\":[" GAUGE(
            "a", POINT(TEXT("otel_scope_name", "mine"))) "]},{\"metrics\":[" GAUGE("b", POINT("")) "]}]}]}";
    GIVES(request,
          "a{job=\"shop\",otel_scope_name=\"mine\"} 2000 1\nb{job=\"shop\"} 2000 1\n# a gauge \"\" \n# b gauge "
          "\"\" \n");
    fx.settings.is_promoting_scope = true;
    GIVES(request, "a{job=\"shop\",otel_scope_name=\"lib\",otel_scope_schema_url=\"u\",otel_scope_version=\"1\","
                   "otel_scope_x_y=\"z\"} 2000 1\nb{job=\"shop\"} 2000 1\n# a gauge \"\" \n# b gauge \"\" \n");
    fixture_clear(&fx);
}

/* ---- What is refused ---- */

static void test_bad_points(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
#define REFUSED(metric, points, reason)                                                                                \
    GIVES(RESOURCE(SHOP, metric), "refused " #points " points, 0 exemplars: " reason "\n")
    REFUSED("{\"name\":\"..\",\"gauge\":{\"dataPoints\":[" POINT("") "," POINT("") "]}}", 2,
            "nothing is left of the metric name \"..\"");
    REFUSED("{\"name\":\"a\",\"sum\":{\"dataPoints\":[" POINT("") "]}}", 1,
            "metric \"a\": its aggregation temporality is neither delta nor cumulative");
    REFUSED("{\"name\":\"a\",\"sum\":{\"aggregationTemporality\":1,\"dataPoints\":[" POINT("") "]}}", 1,
            "metric \"a\": its aggregation temporality is neither delta nor cumulative");
    GIVES(
        RESOURCE(SHOP, GAUGE("a", "{" AT "},{\"asInt\":1},{" AT ",\"asInt\":2}")),
        "a{job=\"shop\"} 2000 2\n# a gauge \"\" \nrefused 2 points, 0 exemplars: metric \"a\": a point has no value\n");
    /* A metric without data, one of tomorrow's. */
    GIVES(RESOURCE(SHOP, "{\"name\":\"a\",\"future\":{\"dataPoints\":[{}]}}"), "");
    GIVES("{}", "");
    GIVES("{\"resourceMetrics\":[{}],\"more\":[1,{\"a\":null}]}", "");
    fixture_clear(&fx);
}

static void check_bad(struct fixture *fx, bool is_json, struct ap_slice bytes, const char *want, int line)
{
    struct ap_err err = {0};
    enum ap_rc rc = decode(fx, is_json, bytes, &err);
    if (rc != AP_E_PARSE || strcmp(err.text, want) != 0)
        fail_msg("line %d: %s, \"%s\"", line, ap_rc_name(rc), err.text);
}
#define BAD_JSON(json, want)      check_bad(&fx, true, ap_slice_cstr(json), want, __LINE__)
#define BAD_PROTOBUF(bytes, want) check_bad(&fx, false, ap_slice(bytes, sizeof(bytes) - 1), want, __LINE__)

static void test_malformed(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    BAD_JSON("", "expected a JSON value, got the end of the text, at offset 0 of the decompressed body");
    BAD_JSON("[]", "expected object, got array, at offset 0 of the decompressed body");
    BAD_JSON("{\"resourceMetrics\":{}}", "expected array, got object, at offset 19 of the decompressed body");
    BAD_JSON(RESOURCE("", GAUGE("a", "{\"timeUnixNano\":\"x\"}")),
             "\"timeUnixNano\" must be a whole number from 0 to 2^64 - 1, at offset 132 of the decompressed body");
    BAD_JSON(RESOURCE("", GAUGE("a", "{\"timeUnixNano\":-1}")),
             "\"timeUnixNano\" must be a whole number from 0 to 2^64 - 1, at offset 131 of the decompressed body");
    BAD_JSON(RESOURCE("", GAUGE("a", "{\"timeUnixNano\":\"18446744073709551616\"}")),
             "\"timeUnixNano\" must be a whole number from 0 to 2^64 - 1, at offset 151 of the decompressed body");
    BAD_PROTOBUF("\x0a", "malformed Protocol Buffers in the request, at offset 0 of the decompressed body");
    BAD_PROTOBUF("\x0a\x04\x12\x03\x12\x05", "malformed Protocol Buffers in a resource's metrics, at offset 2 of the "
                                             "decompressed body");
    BAD_PROTOBUF("\x0a\x08\x12\x06\x12\x04\x2a\x02\x0a\x09",
                 "malformed Protocol Buffers in a metric, at offset 8 of the decompressed body");
    fixture_clear(&fx);
}

/* ---- Deltas ---- */

static void test_deltas(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    fx.streams = otlp_streams_new(
        &(struct otlp_streams_options){.streams_max = 100, .idle_ms = 60000, .clock = &ap_clock_system});
#define DELTA(start, end, value)                                                                                       \
    RESOURCE(SHOP, "{\"name\":\"c\",\"sum\":{\"aggregationTemporality\":1,\"isMonotonic\":true,\"dataPoints\":[{"      \
                   "\"startTimeUnixNano\":\"" start "000000000\",\"timeUnixNano\":\"" end                              \
                   "000000000\",\"asInt\":" value "}]}}")
#define DELTA_HISTOGRAM(start, end, counts, count)                                                                     \
    RESOURCE(SHOP, "{\"name\":\"h\",\"histogram\":{\"aggregationTemporality\":1,\"dataPoints\":[{\"count\":" count     \
                   ",\"sum\":1,\"startTimeUnixNano\":\"" start "000000000\",\"timeUnixNano\":\"" end                   \
                   "000000000\",\"bucketCounts\":[" counts "],\"explicitBounds\":[1]}]}}")
    static const char metadata[] = "# c_total counter \"\" \n";
    AP_AUTO_FREE char *want = ap_asprintf("c_total{job=\"shop\"} begins 1000 0 2000 5\n%s", metadata);
    GIVES(DELTA("1", "2", "5"), want);
    AP_AUTO_FREE char *then = ap_asprintf("c_total{job=\"shop\"} 3000 7\n%s", metadata);
    GIVES(DELTA("2", "3", "2"), then);
    GIVES(DELTA("2", "3", "2"), then);
    GIVES(DELTA_HISTOGRAM("1", "2", "1,2", "3"), "h_sum{job=\"shop\"} begins 1000 0 2000 1\n"
                                                 "h_count{job=\"shop\"} begins 1000 0 2000 3\n"
                                                 "h_bucket{job=\"shop\",le=\"1\"} begins 1000 0 2000 1\n"
                                                 "h_bucket{job=\"shop\",le=\"+Inf\"} begins 1000 0 2000 3\n"
                                                 "# h histogram \"\" \n");
    GIVES(DELTA_HISTOGRAM("2", "3", "0,1", "1"), "h_sum{job=\"shop\"} 3000 2\nh_count{job=\"shop\"} 3000 4\n"
                                                 "h_bucket{job=\"shop\",le=\"1\"} 3000 1\n"
                                                 "h_bucket{job=\"shop\",le=\"+Inf\"} 3000 4\n# h histogram \"\" \n");
    GIVES(RESOURCE(SHOP, "{\"name\":\"u\",\"sum\":{\"aggregationTemporality\":1,\"dataPoints\":[{" AT
                         ",\"asDouble\":\"NaN\"},{" AT ",\"asInt\":-2},{" AT ",\"flags\":1}]}}"),
          "u{job=\"shop\"} 2000 -2\nu{job=\"shop\"} 2000 stale\n# u gauge \"\" \nrefused 1 points, 0 exemplars: metric "
          "\"u\": a delta must be a finite number\n");
    fixture_clear(&fx);
}

/* What the store refuses is told in points, not in series. */
static void test_points_refused(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    static const char json[] = RESOURCE(
        SHOP "," TEXT("os", "linux"),
        GAUGE("a",
              "{" AT ",\"asInt\":1}") ",{\"name\":\"h\",\"histogram\":{\"aggregationTemporality\":2,\"dataPoints\":"
                                      "[{" AT ",\"count\":3,\"sum\":1,\"bucketCounts\":[1,2],\"explicitBounds\":[1]"
                                      "},{" AT ",\"count\":3}]}}");
    struct ap_slice bytes = ap_slice(json, sizeof(json) - 1);
    AP_AUTO(otlp_sink)
    struct otlp_sink *sink =
        otlp_sink_new(&(struct otlp_sink_options){.body = fx.body, .settings = &fx.settings, .source = bytes});
    struct ap_err err;
    assert_int_equal(otlp_json_decode(sink, bytes, &err), AP_OK);
    assert_int_equal(fx.body->batch.series_count, 1 + 4 + 2 + 1);
    uint32_t refused[8] = {0, 1, 1, 1, 1, 0, 0, 1}; /* the first histogram, and target_info, which is no point */
    assert_int_equal(otlp_sink_settle(sink, refused), 1);
    memset(refused, 0, sizeof(refused));
    refused[0] = refused[4] = refused[5] = 1;
    assert_int_equal(otlp_sink_settle(sink, refused), 3);
    assert_int_equal(otlp_sink_settle(sink, NULL), 0);
    fixture_clear(&fx);
}

/* ---- Both encodings give the same ---- */

/* A random export, written in both at once. */
struct twin {
    struct ap_random random;
    struct ap_buf protobuf;
    struct ap_buf json;
};

static unsigned below(struct twin *twin, unsigned limit)
{
    return (unsigned)ap_random_below(&twin->random, limit);
}

static void fixed64(struct ap_buf *out, uint32_t field, uint64_t value)
{
    ap_buf_add_varint(out, PROTOBUF_TAG(field, PROTOBUF_FIXED64));
    ap_buf_add_u64(out, value);
}

static void twin_value(struct twin *twin, unsigned depth, struct ap_buf *protobuf)
{
    static const char *const texts[] = {"", "x", "größe", "a\\\"b", "a rather long value that passes thirty-two bytes"};
    unsigned kind = below(twin, depth < 3 ? 7 : 5);
    const char *text = texts[below(twin, 5)];
    struct ap_buf *json = &twin->json;
    int64_t integer = (int64_t)below(twin, 1000) - 500;
    AP_AUTO_BUF struct ap_buf inner = {0};
    AP_AUTO_BUF struct ap_buf item = {0};
    switch (kind) {
    case 0:
    case 1:
        ap_buf_add_cstr(json, "{\"stringValue\":");
        ap_buf_add_json_string(json, ap_slice_cstr(text));
        protobuf_add_text(protobuf, 1, text);
        break;
    case 2:
        ap_buf_printf(json, "{\"intValue\":\"%" PRId64 "\"", integer);
        protobuf_add_varint(protobuf, 3, (uint64_t)integer);
        break;
    case 3:
        ap_buf_printf(json, "{\"doubleValue\":%.17g", (double)integer / 8);
        protobuf_add_double(protobuf, 4, (double)integer / 8);
        break;
    case 4:
        ap_buf_printf(json, "{\"boolValue\":%s", integer > 0 ? "true" : "false");
        protobuf_add_varint(protobuf, 2, integer > 0);
        break;
    default:
        ap_buf_printf(json, "{\"%s\":{\"values\":[", kind == 5 ? "arrayValue" : "kvlistValue");
        for (unsigned i = 0, count = below(twin, 3); i < count; i++) {
            ap_buf_reset(&item);
            ap_buf_add_cstr(json, i ? "," : "");
            if (kind == 6) {
                AP_AUTO_BUF struct ap_buf value = {0};
                ap_buf_printf(json, "{\"key\":\"k%u\",\"value\":", 2 - i);
                ap_buf_printf(&item, "\x0a\x02k%u", 2 - i);
                twin_value(twin, depth + 1, &value);
                protobuf_add_bytes(&item, 2, ap_buf_slice(&value));
                ap_buf_add_char(json, '}');
            } else {
                twin_value(twin, depth + 1, &item);
            }
            protobuf_add_bytes(&inner, 1, ap_buf_slice(&item));
        }
        ap_buf_add_cstr(json, "]}");
        protobuf_add_bytes(protobuf, kind == 5 ? 5 : 6, ap_buf_slice(&inner));
    }
    ap_buf_add_char(json, '}');
}

static void twin_attributes(struct twin *twin, const char *name, uint32_t field, struct ap_buf *protobuf)
{
    static const char *const keys[] = {
        "a", "b.c", "b_c", "service.name", "host.name", "le", "ünits", "Z", "a.key.that.is.longer.than.most.of.them"};
    ap_buf_printf(&twin->json, "\"%s\":[", name);
    for (unsigned i = 0, count = below(twin, 5); i < count; i++) {
        AP_AUTO_BUF struct ap_buf pair = {0};
        AP_AUTO_BUF struct ap_buf value = {0};
        const char *key = keys[below(twin, 9)];
        ap_buf_printf(&twin->json, "%s{\"key\":\"%s\",\"value\":", i ? "," : "", key);
        twin_value(twin, 0, &value);
        ap_buf_add_char(&twin->json, '}');
        protobuf_add_text(&pair, 1, key);
        protobuf_add_bytes(&pair, 2, ap_buf_slice(&value));
        protobuf_add_bytes(protobuf, field, ap_buf_slice(&pair));
    }
    ap_buf_add_char(&twin->json, ']');
}

static void twin_exemplars(struct twin *twin, uint32_t field, struct ap_buf *protobuf)
{
    AP_AUTO_BUF struct ap_buf exemplar = {0};
    ap_buf_add_cstr(&twin->json, ",\"exemplars\":[{\"timeUnixNano\":\"1700000000\",\"asDouble\":0.75,\"traceId\":"
                                 "\"0102030405060708090a0b0c0d0e0fff\",\"spanId\":\"\",");
    fixed64(&exemplar, 2, UINT64_C(1700000000));
    protobuf_add_double(&exemplar, 3, 0.75);
    protobuf_add_bytes(&exemplar, 5, ap_slice("\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\377", 16));
    twin_attributes(twin, "filteredAttributes", 7, &exemplar);
    ap_buf_add_cstr(&twin->json, "}]");
    protobuf_add_bytes(protobuf, field, ap_buf_slice(&exemplar));
}

static void twin_counts(struct twin *twin, const char *name, uint32_t field, bool is_fixed, uint64_t *ret_sum,
                        struct ap_buf *protobuf)
{
    AP_AUTO_BUF struct ap_buf packed = {0};
    ap_buf_printf(&twin->json, "\"%s\":[", name);
    for (unsigned i = 0; i < 4; i++) {
        unsigned count = below(twin, 3) ? below(twin, 1000) : 0;
        ap_buf_printf(&twin->json, "%s%u", i ? "," : "", count);
        if (is_fixed)
            ap_buf_add_u64(&packed, count);
        else
            ap_buf_add_varint(&packed, count);
        *ret_sum += count;
    }
    ap_buf_add_char(&twin->json, ']');
    protobuf_add_bytes(protobuf, field, ap_buf_slice(&packed));
}

/* The members that all kinds have; `attributes` and `flags` are their fields in Protocol Buffers. */
static void twin_begin_point(struct twin *twin, uint32_t attributes, uint32_t flags, struct ap_buf *protobuf)
{
    uint64_t ts_ns = UINT64_C(2000000000) + below(twin, 1000) * UINT64_C(1000000);
    unsigned flag = below(twin, 5) == 0;
    ap_buf_printf(&twin->json, "{\"startTimeUnixNano\":\"1000000000\",\"timeUnixNano\":\"%" PRIu64 "\",\"flags\":%u,",
                  ts_ns, flag);
    fixed64(protobuf, 2, UINT64_C(1000000000));
    fixed64(protobuf, 3, ts_ns);
    bool is_flag_first = below(twin, 2);
    if (is_flag_first)
        protobuf_add_varint(protobuf, flags, flag);
    twin_attributes(twin, "attributes", attributes, protobuf);
    if (!is_flag_first)
        protobuf_add_varint(protobuf, flags, flag);
}

static void twin_point(struct twin *twin, enum otlp_kind kind, struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf point = {0};
    AP_AUTO_BUF struct ap_buf buckets = {0};
    int64_t value = (int64_t)below(twin, 2000) - 1000;
    uint64_t sum = 0;
    switch (kind) {
    case OTLP_GAUGE:
    case OTLP_SUM:
        twin_begin_point(twin, 7, 8, &point);
        if (below(twin, 2)) {
            ap_buf_printf(&twin->json, ",\"asInt\":\"%" PRId64 "\"", value);
            fixed64(&point, 6, (uint64_t)value);
        } else {
            ap_buf_printf(&twin->json, ",\"asDouble\":%.17g", (double)value / 16);
            protobuf_add_double(&point, 4, (double)value / 16);
        }
        twin_exemplars(twin, 5, &point);
        break;
    case OTLP_HISTOGRAM: {
        AP_AUTO_BUF struct ap_buf bounds = {0};
        twin_begin_point(twin, 9, 10, &point);
        ap_buf_printf(&twin->json, ",\"sum\":%" PRId64 ",\"explicitBounds\":[0.5,1,2.5],", value);
        protobuf_add_double(&point, 5, (double)value);
        for (size_t i = 0; i < 3; i++)
            ap_buf_add_u64(&bounds, ap_double_to_bits((double[]){0.5, 1, 2.5}[i]));
        protobuf_add_bytes(&point, 7, ap_buf_slice(&bounds));
        twin_counts(twin, "bucketCounts", 6, true, &sum, &point);
        ap_buf_printf(&twin->json, ",\"count\":%" PRIu64, sum);
        fixed64(&point, 4, sum);
        twin_exemplars(twin, 8, &point);
        break;
    }
    case OTLP_EXPONENTIAL:
        twin_begin_point(twin, 1, 10, &point);
        int scale = (int)below(twin, 16) - 4;
        ap_buf_printf(&twin->json, ",\"scale\":%d,\"zeroCount\":3,\"positive\":{\"offset\":%d,", scale, -2);
        protobuf_add_sint(&point, 6, scale);
        fixed64(&point, 7, 3);
        protobuf_add_sint(&buckets, 1, -2);
        twin_counts(twin, "bucketCounts", 2, false, &sum, &buckets);
        protobuf_add_bytes(&point, 8, ap_buf_slice(&buckets));
        ap_buf_printf(&twin->json, "},\"count\":\"%" PRIu64 "\"", sum + 3);
        fixed64(&point, 4, sum + 3);
        twin_exemplars(twin, 11, &point);
        break;
    default:
        twin_begin_point(twin, 7, 8, &point);
        ap_buf_add_cstr(
            &twin->json,
            ",\"count\":2,\"sum\":1.5,\"quantileValues\":[{\"quantile\":0.5,\"value\":1},{\"quantile\":0.99}]");
        fixed64(&point, 4, 2);
        protobuf_add_double(&point, 5, 1.5);
        protobuf_add_double(&buckets, 1, 0.5);
        protobuf_add_double(&buckets, 2, 1);
        protobuf_add_bytes(&point, 6, ap_buf_slice(&buckets));
        ap_buf_reset(&buckets);
        protobuf_add_double(&buckets, 1, 0.99);
        protobuf_add_bytes(&point, 6, ap_buf_slice(&buckets));
    }
    ap_buf_add_char(&twin->json, '}');
    protobuf_add_bytes(out, 1, ap_buf_slice(&point));
}

static void twin_metric(struct twin *twin, struct ap_buf *scope)
{
    static const char *const names[] = {"http.requests", "a", "größe", "..", "memory_bytes"};
    static const char *const units[] = {"", "s", "1", "By/s", "{x}"};
    static const char *const kinds[] = {"", "gauge", "sum", "histogram", "exponentialHistogram", "summary"};
    static const uint32_t fields[] = {0, 5, 7, 9, 10, 11};
    enum otlp_kind kind = (enum otlp_kind)(1 + below(twin, 5));
    const char *name = names[below(twin, 5)], *unit = units[below(twin, 5)];
    unsigned temporality = below(twin, 4), is_monotonic = below(twin, 2);
    AP_AUTO_BUF struct ap_buf metric = {0};
    AP_AUTO_BUF struct ap_buf data = {0};
    bool is_head_first = below(twin, 2);
    ap_buf_printf(&twin->json, "{\"name\":\"%s\",\"unit\":\"%s\",\"description\":\"Help.\",\"%s\":{", name, unit,
                  kinds[kind]);
    if (is_head_first)
        ap_buf_printf(&twin->json, "\"aggregationTemporality\":%u,\"isMonotonic\":%s,", temporality,
                      is_monotonic ? "true" : "false");
    ap_buf_add_cstr(&twin->json, "\"dataPoints\":[");
    for (unsigned i = 0, count = below(twin, 4); i < count; i++) {
        ap_buf_add_cstr(&twin->json, i ? "," : "");
        twin_point(twin, kind, &data);
    }
    ap_buf_add_char(&twin->json, ']');
    if (!is_head_first)
        ap_buf_printf(&twin->json, ",\"aggregationTemporality\":%u,\"isMonotonic\":%s", temporality,
                      is_monotonic ? "true" : "false");
    ap_buf_add_cstr(&twin->json, "}}");
    if (kind != OTLP_GAUGE && kind != OTLP_SUMMARY)
        protobuf_add_varint(&data, 2, temporality);
    protobuf_add_varint(&data, 3, is_monotonic);
    protobuf_add_text(&metric, 1, name);
    protobuf_add_text(&metric, 2, "Help.");
    protobuf_add_text(&metric, 3, unit);
    protobuf_add_bytes(&metric, fields[kind], ap_buf_slice(&data));
    protobuf_add_bytes(scope, 2, ap_buf_slice(&metric));
}

static void twin_resource(struct twin *twin)
{
    AP_AUTO_BUF struct ap_buf resource = {0};
    AP_AUTO_BUF struct ap_buf attributes = {0};
    ap_buf_add_cstr(&twin->json, "{\"resource\":{");
    twin_attributes(twin, "attributes", 1, &attributes);
    protobuf_add_bytes(&resource, 1, ap_buf_slice(&attributes));
    ap_buf_add_cstr(&twin->json, "},\"scopeMetrics\":[");
    for (unsigned i = 0; i < 2; i++) {
        AP_AUTO_BUF struct ap_buf all = {0};
        AP_AUTO_BUF struct ap_buf scope = {0};
        ap_buf_printf(&twin->json, "%s{\"scope\":{\"name\":\"lib\",\"version\":\"2\",", i ? "," : "");
        protobuf_add_text(&scope, 1, "lib");
        protobuf_add_text(&scope, 2, "2");
        twin_attributes(twin, "attributes", 3, &scope);
        ap_buf_add_cstr(&twin->json, "},\"metrics\":[");
        protobuf_add_bytes(&all, 1, ap_buf_slice(&scope));
        for (unsigned j = 0, count = below(twin, 4); j < count; j++) {
            ap_buf_add_cstr(&twin->json, j ? "," : "");
            twin_metric(twin, &all);
        }
        ap_buf_add_cstr(&twin->json, "]}");
        protobuf_add_bytes(&resource, 2, ap_buf_slice(&all));
    }
    ap_buf_add_cstr(&twin->json, "]}");
    protobuf_add_bytes(&twin->protobuf, 1, ap_buf_slice(&resource));
}

static void twin_make(struct twin *twin, uint64_t seed)
{
    *twin = (struct twin){.protobuf = {0}};
    ap_random_init(&twin->random, seed);
    ap_buf_add_cstr(&twin->json, "{\"resourceMetrics\":[");
    for (unsigned i = 0, count = 1 + below(twin, 2); i < count; i++) {
        ap_buf_add_cstr(&twin->json, i ? "," : "");
        twin_resource(twin);
    }
    ap_buf_add_cstr(&twin->json, "]}");
}

/* Settings of any kind. */
static void set(struct fixture *fx, uint64_t number)
{
    static const char *const some[] = {"host.name"};
    fx->settings.naming.strategy = (enum otlp_strategy)(number % 4);
    fx->settings.is_promoting_scope = number / 4 % 2;
    fx->settings.is_promoting_all = number / 8 % 2;
    fx->settings.is_making_custom_buckets = number / 16 % 2;
    fx->settings.resource_attributes = some;
    fx->settings.resource_attribute_count = 1;
}

static void test_both_encodings(void **state)
{
    (void)state;
    uint64_t series = 0;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        struct fixture fx;
        struct twin twin;
        fixture_init(&fx);
        twin_make(&twin, seed);
        set(&fx, seed);
        struct ap_err err;
        if (decode(&fx, false, ap_buf_slice(&twin.protobuf), &err) != AP_OK)
            fail_msg("seed %" PRIu64 ": %s", seed, err.text);
        series += fx.body->batch.series_count;
        AP_AUTO_FREE char *first = text_of(&fx);
        if (decode(&fx, true, ap_buf_slice(&twin.json), &err) != AP_OK)
            fail_msg("seed %" PRIu64 ": %s: %.*s", seed, err.text, AP_SLICE_ARG(ap_buf_slice(&twin.json)));
        AP_AUTO_FREE char *second = text_of(&fx);
        if (strcmp(first, second) != 0)
            fail_msg("seed %" PRIu64 ": Protocol Buffers give\n%sJSON gives\n%s", seed, first, second);
        ap_buf_clear(&twin.protobuf);
        ap_buf_clear(&twin.json);
        fixture_clear(&fx);
    }
    assert_true(series > 10000);
}

/* ---- What earlier requests told ---- */

static uint64_t count_known(const struct batch *batch)
{
    uint64_t count = 0;
    for (size_t i = 0; i < batch->series_count; i++)
        count += !batch->series[i].labels.data;
    return count;
}

static int64_t read_us(void *context)
{
    return *(int64_t *)context;
}

static struct otlp_streams *streams_new(const struct ap_clock *clock)
{
    return otlp_streams_new(&(struct otlp_streams_options){.streams_max = 1000, .idle_ms = 1000, .clock = clock});
}

/*
 * Requests come again and again, in any order, some in part: what is known gives what is made anew. Both decoders have
 * one clock, by which a request comes every tenth of a second: they forget idle sums at the same request.
 */
static void test_known_gives_the_same(void **state)
{
    (void)state;
    uint64_t series = 0, known = 0;
    int64_t now_us = AP_US_PER_S;
    const struct ap_clock clock = {read_us, read_us, &now_us};
    for (uint64_t number = 0; number < 32; number++) {
        struct fixture keeping, plain;
        struct ap_random random;
        fixture_init(&keeping);
        fixture_init(&plain);
        keeping.is_keeping_body = true;
        plain.is_making_all_labels = true;
        keeping.streams = streams_new(&clock);
        plain.streams = streams_new(&clock);
        set(&keeping, number);
        set(&plain, number);
        ap_random_init(&random, number);
        for (unsigned round = 0; round < 60; round++) {
            struct twin twin;
            struct ap_err err;
            now_us += AP_US_PER_S / 10;
            twin_make(&twin, number * 100 + ap_random_below(&random, 12));
            bool is_json = ap_random_below(&random, 8) == 0;
            struct ap_slice bytes = ap_buf_slice(is_json ? &twin.json : &twin.protobuf);
            assert_int_equal(decode(&plain, is_json, bytes, &err), AP_OK);
            assert_int_equal(decode(&keeping, is_json, bytes, &err), AP_OK);
            series += keeping.body->batch.series_count;
            known += count_known(&keeping.body->batch);
            AP_AUTO_FREE char *first = text_of(&plain);
            AP_AUTO_FREE char *second = text_of(&keeping);
            if (strcmp(first, second) != 0)
                fail_msg("settings %" PRIu64 ", round %u: anew\n%sknown\n%s", number, round, first, second);
            ap_buf_clear(&twin.protobuf);
            ap_buf_clear(&twin.json);
        }
        fixture_clear(&keeping);
        fixture_clear(&plain);
    }
    assert_true(series > 10000);
    assert_true(known > series / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_histograms),
        cmocka_unit_test(test_exponential),
        cmocka_unit_test(test_summaries),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_resources),
        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_bad_points),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_deltas),
        cmocka_unit_test(test_points_refused),
        cmocka_unit_test(test_both_encodings),
        cmocka_unit_test(test_known_gives_the_same),
    };
    return cmocka_run_group_tests_name("otlp", tests, NULL, NULL);
}
