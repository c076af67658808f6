#include "cli/range_answer.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

void range_answer_init(struct range_answer *answer, int64_t start_ms, int64_t end_ms, int64_t step_ms)
{
    *answer = (struct range_answer){
        .start_ms = start_ms, .step_ms = step_ms, .step_count = (size_t)((end_ms - start_ms) / step_ms) + 1};
    answer->steps = ap_new0_array(struct replay_step, answer->step_count);
    ap_arena_init(&answer->arena, 0);
}

void range_answer_clear(struct range_answer *answer)
{
    for (size_t i = 0; i < answer->series_count; i++) {
        free((void *)answer->series[i].labels.data);
        free((void *)answer->series[i].points);
    }
    free(answer->series);
    free(answer->steps);
    ap_arena_clear(&answer->arena);
    *answer = (struct range_answer){0};
}

struct replay_series *range_answer_find(struct range_answer *answer, struct ap_slice labels, size_t hint)
{
    for (size_t i = 0; i < answer->series_count; i++) { /* answers are sorted: mostly it is where it was before */
        struct replay_series *series = &answer->series[(hint + i) % answer->series_count];
        if (ap_slice_equal(series->labels, labels))
            return series;
    }
    if (answer->series_count == RANGE_SERIES_MAX)
        return NULL;
    answer->series = ap_realloc(answer->series, (answer->series_count + 1) * sizeof(*answer->series));
    struct replay_series *series = &answer->series[answer->series_count++];
    char *copy = ap_new0_array(char, labels.bytes + 1);
    if (labels.bytes)
        memcpy(copy, labels.data, labels.bytes);
    *series = (struct replay_series){.labels = ap_slice(copy, labels.bytes)};
    return series;
}

struct replay_point *range_answer_grow(struct replay_series *series, size_t count)
{
    struct replay_point *points =
        ap_realloc((void *)series->points, (series->count + count + 1) * sizeof(*series->points));
    series->points = points;
    series->count += count;
    return points + series->count - count;
}

static int compare_points(const void *a, const void *b)
{
    int64_t left = ((const struct replay_point *)a)->ts_ms, right = ((const struct replay_point *)b)->ts_ms;
    return (left > right) - (left < right);
}

void range_answer_sort(struct range_answer *answer)
{
    for (size_t i = 0; i < answer->series_count; i++)
        qsort((void *)answer->series[i].points, answer->series[i].count, sizeof(struct replay_point), compare_points);
}

struct replay_step *range_answer_step(struct range_answer *answer, int64_t ts_ms)
{
    size_t index = (size_t)((ts_ms - answer->start_ms) / answer->step_ms);
    AP_ASSERT(ts_ms >= answer->start_ms && index < answer->step_count);
    return &answer->steps[index];
}

void range_answer_fail(struct range_answer *answer, int64_t ts_ms, const char *reason)
{
    size_t bytes = strlen(reason) + 1;
    char *copy = ap_arena_alloc0(&answer->arena, bytes);
    memcpy(copy, reason, bytes);
    *range_answer_step(answer, ts_ms) = (struct replay_step){RULE_CONDITION_ERROR, copy};
}
