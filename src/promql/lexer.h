/*
 * promql/lexer.h - the text of a query as tokens
 *
 * The language is that of Prometheus 3. What a word means depends on where it stands: `sum` is an aggregation before a
 * parenthesis and a metric name elsewhere. So the lexer tells words, numbers, durations, texts and signs apart, and the
 * parser knows the words.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "base/slice.h"

enum promql_token_kind {
    TOKEN_END,
    TOKEN_WORD,     /* [a-zA-Z_:][a-zA-Z0-9_:]* */
    TOKEN_NUMBER,   /* also 0x1f, 010, .5, 1e3, 1_000, Inf, NaN */
    TOKEN_DURATION, /* 1h30m */
    TOKEN_TEXT,     /* in any of the three kinds of quotes */
    TOKEN_LEFT_PAREN,
    TOKEN_RIGHT_PAREN,
    TOKEN_LEFT_BRACE,
    TOKEN_RIGHT_BRACE,
    TOKEN_LEFT_BRACKET,
    TOKEN_RIGHT_BRACKET,
    TOKEN_COMMA,
    TOKEN_COLON,
    TOKEN_AT,
    TOKEN_ADD,
    TOKEN_SUB,
    TOKEN_MUL,
    TOKEN_DIV,
    TOKEN_MOD,
    TOKEN_POW,
    TOKEN_EQUAL_EQUAL,
    TOKEN_NOT_EQUAL, /* != */
    TOKEN_LESS,
    TOKEN_LESS_EQUAL,
    TOKEN_GREATER,
    TOKEN_GREATER_EQUAL,
    TOKEN_TRIM_UPPER,
    TOKEN_TRIM_LOWER,
    TOKEN_EQUAL,     /* = */
    TOKEN_MATCH,     /* =~ */
    TOKEN_NOT_MATCH, /* !~ */
    TOKEN_ERROR,     /* the lexer's error says what is wrong */
};

struct promql_token {
    enum promql_token_kind kind;
    uint32_t start; /* in bytes of the query */
    uint32_t end;
    struct ap_slice text; /* lent by the query; of TOKEN_TEXT what it says, lent by the arena */
    double number;        /* of TOKEN_NUMBER; of TOKEN_DURATION milliseconds */
    bool is_label;        /* a word between braces: never a keyword */
};

struct promql_lexer {
    struct ap_slice query;
    uint32_t at;
    struct ap_arena *arena; /* lent */
    unsigned parens;        /* open ones */
    bool is_in_braces;      /* words are names of labels */
    bool is_in_brackets;    /* a colon is a sign of its own, elsewhere part of words */
    bool has_duration;      /* in the brackets, so far */
    bool has_colon;
    char error[256];
    uint32_t error_at;
};

/* `query` has less than 4 GiB. */
void promql_lexer_init(struct promql_lexer *lexer, struct ap_slice query, struct ap_arena *arena);
struct promql_token promql_lexer_next(struct promql_lexer *lexer);

/* "5m", "1h30m", "1d12h": units from large to small, each once: y w d h m s ms. False: it is none, or overflows. */
bool promql_parse_duration(struct ap_slice text, int64_t *ret_ms);

const char *promql_token_name(enum promql_token_kind kind); /* for errors: "number", "\"(\"", "end of input" */
