/*
 * warehouse/tables.h - the tables that have rows, each declared once
 *
 * This one declaration makes the JSON keys that ingest accepts, the row format in the log, the DDL, the appender and
 * docs/tables.md. Rows come from clients, but for those of tables that the server writes itself. Constant; any thread.
 *
 * What a newcomer gets wrong first: columns may only be added behind the others, and ids of tables are for ever,
 * because records in the log name columns by position and tables by id.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum column_type {
    COLUMN_TEXT,
    COLUMN_F64,
    COLUMN_BOOL,
    COLUMN_TIMESTAMP, /* microseconds since 1970, UTC */
    COLUMN_JSON,      /* text that is valid JSON */
};

/* Who may see a value, and what erasing a person means for it. */
enum privacy_class {
    PRIVACY_PUBLIC,
    PRIVACY_INTERNAL,
    PRIVACY_PERSONAL, /* tells persons apart, or could */
    PRIVACY_SECRET,
};

/* What the program itself does with a column. */
enum column_role {
    COLUMN_ROLE_NONE,           /* as the client says */
    COLUMN_ROLE_TIMESTAMP,      /* when it happened; the time of receipt where the client does not say */
    COLUMN_ROLE_USER_ID,        /* may be kept as a keyed hash */
    COLUMN_ROLE_COUNTRY,        /* not taken from clients: looked up from the address */
    COLUMN_ROLE_ADDRESS_PREFIX, /* not taken from clients: the address without its last part */
    COLUMN_ROLE_PROPS,          /* what came with keys that are no columns, as one JSON object */
};

struct column {
    struct ap_slice name;
    struct ap_slice alias; /* another JSON key for it; 0 bytes: none */
    enum column_type type;
    enum column_role role;
    enum privacy_class privacy;
    uint32_t bytes_max; /* of text and JSON, as UTF-8 */
    bool is_required;
    bool is_cut; /* too long a text is cut, not refused */
    const char *doc;
};

enum { TABLE_COLUMNS_MAX = 32, TABLE_ID_MAX = 63 };

struct table {
    uint8_t id;
    const char *name;
    const char *doc;
    const struct column *columns;
    size_t column_count;
    bool is_server_own; /* no client sends rows for it */
};

enum {
    TABLE_EVENTS = 1,
    TABLE_VITALS = 2,
    TABLE_DOWNLOADS = 3,
    TABLE_SYNTHETIC_RUNS = 4,
    TABLE_NOTIFICATIONS = 5, /* written by notify/notification_log.c */
};
enum { TABLES_COUNT = 5 };

extern const struct table tables[TABLES_COUNT];
extern const size_t tables_count;

/* NULL when there is none. */
const struct table *table_find(const char *name);
const struct table *table_find_by_id(uint8_t id);

/* The column that this JSON key fills, or -1. Columns that clients do not fill are not found. */
int table_find_column(const struct table *table, struct ap_slice key);

/* The column with this role, or -1. */
int table_column_of_role(const struct table *table, enum column_role role);

/* "VARCHAR", "DOUBLE" …: DuckDB's name of the type. */
const char *column_type_sql(enum column_type type);
