/* Which path is what: one table. What takes data in is in ingest/, which has its own. */
#include <string.h>

#include "api/access.h"
#include "api/alert_summary.h"
#include "api/alertmanager.h"
#include "api/api.h"
#include "api/assets.h"
#include "api/cardinality.h"
#include "api/catalogue.h"
#include "api/dashboards.h"
#include "api/exemplars.h"
#include "api/export.h"
#include "api/feature_list.h"
#include "api/federate.h"
#include "api/heartbeats.h"
#include "api/influx.h"
#include "api/live.h"
#include "api/metadata.h"
#include "api/notifications.h"
#include "api/pages.h"
#include "api/probe.h"
#include "api/prometheus.h"
#include "api/pushed.h"
#include "api/query.h"
#include "api/query_text.h"
#include "api/receivers.h"
#include "api/remote_read.h"
#include "api/rules.h"
#include "api/series.h"
#include "api/server_status.h"
#include "api/sql.h"
#include "api/status.h"
#include "api/targets.h"
#include "api/tsdb_admin.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "ingest/ingest.h"

enum { READ_BODY_BYTES_MAX = 4 << 20 }; /* the longest query, with every byte escaped */

enum right { RIGHT_NONE, RIGHT_VIEWER, RIGHT_OPERATOR, RIGHT_SECRET };

#define METHOD(name) (1u << HTTP_METHOD_##name)
#define READ         (METHOD(GET) | METHOD(HEAD))
#define ASK          (READ | METHOD(POST)) /* a question that may be too long for an address */
#define CHANGE       (METHOD(POST) | METHOD(PUT))

struct route {
    const char *path;
    bool is_prefix; /* what is below it too: `rest` is what follows */
    unsigned methods;
    enum right right;
    void (*handle)(struct api *api, struct http_request *request, struct ap_slice rest);
    enum right changing_right; /* of methods other than GET and HEAD; RIGHT_NONE: the same */
};

static void handle_live(struct api *api, struct http_request *request, struct ap_slice rest)
{
    (void)rest;
    live_handle(api->live, request);
}

static void handle_session(struct api *api, struct http_request *request, struct ap_slice rest)
{
    (void)rest;
    access_handle_session(api, request);
}

static const struct route routes[] = {
    {"/api/sql", false, METHOD(POST), RIGHT_VIEWER, sql_handle},
    {"/api/apiary/v1/alerts/summary", false, READ, RIGHT_VIEWER, alert_summary_handle},
    {"/api/apiary/v1/catalogue", false, READ, RIGHT_VIEWER, catalogue_handle},
    {"/api/apiary/v1/coverage", false, READ, RIGHT_VIEWER, catalogue_handle_coverage},
    {"/api/apiary/v1/dashboards", true, READ, RIGHT_VIEWER, dashboards_handle},
    {"/api/apiary/v1/heartbeats", false, READ, RIGHT_VIEWER, heartbeats_handle_list},
    {"/api/apiary/v1/heartbeats", true, ASK, RIGHT_OPERATOR, heartbeats_handle_beat},
    {"/api/apiary/v1/live", false, METHOD(GET), RIGHT_VIEWER, handle_live},
    {"/api/apiary/v1/notifications", false, READ, RIGHT_VIEWER, notifications_handle},
    {"/api/apiary/v1/receivers", true, ASK, RIGHT_VIEWER, receivers_handle, RIGHT_OPERATOR},
    {"/api/apiary/v1/session", false, ASK | METHOD(DELETE), RIGHT_NONE, handle_session},
    {"/api/apiary/v1/status", false, READ, RIGHT_VIEWER, status_handle},
    {"/api/apiary/v1/tsdb/settle", false, METHOD(POST), RIGHT_SECRET, tsdb_admin_handle_settle},
    {"/api/v1/admin/tsdb/clean_tombstones", false, CHANGE, RIGHT_SECRET, tsdb_admin_handle_clean_tombstones},
    {"/api/v1/admin/tsdb/delete_series", false, CHANGE, RIGHT_SECRET, tsdb_admin_handle_delete_series},
    {"/api/v1/admin/tsdb/snapshot", false, CHANGE, RIGHT_SECRET, tsdb_admin_handle_snapshot},
    {"/api/v1/export", false, ASK, RIGHT_VIEWER, export_handle},
    {"/api/v1/format_query", false, ASK, RIGHT_VIEWER, query_text_handle_format},
    {"/api/v1/label", true, READ, RIGHT_VIEWER, series_handle_label_values},
    {"/api/v1/labels", false, ASK, RIGHT_VIEWER, series_handle_labels},
    {"/api/v1/metadata", false, READ, RIGHT_VIEWER, metadata_handle},
    {"/api/v1/metrics", false, READ, RIGHT_VIEWER, pushed_handle},
    {"/api/v1/parse_query", false, ASK, RIGHT_VIEWER, query_text_handle_parse},
    {"/api/v1/query", false, ASK, RIGHT_VIEWER, query_handle},
    {"/api/v1/query_range", false, ASK, RIGHT_VIEWER, query_handle_range},
    {"/api/v1/query_exemplars", false, ASK, RIGHT_VIEWER, exemplars_handle},
    {"/api/v1/read", false, METHOD(POST), RIGHT_VIEWER, remote_read_handle},
    {"/api/v1/alertmanagers", false, READ, RIGHT_VIEWER, server_status_handle_alertmanagers},
    {"/api/v1/alerts", false, READ, RIGHT_VIEWER, rules_handle_alerts},
    {"/api/v1/features", false, READ, RIGHT_VIEWER, feature_list_handle},
    {"/api/v1/rules", false, READ, RIGHT_VIEWER, rules_handle},
    {"/api/v1/scrape_pools", false, READ, RIGHT_VIEWER, targets_handle_pools},
    {"/api/v1/targets", false, READ, RIGHT_VIEWER, targets_handle},
    {"/api/v1/targets/metadata", false, READ, RIGHT_VIEWER, targets_handle_metadata},
    {"/api/v1/targets/relabel_steps", false, READ, RIGHT_VIEWER, targets_handle_relabel_steps},
    {"/api/v1/notifications", false, READ, RIGHT_VIEWER, server_status_handle_list},
    {"/api/v1/notifications/live", false, READ, RIGHT_VIEWER, server_status_handle_nothing},
    {"/api/v1/status/buildinfo", false, READ, RIGHT_VIEWER, server_status_handle_buildinfo},
    {"/api/v1/status/config", false, READ, RIGHT_SECRET, server_status_handle_config},
    {"/api/v1/status/flags", false, READ, RIGHT_VIEWER, server_status_handle_flags},
    {"/api/v1/status/runtimeinfo", false, READ, RIGHT_VIEWER, server_status_handle_runtimeinfo},
    {"/api/v1/status/walreplay", false, READ, RIGHT_VIEWER, server_status_handle_walreplay},
    {"/api/v2/alerts", false, ASK, RIGHT_VIEWER, alertmanager_handle_alerts, RIGHT_OPERATOR},
    {"/api/v2/alerts/groups", false, READ, RIGHT_VIEWER, alertmanager_handle_groups},
    {"/api/v2/receivers", false, READ, RIGHT_VIEWER, alertmanager_handle_receivers},
    {"/api/v2/silence", true, READ | METHOD(DELETE), RIGHT_VIEWER, alertmanager_handle_silence, RIGHT_OPERATOR},
    {"/api/v2/silences", false, ASK, RIGHT_VIEWER, alertmanager_handle_silences, RIGHT_OPERATOR},
    {"/api/v2/status", false, READ, RIGHT_VIEWER, alertmanager_handle_status},
    {"/federate", false, READ, RIGHT_VIEWER, federate_handle},
    {"/api/v1/series", false, ASK, RIGHT_VIEWER, series_handle},
    {"/api/v1/status/tsdb", false, READ, RIGHT_VIEWER, cardinality_handle},
    {"/api/v1/status/tsdb/blocks", false, READ, RIGHT_VIEWER, cardinality_handle_blocks},
    {"/metrics", false, READ, RIGHT_VIEWER, status_handle_metrics},
    {"/probe", false, READ, RIGHT_SECRET, probe_handle},
    {"/ping", false, ASK, RIGHT_NONE, influx_handle_ping},
    {"/health", false, READ, RIGHT_NONE, influx_handle_health},
    {"/query", false, ASK, RIGHT_NONE, influx_handle_query},
    {"/-/reload", false, CHANGE, RIGHT_SECRET, targets_handle_reload},
    {"/-/healthy", false, READ, RIGHT_NONE, status_handle_healthy},
    {"/-/ready", false, READ, RIGHT_NONE, status_handle_ready},
};
/* Whatever else there is to read: the web app, which finds its own way about its addresses. */
static const struct route page_route = {"/", true, READ, RIGHT_NONE, pages_handle};

static bool route_matches(const struct route *route, struct ap_slice path, struct ap_slice *ret_rest)
{
    size_t bytes = strlen(route->path);
    if (path.bytes < bytes || memcmp(path.data, route->path, bytes) != 0)
        return false;
    *ret_rest = ap_slice(path.data + bytes, path.bytes - bytes);
    return ret_rest->bytes == 0 || (route->is_prefix && ret_rest->data[0] == '/');
}

static const struct route *find_route(struct ap_slice path, struct ap_slice *ret_rest)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(routes); i++)
        if (route_matches(&routes[i], path, ret_rest))
            return &routes[i];
    if (ap_slice_starts_with(path, "/api/") || ap_slice_starts_with(path, "/-/"))
        return NULL;
    *ret_rest = path;
    return &page_route;
}

/* The path with what `hosts:` in the configuration puts before it for this Host. */
static struct ap_slice with_host_prefix(const struct api *api, struct http_request *request, struct ap_slice path)
{
    if (api->host_count == 0)
        return path;
    struct ap_slice host = http_header(request, "Host");
    if (host.data && host.bytes && host.data[0] != '[')
        host = ap_slice_split(&host, ':');
    for (size_t i = 0; i < api->host_count; i++) {
        const struct api_host *known = &api->hosts[i];
        if (!ap_slice_equal_nocase(host, known->name))
            continue;
        size_t prefix_bytes = strlen(known->prefix);
        char *whole = ap_arena_try_alloc(http_arena(request), prefix_bytes + path.bytes);
        if (!whole)
            return path;
        memcpy(whole, known->prefix, prefix_bytes);
        memcpy(whole + prefix_bytes, path.data, path.bytes);
        return ap_slice(whole, prefix_bytes + path.bytes);
    }
    return path;
}

/* Reading such an address is not ingest: a browser that opens /events gets the page. */
static struct ingest_endpoint find_endpoint(const struct http_request *request, struct ap_slice path)
{
    enum http_method method = http_method(request);
    struct ingest_endpoint none = {0};
    return method == HTTP_METHOD_GET || method == HTTP_METHOD_HEAD ? none : ingest_endpoint_find(path);
}

/* Whether something is at exactly this path; the web app, which is everywhere else, does not count. */
static bool is_address(const struct http_request *request, struct ap_slice path)
{
    struct ap_slice rest;
    const struct route *route = find_route(path, &rest);
    return (route && route != &page_route) || asset_find(path) ||
           ingest_endpoint_is_there(find_endpoint(request, path));
}

/*
 * A proxy that shows this server below a path may take that path off before it asks, or leave it there. What is there
 * without taking it off comes first, for a path may be called as one of ours ("/api").
 */
static struct ap_slice without_path_prefix(const struct api *api, const struct http_request *request)
{
    struct ap_slice path = http_path(request), prefix = api->path_prefix;
    if (prefix.bytes == 0 || path.bytes < prefix.bytes || memcmp(path.data, prefix.data, prefix.bytes) != 0)
        return path;
    struct ap_slice rest = ap_slice(path.data + prefix.bytes, path.bytes - prefix.bytes);
    if ((rest.bytes && rest.data[0] != '/') || is_address(request, path))
        return path;
    return rest.bytes ? rest : ap_slice_cstr("/");
}

/* "GET, HEAD, POST, OPTIONS" */
static const char *allowed_methods(const struct route *route, struct ap_arena *arena)
{
    static const char *const names[] = {
        [HTTP_METHOD_GET] = "GET, ", [HTTP_METHOD_HEAD] = "HEAD, ",     [HTTP_METHOD_POST] = "POST, ",
        [HTTP_METHOD_PUT] = "PUT, ", [HTTP_METHOD_DELETE] = "DELETE, ",
    };
    AP_AUTO_BUF struct ap_buf text = {0};
    for (size_t i = 0; i < AP_ARRAY_COUNT(names); i++)
        if (names[i] && (route->methods >> i & 1))
            ap_buf_add_cstr(&text, names[i]);
    ap_buf_add_cstr(&text, "OPTIONS");
    char *copy = ap_arena_try_strndup(arena, ap_buf_slice(&text));
    return copy ? copy : "OPTIONS";
}

/*
 * Pages of other origins may read what Prometheus lets them read, as from Prometheus, while no keys are asked for. With
 * keys they may not: who has one can ask from where he likes, but not from a page that we know nothing about. What
 * needs a secret key is for no page at all.
 */
static size_t add_cors_fields(const struct api *api, const struct route *route, struct http_request *request,
                              struct http_field *fields)
{
    static const struct http_field cors[] = {
        {"Vary", "Origin"},
        {"Access-Control-Allow-Origin", "*"},
        {"Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, Origin"},
        {"Access-Control-Allow-Methods", "GET, POST, OPTIONS"},
        {"Access-Control-Expose-Headers", "Date"},
    };
    if (!api->is_open || route->right != RIGHT_VIEWER || !prometheus_is_path(request))
        return 0;
    memcpy(fields, cors, sizeof(cors));
    return http_header(request, "Origin").data ? AP_ARRAY_COUNT(cors) : 1;
}

/* False: it has been replied to, since the route does not take this method. */
static bool admit_method(const struct api *api, const struct route *route, struct http_request *request)
{
    enum { FIELDS_MAX = 8 };
    struct http_field *fields = ap_arena_alloc0(http_arena(request), FIELDS_MAX * sizeof(*fields));
    size_t count = add_cors_fields(api, route, request, fields);
    bool is_asking = http_method(request) == HTTP_METHOD_OPTIONS && route != &page_route;
    bool is_taken = route->methods >> http_method(request) & 1;
    if (!is_taken && route != &page_route)
        fields[count++] = (struct http_field){"Allow", allowed_methods(route, http_arena(request))};
    http_set_reply_fields(request, fields, count);
    if (is_asking)
        http_reply_empty(request, 204);
    else if (!is_taken)
        api_reply_error(request, route == &page_route ? 404 : 405, "this address does not take %.*s",
                        AP_SLICE_ARG(http_method_text(request)));
    return is_taken;
}

void api_admit(struct http_request *request, void *context)
{
    struct api *api = context;
    struct ap_slice path = with_host_prefix(api, request, without_path_prefix(api, request));
    http_set_path(request, path);
    struct ingest_endpoint endpoint = find_endpoint(request, path);
    bool is_for_otlp = api->listener_count && http_listener_index(request) >= api->listener_count;
    if (is_for_otlp && !ingest_endpoint_is_otlp(endpoint)) {
        api_reply_error(request, 404, "this address takes OpenTelemetry's data only: POST /v1/metrics");
        return;
    }
    if (ingest_endpoint_is_there(endpoint)) {
        ingest_admit(api->ingest, endpoint, request);
        return;
    }
    struct ap_slice rest;
    const struct route *route = find_route(path, &rest);
    if (!route) {
        api_reply_error(request, 404, "there is nothing at this address");
        return;
    }
    if (!admit_method(api, route, request))
        return;
    bool is_changing = !(READ >> http_method(request) & 1);
    enum right right = is_changing && route->changing_right ? route->changing_right : route->right;
    static const enum access accesses[] = {
        [RIGHT_VIEWER] = ACCESS_READ, [RIGHT_OPERATOR] = ACCESS_OPERATE, [RIGHT_SECRET] = ACCESS_ADMINISTER};
    if (right != RIGHT_NONE && !access_admit(api, accesses[right], request))
        return;
    http_set_body_limits(request, READ_BODY_BYTES_MAX, READ_BODY_BYTES_MAX);
}

void api_handle(struct http_request *request, void *context)
{
    struct api *api = context;
    struct ap_slice path = http_path(request);
    struct ingest_endpoint endpoint = find_endpoint(request, path);
    if (ingest_endpoint_is_there(endpoint)) {
        ingest_handle(api->ingest, endpoint, request);
        return;
    }
    struct ap_slice rest;
    const struct route *route = find_route(path, &rest); /* admitted, so there is one */
    route->handle(api, request, rest);
}
