/*
 * scrape/alertmanager.h - an entry of `alerting.alertmanagers:`: Alertmanagers that alerts of rules are sent to
 *
 * Read here since Prometheus has them in the file of what is scraped, and finds them in the same ways: an entry is a
 * job whose targets are not asked but told. Who tells them is alert/forwarder.h.
 */
#pragma once

#include "base/rc.h"
#include "scrape/fields.h"

struct job;

/*
 * `index` is the entry's place in the list. What there is of Prometheus' settings: all but `sigv4` and the discoveries
 * that are not there for targets either. AP_E_PARSE, AP_E_LIMIT, AP_E_IO.
 */
ap_nodiscard enum ap_rc alertmanager_read(struct scrape_source *source, const struct yaml_node *node, size_t index,
                                          struct job **ret_job, struct ap_err *err);
