/*
 * api/panel_promql.h - the data of a dashboard's panel whose query is PromQL, in the form that those of SQL have
 *
 * A figure is the query's value now (or at the end of the window), the one before is that of one window earlier, the
 * trend is the window itself. A chart of lines has a column for each series, everything else a row for each.
 */
#pragma once

#include "api/api.h"
#include "api/dashboards.h"
#include "pack/pack.h"

/* Suspends the request; always leads to exactly one reply. `window` is copied, `panel` must live on. */
void panel_promql_ask(struct api *api, struct http_request *request, const struct pack_panel *panel,
                      const struct dashboards_window *window);
