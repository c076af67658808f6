/*
 * bench-tsdb-append [HOSTS [STEPS]]: the store alone, no HTTP: devops-like series appended step by step. Prints CPU and
 * bytes for a sample.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/random.h"
#include "os/fs.h"
#include "tsdb/tsdb.h"
#include "wal/wal.h"

enum { METRICS = 100, STEP_MS = 10000, BATCH_SERIES = 5000 };

static double cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec) / 1e6;
}

static double wall_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

struct series {
    struct ap_slice labels;
    struct labels_hash hash;
    double value;
};

/* 8 % real numbers, 20 % constants, 32 % counters, the rest gauges of one or two decimals. */
static double next_value(struct series *series, unsigned metric, struct ap_random *random)
{
    if (metric < 8)
        return ap_random_unit(random) * 100;
    if (metric < 28)
        return 17;
    if (metric < 60) {
        series->value =
            ap_random_below(random, 20000) == 0 ? 0 : series->value + (double)ap_random_below(random, metric * 16);
        return series->value;
    }
    double unit = metric < 80 ? 10 : 100;
    double raw = series->value * unit + (double)(int64_t)(ap_random_normal(random) * 3);
    raw = raw < 0 ? 0 : raw > 100 * unit ? 100 * unit : (double)(int64_t)(raw + 0.5);
    return series->value = raw / unit;
}

static void add_label(struct label *label, const char *name, char *value)
{
    *label = (struct label){ap_slice_cstr(name), ap_slice_cstr(value)};
}

static void make_series(struct tsdb *tsdb, struct series *all, unsigned hosts)
{
    for (unsigned host = 0; host < hosts; host++) {
        for (unsigned metric = 0; metric < METRICS; metric++) {
            char name[64], hostname[32], region[32], zone[32], rack[16], team[16], service[16];
            snprintf(name, sizeof(name), "system_devops_metric_%u_total", metric);
            snprintf(hostname, sizeof(hostname), "host_%u.example.com", host);
            snprintf(region, sizeof(region), "eu-west-%u", host % 5);
            snprintf(zone, sizeof(zone), "eu-west-%u%c", host % 5, 'a' + (int)(host % 3));
            snprintf(rack, sizeof(rack), "%u", host % 97);
            snprintf(team, sizeof(team), "team-%u", host % 7);
            snprintf(service, sizeof(service), "%u", host % 19);
            struct label labels[10];
            add_label(&labels[0], "__name__", name);
            add_label(&labels[1], "arch", "x86_64");
            add_label(&labels[2], "datacenter", zone);
            add_label(&labels[3], "environment", "production");
            add_label(&labels[4], "hostname", hostname);
            add_label(&labels[5], "os", "Debian12");
            add_label(&labels[6], "rack", rack);
            add_label(&labels[7], "region", region);
            add_label(&labels[8], "service", service);
            add_label(&labels[9], "team", team);
            struct ap_buf bytes = {0};
            struct ap_err err;
            if (labels_encode(labels, 10, &bytes, &err) != AP_OK)
                abort();
            struct series *series = &all[host * METRICS + metric];
            series->labels = ap_buf_slice(&bytes);
            series->hash = labels_hash_of(tsdb_hash_seed(tsdb), series->labels);
            series->value = metric < 60 ? 0 : 50;
        }
    }
}

static volatile unsigned pending;

static void done(struct tsdb_append *append, enum ap_rc rc)
{
    if (rc != AP_OK)
        fprintf(stderr, "append failed: %s\n", ap_rc_name(rc));
    free(append);
    __atomic_sub_fetch(&pending, 1, __ATOMIC_RELEASE);
}

int main(int argc, char **argv)
{
    unsigned hosts = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 156;
    unsigned steps = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 720;
    char dir[] = "/tmp/apiary-bench-XXXXXX";
    struct ap_err err;
    struct wal_options wal_options;
    struct tsdb_options options;
    struct wal *wal;
    struct tsdb *tsdb;
    int wal_fd;
    uint64_t cut;
    if (!mkdtemp(dir))
        return 1;
    char path[64];
    snprintf(path, sizeof(path), "%s/wal", dir);
    wal_options_init(&wal_options);
    tsdb_options_init(&options);
    if (os_dir_open(path, &wal_fd, &err) != AP_OK || wal_open(wal_fd, &wal_options, &wal, &cut, &err) != AP_OK)
        return 1;
    char store[64];
    snprintf(store, sizeof(store), "%s/tsdb", dir);
    options.dir = store;
    options.wal = wal;
    if (tsdb_open(&options, &tsdb, &err) != AP_OK || tsdb_start(tsdb, &err) != AP_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    size_t count = (size_t)hosts * METRICS;
    struct series *all = calloc(count, sizeof(*all));
    make_series(tsdb, all, hosts);
    struct ap_random random;
    ap_random_init(&random, 1);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t start_ms = (int64_t)now.tv_sec * 1000 - (int64_t)steps * STEP_MS;
    struct batch batch = {0};
    double generating_s = 0;
    double begin_cpu = cpu_s(), begin_wall = wall_s();
    for (unsigned step = 0; step < steps; step++) {
        for (size_t first = 0; first < count; first += BATCH_SERIES) {
            double before = cpu_s();
            batch_reset(&batch);
            for (size_t i = first; i < count && i < first + BATCH_SERIES; i++) {
                batch_add_series(&batch, all[i].labels, all[i].hash);
                batch_add_sample(&batch, start_ms + (int64_t)step * STEP_MS,
                                 next_value(&all[i], (unsigned)(i % METRICS), &random));
            }
            generating_s += cpu_s() - before;
            struct tsdb_append *append = calloc(1, sizeof(*append));
            append->batch = &batch;
            append->done = done;
            __atomic_add_fetch(&pending, 1, __ATOMIC_ACQUIRE);
            if (tsdb_append(tsdb, append, &err) != AP_OK)
                return 1;
            while (__atomic_load_n(&pending, __ATOMIC_ACQUIRE) > 4)
                usleep(50);
        }
    }
    while (__atomic_load_n(&pending, __ATOMIC_ACQUIRE))
        usleep(50);
    double append_cpu = cpu_s() - begin_cpu - generating_s, append_wall = wall_s() - begin_wall;
    if (tsdb_settle(tsdb, false, &err) != AP_OK)
        fprintf(stderr, "%s\n", err.text);
    struct tsdb_stats stats;
    tsdb_stats_get(tsdb, &stats);
    double samples = (double)count * steps;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf(
        "%zu series, %.1f M samples: %.0f ns CPU a sample (%.2f M/s wall with generating), log %.2f B, chunks %.2f B a "
        "sample, %.0f MiB peak, %llu checkpoints, %llu blocks\n",
        count, samples / 1e6, append_cpu / samples * 1e9, samples / append_wall / 1e6,
        (double)stats.record_bytes / samples, (double)stats.chunk_bytes / (double)stats.chunk_samples,
        (double)usage.ru_maxrss / 1024, (unsigned long long)stats.checkpoints, (unsigned long long)stats.block_count);
    if (argc <= 3) {
        tsdb_close(tsdb);
        wal_close(wal);
    }
    double restart = wall_s();
    if (argc > 3) { /* as after a crash: whoever opens the directory next finds what was left */
        printf("%s\n", dir);
        _exit(0);
    }
    if (wal_open(wal_fd, &wal_options, &wal, &cut, &err) != AP_OK)
        return 1;
    options.wal = wal;
    if (tsdb_open(&options, &tsdb, &err) != AP_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    printf("opened again in %.3f s\n", wall_s() - restart);
    tsdb_close(tsdb);
    wal_close(wal);
    batch_clear(&batch);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}
