/*
 * What the tests of warehouse/ share: a log and a warehouse in a directory of their own, rows into it, answers out.
 * Not every test uses every function, hence the attribute on some.
 */
#pragma once

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "test_dir.h"
#include "wal/wal.h"
#include "warehouse/row.h"
#include "warehouse/warehouse.h"

/* Turns of at least a millisecond that a test waits for something: who needs more must hang. It says nothing of speed.
 */
enum { WAIT_TURNS_MAX = 120 * 1000 };

#define NOON_US INT64_C(1795435200000000) /* 2026-11-23T12:00:00Z */

struct fixture {
    char dir[64];
    int dir_fd;
    struct wal *wal;
    struct warehouse *warehouse;
    struct warehouse_rollup *rollups;
    size_t rollup_count;
    struct warehouse_view *views;
    size_t view_count;
    /* 0: the default of these tests. */
    uint64_t memory_bytes_max;
    uint64_t checkpoint_bytes;
    uint32_t query_queue_max;
    uint32_t retention_days;
    const struct ap_clock *clock;
};

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        struct ap_err err_ = {0};                                                                                      \
        struct ap_err *err = &err_;                                                                                    \
        if ((call) != AP_OK)                                                                                           \
            fail_msg("%s: %s", #call, err->text);                                                                      \
    } while (0)

static void print_trouble(const struct ap_err *err, void *context)
{
    (void)context;
    print_message("writer: %s\n", err->text);
}

static void open_all(struct fixture *fx)
{
    struct wal_options wal_options;
    wal_options_init(&wal_options);
    wal_options.segment_bytes = 4 << 20;
    wal_options.record_bytes_max = 2 << 20;
    uint64_t cut_bytes;
    MUST(wal_open(fx->dir_fd, &wal_options, &fx->wal, &cut_bytes, err));
    struct warehouse_options options;
    warehouse_options_init(&options);
    options.dir = fx->dir;
    options.memory_bytes_max = fx->memory_bytes_max ? fx->memory_bytes_max : 256 << 20;
    options.query_queue_max = fx->query_queue_max ? fx->query_queue_max : options.query_queue_max;
    options.retention_days = fx->retention_days;
    options.checkpoint_bytes = fx->checkpoint_bytes ? fx->checkpoint_bytes : options.checkpoint_bytes;
    options.clock = fx->clock ? fx->clock : options.clock;
    options.trouble = print_trouble;
    MUST(warehouse_open(&options, &fx->warehouse, err));
    MUST(warehouse_apply_schema(fx->warehouse, fx->rollups, fx->rollup_count, fx->views, fx->view_count, NULL, NULL,
                                err));
    MUST(warehouse_start(fx->warehouse, fx->wal, err));
}

static void close_all(struct fixture *fx)
{
    wal_stop(fx->wal);
    warehouse_close(fx->warehouse);
    wal_close(fx->wal);
    fx->warehouse = NULL;
    fx->wal = NULL;
}

__attribute__((unused)) static int setup(void **state)
{
    struct fixture *fx = ap_new0(struct fixture);
    strcpy(fx->dir, "/tmp/apiary-warehouse-XXXXXX");
    assert_non_null(mkdtemp(fx->dir));
    fx->dir_fd = open(fx->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    open_all(fx);
    *state = fx;
    return 0;
}

__attribute__((unused)) static int teardown(void **state)
{
    struct fixture *fx = *state;
    if (fx->warehouse)
        close_all(fx);
    close(fx->dir_fd);
    dir_remove(fx->dir);
    free(fx);
    return 0;
}

__attribute__((unused)) static void append(struct fixture *fx, struct ap_buf *record)
{
    MUST(wal_append_sync(fx->wal, ROW_RECORD_TYPE, ap_buf_slice(record), NULL, err));
}

__attribute__((unused)) static size_t column(const struct table *table, const char *name)
{
    int index = table_find_column(table, ap_slice_cstr(name));
    assert_true(index >= 0);
    return (size_t)index;
}

/* One batch of events: `count` rows of a session, numbered in duration_ms from `first`. */
__attribute__((unused)) static void append_events(struct fixture *fx, const char *session_id, const char *user_id,
                                                  int64_t ts_us, unsigned first, unsigned count)
{
    const struct table *events = table_find("events");
    AP_AUTO_BUF struct ap_buf record = {0};
    struct row_batch batch;
    row_batch_begin(&batch, events, ts_us, &record);
    for (unsigned i = 0; i < count; i++) {
        row_set_ts(&batch, column(events, "timestamp"), ts_us + i);
        row_set_text(&batch, column(events, "event_type"), ap_slice_cstr("command_execution"));
        row_set_text(&batch, column(events, "session_id"), ap_slice_cstr(session_id));
        row_set_text(&batch, column(events, "user_id"), ap_slice_cstr(user_id));
        row_set_f64(&batch, column(events, "duration_ms"), first + i);
        row_batch_commit(&batch);
    }
    row_batch_finish(&batch);
    append(fx, &record);
}

__attribute__((unused)) static struct warehouse_result *ask(struct fixture *fx, const char *sql)
{
    struct warehouse_result *result = NULL;
    struct warehouse_query_err err;
    struct warehouse_query query = {.sql = ap_slice_cstr(sql), .is_uncached = true};
    if (warehouse_query_run(fx->warehouse, &query, &result, &err) != AP_OK)
        fail_msg("%s: %s", sql, err.err.text);
    return result;
}

__attribute__((unused)) static double number(struct fixture *fx, const char *sql)
{
    AP_AUTO(warehouse_result) struct warehouse_result *result = ask(fx, sql);
    double value = NAN;
    if (warehouse_result_rows(result))
        (void)warehouse_cell_number(warehouse_result_cell(result, 0, 0), &value);
    return value;
}

__attribute__((unused)) static void assert_text(struct fixture *fx, const char *sql, const char *want)
{
    AP_AUTO(warehouse_result) struct warehouse_result *result = ask(fx, sql);
    assert_int_equal(warehouse_result_rows(result), 1);
    const struct warehouse_cell *cell = warehouse_result_cell(result, 0, 0);
    assert_int_equal(cell->kind, WAREHOUSE_CELL_TEXT);
    assert_int_equal(cell->text.bytes, strlen(want));
    assert_memory_equal(cell->text.data, want, cell->text.bytes);
}

/* Until all that is in the log is visible. */
__attribute__((unused)) static void wait_applied(struct fixture *fx)
{
    struct wal_stats wal_stats;
    wal_stats_get(fx->wal, &wal_stats);
    for (int i = 0; i < WAIT_TURNS_MAX; i++) {
        struct warehouse_stats stats;
        warehouse_stats_get(fx->warehouse, &stats);
        if (stats.applied_lsn >= wal_stats.durable_lsn)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    fail_msg("the writer did not reach the end of the log");
}
