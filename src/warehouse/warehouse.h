/*
 * warehouse/warehouse.h - rows in DuckDB: one writer that follows the log, several readers that answer SQL
 *
 *     wal ──cursor──► writer thread: append rows, bring roll-ups up to date, store the log position   (one transaction)
 *                                        │ committed(lsn, tables)
 *     warehouse_query_submit() ──queue──► reader threads: one SELECT each, read-only, within limits ──► done(result)
 *
 * A row takes effect exactly once: the position in the log is stored in the transaction that appends the rows, and
 * after a crash the writer goes on from there. Why DuckDB, and what was measured: docs/decisions/0003-warehouse.md.
 *
 * What a newcomer gets wrong first: done() runs on a reader's thread, so it must not block it, and the result belongs
 * to whoever done() gave it to (warehouse_result_unref()).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "warehouse/tables.h"

struct wal;
struct warehouse;

/* Of its reader in the log: who opens other readers first can hold the log back for it under this name. */
#define WAREHOUSE_CURSOR_NAME "warehouse"

struct warehouse_options {
    const char *dir;              /* exists; hot.duckdb is made in it */
    const struct ap_clock *clock; /* lent */
    uint64_t memory_bytes_max;    /* what DuckDB may use for data, 512 MiB */
    uint32_t threads;             /* of DuckDB, for all queries together; 2 */
    uint32_t reader_count;        /* queries that run at the same time; 2 */
    uint32_t query_queue_max;     /* queries that wait; above it AP_E_BUSY; 256 */
    uint64_t cache_bytes_max;     /* results kept for the same question; 16 MiB */
    uint32_t retention_days;      /* days of rows that are kept; 0: all */
    /*
     * What DuckDB's own log holds before it is merged into the file, 64 MiB. With roll-ups that takes up to a second,
     * in which no rows become visible: more often stalls shorter, less often is faster on the whole.
     */
    uint64_t checkpoint_bytes;
    /* After each commit, on the writer's thread; must not block. Bit i: the table with id i. May be NULL. */
    void (*committed)(uint64_t lsn, uint64_t tables_mask, void *context);
    /* Something went wrong that the writer deals with by itself: for the log. On the writer's thread. May be NULL. */
    void (*trouble)(const struct ap_err *err, void *context);
    void *context;
};

void warehouse_options_init(struct warehouse_options *options);

/* Opens or creates the database, makes missing tables and columns, starts the readers. Nothing is written yet. */
ap_nodiscard enum ap_rc warehouse_open(const struct warehouse_options *options, struct warehouse **ret_warehouse,
                                       struct ap_err *err);

/* Ends readers (waiting queries get AP_E_BUSY) and writer, and closes the database. NULL is allowed. */
void warehouse_close(struct warehouse *warehouse);
AP_DEFINE_AUTO(warehouse, struct warehouse, warehouse_close)

/* ---- What packs add; between warehouse_open() and warehouse_start() ---- */

struct warehouse_view {
    const char *name;
    const char *sql;   /* a SELECT */
    const char *where; /* "packs/x/views/y.sql", for messages */
};

/*
 * Tables that sum up others. `ddl` creates them ("CREATE TABLE sessions_rollup (…)", several statements allowed). Each
 * of `merges` brings them up to date: it sees the rows of the transaction that is under way as new_events, new_vitals
 * and so on (new_ before a table's name), runs when there are rows in one of the tables that it names, and commits or
 * fails together with them. That makes a roll-up exact at every moment, and exactly once for free.
 */
struct warehouse_rollup {
    const char *name;
    const char *const *tables; /* that `ddl` creates, to be dropped before it is built anew */
    size_t table_count;
    const char *ddl;
    const char *const *merges;
    size_t merge_count;
    const char *where;
};

/*
 * Makes roll-ups, then views (which may use roll-ups and views before them). A roll-up that is new or was defined
 * otherwise before is built anew from the rows that are there, day by day; `progress` (may be NULL) is told.
 * Not thread-safe with itself. An error names the view or roll-up, `where`, and what DuckDB says.
 */
ap_nodiscard enum ap_rc
warehouse_apply_schema(struct warehouse *warehouse, const struct warehouse_rollup *rollups, size_t rollup_count,
                       const struct warehouse_view *views, size_t view_count,
                       void (*progress)(const char *name, unsigned day, unsigned day_count, void *context),
                       void *context, struct ap_err *err);

/* Starts the writer at the stored position. `wal` is lent until warehouse_close(). */
ap_nodiscard enum ap_rc warehouse_start(struct warehouse *warehouse, struct wal *wal, struct ap_err *err);

/* ---- Questions ---- */

enum warehouse_param_kind {
    WAREHOUSE_PARAM_TIMESTAMP,
    WAREHOUSE_PARAM_INTERVAL,
    WAREHOUSE_PARAM_NUMBER,
    WAREHOUSE_PARAM_TEXT
};

/* `name` stands as $name in the SQL. Parameters that the SQL does not use are ignored. */
struct warehouse_param {
    const char *name;
    enum warehouse_param_kind kind;
    int64_t us; /* TIMESTAMP: since 1970; INTERVAL: length */
    double number;
    const char *text;
};

enum {
    WAREHOUSE_ROWS_MAX_DEFAULT = 10000,
    WAREHOUSE_RESULT_BYTES_MAX_DEFAULT = 16 << 20,
    WAREHOUSE_TIMEOUT_MS_DEFAULT = 10000,
    WAREHOUSE_SQL_BYTES_MAX = 64 << 10,
    WAREHOUSE_PARAMS_MAX = 16,
};

/* Everything is copied by warehouse_query_submit(). */
struct warehouse_query {
    struct ap_slice sql;
    const struct warehouse_param *params;
    size_t param_count;
    uint32_t row_max;          /* further rows are cut off and the result says so; 0: the default */
    uint32_t timeout_ms;       /* waiting and running together; 0: the default */
    uint64_t result_bytes_max; /* above it AP_E_LIMIT; 0: the default */
    bool is_uncached;          /* computed anew, for measuring */
};

/* What a query failed with. `line` and `column` count from 1; 0: not known. */
struct warehouse_query_err {
    struct ap_err err;
    unsigned line;
    unsigned column;
};

struct warehouse_result;

/* Exactly one of `take_result` (the callee's now) and `err` (lent for the call) is not NULL. */
typedef void (*warehouse_done_fn)(struct warehouse_result *take_result, const struct warehouse_query_err *err,
                                  void *context);

/*
 * Asks. Any thread; never blocks. AP_OK: done() will be called once, on a reader's thread, or at once on this one when
 * the cache has the answer. Otherwise it will not: AP_E_BUSY when too many wait, AP_E_LIMIT for overlong SQL.
 *
 * What runs is one SELECT in a read-only transaction of a connection that may not touch files, network, settings or
 * other databases. AP_E_PARSE: not such a statement, or DuckDB does not understand it. AP_E_TIMEOUT: took too long.
 * AP_E_LIMIT: result too large, or more memory than there is for queries.
 */
ap_nodiscard enum ap_rc warehouse_query_submit(struct warehouse *warehouse, const struct warehouse_query *query,
                                               warehouse_done_fn done, void *context, struct ap_err *err);

/* Asks and waits. Not on an HTTP thread. */
ap_nodiscard enum ap_rc warehouse_query_run(struct warehouse *warehouse, const struct warehouse_query *query,
                                            struct warehouse_result **ret_result, struct warehouse_query_err *err);

/* Whether the query could run: parses, guards and binds it, runs nothing. Blocks; any thread but a reader's. */
ap_nodiscard enum ap_rc warehouse_query_check(struct warehouse *warehouse, const struct warehouse_query *query,
                                              struct warehouse_query_err *err);

enum warehouse_kind { WAREHOUSE_KIND_NUMBER, WAREHOUSE_KIND_TEXT, WAREHOUSE_KIND_BOOLEAN, WAREHOUSE_KIND_TIMESTAMP };

/* "number", "text", "boolean", "timestamp". */
const char *warehouse_kind_name(enum warehouse_kind kind);

/* The same, and tells the columns that the answer would have, in order; none where they are known only when it runs.
 * `name` is lent for the call. */
typedef void (*warehouse_column_fn)(const char *name, enum warehouse_kind kind, void *context);
ap_nodiscard enum ap_rc warehouse_query_describe(struct warehouse *warehouse, const struct warehouse_query *query,
                                                 warehouse_column_fn each, void *context,
                                                 struct warehouse_query_err *err);

/* ---- Results: immutable, counted, any thread ---- */

enum warehouse_cell_kind {
    WAREHOUSE_CELL_NULL,
    WAREHOUSE_CELL_INTEGER,
    WAREHOUSE_CELL_DOUBLE,
    WAREHOUSE_CELL_BOOLEAN,
    WAREHOUSE_CELL_TIMESTAMP,
    WAREHOUSE_CELL_TEXT, /* and all that has no kind of its own: dates as 2026-11-23, lists and structs as JSON … */
};

struct warehouse_cell {
    enum warehouse_cell_kind kind;
    union {
        int64_t integer;
        double number;
        bool boolean;
        int64_t ts_us; /* since 1970, UTC */
        struct ap_slice text;
    };
};

struct warehouse_result *warehouse_result_ref(struct warehouse_result *result);
void warehouse_result_unref(struct warehouse_result *result); /* NULL is allowed */
AP_DEFINE_AUTO(warehouse_result, struct warehouse_result, warehouse_result_unref)

size_t warehouse_result_columns(const struct warehouse_result *result);
size_t warehouse_result_rows(const struct warehouse_result *result);
const char *warehouse_result_name(const struct warehouse_result *result, size_t column);
const char *warehouse_result_type(const struct warehouse_result *result, size_t column); /* DuckDB's: "BIGINT" */
enum warehouse_kind warehouse_result_kind(const struct warehouse_result *result, size_t column);
const struct warehouse_cell *warehouse_result_cell(const struct warehouse_result *result, size_t row, size_t column);
bool warehouse_result_is_truncated(const struct warehouse_result *result);
bool warehouse_result_is_cached(const struct warehouse_result *result);  /* was taken from the cache by somebody */
int64_t warehouse_result_took_us(const struct warehouse_result *result); /* running time when it was computed */

/* The cell as a number, where it is one (booleans are 0 and 1); false otherwise, and for null. */
bool warehouse_cell_number(const struct warehouse_cell *cell, double *ret_number);

/* ---- Figures about itself; any thread ---- */

struct warehouse_stats {
    uint64_t applied_lsn;              /* all of the log below is visible to queries */
    uint64_t start_lsn_end;            /* end of the log when the writer started */
    bool is_caught_up;                 /* what was in the log at the start is visible */
    bool is_failing;                   /* the newest transaction did not commit; the writer goes on trying */
    uint64_t rows_count[TABLES_COUNT]; /* appended since the start, in the order of tables[] */
    uint64_t commit_count;
    uint64_t commit_us;        /* from the first row of a transaction to its commit, summed up */
    uint64_t failure_count;    /* transactions that were rolled back */
    uint64_t quarantine_count; /* records that were set aside since the start */
    uint64_t broken_rollup_count;
    uint64_t query_count;
    uint64_t query_failure_count;
    uint64_t query_us; /* running time, summed up */
    uint64_t cache_hit_count;
    uint32_t query_waiting_count;
    uint64_t database_bytes; /* of the file */
    char last_error[256];
};
void warehouse_stats_get(struct warehouse *warehouse, struct warehouse_stats *ret_stats);
