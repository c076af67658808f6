#include "api/catalogue.h"

#include <inttypes.h>

#include "api/question.h"
#include "base/mem.h"
#include "codec/yaml.h"
#include "pack/coverage.h"
#include "pack/pack.h"

static const int64_t since_missing_ms = INT64_C(86400000);
static const int64_t since_ms_max = 3653 * INT64_C(86400000);

static void add_text(struct ap_buf *out, const char *key, const char *text)
{
    ap_buf_printf(out, "\"%s\":", key);
    if (text)
        ap_buf_add_json_string(out, ap_slice_trim(ap_slice_cstr(text)));
    else
        ap_buf_add_cstr(out, "null");
}

/* Behind another member. */
static void add_next_text(struct ap_buf *out, const char *key, const char *text)
{
    ap_buf_add_char(out, ',');
    add_text(out, key, text);
}

static void add_texts(struct ap_buf *out, const char *key, const char *const *texts, size_t count)
{
    ap_buf_printf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < count; i++) {
        ap_buf_add_cstr(out, i ? "," : "");
        ap_buf_add_json_string(out, ap_slice_cstr(texts[i]));
    }
    ap_buf_add_char(out, ']');
}

/* ---- The catalogue ---- */

static void add_attributes(struct ap_buf *out, const struct catalogue_metric *metric)
{
    ap_buf_add_cstr(out, ",\"attributes\":[");
    for (size_t i = 0; i < metric->attribute_count; i++) {
        const struct catalogue_attribute *attribute = &metric->attributes[i];
        ap_buf_add_cstr(out, i ? ",{" : "{");
        add_text(out, "name", attribute->name);
        add_next_text(out, "meaning", attribute->meaning);
        add_texts(out, "values", attribute->values, attribute->value_count);
        ap_buf_add_char(out, '}');
    }
    ap_buf_add_char(out, ']');
}

static void add_metric(struct ap_buf *out, const struct catalogue_metric *metric)
{
    ap_buf_add_char(out, '{');
    add_text(out, "name", metric->name);
    add_next_text(out, "series", metric->series);
    add_next_text(out, "short_name", metric->short_name);
    add_next_text(out, "type", catalogue_type_name(metric->type));
    add_next_text(out, "unit", metric->unit);
    add_next_text(out, "title", metric->title);
    add_next_text(out, "meaning", metric->meaning);
    add_next_text(out, "owner", metric->owner);
    add_next_text(out, "query", metric->query);
    add_next_text(out, "query_unit", pack_unit_name(metric->query_unit));
    if (metric->target.op == PACK_TARGET_NONE) {
        ap_buf_add_cstr(out, ",\"target\":null");
    } else {
        ap_buf_printf(out, ",\"target\":{\"op\":\"%s\",\"value\":", pack_target_op_name(metric->target.op));
        ap_buf_add_json_double(out, metric->target.value);
        add_next_text(out, "text", metric->target.text);
        ap_buf_add_char(out, '}');
    }
    add_next_text(out, "better", metric->better == PACK_BETTER_LOWER ? "lower" : "higher");
    add_attributes(out, metric);
    ap_buf_add_char(out, '}');
}

static void add_area(struct ap_buf *out, const struct catalogue_area *area)
{
    ap_buf_add_char(out, '{');
    add_text(out, "id", area->id);
    add_next_text(out, "title", area->title);
    add_next_text(out, "description", area->description);
    ap_buf_add_cstr(out, ",\"metrics\":[");
    for (size_t i = 0; i < area->metric_count; i++) {
        ap_buf_add_cstr(out, i ? "," : "");
        add_metric(out, &area->metrics[i]);
    }
    ap_buf_add_cstr(out, "]}");
}

void catalogue_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    (void)rest;
    struct ap_buf out = {0};
    ap_buf_add_cstr(&out, "{\"packs\":[");
    for (size_t i = 0; i < api->pack_count; i++) {
        const struct pack *pack = api->packs[i];
        ap_buf_add_cstr(&out, i ? ",{" : "{");
        add_text(&out, "pack", pack->name);
        add_next_text(&out, "title", pack->title);
        add_texts(&out, "services", pack->services, pack->service_count);
        ap_buf_add_cstr(&out, ",\"areas\":[");
        for (size_t a = 0; a < pack->area_count; a++) {
            ap_buf_add_cstr(&out, a ? "," : "");
            add_area(&out, &pack->areas[a]);
        }
        ap_buf_add_cstr(&out, "]}");
    }
    ap_buf_add_cstr(&out, "]}\n");
    api_reply_json(request, ap_buf_slice(&out));
}

/* ---- Coverage ---- */

static void add_versions(struct ap_buf *out, const char *count_key, const struct coverage_version *versions,
                         size_t count)
{
    ap_buf_add_cstr(out, ",\"versions\":[");
    for (size_t i = 0; i < count; i++) {
        ap_buf_add_cstr(out, i ? ",{" : "{");
        add_text(out, "version", versions[i].version);
        ap_buf_printf(out, ",\"%s\":%" PRIu64 ",\"newest_ms\":", count_key, versions[i].series_count);
        if (versions[i].newest_ms == INT64_MIN)
            ap_buf_add_cstr(out, "null}");
        else
            ap_buf_printf(out, "%" PRId64 "}", versions[i].newest_ms);
    }
    ap_buf_add_char(out, ']');
}

static void add_seen(struct ap_buf *out, const struct coverage_seen *seen)
{
    ap_buf_printf(out, ",\"series_count\":%" PRIu64 ",\"newest_ms\":", seen->series_count);
    if (seen->series_count)
        ap_buf_printf(out, "%" PRId64, seen->newest_ms);
    else
        ap_buf_add_cstr(out, "null");
    add_next_text(out, "type", seen->has_metadata ? metadata_type_name(seen->type) : NULL);
    add_next_text(out, "unit", seen->has_metadata ? seen->unit : NULL);
    add_versions(out, "series_count", seen->versions, seen->version_count);
}

/* What was told, against what the catalogue says: true, false, or null where nothing was told. */
static void add_fit(struct ap_buf *out, const char *key, enum coverage_fit fit)
{
    static const char *const words[] = {"null", "true", "false"};
    ap_buf_printf(out, ",\"%s\":%s", key, words[fit]);
}

static void add_entry(struct ap_buf *out, const struct coverage_entry *entry)
{
    const struct catalogue_metric *metric = entry->metric;
    ap_buf_add_char(out, '{');
    add_text(out, "name", metric->name);
    add_next_text(out, "series", metric->series);
    ap_buf_printf(out, ",\"is_seen\":%s", entry->seen.series_count ? "true" : "false");
    add_next_text(out, "expected_type", metadata_type_name(coverage_expected_type(metric)));
    add_next_text(out, "expected_unit", catalogue_unit_word(metric->unit));
    add_fit(out, "type_agrees", entry->type_fit);
    add_fit(out, "unit_agrees", entry->unit_fit);
    add_seen(out, &entry->seen);
    ap_buf_add_char(out, '}');
}

static void add_coverage(struct ap_buf *out, const struct pack *pack, const struct coverage *coverage)
{
    ap_buf_add_char(out, '{');
    add_text(out, "pack", pack->name);
    add_next_text(out, "title", pack->title);
    ap_buf_printf(out, ",\"metric_count\":%zu,\"seen_count\":%zu,\"is_cut\":%s", coverage->entry_count,
                  coverage->seen_count, coverage->is_cut ? "true" : "false");
    add_versions(out, "instance_count", coverage->versions, coverage->version_count);
    ap_buf_add_cstr(out, ",\"metrics\":[");
    for (size_t i = 0; i < coverage->entry_count; i++) {
        ap_buf_add_cstr(out, i ? "," : "");
        add_entry(out, &coverage->entries[i]);
    }
    ap_buf_add_cstr(out, "],\"strangers\":[");
    for (size_t i = 0; i < coverage->stranger_count; i++) {
        ap_buf_add_cstr(out, i ? ",{" : "{");
        add_text(out, "series", coverage->strangers[i].series);
        add_seen(out, &coverage->strangers[i].seen);
        ap_buf_add_char(out, '}');
    }
    ap_buf_add_cstr(out, "]}");
}

static enum ap_rc answer_coverage(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    const struct api *api = question->api;
    struct ap_slice since = params_get(&question->params, "since");
    int64_t since_ms = since_missing_ms, now_ms = ap_clock_wall_us(api->clock) / AP_US_PER_MS;
    if (since.data && (!yaml_parse_duration(since, &since_ms) || since_ms <= 0 || since_ms > since_ms_max))
        return ap_fail(err, AP_E_PARSE, "since: \"%.*s\" is not a duration such as 24h or 7d, at most ten years",
                       PARAMS_TEXT(since));
    /* Samples may come a little ahead of this clock. */
    const struct coverage_options options = {
        .from_ms = now_ms - since_ms, .to_ms = INT64_MAX, .is_cancelled = question_is_gone, .context = question};
    question_set_bare(question, out, "application/json");
    ap_buf_printf(out, "{\"from_ms\":%" PRId64 ",\"now_ms\":%" PRId64 ",\"packs\":[", options.from_ms, now_ms);
    for (size_t i = 0; i < api->pack_count; i++) {
        AP_AUTO(coverage) struct coverage *coverage = NULL;
        enum ap_rc rc = coverage_take(api->packs[i], api->tsdb, &options, &coverage, err);
        if (rc != AP_OK)
            return rc;
        ap_buf_add_cstr(out, i ? "," : "");
        add_coverage(out, api->packs[i], coverage);
    }
    ap_buf_add_cstr(out, "]}\n");
    return AP_OK;
}

void catalogue_handle_coverage(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_coverage);
}
