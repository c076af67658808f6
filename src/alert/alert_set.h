/*
 * alert/alert_set.h - the alerts that are known, each once: by their labels
 *
 * What is told again is merged with what is known, as Alertmanager does it: an alert goes on while it is told again
 * before it has ended, and begins anew when it is told again after that.
 *
 * One owner, no locks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "alert/alerting.h"
#include "base/slice.h"
#include "tsdb/labels.h"

struct alert_group;

/* Texts are its own. It stays where it is until alert_set_remove(). */
struct known_alert {
    struct labels_hash hash;
    struct alert_in alert; /* starts_ms and ends_ms are always there */
    int64_t updated_ms;
    bool is_timeout;             /* nobody said when it ends */
    bool is_unkept;              /* the log did not take what is new of it */
    struct alert_group **groups; /* owned array; those that have it: one a route that it matches */
    size_t group_count;
};

struct alert_set {
    uint64_t seed;
    struct known_alert **slots; /* owned, as the alerts; open addressing */
    size_t slot_count;          /* a power of two, or 0 */
    size_t count;
};

void alert_set_init(struct alert_set *set, uint64_t seed);
void alert_set_clear(struct alert_set *set);

struct known_alert *alert_set_find(const struct alert_set *set, struct labels_hash hash);
/*
 * Adds or merges; copies what it keeps. `now_ms` is when it was told. Times that are 0 get their values. NULL: it would
 * be one more than `max`.
 */
struct known_alert *alert_set_put(struct alert_set *set, const struct alert_in *in, int64_t now_ms,
                                  int64_t resolve_timeout_ms, uint64_t max);
/* As it was, out of the journal. */
struct known_alert *alert_set_restore(struct alert_set *set, const struct alert_in *in, int64_t updated_ms,
                                      bool is_timeout);
/* No group has it. */
void alert_set_remove(struct alert_set *set, struct known_alert *alert);

static inline bool known_alert_is_resolved(const struct known_alert *alert, int64_t now_ms)
{
    return alert->alert.ends_ms <= now_ms;
}

/* Alertmanager's fingerprint of a label set: FNV-1a, 64 bits, as prometheus/common's model.LabelSet has it. */
uint64_t alert_fingerprint(struct ap_slice labels);

/* All, in order of labels; free() the array. */
struct known_alert **alert_set_sorted(const struct alert_set *set);
