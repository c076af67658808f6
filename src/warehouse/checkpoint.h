/*
 * warehouse/checkpoint.h - moves what DuckDB's own log holds into the database file
 *
 * DuckDB would do this by itself inside a COMMIT. When it then fails (a full disk), version 1.4.4 reports a commit that
 * did take effect as failed, goes on with tables that are empty in memory, and writes these over the good ones at the
 * next try. A CHECKPOINT statement that fails does no such harm: the database refuses everything until it is opened
 * again, and its files stay as they were. Hence commits never make one, and the writer asks for it here.
 */
#pragma once

#include "warehouse/warehouse_internal.h"

/*
 * Makes a checkpoint when options.checkpoint_bytes are waiting for one and the disk has room for it. AP_E_FULL: no
 * room, nothing was tried and nothing is lost. Otherwise an error means that the database must be opened anew.
 */
ap_nodiscard enum ap_rc checkpoint_if_due(struct warehouse *warehouse, duckdb_connection connection,
                                          struct ap_err *err);
