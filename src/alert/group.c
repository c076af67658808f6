#include "alert/group.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"

static struct ap_slice make_key(const struct route *route, struct ap_slice labels)
{
    struct ap_buf key = {0};
    route_key(route, &key);
    ap_buf_add_char(&key, ':');
    labels_format_set(labels, &key);
    size_t bytes = key.bytes;
    return ap_slice(ap_buf_detach(&key), bytes);
}

struct alert_group *alert_group_new(const struct route *route, struct labels_hash hash, struct ap_slice labels,
                                    int64_t due_ms)
{
    struct alert_group *group = ap_new0(struct alert_group);
    group->route = route;
    group->hash = hash;
    group->labels = ap_slice(ap_slice_dup(labels), labels.bytes);
    group->key = make_key(route, labels);
    group->due_ms = due_ms;
    return group;
}

static void leave(const struct alert_group *group, struct known_alert *alert)
{
    size_t at = 0;
    while (alert->groups[at] != group)
        at++;
    alert->groups[at] = alert->groups[--alert->group_count];
}

void alert_group_free(struct alert_group *group)
{
    struct sending *sending;
    while ((sending = group->sendings) != NULL) {
        AP_ASSERT(sending->state != SENDING_IN_FLIGHT);
        sending_end(sending);
    }
    for (size_t i = 0; i < group->count; i++)
        leave(group, group->alerts[i]);
    free(group->alerts);
    free((void *)group->labels.data);
    free((void *)group->key.data);
    free(group);
}

bool alert_group_add(struct alert_group *group, struct known_alert *alert)
{
    for (size_t i = 0; i < alert->group_count; i++)
        if (alert->groups[i] == group)
            return false;
    if (group->count == group->capacity) {
        group->capacity = group->capacity ? group->capacity * 2 : 1; /* most groups have one */
        group->alerts = ap_realloc(group->alerts, group->capacity * sizeof(struct known_alert *));
    }
    group->alerts[group->count++] = alert;
    group->is_sorted = false;
    alert->groups = ap_realloc(alert->groups, (alert->group_count + 1) * sizeof(struct alert_group *));
    alert->groups[alert->group_count++] = group;
    return true;
}

void alert_group_drop_ended(struct alert_group *group)
{
    uint32_t kept = 0;
    for (size_t i = 0; i < group->count; i++) {
        struct known_alert *alert = group->alerts[i];
        if (known_alert_is_resolved(alert, group->flushed_ms) && alert->updated_ms < group->flushed_ms)
            leave(group, alert);
        else
            group->alerts[kept++] = alert;
    }
    group->count = kept;
}

static int compare_values(struct ap_slice a, struct ap_slice b)
{
    int order = memcmp(a.data ? a.data : "", b.data ? b.data : "", AP_MIN(a.bytes, b.bytes));
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

int alert_group_compare_labels(struct ap_slice a, struct ap_slice b)
{
    size_t a_count = labels_count(a), b_count = labels_count(b);
    if (a_count != b_count)
        return a_count < b_count ? -1 : 1;
    struct label left, right;
    while (labels_next(&a, &left) && labels_next(&b, &right)) {
        int order = compare_values(left.name, right.name);
        if (order) /* the name that comes first is missing in the other, which counts as less */
            return order < 0 ? 1 : -1;
        order = compare_values(left.value, right.value);
        if (order)
            return order;
    }
    return 0;
}

static int compare_alerts(const void *a, const void *b)
{
    static const char *const first[] = {"job", "instance"};
    struct ap_slice left = (*(struct known_alert *const *)a)->alert.labels;
    struct ap_slice right = (*(struct known_alert *const *)b)->alert.labels;
    for (size_t i = 0; i < AP_ARRAY_COUNT(first); i++) {
        int order =
            compare_values(labels_get(left, ap_slice_cstr(first[i])), labels_get(right, ap_slice_cstr(first[i])));
        if (order)
            return order;
    }
    return alert_group_compare_labels(left, right);
}

void alert_group_sort(struct alert_group *group)
{
    if (!group->is_sorted && group->count > 1)
        qsort(group->alerts, group->count, sizeof(struct known_alert *), compare_alerts);
    group->is_sorted = true;
}

/* ---- Sendings ---- */

static void link_to(struct sending *sending, struct sending **list)
{
    sending->list = list;
    sending->next = *list;
    *list = sending;
}

static void unlink_from_list(struct sending *sending)
{
    struct sending **at = sending->list;
    while (*at != sending)
        at = &(*at)->next;
    *at = sending->next;
}

struct sending *alert_group_sending(const struct alert_group *group, size_t step_index, size_t way_index)
{
    struct sending *sending = group->sendings;
    while (sending && (sending->step_index != step_index || sending->way_index != way_index))
        sending = sending->next;
    return sending;
}

struct sending *alert_group_add_sending(struct alert_group *group, size_t step_index, size_t way_index,
                                        struct lane *lane, int64_t since_ms)
{
    struct sending *sending = ap_new0(struct sending);
    *sending = (struct sending){.group = group,
                                .lane = lane,
                                .step_index = (uint32_t)step_index,
                                .way_index = (uint32_t)way_index,
                                .since_ms = since_ms};
    link_to(sending, &group->sendings);
    return sending;
}

int64_t alert_group_late_since(const struct alert_group *group, size_t step_index)
{
    int64_t since_ms = INT64_MAX;
    for (const struct sending *sending = group->sendings; sending; sending = sending->next)
        if (sending->step_index == step_index)
            since_ms = AP_MIN(since_ms, sending->since_ms);
    return since_ms;
}

const struct receiver *sending_receiver(const struct sending *sending)
{
    return sending->group->route->steps[sending->step_index].receiver;
}

void sending_queue(struct sending *sending)
{
    struct lane *lane = sending->lane;
    sending->state = SENDING_QUEUED;
    sending->before = lane->last;
    sending->behind = NULL;
    if (lane->last)
        lane->last->behind = sending;
    else
        lane->first = sending;
    lane->last = sending;
}

void sending_unqueue(struct sending *sending)
{
    if (sending->state != SENDING_QUEUED)
        return;
    struct lane *lane = sending->lane;
    if (sending->before)
        sending->before->behind = sending->behind;
    else
        lane->first = sending->behind;
    if (sending->behind)
        sending->behind->before = sending->before;
    else
        lane->last = sending->before;
    sending->before = sending->behind = NULL;
    sending->state = SENDING_IDLE;
}

void sending_end(struct sending *sending)
{
    sending_unqueue(sending);
    unlink_from_list(sending);
    notify_entry_free(sending->entry);
    free(sending);
}

void alert_group_set_adrift(struct alert_group *group, struct sending **adrift)
{
    for (struct sending *sending = group->sendings, *next; sending; sending = next) {
        next = sending->next;
        if (sending->state != SENDING_IN_FLIGHT)
            continue;
        unlink_from_list(sending);
        link_to(sending, adrift);
        sending->lane->in_flight_count--;
        sending->lane = NULL;
        sending->group = NULL;
    }
}

void sending_join(struct sending *sending, struct alert_group *group, size_t step_index, size_t way_index,
                  struct lane *lane)
{
    unlink_from_list(sending);
    link_to(sending, &group->sendings);
    sending->group = group;
    sending->step_index = (uint32_t)step_index;
    sending->way_index = (uint32_t)way_index;
    sending->lane = lane;
    lane->in_flight_count++;
}

void sending_key(struct ap_slice group_key, const struct receiver *receiver, size_t way_index, struct ap_buf *out)
{
    ap_buf_add_slice(out, group_key);
    ap_buf_printf(out, ":%s/%s/%zu", receiver->name, receiver_kind_name(receiver->ways[way_index].kind), way_index);
}
