/*
 * promql/annotations.h - what a query wants to say beside its answer
 *
 * Each text once, in order of first appearance, with the place in the query: "PromQL info: … (1:8)". Any thread.
 */
#pragma once

#include <pthread.h>
#include <stddef.h>

#include "base/rc.h"
#include "promql/ast.h"
#include "promql/engine.h"

enum { ANNOTATIONS_MAX = 1000 }; /* more different ones are not kept */

struct annotations {
    pthread_mutex_t mtx;
    struct ap_slice query; /* lent: for lines and columns */
    char **texts[2];       /* owned; by enum promql_annotation_kind */
    size_t counts[2];
    struct annotation_twin *twins; /* constant while there are threads */
    struct forced *forced;         /* by place in the query */
    size_t forced_count;
};

/* An expression that is not computed, as it is the same as one that is: what is said of that is said of this too. */
struct annotation_twin {
    const struct promql_expr *computed;
    const struct promql_expr *same;
    struct annotation_twin *next;
};

/* Counts of a classic histogram that fell where they have to rise: what was done about them. */
struct forced_buckets {
    bool is_forced;
    double lowest; /* upper bounds of the buckets that were raised */
    double highest;
    double difference; /* the largest */
};

void annotations_init(struct annotations *annotations, struct ap_slice query);
void annotations_clear(struct annotations *annotations);
/* Must stay as long as the annotations. */
void annotations_add_twin(struct annotations *annotations, struct annotation_twin *twin);
void annotate(struct annotations *annotations, enum promql_annotation_kind kind, const struct promql_expr *where,
              const char *format, ...) ap_printf(4, 5);
/* An info, one for all that is forced for the same expression; it tells of their extent. */
void annotate_forced(struct annotations *annotations, const struct promql_expr *where,
                     const struct forced_buckets *forced, int64_t ts_ms);
/* In double quotes with Go's escapes, cut where it is long: names in sentences. */
struct quoted_name {
    char text[512];
};
struct quoted_name quoted(struct ap_slice name);
