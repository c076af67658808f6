#include "codec/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static enum ap_rc parse(const char *text, struct yaml_document **ret_document, struct ap_err *err)
{
    return yaml_parse(ap_slice_cstr(text), "t.yaml", ret_document, err);
}

static struct yaml_document *parse_or_die(const char *text)
{
    struct yaml_document *document;
    struct ap_err err;
    if (parse(text, &document, &err) != AP_OK)
        fail_msg("%s", err.text);
    return document;
}

/* Keeps the line of the caller on failure. */
static void check_bad(const char *text, enum ap_rc want_rc, const char *want_error, int line)
{
    struct yaml_document *document = NULL;
    struct ap_err err = {0};
    enum ap_rc rc = parse(text, &document, &err);
    if (rc == AP_OK)
        yaml_free(document);
    if (rc != want_rc || strncmp(err.text, want_error, strlen(want_error)) != 0)
        fail_msg("line %d: rc %s, \"%s\"", line, ap_rc_name(rc), err.text);
}
#define BAD(text, want_error) check_bad(text, AP_E_PARSE, want_error, __LINE__)

static void test_places(void **state)
{
    (void)state;
    AP_AUTO(yaml)
    struct yaml_document *document = parse_or_die("# head\n"
                                                  "name: hive\n"
                                                  "list:\n"
                                                  "  - one\n"
                                                  "  - key: value\n"
                                                  "sql: |\n"
                                                  "  SELECT 1\n"
                                                  "  FROM x\n"
                                                  "quoted: 'a'\n");
    const struct yaml_node *root = yaml_root(document);
    assert_int_equal(root->kind, YAML_KIND_MAP);
    assert_int_equal(root->child_count, 4);
    const struct yaml_node *name = yaml_get(root, "name");
    assert_int_equal(name->line, 2);
    assert_int_equal(name->column, 7);
    assert_int_equal(name->key->column, 1);
    assert_string_equal(name->text.data, "hive");
    const struct yaml_node *list = yaml_get(root, "list");
    assert_int_equal(list->kind, YAML_KIND_LIST);
    assert_int_equal(list->child_count, 2);
    assert_int_equal(list->first->line, 4);
    assert_int_equal(list->first->column, 5);
    assert_int_equal(list->first->next->kind, YAML_KIND_MAP);
    const struct yaml_node *sql = yaml_get(root, "sql");
    assert_string_equal(sql->text.data, "SELECT 1\nFROM x\n");
    assert_int_equal(sql->line, 7); /* where SELECT stands */
    assert_int_equal(yaml_get(root, "quoted")->column, 9);
    assert_null(yaml_get(root, "nothing"));
}

static void test_empty_file_is_empty_map(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n\n", "# a comment\n"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(texts); i++) {
        AP_AUTO(yaml) struct yaml_document *document = parse_or_die(texts[i]);
        assert_int_equal(yaml_root(document)->kind, YAML_KIND_MAP);
        assert_int_equal(yaml_root(document)->child_count, 0);
    }
}

static void test_refused(void **state)
{
    (void)state;
    BAD("a: 1\nb: [1, 2\nc: 3\n", "t.yaml:");
    BAD("a: 1\n b: 2\n", "t.yaml:1:4: not YAML: ");
    BAD("a: 1\nb: 2\na: 3\n", "t.yaml:3:1: \"a\" is here a second time; the first is in line 1");
    BAD("a: &x 1\nb: *x\n", "t.yaml:1:");
    BAD("a: !!int 1\n", "t.yaml:1:");
    BAD("a: 1\n---\nb: 2\n", "t.yaml:3:1: a second document");
    BAD("? [a]\n: b\n", "t.yaml:1:3: a list as a key");
    BAD("a: \xff\n", "t.yaml:1:4: not UTF-8");
    BAD("a:\n\tb: 1\n", "t.yaml:2:1: a tab");
    BAD("a: \x01\n", "t.yaml:1:4: a control character");
    char deep[2 * YAML_DEPTH_MAX + 4] = {0};
    memset(deep, '[', YAML_DEPTH_MAX + 1);
    memset(deep + YAML_DEPTH_MAX + 1, ']', YAML_DEPTH_MAX + 1);
    check_bad(deep, AP_E_LIMIT, "t.yaml:1:33: nested deeper", __LINE__);
}

static void test_load(void **state)
{
    (void)state;
    struct yaml_document *document;
    struct ap_err err;
    assert_int_equal(yaml_load("/nonexistent/x.yaml", &document, &err), AP_E_NOT_FOUND);
    assert_non_null(strstr(err.text, "/nonexistent/x.yaml"));
    assert_int_equal(yaml_load("/", &document, &err), AP_E_IO);
}

#define DURATION(text, want_ms)                                                                                        \
    do {                                                                                                               \
        int64_t ms = -1;                                                                                               \
        assert_true(yaml_parse_duration(ap_slice_cstr(text), &ms));                                                    \
        assert_int_equal(ms, want_ms);                                                                                 \
    } while (0)
#define BAD_DURATION(text) assert_false(yaml_parse_duration(ap_slice_cstr(text), &(int64_t){0}))
static void test_durations(void **state)
{
    (void)state;
    DURATION("0", 0);
    DURATION("250ms", 250);
    DURATION("30s", 30000);
    DURATION("1h30m", 5400000);
    DURATION("7d", 604800000);
    DURATION("2w", 1209600000);
    BAD_DURATION("");
    BAD_DURATION("5");
    BAD_DURATION("s");
    BAD_DURATION("5 parsecs");
    BAD_DURATION("-5s");
    BAD_DURATION("1m1h");
    BAD_DURATION("1h1h");
    BAD_DURATION("99999999999999999d");
    BAD_DURATION("99999999999999999999s");
}

#define BYTES(text, want)                                                                                              \
    do {                                                                                                               \
        int64_t bytes = -1;                                                                                            \
        assert_true(yaml_parse_bytes(ap_slice_cstr(text), &bytes));                                                    \
        assert_int_equal(bytes, want);                                                                                 \
    } while (0)
#define BAD_BYTES(text) assert_false(yaml_parse_bytes(ap_slice_cstr(text), &(int64_t){0}))
static void test_bytes(void **state)
{
    (void)state;
    BYTES("0", 0);
    BYTES("512", 512);
    BYTES("64KiB", 65536);
    BYTES("8 MiB", 8 << 20);
    BYTES("2GiB", INT64_C(2) << 30);
    BAD_BYTES("");
    BAD_BYTES("64MB");
    BAD_BYTES("1.5GiB");
    BAD_BYTES("-1");
    BAD_BYTES("1MiB2");
    BAD_BYTES("9999999999TiB");
}

static void test_numbers(void **state)
{
    (void)state;
    double number;
    int64_t integer;
    assert_true(yaml_parse_number(ap_slice_cstr("-2.5e3"), &number));
    assert_true(number == -2500);
    assert_false(yaml_parse_number(ap_slice_cstr("0x10"), &number));
    assert_false(yaml_parse_number(ap_slice_cstr("inf"), &number));
    assert_false(yaml_parse_number(ap_slice_cstr("1e999"), &number));
    assert_false(yaml_parse_number(ap_slice_cstr("1 2"), &number));
    assert_true(yaml_parse_integer(ap_slice_cstr("-12"), &integer));
    assert_int_equal(integer, -12);
    assert_false(yaml_parse_integer(ap_slice_cstr("1.0"), &integer));
    assert_false(yaml_parse_integer(ap_slice_cstr("9223372036854775808"), &integer));
}

struct sample {
    const char *text;
    int64_t integer, timeout;
    double number;
    bool boolean;
    int color;
    struct yaml_texts list, map;
    const struct yaml_node *node;
};
static const char *const colors[] = {"red", "green", NULL};
static const struct yaml_field fields[] = {
    {.key = "text",
     .type = YAML_TYPE_TEXT,
     .offset = offsetof(struct sample, text),
     .is_required = true,
     .doc = "what it is called."},
    {.key = "integer",
     .type = YAML_TYPE_INTEGER,
     .offset = offsetof(struct sample, integer),
     .default_text = "5",
     .min = 1,
     .max = 10,
     .doc = "d"},
    {.key = "timeout",
     .type = YAML_TYPE_DURATION,
     .offset = offsetof(struct sample, timeout),
     .default_text = "30s",
     .doc = "d"},
    {.key = "number", .type = YAML_TYPE_NUMBER, .offset = offsetof(struct sample, number), .doc = "d"},
    {.key = "boolean",
     .type = YAML_TYPE_BOOLEAN,
     .offset = offsetof(struct sample, boolean),
     .default_text = "true",
     .doc = "d"},
    {.key = "color",
     .type = YAML_TYPE_CHOICE,
     .offset = offsetof(struct sample, color),
     .choices = colors,
     .default_text = "green",
     .doc = "d"},
    {.key = "list",
     .type = YAML_TYPE_TEXT_LIST,
     .offset = offsetof(struct sample, list),
     .default_text = "x, y",
     .doc = "d"},
    {.key = "map", .type = YAML_TYPE_TEXT_MAP, .offset = offsetof(struct sample, map), .doc = "d"},
    {.key = "node", .type = YAML_TYPE_NODE, .offset = offsetof(struct sample, node), .doc = "d"},
};

static void test_struct_defaults(void **state)
{
    (void)state;
    AP_AUTO(yaml) struct yaml_document *document = parse_or_die("text: hello\ninteger:\n");
    struct sample sample = {0};
    struct ap_err err;
    assert_int_equal(yaml_read_struct(yaml_root(document), fields, AP_ARRAY_COUNT(fields), &sample, &err), AP_OK);
    assert_string_equal(sample.text, "hello");
    assert_int_equal(sample.integer, 5); /* an empty value is as if the key was not there */
    assert_int_equal(sample.timeout, 30000);
    assert_true(sample.boolean);
    assert_int_equal(sample.color, 1);
    assert_int_equal(sample.list.count, 2);
    assert_string_equal(sample.list.items[1], "y");
    assert_int_equal(sample.map.count, 0);
}

static void test_struct_values(void **state)
{
    (void)state;
    AP_AUTO(yaml)
    struct yaml_document *document =
        parse_or_die("text: ' a '\ninteger: 7\ntimeout: 2m\nnumber: 0.75\nboolean: false\ncolor: red\n"
                     "list: [p, q, r]\nmap:\n  host.example: /siem\n  other: ''\nnode: [1]\n");
    struct sample sample = {0};
    struct ap_err err;
    assert_int_equal(yaml_read_struct(yaml_root(document), fields, AP_ARRAY_COUNT(fields), &sample, &err), AP_OK);
    assert_string_equal(sample.text, " a ");
    assert_int_equal(sample.integer, 7);
    assert_int_equal(sample.timeout, 120000);
    assert_true(sample.number == 0.75);
    assert_false(sample.boolean);
    assert_int_equal(sample.color, 0);
    assert_int_equal(sample.list.count, 3);
    assert_int_equal(sample.map.count, 2);
    assert_string_equal(sample.map.keys[0], "host.example");
    assert_string_equal(sample.map.items[0], "/siem");
    assert_int_equal(sample.map.nodes[0]->line, 9);
    assert_int_equal(sample.node->kind, YAML_KIND_LIST);
}

static void check_struct_error(const char *text, const char *want, int line)
{
    AP_AUTO(yaml) struct yaml_document *document = parse_or_die(text);
    struct sample sample = {0};
    struct ap_err err = {0};
    enum ap_rc rc = yaml_read_struct(yaml_root(document), fields, AP_ARRAY_COUNT(fields), &sample, &err);
    if (rc != AP_E_PARSE || strcmp(err.text, want) != 0)
        fail_msg("line %d: rc %s, \"%s\"", line, ap_rc_name(rc), err.text);
}
#define STRUCT_ERROR(text, want) check_struct_error(text, want, __LINE__)
static void test_struct_errors(void **state)
{
    (void)state;
    STRUCT_ERROR("text: a\nintger: 3\n", "t.yaml:2:1: unknown key \"intger\"; did you mean \"integer\"?");
    STRUCT_ERROR("text: a\nzzzzzz: 3\n", "t.yaml:2:1: unknown key \"zzzzzz\"; known here: text, integer, timeout, "
                                         "number, boolean, color, list, map, node");
    STRUCT_ERROR("integer: 3\n", "t.yaml:1:1: \"text\" is missing: what it is called.");
    STRUCT_ERROR("text: a\ninteger: three\n", "t.yaml:2:10: integer: expected a whole number, found \"three\"");
    STRUCT_ERROR("text: a\ninteger: 11\n", "t.yaml:2:10: integer: expected 1 to 10, found \"11\"");
    STRUCT_ERROR("text: a\nboolean: yes\n", "t.yaml:2:10: boolean: expected true or false, found \"yes\"");
    STRUCT_ERROR("text: a\ntimeout: 30\n",
                 "t.yaml:2:10: timeout: expected a duration such as 250ms, 30s, 12h or 7d, found \"30\"");
    STRUCT_ERROR("text: a\ncolor: gren\n",
                 "t.yaml:2:8: color: unknown word \"gren\"; did you mean \"green\"?; expected one of: red, green");
    STRUCT_ERROR("text: [a]\n", "t.yaml:1:7: text: expected text, found a list");
    STRUCT_ERROR("text: a\nlist: [x, [y]]\n", "t.yaml:2:11: list: expected text, found a list");
    STRUCT_ERROR("text: a\nmap: [x]\n", "t.yaml:2:6: map: expected a map of texts, found a list");
    STRUCT_ERROR("- a\n", "t.yaml:1:1: expected a map with \"text\" and so on, found a list");
}

static void test_read_text(void **state)
{
    (void)state;
    AP_AUTO(yaml) struct yaml_document *document = parse_or_die("");
    struct ap_err err;
    struct yaml_texts map;
    const struct yaml_field *field = &fields[7];
    assert_int_equal(yaml_read_text(document, field, ap_slice_cstr("a=1, b = /x"), &map, &err), AP_OK);
    assert_int_equal(map.count, 2);
    assert_string_equal(map.keys[1], "b");
    assert_string_equal(map.items[1], "/x");
    assert_int_equal(yaml_read_text(document, field, ap_slice_cstr("a"), &map, &err), AP_E_PARSE);
    assert_string_equal(err.text, "map: expected key=value, found \"a\"");
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const known[] = {"listen", "data", "max_size"};
    assert_string_equal(yaml_nearest(ap_slice_cstr("lisetn"), known, 3), "listen");
    assert_string_equal(yaml_nearest(ap_slice_cstr("maxsize"), known, 3), "max_size");
    assert_null(yaml_nearest(ap_slice_cstr("retention"), known, 3));
    assert_null(yaml_nearest(ap_slice_cstr(""), known, 3));
}

static void test_describe(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf out = {0};
    yaml_describe_struct(fields, 2, &out);
    AP_AUTO_FREE char *text = ap_buf_detach(&out);
    assert_string_equal(text, "| key | value | default | |\n| --- | --- | --- | --- |\n"
                              "| `text` | text | *required* | what it is called. |\n"
                              "| `integer` | a whole number | `5` | d |\n");
}

/* ---- Files that share ---- */

static void print_node(const struct yaml_node *node, struct ap_buf *out)
{
    if (node->key)
        ap_buf_printf(out, "%.*s=", AP_SLICE_ARG(node->key->text));
    if (node->kind == YAML_KIND_SCALAR) {
        ap_buf_add_slice(out, node->text);
        return;
    }
    ap_buf_add_char(out, node->kind == YAML_KIND_MAP ? '{' : '[');
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        print_node(child, out);
        ap_buf_add_cstr(out, child->next ? "," : "");
    }
    ap_buf_add_char(out, node->kind == YAML_KIND_MAP ? '}' : ']');
}

static void check_shared(const char *text, const char *want, int line)
{
    AP_AUTO(yaml) struct yaml_document *document = NULL;
    AP_AUTO_BUF struct ap_buf out = {0};
    struct ap_err err = {0};
    if (yaml_parse_sharing(ap_slice_cstr(text), "t.yaml", &document, &err) == AP_OK)
        print_node(yaml_root(document), &out);
    else
        ap_buf_add_cstr(&out, err.text);
    ap_buf_add_char(&out, '\0');
    if (strncmp(out.data, want, strlen(want)) != 0)
        fail_msg("line %d: %s", line, out.data);
}
#define SHARED(text, want) check_shared(text, want, __LINE__)

static void test_sharing(void **state)
{
    (void)state;
    SHARED("a: &x [1, {k: v}]\nb: *x\n", "{a=[1,{k=v}],b=[1,{k=v}]}");
    SHARED("a: &x 1\nb: &x 2\nc: *x\n", "{a=1,b=2,c=2}");
    SHARED("a: &x {}\nb: *x\nc: &y []\nd: [*x, *y]\n", "{a={},b={},c=[],d=[{},[]]}");
    SHARED("a: &k key\n*k : v\n", "{a=key,key=v}");
    /* Merge keys: the map's own members stay, of several maps the first has its say. */
    SHARED("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\nc: {q: 3, <<: *x}\n", "{a={p=1,q=2},b={q=3,p=1},c={q=3,p=1}}");
    SHARED("a: &x {p: 1}\nb: &y {p: 2, q: 2}\nc: {<<: [*x, *y]}\n", "{a={p=1},b={p=2,q=2},c={p=1,q=2}}");
    SHARED("a: &x {p: 1}\nb: &y {<<: *x, q: 2}\nc: {<<: *y}\n", "{a={p=1},b={q=2,p=1},c={q=2,p=1}}");
    SHARED("a: {'<<': 1}\n", "{a={<<=1}}");
    SHARED("a: {<<: 1}\n", "t.yaml:1:9: <<: expected a map or a list of maps, found a text");
    SHARED("a: *x\n", "t.yaml:1:4: there is no &x before this");
    SHARED("a: &x [*x]\n", "t.yaml:1:8: *x is inside of itself");
    SHARED("a: !t 1\n", "t.yaml:1:7: tags (!name) are not used in these files");
    SHARED("a: &x 1\nb: {x: 1, x: *x}\n", "t.yaml:2:11: \"x\" is here a second time");
}

/* A few lines that would be billions of values. */
static void test_sharing_is_bounded(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf wide = {0}, deep = {0};
    ap_buf_add_cstr(&wide, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    ap_buf_add_cstr(&deep, "a0: &a0 [x]\n");
    for (int i = 1; i < 40; i++) {
        ap_buf_printf(&wide, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1, i - 1, i - 1,
                      i - 1, i - 1, i - 1, i - 1, i - 1);
        ap_buf_printf(&deep, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    }
    ap_buf_add_char(&wide, '\0');
    ap_buf_add_char(&deep, '\0');
    SHARED(wide.data, "t.yaml:1:22: more than 100000 values in a file");
    SHARED(deep.data, "t.yaml:1:9: nested deeper than 32");
}

static void check_print(const char *text, const char *want, int line)
{
    AP_AUTO(yaml) struct yaml_document *document = parse_or_die(text);
    AP_AUTO_BUF struct ap_buf once = {0}, twice = {0};
    yaml_print(yaml_root(document), &once);
    ap_buf_add_char(&once, '\0');
    if (strcmp(once.data, want) != 0)
        fail_msg("line %d: %s", line, once.data);
    AP_AUTO(yaml) struct yaml_document *again = parse_or_die(once.data);
    yaml_print(yaml_root(again), &twice);
    ap_buf_add_char(&twice, '\0');
    if (strcmp(twice.data, want) != 0)
        fail_msg("line %d: again: %s", line, twice.data);
}
#define PRINTS(text, want) check_print(text, want, __LINE__)

static void test_print(void **state)
{
    (void)state;
    PRINTS("", "{}");
    PRINTS("a: [1, -2.5e-3, 15s, true, ~, '5', '-', --x]\nb: {}\nc: []",
           "{\"a\": [1, -2.5e-3, 15s, true, null, \"5\", \"-\", \"--x\"], \"b\": {}, \"c\": []}");
    PRINTS("a: 'notify =~ \"x, {y}\"'\nb: |\n  one\n  two\nc: http://x/#y",
           "{\"a\": \"notify =~ \\\"x, {y}\\\"\", \"b\": \"one\\ntwo\\n\", \"c\": \"http://x/#y\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_empty_file_is_empty_map),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_struct_defaults),
        cmocka_unit_test(test_struct_values),
        cmocka_unit_test(test_struct_errors),
        cmocka_unit_test(test_read_text),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_sharing),
        cmocka_unit_test(test_sharing_is_bounded),
        cmocka_unit_test(test_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
