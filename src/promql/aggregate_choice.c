/*
 * Aggregations that look at all values of a group at a step together: topk, bottomk, limitk and limit_ratio choose
 * among the series, quantile and count_values make new ones. Their input is held in memory.
 */
#include <math.h>
#include <string.h>
#include <xxhash.h>

#include "promql/aggregate.h"
#include "promql/float_text.h"
#include "promql/gathered.h"
#include "promql/quantile.h"
#include "tsdb/labels.h"

struct choice {
    struct operator op;
    struct aggregate_groups groups;
    double *parameters;     /* for each step; NULL: it takes none, or a text */
    struct held held;       /* the input */
    struct gathered counts; /* of count_values */
    uint32_t *series;       /* of the choosing ones: which series of the input each of the answer's is */
};

static enum promql_aggregation kind_of(const struct operator* op)
{
    return op->expr->aggregate.aggregation;
}

static bool has_point(const struct choice *choice, size_t series, size_t step)
{
    return !is_absent(held_values(&choice->held, series)[step]) || held_histogram(&choice->held, series, step);
}

static void drop_point(struct choice *choice, size_t series, size_t step)
{
    held_values(&choice->held, series)[step] = absent();
    if (held_histogram(&choice->held, series, step))
        choice->held.histograms[series][step] = NULL;
}

/* ---- The largest, the smallest: a heap with the worst of the chosen on top, in the order of Go's container/heap,
 * which decides among equals ---- */

struct heap {
    struct heap_item {
        double value;
        uint32_t series;
    } * items;
    size_t count;
    bool is_smallest; /* that are wanted */
};

/* Whether `a` is worse than `b`. */
static bool is_worse(const struct heap *heap, double a, double b)
{
    if (isnan(a))
        return true;
    return heap->is_smallest ? a > b : a < b;
}

static void swap_items(struct heap *heap, size_t i, size_t j)
{
    struct heap_item item = heap->items[i];
    heap->items[i] = heap->items[j];
    heap->items[j] = item;
}

static void sift_up(struct heap *heap, size_t i)
{
    for (size_t parent; i > 0; i = parent) {
        parent = (i - 1) / 2;
        if (!is_worse(heap, heap->items[i].value, heap->items[parent].value))
            return;
        swap_items(heap, i, parent);
    }
}

static void sift_down(struct heap *heap, size_t i)
{
    for (size_t child; (child = 2 * i + 1) < heap->count; i = child) {
        if (child + 1 < heap->count && is_worse(heap, heap->items[child + 1].value, heap->items[child].value))
            child++;
        if (!is_worse(heap, heap->items[child].value, heap->items[i].value))
            return;
        swap_items(heap, i, child);
    }
}

static void heap_offer(struct heap *heap, size_t capacity, struct heap_item item)
{
    if (heap->count < capacity) {
        heap->items[heap->count++] = item;
        sift_up(heap, heap->count - 1);
        return;
    }
    double worst = heap->items[0].value;
    bool is_better = isnan(worst) ? !isnan(item.value) : heap->is_smallest ? worst > item.value : worst < item.value;
    if (is_better) {
        heap->items[0] = item;
        sift_down(heap, 0);
    }
}

/* The best first; equals as they are in the heap. Merge sort: no recursion, and stable. */
static void heap_sort(struct heap *heap, struct heap_item *scratch)
{
    struct heap_item *from = heap->items, *to = scratch;
    for (size_t width = 1; width < heap->count; width *= 2) {
        for (size_t start = 0; start < heap->count; start += 2 * width) {
            size_t middle = AP_MIN(start + width, heap->count), end = AP_MIN(start + 2 * width, heap->count);
            size_t i = start, j = middle;
            for (size_t at = start; at < end; at++)
                to[at] = i < middle && (j == end || !is_worse(heap, from[i].value, from[j].value) ||
                                        (isnan(from[i].value) && isnan(from[j].value)))
                             ? from[i++]
                             : from[j++];
        }
        struct heap_item *swapped = from;
        from = to;
        to = swapped;
    }
    if (from != heap->items)
        memcpy(heap->items, from, heap->count * sizeof(*from));
}

/* ---- Choosing, for one group and step: leaves the chosen in heap->items, in order ---- */

static void choose_best(struct choice *choice, size_t group, size_t step, size_t k, struct heap *heap,
                        struct heap_item *scratch)
{
    for (uint32_t i = choice->groups.starts[group]; i < choice->groups.starts[group + 1]; i++) {
        uint32_t series = choice->groups.members[i];
        if (held_histogram(&choice->held, series, step))
            aggregate_ignore(&choice->op);
        double value = held_values(&choice->held, series)[step];
        if (!is_absent(value))
            heap_offer(heap, k, (struct heap_item){value, series});
    }
    heap_sort(heap, scratch);
}

/* Whatever its value is; but the order of the answer comes from the heap, where histograms are 0. */
static void heap_put(struct choice *choice, struct heap *heap, uint32_t series, size_t step)
{
    double value = held_values(&choice->held, series)[step];
    heap->items[heap->count++] = (struct heap_item){is_absent(value) ? 0 : value, series};
    sift_up(heap, heap->count - 1);
}

static void choose_first(struct choice *choice, size_t group, size_t step, size_t k, struct heap *heap)
{
    for (uint32_t i = choice->groups.starts[group]; i < choice->groups.starts[group + 1] && heap->count < k; i++)
        if (has_point(choice, choice->groups.members[i], step))
            heap_put(choice, heap, choice->groups.members[i], step);
}

static void add_length(struct ap_buf *out, size_t bytes)
{
    unsigned char length[] = {0xff, (unsigned char)bytes, (unsigned char)(bytes >> 8), (unsigned char)(bytes >> 16)};
    if (bytes < 0xff)
        ap_buf_add(out, &length[1], 1);
    else
        ap_buf_add(out, length, sizeof(length));
}

/* Where the series falls in [0, 1): by XXH64 of its labels, written as Prometheus keeps them in memory, so that both
 * choose the same ones. */
static double place_of(struct ap_slice labels)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    struct label label;
    while (labels_next(&labels, &label)) {
        add_length(&text, label.name.bytes);
        ap_buf_add_slice(&text, label.name);
        add_length(&text, label.value.bytes);
        ap_buf_add_slice(&text, label.value);
    }
    return (double)XXH64(text.data, text.bytes, 0) / (double)UINT64_MAX;
}

static void choose_share(struct choice *choice, size_t group, size_t step, const double *places, struct heap *heap)
{
    double ratio = fmax(fmin(choice->parameters[step], 1), -1);
    for (uint32_t i = choice->groups.starts[group]; i < choice->groups.starts[group + 1]; i++) {
        uint32_t series = choice->groups.members[i];
        bool is_chosen = ratio >= 0 ? places[series] < ratio : places[series] >= 1 + ratio;
        if (is_chosen && has_point(choice, series, step))
            heap_put(choice, heap, series, step);
    }
}

/* Drops all that is not chosen, and lists the series that were chosen at some step. */
static void choose(struct choice *choice)
{
    struct operator* op = & choice->op;
    const struct operator* input = op->inputs[0];
    enum promql_aggregation kind = kind_of(op);
    AP_AUTO_FREE uint32_t *marks = ap_new0_array(uint32_t, input->count + 1); /* the last step that chose it, + 1 */
    AP_AUTO_FREE bool *is_ever = ap_new0_array(bool, input->count + 1);
    AP_AUTO_FREE struct heap_item *items = ap_new0_array(struct heap_item, input->count + 1);
    AP_AUTO_FREE struct heap_item *scratch = ap_new0_array(struct heap_item, input->count + 1);
    AP_AUTO_FREE double *places = ap_new0_array(double, input->count + 1);
    for (size_t i = 0; i < input->count && kind == AGGREGATE_LIMIT_RATIO; i++)
        places[i] = place_of(input->labels[i]);
    for (size_t step = 0; step < op->steps.count; step++) {
        size_t k = choice->parameters[step] >= 1 ? (size_t)fmin(choice->parameters[step], (double)input->count) : 0;
        for (size_t group = 0; group < choice->groups.count; group++) {
            struct heap heap = {items, 0, kind == AGGREGATE_BOTTOMK};
            if (kind == AGGREGATE_LIMIT_RATIO)
                choose_share(choice, group, step, places, &heap);
            else if (kind == AGGREGATE_LIMITK)
                choose_first(choice, group, step, k, &heap);
            else if (k > 0)
                choose_best(choice, group, step, k, &heap, scratch);
            for (size_t i = 0; i < heap.count; i++) {
                uint32_t series = heap.items[i].series;
                marks[series] = (uint32_t)step + 1;
                if (!is_ever[series])
                    choice->series[op->count++] = series;
                is_ever[series] = true;
            }
        }
        for (size_t i = 0; i < input->count; i++)
            if (marks[i] != step + 1)
                drop_point(choice, i, step);
    }
    for (size_t i = 0; i < op->count; i++)
        op->labels[i] = input->labels[choice->series[i]];
}

/* ---- quantile ---- */

static void read_quantile(struct choice *choice, struct worker *worker, size_t group, double *values)
{
    const struct aggregate_groups *groups = &choice->groups;
    uint32_t from = groups->starts[group], to = groups->starts[group + 1];
    double *gathered = worker_take(worker, to - from);
    for (size_t step = 0; step < choice->op.steps.count; step++) {
        size_t count = 0;
        for (uint32_t i = from; i < to; i++) {
            double value = held_values(&choice->held, groups->members[i])[step];
            if (!is_absent(value))
                gathered[count++] = value;
            if (held_histogram(&choice->held, groups->members[i], step))
                aggregate_ignore(&choice->op);
        }
        values[step] = count ? quantile_of(choice->parameters[step], gathered, count) : absent();
    }
    worker_give(worker);
}

static void check_quantiles(struct choice *choice)
{
    struct operator* op = & choice->op;
    double least = INFINITY, most = -INFINITY, nan = 0;
    for (size_t i = 0; i < op->steps.count; i++) {
        if (isnan(choice->parameters[i]))
            nan = NAN;
        least = fmin(least, choice->parameters[i]);
        most = fmax(most, choice->parameters[i]);
    }
    const double bad[] = {nan, isnan(nan) || !(most > 1) ? 0 : most, isnan(nan) || !(least < 0) ? 0 : least};
    for (size_t i = 0; i < AP_ARRAY_COUNT(bad); i++)
        if (bad[i] != 0)
            annotate(&op->run->annotations, PROMQL_WARNING, op->expr->aggregate.parameter,
                     "quantile value should be between 0 and 1, got %s", go_float(bad[i]).text);
}

/* ---- count_values ---- */

struct counting {
    struct choice *choice;
    struct promql_labels names;
    struct ap_slice label;
};

static enum ap_rc count_value(struct counting *counting, size_t series, size_t step, struct ap_slice text,
                              struct ap_err *err)
{
    const struct operator* op = & counting->choice->op;
    struct gathered *counts = &counting->choice->counts;
    AP_AUTO_BUF struct ap_buf labels = {0};
    AP_AUTO_BUF struct ap_buf group = {0};
    labels_set(op->inputs[0]->labels[series], counting->label, text, &labels);
    aggregate_group_labels(op->expr, &counting->names, ap_buf_slice(&labels), &group);
    size_t at;
    enum ap_rc rc = gathered_find(counts, ap_buf_slice(&group), &at, err);
    if (rc == AP_OK) {
        double *value = gathered_value(counts, at, step);
        *value = is_absent(*value) ? 1 : *value + 1;
    }
    return rc;
}

static enum ap_rc count_series(struct counting *counting, size_t series, struct ap_err *err)
{
    const struct held *held = &counting->choice->held;
    enum ap_rc rc = AP_OK;
    for (size_t step = 0; step < held->steps && rc == AP_OK; step++) {
        double value = held_values(held, series)[step];
        const struct float_histogram *histogram = held_histogram(held, series, step);
        if (!is_absent(value)) {
            struct float_text text = plain_float(value);
            rc = count_value(counting, series, step, ap_slice_cstr(text.text), err);
        } else if (histogram) {
            AP_AUTO_BUF struct ap_buf text = {0};
            float_histogram_print(histogram, &text);
            rc = count_value(counting, series, step, ap_buf_slice(&text), err);
        }
    }
    return rc;
}

static enum ap_rc count_values(struct choice *choice, struct ap_err *err)
{
    struct operator* op = & choice->op;
    struct ap_slice label = without_parens(op->expr->aggregate.parameter)->text;
    if (label.bytes == 0 || ap_utf8_valid_bytes(label) != label.bytes)
        return ap_fail(err, AP_E_CONFLICT, "invalid label name %s", quoted(label).text);
    struct counting counting = {choice, aggregate_names(op->run, op->expr), label};
    if (!op->expr->aggregate.is_without) { /* by() keeps the new label as well */
        counting.names.items[counting.names.count++] = label;
        labels_sort_names(&counting.names);
    }
    gathered_init(&choice->counts, op->run, op->steps.count);
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < op->inputs[0]->count && rc == AP_OK; i++)
        rc = count_series(&counting, i, err);
    held_clear(&choice->held, op->run);
    gathered_take_labels(&choice->counts, op);
    return rc;
}

/* ---- Opening, reading ---- */

static enum ap_rc check_counts(const struct choice *choice, struct ap_err *err)
{
    double least = INFINITY, most = -INFINITY;
    bool has_nan = false;
    for (size_t i = 0; i < choice->op.steps.count; i++) {
        double k = choice->parameters[i];
        has_nan |= isnan(k);
        least = fmin(least, k);
        most = fmax(most, k);
    }
    if (!has_nan && most < 1) /* nothing is chosen at any step */
        return AP_OK;
    if (has_nan)
        return ap_fail(err, AP_E_CONFLICT, "Parameter value is NaN");
    if (least <= -9223372036854775808.0)
        return ap_fail(err, AP_E_CONFLICT, "Scalar value %s underflows int64", go_float(least).text);
    if (most >= 9223372036854775808.0)
        return ap_fail(err, AP_E_CONFLICT, "Scalar value %s overflows int64", go_float(most).text);
    return AP_OK;
}

static enum ap_rc check_ratios(const struct choice *choice, struct ap_err *err)
{
    const struct operator* op = & choice->op;
    double least = INFINITY, most = -INFINITY;
    for (size_t i = 0; i < op->steps.count; i++) {
        if (isnan(choice->parameters[i]))
            return ap_fail(err, AP_E_CONFLICT, "Ratio value is NaN");
        least = fmin(least, choice->parameters[i]);
        most = fmax(most, choice->parameters[i]);
    }
    const double bad[] = {most > 1 ? most : 0, least < -1 ? least : 0};
    for (size_t i = 0; i < AP_ARRAY_COUNT(bad); i++)
        if (bad[i] != 0)
            annotate(&op->run->annotations, PROMQL_WARNING, op->expr->aggregate.parameter,
                     "ratio value should be between -1 and 1, got %s, capping to %d", go_float(bad[i]).text,
                     bad[i] > 0 ? 1 : -1);
    return AP_OK;
}

static enum ap_rc open_parameter(struct choice *choice, struct ap_err *err)
{
    struct operator* op = & choice->op;
    if (op->input_count < 2)
        return AP_OK;
    choice->parameters = ap_arena_alloc0(&op->run->arena, op->steps.count * sizeof(double));
    enum ap_rc rc = operator_read_scalar(op->inputs[1], choice->parameters, err);
    if (rc != AP_OK)
        return rc;
    if (kind_of(op) == AGGREGATE_QUANTILE) {
        check_quantiles(choice);
        return AP_OK;
    }
    return kind_of(op) == AGGREGATE_LIMIT_RATIO ? check_ratios(choice, err) : check_counts(choice, err);
}

static enum ap_rc choice_open(struct operator* op, struct ap_err *err)
{
    struct choice *choice = (struct choice *)op;
    const struct operator* input = op->inputs[0];
    enum ap_rc rc = operator_open_inputs(op, err);
    if (rc == AP_OK)
        rc = open_parameter(choice, err);
    if (rc == AP_OK)
        rc = held_read(&choice->held, op->inputs[0], err);
    if (rc != AP_OK)
        return rc;
    if (kind_of(op) == AGGREGATE_COUNT_VALUES)
        return count_values(choice, err);
    aggregate_group(&choice->groups, op);
    if (kind_of(op) == AGGREGATE_QUANTILE) {
        op->count = choice->groups.count;
        op->labels = choice->groups.labels;
        op->is_unique_without_name = !aggregate_keeps_name(op->expr);
        return AP_OK;
    }
    op->labels = ap_arena_alloc0(&op->run->arena, (input->count + 1) * sizeof(*op->labels));
    choice->series = ap_arena_alloc0(&op->run->arena, (input->count + 1) * sizeof(*choice->series));
    op->is_unique_without_name = input->is_unique_without_name;
    choose(choice);
    return AP_OK;
}

static enum ap_rc choice_read(struct operator* op, struct worker *worker, size_t index, struct column *ret_column,
                              struct ap_err *err)
{
    struct choice *choice = (struct choice *)op;
    (void)err;
    if (kind_of(op) == AGGREGATE_QUANTILE)
        read_quantile(choice, worker, index, ret_column->values);
    else if (kind_of(op) == AGGREGATE_COUNT_VALUES)
        gathered_column(&choice->counts, index, worker, ret_column);
    else
        held_column(&choice->held, choice->series[index], worker, ret_column);
    return AP_OK;
}

static void choice_close(struct operator* op)
{
    struct choice *choice = (struct choice *)op;
    held_clear(&choice->held, op->run);
    gathered_clear(&choice->counts);
}

struct operator* plan_choice(struct run *run, const struct promql_expr *expr, const struct steps *steps,
                             struct operator* input, struct ap_err *err)
{
    static const struct operator_class choice_class = {choice_open, choice_read, NULL, choice_close};
    struct choice *choice = operator_new(run, sizeof(*choice), &choice_class, expr, steps);
    struct operator* inputs[] = {input, NULL};
    bool has_number = expr->aggregate.aggregation != AGGREGATE_COUNT_VALUES;
    if (has_number && !(inputs[1] = plan(run, expr->aggregate.parameter, steps, err)))
        return NULL;
    operator_set_inputs(&choice->op, inputs, 1 + has_number);
    return &choice->op;
}
