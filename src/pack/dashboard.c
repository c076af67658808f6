/* Dashboards: the keys of their files, and what must hold between them. */
#include <stdio.h>

#include "pack/pack_internal.h"

static const char *const visualizations[] = {"number",    "line_chart", "gauge", "percentage", "histogram",
                                             "bar_chart", "world_map",  "table", NULL};
const char *const pack_units[] = {"none", "count", "users", "ms", "s", "ratio", "bytes", "per_second", NULL};
const char *const pack_betters[] = {"auto", "higher", "lower", NULL};
static const char *const styles[] = {"charts", "cards", NULL};

enum { BETTER_AUTO, BETTER_HIGHER, BETTER_LOWER };

/* As the file says; checked and turned into struct pack_panel and so on. */
struct panel_keys {
    const char *id, *title, *description, *target;
    int visualization, unit, better;
    int64_t width;
    const struct yaml_node *query, *previous, *trend, *promql, *metric;
};
struct section_keys {
    const char *title;
    int style;
    const struct yaml_node *panels;
};
struct dashboard_keys {
    const char *title, *description, *default_range;
    bool is_home;
    struct yaml_texts ranges;
    const struct yaml_node *sections;
};

#define PANEL(member) .offset = offsetof(struct panel_keys, member)
static const struct yaml_field panel_fields[] = {
    {.key = "id",
     .type = YAML_TYPE_TEXT,
     PANEL(id),
     .is_required = true,
     .doc = "Name in addresses: a-z, 0-9 and _; once on a dashboard."},
    {.key = "title",
     .type = YAML_TYPE_TEXT,
     PANEL(title),
     .doc = "What people read above it. Needed, but for a `metric`, which has one."},
    {.key = "description",
     .type = YAML_TYPE_TEXT,
     PANEL(description),
     .doc = "How the number is defined; shown on the page."},
    {.key = "visualization",
     .type = YAML_TYPE_CHOICE,
     PANEL(visualization),
     .is_required = true,
     .choices = visualizations,
     .doc = "How it is drawn; decides which columns the query must give."},
    {.key = "unit",
     .type = YAML_TYPE_CHOICE,
     PANEL(unit),
     .choices = pack_units,
     .default_text = "none",
     .doc = "What its numbers are in. A ratio is 0 to 1 and shown in percent."},
    {.key = "target",
     .type = YAML_TYPE_TEXT,
     PANEL(target),
     .doc = "What it should be: `\">= 1000\"`, `\"< 50ms\"`, `\"< 0.1%\"`."},
    {.key = "better",
     .type = YAML_TYPE_CHOICE,
     PANEL(better),
     .choices = pack_betters,
     .default_text = "auto",
     .doc = "Whether a higher or a lower number is good news. `auto`: as the target says, else higher."},
    {.key = "width",
     .type = YAML_TYPE_INTEGER,
     PANEL(width),
     .min = 1,
     .max = PACK_WIDTH_MAX,
     .doc = "Columns out of 12 on a wide screen. Otherwise 3 for a figure, 6 for a chart, 12 for a map."},
    {.key = "query", .type = YAML_TYPE_NODE, PANEL(query), .doc = "One SELECT."},
    {.key = "promql", .type = YAML_TYPE_NODE, PANEL(promql), .doc = "In place of `query`: PromQL over metrics."},
    {.key = "metric",
     .type = YAML_TYPE_NODE,
     PANEL(metric),
     .doc = "In place of `query`: the name or short name of a metric in the catalogue, whose query, unit, target, "
            "title and "
            "meaning it takes where it says nothing else."},
    {.key = "previous",
     .type = YAML_TYPE_NODE,
     PANEL(previous),
     .doc = "Figures: the same one period before. A query with `$from` and `$to` needs none: it is asked again."},
    {.key = "trend",
     .type = YAML_TYPE_NODE,
     PANEL(trend),
     .doc = "Figures: rows of time and value for the small line below it."},
};
#define SECTION(member) .offset = offsetof(struct section_keys, member)
static const struct yaml_field section_fields[] = {
    {.key = "title", .type = YAML_TYPE_TEXT, SECTION(title), .is_required = true, .doc = "Heading."},
    {.key = "style",
     .type = YAML_TYPE_CHOICE,
     SECTION(style),
     .choices = styles,
     .default_text = "charts",
     .doc = "`cards`: figures with their change, target and trend."},
    {.key = "panels", .type = YAML_TYPE_NODE, SECTION(panels), .is_required = true, .doc = "List of panels."},
};
#define DASHBOARD(member) .offset = offsetof(struct dashboard_keys, member)
static const struct yaml_field dashboard_fields[] = {
    {.key = "title", .type = YAML_TYPE_TEXT, DASHBOARD(title), .is_required = true, .doc = "Name of the page."},
    {.key = "description", .type = YAML_TYPE_TEXT, DASHBOARD(description), .doc = "What it is for."},
    {.key = "home",
     .type = YAML_TYPE_BOOLEAN,
     DASHBOARD(is_home),
     .default_text = "false",
     .doc = "The page at `/`. At most one."},
    {.key = "ranges",
     .type = YAML_TYPE_TEXT_LIST,
     DASHBOARD(ranges),
     .default_text = "24h, 7d, 30d, 90d",
     .doc = "Choices of the time range."},
    {.key = "default_range",
     .type = YAML_TYPE_TEXT,
     DASHBOARD(default_range),
     .default_text = "7d",
     .doc = "One of `ranges`."},
    {.key = "sections", .type = YAML_TYPE_NODE, DASHBOARD(sections), .is_required = true, .doc = "List of sections."},
};

const char *pack_visualization_name(enum pack_visualization visualization)
{
    return visualizations[visualization];
}

bool pack_visualization_is_figure(enum pack_visualization visualization)
{
    return visualization == PACK_VISUALIZATION_NUMBER || visualization == PACK_VISUALIZATION_GAUGE ||
           visualization == PACK_VISUALIZATION_PERCENTAGE;
}

const char *pack_unit_name(enum pack_unit unit)
{
    return pack_units[unit];
}

static int default_width(enum pack_visualization visualization)
{
    if (pack_visualization_is_figure(visualization))
        return 3;
    return visualization == PACK_VISUALIZATION_WORLD_MAP || visualization == PACK_VISUALIZATION_TABLE ? 12 : 6;
}

enum pack_better pack_which_is_better(int better, const struct pack_target *target)
{
    if (better == BETTER_AUTO)
        better = target->op == PACK_TARGET_LT || target->op == PACK_TARGET_LE ? BETTER_LOWER : BETTER_HIGHER;
    return better == BETTER_LOWER ? PACK_BETTER_LOWER : PACK_BETTER_HIGHER;
}

enum ap_rc pack_fail_at_key(const struct yaml_node *map, const char *key, struct ap_err *err)
{
    struct ap_err sentence = *err;
    return yaml_fail(err, yaml_get(map, key), "%s", sentence.text);
}

static enum ap_rc read_queries(const struct yaml_node *node, const struct panel_keys *keys, struct pack_panel *panel,
                               struct ap_err *err)
{
    enum ap_rc rc = pack_sql_of_node(keys->query, "query", &panel->query, err);
    if (rc == AP_OK)
        rc = pack_sql_of_node(keys->previous, "previous", &panel->previous, err);
    if (rc == AP_OK)
        rc = pack_sql_of_node(keys->trend, "trend", &panel->trend, err);
    if (rc == AP_OK && !pack_visualization_is_figure(panel->visualization) && (keys->previous || keys->trend))
        return yaml_fail(err, yaml_get(node, keys->previous ? "previous" : "trend"),
                         "only a number, gauge or percentage has a previous value and a trend; this is a %s",
                         pack_visualization_name(panel->visualization));
    return rc;
}

/* The catalogue's entry that the panel shows; NULL where it has a query of its own. */
static enum ap_rc find_metric(const struct pack *pack, const struct panel_keys *keys,
                              const struct catalogue_metric **ret_metric, struct ap_err *err)
{
    *ret_metric = NULL;
    if (!keys->metric)
        return AP_OK;
    if (keys->metric->kind == YAML_KIND_SCALAR)
        *ret_metric = catalogue_find(pack, keys->metric->text);
    return *ret_metric ? AP_OK : yaml_fail(err, keys->metric, "metric: the catalogue has none of that name");
}

static enum ap_rc read_promql(const struct yaml_node *node, const struct panel_keys *keys, struct pack_panel *panel,
                              struct ap_err *err)
{
    if (panel->visualization == PACK_VISUALIZATION_WORLD_MAP)
        return yaml_fail(err, node, "a world_map needs countries, which PromQL does not give: use query");
    if (keys->previous || keys->trend)
        return yaml_fail(err, yaml_get(node, keys->previous ? "previous" : "trend"),
                         "goes with query; a panel of PromQL is asked for other times by itself");
    if (keys->metric)
        return AP_OK; /* which has been checked */
    panel->promql = keys->promql->text.data;
    return pack_check_promql(keys->promql, "promql", err);
}

static enum ap_rc check_panel_keys(const struct yaml_node *node, const struct panel_keys *keys, struct ap_err *err)
{
    if (!pack_is_name(keys->id))
        return yaml_fail(err, yaml_get(node, "id"), "id: expected a-z, then a-z, 0-9 and _, found \"%.80s\"", keys->id);
    if ((keys->query != NULL) + (keys->promql != NULL) + (keys->metric != NULL) != 1)
        return yaml_fail(err, node, "a panel has one of query, promql and metric");
    if (!keys->title && !keys->metric)
        return yaml_fail(err, node, "\"title\" is missing");
    return AP_OK;
}

static enum ap_rc read_panel(struct pack_memory *memory, const struct pack *pack, const struct yaml_node *node,
                             struct pack_panel *panel, struct ap_err *err)
{
    struct panel_keys keys = {0};
    const struct catalogue_metric *metric;
    enum ap_rc rc = yaml_read_struct(node, panel_fields, AP_ARRAY_COUNT(panel_fields), &keys, err);
    if (rc == AP_OK)
        rc = check_panel_keys(node, &keys, err);
    if (rc == AP_OK)
        rc = find_metric(pack, &keys, &metric, err);
    if (rc != AP_OK)
        return rc;
    *panel = (struct pack_panel){
        .id = keys.id,
        .title = keys.title ? keys.title : metric->title,
        .description = keys.description || !metric ? keys.description : metric->meaning,
        .visualization = (enum pack_visualization)keys.visualization,
        .unit = metric && !yaml_get(node, "unit") ? metric->query_unit : (enum pack_unit)keys.unit,
        .promql = metric ? metric->query : NULL,
        .where = pack_printf(memory, "%s:%d:%d", yaml_file(node->document), node->line, node->column),
    };
    if (panel->visualization == PACK_VISUALIZATION_PERCENTAGE && panel->unit != PACK_UNIT_RATIO)
        return yaml_fail(err, node, "a percentage has the unit ratio; this panel has %s", pack_unit_name(panel->unit));
    if (keys.target && pack_target_parse(memory, "target", keys.target, panel->unit, &panel->target, err) != AP_OK)
        return pack_fail_at_key(node, "target", err);
    if (metric && !keys.target)
        panel->target = metric->target;
    panel->better =
        metric && !yaml_get(node, "better") ? metric->better : pack_which_is_better(keys.better, &panel->target);
    panel->width = keys.width > 0 ? (int)keys.width : default_width(panel->visualization);
    return keys.query ? read_queries(node, &keys, panel, err) : read_promql(node, &keys, panel, err);
}

static enum ap_rc read_section(struct pack_memory *memory, const struct pack *pack, const struct yaml_node *node,
                               struct pack_section *section, struct ap_err *err)
{
    struct section_keys keys = {0};
    enum ap_rc rc = yaml_read_struct(node, section_fields, AP_ARRAY_COUNT(section_fields), &keys, err);
    if (rc != AP_OK)
        return rc;
    if (keys.panels->kind != YAML_KIND_LIST || keys.panels->child_count == 0)
        return yaml_fail(err, keys.panels, "panels: expected a list with at least one panel");
    if (keys.panels->child_count > PACK_PANELS_MAX)
        return yaml_fail(err, keys.panels, "panels: more than %d", PACK_PANELS_MAX);
    struct pack_panel *panels = ap_arena_alloc0(&memory->arena, keys.panels->child_count * sizeof(*panels));
    size_t count = 0;
    for (const struct yaml_node *item = keys.panels->first; item && rc == AP_OK; item = item->next)
        rc = read_panel(memory, pack, item, &panels[count++], err);
    *section =
        (struct pack_section){.title = keys.title, .is_cards = keys.style == 1, .panels = panels, .panel_count = count};
    return rc;
}

static enum ap_rc check_ranges(const struct dashboard_keys *keys, const struct yaml_node *root, struct ap_err *err)
{
    bool has_default = false;
    for (size_t i = 0; i < keys->ranges.count; i++) {
        int64_t range_ms;
        const struct yaml_node *place = keys->ranges.nodes[i] ? keys->ranges.nodes[i] : root;
        if (!pack_parse_range(keys->ranges.items[i], &range_ms))
            return yaml_fail(err, place, "ranges: expected %s, found \"%.80s\"", yaml_type_expects(YAML_TYPE_DURATION),
                             keys->ranges.items[i]);
        has_default = has_default || strcmp(keys->ranges.items[i], keys->default_range) == 0;
    }
    const struct yaml_node *place = yaml_get(root, "default_range");
    if (!has_default)
        return yaml_fail(err, place ? place : root, "default_range: \"%.80s\" is none of the ranges",
                         keys->default_range);
    return AP_OK;
}

static enum ap_rc check_ids(const struct pack_dashboard *dashboard, struct ap_err *err)
{
    const struct pack_panel *all[PACK_PANELS_MAX];
    size_t count = 0;
    for (size_t s = 0; s < dashboard->section_count; s++) {
        const struct pack_section *section = &dashboard->sections[s];
        for (size_t p = 0; p < section->panel_count; p++) {
            const struct pack_panel *panel = &section->panels[p];
            for (size_t i = 0; i < count; i++) {
                if (strcmp(all[i]->id, panel->id) == 0)
                    return ap_fail(err, AP_E_PARSE, "%s: a second panel with the id \"%s\"; the first is at %s",
                                   panel->where, panel->id, all[i]->where);
            }
            if (count == PACK_PANELS_MAX)
                return ap_fail(err, AP_E_LIMIT, "%s: more than %d panels on a dashboard", panel->where,
                               PACK_PANELS_MAX);
            all[count++] = panel;
        }
    }
    return AP_OK;
}

enum ap_rc pack_read_dashboard(struct pack_memory *memory, const struct pack *pack, const struct yaml_node *root,
                               const char *id, struct pack_dashboard *ret_dashboard, struct ap_err *err)
{
    struct dashboard_keys keys = {0};
    enum ap_rc rc = yaml_read_struct(root, dashboard_fields, AP_ARRAY_COUNT(dashboard_fields), &keys, err);
    if (rc == AP_OK)
        rc = check_ranges(&keys, root, err);
    if (rc != AP_OK)
        return rc;
    if (keys.sections->kind != YAML_KIND_LIST || keys.sections->child_count == 0)
        return yaml_fail(err, keys.sections, "sections: expected a list with at least one section");
    struct pack_section *sections = ap_arena_alloc0(&memory->arena, keys.sections->child_count * sizeof(*sections));
    size_t count = 0;
    for (const struct yaml_node *item = keys.sections->first; item && rc == AP_OK; item = item->next)
        rc = read_section(memory, pack, item, &sections[count++], err);
    if (rc != AP_OK)
        return rc;
    *ret_dashboard = (struct pack_dashboard){
        .id = id,
        .title = keys.title,
        .description = keys.description,
        .is_home = keys.is_home,
        .default_range = keys.default_range,
        .ranges = keys.ranges.items,
        .range_count = keys.ranges.count,
        .sections = sections,
        .section_count = count,
        .where = pack_printf(memory, "%s:%d:%d", yaml_file(root->document), root->line, root->column),
    };
    return check_ids(ret_dashboard, err);
}

void pack_describe_dashboard(struct ap_buf *out)
{
    ap_buf_add_cstr(out, "### A dashboard\n\n");
    yaml_describe_struct(dashboard_fields, AP_ARRAY_COUNT(dashboard_fields), out);
    ap_buf_add_cstr(out, "\n### A section\n\n");
    yaml_describe_struct(section_fields, AP_ARRAY_COUNT(section_fields), out);
    ap_buf_add_cstr(out, "\n### A panel\n\n");
    yaml_describe_struct(panel_fields, AP_ARRAY_COUNT(panel_fields), out);
}
