/*
 * alert/route.h - the routing tree: which receivers an alert goes to, and how it is grouped on the way
 *
 *     route (matches everything) ──first child that matches, and more where `continue` is set──► … ──► the deepest
 * match
 *
 * A route has what it says, and otherwise what its parent has; the root has Alertmanager's defaults. Muting and active
 * intervals alone are not inherited. A tree is immutable once read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "codec/yaml.h"
#include "tsdb/matcher.h"

struct receiver;

enum {
    ROUTE_GROUP_WAIT_MS = 30 * 1000, /* Alertmanager's defaults */
    ROUTE_GROUP_INTERVAL_MS = 5 * 60 * 1000,
    ROUTE_REPEAT_INTERVAL_MS = 4 * 3600 * 1000,
    ROUTES_MAX = 10000,
    ROUTE_STEPS_MAX = 16,
};

/*
 * Who is told: the route's receiver, and in place of one that could not be told everything for so long the next, in
 * turn (`fallback:`, which is Apiary's own). Times count from when the first was to be told.
 */
struct route_step {
    const char *name;
    const struct receiver *receiver; /* config.c's to set; NULL: not looked up yet */
    int64_t after_ms;                /* 0: the first one's, and grows */
    const struct yaml_node *node;
};

struct route {
    const struct route *parent; /* NULL: the root */
    const char *receiver;
    const char *const *group_by; /* sorted */
    size_t group_by_count;
    bool is_grouped_by_all; /* `...`: every alert is a group of its own */
    int64_t group_wait_ms;
    int64_t group_interval_ms;
    int64_t repeat_interval_ms;
    struct yaml_texts muted_in; /* names of time intervals */
    struct yaml_texts active_in;
    struct route_step *steps; /* the arena's; the first is `receiver` */
    size_t step_count;
    struct matchers *matchers; /* sorted; owned by the tree */
    bool is_continuing;
    struct route *routes;
    size_t route_count;
    size_t index; /* among its siblings */
    const struct yaml_node *node;
};

/*
 * Reads the tree below `node`, from `arena`, which must stay. AP_E_PARSE: "file:line:column: …". *ret_root must be
 * cleared in any case.
 */
ap_nodiscard enum ap_rc route_read(const struct yaml_node *node, struct ap_arena *arena, struct route **ret_root,
                                   struct ap_err *err);
void route_clear(struct route *root); /* the matchers; NULL is allowed */

/* Calls `each` for every route that the alert goes to, in order. `labels` is canonical. */
typedef void (*route_fn)(const struct route *route, void *context);
void route_match(const struct route *root, struct ap_slice labels, route_fn each, void *context);

/* Every route, parents first. */
void route_walk(const struct route *root, route_fn each, void *context);

/* "{}/{severity="page"}": the matchers from the root down, as Alertmanager's group keys begin. */
void route_key(const struct route *route, struct ap_buf *out);
/* The same with its place among its siblings, which tells equal ones apart. */
void route_id(const struct route *route, struct ap_buf *out);

/* The labels that make the alert's group, canonical; empty when there are none. */
ap_nodiscard enum ap_rc route_group_labels(const struct route *route, struct ap_slice labels, struct ap_buf *out,
                                           struct ap_err *err);
