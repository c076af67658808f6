/*
 * warehouse/writer.h - the thread that follows the log and appends to DuckDB
 */
#pragma once

#include "warehouse/warehouse_internal.h"

/* Starts at the stored position. */
ap_nodiscard enum ap_rc writer_start(struct warehouse *warehouse, struct wal *wal, struct writer **ret_writer,
                                     struct ap_err *err);

/* Commits what has been read of the log, then ends the thread. When the log was stopped, reads it to its end first. */
void writer_stop(struct writer *writer); /* NULL is allowed */

void writer_stats_get(struct writer *writer, struct warehouse_stats *ret_stats);
