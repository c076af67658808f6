/*
 * ingest/push_family.h - a metric family that somebody pushed: its series, each with one value and no time
 *
 * What the parts of a family are called, and which series belong to one, is the exposition formats' matter
 * (push_body.h): h_bucket, h_sum and h_count are series of the family h.
 *
 * Immutable once complete. One owner, no locks.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "tsdb/batch.h"

struct push_series {
    struct labels_hash hash; /* of the labels, with the store's seed */
    double value;
    uint32_t labels_at; /* in push_family.text */
    uint32_t labels_bytes;
    uint32_t blob_at;
    uint32_t blob_bytes; /* of a native histogram, as histogram_encode() made it; 0: a number */
};

struct push_family {
    uint64_t name_hash; /* push_name_hash() */
    int64_t pushed_us;
    enum metadata_type type;
    uint32_t name_bytes; /* at the beginning of text */
    uint32_t help_at;
    uint32_t help_bytes;
    struct ap_buf text;         /* all texts and labels */
    struct push_series *series; /* owned; by hash once push_family_complete() was called */
    size_t count;
    size_t capacity;
};

struct push_family *push_family_new(struct ap_slice name, enum metadata_type type);
void push_family_free(struct push_family *family); /* NULL is allowed */
AP_DEFINE_AUTO(push_family, struct push_family, push_family_free)

uint64_t push_name_hash(struct ap_slice name);
struct ap_slice push_family_name(const struct push_family *family);
struct ap_slice push_family_help(const struct push_family *family);
struct ap_slice push_series_labels(const struct push_family *family, const struct push_series *series);
struct ap_slice push_series_blob(const struct push_family *family, const struct push_series *series);

void push_family_set_help(struct push_family *family, struct ap_slice help);
/* Canonical labels. `blob` is empty for a number. */
void push_family_add(struct push_family *family, uint64_t hash_seed, struct ap_slice labels, double value,
                     struct ap_slice blob);
/* After the last of them. */
void push_family_complete(struct push_family *family);
/* Of a complete one; NULL: not there. */
const struct push_series *push_family_find(const struct push_family *family, struct labels_hash hash);
size_t push_family_bytes(const struct push_family *family); /* of memory, about */

/*
 * The series as bytes, and back: docs/format/pushed.md. What was stored is outside, too: AP_E_CORRUPT, and the family
 * is as it was but for series that were read before.
 */
void push_family_encode(const struct push_family *family, struct ap_buf *out);
ap_nodiscard enum ap_rc push_family_decode(struct push_family *family, uint64_t hash_seed, struct ap_slice bytes,
                                           struct ap_err *err);
