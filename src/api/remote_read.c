#include "api/remote_read.h"

#include <snappy-c.h>
#include <stdlib.h>

#include "api/question.h"
#include "api/remote_read_chunks.h"
#include "codec/protobuf.h"
#include "tsdb/histogram.h"
#include "tsdb/matcher.h"
#include "tsdb/tsdb.h"

enum { QUERIES_MAX = 1000, ARENA_BYTES_MAX = 8 << 20 };

/* ---- The request ---- */

struct query {
    int64_t min_ts_ms;
    int64_t max_ts_ms;
    struct matchers matchers;
};

static enum ap_rc read_matcher(struct ap_slice message, struct matchers *matchers, struct ap_err *err)
{
    static const enum matcher_kind kinds[] = {MATCHER_EQUAL, MATCHER_NOT_EQUAL, MATCHER_REGEX, MATCHER_NOT_REGEX};
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    uint64_t kind = 0;
    struct ap_slice name = {"", 0}, value = {"", 0};
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_VARINT))
            kind = field.number;
        else if (field.tag == PROTOBUF_TAG(2, PROTOBUF_BYTES))
            name = field.bytes;
        else if (field.tag == PROTOBUF_TAG(3, PROTOBUF_BYTES))
            value = field.bytes;
    }
    if (reader.is_malformed || kind >= AP_ARRAY_COUNT(kinds))
        return ap_fail(err, AP_E_PARSE, "the request has a malformed matcher");
    if (matchers->count == MATCHERS_MAX)
        return ap_fail(err, AP_E_LIMIT, "a query has more than %d matchers", MATCHERS_MAX);
    enum ap_rc rc = matcher_new(kinds[kind], name, value, &matchers->items[matchers->count], err);
    matchers->count += rc == AP_OK;
    return rc;
}

static enum ap_rc read_query(struct ap_slice message, struct query *query, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    enum ap_rc rc = AP_OK;
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_VARINT))
            query->min_ts_ms = (int64_t)field.number;
        else if (field.tag == PROTOBUF_TAG(2, PROTOBUF_VARINT))
            query->max_ts_ms = (int64_t)field.number;
        else if (field.tag == PROTOBUF_TAG(3, PROTOBUF_BYTES))
            rc = read_matcher(field.bytes, &query->matchers, err);
    }
    return rc == AP_OK && reader.is_malformed ? ap_fail(err, AP_E_PARSE, "the request has a malformed query") : rc;
}

/* As the client may ask for it, in order of its wishes. */
enum response_type { RESPONSE_SAMPLES, RESPONSE_CHUNKS, RESPONSE_TYPE_COUNT, RESPONSE_NONE = RESPONSE_TYPE_COUNT };

struct wishes {
    bool has_any;
    enum response_type type; /* the first that we know */
};

static void take_wish(struct wishes *wishes, uint64_t wish)
{
    wishes->has_any = true;
    if (wishes->type == RESPONSE_NONE && wish < RESPONSE_TYPE_COUNT)
        wishes->type = (enum response_type)wish;
}

/* The first of the client's wishes that we know, which come several to a field or one by one; without any, samples. */
static enum ap_rc choose_type(struct ap_slice body, enum response_type *ret_type, struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(body);
    struct protobuf_field field;
    struct wishes wishes = {.type = RESPONSE_NONE};
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(2, PROTOBUF_VARINT))
            take_wish(&wishes, field.number);
        if (field.tag != PROTOBUF_TAG(2, PROTOBUF_BYTES))
            continue;
        const uint8_t *at = (const uint8_t *)field.bytes.data, *end = at + field.bytes.bytes;
        for (uint64_t wish; at && at < end;)
            if ((at = protobuf_varint(at, end, &wish)))
                take_wish(&wishes, wish);
        reader.is_malformed |= field.bytes.bytes && !at;
    }
    *ret_type = wishes.has_any ? wishes.type : RESPONSE_SAMPLES;
    if (reader.is_malformed)
        return ap_fail(err, AP_E_PARSE,
                       "the body is not a ReadRequest; send one as protobuf with Content-Encoding: snappy");
    if (*ret_type == RESPONSE_NONE)
        return ap_fail(err, AP_E_PARSE,
                       "the request accepts no type of answer that there is: samples (0), streamed XOR chunks (1)");
    return AP_OK;
}

/* ---- The answer ---- */

static void add_spans(struct ap_buf *out, uint32_t number, const struct histogram_buckets *buckets)
{
    for (size_t i = 0; i < buckets->span_count; i++) {
        AP_AUTO_BUF struct ap_buf span = {0};
        protobuf_add_sint(&span, 1, buckets->spans[i].offset);
        protobuf_add_varint(&span, 2, buckets->spans[i].length);
        protobuf_add_bytes(out, number, ap_buf_slice(&span));
    }
}

static void add_doubles(struct ap_buf *out, uint32_t number, const double *values, size_t count)
{
    AP_AUTO_BUF struct ap_buf packed = {0};
    for (size_t i = 0; i < count; i++)
        ap_buf_add_u64(&packed, ap_double_to_bits(values[i]));
    if (count)
        protobuf_add_bytes(out, number, ap_buf_slice(&packed));
}

static void add_deltas(struct ap_buf *out, uint32_t number, const uint64_t *counts, size_t count)
{
    AP_AUTO_BUF struct ap_buf packed = {0};
    for (size_t i = 0; i < count; i++)
        ap_buf_add_varint(&packed, ap_zigzag((int64_t)(counts[i] - (i ? counts[i - 1] : 0))));
    if (count)
        protobuf_add_bytes(out, number, ap_buf_slice(&packed));
}

static void add_histogram(struct ap_buf *out, const struct histogram *histogram, int64_t ts_ms)
{
    if (histogram->is_float)
        protobuf_add_double(out, 2, histogram->count_value);
    else
        protobuf_add_varint(out, 1, histogram->count);
    protobuf_add_double(out, 3, histogram->sum);
    protobuf_add_sint(out, 4, histogram->schema);
    protobuf_add_double(out, 5, histogram->zero_threshold);
    if (histogram->is_float)
        protobuf_add_double(out, 7, histogram->zero_value);
    else
        protobuf_add_varint(out, 6, histogram->zero_count);
    add_spans(out, 8, &histogram->negative);
    add_spans(out, 11, &histogram->positive);
    if (histogram->is_float) {
        add_doubles(out, 10, histogram->negative.values, histogram->negative.count);
        add_doubles(out, 13, histogram->positive.values, histogram->positive.count);
    } else {
        add_deltas(out, 9, histogram->negative.counts, histogram->negative.count);
        add_deltas(out, 12, histogram->positive.counts, histogram->positive.count);
    }
    protobuf_add_varint(out, 14, histogram->reset_hint);
    protobuf_add_varint(out, 15, (uint64_t)ts_ms);
    add_doubles(out, 16, histogram->custom_values, histogram->custom_value_count);
}

/* Canonical labels are written as remote read's TimeSeries has them. */
static enum ap_rc add_series(struct ap_buf *out, struct ap_slice labels, const struct tsdb_columns *columns,
                             struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf series = {0};
    AP_AUTO_BUF struct ap_buf part = {0};
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, ARENA_BYTES_MAX);
    ap_buf_add_slice(&series, labels);
    for (size_t i = 0; i < columns->count; i++) {
        ap_buf_reset(&part);
        protobuf_add_double(&part, 1, columns->values[i]);
        protobuf_add_varint(&part, 2, (uint64_t)columns->ts_ms[i]);
        protobuf_add_bytes(&series, 2, ap_buf_slice(&part));
    }
    for (size_t i = 0; i < columns->histogram_count; i++) {
        struct histogram histogram;
        enum ap_rc rc = histogram_decode(columns->histograms[i], &arena, &histogram, err);
        if (rc != AP_OK)
            return rc;
        ap_buf_reset(&part);
        add_histogram(&part, &histogram, columns->histogram_ts_ms[i]);
        protobuf_add_bytes(&series, 4, ap_buf_slice(&part));
        ap_arena_reset(&arena);
    }
    if (columns->count + columns->histogram_count)
        protobuf_add_bytes(out, 1, ap_buf_slice(&series));
    return AP_OK;
}

static enum ap_rc fail_size(const struct question *question, struct ap_err *err)
{
    return ap_fail(err, AP_E_LIMIT,
                   "the answer would be larger than %zu MiB; ask for fewer series or a shorter time, or raise "
                   "tsdb.remote_read_size",
                   question->api->remote_read_bytes_max >> 20);
}

/* Chunks leave as they come, samples are compressed as a whole. */
static enum ap_rc answer_series(struct question *question, enum response_type type, uint64_t query_index,
                                struct ap_slice labels, const struct tsdb_columns *columns, struct ap_buf *result,
                                struct ap_err *err)
{
    enum ap_rc rc;
    if (type == RESPONSE_CHUNKS) {
        rc = remote_read_add_frames(result, query_index, labels, columns, err);
        return rc == AP_OK ? question_flush(question, result, err) : rc;
    }
    rc = add_series(result, labels, columns, err);
    return rc == AP_OK && !ap_buf_ok(result) ? fail_size(question, err) : rc;
}

/* `result` gets TimeSeries, or the frames of all series. */
static enum ap_rc answer_query(struct question *question, struct ap_slice message, enum response_type type,
                               uint64_t query_index, struct ap_buf *result, struct ap_err *err)
{
    struct query query = {0};
    struct tsdb_columns columns = {0};
    AP_AUTO(tsdb_set) struct tsdb_set *set = NULL;
    enum ap_rc rc = read_query(message, &query, err);
    if (rc == AP_OK && query.matchers.count == 0)
        rc = ap_fail(err, AP_E_PARSE, "a query has no matchers");
    struct tsdb_select_options options = {&query.matchers, query.min_ts_ms, query.max_ts_ms, 0};
    if (rc == AP_OK)
        rc = tsdb_select(question->api->tsdb, &options, &set, err);
    for (size_t i = 0; rc == AP_OK && i < tsdb_set_count(set); i++) {
        rc = tsdb_set_read(set, i, &columns, err);
        if (rc == AP_OK)
            rc = answer_series(question, type, query_index, tsdb_set_labels(set, i), &columns, result, err);
    }
    tsdb_columns_clear(&columns);
    matchers_clear(&query.matchers);
    return rc;
}

static enum ap_rc compress(struct ap_slice plain, struct ap_buf *out, struct ap_err *err)
{
    size_t bytes = snappy_max_compressed_length(plain.bytes);
    char *to = ap_buf_reserve(out, bytes);
    if (!to || snappy_compress(plain.data ? plain.data : "", plain.bytes, to, &bytes) != SNAPPY_OK)
        return ap_fail(err, AP_E_NOMEM, "no memory for an answer of %zu bytes", plain.bytes);
    out->bytes += bytes;
    return AP_OK;
}

static enum ap_rc answer_samples(struct question *question, struct ap_buf *plain, struct ap_buf *out,
                                 struct ap_err *err)
{
    question_set_bare(question, out, "application/x-protobuf");
    question->content_encoding = "snappy";
    return compress(ap_buf_slice(plain), out, err);
}

static enum ap_rc answer(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf plain = {.bytes_max = question->api->remote_read_bytes_max};
    enum response_type type = RESPONSE_NONE;
    enum ap_rc rc = choose_type(http_body(question->request), &type, err);
    struct protobuf_reader reader = protobuf_reader(http_body(question->request));
    struct protobuf_field field;
    uint64_t count = 0;
    if (rc == AP_OK && type == RESPONSE_CHUNKS)
        question_set_bare(question, out, "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse");
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        if (field.tag != PROTOBUF_TAG(1, PROTOBUF_BYTES))
            continue;
        if (count == QUERIES_MAX)
            return ap_fail(err, AP_E_LIMIT, "the request has more than %d queries", QUERIES_MAX);
        AP_AUTO_BUF struct ap_buf result = {.bytes_max = question->api->remote_read_bytes_max};
        rc = answer_query(question, field.bytes, type, count++, type == RESPONSE_CHUNKS ? out : &result, err);
        if (rc == AP_OK && type == RESPONSE_SAMPLES)
            protobuf_add_bytes(&plain, 1, ap_buf_slice(&result));
    }
    if (rc == AP_OK && !ap_buf_ok(&plain))
        rc = fail_size(question, err);
    if (rc != AP_OK || type == RESPONSE_CHUNKS)
        return rc;
    return answer_samples(question, &plain, out, err);
}

void remote_read_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer);
}
