/*
 * ingest/otlp_message.h - OTLP's messages that are no more than their fields: points and what is inside them
 *
 * One description for both encodings: what a field is called in JSON, which number it has in Protocol Buffers, what it
 * is, and where in which struct of otlp_point.h it goes. A decoder knows how to read each kind of field, and nothing of
 * the messages. What depends on the order of things (metrics, scopes, resources around the points) is not described:
 * the decoders walk it by themselves.
 *
 * After opentelemetry/proto/metrics/v1/metrics.proto and common/v1/common.proto of OpenTelemetry's protocol, 1.x. A
 * field that is not here is passed over.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ingest/otlp_point.h"

enum otlp_field_kind {
    OTLP_FIELD_NONE,             /* nothing is made of it */
    OTLP_FIELD_FIXED64,          /* uint64_t, as OTLP_FIELD_VARINT */
    OTLP_FIELD_VARINT,           /* both kinds are numbers in JSON, which may stand in quotes */
    OTLP_FIELD_SINT32,           /* int32_t */
    OTLP_FIELD_DOUBLE,           /* double */
    OTLP_FIELD_SFIXED64,         /* a whole number; double */
    OTLP_FIELD_TEXT,             /* struct ap_slice */
    OTLP_FIELD_ID,               /* bytes, in JSON in hexadecimal digits; struct ap_slice with lower-case digits */
    OTLP_FIELD_FIXED64S,         /* struct otlp_numbers, of counts */
    OTLP_FIELD_VARINTS,          /* the same */
    OTLP_FIELD_DOUBLES,          /* the same, of doubles */
    OTLP_FIELD_MESSAGE,          /* the struct that it describes; no lists in it, because it may come in parts */
    OTLP_FIELD_MESSAGES,         /* struct otlp_list of them */
    OTLP_FIELD_ATTRIBUTES,       /* struct otlp_attributes, with an array of its own */
    OTLP_FIELD_POINT_ATTRIBUTES, /* the same, in memory that points share: one has them at a time */
};

struct otlp_message;
struct otlp_field {
    struct ap_slice name; /* in JSON */
    enum otlp_field_kind kind;
    uint16_t offset;
    uint16_t said_offset;               /* of a bool that says that the field was there; 0: none */
    const struct otlp_message *message; /* of OTLP_FIELD_MESSAGE and _MESSAGES */
};

struct otlp_message {
    const char *what;                /* for errors: "a point" */
    size_t bytes;                    /* of its struct */
    const struct otlp_field *fields; /* by their number in Protocol Buffers */
    size_t field_count;              /* the largest number, and 1 */
};

extern const struct otlp_message otlp_resource_message; /* struct otlp_attributes */
extern const struct otlp_message otlp_scope_message;    /* struct otlp_scope */
/* struct otlp_point; NULL of OTLP_NO_DATA. */
const struct otlp_message *otlp_point_message(enum otlp_kind kind);

/* The field of this name in JSON, or NULL. An empty name may find one of OTLP_FIELD_NONE. */
const struct otlp_field *otlp_message_find(const struct otlp_message *message, struct ap_slice name);
