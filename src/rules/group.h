/*
 * rules/group.h - a group of rules at work, one after the other, so that each sees what those before it gave
 *
 * Semantics are those of Prometheus 3 ("Defining recording rules", "Alerting rules"); what becomes of one rule is in
 * rules/rule_run.h.
 *
 * Threads: one evaluates a group; any reads what is known of its rules between group_run_lock() and _unlock().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "rules/rule_file.h"
#include "rules/rule_run.h"
#include "rules/world.h"

struct group_run; /* private to group.c */

/* `group` and `world` must stay. */
struct group_run *group_run_new(const struct rule_group *group, const struct rules_world *world);
void group_run_free(struct group_run *run); /* NULL is allowed */
AP_DEFINE_AUTO(group_run, struct group_run, group_run_free)

/* rule_run_note_alike() of one of its rules. */
void group_run_note_alike(struct group_run *run, size_t rule_index);

/* Returns how many rules failed; why is in their status. */
size_t group_run_evaluate(struct group_run *run, int64_t ts_ms);
/*
 * `run`, not evaluated yet, goes on where `before` is: rule_run_inherit() for each rule that is in both. Of several
 * that are the same, one with the same expression comes first. Nobody else uses either meanwhile.
 */
void group_run_inherit(struct group_run *run, struct group_run *before);
/* rule_run_note_moved() of one of its rules, if that is the one of `other`. False: it is not. */
bool group_run_note_moved(struct group_run *run, size_t rule_index, const struct group_run *other, size_t other_index);
/* The group is no longer evaluated: rule_run_end() of all of its rules. */
void group_run_end(struct group_run *run, int64_t ts_ms);

void group_run_lock(struct group_run *run);
void group_run_unlock(struct group_run *run);
const struct rule_group *group_run_group(const struct group_run *run);
/* With the lock held. */
struct rule_status group_run_status(const struct group_run *run, size_t rule_index);
int64_t group_run_evaluated_ms(const struct group_run *run); /* RULES_TIME_NONE: not yet */
int64_t group_run_duration_us(const struct group_run *run);
