#include "scrape/target_groups.h"

#include <string.h>

#include "base/buf.h"
#include "codec/json_reader.h"

/* ---- Making ---- */

struct target_groups *target_groups_new(void)
{
    struct target_groups *groups = ap_new0(struct target_groups);
    ap_arena_init(&groups->arena, 0);
    return groups;
}

void target_groups_free(struct target_groups *groups)
{
    if (!groups)
        return;
    ap_arena_clear(&groups->arena);
    free(groups->items);
    free(groups);
}

enum ap_rc target_groups_add(struct target_groups *groups, size_t target_count, struct target_group **ret_group,
                             struct ap_err *err)
{
    if (target_count > TARGET_GROUPS_TARGETS_MAX - groups->target_count)
        return ap_fail(err, AP_E_LIMIT, "more than %d targets", TARGET_GROUPS_TARGETS_MAX);
    if (groups->count == groups->capacity) {
        groups->capacity = AP_MAX(groups->capacity * 2, (size_t)8);
        groups->items = ap_realloc(groups->items, groups->capacity * sizeof(*groups->items));
    }
    groups->target_count += target_count;
    struct target_group *group = &groups->items[groups->count++];
    *group =
        (struct target_group){.targets = ap_arena_alloc0(&groups->arena, (target_count + 1) * sizeof(*group->targets))};
    *ret_group = group;
    return AP_OK;
}

static enum ap_rc keep_set(struct target_groups *groups, struct label *labels, size_t count, struct ap_slice *ret_set,
                           struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf set = {0};
    bool is_empty = true;
    for (size_t i = 0; i < count; i++)
        is_empty &= labels[i].value.bytes == 0;
    enum ap_rc rc = is_empty ? AP_OK : labels_encode(labels, count, &set, err);
    if (rc != AP_OK)
        return rc;
    const char *copy = set.bytes ? ap_arena_try_strndup(&groups->arena, ap_buf_slice(&set)) : "";
    *ret_set = ap_slice(copy, set.bytes);
    return AP_OK;
}

enum ap_rc target_group_set_labels(struct target_groups *groups, struct target_group *group, struct label *labels,
                                   size_t count, struct ap_err *err)
{
    return keep_set(groups, labels, count, &group->labels, err);
}

enum ap_rc target_group_add(struct target_groups *groups, struct target_group *group, struct label *labels,
                            size_t count, struct ap_err *err)
{
    return keep_set(groups, labels, count, &group->targets[group->count++], err);
}

static enum ap_rc add_address(struct target_groups *groups, struct target_group *group, struct ap_slice address,
                              struct ap_err *err)
{
    struct label label = {ap_slice_cstr(LABEL_ADDRESS), address};
    return target_group_add(groups, group, &label, 1, err);
}

enum ap_rc target_groups_append(struct target_groups *groups, const struct target_groups *other, struct ap_err *err)
{
    for (size_t i = 0; i < other->count; i++) {
        const struct target_group *from = &other->items[i];
        struct target_group *group;
        enum ap_rc rc = target_groups_add(groups, from->count, &group, err);
        if (rc != AP_OK)
            return rc;
        group->labels = ap_slice(ap_arena_try_strndup(&groups->arena, from->labels), from->labels.bytes);
        for (size_t t = 0; t < from->count; t++)
            group->targets[group->count++] =
                ap_slice(ap_arena_try_strndup(&groups->arena, from->targets[t]), from->targets[t].bytes);
    }
    return AP_OK;
}

/* The label goes over one of its name. */
static void set_label(struct label *labels, size_t *count, struct label label)
{
    for (size_t i = 0; i < *count; i++) {
        if (ap_slice_equal(labels[i].name, label.name)) {
            labels[i].value = label.value;
            return;
        }
    }
    labels[(*count)++] = label;
}

/* ---- YAML ---- */

static enum ap_rc read_yaml_labels(struct target_groups *groups, struct target_group *group,
                                   const struct yaml_node *node, const struct yaml_node *place,
                                   const struct label *meta, struct ap_err *err)
{
    struct yaml_texts texts = {0};
    const struct yaml_field as_map = {.key = "labels", .type = YAML_TYPE_TEXT_MAP};
    enum ap_rc rc = node ? yaml_read_node(node, &as_map, &texts, err) : AP_OK;
    if (rc != AP_OK)
        return rc;
    AP_AUTO_FREE struct label *labels = ap_new0_array(struct label, texts.count + 1);
    size_t count = 0;
    for (size_t i = 0; i < texts.count; i++) {
        if (texts.keys[i][0] == '\0')
            return yaml_fail(err, texts.nodes[i]->key, "\"\" is not a valid label name");
        labels[count++] = (struct label){ap_slice_cstr(texts.keys[i]), ap_slice_cstr(texts.items[i])};
    }
    if (meta)
        set_label(labels, &count, *meta);
    struct ap_err reason;
    rc = target_group_set_labels(groups, group, labels, count, &reason);
    return rc == AP_OK ? rc : yaml_fail(err, node ? node : place, "%s", reason.text);
}

static enum ap_rc read_yaml_targets(struct target_groups *groups, const struct yaml_node *node,
                                    const struct yaml_node *place, struct target_group **ret_group, struct ap_err *err)
{
    struct yaml_texts texts = {0};
    struct ap_err reason;
    const struct yaml_field as_list = {.key = "targets", .type = YAML_TYPE_TEXT_LIST};
    enum ap_rc rc = node ? yaml_read_node(node, &as_list, &texts, err) : AP_OK;
    if (rc != AP_OK)
        return rc;
    rc = target_groups_add(groups, texts.count, ret_group, &reason);
    if (rc != AP_OK)
        return yaml_fail(err, place, "%s", reason.text);
    for (size_t i = 0; i < texts.count; i++)
        if (add_address(groups, *ret_group, ap_slice_cstr(texts.items[i]), &reason) != AP_OK)
            return yaml_fail(err, texts.nodes[i], "%s", reason.text);
    return AP_OK;
}

enum ap_rc target_groups_read_yaml_one(struct target_groups *groups, const struct yaml_node *node,
                                       const struct label *meta, struct ap_err *err)
{
    struct form {
        const struct yaml_node *targets, *labels;
    } form = {0};
    static const struct yaml_field fields[] = {
        {.key = "targets", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, targets)},
        {.key = "labels", .type = YAML_TYPE_NODE, .offset = offsetof(struct form, labels)},
    };
    struct target_group *group;
    if (yaml_is_null(node))
        return yaml_fail(err, node, "nil target group item found");
    enum ap_rc rc = yaml_read_struct(node, fields, AP_ARRAY_COUNT(fields), &form, err);
    if (rc == AP_OK)
        rc = read_yaml_targets(groups, form.targets, node, &group, err);
    return rc == AP_OK ? read_yaml_labels(groups, group, form.labels, node, meta, err) : rc;
}

enum ap_rc target_groups_read_yaml(struct target_groups *groups, const struct yaml_node *list, const struct label *meta,
                                   struct ap_err *err)
{
    if (list->kind != YAML_KIND_LIST)
        return yaml_fail(err, list, "expected a list of {targets: [...], labels: {...}}, found a %s",
                         yaml_kind_name(list->kind));
    enum ap_rc rc = AP_OK;
    for (const struct yaml_node *node = list->first; node && rc == AP_OK; node = node->next)
        rc = target_groups_read_yaml_one(groups, node, meta, err);
    return rc;
}

/* ---- JSON ---- */

struct json_group {
    struct ap_slice *targets; /* owned */
    size_t target_count, target_capacity;
    struct label *labels; /* owned */
    size_t label_count, label_capacity;
};

static void json_group_clear(struct json_group *group)
{
    free(group->targets);
    free(group->labels);
}

static enum ap_rc read_json_targets(struct json_reader *reader, struct json_group *group, struct ap_err *err)
{
    bool is_there = false;
    group->target_count = 0;
    enum ap_rc rc = json_reader_begin_array(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_there, err)) == AP_OK && is_there) {
        if (group->target_count == group->target_capacity) {
            group->target_capacity = AP_MAX(group->target_capacity * 2, (size_t)16);
            group->targets = ap_realloc(group->targets, group->target_capacity * sizeof(*group->targets));
        }
        rc = json_reader_string(reader, &group->targets[group->target_count++], err);
    }
    return rc;
}

static enum ap_rc read_json_labels(struct json_reader *reader, struct json_group *group, struct ap_err *err)
{
    struct label label;
    bool is_there = false;
    group->label_count = 0;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_key(reader, &label.name, &is_there, err)) == AP_OK && is_there) {
        rc = json_reader_string(reader, &label.value, err);
        if (group->label_count + 1 >= group->label_capacity) { /* one is for `meta` */
            group->label_capacity = AP_MAX(group->label_capacity * 2, (size_t)16);
            group->labels = ap_realloc(group->labels, group->label_capacity * sizeof(*group->labels));
        }
        if (rc == AP_OK && label.name.bytes == 0)
            rc = ap_fail(err, AP_E_PARSE, "\"\" is not a valid label name");
        if (rc == AP_OK)
            set_label(group->labels, &group->label_count, label);
    }
    return rc;
}

/* A member that is null is as if it was not there. */
static enum ap_rc skip_null(struct json_reader *reader, bool *ret_is_null, struct ap_err *err)
{
    enum json_kind kind;
    enum ap_rc rc = json_reader_peek(reader, &kind, err);
    *ret_is_null = rc == AP_OK && kind == JSON_KIND_NULL;
    return *ret_is_null ? json_reader_null(reader, err) : rc;
}

static enum ap_rc read_json_group(struct json_reader *reader, struct json_group *group, struct ap_err *err)
{
    struct ap_slice key;
    bool is_there = false, is_null = false;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_key(reader, &key, &is_there, err)) == AP_OK && is_there) {
        bool is_targets = ap_slice_equal_cstr(key, "targets");
        if (!is_targets && !ap_slice_equal_cstr(key, "labels"))
            return ap_fail(err, AP_E_PARSE, "unknown field \"%.*s\"; a group has \"targets\" and \"labels\"",
                           (int)AP_MIN(key.bytes, (size_t)80), key.data);
        rc = skip_null(reader, &is_null, err);
        if (rc == AP_OK && !is_null)
            rc = is_targets ? read_json_targets(reader, group, err) : read_json_labels(reader, group, err);
    }
    return rc;
}

static enum ap_rc add_json_group(struct target_groups *groups, struct json_group *read, const struct label *meta,
                                 struct ap_err *err)
{
    struct target_group *group;
    struct label only[1];
    struct label *labels = read->labels ? read->labels : only;
    if (meta)
        set_label(labels, &read->label_count, *meta);
    enum ap_rc rc = target_groups_add(groups, read->target_count, &group, err);
    if (rc == AP_OK)
        rc = target_group_set_labels(groups, group, labels, read->label_count, err);
    for (size_t i = 0; i < read->target_count && rc == AP_OK; i++)
        rc = add_address(groups, group, read->targets[i], err);
    return rc;
}

static enum ap_rc read_json(struct target_groups *groups, struct json_reader *reader, const struct label *meta,
                            struct ap_err *err)
{
    bool is_there = false, is_null = false;
    enum ap_rc rc = json_reader_begin_array(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_there, err)) == AP_OK && is_there) {
        __attribute__((cleanup(json_group_clear))) struct json_group group = {0};
        rc = skip_null(reader, &is_null, err);
        if (rc == AP_OK && is_null)
            rc = ap_fail(err, AP_E_PARSE, "nil target group item found");
        if (rc == AP_OK)
            rc = read_json_group(reader, &group, err);
        if (rc == AP_OK)
            rc = add_json_group(groups, &group, meta, err);
    }
    return rc == AP_OK ? json_reader_finish(reader, err) : rc;
}

enum ap_rc target_groups_read_json(struct target_groups *groups, struct ap_slice text, const struct label *meta,
                                   struct ap_err *err)
{
    AP_AUTO_ARENA struct ap_arena arena = {0};
    struct json_reader reader;
    json_reader_init(&reader, text, &arena, &json_reader_limits_default);
    enum ap_rc rc = read_json(groups, &reader, meta, err);
    if (rc == AP_OK)
        return rc;
    struct json_position position = json_reader_position(&reader);
    return ap_err_prefix(err, "line %zu, column %zu", position.line, position.column);
}
