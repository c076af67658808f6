#include "api/figures.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/mem.h"

struct figure {
    const char *json;   /* member of the object */
    const char *metric; /* behind apiary_ and the table's name, with labels; a counter when its name ends in _total */
    const char *help;   /* NULL: the same metric as before with other labels */
    size_t offset;      /* of a uint64_t or int64_t in the struct */
    bool is_time;       /* int64_t, milliseconds; a metric of them is in seconds */
};

#define FIGURE(type, member, metric, help)                                                                             \
    {                                                                                                                  \
#member, metric, help, offsetof(struct type, member), false                                                    \
    }
#define TIME_FIGURE(type, member, metric, help)                                                                        \
    {                                                                                                                  \
#member, metric, help, offsetof(struct type, member), true                                                     \
    }

/* One of an array, a kind of receiver each. */
#define KIND_FIGURE(kind, name, array, metric, help)                                                                   \
    {                                                                                                                  \
#array "_" name, metric "{integration=\"" name "\"}", help,                                                    \
            offsetof(struct alerting_stats, array) + (kind) * sizeof(uint64_t), false                                  \
    }
#define KIND_FIGURES(array, metric, help)                                                                              \
    KIND_FIGURE(RECEIVER_WEBHOOK, "webhook", array, metric, help),                                                     \
        KIND_FIGURE(RECEIVER_PAGERDUTY, "pagerduty", array, metric, NULL),                                             \
        KIND_FIGURE(RECEIVER_SLACK, "slack", array, metric, NULL),                                                     \
        KIND_FIGURE(RECEIVER_EMAIL, "email", array, metric, NULL)

struct table {
    const char *name;
    const struct figure *figures;
    size_t count;
};

static const struct figure tsdb[] = {
    FIGURE(tsdb_stats, head_series, "head_series", "Series in memory."),
    FIGURE(tsdb_stats, series_max, "series_max", "Series that are allowed (setting tsdb.max_series)."),
    FIGURE(tsdb_stats, series_created, "head_series_created_total", "Series that were new."),
    FIGURE(tsdb_stats, series_removed, "head_series_removed_total",
           "Series that left memory for having no new samples."),
    FIGURE(tsdb_stats, samples_appended, "samples_appended_total{type=\"float\"}", "Samples taken."),
    FIGURE(tsdb_stats, histograms_appended, "samples_appended_total{type=\"histogram\"}", NULL),
    FIGURE(tsdb_stats, exemplars_appended, "exemplars_appended_total", "Exemplars taken."),
    FIGURE(tsdb_stats, samples_out_of_order, "samples_out_of_order_total",
           "Samples taken that were older than their series."),
    FIGURE(tsdb_stats, samples_duplicate, "samples_duplicate_total", "Samples that were there already, the same."),
    FIGURE(tsdb_stats, refused_labels, "samples_refused_total{reason=\"labels\"}", "Samples refused."),
    FIGURE(tsdb_stats, refused_series, "samples_refused_total{reason=\"series_limit\"}", NULL),
    FIGURE(tsdb_stats, refused_old, "samples_refused_total{reason=\"too_old\"}", NULL),
    FIGURE(tsdb_stats, refused_duplicate, "samples_refused_total{reason=\"duplicate\"}", NULL),
    FIGURE(tsdb_stats, refused_future, "samples_refused_total{reason=\"future\"}", NULL),
    FIGURE(tsdb_stats, head_chunks, "head_chunks", "Chunks that are not in a block yet."),
    TIME_FIGURE(tsdb_stats, head_min_ts_ms, "head_min_time_seconds",
                "Oldest sample of the head; NaN when it is empty."),
    TIME_FIGURE(tsdb_stats, head_max_ts_ms, "head_max_time_seconds",
                "Newest sample of the head; NaN when it is empty."),
    FIGURE(tsdb_stats, record_bytes, "log_record_bytes_total", "Bytes of samples put into the log."),
    FIGURE(tsdb_stats, chunk_bytes, "chunk_bytes_total", "Bytes of chunks made from samples of the head."),
    FIGURE(tsdb_stats, chunk_samples, "chunk_samples_total", "Samples in these chunks."),
    FIGURE(tsdb_stats, checkpoints, "checkpoints_total", "Checkpoints of the head."),
    FIGURE(tsdb_stats, checkpoint_lsn, "checkpoint_lsn", "Position in the log from which a restart reads."),
    FIGURE(tsdb_stats, block_count, "blocks", "Blocks."),
    FIGURE(tsdb_stats, block_bytes, "blocks_bytes", "Size of the blocks on disk."),
    FIGURE(tsdb_stats, block_samples, "blocks_samples", "Samples in the blocks."),
    FIGURE(tsdb_stats, merges, "merges_total", "Blocks made of several."),
    FIGURE(tsdb_stats, blocks_removed, "blocks_removed_total", "Blocks removed for being past retention."),
    FIGURE(tsdb_stats, blocks_quarantined, "blocks_quarantined_total",
           "Blocks moved to quarantine/ for being damaged."),
    FIGURE(tsdb_stats, chunks_damaged, "chunks_damaged_total", "Damaged chunks that a query met and left out."),
    FIGURE(tsdb_stats, seal_failures, "seal_failures_total",
           "Chunks that found no room on the disk; they are tried again."),
    FIGURE(tsdb_stats, replayed_samples, "replayed_samples", "Samples read back from the log at the start."),
    TIME_FIGURE(tsdb_stats, replay_ms, "replay_seconds", "How long that took."),
    FIGURE(tsdb_stats, background_failures, "background_failures_total",
           "Failures of the background work; see the log."),
};

static const struct figure rules[] = {
    FIGURE(rule_manager_stats, group_count, "groups", "Groups of rules."),
    FIGURE(rule_manager_stats, rule_count, "rules", "Recording and alerting rules."),
    FIGURE(rule_manager_stats, pending_count, "alerts{state=\"pending\"}", "Active alerts."),
    FIGURE(rule_manager_stats, firing_count, "alerts{state=\"firing\"}", NULL),
    FIGURE(rule_manager_stats, no_data_count, "condition{condition=\"no_data\"}",
           "Rules whose query gave nothing, and that could not be evaluated, the last time."),
    FIGURE(rule_manager_stats, error_count, "condition{condition=\"error\"}", NULL),
    FIGURE(rule_manager_stats, evaluations, "evaluations_total", "Evaluations of rules."),
    FIGURE(rule_manager_stats, failures, "evaluation_failures_total", "Those that failed."),
    FIGURE(rule_manager_stats, missed, "group_evaluations_missed_total",
           "Evaluations of groups that were left out: those before took too long."),
    FIGURE(rule_manager_stats, is_reload_good, "last_reload_successful",
           "1, or 0 when the rule files could not be read again and those before stay in effect."),
    TIME_FIGURE(rule_manager_stats, loaded_ms, "loaded_timestamp_seconds",
                "When the rule files were read, since 1970."),
};

static const struct figure alerting[] = {
    FIGURE(alerting_stats, alerts_firing, "alerts{state=\"firing\"}",
           "Alerts that are known, of rules and of those that others send."),
    FIGURE(alerting_stats, alerts_resolved, "alerts{state=\"resolved\"}", NULL),
    FIGURE(alerting_stats, groups, "groups", "Groups of alerts that are told together."),
    FIGURE(alerting_stats, groups_falling_back, "groups_falling_back",
           "Groups of which others are told, in place of a receiver that cannot be."),
    FIGURE(alerting_stats, silences_active, "silences_active", "Silences that hold now."),
    FIGURE(alerting_stats, alerts_received, "alerts_received_total", "Alerts that came in, repetitions included."),
    FIGURE(alerting_stats, alerts_refused, "alerts_refused_total",
           "Those that were refused: there were as many as alerting.max_alerts."),
    KIND_FIGURES(notifications, "notifications_total", "Notifications that were decided on."),
    KIND_FIGURES(fallbacks, "fallback_notifications_total",
                 "Notifications in place of a receiver that could not be told."),
    KIND_FIGURES(failures, "notification_failures_total", "Attempts at sending one that failed."),
    KIND_FIGURES(given_up, "notifications_refused_total",
                 "Notifications that the receiver refused for good; what is then is told with the next one."),
};

static const struct figure targets[] = {
    FIGURE(scrape_manager_stats, pool_count, "pools", "Jobs of which targets are scraped."),
    FIGURE(scrape_manager_stats, dropped_count, "targets_dropped", "Targets that relabelling drops."),
    FIGURE(
        scrape_manager_stats, target_failures, "targets_refused",
        "Targets that cannot be asked: without an address, with an interval that is none and the like; see the log."),
    FIGURE(scrape_manager_stats, discovery_count, "discoveries", "Discoveries at work."),
    FIGURE(scrape_manager_stats, refreshes, "discovery_refreshes_total", "How often they looked."),
    FIGURE(scrape_manager_stats, refresh_failures, "discovery_failures_total",
           "How often they could not; the targets known before stay."),
    FIGURE(scrape_manager_stats, syncs, "pool_syncs_total", "New lists of a job's targets."),
    FIGURE(scrape_manager_stats, is_reload_good, "last_reload_successful",
           "1, or 0 when the configuration could not be read again and the one before stays in force."),
    TIME_FIGURE(scrape_manager_stats, loaded_ms, "loaded_timestamp_seconds",
                "When the configuration in force was read, since 1970."),
};

static const struct figure scrapes[] = {
    FIGURE(scraper_stats, target_count, "targets", "Targets that are scraped."),
    FIGURE(scraper_stats, up_count, "targets_up", "Those of them whose last scrape was good."),
    FIGURE(scraper_stats, scrapes, "scrapes_total", "Scrapes."),
    FIGURE(scraper_stats, failures, "failures_total", "Those that failed."),
    FIGURE(scraper_stats, missed, "missed_total", "Scrapes left out: the one before was still under way."),
    FIGURE(scraper_stats, samples_scraped, "samples_scraped_total", "Samples that targets told."),
    FIGURE(scraper_stats, samples_refused, "samples_refused_total", "Those that were not kept."),
    FIGURE(scraper_stats, body_bytes, "body_bytes_total", "What they came in, decompressed."),
};

static const struct figure push[] = {
    FIGURE(push_stats, groups, "groups", "Groups of metrics that were pushed and are still there."),
    FIGURE(push_stats, series, "series", "Series in these groups."),
    FIGURE(push_stats, bytes, "bytes", "Memory that they take."),
    FIGURE(push_stats, pushes, "pushes_total", "Pushes that came in."),
    FIGURE(push_stats, refused, "pushes_refused_total", "Those that were inconsistent or over a limit."),
    FIGURE(push_stats, deletions, "deletions_total", "Deletions of groups that were asked for, and expirations."),
    FIGURE(push_stats, expired, "groups_expired_total", "Groups removed because nobody pushed to them (push.expire)."),
    FIGURE(push_stats, samples_written, "samples_written_total", "Samples of pushed metrics written at intervals."),
    FIGURE(push_stats, samples_refused, "samples_refused_total", "Those that the store refused."),
    FIGURE(push_stats, intervals_skipped, "intervals_skipped_total",
           "Intervals at which the log could not take the samples."),
};

static const struct figure statsd[] = {
    FIGURE(statsd_stats, series, "series", "Series that come by StatsD."),
    FIGURE(statsd_stats, packets, "packets_total", "Packets that came in."),
    FIGURE(statsd_stats, packets_dropped, "packets_dropped_total",
           "Packets that the kernel threw away because they were not taken in time."),
    FIGURE(statsd_stats, lines, "lines_total", "Lines in these packets."),
    FIGURE(statsd_stats, lines_bad, "lines_refused_total{reason=\"malformed\"}", "Lines that were not taken."),
    FIGURE(statsd_stats, lines_over, "lines_refused_total{reason=\"series_limit\"}", NULL),
    FIGURE(statsd_stats, lines_ignored, "lines_refused_total{reason=\"no_metric\"}", NULL),
    FIGURE(statsd_stats, samples_written, "samples_written_total", "Samples written."),
    FIGURE(statsd_stats, samples_refused, "samples_refused_total", "Those that the store refused."),
    FIGURE(statsd_stats, flushes_skipped, "flushes_skipped_total",
           "Intervals at which the log could not take the samples."),
};

static const struct table tables[] = {
    [FIGURES_TSDB] = {"tsdb", tsdb, AP_ARRAY_COUNT(tsdb)},
    [FIGURES_RULES] = {"rules", rules, AP_ARRAY_COUNT(rules)},
    [FIGURES_ALERTING] = {"alerting", alerting, AP_ARRAY_COUNT(alerting)},
    [FIGURES_TARGETS] = {"scrape", targets, AP_ARRAY_COUNT(targets)},
    [FIGURES_SCRAPES] = {"scrape", scrapes, AP_ARRAY_COUNT(scrapes)},
    [FIGURES_PUSH] = {"push", push, AP_ARRAY_COUNT(push)},
    [FIGURES_STATSD] = {"statsd", statsd, AP_ARRAY_COUNT(statsd)},
};

/* Of a head without samples, as struct tsdb_stats has them. */
static bool is_no_time(int64_t value)
{
    return value == INT64_MAX || value == INT64_MIN;
}

static int64_t value_of(const struct figure *figure, const void *stats)
{
    int64_t value;
    memcpy(&value, (const char *)stats + figure->offset, sizeof(value));
    return value;
}

void figures_add_json(struct ap_buf *out, enum figures_table index, const void *stats)
{
    const struct table *table = &tables[index];
    for (size_t i = 0; i < table->count; i++) {
        int64_t value = value_of(&table->figures[i], stats);
        ap_buf_printf(out, "%s\"%s\":", i ? "," : "{", table->figures[i].json);
        if (!table->figures[i].is_time)
            ap_buf_printf(out, "%" PRIu64, (uint64_t)value);
        else if (is_no_time(value))
            ap_buf_add_cstr(out, "null");
        else
            ap_buf_printf(out, "%" PRId64, value);
    }
    ap_buf_add_char(out, '}');
}

void figures_add_metrics(struct ap_buf *out, enum figures_table index, const void *stats)
{
    const struct table *table = &tables[index];
    for (size_t i = 0; i < table->count; i++) {
        const struct figure *figure = &table->figures[i];
        int name_bytes = (int)strcspn(figure->metric, "{");
        bool is_counter = name_bytes > 6 && memcmp(figure->metric + name_bytes - 6, "_total", 6) == 0;
        if (figure->help)
            ap_buf_printf(out, "# HELP apiary_%s_%.*s %s\n# TYPE apiary_%s_%.*s %s\n", table->name, name_bytes,
                          figure->metric, figure->help, table->name, name_bytes, figure->metric,
                          is_counter ? "counter" : "gauge");
        int64_t value = value_of(figure, stats);
        ap_buf_printf(out, "apiary_%s_%s ", table->name, figure->metric);
        if (!figure->is_time)
            ap_buf_printf(out, "%" PRIu64 "\n", (uint64_t)value);
        else if (is_no_time(value))
            ap_buf_add_cstr(out, "NaN\n");
        else
            ap_buf_printf(out, "%.17g\n", (double)value / 1e3);
    }
}
