#include "alert/matcher_text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const char *const operators[] = {
    [MATCHER_EQUAL] = "=", [MATCHER_NOT_EQUAL] = "!=", [MATCHER_REGEX] = "=~", [MATCHER_NOT_REGEX] = "!~"};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static struct ap_slice trim(struct ap_slice text)
{
    while (text.bytes && is_space(text.data[0]))
        text = ap_slice(text.data + 1, text.bytes - 1);
    while (text.bytes && is_space(text.data[text.bytes - 1]))
        text.bytes--;
    return text;
}

/* Takes an operator off the front. */
static bool take_operator(struct ap_slice *rest, enum matcher_kind *ret_kind)
{
    static const enum matcher_kind longest_first[] = {MATCHER_REGEX, MATCHER_NOT_REGEX, MATCHER_NOT_EQUAL,
                                                      MATCHER_EQUAL};
    for (size_t i = 0; i < AP_ARRAY_COUNT(longest_first); i++) {
        const char *operator= operators[longest_first[i]];
        if (!ap_slice_starts_with(*rest, operator))
            continue;
        *rest = ap_slice(rest->data + strlen(operator), rest->bytes - strlen(operator));
        *ret_kind = longest_first[i];
        return true;
    }
    return false;
}

/* ---- The classic notation ---- */

static bool is_name_start(char c)
{
    return ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' || c == ':';
}

static bool is_name_part(char c)
{
    return is_name_start(c) || (c >= '0' && c <= '9');
}

/* \" \n \\ in a value; any other backslash is one. *out is what it says. */
static enum ap_rc unescape_classic(struct ap_slice raw, struct ap_buf *out, struct ap_err *err)
{
    struct ap_slice whole = raw;
    bool is_quoted = raw.bytes && raw.data[0] == '"', is_closed = false;
    if (is_quoted)
        raw = ap_slice(raw.data + 1, raw.bytes - 1);
    if (ap_utf8_valid_bytes(raw) != raw.bytes)
        return ap_fail(err, AP_E_PARSE, "matcher value not valid UTF-8: %.*s", AP_SLICE_ARG(whole));
    for (size_t i = 0; i < raw.bytes; i++) {
        char c = raw.data[i];
        bool is_last = i + 1 == raw.bytes;
        if (c == '"') {
            if (!is_quoted || !is_last)
                return ap_fail(err, AP_E_PARSE, "matcher value contains unescaped double quote: %.*s",
                               AP_SLICE_ARG(whole));
            is_closed = true;
        } else if (c == '\\' && !is_last) {
            char next = raw.data[++i];
            if (next != 'n' && next != '"' && next != '\\')
                ap_buf_add_char(out, '\\');
            ap_buf_add_char(out, next == 'n' ? '\n' : next);
        } else {
            ap_buf_add_char(out, c);
        }
    }
    if (is_quoted && !is_closed)
        return ap_fail(err, AP_E_PARSE, "matcher value contains unescaped double quote: %.*s", AP_SLICE_ARG(whole));
    return AP_OK;
}

static enum ap_rc parse_classic(struct ap_slice text, struct matcher **ret_matcher, struct ap_err *err)
{
    struct ap_slice rest = trim(text);
    size_t name_bytes = 0;
    while (name_bytes < rest.bytes && (name_bytes ? is_name_part : is_name_start)(rest.data[name_bytes]))
        name_bytes++;
    struct ap_slice name = ap_slice(rest.data, name_bytes);
    rest = trim(ap_slice(rest.data + name_bytes, rest.bytes - name_bytes));
    enum matcher_kind kind;
    if (name_bytes == 0 || !take_operator(&rest, &kind))
        return ap_fail(err, AP_E_PARSE, "bad matcher format: %.*s", AP_SLICE_ARG(text));
    AP_AUTO_BUF struct ap_buf value = {0};
    enum ap_rc rc = unescape_classic(trim(rest), &value, err);
    return rc == AP_OK ? matcher_new(kind, name, ap_buf_slice(&value), ret_matcher, err) : rc;
}

/* The next text between commas that are not in quotes; data NULL: none is left. */
static struct ap_slice next_classic(struct ap_slice *rest)
{
    bool is_quoted = false, is_escaped = false;
    size_t at = 0;
    for (; at < rest->bytes; at++) {
        char c = rest->data[at];
        if (c == ',' && !is_quoted)
            break;
        if (c == '"' && !is_escaped)
            is_quoted = !is_quoted;
        is_escaped = c == '\\' && !is_escaped;
    }
    struct ap_slice token = ap_slice(rest->data, at);
    bool is_last = at == rest->bytes;
    size_t used = AP_MIN(at + 1, rest->bytes);
    *rest = ap_slice(is_last ? NULL : rest->data + used, rest->bytes - used);
    if (is_last && trim(token).bytes == 0)
        token.data = NULL;
    return token;
}

static enum ap_rc add(struct matchers *matchers, struct matcher *take_matcher, struct ap_err *err)
{
    if (matchers->count == MATCHERS_MAX) {
        matcher_free(take_matcher);
        return ap_fail(err, AP_E_LIMIT, "more than %d matchers", MATCHERS_MAX);
    }
    matchers->items[matchers->count++] = take_matcher;
    return AP_OK;
}

static enum ap_rc parse_list_classic(struct ap_slice text, struct matchers *matchers, struct ap_err *err)
{
    if (ap_slice_starts_with(text, "{"))
        text = ap_slice(text.data + 1, text.bytes - 1);
    if (text.bytes && text.data[text.bytes - 1] == '}')
        text.bytes--;
    enum ap_rc rc = AP_OK;
    while (text.data && rc == AP_OK) {
        struct ap_slice token = next_classic(&text);
        struct matcher *matcher = NULL;
        if (!token.data)
            break;
        rc = parse_classic(token, &matcher, err);
        if (rc == AP_OK)
            rc = add(matchers, matcher, err);
    }
    return rc;
}

/* ---- The notation for names in UTF-8 ---- */

static bool is_reserved(char c)
{
    return is_space(c) || strchr("{}!=~,\\\"'`", c) != NULL;
}

static bool take_escape(struct ap_slice text, size_t *at, struct ap_buf *out)
{
    static const char escapes[] = "abfnrtv\\\"'";
    static const char meanings[] = "\a\b\f\n\r\t\v\\\"'";
    char c = text.data[*at];
    const char *found = c ? strchr(escapes, c) : NULL;
    if (found) {
        ap_buf_add_char(out, meanings[found - escapes]);
        *at += 1;
        return true;
    }
    size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t rune = 0;
    if (digits == 0 || text.bytes - *at < digits + 1)
        return false;
    for (size_t i = 1; i <= digits; i++) {
        char digit = text.data[*at + i];
        int value = digit >= '0' && digit <= '9'                     ? digit - '0'
                    : (digit | 0x20) >= 'a' && (digit | 0x20) <= 'f' ? (digit | 0x20) - 'a' + 10
                                                                     : -1;
        if (value < 0)
            return false;
        rune = rune << 4 | (uint32_t)value;
    }
    *at += digits + 1;
    if (c == 'x')
        ap_buf_add_char(out, (char)rune);
    else if (rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000))
        return false;
    else
        ap_buf_add_utf8(out, rune);
    return true;
}

/* A name or a value: in double quotes with Go's escapes, or bare. */
static enum ap_rc take_text(struct ap_slice *rest, const char *what, struct ap_buf *out, struct ap_err *err)
{
    *rest = trim(*rest);
    size_t at = 0;
    if (rest->bytes && rest->data[0] == '"') {
        bool is_good = true;
        for (at = 1; is_good && at < rest->bytes && rest->data[at] != '"';) {
            if (rest->data[at] == '\\') {
                at++;
                is_good = at < rest->bytes && take_escape(*rest, &at, out);
            } else {
                is_good = rest->data[at] != '\n';
                ap_buf_add_char(out, rest->data[at++]);
            }
        }
        if (!is_good || at >= rest->bytes)
            return ap_fail(err, AP_E_PARSE, "%s: the text in quotes is not one, or does not end", what);
        at++;
    } else {
        while (at < rest->bytes && !is_reserved(rest->data[at]))
            ap_buf_add_char(out, rest->data[at++]);
        if (at == 0)
            return ap_fail(err, AP_E_PARSE, "expected %s at \"%.*s\"", what, AP_SLICE_ARG(*rest));
    }
    if (ap_utf8_valid_bytes(ap_buf_slice(out)) != out->bytes)
        return ap_fail(err, AP_E_PARSE, "%s is not UTF-8", what);
    *rest = trim(ap_slice(rest->data + at, rest->bytes - at));
    return AP_OK;
}

static enum ap_rc take_utf8(struct ap_slice *rest, struct matcher **ret_matcher, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf name = {0};
    AP_AUTO_BUF struct ap_buf value = {0};
    enum matcher_kind kind;
    enum ap_rc rc = take_text(rest, "a label name", &name, err);
    if (rc != AP_OK)
        return rc;
    if (!take_operator(rest, &kind))
        return ap_fail(err, AP_E_PARSE, "expected an operator such as '=', '!=', '=~' or '!~' at \"%.*s\"",
                       AP_SLICE_ARG(*rest));
    rc = take_text(rest, "a label value", &value, err);
    if (rc == AP_OK && name.bytes == 0)
        rc = ap_fail(err, AP_E_PARSE, "a label's name is empty");
    return rc == AP_OK ? matcher_new(kind, ap_buf_slice(&name), ap_buf_slice(&value), ret_matcher, err) : rc;
}

static bool take_char(struct ap_slice *rest, char wanted)
{
    if (rest->bytes == 0 || rest->data[0] != wanted)
        return false;
    *rest = trim(ap_slice(rest->data + 1, rest->bytes - 1));
    return true;
}

static enum ap_rc parse_list_utf8(struct ap_slice text, struct matchers *matchers, struct ap_err *err)
{
    struct ap_slice rest = trim(text);
    bool has_brace = take_char(&rest, '{');
    while (rest.bytes && rest.data[0] != '}') {
        struct matcher *matcher = NULL;
        enum ap_rc rc = take_utf8(&rest, &matcher, err);
        if (rc == AP_OK)
            rc = add(matchers, matcher, err);
        if (rc != AP_OK)
            return rc;
        if (!take_char(&rest, ',') && rest.bytes && rest.data[0] != '}')
            return ap_fail(err, AP_E_PARSE, "expected a comma or the end at \"%.*s\"", AP_SLICE_ARG(rest));
    }
    if (take_char(&rest, '}') != has_brace || rest.bytes)
        return ap_fail(err, AP_E_PARSE, "the braces do not fit together: %.*s", AP_SLICE_ARG(text));
    return AP_OK;
}

/* ---- Both ---- */

static void cut(struct matchers *matchers, size_t count)
{
    while (matchers->count > count)
        matcher_free(matchers->items[--matchers->count]);
}

enum ap_rc matcher_text_parse_list(struct ap_slice text, struct matchers *matchers, struct ap_err *err)
{
    size_t before = matchers->count;
    struct ap_err ignored;
    enum ap_rc rc = parse_list_classic(text, matchers, err);
    if (rc == AP_OK)
        return AP_OK;
    cut(matchers, before);
    if (parse_list_utf8(text, matchers, &ignored) == AP_OK)
        return AP_OK;
    cut(matchers, before);
    return rc;
}

enum ap_rc matcher_text_parse(struct ap_slice text, struct matcher **ret_matcher, struct ap_err *err)
{
    struct ap_err ignored;
    if (ap_slice_starts_with(text, "{") || (text.bytes && text.data[text.bytes - 1] == '}'))
        return ap_fail(err, AP_E_PARSE, "unexpected open or close brace: %.*s", AP_SLICE_ARG(text));
    enum ap_rc rc = parse_classic(text, ret_matcher, err);
    if (rc == AP_OK)
        return AP_OK;
    struct ap_slice rest = trim(text);
    struct matcher *matcher = NULL;
    if (take_utf8(&rest, &matcher, &ignored) != AP_OK)
        return rc;
    if (rest.bytes) {
        matcher_free(matcher);
        return rc;
    }
    *ret_matcher = matcher;
    return AP_OK;
}

/* ---- In files ---- */

enum ap_rc matcher_text_read_list(const struct yaml_node *node, const char *key, struct matchers *matchers,
                                  struct ap_err *err)
{
    struct yaml_texts texts = {0};
    const struct yaml_field field = {.key = key, .type = YAML_TYPE_TEXT_LIST};
    if (!node || yaml_is_null(node))
        return AP_OK;
    enum ap_rc rc = yaml_read_node(node, &field, &texts, err);
    for (size_t i = 0; i < texts.count && rc == AP_OK; i++) {
        struct ap_err reason;
        if (matcher_text_parse_list(ap_slice_cstr(texts.items[i]), matchers, &reason) != AP_OK)
            rc = yaml_fail(err, texts.nodes[i], "%s: %s", key, reason.text);
    }
    return rc;
}

enum ap_rc matcher_text_read_map(const struct yaml_node *node, const char *key, enum matcher_kind kind,
                                 struct matchers *matchers, struct ap_err *err)
{
    struct yaml_texts texts = {0};
    const struct yaml_field field = {.key = key, .type = YAML_TYPE_TEXT_MAP};
    if (!node || yaml_is_null(node))
        return AP_OK;
    enum ap_rc rc = yaml_read_node(node, &field, &texts, err);
    for (size_t i = 0; i < texts.count && rc == AP_OK; i++) {
        struct ap_err reason;
        struct matcher *matcher = NULL;
        rc = matcher_new(kind, ap_slice_cstr(texts.keys[i]), ap_slice_cstr(texts.items[i]), &matcher, &reason);
        if (rc == AP_OK)
            rc = add(matchers, matcher, &reason);
        if (rc != AP_OK)
            rc = yaml_fail(err, texts.nodes[i], "%s: %s: %s", key, texts.keys[i], reason.text);
    }
    return rc;
}

/* ---- Writing ---- */

static int compare_slices(struct ap_slice a, struct ap_slice b)
{
    int order = memcmp(a.data, b.data, AP_MIN(a.bytes, b.bytes));
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static int compare_matchers(const void *a, const void *b)
{
    const struct matcher *left = *(struct matcher *const *)a, *right = *(struct matcher *const *)b;
    int order = compare_slices(matcher_name(left), matcher_name(right));
    if (order == 0)
        order = compare_slices(matcher_value(left), matcher_value(right));
    return order ? order : (int)matcher_kind_of(left) - (int)matcher_kind_of(right);
}

void matcher_text_sort(struct matchers *matchers)
{
    if (matchers->count)
        qsort(matchers->items, matchers->count, sizeof(matchers->items[0]), compare_matchers);
}

static void add_escaped(struct ap_buf *out, struct ap_slice text)
{
    ap_buf_add_char(out, '"');
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        if (c == '\\' || c == '"' || c == '\n')
            ap_buf_add_char(out, '\\');
        ap_buf_add_char(out, c == '\n' ? 'n' : c);
    }
    ap_buf_add_char(out, '"');
}

void matcher_text_format(const struct matcher *matcher, struct ap_buf *out)
{
    struct ap_slice name = matcher_name(matcher);
    bool is_bare = true;
    for (size_t i = 0; i < name.bytes; i++)
        is_bare &= !is_reserved(name.data[i]);
    if (is_bare)
        ap_buf_add_slice(out, name);
    else
        add_escaped(out, name);
    ap_buf_add_cstr(out, operators[matcher_kind_of(matcher)]);
    add_escaped(out, matcher_value(matcher));
}

void matcher_text_format_list(const struct matchers *matchers, struct ap_buf *out)
{
    ap_buf_add_char(out, '{');
    for (size_t i = 0; i < matchers->count; i++) {
        ap_buf_add_cstr(out, i ? "," : "");
        matcher_text_format(matchers->items[i], out);
    }
    ap_buf_add_char(out, '}');
}
