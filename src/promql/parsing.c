#include "promql/parsing.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

bool parser_is_fill(const struct parser *parser)
{
    static const char *const words[] = {"fill", "fill_left", "fill_right"};
    return promql_token_is_one_of(&parser->token, words, AP_ARRAY_COUNT(words)) &&
           parser_token_after(parser).kind == TOKEN_LEFT_PAREN;
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
        if (promql_operator_find(token))
            ap_buf_printf(out, "<op:%.*s>", AP_SLICE_ARG(text));
        else if (promql_aggregation_find(token, &aggregation))
            ap_buf_printf(out, "<aggr:%.*s>", AP_SLICE_ARG(text));
        else if (parser_is_fill(parser) || promql_token_is_one_of(token, keywords, AP_ARRAY_COUNT(keywords)))
            ap_buf_printf(out, "<%.*s>", AP_SLICE_ARG(text));
        else if (promql_token_is_one_of(token, plain, AP_ARRAY_COUNT(plain)))
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

void parser_fail_unexpected(struct parser *parser, const char *where, const char *wanted)
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

void parser_advance(struct parser *parser)
{
    parser->end = parser->token.end;
    parser->token = promql_lexer_next(&parser->lexer);
}

bool parser_is_next(const struct parser *parser, enum promql_token_kind kind)
{
    return parser->token.kind == kind;
}

bool parser_take(struct parser *parser, enum promql_token_kind kind)
{
    if (!parser_is_next(parser, kind))
        return false;
    parser_advance(parser);
    return true;
}

bool parser_want(struct parser *parser, enum promql_token_kind kind, const char *where, const char *wanted)
{
    if (parser_take(parser, kind))
        return true;
    parser_fail_unexpected(parser, where, wanted);
    return false;
}

struct promql_token parser_token_after(const struct parser *parser)
{
    struct promql_lexer ahead = parser->lexer;
    return promql_lexer_next(&ahead);
}

bool parser_enter(struct parser *parser)
{
    if (++parser->depth <= PROMQL_DEPTH_MAX)
        return true;
    if (parser->rc == AP_OK)
        parser->rc = ap_fail(parser->err, AP_E_LIMIT, "the query is nested deeper than %d levels", PROMQL_DEPTH_MAX);
    return false;
}

void parser_leave(struct parser *parser)
{
    parser->depth--;
}

void *parser_alloc(struct parser *parser, size_t bytes)
{
    return ap_arena_alloc0(&parser->query->arena, bytes);
}

struct promql_expr *parser_expr_new(struct parser *parser, enum promql_expr_kind kind, enum promql_type type,
                                    uint32_t start)
{
    struct promql_expr *expr = parser_alloc(parser, sizeof(*expr));
    *expr = (struct promql_expr){.kind = kind, .type = type, .start = start, .end = parser->end};
    return expr;
}

/* Arrays that grow in the arena: doubled when full. */
void *parser_grow(struct parser *parser, void *items, size_t count, size_t item_bytes)
{
    if (count & (count - 1)) /* room is always a power of two */
        return items;
    void *larger = parser_alloc(parser, (count ? count * 2 : 1) * item_bytes);
    if (count)
        memcpy(larger, items, count * item_bytes);
    return larger;
}
