/* /api/v2/alerts and /api/v2/alerts/groups */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "alert/alerting.h"
#include "api/alert_body.h"
#include "api/alertmanager.h"
#include "api/prometheus.h"
#include "api/question.h"
#include "base/mem.h"
#include "tsdb/labels.h"

/* ---- Which ones ---- */

struct wish {
    struct matchers filter;
    struct matcher *receiver; /* owned; NULL: any */
    bool has_active, has_silenced, has_inhibited, has_unprocessed, has_muted;
};

static enum ap_rc read_wish(const struct params *params, struct wish *ret_wish, struct ap_err *err)
{
    struct wish *wish = ret_wish;
    const struct {
        const char *name;
        bool *to;
    } switches[] = {{"active", &wish->has_active},
                    {"silenced", &wish->has_silenced},
                    {"inhibited", &wish->has_inhibited},
                    {"unprocessed", &wish->has_unprocessed},
                    {"muted", &wish->has_muted}};
    *wish = (struct wish){0};
    enum ap_rc rc = alertmanager_read_filter(params, &wish->filter, err);
    for (size_t i = 0; i < AP_ARRAY_COUNT(switches) && rc == AP_OK; i++)
        rc = alertmanager_read_switch(params, switches[i].name, switches[i].to, err);
    struct ap_slice receiver = params_get(params, "receiver");
    if (rc == AP_OK && receiver.bytes) {
        rc = matcher_new(MATCHER_REGEX, ap_slice_cstr("receiver"), receiver, &wish->receiver, err);
        if (rc != AP_OK)
            rc = ap_err_prefix(err, "failed to parse receiver param");
    }
    return rc;
}

static void wish_clear(struct wish *wish)
{
    matchers_clear(&wish->filter);
    matcher_free(wish->receiver);
}

static bool is_receiver_wished(const struct wish *wish, const struct alert_view *view)
{
    for (size_t i = 0; wish->receiver && i < view->receiver_count; i++)
        if (matcher_matches(wish->receiver, ap_slice_cstr(view->receivers[i])))
            return true;
    return !wish->receiver;
}

static bool is_active(const struct alert_view *view)
{
    return view->silenced_count == 0 && view->inhibited_count == 0 && view->muted_count == 0;
}

static bool is_wished(const struct wish *wish, const struct alert_view *view)
{
    if (view->is_resolved || (!wish->has_silenced && view->silenced_count) ||
        (!wish->has_inhibited && view->inhibited_count) || (!wish->has_muted && view->muted_count))
        return false;
    if (view->is_unprocessed ? !wish->has_unprocessed : !wish->has_active && is_active(view))
        return false;
    for (size_t i = 0; i < wish->filter.count; i++) {
        const struct matcher *matcher = wish->filter.items[i];
        if (!alertmanager_filter_passes(matcher, labels_get(view->alert.labels, matcher_name(matcher))))
            return false;
    }
    return true;
}

/* ---- Writing ---- */

static void add_names(struct ap_buf *out, const char *before, const char *const *names, size_t count)
{
    ap_buf_printf(out, "%s[", before);
    for (size_t i = 0; i < count; i++) {
        ap_buf_add_cstr(out, i ? "," : "");
        ap_buf_add_json_string(out, ap_slice_cstr(names[i]));
    }
    ap_buf_add_char(out, ']');
}

static void add_alert(struct ap_buf *out, const struct alert_view *view)
{
    const char *state = view->is_unprocessed ? "unprocessed" : is_active(view) ? "active" : "suppressed";
    ap_buf_add_cstr(out, "{\"annotations\":");
    labels_format_json(view->alert.annotations, out);
    ap_buf_add_cstr(out, ",\"endsAt\":");
    alertmanager_add_time(out, view->alert.ends_ms);
    ap_buf_printf(out, ",\"fingerprint\":\"%s\",\"receivers\":[", view->fingerprint);
    for (size_t i = 0; i < view->receiver_count; i++) {
        ap_buf_add_cstr(out, i ? ",{\"name\":" : "{\"name\":");
        ap_buf_add_json_string(out, ap_slice_cstr(view->receivers[i]));
        ap_buf_add_char(out, '}');
    }
    ap_buf_add_cstr(out, "],\"startsAt\":");
    alertmanager_add_time(out, view->alert.starts_ms);
    add_names(out, ",\"status\":{\"inhibitedBy\":", view->inhibited_by, view->inhibited_count);
    add_names(out, ",\"mutedBy\":", view->muted_by, view->muted_count);
    add_names(out, ",\"silencedBy\":", view->silenced_by, view->silenced_count);
    ap_buf_printf(out, ",\"state\":\"%s\"},\"updatedAt\":", state);
    alertmanager_add_time(out, view->updated_ms);
    if (view->alert.generator_url.bytes) {
        ap_buf_add_cstr(out, ",\"generatorURL\":");
        ap_buf_add_json_string(out, view->alert.generator_url);
    }
    ap_buf_add_cstr(out, ",\"labels\":");
    labels_format_json(view->alert.labels, out);
    ap_buf_add_char(out, '}');
}

/* ---- GET /api/v2/alerts ---- */

/* Where an alert is in the text; they are shown in order of their fingerprints. */
struct piece {
    char fingerprint[17];
    size_t offset;
    size_t bytes;
};

struct listing {
    const struct wish *wish;
    struct ap_buf text;   /* owned */
    struct piece *pieces; /* owned */
    size_t count;
    size_t capacity;
};

static void list_alert(const struct alert_view *view, void *context)
{
    struct listing *listing = context;
    if (!is_receiver_wished(listing->wish, view) || !is_wished(listing->wish, view))
        return;
    if (listing->count == listing->capacity) {
        listing->capacity = AP_MAX(2 * listing->capacity, (size_t)64);
        listing->pieces = ap_realloc(listing->pieces, listing->capacity * sizeof(*listing->pieces));
    }
    struct piece *piece = &listing->pieces[listing->count++];
    memcpy(piece->fingerprint, view->fingerprint, sizeof(piece->fingerprint));
    piece->offset = listing->text.bytes;
    add_alert(&listing->text, view);
    piece->bytes = listing->text.bytes - piece->offset;
}

static int compare_pieces(const void *a, const void *b)
{
    return strcmp(((const struct piece *)a)->fingerprint, ((const struct piece *)b)->fingerprint);
}

static struct ap_slice text_of(const struct listing *listing, size_t index)
{
    const struct piece *piece = &listing->pieces[index];
    return ap_slice(listing->text.data + piece->offset, piece->bytes);
}

static uint64_t hash_list(const struct listing *listing)
{
    uint64_t hash = listing->count;
    for (size_t i = 0; i < listing->count; i++)
        hash = XXH3_64bits_withSeed(text_of(listing, i).data, text_of(listing, i).bytes, hash);
    return hash;
}

static enum ap_rc send_list(struct question *question, struct listing *listing, struct ap_buf *out, struct ap_err *err)
{
    if (listing->count)
        qsort(listing->pieces, listing->count, sizeof(*listing->pieces), compare_pieces);
    question_set_bare(question, out, "application/json");
    if (question_set_hash(question, hash_list(listing)))
        return AP_OK;
    ap_buf_add_char(out, '[');
    for (size_t i = 0; i < listing->count; i++) {
        ap_buf_add_cstr(out, i ? "," : "");
        ap_buf_add_slice(out, text_of(listing, i));
        enum ap_rc rc = question_flush(question, out, err);
        if (rc != AP_OK)
            return rc;
    }
    ap_buf_add_cstr(out, "]\n");
    return AP_OK;
}

static enum ap_rc answer_alerts(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct wish wish;
    struct listing listing = {.wish = &wish};
    enum ap_rc rc = read_wish(&question->params, &wish, err);
    if (rc == AP_OK) {
        alerting_each_alert(question->api->alerting, list_alert, &listing);
        rc = send_list(question, &listing, out, err);
    }
    ap_buf_clear(&listing.text);
    free(listing.pieces);
    wish_clear(&wish);
    return rc;
}

/* ---- GET /api/v2/alerts/groups ---- */

struct group_listing {
    const struct wish *wish;
    struct ap_buf *out;
    bool is_begun;
};

static void list_group(const struct alert_group_view *view, void *context)
{
    struct group_listing *listing = context;
    const struct wish *wish = listing->wish;
    struct ap_buf *out = listing->out;
    bool is_begun = false;
    if (wish->receiver && !matcher_matches(wish->receiver, ap_slice_cstr(view->receiver)))
        return;
    for (size_t i = 0; i < view->alert_count; i++) {
        if (!is_wished(wish, &view->alerts[i]))
            continue;
        ap_buf_add_cstr(out, is_begun ? "," : listing->is_begun ? ",{\"alerts\":[" : "{\"alerts\":[");
        add_alert(out, &view->alerts[i]);
        is_begun = listing->is_begun = true;
    }
    if (!is_begun)
        return;
    ap_buf_add_cstr(out, "],\"labels\":");
    labels_format_json(view->labels, out);
    ap_buf_add_cstr(out, ",\"receiver\":{\"name\":");
    ap_buf_add_json_string(out, ap_slice_cstr(view->receiver));
    ap_buf_add_cstr(out, "}}");
}

static enum ap_rc answer_groups(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct wish wish;
    enum ap_rc rc = read_wish(&question->params, &wish, err);
    if (rc == AP_OK) {
        struct group_listing listing = {.wish = &wish, .out = out};
        question_set_bare(question, out, "application/json");
        ap_buf_add_char(out, '[');
        alerting_each_group(question->api->alerting, list_group, &listing);
        ap_buf_add_cstr(out, "]\n");
    }
    wish_clear(&wish);
    return rc;
}

void alertmanager_handle_groups(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->alert_questions, answer_groups);
}

/* ---- POST /api/v2/alerts ---- */

/* Until the log has answered. */
struct waiter {
    pthread_mutex_t mutex;
    pthread_cond_t answered;
    bool is_answered;
    enum ap_rc rc;
};

static void answer_waiter(void *context, enum ap_rc rc)
{
    struct waiter *waiter = context;
    pthread_mutex_lock(&waiter->mutex);
    waiter->rc = rc;
    waiter->is_answered = true;
    pthread_cond_signal(&waiter->answered);
    pthread_mutex_unlock(&waiter->mutex);
}

static enum ap_rc put_and_wait(struct alerting *alerting, const struct alert_in *alerts, size_t count,
                               struct ap_err *err)
{
    struct waiter waiter = {.mutex = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER};
    enum ap_rc rc = alerting_put(alerting, alerts, count, answer_waiter, &waiter, err);
    if (rc != AP_OK)
        return rc;
    pthread_mutex_lock(&waiter.mutex);
    while (!waiter.is_answered)
        pthread_cond_wait(&waiter.answered, &waiter.mutex);
    pthread_mutex_unlock(&waiter.mutex);
    return waiter.rc == AP_OK ? AP_OK : ap_fail(err, waiter.rc, "the log did not take the alerts; send them again");
}

/* Good ones are taken even when others are not, as Alertmanager does. */
static enum ap_rc answer_put(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct alert_body body;
    enum ap_rc rc = alert_body_read(http_body(question->request), http_arena(question->request), &body, err);
    if (rc == AP_OK)
        rc = put_and_wait(question->api->alerting, body.alerts, body.count, err);
    if (rc == AP_OK && body.problems.bytes)
        rc = ap_fail(err, AP_E_PARSE, "%.*s", AP_SLICE_ARG(ap_buf_slice(&body.problems)));
    alert_body_clear(&body);
    question_set_bare(question, out, "application/json");
    return rc;
}

void alertmanager_handle_alerts(struct api *api, struct http_request *request, struct ap_slice rest)
{
    bool is_change = http_method(request) == HTTP_METHOD_POST;
    question_ask(api, request, rest, api->alert_questions, is_change ? answer_put : answer_alerts);
}
