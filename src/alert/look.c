#include "alert/look.h"

#include <stdlib.h>
#include <string.h>

/* The alerts of a group that somebody is to know of. */
struct sight {
    struct alerting *alerting;
    struct sending *sending;
    struct alert_group *group;
    const struct receiver *receiver;
    const struct receiver_way *way;
    const struct notify_entry *told; /* NULL: nothing yet */
    int64_t now_ms;
    struct known_alert **alerts; /* owned */
    size_t count;
    uint64_t *firing; /* owned; fingerprints in order, as the next */
    size_t firing_count;
    uint64_t *resolved;
    size_t resolved_count;
};

static void sight_clear(struct sight *sight)
{
    free(sight->alerts);
    free(sight->firing);
    free(sight->resolved);
}

static bool is_muted(const struct sight *sight)
{
    const struct alert_config *config = sight->alerting->hold->config;
    const struct route *route = sight->group->route;
    return alert_config_contains(config, &route->muted_in, sight->now_ms / 1000) ||
           (route->active_in.count && !alert_config_contains(config, &route->active_in, sight->now_ms / 1000));
}

/* A fall-back that is over goes on for what it was about: who was told that something fires is told that it ended. */
static bool is_closing(const struct sight *sight)
{
    return sight->sending->step_index > sight->group->fallback_count;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void collect(struct sight *sight)
{
    struct alerting *alerting = sight->alerting;
    struct alert_group *group = sight->group;
    alert_group_sort(group);
    sight->alerts = ap_new0_array(struct known_alert *, group->count + 1);
    sight->firing = ap_new0_array(uint64_t, group->count + 1);
    sight->resolved = ap_new0_array(uint64_t, group->count + 1);
    if (is_muted(sight))
        return;
    const struct inhibitor *inhibitor = alerting_inhibitor_locked(alerting, sight->now_ms);
    for (size_t i = 0; i < group->count; i++) {
        struct known_alert *alert = group->alerts[i];
        struct ap_slice labels = alert->alert.labels;
        uint64_t fingerprint = alert_fingerprint(labels);
        if ((is_closing(sight) && !notify_entry_has_fired(sight->told, fingerprint)) ||
            inhibitor_find(inhibitor, labels, sight->now_ms) ||
            silence_set_match(&alerting->silences, labels, sight->now_ms, NULL))
            continue;
        sight->alerts[sight->count++] = alert;
        if (known_alert_is_resolved(alert, sight->now_ms))
            sight->resolved[sight->resolved_count++] = fingerprint;
        else
            sight->firing[sight->firing_count++] = fingerprint;
    }
    qsort(sight->firing, sight->firing_count, sizeof(*sight->firing), compare_numbers);
    qsort(sight->resolved, sight->resolved_count, sizeof(*sight->resolved), compare_numbers);
}

static struct notification *make_notification(const struct sight *sight, enum notification_reason reason)
{
    struct alerting *alerting = sight->alerting;
    const struct alert_group *group = sight->group;
    AP_AUTO_FREE struct notified_alert *alerts = ap_new0_array(struct notified_alert, sight->count + 1);
    struct notification parts = {
        .receiver = sight->receiver,
        .way = sight->way,
        .global = &alerting->hold->config->global,
        .group_key = group->key,
        .group_labels = group->labels,
        .alerts = alerts,
        .firing_count = sight->firing_count,
        .reason = reason,
        .decided_ms = sight->now_ms,
        .id = ++alerting->notification_id,
        .origin = sight->sending,
    };
    if (sight->sending->step_index) {
        parts.fallback_of = group->route->steps[0].receiver;
        parts.late_since_ms = is_closing(sight) ? 0 : alert_group_late_since(group, 0);
    }
    for (size_t i = 0; i < sight->count; i++) {
        const struct known_alert *alert = sight->alerts[i];
        bool is_resolved = known_alert_is_resolved(alert, sight->now_ms);
        if (is_resolved && !sight->way->is_sending_resolved)
            continue;
        alerts[parts.alert_count++] =
            (struct notified_alert){alert->alert.labels,    alert->alert.annotations, alert->alert.generator_url,
                                    alert->alert.starts_ms, alert->alert.ends_ms,     is_resolved};
    }
    if (sight->told && sight->told->reference)
        memcpy(parts.reference, sight->told->reference, strlen(sight->told->reference) + 1);
    return notification_new(alerting->hold, &parts);
}

/* Takes the fingerprints. */
static struct notify_entry *make_entry(struct sight *sight, struct ap_slice key)
{
    struct notify_entry *entry = notify_entry_new(key);
    entry->firing = sight->firing;
    entry->firing_count = sight->firing_count;
    entry->resolved = sight->resolved;
    entry->resolved_count = sight->resolved_count;
    sight->firing = sight->resolved = NULL;
    entry->sent_ms = sight->now_ms;
    entry->expires_ms = sight->now_ms + 2 * sight->group->route->repeat_interval_ms;
    entry->reference = sight->told && sight->told->reference ? ap_strdup(sight->told->reference) : NULL;
    return entry;
}

enum look_result look(struct alerting *alerting, struct sending *sending, int64_t now_ms,
                      struct notify_entry **ret_entry, struct notification **ret_notification)
{
    const struct receiver *receiver = sending_receiver(sending);
    AP_AUTO_BUF struct ap_buf key = {0};
    sending_key(sending->group->key, receiver, sending->way_index, &key);
    struct sight sight = {.alerting = alerting,
                          .sending = sending,
                          .group = sending->group,
                          .receiver = receiver,
                          .way = &receiver->ways[sending->way_index],
                          .told = notify_log_find(&alerting->log, ap_buf_slice(&key)),
                          .now_ms = now_ms};
    enum notification_reason reason;
    if (is_closing(&sight) && (!sight.told || sight.told->firing_count == 0))
        return LOOK_NOTHING;
    collect(&sight);
    /* When nobody is to know of any alert now, what was told stays as it is. */
    bool is_due = sight.count && notify_log_is_due(sight.told, sight.firing, sight.firing_count, sight.resolved,
                                                   sight.resolved_count, sight.way->is_sending_resolved,
                                                   sight.group->route->repeat_interval_ms, now_ms, &reason);
    enum look_result result = LOOK_NOTHING;
    if (is_due) {
        /* Repeating is for the receiver that was to be told. And where nobody is told of an end, the next is a first.
         */
        bool is_only_noted = (is_closing(&sight) && reason == NOTIFICATION_REPEAT) ||
                             (sight.firing_count == 0 && !sight.way->is_sending_resolved);
        result = is_only_noted ? LOOK_NOTE : LOOK_TELL;
        if (result == LOOK_TELL)
            *ret_notification = make_notification(&sight, reason);
        *ret_entry = make_entry(&sight, ap_buf_slice(&key));
    }
    sight_clear(&sight);
    return result;
}
