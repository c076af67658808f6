/*
 * tsdb/registry.h - the series of the head: label sets interned once, found by hash and by label
 *
 *     labels ──hash──► ref                      which series is this sample of
 *     matchers ──► postings ──► refs ──► labels which series does this query want
 *
 * A series is known by a dense number, its ref. Each distinct name-value pair is kept once (a pair), and a series is
 * the list of its pairs' numbers. A pair's postings are the refs of the series that have it: nothing, one ref, a short
 * sorted array, or a roaring bitmap, by their number. A ref that was removed is given to another series later, but not
 * before registry_reuse_removed().
 *
 * Threads: a readers-writer lock that the caller takes, because callers look up thousands of series at a time.
 * Functions that end in _locked need it for writing, the others at least for reading.
 */
#pragma once

#include <roaring/roaring.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"
#include "tsdb/labels.h"
#include "tsdb/matcher.h"

struct registry; /* private to registry.c */

#define REGISTRY_NONE UINT32_MAX

struct registry *registry_new(uint64_t seed);
void registry_free(struct registry *registry); /* NULL is allowed */
AP_DEFINE_AUTO(registry, struct registry, registry_free)

void registry_read_lock(struct registry *registry);
void registry_write_lock(struct registry *registry);
void registry_unlock(struct registry *registry);

uint64_t registry_seed(const struct registry *registry);
size_t registry_count(const struct registry *registry);     /* live series; callable without the lock */
uint32_t registry_ref_end(const struct registry *registry); /* all refs are below; callable without the lock */

/* The series with this hash, or REGISTRY_NONE. registry_prefetch() some look-ups ahead hides the memory's latency. */
uint32_t registry_find(const struct registry *registry, struct labels_hash hash);
void registry_prefetch(const struct registry *registry, struct labels_hash hash);
/* Whether this is the live series with this hash; any number may be asked. Series that came together lie together. */
bool registry_is(const struct registry *registry, uint32_t ref, struct labels_hash hash);

/*
 * Adds a series that registry_find() does not know; `labels` is canonical and was checked. The ref is the caller's
 * choice when the series comes from a file or the log (it must be free), or REGISTRY_NONE: the lowest reusable, else
 * the next one.
 */
uint32_t registry_add_locked(struct registry *registry, struct ap_slice labels, struct labels_hash hash, uint32_t ref);

/* Takes the series out of hash table and postings. Its labels stay readable until registry_reuse_removed(). */
void registry_remove_locked(struct registry *registry, const roaring_bitmap_t *refs);
/* From here on the refs removed earlier may be given out again. */
void registry_reuse_removed_locked(struct registry *registry);

bool registry_has(const struct registry *registry, uint32_t ref); /* live */
struct labels_hash registry_hash(const struct registry *registry, uint32_t ref);
/* Appends the canonical labels of a series, live or removed and not yet reused. */
void registry_labels(const struct registry *registry, uint32_t ref, struct ap_buf *out);
/* Of some live series that are asked next: fetches their memory for all of them together. */
void registry_prefetch_labels(const struct registry *registry, const uint32_t *refs, size_t count);

/* The live series that all matchers hold for. free with roaring_bitmap_free(). */
roaring_bitmap_t *registry_select(const struct registry *registry, const struct matchers *matchers);

/*
 * A number that grows as series come and go. registry_select() says what it said when the number was N, if
 * registry_last_change() is not above N now: then nothing has come or gone since that has all pairs which the matchers
 * name. UINT64_MAX: it cannot be told, since no matcher names one pair that there is.
 */
uint64_t registry_change(const struct registry *registry);
uint64_t registry_last_change(const struct registry *registry, const struct matchers *matchers);

/* Puts live series in order of their labels (labels_compare()). */
void registry_sort(const struct registry *registry, uint32_t *refs, size_t count);

/* Calls `each` for every label name, or every value of `name`, that some live series has, in order of bytes, until it
 * returns false. Does not visit series. */
typedef bool (*registry_text_fn)(struct ap_slice text, uint64_t series_count, void *context);
void registry_each_name(const struct registry *registry, registry_text_fn each, void *context);
void registry_each_value(const struct registry *registry, struct ap_slice name, registry_text_fn each, void *context);
/* The same, of these live series alone; series_count counts among them. */
void registry_each_name_of(const struct registry *registry, const roaring_bitmap_t *refs, registry_text_fn each,
                           void *context);
void registry_each_value_of(const struct registry *registry, struct ap_slice name, const roaring_bitmap_t *refs,
                            registry_text_fn each, void *context);

/* Figures for the cardinality page and /api/v1/status/tsdb; each list has the largest first. */
struct registry_top {
    struct ap_slice name;  /* lent until the lock is released */
    struct ap_slice value; /* of pairs only */
    uint64_t count;
};
struct registry_stats {
    uint64_t series_count;
    uint64_t pair_count;
    uint64_t name_count;
    uint64_t created_count; /* since registry_new() */
    uint64_t removed_count;
    uint64_t memory_bytes;
    uint64_t pair_memory_bytes; /* of these: pairs with their strings, without postings */
};
void registry_stats_get(const struct registry *registry, struct registry_stats *ret_stats);
enum registry_top_kind {
    REGISTRY_TOP_METRICS,     /* by series */
    REGISTRY_TOP_LABEL_NAMES, /* by number of values */
    REGISTRY_TOP_LABEL_BYTES, /* by bytes of their values */
    REGISTRY_TOP_PAIRS,       /* by series */
};
/* Fills up to `max` entries; returns how many. */
size_t registry_top(const struct registry *registry, enum registry_top_kind kind, struct registry_top *ret_top,
                    size_t max);

/*
 * ---- On disk: a file that only grows, docs/format/tsdb.md, "Series file" ----
 *
 * registry_encode() gives `write` checksummed batches with the series that were added or removed since the last call
 * that was followed by registry_encoded_locked() (`is_all`: every live series, for a file made anew), pairs coded by
 * number, so that reading it is a copy and not a parse. When a batch could not be written, the next call must be
 * `is_all`: numbers of pairs that the lost one gave out would be missing. One caller at a time; it locks by itself,
 * and not while it writes.
 *
 * registry_decode_locked() adds the series of the next batch of `*rest` and moves *rest behind it: AP_E_CORRUPT when it
 * is damaged (none of its series is added; reading further makes no sense, batches build on those before). Only
 * registry_find() and other reading comes between the batches of a file; registry_encoded_locked() ends it.
 */
typedef enum ap_rc (*registry_batch_fn)(struct ap_slice batch, void *context, struct ap_err *err);
ap_nodiscard enum ap_rc registry_encode(struct registry *registry, bool is_all, registry_batch_fn write, void *context,
                                        struct ap_err *err);
void registry_encoded_locked(struct registry *registry);
size_t registry_unsaved_count(const struct registry *registry);
ap_nodiscard enum ap_rc registry_decode_locked(struct registry *registry, struct ap_slice *rest, struct ap_err *err);
