#include "alert/heartbeat_list.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { EVERY_MIN_MS = 1000, INTERVAL_MIN_MS = 1000, INTERVAL_MAX_MS = 15000 };
#define DAY_MS     INT64_C(86400000)
#define GRACE_TEXT "5m"

/* ---- The settings ---- */

#define AT(member) .offset = offsetof(struct heartbeat, member)
static const struct yaml_field fields[] = {
    {.key = "name",
     .type = YAML_TYPE_TEXT,
     AT(name),
     .is_required = true,
     .doc = "what its address ends with, such as backup"},
    {.key = "every",
     .type = YAML_TYPE_DURATION,
     AT(every_ms),
     .is_required = true,
     .doc = "how often it comes, such as 1d",
     .min = EVERY_MIN_MS,
     .max = 400 * DAY_MS},
    {.key = "grace",
     .type = YAML_TYPE_DURATION,
     AT(grace_ms),
     .default_text = GRACE_TEXT,
     .min = 0,
     .max = 400 * DAY_MS},
    {.key = "severity", .type = YAML_TYPE_TEXT, AT(severity), .default_text = "warning"},
    {.key = "labels", .type = YAML_TYPE_TEXT_MAP, AT(labels)},
};
#undef AT

/* What may stand in an address, a query and a template as it is. */
static bool is_name(const char *name)
{
    size_t bytes = strlen(name);
    return bytes > 0 && bytes <= HEARTBEAT_NAME_BYTES_MAX && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == bytes;
}

static bool is_label_name(const char *name)
{
    if (!isalpha((unsigned char)name[0]) && name[0] != '_')
        return false;
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '_')
            return false;
    return true;
}

static enum ap_rc check_labels(const struct yaml_texts *labels, struct ap_err *err)
{
    for (size_t i = 0; i < labels->count; i++) {
        const char *name = labels->keys[i];
        if (!is_label_name(name))
            return yaml_fail(err, labels->nodes[i]->key, "labels: \"%s\" cannot be the name of a label", name);
        if (strcmp(name, "alertname") == 0 || strcmp(name, "heartbeat") == 0 || strcmp(name, "severity") == 0)
            return yaml_fail(err, labels->nodes[i]->key, "labels: %s is set already; take another name", name);
        if (strstr(labels->items[i], "{{"))
            return yaml_fail(err, labels->nodes[i], "labels: %s: templates cannot be used here", name);
    }
    return AP_OK;
}

static enum ap_rc check(const struct yaml_node *node, const struct heartbeat_list *list, struct ap_err *err)
{
    const struct heartbeat *last = &list->items[list->count - 1];
    if (!is_name(last->name))
        return yaml_fail(err, yaml_get(node, "name"),
                         "name: expected up to %d letters, digits and any of \"._-\", which become part of an address",
                         HEARTBEAT_NAME_BYTES_MAX);
    for (size_t i = 0; i + 1 < list->count; i++)
        if (strcmp(list->items[i].name, last->name) == 0)
            return yaml_fail(err, yaml_get(node, "name"), "name: \"%s\" is there twice", last->name);
    if (strstr(last->severity, "{{"))
        return yaml_fail(err, yaml_get(node, "severity"), "severity: templates cannot be used here");
    return check_labels(&last->labels, err);
}

static enum ap_rc read_one(const struct yaml_node *node, struct heartbeat_list *list, struct ap_err *err)
{
    struct heartbeat *heartbeat = &list->items[list->count++];
    enum ap_rc rc = yaml_read_struct(node, fields, AP_ARRAY_COUNT(fields), heartbeat, err);
    if (rc != AP_OK)
        return rc;
    const struct yaml_node *grace = yaml_get(node, "grace");
    heartbeat->every_text = yaml_get(node, "every")->text.data;
    heartbeat->grace_text = grace && !yaml_is_null(grace) ? grace->text.data : GRACE_TEXT;
    return check(node, list, err);
}

enum ap_rc heartbeat_list_read(const struct yaml_node *node, struct heartbeat_list *ret_list, struct ap_err *err)
{
    struct heartbeat_list list = {0};
    *ret_list = list;
    if (!node)
        return AP_OK;
    if (node->kind != YAML_KIND_LIST)
        return yaml_fail(err, node, "heartbeats: expected a list such as [{name: backup, every: 1d}], found a %s",
                         yaml_kind_name(node->kind));
    if (node->child_count > HEARTBEATS_MAX)
        return yaml_fail(err, node, "heartbeats: more than %d", HEARTBEATS_MAX);
    list.items = ap_new0_array(struct heartbeat, node->child_count + 1);
    enum ap_rc rc = AP_OK;
    for (const struct yaml_node *item = node->first; item && rc == AP_OK; item = item->next)
        rc = read_one(item, &list, err);
    if (rc == AP_OK)
        *ret_list = list;
    else
        heartbeat_list_clear(&list);
    return rc;
}

void heartbeat_list_clear(struct heartbeat_list *list)
{
    free(list->items);
    *list = (struct heartbeat_list){0};
}

/* ---- The rules ---- */

static void add_text(struct ap_buf *out, const char *key, const char *text)
{
    ap_buf_printf(out, "%s: ", key);
    ap_buf_add_json_string(out, ap_slice_cstr(text)); /* also a text in double quotes in YAML */
}

/* heartbeat="…" comes with the series. */
static void add_labels(struct ap_buf *out, const struct heartbeat *heartbeat)
{
    ap_buf_add_cstr(out, "    labels: {");
    add_text(out, "severity", heartbeat->severity);
    for (size_t i = 0; i < heartbeat->labels.count; i++) {
        ap_buf_add_cstr(out, ", ");
        add_text(out, heartbeat->labels.keys[i], heartbeat->labels.items[i]);
    }
    ap_buf_add_cstr(out, "}\n");
}

static void add_annotations(struct ap_buf *out, const char *summary, const char *description)
{
    ap_buf_printf(out,
                  "    annotations:\n"
                  "      summary: %s\n"
                  "      description: >-\n"
                  "        %s\n"
                  "      runbook: docs/alerting.md#heart-beats-from-others\n",
                  summary, description);
}

/*
 * That the figure itself is not there (nothing can be written any more) is a missing beat too: nobody would notice it.
 */
static void add_missing(struct ap_buf *out, const struct heartbeat *heartbeat)
{
    const char *name = heartbeat->name;
    ap_buf_printf(out,
                  "  - alert: HeartbeatMissing\n"
                  "    expr: time() - " HEARTBEAT_DUE "{heartbeat=\"%s\"} > 0 or absent(" HEARTBEAT_DUE
                  "{heartbeat=\"%s\"})\n"
                  "    for: %" PRId64 "ms\n",
                  name, name, heartbeat->grace_ms);
    add_labels(out, heartbeat);
    AP_AUTO_FREE char *summary = ap_asprintf("The heart-beat %s is missing", name);
    AP_AUTO_FREE char *description = ap_asprintf("%s is to report every %s, and has not for more than %s beyond that: "
                                                 "it does not run, or does not reach Apiary. "
                                                 "{{ with query \"" HEARTBEAT_TIMESTAMP "{heartbeat='%s'}\" }}"
                                                 "It was last heard of at {{ . | first | value | humanizeTimestamp }}."
                                                 "{{ else }}It has never been heard of.{{ end }}",
                                                 name, heartbeat->every_text, heartbeat->grace_text, name);
    add_annotations(out, summary, description);
}

static void add_failed(struct ap_buf *out, const struct heartbeat *heartbeat)
{
    ap_buf_printf(out,
                  "  - alert: HeartbeatFailed\n"
                  "    expr: " HEARTBEAT_FAILED "{heartbeat=\"%s\"} == 1\n",
                  heartbeat->name);
    add_labels(out, heartbeat);
    AP_AUTO_FREE char *summary = ap_asprintf("%s reports that it failed", heartbeat->name);
    AP_AUTO_FREE char *description =
        ap_asprintf("The last heart-beat of %s said so itself (…/%s/fail). It is over with the next good one.",
                    heartbeat->name, heartbeat->name);
    add_annotations(out, summary, description);
}

/* A quarter of the shortest time: what is short is noticed soon, what is long costs little. */
static int64_t interval_ms(const struct heartbeat_list *list)
{
    int64_t interval = INTERVAL_MAX_MS;
    for (size_t i = 0; i < list->count; i++)
        interval = AP_MIN(interval, (list->items[i].every_ms + list->items[i].grace_ms) / 4);
    return AP_MAX(interval / 1000 * 1000, INTERVAL_MIN_MS);
}

void heartbeat_list_add_rules(const struct heartbeat_list *list, struct ap_buf *out)
{
    if (list->count == 0)
        return;
    ap_buf_printf(out, "- name: heartbeats\n  interval: %" PRId64 "ms\n  rules:\n", interval_ms(list));
    for (size_t i = 0; i < list->count; i++) {
        add_missing(out, &list->items[i]);
        add_failed(out, &list->items[i]);
    }
}
