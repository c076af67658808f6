#include "collect/probe_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/assert.h"
#include "tsdb/matcher.h"

enum { MATCH_LIMIT = 10 * 1000 * 1000, DEPTH_LIMIT = 10 * 1000, HEAP_LIMIT_KIB = 16384 };

struct probe_regex {
    char *text; /* owned */
    pcre2_code *code;
    pcre2_match_context *context;
};

/* Whether it is one at all, and in RE2's words, is decided where series' labels are matched. */
static enum ap_rc check_syntax(struct ap_slice text, struct ap_err *err)
{
    AP_AUTO(matcher) struct matcher *matcher = NULL;
    return matcher_new(MATCHER_REGEX, ap_slice_cstr("text"), text, &matcher, err);
}

/* Behind a class such as [^a-z] that begins at `i`. */
static size_t class_end(struct ap_slice text, size_t i)
{
    i += i + 1 < text.bytes && text.data[i + 1] == '^' ? 2 : 1;
    for (bool is_first = true; i < text.bytes; i++, is_first = false) {
        if (text.data[i] == '\\') {
            i++;
        } else if (text.data[i] == '[' && i + 1 < text.bytes && text.data[i + 1] == ':') {
            const char *end = memmem(text.data + i, text.bytes - i, ":]", 2);
            i = end ? (size_t)(end - text.data) + 1 : i;
        } else if (text.data[i] == ']' && !is_first) {
            return i + 1;
        }
    }
    return text.bytes;
}

/*
 * RE2 lets `^` and `$` be repeated, and blackbox_exporter's own file does so ("^+OK"); PCRE2 does not, unless they are
 * in a group.
 */
static void add_repeatable(struct ap_buf *out, struct ap_slice text)
{
    for (size_t i = 0; i < text.bytes;) {
        char c = text.data[i];
        size_t end = c == '\\' ? AP_MIN(i + 2, text.bytes) : c == '[' ? class_end(text, i) : i + 1;
        bool is_repeated = end < text.bytes && strchr("*+?", text.data[end]) && text.data[end];
        bool is_anchor = c == '^' || c == '$';
        if (is_anchor && is_repeated)
            ap_buf_add_cstr(out, "(?:");
        ap_buf_add(out, text.data + i, end - i);
        if (is_anchor && is_repeated)
            ap_buf_add_char(out, ')');
        i = end;
    }
}

static enum ap_rc compile(struct ap_slice text, pcre2_code **ret_code, struct ap_err *err)
{
    const uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C;
    AP_AUTO_BUF struct ap_buf repeatable = {0};
    int code_error;
    PCRE2_SIZE at;
    add_repeatable(&repeatable, text);
    enum ap_rc rc = check_syntax(ap_buf_slice(&repeatable), err);
    if (rc != AP_OK)
        return rc;
    *ret_code = pcre2_compile((PCRE2_SPTR)repeatable.data, repeatable.bytes, options, &code_error, &at, NULL);
    return *ret_code
               ? AP_OK
               : ap_fail(err, AP_E_PARSE, "regular expression \"%.*s\": wrong at byte %zu", AP_SLICE_ARG(text), at);
}

enum ap_rc probe_regex_new(struct ap_slice text, struct probe_regex **ret_regex, struct ap_err *err)
{
    pcre2_code *code;
    enum ap_rc rc = compile(text, &code, err);
    if (rc != AP_OK)
        return rc;
    struct probe_regex *regex = ap_new0(struct probe_regex);
    regex->text = ap_slice_dup(text);
    regex->code = code;
    regex->context = pcre2_match_context_create(NULL);
    AP_ASSERT(regex->context != NULL);
    pcre2_set_match_limit(regex->context, MATCH_LIMIT);
    pcre2_set_depth_limit(regex->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(regex->context, HEAP_LIMIT_KIB);
    *ret_regex = regex;
    return AP_OK;
}

void probe_regex_free(struct probe_regex *regex)
{
    if (!regex)
        return;
    pcre2_match_context_free(regex->context);
    pcre2_code_free(regex->code);
    free(regex->text);
    free(regex);
}

const char *probe_regex_text(const struct probe_regex *regex)
{
    return regex->text;
}

static void match_data_free(pcre2_match_data **data)
{
    pcre2_match_data_free(*data);
}

static int find(const struct probe_regex *regex, struct ap_slice text, pcre2_match_data *data)
{
    const char *subject = text.data ? text.data : "";
    return pcre2_match(regex->code, (PCRE2_SPTR)subject, text.bytes, 0, 0, data, regex->context);
}

bool probe_regex_finds(const struct probe_regex *regex, struct ap_slice text)
{
    AP_CLEANUP(match_data_free) pcre2_match_data *data = pcre2_match_data_create_from_pattern(regex->code, NULL);
    AP_ASSERT(data != NULL);
    return find(regex, text, data) > 0;
}

/* The number of the group that `name` (digits or a name) is; -1 when there is none. */
static int group_number(const struct probe_regex *regex, struct ap_slice name)
{
    int number = 0;
    for (size_t i = 0; i < name.bytes; i++) {
        if (name.data[i] < '0' || name.data[i] > '9' || number > 999) {
            AP_AUTO_FREE char *text = ap_slice_dup(name);
            return pcre2_substring_number_from_name(regex->code, (PCRE2_SPTR)text);
        }
        number = number * 10 + (name.data[i] - '0');
    }
    return name.bytes ? number : -1;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* What stands behind a '$': "1", "{1}", "name", "{name}"; its length, or 0 when it is nothing of the kind. */
static size_t reference_bytes(struct ap_slice text, struct ap_slice *ret_name)
{
    bool is_braced = text.bytes && text.data[0] == '{';
    size_t begin = is_braced, end = begin;
    while (end < text.bytes && is_word(text.data[end]))
        end++;
    if (end == begin || (is_braced && (end == text.bytes || text.data[end] != '}')))
        return 0;
    *ret_name = ap_slice(text.data + begin, end - begin);
    return end + is_braced;
}

bool probe_regex_expand(const struct probe_regex *regex, struct ap_slice text, struct ap_slice replacement,
                        struct ap_buf *out)
{
    AP_CLEANUP(match_data_free) pcre2_match_data *data = pcre2_match_data_create_from_pattern(regex->code, NULL);
    AP_ASSERT(data != NULL);
    int found = find(regex, text, data);
    if (found <= 0)
        return false;
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(data);
    for (size_t i = 0; i < replacement.bytes; i++) {
        struct ap_slice rest = ap_slice(replacement.data + i + 1, replacement.bytes - i - 1), name;
        if (replacement.data[i] != '$') {
            ap_buf_add_char(out, replacement.data[i]);
            continue;
        }
        if (rest.bytes && rest.data[0] == '$') {
            ap_buf_add_char(out, '$');
            i++;
            continue;
        }
        size_t bytes = reference_bytes(rest, &name);
        if (bytes == 0) {
            ap_buf_add_char(out, '$');
            continue;
        }
        int group = group_number(regex, name);
        if (group >= 0 && group < found && ends[(size_t)group * 2] != PCRE2_UNSET)
            ap_buf_add(out, text.data + ends[(size_t)group * 2], ends[(size_t)group * 2 + 1] - ends[(size_t)group * 2]);
        i += bytes;
    }
    return true;
}
