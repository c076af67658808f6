#include "scrape/manager.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "os/thread.h"
#include "scrape/alert_relabel.h"
#include "scrape/job_internal.h"
#include "scrape/scrape_file.h"
#include "scrape/target_list.h"

enum { SETTLE_MS = 50 }; /* a file that changes is often still being written when that is noticed */

struct pool;

/* A discovery of a pool at work. */
struct finder {
    struct scrape_manager *manager;
    const struct discovery_kind *kind;
    struct ap_buf print;   /* of its configuration: equal ones find the same */
    const struct job *job; /* held: the configuration is its */
    const void *config;
    struct discovery *discovery; /* owned; the thread's, while there is one */
    bool is_ending;              /* atomic */
    int end_fd;                  /* an eventfd: readable when the thread shall end */
    bool has_thread;
    pthread_t thread;
    /* Under the manager's mutex. */
    struct pool *pool;
    struct target_groups *groups; /* owned; NULL: nothing was found yet */
    char *trouble;                /* owned; what is wrong since the last time; NULL: nothing */
};

struct pool {
    struct job *job;         /* held */
    struct finder **finders; /* owned */
    size_t finder_count;
    struct target_list list;
};

struct scrape_manager {
    struct scrape_manager_options options;
    const char **collector_names; /* owned */
    struct job_collectors collectors;
    pthread_mutex_t reload_mutex; /* one reload at a time; goes before the next */
    pthread_mutex_t mutex;        /* all that follows */
    struct pool **pools;          /* owned; in order of name, those of Alertmanagers behind the others */
    size_t pool_count;
    size_t alertmanager_count; /* entries of the file, whether somebody asks for them or not */
    char *ignored;             /* owned */
    bool is_started;
    struct scrape_manager_stats stats;
};

/* ---- Pools ---- */

static void tell(struct scrape_manager *manager, const struct ap_err *err)
{
    if (manager->options.trouble)
        manager->options.trouble(err, manager->options.context);
}

/* Targets that cannot be asked are told when there are some, or another number of them. */
static void tell_failures(struct scrape_manager *manager, const struct pool *pool, const struct target_list *list)
{
    struct ap_err err;
    if (list->failure_count == 0 || list->failure_count == pool->list.failure_count)
        return;
    AP_AUTO_BUF struct ap_buf labels = {0};
    labels_format_set(list->failures[0].discovered, &labels);
    ap_fail(&err, AP_E_PARSE, "job %s: %zu targets cannot be asked; the first: %s: %.*s", pool->job->shown.name,
            list->failure_count, list->failures[0].reason, AP_SLICE_ARG(ap_buf_slice(&labels)));
    tell(manager, &err);
}

/* `targets` NULL: the pool is gone. */
static void hand_over_locked(struct scrape_manager *manager, const struct job *job,
                             const struct scrape_target *const *targets, size_t count)
{
    const struct scrape_manager_options *options = &manager->options;
    if (job->is_alertmanager)
        options->sync_alertmanagers(options->sync_context, job->shown.name, targets, count);
    else
        options->sync(options->sync_context, job->shown.name, targets, count);
}

static void pool_sync_locked(struct scrape_manager *manager, struct pool *pool)
{
    struct target_list list;
    target_list_init(&list);
    for (size_t i = 0; i < pool->finder_count; i++)
        target_list_add(&list, pool->job, pool->finders[i]->groups);
    target_list_finish(&list, pool->job);
    static const struct scrape_target *const nobody[1];
    hand_over_locked(manager, pool->job, list.items ? (const struct scrape_target *const *)list.items : nobody,
                     list.count);
    manager->stats.syncs++;
    tell_failures(manager, pool, &list);
    target_list_clear(&pool->list);
    pool->list = list;
}

/* ---- Finders ---- */

/* Told when it begins and when it becomes another trouble, not each time. */
static bool is_news_locked(struct finder *finder, enum ap_rc rc, const struct ap_err *err)
{
    const char *text = rc == AP_OK ? NULL : err->text;
    bool is_same = text && finder->trouble && strcmp(text, finder->trouble) == 0;
    if (is_same)
        return false;
    free(finder->trouble);
    finder->trouble = text ? ap_strdup(text) : NULL;
    return text != NULL;
}

static void take_finding_locked(struct finder *finder, enum ap_rc rc, struct ap_err *err, struct target_groups **groups)
{
    struct scrape_manager *manager = finder->manager;
    manager->stats.refreshes++;
    manager->stats.refresh_failures += rc != AP_OK;
    if (is_news_locked(finder, rc, err)) {
        ap_err_prefix(err, "job %s, %s", finder->pool->job->shown.name, finder->kind->key);
        tell(manager, err);
    }
    if (!*groups)
        return;
    struct target_groups *before = finder->groups;
    finder->groups = *groups;
    *groups = before;
    pool_sync_locked(manager, finder->pool);
}

static void finder_look(struct finder *finder)
{
    AP_AUTO(target_groups) struct target_groups *groups = NULL;
    struct ap_err err = {0};
    enum ap_rc rc = finder->kind->refresh(finder->discovery, &groups, &err);
    pthread_mutex_lock(&finder->manager->mutex);
    if (!__atomic_load_n(&finder->is_ending, __ATOMIC_RELAXED)) /* otherwise its pool may be another's by now */
        take_finding_locked(finder, rc, &err, &groups);
    pthread_mutex_unlock(&finder->manager->mutex);
}

/* True: it is time to look again. */
static bool finder_wait(const struct finder *finder)
{
    struct pollfd fds[] = {
        {.fd = finder->end_fd, .events = POLLIN},
        {.fd = finder->kind->watch_fd(finder->discovery), .events = POLLIN},
    };
    int64_t wait_ms = AP_MIN(finder->kind->interval_ms(finder->config), (int64_t)INT32_MAX);
    (void)poll(fds, AP_ARRAY_COUNT(fds), (int)wait_ms);
    if (fds[1].revents && !fds[0].revents)
        (void)poll(fds, 1, SETTLE_MS);
    return fds[0].revents == 0;
}

static void *finder_run(void *context)
{
    struct finder *finder = context;
    do
        finder_look(finder);
    while (finder_wait(finder));
    return NULL;
}

static struct finder *finder_new(struct scrape_manager *manager, struct job *job, const struct discovery_config *config)
{
    struct finder *finder = ap_new0(struct finder);
    finder->manager = manager;
    finder->kind = config->kind;
    finder->config = config->config;
    finder->job = job;
    (void)scrape_job_ref(&job->shown);
    finder->end_fd = -1;
    ap_buf_add_cstr(&finder->print, config->kind->key);
    fields_print(config->node, &finder->print);
    ap_buf_add_cstr(&finder->print, yaml_file(job->source->document));
    finder->discovery = finder->kind->open(finder->config, &finder->is_ending);
    return finder;
}

/* What never changes is found at once. */
static enum ap_rc finder_look_once(struct finder *finder, struct ap_err *err)
{
    if (finder->groups || finder->kind->interval_ms(finder->config) > 0)
        return AP_OK;
    return finder->kind->refresh(finder->discovery, &finder->groups, err);
}

static enum ap_rc finder_start(struct finder *finder, struct ap_err *err)
{
    if (finder->has_thread || finder->kind->interval_ms(finder->config) == 0)
        return AP_OK;
    finder->end_fd = eventfd(0, EFD_CLOEXEC);
    if (finder->end_fd < 0)
        return ap_fail(err, AP_E_IO, "no eventfd for a discovery: too many files are open");
    enum ap_rc rc = os_thread_start("discovery", finder_run, finder, &finder->thread, err);
    finder->has_thread = rc == AP_OK;
    return rc;
}

/* The first half of ending it, which does not wait. */
static void finder_tell_end(struct finder *finder)
{
    __atomic_store_n(&finder->is_ending, true, __ATOMIC_RELAXED);
    if (finder->has_thread)
        (void)eventfd_write(finder->end_fd, 1);
}

/* Without the manager's mutex, which the thread may be waiting for. */
static void finder_free(struct finder *finder)
{
    finder_tell_end(finder);
    if (finder->has_thread)
        pthread_join(finder->thread, NULL);
    finder->kind->close(finder->discovery);
    if (finder->end_fd >= 0)
        close(finder->end_fd);
    target_groups_free(finder->groups);
    scrape_job_unref(&finder->job->shown);
    ap_buf_clear(&finder->print);
    free(finder->trouble);
    free(finder);
}

/* ---- Plans: the pools of one reading of the configuration ---- */

struct plan {
    struct pool **pools;
    size_t count;
    size_t alertmanager_count;
    char *ignored;
    struct alert_relabel *alert_relabel; /* NULL: none */
};

static void pool_free(struct pool *pool)
{
    for (size_t i = 0; i < pool->finder_count; i++)
        finder_free(pool->finders[i]);
    free(pool->finders);
    target_list_clear(&pool->list);
    scrape_job_unref(&pool->job->shown);
    free(pool);
}

/* All of them, before the first is waited for. */
static void plan_tell_end(const struct plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        for (size_t f = 0; f < plan->pools[i]->finder_count; f++)
            finder_tell_end(plan->pools[i]->finders[f]);
}

static void plan_clear(struct plan *plan)
{
    plan_tell_end(plan);
    for (size_t i = 0; i < plan->count; i++)
        pool_free(plan->pools[i]);
    free(plan->pools);
    free(plan->ignored);
    alert_relabel_free(plan->alert_relabel);
    *plan = (struct plan){0};
}

static struct pool *pool_new(struct scrape_manager *manager, struct job *job)
{
    struct pool *pool = ap_new0(struct pool);
    pool->job = job;
    (void)scrape_job_ref(&job->shown);
    target_list_init(&pool->list);
    pool->finders = ap_new0_array(struct finder *, job->discovery_count + 1);
    for (size_t i = 0; i < job->discovery_count; i++) {
        struct finder *finder = finder_new(manager, job, &job->discoveries[i]);
        finder->pool = pool;
        pool->finders[pool->finder_count++] = finder;
    }
    return pool;
}

/* As a file would say it. */
static void print_builtin(const struct scrape_builtin *builtin, int64_t interval_ms, struct ap_buf *text)
{
    ap_buf_add_cstr(text, "scrape_configs: [{job_name: ");
    ap_buf_add_json_string(text, ap_slice_cstr(builtin->job));
    ap_buf_add_cstr(text, ", collector: ");
    ap_buf_add_json_string(text, ap_slice_cstr(builtin->collector));
    ap_buf_add_cstr(text, ", static_configs: [{targets: [");
    for (size_t i = 0; i < builtin->instance_count; i++) {
        ap_buf_add_cstr(text, i ? ", " : "");
        ap_buf_add_json_string(text, ap_slice_cstr(builtin->instances[i]));
    }
    ap_buf_printf(text, "]}], scrape_interval: %" PRId64 "ms}]\n", interval_ms);
}

static bool gives_way(const struct scrape_builtin *builtin, const struct scrape_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        const struct scrape_job *job = &file->jobs[i]->shown;
        if (strcmp(job->name, builtin->job) == 0 || (job->collector && strcmp(job->collector, builtin->collector) == 0))
            return true;
    }
    return false;
}

static enum ap_rc add_builtin(struct scrape_manager *manager, const struct scrape_builtin *builtin,
                              struct scrape_file *file, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    struct scrape_file one = {0};
    if (gives_way(builtin, file))
        return AP_OK;
    print_builtin(builtin, manager->options.builtin_interval_ms, &text);
    enum ap_rc rc = scrape_file_parse(ap_buf_slice(&text), "built in", &manager->collectors, &one, err);
    if (rc != AP_OK)
        return rc;
    file->jobs = ap_realloc(file->jobs, (file->count + 1) * sizeof(struct job *));
    file->jobs[file->count++] = one.jobs[0];
    one.count = 0; /* it is the other's now */
    scrape_file_clear(&one);
    return AP_OK;
}

static enum ap_rc read_jobs(struct scrape_manager *manager, struct scrape_file *ret_file, struct ap_err *err)
{
    struct scrape_file file = {0};
    enum ap_rc rc = AP_OK;
    if (manager->options.path)
        rc = scrape_file_load(manager->options.path, &manager->collectors, &file, err);
    for (size_t i = 0; i < manager->options.builtin_count && rc == AP_OK; i++)
        rc = add_builtin(manager, &manager->options.builtins[i], &file, err);
    if (rc == AP_OK)
        *ret_file = file;
    else
        scrape_file_clear(&file);
    return rc;
}

static char *join_ignored(const struct scrape_file *file)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    for (size_t i = 0; i < file->ignored_count; i++)
        ap_buf_printf(&text, "%s%s", i ? ", " : "", file->ignored[i]);
    return ap_slice_dup(ap_buf_slice(&text));
}

static int compare_pools(const void *a, const void *b)
{
    const struct job *left = (*(struct pool *const *)a)->job, *right = (*(struct pool *const *)b)->job;
    if (left->is_alertmanager != right->is_alertmanager)
        return left->is_alertmanager ? 1 : -1;
    return strcmp(left->shown.name, right->shown.name);
}

static enum ap_rc plan_read(struct scrape_manager *manager, struct plan *ret_plan, struct ap_err *err)
{
    struct scrape_file file = {0};
    enum ap_rc rc = read_jobs(manager, &file, err);
    if (rc != AP_OK)
        return rc;
    struct plan plan = {.pools = ap_new0_array(struct pool *, file.count + file.alertmanager_count + 1),
                        .alertmanager_count = file.alertmanager_count,
                        .ignored = join_ignored(&file)};
    plan.alert_relabel = file.alert_relabel;
    file.alert_relabel = NULL;
    for (size_t i = 0; i < file.count; i++)
        plan.pools[plan.count++] = pool_new(manager, file.jobs[i]);
    for (size_t i = 0; i < file.alertmanager_count && manager->options.sync_alertmanagers; i++)
        plan.pools[plan.count++] = pool_new(manager, file.alertmanagers[i]);
    if (plan.count)
        qsort(plan.pools, plan.count, sizeof(struct pool *), compare_pools);
    for (size_t i = 0; i < plan.count && rc == AP_OK; i++)
        for (size_t f = 0; f < plan.pools[i]->finder_count && rc == AP_OK; f++)
            rc = finder_look_once(plan.pools[i]->finders[f], err);
    scrape_file_clear(&file);
    if (rc == AP_OK)
        *ret_plan = plan;
    else
        plan_clear(&plan);
    return rc;
}

/* ---- Changing from one plan to the next ---- */

static bool is_same(const struct ap_buf *a, const struct ap_buf *b)
{
    return ap_slice_equal(ap_buf_slice(a), ap_buf_slice(b));
}

/* A discovery that was there before goes on, with what it has found, for the new pool; the new one ends with the old.
 */
static void inherit_finders_locked(struct pool *pool, struct pool *before)
{
    for (size_t i = 0; i < pool->finder_count; i++) {
        struct finder *fresh = pool->finders[i];
        for (size_t old = 0; old < before->finder_count; old++) {
            struct finder *finder = before->finders[old];
            if (finder->pool != before || !is_same(&finder->print, &fresh->print))
                continue;
            finder->pool = pool;
            fresh->pool = before;
            pool->finders[i] = finder;
            before->finders[old] = fresh;
            break;
        }
    }
}

/* Both in order of name. What stays goes over into `plan`; `*before` is what is to be freed. */
static void inherit_locked(struct scrape_manager *manager, struct plan *plan, struct plan *before)
{
    size_t old = 0;
    for (size_t i = 0; i < plan->count; i++) {
        struct pool *pool = plan->pools[i];
        int order = -1;
        while (old < before->count && (order = compare_pools(&before->pools[old], &plan->pools[i])) < 0)
            hand_over_locked(manager, before->pools[old++]->job, NULL, 0);
        bool is_known = old < before->count && order == 0;
        if (is_known && is_same(&before->pools[old]->job->print, &pool->job->print)) {
            plan->pools[i] = before->pools[old];
            before->pools[old++] = pool;
            continue;
        }
        if (is_known)
            inherit_finders_locked(pool, before->pools[old++]);
        pool_sync_locked(manager, pool);
    }
    for (; old < before->count; old++)
        hand_over_locked(manager, before->pools[old]->job, NULL, 0);
}

static enum ap_rc start_finders_locked(struct scrape_manager *manager, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < manager->pool_count && rc == AP_OK; i++)
        for (size_t f = 0; f < manager->pools[i]->finder_count && rc == AP_OK; f++)
            rc = finder_start(manager->pools[i]->finders[f], err);
    return rc;
}

static void take_plan_locked(struct scrape_manager *manager, const struct plan *plan)
{
    free(manager->ignored);
    manager->pools = plan->pools;
    manager->pool_count = plan->count;
    manager->alertmanager_count = plan->alertmanager_count;
    manager->ignored = plan->ignored;
    if (manager->options.relabel_alerts)
        manager->options.relabel_alerts(manager->options.sync_context, plan->alert_relabel);
    else
        alert_relabel_free(plan->alert_relabel);
    manager->stats.loaded_ms = ap_clock_wall_us(manager->options.clock) / AP_US_PER_MS;
}

enum ap_rc scrape_manager_reload(struct scrape_manager *manager, struct ap_err *err)
{
    struct plan plan;
    pthread_mutex_lock(&manager->reload_mutex);
    enum ap_rc rc = plan_read(manager, &plan, err);
    pthread_mutex_lock(&manager->mutex);
    struct plan before = {0};
    if (rc == AP_OK) {
        before = (struct plan){.pools = manager->pools, .count = manager->pool_count};
        inherit_locked(manager, &plan, &before);
        plan_tell_end(&before);
        take_plan_locked(manager, &plan);
        if (manager->is_started)
            rc = start_finders_locked(manager, err);
    }
    manager->stats.is_reload_good = rc == AP_OK;
    pthread_mutex_unlock(&manager->mutex);
    plan_clear(&before);
    pthread_mutex_unlock(&manager->reload_mutex);
    return rc;
}

/* ---- The manager ---- */

enum ap_rc scrape_manager_open(const struct scrape_manager_options *options, struct scrape_manager **ret_manager,
                               struct ap_err *err)
{
    struct scrape_manager *manager = ap_new0(struct scrape_manager);
    manager->options = *options;
    pthread_mutex_init(&manager->reload_mutex, NULL);
    pthread_mutex_init(&manager->mutex, NULL);
    manager->collector_names = ap_new0_array(const char *, options->collector_count + 1);
    for (size_t i = 0; i < options->collector_count; i++)
        manager->collector_names[i] = options->collectors[i].name;
    manager->collectors = (struct job_collectors){manager->collector_names, options->collector_count};
    struct plan plan;
    enum ap_rc rc = plan_read(manager, &plan, err);
    if (rc != AP_OK) {
        scrape_manager_close(manager);
        return rc;
    }
    take_plan_locked(manager, &plan);
    manager->stats.is_reload_good = 1;
    *ret_manager = manager;
    return AP_OK;
}

void scrape_manager_sync(struct scrape_manager *manager)
{
    pthread_mutex_lock(&manager->mutex);
    for (size_t i = 0; i < manager->pool_count; i++)
        pool_sync_locked(manager, manager->pools[i]);
    pthread_mutex_unlock(&manager->mutex);
}

enum ap_rc scrape_manager_start(struct scrape_manager *manager, struct ap_err *err)
{
    scrape_manager_sync(manager);
    pthread_mutex_lock(&manager->mutex);
    manager->is_started = true;
    enum ap_rc rc = start_finders_locked(manager, err);
    pthread_mutex_unlock(&manager->mutex);
    return rc;
}

static void end_finder(struct finder *finder)
{
    if (finder->has_thread)
        pthread_join(finder->thread, NULL);
    finder->has_thread = false;
}

void scrape_manager_stop(struct scrape_manager *manager)
{
    pthread_mutex_lock(&manager->reload_mutex);
    pthread_mutex_lock(&manager->mutex);
    manager->is_started = false;
    for (size_t i = 0; i < manager->pool_count; i++)
        for (size_t f = 0; f < manager->pools[i]->finder_count; f++)
            finder_tell_end(manager->pools[i]->finders[f]);
    pthread_mutex_unlock(&manager->mutex);
    /* Only a reload changes the pools. */
    for (size_t i = 0; i < manager->pool_count; i++)
        for (size_t f = 0; f < manager->pools[i]->finder_count; f++)
            end_finder(manager->pools[i]->finders[f]);
    pthread_mutex_unlock(&manager->reload_mutex);
}

void scrape_manager_close(struct scrape_manager *manager)
{
    if (!manager)
        return;
    scrape_manager_stop(manager);
    struct plan plan = {.pools = manager->pools, .count = manager->pool_count, .ignored = manager->ignored};
    plan_clear(&plan);
    pthread_mutex_destroy(&manager->mutex);
    pthread_mutex_destroy(&manager->reload_mutex);
    free(manager->collector_names);
    free(manager);
}

char *scrape_manager_ignored(struct scrape_manager *manager)
{
    pthread_mutex_lock(&manager->mutex);
    char *text = ap_strdup(manager->ignored);
    pthread_mutex_unlock(&manager->mutex);
    return text;
}

/* ---- Reading ---- */

/* Those of Alertmanagers are nobody's jobs. */
static size_t job_count_locked(const struct scrape_manager *manager)
{
    size_t count = manager->pool_count;
    while (count > 0 && manager->pools[count - 1]->job->is_alertmanager)
        count--;
    return count;
}

size_t scrape_manager_alertmanager_count(struct scrape_manager *manager)
{
    pthread_mutex_lock(&manager->mutex);
    size_t count = manager->alertmanager_count;
    pthread_mutex_unlock(&manager->mutex);
    return count;
}

static size_t count_moving(const struct pool *pool)
{
    size_t count = 0;
    for (size_t i = 0; i < pool->finder_count; i++)
        count += pool->finders[i]->kind->interval_ms(pool->finders[i]->config) > 0;
    return count;
}

static struct scrape_pool_view view_of(const struct pool *pool)
{
    const struct target_list *list = &pool->list;
    uint64_t limit = pool->job->shown.limits.targets_max;
    return (struct scrape_pool_view){
        .name = pool->job->shown.name,
        .job = &pool->job->shown,
        .relabel = pool->job->relabel,
        .discovery_count = count_moving(pool),
        .target_count = list->count,
        .dropped = list->dropped,
        .dropped_kept = list->dropped_kept,
        .dropped_count = list->dropped_count,
        .failure_count = list->failure_count,
        .failure_reason = list->failure_count ? list->failures[0].reason : NULL,
        .is_over_limit = limit && list->count > limit,
    };
}

void scrape_manager_each_pool(struct scrape_manager *manager, scrape_pool_fn each, void *context)
{
    pthread_mutex_lock(&manager->mutex);
    for (size_t i = 0; i < job_count_locked(manager); i++) {
        const struct scrape_pool_view view = view_of(manager->pools[i]);
        each(&view, context);
    }
    pthread_mutex_unlock(&manager->mutex);
}

bool scrape_manager_pool(struct scrape_manager *manager, struct ap_slice name, scrape_pool_fn each, void *context)
{
    bool is_found = false;
    pthread_mutex_lock(&manager->mutex);
    for (size_t i = 0; i < job_count_locked(manager) && !is_found; i++) {
        const struct scrape_pool_view view = view_of(manager->pools[i]);
        is_found = ap_slice_equal_cstr(name, view.name);
        if (is_found)
            each(&view, context);
    }
    pthread_mutex_unlock(&manager->mutex);
    return is_found;
}

void scrape_manager_stats_get(struct scrape_manager *manager, struct scrape_manager_stats *ret_stats)
{
    pthread_mutex_lock(&manager->mutex);
    *ret_stats = manager->stats;
    ret_stats->pool_count = job_count_locked(manager);
    for (size_t i = 0; i < ret_stats->pool_count; i++) {
        const struct pool *pool = manager->pools[i];
        ret_stats->target_count += pool->list.count;
        ret_stats->dropped_count += pool->list.dropped_count;
        ret_stats->target_failures += pool->list.failure_count;
        ret_stats->discovery_count += pool->finder_count;
    }
    pthread_mutex_unlock(&manager->mutex);
}
