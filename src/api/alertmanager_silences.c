/* /api/v2/silences and /api/v2/silence/{id} */
#include <stdlib.h>
#include <string.h>

#include "alert/alerting.h"
#include "alert/silence_set.h"
#include "api/alert_body.h"
#include "api/alertmanager.h"
#include "api/question.h"
#include "base/mem.h"

/* ---- Writing ---- */

static void add_matcher(struct ap_buf *out, const struct matcher *matcher)
{
    enum matcher_kind kind = matcher_kind_of(matcher);
    ap_buf_printf(out, "{\"isEqual\":%s,\"isRegex\":%s,\"name\":",
                  kind == MATCHER_EQUAL || kind == MATCHER_REGEX ? "true" : "false",
                  kind == MATCHER_REGEX || kind == MATCHER_NOT_REGEX ? "true" : "false");
    ap_buf_add_json_string(out, matcher_name(matcher));
    ap_buf_add_cstr(out, ",\"value\":");
    ap_buf_add_json_string(out, matcher_value(matcher));
    ap_buf_add_char(out, '}');
}

static void add_silence(struct ap_buf *out, const struct silence *silence, enum silence_state state)
{
    ap_buf_printf(out, "{\"id\":\"%s\",\"status\":{\"state\":\"%s\"},\"updatedAt\":", silence->id,
                  silence_state_name(state));
    alertmanager_add_time(out, silence->updated_ms);
    ap_buf_add_cstr(out, ",\"comment\":");
    ap_buf_add_json_string(out, silence->comment);
    ap_buf_add_cstr(out, ",\"createdBy\":");
    ap_buf_add_json_string(out, silence->created_by);
    ap_buf_add_cstr(out, ",\"endsAt\":");
    alertmanager_add_time(out, silence->ends_ms);
    ap_buf_add_cstr(out, ",\"matchers\":[");
    for (size_t i = 0; i < silence->matchers->count; i++) {
        ap_buf_add_cstr(out, i ? "," : "");
        add_matcher(out, silence->matchers->items[i]);
    }
    ap_buf_add_cstr(out, "],\"startsAt\":");
    alertmanager_add_time(out, silence->starts_ms);
    ap_buf_add_char(out, '}');
}

/* ---- Listing ---- */

/* One silence of the answer, with what it is sorted by. */
struct listed {
    enum silence_state state;
    int64_t starts_ms;
    int64_t ends_ms;
    struct ap_buf json;
};

struct listing {
    const struct matchers *filter;
    const char *id; /* NULL: all that pass the filter */
    int64_t now_ms;
    struct listed *items; /* owned */
    size_t count;
    size_t capacity;
};

/* A silence passes as an alert would whose labels are the names and values of its matchers. */
static bool passes(const struct matchers *filter, const struct silence *silence)
{
    for (size_t i = 0; i < filter->count; i++) {
        struct ap_slice value = {0};
        for (size_t m = 0; m < silence->matchers->count; m++)
            if (ap_slice_equal(matcher_name(silence->matchers->items[m]), matcher_name(filter->items[i])))
                value = matcher_value(silence->matchers->items[m]);
        if (!alertmanager_filter_passes(filter->items[i], value))
            return false;
    }
    return true;
}

static void list_silence(const struct silence *silence, void *context)
{
    struct listing *listing = context;
    if (listing->id ? strcmp(silence->id, listing->id) != 0 : !passes(listing->filter, silence))
        return;
    if (listing->count == listing->capacity) {
        listing->capacity = AP_MAX(2 * listing->capacity, (size_t)16);
        listing->items = ap_realloc(listing->items, listing->capacity * sizeof(*listing->items));
    }
    enum silence_state state = silence_state_at(silence, listing->now_ms);
    struct listed *listed = &listing->items[listing->count++];
    *listed = (struct listed){.state = state, .starts_ms = silence->starts_ms, .ends_ms = silence->ends_ms};
    add_silence(&listed->json, silence, state);
}

static int compare_times(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* Active ones first, the next to end before the others; then those that begin next; then those that ended last. */
static int compare_listed(const void *a, const void *b)
{
    static const int order[] = {[SILENCE_ACTIVE] = 0, [SILENCE_PENDING] = 1, [SILENCE_EXPIRED] = 2};
    const struct listed *left = a, *right = b;
    if (left->state != right->state)
        return order[left->state] - order[right->state];
    if (left->state == SILENCE_PENDING)
        return compare_times(left->starts_ms, right->starts_ms);
    int by_end = compare_times(left->ends_ms, right->ends_ms);
    return left->state == SILENCE_ACTIVE ? by_end : -by_end;
}

static void list_all(struct api *api, struct listing *listing)
{
    listing->now_ms = ap_clock_wall_us(api->clock) / AP_US_PER_MS;
    alerting_each_silence(api->alerting, list_silence, listing);
    if (listing->count)
        qsort(listing->items, listing->count, sizeof(*listing->items), compare_listed);
}

static void listing_clear(struct listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        ap_buf_clear(&listing->items[i].json);
    free(listing->items);
}

static enum ap_rc answer_list(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct matchers filter;
    struct listing listing = {.filter = &filter};
    enum ap_rc rc = alertmanager_read_filter(&question->params, &filter, err);
    if (rc == AP_OK) {
        list_all(question->api, &listing);
        question_set_bare(question, out, "application/json");
        ap_buf_add_char(out, '[');
        for (size_t i = 0; i < listing.count; i++) {
            ap_buf_add_cstr(out, i ? "," : "");
            ap_buf_add_slice(out, ap_buf_slice(&listing.items[i].json));
        }
        ap_buf_add_cstr(out, "]\n");
    }
    listing_clear(&listing);
    matchers_clear(&filter);
    return rc;
}

/* ---- Making and changing ---- */

static enum ap_rc set_silence(struct alerting *alerting, const struct silence *silence, char id[37], struct ap_err *err)
{
    enum ap_rc rc = alerting_silence_set(alerting, silence, id, err);
    return rc == AP_E_PARSE ? ap_err_prefix(err, "silence invalid") : rc;
}

static enum ap_rc answer_set(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct silence_body body;
    char id[37];
    enum ap_rc rc = silence_body_read(http_body(question->request), http_arena(question->request),
                                      ap_clock_wall_us(question->api->clock) / AP_US_PER_MS, &body, err);
    if (rc == AP_OK)
        rc = set_silence(question->api->alerting, &body.silence, id, err);
    matchers_clear(&body.matchers);
    if (rc != AP_OK)
        return rc;
    question_set_bare(question, out, "application/json");
    ap_buf_printf(out, "{\"silenceID\":\"%s\"}\n", id);
    return AP_OK;
}

void alertmanager_handle_silences(struct api *api, struct http_request *request, struct ap_slice rest)
{
    bool is_change = http_method(request) == HTTP_METHOD_POST;
    question_ask(api, request, rest, api->alert_questions, is_change ? answer_set : answer_list);
}

/* ---- One silence ---- */

static enum ap_rc read_id(const struct question *question, char id[37], struct ap_err *err)
{
    struct ap_slice text = question->rest;
    if (text.bytes && text.data[0] == '/')
        text = ap_slice(text.data + 1, text.bytes - 1);
    if (text.bytes == 0 || text.bytes > 36)
        return ap_fail(err, AP_E_NOT_FOUND, "silence not found");
    memcpy(id, text.data, text.bytes);
    id[text.bytes] = '\0';
    return AP_OK;
}

static enum ap_rc answer_one(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    char id[37];
    struct listing listing = {.id = id};
    enum ap_rc rc = read_id(question, id, err);
    if (rc != AP_OK)
        return rc;
    list_all(question->api, &listing);
    if (listing.count) {
        question_set_bare(question, out, "application/json");
        ap_buf_add_slice(out, ap_buf_slice(&listing.items[0].json));
        ap_buf_add_char(out, '\n');
    } else {
        rc = ap_fail(err, AP_E_NOT_FOUND, "silence not found");
    }
    listing_clear(&listing);
    return rc;
}

static enum ap_rc answer_expire(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    char id[37];
    enum ap_rc rc = read_id(question, id, err);
    if (rc == AP_OK)
        rc = alerting_silence_expire(question->api->alerting, id, err);
    question_set_bare(question, out, "application/json");
    return rc == AP_E_CONFLICT ? AP_OK : rc; /* it has expired already, which is what was wished */
}

void alertmanager_handle_silence(struct api *api, struct http_request *request, struct ap_slice rest)
{
    bool is_change = http_method(request) == HTTP_METHOD_DELETE;
    question_ask(api, request, rest, api->alert_questions, is_change ? answer_expire : answer_one);
}
