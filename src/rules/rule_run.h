/*
 * rules/rule_run.h - a rule at work
 *
 *     its query at ts ──► samples ──recording: name and labels──► series
 *                                 ──alerting: labels, state────► alerts, and of those the series ALERTS
 *
 * It remembers from one evaluation to the next which series it gave (those that end get a staleness marker) and which
 * alerts are active. The first evaluation of an alerting rule goes on with what the store says of its alerts
 * (rules/restore.h).
 *
 * Threads: one evaluates a rule; any reads its status with the mutex held.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "rules/alert.h"
#include "rules/rule_file.h"
#include "rules/world.h"

struct promql_query;

enum rule_health { RULE_HEALTH_UNKNOWN, RULE_HEALTH_OK, RULE_HEALTH_ERR };

/* What is known of a rule; lent as long as the mutex is held. */
struct rule_status {
    const struct rule *rule;
    const struct promql_query *promql; /* its expression as it was read; NULL of SQL */
    enum rule_health health;
    const char *error;    /* of the last evaluation, or NULL */
    int64_t evaluated_ms; /* RULES_TIME_NONE: not yet */
    int64_t duration_us;  /* of the last evaluation */
    struct alert *alerts; /* sorted by labels, resolved ones among them */
    size_t alert_count;
    enum alert_state state; /* the highest of its alerts */
    enum rule_condition condition;
};

struct rule_run; /* private to rule_run.c */

/* Everything is lent. `mutex` is held while what readers may see is changed. */
struct rule_run *rule_run_new(const struct rule *rule, const struct rule_group *group, const struct rules_world *world,
                              pthread_mutex_t *mutex);
void rule_run_free(struct rule_run *run); /* NULL is allowed */
AP_DEFINE_AUTO(rule_run, struct rule_run, rule_run_free)

/* Another rule has alerts that could be this one's: of what is restored only what the expression gives is taken. */
void rule_run_note_alike(struct rule_run *run);

/* False: it failed; why is in its status. */
bool rule_run_evaluate(struct rule_run *run, int64_t ts_ms);

/* Whether one can go on where the other is: of the same kind, name and labels. */
bool rule_run_is_same(const struct rule_run *run, const struct rule_run *other);
/* And with the same expression: it is the same rule, wherever it stands. */
bool rule_run_is_equal(const struct rule_run *run, const struct rule_run *other);
/* `run`, not evaluated yet, takes over series and alerts, and with the same expression what is known of the last
 * evaluation too. Nobody else uses either meanwhile. */
void rule_run_inherit(struct rule_run *run, struct rule_run *before);
/* The rule stands elsewhere now: that this one ends says nothing of its alerts. */
void rule_run_note_moved(struct rule_run *run);
/*
 * It is no longer evaluated. What another took over goes on there; of the rest each series ends, and alerts that
 * somebody was told of are told to be over.
 */
void rule_run_end(struct rule_run *run, int64_t ts_ms);

/* With the mutex held. */
struct rule_status rule_run_status(const struct rule_run *run);
