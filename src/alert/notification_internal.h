/* alert/notification_internal.h - making notifications, and the configurations that they point into */
#pragma once

#include "alert/notification.h"

/* Counted, since notifications outlive a reload. Any thread. */
struct config_hold {
    struct alert_config *config; /* owned */
    uint32_t reference_count;    /* atomic */
};
struct config_hold *config_hold_new(struct alert_config *take_config);
struct config_hold *config_hold_ref(struct config_hold *hold);
void config_hold_unref(struct config_hold *hold); /* NULL is allowed */

/* A copy of `parts` and all that it points to but what is the configuration's; makes the dedup_key. */
struct notification *notification_new(struct config_hold *hold, const struct notification *parts);
