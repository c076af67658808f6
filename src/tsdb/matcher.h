/*
 * tsdb/matcher.h - which series: label matchers and the text they are written in
 *
 * A matcher tests one label; a label that a series lacks has the value "". Regular expressions are anchored at both
 * ends, RE2's syntax run by PCRE2 with a match limit, `.` matches newlines (Prometheus 3).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"

enum matcher_kind { MATCHER_EQUAL, MATCHER_NOT_EQUAL, MATCHER_REGEX, MATCHER_NOT_REGEX };

enum { MATCHERS_MAX = 64, MATCHER_REGEX_BYTES_MAX = 64 * 1024 };

struct matcher; /* private to matcher.c; immutable, any thread */

/* AP_E_PARSE: the expression is none; AP_E_LIMIT: too long or too complex. */
ap_nodiscard enum ap_rc matcher_new(enum matcher_kind kind, struct ap_slice name, struct ap_slice value,
                                    struct matcher **ret_matcher, struct ap_err *err);
void matcher_free(struct matcher *matcher); /* NULL is allowed */
AP_DEFINE_AUTO(matcher, struct matcher, matcher_free)

enum matcher_kind matcher_kind_of(const struct matcher *matcher);
struct ap_slice matcher_name(const struct matcher *matcher);
struct ap_slice matcher_value(const struct matcher *matcher); /* the text as given */
bool matcher_matches(const struct matcher *matcher, struct ap_slice value);
/* Of a regular expression that matches: appends `replacement` with its $1, ${1}, ${name} filled in. False: it does not.
 */
bool matcher_expand(const struct matcher *matcher, struct ap_slice value, struct ap_slice replacement,
                    struct ap_buf *out);
bool matcher_matches_empty(const struct matcher *matcher); /* computed once */

/*
 * The values it can match when these are few and known without trying: of `=`, and of a regular expression that is
 * plain alternatives ("a|b|c", "x(1|2)"). *ret_values is the matcher's own. False: not known.
 */
bool matcher_values(const struct matcher *matcher, const struct ap_slice **ret_values, size_t *ret_count);
/* What every matching value begins with; empty when nothing is known. */
struct ap_slice matcher_prefix(const struct matcher *matcher);

struct matchers {
    struct matcher *items[MATCHERS_MAX]; /* owned */
    size_t count;
};
void matchers_clear(struct matchers *matchers);

/*
 * Reads a series selector: `up`, `up{job="a",instance=~"b.*"}`, `{__name__="x"}`, `{"utf-8 name", "k"="v"}`. One
 * matcher at least must not match the empty value (Prometheus' rule; a selector that selects everything is a mistake).
 * AP_E_PARSE: `err` says what was expected and at which column. On failure *ret_matchers is empty.
 */
ap_nodiscard enum ap_rc matchers_parse(struct ap_slice text, struct matchers *ret_matchers, struct ap_err *err);
/* All of them hold for this canonical label set. */
bool matchers_match(const struct matchers *matchers, struct ap_slice labels);
