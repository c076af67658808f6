/*
 * tsdb/labels.h - label sets as bytes
 *
 * A label set is kept, hashed and compared in one canonical form: its labels sorted by name (by bytes), none empty, no
 * name twice, written as remote write 1.0 writes the `labels` of a TimeSeries:
 *
 *     0x0A varint(bytes of what follows) 0x0A varint(name bytes) name 0x12 varint(value bytes) value     for each label
 *
 * with varints in their shortest form. That is what every well-behaved sender puts on the wire, so the common way in
 * is: hash the bytes as they came, and the series is found. The metric's name is the label `__name__`.
 *
 * A label whose value is empty is the same as no label (Prometheus' data model).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"

enum {
    LABELS_COUNT_MAX = 256,
    LABEL_NAME_BYTES_MAX = 1024,
    LABEL_VALUE_BYTES_MAX = 65535,
    LABELS_BYTES_MAX = 256 * 1024, /* of the canonical form */
};

#define LABEL_METRIC_NAME "__name__"

struct label {
    struct ap_slice name; /* lent */
    struct ap_slice value;
};

/* XXH3, 128 bits, seeded for each data directory: label sets are known by it and not compared byte by byte. */
struct labels_hash {
    uint64_t low;
    uint64_t high;
};

static inline bool labels_hash_equal(struct labels_hash a, struct labels_hash b)
{
    return a.low == b.low && a.high == b.high;
}

struct labels_hash labels_hash_of(uint64_t seed, struct ap_slice labels);

/*
 * Appends the canonical form of `labels` to `out`; sorts the array in place and leaves empty values out. AP_E_PARSE: an
 * empty or repeated name, bytes that are not UTF-8, or nothing left; AP_E_LIMIT: over a maximum above. `err` names the
 * label. UTF-8 names of any kind are allowed, as in Prometheus 3. `out` is as before on failure.
 */
ap_nodiscard enum ap_rc labels_encode(struct label *labels, size_t count, struct ap_buf *out, struct ap_err *err);

/* Appends one label without looking at it; the caller sees to the order, and that the value is not empty. */
void labels_add(struct ap_buf *out, const struct label *label);

/*
 * Whether the bytes are canonical, all of them, with every check that labels_encode() makes. For bytes from outside
 * (wire, file); what follows trusts them.
 */
ap_nodiscard enum ap_rc labels_check(struct ap_slice labels, struct ap_err *err);

/* Cuts the first label off *rest: `while (labels_next(&rest, &label))`. */
bool labels_next(struct ap_slice *rest, struct label *ret_label);
size_t labels_count(struct ap_slice labels);
/* Data NULL when there is none of this name. */
struct ap_slice labels_get(struct ap_slice labels, struct ap_slice name);

/* Label by label, name before value, by bytes: the order of series in Prometheus' answers and in our blocks. */
int labels_compare(struct ap_slice a, struct ap_slice b);

/* As Prometheus prints it: `up{instance="a:9090",job="b"}`, values escaped; names beyond [a-zA-Z_][a-zA-Z0-9_]* quoted.
 */
void labels_format(struct ap_slice labels, struct ap_buf *out);
/* As errors of queries have it: `{__name__="up", instance="a:9090"}`. */
void labels_format_set(struct ap_slice labels, struct ap_buf *out);
/* As JSON: `{"__name__":"up","instance":"a:9090"}`. */
void labels_format_json(struct ap_slice labels, struct ap_buf *out);
