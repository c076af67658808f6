#include "api/targets.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "api/prometheus.h"
#include "api/question.h"
#include "base/mem.h"
#include "codec/json_reader.h"
#include "promql/parser.h"
#include "scrape/manager.h"
#include "scrape/scraper.h"
#include "tsdb/labels.h"
#include "tsdb/matcher.h"

static void add_text(struct ap_buf *out, const char *before, struct ap_slice text)
{
    ap_buf_add_cstr(out, before);
    ap_buf_add_json_string(out, text);
}

static void add_labels(struct ap_buf *out, const char *before, struct ap_slice labels)
{
    ap_buf_add_cstr(out, before);
    labels_format_json(labels, out);
}

static void add_duration(struct ap_buf *out, const char *before, int64_t ms)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    promql_print_duration(ms, &text);
    add_text(out, before, ap_buf_slice(&text));
}

/* ---- The address of a target for people elsewhere ---- */

struct url {
    struct ap_slice scheme; /* with "://" */
    struct ap_slice host;
    struct ap_slice port; /* with ':'; may be empty */
    struct ap_slice rest;
};

static struct url split_url(const char *text)
{
    struct url url = {0};
    const char *colons = strstr(text, "://");
    const char *host = colons ? colons + 3 : text;
    size_t host_bytes = strcspn(host, "/?#");
    const char *end = host + host_bytes;
    const char *port = memrchr(host, ':', host_bytes);
    if (!port || memchr(port, ']', (size_t)(end - port)))
        port = end;
    url.scheme = ap_slice(text, (size_t)(host - text));
    url.host = ap_slice(host, (size_t)(port - host));
    url.port = ap_slice(port, (size_t)(end - port));
    url.rest = ap_slice_cstr(end);
    return url;
}

static bool is_local(struct ap_slice host)
{
    return ap_slice_equal_cstr(host, "localhost") || ap_slice_equal_cstr(host, "127.0.0.1") ||
           ap_slice_equal_cstr(host, "[::1]");
}

/* This machine under the name that others know it by. */
static void add_global_url(struct ap_buf *out, const struct api *api, const struct scrape_target *target)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    struct url url = split_url(target->url);
    char name[256] = "";
    if (target->job->collector || !is_local(url.host)) {
        add_text(out, ",\"globalUrl\":", ap_slice_cstr(target->url));
        return;
    }
    struct url ours = split_url(api->external_url ? api->external_url : "");
    if (ours.host.bytes == 0 && gethostname(name, sizeof(name) - 1) == 0)
        ours.host = ap_slice_cstr(name);
    ap_buf_add_slice(&text, url.scheme);
    ap_buf_add_slice(&text, ours.host.bytes ? ours.host : url.host);
    ap_buf_add_slice(&text, url.port);
    ap_buf_add_slice(&text, url.rest);
    add_text(out, ",\"globalUrl\":", ap_buf_slice(&text));
}

/* ---- targets ---- */

struct listing {
    const struct api *api;
    struct ap_buf *out;
    struct ap_slice pool; /* data NULL: all */
    size_t count;
};

static bool is_wanted(const struct listing *listing, const char *pool)
{
    return listing->pool.bytes == 0 || ap_slice_equal_cstr(listing->pool, pool);
}

static const char *health_name(enum scrape_health health)
{
    return health == SCRAPE_HEALTH_UP ? "up" : health == SCRAPE_HEALTH_DOWN ? "down" : "unknown";
}

static void add_active(const struct scraper_target_view *view, void *context)
{
    struct listing *listing = context;
    struct ap_buf *out = listing->out;
    char scraped[AP_TIME_TEXT_BYTES] = "0001-01-01T00:00:00Z"; /* as Prometheus has it of what never was */
    if (!is_wanted(listing, view->pool))
        return;
    if (view->last_scrape_ms)
        ap_time_format(view->last_scrape_ms * AP_US_PER_MS, scraped);
    ap_buf_add_cstr(out, listing->count++ ? "," : "");
    add_labels(out, "{\"discoveredLabels\":", view->target->discovered);
    add_labels(out, ",\"labels\":", view->target->labels);
    add_text(out, ",\"scrapePool\":", ap_slice_cstr(view->pool));
    add_text(out, ",\"scrapeUrl\":", ap_slice_cstr(view->target->url));
    add_global_url(out, listing->api, view->target);
    add_text(out, ",\"lastError\":", ap_slice_cstr(view->last_error));
    add_text(out, ",\"lastScrape\":", ap_slice_cstr(scraped));
    ap_buf_add_cstr(out, ",\"lastScrapeDuration\":");
    ap_buf_add_json_double(out, (double)view->last_duration_us / 1e6);
    ap_buf_printf(out, ",\"health\":\"%s\"", health_name(view->health));
    add_duration(out, ",\"scrapeInterval\":", view->target->interval_ms);
    add_duration(out, ",\"scrapeTimeout\":", view->target->timeout_ms);
    ap_buf_add_char(out, '}');
}

static void add_dropped(const struct scrape_pool_view *pool, void *context)
{
    struct listing *listing = context;
    if (!is_wanted(listing, pool->name))
        return;
    for (size_t i = 0; i < pool->dropped_kept; i++) {
        ap_buf_add_cstr(listing->out, listing->count++ ? "," : "");
        add_labels(listing->out, "{\"discoveredLabels\":", pool->dropped[i]);
        add_text(listing->out, ",\"scrapePool\":", ap_slice_cstr(pool->name));
        ap_buf_add_char(listing->out, '}');
    }
}

static void add_dropped_count(const struct scrape_pool_view *pool, void *context)
{
    struct listing *listing = context;
    add_text(listing->out, listing->count++ ? "," : "", ap_slice_cstr(pool->name));
    ap_buf_printf(listing->out, ":%" PRIu64, pool->dropped_count);
}

static bool is_state(struct ap_slice state, const char *one)
{
    return state.bytes == 0 || ap_slice_equal_nocase(state, "any") || ap_slice_equal_nocase(state, one);
}

static enum ap_rc answer_targets(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    const struct api *api = question->api;
    struct ap_slice state = params_get(&question->params, "state");
    struct listing listing = {.api = api, .out = out, .pool = params_get(&question->params, "scrapePool")};
    (void)err;
    ap_buf_add_cstr(out, "{\"activeTargets\":[");
    if (api->scraper && is_state(state, "active"))
        scraper_each_target(api->scraper, add_active, &listing);
    ap_buf_add_cstr(out, "],\"droppedTargets\":[");
    listing.count = 0;
    bool is_of_dropped = is_state(state, "dropped");
    if (api->scrape && is_of_dropped)
        scrape_manager_each_pool(api->scrape, add_dropped, &listing);
    ap_buf_add_cstr(out, is_of_dropped ? "],\"droppedTargetCounts\":{" : "],\"droppedTargetCounts\":{}}");
    listing.count = 0;
    if (api->scrape && is_of_dropped)
        scrape_manager_each_pool(api->scrape, add_dropped_count, &listing);
    ap_buf_add_cstr(out, is_of_dropped ? "}}" : "");
    return AP_OK;
}

/* ---- scrape_pools ---- */

static void add_pool(const struct scrape_pool_view *pool, void *context)
{
    struct listing *listing = context;
    add_text(listing->out, listing->count++ ? "," : "", ap_slice_cstr(pool->name));
}

static enum ap_rc answer_pools(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct listing listing = {.out = out};
    (void)err;
    ap_buf_add_cstr(out, "{\"scrapePools\":[");
    if (question->api->scrape)
        scrape_manager_each_pool(question->api->scrape, add_pool, &listing);
    ap_buf_add_cstr(out, "]}");
    return AP_OK;
}

/* ---- targets/metadata ---- */

struct metadata_listing {
    struct ap_buf *out;
    struct matchers matchers; /* of targets; none: all */
    struct ap_slice metric;   /* empty: all, and each is told with its name */
    uint64_t limit;
    uint64_t count;
};

static bool add_metadata(const struct scrape_target *target, const struct batch_metadata *metadata, void *context)
{
    struct metadata_listing *listing = context;
    struct ap_buf *out = listing->out;
    if (listing->count == listing->limit)
        return false;
    if (listing->metric.bytes && !ap_slice_equal(listing->metric, metadata->metric))
        return true;
    if (!matchers_match(&listing->matchers, target->labels))
        return true;
    ap_buf_add_cstr(out, listing->count++ ? "," : "");
    add_labels(out, "{\"target\":", target->labels);
    if (listing->metric.bytes == 0)
        add_text(out, ",\"metric\":", metadata->metric);
    ap_buf_printf(out, ",\"type\":\"%s\"", metadata_type_name(metadata->type));
    add_text(out, ",\"help\":", metadata->help);
    add_text(out, ",\"unit\":", metadata->unit);
    ap_buf_add_char(out, '}');
    return true;
}

static enum ap_rc answer_metadata(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct metadata_listing listing = {.out = out, .metric = params_get(&question->params, "metric")};
    struct ap_slice match = params_get(&question->params, "match_target");
    enum ap_rc rc = params_any_limit(&question->params, "limit", &listing.limit, err);
    if (rc == AP_OK && match.bytes && matchers_parse(match, &listing.matchers, err) != AP_OK) {
        err->rc = AP_E_PARSE;
        rc = ap_err_prefix(err, "invalid parameter \"match_target\"");
    }
    ap_buf_add_char(out, '[');
    if (rc == AP_OK && question->api->scraper)
        scraper_each_metadata(question->api->scraper, add_metadata, &listing);
    ap_buf_add_char(out, ']');
    matchers_clear(&listing.matchers);
    return rc;
}

/* ---- targets/relabel_steps ---- */

static enum ap_rc read_labels(struct ap_slice text, struct relabel_labels *labels, struct ap_err *err)
{
    struct json_reader reader;
    struct ap_slice name, value;
    bool is_there = false;
    json_reader_init(&reader, text, labels->arena, &json_reader_limits_default);
    enum ap_rc rc = json_reader_begin_object(&reader, err);
    while (rc == AP_OK && (rc = json_reader_next_key(&reader, &name, &is_there, err)) == AP_OK && is_there) {
        rc = json_reader_string(&reader, &value, err);
        if (rc == AP_OK)
            relabel_labels_set(labels, name, value);
    }
    if (rc == AP_OK)
        rc = json_reader_finish(&reader, err);
    relabel_labels_sort(labels);
    return rc;
}

struct steps {
    struct relabel_labels *labels;
    struct ap_buf *out;
};

static void add_output(const struct relabel_labels *labels, struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf canonical = {0};
    AP_AUTO_FREE struct label *copy = ap_new0_array(struct label, labels->count + 1);
    struct ap_err err;
    if (labels->count)
        memcpy(copy, labels->items, labels->count * sizeof(*copy));
    (void)!labels_encode(copy, labels->count, &canonical, &err); /* what is too long for a series is left out */
    labels_format_json(ap_buf_slice(&canonical), out);
}

/* What is dropped by one rule is so for all that follow. */
static void add_steps(const struct scrape_pool_view *pool, void *context)
{
    const struct steps *steps = context;
    enum relabel_result result = RELABEL_KEPT;
    for (size_t i = 0; i < relabel_rules_count(pool->relabel); i++) {
        if (result == RELABEL_KEPT)
            result = relabel_apply_one(pool->relabel, i, steps->labels);
        ap_buf_add_cstr(steps->out, i ? ",{\"rule\":" : "{\"rule\":");
        relabel_rule_json(pool->relabel, i, steps->out);
        ap_buf_add_cstr(steps->out, ",\"output\":");
        if (result == RELABEL_KEPT)
            add_output(steps->labels, steps->out);
        else
            ap_buf_add_cstr(steps->out, "{}");
        ap_buf_printf(steps->out, ",\"keep\":%s}", result == RELABEL_KEPT ? "true" : "false");
    }
}

static enum ap_rc answer_relabel_steps(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    static const char *const needed[] = {"scrapePool", "labels"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(needed); i++)
        if (params_get(&question->params, needed[i]).bytes == 0)
            return ap_fail(err, AP_E_PARSE, "no %s parameter provided", needed[i]);
    struct ap_slice pool = params_get(&question->params, "scrapePool");
    AP_AUTO_ARENA struct ap_arena arena = {0};
    struct relabel_labels labels;
    ap_arena_init(&arena, 0);
    relabel_labels_init(&labels, &arena);
    enum ap_rc rc = read_labels(params_get(&question->params, "labels"), &labels, err);
    if (rc != AP_OK)
        return ap_err_prefix(err, "error parsing labels");
    struct steps steps = {&labels, out};
    ap_buf_add_cstr(out, "{\"steps\":[");
    if (!question->api->scrape || !scrape_manager_pool(question->api->scrape, pool, add_steps, &steps))
        return ap_fail(err, AP_E_PARSE, "error retrieving scrape config: scrape pool \"%.*s\" not found",
                       PARAMS_TEXT(pool));
    ap_buf_add_cstr(out, "]}");
    return AP_OK;
}

/* ---- Reload ---- */

static enum ap_rc answer_reload(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    question_set_bare(question, out, "text/plain; charset=utf-8");
    enum ap_rc rc = question->api->reload ? question->api->reload(question->api->reload_context, err) : AP_OK;
    return rc == AP_OK ? rc : ap_err_prefix(err, "failed to reload config");
}

/* ---- Handlers ---- */

void targets_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_targets);
}

void targets_handle_pools(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_pools);
}

void targets_handle_metadata(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_metadata);
}

void targets_handle_relabel_steps(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_relabel_steps);
}

void targets_handle_reload(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->chores, answer_reload);
}
