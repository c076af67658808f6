/*
 * pack/alerts.h - a pack's alerts in their short forms, and the alerting rules that they become
 *
 *     packs/hive/alerts/<name>.yaml
 *
 *     performance_alerts:
 *       startup_time: {target: "<50ms", warning: ">100ms", critical: ">250ms"}
 *     alerting_rules:
 *       - {name: hive_startup_slow, condition: "startup_time > 250ms for 5 minutes", severity: warning, notification:
 * [slack]}
 *
 * The short name of a metric stands for its query in the catalogue (pack/catalogue.h); a bound is read in that query's
 * unit. A performance alert becomes up to two rules of one name, told apart by their label `severity`, so that an
 * inhibition with `equal: [alertname]` keeps the warning silent while the critical one fires.
 *
 * Loaded and checked with the pack: a name that is unknown, a unit that does not fit, bounds on the wrong side of the
 * target and a rule that is there twice are errors with file:line:column.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "pack/pack.h"

struct catalogue_metric;
struct rule;

/* One rule. */
struct pack_alert {
    const char *name;
    const char *group; /* "performance_alerts" or "alerting_rules" */
    const struct catalogue_metric *metric;
    struct pack_target bound;  /* it fires when this holds */
    struct pack_target target; /* what the figure should be; op PACK_TARGET_NONE: nobody said */
    const char *severity;
    int64_t for_ms;
    const char *notify; /* "pagerduty,slack"; NULL: nothing is said about it */
    const char *file;
    int line;
    const char *where;       /* "file:line:column" */
    const struct rule *rule; /* what it became; owned by the pack */
};

/* "Fires when Start-up, p95 (startup_time) is above 250 ms for 5 minutes; told to slack." */
void pack_alert_explain(const struct pack_alert *alert, struct ap_buf *out);

/* The figure as people read it, in the unit of the metric: "312 ms", "7.5%", "104.9 MB". */
void pack_alert_print_value(const struct pack_alert *alert, double value, struct ap_buf *out);

/* 300000 is "5 minutes", 90000 "1 minute 30 seconds". */
void pack_alert_print_duration(int64_t ms, struct ap_buf *out);

/* The keys of these files as Markdown, for docs/packs.md. */
void pack_alerts_describe(struct ap_buf *out);
