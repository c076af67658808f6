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
 *     sql_rules:
 *       - {name: hive_few_sessions, sql: "SELECT count(*) AS value FROM sessions …", threshold: "< 5", severity:
 * warning}
 *
 * The short name of a metric stands for its query in the catalogue (pack/catalogue.h); a bound is read in that query's
 * unit. A performance alert becomes up to two rules of one name, told apart by their label `severity`, so that an
 * inhibition with `equal: [alertname]` keeps the warning silent while the critical one fires.
 *
 * What SQL asks has no metric; it is asked `every` so often, in a group of its file's rules with the same.
 *
 * Loaded and checked with the pack: a name that is unknown, a unit that does not fit, bounds on the wrong side of the
 * target and a rule that is there twice are errors with file:line:column.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "pack/pack.h"
#include "rules/rule_file.h"

struct catalogue_metric;
struct rule;

/* What a rule by SQL says beyond its name, severity and so on; as docs/rules.md has it. */
struct pack_sql_rule {
    struct pack_sql sql;
    struct rule_threshold threshold;
    enum rule_no_data no_data;
    enum rule_on_error on_error;
    int64_t every_ms;        /* 0: rules.interval */
    const char *summary;     /* templates */
    const char *description; /* NULL: none */
};

/* One rule. */
struct pack_alert {
    const char *name;
    const char *group; /* "performance_alerts", "alerting_rules", "sql_rules", "sql_rules every 5 minutes" */
    const struct pack_sql_rule *sql;       /* NULL: it is about a metric, and the next three are in use */
    const struct catalogue_metric *metric; /* NULL: it is SQL */
    struct pack_target bound;              /* it fires when this holds */
    struct pack_target target;             /* what the figure should be; op PACK_TARGET_NONE: nobody said */
    const char *severity;
    int64_t for_ms;
    const char *notify; /* "pagerduty,slack"; NULL: nothing is said about it */
    const char *file;
    int line;
    const char *where;       /* "file:line:column" */
    const struct rule *rule; /* what it became; owned by the pack */
};

/*
 * "Fires for each row whose figure is above 5 for 10 minutes, asked every 5 minutes; without data …": any alerting rule
 * by SQL, of a pack or not. `interval_ms` 0: how often is not said.
 */
void pack_alert_explain_sql(const struct rule *rule, int64_t interval_ms, struct ap_buf *out);

/* "; when there is no data, what fires ends, and when …": of any rule by SQL, of others where it is not as usual. */
void pack_alert_explain_absence(const struct rule *rule, struct ap_buf *out);

/* "Fires when Start-up, p95 (startup_time) is above 250 ms for 5 minutes; told to slack." */
void pack_alert_explain(const struct pack_alert *alert, struct ap_buf *out);

/* The figure as people read it, in the unit of the metric: "312 ms", "7.5%", "104.9 MB". */
void pack_alert_print_value(const struct pack_alert *alert, double value, struct ap_buf *out);

/* 300000 is "5 minutes", 90000 "1 minute 30 seconds". */
void pack_alert_print_duration(int64_t ms, struct ap_buf *out);

/* The keys of these files as Markdown, for docs/packs.md. */
void pack_alerts_describe(struct ap_buf *out);
