#include "alert/receiver.h"

#include <string.h>

#include "promql/lexer.h"

/* ---- Settings ---- */

#define TEXT(struct_, name)                                                                                            \
    {                                                                                                                  \
        .key = #name, .type = YAML_TYPE_TEXT, .offset = offsetof(struct struct_, name)                                 \
    }
#define NODE(struct_, name)                                                                                            \
    {                                                                                                                  \
        .key = #name, .type = YAML_TYPE_NODE, .offset = offsetof(struct struct_, name)                                 \
    }
#define MAP(struct_, name)                                                                                             \
    {                                                                                                                  \
        .key = #name, .type = YAML_TYPE_TEXT_MAP, .offset = offsetof(struct struct_, name)                             \
    }
#define BOOLEAN(struct_, key_, member, default_)                                                                       \
    {                                                                                                                  \
        .key = (key_), .type = YAML_TYPE_BOOLEAN, .offset = offsetof(struct struct_, member),                          \
        .default_text = (default_)                                                                                     \
    }

struct webhook_form {
    struct webhook_way way;
    bool send_resolved;
};
struct pagerduty_form {
    struct pagerduty_way way;
    bool send_resolved;
};
struct slack_form {
    struct slack_way way;
    bool send_resolved;
};
struct email_form {
    struct email_way way;
    bool send_resolved;
};

static const struct yaml_field webhook_fields[] = {
    BOOLEAN(webhook_form, "send_resolved", send_resolved, "true"),
    TEXT(webhook_way, url),
    TEXT(webhook_way, url_file),
    TEXT(webhook_way, signing_secret),
    TEXT(webhook_way, signing_secret_file),
    {.key = "max_alerts",
     .type = YAML_TYPE_INTEGER,
     .offset = offsetof(struct webhook_way, alerts_max),
     .default_text = "0",
     .min = 0,
     .max = INT32_MAX},
    TEXT(webhook_way, timeout),
    NODE(webhook_way, http_config),
};

static const struct yaml_field pagerduty_fields[] = {
    BOOLEAN(pagerduty_form, "send_resolved", send_resolved, "true"),
    TEXT(pagerduty_way, routing_key),
    TEXT(pagerduty_way, routing_key_file),
    TEXT(pagerduty_way, service_key),
    TEXT(pagerduty_way, service_key_file),
    TEXT(pagerduty_way, url),
    TEXT(pagerduty_way, client),
    TEXT(pagerduty_way, client_url),
    TEXT(pagerduty_way, description),
    TEXT(pagerduty_way, severity),
    TEXT(pagerduty_way, source),
    TEXT(pagerduty_way, component),
    TEXT(pagerduty_way, class),
    TEXT(pagerduty_way, group),
    MAP(pagerduty_way, details),
    NODE(pagerduty_way, images),
    NODE(pagerduty_way, links),
    BOOLEAN(pagerduty_way, "change_events", is_change, "false"),
    TEXT(pagerduty_way, timeout),
    NODE(pagerduty_way, http_config),
};

static const struct yaml_field slack_fields[] = {
    BOOLEAN(slack_form, "send_resolved", send_resolved, "false"),
    TEXT(slack_way, api_url),
    TEXT(slack_way, api_url_file),
    TEXT(slack_way, app_token),
    TEXT(slack_way, app_token_file),
    TEXT(slack_way, app_url),
    TEXT(slack_way, channel),
    TEXT(slack_way, username),
    TEXT(slack_way, color),
    TEXT(slack_way, title),
    TEXT(slack_way, title_link),
    TEXT(slack_way, pretext),
    TEXT(slack_way, text),
    TEXT(slack_way, message_text),
    TEXT(slack_way, footer),
    TEXT(slack_way, fallback),
    TEXT(slack_way, callback_id),
    TEXT(slack_way, icon_emoji),
    TEXT(slack_way, icon_url),
    TEXT(slack_way, image_url),
    TEXT(slack_way, thumb_url),
    BOOLEAN(slack_way, "short_fields", is_short, "false"),
    BOOLEAN(slack_way, "link_names", is_linking_names, "false"),
    BOOLEAN(slack_way, "update_message", is_updating, "false"),
    {.key = "mrkdwn_in", .type = YAML_TYPE_TEXT_LIST, .offset = offsetof(struct slack_way, mrkdwn_in)},
    NODE(slack_way, fields),
    NODE(slack_way, actions),
    TEXT(slack_way, timeout),
    NODE(slack_way, http_config),
};

static const struct yaml_field email_fields[] = {
    BOOLEAN(email_form, "send_resolved", send_resolved, "false"),
    TEXT(email_way, to),
    TEXT(email_way, from),
    TEXT(email_way, hello),
    TEXT(email_way, smarthost),
    TEXT(email_way, auth_username),
    TEXT(email_way, auth_password),
    TEXT(email_way, auth_password_file),
    TEXT(email_way, auth_secret),
    TEXT(email_way, auth_secret_file),
    TEXT(email_way, auth_identity),
    MAP(email_way, headers),
    TEXT(email_way, html),
    TEXT(email_way, text),
    NODE(email_way, require_tls),
    NODE(email_way, tls_config),
    NODE(email_way, threading),
};

#define GLOBAL(name) TEXT(receiver_global, name)
static const struct yaml_field global_fields[] = {
    {.key = "resolve_timeout",
     .type = YAML_TYPE_DURATION,
     .offset = offsetof(struct receiver_global, resolve_timeout_ms),
     .default_text = "5m"},
    NODE(receiver_global, http_config),
    GLOBAL(pagerduty_url),
    GLOBAL(slack_api_url),
    GLOBAL(slack_api_url_file),
    GLOBAL(slack_app_token),
    GLOBAL(slack_app_token_file),
    GLOBAL(slack_app_url),
    GLOBAL(smtp_from),
    GLOBAL(smtp_hello),
    GLOBAL(smtp_smarthost),
    GLOBAL(smtp_auth_username),
    GLOBAL(smtp_auth_password),
    GLOBAL(smtp_auth_password_file),
    GLOBAL(smtp_auth_secret),
    GLOBAL(smtp_auth_secret_file),
    GLOBAL(smtp_auth_identity),
    BOOLEAN(receiver_global, "smtp_require_tls", is_smtp_tls_required, "true"),
    NODE(receiver_global, smtp_tls_config),
};

/* ---- What must be there ---- */

static enum ap_rc need_one(const struct yaml_node *node, const char *a_name, const char *a, const char *b_name,
                           const char *b, struct ap_err *err)
{
    if (a && b)
        return yaml_fail(err, node, "at most one of %s & %s must be configured", a_name, b_name);
    if (!a && !b)
        return yaml_fail(err, node, "one of %s or %s must be configured", a_name, b_name);
    return AP_OK;
}

static enum ap_rc check_url(const struct yaml_node *node, const char *key, const char *url, struct ap_err *err)
{
    if (!url || strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0)
        return AP_OK;
    return yaml_fail(err, yaml_get(node, key), "%s: expected an address that begins with http:// or https://", key);
}

static enum ap_rc check_webhook(const struct receiver_way *way, const struct receiver_global *global,
                                struct ap_err *err)
{
    (void)global;
    enum ap_rc rc = need_one(way->node, "url", way->webhook.url, "url_file", way->webhook.url_file, err);
    if (rc == AP_OK && way->webhook.signing_secret && way->webhook.signing_secret_file)
        rc = yaml_fail(err, way->node, "at most one of signing_secret & signing_secret_file must be configured");
    return rc == AP_OK ? check_url(way->node, "url", way->webhook.url, err) : rc;
}

static enum ap_rc check_pagerduty(const struct receiver_way *way, const struct receiver_global *global,
                                  struct ap_err *err)
{
    (void)global;
    const struct pagerduty_way *pagerduty = &way->pagerduty;
    const char *keys[] = {pagerduty->routing_key, pagerduty->routing_key_file, pagerduty->service_key,
                          pagerduty->service_key_file};
    size_t count = 0;
    for (size_t i = 0; i < AP_ARRAY_COUNT(keys); i++)
        count += keys[i] != NULL;
    if (count != 1)
        return yaml_fail(
            err, way->node,
            "exactly one of routing_key, routing_key_file, service_key, service_key_file must be configured");
    if (pagerduty->is_change && !pagerduty->routing_key && !pagerduty->routing_key_file)
        return yaml_fail(err, yaml_get(way->node, "change_events"),
                         "change_events: they are of PagerDuty's Events API v2, which takes a routing_key or "
                         "routing_key_file");
    return check_url(way->node, "url", pagerduty->url, err);
}

static enum ap_rc check_slack(const struct receiver_way *way, const struct receiver_global *global, struct ap_err *err)
{
    const struct slack_way *slack = &way->slack;
    if (slack->api_url && slack->api_url_file)
        return yaml_fail(err, way->node, "at most one of api_url & api_url_file must be configured");
    if (slack->app_token && slack->app_token_file)
        return yaml_fail(err, way->node, "at most one of app_token & app_token_file must be configured");
    if (!slack->api_url && !slack->api_url_file && !slack->app_token && !slack->app_token_file &&
        !global->slack_api_url && !global->slack_api_url_file && !global->slack_app_token &&
        !global->slack_app_token_file)
        return yaml_fail(err, way->node, "no global Slack API URL set either inline or in a file");
    return check_url(way->node, "api_url", slack->api_url, err);
}

static bool is_host_port(const char *text)
{
    const char *colon = strrchr(text, ':');
    return colon && colon > text && colon[1];
}

static enum ap_rc check_email(const struct receiver_way *way, const struct receiver_global *global, struct ap_err *err)
{
    const struct email_way *email = &way->email;
    if (!email->to || !email->to[0])
        return yaml_fail(err, way->node, "missing to address in email config");
    if (!email->smarthost && !global->smtp_smarthost)
        return yaml_fail(err, way->node, "no global SMTP smarthost set");
    if (email->smarthost && !is_host_port(email->smarthost))
        return yaml_fail(err, yaml_get(way->node, "smarthost"), "smarthost: expected host:port, found \"%s\"",
                         email->smarthost);
    if (!email->from && !global->smtp_from)
        return yaml_fail(err, way->node, "no global SMTP from set");
    return AP_OK;
}

/* ---- Kinds ---- */

struct kind {
    const char *key; /* in the file */
    const char *name;
    const struct yaml_field *fields;
    size_t field_count;
    enum ap_rc (*check)(const struct receiver_way *way, const struct receiver_global *global, struct ap_err *err);
};

#define KIND(name_)                                                                                                    \
    {                                                                                                                  \
#name_ "_configs", #name_, name_##_fields, AP_ARRAY_COUNT(name_##_fields), check_##name_                       \
    }
static const struct kind kinds[RECEIVER_KIND_COUNT] = {
    [RECEIVER_WEBHOOK] = KIND(webhook),
    [RECEIVER_PAGERDUTY] = KIND(pagerduty),
    [RECEIVER_SLACK] = KIND(slack),
    [RECEIVER_EMAIL] = KIND(email),
};

const char *receiver_kind_name(enum receiver_kind kind)
{
    return kinds[kind].name;
}

union any_form {
    struct webhook_form webhook;
    struct pagerduty_form pagerduty;
    struct slack_form slack;
    struct email_form email;
};

static void take_form(const union any_form *form, struct receiver_way *way)
{
    switch (way->kind) {
    case RECEIVER_WEBHOOK:
        way->webhook = form->webhook.way;
        way->is_sending_resolved = form->webhook.send_resolved;
        break;
    case RECEIVER_PAGERDUTY:
        way->pagerduty = form->pagerduty.way;
        /* A change that is over is none, unless somebody says so. */
        way->is_sending_resolved =
            form->pagerduty.send_resolved && (!way->pagerduty.is_change || yaml_get(way->node, "send_resolved"));
        break;
    case RECEIVER_SLACK:
        way->slack = form->slack.way;
        way->is_sending_resolved = form->slack.send_resolved;
        break;
    case RECEIVER_EMAIL:
        way->email = form->email.way;
        way->is_sending_resolved = form->email.send_resolved;
        break;
    case RECEIVER_KIND_COUNT:
        break;
    }
}

static enum ap_rc check_timeout(const struct yaml_node *node, struct ap_err *err)
{
    const struct yaml_node *timeout = yaml_get(node, "timeout");
    int64_t ms;
    if (!timeout || yaml_is_null(timeout) || promql_parse_duration(timeout->text, &ms))
        return AP_OK;
    return yaml_fail(err, timeout, "timeout: expected a duration such as 10s, found \"%.*s\"",
                     AP_SLICE_ARG(timeout->text));
}

static enum ap_rc read_way(const struct yaml_node *node, enum receiver_kind kind, const struct receiver_global *global,
                           struct receiver_way *way, struct ap_err *err)
{
    union any_form form;
    memset(&form, 0, sizeof(form));
    enum ap_rc rc = yaml_read_struct(node, kinds[kind].fields, kinds[kind].field_count, &form, err);
    if (rc == AP_OK)
        rc = check_timeout(node, err);
    if (rc != AP_OK)
        return rc;
    way->kind = kind;
    way->node = node;
    take_form(&form, way);
    return kinds[kind].check(way, global, err);
}

struct receiver_form {
    const char *name;
    const struct yaml_node *lists[RECEIVER_KIND_COUNT];
};

static enum ap_rc check_keys(const struct yaml_node *node, struct ap_err *err)
{
    /* What Alertmanager sends to and this server does not. */
    static const char *const others[] = {
        "discord",  "incidentio", "jira", "mattermost", "msteams",   "msteamsv2", "opsgenie",
        "pushover", "rocketchat", "sns",  "telegram",   "victorops", "webex",     "wechat",
    };
    for (const struct yaml_node *value = node->first; value; value = value->next)
        for (size_t i = 0; i < AP_ARRAY_COUNT(others); i++) {
            struct ap_slice key = value->key->text;
            size_t bytes = strlen(others[i]);
            if (ap_slice_starts_with(key, others[i]) &&
                ap_slice_equal_cstr(ap_slice(key.data + bytes, key.bytes - bytes), "_configs"))
                return yaml_fail(
                    err, value->key,
                    "%.*s: this server notifies by webhook, PagerDuty, Slack and e-mail; most services take "
                    "a webhook too",
                    AP_SLICE_ARG(key));
        }
    return AP_OK;
}

enum ap_rc receiver_read(const struct yaml_node *node, const struct receiver_global *global, struct ap_arena *arena,
                         struct receiver *ret_receiver, struct ap_err *err)
{
    struct yaml_field fields[RECEIVER_KIND_COUNT + 1] = {
        {.key = "name", .type = YAML_TYPE_TEXT, .offset = offsetof(struct receiver_form, name), .is_required = true},
    };
    for (size_t i = 0; i < RECEIVER_KIND_COUNT; i++)
        fields[i + 1] =
            (struct yaml_field){.key = kinds[i].key,
                                .type = YAML_TYPE_NODE,
                                .offset = offsetof(struct receiver_form, lists) + i * sizeof(const struct yaml_node *)};
    struct receiver_form form = {0};
    enum ap_rc rc = node->kind == YAML_KIND_MAP ? check_keys(node, err) : AP_OK;
    if (rc == AP_OK)
        rc = yaml_read_struct(node, fields, AP_ARRAY_COUNT(fields), &form, err);
    if (rc != AP_OK)
        return rc;
    if (form.name[0] == '\0')
        return yaml_fail(err, node, "missing name in receiver");
    *ret_receiver = (struct receiver){.name = form.name, .node = node};
    size_t max = 0;
    for (size_t kind = 0; kind < RECEIVER_KIND_COUNT; kind++)
        if (form.lists[kind] && !yaml_is_null(form.lists[kind])) {
            if (form.lists[kind]->kind != YAML_KIND_LIST)
                return yaml_fail(err, form.lists[kind], "%s: expected a list", kinds[kind].key);
            max += form.lists[kind]->child_count;
        }
    ret_receiver->ways = ap_arena_alloc0(arena, (max + 1) * sizeof(*ret_receiver->ways));
    for (size_t kind = 0; kind < RECEIVER_KIND_COUNT && rc == AP_OK; kind++)
        for (const struct yaml_node *way = form.lists[kind] ? form.lists[kind]->first : NULL; way && rc == AP_OK;
             way = way->next)
            rc = read_way(way, (enum receiver_kind)kind, global, &ret_receiver->ways[ret_receiver->way_count++], err);
    return rc;
}

size_t receiver_way_index(const struct receiver *receiver, const struct receiver_way *way)
{
    size_t index = 0;
    for (const struct receiver_way *before = receiver->ways; before < way; before++)
        index += before->kind == way->kind;
    return index;
}

enum ap_rc receiver_global_read(const struct yaml_node *node, struct receiver_global *ret_global, struct ap_err *err)
{
    memset(ret_global, 0, sizeof(*ret_global));
    ret_global->resolve_timeout_ms = 5 * 60 * 1000;
    ret_global->is_smtp_tls_required = true;
    if (!node || yaml_is_null(node))
        return AP_OK;
    enum ap_rc rc = yaml_read_struct(node, global_fields, AP_ARRAY_COUNT(global_fields), ret_global, err);
    if (rc != AP_OK)
        return rc;
    if (ret_global->slack_api_url && ret_global->slack_api_url_file)
        return yaml_fail(err, node, "at most one of slack_api_url & slack_api_url_file must be configured");
    if (ret_global->smtp_auth_password && ret_global->smtp_auth_password_file)
        return yaml_fail(err, node, "at most one of smtp_auth_password & smtp_auth_password_file must be configured");
    if (ret_global->smtp_auth_secret && ret_global->smtp_auth_secret_file)
        return yaml_fail(err, node, "at most one of smtp_auth_secret & smtp_auth_secret_file must be configured");
    if (ret_global->smtp_smarthost && !is_host_port(ret_global->smtp_smarthost))
        return yaml_fail(err, yaml_get(node, "smtp_smarthost"), "smtp_smarthost: expected host:port, found \"%s\"",
                         ret_global->smtp_smarthost);
    rc = check_url(node, "pagerduty_url", ret_global->pagerduty_url, err);
    return rc == AP_OK ? check_url(node, "slack_api_url", ret_global->slack_api_url, err) : rc;
}
