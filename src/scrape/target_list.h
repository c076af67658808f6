/*
 * scrape/target_list.h - from what was found to what is asked: labels completed, relabelled, checked
 *
 * The rules are Prometheus 3's: `__address__` gets no port of its own, `__scheme__`, `__metrics_path__`,
 * `__scrape_interval__`, `__scrape_timeout__` and `__param_NAME` say how it is asked, all labels that begin with "__"
 * are gone from its series, and `instance` is the address unless a rule says otherwise. A collector's target keeps its
 * address as it is, and its parameter `target` is the address unless it has one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/rc.h"
#include "base/slice.h"
#include "scrape/scraper.h"
#include "scrape/target_groups.h"

struct job;

/* One that cannot be asked, and why. */
struct target_failure {
    struct ap_slice discovered; /* canonical */
    const char *reason;
};

/* What the groups of a job come to. In the caller's memory; all else in its arena. */
struct target_list {
    struct scrape_target **items; /* no two alike, in order of their hashes; the job is the caller's */
    size_t count;
    struct ap_slice *dropped; /* labels before relabelling, canonical; as many as keep_dropped_targets lets be kept */
    size_t dropped_kept;
    uint64_t dropped_count;
    struct target_failure *failures;
    size_t failure_count;
    size_t item_capacity, dropped_capacity, failure_capacity;
    struct ap_arena arena;
};
void target_list_init(struct target_list *list);
void target_list_clear(struct target_list *list);
#define AP_AUTO_TARGET_LIST __attribute__((cleanup(target_list_clear)))

/* May be called for several. */
void target_list_add(struct target_list *list, const struct job *job, const struct target_groups *groups);
/* Puts the targets in order, removes those that are alike, counts the rest; then the list is complete. */
void target_list_finish(struct target_list *list, const struct job *job);
