/*
 * rules/threshold.h - "> 5": which figures of a rule by SQL make an alert
 */
#pragma once

#include <stdbool.h>

#include "base/slice.h"

enum rule_threshold_op {
    THRESHOLD_NONE, /* of rules that need none */
    THRESHOLD_GREATER,
    THRESHOLD_GREATER_EQUAL,
    THRESHOLD_LESS,
    THRESHOLD_LESS_EQUAL,
    THRESHOLD_EQUAL,
    THRESHOLD_NOT_EQUAL,
    THRESHOLD_OP_COUNT,
};

struct rule_threshold {
    enum rule_threshold_op op;
    double value;
};

const char *rule_threshold_op_name(enum rule_threshold_op op); /* ">" */

/* False: it is no comparison with a number. */
bool rule_threshold_parse(struct ap_slice text, struct rule_threshold *ret_threshold);

/* NaN meets none, not even "!= 5". */
bool rule_threshold_is_met(const struct rule_threshold *threshold, double value);
