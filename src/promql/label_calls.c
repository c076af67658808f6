/*
 * Functions that look at labels: label_replace, label_join, and the order of series: sort…
 */
#include <math.h>
#include <string.h>

#include "promql/run.h"
#include "tsdb/labels.h"

static bool is_call(const struct promql_expr *expr, const char *name)
{
    return strcmp(expr->call.function->name, name) == 0;
}

static struct ap_slice text_of(const struct promql_expr *expr, size_t argument)
{
    return without_parens(expr->call.arguments[argument])->text;
}

/* ---- New labels for old series ---- */

struct label_call {
    struct operator op;
};

static enum ap_rc pass_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                            struct ap_err *err)
{
    return operator_read(op->inputs[0], worker, index, ret_column, err);
}

static void set_label(struct operator* op, size_t index, struct ap_slice name, struct ap_slice value)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    labels_set(op->labels[index], name, value, &out);
    op->labels[index] = run_copy(op->run, ap_buf_slice(&out));
}

/* Opens the input and copies its list of labels, to be changed. */
static enum ap_rc open_copy(struct operator* op, struct ap_err *err)
{
    enum ap_rc rc = operator_open_inputs(op, err);
    if (rc == AP_OK)
        rc = operator_take_labels(op, false, err);
    if (rc != AP_OK)
        return rc;
    struct ap_slice *labels = ap_arena_try_alloc(&op->run->arena, (op->count + 1) * sizeof(*labels));
    if (!labels)
        return ap_fail(err, AP_E_NOMEM, "no memory for the labels of %zu series", op->count);
    if (op->count)
        memcpy(labels, op->labels, op->count * sizeof(*labels));
    op->labels = labels;
    op->is_unique_without_name = false;
    return AP_OK;
}

static enum ap_rc check_name(struct ap_slice name, const char *what, const char *function, struct ap_err *err)
{
    if (name.bytes && ap_utf8_valid_bytes(name) == name.bytes)
        return AP_OK;
    return ap_fail(err, AP_E_CONFLICT, "invalid %s label name in %s(): %.*s", what, function, AP_SLICE_ARG(name));
}

static enum ap_rc replace_open(struct operator* op, struct ap_err *err)
{
    const struct promql_expr *expr = op->expr;
    struct ap_slice name = text_of(expr, 1), template = text_of(expr, 2), source = text_of(expr, 3),
                    pattern = text_of(expr, 4);
    AP_AUTO(matcher) struct matcher *matcher = NULL;
    struct ap_err reason;
    if (matcher_new(MATCHER_REGEX, ap_slice_cstr("label_replace"), pattern, &matcher, &reason) != AP_OK)
        return ap_fail(err, AP_E_CONFLICT, "invalid regular expression in label_replace(): %.*s",
                       AP_SLICE_ARG(pattern));
    enum ap_rc rc = check_name(name, "destination", "label_replace", err);
    if (rc == AP_OK)
        rc = open_copy(op, err);
    for (size_t i = 0; i < op->count && rc == AP_OK; i++) {
        AP_AUTO_BUF struct ap_buf value = {0};
        if (matcher_expand(matcher, labels_get(op->labels[i], source), template, &value))
            set_label(op, i, name, ap_buf_slice(&value));
    }
    return rc;
}

static enum ap_rc join_open(struct operator* op, struct ap_err *err)
{
    const struct promql_expr *expr = op->expr;
    struct ap_slice name = text_of(expr, 1), separator = text_of(expr, 2);
    enum ap_rc rc = AP_OK;
    for (size_t i = 3; i < expr->call.count && rc == AP_OK; i++)
        rc = check_name(text_of(expr, i), "source", "label_join", err);
    if (rc == AP_OK)
        rc = check_name(name, "destination", "label_join", err);
    if (rc == AP_OK)
        rc = open_copy(op, err);
    for (size_t i = 0; i < op->count && rc == AP_OK; i++) {
        AP_AUTO_BUF struct ap_buf value = {0};
        for (size_t j = 3; j < expr->call.count; j++) {
            if (j > 3)
                ap_buf_add_slice(&value, separator);
            ap_buf_add_slice(&value, labels_get(op->labels[i], text_of(expr, j)));
        }
        set_label(op, i, name, ap_buf_slice(&value));
    }
    return rc;
}

/* ---- Order ---- */

struct sort_call {
    struct operator op;
    uint32_t *order; /* position to series of the input; NULL: as it is */
    bool is_descending;
    bool is_by_value;
    struct held held; /* by value, of an instant query */
};

/* Text with numbers in it: "a2" before "a10". */
static int compare_naturally(struct ap_slice a, struct ap_slice b)
{
    size_t i = 0, j = 0;
    while (i < a.bytes && j < b.bytes) {
        bool is_digit_a = a.data[i] >= '0' && a.data[i] <= '9', is_digit_b = b.data[j] >= '0' && b.data[j] <= '9';
        if (!is_digit_a || !is_digit_b) {
            if (a.data[i] != b.data[j])
                return (unsigned char)a.data[i] < (unsigned char)b.data[j] ? -1 : 1;
            i++;
            j++;
            continue;
        }
        while (i < a.bytes && a.data[i] == '0')
            i++;
        while (j < b.bytes && b.data[j] == '0')
            j++;
        size_t start_a = i, start_b = j;
        while (i < a.bytes && a.data[i] >= '0' && a.data[i] <= '9')
            i++;
        while (j < b.bytes && b.data[j] >= '0' && b.data[j] <= '9')
            j++;
        size_t digits_a = i - start_a, digits_b = j - start_b;
        int order = digits_a != digits_b ? (digits_a < digits_b ? -1 : 1)
                                         : memcmp(a.data + start_a, b.data + start_b, digits_a);
        if (order)
            return order;
    }
    return (a.bytes - i > 0) - (b.bytes - j > 0);
}

/* What qsort_r() is told. */
struct sorting {
    const struct sort_call *call;
    const double *values;
};

static int compare_series(const void *a, const void *b, void *context)
{
    const struct sorting *sorting = context;
    const struct sort_call *call = sorting->call;
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    int order = 0;
    if (call->is_by_value) {
        double x = sorting->values[i], y = sorting->values[j];
        if (isnan(x) || isnan(y))
            return isnan(x) - isnan(y) ? isnan(x) - isnan(y) : (int)i - (int)j; /* NaN at the end, both ways */
        order = (x > y) - (x < y);
        order = call->is_descending ? -order : order;
        return order ? order : (i > j) - (i < j);
    }
    const struct ap_slice *labels = call->op.inputs[0]->labels;
    for (size_t k = 1; k < call->op.expr->call.count && order == 0; k++) {
        struct ap_slice name = text_of(call->op.expr, k);
        order = compare_naturally(labels_get(labels[i], name), labels_get(labels[j], name));
    }
    if (order == 0)
        order = labels_compare(labels[i], labels[j]);
    return call->is_descending ? -order : order;
}

static enum ap_rc sort_open(struct operator* op, struct ap_err *err)
{
    struct sort_call *call = (struct sort_call *)op;
    enum ap_rc rc = operator_open_inputs(op, err);
    if (rc == AP_OK)
        rc = operator_take_labels(op, false, err);
    if (op->run->request->step_ms > 0 && op->run->end_ms != op->run->steps.start_ms)
        annotate(&op->run->annotations, PROMQL_WARNING, op->expr,
                 "sort is ineffective for range queries since results are always ordered by labels");
    if (rc != AP_OK || op->steps.count > 1)
        return rc;
    if (call->is_by_value)
        rc = held_read(&call->held, op->inputs[0], err);
    if (rc != AP_OK)
        return rc;
    call->order = ap_arena_alloc0(&op->run->arena, (op->count + 1) * sizeof(*call->order));
    for (size_t i = 0; i < op->count; i++)
        call->order[i] = (uint32_t)i;
    struct sorting sorting = {call, call->held.values};
    qsort_r(call->order, op->count, sizeof(*call->order), compare_series, &sorting);
    const struct ap_slice *labels = op->labels;
    op->is_in_order = false;
    op->labels = ap_arena_alloc0(&op->run->arena, (op->count + 1) * sizeof(*op->labels));
    for (size_t i = 0; i < op->count; i++)
        op->labels[i] = labels[call->order[i]];
    return AP_OK;
}

static enum ap_rc sort_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                            struct ap_err *err)
{
    const struct sort_call *call = (const struct sort_call *)op;
    enum ap_rc rc = AP_OK;
    if (call->order && call->is_by_value)
        held_column(&call->held, call->order[index], worker, ret_column);
    else
        rc = operator_read(op->inputs[0], worker, call->order ? call->order[index] : index, ret_column, err);
    if (call->is_by_value)
        ret_column->histograms = NULL; /* sort() leaves them out */
    return rc;
}

static void sort_close(struct operator* op)
{
    held_clear(&((struct sort_call *)op)->held, op->run);
}

/* ---- Planning ---- */

struct operator*
    plan_label_call(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err)
{
    static const struct operator_class replace_class = {.open = replace_open, .read = pass_read};
    static const struct operator_class join_class = {.open = join_open, .read = pass_read};
    static const struct operator_class sort_class = {.open = sort_open, .read = sort_read, .close = sort_close};
    struct operator* input = plan(run, expr->call.arguments[0], steps, err);
    if (!input)
        return NULL;
    if (strncmp(expr->call.function->name, "sort", 4) == 0) {
        struct sort_call *call = operator_new(run, sizeof(*call), &sort_class, expr, steps);
        call->is_by_value = is_call(expr, "sort") || is_call(expr, "sort_desc");
        call->is_descending = is_call(expr, "sort_desc") || is_call(expr, "sort_by_label_desc");
        operator_set_inputs(&call->op, &input, 1);
        return &call->op;
    }
    struct operator* op = operator_new(run, sizeof(struct label_call),
                                       is_call(expr, "label_replace") ? &replace_class : &join_class, expr, steps);
    operator_set_inputs(op, &input, 1);
    return plan_merge(op);
}
