/*
 * ingest/otlp_json_internal.h - what the two files of the JSON decoder share
 *
 * otlp_json.c walks resources, scopes and metrics in whatever order their members come; otlp_json_message.c reads what
 * is inside them, by the descriptions of otlp_message.h.
 */
#pragma once

#include "base/arena.h"
#include "base/rc.h"
#include "codec/json_reader.h"
#include "ingest/otlp_message.h"
#include "ingest/otlp_sink.h"

struct otlp_json {
    struct otlp_sink *sink; /* lent, as the arena */
    struct ap_arena *arena;
    const char *failed_at;            /* where, once something has; NULL otherwise */
    const struct otlp_message *point; /* of the metric at hand */
    size_t attribute_count;           /* of the point at hand; may be one more than fit */
    struct otlp_attribute attributes[OTLP_ATTRIBUTES_MAX];
};

/* A reader of a part of the request, and its end, which notes the place of a failure for the one who reports it. */
void otlp_json_begin(struct otlp_json *json, struct json_reader *reader, struct ap_slice text);
enum ap_rc otlp_json_ended(struct otlp_json *json, const struct json_reader *reader, enum ap_rc rc);

/* The next value, an object, into its struct, which is zero but for what an earlier one said. */
ap_nodiscard enum ap_rc otlp_json_read_message(struct otlp_json *json, struct json_reader *reader,
                                               const struct otlp_message *message, void *to, struct ap_err *err);

/* AP_E_LIMIT: the arena is full. */
ap_nodiscard enum ap_rc otlp_json_fail_full(struct ap_err *err);
