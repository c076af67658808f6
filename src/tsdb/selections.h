/*
 * tsdb/selections.h - which series matchers select, for when the same is asked again
 *
 * Rules and dashboards ask for the same series every few seconds, and which these are changes seldom. A selection is
 * kept until a series comes or goes that has what every matcher of one value wants (registry_last_change()): a new
 * target touches its own job's selections, not those of the others.
 *
 * Threads: any, with the registry's lock held at least for reading. The lock inside is a leaf.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "tsdb/registry.h"

struct selections; /* private to selections.c */

struct selection {
    uint32_t holder_count; /* atomic */
    uint32_t count;
    struct labels_hash key; /* of the matchers */
    uint64_t change;        /* registry_change() when it was made */
    uint64_t used;          /* under the lock of `selections` */
    uint32_t refs[];        /* in order of their labels */
};

/* Keeps up to `refs_max` refs; selections that would take more than an eighth of that are made anew each time. */
struct selections *selections_new(size_t refs_max);
void selections_free(struct selections *selections); /* NULL is allowed */
AP_DEFINE_AUTO(selections, struct selections, selections_free)

/* All live series that the matchers hold for. The caller's to unref. */
struct selection *selections_get(struct selections *selections, const struct registry *registry,
                                 const struct matchers *matchers);
void selection_unref(struct selection *selection); /* NULL is allowed */
AP_DEFINE_AUTO(selection, struct selection, selection_unref)

size_t selections_refs(struct selections *selections); /* that are kept */
