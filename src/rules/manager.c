#include "rules/manager.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "os/thread.h"
#include "rules/restore.h"
#include "rules/rule_files.h"
#include "rules/sql_query.h"
#include "tsdb/labels.h"

enum {
    THREADS_MAX = 64,
    WAIT_MAX_MS = 1000, /* somebody may set the wall clock */
};

struct entry {
    struct group_run *run; /* owned */
    int64_t interval_ms;
    int64_t phase_ms; /* from 0 to below the interval */
    int64_t next_ms;
    bool is_running;
    bool has_sql; /* a rule of it may wait for the warehouse */
};

/* What one reading of the rule files gives. */
struct plan {
    struct rule_files files;
    struct entry *entries; /* owned; sorted by file and name */
    size_t count;
};

struct rule_manager {
    struct rule_manager_options options; /* constant, but for groups: those are under reload_mutex */
    pthread_mutex_t reload_mutex;        /* one at a time makes a plan; goes before the next */
    pthread_mutex_t mutex;               /* all of the next */
    pthread_cond_t changed;
    struct plan plan;
    size_t running_count;
    size_t sql_running_count; /* of those, groups with SQL */
    bool is_ending;           /* atomic as well: evaluations look at it without the lock */
    bool is_reloading;        /* that waits until nothing runs: nothing is begun meanwhile */
    struct rule_manager_stats stats;
    pthread_t threads[THREADS_MAX];
    uint32_t thread_count;
};

static int64_t now_ms(const struct rule_manager *manager)
{
    return ap_clock_wall_us(manager->options.world.clock) / AP_US_PER_MS;
}

/* ---- When ---- */

/* The last moment that is the group's, not after `ts_ms`. */
static int64_t last_due(const struct entry *entry, int64_t ts_ms)
{
    return ts_ms - (ts_ms - entry->phase_ms) % entry->interval_ms;
}

/* Waiting for the warehouse never takes the last of several threads: rules that ask the series go on meanwhile. */
static bool may_begin(const struct rule_manager *manager, const struct entry *entry)
{
    size_t sql_max = AP_MAX(manager->options.thread_count, 2U) - 1;
    return !entry->is_running && !(entry->has_sql && manager->sql_running_count >= sql_max);
}

static struct entry *find_due(struct rule_manager *manager, int64_t ts_ms, int64_t *ret_wait_ms)
{
    struct entry *due = NULL;
    *ret_wait_ms = WAIT_MAX_MS;
    for (size_t i = 0; i < manager->plan.count; i++) {
        struct entry *entry = &manager->plan.entries[i];
        if (!may_begin(manager, entry))
            continue;
        if (entry->next_ms > ts_ms + entry->interval_ms) /* the wall clock was set back */
            entry->next_ms = last_due(entry, ts_ms) + entry->interval_ms;
        if (!due || entry->next_ms < due->next_ms)
            due = entry;
    }
    if (!due || due->next_ms <= ts_ms)
        return due;
    *ret_wait_ms = AP_MIN(due->next_ms - ts_ms, WAIT_MAX_MS);
    return NULL;
}

/* With the lock held, which is let go of meanwhile. */
static int64_t step(struct rule_manager *manager)
{
    int64_t wait_ms;
    int64_t ts_ms = now_ms(manager);
    struct entry *entry = manager->is_reloading ? NULL : find_due(manager, ts_ms, &wait_ms);
    if (manager->is_reloading)
        return WAIT_MAX_MS;
    if (!entry)
        return wait_ms;
    ts_ms = last_due(entry, ts_ms);
    manager->stats.missed += (uint64_t)((ts_ms - entry->next_ms) / entry->interval_ms);
    entry->next_ms = ts_ms + entry->interval_ms;
    entry->is_running = true;
    manager->running_count++;
    manager->sql_running_count += entry->has_sql;
    pthread_mutex_unlock(&manager->mutex);
    size_t failed = group_run_evaluate(entry->run, ts_ms);
    pthread_mutex_lock(&manager->mutex);
    entry->is_running = false;
    manager->running_count--;
    manager->sql_running_count -= entry->has_sql;
    manager->stats.evaluations += group_run_group(entry->run)->rule_count;
    manager->stats.failures += manager->is_ending ? 0 : failed; /* then they were cancelled */
    pthread_cond_broadcast(&manager->changed);
    return 0;
}

int64_t rule_manager_step(struct rule_manager *manager)
{
    pthread_mutex_lock(&manager->mutex);
    int64_t wait_ms = step(manager);
    pthread_mutex_unlock(&manager->mutex);
    return wait_ms;
}

static void *work(void *context)
{
    struct rule_manager *manager = context;
    pthread_mutex_lock(&manager->mutex);
    while (!manager->is_ending) {
        int64_t wait_ms = step(manager);
        if (wait_ms && !manager->is_ending)
            os_cond_wait_until(&manager->changed, &manager->mutex, os_deadline_us(wait_ms));
    }
    pthread_mutex_unlock(&manager->mutex);
    return NULL;
}

/* ---- Plans ---- */

static void plan_clear(struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        group_run_free(plan->entries[i].run);
    free(plan->entries);
    rule_files_clear(&plan->files);
    *plan = (struct plan){0};
}

static int compare_groups(const struct rule_group *a, const struct rule_group *b)
{
    int order = strcmp(a->file, b->file);
    return order ? order : strcmp(a->name, b->name);
}

static int compare_entries(const void *a, const void *b)
{
    return compare_groups(group_run_group(((const struct entry *)a)->run),
                          group_run_group(((const struct entry *)b)->run));
}

/* One rule of a plan. */
struct place {
    struct group_run *run;
    size_t index;
    const struct rule *rule;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct place *)a)->rule->name, ((const struct place *)b)->rule->name);
}

/* Its alerting rules, in order of name; free() them. */
static struct place *sort_places(const struct plan *plan, size_t *ret_count)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->count; i++)
        count += group_run_group(plan->entries[i].run)->rule_count;
    struct place *places = ap_new0_array(struct place, count + 1);
    count = 0;
    for (size_t i = 0; i < plan->count; i++) {
        const struct rule_group *group = group_run_group(plan->entries[i].run);
        for (size_t r = 0; r < group->rule_count; r++)
            if (group->rules[r].is_alert)
                places[count++] = (struct place){plan->entries[i].run, r, &group->rules[r]};
    }
    qsort(places, count, sizeof(*places), compare_names);
    *ret_count = count;
    return places;
}

/* Rules of one name that nothing tells apart. */
static void note_alike(const struct plan *plan)
{
    size_t count;
    AP_AUTO_FREE struct place *places = sort_places(plan, &count);
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count && compare_names(&places[i], &places[j]) == 0; j++)
            if (rules_are_alike(places[i].rule, places[j].rule)) {
                group_run_note_alike(places[i].run, places[i].index);
                group_run_note_alike(places[j].run, places[j].index);
            }
}

static bool has_alerts(const struct place *place)
{
    group_run_lock(place->run);
    bool has_some = group_run_status(place->run, place->index).alert_count > 0;
    group_run_unlock(place->run);
    return has_some;
}

/* With the lock held. Of the rules of `before` whose alerts none took over: which stand elsewhere in `plan`. */
static void note_moved(const struct plan *plan, const struct plan *before)
{
    size_t count, before_count, at = 0;
    AP_AUTO_FREE struct place *places = sort_places(plan, &count);
    AP_AUTO_FREE struct place *gone = sort_places(before, &before_count);
    for (size_t i = 0; i < before_count; i++) {
        if (!has_alerts(&gone[i]))
            continue;
        while (at < count && compare_names(&places[at], &gone[i]) < 0)
            at++;
        for (size_t j = at; j < count && compare_names(&places[j], &gone[i]) == 0; j++)
            if (group_run_note_moved(gone[i].run, gone[i].index, places[j].run, places[j].index))
                break;
    }
}

static void add_entry(struct plan *plan, const struct rule_group *group, const struct rule_manager_options *options)
{
    plan->entries[plan->count++] =
        (struct entry){.run = group_run_new(group, &options->world),
                       .interval_ms = group->interval_ms ? group->interval_ms : options->interval_ms,
                       .has_sql = rules_group_has_sql(group)};
}

/*
 * What the warehouse does not understand today, it may tomorrow: tables and views come and go with packs. Such a rule
 * is told and fails when it is evaluated, and keeps none of the others from being loaded.
 */
static void check_sql(const struct plan *plan, const struct rule_manager_options *options)
{
    for (size_t i = 0; i < plan->count && options->world.warehouse && options->report; i++)
        if (plan->entries[i].has_sql)
            (void)rules_sql_check_group(options->world.warehouse, group_run_group(plan->entries[i].run),
                                        options->report, options->report_context);
}

static struct plan plan_of(const struct rule_manager *manager, struct rule_files take_files)
{
    const struct rule_manager_options *options = &manager->options;
    struct plan plan = {.files = take_files};
    size_t count = options->group_count;
    for (size_t i = 0; i < plan.files.count; i++)
        count += plan.files.items[i]->group_count;
    plan.entries = ap_new0_array(struct entry, count + 1);
    for (size_t i = 0; i < plan.files.count; i++)
        for (size_t g = 0; g < plan.files.items[i]->group_count; g++)
            add_entry(&plan, &plan.files.items[i]->groups[g], options);
    for (size_t i = 0; i < options->group_count; i++)
        add_entry(&plan, options->groups[i], options);
    qsort(plan.entries, plan.count, sizeof(*plan.entries), compare_entries);
    for (size_t i = 0; i < plan.count; i++) {
        struct entry *entry = &plan.entries[i];
        const struct rule_group *group = group_run_group(entry->run);
        AP_AUTO_FREE char *key = ap_asprintf("%s;%s", group->file, group->name);
        uint64_t hash = labels_hash_of(0, ap_slice_cstr(key)).low;
        entry->phase_ms = (int64_t)(hash % (uint64_t)entry->interval_ms);
        entry->next_ms = last_due(entry, now_ms(manager)) + entry->interval_ms;
    }
    note_alike(&plan);
    return plan;
}

static enum ap_rc load(const struct rule_manager *manager, struct plan *ret_plan, struct ap_err *err)
{
    const struct rule_manager_options *options = &manager->options;
    struct rule_files files;
    enum ap_rc rc = rule_files_load(options->patterns, NULL, options->is_experimental, NULL, NULL, &files, err);
    if (rc != AP_OK)
        return rc;
    *ret_plan = plan_of(manager, files);
    check_sql(ret_plan, options);
    return AP_OK;
}

/* With the lock held. Both are in order. */
static void inherit(struct plan *plan, struct plan *before, int64_t ts_ms)
{
    size_t old = 0;
    for (size_t i = 0; i < plan->count; i++) {
        struct entry *entry = &plan->entries[i];
        int order = -1;
        while (old < before->count && (order = compare_entries(&before->entries[old], entry)) < 0)
            old++;
        if (old == before->count || order != 0)
            continue;
        group_run_inherit(entry->run, before->entries[old].run);
        if (entry->interval_ms == before->entries[old].interval_ms) /* what is late is still to be counted */
            entry->next_ms = before->entries[old].next_ms;
    }
    note_moved(plan, before);
    for (size_t i = 0; i < before->count; i++)
        group_run_end(before->entries[i].run, ts_ms);
}

/* With the lock held. */
static void take_plan(struct rule_manager *manager, const struct plan *plan)
{
    manager->plan = *plan;
    manager->stats.group_count = plan->count;
    manager->stats.rule_count = 0;
    for (size_t i = 0; i < plan->count; i++)
        manager->stats.rule_count += group_run_group(plan->entries[i].run)->rule_count;
}

/* With the lock held, which is let go of meanwhile. `plan` becomes the one before. */
static void exchange_plan(struct rule_manager *manager, struct plan *plan)
{
    manager->is_reloading = true;
    while (manager->running_count)
        pthread_cond_wait(&manager->changed, &manager->mutex);
    manager->is_reloading = false;
    struct plan before = manager->plan;
    inherit(plan, &before, now_ms(manager));
    take_plan(manager, plan);
    *plan = before;
    pthread_cond_broadcast(&manager->changed);
}

enum ap_rc rule_manager_reload(struct rule_manager *manager, struct ap_err *err)
{
    struct plan plan;
    pthread_mutex_lock(&manager->reload_mutex);
    enum ap_rc rc = load(manager, &plan, err);
    pthread_mutex_lock(&manager->mutex);
    manager->stats.is_reload_good = rc == AP_OK;
    if (rc == AP_OK) {
        exchange_plan(manager, &plan);
        manager->stats.loaded_ms = now_ms(manager);
    }
    pthread_mutex_unlock(&manager->mutex);
    if (rc == AP_OK)
        plan_clear(&plan);
    pthread_mutex_unlock(&manager->reload_mutex);
    return rc;
}

void rule_manager_regroup(struct rule_manager *manager, const struct rule_group *const *groups, size_t count)
{
    pthread_mutex_lock(&manager->reload_mutex);
    manager->options.groups = groups;
    manager->options.group_count = count;
    struct plan plan = plan_of(manager, manager->plan.files); /* only who holds this lock puts others there */
    pthread_mutex_lock(&manager->mutex);
    exchange_plan(manager, &plan);
    pthread_mutex_unlock(&manager->mutex);
    plan.files = (struct rule_files){0}; /* in use */
    plan_clear(&plan);
    pthread_mutex_unlock(&manager->reload_mutex);
}

/* ---- The manager ---- */

enum ap_rc rule_manager_open(const struct rule_manager_options *options, struct rule_manager **ret_manager,
                             struct ap_err *err)
{
    struct rule_manager *manager = ap_new0(struct rule_manager);
    manager->options = *options;
    manager->options.world.is_ending = &manager->is_ending;
    manager->options.world.interval_ms = options->interval_ms;
    pthread_mutex_init(&manager->reload_mutex, NULL);
    pthread_mutex_init(&manager->mutex, NULL);
    os_cond_init(&manager->changed);
    struct plan plan;
    enum ap_rc rc = load(manager, &plan, err);
    if (rc != AP_OK) {
        rule_manager_close(manager);
        return rc;
    }
    take_plan(manager, &plan);
    manager->stats.is_reload_good = 1;
    manager->stats.loaded_ms = now_ms(manager);
    *ret_manager = manager;
    return AP_OK;
}

enum ap_rc rule_manager_start(struct rule_manager *manager, struct ap_err *err)
{
    uint32_t count = AP_MIN(manager->options.thread_count, (uint32_t)THREADS_MAX);
    for (; manager->thread_count < count; manager->thread_count++) {
        enum ap_rc rc = os_thread_start("rules", work, manager, &manager->threads[manager->thread_count], err);
        if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}

void rule_manager_stop(struct rule_manager *manager)
{
    pthread_mutex_lock(&manager->mutex);
    __atomic_store_n(&manager->is_ending, true, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&manager->changed);
    pthread_mutex_unlock(&manager->mutex);
    for (uint32_t i = 0; i < manager->thread_count; i++)
        pthread_join(manager->threads[i], NULL);
    manager->thread_count = 0;
}

void rule_manager_close(struct rule_manager *manager)
{
    if (!manager)
        return;
    rule_manager_stop(manager);
    plan_clear(&manager->plan);
    pthread_cond_destroy(&manager->changed);
    pthread_mutex_destroy(&manager->mutex);
    pthread_mutex_destroy(&manager->reload_mutex);
    free(manager);
}

/* ---- Reading ---- */

void rule_manager_stats_get(struct rule_manager *manager, struct rule_manager_stats *ret_stats)
{
    pthread_mutex_lock(&manager->mutex);
    *ret_stats = manager->stats;
    for (size_t i = 0; i < manager->plan.count; i++) {
        struct group_run *run = manager->plan.entries[i].run;
        group_run_lock(run);
        for (size_t r = 0; r < group_run_group(run)->rule_count; r++) {
            struct rule_status status = group_run_status(run, r);
            ret_stats->no_data_count += status.condition == RULE_CONDITION_NO_DATA;
            ret_stats->error_count += status.condition == RULE_CONDITION_ERROR;
            for (size_t a = 0; a < status.alert_count; a++) {
                ret_stats->pending_count += status.alerts[a].state == ALERT_STATE_PENDING;
                ret_stats->firing_count += status.alerts[a].state == ALERT_STATE_FIRING;
            }
        }
        group_run_unlock(run);
    }
    pthread_mutex_unlock(&manager->mutex);
}

size_t rule_manager_lock(struct rule_manager *manager)
{
    pthread_mutex_lock(&manager->mutex);
    return manager->plan.count;
}

void rule_manager_unlock(struct rule_manager *manager)
{
    pthread_mutex_unlock(&manager->mutex);
}

struct rule_manager_group rule_manager_group(const struct rule_manager *manager, size_t index)
{
    const struct entry *entry = &manager->plan.entries[index];
    return (struct rule_manager_group){entry->run, entry->interval_ms};
}
