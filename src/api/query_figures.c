#include "api/query_figures.h"

#include <inttypes.h>

static void add_durations(struct ap_buf *out, const struct promql_engine_stats *stats)
{
    uint64_t count = 0;
    ap_buf_add_cstr(out, "# HELP apiary_promql_query_seconds Running time of PromQL queries, without sending answers.\n"
                         "# TYPE apiary_promql_query_seconds histogram\n");
    for (size_t i = 0; i < PROMQL_DURATION_COUNT; i++) {
        count += stats->durations[i];
        if (promql_durations_us[i] == INT64_MAX)
            ap_buf_add_cstr(out, "apiary_promql_query_seconds_bucket{le=\"+Inf\"}");
        else
            ap_buf_printf(out, "apiary_promql_query_seconds_bucket{le=\"%g\"}", (double)promql_durations_us[i] / 1e6);
        ap_buf_printf(out, " %" PRIu64 "\n", count);
    }
    ap_buf_printf(out, "apiary_promql_query_seconds_sum %.6f\napiary_promql_query_seconds_count %" PRIu64 "\n",
                  (double)stats->duration_us / 1e6, count);
}

void query_figures_add_metrics(struct ap_buf *out, const struct promql_engine *engine)
{
    static const char *const outcomes[PROMQL_OUTCOME_COUNT] = {
        [PROMQL_SUCCEEDED] = "success",   [PROMQL_REFUSED] = "refused",     [PROMQL_LIMITED] = "limit",
        [PROMQL_TIMED_OUT] = "timed_out", [PROMQL_CANCELLED] = "cancelled", [PROMQL_FAILED] = "failed",
    };
    struct promql_engine_stats stats;
    promql_engine_stats(engine, &stats);
    ap_buf_add_cstr(out,
                    "# HELP apiary_promql_queries_total PromQL queries, of clients and of rules, that have ended.\n"
                    "# TYPE apiary_promql_queries_total counter\n");
    for (size_t i = 0; i < PROMQL_OUTCOME_COUNT; i++)
        ap_buf_printf(out, "apiary_promql_queries_total{outcome=\"%s\"} %" PRIu64 "\n", outcomes[i], stats.outcomes[i]);
    ap_buf_printf(out,
                  "# HELP apiary_promql_queries_in_flight PromQL queries that run or send their answer.\n"
                  "# TYPE apiary_promql_queries_in_flight gauge\napiary_promql_queries_in_flight %" PRIu64 "\n"
                  "# HELP apiary_promql_samples_read_total Samples that PromQL queries took out of the store.\n"
                  "# TYPE apiary_promql_samples_read_total counter\napiary_promql_samples_read_total %" PRIu64 "\n",
                  stats.in_flight, stats.samples_read);
    add_durations(out, &stats);
}
