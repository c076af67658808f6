#include "rules/threshold.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "codec/yaml.h"

static const char *const op_names[THRESHOLD_OP_COUNT] = {
    [THRESHOLD_NONE] = "",         [THRESHOLD_GREATER] = ">", [THRESHOLD_GREATER_EQUAL] = ">=", [THRESHOLD_LESS] = "<",
    [THRESHOLD_LESS_EQUAL] = "<=", [THRESHOLD_EQUAL] = "==",  [THRESHOLD_NOT_EQUAL] = "!=",
};

const char *rule_threshold_op_name(enum rule_threshold_op op)
{
    return op_names[op];
}

bool rule_threshold_parse(struct ap_slice text, struct rule_threshold *ret_threshold)
{
    struct rule_threshold threshold = {.op = THRESHOLD_NONE};
    size_t name_bytes = 0;
    text = ap_slice_trim(text);
    for (size_t i = THRESHOLD_NONE + 1; i < THRESHOLD_OP_COUNT; i++) {
        size_t bytes = strlen(op_names[i]);
        if (bytes > name_bytes && ap_slice_starts_with(text, op_names[i])) { /* the longest: ">=" begins with ">" */
            threshold.op = (enum rule_threshold_op)i;
            name_bytes = bytes;
        }
    }
    if (threshold.op == THRESHOLD_NONE)
        return false;
    struct ap_slice number = ap_slice_trim(ap_slice(text.data + name_bytes, text.bytes - name_bytes));
    if (!yaml_parse_number(number, &threshold.value))
        return false;
    *ret_threshold = threshold;
    return true;
}

bool rule_threshold_is_met(const struct rule_threshold *threshold, double value)
{
    if (isnan(value))
        return false;
    switch (threshold->op) {
    case THRESHOLD_GREATER:
        return value > threshold->value;
    case THRESHOLD_GREATER_EQUAL:
        return value >= threshold->value;
    case THRESHOLD_LESS:
        return value < threshold->value;
    case THRESHOLD_LESS_EQUAL:
        return value <= threshold->value;
    case THRESHOLD_EQUAL:
        return value == threshold->value;
    case THRESHOLD_NOT_EQUAL:
        return value != threshold->value;
    default:
        return true;
    }
}
