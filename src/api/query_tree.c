#include "api/query_tree.h"

#include <inttypes.h>

#include "api/prometheus.h"
#include "base/mem.h"
#include "tsdb/labels.h"

typedef struct promql_expr expr_t;

/* ---- Parts ---- */

static void add_text(struct ap_buf *out, const char *name, struct ap_slice text)
{
    ap_buf_printf(out, "\"%s\":", name);
    ap_buf_add_json_string(out, text);
}

static void add_bool(struct ap_buf *out, const char *name, bool value)
{
    ap_buf_printf(out, "\"%s\":%s", name, value ? "true" : "false");
}

static void add_labels(struct ap_buf *out, const char *name, const struct promql_labels *labels)
{
    ap_buf_printf(out, "\"%s\":[", name);
    for (size_t i = 0; i < labels->count; i++) {
        ap_buf_add_cstr(out, i ? "," : "");
        ap_buf_add_json_string(out, labels->items[i]);
    }
    ap_buf_add_char(out, ']');
}

static void add_child(struct ap_buf *out, const char *name, const expr_t *expr)
{
    ap_buf_printf(out, "\"%s\":", name);
    if (expr)
        query_tree_add_json(out, expr);
    else
        ap_buf_add_cstr(out, "null");
}

static void add_matcher(struct ap_buf *out, struct ap_slice name, enum matcher_kind kind, struct ap_slice value)
{
    static const char *const signs[] = {"=", "!=", "=~", "!~"};
    ap_buf_add_cstr(out, out->data[out->bytes - 1] == '[' ? "{" : ",{");
    add_text(out, "name", name);
    ap_buf_printf(out, ",\"type\":\"%s\",", signs[kind]);
    add_text(out, "value", value);
    ap_buf_add_char(out, '}');
}

/* A name in front of the braces is the last matcher; one inside them is a matcher and nothing else. */
static void add_selector(struct ap_buf *out, const struct promql_selector *selector)
{
    const struct ap_slice label = ap_slice_cstr(LABEL_METRIC_NAME);
    ap_buf_add_cstr(out, "\"matchers\":[");
    for (size_t i = 0; i < selector->item_count; i++)
        add_matcher(out, selector->items[i].name, selector->items[i].kind, selector->items[i].value);
    if (selector->name.data)
        add_matcher(out, label, MATCHER_EQUAL, selector->name);
    ap_buf_add_cstr(out, "],");
    add_text(out, "name", selector->name);
}

static void add_moment(struct ap_buf *out, const struct promql_when *when)
{
    static const char *const names[] = {
        [AT_NONE] = "null", [AT_TIME] = "null", [AT_START] = "\"start\"", [AT_END] = "\"end\""};
    ap_buf_printf(out, "\"startOrEnd\":%s,", names[when->at]);
}

static void add_timestamp(struct ap_buf *out, const struct promql_when *when)
{
    if (when->at == AT_TIME)
        ap_buf_printf(out, "\"timestamp\":%" PRId64, when->at_ms);
    else
        ap_buf_add_cstr(out, "\"timestamp\":null");
}

/* ---- One kind each ---- */

static void add_any_selector(struct ap_buf *out, const expr_t *expr)
{
    const struct promql_selector *selector =
        expr->kind == EXPR_RANGE ? &expr->range.selector->selector : &expr->selector;
    ap_buf_printf(out, "\"anchored\":%s,", selector->extension == EXTENSION_ANCHORED ? "true" : "false");
    add_selector(out, selector);
    ap_buf_printf(out, ",\"offset\":%" PRId64, selector->when.offset.ms);
    if (expr->kind == EXPR_RANGE)
        ap_buf_printf(out, ",\"range\":%" PRId64, expr->range.range.ms);
    ap_buf_printf(out, ",\"smoothed\":%s,", selector->extension == EXTENSION_SMOOTHED ? "true" : "false");
    add_moment(out, &selector->when);
    add_timestamp(out, &selector->when);
}

static void add_subquery(struct ap_buf *out, const expr_t *expr)
{
    const struct promql_when *when = &expr->subquery.when;
    add_child(out, "expr", expr->subquery.of);
    ap_buf_printf(out, ",\"offset\":%" PRId64 ",\"range\":%" PRId64 ",", when->offset.ms, expr->subquery.range.ms);
    add_moment(out, when);
    ap_buf_printf(out, "\"step\":%" PRId64 ",", expr->subquery.step.ms);
    add_timestamp(out, when);
}

/* How many arguments there may be beyond all but the last type; -1: any number. */
static int variadic_of(const struct promql_function *function)
{
    return function->most ? (int)(function->most - promql_function_arguments(function) + 1) : function->optional;
}

static void add_call(struct ap_buf *out, const expr_t *expr)
{
    static const char *const types[] = {
        [TYPE_NONE] = "none",     [TYPE_SCALAR] = "scalar", [TYPE_VECTOR] = "vector",
        [TYPE_MATRIX] = "matrix", [TYPE_STRING] = "string",
    };
    const struct promql_function *function = expr->call.function;
    ap_buf_add_cstr(out, "\"args\":[");
    for (size_t i = 0; i < expr->call.count; i++) {
        ap_buf_add_cstr(out, i ? "," : "");
        query_tree_add_json(out, expr->call.arguments[i]);
    }
    ap_buf_add_cstr(out, "],\"func\":{\"argTypes\":[");
    for (size_t i = 0; i < promql_function_arguments(function); i++)
        ap_buf_printf(out, "%s\"%s\"", i ? "," : "", types[function->arguments[i]]);
    ap_buf_printf(out, "],\"name\":\"%s\",\"returnType\":\"%s\",\"variadic\":%d}", function->name,
                  types[function->returns], variadic_of(function));
}

static void add_aggregate(struct ap_buf *out, const expr_t *expr)
{
    add_child(out, "expr", expr->aggregate.of);
    ap_buf_add_char(out, ',');
    add_labels(out, "grouping", &expr->aggregate.labels);
    ap_buf_printf(out, ",\"op\":\"%s\",", promql_aggregation_name(expr->aggregate.aggregation));
    add_child(out, "param", expr->aggregate.parameter);
}

static void add_matching(struct ap_buf *out, const struct promql_matching *matching)
{
    static const char *const names[] = {
        [ONE_TO_ONE] = "one-to-one",
        [MANY_TO_ONE] = "many-to-one",
        [ONE_TO_MANY] = "one-to-many",
        [MANY_TO_MANY] = "many-to-many",
    };
    ap_buf_printf(out, "{\"card\":\"%s\",\"fillValues\":{", names[matching->cardinality]);
    for (int side = 0; side < 2; side++) {
        ap_buf_add_cstr(out, side ? ",\"rhs\":" : "\"lhs\":");
        if (matching->has_fill[side])
            ap_buf_add_json_double(out, matching->fill[side]);
        else
            ap_buf_add_cstr(out, "null");
    }
    ap_buf_add_cstr(out, "},");
    add_labels(out, "include", &matching->include);
    ap_buf_add_char(out, ',');
    add_labels(out, "labels", &matching->labels);
    ap_buf_add_char(out, ',');
    add_bool(out, "on", matching->is_on);
    ap_buf_add_char(out, '}');
}

/* Only vectors are matched. */
static void add_binary(struct ap_buf *out, const expr_t *expr)
{
    const expr_t *left = expr->binary.left, *right = expr->binary.right;
    add_bool(out, "bool", expr->binary.returns_bool);
    ap_buf_add_char(out, ',');
    add_child(out, "lhs", left);
    ap_buf_add_cstr(out, ",\"matching\":");
    if (left->type == TYPE_VECTOR && right->type == TYPE_VECTOR)
        add_matching(out, &expr->binary.matching);
    else
        ap_buf_add_cstr(out, "null");
    ap_buf_add_cstr(out, ",\"op\":");
    ap_buf_add_json_string(out, ap_slice_cstr(promql_operator_name(expr->binary.operator)));
    ap_buf_add_char(out, ',');
    add_child(out, "rhs", right);
}

void query_tree_add_json(struct ap_buf *out, const expr_t *expr)
{
    static const char *const types[] = {
        [EXPR_NUMBER] = "numberLiteral",  [EXPR_TEXT] = "stringLiteral", [EXPR_SELECTOR] = "vectorSelector",
        [EXPR_RANGE] = "matrixSelector",  [EXPR_SUBQUERY] = "subquery",  [EXPR_CALL] = "call",
        [EXPR_AGGREGATE] = "aggregation", [EXPR_BINARY] = "binaryExpr",  [EXPR_UNARY] = "unaryExpr",
        [EXPR_PAREN] = "parenExpr",
    };
    bool is_literal = expr->kind == EXPR_NUMBER || expr->kind == EXPR_TEXT;
    ap_buf_add_char(out, '{');
    switch (expr->kind) {
    case EXPR_NUMBER:
    case EXPR_TEXT:
        break; /* the value comes last */
    case EXPR_SELECTOR:
    case EXPR_RANGE:
        add_any_selector(out, expr);
        break;
    case EXPR_SUBQUERY:
        add_subquery(out, expr);
        break;
    case EXPR_CALL:
        add_call(out, expr);
        break;
    case EXPR_AGGREGATE:
        add_aggregate(out, expr);
        break;
    case EXPR_BINARY:
        add_binary(out, expr);
        break;
    case EXPR_UNARY:
        add_child(out, "expr", expr->unary.of);
        ap_buf_printf(out, ",\"op\":\"%c\"", expr->unary.is_minus ? '-' : '+');
        break;
    case EXPR_PAREN:
        add_child(out, "expr", expr->paren);
        break;
    }
    ap_buf_printf(out, "%s\"type\":\"%s\"", is_literal ? "" : ",", types[expr->kind]);
    if (expr->kind == EXPR_NUMBER) {
        ap_buf_add_cstr(out, ",\"val\":\"");
        prometheus_add_scalar(out, expr->number.value);
        ap_buf_add_char(out, '"');
    } else if (expr->kind == EXPR_TEXT) {
        ap_buf_add_char(out, ',');
        add_text(out, "val", expr->text);
    } else if (expr->kind == EXPR_AGGREGATE) {
        ap_buf_add_char(out, ',');
        add_bool(out, "without", expr->aggregate.is_without);
    }
    ap_buf_add_char(out, '}');
}
