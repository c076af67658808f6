#include "codec/compress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/inflate.h"

#define CHOOSES(accept, want) assert_int_equal(compress_encoding_choose(ap_slice_cstr(accept)), COMPRESS_##want)

static void test_choosing(void **state)
{
    (void)state;
    CHOOSES(NULL, IDENTITY);
    CHOOSES("", IDENTITY);
    CHOOSES("identity", IDENTITY);
    CHOOSES("br", IDENTITY);
    CHOOSES("gzip", GZIP);
    CHOOSES("x-gzip", GZIP);
    CHOOSES("GZip", GZIP);
    CHOOSES("zstd", ZSTD);
    CHOOSES("gzip, deflate, br, zstd", ZSTD);
    CHOOSES(" gzip ; q=1.0 ,zstd;q=0.9", GZIP);
    CHOOSES("gzip;q=0.5,zstd;q=0.501", ZSTD);
    CHOOSES("gzip;q=0.5,zstd;q=0.5", ZSTD);
    CHOOSES("gzip;q=0", IDENTITY);
    CHOOSES("gzip;q=0.000, zstd;q=0.0", IDENTITY);
    CHOOSES("zstd;q=0, gzip", GZIP);
    CHOOSES("*", GZIP);
    CHOOSES("*;q=0", IDENTITY);
    CHOOSES("zstd;q=0.1, *", GZIP);
    CHOOSES("gzip;q=0, *", IDENTITY);
    CHOOSES("identity;q=1, gzip;q=0.5", IDENTITY);
    CHOOSES("identity;q=0.5, gzip;q=0.5", GZIP);
    CHOOSES("gzip;level=3;Q=0", IDENTITY);
    CHOOSES("gzip;q=x", IDENTITY);
    CHOOSES("gzip;q=", IDENTITY);
    CHOOSES("gzip;q=1x", IDENTITY);
    CHOOSES("gzip;q=0.x", IDENTITY);
}

/* A text that is not all the same, and large enough for several rounds. */
static void text_make(struct ap_buf *text, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ap_buf_printf(text, "{\"metric\":\"m%zu\",\"value\":\"%zu\"},", i % 37, i * 2654435761U);
}

static void check_inflates(enum compress_encoding encoding, struct ap_slice compressed, struct ap_slice want)
{
    AP_AUTO(inflate) struct inflate *inflate = inflate_new();
    enum inflate_encoding inflate_encoding = encoding == COMPRESS_ZSTD ? INFLATE_ZSTD : INFLATE_GZIP;
    AP_AUTO_FREE char *plain = NULL;
    size_t plain_bytes;
    struct ap_err err = {0};
    if (inflate_body(inflate, inflate_encoding, compressed, want.bytes + 1, &plain, &plain_bytes, &err) != AP_OK)
        fail_msg("%s", err.text);
    assert_int_equal(plain_bytes, want.bytes);
    assert_memory_equal(plain, want.data, want.bytes);
}

static void test_whole(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf text = {0};
    text_make(&text, 5000);
    AP_AUTO(compressor) struct compressor *compressor = compressor_new();
    for (int i = 0; i < 4; i++) {
        enum compress_encoding encoding = i % 2 ? COMPRESS_ZSTD : COMPRESS_GZIP;
        AP_AUTO_BUF struct ap_buf out = {0};
        assert_true(compressor_whole(compressor, encoding, ap_buf_slice(&text), text.bytes, &out));
        assert_true(out.bytes < text.bytes / 2);
        check_inflates(encoding, ap_buf_slice(&out), ap_buf_slice(&text));
        ap_buf_reset(&out);
        assert_false(compressor_whole(compressor, encoding, ap_buf_slice(&text), 100, &out));
        assert_int_equal(out.bytes, 0);
    }
}

static void compress_pieces(struct compressor *compressor, enum compress_encoding encoding, struct ap_slice text,
                            size_t piece_bytes, struct ap_buf *out)
{
    struct ap_err err = {0};
    assert_int_equal(compressor_begin(compressor, encoding, &err), AP_OK);
    for (size_t at = 0; at < text.bytes; at += piece_bytes) {
        struct ap_slice piece = ap_slice(text.data + at, AP_MIN(piece_bytes, text.bytes - at));
        size_t before = out->bytes;
        assert_int_equal(compressor_add(compressor, piece, false, out, &err), AP_OK);
        assert_true(out->bytes > before); /* nothing stays behind */
    }
    assert_int_equal(compressor_add(compressor, ap_slice("", 0), true, out, &err), AP_OK);
}

static void test_pieces(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf text = {0};
    text_make(&text, 20000);
    AP_AUTO(compressor) struct compressor *compressor = compressor_new();
    const size_t sizes[] = {1000, 65536, 300000, 10000000};
    for (size_t i = 0; i < AP_ARRAY_COUNT(sizes); i++)
        for (enum compress_encoding encoding = COMPRESS_GZIP; encoding <= COMPRESS_ZSTD; encoding++) {
            AP_AUTO_BUF struct ap_buf out = {0};
            compress_pieces(compressor, encoding, ap_buf_slice(&text), sizes[i], &out);
            check_inflates(encoding, ap_buf_slice(&out), ap_buf_slice(&text));
        }
}

/* What was given up leaves nothing behind. */
static void test_given_up(void **state)
{
    (void)state;
    AP_AUTO(compressor) struct compressor *compressor = compressor_new();
    struct ap_slice text = ap_slice_cstr("what is said at last, at last, at last");
    for (enum compress_encoding encoding = COMPRESS_GZIP; encoding <= COMPRESS_ZSTD; encoding++) {
        AP_AUTO_BUF struct ap_buf out = {0};
        struct ap_err err = {0};
        assert_int_equal(compressor_begin(compressor, encoding, &err), AP_OK);
        assert_int_equal(compressor_add(compressor, ap_slice_cstr("given up"), false, &out, &err), AP_OK);
        ap_buf_reset(&out);
        compress_pieces(compressor, encoding, text, 10, &out);
        check_inflates(encoding, ap_buf_slice(&out), text);
        ap_buf_reset(&out);
        assert_true(compressor_whole(compressor, encoding, text, 1000, &out));
        check_inflates(encoding, ap_buf_slice(&out), text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choosing),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
