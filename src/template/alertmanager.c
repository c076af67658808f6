/* The functions that Alertmanager adds to Go's: its documentation, "Notification template reference". */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "codec/zone.h"
#include "template/template_internal.h"

#define FUNCTION(name)                                                                                                 \
    static enum ap_rc name(struct template_run *run, const struct template_value *arguments, size_t count,             \
                           struct template_value *ret, struct ap_err *err)

static enum ap_rc want_text(const struct template_value *value, struct ap_err *err)
{
    return value->kind == TEMPLATE_TEXT ? AP_OK
                                        : ap_fail(err, AP_E_CONFLICT, "wrong type for value; expected string; got %s",
                                                  template_type_name(value));
}

static enum ap_rc want_moment(const struct template_value *value, struct ap_err *err)
{
    return value->type == &template_type_moment
               ? AP_OK
               : ap_fail(err, AP_E_CONFLICT, "wrong type for value; expected time.Time; got %s",
                         template_type_name(value));
}

FUNCTION(am_trim_space)
{
    (void)run, (void)count;
    enum ap_rc rc = want_text(&arguments[0], err);
    struct ap_slice text = ap_slice_trim(arguments[0].text);
    while (text.bytes && strchr("\v\f", text.data[0]))
        text = ap_slice_trim(ap_slice(text.data + 1, text.bytes - 1));
    *ret = template_text(text);
    return rc;
}

FUNCTION(am_join)
{
    (void)count;
    enum ap_rc rc = want_text(&arguments[0], err);
    if (rc == AP_OK && (arguments[1].kind != TEMPLATE_LIST || arguments[1].type))
        rc = ap_fail(err, AP_E_CONFLICT, "wrong type for value; expected []string; got %s",
                     template_type_name(&arguments[1]));
    AP_AUTO_BUF struct ap_buf text = {0};
    for (size_t i = 0; rc == AP_OK && i < arguments[1].list.count; i++) {
        if (i)
            ap_buf_add_slice(&text, arguments[0].text);
        rc = want_text(&arguments[1].list.items[i], err);
        if (rc == AP_OK)
            ap_buf_add_slice(&text, arguments[1].list.items[i].text);
    }
    return rc == AP_OK ? template_keep_text(run, &text, ret, err) : rc;
}

FUNCTION(am_list)
{
    struct template_value *items = ap_arena_try_alloc(&run->arena, (count + 1) * sizeof(*items));
    if (!items)
        return ap_fail(err, AP_E_LIMIT, "the template's values need too much memory");
    if (count)
        memcpy(items, arguments, count * sizeof(*items));
    *ret = (struct template_value){.kind = TEMPLATE_LIST, .list = {items, count}};
    return AP_OK;
}

FUNCTION(am_string_slice)
{
    for (size_t i = 0; i < count; i++) {
        enum ap_rc rc = want_text(&arguments[i], err);
        if (rc != AP_OK)
            return rc;
    }
    return am_list(run, arguments, count, ret, err);
}

FUNCTION(am_safe_html)
{
    (void)run, (void)count;
    enum ap_rc rc = want_text(&arguments[0], err);
    *ret = arguments[0];
    ret->type = &template_type_html;
    return rc;
}

FUNCTION(am_url_unescape)
{
    (void)count;
    enum ap_rc rc = want_text(&arguments[0], err);
    AP_AUTO_BUF struct ap_buf text = {0};
    struct ap_slice from = arguments[0].text;
    for (size_t i = 0; rc == AP_OK && i < from.bytes; i++) {
        static const char hex[] = "0123456789abcdefABCDEF";
        if (from.data[i] != '%') {
            ap_buf_add_char(&text, from.data[i] == '+' ? ' ' : from.data[i]);
            continue;
        }
        const char *high = i + 2 < from.bytes && from.data[i + 1] ? strchr(hex, from.data[i + 1]) : NULL;
        const char *low = high && from.data[i + 2] ? strchr(hex, from.data[i + 2]) : NULL;
        if (!low)
            return ap_fail(err, AP_E_CONFLICT, "invalid URL escape at byte %zu", i);
        ptrdiff_t digits[] = {high - hex, low - hex};
        for (int d = 0; d < 2; d++)
            digits[d] -= digits[d] >= 16 ? 6 : 0;
        ap_buf_add_char(&text, (char)(digits[0] * 16 + digits[1]));
        i += 2;
    }
    return rc == AP_OK ? template_keep_text(run, &text, ret, err) : rc;
}

/* ---- Times ---- */

FUNCTION(am_date)
{
    (void)count;
    enum ap_rc rc = want_text(&arguments[0], err);
    if (rc == AP_OK)
        rc = want_moment(&arguments[1], err);
    bool is_there;
    return rc == AP_OK ? template_type_moment.call(&arguments[1], ap_slice_cstr("Format"), arguments, 1, &run->arena,
                                                   &is_there, ret, err)
                       : rc;
}

FUNCTION(am_tz)
{
    (void)count;
    AP_AUTO(zone) struct zone *zone = NULL;
    enum ap_rc rc = want_text(&arguments[0], err);
    if (rc == AP_OK)
        rc = want_moment(&arguments[1], err);
    if (rc != AP_OK)
        return rc;
    char *name = ap_arena_try_strndup(&run->arena, arguments[0].text);
    rc = name ? zone_load(name, &zone, err) : ap_fail(err, AP_E_LIMIT, "the template's values need too much memory");
    if (rc != AP_OK)
        return ap_fail(err, AP_E_CONFLICT, "unknown time zone %.*s", AP_SLICE_ARG(arguments[0].text));
    int64_t ms = arguments[1].list.items[0].integer;
    return template_moment(&run->arena, ms, zone_offset_s(zone, ms / 1000), ret, err);
}

/* Go's way to write a duration: "1h2m3.5s". */
static void print_duration(const struct template_value *value, struct ap_buf *out)
{
    int64_t ms = llround(fabs(value->number) * 1000);
    if (value->number < 0)
        ap_buf_add_char(out, '-');
    if (ms >= 3600000)
        ap_buf_printf(out, "%" PRId64 "h", ms / 3600000);
    if (ms >= 60000)
        ap_buf_printf(out, "%" PRId64 "m", ms / 60000 % 60);
    ap_buf_printf(out, "%" PRId64, ms / 1000 % 60);
    if (ms % 1000) {
        ap_buf_printf(out, ".%03" PRId64, ms % 1000);
        while (out->data[out->bytes - 1] == '0')
            out->bytes--;
    }
    ap_buf_add_char(out, 's');
}

FUNCTION(am_since)
{
    static const struct template_type duration = {.print = print_duration};
    (void)count;
    enum ap_rc rc = want_moment(&arguments[0], err);
    if (rc != AP_OK)
        return rc;
    *ret = template_float((double)(run->environment->now_ms - arguments[0].list.items[0].integer) / 1000);
    ret->type = &duration;
    return AP_OK;
}

const struct template_function template_functions_of_alertmanager[] = {
    {"date", 2, 2, am_date},
    {"join", 2, 2, am_join},
    {"list", 0, -1, am_list},
    {"safeHtml", 1, 1, am_safe_html},
    {"safeUrl", 1, 1, am_safe_html},
    {"since", 1, 1, am_since},
    {"stringSlice", 0, -1, am_string_slice},
    {"trimSpace", 1, 1, am_trim_space},
    {"tz", 2, 2, am_tz},
    {"urlUnescape", 1, 1, am_url_unescape},
    {NULL, 0, 0, NULL},
};
