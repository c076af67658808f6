#include "api/query_text.h"

#include "api/question.h"
#include "promql/parser.h"

static enum ap_rc answer_format(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct promql_query query;
    enum ap_rc rc = promql_parse(params_get(&question->params, "query"), true, &query, err);
    if (rc != AP_OK)
        return ap_err_prefix(err, "invalid parameter \"query\"");
    AP_AUTO_BUF struct ap_buf text = {0};
    promql_print_pretty(query.expr, &text);
    promql_query_clear(&query);
    ap_buf_add_json_string(out, ap_buf_slice(&text));
    return AP_OK;
}

void query_text_handle_format(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_format);
}
