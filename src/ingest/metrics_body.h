/*
 * ingest/metrics_body.h - a request's body once decoded: a batch, the memory that it lends, and what was refused
 *
 * The decoders (remote_write.h, remote_write2.h, metrics_import.h) fill one. Labels are lent from the body where they
 * lie there as one run of bytes, and from the arena otherwise. What cannot be right is refused here and counted, and
 * the rest is kept; whether a label set is sound or a sample comes too late is the store's to say.
 *
 * A body is reused from request to request, so that the usual one allocates nothing. One owner, no locks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "tsdb/batch.h"

enum {
    METRICS_SERIES_MAX = 1 << 20,          /* of one request; a client's four bytes can become 64 of ours */
    METRICS_SAMPLES_MAX = 1 << 21,         /* the same for two and 16 */
    METRICS_ARENA_BYTES_MAX = 64 << 20,    /* 2.0's symbols are used again and again */
    METRICS_EXEMPLAR_CHARACTERS_MAX = 128, /* OpenMetrics: names and values of an exemplar's labels together */
    METRICS_REASON_BYTES = 256,
};

struct otlp_cache; /* ingest/otlp_cache.h */

struct metrics_body {
    /* The owner's, set once. */
    uint64_t hash_seed;
    bool is_injecting_start_zeros;
    /* The batch, and what it lends. */
    struct batch batch;
    struct ap_arena arena;
    char *arena_memory; /* owned; what the arena begins with */
    size_t arena_memory_bytes;
    char *unpacked; /* owned, until the reset: the request's bytes, where a protocol undoes a compression itself */
    size_t unpacked_bytes;
    /* What was refused; not in the batch. */
    uint64_t samples_refused;
    uint64_t histograms_refused;
    uint64_t exemplars_refused;
    char reason[METRICS_REASON_BYTES]; /* of the first refused sample or histogram; empty: none */
    char exemplar_reason[METRICS_REASON_BYTES];
    /* Working memory. */
    struct ap_buf labels;          /* of one label set */
    struct ap_buf blob;            /* of one histogram */
    struct ap_buf numbers[5];      /* of one histogram: both signs' spans and counts, custom values */
    struct ap_buf symbols;         /* 2.0: struct ap_slice of each */
    struct ap_buf metadata_cache;  /* 2.0: which metadata this request has told already */
    struct otlp_cache *otlp_cache; /* owned; NULL: none yet. Survives the reset */
    struct metrics_body *again;    /* owned, until the reset: of otlp_known.c */
};

struct metrics_body *metrics_body_new(uint64_t hash_seed, bool is_injecting_start_zeros);
void metrics_body_free(struct metrics_body *body); /* NULL is allowed */
AP_DEFINE_AUTO(metrics_body, struct metrics_body, metrics_body_free)

/* For the next request. Gives back what an unusually large one has needed. */
void metrics_body_reset(struct metrics_body *body);

/* A copy in the arena. AP_E_LIMIT: METRICS_ARENA_BYTES_MAX. */
ap_nodiscard enum ap_rc metrics_body_keep(struct metrics_body *body, struct ap_slice bytes, struct ap_slice *ret_kept,
                                          struct ap_err *err);

/* AP_E_LIMIT: the request has more series or samples than one may have. */
ap_nodiscard enum ap_rc metrics_body_check_size(const struct metrics_body *body, struct ap_err *err);

/* Adds an exemplar to the series added last, or refuses it; sorts `labels`. AP_E_LIMIT: the arena is full. */
ap_nodiscard enum ap_rc metrics_body_add_exemplar(struct metrics_body *body, struct label *labels, size_t label_count,
                                                  int64_t ts_ms, double value, struct ap_err *err);

/*
 * The series added last is complete. Without a metric's name it is refused: counted, and taken out again; also when
 * there is nothing in it.
 */
void metrics_body_end_series(struct metrics_body *body);
/* Refuses it in any case; `reason` is for people. */
void metrics_body_refuse_series(struct metrics_body *body, const char *reason);
/* Refuse one that is not in the batch. */
void metrics_body_refuse_sample(struct metrics_body *body, const char *reason);
void metrics_body_refuse_histogram(struct metrics_body *body, const char *reason);
void metrics_body_refuse_exemplar(struct metrics_body *body, const char *reason);

/* "`__name__` is there": one comparison where the label comes first, as it mostly does. */
bool metrics_body_has_name(struct ap_slice labels);
