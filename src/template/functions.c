/* The functions that Go's text/template has built in. */
#include <stdio.h>
#include <string.h>

#include "template/template_internal.h"

const char *template_function_at(size_t index)
{
    /* Those before it are not the last, so that the end is never passed. */
    return template_functions_of_prometheus[index].name;
}

const struct template_function *template_function_find(struct ap_slice name, bool is_message)
{
    const struct template_function *const tables[] = {
        template_functions_of_go,
        is_message ? template_functions_of_alertmanager : template_functions_of_prometheus,
        is_message ? template_functions_of_prometheus : NULL,
    };
    for (size_t t = 0; t < AP_ARRAY_COUNT(tables) && tables[t]; t++)
        for (const struct template_function *function = tables[t]; function->name; function++)
            if (ap_slice_equal_cstr(name, function->name))
                return function;
    return NULL;
}

enum ap_rc template_keep_text(struct template_run *run, struct ap_buf *text, struct template_value *ret,
                              struct ap_err *err)
{
    char *copy = ap_arena_try_strndup(&run->arena, ap_buf_slice(text));
    if (!copy)
        return ap_fail(err, AP_E_LIMIT, "the template's values need too much memory");
    *ret = template_text(ap_slice(copy, text->bytes));
    ap_buf_clear(text);
    return AP_OK;
}

#define FUNCTION(name)                                                                                                 \
    static enum ap_rc name(struct template_run *run, const struct template_value *arguments, size_t count,             \
                           struct template_value *ret, struct ap_err *err)

static enum ap_rc give_bool(struct template_value *ret, bool value)
{
    *ret = (struct template_value){.kind = TEMPLATE_BOOL, .boolean = value};
    return AP_OK;
}

FUNCTION(go_logic) /* and, or of one argument that came through a pipe; the run does the others */
{
    (void)run, (void)count, (void)err;
    *ret = arguments[0];
    return AP_OK;
}

FUNCTION(go_not)
{
    (void)run, (void)count, (void)err;
    return give_bool(ret, !template_is_true(&arguments[0]));
}

FUNCTION(go_len)
{
    (void)run, (void)count;
    const struct template_value *of = &arguments[0];
    size_t length;
    switch (of->kind) {
    case TEMPLATE_TEXT:
        length = of->text.bytes;
        break;
    case TEMPLATE_LIST:
        length = of->list.count;
        break;
    case TEMPLATE_MAP:
        length = of->map.count;
        break;
    default:
        return ap_fail(err, AP_E_CONFLICT, "len of type %s", template_type_name(of));
    }
    *ret = (struct template_value){.kind = TEMPLATE_INT, .integer = (int64_t)length};
    return AP_OK;
}

FUNCTION(go_index)
{
    (void)run;
    struct template_value value = arguments[0];
    for (size_t i = 1; i < count; i++) {
        const struct template_value *key = &arguments[i];
        if (value.kind == TEMPLATE_MAP && key->kind == TEMPLATE_TEXT) {
            const struct template_value *member = template_member(&value, key->text);
            value = member ? *member : template_text(ap_slice("", 0));
        } else if ((value.kind == TEMPLATE_LIST || value.kind == TEMPLATE_TEXT) && key->kind == TEMPLATE_INT) {
            bool is_text = value.kind == TEMPLATE_TEXT;
            if (key->integer < 0 || (uint64_t)key->integer >= (is_text ? value.text.bytes : value.list.count))
                return ap_fail(err, AP_E_CONFLICT, "index out of range: %lld", (long long)key->integer);
            if (is_text)
                value = (struct template_value){.kind = TEMPLATE_INT,
                                                .integer = (unsigned char)value.text.data[key->integer]};
            else
                value = value.list.items[key->integer];
        } else {
            return ap_fail(err, AP_E_CONFLICT, "can't index a %s with a %s", template_type_name(&value),
                           template_type_name(key));
        }
    }
    *ret = value;
    return AP_OK;
}

FUNCTION(go_slice)
{
    (void)run;
    struct template_value value = arguments[0];
    if (value.kind != TEMPLATE_TEXT && value.kind != TEMPLATE_LIST)
        return ap_fail(err, AP_E_CONFLICT, "can't slice item of type %s", template_type_name(&value));
    size_t length = value.kind == TEMPLATE_TEXT ? value.text.bytes : value.list.count;
    size_t bounds[2] = {0, length};
    for (size_t i = 1; i < count; i++) {
        if (arguments[i].kind != TEMPLATE_INT || arguments[i].integer < 0 || (uint64_t)arguments[i].integer > length)
            return ap_fail(err, AP_E_CONFLICT, "slice bounds out of range");
        bounds[i - 1] = (size_t)arguments[i].integer;
    }
    if (bounds[0] > bounds[1])
        return ap_fail(err, AP_E_CONFLICT, "slice bounds out of range");
    if (length > 0 && value.kind == TEMPLATE_TEXT) {
        value.text = ap_slice(value.text.data + bounds[0], bounds[1] - bounds[0]);
    } else if (length > 0) {
        value.list.items += bounds[0];
        value.list.count = bounds[1] - bounds[0];
    }
    *ret = value;
    return AP_OK;
}

/* ---- Text ---- */

FUNCTION(go_print) /* a blank between two that are both no text */
{
    AP_AUTO_BUF struct ap_buf text = {0};
    for (size_t i = 0; i < count; i++) {
        if (i && arguments[i].kind != TEMPLATE_TEXT && arguments[i - 1].kind != TEMPLATE_TEXT)
            ap_buf_add_char(&text, ' ');
        template_print(&arguments[i], &text);
    }
    return template_keep_text(run, &text, ret, err);
}

FUNCTION(go_println)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    for (size_t i = 0; i < count; i++) {
        if (i)
            ap_buf_add_char(&text, ' ');
        template_print(&arguments[i], &text);
    }
    ap_buf_add_char(&text, '\n');
    return template_keep_text(run, &text, ret, err);
}

FUNCTION(go_printf)
{
    if (arguments[0].kind != TEMPLATE_TEXT)
        return ap_fail(err, AP_E_CONFLICT, "wrong type for value; expected string; got %s",
                       template_type_name(&arguments[0]));
    AP_AUTO_BUF struct ap_buf text = {0};
    enum ap_rc rc = template_printf(arguments[0].text, arguments + 1, count - 1, &text);
    return rc == AP_OK ? template_keep_text(run, &text, ret, err) : rc;
}

/* All of the arguments as text, with each character that `table` names replaced. */
static enum ap_rc escape(struct template_run *run, const struct template_value *arguments, size_t count,
                         const char *const table[256], struct template_value *ret, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf plain = {0};
    AP_AUTO_BUF struct ap_buf text = {0};
    for (size_t i = 0; i < count; i++)
        template_print(&arguments[i], &plain);
    for (size_t i = 0; i < plain.bytes; i++) {
        const char *replacement = table[(unsigned char)plain.data[i]];
        if (replacement)
            ap_buf_add_cstr(&text, replacement);
        else
            ap_buf_add_char(&text, plain.data[i]);
    }
    return template_keep_text(run, &text, ret, err);
}

FUNCTION(go_html)
{
    static const char *const table[256] = {
        ['"'] = "&#34;", ['\''] = "&#39;", ['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", [0] = "\xEF\xBF\xBD",
    };
    return escape(run, arguments, count, table, ret, err);
}

FUNCTION(go_js)
{
    static const char *const table[256] = {
        ['\\'] = "\\\\",   ['\''] = "\\'",    ['"'] = "\\\"",     ['<'] = "\\u003C",  ['>'] = "\\u003E",
        ['&'] = "\\u0026", ['='] = "\\u003D", ['\n'] = "\\u000A", ['\r'] = "\\u000D", ['\t'] = "\\u0009",
    };
    return escape(run, arguments, count, table, ret, err);
}

FUNCTION(go_urlquery)
{
    AP_AUTO_BUF struct ap_buf plain = {0};
    AP_AUTO_BUF struct ap_buf text = {0};
    for (size_t i = 0; i < count; i++)
        template_print(&arguments[i], &plain);
    for (size_t i = 0; i < plain.bytes; i++) {
        unsigned char c = (unsigned char)plain.data[i];
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("-_.~", c)))
            ap_buf_add_char(&text, (char)c);
        else if (c == ' ')
            ap_buf_add_char(&text, '+');
        else
            ap_buf_printf(&text, "%%%02X", c);
    }
    return template_keep_text(run, &text, ret, err);
}

/* ---- Comparisons ---- */

static bool is_basic(const struct template_value *value)
{
    return value->kind >= TEMPLATE_BOOL && value->kind <= TEMPLATE_TEXT;
}

/* -1, 0 or 1; 2: neither (NaN). The two are of one kind. */
static int compare(const struct template_value *a, const struct template_value *b)
{
    int order;
    switch (a->kind) {
    case TEMPLATE_INT:
        return (a->integer > b->integer) - (a->integer < b->integer);
    case TEMPLATE_FLOAT:
        return a->number == b->number ? 0 : a->number < b->number ? -1 : a->number > b->number ? 1 : 2;
    case TEMPLATE_TEXT:
        order = memcmp(a->text.bytes ? a->text.data : "", b->text.bytes ? b->text.data : "",
                       AP_MIN(a->text.bytes, b->text.bytes));
        if (order == 0)
            order = (a->text.bytes > b->text.bytes) - (a->text.bytes < b->text.bytes);
        return (order > 0) - (order < 0);
    default:
        return a->boolean == b->boolean ? 0 : 2;
    }
}

static enum ap_rc check_comparable(const struct template_value *a, const struct template_value *b, bool is_order,
                                   struct ap_err *err)
{
    if (!is_basic(a) || !is_basic(b) || (is_order && a->kind == TEMPLATE_BOOL))
        return ap_fail(err, AP_E_CONFLICT, "invalid type for comparison");
    if (a->kind != b->kind)
        return ap_fail(err, AP_E_CONFLICT, "incompatible types for comparison: %s and %s; write 10.0 for a float",
                       template_type_name(a), template_type_name(b));
    return AP_OK;
}

FUNCTION(go_eq) /* the first to any of the others */
{
    (void)run;
    for (size_t i = 1; i < count; i++) {
        enum ap_rc rc = check_comparable(&arguments[0], &arguments[i], false, err);
        if (rc != AP_OK)
            return rc;
        if (compare(&arguments[0], &arguments[i]) == 0)
            return give_bool(ret, true);
    }
    return give_bool(ret, false);
}

#define COMPARISON(name, is_order, condition)                                                                          \
    FUNCTION(name)                                                                                                     \
    {                                                                                                                  \
        (void)run, (void)count;                                                                                        \
        enum ap_rc rc = check_comparable(&arguments[0], &arguments[1], is_order, err);                                 \
        if (rc != AP_OK)                                                                                               \
            return rc;                                                                                                 \
        int order = compare(&arguments[0], &arguments[1]);                                                             \
        return give_bool(ret, condition);                                                                              \
    }
COMPARISON(go_ne, false, order != 0)
COMPARISON(go_lt, true, order == -1)
COMPARISON(go_le, true, order == -1 || order == 0)
/* Go has these as the opposites of the two before, which makes them true of NaN. */
COMPARISON(go_gt, true, order != -1 && order != 0)
COMPARISON(go_ge, true, order != -1)

const struct template_function template_functions_of_go[] = {
    {"and", 1, -1, go_logic},     {"or", 1, -1, go_logic},
    {"not", 1, 1, go_not},        {"len", 1, 1, go_len},
    {"index", 1, -1, go_index},   {"slice", 1, 3, go_slice},
    {"print", 0, -1, go_print},   {"println", 0, -1, go_println},
    {"printf", 1, -1, go_printf}, {"html", 1, -1, go_html},
    {"js", 1, -1, go_js},         {"urlquery", 1, -1, go_urlquery},
    {"eq", 2, -1, go_eq},         {"ne", 2, 2, go_ne},
    {"lt", 2, 2, go_lt},          {"le", 2, 2, go_le},
    {"gt", 2, 2, go_gt},          {"ge", 2, 2, go_ge},
    {NULL, 0, 0, NULL},
};
