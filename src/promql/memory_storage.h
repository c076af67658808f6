/*
 * promql/memory_storage.h - series in memory to be queried: for tests of rules, and of the evaluator itself
 *
 * Not for many series: a selector looks at every one. One thread adds, while nobody queries.
 */
#pragma once

#include "base/mem.h"
#include "promql/float_histogram.h"
#include "promql/storage.h"

struct memory_storage; /* private to memory_storage.c */

struct memory_storage *memory_storage_new(void);
void memory_storage_free(struct memory_storage *storage); /* NULL is allowed */
AP_DEFINE_AUTO(memory_storage, struct memory_storage, memory_storage_free)

/* A float, or with `histogram` that; `labels` canonical, copied. A sample of the same time is replaced; the times of a
 * series must not fall. */
void memory_storage_add(struct memory_storage *storage, struct ap_slice labels, int64_t ts_ms, double value,
                        const struct float_histogram *histogram);

/* The storage is lent. */
struct promql_storage promql_storage_memory(struct memory_storage *storage);
