#include "pack/catalogue.h"

#include <stdlib.h>

#include "pack/pack_internal.h"
#include "promql/parser.h"

enum { METRICS_MAX = 1000, NAME_BYTES_MAX = 255 };

static const char *const types[] = {"counter", "up_down_counter", "gauge", "histogram", NULL};
static const char *const suffixes[] = {"_bucket", "_count", "_sum"}; /* of a histogram's series */

/* As the file says. */
struct area_keys {
    const char *title, *description;
    const struct yaml_node *metrics;
};
struct metric_keys {
    const char *name, *series, *unit, *title, *meaning, *owner, *short_name, *query, *target;
    int type, query_unit, better;
    const struct yaml_node *attributes;
};
struct attribute_keys {
    const char *name, *meaning;
    struct yaml_texts values;
};

#define AREA(member) .offset = offsetof(struct area_keys, member)
static const struct yaml_field area_fields[] = {
    {.key = "title", .type = YAML_TYPE_TEXT, AREA(title), .is_required = true, .doc = "Heading of the area."},
    {.key = "description", .type = YAML_TYPE_TEXT, AREA(description), .doc = "What the area is about."},
    {.key = "metrics", .type = YAML_TYPE_NODE, AREA(metrics), .is_required = true, .doc = "List of metrics."},
};
#define METRIC(member) .offset = offsetof(struct metric_keys, member)
static const struct yaml_field metric_fields[] = {
    {.key = "name",
     .type = YAML_TYPE_TEXT,
     METRIC(name),
     .is_required = true,
     .doc = "As the program's OpenTelemetry SDK is given it; once in a pack."},
    {.key = "series",
     .type = YAML_TYPE_TEXT,
     METRIC(series),
     .is_required = true,
     .doc = "What it becomes in PromQL; of a histogram without `_bucket`, `_count` and `_sum`."},
    {.key = "type",
     .type = YAML_TYPE_CHOICE,
     METRIC(type),
     .is_required = true,
     .choices = types,
     .doc = "The instrument that records it."},
    {.key = "unit",
     .type = YAML_TYPE_TEXT,
     METRIC(unit),
     .is_required = true,
     .doc = "In UCUM: `s`, `ms`, `By`, `1` (a ratio), `{file}`, `{file}/s`."},
    {.key = "title", .type = YAML_TYPE_TEXT, METRIC(title), .is_required = true, .doc = "What people read above it."},
    {.key = "meaning",
     .type = YAML_TYPE_TEXT,
     METRIC(meaning),
     .is_required = true,
     .doc = "What is measured, from where to where, and when."},
    {.key = "owner",
     .type = YAML_TYPE_TEXT,
     METRIC(owner),
     .is_required = true,
     .doc = "The team that answers for it."},
    {.key = "attributes", .type = YAML_TYPE_NODE, METRIC(attributes), .doc = "List of its attributes."},
    {.key = "short_name",
     .type = YAML_TYPE_TEXT,
     METRIC(short_name),
     .doc = "What alert rules call its figure: a-z, 0-9 and _; once in a pack."},
    {.key = "query",
     .type = YAML_TYPE_TEXT,
     METRIC(query),
     .is_required = true,
     .doc = "PromQL that gives the one figure that stands for it."},
    {.key = "query_unit",
     .type = YAML_TYPE_CHOICE,
     METRIC(query_unit),
     .choices = pack_units,
     .doc = "What that figure is in. Otherwise what `unit` says: `s`, `ms`, `bytes`, `ratio`, `count`, `per_second`."},
    {.key = "target",
     .type = YAML_TYPE_TEXT,
     METRIC(target),
     .doc = "What the figure should be: `\"<50ms\"`, `\">60fps\"`, `\"<0.1%\"`, `\"<25MB\"`."},
    {.key = "better",
     .type = YAML_TYPE_CHOICE,
     METRIC(better),
     .choices = pack_betters,
     .default_text = "auto",
     .doc = "Whether a higher or a lower figure is good news. `auto`: as the target says, else higher."},
};
#define ATTRIBUTE(member) .offset = offsetof(struct attribute_keys, member)
static const struct yaml_field attribute_fields[] = {
    {.key = "name", .type = YAML_TYPE_TEXT, ATTRIBUTE(name), .is_required = true, .doc = "As the SDK is given it."},
    {.key = "meaning", .type = YAML_TYPE_TEXT, ATTRIBUTE(meaning), .doc = "What it tells."},
    {.key = "values", .type = YAML_TYPE_TEXT_LIST, ATTRIBUTE(values), .doc = "Those that there are, where known."},
};

const char *catalogue_type_name(enum catalogue_type type)
{
    return types[type];
}

/* ---- Units ---- */

static const struct unit {
    const char *ucum;
    const char *word; /* in metadata */
    enum pack_unit shown;
} units[] = {
    {"1", "", PACK_UNIT_RATIO},
    {"%", "percent", PACK_UNIT_NONE},
    {"s", "seconds", PACK_UNIT_S},
    {"ms", "milliseconds", PACK_UNIT_MS},
    {"us", "microseconds", PACK_UNIT_NONE},
    {"ns", "nanoseconds", PACK_UNIT_NONE},
    {"min", "minutes", PACK_UNIT_NONE},
    {"h", "hours", PACK_UNIT_NONE},
    {"d", "days", PACK_UNIT_NONE},
    {"By", "bytes", PACK_UNIT_BYTES},
    {"KiBy", "kibibytes", PACK_UNIT_NONE},
    {"MiBy", "mebibytes", PACK_UNIT_NONE},
    {"GiBy", "gibibytes", PACK_UNIT_NONE},
    {"MBy", "megabytes", PACK_UNIT_NONE},
    {"GBy", "gigabytes", PACK_UNIT_NONE},
    {"By/s", "bytes_per_second", PACK_UNIT_NONE},
    {"Hz", "hertz", PACK_UNIT_PER_SECOND},
};

/* "{file}" counts what the braces say, "{file}/s" does so by the second. */
static const struct unit *find_unit(const char *text)
{
    static const struct unit count = {"{…}", "", PACK_UNIT_COUNT}, rate = {"{…}/s", "per_second", PACK_UNIT_PER_SECOND};
    for (size_t i = 0; i < AP_ARRAY_COUNT(units); i++) {
        if (strcmp(units[i].ucum, text) == 0)
            return &units[i];
    }
    const char *end = text[0] == '{' ? strchr(text, '}') : NULL;
    if (!end || end == text + 1)
        return NULL;
    return end[1] == '\0' ? &count : strcmp(end + 1, "/s") == 0 ? &rate : NULL;
}

const char *catalogue_unit_word(const char *text)
{
    const struct unit *unit = find_unit(text);
    return unit ? unit->word : NULL;
}

/* ---- Reading ---- */

/* What Prometheus takes for a metric's name without quotes. */
static bool is_series_name(const char *text)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:";
    return strchr(first, text[0]) && text[0] &&
           text[strspn(text, "0123456789_:abcdefghijklmnopqrstuvwxyz"
                             "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0' &&
           strlen(text) <= NAME_BYTES_MAX;
}

/* OpenTelemetry's rule for the name of an instrument. */
static bool is_instrument_name(const char *text)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return text[0] && strchr(first, text[0]) &&
           text[strspn(text, "0123456789_./-abcdefghijklmnopqrstuvwxyz"
                             "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0' &&
           strlen(text) <= NAME_BYTES_MAX;
}

static enum ap_rc check_names(const struct yaml_node *node, const struct metric_keys *keys, struct ap_err *err)
{
    if (!is_instrument_name(keys->name))
        return yaml_fail(err, yaml_get(node, "name"),
                         "name: expected a letter, then letters, digits and any of _ . - /, found \"%.80s\"",
                         keys->name);
    if (!is_series_name(keys->series))
        return yaml_fail(err, yaml_get(node, "series"),
                         "series: expected a letter or _, then letters, digits, _ and :, found \"%.80s\"",
                         keys->series);
    if (keys->short_name && !pack_is_name(keys->short_name))
        return yaml_fail(err, yaml_get(node, "short_name"),
                         "short_name: expected a-z, then a-z, 0-9 and _, found \"%.80s\"", keys->short_name);
    return AP_OK;
}

/* A query's "LINE:COLUMN: sentence" as a place in its file. */
static enum ap_rc fail_in_query(const struct yaml_node *node, const char *key, struct ap_err *err)
{
    struct ap_err said = *err;
    struct yaml_node at = *node;
    char *colon = NULL, *end = NULL;
    long line = strtol(said.text, &colon, 10);
    long column = *colon == ':' ? strtol(colon + 1, &end, 10) : 0;
    bool has_place = line > 0 && column > 0 && ap_slice_starts_with(ap_slice_cstr(end), ": ");
    if (has_place) {
        bool has_quote = node->is_quoted && !memchr(node->text.data, '\n', node->text.bytes); /* and is no block */
        at.line += (int)line - 1;
        at.column += (int)column - 1 + has_quote;
    }
    return yaml_fail(err, &at, "%s: %s", key, has_place ? end + 2 : said.text);
}

enum ap_rc pack_check_promql(const struct yaml_node *node, const char *key, struct ap_err *err)
{
    struct promql_query query;
    if (node->kind != YAML_KIND_SCALAR)
        return yaml_fail(err, node, "%s: expected PromQL", key);
    enum ap_rc rc = promql_parse(node->text, false, &query, err);
    if (rc != AP_OK)
        return fail_in_query(node, key, err);
    enum promql_type type = query.expr->type;
    promql_query_clear(&query);
    if (type != TYPE_VECTOR && type != TYPE_SCALAR)
        return yaml_fail(err, node, "%s: expected one that gives a figure, this one gives a %s", key,
                         promql_type_name(type));
    return AP_OK;
}

static enum ap_rc read_attributes(struct pack_memory *memory, const struct yaml_node *node,
                                  struct catalogue_metric *metric, struct ap_err *err)
{
    if (!node)
        return AP_OK;
    if (node->kind != YAML_KIND_LIST)
        return yaml_fail(err, node, "attributes: expected a list");
    struct catalogue_attribute *attributes = ap_arena_alloc0(&memory->arena, node->child_count * sizeof(*attributes));
    for (const struct yaml_node *item = node->first; item; item = item->next) {
        struct attribute_keys keys = {0};
        enum ap_rc rc = yaml_read_struct(item, attribute_fields, AP_ARRAY_COUNT(attribute_fields), &keys, err);
        if (rc != AP_OK)
            return rc;
        for (size_t i = 0; i < metric->attribute_count; i++) {
            if (strcmp(attributes[i].name, keys.name) == 0)
                return yaml_fail(err, item, "attributes: \"%.80s\" is there twice", keys.name);
        }
        attributes[metric->attribute_count++] = (struct catalogue_attribute){
            .name = keys.name, .meaning = keys.meaning, .values = keys.values.items, .value_count = keys.values.count};
    }
    metric->attributes = attributes;
    return AP_OK;
}

static enum ap_rc read_figure(struct pack_memory *memory, const struct yaml_node *node, const struct metric_keys *keys,
                              struct catalogue_metric *metric, struct ap_err *err)
{
    const struct unit *unit = find_unit(keys->unit);
    if (!unit)
        return yaml_fail(err, yaml_get(node, "unit"),
                         "unit: \"%.80s\" is no unit that is known here; expected one of UCUM such as s, ms, By, 1, "
                         "{file} or {file}/s",
                         keys->unit);
    metric->query_unit = keys->query_unit >= 0 ? (enum pack_unit)keys->query_unit : unit->shown;
    enum ap_rc rc = pack_check_promql(yaml_get(node, "query"), "query", err);
    if (rc == AP_OK && keys->target) {
        rc = pack_target_parse(memory, "target", keys->target, metric->query_unit, &metric->target, err);
        if (rc != AP_OK)
            return pack_fail_at_key(node, "target", err);
    }
    metric->better = pack_which_is_better(keys->better, &metric->target);
    return rc;
}

static enum ap_rc read_metric(struct pack_memory *memory, const struct yaml_node *node, struct catalogue_metric *metric,
                              struct ap_err *err)
{
    struct metric_keys keys = {.query_unit = -1};
    enum ap_rc rc = yaml_read_struct(node, metric_fields, AP_ARRAY_COUNT(metric_fields), &keys, err);
    if (rc == AP_OK)
        rc = check_names(node, &keys, err);
    if (rc != AP_OK)
        return rc;
    *metric = (struct catalogue_metric){
        .name = keys.name,
        .series = keys.series,
        .type = (enum catalogue_type)keys.type,
        .unit = keys.unit,
        .title = keys.title,
        .meaning = keys.meaning,
        .owner = keys.owner,
        .short_name = keys.short_name,
        .query = keys.query,
        .where = pack_printf(memory, "%s:%d:%d", yaml_file(node->document), node->line, node->column),
    };
    rc = read_figure(memory, node, &keys, metric, err);
    return rc == AP_OK ? read_attributes(memory, keys.attributes, metric, err) : rc;
}

enum ap_rc pack_read_area(struct pack_memory *memory, const struct yaml_node *root, const char *id,
                          struct catalogue_area *ret_area, struct ap_err *err)
{
    struct area_keys keys = {0};
    enum ap_rc rc = yaml_read_struct(root, area_fields, AP_ARRAY_COUNT(area_fields), &keys, err);
    if (rc != AP_OK)
        return rc;
    if (keys.metrics->kind != YAML_KIND_LIST || keys.metrics->child_count == 0)
        return yaml_fail(err, keys.metrics, "metrics: expected a list with at least one metric");
    if (keys.metrics->child_count > METRICS_MAX)
        return yaml_fail(err, keys.metrics, "metrics: more than %d", METRICS_MAX);
    struct catalogue_metric *metrics = ap_arena_alloc0(&memory->arena, keys.metrics->child_count * sizeof(*metrics));
    size_t count = 0;
    for (const struct yaml_node *item = keys.metrics->first; item && rc == AP_OK; item = item->next)
        rc = read_metric(memory, item, &metrics[count++], err);
    *ret_area = (struct catalogue_area){
        .id = id, .title = keys.title, .description = keys.description, .metrics = metrics, .metric_count = count};
    return rc;
}

/* ---- What must hold between entries ---- */

/* A name that both have, whichever of their names it is: catalogue_find() must find one. NULL: none. */
static const char *find_shared_name(const struct catalogue_metric *one, const struct catalogue_metric *other)
{
    const char *const names[] = {one->name, one->series, one->short_name};
    const char *const others[] = {other->name, other->series, other->short_name};
    for (size_t i = 0; i < AP_ARRAY_COUNT(names); i++) {
        for (size_t j = 0; j < AP_ARRAY_COUNT(others); j++) {
            if (names[i] && others[j] && strcmp(names[i], others[j]) == 0)
                return names[i];
        }
    }
    return NULL;
}

static enum ap_rc check_against_earlier(const struct pack *pack, const struct catalogue_metric *metric,
                                        struct ap_err *err)
{
    for (size_t a = 0; a < pack->area_count; a++) {
        for (size_t m = 0; m < pack->areas[a].metric_count; m++) {
            const struct catalogue_metric *other = &pack->areas[a].metrics[m];
            if (other == metric)
                return AP_OK;
            const char *name = find_shared_name(metric, other);
            if (name)
                return ap_fail(err, AP_E_PARSE, "%s: a second metric with the name \"%s\"; the first is at %s",
                               metric->where, name, other->where);
        }
    }
    return AP_OK;
}

/* A name that the selector asks for and no entry has; data NULL when there is none. */
static struct ap_slice unknown_name(const struct pack *pack, const struct promql_selector *selector)
{
    struct ap_slice name = selector->name;
    for (size_t i = 0; i < selector->item_count && !name.data; i++) {
        if (selector->items[i].kind == MATCHER_EQUAL && ap_slice_equal_cstr(selector->items[i].name, "__name__"))
            name = selector->items[i].value;
    }
    if (name.data && (catalogue_find_series(pack, name) || ap_slice_equal_cstr(name, "target_info") ||
                      ap_slice_equal_cstr(name, "up")))
        name = (struct ap_slice){0};
    return name;
}

/* The same of the whole tree; the parser has seen to its depth. */
static struct ap_slice find_unknown_name(const struct pack *pack, const struct promql_expr *expr)
{
    struct ap_slice found = {0};
    switch (expr->kind) {
    case EXPR_NUMBER:
    case EXPR_TEXT:
        break;
    case EXPR_SELECTOR:
        return unknown_name(pack, &expr->selector);
    case EXPR_RANGE:
        return find_unknown_name(pack, expr->range.selector);
    case EXPR_SUBQUERY:
        return find_unknown_name(pack, expr->subquery.of);
    case EXPR_CALL:
        for (size_t i = 0; i < expr->call.count && !found.data; i++)
            found = find_unknown_name(pack, expr->call.arguments[i]);
        break;
    case EXPR_AGGREGATE:
        return find_unknown_name(pack, expr->aggregate.of);
    case EXPR_BINARY:
        found = find_unknown_name(pack, expr->binary.left);
        return found.data ? found : find_unknown_name(pack, expr->binary.right);
    case EXPR_UNARY:
        return find_unknown_name(pack, expr->unary.of);
    case EXPR_PAREN:
        return find_unknown_name(pack, expr->paren);
    }
    return found;
}

/* A figure must come from what the catalogue has: a name with a letter wrong would give nothing, silently. */
static enum ap_rc check_selectors(const struct pack *pack, const struct catalogue_metric *metric, struct ap_err *err)
{
    struct promql_query query;
    enum ap_rc rc = promql_parse(ap_slice_cstr(metric->query), false, &query, err);
    if (rc != AP_OK)
        return rc;
    struct ap_slice unknown = find_unknown_name(pack, query.expr);
    if (unknown.data)
        rc = ap_fail(err, AP_E_PARSE, "%s: query: \"%.*s\" is the series of no metric in the catalogue", metric->where,
                     (int)AP_MIN(unknown.bytes, (size_t)NAME_BYTES_MAX), unknown.data);
    promql_query_clear(&query);
    return rc;
}

enum ap_rc pack_check_catalogue(const struct pack *pack, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t a = 0; a < pack->area_count; a++) {
        for (size_t m = 0; m < pack->areas[a].metric_count && rc == AP_OK; m++) {
            rc = check_against_earlier(pack, &pack->areas[a].metrics[m], err);
            if (rc == AP_OK)
                rc = check_selectors(pack, &pack->areas[a].metrics[m], err);
        }
    }
    return rc;
}

/* ---- Finding ---- */

static bool has_name(const struct catalogue_metric *metric, struct ap_slice name)
{
    return ap_slice_equal_cstr(name, metric->name) || ap_slice_equal_cstr(name, metric->series) ||
           (metric->short_name && ap_slice_equal_cstr(name, metric->short_name));
}

static bool has_series(const struct catalogue_metric *metric, struct ap_slice series)
{
    size_t bytes = strlen(metric->series);
    if (series.bytes < bytes || memcmp(series.data, metric->series, bytes) != 0)
        return false;
    struct ap_slice rest = ap_slice(series.data + bytes, series.bytes - bytes);
    bool is_of_it = rest.bytes == 0;
    for (size_t i = 0; i < AP_ARRAY_COUNT(suffixes) && metric->type == CATALOGUE_HISTOGRAM; i++)
        is_of_it = is_of_it || ap_slice_equal_cstr(rest, suffixes[i]);
    return is_of_it;
}

static const struct catalogue_metric *find(const struct pack *pack, struct ap_slice name,
                                           bool (*is_it)(const struct catalogue_metric *, struct ap_slice))
{
    for (size_t a = 0; a < pack->area_count; a++) {
        for (size_t m = 0; m < pack->areas[a].metric_count; m++) {
            if (is_it(&pack->areas[a].metrics[m], name))
                return &pack->areas[a].metrics[m];
        }
    }
    return NULL;
}

const struct catalogue_metric *catalogue_find(const struct pack *pack, struct ap_slice name)
{
    return find(pack, name, has_name);
}

const struct catalogue_metric *catalogue_find_series(const struct pack *pack, struct ap_slice series)
{
    return find(pack, series, has_series);
}

void catalogue_describe(struct ap_buf *out)
{
    ap_buf_add_cstr(out, "### An area of the metric catalogue\n\n");
    yaml_describe_struct(area_fields, AP_ARRAY_COUNT(area_fields), out);
    ap_buf_add_cstr(out, "\n### A metric\n\n");
    yaml_describe_struct(metric_fields, AP_ARRAY_COUNT(metric_fields), out);
    ap_buf_add_cstr(out, "\n### An attribute of a metric\n\n");
    yaml_describe_struct(attribute_fields, AP_ARRAY_COUNT(attribute_fields), out);
}
