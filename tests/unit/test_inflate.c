#include "codec/inflate.h"

#include <setjmp.h>
#include <snappy-c.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

enum { TEXT_BYTES_MAX = 8 << 20 };

/* Compresses with zlib; 31: gzip, 15: zlib, -15: raw. free() the data. */
static struct ap_slice deflated(struct ap_slice text, int window_bits)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room_bytes = deflateBound(&stream, text.bytes);
    char *room = malloc(room_bytes);
    stream.next_in = (Bytef *)(uintptr_t)text.data;
    stream.avail_in = (uInt)text.bytes;
    stream.next_out = (Bytef *)room;
    stream.avail_out = (uInt)room_bytes;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    struct ap_slice result = ap_slice(room, stream.total_out);
    deflateEnd(&stream);
    return result;
}

/* `has_size` false: as a stream writes it, without the length in the header. free() the data. */
static struct ap_slice zstandard(struct ap_slice text, bool has_size, int window_log)
{
    ZSTD_CCtx *context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, has_size);
    if (window_log)
        ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    size_t room_bytes = ZSTD_compressBound(text.bytes);
    char *room = malloc(room_bytes);
    ZSTD_outBuffer out = {room, room_bytes, 0};
    ZSTD_inBuffer in = {text.data, text.bytes / 2, 0};
    while (in.pos < in.size)
        assert_false(ZSTD_isError(ZSTD_compressStream2(context, &out, &in, ZSTD_e_flush)));
    in.size = text.bytes;
    while (ZSTD_compressStream2(context, &out, &in, ZSTD_e_end) != 0)
        ;
    ZSTD_freeCCtx(context);
    return ap_slice(room, out.pos);
}

/* One block. free() the data. */
static struct ap_slice snappied(struct ap_slice text)
{
    size_t room_bytes = snappy_max_compressed_length(text.bytes);
    char *room = malloc(room_bytes);
    assert_int_equal(snappy_compress(text.data, text.bytes, room, &room_bytes), SNAPPY_OK);
    return ap_slice(room, room_bytes);
}

static struct ap_slice joined(struct ap_slice a, struct ap_slice b)
{
    char *both = malloc(a.bytes + b.bytes);
    memcpy(both, a.data, a.bytes);
    memcpy(both + a.bytes, b.data, b.bytes);
    return ap_slice(both, a.bytes + b.bytes);
}

static void slice_free(struct ap_slice slice)
{
    free((void *)(uintptr_t)slice.data);
}

static void round_trip(struct inflate *inflate, enum inflate_encoding encoding, struct ap_slice compressed,
                       struct ap_slice want)
{
    char *output;
    size_t output_bytes;
    struct ap_err err = {0};
    /* Exactly enough is enough. */
    if (inflate_body(inflate, encoding, compressed, want.bytes, &output, &output_bytes, &err) != AP_OK)
        fail_msg("%s of %zu bytes: %s", inflate_encoding_name(encoding), want.bytes, err.text);
    assert_int_equal(output_bytes, want.bytes);
    assert_memory_equal(output, want.data, want.bytes);
    for (size_t i = 0; i < INFLATE_PADDING_BYTES; i++)
        assert_int_equal(output[output_bytes + i], 0);
    free(output);
    if (want.bytes > 0) /* and one byte less is not */
        assert_int_equal(inflate_body(inflate, encoding, compressed, want.bytes - 1, &output, &output_bytes, &err),
                         AP_E_LIMIT);
}

static void test_round_trips(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 17, 1000, 65536, 300001, TEXT_BYTES_MAX};
    AP_AUTO(inflate) struct inflate *inflate = inflate_new();
    AP_AUTO_FREE char *text = malloc(TEXT_BYTES_MAX);
    uint32_t random = 1;
    for (size_t i = 0; i < TEXT_BYTES_MAX; i++) {
        random = random * 1664525 + 1013904223;
        text[i] = i % 5 ? "event"[i % 5] : (char)((random >> 24) % 64 + ' ');
    }
    for (size_t i = 0; i < AP_ARRAY_COUNT(sizes); i++) {
        struct ap_slice want = ap_slice(text, sizes[i]);
        struct ap_slice compressed[] = {deflated(want, 31),       deflated(want, 15),        deflated(want, -15),
                                        zstandard(want, true, 0), zstandard(want, false, 0), snappied(want)};
        static const enum inflate_encoding encodings[] = {INFLATE_GZIP, INFLATE_DEFLATE, INFLATE_DEFLATE,
                                                          INFLATE_ZSTD, INFLATE_ZSTD,    INFLATE_SNAPPY};
        for (size_t j = 0; j < AP_ARRAY_COUNT(compressed); j++) {
            round_trip(inflate, encodings[j], compressed[j], want);
            slice_free(compressed[j]);
        }
    }
}

static void test_several_members(void **state)
{
    (void)state;
    AP_AUTO(inflate) struct inflate *inflate = inflate_new();
    struct ap_slice one = ap_slice_cstr("one, one, one "), two = ap_slice_cstr("two, two, two");
    struct ap_slice want = joined(one, two);
    for (int is_zstd = 0; is_zstd < 2; is_zstd++) {
        struct ap_slice a = is_zstd ? zstandard(one, true, 0) : deflated(one, 31);
        struct ap_slice b = is_zstd ? zstandard(two, false, 0) : deflated(two, 31);
        struct ap_slice both = joined(a, b);
        round_trip(inflate, is_zstd ? INFLATE_ZSTD : INFLATE_GZIP, both, want);
        slice_free(a);
        slice_free(b);
        slice_free(both);
    }
    slice_free(want);
}

static void bad(int line, enum inflate_encoding encoding, struct ap_slice input, size_t output_bytes_max,
                enum ap_rc want_rc)
{
    AP_AUTO(inflate) struct inflate *inflate = inflate_new();
    /* In memory of its own size, so that the address sanitizer sees a read past its end. */
    AP_AUTO_FREE char *copy = malloc(input.bytes ? input.bytes : 1);
    if (input.bytes)
        memcpy(copy, input.data, input.bytes);
    char *output;
    size_t output_bytes;
    struct ap_err err = {0};
    enum ap_rc rc =
        inflate_body(inflate, encoding, ap_slice(copy, input.bytes), output_bytes_max, &output, &output_bytes, &err);
    if (rc != want_rc || err.text[0] == '\0')
        fail_msg("line %d, %zu bytes: %s \"%s\"", line, input.bytes, ap_rc_name(rc), err.text);
}
#define BAD(encoding, input, want_rc) bad(__LINE__, encoding, input, 1 << 20, want_rc)

static void test_cut_anywhere(void **state)
{
    (void)state;
    struct ap_slice text = ap_slice_cstr("a line of text, a line of text, a line of something else");
    struct ap_slice zipped = deflated(text, 31), zlibbed = deflated(text, 15), zstd = zstandard(text, true, 0);
    for (size_t bytes = 0; bytes < zipped.bytes; bytes++)
        BAD(INFLATE_GZIP, ap_slice(zipped.data, bytes), AP_E_PARSE);
    for (size_t bytes = 0; bytes < zlibbed.bytes; bytes++)
        BAD(INFLATE_DEFLATE, ap_slice(zlibbed.data, bytes), AP_E_PARSE);
    for (size_t bytes = 0; bytes < zstd.bytes; bytes++)
        BAD(INFLATE_ZSTD, ap_slice(zstd.data, bytes), AP_E_PARSE);
    struct ap_slice snappy = snappied(text);
    for (size_t bytes = 0; bytes < snappy.bytes; bytes++)
        BAD(INFLATE_SNAPPY, ap_slice(snappy.data, bytes), AP_E_PARSE);
    slice_free(zipped);
    slice_free(zlibbed);
    slice_free(zstd);
    slice_free(snappy);
}

static void test_damaged(void **state)
{
    (void)state;
    struct ap_slice text = ap_slice_cstr("a line of text, a line of text, a line of something else");
    struct ap_slice tail = ap_slice_cstr("and more");
    struct ap_slice zipped = deflated(text, 31), zlibbed = deflated(text, 15), zstd = zstandard(text, true, 0);
    struct ap_slice longer = joined(zipped, tail), longer_zlib = joined(zlibbed, tail),
                    longer_zstd = joined(zstd, tail);
    BAD(INFLATE_GZIP, longer, AP_E_PARSE);
    BAD(INFLATE_DEFLATE, longer_zlib, AP_E_PARSE);
    BAD(INFLATE_ZSTD, longer_zstd, AP_E_PARSE);
    struct ap_slice snappy = snappied(text);
    struct ap_slice longer_snappy = joined(snappy, tail);
    BAD(INFLATE_SNAPPY, longer_snappy, AP_E_PARSE);
    slice_free(snappy);
    slice_free(longer_snappy);
    BAD(INFLATE_ZSTD, zipped, AP_E_PARSE);
    BAD(INFLATE_GZIP, zstd, AP_E_PARSE);
    BAD(INFLATE_GZIP, text, AP_E_PARSE);
    BAD(INFLATE_ZSTD, text, AP_E_PARSE);
    ((char *)(uintptr_t)zipped.data)[zipped.bytes - 6] ^= 1; /* the checksum */
    BAD(INFLATE_GZIP, zipped, AP_E_PARSE);
    slice_free(zipped);
    slice_free(zlibbed);
    slice_free(zstd);
    slice_free(longer);
    slice_free(longer_zlib);
    slice_free(longer_zstd);
}

static void test_bombs(void **state)
{
    (void)state;
    size_t bytes = 100 << 20;
    AP_AUTO_FREE char *zeros = calloc(1, bytes);
    struct ap_slice text = ap_slice(zeros, bytes);
    struct ap_slice zipped = deflated(text, 31), zlibbed = deflated(text, 15);
    struct ap_slice zstd = zstandard(text, true, 0), unsized = zstandard(text, false, 0);
    struct ap_slice wide = zstandard(text, false, 27);
    BAD(INFLATE_GZIP, zipped, AP_E_LIMIT);
    BAD(INFLATE_DEFLATE, zlibbed, AP_E_LIMIT);
    BAD(INFLATE_ZSTD, zstd, AP_E_LIMIT);
    BAD(INFLATE_ZSTD, unsized, AP_E_LIMIT);
    BAD(INFLATE_ZSTD, wide, AP_E_PARSE); /* wants a window of 128 MiB */
    struct ap_slice snappy = snappied(text);
    BAD(INFLATE_SNAPPY, snappy, AP_E_LIMIT);
    /* Claims a megabyte, which is allowed, and cannot have it in twelve bytes. */
    BAD(INFLATE_SNAPPY, ap_slice("\x80\x80\x40\x00x\xfe\x01\x00\xfe\x01\x00\x00", 12), AP_E_PARSE);
    /* Claims 4 GiB, and more than a length can be. */
    BAD(INFLATE_SNAPPY, ap_slice_cstr("\xff\xff\xff\xff\x0f\x03"), AP_E_LIMIT);
    BAD(INFLATE_SNAPPY, ap_slice_cstr("\xff\xff\xff\xff\xff\x0f"), AP_E_PARSE);
    slice_free(snappy);
    /* A trailer that claims little, and one that claims much. */
    char *trailer = (char *)(uintptr_t)zipped.data + zipped.bytes - 4;
    memcpy(trailer, "\x01\x00\x00\x00", 4);
    BAD(INFLATE_GZIP, zipped, AP_E_LIMIT);
    memcpy(trailer, "\xff\xff\xff\xff", 4);
    BAD(INFLATE_GZIP, zipped, AP_E_LIMIT);
    slice_free(zipped);
    slice_free(zlibbed);
    slice_free(zstd);
    slice_free(unsized);
    slice_free(wide);
}

static void encoding(int line, const char *text, bool want_ok, enum inflate_encoding want)
{
    enum inflate_encoding got = INFLATE_IDENTITY;
    if (inflate_encoding_parse(ap_slice_cstr(text), &got) != want_ok || got != want)
        fail_msg("line %d: \"%s\" is %s", line, text ? text : "(none)", inflate_encoding_name(got));
}
#define ENCODING(text, want) encoding(__LINE__, text, true, want)
#define ENCODING_BAD(text)   encoding(__LINE__, text, false, INFLATE_IDENTITY)

static void test_encodings(void **state)
{
    (void)state;
    ENCODING(NULL, INFLATE_IDENTITY);
    ENCODING("", INFLATE_IDENTITY);
    ENCODING("identity", INFLATE_IDENTITY);
    ENCODING("GZip", INFLATE_GZIP);
    ENCODING(" x-gzip ", INFLATE_GZIP);
    ENCODING("deflate", INFLATE_DEFLATE);
    ENCODING("identity, zstd", INFLATE_ZSTD);
    ENCODING("snappy", INFLATE_SNAPPY);
    ENCODING_BAD("br");
    ENCODING_BAD("gzip, gzip");
    ENCODING_BAD("gzip;q=1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips), cmocka_unit_test(test_several_members), cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_damaged),     cmocka_unit_test(test_bombs),           cmocka_unit_test(test_encodings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
