/*
 * cli/fleet.h - a simulated fleet: installations of a product, its web site, its downloads, its probes
 *
 * What the demo and the benchmarks report through the HTTP endpoints. A discrete-event simulation: whatever acts (an
 * installation, a reader of the web site, the stream of downloads, a probe) stands in a heap under the time of its next
 * row, and each step writes exactly one row. So rows come out in order of time, nothing is allocated for one, and the
 * same options give the same bytes, however fast they are taken.
 *
 *     world (countries, releases, incidents) ──► actors in a heap ──► fleet_next(): one line of NDJSON
 *
 * The product is Hive, because the pack that the demo shows is Hive's.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

enum fleet_table {
    FLEET_TABLE_EVENTS,
    FLEET_TABLE_VITALS,
    FLEET_TABLE_DOWNLOADS,
    FLEET_TABLE_SYNTHETIC,
    FLEET_TABLE_COUNT,
};

/* "/events" …: where rows of this table are to be sent. */
const char *fleet_table_path(enum fleet_table table);

struct fleet_options {
    uint64_t seed;
    int64_t now_us; /* the present: releases and incidents are placed around it */
    uint32_t days;  /* the simulation begins this many days before it; at least 1 */
    double scale;   /* 1: about 5,500 installations alive in the end, 2.5 million rows in 90 days */
};

enum { FLEET_LINE_BYTES_MAX = 1024 };

struct fleet_row {
    enum fleet_table table;
    int64_t wall_us;                 /* its timestamp */
    size_t bytes;                    /* of the line, with the final newline */
    char line[FLEET_LINE_BYTES_MAX]; /* a JSON object and a newline, not NUL-terminated */
};

struct fleet;

struct fleet *fleet_new(const struct fleet_options *options);
void fleet_free(struct fleet *fleet); /* NULL is allowed */
AP_DEFINE_AUTO(fleet, struct fleet, fleet_free)

/* The timestamp of the row that fleet_next() will write. */
int64_t fleet_peek_us(const struct fleet *fleet);

/* Writes the next row. There always is one: the fleet lives on past `now_us`. */
void fleet_next(struct fleet *fleet, struct fleet_row *ret_row);

/*
 * From the present on, lets `factor` seconds of simulated time pass in one second of timestamps: the same people do the
 * same things, only closer together. Before the first row after now_us is taken; 1 is the natural pace.
 */
void fleet_set_pace(struct fleet *fleet, double factor);

/* How many installations are in use now, and how many there ever were. */
size_t fleet_installations_alive(const struct fleet *fleet);
size_t fleet_installations_ever(const struct fleet *fleet);
