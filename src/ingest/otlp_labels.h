/*
 * ingest/otlp_labels.h - the label set of a point, in the store's bytes, from resource, scope and attributes
 *
 * What is the same for many points is made once: the labels of resource and scope as bytes, when these begin, and for
 * points with the same attribute names (nearly all points of a metric) the plan of who stands where. A point's labels
 * are then copies, one behind the other, without a name being looked at twice.
 *
 *     resource: job, instance, promoted ─┐
 *     scope: otel_scope_…               ─┼─► fixed, sorted ─┐
 *     attributes: a.b=1, a_b=2  ──► plan: [__name__] [a_b: 1;2] [instance] [job] [le]
 *
 * Precedence as in Prometheus: __name__, le and quantile go first, then job, instance and the scope's, then the
 * point's attributes, then promoted ones of the resource. Attributes whose names become the same are joined by ';', in
 * order of their names.
 *
 * One owner, no locks; lives as long as one request.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "ingest/otlp_names.h"
#include "ingest/otlp_point.h"

enum {
    OTLP_FIXED_MAX = 2 * OTLP_ATTRIBUTES_MAX + 8, /* of resource and scope together */
    OTLP_STEPS_MAX = OTLP_ATTRIBUTES_MAX + OTLP_FIXED_MAX + 2,
};

/* A label that only some series of a point have; they stand in one place. */
enum otlp_extra { OTLP_EXTRA_NONE, OTLP_EXTRA_LE, OTLP_EXTRA_QUANTILE };

struct otlp_fixed {
    struct ap_slice name;
    struct ap_slice label; /* the store's bytes of the whole label; empty: its value is, and it takes others' place */
    bool is_weak;          /* gives way to an attribute of the point */
};

enum otlp_step_kind { OTLP_STEP_LABEL, OTLP_STEP_METRIC_NAME, OTLP_STEP_EXTRA };

struct otlp_step {
    enum otlp_step_kind kind;
    uint16_t attribute_first; /* in `order`: those that make this label */
    uint16_t attribute_count;
    int32_t fixed;              /* the label if they are empty or none; -1: no label then */
    struct ap_slice name_field; /* of the label that attributes make */
};

struct otlp_labels {
    const struct otlp_naming *naming; /* lent */
    struct ap_arena *arena;           /* lent */
    struct ap_slice source;           /* lent; where most names and values lie: the request's body */
    /* Of the resource, and of resource and scope. Each sorted by name. */
    struct otlp_fixed resource[OTLP_FIXED_MAX];
    size_t resource_count;
    struct otlp_fixed fixed[OTLP_FIXED_MAX];
    size_t fixed_count;
    size_t fixed_bytes;
    /* The plan, for points with these keys. */
    bool has_plan;
    enum otlp_extra extra;
    struct ap_slice keys[OTLP_ATTRIBUTES_MAX];
    size_t key_count;
    uint16_t order[OTLP_ATTRIBUTES_MAX];
    struct otlp_step steps[OTLP_STEPS_MAX];
    size_t step_count;
    size_t name_bytes; /* of all name_field */
};

/* A point's labels without metric name and extra label, and where these belong. In the arena. */
struct otlp_base {
    struct ap_slice labels;
    size_t name_offset;
    size_t extra_offset;
};

void otlp_labels_init(struct otlp_labels *labels, const struct otlp_naming *naming, struct ap_arena *arena,
                      struct ap_slice source);

/* The resource's labels from here on, without any scope's: none, until they are set. */
void otlp_labels_begin_resource(struct otlp_labels *labels);
/* `name` and `value` as the label has them. AP_E_LIMIT: too many, or the arena is full. A name that is there already
 * gets the new value. */
ap_nodiscard enum ap_rc otlp_labels_set_resource(struct otlp_labels *labels, struct ap_slice name,
                                                 struct ap_slice value, bool is_weak, struct ap_err *err);
/* The labels of the resource, and of no other scope. */
void otlp_labels_begin_scope(struct otlp_labels *labels);
ap_nodiscard enum ap_rc otlp_labels_set_scope(struct otlp_labels *labels, struct ap_slice name, struct ap_slice value,
                                              struct ap_err *err);

/*
 * The point's labels. AP_E_PARSE: an attribute's name cannot be a label's, `err` tells it; AP_E_LIMIT: the arena is
 * full.
 */
ap_nodiscard enum ap_rc otlp_labels_of_point(struct otlp_labels *labels, const struct otlp_attributes *attributes,
                                             enum otlp_extra extra, struct otlp_base *ret_base, struct ap_err *err);
/* The same in one piece, for points that are one series: `metric_name` is the label's bytes (otlp_labels_add_one()). */
ap_nodiscard enum ap_rc otlp_labels_of_series(struct otlp_labels *labels, const struct otlp_attributes *attributes,
                                              struct ap_slice metric_name, struct ap_slice *ret_labels,
                                              struct ap_err *err);
/* Puts the two labels (bytes; `extra` may be empty) where they belong. */
ap_nodiscard enum ap_rc otlp_labels_complete(struct otlp_labels *labels, const struct otlp_base *base,
                                             struct ap_slice metric_name, struct ap_slice extra,
                                             struct ap_slice *ret_labels, struct ap_err *err);
