#include "api/cardinality.h"

#include <inttypes.h>
#include <stdlib.h>

#include "api/question.h"
#include "base/mem.h"
#include "tsdb/block.h"
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
    if (params_number(&question->params, "limit", LIMIT_DEFAULT, INT64_MAX, &limit, err) != AP_OK || limit == 0)
        return ap_fail(err, AP_E_PARSE, "limit must be a positive number");
    if (limit > LIMIT_MAX)
        return ap_fail(err, AP_E_PARSE, "limit must not exceed %d", LIMIT_MAX);
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

/* ---- Blocks ---- */

/* In Prometheus' blocks the end does not belong to them. */
static void add_block(const struct block_meta *meta, void *context)
{
    struct ap_buf *out = context;
    ap_buf_printf(out,
                  "%s{\"ulid\":\"%s\",\"minTime\":%" PRId64 ",\"maxTime\":%" PRId64
                  ",\"stats\":{\"numSamples\":%" PRIu64 ",\"numSeries\":%" PRIu64 ",\"numChunks\":%" PRIu64
                  "},\"compaction\":{\"level\":%" PRIu32 ",\"sources\":[",
                  out->data[out->bytes - 1] == '[' ? "" : ",", meta->id, meta->min_ts_ms, meta->max_ts_ms + 1,
                  meta->sample_count, meta->series_count, meta->chunk_count, meta->level);
    if (meta->source_count == 0)
        ap_buf_printf(out, "\"%s\"", meta->id);
    for (size_t i = 0; i < meta->source_count; i++)
        ap_buf_printf(out, "%s\"%s\"", i ? "," : "", meta->sources[i]);
    ap_buf_add_cstr(out, "]},\"version\":1}");
}

static enum ap_rc answer_blocks(struct question *question, struct ap_buf *out, struct ap_err *err)
{
    (void)err;
    ap_buf_add_cstr(out, "{\"blocks\":[");
    tsdb_each_block(question->api->tsdb, add_block, out);
    ap_buf_add_cstr(out, "]}");
    return AP_OK;
}

void cardinality_handle_blocks(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer_blocks);
}

void cardinality_handle(struct api *api, struct http_request *request, struct ap_slice rest)
{
    question_ask(api, request, rest, api->questions, answer);
}
