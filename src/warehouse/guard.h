/*
 * warehouse/guard.h - only one SELECT, and nothing that reaches beyond the tables
 */
#pragma once

#include <duckdb.h>

#include "warehouse/warehouse.h"

/*
 * Parses, checks and binds the query, parameters included. Only what parses as exactly one SELECT is prepared; files,
 * network and settings are out of reach because of how the database was opened (warehouse.c), and functions that would
 * change the server's state are refused by name. *ret_statement is to be destroyed by the caller, on failure too when
 * it is not NULL.
 */
ap_nodiscard enum ap_rc guard_prepare(duckdb_connection connection, const struct warehouse_query *query,
                                      duckdb_prepared_statement *ret_statement, struct warehouse_query_err *err);
