/* What is inside a header field's value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/http_field.h"

#define IS(field, name, want) assert_true(ap_slice_equal_cstr(http_field_parameter(ap_slice_cstr(field), name), want))
#define NONE(field, name)     assert_null(http_field_parameter(ap_slice_cstr(field), name).data)

static void test_parameters(void **state)
{
    (void)state;
    IS("text/plain; version=0.0.4", "version", "0.0.4");
    IS("text/plain;version=0.0.4;charset=utf-8", "charset", "utf-8");
    IS("a/b; Proto = \"x.y\" ; encoding=delimited", "proto", "x.y");
    IS("a/b; proto=", "proto", "");
    IS("a/b; proto=\"", "proto", "\"");
    IS("a/b; proto=1; proto=2", "proto", "1");
    NONE("a/b", "b");
    NONE("proto=1", "proto"); /* that is where the type is */
    NONE("a/b; proto", "proto");
    NONE("", "proto");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_parameters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
