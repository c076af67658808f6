#include "promql/parser.h"

#include <stdlib.h>
#include <string.h>

#include "promql/parsing.h"

typedef struct promql_expr expr_t;

static expr_t *parse_expr(struct parser *parser, int precedence);

/* ---- Calls and aggregations ---- */

static bool parse_arguments(struct parser *parser, expr_t ***ret_arguments, size_t *ret_count)
{
    if (!parser_want(parser, TOKEN_LEFT_PAREN, NULL, NULL))
        return false;
    while (!parser_take(parser, TOKEN_RIGHT_PAREN)) {
        expr_t *argument = parse_expr(parser, PRECEDENCE_OR);
        if (!argument)
            return false;
        *ret_arguments = parser_grow(parser, *ret_arguments, *ret_count, sizeof(expr_t *));
        (*ret_arguments)[(*ret_count)++] = argument;
        uint32_t comma = parser->token.start;
        bool has_comma = parser_take(parser, TOKEN_COMMA);
        if (!has_comma && !parser_is_next(parser, TOKEN_RIGHT_PAREN)) {
            parser_fail_unexpected(parser, NULL, NULL);
            return false;
        }
        if (has_comma && parser_is_next(parser, TOKEN_RIGHT_PAREN)) {
            parser_fail(parser, comma, "trailing commas not allowed in function call args");
            return false;
        }
    }
    return true;
}

static bool parse_labels(struct parser *parser, struct promql_labels *labels)
{
    static const char where[] = "grouping opts";
    if (!parser_want(parser, TOKEN_LEFT_PAREN, where, "\"(\""))
        return false;
    while (!parser_take(parser, TOKEN_RIGHT_PAREN)) {
        struct promql_token token = parser->token;
        if (!parser_take(parser, TOKEN_TEXT) && !parser_want(parser, TOKEN_WORD, where, "label"))
            return false;
        if (token.text.bytes == 0 || ap_utf8_valid_bytes(token.text) != token.text.bytes) {
            AP_AUTO_BUF struct ap_buf name = {0};
            promql_print_quoted(token.text, &name);
            parser_fail(parser, token.start, "invalid label name for grouping: %.*s", (int)name.bytes, name.data);
            return false;
        }
        labels->items = parser_grow(parser, labels->items, labels->count, sizeof(*labels->items));
        labels->items[labels->count++] = token.text;
        if (!parser_is_next(parser, TOKEN_RIGHT_PAREN) && !parser_take(parser, TOKEN_COMMA)) {
            parser_fail_unexpected(parser, where, "\",\" or \")\"");
            return false;
        }
    }
    return true;
}

static bool parse_grouping(struct parser *parser, expr_t *expr, bool *ret_has_grouping)
{
    bool is_without = promql_token_is_word(&parser->token, "without");
    *ret_has_grouping = is_without || promql_token_is_word(&parser->token, "by");
    if (!*ret_has_grouping)
        return true;
    parser_advance(parser);
    expr->aggregate.is_without = is_without;
    return parse_labels(parser, &expr->aggregate.labels);
}

static expr_t *parse_aggregate(struct parser *parser, enum promql_aggregation aggregation)
{
    const struct promql_aggregation_row *row = &promql_aggregations[aggregation];
    expr_t *expr = parser_expr_new(parser, EXPR_AGGREGATE, TYPE_VECTOR, parser->token.start);
    uint32_t start = parser->token.start;
    expr->aggregate.aggregation = aggregation;
    parser_advance(parser);
    bool has_grouping;
    expr_t **arguments = NULL;
    size_t count = 0;
    parser->aggregations++;
    if (!parse_grouping(parser, expr, &has_grouping) || !parse_arguments(parser, &arguments, &count))
        return NULL;
    parser->aggregations--;
    if (!has_grouping && !parse_grouping(parser, expr, &has_grouping))
        return NULL;
    expr->end = parser->end;
    size_t wanted = row->parameter == TYPE_NONE ? 1 : 2;
    if (count == 0)
        parser_fail(parser, start, "no arguments for aggregate expression provided");
    else if (count != wanted)
        parser_fail(parser, start, "wrong number of arguments for aggregate expression provided, expected %zu, got %zu",
                    wanted, count);
    else if (row->is_experimental && !parser->is_experimental)
        parser_fail(parser, start,
                    "%s() is experimental and must be enabled with --enable-feature=promql-experimental-functions "
                    "(promql.experimental)",
                    row->name);
    if (parser->rc != AP_OK)
        return NULL;
    expr->aggregate.parameter = wanted == 2 ? arguments[0] : NULL;
    expr->aggregate.of = arguments[wanted - 1];
    return expr;
}

static expr_t *parse_call(struct parser *parser)
{
    struct ap_slice name = parser->token.text;
    expr_t *expr = parser_expr_new(parser, EXPR_CALL, TYPE_NONE, parser->token.start);
    parser_advance(parser);
    if (!parse_arguments(parser, &expr->call.arguments, &expr->call.count))
        return NULL;
    expr->end = parser->end;
    expr->call.function = promql_function_find(name);
    if (!expr->call.function)
        parser_fail(parser, expr->start, "unknown function with name \"%.*s\"", (int)AP_MIN(name.bytes, (size_t)200),
                    name.data);
    else if (expr->call.function->is_experimental && !parser->is_experimental)
        parser_fail(parser, expr->start, "function \"%s\" is not enabled (promql.experimental)",
                    expr->call.function->name);
    if (parser->rc != AP_OK)
        return NULL;
    expr->type = expr->call.function->returns;
    return expr;
}

/* ---- Operands ---- */

/* Words that never name a metric, and those that never name a function. */
static bool is_no_metric(const struct parser *parser)
{
    static const char *const words[] = {"on", "ignoring", "group_left", "group_right", "bool", "atan2"};
    return promql_token_is_one_of(&parser->token, words, AP_ARRAY_COUNT(words)) || parser_is_fill(parser);
}

static bool is_no_function(const struct promql_token *token)
{
    static const char *const words[] = {"and", "or", "unless", "by", "without", "offset", "anchored", "smoothed"};
    return promql_token_is_one_of(token, words, AP_ARRAY_COUNT(words)) ||
           memchr(token->text.data, ':', token->text.bytes);
}

/* Before a parenthesis, `by` or `without` these words are aggregations; elsewhere names of metrics. */
static bool find_aggregation(const struct parser *parser, enum promql_aggregation *ret_aggregation)
{
    if (!promql_aggregation_find(&parser->token, ret_aggregation))
        return false;
    struct promql_token after = parser_token_after(parser);
    return after.kind == TOKEN_LEFT_PAREN || promql_token_is_word(&after, "by") ||
           promql_token_is_word(&after, "without");
}

static expr_t *parse_word(struct parser *parser)
{
    struct promql_token token = parser->token;
    enum promql_aggregation aggregation;
    if (find_aggregation(parser, &aggregation))
        return parse_aggregate(parser, aggregation);
    if (is_no_metric(parser)) {
        parser_fail_unexpected(parser, NULL, NULL);
        return NULL;
    }
    if (!is_no_function(&token) && parser_token_after(parser).kind == TOKEN_LEFT_PAREN)
        return parse_call(parser);
    parser_advance(parser);
    return parser_selector(parser, token.start, token.text);
}

static expr_t *parse_operand(struct parser *parser)
{
    struct promql_token token = parser->token;
    expr_t *expr = NULL;
    switch (token.kind) {
    case TOKEN_NUMBER:
    case TOKEN_DURATION:
        expr = parser_number(parser);
        break;
    case TOKEN_TEXT:
        parser_advance(parser);
        expr = parser_expr_new(parser, EXPR_TEXT, TYPE_STRING, token.start);
        expr->text = token.text;
        break;
    case TOKEN_LEFT_PAREN: {
        parser_advance(parser);
        expr_t *inner = parse_expr(parser, PRECEDENCE_OR);
        if (!inner || !parser_want(parser, TOKEN_RIGHT_PAREN, NULL, NULL))
            return NULL;
        expr = parser_expr_new(parser, EXPR_PAREN, inner->type, token.start);
        expr->paren = inner;
        break;
    }
    case TOKEN_LEFT_BRACE:
        expr = parser_selector(parser, token.start, (struct ap_slice){0});
        break;
    case TOKEN_WORD:
        expr = parse_word(parser);
        break;
    default:
        parser_fail_unexpected(parser, NULL, NULL);
    }
    return parser_suffixes(parser, expr);
}

static expr_t *parse_unary(struct parser *parser)
{
    if (!parser_is_next(parser, TOKEN_ADD) && !parser_is_next(parser, TOKEN_SUB))
        return parse_operand(parser);
    uint32_t start = parser->token.start;
    bool is_minus = parser_is_next(parser, TOKEN_SUB);
    parser_advance(parser);
    expr_t *of = parse_expr(parser, PRECEDENCE_POW);
    if (!of)
        return NULL;
    if (of->kind == EXPR_NUMBER) {
        of->number.value = is_minus ? -of->number.value : of->number.value;
        of->start = start;
        return of;
    }
    expr_t *expr = parser_expr_new(parser, EXPR_UNARY, of->type, start);
    expr->unary.is_minus = is_minus;
    expr->unary.of = of;
    return expr;
}

/* ---- Binary operators ---- */

/* fill(0), fill_left(1), fill_right(NaN): what stands for the side that has no series to match. */
static bool parse_fill(struct parser *parser, struct promql_matching *matching)
{
    bool is_left = promql_token_is_word(&parser->token, "fill_left");
    bool is_right = promql_token_is_word(&parser->token, "fill_right");
    uint32_t at = parser->token.start;
    parser_advance(parser);
    if (!parser->is_experimental) {
        parser_fail(parser, at, "binop fill modifiers are experimental and not enabled (promql.experimental)");
        return false;
    }
    if (!parser_want(parser, TOKEN_LEFT_PAREN, NULL, NULL))
        return false;
    bool is_minus = parser_is_next(parser, TOKEN_SUB);
    if (is_minus || parser_is_next(parser, TOKEN_ADD))
        parser_advance(parser);
    if (!parser_is_next(parser, TOKEN_NUMBER) && !parser_is_next(parser, TOKEN_DURATION)) {
        parser_fail_unexpected(parser, NULL, NULL);
        return false;
    }
    double value = parser_number(parser)->number.value;
    for (unsigned side = 0; side < 2; side++) {
        if (side == 0 ? is_right : is_left)
            continue;
        matching->has_fill[side] = true;
        matching->fill[side] = is_minus ? -value : value;
    }
    return parser_want(parser, TOKEN_RIGHT_PAREN, NULL, NULL);
}

static bool parse_modifiers(struct parser *parser, expr_t *expr)
{
    struct promql_matching *matching = &expr->binary.matching;
    if (promql_token_is_word(&parser->token, "bool")) {
        parser_advance(parser);
        expr->binary.returns_bool = true;
    }
    bool is_on = promql_token_is_word(&parser->token, "on");
    if (is_on || promql_token_is_word(&parser->token, "ignoring")) {
        parser_advance(parser);
        matching->is_on = is_on;
        matching->has_labels = true;
        if (!parse_labels(parser, &matching->labels))
            return false;
        bool is_left = promql_token_is_word(&parser->token, "group_left");
        if (is_left || promql_token_is_word(&parser->token, "group_right")) {
            parser_advance(parser);
            matching->cardinality = is_left ? MANY_TO_ONE : ONE_TO_MANY;
            if (parser_is_next(parser, TOKEN_LEFT_PAREN) && !parse_labels(parser, &matching->include))
                return false;
        }
    }
    while (parser_is_fill(parser))
        if (!parse_fill(parser, matching))
            return false;
    return true;
}

static expr_t *parse_binary(struct parser *parser, int precedence)
{
    expr_t *left = parse_unary(parser);
    for (;;) {
        const struct promql_operator_row *row = left ? promql_operator_find(&parser->token) : NULL;
        if (!row || row->precedence < precedence)
            return left;
        if (++parser->operators > PROMQL_OPERATORS_MAX) {
            parser->rc = ap_fail(parser->err, AP_E_LIMIT, "the query has more than %d operators", PROMQL_OPERATORS_MAX);
            return NULL;
        }
        expr_t *expr = parser_expr_new(parser, EXPR_BINARY, TYPE_NONE, left->start);
        expr->binary.operator=(enum promql_operator)(row - promql_operators);
        expr->binary.operator_start = parser->token.start;
        expr->binary.left = left;
        parser_advance(parser);
        if (!parse_modifiers(parser, expr))
            return NULL;
        /* The power operator alone binds to the right. */
        expr->binary.right = parse_expr(parser, row->precedence + (row->token != TOKEN_POW));
        if (!expr->binary.right)
            return NULL;
        expr->end = parser->end;
        bool is_scalar = left->type == TYPE_SCALAR && expr->binary.right->type == TYPE_SCALAR;
        expr->type = is_scalar ? TYPE_SCALAR : TYPE_VECTOR;
        if (expr->binary.operator>= OPERATOR_AND && expr->binary.matching.cardinality == ONE_TO_ONE)
            expr->binary.matching.cardinality = MANY_TO_MANY;
        left = expr;
    }
}

static expr_t *parse_expr(struct parser *parser, int precedence)
{
    expr_t *expr = parser_enter(parser) ? parse_binary(parser, precedence) : NULL;
    parser_leave(parser);
    return expr;
}

/* ---- All of it ---- */

enum ap_rc promql_parse(struct ap_slice text, bool is_experimental, struct promql_query *ret_query, struct ap_err *err)
{
    *ret_query = (struct promql_query){0};
    if (text.bytes > PROMQL_QUERY_BYTES_MAX)
        return ap_fail(err, AP_E_LIMIT, "the query has %zu bytes; at most %d are taken", text.bytes,
                       PROMQL_QUERY_BYTES_MAX);
    ap_arena_init(&ret_query->arena, 0);
    struct parser parser = {.query = ret_query, .is_experimental = is_experimental, .err = err};
    promql_lexer_init(&parser.lexer, text, &ret_query->arena);
    parser_advance(&parser);
    if (parser_is_next(&parser, TOKEN_END))
        parser_fail(&parser, 0, "no expression found in input");
    else
        ret_query->expr = parse_expr(&parser, PRECEDENCE_OR);
    if (ret_query->expr && !parser_is_next(&parser, TOKEN_END))
        parser_fail_unexpected(&parser, NULL, NULL);
    if (parser.rc == AP_OK && ret_query->expr)
        promql_check(&parser, ret_query->expr);
    if (parser.rc != AP_OK)
        promql_query_clear(ret_query);
    return parser.rc;
}

void promql_query_clear(struct promql_query *query)
{
    for (size_t i = 0; i < query->matchers_count; i++) {
        matchers_clear(query->matchers[i]);
        free(query->matchers[i]);
    }
    free(query->matchers);
    ap_arena_clear(&query->arena);
    *query = (struct promql_query){0};
}
