#include "warehouse/guard.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "warehouse/duck.h"

static const char *statement_name(duckdb_statement_type type)
{
    static const char *const names[] = {
        [DUCKDB_STATEMENT_TYPE_INVALID] = "a statement of this kind",
        [DUCKDB_STATEMENT_TYPE_SELECT] = "SELECT",
        [DUCKDB_STATEMENT_TYPE_INSERT] = "INSERT",
        [DUCKDB_STATEMENT_TYPE_UPDATE] = "UPDATE",
        [DUCKDB_STATEMENT_TYPE_EXPLAIN] = "EXPLAIN",
        [DUCKDB_STATEMENT_TYPE_DELETE] = "DELETE",
        [DUCKDB_STATEMENT_TYPE_PREPARE] = "PREPARE",
        [DUCKDB_STATEMENT_TYPE_CREATE] = "CREATE",
        [DUCKDB_STATEMENT_TYPE_EXECUTE] = "EXECUTE",
        [DUCKDB_STATEMENT_TYPE_ALTER] = "ALTER",
        [DUCKDB_STATEMENT_TYPE_TRANSACTION] = "a transaction statement",
        [DUCKDB_STATEMENT_TYPE_COPY] = "COPY",
        [DUCKDB_STATEMENT_TYPE_ANALYZE] = "ANALYZE",
        [DUCKDB_STATEMENT_TYPE_VARIABLE_SET] = "SET",
        [DUCKDB_STATEMENT_TYPE_CREATE_FUNC] = "CREATE FUNCTION",
        [DUCKDB_STATEMENT_TYPE_DROP] = "DROP",
        [DUCKDB_STATEMENT_TYPE_EXPORT] = "EXPORT",
        [DUCKDB_STATEMENT_TYPE_PRAGMA] = "PRAGMA",
        [DUCKDB_STATEMENT_TYPE_VACUUM] = "VACUUM",
        [DUCKDB_STATEMENT_TYPE_CALL] = "CALL",
        [DUCKDB_STATEMENT_TYPE_SET] = "SET",
        [DUCKDB_STATEMENT_TYPE_LOAD] = "LOAD",
        [DUCKDB_STATEMENT_TYPE_ATTACH] = "ATTACH",
        [DUCKDB_STATEMENT_TYPE_DETACH] = "DETACH",
    };
    return (size_t)type < AP_ARRAY_COUNT(names) && names[type] ? names[type] : "a statement of this kind";
}

/*
 * Functions that SELECT can call and that do something to the server, or (query, json_execute_serialized_sql) run SQL
 * that is put together while the statement is bound, where nobody could look for the others.
 */
static const char *const refused_functions[] = {
    "arrow_scan",
    "arrow_scan_dumb",
    "checkpoint",
    "disable_logging",
    "disable_profile",
    "disable_profiling",
    "duckdb_logs",
    "duckdb_logs_parsed",
    "duckdb_secrets",
    "enable_logging",
    "enable_profile",
    "enable_profiling",
    "force_checkpoint",
    "getenv",
    "json_execute_serialized_sql",
    "query",
    "set_log_level",
    "sleep_ms",
    "truncate_duckdb_logs",
    "which_secret",
    "write_log",
};

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* What DuckDB takes for a blank, the many of Unicode included; or the end of a quoted name. */
static bool is_gap(char c)
{
    return (unsigned char)c <= ' ' || (unsigned char)c >= 0x80 || c == '"';
}

/*
 * The name as a whole word with "(" behind it: a column may well be called checkpoint. A comment behind it counts as
 * "(", because it may hide one. Looks into texts as well, which refuses a question too many now and then, and never
 * one too few.
 */
static bool calls_function(struct ap_slice sql, const char *name)
{
    size_t bytes = strlen(name);
    for (size_t i = 0; i + bytes < sql.bytes; i++) {
        if (strncasecmp(sql.data + i, name, bytes) != 0 || (i > 0 && is_word_char(sql.data[i - 1])))
            continue;
        size_t end = i + bytes;
        while (end < sql.bytes && is_gap(sql.data[end]))
            end++;
        struct ap_slice rest = ap_slice(sql.data + end, sql.bytes - end);
        if (rest.bytes && (rest.data[0] == '(' || ap_slice_starts_with(rest, "--") || ap_slice_starts_with(rest, "/*")))
            return true;
    }
    return false;
}

static enum ap_rc refuse_functions(struct ap_slice sql, struct ap_err *err)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(refused_functions); i++)
        if (calls_function(sql, refused_functions[i]))
            return ap_fail(err, AP_E_PARSE, "the function %s() cannot be called here", refused_functions[i]);
    return AP_OK;
}

static const struct warehouse_param *find_param(const struct warehouse_query *query, const char *name)
{
    for (size_t i = 0; i < query->param_count; i++)
        if (strcmp(query->params[i].name, name) == 0)
            return &query->params[i];
    return NULL;
}

static duckdb_state bind_param(duckdb_prepared_statement statement, idx_t index, const struct warehouse_param *param)
{
    switch (param->kind) {
    case WAREHOUSE_PARAM_TIMESTAMP:
        return duckdb_bind_timestamp(statement, index, (duckdb_timestamp){param->us});
    case WAREHOUSE_PARAM_INTERVAL:
        return duckdb_bind_interval(statement, index, (duckdb_interval){.micros = param->us});
    case WAREHOUSE_PARAM_NUMBER:
        return duckdb_bind_double(statement, index, param->number);
    case WAREHOUSE_PARAM_TEXT:
        return duckdb_bind_varchar(statement, index, param->text);
    }
    return DuckDBError;
}

static enum ap_rc bind_params(duckdb_prepared_statement statement, const struct warehouse_query *query,
                              struct ap_err *err)
{
    idx_t count = duckdb_nparams(statement);
    for (idx_t i = 1; i <= count; i++) {
        const char *name = duckdb_parameter_name(statement, i);
        const struct warehouse_param *param = name ? find_param(query, name) : NULL;
        enum ap_rc rc = AP_OK;
        if (!param)
            rc = ap_fail(err, AP_E_PARSE, "the query uses $%s, but no such parameter was given", name ? name : "?");
        else if (bind_param(statement, i, param) == DuckDBError)
            rc = ap_fail(err, AP_E_PARSE, "the parameter $%s does not fit: %s", name, duckdb_prepare_error(statement));
        duckdb_free((void *)(uintptr_t)name);
        if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}

enum ap_rc guard_prepare(duckdb_connection connection, const struct warehouse_query *query,
                         duckdb_prepared_statement *ret_statement, struct warehouse_query_err *err)
{
    *ret_statement = NULL;
    *err = (struct warehouse_query_err){0};
    enum ap_rc rc = refuse_functions(query->sql, &err->err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO_FREE char *sql = ap_slice_dup(query->sql);
    duckdb_extracted_statements statements = NULL;
    idx_t count = duckdb_extract_statements(connection, sql, &statements);
    const char *parse_error = duckdb_extract_statements_error(statements);
    if (parse_error)
        rc = duck_fail(&err->err, DUCKDB_ERROR_PARSER, parse_error, &err->line, &err->column);
    else if (count != 1)
        rc = ap_fail(&err->err, AP_E_PARSE,
                     count ? "expected one SELECT, got %d statements" : "the query is empty: expected one SELECT",
                     (int)count);
    else if (duckdb_prepare_extracted_statement(connection, statements, 0, ret_statement) == DuckDBError)
        rc = duck_fail(&err->err, DUCKDB_ERROR_BINDER, duckdb_prepare_error(*ret_statement), &err->line, &err->column);
    duckdb_destroy_extracted(&statements);
    if (rc != AP_OK)
        return rc;
    duckdb_statement_type type = duckdb_prepared_statement_type(*ret_statement);
    if (type != DUCKDB_STATEMENT_TYPE_SELECT)
        return ap_fail(&err->err, AP_E_PARSE, "only SELECT can be asked here, not %s", statement_name(type));
    return bind_params(*ret_statement, query, &err->err);
}
