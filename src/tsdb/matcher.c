#include "tsdb/matcher.h"

#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/assert.h"
#include "tsdb/labels.h"

enum { MATCH_LIMIT = 1000 * 1000, DEPTH_LIMIT = 10 * 1000, HEAP_LIMIT_KIB = 4096, VALUES_MAX = 256 };

struct matcher {
    enum matcher_kind kind;
    bool matches_empty;
    char *name; /* owned */
    size_t name_bytes;
    char *value; /* owned */
    size_t value_bytes;
    struct ap_slice equal; /* all of `value` */
    /* Of regular expressions. */
    pcre2_code *code;
    pcre2_match_context *context;
    struct ap_slice *values; /* owned, into `value`; NULL: not plain alternatives */
    size_t value_count;
    size_t prefix_bytes; /* of value: plain characters that every match begins with */
};

/* ---- What RE2 does not have, nobody shall come to depend on ---- */

static const char *find_foreign(struct ap_slice text)
{
    bool is_in_class = false;
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        char next = i + 1 < text.bytes ? text.data[i + 1] : '\0';
        char after = i + 2 < text.bytes ? text.data[i + 2] : '\0';
        if (c == '\\') {
            if (!is_in_class && ((next >= '1' && next <= '9') || next == 'g' || next == 'k'))
                return "back references";
            if (strchr("GKRXNhHvV", next) && next)
                return "this escape";
            i++;
        } else if (is_in_class) {
            is_in_class = c != ']';
        } else if (c == '[') {
            is_in_class = true;
            if (next == '^')
                i++;
            if (i + 1 < text.bytes && text.data[i + 1] == ']')
                i++;
        } else if (c == '(' && next == '*') {
            return "verbs";
        } else if (c == '(' && next == '?') {
            if (after == '=' || after == '!')
                return "look-ahead";
            if (after == '<' && i + 3 < text.bytes && (text.data[i + 3] == '=' || text.data[i + 3] == '!'))
                return "look-behind";
            if (after == '>' || after == '|' || after == '(' || after == 'R' || after == '&' || after == 'C' ||
                after == '#' || after == '+' || (after >= '0' && after <= '9'))
                return "this kind of group";
            if (after == 'P' && i + 3 < text.bytes && (text.data[i + 3] == '=' || text.data[i + 3] == '>'))
                return "back references";
        } else if ((c == '*' || c == '+' || c == '?' || c == '}') && next == '+') {
            return "possessive repetition";
        }
    }
    return NULL;
}

/* ---- Plain alternatives ---- */

static bool is_special(char c)
{
    return strchr("\\.+*?()|[]{}^$", c) != NULL;
}

static void find_prefix(struct matcher *matcher)
{
    size_t plain = 0;
    while (plain < matcher->value_bytes && matcher->value[plain] && !is_special(matcher->value[plain]))
        plain++;
    if (plain < matcher->value_bytes) {
        for (size_t i = 0; i < matcher->value_bytes; i++)
            if (matcher->value[i] == '|')
                return; /* another alternative may begin otherwise */
        /* A repetition counts for the character before it; UTF-8 characters are left whole. */
        if (plain && strchr("*?{", matcher->value[plain]))
            do
                plain--;
            while (plain && ((uint8_t)matcher->value[plain] & 0xC0) == 0x80);
    }
    matcher->prefix_bytes = plain;
}

static void find_values(struct matcher *matcher)
{
    size_t count = 1;
    for (size_t i = 0; i < matcher->value_bytes; i++) {
        if (matcher->value[i] == '|')
            count++;
        else if (!matcher->value[i] || is_special(matcher->value[i]))
            return;
    }
    if (count > VALUES_MAX)
        return;
    matcher->values = ap_new0_array(struct ap_slice, count);
    struct ap_slice rest = ap_slice(matcher->value, matcher->value_bytes);
    for (size_t i = 0; i < count; i++) {
        const char *bar = rest.bytes ? memchr(rest.data, '|', rest.bytes) : NULL;
        size_t bytes = bar ? (size_t)(bar - rest.data) : rest.bytes;
        matcher->values[matcher->value_count++] = ap_slice(rest.data, bytes);
        if (bar)
            rest = ap_slice(bar + 1, rest.bytes - bytes - 1);
    }
}

/* ---- Making ---- */

static enum ap_rc compile(struct matcher *matcher, struct ap_err *err)
{
    struct ap_slice text = ap_slice(matcher->value, matcher->value_bytes);
    if (text.bytes > MATCHER_REGEX_BYTES_MAX)
        return ap_fail(err, AP_E_LIMIT, "a regular expression may have %d bytes", MATCHER_REGEX_BYTES_MAX);
    const char *foreign = find_foreign(text);
    if (foreign)
        return ap_fail(err, AP_E_PARSE, "regular expression \"%.*s\": RE2's syntax has no %s",
                       (int)AP_MIN(text.bytes, (size_t)200), text.data, foreign);
    int code;
    PCRE2_SIZE offset;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    pcre2_set_parens_nest_limit(context, 250);
    matcher->code = pcre2_compile((PCRE2_SPTR)text.data, text.bytes,
                                  PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_DOTALL | PCRE2_UTF |
                                      PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY,
                                  &code, &offset, context);
    pcre2_compile_context_free(context);
    if (!matcher->code) {
        PCRE2_UCHAR message[160];
        pcre2_get_error_message(code, message, sizeof(message));
        return ap_fail(err, AP_E_PARSE, "regular expression \"%.*s\" at character %zu: %s",
                       (int)AP_MIN(text.bytes, (size_t)200), text.data, (size_t)offset + 1, (const char *)message);
    }
    (void)pcre2_jit_compile(matcher->code, PCRE2_JIT_COMPLETE); /* without it, it is slower and no more */
    matcher->context = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(matcher->context, MATCH_LIMIT);
    pcre2_set_depth_limit(matcher->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(matcher->context, HEAP_LIMIT_KIB);
    find_prefix(matcher);
    find_values(matcher);
    return AP_OK;
}

enum ap_rc matcher_new(enum matcher_kind kind, struct ap_slice name, struct ap_slice value,
                       struct matcher **ret_matcher, struct ap_err *err)
{
    if (name.bytes == 0 || ap_utf8_valid_bytes(name) != name.bytes)
        return ap_fail(err, AP_E_PARSE, "a matcher needs a label name in UTF-8");
    AP_AUTO(matcher) struct matcher *matcher = ap_new0(struct matcher);
    matcher->kind = kind;
    matcher->name = ap_slice_dup(name);
    matcher->name_bytes = name.bytes;
    matcher->value = ap_slice_dup(value);
    matcher->value_bytes = value.bytes;
    matcher->equal = ap_slice(matcher->value, value.bytes);
    if (kind == MATCHER_REGEX || kind == MATCHER_NOT_REGEX) {
        enum ap_rc rc = compile(matcher, err);
        if (rc != AP_OK)
            return rc;
    }
    matcher->matches_empty = matcher_matches(matcher, ap_slice("", 0));
    *ret_matcher = AP_MOVE(matcher);
    return AP_OK;
}

void matcher_free(struct matcher *matcher)
{
    if (!matcher)
        return;
    pcre2_code_free(matcher->code);
    pcre2_match_context_free(matcher->context);
    free(matcher->values);
    free(matcher->name);
    free(matcher->value);
    free(matcher);
}

enum matcher_kind matcher_kind_of(const struct matcher *matcher)
{
    return matcher->kind;
}

struct ap_slice matcher_name(const struct matcher *matcher)
{
    return ap_slice(matcher->name, matcher->name_bytes);
}

struct ap_slice matcher_value(const struct matcher *matcher)
{
    return ap_slice(matcher->value, matcher->value_bytes);
}

/* ---- Matching ---- */

/* One that runs into its limit matches nothing. */
static bool regex_matches(const struct matcher *matcher, struct ap_slice value)
{
    if (matcher->values) {
        for (size_t i = 0; i < matcher->value_count; i++)
            if (ap_slice_equal(matcher->values[i], value))
                return true;
        return false;
    }
    pcre2_match_data *match = pcre2_match_data_create(1, NULL); /* one a call: matchers are shared by threads */
    const char *data = value.data ? value.data : "";
    int result = pcre2_match(matcher->code, (PCRE2_SPTR)data, value.bytes, 0, PCRE2_NO_UTF_CHECK, match,
                             matcher->context);
    pcre2_match_data_free(match);
    return result >= 0;
}

bool matcher_matches(const struct matcher *matcher, struct ap_slice value)
{
    switch (matcher->kind) {
    case MATCHER_EQUAL:
        return ap_slice_equal(matcher_value(matcher), value);
    case MATCHER_NOT_EQUAL:
        return !ap_slice_equal(matcher_value(matcher), value);
    case MATCHER_REGEX:
        return regex_matches(matcher, value);
    case MATCHER_NOT_REGEX:
        return !regex_matches(matcher, value);
    }
    return false;
}

bool matcher_matches_empty(const struct matcher *matcher)
{
    return matcher->matches_empty;
}

bool matcher_values(const struct matcher *matcher, const struct ap_slice **ret_values, size_t *ret_count)
{
    if (matcher->kind == MATCHER_EQUAL) {
        *ret_values = &matcher->equal;
        *ret_count = 1;
        return true;
    }
    if (matcher->kind != MATCHER_REGEX || !matcher->values)
        return false;
    *ret_values = matcher->values;
    *ret_count = matcher->value_count;
    return true;
}

struct ap_slice matcher_prefix(const struct matcher *matcher)
{
    return matcher->kind == MATCHER_REGEX ? ap_slice(matcher->value, matcher->prefix_bytes) : (struct ap_slice){0};
}

void matchers_clear(struct matchers *matchers)
{
    for (size_t i = 0; i < matchers->count; i++)
        matcher_free(matchers->items[i]);
    matchers->count = 0;
}

bool matchers_match(const struct matchers *matchers, struct ap_slice labels)
{
    for (size_t i = 0; i < matchers->count; i++)
        if (!matcher_matches(matchers->items[i], labels_get(labels, matcher_name(matchers->items[i]))))
            return false;
    return true;
}
