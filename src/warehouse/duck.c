#include "warehouse/duck.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static enum ap_rc rc_of_error(duckdb_error_type type, const char *message)
{
    switch (type) {
    case DUCKDB_ERROR_OUT_OF_MEMORY:
        return AP_E_NOMEM;
    case DUCKDB_ERROR_INTERRUPT:
        return AP_E_TIMEOUT;
    case DUCKDB_ERROR_IO:
        return strstr(message, "No space left") ? AP_E_FULL : AP_E_IO;
    case DUCKDB_ERROR_TRANSACTION: /* what a failed COMMIT says; the reason is in the text alone */
        if (strstr(message, "No space left"))
            return AP_E_FULL;
        return strstr(message, "Could not ") ? AP_E_IO : AP_E_PARSE;
    case DUCKDB_ERROR_FATAL:
    case DUCKDB_ERROR_INTERNAL:
        return strstr(message, "No space left") ? AP_E_FULL : AP_E_INTERNAL;
    default:
        return AP_E_PARSE;
    }
}

/* DuckDB shows the place as "LINE 3: …" and a caret below it. */
static void find_position(const char *message, unsigned *ret_line, unsigned *ret_column)
{
    const char *shown = strstr(message, "LINE ");
    const char *code = shown ? strstr(shown, ": ") : NULL;
    const char *below = code ? strchr(code, '\n') : NULL;
    const char *caret = below ? strchr(below, '^') : NULL;
    if (!caret)
        return;
    *ret_line = (unsigned)strtoul(shown + 5, NULL, 10);
    bool is_cut = strncmp(code + 2, "...", 3) == 0; /* a long line is shown in part, its columns are not known */
    size_t indent = (size_t)(caret - (below + 1));
    size_t prefix = (size_t)(code + 2 - shown);
    *ret_column = is_cut || indent < prefix ? 0 : (unsigned)(indent - prefix + 1);
}

enum ap_rc duck_fail(struct ap_err *err, duckdb_error_type type, const char *message, unsigned *ret_line,
                     unsigned *ret_column)
{
    message = message ? message : "DuckDB gave no reason";
    unsigned line = 0, column = 0;
    find_position(message, &line, &column);
    if (ret_line)
        *ret_line = line;
    if (ret_column)
        *ret_column = column;
    const char *end = strstr(message, "\n\nLINE ");
    const char *trace = strstr(message, "\n\nStack Trace:"); /* behind what DuckDB holds for a mistake of its own */
    end = end ? end : trace;
    int bytes = (int)(end ? (size_t)(end - message) : strlen(message));
    while (bytes > 0 && (message[bytes - 1] == '\n' || message[bytes - 1] == ' '))
        bytes--;
    enum ap_rc rc = rc_of_error(type, message);
    if (line)
        return ap_fail(err, rc, "%.*s (line %u, column %u)", bytes, message, line, column);
    return ap_fail(err, rc, "%.*s", bytes, message);
}

static enum ap_rc run_text(duckdb_connection connection, duckdb_result *ret_result, const char *sql, struct ap_err *err)
{
    if (duckdb_query(connection, sql, ret_result) == DuckDBSuccess)
        return AP_OK;
    enum ap_rc rc = duck_fail(err, duckdb_result_error_type(ret_result), duckdb_result_error(ret_result), NULL, NULL);
    duckdb_destroy_result(ret_result);
    return rc;
}

static char *format_sql(const char *format, va_list args)
{
    char *sql = NULL;
    return vasprintf(&sql, format, args) < 0 ? ap_strdup("") : sql;
}

enum ap_rc duck_run(duckdb_connection connection, struct ap_err *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    AP_AUTO_FREE char *sql = format_sql(format, args);
    va_end(args);
    duckdb_result result;
    enum ap_rc rc = run_text(connection, &result, sql, err);
    if (rc == AP_OK)
        duckdb_destroy_result(&result);
    return rc;
}

enum ap_rc duck_number(duckdb_connection connection, uint64_t *ret_number, struct ap_err *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    AP_AUTO_FREE char *sql = format_sql(format, args);
    va_end(args);
    duckdb_result result;
    enum ap_rc rc = run_text(connection, &result, sql, err);
    if (rc != AP_OK)
        return rc;
    *ret_number = duckdb_row_count(&result) ? duckdb_value_uint64(&result, 0, 0) : 0;
    duckdb_destroy_result(&result);
    return AP_OK;
}
