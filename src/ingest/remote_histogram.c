#include "ingest/remote_histogram.h"

#include "base/bits.h"
#include "codec/protobuf.h"
#include "tsdb/histogram.h"

/* Which of metrics_body.numbers holds what. */
enum { NEGATIVE_SPANS, NEGATIVE_COUNTS, POSITIVE_SPANS, POSITIVE_COUNTS, CUSTOM_VALUES };

enum {
    NUMBERS_BYTES_MAX = (HISTOGRAM_BUCKETS_MAX + 1) * 8, /* one more than allowed, which histogram_check() refuses */
    REDUCED_BYTES_MAX = 8 << 20,
};

/* What is being read. Both kinds of counts land in the same array: a histogram has only one of them. */
struct reading {
    struct metrics_body *body;
    struct histogram histogram;
    int64_t ts_ms;
    int64_t before[2]; /* the last bucket's count, by sign, for the deltas */
    const char *fault; /* why it is refused; NULL: sound so far */
    const uint8_t *malformed;
};

static void add_number(struct reading *reading, size_t array, uint64_t bits)
{
    struct ap_buf *numbers = &reading->body->numbers[array];
    char *to = ap_buf_reserve(numbers, sizeof(bits));
    if (!to)
        return;
    memcpy(to, &bits, sizeof(bits));
    numbers->bytes += sizeof(bits);
}

static void add_delta(struct reading *reading, size_t array, uint64_t number)
{
    int64_t *before = &reading->before[array == POSITIVE_COUNTS];
    if (__builtin_add_overflow(*before, ap_unzigzag(number), before) || *before < 0)
        reading->fault = "a bucket of the histogram has a negative count";
    add_number(reading, array, (uint64_t)*before);
}

/* Numbers in one field, as new senders pack them. */
static void add_packed_deltas(struct reading *reading, size_t array, struct ap_slice packed)
{
    const uint8_t *at = (const uint8_t *)packed.data;
    const uint8_t *end = at + packed.bytes;
    while (at < end) {
        uint64_t number;
        const uint8_t *next = protobuf_varint(at, end, &number);
        if (!next) {
            reading->malformed = at;
            return;
        }
        add_delta(reading, array, number);
        at = next;
    }
}

static void add_packed_doubles(struct reading *reading, size_t array, struct ap_slice packed)
{
    const uint8_t *at = (const uint8_t *)packed.data;
    if (packed.bytes % 8) {
        reading->malformed = at;
        return;
    }
    for (size_t i = 0; i < packed.bytes; i += 8)
        add_number(reading, array, protobuf_fixed64(at + i));
}

static void add_span(struct reading *reading, size_t array, struct ap_slice message)
{
    struct histogram_span span = {0};
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    while (protobuf_next(&reader, &field)) {
        switch (field.tag) {
        case PROTOBUF_TAG(1, PROTOBUF_VARINT):
            span.offset = (int32_t)ap_unzigzag((uint32_t)field.number);
            break;
        case PROTOBUF_TAG(2, PROTOBUF_VARINT):
            span.length = (uint32_t)field.number;
            break;
        default:
            break;
        }
    }
    if (reader.is_malformed)
        reading->malformed = reader.next;
    _Static_assert(sizeof(span) == sizeof(uint64_t), "spans take as much as numbers");
    uint64_t bits;
    memcpy(&bits, &span, sizeof(bits));
    add_number(reading, array, bits);
}

static void read_field(struct reading *reading, const struct protobuf_field *field)
{
    struct histogram *histogram = &reading->histogram;
    switch (field->tag) {
    case PROTOBUF_TAG(1, PROTOBUF_VARINT):
        histogram->count = field->number;
        break;
    case PROTOBUF_TAG(2, PROTOBUF_FIXED64):
        histogram->count_value = ap_double_of_bits(field->number);
        histogram->is_float = true;
        break;
    case PROTOBUF_TAG(3, PROTOBUF_FIXED64):
        histogram->sum = ap_double_of_bits(field->number);
        break;
    case PROTOBUF_TAG(4, PROTOBUF_VARINT):
        histogram->schema = (int32_t)ap_unzigzag((uint32_t)field->number);
        break;
    case PROTOBUF_TAG(5, PROTOBUF_FIXED64):
        histogram->zero_threshold = ap_double_of_bits(field->number);
        break;
    case PROTOBUF_TAG(6, PROTOBUF_VARINT):
        histogram->zero_count = field->number;
        break;
    case PROTOBUF_TAG(7, PROTOBUF_FIXED64):
        histogram->zero_value = ap_double_of_bits(field->number);
        break;
    case PROTOBUF_TAG(8, PROTOBUF_BYTES):
        add_span(reading, NEGATIVE_SPANS, field->bytes);
        break;
    case PROTOBUF_TAG(9, PROTOBUF_BYTES):
        add_packed_deltas(reading, NEGATIVE_COUNTS, field->bytes);
        break;
    case PROTOBUF_TAG(9, PROTOBUF_VARINT):
        add_delta(reading, NEGATIVE_COUNTS, field->number);
        break;
    case PROTOBUF_TAG(10, PROTOBUF_BYTES):
        add_packed_doubles(reading, NEGATIVE_COUNTS, field->bytes);
        break;
    case PROTOBUF_TAG(10, PROTOBUF_FIXED64):
        add_number(reading, NEGATIVE_COUNTS, field->number);
        break;
    case PROTOBUF_TAG(11, PROTOBUF_BYTES):
        add_span(reading, POSITIVE_SPANS, field->bytes);
        break;
    case PROTOBUF_TAG(12, PROTOBUF_BYTES):
        add_packed_deltas(reading, POSITIVE_COUNTS, field->bytes);
        break;
    case PROTOBUF_TAG(12, PROTOBUF_VARINT):
        add_delta(reading, POSITIVE_COUNTS, field->number);
        break;
    case PROTOBUF_TAG(13, PROTOBUF_BYTES):
        add_packed_doubles(reading, POSITIVE_COUNTS, field->bytes);
        break;
    case PROTOBUF_TAG(13, PROTOBUF_FIXED64):
        add_number(reading, POSITIVE_COUNTS, field->number);
        break;
    case PROTOBUF_TAG(14, PROTOBUF_VARINT):
        if (field->number <= HISTOGRAM_RESET_GAUGE)
            histogram->reset_hint = (enum histogram_reset_hint)field->number;
        break;
    case PROTOBUF_TAG(15, PROTOBUF_VARINT):
        reading->ts_ms = (int64_t)field->number;
        break;
    case PROTOBUF_TAG(16, PROTOBUF_BYTES):
        add_packed_doubles(reading, CUSTOM_VALUES, field->bytes);
        break;
    case PROTOBUF_TAG(16, PROTOBUF_FIXED64):
        add_number(reading, CUSTOM_VALUES, field->number);
        break;
    default:
        break;
    }
}

static struct histogram_buckets buckets_of(const struct reading *reading, size_t spans, size_t counts)
{
    const struct ap_buf *numbers = reading->body->numbers;
    bool is_float = reading->histogram.is_float;
    return (struct histogram_buckets){
        .spans = (const void *)numbers[spans].data,
        .span_count = numbers[spans].bytes / 8,
        .counts = is_float ? NULL : (const void *)numbers[counts].data,
        .values = is_float ? (const void *)numbers[counts].data : NULL,
        .count = numbers[counts].bytes / 8,
    };
}

/* The bytes that the store keeps, into body->blob. */
static enum ap_rc encode(struct reading *reading, struct ap_err *err)
{
    struct metrics_body *body = reading->body;
    struct histogram *histogram = &reading->histogram;
    for (size_t i = 0; i < AP_ARRAY_COUNT(body->numbers); i++)
        if (!ap_buf_ok(&body->numbers[i]))
            return ap_fail(err, AP_E_LIMIT, "a histogram may have %d buckets of one sign", HISTOGRAM_BUCKETS_MAX);
    if (reading->fault && !histogram->is_float)
        return ap_fail(err, AP_E_PARSE, "%s", reading->fault);
    histogram->negative = buckets_of(reading, NEGATIVE_SPANS, NEGATIVE_COUNTS);
    histogram->positive = buckets_of(reading, POSITIVE_SPANS, POSITIVE_COUNTS);
    histogram->custom_values = (const void *)body->numbers[CUSTOM_VALUES].data;
    histogram->custom_value_count = body->numbers[CUSTOM_VALUES].bytes / 8;
    AP_AUTO_ARENA struct ap_arena reduced;
    ap_arena_init(&reduced, REDUCED_BYTES_MAX);
    enum ap_rc rc = histogram_reduce(histogram, &reduced, err);
    if (rc == AP_OK)
        rc = histogram_check(histogram, err);
    if (rc != AP_OK)
        return rc;
    ap_buf_reset(&body->blob);
    histogram_encode(histogram, &body->blob);
    return AP_OK;
}

enum ap_rc remote_histogram_add(struct metrics_body *body, struct ap_slice message, const uint8_t **ret_malformed,
                                struct ap_err *err)
{
    struct reading reading = {.body = body};
    for (size_t i = 0; i < AP_ARRAY_COUNT(body->numbers); i++) {
        ap_buf_reset(&body->numbers[i]);
        body->numbers[i].bytes_max = NUMBERS_BYTES_MAX;
    }
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    while (!reading.malformed && protobuf_next(&reader, &field))
        read_field(&reading, &field);
    if (reader.is_malformed)
        reading.malformed = reader.next;
    if (reading.malformed) {
        *ret_malformed = reading.malformed;
        return ap_fail(err, AP_E_PARSE, "malformed Protocol Buffers in a histogram");
    }
    if (encode(&reading, err) != AP_OK) {
        metrics_body_refuse_histogram(body, err->text);
        return AP_OK;
    }
    struct ap_slice kept;
    enum ap_rc rc = metrics_body_keep(body, ap_buf_slice(&body->blob), &kept, err);
    if (rc == AP_OK)
        batch_add_histogram(&body->batch, reading.ts_ms, kept);
    return rc;
}
