#include "tsdb/matcher.h"

#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/assert.h"
#include "base/buf.h"
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
    struct ap_slice *values; /* owned, into value_texts, in order; NULL: not plain alternatives */
    size_t value_count;
    char *value_texts; /* owned */
    char *prefix;      /* owned; what every match begins with; NULL: nothing known */
    size_t prefix_bytes;
};

/* ---- What RE2 does not have, nobody shall come to depend on ---- */

static char at(struct ap_slice text, size_t i)
{
    return i < text.bytes ? text.data[i] : '\0';
}

static bool is_one_of(char c, const char *set)
{
    return c && strchr(set, c);
}

static const char *find_foreign_escape(char c, bool is_in_class)
{
    if (c >= '1' && c <= '9')
        return "back references";
    if (is_one_of(c, "gk"))
        return "back references";
    /* What RE2 knows and means as PCRE2 does; any other letter is refused, any other character is itself. */
    bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return is_letter && !is_one_of(c, is_in_class ? "aftnrxdDsSwWpPQE" : "aftnrxdDsSwWpPQEbBAz") ? "this escape" : NULL;
}

/* Of a group that begins with "(?"; `i` is the place behind that. */
static const char *find_foreign_group(struct ap_slice text, size_t i)
{
    char c = at(text, i);
    if (c == '=' || c == '!')
        return "look-ahead";
    if (c == '<' && is_one_of(at(text, i + 1), "=!"))
        return "look-behind";
    if (c == 'P')
        return at(text, i + 1) == '<' ? NULL : "back references";
    if (c == '<')
        return NULL;
    /* Flags, up to : or ) */
    for (; is_one_of(at(text, i), "imsU-"); i++) {
    }
    return is_one_of(at(text, i), ":)") ? NULL : "this kind of group";
}

/* A repetition that begins at `i`, if there is one: its end, else `i`. */
static size_t repetition_end(struct ap_slice text, size_t i)
{
    if (is_one_of(at(text, i), "*+?"))
        return i + 1;
    size_t end = i + 1;
    if (at(text, i) != '{' || at(text, end) < '0' || at(text, end) > '9')
        return i;
    while ((at(text, end) >= '0' && at(text, end) <= '9') || at(text, end) == ',')
        end++;
    return at(text, end) == '}' ? end + 1 : i;
}

/* Behind a class that begins at `i`. */
static size_t class_end(struct ap_slice text, size_t i, const char **ret_foreign)
{
    i += at(text, i + 1) == '^' ? 2 : 1;
    for (bool is_first = true; i < text.bytes; i++, is_first = false) {
        char c = text.data[i];
        if (c == ']' && !is_first)
            return i + 1;
        if (c == '\\') {
            *ret_foreign = *ret_foreign ? *ret_foreign : find_foreign_escape(at(text, i + 1), true);
            i++;
        } else if (c == '[' && is_one_of(at(text, i + 1), ".=")) {
            *ret_foreign = "collating elements";
        } else if (c == '[' && at(text, i + 1) == ':') {
            const char *end = memmem(text.data + i + 2, text.bytes - i - 2, ":]", 2);
            if (end)
                i = (size_t)(end - text.data) + 1;
        }
    }
    return i;
}

/* Behind "\Q...\E", where everything is plain. */
static size_t quoted_end(struct ap_slice text, size_t i)
{
    const char *end = memmem(text.data + i, text.bytes - i, "\\E", 2);
    return end ? (size_t)(end - text.data) + 2 : text.bytes;
}

static const char *find_foreign(struct ap_slice text)
{
    const char *foreign = NULL;
    size_t i = 0;
    while (i < text.bytes && !foreign) {
        char c = text.data[i];
        size_t repeated = repetition_end(text, i);
        if (repeated > i) {
            i = repeated + (at(text, repeated) == '?'); /* the lazy form */
            if (at(text, repeated) == '+')
                foreign = "possessive repetition";
            else if (repetition_end(text, i) > i)
                foreign = "repetition of a repetition";
        } else if (c == '\\' && at(text, i + 1) == 'Q') {
            i = quoted_end(text, i + 2);
        } else if (c == '\\') {
            foreign = find_foreign_escape(at(text, i + 1), false);
            i += 2;
        } else if (c == '[') {
            i = class_end(text, i, &foreign);
        } else if (c == '(' && at(text, i + 1) == '*') {
            foreign = "verbs";
        } else if (c == '(' && at(text, i + 1) == '?') {
            foreign = find_foreign_group(text, i + 2);
            i += 2;
        } else {
            i++;
        }
    }
    return foreign;
}

/* ---- Plain alternatives: which texts an expression can match, if these are few and it says so plainly ---- */

/*
 *     alternatives = sequence { "|" sequence }      sequence = { plain character | "\" sign | group }
 *     group        = ( "(" | "(?:" ) alternatives ")"
 *
 * Anything else is "not known". Texts are ends of one buffer.
 */
struct texts {
    struct ap_buf bytes;
    size_t ends[VALUES_MAX];
    size_t count;
};

struct expanding {
    struct ap_slice text;
    size_t at;
    unsigned depth;
};

enum { EXPAND_DEPTH_MAX = 8, EXPAND_BYTES_MAX = 64 * 1024 };

static struct ap_slice texts_at(const struct texts *texts, size_t i)
{
    size_t start = i ? texts->ends[i - 1] : 0;
    return texts->bytes.data ? ap_slice(texts->bytes.data + start, texts->ends[i] - start) : ap_slice("", 0);
}

static bool texts_add(struct texts *texts, struct ap_slice first, struct ap_slice second)
{
    if (texts->count == VALUES_MAX || texts->bytes.bytes + first.bytes + second.bytes > EXPAND_BYTES_MAX)
        return false;
    ap_buf_add_slice(&texts->bytes, first);
    ap_buf_add_slice(&texts->bytes, second);
    texts->ends[texts->count++] = texts->bytes.bytes;
    return true;
}

/* Each of `texts` followed by each of `more`. */
static bool texts_multiply(struct texts *texts, const struct texts *more)
{
    struct texts product = {.count = 0};
    bool fits = true;
    for (size_t i = 0; i < texts->count && fits; i++)
        for (size_t j = 0; j < more->count && fits; j++)
            fits = texts_add(&product, texts_at(texts, i), texts_at(more, j));
    ap_buf_clear(&texts->bytes);
    *texts = product;
    return fits;
}

static bool is_special(char c)
{
    return is_one_of(c, "\\.+*?()|[]{}^$") || c == '\0';
}

/* The plain characters from here on, without the last one if it is repeated. False: there is something else. */
static bool take_plain(struct expanding *expanding, struct ap_buf *out)
{
    size_t start = expanding->at;
    while (expanding->at < expanding->text.bytes) {
        char c = expanding->text.data[expanding->at];
        size_t end = expanding->at + 1;
        if (c == '\\' && is_special(at(expanding->text, end)) && end < expanding->text.bytes) {
            c = expanding->text.data[end++];
        } else if (is_special(c)) {
            break;
        } else {
            while (end < expanding->text.bytes && ((uint8_t)expanding->text.data[end] & 0xC0) == 0x80)
                end++; /* a whole character of UTF-8 */
        }
        if (repetition_end(expanding->text, end) > end)
            break;
        if (expanding->text.data[expanding->at] == '\\')
            ap_buf_add_char(out, c);
        else
            ap_buf_add(out, expanding->text.data + expanding->at, end - expanding->at);
        expanding->at = end;
    }
    return expanding->at > start;
}

static bool expand(struct expanding *expanding, struct texts *out);

static bool expand_sequence(struct expanding *expanding, struct texts *out)
{
    bool is_known = texts_add(out, ap_slice("", 0), ap_slice("", 0));
    while (is_known && expanding->at < expanding->text.bytes && !is_one_of(expanding->text.data[expanding->at], "|)")) {
        struct texts more = {.count = 0};
        if (expanding->text.data[expanding->at] == '(') {
            is_known = expanding->depth < EXPAND_DEPTH_MAX;
            expanding->at +=
                at(expanding->text, expanding->at + 1) == '?' && at(expanding->text, expanding->at + 2) == ':' ? 3 : 1;
            expanding->depth++;
            is_known = is_known && expand(expanding, &more) && at(expanding->text, expanding->at) == ')';
            expanding->depth--;
            expanding->at++;
            is_known = is_known && repetition_end(expanding->text, expanding->at) == expanding->at;
        } else {
            is_known = take_plain(expanding, &more.bytes);
            more.ends[0] = more.bytes.bytes;
            more.count = 1;
        }
        is_known = is_known && texts_multiply(out, &more);
        ap_buf_clear(&more.bytes);
    }
    return is_known;
}

static bool expand(struct expanding *expanding, struct texts *out)
{
    for (;;) {
        struct texts sequence = {.count = 0};
        bool is_known = expand_sequence(expanding, &sequence);
        for (size_t i = 0; i < sequence.count && is_known; i++)
            is_known = texts_add(out, texts_at(&sequence, i), ap_slice("", 0));
        ap_buf_clear(&sequence.bytes);
        if (!is_known || at(expanding->text, expanding->at) != '|')
            return is_known;
        expanding->at++;
    }
}

static int compare_values(const void *a, const void *b)
{
    const struct ap_slice *x = a;
    const struct ap_slice *y = b;
    size_t bytes = AP_MIN(x->bytes, y->bytes);
    int order = bytes ? memcmp(x->data, y->data, bytes) : 0;
    return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static void find_values(struct matcher *matcher)
{
    struct expanding expanding = {.text = ap_slice(matcher->value, matcher->value_bytes)};
    struct texts texts = {.count = 0};
    bool is_known = expand(&expanding, &texts) && expanding.at == expanding.text.bytes;
    matcher->value_texts = ap_buf_detach(&texts.bytes); /* with its final NUL it may have moved */
    if (!is_known)
        return;
    matcher->values = ap_new0_array(struct ap_slice, texts.count);
    for (size_t i = 0; i < texts.count; i++) {
        size_t start = i ? texts.ends[i - 1] : 0;
        matcher->values[i] = ap_slice(matcher->value_texts + start, texts.ends[i] - start);
    }
    qsort(matcher->values, texts.count, sizeof(*matcher->values), compare_values);
    for (size_t i = 0; i < texts.count; i++)
        if (i == 0 || compare_values(&matcher->values[i], &matcher->values[matcher->value_count - 1]) != 0)
            matcher->values[matcher->value_count++] = matcher->values[i];
}

/* With alternatives at the top another one may begin otherwise; inside a group they come after the prefix. */
static bool has_top_alternatives(struct ap_slice text)
{
    const char *foreign = NULL;
    size_t depth = 0;
    for (size_t i = 0; i < text.bytes;) {
        char c = text.data[i];
        if (c == '\\' && at(text, i + 1) == 'Q') {
            i = quoted_end(text, i + 2);
        } else if (c == '\\') {
            i += 2;
        } else if (c == '[') {
            i = class_end(text, i, &foreign);
        } else {
            depth += c == '(';
            depth -= c == ')' && depth;
            if (c == '|' && depth == 0)
                return true;
            i++;
        }
    }
    return false;
}

static void find_prefix(struct matcher *matcher)
{
    struct expanding expanding = {.text = ap_slice(matcher->value, matcher->value_bytes)};
    AP_AUTO_BUF struct ap_buf prefix = {0};
    if (has_top_alternatives(expanding.text) || !take_plain(&expanding, &prefix) || prefix.bytes == 0)
        return;
    matcher->prefix_bytes = prefix.bytes;
    matcher->prefix = ap_buf_detach(&prefix);
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
    free(matcher->value_texts);
    free(matcher->prefix);
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
    if (matcher->values)
        return bsearch(&value, matcher->values, matcher->value_count, sizeof(value), compare_values) != NULL;
    pcre2_match_data *match = pcre2_match_data_create(1, NULL); /* one a call: matchers are shared by threads */
    const char *data = value.data ? value.data : "";
    int result =
        pcre2_match(matcher->code, (PCRE2_SPTR)data, value.bytes, 0, PCRE2_NO_UTF_CHECK, match, matcher->context);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) /* 32 KiB; the interpreter takes its memory from the heap */
        result = pcre2_match(matcher->code, (PCRE2_SPTR)data, value.bytes, 0, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match,
                             matcher->context);
    pcre2_match_data_free(match);
    return result >= 0;
}

static bool is_word(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The group that "1" or "name" means, or -1. */
static int group_of(const struct matcher *matcher, struct ap_slice text)
{
    char name[64] = "";
    if (text.bytes >= sizeof(name))
        return -1;
    memcpy(name, text.data, text.bytes);
    if (strspn(name, "0123456789") == text.bytes)
        return text.bytes < 6 ? (int)strtol(name, NULL, 10) : -1;
    return pcre2_substring_number_from_name(matcher->code, (PCRE2_SPTR)name);
}

/* At a '$' of the replacement: appends what it stands for, and returns where to go on; NULL: it is a mere '$'. */
static const char *expand_group(const struct matcher *matcher, pcre2_match_data *match, const char *subject,
                                const char *at, const char *end, struct ap_buf *out)
{
    bool is_braced = at + 1 < end && at[1] == '{';
    const char *start = at + 1 + is_braced, *stop = start;
    while (stop < end && is_word(*stop))
        stop++;
    if (stop == start || (is_braced && (stop == end || *stop != '}')))
        return NULL;
    int group = group_of(matcher, ap_slice(start, (size_t)(stop - start)));
    const PCRE2_SIZE *bounds = pcre2_get_ovector_pointer(match);
    if (group >= 0 && (uint32_t)group < pcre2_get_ovector_count(match) && bounds[2 * group] != PCRE2_UNSET)
        ap_buf_add(out, subject + bounds[2 * group], bounds[2 * group + 1] - bounds[2 * group]);
    return stop + is_braced;
}

bool matcher_expand(const struct matcher *matcher, struct ap_slice value, struct ap_slice replacement,
                    struct ap_buf *out)
{
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(matcher->code, NULL);
    const char *subject = value.data ? value.data : "", *at = replacement.data, *end = at + replacement.bytes;
    int result = pcre2_match(matcher->code, (PCRE2_SPTR)subject, value.bytes, 0, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                             match, matcher->context);
    while (result >= 0 && at < end) {
        const char *next = *at == '$' ? expand_group(matcher, match, subject, at, end, out) : NULL;
        if (!next) {
            ap_buf_add_char(out, *at);
            next = at + 1 + (*at == '$' && at + 1 < end && at[1] == '$'); /* "$$" is a '$' */
        }
        at = next;
    }
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
    return matcher->kind == MATCHER_REGEX ? ap_slice(matcher->prefix, matcher->prefix_bytes) : (struct ap_slice){0};
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
