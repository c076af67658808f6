#include "ingest/statsd_line.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { NUMBER_BYTES_MAX = 64, TOLD_BYTES_MAX = 40 };
#define RATE_MIN   1e-6
#define TOLD(text) AP_SLICE_ARG(ap_slice((text).data, AP_MIN((text).bytes, (size_t)TOLD_BYTES_MAX)))

const char *statsd_kind_name(enum statsd_kind kind)
{
    static const char *const names[STATSD_KIND_COUNT] = {"counter", "gauge", "histogram", "set"};
    AP_ASSERT((size_t)kind < STATSD_KIND_COUNT);
    return names[kind];
}

/* strtod() knows more than a number may be here: "nan", "inf", hexadecimal, spaces. */
static bool parse_number(struct ap_slice text, double *ret_number)
{
    char copy[NUMBER_BYTES_MAX];
    char *end;
    if (text.bytes == 0 || text.bytes >= sizeof(copy))
        return false;
    for (size_t i = 0; i < text.bytes; i++)
        if (!memchr("0123456789.eE+-", text.data[i], 15))
            return false;
    memcpy(copy, text.data, text.bytes);
    copy[text.bytes] = '\0';
    *ret_number = strtod(copy, &end);
    return end == copy + text.bytes && isfinite(*ret_number);
}

static bool find_kind(struct ap_slice text, struct statsd_line *line)
{
    static const struct {
        const char *text;
        enum statsd_kind kind;
        bool is_milliseconds;
    } kinds[] = {
        {"c", STATSD_COUNTER, false},     {"g", STATSD_GAUGE, false},       {"ms", STATSD_OBSERVATION, true},
        {"h", STATSD_OBSERVATION, false}, {"d", STATSD_OBSERVATION, false}, {"s", STATSD_SET, false},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(kinds); i++)
        if (ap_slice_equal_cstr(text, kinds[i].text)) {
            line->kind = kinds[i].kind;
            line->is_milliseconds = kinds[i].is_milliseconds;
            return true;
        }
    return false;
}

static enum ap_rc parse_tags(struct ap_slice rest, struct statsd_line *line, struct ap_err *err)
{
    while (rest.data) {
        struct ap_slice value = ap_slice_split(&rest, ',');
        struct ap_slice name = ap_slice_split(&value, ':');
        if (name.bytes == 0)
            continue;
        if (line->tag_count == STATSD_TAGS_MAX)
            return ap_fail(err, AP_E_PARSE, "there are more than %d tags", STATSD_TAGS_MAX);
        line->tags[line->tag_count++] = (struct label){name, value.data ? value : ap_slice("", 0)};
    }
    return AP_OK;
}

/* Behind the type: a rate, tags, and what newer clients add, of which nothing is needed. */
static enum ap_rc parse_section(struct ap_slice section, struct statsd_line *line, struct ap_err *err)
{
    struct ap_slice text = ap_slice(section.data + 1, section.bytes ? section.bytes - 1 : 0);
    double rate;
    if (section.bytes == 0)
        return AP_OK;
    if (section.data[0] == '#')
        return parse_tags(text, line, err);
    if (section.data[0] != '@')
        return AP_OK;
    if (!parse_number(text, &rate) || rate < RATE_MIN || rate > 1)
        return ap_fail(err, AP_E_PARSE, "the rate \"%.*s\" is not between 1e-06 and 1", TOLD(text));
    line->weight = 1 / rate;
    return AP_OK;
}

enum ap_rc statsd_line_parse(struct ap_slice text, struct statsd_line *ret_line, struct ap_err *err)
{
    ret_line->weight = 1;
    ret_line->tag_count = 0;
    ret_line->kind = STATSD_IGNORED;
    if (ap_slice_starts_with(text, "_e{") || ap_slice_starts_with(text, "_sc|"))
        return AP_OK;
    struct ap_slice rest = text;
    struct ap_slice head = ap_slice_split(&rest, '|');
    ret_line->values = head;
    ret_line->name = ap_slice_split(&ret_line->values, ':');
    if (ret_line->name.bytes == 0)
        return ap_fail(err, AP_E_PARSE, "there is no name");
    if (ret_line->values.bytes == 0)
        return ap_fail(err, AP_E_PARSE, "there is no value");
    if (!rest.data)
        return ap_fail(err, AP_E_PARSE, "there is no type");
    struct ap_slice kind = ap_slice_split(&rest, '|');
    if (!find_kind(kind, ret_line))
        return ap_fail(err, AP_E_PARSE, "the type \"%.*s\" is none of c, g, ms, h, d, s", TOLD(kind));
    enum ap_rc rc = AP_OK;
    while (rest.data && rc == AP_OK)
        rc = parse_section(ap_slice_split(&rest, '|'), ret_line, err);
    return rc;
}

enum ap_rc statsd_next_value(struct ap_slice *rest, struct statsd_value *ret_value, struct ap_err *err)
{
    struct ap_slice text = ap_slice_split(rest, ':');
    ret_value->is_signed = text.bytes && (text.data[0] == '+' || text.data[0] == '-');
    if (!parse_number(text, &ret_value->number))
        return ap_fail(err, AP_E_PARSE, "\"%.*s\" is no number", TOLD(text));
    return AP_OK;
}
