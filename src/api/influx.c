#include "api/influx.h"

#include "api/pages.h"
#include "api/params.h"
#include "base/buf.h"
#include "base/mem.h"

/* The last 1.x: clients of 2.x do not look, those of 1.x look whether it is one. */
#define VERSION "1.8.10"

static const struct http_field version_field = {"X-Influxdb-Version", VERSION};

static void reply_json(struct http_request *request, unsigned status, const char *json)
{
    http_reply(request, &(struct http_reply){
                            .status = status,
                            .content_type = "application/json",
                            .body = ap_slice_cstr(json),
                            .body_owner = HTTP_BODY_STATIC,
                            .fields = &version_field,
                            .field_count = 1,
                        });
}

void influx_handle_ping(struct api *api, struct http_request *request, struct ap_slice rest)
{
    (void)api;
    (void)rest;
    struct ap_slice verbose = http_query(request, "verbose");
    if (verbose.bytes && !ap_slice_equal_cstr(verbose, "0") && !ap_slice_equal_cstr(verbose, "false"))
        reply_json(request, 200, "{\"version\":\"" VERSION "\"}\n");
    else
        http_reply(request, &(struct http_reply){.status = 204, .fields = &version_field, .field_count = 1});
}

void influx_handle_health(struct api *api, struct http_request *request, struct ap_slice rest)
{
    (void)rest;
    if (__atomic_load_n(&api->is_draining, __ATOMIC_RELAXED))
        reply_json(request, 503,
                   "{\"checks\":[],\"message\":\"shutting down\",\"name\":\"influxdb\",\"status\":\"fail\",\"version\":"
                   "\"" VERSION "\"}\n");
    else
        reply_json(request, 200,
                   "{\"checks\":[],\"message\":\"ready for queries and writes\",\"name\":\"influxdb\",\"status\":"
                   "\"pass\",\"version\":\"" VERSION "\"}\n");
}

/* The first two words of a statement are these, in any case. */
static bool begins_with(struct ap_slice statement, const char *first, const char *second)
{
    struct ap_slice rest = ap_slice_trim(statement);
    struct ap_slice word = ap_slice_split(&rest, ' ');
    rest = ap_slice_trim(rest);
    return ap_slice_equal_nocase(word, first) && ap_slice_equal_nocase(ap_slice_split(&rest, ' '), second);
}

/* There are no databases: whichever name a client writes to is one. Without a statement it is a browser: Prometheus has
 * its page of an expression at this address, and links lead there. */
void influx_handle_query(struct api *api, struct http_request *request, struct ap_slice rest)
{
    (void)rest;
    static const struct {
        const char *first;
        const char *second;
    } granted[] = {{"create", "database"}, {"create", "retention"}, {"alter", "retention"}};
    if (http_method(request) != HTTP_METHOD_POST && !http_query(request, "q").data) {
        pages_handle(api, request, http_path(request));
        return;
    }
    struct params params;
    struct ap_err err;
    if (params_read(request, &params, &err) != AP_OK) {
        reply_json(request, 400, "{\"error\":\"the parameters cannot be read\"}\n");
        return;
    }
    struct ap_slice statement = params_get(&params, "q");
    if (begins_with(statement, "show", "databases")) {
        reply_json(
            request, 200,
            "{\"results\":[{\"statement_id\":0,\"series\":[{\"name\":\"databases\",\"columns\":[\"name\"]}]}]}\n");
        return;
    }
    for (size_t i = 0; i < AP_ARRAY_COUNT(granted); i++)
        if (begins_with(statement, granted[i].first, granted[i].second)) {
            reply_json(request, 200, "{\"results\":[{\"statement_id\":0}]}\n");
            return;
        }
    reply_json(request, 400,
               "{\"error\":\"of InfluxQL this server knows CREATE DATABASE and SHOW DATABASES; ask PromQL at "
               "/api/v1/query\"}\n");
}
