/*
 * api/query_json.h - what a query gave, as Prometheus' API writes it
 */
#pragma once

#include "api/question.h"
#include "base/buf.h"
#include "promql/engine.h"

struct query_json_options {
    int64_t ts_ms;       /* of the first step */
    int64_t step_ms;     /* 0: there is one step */
    uint64_t series_max; /* further ones are left out */
    bool has_stats;
    bool has_step_stats; /* for each step as well; the execution counts */
};

/*
 * {"resultType":"vector","result":[…]}, flushed as it becomes long. Reads the execution. *ret_is_cut: there were more
 * series than series_max.
 */
ap_nodiscard enum ap_rc query_json_add(struct question *question, struct promql_execution *execution,
                                       const struct query_json_options *options, struct ap_buf *out, bool *ret_is_cut,
                                       struct ap_err *err);
/* ,"warnings":[…],"infos":[…] as far as there are some; `warning`, if not NULL, is one more. */
void query_json_add_annotations(const struct promql_execution *execution, const char *warning, struct ap_buf *out);
