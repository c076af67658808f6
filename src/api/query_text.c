#include "api/query_text.h"

#include "api/query_tree.h"
#include "api/question.h"
#include "promql/parser.h"

enum { TREE_BYTES_MAX = 64 << 20 }; /* a query of 1 MiB is a tree that is far larger as text */

static enum ap_rc parse(const struct question *question, struct promql_query *query, struct ap_err *err)
{
    enum ap_rc rc = promql_parse(params_get(&question->params, "query"), true, query, err);
    return rc == AP_OK ? AP_OK : ap_err_prefix(err, "invalid parameter \"query\"");
}

static enum ap_rc answer_format(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct promql_query query;
    enum ap_rc rc = parse(question, &query, err);
    if (rc != AP_OK)
        return rc;
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

static enum ap_rc answer_parse(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    struct promql_query query;
    enum ap_rc rc = parse(question, &query, err);
    if (rc != AP_OK)
        return rc;
    out->bytes_max = TREE_BYTES_MAX;
    query_tree_add_json(out, query.expr);
    promql_query_clear(&query);
    return ap_buf_ok(out) ? AP_OK
                          : ap_fail(err, AP_E_LIMIT, "the tree would be larger than %d MiB", TREE_BYTES_MAX >> 20);
}

void query_text_handle_parse(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_parse);
}
