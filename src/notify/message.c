#include "notify/message.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alert/alert_set.h"
#include "base/clock.h"
#include "notify/defaults.h"
#include "notify/file_text.h"
#include "tsdb/labels.h"

/* ---- Templates ---- */

struct message_templates {
    struct template **items; /* owned; each is the library of the next */
    size_t count;
    uint32_t reference_count; /* atomic */
};

static enum ap_rc add_template(struct message_templates *templates, struct ap_slice text, struct ap_err *err)
{
    templates->items = ap_realloc(templates->items, (templates->count + 1) * sizeof(struct template *));
    enum ap_rc rc = template_parse_message(text, message_library(templates), &templates->items[templates->count], err);
    templates->count += rc == AP_OK;
    return rc;
}

static enum ap_rc add_file(struct message_templates *templates, const char *path, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    enum ap_rc rc = file_text_read(path, TEMPLATE_BYTES_MAX, &text, err);
    if (rc == AP_OK)
        rc = add_template(templates, ap_buf_slice(&text), err);
    return rc == AP_OK ? rc : ap_err_prefix(err, "%s", path);
}

/* Relative to the configuration file. A pattern that nothing fits is none, as in Alertmanager. */
static enum ap_rc add_pattern(struct message_templates *templates, const char *file, const char *pattern,
                              struct ap_err *err)
{
    const char *slash = strrchr(file, '/');
    AP_AUTO_FREE char *path =
        pattern[0] == '/' || !slash ? ap_strdup(pattern) : ap_asprintf("%.*s/%s", (int)(slash - file), file, pattern);
    glob_t found;
    if (glob(path, 0, NULL, &found) != 0)
        return AP_OK;
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < found.gl_pathc && rc == AP_OK; i++)
        rc = add_file(templates, found.gl_pathv[i], err);
    globfree(&found);
    return rc;
}

enum ap_rc message_templates_load(const struct alert_config *config, struct message_templates **ret, struct ap_err *err)
{
    AP_AUTO(message_templates) struct message_templates *templates = ap_new0(struct message_templates);
    templates->reference_count = 1;
    enum ap_rc rc = add_template(templates, ap_slice_cstr(message_default_templates), err);
    for (size_t i = 0; config && i < config->templates.count && rc == AP_OK; i++)
        rc = add_pattern(templates, yaml_file(config->document), config->templates.items[i], err);
    if (rc == AP_OK)
        *ret = AP_MOVE(templates);
    return rc;
}

struct message_templates *message_templates_ref(struct message_templates *templates)
{
    __atomic_add_fetch(&templates->reference_count, 1, __ATOMIC_RELAXED);
    return templates;
}

void message_templates_unref(struct message_templates *templates)
{
    if (!templates || __atomic_sub_fetch(&templates->reference_count, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < templates->count; i++)
        template_free(templates->items[i]);
    free(templates->items);
    free(templates);
}

const struct template *message_library(const struct message_templates *templates)
{
    return templates->count ? templates->items[templates->count - 1] : NULL;
}

/* ---- Types of values, with Alertmanager's methods ---- */

static enum ap_rc no_room(struct ap_err *err)
{
    return ap_fail(err, AP_E_LIMIT, "the template's values need too much memory");
}

static enum ap_rc no_arguments(struct ap_slice name, size_t count, struct ap_err *err)
{
    return count ? ap_fail(err, AP_E_CONFLICT, "%.*s takes no arguments", AP_SLICE_ARG(name)) : AP_OK;
}

static const struct template_type type_pairs;
static const struct template_type type_labels;

/* Names (column 0) or values (1) of a list of pairs. */
static enum ap_rc column_of(const struct template_value *pairs, size_t column, struct ap_arena *arena,
                            struct template_value *ret, struct ap_err *err)
{
    struct template_value *items = ap_arena_try_alloc(arena, (pairs->list.count + 1) * sizeof(*items));
    if (!items)
        return no_room(err);
    for (size_t i = 0; i < pairs->list.count; i++)
        items[i] = pairs->list.items[i].map.items[column].value;
    *ret = (struct template_value){.kind = TEMPLATE_LIST, .list = {items, pairs->list.count}};
    return AP_OK;
}

static enum ap_rc call_pairs(const struct template_value *value, struct ap_slice name,
                             const struct template_value *arguments, size_t count, struct ap_arena *arena,
                             bool *ret_is_there, struct template_value *ret, struct ap_err *err)
{
    (void)arguments;
    bool is_names = ap_slice_equal_cstr(name, "Names");
    if (!is_names && !ap_slice_equal_cstr(name, "Values"))
        return AP_OK;
    *ret_is_there = true;
    enum ap_rc rc = no_arguments(name, count, err);
    return rc == AP_OK ? column_of(value, is_names ? 0 : 1, arena, ret, err) : rc;
}

static void print_pairs(const struct template_value *value, struct ap_buf *out)
{
    for (size_t i = 0; i < value->list.count; i++) {
        const struct template_member *pair = value->list.items[i].map.items;
        ap_buf_add_cstr(out, i ? ", " : "");
        ap_buf_add_slice(out, pair[0].value.text);
        ap_buf_add_char(out, '=');
        ap_buf_add_slice(out, pair[1].value.text);
    }
}

static const struct template_type type_pairs = {.call = call_pairs, .print = print_pairs};

/* By name, but alertname first. */
static enum ap_rc pairs_of(const struct template_value *labels, struct ap_arena *arena, struct template_value *ret,
                           struct ap_err *err)
{
    size_t count = labels->map.count, at = 0;
    struct template_value *items = ap_arena_try_alloc(arena, (count + 1) * sizeof(*items));
    struct template_member *members = ap_arena_try_alloc(arena, (2 * count + 1) * sizeof(*members));
    if (!items || !members)
        return no_room(err);
    for (int is_rest = 0; is_rest < 2; is_rest++)
        for (size_t i = 0; i < count; i++) {
            const struct template_member *label = &labels->map.items[i];
            if (ap_slice_equal_cstr(label->name, "alertname") == (bool)is_rest)
                continue;
            struct template_member *pair = &members[2 * at];
            pair[0] = (struct template_member){ap_slice_cstr("Name"), template_text(label->name)};
            pair[1] = (struct template_member){ap_slice_cstr("Value"), label->value};
            items[at++] = (struct template_value){.kind = TEMPLATE_STRUCT, .map = {pair, 2}};
        }
    *ret = (struct template_value){.kind = TEMPLATE_LIST, .type = &type_pairs, .list = {items, count}};
    return AP_OK;
}

static bool has_text(const struct template_value *list, struct ap_slice text)
{
    for (size_t i = 0; i < list->list.count; i++)
        if (list->list.items[i].kind == TEMPLATE_TEXT && ap_slice_equal(list->list.items[i].text, text))
            return true;
    return false;
}

static enum ap_rc remove_names(const struct template_value *labels, const struct template_value *names,
                               struct ap_arena *arena, struct template_value *ret, struct ap_err *err)
{
    struct template_member *members = ap_arena_try_alloc(arena, (labels->map.count + 1) * sizeof(*members));
    size_t count = 0;
    if (!members)
        return no_room(err);
    for (size_t i = 0; i < labels->map.count; i++)
        if (!has_text(names, labels->map.items[i].name))
            members[count++] = labels->map.items[i];
    *ret = (struct template_value){.kind = TEMPLATE_MAP, .type = &type_labels, .map = {members, count}};
    return AP_OK;
}

static enum ap_rc call_labels(const struct template_value *value, struct ap_slice name,
                              const struct template_value *arguments, size_t count, struct ap_arena *arena,
                              bool *ret_is_there, struct template_value *ret, struct ap_err *err)
{
    *ret_is_there = true;
    if (ap_slice_equal_cstr(name, "Remove")) {
        if (count != 1 || arguments[0].kind != TEMPLATE_LIST)
            return ap_fail(err, AP_E_CONFLICT, "Remove takes a list of names");
        return remove_names(value, &arguments[0], arena, ret, err);
    }
    bool is_pairs = ap_slice_equal_cstr(name, "SortedPairs"), is_names = ap_slice_equal_cstr(name, "Names");
    if (!is_pairs && !is_names && !ap_slice_equal_cstr(name, "Values")) {
        *ret_is_there = false;
        return AP_OK;
    }
    enum ap_rc rc = no_arguments(name, count, err);
    struct template_value pairs;
    if (rc == AP_OK)
        rc = pairs_of(value, arena, &pairs, err);
    if (rc != AP_OK || !is_pairs)
        return rc == AP_OK ? column_of(&pairs, is_names ? 0 : 1, arena, ret, err) : rc;
    *ret = pairs;
    return AP_OK;
}

static void print_labels(const struct template_value *value, struct ap_buf *out)
{
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    struct template_value pairs;
    if (pairs_of(value, &arena, &pairs, NULL) == AP_OK)
        print_pairs(&pairs, out);
}

static const struct template_type type_labels = {.call = call_labels, .print = print_labels};

static struct ap_slice status_of(const struct template_value *alert)
{
    return alert->map.items[0].value.text;
}

static enum ap_rc call_alerts(const struct template_value *value, struct ap_slice name,
                              const struct template_value *arguments, size_t count, struct ap_arena *arena,
                              bool *ret_is_there, struct template_value *ret, struct ap_err *err)
{
    (void)arguments;
    bool is_firing = ap_slice_equal_cstr(name, "Firing");
    if (!is_firing && !ap_slice_equal_cstr(name, "Resolved"))
        return AP_OK;
    *ret_is_there = true;
    enum ap_rc rc = no_arguments(name, count, err);
    if (rc != AP_OK)
        return rc;
    struct template_value *items = ap_arena_try_alloc(arena, (value->list.count + 1) * sizeof(*items));
    size_t found = 0;
    if (!items)
        return no_room(err);
    for (size_t i = 0; i < value->list.count; i++)
        if (ap_slice_equal_cstr(status_of(&value->list.items[i]), "firing") == is_firing)
            items[found++] = value->list.items[i];
    *ret = (struct template_value){.kind = TEMPLATE_LIST, .list = {items, found}};
    return AP_OK;
}

static const struct template_type type_alerts = {.call = call_alerts};

/* ---- Data ---- */

enum alert_member { STATUS, LABELS, ANNOTATIONS, STARTS_AT, ENDS_AT, GENERATOR_URL, FINGERPRINT, ALERT_MEMBER_COUNT };
enum data_member {
    RECEIVER,
    DATA_STATUS,
    ALERTS,
    GROUP_LABELS,
    COMMON_LABELS,
    COMMON_ANNOTATIONS,
    EXTERNAL_URL,
    NOTIFICATION_REASON,
    FALLBACK_FOR,
    DATA_MEMBER_COUNT
};

struct message {
    const struct notification *notification;
    const struct message_templates *templates;
    struct ap_slice external_url;
    int64_t now_ms;
    size_t alert_count; /* that are told */
    struct ap_arena arena;
    struct template_member data[DATA_MEMBER_COUNT];
    bool is_firing;
};

static struct template_value labels_value(struct message *message, struct ap_slice labels)
{
    size_t count = 0;
    struct ap_slice rest = labels;
    struct label label;
    while (labels_next(&rest, &label))
        count++;
    struct template_member *members = ap_arena_alloc0(&message->arena, (count + 1) * sizeof(*members));
    count = 0;
    while (labels_next(&labels, &label))
        members[count++] = (struct template_member){label.name, template_text(label.value)};
    return (struct template_value){.kind = TEMPLATE_MAP, .type = &type_labels, .map = {members, count}};
}

/* What is the same in all alerts; `member` LABELS or ANNOTATIONS. */
static struct template_value common_value(struct message *message, const struct template_value *alerts,
                                          enum alert_member which)
{
    struct template_value first = {.kind = TEMPLATE_MAP, .type = &type_labels};
    if (!alerts->list.count)
        return first;
    first = alerts->list.items[0].map.items[which].value;
    struct template_member *members = ap_arena_alloc0(&message->arena, (first.map.count + 1) * sizeof(*members));
    size_t count = 0;
    for (size_t i = 0; i < first.map.count; i++) {
        const struct template_member *one = &first.map.items[i];
        bool is_common = true;
        for (size_t a = 1; a < alerts->list.count && is_common; a++) {
            struct ap_slice other = labels_get(which == LABELS ? message->notification->alerts[a].labels
                                                               : message->notification->alerts[a].annotations,
                                               one->name);
            is_common = ap_slice_equal(other, one->value.text);
        }
        if (is_common)
            members[count++] = *one;
    }
    return (struct template_value){.kind = TEMPLATE_MAP, .type = &type_labels, .map = {members, count}};
}

static struct template_value alert_value(struct message *message, const struct notified_alert *alert)
{
    static const char *const names[] = {"Status", "Labels",       "Annotations", "StartsAt",
                                        "EndsAt", "GeneratorURL", "Fingerprint"};
    struct template_member *members = ap_arena_alloc0(&message->arena, ALERT_MEMBER_COUNT * sizeof(*members));
    for (size_t i = 0; i < ALERT_MEMBER_COUNT; i++)
        members[i].name = ap_slice_cstr(names[i]);
    char *fingerprint = ap_arena_alloc0(&message->arena, 17);
    snprintf(fingerprint, 17, "%016llx", (unsigned long long)alert_fingerprint(alert->labels));
    members[STATUS].value = template_text(ap_slice_cstr(alert->is_resolved ? "resolved" : "firing"));
    members[LABELS].value = labels_value(message, alert->labels);
    members[ANNOTATIONS].value = labels_value(message, alert->annotations);
    /* An end that is not reached is not told, as in Alertmanager. */
    (void)!template_moment(&message->arena, alert->starts_ms, 0, &members[STARTS_AT].value, NULL);
    (void)!template_moment(&message->arena, alert->is_resolved ? alert->ends_ms : TEMPLATE_MOMENT_ZERO_MS, 0,
                           &members[ENDS_AT].value, NULL);
    members[GENERATOR_URL].value = template_text(alert->generator_url);
    members[FINGERPRINT].value = template_text(ap_slice_cstr(fingerprint));
    return (struct template_value){.kind = TEMPLATE_STRUCT, .map = {members, ALERT_MEMBER_COUNT}};
}

/* The receiver's name is given as a regular expression that fits it, as in Alertmanager. */
static struct ap_slice quoted(struct message *message, const char *name)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    for (; *name; name++) {
        if (strchr("\\.+*?()|[]{}^$", *name))
            ap_buf_add_char(&text, '\\');
        ap_buf_add_char(&text, *name);
    }
    char *copy = ap_arena_try_strndup(&message->arena, ap_buf_slice(&text));
    return ap_slice(copy, copy ? text.bytes : 0);
}

static void make_data(struct message *message)
{
    static const char *const names[] = {
        "Receiver",           "Status",     "Alerts", "GroupLabels", "CommonLabels", "CommonAnnotations", "ExternalURL",
        "NotificationReason", "FallbackFor"};
    const struct notification *notification = message->notification;
    for (size_t i = 0; i < DATA_MEMBER_COUNT; i++)
        message->data[i].name = ap_slice_cstr(names[i]);
    struct template_value *alerts =
        ap_arena_alloc0(&message->arena, (message->alert_count + 1) * sizeof(struct template_value));
    message->is_firing = false;
    for (size_t i = 0; i < message->alert_count; i++) {
        alerts[i] = alert_value(message, &notification->alerts[i]);
        message->is_firing |= !notification->alerts[i].is_resolved;
    }
    struct template_value list = {.kind = TEMPLATE_LIST, .type = &type_alerts, .list = {alerts, message->alert_count}};
    message->data[RECEIVER].value = template_text(quoted(message, notification->receiver->name));
    message->data[DATA_STATUS].value = template_text(ap_slice_cstr(message->is_firing ? "firing" : "resolved"));
    message->data[ALERTS].value = list;
    message->data[GROUP_LABELS].value = labels_value(message, notification->group_labels);
    message->data[COMMON_LABELS].value = common_value(message, &list, LABELS);
    message->data[COMMON_ANNOTATIONS].value = common_value(message, &list, ANNOTATIONS);
    message->data[EXTERNAL_URL].value = template_text(message->external_url);
    const char *reason = notification_reason_text(notification->reason);
    const char *late = notification->fallback_of ? notification->fallback_of->name : "";
    message->data[NOTIFICATION_REASON].value = template_text(ap_slice_cstr(reason));
    message->data[FALLBACK_FOR].value = template_text(ap_slice_cstr(late));
}

struct message *message_new(const struct notification *notification, const struct message_templates *templates,
                            struct ap_slice external_url, int64_t now_ms)
{
    struct message *message = ap_new0(struct message);
    message->notification = notification;
    message->templates = templates;
    message->external_url = external_url;
    message->now_ms = now_ms;
    message->alert_count = notification->alert_count;
    ap_arena_init(&message->arena, 0);
    make_data(message);
    return message;
}

void message_free(struct message *message)
{
    if (!message)
        return;
    ap_arena_clear(&message->arena);
    free(message);
}

uint64_t message_truncate(struct message *message, uint64_t alerts_max)
{
    if (alerts_max == 0 || message->alert_count <= alerts_max)
        return 0;
    uint64_t left_out = message->alert_count - alerts_max;
    message->alert_count = alerts_max;
    ap_arena_reset(&message->arena);
    make_data(message);
    return left_out;
}

bool message_shorten(struct message *message, uint64_t alerts_max)
{
    bool is_firing = message->is_firing;
    if (!message_truncate(message, alerts_max))
        return false;
    message->is_firing = is_firing;
    message->data[DATA_STATUS].value = template_text(ap_slice_cstr(is_firing ? "firing" : "resolved"));
    return true;
}

bool message_is_firing(const struct message *message)
{
    return message->is_firing;
}

/* ---- Texts ---- */

enum ap_rc message_check(const struct template *library, const char *what, const char *text, struct ap_err *err)
{
    AP_AUTO(template) struct template *template = NULL;
    enum ap_rc rc = template_parse_message(ap_slice_cstr(text), library, &template, err);
    return rc == AP_OK ? rc : ap_err_prefix(err, "%s", what);
}

static enum ap_rc run(const struct message *message, const char *what, const char *text, bool is_html,
                      struct ap_buf *out, struct ap_err *err)
{
    if (!strstr(text, "{{")) {
        ap_buf_add_cstr(out, text);
        return AP_OK;
    }
    struct template_environment environment = {
        .dot = {.kind = TEMPLATE_STRUCT, .map = {message->data, DATA_MEMBER_COUNT}},
        .external_url = message->external_url,
        .now_ms = message->now_ms,
        .is_html = is_html,
    };
    AP_AUTO(template) struct template *template = NULL;
    enum ap_rc rc = template_parse_message(ap_slice_cstr(text), message_library(message->templates), &template, err);
    if (rc == AP_OK)
        rc = template_run(template, &environment, out, err);
    return rc == AP_OK ? rc : ap_err_prefix(err, "%s", what);
}

enum ap_rc message_text(const struct message *message, const char *what, const char *text, struct ap_buf *out,
                        struct ap_err *err)
{
    return run(message, what, text, false, out, err);
}

enum ap_rc message_html(const struct message *message, const char *what, const char *text, struct ap_buf *out,
                        struct ap_err *err)
{
    return run(message, what, text, true, out, err);
}

void message_cut(struct ap_buf *text, size_t runes_max)
{
    static const char ellipsis[] = "\xE2\x80\xA6";
    size_t runes = 0, cut = 0;
    for (size_t i = 0; i < text->bytes; i++) {
        bool is_start = (text->data[i] & 0xC0) != 0x80;
        if (is_start && runes + 1 == runes_max)
            cut = i; /* where the last character begins */
        runes += is_start;
    }
    if (runes_max == 0 || runes <= runes_max)
        return;
    text->bytes = cut;
    ap_buf_add_cstr(text, ellipsis);
}

/* ---- JSON ---- */

static void add_key(struct ap_buf *out, const char *key)
{
    if (out->bytes && out->data[out->bytes - 1] != '{')
        ap_buf_add_char(out, ',');
    ap_buf_printf(out, "\"%s\":", key);
}

static void add_text(struct ap_buf *out, const char *key, struct ap_slice text)
{
    add_key(out, key);
    ap_buf_add_json_string(out, text);
}

static void add_map(struct ap_buf *out, const char *key, const struct template_value *map)
{
    add_key(out, key);
    ap_buf_add_char(out, '{');
    for (size_t i = 0; i < map->map.count; i++) {
        ap_buf_add_cstr(out, i ? "," : "");
        ap_buf_add_json_string(out, map->map.items[i].name);
        ap_buf_add_char(out, ':');
        ap_buf_add_json_string(out, map->map.items[i].value.text);
    }
    ap_buf_add_char(out, '}');
}

/* RFC 3339 with as many digits behind the second as there are. */
static void add_time(struct ap_buf *out, const char *key, const struct template_value *moment)
{
    char text[AP_TIME_TEXT_BYTES];
    ap_time_format(moment->list.items[0].integer * 1000, text);
    size_t bytes = strlen(text) - 1; /* without the Z */
    while (text[bytes - 1] == '0' && memchr(text, '.', bytes))
        bytes--;
    bytes -= text[bytes - 1] == '.';
    add_key(out, key);
    ap_buf_printf(out, "\"%.*sZ\"", (int)bytes, text);
}

static void add_alert(struct ap_buf *out, const struct template_member *alert)
{
    ap_buf_add_char(out, '{');
    add_text(out, "status", alert[STATUS].value.text);
    add_map(out, "labels", &alert[LABELS].value);
    add_map(out, "annotations", &alert[ANNOTATIONS].value);
    add_time(out, "startsAt", &alert[STARTS_AT].value);
    add_time(out, "endsAt", &alert[ENDS_AT].value);
    add_text(out, "generatorURL", alert[GENERATOR_URL].value.text);
    add_text(out, "fingerprint", alert[FINGERPRINT].value.text);
    ap_buf_add_char(out, '}');
}

void message_json(const struct message *message, struct ap_buf *out)
{
    const struct template_member *data = message->data;
    add_text(out, "receiver", data[RECEIVER].value.text);
    add_text(out, "status", data[DATA_STATUS].value.text);
    add_key(out, "alerts");
    ap_buf_add_char(out, '[');
    for (size_t i = 0; i < data[ALERTS].value.list.count; i++) {
        ap_buf_add_cstr(out, i ? "," : "");
        add_alert(out, data[ALERTS].value.list.items[i].map.items);
    }
    ap_buf_add_char(out, ']');
    add_text(out, "notification_reason", data[NOTIFICATION_REASON].value.text);
    if (data[FALLBACK_FOR].value.text.bytes)
        add_text(out, "fallbackFor", data[FALLBACK_FOR].value.text);
    add_map(out, "groupLabels", &data[GROUP_LABELS].value);
    add_map(out, "commonLabels", &data[COMMON_LABELS].value);
    add_map(out, "commonAnnotations", &data[COMMON_ANNOTATIONS].value);
    add_text(out, "externalURL", data[EXTERNAL_URL].value.text);
}
