#include "ingest/remote_write2.h"

#include <string.h>

#include "base/bits.h"
#include "codec/protobuf.h"
#include "ingest/remote_histogram.h"

enum {
    METADATA_CACHE_COUNT = 1024,
    OVERRUN_BYTES = 32,
    SERIES_LABELS_MAX = 2 * LABELS_COUNT_MAX, /* refs; some more than allowed, so that the store gives the reason */
};

/* What a request says about a metric comes with each of its series; told once is enough. */
struct cached_metadata {
    uint32_t name;
    uint32_t type;
    uint32_t help;
    uint32_t unit;
};

struct decoding {
    struct metrics_body *body;
    const char *end; /* of the message, where all symbols are */
    const struct ap_slice *symbols;
    size_t symbol_count;
    const uint8_t *malformed;
};

/* One TimeSeries, as far as it must be known before its samples are added. */
struct series_head {
    uint32_t refs[2 * SERIES_LABELS_MAX];
    size_t ref_count;
    struct ap_slice metadata;
    int64_t created_ts_ms;
    const char *fault; /* why it is refused */
};

static enum ap_rc fail_malformed(struct decoding *decoding, const uint8_t *at, const char *what, struct ap_err *err)
{
    decoding->malformed = at;
    return ap_fail(err, AP_E_PARSE, "malformed Protocol Buffers in %s", what);
}

/* ---- Symbols ---- */

static enum ap_rc read_symbols(struct decoding *decoding, struct ap_slice message, struct ap_err *err)
{
    struct ap_buf *symbols = &decoding->body->symbols;
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    symbols->bytes_max = REMOTE_WRITE2_SYMBOLS_MAX * sizeof(struct ap_slice);
    while (protobuf_next(&reader, &field)) {
        if (field.tag != PROTOBUF_TAG(4, PROTOBUF_BYTES))
            continue;
        char *to = ap_buf_reserve(symbols, sizeof(field.bytes));
        if (!to)
            return ap_fail(err, AP_E_LIMIT, "a request may have %d symbols; send it in smaller parts",
                           REMOTE_WRITE2_SYMBOLS_MAX);
        memcpy(to, &field.bytes, sizeof(field.bytes));
        symbols->bytes += sizeof(field.bytes);
    }
    if (reader.is_malformed)
        return fail_malformed(decoding, reader.next, "the request", err);
    decoding->symbols = (const void *)symbols->data;
    decoding->symbol_count = symbols->bytes / sizeof(struct ap_slice);
    if (decoding->symbol_count && decoding->symbols[0].bytes)
        return ap_fail(err, AP_E_PARSE, "the first symbol must be the empty text");
    return AP_OK;
}

/* Refs in one field, as they are written, or one in each. False: malformed. */
static bool read_refs(const struct protobuf_field *field, uint32_t *refs, size_t refs_max, size_t *count)
{
    struct ap_slice packed = field->bytes;
    if ((field->tag & 7) == PROTOBUF_VARINT) {
        if (*count < refs_max)
            refs[*count] = field->number > UINT32_MAX ? UINT32_MAX : (uint32_t)field->number;
        (*count)++;
        return true;
    }
    const uint8_t *at = (const uint8_t *)packed.data;
    const uint8_t *end = at + packed.bytes;
    while (at < end) {
        uint64_t ref;
        at = protobuf_varint(at, end, &ref);
        if (!at)
            return false;
        if (*count < refs_max)
            refs[*count] = ref > UINT32_MAX ? UINT32_MAX : (uint32_t)ref;
        (*count)++;
    }
    return true;
}

/* Why these refs are no labels; NULL: they are. */
static const char *check_refs(const struct decoding *decoding, const uint32_t *refs, size_t count, size_t refs_max)
{
    if (count % 2)
        return "a series has an odd number of label references";
    if (count > refs_max)
        return "a series has too many labels";
    for (size_t i = 0; i < count; i++)
        if (refs[i] >= decoding->symbol_count)
            return "a label refers to a symbol that is not there";
    return NULL;
}

/* ---- Labels as the store keeps them ---- */

static inline size_t varint_bytes(size_t value)
{
    return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : value < 0x10000000 ? 4 : 5;
}

static inline char *put_varint(char *to, size_t value)
{
    for (; value >= 0x80; value >>= 7)
        *to++ = (char)(value | 0x80);
    *to++ = (char)value;
    return to;
}

/* Up to 32 bytes are copied as 32, which is one or two instructions; there is room for that. */
static inline char *put_text(const struct decoding *decoding, char *to, uint8_t tag, struct ap_slice text)
{
    *to++ = (char)tag;
    to = put_varint(to, text.bytes);
    if (text.bytes <= OVERRUN_BYTES && decoding->end - text.data >= OVERRUN_BYTES)
        memcpy(to, text.data, OVERRUN_BYTES);
    else if (text.bytes)
        memcpy(to, text.data, text.bytes);
    return to + text.bytes;
}

static enum ap_rc make_labels(struct decoding *decoding, const struct series_head *head, struct ap_slice *ret_labels,
                              struct ap_err *err)
{
    const struct ap_slice *symbols = decoding->symbols;
    size_t bytes = OVERRUN_BYTES;
    for (size_t i = 0; i < head->ref_count; i++)
        bytes += symbols[head->refs[i]].bytes + 12; /* two tags and two lengths */
    char *labels = ap_arena_try_alloc(&decoding->body->arena, bytes);
    if (!labels)
        return ap_fail(err, AP_E_LIMIT, "the request holds too many labels; send it in smaller parts");
    char *to = labels;
    for (size_t i = 0; i < head->ref_count; i += 2) {
        struct ap_slice name = symbols[head->refs[i]];
        struct ap_slice value = symbols[head->refs[i + 1]];
        *to++ = PROTOBUF_TAG(1, PROTOBUF_BYTES);
        to = put_varint(to, 2 + varint_bytes(name.bytes) + name.bytes + varint_bytes(value.bytes) + value.bytes);
        to = put_text(decoding, to, PROTOBUF_TAG(1, PROTOBUF_BYTES), name);
        to = put_text(decoding, to, PROTOBUF_TAG(2, PROTOBUF_BYTES), value);
    }
    *ret_labels = ap_slice(labels, (size_t)(to - labels));
    return AP_OK;
}

/* ---- What a series has ---- */

static enum ap_rc add_sample(struct decoding *decoding, const struct series_head *head, struct ap_slice message,
                             struct ap_err *err)
{
    struct batch *batch = &decoding->body->batch;
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    double value = 0;
    int64_t ts_ms = 0;
    int64_t start_ts_ms = head->created_ts_ms;
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_FIXED64))
            value = ap_double_of_bits(field.number);
        else if (field.tag == PROTOBUF_TAG(2, PROTOBUF_VARINT))
            ts_ms = (int64_t)field.number;
        else if (field.tag == PROTOBUF_TAG(3, PROTOBUF_VARINT))
            start_ts_ms = (int64_t)field.number;
    }
    if (reader.is_malformed)
        return fail_malformed(decoding, reader.next, "a sample", err);
    struct batch_series *series = &batch->series[batch->series_count - 1];
    if (decoding->body->is_injecting_start_zeros && series->sample_count == 0 && start_ts_ms > 0 &&
        start_ts_ms < ts_ms) {
        series->has_start_zero = true;
        batch_add_sample(batch, start_ts_ms, 0);
    }
    batch_add_sample(batch, ts_ms, value);
    return AP_OK;
}

static enum ap_rc add_exemplar(struct decoding *decoding, struct ap_slice message, struct ap_err *err)
{
    uint32_t refs[2 * (METRICS_EXEMPLAR_CHARACTERS_MAX + 1)];
    struct label labels[METRICS_EXEMPLAR_CHARACTERS_MAX + 1];
    size_t ref_count = 0;
    double value = 0;
    int64_t ts_ms = 0;
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    bool is_sound = true;
    while (is_sound && protobuf_next(&reader, &field)) {
        switch (field.tag) {
        case PROTOBUF_TAG(1, PROTOBUF_BYTES):
        case PROTOBUF_TAG(1, PROTOBUF_VARINT):
            is_sound = read_refs(&field, refs, AP_ARRAY_COUNT(refs), &ref_count);
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
    if (!is_sound || reader.is_malformed)
        return fail_malformed(decoding, reader.next, "an exemplar", err);
    const char *fault = check_refs(decoding, refs, ref_count, AP_ARRAY_COUNT(refs));
    if (fault) {
        metrics_body_refuse_exemplar(decoding->body, fault);
        return AP_OK;
    }
    for (size_t i = 0; i < ref_count / 2; i++)
        labels[i] = (struct label){decoding->symbols[refs[2 * i]], decoding->symbols[refs[2 * i + 1]]};
    return metrics_body_add_exemplar(decoding->body, labels, ref_count / 2, ts_ms, value, err);
}

/* ---- Metadata ---- */

static struct ap_slice symbol_or_empty(const struct decoding *decoding, uint32_t ref)
{
    return ref < decoding->symbol_count ? decoding->symbols[ref] : ap_slice("", 0);
}

/* The family that a series of a classic histogram or summary belongs to. */
static struct ap_slice family_of(struct ap_slice metric, enum metadata_type type)
{
    static const char *const suffixes[] = {"_bucket", "_count", "_sum"};
    if (type != METADATA_HISTOGRAM && type != METADATA_SUMMARY && type != METADATA_GAUGE_HISTOGRAM)
        return metric;
    for (size_t i = type == METADATA_SUMMARY; i < AP_ARRAY_COUNT(suffixes); i++) {
        size_t bytes = strlen(suffixes[i]);
        if (metric.bytes > bytes && memcmp(metric.data + metric.bytes - bytes, suffixes[i], bytes) == 0)
            return ap_slice(metric.data, metric.bytes - bytes);
    }
    return metric;
}

/* True: this request has said so before. */
static bool is_told(struct metrics_body *body, const struct cached_metadata *metadata)
{
    struct ap_buf *cache = &body->metadata_cache;
    if (cache->bytes == 0) {
        char *memory = ap_buf_reserve(cache, METADATA_CACHE_COUNT * sizeof(*metadata));
        memset(memory, 0, METADATA_CACHE_COUNT * sizeof(*metadata)); /* nobody's name is symbol 0 */
        cache->bytes = METADATA_CACHE_COUNT * sizeof(*metadata);
    }
    struct cached_metadata *cached = (void *)(cache->data + metadata->name % METADATA_CACHE_COUNT * sizeof(*metadata));
    if (memcmp(cached, metadata, sizeof(*metadata)) == 0)
        return true;
    *cached = *metadata;
    return false;
}

static enum ap_rc add_metadata(struct decoding *decoding, const struct series_head *head, struct ap_err *err)
{
    struct cached_metadata metadata = {0};
    struct protobuf_reader reader = protobuf_reader(head->metadata);
    struct protobuf_field field;
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_VARINT))
            metadata.type = field.number < METADATA_TYPE_COUNT ? (uint32_t)field.number : METADATA_UNKNOWN;
        else if (field.tag == PROTOBUF_TAG(3, PROTOBUF_VARINT))
            metadata.help = (uint32_t)field.number;
        else if (field.tag == PROTOBUF_TAG(4, PROTOBUF_VARINT))
            metadata.unit = (uint32_t)field.number;
    }
    if (reader.is_malformed)
        return fail_malformed(decoding, reader.next, "metadata", err);
    for (size_t i = 0; i < head->ref_count; i += 2)
        if (ap_slice_equal_cstr(decoding->symbols[head->refs[i]], LABEL_METRIC_NAME))
            metadata.name = head->refs[i + 1];
    if (metadata.name == 0 || decoding->symbols[metadata.name].bytes == 0 ||
        (metadata.type == 0 && metadata.help == 0 && metadata.unit == 0) || is_told(decoding->body, &metadata))
        return AP_OK;
    enum metadata_type type = (enum metadata_type)metadata.type;
    *batch_add_metadata(&decoding->body->batch) = (struct batch_metadata){
        .metric = family_of(decoding->symbols[metadata.name], type),
        .help = symbol_or_empty(decoding, metadata.help),
        .unit = symbol_or_empty(decoding, metadata.unit),
        .type = type,
    };
    return AP_OK;
}

/* ---- Series ---- */

static enum ap_rc read_head(struct decoding *decoding, struct ap_slice message, struct series_head *ret_head,
                            struct ap_err *err)
{
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    ret_head->ref_count = 0;
    ret_head->metadata = (struct ap_slice){0};
    ret_head->created_ts_ms = 0;
    ret_head->fault = NULL;
    bool is_sound = true;
    while (is_sound && protobuf_next(&reader, &field)) {
        switch (field.tag) {
        case PROTOBUF_TAG(1, PROTOBUF_BYTES):
        case PROTOBUF_TAG(1, PROTOBUF_VARINT):
            is_sound = read_refs(&field, ret_head->refs, AP_ARRAY_COUNT(ret_head->refs), &ret_head->ref_count);
            break;
        case PROTOBUF_TAG(5, PROTOBUF_BYTES):
            ret_head->metadata = field.bytes;
            break;
        case PROTOBUF_TAG(6, PROTOBUF_VARINT):
            ret_head->created_ts_ms = (int64_t)field.number;
            break;
        default:
            break;
        }
    }
    if (!is_sound || reader.is_malformed)
        return fail_malformed(decoding, reader.next, "a series", err);
    ret_head->fault = check_refs(decoding, ret_head->refs, ret_head->ref_count, AP_ARRAY_COUNT(ret_head->refs));
    if (ret_head->fault)
        ret_head->ref_count = 0;
    return AP_OK;
}

static enum ap_rc add_series(struct decoding *decoding, struct ap_slice message, struct ap_err *err)
{
    struct metrics_body *body = decoding->body;
    struct series_head head;
    struct ap_slice labels;
    enum ap_rc rc = read_head(decoding, message, &head, err);
    if (rc == AP_OK)
        rc = make_labels(decoding, &head, &labels, err);
    if (rc != AP_OK)
        return rc;
    (void)batch_add_series(&body->batch, labels, labels_hash_of(body->hash_seed, labels));
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    while (rc == AP_OK && protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(2, PROTOBUF_BYTES))
            rc = add_sample(decoding, &head, field.bytes, err);
        else if (field.tag == PROTOBUF_TAG(3, PROTOBUF_BYTES))
            rc = remote_histogram_add(body, field.bytes, &decoding->malformed, err);
        else if (field.tag == PROTOBUF_TAG(4, PROTOBUF_BYTES))
            rc = add_exemplar(decoding, field.bytes, err);
    }
    if (rc == AP_OK && head.metadata.bytes && !head.fault)
        rc = add_metadata(decoding, &head, err);
    if (rc != AP_OK)
        return rc;
    if (head.fault)
        metrics_body_refuse_series(body, head.fault);
    else
        metrics_body_end_series(body);
    return metrics_body_check_size(body, err);
}

static enum ap_rc decode(struct decoding *decoding, struct ap_slice message, struct ap_err *err)
{
    enum ap_rc rc = read_symbols(decoding, message, err);
    struct protobuf_reader reader = protobuf_reader(message);
    struct protobuf_field field;
    while (rc == AP_OK && protobuf_next(&reader, &field))
        if (field.tag == PROTOBUF_TAG(5, PROTOBUF_BYTES))
            rc = add_series(decoding, field.bytes, err);
    return rc;
}

enum ap_rc remote_write2_decode(struct metrics_body *body, struct ap_slice message, struct ap_err *err)
{
    struct decoding decoding = {.body = body, .end = message.data ? message.data + message.bytes : NULL};
    enum ap_rc rc = decode(&decoding, message, err);
    if (rc != AP_E_PARSE || !decoding.malformed)
        return rc;
    struct ap_err what = *err;
    return ap_fail(err, rc, "%s, at offset %zu of the decompressed body", what.text,
                   (size_t)(decoding.malformed - (const uint8_t *)message.data));
}
