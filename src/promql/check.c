/* What can be read but makes no sense: types, modifiers in the wrong place, selectors of everything. */
#include <stdio.h>
#include <string.h>

#include "promql/parsing.h"
#include "tsdb/labels.h"

typedef struct promql_expr expr_t;

static bool check(struct parser *parser, const expr_t *expr);

static bool check_type(struct parser *parser, const expr_t *expr, enum promql_type wanted, const char *where)
{
    if (!check(parser, expr))
        return false;
    if (expr->type == wanted)
        return true;
    parser_fail(parser, expr->start, "expected type %s in %s, got %s", promql_type_name(wanted), where,
                promql_type_name(expr->type));
    return false;
}

static bool check_aggregate(struct parser *parser, const expr_t *expr)
{
    enum promql_type parameter = promql_aggregation_parameter(expr->aggregate.aggregation);
    return check_type(parser, expr->aggregate.of, TYPE_VECTOR, "aggregation expression") &&
           (!expr->aggregate.parameter ||
            check_type(parser, expr->aggregate.parameter, parameter, "aggregation parameter"));
}

/* info()'s second argument says which labels to take over; it is no selection of its own. */
static bool check_info_labels(struct parser *parser, const expr_t *labels)
{
    if (labels->kind != EXPR_SELECTOR)
        parser_fail(parser, labels->start, "expected label selectors only");
    else if (labels->selector.name.data)
        parser_fail(parser, labels->start, "expected label selectors only, got vector selector instead");
    return parser->rc == AP_OK;
}

static bool check_call(struct parser *parser, const expr_t *expr)
{
    const struct promql_function *function = expr->call.function;
    bool is_info = strcmp(function->name, "info") == 0;
    size_t count = expr->call.count;
    size_t most = promql_function_arguments(function);
    bool repeats = function->optional < 0;
    size_t least = most - (size_t)(repeats ? 1 : function->optional);
    size_t limit = function->most ? function->most : most;
    if (function->optional == 0 && count != most)
        parser_fail(parser, expr->start, "expected %zu argument(s) in call to \"%s\", got %zu", most, function->name,
                    count);
    else if (count < least)
        parser_fail(parser, expr->start, "expected at least %zu argument(s) in call to \"%s\", got %zu", least,
                    function->name, count);
    else if ((!repeats || function->most) && count > limit)
        parser_fail(parser, expr->start, "expected at most %zu argument(s) in call to \"%s\", got %zu", limit,
                    function->name, count);
    if (is_info && count > 1 && parser->rc == AP_OK && !check_info_labels(parser, expr->call.arguments[1]))
        return false;
    char where[64];
    snprintf(where, sizeof(where), "call to function \"%s\"", function->name);
    for (size_t i = 0; i < (is_info ? 1 : count) && parser->rc == AP_OK; i++)
        (void)check_type(parser, expr->call.arguments[i], function->arguments[AP_MIN(i, most - 1)], where);
    return parser->rc == AP_OK;
}

static bool is_comparison(enum promql_operator operator)
{
    return operator>= OPERATOR_EQUAL && operator<= OPERATOR_GREATER_EQUAL;
}

/* What only makes sense between two vectors. */
static void check_matching(struct parser *parser, const expr_t *expr)
{
    const struct promql_matching *matching = &expr->binary.matching;
    enum promql_operator operator= expr->binary.operator;
    bool is_set = operator>= OPERATOR_AND;
    bool has_fill = matching->has_fill[0] || matching->has_fill[1];
    bool has_scalar = expr->binary.left->type == TYPE_SCALAR || expr->binary.right->type == TYPE_SCALAR;
    if (has_scalar && matching->labels.count > 0)
        parser_fail(parser, expr->start, "vector matching only allowed between instant vectors");
    if (has_scalar && has_fill)
        parser_fail(parser, expr->start, "filling in missing series only allowed between instant vectors");
    if (has_scalar && is_set)
        parser_fail(parser, expr->start, "set operator \"%s\" not allowed in binary scalar expression",
                    promql_operator_name(operator));
    if (is_set && (matching->cardinality == MANY_TO_ONE || matching->cardinality == ONE_TO_MANY))
        parser_fail(parser, expr->start, "no grouping allowed for \"%s\" operation", promql_operator_name(operator));
    if (is_set && has_fill)
        parser_fail(parser, expr->start, "filling in missing series not allowed for set operators");
}

static bool check_binary(struct parser *parser, const expr_t *expr)
{
    const expr_t *sides[] = {expr->binary.left, expr->binary.right};
    const struct promql_matching *matching = &expr->binary.matching;
    if (!check(parser, sides[0]) || !check(parser, sides[1]))
        return false;
    bool compares = is_comparison(expr->binary.operator);
    if (expr->binary.returns_bool && !compares)
        parser_fail(parser, expr->binary.operator_start, "bool modifier can only be used on comparison operators");
    if (compares && !expr->binary.returns_bool && sides[0]->type == TYPE_SCALAR && sides[1]->type == TYPE_SCALAR)
        parser_fail(parser, expr->binary.operator_start, "comparisons between scalars must use BOOL modifier");
    for (size_t i = 0; matching->is_on && i < matching->labels.count; i++)
        for (size_t j = 0; j < matching->include.count; j++)
            if (ap_slice_equal(matching->labels.items[i], matching->include.items[j]))
                parser_fail(parser, expr->binary.operator_start,
                            "label \"%.*s\" must not occur in ON and GROUP clause at once",
                            AP_SLICE_ARG(matching->labels.items[i]));
    for (size_t i = 0; i < 2; i++)
        if (sides[i]->type != TYPE_SCALAR && sides[i]->type != TYPE_VECTOR)
            parser_fail(parser, sides[i]->start, "binary expression must contain only scalar and instant vector types");
    check_matching(parser, expr);
    return parser->rc == AP_OK;
}

/* A selector that everything matches is a mistake; only info() may have one. */
static bool check_selector(struct parser *parser, const expr_t *expr)
{
    const struct promql_selector *selector = &expr->selector;
    for (size_t i = 0; selector->name.data && i < selector->item_count; i++) {
        if (!ap_slice_equal_cstr(selector->items[i].name, LABEL_METRIC_NAME))
            continue;
        parser_fail(parser, expr->start, "metric name must not be set twice: \"%.*s\" or \"%.*s\"",
                    AP_SLICE_ARG(selector->name), AP_SLICE_ARG(selector->items[i].value));
        return false;
    }
    for (size_t i = 0; i < selector->matchers->count; i++)
        if (!matcher_matches_empty(selector->matchers->items[i]))
            return true;
    parser_fail(parser, expr->start, "vector selector must contain at least one non-empty matcher");
    return false;
}

static bool check_subquery(struct parser *parser, const expr_t *expr)
{
    static const char *const types[] = {"none", "scalar", "vector", "matrix", "string"};
    const expr_t *of = expr->subquery.of;
    if (!check(parser, of))
        return false;
    if (of->type == TYPE_VECTOR)
        return true;
    parser_fail(parser, expr->start, "subquery is only allowed on instant vector, got %s instead", types[of->type]);
    return false;
}

static bool check_unary(struct parser *parser, const expr_t *expr)
{
    if (!check(parser, expr->unary.of))
        return false;
    if (expr->type == TYPE_SCALAR || expr->type == TYPE_VECTOR)
        return true;
    parser_fail(parser, expr->start,
                "unary expression only allowed on expressions of type scalar or instant vector, got \"%s\"",
                promql_type_name(expr->type));
    return false;
}

static bool check(struct parser *parser, const expr_t *expr)
{
    switch (expr->kind) {
    case EXPR_SELECTOR:
        return check_selector(parser, expr);
    case EXPR_RANGE:
        return check_selector(parser, expr->range.selector);
    case EXPR_SUBQUERY:
        return check_subquery(parser, expr);
    case EXPR_CALL:
        return check_call(parser, expr);
    case EXPR_AGGREGATE:
        return check_aggregate(parser, expr);
    case EXPR_BINARY:
        return check_binary(parser, expr);
    case EXPR_UNARY:
        return check_unary(parser, expr);
    case EXPR_PAREN:
        return check(parser, expr->paren);
    case EXPR_NUMBER:
    case EXPR_TEXT:
        break;
    }
    return true;
}

void promql_check(struct parser *parser, const expr_t *expr)
{
    (void)check(parser, expr);
}
