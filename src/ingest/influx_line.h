/*
 * ingest/influx_line.h - InfluxDB line protocol, a point at a time
 *
 *     cpu,host=a,zone=eu\ west usage_idle=97.5,cores=8i,up=true,note="x, y" 1795435200000000000
 *     measurement, tags         fields                                      time, in the request's precision
 *
 * A bad line is told with its number and text, and the next call goes on behind it. Commas, spaces and equals signs in
 * names and values of tags are escaped with a backslash; a backslash before anything else is itself. Texts (fields in
 * quotes) may hold line feeds.
 *
 * One owner, no locks. What a point points to is the input's, or the parser's until the next call. Not checked here:
 * UTF-8, repeated tags.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/slice.h"
#include "tsdb/labels.h"

enum { INFLUX_TAGS_MAX = 200, INFLUX_FIELDS_MAX = 1024 };

enum influx_kind { INFLUX_END, INFLUX_POINT, INFLUX_BAD };

struct influx_field {
    struct ap_slice key;
    double value;
    bool is_text; /* a string: no number, and so no sample */
};

struct influx_point {
    size_t line; /* from 1: where the point begins */
    struct ap_slice text;
    const char *reason; /* of INFLUX_BAD, in InfluxDB's words where it has some */
    /* Of INFLUX_POINT: */
    struct ap_slice measurement;
    struct label tags[INFLUX_TAGS_MAX]; /* unescaped, in the order they came */
    size_t tag_count;
    struct influx_field fields[INFLUX_FIELDS_MAX];
    size_t field_count; /* at least 1 */
    int64_t ts;
    bool has_ts;
};

struct influx_line {
    const char *next;
    const char *end;
    size_t line;
    struct ap_buf unescaped; /* of the point read last */
};

/* Begins a text, which is lent until another one begins. {0} is a parser; _clear() frees what it has. */
void influx_line_begin(struct influx_line *parser, struct ap_slice text);
enum influx_kind influx_line_next(struct influx_line *parser, struct influx_point *ret_point);
void influx_line_clear(struct influx_line *parser);
