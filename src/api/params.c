#include "api/params.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"

enum { NUMBER_TEXT_BYTES = 64, FIRST_COUNT = 16 };

struct reading {
    struct http_request *request;
    struct params *params;
    size_t capacity;
    bool is_full;
};

static bool add(struct ap_slice name, struct ap_slice value, void *context)
{
    struct reading *reading = context;
    struct params *params = reading->params;
    if (params->count == reading->capacity) {
        size_t capacity = reading->capacity ? reading->capacity * 2 : FIRST_COUNT;
        struct param *items = params->count < PARAMS_MAX
                                  ? ap_arena_try_alloc(http_arena(reading->request), capacity * sizeof(*items))
                                  : NULL;
        if (!items) {
            reading->is_full = true;
            return false;
        }
        if (params->count)
            memcpy(items, params->items, params->count * sizeof(*items));
        params->items = items;
        reading->capacity = capacity;
    }
    params->items[params->count++] = (struct param){name, value};
    return true;
}

/* The header's memory ends with the connection; an answer may be under way for longer. */
static bool add_copy(struct ap_slice name, struct ap_slice value, void *context)
{
    struct reading *reading = context;
    struct ap_arena *arena = http_arena(reading->request);
    const char *name_copy = ap_arena_try_strndup(arena, name), *value_copy = ap_arena_try_strndup(arena, value);
    reading->is_full = !name_copy || !value_copy;
    return !reading->is_full && add(ap_slice(name_copy, name.bytes), ap_slice(value_copy, value.bytes), context);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

long params_decode(char *text, size_t bytes)
{
    size_t to = 0;
    for (size_t from = 0; from < bytes; from++) {
        char c = text[from];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            int high = from + 2 < bytes ? hex_digit(text[from + 1]) : -1;
            int low = from + 2 < bytes ? hex_digit(text[from + 2]) : -1;
            if (high < 0 || low < 0)
                return -1;
            c = (char)(high << 4 | low);
            from += 2;
        }
        text[to++] = c;
    }
    return (long)to;
}

static bool decode_slice(struct ap_slice *slice)
{
    /* The bytes are those of the copy that read_form() made. */
    long bytes = params_decode((char *)(uintptr_t)slice->data, slice->bytes);
    if (bytes >= 0)
        slice->bytes = (size_t)bytes;
    return bytes >= 0;
}

static enum ap_rc read_form(struct reading *reading, struct ap_err *err)
{
    struct ap_slice body = http_body(reading->request);
    char *copy = ap_arena_try_strndup(http_arena(reading->request), body);
    if (!copy)
        return ap_fail(err, AP_E_LIMIT, "the form is too long");
    struct ap_slice rest = ap_slice(copy, body.bytes);
    while (rest.data && !reading->is_full) {
        struct ap_slice value = ap_slice_split(&rest, '&');
        if (value.bytes == 0)
            continue;
        struct ap_slice name = ap_slice_split(&value, '=');
        if (!value.data)
            value = ap_slice("", 0);
        if (!decode_slice(&name) || (value.bytes && !decode_slice(&value)))
            return ap_fail(err, AP_E_PARSE, "the form has a broken percent escape near \"%.*s\"",
                           (int)AP_MIN(name.bytes, (size_t)64), name.data);
        add(name, value, reading);
    }
    return AP_OK;
}

static bool is_form(struct http_request *request)
{
    struct ap_slice type = http_header(request, "Content-Type");
    return type.data &&
           ap_slice_equal_nocase(ap_slice_trim(ap_slice_split(&type, ';')), "application/x-www-form-urlencoded");
}

enum ap_rc params_read(struct http_request *request, struct params *ret_params, struct ap_err *err)
{
    *ret_params = (struct params){0};
    struct reading reading = {.request = request, .params = ret_params};
    http_query_each(request, add_copy, &reading);
    if (!reading.is_full && is_form(request)) {
        enum ap_rc rc = read_form(&reading, err);
        if (rc != AP_OK)
            return rc;
    }
    return reading.is_full ? ap_fail(err, AP_E_LIMIT, "at most %d parameters are allowed", PARAMS_MAX) : AP_OK;
}

bool params_next(const struct params *params, const char *name, size_t *index, struct ap_slice *ret_value)
{
    for (; *index < params->count; (*index)++) {
        if (!ap_slice_equal_cstr(params->items[*index].name, name))
            continue;
        *ret_value = params->items[(*index)++].value;
        return true;
    }
    return false;
}

struct ap_slice params_get(const struct params *params, const char *name)
{
    size_t index = 0;
    struct ap_slice value = {0};
    return params_next(params, name, &index, &value) ? value : (struct ap_slice){0};
}

/* strtod() takes hexadecimal, "nan" and "infinity" too; times have none of these. */
static bool parse_seconds(struct ap_slice text, double *ret_seconds)
{
    char copy[NUMBER_TEXT_BYTES];
    if (text.bytes == 0 || text.bytes >= sizeof(copy))
        return false;
    for (size_t i = 0; i < text.bytes; i++)
        if (!memchr("0123456789.+-eE", text.data[i], 15))
            return false;
    memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    char *end;
    *ret_seconds = strtod(copy, &end);
    return end == copy + text.bytes && isfinite(*ret_seconds);
}

bool params_parse_time(struct ap_slice text, int64_t *ret_ts_ms)
{
    double seconds;
    int64_t us;
    if (parse_seconds(text, &seconds)) {
        double ms = round(seconds * 1000);
        *ret_ts_ms = ms >= 0x1p63 ? INT64_MAX : ms < -0x1p63 ? INT64_MIN : (int64_t)ms;
        return true;
    }
    if (!ap_time_parse(text, &us))
        return false;
    *ret_ts_ms = us / AP_US_PER_MS - (us % AP_US_PER_MS < 0);
    return true;
}

enum ap_rc params_time(const struct params *params, const char *name, int64_t missing_ms, int64_t *ret_ts_ms,
                       struct ap_err *err)
{
    struct ap_slice text = params_get(params, name);
    *ret_ts_ms = missing_ms;
    if (text.bytes == 0 || params_parse_time(text, ret_ts_ms))
        return AP_OK;
    return ap_fail(err, AP_E_PARSE,
                   "invalid parameter \"%s\": Invalid time value for '%s': cannot parse \"%.*s\" to a valid timestamp",
                   name, name, PARAMS_TEXT(text));
}

enum ap_rc params_needed_time(const struct params *params, const char *name, int64_t *ret_ts_ms, struct ap_err *err)
{
    struct ap_slice text = params_get(params, name);
    if (params_parse_time(text, ret_ts_ms))
        return AP_OK;
    return ap_fail(err, AP_E_PARSE, "invalid parameter \"%s\": cannot parse \"%.*s\" to a valid timestamp", name,
                   PARAMS_TEXT(text));
}

enum ap_rc params_number(const struct params *params, const char *name, uint64_t missing, uint64_t max,
                         uint64_t *ret_number, struct ap_err *err)
{
    struct ap_slice text = params_get(params, name);
    *ret_number = missing;
    if (text.bytes == 0)
        return AP_OK;
    uint64_t number = 0;
    bool is_number = text.bytes < 19;
    for (size_t i = 0; i < text.bytes && is_number; i++) {
        is_number = text.data[i] >= '0' && text.data[i] <= '9';
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (!is_number || number > max)
        return ap_fail(err, AP_E_PARSE,
                       "invalid parameter \"%s\": expected a whole number from 0 to %" PRIu64 ", found \"%.*s\"", name,
                       max, PARAMS_TEXT(text));
    *ret_number = number;
    return AP_OK;
}

enum ap_rc params_any_limit(const struct params *params, const char *name, uint64_t *ret_limit, struct ap_err *err)
{
    struct ap_slice text = params_get(params, name);
    struct ap_err why;
    *ret_limit = UINT64_MAX;
    if (text.bytes > 1 && text.data[0] == '-' && text.data[1] >= '0' && text.data[1] <= '9')
        return AP_OK;
    if (params_number(params, name, UINT64_MAX, INT64_MAX, ret_limit, &why) == AP_OK)
        return AP_OK;
    return ap_fail(err, AP_E_PARSE, "%s must be a number", name);
}

enum ap_rc params_bool(const struct params *params, const char *name, bool missing, bool *ret_value, struct ap_err *err)
{
    struct ap_slice text = params_get(params, name);
    *ret_value = missing;
    if (!text.data)
        return AP_OK;
    bool is_true = text.bytes == 0 || ap_slice_equal_cstr(text, "true") || ap_slice_equal_cstr(text, "1");
    if (!is_true && !ap_slice_equal_cstr(text, "false") && !ap_slice_equal_cstr(text, "0"))
        return ap_fail(err, AP_E_PARSE, "invalid parameter \"%s\": expected true or false, found \"%.*s\"", name,
                       PARAMS_TEXT(text));
    *ret_value = is_true;
    return AP_OK;
}
