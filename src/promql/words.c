#include "promql/parsing.h"

bool promql_token_is_word(const struct promql_token *token, const char *word)
{
    return token->kind == TOKEN_WORD && !token->is_label && ap_slice_equal_nocase(token->text, word);
}

bool promql_token_is_one_of(const struct promql_token *token, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (promql_token_is_word(token, words[i]))
            return true;
    return false;
}

const struct promql_operator_row promql_operators[] = {
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
    return promql_operators[operator].name;
}

const struct promql_operator_row *promql_operator_find(const struct promql_token *token)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(promql_operators); i++)
        if (token->kind == promql_operators[i].token &&
            (token->kind != TOKEN_WORD || promql_token_is_word(token, promql_operators[i].name)))
            return &promql_operators[i];
    return NULL;
}

const struct promql_aggregation_row promql_aggregations[] = {
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
    return promql_aggregations[aggregation].name;
}

enum promql_type promql_aggregation_parameter(enum promql_aggregation aggregation)
{
    return promql_aggregations[aggregation].parameter;
}

bool promql_aggregation_find(const struct promql_token *token, enum promql_aggregation *ret_aggregation)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(promql_aggregations); i++) {
        if (!promql_token_is_word(token, promql_aggregations[i].name))
            continue;
        *ret_aggregation = (enum promql_aggregation)i;
        return true;
    }
    return false;
}
