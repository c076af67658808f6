#include "api/metadata.h"

#include <string.h>

#include "api/prometheus.h"
#include "api/question.h"
#include "api/selection.h"
#include "base/mem.h"

enum { ANSWER_BYTES_MAX = 64 << 20 };

struct metadata_writing {
    struct ap_buf *out;
    struct ap_buf metric; /* the one being written; `bytes` 0: none yet */
    uint64_t metric_count;
    uint64_t in_metric_count;
    uint64_t limit;
    uint64_t limit_per_metric;
};

static bool add_metadata(const struct batch_metadata *metadata, void *context)
{
    struct metadata_writing *writing = context;
    struct ap_buf *out = writing->out;
    bool is_same = writing->metric_count && ap_slice_equal(ap_buf_slice(&writing->metric), metadata->metric);
    if (!is_same) {
        if (writing->metric_count == writing->limit)
            return false;
        ap_buf_add_cstr(out, writing->metric_count++ ? "]," : "");
        ap_buf_add_json_string(out, metadata->metric);
        ap_buf_add_cstr(out, ":[");
        ap_buf_reset(&writing->metric);
        ap_buf_add_slice(&writing->metric, metadata->metric);
        writing->in_metric_count = 0;
    }
    if (writing->in_metric_count == writing->limit_per_metric)
        return true;
    ap_buf_add_cstr(out, writing->in_metric_count++ ? "," : "");
    ap_buf_printf(out, "{\"type\":\"%s\",\"unit\":", metadata_type_name(metadata->type));
    ap_buf_add_json_string(out, metadata->unit);
    ap_buf_add_cstr(out, ",\"help\":");
    ap_buf_add_json_string(out, metadata->help);
    ap_buf_add_char(out, '}');
    return ap_buf_ok(out);
}

static enum ap_rc answer_metadata(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct metadata_writing writing = {.out = out};
    enum ap_rc rc = params_any_limit(&question->params, "limit", &writing.limit, err);
    if (rc == AP_OK)
        rc = params_any_limit(&question->params, "limit_per_metric", &writing.limit_per_metric, err);
    if (rc != AP_OK)
        return rc;
    if (writing.limit_per_metric == 0)
        writing.limit_per_metric = UINT64_MAX;
    out->bytes_max = ANSWER_BYTES_MAX;
    ap_buf_add_char(out, '{');
    struct ap_slice metric = params_get(&question->params, "metric");
    if (writing.limit > 0)
        tsdb_metadata(question->api->tsdb, metric.bytes ? metric : (struct ap_slice){0}, add_metadata, &writing);
    ap_buf_add_cstr(out, writing.metric_count ? "]}" : "}");
    ap_buf_clear(&writing.metric);
    return ap_buf_ok(out) ? AP_OK : ap_fail(err, AP_E_LIMIT, "there is too much metadata; ask with limit or metric");
}

void metadata_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_metadata);
}
