/*
 * From tree to operators.
 *
 * What does not change from step to step (everything under it has an @) is computed for one step and repeated.
 * Expressions that are written more than once in a query, for the same steps, become one operator, held in memory.
 */
#include <math.h>
#include <string.h>

#include "promql/gathered.h"
#include "promql/parser.h"

enum ap_rc plan_duration(struct run *run, const struct promql_duration *duration, bool is_positive, int64_t *ret_ms,
                         struct ap_err *err)
{
    const struct promql_duration_context context = {
        .step_s = (double)run->request->step_ms / 1000,
        .range_s = (double)(run->end_ms - run->steps.start_ms) / 1000,
    };
    return promql_duration_ms(duration, &context, is_positive, ret_ms, err);
}

/* ---- Numbers, and scalars that only know the time ---- */

struct number {
    struct operator op;
    double value;
    bool is_time; /* the step's time instead */
};

static enum ap_rc number_open(struct operator* op, struct ap_err *err)
{
    static struct ap_slice no_labels;
    (void)err;
    op->count = 1;
    op->labels = &no_labels;
    op->is_unique_without_name = true;
    return AP_OK;
}

static enum ap_rc number_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                              struct ap_err *err)
{
    const struct number *number = (const struct number *)op;
    (void)worker;
    (void)index;
    (void)err;
    for (size_t i = 0; i < op->steps.count; i++)
        ret_column->values[i] = number->is_time ? (double)step_time(&op->steps, i) / 1000 : number->value;
    return AP_OK;
}

static const struct operator_class number_class = {.open = number_open, .read = number_read};

struct operator* plan_number(struct run *run, const struct promql_expr *expr, double value, const struct steps *steps)
{
    struct number *number = operator_new(run, sizeof(*number), &number_class, expr, steps);
    number->value = value;
    return &number->op;
}

struct operator* plan_time(struct run *run, const struct promql_expr *expr, const struct steps *steps)
{
    struct number *number = operator_new(run, sizeof(*number), &number_class, expr, steps);
    number->is_time = true;
    return &number->op;
}

/* ---- One step for all ---- */

static enum ap_rc repeat_open(struct operator* op, struct ap_err *err)
{
    enum ap_rc rc = operator_open_inputs(op, err);
    return rc == AP_OK ? operator_take_labels(op, false, err) : rc;
}

static enum ap_rc repeat_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                              struct ap_err *err)
{
    double value = absent();
    struct column one = {.values = &value};
    enum ap_rc rc = operator_read(op->inputs[0], worker, index, &one, err);
    if (rc != AP_OK)
        return rc;
    for (size_t i = 0; i < op->steps.count; i++)
        ret_column->values[i] = value;
    if (!one.histograms || !one.histograms[0])
        return AP_OK;
    ret_column->histograms = worker_histograms(worker, op->steps.count);
    for (size_t i = 0; i < op->steps.count; i++)
        ret_column->histograms[i] = one.histograms[0];
    return AP_OK;
}

static const struct operator_class repeat_class = {.open = repeat_open, .read = repeat_read};

/* Whether the expression gives the same at every step. Sets *has_selector when there is something worth it. */
static bool is_constant(const struct promql_expr *expr, bool *has_selector)
{
    switch (expr->kind) {
    case EXPR_NUMBER:
    case EXPR_TEXT:
        return true;
    case EXPR_SELECTOR:
        *has_selector = true;
        return expr->selector.when.at != AT_NONE;
    case EXPR_RANGE:
        return is_constant(expr->range.selector, has_selector);
    case EXPR_SUBQUERY:
        *has_selector = true;
        return expr->subquery.when.at != AT_NONE;
    case EXPR_CALL: {
        static const char *const by_time[] = {"time",   "timestamp",   "predict_linear", "day_of_month", "day_of_week",
                                              "minute", "day_of_year", "days_in_month",  "hour",         "month",
                                              "year"};
        for (size_t i = 0; i < AP_ARRAY_COUNT(by_time); i++)
            if (strcmp(expr->call.function->name, by_time[i]) == 0)
                return false;
        for (size_t i = 0; i < expr->call.count; i++)
            if (!is_constant(expr->call.arguments[i], has_selector))
                return false;
        return true;
    }
    case EXPR_AGGREGATE:
        return is_constant(expr->aggregate.of, has_selector); /* the parameter of the first step is for all of them */
    case EXPR_BINARY:
        return is_constant(expr->binary.left, has_selector) && is_constant(expr->binary.right, has_selector);
    case EXPR_UNARY:
        return is_constant(expr->unary.of, has_selector);
    case EXPR_PAREN:
        return is_constant(expr->paren, has_selector);
    }
    return false;
}

/* ---- Minus ---- */

static enum ap_rc minus_open(struct operator* op, struct ap_err *err)
{
    enum ap_rc rc = operator_open_inputs(op, err);
    return rc == AP_OK ? operator_take_labels(op, true, err) : rc;
}

static enum ap_rc minus_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                             struct ap_err *err)
{
    enum ap_rc rc = operator_read(op->inputs[0], worker, index, ret_column, err);
    for (size_t i = 0; i < op->steps.count && rc == AP_OK; i++) {
        if (!is_absent(ret_column->values[i])) {
            ret_column->values[i] = -ret_column->values[i];
        } else if (ret_column->histograms && ret_column->histograms[i]) {
            ret_column->histograms[i] = float_histogram_copy(ret_column->histograms[i], &worker->arena);
            float_histogram_multiply(ret_column->histograms[i], -1);
        }
    }
    return rc;
}

static const struct operator_class minus_class = {.open = minus_open, .read = minus_read};

static struct operator*
    plan_unary(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err)
{
    struct operator* input = plan(run, expr->unary.of, steps, err);
    if (!input || !expr->unary.is_minus)
        return input;
    struct operator* op = operator_new(run, sizeof(*op), &minus_class, expr, steps);
    operator_set_inputs(op, &input, 1);
    return plan_merge(op);
}

/* ---- Series that became the same ---- */

struct merge {
    struct operator op;
    bool is_passing; /* all are different */
    struct gathered gathered;
};

static bool are_labels_unique(const struct operator* op)
{
    struct label_table table = {0};
    bool is_new = true;
    for (size_t i = 0; i < op->count && is_new; i++)
        (void)label_table_add(&table, NULL, op->labels[i], &is_new);
    label_table_clear(&table);
    return is_new;
}

/* Reads all, and puts each into the one of its labels. */
static enum ap_rc merge_all(struct merge *merge, struct ap_err *err)
{
    struct operator* op = & merge->op, *input = op->inputs[0];
    struct held all;
    enum ap_rc rc = held_read(&all, input, err);
    gathered_init(&merge->gathered, op->run, op->steps.count);
    for (size_t i = 0; i < input->count && rc == AP_OK; i++) {
        size_t to;
        rc = gathered_find(&merge->gathered, input->labels[i], &to, err);
        for (size_t j = 0; j < op->steps.count && rc == AP_OK; j++) {
            double value = held_values(&all, i)[j];
            const struct float_histogram *histogram = held_histogram(&all, i, j);
            if (is_absent(value) && !histogram)
                continue;
            if (gathered_has(&merge->gathered, to, j))
                rc = fail_same_labels(err);
            gathered_set(&merge->gathered, to, j, value, histogram);
        }
    }
    held_clear(&all, op->run);
    gathered_take_labels(&merge->gathered, op);
    return rc;
}

static enum ap_rc merge_open(struct operator* op, struct ap_err *err)
{
    struct merge *merge = (struct merge *)op;
    enum ap_rc rc = operator_open_inputs(op, err);
    if (rc == AP_OK)
        rc = operator_take_labels(op, false, err);
    if (rc != AP_OK)
        return rc;
    merge->is_passing = op->is_unique_without_name || are_labels_unique(op);
    return merge->is_passing ? AP_OK : merge_all(merge, err);
}

static enum ap_rc merge_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                             struct ap_err *err)
{
    const struct merge *merge = (const struct merge *)op;
    if (merge->is_passing)
        return operator_read(op->inputs[0], worker, index, ret_column, err);
    gathered_column(&merge->gathered, index, worker, ret_column);
    return AP_OK;
}

static void merge_close(struct operator* op)
{
    gathered_clear(&((struct merge *)op)->gathered);
}

struct operator* plan_merge(struct operator* input)
{
    static const struct operator_class merge_class = {merge_open, merge_read, NULL, merge_close};
    struct merge *merge = operator_new(input->run, sizeof(*merge), &merge_class, input->expr, &input->steps);
    operator_set_inputs(&merge->op, &input, 1);
    return &merge->op;
}

/* ---- All kinds ---- */

static struct operator*
    plan_at_steps(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err)
{
    switch (expr->kind) {
    case EXPR_NUMBER:
        return plan_number(run, expr, expr->number.value, steps);
    case EXPR_SELECTOR:
        return plan_selector(run, expr, steps, false, err);
    case EXPR_CALL:
        return plan_call(run, expr, steps, err);
    case EXPR_AGGREGATE:
        return plan_aggregate(run, expr, steps, err);
    case EXPR_BINARY:
        return plan_binary(run, expr, steps, err);
    case EXPR_UNARY:
        return plan_unary(run, expr, steps, err);
    case EXPR_PAREN:
    case EXPR_TEXT:
    case EXPR_RANGE:
    case EXPR_SUBQUERY:
        break;
    }
    (void)ap_fail(err, AP_E_INTERNAL, "a %s stands where none can be", promql_type_name(expr->type));
    return NULL;
}

/* ---- What is there twice ---- */

/* An operator, found by how its expression is printed: blanks and the like do not matter. */
struct planned {
    struct ap_slice text;
    struct operator* op;
    const struct promql_expr *expr;
    struct planned *next;
};

static struct planned *find_planned(const struct run *run, struct ap_slice text, const struct steps *steps)
{
    struct planned *planned = run->planned;
    while (planned && !(ap_slice_equal(planned->text, text) && planned->op->steps.start_ms == steps->start_ms &&
                        planned->op->steps.step_ms == steps->step_ms && planned->op->steps.count == steps->count))
        planned = planned->next;
    return planned;
}

static struct operator*
    plan_shared(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    promql_print(expr, &text);
    struct planned *planned = find_planned(run, ap_buf_slice(&text), steps);
    if (planned) {
        struct annotation_twin *twin = ap_arena_alloc0(&run->arena, sizeof(*twin));
        *twin = (struct annotation_twin){.computed = planned->expr, .same = expr};
        annotations_add_twin(&run->annotations, twin);
        planned->op->uses++;
        return planned->op;
    }
    struct operator* op = plan_at_steps(run, expr, steps, err);
    if (!op)
        return NULL;
    op->uses += op->uses == 0; /* `+x` and `vector(1)` are the operators of what is in them */
    planned = ap_arena_alloc0(&run->arena, sizeof(*planned));
    *planned = (struct planned){run_copy(run, ap_buf_slice(&text)), op, expr, run->planned};
    run->planned = planned;
    return op;
}

struct operator* plan(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err)
{
    expr = without_parens(expr);
    bool has_selector = false;
    if (steps->count == 1 || !is_constant(expr, &has_selector) || !has_selector)
        return run->is_sharing && expr->kind != EXPR_NUMBER ? plan_shared(run, expr, steps, err)
                                                            : plan_at_steps(run, expr, steps, err);
    struct steps one = {steps->start_ms, steps->step_ms, 1};
    enum counting_kind counting = run->counting;
    if (counting == COUNTING_BY_STEP)
        run->counting = COUNTING_ALL_STEPS;
    struct operator* input = plan(run, expr, &one, err);
    run->counting = counting;
    if (!input)
        return NULL;
    struct operator* op = operator_new(run, sizeof(*op), &repeat_class, expr, steps);
    operator_set_inputs(op, &input, 1);
    return op;
}
