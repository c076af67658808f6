/*
 * scrape/external_labels.h - `global.external_labels` of Prometheus' file: what tells this server from others
 */
#pragma once

#include "base/buf.h"
#include "base/rc.h"

struct scrape_source;

/*
 * Appends them in canonical form (tsdb/labels.h), nothing where there are none. As in Prometheus, `$NAME` and `${NAME}`
 * in values are variables of the environment, `$$` is a dollar. AP_E_NOT_FOUND, AP_E_IO, AP_E_PARSE, AP_E_LIMIT.
 */
ap_nodiscard enum ap_rc external_labels_load(const char *path, struct ap_buf *out, struct ap_err *err);
/* The same of what was read. */
ap_nodiscard enum ap_rc external_labels_read(struct scrape_source *source, struct ap_buf *out, struct ap_err *err);
