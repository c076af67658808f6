/*
 * promql/parsing.h - what the parts of the parser share: where it is, the words it knows, and who reads what
 *
 * Recursive descent with one token of look-ahead. parser.c reads expressions, parse_selector.c a selector and what
 * stands behind an expression, parse_duration.c a duration that may be calculated; check.c looks at all of it once it
 * is read. What cannot be read is NULL or false, and the first error is in the parser. Trees live in the query's arena.
 */
#pragma once

#include "promql/lexer.h"
#include "promql/parser.h"

struct parser {
    struct promql_query *query;
    struct promql_lexer lexer;
    struct promql_token token; /* the next one, not taken yet */
    uint32_t end;              /* of the one taken last */
    unsigned depth;
    unsigned operators;
    unsigned aggregations; /* that are being read: syntax errors name them */
    bool is_experimental;
    enum ap_rc rc;
    struct ap_err *err; /* of the first error */
};

/* ---- Errors ---- */

/* "LINE:COLUMN: parse error: …", unless there was an error already. */
void parser_fail(struct parser *parser, uint32_t at, const char *format, ...) ap_printf(3, 4);

/* The next token is none that may stand there. `where`: what is being read, NULL for nowhere in particular; `wanted`:
 * what may stand there, as the error names it, or NULL. */
void parser_fail_unexpected(struct parser *parser, const char *where, const char *wanted);

/* ---- Tokens ---- */

void parser_advance(struct parser *parser);
bool parser_is_next(const struct parser *parser, enum promql_token_kind kind);
bool parser_take(struct parser *parser, enum promql_token_kind kind); /* if it is the next */
bool parser_want(struct parser *parser, enum promql_token_kind kind, const char *where, const char *wanted);

/* Words are keywords only where they make sense; so one look further ahead is needed here and there. */
struct promql_token parser_token_after(const struct parser *parser);

/* fill, fill_left and fill_right are words of their own in front of a parenthesis. */
bool parser_is_fill(const struct parser *parser);

/* A level deeper, which may be one too many; parser_leave() goes with it in any case. */
bool parser_enter(struct parser *parser);
void parser_leave(struct parser *parser);

/* ---- Words ---- */

enum {
    PRECEDENCE_OR = 1,
    PRECEDENCE_AND,
    PRECEDENCE_COMPARISON,
    PRECEDENCE_ADD,
    PRECEDENCE_MUL,
    PRECEDENCE_POW,
};

struct promql_operator_row {
    const char *name;
    enum promql_token_kind token; /* TOKEN_WORD: by its name */
    int precedence;
};
extern const struct promql_operator_row promql_operators[]; /* by enum promql_operator */

struct promql_aggregation_row {
    const char *name;
    enum promql_type parameter;
    bool is_experimental;
};
extern const struct promql_aggregation_row promql_aggregations[]; /* by enum promql_aggregation */

/* In any case: BY is by. */
bool promql_token_is_word(const struct promql_token *token, const char *word);
bool promql_token_is_one_of(const struct promql_token *token, const char *const *words, size_t count);

const struct promql_operator_row *promql_operator_find(const struct promql_token *token); /* or NULL */
bool promql_aggregation_find(const struct promql_token *token, enum promql_aggregation *ret_aggregation);

/* ---- Trees ---- */

void *parser_alloc(struct parser *parser, size_t bytes);

/* Room for one more item behind `count`. */
void *parser_grow(struct parser *parser, void *items, size_t count, size_t item_bytes);
struct promql_expr *parser_expr_new(struct parser *parser, enum promql_expr_kind kind, enum promql_type type,
                                    uint32_t start);

struct promql_expr *parser_number(struct parser *parser); /* the next token is one, or a duration */

/* Where a duration stands, for errors. */
struct promql_duration_place {
    const char *name;
    const char *wanted;
};

struct promql_expr *parser_duration(struct parser *parser, const struct promql_duration_place *place, int precedence);

/* One without operators around it: what may stand behind `offset`. */
struct promql_expr *parser_duration_atom(struct parser *parser, const struct promql_duration_place *place);

/* Ranges and steps are positive, offsets may be anything. `expr` may be NULL: it could not be read. */
bool parser_finish_duration(struct parser *parser, const struct promql_expr *expr, bool is_positive,
                            struct promql_duration *ret);

/* The name may have been taken already. */
struct promql_expr *parser_selector(struct parser *parser, uint32_t start, struct ap_slice name);

/* Behind an expression, or behind NULL: [5m] [1h:1m] offset 5m @ 1600000000. */
struct promql_expr *parser_suffixes(struct parser *parser, struct promql_expr *expr);

/* Types, modifiers and what else makes no sense, once all of it is read. */
void promql_check(struct parser *parser, const struct promql_expr *expr);
