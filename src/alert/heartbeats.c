#include "alert/heartbeats.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "meta/beats.h"
#include "os/thread.h"
#include "rules/world.h"
#include "tsdb/labels.h"

/* Less than promql.lookback_delta by far; a quarter of the shortest time between evaluations would add nothing. */
enum { WRITE_INTERVAL_MS = 15000, SOURCE_BYTES = 64 };

static const uint64_t stale_bits = 0x7ff0000000000002; /* of Prometheus' staleness marker */

enum { SERIES_TIMESTAMP, SERIES_DUE, SERIES_FAILED, SERIES_COUNT };
static const char *const series_names[SERIES_COUNT] = {
    [SERIES_TIMESTAMP] = HEARTBEAT_TIMESTAMP, [SERIES_DUE] = HEARTBEAT_DUE, [SERIES_FAILED] = HEARTBEAT_FAILED};

struct waited {
    /* Constant. */
    const struct heartbeat *heartbeat;  /* lent with the list */
    struct ap_buf labels[SERIES_COUNT]; /* canonical */
    /* Under mtx. */
    int64_t since_ms;
    int64_t last_ms; /* 0: none, as the next */
    int64_t failed_ms;
    int64_t written_ms; /* the time of the last samples */
    bool stays;         /* in the list that took this one's place; under write_mtx */
    char source[SOURCE_BYTES];
};

struct waited_list {
    struct waited *items; /* owned; in order of the settings */
    size_t count;
};

struct heartbeats {
    struct heartbeats_options options; /* constant, but for the list, which is not looked at after the start */
    pthread_t thread;
    bool has_thread;
    /* Held while something is written, to disk or to the store; taken before mtx. */
    pthread_mutex_t write_mtx;
    struct meta *meta; /* under write_mtx, as the next two */
    bool is_stopped;
    struct waited_list before; /* until heartbeats_end_gone() */
    struct waited_list known;  /* changed with both locks, so that either is enough to look */
    /* A leaf lock: what is known. */
    pthread_mutex_t mtx;
    pthread_cond_t changed;
    bool is_ending;
};

static int64_t now_ms(const struct heartbeats *heartbeats)
{
    return ap_clock_wall_us(heartbeats->options.clock) / AP_US_PER_MS;
}

/* ---- What is known of one ---- */

static int64_t due_ms(const struct waited *waited)
{
    return (waited->last_ms ? waited->last_ms : waited->since_ms) + waited->heartbeat->every_ms;
}

static enum heartbeat_state state_at(const struct waited *waited, int64_t at_ms)
{
    int64_t late_ms = at_ms - due_ms(waited);
    if (late_ms > waited->heartbeat->grace_ms)
        return HEARTBEAT_STATE_DOWN;
    if (waited->failed_ms)
        return HEARTBEAT_STATE_FAILED;
    if (late_ms > 0)
        return HEARTBEAT_STATE_LATE;
    return waited->last_ms ? HEARTBEAT_STATE_UP : HEARTBEAT_STATE_WAITING;
}

const char *heartbeat_state_name(enum heartbeat_state state)
{
    static const char *const names[] = {
        [HEARTBEAT_STATE_WAITING] = "waiting", [HEARTBEAT_STATE_UP] = "up",         [HEARTBEAT_STATE_LATE] = "late",
        [HEARTBEAT_STATE_DOWN] = "down",       [HEARTBEAT_STATE_FAILED] = "failed",
    };
    return names[state];
}

static struct waited *find(const struct waited_list *list, struct ap_slice name)
{
    for (size_t i = 0; i < list->count; i++)
        if (ap_slice_equal_cstr(name, list->items[i].heartbeat->name))
            return &list->items[i];
    return NULL;
}

static struct kept_beat kept_of(const struct waited *waited)
{
    return (struct kept_beat){
        .name = waited->heartbeat->name,
        .since_ms = waited->since_ms,
        .beat_ms = waited->last_ms,
        .failed_ms = waited->failed_ms,
        .source = ap_slice_cstr(waited->source),
    };
}

/* ---- Series ---- */

/*
 * A clock that was set back would leave times of beats in the future, and nothing would be due for so long: they count
 * as of now.
 */
static void heed_clock_locked(struct waited *waited, int64_t at_ms)
{
    waited->since_ms = AP_MIN(waited->since_ms, at_ms);
    waited->last_ms = AP_MIN(waited->last_ms, at_ms);
}

/* At most SERIES_COUNT; returns how many. Two samples of a series within a millisecond are a millisecond apart. */
static size_t add_samples_locked(struct waited *waited, int64_t at_ms, struct rules_sample *samples)
{
    heed_clock_locked(waited, at_ms);
    bool is_at_once = at_ms <= waited->written_ms && waited->written_ms - at_ms < 1000;
    int64_t ts_ms = is_at_once ? waited->written_ms + 1 : at_ms;
    waited->written_ms = ts_ms;
    const double values[SERIES_COUNT] = {
        [SERIES_TIMESTAMP] = (double)waited->last_ms / 1e3,
        [SERIES_DUE] = (double)due_ms(waited) / 1e3,
        [SERIES_FAILED] = waited->failed_ms ? 1 : 0,
    };
    size_t count = 0;
    for (size_t i = waited->last_ms ? 0 : SERIES_DUE; i < SERIES_COUNT; i++)
        samples[count++] =
            (struct rules_sample){.labels = ap_buf_slice(&waited->labels[i]), .ts_ms = ts_ms, .value = values[i]};
    return count;
}

static void keep_samples(struct heartbeats *heartbeats, const struct rules_sample *samples, size_t count)
{
    struct ap_err err;
    if (count == 0 || heartbeats->options.keep(heartbeats->options.keep_context, samples, count, &err) == AP_OK)
        return;
    ap_err_prefix(&err, "series of heart-beats");
    heartbeats->options.trouble(&err, heartbeats->options.context);
}

/* With write_mtx. What the store does not take it gets at the next step. */
static void write_series_locked(struct heartbeats *heartbeats, struct waited *items, size_t count)
{
    AP_AUTO_FREE struct rules_sample *samples = ap_new0_array(struct rules_sample, count * SERIES_COUNT + 1);
    size_t sample_count = 0;
    int64_t at_ms = now_ms(heartbeats);
    pthread_mutex_lock(&heartbeats->mtx);
    for (size_t i = 0; i < count; i++)
        sample_count += add_samples_locked(&items[i], at_ms, &samples[sample_count]);
    pthread_mutex_unlock(&heartbeats->mtx);
    keep_samples(heartbeats, samples, sample_count);
}

void heartbeats_step(struct heartbeats *heartbeats)
{
    pthread_mutex_lock(&heartbeats->write_mtx);
    if (!heartbeats->is_stopped)
        write_series_locked(heartbeats, heartbeats->known.items, heartbeats->known.count);
    pthread_mutex_unlock(&heartbeats->write_mtx);
}

/* ---- Beats ---- */

static enum ap_rc take_beat_locked(struct heartbeats *heartbeats, struct waited *waited, bool is_failure,
                                   const char *source, struct ap_err *err)
{
    struct kept_beat kept = kept_of(waited); /* only changed with write_mtx, but for what a clock set back changes */
    kept.beat_ms = now_ms(heartbeats);
    kept.failed_ms = is_failure ? kept.beat_ms : 0;
    kept.source = ap_slice(source, strnlen(source, SOURCE_BYTES - 1));
    enum ap_rc rc = beats_put(heartbeats->meta, &kept, err);
    if (rc != AP_OK)
        return rc;
    pthread_mutex_lock(&heartbeats->mtx);
    waited->last_ms = kept.beat_ms;
    waited->failed_ms = kept.failed_ms;
    memset(waited->source, 0, sizeof(waited->source));
    memcpy(waited->source, kept.source.data, kept.source.bytes);
    pthread_mutex_unlock(&heartbeats->mtx);
    write_series_locked(heartbeats, waited, 1);
    return AP_OK;
}

enum ap_rc heartbeats_beat(struct heartbeats *heartbeats, struct ap_slice name, bool is_failure, const char *source,
                           struct ap_err *err)
{
    enum ap_rc rc;
    pthread_mutex_lock(&heartbeats->write_mtx);
    struct waited *waited = find(&heartbeats->known, name);
    if (!waited)
        rc = ap_fail(err, AP_E_NOT_FOUND, "no heart-beat \"%.*s\" is waited for; add it to heartbeats: in the settings",
                     (int)AP_MIN(name.bytes, (size_t)HEARTBEAT_NAME_BYTES_MAX), name.data);
    else if (heartbeats->is_stopped)
        rc = ap_fail(err, AP_E_BUSY, "the server is ending");
    else
        rc = take_beat_locked(heartbeats, waited, is_failure, source, err);
    pthread_mutex_unlock(&heartbeats->write_mtx);
    return rc;
}

void heartbeats_each(struct heartbeats *heartbeats, heartbeat_fn each, void *context)
{
    int64_t at_ms = now_ms(heartbeats);
    pthread_mutex_lock(&heartbeats->mtx);
    for (size_t i = 0; i < heartbeats->known.count; i++) {
        const struct waited *waited = &heartbeats->known.items[i];
        const struct heartbeat_view view = {
            .heartbeat = waited->heartbeat,
            .state = state_at(waited, at_ms),
            .last_ms = waited->last_ms,
            .due_ms = due_ms(waited),
            .source = waited->source,
        };
        each(&view, context);
    }
    pthread_mutex_unlock(&heartbeats->mtx);
}

/* ---- Which are waited for ---- */

static void waited_list_clear(struct waited_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        for (int series = 0; series < SERIES_COUNT; series++)
            ap_buf_clear(&list->items[i].labels[series]);
    free(list->items);
    *list = (struct waited_list){0};
}

static enum ap_rc set_labels(struct waited *waited, struct ap_err *err)
{
    for (int i = 0; i < SERIES_COUNT; i++) {
        struct label labels[] = {{ap_slice_cstr(LABEL_METRIC_NAME), ap_slice_cstr(series_names[i])},
                                 {ap_slice_cstr("heartbeat"), ap_slice_cstr(waited->heartbeat->name)}};
        enum ap_rc rc = labels_encode(labels, AP_ARRAY_COUNT(labels), &waited->labels[i], err);
        if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}

/* Of which nothing is known yet. */
static enum ap_rc waited_list_make(const struct heartbeat_list *list, struct waited_list *ret_list, struct ap_err *err)
{
    *ret_list = (struct waited_list){.items = ap_new0_array(struct waited, list->count + 1), .count = list->count};
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < list->count && rc == AP_OK; i++) {
        ret_list->items[i].heartbeat = &list->items[i];
        rc = set_labels(&ret_list->items[i], err);
    }
    return rc;
}

/* When each of those that are new was waited for the first time is to be known after a restart, too. */
static enum ap_rc keep_all(struct heartbeats *heartbeats, struct waited_list *list, bool is_changed, struct ap_err *err)
{
    AP_AUTO_FREE struct kept_beat *kept = ap_new0_array(struct kept_beat, list->count + 1);
    for (size_t i = 0; i < list->count; i++) {
        struct waited *waited = &list->items[i];
        is_changed |= waited->since_ms == 0;
        if (waited->since_ms == 0)
            waited->since_ms = now_ms(heartbeats);
        kept[i] = kept_of(waited);
    }
    return is_changed ? beats_put_all(heartbeats->meta, kept, list->count, err) : AP_OK;
}

/* ---- Others than before ---- */

/* What is known of those that stay goes on. True: some of before do not. */
static bool take_over(struct waited_list *list, struct waited_list *before)
{
    bool are_some_gone = false;
    for (size_t i = 0; i < before->count; i++) {
        struct waited *old = &before->items[i];
        struct waited *new = find(list, ap_slice_cstr(old->heartbeat->name));
        old->stays = new != NULL;
        are_some_gone |= !new;
        if (!new)
            continue;
        new->since_ms = old->since_ms;
        new->last_ms = old->last_ms;
        new->failed_ms = old->failed_ms;
        new->written_ms = old->written_ms;
        memcpy(new->source, old->source, sizeof(new->source));
    }
    return are_some_gone;
}

/* With write_mtx. `fresh` becomes what there was before. */
static enum ap_rc exchange_locked(struct heartbeats *heartbeats, struct waited_list *fresh, struct ap_err *err)
{
    if (heartbeats->is_stopped)
        return ap_fail(err, AP_E_BUSY, "the server is ending");
    bool are_some_gone = take_over(fresh, &heartbeats->known);
    enum ap_rc rc = keep_all(heartbeats, fresh, are_some_gone, err);
    if (rc != AP_OK)
        return rc;
    pthread_mutex_lock(&heartbeats->mtx);
    struct waited_list before = heartbeats->known;
    heartbeats->known = *fresh;
    *fresh = before;
    pthread_mutex_unlock(&heartbeats->mtx);
    write_series_locked(heartbeats, heartbeats->known.items, heartbeats->known.count);
    return AP_OK;
}

enum ap_rc heartbeats_reconfigure(struct heartbeats *heartbeats, const struct heartbeat_list *list, struct ap_err *err)
{
    AP_CLEANUP(waited_list_clear) struct waited_list fresh = {0};
    enum ap_rc rc = waited_list_make(list, &fresh, err);
    if (rc != AP_OK)
        return rc;
    pthread_mutex_lock(&heartbeats->write_mtx);
    rc = exchange_locked(heartbeats, &fresh, err);
    if (rc == AP_OK) {
        waited_list_clear(&heartbeats->before);
        heartbeats->before = fresh;
        fresh = (struct waited_list){0};
    }
    pthread_mutex_unlock(&heartbeats->write_mtx);
    return rc;
}

/* With write_mtx. */
static void end_series_locked(struct heartbeats *heartbeats, const struct waited *waited)
{
    struct rules_sample samples[SERIES_COUNT];
    double marker;
    memcpy(&marker, &stale_bits, sizeof(marker));
    int64_t ts_ms = AP_MAX(now_ms(heartbeats), waited->written_ms + 1);
    for (size_t i = 0; i < SERIES_COUNT; i++)
        samples[i] = (struct rules_sample){.labels = ap_buf_slice(&waited->labels[i]), .ts_ms = ts_ms, .value = marker};
    bool has_beaten = waited->last_ms != 0;
    keep_samples(heartbeats, has_beaten ? samples : samples + SERIES_DUE,
                 has_beaten ? SERIES_COUNT : SERIES_COUNT - SERIES_DUE);
}

void heartbeats_end_gone(struct heartbeats *heartbeats)
{
    pthread_mutex_lock(&heartbeats->write_mtx);
    for (size_t i = 0; i < heartbeats->before.count && !heartbeats->is_stopped; i++)
        if (!heartbeats->before.items[i].stays)
            end_series_locked(heartbeats, &heartbeats->before.items[i]);
    waited_list_clear(&heartbeats->before);
    pthread_mutex_unlock(&heartbeats->write_mtx);
}

/* ---- Opening ---- */

struct restoring {
    struct waited_list *list;
    bool is_changed; /* the settings are others than those of before */
};

static void restore(const struct kept_beat *kept, void *context)
{
    struct restoring *restoring = context;
    struct waited *waited = find(restoring->list, ap_slice_cstr(kept->name));
    if (!waited) {
        restoring->is_changed = true;
        return;
    }
    waited->since_ms = kept->since_ms;
    waited->last_ms = kept->beat_ms;
    waited->failed_ms = kept->failed_ms;
    memcpy(waited->source, kept->source.data, AP_MIN(kept->source.bytes, (size_t)SOURCE_BYTES - 1));
}

enum ap_rc heartbeats_open(const struct heartbeats_options *options, struct heartbeats **ret_heartbeats,
                           struct ap_err *err)
{
    AP_AUTO(heartbeats) struct heartbeats *heartbeats = ap_new0(struct heartbeats);
    struct restoring restoring = {.list = &heartbeats->known};
    heartbeats->options = *options;
    heartbeats->options.meta_path = NULL;
    pthread_mutex_init(&heartbeats->write_mtx, NULL);
    pthread_mutex_init(&heartbeats->mtx, NULL);
    os_cond_init(&heartbeats->changed);
    enum ap_rc rc = meta_open(options->meta_path, &heartbeats->meta, err);
    if (rc == AP_OK)
        rc = waited_list_make(options->list, &heartbeats->known, err);
    if (rc == AP_OK)
        rc = beats_each(heartbeats->meta, restore, &restoring, err);
    if (rc == AP_OK)
        rc = keep_all(heartbeats, &heartbeats->known, restoring.is_changed, err);
    if (rc == AP_OK)
        *ret_heartbeats = AP_MOVE(heartbeats);
    return rc;
}

/* ---- The thread ---- */

static void *work(void *context)
{
    struct heartbeats *heartbeats = context;
    bool is_ending = false;
    while (!is_ending) {
        int64_t deadline_us = os_deadline_us(WRITE_INTERVAL_MS);
        pthread_mutex_lock(&heartbeats->mtx);
        while (!heartbeats->is_ending && os_cond_wait_until(&heartbeats->changed, &heartbeats->mtx, deadline_us))
            ;
        is_ending = heartbeats->is_ending;
        pthread_mutex_unlock(&heartbeats->mtx);
        if (!is_ending)
            heartbeats_step(heartbeats);
    }
    return NULL;
}

enum ap_rc heartbeats_start(struct heartbeats *heartbeats, struct ap_err *err)
{
    heartbeats_step(heartbeats);
    enum ap_rc rc = os_thread_start("heartbeats", work, heartbeats, &heartbeats->thread, err);
    heartbeats->has_thread = rc == AP_OK;
    return rc;
}

void heartbeats_stop(struct heartbeats *heartbeats)
{
    if (!heartbeats)
        return;
    pthread_mutex_lock(&heartbeats->mtx);
    heartbeats->is_ending = true;
    pthread_cond_signal(&heartbeats->changed);
    pthread_mutex_unlock(&heartbeats->mtx);
    if (heartbeats->has_thread)
        pthread_join(heartbeats->thread, NULL);
    heartbeats->has_thread = false;
    pthread_mutex_lock(&heartbeats->write_mtx);
    heartbeats->is_stopped = true;
    pthread_mutex_unlock(&heartbeats->write_mtx);
}

void heartbeats_close(struct heartbeats *heartbeats)
{
    if (!heartbeats)
        return;
    heartbeats_stop(heartbeats);
    meta_close(heartbeats->meta);
    waited_list_clear(&heartbeats->known);
    waited_list_clear(&heartbeats->before);
    pthread_cond_destroy(&heartbeats->changed);
    pthread_mutex_destroy(&heartbeats->mtx);
    pthread_mutex_destroy(&heartbeats->write_mtx);
    free(heartbeats);
}
