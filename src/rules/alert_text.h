/*
 * rules/alert_text.h - what an alerting rule says of a sample: its labels and annotations with their templates run
 */
#pragma once

#include "base/mem.h"
#include "rules/rule_file.h"
#include "rules/world.h"

struct alert_texts; /* parsed; immutable */
/* The rule's file was checked: a template that does not parse is a bug. `rule` must stay. */
struct alert_texts *alert_texts_new(const struct rule *rule);
void alert_texts_free(struct alert_texts *texts); /* NULL is allowed */

/*
 * `summary` NULL: about a sample. Otherwise about what there is no sample of: it takes the place of the annotation of
 * that name, and annotations that speak of labels or a value are left out.
 *
 * A template that fails leaves "<error expanding template: …>", as in Prometheus: the alert is what counts.
 */
struct alert_expansion;
struct alert_expansion *alert_expand(const struct alert_texts *texts, const struct rules_world *world,
                                     const struct rules_sample *sample, const char *summary, int64_t ts_ms);
void alert_expansion_free(struct alert_expansion *expansion);
AP_DEFINE_AUTO(alert_expansion, struct alert_expansion, alert_expansion_free)
struct ap_slice alert_expansion_label(const struct alert_expansion *expansion, size_t index); /* as rule->labels */
struct ap_slice alert_expansion_annotations(const struct alert_expansion *expansion);         /* as alert.annotations */
