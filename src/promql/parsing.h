/*
 * promql/parsing.h - what the parser and the checks behind it share
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

/* "LINE:COLUMN: parse error: …", unless there was an error already. */
void parser_fail(struct parser *parser, uint32_t at, const char *format, ...) ap_printf(3, 4);

/* Types, modifiers and what else makes no sense, once all of it is read. */
void promql_check(struct parser *parser, const struct promql_expr *expr);
