/*
 * codec/exposition.h - the text formats that metrics are exposed in: Prometheus text 0.0.4 and OpenMetrics 1.0
 *
 *     # HELP http_requests_total Requests by status.
 *     # TYPE http_requests_total counter
 *     http_requests_total{code="200"} 1027 1395066363000
 *     {"http.requests",code="200"} 1027                          names beyond ASCII letters, in quotes
 *     latency_bucket{le="1"} 11 # {trace_id="a1"} 0.67 1395066363.123     an exemplar (taken in both formats)
 *
 * One line at a time: a bad line is told with its place and the next call goes on behind it. Histograms and summaries
 * are the series they are written as.
 *
 * The formats differ here in two things: times are milliseconds in one and seconds with a fraction in the other, and
 * OpenMetrics ends in `# EOF`, without which it was cut off.
 *
 * One owner, no locks. What an entry points to is the input's, or the parser's until the next call. Not checked here:
 * UTF-8, repeated labels.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/slice.h"

enum { EXPOSITION_LABELS_MAX = 256, EXPOSITION_NUMBER_BYTES_MAX = 400 };

enum exposition_format { EXPOSITION_TEXT, EXPOSITION_OPENMETRICS };

enum exposition_kind {
    EXPOSITION_END,
    EXPOSITION_SAMPLE,
    EXPOSITION_HELP,
    EXPOSITION_TYPE,
    EXPOSITION_UNIT,
    EXPOSITION_BAD, /* entry.reason, line and column */
};

enum exposition_type {
    EXPOSITION_UNKNOWN, /* also what the text format calls untyped */
    EXPOSITION_COUNTER,
    EXPOSITION_GAUGE,
    EXPOSITION_HISTOGRAM,
    EXPOSITION_GAUGE_HISTOGRAM,
    EXPOSITION_SUMMARY,
    EXPOSITION_INFO,
    EXPOSITION_STATE_SET,
    EXPOSITION_TYPE_COUNT
};

struct exposition_label {
    struct ap_slice name;
    struct ap_slice value; /* unescaped */
};

struct exposition_exemplar {
    const struct exposition_label *labels;
    size_t label_count;
    double value;
    int64_t ts_ms;
    bool has_ts;
};

struct exposition_entry {
    size_t line; /* from 1 */
    size_t column;
    const char *reason;
    struct ap_slice name;      /* of the metric; of the family in HELP, TYPE and UNIT */
    struct ap_slice series;    /* of a sample: name and labels as they are written; else the whole line. The input's */
    struct ap_slice text;      /* of HELP, unescaped, and UNIT */
    enum exposition_type type; /* of TYPE */
    /* Of a sample: */
    const struct exposition_label *labels; /* in the order they are written; without the name */
    size_t label_count;
    double value; /* any NaN is Prometheus' ordinary one, 0x7ff8000000000001 */
    int64_t ts_ms;
    bool has_ts;
    bool has_exemplar;
    struct exposition_exemplar exemplar;
};

struct exposition; /* private to exposition.c */

struct exposition *exposition_new(void);
void exposition_free(struct exposition *parser); /* NULL is allowed */
AP_DEFINE_AUTO(exposition, struct exposition, exposition_free)

/* Begins a text, which is lent until another one begins. */
void exposition_begin(struct exposition *parser, enum exposition_format format, struct ap_slice text);
enum exposition_kind exposition_next(struct exposition *parser, struct exposition_entry *ret_entry);
/* `# EOF` was there. */
bool exposition_has_eof(const struct exposition *parser);

/*
 * For whoever reads some lines by itself, since it has seen them before: where the next line begins (NULL: the end),
 * and on from there behind `line_count` lines. The parser goes on as if it had read them; a `# EOF` among them it has
 * to see.
 */
const char *exposition_place(const struct exposition *parser);
void exposition_go_on(struct exposition *parser, const char *place, size_t line_count);

/*
 * The number at `at`, as samples have it; returns where it ends: at a space, a line feed or `end`. NULL: it is none, or
 * something else is behind it.
 */
const char *exposition_number(const char *at, const char *end, double *ret_value);
