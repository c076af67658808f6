#include "ingest/push_groups.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum { TOLD_BYTES_MAX = 300, NAME_BYTES_MAX = 1100 };

/* ---- Groups ---- */

static void group_free(struct push_group *group)
{
    ap_buf_clear(&group->labels);
    ap_buf_clear(&group->pushed_labels);
    ap_buf_clear(&group->failed_labels);
    push_families_clear(&group->families);
    free(group);
}

void push_groups_clear(struct push_groups *groups)
{
    for (size_t i = 0; i < groups->count; i++)
        group_free(groups->items[i]);
    free(groups->items);
    *groups = (struct push_groups){0};
}

struct push_group *push_groups_find(const struct push_groups *groups, struct ap_slice labels)
{
    struct labels_hash hash = labels_hash_of(0, labels);
    for (size_t i = 0; i < groups->count; i++)
        if (labels_hash_equal(groups->items[i]->hash, hash) &&
            ap_slice_equal(ap_buf_slice(&groups->items[i]->labels), labels))
            return groups->items[i];
    return NULL;
}

/* `labels` and the metric's name. They are so few and short that this cannot fail. */
static void name_labels(struct ap_slice labels, const char *name, struct ap_buf *out)
{
    struct label all[PUSH_KEY_LABELS_MAX + 1];
    size_t count = 0;
    all[count++] = (struct label){ap_slice_cstr(LABEL_METRIC_NAME), ap_slice_cstr(name)};
    while (count < AP_ARRAY_COUNT(all) && labels_next(&labels, &all[count]))
        count++;
    enum ap_rc rc = labels_encode(all, count, out, NULL);
    AP_ASSERT(rc == AP_OK);
}

struct push_group *push_groups_add(struct push_groups *groups, struct ap_slice labels)
{
    struct push_group *group = ap_new0(struct push_group);
    ap_buf_add_slice(&group->labels, labels);
    group->hash = labels_hash_of(0, labels);
    name_labels(labels, "push_time_seconds", &group->pushed_labels);
    name_labels(labels, "push_failure_time_seconds", &group->failed_labels);
    if (groups->count == groups->capacity) {
        groups->capacity = groups->capacity ? groups->capacity * 2 : 16;
        groups->items = ap_realloc(groups->items, groups->capacity * sizeof(*groups->items));
    }
    groups->items[groups->count++] = group;
    groups->bytes += sizeof(*group) + 3 * labels.bytes;
    return group;
}

void push_groups_remove(struct push_groups *groups, struct push_group *take_group)
{
    struct push_families families = push_group_detach(groups, take_group);
    push_families_clear(&families);
    size_t i = 0;
    while (groups->items[i] != take_group)
        i++;
    groups->items[i] = groups->items[--groups->count];
    groups->bytes -= sizeof(*take_group) + 3 * take_group->labels.bytes;
    group_free(take_group);
}

/* ---- Families of a group ---- */

/* Where a family of this name is, or would be. */
static size_t place_of(const struct push_group *group, uint64_t name_hash)
{
    size_t low = 0;
    size_t high = group->families.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (group->families.items[middle]->name_hash < name_hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct push_family *find_family(const struct push_group *group, struct ap_slice name, uint64_t name_hash)
{
    for (size_t i = place_of(group, name_hash);
         i < group->families.count && group->families.items[i]->name_hash == name_hash; i++)
        if (ap_slice_equal(push_family_name(group->families.items[i]), name))
            return group->families.items[i];
    return NULL;
}

struct push_family *push_group_find(const struct push_group *group, struct ap_slice name)
{
    return find_family(group, name, push_name_hash(name));
}

static void account(struct push_groups *groups, const struct push_family *family, bool is_coming)
{
    size_t bytes = push_family_bytes(family);
    groups->bytes += is_coming ? bytes : -bytes;
    groups->series_count += is_coming ? family->count : -family->count;
}

struct push_family *push_group_put(struct push_groups *groups, struct push_group *group,
                                   struct push_family *take_family)
{
    struct push_families *families = &group->families;
    struct push_family *before = find_family(group, push_family_name(take_family), take_family->name_hash);
    account(groups, take_family, true);
    if (before) {
        size_t i = place_of(group, take_family->name_hash);
        while (families->items[i] != before)
            i++;
        families->items[i] = take_family;
        account(groups, before, false);
        return before;
    }
    size_t place = place_of(group, take_family->name_hash);
    push_families_add(families, take_family);
    memmove(&families->items[place + 1], &families->items[place],
            (families->count - 1 - place) * sizeof(families->items[0]));
    families->items[place] = take_family;
    return NULL;
}

struct push_families push_group_detach(struct push_groups *groups, struct push_group *group)
{
    struct push_families families = group->families;
    for (size_t i = 0; i < families.count; i++)
        account(groups, families.items[i], false);
    group->families = (struct push_families){0};
    return families;
}

/* ---- Do they fit together? ---- */

struct checking {
    const struct push_groups *groups;
    const struct push_group *own; /* the group they come into; NULL: a new one */
    const struct push_families *families;
    bool is_replacing;
};

/* "UNTYPED", as the Pushgateway writes types. */
static const char *type_text(enum metadata_type type, char text[32])
{
    const char *name = type == METADATA_UNKNOWN ? "untyped" : metadata_type_name(type);
    size_t bytes = AP_MIN(strlen(name), (size_t)31);
    for (size_t i = 0; i < bytes; i++)
        text[i] = (char)toupper((unsigned char)name[i]);
    text[bytes] = '\0';
    return text;
}

static enum ap_rc fail_series(const struct push_family *family, const struct push_series *series, const char *what,
                              struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    labels_format(push_series_labels(family, series), &text);
    return ap_fail(err, AP_E_CONFLICT, "collected metric %.*s %s",
                   AP_SLICE_ARG(ap_slice(text.data, AP_MIN(text.bytes, (size_t)TOLD_BYTES_MAX))), what);
}

static const char twice[] = "was collected before with the same name and label values";

static enum ap_rc check_within(const struct push_family *family, struct ap_err *err)
{
    for (size_t i = 1; i < family->count; i++)
        if (labels_hash_equal(family->series[i - 1].hash, family->series[i].hash))
            return fail_series(family, &family->series[i], twice, err);
    return AP_OK;
}

/* One of the same name, in another group. */
static enum ap_rc check_against(const struct push_family *family, const struct push_family *other, struct ap_err *err)
{
    char text[32];
    char what[64];
    if (other->type != family->type) {
        snprintf(what, sizeof(what), "is not a %s", type_text(other->type, text));
        return fail_series(family, &family->series[0], what, err);
    }
    for (size_t i = 0; i < other->count; i++)
        if (push_family_find(family, other->series[i].hash))
            return fail_series(other, &other->series[i], twice, err);
    return AP_OK;
}

/* The family of this name that will be there beside `families`, in any group. */
static const struct push_family *find_other(const struct checking *checking, struct ap_slice name)
{
    uint64_t hash = push_name_hash(name);
    for (size_t i = 0; i < checking->families->count; i++)
        if (checking->families->items[i]->name_hash == hash &&
            ap_slice_equal(push_family_name(checking->families->items[i]), name))
            return checking->families->items[i];
    for (size_t i = 0; i < checking->groups->count; i++) {
        const struct push_group *group = checking->groups->items[i];
        const struct push_family *found =
            group == checking->own && checking->is_replacing ? NULL : find_family(group, name, hash);
        if (found)
            return found;
    }
    return NULL;
}

static bool has_part(const struct push_family *family, const char *suffix)
{
    return family->type == METADATA_HISTOGRAM || (family->type == METADATA_SUMMARY && strcmp(suffix, "_bucket") != 0);
}

static enum ap_rc fail_collision(struct ap_slice part, const struct push_family *whole, struct ap_err *err)
{
    return ap_fail(err, AP_E_CONFLICT,
                   "collected metric named \"%.*s\" collides with previously collected %s named \"%.*s\"",
                   AP_SLICE_ARG(part), metadata_type_name(whole->type), AP_SLICE_ARG(push_family_name(whole)));
}

/* h_count is a metric of its own, or a part of the histogram h: not both. */
static enum ap_rc check_parts(const struct checking *checking, const struct push_family *family, struct ap_err *err)
{
    static const char *const suffixes[] = {"_bucket", "_sum", "_count"};
    struct ap_slice name = push_family_name(family);
    for (size_t i = 0; i < AP_ARRAY_COUNT(suffixes); i++) {
        size_t bytes = strlen(suffixes[i]);
        char part[NAME_BYTES_MAX];
        if (name.bytes > bytes && memcmp(name.data + name.bytes - bytes, suffixes[i], bytes) == 0) {
            const struct push_family *whole = find_other(checking, ap_slice(name.data, name.bytes - bytes));
            if (whole && has_part(whole, suffixes[i]))
                return fail_collision(name, whole, err);
        }
        if (!has_part(family, suffixes[i]) || name.bytes + bytes > sizeof(part))
            continue;
        memcpy(part, name.data, name.bytes);
        memcpy(part + name.bytes, suffixes[i], bytes);
        if (find_other(checking, ap_slice(part, name.bytes + bytes)))
            return fail_collision(ap_slice(part, name.bytes + bytes), family, err);
    }
    return AP_OK;
}

static enum ap_rc check(const struct checking *checking, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t f = 0; f < checking->families->count && rc == AP_OK; f++) {
        const struct push_family *family = checking->families->items[f];
        rc = check_within(family, err);
        for (size_t i = 0; i < checking->groups->count && rc == AP_OK; i++) {
            const struct push_group *group = checking->groups->items[i];
            const struct push_family *other =
                group == checking->own ? NULL : find_family(group, push_family_name(family), family->name_hash);
            if (other)
                rc = check_against(family, other, err);
        }
        if (rc == AP_OK)
            rc = check_parts(checking, family, err);
    }
    return rc;
}

enum ap_rc push_groups_check(const struct push_groups *groups, struct ap_slice labels,
                             const struct push_families *families, bool is_replacing, struct ap_err *err)
{
    const struct checking checking = {
        .groups = groups,
        .own = push_groups_find(groups, labels),
        .families = families,
        .is_replacing = is_replacing,
    };
    return check(&checking, err);
}
