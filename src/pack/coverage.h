/*
 * pack/coverage.h - the catalogue of metrics beside what has really been reported
 *
 * For each entry: whether it was seen in a span of time, by which versions of the product, how recently, and whether it
 * came with the type and unit that the catalogue gives it. And what the product reports that the catalogue lacks.
 *
 * The product's series are those whose `job` is one of the pack's services. A series' version is its own label
 * `service_version`, or that of the `target_info` with the same `job` and `instance`: the one that began last before
 * the sample. A histogram counts as one series for each set of labels, whatever it is stored as.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/rc.h"
#include "pack/catalogue.h"
#include "tsdb/batch.h"

struct tsdb;

enum { COVERAGE_VERSIONS_MAX = 1000, COVERAGE_STRANGERS_MAX = 1000 };

/* What of one metric, or of everything, came from one version of the product. */
struct coverage_version {
    const char *version; /* "": the series does not tell */
    uint64_t series_count;
    int64_t newest_ms;
};

enum coverage_fit {
    COVERAGE_NOT_TOLD, /* no metadata came, or it does not say */
    COVERAGE_AGREES,
    COVERAGE_DIFFERS,
};

/* What the store knows of a metric. */
struct coverage_seen {
    uint64_t series_count; /* 0: not seen */
    int64_t newest_ms;
    struct coverage_version *versions; /* owned by the coverage; in order of versions */
    size_t version_count;
    bool has_metadata;
    enum metadata_type type;
    const char *unit; /* "" where none was told */
};

struct coverage_entry {
    const struct catalogue_metric *metric; /* the pack's */
    struct coverage_seen seen;
    enum coverage_fit type_fit;
    enum coverage_fit unit_fit;
};

/* Reported by the product, and no entry of the catalogue. */
struct coverage_stranger {
    const char *series;
    struct coverage_seen seen;
};

struct coverage {
    struct coverage_entry *entries; /* all of the catalogue, in its order */
    size_t entry_count;
    size_t seen_count;
    struct coverage_stranger *strangers; /* by name; none where the pack names no services */
    size_t stranger_count;
    bool is_cut;                       /* there are more strangers, or versions: these count as "" */
    struct coverage_version *versions; /* of the product; series_count: its instances by target_info */
    size_t version_count;
    struct coverage_memory *memory; /* private to coverage.c */
};

struct coverage_options {
    int64_t from_ms; /* both inclusive */
    int64_t to_ms;
    /* NULL, or asked now and then: true ends it with AP_E_BUSY. */
    bool (*is_cancelled)(void *context);
    void *context;
};

/*
 * Reads the product's samples of the span: not on an HTTP loop. The pack must outlive the coverage, the store need not.
 */
ap_nodiscard enum ap_rc coverage_take(const struct pack *pack, struct tsdb *tsdb,
                                      const struct coverage_options *options, struct coverage **ret_coverage,
                                      struct ap_err *err);
void coverage_free(struct coverage *coverage); /* NULL is allowed */
AP_DEFINE_AUTO(coverage, struct coverage, coverage_free)

/* How metadata calls the type that the entry's instrument becomes: "counter", "gauge", "histogram". */
enum metadata_type coverage_expected_type(const struct catalogue_metric *metric);
