/*
 * scrape/target_groups.h - what a discovery finds: targets in groups with common labels
 *
 * The same in YAML (static_configs, files) and JSON (files, HTTP): a list of {targets: [address, …], labels: {…}}.
 * A target is a set of labels, `__address__` among them. Sets are canonical (tsdb/labels.h); an empty one is no bytes.
 */
#pragma once

#include <stddef.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "codec/yaml.h"
#include "tsdb/labels.h"

enum { TARGET_GROUPS_TARGETS_MAX = 1000000 }; /* that one discovery may find */

#define LABEL_ADDRESS "__address__"

struct target_group {
    struct ap_slice labels; /* of all its targets; those of a target go before these */
    struct ap_slice *targets;
    size_t count;
};

/* One owner while it is made, immutable then. */
struct target_groups {
    struct target_group *items;
    size_t count;
    size_t capacity;
    size_t target_count;
    struct ap_arena arena; /* owned; all of it */
};

struct target_groups *target_groups_new(void);
void target_groups_free(struct target_groups *groups); /* NULL is allowed */
AP_DEFINE_AUTO(target_groups, struct target_groups, target_groups_free)

/* Appends one with room for so many targets. AP_E_LIMIT. Lent until the next one is added. */
ap_nodiscard enum ap_rc target_groups_add(struct target_groups *groups, size_t target_count,
                                          struct target_group **ret_group, struct ap_err *err);
/* Sorts the array. AP_E_PARSE, AP_E_LIMIT. */
ap_nodiscard enum ap_rc target_group_set_labels(struct target_groups *groups, struct target_group *group,
                                                struct label *labels, size_t count, struct ap_err *err);
ap_nodiscard enum ap_rc target_group_add(struct target_groups *groups, struct target_group *group, struct label *labels,
                                         size_t count, struct ap_err *err);

/* Appends what the list says. With `meta`, each group gets that label too. Errors have the place. */
ap_nodiscard enum ap_rc target_groups_read_yaml(struct target_groups *groups, const struct yaml_node *list,
                                                const struct label *meta, struct ap_err *err);
/* One entry of such a list. */
ap_nodiscard enum ap_rc target_groups_read_yaml_one(struct target_groups *groups, const struct yaml_node *node,
                                                    const struct label *meta, struct ap_err *err);
ap_nodiscard enum ap_rc target_groups_read_json(struct target_groups *groups, struct ap_slice text,
                                                const struct label *meta, struct ap_err *err);
/* Appends copies of all groups of another. AP_E_LIMIT. */
ap_nodiscard enum ap_rc target_groups_append(struct target_groups *groups, const struct target_groups *other,
                                             struct ap_err *err);
