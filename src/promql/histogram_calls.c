/*
 * histogram_…(): figures of native histograms, and of classic ones, whose buckets are series that differ in their `le`.
 *
 * A group is one histogram: the series of its buckets, or the one series of native histograms. Where both are there at
 * the same step, neither counts (Prometheus' rule). Native histograms in a series that has an `le` are not looked at.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "promql/buckets.h"
#include "promql/float_histogram_figures.h"
#include "promql/float_text.h"
#include "promql/run.h"
#include "tsdb/labels.h"

static bool is_call(const struct promql_expr *expr, const char *name)
{
    return strcmp(expr->call.function->name, name) == 0;
}

/* ---- Of native histograms alone ---- */

struct figure_call {
    struct operator op;
    double (*figure)(const struct float_histogram *histogram);
};

static double count_of(const struct float_histogram *histogram)
{
    return histogram->count;
}

static double sum_of(const struct float_histogram *histogram)
{
    return histogram->sum;
}

static double avg_of(const struct float_histogram *histogram)
{
    return histogram->sum / histogram->count;
}

static double stddev_of(const struct float_histogram *histogram)
{
    return sqrt(float_histogram_variance(histogram));
}

/* The name goes, but unlike with other functions __type__ and __unit__ stay. */
static enum ap_rc figure_open(struct operator* op, struct ap_err *err)
{
    const struct ap_slice name = ap_slice_cstr(LABEL_METRIC_NAME);
    enum ap_rc rc = operator_open_inputs(op, err);
    if (rc == AP_OK)
        rc = operator_take_labels(op, false, err);
    if (rc != AP_OK)
        return rc;
    const struct ap_slice *before = op->labels;
    op->labels = ap_arena_try_alloc(&op->run->arena, (op->count + 1) * sizeof(*op->labels));
    if (!op->labels)
        return ap_fail(err, AP_E_NOMEM, "no memory for the labels of %zu series", op->count);
    for (size_t i = 0; i < op->count; i++) {
        struct ap_slice rest = before[i];
        struct label first;
        op->labels[i] = before[i];
        if (labels_next(&rest, &first) && ap_slice_equal(first.name, name)) {
            op->labels[i] = rest;
        } else if (labels_get(before[i], name).bytes) {
            AP_AUTO_BUF struct ap_buf out = {0};
            labels_set(before[i], name, (struct ap_slice){0}, &out);
            op->labels[i] = run_copy(op->run, ap_buf_slice(&out));
        }
    }
    return AP_OK;
}

static enum ap_rc figure_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                              struct ap_err *err)
{
    const struct figure_call *call = (const struct figure_call *)op;
    enum ap_rc rc = operator_read(op->inputs[0], worker, index, ret_column, err);
    for (size_t i = 0; i < op->steps.count && rc == AP_OK; i++) {
        bool is_there = ret_column->histograms && ret_column->histograms[i];
        ret_column->values[i] = is_there ? call->figure(ret_column->histograms[i]) : absent();
    }
    ret_column->histograms = NULL;
    return rc;
}

static struct operator* plan_figure(struct run *run, const struct promql_expr *expr, const struct steps *steps,
                                    double (*figure)(const struct float_histogram *), struct ap_err *err)
{
    static const struct operator_class figure_class = {.open = figure_open, .read = figure_read};
    struct operator* input = plan(run, expr->call.arguments[0], steps, err);
    if (!input)
        return NULL;
    struct figure_call *call = operator_new(run, sizeof(*call), &figure_class, expr, steps);
    call->figure = figure;
    operator_set_inputs(&call->op, &input, 1);
    return plan_merge(&call->op);
}

/* ---- Quantiles and fractions ---- */

struct member {
    uint32_t series; /* of the input */
    uint32_t next;   /* member of the same group; UINT32_MAX: none */
    double upper_bound;
    bool has_bound; /* `le` is a number; otherwise it is looked at for native histograms */
};

struct quantile_call {
    struct operator op; /* input 0: the vector */
    const struct promql_expr *vector_expr;
    const struct promql_expr *first_expr; /* argument: where infos about NaN are said to be */
    bool is_fraction;
    size_t parameter_count;
    struct operator** parameters; /* scalars: quantiles, or the two bounds */
    double **parameter_values;    /* for every step */
    struct ap_slice label;        /* of histogram_quantiles(): where the quantile goes; data NULL for the others */
    /* When open. */
    struct member *members;
    uint32_t *groups; /* first member of each */
    size_t group_count;
    double *quantiles; /* histogram_quantiles(): all that occur; series are groups times these */
    size_t quantile_count;
};

/* As Go's ParseFloat, whose special names are those that Prometheus prints. */
static bool parse_bound(struct ap_slice text, double *ret_bound)
{
    char copy[64];
    if (text.bytes == 0 || text.bytes >= sizeof(copy) || strchr(" \t\n", text.data[0]))
        return false;
    memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    char *end;
    errno = 0;
    *ret_bound = strtod(copy, &end);
    return *end == '\0' && strlen(copy) == text.bytes && !strchr(copy, '(');
}

static void make_groups(struct quantile_call *call)
{
    struct operator* op = & call->op, *input = op->inputs[0];
    static struct ap_slice le = AP_SLICE_LITERAL("le");
    const struct promql_labels only_le = {&le, 1};
    struct label_table table = {0};
    call->members = ap_arena_alloc0(&op->run->arena, (input->count + 1) * sizeof(*call->members));
    call->groups = ap_arena_alloc0(&op->run->arena, (input->count + 1) * sizeof(*call->groups));
    AP_AUTO_BUF struct ap_buf without = {0};
    for (size_t i = 0; i < input->count; i++) {
        struct member *member = &call->members[i];
        *member = (struct member){.series = (uint32_t)i, .next = UINT32_MAX};
        member->has_bound = parse_bound(labels_get(input->labels[i], le), &member->upper_bound);
        ap_buf_reset(&without);
        labels_drop(input->labels[i], member->has_bound ? &only_le : &(struct promql_labels){0}, false, &without);
        bool is_new;
        size_t group = label_table_add(&table, op->run, ap_buf_slice(&without), &is_new);
        member->next = is_new ? UINT32_MAX : call->groups[group];
        call->groups[group] = (uint32_t)i;
    }
    call->group_count = table.count;
    op->labels = ap_arena_alloc0(&op->run->arena, (table.count + 1) * sizeof(*op->labels));
    for (size_t i = 0; i < table.count; i++)
        op->labels[i] = labels_without_name(op->run, table.entries[i].labels);
    op->count = table.count;
    op->cost = input->cost * (input->count / AP_MAX(table.count, 1) + 1);
    op->is_unique_without_name = false;
    label_table_clear(&table);
}

static void add_quantile(struct quantile_call *call, double quantile)
{
    for (size_t i = 0; i < call->quantile_count; i++)
        if (ap_double_same(call->quantiles[i], quantile))
            return;
    call->quantiles[call->quantile_count++] = quantile;
}

/* One series for each group and quantile that occurs at some step. */
static void spread_quantiles(struct quantile_call *call)
{
    struct operator* op = & call->op;
    call->quantiles = ap_arena_alloc0(&op->run->arena, (call->parameter_count * op->steps.count + 1) * sizeof(double));
    for (size_t i = 0; i < call->parameter_count; i++)
        for (size_t j = 0; j < op->steps.count; j++)
            if (j == 0 || !ap_double_same(call->parameter_values[i][j], call->parameter_values[i][j - 1]))
                add_quantile(call, call->parameter_values[i][j]);
    const struct ap_slice *groups = op->labels;
    op->count = call->group_count * call->quantile_count;
    op->labels = ap_arena_alloc0(&op->run->arena, (op->count + 1) * sizeof(*op->labels));
    for (size_t i = 0; i < op->count; i++) {
        AP_AUTO_BUF struct ap_buf out = {0};
        struct float_text text = open_metrics_float(call->quantiles[i / call->group_count]);
        labels_set(groups[i % call->group_count], call->label, ap_slice_cstr(text.text), &out);
        op->labels[i] = run_copy(op->run, ap_buf_slice(&out));
    }
}

static void warn_quantiles(const struct quantile_call *call)
{
    for (size_t i = 0; i < call->parameter_count; i++)
        for (size_t j = 0; j < call->op.steps.count; j++) {
            double q = call->parameter_values[i][j];
            if (!(q >= 0 && q <= 1))
                annotate(&call->op.run->annotations, PROMQL_WARNING, call->parameters[i]->expr,
                         "quantile value should be between 0 and 1, got %s", go_float(q).text);
        }
}

static enum ap_rc quantile_open(struct operator* op, struct ap_err *err)
{
    struct quantile_call *call = (struct quantile_call *)op;
    enum ap_rc rc = operator_open_inputs(op, err);
    call->parameter_values = ap_arena_alloc0(&op->run->arena, (call->parameter_count + 1) * sizeof(double *));
    for (size_t i = 0; i < call->parameter_count && rc == AP_OK; i++) {
        call->parameter_values[i] = ap_arena_alloc0(&op->run->arena, op->steps.count * sizeof(double));
        rc = operator_open(call->parameters[i], err);
        if (rc == AP_OK)
            rc = operator_read_scalar(call->parameters[i], call->parameter_values[i], err);
    }
    if (rc != AP_OK)
        return rc;
    if (!call->is_fraction)
        warn_quantiles(call);
    make_groups(call);
    if (call->label.data)
        spread_quantiles(call);
    return AP_OK;
}

/* What a reading of one group keeps of its members. */
struct group_reading {
    struct quantile_call *call;
    struct worker *worker;
    struct bucket_column {
        double upper_bound;
        const double *counts;
    } * buckets; /* those with a bound, sorted by it: then a step's are, too */
    size_t bucket_count;
    struct float_histogram **histograms; /* of the native one, or NULL */
};

static void warn(const struct group_reading *reading, const char *text)
{
    annotate(&reading->call->op.run->annotations, PROMQL_WARNING, reading->call->vector_expr, "%s", text);
}

static void note_nan(const struct group_reading *reading, const char *text)
{
    annotate(&reading->call->op.run->annotations, PROMQL_INFO, reading->call->first_expr, "%s", text);
}

static enum ap_rc read_member(struct group_reading *reading, const struct member *member, struct ap_err *err)
{
    struct operator* op = & reading->call->op, *input = op->inputs[0];
    size_t steps = op->steps.count;
    struct column column = {.values = worker_alloc(reading->worker, steps * sizeof(double))};
    enum ap_rc rc = operator_read(input, reading->worker, member->series, &column, err);
    if (rc != AP_OK)
        return rc;
    if (member->has_bound) {
        reading->buckets[reading->bucket_count++] = (struct bucket_column){member->upper_bound, column.values};
        return AP_OK;
    }
    reading->histograms = column.histograms;
    for (size_t i = 0; i < steps; i++) {
        if (is_absent(column.values[i]))
            continue;
        char text[600];
        snprintf(text, sizeof(text), "bucket label \"le\" is missing or has a malformed value of %s",
                 quoted(labels_get(input->labels[member->series], ap_slice_cstr("le"))).text);
        warn(reading, text);
        break;
    }
    return AP_OK;
}

static double native_figure(const struct group_reading *reading, const double *parameters,
                            const struct float_histogram *histogram)
{
    struct float_histogram_figure_notes notes = {0};
    double value = reading->call->is_fraction
                       ? float_histogram_fraction(parameters[0], parameters[1], histogram, &notes)
                       : float_histogram_quantile(parameters[0], histogram, &notes);
    if (reading->call->is_fraction && (notes.is_nan_counted || notes.is_nan_skewing))
        note_nan(reading, "input to histogram_fraction has NaN observations, which are excluded from all fractions");
    else if (notes.is_nan_counted)
        note_nan(reading, "input to histogram_quantile has NaN observations, result is NaN");
    else if (notes.is_nan_skewing)
        note_nan(reading, "input to histogram_quantile has NaN observations, result is skewed higher");
    return value;
}

static double classic_figure(const struct group_reading *reading, size_t step, const double *parameters,
                             struct bucket *buckets, size_t count)
{
    if (reading->call->is_fraction)
        return bucket_fraction(parameters[0], parameters[1], buckets, count);
    struct forced_buckets forced;
    double value = bucket_quantile(parameters[0], buckets, count, &forced);
    if (forced.is_forced)
        annotate_forced(&reading->call->op.run->annotations, reading->call->vector_expr, &forced,
                        step_time(&reading->call->op.steps, step));
    return value;
}

static double figure_at(const struct group_reading *reading, size_t step, const double *parameters,
                        struct bucket *buckets)
{
    size_t count = 0;
    for (size_t i = 0; i < reading->bucket_count; i++)
        if (!is_absent(reading->buckets[i].counts[step]))
            buckets[count++] = (struct bucket){reading->buckets[i].upper_bound, reading->buckets[i].counts[step]};
    const struct float_histogram *histogram = reading->histograms ? reading->histograms[step] : NULL;
    if (histogram && count) {
        warn(reading, "vector contains a mix of classic and native histograms");
        return absent();
    }
    if (histogram)
        return native_figure(reading, parameters, histogram);
    return count ? classic_figure(reading, step, parameters, buckets, count) : absent();
}

/* Whether this step has a point: always, but for the series of a quantile that is not asked for here. */
static bool choose_parameters(const struct quantile_call *call, size_t index, size_t step, double parameters[2])
{
    if (!call->label.data) {
        for (size_t i = 0; i < call->parameter_count; i++)
            parameters[i] = call->parameter_values[i][step];
        return true;
    }
    parameters[0] = call->quantiles[index / call->group_count];
    for (size_t i = 0; i < call->parameter_count; i++)
        if (ap_double_same(call->parameter_values[i][step], parameters[0]))
            return true;
    return false;
}

static int compare_bucket_columns(const void *a, const void *b)
{
    double x = ((const struct bucket_column *)a)->upper_bound, y = ((const struct bucket_column *)b)->upper_bound;
    return (x > y) - (x < y);
}

static enum ap_rc quantile_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                                struct ap_err *err)
{
    struct quantile_call *call = (struct quantile_call *)op;
    uint32_t first = call->groups[index % call->group_count];
    size_t count = 0;
    for (uint32_t i = first; i != UINT32_MAX; i = call->members[i].next)
        count++;
    struct group_reading reading = {
        .call = call,
        .worker = worker,
        .buckets = worker_alloc(worker, count * sizeof(struct bucket_column)),
    };
    enum ap_rc rc = AP_OK;
    for (uint32_t i = first; i != UINT32_MAX && rc == AP_OK; i = call->members[i].next)
        rc = read_member(&reading, &call->members[i], err);
    qsort(reading.buckets, reading.bucket_count, sizeof(*reading.buckets), compare_bucket_columns);
    struct bucket *buckets = worker_alloc(worker, count * sizeof(*buckets));
    for (size_t i = 0; i < op->steps.count && rc == AP_OK; i++) {
        double parameters[2];
        ret_column->values[i] =
            choose_parameters(call, index, i, parameters) ? figure_at(&reading, i, parameters, buckets) : absent();
    }
    return rc;
}

static struct operator*
    plan_quantile(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err)
{
    static const struct operator_class quantile_class = {.open = quantile_open, .read = quantile_read};
    struct quantile_call *call = operator_new(run, sizeof(*call), &quantile_class, expr, steps);
    call->is_fraction = is_call(expr, "histogram_fraction");
    call->first_expr = expr->call.arguments[0];
    call->parameters = ap_arena_alloc0(&run->arena, expr->call.count * sizeof(struct operator*));
    for (size_t i = 0; i < expr->call.count; i++) {
        const struct promql_expr *argument = expr->call.arguments[i];
        if (argument->type == TYPE_STRING) {
            call->label = without_parens(argument)->text;
            continue;
        }
        struct operator* input = plan(run, argument, steps, err);
        if (!input)
            return NULL;
        if (argument->type == TYPE_VECTOR) {
            call->vector_expr = argument;
            operator_set_inputs(&call->op, &input, 1);
        } else {
            call->parameters[call->parameter_count++] = input;
        }
    }
    return plan_merge(&call->op);
}

struct operator*
    plan_histogram_call(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err)
{
    static const struct {
        const char *name;
        double (*figure)(const struct float_histogram *histogram);
    } figures[] = {{"histogram_avg", avg_of},
                   {"histogram_count", count_of},
                   {"histogram_stddev", stddev_of},
                   {"histogram_stdvar", float_histogram_variance},
                   {"histogram_sum", sum_of}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(figures); i++)
        if (is_call(expr, figures[i].name))
            return plan_figure(run, expr, steps, figures[i].figure, err);
    return plan_quantile(run, expr, steps, err);
}
