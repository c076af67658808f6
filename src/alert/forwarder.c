#include "alert/forwarder.h"

#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "net/http_client.h"
#include "os/thread.h"
#include "tsdb/labels.h"

enum { DEADLINE_MS = 10 * 1000, PAUSE_FIRST_MS = 500, PAUSE_MS_MAX = 30 * 1000, ANSWER_BYTES_MAX = 64 << 10 };

/* One alert, as it is sent. */
struct item {
    struct item *next;
    struct ap_buf json;
};

/* One address. */
struct outlet {
    struct alert_forwarder *forwarder;
    char *url;           /* owned; without user and password: errors show it */
    char *authorization; /* owned; what the field of that name says; NULL: nothing */
    pthread_t thread;
    bool is_started;
    struct http_client *client; /* its thread's */
    pthread_mutex_t mutex;      /* all that follows */
    pthread_cond_t changed;
    bool is_ending;
    struct item *first; /* owned */
    struct item **tail;
    struct alert_forwarder_stats stats;
};

struct alert_forwarder {
    struct alert_forwarder_options options;
    struct outlet outlets[FORWARDER_URLS_MAX];
    size_t count;
};

/* ---- JSON ---- */

static void add_labels(struct ap_buf *out, struct ap_slice labels)
{
    struct label label;
    ap_buf_add_char(out, '{');
    for (const char *separator = ""; labels_next(&labels, &label); separator = ",") {
        ap_buf_add_cstr(out, separator);
        ap_buf_add_json_string(out, label.name);
        ap_buf_add_char(out, ':');
        ap_buf_add_json_string(out, label.value);
    }
    ap_buf_add_char(out, '}');
}

static void add_time(struct ap_buf *out, const char *key, int64_t ts_ms)
{
    char text[AP_TIME_TEXT_BYTES];
    if (ts_ms == 0)
        return;
    ap_time_format(ts_ms * AP_US_PER_MS, text);
    ap_buf_printf(out, ",\"%s\":\"%s\"", key, text);
}

void alert_in_add_json(struct ap_buf *out, const struct alert_in *alert)
{
    ap_buf_add_cstr(out, "{\"annotations\":");
    add_labels(out, alert->annotations);
    add_time(out, "endsAt", alert->ends_ms);
    add_time(out, "startsAt", alert->starts_ms);
    ap_buf_add_cstr(out, ",\"generatorURL\":");
    ap_buf_add_json_string(out, alert->generator_url);
    ap_buf_add_cstr(out, ",\"labels\":");
    add_labels(out, alert->labels);
    ap_buf_add_char(out, '}');
}

/* ---- The queue ---- */

static void item_free(struct item *item)
{
    ap_buf_clear(&item->json);
    free(item);
}

static struct item *take_first(struct outlet *outlet)
{
    struct item *item = outlet->first;
    outlet->first = item->next;
    if (!outlet->first)
        outlet->tail = &outlet->first;
    outlet->stats.queued--;
    return item;
}

static void put(struct outlet *outlet, const struct alert_in *alerts, size_t count)
{
    pthread_mutex_lock(&outlet->mutex);
    for (size_t i = 0; i < count; i++) {
        struct item *item = ap_new0(struct item);
        alert_in_add_json(&item->json, &alerts[i]);
        *outlet->tail = item;
        outlet->tail = &item->next;
        outlet->stats.queued++;
        if (outlet->stats.queued <= FORWARDER_QUEUE_MAX)
            continue;
        item_free(take_first(outlet));
        outlet->stats.dropped++;
    }
    pthread_cond_signal(&outlet->changed);
    pthread_mutex_unlock(&outlet->mutex);
}

void alert_forwarder_put(struct alert_forwarder *forwarder, const struct alert_in *alerts, size_t count)
{
    for (size_t i = 0; i < forwarder->count; i++)
        put(&forwarder->outlets[i], alerts, count);
}

/* ---- Sending ---- */

/* The next ones, taken off the queue; 0: it ends. */
static size_t next_batch(struct outlet *outlet, struct ap_buf *body)
{
    size_t count = 0;
    pthread_mutex_lock(&outlet->mutex);
    while (!outlet->first && !outlet->is_ending)
        pthread_cond_wait(&outlet->changed, &outlet->mutex);
    ap_buf_reset(body);
    for (; outlet->first && count < FORWARDER_BATCH_MAX; count++) {
        struct item *item = take_first(outlet);
        ap_buf_add_char(body, count ? ',' : '[');
        ap_buf_add_slice(body, ap_buf_slice(&item->json));
        item_free(item);
    }
    pthread_mutex_unlock(&outlet->mutex);
    ap_buf_add_char(body, ']');
    return count;
}

static enum ap_rc post(struct outlet *outlet, struct ap_slice body, bool *ret_is_refused, struct ap_err *err)
{
    const struct http_field fields[] = {{"Content-Type", "application/json"}, {"Authorization", outlet->authorization}};
    const struct http_client_request request = {.url = outlet->url,
                                                .fields = fields,
                                                .field_count = outlet->authorization ? 2 : 1,
                                                .body = body,
                                                .deadline_ms = DEADLINE_MS,
                                                .answer_bytes_max = ANSWER_BYTES_MAX};
    struct http_client_answer answer;
    *ret_is_refused = false;
    enum ap_rc rc = http_client_ask(outlet->client, &request, &answer, err);
    if (rc != AP_OK || answer.status / 100 == 2)
        return rc;
    *ret_is_refused = answer.status / 100 == 4 && answer.status != 429 && answer.status != 408;
    return ap_fail(err, AP_E_IO, "it answered %u: %.*s", answer.status, (int)AP_MIN(answer.body.bytes, (size_t)200),
                   answer.body.data);
}

static void count_result(struct outlet *outlet, size_t count, bool is_sent, bool is_dropped)
{
    pthread_mutex_lock(&outlet->mutex);
    if (is_sent)
        outlet->stats.sent += count;
    else
        outlet->stats.errors += count;
    if (is_dropped)
        outlet->stats.dropped += count;
    pthread_mutex_unlock(&outlet->mutex);
}

/* False: the end came meanwhile. */
static bool pause(struct outlet *outlet, int64_t pause_ms)
{
    int64_t deadline_us = os_deadline_us(pause_ms);
    pthread_mutex_lock(&outlet->mutex);
    while (!outlet->is_ending && os_cond_wait_until(&outlet->changed, &outlet->mutex, deadline_us))
        ;
    bool is_ending = outlet->is_ending;
    pthread_mutex_unlock(&outlet->mutex);
    return !is_ending;
}

/* Until it is sent, refused for good, or the end has come. */
static void send_batch(struct outlet *outlet, struct ap_slice body, size_t count)
{
    for (int64_t pause_ms = PAUSE_FIRST_MS;; pause_ms = AP_MIN(2 * pause_ms, (int64_t)PAUSE_MS_MAX)) {
        bool is_refused;
        struct ap_err err;
        enum ap_rc rc = post(outlet, body, &is_refused, &err);
        if (rc == AP_OK) {
            count_result(outlet, count, true, false);
            return;
        }
        (void)ap_err_prefix(&err, "alerts to %s", outlet->url);
        outlet->forwarder->options.trouble(&err, outlet->forwarder->options.context);
        count_result(outlet, count, false, is_refused);
        if (is_refused || !pause(outlet, pause_ms))
            return;
    }
}

static void *work(void *context)
{
    struct outlet *outlet = context;
    AP_AUTO_BUF struct ap_buf body = {0};
    for (size_t count; (count = next_batch(outlet, &body)) > 0;)
        send_batch(outlet, ap_buf_slice(&body), count);
    return NULL;
}

/* ---- Life ---- */

/* "user:p%40ss" → "Basic dXNlcjpwQHNz" */
static void set_authorization(struct outlet *outlet, struct ap_slice user_and_word)
{
    char *plain = ap_slice_dup(user_and_word), encoded[1024];
    size_t bytes = 0;
    for (size_t i = 0; i < user_and_word.bytes; i++) {
        char digits[3] = {0};
        bool is_escape = plain[i] == '%' && i + 2 < user_and_word.bytes;
        if (is_escape)
            memcpy(digits, plain + i + 1, 2);
        plain[bytes++] = is_escape ? (char)strtoul(digits, NULL, 16) : plain[i];
        i += is_escape ? 2 : 0;
    }
    bytes = AP_MIN(bytes, sizeof(encoded) / 2);
    sodium_bin2base64(encoded, sizeof(encoded), (const unsigned char *)plain, bytes, sodium_base64_VARIANT_ORIGINAL);
    outlet->authorization = ap_asprintf("Basic %s", encoded);
    free(plain);
}

/* "http://user:word@host:9093/am/" → "http://host:9093/am/api/v2/alerts" */
static enum ap_rc set_url(struct outlet *outlet, const char *url, struct ap_err *err)
{
    struct ap_slice text = ap_slice_cstr(url);
    const char *scheme_end = strstr(url, "://");
    if (!ap_slice_starts_with(text, "http://") && !ap_slice_starts_with(text, "https://"))
        return ap_fail(err, AP_E_PARSE, "alerting.alertmanagers: an address begins with http:// or https://");
    const char *host = scheme_end + 3;
    size_t host_bytes = strcspn(host, "/?#");
    if (host_bytes == 0 || host[host_bytes] == '?' || host[host_bytes] == '#')
        return ap_fail(err, AP_E_PARSE,
                       "alerting.alertmanagers: an address is http://HOST:PORT, with or without a path");
    while (text.bytes && text.data[text.bytes - 1] == '/')
        text.bytes--;
    const char *at = memrchr(host, '@', host_bytes);
    const char *rest = at ? at + 1 : host;
    outlet->url =
        ap_asprintf("%.*s%.*s/api/v2/alerts", (int)(host - url), url, (int)(text.data + text.bytes - rest), rest);
    if (at)
        set_authorization(outlet, ap_slice(host, (size_t)(at - host)));
    return AP_OK;
}

static enum ap_rc outlet_open(struct outlet *outlet, struct alert_forwarder *forwarder, const char *url,
                              struct ap_err *err)
{
    outlet->forwarder = forwarder;
    outlet->tail = &outlet->first;
    pthread_mutex_init(&outlet->mutex, NULL);
    os_cond_init(&outlet->changed);
    enum ap_rc rc = set_url(outlet, url, err);
    if (rc != AP_OK)
        return rc;
    outlet->stats.url = outlet->url;
    outlet->client = http_client_new(&(struct http_client_options){.user_agent = "Apiary/" APIARY_VERSION});
    rc = os_thread_start("alert-forward", work, outlet, &outlet->thread, err);
    outlet->is_started = rc == AP_OK;
    return rc;
}

static void outlet_close(struct outlet *outlet)
{
    pthread_mutex_lock(&outlet->mutex);
    outlet->is_ending = true;
    pthread_cond_broadcast(&outlet->changed);
    pthread_mutex_unlock(&outlet->mutex);
    if (outlet->is_started)
        pthread_join(outlet->thread, NULL);
    while (outlet->first)
        item_free(take_first(outlet));
    http_client_free(outlet->client);
    pthread_cond_destroy(&outlet->changed);
    pthread_mutex_destroy(&outlet->mutex);
    free(outlet->url);
    free(outlet->authorization);
}

enum ap_rc alert_forwarder_open(const struct alert_forwarder_options *options, struct alert_forwarder **ret_forwarder,
                                struct ap_err *err)
{
    if (options->url_count > FORWARDER_URLS_MAX)
        return ap_fail(err, AP_E_LIMIT, "alerting.alertmanagers: more than %d addresses", FORWARDER_URLS_MAX);
    AP_AUTO(alert_forwarder) struct alert_forwarder *forwarder = ap_new0(struct alert_forwarder);
    forwarder->options = *options;
    for (size_t i = 0; i < options->url_count; i++) {
        enum ap_rc rc = outlet_open(&forwarder->outlets[forwarder->count++], forwarder, options->urls[i], err);
        if (rc != AP_OK)
            return rc;
    }
    forwarder->options.urls = NULL;
    *ret_forwarder = AP_MOVE(forwarder);
    return AP_OK;
}

void alert_forwarder_close(struct alert_forwarder *forwarder)
{
    if (!forwarder)
        return;
    for (size_t i = 0; i < forwarder->count; i++)
        outlet_close(&forwarder->outlets[i]);
    free(forwarder);
}

size_t alert_forwarder_count(const struct alert_forwarder *forwarder)
{
    return forwarder->count;
}

void alert_forwarder_stats_get(struct alert_forwarder *forwarder, size_t index, struct alert_forwarder_stats *ret_stats)
{
    struct outlet *outlet = &forwarder->outlets[index];
    pthread_mutex_lock(&outlet->mutex);
    *ret_stats = outlet->stats;
    pthread_mutex_unlock(&outlet->mutex);
}
