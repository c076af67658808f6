/*
 * alert/heartbeats.h - waits for others' signs of life: jobs of cron, back-ups, other monitors
 *
 *     POST …/heartbeats/backup ──heartbeats_beat()──► meta.sqlite ──► 2xx
 *                                      └─► series, also every few seconds ──► rules (heartbeat_list.h) ──► alerts
 *
 * Nothing is decided here: when the last beat came and when the next is due are series, and rules compare them with the
 * time. They are written as soon as a beat has come, and over and over, so that a beat which does not come is seen as
 * well, and one that has never come, and one that was waited for before a restart.
 *
 * Threads: all functions from any thread, _open(), _start(), _reconfigure(), _end_gone(), _stop() and _close() from one
 * at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "alert/heartbeat_list.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"

struct heartbeats; /* private to heartbeats.c */
struct rules_sample;

struct heartbeats_options {
    const struct heartbeat_list
        *list; /* lent, until another takes its place; as all but meta_path, for the call only */
    const char *meta_path;
    const struct ap_clock *clock;
    /* As rules_keep() has it. */
    enum ap_rc (*keep)(void *context, const struct rules_sample *samples, size_t count, struct ap_err *err);
    void *keep_context;
    void (*trouble)(const struct ap_err *err, void *context);
    void *context;
};

/* What is known of those in the list goes on; of others it is forgotten. */
ap_nodiscard enum ap_rc heartbeats_open(const struct heartbeats_options *options, struct heartbeats **ret_heartbeats,
                                        struct ap_err *err);
/* Writes all series once, before it returns, and from then on by a thread. */
ap_nodiscard enum ap_rc heartbeats_start(struct heartbeats *heartbeats, struct ap_err *err);
/*
 * From now on those of `list`, which is lent until another takes its place, are waited for: what is known of them goes
 * on, new ones are waited for from now on, and have their series when this returns. AP_E_FULL, AP_E_IO: all stays as it
 * is. The series of those that are gone end with heartbeats_end_gone(), which belongs behind the moment at which their
 * rules are gone: otherwise these would take the end for a beat that is missing. One of the two after the other.
 */
ap_nodiscard enum ap_rc heartbeats_reconfigure(struct heartbeats *heartbeats, const struct heartbeat_list *list,
                                               struct ap_err *err);
void heartbeats_end_gone(struct heartbeats *heartbeats);
/* Nothing is written from here on: beats get AP_E_BUSY. NULL is allowed, as below. */
void heartbeats_stop(struct heartbeats *heartbeats);
void heartbeats_close(struct heartbeats *heartbeats);
AP_DEFINE_AUTO(heartbeats, struct heartbeats, heartbeats_close)

/*
 * A beat has come, or word of a failure, from `source`. Waits for the disk. AP_E_NOT_FOUND: nobody waits for it;
 * AP_E_FULL, AP_E_BUSY, AP_E_IO: it is not kept, and to be sent again.
 */
ap_nodiscard enum ap_rc heartbeats_beat(struct heartbeats *heartbeats, struct ap_slice name, bool is_failure,
                                        const char *source, struct ap_err *err);

enum heartbeat_state {
    HEARTBEAT_STATE_WAITING, /* none has come yet, and none was due */
    HEARTBEAT_STATE_UP,
    HEARTBEAT_STATE_LATE, /* due, within the grace */
    HEARTBEAT_STATE_DOWN,
    HEARTBEAT_STATE_FAILED, /* the last one said so */
};
const char *heartbeat_state_name(enum heartbeat_state state); /* "waiting" … */

struct heartbeat_view {
    const struct heartbeat *heartbeat;
    enum heartbeat_state state;
    int64_t last_ms;    /* 0: none has come */
    int64_t due_ms;     /* without the grace */
    const char *source; /* of the last one; empty: not known */
};
/* In the list's order; `each` must not call back. */
typedef void (*heartbeat_fn)(const struct heartbeat_view *view, void *context);
void heartbeats_each(struct heartbeats *heartbeats, heartbeat_fn each, void *context);

/* Writes all series: what the thread does over and over. */
void heartbeats_step(struct heartbeats *heartbeats);
