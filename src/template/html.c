/*
 * Values in HTML, escaped for where they stand, as Go's html/template does for the places that messages have: text,
 * attributes, addresses in attributes. Where a value stands is seen from what is written already: values cannot write a
 * tag or a quote, so the last '<' or '>' is the template's own.
 */
#include <string.h>
#include <strings.h>

#include "template/template_internal.h"

const struct template_type template_type_html = {0};

static void add_escaped(struct ap_slice text, struct ap_buf *out)
{
    static const char *const table[256] = {
        ['"'] = "&#34;", ['\''] = "&#39;", ['&'] = "&amp;",         ['<'] = "&lt;",
        ['>'] = "&gt;",  ['+'] = "&#43;",  ['\0'] = "\xEF\xBF\xBD",
    };
    for (size_t i = 0; i < text.bytes; i++) {
        const char *replacement = table[(unsigned char)text.data[i]];
        if (replacement)
            ap_buf_add_cstr(out, replacement);
        else
            ap_buf_add_char(out, text.data[i]);
    }
}

enum place { PLACE_TEXT, PLACE_ATTRIBUTE, PLACE_URL_BEGIN, PLACE_URL };

static bool ends_with(struct ap_slice text, const char *end)
{
    size_t bytes = strlen(end);
    return text.bytes >= bytes && strncasecmp(text.data + text.bytes - bytes, end, bytes) == 0;
}

static enum place place_of(struct ap_slice written)
{
    size_t at = written.bytes;
    while (at && written.data[at - 1] != '<' && written.data[at - 1] != '>')
        at--;
    if (!at || written.data[at - 1] == '>')
        return PLACE_TEXT;
    /* In a tag: the quote that is open, if one is. */
    char quote = '\0';
    size_t open = at;
    for (size_t i = at; i < written.bytes; i++) {
        char c = written.data[i];
        if (!quote && (c == '"' || c == '\'')) {
            quote = c;
            open = i;
        } else if (c == quote) {
            quote = '\0';
        }
    }
    struct ap_slice before = ap_slice(written.data + at, open - at);
    bool is_url = quote && (ends_with(before, "href=") || ends_with(before, "src=") || ends_with(before, "action="));
    if (!is_url)
        return PLACE_ATTRIBUTE;
    return open + 1 == written.bytes ? PLACE_URL_BEGIN : PLACE_URL;
}

/* Addresses of other kinds could run code in the reader's browser. */
static bool is_safe_url(struct ap_slice url)
{
    const char *colon = url.bytes ? memchr(url.data, ':', url.bytes) : NULL;
    size_t bytes = colon ? (size_t)(colon - url.data) : 0;
    if (!colon || memchr(url.data, '/', bytes))
        return true;
    struct ap_slice scheme = ap_slice(url.data, bytes);
    return ap_slice_equal_nocase(scheme, "http") || ap_slice_equal_nocase(scheme, "https") ||
           ap_slice_equal_nocase(scheme, "mailto");
}

static void add_url(struct ap_slice url, bool is_begin, struct ap_buf *out)
{
    if (is_begin && !is_safe_url(url)) {
        ap_buf_add_cstr(out, "#ZgotmplZ"); /* what Go puts there */
        return;
    }
    AP_AUTO_BUF struct ap_buf text = {0};
    for (size_t i = 0; i < url.bytes; i++) {
        unsigned char c = (unsigned char)url.data[i];
        bool is_plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c && strchr("!#$&*+,/:;=?@[]-._~%", c));
        if (is_plain)
            ap_buf_add_char(&text, (char)c);
        else
            ap_buf_printf(&text, "%%%02x", c);
    }
    add_escaped(ap_buf_slice(&text), out);
}

void template_print_html(const struct template_value *value, size_t start, struct ap_buf *out)
{
    if (value->type == &template_type_html) {
        ap_buf_add_slice(out, value->text);
        return;
    }
    AP_AUTO_BUF struct ap_buf plain = {0};
    template_print(value, &plain);
    enum place place = place_of(out->data ? ap_slice(out->data + start, out->bytes - start) : ap_slice("", 0));
    if (place >= PLACE_URL_BEGIN)
        add_url(ap_buf_slice(&plain), place == PLACE_URL_BEGIN, out);
    else
        add_escaped(ap_buf_slice(&plain), out);
}
