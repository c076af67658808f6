/*
 * cli/range_query.h - what PromQL gave over a span of time, asked of a running server
 *
 * A span with more steps than a server answers at once is asked piece by piece, the newest first. A piece that cannot
 * be evaluated is asked in halves until it is known at which steps it cannot:
 *
 *     ┌───────────────┬───────┬───┬─┬─┐
 *     │       ✓       │   ✓   │ ✓ │✗│✓│        many-to-many matching at one step of so many
 *     └───────────────┴───────┴───┴─┴─┘
 */
#pragma once

#include "base/rc.h"
#include "cli/range_answer.h"
#include "cli/remote.h"

enum { RANGE_QUERY_QUESTIONS_MAX = 500 };

/*
 * Into `answer`, just initialised, which says when. What is not known after RANGE_QUERY_QUESTIONS_MAX questions is left
 * out: answer->first. On failure `err` has what the server says, or why it cannot be asked. A histogram is a point of
 * the value 0, as an alert about one is.
 */
ap_nodiscard enum ap_rc range_query_ask(const struct remote *remote, struct ap_slice query, struct range_answer *answer,
                                        struct ap_err *err);
