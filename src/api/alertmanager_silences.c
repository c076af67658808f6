/* /api/v2/silences and /api/v2/silence/{id} */
#include <stdlib.h>
#include <string.h>

#include "alert/alerting.h"
#include "alert/silence_set.h"
#include "api/alertmanager.h"
#include "api/question.h"
#include "base/mem.h"
#include "codec/json_reader.h"

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

/* A silence as it came; texts are in the request's arena. */
struct draft {
    struct silence silence;
    struct matchers matchers; /* what silence.matchers points to */
    struct ap_slice id, starts, ends;
    bool has_matchers;
};

static enum ap_rc read_matcher(struct json_reader *reader, struct matchers *matchers, struct ap_err *err)
{
    struct ap_slice key, name = {0}, value = {0};
    bool is_there, is_regex = false, is_equal = true, has_regex = false;
    enum ap_rc rc = json_reader_begin_object(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_key(reader, &key, &is_there, err)) == AP_OK && is_there) {
        if (ap_slice_equal_cstr(key, "name")) {
            rc = json_reader_string(reader, &name, err);
        } else if (ap_slice_equal_cstr(key, "value")) {
            rc = json_reader_string(reader, &value, err);
        } else if (ap_slice_equal_cstr(key, "isRegex")) {
            rc = json_reader_boolean(reader, &is_regex, err);
            has_regex = true;
        } else if (ap_slice_equal_cstr(key, "isEqual")) {
            rc = json_reader_boolean(reader, &is_equal, err);
        } else {
            rc = json_reader_skip(reader, NULL, err);
        }
    }
    if (rc != AP_OK)
        return rc;
    if (!name.bytes || !value.data || !has_regex)
        return ap_fail(err, AP_E_PARSE, "matchers: each needs name, value and isRegex");
    if (matchers->count == MATCHERS_MAX)
        return ap_fail(err, AP_E_LIMIT, "matchers: more than %d", MATCHERS_MAX);
    enum matcher_kind kind =
        is_regex ? (is_equal ? MATCHER_REGEX : MATCHER_NOT_REGEX) : (is_equal ? MATCHER_EQUAL : MATCHER_NOT_EQUAL);
    rc = matcher_new(kind, name, value, &matchers->items[matchers->count], err);
    matchers->count += rc == AP_OK;
    return rc;
}

static enum ap_rc read_matchers(struct json_reader *reader, struct draft *draft, struct ap_err *err)
{
    bool is_there;
    draft->has_matchers = true;
    enum ap_rc rc = json_reader_begin_array(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_there, err)) == AP_OK && is_there)
        rc = read_matcher(reader, &draft->matchers, err);
    return rc;
}

static enum ap_rc read_member(struct json_reader *reader, struct ap_slice key, struct draft *draft, struct ap_err *err)
{
    const struct {
        const char *key;
        struct ap_slice *to;
    } texts[] = {{"id", &draft->id},
                 {"startsAt", &draft->starts},
                 {"endsAt", &draft->ends},
                 {"createdBy", &draft->silence.created_by},
                 {"comment", &draft->silence.comment}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(texts); i++)
        if (ap_slice_equal_cstr(key, texts[i].key))
            return json_reader_string(reader, texts[i].to, err);
    return ap_slice_equal_cstr(key, "matchers") ? read_matchers(reader, draft, err)
                                                : json_reader_skip(reader, NULL, err);
}

static enum ap_rc check_draft(struct draft *draft, int64_t now_ms, struct ap_err *err)
{
    struct silence *silence = &draft->silence;
    const struct {
        const char *key;
        bool is_there;
    } needed[] = {{"comment", silence->comment.data},
                  {"createdBy", silence->created_by.data},
                  {"endsAt", draft->ends.data},
                  {"matchers", draft->has_matchers},
                  {"startsAt", draft->starts.data}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(needed); i++)
        if (!needed[i].is_there)
            return ap_fail(err, AP_E_PARSE, "%s in body is required", needed[i].key);
    if (draft->id.bytes >= sizeof(silence->id))
        return ap_fail(err, AP_E_NOT_FOUND, "silence not found");
    if (draft->id.bytes)
        memcpy(silence->id, draft->id.data, draft->id.bytes);
    enum ap_rc rc = alertmanager_parse_time(draft->starts, "startsAt", &silence->starts_ms, err);
    if (rc == AP_OK)
        rc = alertmanager_parse_time(draft->ends, "endsAt", &silence->ends_ms, err);
    if (rc != AP_OK)
        return rc;
    if (silence->starts_ms >= silence->ends_ms)
        return ap_fail(err, AP_E_PARSE, "Failed to create silence: start time must be before end time");
    if (silence->ends_ms < now_ms)
        return ap_fail(err, AP_E_PARSE, "Failed to create silence: end time can't be in the past");
    return AP_OK;
}

static enum ap_rc set_silence(struct alerting *alerting, const struct silence *silence, char id[37], struct ap_err *err)
{
    enum ap_rc rc = alerting_silence_set(alerting, silence, id, err);
    return rc == AP_E_PARSE ? ap_err_prefix(err, "silence invalid") : rc;
}

static enum ap_rc answer_set(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct draft draft = {0};
    struct json_reader reader;
    struct ap_slice key;
    bool is_there;
    draft.silence.matchers = &draft.matchers;
    json_reader_init(&reader, http_body(question->request), http_arena(question->request), &json_reader_limits_default);
    enum ap_rc rc = json_reader_begin_object(&reader, err);
    while (rc == AP_OK && (rc = json_reader_next_key(&reader, &key, &is_there, err)) == AP_OK && is_there)
        rc = read_member(&reader, key, &draft, err);
    if (rc == AP_OK)
        rc = json_reader_finish(&reader, err);
    if (rc == AP_OK)
        rc = check_draft(&draft, ap_clock_wall_us(question->api->clock) / AP_US_PER_MS, err);
    char id[37];
    if (rc == AP_OK)
        rc = set_silence(question->api->alerting, &draft.silence, id, err);
    matchers_clear(&draft.matchers);
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
