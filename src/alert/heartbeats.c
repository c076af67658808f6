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

enum { SERIES_TIMESTAMP, SERIES_DUE, SERIES_FAILED, SERIES_COUNT };
static const char *const series_names[SERIES_COUNT] = {
    [SERIES_TIMESTAMP] = HEARTBEAT_TIMESTAMP, [SERIES_DUE] = HEARTBEAT_DUE, [SERIES_FAILED] = HEARTBEAT_FAILED};

struct waited {
    /* Constant. */
    const struct heartbeat *heartbeat;
    struct ap_buf labels[SERIES_COUNT]; /* canonical */
    /* Under mtx. */
    int64_t since_ms;
    int64_t last_ms; /* 0: none, as the next */
    int64_t failed_ms;
    int64_t written_ms; /* the time of the last samples */
    char source[SOURCE_BYTES];
};

struct heartbeats {
    struct heartbeats_options options; /* constant */
    struct waited *items;              /* owned; in order of the list */
    size_t count;
    pthread_t thread;
    bool has_thread;
    /* Held while something is written, to disk or to the store; taken before mtx. */
    pthread_mutex_t write_mtx;
    struct meta *meta; /* under write_mtx */
    bool is_stopped;   /* the same */
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

static struct waited *find(struct heartbeats *heartbeats, struct ap_slice name)
{
    for (size_t i = 0; i < heartbeats->count; i++)
        if (ap_slice_equal_cstr(name, heartbeats->items[i].heartbeat->name))
            return &heartbeats->items[i];
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

/* With write_mtx. What the store does not take it gets at the next step. */
static void write_series_locked(struct heartbeats *heartbeats, struct waited *items, size_t count)
{
    AP_AUTO_FREE struct rules_sample *samples = ap_new0_array(struct rules_sample, count * SERIES_COUNT);
    size_t sample_count = 0;
    int64_t at_ms = now_ms(heartbeats);
    pthread_mutex_lock(&heartbeats->mtx);
    for (size_t i = 0; i < count; i++)
        sample_count += add_samples_locked(&items[i], at_ms, &samples[sample_count]);
    pthread_mutex_unlock(&heartbeats->mtx);
    struct ap_err err;
    if (heartbeats->options.keep(heartbeats->options.keep_context, samples, sample_count, &err) != AP_OK) {
        ap_err_prefix(&err, "series of heart-beats");
        heartbeats->options.trouble(&err, heartbeats->options.context);
    }
}

void heartbeats_step(struct heartbeats *heartbeats)
{
    pthread_mutex_lock(&heartbeats->write_mtx);
    if (!heartbeats->is_stopped && heartbeats->count)
        write_series_locked(heartbeats, heartbeats->items, heartbeats->count);
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
    struct waited *waited = find(heartbeats, name);
    if (!waited)
        return ap_fail(err, AP_E_NOT_FOUND,
                       "no heart-beat \"%.*s\" is waited for; add it to heartbeats: in the settings",
                       (int)AP_MIN(name.bytes, (size_t)HEARTBEAT_NAME_BYTES_MAX), name.data);
    pthread_mutex_lock(&heartbeats->write_mtx);
    enum ap_rc rc = heartbeats->is_stopped ? ap_fail(err, AP_E_BUSY, "the server is ending")
                                           : take_beat_locked(heartbeats, waited, is_failure, source, err);
    pthread_mutex_unlock(&heartbeats->write_mtx);
    return rc;
}

void heartbeats_each(struct heartbeats *heartbeats, heartbeat_fn each, void *context)
{
    int64_t at_ms = now_ms(heartbeats);
    pthread_mutex_lock(&heartbeats->mtx);
    for (size_t i = 0; i < heartbeats->count; i++) {
        const struct waited *waited = &heartbeats->items[i];
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

/* ---- Opening ---- */

struct restoring {
    struct heartbeats *heartbeats;
    bool is_changed; /* the settings are others than those of before */
};

static void restore(const struct kept_beat *kept, void *context)
{
    struct restoring *restoring = context;
    struct waited *waited = find(restoring->heartbeats, ap_slice_cstr(kept->name));
    if (!waited) {
        restoring->is_changed = true;
        return;
    }
    waited->since_ms = kept->since_ms;
    waited->last_ms = kept->beat_ms;
    waited->failed_ms = kept->failed_ms;
    memcpy(waited->source, kept->source.data, AP_MIN(kept->source.bytes, (size_t)SOURCE_BYTES - 1));
}

/* When each of those that are new was waited for the first time is to be known after a restart, too. */
static enum ap_rc restore_all(struct heartbeats *heartbeats, struct ap_err *err)
{
    struct restoring restoring = {.heartbeats = heartbeats};
    enum ap_rc rc = beats_each(heartbeats->meta, restore, &restoring, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO_FREE struct kept_beat *kept = ap_new0_array(struct kept_beat, heartbeats->count + 1);
    for (size_t i = 0; i < heartbeats->count; i++) {
        struct waited *waited = &heartbeats->items[i];
        restoring.is_changed |= waited->since_ms == 0;
        if (waited->since_ms == 0)
            waited->since_ms = now_ms(heartbeats);
        kept[i] = kept_of(waited);
    }
    return restoring.is_changed ? beats_put_all(heartbeats->meta, kept, heartbeats->count, err) : AP_OK;
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

enum ap_rc heartbeats_open(const struct heartbeats_options *options, struct heartbeats **ret_heartbeats,
                           struct ap_err *err)
{
    AP_AUTO(heartbeats) struct heartbeats *heartbeats = ap_new0(struct heartbeats);
    heartbeats->options = *options;
    heartbeats->options.meta_path = NULL;
    pthread_mutex_init(&heartbeats->write_mtx, NULL);
    pthread_mutex_init(&heartbeats->mtx, NULL);
    os_cond_init(&heartbeats->changed);
    heartbeats->count = options->list->count;
    heartbeats->items = ap_new0_array(struct waited, heartbeats->count + 1);
    enum ap_rc rc = meta_open(options->meta_path, &heartbeats->meta, err);
    for (size_t i = 0; i < heartbeats->count && rc == AP_OK; i++) {
        heartbeats->items[i].heartbeat = &options->list->items[i];
        rc = set_labels(&heartbeats->items[i], err);
    }
    if (rc == AP_OK)
        rc = restore_all(heartbeats, err);
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
    if (heartbeats->count == 0)
        return AP_OK;
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
    for (size_t i = 0; i < heartbeats->count; i++)
        for (int series = 0; series < SERIES_COUNT; series++)
            ap_buf_clear(&heartbeats->items[i].labels[series]);
    free(heartbeats->items);
    pthread_cond_destroy(&heartbeats->changed);
    pthread_mutex_destroy(&heartbeats->mtx);
    pthread_mutex_destroy(&heartbeats->write_mtx);
    free(heartbeats);
}
