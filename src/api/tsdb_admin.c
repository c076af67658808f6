#include "api/tsdb_admin.h"

#include <stdlib.h>

#include "api/figures.h"
#include "api/question.h"
#include "api/selection.h"

/* ---- delete_series ---- */

static enum ap_rc delete_series(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    (void)out;
    struct selection selection;
    enum ap_rc rc = selection_read(&question->params, true, &selection, err);
    if (rc == AP_OK)
        rc = selection_check_time(&selection, err);
    for (size_t i = 0; i < selection.count && rc == AP_OK; i++)
        rc = tsdb_delete(question->api->tsdb, &selection.items[i], selection.min_ts_ms, selection.max_ts_ms, err);
    selection_clear(&selection);
    question->status = 204;
    return rc;
}

void tsdb_admin_handle_delete_series(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->chores, delete_series);
}

/* ---- clean_tombstones ---- */

static enum ap_rc clean_tombstones(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    (void)out;
    question->status = 204;
    return tsdb_clean_tombstones(question->api->tsdb, err);
}

void tsdb_admin_handle_clean_tombstones(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->chores, clean_tombstones);
}

/* ---- snapshot ---- */

static enum ap_rc snapshot(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    bool is_skipping_head;
    char name[64];
    enum ap_rc rc = params_bool(&question->params, "skip_head", false, &is_skipping_head, err);
    if (rc == AP_OK)
        rc = tsdb_snapshot(question->api->tsdb, is_skipping_head, name, err);
    if (rc != AP_OK)
        return rc;
    ap_buf_add_cstr(out, "{\"name\":");
    ap_buf_add_json_string(out, ap_slice_cstr(name));
    ap_buf_add_char(out, '}');
    return AP_OK;
}

void tsdb_admin_handle_snapshot(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->chores, snapshot);
}

/* ---- settle ---- */

static enum ap_rc settle(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    bool is_sealing_all;
    enum ap_rc rc = params_bool(&question->params, "seal_all", true, &is_sealing_all, err);
    if (rc == AP_OK)
        rc = tsdb_settle(question->api->tsdb, is_sealing_all, err);
    if (rc != AP_OK)
        return rc;
    struct tsdb_stats stats;
    tsdb_stats_get(question->api->tsdb, &stats);
    figures_add_json(out, FIGURES_TSDB, &stats);
    return AP_OK;
}

void tsdb_admin_handle_settle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->chores, settle);
}
