#include "collect/postgres_rows.h"

#include <stdlib.h>

#include "base/mem.h"

enum { FIRST_ROWS = 64 };

void postgres_rows_init(struct postgres_rows *rows, size_t bytes_max)
{
    *rows = (struct postgres_rows){0};
    ap_arena_init(&rows->arena, bytes_max);
}

void postgres_rows_clear(struct postgres_rows *rows)
{
    ap_arena_clear(&rows->arena);
    free(rows->cells);
    *rows = (struct postgres_rows){0};
}

static enum ap_rc fail_large(struct ap_err *err)
{
    return ap_fail(err, AP_E_LIMIT, "the answer is larger than is kept in memory");
}

/* Copies of `count` slices to `to`; NULL stays NULL, an empty text has data. */
static enum ap_rc copy(struct postgres_rows *rows, const struct ap_slice *from, size_t count, struct ap_slice *to,
                       struct ap_err *err)
{
    for (size_t i = 0; i < count; i++) {
        to[i] = (struct ap_slice){0};
        if (!from[i].data)
            continue;
        const char *text = ap_arena_try_strndup(&rows->arena, from[i]);
        if (!text)
            return fail_large(err);
        to[i] = ap_slice(text, from[i].bytes);
    }
    return AP_OK;
}

enum ap_rc postgres_rows_set_columns(struct postgres_rows *rows, const struct ap_slice *names, size_t column_count,
                                     struct ap_err *err)
{
    rows->names = ap_arena_try_alloc(&rows->arena, AP_MAX(column_count, 1) * sizeof(*names));
    if (!rows->names)
        return fail_large(err);
    rows->column_count = column_count;
    return copy(rows, names, column_count, rows->names, err);
}

/* The cells count towards the maximum as their texts do. */
static enum ap_rc make_room(struct postgres_rows *rows, struct ap_err *err)
{
    if (rows->row_count < rows->row_capacity)
        return AP_OK;
    size_t capacity = AP_MAX(rows->row_capacity * 2, FIRST_ROWS);
    size_t bytes = capacity * AP_MAX(rows->column_count, 1) * sizeof(*rows->cells);
    if (rows->arena.bytes_max && bytes > rows->arena.bytes_max)
        return fail_large(err);
    rows->cells = ap_realloc(rows->cells, bytes);
    rows->row_capacity = capacity;
    return AP_OK;
}

enum ap_rc postgres_rows_add(struct postgres_rows *rows, const struct ap_slice *cells, struct ap_err *err)
{
    enum ap_rc rc = make_room(rows, err);
    if (rc == AP_OK)
        rc = copy(rows, cells, rows->column_count, rows->cells + rows->row_count * rows->column_count, err);
    if (rc == AP_OK)
        rows->row_count++;
    return rc;
}
