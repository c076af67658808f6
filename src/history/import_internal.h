/* history/import_internal.h - what the import*.c files share */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "history/import.h"
#include "history/import_state.h"

struct import_unit {
    int64_t min_ts_ms; /* both inclusive */
    int64_t max_ts_ms;
    uint64_t fingerprint;
    uint64_t samples_estimate;
    bool is_done;
    /* What a thread made of it. */
    char id[BLOCK_ID_BYTES]; /* the staged block; "": nothing was in it */
    uint64_t series;
    uint64_t samples;
};

struct history_import {
    struct history_import_options options;
    char *tsdb_dir; /* owned, as options.dir, which is the source's */
    int lock_fd;    /* import/lock, once something was asked for that changes or compares; -1 */
    struct history_source *source;
    struct history_trouble trouble; /* tells options.trouble */
    struct history_trouble silence; /* counts for nobody: what is read again */
    struct history_facts facts;
    struct import_unit *units; /* owned; the oldest first */
    size_t unit_count;
    struct import_state state;
    _Atomic uint64_t samples_done; /* of the phase */
    /* Of the threads of a phase; under mtx. */
    pthread_mutex_t mtx;
    struct prometheus_refusals refusals;
};

/* Writes what the source has of the unit as a block below staging_fd; import_unit.c. Any thread. */
ap_nodiscard enum ap_rc import_unit_build(struct history_import *import, struct import_unit *unit, int staging_fd,
                                          struct ap_err *err);
struct history_merge *import_unit_merge(struct history_import *import, const struct import_unit *unit,
                                        struct history_trouble *trouble);

/*
 * Calls `work` for every unit that is not done (`is_all`: for every one), on as many threads as the options say, and
 * `finish` on the caller's thread for each that succeeded, in order of finishing. The first failure ends all.
 */
struct import_work {
    enum ap_rc (*work)(struct history_import *import, struct import_unit *unit, void *context, struct ap_err *err);
    enum ap_rc (*finish)(struct history_import *import, struct import_unit *unit, void *context, struct ap_err *err);
    void *context;
    enum history_phase phase;
    bool is_all;
};
ap_nodiscard enum ap_rc import_work_run(struct history_import *import, const struct import_work *work,
                                        struct ap_err *err);

/* Exemplars and metadata of the log, by the ordinary way in; import_extras.c. */
ap_nodiscard enum ap_rc import_extras(struct history_import *import, const struct history_store *store,
                                      struct history_report *report, struct ap_err *err);
