/*
 * Three kinds of threads. The loop knows when who is due, and speaks HTTP; it never waits for anybody. Desks, one a
 * core, read the pages and give them to the store: a large page keeps one of them busy, and large pages are read one at
 * a time, so that there is always a desk for the others. Collectors' threads are in collect_pool.c.
 *
 *     due ──► loop: fetch ──answers, some together──┐
 *         └─► collectors' threads ──────────────────┴──► queue ──► desk: target_finish() ──► not busy any more
 */
#include "scrape/scraper.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/random.h"
#include "os/thread.h"
#include "scrape/collect_pool.h"
#include "scrape/target.h"

enum {
    DESKS_MAX = 4,
    LARGE_BODY_BYTES = 8 << 20, /* read one at a time */
    USUAL_RATIO = 16,           /* of compressed ones */
    WAIT_MAX_MS = 1000,         /* somebody may set the wall clock */
    CLOCK_SET_BACK_MS = 1000,
    ALIGN_MS_MAX =
        10, /* a scrape that begins so little late is told as begun in time: chunks of even times are small */
    DUE_AT_ONCE = 64,
    DESK_AT_ONCE = 32,  /* answers that a desk takes from the queue together */
    HAND_OVER_MS = 100, /* answers wait so long for others: threads are woken, and the log written, less often */
    HAND_OVER_COUNT = 16,
};

struct pool {
    char *name;              /* owned */
    struct target **targets; /* owned references; by labels */
    size_t count;
};

struct scraper {
    /* Constant. */
    struct scraper_options options;
    struct keeper *keeper;             /* owned */
    struct fetcher *fetcher;           /* owned; the loop's */
    struct collect_pool *collect_pool; /* owned */
    uint64_t cache_seed;
    pthread_t loop_thread;
    bool has_loop_thread;
    pthread_t desk_threads[DESKS_MAX];
    size_t desk_count;
    /* The loop's: answers that wait for others. */
    struct target *answered_first;
    struct target **answered_tail;
    size_t answered_count;
    int64_t answered_us; /* when the first one came */
    /* Under mutex; targets' fields that say so, too. Not held while anything is read, kept or asked. */
    pthread_mutex_t mutex;
    struct pool *pools; /* by name */
    size_t pool_count;
    struct target **heap; /* owned references; the one due first is the first */
    size_t heap_count;
    size_t heap_capacity;
    int64_t seen_ms; /* the wall clock when it was looked at last */
    bool is_closing; /* nobody is asked any more */
    bool is_ending;  /* and no further answer comes */
    struct scraper_stats stats;
    pthread_cond_t queue_changed;
    struct target *queue_first; /* answered, or to be ended */
    struct target **queue_tail;
    bool is_large_read;
};

static int64_t now_ms(const struct scraper *scraper)
{
    return ap_clock_wall_us(scraper->options.clock) / AP_US_PER_MS;
}

/* ---- When: a heap ---- */

static void heap_put(struct scraper *scraper, size_t index, struct target *target)
{
    scraper->heap[index] = target;
    target->heap_index = index;
}

static void heap_up(struct scraper *scraper, size_t index, struct target *target)
{
    for (; index > 0 && scraper->heap[(index - 1) / 2]->due_ms > target->due_ms; index = (index - 1) / 2)
        heap_put(scraper, index, scraper->heap[(index - 1) / 2]);
    heap_put(scraper, index, target);
}

static void heap_down(struct scraper *scraper, size_t index, struct target *target)
{
    for (;;) {
        size_t child = index * 2 + 1;
        if (child + 1 < scraper->heap_count && scraper->heap[child + 1]->due_ms < scraper->heap[child]->due_ms)
            child++;
        if (child >= scraper->heap_count || scraper->heap[child]->due_ms >= target->due_ms)
            break;
        heap_put(scraper, index, scraper->heap[child]);
        index = child;
    }
    heap_put(scraper, index, target);
}

/* Adds it, or moves it to where its due_ms belongs. */
static void heap_set_locked(struct scraper *scraper, struct target *target, int64_t due_ms)
{
    target->due_ms = due_ms;
    if (target->heap_index == SIZE_MAX) {
        if (scraper->heap_count == scraper->heap_capacity) {
            scraper->heap_capacity = AP_MAX(scraper->heap_capacity * 2, (size_t)64);
            scraper->heap = ap_realloc(scraper->heap, scraper->heap_capacity * sizeof(struct target *));
        }
        heap_up(scraper, scraper->heap_count++, target_ref(target));
        return;
    }
    heap_up(scraper, target->heap_index, target);
    heap_down(scraper, target->heap_index, target);
}

/* The heap's reference becomes the caller's. */
static void heap_remove_locked(struct scraper *scraper, struct target *target)
{
    size_t index = target->heap_index;
    struct target *last = scraper->heap[--scraper->heap_count];
    target->heap_index = SIZE_MAX;
    if (last == target)
        return;
    heap_up(scraper, index, last);
    heap_down(scraper, last->heap_index, last);
}

/* The target's first moment behind `ts_ms`: the same in every interval, since 1970 and on every start. */
static int64_t next_due(const struct target *target, int64_t ts_ms)
{
    int64_t interval_ms = target->info->shown.interval_ms;
    int64_t phase_ms = (int64_t)(target->info->shown.hash % (uint64_t)interval_ms);
    return ts_ms - (ts_ms - phase_ms) % interval_ms + interval_ms;
}

/* ---- Desks ---- */

static void enqueue_locked(struct scraper *scraper, struct target *target)
{
    target->next = NULL;
    *scraper->queue_tail = target;
    scraper->queue_tail = &target->next;
    pthread_cond_signal(&scraper->queue_changed);
}

static bool is_large(const struct target *target)
{
    const struct fetch_answer *answer = &target->answer;
    return answer->body.bytes > (answer->is_gzip ? LARGE_BODY_BYTES / USUAL_RATIO : LARGE_BODY_BYTES);
}

/* Large pages wait for each other, and are overtaken by small ones; NULL: nothing that may be taken now. */
static struct target *dequeue_locked(struct scraper *scraper, bool may_be_large)
{
    for (struct target **at = &scraper->queue_first; *at; at = &(*at)->next) {
        struct target *target = *at;
        if (is_large(target) && (scraper->is_large_read || !may_be_large))
            continue;
        *at = target->next;
        if (scraper->queue_tail == &target->next)
            scraper->queue_tail = at;
        return target;
    }
    return NULL;
}

static void note_result_locked(struct scraper *scraper, struct target *target, const struct target_result *result)
{
    bool was_up = target->health == SCRAPE_HEALTH_UP;
    bool is_up = result->err.rc == AP_OK;
    target->health = is_up ? SCRAPE_HEALTH_UP : SCRAPE_HEALTH_DOWN;
    free(target->last_error);
    target->last_error = is_up ? NULL : ap_strdup(result->err.text);
    target->last_scrape_ms = target->ts_ms;
    target->last_duration_us = result->duration_us;
    target->last_samples = result->samples;
    if (!target->is_gone)
        scraper->stats.up_count += (uint64_t)is_up - (uint64_t)was_up;
    scraper->stats.scrapes++;
    scraper->stats.failures += !is_up;
    scraper->stats.samples_scraped += result->samples;
    scraper->stats.samples_refused += result->samples_refused;
    scraper->stats.body_bytes += result->body_bytes;
}

/* The series of one that is gone end when it is certain that it does not come back (as Prometheus waits). */
static void schedule_end_locked(struct scraper *scraper, struct target *target)
{
    int64_t interval_ms = target->info->shown.interval_ms;
    target->stale_ms = next_due(target, now_ms(scraper));
    if (target->last_scrape_ms)
        heap_set_locked(scraper, target, target->stale_ms + interval_ms + interval_ms / 10);
}

static bool was_not_asked(const struct target *target)
{
    return !target->is_ending && target->answer.is_given_up;
}

/* Everything of these is in the store. */
static void release_locked(struct scraper *scraper, struct target *target, const struct target_result *result)
{
    target->is_busy = false;
    if (target->is_ending)
        return;
    note_result_locked(scraper, target, result);
    if (target->is_gone)
        schedule_end_locked(scraper, target);
}

/* What a desk has taken from the queue. */
struct sitting {
    struct target *targets[DESK_AT_ONCE];
    struct target_result results[DESK_AT_ONCE];
    size_t held_bytes[DESK_AT_ONCE];
    size_t count;
    bool has_large;
};

static void take_sitting_locked(struct scraper *scraper, struct sitting *sitting)
{
    sitting->count = 0;
    sitting->has_large = false;
    while (sitting->count < DESK_AT_ONCE && !sitting->has_large) {
        struct target *target = dequeue_locked(scraper, sitting->count == 0);
        if (!target)
            break;
        sitting->has_large = is_large(target);
        sitting->targets[sitting->count++] = target;
    }
    scraper->is_large_read |= sitting->has_large;
}

static void finish_sitting(struct scraper *scraper, struct sitting *sitting, struct target_desk *desk)
{
    for (size_t i = 0; i < sitting->count; i++) {
        struct target *target = sitting->targets[i];
        bool is_fetched = target->asked && !target->asked->shown.job->collector;
        sitting->held_bytes[i] = is_fetched ? target->answer.body.bytes : 0;
        if (target->is_ending)
            target_end(target, desk);
        else if (!was_not_asked(target))
            target_finish(target, desk, &sitting->results[i]);
        if (sitting->held_bytes[i])
            fetcher_release(scraper->fetcher, sitting->held_bytes[i]);
    }
    uint64_t refused = target_desk_flush(desk);
    struct target_info *asked[DESK_AT_ONCE];
    pthread_mutex_lock(&scraper->mutex);
    scraper->stats.samples_refused += refused;
    for (size_t i = 0; i < sitting->count; i++) {
        struct target *target = sitting->targets[i];
        asked[i] = target->asked;
        target->asked = NULL;
        if (!was_not_asked(target))
            release_locked(scraper, target, &sitting->results[i]);
    }
    if (sitting->has_large) {
        scraper->is_large_read = false;
        pthread_cond_broadcast(&scraper->queue_changed);
    }
    pthread_mutex_unlock(&scraper->mutex);
    for (size_t i = 0; i < sitting->count; i++) {
        target_info_unref(asked[i]);
        target_unref(sitting->targets[i]);
    }
}

static void *desk_main(void *context)
{
    struct scraper *scraper = context;
    struct target_desk desk;
    AP_AUTO_FREE struct sitting *sitting = ap_new0(struct sitting);
    target_desk_init(&desk, scraper->keeper);
    desk.is_wanting_start_times = scraper->options.is_injecting_start_zeros;
    desk.trouble = scraper->options.trouble;
    desk.context = scraper->options.context;
    for (;;) {
        pthread_mutex_lock(&scraper->mutex);
        take_sitting_locked(scraper, sitting);
        while (sitting->count == 0 && !scraper->is_ending) {
            pthread_cond_wait(&scraper->queue_changed, &scraper->mutex);
            take_sitting_locked(scraper, sitting);
        }
        pthread_mutex_unlock(&scraper->mutex);
        if (sitting->count == 0)
            break;
        finish_sitting(scraper, sitting, &desk);
    }
    target_desk_clear(&desk);
    return NULL;
}

/* ---- The loop ---- */

static void hand_over(struct scraper *scraper)
{
    pthread_mutex_lock(&scraper->mutex);
    *scraper->queue_tail = scraper->answered_first;
    scraper->queue_tail = scraper->answered_tail;
    pthread_cond_signal(&scraper->queue_changed);
    pthread_mutex_unlock(&scraper->mutex);
    scraper->answered_first = NULL;
    scraper->answered_tail = &scraper->answered_first;
    scraper->answered_count = 0;
}

/* How long the loop may wait at most. */
static int hand_over_when_due(struct scraper *scraper, int wait_ms)
{
    if (scraper->answered_count == 0)
        return wait_ms;
    int64_t waited_us = ap_clock_monotonic_us(&ap_clock_system) - scraper->answered_us;
    int64_t left_ms = HAND_OVER_MS - waited_us / AP_US_PER_MS;
    if (left_ms > 0 && scraper->answered_count < HAND_OVER_COUNT)
        return (int)AP_MIN(left_ms, (int64_t)wait_ms);
    hand_over(scraper);
    return wait_ms;
}

struct fetching {
    struct scraper *scraper;
    struct target *target;
};

static void on_fetch_answered(void *context, struct fetch_answer *answer)
{
    struct fetching *fetching = context;
    struct scraper *scraper = fetching->scraper;
    struct target *target = fetching->target;
    free(fetching);
    target->answer = *answer;
    target->next = NULL;
    *scraper->answered_tail = target;
    scraper->answered_tail = &target->next;
    if (scraper->answered_count++ == 0)
        scraper->answered_us = ap_clock_monotonic_us(&ap_clock_system);
    if (is_large(target))
        scraper->answered_count = HAND_OVER_COUNT; /* it holds memory */
}

static void on_collected(void *context, struct target *target)
{
    struct scraper *scraper = context;
    pthread_mutex_lock(&scraper->mutex);
    enqueue_locked(scraper, target);
    pthread_mutex_unlock(&scraper->mutex);
}

/* The reference is the scrape's. */
static void begin_scrape(struct scraper *scraper, struct target *target)
{
    const struct scrape_target *shown = &target->asked->shown;
    target->began_us = ap_clock_monotonic_us(&ap_clock_system);
    if (shown->too_many) {
        target->answer = (struct fetch_answer){.is_gzip = false};
        (void)ap_fail(&target->answer.err, AP_E_LIMIT,
                      "target_limit exceeded (number of targets: %" PRIu64 ", limit: %" PRIu64 ")", shown->too_many,
                      shown->job->limits.targets_max);
        on_collected(scraper, target);
        return;
    }
    if (shown->job->collector) {
        collect_pool_ask(scraper->collect_pool, target);
        return;
    }
    struct fetching *fetching = ap_new0(struct fetching);
    *fetching = (struct fetching){scraper, target};
    struct fetch_request request = {.job = shown->job, .url = shown->url, .timeout_ms = shown->timeout_ms};
    fetcher_start(scraper->fetcher, &request, on_fetch_answered, fetching);
}

static int64_t scrape_ts(const struct target *target, int64_t due_ms, int64_t at_ms)
{
    int64_t tolerance_ms = AP_MIN(target->info->shown.interval_ms / 100, (int64_t)ALIGN_MS_MAX);
    return at_ms - due_ms <= tolerance_ms ? due_ms : at_ms;
}

/* Takes one that is due out of the heap, or puts it back for the next time. True: it is to be asked. */
static bool take_due_locked(struct scraper *scraper, struct target *target, int64_t at_ms)
{
    int64_t due_ms = target->due_ms;
    if (target->is_gone) {
        heap_remove_locked(scraper, target);
        if (target->is_busy) { /* its end is scheduled when it is not any more */
            target_unref(target);
            return false;
        }
        target->is_busy = true;
        target->is_ending = true;
        enqueue_locked(scraper, target); /* with the heap's reference */
        return false;
    }
    int64_t next_ms = next_due(target, at_ms);
    scraper->stats.missed += (uint64_t)((next_ms - due_ms) / target->info->shown.interval_ms - 1) + target->is_busy;
    heap_set_locked(scraper, target, next_ms);
    if (target->is_busy)
        return false;
    target->is_busy = true;
    target->asked = target_info_ref(target->info);
    target->ts_ms = scrape_ts(target, next_ms - target->info->shown.interval_ms, at_ms);
    (void)target_ref(target);
    return true;
}

/* Somebody set the clock back: who would wait for the old time is due by the new one. */
static void start_over_locked(struct scraper *scraper, int64_t at_ms)
{
    for (size_t i = 0; i < scraper->heap_count; i++)
        scraper->heap[i]->due_ms = next_due(scraper->heap[i], at_ms);
    for (size_t i = scraper->heap_count / 2; i-- > 0;)
        heap_down(scraper, i, scraper->heap[i]);
}

static size_t take_all_due_locked(struct scraper *scraper, struct target *due[DUE_AT_ONCE], int *ret_wait_ms)
{
    size_t count = 0;
    int64_t at_ms = now_ms(scraper);
    if (at_ms < scraper->seen_ms - CLOCK_SET_BACK_MS)
        start_over_locked(scraper, at_ms);
    scraper->seen_ms = at_ms;
    *ret_wait_ms = WAIT_MAX_MS;
    while (count < DUE_AT_ONCE && scraper->heap_count && scraper->heap[0]->due_ms <= at_ms) {
        struct target *target = scraper->heap[0];
        if (take_due_locked(scraper, target, at_ms))
            due[count++] = target;
    }
    if (scraper->heap_count) {
        int64_t left_us = scraper->heap[0]->due_ms * AP_US_PER_MS - ap_clock_wall_us(scraper->options.clock);
        int64_t left_ms = left_us <= 0 ? 0 : (left_us + AP_US_PER_MS - 1) / AP_US_PER_MS;
        *ret_wait_ms = (int)AP_MIN(left_ms, (int64_t)WAIT_MAX_MS);
    }
    return count;
}

static void *loop_main(void *context)
{
    struct scraper *scraper = context;
    for (;;) {
        struct target *due[DUE_AT_ONCE];
        int wait_ms;
        pthread_mutex_lock(&scraper->mutex);
        bool is_closing = scraper->is_closing;
        size_t count = is_closing ? 0 : take_all_due_locked(scraper, due, &wait_ms);
        pthread_mutex_unlock(&scraper->mutex);
        if (is_closing) {
            if (scraper->answered_count)
                hand_over(scraper);
            return NULL;
        }
        for (size_t i = 0; i < count; i++)
            begin_scrape(scraper, due[i]);
        fetcher_wait(scraper->fetcher, hand_over_when_due(scraper, wait_ms));
    }
}

/* ---- Which targets ---- */

static struct pool *find_pool_locked(struct scraper *scraper, const char *name)
{
    size_t at = 0;
    int order = -1;
    while (at < scraper->pool_count && (order = strcmp(scraper->pools[at].name, name)) < 0)
        at++;
    if (at < scraper->pool_count && order == 0)
        return &scraper->pools[at];
    scraper->pools = ap_realloc(scraper->pools, (scraper->pool_count + 1) * sizeof(*scraper->pools));
    memmove(&scraper->pools[at + 1], &scraper->pools[at], (scraper->pool_count - at) * sizeof(*scraper->pools));
    scraper->pools[at] = (struct pool){.name = ap_strdup(name)};
    scraper->pool_count++;
    return &scraper->pools[at];
}

static void remove_pool_locked(struct scraper *scraper, struct pool *pool)
{
    size_t at = (size_t)(pool - scraper->pools);
    free(pool->name);
    free(pool->targets);
    memmove(pool, pool + 1, (scraper->pool_count - at - 1) * sizeof(*pool));
    scraper->pool_count--;
}

static int compare_shown(const struct scrape_target *a, const struct scrape_target *b)
{
    int order = labels_compare(a->labels, b->labels);
    return order ? order : strcmp(a->url, b->url);
}

static int compare_told(const void *a, const void *b)
{
    return compare_shown(*(const struct scrape_target *const *)a, *(const struct scrape_target *const *)b);
}

/* The same target by another job or at another pace. */
static void renew_locked(struct scraper *scraper, struct target *target, const struct scrape_target *told)
{
    int64_t interval_ms = target->info->shown.interval_ms;
    struct target_info *before = target->info;
    target->info = target_info_new(told);
    target_info_unref(before);
    if (told->interval_ms != interval_ms)
        heap_set_locked(scraper, target, next_due(target, now_ms(scraper)));
}

static void add_target_locked(struct scraper *scraper, struct target *target)
{
    scraper->stats.target_count++;
    scraper->stats.up_count += target->health == SCRAPE_HEALTH_UP;
    heap_set_locked(scraper, target, next_due(target, now_ms(scraper)));
}

static void drop_target_locked(struct scraper *scraper, struct target *target)
{
    scraper->stats.target_count--;
    scraper->stats.up_count -= target->health == SCRAPE_HEALTH_UP;
    target->is_gone = true;
    if (!target->is_busy && target->last_scrape_ms) {
        schedule_end_locked(scraper, target);
    } else if (target->heap_index != SIZE_MAX) {
        heap_remove_locked(scraper, target);
        target_unref(target);
    }
    target_unref(target);
}

void scraper_sync(struct scraper *scraper, const char *pool_name, const struct scrape_target *const *targets,
                  size_t count)
{
    const struct scrape_target **told = ap_new0_array(const struct scrape_target *, count + 1);
    if (count)
        memcpy(told, targets, count * sizeof(*told));
    qsort(told, count, sizeof(*told), compare_told);
    struct target **kept = ap_new0_array(struct target *, count + 1);
    size_t kept_count = 0;
    pthread_mutex_lock(&scraper->mutex);
    struct pool *pool = find_pool_locked(scraper, pool_name);
    size_t old = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && compare_shown(told[i - 1], told[i]) == 0)
            continue; /* said twice */
        int order = -1;
        while (old < pool->count && (order = compare_shown(&pool->targets[old]->info->shown, told[i])) < 0)
            drop_target_locked(scraper, pool->targets[old++]);
        if (old < pool->count && order == 0) {
            renew_locked(scraper, pool->targets[old], told[i]);
            kept[kept_count++] = pool->targets[old++];
            continue;
        }
        struct target *target = target_new(told[i], scraper->cache_seed, keeper_hash_seed(scraper->keeper));
        add_target_locked(scraper, target);
        kept[kept_count++] = target;
    }
    while (old < pool->count)
        drop_target_locked(scraper, pool->targets[old++]);
    free(pool->targets);
    pool->targets = kept;
    pool->count = kept_count;
    if (kept_count == 0)
        remove_pool_locked(scraper, pool);
    pthread_mutex_unlock(&scraper->mutex);
    fetcher_wake(scraper->fetcher);
    free(told);
}

/* ---- The scraper ---- */

static enum ap_rc start_threads(struct scraper *scraper, struct ap_err *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t wanted = (size_t)AP_MAX(2, AP_MIN(cores, (long)DESKS_MAX));
    for (; scraper->desk_count < wanted; scraper->desk_count++) {
        enum ap_rc rc =
            os_thread_start("scrape-desk", desk_main, scraper, &scraper->desk_threads[scraper->desk_count], err);
        if (rc != AP_OK)
            return rc;
    }
    enum ap_rc rc = os_thread_start("scrape-loop", loop_main, scraper, &scraper->loop_thread, err);
    scraper->has_loop_thread = rc == AP_OK;
    return rc;
}

enum ap_rc scraper_open(const struct scraper_options *options, struct scraper **ret_scraper, struct ap_err *err)
{
    AP_AUTO(scraper) struct scraper *scraper = ap_new0(struct scraper);
    scraper->options = *options;
    scraper->cache_seed = ap_random_system_seed();
    scraper->queue_tail = &scraper->queue_first;
    scraper->answered_tail = &scraper->answered_first;
    pthread_mutex_init(&scraper->mutex, NULL);
    pthread_cond_init(&scraper->queue_changed, NULL);
    scraper->keeper = keeper_new(&(struct keeper_options){
        .tsdb = options->tsdb, .append = options->append, .trouble = options->trouble, .context = options->context});
    scraper->collect_pool =
        collect_pool_new(options->collectors, options->collector_count, &ap_clock_system, on_collected, scraper);
    enum ap_rc rc = fetcher_open(&scraper->fetcher, err);
    if (rc == AP_OK)
        rc = start_threads(scraper, err);
    if (rc != AP_OK)
        return rc;
    *ret_scraper = AP_MOVE(scraper);
    return AP_OK;
}

static void free_targets(struct scraper *scraper)
{
    for (size_t i = 0; i < scraper->heap_count; i++)
        target_unref(scraper->heap[i]);
    free(scraper->heap);
    for (size_t i = 0; i < scraper->pool_count; i++) {
        for (size_t j = 0; j < scraper->pools[i].count; j++)
            target_unref(scraper->pools[i].targets[j]);
        free(scraper->pools[i].targets);
        free(scraper->pools[i].name);
    }
    free(scraper->pools);
}

void scraper_stop(struct scraper *scraper)
{
    if (!scraper->keeper)
        return; /* it has been stopped, or was never opened */
    pthread_mutex_lock(&scraper->mutex);
    scraper->is_closing = true;
    pthread_mutex_unlock(&scraper->mutex);
    if (scraper->has_loop_thread) {
        fetcher_wake(scraper->fetcher);
        pthread_join(scraper->loop_thread, NULL);
    }
    collect_pool_free(scraper->collect_pool);
    pthread_mutex_lock(&scraper->mutex);
    scraper->is_ending = true;
    pthread_cond_broadcast(&scraper->queue_changed);
    pthread_mutex_unlock(&scraper->mutex);
    for (size_t i = 0; i < scraper->desk_count; i++)
        pthread_join(scraper->desk_threads[i], NULL);
    fetcher_close(scraper->fetcher);
    while (scraper->answered_first) { /* that the fetcher has given up */
        struct target *target = scraper->answered_first;
        scraper->answered_first = target->next;
        target_unref(target);
    }
    keeper_free(scraper->keeper);
    scraper->keeper = NULL;
}

void scraper_close(struct scraper *scraper)
{
    if (!scraper)
        return;
    scraper_stop(scraper);
    free_targets(scraper);
    pthread_cond_destroy(&scraper->queue_changed);
    pthread_mutex_destroy(&scraper->mutex);
    free(scraper);
}

/* ---- Reading ---- */

struct shown_target {
    struct target *target; /* owned reference */
    char *pool;            /* owned */
};

/* A list of all, so that nobody waits while they are looked at. */
static struct shown_target *list_targets(struct scraper *scraper, size_t *ret_count)
{
    pthread_mutex_lock(&scraper->mutex);
    size_t count = 0;
    for (size_t i = 0; i < scraper->pool_count; i++)
        count += scraper->pools[i].count;
    struct shown_target *list = ap_new0_array(struct shown_target, count + 1);
    count = 0;
    for (size_t i = 0; i < scraper->pool_count; i++)
        for (size_t j = 0; j < scraper->pools[i].count; j++)
            list[count++] =
                (struct shown_target){target_ref(scraper->pools[i].targets[j]), ap_strdup(scraper->pools[i].name)};
    pthread_mutex_unlock(&scraper->mutex);
    *ret_count = count;
    return list;
}

static void free_list(struct shown_target *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        target_unref(list[i].target);
        free(list[i].pool);
    }
    free(list);
}

void scraper_each_target(struct scraper *scraper, scraper_target_fn each, void *context)
{
    size_t count;
    struct shown_target *list = list_targets(scraper, &count);
    for (size_t i = 0; i < count; i++) {
        struct target *target = list[i].target;
        pthread_mutex_lock(&scraper->mutex);
        struct target_info *info = target_info_ref(target->info);
        AP_AUTO_FREE char *last_error = ap_strdup(target->last_error ? target->last_error : "");
        struct scraper_target_view view = {
            .target = &info->shown,
            .pool = list[i].pool,
            .health = target->health,
            .last_error = last_error,
            .last_scrape_ms = target->last_scrape_ms,
            .last_duration_us = target->last_duration_us,
            .last_samples = target->last_samples,
        };
        pthread_mutex_unlock(&scraper->mutex);
        each(&view, context);
        target_info_unref(info);
    }
    free_list(list, count);
}

struct telling {
    const struct scrape_target *shown;
    scraper_metadata_fn each;
    void *context;
    bool is_going_on;
};

static bool tell_metadata(const struct batch_metadata *metadata, void *context)
{
    struct telling *telling = context;
    telling->is_going_on = telling->each(telling->shown, metadata, telling->context);
    return telling->is_going_on;
}

void scraper_each_metadata(struct scraper *scraper, scraper_metadata_fn each, void *context)
{
    size_t count;
    struct shown_target *list = list_targets(scraper, &count);
    struct telling telling = {.each = each, .context = context, .is_going_on = true};
    for (size_t i = 0; i < count && telling.is_going_on; i++) {
        struct target *target = list[i].target;
        pthread_mutex_lock(&scraper->mutex);
        struct target_info *info = target_info_ref(target->info);
        pthread_mutex_unlock(&scraper->mutex);
        telling.shown = &info->shown;
        pthread_mutex_lock(&target->cache_mutex);
        page_each_metadata(&target->cache, tell_metadata, &telling);
        pthread_mutex_unlock(&target->cache_mutex);
        target_info_unref(info);
    }
    free_list(list, count);
}

void scraper_stats_get(struct scraper *scraper, struct scraper_stats *ret_stats)
{
    pthread_mutex_lock(&scraper->mutex);
    *ret_stats = scraper->stats;
    pthread_mutex_unlock(&scraper->mutex);
}
