/*
 * bench/bench_registry.c - the head's index with very many series: adding, finding, selecting, its file, its memory
 *
 *     bench-registry [SERIES] [unique]
 *
 * SERIES (a million) of ten labels: hosts with a hundred metrics each; `unique` gives each series one label value that
 * no other has. Prints one line for each figure.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/random.h"
#include "tsdb/registry.h"

enum { METRICS = 100, ROUNDS = 5, AHEAD = 16 };

static enum ap_rc keep_batch(struct ap_slice batch, void *context, struct ap_err *err)
{
    (void)err;
    ap_buf_add_slice(context, batch);
    return AP_OK;
}

static void save(struct registry *registry, bool is_all, struct ap_buf *file)
{
    struct ap_err err;
    if (registry_encode(registry, is_all, keep_batch, file, &err) != AP_OK)
        abort();
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static size_t heap_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

struct texts {
    struct ap_buf bytes;
    size_t *ends;
    struct labels_hash *hashes;
    size_t count;
};

static struct ap_slice text_at(const struct texts *texts, size_t i)
{
    size_t start = i ? texts->ends[i - 1] : 0;
    return ap_slice(texts->bytes.data + start, texts->ends[i] - start);
}

static void make(struct texts *texts, size_t count, bool is_unique)
{
    texts->count = count;
    texts->ends = ap_new0_array(size_t, count);
    texts->hashes = ap_new0_array(struct labels_hash, count);
    for (size_t i = 0; i < count; i++) {
        char values[10][48];
        unsigned host = (unsigned)(i / METRICS);
        snprintf(values[0], 48, "node_subsystem_metric_%u_total", (unsigned)(i % METRICS));
        snprintf(values[1], 48, "host_%u", host);
        snprintf(values[2], 48, "10.%u.%u.%u:9100", host >> 16, host >> 8 & 255, host & 255);
        snprintf(values[3], 48, "rack-%u", host / 40);
        snprintf(values[4], 48, "datacenter-%u", host % 7);
        snprintf(values[5], 48, "team-%u", host % 23);
        snprintf(values[6], 48, "%s", "production");
        snprintf(values[7], 48, "%s", "node");
        snprintf(values[8], 48, "x64-%u", host % 3);
        if (is_unique)
            snprintf(values[9], 48, "7f4c%08zx-%08zx", i * 2654435761U % 4294967291U, i);
        else
            snprintf(values[9], 48, "%s", "linux");
        static const char *const names[10] = {"__name__", "host", "instance", "rack", "dc",
                                              "team",     "env",  "job",      "arch", "uid"};
        struct label labels[10];
        for (size_t j = 0; j < 10; j++)
            labels[j] = (struct label){ap_slice_cstr(names[j]), ap_slice_cstr(values[j])};
        struct ap_err err;
        AP_ASSERT(labels_encode(labels, 10, &texts->bytes, &err) == AP_OK);
        texts->ends[i] = texts->bytes.bytes;
    }
    for (size_t i = 0; i < count; i++)
        texts->hashes[i] = labels_hash_of(1, text_at(texts, i));
}

static void say(const char *what, double value, const char *unit)
{
    printf("%-44s %12.2f %s\n", what, value, unit);
}

static struct registry *fill(const struct texts *texts)
{
    size_t before = heap_bytes();
    double start = seconds();
    struct registry *registry = registry_new(1);
    registry_write_lock(registry);
    for (size_t i = 0; i < texts->count; i++)
        AP_ASSERT(registry_add_locked(registry, text_at(texts, i), texts->hashes[i], REGISTRY_NONE) == i);
    registry_unlock(registry);
    say("add", (seconds() - start) / (double)texts->count * 1e9, "ns/series");
    size_t all = heap_bytes() - before;
    struct registry_stats stats;
    registry_stats_get(registry, &stats);
    say("memory without pairs and their strings",
        ((double)all - (double)stats.pair_memory_bytes) / (double)texts->count, "bytes/series");
    say("memory of pairs and their strings", (double)stats.pair_memory_bytes / (double)texts->count, "bytes/series");
    say("memory in all, as the registry says", (double)stats.memory_bytes / (double)texts->count, "bytes/series");
    return registry;
}

/* In order of the requests that a sender repeats, and in no order at all. */
static void find(const struct registry *registry, const struct texts *texts, bool is_shuffled, size_t range)
{
    struct ap_random random;
    ap_random_init(&random, 1);
    uint32_t *order = ap_new0_array(uint32_t, texts->count + AHEAD);
    for (size_t i = 0; i < texts->count + AHEAD; i++)
        order[i] = (uint32_t)(is_shuffled ? ap_random_below(&random, range) : i % range);
    struct labels_hash *hashes = ap_new0_array(struct labels_hash, texts->count + AHEAD);
    for (size_t i = 0; i < texts->count + AHEAD; i++)
        hashes[i] = texts->hashes[order[i]];
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        double start = seconds();
        for (size_t i = 0; i < texts->count; i++) {
            registry_prefetch(registry, hashes[i + AHEAD]);
            AP_ASSERT(registry_find(registry, hashes[i]) == order[i]);
        }
        double took = seconds() - start;
        best = took < best ? took : best;
    }
    char what[64];
    snprintf(what, sizeof(what), "find, %s, among %zu", is_shuffled ? "shuffled" : "in order", range);
    say(what, best / (double)texts->count * 1e9, "ns");
    free(order);
    free(hashes);
}

static void select_series(const struct registry *registry, const char *text)
{
    struct matchers matchers;
    struct ap_err err;
    AP_ASSERT(matchers_parse(ap_slice_cstr(text), &matchers, &err) == AP_OK);
    double best = 1e9;
    uint64_t count = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double start = seconds();
        roaring_bitmap_t *refs = registry_select(registry, &matchers);
        double took = seconds() - start;
        best = took < best ? took : best;
        count = roaring_bitmap_get_cardinality(refs);
        roaring_bitmap_free(refs);
    }
    char what[120];
    snprintf(what, sizeof(what), "%s: %" PRIu64, text, count);
    say(what, best * 1e6, "us");
    matchers_clear(&matchers);
}

static bool count_text(struct ap_slice text, uint64_t series_count, void *context)
{
    (void)text;
    (void)series_count;
    (*(size_t *)context)++;
    return true;
}

static void list_values(const struct registry *registry, const char *name)
{
    for (int round = 0; round < 2; round++) {
        size_t count = 0;
        double start = seconds();
        registry_each_value(registry, ap_slice_cstr(name), count_text, &count);
        char what[64];
        snprintf(what, sizeof(what), "values of %s (%zu), %s", name, count, round ? "again" : "first time");
        say(what, (seconds() - start) * 1e3, "ms");
    }
}

static void file(struct registry *registry)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    double start = seconds();
    save(registry, true, &bytes);
    say("write the series file", (seconds() - start) * 1e3, "ms");
    say("series file", (double)bytes.bytes / (double)registry_count(registry), "bytes/series");
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        struct registry *again = registry_new(1);
        struct ap_slice rest = ap_buf_slice(&bytes);
        struct ap_err err;
        start = seconds();
        registry_write_lock(again);
        while (rest.bytes)
            AP_ASSERT(registry_decode_locked(again, &rest, &err) == AP_OK);
        registry_encoded_locked(again);
        registry_unlock(again);
        double took = seconds() - start;
        best = took < best ? took : best;
        AP_ASSERT(registry_count(again) == registry_count(registry));
        registry_free(again);
    }
    say("read the series file", best * 1e3, "ms");
}

static void churn(struct registry *registry, const struct texts *texts)
{
    size_t removed = texts->count / 2;
    roaring_bitmap_t *refs = roaring_bitmap_create();
    roaring_bitmap_add_range(refs, 0, removed);
    double start = seconds();
    registry_write_lock(registry);
    registry_remove_locked(registry, refs);
    say("remove", (seconds() - start) / (double)removed * 1e9, "ns/series");
    start = seconds();
    registry_reuse_removed_locked(registry);
    say("make removed refs reusable", (seconds() - start) / (double)removed * 1e9, "ns/series");
    start = seconds();
    for (size_t i = 0; i < removed; i++)
        AP_ASSERT(registry_add_locked(registry, text_at(texts, i), texts->hashes[i], REGISTRY_NONE) == i);
    say("add again", (seconds() - start) / (double)removed * 1e9, "ns/series");
    registry_unlock(registry);
    roaring_bitmap_free(refs);
}

int main(int argc, char **argv)
{
    size_t count = argc > 1 ? (size_t)strtoull(argv[1], NULL, 10) : 1000 * 1000;
    bool is_unique = argc > 2 && strcmp(argv[2], "unique") == 0;
    struct texts texts = {0};
    if (count == 0)
        return 2;
    make(&texts, count, is_unique);
    struct registry *registry = fill(&texts);
    find(registry, &texts, false, count);
    find(registry, &texts, true, AP_MIN(count, (size_t)10 * 1000));
    find(registry, &texts, true, count);
    select_series(registry, "node_subsystem_metric_7_total");
    select_series(registry, "node_subsystem_metric_7_total{host=\"host_77\"}");
    select_series(registry, "node_subsystem_metric_7_total{host=~\"host_7.*\"}");
    select_series(registry, "node_subsystem_metric_7_total{dc!=\"datacenter-3\"}");
    select_series(registry, "{host=\"host_77\",uid=~\".*1.*\"}");
    select_series(registry, "{job=\"node\"}");
    list_values(registry, "host");
    list_values(registry, "uid");
    file(registry);
    churn(registry, &texts);
    registry_free(registry);
    ap_buf_clear(&texts.bytes);
    free(texts.ends);
    free(texts.hashes);
    return 0;
}
