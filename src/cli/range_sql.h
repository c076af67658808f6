/*
 * cli/range_sql.h - what a rule's SQL gives over a span of time, asked of a running server
 *
 * There is no question for a whole span: it is asked once for each step, with the step's time for $now, as the rule
 * would have been. The tables are as they are now: with rows that came late, and without those that are gone.
 */
#pragma once

#include <stdbool.h>

#include "base/rc.h"
#include "cli/range_answer.h"
#include "cli/remote.h"

enum { RANGE_SQL_STEPS_MAX = 500 };

/* Whether it asks for a time at all ($now, $from, $to): without one, each moment of the past gives today's answer. */
bool range_sql_has_time(struct ap_slice sql);

/*
 * The points that meet the rule's threshold, into `answer`, just initialised, which says when: at most
 * RANGE_SQL_STEPS_MAX steps. Which of them have no figure, or cannot be evaluated, is in its steps. On failure `err`
 * has what the server says, or why it cannot be asked.
 */
ap_nodiscard enum ap_rc range_sql_ask(const struct remote *remote, const struct rule *rule, struct range_answer *answer,
                                      struct ap_err *err);
