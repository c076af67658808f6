/* alert/look.h - one look at a group: what one way is to be told of it now, if anything */
#pragma once

#include "alert/alerting_internal.h"

enum look_result {
    LOOK_NOTHING,
    LOOK_NOTE, /* it is noted as if it were told: nobody is to know of it */
    LOOK_TELL,
};

/* The entry is what is to be noted, for LOOK_TELL when it has been told. */
enum look_result look(struct alerting *alerting, struct sending *sending, int64_t now_ms,
                      struct notify_entry **ret_entry, struct notification **ret_notification);
