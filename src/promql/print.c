/* A tree as text. What matters: parsing it gives the same tree. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "promql/float_text.h"
#include "promql/lexer.h"
#include "promql/parser.h"
#include "tsdb/labels.h"

typedef struct promql_expr expr_t;

enum { LINE_BYTES_MAX = 100, INDENT = 2 };

void promql_print_duration(int64_t ms, struct ap_buf *out)
{
    static const struct {
        const char *name;
        int64_t ms;
        bool is_exact; /* only when nothing is left over: a year is no number of days that people mean */
    } units[] = {
        {"y", INT64_C(365) * 86400 * 1000, true},
        {"w", INT64_C(7) * 86400 * 1000, true},
        {"d", INT64_C(86400) * 1000, false},
        {"h", INT64_C(3600) * 1000, false},
        {"m", INT64_C(60) * 1000, false},
        {"s", 1000, false},
        {"ms", 1, false},
    };
    uint64_t left = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;
    if (ms < 0)
        ap_buf_add_cstr(out, "-");
    if (ms == 0)
        ap_buf_add_cstr(out, "0s");
    for (size_t i = 0; i < AP_ARRAY_COUNT(units); i++) {
        uint64_t unit = (uint64_t)units[i].ms;
        if (left < unit || (units[i].is_exact && left % unit != 0))
            continue;
        ap_buf_printf(out, "%" PRIu64 "%s", left / unit, units[i].name);
        left %= unit;
    }
}

void promql_print_quoted(struct ap_slice text, struct ap_buf *out)
{
    ap_buf_add_cstr(out, "\"");
    for (size_t i = 0; i < text.bytes; i++) {
        unsigned char c = (unsigned char)text.data[i];
        static const char from[] = "\"\\\n\t\r\a\b\f\v";
        static const char to[] = "\"\\ntrabfv";
        const char *found = c ? strchr(from, c) : NULL;
        size_t bytes = 1;
        if (c >= 0x80) {
            bytes = 0;
            for (size_t i_end = i + 2; i_end <= AP_MIN(i + 4, text.bytes) && bytes == 0; i_end++)
                if (ap_utf8_valid_bytes(ap_slice(text.data + i, i_end - i)) == i_end - i)
                    bytes = i_end - i;
        }
        if (found)
            ap_buf_printf(out, "\\%c", to[found - from]);
        else if (c < 0x20 || c == 0x7f || bytes == 0)
            ap_buf_printf(out, "\\x%02x", c);
        else
            ap_buf_add(out, &text.data[i], bytes);
        i += bytes > 1 ? bytes - 1 : 0;
    }
    ap_buf_add_cstr(out, "\"");
}

static bool is_plain_name(struct ap_slice name, bool has_colons)
{
    for (size_t i = 0; i < name.bytes; i++) {
        char c = name.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (has_colons && c == ':');
        if (!is_letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return name.bytes > 0;
}

static void add_name(struct ap_slice name, struct ap_buf *out)
{
    if (is_plain_name(name, false))
        ap_buf_add_slice(out, name);
    else
        promql_print_quoted(name, out);
}

static void add_labels(const struct promql_labels *labels, struct ap_buf *out)
{
    ap_buf_add_cstr(out, "(");
    for (size_t i = 0; i < labels->count; i++) {
        if (i)
            ap_buf_add_cstr(out, ", ");
        add_name(labels->items[i], out);
    }
    ap_buf_add_cstr(out, ")");
}

static void add_duration(const struct promql_duration *duration, struct ap_buf *out)
{
    if (duration->expr)
        promql_print(duration->expr, out);
    else
        promql_print_duration(duration->ms, out);
}

static void add_when(const struct promql_when *when, enum promql_extension extension, struct ap_buf *out)
{
    if (when->at == AT_TIME)
        ap_buf_printf(out, " @ %.3f", (double)when->at_ms / 1000);
    else if (when->at != AT_NONE)
        ap_buf_add_cstr(out, when->at == AT_START ? " @ start()" : " @ end()");
    if (extension != EXTENSION_NONE)
        ap_buf_add_cstr(out, extension == EXTENSION_ANCHORED ? " anchored" : " smoothed");
    if (!when->offset.expr && when->offset.ms == 0)
        return;
    ap_buf_add_cstr(out, " offset ");
    add_duration(&when->offset, out);
}

/* In front of the braces it would be read as something else, in any case of its letters. */
static bool is_reserved(struct ap_slice name)
{
    static const char *const words[] = {"bool", "inf", "nan", "on", "ignoring", "group_left", "group_right", "atan2"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(words); i++)
        if (ap_slice_equal_nocase(name, words[i]))
            return true;
    return false;
}

static void add_matcher(const struct promql_matcher *item, struct ap_buf *out)
{
    static const char *const signs[] = {"=", "!=", "=~", "!~"};
    add_name(item->name, out);
    ap_buf_add_cstr(out, signs[item->kind]);
    promql_print_quoted(item->value, out);
}

static int compare_matchers(const void *left, const void *right)
{
    AP_AUTO_BUF struct ap_buf a = {0};
    AP_AUTO_BUF struct ap_buf b = {0};
    add_matcher(left, &a);
    add_matcher(right, &b);
    int order = memcmp(a.data, b.data, AP_MIN(a.bytes, b.bytes));
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* Sorted, as Prometheus has it. */
static void add_selector(const struct promql_selector *selector, bool has_when, struct ap_buf *out)
{
    bool is_outside = selector->name.data && is_plain_name(selector->name, true) && !is_reserved(selector->name);
    struct promql_matcher *items = ap_new0_array(struct promql_matcher, selector->item_count + 1);
    size_t count = selector->item_count;
    if (count)
        memcpy(items, selector->items, count * sizeof(*items));
    if (is_outside)
        ap_buf_add_slice(out, selector->name);
    else if (selector->name.data)
        items[count++] = (struct promql_matcher){ap_slice_cstr(LABEL_METRIC_NAME), MATCHER_EQUAL, selector->name, 0};
    qsort(items, count, sizeof(*items), compare_matchers);
    if (!is_outside || count) {
        ap_buf_add_cstr(out, "{");
        for (size_t i = 0; i < count; i++) {
            if (i)
                ap_buf_add_cstr(out, ",");
            add_matcher(&items[i], out);
        }
        ap_buf_add_cstr(out, "}");
    }
    free(items);
    if (has_when)
        add_when(&selector->when, selector->extension, out);
}

/* "sum by (job) " */
static void add_aggregate_head(const expr_t *expr, struct ap_buf *out)
{
    ap_buf_add_cstr(out, promql_aggregation_name(expr->aggregate.aggregation));
    if (!expr->aggregate.is_without && expr->aggregate.labels.count == 0)
        return;
    ap_buf_add_cstr(out, expr->aggregate.is_without ? " without " : " by ");
    add_labels(&expr->aggregate.labels, out);
    ap_buf_add_cstr(out, " ");
}

/* "+ on (job) group_left ()" */
static void add_operator(const expr_t *expr, struct ap_buf *out)
{
    const struct promql_matching *matching = &expr->binary.matching;
    ap_buf_add_cstr(out, promql_operator_name(expr->binary.operator));
    if (expr->binary.returns_bool)
        ap_buf_add_cstr(out, " bool");
    bool has_group = matching->cardinality == MANY_TO_ONE || matching->cardinality == ONE_TO_MANY;
    if (matching->labels.count || matching->is_on || has_group) {
        ap_buf_add_cstr(out, matching->is_on ? " on " : " ignoring ");
        add_labels(&matching->labels, out);
    }
    if (has_group) {
        ap_buf_add_cstr(out, matching->cardinality == MANY_TO_ONE ? " group_left " : " group_right ");
        add_labels(&matching->include, out);
    }
    bool is_same = matching->has_fill[0] && matching->has_fill[1] && matching->fill[0] == matching->fill[1];
    for (unsigned side = 0; side < (is_same ? 1 : 2); side++) {
        if (!matching->has_fill[side])
            continue;
        ap_buf_add_cstr(out, is_same ? " fill (" : side == 0 ? " fill_left (" : " fill_right (");
        ap_buf_add_cstr(out, go_float(matching->fill[side]).text);
        ap_buf_add_cstr(out, ")");
    }
}

/* ---- On one line ---- */

static void add_arguments(expr_t *const *arguments, size_t count, struct ap_buf *out)
{
    ap_buf_add_cstr(out, "(");
    for (size_t i = 0; i < count; i++) {
        if (i)
            ap_buf_add_cstr(out, ", ");
        promql_print(arguments[i], out);
    }
    ap_buf_add_cstr(out, ")");
}

static size_t aggregate_arguments(const expr_t *expr, expr_t *ret_arguments[2])
{
    size_t count = 0;
    if (expr->aggregate.parameter)
        ret_arguments[count++] = expr->aggregate.parameter;
    ret_arguments[count++] = expr->aggregate.of;
    return count;
}

/* "[1h:1m] offset 5m", behind what it is of. */
static void add_subquery_tail(const expr_t *expr, struct ap_buf *out)
{
    ap_buf_add_cstr(out, "[");
    add_duration(&expr->subquery.range, out);
    ap_buf_add_cstr(out, ":");
    if (expr->subquery.has_step)
        add_duration(&expr->subquery.step, out);
    ap_buf_add_cstr(out, "]");
    add_when(&expr->subquery.when, EXTENSION_NONE, out);
}

/* Infinity to the left of ^ goes without its sign, which would be read as one before the whole power. */
static void add_left_operand(const expr_t *expr, struct ap_buf *out)
{
    const expr_t *left = expr->binary.left;
    if (expr->binary.operator== OPERATOR_POW && left->kind == EXPR_NUMBER && left->number.value == INFINITY)
        ap_buf_add_cstr(out, "Inf");
    else
        promql_print(left, out);
}

void promql_print(const expr_t *expr, struct ap_buf *out)
{
    expr_t *arguments[2];
    size_t count;
    switch (expr->kind) {
    case EXPR_NUMBER:
        if (expr->number.is_duration && expr->number.value == floor(expr->number.value * 1000) / 1000)
            promql_print_duration((int64_t)round(expr->number.value * 1000), out);
        else
            ap_buf_add_cstr(out, plain_float(expr->number.value).text);
        break;
    case EXPR_TEXT:
        promql_print_quoted(expr->text, out);
        break;
    case EXPR_SELECTOR:
        add_selector(&expr->selector, true, out);
        break;
    case EXPR_RANGE:
        add_selector(&expr->range.selector->selector, false, out);
        ap_buf_add_cstr(out, "[");
        add_duration(&expr->range.range, out);
        ap_buf_add_cstr(out, "]");
        if (expr->range.selector->selector.extension != EXTENSION_NONE)
            ap_buf_add_cstr(out,
                            expr->range.selector->selector.extension == EXTENSION_ANCHORED ? " anchored" : " smoothed");
        add_when(&expr->range.selector->selector.when, EXTENSION_NONE, out);
        break;
    case EXPR_SUBQUERY:
        promql_print(expr->subquery.of, out);
        add_subquery_tail(expr, out);
        break;
    case EXPR_CALL:
        ap_buf_add_cstr(out, expr->call.function->name);
        add_arguments(expr->call.arguments, expr->call.count, out);
        break;
    case EXPR_AGGREGATE:
        add_aggregate_head(expr, out);
        count = aggregate_arguments(expr, arguments);
        add_arguments(arguments, count, out);
        break;
    case EXPR_BINARY:
        add_left_operand(expr, out);
        ap_buf_add_cstr(out, " ");
        add_operator(expr, out);
        ap_buf_add_cstr(out, " ");
        promql_print(expr->binary.right, out);
        break;
    case EXPR_UNARY:
        ap_buf_add_cstr(out, expr->unary.is_minus ? "-" : "+");
        promql_print(expr->unary.of, out);
        break;
    case EXPR_PAREN:
        ap_buf_add_cstr(out, "(");
        promql_print(expr->paren, out);
        ap_buf_add_cstr(out, ")");
        break;
    }
}

/* ---- On several ---- */

static void add_indent(unsigned level, struct ap_buf *out)
{
    for (unsigned i = 0; i < level * INDENT; i++)
        ap_buf_add_cstr(out, " ");
}

static void add_pretty(const expr_t *expr, unsigned level, struct ap_buf *out);

static void add_pretty_arguments(expr_t *const *arguments, size_t count, unsigned level, struct ap_buf *out)
{
    ap_buf_add_cstr(out, "(\n");
    for (size_t i = 0; i < count; i++) {
        add_pretty(arguments[i], level + 1, out);
        ap_buf_add_cstr(out, i + 1 < count ? ",\n" : "\n");
    }
    add_indent(level, out);
    ap_buf_add_cstr(out, ")");
}

/* Begins with the indentation; what is short enough, that aside, stays on one line. A sub-query that is goes without,
 * as Prometheus has it. */
static void add_pretty(const expr_t *expr, unsigned level, struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf line = {0};
    promql_print(expr, &line);
    bool fits = line.bytes <= LINE_BYTES_MAX;
    expr_t *arguments[2];
    size_t count;
    if (fits ? expr->kind != EXPR_SUBQUERY : expr->kind != EXPR_BINARY)
        add_indent(level, out);
    if (fits) {
        ap_buf_add_slice(out, ap_buf_slice(&line));
        return;
    }
    switch (expr->kind) {
    case EXPR_CALL:
        ap_buf_add_cstr(out, expr->call.function->name);
        add_pretty_arguments(expr->call.arguments, expr->call.count, level, out);
        break;
    case EXPR_AGGREGATE:
        add_aggregate_head(expr, out);
        count = aggregate_arguments(expr, arguments);
        add_pretty_arguments(arguments, count, level, out);
        break;
    case EXPR_PAREN:
        add_pretty_arguments(&expr->paren, 1, level, out);
        break;
    case EXPR_BINARY:
        add_pretty(expr->binary.left, level + 1, out);
        ap_buf_add_cstr(out, "\n");
        add_indent(level, out);
        add_operator(expr, out);
        ap_buf_add_cstr(out, "\n");
        add_pretty(expr->binary.right, level + 1, out);
        break;
    case EXPR_UNARY:
        ap_buf_add_cstr(out, expr->unary.is_minus ? "-" : "+");
        ap_buf_clear(&line);
        add_pretty(expr->unary.of, level, &line);
        ap_buf_add_slice(out, ap_slice_trim(ap_buf_slice(&line)));
        break;
    case EXPR_SUBQUERY:
        ap_buf_clear(&line);
        add_pretty(expr->subquery.of, level, &line);
        ap_buf_add_slice(out, ap_slice_trim(ap_buf_slice(&line)));
        add_subquery_tail(expr, out);
        break;
    default:
        ap_buf_add_slice(out, ap_buf_slice(&line));
    }
}

void promql_print_pretty(const expr_t *expr, struct ap_buf *out)
{
    add_pretty(expr, 0, out);
}
