#include "meta/beats.h"

#include "meta/meta_internal.h"

enum ap_rc beats_put(struct meta *meta, const struct kept_beat *beat, struct ap_err *err)
{
    META_AUTO_STATEMENT sqlite3_stmt *insert = NULL;
    enum ap_rc rc = meta_prepare(meta, "INSERT OR REPLACE INTO heartbeats VALUES (?1, ?2, ?3, ?4, ?5)", &insert, err);
    if (rc != AP_OK)
        return rc;
    sqlite3_bind_text(insert, 1, beat->name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(insert, 2, beat->since_ms);
    sqlite3_bind_int64(insert, 3, beat->beat_ms);
    sqlite3_bind_int64(insert, 4, beat->failed_ms);
    sqlite3_bind_text64(insert, 5, beat->source.data ? beat->source.data : "", beat->source.bytes, SQLITE_STATIC,
                        SQLITE_UTF8);
    return sqlite3_step(insert) == SQLITE_DONE ? AP_OK : meta_fail(meta, err, "keep a heart-beat in meta.sqlite");
}

enum ap_rc beats_put_all(struct meta *meta, const struct kept_beat *beats, size_t count, struct ap_err *err)
{
    enum ap_rc rc = meta_run(meta, "BEGIN IMMEDIATE; DELETE FROM heartbeats", err);
    for (size_t i = 0; i < count && rc == AP_OK; i++)
        rc = beats_put(meta, &beats[i], err);
    if (rc == AP_OK)
        rc = meta_run(meta, "COMMIT", err);
    if (rc != AP_OK)
        (void)sqlite3_exec(meta->db, "ROLLBACK", NULL, NULL, NULL); /* the first error is the one to tell */
    return rc;
}

enum ap_rc beats_each(struct meta *meta, beats_fn each, void *context, struct ap_err *err)
{
    META_AUTO_STATEMENT sqlite3_stmt *select = NULL;
    enum ap_rc rc = meta_prepare(
        meta, "SELECT name, since_ms, beat_ms, failed_ms, source FROM heartbeats ORDER BY name", &select, err);
    if (rc != AP_OK)
        return rc;
    int code;
    while ((code = sqlite3_step(select)) == SQLITE_ROW) {
        const struct kept_beat beat = {
            .name = (const char *)sqlite3_column_text(select, 0),
            .since_ms = sqlite3_column_int64(select, 1),
            .beat_ms = sqlite3_column_int64(select, 2),
            .failed_ms = sqlite3_column_int64(select, 3),
            .source = ap_slice(sqlite3_column_text(select, 4), (size_t)sqlite3_column_bytes(select, 4)),
        };
        each(&beat, context);
    }
    return code == SQLITE_DONE ? AP_OK : meta_fail(meta, err, "read heart-beats from meta.sqlite");
}
