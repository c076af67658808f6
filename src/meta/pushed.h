/*
 * meta/pushed.h - groups of metrics that somebody pushed, so that a restart goes on writing them
 *
 * Bytes and texts are the pusher's (ingest/push.h, docs/format/pushed.md); here they are only kept. Changes are made
 * between pushed_begin() and pushed_commit(), which puts them on disk.
 */
#pragma once

#include <stdint.h>

#include "base/rc.h"
#include "base/slice.h"
#include "meta/meta.h"

struct pushed_group {
    struct ap_slice labels; /* canonical: what it is known by */
    int64_t pushed_us;      /* 0: never with success */
    int64_t failed_us;      /* 0: never */
};
struct pushed_family {
    struct ap_slice name;
    struct ap_slice help;
    int64_t type;
    int64_t pushed_us;
    struct ap_slice series;
};

ap_nodiscard enum ap_rc pushed_begin(struct meta *meta, struct ap_err *err);
ap_nodiscard enum ap_rc pushed_commit(struct meta *meta, struct ap_err *err);
void pushed_rollback(struct meta *meta);

/* Each puts what is given in place of what there was. */
ap_nodiscard enum ap_rc pushed_put_group(struct meta *meta, const struct pushed_group *group, struct ap_err *err);
ap_nodiscard enum ap_rc pushed_put_family(struct meta *meta, struct ap_slice group, const struct pushed_family *family,
                                          struct ap_err *err);
ap_nodiscard enum ap_rc pushed_delete_group(struct meta *meta, struct ap_slice group, struct ap_err *err);
/* All of a group's; the group stays. */
ap_nodiscard enum ap_rc pushed_delete_families(struct meta *meta, struct ap_slice group, struct ap_err *err);

/* Every group, each followed by its families (group NULL); what they point to is lent for the call. */
typedef enum ap_rc (*pushed_fn)(const struct pushed_group *group, const struct pushed_family *family, void *context,
                                struct ap_err *err);
ap_nodiscard enum ap_rc pushed_each(struct meta *meta, pushed_fn each, void *context, struct ap_err *err);
