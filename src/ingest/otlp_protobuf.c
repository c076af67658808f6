#include "ingest/otlp_protobuf.h"

#include "ingest/otlp_protobuf_internal.h"

/* ---- Metrics ---- */

static enum otlp_kind kind_of(uint32_t tag)
{
    switch (tag) {
    case BYTES(5):
        return OTLP_GAUGE;
    case BYTES(7):
        return OTLP_SUM;
    case BYTES(9):
        return OTLP_HISTOGRAM;
    case BYTES(10):
        return OTLP_EXPONENTIAL;
    case BYTES(11):
        return OTLP_SUMMARY;
    default:
        return OTLP_NO_DATA;
    }
}

/* The small fields of a metric's data, which may stand behind its points: *data ends with these then. */
static enum ap_rc read_data_head(struct otlp_protobuf *protobuf, struct ap_slice *data, struct otlp_metric *metric,
                                 struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(*data);
    struct protobuf_field field;
    data->bytes = 0;
    while (protobuf_next(&reader, &field)) {
        if (field.tag == BYTES(1))
            data->bytes = (size_t)((const char *)reader.next - data->data);
        else if (field.tag == VARINT(2))
            metric->temporality = field.number;
        else if (field.tag == VARINT(3))
            metric->is_monotonic = field.number != 0;
    }
    return reader.is_malformed ? otlp_protobuf_fail(protobuf, reader.next, "a metric", err) : AP_OK;
}

/* Its head as it was last time, and behind it nothing but data. */
static bool read_expected_metric(struct otlp_protobuf *protobuf, struct ap_slice message, struct otlp_metric *metric,
                                 struct ap_slice *ret_data)
{
    const struct otlp_metric *expected = otlp_sink_expected_metric(protobuf->sink, message);
    uint64_t bytes;
    if (!expected || expected->head.bytes == message.bytes)
        return false;
    const uint8_t *at = (const uint8_t *)message.data + expected->head.bytes;
    const uint8_t *end = (const uint8_t *)message.data + message.bytes;
    enum otlp_kind kind = kind_of(*at);
    at = protobuf_varint(at + 1, end, &bytes);
    if (kind == OTLP_NO_DATA || !at || bytes != (uint64_t)(end - at))
        return false;
    *metric = *expected;
    metric->kind = kind;
    metric->is_monotonic = false;
    metric->temporality = OTLP_UNSPECIFIED;
    *ret_data = ap_slice(at, (size_t)bytes);
    return true;
}

static enum ap_rc read_metric(struct otlp_protobuf *protobuf, struct ap_slice message, struct otlp_metric *metric,
                              struct ap_slice *ret_data, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    const uint8_t *head_end = NULL; /* what is behind is nothing but data */
    for (const uint8_t *at = reader.next; protobuf_next(&reader, &field); at = reader.next) {
        head_end = NULL;
        if (field.tag == BYTES(1)) {
            metric->name = field.bytes;
        } else if (field.tag == BYTES(2)) {
            metric->description = field.bytes;
        } else if (field.tag == BYTES(3)) {
            metric->unit = field.bytes;
        } else if (kind_of(field.tag) != OTLP_NO_DATA) {
            metric->kind = kind_of(field.tag);
            *ret_data = field.bytes;
            head_end = at;
        }
    }
    if (reader.is_malformed)
        return otlp_protobuf_fail(protobuf, reader.next, "a metric", err);
    if (head_end)
        metric->head = ap_slice(message.data, (size_t)((const char *)head_end - message.data));
    return AP_OK;
}

static enum ap_rc add_metric(struct otlp_protobuf *protobuf, struct ap_slice message, struct ap_err *err)
{
    struct otlp_metric metric = {.name = ap_slice("", 0), .description = ap_slice("", 0), .unit = ap_slice("", 0)};
    struct ap_slice data = {0};
    enum ap_rc rc = AP_OK;
    if (!read_expected_metric(protobuf, message, &metric, &data))
        rc = read_metric(protobuf, message, &metric, &data, err);
    if (rc == AP_OK)
        rc = read_data_head(protobuf, &data, &metric, err);
    if (rc == AP_OK)
        rc = otlp_sink_begin_metric(protobuf->sink, &metric, err);
    struct protobuf_reader reader = protobuf_reader(data);
    struct protobuf_field field;
    while (rc == AP_OK && protobuf_next(&reader, &field))
        if (field.tag == BYTES(1))
            rc = otlp_protobuf_add_point(protobuf, metric.kind, field.bytes, err);
    return rc;
}

/* ---- Scopes and resources ---- */

/* Every message has its own: of several the last one's attributes count, which are known by its bytes. */
static enum ap_rc read_attributes_of(struct otlp_protobuf *protobuf, const struct otlp_message *message,
                                     struct ap_slice text, void *to, struct otlp_attributes *attributes,
                                     struct ap_err *err)
{
    *attributes = (struct otlp_attributes){.raw = text};
    return otlp_protobuf_read_message(protobuf, message, text, to, err);
}

static enum ap_rc add_scope(struct otlp_protobuf *protobuf, struct ap_slice message, struct ap_err *err)
{
    struct otlp_scope scope = {.name = ap_slice("", 0), .version = ap_slice("", 0), .schema_url = ap_slice("", 0)};
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    size_t scope_count = 0;
    bool is_begun = !otlp_sink_reads_scopes(protobuf->sink); /* then one pass is enough */
    enum ap_rc rc = is_begun ? otlp_sink_begin_scope(protobuf->sink, &scope, err) : AP_OK;
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        if (field.tag == BYTES(1)) {
            rc = read_attributes_of(protobuf, &otlp_scope_message, field.bytes, &scope, &scope.attributes, err);
            scope_count++;
        } else if (field.tag == BYTES(3)) {
            scope.schema_url = field.bytes;
        } else if (field.tag == BYTES(2) && is_begun) {
            rc = add_metric(protobuf, field.bytes, err);
        }
    }
    if (reader.is_malformed)
        return otlp_protobuf_fail(protobuf, reader.next, "a scope's metrics", err);
    if (is_begun || rc != AP_OK)
        return rc;
    if (scope_count != 1) /* what several say is put together */
        scope.attributes.raw = scope_count == 0 ? ap_slice("", 0) : (struct ap_slice){0};
    rc = otlp_sink_begin_scope(protobuf->sink, &scope, err);
    reader = protobuf_reader(message);
    while (rc == AP_OK && protobuf_next(&reader, &field))
        if (field.tag == BYTES(2))
            rc = add_metric(protobuf, field.bytes, err);
    return rc;
}

static enum ap_rc add_resource(struct otlp_protobuf *protobuf, struct ap_slice message, struct ap_err *err)
{
    struct otlp_attributes attributes = {.raw = ap_slice("", 0)};
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && protobuf_next(&reader, &field))
        if (field.tag == BYTES(1))
            rc = read_attributes_of(protobuf, &otlp_resource_message, field.bytes, &attributes, &attributes, err);
    if (reader.is_malformed)
        return otlp_protobuf_fail(protobuf, reader.next, "a resource's metrics", err);
    if (rc == AP_OK)
        rc = otlp_sink_begin_resource(protobuf->sink, &attributes, err);
    reader = protobuf_reader(message);
    while (rc == AP_OK && protobuf_next(&reader, &field))
        if (field.tag == BYTES(2))
            rc = add_scope(protobuf, field.bytes, err);
    return rc == AP_OK ? otlp_sink_end_resource(protobuf->sink, err) : rc;
}

static enum ap_rc decode(struct otlp_protobuf *protobuf, struct ap_slice message, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && protobuf_next(&reader, &field))
        if (field.tag == BYTES(1))
            rc = add_resource(protobuf, field.bytes, err);
    return reader.is_malformed ? otlp_protobuf_fail(protobuf, reader.next, "the request", err) : rc;
}

enum ap_rc otlp_protobuf_decode(struct otlp_sink *sink, struct ap_slice message, struct ap_err *err)
{
    struct otlp_protobuf protobuf;
    protobuf.sink = sink;
    protobuf.arena = otlp_sink_arena(sink);
    protobuf.malformed = NULL;
    enum ap_rc rc = decode(&protobuf, message, err);
    if (rc != AP_E_PARSE || !protobuf.malformed)
        return rc;
    struct ap_err what = *err;
    return ap_fail(err, rc, "%s, at offset %zu of the decompressed body", what.text,
                   (size_t)(protobuf.malformed - (const uint8_t *)message.data));
}
