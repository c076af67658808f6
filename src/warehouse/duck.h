/*
 * warehouse/duck.h - DuckDB's C API in our manner: errors as struct ap_err, one statement a call
 */
#pragma once

#include <duckdb.h>

#include "base/rc.h"

/*
 * Runs one or several statements and throws the result away. AP_E_FULL: disk; AP_E_NOMEM: memory limit; AP_E_TIMEOUT:
 * interrupted; AP_E_PARSE: DuckDB does not understand or accept it; AP_E_IO, AP_E_INTERNAL.
 */
ap_nodiscard enum ap_rc duck_run(duckdb_connection connection, struct ap_err *err, const char *format, ...)
    ap_printf(3, 4);

/* The first cell as an unsigned number; 0 when there is none or it is null. */
ap_nodiscard enum ap_rc duck_number(duckdb_connection connection, uint64_t *ret_number, struct ap_err *err,
                                    const char *format, ...) ap_printf(4, 5);

/* Fails with DuckDB's message made into one sentence; where it points goes to *ret_line and *ret_column (NULL allowed).
 */
enum ap_rc duck_fail(struct ap_err *err, duckdb_error_type type, const char *message, unsigned *ret_line,
                     unsigned *ret_column);
