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
    char *line; /* owned, as the next */
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

/* ---- What a message says ---- */

static struct ap_slice text_of(const json_t *value)
{
    return ap_slice(json_string_value(value), json_string_length(value));
}

/* The line that a person would read first. */
static struct ap_slice headline_of(const char *way, const json_t *body)
{
    if (strcmp(way, "pagerduty") == 0)
        return text_of(json_object_get(json_object_get(body, "payload"), "summary"));
    if (strcmp(way, "slack") == 0)
        return text_of(json_object_get(json_array_get(json_object_get(body, "attachments"), 0), "title"));
    return text_of(json_object_get(json_object_get(body, "commonLabels"), "alertname"));
}

static const char *state_of(const char *way, const json_t *body)
{
    if (strcmp(way, "pagerduty") == 0) {
        const char *action = json_string_value(json_object_get(body, "event_action"));
        return action && strcmp(action, "resolve") == 0 ? "resolved" : "firing";
    }
    const char *status = json_string_value(json_object_get(body, "status"));
    return status ? status : "";
}

/* Titles are "[FIRING:2] name (labels)" unless a team has its own: those are taken as they are. */
static bool is_titled(struct ap_slice headline, struct ap_slice *ret_name)
{
    const char *bracket = headline.bytes && headline.data[0] == '[' ? memchr(headline.data, ']', headline.bytes) : NULL;
    const char *end = headline.data + headline.bytes;
    if (!bracket || end - bracket < 3)
        return false;
    const char *name = bracket + 2, *space = memchr(name, ' ', (size_t)(end - name));
    *ret_name = ap_slice(name, (size_t)((space ? space : end) - name));
    return true;
}

static char *line_of(const char *receiver, const char *way, const json_t *body)
{
    AP_AUTO_BUF struct ap_buf line = {0};
    struct ap_slice headline = headline_of(way, body), name = headline;
    const char *state = state_of(way, body);
    if (is_titled(headline, &name) && !state[0])
        state = ap_slice_starts_with(headline, "[RESOLVED") ? "resolved" : "firing";
    ap_buf_printf(&line, "told %s", receiver);
    if (strcmp(receiver, way) != 0)
        ap_buf_printf(&line, " by %s", way);
    ap_buf_printf(&line, ": %.*s%s%s", AP_SLICE_ARG(name), state[0] ? " " : "", state);
    for (size_t i = 0; i < line.bytes; i++) /* it goes to a terminal */
        if (iscntrl((unsigned char)line.data[i]))
            line.data[i] = ' ';
    return ap_buf_detach(&line);
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
    struct message message = {line_of(receiver, way, root), json_of(receiver, way, body)};
    json_decref(root);
    pthread_mutex_lock(&inbox->mutex);
    struct message *slot = &inbox->messages[inbox->count++ % MESSAGES_MAX];
    struct message before = *slot;
    *slot = message;
    pthread_mutex_unlock(&inbox->mutex);
    free(before.line);
    free(before.json);
    reply_text(request, 200, "text/plain", ap_slice_cstr("ok"));
}

static void list(struct demo_inbox *inbox, struct http_request *request)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    ap_buf_add_cstr(&out, "{\"messages\":[");
    pthread_mutex_lock(&inbox->mutex);
    uint64_t shown = AP_MIN(inbox->count, (uint64_t)MESSAGES_MAX);
    for (uint64_t i = 1; i <= shown; i++) {
        ap_buf_add_cstr(&out, i > 1 ? ",\n" : "\n");
        ap_buf_add_cstr(&out, inbox->messages[(inbox->count - i) % MESSAGES_MAX].json);
    }
    pthread_mutex_unlock(&inbox->mutex);
    ap_buf_add_cstr(&out, "]}\n");
    reply_text(request, 200, "application/json", ap_buf_slice(&out));
}

static void handle(struct http_request *request, void *context)
{
    enum http_method method = http_method(request);
    if (method == HTTP_METHOD_POST)
        take(context, request);
    else if (method == HTTP_METHOD_GET && ap_slice_equal_cstr(http_path(request), "/"))
        list(context, request);
    else
        http_reply_empty(request, method == HTTP_METHOD_GET ? 404 : 405);
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
    for (size_t i = 0; i < MESSAGES_MAX; i++) {
        free(inbox->messages[i].line);
        free(inbox->messages[i].json);
    }
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
