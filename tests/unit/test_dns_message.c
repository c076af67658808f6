#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "codec/dns_message.h"

/* ---- Asking ---- */

static enum ap_rc ask(const char *name, struct ap_buf *out)
{
    const struct dns_question question = {ap_slice_cstr(name), DNS_TYPE_MX, DNS_CLASS_IN};
    struct ap_err err = {0};
    ap_buf_reset(out);
    return dns_message_ask(0x1234, true, &question, out, &err);
}

static void test_ask(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf out = {0};
    static const char want[] = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01"
                               "a\x07"
                               "example\x00\x00\x0f\x00\x01";
    assert_int_equal(ask("a.example", &out), AP_OK);
    assert_int_equal(out.bytes, sizeof(want) - 1);
    assert_memory_equal(out.data, want, out.bytes);
    assert_int_equal(ask("a.example.", &out), AP_OK);
    assert_memory_equal(out.data, want, sizeof(want) - 1);
    assert_int_equal(ask(".", &out), AP_OK);
    assert_int_equal(out.bytes, 12 + 1 + 4);

    char label[80], whole[400] = "";
    memset(label, 'x', sizeof(label));
    label[63] = '\0';
    assert_int_equal(ask(label, &out), AP_OK);
    memset(label, 'x', 64);
    label[64] = '\0';
    assert_int_equal(ask(label, &out), AP_E_PARSE);
    for (int i = 0; i < 127; i++)
        strcat(whole, "a.");
    assert_int_equal(ask(whole, &out), AP_OK);
    strcat(whole, "a.");
    assert_int_equal(ask(whole, &out), AP_E_PARSE);
    assert_int_equal(ask("a..b", &out), AP_E_PARSE);
    assert_int_equal(ask(".a", &out), AP_E_PARSE);
    assert_int_equal(ask("a..", &out), AP_E_PARSE);
}

/* ---- Reading ---- */

/* A message with `counts` records, whose bytes are `body` behind the header: no question. */
static enum ap_rc read_body(const char *body, size_t body_bytes, unsigned answers, struct ap_buf *bytes,
                            struct ap_arena *arena, struct dns_message *ret_message)
{
    struct ap_err err = {0};
    ap_buf_reset(bytes);
    ap_buf_add(bytes, "\x00\x07\x84\x03\x00\x00\x00", 7);
    ap_buf_add_char(bytes, (char)answers);
    ap_buf_add(bytes, "\x00\x00\x00\x00", 4);
    ap_buf_add(bytes, body, body_bytes);
    return dns_message_read(ap_buf_slice(bytes), arena, ret_message, &err);
}

static void check_record(const char *body, size_t body_bytes, const char *want, int line)
{
    AP_AUTO_BUF struct ap_buf bytes = {0}, text = {0};
    AP_AUTO_ARENA struct ap_arena arena;
    struct dns_message message;
    ap_arena_init(&arena, 1 << 20);
    enum ap_rc rc = read_body(body, body_bytes, 1, &bytes, &arena, &message);
    if (rc != AP_OK || message.record_counts[DNS_SECTION_ANSWER] != 1)
        fail_msg("line %d: rc %s", line, ap_rc_name(rc));
    assert_int_equal(message.id, 7);
    assert_true(message.is_answer);
    assert_string_equal(dns_rcode_name(message.rcode), "NXDOMAIN");
    dns_record_text(&message, &message.records[DNS_SECTION_ANSWER][0], &text);
    ap_buf_add_char(&text, '\0');
    if (strcmp(text.data, want) != 0)
        fail_msg("line %d: \"%s\"", line, text.data);
}
#define RECORD(body, want) check_record(body, sizeof(body) - 1, want, __LINE__)

static void test_records(void **state)
{
    (void)state;
    /* name, type, class, 16 seconds, length, data */
    RECORD("\x01"
           "a\x00"
           "\x00\x01\x00\x01\x00\x00\x00\x10\x00\x04"
           "\x7f\x00\x00\x01",
           "a.\t16\tIN\tA\t127.0.0.1");
    RECORD("\x00"
           "\x00\x02\x00\x01\x00\x00\x00\x10\x00\x03"
           "\x01"
           "n\x00",
           ".\t16\tIN\tNS\tn.");
    RECORD("\x01"
           "a\x00"
           "\x00\x05\x00\x01\x00\x00\x00\x10\x00\x04"
           "\x01"
           "b\xc0\x0c",
           "a.\t16\tIN\tCNAME\tb.a.");
    RECORD("\x01"
           "a\x00"
           "\x00\x0f\x00\x01\x00\x00\x00\x10\x00\x04"
           "\x00\x05\xc0\x0c",
           "a.\t16\tIN\tMX\t5 a.");
    RECORD("\x01"
           "a\x00"
           "\x00\x10\x00\x03\x00\x00\x00\x10\x00\x04"
           "\x01\"\x01\x07",
           "a.\t16\tCH\tTXT\t\"\\\"\" \"\\007\"");
    RECORD("\x02"
           "a.\x00"
           "\x00\x10\x00\x01\x00\x00\x00\x10\x00\x01"
           "\x00",
           "a\\..\t16\tIN\tTXT\t\"\"");
    RECORD("\x01"
           "\x01\x00"
           "\xff\x00\x00\x09\x00\x00\x00\x10\x00\x02"
           "\xc0\xff",
           "\\001.\t16\tCLASS9\tTYPE65280\t\\# 2 c0ff");
    /* Data that is not what its type says: cut, too long, a name that points forwards. */
    RECORD("\x01"
           "a\x00"
           "\x00\x01\x00\x01\x00\x00\x00\x10\x00\x02"
           "\x7f\x00",
           "a.\t16\tIN\tA\t\\# 2 7f00");
    RECORD("\x01"
           "a\x00"
           "\x00\x01\x00\x01\x00\x00\x00\x10\x00\x05"
           "\x7f\x00\x00\x01\x00",
           "a.\t16\tIN\tA\t\\# 5 7f00000100");
    RECORD("\x01"
           "a\x00"
           "\x00\x02\x00\x01\x00\x00\x00\x10\x00\x02"
           "\xc0\x20",
           "a.\t16\tIN\tNS\t\\# 2 c020");
    RECORD("\x01"
           "a\x00"
           "\x00\x10\x00\x01\x00\x00\x00\x10\x00\x02"
           "\x05x",
           "a.\t16\tIN\tTXT\t\\# 2 0578");
    RECORD("\x01"
           "a\x00"
           "\x00\x06\x00\x01\x00\x00\x00\x10\x00\x04"
           "\xc0\x0c\xc0\x0c",
           "a.\t16\tIN\tSOA\t\\# 4 c00cc00c");
    RECORD("\x01"
           "a\x00"
           "\x01\x01\x00\x01\x00\x00\x00\x10\x00\x04"
           "\x00\x01\ny",
           "a.\t16\tIN\tCAA\t\\# 4 00010a79");
}

static void bad(const char *body, size_t body_bytes, int line)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    AP_AUTO_ARENA struct ap_arena arena;
    struct dns_message message;
    ap_arena_init(&arena, 1 << 20);
    enum ap_rc rc = read_body(body, body_bytes, 1, &bytes, &arena, &message);
    if (rc != AP_E_PARSE)
        fail_msg("line %d: rc %s", line, ap_rc_name(rc));
}
#define BAD(body) bad(body, sizeof(body) - 1, __LINE__)

static void test_bad_messages(void **state)
{
    (void)state;
    BAD("\x01"
        "a"); /* a name that does not end */
    BAD("\xc0\x0c"
        "\x00\x01\x00\x01\x00\x00\x00\x10\x00\x00"); /* a name that is itself */
    BAD("\xc0\x20"
        "\x00\x01\x00\x01\x00\x00\x00\x10\x00\x00"); /* a name further on */
    BAD("\x40"
        "\x00\x01\x00\x01\x00\x00\x00\x10\x00\x00\x00\x00"); /* a kind of label that there is not */
    BAD("\x00\x00\x01\x00\x01\x00\x00\x00\x10\x00\x05"
        "1234");                                     /* more data than there is */
    BAD("\x00\x00\x01\x00\x01\x00\x00\x00\x10\x00"); /* no length */
    AP_AUTO_ARENA struct ap_arena arena;
    struct dns_message message;
    struct ap_err err = {0};
    ap_arena_init(&arena, 1 << 20);
    assert_int_equal(dns_message_read(ap_slice("12345678901", 11), &arena, &message, &err), AP_E_PARSE);
    assert_string_equal(err.text, "11 bytes are not a DNS message");
}

/* Cut between two records: as many as there are. */
static void test_truncated(void **state)
{
    (void)state;
    static const char one[] = "\x00\x00\x01\x00\x01\x00\x00\x00\x10\x00\x01x";
    AP_AUTO_BUF struct ap_buf bytes = {0};
    AP_AUTO_ARENA struct ap_arena arena;
    struct dns_message message;
    ap_arena_init(&arena, 1 << 20);
    assert_int_equal(read_body(one, sizeof(one) - 1, 200, &bytes, &arena, &message), AP_OK);
    assert_int_equal(message.record_counts[DNS_SECTION_ANSWER], 1);
}

static void test_numbers(void **state)
{
    (void)state;
    uint16_t number;
    unsigned rcode;
    assert_true(dns_type_parse(ap_slice_cstr("CAA"), &number));
    assert_int_equal(number, DNS_TYPE_CAA);
    assert_false(dns_type_parse(ap_slice_cstr("caa"), &number));
    assert_true(dns_class_parse(ap_slice_cstr("CH"), &number));
    assert_int_equal(number, 3);
    assert_false(dns_class_parse(ap_slice_cstr(""), &number));
    assert_true(dns_rcode_parse(ap_slice_cstr("REFUSED"), &rcode));
    assert_int_equal(rcode, 5);
    assert_string_equal(dns_rcode_name(99), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ask),       cmocka_unit_test(test_records), cmocka_unit_test(test_bad_messages),
        cmocka_unit_test(test_truncated), cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
