/*
 * collect/postgres_rows.h - what a query of PostgreSQL gave: cells of text, without libpq
 *
 * Filled row by row by postgres_link.h, within a maximum of bytes: a server that goes on sending is not a reason to run
 * out of memory. Cells live in the rows' arena.
 */
#pragma once

#include <stddef.h>

#include "base/arena.h"
#include "base/rc.h"
#include "base/slice.h"

struct postgres_rows {
    struct ap_arena arena;
    struct ap_slice *names; /* of the columns; in the arena */
    size_t column_count;
    struct ap_slice *cells; /* owned; row by row; data NULL: SQL's NULL */
    size_t row_count;
    size_t row_capacity;
};

void postgres_rows_init(struct postgres_rows *rows, size_t bytes_max);
void postgres_rows_clear(struct postgres_rows *rows);
#define POSTGRES_AUTO_ROWS __attribute__((cleanup(postgres_rows_clear)))

/* AP_E_LIMIT: over bytes_max. Both copy; a row has as many cells as there are columns. */
ap_nodiscard enum ap_rc postgres_rows_set_columns(struct postgres_rows *rows, const struct ap_slice *names,
                                                  size_t column_count, struct ap_err *err);
ap_nodiscard enum ap_rc postgres_rows_add(struct postgres_rows *rows, const struct ap_slice *cells, struct ap_err *err);

static inline struct ap_slice postgres_rows_cell(const struct postgres_rows *rows, size_t row, size_t column)
{
    return rows->cells[row * rows->column_count + column];
}
