/*
 * Slack: an incoming webhook, or with an app's token the Web API, where the message of before can be changed.
 *
 * A message is known by its channel and its ts; both together are the delivery's reference: "C024BE91L
 * 1401383885.000061".
 */
#include <stdio.h>
#include <string.h>

#include "codec/json_reader.h"
#include "notify/post.h"
#include "notify/sender.h"

#define API_URL "https://slack.com/api/chat.postMessage"
enum { TITLE_RUNES_MAX = 1024 };

/* Settings that are templates; those without a default are left out when they are empty. */
struct slack_text {
    const char *key; /* in JSON and in the configuration */
    size_t offset;
    const char *by_default;
    bool is_always;
    size_t runes_max;
};
#define TEXT(name, ...)                                                                                                \
    {                                                                                                                  \
#name, offsetof(struct slack_way, name), __VA_ARGS__                                                           \
    }
static const struct slack_text message_texts[] = {
    TEXT(channel, NULL, false, 0),
    TEXT(username, "{{ template \"slack.default.username\" . }}", false, 0),
    TEXT(icon_emoji, "{{ template \"slack.default.iconemoji\" . }}", false, 0),
    TEXT(icon_url, "{{ template \"slack.default.iconurl\" . }}", false, 0),
};
static const struct slack_text attachment_texts[] = {
    TEXT(title, "{{ template \"slack.default.title\" . }}", false, TITLE_RUNES_MAX),
    TEXT(title_link, "{{ template \"slack.default.titlelink\" . }}", false, 0),
    TEXT(pretext, "{{ template \"slack.default.pretext\" . }}", false, 0),
    TEXT(text, "{{ template \"slack.default.text\" . }}", true, 0),
    TEXT(fallback, "{{ template \"slack.default.fallback\" . }}", true, 0),
    TEXT(callback_id, "{{ template \"slack.default.callbackid\" . }}", true, 0),
    TEXT(image_url, NULL, false, 0),
    TEXT(thumb_url, NULL, false, 0),
    TEXT(footer, "{{ template \"slack.default.footer\" . }}", true, 0),
    TEXT(color, "{{ if eq .Status \"firing\" }}danger{{ else }}good{{ end }}", false, 0),
};

static const char *setting(const struct slack_way *way, const struct slack_text *text)
{
    const char *given = *(const char *const *)(const void *)((const char *)way + text->offset);
    return given ? given : text->by_default;
}

static enum ap_rc check_texts(const struct slack_way *way, const struct slack_text *texts, size_t count,
                              const struct template *library, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (size_t i = 0; i < count && rc == AP_OK; i++)
        if (setting(way, &texts[i]))
            rc = message_check(library, texts[i].key, setting(way, &texts[i]), err);
    return rc;
}

static enum ap_rc check(const struct receiver_way *way, const struct receiver_global *global,
                        const struct template *library, struct ap_err *err)
{
    (void)global;
    enum ap_rc rc = post_check(way->slack.http_config, err);
    if (rc == AP_OK)
        rc = check_texts(&way->slack, message_texts, AP_ARRAY_COUNT(message_texts), library, err);
    if (rc == AP_OK)
        rc = check_texts(&way->slack, attachment_texts, AP_ARRAY_COUNT(attachment_texts), library, err);
    return rc;
}

/* ---- The message ---- */

struct building {
    struct sending *sending;
    struct ap_buf *out;
    struct ap_err *err;
    enum ap_rc rc;
};

static void add_key(struct building *building, const char *key)
{
    char last = building->out->data[building->out->bytes - 1];
    ap_buf_printf(building->out, "%s\"%s\":", last == '{' || last == '[' ? "" : ",", key);
}

static void add(struct building *building, const char *key, const char *template, bool is_always, size_t runes_max)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    if (building->rc == AP_OK && template)
        building->rc = message_text(building->sending->message, key, template, &text, building->err);
    if (building->rc != AP_OK || (text.bytes == 0 && !is_always))
        return;
    message_cut(&text, runes_max);
    add_key(building, key);
    ap_buf_add_json_string(building->out, ap_buf_slice(&text));
}

static void add_texts(struct building *building, const struct slack_text *texts, size_t count)
{
    const struct slack_way *way = &building->sending->notification->way->slack;
    for (size_t i = 0; i < count; i++)
        add(building, texts[i].key, setting(way, &texts[i]), texts[i].is_always, texts[i].runes_max);
}

static const char *member(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *node = map->kind == YAML_KIND_MAP ? yaml_get(map, key) : NULL;
    return node && node->kind == YAML_KIND_SCALAR && !yaml_is_null(node) ? node->text.data : NULL;
}

static void add_fields(struct building *building, const struct slack_way *way)
{
    if (!way->fields || way->fields->kind != YAML_KIND_LIST || !way->fields->first)
        return;
    add_key(building, "fields");
    ap_buf_add_char(building->out, '[');
    for (const struct yaml_node *field = way->fields->first; field; field = field->next) {
        const char *is_short = member(field, "short");
        ap_buf_add_cstr(building->out, field == way->fields->first ? "{" : ",{");
        add(building, "title", member(field, "title"), false, 0);
        add(building, "value", member(field, "value"), false, 0);
        add_key(building, "short");
        ap_buf_add_cstr(building->out, (is_short ? strcmp(is_short, "true") == 0 : way->is_short) ? "true}" : "false}");
    }
    ap_buf_add_char(building->out, ']');
}

static void add_actions(struct building *building, const struct yaml_node *actions)
{
    static const char *const keys[] = {"type", "text", "url", "style", "name", "value"};
    static const char *const confirm_keys[] = {"title", "text", "ok_text", "dismiss_text"};
    if (!actions || actions->kind != YAML_KIND_LIST || !actions->first)
        return;
    add_key(building, "actions");
    ap_buf_add_char(building->out, '[');
    for (const struct yaml_node *action = actions->first; action; action = action->next) {
        ap_buf_add_cstr(building->out, action == actions->first ? "{" : ",{");
        for (size_t i = 0; i < AP_ARRAY_COUNT(keys); i++)
            add(building, keys[i], member(action, keys[i]), false, 0);
        const struct yaml_node *confirm = action->kind == YAML_KIND_MAP ? yaml_get(action, "confirm") : NULL;
        if (confirm && confirm->kind == YAML_KIND_MAP) {
            add_key(building, "confirm");
            ap_buf_add_char(building->out, '{');
            for (size_t i = 0; i < AP_ARRAY_COUNT(confirm_keys); i++)
                add(building, confirm_keys[i], member(confirm, confirm_keys[i]), false, 0);
            ap_buf_add_char(building->out, '}');
        }
        ap_buf_add_char(building->out, '}');
    }
    ap_buf_add_char(building->out, ']');
}

static void add_markdown(struct building *building, const struct yaml_texts *given)
{
    static const char *const by_default[] = {"fallback", "pretext", "text"};
    const char *const *items = given->count ? given->items : by_default;
    size_t count = given->count ? given->count : AP_ARRAY_COUNT(by_default);
    add_key(building, "mrkdwn_in");
    for (size_t i = 0; i < count; i++) {
        ap_buf_add_char(building->out, i ? ',' : '[');
        ap_buf_add_json_string(building->out, ap_slice_cstr(items[i]));
    }
    ap_buf_add_char(building->out, ']');
}

/* "channel ts" apart; false: there is no message of before. */
static bool split_reference(const char *reference, struct ap_slice *ret_channel, struct ap_slice *ret_ts)
{
    struct ap_slice rest = ap_slice_cstr(reference);
    *ret_channel = ap_slice_split(&rest, ' ');
    *ret_ts = rest;
    return ret_channel->bytes && rest.bytes;
}

static enum ap_rc make(struct sending *sending, bool is_update, struct ap_buf *out, struct ap_err *err)
{
    const struct slack_way *way = &sending->notification->way->slack;
    struct building building = {sending, out, err, AP_OK};
    struct ap_slice channel, ts;
    ap_buf_reset(out);
    ap_buf_add_char(out, '{');
    if (is_update && split_reference(sending->notification->reference, &channel, &ts)) {
        add_key(&building, "channel");
        ap_buf_add_json_string(out, channel);
        add_key(&building, "ts");
        ap_buf_add_json_string(out, ts);
    } else {
        add_texts(&building, message_texts, AP_ARRAY_COUNT(message_texts));
        if (way->is_linking_names)
            ap_buf_add_cstr(out, out->bytes > 1 ? ",\"link_names\":true" : "\"link_names\":true");
    }
    add(&building, "text", way->message_text, false, 0);
    add_key(&building, "attachments");
    ap_buf_add_cstr(out, "[{");
    add_texts(&building, attachment_texts, AP_ARRAY_COUNT(attachment_texts));
    add_fields(&building, way);
    add_actions(&building, way->actions);
    add_markdown(&building, &way->mrkdwn_in);
    ap_buf_add_cstr(out, "}]}\n");
    return building.rc;
}

/* ---- The answer ---- */

struct slack_answer {
    bool is_ok;
    struct ap_slice error;
    struct ap_slice channel;
    struct ap_slice ts;
};

static enum ap_rc read_answer(struct ap_slice body, struct ap_arena *arena, struct slack_answer *ret,
                              struct ap_err *err)
{
    struct json_reader reader;
    struct ap_slice key;
    bool is_there = true;
    json_reader_init(&reader, body, arena, &json_reader_limits_default);
    enum ap_rc rc = json_reader_begin_object(&reader, err);
    while (rc == AP_OK && (rc = json_reader_next_key(&reader, &key, &is_there, err)) == AP_OK && is_there) {
        struct ap_slice *text = ap_slice_equal_cstr(key, "error")     ? &ret->error
                                : ap_slice_equal_cstr(key, "channel") ? &ret->channel
                                : ap_slice_equal_cstr(key, "ts")      ? &ret->ts
                                                                      : NULL;
        if (ap_slice_equal_cstr(key, "ok"))
            rc = json_reader_boolean(&reader, &ret->is_ok, err);
        else if (text)
            rc = json_reader_string(&reader, text, err);
        else
            rc = json_reader_skip(&reader, NULL, err);
    }
    return rc;
}

/* Errors of Slack's that pass by themselves. */
static bool is_passing(struct ap_slice error)
{
    static const char *const passing[] = {"ratelimited",     "rate_limited",        "internal_error",   "fatal_error",
                                          "request_timeout", "service_unavailable", "team_added_to_org"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(passing); i++)
        if (ap_slice_equal_cstr(error, passing[i]))
            return true;
    return false;
}

/* True: the message that was to change is not there any more. */
static bool judge(const struct post_answer *answer, struct delivery *ret)
{
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, POST_ANSWER_BYTES_MAX);
    struct ap_slice text = ap_slice_trim(ap_buf_slice(&answer->body));
    struct slack_answer slack = {0};
    struct ap_err err;
    post_judge(answer, "Slack", "", ret);
    if (answer->status != 200)
        return false;
    if (!answer->is_json) { /* an incoming webhook says ok, or what is wrong in a word */
        if (!ap_slice_equal_cstr(text, "ok"))
            delivery_say(ret, DELIVERY_REFUSED, "Slack answered: %.*s", (int)AP_MIN(text.bytes, (size_t)100),
                         text.data ? text.data : "");
        ret->status = answer->status;
        return false;
    }
    if (read_answer(text, &arena, &slack, &err) != AP_OK) {
        delivery_say(ret, DELIVERY_RETRY, "Slack's answer is no JSON that is known");
    } else if (!slack.is_ok) {
        delivery_say(ret, is_passing(slack.error) ? DELIVERY_RETRY : DELIVERY_REFUSED, "Slack answered: %.*s",
                     AP_SLICE_ARG(slack.error));
        ret->retry_after_ms = ret->outcome == DELIVERY_RETRY ? answer->retry_after_ms : 0;
    } else if (slack.ts.bytes && slack.channel.bytes &&
               slack.channel.bytes + slack.ts.bytes + 2 <= sizeof(ret->reference)) {
        snprintf(ret->reference, sizeof(ret->reference), "%.*s %.*s", AP_SLICE_ARG(slack.channel),
                 AP_SLICE_ARG(slack.ts));
    }
    ret->status = answer->status;
    return !slack.is_ok && (ap_slice_equal_cstr(slack.error, "message_not_found") ||
                            ap_slice_equal_cstr(slack.error, "cant_update_message") ||
                            ap_slice_equal_cstr(slack.error, "edit_window_closed"));
}

/* ---- Sending ---- */

struct address {
    bool is_api;
    struct ap_buf url;           /* with a final NUL */
    struct ap_buf authorization; /* a header line; of the API */
};

static void address_clear(struct address *address)
{
    ap_buf_clear(&address->url);
    ap_buf_clear(&address->authorization);
}

static enum ap_rc take_address(const struct notification *notification, struct address *ret, struct ap_err *err)
{
    const struct slack_way *way = &notification->way->slack;
    const struct receiver_global *global = notification->global;
    const struct yaml_node *node = notification->way->node;
    bool has_url = way->api_url || way->api_url_file, has_token = way->app_token || way->app_token_file;
    bool is_global_token = global->slack_app_token || global->slack_app_token_file;
    ret->is_api = has_token || (!has_url && is_global_token);
    if (!ret->is_api)
        return has_url ? secret_read(way->api_url, way->api_url_file, node, &ret->url, err)
                       : secret_read(global->slack_api_url, global->slack_api_url_file, node, &ret->url, err);
    const char *url = way->app_url ? way->app_url : global->slack_app_url;
    ap_buf_add_cstr(&ret->url, url ? url : API_URL);
    ap_buf_add_char(&ret->url, '\0');
    ap_buf_add_cstr(&ret->authorization, "Authorization: Bearer ");
    return has_token
               ? secret_read(way->app_token, way->app_token_file, node, &ret->authorization, err)
               : secret_read(global->slack_app_token, global->slack_app_token_file, node, &ret->authorization, err);
}

/* …/chat.postMessage, or …/chat.update beside it. */
static char *method_url(const char *url, bool is_update)
{
    const char *slash = strrchr(url, '/');
    return is_update && slash ? ap_asprintf("%.*s/chat.update", (int)(slash - url), url) : ap_strdup(url);
}

/* True: it is to be sent once more, as a new message. */
static bool send_once(struct sending *sending, const struct address *address, bool is_update, struct delivery *ret)
{
    AP_AUTO_BUF struct ap_buf body = {0};
    struct ap_err err;
    if (make(sending, is_update, &body, &err) != AP_OK) {
        sending_refuse(sending, ret, &err);
        return false;
    }
    const struct slack_way *way = &sending->notification->way->slack;
    AP_AUTO_FREE char *url = method_url(address->url.data, is_update);
    struct post post = {
        .url = url,
        .timeout = way->timeout,
        .http_config = way->http_config,
        .headers = {address->is_api ? address->authorization.data : NULL},
        .body = ap_buf_slice(&body),
    };
    struct post_answer answer;
    bool is_gone = post_json(sending, &post, &answer, ret) && judge(&answer, ret);
    ap_buf_clear(&answer.body);
    return is_gone && is_update;
}

static void send_slack(struct sending *sending, struct delivery *ret)
{
    AP_CLEANUP(address_clear) struct address address = {0};
    struct ap_err err;
    if (take_address(sending->notification, &address, &err) != AP_OK) {
        sending_refuse(sending, ret, &err);
        return;
    }
    bool is_update =
        address.is_api && sending->notification->way->slack.is_updating && sending->notification->reference[0];
    if (send_once(sending, &address, is_update, ret))
        send_once(sending, &address, false, ret);
}

const struct sender sender_slack = {check, send_slack};
