/*
 * pack/catalogue.h - every metric that a product reports: what it means, who answers for it, what it should be
 *
 *     packs/hive/metrics/<area>.yaml      an area: a title and its metrics
 *
 * An entry ties three names together: the one that the program's OpenTelemetry SDK is given, the one that it has in
 * PromQL, and, where there is one, the short name that alert rules use. Its query is the one figure that stands for it,
 * on pages and in rules. What of it has really been reported: pack/coverage.h.
 *
 * Loaded and checked with the pack: a unit or a target that makes no sense, a query that does not parse or that selects
 * a series of no entry, and a name that is there twice are errors with file:line:column.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "pack/pack.h"

/* The instrument that records it, of those that OpenTelemetry has. */
enum catalogue_type {
    CATALOGUE_COUNTER,
    CATALOGUE_UP_DOWN_COUNTER,
    CATALOGUE_GAUGE,
    CATALOGUE_HISTOGRAM,
};
const char *catalogue_type_name(enum catalogue_type type);

struct catalogue_attribute {
    const char *name;
    const char *meaning;       /* may be NULL */
    const char *const *values; /* those that are known; none: any */
    size_t value_count;
};

struct catalogue_metric {
    const char *name;   /* as the SDK is given it: "hive.tui.input.latency" */
    const char *series; /* in PromQL, without _bucket, _count and _sum: "hive_tui_input_latency_seconds" */
    enum catalogue_type type;
    const char *unit; /* UCUM: "s", "By", "1", "{file}/s" */
    const char *title;
    const char *meaning;
    const char *owner;
    const struct catalogue_attribute *attributes; /* owned by the pack, as all arrays here */
    size_t attribute_count;
    const char *short_name; /* in alert rules; may be NULL */
    const char *query;      /* PromQL; one figure */
    enum pack_unit query_unit;
    struct pack_target target; /* op PACK_TARGET_NONE: has none */
    enum pack_better better;
    const char *where; /* "file:line:column" */
};

struct catalogue_area {
    const char *id; /* name of its file */
    const char *title;
    const char *description; /* may be NULL */
    const struct catalogue_metric *metrics;
    size_t metric_count;
};

/* The entry with this name, series or short name, or NULL. */
const struct catalogue_metric *catalogue_find(const struct pack *pack, struct ap_slice name);

/*
 * The entry whose series this one, `__name__` as it stands in the store, is of: of a histogram also those that end in
 * _bucket, _count and _sum. NULL: of none.
 */
const struct catalogue_metric *catalogue_find_series(const struct pack *pack, struct ap_slice series);

/*
 * What a UCUM unit is called in a metric's metadata, by the rules that turn OpenTelemetry's metrics into Prometheus':
 * "seconds" of "s", "per_second" of "{file}/s", "" of "1". NULL: the unit is not known.
 */
const char *catalogue_unit_word(const char *unit);

/*
 * Which of a pack's metric files, areas and entries are wrong is told by pack_load(). The keys of these files as
 * Markdown, for docs/packs.md.
 */
void catalogue_describe(struct ap_buf *out);
