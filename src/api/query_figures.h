/*
 * api/query_figures.h - the PromQL engine's figures, for /metrics
 */
#pragma once

#include "base/buf.h"
#include "promql/engine.h"

/* apiary_promql_… in the text format 0.0.4. */
void query_figures_add_metrics(struct ap_buf *out, const struct promql_engine *engine);
