/*
 * alert/from_rules.h - alerts of rules on their way to whoever tells people: as Prometheus hands them to an
 * Alertmanager
 *
 *     rules/group.h ──alerts_from_rules()──► labels of this server added, address of the expression ──► take()
 *
 * No state but its options; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/alerting.h"
#include "base/buf.h"
#include "rules/group.h"

struct alerts_from_rules {
    struct ap_slice external_labels; /* canonical, or empty; lent, as the next. Where the alert has none of that name */
    struct ap_slice external_url;
    /* Copies what it keeps. False: it could not take them now, and gets them again. */
    bool (*take)(void *context, const struct alert_in *alerts, size_t count);
    void *context;
};

/* For struct rules_world; `context` is the struct alerts_from_rules. */
bool alerts_from_rules(void *context, const struct rule *rule, const struct alert *const *alerts, size_t count,
                       int64_t ends_ms);

/* "http://apiary:8484/graph?g0.expr=up+%3D%3D+0&g0.tab=1"; of SQL "http://apiary:8484/rules?q=NAME" */
void alert_generator_url(struct ap_slice external_url, const struct rule *rule, struct ap_buf *out);
