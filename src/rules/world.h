/*
 * rules/world.h - what all rules have in common: where they ask, and who takes what they give
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/rc.h"
#include "base/slice.h"
#include "promql/engine.h"

struct ap_arena;

#define RULES_TIME_NONE INT64_MIN

struct alert;
struct rule;
struct rules_answer;
struct warehouse;

struct rules_sample {
    struct ap_slice labels; /* canonical */
    int64_t ts_ms;
    double value;
    const struct float_histogram *histogram; /* NULL: a float */
};

/* Lent to those who evaluate, all of it. */
struct rules_world {
    struct promql_engine *engine; /* NULL: queries of templates find nothing, and rules need the answer of `give` */
    struct promql_storage storage;
    struct warehouse *warehouse; /* NULL: rules by SQL fail */
    uint32_t sql_timeout_ms;     /* 0: the warehouse's default */
    /* NULL, or what rules are told at a time in place of what they ask (rules/replay.h); as rule_question_ask(). */
    enum ap_rc (*give)(void *context, int64_t ts_ms, struct ap_arena *arena, struct rules_answer *ret_answer,
                       struct ap_err *err);
    void *give_context;
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
    int64_t resend_ms;   /* between two tellings of an alert (Prometheus' resend delay); 0: ALERT_RESEND_MS */
    int64_t interval_ms; /* of groups that say none; a manager sets its own */
    struct ap_slice external_labels; /* canonical, or empty: $externalLabels */
    struct ap_slice external_url;    /* $externalURL */
    int64_t query_offset_ms;         /* of groups that say none */
    int64_t restore_ms;              /* alerts go on where they were at most so long ago; 0: each process begins anew */
    const struct ap_clock *clock;    /* how long evaluations take */
    const bool *is_ending;           /* NULL, or atomic: true cancels queries */
};

static inline bool rules_world_is_ending(const struct rules_world *world)
{
    return world->is_ending && __atomic_load_n(world->is_ending, __ATOMIC_RELAXED);
}
