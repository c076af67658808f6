#include "promql/parser.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "promql/lexer.h"
#include "tsdb/labels.h"

struct parser {
    struct promql_query *query;
    struct promql_lexer lexer;
    struct promql_token token; /* the next one, not taken yet */
    uint32_t end;              /* of the one taken last */
    unsigned brackets;         /* open ones: a colon in them separates */
    unsigned depth;
    unsigned operators;
    bool is_experimental;
    enum ap_rc rc;
    struct ap_err *err; /* of the first error */
};

typedef struct promql_expr expr_t;

/* ---- Errors ---- */

static void fail_at(struct parser *parser, uint32_t at, const char *format, ...) ap_printf(3, 4);
static void fail_at(struct parser *parser, uint32_t at, const char *format, ...)
{
    if (parser->rc != AP_OK)
        return;
    uint32_t line = 1;
    uint32_t line_start = 0;
    for (uint32_t i = 0; i < at && i < parser->lexer.query.bytes; i++) {
        if (parser->lexer.query.data[i] == '\n') {
            line++;
            line_start = i + 1;
        }
    }
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    parser->rc = ap_fail(parser->err, AP_E_PARSE, "%u:%u: parse error: %s", line, at - line_start + 1, text);
}

static void fail_unexpected(struct parser *parser, const char *where, const char *wanted)
{
    const struct promql_token *token = &parser->token;
    if (token->kind == TOKEN_ERROR) {
        fail_at(parser, parser->lexer.error_at, "%s", parser->lexer.error);
        return;
    }
    bool is_sign = token->kind == TOKEN_END || token->kind >= TOKEN_LEFT_PAREN;
    fail_at(parser, token->start, "unexpected %s%s%.*s%s in %s, expected %s", promql_token_name(token->kind),
            is_sign ? "" : " \"", is_sign ? 0 : (int)AP_MIN(token->text.bytes, (size_t)60), token->text.data,
            is_sign ? "" : "\"", where, wanted);
}

/* ---- Tokens ---- */

static void advance(struct parser *parser)
{
    parser->end = parser->token.end;
    parser->token = promql_lexer_next(&parser->lexer, parser->brackets > 0);
}

static bool is_next(const struct parser *parser, enum promql_token_kind kind)
{
    return parser->token.kind == kind;
}

static bool take(struct parser *parser, enum promql_token_kind kind)
{
    if (!is_next(parser, kind))
        return false;
    advance(parser);
    return true;
}

static bool want(struct parser *parser, enum promql_token_kind kind, const char *where)
{
    if (take(parser, kind))
        return true;
    fail_unexpected(parser, where, promql_token_name(kind));
    return false;
}

static bool is_word(const struct promql_token *token, const char *word)
{
    return token->kind == TOKEN_WORD && ap_slice_equal_nocase(token->text, word);
}

/* Words are keywords only where they make sense; so one look further ahead is needed here and there. */
static struct promql_token token_after(const struct parser *parser)
{
    struct promql_lexer ahead = parser->lexer;
    return promql_lexer_next(&ahead, parser->brackets > 0);
}

static bool enter(struct parser *parser)
{
    if (++parser->depth <= PROMQL_DEPTH_MAX)
        return true;
    if (parser->rc == AP_OK)
        parser->rc = ap_fail(parser->err, AP_E_LIMIT, "the query is nested deeper than %d levels", PROMQL_DEPTH_MAX);
    return false;
}

static void leave(struct parser *parser)
{
    parser->depth--;
}

static void *alloc(struct parser *parser, size_t bytes)
{
    return ap_arena_alloc0(&parser->query->arena, bytes);
}

static expr_t *expr_new(struct parser *parser, enum promql_expr_kind kind, enum promql_type type, uint32_t start)
{
    expr_t *expr = alloc(parser, sizeof(*expr));
    *expr = (expr_t){.kind = kind, .type = type, .start = start, .end = parser->end};
    return expr;
}

/* Arrays that grow in the arena: doubled when full. */
static void *grow(struct parser *parser, void *items, size_t count, size_t item_bytes)
{
    if (count & (count - 1)) /* room is always a power of two */
        return items;
    void *larger = alloc(parser, (count ? count * 2 : 1) * item_bytes);
    if (count)
        memcpy(larger, items, count * item_bytes);
    return larger;
}

static expr_t *parse_expr(struct parser *parser, int precedence);

/* ---- Names of operators and aggregations ---- */

enum {
    PRECEDENCE_OR = 1,
    PRECEDENCE_AND,
    PRECEDENCE_COMPARISON,
    PRECEDENCE_ADD,
    PRECEDENCE_MUL,
    PRECEDENCE_POW,
};

static const struct operator_row {
    const char *name;
    enum promql_token_kind token; /* TOKEN_WORD: by its name */
    int precedence;
} operators[] = {
    [OPERATOR_POW] = {"^", TOKEN_POW, PRECEDENCE_POW},
    [OPERATOR_MUL] = {"*", TOKEN_MUL, PRECEDENCE_MUL},
    [OPERATOR_DIV] = {"/", TOKEN_DIV, PRECEDENCE_MUL},
    [OPERATOR_MOD] = {"%", TOKEN_MOD, PRECEDENCE_MUL},
    [OPERATOR_ATAN2] = {"atan2", TOKEN_WORD, PRECEDENCE_MUL},
    [OPERATOR_ADD] = {"+", TOKEN_ADD, PRECEDENCE_ADD},
    [OPERATOR_SUB] = {"-", TOKEN_SUB, PRECEDENCE_ADD},
    [OPERATOR_EQUAL] = {"==", TOKEN_EQUAL_EQUAL, PRECEDENCE_COMPARISON},
    [OPERATOR_NOT_EQUAL] = {"!=", TOKEN_NOT_EQUAL, PRECEDENCE_COMPARISON},
    [OPERATOR_LESS] = {"<", TOKEN_LESS, PRECEDENCE_COMPARISON},
    [OPERATOR_LESS_EQUAL] = {"<=", TOKEN_LESS_EQUAL, PRECEDENCE_COMPARISON},
    [OPERATOR_GREATER] = {">", TOKEN_GREATER, PRECEDENCE_COMPARISON},
    [OPERATOR_GREATER_EQUAL] = {">=", TOKEN_GREATER_EQUAL, PRECEDENCE_COMPARISON},
    [OPERATOR_TRIM_UPPER] = {"</", TOKEN_TRIM_UPPER, PRECEDENCE_COMPARISON},
    [OPERATOR_TRIM_LOWER] = {">/", TOKEN_TRIM_LOWER, PRECEDENCE_COMPARISON},
    [OPERATOR_AND] = {"and", TOKEN_WORD, PRECEDENCE_AND},
    [OPERATOR_UNLESS] = {"unless", TOKEN_WORD, PRECEDENCE_AND},
    [OPERATOR_OR] = {"or", TOKEN_WORD, PRECEDENCE_OR},
};

const char *promql_operator_name(enum promql_operator operator)
{
    return operators[operator].name;
}

static const struct operator_row *find_operator(const struct promql_token *token)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(operators); i++)
        if (token->kind == operators[i].token && (token->kind != TOKEN_WORD || is_word(token, operators[i].name)))
            return &operators[i];
    return NULL;
}

static const struct aggregation_row {
    const char *name;
    enum promql_type parameter;
    bool is_experimental;
} aggregations[] = {
    [AGGREGATE_SUM] = {"sum", TYPE_NONE, false},
    [AGGREGATE_AVG] = {"avg", TYPE_NONE, false},
    [AGGREGATE_COUNT] = {"count", TYPE_NONE, false},
    [AGGREGATE_MIN] = {"min", TYPE_NONE, false},
    [AGGREGATE_MAX] = {"max", TYPE_NONE, false},
    [AGGREGATE_GROUP] = {"group", TYPE_NONE, false},
    [AGGREGATE_STDDEV] = {"stddev", TYPE_NONE, false},
    [AGGREGATE_STDVAR] = {"stdvar", TYPE_NONE, false},
    [AGGREGATE_TOPK] = {"topk", TYPE_SCALAR, false},
    [AGGREGATE_BOTTOMK] = {"bottomk", TYPE_SCALAR, false},
    [AGGREGATE_COUNT_VALUES] = {"count_values", TYPE_STRING, false},
    [AGGREGATE_QUANTILE] = {"quantile", TYPE_SCALAR, false},
    [AGGREGATE_LIMITK] = {"limitk", TYPE_SCALAR, true},
    [AGGREGATE_LIMIT_RATIO] = {"limit_ratio", TYPE_SCALAR, true},
};

const char *promql_aggregation_name(enum promql_aggregation aggregation)
{
    return aggregations[aggregation].name;
}

/* Before a parenthesis, `by` or `without` these words are aggregations; elsewhere names of metrics. */
static bool find_aggregation(const struct parser *parser, enum promql_aggregation *ret_aggregation)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(aggregations); i++) {
        if (!is_word(&parser->token, aggregations[i].name))
            continue;
        struct promql_token after = token_after(parser);
        *ret_aggregation = (enum promql_aggregation)i;
        return after.kind == TOKEN_LEFT_PAREN || is_word(&after, "by") || is_word(&after, "without");
    }
    return false;
}

/* ---- Durations ---- */

static expr_t *parse_duration_expr(struct parser *parser, int precedence);

static expr_t *parse_duration_call(struct parser *parser)
{
    static const char where[] = "duration";
    uint32_t start = parser->token.start;
    /* min and max are aggregations elsewhere, and take one vector. */
    static const struct promql_function functions[] = {
        {"min", TYPE_SCALAR, {TYPE_SCALAR, TYPE_SCALAR}, 0, true},
        {"max", TYPE_SCALAR, {TYPE_SCALAR, TYPE_SCALAR}, 0, true},
        {"step", TYPE_SCALAR, {TYPE_NONE}, 0, true},
        {"range", TYPE_SCALAR, {TYPE_NONE}, 0, true},
    };
    size_t which = 0;
    while (which < AP_ARRAY_COUNT(functions) && !is_word(&parser->token, functions[which].name))
        which++;
    if (which == AP_ARRAY_COUNT(functions)) {
        fail_unexpected(parser, where, "number, duration, step(), range(), min() or max()");
        return NULL;
    }
    bool is_pair = promql_function_arguments(&functions[which]) == 2;
    expr_t *call = expr_new(parser, EXPR_CALL, TYPE_SCALAR, start);
    call->call.function = &functions[which];
    advance(parser);
    if (!want(parser, TOKEN_LEFT_PAREN, where))
        return NULL;
    if (is_pair) {
        call->call.arguments = alloc(parser, 2 * sizeof(expr_t *));
        call->call.count = 2;
        for (size_t i = 0; i < 2; i++) {
            if (i == 1 && !want(parser, TOKEN_COMMA, where))
                return NULL;
            call->call.arguments[i] = parse_duration_expr(parser, PRECEDENCE_ADD);
            if (!call->call.arguments[i])
                return NULL;
        }
    }
    if (!want(parser, TOKEN_RIGHT_PAREN, where))
        return NULL;
    call->end = parser->end;
    return call;
}

static expr_t *parse_duration_atom(struct parser *parser)
{
    uint32_t start = parser->token.start;
    struct promql_token token = parser->token;
    if (take(parser, TOKEN_NUMBER) || take(parser, TOKEN_DURATION)) {
        expr_t *expr = expr_new(parser, EXPR_NUMBER, TYPE_SCALAR, start);
        expr->number.is_duration = token.kind == TOKEN_DURATION;
        expr->number.value = expr->number.is_duration ? token.number / 1000 : token.number;
        return expr;
    }
    if (is_next(parser, TOKEN_ADD) || is_next(parser, TOKEN_SUB)) {
        bool is_minus = is_next(parser, TOKEN_SUB);
        advance(parser);
        expr_t *of = enter(parser) ? parse_duration_atom(parser) : NULL;
        leave(parser);
        if (!of)
            return NULL;
        expr_t *expr = expr_new(parser, EXPR_UNARY, TYPE_SCALAR, start);
        expr->unary.is_minus = is_minus;
        expr->unary.of = of;
        return expr;
    }
    if (!take(parser, TOKEN_LEFT_PAREN))
        return parse_duration_call(parser);
    expr_t *inner = enter(parser) ? parse_duration_expr(parser, PRECEDENCE_ADD) : NULL;
    leave(parser);
    if (!inner || !want(parser, TOKEN_RIGHT_PAREN, "duration"))
        return NULL;
    expr_t *expr = expr_new(parser, EXPR_PAREN, TYPE_SCALAR, start);
    expr->paren = inner;
    return expr;
}

static expr_t *parse_duration_expr(struct parser *parser, int precedence)
{
    expr_t *left = parse_duration_atom(parser);
    for (;;) {
        const struct operator_row *row = left ? find_operator(&parser->token) : NULL;
        if (!row || row->token == TOKEN_WORD || row->precedence < AP_MAX(precedence, (int)PRECEDENCE_ADD))
            return left;
        advance(parser);
        expr_t *right = enter(parser) ? parse_duration_expr(parser, row->precedence + (row->token != TOKEN_POW)) : NULL;
        leave(parser);
        if (!right)
            return NULL;
        expr_t *expr = expr_new(parser, EXPR_BINARY, TYPE_SCALAR, left->start);
        expr->binary.operator=(enum promql_operator)(row - operators);
        expr->binary.left = left;
        expr->binary.right = right;
        left = expr;
    }
}

/* Seconds; false: it takes step() or range(), which nobody knows before the query runs. */
static bool constant_of(const expr_t *expr, double *ret_s)
{
    double left;
    double right;
    switch (expr->kind) {
    case EXPR_NUMBER:
        *ret_s = expr->number.value;
        return true;
    case EXPR_PAREN:
        return constant_of(expr->paren, ret_s);
    case EXPR_UNARY:
        if (!constant_of(expr->unary.of, ret_s))
            return false;
        *ret_s = expr->unary.is_minus ? -*ret_s : *ret_s;
        return true;
    case EXPR_CALL:
        if (expr->call.count != 2 || !constant_of(expr->call.arguments[0], &left) ||
            !constant_of(expr->call.arguments[1], &right))
            return false;
        *ret_s = expr->call.function->name[1] == 'a' ? fmax(left, right) : fmin(left, right);
        return true;
    default:
        if (!constant_of(expr->binary.left, &left) || !constant_of(expr->binary.right, &right))
            return false;
        switch (expr->binary.operator) {
        case OPERATOR_ADD:
            *ret_s = left + right;
            return true;
        case OPERATOR_SUB:
            *ret_s = left - right;
            return true;
        case OPERATOR_MUL:
            *ret_s = left * right;
            return true;
        case OPERATOR_DIV:
            *ret_s = left / right;
            return true;
        case OPERATOR_MOD:
            *ret_s = fmod(left, right);
            return true;
        default:
            *ret_s = pow(left, right);
            return true;
        }
    }
}

/* Ranges and steps are positive, offsets may be anything. */
static bool finish_duration(struct parser *parser, const expr_t *expr, bool is_positive, struct promql_duration *ret)
{
    double seconds;
    if (!expr)
        return false;
    *ret = (struct promql_duration){.expr = expr};
    if (!constant_of(expr, &seconds))
        return true;
    double ms = seconds * 1000;
    if (!(fabs(ms) < 9.2e18)) {
        fail_at(parser, expr->start, "duration out of range");
        return false;
    }
    if (is_positive && ms <= 0) {
        fail_at(parser, expr->start, "duration must be greater than 0");
        return false;
    }
    *ret = (struct promql_duration){.ms = (int64_t)round(ms), .expr = expr->kind == EXPR_NUMBER ? NULL : expr};
    return true;
}

/* ---- Selectors ---- */

static bool set_name(struct parser *parser, struct promql_selector *selector, const struct promql_token *token)
{
    if (selector->name.data) {
        fail_at(parser, token->start, "metric name must not be set twice: \"%.*s\" or \"%.*s\"",
                AP_SLICE_ARG(selector->name), AP_SLICE_ARG(token->text));
        return false;
    }
    selector->name = token->text;
    selector->is_name_quoted = true;
    return true;
}

/* One of: "a metric"  name="value"  "name"=~"value" */
static bool parse_matcher(struct parser *parser, struct promql_selector *selector)
{
    static const char where[] = "label matching";
    static const struct {
        enum promql_token_kind token;
        enum matcher_kind kind;
    } kinds[] = {
        {TOKEN_EQUAL, MATCHER_EQUAL},
        {TOKEN_NOT_EQUAL, MATCHER_NOT_EQUAL},
        {TOKEN_MATCH, MATCHER_REGEX},
        {TOKEN_NOT_MATCH, MATCHER_NOT_REGEX},
    };
    struct promql_token name = parser->token;
    bool is_text = take(parser, TOKEN_TEXT);
    if (!is_text && !want(parser, TOKEN_WORD, where))
        return false;
    if (is_text && (is_next(parser, TOKEN_COMMA) || is_next(parser, TOKEN_RIGHT_BRACE)))
        return set_name(parser, selector, &name);
    if (!is_text && memchr(name.text.data, ':', name.text.bytes)) {
        fail_at(parser, name.start, "unexpected character in label name: ':'");
        return false;
    }
    for (size_t i = 0; i < AP_ARRAY_COUNT(kinds); i++) {
        if (!take(parser, kinds[i].token))
            continue;
        struct promql_token value = parser->token;
        if (!want(parser, TOKEN_TEXT, where))
            return false;
        selector->items = grow(parser, selector->items, selector->item_count, sizeof(*selector->items));
        selector->items[selector->item_count++] = (struct promql_matcher){name.text, kinds[i].kind, value.text};
        return true;
    }
    fail_unexpected(parser, where, "label matching operator");
    return false;
}

static enum ap_rc matchers_add(struct matchers *matchers, struct ap_slice name, enum matcher_kind kind,
                               struct ap_slice value, struct ap_err *err)
{
    if (matchers->count == MATCHERS_MAX)
        return ap_fail(err, AP_E_LIMIT, "a selector may have at most %d matchers", MATCHERS_MAX);
    enum ap_rc rc = matcher_new(kind, name, value, &matchers->items[matchers->count], err);
    matchers->count += rc == AP_OK;
    return rc;
}

static bool compile(struct parser *parser, expr_t *expr)
{
    struct promql_selector *selector = &expr->selector;
    struct promql_query *query = parser->query;
    struct matchers *matchers = ap_new0(struct matchers);
    query->matchers = ap_realloc(query->matchers, (query->matchers_count + 1) * sizeof(*query->matchers));
    query->matchers[query->matchers_count++] = matchers;
    selector->matchers = matchers;
    struct ap_err err;
    enum ap_rc rc = AP_OK;
    if (selector->name.data)
        rc = matchers_add(matchers, ap_slice_cstr(LABEL_METRIC_NAME), MATCHER_EQUAL, selector->name, &err);
    for (size_t i = 0; i < selector->item_count && rc == AP_OK; i++)
        rc = matchers_add(matchers, selector->items[i].name, selector->items[i].kind, selector->items[i].value, &err);
    if (rc == AP_OK)
        return true;
    fail_at(parser, expr->start, "%s", err.text);
    return false;
}

/* The name may have been taken already. */
static expr_t *parse_selector(struct parser *parser, uint32_t start, struct ap_slice name)
{
    static const char where[] = "label matching";
    expr_t *expr = expr_new(parser, EXPR_SELECTOR, TYPE_VECTOR, start);
    expr->selector.name = name;
    if (take(parser, TOKEN_LEFT_BRACE)) {
        while (!take(parser, TOKEN_RIGHT_BRACE)) {
            if (!parse_matcher(parser, &expr->selector))
                return NULL;
            if (!is_next(parser, TOKEN_RIGHT_BRACE) && !take(parser, TOKEN_COMMA)) {
                fail_unexpected(parser, where, "\",\" or \"}\"");
                return NULL;
            }
        }
    }
    expr->end = parser->end;
    for (size_t i = 0; name.data && i < expr->selector.item_count; i++) {
        if (!ap_slice_equal_cstr(expr->selector.items[i].name, LABEL_METRIC_NAME))
            continue;
        fail_at(parser, start, "metric name must not be set twice: \"%.*s\" or \"%.*s\"", AP_SLICE_ARG(name),
                AP_SLICE_ARG(expr->selector.items[i].value));
        return NULL;
    }
    return compile(parser, expr) ? expr : NULL;
}

/* A selector that everything matches is a mistake; only info() may have one. */
static bool check_selector(struct parser *parser, const expr_t *expr)
{
    const struct matchers *matchers = expr->selector.matchers;
    for (size_t i = 0; i < matchers->count; i++)
        if (!matcher_matches_empty(matchers->items[i]))
            return true;
    fail_at(parser, expr->start, "vector selector must contain at least one non-empty matcher");
    return false;
}

/* ---- Behind an expression: [5m] [1h:1m] offset 5m @ 1600000000 ---- */

static expr_t *parse_brackets(struct parser *parser, expr_t *of)
{
    uint32_t at = parser->token.start;
    struct promql_duration range;
    parser->brackets++;
    advance(parser);
    if (!finish_duration(parser, parse_duration_expr(parser, PRECEDENCE_ADD), true, &range))
        return NULL;
    bool is_subquery = take(parser, TOKEN_COLON);
    struct promql_duration step = {0};
    bool has_step = is_subquery && !is_next(parser, TOKEN_RIGHT_BRACKET);
    if (has_step && !finish_duration(parser, parse_duration_expr(parser, PRECEDENCE_ADD), true, &step))
        return NULL;
    if (!is_next(parser, TOKEN_RIGHT_BRACKET)) {
        fail_unexpected(parser, "subquery or range", is_subquery ? "\"]\"" : "\":\" or \"]\"");
        return NULL;
    }
    parser->brackets--; /* before the token behind it is read */
    advance(parser);
    if (is_subquery) {
        if (of->type != TYPE_VECTOR) {
            fail_at(parser, of->start, "subquery is only allowed on instant vector, got %s instead",
                    promql_type_name(of->type));
            return NULL;
        }
        expr_t *expr = expr_new(parser, EXPR_SUBQUERY, TYPE_MATRIX, of->start);
        expr->subquery.of = of;
        expr->subquery.range = range;
        expr->subquery.step = step;
        expr->subquery.has_step = has_step;
        return expr;
    }
    if (of->kind != EXPR_SELECTOR) {
        fail_at(parser, at, "ranges only allowed for vector selectors");
        return NULL;
    }
    if (of->selector.when.has_offset || of->selector.when.at != AT_NONE) {
        fail_at(parser, at, "no %s modifiers allowed before range", of->selector.when.has_offset ? "offset" : "@");
        return NULL;
    }
    expr_t *expr = expr_new(parser, EXPR_RANGE, TYPE_MATRIX, of->start);
    expr->range.selector = of;
    expr->range.range = range;
    return expr;
}

static struct promql_when *when_of(expr_t *expr)
{
    if (expr->kind == EXPR_SELECTOR)
        return &expr->selector.when;
    if (expr->kind == EXPR_RANGE)
        return &expr->range.selector->selector.when;
    return expr->kind == EXPR_SUBQUERY ? &expr->subquery.when : NULL;
}

static bool parse_offset(struct parser *parser, expr_t *expr)
{
    struct promql_when *when = when_of(expr);
    uint32_t at = parser->token.start;
    advance(parser);
    if (!when)
        fail_at(
            parser, at,
            "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery");
    else if (when->has_offset)
        fail_at(parser, at, "offset may not be set multiple times");
    if (parser->rc != AP_OK || !finish_duration(parser, parse_duration_atom(parser), false, &when->offset))
        return false;
    when->has_offset = true;
    expr->end = parser->end;
    return true;
}

static bool parse_at(struct parser *parser, expr_t *expr)
{
    static const char where[] = "@ modifier";
    struct promql_when *when = when_of(expr);
    uint32_t at = parser->token.start;
    advance(parser);
    if (!when)
        fail_at(parser, at,
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery");
    else if (when->at != AT_NONE)
        fail_at(parser, at, "@ <timestamp> may not be set multiple times");
    if (parser->rc != AP_OK)
        return false;
    if (is_word(&parser->token, "start") || is_word(&parser->token, "end")) {
        when->at = is_word(&parser->token, "start") ? AT_START : AT_END;
        advance(parser);
        if (!want(parser, TOKEN_LEFT_PAREN, where) || !want(parser, TOKEN_RIGHT_PAREN, where))
            return false;
    } else {
        bool is_minus = is_next(parser, TOKEN_SUB);
        if (is_minus || is_next(parser, TOKEN_ADD))
            advance(parser);
        struct promql_token token = parser->token;
        if (!take(parser, TOKEN_DURATION) && !want(parser, TOKEN_NUMBER, where))
            return false;
        double ms = (token.kind == TOKEN_DURATION ? token.number : token.number * 1000) * (is_minus ? -1 : 1);
        if (!(fabs(ms) < 9.2e18)) {
            fail_at(parser, token.start, "timestamp out of bounds for @ modifier: %f", ms / 1000);
            return false;
        }
        when->at = AT_TIME;
        when->at_ms = (int64_t)round(ms);
    }
    expr->end = parser->end;
    return true;
}

static expr_t *parse_suffixes(struct parser *parser, expr_t *expr)
{
    while (expr && parser->rc == AP_OK) {
        if (is_next(parser, TOKEN_LEFT_BRACKET)) {
            expr = parse_brackets(parser, expr);
        } else if (is_word(&parser->token, "offset")) {
            if (!parse_offset(parser, expr))
                return NULL;
        } else if (is_next(parser, TOKEN_AT)) {
            if (!parse_at(parser, expr))
                return NULL;
        } else {
            return expr;
        }
    }
    return NULL;
}

/* ---- Calls and aggregations ---- */

static bool parse_arguments(struct parser *parser, const char *where, expr_t ***ret_arguments, size_t *ret_count)
{
    if (!want(parser, TOKEN_LEFT_PAREN, where))
        return false;
    unsigned brackets = parser->brackets;
    parser->brackets = 0;
    while (!take(parser, TOKEN_RIGHT_PAREN)) {
        expr_t *argument = parse_expr(parser, PRECEDENCE_OR);
        if (!argument)
            return false;
        *ret_arguments = grow(parser, *ret_arguments, *ret_count, sizeof(expr_t *));
        (*ret_arguments)[(*ret_count)++] = argument;
        bool has_comma = take(parser, TOKEN_COMMA);
        if (!has_comma && !is_next(parser, TOKEN_RIGHT_PAREN)) {
            fail_unexpected(parser, where, "\",\" or \")\"");
            return false;
        }
        if (has_comma && is_next(parser, TOKEN_RIGHT_PAREN)) {
            fail_at(parser, parser->token.start, "trailing commas not allowed in function call args");
            return false;
        }
    }
    parser->brackets = brackets;
    return true;
}

static bool parse_labels(struct parser *parser, struct promql_labels *labels)
{
    static const char where[] = "grouping opts";
    if (!want(parser, TOKEN_LEFT_PAREN, where))
        return false;
    while (!take(parser, TOKEN_RIGHT_PAREN)) {
        struct promql_token token = parser->token;
        if (!take(parser, TOKEN_TEXT) && !take(parser, TOKEN_WORD)) {
            fail_unexpected(parser, where, "label");
            return false;
        }
        if (token.text.bytes == 0 || (token.kind == TOKEN_WORD && memchr(token.text.data, ':', token.text.bytes))) {
            fail_at(parser, token.start, "invalid label name for grouping: \"%.*s\"", AP_SLICE_ARG(token.text));
            return false;
        }
        labels->items = grow(parser, labels->items, labels->count, sizeof(*labels->items));
        labels->items[labels->count++] = token.text;
        if (!is_next(parser, TOKEN_RIGHT_PAREN) && !take(parser, TOKEN_COMMA)) {
            fail_unexpected(parser, where, "\",\" or \")\"");
            return false;
        }
    }
    return true;
}

static bool parse_grouping(struct parser *parser, expr_t *expr, bool *ret_has_grouping)
{
    bool is_without = is_word(&parser->token, "without");
    *ret_has_grouping = is_without || is_word(&parser->token, "by");
    if (!*ret_has_grouping)
        return true;
    advance(parser);
    expr->aggregate.is_without = is_without;
    return parse_labels(parser, &expr->aggregate.labels);
}

static bool check_type(struct parser *parser, const expr_t *expr, enum promql_type wanted, const char *where)
{
    if (expr->type == wanted)
        return true;
    fail_at(parser, expr->start, "expected type %s in %s, got %s", promql_type_name(wanted), where,
            promql_type_name(expr->type));
    return false;
}

static expr_t *parse_aggregate(struct parser *parser, enum promql_aggregation aggregation)
{
    const struct aggregation_row *row = &aggregations[aggregation];
    expr_t *expr = expr_new(parser, EXPR_AGGREGATE, TYPE_VECTOR, parser->token.start);
    uint32_t start = parser->token.start;
    expr->aggregate.aggregation = aggregation;
    advance(parser);
    if (row->is_experimental && !parser->is_experimental) {
        fail_at(parser, start, "%s() is experimental and must be enabled with promql.experimental", row->name);
        return NULL;
    }
    bool has_grouping;
    expr_t **arguments = NULL;
    size_t count = 0;
    if (!parse_grouping(parser, expr, &has_grouping) || !parse_arguments(parser, "aggregation", &arguments, &count) ||
        (!has_grouping && !parse_grouping(parser, expr, &has_grouping)))
        return NULL;
    expr->end = parser->end;
    size_t wanted = row->parameter == TYPE_NONE ? 1 : 2;
    if (count == 0) {
        fail_at(parser, start, "no arguments for aggregate expression provided");
        return NULL;
    }
    if (count != wanted) {
        fail_at(parser, start, "wrong number of arguments for aggregate expression provided, expected %zu, got %zu",
                wanted, count);
        return NULL;
    }
    expr->aggregate.parameter = wanted == 2 ? arguments[0] : NULL;
    expr->aggregate.of = arguments[wanted - 1];
    if (!check_type(parser, expr->aggregate.of, TYPE_VECTOR, "aggregation expression") ||
        (wanted == 2 && !check_type(parser, arguments[0], row->parameter, "aggregation parameter")))
        return NULL;
    return expr;
}

/* info()'s second argument says which labels to take over; it is no selection of its own. */
static bool check_info(struct parser *parser, const expr_t *expr)
{
    if (expr->call.count < 2)
        return true;
    const expr_t *labels = expr->call.arguments[1];
    if (labels->kind == EXPR_SELECTOR && !labels->selector.name.data)
        return true;
    fail_at(parser, labels->start, "expected label selectors only");
    return false;
}

static bool check_call(struct parser *parser, const expr_t *expr)
{
    const struct promql_function *function = expr->call.function;
    size_t most = promql_function_arguments(function);
    size_t least = most - (size_t)(function->optional < 0 ? 1 : function->optional);
    size_t count = expr->call.count;
    if (function->optional == 0 && count != most)
        fail_at(parser, expr->start, "expected %zu argument(s) in call to \"%s\", got %zu", most, function->name,
                count);
    else if (count < least)
        fail_at(parser, expr->start, "expected at least %zu argument(s) in call to \"%s\", got %zu", least,
                function->name, count);
    else if (function->optional > 0 && count > most)
        fail_at(parser, expr->start, "expected at most %zu argument(s) in call to \"%s\", got %zu", most,
                function->name, count);
    char where[64];
    snprintf(where, sizeof(where), "call to function \"%s\"", function->name);
    for (size_t i = 0; i < count && parser->rc == AP_OK; i++)
        (void)check_type(parser, expr->call.arguments[i], function->arguments[AP_MIN(i, most - 1)], where);
    return parser->rc == AP_OK && (strcmp(function->name, "info") != 0 || check_info(parser, expr));
}

static expr_t *parse_call(struct parser *parser)
{
    expr_t *expr = expr_new(parser, EXPR_CALL, TYPE_NONE, parser->token.start);
    expr->call.function = promql_function_find(parser->token.text);
    if (!expr->call.function) {
        fail_at(parser, expr->start, "unknown function with name \"%.*s\"", AP_SLICE_ARG(parser->token.text));
        return NULL;
    }
    if (expr->call.function->is_experimental && !parser->is_experimental) {
        fail_at(parser, expr->start, "function \"%s\" is not enabled (promql.experimental)", expr->call.function->name);
        return NULL;
    }
    advance(parser);
    if (!parse_arguments(parser, "function call", &expr->call.arguments, &expr->call.count))
        return NULL;
    expr->type = expr->call.function->returns;
    expr->end = parser->end;
    return check_call(parser, expr) ? expr : NULL;
}

/* ---- Operands ---- */

static expr_t *parse_operand(struct parser *parser)
{
    struct promql_token token = parser->token;
    expr_t *expr = NULL;
    enum promql_aggregation aggregation;
    switch (token.kind) {
    case TOKEN_NUMBER:
    case TOKEN_DURATION:
        advance(parser);
        expr = expr_new(parser, EXPR_NUMBER, TYPE_SCALAR, token.start);
        expr->number.is_duration = token.kind == TOKEN_DURATION;
        expr->number.value = expr->number.is_duration ? token.number / 1000 : token.number;
        break;
    case TOKEN_TEXT:
        advance(parser);
        expr = expr_new(parser, EXPR_TEXT, TYPE_STRING, token.start);
        expr->text = token.text;
        break;
    case TOKEN_LEFT_PAREN: {
        unsigned brackets = parser->brackets;
        parser->brackets = 0;
        advance(parser);
        expr_t *inner = parse_expr(parser, PRECEDENCE_OR);
        if (!inner)
            return NULL;
        parser->brackets = brackets;
        if (!want(parser, TOKEN_RIGHT_PAREN, "paren expression"))
            return NULL;
        expr = expr_new(parser, EXPR_PAREN, inner->type, token.start);
        expr->paren = inner;
        break;
    }
    case TOKEN_LEFT_BRACE:
        expr = parse_selector(parser, token.start, (struct ap_slice){0});
        break;
    case TOKEN_WORD:
        if (find_aggregation(parser, &aggregation)) {
            expr = parse_aggregate(parser, aggregation);
        } else if (token_after(parser).kind == TOKEN_LEFT_PAREN) {
            expr = parse_call(parser);
        } else {
            advance(parser);
            expr = parse_selector(parser, token.start, token.text);
        }
        break;
    default:
        fail_unexpected(parser, "expression", "number, string, selector, function call or \"(\"");
    }
    return parse_suffixes(parser, expr);
}

static expr_t *parse_unary(struct parser *parser)
{
    if (!is_next(parser, TOKEN_ADD) && !is_next(parser, TOKEN_SUB))
        return parse_operand(parser);
    uint32_t start = parser->token.start;
    bool is_minus = is_next(parser, TOKEN_SUB);
    advance(parser);
    expr_t *of = parse_expr(parser, PRECEDENCE_POW);
    if (!of)
        return NULL;
    if (of->type != TYPE_SCALAR && of->type != TYPE_VECTOR) {
        fail_at(parser, start, "unary expression only allowed on expressions of type scalar or instant vector, got %s",
                promql_type_name(of->type));
        return NULL;
    }
    if (of->kind == EXPR_NUMBER) {
        of->number.value = is_minus ? -of->number.value : of->number.value;
        of->start = start;
        return of;
    }
    expr_t *expr = expr_new(parser, EXPR_UNARY, of->type, start);
    expr->unary.is_minus = is_minus;
    expr->unary.of = of;
    return expr;
}

/* ---- Binary operators ---- */

static bool is_comparison(enum promql_operator operator)
{
    return operator>= OPERATOR_EQUAL && operator<= OPERATOR_GREATER_EQUAL;
}

static bool is_set_operator(enum promql_operator operator)
{
    return operator>= OPERATOR_AND;
}

/* fill(0), fill_left(1), fill_right(NaN): what stands for the side that has no series to match. */
static bool parse_fill(struct parser *parser, struct promql_matching *matching)
{
    bool is_left = is_word(&parser->token, "fill_left");
    bool is_right = is_word(&parser->token, "fill_right");
    uint32_t at = parser->token.start;
    advance(parser);
    if (!parser->is_experimental) {
        fail_at(parser, at, "fill modifiers are experimental and must be enabled with promql.experimental");
        return false;
    }
    if (!want(parser, TOKEN_LEFT_PAREN, "fill modifier"))
        return false;
    bool is_minus = is_next(parser, TOKEN_SUB);
    if (is_minus || is_next(parser, TOKEN_ADD))
        advance(parser);
    struct promql_token token = parser->token;
    if (!want(parser, TOKEN_NUMBER, "fill modifier") || !want(parser, TOKEN_RIGHT_PAREN, "fill modifier"))
        return false;
    for (unsigned side = 0; side < 2; side++) {
        if (side == 0 ? is_right : is_left)
            continue;
        matching->has_fill[side] = true;
        matching->fill[side] = is_minus ? -token.number : token.number;
    }
    return true;
}

static bool parse_modifiers(struct parser *parser, expr_t *expr)
{
    struct promql_matching *matching = &expr->binary.matching;
    if (is_word(&parser->token, "bool")) {
        if (!is_comparison(expr->binary.operator)) {
            fail_at(parser, parser->token.start, "bool modifier can only be used on comparison operators");
            return false;
        }
        advance(parser);
        expr->binary.returns_bool = true;
    }
    bool is_on = is_word(&parser->token, "on");
    if ((is_on || is_word(&parser->token, "ignoring")) && token_after(parser).kind == TOKEN_LEFT_PAREN) {
        advance(parser);
        matching->is_on = is_on;
        matching->has_labels = true;
        if (!parse_labels(parser, &matching->labels))
            return false;
        bool is_left = is_word(&parser->token, "group_left");
        if (is_left || is_word(&parser->token, "group_right")) {
            advance(parser);
            matching->cardinality = is_left ? MANY_TO_ONE : ONE_TO_MANY;
            if (is_next(parser, TOKEN_LEFT_PAREN) && !parse_labels(parser, &matching->include))
                return false;
        }
    }
    while (is_word(&parser->token, "fill") || is_word(&parser->token, "fill_left") ||
           is_word(&parser->token, "fill_right")) {
        if (token_after(parser).kind != TOKEN_LEFT_PAREN)
            break; /* a metric of this name */
        if (!parse_fill(parser, matching))
            return false;
    }
    return true;
}

static bool check_binary(struct parser *parser, expr_t *expr)
{
    const expr_t *left = expr->binary.left;
    const expr_t *right = expr->binary.right;
    struct promql_matching *matching = &expr->binary.matching;
    enum promql_operator operator= expr->binary.operator;
    const expr_t *sides[] = {left, right};
    for (size_t i = 0; i < 2; i++) {
        if (sides[i]->type != TYPE_SCALAR && sides[i]->type != TYPE_VECTOR) {
            fail_at(parser, sides[i]->start, "binary expression must contain only scalar and instant vector types");
            return false;
        }
    }
    bool is_scalar = left->type == TYPE_SCALAR && right->type == TYPE_SCALAR;
    bool has_scalar = left->type == TYPE_SCALAR || right->type == TYPE_SCALAR;
    expr->type = is_scalar ? TYPE_SCALAR : TYPE_VECTOR;
    if (is_comparison(operator) && is_scalar && !expr->binary.returns_bool)
        fail_at(parser, expr->start, "comparisons between scalars must use BOOL modifier");
    bool is_trim = operator== OPERATOR_TRIM_UPPER || operator== OPERATOR_TRIM_LOWER;
    if (is_trim && is_scalar)
        fail_at(parser, expr->start, "operator \"%s\" not allowed for scalar operations",
                promql_operator_name(operator));
    if (is_set_operator(operator) && has_scalar)
        fail_at(parser, expr->start, "set operator \"%s\" not allowed in binary scalar expression",
                promql_operator_name(operator));
    if (has_scalar && matching->labels.count > 0)
        fail_at(parser, expr->start, "vector matching only allowed between instant vectors");
    if (is_set_operator(operator)) {
        if (matching->cardinality != ONE_TO_ONE)
            fail_at(parser, expr->start, "no grouping allowed for \"%s\" operation", promql_operator_name(operator));
        if (matching->has_fill[0] || matching->has_fill[1])
            fail_at(parser, expr->start, "filling in missing series not allowed for set operators");
        matching->cardinality = MANY_TO_MANY;
    }
    for (size_t i = 0; matching->is_on && i < matching->labels.count; i++)
        for (size_t j = 0; j < matching->include.count; j++)
            if (ap_slice_equal(matching->labels.items[i], matching->include.items[j]))
                fail_at(parser, expr->start, "label \"%.*s\" must not occur in ON and GROUP clause at once",
                        AP_SLICE_ARG(matching->labels.items[i]));
    return parser->rc == AP_OK;
}

static expr_t *parse_binary(struct parser *parser, int precedence)
{
    expr_t *left = parse_unary(parser);
    for (;;) {
        const struct operator_row *row = left ? find_operator(&parser->token) : NULL;
        if (!row || row->precedence < precedence)
            return left;
        if (++parser->operators > PROMQL_OPERATORS_MAX) {
            parser->rc = ap_fail(parser->err, AP_E_LIMIT, "the query has more than %d operators", PROMQL_OPERATORS_MAX);
            return NULL;
        }
        expr_t *expr = expr_new(parser, EXPR_BINARY, TYPE_NONE, left->start);
        expr->binary.operator=(enum promql_operator)(row - operators);
        expr->binary.left = left;
        advance(parser);
        if (!parse_modifiers(parser, expr))
            return NULL;
        /* The power operator alone binds to the right. */
        expr->binary.right = parse_expr(parser, row->precedence + (row->token != TOKEN_POW));
        if (!expr->binary.right)
            return NULL;
        expr->end = parser->end;
        if (!check_binary(parser, expr))
            return NULL;
        left = expr;
    }
}

static expr_t *parse_expr(struct parser *parser, int precedence)
{
    expr_t *expr = enter(parser) ? parse_binary(parser, precedence) : NULL;
    leave(parser);
    return expr;
}

/* ---- All of it ---- */

static bool check_selectors(struct parser *parser, const expr_t *expr)
{
    switch (expr->kind) {
    case EXPR_SELECTOR:
        return check_selector(parser, expr);
    case EXPR_RANGE:
        return check_selector(parser, expr->range.selector);
    case EXPR_SUBQUERY:
        return check_selectors(parser, expr->subquery.of);
    case EXPR_CALL: {
        bool is_info = strcmp(expr->call.function->name, "info") == 0;
        for (size_t i = 0; i < (is_info ? 1 : expr->call.count); i++)
            if (!check_selectors(parser, expr->call.arguments[i]))
                return false;
        return true;
    }
    case EXPR_AGGREGATE:
        return (!expr->aggregate.parameter || check_selectors(parser, expr->aggregate.parameter)) &&
               check_selectors(parser, expr->aggregate.of);
    case EXPR_BINARY:
        return check_selectors(parser, expr->binary.left) && check_selectors(parser, expr->binary.right);
    case EXPR_UNARY:
        return check_selectors(parser, expr->unary.of);
    case EXPR_PAREN:
        return check_selectors(parser, expr->paren);
    case EXPR_NUMBER:
    case EXPR_TEXT:
        break;
    }
    return true;
}

enum ap_rc promql_parse(struct ap_slice text, bool is_experimental, struct promql_query *ret_query, struct ap_err *err)
{
    *ret_query = (struct promql_query){0};
    if (text.bytes > PROMQL_QUERY_BYTES_MAX)
        return ap_fail(err, AP_E_LIMIT, "the query has %zu bytes; at most %d are taken", text.bytes,
                       PROMQL_QUERY_BYTES_MAX);
    ap_arena_init(&ret_query->arena, 0);
    struct parser parser = {.query = ret_query, .is_experimental = is_experimental, .err = err};
    promql_lexer_init(&parser.lexer, text, &ret_query->arena);
    advance(&parser);
    if (is_next(&parser, TOKEN_END))
        fail_at(&parser, 0, "no expression found in input");
    else
        ret_query->expr = parse_expr(&parser, PRECEDENCE_OR);
    if (ret_query->expr && !is_next(&parser, TOKEN_END))
        fail_unexpected(&parser, "expression", "an operator or the end");
    if (parser.rc == AP_OK && ret_query->expr)
        (void)check_selectors(&parser, ret_query->expr);
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
