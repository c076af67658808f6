#include "ingest/otlp_cache.h"

#include "codec/protobuf.h"

enum {
    GROUP_LOOK_MAX = 16, /* so many series of a group are looked at one after the other */
    /*
     * In a larger one a look-up misses the processor's caches, and costs more than making labels: where more than a few
     * points follow each other that are not expected, they are in no order, and nothing is tried for a while.
     */
    LOOK_UP_FIRST = 2,
    LOOK_UP_EVERY = 256,
};

/* ---- Life ---- */

static void init(struct otlp_cache *cache, uint64_t seed)
{
    *cache = (struct otlp_cache){.seed = seed};
    ap_arena_init(&cache->arena, OTLP_CACHE_BYTES_MAX);
    slots_init(&cache->text_slots);
    slots_init(&cache->group_slots);
    slots_init(&cache->series_slots);
}

static void clear(struct otlp_cache *cache)
{
    ap_arena_clear(&cache->arena);
    ap_buf_clear(&cache->key);
    free(cache->texts);
    slots_clear(&cache->text_slots);
    free(cache->metrics);
    free(cache->groups);
    slots_clear(&cache->group_slots);
    free(cache->series);
    slots_clear(&cache->series_slots);
}

struct otlp_cache *otlp_cache_new(uint64_t seed)
{
    struct otlp_cache *cache = ap_new0(struct otlp_cache);
    init(cache, seed);
    return cache;
}

void otlp_cache_free(struct otlp_cache *cache)
{
    if (!cache)
        return;
    clear(cache);
    free(cache);
}

void otlp_cache_begin(struct otlp_cache *cache, int64_t now_ms)
{
    if (!cache->is_full)
        return;
    if (cache->full_ms == 0)
        cache->full_ms = now_ms;
    if (now_ms - cache->full_ms < OTLP_CACHE_FULL_MS)
        return;
    clear(cache);
    init(cache, cache->seed);
}

static size_t slots_bytes(const struct slots *slots)
{
    return (size_t)(slots->mask + 1) * sizeof(struct slot);
}

size_t otlp_cache_bytes(const struct otlp_cache *cache)
{
    return sizeof(*cache) + cache->arena.block_bytes + cache->key.capacity_bytes +
           cache->text_capacity * sizeof(*cache->texts) + slots_bytes(&cache->text_slots) +
           cache->metric_capacity * sizeof(*cache->metrics) + cache->group_capacity * sizeof(*cache->groups) +
           slots_bytes(&cache->group_slots) + cache->series_capacity * sizeof(*cache->series) +
           slots_bytes(&cache->series_slots);
}

/* Room for one more. */
static void *grow(void *items, size_t count, size_t *capacity, size_t item_bytes)
{
    if (count < *capacity)
        return items;
    *capacity = *capacity ? *capacity + *capacity / 2 : 64;
    return ap_realloc(items, *capacity * item_bytes);
}

/* A copy; data NULL: there is no room. */
static struct ap_slice keep(struct otlp_cache *cache, struct ap_slice bytes)
{
    char *kept = cache->is_full ? NULL : ap_arena_try_alloc(&cache->arena, bytes.bytes + OTLP_CACHE_OVERRUN_BYTES);
    if (!kept) {
        cache->is_full = true;
        return (struct ap_slice){0};
    }
    if (bytes.bytes)
        memcpy(kept, bytes.data, bytes.bytes);
    return ap_slice(kept, bytes.bytes);
}

/* ---- Texts ---- */

static uint32_t tag_of(const struct otlp_cache *cache, struct ap_slice bytes)
{
    return (uint32_t)labels_hash_of(cache->seed, bytes).low;
}

static uint32_t find_text(const struct otlp_cache *cache, struct ap_slice text, uint32_t tag)
{
    const struct slots *slots = &cache->text_slots;
    for (uint64_t i = slots_first(slots, tag);; i = slots_next(slots, i)) {
        uint32_t number = slots->items[i].number;
        if (number == SLOT_EMPTY ||
            (slots->items[i].tag == tag && ap_slice_equal(otlp_cache_text_at(cache, number), text)))
            return number; /* SLOT_EMPTY is OTLP_CACHE_NONE */
    }
}
_Static_assert(SLOT_EMPTY == OTLP_CACHE_NONE, "the one is returned as the other");

uint32_t otlp_cache_text(struct otlp_cache *cache, struct ap_slice text)
{
    uint32_t tag = tag_of(cache, text);
    uint32_t number = find_text(cache, text, tag);
    if (number != OTLP_CACHE_NONE)
        return number;
    struct ap_slice kept = keep(cache, text);
    if (!kept.data)
        return OTLP_CACHE_NONE;
    cache->texts = grow(cache->texts, cache->text_count, &cache->text_capacity, sizeof(*cache->texts));
    number = (uint32_t)cache->text_count++;
    cache->texts[number] = (struct otlp_cached_text){kept.data, (uint32_t)kept.bytes, OTLP_CACHE_NONE};
    slots_add(&cache->text_slots, tag, number);
    return number;
}

/* ---- Metrics ---- */

static uint8_t kind_byte(const struct otlp_metric *metric)
{
    return (uint8_t)((unsigned)metric->kind << 1 | metric->is_monotonic);
}

/* A metric's key is its head and one byte of its kind. Without a head it is given the one that most senders write. */
static struct ap_slice make_key(struct otlp_cache *cache, const struct otlp_metric *metric)
{
    ap_buf_reset(&cache->key);
    if (metric->head.data) {
        ap_buf_add_slice(&cache->key, metric->head);
    } else {
        const struct ap_slice texts[] = {metric->name, metric->description, metric->unit};
        for (uint32_t i = 0; i < AP_ARRAY_COUNT(texts); i++)
            if (texts[i].bytes)
                protobuf_add_bytes(&cache->key, i + 1, texts[i]);
    }
    ap_buf_add_char(&cache->key, (char)kind_byte(metric));
    return ap_buf_slice(&cache->key);
}

/* Notes which one came behind the last. */
static uint32_t note_metric(struct otlp_cache *cache, uint32_t number)
{
    cache->metrics[cache->metric_last].next = number;
    cache->metric_last = number;
    return number;
}

uint32_t otlp_cache_find_metric(struct otlp_cache *cache, const struct otlp_metric *metric)
{
    if (cache->metric_count == 0)
        return OTLP_CACHE_NONE;
    uint32_t expected = cache->metrics[cache->metric_last].next;
    const struct otlp_metric *known = &cache->metrics[expected].metric;
    if (metric->head.data == known->head.data && kind_byte(metric) == kind_byte(known)) {
        cache->metric_last = expected;
        return expected;
    }
    struct ap_slice key = make_key(cache, metric);
    uint32_t text = find_text(cache, key, tag_of(cache, key));
    if (text == OTLP_CACHE_NONE || cache->texts[text].metric == OTLP_CACHE_NONE)
        return OTLP_CACHE_NONE;
    return note_metric(cache, cache->texts[text].metric);
}

/* Where its texts are in the head that was kept; the last of each counts, as in any message. */
static void read_head(struct otlp_metric *metric)
{
    struct protobuf_reader reader = protobuf_reader(metric->head);
    struct protobuf_field field;
    metric->name = metric->description = metric->unit = ap_slice("", 0);
    while (protobuf_next(&reader, &field)) {
        if (field.tag == PROTOBUF_TAG(1, PROTOBUF_BYTES))
            metric->name = field.bytes;
        else if (field.tag == PROTOBUF_TAG(2, PROTOBUF_BYTES))
            metric->description = field.bytes;
        else if (field.tag == PROTOBUF_TAG(3, PROTOBUF_BYTES))
            metric->unit = field.bytes;
    }
}

uint32_t otlp_cache_add_metric(struct otlp_cache *cache, const struct otlp_cached_metric *metric)
{
    struct otlp_cached_metric kept = *metric;
    cache->is_full = cache->is_full || cache->metric_count == OTLP_CACHE_METRICS_MAX;
    kept.name = keep(cache, metric->name);
    for (size_t i = 0; i < OTLP_CACHE_PARTS && !cache->is_full; i++)
        kept.parts[i] = keep(cache, metric->parts[i]);
    uint32_t text = cache->is_full ? OTLP_CACHE_NONE : otlp_cache_text(cache, make_key(cache, &metric->metric));
    if (text == OTLP_CACHE_NONE)
        return OTLP_CACHE_NONE;
    kept.metric.head = ap_slice(cache->texts[text].data, cache->texts[text].bytes - 1);
    read_head(&kept.metric);
    cache->metrics = grow(cache->metrics, cache->metric_count, &cache->metric_capacity, sizeof(*cache->metrics));
    uint32_t number = (uint32_t)cache->metric_count++;
    cache->metrics[number] = kept;
    cache->metrics[number].next = 0;
    cache->texts[text].metric = number;
    return note_metric(cache, number);
}

/* ---- Groups ---- */

/* Of two numbers as one key of a table. */
static uint32_t pair_tag(const struct otlp_cache *cache, uint32_t first, uint32_t second)
{
    const uint32_t numbers[] = {first, second};
    return tag_of(cache, ap_slice(numbers, sizeof(numbers)));
}

static bool is_group(const struct otlp_cached_group *group, uint32_t context, uint32_t metric)
{
    return group->context == context && group->metric == metric;
}

static uint32_t note_group(struct otlp_cache *cache, uint32_t number)
{
    cache->groups[cache->group_last].next = number;
    cache->group_last = number;
    return number;
}

static uint32_t add_group(struct otlp_cache *cache, uint32_t context, uint32_t metric, uint32_t tag)
{
    cache->is_full = cache->is_full || cache->group_count == OTLP_CACHE_SERIES_MAX;
    if (cache->is_full)
        return OTLP_CACHE_NONE;
    cache->groups = grow(cache->groups, cache->group_count, &cache->group_capacity, sizeof(*cache->groups));
    uint32_t number = (uint32_t)cache->group_count++;
    cache->groups[number] = (struct otlp_cached_group){.context = context, .metric = metric};
    slots_add(&cache->group_slots, tag, number);
    return note_group(cache, number);
}

uint32_t otlp_cache_group(struct otlp_cache *cache, uint32_t context, uint32_t metric)
{
    uint32_t expected = cache->group_count ? cache->groups[cache->group_last].next : OTLP_CACHE_NONE;
    if (expected != OTLP_CACHE_NONE && is_group(&cache->groups[expected], context, metric)) {
        cache->group_last = expected;
        return expected;
    }
    const struct slots *slots = &cache->group_slots;
    uint32_t tag = pair_tag(cache, context, metric);
    for (uint64_t i = slots_first(slots, tag); slots->items[i].number != SLOT_EMPTY; i = slots_next(slots, i))
        if (slots->items[i].tag == tag && is_group(&cache->groups[slots->items[i].number], context, metric))
            return note_group(cache, slots->items[i].number);
    return add_group(cache, context, metric, tag);
}

/* ---- Series ---- */

static uint32_t note_series(struct otlp_cache *cache, struct otlp_cached_group *group, uint32_t number)
{
    cache->series[group->last].next = number;
    group->last = number;
    return number;
}

static bool has_attributes(const struct otlp_cache *cache, uint32_t number, struct ap_slice attributes)
{
    return ap_slice_equal(otlp_cache_text_at(cache, cache->series[number].attributes), attributes);
}

/* One by one, from the expected one on. */
static uint32_t look_through(const struct otlp_cache *cache, uint32_t expected, struct ap_slice attributes)
{
    uint32_t number = expected;
    do {
        if (has_attributes(cache, number, attributes))
            return number;
        number = cache->series[number].sibling;
    } while (number != expected);
    return OTLP_CACHE_NONE;
}

static uint32_t look_up(const struct otlp_cache *cache, uint32_t group, struct ap_slice attributes)
{
    const struct slots *slots = &cache->series_slots;
    uint32_t text = find_text(cache, attributes, tag_of(cache, attributes));
    if (text == OTLP_CACHE_NONE)
        return OTLP_CACHE_NONE;
    uint32_t tag = pair_tag(cache, group, text);
    for (uint64_t i = slots_first(slots, tag); slots->items[i].number != SLOT_EMPTY; i = slots_next(slots, i)) {
        const struct otlp_cached_series *series = &cache->series[slots->items[i].number];
        if (slots->items[i].tag == tag && series->group == group && series->attributes == text)
            return slots->items[i].number;
    }
    return OTLP_CACHE_NONE;
}

bool otlp_cache_is_worth_asking(struct otlp_cache *cache, uint32_t group_number)
{
    struct otlp_cached_group *group = &cache->groups[group_number];
    if (group->missed < LOOK_UP_FIRST || group->count <= GROUP_LOOK_MAX)
        return true;
    group->missed = (group->missed + 1) % LOOK_UP_EVERY;
    return false;
}

uint32_t otlp_cache_find_series(struct otlp_cache *cache, uint32_t group_number, struct ap_slice attributes)
{
    struct otlp_cached_group *group = &cache->groups[group_number];
    if (group->count == 0)
        return OTLP_CACHE_NONE;
    uint32_t expected = cache->series[group->last].next;
    if (has_attributes(cache, expected, attributes)) {
        group->last = expected;
        group->missed = 0;
        return expected;
    }
    group->missed++;
    uint32_t found = group->count > GROUP_LOOK_MAX ? look_up(cache, group_number, attributes)
                                                   : look_through(cache, expected, attributes);
    return found == OTLP_CACHE_NONE ? OTLP_CACHE_NONE : note_series(cache, group, found);
}

void otlp_cache_add_series(struct otlp_cache *cache, uint32_t group_number, struct ap_slice attributes,
                           struct labels_hash hash)
{
    cache->is_full = cache->is_full || cache->series_count == OTLP_CACHE_SERIES_MAX;
    uint32_t text = cache->is_full ? OTLP_CACHE_NONE : otlp_cache_text(cache, attributes);
    if (text == OTLP_CACHE_NONE)
        return;
    cache->series = grow(cache->series, cache->series_count, &cache->series_capacity, sizeof(*cache->series));
    uint32_t number = (uint32_t)cache->series_count++;
    struct otlp_cached_group *group = &cache->groups[group_number];
    cache->series[number] = (struct otlp_cached_series){
        .hash = hash, .attributes = text, .group = group_number, .sibling = number, .next = number};
    if (group->count > 0) { /* between the last and what is expected */
        cache->series[number].sibling = cache->series[group->last].sibling;
        cache->series[number].next = cache->series[group->last].next;
        cache->series[group->last].sibling = cache->series[group->last].next = number;
    }
    group->last = number;
    group->count++;
    group->missed = 0;
    slots_add(&cache->series_slots, pair_tag(cache, group_number, text), number);
}
