/*
 * promql/ast.h - a query as a tree
 *
 * All of it is in the arena it was parsed into, but for matchers, which own compiled regular expressions:
 * promql_query_clear().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "promql/functions.h"
#include "tsdb/matcher.h"

enum promql_expr_kind {
    EXPR_NUMBER,
    EXPR_TEXT,
    EXPR_SELECTOR,  /* up{job="a"} */
    EXPR_RANGE,     /* up[5m] */
    EXPR_SUBQUERY,  /* (…)[1h:1m] */
    EXPR_CALL,      /* rate(…) */
    EXPR_AGGREGATE, /* sum by (job) (…) */
    EXPR_BINARY,
    EXPR_UNARY,
    EXPR_PAREN,
};

enum promql_aggregation {
    AGGREGATE_SUM,
    AGGREGATE_AVG,
    AGGREGATE_COUNT,
    AGGREGATE_MIN,
    AGGREGATE_MAX,
    AGGREGATE_GROUP,
    AGGREGATE_STDDEV,
    AGGREGATE_STDVAR,
    AGGREGATE_TOPK,
    AGGREGATE_BOTTOMK,
    AGGREGATE_COUNT_VALUES,
    AGGREGATE_QUANTILE,
    AGGREGATE_LIMITK,
    AGGREGATE_LIMIT_RATIO,
};

enum promql_operator {
    OPERATOR_POW,
    OPERATOR_MUL,
    OPERATOR_DIV,
    OPERATOR_MOD,
    OPERATOR_ATAN2,
    OPERATOR_ADD,
    OPERATOR_SUB,
    OPERATOR_EQUAL,
    OPERATOR_NOT_EQUAL,
    OPERATOR_LESS,
    OPERATOR_LESS_EQUAL,
    OPERATOR_GREATER,
    OPERATOR_GREATER_EQUAL,
    OPERATOR_TRIM_UPPER, /* </, of a histogram: what is above goes */
    OPERATOR_TRIM_LOWER,
    OPERATOR_AND,
    OPERATOR_UNLESS,
    OPERATOR_OR,
};

/* A span of time: a constant, or what an expression of scalars gives, in seconds (durations with arithmetic). */
struct promql_duration {
    int64_t ms;
    const struct promql_expr *expr; /* NULL: `ms` it is */
};

enum promql_at { AT_NONE, AT_TIME, AT_START, AT_END };

/* How a window or an instant looks beyond its ends: `anchored`, `smoothed`. */
enum promql_extension { EXTENSION_NONE, EXTENSION_ANCHORED, EXTENSION_SMOOTHED };

/* When: of a selector or a sub-query. */
struct promql_when {
    struct promql_duration offset;
    bool has_offset;
    enum promql_at at;
    int64_t at_ms; /* of AT_TIME */
};

struct promql_selector {
    struct ap_slice name; /* data NULL: none was written in front of the braces */
    struct promql_matcher {
        struct ap_slice name;
        enum matcher_kind kind;
        struct ap_slice value;
        uint32_t start; /* in bytes of the query */
    } * items;          /* as written, without the name in front */
    size_t item_count;
    const struct matchers *matchers; /* all of them, compiled */
    struct promql_when when;
    enum promql_extension extension;
};

enum promql_cardinality { ONE_TO_ONE, MANY_TO_ONE, ONE_TO_MANY, MANY_TO_MANY };

struct promql_labels {
    struct ap_slice *items;
    size_t count;
};

struct promql_matching {
    enum promql_cardinality cardinality;
    bool is_on;      /* match on these labels; otherwise on all but these */
    bool has_labels; /* on() or ignoring() was written */
    struct promql_labels labels;
    struct promql_labels include; /* group_left(…) */
    bool has_fill[2];             /* of the left and of the right side */
    double fill[2];
};

struct promql_expr {
    enum promql_expr_kind kind;
    enum promql_type type;
    uint32_t start; /* in bytes of the query */
    uint32_t end;
    union {
        struct {
            double value;
            bool is_duration; /* was written as one */
        } number;
        struct ap_slice text;
        struct promql_selector selector;
        struct {
            struct promql_expr *selector;
            struct promql_duration range;
        } range;
        struct {
            struct promql_expr *of;
            struct promql_duration range;
            struct promql_duration step;
            bool has_step;
            struct promql_when when;
        } subquery;
        struct {
            const struct promql_function *function;
            struct promql_expr **arguments;
            size_t count;
        } call;
        struct {
            enum promql_aggregation aggregation;
            struct promql_expr *of;
            struct promql_expr *parameter; /* NULL: it takes none */
            struct promql_labels labels;
            bool is_without;
        } aggregate;
        struct {
            enum promql_operator operator;
            uint32_t operator_start; /* in bytes of the query */
            struct promql_expr *left;
            struct promql_expr *right;
            bool returns_bool;
            struct promql_matching matching;
        } binary;
        struct {
            bool is_minus;
            struct promql_expr *of;
        } unary;
        struct promql_expr *paren;
    };
};

const char *promql_aggregation_name(enum promql_aggregation aggregation);
enum promql_type promql_aggregation_parameter(enum promql_aggregation aggregation); /* TYPE_NONE: it takes none */
const char *promql_operator_name(enum promql_operator operator);
