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
    size_t way_count; /* of all receivers */
    struct inhibit_rule *inhibit_rules;
    size_t inhibit_rule_count;
    struct named_intervals *intervals;
    size_t interval_count;
    struct yaml_texts templates; /* patterns of paths */
};

/* AP_E_NOT_FOUND, AP_E_IO, AP_E_PARSE, AP_E_LIMIT. */
ap_nodiscard enum ap_rc alert_config_load(const char *path, struct alert_config **ret_config, struct ap_err *err);
/* What holds without a file: one receiver, "none", that tells nobody. */
struct alert_config *alert_config_new_silent(void);
void alert_config_free(struct alert_config *config); /* NULL is allowed */
AP_DEFINE_AUTO(alert_config, struct alert_config, alert_config_free)

/* NULL: there is none of that name. */
const struct receiver *alert_config_receiver(const struct alert_config *config, const char *name);
const struct named_intervals *alert_config_intervals(const struct alert_config *config, const char *name);
/* Any of the intervals has the moment. */
bool named_intervals_contain(const struct named_intervals *intervals, int64_t unix_s);
/* Any of those of these names has it. */
bool alert_config_contains(const struct alert_config *config, const struct yaml_texts *names, int64_t unix_s);
