#include "api/cardinality.h"

#include <inttypes.h>
#include <stdlib.h>

#include "api/question.h"
#include "base/mem.h"
#include "tsdb/tsdb.h"

enum { LIMIT_DEFAULT = 10, LIMIT_MAX = 10000 };

static const struct {
    const char *name;
    enum tsdb_top_kind kind;
} lists[] = {
    {"seriesCountByMetricName", TSDB_TOP_METRICS},
    {"labelValueCountByLabelName", TSDB_TOP_LABEL_NAMES},
    {"memoryInBytesByLabelName", TSDB_TOP_LABEL_BYTES},
    {"seriesCountByLabelValuePair", TSDB_TOP_PAIRS},
};

static void free_texts(struct tsdb_top_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(entries[i].text);
}

/* Of all names, so many values each: that is how many pairs there are. */
static uint64_t count_pairs(struct tsdb *tsdb, struct tsdb_top_entry *entries)
{
    size_t count = tsdb_top(tsdb, TSDB_TOP_LABEL_NAMES, entries, LIMIT_MAX);
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += entries[i].count;
    free_texts(entries, count);
    return sum;
}

static enum ap_rc answer(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    uint64_t limit;
    enum ap_rc rc = params_number(&question->params, "limit", LIMIT_DEFAULT, LIMIT_MAX, &limit, err);
    if (rc != AP_OK)
        return rc;
    if (limit == 0)
        return ap_fail(err, AP_E_PARSE, "invalid parameter \"limit\": limit must be positive");
    struct tsdb *tsdb = question->api->tsdb;
    AP_AUTO_FREE struct tsdb_top_entry *entries = ap_new0_array(struct tsdb_top_entry, LIMIT_MAX);
    struct tsdb_stats stats;
    tsdb_stats_get(tsdb, &stats);
    ap_buf_printf(out,
                  "{\"headStats\":{\"numSeries\":%" PRIu64 ",\"numLabelPairs\":%" PRIu64 ",\"chunkCount\":%" PRIu64
                  ",\"minTime\":%" PRId64 ",\"maxTime\":%" PRId64 "}",
                  stats.head_series, count_pairs(tsdb, entries), stats.head_chunks, stats.head_min_ts_ms,
                  stats.head_max_ts_ms);
    for (size_t i = 0; i < AP_ARRAY_COUNT(lists); i++) {
        size_t count = tsdb_top(tsdb, lists[i].kind, entries, limit);
        ap_buf_printf(out, ",\"%s\":[", lists[i].name);
        for (size_t j = 0; j < count; j++) {
            ap_buf_add_cstr(out, j ? ",{\"name\":" : "{\"name\":");
            ap_buf_add_json_string(out, ap_slice_cstr(entries[j].text));
            ap_buf_printf(out, ",\"value\":%" PRIu64 "}", entries[j].count);
        }
        ap_buf_add_char(out, ']');
        free_texts(entries, count);
    }
    ap_buf_add_char(out, '}');
    return AP_OK;
}

void cardinality_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer);
}
