#include "api/query.h"

#include <math.h>
#include <string.h>

#include "api/prometheus.h"
#include "api/query_json.h"
#include "api/question.h"
#include "promql/engine.h"
#include "promql/lexer.h"

enum { POINTS_MAX = 11000 }; /* of a series, as Prometheus has it */

/* Seconds, or "5m"; in milliseconds. */
static enum ap_rc read_duration(const struct params *params, const char *name, int64_t missing_ms, int64_t *ret_ms,
                                struct ap_err *err)
{
    struct ap_slice text = params_get(params, name);
    *ret_ms = missing_ms;
    /* A number reads as a time reads, which may be RFC 3339 as well; that begins with a year and a '-'. */
    if (text.bytes == 0 || promql_parse_duration(text, ret_ms))
        return AP_OK;
    if (!memchr(text.data, ':', text.bytes) && params_parse_time(text, ret_ms))
        return AP_OK;
    return ap_fail(err, AP_E_PARSE, "invalid parameter \"%s\": cannot parse \"%.*s\" to a valid duration", name,
                   PARAMS_TEXT(text));
}

static enum ap_rc read_range(const struct params *params, struct promql_request *request, struct ap_err *err)
{
    enum ap_rc rc = params_needed_time(params, "start", &request->start_ms, err);
    if (rc == AP_OK)
        rc = params_needed_time(params, "end", &request->end_ms, err);
    if (rc == AP_OK && request->end_ms < request->start_ms)
        return ap_fail(err, AP_E_PARSE, "invalid parameter \"end\": end timestamp must not be before start time");
    if (rc == AP_OK && params_get(params, "step").bytes == 0)
        rc = ap_fail(err, AP_E_PARSE, "invalid parameter \"step\": cannot parse \"\" to a valid duration");
    if (rc == AP_OK)
        rc = read_duration(params, "step", 0, &request->step_ms, err);
    if (rc == AP_OK && request->step_ms <= 0)
        return ap_fail(err, AP_E_PARSE,
                       "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. "
                       "Try a positive integer");
    if (rc == AP_OK &&
        ((uint64_t)request->end_ms - (uint64_t)request->start_ms) / (uint64_t)request->step_ms > POINTS_MAX)
        return ap_fail(err, AP_E_PARSE,
                       "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query "
                       "resolution (?step=XX)");
    return rc;
}

static enum ap_rc read_request(struct question *question, bool is_range, struct promql_request *request,
                               struct query_json_options *options, struct ap_err *err)
{
    const struct params *params = &question->params;
    struct ap_slice stats = params_get(params, "stats");
    *request = (struct promql_request){
        .text = params_get(params, "query"),
        .is_cancelled = question_is_gone,
        .context = question,
        .is_counting = stats.bytes > 0,
    };
    *options = (struct query_json_options){
        .has_stats = stats.bytes > 0,
        .has_step_stats = ap_slice_equal_cstr(stats, "all"),
    };
    enum ap_rc rc;
    if (is_range) {
        rc = read_range(params, request, err);
    } else {
        rc =
            params_time(params, "time", ap_clock_wall_us(question->api->clock) / AP_US_PER_MS, &request->start_ms, err);
        request->end_ms = request->start_ms;
    }
    options->ts_ms = request->start_ms;
    options->step_ms = request->step_ms;
    if (rc == AP_OK)
        rc = read_duration(params, "timeout", 0, &request->timeout_ms, err);
    if (rc == AP_OK)
        rc = read_duration(params, "lookback_delta", 0, &request->lookback_ms, err);
    if (rc == AP_OK)
        rc = params_number(params, "limit", 0, UINT32_MAX, &options->series_max, err);
    if (options->series_max == 0)
        options->series_max = UINT64_MAX;
    /* A part of the series is no answer to keep, and figures are of a query that is computed in full. */
    request->is_uncached = options->series_max != UINT64_MAX || options->has_stats ||
                           ap_slice_equal_cstr(params_get(params, "nocache"), "1");
    return rc;
}

static enum ap_rc answer(struct question *question, bool is_range, struct ap_buf *out, struct ap_err *err)
{
    struct api *api = question->api;
    struct promql_request request;
    struct query_json_options options;
    enum ap_rc rc = read_request(question, is_range, &request, &options, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO(promql_execution) struct promql_execution *execution = NULL;
    rc = promql_execute(api->engine, promql_storage_tsdb(api->tsdb), &request, &execution, err);
    if (rc != AP_OK)
        return rc == AP_E_PARSE ? ap_err_prefix(err, "invalid parameter \"query\"") : rc;
    bool is_cut;
    rc = query_json_add(question, execution, &options, out, &is_cut, err);
    if (rc == AP_OK)
        query_json_add_annotations(execution, is_cut ? "results truncated due to limit" : NULL, out);
    else
        promql_execution_note_failure(execution, rc);
    return rc;
}

static enum ap_rc answer_instant(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    return answer(question, false, out, err);
}

static enum ap_rc answer_range(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    return answer(question, true, out, err);
}

void query_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_instant);
}

void query_handle_range(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_range);
}
