/*
 * rules/alert.h - an alert of a rule, from one evaluation of the rule to the next
 *
 *               `for` is over                given no more, `keep_firing_for` is over
 *     pending ─────────────────► firing ────────────────────────────────────────────► inactive (resolved)
 *        │ given no more            ▲                                                   │ given again: a new alert;
 *        ▼                          └── goes on where the rule says so                  │ otherwise remembered for
 *     forgotten                         of missing data or errors, or it was restored    ▼ ALERT_RESOLVED_KEPT_MS
 *
 * Semantics are those of Prometheus 3 ("Alerting rules"), and for rules that have a word on missing data and errors
 * those of docs/rules.md. Nothing here asks, keeps or allocates: who evaluates brings what is given.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "rules/rule_file.h"
#include "rules/world.h"

enum {
    ALERT_RESOLVED_KEPT_MS = 15 * 60 * 1000, /* an alert is remembered for so long after it has ended */
    ALERT_RESEND_MS = 60 * 1000,             /* what was told is told again after so long, unless the world says */
};

enum alert_state { ALERT_STATE_INACTIVE, ALERT_STATE_PENDING, ALERT_STATE_FIRING, ALERT_STATE_COUNT };
const char *alert_state_name(enum alert_state state);

/*
 * What a rule's evaluation came to. NO_DATA: the query gives no figure; of PromQL only where the rule has a word on
 * that (`no_data`), because otherwise nobody looks. In this order: who cannot evaluate a rule knows nothing of its data
 * either.
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
    int64_t held_until_ms;  /* until then it fires on although it is not given (rules/restore.h) */
};

/* By labels; for qsort(). */
int alert_compare(const void *a, const void *b);

/* One evaluation, as far as it concerns alerts. */
struct alert_round {
    const struct rule *rule;
    int64_t ts_ms;
    enum rule_condition condition;
    bool is_guessing; /* what was restored may be another rule's: what is not given now is not this one's */
};

/* Whether there is one alert about the round's condition, in place of those about figures. */
bool alert_round_is_raising(const struct alert_round *round);

/* One that was not there before: pending, without labels and annotations. */
struct alert alert_begin(const struct alert_round *round, double value);
/* It is given, after alert_begin() or alert_go_on(): fires when that has been so for as long as `for` says. */
void alert_give(const struct alert_round *round, struct alert *alert);
/* It was there before and is given again as `fresh`, whose text and value are the new ones. Labels may be either's. */
void alert_go_on(struct alert *alert, const struct alert *fresh);
/* It was there before and is not given. False: it is forgotten. */
bool alert_stay(const struct alert_round *round, struct alert *alert);

/* Whether somebody is to be told of it: at once when it fires or has ended, and now and then again. */
bool alert_is_to_be_told(const struct alert *alert, int64_t ts_ms, int64_t resend_ms);
