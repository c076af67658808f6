/* tsdb/labels.h: the canonical form; what is not it, and only that, is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "tsdb/labels.h"

#define TEXT(literal) ap_slice(literal, sizeof(literal) - 1)

/* "a=1,b=2" as an array. */
static size_t split(const char *text, struct label *labels, size_t max)
{
    struct ap_slice rest = ap_slice_cstr(text);
    size_t count = 0;
    while (rest.data && rest.bytes) {
        struct ap_slice label = ap_slice_split(&rest, ',');
        struct ap_slice name = ap_slice_split(&label, '=');
        assert_true(count < max);
        labels[count++] = (struct label){name, label};
    }
    return count;
}

static enum ap_rc encode(const char *text, struct ap_buf *out)
{
    struct label labels[300];
    struct ap_err err;
    size_t count = split(text, labels, 300);
    enum ap_rc rc = labels_encode(labels, count, out, &err);
    if (rc != AP_OK)
        assert_true(err.text[0] != '\0');
    return rc;
}

static void assert_encoded(const char *text, struct ap_slice want, int line)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    struct ap_err err;
    _assert_int_equal(encode(text, &out), AP_OK, __FILE__, line);
    _assert_int_equal(out.bytes, want.bytes, __FILE__, line);
    _assert_memory_equal(out.data, want.data, want.bytes, __FILE__, line);
    _assert_int_equal(labels_check(ap_buf_slice(&out), &err), AP_OK, __FILE__, line);
}
#define ENCODED(text, literal) assert_encoded(text, TEXT(literal), __LINE__)

static void test_encode(void **state)
{
    (void)state;
    ENCODED("a=1", "\x0a\x06\x0a\x01"
                   "a\x12\x01"
                   "1");
    ENCODED("b=2,a=1", "\x0a\x06\x0a\x01"
                       "a\x12\x01"
                       "1\x0a\x06\x0a\x01"
                       "b\x12\x01"
                       "2");
    /* An empty value is no label. Order is by bytes: upper case before lower, a prefix before what it begins. */
    ENCODED("b=,a=1", "\x0a\x06\x0a\x01"
                      "a\x12\x01"
                      "1");
    ENCODED("ab=1,a=1,B=1", "\x0a\x06\x0a\x01"
                            "B\x12\x01"
                            "1\x0a\x06\x0a\x01"
                            "a\x12\x01"
                            "1\x0a\x07\x0a\x02"
                            "ab\x12\x01"
                            "1");
    ENCODED("\xc3\xa4=\xe2\x82\xac", "\x0a\x09\x0a\x02\xc3\xa4\x12\x03\xe2\x82\xac");
}

#define REFUSED(text, want_rc)                                                                                         \
    do {                                                                                                               \
        AP_AUTO_BUF struct ap_buf out = {0};                                                                           \
        ap_buf_add_cstr(&out, "kept");                                                                                 \
        assert_int_equal(encode(text, &out), want_rc);                                                                 \
        assert_int_equal(out.bytes, 4);                                                                                \
        assert_memory_equal(out.data, "kept", 4);                                                                      \
    } while (0)

static void test_encode_refuses(void **state)
{
    (void)state;
    REFUSED("", AP_E_PARSE);
    REFUSED("a=", AP_E_PARSE);
    REFUSED("=1", AP_E_PARSE);
    REFUSED("a=1,a=2", AP_E_PARSE);
    REFUSED("a=1,b=1,a=1", AP_E_PARSE);
    REFUSED("a=1,a=", AP_E_PARSE); /* twice, though one of them is empty */
    REFUSED("a=\xff", AP_E_PARSE);
    REFUSED("\xc0\x80=1", AP_E_PARSE);
    REFUSED("a=\xed\xa0\x80", AP_E_PARSE); /* a surrogate */
}

static void test_limits(void **state)
{
    (void)state;
    AP_AUTO_FREE char *text = malloc(300 * 1024);
    memset(text, 'x', 300 * 1024);
    AP_AUTO_BUF struct ap_buf out = {0};
    struct ap_err err;
    struct label label = {ap_slice(text, LABEL_NAME_BYTES_MAX), ap_slice(text, LABEL_VALUE_BYTES_MAX)};
    assert_int_equal(labels_encode(&label, 1, &out, &err), AP_OK);
    assert_int_equal(labels_check(ap_buf_slice(&out), &err), AP_OK);
    label.name.bytes++;
    assert_int_equal(labels_encode(&label, 1, &out, &err), AP_E_LIMIT);
    label.name.bytes = 1;
    label.value.bytes++;
    assert_int_equal(labels_encode(&label, 1, &out, &err), AP_E_LIMIT);

    struct label labels[LABELS_COUNT_MAX + 1];
    char names[LABELS_COUNT_MAX + 1][8];
    for (size_t i = 0; i <= LABELS_COUNT_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "n%04zu", i);
        labels[i] = (struct label){ap_slice_cstr(names[i]), TEXT("1")};
    }
    ap_buf_reset(&out);
    assert_int_equal(labels_encode(labels, LABELS_COUNT_MAX, &out, &err), AP_OK);
    assert_int_equal(labels_count(ap_buf_slice(&out)), LABELS_COUNT_MAX);
    assert_int_equal(labels_encode(labels, LABELS_COUNT_MAX + 1, &out, &err), AP_E_LIMIT);
    for (size_t i = 0; i < 5; i++)
        labels[i].value = ap_slice(text, LABEL_VALUE_BYTES_MAX);
    assert_int_equal(labels_encode(labels, 5, &out, &err), AP_E_LIMIT);
}

#define CHECKED(literal, want_rc) assert_int_equal(labels_check(TEXT(literal), &err), want_rc)

static void test_check(void **state)
{
    (void)state;
    struct ap_err err;
    CHECKED("\x0a\x06\x0a\x01"
            "a\x12\x01"
            "1",
            AP_OK);
    CHECKED("", AP_E_PARSE);
    CHECKED("\x0a\x04\x0a\x00\x12\x00", AP_E_PARSE);
    CHECKED("\x0a\x05\x0a\x01"
            "a\x12\x00",
            AP_E_PARSE); /* empty value */
    CHECKED("\x0a\x06\x0a\x01"
            "b\x12\x01"
            "1\x0a\x06\x0a\x01"
            "a\x12\x01"
            "1",
            AP_E_PARSE); /* not in order */
    CHECKED("\x0a\x06\x0a\x01"
            "a\x12\x01"
            "1\x0a\x06\x0a\x01"
            "a\x12\x01"
            "1",
            AP_E_PARSE); /* twice */
    CHECKED("\x0a\x07\x0a\x81\x00"
            "a\x12\x01"
            "1",
            AP_E_PARSE); /* a varint that is too long */
    CHECKED("\x0a\x06\x12\x01"
            "1\x0a\x01"
            "a",
            AP_E_PARSE); /* value before name */
    CHECKED("\x0a\x03\x0a\x01"
            "a",
            AP_E_PARSE); /* no value */
    CHECKED("\x0a\x06\x0a\x01"
            "a\x12\x02"
            "1",
            AP_E_PARSE); /* longer than its label */
    CHECKED("\x0a\x08\x0a\x01"
            "a\x12\x01"
            "1\x18\x01",
            AP_E_PARSE); /* another field */
    CHECKED("\x0a\x06\x0a\x01"
            "a\x12\x01"
            "\xff",
            AP_E_PARSE);
}

static void test_cut_anywhere_is_refused(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf out = {0};
    struct ap_err err;
    assert_int_equal(encode("alpha=one,beta=two,gamma=three", &out), AP_OK);
    size_t whole_labels = 0;
    for (size_t bytes = 0; bytes < out.bytes; bytes++) {
        AP_AUTO_FREE char *copy = ap_strndup(out.data, bytes); /* so that ASan sees a read behind the end */
        whole_labels += labels_check(ap_slice(copy, bytes), &err) == AP_OK;
        (void)labels_count(ap_slice(copy, bytes));
    }
    assert_int_equal(whole_labels, 2);
}

static void test_get(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf out = {0};
    assert_int_equal(encode("alpha=one,beta=two", &out), AP_OK);
    struct ap_slice labels = ap_buf_slice(&out);
    assert_true(ap_slice_equal_cstr(labels_get(labels, TEXT("alpha")), "one"));
    assert_true(ap_slice_equal_cstr(labels_get(labels, TEXT("beta")), "two"));
    assert_null(labels_get(labels, TEXT("alp")).data);
    assert_null(labels_get(labels, TEXT("gamma")).data);
    assert_int_equal(labels_count(labels), 2);
    assert_false(labels_hash_equal(labels_hash_of(1, labels), labels_hash_of(2, labels)));
}

static int compare(const char *a, const char *b)
{
    AP_AUTO_BUF struct ap_buf x = {0};
    AP_AUTO_BUF struct ap_buf y = {0};
    assert_int_equal(encode(a, &x), AP_OK);
    assert_int_equal(encode(b, &y), AP_OK);
    int order = labels_compare(ap_buf_slice(&x), ap_buf_slice(&y));
    int back = labels_compare(ap_buf_slice(&y), ap_buf_slice(&x));
    assert_int_equal(order > 0, back < 0);
    assert_int_equal(order == 0, back == 0);
    return (order > 0) - (order < 0);
}

static void test_compare(void **state)
{
    (void)state;
    assert_int_equal(compare("a=1", "a=1"), 0);
    assert_int_equal(compare("a=1", "a=2"), -1);
    assert_int_equal(compare("a=2", "a=10"), 1);
    assert_int_equal(compare("a=1", "a=1,b=1"), -1);
    assert_int_equal(compare("a=1", "b=0"), -1);
    assert_int_equal(compare("a=1,c=1", "a=1,b=9"), 1);
    assert_int_equal(compare("a=x", "a=xx"), -1);
    assert_int_equal(compare("a=\xc3\xa4", "a=z"), 1); /* bytes are not signed */
}

#define FORMAT(text, want)                                                                                             \
    do {                                                                                                               \
        AP_AUTO_BUF struct ap_buf labels = {0};                                                                        \
        AP_AUTO_BUF struct ap_buf shown = {0};                                                                         \
        assert_int_equal(encode(text, &labels), AP_OK);                                                                \
        labels_format(ap_buf_slice(&labels), &shown);                                                                  \
        ap_buf_add_char(&shown, '\0');                                                                                 \
        assert_string_equal(shown.data, want);                                                                         \
    } while (0)

static void test_format(void **state)
{
    (void)state;
    FORMAT("__name__=up", "up");
    FORMAT("__name__=up,job=b,instance=a:9090", "up{instance=\"a:9090\", job=\"b\"}");
    FORMAT("job=b", "{job=\"b\"}");
    FORMAT("__name__=a:b", "a:b");
    FORMAT("__name__=a.b", "{\"a.b\"}");
    FORMAT("__name__=a.b,c=d", "{\"a.b\", c=\"d\"}");
    FORMAT("__name__=up,a.b=c", "up{\"a.b\"=\"c\"}");
    FORMAT("a:b=c", "{\"a:b\"=\"c\"}");
    FORMAT("a=\"\\\n", "{a=\"\\\"\\\\\\n\"}");
}

/* Whatever the labels are: what encoding accepts is canonical and reads back as the same labels, sorted. */
static void test_random_sets(void **state)
{
    (void)state;
    struct ap_random random;
    ap_random_init(&random, 7);
    for (int round = 0; round < 20000; round++) {
        char texts[16][6];
        struct label labels[8];
        struct label given[8];
        size_t count = (size_t)ap_random_below(&random, 8);
        for (size_t i = 0; i < 2 * count; i++) {
            size_t bytes = (size_t)ap_random_below(&random, 4);
            for (size_t j = 0; j < bytes; j++)
                texts[i][j] = (char)("ab\0z"[ap_random_below(&random, 4)]);
            *(i % 2 ? &labels[i / 2].value : &labels[i / 2].name) = ap_slice(texts[i], bytes);
        }
        memcpy(given, labels, sizeof(given));
        AP_AUTO_BUF struct ap_buf out = {0};
        struct ap_err err;
        bool is_sound = true;
        size_t kept = 0;
        for (size_t i = 0; i < count; i++) {
            is_sound &= given[i].name.bytes > 0;
            kept += given[i].value.bytes > 0;
            for (size_t j = 0; j < i; j++)
                is_sound &= !ap_slice_equal(given[i].name, given[j].name);
        }
        assert_int_equal(labels_encode(labels, count, &out, &err) == AP_OK, is_sound && kept > 0);
        if (!is_sound || !kept)
            continue;
        struct ap_slice canonical = ap_buf_slice(&out);
        assert_int_equal(labels_check(canonical, &err), AP_OK);
        assert_int_equal(labels_count(canonical), kept);
        for (size_t i = 0; i < count; i++)
            assert_true(ap_slice_equal(labels_get(canonical, given[i].name), given[i].value));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_encode_refuses),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_cut_anywhere_is_refused),
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_random_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
