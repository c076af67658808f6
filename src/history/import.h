/*
 * history/import.h - the history of a Prometheus into the time-series store
 *
 *     source ──► units: aligned spans of time ──► staging/<id>, a block ──► the store (store.h) adopts it
 *                    │ some at a time                   │ noted                  │ noted
 *                    └─────────────── import/state: what became of each unit ───┘
 *
 * A unit is the step that is done or not: killed at any moment, the next run goes on behind the last one that was
 * noted, and what was half done is done again; since adopting leaves out what is there, nothing is ever there twice. A
 * unit is known by what it was made of (blocks, selectors, span), so a directory that has grown is read for what is
 * new.
 *
 * A staged block that the store finds damaged is put aside in quarantine/, and its unit is one that is not done.
 *
 * One thread calls; it starts others and ends them before it returns.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "history/source.h"
#include "history/store.h"
#include "tsdb/tsdb.h"

struct history_import; /* private to import*.c */

enum history_phase { HISTORY_OPENING, HISTORY_IMPORTING, HISTORY_VERIFYING };

/* How far it is; in blocks while opening, then in samples. */
struct history_progress {
    enum history_phase phase;
    uint64_t done;
    uint64_t total; /* an estimate */
};

struct history_import_options {
    const char *dir;      /* of the Prometheus */
    const char *tsdb_dir; /* the store's, for staging/ and import/ */
    const struct ap_clock *clock;
    int64_t from_ms; /* both inclusive */
    int64_t to_ms;
    const struct matchers *selectors; /* lent; a series has to match one of them */
    size_t selector_count;            /* 0: all */
    struct ap_slice selectors_text;   /* for recognising a unit */
    size_t memory_bytes;              /* for samples of logs, of all threads together */
    unsigned thread_count;
    int64_t block_range_ms;
    int64_t unit_ms_max;
    uint64_t free_bytes_min; /* of the store's disk: with less than that no step begins */
    void (*progress)(const struct history_progress *progress, void *context); /* on the caller's thread */
    void (*trouble)(const struct ap_err *err, void *context);                 /* damage, one call each; any thread */
    void *context;
};

struct history_facts {
    uint64_t block_count;
    uint64_t damaged_blocks;
    uint64_t block_series; /* summed up over blocks */
    uint64_t block_samples;
    uint64_t block_bytes;
    struct prometheus_head_facts head;
    int64_t first_ts_ms; /* of what is to be taken; INT64_MAX: nothing */
    int64_t last_ts_ms;
    int64_t future_ts_ms;    /* newest sample beyond what the store takes; 0: none */
    uint64_t refused_series; /* with labels that the store does not take; of blocks, summed up */
    struct ap_err refusal;
    uint64_t unit_count;
    uint64_t units_done; /* by earlier runs */
    int64_t unit_ms;
    uint64_t samples_estimate;
};

struct history_report {
    uint64_t units;
    uint64_t series; /* summed up over units */
    uint64_t samples_read;
    uint64_t samples_added;
    uint64_t samples_same;
    uint64_t samples_other;
    uint64_t histograms_refused;
    struct ap_err refusal; /* the first one */
    uint64_t exemplars;
    uint64_t metadata;
};

/* What a series is in the source, and what the store gives back of it. */
struct history_difference {
    struct ap_slice labels; /* lent */
    int64_t min_ts_ms;      /* of the span that was compared */
    int64_t max_ts_ms;
    uint64_t source_count;
    uint64_t store_count; /* at the times that the source has */
    uint64_t other_count; /* of these, how many have another value */
    uint64_t source_checksum;
    uint64_t store_checksum;
};
struct history_verification {
    uint64_t series; /* summed up over units, as the others */
    uint64_t samples;
    uint64_t checksum; /* of all samples of the source; of the store as well when nothing differs */
    uint64_t store_checksum;
    uint64_t differing_series;
    uint64_t missing_samples;
    uint64_t other_samples;
};

/* Opens the source and plans; changes nothing. */
ap_nodiscard enum ap_rc history_import_open(const struct history_import_options *options,
                                            struct history_import **ret_import, struct ap_err *err);
void history_import_close(struct history_import *import); /* NULL is allowed */
AP_DEFINE_AUTO(history_import, struct history_import, history_import_close)
void history_import_facts(const struct history_import *import, struct history_facts *ret_facts);
uint64_t history_import_damages(const struct history_import *import); /* told so far */

/* Locks the store's directory against other imports, as history_import_run() does by itself. */
ap_nodiscard enum ap_rc history_import_lock(struct history_import *import, struct ap_err *err);

/*
 * Takes in what is not there yet. AP_E_CONFLICT: another import is at work on the same store, which is locked from then
 * on until this one is closed. What was done before a failure stays done.
 */
ap_nodiscard enum ap_rc history_import_run(struct history_import *import, const struct history_store *store,
                                           struct history_report *ret_report, struct ap_err *err);

/* Reads both again and compares every sample; `each` is called for every series that differs, on the caller's thread.
 */
ap_nodiscard enum ap_rc history_import_verify(struct history_import *import, struct tsdb *tsdb,
                                              void (*each)(const struct history_difference *difference, void *context),
                                              void *context, struct history_verification *ret_verification,
                                              struct ap_err *err);
