/*
 * rules/manager.h - all groups of all rule files, each evaluated when it is due
 *
 *     rule files ──rule_manager_open(), _reload()──► groups ──due──► threads: group_run_evaluate() ──► keep()
 *                                                       └── rule_manager_lock() ──► who asks what they know
 *
 * A group's evaluations are at whole multiples of its interval plus a phase that comes from its file and name: groups
 * are spread over the interval, and stay where they were after a restart. What cannot be evaluated in time is left out
 * and counted, never queued.
 *
 * Threads: all functions from any thread, _open(), _start(), _stop() and _close() from one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "rules/group.h"

struct rule_manager; /* private to manager.c */

struct rule_manager_options {
    struct rules_world world;
    const struct yaml_texts *patterns; /* lent; rules/rule_files.h */
    /*
     * Beside those of the files: groups that are there already, checked; lent, until others take their place. File and
     * name are those of no other.
     */
    const struct rule_group *const *groups;
    size_t group_count;
    bool is_experimental;
    int64_t interval_ms; /* of groups that say none; above 0 */
    uint32_t thread_count;
    /* When rules are loaded: told of each whose SQL the warehouse does not understand. It stays, and fails. */
    rule_file_report_fn report; /* NULL: nobody asks */
    void *report_context;
};

/* Loads the rule files. AP_E_NOT_FOUND, AP_E_IO, AP_E_PARSE, AP_E_LIMIT: `err` has the first thing that is wrong. */
ap_nodiscard enum ap_rc rule_manager_open(const struct rule_manager_options *options, struct rule_manager **ret_manager,
                                          struct ap_err *err);
/* From now on groups are evaluated. */
ap_nodiscard enum ap_rc rule_manager_start(struct rule_manager *manager, struct ap_err *err);
/* Cancels the evaluations under way and waits for their end; no others are begun. */
void rule_manager_stop(struct rule_manager *manager);
/* Stops too. The series stay as they are: who starts again goes on with them. */
void rule_manager_close(struct rule_manager *manager); /* NULL is allowed */
AP_DEFINE_AUTO(rule_manager, struct rule_manager, rule_manager_close)

/*
 * Reads the rule files again. A rule of the same name and labels in a group of the same file and name goes on with its
 * series and alerts; the series of rules that are gone end, and their alerts are told to be over, unless the same rule
 * stands elsewhere. On failure (as of _open()) everything stays as it was.
 */
ap_nodiscard enum ap_rc rule_manager_reload(struct rule_manager *manager, struct ap_err *err);
/* These in place of options.groups, in the same way; those of files stay. The ones before are not needed any more. */
void rule_manager_regroup(struct rule_manager *manager, const struct rule_group *const *groups, size_t count);

/* Evaluates one group that is due: what the threads do over and over. Milliseconds until the next one is due. */
int64_t rule_manager_step(struct rule_manager *manager);

/* ---- Reading ---- */

struct rule_manager_stats {
    uint64_t group_count;
    uint64_t rule_count;
    uint64_t evaluations; /* of rules, since the start; as the next two */
    uint64_t failures;
    uint64_t missed;        /* evaluations of groups that were left out */
    uint64_t pending_count; /* alerts */
    uint64_t firing_count;
    uint64_t no_data_count; /* rules whose last evaluation came to that */
    uint64_t error_count;
    uint64_t is_reload_good; /* 0: the rule files could not be read the last time; those before are in effect */
    int64_t loaded_ms;       /* when the rule files in effect were read */
};
void rule_manager_stats_get(struct rule_manager *manager, struct rule_manager_stats *ret_stats);

/* Groups in order of file and name, lent until _unlock(); no reload in between. Returns how many. */
size_t rule_manager_lock(struct rule_manager *manager);
void rule_manager_unlock(struct rule_manager *manager);
struct rule_manager_group {
    struct group_run *run;
    int64_t interval_ms;
};
struct rule_manager_group rule_manager_group(const struct rule_manager *manager, size_t index);
