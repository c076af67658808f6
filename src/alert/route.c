#include "alert/route.h"

#include <stdlib.h>
#include <string.h>

#include "alert/matcher_text.h"
#include "promql/lexer.h"
#include "tsdb/labels.h"

/* ---- Reading ---- */

struct route_form {
    const char *receiver;
    const struct yaml_node *group_by;
    const struct yaml_node *match;
    const struct yaml_node *match_re;
    const struct yaml_node *matchers;
    struct yaml_texts mute_time_intervals;
    struct yaml_texts active_time_intervals;
    bool is_continuing;
    const struct yaml_node *routes;
    const struct yaml_node *fallback;
    const char *group_wait;
    const char *group_interval;
    const char *repeat_interval;
};

#define AT(member) .offset = offsetof(struct route_form, member)
static const struct yaml_field route_fields[] = {
    {.key = "receiver", .type = YAML_TYPE_TEXT, AT(receiver)},
    {.key = "group_by", .type = YAML_TYPE_NODE, AT(group_by)},
    {.key = "match", .type = YAML_TYPE_NODE, AT(match)},
    {.key = "match_re", .type = YAML_TYPE_NODE, AT(match_re)},
    {.key = "matchers", .type = YAML_TYPE_NODE, AT(matchers)},
    {.key = "mute_time_intervals", .type = YAML_TYPE_TEXT_LIST, AT(mute_time_intervals)},
    {.key = "active_time_intervals", .type = YAML_TYPE_TEXT_LIST, AT(active_time_intervals)},
    {.key = "continue", .type = YAML_TYPE_BOOLEAN, AT(is_continuing), .default_text = "false"},
    {.key = "routes", .type = YAML_TYPE_NODE, AT(routes)},
    {.key = "fallback", .type = YAML_TYPE_NODE, AT(fallback)},
    {.key = "group_wait", .type = YAML_TYPE_TEXT, AT(group_wait)},
    {.key = "group_interval", .type = YAML_TYPE_TEXT, AT(group_interval)},
    {.key = "repeat_interval", .type = YAML_TYPE_TEXT, AT(repeat_interval)},
};

struct reading {
    struct ap_arena *arena;
    size_t count;
    struct ap_err *err;
};

static enum ap_rc read_duration(struct reading *reading, const struct yaml_node *map, const char *key, const char *text,
                                bool is_zero_taken, int64_t *ms)
{
    if (!text)
        return AP_OK;
    const struct yaml_node *node = yaml_get(map, key);
    if (!promql_parse_duration(ap_slice_cstr(text), ms))
        return yaml_fail(reading->err, node, "%s: expected a duration such as 30s, 5m or 4h, found \"%s\"", key, text);
    if (*ms == 0 && !is_zero_taken)
        return yaml_fail(reading->err, node, "%s cannot be zero", key);
    return AP_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum ap_rc read_group_by(struct reading *reading, const struct yaml_node *node, struct route *route)
{
    if (!node || yaml_is_null(node))
        return AP_OK;
    struct yaml_texts names = {0};
    const struct yaml_field field = {.key = "group_by", .type = YAML_TYPE_TEXT_LIST};
    enum ap_rc rc = yaml_read_node(node, &field, &names, reading->err);
    if (rc != AP_OK)
        return rc;
    const char **sorted = ap_arena_alloc0(reading->arena, (names.count + 1) * sizeof(*sorted));
    bool is_all = false;
    size_t count = 0;
    for (size_t i = 0; i < names.count; i++) {
        struct ap_slice name = ap_slice_cstr(names.items[i]);
        if (ap_slice_equal_cstr(name, "..."))
            is_all = true;
        else if (name.bytes == 0 || ap_utf8_valid_bytes(name) != name.bytes)
            return yaml_fail(reading->err, names.nodes[i], "invalid label name \"%s\" in group_by list",
                             names.items[i]);
        else
            sorted[count++] = names.items[i];
    }
    if (is_all && count)
        return yaml_fail(reading->err, node, "cannot have wildcard group_by (`...`) and other labels at the same time");
    qsort(sorted, count, sizeof(*sorted), compare_names);
    for (size_t i = 1; i < count; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            return yaml_fail(reading->err, node, "duplicated label \"%s\" in group_by", sorted[i]);
    route->group_by = sorted;
    route->group_by_count = count;
    route->is_grouped_by_all = is_all;
    return AP_OK;
}

/* ---- Fall-back ---- */

static enum ap_rc read_step(struct reading *reading, const struct yaml_node *node, struct route *route)
{
    struct form {
        const char *receiver;
        const char *after;
    } form = {0};
    static const struct yaml_field fields[] = {
        {.key = "receiver", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, receiver), .is_required = true},
        {.key = "after", .type = YAML_TYPE_TEXT, .offset = offsetof(struct form, after), .is_required = true},
    };
    struct route_step *step = &route->steps[route->step_count];
    enum ap_rc rc = yaml_read_struct(node, fields, AP_ARRAY_COUNT(fields), &form, reading->err);
    if (rc == AP_OK)
        rc = read_duration(reading, node, "after", form.after, false, &step->after_ms);
    if (rc != AP_OK)
        return rc;
    for (size_t i = 0; i < route->step_count; i++)
        if (route->steps[i].name && strcmp(route->steps[i].name, form.receiver) == 0)
            return yaml_fail(reading->err, node, "fallback: \"%s\" is told already before that", form.receiver);
    if (step->after_ms <= step[-1].after_ms)
        return yaml_fail(reading->err, yaml_get(node, "after"), "fallback: times grow from one receiver to the next");
    step->name = form.receiver;
    step->node = node;
    route->step_count++;
    return AP_OK;
}

/* The parent's, which are told of this route as well; the receiver of this one has no need of itself. */
static void inherit_steps(struct route *route, const struct route_step *steps, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (!route->receiver || strcmp(steps[i].name, route->receiver) != 0)
            route->steps[route->step_count++] = steps[i];
}

static enum ap_rc read_steps(struct reading *reading, const struct yaml_node *list, struct route *route)
{
    const struct route_step *steps = route->steps;
    size_t count = route->step_count;
    if (list && yaml_is_null(list))
        list = NULL;
    if (list && list->kind != YAML_KIND_LIST)
        return yaml_fail(reading->err, list, "fallback: expected a list such as [{receiver: NAME, after: 5m}]");
    if (list && list->child_count >= ROUTE_STEPS_MAX)
        return yaml_fail(reading->err, list, "fallback: at most %d receivers", ROUTE_STEPS_MAX - 1);
    route->steps = ap_arena_alloc0(reading->arena, (1 + (list ? list->child_count : count)) * sizeof(*route->steps));
    route->steps[0] = (struct route_step){.name = route->receiver, .node = route->node};
    route->step_count = 1;
    if (!list)
        inherit_steps(route, steps, count);
    enum ap_rc rc = AP_OK;
    for (const struct yaml_node *node = list ? list->first : NULL; node && rc == AP_OK; node = node->next)
        rc = read_step(reading, node, route);
    return rc;
}

static enum ap_rc read_matchers(struct reading *reading, const struct route_form *form, struct route *route)
{
    route->matchers = ap_arena_alloc0(reading->arena, sizeof(*route->matchers));
    enum ap_rc rc = matcher_text_read_map(form->match, "match", MATCHER_EQUAL, route->matchers, reading->err);
    if (rc == AP_OK)
        rc = matcher_text_read_map(form->match_re, "match_re", MATCHER_REGEX, route->matchers, reading->err);
    if (rc == AP_OK)
        rc = matcher_text_read_list(form->matchers, "matchers", route->matchers, reading->err);
    matcher_text_sort(route->matchers);
    return rc;
}

static enum ap_rc read_route(struct reading *reading, const struct yaml_node *node, struct route *route);

static enum ap_rc read_children(struct reading *reading, const struct yaml_node *list, struct route *route)
{
    if (!list || yaml_is_null(list))
        return AP_OK;
    if (list->kind != YAML_KIND_LIST)
        return yaml_fail(reading->err, list, "routes: expected a list of routes");
    reading->count += list->child_count;
    if (reading->count > ROUTES_MAX)
        return yaml_fail(reading->err, list, "more than %d routes", ROUTES_MAX);
    route->routes = ap_arena_alloc0(reading->arena, (list->child_count + 1) * sizeof(*route->routes));
    for (const struct yaml_node *node = list->first; node; node = node->next) {
        struct route *child = &route->routes[route->route_count];
        *child = *route; /* what it does not say itself */
        child->parent = route;
        child->index = route->route_count++;
        child->routes = NULL;
        child->route_count = 0;
        child->matchers = NULL;
        enum ap_rc rc = read_route(reading, node, child);
        if (rc != AP_OK)
            return rc;
    }
    return AP_OK;
}

/* As deep as the file is, which the reader of YAML limits. */
static enum ap_rc read_route(struct reading *reading, const struct yaml_node *node, struct route *route)
{
    struct route_form form = {0};
    enum ap_rc rc = yaml_read_struct(node, route_fields, AP_ARRAY_COUNT(route_fields), &form, reading->err);
    if (rc != AP_OK)
        return rc;
    route->node = node;
    route->receiver = form.receiver && form.receiver[0] ? form.receiver : route->receiver;
    route->is_continuing = form.is_continuing;
    route->muted_in = form.mute_time_intervals;
    route->active_in = form.active_time_intervals;
    rc = read_steps(reading, form.fallback, route);
    if (rc == AP_OK)
        rc = read_group_by(reading, form.group_by, route);
    if (rc == AP_OK)
        rc = read_duration(reading, node, "group_wait", form.group_wait, true, &route->group_wait_ms);
    if (rc == AP_OK)
        rc = read_duration(reading, node, "group_interval", form.group_interval, false, &route->group_interval_ms);
    if (rc == AP_OK)
        rc = read_duration(reading, node, "repeat_interval", form.repeat_interval, false, &route->repeat_interval_ms);
    if (rc == AP_OK)
        rc = read_matchers(reading, &form, route);
    return rc == AP_OK ? read_children(reading, form.routes, route) : rc;
}

static enum ap_rc check_root(const struct route *root, struct ap_err *err)
{
    if (!root->receiver)
        return yaml_fail(err, root->node, "root route must specify a default receiver");
    if (root->matchers->count)
        return yaml_fail(err, root->node, "root route must not have any matchers");
    if (root->muted_in.count)
        return yaml_fail(err, root->node, "root route must not have any mute time intervals");
    if (root->active_in.count)
        return yaml_fail(err, root->node, "root route must not have any active time intervals");
    if (root->is_continuing)
        return yaml_fail(err, root->node, "cannot have continue in root route");
    return AP_OK;
}

enum ap_rc route_read(const struct yaml_node *node, struct ap_arena *arena, struct route **ret_root, struct ap_err *err)
{
    struct reading reading = {.arena = arena, .err = err};
    struct route *root = ap_arena_alloc0(arena, sizeof(*root));
    root->group_wait_ms = ROUTE_GROUP_WAIT_MS;
    root->group_interval_ms = ROUTE_GROUP_INTERVAL_MS;
    root->repeat_interval_ms = ROUTE_REPEAT_INTERVAL_MS;
    *ret_root = root;
    enum ap_rc rc = read_route(&reading, node, root);
    return rc == AP_OK ? check_root(root, err) : rc;
}

static void clear_matchers(const struct route *route, void *context)
{
    (void)context;
    if (route->matchers)
        matchers_clear(route->matchers);
}

void route_clear(struct route *root)
{
    if (root)
        route_walk(root, clear_matchers, NULL);
}

/* ---- Asking ---- */

void route_walk(const struct route *root, route_fn each, void *context)
{
    each(root, context);
    for (size_t i = 0; i < root->route_count; i++)
        route_walk(&root->routes[i], each, context);
}

static bool match(const struct route *route, struct ap_slice labels, route_fn each, void *context)
{
    if (!matchers_match(route->matchers, labels))
        return false;
    bool has_child = false;
    for (size_t i = 0; i < route->route_count; i++) {
        bool is_child = match(&route->routes[i], labels, each, context);
        has_child |= is_child;
        if (is_child && !route->routes[i].is_continuing)
            break;
    }
    if (!has_child)
        each(route, context);
    return true;
}

void route_match(const struct route *root, struct ap_slice labels, route_fn each, void *context)
{
    (void)match(root, labels, each, context);
}

void route_key(const struct route *route, struct ap_buf *out)
{
    if (route->parent) {
        route_key(route->parent, out);
        ap_buf_add_char(out, '/');
    }
    matcher_text_format_list(route->matchers, out);
}

void route_id(const struct route *route, struct ap_buf *out)
{
    route_key(route, out);
    if (route->parent)
        ap_buf_printf(out, "/%zu", route->index);
}

enum ap_rc route_group_labels(const struct route *route, struct ap_slice labels, struct ap_buf *out, struct ap_err *err)
{
    if (route->is_grouped_by_all) {
        ap_buf_add_slice(out, labels);
        return AP_OK;
    }
    struct label kept[LABELS_COUNT_MAX];
    size_t count = 0;
    for (size_t i = 0; i < route->group_by_count && count < LABELS_COUNT_MAX; i++) {
        struct ap_slice name = ap_slice_cstr(route->group_by[i]);
        struct ap_slice value = labels_get(labels, name);
        if (value.bytes)
            kept[count++] = (struct label){name, value};
    }
    return count ? labels_encode(kept, count, out, err) : AP_OK;
}
