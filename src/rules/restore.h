/*
 * rules/restore.h - which alerts of a rule were active before this process, out of ALERTS and ALERTS_FOR_STATE
 *
 * Those series are kept like everything else, so what they said last is the state as it was, to the second. An alert
 * that had ended has a staleness marker and is not among them.
 */
#pragma once

#include "base/arena.h"
#include "rules/alert.h"
#include "rules/rule_file.h"
#include "rules/world.h"

struct restored {
    struct alert *alerts; /* owned; sorted by labels, which are from the arena; without annotations and values */
    size_t alert_count;
    struct ap_slice *series; /* owned; sorted: what each of them was last given as, two an alert */
    size_t series_count;
};

/*
 * For an evaluation at `ts_ms`, whose samples are of `offset_ms` before: alerts of `rule` that were pending or firing
 * at their last sample before those, none of them older than world->restore_ms. The time since that sample does not
 * count for `for`: whether the condition held then, nobody knows. The rule is known by its name and by those of its
 * labels that are no templates.
 *
 * After more time than PromQL looks back everything has to come in anew before an expression gives anything: what fired
 * is held for as long, so that nobody is told of an end that is none.
 */
ap_nodiscard enum ap_rc rules_restore(const struct rules_world *world, const struct rule *rule, int64_t ts_ms,
                                      int64_t offset_ms, struct ap_arena *arena, struct restored *ret_restored,
                                      struct ap_err *err);

/* Whether alerts of one could be taken for alerts of the other. */
bool rules_are_alike(const struct rule *a, const struct rule *b);
