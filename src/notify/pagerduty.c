/*
 * PagerDuty: Events API v2, and with a service_key the API before it. With change_events it is told of changes and not
 * of incidents: they stand in the service's history, where those who look at an incident see what was done before it.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "codec/json_reader.h"
#include "notify/post.h"
#include "notify/sender.h"

#define URL_V2     "https://events.pagerduty.com/v2/enqueue"
#define URL_CHANGE "https://events.pagerduty.com/v2/change/enqueue"
#define URL_V1     "https://events.pagerduty.com/generic/2010-04-15/create_event.json"
enum { EVENT_BYTES_MAX = 512000, SUMMARY_RUNES_MAX = 1024, PLACES_MAX = 16 };

static const struct default_detail {
    const char *name;
    const char *text;
} default_details[] = {
    {"firing", "{{ template \"pagerduty.default.instances\" .Alerts.Firing }}"},
    {"num_firing", "{{ .Alerts.Firing | len }}"},
    {"num_resolved", "{{ .Alerts.Resolved | len }}"},
    {"resolved", "{{ template \"pagerduty.default.instances\" .Alerts.Resolved }}"},
};

static const char *or_default(const char *text, const char *other)
{
    return text ? text : other;
}
static const char *client_of(const struct pagerduty_way *way)
{
    return or_default(way->client, "{{ template \"pagerduty.default.client\" . }}");
}
static const char *description_of(const struct pagerduty_way *way)
{
    return or_default(way->description, "{{ template \"pagerduty.default.description\" . }}");
}
static const char *client_url_of(const struct pagerduty_way *way)
{
    return or_default(way->client_url, "{{ template \"pagerduty.default.clientURL\" . }}");
}
static const char *source_of(const struct pagerduty_way *way)
{
    return way->source && way->source[0] ? way->source : client_of(way);
}

/* A test wakes nobody where the service goes by severity. */
static const char *severity_of(const struct notification *notification)
{
    const char *given = notification->way->pagerduty.severity;
    if (notification->kind == NOTIFICATION_TEST)
        return "info";
    return given && given[0] ? given : "error";
}

static enum ap_rc check(const struct receiver_way *way, const struct receiver_global *global,
                        const struct template *library, struct ap_err *err)
{
    (void)global;
    const struct pagerduty_way *pagerduty = &way->pagerduty;
    const struct {
        const char *key, *text;
    } texts[] = {
        {"description", pagerduty->description},
        {"client", pagerduty->client},
        {"client_url", pagerduty->client_url},
        {"severity", pagerduty->severity},
        {"source", pagerduty->source},
        {"component", pagerduty->component},
        {"class", pagerduty->class},
        {"group", pagerduty->group},
    };
    enum ap_rc rc = post_check(pagerduty->http_config, err);
    for (size_t i = 0; i < AP_ARRAY_COUNT(texts) && rc == AP_OK; i++)
        if (texts[i].text)
            rc = message_check(library, texts[i].key, texts[i].text, err);
    for (size_t i = 0; i < pagerduty->details.count && rc == AP_OK; i++)
        rc = message_check(library, pagerduty->details.keys[i], pagerduty->details.items[i], err);
    return rc;
}

/* ---- The event ---- */

struct event {
    struct sending *sending;
    struct ap_buf *out;
    struct ap_err *err;
    enum ap_rc rc; /* of all that was added */
};

/* The key and the template's text as a string; an empty text leaves both out, but for what must be there. */
static void add(struct event *event, const char *key, const char *text, bool is_required, size_t runes_max)
{
    AP_AUTO_BUF struct ap_buf value = {0};
    if (event->rc != AP_OK || (!text && !is_required))
        return;
    event->rc = message_text(event->sending->message, key, text ? text : "", &value, event->err);
    if (event->rc != AP_OK || (value.bytes == 0 && !is_required))
        return;
    message_cut(&value, runes_max);
    if (event->out->data[event->out->bytes - 1] != '{')
        ap_buf_add_char(event->out, ',');
    ap_buf_printf(event->out, "\"%s\":", key);
    ap_buf_add_json_string(event->out, ap_buf_slice(&value));
}

static void add_detail(struct event *event, struct ap_slice name, const char *text)
{
    AP_AUTO_BUF struct ap_buf value = {0};
    if (event->rc == AP_OK)
        event->rc = message_text(event->sending->message, name.data, text, &value, event->err);
    if (event->out->data[event->out->bytes - 1] != '{')
        ap_buf_add_char(event->out, ',');
    ap_buf_add_json_string(event->out, name);
    ap_buf_add_char(event->out, ':');
    ap_buf_add_json_string(event->out, ap_buf_slice(&value));
}

static void add_details(struct event *event, const char *key, bool is_too_long)
{
    const struct yaml_texts *details = &event->sending->notification->way->pagerduty.details;
    ap_buf_printf(event->out, ",\"%s\":{", key);
    if (is_too_long) {
        ap_buf_printf(event->out,
                      "\"error\":\"Custom details have been removed because the original event exceeds the maximum "
                      "size of 512KB\"}");
        return;
    }
    for (size_t i = 0; i < AP_ARRAY_COUNT(default_details); i++) {
        bool is_given = false;
        for (size_t d = 0; d < details->count; d++)
            is_given |= strcmp(details->keys[d], default_details[i].name) == 0;
        if (!is_given)
            add_detail(event, ap_slice_cstr(default_details[i].name), default_details[i].text);
    }
    for (size_t d = 0; d < details->count; d++)
        add_detail(event, ap_slice_cstr(details->keys[d]), details->items[d]);
    ap_buf_add_char(event->out, '}');
}

/* images and links: lists of maps; one whose first member is empty is left out. */
static void add_places(struct event *event, const char *key, const struct yaml_node *list, const char *const members[])
{
    size_t count = 0;
    if (!list || yaml_is_null(list) || list->kind != YAML_KIND_LIST)
        return;
    for (const struct yaml_node *item = list->first; item && count < PLACES_MAX; item = item->next) {
        AP_AUTO_BUF struct ap_buf object = {0};
        AP_AUTO_BUF struct ap_buf first = {0};
        ap_buf_add_char(&object, '{');
        struct event inner = {event->sending, &object, event->err, event->rc};
        for (size_t m = 0; members[m]; m++) {
            const struct yaml_node *member = item->kind == YAML_KIND_MAP ? yaml_get(item, members[m]) : NULL;
            const char *text = member && member->kind == YAML_KIND_SCALAR ? member->text.data : "";
            if (m == 0 && inner.rc == AP_OK)
                inner.rc = message_text(event->sending->message, members[m], text, &first, event->err);
            add(&inner, members[m], text, true, 0);
        }
        event->rc = inner.rc;
        if (event->rc != AP_OK || first.bytes == 0)
            continue;
        if (count++)
            ap_buf_add_char(event->out, ',');
        else
            ap_buf_printf(event->out, ",\"%s\":[", key);
        ap_buf_add_slice(event->out, ap_buf_slice(&object));
        ap_buf_add_char(event->out, '}');
    }
    if (count)
        ap_buf_add_char(event->out, ']');
}

static const char *const image[] = {"src", "alt", "href", NULL};
static const char *const link[] = {"href", "text", NULL};

static void make_v2(struct event *event, const char *routing_key, bool is_too_long)
{
    const struct pagerduty_way *way = &event->sending->notification->way->pagerduty;
    bool is_firing = message_is_firing(event->sending->message);
    ap_buf_add_cstr(event->out, "{");
    add(event, "routing_key", routing_key, true, 0);
    ap_buf_printf(event->out, ",\"dedup_key\":\"%s\",\"event_action\":\"%s\",\"payload\":{",
                  event->sending->notification->dedup_key, is_firing ? "trigger" : "resolve");
    add(event, "summary", description_of(way), true, SUMMARY_RUNES_MAX);
    add(event, "source", source_of(way), true, 0);
    add(event, "severity", severity_of(event->sending->notification), true, 0);
    add(event, "class", way->class, false, 0);
    add(event, "component", way->component, false, 0);
    add(event, "group", way->group, false, 0);
    add_details(event, "custom_details", is_too_long);
    ap_buf_add_char(event->out, '}');
    add(event, "client", client_of(way), false, 0);
    add(event, "client_url", client_url_of(way), false, 0);
    add_places(event, "images", way->images, image);
    add_places(event, "links", way->links, link);
    ap_buf_add_cstr(event->out, "}\n");
}

static void make_v1(struct event *event, const char *service_key, bool is_too_long)
{
    const struct pagerduty_way *way = &event->sending->notification->way->pagerduty;
    bool is_firing = message_is_firing(event->sending->message);
    ap_buf_add_cstr(event->out, "{");
    add(event, "service_key", service_key, true, 0);
    ap_buf_printf(event->out, ",\"incident_key\":\"%s\",\"event_type\":\"%s\"", event->sending->notification->dedup_key,
                  is_firing ? "trigger" : "resolve");
    add(event, "description", description_of(way), true, SUMMARY_RUNES_MAX);
    if (is_firing) {
        add(event, "client", client_of(way), false, 0);
        add(event, "client_url", client_url_of(way), false, 0);
    }
    add_details(event, "details", is_too_long);
    ap_buf_add_cstr(event->out, "}\n");
}

/* A change has neither severity nor end, so nothing says that two are the same one. */
static void make_change(struct event *event, const char *routing_key, bool is_too_long)
{
    const struct notification *notification = event->sending->notification;
    const struct pagerduty_way *way = &notification->way->pagerduty;
    char time[AP_TIME_TEXT_BYTES];
    ap_time_format(notification->decided_ms * AP_US_PER_MS, time);
    ap_buf_add_cstr(event->out, "{");
    add(event, "routing_key", routing_key, true, 0);
    ap_buf_add_cstr(event->out, ",\"payload\":{");
    add(event, "summary", description_of(way), true, SUMMARY_RUNES_MAX);
    add(event, "source", source_of(way), true, 0);
    ap_buf_printf(event->out, ",\"timestamp\":\"%s\"", time);
    add_details(event, "custom_details", is_too_long);
    ap_buf_add_char(event->out, '}');
    if (way->links) {
        add_places(event, "links", way->links, link);
    } else {
        ap_buf_add_cstr(event->out, ",\"links\":[{");
        add(event, "href", client_url_of(way), true, 0);
        add(event, "text", client_of(way), true, 0);
        ap_buf_add_cstr(event->out, "}]");
    }
    ap_buf_add_cstr(event->out, "}\n");
}

/* ---- Where to ---- */

struct api {
    void (*make)(struct event *event, const char *key, bool is_too_long);
    const char *url; /* where none is given */
    bool has_service_key;
};

static struct api api_of(const struct pagerduty_way *way)
{
    if (way->service_key || way->service_key_file)
        return (struct api){make_v1, URL_V1, true};
    return way->is_change ? (struct api){make_change, URL_CHANGE, false} : (struct api){make_v2, URL_V2, false};
}

/*
 * `global` has the address of incidents, which PagerDuty in Europe and whatever stands in for it have at another host:
 * "…/v2/enqueue". Theirs for changes is "…/v2/change/enqueue".
 */
static char *url_of(const struct notification *notification, const struct api *api)
{
    static const char incidents[] = "/v2/enqueue";
    const struct pagerduty_way *way = &notification->way->pagerduty;
    const char *url = way->url ? way->url : api->has_service_key ? NULL : notification->global->pagerduty_url;
    size_t bytes = url ? strlen(url) : 0, tail_bytes = sizeof(incidents) - 1;
    if (!url)
        return ap_strdup(api->url);
    if (way->is_change && bytes >= tail_bytes && strcmp(url + bytes - tail_bytes, incidents) == 0)
        return ap_asprintf("%.*s/v2/change/enqueue", (int)(bytes - tail_bytes), url);
    return ap_strdup(url);
}

/* ---- The answer ---- */

/* {"status": "invalid event", "message": "Event object is invalid", "errors": ["…"]} */
static void read_reason(const struct post_answer *answer, struct ap_buf *out)
{
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, POST_ANSWER_BYTES_MAX);
    struct json_reader reader;
    struct ap_slice key, text;
    bool is_there = true;
    json_reader_init(&reader, ap_buf_slice(&answer->body), &arena, &json_reader_limits_default);
    enum ap_rc rc = json_reader_begin_object(&reader, NULL);
    while (rc == AP_OK && (rc = json_reader_next_key(&reader, &key, &is_there, NULL)) == AP_OK && is_there) {
        bool is_errors = ap_slice_equal_cstr(key, "errors");
        if (!is_errors && !ap_slice_equal_cstr(key, "message")) {
            rc = json_reader_skip(&reader, NULL, NULL);
            continue;
        }
        rc = json_reader_skip(&reader, &text, NULL);
        ap_buf_printf(out, "%s%.*s", out->bytes ? ": " : "", AP_SLICE_ARG(text));
    }
}

static enum ap_rc make_body(struct sending *sending, const struct api *api, const char *key, struct ap_buf *out,
                            struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    for (int attempt = 0; attempt < 2 && rc == AP_OK; attempt++) {
        struct event event = {sending, out, err, AP_OK};
        ap_buf_reset(out);
        api->make(&event, sending->shown ? "<secret>" : key, attempt > 0);
        rc = event.rc;
        if (out->bytes <= EVENT_BYTES_MAX)
            break;
    }
    return rc;
}

static void send_pagerduty(struct sending *sending, struct delivery *ret)
{
    const struct receiver_way *way = sending->notification->way;
    const struct pagerduty_way *pagerduty = &way->pagerduty;
    struct api api = api_of(pagerduty);
    struct ap_err err;
    AP_AUTO_BUF struct ap_buf key = {0};
    AP_AUTO_BUF struct ap_buf body = {0};
    if (pagerduty->is_change && sending->notification->reason == NOTIFICATION_REPEAT) {
        delivery_say(ret, DELIVERY_DONE, "not sent: nothing has changed");
        ret->is_unsent = true;
        return;
    }
    enum ap_rc rc = api.has_service_key
                        ? secret_read(pagerduty->service_key, pagerduty->service_key_file, way->node, &key, &err)
                        : secret_read(pagerduty->routing_key, pagerduty->routing_key_file, way->node, &key, &err);
    if (rc == AP_OK && key.bytes <= 1)
        rc = ap_fail(&err, AP_E_PARSE, "%s key cannot be empty", api.has_service_key ? "service" : "routing");
    if (rc == AP_OK)
        rc = make_body(sending, &api, key.data, &body, &err);
    if (rc != AP_OK) {
        sending_refuse(sending, ret, &err);
        return;
    }
    AP_AUTO_FREE char *url = url_of(sending->notification, &api);
    struct post post = {
        .url = url,
        .timeout = pagerduty->timeout,
        .http_config = pagerduty->http_config,
        .body = ap_buf_slice(&body),
    };
    struct post_answer answer;
    AP_AUTO_BUF struct ap_buf reason = {0};
    if (post_json(sending, &post, &answer, ret)) {
        if (answer.status >= 400 && answer.status < 500)
            read_reason(&answer, &reason);
        ap_buf_add_char(&reason, '\0');
        post_judge(&answer, "PagerDuty", strstr(reason.data, key.data) ? "" : reason.data, ret);
        if (api.has_service_key && answer.status == 403) /* there: too many events */
            ret->outcome = DELIVERY_RETRY;
    }
    ap_buf_clear(&answer.body);
}

const struct sender sender_pagerduty = {check, send_pagerduty};
