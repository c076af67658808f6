#include "api/tsdb_figures.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/mem.h"

struct figure {
    const char *json;   /* NULL: not in JSON */
    const char *metric; /* behind apiary_tsdb_, with labels; a counter when its name ends in _total */
    const char *help;   /* NULL: the same metric as before with other labels */
    size_t offset;      /* of a uint64_t or int64_t in struct tsdb_stats */
    bool is_signed;     /* milliseconds; a metric of them is in seconds */
};

#define FIGURE(member, metric, help)                                                                                   \
    {                                                                                                                  \
#member, metric, help, offsetof(struct tsdb_stats, member), false                                              \
    }
#define TIME_FIGURE(member, metric, help)                                                                              \
    {                                                                                                                  \
#member, metric, help, offsetof(struct tsdb_stats, member), true                                               \
    }

static const struct figure figures[] = {
    FIGURE(head_series, "head_series", "Series in memory."),
    FIGURE(series_max, "series_max", "Series that are allowed (setting tsdb.max_series)."),
    FIGURE(series_created, "head_series_created_total", "Series that were new."),
    FIGURE(series_removed, "head_series_removed_total", "Series that left memory for having no new samples."),
    FIGURE(samples_appended, "samples_appended_total{type=\"float\"}", "Samples taken."),
    FIGURE(histograms_appended, "samples_appended_total{type=\"histogram\"}", NULL),
    FIGURE(exemplars_appended, "exemplars_appended_total", "Exemplars taken."),
    FIGURE(samples_out_of_order, "samples_out_of_order_total", "Samples taken that were older than their series."),
    FIGURE(samples_duplicate, "samples_duplicate_total", "Samples that were there already, the same."),
    FIGURE(refused_labels, "samples_refused_total{reason=\"labels\"}", "Samples refused."),
    FIGURE(refused_series, "samples_refused_total{reason=\"series_limit\"}", NULL),
    FIGURE(refused_old, "samples_refused_total{reason=\"too_old\"}", NULL),
    FIGURE(refused_duplicate, "samples_refused_total{reason=\"duplicate\"}", NULL),
    FIGURE(refused_future, "samples_refused_total{reason=\"future\"}", NULL),
    FIGURE(head_chunks, "head_chunks", "Chunks that are not in a block yet."),
    TIME_FIGURE(head_min_ts_ms, "head_min_time_seconds", "Oldest sample of the head; NaN when it is empty."),
    TIME_FIGURE(head_max_ts_ms, "head_max_time_seconds", "Newest sample of the head; NaN when it is empty."),
    FIGURE(record_bytes, "log_record_bytes_total", "Bytes of samples put into the log."),
    FIGURE(chunk_bytes, "chunk_bytes_total", "Bytes of chunks made from samples of the head."),
    FIGURE(chunk_samples, "chunk_samples_total", "Samples in these chunks."),
    FIGURE(checkpoints, "checkpoints_total", "Checkpoints of the head."),
    FIGURE(checkpoint_lsn, "checkpoint_lsn", "Position in the log from which a restart reads."),
    FIGURE(block_count, "blocks", "Blocks."),
    FIGURE(block_bytes, "blocks_bytes", "Size of the blocks on disk."),
    FIGURE(block_samples, "blocks_samples", "Samples in the blocks."),
    FIGURE(merges, "merges_total", "Blocks made of several."),
    FIGURE(blocks_removed, "blocks_removed_total", "Blocks removed for being past retention."),
    FIGURE(blocks_quarantined, "blocks_quarantined_total", "Blocks moved to quarantine/ for being damaged."),
    FIGURE(chunks_damaged, "chunks_damaged_total", "Damaged chunks that a query met and left out."),
    FIGURE(seal_failures, "seal_failures_total", "Chunks that found no room on the disk; they are tried again."),
    FIGURE(replayed_samples, "replayed_samples", "Samples read back from the log at the start."),
    TIME_FIGURE(replay_ms, "replay_seconds", "How long that took."),
    FIGURE(background_failures, "background_failures_total", "Failures of the background work; see the log."),
};

/* Times of a head without samples, as struct tsdb_stats has them. */
static bool is_no_time(int64_t value)
{
    return value == INT64_MAX || value == INT64_MIN;
}

void tsdb_figures_add_json(struct ap_buf *out, const struct tsdb_stats *stats)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(figures); i++) {
        const char *at = (const char *)stats + figures[i].offset;
        int64_t value;
        memcpy(&value, at, sizeof(value));
        ap_buf_printf(out, "%s\"%s\":", i ? "," : "{", figures[i].json);
        if (!figures[i].is_signed)
            ap_buf_printf(out, "%" PRIu64, (uint64_t)value);
        else if (is_no_time(value))
            ap_buf_add_cstr(out, "null");
        else
            ap_buf_printf(out, "%" PRId64, value);
    }
    ap_buf_add_char(out, '}');
}

void tsdb_figures_add_metrics(struct ap_buf *out, const struct tsdb_stats *stats)
{
    for (size_t i = 0; i < AP_ARRAY_COUNT(figures); i++) {
        const struct figure *figure = &figures[i];
        int name_bytes = (int)strcspn(figure->metric, "{");
        bool is_counter = name_bytes > 6 && memcmp(figure->metric + name_bytes - 6, "_total", 6) == 0;
        if (figure->help)
            ap_buf_printf(out, "# HELP apiary_tsdb_%.*s %s\n# TYPE apiary_tsdb_%.*s %s\n", name_bytes, figure->metric,
                          figure->help, name_bytes, figure->metric, is_counter ? "counter" : "gauge");
        int64_t value;
        memcpy(&value, (const char *)stats + figure->offset, sizeof(value));
        if (!figure->is_signed)
            ap_buf_printf(out, "apiary_tsdb_%s %" PRIu64 "\n", figure->metric, (uint64_t)value);
        else if (is_no_time(value))
            ap_buf_printf(out, "apiary_tsdb_%s NaN\n", figure->metric);
        else
            ap_buf_printf(out, "apiary_tsdb_%s %.17g\n", figure->metric, (double)value / 1e3);
    }
}
