/*
 * collect/postgres.h - the collector "postgres": what PostgreSQL servers tell about themselves
 *
 *     target "main" ──► connection of that name ──► queries (postgres_queries.h) ──► text (postgres_text.h)
 *                       kept open                   each other database in turn, for its tables and indexes
 *
 * A target is the name of a connection, so that no address and no password is in a scrape configuration or a label. Its
 * connection stays open between collections and is made again when it broke; for the tables of other databases one more
 * is open at a time. A query that fails costs its own figures: pg_scrape_collector_success{collector="…"} is 0, and
 * `notice` hears it once, and once more when it works again. When there is no connection at all the collection fails,
 * with pg_up 0 in what it says.
 *
 * A single query may take half of the time that is left, so that a slow one leaves time for the others.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"
#include "collect/collector.h"

struct postgres; /* private to postgres.c */

enum { POSTGRES_STATEMENTS_DEFAULT = 100, POSTGRES_DATABASES_DEFAULT = 50, POSTGRES_TABLES_DEFAULT = 500 };

struct postgres_connection {
    const char *name;     /* "main": the target's address */
    const char *conninfo; /* as libpq takes it; may hold a password: shown nowhere */
};

struct postgres_options {
    const struct postgres_connection *connections; /* lent for the call of _open() */
    size_t connection_count;
    uint32_t statements_max; /* of pg_stat_statements, those that took the most time; 0: none */
    uint32_t databases_max;  /* in figures of databases, and visited for their tables */
    uint32_t tables_max;     /* the largest tables, and indexes, of a database */
    /* A query began to fail, or works again (err->rc is AP_OK then); any thread. NULL: nobody wants to know. */
    void (*notice)(const struct ap_err *err, void *context);
    void *context; /* lent */
};

/* Connects to nobody yet. AP_E_PARSE, AP_E_CONFLICT: `err` names the connection, and shows nothing of its string. */
ap_nodiscard enum ap_rc postgres_open(const struct postgres_options *options, struct postgres **ret_postgres,
                                      struct ap_err *err);
/* Not while a collection is under way. */
void postgres_close(struct postgres *postgres); /* NULL is allowed */
AP_DEFINE_AUTO(postgres, struct postgres, postgres_close)

/* For the scraper; lives as long as `postgres`. */
struct collector postgres_collector(struct postgres *postgres);
