/*
 * Aggregations that need one pass: sum, avg, count, min, max, group, stddev, stdvar.
 *
 * Which series belong to which group is known from their labels alone. A group is computed when it is asked for, its
 * series one after the other, so nothing is held but the sums of one group. Where there are too few groups to keep all
 * threads busy, everything is computed while opening instead: each thread takes a part of the series, and the parts'
 * tallies are put together in the order of the series.
 */
#include "promql/aggregate.h"

#include <math.h>
#include <string.h>

#include "promql/float_histogram_sum.h"
#include "promql/sums.h"

/* What there is to remember of the samples of one group at one step. */
struct tally {
    struct mean mean; /* sum: its `kahan`; min, max: kahan.sum; stddev: the sum of squares, and in `rest` the mean */
    bool has_float;
    bool has_histogram;
    bool is_incompatible; /* exponential and custom buckets met: there is no result */
};

struct tallies {
    struct tally *rows;                      /* groups * steps */
    struct float_histogram_sum **histograms; /* for each group NULL, or one for each step */
};

struct aggregation {
    void (*add)(struct tally *tallies, const double *values, size_t steps); /* one series more */
    void (*merge)(struct tally *tally, const struct tally *other);          /* both have floats */
    double (*result)(const struct tally *tally);
    enum { HISTOGRAMS_IGNORED, HISTOGRAMS_COUNTED, HISTOGRAMS_SUMMED, HISTOGRAMS_AVERAGED } histograms;
};

struct aggregate {
    struct operator op;
    const struct aggregation *aggregation;
    struct aggregate_groups groups;
    bool is_computed; /* while opening */
    struct tallies tallies;
    struct ap_arena arenas[WORKERS_MAX]; /* of the histograms in `tallies`, one for each part */
};

/* ---- One float more ---- */

static void add_sum(struct tally *tally, double value)
{
    if (tally->mean.count++ == 0)
        tally->mean.kahan.sum = value;
    else
        kahan_add(&tally->mean.kahan, value);
}

static void add_mean(struct tally *tally, double value)
{
    mean_add(&tally->mean, value);
}

static void add_count(struct tally *tally, double value)
{
    (void)value;
    tally->mean.count++;
}

static void add_min(struct tally *tally, double value)
{
    double *least = &tally->mean.kahan.sum;
    if (tally->mean.count++ == 0 || *least > value || isnan(*least))
        *least = value;
}

static void add_max(struct tally *tally, double value)
{
    double *most = &tally->mean.kahan.sum;
    if (tally->mean.count++ == 0 || *most < value || isnan(*most))
        *most = value;
}

/* B. P. Welford 1962, "Note on a Method for Calculating Corrected Sums of Squares and Products". */
static void add_square(struct tally *tally, double value)
{
    double *squares = &tally->mean.kahan.sum, *mean = &tally->mean.kahan.rest;
    if (tally->mean.count++ == 0) {
        *mean = value;
        *squares = isfinite(value) ? 0 : NAN;
        return;
    }
    double delta = value - *mean;
    *mean += delta / tally->mean.count;
    *squares += delta * (value - *mean);
}

/* ---- Two parts ---- */

static void merge_sum(struct tally *tally, const struct tally *other)
{
    kahan_add(&tally->mean.kahan, other->mean.kahan.sum);
    tally->mean.kahan.rest += other->mean.kahan.rest;
    tally->mean.count += other->mean.count;
}

static void merge_mean(struct tally *tally, const struct tally *other)
{
    struct tally both = *tally;
    merge_sum(&both, other);
    if (!tally->mean.is_running && !other->mean.is_running && !isinf(both.mean.kahan.sum)) {
        *tally = both;
        return;
    }
    double count = both.mean.count;
    double mean =
        mean_total(&tally->mean) * (tally->mean.count / count) + mean_total(&other->mean) * (other->mean.count / count);
    tally->mean = (struct mean){.kahan = {.sum = mean}, .count = count, .is_running = true};
}

static void merge_count(struct tally *tally, const struct tally *other)
{
    tally->mean.count += other->mean.count;
}

static void merge_min(struct tally *tally, const struct tally *other)
{
    add_min(tally, other->mean.kahan.sum);
}

static void merge_max(struct tally *tally, const struct tally *other)
{
    add_max(tally, other->mean.kahan.sum);
}

/* T. F. Chan, G. H. Golub, R. J. LeVeque 1979, "Updating Formulae and a Pairwise Algorithm for Computing Sample
 * Variances". */
static void merge_square(struct tally *tally, const struct tally *other)
{
    double count = tally->mean.count + other->mean.count;
    double delta = other->mean.kahan.rest - tally->mean.kahan.rest;
    tally->mean.kahan.sum += other->mean.kahan.sum + delta * delta * tally->mean.count * other->mean.count / count;
    tally->mean.kahan.rest += delta * other->mean.count / count;
    tally->mean.count = count;
}

/* ---- The result ---- */

static double result_sum(const struct tally *tally)
{
    return kahan_total(&tally->mean.kahan);
}

static double result_mean(const struct tally *tally)
{
    return mean_total(&tally->mean);
}

static double result_count(const struct tally *tally)
{
    return tally->mean.count;
}

static double result_group(const struct tally *tally)
{
    (void)tally;
    return 1;
}

static double result_plain(const struct tally *tally)
{
    return tally->mean.kahan.sum;
}

static double result_variance(const struct tally *tally)
{
    return tally->mean.kahan.sum / tally->mean.count;
}

static double result_deviation(const struct tally *tally)
{
    return sqrt(result_variance(tally));
}

static inline __attribute__((always_inline)) void add_all(struct tally *tallies, const double *values, size_t steps,
                                                          void (*add)(struct tally *, double))
{
    for (size_t i = 0; i < steps; i++) {
        if (is_absent(values[i]))
            continue;
        tallies[i].has_float = true;
        add(&tallies[i], values[i]);
    }
}

/* A loop for each kind, with the addition inlined. */
#define DEFINE_SERIES_ADDER(name, add)                                                                                 \
    static void name(struct tally *tallies, const double *values, size_t steps)                                        \
    {                                                                                                                  \
        add_all(tallies, values, steps, add);                                                                          \
    }
DEFINE_SERIES_ADDER(sum_series, add_sum)
DEFINE_SERIES_ADDER(mean_series, add_mean)
DEFINE_SERIES_ADDER(count_series, add_count)
DEFINE_SERIES_ADDER(min_series, add_min)
DEFINE_SERIES_ADDER(max_series, add_max)
DEFINE_SERIES_ADDER(square_series, add_square)

static const struct aggregation aggregations[] = {
    [AGGREGATE_SUM] = {sum_series, merge_sum, result_sum, HISTOGRAMS_SUMMED},
    [AGGREGATE_AVG] = {mean_series, merge_mean, result_mean, HISTOGRAMS_AVERAGED},
    [AGGREGATE_COUNT] = {count_series, merge_count, result_count, HISTOGRAMS_COUNTED},
    [AGGREGATE_MIN] = {min_series, merge_min, result_plain, HISTOGRAMS_IGNORED},
    [AGGREGATE_MAX] = {max_series, merge_max, result_plain, HISTOGRAMS_IGNORED},
    [AGGREGATE_GROUP] = {count_series, merge_count, result_group, HISTOGRAMS_COUNTED},
    [AGGREGATE_STDDEV] = {square_series, merge_square, result_deviation, HISTOGRAMS_IGNORED},
    [AGGREGATE_STDVAR] = {square_series, merge_square, result_variance, HISTOGRAMS_IGNORED},
};

/* ---- Groups ---- */

void aggregate_ignore(struct operator* op)
{
    enum promql_aggregation aggregation = op->expr->aggregate.aggregation;
    bool is_choosing = aggregation == AGGREGATE_TOPK || aggregation == AGGREGATE_BOTTOMK;
    annotate(&op->run->annotations, PROMQL_INFO, is_choosing ? op->expr : op->expr->aggregate.of,
             "ignored histogram in %s aggregation", promql_aggregation_name(aggregation));
}

struct promql_labels aggregate_names(struct run *run, const struct promql_expr *expr)
{
    const struct promql_labels *written = &expr->aggregate.labels;
    struct promql_labels names = {ap_arena_alloc0(&run->arena, (written->count + 1) * sizeof(*names.items)),
                                  written->count};
    for (size_t i = 0; i < names.count; i++)
        names.items[i] = written->items[i];
    labels_sort_names(&names);
    return names;
}

void aggregate_group_labels(const struct promql_expr *expr, const struct promql_labels *names, struct ap_slice labels,
                            struct ap_buf *out)
{
    if (expr->aggregate.is_without)
        labels_drop(labels, names, true, out);
    else
        labels_keep(labels, names, out);
}

static int compare_members(const void *a, const void *b, void *context)
{
    const struct ap_slice *labels = context;
    return labels_compare(labels[*(const uint32_t *)a], labels[*(const uint32_t *)b]);
}

/*
 * In which order an operator gives its series may depend on which of them are there at the first steps. In which order
 * a group's are summed, and which of equals topk() chooses, must not: a query that begins elsewhere has the same value
 * at a step, to the last bit. An instant query has one step, and Prometheus' order.
 */
static void put_members_in_order(struct aggregate_groups *groups, const struct operator* input)
{
    for (size_t group = 0; group < groups->count; group++) {
        uint32_t *members = groups->members + groups->starts[group];
        uint32_t count = groups->starts[group + 1] - groups->starts[group], i = 1;
        while (i < count && labels_compare(input->labels[members[i - 1]], input->labels[members[i]]) <= 0)
            i++;
        if (i < count)
            qsort_r(members, count, sizeof(*members), compare_members, input->labels);
    }
}

void aggregate_group(struct aggregate_groups *groups, struct operator* op)
{
    const struct operator* input = op->inputs[0];
    struct ap_arena *arena = &op->run->arena;
    struct label_table table = {0};
    struct promql_labels names = aggregate_names(op->run, op->expr);
    AP_AUTO_BUF struct ap_buf labels = {0};
    groups->of = ap_arena_alloc0(arena, (input->count + 1) * sizeof(*groups->of));
    for (size_t i = 0; i < input->count; i++) {
        ap_buf_reset(&labels);
        aggregate_group_labels(op->expr, &names, input->labels[i], &labels);
        bool is_new;
        groups->of[i] = (uint32_t)label_table_add(&table, op->run, ap_buf_slice(&labels), &is_new);
    }
    groups->count = table.count;
    groups->labels = ap_arena_alloc0(arena, (table.count + 1) * sizeof(*groups->labels));
    for (size_t i = 0; i < table.count; i++)
        groups->labels[i] = table.entries[i].labels;
    label_table_clear(&table);
    /* Counting sort of the series by their group. */
    groups->starts = ap_arena_alloc0(arena, (groups->count + 2) * sizeof(*groups->starts));
    groups->members = ap_arena_alloc0(arena, (input->count + 1) * sizeof(*groups->members));
    for (size_t i = 0; i < input->count; i++)
        groups->starts[groups->of[i] + 2]++;
    for (size_t i = 2; i < groups->count + 2; i++)
        groups->starts[i] += groups->starts[i - 1];
    for (size_t i = 0; i < input->count; i++)
        groups->members[groups->starts[groups->of[i] + 1]++] = (uint32_t)i;
    if (op->run->request->step_ms > 0 && !input->is_in_order)
        put_members_in_order(groups, input);
}

/* ---- Histograms ---- */

static struct promql_expr *of(const struct operator* op)
{
    return op->expr->aggregate.of;
}

static void note_sums(const struct operator* op, const struct float_histogram_notes *notes)
{
    if (notes->is_reset_colliding)
        annotate(&op->run->annotations, PROMQL_WARNING, of(op),
                 "conflicting counter resets during histogram aggregation");
    if (notes->are_bounds_reconciled)
        annotate(&op->run->annotations, PROMQL_INFO, of(op),
                 "mismatched custom buckets were reconciled during aggregation");
}

static void warn_schemas(const struct operator* op, struct ap_slice metric)
{
    annotate(&op->run->annotations, PROMQL_WARNING, of(op),
             "vector contains a mix of histograms with exponential and custom buckets schemas for metric name %s",
             quoted(metric).text);
}

/* Puts in one more histogram. */
static void add_histogram(const struct operator* op, const struct aggregation *aggregation, struct tally *tally,
                          struct float_histogram_sum *sum, const struct float_histogram *histogram,
                          struct ap_slice metric, struct ap_arena *arena)
{
    tally->has_histogram = true;
    if (aggregation->histograms == HISTOGRAMS_COUNTED || tally->is_incompatible)
        return;
    struct float_histogram_notes notes = {0};
    if (!float_histogram_sum_add(sum, histogram, aggregation->histograms == HISTOGRAMS_AVERAGED, arena, &notes)) {
        warn_schemas(op, metric);
        tally->is_incompatible = true;
    }
    note_sums(op, &notes);
}

static void merge_histograms(const struct operator* op, const struct aggregation *aggregation, struct tally *tally,
                             struct float_histogram_sum *sum, const struct float_histogram_sum *other,
                             struct ap_arena *arena)
{
    struct float_histogram_notes notes = {0};
    if (tally->is_incompatible || !other->sum)
        return;
    if (!sum->sum) {
        *sum = *other;
    } else if (!float_histogram_sum_merge(sum, other, aggregation->histograms == HISTOGRAMS_AVERAGED, arena, &notes)) {
        warn_schemas(op, (struct ap_slice){0});
        tally->is_incompatible = true;
    }
    note_sums(op, &notes);
}

static struct float_histogram_sum *sums_of(const struct operator* op, struct float_histogram_sum **sums,
                                           struct ap_arena *arena)
{
    if (!*sums)
        *sums = ap_arena_alloc0(arena, op->steps.count * sizeof(struct float_histogram_sum));
    return *sums;
}

static void add_histograms(struct aggregate *aggregate, struct tally *tallies, struct float_histogram_sum **sums,
                           struct float_histogram *const *histograms, size_t series, struct ap_arena *arena)
{
    struct operator* op = & aggregate->op;
    struct ap_slice metric = labels_get(op->inputs[0]->labels[series], ap_slice_cstr(LABEL_METRIC_NAME));
    for (size_t i = 0; i < op->steps.count; i++) {
        if (!histograms[i])
            continue;
        if (aggregate->aggregation->histograms == HISTOGRAMS_IGNORED) {
            aggregate_ignore(op);
            continue;
        }
        tallies[i].mean.count++;
        add_histogram(op, aggregate->aggregation, &tallies[i], &sums_of(op, sums, arena)[i], histograms[i], metric,
                      arena);
    }
}

/* ---- Reading ---- */

/* One series into its group's tallies. */
static enum ap_rc add_series(struct aggregate *aggregate, struct worker *worker, size_t series, struct tally *tallies,
                             struct float_histogram_sum **sums, struct ap_arena *arena, struct ap_err *err)
{
    struct operator* op = & aggregate->op;
    struct column column = {.values = worker_take(worker, op->steps.count)};
    enum ap_rc rc = operator_drive(op->inputs[0], worker, series, &column, err);
    if (rc == AP_OK)
        aggregate->aggregation->add(tallies, column.values, op->steps.count);
    if (rc == AP_OK && column.histograms)
        add_histograms(aggregate, tallies, sums, column.histograms, series, arena);
    worker_give(worker);
    return rc;
}

static void warn_mixed(const struct operator* op)
{
    annotate(&op->run->annotations, PROMQL_WARNING, of(op),
             "encountered a mix of histograms and floats for aggregation");
}

static void give_results(struct aggregate *aggregate, const struct tally *tallies, struct float_histogram_sum *sums,
                         struct worker *worker, struct column *ret_column)
{
    const struct operator* op = & aggregate->op;
    const struct aggregation *aggregation = aggregate->aggregation;
    bool is_counting = aggregation->histograms == HISTOGRAMS_COUNTED;
    for (size_t i = 0; i < op->steps.count; i++) {
        const struct tally *tally = &tallies[i];
        ret_column->values[i] = absent();
        if (tally->mean.count == 0)
            continue;
        if (is_counting || !tally->has_histogram) {
            ret_column->values[i] = aggregation->result(tally);
        } else if (tally->has_float) {
            warn_mixed(op);
        } else if (!tally->is_incompatible) {
            if (!ret_column->histograms)
                ret_column->histograms = worker_histograms(worker, op->steps.count);
            if (sums[i].has_reset && sums[i].has_no_reset)
                note_sums(op, &(struct float_histogram_notes){.is_reset_colliding = true});
            bool is_mean = aggregation->histograms == HISTOGRAMS_AVERAGED;
            ret_column->histograms[i] = float_histogram_sum_total(&sums[i], is_mean, &worker->arena);
            float_histogram_compact(ret_column->histograms[i]);
        }
    }
}

static enum ap_rc aggregate_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                                 struct ap_err *err)
{
    struct aggregate *aggregate = (struct aggregate *)op;
    const struct aggregate_groups *groups = &aggregate->groups;
    size_t steps = op->steps.count;
    if (aggregate->is_computed) {
        give_results(aggregate, aggregate->tallies.rows + index * steps, aggregate->tallies.histograms[index], worker,
                     ret_column);
        return AP_OK;
    }
    struct tally *tallies = worker_alloc(worker, steps * sizeof(*tallies));
    memset(tallies, 0, steps * sizeof(*tallies));
    struct float_histogram_sum *sums = NULL;
    /* What reading a member makes is gone when the next one is read. */
    struct ap_arena kept = worker->arena;
    ap_arena_init(&worker->arena, 0);
    enum ap_rc rc = AP_OK;
    for (uint32_t i = groups->starts[index]; i < groups->starts[index + 1] && rc == AP_OK; i++) {
        rc = add_series(aggregate, worker, groups->members[i], tallies, &sums, &kept, err);
        ap_arena_recycle(&worker->arena);
    }
    ap_arena_clear(&worker->arena);
    worker->arena = kept;
    if (rc == AP_OK)
        give_results(aggregate, tallies, sums, worker, ret_column);
    return rc;
}

/* ---- All at once ---- */

struct computing {
    struct aggregate *aggregate;
    struct tallies *parts;
};

static enum ap_rc compute_part(struct worker *worker, size_t part, size_t from, size_t to, void *context,
                               struct ap_err *err)
{
    struct computing *computing = context;
    struct aggregate *aggregate = computing->aggregate;
    struct tallies *tallies = &computing->parts[part];
    size_t steps = aggregate->op.steps.count;
    enum ap_rc rc = AP_OK;
    for (size_t i = from; i < to && rc == AP_OK; i++) {
        size_t group = aggregate->groups.of[i];
        rc = add_series(aggregate, worker, i, tallies->rows + group * steps, &tallies->histograms[group],
                        &aggregate->arenas[part], err);
        ap_arena_recycle(&worker->arena);
    }
    return rc;
}

static void tallies_make(struct tallies *tallies, size_t groups, size_t steps)
{
    tallies->rows = ap_new0_array(struct tally, groups * steps);
    tallies->histograms = ap_new0_array(struct float_histogram_sum *, groups);
}

static void tallies_clear(struct tallies *tallies)
{
    free(tallies->rows);
    free(tallies->histograms);
    *tallies = (struct tallies){0};
}

static void merge_part(struct aggregate *aggregate, const struct tallies *part)
{
    struct operator* op = & aggregate->op;
    size_t steps = op->steps.count;
    for (size_t i = 0; i < op->count * steps; i++) {
        struct tally *tally = &aggregate->tallies.rows[i];
        const struct tally *other = &part->rows[i];
        if (other->mean.count == 0)
            continue;
        if (other->has_histogram && part->histograms[i / steps]) {
            struct float_histogram_sum *sum =
                &sums_of(op, &aggregate->tallies.histograms[i / steps], &aggregate->arenas[0])[i % steps];
            tally->is_incompatible |= other->is_incompatible;
            merge_histograms(op, aggregate->aggregation, tally, sum, &part->histograms[i / steps][i % steps],
                             &aggregate->arenas[0]);
        }
        bool is_incompatible = tally->is_incompatible;
        bool has_histogram = tally->has_histogram || other->has_histogram;
        if (tally->mean.count == 0)
            *tally = *other;
        else if (tally->has_float && other->has_float)
            aggregate->aggregation->merge(tally, other);
        else
            tally->mean.count += other->mean.count; /* mixed, or nothing but histograms */
        tally->has_float |= other->has_float;
        tally->has_histogram = has_histogram;
        tally->is_incompatible |= is_incompatible;
    }
}

static enum ap_rc compute(struct aggregate *aggregate, size_t parts, struct ap_err *err)
{
    struct operator* op = & aggregate->op, *input = op->inputs[0];
    struct tallies made[WORKERS_MAX] = {0};
    for (size_t i = 0; i < parts; i++)
        tallies_make(&made[i], op->count, op->steps.count);
    struct computing computing = {aggregate, made};
    enum ap_rc rc = run_parallel(op->run, input->count, input->cost, compute_part, &computing, err);
    aggregate->tallies = made[0];
    for (size_t i = 1; i < parts; i++) {
        if (rc == AP_OK)
            merge_part(aggregate, &made[i]);
        tallies_clear(&made[i]);
    }
    aggregate->is_computed = true;
    return rc;
}

static enum ap_rc aggregate_open(struct operator* op, struct ap_err *err)
{
    struct aggregate *aggregate = (struct aggregate *)op;
    enum ap_rc rc = operator_open_inputs(op, err);
    if (rc != AP_OK)
        return rc;
    const struct operator* input = op->inputs[0];
    aggregate_group(&aggregate->groups, op);
    op->count = aggregate->groups.count;
    op->labels = aggregate->groups.labels;
    op->is_unique_without_name = !aggregate_keeps_name(op->expr);
    op->cost = op->count ? input->count * (input->cost + op->steps.count) / op->count : 0;
    size_t parts = run_parts(op->run, input->count, input->cost);
    if (parts == 1 || op->count >= 4 * parts)
        return AP_OK;
    op->cost = 0;
    return compute(aggregate, parts, err);
}

static void aggregate_close(struct operator* op)
{
    struct aggregate *aggregate = (struct aggregate *)op;
    tallies_clear(&aggregate->tallies);
    for (size_t i = 0; i < WORKERS_MAX; i++)
        ap_arena_clear(&aggregate->arenas[i]);
}

bool aggregate_keeps_name(const struct promql_expr *expr)
{
    static const char *const metadata[] = {LABEL_METRIC_NAME, "__type__", "__unit__"};
    for (size_t i = 0; i < expr->aggregate.labels.count && !expr->aggregate.is_without; i++)
        for (size_t j = 0; j < AP_ARRAY_COUNT(metadata); j++)
            if (ap_slice_equal_cstr(expr->aggregate.labels.items[i], metadata[j]))
                return true;
    return false;
}

struct operator*
    plan_aggregate(struct run *run, const struct promql_expr *expr, const struct steps *steps, struct ap_err *err)
{
    static const struct operator_class aggregate_class = {aggregate_open, aggregate_read, NULL, aggregate_close};
    struct operator* input = plan(run, expr->aggregate.of, steps, err);
    if (!input)
        return NULL;
    if ((size_t)expr->aggregate.aggregation >= AP_ARRAY_COUNT(aggregations))
        return plan_choice(run, expr, steps, input, err);
    struct aggregate *aggregate = operator_new(run, sizeof(*aggregate), &aggregate_class, expr, steps);
    aggregate->aggregation = &aggregations[expr->aggregate.aggregation];
    for (size_t i = 0; i < WORKERS_MAX; i++)
        ap_arena_init(&aggregate->arenas[i], 0);
    operator_set_inputs(&aggregate->op, &input, 1);
    return &aggregate->op;
}
