#include "ingest/observations.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "tsdb/histogram.h"

enum { SCHEMA_FIRST = 3, BUCKETS_PER_DOUBLING = 1 << SCHEMA_FIRST };

#define ZERO_THRESHOLD 2.938735877055719e-39 /* 2^-128, as Prometheus' client libraries have it */

void observations_init(struct observations *observations)
{
    *observations = (struct observations){.schema = SCHEMA_FIRST};
}

void observations_clear(struct observations *observations)
{
    free(observations->positive.counts);
    free(observations->negative.counts);
    *observations = (struct observations){0};
}

/* Bucket i of schema 3 ends at 2^(i/8); `value` is above 0. */
static int32_t index_of(double value)
{
    static const double bounds[BUCKETS_PER_DOUBLING] = {0.5,
                                                        0.5452538663326288,
                                                        0.5946035575013605,
                                                        0.6484197773255048,
                                                        0.7071067811865475,
                                                        0.7711054127039704,
                                                        0.8408964152537144,
                                                        0.9170040432046711};
    int exponent;
    double fraction = frexp(value, &exponent); /* 0.5 to below 1 */
    int32_t place = 0;
    while (place < BUCKETS_PER_DOUBLING && bounds[place] < fraction)
        place++;
    return place + (exponent - 1) * BUCKETS_PER_DOUBLING;
}

/* The bucket of a schema that is `steps` coarser: two become one, the one with the upper bound of the second. */
static int32_t coarser(int32_t index, int steps)
{
    return (index + (1 << steps) - 1) >> steps;
}

static void halve_side(struct observations_side *side)
{
    if (side->count == 0)
        return;
    int32_t first = coarser(side->first, 1);
    uint32_t count = 0;
    for (uint32_t i = 0; i < side->count; i++) {
        uint32_t to = (uint32_t)(coarser(side->first + (int32_t)i, 1) - first);
        double moved = side->counts[i];
        if (to == count)
            side->counts[count++] = 0;
        side->counts[to] += moved;
    }
    side->first = first;
    side->count = count;
}

/* What the side would span together with a bucket at `index`. */
static int64_t span_with(const struct observations_side *side, int32_t index)
{
    if (side->count == 0)
        return 1;
    int64_t first = AP_MIN(side->first, index);
    int64_t last = AP_MAX((int64_t)side->first + side->count - 1, (int64_t)index);
    return last - first + 1;
}

/* Room for a bucket at `index`, all new ones empty. */
static void widen(struct observations_side *side, int32_t index)
{
    uint32_t span = (uint32_t)span_with(side, index);
    if (span > side->capacity) {
        side->capacity = AP_MIN(AP_MAX(span, 2 * side->capacity), (uint32_t)OBSERVATIONS_BUCKETS_MAX);
        side->counts = ap_realloc(side->counts, side->capacity * sizeof(*side->counts));
    }
    uint32_t in_front = side->count && index < side->first ? (uint32_t)(side->first - index) : 0;
    memmove(side->counts + in_front, side->counts, side->count * sizeof(*side->counts));
    memset(side->counts, 0, in_front * sizeof(*side->counts));
    uint32_t filled = in_front + side->count;
    memset(side->counts + filled, 0, (span - filled) * sizeof(*side->counts));
    side->first = side->count ? AP_MIN(side->first, index) : index;
    side->count = span;
}

void observations_add(struct observations *observations, double value, double weight)
{
    observations->count += weight;
    observations->sum += value * weight;
    if (fabs(value) <= ZERO_THRESHOLD) {
        observations->zero_count += weight;
        return;
    }
    struct observations_side *side = value > 0 ? &observations->positive : &observations->negative;
    int32_t fine = index_of(fabs(value));
    while (span_with(side, coarser(fine, SCHEMA_FIRST - observations->schema)) > OBSERVATIONS_BUCKETS_MAX) {
        AP_ASSERT(observations->schema > HISTOGRAM_SCHEMA_MIN); /* 2048 doublings are 128 buckets by then */
        halve_side(&observations->positive);
        halve_side(&observations->negative);
        observations->schema--;
    }
    int32_t index = coarser(fine, SCHEMA_FIRST - observations->schema);
    widen(side, index);
    side->counts[index - side->first] += weight;
}

static struct histogram_buckets buckets_of(const struct observations_side *side, struct histogram_span *span)
{
    *span = (struct histogram_span){side->first, side->count};
    return (struct histogram_buckets){
        .spans = span, .span_count = side->count > 0, .values = side->counts, .count = side->count};
}

void observations_encode(const struct observations *observations, bool is_stale, struct ap_buf *out)
{
    struct histogram_span spans[2];
    struct histogram histogram = {
        .schema = observations->schema,
        .is_float = true,
        .zero_threshold = ZERO_THRESHOLD,
        .zero_value = observations->zero_count,
        .count_value = observations->count,
        .sum = observations->sum,
        .positive = buckets_of(&observations->positive, &spans[0]),
        .negative = buckets_of(&observations->negative, &spans[1]),
    };
    if (is_stale)
        histogram_set_stale(&histogram);
    histogram_encode(&histogram, out);
}
