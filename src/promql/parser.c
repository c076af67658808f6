#include "promql/parser.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "promql/float_text.h"
#include "promql/parsing.h"
#include "tsdb/labels.h"

typedef struct promql_expr expr_t;

/* ---- Errors ---- */

void parser_fail(struct parser *parser, uint32_t at, const char *format, ...)
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
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    parser->rc = ap_fail(parser->err, AP_E_PARSE, "%u:%u: parse error: %s", line, at - line_start + 1, text);
}

static bool is_word(const struct promql_token *token, const char *word)
{
    return token->kind == TOKEN_WORD && !token->is_label && ap_slice_equal_nocase(token->text, word);
}

static bool is_one_of(const struct promql_token *token, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_word(token, words[i]))
            return true;
    return false;
}

static const struct operator_row *find_operator(const struct promql_token *token);
static bool find_aggregation_word(const struct promql_token *token, enum promql_aggregation *ret_aggregation);
static struct promql_token token_after(const struct parser *parser);

/* fill, fill_left and fill_right are words of their own in front of a parenthesis. */
static bool is_fill(const struct parser *parser)
{
    static const char *const words[] = {"fill", "fill_left", "fill_right"};
    return is_one_of(&parser->token, words, AP_ARRAY_COUNT(words)) && token_after(parser).kind == TOKEN_LEFT_PAREN;
}

/* What stands there, as Prometheus names it: identifier "a", <by>, <op:+>, <aggr:sum>, "(", number "5". */
static void describe_token(const struct parser *parser, struct ap_buf *out)
{
    static const char *const keywords[] = {"offset",     "by",          "without", "on",       "ignoring",
                                           "group_left", "group_right", "bool",    "anchored", "smoothed"};
    static const char *const plain[] = {"start", "end", "step", "range", "min_of", "max_of"};
    const struct promql_token *token = &parser->token;
    struct ap_slice text = token->text;
    enum promql_aggregation aggregation;
    switch (token->kind) {
    case TOKEN_WORD:
        if (find_operator(token))
            ap_buf_printf(out, "<op:%.*s>", AP_SLICE_ARG(text));
        else if (find_aggregation_word(token, &aggregation))
            ap_buf_printf(out, "<aggr:%.*s>", AP_SLICE_ARG(text));
        else if (is_fill(parser) || is_one_of(token, keywords, AP_ARRAY_COUNT(keywords)))
            ap_buf_printf(out, "<%.*s>", AP_SLICE_ARG(text));
        else if (is_one_of(token, plain, AP_ARRAY_COUNT(plain)))
            ap_buf_printf(out, "\"%.*s\"", AP_SLICE_ARG(text));
        else if (memchr(text.data, ':', text.bytes))
            ap_buf_printf(out, "metric identifier \"%.*s\"", AP_SLICE_ARG(text));
        else
            ap_buf_printf(out, "identifier \"%.*s\"", AP_SLICE_ARG(text));
        return;
    case TOKEN_NUMBER:
    case TOKEN_DURATION:
    case TOKEN_TEXT: {
        struct ap_slice written = ap_slice(parser->lexer.query.data + token->start, token->end - token->start);
        size_t bytes = 0;
        for (size_t count = 0; bytes < written.bytes && count < 10; count++)
            do
                bytes++;
            while (bytes < written.bytes && ((uint8_t)written.data[bytes] & 0xc0) == 0x80);
        ap_buf_printf(out, "%s ", promql_token_name(token->kind));
        promql_print_quoted(ap_slice(written.data, bytes), out);
        ap_buf_add_cstr(out, bytes < written.bytes ? "..." : "");
        return;
    }
    case TOKEN_EQUAL:
    case TOKEN_END:
        break;
    default:
        if (token->kind >= TOKEN_AT) {
            ap_buf_printf(out, "<op:%.*s>", AP_SLICE_ARG(text));
            return;
        }
    }
    ap_buf_add_cstr(out, promql_token_name(token->kind));
}

/* `where` NULL: nowhere in particular. */
static void fail_unexpected(struct parser *parser, const char *where, const char *wanted)
{
    const struct promql_token *token = &parser->token;
    if (token->kind == TOKEN_ERROR) {
        parser_fail(parser, parser->lexer.error_at, "%s", parser->lexer.error);
        return;
    }
    AP_AUTO_BUF struct ap_buf what = {0};
    describe_token(parser, &what);
    if (!where && parser->aggregations > 0)
        where = "aggregation";
    parser_fail(parser, token->start, "unexpected %.*s%s%s%s%s", (int)AP_MIN(what.bytes, (size_t)200), what.data,
                where ? " in " : "", where ? where : "", wanted ? ", expected " : "", wanted ? wanted : "");
}

/* ---- Tokens ---- */

static void advance(struct parser *parser)
{
    parser->end = parser->token.end;
    parser->token = promql_lexer_next(&parser->lexer);
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

/* `wanted` is how the error names it. */
static bool want(struct parser *parser, enum promql_token_kind kind, const char *where, const char *wanted)
{
    if (take(parser, kind))
        return true;
    fail_unexpected(parser, where, wanted);
    return false;
}

/* Words are keywords only where they make sense; so one look further ahead is needed here and there. */
static struct promql_token token_after(const struct parser *parser)
{
    struct promql_lexer ahead = parser->lexer;
    return promql_lexer_next(&ahead);
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

enum promql_type promql_aggregation_parameter(enum promql_aggregation aggregation)
{
    return aggregations[aggregation].parameter;
}

static bool find_aggregation_word(const struct promql_token *token, enum promql_aggregation *ret_aggregation)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(aggregations); i++) {
        if (!is_word(token, aggregations[i].name))
            continue;
        *ret_aggregation = (enum promql_aggregation)i;
        return true;
    }
    return false;
}

/* Before a parenthesis, `by` or `without` these words are aggregations; elsewhere names of metrics. */
static bool find_aggregation(const struct parser *parser, enum promql_aggregation *ret_aggregation)
{
    if (!find_aggregation_word(&parser->token, ret_aggregation))
        return false;
    struct promql_token after = token_after(parser);
    return after.kind == TOKEN_LEFT_PAREN || is_word(&after, "by") || is_word(&after, "without");
}

/* ---- Durations ---- */

/* Where a duration stands, for errors. */
struct duration_place {
    const char *name;
    const char *wanted;
};

static expr_t *parse_duration_expr(struct parser *parser, const struct duration_place *place, int precedence);

static expr_t *parse_duration_call(struct parser *parser, const struct duration_place *place)
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
    while (which < AP_ARRAY_COUNT(functions) && !is_word(&parser->token, functions[which].name))
        which++;
    if (which == AP_ARRAY_COUNT(functions)) {
        fail_unexpected(parser, place->name, place->wanted);
        return NULL;
    }
    bool is_pair = promql_function_arguments(&functions[which]) == 2;
    expr_t *call = expr_new(parser, EXPR_CALL, TYPE_SCALAR, start);
    call->call.function = &functions[which];
    advance(parser);
    if (!want(parser, TOKEN_LEFT_PAREN, place->name, place->wanted))
        return NULL;
    if (is_pair) {
        call->call.arguments = alloc(parser, 2 * sizeof(expr_t *));
        call->call.count = 2;
        for (size_t i = 0; i < 2; i++) {
            if (i == 1 && !want(parser, TOKEN_COMMA, place->name, place->wanted))
                return NULL;
            call->call.arguments[i] = parse_duration_expr(parser, place, PRECEDENCE_ADD);
            if (!call->call.arguments[i])
                return NULL;
        }
    }
    if (!want(parser, TOKEN_RIGHT_PAREN, place->name, place->wanted))
        return NULL;
    call->end = parser->end;
    return call;
}

static expr_t *parse_number(struct parser *parser)
{
    struct promql_token token = parser->token;
    advance(parser);
    expr_t *expr = expr_new(parser, EXPR_NUMBER, TYPE_SCALAR, token.start);
    expr->number.is_duration = token.kind == TOKEN_DURATION;
    expr->number.value = expr->number.is_duration ? token.number / 1000 : token.number;
    return expr;
}

static expr_t *parse_duration_atom(struct parser *parser, const struct duration_place *place)
{
    uint32_t start = parser->token.start;
    if (is_next(parser, TOKEN_NUMBER) || is_next(parser, TOKEN_DURATION))
        return parse_number(parser);
    if (is_next(parser, TOKEN_ADD) || is_next(parser, TOKEN_SUB)) {
        bool is_minus = is_next(parser, TOKEN_SUB);
        advance(parser);
        expr_t *of = enter(parser) ? parse_duration_atom(parser, place) : NULL;
        leave(parser);
        if (!of || (!is_minus && of->kind != EXPR_NUMBER))
            return of;
        if (of->kind == EXPR_NUMBER) {
            of->number.value = is_minus ? -of->number.value : of->number.value;
            of->start = start;
            return of;
        }
        expr_t *expr = expr_new(parser, EXPR_UNARY, TYPE_SCALAR, start);
        expr->unary.is_minus = is_minus;
        expr->unary.of = of;
        return expr;
    }
    if (!take(parser, TOKEN_LEFT_PAREN))
        return parse_duration_call(parser, place);
    expr_t *inner = enter(parser) ? parse_duration_expr(parser, place, PRECEDENCE_ADD) : NULL;
    leave(parser);
    if (!inner || !want(parser, TOKEN_RIGHT_PAREN, place->name, place->wanted))
        return NULL;
    expr_t *expr = expr_new(parser, EXPR_PAREN, TYPE_SCALAR, start);
    expr->paren = inner;
    return expr;
}

static expr_t *parse_duration_expr(struct parser *parser, const struct duration_place *place, int precedence)
{
    expr_t *left = parse_duration_atom(parser, place);
    for (;;) {
        const struct operator_row *row = left ? find_operator(&parser->token) : NULL;
        if (!row || row->token == TOKEN_WORD || row->precedence < AP_MAX(precedence, (int)PRECEDENCE_ADD))
            return left;
        uint32_t at = parser->token.start;
        advance(parser);
        expr_t *right =
            enter(parser) ? parse_duration_expr(parser, place, row->precedence + (row->token != TOKEN_POW)) : NULL;
        leave(parser);
        if (!right)
            return NULL;
        bool divides = row->token == TOKEN_DIV || row->token == TOKEN_MOD;
        if (divides && right->kind == EXPR_NUMBER && right->number.value == 0) {
            parser_fail(parser, at, row->token == TOKEN_DIV ? "division by zero" : "modulo by zero");
            return NULL;
        }
        expr_t *expr = expr_new(parser, EXPR_BINARY, TYPE_SCALAR, left->start);
        expr->binary.operator=(enum promql_operator)(row - operators);
        expr->binary.left = left;
        expr->binary.right = right;
        left = expr;
    }
}

/* Ranges and steps are positive, offsets may be anything. */
static bool finish_duration(struct parser *parser, const expr_t *expr, bool is_positive, struct promql_duration *ret)
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

/* ---- Selectors ---- */

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
    if (!take(parser, TOKEN_TEXT) && !want(parser, TOKEN_WORD, where, "identifier or \"}\""))
        return false;
    struct promql_matcher item = {name.text, MATCHER_EQUAL, name.text, name.start};
    if (name.kind == TOKEN_TEXT && (is_next(parser, TOKEN_COMMA) || is_next(parser, TOKEN_RIGHT_BRACE))) {
        item.name = ap_slice_cstr(LABEL_METRIC_NAME);
    } else {
        size_t i = 0;
        while (i < AP_ARRAY_COUNT(kinds) && !is_next(parser, kinds[i].token))
            i++;
        if (i == AP_ARRAY_COUNT(kinds)) {
            fail_unexpected(parser, where, "label matching operator");
            return false;
        }
        advance(parser);
        item.kind = kinds[i].kind;
        item.value = parser->token.text;
        if (!want(parser, TOKEN_TEXT, where, "string"))
            return false;
    }
    selector->items = grow(parser, selector->items, selector->item_count, sizeof(*selector->items));
    selector->items[selector->item_count++] = item;
    return true;
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
    uint32_t at = expr->start;
    enum ap_rc rc = AP_OK;
    if (selector->name.data)
        rc = matchers_add(matchers, ap_slice_cstr(LABEL_METRIC_NAME), MATCHER_EQUAL, selector->name, &err);
    for (size_t i = 0; i < selector->item_count && rc == AP_OK; i++) {
        const struct promql_matcher *item = &selector->items[i];
        at = item->start;
        rc = matchers_add(matchers, item->name, item->kind, item->value, &err);
    }
    if (rc == AP_OK)
        return true;
    parser_fail(parser, at, "%s", err.text);
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
    return compile(parser, expr) ? expr : NULL;
}

/* ---- Behind an expression: [5m] [1h:1m] offset 5m @ 1600000000 ---- */

static struct promql_when *when_of(expr_t *expr)
{
    if (expr->kind == EXPR_SELECTOR)
        return &expr->selector.when;
    if (expr->kind == EXPR_RANGE)
        return &expr->range.selector->selector.when;
    return expr->kind == EXPR_SUBQUERY ? &expr->subquery.when : NULL;
}

static bool is_set(const struct promql_duration *duration)
{
    return duration->expr || duration->ms != 0;
}

static expr_t *parse_brackets(struct parser *parser, expr_t *of)
{
    static const struct duration_place range_place = {"subquery or range selector",
                                                      "number, duration, step(), or range()"};
    static const struct duration_place step_place = {"subquery selector",
                                                     "number, duration, step(), range(), or \"]\""};
    uint32_t at = parser->token.start;
    struct promql_duration range;
    struct promql_duration step = {0};
    advance(parser);
    if (!finish_duration(parser, parse_duration_expr(parser, &range_place, PRECEDENCE_ADD), true, &range))
        return NULL;
    bool is_subquery = take(parser, TOKEN_COLON);
    bool has_step = is_subquery && !is_next(parser, TOKEN_RIGHT_BRACKET);
    if (has_step && !finish_duration(parser, parse_duration_expr(parser, &step_place, PRECEDENCE_ADD), true, &step))
        return NULL;
    if (!want(parser, TOKEN_RIGHT_BRACKET, is_subquery ? step_place.name : "subquery or range",
              is_subquery ? "\"]\"" : "\":\" or \"]\""))
        return NULL;
    if (is_subquery) {
        expr_t *expr = expr_new(parser, EXPR_SUBQUERY, TYPE_MATRIX, of->start);
        expr->subquery.of = of;
        expr->subquery.range = range;
        expr->subquery.step = step;
        expr->subquery.has_step = has_step;
        return expr;
    }
    const struct promql_selector *selector = &of->selector;
    if (of->kind != EXPR_SELECTOR)
        parser_fail(parser, at, "ranges only allowed for vector selectors");
    else if (is_set(&selector->when.offset))
        parser_fail(parser, at, "no offset modifiers allowed before range");
    else if (selector->when.at == AT_TIME)
        parser_fail(parser, at, "no @ modifiers allowed before range");
    if (parser->rc != AP_OK)
        return NULL;
    expr_t *expr = expr_new(parser, EXPR_RANGE, TYPE_MATRIX, of->start);
    expr->range.selector = of;
    expr->range.range = range;
    return expr;
}

static bool parse_offset(struct parser *parser, expr_t *expr)
{
    static const struct duration_place place = {"offset", "number, duration, step(), or range()"};
    struct promql_when *when = when_of(expr);
    struct promql_duration offset;
    advance(parser);
    if (!finish_duration(parser, parse_duration_atom(parser, &place), false, &offset))
        return false;
    if (!when)
        parser_fail(
            parser, expr->start,
            "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery");
    else if (is_set(&when->offset))
        parser_fail(parser, expr->start, "offset may not be set multiple times");
    if (parser->rc != AP_OK)
        return false;
    when->offset = offset;
    when->has_offset = true;
    expr->end = parser->end;
    return true;
}

static bool parse_at(struct parser *parser, expr_t *expr)
{
    static const char where[] = "@";
    static const char wanted[] = "timestamp";
    struct promql_when *when = when_of(expr);
    enum promql_at kind = AT_TIME;
    double ms = 0;
    advance(parser);
    if (is_word(&parser->token, "start") || is_word(&parser->token, "end")) {
        kind = is_word(&parser->token, "start") ? AT_START : AT_END;
        advance(parser);
        if (!want(parser, TOKEN_LEFT_PAREN, where, wanted) || !want(parser, TOKEN_RIGHT_PAREN, where, wanted))
            return false;
    } else {
        bool is_minus = is_next(parser, TOKEN_SUB);
        if (is_minus || is_next(parser, TOKEN_ADD))
            advance(parser);
        if (!is_next(parser, TOKEN_DURATION) && !is_next(parser, TOKEN_NUMBER)) {
            fail_unexpected(parser, where, wanted);
            return false;
        }
        ms = parse_number(parser)->number.value * (is_minus ? -1000.0 : 1000.0);
    }
    if (!(fabs(ms) < 9.2e18))
        parser_fail(parser, expr->start, "timestamp out of bounds for @ modifier: %s", go_float(ms / 1000).text);
    else if (!when)
        parser_fail(parser, expr->start,
                    "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery");
    else if (when->at != AT_NONE)
        parser_fail(parser, expr->start, "@ <timestamp> may not be set multiple times");
    if (parser->rc != AP_OK)
        return false;
    when->at = kind;
    when->at_ms = (int64_t)round(ms);
    expr->end = parser->end;
    return true;
}

/* x[5m] anchored, x smoothed */
static bool parse_extension(struct parser *parser, expr_t *expr)
{
    bool is_anchored = is_word(&parser->token, "anchored");
    enum promql_extension extension = is_anchored ? EXTENSION_ANCHORED : EXTENSION_SMOOTHED;
    const char *name = is_anchored ? "anchored" : "smoothed";
    advance(parser);
    struct promql_selector *selector = expr->kind == EXPR_SELECTOR ? &expr->selector
                                       : expr->kind == EXPR_RANGE  ? &expr->range.selector->selector
                                                                   : NULL;
    if (!parser->is_experimental)
        parser_fail(parser, expr->start, "%s modifier is experimental and not enabled (promql.experimental)", name);
    else if (expr->kind == EXPR_SUBQUERY)
        parser_fail(parser, expr->start, "%s modifier is not supported for subqueries", name);
    else if (!selector)
        parser_fail(parser, expr->start, "%s modifier not implemented", name);
    else if (selector->extension != EXTENSION_NONE && selector->extension != extension)
        parser_fail(parser, expr->start, "anchored and smoothed modifiers cannot be used together");
    if (parser->rc != AP_OK)
        return false;
    selector->extension = extension;
    expr->end = parser->end;
    return true;
}

static expr_t *parse_suffixes(struct parser *parser, expr_t *expr)
{
    while (expr && parser->rc == AP_OK) {
        bool is_read = true;
        if (is_next(parser, TOKEN_LEFT_BRACKET))
            expr = parse_brackets(parser, expr);
        else if (is_word(&parser->token, "offset"))
            is_read = parse_offset(parser, expr);
        else if (is_next(parser, TOKEN_AT))
            is_read = parse_at(parser, expr);
        else if (is_word(&parser->token, "anchored") || is_word(&parser->token, "smoothed"))
            is_read = parse_extension(parser, expr);
        else
            return expr;
        if (!is_read)
            return NULL;
    }
    return NULL;
}

/* ---- Calls and aggregations ---- */

static bool parse_arguments(struct parser *parser, expr_t ***ret_arguments, size_t *ret_count)
{
    if (!want(parser, TOKEN_LEFT_PAREN, NULL, NULL))
        return false;
    while (!take(parser, TOKEN_RIGHT_PAREN)) {
        expr_t *argument = parse_expr(parser, PRECEDENCE_OR);
        if (!argument)
            return false;
        *ret_arguments = grow(parser, *ret_arguments, *ret_count, sizeof(expr_t *));
        (*ret_arguments)[(*ret_count)++] = argument;
        uint32_t comma = parser->token.start;
        bool has_comma = take(parser, TOKEN_COMMA);
        if (!has_comma && !is_next(parser, TOKEN_RIGHT_PAREN)) {
            fail_unexpected(parser, NULL, NULL);
            return false;
        }
        if (has_comma && is_next(parser, TOKEN_RIGHT_PAREN)) {
            parser_fail(parser, comma, "trailing commas not allowed in function call args");
            return false;
        }
    }
    return true;
}

static bool parse_labels(struct parser *parser, struct promql_labels *labels)
{
    static const char where[] = "grouping opts";
    if (!want(parser, TOKEN_LEFT_PAREN, where, "\"(\""))
        return false;
    while (!take(parser, TOKEN_RIGHT_PAREN)) {
        struct promql_token token = parser->token;
        if (!take(parser, TOKEN_TEXT) && !want(parser, TOKEN_WORD, where, "label"))
            return false;
        if (token.text.bytes == 0 || ap_utf8_valid_bytes(token.text) != token.text.bytes) {
            AP_AUTO_BUF struct ap_buf name = {0};
            promql_print_quoted(token.text, &name);
            parser_fail(parser, token.start, "invalid label name for grouping: %.*s", (int)name.bytes, name.data);
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

static expr_t *parse_aggregate(struct parser *parser, enum promql_aggregation aggregation)
{
    const struct aggregation_row *row = &aggregations[aggregation];
    expr_t *expr = expr_new(parser, EXPR_AGGREGATE, TYPE_VECTOR, parser->token.start);
    uint32_t start = parser->token.start;
    expr->aggregate.aggregation = aggregation;
    advance(parser);
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
    expr_t *expr = expr_new(parser, EXPR_CALL, TYPE_NONE, parser->token.start);
    advance(parser);
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
    return is_one_of(&parser->token, words, AP_ARRAY_COUNT(words)) || is_fill(parser);
}

static bool is_no_function(const struct promql_token *token)
{
    static const char *const words[] = {"and", "or", "unless", "by", "without", "offset", "anchored", "smoothed"};
    return is_one_of(token, words, AP_ARRAY_COUNT(words)) || memchr(token->text.data, ':', token->text.bytes);
}

static expr_t *parse_word(struct parser *parser)
{
    struct promql_token token = parser->token;
    enum promql_aggregation aggregation;
    if (find_aggregation(parser, &aggregation))
        return parse_aggregate(parser, aggregation);
    if (is_no_metric(parser)) {
        fail_unexpected(parser, NULL, NULL);
        return NULL;
    }
    if (!is_no_function(&token) && token_after(parser).kind == TOKEN_LEFT_PAREN)
        return parse_call(parser);
    advance(parser);
    return parse_selector(parser, token.start, token.text);
}

static expr_t *parse_operand(struct parser *parser)
{
    struct promql_token token = parser->token;
    expr_t *expr = NULL;
    switch (token.kind) {
    case TOKEN_NUMBER:
    case TOKEN_DURATION:
        expr = parse_number(parser);
        break;
    case TOKEN_TEXT:
        advance(parser);
        expr = expr_new(parser, EXPR_TEXT, TYPE_STRING, token.start);
        expr->text = token.text;
        break;
    case TOKEN_LEFT_PAREN: {
        advance(parser);
        expr_t *inner = parse_expr(parser, PRECEDENCE_OR);
        if (!inner || !want(parser, TOKEN_RIGHT_PAREN, NULL, NULL))
            return NULL;
        expr = expr_new(parser, EXPR_PAREN, inner->type, token.start);
        expr->paren = inner;
        break;
    }
    case TOKEN_LEFT_BRACE:
        expr = parse_selector(parser, token.start, (struct ap_slice){0});
        break;
    case TOKEN_WORD:
        expr = parse_word(parser);
        break;
    default:
        fail_unexpected(parser, NULL, NULL);
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

/* fill(0), fill_left(1), fill_right(NaN): what stands for the side that has no series to match. */
static bool parse_fill(struct parser *parser, struct promql_matching *matching)
{
    bool is_left = is_word(&parser->token, "fill_left");
    bool is_right = is_word(&parser->token, "fill_right");
    uint32_t at = parser->token.start;
    advance(parser);
    if (!parser->is_experimental) {
        parser_fail(parser, at, "binop fill modifiers are experimental and not enabled (promql.experimental)");
        return false;
    }
    if (!want(parser, TOKEN_LEFT_PAREN, NULL, NULL))
        return false;
    bool is_minus = is_next(parser, TOKEN_SUB);
    if (is_minus || is_next(parser, TOKEN_ADD))
        advance(parser);
    if (!is_next(parser, TOKEN_NUMBER) && !is_next(parser, TOKEN_DURATION)) {
        fail_unexpected(parser, NULL, NULL);
        return false;
    }
    double value = parse_number(parser)->number.value;
    for (unsigned side = 0; side < 2; side++) {
        if (side == 0 ? is_right : is_left)
            continue;
        matching->has_fill[side] = true;
        matching->fill[side] = is_minus ? -value : value;
    }
    return want(parser, TOKEN_RIGHT_PAREN, NULL, NULL);
}

static bool parse_modifiers(struct parser *parser, expr_t *expr)
{
    struct promql_matching *matching = &expr->binary.matching;
    if (is_word(&parser->token, "bool")) {
        advance(parser);
        expr->binary.returns_bool = true;
    }
    bool is_on = is_word(&parser->token, "on");
    if (is_on || is_word(&parser->token, "ignoring")) {
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
    while (is_fill(parser))
        if (!parse_fill(parser, matching))
            return false;
    return true;
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
        expr->binary.operator_start = parser->token.start;
        expr->binary.left = left;
        advance(parser);
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
    expr_t *expr = enter(parser) ? parse_binary(parser, precedence) : NULL;
    leave(parser);
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
    advance(&parser);
    if (is_next(&parser, TOKEN_END))
        parser_fail(&parser, 0, "no expression found in input");
    else
        ret_query->expr = parse_expr(&parser, PRECEDENCE_OR);
    if (ret_query->expr && !is_next(&parser, TOKEN_END))
        fail_unexpected(&parser, NULL, NULL);
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
