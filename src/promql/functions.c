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
    {"abs", V, {V}, 0, false, 0},
    {"absent", V, {V}, 0, false, 0},
    {"absent_over_time", V, {M}, 0, false, 0},
    {"acos", V, {V}, 0, false, 0},
    {"acosh", V, {V}, 0, false, 0},
    {"asin", V, {V}, 0, false, 0},
    {"asinh", V, {V}, 0, false, 0},
    {"atan", V, {V}, 0, false, 0},
    {"atanh", V, {V}, 0, false, 0},
    {"avg_over_time", V, {M}, 0, false, 0},
    {"ceil", V, {V}, 0, false, 0},
    {"changes", V, {M}, 0, false, 0},
    {"clamp", V, {V, S, S}, 0, false, 0},
    {"clamp_max", V, {V, S}, 0, false, 0},
    {"clamp_min", V, {V, S}, 0, false, 0},
    {"cos", V, {V}, 0, false, 0},
    {"cosh", V, {V}, 0, false, 0},
    {"count_over_time", V, {M}, 0, false, 0},
    {"day_of_month", V, {V}, 1, false, 0},
    {"day_of_week", V, {V}, 1, false, 0},
    {"day_of_year", V, {V}, 1, false, 0},
    {"days_in_month", V, {V}, 1, false, 0},
    {"deg", V, {V}, 0, false, 0},
    {"delta", V, {M}, 0, false, 0},
    {"deriv", V, {M}, 0, false, 0},
    {"double_exponential_smoothing", V, {M, S, S}, 0, true, 0},
    {"end", S, {0}, 0, true, 0},
    {"exp", V, {V}, 0, false, 0},
    {"first_over_time", V, {M}, 0, true, 0},
    {"floor", V, {V}, 0, false, 0},
    {"histogram_avg", V, {V}, 0, false, 0},
    {"histogram_count", V, {V}, 0, false, 0},
    {"histogram_fraction", V, {S, S, V}, 0, false, 0},
    {"histogram_quantile", V, {S, V}, 0, false, 0},
    {"histogram_quantiles", V, {V, T, S, S}, -1, true, 12},
    {"histogram_stddev", V, {V}, 0, false, 0},
    {"histogram_stdvar", V, {V}, 0, false, 0},
    {"histogram_sum", V, {V}, 0, false, 0},
    {"hour", V, {V}, 1, false, 0},
    {"idelta", V, {M}, 0, false, 0},
    {"increase", V, {M}, 0, false, 0},
    {"info", V, {V, V}, 1, true, 0},
    {"irate", V, {M}, 0, false, 0},
    {"label_join", V, {V, T, T, T}, -1, false, 0},
    {"label_replace", V, {V, T, T, T, T}, 0, false, 0},
    {"last_over_time", V, {M}, 0, false, 0},
    {"ln", V, {V}, 0, false, 0},
    {"log10", V, {V}, 0, false, 0},
    {"log2", V, {V}, 0, false, 0},
    {"mad_over_time", V, {M}, 0, true, 0},
    {"max_of", S, {S, S}, 0, true, 0},
    {"max_over_time", V, {M}, 0, false, 0},
    {"min_of", S, {S, S}, 0, true, 0},
    {"min_over_time", V, {M}, 0, false, 0},
    {"minute", V, {V}, 1, false, 0},
    {"month", V, {V}, 1, false, 0},
    {"pi", S, {0}, 0, false, 0},
    {"predict_linear", V, {M, S}, 0, false, 0},
    {"present_over_time", V, {M}, 0, false, 0},
    {"quantile_over_time", V, {S, M}, 0, false, 0},
    {"rad", V, {V}, 0, false, 0},
    {"range", S, {0}, 0, true, 0},
    {"rate", V, {M}, 0, false, 0},
    {"resets", V, {M}, 0, false, 0},
    {"round", V, {V, S}, 1, false, 0},
    {"scalar", S, {V}, 0, false, 0},
    {"sgn", V, {V}, 0, false, 0},
    {"sin", V, {V}, 0, false, 0},
    {"sinh", V, {V}, 0, false, 0},
    {"sort", V, {V}, 0, false, 0},
    {"sort_by_label", V, {V, T}, -1, true, 0},
    {"sort_by_label_desc", V, {V, T}, -1, true, 0},
    {"sort_desc", V, {V}, 0, false, 0},
    {"sqrt", V, {V}, 0, false, 0},
    {"start", S, {0}, 0, true, 0},
    {"stddev_over_time", V, {M}, 0, false, 0},
    {"stdvar_over_time", V, {M}, 0, false, 0},
    {"step", S, {0}, 0, true, 0},
    {"sum_over_time", V, {M}, 0, false, 0},
    {"tan", V, {V}, 0, false, 0},
    {"tanh", V, {V}, 0, false, 0},
    {"time", S, {0}, 0, false, 0},
    {"timestamp", V, {V}, 0, false, 0},
    {"ts_of_first_over_time", V, {M}, 0, true, 0},
    {"ts_of_last_over_time", V, {M}, 0, true, 0},
    {"ts_of_max_over_time", V, {M}, 0, true, 0},
    {"ts_of_min_over_time", V, {M}, 0, true, 0},
    {"vector", V, {S}, 0, false, 0},
    {"year", V, {V}, 1, false, 0},
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
