/* Values as Go's package fmt prints them: %v and the verbs of printf. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "promql/float_text.h"
#include "template/template_internal.h"

enum { NUMBER_BYTES = 512, WIDTH_MAX = 256 };

const char *template_type_name(const struct template_value *value)
{
    static const char *const names[] = {
        [TEMPLATE_NIL] = "nil",     [TEMPLATE_BOOL] = "bool", [TEMPLATE_INT] = "int", [TEMPLATE_FLOAT] = "float64",
        [TEMPLATE_TEXT] = "string", [TEMPLATE_LIST] = "list", [TEMPLATE_MAP] = "map", [TEMPLATE_STRUCT] = "struct",
    };
    return names[value->kind];
}

void template_print(const struct template_value *value, struct ap_buf *out)
{
    if (value->type && value->type->print) {
        value->type->print(value, out);
        return;
    }
    switch (value->kind) {
    case TEMPLATE_NIL:
        ap_buf_add_cstr(out, "<nil>");
        return;
    case TEMPLATE_BOOL:
        ap_buf_add_cstr(out, value->boolean ? "true" : "false");
        return;
    case TEMPLATE_INT:
        ap_buf_add_integer(out, value->integer);
        return;
    case TEMPLATE_FLOAT:
        ap_buf_add_cstr(out, go_float(value->number).text);
        return;
    case TEMPLATE_TEXT:
        ap_buf_add_slice(out, value->text);
        return;
    case TEMPLATE_LIST:
        ap_buf_add_char(out, '[');
        for (size_t i = 0; i < value->list.count; i++) {
            if (i)
                ap_buf_add_char(out, ' ');
            template_print(&value->list.items[i], out);
        }
        ap_buf_add_char(out, ']');
        return;
    case TEMPLATE_MAP:
    case TEMPLATE_STRUCT:
        ap_buf_add_cstr(out, value->kind == TEMPLATE_MAP ? "map[" : "{");
        for (size_t i = 0; i < value->map.count; i++) {
            if (i)
                ap_buf_add_char(out, ' ');
            if (value->kind == TEMPLATE_MAP) {
                ap_buf_add_slice(out, value->map.items[i].name);
                ap_buf_add_char(out, ':');
            }
            template_print(&value->map.items[i].value, out);
        }
        ap_buf_add_char(out, value->kind == TEMPLATE_MAP ? ']' : '}');
        return;
    }
}

/* ---- printf ---- */

struct verb {
    char flags[8]; /* those of C's printf that Go has too */
    int width;     /* -1: none */
    int precision;
    char letter;
};

/* Behind the '%'; *at moves behind the verb. False: the format ends in the middle. */
static bool take_verb(struct ap_slice format, size_t *at, struct verb *ret)
{
    *ret = (struct verb){.width = -1, .precision = -1};
    size_t flags = 0;
    for (; *at < format.bytes && memchr("+-# 0", format.data[*at], 5); ++*at)
        if (flags + 1 < sizeof(ret->flags) && !strchr(ret->flags, format.data[*at]))
            ret->flags[flags++] = format.data[*at];
    int *numbers[] = {&ret->width, &ret->precision};
    for (int i = 0; i < 2; i++) {
        if (i == 1) {
            if (*at >= format.bytes || format.data[*at] != '.')
                break;
            ++*at;
            ret->precision = 0;
        }
        for (; *at < format.bytes && format.data[*at] >= '0' && format.data[*at] <= '9'; ++*at) {
            int value = AP_MAX(*numbers[i], 0) * 10 + (format.data[*at] - '0');
            *numbers[i] = AP_MIN(value, WIDTH_MAX);
        }
    }
    if (*at >= format.bytes)
        return false;
    ret->letter = format.data[(*at)++];
    return true;
}

static void add_padded(const struct verb *verb, struct ap_slice text, struct ap_buf *out)
{
    size_t runes = 0;
    for (size_t i = 0; i < text.bytes; i++)
        runes += (text.data[i] & 0xC0) != 0x80;
    size_t pad = verb->width > 0 && (size_t)verb->width > runes ? (size_t)verb->width - runes : 0;
    bool is_left = strchr(verb->flags, '-') != NULL;
    if (is_left)
        ap_buf_add_slice(out, text);
    char with = !is_left && strchr(verb->flags, '0') ? '0' : ' ';
    while (pad--)
        ap_buf_add_char(out, with);
    if (!is_left)
        ap_buf_add_slice(out, text);
}

/* C's printf does what Go's does, but for infinities and NaN. */
static void add_number(const struct verb *verb, const struct template_value *value, struct ap_buf *out)
{
    char format[64], text[NUMBER_BYTES];
    bool is_float = value->kind == TEMPLATE_FLOAT;
    if (is_float && !isfinite(value->number)) {
        const char *word = isnan(value->number) ? "NaN" : value->number > 0 ? "+Inf" : "-Inf";
        struct verb unfilled = *verb;
        if (!strchr(verb->flags, '-'))
            unfilled.flags[0] = '\0'; /* no zeros before it */
        add_padded(&unfilled, ap_slice_cstr(word), out);
        return;
    }
    int used = snprintf(format, sizeof(format), "%%%s", verb->flags);
    if (verb->width >= 0)
        used += snprintf(format + used, sizeof(format) - (size_t)used, "%d", verb->width);
    if (verb->precision >= 0)
        used += snprintf(format + used, sizeof(format) - (size_t)used, ".%d", verb->precision);
    snprintf(format + used, sizeof(format) - (size_t)used, "%s%c", is_float ? "" : "ll", verb->letter);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    if (is_float)
        snprintf(text, sizeof(text), format, value->number);
    else
        snprintf(text, sizeof(text), format, (long long)value->integer);
#pragma GCC diagnostic pop
    ap_buf_add_cstr(out, text);
}

static void add_binary(const struct verb *verb, int64_t integer, struct ap_buf *out)
{
    char digits[72];
    size_t at = sizeof(digits);
    uint64_t left = integer < 0 ? -(uint64_t)integer : (uint64_t)integer;
    do {
        digits[--at] = (char)('0' + (left & 1));
        left >>= 1;
    } while (left);
    if (integer < 0)
        digits[--at] = '-';
    add_padded(verb, ap_slice(digits + at, sizeof(digits) - at), out);
}

static void add_quoted(struct ap_slice text, char quote, struct ap_buf *out)
{
    static const char from[] = "\a\b\f\n\r\t\v\\", to[] = "abfnrtv\\";
    ap_buf_add_char(out, quote);
    for (size_t i = 0; i < text.bytes; i++) {
        char c = text.data[i];
        const char *escape = c ? strchr(from, c) : NULL;
        if (c == quote)
            ap_buf_add_char(out, '\\');
        if (escape)
            ap_buf_printf(out, "\\%c", to[escape - from]);
        else if ((unsigned char)c < 0x20 || c == 0x7f)
            ap_buf_printf(out, "\\x%02x", (unsigned char)c);
        else
            ap_buf_add_char(out, c);
    }
    ap_buf_add_char(out, quote);
}

static void add_rune(int64_t rune, bool is_quoted, struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    bool is_valid = rune >= 0 && rune <= 0x10ffff && (rune < 0xd800 || rune > 0xdfff);
    ap_buf_add_utf8(&text, is_valid ? (uint32_t)rune : 0xfffd);
    if (is_quoted)
        add_quoted(ap_buf_slice(&text), '\'', out);
    else
        ap_buf_add_slice(out, ap_buf_slice(&text));
}

static void add_hex(const struct verb *verb, struct ap_slice text, struct ap_buf *out)
{
    for (size_t i = 0; i < text.bytes; i++)
        ap_buf_printf(out, verb->letter == 'x' ? "%02x" : "%02X", (unsigned char)text.data[i]);
}

/* False: the verb is not for such a value. */
static bool add_verb(const struct verb *verb, const struct template_value *value, struct ap_buf *out)
{
    enum template_kind kind = value->kind;
    AP_AUTO_BUF struct ap_buf text = {0};
    if (verb->letter == 'v' || (verb->letter == 's' && (kind == TEMPLATE_TEXT || kind >= TEMPLATE_LIST)) ||
        (verb->letter == 't' && kind == TEMPLATE_BOOL)) {
        if (kind == TEMPLATE_FLOAT && verb->precision >= 0) {
            struct verb general = *verb;
            general.letter = 'g';
            add_number(&general, value, out);
            return true;
        }
        template_print(value, &text);
        if (verb->precision >= 0 && kind == TEMPLATE_TEXT && (size_t)verb->precision < text.bytes)
            text.bytes = (size_t)verb->precision;
        add_padded(verb, ap_buf_slice(&text), out);
        return true;
    }
    if (verb->letter == 'T') {
        add_padded(verb, ap_slice_cstr(template_type_name(value)), out);
        return true;
    }
    if (kind == TEMPLATE_TEXT && verb->letter == 'q')
        add_quoted(value->text, '"', &text);
    else if (kind == TEMPLATE_TEXT && memchr("xX", verb->letter, 2))
        add_hex(verb, value->text, &text);
    else if (kind == TEMPLATE_INT && memchr("cq", verb->letter, 2))
        add_rune(value->integer, verb->letter == 'q', &text);
    else if (kind == TEMPLATE_INT && verb->letter == 'U')
        ap_buf_printf(&text, "U+%04" PRIX64, (uint64_t)value->integer);
    if (text.bytes) {
        add_padded(verb, ap_buf_slice(&text), out);
        return true;
    }
    if (kind == TEMPLATE_INT && verb->letter == 'b') {
        add_binary(verb, value->integer, out);
        return true;
    }
    if (kind == TEMPLATE_FLOAT && memchr("gG", verb->letter, 2) && verb->precision < 0) {
        ap_buf_add_cstr(&text, go_float(value->number).text);
        add_padded(verb, ap_buf_slice(&text), out);
        return true;
    }
    bool is_for_number = (kind == TEMPLATE_INT && memchr("doxX", verb->letter, 4)) ||
                         (kind == TEMPLATE_FLOAT && memchr("eEfFgG", verb->letter, 6));
    if (is_for_number)
        add_number(verb, value, out);
    return is_for_number;
}

enum ap_rc template_printf(struct ap_slice format, const struct template_value *arguments, size_t count,
                           struct ap_buf *out)
{
    size_t used = 0;
    for (size_t at = 0; at < format.bytes;) {
        char c = format.data[at++];
        struct verb verb;
        if (c != '%') {
            ap_buf_add_char(out, c);
        } else if (!take_verb(format, &at, &verb)) {
            ap_buf_add_cstr(out, "%!(NOVERB)");
        } else if (verb.letter == '%') {
            ap_buf_add_char(out, '%');
        } else if (used == count) {
            ap_buf_printf(out, "%%!%c(MISSING)", verb.letter);
        } else if (!add_verb(&verb, &arguments[used++], out)) {
            ap_buf_printf(out, "%%!%c(%s=", verb.letter, template_type_name(&arguments[used - 1]));
            template_print(&arguments[used - 1], out);
            ap_buf_add_char(out, ')');
        }
    }
    for (size_t i = used; i < count; i++) {
        ap_buf_printf(out, "%s%s=", i == used ? "%!(EXTRA " : ", ", template_type_name(&arguments[i]));
        template_print(&arguments[i], out);
    }
    if (used < count)
        ap_buf_add_char(out, ')');
    return AP_OK;
}
