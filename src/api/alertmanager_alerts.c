/* /api/v2/alerts and /api/v2/alerts/groups */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "alert/alerting.h"
#include "api/alertmanager.h"
#include "api/prometheus.h"
#include "api/question.h"
#include "base/mem.h"
#include "codec/json_reader.h"
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
        rc = params_bool(params, switches[i].name, true, switches[i].to, err);
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
    prometheus_add_labels(out, view->alert.annotations);
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
    prometheus_add_labels(out, view->alert.labels);
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

static enum ap_rc send_list(struct question *question, struct listing *listing, struct ap_buf *out, struct ap_err *err)
{
    if (listing->count)
        qsort(listing->pieces, listing->count, sizeof(*listing->pieces), compare_pieces);
    question_set_bare(question, out, "application/json");
    ap_buf_add_char(out, '[');
    for (size_t i = 0; i < listing->count; i++) {
        ap_buf_add_cstr(out, i ? "," : "");
        ap_buf_add(out, listing->text.data + listing->pieces[i].offset, listing->pieces[i].bytes);
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
    prometheus_add_labels(out, view->labels);
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

/* A label set in `bytes` of a reading, which moves while it grows. */
struct span {
    size_t offset;
    size_t bytes;
};

struct entry {
    struct span labels;
    struct span annotations;
    struct ap_slice generator_url;
    int64_t starts_ms;
    int64_t ends_ms;
};

struct reading {
    struct json_reader reader;
    struct ap_buf bytes;   /* owned */
    struct entry *entries; /* owned */
    size_t count;
    size_t capacity;
    struct ap_buf problems; /* owned; "; " between them */
};

static int compare_names(const struct label *a, const struct label *b)
{
    int order = memcmp(a->name.data, b->name.data, AP_MIN(a->name.bytes, b->name.bytes));
    return order ? order : (a->name.bytes > b->name.bytes) - (a->name.bytes < b->name.bytes);
}

static void note_problem(struct reading *reading, const char *text)
{
    ap_buf_printf(&reading->problems, "%s%s", reading->problems.bytes ? "; " : "", text);
}

/* As labels, but a value may be empty. Of several with the same name the last one counts. */
static void add_annotations(struct ap_buf *out, struct label *annotations, size_t count)
{
    for (size_t i = 1; i < count; i++) /* mostly a handful, and mostly in order */
        for (size_t at = i; at > 0 && compare_names(&annotations[at - 1], &annotations[at]) > 0; at--) {
            struct label moved = annotations[at];
            annotations[at] = annotations[at - 1];
            annotations[at - 1] = moved;
        }
    for (size_t i = 0; i < count; i++)
        if (i + 1 == count || compare_names(&annotations[i], &annotations[i + 1]) != 0)
            labels_add(out, &annotations[i]);
}

/* What is wrong with the set itself is a problem of this alert alone. */
static enum ap_rc read_labels(struct reading *reading, bool are_annotations, struct span *ret_span, bool *is_good,
                              struct ap_err *err)
{
    const char *what = are_annotations ? "invalid annotations" : "invalid label set";
    struct label labels[LABELS_COUNT_MAX];
    struct ap_slice key, value;
    size_t count = 0;
    bool is_there;
    enum ap_rc rc = json_reader_begin_object(&reading->reader, err);
    while (rc == AP_OK && (rc = json_reader_next_key(&reading->reader, &key, &is_there, err)) == AP_OK && is_there) {
        rc = json_reader_string(&reading->reader, &value, err);
        bool is_kept = value.bytes || are_annotations; /* a label without a value is none */
        if (rc == AP_OK && is_kept && count == LABELS_COUNT_MAX)
            rc = ap_fail(err, AP_E_LIMIT, "%s: more than %d", what, LABELS_COUNT_MAX);
        if (rc == AP_OK && is_kept)
            labels[count++] = (struct label){key, value};
    }
    if (rc != AP_OK || count == 0)
        return rc;
    struct ap_err reason;
    size_t offset = reading->bytes.bytes;
    enum ap_rc encoded = AP_OK;
    if (are_annotations)
        add_annotations(&reading->bytes, labels, count);
    else
        encoded = labels_encode(labels, count, &reading->bytes, &reason);
    if (encoded == AP_OK) {
        *ret_span = (struct span){offset, reading->bytes.bytes - offset};
        return AP_OK;
    }
    (void)ap_err_prefix(&reason, "%s", what);
    note_problem(reading, reason.text);
    *is_good = false;
    return AP_OK;
}

static enum ap_rc read_moment(struct reading *reading, const char *what, int64_t *ret_ts_ms, struct ap_err *err)
{
    struct ap_slice text;
    enum ap_rc rc = json_reader_string(&reading->reader, &text, err);
    return rc == AP_OK ? alertmanager_parse_time(text, what, ret_ts_ms, err) : rc;
}

static enum ap_rc read_alert(struct reading *reading, struct entry *entry, bool *is_good, struct ap_err *err)
{
    struct ap_slice key;
    bool is_there;
    enum ap_rc rc = json_reader_begin_object(&reading->reader, err);
    while (rc == AP_OK && (rc = json_reader_next_key(&reading->reader, &key, &is_there, err)) == AP_OK && is_there) {
        if (ap_slice_equal_cstr(key, "labels"))
            rc = read_labels(reading, false, &entry->labels, is_good, err);
        else if (ap_slice_equal_cstr(key, "annotations"))
            rc = read_labels(reading, true, &entry->annotations, is_good, err);
        else if (ap_slice_equal_cstr(key, "startsAt"))
            rc = read_moment(reading, "startsAt", &entry->starts_ms, err);
        else if (ap_slice_equal_cstr(key, "endsAt"))
            rc = read_moment(reading, "endsAt", &entry->ends_ms, err);
        else if (ap_slice_equal_cstr(key, "generatorURL"))
            rc = json_reader_string(&reading->reader, &entry->generator_url, err);
        else
            rc = json_reader_skip(&reading->reader, NULL, err);
    }
    return rc;
}

static bool check_alert(struct reading *reading, const struct entry *entry)
{
    if (entry->labels.bytes == 0) {
        note_problem(reading, "at least one label pair required");
        return false;
    }
    if (entry->starts_ms && entry->ends_ms && entry->ends_ms < entry->starts_ms) {
        note_problem(reading, "start time must be before end time");
        return false;
    }
    return true;
}

static enum ap_rc read_alerts(struct reading *reading, struct ap_err *err)
{
    bool is_there;
    enum ap_rc rc = json_reader_begin_array(&reading->reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(&reading->reader, &is_there, err)) == AP_OK && is_there) {
        struct entry entry = {0};
        bool is_good = true;
        rc = read_alert(reading, &entry, &is_good, err);
        if (rc != AP_OK || !is_good || !check_alert(reading, &entry))
            continue;
        if (reading->count == reading->capacity) {
            reading->capacity = AP_MAX(2 * reading->capacity, (size_t)64);
            reading->entries = ap_realloc(reading->entries, reading->capacity * sizeof(*reading->entries));
        }
        reading->entries[reading->count++] = entry;
    }
    return rc == AP_OK ? json_reader_finish(&reading->reader, err) : rc;
}

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

static enum ap_rc put(struct alerting *alerting, const struct reading *reading, struct ap_err *err)
{
    AP_AUTO_FREE struct alert_in *alerts = ap_new0_array(struct alert_in, reading->count + 1);
    const char *bytes = reading->bytes.data ? reading->bytes.data : "";
    for (size_t i = 0; i < reading->count; i++) {
        const struct entry *entry = &reading->entries[i];
        alerts[i] = (struct alert_in){
            .labels = ap_slice(bytes + entry->labels.offset, entry->labels.bytes),
            .annotations = ap_slice(bytes + entry->annotations.offset, entry->annotations.bytes),
            .generator_url = entry->generator_url.data ? entry->generator_url : ap_slice("", 0),
            .starts_ms = entry->starts_ms,
            .ends_ms = entry->ends_ms,
        };
    }
    return put_and_wait(alerting, alerts, reading->count, err);
}

/* Good ones are taken even when others are not, as Alertmanager does. */
static enum ap_rc answer_put(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct reading reading = {0};
    json_reader_init(&reading.reader, http_body(question->request), http_arena(question->request),
                     &json_reader_limits_default);
    enum ap_rc rc = read_alerts(&reading, err);
    if (rc == AP_OK)
        rc = put(question->api->alerting, &reading, err);
    if (rc == AP_OK && reading.problems.bytes)
        rc = ap_fail(err, AP_E_PARSE, "%.*s", AP_SLICE_ARG(ap_buf_slice(&reading.problems)));
    ap_buf_clear(&reading.bytes);
    ap_buf_clear(&reading.problems);
    free(reading.entries);
    question_set_bare(question, out, "application/json");
    return rc;
}

void alertmanager_handle_alerts(struct api *api, struct http_request *request, struct ap_slice rest)
{
    bool is_change = http_method(request) == HTTP_METHOD_POST;
    question_ask(api, request, rest, api->alert_questions, is_change ? answer_put : answer_alerts);
}
