/* The tables of the declaration, and what packs add to them: roll-ups and views. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "warehouse/checkpoint.h"
#include "warehouse/duck.h"
#include "warehouse/schema.h"

enum { SCHEMA_VERSION = 1 };

static const char internal_tables_sql[] =
    "CREATE TABLE IF NOT EXISTS _apiary_cursor (lsn UBIGINT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS _apiary_rollups (name VARCHAR NOT NULL, hash UBIGINT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS _apiary_quarantine (lsn UBIGINT, set_aside_at TIMESTAMP, reason VARCHAR, "
    "record BLOB);"
    "INSERT INTO _apiary_cursor SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM _apiary_cursor);";

static enum ap_rc make_table(duckdb_connection connection, const struct table *table, struct ap_err *err)
{
    AP_ASSERT(table->columns[0].role == COLUMN_ROLE_TIMESTAMP);
    enum ap_rc rc = duck_run(connection, err,
                             "CREATE TABLE IF NOT EXISTS %s (lsn UBIGINT, received_at TIMESTAMP, timestamp TIMESTAMP, "
                             "date DATE)",
                             table->name);
    /* Those that a later version of the program declared come behind, as in the declaration. */
    for (size_t i = 1; i < table->column_count && rc == AP_OK; i++)
        rc = duck_run(connection, err, "ALTER TABLE %s ADD COLUMN IF NOT EXISTS %.*s %s", table->name,
                      AP_SLICE_ARG(table->columns[i].name), column_type_sql(table->columns[i].type));
    uint64_t count = 0, want_count = table->column_count + 3; /* lsn, received_at, date */
    if (rc == AP_OK)
        rc = duck_number(connection, &count, err,
                         "SELECT COUNT(*) FROM duckdb_columns() WHERE schema_name = 'main' AND table_name = '%s'",
                         table->name);
    if (rc == AP_OK && count != want_count)
        return ap_fail(err, AP_E_CONFLICT,
                       "table %s has %" PRIu64 " columns, this program knows %" PRIu64
                       ": the data is that of a newer apiary; start that one",
                       table->name, count, want_count);
    return rc;
}

enum ap_rc schema_make_tables(duckdb_connection connection, struct ap_err *err)
{
    enum ap_rc rc = duck_run(connection, err, "BEGIN; %s", internal_tables_sql);
    for (size_t i = 0; i < tables_count && rc == AP_OK; i++)
        rc = make_table(connection, &tables[i], err);
    if (rc == AP_OK)
        rc = duck_run(connection, err, "COMMIT");
    return rc == AP_OK ? AP_OK : ap_err_prefix(err, "make the tables of the warehouse");
}

/* ---- Roll-ups ---- */

static uint64_t tables_named_in(const char *sql)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < tables_count; i++) {
        char name[64];
        snprintf(name, sizeof(name), "new_%s", tables[i].name);
        if (strcasestr(sql, name))
            mask |= UINT64_C(1) << tables[i].id;
    }
    return mask;
}

enum ap_rc rollup_show_new_rows(duckdb_connection connection, uint64_t tables_mask, uint64_t lsn, int64_t day,
                                struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < tables_count && rc == AP_OK; i++) {
        if (!(tables_mask >> tables[i].id & 1))
            continue;
        char one_day[64] = "";
        if (day >= 0)
            snprintf(one_day, sizeof(one_day), " AND date = DATE '1970-01-01' + %" PRId64, day);
        rc = duck_run(connection, err,
                      "CREATE OR REPLACE TEMP VIEW new_%s AS SELECT * FROM %s WHERE lsn >= %" PRIu64 "%s",
                      tables[i].name, tables[i].name, lsn, one_day);
    }
    return rc;
}

/* The tables whose new rows any of its merges names. */
static uint64_t rollup_tables(const struct rollup *rollup)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < rollup->merge_count; i++)
        mask |= rollup->merge_tables[i];
    return mask;
}

enum ap_rc rollup_merge(duckdb_connection connection, const struct rollup *rollup, uint64_t tables_mask,
                        struct ap_err *err)
{
    if (!(rollup_tables(rollup) & tables_mask))
        return AP_OK;
    for (size_t i = 0; i < rollup->merge_count; i++) {
        if (rollup->merge_tables[i] && !(rollup->merge_tables[i] & tables_mask))
            continue; /* it names new rows, but of tables that have none */
        enum ap_rc rc = duck_run(connection, err, "%s", rollup->merges[i]);
        if (rc != AP_OK) {
            ap_err_prefix(err, "roll-up %s, merge %zu", rollup->name, i + 1);
            return rc;
        }
    }
    return AP_OK;
}

static uint64_t rollup_hash(const struct warehouse_rollup *rollup)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    ap_buf_printf(&text, "%d\n%s\n", SCHEMA_VERSION, rollup->ddl);
    for (size_t i = 0; i < rollup->merge_count; i++)
        ap_buf_printf(&text, "%s\n", rollup->merges[i]);
    return XXH3_64bits(text.data, text.bytes);
}

static void copy_rollup(struct rollup *to, const struct warehouse_rollup *from)
{
    to->name = ap_strdup(from->name);
    to->merge_count = from->merge_count;
    to->merges = ap_new0_array(char *, from->merge_count);
    to->merge_tables = ap_new0_array(uint64_t, from->merge_count);
    for (size_t i = 0; i < from->merge_count; i++) {
        to->merges[i] = ap_strdup(from->merges[i]);
        to->merge_tables[i] = tables_named_in(from->merges[i]);
    }
}

void rollups_free(struct rollup *rollups, size_t rollup_count)
{
    for (size_t i = 0; i < rollup_count; i++) {
        for (size_t j = 0; j < rollups[i].merge_count; j++)
            free(rollups[i].merges[j]);
        free(rollups[i].merges);
        free(rollups[i].merge_tables);
        free(rollups[i].name);
    }
    free(rollups);
}

struct days {
    int64_t first;
    int64_t last; /* below first: there are no rows */
};

/* The UTC days from the oldest to the newest row of the tables in the mask. */
static enum ap_rc find_days(duckdb_connection connection, uint64_t tables_mask, struct days *ret_days,
                            struct ap_err *err)
{
    struct days days = {0, -1};
    for (size_t i = 0; i < tables_count; i++) {
        if (!(tables_mask >> tables[i].id & 1))
            continue;
        uint64_t count = 0, first = 0, last = 0;
        enum ap_rc rc = duck_number(connection, &count, err, "SELECT COUNT(*) FROM %s", tables[i].name);
        if (rc == AP_OK && count)
            rc = duck_number(connection, &first, err, "SELECT greatest(0, min(date) - DATE '1970-01-01') FROM %s",
                             tables[i].name);
        if (rc == AP_OK && count)
            rc = duck_number(connection, &last, err, "SELECT greatest(0, max(date) - DATE '1970-01-01') FROM %s",
                             tables[i].name);
        if (rc != AP_OK)
            return rc;
        if (count == 0)
            continue;
        bool is_first = days.last < days.first;
        days.first = is_first ? (int64_t)first : AP_MIN(days.first, (int64_t)first);
        days.last = AP_MAX(days.last, (int64_t)last);
    }
    *ret_days = days;
    return AP_OK;
}

struct rebuild {
    void (*progress)(const char *name, unsigned day, unsigned day_count, void *context);
    void *context;
};

/* One day after the other, so that memory is bounded by the largest day and not by the history. */
static enum ap_rc rebuild_rollup(duckdb_connection connection, const struct warehouse_rollup *source,
                                 const struct rollup *rollup, const struct rebuild *rebuild, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t i = source->table_count; i-- > 0 && rc == AP_OK;)
        rc = duck_run(connection, err, "DROP TABLE IF EXISTS %s CASCADE", source->tables[i]);
    if (rc == AP_OK)
        rc = duck_run(connection, err, "%s", source->ddl);
    uint64_t tables_mask = rollup_tables(rollup);
    struct days days;
    if (rc == AP_OK)
        rc = find_days(connection, tables_mask, &days, err);
    if (rc != AP_OK)
        return rc;
    if (days.last < days.first) { /* no rows: still run once, so that a mistake in the SQL shows now */
        days.first = 0;
        days.last = 0;
    }
    for (int64_t day = days.first; day <= days.last && rc == AP_OK; day++) {
        rc = rollup_show_new_rows(connection, tables_mask, 0, day, err);
        if (rc == AP_OK)
            rc = rollup_merge(connection, rollup, tables_mask, err);
        if (rebuild->progress && days.last > days.first)
            rebuild->progress(rollup->name, (unsigned)(day - days.first + 1), (unsigned)(days.last - days.first + 1),
                              rebuild->context);
    }
    return rc;
}

static enum ap_rc apply_rollup(duckdb_connection connection, const struct warehouse_rollup *source,
                               const struct rollup *rollup, const struct rebuild *rebuild, struct ap_err *err)
{
    uint64_t known = 0, hash = rollup_hash(source);
    enum ap_rc rc =
        duck_number(connection, &known, err,
                    "SELECT COUNT(*) FROM _apiary_rollups WHERE name = '%s' AND hash = %" PRIu64, source->name, hash);
    if (rc != AP_OK || known)
        return rc;
    rc = duck_run(connection, err, "BEGIN");
    if (rc != AP_OK)
        return rc;
    rc = rebuild_rollup(connection, source, rollup, rebuild, err);
    if (rc == AP_OK)
        rc = duck_run(connection, err, "DELETE FROM _apiary_rollups WHERE name = '%s'", source->name);
    if (rc == AP_OK)
        rc = duck_run(connection, err, "INSERT INTO _apiary_rollups VALUES ('%s', %" PRIu64 ")", source->name, hash);
    if (rc == AP_OK)
        return duck_run(connection, err, "COMMIT");
    struct ap_err ignored;
    (void)!duck_run(connection, &ignored, "ROLLBACK");
    return rc;
}

enum ap_rc warehouse_apply_schema(struct warehouse *warehouse, const struct warehouse_rollup *rollups,
                                  size_t rollup_count, const struct warehouse_view *views, size_t view_count,
                                  void (*progress)(const char *name, unsigned day, unsigned day_count, void *context),
                                  void *context, struct ap_err *err)
{
    AP_ASSERT(!warehouse->writer && !warehouse->rollups);
    duckdb_connection connection;
    if (duckdb_connect(warehouse->database, &connection) == DuckDBError)
        return ap_fail(err, AP_E_INTERNAL, "connect to the warehouse");
    warehouse->rollups = ap_new0_array(struct rollup, rollup_count);
    warehouse->rollup_count = rollup_count;
    const struct rebuild rebuild = {progress, context};
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < rollup_count && rc == AP_OK; i++) {
        copy_rollup(&warehouse->rollups[i], &rollups[i]);
        rc = apply_rollup(connection, &rollups[i], &warehouse->rollups[i], &rebuild, err);
        if (rc != AP_OK)
            ap_err_prefix(err, "%s: roll-up %s", rollups[i].where, rollups[i].name);
    }
    for (size_t i = 0; i < view_count && rc == AP_OK; i++) {
        rc = duck_run(connection, err, "CREATE OR REPLACE VIEW %s AS %s", views[i].name, views[i].sql);
        if (rc != AP_OK)
            ap_err_prefix(err, "%s: view %s", views[i].where, views[i].name);
    }
    /* A roll-up that was built anew lies in DuckDB's log. Without room it stays there until the writer finds some. */
    if (rc == AP_OK && (rc = checkpoint_if_due(warehouse, connection, err)) == AP_E_FULL)
        rc = AP_OK;
    duckdb_disconnect(&connection);
    return rc;
}
