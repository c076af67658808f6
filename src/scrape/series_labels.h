/*
 * scrape/series_labels.h - from the labels that a target tells to those that are kept
 *
 * The target's own labels are added, `metric_relabel_configs` applied, limits checked. What a target says itself gives
 * way to the target's labels as `exported_…`, or goes before them with `honor_labels`.
 *
 * One owner, no locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "scrape/job.h"
#include "tsdb/labels.h"

enum { SERIES_LABELS_MAX = 600 }; /* told and target's together, before empty ones go; LABELS_COUNT_MAX may be kept */

struct series_labels {
    const struct scrape_job *job; /* lent */
    struct ap_slice target;       /* lent; canonical */
    /* Working memory. */
    struct label labels[SERIES_LABELS_MAX];
    size_t count;
    struct ap_buf names;   /* those made with exported_ */
    struct ap_arena arena; /* of rules */
};

void series_labels_init(struct series_labels *maker, const struct scrape_job *job, struct ap_slice target_labels);
void series_labels_clear(struct series_labels *maker);

/* What the target says of one series: begins with its name (empty: none), then any number of labels. */
void series_labels_begin(struct series_labels *maker, struct ap_slice metric_name);
/* False: too many; series_labels_end() then says so. Lent until series_labels_end(). */
bool series_labels_add(struct series_labels *maker, struct ap_slice name, struct ap_slice value);

/*
 * Appends what is kept to `out`, canonical; *ret_is_dropped: nothing, by the rules. AP_E_PARSE, AP_E_LIMIT: the scrape
 * fails with this.
 */
ap_nodiscard enum ap_rc series_labels_end(struct series_labels *maker, struct ap_buf *out, bool *ret_is_dropped,
                                          struct ap_err *err);
/* The same for `up` and the like: nothing is relabelled or limited. */
void series_labels_report(struct ap_slice target_labels, const char *metric_name, struct ap_buf *out);
/* [a-zA-Z_][a-zA-Z0-9_]*, which is what names were before Prometheus 3; a metric's may have colons. */
bool series_labels_is_legacy_name(struct ap_slice name, bool is_metric);
