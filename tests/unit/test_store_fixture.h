/*
 * tests/unit/test_store_fixture.h - a store for metrics in a directory of its own, and what is in it as text
 */
#pragma once

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/clock.h"
#include "os/fs.h"
#include "tsdb/matcher.h"
#include "tsdb/tsdb.h"
#include "wal/wal.h"

#define STALE_BITS UINT64_C(0x7ff0000000000002)

struct store {
    char root[64];
    int wal_fd;
    struct wal *wal;
    struct tsdb *tsdb;
    struct ap_clock clock;
    int64_t now_ms; /* atomic; 0: the real clock */
};

static inline int64_t store_wall_us(void *context)
{
    struct store *store = context;
    int64_t now_ms = __atomic_load_n(&store->now_ms, __ATOMIC_RELAXED);
    return now_ms ? now_ms * 1000 : ap_clock_wall_us(&ap_clock_system);
}
static inline int64_t store_monotonic_us(void *context)
{
    (void)context;
    return ap_clock_monotonic_us(&ap_clock_system);
}

static inline void store_open(struct store *store)
{
    struct ap_err err = {0};
    struct wal_options wal_options;
    struct tsdb_options options;
    uint64_t cut;
    char path[96];
    if (!store->root[0]) {
        snprintf(store->root, sizeof(store->root), "/tmp/apiary-store-XXXXXX");
        assert_non_null(mkdtemp(store->root));
    }
    store->clock = (struct ap_clock){store_wall_us, store_monotonic_us, store};
    snprintf(path, sizeof(path), "%s/wal", store->root);
    assert_int_equal(os_dir_open(path, &store->wal_fd, &err), AP_OK);
    wal_options_init(&wal_options);
    assert_int_equal(wal_open(store->wal_fd, &wal_options, &store->wal, &cut, &err), AP_OK);
    tsdb_options_init(&options);
    snprintf(path, sizeof(path), "%s/tsdb", store->root);
    options.dir = path;
    options.wal = store->wal;
    options.clock = &store->clock;
    if (tsdb_open(&options, &store->tsdb, &err) != AP_OK)
        fail_msg("%s", err.text);
}

static inline void store_close(struct store *store)
{
    tsdb_close(store->tsdb);
    wal_close(store->wal);
    close(store->wal_fd);
}

static inline void store_remove(struct store *store)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", store->root);
    assert_int_equal(system(command), 0);
}

/*
 * All samples of what the selector selects, one series a line: `up{job="a"} 1@1000 stale@2000`. Times are told from
 * `base_ms` on; histograms are `h`. Lent until the next call.
 */
static inline const char *store_text(struct store *store, const char *selector, int64_t base_ms)
{
    static struct ap_buf out;
    struct ap_err err = {0};
    struct matchers matchers = {0};
    if (matchers_parse(ap_slice_cstr(selector), &matchers, &err) != AP_OK)
        fail_msg("%s: %s", selector, err.text);
    struct tsdb_select_options options = {.matchers = &matchers, .min_ts_ms = INT64_MIN, .max_ts_ms = INT64_MAX};
    struct tsdb_set *set;
    assert_int_equal(tsdb_select(store->tsdb, &options, &set, &err), AP_OK);
    struct tsdb_columns columns = {0};
    ap_buf_reset(&out);
    for (size_t i = 0; i < tsdb_set_count(set); i++) {
        labels_format(tsdb_set_labels(set, i), &out);
        assert_int_equal(tsdb_set_read(set, i, &columns, &err), AP_OK);
        for (size_t j = 0; j < columns.count; j++) {
            if (ap_double_to_bits(columns.values[j]) == STALE_BITS)
                ap_buf_add_cstr(&out, " stale");
            else
                ap_buf_printf(&out, " %g", columns.values[j]);
            ap_buf_printf(&out, "@%" PRId64, columns.ts_ms[j] - base_ms);
        }
        for (size_t j = 0; j < columns.histogram_count; j++) {
            AP_AUTO_ARENA struct ap_arena arena;
            ap_arena_init(&arena, 0);
            struct histogram histogram;
            assert_int_equal(histogram_decode(columns.histograms[j], &arena, &histogram, &err), AP_OK);
            if (histogram_is_stale(&histogram))
                ap_buf_add_cstr(&out, " hstale");
            else
                ap_buf_printf(&out, " h(%g,%g)", histogram.is_float ? histogram.count_value : (double)histogram.count,
                              histogram.sum);
            ap_buf_printf(&out, "@%" PRId64, columns.histogram_ts_ms[j] - base_ms);
        }
        ap_buf_add_char(&out, '\n');
    }
    tsdb_columns_clear(&columns);
    tsdb_set_free(set);
    matchers_clear(&matchers);
    ap_buf_add_char(&out, '\0');
    return out.data;
}
