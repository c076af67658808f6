/*
 * scrape/relabel.h - rules that change a set of labels or drop it: Prometheus' <relabel_config>
 *
 * One function for all that is relabelled: targets (relabel_configs), what they tell (metric_relabel_configs), and what
 * /api/v1/targets/relabel_steps shows. Rules are immutable and may be applied by any number of threads.
 *
 *     AP_AUTO_ARENA struct ap_arena arena = {0};
 *     struct relabel_labels labels;
 *     relabel_labels_init(&labels, &arena);
 *     relabel_labels_add(&labels, canonical);
 *     if (relabel_apply(rules, &labels) == RELABEL_KEPT)
 *         rc = labels_encode(labels.items, labels.count, &out, err);
 *
 * All names and values that come in are UTF-8: the caller has checked them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "tsdb/labels.h"

struct yaml_node;
struct relabel_rules; /* private to relabel.c */

enum { RELABEL_RULES_MAX = 1000, RELABEL_VALUE_BYTES_MAX = 1 << 20 };

/* ---- The labels ---- */

/* A set that changes; no value is empty. Names and values are lent by who set them, those that rules make by `arena`.
 */
struct relabel_labels {
    struct label *items; /* in the arena; in the order in which they were set */
    size_t count;
    size_t capacity;
    size_t given_count; /* the first ones were there before any rule */
    struct ap_arena *arena;
};
void relabel_labels_init(struct relabel_labels *labels, struct ap_arena *arena);
/* All of a canonical set, which is lent. */
void relabel_labels_add(struct relabel_labels *labels, struct ap_slice canonical);
/* Empty when there is none. */
struct ap_slice relabel_labels_get(const struct relabel_labels *labels, struct ap_slice name);
/* An empty value removes the label. */
void relabel_labels_set(struct relabel_labels *labels, struct ap_slice name, struct ap_slice value);
/* Puts all of them in order of their names, so that it is no matter of chance in which order rules find them. */
void relabel_labels_sort(struct relabel_labels *labels);

/* ---- Rules ---- */

/*
 * Reads a list of rules and checks it as Prometheus does; names may be of any UTF-8, or with `is_utf8` false of
 * [a-zA-Z_][a-zA-Z0-9_]* only. AP_E_PARSE, AP_E_LIMIT: `err` has the place. *ret_rules is NULL when the list is empty.
 */
ap_nodiscard enum ap_rc relabel_rules_read(const struct yaml_node *list, bool is_utf8, struct relabel_rules **ret_rules,
                                           struct ap_err *err);
void relabel_rules_free(struct relabel_rules *rules); /* NULL is allowed */
AP_DEFINE_AUTO(relabel_rules, struct relabel_rules, relabel_rules_free)

enum relabel_result {
    RELABEL_KEPT,
    RELABEL_DROPPED,
    RELABEL_TOO_LARGE, /* a rule made a value of more than RELABEL_VALUE_BYTES_MAX, or too many labels */
};

/* All rules, in order; NULL is none. When the labels are not kept, they are as the rule found them that decided so. */
enum relabel_result relabel_apply(const struct relabel_rules *rules, struct relabel_labels *labels);

/* ---- One by one, for who wants to see ---- */

size_t relabel_rules_count(const struct relabel_rules *rules); /* NULL: 0 */
enum relabel_result relabel_apply_one(const struct relabel_rules *rules, size_t index, struct relabel_labels *labels);
/* As Prometheus has a rule in JSON: {"sourceLabels":["a"],"separator":";",...}. */
void relabel_rule_json(const struct relabel_rules *rules, size_t index, struct ap_buf *out);
