/*
 * bench/metrics_floor.c - the least that taking in remote write can cost: the bytes decompressed and walked, on one
 * core
 *
 *     bench-metrics-floor FILE
 *
 * FILE is of bench-metrics-make. Every field of every series is stepped over, every sample is read. Prints one line of
 * JSON.
 */
#include <inttypes.h>
#include <snappy-c.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "metrics_file.h"

struct walk {
    uint64_t samples, labels;
    int64_t newest_ms;
    double sum; /* so that no read can be left out */
};

static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "bench-metrics-floor: %s\n", what);
    exit(1);
}

static uint64_t read_varint(const uint8_t **at, const uint8_t *end)
{
    uint64_t value = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return value;
    }
    die("a varint does not end");
}

/* The end of the length-delimited field at *at. */
static const uint8_t *field_end(const uint8_t **at, const uint8_t *end)
{
    uint64_t bytes = read_varint(at, end);
    if (bytes > (uint64_t)(end - *at))
        die("a field is longer than what it is in");
    return *at + bytes;
}

static void walk_sample(struct walk *walk, const uint8_t *at, const uint8_t *end)
{
    walk->samples++;
    while (at < end) {
        uint8_t tag = *at++;
        if (tag == 0x09 && end - at >= 8) {
            double value;
            memcpy(&value, at, sizeof(value));
            walk->sum += value;
            at += 8;
        } else if (tag == 0x10) {
            int64_t ts_ms = (int64_t)read_varint(&at, end);
            walk->newest_ms = ts_ms > walk->newest_ms ? ts_ms : walk->newest_ms;
        } else {
            die("an unknown field in a sample");
        }
    }
}

static void walk_series(struct walk *walk, const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        uint8_t tag = *at++;
        const uint8_t *inner_end = field_end(&at, end);
        if (tag == 0x12)
            walk_sample(walk, at, inner_end);
        else
            walk->labels++;
        at = inner_end;
    }
}

static void walk_request(struct walk *walk, const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        at++; /* the tag of WriteRequest.timeseries: there is no other */
        const uint8_t *series_end = field_end(&at, end);
        walk_series(walk, at, series_end);
        at = series_end;
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: bench-metrics-floor FILE\n");
        return 2;
    }
    struct metrics_file file;
    metrics_file_open(argv[1], &file);
    struct walk walk = {0};
    struct metrics_record record;
    const char *body;
    char *plain = NULL;
    size_t capacity = 0;
    double began_s = cpu_s();
    while ((body = metrics_file_next(&file, &record))) {
        size_t bytes;
        if (snappy_uncompressed_length(body, record.body_bytes, &bytes) != SNAPPY_OK)
            die("not compressed with snappy");
        if (bytes > capacity) {
            free(plain);
            capacity = bytes;
            plain = malloc(capacity);
        }
        if (!plain || snappy_uncompress(body, record.body_bytes, plain, &bytes) != SNAPPY_OK)
            die("not compressed with snappy");
        walk_request(&walk, (const uint8_t *)plain, (const uint8_t *)plain + bytes);
    }
    double took_s = cpu_s() - began_s;
    free(plain);
    if (walk.samples != file.header.sample_count)
        die("not as many samples as the file says");
    printf("{\"samples\": %" PRIu64 ", \"labels\": %" PRIu64 ", \"cpu_s\": %.4f, \"cpu_s_per_million\": %.4f, "
           "\"newest_ms\": %" PRId64 ", \"sum\": %g}\n",
           walk.samples, walk.labels, took_s, took_s / (double)walk.samples * 1e6, walk.newest_ms, walk.sum);
    return 0;
}
