#include "ingest/otlp_message.h"

#include "base/mem.h"

/* Name in JSON, kind (OTLP_FIELD_…), struct, member of it; then what else there is to say. */
#define FIELD(json, kind, type, member, ...)                                                                           \
    {                                                                                                                  \
        AP_SLICE_LITERAL(json), OTLP_FIELD_##kind, offsetof(struct type, member), __VA_ARGS__                          \
    }
#define MESSAGE(what, type, fields)                                                                                    \
    {                                                                                                                  \
        what, sizeof(struct type), fields, AP_ARRAY_COUNT(fields)                                                      \
    }
#define SAID(type, member) .said_offset = offsetof(struct type, member)

/* ---- Inside points ---- */

static const struct otlp_field exemplar_fields[] = {
    [2] = FIELD("timeUnixNano", FIXED64, otlp_exemplar, ts_ns),
    [3] = FIELD("asDouble", DOUBLE, otlp_exemplar, value, SAID(otlp_exemplar, has_value)),
    [4] = FIELD("spanId", ID, otlp_exemplar, span_id),
    [5] = FIELD("traceId", ID, otlp_exemplar, trace_id),
    [6] = FIELD("asInt", SFIXED64, otlp_exemplar, value, SAID(otlp_exemplar, has_value)),
    [7] = FIELD("filteredAttributes", ATTRIBUTES, otlp_exemplar, attributes),
};
static const struct otlp_message exemplar = MESSAGE("an exemplar", otlp_exemplar, exemplar_fields);

static const struct otlp_field buckets_fields[] = {
    [1] = FIELD("offset", SINT32, otlp_buckets, offset),
    [2] = FIELD("bucketCounts", VARINTS, otlp_buckets, counts),
};
static const struct otlp_message buckets = MESSAGE("a histogram", otlp_buckets, buckets_fields);

static const struct otlp_field quantile_fields[] = {
    [1] = FIELD("quantile", DOUBLE, otlp_quantile, quantile),
    [2] = FIELD("value", DOUBLE, otlp_quantile, value),
};
static const struct otlp_message quantile = MESSAGE("a summary", otlp_quantile, quantile_fields);

/* ---- Points ---- */

static const struct otlp_field number_fields[] = {
    [2] = FIELD("startTimeUnixNano", FIXED64, otlp_point, start_ns),
    [3] = FIELD("timeUnixNano", FIXED64, otlp_point, ts_ns),
    [4] = FIELD("asDouble", DOUBLE, otlp_point, value, SAID(otlp_point, has_value)),
    [5] = FIELD("exemplars", MESSAGES, otlp_point, exemplars, .message = &exemplar),
    [6] = FIELD("asInt", SFIXED64, otlp_point, value, SAID(otlp_point, has_value)),
    [7] = FIELD("attributes", POINT_ATTRIBUTES, otlp_point, attributes),
    [8] = FIELD("flags", VARINT, otlp_point, flags),
};
static const struct otlp_message number_point = MESSAGE("a point", otlp_point, number_fields);

static const struct otlp_field histogram_fields[] = {
    [2] = FIELD("startTimeUnixNano", FIXED64, otlp_point, start_ns),
    [3] = FIELD("timeUnixNano", FIXED64, otlp_point, ts_ns),
    [4] = FIELD("count", FIXED64, otlp_point, count),
    [5] = FIELD("sum", DOUBLE, otlp_point, sum, SAID(otlp_point, has_sum)),
    [6] = FIELD("bucketCounts", FIXED64S, otlp_point, bucket_counts),
    [7] = FIELD("explicitBounds", DOUBLES, otlp_point, bounds),
    [8] = FIELD("exemplars", MESSAGES, otlp_point, exemplars, .message = &exemplar),
    [9] = FIELD("attributes", POINT_ATTRIBUTES, otlp_point, attributes),
    [10] = FIELD("flags", VARINT, otlp_point, flags),
};
static const struct otlp_message histogram_point = MESSAGE("a histogram", otlp_point, histogram_fields);

static const struct otlp_field exponential_fields[] = {
    [1] = FIELD("attributes", POINT_ATTRIBUTES, otlp_point, attributes),
    [2] = FIELD("startTimeUnixNano", FIXED64, otlp_point, start_ns),
    [3] = FIELD("timeUnixNano", FIXED64, otlp_point, ts_ns),
    [4] = FIELD("count", FIXED64, otlp_point, count),
    [5] = FIELD("sum", DOUBLE, otlp_point, sum, SAID(otlp_point, has_sum)),
    [6] = FIELD("scale", SINT32, otlp_point, scale),
    [7] = FIELD("zeroCount", FIXED64, otlp_point, zero_count),
    [8] = FIELD("positive", MESSAGE, otlp_point, positive, .message = &buckets),
    [9] = FIELD("negative", MESSAGE, otlp_point, negative, .message = &buckets),
    [10] = FIELD("flags", VARINT, otlp_point, flags),
    [11] = FIELD("exemplars", MESSAGES, otlp_point, exemplars, .message = &exemplar),
    [14] = FIELD("zeroThreshold", DOUBLE, otlp_point, zero_threshold),
};
static const struct otlp_message exponential_point = MESSAGE("a histogram", otlp_point, exponential_fields);

static const struct otlp_field summary_fields[] = {
    [2] = FIELD("startTimeUnixNano", FIXED64, otlp_point, start_ns),
    [3] = FIELD("timeUnixNano", FIXED64, otlp_point, ts_ns),
    [4] = FIELD("count", FIXED64, otlp_point, count),
    [5] = FIELD("sum", DOUBLE, otlp_point, sum, SAID(otlp_point, has_sum)),
    [6] = FIELD("quantileValues", MESSAGES, otlp_point, quantiles, .message = &quantile),
    [7] = FIELD("attributes", POINT_ATTRIBUTES, otlp_point, attributes),
    [8] = FIELD("flags", VARINT, otlp_point, flags),
};
static const struct otlp_message summary_point = MESSAGE("a summary", otlp_point, summary_fields);

const struct otlp_message *otlp_point_message(enum otlp_kind kind)
{
    static const struct otlp_message *const messages[] = {
        [OTLP_NO_DATA] = NULL,
        [OTLP_GAUGE] = &number_point,
        [OTLP_SUM] = &number_point,
        [OTLP_HISTOGRAM] = &histogram_point,
        [OTLP_EXPONENTIAL] = &exponential_point,
        [OTLP_SUMMARY] = &summary_point,
    };
    return messages[kind];
}

/* ---- Around them ---- */

static const struct otlp_field resource_fields[] = {
    [1] = {AP_SLICE_LITERAL("attributes"), OTLP_FIELD_ATTRIBUTES, 0},
};
const struct otlp_message otlp_resource_message = MESSAGE("a resource", otlp_attributes, resource_fields);

static const struct otlp_field scope_fields[] = {
    [1] = FIELD("name", TEXT, otlp_scope, name),
    [2] = FIELD("version", TEXT, otlp_scope, version),
    [3] = FIELD("attributes", ATTRIBUTES, otlp_scope, attributes),
};
const struct otlp_message otlp_scope_message = MESSAGE("a scope", otlp_scope, scope_fields);

const struct otlp_field *otlp_message_find(const struct otlp_message *message, struct ap_slice name)
{
    for (size_t i = 0; i < message->field_count; i++)
        if (ap_slice_equal(message->fields[i].name, name))
            return &message->fields[i];
    return NULL;
}
