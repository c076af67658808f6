#include "rules/figure.h"

#include <string.h>

#include "base/rc.h"
#include "promql/parser.h"

static bool is_comparison(enum promql_operator operator)
{
    return operator>= OPERATOR_EQUAL && operator<= OPERATOR_GREATER_EQUAL;
}

static enum ap_rc keep_all(struct promql_expr **at, struct ap_err *err);

static enum ap_rc keep_all_of_binary(struct promql_expr **at, struct ap_err *err)
{
    struct promql_expr *expr = *at;
    enum ap_rc rc = keep_all(&expr->binary.left, err);
    if (rc == AP_OK)
        rc = keep_all(&expr->binary.right, err);
    if (is_comparison(expr->binary.operator) && expr->type == TYPE_VECTOR)
        expr->binary.returns_bool = true; /* a value for each pair of series, whichever way the comparison goes */
    else if (expr->binary.operator== OPERATOR_AND || expr->binary.operator== OPERATOR_UNLESS)
        *at = expr->binary.left;
    return rc;
}

static enum ap_rc keep_all_of_call(const struct promql_expr *expr, struct ap_err *err)
{
    const char *name = expr->call.function->name;
    enum ap_rc rc = AP_OK;
    if (strcmp(name, "absent") == 0 || strcmp(name, "absent_over_time") == 0)
        return ap_fail(err, AP_E_CONFLICT, "%s() looks for missing data itself", name);
    for (size_t i = 0; i < expr->call.count && rc == AP_OK; i++)
        rc = keep_all(&expr->call.arguments[i], err);
    return rc;
}

/* The depth is the parser's (PROMQL_DEPTH_MAX, PROMQL_OPERATORS_MAX). */
static enum ap_rc keep_all(struct promql_expr **at, struct ap_err *err)
{
    struct promql_expr *expr = *at;
    switch (expr->kind) {
    case EXPR_BINARY:
        return keep_all_of_binary(at, err);
    case EXPR_CALL:
        return keep_all_of_call(expr, err);
    case EXPR_AGGREGATE:
        return keep_all(&expr->aggregate.of, err);
    case EXPR_SUBQUERY:
        return keep_all(&expr->subquery.of, err);
    case EXPR_UNARY:
        return keep_all(&expr->unary.of, err);
    case EXPR_PAREN:
        return keep_all(&expr->paren, err);
    default:
        return AP_OK;
    }
}

enum ap_rc figure_print(struct promql_expr *expr, struct ap_buf *out, struct ap_err *err)
{
    enum ap_rc rc = keep_all(&expr, err);
    if (rc == AP_OK)
        promql_print(expr, out);
    return rc;
}
