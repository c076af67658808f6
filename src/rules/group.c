#include "rules/group.h"

#include <pthread.h>
#include <stdlib.h>

struct group_run {
    const struct rule_group *group;
    const struct rules_world *world;
    pthread_mutex_t mutex; /* what readers may see of the rules, and the next two */
    int64_t evaluated_ms;
    int64_t duration_us;
    struct rule_run **rules; /* owned, in the group's order */
};

struct group_run *group_run_new(const struct rule_group *group, const struct rules_world *world)
{
    struct group_run *run = ap_new0(struct group_run);
    run->group = group;
    run->world = world;
    run->evaluated_ms = RULES_TIME_NONE;
    run->rules = ap_new0_array(struct rule_run *, group->rule_count + 1);
    pthread_mutex_init(&run->mutex, NULL);
    for (size_t i = 0; i < group->rule_count; i++)
        run->rules[i] = rule_run_new(&group->rules[i], group, world, &run->mutex);
    return run;
}

void group_run_free(struct group_run *run)
{
    if (!run)
        return;
    for (size_t i = 0; i < run->group->rule_count; i++)
        rule_run_free(run->rules[i]);
    free(run->rules);
    pthread_mutex_destroy(&run->mutex);
    free(run);
}

void group_run_note_alike(struct group_run *run, size_t rule_index)
{
    rule_run_note_alike(run->rules[rule_index]);
}

size_t group_run_evaluate(struct group_run *run, int64_t ts_ms)
{
    int64_t started_us = ap_clock_monotonic_us(run->world->clock);
    size_t failed = 0;
    for (size_t i = 0; i < run->group->rule_count; i++)
        failed += !rule_run_evaluate(run->rules[i], ts_ms);
    group_run_lock(run);
    run->evaluated_ms = ts_ms;
    run->duration_us = ap_clock_monotonic_us(run->world->clock) - started_us;
    group_run_unlock(run);
    return failed;
}

/* Hands what is left of `before` to rules that have nothing yet and are the same by `is_same`. */
static void inherit_where(struct group_run *run, struct group_run *before, bool *has_inherited, bool *is_taken,
                          bool (*is_same)(const struct rule_run *, const struct rule_run *))
{
    size_t before_count = before->group->rule_count, next = 0; /* mostly the one behind the last that was found */
    for (size_t i = 0; i < run->group->rule_count; i++)
        for (size_t tried = 0; tried < before_count && !has_inherited[i]; tried++) {
            size_t at = (next + tried) % before_count;
            if (is_taken[at] || !is_same(run->rules[i], before->rules[at]))
                continue;
            rule_run_inherit(run->rules[i], before->rules[at]);
            has_inherited[i] = is_taken[at] = true;
            next = at + 1;
        }
}

void group_run_inherit(struct group_run *run, struct group_run *before)
{
    AP_AUTO_FREE bool *has_inherited = ap_new0_array(bool, run->group->rule_count + 1);
    AP_AUTO_FREE bool *is_taken = ap_new0_array(bool, before->group->rule_count + 1);
    inherit_where(run, before, has_inherited, is_taken, rule_run_is_equal);
    inherit_where(run, before, has_inherited, is_taken, rule_run_is_same);
    run->evaluated_ms = before->evaluated_ms;
    run->duration_us = before->duration_us;
}

bool group_run_note_moved(struct group_run *run, size_t rule_index, const struct group_run *other, size_t other_index)
{
    bool is_equal = rule_run_is_equal(run->rules[rule_index], other->rules[other_index]);
    if (is_equal)
        rule_run_note_moved(run->rules[rule_index]);
    return is_equal;
}

void group_run_end(struct group_run *run, int64_t ts_ms)
{
    for (size_t i = 0; i < run->group->rule_count; i++)
        rule_run_end(run->rules[i], ts_ms);
}

void group_run_lock(struct group_run *run)
{
    pthread_mutex_lock(&run->mutex);
}

void group_run_unlock(struct group_run *run)
{
    pthread_mutex_unlock(&run->mutex);
}

const struct rule_group *group_run_group(const struct group_run *run)
{
    return run->group;
}

struct rule_status group_run_status(const struct group_run *run, size_t rule_index)
{
    return rule_run_status(run->rules[rule_index]);
}

int64_t group_run_evaluated_ms(const struct group_run *run)
{
    return run->evaluated_ms;
}

int64_t group_run_duration_us(const struct group_run *run)
{
    return run->duration_us;
}
