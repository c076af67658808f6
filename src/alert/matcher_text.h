/*
 * alert/matcher_text.h - matchers in Alertmanager's notation: foo="bar", severity=~"warn|crit", {a!="b", c=d}
 *
 * Alertmanager has two notations that agree on nearly all texts: the classic one (values with or without quotes, names
 * of [a-zA-Z_:][a-zA-Z0-9_:]*) and the one for names in UTF-8. What the classic one takes means what it says there; the
 * other is for what it does not take. That is Alertmanager's default ("fallback mode").
 */
#pragma once

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "codec/yaml.h"
#include "tsdb/matcher.h"

/* One matcher, without braces. AP_E_PARSE, AP_E_LIMIT. */
ap_nodiscard enum ap_rc matcher_text_parse(struct ap_slice text, struct matcher **ret_matcher, struct ap_err *err);
/* Any number, separated by commas, with or without braces around them; adds to `matchers`. On failure it is as before.
 */
ap_nodiscard enum ap_rc matcher_text_parse_list(struct ap_slice text, struct matchers *matchers, struct ap_err *err);

/*
 * Those of a configuration file, NULL for none: a list of texts, each any number of matchers; and what came before
 * that, `match: {name: value}` and `match_re: {name: expression}`. AP_E_PARSE: "file:line:column: …".
 */
ap_nodiscard enum ap_rc matcher_text_read_list(const struct yaml_node *node, const char *key, struct matchers *matchers,
                                               struct ap_err *err);
ap_nodiscard enum ap_rc matcher_text_read_map(const struct yaml_node *node, const char *key, enum matcher_kind kind,
                                              struct matchers *matchers, struct ap_err *err);

/* By name, then value, then kind: the order in which Alertmanager keeps those of a route. */
void matcher_text_sort(struct matchers *matchers);
/* name="value", as Alertmanager prints it. */
void matcher_text_format(const struct matcher *matcher, struct ap_buf *out);
/* {a="b",c=~"d"} */
void matcher_text_format_list(const struct matchers *matchers, struct ap_buf *out);
