/*
 * bench/rules_make.c - a made-up cluster of services and nodes, as the remote-write requests that fill a store with it
 *
 *     bench-rules-make FILE SERVICES STEPS STEP_MS FIRST_MS CONNECTIONS
 *
 * Each service has 20 pods and two nodes of the cluster; names and labels are those of the usual exporters (node,
 * kube-state-metrics, cAdvisor, an application with HTTP, gRPC and queues), so that rules as people write them have
 * something to select: 3,844 series a service. Each series has a sample every STEP_MS, its target's own part of a step
 * after FIRST_MS, so that not all are sampled at once. What bench/rules says of the figures is in
 * docs/performance.md. Now and then a service has an incident of two minutes, in which it fails, is slow and fills its
 * memory: alerts come and go.
 *
 * The file is that of metrics_file.h; a request has all samples of some series. Prints one line of JSON.
 */
#include <inttypes.h>
#include <math.h>
#include <snappy-c.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/rc.h"
#include "metrics_file.h"

enum {
    PODS = 20,
    NODES = 2,
    POOL_SERVICES = 10, /* their nodes are one pool */
    REQUEST_SERIES = 400,
    DIMENSIONS_MAX = 2,
    LABELS_MAX = 12,
    VALUE_BYTES_MAX = 48,
    INCIDENT_MS = 120000,
    INCIDENT_ONE_IN = 8,
};

/* ---- What there is ---- */

struct dimension {
    const char *label;
    const char *values[17]; /* up to the first NULL */
};

static const struct dimension handlers = {"handler", {"/api/v1/items", "/api/v1/orders", "/api/v1/users", "/login"}};
static const struct dimension codes = {"code", {"200", "204", "400", "404", "500", "503"}};
static const struct dimension bounds = {
    "le", {"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"}};
static const struct dimension methods = {"grpc_method", {"Get", "List", "Put", "Watch"}};
static const struct dimension grpc_codes = {"grpc_code", {"OK", "NotFound", "Unavailable", "Internal"}};
static const struct dimension containers = {"container", {"app", "sidecar"}};
static const struct dimension resources = {"resource", {"cpu", "memory"}};
static const struct dimension phases = {"phase", {"Pending", "Running", "Succeeded", "Failed", "Unknown"}};
static const struct dimension interfaces = {"interface", {"eth0", "eth1"}};
static const struct dimension databases = {"db", {"orders", "users"}};
static const struct dimension operations = {"operation", {"select", "insert", "update", "delete"}};
static const struct dimension results = {"result", {"hit", "miss"}};
static const struct dimension queues = {"queue", {"mail", "orders", "reports"}};
static const struct dimension cpus = {
    "cpu", {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"}};
static const struct dimension modes = {"mode", {"idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"}};
static const struct dimension devices = {"device", {"sda", "sdb", "sdc", "nvme0n1", "nvme1n1", "nvme2n1"}};
static const struct dimension mounts = {
    "mountpoint",
    {"/", "/boot", "/var", "/var/log", "/var/lib/kubelet", "/data/1", "/data/2", "/data/3", "/tmp", "/home"}};
static const struct dimension links = {"device", {"eth0", "eth1", "eth2", "eth3", "bond0", "cni0", "flannel", "lo"}};

enum kind {
    COUNTER,  /* grows by about `size` a second */
    FAILURES, /* a counter that grows by `size` of a hundredth mostly, and by all of it in an incident */
    BUCKETS,  /* cumulative, by `le`; slow in an incident */
    GAUGE,    /* wanders about `size` */
    FILLING,  /* the same, twice as high in an incident */
    CONSTANT, /* is `size` */
    UP,       /* 1; in an incident every fifth target is 0 */
    KIND_COUNT
};

struct metric {
    const char *name;
    enum kind kind;
    double size;
    const struct dimension *dimensions[DIMENSIONS_MAX];
};

static const struct metric pod_metrics[] = {
    {"up", UP, 1, {0}},
    {"http_requests_total", COUNTER, 8, {&handlers, &codes}},
    {"http_request_duration_seconds_bucket", BUCKETS, 40, {&handlers, &bounds}},
    {"http_request_duration_seconds_count", COUNTER, 40, {&handlers}},
    {"http_request_duration_seconds_sum", COUNTER, 4, {&handlers}},
    {"grpc_server_handled_total", COUNTER, 5, {&methods, &grpc_codes}},
    {"process_cpu_seconds_total", COUNTER, 0.4, {0}},
    {"process_resident_memory_bytes", FILLING, 3e8, {0}},
    {"process_open_fds", FILLING, 300, {0}},
    {"process_max_fds", CONSTANT, 1024, {0}},
    {"process_start_time_seconds", CONSTANT, 1.7e9, {0}},
    {"go_goroutines", FILLING, 200, {0}},
    {"go_threads", GAUGE, 20, {0}},
    {"go_memstats_alloc_bytes", GAUGE, 1e8, {0}},
    {"go_memstats_alloc_bytes_total", COUNTER, 1e6, {0}},
    {"go_memstats_heap_inuse_bytes", GAUGE, 1.2e8, {0}},
    {"go_memstats_heap_objects", GAUGE, 4e5, {0}},
    {"go_memstats_mallocs_total", COUNTER, 2e4, {0}},
    {"go_memstats_frees_total", COUNTER, 2e4, {0}},
    {"go_gc_duration_seconds_sum", COUNTER, 0.01, {0}},
    {"go_gc_duration_seconds_count", COUNTER, 0.3, {0}},
    {"container_cpu_usage_seconds_total", COUNTER, 0.3, {&containers}},
    {"container_cpu_cfs_periods_total", COUNTER, 10, {&containers}},
    {"container_cpu_cfs_throttled_periods_total", FAILURES, 5, {&containers}},
    {"container_memory_working_set_bytes", FILLING, 2.6e8, {&containers}},
    {"container_memory_rss", GAUGE, 2e8, {&containers}},
    {"container_spec_memory_limit_bytes", CONSTANT, 5.12e8, {&containers}},
    {"container_network_receive_bytes_total", COUNTER, 9e4, {&interfaces}},
    {"container_network_transmit_bytes_total", COUNTER, 7e4, {&interfaces}},
    {"kube_pod_status_phase", CONSTANT, 0, {&phases}},
    {"kube_pod_container_status_restarts_total", FAILURES, 0.05, {&containers}},
    {"kube_pod_container_status_ready", UP, 1, {&containers}},
    {"kube_pod_container_resource_requests", CONSTANT, 0.5, {&containers, &resources}},
    {"kube_pod_container_resource_limits", CONSTANT, 1, {&containers, &resources}},
    {"db_client_operations_total", COUNTER, 6, {&databases, &operations}},
    {"cache_requests_total", COUNTER, 30, {&results}},
    {"queue_depth", FILLING, 400, {&queues}},
    {"queue_messages_total", COUNTER, 12, {&queues}},
};

static const struct metric pod_info = {"kube_pod_info", CONSTANT, 1, {0}};

static const struct metric node_metrics[] = {
    {"up", UP, 1, {0}},
    {"node_cpu_seconds_total", COUNTER, 0.12, {&cpus, &modes}},
    {"node_filesystem_avail_bytes", GAUGE, 4e10, {&mounts}},
    {"node_filesystem_size_bytes", CONSTANT, 1e11, {&mounts}},
    {"node_filesystem_files", CONSTANT, 6e6, {&mounts}},
    {"node_filesystem_files_free", GAUGE, 5e6, {&mounts}},
    {"node_filesystem_readonly", CONSTANT, 0, {&mounts}},
    {"node_network_receive_bytes_total", COUNTER, 2e6, {&links}},
    {"node_network_receive_packets_total", COUNTER, 3e3, {&links}},
    {"node_network_receive_errs_total", FAILURES, 40, {&links}},
    {"node_network_receive_drop_total", FAILURES, 2, {&links}},
    {"node_network_transmit_bytes_total", COUNTER, 2e6, {&links}},
    {"node_network_transmit_packets_total", COUNTER, 3e3, {&links}},
    {"node_network_transmit_errs_total", FAILURES, 1, {&links}},
    {"node_network_up", CONSTANT, 1, {&links}},
    {"node_disk_reads_completed_total", COUNTER, 100, {&devices}},
    {"node_disk_writes_completed_total", COUNTER, 150, {&devices}},
    {"node_disk_read_bytes_total", COUNTER, 1e6, {&devices}},
    {"node_disk_written_bytes_total", COUNTER, 2e6, {&devices}},
    {"node_disk_io_time_seconds_total", COUNTER, 0.3, {&devices}},
    {"node_disk_io_time_weighted_seconds_total", COUNTER, 0.5, {&devices}},
    {"node_memory_MemTotal_bytes", CONSTANT, 6.4e10, {0}},
    {"node_memory_MemAvailable_bytes", GAUGE, 2e10, {0}},
    {"node_memory_MemFree_bytes", GAUGE, 1e10, {0}},
    {"node_memory_Cached_bytes", GAUGE, 1e10, {0}},
    {"node_memory_Buffers_bytes", GAUGE, 1e9, {0}},
    {"node_memory_Slab_bytes", GAUGE, 2e9, {0}},
    {"node_load1", FILLING, 8, {0}},
    {"node_load5", FILLING, 8, {0}},
    {"node_load15", GAUGE, 8, {0}},
    {"node_vmstat_pgmajfault", COUNTER, 3, {0}},
    {"node_vmstat_pgfault", COUNTER, 3000, {0}},
    {"node_context_switches_total", COUNTER, 2e4, {0}},
    {"node_intr_total", COUNTER, 1e4, {0}},
    {"node_time_seconds", COUNTER, 1, {0}},
    {"node_boot_time_seconds", CONSTANT, 1.69e9, {0}},
    {"node_timex_offset_seconds", GAUGE, 0.001, {0}},
    {"node_timex_sync_status", CONSTANT, 1, {0}},
    {"node_nf_conntrack_entries", FILLING, 6e4, {0}},
    {"node_nf_conntrack_entries_limit", CONSTANT, 1.31e5, {0}},
    {"node_filefd_allocated", GAUGE, 9000, {0}},
    {"node_filefd_maximum", CONSTANT, 1e6, {0}},
    {"node_procs_running", GAUGE, 6, {0}},
    {"node_procs_blocked", GAUGE, 1, {0}},
};

/* ---- Labels ---- */

struct label_text {
    const char *name;
    char value[VALUE_BYTES_MAX];
};

struct label_texts {
    struct label_text items[LABELS_MAX];
    size_t count;
};

static ap_printf(3, 4) void add_text(struct label_texts *labels, const char *name, const char *format, ...)
{
    if (labels->count == LABELS_MAX)
        abort();
    struct label_text *label = &labels->items[labels->count++];
    label->name = name;
    va_list args;
    va_start(args, format);
    vsnprintf(label->value, sizeof(label->value), format, args);
    va_end(args);
}

static int compare_labels(const void *a, const void *b)
{
    return strcmp(((const struct label_text *)a)->name, ((const struct label_text *)b)->name);
}

static void write_text(struct ap_buf *out, char tag, const char *text)
{
    size_t bytes = strlen(text);
    ap_buf_add_char(out, tag);
    ap_buf_add_varint(out, bytes);
    ap_buf_add(out, text, bytes);
}

static void write_labels(struct label_texts *labels, struct ap_buf *out)
{
    qsort(labels->items, labels->count, sizeof(*labels->items), compare_labels);
    for (size_t i = 0; i < labels->count; i++) {
        const struct label_text *label = &labels->items[i];
        ap_buf_add_char(out, 0x0A);
        ap_buf_add_varint(out, 4 + strlen(label->name) + strlen(label->value)); /* each below 128 */
        write_text(out, 0x0A, label->name);
        write_text(out, 0x12, label->value);
    }
}

/* ---- Values ---- */

struct options {
    uint32_t services, steps, connections;
    int64_t step_ms, first_ms;
};

/* What all series of a pod or node have in common. */
struct target {
    const struct options *options;
    uint32_t service;
    uint32_t number; /* of the service's pods or nodes */
    int64_t offset_ms;
    struct label_texts labels;
};

static bool is_incident(const struct target *target, int64_t ts_ms)
{
    return (ts_ms / INCIDENT_MS + target->service) % INCIDENT_ONE_IN == 0;
}

/* What a series adds or is at a time. `place`: which of its metric's series it is, from 0 to 1. */
static double next_value(const struct metric *metric, const struct target *target, double place, int64_t ts_ms,
                         double before, struct ap_random *random)
{
    bool is_bad = is_incident(target, ts_ms);
    double seconds = (double)target->options->step_ms / 1000, noise = 0.8 + 0.4 * ap_random_unit(random);
    switch (metric->kind) {
    case COUNTER:
        return before + metric->size * (1.2 - place) * seconds * noise;
    case FAILURES:
        return before + floor(metric->size * (is_bad ? 1 : 0.01) * seconds * noise);
    case BUCKETS: {
        double share = is_bad ? place * place * place : sqrt(place);
        return before + floor(metric->size * share * seconds); /* no noise: a bucket has what those below it have */
    }
    case GAUGE:
        return floor(metric->size * noise * 100) / 100;
    case FILLING:
        return floor(metric->size * noise * (is_bad ? 2 : 1));
    case UP:
        return is_bad && target->number % 5 == 0 ? 0 : 1;
    case CONSTANT:
    case KIND_COUNT:
        break;
    }
    return metric->size;
}

static void write_samples(const struct metric *metric, const struct target *target, double place, uint64_t seed,
                          struct ap_buf *out)
{
    struct ap_random random;
    ap_random_init(&random, seed);
    double value = floor(metric->size * 1000 * ap_random_unit(&random));
    for (uint32_t i = 0; i < target->options->steps; i++) {
        int64_t ts_ms = target->options->first_ms + i * target->options->step_ms + target->offset_ms;
        value = next_value(metric, target, place, ts_ms, value, &random);
        uint8_t bytes[16] = {0x09};
        memcpy(bytes + 1, &value, sizeof(value));
        bytes[9] = 0x10;
        ap_buf_add_char(out, 0x12);
        ap_buf_add_varint(out, 16); /* the time is a varint of six bytes until the year 2109 */
        ap_buf_add(out, (const char *)bytes, 10);
        ap_buf_add_varint(out, (uint64_t)ts_ms);
    }
}

/* ---- Requests ---- */

struct writer {
    FILE *file;
    uint32_t connection;
    uint32_t series_count; /* of the request that is being made */
    struct ap_buf series, plain, body;
    struct metrics_file_header header;
};

static void flush(struct writer *writer, const struct options *options)
{
    if (writer->series_count == 0)
        return;
    size_t bytes = snappy_max_compressed_length(writer->plain.bytes);
    ap_buf_reset(&writer->body);
    if (snappy_compress(writer->plain.data, writer->plain.bytes, ap_buf_reserve(&writer->body, bytes), &bytes) !=
        SNAPPY_OK)
        abort();
    struct metrics_record record = {.connection = writer->connection,
                                    .sample_count = writer->series_count * options->steps,
                                    .body_bytes = (uint32_t)bytes};
    fwrite(&record, sizeof(record), 1, writer->file);
    fwrite(writer->body.data, 1, bytes, writer->file); /* errors: ferror() at the end */
    writer->header.series_count += writer->series_count;
    writer->header.sample_count += record.sample_count;
    writer->header.request_count++;
    writer->series_count = 0;
    ap_buf_reset(&writer->plain);
}

static void write_series(struct writer *writer, const struct metric *metric, const struct target *target,
                         const char *const *values, double place)
{
    struct label_texts labels = target->labels;
    add_text(&labels, "__name__", "%s", metric->name);
    for (size_t i = 0; i < DIMENSIONS_MAX && metric->dimensions[i]; i++)
        add_text(&labels, metric->dimensions[i]->label, "%s", values[i]);
    ap_buf_reset(&writer->series);
    write_labels(&labels, &writer->series);
    uint64_t seed = writer->header.series_count + writer->series_count;
    write_samples(metric, target, place, seed, &writer->series);
    ap_buf_add_char(&writer->plain, 0x0A);
    ap_buf_add_varint(&writer->plain, writer->series.bytes);
    ap_buf_add(&writer->plain, writer->series.data, writer->series.bytes);
    if (++writer->series_count == REQUEST_SERIES)
        flush(writer, target->options);
}

static size_t count_values(const struct dimension *dimension)
{
    size_t count = 0;
    while (dimension && dimension->values[count])
        count++;
    return AP_MAX(count, 1);
}

/* Every combination of the metric's dimensions. FAILURES are the codes and the like that are no success. */
static void write_metric(struct writer *writer, const struct metric *metric, const struct target *target)
{
    size_t outer = count_values(metric->dimensions[0]), inner = count_values(metric->dimensions[1]);
    for (size_t i = 0; i < outer; i++)
        for (size_t j = 0; j < inner; j++) {
            const char *values[DIMENSIONS_MAX] = {metric->dimensions[0] ? metric->dimensions[0]->values[i] : NULL,
                                                  metric->dimensions[1] ? metric->dimensions[1]->values[j] : NULL};
            struct metric one = *metric;
            if (values[1] && metric->dimensions[1] == &codes && values[1][0] == '5')
                one.kind = FAILURES;
            if (values[0] && metric->dimensions[0] == &phases)
                one.size = strcmp(values[0], "Running") == 0;
            double place = metric->dimensions[1]   ? (double)(j + 1) / (double)inner
                           : metric->dimensions[0] ? (double)(i + 1) / (double)outer
                                                   : 0.2;
            write_series(writer, &one, target, values, place);
        }
}

static struct target target_of(const struct options *options, uint32_t service, uint32_t number, uint32_t salt)
{
    struct target target = {.options = options, .service = service, .number = number};
    target.offset_ms = (int64_t)((service * 7919 + number * 104729 + salt) % (uint32_t)options->step_ms);
    return target;
}

static void write_service(struct writer *writer, const struct options *options, uint32_t service)
{
    for (uint32_t pod = 0; pod < PODS; pod++) {
        struct target target = target_of(options, service, pod, 1);
        struct label_texts *labels = &target.labels;
        add_text(labels, "cluster", "bench");
        add_text(labels, "namespace", "team-%u", service / 4);
        add_text(labels, "job", "service-%u", service);
        add_text(labels, "pod", "service-%u-%u", service, pod);
        add_text(labels, "instance", "10.%u.%u.%u:8080", service / 200, service % 200, pod);
        for (size_t i = 0; i < AP_ARRAY_COUNT(pod_metrics); i++)
            write_metric(writer, &pod_metrics[i], &target);
        add_text(labels, "node", "node-%u", service * NODES + pod % NODES);
        write_metric(writer, &pod_info, &target);
    }
    for (uint32_t node = 0; node < NODES; node++) {
        struct target target = target_of(options, service, node, 2);
        struct label_texts *labels = &target.labels;
        add_text(labels, "cluster", "bench");
        add_text(labels, "job", "node");
        add_text(labels, "instance", "node-%u", service * NODES + node);
        add_text(labels, "pool", "pool-%u", service / POOL_SERVICES);
        for (size_t i = 0; i < AP_ARRAY_COUNT(node_metrics); i++)
            write_metric(writer, &node_metrics[i], &target);
    }
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fprintf(stderr, "usage: bench-rules-make FILE SERVICES STEPS STEP_MS FIRST_MS CONNECTIONS\n");
        return 2;
    }
    const struct options options = {.services = (uint32_t)strtoul(argv[2], NULL, 10),
                                    .steps = (uint32_t)strtoul(argv[3], NULL, 10),
                                    .step_ms = strtoll(argv[4], NULL, 10),
                                    .first_ms = strtoll(argv[5], NULL, 10),
                                    .connections = (uint32_t)strtoul(argv[6], NULL, 10)};
    if (!options.services || !options.steps || options.step_ms <= 0 || !options.connections) {
        fprintf(stderr, "bench-rules-make: none of the numbers may be 0\n");
        return 2;
    }
    struct writer writer = {.file = fopen(argv[1], "wb")};
    writer.header = (struct metrics_file_header){
        .first_ms = options.first_ms, .step_count = 1, .connection_count = options.connections};
    if (!writer.file || fwrite(&writer.header, sizeof(writer.header), 1, writer.file) != 1) {
        perror(argv[1]);
        return 1;
    }
    for (uint32_t service = 0; service < options.services; service++) {
        writer.connection = service % options.connections;
        write_service(&writer, &options, service);
        flush(&writer, &options);
    }
    writer.header.magic = METRICS_FILE_MAGIC; /* only now: the file is complete */
    rewind(writer.file);
    fwrite(&writer.header, sizeof(writer.header), 1, writer.file);
    if (ferror(writer.file) || fclose(writer.file) != 0) {
        perror(argv[1]);
        return 1;
    }
    printf("{\"series\": %" PRIu64 ", \"samples\": %" PRIu64 ", \"requests\": %" PRIu64 "}\n",
           writer.header.series_count, writer.header.sample_count, writer.header.request_count);
    ap_buf_clear(&writer.series);
    ap_buf_clear(&writer.plain);
    ap_buf_clear(&writer.body);
    return 0;
}
