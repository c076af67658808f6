/* Targets: "at least 1,000", "below 50 ms", in the unit of the figure that they belong to. */
#include <math.h>
#include <stdio.h>

#include "pack/pack_internal.h"

enum { TARGET_BYTES_MAX = 64 };

struct suffix {
    const char *text;
    enum pack_unit unit;
    double factor;     /* to the unit's own measure */
    const char *shown; /* behind the number */
};

/* Of each unit, the first one is what a number without suffix is in. */
static const struct suffix suffixes[] = {
    {"s", PACK_UNIT_S, 1, " s"},
    {"ms", PACK_UNIT_S, 1e-3, " ms"},
    {"us", PACK_UNIT_S, 1e-6, " µs"},
    {"min", PACK_UNIT_S, 60, " min"},
    {"ms", PACK_UNIT_MS, 1, " ms"},
    {"s", PACK_UNIT_MS, 1e3, " s"},
    {"us", PACK_UNIT_MS, 1e-3, " µs"},
    {"min", PACK_UNIT_MS, 60e3, " min"},
    {"%", PACK_UNIT_RATIO, 1e-2, "%"},
    {"B", PACK_UNIT_BYTES, 1, " B"},
    {"KiB", PACK_UNIT_BYTES, 1024.0, " KiB"},
    {"MiB", PACK_UNIT_BYTES, 1048576.0, " MiB"},
    {"GiB", PACK_UNIT_BYTES, 1073741824.0, " GiB"},
    {"kB", PACK_UNIT_BYTES, 1e3, " kB"},
    {"MB", PACK_UNIT_BYTES, 1e6, " MB"},
    {"GB", PACK_UNIT_BYTES, 1e9, " GB"},
    {"/s", PACK_UNIT_PER_SECOND, 1, "/s"},
    {"fps", PACK_UNIT_PER_SECOND, 1, " fps"},
};

static const struct {
    const char *text;
    enum pack_target_op op;
} operators[] = {
    {">=", PACK_TARGET_GE}, {"≥", PACK_TARGET_GE}, {"<=", PACK_TARGET_LE},
    {"≤", PACK_TARGET_LE},  {">", PACK_TARGET_GT}, {"<", PACK_TARGET_LT},
};

const char *pack_target_op_name(enum pack_target_op op)
{
    static const char *const names[] = {"", ">=", "<=", ">", "<"};
    return names[op];
}

static const char *op_sign(enum pack_target_op op)
{
    static const char *const signs[] = {"", "≥", "≤", ">", "<"};
    return signs[op];
}

/* "12345.6" → "12,345.6". */
static void format_number(double value, char text[TARGET_BYTES_MAX])
{
    char plain[TARGET_BYTES_MAX / 2];
    snprintf(plain, sizeof(plain), "%.10g", value);
    size_t digits = strspn(plain, "0123456789");
    size_t out = 0;
    for (size_t i = 0; plain[i]; i++) {
        if (i > 0 && i < digits && (digits - i) % 3 == 0)
            text[out++] = ',';
        text[out++] = plain[i];
    }
    text[out] = '\0';
}

static enum ap_rc fail_suffix(const char *key, enum pack_unit unit, struct ap_slice suffix, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf known = {0};
    for (size_t i = 0; i < AP_ARRAY_COUNT(suffixes); i++) {
        if (suffixes[i].unit == unit)
            ap_buf_printf(&known, "%s%s", known.bytes > 0 ? ", " : "", suffixes[i].text);
    }
    return ap_fail(err, AP_E_PARSE, "%s: \"%.*s\" does not fit the unit %s; expected a number%s%.*s", key,
                   AP_SLICE_ARG(suffix), pack_unit_name(unit), known.bytes > 0 ? " and one of: " : " alone",
                   AP_SLICE_ARG(ap_buf_slice(&known)));
}

/* The suffix with this text, or the first one of the unit when there is no text. */
static const struct suffix *find_suffix(enum pack_unit unit, struct ap_slice text)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(suffixes); i++) {
        if (suffixes[i].unit == unit && (text.bytes == 0 || ap_slice_equal_cstr(text, suffixes[i].text)))
            return &suffixes[i];
    }
    return NULL;
}

enum ap_rc pack_target_parse(struct pack_memory *memory, const char *key, const char *text, enum pack_unit unit,
                             struct pack_target *ret_target, struct ap_err *err)
{
    struct ap_slice rest = ap_slice_trim(ap_slice_cstr(text));
    enum pack_target_op op = PACK_TARGET_NONE;
    for (size_t i = 0; i < AP_ARRAY_COUNT(operators) && op == PACK_TARGET_NONE; i++) {
        if (ap_slice_starts_with(rest, operators[i].text)) {
            op = operators[i].op;
            size_t bytes = strlen(operators[i].text);
            rest = ap_slice_trim(ap_slice(rest.data + bytes, rest.bytes - bytes));
        }
    }
    size_t number_bytes = 0;
    while (number_bytes < rest.bytes && strchr("0123456789.-", rest.data[number_bytes]))
        number_bytes++;
    double number;
    if (op == PACK_TARGET_NONE || !yaml_parse_number(ap_slice(rest.data, number_bytes), &number))
        return ap_fail(err, AP_E_PARSE,
                       "%s: expected a comparison such as \">= 1000\", \"< 50ms\" or \"< 0.1%%\", found \"%.80s\"", key,
                       text);

    struct ap_slice written = ap_slice_trim(ap_slice(rest.data + number_bytes, rest.bytes - number_bytes));
    const struct suffix *suffix = find_suffix(unit, written);
    if (!suffix && written.bytes > 0)
        return fail_suffix(key, unit, written, err);

    /* A plain 0.75 of a ratio is already one; people read it as 75%. */
    bool is_plain_ratio = unit == PACK_UNIT_RATIO && written.bytes == 0;
    char shown[TARGET_BYTES_MAX];
    format_number(is_plain_ratio ? number * 100 : number, shown);
    ret_target->op = op;
    ret_target->value = is_plain_ratio || !suffix ? number : number * suffix->factor;
    ret_target->text = pack_printf(memory, "%s %s%s", op_sign(op), shown, suffix ? suffix->shown : "");
    return AP_OK;
}
