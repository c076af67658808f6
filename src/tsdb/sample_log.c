#include "tsdb/sample_log.h"

#include <math.h>
#include <string.h>
#include <zstd.h>

#include "base/assert.h"
#include "base/bits.h"
#include "base/mem.h"

enum {
    RECORD_VERSION = 1,
    RECORD_HEAD_BYTES_MAX = 48,
    FLAG_ZSTD = 1,
    ZSTD_LEVEL = 1,
    ZSTD_BYTES_MIN = 256,       /* shorter bodies are not worth it */
    BODY_BYTES_MAX = 256 << 20, /* a record is shorter than that by far; bounds what damage can make us allocate */
    SHARD_COUNT_MAX = 1024,
};

/* How a value is told. 1 to 8 are the bytes of a difference of scaled integers. */
enum value_code {
    CODE_SAME = 0,
    CODE_DELTA_1 = 1,
    CODE_DELTA_8 = 8,
    CODE_RAW = 9,       /* 8 bytes; the exponent stays */
    CODE_RAW_REAL = 10, /* 8 bytes; real numbers from here on */
    CODE_DECIMAL = 11,  /* exponent, then a scaled integer of 8 bytes */
    CODE_XOR_4 = 12,    /* the low 4 to 7 bytes of the XOR with the value before */
    CODE_XOR_7 = 15,
};

static const double powers_of_ten[SAMPLE_LOG_EXPONENT_MAX + 1] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6};

/* Integers up to here are doubles, each its own. */
static const double SCALED_MAX = 9007199254740992.0;

/* Whether the value is i / 10^exponent to the bit. -0 is not: it would come back as 0. */
static inline bool scale(double value, int exponent, int64_t *ret_scaled)
{
    double product = value * powers_of_ten[exponent];
    if (!(fabs(product) <= SCALED_MAX))
        return false; /* NaN and infinities too */
    int64_t scaled = (int64_t)(product + (product < 0 ? -0.5 : 0.5));
    if (ap_double_to_bits((double)scaled / powers_of_ten[exponent]) != ap_double_to_bits(value))
        return false;
    *ret_scaled = scaled;
    return true;
}

static bool find_exponent(double value, int exponent_min, int *ret_exponent, int64_t *ret_scaled)
{
    for (int exponent = exponent_min; exponent <= SAMPLE_LOG_EXPONENT_MAX; exponent++) {
        if (scale(value, exponent, ret_scaled)) {
            *ret_exponent = exponent;
            return true;
        }
    }
    return false;
}

/* ---- Writing ---- */

void sample_writer_reset(struct sample_writer *writer, uint32_t epoch)
{
    struct ap_buf *bufs[] = {&writer->definitions, &writer->refs,      &writer->counts,
                             &writer->times,       &writer->codes,     &writer->values,
                             &writer->histograms,  &writer->exemplars, &writer->metadata};
    for (size_t i = 0; i < AP_ARRAY_COUNT(bufs); i++)
        ap_buf_reset(bufs[i]);
    writer->epoch = epoch;
    writer->series_count = 0;
    writer->sample_count = 0;
    writer->ref_next = 0;
    writer->ref_repeat = 0;
    writer->run_samples = 0;
    writer->count_value = 1;
    writer->count_repeat = 0;
    writer->ts_last = 0;
    writer->ts_delta = 0;
    writer->ts_repeat = 0;
    writer->histogram_ts_last = 0;
}

void sample_writer_clear(struct sample_writer *writer)
{
    struct ap_buf *bufs[] = {&writer->definitions, &writer->refs,   &writer->counts,     &writer->times,
                             &writer->codes,       &writer->values, &writer->histograms, &writer->exemplars,
                             &writer->metadata,    &writer->body};
    for (size_t i = 0; i < AP_ARRAY_COUNT(bufs); i++)
        ap_buf_clear(bufs[i]);
    ZSTD_freeCCtx(writer->zstd);
    writer->zstd = NULL;
}

bool sample_writer_is_empty(const struct sample_writer *writer)
{
    return writer->sample_count == 0 && writer->definitions.bytes == 0 && writer->histograms.bytes == 0 &&
           writer->exemplars.bytes == 0 && writer->metadata.bytes == 0;
}

void sample_writer_define(struct sample_writer *writer, uint32_t ref, struct ap_slice labels)
{
    ap_buf_add_varint(&writer->definitions, ref);
    ap_buf_add_varint(&writer->definitions, labels.bytes);
    ap_buf_add_slice(&writer->definitions, labels);
}

static void flush_count(struct sample_writer *writer)
{
    if (writer->count_repeat == 0)
        return;
    ap_buf_add_varint(&writer->counts, writer->count_value);
    ap_buf_add_varint(&writer->counts, writer->count_repeat);
    writer->count_repeat = 0;
}

static void end_run(struct sample_writer *writer)
{
    if (writer->run_samples == 0)
        return;
    if (writer->run_samples != writer->count_value) {
        flush_count(writer);
        writer->count_value = writer->run_samples;
    }
    writer->count_repeat++;
    writer->run_samples = 0;
}

static void flush_refs(struct sample_writer *writer)
{
    if (writer->ref_repeat == 0)
        return;
    ap_buf_add_varint(&writer->refs, writer->ref_repeat); /* so many follow each other */
    writer->ref_repeat = 0;
}

void sample_writer_series(struct sample_writer *writer, uint32_t local)
{
    end_run(writer);
    if (writer->series_count == 0 || (int64_t)local != writer->ref_next) {
        flush_refs(writer);
        ap_buf_add_varint(&writer->refs, ap_zigzag((int64_t)local - writer->ref_next));
    }
    writer->ref_repeat++;
    writer->ref_next = (int64_t)local + 1;
    writer->series_count++;
}

static void flush_times(struct sample_writer *writer)
{
    if (writer->ts_repeat == 0)
        return;
    ap_buf_add_varint(&writer->times, ap_zigzag(writer->ts_delta));
    ap_buf_add_varint(&writer->times, writer->ts_repeat);
    writer->ts_repeat = 0;
}

static inline uint8_t encode_scaled(int64_t delta, char *out, size_t *ret_bytes)
{
    uint64_t coded = ap_zigzag(delta);
    unsigned bytes = (unsigned)(71 - __builtin_clzll(coded | 1)) / 8;
    memcpy(out, &coded, sizeof(coded)); /* there is room for 8; what is behind is written over */
    *ret_bytes = bytes;
    return (uint8_t)(CODE_DELTA_1 + bytes - 1);
}

static uint8_t encode_first(struct sample_state *state, double value, char *out, size_t *ret_bytes)
{
    int exponent = -1;
    int64_t scaled;
    uint64_t bits = ap_double_to_bits(value);
    if (find_exponent(value, 0, &exponent, &scaled)) {
        state->exponent = (int8_t)exponent;
        out[0] = (char)exponent;
        memcpy(out + 1, &scaled, sizeof(scaled));
        *ret_bytes = 9;
        return CODE_DECIMAL;
    }
    state->exponent = -1;
    memcpy(out, &bits, sizeof(bits));
    *ret_bytes = 8;
    return CODE_RAW_REAL;
}

static uint8_t encode_xor(const struct sample_state *state, uint64_t bits, char *out, size_t *ret_bytes)
{
    uint64_t difference = bits ^ ap_double_to_bits(state->last);
    unsigned bytes = (unsigned)(71 - __builtin_clzll(difference | 1)) / 8;
    if (bytes == 8) {
        memcpy(out, &bits, sizeof(bits));
        *ret_bytes = 8;
        return CODE_RAW;
    }
    if (bytes < 4)
        bytes = 4;
    memcpy(out, &difference, sizeof(difference));
    *ret_bytes = bytes;
    return (uint8_t)(CODE_XOR_4 + bytes - 4);
}

/* At most 9 bytes to `out`, where 16 may be written. Brings the state up to date. */
static inline uint8_t encode_value(struct sample_state *state, uint32_t epoch, double value, char *out,
                                   size_t *ret_bytes)
{
    uint8_t code;
    int64_t scaled;
    int64_t last_scaled;
    if (state->epoch != epoch) {
        state->epoch = epoch;
        code = encode_first(state, value, out, ret_bytes);
    } else if (ap_double_to_bits(value) == ap_double_to_bits(state->last)) {
        *ret_bytes = 0;
        return CODE_SAME;
    } else if (state->exponent >= 0 && scale(value, state->exponent, &scaled)) {
        if (scale(state->last, state->exponent, &last_scaled))
            code = encode_scaled(scaled - last_scaled, out, ret_bytes);
        else { /* it was a NaN or the like: say the whole integer */
            out[0] = (char)state->exponent;
            memcpy(out + 1, &scaled, sizeof(scaled));
            *ret_bytes = 9;
            code = CODE_DECIMAL;
        }
    } else if (state->exponent >= 0 && isfinite(value)) {
        code = encode_first(state, value, out, ret_bytes); /* more decimals than so far, or none at all */
    } else {
        code = encode_xor(state, ap_double_to_bits(value), out, ret_bytes);
    }
    state->last = value;
    return code;
}

void sample_writer_sample(struct sample_writer *writer, struct sample_state *state, int64_t ts_ms, double value)
{
    int64_t delta = (int64_t)((uint64_t)ts_ms - (uint64_t)writer->ts_last);
    if (delta != writer->ts_delta || writer->ts_repeat == 0) {
        flush_times(writer);
        writer->ts_delta = delta;
    }
    writer->ts_repeat++;
    writer->ts_last = ts_ms;
    writer->run_samples++;
    writer->sample_count++;
    char *out = ap_buf_reserve(&writer->values, 16);
    size_t bytes;
    uint8_t code = encode_value(state, writer->epoch, value, out, &bytes);
    writer->values.bytes += bytes;
    *ap_buf_reserve(&writer->codes, 1) = (char)code;
    writer->codes.bytes++;
}

void sample_writer_histogram(struct sample_writer *writer, uint32_t local, int64_t ts_ms, struct ap_slice blob)
{
    ap_buf_add_varint(&writer->histograms, local);
    ap_buf_add_varint(&writer->histograms, ap_zigzag((int64_t)((uint64_t)ts_ms - (uint64_t)writer->histogram_ts_last)));
    ap_buf_add_varint(&writer->histograms, blob.bytes);
    ap_buf_add_slice(&writer->histograms, blob);
    writer->histogram_ts_last = ts_ms;
}

void sample_writer_exemplar(struct sample_writer *writer, uint32_t ref, int64_t ts_ms, double value,
                            struct ap_slice labels)
{
    ap_buf_add_varint(&writer->exemplars, ref);
    ap_buf_add_varint(&writer->exemplars, ap_zigzag(ts_ms));
    ap_buf_add_u64(&writer->exemplars, ap_double_to_bits(value));
    ap_buf_add_varint(&writer->exemplars, labels.bytes);
    ap_buf_add_slice(&writer->exemplars, labels);
}

void sample_writer_metadata(struct sample_writer *writer, uint8_t type, struct ap_slice metric, struct ap_slice help,
                            struct ap_slice unit)
{
    ap_buf_add_char(&writer->metadata, (char)type);
    const struct ap_slice texts[] = {metric, help, unit};
    for (size_t i = 0; i < AP_ARRAY_COUNT(texts); i++) {
        ap_buf_add_varint(&writer->metadata, texts[i].bytes);
        ap_buf_add_slice(&writer->metadata, texts[i]);
    }
}

static void compress(struct sample_writer *writer, struct ap_buf *out, size_t flags_at)
{
    const struct ap_buf *body = &writer->body;
    size_t bound = ZSTD_compressBound(body->bytes);
    char *to = body->bytes >= ZSTD_BYTES_MIN ? ap_buf_reserve(out, bound) : NULL;
    if (to && !writer->zstd)
        writer->zstd = ZSTD_createCCtx();
    size_t bytes =
        writer->zstd && to ? ZSTD_compressCCtx(writer->zstd, to, bound, body->data, body->bytes, ZSTD_LEVEL) : 0;
    if (bytes && !ZSTD_isError(bytes) && bytes < body->bytes) {
        out->bytes += bytes;
        out->data[flags_at] |= FLAG_ZSTD;
    } else {
        ap_buf_add_slice(out, ap_buf_slice(body));
    }
}

void sample_writer_finish(struct sample_writer *writer, uint32_t shard, uint32_t shard_count, uint64_t seq,
                          struct ap_buf *out)
{
    end_run(writer);
    flush_count(writer);
    flush_refs(writer);
    flush_times(writer);
    const struct ap_buf *sections[] = {&writer->definitions, &writer->refs,      &writer->counts,
                                       &writer->times,       &writer->codes,     &writer->values,
                                       &writer->histograms,  &writer->exemplars, &writer->metadata};
    struct ap_buf *body = &writer->body;
    ap_buf_reset(body);
    for (size_t i = 0; i < AP_ARRAY_COUNT(sections); i++)
        ap_buf_add_varint(body, sections[i]->bytes);
    for (size_t i = 0; i < AP_ARRAY_COUNT(sections); i++)
        ap_buf_add_slice(body, ap_buf_slice(sections[i]));
    ap_buf_add_char(out, RECORD_VERSION);
    size_t flags_at = out->bytes;
    ap_buf_add_char(out, 0);
    ap_buf_add_varint(out, shard);
    ap_buf_add_varint(out, shard_count);
    ap_buf_add_varint(out, writer->epoch);
    ap_buf_add_varint(out, seq);
    ap_buf_add_varint(out, body->bytes);
    compress(writer, out, flags_at);
}

/* ---- Reading: nothing is believed but that the log's own checksum was right ---- */

struct reader {
    const uint8_t *at;
    const uint8_t *end;
};

static bool read_varint(struct reader *reader, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && reader->at < reader->end; shift += 7) {
        uint8_t byte = *reader->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static bool read_u32(struct reader *reader, uint32_t *ret_value)
{
    uint64_t value;
    if (!read_varint(reader, &value) || value > UINT32_MAX)
        return false;
    *ret_value = (uint32_t)value;
    return true;
}

static bool read_bytes(struct reader *reader, size_t bytes, struct ap_slice *ret_slice)
{
    if ((size_t)(reader->end - reader->at) < bytes)
        return false;
    *ret_slice = ap_slice(reader->at, bytes);
    reader->at += bytes;
    return true;
}

static bool read_text(struct reader *reader, struct ap_slice *ret_slice)
{
    uint64_t bytes;
    return read_varint(reader, &bytes) && bytes <= SIZE_MAX && read_bytes(reader, (size_t)bytes, ret_slice);
}

static struct reader reader_of(struct ap_slice slice)
{
    const uint8_t *data = (const uint8_t *)slice.data;
    return (struct reader){data, data + slice.bytes};
}

static enum ap_rc damaged(struct ap_err *err, const char *what)
{
    return ap_fail(err, AP_E_CORRUPT, "log record of samples: %s", what);
}

static enum ap_rc read_head(struct reader *reader, uint8_t *ret_flags, struct sample_record_head *ret_head,
                            struct ap_err *err)
{
    struct ap_slice start;
    if (!read_bytes(reader, 2, &start))
        return damaged(err, "too short");
    if (start.data[0] != RECORD_VERSION)
        return ap_fail(err, AP_E_CORRUPT, "log record of samples has version %d; this program knows %d",
                       (uint8_t)start.data[0], RECORD_VERSION);
    *ret_flags = (uint8_t)start.data[1];
    if (!read_u32(reader, &ret_head->shard) || !read_u32(reader, &ret_head->shard_count) ||
        !read_u32(reader, &ret_head->epoch) || !read_varint(reader, &ret_head->seq))
        return damaged(err, "head");
    if (ret_head->shard_count == 0 || ret_head->shard_count > SHARD_COUNT_MAX ||
        (ret_head->shard_count & (ret_head->shard_count - 1)) || ret_head->shard >= ret_head->shard_count ||
        ret_head->epoch == 0)
        return damaged(err, "shard or epoch");
    return AP_OK;
}

/* Value and number of times, again and again. */
struct repeats {
    struct reader reader;
    uint64_t value;
    uint64_t left;
};

static bool repeats_next(struct repeats *repeats, uint64_t *ret_value)
{
    if (repeats->left == 0 && (!read_varint(&repeats->reader, &repeats->value) ||
                               !read_varint(&repeats->reader, &repeats->left) || repeats->left == 0))
        return false;
    repeats->left--;
    *ret_value = repeats->value;
    return true;
}

static bool read_little_endian(struct reader *reader, size_t bytes, uint64_t *ret_value)
{
    struct ap_slice slice;
    if (!read_bytes(reader, bytes, &slice))
        return false;
    uint64_t value = 0;
    memcpy(&value, slice.data, bytes);
    *ret_value = value;
    return true;
}

static bool decode_value(struct sample_state *state, uint32_t epoch, uint8_t code, struct reader *reader,
                         double *ret_value)
{
    uint64_t raw;
    bool is_known = state->epoch == epoch;
    double value;
    if (code == CODE_SAME) {
        if (!is_known)
            return false;
        *ret_value = state->last;
        return true;
    }
    if (code <= CODE_DELTA_8) {
        int64_t last;
        if (!is_known || state->exponent < 0 || !scale(state->last, state->exponent, &last) ||
            !read_little_endian(reader, (size_t)(code - CODE_DELTA_1) + 1, &raw))
            return false;
        value = (double)(int64_t)((uint64_t)last + (uint64_t)ap_unzigzag(raw)) / powers_of_ten[state->exponent];
    } else if (code == CODE_RAW || code == CODE_RAW_REAL) {
        if (!read_little_endian(reader, 8, &raw) || (code == CODE_RAW && !is_known))
            return false;
        value = ap_double_of_bits(raw);
        if (code == CODE_RAW_REAL)
            state->exponent = -1;
    } else if (code == CODE_DECIMAL) {
        uint64_t exponent;
        if (!read_little_endian(reader, 1, &exponent) || exponent > SAMPLE_LOG_EXPONENT_MAX ||
            !read_little_endian(reader, 8, &raw))
            return false;
        state->exponent = (int8_t)exponent;
        value = (double)(int64_t)raw / powers_of_ten[exponent];
    } else {
        if (code > CODE_XOR_7 || !is_known || !read_little_endian(reader, (size_t)(code - CODE_XOR_4) + 4, &raw))
            return false;
        value = ap_double_of_bits(ap_double_to_bits(state->last) ^ raw);
    }
    state->epoch = epoch;
    state->last = value;
    *ret_value = value;
    return true;
}

static bool read_definitions(struct reader reader, const struct sample_sink *sink)
{
    while (reader.at < reader.end) {
        uint32_t ref;
        struct ap_slice labels;
        if (!read_u32(&reader, &ref) || !read_text(&reader, &labels))
            return false;
        sink->define(sink->context, ref, labels);
    }
    return true;
}

enum { SAMPLES_AT_ONCE = 1024 };

struct columns {
    struct reader refs;
    struct repeats counts;
    struct repeats times;
    struct reader codes;
    struct reader values;
};

/* All samples of one series; handed on in pieces of SAMPLES_AT_ONCE. */
static bool read_run(struct columns *columns, const struct sample_record_head *head, uint32_t ref, uint64_t count,
                     int64_t *ts_last, const struct sample_sink *sink)
{
    int64_t ts_ms[SAMPLES_AT_ONCE];
    double values[SAMPLES_AT_ONCE];
    struct sample_state *state = sink->state(sink->context, ref);
    if (!state)
        return false;
    size_t filled = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t delta;
        if (!repeats_next(&columns->times, &delta) || columns->codes.at >= columns->codes.end)
            return false;
        *ts_last = (int64_t)((uint64_t)*ts_last + (uint64_t)ap_unzigzag(delta));
        ts_ms[filled] = *ts_last;
        if (!decode_value(state, head->epoch, *columns->codes.at++, &columns->values, &values[filled]))
            return false;
        if (++filled == SAMPLES_AT_ONCE) {
            sink->samples(sink->context, ref, ts_ms, values, filled);
            filled = 0;
        }
    }
    if (filled)
        sink->samples(sink->context, ref, ts_ms, values, filled);
    return true;
}

static bool read_samples(struct columns *columns, const struct sample_record_head *head, const struct sample_sink *sink)
{
    int64_t next = 0;
    int64_t ts_last = 0;
    while (columns->refs.at < columns->refs.end) {
        uint64_t jump;
        uint64_t repeat;
        if (!read_varint(&columns->refs, &jump) || !read_varint(&columns->refs, &repeat))
            return false;
        next = (int64_t)((uint64_t)next + (uint64_t)ap_unzigzag(jump));
        for (; repeat > 0; repeat--, next++) {
            uint64_t count;
            if (next < 0 || next > UINT32_MAX / (int64_t)head->shard_count || !repeats_next(&columns->counts, &count))
                return false;
            uint32_t ref = (uint32_t)next * head->shard_count + head->shard;
            if (!read_run(columns, head, ref, count, &ts_last, sink))
                return false;
        }
    }
    return true;
}

static bool read_histograms(struct reader reader, const struct sample_record_head *head, const struct sample_sink *sink)
{
    int64_t ts_last = 0;
    while (reader.at < reader.end) {
        uint32_t local;
        uint64_t delta;
        struct ap_slice blob;
        if (!read_u32(&reader, &local) || local > UINT32_MAX / head->shard_count || !read_varint(&reader, &delta) ||
            !read_text(&reader, &blob))
            return false;
        ts_last = (int64_t)((uint64_t)ts_last + (uint64_t)ap_unzigzag(delta));
        sink->histogram(sink->context, local * head->shard_count + head->shard, ts_last, blob);
    }
    return true;
}

static bool read_exemplars(struct reader reader, const struct sample_sink *sink)
{
    while (reader.at < reader.end) {
        uint32_t ref;
        uint64_t ts;
        uint64_t bits;
        struct ap_slice labels;
        if (!read_u32(&reader, &ref) || !read_varint(&reader, &ts) || !read_little_endian(&reader, 8, &bits) ||
            !read_text(&reader, &labels))
            return false;
        sink->exemplar(sink->context, ref, ap_unzigzag(ts), ap_double_of_bits(bits), labels);
    }
    return true;
}

static bool read_metadata(struct reader reader, const struct sample_sink *sink)
{
    while (reader.at < reader.end) {
        struct ap_slice type;
        struct ap_slice texts[3];
        if (!read_bytes(&reader, 1, &type))
            return false;
        for (size_t i = 0; i < AP_ARRAY_COUNT(texts); i++)
            if (!read_text(&reader, &texts[i]))
                return false;
        sink->metadata(sink->context, (uint8_t)type.data[0], texts[0], texts[1], texts[2]);
    }
    return true;
}

enum ap_rc sample_record_open(struct ap_slice record, struct sample_record_head *ret_head, struct ap_buf *body,
                              struct ap_err *err)
{
    struct reader reader = reader_of(record);
    uint8_t flags = 0;
    enum ap_rc rc = read_head(&reader, &flags, ret_head, err);
    if (rc != AP_OK)
        return rc;
    uint64_t bytes;
    if (!read_varint(&reader, &bytes) || bytes > BODY_BYTES_MAX)
        return damaged(err, "length");
    size_t left = (size_t)(reader.end - reader.at);
    if (!(flags & FLAG_ZSTD) && left != bytes)
        return damaged(err, "length");
    ap_buf_reset(body);
    char *to = ap_buf_reserve(body, (size_t)bytes + 1);
    if (!to)
        return ap_fail(err, AP_E_NOMEM, "log record of samples: no memory for %zu bytes", (size_t)bytes);
    if (!(flags & FLAG_ZSTD)) {
        memcpy(to, reader.at, left);
    } else {
        size_t got = ZSTD_decompress(to, (size_t)bytes, reader.at, left);
        if (ZSTD_isError(got) || got != bytes)
            return damaged(err, "compression");
    }
    body->bytes = (size_t)bytes;
    return AP_OK;
}

enum ap_rc sample_record_read(const struct sample_record_head *head, struct ap_slice body,
                              const struct sample_sink *sink, struct ap_err *err)
{
    enum { DEFINITIONS, REFS, COUNTS, TIMES, CODES, VALUES, HISTOGRAMS, EXEMPLARS, METADATA, SECTION_COUNT };
    uint64_t section_bytes[SECTION_COUNT];
    struct reader sections[SECTION_COUNT];
    struct reader reader = reader_of(body);
    for (size_t i = 0; i < SECTION_COUNT; i++)
        if (!read_varint(&reader, &section_bytes[i]))
            return damaged(err, "sections");
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        struct ap_slice slice;
        if (!read_bytes(&reader, (size_t)section_bytes[i], &slice))
            return damaged(err, "sections");
        sections[i] = reader_of(slice);
    }
    struct columns columns = {
        .refs = sections[REFS],
        .counts = {.reader = sections[COUNTS]},
        .times = {.reader = sections[TIMES]},
        .codes = sections[CODES],
        .values = sections[VALUES],
    };
    if (sink->define && !read_definitions(sections[DEFINITIONS], sink))
        return damaged(err, "series");
    if (sink->samples && !read_samples(&columns, head, sink))
        return damaged(err, "samples");
    if (sink->histogram && !read_histograms(sections[HISTOGRAMS], head, sink))
        return damaged(err, "histograms");
    if (sink->exemplar && !read_exemplars(sections[EXEMPLARS], sink))
        return damaged(err, "exemplars");
    if (sink->metadata && !read_metadata(sections[METADATA], sink))
        return damaged(err, "metadata");
    return AP_OK;
}
