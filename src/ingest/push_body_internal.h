/* ingest/push_body_internal.h - what reading text and messages have in common: families by name, series with labels */
#pragma once

#include "ingest/push_body.h"
#include "tsdb/slots.h"

enum { PUSH_LABELS_MAX = 256 };

struct push_reading {
    const struct push_body_options *options;
    struct push_families families;
    struct slots by_name;                                           /* of places in `families` */
    size_t bytes;                                                   /* of all series so far */
    struct label labels[PUSH_LABELS_MAX + PUSH_KEY_LABELS_MAX + 2]; /* working memory, as the next */
    struct ap_buf encoded;
};

/* The family of this name, or NULL; and one that is not there yet. */
struct push_family *push_reading_find(const struct push_reading *reading, struct ap_slice name);
struct push_family *push_reading_add_family(struct push_reading *reading, struct ap_slice name,
                                            enum metadata_type type);

/*
 * A series called `name` with `labels` and `more` (the bound of a bucket; name NULL data: none), one number or a
 * histogram.
 */
struct push_value {
    struct ap_slice name;
    struct label more;
    double number;
    struct ap_slice blob;
};
ap_nodiscard enum ap_rc push_reading_add(struct push_reading *reading, struct push_family *family,
                                         const struct label *labels, size_t label_count, const struct push_value *value,
                                         struct ap_err *err);

ap_nodiscard enum ap_rc push_protobuf_read(struct push_reading *reading, struct ap_slice bytes, struct ap_err *err);
