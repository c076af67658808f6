#include "meta/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>

#include "base/assert.h"
#include "meta/meta_internal.h"

enum { META_BUSY_TIMEOUT_MS = 5000 };

/*
 * Step n brings a file of version n to version n + 1 (PRAGMA user_version). A step that was released is never changed:
 * files that went through it exist.
 */
static const char *const migrations[] = {
    "CREATE TABLE keys ("
    "  id INTEGER PRIMARY KEY,"
    "  kind TEXT NOT NULL CHECK (kind IN ('public', 'secret', 'viewer')),"
    "  name TEXT NOT NULL,"
    "  hint TEXT NOT NULL,"
    "  hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),"
    "  origins TEXT NOT NULL DEFAULT '',"
    "  rows_per_second INTEGER NOT NULL DEFAULT 0,"
    "  rows_burst INTEGER NOT NULL DEFAULT 0,"
    "  created_ms INTEGER NOT NULL,"
    "  last_used_ms INTEGER NOT NULL DEFAULT 0,"
    "  revoked_ms INTEGER NOT NULL DEFAULT 0"
    ") STRICT;"
    "CREATE TABLE secrets (name TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT, WITHOUT ROWID;",
    "CREATE TABLE pushed_groups ("
    "  labels BLOB PRIMARY KEY,"
    "  pushed_us INTEGER NOT NULL,"
    "  failed_us INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE pushed_families ("
    "  labels BLOB NOT NULL REFERENCES pushed_groups (labels) ON DELETE CASCADE,"
    "  name BLOB NOT NULL,"
    "  help BLOB NOT NULL,"
    "  type INTEGER NOT NULL,"
    "  pushed_us INTEGER NOT NULL,"
    "  series BLOB NOT NULL,"
    "  PRIMARY KEY (labels, name)"
    ") STRICT;",
    /* The kind 'operator'; SQLite changes no CHECK of a table that is there. */
    "CREATE TABLE keys_new ("
    "  id INTEGER PRIMARY KEY,"
    "  kind TEXT NOT NULL CHECK (kind IN ('public', 'secret', 'viewer', 'operator')),"
    "  name TEXT NOT NULL,"
    "  hint TEXT NOT NULL,"
    "  hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),"
    "  origins TEXT NOT NULL DEFAULT '',"
    "  rows_per_second INTEGER NOT NULL DEFAULT 0,"
    "  rows_burst INTEGER NOT NULL DEFAULT 0,"
    "  created_ms INTEGER NOT NULL,"
    "  last_used_ms INTEGER NOT NULL DEFAULT 0,"
    "  revoked_ms INTEGER NOT NULL DEFAULT 0"
    ") STRICT;"
    "INSERT INTO keys_new SELECT id, kind, name, hint, hash, origins, rows_per_second, rows_burst, created_ms,"
    "  last_used_ms, revoked_ms FROM keys;"
    "DROP TABLE keys;"
    "ALTER TABLE keys_new RENAME TO keys;",
    "CREATE TABLE heartbeats ("
    "  name TEXT PRIMARY KEY,"
    "  since_ms INTEGER NOT NULL,"
    "  beat_ms INTEGER NOT NULL,"
    "  failed_ms INTEGER NOT NULL,"
    "  source TEXT NOT NULL"
    ") STRICT, WITHOUT ROWID;",
};

static enum ap_rc rc_of_sqlite(int code)
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return AP_E_BUSY;
    case SQLITE_FULL:
        return AP_E_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return AP_E_CORRUPT;
    case SQLITE_NOMEM:
        return AP_E_NOMEM;
    case SQLITE_CONSTRAINT:
        return AP_E_CONFLICT;
    default:
        return AP_E_IO;
    }
}

enum ap_rc meta_fail(struct meta *meta, struct ap_err *err, const char *what)
{
    return ap_fail(err, rc_of_sqlite(sqlite3_errcode(meta->db)), "%s: %s", what, sqlite3_errmsg(meta->db));
}

enum ap_rc meta_prepare(struct meta *meta, const char *sql, sqlite3_stmt **ret_statement, struct ap_err *err)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(meta->db, sql, -1, &statement, NULL) != SQLITE_OK)
        return meta_fail(meta, err, "prepare a statement in meta.sqlite");
    *ret_statement = statement;
    return AP_OK;
}

enum ap_rc meta_run(struct meta *meta, const char *sql, struct ap_err *err)
{
    if (sqlite3_exec(meta->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return meta_fail(meta, err, "change meta.sqlite");
    return AP_OK;
}

static enum ap_rc read_integer(struct meta *meta, const char *sql, int64_t *ret_value, struct ap_err *err)
{
    META_AUTO_STATEMENT sqlite3_stmt *statement = NULL;
    enum ap_rc rc = meta_prepare(meta, sql, &statement, err);
    if (rc != AP_OK)
        return rc;
    if (sqlite3_step(statement) != SQLITE_ROW)
        return meta_fail(meta, err, "read meta.sqlite");
    *ret_value = sqlite3_column_int64(statement, 0);
    return AP_OK;
}

/* In a transaction that holds the write lock. */
static enum ap_rc migrate_locked(struct meta *meta, struct ap_err *err)
{
    int64_t version;
    enum ap_rc rc = read_integer(meta, "PRAGMA user_version", &version, err);
    for (; rc == AP_OK && version < (int64_t)AP_ARRAY_COUNT(migrations); version++)
        rc = meta_run(meta, migrations[version], err);
    char sql[64];
    sqlite3_snprintf(sizeof(sql), sql, "PRAGMA user_version = %d", (int)AP_ARRAY_COUNT(migrations));
    return rc != AP_OK ? rc : meta_run(meta, sql, err);
}

static enum ap_rc migrate(struct meta *meta, struct ap_err *err)
{
    int64_t version;
    enum ap_rc rc = read_integer(meta, "PRAGMA user_version", &version, err);
    if (rc != AP_OK || version == (int64_t)AP_ARRAY_COUNT(migrations))
        return rc;
    if (version > (int64_t)AP_ARRAY_COUNT(migrations))
        return ap_fail(err, AP_E_CONFLICT, "it was written by a newer version (tables %d, this program knows %d)",
                       (int)version, (int)AP_ARRAY_COUNT(migrations));
    rc = meta_run(meta, "BEGIN IMMEDIATE", err);
    if (rc != AP_OK)
        return rc;
    rc = migrate_locked(meta, err);
    if (rc == AP_OK)
        rc = meta_run(meta, "COMMIT", err);
    if (rc != AP_OK)
        sqlite3_exec(meta->db, "ROLLBACK", NULL, NULL, NULL); /* the first error is the one to tell */
    return rc;
}

/*
 * SQLite gives its -wal and -shm files the mode of the main one: make that first, readable by the owner alone. Only a
 * file that was not there is opened here, and it is closed before SQLite opens it. POSIX locks belong to the process,
 * and closing any descriptor of a file drops all that the process holds on it; SQLite would then go on with a -wal that
 * other processes think nobody uses, and remove.
 */
static enum ap_rc make_file(const char *path, struct ap_err *err)
{
    AP_AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 && errno != EEXIST ? ap_fail_errno(err, errno, "make it") : AP_OK;
}

static enum ap_rc open_database(struct meta *meta, const char *path, struct ap_err *err)
{
    enum ap_rc rc = make_file(path, err);
    if (rc != AP_OK)
        return rc;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &meta->db, flags, NULL) != SQLITE_OK)
        return meta_fail(meta, err, "open it");
    sqlite3_busy_timeout(meta->db, META_BUSY_TIMEOUT_MS);
    /* synchronous=FULL: a key that was reported revoked must stay revoked after a power cut. */
    rc = meta_run(meta,
                  "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                  "PRAGMA trusted_schema = OFF",
                  err);
    if (rc == AP_OK)
        rc = migrate(meta, err);
    if (rc == AP_OK)
        rc = meta_prepare(meta, "PRAGMA data_version", &meta->version_select, err);
    bool ignored;
    return rc != AP_OK ? rc : meta_has_changed(meta, &ignored, err);
}

enum ap_rc meta_open(const char *path, struct meta **ret_meta, struct ap_err *err)
{
    if (sodium_init() < 0)
        return ap_fail(err, AP_E_INTERNAL, "libsodium does not start");
    AP_AUTO(meta) struct meta *meta = ap_new0(struct meta);
    enum ap_rc rc = open_database(meta, path, err);
    if (rc != AP_OK) {
        ap_err_prefix(err, "%s", path);
        return rc;
    }
    *ret_meta = AP_MOVE(meta);
    return AP_OK;
}

void meta_close(struct meta *meta)
{
    if (!meta)
        return;
    sqlite3_finalize(meta->version_select);
    int code = sqlite3_close(meta->db);
    AP_ASSERT(code == SQLITE_OK); /* every statement is finalised */
    free(meta);
}

enum ap_rc meta_has_changed(struct meta *meta, bool *ret_has_changed, struct ap_err *err)
{
    int code = sqlite3_step(meta->version_select);
    int64_t version = code == SQLITE_ROW ? sqlite3_column_int64(meta->version_select, 0) : 0;
    sqlite3_reset(meta->version_select);
    if (code != SQLITE_ROW)
        return meta_fail(meta, err, "read meta.sqlite");
    *ret_has_changed = version != meta->seen_version;
    meta->seen_version = version;
    return AP_OK;
}

enum ap_rc meta_secret(struct meta *meta, const char *name, void *ret_bytes, size_t bytes, struct ap_err *err)
{
    uint8_t fresh[64];
    AP_ASSERT(bytes <= sizeof(fresh));
    randombytes_buf(fresh, bytes);
    META_AUTO_STATEMENT sqlite3_stmt *insert = NULL;
    META_AUTO_STATEMENT sqlite3_stmt *select = NULL;
    /* Whoever comes first wins; then everybody reads what is there. */
    enum ap_rc rc = meta_prepare(meta, "INSERT INTO secrets VALUES (?1, ?2) ON CONFLICT DO NOTHING", &insert, err);
    if (rc == AP_OK)
        rc = meta_prepare(meta, "SELECT bytes FROM secrets WHERE name = ?1", &select, err);
    if (rc != AP_OK)
        return rc;
    sqlite3_bind_text(insert, 1, name, -1, SQLITE_STATIC);
    sqlite3_bind_blob(insert, 2, fresh, (int)bytes, SQLITE_STATIC);
    if (sqlite3_step(insert) != SQLITE_DONE)
        return meta_fail(meta, err, "keep a secret in meta.sqlite");
    sqlite3_bind_text(select, 1, name, -1, SQLITE_STATIC);
    if (sqlite3_step(select) != SQLITE_ROW)
        return meta_fail(meta, err, "read a secret from meta.sqlite");
    if (sqlite3_column_bytes(select, 0) != (int)bytes)
        return ap_fail(err, AP_E_CORRUPT, "the secret %s in meta.sqlite has %d bytes, not %zu", name,
                       sqlite3_column_bytes(select, 0), bytes);
    memcpy(ret_bytes, sqlite3_column_blob(select, 0), bytes);
    return AP_OK;
}
