/*
 * alert/from_rules.h - alerts of rules on their way to whoever tells people: as Prometheus hands them to an
 * Alertmanager
 *
 *     rules at work ──alerts_from_rules()──► labels of this server added, alert_relabel_configs, address of the
 *                                            expression ──► take()
 *
 * Any thread.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/alerting.h"
#include "base/buf.h"
#include "rules/alert.h"
#include "scrape/alert_relabel.h"

struct alerts_from_rules {
    struct ap_slice external_labels; /* canonical, or empty; lent, as the next. Where the alert has none of that name */
    struct ap_slice external_url;
    pthread_rwlock_t relabel_lock; /* alerts_from_rules_relabel() may come at any time */
    struct alert_relabel *relabel; /* owned; NULL: none */
    /* Copies what it keeps. False: it could not take them now, and gets them again. */
    bool (*take)(void *context, const struct alert_in *alerts, size_t count);
    void *context;
};

/* For struct rules_world; `context` is the struct alerts_from_rules. */
bool alerts_from_rules(void *context, const struct rule *rule, const struct alert *const *alerts, size_t count,
                       int64_t ends_ms);

/* From now on labels become what these rules make of them (NULL: stay as they are), or the alert is dropped. */
void alerts_from_rules_relabel(struct alerts_from_rules *to, struct alert_relabel *take_relabel);

/* "http://apiary:8484/graph?g0.expr=up+%3D%3D+0&g0.tab=1"; of SQL "http://apiary:8484/rules?q=NAME" */
void alert_generator_url(struct ap_slice external_url, const struct rule *rule, struct ap_buf *out);
