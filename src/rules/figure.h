/*
 * rules/figure.h - the figure that a rule's PromQL looks at
 *
 *     errors / total > 0.05                      errors / total > bool 0.05
 *     count(up == 0) > 2 and on() is_on          count(up == bool 0) > bool 2
 *
 * An expression that compares gives nothing when all is well, and nothing as well when there is nothing to compare.
 * What tells the two apart is the same expression with nothing left out by a comparison: its values mean nothing, but
 * it gives none only when the figure itself is not there.
 */
#pragma once

#include "base/buf.h"
#include "promql/ast.h"

/*
 * AP_E_CONFLICT: the expression asks for absence itself (absent, absent_over_time). Changes the tree; `out` is PromQL
 * on one line.
 */
ap_nodiscard enum ap_rc figure_print(struct promql_expr *expr, struct ap_buf *out, struct ap_err *err);
