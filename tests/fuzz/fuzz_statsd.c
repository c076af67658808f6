/*
 * Packets, cut at bytes of 0; a flush after each. Whatever comes: every line is counted once, what is flushed has sound
 * labels, finite numbers but for sums that overflow, and histograms that the store would take.
 */
#include <math.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/assert.h"
#include "ingest/statsd_table.h"
#include "tsdb/histogram.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEED = 7, SERIES_MAX = 8, EXPIRE_MS = 25 };

static void check_batch(const struct batch *batch)
{
    struct ap_err err;
    for (size_t i = 0; i < batch->series_count; i++) {
        const struct batch_series *series = &batch->series[i];
        AP_ASSERT(labels_check(series->labels, &err) == AP_OK);
        AP_ASSERT(labels_hash_equal(series->hash, labels_hash_of(SEED, series->labels)));
        AP_ASSERT(series->sample_count == 1u + series->has_start_zero || series->histogram_count == 1);
    }
    for (size_t i = 0; i < batch->histogram_count; i++) {
        AP_AUTO_ARENA struct ap_arena arena = {0};
        struct histogram histogram;
        AP_ASSERT(histogram_decode(batch->histograms[i].blob, &arena, &histogram, &err) == AP_OK);
        AP_ASSERT(histogram_check(&histogram, &err) == AP_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AP_AUTO(statsd_table)
    struct statsd_table *table = statsd_table_new(
        &(struct statsd_table_options){.hash_seed = SEED, .series_max = SERIES_MAX, .expire_ms = EXPIRE_MS});
    struct ap_slice rest = ap_slice(data, size);
    struct batch batch = {0};
    int64_t now_ms = 0;
    while (rest.data) {
        struct ap_slice packet = ap_slice_split(&rest, '\0');
        struct statsd_counts counts = {0};
        struct ap_err err;
        statsd_table_add(table, packet, now_ms, &counts, &err);
        AP_ASSERT(counts.bad + counts.over + counts.ignored <= counts.lines);
        AP_ASSERT((counts.bad + counts.over > 0) == (err.rc != AP_OK));
        AP_ASSERT(statsd_table_count(table) <= SERIES_MAX);
        batch_reset(&batch);
        statsd_table_flush(table, now_ms, now_ms + 10, &batch);
        check_batch(&batch);
        now_ms += 10;
    }
    batch_clear(&batch);
    return 0;
}
