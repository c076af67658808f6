/* Any bytes as a segment of Prometheus' log when the first is 0, as one record otherwise; histograms are read. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "history/prometheus_decode.h"
#include "history/prometheus_log.h"
#include "history/prometheus_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

struct told {
    struct ap_arena arena;
    struct history_samples samples;
    struct prometheus_refusals refusals;
    size_t count;
};

static void series(void *context, uint64_t ref, struct label *labels, size_t count)
{
    struct told *told = context;
    AP_AUTO_BUF struct ap_buf canonical = {0};
    struct ap_err err;
    told->count += ref != 0;
    if (count <= LABELS_COUNT_MAX && labels_encode(labels, count, &canonical, &err) == AP_OK)
        AP_ASSERT(labels_check(ap_buf_slice(&canonical), &err) == AP_OK);
}

static void sample(void *context, uint64_t ref, int64_t ts_ms, double value)
{
    struct told *told = context;
    told->count += ref != 0 && value >= 0;
    history_samples_add(&told->samples, ts_ms, value);
}

static void histogram(void *context, uint64_t ref, int64_t ts_ms, bool is_float, struct ap_slice raw)
{
    struct told *told = context;
    struct ap_err err;
    told->count += ref != 0;
    AP_ASSERT(prometheus_histogram_add(raw, is_float, ts_ms, &told->arena, &told->samples, &told->refusals, &err) !=
              AP_E_CORRUPT); /* what was passed over has to be readable */
}

static void stone(void *context, const struct prometheus_stone *stone)
{
    ((struct told *)context)->count += stone->min_ts_ms < stone->max_ts_ms;
}

static void exemplar(void *context, const struct prometheus_exemplar *exemplar)
{
    for (size_t i = 0; i < exemplar->label_count; i++)
        ((struct told *)context)->count +=
            exemplar->labels[i].name.bytes ? (size_t)exemplar->labels[i].name.data[0] : 0;
}

static void metadata(void *context, const struct prometheus_metadata *metadata)
{
    ((struct told *)context)->count += metadata->help.bytes ? (size_t)metadata->help.data[0] : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    char *exact = malloc(bytes); /* of just this size, so that reading beyond it shows */
    memcpy(exact, data + 1, bytes - 1);
    struct ap_slice rest = ap_slice(exact, bytes - 1);
    struct told told = {0};
    ap_arena_init(&told.arena, 1 << 26);
    const struct prometheus_record_visitor visitor = {
        .context = &told,
        .series = series,
        .sample = sample,
        .histogram = histogram,
        .stone = stone,
        .exemplar = exemplar,
        .metadata = metadata,
    };
    struct ap_err err;
    if (data[0] == 0) {
        struct prometheus_log log;
        struct prometheus_log_cursor cursor = {0};
        struct ap_slice record;
        prometheus_log_of(rest, &log);
        for (bool is_end = false; !is_end;)
            if (prometheus_log_next(&log, &cursor, &record, &is_end, &err) == AP_OK && !is_end)
                (void)!prometheus_record_visit(record, &visitor, &err);
        prometheus_log_cursor_clear(&cursor);
        free(log.segments);
    } else {
        (void)!prometheus_record_visit(rest, &visitor, &err);
    }
    history_samples_settle(&told.samples);
    history_samples_clear(&told.samples);
    ap_arena_clear(&told.arena);
    free(exact);
    return 0;
}
