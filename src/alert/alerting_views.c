/* What is known, as the API shows it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alert/alerting_internal.h"

/* Room for one alert's view; reused from alert to alert. */
struct viewing {
    struct alerting *alerting;
    int64_t now_ms;
    struct alert_view view;
    const char **receivers; /* owned, as the next three */
    const char **silenced_by;
    const char **muted_by;
    const char *inhibited_by[1];
    char inhibitor[17];
    size_t receiver_capacity, silenced_capacity, muted_capacity;
};

static void viewing_clear(struct viewing *viewing)
{
    free(viewing->receivers);
    free(viewing->silenced_by);
    free(viewing->muted_by);
}

static void add_name(const char ***names, size_t *count, size_t *capacity, const char *name)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp((*names)[i], name) == 0)
            return;
    if (*count == *capacity) {
        *capacity = AP_MAX(*capacity * 2, (size_t)8);
        *names = ap_realloc(*names, *capacity * sizeof(**names));
    }
    (*names)[(*count)++] = name;
}

/* The interval that keeps the route silent, as the API names it. */
static void add_muting(const struct route *route, struct viewing *viewing)
{
    const struct alerting *alerting = viewing->alerting;
    const struct alert_config *config = alerting->hold->config;
    for (size_t i = 0; i < route->muted_in.count; i++)
        if (named_intervals_contain(alert_config_intervals(config, route->muted_in.items[i]), viewing->now_ms / 1000))
            add_name(&viewing->muted_by, &viewing->view.muted_count, &viewing->muted_capacity,
                     route->muted_in.items[i]);
    if (route->active_in.count && !alert_config_contains(config, &route->active_in, viewing->now_ms / 1000))
        for (size_t i = 0; i < route->active_in.count; i++)
            add_name(&viewing->muted_by, &viewing->view.muted_count, &viewing->muted_capacity,
                     route->active_in.items[i]);
}

static void add_route(const struct route *route, void *context)
{
    struct viewing *viewing = context;
    add_name(&viewing->receivers, &viewing->view.receiver_count, &viewing->receiver_capacity, route->receiver);
    add_muting(route, viewing);
}

static const struct alert_view *view_locked(struct viewing *viewing, const struct known_alert *alert)
{
    struct alerting *alerting = viewing->alerting;
    struct ap_slice labels = alert->alert.labels;
    viewing->view = (struct alert_view){
        .alert = alert->alert,
        .updated_ms = alert->updated_ms,
        .is_resolved = known_alert_is_resolved(alert, viewing->now_ms),
        .is_unprocessed = alert->group_count == 0,
    };
    snprintf(viewing->view.fingerprint, sizeof(viewing->view.fingerprint), "%016" PRIx64, alert_fingerprint(labels));
    alert_config_match(alerting->hold->config, labels, add_route, viewing);
    for (const struct kept_silence *silence = NULL;
         (silence = silence_set_match(&alerting->silences, labels, viewing->now_ms, silence)) != NULL;)
        add_name(&viewing->silenced_by, &viewing->view.silenced_count, &viewing->silenced_capacity,
                 silence->silence.id);
    const struct known_alert *inhibitor =
        inhibitor_find(alerting_inhibitor_locked(alerting, viewing->now_ms), labels, viewing->now_ms);
    if (inhibitor) {
        snprintf(viewing->inhibitor, sizeof(viewing->inhibitor), "%016" PRIx64,
                 alert_fingerprint(inhibitor->alert.labels));
        viewing->inhibited_by[viewing->view.inhibited_count++] = viewing->inhibitor;
    }
    viewing->view.receivers = viewing->receivers;
    viewing->view.silenced_by = viewing->silenced_by;
    viewing->view.muted_by = viewing->muted_by;
    viewing->view.inhibited_by = viewing->inhibited_by;
    return &viewing->view;
}

void alerting_each_alert(struct alerting *alerting, alert_view_fn each, void *context)
{
    struct viewing viewing = {.alerting = alerting};
    pthread_mutex_lock(&alerting->mutex);
    viewing.now_ms = alerting_now_ms(alerting);
    struct known_alert **all = alert_set_sorted(&alerting->alerts);
    for (size_t i = 0; i < alerting->alerts.count; i++)
        each(view_locked(&viewing, all[i]), context);
    pthread_mutex_unlock(&alerting->mutex);
    free(all);
    viewing_clear(&viewing);
}

static int compare_groups(const void *a, const void *b)
{
    const struct alert_group *left = *(struct alert_group *const *)a, *right = *(struct alert_group *const *)b;
    int order = alert_group_compare_labels(left->labels, right->labels);
    return order ? order : strcmp(left->route->receiver, right->route->receiver);
}

void alerting_each_group(struct alerting *alerting, alert_group_fn each, void *context)
{
    pthread_mutex_lock(&alerting->mutex);
    int64_t at_ms = alerting_now_ms(alerting);
    struct alert_group **sorted = ap_new0_array(struct alert_group *, alerting->groups.count + 1);
    size_t count = 0;
    for (size_t i = 0; i < alerting->groups.count; i++)
        if (alerting->groups.heap[i]->count)
            sorted[count++] = alerting->groups.heap[i];
    qsort(sorted, count, sizeof(struct alert_group *), compare_groups);
    for (size_t i = 0; i < count; i++) {
        struct alert_group *group = sorted[i];
        alert_group_sort(group);
        struct viewing *viewings = ap_new0_array(struct viewing, group->count + 1);
        struct alert_view *views = ap_new0_array(struct alert_view, group->count + 1);
        for (size_t a = 0; a < group->count; a++) {
            viewings[a] = (struct viewing){.alerting = alerting, .now_ms = at_ms};
            views[a] = *view_locked(&viewings[a], group->alerts[a]);
        }
        each(&(struct alert_group_view){group->labels, group->route->receiver, group->key, views, group->count},
             context);
        for (size_t a = 0; a < group->count; a++)
            viewing_clear(&viewings[a]);
        free(viewings);
        free(views);
    }
    free(sorted);
    pthread_mutex_unlock(&alerting->mutex);
}
