#include "promql/functions.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define V TYPE_VECTOR
#define M TYPE_MATRIX
#define S TYPE_SCALAR
#define T TYPE_STRING

/* By name. */
static const struct promql_function functions[] = {
    {"abs", V, {V}, 0, false},
    {"absent", V, {V}, 0, false},
    {"absent_over_time", V, {M}, 0, false},
    {"acos", V, {V}, 0, false},
    {"acosh", V, {V}, 0, false},
    {"asin", V, {V}, 0, false},
    {"asinh", V, {V}, 0, false},
    {"atan", V, {V}, 0, false},
    {"atanh", V, {V}, 0, false},
    {"avg_over_time", V, {M}, 0, false},
    {"ceil", V, {V}, 0, false},
    {"changes", V, {M}, 0, false},
    {"clamp", V, {V, S, S}, 0, false},
    {"clamp_max", V, {V, S}, 0, false},
    {"clamp_min", V, {V, S}, 0, false},
    {"cos", V, {V}, 0, false},
    {"cosh", V, {V}, 0, false},
    {"count_over_time", V, {M}, 0, false},
    {"day_of_month", V, {V}, 1, false},
    {"day_of_week", V, {V}, 1, false},
    {"day_of_year", V, {V}, 1, false},
    {"days_in_month", V, {V}, 1, false},
    {"deg", V, {V}, 0, false},
    {"delta", V, {M}, 0, false},
    {"deriv", V, {M}, 0, false},
    {"double_exponential_smoothing", V, {M, S, S}, 0, true},
    {"end", S, {0}, 0, true},
    {"exp", V, {V}, 0, false},
    {"first_over_time", V, {M}, 0, true},
    {"floor", V, {V}, 0, false},
    {"histogram_avg", V, {V}, 0, false},
    {"histogram_count", V, {V}, 0, false},
    {"histogram_fraction", V, {S, S, V}, 0, false},
    {"histogram_quantile", V, {S, V}, 0, false},
    {"histogram_quantiles", V, {V, T, S, S}, -1, true},
    {"histogram_stddev", V, {V}, 0, false},
    {"histogram_stdvar", V, {V}, 0, false},
    {"histogram_sum", V, {V}, 0, false},
    {"hour", V, {V}, 1, false},
    {"idelta", V, {M}, 0, false},
    {"increase", V, {M}, 0, false},
    {"info", V, {V, V}, 1, true},
    {"irate", V, {M}, 0, false},
    {"label_join", V, {V, T, T, T}, -1, false},
    {"label_replace", V, {V, T, T, T, T}, 0, false},
    {"last_over_time", V, {M}, 0, false},
    {"ln", V, {V}, 0, false},
    {"log10", V, {V}, 0, false},
    {"log2", V, {V}, 0, false},
    {"mad_over_time", V, {M}, 0, true},
    {"max_over_time", V, {M}, 0, false},
    {"min_over_time", V, {M}, 0, false},
    {"minute", V, {V}, 1, false},
    {"month", V, {V}, 1, false},
    {"pi", S, {0}, 0, false},
    {"predict_linear", V, {M, S}, 0, false},
    {"present_over_time", V, {M}, 0, false},
    {"quantile_over_time", V, {S, M}, 0, false},
    {"rad", V, {V}, 0, false},
    {"range", S, {0}, 0, true},
    {"rate", V, {M}, 0, false},
    {"resets", V, {M}, 0, false},
    {"round", V, {V, S}, 1, false},
    {"scalar", S, {V}, 0, false},
    {"sgn", V, {V}, 0, false},
    {"sin", V, {V}, 0, false},
    {"sinh", V, {V}, 0, false},
    {"sort", V, {V}, 0, false},
    {"sort_by_label", V, {V, T}, -1, true},
    {"sort_by_label_desc", V, {V, T}, -1, true},
    {"sort_desc", V, {V}, 0, false},
    {"sqrt", V, {V}, 0, false},
    {"start", S, {0}, 0, true},
    {"stddev_over_time", V, {M}, 0, false},
    {"stdvar_over_time", V, {M}, 0, false},
    {"step", S, {0}, 0, true},
    {"sum_over_time", V, {M}, 0, false},
    {"tan", V, {V}, 0, false},
    {"tanh", V, {V}, 0, false},
    {"time", S, {0}, 0, false},
    {"timestamp", V, {V}, 0, false},
    {"ts_of_first_over_time", V, {M}, 0, true},
    {"ts_of_last_over_time", V, {M}, 0, true},
    {"ts_of_max_over_time", V, {M}, 0, true},
    {"ts_of_min_over_time", V, {M}, 0, true},
    {"vector", V, {S}, 0, false},
    {"year", V, {V}, 1, false},
};

#undef V
#undef M
#undef S
#undef T

const char *promql_type_name(enum promql_type type)
{
    static const char *const names[] = {"nothing", "scalar", "instant vector", "range vector", "string"};
    return names[type];
}

static int compare(const void *key, const void *entry)
{
    const struct ap_slice *name = key;
    const char *other = ((const struct promql_function *)entry)->name;
    int order = strncmp(name->data, other, name->bytes);
    return order ? order : -(other[name->bytes] != '\0');
}

const struct promql_function *promql_function_find(struct ap_slice name)
{
    return bsearch(&name, functions, AP_ARRAY_COUNT(functions), sizeof(functions[0]), compare);
}

const struct promql_function *promql_function_at(size_t index)
{
    return index < AP_ARRAY_COUNT(functions) ? &functions[index] : NULL;
}

size_t promql_function_arguments(const struct promql_function *function)
{
    size_t count = 0;
    while (count < FUNCTION_ARGUMENTS_MAX && function->arguments[count] != TYPE_NONE)
        count++;
    return count;
}
