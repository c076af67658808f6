/*
 * rules/query.h - an instant query whose answer is kept: what rules and their templates ask
 */
#pragma once

#include "base/arena.h"
#include "promql/parser.h"
#include "rules/world.h"

struct rules_vector {
    struct rules_sample *samples; /* in the order of the answer; a scalar is a sample without labels */
    size_t count;
};

/*
 * `query`: the text as it was read, or NULL. The vector is from `arena`. AP_E_CONFLICT also for a range vector or a
 * text.
 */
ap_nodiscard enum ap_rc rules_query(const struct rules_world *world, struct ap_slice text,
                                    const struct promql_query *query, int64_t ts_ms, struct ap_arena *arena,
                                    struct rules_vector *ret_vector, struct ap_err *err);
