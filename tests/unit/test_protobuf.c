#include "codec/protobuf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/bits.h"
#include "base/mem.h"

/* In memory of its own size, so that the address sanitizer sees a read past its end. */
static struct ap_slice exact(struct ap_slice bytes)
{
    char *copy = malloc(bytes.bytes ? bytes.bytes : 1);
    assert_non_null(copy);
    if (bytes.bytes)
        memcpy(copy, bytes.data, bytes.bytes);
    return ap_slice(copy, bytes.bytes);
}

static void test_every_wire_type(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf message = {0};
    protobuf_add_varint(&message, 1, 300);
    protobuf_add_double(&message, 2, -1.5);
    protobuf_add_text(&message, 1000, "a text");
    protobuf_add_sint(&message, 4, -123456789012);
    protobuf_add_varint(&message, 5, UINT64_MAX);
    ap_buf_add_varint(&message, PROTOBUF_TAG(6, PROTOBUF_FIXED32));
    ap_buf_add_u32(&message, 0xfedcba98);
    protobuf_add_text(&message, 7, "");

    struct protobuf_reader reader = protobuf_reader(ap_buf_slice(&message));
    struct protobuf_field field;
    assert_true(protobuf_next(&reader, &field));
    assert_int_equal(field.tag, PROTOBUF_TAG(1, PROTOBUF_VARINT));
    assert_int_equal(field.number, 300);
    assert_true(protobuf_next(&reader, &field));
    assert_int_equal(field.tag, PROTOBUF_TAG(2, PROTOBUF_FIXED64));
    assert_true(ap_double_of_bits(field.number) == -1.5);
    assert_true(protobuf_next(&reader, &field));
    assert_int_equal(field.tag, PROTOBUF_TAG(1000, PROTOBUF_BYTES));
    assert_true(ap_slice_equal_cstr(field.bytes, "a text"));
    assert_true(protobuf_next(&reader, &field));
    assert_true(ap_unzigzag(field.number) == -123456789012);
    assert_true(protobuf_next(&reader, &field));
    assert_true(field.number == UINT64_MAX);
    assert_true(protobuf_next(&reader, &field));
    assert_int_equal(field.tag, PROTOBUF_TAG(6, PROTOBUF_FIXED32));
    assert_int_equal(field.number, 0xfedcba98);
    assert_true(protobuf_next(&reader, &field));
    assert_int_equal(field.bytes.bytes, 0);
    assert_false(protobuf_next(&reader, &field));
    assert_false(reader.is_malformed);
}

static void test_nothing_is_a_message(void **state)
{
    (void)state;
    struct protobuf_reader reader = protobuf_reader((struct ap_slice){0});
    struct protobuf_field field;
    assert_false(protobuf_next(&reader, &field));
    assert_false(reader.is_malformed);
}

/* Reads all of it; -1: malformed, otherwise the number of fields. */
static int field_count(struct ap_slice message, size_t *ret_offset)
{
    struct ap_slice copy = exact(message);
    struct protobuf_reader reader = protobuf_reader(copy);
    struct protobuf_field field;
    int count = 0;
    while (protobuf_next(&reader, &field))
        count++;
    *ret_offset = (size_t)(reader.next - (const uint8_t *)copy.data);
    free((void *)(uintptr_t)copy.data);
    return reader.is_malformed ? -1 : count;
}

static void bad(int line, struct ap_slice message, size_t want_offset)
{
    size_t offset;
    int count = field_count(message, &offset);
    if (count != -1 || offset != want_offset)
        fail_msg("line %d: %d fields, at %zu", line, count, offset);
}
#define BAD(literal, want_offset) bad(__LINE__, ap_slice(literal, sizeof(literal) - 1), want_offset)

static void test_malformed(void **state)
{
    (void)state;
    BAD("\x08", 0);                                             /* no number */
    BAD("\x08\x80", 0);                                         /* half of one */
    BAD("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", 0);     /* 65 bits */
    BAD("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 0); /* 11 bytes */
    BAD("\x08\x01\x09\x01\x02\x03\x04\x05\x06\x07", 2);         /* 7 of 8 bytes */
    BAD("\x08\x01\x0d\x01\x02\x03", 2);                         /* 3 of 4 */
    BAD("\x0a\x05hell", 0);                                     /* 4 of 5 */
    BAD("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", 0);    /* 2^64 - 1 bytes */
    BAD("\x0b\x0c", 0);                                         /* a group */
    BAD("\x0e", 0);                                             /* wire types 6 and 7 are none */
    BAD("\x0f", 0);
    BAD("\x00\x01", 0);                 /* nor is field 0 */
    BAD("\xff\xff\xff\xff\x7f\x01", 0); /* a tag beyond 32 bits */
}

static void test_cut_anywhere(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf message = {0};
    protobuf_add_text(&message, 1, "abc");
    protobuf_add_varint(&message, 2, 1 << 20);
    protobuf_add_double(&message, 3, 1);
    /* Whole are only the cuts between two fields. */
    for (size_t bytes = 0; bytes <= message.bytes; bytes++) {
        size_t offset;
        int want = bytes == 0 ? 0 : bytes == 5 ? 1 : bytes == 9 ? 2 : bytes == 18 ? 3 : -1;
        assert_int_equal(field_count(ap_slice(message.data, bytes), &offset), want);
    }
    assert_int_equal(message.bytes, 18);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_wire_type),
        cmocka_unit_test(test_nothing_is_a_message),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_cut_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
