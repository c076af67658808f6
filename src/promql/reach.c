/*
 * Why these and no others depend on the query's start and end:
 *
 * - start(), end(), range(), in expressions, behind an @ and in durations. step() is the same for all queries that
 *   share answers.
 * - info() fails for info series that clash at a step, but only such as fit some series anywhere in the query.
 * - Everything else is defined step by step, and computed so: windows are summed from their own first sample,
 *   sub-queries have steps that are multiples of their step since 1970, and aggregations take the series of a group in
 *   an order that their labels alone decide (aggregate_group()), so that sums round, and topk() chooses among equals,
 *   the same way wherever the query begins. Where a query is large, several threads sum parts of it, and the last bit
 *   of a sum depends on how many series and samples there are (docs/promql-differences.md).
 */
#include "promql/reach.h"

#include <string.h>

static bool is_among(const struct promql_expr *call, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(call->call.function->name, names[i]) == 0)
            return true;
    return false;
}

/* Of scalars, in place of a constant. */
static bool depends_on_range(const struct promql_expr *expr)
{
    static const char *const harmless[] = {"step", "min", "max"};
    switch (expr->kind) {
    case EXPR_PAREN:
        return depends_on_range(expr->paren);
    case EXPR_UNARY:
        return depends_on_range(expr->unary.of);
    case EXPR_BINARY:
        return depends_on_range(expr->binary.left) || depends_on_range(expr->binary.right);
    case EXPR_CALL:
        for (size_t i = 0; i < expr->call.count; i++)
            if (depends_on_range(expr->call.arguments[i]))
                return true;
        return !is_among(expr, harmless, AP_ARRAY_COUNT(harmless));
    default:
        return false;
    }
}

static bool is_duration_fixed(const struct promql_duration *duration)
{
    return !duration->expr || !depends_on_range(duration->expr);
}

/* What is looked at up to `reach` behind a time is, behind the step, looked at up to there less the offset. */
static bool shift(struct run *run, const struct promql_when *when, struct reach *reach)
{
    int64_t offset_ms = 0;
    struct ap_err ignored;
    if (when->at == AT_START || when->at == AT_END || !is_duration_fixed(&when->offset))
        return false;
    if (when->has_offset && plan_duration(run, &when->offset, false, &offset_ms, &ignored) != AP_OK)
        return false;
    if (reach->ahead_ms == INT64_MIN)
        return true;
    reach->ahead_ms -= offset_ms;
    if (when->at == AT_TIME) { /* no overflow: its bound leaves room for more durations than a query can nest */
        reach->fixed_ms = AP_MAX(reach->fixed_ms, when->at_ms + reach->ahead_ms);
        reach->ahead_ms = INT64_MIN;
    }
    return true;
}

static bool find(struct run *run, const struct promql_expr *expr, struct reach *reach);

static bool find_all(struct run *run, struct promql_expr *const *exprs, size_t count, struct reach *reach)
{
    for (size_t i = 0; i < count; i++)
        if (!find(run, exprs[i], reach))
            return false;
    return true;
}

static void extend(struct reach *reach, const struct reach *by)
{
    reach->ahead_ms = AP_MAX(reach->ahead_ms, by->ahead_ms);
    reach->fixed_ms = AP_MAX(reach->fixed_ms, by->fixed_ms);
}

static bool find_selector(struct run *run, const struct promql_selector *selector, struct reach *reach)
{
    struct reach own = {selector->extension == EXTENSION_SMOOTHED ? run->lookback_ms : 0, INT64_MIN};
    bool is_found = shift(run, &selector->when, &own);
    extend(reach, &own);
    return is_found;
}

static bool find_subquery(struct run *run, const struct promql_expr *expr, struct reach *reach)
{
    struct reach own = {INT64_MIN, INT64_MIN};
    bool is_found = is_duration_fixed(&expr->subquery.range) && is_duration_fixed(&expr->subquery.step) &&
                    find(run, expr->subquery.of, &own) && shift(run, &expr->subquery.when, &own);
    extend(reach, &own);
    return is_found;
}

static bool find_call(struct run *run, const struct promql_expr *expr, struct reach *reach)
{
    static const char *const spanning[] = {"end", "info", "range", "start"};
    return !is_among(expr, spanning, AP_ARRAY_COUNT(spanning)) &&
           find_all(run, expr->call.arguments, expr->call.count, reach);
}

static bool find(struct run *run, const struct promql_expr *expr, struct reach *reach)
{
    switch (expr->kind) {
    case EXPR_NUMBER:
    case EXPR_TEXT:
        return true;
    case EXPR_SELECTOR:
        return find_selector(run, &expr->selector, reach);
    case EXPR_RANGE:
        return is_duration_fixed(&expr->range.range) && find_selector(run, &expr->range.selector->selector, reach);
    case EXPR_SUBQUERY:
        return find_subquery(run, expr, reach);
    case EXPR_CALL:
        return find_call(run, expr, reach);
    case EXPR_AGGREGATE:
        return (!expr->aggregate.parameter || find(run, expr->aggregate.parameter, reach)) &&
               find(run, expr->aggregate.of, reach);
    case EXPR_BINARY:
        return find(run, expr->binary.left, reach) && find(run, expr->binary.right, reach);
    case EXPR_UNARY:
        return find(run, expr->unary.of, reach);
    case EXPR_PAREN:
        return find(run, expr->paren, reach);
    }
    return false;
}

bool reach_find(struct run *run, const struct promql_expr *expr, struct reach *ret_reach)
{
    *ret_reach = (struct reach){INT64_MIN, INT64_MIN};
    return find(run, expr, ret_reach) && (ret_reach->ahead_ms != INT64_MIN || ret_reach->fixed_ms != INT64_MIN);
}
