/*
 * api/dashboards.h - dashboards and the data of their panels, as JSON
 *
 *     GET /api/apiary/v1/dashboards                              which there are
 *     GET /api/apiary/v1/dashboards/{id}                         sections and panels of one, without data
 *     GET /api/apiary/v1/dashboards/{id}/panels/{panel}          data of one panel: ?range=7d, or ?from=&to= in ms
 *
 * A panel asks up to three questions (the figure or rows, the same one period before, the sparkline). They are handed
 * to the warehouse together, the request is suspended, and the last answer sends the reply. Rights are checked by
 * whoever calls dashboards_handle().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "api/api.h"
#include "base/slice.h"

/* `rest` is the path behind "/api/apiary/v1/dashboards": "", "/executive", "/executive/panels/downloads_today". */
void dashboards_handle(struct api *api, struct http_request *request, struct ap_slice rest);

/* A time window as queries see it: $from <= t < $to, and $step for points in a chart. */
struct dashboards_window {
    int64_t from_ms;
    int64_t to_ms;
    int64_t step_ms;
};

/*
 * The window of a range that ends now. `step` is one of a fixed list (a minute, 5, 10 … a day …) such that there are at
 * most 200 points; both ends are multiples of it, the end rounded up. So the window holds the newest rows, and stays
 * the same for a whole step: equal questions get their answer from the cache.
 */
void dashboards_window_of_range(int64_t range_ms, int64_t now_ms, struct dashboards_window *ret_window);

/* The same for given ends; false unless from < to and they are at most ten years apart. */
bool dashboards_window_of_ends(int64_t from_ms, int64_t to_ms, struct dashboards_window *ret_window);
