/*
 * bench/metrics_decode.c - what decoding metrics costs on one core, apart from everything else
 *
 *   bench-metrics-decode [ROUNDS]
 *
 * Prints one line for each way in: nanoseconds per series and megabytes a second, the fastest of the rounds. The data
 * are a scrape of servers: ten labels a series, some 250 bytes, one sample each.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "codec/exposition.h"
#include "codec/inflate.h"
#include "codec/protobuf.h"
#include "ingest/metrics_body.h"
#include "ingest/metrics_import.h"
#include "ingest/remote_write.h"
#include "ingest/remote_write2.h"

#include <snappy-c.h>

enum { SERIES_COUNT = 10000, SYMBOLS_MAX = SERIES_COUNT * 2 + 100 };

static int64_t now_us(void)
{
    return ap_clock_monotonic_us(&ap_clock_system);
}

static void die(const char *what, const struct ap_err *err)
{
    fprintf(stderr, "bench-metrics-decode: %s: %s\n", what, err->text);
    exit(1);
}

/* ---- The data ---- */

struct pair {
    const char *name;
    char value[64];
};
enum { PAIR_COUNT = 10 };

static void make_labels(unsigned index, struct pair pairs[PAIR_COUNT])
{
    static const char *const names[PAIR_COUNT] = {"__name__", "arch", "datacenter", "environment", "hostname",
                                                  "os",       "rack", "region",     "service",     "version"};
    for (size_t i = 0; i < PAIR_COUNT; i++)
        pairs[i].name = names[i];
    snprintf(pairs[0].value, 64, "cpu_usage_%u_total", index % 100);
    snprintf(pairs[1].value, 64, "x64");
    snprintf(pairs[2].value, 64, "eu-central-1a");
    snprintf(pairs[3].value, 64, "production");
    snprintf(pairs[4].value, 64, "host_%u", index / 100);
    snprintf(pairs[5].value, 64, "Ubuntu16.04LTS");
    snprintf(pairs[6].value, 64, "%u", index / 100 % 50);
    snprintf(pairs[7].value, 64, "eu-central-1");
    snprintf(pairs[8].value, 64, "%u", index / 100 % 20);
    snprintf(pairs[9].value, 64, "1");
}

static double value_of(unsigned index)
{
    return (double)(index * 7919 % 100000) / 100;
}

static const int64_t ts_ms = INT64_C(1795435200000);

static void make_write(struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf series = {0};
    AP_AUTO_BUF struct ap_buf part = {0};
    for (unsigned i = 0; i < SERIES_COUNT; i++) {
        struct pair pairs[PAIR_COUNT];
        make_labels(i, pairs);
        ap_buf_reset(&series);
        for (size_t j = 0; j < PAIR_COUNT; j++) {
            ap_buf_reset(&part);
            protobuf_add_text(&part, 1, pairs[j].name);
            protobuf_add_text(&part, 2, pairs[j].value);
            protobuf_add_bytes(&series, 1, ap_buf_slice(&part));
        }
        ap_buf_reset(&part);
        protobuf_add_double(&part, 1, value_of(i));
        protobuf_add_varint(&part, 2, (uint64_t)ts_ms);
        protobuf_add_bytes(&series, 2, ap_buf_slice(&part));
        protobuf_add_bytes(out, 1, ap_buf_slice(&series));
    }
}

static uint32_t symbol_of(char (*symbols)[64], uint32_t *count, const char *text)
{
    for (uint32_t i = *count; i > 0 && i + 200 > *count; i--)
        if (strcmp(symbols[i - 1], text) == 0)
            return i - 1;
    snprintf(symbols[*count], 64, "%s", text);
    return (*count)++;
}

static void make_write2(struct ap_buf *out)
{
    char(*symbols)[64] = calloc(SYMBOLS_MAX, 64);
    uint32_t count = 1;
    AP_AUTO_BUF struct ap_buf all = {0};
    AP_AUTO_BUF struct ap_buf series = {0};
    AP_AUTO_BUF struct ap_buf part = {0};
    for (unsigned i = 0; i < SERIES_COUNT; i++) {
        struct pair pairs[PAIR_COUNT];
        make_labels(i, pairs);
        ap_buf_reset(&series);
        ap_buf_reset(&part);
        for (size_t j = 0; j < PAIR_COUNT; j++) {
            ap_buf_add_varint(&part, symbol_of(symbols, &count, pairs[j].name));
            ap_buf_add_varint(&part, symbol_of(symbols, &count, pairs[j].value));
        }
        protobuf_add_bytes(&series, 1, ap_buf_slice(&part));
        ap_buf_reset(&part);
        protobuf_add_double(&part, 1, value_of(i));
        protobuf_add_varint(&part, 2, (uint64_t)ts_ms);
        protobuf_add_bytes(&series, 2, ap_buf_slice(&part));
        protobuf_add_bytes(&all, 5, ap_buf_slice(&series));
    }
    for (uint32_t i = 0; i < count; i++)
        protobuf_add_text(out, 4, symbols[i]);
    ap_buf_add_slice(out, ap_buf_slice(&all));
    free(symbols);
}

static void make_text(struct ap_buf *out)
{
    for (unsigned i = 0; i < SERIES_COUNT; i++) {
        struct pair pairs[PAIR_COUNT];
        make_labels(i, pairs);
        if (i % 100 == 0)
            ap_buf_printf(out, "# HELP %s Time that was spent in this mode.\n# TYPE %s counter\n", pairs[0].value,
                          pairs[0].value);
        ap_buf_printf(out, "%s{", pairs[0].value);
        for (size_t j = 1; j < 4; j++)
            ap_buf_printf(out, "%s%s=\"%s\"", j > 1 ? "," : "", pairs[j].name, pairs[j].value);
        ap_buf_printf(out, "} %.10g\n", value_of(i));
    }
}

/* ---- Measuring ---- */

struct work {
    const char *name;
    struct ap_slice input;
    struct ap_slice packed; /* of unpacking */
    size_t output_bytes;
    struct metrics_body *body;
    void (*run)(struct work *work);
    size_t count;
};

static void run_write(struct work *work)
{
    struct ap_err err;
    metrics_body_reset(work->body);
    if (remote_write_decode(work->body, work->input, &err) != AP_OK)
        die(work->name, &err);
    work->count = work->body->batch.series_count;
}

static void run_write2(struct work *work)
{
    struct ap_err err;
    metrics_body_reset(work->body);
    if (remote_write2_decode(work->body, work->input, &err) != AP_OK)
        die(work->name, &err);
    work->count = work->body->batch.series_count;
}

static void run_import(struct work *work)
{
    struct ap_err err;
    struct metrics_import_options options = {.default_ts_ms = ts_ms};
    struct metrics_import_report report;
    metrics_body_reset(work->body);
    if (metrics_import_decode(work->body, &options, work->input, &report, &err) != AP_OK)
        die(work->name, &err);
    work->count = work->body->batch.series_count;
}

static void run_exposition(struct work *work)
{
    struct exposition *parser = exposition_new();
    struct exposition_entry entry;
    enum exposition_kind kind;
    work->count = 0;
    exposition_begin(parser, EXPOSITION_TEXT, work->input);
    while ((kind = exposition_next(parser, &entry)) != EXPOSITION_END)
        work->count += kind == EXPOSITION_SAMPLE;
    exposition_free(parser);
}

static void run_snappy(struct work *work)
{
    AP_AUTO(inflate) struct inflate *inflate = inflate_new();
    char *output;
    struct ap_err err;
    if (inflate_body(inflate, INFLATE_SNAPPY, work->packed, work->input.bytes, &output, &work->output_bytes, &err) !=
        AP_OK)
        die(work->name, &err);
    free(output);
    work->count = SERIES_COUNT;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 30;
    AP_AUTO_BUF struct ap_buf write = {0};
    AP_AUTO_BUF struct ap_buf write2 = {0};
    AP_AUTO_BUF struct ap_buf text = {0};
    make_write(&write);
    make_write2(&write2);
    make_text(&text);
    size_t packed_bytes = snappy_max_compressed_length(write.bytes);
    AP_AUTO_FREE char *packed = malloc(packed_bytes);
    if (snappy_compress(write.data, write.bytes, packed, &packed_bytes) != SNAPPY_OK)
        return 1;
    AP_AUTO(metrics_body) struct metrics_body *body = metrics_body_new(12345, false);
    struct work works[] = {
        {"remote write 1.0, snappy alone", ap_buf_slice(&write), ap_slice(packed, packed_bytes), 0, body, run_snappy,
         0},
        {"remote write 1.0, behind snappy", ap_buf_slice(&write), {0}, 0, body, run_write, 0},
        {"remote write 2.0, behind snappy", ap_buf_slice(&write2), {0}, 0, body, run_write2, 0},
        {"exposition text, parser alone", ap_buf_slice(&text), {0}, 0, body, run_exposition, 0},
        {"exposition text, import to batch", ap_buf_slice(&text), {0}, 0, body, run_import, 0},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(works); i++) {
        int64_t best_us = INT64_MAX;
        for (unsigned round = 0; round < rounds; round++) {
            int64_t start_us = now_us();
            works[i].run(&works[i]);
            best_us = AP_MIN(best_us, now_us() - start_us);
        }
        printf("%-34s %6zu series, %5.1f bytes each: %6.1f ns a series, %6.0f MB/s\n", works[i].name, works[i].count,
               (double)works[i].input.bytes / (double)works[i].count, (double)best_us * 1000 / (double)works[i].count,
               (double)works[i].input.bytes / (double)best_us);
    }
    return 0;
}
