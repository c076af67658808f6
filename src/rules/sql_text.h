/*
 * rules/sql_text.h - the text of a rule's SELECT, as far as it can be judged without a warehouse
 */
#pragma once

#include "base/rc.h"
#include "base/slice.h"

/* What a rule's SQL may ask for as $now and so on; as docs/rules.md lists them. */
enum sql_text_param { SQL_PARAM_NOW, SQL_PARAM_FROM, SQL_PARAM_TO, SQL_PARAM_STEP, SQL_PARAM_COUNT };
extern const char *const sql_text_params[SQL_PARAM_COUNT];

/*
 * AP_E_PARSE: a parameter that rules do not have, or a function that gives the time of day: an evaluation is of a
 * moment, which is $now, whenever it takes place. AP_E_LIMIT: too long. The sentence is without place.
 */
ap_nodiscard enum ap_rc sql_text_check(struct ap_slice sql, struct ap_err *err);
