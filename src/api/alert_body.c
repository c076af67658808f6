#include "api/alert_body.h"

#include <stdlib.h>
#include <string.h>

#include "api/alertmanager.h"
#include "base/mem.h"
#include "codec/json_reader.h"
#include "tsdb/labels.h"

/* A member that says null says nothing: programs write what they have no value for. */
static enum ap_rc skip_null(struct json_reader *reader, bool *ret_is_null, struct ap_err *err)
{
    enum json_kind kind;
    *ret_is_null = false;
    enum ap_rc rc = json_reader_peek(reader, &kind, err);
    if (rc != AP_OK || kind != JSON_KIND_NULL)
        return rc;
    *ret_is_null = true;
    return json_reader_null(reader, err);
}

/* ---- Alerts ---- */

/* A label set in the bytes of a body, which moves while it grows. */
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
    struct alert_body *body; /* what bytes and problems belong to */
    struct entry *entries;   /* owned */
    size_t count;
    size_t capacity;
};

static int compare_names(const struct label *a, const struct label *b)
{
    int order = memcmp(a->name.data, b->name.data, AP_MIN(a->name.bytes, b->name.bytes));
    return order ? order : (a->name.bytes > b->name.bytes) - (a->name.bytes < b->name.bytes);
}

static void note_problem(struct reading *reading, const char *text)
{
    ap_buf_printf(&reading->body->problems, "%s%s", reading->body->problems.bytes ? "; " : "", text);
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
    size_t offset = reading->body->bytes.bytes;
    enum ap_rc encoded = AP_OK;
    if (are_annotations)
        add_annotations(&reading->body->bytes, labels, count);
    else
        encoded = labels_encode(labels, count, &reading->body->bytes, &reason);
    if (encoded == AP_OK) {
        *ret_span = (struct span){offset, reading->body->bytes.bytes - offset};
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

static enum ap_rc read_alert_member(struct reading *reading, struct ap_slice key, struct entry *entry, bool *is_good,
                                    struct ap_err *err)
{
    bool is_null;
    enum ap_rc rc = skip_null(&reading->reader, &is_null, err);
    if (rc != AP_OK || is_null)
        return rc;
    if (ap_slice_equal_cstr(key, "labels"))
        return read_labels(reading, false, &entry->labels, is_good, err);
    if (ap_slice_equal_cstr(key, "annotations"))
        return read_labels(reading, true, &entry->annotations, is_good, err);
    if (ap_slice_equal_cstr(key, "startsAt"))
        return read_moment(reading, "startsAt", &entry->starts_ms, err);
    if (ap_slice_equal_cstr(key, "endsAt"))
        return read_moment(reading, "endsAt", &entry->ends_ms, err);
    if (ap_slice_equal_cstr(key, "generatorURL"))
        return json_reader_string(&reading->reader, &entry->generator_url, err);
    return json_reader_skip(&reading->reader, NULL, err);
}

static enum ap_rc read_alert(struct reading *reading, struct entry *entry, bool *is_good, struct ap_err *err)
{
    struct ap_slice key;
    bool is_there;
    enum ap_rc rc = json_reader_begin_object(&reading->reader, err);
    while (rc == AP_OK && (rc = json_reader_next_key(&reading->reader, &key, &is_there, err)) == AP_OK && is_there)
        rc = read_alert_member(reading, key, entry, is_good, err);
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
    bool is_there, is_null;
    enum ap_rc rc = skip_null(&reading->reader, &is_null, err); /* an empty list, as some programs write it */
    if (rc != AP_OK || is_null)
        return rc == AP_OK ? json_reader_finish(&reading->reader, err) : rc;
    rc = json_reader_begin_array(&reading->reader, err);
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

enum ap_rc alert_body_read(struct ap_slice text, struct ap_arena *arena, struct alert_body *ret_body,
                           struct ap_err *err)
{
    struct reading reading = {.body = ret_body};
    *ret_body = (struct alert_body){0};
    json_reader_init(&reading.reader, text, arena, &json_reader_limits_default);
    enum ap_rc rc = read_alerts(&reading, err);
    ret_body->alerts = ap_new0_array(struct alert_in, reading.count + 1);
    ret_body->count = rc == AP_OK ? reading.count : 0;
    const char *bytes = ret_body->bytes.data ? ret_body->bytes.data : "";
    for (size_t i = 0; i < ret_body->count; i++) {
        const struct entry *entry = &reading.entries[i];
        ret_body->alerts[i] = (struct alert_in){
            .labels = ap_slice(bytes + entry->labels.offset, entry->labels.bytes),
            .annotations = ap_slice(bytes + entry->annotations.offset, entry->annotations.bytes),
            .generator_url = entry->generator_url.data ? entry->generator_url : ap_slice("", 0),
            .starts_ms = entry->starts_ms,
            .ends_ms = entry->ends_ms,
        };
    }
    free(reading.entries);
    return rc;
}

void alert_body_clear(struct alert_body *body)
{
    free(body->alerts);
    ap_buf_clear(&body->bytes);
    ap_buf_clear(&body->problems);
}

/* ---- Silences ---- */

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

static enum ap_rc read_matchers(struct json_reader *reader, struct silence_body *body, struct ap_err *err)
{
    bool is_there;
    body->has_matchers = true;
    enum ap_rc rc = json_reader_begin_array(reader, err);
    while (rc == AP_OK && (rc = json_reader_next_item(reader, &is_there, err)) == AP_OK && is_there)
        rc = read_matcher(reader, &body->matchers, err);
    return rc;
}

static enum ap_rc read_silence_member(struct json_reader *reader, struct ap_slice key, struct silence_body *body,
                                      struct ap_err *err)
{
    const struct {
        const char *key;
        struct ap_slice *to;
    } texts[] = {{"id", &body->id},
                 {"startsAt", &body->starts},
                 {"endsAt", &body->ends},
                 {"createdBy", &body->silence.created_by},
                 {"comment", &body->silence.comment}};
    bool is_null;
    enum ap_rc rc = skip_null(reader, &is_null, err);
    if (rc != AP_OK || is_null)
        return rc;
    for (size_t i = 0; i < AP_ARRAY_COUNT(texts); i++)
        if (ap_slice_equal_cstr(key, texts[i].key))
            return json_reader_string(reader, texts[i].to, err);
    return ap_slice_equal_cstr(key, "matchers") ? read_matchers(reader, body, err)
                                                : json_reader_skip(reader, NULL, err);
}

static enum ap_rc check_silence(struct silence_body *body, int64_t now_ms, struct ap_err *err)
{
    struct silence *silence = &body->silence;
    const struct {
        const char *key;
        bool is_there;
    } needed[] = {{"comment", silence->comment.data},
                  {"createdBy", silence->created_by.data},
                  {"endsAt", body->ends.data},
                  {"matchers", body->has_matchers},
                  {"startsAt", body->starts.data}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(needed); i++)
        if (!needed[i].is_there)
            return ap_fail(err, AP_E_PARSE, "%s in body is required", needed[i].key);
    if (body->id.bytes >= sizeof(silence->id))
        return ap_fail(err, AP_E_NOT_FOUND, "silence not found");
    if (body->id.bytes)
        memcpy(silence->id, body->id.data, body->id.bytes);
    enum ap_rc rc = alertmanager_parse_time(body->starts, "startsAt", &silence->starts_ms, err);
    if (rc == AP_OK)
        rc = alertmanager_parse_time(body->ends, "endsAt", &silence->ends_ms, err);
    if (rc != AP_OK)
        return rc;
    if (silence->starts_ms >= silence->ends_ms)
        return ap_fail(err, AP_E_PARSE, "Failed to create silence: start time must be before end time");
    if (silence->ends_ms < now_ms)
        return ap_fail(err, AP_E_PARSE, "Failed to create silence: end time can't be in the past");
    return AP_OK;
}

enum ap_rc silence_body_read(struct ap_slice text, struct ap_arena *arena, int64_t now_ms,
                             struct silence_body *ret_body, struct ap_err *err)
{
    struct json_reader reader;
    struct ap_slice key;
    bool is_there;
    *ret_body = (struct silence_body){0};
    ret_body->silence.matchers = &ret_body->matchers;
    json_reader_init(&reader, text, arena, &json_reader_limits_default);
    enum ap_rc rc = json_reader_begin_object(&reader, err);
    while (rc == AP_OK && (rc = json_reader_next_key(&reader, &key, &is_there, err)) == AP_OK && is_there)
        rc = read_silence_member(&reader, key, ret_body, err);
    if (rc == AP_OK)
        rc = json_reader_finish(&reader, err);
    return rc == AP_OK ? check_silence(ret_body, now_ms, err) : rc;
}
