/*
 * scrape/alert_relabel.h - alert_relabel_configs: what becomes of the labels of alerts before anybody is told
 *
 * Read here since Prometheus has them in the file of what is scraped; applied by alert/from_rules.h. Immutable.
 */
#pragma once

#include "base/arena.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"

struct alert_relabel; /* private to alert_relabel.c */
struct scrape_source;
struct yaml_node;

/* `section` is `alerting:`. *ret_relabel is NULL when there are no rules. */
ap_nodiscard enum ap_rc alert_relabel_read(struct scrape_source *source, const struct yaml_node *section,
                                           struct alert_relabel **ret_relabel, struct ap_err *err);
void alert_relabel_free(struct alert_relabel *relabel); /* NULL is allowed */
AP_DEFINE_AUTO(alert_relabel, struct alert_relabel, alert_relabel_free)

/*
 * The labels (canonical) as the rules make them, in the arena; an empty set: nobody is told. Rules that make labels
 * that cannot be leave them as they are: better told by its old name than not at all.
 */
struct ap_slice alert_relabel_apply(const struct alert_relabel *relabel, struct ap_slice labels,
                                    struct ap_arena *arena);
