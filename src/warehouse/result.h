/* warehouse/result.h - how results are made; how they are read is in warehouse/warehouse.h */
#pragma once

#include <duckdb.h>

#include "warehouse/warehouse.h"

/* What cells of a column of this type are. */
enum warehouse_kind result_kind_of(duckdb_type type);

/* An empty result with the columns of `result`, held once. */
struct warehouse_result *result_new(duckdb_result *result);

/*
 * Copies rows of `chunk` up to `row_max` in all. False when more than `bytes_max` would be held; *ret_is_full when rows
 * were left over.
 */
bool result_add_chunk(struct warehouse_result *result, duckdb_data_chunk chunk, uint32_t row_max, uint64_t bytes_max,
                      bool *ret_is_full);

void result_set_took_us(struct warehouse_result *result, int64_t took_us);
void result_set_truncated(struct warehouse_result *result);
void result_set_cached(struct warehouse_result *result); /* any thread */
uint64_t result_bytes(const struct warehouse_result *result);
