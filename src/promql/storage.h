/*
 * promql/storage.h - where a query's samples come from
 *
 * All that the evaluator knows of a store: select series by matchers and time, then read them one by one. The
 * time-series store is one implementation (promql_storage_tsdb()), series in memory are another
 * (promql/memory_storage.h).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"
#include "tsdb/matcher.h"
#include "tsdb/tsdb.h"

struct promql_storage {
    const struct promql_storage_class *class;
    void *context;
};

struct promql_storage_class {
    /* The series that all matchers hold for, with samples between the two times (both inclusive), sorted by labels.
     * AP_E_LIMIT: more than series_max; 0: no limit. */
    enum ap_rc (*select)(void *context, const struct matchers *matchers, int64_t min_ts_ms, int64_t max_ts_ms,
                         uint64_t series_max, void **ret_set, struct ap_err *err);
    size_t (*count)(const void *set);
    struct ap_slice (*labels)(const void *set, size_t index); /* canonical, lent by the set */
    /* As tsdb_set_read(): from several threads, each with its own columns. */
    enum ap_rc (*read)(void *set, size_t index, struct tsdb_columns *columns, struct ap_err *err);
    void (*free)(void *set); /* NULL is allowed */
    /* As tsdb_change_mark() and tsdb_changed_since(). NULL: answers are not kept. */
    uint64_t (*mark)(void *context);
    int64_t (*changed_since)(void *context, uint64_t mark);
};

/* The store is lent. */
struct promql_storage promql_storage_tsdb(struct tsdb *tsdb);
