/*
 * api/tsdb_figures.h - struct tsdb_stats written down, for /metrics and as JSON
 */
#pragma once

#include "base/buf.h"
#include "tsdb/tsdb.h"

/* An object of all of them, by their names in struct tsdb_stats. */
void tsdb_figures_add_json(struct ap_buf *out, const struct tsdb_stats *stats);

/* apiary_tsdb_… in the text format 0.0.4. */
void tsdb_figures_add_metrics(struct ap_buf *out, const struct tsdb_stats *stats);
