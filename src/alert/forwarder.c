#include "alert/forwarder.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "os/thread.h"
#include "scrape/http_setup.h"
#include "scrape/oauth2.h"
#include "scrape/relabel.h"
#include "scrape/scraper.h"
#include "tsdb/labels.h"

enum { DEADLINE_MS = 10 * 1000, PAUSE_FIRST_MS = 500, PAUSE_MS_MAX = 30 * 1000, ANSWER_BYTES_MAX = 64 << 10 };

/* One alert, as it is sent. */
struct item {
    struct item *next;
    struct ap_buf json;
};

/* An address that somebody names, and how it is reached. */
struct place {
    char *url;                    /* owned; without user and password: errors show it */
    const struct scrape_job *job; /* held; NULL: it is of the settings, and what follows says how */
    struct scrape_http http;
    char *user; /* owned, as the next; NULL: none */
    char *password;
};

struct list {
    char *name;           /* owned; NULL: the settings */
    struct place *places; /* owned */
    size_t count;
};

/* One address. */
struct outlet {
    struct alert_forwarder *forwarder;
    char *url; /* owned */
    pthread_t thread;
    bool is_started;
    bool is_cut;           /* atomic: what is under way is given up */
    CURL *curl;            /* owned; its thread's */
    pthread_mutex_t mutex; /* all that follows; goes behind the forwarder's */
    pthread_cond_t changed;
    bool is_ending;
    const struct scrape_job *job;   /* held; NULL: of the settings, which last */
    const struct scrape_http *http; /* lent by either */
    struct item *first;             /* owned */
    struct item **tail;
    struct alert_forwarder_stats stats;
};

struct alert_forwarder {
    struct alert_forwarder_options options;
    struct oauth2_tokens *tokens; /* owned */
    pthread_mutex_t mutex;        /* all that follows */
    struct list *lists;           /* owned; the first one is of the settings */
    size_t list_count;
    struct outlet **outlets; /* owned; in the order in which the lists name them */
    size_t outlet_count;
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

static struct item *take_first_locked(struct outlet *outlet)
{
    struct item *item = outlet->first;
    outlet->first = item->next;
    if (!outlet->first)
        outlet->tail = &outlet->first;
    outlet->stats.queued--;
    return item;
}

static void put_one_locked(struct outlet *outlet, const struct alert_in *alert)
{
    struct item *item = ap_new0(struct item);
    alert_in_add_json(&item->json, alert);
    *outlet->tail = item;
    outlet->tail = &item->next;
    outlet->stats.queued++;
    if (outlet->stats.queued <= FORWARDER_QUEUE_MAX)
        return;
    item_free(take_first_locked(outlet));
    outlet->stats.dropped++;
}

/* By its own alert_relabel_configs. Labels that cannot be leave the alert as it is: better told by its old name. */
static struct ap_slice relabel(const struct relabel_rules *rules, struct ap_slice labels, struct ap_arena *arena)
{
    struct relabel_labels set;
    AP_AUTO_BUF struct ap_buf encoded = {0};
    struct ap_err err;
    relabel_labels_init(&set, arena);
    relabel_labels_add(&set, labels);
    enum relabel_result result = relabel_apply(rules, &set);
    if (result == RELABEL_DROPPED)
        return (struct ap_slice){0};
    if (result != RELABEL_KEPT || labels_encode(set.items, set.count, &encoded, &err) != AP_OK)
        return labels;
    char *kept = ap_arena_alloc0(arena, encoded.bytes + 1);
    if (encoded.bytes)
        memcpy(kept, encoded.data, encoded.bytes);
    return ap_slice(kept, encoded.bytes);
}

static void put(struct outlet *outlet, const struct alert_in *alerts, size_t count)
{
    AP_AUTO_ARENA struct ap_arena arena = {0};
    pthread_mutex_lock(&outlet->mutex);
    const struct relabel_rules *rules = outlet->job ? outlet->job->metric_relabel : NULL;
    for (size_t i = 0; i < count; i++) {
        struct alert_in alert = alerts[i];
        if (rules)
            alert.labels = relabel(rules, alert.labels, &arena);
        if (alert.labels.bytes)
            put_one_locked(outlet, &alert);
    }
    pthread_cond_signal(&outlet->changed);
    pthread_mutex_unlock(&outlet->mutex);
}

bool alert_forwarder_put(struct alert_forwarder *forwarder, const struct alert_in *alerts, size_t count)
{
    pthread_mutex_lock(&forwarder->mutex);
    for (size_t i = 0; i < forwarder->outlet_count; i++)
        put(forwarder->outlets[i], alerts, count);
    bool is_waiting = forwarder->outlet_count == 0 && forwarder->list_count > 1; /* the first is of the settings */
    pthread_mutex_unlock(&forwarder->mutex);
    return !is_waiting;
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
        struct item *item = take_first_locked(outlet);
        ap_buf_add_char(body, count ? ',' : '[');
        ap_buf_add_slice(body, ap_buf_slice(&item->json));
        item_free(item);
    }
    pthread_mutex_unlock(&outlet->mutex);
    ap_buf_add_char(body, ']');
    return count;
}

/* One attempt. The status of the answer, or an error. */
static enum ap_rc ask(struct outlet *outlet, const struct scrape_http *http, long timeout_ms, struct ap_slice body,
                      struct ap_buf *answer, long *ret_status, struct ap_err *err)
{
    CURL *curl = outlet->curl;
    char error[CURL_ERROR_SIZE] = "";
    struct http_setup setup = {0};
    curl_easy_reset(curl); /* its connections stay open */
    enum ap_rc rc = http_setup_apply(&setup, curl, http, outlet->url, err);
    if (rc == AP_OK)
        rc = oauth2_authorize(outlet->forwarder->tokens, http, &setup, &outlet->is_cut, timeout_ms, err);
    if (rc == AP_OK) {
        http_setup_add(&setup, "Content-Type: application/json");
        http_setup_add(&setup, "Expect:");
        http_setup_finish(&setup, curl);
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.bytes);
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
        http_setup_receive_start(curl, answer, ANSWER_BYTES_MAX);
        http_setup_wait(curl, timeout_ms, &outlet->is_cut);
        CURLcode code = curl_easy_perform(curl);
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
        if (code != CURLE_OK)
            rc = ap_fail(err, AP_E_IO, "%s", error[0] ? error : curl_easy_strerror(code));
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
    }
    http_setup_clear(&setup, curl);
    return rc;
}

static enum ap_rc judge(long status, const struct ap_buf *answer, bool *ret_is_refused, struct ap_err *err)
{
    if (status / 100 == 2)
        return AP_OK;
    *ret_is_refused = status / 100 == 4 && status != 429 && status != 408;
    return ap_fail(err, AP_E_IO, "it answered %ld: %.*s", status, (int)AP_MIN(answer->bytes, (size_t)200),
                   answer->bytes ? answer->data : "");
}

static enum ap_rc post(struct outlet *outlet, struct ap_slice body, bool *ret_is_refused, struct ap_err *err)
{
    AP_AUTO_BUF struct ap_buf answer = {0};
    long status = 0;
    *ret_is_refused = false;
    pthread_mutex_lock(&outlet->mutex);
    const struct scrape_job *job = outlet->job ? scrape_job_ref(outlet->job) : NULL;
    const struct scrape_http *http = outlet->http;
    pthread_mutex_unlock(&outlet->mutex);
    long timeout_ms = job ? (long)job->timeout_ms : DEADLINE_MS;
    enum ap_rc rc = ask(outlet, http, timeout_ms, body, &answer, &status, err);
    if (rc == AP_OK && status == 401 && http->oauth2) { /* the token may have been withdrawn: once more, with another */
        oauth2_tokens_forget(outlet->forwarder->tokens, http->oauth2);
        ap_buf_reset(&answer);
        rc = ask(outlet, http, timeout_ms, body, &answer, &status, err);
    }
    scrape_job_unref(job);
    return rc == AP_OK ? judge(status, &answer, ret_is_refused, err) : rc;
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
        if (__atomic_load_n(&outlet->is_cut, __ATOMIC_RELAXED))
            return;
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
    size_t count;
    while (!__atomic_load_n(&outlet->is_cut, __ATOMIC_RELAXED) && (count = next_batch(outlet, &body)) > 0)
        send_batch(outlet, ap_buf_slice(&body), count);
    return NULL;
}

/* ---- Outlets ---- */

static void tell_end(struct outlet *outlet, bool is_cut)
{
    __atomic_store_n(&outlet->is_cut, is_cut, __ATOMIC_RELAXED);
    pthread_mutex_lock(&outlet->mutex);
    outlet->is_ending = true;
    pthread_cond_broadcast(&outlet->changed);
    pthread_mutex_unlock(&outlet->mutex);
}

/* Behind tell_end(). */
static void outlet_free(struct outlet *outlet)
{
    if (outlet->is_started)
        pthread_join(outlet->thread, NULL);
    while (outlet->first)
        item_free(take_first_locked(outlet));
    curl_easy_cleanup(outlet->curl);
    scrape_job_unref(outlet->job);
    pthread_cond_destroy(&outlet->changed);
    pthread_mutex_destroy(&outlet->mutex);
    free(outlet->url);
    free(outlet);
}

static enum ap_rc outlet_open(struct alert_forwarder *forwarder, const char *url, struct outlet **ret_outlet,
                              struct ap_err *err)
{
    struct outlet *outlet = ap_new0(struct outlet);
    outlet->forwarder = forwarder;
    outlet->url = ap_strdup(url);
    outlet->tail = &outlet->first;
    outlet->stats.url = outlet->url;
    outlet->curl = curl_easy_init();
    AP_ASSERT(outlet->curl != NULL);
    pthread_mutex_init(&outlet->mutex, NULL);
    os_cond_init(&outlet->changed);
    *ret_outlet = outlet;
    enum ap_rc rc = os_thread_start("alert-forward", work, outlet, &outlet->thread, err);
    outlet->is_started = rc == AP_OK;
    return rc;
}

static void outlet_set_place(struct outlet *outlet, const struct place *place)
{
    pthread_mutex_lock(&outlet->mutex);
    const struct scrape_job *before = outlet->job;
    outlet->job = place->job ? scrape_job_ref(place->job) : NULL;
    outlet->http = place->job ? &place->job->http : &place->http;
    pthread_mutex_unlock(&outlet->mutex);
    scrape_job_unref(before);
}

/* ---- What the lists name ---- */

static struct outlet *find_outlet(struct outlet *const *outlets, size_t count, const char *url)
{
    for (size_t i = 0; i < count; i++)
        if (outlets[i] && strcmp(outlets[i]->url, url) == 0)
            return outlets[i];
    return NULL;
}

/* One that is there already goes over; AP_E_LIMIT: there are too many. */
static enum ap_rc add_outlet_locked(struct alert_forwarder *forwarder, const struct place *place,
                                    struct outlet **outlets, size_t *count, struct ap_err *err)
{
    enum ap_rc rc = AP_OK;
    if (find_outlet(outlets, *count, place->url))
        return AP_OK;
    if (*count == FORWARDER_ADDRESSES_MAX)
        return ap_fail(err, AP_E_LIMIT, "more than %d Alertmanagers: the others are told nothing",
                       FORWARDER_ADDRESSES_MAX);
    struct outlet *outlet = NULL;
    for (size_t i = 0; i < forwarder->outlet_count && !outlet; i++)
        if (forwarder->outlets[i] && strcmp(forwarder->outlets[i]->url, place->url) == 0) {
            outlet = forwarder->outlets[i];
            forwarder->outlets[i] = NULL;
        }
    bool is_new = !outlet;
    if (is_new)
        rc = outlet_open(forwarder, place->url, &outlet, err);
    outlet_set_place(outlet, place);
    outlets[(*count)++] = outlet;
    return rc;
}

/* What nobody names any more is left in *ret_gone, which is the caller's, in NULLs. The first error; all else is done.
 */
static enum ap_rc rebuild_locked(struct alert_forwarder *forwarder, struct outlet ***ret_gone, size_t *ret_gone_count,
                                 struct ap_err *err)
{
    struct outlet **outlets = ap_new0_array(struct outlet *, FORWARDER_ADDRESSES_MAX);
    size_t count = 0;
    enum ap_rc first_rc = AP_OK;
    for (size_t i = 0; i < forwarder->list_count; i++)
        for (size_t p = 0; p < forwarder->lists[i].count; p++) {
            struct ap_err reason;
            enum ap_rc rc = add_outlet_locked(forwarder, &forwarder->lists[i].places[p], outlets, &count, &reason);
            if (rc == AP_OK || first_rc != AP_OK)
                continue;
            first_rc = rc;
            *err = reason;
        }
    *ret_gone = forwarder->outlets;
    *ret_gone_count = forwarder->outlet_count;
    forwarder->outlets = outlets;
    forwarder->outlet_count = count;
    return first_rc;
}

/* All are told before the first is waited for. */
static void end_outlets(struct outlet **take_outlets, size_t count, bool is_cut)
{
    for (size_t i = 0; i < count; i++)
        if (take_outlets[i])
            tell_end(take_outlets[i], is_cut);
    for (size_t i = 0; i < count; i++)
        if (take_outlets[i])
            outlet_free(take_outlets[i]);
    free(take_outlets);
}

static void list_clear(struct list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct place *place = &list->places[i];
        free(place->url);
        scrape_job_unref(place->job);
        free(place->user);
        free(place->password);
    }
    free(list->places);
    free(list->name);
}

/* One that is not known gets a place behind the others. */
static struct list *take_list_locked(struct alert_forwarder *forwarder, const char *name)
{
    for (size_t i = 1; i < forwarder->list_count; i++)
        if (strcmp(forwarder->lists[i].name, name) == 0)
            return &forwarder->lists[i];
    forwarder->lists = ap_realloc(forwarder->lists, (forwarder->list_count + 1) * sizeof(struct list));
    struct list *list = &forwarder->lists[forwarder->list_count++];
    *list = (struct list){.name = ap_strdup(name)};
    return list;
}

void alert_forwarder_sync(struct alert_forwarder *forwarder, const char *name,
                          const struct scrape_target *const *targets, size_t count)
{
    struct place *places = ap_new0_array(struct place, count + 1);
    struct outlet **gone;
    size_t gone_count;
    struct ap_err err;
    for (size_t i = 0; i < count; i++)
        places[i] = (struct place){.url = ap_strdup(targets[i]->url), .job = scrape_job_ref(targets[i]->job)};
    pthread_mutex_lock(&forwarder->mutex);
    struct list *list = take_list_locked(forwarder, name);
    struct list before = *list;
    *list = (struct list){.name = ap_strdup(name), .places = places, .count = count};
    if (!targets) { /* it stands for nothing that is still to be found */
        struct list last = forwarder->lists[--forwarder->list_count];
        list_clear(list);
        if (list != &forwarder->lists[forwarder->list_count])
            *list = last;
    }
    enum ap_rc rc = rebuild_locked(forwarder, &gone, &gone_count, &err);
    pthread_mutex_unlock(&forwarder->mutex);
    list_clear(&before);
    end_outlets(gone, gone_count, true);
    if (rc != AP_OK)
        forwarder->options.trouble(&err, forwarder->options.context);
}

/* ---- The settings ---- */

/* "p%40ss" → "p@ss"; to be freed. */
static char *unescape(struct ap_slice text)
{
    char *plain = ap_slice_dup(text);
    size_t bytes = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        char digits[3] = {0};
        bool is_escape = text.data[i] == '%' && i + 2 < text.bytes;
        if (is_escape)
            memcpy(digits, text.data + i + 1, 2);
        plain[bytes++] = is_escape ? (char)strtoul(digits, NULL, 16) : text.data[i];
        i += is_escape ? 2 : 0;
    }
    plain[bytes] = '\0';
    return plain;
}

/* "user:p%40ss" */
static void set_user(struct place *place, struct ap_slice user_and_word)
{
    struct ap_slice word = user_and_word;
    struct ap_slice user = ap_slice_split(&word, ':');
    place->user = unescape(user);
    place->password = unescape(word);
    place->http.basic_user = place->user;
    place->http.basic_password = place->password;
}

/* "http://user:word@host:9093/am/" → "http://host:9093/am/api/v2/alerts" */
static enum ap_rc set_url(struct place *place, const char *url, struct ap_err *err)
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
    place->url =
        ap_asprintf("%.*s%.*s/api/v2/alerts", (int)(host - url), url, (int)(text.data + text.bytes - rest), rest);
    if (at)
        set_user(place, ap_slice(host, (size_t)(at - host)));
    return AP_OK;
}

static enum ap_rc set_settings(struct alert_forwarder *forwarder, const char *const *urls, size_t count,
                               struct ap_err *err)
{
    struct list *list = forwarder->lists = ap_new0(struct list);
    forwarder->list_count = 1;
    list->places = ap_new0_array(struct place, count + 1);
    enum ap_rc rc = AP_OK;
    for (; list->count < count && rc == AP_OK; list->count++) {
        struct place *place = &list->places[list->count];
        place->http = (struct scrape_http){.is_http2_allowed = true, .is_proxy_from_environment = true};
        rc = set_url(place, urls[list->count], err);
    }
    return rc;
}

/* ---- Life ---- */

enum ap_rc alert_forwarder_open(const struct alert_forwarder_options *options, struct alert_forwarder **ret_forwarder,
                                struct ap_err *err)
{
    AP_AUTO(alert_forwarder) struct alert_forwarder *forwarder = ap_new0(struct alert_forwarder);
    struct outlet **before;
    size_t before_count;
    forwarder->options = *options;
    forwarder->options.urls = NULL;
    forwarder->tokens = oauth2_tokens_new();
    pthread_mutex_init(&forwarder->mutex, NULL);
    enum ap_rc rc = set_settings(forwarder, options->urls, options->url_count, err);
    if (rc != AP_OK)
        return rc;
    rc = rebuild_locked(forwarder, &before, &before_count, err); /* there were none */
    if (rc == AP_OK)
        *ret_forwarder = AP_MOVE(forwarder);
    return rc;
}

void alert_forwarder_close(struct alert_forwarder *forwarder)
{
    if (!forwarder)
        return;
    end_outlets(forwarder->outlets, forwarder->outlet_count, false);
    for (size_t i = 0; i < forwarder->list_count; i++)
        list_clear(&forwarder->lists[i]);
    free(forwarder->lists);
    oauth2_tokens_free(forwarder->tokens);
    pthread_mutex_destroy(&forwarder->mutex);
    free(forwarder);
}

void alert_forwarder_each(struct alert_forwarder *forwarder, alert_forwarder_fn each, void *context)
{
    pthread_mutex_lock(&forwarder->mutex);
    for (size_t i = 0; i < forwarder->outlet_count; i++) {
        struct outlet *outlet = forwarder->outlets[i];
        pthread_mutex_lock(&outlet->mutex);
        struct alert_forwarder_stats stats = outlet->stats;
        pthread_mutex_unlock(&outlet->mutex);
        each(&stats, context);
    }
    pthread_mutex_unlock(&forwarder->mutex);
}
