/*
 * meta/beats.h - what is known of each heart-beat (alert/heartbeats.h), so that a restart goes on waiting for it
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"
#include "meta/meta.h"

/* Times are milliseconds since 1970. */
struct kept_beat {
    const char *name;
    int64_t since_ms;       /* when it was waited for the first time */
    int64_t beat_ms;        /* the last one; 0: none has come, as the next */
    int64_t failed_ms;      /* when a failure was told that no good beat has come after */
    struct ap_slice source; /* of the last one; may be empty */
};

/* In place of what there was; on disk when it returns. */
ap_nodiscard enum ap_rc beats_put(struct meta *meta, const struct kept_beat *beat, struct ap_err *err);
/* These in place of all that there were, in one transaction. */
ap_nodiscard enum ap_rc beats_put_all(struct meta *meta, const struct kept_beat *beats, size_t count,
                                      struct ap_err *err);

/* All, in order of names; what `each` gets is lent for the call. */
typedef void (*beats_fn)(const struct kept_beat *beat, void *context);
ap_nodiscard enum ap_rc beats_each(struct meta *meta, beats_fn each, void *context, struct ap_err *err);
