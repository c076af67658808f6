/*
 * pack/pack.h - what one product adds to the program, as data: views, roll-ups, metrics, alerts, dashboards
 *
 *     packs/hive/pack.yaml              name, version, title
 *                views/<name>.sql       one SELECT; becomes the view <name>
 *                rollups/<name>.yaml    tables kept up to date in the writer's transactions
 *                metrics/<area>.yaml    every metric of the product: pack/catalogue.h
 *                alerts/<name>.yaml     who is told when a figure of the catalogue is out of bounds: pack/alerts.h
 *                dashboards/<id>.yaml   pages: sections of panels, each a query with a unit, a target, a visualization
 *
 * Loading checks all that can be known without a database and tells faults as file:line:column; pack_check() then binds
 * every query. Immutable once loaded, so any thread may read it. How to write one: docs/packs.md.
 *
 * What a newcomer gets wrong first: the program knows no pack. A number on a page has its one definition here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/rc.h"

struct warehouse;
struct yaml_document;
struct yaml_node;

enum {
    PACK_FILES_MAX = 500, /* in one folder of a pack */
    PACK_SQL_BYTES_MAX = 64 << 10,
    PACK_PANELS_MAX = 100, /* on one dashboard */
    PACK_WIDTH_MAX = 12,   /* columns of the page */
};

/* How a panel is drawn. */
enum pack_visualization {
    PACK_VISUALIZATION_NUMBER,
    PACK_VISUALIZATION_LINE_CHART,
    PACK_VISUALIZATION_GAUGE,
    PACK_VISUALIZATION_PERCENTAGE,
    PACK_VISUALIZATION_HISTOGRAM,
    PACK_VISUALIZATION_BAR_CHART,
    PACK_VISUALIZATION_WORLD_MAP,
    PACK_VISUALIZATION_TABLE,
};
const char *pack_visualization_name(enum pack_visualization visualization);

/* Whether its answer is one figure, and not rows. */
bool pack_visualization_is_figure(enum pack_visualization visualization);

/* What the numbers of a panel are in. Ratios are 0 to 1. */
enum pack_unit {
    PACK_UNIT_NONE,
    PACK_UNIT_COUNT,
    PACK_UNIT_USERS,
    PACK_UNIT_MS,
    PACK_UNIT_S,
    PACK_UNIT_RATIO,
    PACK_UNIT_BYTES,
    PACK_UNIT_PER_SECOND,
};
const char *pack_unit_name(enum pack_unit unit);

enum pack_better { PACK_BETTER_HIGHER, PACK_BETTER_LOWER };

enum pack_target_op { PACK_TARGET_NONE, PACK_TARGET_GE, PACK_TARGET_LE, PACK_TARGET_GT, PACK_TARGET_LT };

struct pack_target {
    enum pack_target_op op;
    double value;     /* in the panel's unit: "< 50ms" of a panel in s is 0.05 */
    const char *text; /* for people: "≥ 1,000", "< 50 ms" */
};
const char *pack_target_op_name(enum pack_target_op op); /* ">=" … */

/* SQL and where its first line stands, so that an error in line n of it can be told as a line of the file. */
struct pack_sql {
    const char *text; /* NULL: none */
    const char *file;
    int line;
    bool uses_range; /* has $from, $to or $step in it */
};

struct pack_panel {
    const char *id; /* unique on its dashboard */
    const char *title;
    const char *description; /* how the number is defined; may be NULL */
    enum pack_visualization visualization;
    enum pack_unit unit;
    enum pack_better better;
    struct pack_target target;
    int width;          /* 1 … PACK_WIDTH_MAX */
    const char *promql; /* NULL: it is SQL, and the next three are in use */
    struct pack_sql query;
    struct pack_sql
        previous;          /* the same figure one period before; none: `query` over the window before, if it has one */
    struct pack_sql trend; /* rows of time and value for a sparkline */
    const char *where;     /* "file:line:column" */
};

struct pack_section {
    const char *title;
    bool is_cards;
    const struct pack_panel *panels; /* owned by the pack, as all arrays here */
    size_t panel_count;
};

struct pack_dashboard {
    const char *id; /* name of its file; unique over all loaded packs */
    const char *title;
    const char *description; /* may be NULL */
    bool is_home;
    const char *default_range; /* one of `ranges` */
    const char *const *ranges; /* "24h", "7d" … */
    size_t range_count;
    const struct pack_section *sections;
    size_t section_count;
    const char *where;
};

struct pack_view {
    const char *name;
    struct pack_sql sql;
};

struct pack_rollup {
    const char *name;
    const char *description;
    const char *const *tables;
    size_t table_count;
    struct pack_sql create;
    const struct pack_sql *merges;
    size_t merge_count;
};

struct catalogue_area; /* pack/catalogue.h */
struct pack_alert;     /* pack/alerts.h */
struct rule_group;     /* rules/rule_file.h */

struct pack {
    const char *dir;
    const char *name;
    const char *version;
    const char *title;
    const char *description;     /* may be NULL */
    const char *const *services; /* the `job` of the product's metrics; none: any */
    size_t service_count;
    const struct pack_view *views; /* by name of file: a view may use those before it */
    size_t view_count;
    const struct pack_rollup *rollups;
    size_t rollup_count;
    const struct catalogue_area *areas; /* of the metric catalogue, by name of file */
    size_t area_count;
    const struct pack_alert *alerts; /* by name of file, in the order in which they stand there */
    size_t alert_count;
    const struct rule_group *rule_groups; /* what the alerts became, for the rule manager */
    size_t rule_group_count;
    const struct pack_dashboard *dashboards; /* the home one first, then by name of file */
    size_t dashboard_count;
    struct pack_memory *memory; /* private to pack/ */
};

/* Loads and checks. AP_E_PARSE: file:line:column and what is wrong; AP_E_NOT_FOUND: no pack.yaml in `dir`. */
ap_nodiscard enum ap_rc pack_load(const char *dir, struct pack **ret_pack, struct ap_err *err);
void pack_free(struct pack *pack); /* NULL is allowed */
AP_DEFINE_AUTO(pack, struct pack, pack_free)

/* That packs fit together: no two with a dashboard, view, roll-up or table of the same name, or with the same alert. */
ap_nodiscard enum ap_rc pack_check_together(const struct pack *const *packs, size_t pack_count, struct ap_err *err);

/* Gives views and roll-ups of all packs to the warehouse, in order; between warehouse_open() and warehouse_start(). */
ap_nodiscard enum ap_rc pack_apply(const struct pack *const *packs, size_t pack_count, struct warehouse *warehouse,
                                   void (*progress)(const char *name, unsigned day, unsigned day_count, void *context),
                                   void *context, struct ap_err *err);

/* One query that was bound, or, of PromQL, parsed. `error` is NULL when it is good, else "file:line: panel …: what
 * DuckDB says". */
typedef void (*pack_report_fn)(const struct pack *pack, const char *what, const char *error, void *context);

/*
 * Binds every query of every dashboard and alert against the warehouse, to which pack_apply() was done. Reports each;
 * AP_E_PARSE, with the first error, when there was one. Runs nothing. `report` may be NULL.
 */
ap_nodiscard enum ap_rc pack_check(const struct pack *pack, struct warehouse *warehouse, pack_report_fn report,
                                   void *context, struct ap_err *err);
/* Of dashboards alone. Who evaluates rules checks their SQL, wherever they come from (rules/manager.h). */
ap_nodiscard enum ap_rc pack_check_dashboards(const struct pack *pack, struct warehouse *warehouse, struct ap_err *err);

/* The dashboard with this id in any of the packs, or NULL. */
const struct pack_dashboard *pack_find_dashboard(const struct pack *const *packs, size_t pack_count, const char *id);

/* The panel with this id, or NULL. */
const struct pack_panel *pack_find_panel(const struct pack_dashboard *dashboard, const char *id);

/* Reads "7d", "24h", "90d": what range pickers offer. False unless between a minute and ten years. */
bool pack_parse_range(const char *text, int64_t *ret_ms);

/* The keys of pack files as Markdown, for docs/packs.md. */
void pack_describe(struct ap_buf *out);
