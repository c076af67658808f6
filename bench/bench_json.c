/*
 * bench/bench_json.c - what reading one product event costs: our reader beside jansson, on the same bytes
 *
 * Both take every field of 1,000 lines of NDJSON; jansson builds its tree and looks the fields up, the reader hands
 * them out as they come. Prints rows per second and the ratio. Behind docs/decisions/0004-json-reader.md.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "codec/json_reader.h"

enum { ROWS = 1000, ROUNDS = 200 };

static const char *const rows[] = {
    "{\"event_type\":\"command_execution\",\"session_id\":\"0d9f8a52-4c7e-4b0b-9a51-6f1f0b8f3c11\",\"command\":"
    "\"consensus\",\"duration_ms\":412.2,\"success\":true,\"timestamp\":\"2026-11-23T12:00:00Z\",\"version\":\"2.1.0\","
    "\"platform\":\"linux-x86_64\"}\n",
    "{\"event_type\":\"feature_usage\",\"session_id\":\"0d9f8a52-4c7e-4b0b-9a51-6f1f0b8f3c11\",\"feature\":"
    "\"planning_mode\",\"context\":{\"tasks\":7},\"timestamp\":\"2026-11-23T12:00:00Z\",\"version\":\"2.1.0\"}\n",
    "{\"name\":\"LCP\",\"value\":1834,\"id\":\"v5-1764000000000-1234567890123\",\"attribution\":{\"element\":"
    "\"#hero>img\",\"url\":\"https://www.example.com/hero.webp\",\"timeToFirstByte\":210.5,\"resourceLoadDelay\":33},"
    "\"timestamp\":1764000000000,\"url\":\"https://www.example.com/docs\",\"user_agent\":\"Mozilla/5.0 (X11; Linux "
    "x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36\"}\n",
};

static uint64_t sum; /* keeps the compiler from leaving the work out */

static void read_line(struct ap_slice line, struct ap_arena *arena)
{
    struct json_reader reader;
    struct ap_err err;
    json_reader_init(&reader, line, arena, &json_reader_limits_default);
    enum ap_rc rc = json_reader_begin_object(&reader, &err);
    struct ap_slice key, text;
    bool is_there = true, flag = false;
    double number = 0;
    while (rc == AP_OK && (rc = json_reader_next_key(&reader, &key, &is_there, &err)) == AP_OK && is_there) {
        enum json_kind kind;
        rc = json_reader_peek(&reader, &kind, &err);
        if (rc != AP_OK)
            break;
        if (kind == JSON_KIND_STRING) {
            rc = json_reader_string(&reader, &text, &err);
            sum += text.bytes;
        } else if (kind == JSON_KIND_NUMBER) {
            rc = json_reader_number(&reader, &number, &err);
            sum += (uint64_t)number;
        } else if (kind == JSON_KIND_BOOLEAN) {
            rc = json_reader_boolean(&reader, &flag, &err);
            sum += flag;
        } else {
            rc = json_reader_skip(&reader, &text, &err);
            sum += text.bytes;
        }
    }
    AP_ASSERT(rc == AP_OK && json_reader_finish(&reader, &err) == AP_OK);
}

static void run_reader(struct ap_slice body)
{
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    while (body.bytes) {
        struct ap_slice line = ap_slice_split(&body, '\n');
        read_line(line, &arena);
    }
}

static void run_jansson(struct ap_slice body)
{
    while (body.bytes) {
        struct ap_slice line = ap_slice_split(&body, '\n');
        json_t *tree = json_loadb(line.data, line.bytes, 0, NULL);
        AP_ASSERT(tree != NULL);
        const char *key;
        json_t *value;
        json_object_foreach(tree, key, value)
        {
            if (json_is_string(value))
                sum += json_string_length(value);
            else if (json_is_number(value))
                sum += (uint64_t)json_number_value(value);
            else if (json_is_boolean(value))
                sum += json_is_true(value);
            else {
                char *text = json_dumps(value, JSON_COMPACT); /* the column keeps it as text */
                sum += strlen(text);
                free(text);
            }
        }
        json_decref(tree);
    }
}

static double rows_per_second(void (*run)(struct ap_slice), struct ap_slice body)
{
    run(body); /* warm */
    int64_t begin_us = ap_clock_monotonic_us(&ap_clock_system);
    for (int i = 0; i < ROUNDS; i++)
        run(body);
    int64_t took_us = ap_clock_monotonic_us(&ap_clock_system) - begin_us;
    return (double)ROWS * ROUNDS * 1e6 / (double)took_us;
}

int main(void)
{
    AP_AUTO_BUF struct ap_buf body = {0};
    for (int i = 0; i < ROWS; i++)
        ap_buf_add_cstr(&body, rows[(size_t)i % (sizeof(rows) / sizeof(rows[0]))]);
    double jansson = rows_per_second(run_jansson, ap_buf_slice(&body));
    double reader = rows_per_second(run_reader, ap_buf_slice(&body));
    printf("jansson      %10.0f rows/s\njson_reader  %10.0f rows/s (%.0f MB/s)\nratio        %10.1f\n", jansson, reader,
           reader * (double)body.bytes / ROWS / 1e6, reader / jansson);
    return sum == 0;
}
