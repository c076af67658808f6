/*
 * rules/group.h - a group of rules at work
 *
 *     rule ──its query at ts──► samples ──recording: name and labels──► series
 *                                       ──alerting: labels, state────► alerts, and of those the series ALERTS
 *
 * A group runs its rules one after the other, so that each sees what those before it gave, and remembers from one
 * evaluation to the next which series each rule gave (those that end get a staleness marker) and which alerts are
 * active. Semantics are those of Prometheus 3 ("Defining recording rules", "Alerting rules").
 *
 * Threads: one evaluates a group; any reads what is known of its rules between group_run_lock() and _unlock().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "promql/engine.h"
#include "rules/rule_file.h"

enum {
    ALERT_RESOLVED_KEPT_MS = 15 * 60 * 1000, /* an alert is remembered for so long after it has ended */
    ALERT_RESEND_MS = 60 * 1000,             /* what was told is told again after so long (Prometheus' resend delay) */
};
#define RULES_TIME_NONE INT64_MIN

struct rules_sample {
    struct ap_slice labels; /* canonical */
    int64_t ts_ms;
    double value;
    const struct float_histogram *histogram; /* NULL: a float */
};

struct alert;
struct warehouse;

/* What all groups have in common; lent to them, all of it. */
struct rules_world {
    struct promql_engine *engine;
    struct promql_storage storage;
    struct warehouse *warehouse; /* NULL: rules by SQL fail */
    uint32_t sql_timeout_ms;     /* 0: the warehouse's default */
    /* Takes what one rule gave; queries find it when this returns. */
    enum ap_rc (*keep)(void *context, const struct rules_sample *samples, size_t count, struct ap_err *err);
    void *context;
    /*
     * NULL, or takes the alerts of a rule that somebody is to be told of: those that fire, which count as ended at
     * `ends_ms` unless they are told again, and those that have ended. False: it did not, and gets them again at the
     * next evaluation.
     */
    bool (*tell)(void *context, const struct rule *rule, const struct alert *const *alerts, size_t count,
                 int64_t ends_ms);
    void *tell_context;
    int64_t interval_ms;             /* of groups that say none; a manager sets its own */
    struct ap_slice external_labels; /* canonical, or empty: $externalLabels */
    struct ap_slice external_url;    /* $externalURL */
    int64_t query_offset_ms;         /* of groups that say none */
    int64_t restore_ms;              /* alerts go on where they were at most so long ago; 0: each process begins anew */
    const struct ap_clock *clock;    /* how long evaluations take */
    const bool *is_ending;           /* NULL, or atomic: true cancels queries */
};

enum alert_state { ALERT_STATE_INACTIVE, ALERT_STATE_PENDING, ALERT_STATE_FIRING, ALERT_STATE_COUNT };
const char *alert_state_name(enum alert_state state);

/*
 * What a rule's last evaluation came to. NO_DATA: the query gives no figure; of PromQL only where the rule has a word
 * on that (`no_data`), because otherwise nobody looks. In this order: who cannot evaluate a rule knows nothing of its
 * data either.
 */
enum rule_condition { RULE_CONDITION_OK, RULE_CONDITION_NO_DATA, RULE_CONDITION_ERROR, RULE_CONDITION_COUNT };
const char *rule_condition_name(enum rule_condition condition); /* "ok", "no_data", "error" */
#define RULE_CONDITION_LABEL "condition"                        /* of alerts about NO_DATA and ERROR: its name */

struct alert {
    enum alert_state state;        /* inactive: resolved */
    enum rule_condition condition; /* other than OK: an alert about that, one a rule, and not about a figure */
    struct ap_slice labels;        /* canonical; alertname among them */
    struct ap_slice annotations;   /* in the form of labels.h, sorted; values may be empty */
    double value;                  /* of the last evaluation that gave it */
    int64_t active_ms;             /* since when its expression gives it */
    int64_t fired_ms;              /* RULES_TIME_NONE: not yet; as the next two */
    int64_t resolved_ms;
    int64_t keep_firing_ms; /* since when it fires only because of keep_firing_for */
    int64_t told_ms;        /* when it was told (struct rules_world) the last time */
};

enum rule_health { RULE_HEALTH_UNKNOWN, RULE_HEALTH_OK, RULE_HEALTH_ERR };

/* What is known of a rule; lent until group_run_unlock(). */
struct rule_status {
    const struct rule *rule;
    enum rule_health health;
    const char *error;    /* of the last evaluation, or NULL */
    int64_t evaluated_ms; /* RULES_TIME_NONE: not yet */
    int64_t duration_us;  /* of the last evaluation */
    struct alert *alerts; /* sorted by labels, resolved ones among them */
    size_t alert_count;
    enum alert_state state; /* the highest of its alerts */
    enum rule_condition condition;
};

struct group_run; /* private to group.c */

/*
 * `group` and `world` must stay. The first evaluation of an alerting rule goes on with what the store says of its
 * alerts (rules/restore.h).
 */
struct group_run *group_run_new(const struct rule_group *group, const struct rules_world *world);
void group_run_free(struct group_run *run); /* NULL is allowed */
AP_DEFINE_AUTO(group_run, struct group_run, group_run_free)

/* Another rule has alerts that could be this one's: of what is restored only what the expression gives is taken. */
void group_run_note_alike(struct group_run *run, size_t rule_index);

/* Returns how many rules failed; why is in their status. */
size_t group_run_evaluate(struct group_run *run, int64_t ts_ms);
/*
 * `run`, not evaluated yet, goes on where `before` is: a rule of the same kind, name and labels takes over series and
 * alerts, and with the same expression what is known of its last evaluation too. Of several, one with that expression
 * comes first. Nobody else uses either meanwhile.
 */
void group_run_inherit(struct group_run *run, struct group_run *before);
/* The same kind, name, labels and expression. */
bool rules_are_equal(const struct rule *a, const struct rule *b);
/* The rule stands in another group now: that this one ends says nothing of its alerts. */
void group_run_note_moved(struct group_run *run, size_t rule_index);
/*
 * The group is no longer evaluated. What another took over goes on there; of the rest each series ends, and alerts that
 * somebody was told of are told to be over.
 */
void group_run_end(struct group_run *run, int64_t ts_ms);

void group_run_lock(struct group_run *run);
void group_run_unlock(struct group_run *run);
const struct rule_group *group_run_group(const struct group_run *run);
/* With the lock held. */
struct rule_status group_run_status(const struct group_run *run, size_t rule_index);
int64_t group_run_evaluated_ms(const struct group_run *run); /* RULES_TIME_NONE: not yet */
int64_t group_run_duration_us(const struct group_run *run);
