#include "promql/gathered.h"

#include <string.h>

#include "base/mem.h"

void gathered_init(struct gathered *gathered, struct run *run, size_t steps)
{
    *gathered = (struct gathered){.run = run, .steps = steps};
    ap_arena_init(&gathered->arena, 0);
}

void gathered_clear(struct gathered *gathered)
{
    for (size_t i = 0; i < gathered->labels.count; i++)
        free(gathered->series[i].values);
    if (gathered->run) {
        run_release(gathered->run, (uint64_t)gathered->labels.count * gathered->steps);
        ap_arena_clear(&gathered->arena);
    }
    free(gathered->series);
    label_table_clear(&gathered->labels);
    *gathered = (struct gathered){0};
}

enum ap_rc gathered_find(struct gathered *gathered, struct ap_slice labels, size_t *ret_index, struct ap_err *err)
{
    *ret_index = label_table_find(&gathered->labels, labels);
    if (*ret_index != SIZE_MAX)
        return AP_OK;
    enum ap_rc rc = run_hold(gathered->run, gathered->steps, err);
    if (rc != AP_OK)
        return rc;
    bool is_new;
    *ret_index = label_table_add(&gathered->labels, gathered->run, labels, &is_new);
    if (*ret_index >= gathered->capacity) {
        gathered->capacity = gathered->capacity ? gathered->capacity * 2 : 32;
        gathered->series = ap_realloc(gathered->series, gathered->capacity * sizeof(*gathered->series));
    }
    struct gathered_series *series = &gathered->series[*ret_index];
    *series = (struct gathered_series){ap_new0_array(double, gathered->steps), NULL};
    for (size_t i = 0; i < gathered->steps; i++)
        series->values[i] = absent();
    return AP_OK;
}

bool gathered_has(const struct gathered *gathered, size_t index, size_t step)
{
    const struct gathered_series *series = &gathered->series[index];
    return !is_absent(series->values[step]) || (series->histograms && series->histograms[step]);
}

void gathered_set(struct gathered *gathered, size_t index, size_t step, double value,
                  const struct float_histogram *histogram)
{
    struct gathered_series *series = &gathered->series[index];
    series->values[step] = value;
    if (!histogram)
        return;
    if (!series->histograms)
        series->histograms = ap_arena_alloc0(&gathered->arena, gathered->steps * sizeof(struct float_histogram *));
    series->histograms[step] = float_histogram_copy(histogram, &gathered->arena);
}

void gathered_take_labels(const struct gathered *gathered, struct operator* op)
{
    op->count = gathered->labels.count;
    op->labels = ap_arena_alloc0(&op->run->arena, (op->count + 1) * sizeof(*op->labels));
    for (size_t i = 0; i < op->count; i++)
        op->labels[i] = gathered->labels.entries[i].labels;
    op->is_in_order = false;
    op->cost = 0;
}

void gathered_column(const struct gathered *gathered, size_t index, struct worker *worker, struct column *ret_column)
{
    const struct gathered_series *series = &gathered->series[index];
    memcpy(ret_column->values, series->values, gathered->steps * sizeof(double));
    ret_column->histograms = NULL;
    if (!series->histograms)
        return;
    ret_column->histograms = worker_histograms(worker, gathered->steps); /* the caller may change which there are */
    memcpy(ret_column->histograms, series->histograms, gathered->steps * sizeof(struct float_histogram *));
}
