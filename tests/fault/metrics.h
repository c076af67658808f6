/*
 * tests/fault/metrics.h - samples in and out of the server under test
 *
 * Reading goes through /api/v1/export with raw=1, so that values are compared by their bits.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server.h"

/* Posts text in the exposition format; the reply is the caller's to clear. */
struct reply metrics_import(struct server *server, const char *text, size_t bytes);
long metrics_import_status(struct server *server, const char *text);

/* GET or, with `form` not NULL, POST of a form. Fails the test on another status than `want`; returns the body
 * (malloc). */
char *metrics_ask(struct server *server, const char *path, const char *form, long want);

/* One of the figures in `tsdb` of /api/apiary/v1/status. */
uint64_t metrics_figure(struct server *server, const char *name);

/* The samples of one series, in order of time. */
struct metrics_series {
    char *labels; /* owned; JSON with sorted keys */
    int64_t *ts_ms;
    uint64_t *bits;
    size_t count;
};
struct metrics_answer {
    struct metrics_series *series;
    size_t count;
};

/* All that the selector selects. */
struct metrics_answer metrics_export(struct server *server, const char *selector);
void metrics_answer_clear(struct metrics_answer *answer);
/* Of one series: fails the test when it is not exactly one. */
size_t metrics_sample_count(struct server *server, const char *selector);

/* Seals, cuts and merges now. */
void metrics_settle(struct server *server);
