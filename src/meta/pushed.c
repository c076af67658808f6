#include "meta/pushed.h"

#include "meta/meta_internal.h"

static const char what[] = "keep pushed metrics in meta.sqlite";

enum ap_rc pushed_begin(struct meta *meta, struct ap_err *err)
{
    return meta_run(meta, "BEGIN IMMEDIATE", err);
}

enum ap_rc pushed_commit(struct meta *meta, struct ap_err *err)
{
    return meta_run(meta, "COMMIT", err);
}

void pushed_rollback(struct meta *meta)
{
    (void)sqlite3_exec(meta->db, "ROLLBACK", NULL, NULL, NULL); /* it may be over already: a full disk ends it */
}

static void bind_bytes(sqlite3_stmt *statement, int index, struct ap_slice bytes)
{
    sqlite3_bind_blob64(statement, index, bytes.data ? bytes.data : "", bytes.bytes, SQLITE_STATIC);
}

static enum ap_rc run(struct meta *meta, sqlite3_stmt *statement, struct ap_err *err)
{
    return sqlite3_step(statement) == SQLITE_DONE ? AP_OK : meta_fail(meta, err, what);
}

enum ap_rc pushed_put_group(struct meta *meta, const struct pushed_group *group, struct ap_err *err)
{
    META_AUTO_STATEMENT sqlite3_stmt *insert = NULL;
    enum ap_rc rc = meta_prepare(meta,
                                 "INSERT INTO pushed_groups (labels, pushed_us, failed_us) VALUES (?1, ?2, ?3)"
                                 " ON CONFLICT (labels) DO UPDATE SET pushed_us = ?2, failed_us = ?3",
                                 &insert, err);
    if (rc != AP_OK)
        return rc;
    bind_bytes(insert, 1, group->labels);
    sqlite3_bind_int64(insert, 2, group->pushed_us);
    sqlite3_bind_int64(insert, 3, group->failed_us);
    return run(meta, insert, err);
}

enum ap_rc pushed_put_family(struct meta *meta, struct ap_slice group, const struct pushed_family *family,
                             struct ap_err *err)
{
    META_AUTO_STATEMENT sqlite3_stmt *insert = NULL;
    enum ap_rc rc = meta_prepare(meta,
                                 "INSERT OR REPLACE INTO pushed_families (labels, name, help, type, pushed_us, series)"
                                 " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                                 &insert, err);
    if (rc != AP_OK)
        return rc;
    bind_bytes(insert, 1, group);
    bind_bytes(insert, 2, family->name);
    bind_bytes(insert, 3, family->help);
    sqlite3_bind_int64(insert, 4, family->type);
    sqlite3_bind_int64(insert, 5, family->pushed_us);
    bind_bytes(insert, 6, family->series);
    return run(meta, insert, err);
}

static enum ap_rc delete_by_labels(struct meta *meta, const char *sql, struct ap_slice labels, struct ap_err *err)
{
    META_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    enum ap_rc rc = meta_prepare(meta, sql, &statement, err);
    if (rc != AP_OK)
        return rc;
    bind_bytes(statement, 1, labels);
    return run(meta, statement, err);
}

enum ap_rc pushed_delete_group(struct meta *meta, struct ap_slice group, struct ap_err *err)
{
    /* Its families go with it: REFERENCES … ON DELETE CASCADE. */
    return delete_by_labels(meta, "DELETE FROM pushed_groups WHERE labels = ?1", group, err);
}

enum ap_rc pushed_delete_families(struct meta *meta, struct ap_slice group, struct ap_err *err)
{
    return delete_by_labels(meta, "DELETE FROM pushed_families WHERE labels = ?1", group, err);
}

/* ---- Reading ---- */

static struct ap_slice column_bytes(sqlite3_stmt *select, int column)
{
    const void *data = sqlite3_column_blob(select, column);
    return ap_slice(data ? data : "", (size_t)sqlite3_column_bytes(select, column));
}

static enum ap_rc each_family(struct meta *meta, sqlite3_stmt *select, struct ap_slice group, pushed_fn each,
                              void *context, struct ap_err *err)
{
    int code;
    enum ap_rc rc = AP_OK;
    sqlite3_reset(select);
    bind_bytes(select, 1, group);
    while (rc == AP_OK && (code = sqlite3_step(select)) != SQLITE_DONE) {
        if (code != SQLITE_ROW)
            return meta_fail(meta, err, "read pushed metrics from meta.sqlite");
        struct pushed_family family = {
            .name = column_bytes(select, 0),
            .help = column_bytes(select, 1),
            .type = sqlite3_column_int64(select, 2),
            .pushed_us = sqlite3_column_int64(select, 3),
            .series = column_bytes(select, 4),
        };
        rc = each(NULL, &family, context, err);
    }
    return rc;
}

enum ap_rc pushed_each(struct meta *meta, pushed_fn each, void *context, struct ap_err *err)
{
    META_AUTO_STATEMENT sqlite3_stmt *groups = NULL;
    META_AUTO_STATEMENT sqlite3_stmt *families = NULL;
    int code;
    enum ap_rc rc = meta_prepare(meta, "SELECT labels, pushed_us, failed_us FROM pushed_groups", &groups, err);
    if (rc == AP_OK)
        rc = meta_prepare(meta, "SELECT name, help, type, pushed_us, series FROM pushed_families WHERE labels = ?1",
                          &families, err);
    while (rc == AP_OK && (code = sqlite3_step(groups)) != SQLITE_DONE) {
        if (code != SQLITE_ROW)
            return meta_fail(meta, err, "read pushed metrics from meta.sqlite");
        struct pushed_group group = {
            .labels = column_bytes(groups, 0),
            .pushed_us = sqlite3_column_int64(groups, 1),
            .failed_us = sqlite3_column_int64(groups, 2),
        };
        rc = each(&group, NULL, context, err);
        if (rc == AP_OK)
            rc = each_family(meta, families, group.labels, each, context, err);
    }
    return rc;
}
