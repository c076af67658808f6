/* api/notify_figures.h - /metrics about telling people: attempts by each way, tests of the path, the log of both */
#pragma once

#include "api/api.h"
#include "base/buf.h"

void notify_figures_add_metrics(struct ap_buf *out, const struct api *api);
