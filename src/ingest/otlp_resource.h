/*
 * ingest/otlp_resource.h - a resource's attributes: labels of its series, and target_info
 *
 * job is service.namespace/service.name, instance is service.instance.id. The others are told by the series
 * target_info, and are labels of the resource's series where settings promote them.
 */
#pragma once

#include <stdbool.h>

#include "base/rc.h"
#include "base/slice.h"
#include "ingest/otlp_labels.h"
#include "ingest/otlp_point.h"

struct metrics_body;
struct otlp_settings;

struct otlp_resource {
    struct otlp_attributes attributes; /* lent */
    struct ap_slice job;               /* empty: none */
    struct ap_slice instance;
};

/* Sets the labels of the resource's series. */
ap_nodiscard enum ap_rc otlp_resource_begin(struct otlp_resource *resource, const struct otlp_attributes *attributes,
                                            const struct otlp_settings *settings, struct otlp_labels *labels,
                                            struct ap_err *err);

/* Sets otel_scope_name and the like. */
ap_nodiscard enum ap_rc otlp_resource_set_scope(const struct otlp_scope *scope, const struct otlp_naming *naming,
                                                struct otlp_labels *labels, struct ap_err *err);

/* The labels of its target_info, in body's arena. Not wanted: they would say nothing, or of nobody. */
ap_nodiscard enum ap_rc otlp_resource_target_info(const struct otlp_resource *resource,
                                                  const struct otlp_settings *settings, struct metrics_body *body,
                                                  bool *ret_is_wanted, struct ap_slice *ret_labels, struct ap_err *err);
