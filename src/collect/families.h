/*
 * collect/families.h - what a collector says, as Prometheus text 0.0.4
 *
 * Samples are added in whatever order they are found; the text has them family by family, in order of name, each below
 * its HELP and TYPE, as the format wants them. One owner, no locks.
 */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/slice.h"
#include "tsdb/labels.h"

enum family_type { FAMILY_GAUGE, FAMILY_COUNTER, FAMILY_UNTYPED, FAMILY_HISTOGRAM, FAMILY_SUMMARY };

struct family {
    const char *name; /* a metric name: [a-zA-Z_:][a-zA-Z0-9_:]* */
    const char *help;
    enum family_type type;
};

struct families; /* private to families.c */

struct families *families_new(void);
void families_free(struct families *families); /* NULL is allowed */
AP_DEFINE_AUTO(families, struct families, families_free)

/*
 * A sample without labels, with one, with two, with any number. Help and type are those that came with the family's
 * first sample. Everything is copied. Values of labels may be any bytes: what is not UTF-8 becomes U+FFFD.
 */
void families_add(struct families *families, const struct family *family, double value);
void families_add1(struct families *families, const struct family *family, double value, const char *name,
                   struct ap_slice text);
void families_add2(struct families *families, const struct family *family, double value, const char *name1,
                   struct ap_slice text1, const char *name2, struct ap_slice text2);
void families_add_labels(struct families *families, const struct family *family, double value,
                         const struct label *labels, size_t label_count);

/* The same for a sample whose name goes on behind the family's: "_bucket", "_sum", "_count". */
void families_add_part(struct families *families, const struct family *family, const char *suffix, double value,
                       const struct label *labels, size_t label_count);

/* Appends all of it to `out`. */
void families_write(const struct families *families, struct ap_buf *out);
