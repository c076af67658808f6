/*
 * ingest/otlp_protobuf_internal.h - what the two files of the Protocol Buffers decoder share
 *
 * otlp_protobuf.c walks resources, scopes and metrics; otlp_protobuf_message.c reads what is inside them, by the
 * descriptions of otlp_message.h, and points of gauges and sums by itself as well, because they are most of all there
 * is.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "codec/protobuf.h"
#include "ingest/otlp_message.h"
#include "ingest/otlp_sink.h"

#define BYTES(field)   PROTOBUF_TAG(field, PROTOBUF_BYTES)
#define VARINT(field)  PROTOBUF_TAG(field, PROTOBUF_VARINT)
#define FIXED64(field) PROTOBUF_TAG(field, PROTOBUF_FIXED64)

struct otlp_protobuf {
    struct otlp_sink *sink; /* lent, as the arena */
    struct ap_arena *arena;
    const uint8_t *malformed; /* where, once something is; NULL otherwise */
    size_t attribute_count;   /* of the point at hand; may be one more than fit */
    struct otlp_attribute attributes[OTLP_ATTRIBUTES_MAX];
};

/* AP_E_PARSE. Notes the place, for the one who reports it. */
ap_nodiscard enum ap_rc otlp_protobuf_fail(struct otlp_protobuf *protobuf, const uint8_t *at, const char *what,
                                           struct ap_err *err);

/* Into its struct, which is zero but for what an earlier one said. AP_E_LIMIT: the arena is full. */
ap_nodiscard enum ap_rc otlp_protobuf_read_message(struct otlp_protobuf *protobuf, const struct otlp_message *message,
                                                   struct ap_slice text, void *to, struct ap_err *err);

/* A point of any kind, handed to the sink. */
ap_nodiscard enum ap_rc otlp_protobuf_add_point(struct otlp_protobuf *protobuf, enum otlp_kind kind,
                                                struct ap_slice text, struct ap_err *err);
