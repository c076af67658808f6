/* meta/meta_internal.h - what the files of meta/ share: the SQLite connection and how its errors are told */
#pragma once

#include <sqlite3.h>

#include "meta/meta.h"

struct meta {
    sqlite3 *db;                  /* owned */
    sqlite3_stmt *version_select; /* owned; PRAGMA data_version */
    int64_t seen_version;
};

/* "<what>: <SQLite's sentence>", with the code that fits. */
enum ap_rc meta_fail(struct meta *meta, struct ap_err *err, const char *what);

/* A statement for one use; finalised at the end of the scope by META_AUTO_STATEMENT. */
ap_nodiscard enum ap_rc meta_prepare(struct meta *meta, const char *sql, sqlite3_stmt **ret_statement,
                                     struct ap_err *err);

/* Runs statements that give no rows. */
ap_nodiscard enum ap_rc meta_run(struct meta *meta, const char *sql, struct ap_err *err);

static inline void meta_auto_statement_(sqlite3_stmt **statement)
{
    sqlite3_finalize(*statement);
}
#define META_AUTO_STATEMENT AP_CLEANUP(meta_auto_statement_)
