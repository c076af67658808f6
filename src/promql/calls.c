/*
 * Functions of instant vectors and scalars: element by element, by date, and those that look at a whole vector.
 */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "promql/run.h"
#include "tsdb/labels.h"

/* ---- Element by element ---- */

struct element_function {
    const char *name;
    double (*plain)(double value); /* or, with parameters: */
    double (*run)(double value, const double *parameters);
};

struct element_call {
    struct operator op; /* input 0: the vector; the others: scalars */
    const struct element_function *function;
    double *parameters[2]; /* for every step */
};

static double to_radians(double value)
{
    return value * M_PI / 180;
}

static double to_degrees(double value)
{
    return value * 180 / M_PI;
}

static double sign_of(double value)
{
    return value < 0 ? -1 : value > 0 ? 1 : value;
}

/* An infinity that decides wins over NaN, which wins over numbers; 0 is larger than -0, of which fmax() knows nothing.
 */
static double larger_of(double a, double b)
{
    if ((isinf(a) && a > 0) || (isinf(b) && b > 0))
        return INFINITY;
    if (isnan(a) || isnan(b))
        return NAN;
    return a > b || (a == b && !signbit(a)) ? a : b;
}

static double smaller_of(double a, double b)
{
    if ((isinf(a) && a < 0) || (isinf(b) && b < 0))
        return -INFINITY;
    if (isnan(a) || isnan(b))
        return NAN;
    return a < b || (a == b && signbit(a)) ? a : b;
}

static double clamp(double value, const double *parameters)
{
    if (parameters[1] < parameters[0])
        return absent();
    return larger_of(parameters[0], smaller_of(parameters[1], value));
}

static double clamp_max(double value, const double *parameters)
{
    return larger_of(-INFINITY, smaller_of(parameters[0], value));
}

static double clamp_min(double value, const double *parameters)
{
    return larger_of(parameters[0], smaller_of(INFINITY, value));
}

static double max_of(double value, const double *parameters)
{
    return larger_of(value, parameters[0]);
}

static double min_of(double value, const double *parameters)
{
    return smaller_of(value, parameters[0]);
}

static double round_half(double value)
{
    return floor(value + 0.5);
}

static double round_to(double value, const double *parameters)
{
    double inverse = 1.0 / parameters[0]; /* loses less than dividing by what is given */
    return floor(value * inverse + 0.5) / inverse;
}

/* ---- Dates: of seconds since 1970, in UTC ---- */

struct date {
    int64_t days; /* since 1970-01-01 */
    int64_t second_of_day;
    struct ap_civil civil;
};

static struct date date_of(double value)
{
    /* As Go has it: what does not fit is the earliest second, and seconds before its year 0 count on from the end. */
    __int128 seconds = fabs(value) < 0x1p63 ? (int64_t)value : INT64_MIN;
    if (seconds < -(__int128)INT64_C(9223372028715321600))
        seconds += (__int128)1 << 64;
    struct date date = {.days = (int64_t)(seconds / 86400), .second_of_day = (int64_t)(seconds % 86400)};
    if (date.second_of_day < 0) {
        date.second_of_day += 86400;
        date.days--;
    }
    date.civil = ap_civil_of_days(date.days);
    return date;
}

static double day_of_month(double value)
{
    return date_of(value).civil.day;
}

static double day_of_week(double value)
{
    return date_of(value).civil.weekday;
}

static double day_of_year(double value)
{
    struct date date = date_of(value);
    return (double)(date.days - ap_days_of_civil(date.civil.year, 1, 1) + 1);
}

static double days_in_month(double value)
{
    struct ap_civil date = date_of(value).civil;
    bool is_last = date.month == 12;
    return (double)(ap_days_of_civil(date.year + is_last, is_last ? 1 : date.month + 1, 1) -
                    ap_days_of_civil(date.year, date.month, 1));
}

static double hour_of(double value)
{
    int64_t hour = date_of(value).second_of_day / 3600;
    return (double)hour;
}

static double minute_of(double value)
{
    int64_t minute = date_of(value).second_of_day / 60 % 60;
    return (double)minute;
}

static double month_of(double value)
{
    return date_of(value).civil.month;
}

static double year_of(double value)
{
    return (double)date_of(value).civil.year;
}

static const struct element_function element_functions[] = {
    {"abs", fabs, NULL},
    {"acos", acos, NULL},
    {"acosh", acosh, NULL},
    {"asin", asin, NULL},
    {"asinh", asinh, NULL},
    {"atan", atan, NULL},
    {"atanh", atanh, NULL},
    {"ceil", ceil, NULL},
    {"clamp", NULL, clamp},
    {"clamp_max", NULL, clamp_max},
    {"clamp_min", NULL, clamp_min},
    {"cos", cos, NULL},
    {"cosh", cosh, NULL},
    {"day_of_month", day_of_month, NULL},
    {"day_of_week", day_of_week, NULL},
    {"day_of_year", day_of_year, NULL},
    {"days_in_month", days_in_month, NULL},
    {"deg", to_degrees, NULL},
    {"exp", exp, NULL},
    {"floor", floor, NULL},
    {"hour", hour_of, NULL},
    {"ln", log, NULL},
    {"log10", log10, NULL},
    {"log2", log2, NULL},
    {"max_of", NULL, max_of},
    {"min_of", NULL, min_of},
    {"minute", minute_of, NULL},
    {"month", month_of, NULL},
    {"rad", to_radians, NULL},
    {"round", round_half, round_to},
    {"sgn", sign_of, NULL},
    {"sin", sin, NULL},
    {"sinh", sinh, NULL},
    {"sqrt", sqrt, NULL},
    {"tan", tan, NULL},
    {"tanh", tanh, NULL},
    {"year", year_of, NULL},
};

static enum ap_rc element_open(struct operator* op, struct ap_err *err)
{
    struct element_call *call = (struct element_call *)op;
    enum ap_rc rc = operator_open_inputs(op, err);
    for (size_t i = 1; i < op->input_count && rc == AP_OK; i++) {
        call->parameters[i - 1] = ap_arena_alloc0(&op->run->arena, op->steps.count * sizeof(double));
        rc = operator_read_scalar(op->inputs[i], call->parameters[i - 1], err);
    }
    return rc == AP_OK ? operator_take_labels(op, true, err) : rc;
}

static enum ap_rc element_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                               struct ap_err *err)
{
    const struct element_call *call = (const struct element_call *)op;
    enum ap_rc rc = operator_read(op->inputs[0], worker, index, ret_column, err);
    if (rc != AP_OK)
        return rc;
    double *values = ret_column->values;
    ret_column->histograms = NULL; /* they are left out */
    for (size_t i = 0; i < op->steps.count; i++) {
        if (is_absent(values[i]))
            continue;
        if (!call->parameters[0]) {
            values[i] = call->function->plain(values[i]);
            continue;
        }
        double parameters[2] = {call->parameters[0][i], call->parameters[1] ? call->parameters[1][i] : 0};
        values[i] = call->function->run(values[i], parameters);
    }
    return AP_OK;
}

static const struct operator_class element_class = {.open = element_open, .read = element_read};

static struct operator* plan_element(struct run *run, const struct promql_expr *expr, const struct steps *steps,
                                     const struct element_function *function, struct ap_err *err)
{
    struct element_call *call = operator_new(run, sizeof(*call), &element_class, expr, steps);
    call->function = function;
    struct operator* inputs[3];
    size_t count = 0;
    if (expr->call.count == 0) /* the date functions, of now */
        inputs[count++] = plan_time(run, expr, steps);
    for (size_t i = 0; i < expr->call.count; i++) {
        inputs[count] = plan(run, expr->call.arguments[i], steps, err);
        if (!inputs[count++])
            return NULL;
    }
    operator_set_inputs(&call->op, inputs, count);
    return plan_merge(&call->op);
}

/* ---- Of a whole vector: how many floats there are at a step, and one of them ---- */

struct whole_call {
    struct operator op;
    enum { WHOLE_SCALAR, WHOLE_ABSENT } kind;
    double *values; /* the answer */
};

struct whole_reading {
    struct operator* input;
    uint32_t *counts;     /* for each part and step, as the others */
    uint32_t *all_counts; /* histograms as well */
    double *values;
    size_t steps;
};

static enum ap_rc read_whole(struct worker *worker, size_t part, size_t from, size_t to, void *context,
                             struct ap_err *err)
{
    const struct whole_reading *reading = context;
    struct column column = {.values = worker_take(worker, reading->steps)};
    uint32_t *counts = reading->counts + part * reading->steps;
    uint32_t *all_counts = reading->all_counts + part * reading->steps;
    double *values = reading->values + part * reading->steps;
    enum ap_rc rc = AP_OK;
    for (size_t i = from; i < to && rc == AP_OK; i++) {
        rc = operator_drive(reading->input, worker, i, &column, err);
        for (size_t j = 0; j < reading->steps && rc == AP_OK; j++) {
            bool is_float = !is_absent(column.values[j]);
            counts[j] += is_float;
            all_counts[j] += is_float || (column.histograms && column.histograms[j]);
            if (is_float)
                values[j] = column.values[j];
        }
        ap_arena_recycle(&worker->arena);
    }
    worker_give(worker);
    return rc;
}

/* What an absent series would be called: by the selector's equalities, as far as they do not contradict. */
static struct ap_slice absent_labels(struct run *run, const struct promql_expr *expr)
{
    expr = without_parens(expr);
    if (expr->kind == EXPR_RANGE)
        expr = expr->range.selector;
    struct ap_slice labels = {"", 0};
    if (expr->kind != EXPR_SELECTOR)
        return labels;
    const struct matchers *matchers = expr->selector.matchers;
    for (size_t i = 0; i < matchers->count; i++) {
        struct ap_slice name = matcher_name(matchers->items[i]);
        bool is_first = true;
        for (size_t j = 0; j < i; j++)
            is_first &= !(matcher_kind_of(matchers->items[j]) == MATCHER_EQUAL &&
                          ap_slice_equal(matcher_name(matchers->items[j]), name));
        if (ap_slice_equal_cstr(name, LABEL_METRIC_NAME))
            continue;
        bool is_taken = is_first && matcher_kind_of(matchers->items[i]) == MATCHER_EQUAL;
        AP_AUTO_BUF struct ap_buf out = {0};
        labels_set(labels, name, is_taken ? matcher_value(matchers->items[i]) : (struct ap_slice){0}, &out);
        labels = run_copy(run, ap_buf_slice(&out));
    }
    return labels;
}

static enum ap_rc whole_open(struct operator* op, struct ap_err *err)
{
    struct whole_call *call = (struct whole_call *)op;
    enum ap_rc rc = operator_open_inputs(op, err);
    if (rc != AP_OK)
        return rc;
    size_t steps = op->steps.count;
    size_t parts = run_parts(op->run, op->inputs[0]->count, op->inputs[0]->cost);
    struct whole_reading reading = {
        .input = op->inputs[0],
        .counts = ap_new0_array(uint32_t, parts * steps),
        .all_counts = ap_new0_array(uint32_t, parts * steps),
        .values = ap_new0_array(double, parts *steps),
        .steps = steps,
    };
    rc = run_parallel(op->run, op->inputs[0]->count, op->inputs[0]->cost, read_whole, &reading, err);
    call->values = ap_arena_alloc0(&op->run->arena, steps * sizeof(double));
    for (size_t i = 0; i < steps; i++) {
        uint64_t count = 0, all = 0;
        double value = NAN;
        for (size_t part = 0; part < parts; part++) {
            count += reading.counts[part * steps + i];
            all += reading.all_counts[part * steps + i];
            if (reading.counts[part * steps + i])
                value = reading.values[part * steps + i];
        }
        if (call->kind == WHOLE_SCALAR)
            call->values[i] = count == 1 ? value : NAN;
        else
            call->values[i] = all ? absent() : 1;
    }
    free(reading.counts);
    free(reading.all_counts);
    free(reading.values);
    op->count = 1;
    op->labels = ap_arena_alloc0(&op->run->arena, sizeof(*op->labels));
    if (call->kind == WHOLE_ABSENT)
        op->labels[0] = absent_labels(op->run, op->expr->call.arguments[0]);
    op->is_unique_without_name = true;
    return rc;
}

static enum ap_rc whole_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                             struct ap_err *err)
{
    (void)worker;
    (void)index;
    (void)err;
    memcpy(ret_column->values, ((struct whole_call *)op)->values, op->steps.count * sizeof(double));
    return AP_OK;
}

static struct operator* plan_whole(struct run *run, const struct promql_expr *expr, const struct steps *steps,
                                   struct operator* input, bool is_scalar)
{
    static const struct operator_class whole_class = {.open = whole_open, .read = whole_read};
    if (!input)
        return NULL;
    struct whole_call *call = operator_new(run, sizeof(*call), &whole_class, expr, steps);
    call->kind = is_scalar ? WHOLE_SCALAR : WHOLE_ABSENT;
    operator_set_inputs(&call->op, &input, 1);
    return &call->op;
}

/* ---- timestamp() of anything but a selector: the step's time ---- */

static enum ap_rc timestamp_open(struct operator* op, struct ap_err *err)
{
    enum ap_rc rc = operator_open_inputs(op, err);
    return rc == AP_OK ? operator_take_labels(op, true, err) : rc;
}

static enum ap_rc timestamp_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                                 struct ap_err *err)
{
    enum ap_rc rc = operator_read(op->inputs[0], worker, index, ret_column, err);
    for (size_t i = 0; i < op->steps.count && rc == AP_OK; i++)
        if (!is_absent(ret_column->values[i]) || (ret_column->histograms && ret_column->histograms[i]))
            ret_column->values[i] = (double)step_time(&op->steps, i) / 1000;
    ret_column->histograms = NULL;
    return rc;
}

static enum ap_rc timestamp_selector_read(struct operator* op, struct worker *worker, size_t index,
                                          struct column *ret_column, struct ap_err *err)
{
    return operator_read(op->inputs[0], worker, index, ret_column, err);
}

static struct operator*
    plan_timestamp(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err)
{
    static const struct operator_class of_steps = {.open = timestamp_open, .read = timestamp_read};
    static const struct operator_class of_samples = {.open = timestamp_open, .read = timestamp_selector_read};
    const struct promql_expr *of = without_parens(expr->call.arguments[0]);
    bool is_selector = of->kind == EXPR_SELECTOR;
    struct operator* input = is_selector ? plan_selector(run, of, steps, true, err) : plan(run, of, steps, err);
    if (!input)
        return NULL;
    struct operator* op = operator_new(run, sizeof(*op), is_selector ? &of_samples : &of_steps, expr, steps);
    operator_set_inputs(op, &input, 1);
    return plan_merge(op);
}

/* ---- All calls ---- */

static bool is_call(const struct promql_expr *expr, const char *name)
{
    return strcmp(expr->call.function->name, name) == 0;
}

static struct operator* plan_constant(struct run *run, const struct promql_expr *expr, const struct steps *steps)
{
    static const struct {
        const char *name;
        enum { CONSTANT_PI, CONSTANT_START, CONSTANT_END, CONSTANT_STEP, CONSTANT_RANGE } what;
    } rows[] = {{"pi", CONSTANT_PI},
                {"start", CONSTANT_START},
                {"end", CONSTANT_END},
                {"step", CONSTANT_STEP},
                {"range", CONSTANT_RANGE}};
    double values[] = {M_PI, (double)run->steps.start_ms / 1000, (double)run->end_ms / 1000,
                       (double)run->request->step_ms / 1000, (double)(run->end_ms - run->steps.start_ms) / 1000};
    for (size_t i = 0; i < AP_ARRAY_COUNT(rows); i++)
        if (is_call(expr, rows[i].name))
            return plan_number(run, expr, values[rows[i].what], steps);
    return NULL;
}

struct operator*
    plan_call(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(element_functions); i++)
        if (is_call(expr, element_functions[i].name))
            return plan_element(run, expr, steps, &element_functions[i], err);
    struct operator* constant = plan_constant(run, expr, steps);
    if (constant)
        return constant;
    if (is_call(expr, "time"))
        return plan_time(run, expr, steps);
    if (is_call(expr, "vector"))
        return plan(run, expr->call.arguments[0], steps, err);
    if (is_call(expr, "timestamp"))
        return plan_timestamp(run, expr, steps, err);
    if (is_call(expr, "scalar"))
        return plan_whole(run, expr, steps, plan(run, expr->call.arguments[0], steps, err), true);
    if (is_call(expr, "absent"))
        return plan_whole(run, expr, steps, plan(run, expr->call.arguments[0], steps, err), false);
    if (is_call(expr, "absent_over_time"))
        return plan_whole(run, expr, steps, plan_window_call(run, expr, steps, err), false);
    if (is_call(expr, "info"))
        return plan_info(run, expr, steps, err);
    if (strncmp(expr->call.function->name, "histogram_", 10) == 0)
        return plan_histogram_call(run, expr, steps, err);
    if (strncmp(expr->call.function->name, "label_", 6) == 0 || strncmp(expr->call.function->name, "sort", 4) == 0)
        return plan_label_call(run, expr, steps, err);
    return plan_window_call(run, expr, steps, err);
}
