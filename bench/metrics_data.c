#include "metrics_data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"

enum { KIND_ENDS_REAL = 8, KIND_ENDS_CONSTANT = 28, KIND_ENDS_COUNTER = 60, KIND_ENDS_TENTHS = 80 };
enum { CHURN_GROUPS = 10, GAUGE_MOVES_ONE_IN = 3, COUNTER_RESETS_ONE_IN = 20000 };
enum { SAMPLE_BYTES = 16 }; /* a double and a varint of six bytes, each with its tag: times until the year 2109 */

struct series {
    struct ap_random random;
    double value;
    size_t labels_at, labels_bytes; /* in the share's `labels` */
};

struct metrics_share {
    struct metrics_plan plan;
    uint32_t first, count; /* series */
    struct series *series; /* owned */
    struct ap_buf labels;  /* of all series, as fields of a TimeSeries; those of replaced hosts stay */
    uint32_t step;
    uint32_t next; /* the first series of the next request */
};

static uint32_t host_count(const struct metrics_plan *plan)
{
    return (plan->series_count + METRICS_A_HOST - 1) / METRICS_A_HOST;
}

/* The generation of a host at a step: how often it was replaced. Group 1 goes first, then 2, and so on round. */
static uint32_t host_generation(const struct metrics_plan *plan, uint32_t host, uint32_t step)
{
    if (!plan->churn_steps)
        return 0;
    uint32_t rounds = step / plan->churn_steps, group = host % CHURN_GROUPS;
    return rounds / CHURN_GROUPS + (group != 0 && rounds % CHURN_GROUPS >= group);
}

uint64_t metrics_plan_series(const struct metrics_plan *plan)
{
    uint64_t all = 0;
    for (uint32_t host = 0; host < host_count(plan); host++) {
        uint32_t first = host * METRICS_A_HOST;
        uint32_t own = plan->series_count - first < METRICS_A_HOST ? plan->series_count - first : METRICS_A_HOST;
        all += own * (UINT64_C(1) + host_generation(plan, host, plan->step_count - 1));
    }
    return all;
}

static void add_label(struct ap_buf *out, const char *name, const char *value)
{
    size_t name_bytes = strlen(name), value_bytes = strlen(value);
    ap_buf_add_char(out, 0x0A);
    ap_buf_add_varint(out, 4 + name_bytes + value_bytes); /* both below 128 */
    ap_buf_add_char(out, 0x0A);
    ap_buf_add_varint(out, name_bytes);
    ap_buf_add(out, name, name_bytes);
    ap_buf_add_char(out, 0x12);
    ap_buf_add_varint(out, value_bytes);
    ap_buf_add(out, value, value_bytes);
}

static void add_number(struct ap_buf *out, const char *name, const char *prefix, uint32_t number)
{
    char value[32];
    snprintf(value, sizeof(value), "%s%u", prefix, number);
    add_label(out, name, value);
}

/* Sorted by name, as the protocol wants it. */
static void make_labels(struct metrics_share *share, uint32_t index, uint32_t generation)
{
    static const char *const areas[] = {"cpu", "mem", "disk", "net", "kernel"};
    static const char *const systems[] = {"Ubuntu22.04LTS", "Debian12", "Rocky9"};
    static const char *const cities[] = {"eu-west", "us-east", "us-west", "ap-south"};
    struct series *series = &share->series[index];
    uint32_t host = (share->first + index) / METRICS_A_HOST, metric = (share->first + index) % METRICS_A_HOST;
    bool is_counter = metric >= KIND_ENDS_CONSTANT && metric < KIND_ENDS_COUNTER;
    char name[64], zone[32], hostname[32];
    snprintf(name, sizeof(name), "devops_%s_%02u%s", areas[metric % AP_ARRAY_COUNT(areas)], metric,
             is_counter ? "_total" : "");
    snprintf(zone, sizeof(zone), "%s-%u%c", cities[host % 4], host % 3 + 1, 'a' + (int)(host % 5 % 3));
    if (generation)
        snprintf(hostname, sizeof(hostname), "host_%u_%u", host, generation);
    else
        snprintf(hostname, sizeof(hostname), "host_%u", host);
    struct ap_buf *out = &share->labels;
    series->labels_at = out->bytes;
    add_label(out, "__name__", name);
    add_label(out, "arch", host % 4 ? "x64" : "arm64");
    add_label(out, "datacenter", zone);
    add_label(out, "environment", host % 6 ? "production" : "staging");
    add_label(out, "hostname", hostname);
    add_label(out, "os", systems[host % 3]);
    add_number(out, "rack", "", host % 97);
    zone[strlen(zone) - 1] = '\0'; /* the region is the data centre without its letter */
    add_label(out, "region", zone);
    add_number(out, "service", "service-", host % 19);
    add_number(out, "service_version", "", host % 2);
    add_number(out, "team", "team-", host % 7);
    series->labels_bytes = out->bytes - series->labels_at;
}

struct metrics_share *metrics_share_new(const struct metrics_plan *plan, uint32_t connection)
{
    struct metrics_share *share = ap_new0(struct metrics_share);
    uint64_t hosts = host_count(plan);
    uint64_t end = hosts * (connection + 1) / plan->connection_count * METRICS_A_HOST;
    share->plan = *plan;
    share->first = (uint32_t)(hosts * connection / plan->connection_count * METRICS_A_HOST);
    share->count = (uint32_t)(end < plan->series_count ? end : plan->series_count) - share->first;
    share->series = ap_new0_array(struct series, share->count + 1);
    for (uint32_t i = 0; i < share->count; i++) {
        struct series *series = &share->series[i];
        uint32_t metric = (share->first + i) % METRICS_A_HOST;
        ap_random_init(&series->random, plan->seed + share->first + i);
        series->value = metric < KIND_ENDS_CONSTANT  ? 1 + (double)ap_random_below(&series->random, 64)
                        : metric < KIND_ENDS_COUNTER ? (double)ap_random_below(&series->random, 1000000)
                                                     : (double)(10 + ap_random_below(&series->random, 81));
        make_labels(share, i, 0);
    }
    return share;
}

void metrics_share_free(struct metrics_share *share)
{
    if (!share)
        return;
    free(share->series);
    ap_buf_clear(&share->labels);
    free(share);
}

static void replace_hosts(struct metrics_share *share)
{
    for (uint32_t i = 0; i < share->count; i++) {
        uint32_t host = (share->first + i) / METRICS_A_HOST;
        uint32_t generation = host_generation(&share->plan, host, share->step);
        if (generation != host_generation(&share->plan, host, share->step - 1))
            make_labels(share, i, generation);
    }
}

/* A quarter of the counters are idle mostly, the rest grow by up to 2^4 … 2^13 a step. */
static double next_count(struct series *series, uint32_t metric)
{
    if (ap_random_below(&series->random, COUNTER_RESETS_ONE_IN) == 0)
        return 0;
    if (metric % 4 == 0)
        return series->value + (ap_random_below(&series->random, 20) == 0);
    return series->value + (double)ap_random_below(&series->random, UINT64_C(1) << (4 + metric % 10));
}

static double next_value(struct series *series, uint32_t metric)
{
    if (metric < KIND_ENDS_REAL)
        return ap_random_unit(&series->random) * 100;
    if (metric < KIND_ENDS_CONSTANT)
        return series->value;
    if (metric < KIND_ENDS_COUNTER)
        return series->value = next_count(series, metric);
    if (ap_random_below(&series->random, GAUGE_MOVES_ONE_IN) != 0)
        return series->value;
    double unit = metric < KIND_ENDS_TENTHS ? 10 : 100;
    double moved = round(series->value * unit + ap_random_normal(&series->random) * unit / 4);
    return series->value = fmin(fmax(moved, 0), 100 * unit) / unit;
}

bool metrics_share_next(struct metrics_share *share, struct ap_buf *ret_body, uint32_t *ret_step, uint32_t *ret_samples)
{
    if (share->next == share->count) {
        share->next = 0;
        share->step++;
        if (share->step < share->plan.step_count && share->plan.churn_steps &&
            share->step % share->plan.churn_steps == 0)
            replace_hosts(share);
    }
    if (share->count == 0 || share->step >= share->plan.step_count)
        return false;
    int64_t ts_ms = share->plan.first_ms + (int64_t)share->step * METRICS_STEP_MS;
    uint32_t first = share->next;
    ap_buf_reset(ret_body);
    while (share->next < share->count && share->next - first < share->plan.request_series_max) {
        struct series *series = &share->series[share->next];
        double value = next_value(series, (share->first + share->next) % METRICS_A_HOST);
        uint64_t bits;
        memcpy(&bits, &value, sizeof(bits));
        ap_buf_add_char(ret_body, 0x0A); /* WriteRequest.timeseries */
        ap_buf_add_varint(ret_body, series->labels_bytes + 2 + SAMPLE_BYTES);
        ap_buf_add(ret_body, share->labels.data + series->labels_at, series->labels_bytes);
        ap_buf_add(ret_body, "\x12\x10\x09", 3); /* TimeSeries.samples, its length; Sample.value */
        ap_buf_add_u64(ret_body, bits);
        ap_buf_add_char(ret_body, 0x10); /* Sample.timestamp */
        ap_buf_add_varint(ret_body, (uint64_t)ts_ms);
        share->next++;
    }
    *ret_step = share->step;
    *ret_samples = share->next - first;
    return true;
}
