/*
 * rules/sql_columns.h - what the columns of a rule's answer are: one is the figure, the others are labels
 *
 * The rules for that are in sql_query.h; they are the same for whoever asks the warehouse and whoever asks a server.
 */
#pragma once

#include <stddef.h>

#include "base/arena.h"
#include "base/rc.h"
#include "warehouse/warehouse.h"

enum { SQL_COLUMNS_MAX = 64 };

struct sql_column {
    const char *name; /* as the query has it */
    enum warehouse_kind kind;
    const char *label; /* what it is called as a label */
};

struct sql_columns {
    struct ap_arena *arena; /* of the names; lent */
    struct sql_column items[SQL_COLUMNS_MAX];
    size_t count; /* may be above SQL_COLUMNS_MAX: those beyond it are not there */
    size_t figure;
};

/* A warehouse_column_fn; `columns` is a struct sql_columns with an arena. */
void sql_columns_add(const char *name, enum warehouse_kind kind, void *columns);

/* When all are there: finds the figure and names the labels. AP_E_PARSE, AP_E_LIMIT: what is wrong with which. */
ap_nodiscard enum ap_rc sql_columns_judge(struct sql_columns *columns, struct ap_err *err);
