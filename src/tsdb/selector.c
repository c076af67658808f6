/* The text of a series selector: `up{job="a"}`; the grammar is PromQL's, without ranges and modifiers. */
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "tsdb/labels.h"
#include "tsdb/matcher.h"

struct selector {
    struct ap_slice text;
    size_t at;
    struct ap_buf scratch; /* the string or name read last */
    struct ap_err *err;
};

static enum ap_rc expected(struct selector *selector, const char *what)
{
    if (selector->at >= selector->text.bytes)
        return ap_fail(selector->err, AP_E_PARSE, "selector ends at column %zu where %s is expected", selector->at + 1,
                       what);
    char shown[8] = {0};
    struct ap_slice rest = ap_slice(selector->text.data + selector->at, 1);
    while (rest.bytes < 4 && selector->at + rest.bytes < selector->text.bytes &&
           ((uint8_t)rest.data[rest.bytes] & 0xC0) == 0x80)
        rest.bytes++;
    memcpy(shown, rest.data, ap_utf8_valid_bytes(rest));
    return ap_fail(selector->err, AP_E_PARSE, "selector, column %zu: %s is expected, not \"%s\"", selector->at + 1,
                   what, shown);
}

static char peek(struct selector *selector)
{
    while (selector->at < selector->text.bytes && strchr(" \t\r\n", selector->text.data[selector->at]) &&
           selector->text.data[selector->at])
        selector->at++;
    return selector->at < selector->text.bytes ? selector->text.data[selector->at] : '\0';
}

static bool take_char(struct selector *selector, char c)
{
    if (peek(selector) != c || selector->at >= selector->text.bytes)
        return false;
    selector->at++;
    return true;
}

static bool is_name_char(char c, bool is_first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' ||
           (!is_first && c >= '0' && c <= '9');
}

static bool take_name(struct selector *selector)
{
    if (!is_name_char(peek(selector), true))
        return false;
    ap_buf_reset(&selector->scratch);
    while (selector->at < selector->text.bytes && is_name_char(selector->text.data[selector->at], false))
        ap_buf_add_char(&selector->scratch, selector->text.data[selector->at++]);
    return true;
}

/* ---- Strings: "…" and '…' with Go's escapes, `…` without any ---- */

static bool take_digits(struct selector *selector, unsigned base, unsigned count, uint32_t *ret_value)
{
    *ret_value = 0;
    for (unsigned i = 0; i < count; i++, selector->at++) {
        char c = selector->at < selector->text.bytes ? selector->text.data[selector->at] : '\0';
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                                : 99;
        if (digit >= base)
            return false;
        *ret_value = *ret_value * base + digit;
    }
    return true;
}

static enum ap_rc take_escape(struct selector *selector, char quote)
{
    static const char plain[] = "abfnrtv\\";
    static const char meaning[] = "\a\b\f\n\r\t\v\\";
    char c = selector->at < selector->text.bytes ? selector->text.data[selector->at] : '\0';
    const char *found = c ? strchr(plain, c) : NULL;
    uint32_t value;
    if (found || (c && c == quote)) {
        ap_buf_add_char(&selector->scratch, found ? meaning[found - plain] : quote);
        selector->at++;
        return AP_OK;
    }
    if (c >= '0' && c <= '7' && take_digits(selector, 8, 3, &value) && value < 256) {
        ap_buf_add_char(&selector->scratch, (char)value);
        return AP_OK;
    }
    selector->at++;
    if (c == 'x' && take_digits(selector, 16, 2, &value)) {
        ap_buf_add_char(&selector->scratch, (char)value);
        return AP_OK;
    }
    if ((c == 'u' || c == 'U') && take_digits(selector, 16, c == 'u' ? 4 : 8, &value) && value <= 0x10FFFF &&
        (value < 0xD800 || value > 0xDFFF)) {
        ap_buf_add_utf8(&selector->scratch, value);
        return AP_OK;
    }
    return expected(selector, "an escape of Go's string syntax");
}

static bool is_quote(char c)
{
    return c == '"' || c == '\'' || c == '`';
}

static enum ap_rc take_string(struct selector *selector)
{
    char quote = peek(selector);
    if (!is_quote(quote))
        return expected(selector, "a quoted string");
    selector->at++;
    ap_buf_reset(&selector->scratch);
    while (selector->at < selector->text.bytes && selector->text.data[selector->at] != quote) {
        char c = selector->text.data[selector->at++];
        if (c == '\\' && quote != '`') {
            enum ap_rc rc = take_escape(selector, quote);
            if (rc != AP_OK)
                return rc;
        } else if (c == '\n' && quote != '`') {
            selector->at--;
            return expected(selector, "the end of the string before the end of the line");
        } else {
            ap_buf_add_char(&selector->scratch, c);
        }
    }
    if (selector->at >= selector->text.bytes)
        return expected(selector, "the end of the string");
    selector->at++;
    return AP_OK;
}

/* ---- Matchers ---- */

static enum ap_rc add_matcher(struct selector *selector, struct matchers *matchers, enum matcher_kind kind,
                              struct ap_slice name, struct ap_slice value)
{
    if (matchers->count == MATCHERS_MAX)
        return ap_fail(selector->err, AP_E_LIMIT, "a selector may have %d matchers", MATCHERS_MAX);
    enum ap_rc rc = matcher_new(kind, name, value, &matchers->items[matchers->count], selector->err);
    if (rc == AP_OK)
        matchers->count++;
    return rc;
}

static bool take_operator(struct selector *selector, enum matcher_kind *ret_kind)
{
    char first = peek(selector);
    char second = selector->at + 1 < selector->text.bytes ? selector->text.data[selector->at + 1] : '\0';
    if (first == '=')
        *ret_kind = second == '~' ? MATCHER_REGEX : MATCHER_EQUAL;
    else if (first == '!' && (second == '=' || second == '~'))
        *ret_kind = second == '~' ? MATCHER_NOT_REGEX : MATCHER_NOT_EQUAL;
    else
        return false;
    selector->at += *ret_kind == MATCHER_EQUAL ? 1 : 2;
    return true;
}

/* One of `name="value"`, `"name"="value"`, `"metric name"`. */
static enum ap_rc take_matcher(struct selector *selector, struct matchers *matchers, bool *has_metric)
{
    bool is_quoted = is_quote(peek(selector));
    if (is_quoted) {
        enum ap_rc rc = take_string(selector);
        if (rc != AP_OK)
            return rc;
    } else if (!take_name(selector)) {
        return expected(selector, "a label name");
    }
    AP_AUTO_BUF struct ap_buf name = selector->scratch;
    selector->scratch = (struct ap_buf){0};
    enum matcher_kind kind;
    if (!take_operator(selector, &kind)) {
        if (!is_quoted)
            return expected(selector, "one of =, !=, =~, !~");
        if (*has_metric)
            return ap_fail(selector->err, AP_E_PARSE, "selector, column %zu: the metric has a name already",
                           selector->at);
        *has_metric = true;
        return add_matcher(selector, matchers, MATCHER_EQUAL, ap_slice_cstr(LABEL_METRIC_NAME), ap_buf_slice(&name));
    }
    enum ap_rc rc = take_string(selector);
    return rc == AP_OK ? add_matcher(selector, matchers, kind, ap_buf_slice(&name), ap_buf_slice(&selector->scratch))
                       : rc;
}

static enum ap_rc take_braces(struct selector *selector, struct matchers *matchers, bool has_metric)
{
    while (!take_char(selector, '}')) {
        enum ap_rc rc = take_matcher(selector, matchers, &has_metric);
        if (rc != AP_OK)
            return rc;
        if (!take_char(selector, ',') && peek(selector) != '}')
            return expected(selector, "a comma or }");
    }
    return AP_OK;
}

static enum ap_rc take_selector(struct selector *selector, struct matchers *matchers)
{
    enum ap_rc rc = AP_OK;
    bool has_metric = take_name(selector);
    if (has_metric)
        rc = add_matcher(selector, matchers, MATCHER_EQUAL, ap_slice_cstr(LABEL_METRIC_NAME),
                         ap_buf_slice(&selector->scratch));
    bool has_braces = rc == AP_OK && take_char(selector, '{');
    if (has_braces)
        rc = take_braces(selector, matchers, has_metric);
    if (rc != AP_OK)
        return rc;
    if (!has_metric && !has_braces)
        return expected(selector, "a metric's name or {");
    if (peek(selector) || selector->at < selector->text.bytes)
        return expected(selector, "the end of the selector");
    for (size_t i = 0; i < matchers->count; i++)
        if (!matcher_matches_empty(matchers->items[i]))
            return AP_OK;
    return ap_fail(selector->err, AP_E_PARSE,
                   "a selector needs one matcher at least that does not match the empty value: {job=~\".+\"}, not "
                   "{job=~\".*\"}");
}

enum ap_rc matchers_parse(struct ap_slice text, struct matchers *ret_matchers, struct ap_err *err)
{
    struct selector selector = {.text = text, .err = err};
    ret_matchers->count = 0;
    enum ap_rc rc = take_selector(&selector, ret_matchers);
    if (rc != AP_OK)
        matchers_clear(ret_matchers);
    ap_buf_clear(&selector.scratch);
    return rc;
}
