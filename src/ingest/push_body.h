/*
 * ingest/push_body.h - the body of a push into metric families, as the Pushgateway takes it
 *
 * Text (Prometheus text format 0.0.4) or length-delimited messages io.prometheus.client.MetricFamily. A push is taken
 * whole or not at all: the first fault refuses it. The labels of the grouping key take the place of labels of the same
 * name. Whether the families fit with each other and with those of other groups is push.h's matter.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"
#include "ingest/push_family.h"
#include "ingest/push_key.h"

struct push_families {
    struct push_family **items; /* owned, as the array; each name once, none empty */
    size_t count;
    size_t capacity;
    bool has_ts; /* a sample came with a time, which was left out */
};
void push_families_add(struct push_families *families, struct push_family *take_family);
void push_families_clear(struct push_families *families);

struct push_body_options {
    const struct push_key *key; /* lent */
    uint64_t hash_seed;
    int64_t pushed_us;
    size_t bytes_max; /* of memory that the families may take */
    bool is_protobuf;
};

/* AP_E_PARSE: the sender's fault, in the Pushgateway's words; AP_E_LIMIT: too much. */
ap_nodiscard enum ap_rc push_body_read(const struct push_body_options *options, struct ap_slice bytes,
                                       struct push_families *ret_families, struct ap_err *err);
