#include "alert/notification_internal.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "alert/watchdog.h"
#include "base/mem.h"

/* ---- Words ---- */

const char *notification_kind_name(enum notification_kind kind)
{
    static const char *const names[] = {
        [NOTIFICATION_ALERT] = "alert", [NOTIFICATION_TEST] = "test", [NOTIFICATION_WATCHDOG] = "watchdog"};
    return names[kind];
}

const char *notification_reason_name(enum notification_reason reason)
{
    static const char *const names[] = {
        [NOTIFICATION_FIRST] = "first",
        [NOTIFICATION_NEW_ALERTS] = "new_alerts",
        [NOTIFICATION_SOME_RESOLVED] = "some_resolved",
        [NOTIFICATION_ALL_RESOLVED] = "all_resolved",
        [NOTIFICATION_REPEAT] = "repeat",
    };
    return names[reason];
}

const char *notification_reason_text(enum notification_reason reason)
{
    static const char *const names[] = {"first notification", "new alerts added", "some alerts resolved",
                                        "all alerts resolved", "repeat interval elapsed"};
    return names[reason];
}

const char *delivery_outcome_name(enum delivery_outcome outcome)
{
    static const char *const names[] = {
        [DELIVERY_DONE] = "done", [DELIVERY_RETRY] = "retry", [DELIVERY_REFUSED] = "refused"};
    return names[outcome];
}

/* ---- A configuration that is in use ---- */

struct config_hold *config_hold_new(struct alert_config *take_config)
{
    struct config_hold *hold = ap_new0(struct config_hold);
    hold->config = take_config;
    hold->reference_count = 1;
    return hold;
}

struct config_hold *config_hold_ref(struct config_hold *hold)
{
    __atomic_add_fetch(&hold->reference_count, 1, __ATOMIC_RELAXED);
    return hold;
}

void config_hold_unref(struct config_hold *hold)
{
    if (!hold || __atomic_sub_fetch(&hold->reference_count, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    alert_config_free(hold->config);
    free(hold);
}

/* ---- Notifications ---- */

/* One allocation's worth of everything it points to. */
struct whole {
    struct notification notification; /* the first member: what others have */
    uint32_t reference_count;         /* atomic */
    struct config_hold *hold;         /* owned reference */
    struct ap_arena arena;
};

static struct ap_slice copy(struct ap_arena *arena, struct ap_slice text)
{
    char *bytes = ap_arena_alloc0(arena, text.bytes + 1);
    if (text.bytes)
        memcpy(bytes, text.data, text.bytes);
    return ap_slice(bytes, text.bytes);
}

static void make_dedup_key(struct ap_slice key, char ret_hex[65])
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256(hash, (const unsigned char *)key.data, key.bytes);
    sodium_bin2hex(ret_hex, 65, hash, sizeof(hash));
}

struct notification *notification_new(struct config_hold *hold, const struct notification *parts)
{
    struct whole *whole = ap_new0(struct whole);
    whole->reference_count = 1;
    whole->hold = config_hold_ref(hold);
    ap_arena_init(&whole->arena, 0);
    struct notification *notification = &whole->notification;
    *notification = *parts;
    notification->group_key = copy(&whole->arena, parts->group_key);
    notification->group_labels = copy(&whole->arena, parts->group_labels);
    struct notified_alert *alerts =
        ap_arena_alloc0(&whole->arena, (parts->alert_count + 1) * sizeof(struct notified_alert));
    for (size_t i = 0; i < parts->alert_count; i++) {
        alerts[i] = parts->alerts[i];
        alerts[i].labels = copy(&whole->arena, parts->alerts[i].labels);
        alerts[i].annotations = copy(&whole->arena, parts->alerts[i].annotations);
        alerts[i].generator_url = copy(&whole->arena, parts->alerts[i].generator_url);
    }
    notification->alerts = alerts;
    if (strcmp(parts->receiver->name, WATCHDOG_RECEIVER) == 0)
        notification->kind = NOTIFICATION_WATCHDOG;
    make_dedup_key(notification->group_key, notification->dedup_key);
    return notification;
}

struct notification *notification_ref(struct notification *notification)
{
    struct whole *whole = AP_CONTAINER_OF(notification, struct whole, notification);
    __atomic_add_fetch(&whole->reference_count, 1, __ATOMIC_RELAXED);
    return notification;
}

void notification_unref(struct notification *notification)
{
    if (!notification)
        return;
    struct whole *whole = AP_CONTAINER_OF(notification, struct whole, notification);
    if (__atomic_sub_fetch(&whole->reference_count, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    ap_arena_clear(&whole->arena);
    config_hold_unref(whole->hold);
    free(whole);
}
