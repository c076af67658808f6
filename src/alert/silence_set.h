/*
 * alert/silence_set.h - silences: alerts that match one are not notified while it lasts
 *
 * A silence is pending, active or expired by its times. It is never removed by hand: expiring sets its end. As in
 * Alertmanager, one that has begun is changed by expiring it and making another when more than its end changes.
 *
 * One owner, no locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/alerting.h"
#include "base/random.h"
#include "base/rc.h"

enum { SILENCES_MAX = 10000, SILENCE_TEXT_BYTES_MAX = 16 << 10 };

struct silence_set {
    struct kept_silence **items; /* owned; in the order in which they were made */
    size_t count;
};

/* Its matchers and texts are its own. */
struct kept_silence {
    struct silence silence;
    struct matchers matchers; /* what silence.matchers points to */
};

enum silence_state { SILENCE_PENDING, SILENCE_ACTIVE, SILENCE_EXPIRED };
enum silence_state silence_state_at(const struct silence *silence, int64_t now_ms);
const char *silence_state_name(enum silence_state state); /* "pending" … */

void silence_set_clear(struct silence_set *set);
const struct kept_silence *silence_set_find(const struct silence_set *set, const char *id);

/*
 * A new one (empty id), or a change. AP_E_NOT_FOUND: there is none of that id. AP_E_PARSE: it would match everything,
 * or its times are the wrong way round. AP_E_LIMIT. What has changed are at most two silences, *ret_changed: the one of
 * before that has expired, and the one that holds now.
 */
struct silence_change {
    const struct kept_silence *expired; /* or NULL */
    const struct kept_silence *set;
};
ap_nodiscard enum ap_rc silence_set_set(struct silence_set *set, const struct silence *silence, int64_t now_ms,
                                        struct silence_change *ret_changed, struct ap_err *err);
/* AP_E_NOT_FOUND; AP_E_CONFLICT: it has expired already. */
ap_nodiscard enum ap_rc silence_set_expire(struct silence_set *set, const char *id, int64_t now_ms,
                                           const struct kept_silence **ret_changed, struct ap_err *err);
/* As it was, out of the journal; replaces one of the same id. */
ap_nodiscard enum ap_rc silence_set_restore(struct silence_set *set, const struct silence *silence, struct ap_err *err);
/* Those that ended before `ts_ms`. */
void silence_set_forget(struct silence_set *set, int64_t ts_ms);

/* The first active one that the alert matches, or NULL; then the next behind `after`. */
const struct kept_silence *silence_set_match(const struct silence_set *set, struct ap_slice labels, int64_t now_ms,
                                             const struct kept_silence *after);
