#include "codec/inflate.h"

#include <libdeflate.h>
#include <snappy-c.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/assert.h"

/*
 * Deflate cannot do better than 1032:1 (RFC 1951: a 258-byte match in two bits), so the length that a gzip trailer
 * claims is not believed beyond that: a lying trailer cannot make us allocate what the input could never fill.
 */
#define DEFLATE_RATIO_MAX   1032
#define ZSTD_WINDOW_LOG_MAX 23
/* Nor can snappy do better than 64 bytes from a copy of three, so a block that claims more is a lie. */
#define SNAPPY_RATIO_MAX 22

/* A zstd context keeps its window between calls; one larger than this is given back instead. */
#define ZSTD_KEPT_BYTES_MAX ((size_t)1 << 20)

struct inflate {
    struct libdeflate_decompressor *deflate; /* owned, NULL until used */
    ZSTD_DCtx *zstd;                         /* owned, NULL until used */
};

/* What has come out so far. `capacity_bytes` does not count the padding. */
struct output {
    char *data; /* owned */
    size_t bytes;
    size_t capacity_bytes;
    size_t capacity_bytes_max;
};

static void output_clear(struct output *output)
{
    free(output->data);
}

/* Room for `capacity_bytes`, or as much of it as the maximum allows. */
static enum ap_rc output_grow(struct output *output, size_t capacity_bytes, struct ap_err *err)
{
    capacity_bytes = AP_MIN(capacity_bytes, output->capacity_bytes_max);
    char *data = realloc(output->data, capacity_bytes + INFLATE_PADDING_BYTES);
    if (!data)
        return ap_fail(err, AP_E_NOMEM, "no memory to decompress into %zu bytes", capacity_bytes);
    output->data = data;
    output->capacity_bytes = capacity_bytes;
    return AP_OK;
}

struct inflate *inflate_new(void)
{
    return ap_new0(struct inflate);
}

void inflate_free(struct inflate *inflate)
{
    if (!inflate)
        return;
    if (inflate->deflate)
        libdeflate_free_decompressor(inflate->deflate);
    ZSTD_freeDCtx(inflate->zstd);
    free(inflate);
}

static bool coding_parse(struct ap_slice coding, enum inflate_encoding *ret_encoding)
{
    static const struct {
        const char *name;
        enum inflate_encoding encoding;
    } names[] = {
        {"identity", INFLATE_IDENTITY}, {"gzip", INFLATE_GZIP}, {"x-gzip", INFLATE_GZIP},
        {"deflate", INFLATE_DEFLATE},   {"zstd", INFLATE_ZSTD}, {"snappy", INFLATE_SNAPPY},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(names); i++) {
        if (ap_slice_equal_nocase(coding, names[i].name)) {
            *ret_encoding = names[i].encoding;
            return true;
        }
    }
    return false;
}

bool inflate_encoding_parse(struct ap_slice text, enum inflate_encoding *ret_encoding)
{
    enum inflate_encoding found = INFLATE_IDENTITY;
    while (text.data) {
        struct ap_slice coding = ap_slice_trim(ap_slice_split(&text, ','));
        enum inflate_encoding encoding = INFLATE_IDENTITY;
        if (coding.bytes > 0 && !coding_parse(coding, &encoding))
            return false;
        if (encoding == INFLATE_IDENTITY)
            continue;
        if (found != INFLATE_IDENTITY) /* compressed twice: nobody does that in earnest */
            return false;
        found = encoding;
    }
    *ret_encoding = found;
    return true;
}

const char *inflate_encoding_name(enum inflate_encoding encoding)
{
    switch (encoding) {
    case INFLATE_IDENTITY:
        return "identity";
    case INFLATE_GZIP:
        return "gzip";
    case INFLATE_DEFLATE:
        return "deflate";
    case INFLATE_ZSTD:
        return "zstd";
    case INFLATE_SNAPPY:
        return "snappy";
    }
    return "unknown";
}

/* The three containers that libdeflate reads have one signature. */
typedef enum libdeflate_result (*deflate_fn)(struct libdeflate_decompressor *decompressor, const void *input,
                                             size_t input_bytes, void *output, size_t output_bytes,
                                             size_t *ret_input_bytes, size_t *ret_output_bytes);

/* One member, zlib stream or raw stream at the front of `input`; appends to `output` and tells how much it was. */
static enum ap_rc deflate_one(struct inflate *inflate, deflate_fn decompress, struct ap_slice input,
                              struct output *output, size_t *ret_input_bytes, struct ap_err *err)
{
    for (;;) {
        size_t output_bytes;
        enum libdeflate_result result =
            decompress(inflate->deflate, input.data, input.bytes, output->data + output->bytes,
                       output->capacity_bytes - output->bytes, ret_input_bytes, &output_bytes);
        if (result == LIBDEFLATE_SUCCESS) {
            output->bytes += output_bytes;
            return AP_OK;
        }
        if (result != LIBDEFLATE_INSUFFICIENT_SPACE)
            return ap_fail(err, AP_E_PARSE, "the compressed body is cut off or damaged");
        if (output->capacity_bytes == output->capacity_bytes_max)
            return ap_fail(err, AP_E_LIMIT, "the body is larger than %zu bytes after decompression",
                           output->capacity_bytes_max);
        /* The stream starts over; in all this costs at most a third more than one run to the maximum. */
        enum ap_rc rc = output_grow(output, output->capacity_bytes * 4, err);
        if (rc != AP_OK)
            return rc;
    }
}

/* What the last four bytes of a gzip stream claim (RFC 1952: the length modulo 2^32), as far as that is possible. */
static size_t gzip_guess_bytes(struct ap_slice input)
{
    if (input.bytes < 18)
        return 0;
    const uint8_t *trailer = (const uint8_t *)input.data + input.bytes - 4;
    size_t claimed = (size_t)trailer[0] | (size_t)trailer[1] << 8 | (size_t)trailer[2] << 16 | (size_t)trailer[3] << 24;
    return claimed / DEFLATE_RATIO_MAX <= input.bytes ? claimed : 0;
}

static enum ap_rc gzip_run(struct inflate *inflate, struct ap_slice input, struct output *output, struct ap_err *err)
{
    size_t guess_bytes = gzip_guess_bytes(input);
    enum ap_rc rc = output_grow(output, guess_bytes ? guess_bytes : input.bytes * 4 + 64, err);
    while (rc == AP_OK) {
        size_t input_bytes;
        rc = deflate_one(inflate, libdeflate_gzip_decompress_ex, input, output, &input_bytes, err);
        if (rc != AP_OK)
            break;
        input = ap_slice(input.data + input_bytes, input.bytes - input_bytes);
        if (input.bytes == 0)
            break;
    }
    return rc;
}

static bool has_zlib_header(struct ap_slice input)
{
    const uint8_t *bytes = (const uint8_t *)input.data;
    return input.bytes >= 2 && (bytes[0] & 0x0f) == 8 && (bytes[0] << 8 | bytes[1]) % 31 == 0;
}

static enum ap_rc deflate_run(struct inflate *inflate, struct ap_slice input, struct output *output, struct ap_err *err)
{
    enum ap_rc rc = output_grow(output, input.bytes * 4 + 64, err);
    if (rc != AP_OK)
        return rc;
    size_t input_bytes = 0;
    rc = AP_E_PARSE;
    if (has_zlib_header(input))
        rc = deflate_one(inflate, libdeflate_zlib_decompress_ex, input, output, &input_bytes, err);
    if (rc == AP_E_PARSE) /* no header, or bytes that only looked like one */
        rc = deflate_one(inflate, libdeflate_deflate_decompress_ex, input, output, &input_bytes, err);
    if (rc == AP_OK && input_bytes != input.bytes)
        return ap_fail(err, AP_E_PARSE, "%zu bytes follow the compressed body", input.bytes - input_bytes);
    return rc;
}

static enum ap_rc zstd_run(struct inflate *inflate, struct ap_slice input, size_t output_bytes_max,
                           struct output *output, struct ap_err *err)
{
    /* One byte above the maximum tells "exactly full" from "more to come". */
    output->capacity_bytes_max = output_bytes_max + 1;
    unsigned long long claimed = ZSTD_getFrameContentSize(input.data, input.bytes);
    /* A claim is believed up to what an ordinary text reaches; beyond that the buffer grows as bytes really come. */
    bool is_claim_plausible = claimed < ZSTD_CONTENTSIZE_ERROR && claimed / 64 <= input.bytes;
    enum ap_rc rc = output_grow(output, is_claim_plausible ? (size_t)claimed + 1 : input.bytes * 4 + 64, err);
    if (rc != AP_OK)
        return rc;

    ZSTD_inBuffer in = {input.data, input.bytes, 0};
    size_t wanted;
    do {
        if (output->bytes == output->capacity_bytes) {
            rc = output_grow(output, output->capacity_bytes * 2, err);
            if (rc != AP_OK)
                return rc;
        }
        ZSTD_outBuffer out = {output->data, output->capacity_bytes, output->bytes};
        wanted = ZSTD_decompressStream(inflate->zstd, &out, &in);
        if (ZSTD_isError(wanted))
            return ap_fail(err, AP_E_PARSE, "the zstd body is damaged: %s", ZSTD_getErrorName(wanted));
        output->bytes = out.pos;
        if (output->bytes > output_bytes_max)
            return ap_fail(err, AP_E_LIMIT, "the body is larger than %zu bytes after decompression", output_bytes_max);
        if (wanted > 0 && in.pos == in.size && out.pos < out.size)
            return ap_fail(err, AP_E_PARSE, "the zstd body is cut off");
    } while (wanted > 0 || in.pos < in.size);
    return AP_OK;
}

/* A block begins with its length, so that nothing is allocated for one that is too large. */
static enum ap_rc snappy_run(struct ap_slice input, size_t output_bytes_max, struct output *output, struct ap_err *err)
{
    size_t claimed;
    if (snappy_uncompressed_length(input.data, input.bytes, &claimed) != SNAPPY_OK)
        return ap_fail(err, AP_E_PARSE, "the body is not a snappy block");
    if (claimed > output_bytes_max)
        return ap_fail(err, AP_E_LIMIT, "the body is larger than %zu bytes after decompression", output_bytes_max);
    if (claimed / SNAPPY_RATIO_MAX > input.bytes)
        return ap_fail(err, AP_E_PARSE, "the snappy block is cut off or damaged");
    enum ap_rc rc = output_grow(output, claimed, err);
    if (rc != AP_OK)
        return rc;
    output->bytes = claimed;
    if (snappy_uncompress(input.data, input.bytes, output->data, &output->bytes) != SNAPPY_OK)
        return ap_fail(err, AP_E_PARSE, "the snappy block is cut off or damaged");
    return AP_OK;
}

static enum ap_rc inflate_run(struct inflate *inflate, enum inflate_encoding encoding, struct ap_slice input,
                              size_t output_bytes_max, struct output *output, struct ap_err *err)
{
    if (encoding == INFLATE_ZSTD) {
        if (!inflate->zstd) {
            inflate->zstd = ZSTD_createDCtx();
            AP_ASSERT(inflate->zstd != NULL);
            ZSTD_DCtx_setParameter(inflate->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
        }
        enum ap_rc rc = zstd_run(inflate, input, output_bytes_max, output, err);
        ZSTD_DCtx_reset(inflate->zstd, ZSTD_reset_session_only);
        if (ZSTD_sizeof_DCtx(inflate->zstd) > ZSTD_KEPT_BYTES_MAX) {
            ZSTD_freeDCtx(inflate->zstd);
            inflate->zstd = NULL;
        }
        return rc;
    }
    output->capacity_bytes_max = output_bytes_max;
    if (encoding == INFLATE_SNAPPY)
        return snappy_run(input, output_bytes_max, output, err);
    if (!inflate->deflate) {
        inflate->deflate = libdeflate_alloc_decompressor();
        AP_ASSERT(inflate->deflate != NULL);
    }
    return encoding == INFLATE_GZIP ? gzip_run(inflate, input, output, err) : deflate_run(inflate, input, output, err);
}

enum ap_rc inflate_body(struct inflate *inflate, enum inflate_encoding encoding, struct ap_slice input,
                        size_t output_bytes_max, char **ret_output, size_t *ret_output_bytes, struct ap_err *err)
{
    AP_ASSERT(encoding != INFLATE_IDENTITY);
    AP_ASSERT(output_bytes_max < SIZE_MAX / 8);
    if (input.bytes == 0)
        return ap_fail(err, AP_E_PARSE, "the compressed body is empty");
    AP_CLEANUP(output_clear) struct output output = {0};
    enum ap_rc rc = inflate_run(inflate, encoding, input, output_bytes_max, &output, err);
    if (rc != AP_OK)
        return rc;
    if (output.bytes < output.capacity_bytes / 2) { /* a wrong guess must not hold memory for a whole request */
        char *smaller = realloc(output.data, output.bytes + INFLATE_PADDING_BYTES);
        if (smaller)
            output.data = smaller;
    }
    memset(output.data + output.bytes, 0, INFLATE_PADDING_BYTES);
    *ret_output_bytes = output.bytes;
    *ret_output = AP_MOVE(output.data);
    return AP_OK;
}
