/*
 * collect/postgres_queries.h - what a PostgreSQL server is asked, as data
 *
 * Each entry is a query and what its columns become. A column's metric is PREFIX_COLUMN; its samples carry the values
 * of the label columns. Names, labels, types and help are those of postgres_exporter where it tells the same figure:
 * 0.11 for what that one has, its successors for the rest.
 *
 * Of entries with the same collector at most one is for a server of a given version with an extension of a given
 * version; a server outside of all of them has no such figure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum postgres_column_kind {
    POSTGRES_END, /* behind the last column */
    POSTGRES_LABEL,
    POSTGRES_COUNTER,
    POSTGRES_GAUGE,
    POSTGRES_UNTYPED,
    POSTGRES_STATEMENT, /* a statement's text: PREFIX_query_id{queryid="…",query="…"} 1, as postgres_exporter has it */
    POSTGRES_NAME,      /* the row's metric is PREFIX_NAME, its help is in the next column, its value in the third */
    POSTGRES_HELP,
};

struct postgres_column {
    enum postgres_column_kind kind;
    const char *name; /* as in the answer */
    const char *help;
    const char *metric; /* instead of PREFIX_COLUMN; NULL: that */
};

/* How many rows are wanted: $1. The last column of such a query, "cut", tells how many there were beyond. */
enum postgres_limit {
    POSTGRES_LIMIT_NONE,
    POSTGRES_LIMIT_STATEMENTS,
    POSTGRES_LIMIT_DATABASES,
    POSTGRES_LIMIT_TABLES,
};

enum { POSTGRES_COLUMNS_MAX = 32 };

struct postgres_query {
    const char *collector; /* in pg_scrape_collector_success and in the log */
    const char *prefix;
    int server_min, server_max;       /* 130000 is 13; max is the first that is too new; 0: no limit */
    const char *extension;            /* its schema stands for @extension@ in the query; NULL: none is needed */
    int extension_min, extension_max; /* 108 is 1.8; as for servers */
    bool is_optional;                 /* no figures and no trouble without the extension: few have it */
    bool is_of_each_database;         /* asked in every one; otherwise once */
    enum postgres_limit limit;
    const char *sql;
    struct postgres_column columns[POSTGRES_COLUMNS_MAX]; /* in the order of the answer, without "cut" */
};

extern const struct postgres_query postgres_queries[];
extern const size_t postgres_query_count;

/* Whether an entry is for a server of this version with its extension in this one (0: it is not there). */
bool postgres_query_is_for(const struct postgres_query *query, int server_version, int extension_version);
