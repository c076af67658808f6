/* What the files of warehouse/ share. */
#pragma once

#include <duckdb.h>
#include <pthread.h>

#include "warehouse/warehouse.h"

struct cache;
struct readers;
struct writer;

struct warehouse {
    /* Set by warehouse_open(), then constant. */
    struct warehouse_options options;
    char *path; /* owned; of the database file */
    duckdb_database database;
    struct cache *cache;     /* owned */
    struct readers *readers; /* owned */
    /* Set by warehouse_apply_schema(), then constant: copies of the roll-ups. */
    struct rollup *rollups; /* owned */
    size_t rollup_count;
    /* Set by warehouse_start(). */
    struct writer *writer; /* owned */
    /* Any thread, atomic: below it all is visible. */
    uint64_t applied_lsn;
};

/* A roll-up as the writer runs it. */
struct rollup {
    char *name;    /* owned */
    char **merges; /* owned */
    size_t merge_count;
    uint64_t *merge_tables; /* owned; for each merge the tables whose new rows it names, as a mask of ids */
    bool is_broken; /* writer's thread; a merge failed for good: skipped until it is built anew at the next start */
};

/* Lets the SQL of merges name new_events and so on: the rows from `lsn` on, of one UTC day or (day < 0) of all. */
ap_nodiscard enum ap_rc rollup_show_new_rows(duckdb_connection connection, uint64_t tables_mask, uint64_t lsn,
                                             int64_t day, struct ap_err *err);

/* Runs the merges that concern the tables in the mask. */
ap_nodiscard enum ap_rc rollup_merge(duckdb_connection connection, const struct rollup *rollup, uint64_t tables_mask,
                                     struct ap_err *err);

void rollups_free(struct rollup *rollups, size_t rollup_count);
