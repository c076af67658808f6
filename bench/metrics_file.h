/*
 * bench/metrics_file.h - requests made beforehand: what bench-metrics-load sends, what bench-metrics-floor reads
 *
 * A header, then the requests, each a record header and a body that is compressed with snappy; in the machine's own
 * byte order, for the run that made it. Requests of one connection are in the order of time; those of different
 * connections are mixed.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define METRICS_FILE_MAGIC UINT64_C(0x31307374656d7061) /* "apmets01" */

struct metrics_file_header {
    uint64_t magic;
    uint64_t series_count; /* in all, replaced ones too */
    uint64_t sample_count;
    uint64_t request_count;
    int64_t first_ms;
    uint32_t step_count;
    uint32_t connection_count;
};

struct metrics_record {
    uint32_t connection;
    uint32_t step;
    uint32_t sample_count;
    uint32_t body_bytes;
};

struct metrics_file {
    struct metrics_file_header header;
    const char *at;  /* the next record */
    const char *end; /* of the mapping */
};

/* Maps the file and brings it into memory; ends the program when it is not one. The mapping stays to the end of the
 * program. */
void metrics_file_open(const char *path, struct metrics_file *ret_file);

/* The next request, whose body is lent from the mapping; NULL at the end. */
const char *metrics_file_next(struct metrics_file *file, struct metrics_record *ret_record);
