#include "cli/demo_inbox.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/http_server.h"

enum { MESSAGES_MAX = 200, BODY_BYTES_MAX = 1 << 20 };

struct message {
    char *line; /* owned, as the next two */
    char *page; /* when, to whom, what it says: a few lines of text */
    char *json; /* {"receiver", "way", "at_ms", "body"} */
};

struct demo_inbox {
    struct http_server *server; /* owned */
    char url[64];
    pthread_mutex_t mutex;                 /* what follows */
    struct message messages[MESSAGES_MAX]; /* a ring: message n is at n % MESSAGES_MAX */
    uint64_t count;                        /* ever */
    uint64_t said_count;
};

static void message_clear(struct message *message)
{
    free(message->line);
    free(message->page);
    free(message->json);
}

/* ---- What a message says ---- */

static struct ap_slice text_of(const json_t *value)
{
    return ap_slice(json_string_value(value), json_string_length(value));
}

/* Titles are "[FIRING:2] group (labels)" unless a team has its own; those are taken as they are. */
static struct ap_slice name_in_title(struct ap_slice title)
{
    const char *bracket = title.bytes && title.data[0] == '[' ? memchr(title.data, ']', title.bytes) : NULL;
    if (!bracket)
        return title;
    struct ap_slice rest = ap_slice_trim(ap_slice(bracket + 1, (size_t)(title.data + title.bytes - bracket - 1)));
    const char *labels = rest.bytes ? memmem(rest.data, rest.bytes, " (", 2) : NULL;
    return labels ? ap_slice(rest.data, (size_t)(labels - rest.data)) : rest;
}

static const json_t *pagerduty_payload(const json_t *body)
{
    return json_object_get(body, "payload");
}

static struct ap_slice pagerduty_title(const json_t *body)
{
    return text_of(json_object_get(pagerduty_payload(body), "summary"));
}

static bool is_pagerduty_resolved(const json_t *body)
{
    return ap_slice_equal_cstr(text_of(json_object_get(body, "event_action")), "resolve");
}

static void add_pagerduty_words(struct ap_buf *out, const json_t *body)
{
    ap_buf_printf(out, "severity %.*s", AP_SLICE_ARG(text_of(json_object_get(pagerduty_payload(body), "severity"))));
}

static const json_t *slack_attachment(const json_t *body)
{
    return json_array_get(json_object_get(body, "attachments"), 0);
}

static struct ap_slice slack_title(const json_t *body)
{
    return text_of(json_object_get(slack_attachment(body), "title"));
}

static bool is_slack_resolved(const json_t *body)
{
    return ap_slice_starts_with(slack_title(body), "[RESOLVED");
}

static void add_slack_words(struct ap_buf *out, const json_t *body)
{
    ap_buf_add_slice(out, text_of(json_object_get(slack_attachment(body), "text")));
}

static struct ap_slice webhook_title(const json_t *body)
{
    return text_of(json_object_get(json_object_get(body, "commonLabels"), "alertname"));
}

static bool is_webhook_resolved(const json_t *body)
{
    return ap_slice_equal_cstr(text_of(json_object_get(body, "status")), "resolved");
}

static void add_webhook_words(struct ap_buf *out, const json_t *body)
{
    const json_t *alerts = json_object_get(body, "alerts");
    for (size_t i = 0; i < json_array_size(alerts); i++) {
        const json_t *annotations = json_object_get(json_array_get(alerts, i), "annotations");
        ap_buf_printf(out, "%.*s\n", AP_SLICE_ARG(text_of(json_object_get(annotations, "summary"))));
    }
}

static const struct language {
    const char *way;
    struct ap_slice (*title)(const json_t *body);
    bool (*is_resolved)(const json_t *body);
    void (*add_words)(struct ap_buf *out, const json_t *body); /* what stands below the title */
} languages[] = {
    {"pagerduty", pagerduty_title, is_pagerduty_resolved, add_pagerduty_words},
    {"slack", slack_title, is_slack_resolved, add_slack_words},
    {NULL, webhook_title, is_webhook_resolved, add_webhook_words}, /* e-mail too: cli/demo_alerting.h */
};

static const struct language *language_of(const char *way)
{
    const struct language *language = languages;
    while (language->way && strcmp(language->way, way) != 0)
        language++;
    return language;
}

static char *line_of(const char *receiver, const char *way, const json_t *body)
{
    const struct language *language = language_of(way);
    AP_AUTO_BUF struct ap_buf line = {0};
    ap_buf_printf(&line, "told %s", receiver);
    if (strcmp(receiver, way) != 0)
        ap_buf_printf(&line, " by %s", way);
    ap_buf_printf(&line, ": %.*s is %s", AP_SLICE_ARG(name_in_title(language->title(body))),
                  language->is_resolved(body) ? "resolved" : "firing");
    for (size_t i = 0; i < line.bytes; i++) /* it goes to a terminal */
        if (iscntrl((unsigned char)line.data[i]))
            line.data[i] = ' ';
    return ap_buf_detach(&line);
}

static char *page_of(const char *line, const char *way, const json_t *body)
{
    const struct language *language = language_of(way);
    char time[AP_TIME_TEXT_BYTES];
    ap_time_format(ap_clock_wall_us(&ap_clock_system), time);
    AP_AUTO_BUF struct ap_buf page = {0}, words = {0};
    ap_buf_printf(&page, "%s  %s\n", time, line);
    ap_buf_printf(&words, "%.*s\n", AP_SLICE_ARG(language->title(body)));
    language->add_words(&words, body);
    for (struct ap_slice rest = ap_slice_trim(ap_buf_slice(&words)); rest.data;) {
        struct ap_slice line_of_words = ap_slice_split(&rest, '\n');
        ap_buf_printf(&page, "    %.*s\n", AP_SLICE_ARG(line_of_words));
    }
    return ap_buf_detach(&page);
}

static char *json_of(const char *receiver, const char *way, struct ap_slice body)
{
    AP_AUTO_BUF struct ap_buf json = {0};
    ap_buf_add_cstr(&json, "{\"receiver\":");
    ap_buf_add_json_string(&json, ap_slice_cstr(receiver));
    ap_buf_add_cstr(&json, ",\"way\":");
    ap_buf_add_json_string(&json, ap_slice_cstr(way));
    ap_buf_printf(&json, ",\"at_ms\":%" PRId64 ",\"body\":", ap_clock_wall_us(&ap_clock_system) / AP_US_PER_MS);
    ap_buf_add_slice(&json, body);
    ap_buf_add_char(&json, '}');
    return ap_buf_detach(&json);
}

/* ---- Requests ---- */

static void reply_text(struct http_request *request, unsigned status, const char *type, struct ap_slice text)
{
    http_reply(request, &(struct http_reply){.status = status, .content_type = type, .body = text});
}

static void take(struct demo_inbox *inbox, struct http_request *request)
{
    struct ap_slice path = http_path(request), body = http_body(request);
    const char *slash = path.bytes > 1 ? memrchr(path.data + 1, '/', path.bytes - 1) : NULL;
    json_t *root = slash ? json_loadb(body.data, body.bytes, 0, NULL) : NULL;
    if (!root) {
        static const char wants[] = "expected JSON at /<receiver>/<way>\n";
        reply_text(request, 400, "text/plain", ap_slice_cstr(wants));
        return;
    }
    AP_AUTO_FREE char *receiver = ap_slice_dup(ap_slice(path.data + 1, (size_t)(slash - path.data - 1)));
    AP_AUTO_FREE char *way = ap_slice_dup(ap_slice(slash + 1, path.bytes - (size_t)(slash + 1 - path.data)));
    struct message message = {.line = line_of(receiver, way, root), .json = json_of(receiver, way, body)};
    message.page = page_of(message.line, way, root);
    json_decref(root);
    pthread_mutex_lock(&inbox->mutex);
    struct message *slot = &inbox->messages[inbox->count++ % MESSAGES_MAX];
    struct message before = *slot;
    *slot = message;
    pthread_mutex_unlock(&inbox->mutex);
    message_clear(&before);
    reply_text(request, 200, "text/plain", ap_slice_cstr("ok"));
}

/* Message n of those that are kept, the newest first. */
static const struct message *newest_locked(const struct demo_inbox *inbox, uint64_t n)
{
    return n < AP_MIN(inbox->count, (uint64_t)MESSAGES_MAX) ? &inbox->messages[(inbox->count - 1 - n) % MESSAGES_MAX]
                                                            : NULL;
}

static void show(struct demo_inbox *inbox, struct http_request *request)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    const struct message *message;
    pthread_mutex_lock(&inbox->mutex);
    for (uint64_t n = 0; (message = newest_locked(inbox, n)) != NULL; n++)
        ap_buf_printf(&out, "%s%s", n > 0 ? "\n" : "", message->page);
    pthread_mutex_unlock(&inbox->mutex);
    if (out.bytes == 0)
        ap_buf_add_cstr(&out, "Nobody has been told of anything yet.\n");
    reply_text(request, 200, "text/plain; charset=utf-8", ap_buf_slice(&out));
}

static void list(struct demo_inbox *inbox, struct http_request *request)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    const struct message *message;
    ap_buf_add_cstr(&out, "{\"messages\":[");
    pthread_mutex_lock(&inbox->mutex);
    for (uint64_t n = 0; (message = newest_locked(inbox, n)) != NULL; n++)
        ap_buf_printf(&out, "%s\n%s", n > 0 ? "," : "", message->json);
    pthread_mutex_unlock(&inbox->mutex);
    ap_buf_add_cstr(&out, "]}\n");
    reply_text(request, 200, "application/json", ap_buf_slice(&out));
}

static void handle(struct http_request *request, void *context)
{
    enum http_method method = http_method(request);
    struct ap_slice path = http_path(request);
    if (method == HTTP_METHOD_POST)
        take(context, request);
    else if (method != HTTP_METHOD_GET)
        http_reply_empty(request, 405);
    else if (ap_slice_equal_cstr(path, "/"))
        show(context, request);
    else if (ap_slice_equal_cstr(path, "/messages"))
        list(context, request);
    else
        http_reply_empty(request, 404);
}

/* ---- Life ---- */

enum ap_rc demo_inbox_open(struct demo_inbox **ret_inbox, struct ap_err *err)
{
    struct demo_inbox *inbox = ap_new0(struct demo_inbox);
    pthread_mutex_init(&inbox->mutex, NULL);
    const struct http_server_options options = {
        .listeners = &(struct http_listener){.address = "127.0.0.1"},
        .listener_count = 1,
        .thread_count = 1,
        .limits = {.body_bytes_max = BODY_BYTES_MAX},
        .handle = handle,
        .context = inbox,
    };
    enum ap_rc rc = http_server_open(&options, &inbox->server, err);
    if (rc != AP_OK) {
        demo_inbox_close(inbox);
        return rc;
    }
    snprintf(inbox->url, sizeof(inbox->url), "http://127.0.0.1:%u", http_server_port(inbox->server, 0));
    *ret_inbox = inbox;
    return AP_OK;
}

void demo_inbox_close(struct demo_inbox *inbox)
{
    if (!inbox)
        return;
    http_server_close(inbox->server);
    for (size_t i = 0; i < MESSAGES_MAX; i++)
        message_clear(&inbox->messages[i]);
    pthread_mutex_destroy(&inbox->mutex);
    free(inbox);
}

const char *demo_inbox_url(const struct demo_inbox *inbox)
{
    return inbox->url;
}

void demo_inbox_tend(struct demo_inbox *inbox, void (*say)(const char *line, void *context), void *context)
{
    pthread_mutex_lock(&inbox->mutex);
    if (inbox->count - inbox->said_count > MESSAGES_MAX)
        inbox->said_count = inbox->count - MESSAGES_MAX; /* nobody reads so fast */
    for (; inbox->said_count < inbox->count; inbox->said_count++)
        say(inbox->messages[inbox->said_count % MESSAGES_MAX].line, context);
    pthread_mutex_unlock(&inbox->mutex);
}
