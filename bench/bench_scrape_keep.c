/*
 * bench/bench_scrape_keep.c - what a scraped sample costs without the network: bench-scrape-keep DIR [TARGETS [SERIES]]
 *
 * Targets' pages, one after the other as they would come every ten seconds, are read and kept in a store in DIR, which
 * must not be there. Prints microseconds of CPU a page, and nanoseconds a sample, of each round, all threads together.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "scrape/job_internal.h"
#include "scrape/target.h"
#include "scrape_page.h"
#include "wal/wal.h"

enum { ROUNDS = 10, INTERVAL_MS = 10000, FLUSH_EVERY = 10 /* as the scraper does at this pace */ };

static int64_t now_ms;

static int64_t wall_us(void *context)
{
    (void)context;
    return now_ms * AP_US_PER_MS;
}
static int64_t monotonic_us(void *context)
{
    (void)context;
    return ap_clock_monotonic_us(&ap_clock_system);
}
static const struct ap_clock bench_clock = {wall_us, monotonic_us, NULL};

static void print_trouble(const struct ap_err *err, void *context)
{
    (void)context;
    fprintf(stderr, "%s\n", err->text);
}

static void check(enum ap_rc rc, const struct ap_err *err)
{
    if (rc == AP_OK)
        return;
    fprintf(stderr, "bench-scrape-keep: %s\n", err->text);
    exit(1);
}

static double cpu_s(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static struct target *make_target(const struct job *job, size_t index, uint64_t hash_seed)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    AP_AUTO_FREE char *instance = ap_asprintf("10.0.%zu.%zu:9100", index / 250, index % 250);
    struct label labels[] = {{ap_slice_cstr("instance"), ap_slice_cstr(instance)},
                             {ap_slice_cstr("job"), ap_slice_cstr("bench")}};
    struct ap_err err;
    check(labels_encode(labels, 2, &bytes, &err), &err);
    struct scrape_target told = {.job = &job->shown,
                                 .url = "http://target/metrics",
                                 .labels = ap_buf_slice(&bytes),
                                 .interval_ms = INTERVAL_MS,
                                 .timeout_ms = INTERVAL_MS,
                                 .hash = index};
    struct target *target = target_new(&told, 1, hash_seed);
    target->asked = target_info_ref(target->info);
    return target;
}

static void run_round(struct target **targets, size_t count, size_t series, uint64_t tick, struct target_desk *desk)
{
    AP_AUTO_BUF struct ap_buf page = {0};
    scrape_page_make(SCRAPE_PAGE_APP, series, tick, &page);
    double began_s = cpu_s();
    uint64_t samples = 0;
    for (size_t i = 0; i < count; i++) {
        struct target *target = targets[i];
        target->answer = (struct fetch_answer){.content_type = "text/plain"};
        ap_buf_add_slice(&target->answer.body, ap_buf_slice(&page));
        target->ts_ms = now_ms + (int64_t)i * INTERVAL_MS / (int64_t)count;
        target->began_us = ap_clock_monotonic_us(&ap_clock_system);
        struct target_result result;
        target_finish(target, desk, &result);
        check(result.err.rc, &result.err);
        samples += result.samples;
        if (i % FLUSH_EVERY == FLUSH_EVERY - 1)
            (void)target_desk_flush(desk);
    }
    (void)target_desk_flush(desk);
    double used_s = cpu_s() - began_s;
    printf("round %2u: %7.1f us a page, %6.1f ns a sample\n", (unsigned)tick, used_s * 1e6 / (double)count,
           used_s * 1e9 / (double)samples);
    now_ms += INTERVAL_MS;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench-scrape-keep DIR [TARGETS [SERIES]]\n");
        return 2;
    }
    size_t count = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000;
    size_t series = argc > 3 ? strtoul(argv[3], NULL, 10) : 1000;
    struct ap_err err = {0};
    now_ms = ap_clock_wall_us(&ap_clock_system) / AP_US_PER_MS;
    int dir_fd;
    check(os_dir_open(argv[1], &dir_fd, &err), &err);
    AP_AUTO_FREE char *wal_dir = ap_asprintf("%s/wal", argv[1]);
    AP_AUTO_FREE char *tsdb_dir = ap_asprintf("%s/tsdb", argv[1]);
    int wal_fd;
    check(os_dir_open(wal_dir, &wal_fd, &err), &err);
    struct wal_options wal_options;
    wal_options_init(&wal_options);
    struct wal *wal;
    uint64_t cut;
    check(wal_open(wal_fd, &wal_options, &wal, &cut, &err), &err);
    struct tsdb_options options;
    tsdb_options_init(&options);
    options.dir = tsdb_dir;
    options.wal = wal;
    options.clock = &bench_clock;
    struct tsdb *tsdb;
    check(tsdb_open(&options, &tsdb, &err), &err);
    check(tsdb_start(tsdb, &err), &err);
    struct keeper *keeper =
        keeper_new(&(struct keeper_options){.tsdb = tsdb, .append = tsdb_append, .trouble = print_trouble});
    struct target_desk desk;
    target_desk_init(&desk, keeper);
    struct job job = {.shown = {.name = "bench",
                                .fallback = SCRAPE_PROTOCOL_COUNT,
                                .is_honoring_timestamps = true,
                                .is_utf8_names = true},
                      .ref_count = 1};
    struct target **targets = ap_new0_array(struct target *, count);
    for (size_t i = 0; i < count; i++)
        targets[i] = make_target(&job, i, keeper_hash_seed(keeper));
    for (uint64_t tick = 0; tick < ROUNDS; tick++)
        run_round(targets, count, series, tick, &desk);
    size_t cache_bytes = 0;
    for (size_t i = 0; i < count; i++)
        cache_bytes += line_cache_bytes(&targets[i]->cache);
    printf("%.1f bytes remembered a series\n", (double)cache_bytes / (double)(count * series));
    for (size_t i = 0; i < count; i++)
        target_unref(targets[i]);
    free(targets);
    target_desk_clear(&desk);
    keeper_free(keeper);
    tsdb_close(tsdb);
    wal_close(wal);
    close(wal_fd);
    close(dir_fd);
    return 0;
}
