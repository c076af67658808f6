#include "api/prometheus.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tsdb/labels.h"

#define RETRY_AFTER_TEXT "1"

bool prometheus_is_path(const struct http_request *request)
{
    return ap_slice_starts_with(http_path(request), "/api/v1/");
}

static const char *type_of(unsigned status)
{
    switch (status) {
    case 401:
    case 403:
        return "unauthorized";
    case 404:
        return "not_found";
    case 422:
        return "execution";
    case 499:
        return "canceled";
    case 500:
        return "internal";
    case 429:
    case 503:
        return "unavailable";
    default:
        return "bad_data";
    }
}

static void reply(struct http_request *request, unsigned status, const char *type, const char *text)
{
    struct ap_buf body = {0};
    ap_buf_printf(&body, "{\"status\":\"error\",\"errorType\":\"%s\",\"error\":", type);
    ap_buf_add_json_string(&body, ap_slice_cstr(text));
    ap_buf_add_cstr(&body, "}\n");
    struct http_field field = {"Retry-After", RETRY_AFTER_TEXT};
    http_reply(request, &(struct http_reply){
                            .status = status,
                            .content_type = "application/json",
                            .body = ap_buf_slice(&body),
                            .body_owner = HTTP_BODY_TAKEN,
                            .fields = &field,
                            .field_count = status == 503 || status == 429,
                        });
}

void prometheus_reply_error(struct http_request *request, unsigned status, const char *text)
{
    reply(request, status, type_of(status), text);
}

void prometheus_reply_err(struct http_request *request, const struct ap_err *err)
{
    if (err->rc == AP_E_TIMEOUT) {
        reply(request, 503, "timeout", err->text);
        return;
    }
    bool is_question_wrong = err->rc == AP_E_LIMIT || err->rc == AP_E_CONFLICT;
    prometheus_reply_error(request, is_question_wrong ? 422 : api_status_of(err->rc), err->text);
}

static bool add_special(struct ap_buf *out, double value)
{
    if (isnan(value))
        ap_buf_add_cstr(out, "NaN");
    else if (isinf(value))
        ap_buf_add_cstr(out, value > 0 ? "+Inf" : "-Inf");
    else if (value == 0)
        ap_buf_add_cstr(out, signbit(value) ? "-0" : "0");
    else
        return false;
    return true;
}

void prometheus_add_scalar(struct ap_buf *out, double value)
{
    if (add_special(out, value))
        return;
    struct ap_shortest shortest;
    ap_shortest(value, &shortest);
    ap_buf_add_cstr(out, value < 0 ? "-" : "");
    ap_buf_add_positional(out, &shortest);
}

void prometheus_add_value(struct ap_buf *out, double value)
{
    if (fabs(value) < 1e15 && value == (double)(int64_t)value && value != 0) {
        ap_buf_add_integer(out, (int64_t)value);
        return;
    }
    if (add_special(out, value))
        return;
    struct ap_shortest shortest;
    ap_shortest(value, &shortest);
    ap_buf_add_cstr(out, value < 0 ? "-" : "");
    if (fabs(value) >= 1e-6 && fabs(value) < 1e21) {
        ap_buf_add_positional(out, &shortest);
        return;
    }
    ap_buf_add_scientific(out, &shortest, 2);
}

void prometheus_add_exponential(struct ap_buf *out, double value)
{
    if (value == 0)
        ap_buf_add_cstr(out, signbit(value) ? "-0e+00" : "0e+00");
    else if (!add_special(out, value)) {
        struct ap_shortest shortest;
        ap_shortest(value, &shortest);
        ap_buf_add_cstr(out, value < 0 ? "-" : "");
        ap_buf_add_scientific(out, &shortest, 2);
    }
}

void prometheus_add_time(struct ap_buf *out, int64_t ts_ms)
{
    int64_t seconds = ts_ms / 1000, rest = ts_ms < 0 ? -(ts_ms % 1000) : ts_ms % 1000;
    if (ts_ms < 0 && seconds == 0)
        ap_buf_add_char(out, '-');
    ap_buf_add_integer(out, seconds);
    if (rest == 0)
        return;
    const char text[] = {'.', (char)('0' + rest / 100), (char)('0' + rest / 10 % 10), (char)('0' + rest % 10)};
    ap_buf_add(out, text, sizeof(text));
}

/* ---- Names in paths ---- */

/* "_2e_" and "__" behind "U__". False where it is neither: then the text is a name as it stands. */
static bool unescape(struct ap_slice text, struct ap_buf *out)
{
    for (size_t at = 0; at < text.bytes; at++) {
        if (text.data[at] != '_') {
            ap_buf_add_char(out, text.data[at]);
            continue;
        }
        if (++at == text.bytes)
            return false;
        if (text.data[at] == '_') {
            ap_buf_add_char(out, '_');
            continue;
        }
        uint32_t rune = 0;
        size_t digits = 0;
        for (; at < text.bytes && text.data[at] != '_' && digits < 7; at++, digits++) {
            const char *found = memchr("0123456789abcdefABCDEF", text.data[at], 22);
            if (!found)
                return false;
            char digit[2] = {*found, '\0'};
            rune = rune << 4 | (uint32_t)strtoul(digit, NULL, 16);
        }
        if (digits == 0 || digits > 6 || at == text.bytes || rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000))
            return false;
        ap_buf_add_utf8(out, rune);
    }
    return true;
}

bool prometheus_unescape_name(struct ap_slice text, struct ap_buf *out)
{
    static const char prefix[] = "U__";
    AP_AUTO_BUF struct ap_buf unescaped = {0};
    if (ap_slice_starts_with(text, prefix) &&
        unescape(ap_slice(text.data + sizeof(prefix) - 1, text.bytes - (sizeof(prefix) - 1)), &unescaped))
        text = ap_buf_slice(&unescaped);
    if (text.bytes == 0 || text.bytes > LABEL_NAME_BYTES_MAX || ap_utf8_valid_bytes(text) != text.bytes)
        return false;
    ap_buf_add_slice(out, text);
    return true;
}
