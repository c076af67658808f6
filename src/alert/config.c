#include "alert/config.h"

#include <string.h>

#include "alert/matcher_text.h"
#include "base/assert.h"

struct config_form {
    const struct yaml_node *global;
    const struct yaml_node *route;
    const struct yaml_node *receivers;
    const struct yaml_node *inhibit_rules;
    struct yaml_texts templates;
    const struct yaml_node *time_intervals;
    const struct yaml_node *mute_time_intervals;
    const struct yaml_node *tracing;
};

#define AT(struct_, member) .offset = offsetof(struct struct_, member)
static const struct yaml_field config_fields[] = {
    {.key = "global", .type = YAML_TYPE_NODE, AT(config_form, global)},
    {.key = "route", .type = YAML_TYPE_NODE, AT(config_form, route)},
    {.key = "receivers", .type = YAML_TYPE_NODE, AT(config_form, receivers)},
    {.key = "inhibit_rules", .type = YAML_TYPE_NODE, AT(config_form, inhibit_rules)},
    {.key = "templates", .type = YAML_TYPE_TEXT_LIST, AT(config_form, templates)},
    {.key = "time_intervals", .type = YAML_TYPE_NODE, AT(config_form, time_intervals)},
    {.key = "mute_time_intervals", .type = YAML_TYPE_NODE, AT(config_form, mute_time_intervals)},
    {.key = "tracing", .type = YAML_TYPE_NODE, AT(config_form, tracing)}, /* Alertmanager's own spans */
};

/* NULL is an empty list. */
static enum ap_rc check_list(const struct yaml_node *node, const char *what, size_t *ret_count, struct ap_err *err)
{
    *ret_count = 0;
    if (!node || yaml_is_null(node))
        return AP_OK;
    if (node->kind != YAML_KIND_LIST)
        return yaml_fail(err, node, "expected a list of %s", what);
    *ret_count = node->child_count;
    return AP_OK;
}

/* ---- Receivers ---- */

static enum ap_rc read_receivers(const struct yaml_node *list, struct alert_config *config, struct ap_err *err)
{
    size_t count;
    enum ap_rc rc = check_list(list, "receivers", &count, err);
    if (rc != AP_OK)
        return rc;
    config->receivers = ap_arena_alloc0(&config->arena, (count + 1) * sizeof(*config->receivers));
    for (const struct yaml_node *node = count ? list->first : NULL; node; node = node->next) {
        struct receiver *receiver = &config->receivers[config->receiver_count];
        rc = receiver_read(node, &config->global, &config->arena, receiver, err);
        if (rc != AP_OK)
            return rc;
        if (alert_config_receiver(config, receiver->name))
            return yaml_fail(err, node, "notification config name \"%s\" is not unique", receiver->name);
        receiver->first_way_index = config->way_count;
        config->way_count += receiver->way_count;
        config->receiver_count++;
    }
    return AP_OK;
}

/* ---- Time intervals ---- */

static enum ap_rc read_named(const struct yaml_node *node, struct alert_config *config, struct ap_err *err)
{
    struct form {
        const char *name;
        const struct yaml_node *time_intervals;
    } form = {0};
    static const struct yaml_field fields[] = {
        {.key = "name", .type = YAML_TYPE_TEXT, AT(form, name), .is_required = true},
        {.key = "time_intervals", .type = YAML_TYPE_NODE, AT(form, time_intervals)},
    };
    struct named_intervals *named = &config->intervals[config->interval_count];
    size_t count;
    enum ap_rc rc = yaml_read_struct(node, fields, AP_ARRAY_COUNT(fields), &form, err);
    if (rc == AP_OK)
        rc = check_list(form.time_intervals, "time intervals", &count, err);
    if (rc != AP_OK)
        return rc;
    if (form.name[0] == '\0')
        return yaml_fail(err, node, "missing name in time interval");
    if (alert_config_intervals(config, form.name))
        return yaml_fail(err, node, "time interval \"%s\" is not unique", form.name);
    named->name = form.name;
    named->node = node;
    named->items = ap_arena_alloc0(&config->arena, (count + 1) * sizeof(*named->items));
    config->interval_count++;
    for (const struct yaml_node *item = count ? form.time_intervals->first : NULL; item && rc == AP_OK;
         item = item->next)
        rc = time_interval_read(item, &config->arena, &named->items[named->count++], err);
    return rc;
}

static enum ap_rc read_intervals(const struct config_form *form, struct alert_config *config, struct ap_err *err)
{
    const struct yaml_node *lists[] = {form->mute_time_intervals,
                                       form->time_intervals}; /* the first is the older name */
    size_t counts[AP_ARRAY_COUNT(lists)];
    for (size_t i = 0; i < AP_ARRAY_COUNT(lists); i++) {
        enum ap_rc rc = check_list(lists[i], "named time intervals", &counts[i], err);
        if (rc != AP_OK)
            return rc;
    }
    config->intervals = ap_arena_alloc0(&config->arena, (counts[0] + counts[1] + 1) * sizeof(*config->intervals));
    for (size_t i = 0; i < AP_ARRAY_COUNT(lists); i++)
        for (const struct yaml_node *node = counts[i] ? lists[i]->first : NULL; node; node = node->next) {
            enum ap_rc rc = read_named(node, config, err);
            if (rc != AP_OK)
                return rc;
        }
    return AP_OK;
}

/* ---- Inhibition ---- */

struct inhibit_form {
    const char *name;
    const struct yaml_node *source_match, *source_match_re, *source_matchers;
    const struct yaml_node *target_match, *target_match_re, *target_matchers;
    struct yaml_texts equal;
};
static const struct yaml_field inhibit_fields[] = {
    {.key = "name", .type = YAML_TYPE_TEXT, AT(inhibit_form, name)},
    {.key = "source_match", .type = YAML_TYPE_NODE, AT(inhibit_form, source_match)},
    {.key = "source_match_re", .type = YAML_TYPE_NODE, AT(inhibit_form, source_match_re)},
    {.key = "source_matchers", .type = YAML_TYPE_NODE, AT(inhibit_form, source_matchers)},
    {.key = "target_match", .type = YAML_TYPE_NODE, AT(inhibit_form, target_match)},
    {.key = "target_match_re", .type = YAML_TYPE_NODE, AT(inhibit_form, target_match_re)},
    {.key = "target_matchers", .type = YAML_TYPE_NODE, AT(inhibit_form, target_matchers)},
    {.key = "equal", .type = YAML_TYPE_TEXT_LIST, AT(inhibit_form, equal)},
};

static enum ap_rc read_inhibit(const struct yaml_node *node, struct inhibit_rule *rule, struct ap_err *err)
{
    struct inhibit_form form = {0};
    enum ap_rc rc = yaml_read_struct(node, inhibit_fields, AP_ARRAY_COUNT(inhibit_fields), &form, err);
    if (rc != AP_OK)
        return rc;
    const struct {
        const struct yaml_node *node;
        const char *key;
        enum matcher_kind kind;
        struct matchers *to;
    } maps[] = {
        {form.source_match, "source_match", MATCHER_EQUAL, &rule->source},
        {form.source_match_re, "source_match_re", MATCHER_REGEX, &rule->source},
        {form.target_match, "target_match", MATCHER_EQUAL, &rule->target},
        {form.target_match_re, "target_match_re", MATCHER_REGEX, &rule->target},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(maps) && rc == AP_OK; i++)
        rc = matcher_text_read_map(maps[i].node, maps[i].key, maps[i].kind, maps[i].to, err);
    if (rc == AP_OK)
        rc = matcher_text_read_list(form.source_matchers, "source_matchers", &rule->source, err);
    if (rc == AP_OK)
        rc = matcher_text_read_list(form.target_matchers, "target_matchers", &rule->target, err);
    for (size_t i = 0; i < form.equal.count && rc == AP_OK; i++) {
        struct ap_slice name = ap_slice_cstr(form.equal.items[i]);
        if (name.bytes == 0 || ap_utf8_valid_bytes(name) != name.bytes)
            rc = yaml_fail(err, form.equal.nodes[i], "invalid label name \"%s\" in equal list", form.equal.items[i]);
    }
    rule->name = form.name;
    rule->equal = form.equal;
    return rc;
}

static enum ap_rc read_inhibits(const struct yaml_node *list, struct alert_config *config, struct ap_err *err)
{
    size_t count;
    enum ap_rc rc = check_list(list, "inhibition rules", &count, err);
    if (rc != AP_OK)
        return rc;
    config->inhibit_rules = ap_arena_alloc0(&config->arena, (count + 1) * sizeof(*config->inhibit_rules));
    for (const struct yaml_node *node = count ? list->first : NULL; node && rc == AP_OK; node = node->next)
        rc = read_inhibit(node, &config->inhibit_rules[config->inhibit_rule_count++], err);
    return rc;
}

/* ---- All of it ---- */

struct check {
    const struct alert_config *config;
    enum ap_rc rc;
    struct ap_err *err;
};

static void check_route(const struct route *route, void *context)
{
    struct check *check = context;
    const struct yaml_texts *lists[] = {&route->muted_in, &route->active_in};
    if (check->rc != AP_OK)
        return;
    for (size_t i = 0; i < route->step_count && check->rc == AP_OK; i++) {
        struct route_step *step = &route->steps[i];
        step->receiver = alert_config_receiver(check->config, step->name);
        if (!step->receiver)
            check->rc = yaml_fail(check->err, step->node, "undefined receiver \"%s\" used in route", step->name);
    }
    for (size_t i = 0; i < AP_ARRAY_COUNT(lists); i++)
        for (size_t j = 0; j < lists[i]->count && check->rc == AP_OK; j++)
            if (!alert_config_intervals(check->config, lists[i]->items[j]))
                check->rc = yaml_fail(check->err, lists[i]->nodes[j], "undefined time interval \"%s\" used in route",
                                      lists[i]->items[j]);
}

static enum ap_rc read_config(struct alert_config *config, struct ap_err *err)
{
    struct config_form form = {0};
    const struct yaml_node *top = yaml_root(config->document);
    enum ap_rc rc = yaml_read_struct(top, config_fields, AP_ARRAY_COUNT(config_fields), &form, err);
    if (rc != AP_OK)
        return rc;
    if (!form.route || yaml_is_null(form.route))
        return yaml_fail(err, top, "no route provided in config");
    config->templates = form.templates;
    rc = receiver_global_read(form.global, &config->global, err);
    if (rc == AP_OK)
        rc = read_receivers(form.receivers, config, err);
    if (rc == AP_OK)
        rc = read_intervals(&form, config, err);
    if (rc == AP_OK)
        rc = read_inhibits(form.inhibit_rules, config, err);
    if (rc == AP_OK)
        rc = route_read(form.route, &config->arena, &config->root, err);
    struct check check = {config, rc, err};
    if (rc == AP_OK)
        route_walk(config->root, check_route, &check);
    return check.rc;
}

static enum ap_rc read_document(struct yaml_document *take_document, struct alert_config **ret_config,
                                struct ap_err *err)
{
    AP_AUTO(alert_config) struct alert_config *config = ap_new0(struct alert_config);
    config->document = take_document;
    ap_arena_init(&config->arena, 0);
    enum ap_rc rc = read_config(config, err);
    if (rc == AP_OK)
        *ret_config = AP_MOVE(config);
    return rc;
}

enum ap_rc alert_config_load(const char *path, struct alert_config **ret_config, struct ap_err *err)
{
    struct yaml_document *document;
    enum ap_rc rc = yaml_load(path, &document, err);
    return rc == AP_OK ? read_document(document, ret_config, err) : rc;
}

enum ap_rc alert_config_parse(struct ap_slice text, const char *name, struct alert_config **ret_config,
                              struct ap_err *err)
{
    struct yaml_document *document;
    enum ap_rc rc = yaml_parse(text, name, &document, err);
    return rc == AP_OK ? read_document(document, ret_config, err) : rc;
}

struct alert_config *alert_config_new_silent(void)
{
    static const char text[] = "route: {receiver: none}\nreceivers: [{name: none}]\n";
    struct alert_config *config = NULL;
    struct ap_err err;
    enum ap_rc rc = alert_config_parse(ap_slice_cstr(text), "", &config, &err);
    AP_ASSERT(rc == AP_OK);
    return config;
}

enum ap_rc alert_config_add_builtin(struct alert_config *config, struct alert_config *take_builtin, struct ap_err *err)
{
    AP_AUTO(alert_config) struct alert_config *builtin = take_builtin;
    AP_ASSERT(!config->builtin);
    for (size_t i = 0; i < builtin->receiver_count; i++)
        if (alert_config_receiver(config, builtin->receivers[i].name))
            return ap_fail(err, AP_E_CONFLICT, "the receiver \"%s\" is the server's own; give yours another name",
                           builtin->receivers[i].name);
    for (size_t i = 0; i < builtin->receiver_count; i++)
        builtin->receivers[i].first_way_index += config->way_count;
    config->way_count += builtin->way_count;
    config->builtin = AP_MOVE(builtin);
    return AP_OK;
}

void alert_config_match(const struct alert_config *config, struct ap_slice labels, route_fn each, void *context)
{
    const struct route *added = config->builtin ? config->builtin->root : NULL;
    for (size_t i = 0; added && i < added->route_count; i++) {
        if (!matchers_match(added->routes[i].matchers, labels))
            continue;
        route_match(&added->routes[i], labels, each, context);
        return;
    }
    route_match(config->root, labels, each, context);
}

void alert_config_free(struct alert_config *config)
{
    if (!config)
        return;
    route_clear(config->root);
    for (size_t i = 0; i < config->inhibit_rule_count; i++) {
        matchers_clear(&config->inhibit_rules[i].source);
        matchers_clear(&config->inhibit_rules[i].target);
    }
    for (size_t i = 0; i < config->interval_count; i++)
        for (size_t j = 0; j < config->intervals[i].count; j++)
            time_interval_clear(&config->intervals[i].items[j]);
    alert_config_free(config->builtin);
    ap_arena_clear(&config->arena);
    yaml_free(config->document);
    free(config);
}

const struct receiver *alert_config_receiver(const struct alert_config *config, const char *name)
{
    for (size_t i = 0; i < config->receiver_count; i++)
        if (strcmp(config->receivers[i].name, name) == 0)
            return &config->receivers[i];
    return config->builtin ? alert_config_receiver(config->builtin, name) : NULL;
}

const struct named_intervals *alert_config_intervals(const struct alert_config *config, const char *name)
{
    for (size_t i = 0; i < config->interval_count; i++)
        if (strcmp(config->intervals[i].name, name) == 0)
            return &config->intervals[i];
    return NULL;
}

bool named_intervals_contain(const struct named_intervals *intervals, int64_t unix_s)
{
    for (size_t i = 0; i < intervals->count; i++)
        if (time_interval_contains(&intervals->items[i], unix_s))
            return true;
    return false;
}

bool alert_config_contains(const struct alert_config *config, const struct yaml_texts *names, int64_t unix_s)
{
    for (size_t i = 0; i < names->count; i++)
        if (named_intervals_contain(alert_config_intervals(config, names->items[i]), unix_s))
            return true;
    return false;
}
