/*
 * bench/bench_otlp.c - OTLP beside remote write: the same samples of the same series, decoded and stored
 *
 *   bench-otlp [ROUNDS]
 *
 * All ways take turns in one run, on one store. Prints CPU of the process (decoding, store, log, background) per
 * sample and the ratio to remote write 1.0. Two shapes: ten points a metric, as instruments with attributes give them;
 * and one point a metric, where names cost the most.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "codec/inflate.h"
#include "codec/protobuf.h"
#include "ingest/metrics_body.h"
#include "ingest/otlp_json.h"
#include "ingest/otlp_protobuf.h"
#include "ingest/otlp_sink.h"
#include "ingest/remote_write.h"
#include "os/fs.h"
#include "tsdb/tsdb.h"
#include "wal/wal.h"

#include <snappy-c.h>

enum { RESOURCES = 20, METRICS_PER_RESOURCE = 500, ATTRIBUTES = 7, STEP_MS = 1000, UPTIME_MS = 24 * 3600 * 1000 };

struct shape {
    const char *name;
    unsigned metrics; /* of a resource */
    unsigned points;  /* of a metric */
};

struct pair {
    char name[24];
    char value[40];
};

static void die(const char *what, const struct ap_err *err)
{
    fprintf(stderr, "bench-otlp: %s: %s\n", what, err->text);
    exit(1);
}

static double cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec) / 1e6;
}

/* ---- The data ---- */

static void make_attributes(unsigned resource, unsigned point, struct pair pairs[ATTRIBUTES])
{
    static const char *const names[ATTRIBUTES] = {"datacenter", "environment", "hostname", "method",
                                                  "os",         "region",      "status"};
    for (size_t i = 0; i < ATTRIBUTES; i++)
        snprintf(pairs[i].name, sizeof(pairs[i].name), "%s", names[i]);
    snprintf(pairs[0].value, sizeof(pairs[0].value), "eu-central-1a");
    snprintf(pairs[1].value, sizeof(pairs[1].value), "production");
    snprintf(pairs[2].value, sizeof(pairs[2].value), "host_%u.example.com", resource);
    snprintf(pairs[3].value, sizeof(pairs[3].value), "%s", point % 2 ? "GET" : "POST");
    snprintf(pairs[4].value, sizeof(pairs[4].value), "Debian12");
    snprintf(pairs[5].value, sizeof(pairs[5].value), "eu-central-1");
    snprintf(pairs[6].value, sizeof(pairs[6].value), "%u", 200 + point / 2);
}

static void metric_name(const struct shape *shape, unsigned metric, char name[40])
{
    snprintf(name, 40, "%s_requests_%u", shape->name, metric);
}

static double value_of(unsigned resource, unsigned metric, unsigned point, unsigned round)
{
    return (double)((resource * 7919 + metric * 101 + point * 13) % 1000 + round * (1 + metric % 17));
}

static void add_label(struct ap_buf *series, struct ap_buf *part, const char *name, const char *value)
{
    ap_buf_reset(part);
    protobuf_add_text(part, 1, name);
    protobuf_add_text(part, 2, value);
    protobuf_add_bytes(series, 1, ap_buf_slice(part));
}

static void make_write(const struct shape *shape, unsigned round, int64_t ts_ms, struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf series = {0};
    AP_AUTO_BUF struct ap_buf part = {0};
    for (unsigned resource = 0; resource < RESOURCES; resource++) {
        for (unsigned i = 0; i < shape->metrics * shape->points; i++) {
            unsigned metric = i / shape->points, point = i % shape->points;
            struct pair pairs[ATTRIBUTES];
            char name[40], total[48], instance[24];
            make_attributes(resource, point, pairs);
            metric_name(shape, metric, name);
            snprintf(total, sizeof(total), "%s_total", name);
            snprintf(instance, sizeof(instance), "instance-%u", resource);
            ap_buf_reset(&series);
            add_label(&series, &part, "__name__", total);
            for (size_t j = 0; j < 3; j++)
                add_label(&series, &part, pairs[j].name, pairs[j].value);
            add_label(&series, &part, "instance", instance);
            add_label(&series, &part, "job", "shop/frontend");
            for (size_t j = 3; j < ATTRIBUTES; j++)
                add_label(&series, &part, pairs[j].name, pairs[j].value);
            ap_buf_reset(&part);
            protobuf_add_double(&part, 1, value_of(resource, metric, point, round));
            protobuf_add_varint(&part, 2, (uint64_t)ts_ms);
            protobuf_add_bytes(&series, 2, ap_buf_slice(&part));
            protobuf_add_bytes(out, 1, ap_buf_slice(&series));
        }
    }
}

static void add_fixed64(struct ap_buf *out, uint32_t field, uint64_t value)
{
    ap_buf_add_varint(out, PROTOBUF_TAG(field, PROTOBUF_FIXED64));
    ap_buf_add_u64(out, value);
}

static void add_attribute(struct ap_buf *out, uint32_t field, const char *key, const char *text)
{
    AP_AUTO_BUF struct ap_buf value = {0};
    AP_AUTO_BUF struct ap_buf pair = {0};
    protobuf_add_text(&value, 1, text);
    protobuf_add_text(&pair, 1, key);
    protobuf_add_bytes(&pair, 2, ap_buf_slice(&value));
    protobuf_add_bytes(out, field, ap_buf_slice(&pair));
}

static void add_metric(const struct shape *shape, unsigned resource, unsigned metric, unsigned round, int64_t ts_ms,
                       struct ap_buf *scope)
{
    AP_AUTO_BUF struct ap_buf message = {0};
    AP_AUTO_BUF struct ap_buf sum = {0};
    AP_AUTO_BUF struct ap_buf point = {0};
    char name[40];
    metric_name(shape, metric, name);
    for (unsigned i = 0; i < shape->points; i++) {
        struct pair pairs[ATTRIBUTES];
        make_attributes(resource, i, pairs);
        ap_buf_reset(&point);
        add_fixed64(&point, 2, (uint64_t)(ts_ms - UPTIME_MS) * 1000000);
        add_fixed64(&point, 3, (uint64_t)ts_ms * 1000000);
        protobuf_add_double(&point, 4, value_of(resource, metric, i, round));
        for (size_t j = 0; j < ATTRIBUTES; j++)
            add_attribute(&point, 7, pairs[j].name, pairs[j].value);
        protobuf_add_bytes(&sum, 1, ap_buf_slice(&point));
    }
    protobuf_add_varint(&sum, 2, 2);
    protobuf_add_varint(&sum, 3, 1);
    protobuf_add_text(&message, 1, name);
    protobuf_add_text(&message, 2, "Requests that were answered.");
    protobuf_add_text(&message, 3, "{request}");
    protobuf_add_bytes(&message, 7, ap_buf_slice(&sum));
    protobuf_add_bytes(scope, 2, ap_buf_slice(&message));
}

static void make_protobuf(const struct shape *shape, unsigned round, int64_t ts_ms, struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf attributes = {0};
    AP_AUTO_BUF struct ap_buf scope = {0};
    AP_AUTO_BUF struct ap_buf all = {0};
    for (unsigned resource = 0; resource < RESOURCES; resource++) {
        char instance[24];
        snprintf(instance, sizeof(instance), "instance-%u", resource);
        ap_buf_reset(&attributes);
        ap_buf_reset(&scope);
        ap_buf_reset(&all);
        add_attribute(&attributes, 1, "service.name", "frontend");
        add_attribute(&attributes, 1, "service.namespace", "shop");
        add_attribute(&attributes, 1, "service.instance.id", instance);
        for (unsigned metric = 0; metric < shape->metrics; metric++)
            add_metric(shape, resource, metric, round, ts_ms, &scope);
        protobuf_add_bytes(&all, 1, ap_buf_slice(&attributes));
        protobuf_add_bytes(&all, 2, ap_buf_slice(&scope));
        protobuf_add_bytes(out, 1, ap_buf_slice(&all));
    }
}

static void make_json(const struct shape *shape, unsigned round, int64_t ts_ms, struct ap_buf *out)
{
    ap_buf_add_cstr(out, "{\"resourceMetrics\":[");
    for (unsigned resource = 0; resource < RESOURCES; resource++) {
        ap_buf_printf(out,
                      "%s{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{\"stringValue\":"
                      "\"frontend\"}},{\"key\":\"service.namespace\",\"value\":{\"stringValue\":\"shop\"}},{\"key\":"
                      "\"service.instance.id\",\"value\":{\"stringValue\":\"instance-%u\"}}]},\"scopeMetrics\":[{"
                      "\"metrics\":[",
                      resource ? "," : "", resource);
        for (unsigned metric = 0; metric < shape->metrics; metric++) {
            char name[40];
            metric_name(shape, metric, name);
            ap_buf_printf(out,
                          "%s{\"name\":\"%s\",\"description\":\"Requests that were answered.\",\"unit\":\"{request}\","
                          "\"sum\":{\"aggregationTemporality\":2,\"isMonotonic\":true,\"dataPoints\":[",
                          metric ? "," : "", name);
            for (unsigned i = 0; i < shape->points; i++) {
                struct pair pairs[ATTRIBUTES];
                make_attributes(resource, i, pairs);
                ap_buf_printf(out, "%s{\"attributes\":[", i ? "," : "");
                for (size_t j = 0; j < ATTRIBUTES; j++)
                    ap_buf_printf(out, "%s{\"key\":\"%s\",\"value\":{\"stringValue\":\"%s\"}}", j ? "," : "",
                                  pairs[j].name, pairs[j].value);
                ap_buf_printf(out,
                              "],\"startTimeUnixNano\":\"%" PRId64 "000000\",\"timeUnixNano\":\"%" PRId64
                              "000000\",\"asDouble\":%.17g}",
                              ts_ms - UPTIME_MS, ts_ms, value_of(resource, metric, i, round));
            }
            ap_buf_add_cstr(out, "]}}");
        }
        ap_buf_add_cstr(out, "]}]}");
    }
    ap_buf_add_cstr(out, "]}");
}

/* ---- Decoding and storing ---- */

struct store {
    struct wal *wal;
    struct tsdb *tsdb;
    struct metrics_body *body;
    struct inflate *inflate;
    struct otlp_settings settings;
    volatile unsigned pending;
};

static void done(struct tsdb_append *append, enum ap_rc rc)
{
    struct store *store = append->context;
    if (rc != AP_OK)
        fprintf(stderr, "append failed: %s\n", ap_rc_name(rc));
    __atomic_store_n(&store->pending, 0, __ATOMIC_RELEASE);
}

enum way { WAY_WRITE, WAY_PROTOBUF, WAY_JSON, WAY_COUNT };
static const char *const way_names[WAY_COUNT] = {"remote write 1.0", "OTLP protobuf", "OTLP JSON"};

static void decode_way(struct store *store, enum way way, struct ap_slice bytes)
{
    struct ap_err err;
    enum ap_rc rc;
    if (way == WAY_WRITE) {
        rc = inflate_body(store->inflate, INFLATE_SNAPPY, bytes, METRICS_ARENA_BYTES_MAX, &store->body->unpacked,
                          &store->body->unpacked_bytes, &err);
        if (rc == AP_OK)
            rc = remote_write_decode(store->body, ap_slice(store->body->unpacked, store->body->unpacked_bytes), &err);
    } else {
        AP_AUTO(otlp_sink)
        struct otlp_sink *sink = otlp_sink_new(&(struct otlp_sink_options){
            .body = store->body, .settings = &store->settings, .source = bytes, .now_ms = 1});
        rc = way == WAY_JSON ? otlp_json_decode(sink, bytes, &err) : otlp_protobuf_decode(sink, bytes, &err);
    }
    if (rc != AP_OK)
        die(way_names[way], &err);
}

/* CPU seconds for decoding, and for all of it. */
static void run(struct store *store, enum way way, struct ap_slice bytes, double *decode_s, double *all_s,
                uint64_t *samples)
{
    struct tsdb_append append = {.done = done, .context = store, .batch = &store->body->batch};
    struct ap_err err;
    double begin = cpu_s();
    decode_way(store, way, bytes);
    double decoded = cpu_s();
    __atomic_store_n(&store->pending, 1, __ATOMIC_RELEASE);
    if (tsdb_append(store->tsdb, &append, &err) != AP_OK)
        die("append", &err);
    while (__atomic_load_n(&store->pending, __ATOMIC_ACQUIRE))
        usleep(200);
    *decode_s += decoded - begin;
    *all_s += cpu_s() - begin;
    *samples += append.outcome.samples_written;
    if (append.outcome.samples_refused) {
        fprintf(stderr, "bench-otlp: %" PRIu64 " samples were refused: %s\n", append.outcome.samples_refused,
                append.outcome.reason);
        exit(1);
    }
    metrics_body_reset(store->body);
}

static void make(enum way way, const struct shape *shape, unsigned round, int64_t ts_ms, struct ap_buf *out)
{
    if (way == WAY_PROTOBUF) {
        make_protobuf(shape, round, ts_ms, out);
    } else if (way == WAY_JSON) {
        make_json(shape, round, ts_ms, out);
    } else {
        AP_AUTO_BUF struct ap_buf plain = {0};
        make_write(shape, round, ts_ms, &plain);
        size_t bytes = snappy_max_compressed_length(plain.bytes);
        if (snappy_compress(plain.data, plain.bytes, ap_buf_reserve(out, bytes), &bytes) != SNAPPY_OK)
            exit(1);
        out->bytes = bytes;
    }
}

static void measure(struct store *store, const struct shape *shape, unsigned rounds, int64_t *ts_ms)
{
    double decode[WAY_COUNT] = {0}, all[WAY_COUNT] = {0};
    uint64_t samples[WAY_COUNT] = {0};
    uint64_t bytes[WAY_COUNT] = {0};
    for (unsigned round = 0; round < rounds + 2; round++) {
        for (unsigned way = 0; way < WAY_COUNT; way++) {
            AP_AUTO_BUF struct ap_buf body = {0};
            make((enum way)way, shape, round, *ts_ms, &body);
            *ts_ms += STEP_MS;
            if (round == 2) /* the first two make the series, and the program warm */
                decode[way] = all[way] = 0, samples[way] = bytes[way] = 0;
            bytes[way] += body.bytes;
            run(store, (enum way)way, ap_buf_slice(&body), &decode[way], &all[way], &samples[way]);
        }
    }
    printf("%s: %d resources, %u metrics each, %u points each\n", shape->name, RESOURCES, shape->metrics,
           shape->points);
    double base = all[WAY_WRITE] / (double)samples[WAY_WRITE];
    for (unsigned way = 0; way < WAY_COUNT; way++) {
        double count = (double)samples[way];
        printf("  %-18s %6.1f ns to decode, %6.1f ns in all a sample, %5.1f bytes a sample, ratio %.2f\n",
               way_names[way], decode[way] / count * 1e9, all[way] / count * 1e9, (double)bytes[way] / count,
               all[way] / count / base);
    }
}

static void open_store(struct store *store, const char *dir)
{
    struct ap_err err;
    struct wal_options wal_options;
    struct tsdb_options options;
    int wal_fd;
    uint64_t cut;
    AP_AUTO_FREE char *wal_dir = ap_asprintf("%s/wal", dir);
    AP_AUTO_FREE char *tsdb_dir = ap_asprintf("%s/tsdb", dir);
    wal_options_init(&wal_options);
    tsdb_options_init(&options);
    if (os_dir_open(wal_dir, &wal_fd, &err) != AP_OK ||
        wal_open(wal_fd, &wal_options, &store->wal, &cut, &err) != AP_OK)
        die("log", &err);
    options.dir = tsdb_dir;
    options.wal = store->wal;
    if (tsdb_open(&options, &store->tsdb, &err) != AP_OK || tsdb_start(store->tsdb, &err) != AP_OK)
        die("store", &err);
    store->body = metrics_body_new(tsdb_hash_seed(store->tsdb), false);
    store->inflate = inflate_new();
    otlp_settings_init(&store->settings);
}

int main(int argc, char **argv)
{
    static const struct shape shapes[] = {{"ten_points", METRICS_PER_RESOURCE / 10, 10},
                                          {"one_point", METRICS_PER_RESOURCE, 1}};
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 60;
    char dir[] = "/tmp/apiary-bench-XXXXXX";
    struct store store = {.pending = 0};
    if (!mkdtemp(dir))
        return 1;
    open_store(&store, dir);
    int64_t ts_ms = ap_clock_wall_us(&ap_clock_system) / AP_US_PER_MS - 3600 * 1000;
    for (size_t i = 0; i < AP_ARRAY_COUNT(shapes); i++)
        measure(&store, &shapes[i], rounds, &ts_ms);
    metrics_body_free(store.body);
    inflate_free(store.inflate);
    tsdb_close(store.tsdb);
    wal_close(store.wal);
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}
