#include "rules/sql_columns.h"

#include <string.h>

#include "base/slice.h"

void sql_columns_add(const char *name, enum warehouse_kind kind, void *context)
{
    struct sql_columns *columns = context;
    if (columns->count++ >= SQL_COLUMNS_MAX)
        return;
    size_t bytes = strlen(name);
    char *copy = ap_arena_alloc0(columns->arena, bytes + 1);
    memcpy(copy, name, bytes);
    columns->items[columns->count - 1] = (struct sql_column){.name = copy, .kind = kind};
}

static bool is_number(const struct sql_column *column)
{
    return column->kind == WAREHOUSE_KIND_NUMBER || column->kind == WAREHOUSE_KIND_BOOLEAN;
}

static enum ap_rc find_figure(struct sql_columns *columns, struct ap_err *err)
{
    size_t number_count = 0;
    for (size_t i = 0; i < columns->count; i++) {
        const struct sql_column *column = &columns->items[i];
        if (ap_slice_equal_nocase(ap_slice_cstr(column->name), "value")) {
            columns->figure = i;
            return is_number(column) ? AP_OK
                                     : ap_fail(err, AP_E_PARSE, "the column value is a %s, and has to be a number",
                                               warehouse_kind_name(column->kind));
        }
        if (column->kind != WAREHOUSE_KIND_NUMBER)
            continue;
        columns->figure = i;
        number_count++;
    }
    if (number_count == 1)
        return AP_OK;
    return ap_fail(err, AP_E_PARSE,
                   number_count ? "several columns are numbers: call the figure \"value\""
                                : "no column is a number: expected the figure, called \"value\"");
}

static bool is_name_char(char c, bool is_first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!is_first && c >= '0' && c <= '9');
}

static const char *label_name(struct ap_arena *arena, const char *name)
{
    size_t bytes = strlen(name), at = 0;
    char *label = ap_arena_alloc0(arena, bytes + 2);
    if (!is_name_char(name[0], true) && is_name_char(name[0], false))
        label[at++] = '_';
    for (size_t i = 0; i < bytes; i++)
        label[at++] = is_name_char(name[i], false) ? name[i] : '_';
    return label;
}

static enum ap_rc name_label(struct sql_columns *columns, size_t index, struct ap_err *err)
{
    struct sql_column *column = &columns->items[index];
    if (column->kind == WAREHOUSE_KIND_TIMESTAMP)
        return ap_fail(err, AP_E_PARSE,
                       "the column %s is a time, and can be no label: each moment would be an alert of its own; leave "
                       "it out",
                       column->name);
    if (column->kind == WAREHOUSE_KIND_NUMBER)
        return ap_fail(err, AP_E_PARSE,
                       "the column %s is a number beside the figure: leave it out, or make a text of it that can be a "
                       "label (%s::VARCHAR)",
                       column->name, column->name);
    column->label = label_name(columns->arena, column->name);
    for (size_t i = 0; i < index; i++)
        if (columns->items[i].label && strcmp(columns->items[i].label, column->label) == 0)
            return ap_fail(err, AP_E_PARSE, "the columns %s and %s would be one label, %s", columns->items[i].name,
                           column->name, column->label);
    return AP_OK;
}

enum ap_rc sql_columns_judge(struct sql_columns *columns, struct ap_err *err)
{
    if (columns->count > SQL_COLUMNS_MAX)
        return ap_fail(err, AP_E_LIMIT, "%zu columns, at most %d can be labels", columns->count, SQL_COLUMNS_MAX);
    enum ap_rc rc = find_figure(columns, err);
    for (size_t i = 0; i < columns->count && rc == AP_OK; i++)
        if (i != columns->figure)
            rc = name_label(columns, i, err);
    return rc;
}
