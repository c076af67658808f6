/*
 * tsdb/extras.h - what is about series and not in them: exemplars and metadata
 *
 * Exemplars live in a ring: the newest push the oldest out. Metadata is what senders said last of a metric family.
 * Both are in the log's records, and as a whole in the checkpoint. Whoever calls holds the owner's lock.
 */
#pragma once

#include <roaring/roaring.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "tsdb/batch.h"

struct exemplar {
    uint32_t ref; /* whose; REGISTRY_NONE when that series is gone */
    uint32_t labels_bytes;
    int64_t ts_ms;
    double value;
    char *labels; /* owned, canonical */
};

struct metadata_entry;

struct extras {
    struct exemplar *ring; /* owned, capacity entries */
    uint32_t capacity;
    uint32_t count;
    uint32_t next;                    /* where the next one goes */
    struct metadata_entry **metadata; /* owned, by metric name */
    size_t metadata_count;
    size_t metadata_capacity;
};

enum { EXTRAS_METADATA_MAX = 200 * 1000, EXTRAS_TEXT_BYTES_MAX = 4096 };

void extras_init(struct extras *extras, uint32_t exemplars_max);
void extras_clear(struct extras *extras);

enum exemplar_verdict { EXEMPLAR_NEW, EXEMPLAR_SAME, EXEMPLAR_OLD };
/* Per series, exemplars come in order of time; EXEMPLAR_OLD: older than its newest one. */
enum exemplar_verdict extras_add_exemplar(struct extras *extras, uint32_t ref, int64_t ts_ms, double value,
                                          struct ap_slice labels);
/* Those of this series within the span, in order of time, until `each` returns false. */
typedef bool (*extras_exemplar_fn)(const struct exemplar *exemplar, void *context);
void extras_each_exemplar(const struct extras *extras, uint32_t ref, int64_t min_ts_ms, int64_t max_ts_ms,
                          extras_exemplar_fn each, void *context);
void extras_forget_series(struct extras *extras, const roaring_bitmap_t *refs);

/*
 * True when this has to be said in the log: it is news, or was said last in another epoch of the log (sample_log.h).
 * Longer texts are cut, more families than the maximum ignored.
 */
bool extras_set_metadata(struct extras *extras, const struct batch_metadata *metadata, uint32_t epoch);
typedef bool (*extras_metadata_fn)(const struct batch_metadata *metadata, void *context);
/* In order of names; `metric` data NULL: all. */
void extras_each_metadata(const struct extras *extras, struct ap_slice metric, extras_metadata_fn each, void *context);

/* All of it as bytes, for the checkpoint, and back; AP_E_CORRUPT leaves what was read so far. */
void extras_encode(const struct extras *extras, struct ap_buf *out);
ap_nodiscard enum ap_rc extras_decode(struct extras *extras, struct ap_slice bytes, struct ap_err *err);
