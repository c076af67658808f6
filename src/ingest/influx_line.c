#include "ingest/influx_line.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_BYTES_MAX = 400, DIGITS_EXACT = 15, POWER_EXACT = 22 };

void influx_line_begin(struct influx_line *parser, struct ap_slice text)
{
    parser->next = text.data;
    parser->end = text.data ? text.data + text.bytes : text.data;
    parser->line = 1;
}

void influx_line_clear(struct influx_line *parser)
{
    ap_buf_clear(&parser->unescaped);
}

/* ---- Where a line ends ---- */

/*
 * A line feed in a quoted text does not end it. Quotes have a meaning only where a field's value begins: behind the
 * first space that is not escaped, after an equals sign.
 */
static const char *find_end_with_quotes(const char *at, const char *end, size_t *line_feeds)
{
    bool is_in_fields = false;
    for (; at < end && *at != '\n'; at++) {
        if (*at == '\\' && end - at > 1 && at[1] != '\n')
            at++;
        else if (*at == ' ')
            is_in_fields = true;
        else if (is_in_fields && *at == '=' && end - at > 1 && at[1] == '"') {
            for (at += 2; at < end && *at != '"'; at++) {
                if (*at == '\\' && end - at > 1)
                    at++;
                *line_feeds += *at == '\n';
            }
            if (at == end)
                return end;
        }
    }
    return at;
}

static const char *find_end(const char *at, const char *end, size_t *line_feeds)
{
    const char *line_end = memchr(at, '\n', (size_t)(end - at));
    line_end = line_end ? line_end : end;
    return memchr(at, '"', (size_t)(line_end - at)) ? find_end_with_quotes(at, end, line_feeds) : line_end;
}

/* ---- Names ---- */

/* Up to the first of `stops` (a set of two or three) that is not escaped; *at moves there. */
static struct ap_slice parse_name(struct influx_line *parser, const char **at, const char *end, const char stops[3])
{
    const char *begin = *at;
    const char *here = begin;
    bool is_escaped = false;
    for (; here < end && *here != stops[0] && *here != stops[1] && *here != stops[2]; here++)
        if (*here == '\\' && end - here > 1) {
            is_escaped = true;
            here++;
        }
    *at = here;
    if (!is_escaped)
        return ap_slice(begin, (size_t)(here - begin));
    /* There is room for the whole line (influx_line_next()), so that what was unescaped before stays where it is. */
    struct ap_buf *out = &parser->unescaped;
    size_t first = out->bytes;
    for (const char *c = begin; c < here; c++) {
        if (*c == '\\' && here - c > 1 && (c[1] == ',' || c[1] == ' ' || c[1] == '='))
            c++;
        ap_buf_add_char(out, *c);
    }
    return ap_slice(out->data + first, out->bytes - first);
}

static const char *parse_tags(struct influx_line *parser, const char **at, const char *end, struct influx_point *point)
{
    point->tag_count = 0;
    while (*at < end && **at == ',') {
        ++*at;
        if (point->tag_count == INFLUX_TAGS_MAX)
            return "too many tags";
        struct label *tag = &point->tags[point->tag_count++];
        tag->name = parse_name(parser, at, end, "=, ");
        if (tag->name.bytes == 0)
            return "missing tag key";
        if (*at == end || **at != '=')
            return "missing tag value";
        ++*at;
        tag->value = parse_name(parser, at, end, ",  ");
        if (tag->value.bytes == 0)
            return "missing tag value";
    }
    return NULL;
}

/* ---- Values ---- */

static bool slow_float(struct ap_slice text, double *ret_value)
{
    char copy[NUMBER_BYTES_MAX];
    if (text.bytes >= sizeof(copy))
        return false;
    memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    char *end;
    *ret_value = strtod(copy, &end);
    return end == copy + text.bytes && isfinite(*ret_value);
}

/* Digits, one point, an exponent. So few digits, and a power of ten that is a double, that one rounding is all there
 * is. */
static bool parse_float(struct ap_slice text, double *ret_value)
{
    static const double powers[POWER_EXACT + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const char *at = text.data;
    const char *end = at + text.bytes;
    bool is_negative = *at == '-';
    at += *at == '-' || *at == '+';
    uint64_t mantissa = 0;
    size_t digits = 0;
    size_t fraction = 0;
    bool has_point = false;
    for (; at < end; at++) {
        if (*at == '.' && !has_point) {
            has_point = true;
            continue;
        }
        if (*at < '0' || *at > '9')
            break;
        if (++digits > DIGITS_EXACT)
            break;
        mantissa = mantissa * 10 + (uint64_t)(*at - '0');
        fraction += has_point;
    }
    if (at == end) {
        double value = (double)mantissa / powers[fraction];
        *ret_value = is_negative ? -value : value;
        return digits > 0;
    }
    /* strtod() knows more than line protocol does: "nan", "inf", hexadecimal. */
    for (; at < end; at++)
        if (!(*at >= '0' && *at <= '9') && !memchr(".eE+-", *at, 5))
            return false;
    return digits > 0 && slow_float(text, ret_value);
}

static bool parse_integer(struct ap_slice text, int64_t *ret_value)
{
    size_t i = text.bytes && (text.data[0] == '-' || text.data[0] == '+');
    bool is_negative = i && text.data[0] == '-';
    int64_t value = 0;
    if (i == text.bytes)
        return false;
    for (; i < text.bytes; i++) {
        int digit = text.data[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, is_negative ? -digit : digit, &value))
            return false;
    }
    *ret_value = value;
    return true;
}

static bool parse_unsigned(struct ap_slice text, double *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.bytes; i++)
        if (text.data[i] < '0' || text.data[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text.data[i] - '0'), &value))
            return false;
    *ret_value = (double)value;
    return text.bytes > 0;
}

static bool parse_boolean(struct ap_slice text, double *ret_value)
{
    static const char *const words[2][5] = {{"f", "F", "false", "False", "FALSE"}, {"t", "T", "true", "True", "TRUE"}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(words); i++)
        for (size_t j = 0; j < AP_ARRAY_COUNT(words[i]); j++)
            if (ap_slice_equal_cstr(text, words[i][j])) {
                *ret_value = (double)i;
                return true;
            }
    return false;
}

static const char *parse_number(struct ap_slice text, double *ret_value)
{
    char last = text.data[text.bytes - 1];
    struct ap_slice number = ap_slice(text.data, text.bytes - 1);
    int64_t integer;
    if ((text.data[0] | 0x20) == 't' || (text.data[0] | 0x20) == 'f')
        return parse_boolean(text, ret_value) ? NULL : "invalid boolean";
    if (last == 'i') {
        if (!parse_integer(number, &integer))
            return "invalid number";
        *ret_value = (double)integer;
        return NULL;
    }
    if (last == 'u')
        return parse_unsigned(number, ret_value) ? NULL : "invalid number";
    return parse_float(text, ret_value) ? NULL : "invalid number";
}

/* The text itself is of no use here: only where it ends. */
static const char *skip_text(const char **at, const char *end)
{
    for (++*at; *at < end && **at != '"'; ++*at)
        if (**at == '\\' && end - *at > 1)
            ++*at;
    if (*at == end)
        return "unbalanced quotes";
    ++*at;
    return *at < end && **at != ',' && **at != ' ' ? "invalid field format" : NULL;
}

static const char *parse_field(struct influx_line *parser, const char **at, const char *end, struct influx_field *field)
{
    field->key = parse_name(parser, at, end, "=, ");
    if (field->key.bytes == 0)
        return "missing field key";
    if (*at == end || **at != '=')
        return "invalid field format";
    ++*at;
    field->value = 0;
    field->is_text = *at < end && **at == '"';
    if (field->is_text)
        return skip_text(at, end);
    const char *begin = *at;
    while (*at < end && **at != ',' && **at != ' ')
        ++*at;
    return *at == begin ? "missing field value" : parse_number(ap_slice(begin, (size_t)(*at - begin)), &field->value);
}

static const char *parse_fields(struct influx_line *parser, const char **at, const char *end,
                                struct influx_point *point)
{
    point->field_count = 0;
    do {
        if (point->field_count == INFLUX_FIELDS_MAX)
            return "too many fields";
        const char *reason = parse_field(parser, at, end, &point->fields[point->field_count++]);
        if (reason)
            return reason;
    } while (*at < end && *(*at)++ == ',');
    return NULL;
}

/* ---- A point ---- */

static const char *parse_point(struct influx_line *parser, const char *at, const char *end, struct influx_point *point)
{
    point->measurement = parse_name(parser, &at, end, ",  ");
    if (point->measurement.bytes == 0)
        return "missing measurement";
    const char *reason = parse_tags(parser, &at, end, point);
    if (reason)
        return reason;
    while (at < end && *at == ' ')
        at++;
    if (at == end)
        return "missing fields";
    reason = parse_fields(parser, &at, end, point);
    if (reason)
        return reason;
    struct ap_slice ts = ap_slice_trim(ap_slice(at, (size_t)(end - at)));
    point->has_ts = ts.bytes > 0;
    return point->has_ts && !parse_integer(ts, &point->ts) ? "bad timestamp" : NULL;
}

enum influx_kind influx_line_next(struct influx_line *parser, struct influx_point *ret_point)
{
    while (parser->next < parser->end) {
        const char *at = parser->next;
        size_t line_feeds = 0;
        while (at < parser->end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\0'))
            at++;
        bool is_comment = at < parser->end && *at == '#';
        const char *end = is_comment ? memchr(at, '\n', (size_t)(parser->end - at)) : NULL;
        if (!is_comment)
            end = find_end(at, parser->end, &line_feeds);
        else if (!end)
            end = parser->end;
        parser->next = end < parser->end ? end + 1 : end;
        ret_point->line = parser->line;
        parser->line += line_feeds + 1;
        if (end > at && end[-1] == '\r')
            end--;
        if (is_comment || at == end)
            continue;
        ret_point->text = ap_slice(at, (size_t)(end - at));
        ap_buf_reset(&parser->unescaped);
        (void)ap_buf_reserve(&parser->unescaped, ret_point->text.bytes);
        ret_point->reason = parse_point(parser, at, end, ret_point);
        return ret_point->reason ? INFLUX_BAD : INFLUX_POINT;
    }
    return INFLUX_END;
}
