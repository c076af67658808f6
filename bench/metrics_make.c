/*
 * bench/metrics_make.c - makes a file of remote-write 1.0 requests, so that a load generator only has to send them
 *
 *     bench-metrics-make FILE SERIES STEPS CONNECTIONS LAST_MS [CHURN_STEPS [REQUEST_SERIES]]
 *
 * The last sample of each series is at LAST_MS. What the numbers are like: metrics_data.h. Prints one line of JSON.
 */
#include <inttypes.h>
#include <pthread.h>
#include <snappy-c.h>
#include <stdio.h>
#include <stdlib.h>

#include "metrics_data.h"
#include "metrics_file.h"

enum { CONNECTIONS_MAX = 64, REQUEST_SERIES = 5000, SEED = 20240229 };

static struct metrics_plan plan;
static FILE *file;
static pthread_mutex_t file_mtx = PTHREAD_MUTEX_INITIALIZER; /* also of what follows */
static uint64_t sample_count, request_count, plain_bytes, body_bytes;

static void *make_share(void *context)
{
    uint32_t connection = (uint32_t)(uintptr_t)context;
    struct metrics_share *share = metrics_share_new(&plan, connection);
    struct metrics_record record = {.connection = connection};
    struct ap_buf plain = {0}, body = {0};
    while (metrics_share_next(share, &plain, &record.step, &record.sample_count)) {
        ap_buf_reset(&body);
        size_t bytes = snappy_max_compressed_length(plain.bytes);
        if (snappy_compress(plain.data, plain.bytes, ap_buf_reserve(&body, bytes), &bytes) != SNAPPY_OK)
            abort();
        record.body_bytes = (uint32_t)bytes;
        pthread_mutex_lock(&file_mtx);
        sample_count += record.sample_count;
        request_count++;
        plain_bytes += plain.bytes;
        body_bytes += bytes;
        fwrite(&record, sizeof(record), 1, file);
        fwrite(body.data, 1, bytes, file); /* errors: ferror() at the end */
        pthread_mutex_unlock(&file_mtx);
    }
    ap_buf_clear(&plain);
    ap_buf_clear(&body);
    metrics_share_free(share);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: bench-metrics-make FILE SERIES STEPS CONNECTIONS LAST_MS [CHURN_STEPS "
                        "[REQUEST_SERIES]]\n");
        return 2;
    }
    plan.series_count = (uint32_t)strtoul(argv[2], NULL, 10);
    plan.step_count = (uint32_t)strtoul(argv[3], NULL, 10);
    plan.connection_count = (uint32_t)strtoul(argv[4], NULL, 10);
    plan.first_ms = strtoll(argv[5], NULL, 10) - ((int64_t)plan.step_count - 1) * METRICS_STEP_MS;
    plan.churn_steps = argc > 6 ? (uint32_t)strtoul(argv[6], NULL, 10) : 0;
    plan.request_series_max = argc > 7 ? (uint32_t)strtoul(argv[7], NULL, 10) : REQUEST_SERIES;
    plan.seed = SEED;
    if (!plan.series_count || !plan.step_count || !plan.connection_count || plan.connection_count > CONNECTIONS_MAX ||
        !plan.request_series_max) {
        fprintf(stderr,
                "bench-metrics-make: series, steps, connections (at most %d) and series of a request must not "
                "be 0\n",
                CONNECTIONS_MAX);
        return 2;
    }
    struct metrics_file_header header = {
        .series_count = metrics_plan_series(&plan),
        .first_ms = plan.first_ms,
        .step_count = plan.step_count,
        .connection_count = plan.connection_count,
    };
    file = fopen(argv[1], "wb");
    if (!file || fwrite(&header, sizeof(header), 1, file) != 1) {
        perror(argv[1]);
        return 1;
    }
    pthread_t threads[CONNECTIONS_MAX];
    for (uintptr_t i = 0; i < plan.connection_count; i++)
        if (pthread_create(&threads[i], NULL, make_share, (void *)i) != 0)
            abort();
    for (uint32_t i = 0; i < plan.connection_count; i++)
        pthread_join(threads[i], NULL);
    header.magic = METRICS_FILE_MAGIC; /* only now: the file is complete */
    header.sample_count = sample_count;
    header.request_count = request_count;
    rewind(file);
    fwrite(&header, sizeof(header), 1, file);
    if (ferror(file) || fclose(file) != 0) {
        perror(argv[1]);
        return 1;
    }
    printf("{\"series\": %" PRIu64 ", \"samples\": %" PRIu64 ", \"requests\": %" PRIu64 ", \"plain_bytes\": %" PRIu64
           ", \"body_bytes\": %" PRIu64 ", \"first_ms\": %" PRId64 "}\n",
           header.series_count, sample_count, request_count, plain_bytes, body_bytes, plan.first_ms);
    return 0;
}
