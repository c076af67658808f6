/*
 * rules/evaluation.h - one evaluation of one rule, under way: what it gives, and what it leaves for the next one
 *
 *     memory before ──►┌────────────┐──► samples: the rule's series, and ends of those that it gives no more
 *     answer ─────────►│ evaluation │
 *                      └────────────┘──► memory next
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"
#include "rules/alert.h"
#include "rules/world.h"
#include "tsdb/labels.h"

struct alert_texts;

/* What one evaluation of a rule leaves for the next. */
struct rule_memory {
    struct ap_arena arena;   /* of what the others point to */
    struct ap_slice *series; /* owned; that it gave, sorted */
    size_t series_count;
    struct alert *alerts; /* owned; sorted by labels */
    size_t alert_count;
};
void rule_memory_init(struct rule_memory *memory);
void rule_memory_clear(struct rule_memory *memory);

struct evaluation {
    /* Of the rule and of this time; all lent. */
    struct alert_round round;
    const char *reason;   /* of RULE_CONDITION_ERROR */
    int64_t sample_ts_ms; /* of the query, and of what comes of it */
    int64_t limit;        /* series or alerts; 0: any number */
    const struct rules_world *world;
    const struct alert_texts *texts; /* of an alerting rule */
    const struct rule_memory *before;
    /* What comes of it. */
    struct rule_memory next;
    struct rules_sample *samples; /* owned; labels are those of either memory */
    size_t sample_count;
    size_t sample_capacity;
    bool is_over_limit; /* alerts of before must not go on: there are more than anybody looks at */
    struct ap_buf bytes;
};
/* The fields of the first part are set by then. */
void evaluation_begin(struct evaluation *evaluation);
/* Forgets what came of it. */
void evaluation_begin_again(struct evaluation *evaluation);
void evaluation_clear(struct evaluation *evaluation);

/* Copied into the next memory. */
struct ap_slice evaluation_copy(struct evaluation *evaluation, struct ap_slice bytes);

/* Labels that a rule changes before they name a series or an alert. */
struct label_set {
    struct label labels[2 * LABELS_COUNT_MAX];
    size_t count;
    bool is_full; /* some did not fit */
};
void label_set_from(struct label_set *set, struct ap_slice labels);
void label_set_put(struct label_set *set, const char *name, struct ap_slice value); /* "": the label goes */
/* In canonical form, in the next memory. AP_E_LIMIT: too many. */
ap_nodiscard enum ap_rc evaluation_seal(struct evaluation *evaluation, struct label_set *set,
                                        struct ap_slice *ret_labels, struct ap_err *err);

/* `labels` are of the next memory. */
void evaluation_add(struct evaluation *evaluation, struct ap_slice labels, double value,
                    const struct float_histogram *histogram);
void evaluation_sort(struct evaluation *evaluation); /* by labels */
/* With all samples there and sorted: series of before that are not among them end with a staleness marker. */
void evaluation_end_series(struct evaluation *evaluation);
