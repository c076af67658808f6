#include "api/probe.h"

#include "api/question.h"
#include "base/mem.h"
#include "collect/probe.h"

#define EXPOSITION_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* How long a scraper waits, which says so itself; else what is long enough for anybody. */
enum { TIMEOUT_DEFAULT_S = 120 };

static enum ap_rc read_timeout(struct question *question, double *ret_seconds, struct ap_err *err)
{
    struct ap_slice field = http_header(question->request, "X-Prometheus-Scrape-Timeout-Seconds");
    *ret_seconds = TIMEOUT_DEFAULT_S;
    if (!field.data || field.bytes == 0)
        return AP_OK;
    AP_AUTO_FREE char *text = ap_slice_dup(field);
    char *end;
    double seconds = strtod(text, &end);
    if (*end || !(seconds > 0))
        return ap_fail(err, AP_E_PARSE, "X-Prometheus-Scrape-Timeout-Seconds: \"%.64s\" is not a number of seconds",
                       text);
    *ret_seconds = AP_MIN(seconds, (double)TIMEOUT_DEFAULT_S);
    return AP_OK;
}

static enum ap_rc answer(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    double timeout_s;
    bool is_debug;
    enum ap_rc rc = read_timeout(question, &timeout_s, err);
    if (rc == AP_OK)
        rc = params_bool(&question->params, "debug", false, &is_debug, err);
    if (rc != AP_OK)
        return rc;
    const struct probe_request request = {
        .target = params_get(&question->params, "target"),
        .module = params_get(&question->params, "module"),
        .hostname = params_get(&question->params, "hostname"),
        .deadline_monotonic_us =
            ap_clock_monotonic_us(question->api->clock) + (int64_t)(timeout_s * (double)AP_US_PER_S),
        .is_debug = is_debug,
    };
    question_set_bare(question, out, is_debug ? "text/plain; charset=utf-8" : EXPOSITION_TYPE);
    return probes_run(question->api->probes, &request, out, err);
}

void probe_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->probing, answer);
}
