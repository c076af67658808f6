/*
 * Length-delimited messages io.prometheus.client.MetricFamily (metrics.proto of client_model), as client libraries push
 * them: what they say in fields becomes the series that text has lines for. A histogram with native buckets becomes one
 * native histogram, and its classic buckets are left out, as Prometheus does that scrapes both.
 */
#include <stdio.h>

#include "codec/protobuf.h"
#include "ingest/push_body_internal.h"
#include "ingest/remote_histogram.h"
#include "promql/float_text.h"

enum { NAME_BYTES_MAX = 1100 /* a name may have 1024, and a suffix */ };

/* Types of MetricFamily, by number. */
static const enum metadata_type types[] = {METADATA_COUNTER, METADATA_GAUGE,     METADATA_SUMMARY,
                                           METADATA_UNKNOWN, METADATA_HISTOGRAM, METADATA_GAUGE_HISTOGRAM};

struct metric {
    struct push_reading *reading;
    struct push_family *family;
    struct label labels[PUSH_LABELS_MAX];
    size_t label_count;
    struct ap_slice body; /* of gauge, counter, summary, untyped or histogram: the last one that was there */
    uint32_t field;       /* which of them; 0: none */
};

static enum ap_rc fail_malformed(struct ap_err *err)
{
    return ap_fail(err, AP_E_PARSE, "the body is no row of length-delimited io.prometheus.client.MetricFamily");
}

/* ---- Series ---- */

static enum ap_rc add(struct metric *metric, const char *suffix, struct label more, double number, struct ap_slice blob,
                      struct ap_err *err)
{
    char name[NAME_BYTES_MAX];
    struct ap_slice base = push_family_name(metric->family);
    int bytes = snprintf(name, sizeof(name), "%.*s%s", AP_SLICE_ARG(base), suffix);
    if (bytes < 0 || (size_t)bytes >= sizeof(name))
        return ap_fail(err, AP_E_PARSE, "the name of a metric may have %d bytes", LABEL_NAME_BYTES_MAX);
    struct push_value value = {ap_slice(name, (size_t)bytes), more, number, blob};
    return push_reading_add(metric->reading, metric->family, metric->labels, metric->label_count, &value, err);
}

static enum ap_rc add_number(struct metric *metric, const char *suffix, double number, struct ap_err *err)
{
    return add(metric, suffix, (struct label){0}, number, ap_slice("", 0), err);
}

static enum ap_rc add_bound(struct metric *metric, const char *suffix, const char *label, double bound, double number,
                            struct ap_err *err)
{
    struct float_text text = open_metrics_float(bound);
    return add(metric, suffix, (struct label){ap_slice_cstr(label), ap_slice_cstr(text.text)}, number, ap_slice("", 0),
               err);
}

/* A message of doubles and counts, such as Quantile and Bucket, by field number. */
static bool read_numbers(struct ap_slice message, double *ret_numbers, size_t count)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    while (protobuf_next(&reader, &field)) {
        uint32_t number = field.tag >> 3;
        if (number >= count)
            continue;
        if ((field.tag & 7) == PROTOBUF_FIXED64)
            ret_numbers[number] = ap_double_of_bits(field.number);
        else if ((field.tag & 7) == PROTOBUF_VARINT)
            ret_numbers[number] = (double)field.number;
    }
    return !reader.is_malformed;
}

static enum ap_rc add_simple(struct metric *metric, struct ap_err *err)
{
    double numbers[2] = {0};
    if (!read_numbers(metric->body, numbers, AP_ARRAY_COUNT(numbers)))
        return fail_malformed(err);
    return add_number(metric, "", numbers[1], err);
}

static enum ap_rc add_summary(struct metric *metric, struct ap_err *err)
{
    double totals[3] = {0}; /* 1 count, 2 sum */
    struct protobuf_reader reader = protobuf_reader(metric->body);
    struct protobuf_field field;
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        double quantile[3] = {0}; /* 1 quantile, 2 value */
        if (field.tag != PROTOBUF_TAG(3, PROTOBUF_BYTES))
            continue;
        if (!read_numbers(field.bytes, quantile, AP_ARRAY_COUNT(quantile)))
            return fail_malformed(err);
        rc = add_bound(metric, "", "quantile", quantile[1], quantile[2], err);
    }
    if (rc == AP_OK && (reader.is_malformed || !read_numbers(metric->body, totals, AP_ARRAY_COUNT(totals))))
        return fail_malformed(err);
    if (rc == AP_OK)
        rc = add_number(metric, "_sum", totals[2], err);
    return rc == AP_OK ? add_number(metric, "_count", totals[1], err) : rc;
}

/* ---- Histograms ---- */

static enum ap_rc add_classic(struct metric *metric, struct ap_err *err)
{
    double totals[5] = {0}; /* 1 count, 2 sum, 4 count as a float */
    struct protobuf_reader reader = protobuf_reader(metric->body);
    struct protobuf_field field;
    bool has_infinity = false;
    enum ap_rc rc = AP_OK;
    if (!read_numbers(metric->body, totals, AP_ARRAY_COUNT(totals)))
        return fail_malformed(err);
    double count = totals[4] > 0 ? totals[4] : totals[1];
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        double bucket[5] = {0}; /* 1 cumulative count, 2 upper bound, 4 the count as a float */
        if (field.tag != PROTOBUF_TAG(3, PROTOBUF_BYTES))
            continue;
        if (!read_numbers(field.bytes, bucket, AP_ARRAY_COUNT(bucket)))
            return fail_malformed(err);
        has_infinity |= bucket[2] == __builtin_inf();
        rc = add_bound(metric, "_bucket", "le", bucket[2], bucket[4] > 0 ? bucket[4] : bucket[1], err);
    }
    if (rc == AP_OK && !has_infinity)
        rc = add_bound(metric, "_bucket", "le", __builtin_inf(), count, err);
    if (rc == AP_OK)
        rc = add_number(metric, "_sum", totals[2], err);
    return rc == AP_OK ? add_number(metric, "_count", count, err) : rc;
}

/* The same histogram as remote write has it, which numbers the fields otherwise. */
static bool translate(struct ap_slice message, struct ap_buf *out)
{
    static const uint8_t numbers[] = {
        [1] = 1, [4] = 2,  [2] = 3,   [5] = 4,   [6] = 5,   [7] = 6,   [8] = 7,
        [9] = 8, [10] = 9, [11] = 10, [12] = 11, [13] = 12, [14] = 13,
    };
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    bool is_native = false;
    while (protobuf_next(&reader, &field)) {
        uint32_t number = field.tag >> 3;
        enum protobuf_wire wire = field.tag & 7;
        if (number >= AP_ARRAY_COUNT(numbers) || numbers[number] == 0)
            continue;
        /* A zero threshold alone makes it native, too: nothing has been observed yet. */
        is_native |= number >= 5 && number <= 14;
        if (number == 4 && ap_double_of_bits(field.number) == 0)
            continue; /* as if it were not there: it is not of floats for that */
        if (wire == PROTOBUF_BYTES)
            protobuf_add_bytes(out, numbers[number], field.bytes);
        else if (wire == PROTOBUF_VARINT)
            protobuf_add_varint(out, numbers[number], field.number);
        else if (wire == PROTOBUF_FIXED64)
            protobuf_add_double(out, numbers[number], ap_double_of_bits(field.number));
    }
    return is_native && !reader.is_malformed;
}

static enum ap_rc add_native(struct metric *metric, struct ap_slice message, struct ap_err *err)
{
    AP_AUTO(metrics_body) struct metrics_body *body = metrics_body_new(0, false);
    const uint8_t *malformed;
    (void)batch_add_series(&body->batch, ap_slice("", 0), (struct labels_hash){0});
    enum ap_rc rc = remote_histogram_add(body, message, &malformed, err);
    if (rc != AP_OK)
        return rc;
    if (body->batch.histogram_count == 0)
        return ap_fail(err, AP_E_PARSE, "%s", body->reason);
    return add(metric, "", (struct label){0}, 0, body->batch.histograms[0].blob, err);
}

static enum ap_rc add_histogram(struct metric *metric, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf native = {0};
    if (translate(metric->body, &native))
        return add_native(metric, ap_buf_slice(&native), err);
    return add_classic(metric, err);
}

/* ---- Messages ---- */

static enum ap_rc read_label(struct metric *metric, struct ap_slice message, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    struct label label = {ap_slice("", 0), ap_slice("", 0)};
    if (metric->label_count == PUSH_LABELS_MAX)
        return ap_fail(err, AP_E_LIMIT, "a series may have %d labels", PUSH_LABELS_MAX);
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_BYTES))
            label.name = field.bytes;
        else if (field.tag == PROTOBUF_TAG(2, PROTOBUF_BYTES))
            label.value = field.bytes;
    }
    metric->labels[metric->label_count++] = label;
    return reader.is_malformed ? fail_malformed(err) : AP_OK;
}

static enum ap_rc add_metric(struct metric *metric, struct ap_err *err)
{
    switch (metric->field) {
    case 0:
        return add_number(metric, "", 0, err);
    case 4:
        return add_summary(metric, err);
    case 7:
        return add_histogram(metric, err);
    default:
        return add_simple(metric, err);
    }
}

static enum ap_rc read_metric(struct metric *metric, struct ap_slice message, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    enum ap_rc rc = AP_OK;
    metric->label_count = 0;
    metric->field = 0;
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        switch (field.tag) {
        case PROTOBUF_TAG(1, PROTOBUF_BYTES):
            rc = read_label(metric, field.bytes, err);
            break;
        case PROTOBUF_TAG(2, PROTOBUF_BYTES): /* gauge */
        case PROTOBUF_TAG(3, PROTOBUF_BYTES): /* counter */
        case PROTOBUF_TAG(4, PROTOBUF_BYTES): /* summary */
        case PROTOBUF_TAG(5, PROTOBUF_BYTES): /* untyped */
        case PROTOBUF_TAG(7, PROTOBUF_BYTES): /* histogram */
            metric->field = field.tag >> 3;
            metric->body = field.bytes;
            break;
        case PROTOBUF_TAG(6, PROTOBUF_VARINT):
            metric->reading->families.has_ts = true;
            break;
        default:
            break;
        }
    }
    if (rc == AP_OK && reader.is_malformed)
        return fail_malformed(err);
    return rc == AP_OK ? add_metric(metric, err) : rc;
}

/* Name, help and type: they may come behind the metrics. False: malformed. */
static bool read_head(struct push_reading *reading, struct ap_slice message, struct push_family **ret_family)
{
    struct ap_slice name = ap_slice("", 0);
    struct ap_slice help = ap_slice("", 0);
    uint64_t type = 0;
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_BYTES))
            name = field.bytes;
        else if (field.tag == PROTOBUF_TAG(2, PROTOBUF_BYTES))
            help = field.bytes;
        else if (field.tag == PROTOBUF_TAG(3, PROTOBUF_VARINT))
            type = field.number;
    }
    if (reader.is_malformed || name.bytes == 0 || push_reading_find(reading, name))
        return false;
    *ret_family = push_reading_add_family(reading, name, type < AP_ARRAY_COUNT(types) ? types[type] : METADATA_UNKNOWN);
    push_family_set_help(*ret_family, help);
    return true;
}

static enum ap_rc read_family(struct push_reading *reading, struct ap_slice message, struct metric *metric,
                              struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    enum ap_rc rc = AP_OK;
    metric->reading = reading;
    if (!read_head(reading, message, &metric->family))
        return fail_malformed(err);
    while (rc == AP_OK && protobuf_next(&reader, &field))
        if (field.tag == PROTOBUF_TAG(4, PROTOBUF_BYTES))
            rc = read_metric(metric, field.bytes, err);
    return rc;
}

enum ap_rc push_protobuf_read(struct push_reading *reading, struct ap_slice bytes, struct ap_err *err)
{
    AP_AUTO_FREE struct metric *metric = ap_new0(struct metric);
    const uint8_t *at = (const uint8_t *)bytes.data;
    const uint8_t *end = at ? at + bytes.bytes : at;
    while (at < end) {
        uint64_t message_bytes;
        at = protobuf_varint(at, end, &message_bytes);
        if (!at || message_bytes > (uint64_t)(end - at))
            return fail_malformed(err);
        enum ap_rc rc = read_family(reading, ap_slice(at, (size_t)message_bytes), metric, err);
        if (rc != AP_OK)
            return rc;
        at += message_bytes;
    }
    return AP_OK;
}
