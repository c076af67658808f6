/* Which path is what: one table. What takes data in is in ingest/, which has its own. */
#include <string.h>

#include "api/access.h"
#include "api/api.h"
#include "api/cardinality.h"
#include "api/dashboards.h"
#include "api/exemplars.h"
#include "api/export.h"
#include "api/federate.h"
#include "api/live.h"
#include "api/metadata.h"
#include "api/pages.h"
#include "api/query.h"
#include "api/query_text.h"
#include "api/remote_read.h"
#include "api/rules.h"
#include "api/series.h"
#include "api/server_status.h"
#include "api/sql.h"
#include "api/status.h"
#include "api/tsdb_admin.h"
#include "ingest/ingest.h"

enum { READ_BODY_BYTES_MAX = 4 << 20 }; /* the longest query, with every byte escaped */

enum right { RIGHT_NONE, RIGHT_VIEWER, RIGHT_SECRET };

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
    {"/api/apiary/v1/dashboards", true, READ, RIGHT_VIEWER, dashboards_handle},
    {"/api/apiary/v1/live", false, METHOD(GET), RIGHT_VIEWER, handle_live},
    {"/api/apiary/v1/session", false, METHOD(POST) | METHOD(DELETE), RIGHT_NONE, handle_session},
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
    {"/api/v1/parse_query", false, ASK, RIGHT_VIEWER, query_text_handle_parse},
    {"/api/v1/query", false, ASK, RIGHT_VIEWER, query_handle},
    {"/api/v1/query_range", false, ASK, RIGHT_VIEWER, query_handle_range},
    {"/api/v1/query_exemplars", false, ASK, RIGHT_VIEWER, exemplars_handle},
    {"/api/v1/read", false, METHOD(POST), RIGHT_VIEWER, remote_read_handle},
    {"/api/v1/alertmanagers", false, READ, RIGHT_VIEWER, server_status_handle_alertmanagers},
    {"/api/v1/alerts", false, READ, RIGHT_VIEWER, rules_handle_alerts},
    {"/api/v1/features", false, READ, RIGHT_VIEWER, server_status_handle_features},
    {"/api/v1/rules", false, READ, RIGHT_VIEWER, rules_handle},
    {"/api/v1/scrape_pools", false, READ, RIGHT_VIEWER, server_status_handle_scrape_pools},
    {"/api/v1/targets", false, READ, RIGHT_VIEWER, server_status_handle_targets},
    {"/api/v1/targets/metadata", false, READ, RIGHT_VIEWER, server_status_handle_list},
    {"/api/v1/status/buildinfo", false, READ, RIGHT_VIEWER, server_status_handle_buildinfo},
    {"/api/v1/status/config", false, READ, RIGHT_SECRET, server_status_handle_config},
    {"/api/v1/status/flags", false, READ, RIGHT_VIEWER, server_status_handle_flags},
    {"/api/v1/status/runtimeinfo", false, READ, RIGHT_VIEWER, server_status_handle_runtimeinfo},
    {"/api/v1/status/walreplay", false, READ, RIGHT_VIEWER, server_status_handle_walreplay},
    {"/federate", false, READ, RIGHT_VIEWER, federate_handle},
    {"/api/v1/series", false, ASK, RIGHT_VIEWER, series_handle},
    {"/api/v1/status/tsdb", false, READ, RIGHT_VIEWER, cardinality_handle},
    {"/metrics", false, READ, RIGHT_VIEWER, status_handle_metrics},
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
static struct ap_slice effective_path(const struct api *api, struct http_request *request)
{
    struct ap_slice path = http_path(request);
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
static const struct ingest_endpoint *find_endpoint(const struct http_request *request, struct ap_slice path)
{
    enum http_method method = http_method(request);
    return method == HTTP_METHOD_GET || method == HTTP_METHOD_HEAD ? NULL : ingest_endpoint_find(path);
}

void api_admit(struct http_request *request, void *context)
{
    struct api *api = context;
    struct ap_slice path = effective_path(api, request);
    const struct ingest_endpoint *endpoint = find_endpoint(request, path);
    if (endpoint) {
        ingest_admit(api->ingest, endpoint, request);
        return;
    }
    struct ap_slice rest;
    const struct route *route = find_route(path, &rest);
    if (!route) {
        api_reply_error(request, 404, "there is nothing at this address");
        return;
    }
    if (!(route->methods >> http_method(request) & 1)) {
        api_reply_error(request, route == &page_route ? 404 : 405, "this address does not take %.*s",
                        AP_SLICE_ARG(http_method_text(request)));
        return;
    }
    if (route->right == RIGHT_VIEWER && !access_admit_viewer(api, request))
        return;
    if (route->right == RIGHT_SECRET && !access_admit_secret(api, request))
        return;
    http_set_body_limits(request, READ_BODY_BYTES_MAX, READ_BODY_BYTES_MAX);
}

void api_handle(struct http_request *request, void *context)
{
    struct api *api = context;
    struct ap_slice path = effective_path(api, request);
    const struct ingest_endpoint *endpoint = find_endpoint(request, path);
    if (endpoint) {
        ingest_handle(api->ingest, endpoint, request);
        return;
    }
    struct ap_slice rest;
    const struct route *route = find_route(path, &rest); /* admitted, so there is one */
    route->handle(api, request, rest);
}
