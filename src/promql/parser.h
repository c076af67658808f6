/*
 * promql/parser.h - queries of Prometheus 3's language, from text to tree and back
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "promql/ast.h"

enum {
    PROMQL_QUERY_BYTES_MAX = 1 << 20,
    PROMQL_DEPTH_MAX = 500,      /* of parentheses in each other and the like */
    PROMQL_OPERATORS_MAX = 5000, /* they make deep trees as well */
};

struct promql_query {
    struct ap_arena arena; /* the tree */
    struct promql_expr *expr;
    struct matchers **matchers; /* owned, each cleared on its own */
    size_t matchers_count;
};

/*
 * AP_E_PARSE: err->text is "LINE:COLUMN: parse error: …" as Prometheus has it; AP_E_LIMIT: too long or too deep.
 * `is_experimental`: functions and modifiers that Prometheus keeps behind a flag are allowed. The text must stay while
 * the query is used.
 */
ap_nodiscard enum ap_rc promql_parse(struct ap_slice text, bool is_experimental, struct promql_query *ret_query,
                                     struct ap_err *err);
void promql_query_clear(struct promql_query *query);

/* What step() and range() say in durations, in seconds. */
struct promql_duration_context {
    double step_s;
    double range_s;
};

/*
 * AP_E_PARSE: "START:END: duration must be greater than 0" and the like. With `context` NULL durations that take step()
 * or range() are let pass, as 0.
 */
ap_nodiscard enum ap_rc promql_duration_ms(const struct promql_duration *duration,
                                           const struct promql_duration_context *context, bool is_positive,
                                           int64_t *ret_ms, struct ap_err *err);

/* The query in Prometheus' way of writing, on one line: what parses to the same tree. */
void promql_print(const struct promql_expr *expr, struct ap_buf *out);
/* On several lines where it is long: what /api/v1/format_query answers. */
void promql_print_pretty(const struct promql_expr *expr, struct ap_buf *out);
/* In double quotes, with Go's escapes. */
void promql_print_quoted(struct ap_slice text, struct ap_buf *out);
/* "5m", "1h30m", "0s". */
void promql_print_duration(int64_t ms, struct ap_buf *out);
