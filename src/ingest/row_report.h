/*
 * ingest/row_report.h - what became of each row of a body, and how the client is told
 *
 *     {"accepted":999,"rejected":1,"errors":[{"row":500,"field":"duration_ms","error":"expected a number, got
 * string"}]}
 *
 * Rows are counted from 1. All rejected rows are counted; the first ROW_REPORT_ERRORS_MAX are told one by one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"

enum { ROW_REPORT_ERRORS_MAX = 20, ROW_REPORT_FIELD_BYTES_MAX = 64 };

struct row_error {
    uint64_t row;
    char field[ROW_REPORT_FIELD_BYTES_MAX]; /* empty: the row as a whole */
    const char *text;                       /* in the arena */
};

struct row_report {
    uint64_t accepted_count;
    uint64_t rejected_count;
    struct row_error *errors; /* in the arena; ROW_REPORT_ERRORS_MAX of them once there is one */
    size_t error_count;
    struct ap_arena *arena; /* lent */
};

void row_report_init(struct row_report *report, struct ap_arena *arena);

/* Counts a rejected row; tells why if there is room. `field` may be NULL. */
void row_report_reject(struct row_report *report, uint64_t row, const char *field, const char *format, ...)
    ap_printf(4, 5);

/* As JSON, into the arena. */
struct ap_slice row_report_json(const struct row_report *report);
