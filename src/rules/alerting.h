/*
 * rules/alerting.h - what an alerting rule makes of an answer: its alerts, and of those the series ALERTS and
 * ALERTS_FOR_STATE
 */
#pragma once

#include "rules/evaluation.h"
#include "rules/question.h"

/*
 * Fills evaluation->next.alerts and the samples, these sorted. AP_E_CONFLICT: labels do not tell two alerts apart;
 * AP_E_LIMIT: more alerts or labels than there may be.
 */
ap_nodiscard enum ap_rc alerting_evaluate(struct evaluation *evaluation, const struct rules_vector *vector,
                                          struct ap_err *err);
