#include "api/assets.h"

#include <libdeflate.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_every_asset_is_found(void **state)
{
    (void)state;
    assert_true(asset_count > 0);
    for (size_t i = 0; i < asset_count; i++)
        assert_ptr_equal(asset_find(ap_slice_cstr(asset_table[i].path)), &asset_table[i]);
    assert_non_null(asset_find(ap_slice_cstr("/index.html")));
}

static void test_nothing_else_is_found(void **state)
{
    (void)state;
    assert_null(asset_find(ap_slice(NULL, 0)));
    assert_null(asset_find(ap_slice_cstr("/")));
    assert_null(asset_find(ap_slice_cstr("/index.htm")));
    assert_null(asset_find(ap_slice_cstr("/index.html2")));
    assert_null(asset_find(ap_slice("/index.html\0x", 13)));
    assert_null(asset_find(ap_slice_cstr("\xff")));
}

/* What browsers and proxies go by: an unknown type or a bare ETag would be a bug that no test of ours sees otherwise.
 */
static void test_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < asset_count; i++) {
        const char *etag = asset_table[i].etag;

        assert_int_equal(asset_table[i].path[0], '/');
        assert_non_null(strchr(asset_table[i].content_type, '/'));
        assert_int_equal(strlen(etag), 18);
        assert_int_equal(etag[0], '"');
        assert_int_equal(etag[17], '"');
    }
    assert_string_equal(asset_find(ap_slice_cstr("/index.html"))->content_type, "text/html; charset=utf-8");
}

static void test_bytes_inflate_to_their_size(void **state)
{
    (void)state;
    struct libdeflate_decompressor *decompressor = libdeflate_alloc_decompressor();

    assert_non_null(decompressor);
    for (size_t i = 0; i < asset_count; i++) {
        const struct asset *asset = &asset_table[i];
        char *raw = malloc(asset->raw_bytes + 1);
        size_t raw_bytes = 0;

        assert_non_null(raw);
        assert_int_equal(
            libdeflate_gzip_decompress(decompressor, asset->gzip, asset->gzip_bytes, raw, asset->raw_bytes, &raw_bytes),
            LIBDEFLATE_SUCCESS);
        assert_int_equal(raw_bytes, asset->raw_bytes);
        if (strcmp(asset->path, "/index.html") == 0)
            assert_memory_equal(raw, "<!doctype html>", 15);
        free(raw);
    }
    libdeflate_free_decompressor(decompressor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_asset_is_found),
        cmocka_unit_test(test_nothing_else_is_found),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_bytes_inflate_to_their_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
