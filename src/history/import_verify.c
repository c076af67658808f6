/*
 * The second look: everything of the source read again, and what the store gives for the same series and times.
 *
 * The store may have more than the source: samples of its own at other times. Only the times of the source are
 * compared.
 */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/arena.h"
#include "base/bits.h"
#include "history/import_internal.h"
#include "tsdb/histogram.h"
#include "tsdb/labels.h"

enum { DIFFERENCES_MAX = 1000 /* of a unit, that are told one by one */ };

/* What a unit came to; owned by its slot in struct verifying until it is told. */
struct unit_result {
    struct history_verification sum;
    struct history_difference *differences; /* owned, as their labels */
    size_t count;
};

struct verifying {
    struct tsdb *tsdb;
    struct unit_result *results; /* owned; one for each unit */
    void (*each)(const struct history_difference *difference, void *context);
    void *context;
    struct history_verification *sum;
};

/* Comparing one series. */
struct comparing {
    const struct history_samples *source;
    const struct tsdb_columns *store;
    struct history_difference difference;
    XXH3_state_t *source_state;
    XXH3_state_t *store_state;
    struct ap_arena *arena;
};

static void add(XXH3_state_t *state, int64_t ts_ms, const void *value, size_t bytes)
{
    (void)XXH3_64bits_update(state, &ts_ms, sizeof(ts_ms));
    (void)XXH3_64bits_update(state, value, bytes);
}

static void compare_floats(struct comparing *comparing)
{
    const struct history_samples *source = comparing->source;
    const struct tsdb_columns *store = comparing->store;
    struct history_difference *difference = &comparing->difference;
    difference->source_count += source->count;
    if (source->count == store->count &&
        (source->count == 0 || (memcmp(source->ts_ms, store->ts_ms, source->count * sizeof(*source->ts_ms)) == 0 &&
                                memcmp(source->values, store->values, source->count * sizeof(*source->values)) == 0))) {
        difference->store_count += source->count;
        for (int i = 0; i < 2 && source->count; i++) {
            XXH3_state_t *state = i ? comparing->store_state : comparing->source_state;
            const int64_t *ts_ms = i ? store->ts_ms : source->ts_ms;
            const double *values = i ? store->values : source->values;
            (void)XXH3_64bits_update(state, ts_ms, source->count * sizeof(*ts_ms));
            (void)XXH3_64bits_update(state, values, source->count * sizeof(*values));
        }
        return;
    }
    for (size_t i = 0, at = 0; i < source->count; i++) {
        add(comparing->source_state, source->ts_ms[i], &source->values[i], sizeof(double));
        while (at < store->count && store->ts_ms[at] < source->ts_ms[i])
            at++;
        if (at == store->count || store->ts_ms[at] != source->ts_ms[i])
            continue;
        difference->store_count++;
        difference->other_count += !ap_double_same(store->values[at], source->values[i]);
        add(comparing->store_state, store->ts_ms[at], &store->values[at], sizeof(double));
    }
}

/* What is hashed of a histogram is the source's form of it when the store says the same in another. */
static void compare_histograms(struct comparing *comparing)
{
    const struct history_samples *source = comparing->source;
    const struct tsdb_columns *store = comparing->store;
    struct history_difference *difference = &comparing->difference;
    difference->source_count += source->histogram_count;
    for (size_t i = 0, at = 0; i < source->histogram_count; i++) {
        struct ap_slice blob = source->histograms[i];
        add(comparing->source_state, source->histogram_ts_ms[i], blob.data, blob.bytes);
        while (at < store->histogram_count && store->histogram_ts_ms[at] < source->histogram_ts_ms[i])
            at++;
        if (at == store->histogram_count || store->histogram_ts_ms[at] != source->histogram_ts_ms[i])
            continue;
        struct ap_slice stored = store->histograms[at];
        struct histogram a, b;
        struct ap_err ignored;
        bool is_same =
            ap_slice_equal(blob, stored) ||
            (histogram_decode(blob, comparing->arena, &a, &ignored) == AP_OK &&
             histogram_decode(stored, comparing->arena, &b, &ignored) == AP_OK && histogram_says_same(&a, &b));
        ap_arena_recycle(comparing->arena);
        difference->store_count++;
        difference->other_count += !is_same;
        add(comparing->store_state, store->histogram_ts_ms[at], is_same ? blob.data : stored.data,
            is_same ? blob.bytes : stored.bytes);
    }
}

static void keep_difference(struct unit_result *result, const struct history_difference *difference)
{
    struct history_verification *sum = &result->sum;
    sum->series++;
    sum->samples += difference->source_count;
    sum->checksum ^= difference->source_checksum;
    sum->store_checksum ^= difference->store_checksum;
    sum->missing_samples += difference->source_count - difference->store_count;
    sum->other_samples += difference->other_count;
    if (difference->source_count == difference->store_count && difference->other_count == 0)
        return;
    sum->differing_series++;
    if (result->count == DIFFERENCES_MAX)
        return;
    result->differences = ap_realloc(result->differences, (result->count + 1) * sizeof(*result->differences));
    struct history_difference *kept = &result->differences[result->count++];
    *kept = *difference;
    char *labels = ap_new0_array(char, difference->labels.bytes + 1);
    memcpy(labels, difference->labels.data, difference->labels.bytes);
    kept->labels.data = labels;
}

/* The store's samples of this series. Both are in order of labels. */
static enum ap_rc read_store(struct tsdb_set *set, size_t *index, struct ap_slice labels, struct tsdb_columns *columns,
                             struct ap_err *err)
{
    columns->count = columns->histogram_count = 0;
    for (; *index < tsdb_set_count(set); ++*index) {
        int order = labels_compare(tsdb_set_labels(set, *index), labels);
        if (order > 0)
            return AP_OK;
        if (order == 0)
            return tsdb_set_read(set, (*index)++, columns, err);
    }
    return AP_OK;
}

static enum ap_rc compare_all(struct history_import *import, const struct import_unit *unit, struct tsdb_set *set,
                              struct unit_result *result, struct ap_err *err)
{
    AP_AUTO(history_merge) struct history_merge *merge = import_unit_merge(import, unit, &import->silence);
    struct history_samples samples = {0};
    struct tsdb_columns columns = {0};
    struct prometheus_refusals refusals = {0};
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    XXH3_state_t *states[2] = {XXH3_createState(), XXH3_createState()};
    size_t index = 0;
    enum ap_rc rc = AP_OK;
    for (bool is_end = false; rc == AP_OK;) {
        struct ap_slice labels;
        rc = history_merge_next(merge, &labels, &samples, &refusals, &is_end, err);
        if (rc != AP_OK || is_end)
            break;
        if (samples.count + samples.histogram_count == 0)
            continue;
        rc = read_store(set, &index, labels, &columns, err);
        if (rc != AP_OK)
            break;
        struct comparing comparing = {
            .source = &samples,
            .store = &columns,
            .difference = {.labels = labels, .min_ts_ms = unit->min_ts_ms, .max_ts_ms = unit->max_ts_ms},
            .source_state = states[0],
            .store_state = states[1],
            .arena = &arena,
        };
        for (int i = 0; i < 2; i++) {
            (void)XXH3_64bits_reset(states[i]);
            (void)XXH3_64bits_update(states[i], labels.data, labels.bytes);
        }
        compare_floats(&comparing);
        compare_histograms(&comparing);
        comparing.difference.source_checksum = XXH3_64bits_digest(states[0]);
        comparing.difference.store_checksum = XXH3_64bits_digest(states[1]);
        keep_difference(result, &comparing.difference);
        atomic_fetch_add_explicit(&import->samples_done, comparing.difference.source_count, memory_order_relaxed);
    }
    for (int i = 0; i < 2; i++)
        (void)XXH3_freeState(states[i]);
    history_samples_clear(&samples);
    tsdb_columns_clear(&columns);
    return rc;
}

static enum ap_rc verify(struct history_import *import, struct import_unit *unit, void *context, struct ap_err *err)
{
    const struct verifying *verifying = context;
    AP_AUTO(tsdb_set) struct tsdb_set *set = NULL;
    const struct matchers all = {.count = 0};
    const struct tsdb_select_options options = {
        .matchers = &all, .min_ts_ms = unit->min_ts_ms, .max_ts_ms = unit->max_ts_ms};
    enum ap_rc rc = tsdb_select(verifying->tsdb, &options, &set, err);
    return rc == AP_OK ? compare_all(import, unit, set, &verifying->results[unit - import->units], err) : rc;
}

static enum ap_rc add_result(struct history_import *import, struct import_unit *unit, void *context, struct ap_err *err)
{
    (void)err;
    struct verifying *verifying = context;
    struct unit_result *result = &verifying->results[unit - import->units];
    struct history_verification *sum = verifying->sum;
    sum->series += result->sum.series;
    sum->samples += result->sum.samples;
    sum->checksum ^= result->sum.checksum;
    sum->store_checksum ^= result->sum.store_checksum;
    sum->differing_series += result->sum.differing_series;
    sum->missing_samples += result->sum.missing_samples;
    sum->other_samples += result->sum.other_samples;
    for (size_t i = 0; i < result->count; i++) {
        verifying->each(&result->differences[i], verifying->context);
        free((void *)(uintptr_t)result->differences[i].labels.data);
    }
    free(result->differences);
    *result = (struct unit_result){0};
    return AP_OK;
}

enum ap_rc history_import_verify(struct history_import *import, struct tsdb *tsdb,
                                 void (*each)(const struct history_difference *difference, void *context),
                                 void *context, struct history_verification *ret_verification, struct ap_err *err)
{
    struct verifying verifying = {.tsdb = tsdb, .each = each, .context = context, .sum = ret_verification};
    *ret_verification = (struct history_verification){0};
    verifying.results = ap_new0_array(struct unit_result, import->unit_count + 1);
    const struct import_work work = {
        .work = verify, .finish = add_result, .context = &verifying, .phase = HISTORY_VERIFYING, .is_all = true};
    enum ap_rc rc = import_work_run(import, &work, err);
    for (size_t i = 0; i < import->unit_count; i++) {
        for (size_t j = 0; j < verifying.results[i].count; j++)
            free((void *)(uintptr_t)verifying.results[i].differences[j].labels.data);
        free(verifying.results[i].differences);
    }
    free(verifying.results);
    return rc;
}
