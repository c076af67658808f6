/*
 * [{"labels":{"job":"a"},"last_push_successful":true,"m":{"time_stamp":"…","type":"GAUGE","help":"…","metrics":[…]},…},…]
 *
 * A metric is {"labels":{…},"value":"1"}; of a histogram it has count, sum and buckets in place of value, and of a
 * summary count, sum and quantiles. The store's series are flat: what they have in common are the labels but for the
 * bound.
 */
#include "api/pushed.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/histogram_json.h"
#include "api/prometheus.h"
#include "api/question.h"
#include "base/buf.h"
#include "base/mem.h"
#include "ingest/push.h"
#include "tsdb/labels.h"

enum { ANSWER_BYTES_MAX = 256 << 20 };

/* One series of a family: what it is a part of, and which part. */
struct part {
    size_t labels_at; /* in listing.labels: canonical, without name and bound */
    size_t labels_bytes;
    struct ap_slice suffix; /* of the name: "", "_bucket", "_sum", "_count" */
    struct ap_slice bound;  /* of le or quantile; data NULL: none */
    double bound_value;     /* infinite where there is none */
    const struct push_series *series;
};

struct listing {
    struct ap_buf *out;
    size_t group_count;
    struct ap_buf labels; /* of the parts of one family */
    struct part *parts;   /* owned */
    size_t capacity;
};

static struct ap_slice labels_of(const struct listing *listing, const struct part *part)
{
    return ap_slice(listing->labels.data + part->labels_at, part->labels_bytes);
}

static int compare_parts(const void *a, const void *b, void *context)
{
    const struct part *left = a;
    const struct part *right = b;
    struct ap_slice x = labels_of(context, left);
    struct ap_slice y = labels_of(context, right);
    int order = labels_compare(x, y);
    return order ? order : left->bound_value < right->bound_value ? -1 : left->bound_value > right->bound_value;
}

/* It is one: the family was taken only with bounds that are numbers, and they were written anew. */
static double number_of(struct ap_slice bound)
{
    AP_AUTO_FREE char *text = ap_slice_dup(bound);
    return strtod(text, NULL);
}

static void read_part(struct listing *listing, const struct push_family *family, const struct push_series *series,
                      struct part *ret_part)
{
    const char *bound = family->type == METADATA_HISTOGRAM ? "le" : family->type == METADATA_SUMMARY ? "quantile" : "";
    struct ap_slice rest = push_series_labels(family, series);
    struct label label;
    *ret_part = (struct part){.labels_at = listing->labels.bytes, .bound_value = INFINITY, .series = series};
    while (labels_next(&rest, &label)) {
        if (ap_slice_equal_cstr(label.name, LABEL_METRIC_NAME))
            ret_part->suffix = ap_slice(label.value.data + AP_MIN(label.value.bytes, (size_t)family->name_bytes),
                                        label.value.bytes - AP_MIN(label.value.bytes, (size_t)family->name_bytes));
        else if (!ap_slice_equal_cstr(label.name, bound))
            labels_add(&listing->labels, &label);
        else
            ret_part->bound = label.value;
    }
    if (ret_part->bound.data)
        ret_part->bound_value = number_of(ret_part->bound);
    ret_part->labels_bytes = listing->labels.bytes - ret_part->labels_at;
}

/* ---- One metric ---- */

static void add_text(struct ap_buf *out, const char *name, double value)
{
    ap_buf_printf(out, ",\"%s\":\"", name);
    prometheus_add_value(out, value);
    ap_buf_add_char(out, '"');
}

static void add_bounds(struct ap_buf *out, const char *name, const struct part *parts, size_t count)
{
    bool is_first = true;
    ap_buf_printf(out, ",\"%s\":{", name);
    for (size_t i = 0; i < count; i++) {
        if (!parts[i].bound.data)
            continue;
        ap_buf_add_cstr(out, is_first ? "" : ",");
        ap_buf_add_json_string(out, parts[i].bound);
        ap_buf_add_cstr(out, ":\"");
        prometheus_add_value(out, parts[i].series->value);
        ap_buf_add_char(out, '"');
        is_first = false;
    }
    ap_buf_add_char(out, '}');
}

static void add_total(struct ap_buf *out, const char *suffix, const struct part *parts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ap_slice_equal_cstr(parts[i].suffix, suffix))
            add_text(out, suffix + 1, parts[i].series->value);
}

/* The parts have their labels in common. */
static void add_metric(struct listing *listing, const struct push_family *family, const struct part *parts,
                       size_t count)
{
    struct ap_buf *out = listing->out;
    bool is_histogram = family->type == METADATA_HISTOGRAM;
    ap_buf_add_cstr(out, "{\"labels\":");
    labels_format_json(labels_of(listing, &parts[0]), out);
    if (parts[0].series->blob_bytes) {
        AP_AUTO_BUF struct ap_buf histogram = {0};
        struct ap_err err;
        if (histogram_json_add_stored(&histogram, push_series_blob(family, parts[0].series), &err) == AP_OK) {
            ap_buf_add_char(out, ',');
            ap_buf_add(out, histogram.data + 1, histogram.bytes - 1); /* its members, and the end of ours */
            return;
        }
    } else if (is_histogram || family->type == METADATA_SUMMARY) {
        add_bounds(out, is_histogram ? "buckets" : "quantiles", parts, count);
        add_total(out, "_sum", parts, count);
        add_total(out, "_count", parts, count);
    } else {
        add_text(out, "value", parts[0].series->value);
    }
    ap_buf_add_char(out, '}');
}

/* ---- Families and groups ---- */

static void add_time(struct ap_buf *out, int64_t us)
{
    char text[AP_TIME_TEXT_BYTES];
    ap_time_format(us, text);
    ap_buf_printf(out, "{\"time_stamp\":\"%s\"", text);
}

static void add_type(struct ap_buf *out, enum metadata_type type)
{
    const char *name = type == METADATA_UNKNOWN ? "untyped" : metadata_type_name(type);
    ap_buf_add_cstr(out, ",\"type\":\"");
    for (; *name; name++)
        ap_buf_add_char(out, (char)toupper((unsigned char)*name));
    ap_buf_add_char(out, '"');
}

static void add_family(struct listing *listing, const struct push_family *family)
{
    struct ap_buf *out = listing->out;
    if (family->count > listing->capacity) {
        listing->capacity = family->count;
        listing->parts = ap_realloc(listing->parts, listing->capacity * sizeof(*listing->parts));
    }
    ap_buf_reset(&listing->labels);
    for (size_t i = 0; i < family->count; i++)
        read_part(listing, family, &family->series[i], &listing->parts[i]);
    qsort_r(listing->parts, family->count, sizeof(*listing->parts), compare_parts, listing);
    ap_buf_add_char(out, ',');
    ap_buf_add_json_string(out, push_family_name(family));
    ap_buf_add_char(out, ':');
    add_time(out, family->pushed_us);
    add_type(out, family->type);
    if (family->help_bytes) {
        ap_buf_add_cstr(out, ",\"help\":");
        ap_buf_add_json_string(out, push_family_help(family));
    }
    ap_buf_add_cstr(out, ",\"metrics\":[");
    for (size_t first = 0, next; first < family->count; first = next) {
        struct ap_slice labels = labels_of(listing, &listing->parts[first]);
        for (next = first + 1;
             next < family->count && ap_slice_equal(labels_of(listing, &listing->parts[next]), labels);)
            next++;
        ap_buf_add_cstr(out, first ? "," : "");
        add_metric(listing, family, &listing->parts[first], next - first);
    }
    ap_buf_add_cstr(out, "]}");
}

/* One of those that every group has. */
static void add_own(struct ap_buf *out, const struct push_group *group, const char *name, const char *help,
                    int64_t value_us)
{
    ap_buf_printf(out, ",\"%s\":", name);
    add_time(out, AP_MAX(group->pushed_us, group->failed_us));
    ap_buf_printf(out, ",\"type\":\"GAUGE\",\"help\":\"%s\",\"metrics\":[{\"labels\":", help);
    labels_format_json(ap_buf_slice(&group->labels), out);
    add_text(out, "value", (double)value_us / 1e6);
    ap_buf_add_cstr(out, "}]}");
}

static void add_group(const struct push_group *group, void *context)
{
    struct listing *listing = context;
    struct ap_buf *out = listing->out;
    ap_buf_add_cstr(out, listing->group_count++ ? ",{\"labels\":" : "{\"labels\":");
    labels_format_json(ap_buf_slice(&group->labels), out);
    ap_buf_printf(out, ",\"last_push_successful\":%s", group->pushed_us > group->failed_us ? "true" : "false");
    add_own(out, group, "push_time_seconds", "When the last push was taken, since 1970; 0: never.", group->pushed_us);
    add_own(out, group, "push_failure_time_seconds", "When a push was last refused, since 1970; 0: never.",
            group->failed_us);
    for (size_t i = 0; i < group->families.count; i++)
        add_family(listing, group->families.items[i]);
    ap_buf_add_char(out, '}');
}

static enum ap_rc answer(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct listing listing = {.out = out};
    out->bytes_max = ANSWER_BYTES_MAX;
    ap_buf_add_char(out, '[');
    if (question->api->push)
        push_each(question->api->push, add_group, &listing);
    ap_buf_add_char(out, ']');
    ap_buf_clear(&listing.labels);
    free(listing.parts);
    return ap_buf_ok(out) ? AP_OK : ap_fail(err, AP_E_LIMIT, "there are too many pushed metrics to show at once");
}

void pushed_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer);
}
