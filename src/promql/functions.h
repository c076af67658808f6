/*
 * promql/functions.h - which functions there are, and what they take and give
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum promql_type { TYPE_NONE, TYPE_SCALAR, TYPE_VECTOR, TYPE_MATRIX, TYPE_STRING };

/* As errors name them: "scalar", "instant vector", "range vector", "string". */
const char *promql_type_name(enum promql_type type);

enum { FUNCTION_ARGUMENTS_MAX = 6 };

struct promql_function {
    const char *name;
    enum promql_type returns;
    enum promql_type arguments[FUNCTION_ARGUMENTS_MAX]; /* TYPE_NONE ends them */
    int optional; /* so many of the last may be left out; -1: the last may come any number of times, 0 among them */
    bool is_experimental; /* needs promql.experimental */
    size_t most;          /* arguments altogether where the last comes any number of times; 0: no limit */
};

/* NULL: there is none of that name. */
const struct promql_function *promql_function_find(struct ap_slice name);
/* In order of their names; NULL behind the last. */
const struct promql_function *promql_function_at(size_t index);
size_t promql_function_arguments(const struct promql_function *function);
