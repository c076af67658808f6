/*
 * and, or, unless: which of one side's points stay, by whether the other side has a series of the same signature at
 * that step. Only that is kept in memory: a byte for each signature and step.
 */
#include <stdatomic.h>
#include <string.h>

#include "promql/binary.h"

struct set {
    struct operator op;
    struct signatures signatures;
    _Atomic unsigned char *has; /* [signature * steps + step]: the deciding side has a point */
    struct held held;           /* or: the left side, which decides and is answered as well */
};

struct marking {
    struct set *set;
    unsigned side;
};

static void mark(struct set *set, uint32_t signature, const struct column *column)
{
    size_t steps = set->op.steps.count;
    for (size_t i = 0; i < steps; i++)
        if (!is_absent(column->values[i]) || (column->histograms && column->histograms[i]))
            atomic_store_explicit(&set->has[signature * steps + i], 1, memory_order_relaxed);
}

static enum ap_rc mark_part(struct worker *worker, size_t part, size_t from, size_t to, void *context,
                            struct ap_err *err)
{
    const struct marking *marking = context;
    struct set *set = marking->set;
    struct column column = {.values = worker_take(worker, set->op.steps.count)};
    enum ap_rc rc = AP_OK;
    (void)part;
    for (size_t i = from; i < to && rc == AP_OK; i++) {
        rc = operator_drive(set->op.inputs[marking->side], worker, i, &column, err);
        if (rc == AP_OK)
            mark(set, set->signatures.of[marking->side][i], &column);
        ap_arena_recycle(&worker->arena);
    }
    worker_give(worker);
    return rc;
}

static enum ap_rc mark_held(struct set *set, struct ap_err *err)
{
    enum ap_rc rc = held_read(&set->held, set->op.inputs[0], err);
    for (size_t i = 0; i < set->held.count && rc == AP_OK; i++)
        mark(set, set->signatures.of[0][i],
             &(struct column){held_values(&set->held, i), set->held.histograms ? set->held.histograms[i] : NULL});
    return rc;
}

static enum ap_rc set_open(struct operator* op, struct ap_err *err)
{
    struct set *set = (struct set *)op;
    enum ap_rc rc = operator_open_inputs(op, err);
    if (rc != AP_OK)
        return rc;
    const struct operator* left = op->inputs[0], *right = op->inputs[1];
    struct signatures *signatures = &set->signatures;
    signatures_make(signatures, op->run, op->expr, left, right);
    set->has = calloc(AP_MAX(signatures->count * op->steps.count, 1), 1);
    if (!set->has)
        return ap_fail(err, AP_E_NOMEM, "no memory for %zu signatures", signatures->count);
    bool is_or = op->expr->binary.operator== OPERATOR_OR;
    struct marking marking = {set, 1};
    rc = is_or ? mark_held(set, err) : run_parallel(op->run, right->count, right->cost, mark_part, &marking, err);
    op->count = left->count;
    op->labels = left->labels;
    if (is_or) {
        op->labels = ap_arena_alloc0(&op->run->arena, (left->count + right->count + 1) * sizeof(*op->labels));
        memcpy(op->labels, left->labels, left->count * sizeof(*op->labels));
        memcpy(op->labels + left->count, right->labels, right->count * sizeof(*op->labels));
        op->count += right->count;
    }
    op->is_unique_without_name = !is_or && left->is_unique_without_name;
    op->cost = AP_MAX(is_or ? 0 : left->cost, right->cost);
    return rc;
}

static enum ap_rc set_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                           struct ap_err *err)
{
    const struct set *set = (const struct set *)op;
    bool is_or = op->expr->binary.operator== OPERATOR_OR;
    size_t left_count = op->inputs[0]->count, steps = op->steps.count;
    bool is_right = index >= left_count; /* of `or`, whose answer is the left series, then the right ones */
    size_t series = is_right ? index - left_count : index;
    if (is_or && !is_right) {
        held_column(&set->held, series, worker, ret_column);
        return AP_OK;
    }
    enum ap_rc rc = operator_read(op->inputs[is_right], worker, series, ret_column, err);
    bool is_wanted = op->expr->binary.operator== OPERATOR_AND;
    size_t from = set->signatures.of[is_right][series] * steps;
    for (size_t i = 0; i < steps && rc == AP_OK; i++) {
        if (atomic_load_explicit(&set->has[from + i], memory_order_relaxed) == is_wanted)
            continue;
        ret_column->values[i] = absent();
        if (ret_column->histograms)
            ret_column->histograms[i] = NULL;
    }
    return rc;
}

static void set_close(struct operator* op)
{
    struct set *set = (struct set *)op;
    held_clear(&set->held, op->run);
    free((void *)set->has);
}

struct operator* plan_set(struct run *run, const struct promql_expr *expr, const struct steps *steps,
                          struct operator* left, struct operator* right)
{
    static const struct operator_class set_class = {set_open, set_read, NULL, set_close};
    struct set *set = operator_new(run, sizeof(*set), &set_class, expr, steps);
    struct operator* inputs[] = {left, right};
    operator_set_inputs(&set->op, inputs, 2);
    return expr->binary.operator== OPERATOR_OR ? plan_merge(&set->op) : & set->op;
}
