#include "alert/alerting.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "alert/alerting_internal.h"
#include "base/buf.h"

enum {
    TIDY_INTERVAL_MS = 30 * 1000,        /* empty groups, alerts that have ended, what was told long ago */
    SILENCE_KEPT_MS = 120 * 3600 * 1000, /* Alertmanager's data.retention */
    CLOCK_JUMP_MS = 10 * 1000,           /* the clocks may differ by so much without one having been set */
    RECORD_BYTES = 1 << 20,              /* about; the log takes no records that are much larger */
};

static void tell_changed(const struct alerting *alerting)
{
    if (alerting->options.changed)
        alerting->options.changed(alerting->options.context);
}

const struct inhibitor *alerting_inhibitor_locked(struct alerting *alerting, int64_t now_ms)
{
    if (alerting->is_inhibitor_old)
        inhibitor_update(alerting->inhibitor, &alerting->alerts, now_ms);
    alerting->is_inhibitor_old = false;
    return alerting->inhibitor;
}

/* ---- Alerts in ---- */

/* Ends that only move on need not be on disk: after a restart what was firing is given time to be told again. */
static bool must_be_noted(const struct known_alert *before, const struct alert_in *in, int64_t at_ms)
{
    bool was_resolved = before->alert.ends_ms <= at_ms;
    bool is_resolved = in->ends_ms != 0 && in->ends_ms <= at_ms;
    return before->is_unkept || was_resolved || is_resolved ||
           (in->starts_ms && in->starts_ms < before->alert.starts_ms) ||
           !ap_slice_equal(before->alert.annotations, in->annotations) ||
           !ap_slice_equal(before->alert.generator_url, in->generator_url);
}

static enum ap_rc take_locked(struct alerting *alerting, const struct alert_in *in, int64_t at_ms, struct ap_buf *bytes,
                              struct ap_err *err)
{
    struct known_alert *known = alert_set_find(&alerting->alerts, labels_hash_of(alerting->alerts.seed, in->labels));
    bool is_noted = !known || must_be_noted(known, in, at_ms);
    known = alert_set_put(&alerting->alerts, in, at_ms, alerting->hold->config->global.resolve_timeout_ms,
                          alerting->options.alerts_max);
    if (!known) {
        alerting->stats.alerts_refused++;
        return ap_fail(err, AP_E_LIMIT, "there are %" PRIu64 " alerts already", alerting->options.alerts_max);
    }
    alerting->stats.alerts_received++;
    if (is_noted) {
        journal_add_alert(bytes, known);
        known->is_unkept = false;
        alerting->is_inhibitor_old = alerting->is_inhibitor_old || inhibitor_is_source(alerting->inhibitor, in->labels);
    }
    dispatch_place_locked(alerting, known, at_ms);
    return AP_OK;
}

/* The log did not take them: when they are told again they are news. */
static void mark_unkept_locked(struct alerting *alerting, const struct alert_in *alerts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct known_alert *known =
            alert_set_find(&alerting->alerts, labels_hash_of(alerting->alerts.seed, alerts[i].labels));
        if (known)
            known->is_unkept = true;
    }
}

/* In records that the log takes; done() is the last one's, before which the others are on disk. */
struct putting {
    struct alerting *alerting;
    const struct alert_in *alerts;
    size_t submitted_count;
    struct ap_buf bytes;
    bool is_waiting; /* done() will be called */
};

static enum ap_rc submit_locked(struct putting *putting, size_t end, void (*done)(void *context, enum ap_rc rc),
                                void *context, struct ap_err *err)
{
    struct alerting *alerting = putting->alerting;
    enum ap_rc rc = AP_OK;
    if (alerting->keeper && putting->bytes.bytes > 1) {
        rc = keeper_submit(alerting->keeper, &putting->bytes, done, context, err);
        putting->is_waiting = rc == AP_OK && done;
    }
    if (rc != AP_OK)
        mark_unkept_locked(alerting, putting->alerts + putting->submitted_count, end - putting->submitted_count);
    putting->submitted_count = end;
    ap_buf_clear(&putting->bytes);
    journal_begin(&putting->bytes);
    return rc;
}

enum ap_rc alerting_put(struct alerting *alerting, const struct alert_in *alerts, size_t count,
                        void (*done)(void *context, enum ap_rc rc), void *context, struct ap_err *err)
{
    struct putting putting = {.alerting = alerting, .alerts = alerts};
    enum ap_rc rc = AP_OK;
    journal_begin(&putting.bytes);
    pthread_mutex_lock(&alerting->mutex);
    int64_t at_ms = alerting_now_ms(alerting);
    for (size_t i = 0; i < count; i++) {
        struct ap_err reason = {0};
        enum ap_rc one = AP_OK;
        if (putting.bytes.bytes > RECORD_BYTES)
            one = submit_locked(&putting, i, NULL, NULL, &reason);
        if (one == AP_OK)
            one = take_locked(alerting, &alerts[i], at_ms, &putting.bytes, &reason);
        if (one != AP_OK && rc == AP_OK)
            *err = reason;
        rc = rc == AP_OK ? one : rc;
    }
    struct ap_err reason;
    enum ap_rc last = submit_locked(&putting, count, rc == AP_OK ? done : NULL, context, rc == AP_OK ? err : &reason);
    rc = rc == AP_OK ? last : rc;
    pthread_mutex_unlock(&alerting->mutex);
    ap_buf_clear(&putting.bytes);
    tell_changed(alerting);
    if (rc == AP_OK && !putting.is_waiting)
        done(context, AP_OK);
    return rc;
}

/* ---- Work ---- */

static void forget_ended_locked(struct alerting *alerting, int64_t at_ms)
{
    AP_AUTO_FREE struct known_alert **ended = ap_new0_array(struct known_alert *, alerting->alerts.count + 1);
    size_t count = 0;
    for (size_t i = 0; i < alerting->alerts.slot_count; i++) {
        struct known_alert *alert = alerting->alerts.slots[i];
        if (alert && alert->group_count == 0 && known_alert_is_resolved(alert, at_ms))
            ended[count++] = alert;
    }
    struct ap_buf bytes = {0};
    journal_begin(&bytes);
    for (size_t i = 0; i < count; i++) {
        journal_add_removal(&bytes, ended[i]);
        alert_set_remove(&alerting->alerts, ended[i]);
        if (bytes.bytes > RECORD_BYTES || i + 1 == count) {
            keeper_note(alerting->keeper, &bytes);
            journal_begin(&bytes);
        }
    }
    ap_buf_clear(&bytes);
    alerting->is_inhibitor_old |= count > 0; /* it may point to one of them */
}

static void tidy_locked(struct alerting *alerting, int64_t at_ms)
{
    dispatch_tidy_locked(alerting);
    forget_ended_locked(alerting, at_ms);
    silence_set_forget(&alerting->silences, at_ms - SILENCE_KEPT_MS);
    notify_log_forget(&alerting->log, at_ms);
    alerting->tidied_ms = at_ms;
}

/* What was firing when it was told last is given the time to be told again. */
static void extend_firing_locked(struct alerting *alerting, int64_t at_ms)
{
    int64_t ends_ms = at_ms + alerting->hold->config->global.resolve_timeout_ms;
    for (size_t i = 0; i < alerting->alerts.slot_count; i++) {
        struct known_alert *alert = alerting->alerts.slots[i];
        if (alert && !known_alert_is_resolved(alert, alert->updated_ms))
            alert->alert.ends_ms = AP_MAX(alert->alert.ends_ms, ends_ms);
    }
}

/* Nothing happened later than now: else it would be waited for, for as long as the clock went back. */
static void set_back_locked(struct alerting *alerting, int64_t at_ms)
{
    for (size_t i = 0; i < alerting->alerts.slot_count; i++) {
        struct known_alert *alert = alerting->alerts.slots[i];
        if (!alert || alert->updated_ms <= at_ms)
            continue;
        alert->alert.ends_ms -= alert->updated_ms - at_ms;
        alert->updated_ms = at_ms;
    }
    notify_log_set_back(&alerting->log, at_ms);
    dispatch_set_back_locked(alerting, at_ms);
    alerting->tidied_ms = AP_MIN(alerting->tidied_ms, at_ms);
}

/* Whoever sets the clock, or sends the machine to sleep, ends no alert and keeps nobody silent by it. */
static void mind_the_clock_locked(struct alerting *alerting, int64_t at_ms)
{
    int64_t mono_ms = ap_clock_monotonic_us(alerting->options.clock) / AP_US_PER_MS;
    int64_t passed_ms = mono_ms - alerting->stepped_mono_ms;
    if (at_ms < alerting->stepped_ms)
        set_back_locked(alerting, at_ms);
    else if (at_ms - alerting->stepped_ms > passed_ms + CLOCK_JUMP_MS)
        extend_firing_locked(alerting, at_ms);
    alerting->stepped_ms = at_ms;
    alerting->stepped_mono_ms = mono_ms;
}

static void add_all_locked(const struct alerting *alerting, struct ap_buf *out)
{
    journal_begin(out);
    for (size_t i = 0; i < alerting->alerts.slot_count; i++)
        if (alerting->alerts.slots[i])
            journal_add_alert(out, alerting->alerts.slots[i]);
    for (size_t i = 0; i < alerting->silences.count; i++)
        journal_add_silence(out, &alerting->silences.items[i]->silence);
    for (size_t i = 0; i < alerting->log.slot_count; i++) {
        const struct notify_entry *entry = alerting->log.slots[i];
        if (entry)
            journal_add_told(out, entry);
        if (entry && entry->late_since_ms)
            journal_add_late(out, entry);
    }
}

/* The mutex is not held while the disk is waited for. */
static void save(struct alerting *alerting)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    struct keeper_snapshot snapshot;
    pthread_mutex_lock(&alerting->mutex);
    bool is_due = keeper_is_due(alerting->keeper, &snapshot);
    if (is_due)
        add_all_locked(alerting, &bytes);
    pthread_mutex_unlock(&alerting->mutex);
    if (is_due)
        keeper_save(alerting->keeper, &snapshot, ap_buf_slice(&bytes));
}

/* `leaving` is only touched by the one who steps. */
static void hand_over(struct alerting *alerting)
{
    for (size_t i = 0; i < alerting->leaving_count; i++) {
        alerting->options.deliver(alerting->options.context, alerting->leaving[i]);
        notification_unref(alerting->leaving[i]);
    }
    alerting->leaving_count = 0;
}

int64_t alerting_step(struct alerting *alerting)
{
    pthread_mutex_lock(&alerting->mutex);
    int64_t at_ms = alerting_now_ms(alerting);
    mind_the_clock_locked(alerting, at_ms);
    if (at_ms - alerting->tidied_ms >= TIDY_INTERVAL_MS)
        tidy_locked(alerting, at_ms);
    int64_t next_ms = dispatch_step_locked(alerting, at_ms);
    pthread_mutex_unlock(&alerting->mutex);
    hand_over(alerting);
    save(alerting);
    return AP_MAX(next_ms - at_ms, (int64_t)1);
}

void alerting_delivered(struct alerting *alerting, struct notification *notification, const struct delivery *delivery)
{
    pthread_mutex_lock(&alerting->mutex);
    bool is_wanted = dispatch_delivered_locked(alerting, notification->origin, notification, delivery);
    pthread_mutex_unlock(&alerting->mutex);
    if (is_wanted)
        tell_changed(alerting);
}

/* ---- Silences ---- */

enum ap_rc alerting_silence_set(struct alerting *alerting, const struct silence *silence, char ret_id[37],
                                struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    struct silence_change change;
    journal_begin(&bytes);
    pthread_mutex_lock(&alerting->mutex);
    enum ap_rc rc = silence_set_set(&alerting->silences, silence, alerting_now_ms(alerting), &change, err);
    if (rc == AP_OK) {
        if (change.expired)
            journal_add_silence(&bytes, &change.expired->silence);
        journal_add_silence(&bytes, &change.set->silence);
        memcpy(ret_id, change.set->silence.id, 37);
    }
    pthread_mutex_unlock(&alerting->mutex);
    /* Waits for the log: a silence that was told to hold does so after a crash, too. */
    return rc == AP_OK ? keeper_append(alerting->keeper, ap_buf_slice(&bytes), err) : rc;
}

enum ap_rc alerting_silence_expire(struct alerting *alerting, const char *id, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    const struct kept_silence *changed;
    journal_begin(&bytes);
    pthread_mutex_lock(&alerting->mutex);
    enum ap_rc rc = silence_set_expire(&alerting->silences, id, alerting_now_ms(alerting), &changed, err);
    if (rc == AP_OK)
        journal_add_silence(&bytes, &changed->silence);
    pthread_mutex_unlock(&alerting->mutex);
    return rc == AP_OK ? keeper_append(alerting->keeper, ap_buf_slice(&bytes), err) : rc;
}

void alerting_each_silence(struct alerting *alerting, silence_fn each, void *context)
{
    pthread_mutex_lock(&alerting->mutex);
    for (size_t i = 0; i < alerting->silences.count; i++)
        each(&alerting->silences.items[i]->silence, context);
    pthread_mutex_unlock(&alerting->mutex);
}

/* ---- Life ---- */

static void use_config_locked(struct alerting *alerting, struct alert_config *take_config, int64_t at_ms)
{
    dispatch_clear(alerting);
    inhibitor_free(alerting->inhibitor);
    config_hold_unref(alerting->hold);
    alerting->hold = config_hold_new(take_config);
    alerting->inhibitor = inhibitor_new(take_config);
    alerting->is_inhibitor_old = true;
    alerting->lanes = ap_new0_array(struct lane, take_config->way_count + 1);
    struct known_alert **all = alert_set_sorted(&alerting->alerts);
    for (size_t i = 0; i < alerting->alerts.count; i++)
        dispatch_place_locked(alerting, all[i], at_ms);
    free(all);
}

void alerting_reconfigure(struct alerting *alerting, struct alert_config *take_config)
{
    pthread_mutex_lock(&alerting->mutex);
    use_config_locked(alerting, take_config, alerting_now_ms(alerting));
    pthread_mutex_unlock(&alerting->mutex);
    tell_changed(alerting);
}

static enum ap_rc load(struct alerting *alerting, const char *dir, struct ap_err *err)
{
    const struct journal_state state = {&alerting->alerts, &alerting->silences, &alerting->log};
    const struct keeper_options options = {
        .dir = dir,
        .wal = alerting->options.wal,
        .trouble = alerting->options.trouble,
        .context = alerting->options.context,
    };
    return options.wal ? keeper_open(&options, &state, &alerting->keeper, err) : AP_OK;
}

enum ap_rc alerting_open(const struct alerting_options *options, struct alert_config *take_config,
                         struct alerting **ret_alerting, struct ap_err *err)
{
    AP_AUTO(alerting) struct alerting *alerting = ap_new0(struct alerting);
    alerting->options = *options;
    alerting->options.dir = NULL;
    pthread_mutex_init(&alerting->mutex, NULL);
    alert_set_init(&alerting->alerts, 0);
    int64_t at_ms = alerting_now_ms(alerting);
    alerting->tidied_ms = at_ms;
    alerting->stepped_ms = INT64_MAX; /* the clock may have been set back while nobody looked */
    enum ap_rc rc = load(alerting, options->dir, err);
    if (rc != AP_OK) {
        alert_config_free(take_config);
        return rc;
    }
    use_config_locked(alerting, take_config, at_ms);
    extend_firing_locked(alerting, at_ms);
    *ret_alerting = AP_MOVE(alerting);
    return AP_OK;
}

void alerting_close(struct alerting *alerting)
{
    if (!alerting)
        return;
    keeper_close(alerting->keeper);
    dispatch_clear(alerting);
    inhibitor_free(alerting->inhibitor);
    config_hold_unref(alerting->hold);
    alert_set_clear(&alerting->alerts);
    silence_set_clear(&alerting->silences);
    notify_log_clear(&alerting->log);
    free(alerting->leaving);
    pthread_mutex_destroy(&alerting->mutex);
    free(alerting);
}

/* ---- Reading ---- */

const struct alert_config *alerting_lock_config(struct alerting *alerting)
{
    pthread_mutex_lock(&alerting->mutex);
    return alerting->hold->config;
}

void alerting_unlock_config(struct alerting *alerting)
{
    pthread_mutex_unlock(&alerting->mutex);
}

struct notification *alerting_make_notification(struct alerting *alerting, const char *receiver, size_t place,
                                                const struct notification *parts)
{
    struct notification *notification = NULL;
    pthread_mutex_lock(&alerting->mutex);
    const struct receiver *found = alert_config_receiver(alerting->hold->config, receiver);
    if (found && place < found->way_count) {
        struct notification whole = *parts;
        whole.receiver = found;
        whole.way = &found->ways[place];
        whole.global = &alerting->hold->config->global;
        notification = notification_new(alerting->hold, &whole);
    }
    pthread_mutex_unlock(&alerting->mutex);
    return notification;
}

void alerting_stats_get(struct alerting *alerting, struct alerting_stats *ret_stats)
{
    pthread_mutex_lock(&alerting->mutex);
    int64_t at_ms = alerting_now_ms(alerting);
    *ret_stats = alerting->stats;
    ret_stats->groups = alerting->groups.count;
    for (size_t i = 0; i < alerting->alerts.slot_count; i++) {
        const struct known_alert *alert = alerting->alerts.slots[i];
        if (!alert)
            continue;
        bool is_resolved = known_alert_is_resolved(alert, at_ms);
        ret_stats->alerts_resolved += is_resolved;
        ret_stats->alerts_firing += !is_resolved;
    }
    for (size_t i = 0; i < alerting->silences.count; i++)
        ret_stats->silences_active += silence_state_at(&alerting->silences.items[i]->silence, at_ms) == SILENCE_ACTIVE;
    pthread_mutex_unlock(&alerting->mutex);
}
