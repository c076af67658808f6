#include "ingest/remote_write.h"

#include "base/bits.h"
#include "codec/protobuf.h"
#include "ingest/remote_histogram.h"

enum {
    TAG_LABEL = PROTOBUF_TAG(1, PROTOBUF_BYTES),
    TAG_SAMPLE = PROTOBUF_TAG(2, PROTOBUF_BYTES),
    TAG_EXEMPLAR = PROTOBUF_TAG(3, PROTOBUF_BYTES),
    TAG_HISTOGRAM = PROTOBUF_TAG(4, PROTOBUF_BYTES),
    TAG_VALUE = PROTOBUF_TAG(1, PROTOBUF_FIXED64), /* of a sample */
    TAG_TS = PROTOBUF_TAG(2, PROTOBUF_VARINT),
};

struct decoding {
    struct metrics_body *body;
    const uint8_t *malformed; /* where, once something is; NULL otherwise */
};

static enum ap_rc fail_malformed(struct decoding *decoding, const uint8_t *at, const char *what, struct ap_err *err)
{
    decoding->malformed = at;
    return ap_fail(err, AP_E_PARSE, "malformed Protocol Buffers in %s", what);
}

/* ---- Labels ---- */

/* Behind the run of labels that begins at `at`; NULL with *ret_malformed: a length reaches beyond the message. */
static inline const uint8_t *skip_labels(const uint8_t *at, const uint8_t *end, const uint8_t **ret_malformed)
{
    while (at < end && *at == TAG_LABEL) {
        uint64_t bytes;
        const uint8_t *next = protobuf_varint(at + 1, end, &bytes);
        if (__builtin_expect(!next || bytes > (uint64_t)(end - next), 0)) {
            *ret_malformed = at;
            return NULL;
        }
        at = next + bytes;
    }
    return at;
}

/* Labels that lie scattered over the message, gathered. No sender is known to do this; the format allows it. */
static enum ap_rc gather_labels(struct decoding *decoding, struct ap_slice message, struct ap_slice *ret_labels,
                                struct ap_err *err)
{
    struct ap_buf *labels = &decoding->body->labels;
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    ap_buf_reset(labels);
    while (protobuf_next(&reader, &field))
        if (field.tag == TAG_LABEL)
            protobuf_add_bytes(labels, 1, field.bytes);
    if (reader.is_malformed)
        return fail_malformed(decoding, reader.next, "a series", err);
    return metrics_body_keep(decoding->body, ap_buf_slice(labels), ret_labels, err);
}

static bool read_label(struct ap_slice message, struct label *ret_label, const uint8_t **ret_malformed)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    *ret_label = (struct label){ap_slice("", 0), ap_slice("", 0)};
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_BYTES))
            ret_label->name = field.bytes;
        else if (field.tag == PROTOBUF_TAG(2, PROTOBUF_BYTES))
            ret_label->value = field.bytes;
    }
    *ret_malformed = reader.next;
    return !reader.is_malformed;
}

/* ---- What a series has ---- */

static enum ap_rc add_any_sample(struct decoding *decoding, struct ap_slice message, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    double value = 0;
    int64_t ts_ms = 0;
    while (protobuf_next(&reader, &field)) {
        if (field.tag == TAG_VALUE)
            value = ap_double_of_bits(field.number);
        else if (field.tag == TAG_TS)
            ts_ms = (int64_t)field.number;
    }
    if (reader.is_malformed)
        return fail_malformed(decoding, reader.next, "a sample", err);
    batch_add_sample(&decoding->body->batch, ts_ms, value);
    return AP_OK;
}

/*
 * Samples as everybody writes them: value (left out when it is 0), then time, nothing else. Stops at the first field
 * that is something else.
 */
static inline const uint8_t *add_plain_samples(struct batch *batch, const uint8_t *at, const uint8_t *end)
{
    while (end - at >= 2 && at[0] == TAG_SAMPLE && at[1] < 0x80 && at[1] <= end - at - 2) {
        const uint8_t *next = at + 2;
        const uint8_t *sample_end = next + at[1];
        uint64_t bits = 0;
        uint64_t ts;
        if (sample_end - next > 9 && next[0] == TAG_VALUE) {
            bits = protobuf_fixed64(next + 1);
            next += 9;
        }
        if (next == sample_end || *next != TAG_TS || protobuf_varint(next + 1, sample_end, &ts) != sample_end)
            break;
        batch_add_sample(batch, (int64_t)ts, ap_double_of_bits(bits));
        at = sample_end;
    }
    return at;
}

static enum ap_rc add_exemplar(struct decoding *decoding, struct ap_slice message, struct ap_err *err)
{
    struct label labels[METRICS_EXEMPLAR_CHARACTERS_MAX + 1];
    size_t label_count = 0;
    double value = 0;
    int64_t ts_ms = 0;
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    while (protobuf_next(&reader, &field)) {
        switch (field.tag) {
        case PROTOBUF_TAG(1, PROTOBUF_BYTES):
            if (label_count == AP_ARRAY_COUNT(labels)) /* each has a character, so these are already too many */
                break;
            const uint8_t *malformed;
            if (!read_label(field.bytes, &labels[label_count++], &malformed))
                return fail_malformed(decoding, malformed, "an exemplar", err);
            break;
        case PROTOBUF_TAG(2, PROTOBUF_FIXED64):
            value = ap_double_of_bits(field.number);
            break;
        case PROTOBUF_TAG(3, PROTOBUF_VARINT):
            ts_ms = (int64_t)field.number;
            break;
        default:
            break;
        }
    }
    if (reader.is_malformed)
        return fail_malformed(decoding, reader.next, "an exemplar", err);
    return metrics_body_add_exemplar(decoding->body, labels, label_count, ts_ms, value, err);
}

/* ---- Series ---- */

/* What comes behind the labels. *ret_has_label: more labels are among it. */
static enum ap_rc add_fields(struct decoding *decoding, struct protobuf_reader reader, bool *ret_has_label,
                             struct ap_err *err)
{
    struct protobuf_field field;
    enum ap_rc rc = AP_OK;
    for (;;) {
        reader.next = add_plain_samples(&decoding->body->batch, reader.next, reader.end);
        if (__builtin_expect(rc != AP_OK || !protobuf_next(&reader, &field), 1))
            break;
        if (field.tag == TAG_SAMPLE)
            rc = add_any_sample(decoding, field.bytes, err);
        else if (field.tag == TAG_HISTOGRAM)
            rc = remote_histogram_add(decoding->body, field.bytes, &decoding->malformed, err);
        else if (field.tag == TAG_EXEMPLAR)
            rc = add_exemplar(decoding, field.bytes, err);
        else if (field.tag == TAG_LABEL)
            *ret_has_label = true;
    }
    if (reader.is_malformed)
        return fail_malformed(decoding, reader.next, "a series", err);
    return rc;
}

static enum ap_rc add_series(struct decoding *decoding, struct ap_slice message, struct ap_err *err)
{
    struct metrics_body *body = decoding->body;
    struct protobuf_reader reader = protobuf_reader(message);
    const uint8_t *malformed = NULL;
    const uint8_t *labels_end = skip_labels(reader.next, reader.end, &malformed);
    if (!labels_end)
        return fail_malformed(decoding, malformed, "a label", err);
    struct ap_slice labels = ap_slice(reader.next, (size_t)(labels_end - reader.next));
    (void)batch_add_series(&body->batch, labels, labels_hash_of(body->hash_seed, labels));
    reader.next = labels_end;
    bool has_label = false;
    enum ap_rc rc = add_fields(decoding, reader, &has_label, err);
    if (rc == AP_OK && has_label) {
        rc = gather_labels(decoding, message, &labels, err);
        struct batch_series *series = &body->batch.series[body->batch.series_count - 1];
        series->labels = labels;
        series->hash = labels_hash_of(body->hash_seed, labels);
    }
    if (rc != AP_OK)
        return rc;
    metrics_body_end_series(body);
    return metrics_body_check_size(body, err);
}

/* ---- Metadata ---- */

static enum ap_rc add_metadata(struct decoding *decoding, struct ap_slice message, struct ap_err *err)
{
    struct batch_metadata metadata = {0};
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    while (protobuf_next(&reader, &field)) {
        switch (field.tag) {
        case PROTOBUF_TAG(1, PROTOBUF_VARINT): /* the protocol's numbers are batch.h's */
            metadata.type = field.number < METADATA_TYPE_COUNT ? (enum metadata_type)field.number : METADATA_UNKNOWN;
            break;
        case PROTOBUF_TAG(2, PROTOBUF_BYTES):
            metadata.metric = field.bytes;
            break;
        case PROTOBUF_TAG(4, PROTOBUF_BYTES):
            metadata.help = field.bytes;
            break;
        case PROTOBUF_TAG(5, PROTOBUF_BYTES):
            metadata.unit = field.bytes;
            break;
        default:
            break;
        }
    }
    if (reader.is_malformed)
        return fail_malformed(decoding, reader.next, "metadata", err);
    if (metadata.metric.bytes && decoding->body->batch.metadata_count < METRICS_SERIES_MAX)
        *batch_add_metadata(&decoding->body->batch) = metadata;
    return AP_OK;
}

static enum ap_rc decode(struct decoding *decoding, struct ap_slice message, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_BYTES))
            rc = add_series(decoding, field.bytes, err);
        else if (field.tag == PROTOBUF_TAG(3, PROTOBUF_BYTES))
            rc = add_metadata(decoding, field.bytes, err);
    }
    return reader.is_malformed ? fail_malformed(decoding, reader.next, "the request", err) : rc;
}

enum ap_rc remote_write_decode(struct metrics_body *body, struct ap_slice message, struct ap_err *err)
{
    struct decoding decoding = {.body = body};
    enum ap_rc rc = decode(&decoding, message, err);
    if (rc != AP_E_PARSE || !decoding.malformed)
        return rc;
    struct ap_err what = *err;
    return ap_fail(err, rc, "%s, at offset %zu of the decompressed body", what.text,
                   (size_t)(decoding.malformed - (const uint8_t *)message.data));
}
