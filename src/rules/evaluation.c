#include "rules/evaluation.h"

#include <stdlib.h>
#include <string.h>

#define STALE_BITS UINT64_C(0x7ff0000000000002)

void rule_memory_init(struct rule_memory *memory)
{
    *memory = (struct rule_memory){0};
    ap_arena_init(&memory->arena, 0);
}

void rule_memory_clear(struct rule_memory *memory)
{
    ap_arena_clear(&memory->arena);
    free(memory->series);
    free(memory->alerts);
    rule_memory_init(memory);
}

void evaluation_begin(struct evaluation *evaluation)
{
    rule_memory_init(&evaluation->next);
}

void evaluation_begin_again(struct evaluation *evaluation)
{
    rule_memory_clear(&evaluation->next);
    evaluation->sample_count = 0;
    evaluation->is_over_limit = false;
}

void evaluation_clear(struct evaluation *evaluation)
{
    rule_memory_clear(&evaluation->next);
    ap_buf_clear(&evaluation->bytes);
    free(evaluation->samples);
}

struct ap_slice evaluation_copy(struct evaluation *evaluation, struct ap_slice bytes)
{
    char *copy = ap_arena_alloc0(&evaluation->next.arena, bytes.bytes + 1);
    if (bytes.bytes)
        memcpy(copy, bytes.data, bytes.bytes);
    return ap_slice(copy, bytes.bytes);
}

/* ---- Labels ---- */

void label_set_from(struct label_set *set, struct ap_slice labels)
{
    set->count = 0;
    set->is_full = false;
    while (labels_next(&labels, &set->labels[set->count]))
        set->count++;
}

void label_set_put(struct label_set *set, const char *name, struct ap_slice value)
{
    struct ap_slice key = ap_slice_cstr(name);
    size_t at = 0;
    while (at < set->count && !ap_slice_equal(set->labels[at].name, key))
        at++;
    if (at == AP_ARRAY_COUNT(set->labels)) {
        set->is_full = true;
        return;
    }
    set->count = AP_MAX(set->count, at + 1);
    set->labels[at] = (struct label){key, value};
}

enum ap_rc evaluation_seal(struct evaluation *evaluation, struct label_set *set, struct ap_slice *ret_labels,
                           struct ap_err *err)
{
    if (set->is_full)
        return ap_fail(err, AP_E_LIMIT, "more than %d labels", LABELS_COUNT_MAX);
    ap_buf_reset(&evaluation->bytes);
    enum ap_rc rc = labels_encode(set->labels, set->count, &evaluation->bytes, err);
    if (rc == AP_OK)
        *ret_labels = evaluation_copy(evaluation, ap_buf_slice(&evaluation->bytes));
    return rc;
}

/* ---- Samples ---- */

void evaluation_add(struct evaluation *evaluation, struct ap_slice labels, double value,
                    const struct float_histogram *histogram)
{
    if (evaluation->sample_count == evaluation->sample_capacity) {
        evaluation->sample_capacity = AP_MAX(64, evaluation->sample_capacity * 2);
        evaluation->samples =
            ap_realloc(evaluation->samples, evaluation->sample_capacity * sizeof(*evaluation->samples));
    }
    evaluation->samples[evaluation->sample_count++] =
        (struct rules_sample){labels, evaluation->sample_ts_ms, value, histogram};
}

static int compare_samples(const void *a, const void *b)
{
    return labels_compare(((const struct rules_sample *)a)->labels, ((const struct rules_sample *)b)->labels);
}

void evaluation_sort(struct evaluation *evaluation)
{
    if (evaluation->sample_count)
        qsort(evaluation->samples, evaluation->sample_count, sizeof(*evaluation->samples), compare_samples);
}

void evaluation_end_series(struct evaluation *evaluation)
{
    const struct rule_memory *before = evaluation->before;
    size_t given_count = evaluation->sample_count, given = 0;
    struct rule_memory *next = &evaluation->next;
    uint64_t bits = STALE_BITS;
    double marker;
    memcpy(&marker, &bits, sizeof(marker));
    next->series = ap_new0_array(struct ap_slice, given_count + 1);
    next->series_count = given_count;
    for (size_t i = 0; i < given_count; i++)
        next->series[i] = evaluation->samples[i].labels;
    for (size_t i = 0; i < before->series_count; i++) {
        int order = -1;
        while (given < given_count && (order = labels_compare(before->series[i], next->series[given])) > 0)
            given++;
        if (given == given_count || order != 0)
            evaluation_add(evaluation, before->series[i], marker, NULL);
    }
}
