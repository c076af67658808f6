#include <math.h>

#include "promql/float_text.h"
#include "promql/parsing.h"
#include "tsdb/labels.h"

typedef struct promql_expr expr_t;

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
    if (!parser_take(parser, TOKEN_TEXT) && !parser_want(parser, TOKEN_WORD, where, "identifier or \"}\""))
        return false;
    struct promql_matcher item = {name.text, MATCHER_EQUAL, name.text, name.start};
    if (name.kind == TOKEN_TEXT && (parser_is_next(parser, TOKEN_COMMA) || parser_is_next(parser, TOKEN_RIGHT_BRACE))) {
        item.name = ap_slice_cstr(LABEL_METRIC_NAME);
    } else {
        size_t i = 0;
        while (i < AP_ARRAY_COUNT(kinds) && !parser_is_next(parser, kinds[i].token))
            i++;
        if (i == AP_ARRAY_COUNT(kinds)) {
            parser_fail_unexpected(parser, where, "label matching operator");
            return false;
        }
        parser_advance(parser);
        item.kind = kinds[i].kind;
        item.value = parser->token.text;
        if (!parser_want(parser, TOKEN_TEXT, where, "string"))
            return false;
    }
    selector->items = parser_grow(parser, selector->items, selector->item_count, sizeof(*selector->items));
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
expr_t *parser_selector(struct parser *parser, uint32_t start, struct ap_slice name)
{
    static const char where[] = "label matching";
    expr_t *expr = parser_expr_new(parser, EXPR_SELECTOR, TYPE_VECTOR, start);
    expr->selector.name = name;
    if (parser_take(parser, TOKEN_LEFT_BRACE)) {
        while (!parser_take(parser, TOKEN_RIGHT_BRACE)) {
            if (!parse_matcher(parser, &expr->selector))
                return NULL;
            if (!parser_is_next(parser, TOKEN_RIGHT_BRACE) && !parser_take(parser, TOKEN_COMMA)) {
                parser_fail_unexpected(parser, where, "\",\" or \"}\"");
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
    static const struct promql_duration_place range_place = {"subquery or range selector",
                                                             "number, duration, step(), or range()"};
    static const struct promql_duration_place step_place = {"subquery selector",
                                                            "number, duration, step(), range(), or \"]\""};
    uint32_t at = parser->token.start;
    struct promql_duration range;
    struct promql_duration step = {0};
    parser_advance(parser);
    if (!parser_finish_duration(parser, parser_duration(parser, &range_place, PRECEDENCE_ADD), true, &range))
        return NULL;
    bool is_subquery = parser_take(parser, TOKEN_COLON);
    bool has_step = is_subquery && !parser_is_next(parser, TOKEN_RIGHT_BRACKET);
    if (has_step && !parser_finish_duration(parser, parser_duration(parser, &step_place, PRECEDENCE_ADD), true, &step))
        return NULL;
    if (!parser_want(parser, TOKEN_RIGHT_BRACKET, is_subquery ? step_place.name : "subquery or range",
                     is_subquery ? "\"]\"" : "\":\" or \"]\""))
        return NULL;
    if (is_subquery) {
        expr_t *expr = parser_expr_new(parser, EXPR_SUBQUERY, TYPE_MATRIX, of->start);
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
    expr_t *expr = parser_expr_new(parser, EXPR_RANGE, TYPE_MATRIX, of->start);
    expr->range.selector = of;
    expr->range.range = range;
    return expr;
}

static bool parse_offset(struct parser *parser, expr_t *expr)
{
    static const struct promql_duration_place place = {"offset", "number, duration, step(), or range()"};
    struct promql_when *when = when_of(expr);
    struct promql_duration offset;
    parser_advance(parser);
    if (!parser_finish_duration(parser, parser_duration_atom(parser, &place), false, &offset))
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
    parser_advance(parser);
    if (promql_token_is_word(&parser->token, "start") || promql_token_is_word(&parser->token, "end")) {
        kind = promql_token_is_word(&parser->token, "start") ? AT_START : AT_END;
        parser_advance(parser);
        if (!parser_want(parser, TOKEN_LEFT_PAREN, where, wanted) ||
            !parser_want(parser, TOKEN_RIGHT_PAREN, where, wanted))
            return false;
    } else {
        bool is_minus = parser_is_next(parser, TOKEN_SUB);
        if (is_minus || parser_is_next(parser, TOKEN_ADD))
            parser_advance(parser);
        if (!parser_is_next(parser, TOKEN_DURATION) && !parser_is_next(parser, TOKEN_NUMBER)) {
            parser_fail_unexpected(parser, where, wanted);
            return false;
        }
        ms = parser_number(parser)->number.value * (is_minus ? -1000.0 : 1000.0);
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
    bool is_anchored = promql_token_is_word(&parser->token, "anchored");
    enum promql_extension extension = is_anchored ? EXTENSION_ANCHORED : EXTENSION_SMOOTHED;
    const char *name = is_anchored ? "anchored" : "smoothed";
    parser_advance(parser);
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

expr_t *parser_suffixes(struct parser *parser, expr_t *expr)
{
    while (expr && parser->rc == AP_OK) {
        bool is_read = true;
        if (parser_is_next(parser, TOKEN_LEFT_BRACKET))
            expr = parse_brackets(parser, expr);
        else if (promql_token_is_word(&parser->token, "offset"))
            is_read = parse_offset(parser, expr);
        else if (parser_is_next(parser, TOKEN_AT))
            is_read = parse_at(parser, expr);
        else if (promql_token_is_word(&parser->token, "anchored") || promql_token_is_word(&parser->token, "smoothed"))
            is_read = parse_extension(parser, expr);
        else
            return expr;
        if (!is_read)
            return NULL;
    }
    return NULL;
}
