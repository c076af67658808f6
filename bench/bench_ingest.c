/*
 * bench/bench_ingest.c - how many rows a second one core turns from NDJSON into the log's records, without HTTP and
 * disk
 *
 * Bodies of 1,000 rows and of one row; optionally with a country file, as in production:  bench_ingest [country.mmdb]
 */
#include <stdio.h>

#include "base/assert.h"
#include "base/clock.h"
#include "ingest/geo.h"
#include "ingest/json_rows.h"

enum { ROWS_TOTAL = 1000 * 1000 };

static void add_row(struct ap_buf *body, int i)
{
    ap_buf_printf(body,
                  "{\"event_type\":\"command_execution\",\"session_id\":\"0d9f8a52-4c7e-4b0b-9a51-6f1f0b8f%04x\","
                  "\"command\":\"consensus\",\"duration_ms\":%d.%d,\"success\":true,\"timestamp\":"
                  "\"2026-11-23T12:00:%02dZ\",\"version\":\"2.1.0\",\"platform\":\"linux-x86_64\"%s}\n",
                  i, 400 + i % 100, i % 10, i % 60, i % 4 == 0 ? ",\"shell\":\"zsh\",\"columns\":120" : "");
}

static double rows_per_second(const struct json_rows_context *context, int rows_in_body)
{
    AP_AUTO_BUF struct ap_buf body = {0};
    for (int i = 0; i < rows_in_body; i++)
        add_row(&body, i);
    int64_t begin_us = ap_clock_monotonic_us(&ap_clock_system);
    for (int done = 0; done < ROWS_TOTAL; done += rows_in_body) {
        AP_AUTO_ARENA struct ap_arena arena;
        ap_arena_init(&arena, 0);
        AP_AUTO_BUF struct ap_buf record = {0};
        struct row_report report;
        struct json_position position;
        struct ap_err err;
        row_report_init(&report, &arena);
        enum ap_rc rc = json_rows_decode(context, ap_buf_slice(&body), &record, &report, &position, &err);
        AP_ASSERT(rc == AP_OK && report.accepted_count == (uint64_t)rows_in_body);
    }
    return (double)ROWS_TOTAL * 1e6 / (double)(ap_clock_monotonic_us(&ap_clock_system) - begin_us);
}

int main(int argument_count, char **arguments)
{
    struct ap_err err;
    AP_AUTO(geo) struct geo *geo = NULL;
    if (argument_count > 1 && geo_open(arguments[1], &geo, &err) != AP_OK) {
        fprintf(stderr, "bench_ingest: %s\n", err.text);
        return 1;
    }
    struct client_address client;
    if (!client_address_parse(ap_slice_cstr("8.8.8.8"), &client))
        return 1;
    struct json_rows_context context = {
        .table = table_find("events"),
        .received_us = INT64_C(1795435260000000),
        .geo = geo,
        .client = &client,
        .is_ndjson = true,
    };
    printf("NDJSON of 1,000 rows %10.0f rows/s\n", rows_per_second(&context, 1000));
    context.is_ndjson = false;
    printf("one row a body       %10.0f rows/s\n", rows_per_second(&context, 1));
    return 0;
}
