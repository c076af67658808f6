/* The functions that Prometheus adds: its documentation, "Template reference". */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <inttypes.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <pcre2.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include "base/clock.h"
#include "codec/yaml.h"
#include "promql/float_text.h"
#include "template/template_internal.h"

enum { REGEX_STEPS_MAX = 1000000, FIGURE_BYTES = 64 };

#define FUNCTION(name)                                                                                                 \
    static enum ap_rc name(struct template_run *run, const struct template_value *arguments, size_t count,             \
                           struct template_value *ret, struct ap_err *err)

static enum ap_rc keep(struct template_run *run, const char *text, struct template_value *ret, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf copy = {0};
    ap_buf_add_cstr(&copy, text);
    return template_keep_text(run, &copy, ret, err);
}

static enum ap_rc want(const struct template_value *value, enum template_kind kind, struct ap_err *err)
{
    if (value->kind == kind)
        return AP_OK;
    struct template_value wanted = {.kind = kind};
    return ap_fail(err, AP_E_CONFLICT, "wrong type for value; expected %s; got %s", template_type_name(&wanted),
                   template_type_name(value));
}

/* ---- Samples ---- */

FUNCTION(prom_query)
{
    (void)count;
    enum ap_rc rc = want(&arguments[0], TEMPLATE_TEXT, err);
    if (rc != AP_OK)
        return rc;
    if (!run->environment->query)
        return ap_fail(err, AP_E_CONFLICT, "there is nothing to query here");
    return run->environment->query(run->environment->context, arguments[0].text, &run->arena, ret, err);
}

FUNCTION(prom_first)
{
    (void)run, (void)count;
    enum ap_rc rc = want(&arguments[0], TEMPLATE_LIST, err);
    if (rc == AP_OK && arguments[0].list.count == 0)
        return ap_fail(err, AP_E_CONFLICT, "first() called on vector with no elements");
    if (rc == AP_OK)
        *ret = arguments[0].list.items[0];
    return rc;
}

static enum ap_rc member(const struct template_value *sample, const char *name, const struct template_value **ret,
                         struct ap_err *err)
{
    *ret = sample->kind == TEMPLATE_STRUCT ? template_member(sample, ap_slice_cstr(name)) : NULL;
    return *ret ? AP_OK : ap_fail(err, AP_E_CONFLICT, "expected a sample; got %s", template_type_name(sample));
}

/* "" when there is none. */
static enum ap_rc sample_label(const struct template_value *sample, struct ap_slice name, struct template_value *ret,
                               struct ap_err *err)
{
    const struct template_value *labels, *value = NULL;
    enum ap_rc rc = member(sample, "Labels", &labels, err);
    if (rc == AP_OK)
        value = template_member(labels, name);
    if (rc == AP_OK)
        *ret = value ? *value : template_text(ap_slice("", 0));
    return rc;
}

FUNCTION(prom_value)
{
    (void)run, (void)count;
    const struct template_value *value;
    enum ap_rc rc = member(&arguments[0], "Value", &value, err);
    if (rc == AP_OK)
        *ret = *value;
    return rc;
}

FUNCTION(prom_label)
{
    (void)run, (void)count;
    enum ap_rc rc = want(&arguments[0], TEMPLATE_TEXT, err);
    return rc == AP_OK ? sample_label(&arguments[1], arguments[0].text, ret, err) : rc;
}

FUNCTION(prom_strvalue)
{
    (void)run, (void)count;
    return sample_label(&arguments[0], ap_slice_cstr("__value__"), ret, err);
}

static int compare_texts(struct ap_slice a, struct ap_slice b)
{
    size_t shared = AP_MIN(a.bytes, b.bytes);
    int order = shared ? memcmp(a.data, b.data, shared) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

FUNCTION(prom_sort_by_label)
{
    (void)count;
    enum ap_rc rc = want(&arguments[0], TEMPLATE_TEXT, err);
    if (rc == AP_OK)
        rc = want(&arguments[1], TEMPLATE_LIST, err);
    if (rc != AP_OK)
        return rc;
    size_t length = arguments[1].list.count;
    struct template_value *items = ap_arena_try_alloc(&run->arena, (length + 1) * sizeof(*items));
    struct template_value *keys = ap_arena_try_alloc(&run->arena, (length + 1) * sizeof(*keys));
    if (!items || !keys)
        return ap_fail(err, AP_E_LIMIT, "the template's values need too much memory");
    for (size_t i = 0; i < length; i++) { /* by insertion: stable, and answers of queries in alerts are short */
        struct template_value key;
        rc = sample_label(&arguments[1].list.items[i], arguments[0].text, &key, err);
        if (rc != AP_OK)
            return rc;
        size_t at = i;
        for (; at > 0 && compare_texts(keys[at - 1].text, key.text) > 0; at--) {
            keys[at] = keys[at - 1];
            items[at] = items[at - 1];
        }
        keys[at] = key;
        items[at] = arguments[1].list.items[i];
    }
    *ret = (struct template_value){.kind = TEMPLATE_LIST, .list = {items, length}};
    return AP_OK;
}

/* ---- Numbers ---- */

static enum ap_rc to_float(const struct template_value *value, double *ret, struct ap_err *err)
{
    char copy[FIGURE_BYTES], *end;
    switch (value->kind) {
    case TEMPLATE_FLOAT:
        *ret = value->number;
        return AP_OK;
    case TEMPLATE_INT:
        *ret = (double)value->integer;
        return AP_OK;
    case TEMPLATE_TEXT:
        snprintf(copy, sizeof(copy), "%.*s", AP_SLICE_ARG(value->text));
        *ret = strtod(copy, &end);
        if (*end == '\0' && end != copy && value->text.bytes < sizeof(copy))
            return AP_OK;
        return ap_fail(err, AP_E_CONFLICT, "parsing \"%s\": invalid syntax", copy);
    default:
        return ap_fail(err, AP_E_CONFLICT, "can't convert %s to float", template_type_name(value));
    }
}

/* As Go's %.4g. */
static void four_digits(double value, char text[FIGURE_BYTES])
{
    if (isfinite(value))
        snprintf(text, FIGURE_BYTES, "%.4g", value);
    else
        snprintf(text, FIGURE_BYTES, "%s", isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
}

static const char *const large_units[] = {"k", "M", "G", "T", "P", "E", "Z", "Y", NULL};
static const char *const small_units[] = {"m", "u", "n", "p", "f", "a", "z", "y", NULL};
static const char *const binary_units[] = {"ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi", NULL};

/* Divides (or multiplies) until one to three digits are before the point, and says by which unit that was. */
static const char *scale(double *value, const char *const *units, double factor, bool is_up)
{
    const char *unit = "";
    for (size_t i = 0; units[i] && (is_up ? fabs(*value) >= factor : fabs(*value) < 1); i++) {
        unit = units[i];
        *value = is_up ? *value / factor : *value * factor;
    }
    return unit;
}

#define FIGURE_FUNCTION(name)                                                                                          \
    static void name##_text(double value, struct ap_buf *out);                                                         \
    FUNCTION(name)                                                                                                     \
    {                                                                                                                  \
        (void)count;                                                                                                   \
        double value;                                                                                                  \
        AP_AUTO_BUF struct ap_buf text = {0};                                                                          \
        enum ap_rc rc = to_float(&arguments[0], &value, err);                                                          \
        if (rc != AP_OK)                                                                                               \
            return rc;                                                                                                 \
        name##_text(value, &text);                                                                                     \
        return template_keep_text(run, &text, ret, err);                                                               \
    }                                                                                                                  \
    static void name##_text(double value, struct ap_buf *out)

static void add_figure(double value, const char *unit, const char *suffix, struct ap_buf *out)
{
    char digits[FIGURE_BYTES];
    four_digits(value, digits);
    ap_buf_printf(out, "%s%s%s", digits, unit, suffix);
}

FIGURE_FUNCTION(prom_humanize)
{
    const char *unit = "";
    if (value != 0 && isfinite(value))
        unit = fabs(value) >= 1 ? scale(&value, large_units, 1000, true) : scale(&value, small_units, 1000, false);
    add_figure(value, unit, "", out);
}

FIGURE_FUNCTION(prom_humanize1024)
{
    const char *unit = "";
    if (fabs(value) > 1 && isfinite(value))
        unit = scale(&value, binary_units, 1024, true);
    add_figure(value, unit, "", out);
}

FIGURE_FUNCTION(prom_humanize_percentage)
{
    add_figure(value * 100, "", "%", out);
}

FIGURE_FUNCTION(prom_humanize_duration)
{
    if (!isfinite(value) || value == 0) {
        add_figure(value, "", isfinite(value) ? "s" : "", out);
        return;
    }
    if (fabs(value) < 1) {
        const char *unit = scale(&value, small_units, 1000, false);
        add_figure(value, unit, "s", out);
        return;
    }
    const char *sign = value < 0 ? "-" : "";
    value = fabs(value);
    int64_t seconds = value < 9e18 ? (int64_t)value : INT64_MAX;
    int64_t minutes = seconds / 60 % 60, hours = seconds / 3600 % 24, days = seconds / 86400;
    ap_buf_add_cstr(out, sign);
    if (days)
        ap_buf_printf(out, "%" PRId64 "d ", days);
    if (days || hours)
        ap_buf_printf(out, "%" PRId64 "h ", hours);
    if (seconds >= 60)
        ap_buf_printf(out, "%" PRId64 "m %" PRId64 "s", minutes, seconds % 60);
    else
        add_figure(value, "", "s", out);
}

/* As Go prints a time in UTC: 2015-10-21 07:28:00.5 +0000 UTC, to the millisecond without final zeros. */
FUNCTION(prom_humanize_timestamp)
{
    (void)count;
    double value;
    AP_AUTO_BUF struct ap_buf out = {0};
    enum ap_rc rc = to_float(&arguments[0], &value, err);
    if (rc != AP_OK)
        return rc;
    if (!isfinite(value)) {
        add_figure(value, "", "", &out);
        return template_keep_text(run, &out, ret, err);
    }
    if (fabs(value * 1e9) >= 0x1p63)
        return ap_fail(err, AP_E_LIMIT, "%s cannot be represented as a nanoseconds timestamp since it overflows int64",
                       go_float(value).text);
    char text[AP_TIME_TEXT_BYTES];
    ap_time_format((int64_t)(value * 1e9) / 1000000 * 1000, text); /* 2015-10-21T07:28:00.000Z */
    char *date_end = strchr(text, 'T'), *fraction_end = strchr(text, 'Z');
    while (fraction_end[-1] == '0')
        fraction_end--;
    fraction_end -= fraction_end[-1] == '.';
    ap_buf_printf(&out, "%.*s %.*s +0000 UTC", (int)(date_end - text), text, (int)(fraction_end - date_end - 1),
                  date_end + 1);
    return template_keep_text(run, &out, ret, err);
}

FUNCTION(prom_parse_duration)
{
    (void)run, (void)count;
    enum ap_rc rc = want(&arguments[0], TEMPLATE_TEXT, err);
    int64_t ms;
    if (rc == AP_OK && !yaml_parse_duration(arguments[0].text, &ms))
        return ap_fail(err, AP_E_CONFLICT, "not a valid duration string: \"%.*s\"", AP_SLICE_ARG(arguments[0].text));
    if (rc == AP_OK)
        *ret = template_float((double)ms / 1000);
    return rc;
}

FUNCTION(prom_now) /* in seconds */
{
    (void)arguments, (void)count, (void)err;
    *ret = template_float((double)run->environment->now_ms / 1000);
    return AP_OK;
}

/* ---- Text ---- */

static enum ap_rc compile(struct ap_slice pattern, pcre2_code **ret, struct ap_err *err)
{
    int code;
    PCRE2_SIZE offset;
    *ret =
        pcre2_compile((PCRE2_SPTR)(pattern.bytes ? pattern.data : ""), pattern.bytes, PCRE2_UTF, &code, &offset, NULL);
    if (*ret)
        return AP_OK;
    PCRE2_UCHAR message[128];
    pcre2_get_error_message(code, message, sizeof(message));
    return ap_fail(err, AP_E_CONFLICT, "error parsing regexp: %s at byte %zu", (const char *)message, offset);
}

static pcre2_match_context *limited(void)
{
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(context, REGEX_STEPS_MAX);
    pcre2_set_depth_limit(context, REGEX_STEPS_MAX / 100);
    return context;
}

FUNCTION(prom_match)
{
    (void)run, (void)count;
    pcre2_code *code;
    enum ap_rc rc = want(&arguments[0], TEMPLATE_TEXT, err);
    if (rc == AP_OK)
        rc = want(&arguments[1], TEMPLATE_TEXT, err);
    if (rc == AP_OK)
        rc = compile(arguments[0].text, &code, err);
    if (rc != AP_OK)
        return rc;
    struct ap_slice text = arguments[1].text;
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
    pcre2_match_context *context = limited();
    int found = pcre2_match(code, (PCRE2_SPTR)(text.bytes ? text.data : ""), text.bytes, 0, 0, data, context);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
    pcre2_code_free(code);
    if (found < 0 && found != PCRE2_ERROR_NOMATCH)
        return ap_fail(err, AP_E_LIMIT, "the regular expression takes too long");
    *ret = (struct template_value){.kind = TEMPLATE_BOOL, .boolean = found >= 0};
    return AP_OK;
}

/* Go's replacement: $1, ${1}, ${name}; $$ is a dollar. PCRE2's extended syntax is the same but for unknown groups,
 * which are empty in both with these flags. */
FUNCTION(prom_re_replace_all)
{
    (void)count;
    pcre2_code *code;
    for (size_t i = 0; i < 3; i++) {
        enum ap_rc rc = want(&arguments[i], TEMPLATE_TEXT, err);
        if (rc != AP_OK)
            return rc;
    }
    enum ap_rc rc = compile(arguments[0].text, &code, err);
    if (rc != AP_OK)
        return rc;
    struct ap_slice with = arguments[1].text, text = arguments[2].text;
    PCRE2_SIZE bytes = text.bytes * 2 + with.bytes * (text.bytes + 2) + 64;
    bytes = AP_MIN(bytes, (PCRE2_SIZE)TEMPLATE_OUTPUT_MAX);
    char *out = ap_arena_try_alloc(&run->arena, bytes);
    int done = PCRE2_ERROR_NOMEMORY;
    if (out) {
        pcre2_match_context *context = limited();
        done = pcre2_substitute(code, (PCRE2_SPTR)(text.bytes ? text.data : ""), text.bytes, 0,
                                PCRE2_SUBSTITUTE_GLOBAL | PCRE2_SUBSTITUTE_UNKNOWN_UNSET | PCRE2_SUBSTITUTE_UNSET_EMPTY,
                                NULL, context, (PCRE2_SPTR)(with.bytes ? with.data : ""), with.bytes,
                                (PCRE2_UCHAR *)out, &bytes);
        pcre2_match_context_free(context);
    }
    pcre2_code_free(code);
    if (done < 0)
        return ap_fail(err, AP_E_CONFLICT, "cannot replace by \"%.*s\"", AP_SLICE_ARG(with));
    *ret = template_text(ap_slice(out, bytes));
    return AP_OK;
}

enum letters { TO_UPPER, TO_LOWER, TO_TITLE };

static wint_t change_letter(wint_t c, enum letters how, bool is_start)
{
    return how == TO_LOWER ? towlower(c) : how == TO_UPPER || is_start ? towupper(c) : c;
}

/* Unicode's letters, as the C library knows them; bytes that are not UTF-8 stay as they are. */
static enum ap_rc change_letters(struct template_run *run, const struct template_value *value, enum letters how,
                                 struct template_value *ret, struct ap_err *err)
{
    enum ap_rc rc = want(value, TEMPLATE_TEXT, err);
    locale_t utf8 = rc == AP_OK ? newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0) : (locale_t)0;
    if (rc != AP_OK)
        return rc;
    if (!utf8)
        return ap_fail(err, AP_E_IO, "this system has no locale C.UTF-8");
    locale_t before = uselocale(utf8);
    AP_AUTO_BUF struct ap_buf text = {0};
    bool is_start = true;
    for (size_t at = 0, bytes; at < value->text.bytes; at += bytes) {
        mbstate_t reading = {0}, writing = {0};
        char changed[MB_LEN_MAX];
        wchar_t c;
        bytes = mbrtowc(&c, value->text.data + at, value->text.bytes - at, &reading);
        bool is_letter = bytes > 0 && bytes <= MB_LEN_MAX;
        if (is_letter) {
            wchar_t other = (wchar_t)change_letter((wint_t)c, how, is_start);
            size_t changed_bytes = wcrtomb(changed, other, &writing);
            ap_buf_add(&text, changed, changed_bytes);
            is_start = !iswalnum((wint_t)c) && c != L'\'' && c != L'_';
        } else {
            bytes = 1;
            ap_buf_add_char(&text, value->text.data[at]);
        }
    }
    uselocale(before);
    freelocale(utf8);
    return template_keep_text(run, &text, ret, err);
}

FUNCTION(prom_to_upper)
{
    (void)count;
    return change_letters(run, &arguments[0], TO_UPPER, ret, err);
}

FUNCTION(prom_to_lower)
{
    (void)count;
    return change_letters(run, &arguments[0], TO_LOWER, ret, err);
}

FUNCTION(prom_title)
{
    (void)count;
    return change_letters(run, &arguments[0], TO_TITLE, ret, err);
}

FUNCTION(prom_safe_html)
{
    (void)run, (void)count;
    enum ap_rc rc = want(&arguments[0], TEMPLATE_TEXT, err);
    *ret = arguments[0];
    return rc;
}

/* The host of "host:port", "[::1]:port"; what has no port comes back as it is. */
static struct ap_slice host_of(struct ap_slice text, struct ap_slice *ret_port)
{
    const char *colon = text.bytes ? memrchr(text.data, ':', text.bytes) : NULL;
    *ret_port = ap_slice(NULL, 0);
    if (!colon)
        return text;
    struct ap_slice host = ap_slice(text.data, (size_t)(colon - text.data));
    bool is_bracketed = host.bytes >= 2 && host.data[0] == '[' && host.data[host.bytes - 1] == ']';
    if (!is_bracketed && memchr(host.data, ':', host.bytes))
        return text; /* an IPv6 address without a port */
    *ret_port = ap_slice(colon + 1, text.bytes - host.bytes - 1);
    return is_bracketed ? ap_slice(host.data + 1, host.bytes - 2) : host;
}

FUNCTION(prom_strip_port)
{
    (void)run, (void)count;
    struct ap_slice port;
    enum ap_rc rc = want(&arguments[0], TEMPLATE_TEXT, err);
    if (rc == AP_OK)
        *ret = template_text(host_of(arguments[0].text, &port));
    return rc;
}

FUNCTION(prom_strip_domain)
{
    (void)count;
    enum ap_rc rc = want(&arguments[0], TEMPLATE_TEXT, err);
    if (rc != AP_OK)
        return rc;
    struct ap_slice port, text = arguments[0].text, host = host_of(text, &port);
    bool is_address = memchr(host.data ? host.data : "", ':', host.bytes) != NULL;
    size_t digits = 0;
    while (digits < host.bytes && strchr("0123456789.", host.data[digits]))
        digits++;
    const char *dot = host.bytes ? memchr(host.data, '.', host.bytes) : NULL;
    AP_AUTO_BUF struct ap_buf out = {0};
    if (is_address || digits == host.bytes || !dot) {
        ap_buf_add_slice(&out, text);
    } else {
        ap_buf_add(&out, host.data, (size_t)(dot - host.data));
        if (port.data)
            ap_buf_printf(&out, ":%.*s", AP_SLICE_ARG(port));
    }
    return template_keep_text(run, &out, ret, err);
}

static enum ap_rc link_to(struct template_run *run, const struct template_value *expr, int tab,
                          struct template_value *ret, struct ap_err *err)
{
    enum ap_rc rc = want(expr, TEMPLATE_TEXT, err);
    struct template_value escaped;
    if (rc == AP_OK)
        rc = template_function_find(ap_slice_cstr("urlquery"), false)->call(run, expr, 1, &escaped, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO_BUF struct ap_buf text = {0};
    ap_buf_printf(&text, "/graph?g0.expr=%.*s&g0.tab=%d", AP_SLICE_ARG(escaped.text), tab);
    return template_keep_text(run, &text, ret, err);
}

FUNCTION(prom_graph_link)
{
    (void)count;
    return link_to(run, &arguments[0], 0, ret, err);
}

FUNCTION(prom_table_link)
{
    (void)count;
    return link_to(run, &arguments[0], 1, ret, err);
}

FUNCTION(prom_external_url)
{
    (void)arguments, (void)count, (void)err;
    *ret = template_text(run->environment->external_url);
    return AP_OK;
}

FUNCTION(prom_path_prefix)
{
    (void)arguments, (void)count;
    AP_AUTO_FREE char *url = ap_slice_dup(run->environment->external_url);
    const char *host = strstr(url, "://"), *path = host ? strchr(host + 3, '/') : NULL;
    return keep(run, path ? path : "", ret, err);
}

/* ---- Templates ---- */

FUNCTION(prom_args) /* a struct with arg0, arg1 … */
{
    struct template_member *members = ap_arena_try_alloc(&run->arena, (count + 1) * sizeof(*members));
    if (!members)
        return ap_fail(err, AP_E_LIMIT, "the template's values need too much memory");
    for (size_t i = 0; i < count; i++) {
        char name[24];
        snprintf(name, sizeof(name), "arg%zu", i);
        struct template_value kept;
        enum ap_rc rc = keep(run, name, &kept, err);
        if (rc != AP_OK)
            return rc;
        members[i] = (struct template_member){kept.text, arguments[i]};
    }
    *ret = (struct template_value){.kind = TEMPLATE_MAP, .map = {members, count}};
    return AP_OK;
}

FUNCTION(prom_tmpl)
{
    (void)count;
    AP_AUTO_BUF struct ap_buf text = {0};
    enum ap_rc rc = want(&arguments[0], TEMPLATE_TEXT, err);
    if (rc == AP_OK)
        rc = template_run_named(run, arguments[0].text, arguments[1], &text, err);
    return rc == AP_OK ? template_keep_text(run, &text, ret, err) : rc;
}

const struct template_function template_functions_of_prometheus[] = {
    {"args", 0, -1, prom_args},
    {"externalURL", 0, 0, prom_external_url},
    {"first", 1, 1, prom_first},
    {"graphLink", 1, 1, prom_graph_link},
    {"humanize", 1, 1, prom_humanize},
    {"humanize1024", 1, 1, prom_humanize1024},
    {"humanizeDuration", 1, 1, prom_humanize_duration},
    {"humanizePercentage", 1, 1, prom_humanize_percentage},
    {"humanizeTimestamp", 1, 1, prom_humanize_timestamp},
    {"label", 2, 2, prom_label},
    {"match", 2, 2, prom_match},
    {"now", 0, 0, prom_now},
    {"parseDuration", 1, 1, prom_parse_duration},
    {"pathPrefix", 0, 0, prom_path_prefix},
    {"query", 1, 1, prom_query},
    {"reReplaceAll", 3, 3, prom_re_replace_all},
    {"safeHtml", 1, 1, prom_safe_html},
    {"sortByLabel", 2, 2, prom_sort_by_label},
    {"stripDomain", 1, 1, prom_strip_domain},
    {"stripPort", 1, 1, prom_strip_port},
    {"strvalue", 1, 1, prom_strvalue},
    {"tableLink", 1, 1, prom_table_link},
    {"title", 1, 1, prom_title},
    {"tmpl", 2, 2, prom_tmpl},
    {"toLower", 1, 1, prom_to_lower},
    {"toUpper", 1, 1, prom_to_upper},
    {"value", 1, 1, prom_value},
    {NULL, 0, 0, NULL},
};
