/*
 * alert/config.h - Alertmanager's configuration file, as it stands: read whole, checked whole
 *
 * Names and meanings are Alertmanager's (its documentation, "Configuration"). What is wrong is told as
 * "file:line:column: …", and then nothing of the file is in effect.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "alert/receiver.h"
#include "alert/route.h"
#include "alert/time_interval.h"
#include "base/arena.h"
#include "base/mem.h"
#include "base/rc.h"
#include "codec/yaml.h"
#include "tsdb/matcher.h"

/* While an alert matches `source`, those that match `target` and have the same values for `equal` are not notified. */
struct inhibit_rule {
    const char *name; /* or NULL */
    struct matchers source;
    struct matchers target;
    struct yaml_texts equal;
};

struct named_intervals {
    const char *name;
    struct time_interval *items;
    size_t count;
    const struct yaml_node *node;
};

struct alert_config {
    struct yaml_document *document; /* owned; texts are its */
    struct ap_arena arena;
    struct receiver_global global;
    struct route *root;
    struct receiver *receivers;
    size_t receiver_count;
    size_t way_count; /* of all receivers, those that the server adds included */
    struct inhibit_rule *inhibit_rules;
    size_t inhibit_rule_count;
    struct named_intervals *intervals;
    size_t interval_count;
    struct yaml_texts templates;  /* patterns of paths */
    struct alert_config *builtin; /* owned; what the server adds (alert/watchdog.h), or NULL */
};

/* AP_E_NOT_FOUND, AP_E_IO, AP_E_PARSE, AP_E_LIMIT. */
ap_nodiscard enum ap_rc alert_config_load(const char *path, struct alert_config **ret_config, struct ap_err *err);
/* The same from a text; `name` stands for the path. */
ap_nodiscard enum ap_rc alert_config_parse(struct ap_slice text, const char *name, struct alert_config **ret_config,
                                           struct ap_err *err);
/* What holds without a file: one receiver, "none", that tells nobody. */
struct alert_config *alert_config_new_silent(void);
void alert_config_free(struct alert_config *config); /* NULL is allowed */
AP_DEFINE_AUTO(alert_config, struct alert_config, alert_config_free)

/*
 * Adds what a server needs for itself, without touching what somebody has written: an alert that a route below the root
 * of `take_builtin` matches goes there alone, every other one as before. AP_E_CONFLICT: both have a receiver of one
 * name.
 */
ap_nodiscard enum ap_rc alert_config_add_builtin(struct alert_config *config, struct alert_config *take_builtin,
                                                 struct ap_err *err);
/* Calls `each` for every route that the alert goes to, in order. `labels` is canonical. */
void alert_config_match(const struct alert_config *config, struct ap_slice labels, route_fn each, void *context);

/* NULL: there is none of that name. Those that were added are found as well. */
const struct receiver *alert_config_receiver(const struct alert_config *config, const char *name);
const struct named_intervals *alert_config_intervals(const struct alert_config *config, const char *name);
/* Any of the intervals has the moment. */
bool named_intervals_contain(const struct named_intervals *intervals, int64_t unix_s);
/* Any of those of these names has it. */
bool alert_config_contains(const struct alert_config *config, const struct yaml_texts *names, int64_t unix_s);
