/*
 * collect/probe_regex.h - regular expressions that are searched for: RE2's syntax run by PCRE2 with a match limit
 *
 * Found anywhere in the text; `.` does not match a line's end, `^` and `$` are the text's, as in Go.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"

struct probe_regex; /* private to probe_regex.c; immutable, any thread */

/* AP_E_PARSE: the expression is none; AP_E_LIMIT: too long or too complex. */
ap_nodiscard enum ap_rc probe_regex_new(struct ap_slice text, struct probe_regex **ret_regex, struct ap_err *err);
void probe_regex_free(struct probe_regex *regex); /* NULL is allowed */
AP_DEFINE_AUTO(probe_regex, struct probe_regex, probe_regex_free)

const char *probe_regex_text(const struct probe_regex *regex);
bool probe_regex_finds(const struct probe_regex *regex, struct ap_slice text);
/* When it is found: appends `replacement` with its $1, ${1}, ${name} filled in. */
bool probe_regex_expand(const struct probe_regex *regex, struct ap_slice text, struct ap_slice replacement,
                        struct ap_buf *out);
