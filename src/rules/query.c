#include "rules/query.h"

#include <string.h>

static enum ap_rc read_sample(struct promql_execution *execution, size_t index, int64_t ts_ms, struct ap_arena *arena,
                              struct rules_vector *vector, struct ap_err *err)
{
    struct promql_points points;
    enum ap_rc rc = promql_execution_read(execution, index, &points, err);
    if (rc != AP_OK || points.count + points.histogram_count == 0)
        return rc;
    struct ap_slice labels = promql_execution_labels(execution, index);
    char *copy = ap_arena_alloc0(arena, labels.bytes + 1);
    if (labels.bytes)
        memcpy(copy, labels.data, labels.bytes);
    struct rules_sample *sample = &vector->samples[vector->count++];
    *sample = (struct rules_sample){.labels = ap_slice(copy, labels.bytes), .ts_ms = ts_ms};
    if (points.count)
        sample->value = points.values[0];
    else
        sample->histogram = float_histogram_copy(points.histograms[0], arena);
    return AP_OK;
}

static bool is_cancelled(void *context)
{
    return rules_world_is_ending(context);
}

enum ap_rc rules_query(const struct rules_world *world, struct ap_slice text, const struct promql_query *query,
                       int64_t ts_ms, struct ap_arena *arena, struct rules_vector *ret_vector, struct ap_err *err)
{
    const struct promql_request request = {.text = text,
                                           .query = query,
                                           .start_ms = ts_ms,
                                           .end_ms = ts_ms,
                                           .is_cancelled = is_cancelled,
                                           .context = (void *)world};
    AP_AUTO(promql_execution) struct promql_execution *execution = NULL;
    if (!world->engine) {
        *ret_vector = (struct rules_vector){0};
        return AP_OK;
    }
    enum ap_rc rc = promql_execute(world->engine, world->storage, &request, &execution, err);
    if (rc != AP_OK)
        return rc;
    enum promql_type type = promql_execution_type(execution);
    if (type != TYPE_VECTOR && type != TYPE_SCALAR)
        return ap_fail(err, AP_E_CONFLICT, "rule result is not a vector or scalar");
    size_t count = promql_execution_count(execution);
    struct rules_vector vector = {.samples = ap_arena_try_alloc(arena, (count + 1) * sizeof(*vector.samples))};
    if (!vector.samples)
        return ap_fail(err, AP_E_NOMEM, "no memory for an answer of %zu series", count);
    for (size_t i = 0; i < count; i++) {
        rc = read_sample(execution, i, ts_ms, arena, &vector, err);
        if (rc != AP_OK)
            return rc;
    }
    *ret_vector = vector;
    return AP_OK;
}
