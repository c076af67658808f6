#include <math.h>

#include "promql/parsing.h"

typedef struct promql_expr expr_t;

static expr_t *parse_duration_call(struct parser *parser, const struct promql_duration_place *place)
{
    uint32_t start = parser->token.start;
    /* min and max are what min_of and max_of were called at first. */
    static const struct promql_function functions[] = {
        {"min_of", TYPE_SCALAR, {TYPE_SCALAR, TYPE_SCALAR}, 0, true, 0},
        {"max_of", TYPE_SCALAR, {TYPE_SCALAR, TYPE_SCALAR}, 0, true, 0},
        {"min", TYPE_SCALAR, {TYPE_SCALAR, TYPE_SCALAR}, 0, true, 0},
        {"max", TYPE_SCALAR, {TYPE_SCALAR, TYPE_SCALAR}, 0, true, 0},
        {"step", TYPE_SCALAR, {TYPE_NONE}, 0, true, 0},
        {"range", TYPE_SCALAR, {TYPE_NONE}, 0, true, 0},
    };
    size_t which = 0;
    while (which < AP_ARRAY_COUNT(functions) && !promql_token_is_word(&parser->token, functions[which].name))
        which++;
    if (which == AP_ARRAY_COUNT(functions)) {
        parser_fail_unexpected(parser, place->name, place->wanted);
        return NULL;
    }
    bool is_pair = promql_function_arguments(&functions[which]) == 2;
    expr_t *call = parser_expr_new(parser, EXPR_CALL, TYPE_SCALAR, start);
    call->call.function = &functions[which];
    parser_advance(parser);
    if (!parser_want(parser, TOKEN_LEFT_PAREN, place->name, place->wanted))
        return NULL;
    if (is_pair) {
        call->call.arguments = parser_alloc(parser, 2 * sizeof(expr_t *));
        call->call.count = 2;
        for (size_t i = 0; i < 2; i++) {
            if (i == 1 && !parser_want(parser, TOKEN_COMMA, place->name, place->wanted))
                return NULL;
            call->call.arguments[i] = parser_duration(parser, place, PRECEDENCE_ADD);
            if (!call->call.arguments[i])
                return NULL;
        }
    }
    if (!parser_want(parser, TOKEN_RIGHT_PAREN, place->name, place->wanted))
        return NULL;
    call->end = parser->end;
    return call;
}

expr_t *parser_number(struct parser *parser)
{
    struct promql_token token = parser->token;
    parser_advance(parser);
    expr_t *expr = parser_expr_new(parser, EXPR_NUMBER, TYPE_SCALAR, token.start);
    expr->number.is_duration = token.kind == TOKEN_DURATION;
    expr->number.value = expr->number.is_duration ? token.number / 1000 : token.number;
    return expr;
}

expr_t *parser_duration_atom(struct parser *parser, const struct promql_duration_place *place)
{
    uint32_t start = parser->token.start;
    if (parser_is_next(parser, TOKEN_NUMBER) || parser_is_next(parser, TOKEN_DURATION))
        return parser_number(parser);
    if (parser_is_next(parser, TOKEN_ADD) || parser_is_next(parser, TOKEN_SUB)) {
        bool is_minus = parser_is_next(parser, TOKEN_SUB);
        parser_advance(parser);
        expr_t *of = parser_enter(parser) ? parser_duration_atom(parser, place) : NULL;
        parser_leave(parser);
        if (!of || (!is_minus && of->kind != EXPR_NUMBER))
            return of;
        if (of->kind == EXPR_NUMBER) {
            of->number.value = is_minus ? -of->number.value : of->number.value;
            of->start = start;
            return of;
        }
        expr_t *expr = parser_expr_new(parser, EXPR_UNARY, TYPE_SCALAR, start);
        expr->unary.is_minus = is_minus;
        expr->unary.of = of;
        return expr;
    }
    if (!parser_take(parser, TOKEN_LEFT_PAREN))
        return parse_duration_call(parser, place);
    expr_t *inner = parser_enter(parser) ? parser_duration(parser, place, PRECEDENCE_ADD) : NULL;
    parser_leave(parser);
    if (!inner || !parser_want(parser, TOKEN_RIGHT_PAREN, place->name, place->wanted))
        return NULL;
    expr_t *expr = parser_expr_new(parser, EXPR_PAREN, TYPE_SCALAR, start);
    expr->paren = inner;
    return expr;
}

expr_t *parser_duration(struct parser *parser, const struct promql_duration_place *place, int precedence)
{
    expr_t *left = parser_duration_atom(parser, place);
    for (;;) {
        const struct promql_operator_row *row = left ? promql_operator_find(&parser->token) : NULL;
        if (!row || row->token == TOKEN_WORD || row->precedence < AP_MAX(precedence, (int)PRECEDENCE_ADD))
            return left;
        uint32_t at = parser->token.start;
        parser_advance(parser);
        expr_t *right =
            parser_enter(parser) ? parser_duration(parser, place, row->precedence + (row->token != TOKEN_POW)) : NULL;
        parser_leave(parser);
        if (!right)
            return NULL;
        bool divides = row->token == TOKEN_DIV || row->token == TOKEN_MOD;
        if (divides && right->kind == EXPR_NUMBER && right->number.value == 0) {
            parser_fail(parser, at, row->token == TOKEN_DIV ? "division by zero" : "modulo by zero");
            return NULL;
        }
        expr_t *expr = parser_expr_new(parser, EXPR_BINARY, TYPE_SCALAR, left->start);
        expr->binary.operator=(enum promql_operator)(row - promql_operators);
        expr->binary.left = left;
        expr->binary.right = right;
        left = expr;
    }
}

/* Ranges and steps are positive, offsets may be anything. */
bool parser_finish_duration(struct parser *parser, const expr_t *expr, bool is_positive, struct promql_duration *ret)
{
    if (!expr)
        return false;
    if (expr->kind == EXPR_NUMBER) {
        double ms = expr->number.value * 1000;
        *ret = (struct promql_duration){.ms = fabs(ms) < 9.2e18 ? (int64_t)round(ms) : 0};
        if (!(fabs(ms) < 9223372036854.0))
            parser_fail(parser, expr->start, "duration out of range");
        else if (is_positive && ret->ms <= 0)
            parser_fail(parser, expr->start, "duration must be greater than 0");
        return parser->rc == AP_OK;
    }
    *ret = (struct promql_duration){.expr = expr};
    if (!parser->is_experimental) {
        parser_fail(parser, expr->start, "experimental duration expression is not enabled (promql.experimental)");
        return false;
    }
    struct ap_err err;
    enum ap_rc rc = promql_duration_ms(ret, NULL, is_positive, &ret->ms, &err);
    if (rc != AP_OK && parser->rc == AP_OK)
        parser->rc = ap_fail(parser->err, rc, "%s", err.text);
    return rc == AP_OK;
}
