/*
 * Binary operators: of two floats, of columns of them, of histograms; between scalars, and a vector and a scalar.
 */
#include "promql/binary.h"

#include <math.h>
#include <string.h>

#include "tsdb/labels.h"

/* ---- Floats ---- */

double scalar_operate(enum promql_operator operator, double left, double right)
{
    switch (operator) {
    case OPERATOR_POW:
        return pow(left, right);
    case OPERATOR_MUL:
        return left * right;
    case OPERATOR_DIV:
        return left / right;
    case OPERATOR_MOD:
        return fmod(left, right);
    case OPERATOR_ATAN2:
        return atan2(left, right);
    case OPERATOR_ADD:
        return left + right;
    case OPERATOR_SUB:
        return left - right;
    case OPERATOR_EQUAL:
        return left == right;
    case OPERATOR_NOT_EQUAL:
        return left != right;
    case OPERATOR_LESS:
        return left < right;
    case OPERATOR_LESS_EQUAL:
        return left <= right;
    case OPERATOR_GREATER:
        return left > right;
    case OPERATOR_GREATER_EQUAL:
        return left >= right;
    case OPERATOR_TRIM_UPPER:
    case OPERATOR_TRIM_LOWER:
    case OPERATOR_AND:
    case OPERATOR_UNLESS:
    case OPERATOR_OR:
        break;
    }
    return NAN; /* the parser lets none of these pass */
}

/* With a constant operator, so that each has a loop of its own. */
static inline __attribute__((always_inline)) void operate_each(enum promql_operator operator, const double * left,
                                                               const double *right, double *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double result = scalar_operate(operator, left[i], right[i]);
        out[i] = is_absent(left[i]) || is_absent(right[i]) ? absent() : result;
    }
}

static inline __attribute__((always_inline)) void filter_each(enum promql_operator operator, const double * kept,
                                                              const double *left, const double *right, double *out,
                                                              size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool holds = scalar_operate(operator, left[i], right[i]) != 0;
        out[i] = is_absent(left[i]) || is_absent(right[i]) || !holds ? absent() : kept[i];
    }
}

#define OPERATOR_CASES(CASE)                                                                                           \
    CASE(OPERATOR_POW)                                                                                                 \
    CASE(OPERATOR_MUL)                                                                                                 \
    CASE(OPERATOR_DIV)                                                                                                 \
    CASE(OPERATOR_MOD)                                                                                                 \
    CASE(OPERATOR_ATAN2)                                                                                               \
    CASE(OPERATOR_ADD)                                                                                                 \
    CASE(OPERATOR_SUB)                                                                                                 \
    COMPARISON_CASES(CASE)
#define COMPARISON_CASES(CASE)                                                                                         \
    CASE(OPERATOR_EQUAL)                                                                                               \
    CASE(OPERATOR_NOT_EQUAL)                                                                                           \
    CASE(OPERATOR_LESS)                                                                                                \
    CASE(OPERATOR_LESS_EQUAL)                                                                                          \
    CASE(OPERATOR_GREATER)                                                                                             \
    CASE(OPERATOR_GREATER_EQUAL)

void operate_floats(const struct promql_expr *expr, enum kept_side kept_side, const double *left, const double *right,
                    double *out, size_t count)
{
    enum promql_operator operator= expr->binary.operator;
    const double *kept = kept_side == KEPT_LEFT ? left : right;
    if (!operator_compares(operator) || expr->binary.returns_bool) {
        switch (operator) {
#define CASE(operator)                                                                                                 \
    case operator:                                                                                                     \
        operate_each(operator, left, right, out, count);                                                               \
        break;
            OPERATOR_CASES(CASE)
#undef CASE
        default:
            break;
        }
        return;
    }
    switch (operator) {
#define CASE(operator)                                                                                                 \
    case operator:                                                                                                     \
        filter_each(operator, kept, left, right, out, count);                                                          \
        break;
        COMPARISON_CASES(CASE)
#undef CASE
    default:
        break;
    }
}

/* ---- Histograms ---- */

static const char *kind_name(struct sample sample)
{
    return sample.histogram ? "histogram" : "float";
}

static enum combination impossible(struct run *run, const struct promql_expr *expr, struct sample left,
                                   struct sample right)
{
    annotate(&run->annotations, PROMQL_INFO, expr,
             "incompatible sample types encountered for binary operator \"%s\": %s %s %s",
             promql_operator_name(expr->binary.operator), kind_name(left), promql_operator_name(expr->binary.operator),
             kind_name(right));
    return COMBINED_IMPOSSIBLE;
}

static void note_sums(struct run *run, const struct promql_expr *expr, const struct float_histogram_notes *notes)
{
    const char *what = expr->binary.operator== OPERATOR_ADD ? "addition" : "subtraction";
    if (notes->is_reset_colliding)
        annotate(&run->annotations, PROMQL_WARNING, expr, "conflicting counter resets during histogram %s", what);
    else if (notes->are_bounds_reconciled)
        annotate(&run->annotations, PROMQL_INFO, expr, "mismatched custom buckets were reconciled during %s", what);
}

static enum combination combine_histograms(struct run *run, struct worker *worker, const struct promql_expr *expr,
                                           struct sample left, struct sample right, struct sample *ret)
{
    enum promql_operator operator= expr->binary.operator;
    struct float_histogram_notes notes = {0};
    bool is_fitting = true;
    switch (operator) {
    case OPERATOR_ADD:
    case OPERATOR_SUB:
        ret->histogram = float_histogram_copy(left.histogram, &worker->arena);
        is_fitting = operator== OPERATOR_ADD
                         ? float_histogram_add(ret->histogram, right.histogram, &worker->arena, &notes)
                         : float_histogram_subtract(ret->histogram, right.histogram, &worker->arena, &notes);
        note_sums(run, expr, &notes);
        if (operator== OPERATOR_SUB)
            ret->histogram->reset_hint = HISTOGRAM_RESET_GAUGE;
        if (notes.is_reset_colliding)
            return COMBINED_IMPOSSIBLE; /* the warning is all there is */
        if (is_fitting) {
            float_histogram_compact(ret->histogram);
            return COMBINED;
        }
        annotate(&run->annotations, PROMQL_WARNING, expr,
                 "incompatible bucket layout encountered for binary operator %s", promql_operator_name(operator));
        return COMBINED_IMPOSSIBLE;
    case OPERATOR_EQUAL:
    case OPERATOR_NOT_EQUAL:
        ret->histogram = left.histogram;
        return float_histogram_equal(left.histogram, right.histogram) == (operator== OPERATOR_EQUAL)
                   ? COMBINED
                   : COMBINED_NOT_KEPT;
    default:
        return impossible(run, expr, left, right);
    }
}

static enum combination combine_with_float(struct run *run, struct worker *worker, const struct promql_expr *expr,
                                           struct sample left, struct sample right, struct sample *ret)
{
    enum promql_operator operator= expr->binary.operator;
    bool is_right = operator== OPERATOR_DIV || operator== OPERATOR_TRIM_UPPER || operator== OPERATOR_TRIM_LOWER;
    if (operator!= OPERATOR_MUL && !(is_right &&left.histogram))
        return impossible(run, expr, left, right);
    ret->histogram = float_histogram_copy(left.histogram ? left.histogram : right.histogram, &worker->arena);
    double value = left.histogram ? right.value : left.value;
    if (operator== OPERATOR_MUL)
        float_histogram_multiply(ret->histogram, value);
    else if (operator== OPERATOR_DIV)
        float_histogram_divide(ret->histogram, value);
    else
        float_histogram_trim(ret->histogram, value, operator== OPERATOR_TRIM_UPPER);
    float_histogram_compact(ret->histogram);
    return COMBINED;
}

enum combination combine_samples(struct run *run, struct worker *worker, const struct promql_expr *expr,
                                 struct sample left, struct sample right, struct sample *ret)
{
    enum promql_operator operator= expr->binary.operator;
    *ret = (struct sample){.value = absent()};
    if (left.histogram && right.histogram)
        return combine_histograms(run, worker, expr, left, right, ret);
    if (left.histogram || right.histogram)
        return combine_with_float(run, worker, expr, left, right, ret);
    if (operator== OPERATOR_TRIM_UPPER || operator== OPERATOR_TRIM_LOWER)
        return impossible(run, expr, left, right);
    ret->value = scalar_operate(operator, left.value, right.value);
    if (!operator_compares(operator))
        return COMBINED;
    bool holds = ret->value != 0;
    ret->value = left.value;
    return holds ? COMBINED : COMBINED_NOT_KEPT;
}

static struct sample sample_at(const struct column *column, size_t step)
{
    return (struct sample){column->values[step], column->histograms ? column->histograms[step] : NULL};
}

static void combine_at(struct run *run, struct worker *worker, const struct promql_expr *expr, enum kept_side kept,
                       const struct column *left, const struct column *right, struct column *out, size_t step)
{
    struct sample samples[] = {sample_at(left, step), sample_at(right, step)}, result = {.value = absent()};
    bool exists = sample_exists(samples[0]) && sample_exists(samples[1]);
    enum combination combination =
        exists ? combine_samples(run, worker, expr, samples[0], samples[1], &result) : COMBINED_IMPOSSIBLE;
    if (exists && combination != COMBINED_IMPOSSIBLE && expr->binary.returns_bool)
        result = (struct sample){combination == COMBINED, NULL};
    else if (combination != COMBINED)
        result = (struct sample){absent(), NULL};
    else if (operator_compares(expr->binary.operator))
        result = samples[kept];
    out->values[step] = result.value;
    out->histograms[step] = result.histogram;
}

void combine_columns(struct run *run, struct worker *worker, const struct promql_expr *expr, enum kept_side kept,
                     const struct column *left, const struct column *right, struct column *out, size_t count)
{
    bool is_trim = expr->binary.operator== OPERATOR_TRIM_UPPER || expr->binary.operator== OPERATOR_TRIM_LOWER;
    if (!left->histograms && !right->histograms && !is_trim) {
        operate_floats(expr, kept, left->values, right->values, out->values, count);
        out->histograms = NULL;
        return;
    }
    struct column made = {out->values, worker_histograms(worker, count)};
    for (size_t i = 0; i < count; i++)
        combine_at(run, worker, expr, kept, left, right, &made, i);
    out->histograms = made.histograms;
}

/* ---- Scalars ---- */

struct with_scalar {
    struct operator op; /* input 0: the vector, or the left scalar; 1: the scalar */
    double *values;     /* of the scalar, for each step */
    bool is_scalar_left;
};

static enum ap_rc with_scalar_open(struct operator* op, struct ap_err *err)
{
    struct with_scalar *with = (struct with_scalar *)op;
    enum ap_rc rc = operator_open_inputs(op, err);
    if (rc != AP_OK)
        return rc;
    with->values = ap_arena_alloc0(&op->run->arena, op->steps.count * sizeof(double));
    rc = operator_read_scalar(op->inputs[1], with->values, err);
    return rc == AP_OK ? operator_take_labels(op, operator_drops_name(op->expr), err) : rc;
}

static enum ap_rc with_scalar_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                                   struct ap_err *err)
{
    const struct with_scalar *with = (const struct with_scalar *)op;
    enum ap_rc rc = operator_read(op->inputs[0], worker, index, ret_column, err);
    if (rc != AP_OK)
        return rc;
    struct column scalar = {.values = with->values};
    struct column vector = *ret_column;
    combine_columns(op->run, worker, op->expr, with->is_scalar_left ? KEPT_RIGHT : KEPT_LEFT,
                    with->is_scalar_left ? &scalar : &vector, with->is_scalar_left ? &vector : &scalar, ret_column,
                    op->steps.count);
    return AP_OK;
}

/* ---- Planning ---- */

struct operator*
    plan_binary(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err)
{
    static const struct operator_class with_scalar_class = {.open = with_scalar_open, .read = with_scalar_read};
    bool is_trim = expr->binary.operator== OPERATOR_TRIM_UPPER || expr->binary.operator== OPERATOR_TRIM_LOWER;
    if (is_trim && expr->type == TYPE_SCALAR) {
        (void)ap_fail(err, AP_E_CONFLICT, "operator \"%s\" not allowed for Scalar operations",
                      promql_operator_name(expr->binary.operator));
        return NULL;
    }
    struct operator* left = plan(run, expr->binary.left, steps, err);
    struct operator* right = left ? plan(run, expr->binary.right, steps, err) : NULL;
    if (!right)
        return NULL;
    bool is_scalar_left = expr->binary.left->type == TYPE_SCALAR && expr->binary.right->type != TYPE_SCALAR;
    if (!is_scalar_left && expr->binary.right->type != TYPE_SCALAR)
        return expr->binary.operator>= OPERATOR_AND ? plan_set(run, expr, steps, left, right)
                                                    : plan_match(run, expr, steps, left, right);
    struct with_scalar *with = operator_new(run, sizeof(*with), &with_scalar_class, expr, steps);
    with->is_scalar_left = is_scalar_left;
    struct operator* inputs[] = {is_scalar_left ? right : left, is_scalar_left ? left : right};
    operator_set_inputs(&with->op, inputs, 2);
    return operator_drops_name(expr) ? plan_merge(&with->op) : &with->op;
}
