/* Questions to the registry that postings answer: which series, which names and values, what there is most of. */
#include <string.h>

#include "base/mem.h"
#include "tsdb/registry_internal.h"

/* ---- Series by matchers ---- */

static void or_pair(const struct registry *registry, uint32_t name, struct ap_slice value, roaring_bitmap_t *bitmap)
{
    uint32_t pair = registry_find_pair(registry, name, value);
    if (pair != PAIR_NONE)
        postings_or_into(&registry->pairs[pair].postings, bitmap);
}

static bool starts_with(struct ap_slice text, struct ap_slice prefix)
{
    return text.bytes >= prefix.bytes && memcmp(text.data, prefix.data, prefix.bytes) == 0;
}

/* Series that have the label, with a value for which `wanted` is what the matcher says. */
static roaring_bitmap_t *having(const struct registry *registry, const struct matcher *matcher, bool wanted)
{
    roaring_bitmap_t *bitmap = roaring_bitmap_create();
    uint32_t name = registry_find_name(registry, matcher_name(matcher));
    if (name == PAIR_NONE)
        return bitmap;
    const struct ap_slice *values;
    size_t value_count;
    if (wanted && matcher_values(matcher, &values, &value_count)) {
        for (size_t i = 0; i < value_count; i++)
            if (matcher_matches(matcher, values[i]))
                or_pair(registry, name, values[i], bitmap);
        return bitmap;
    }
    struct ap_slice prefix = wanted ? matcher_prefix(matcher) : (struct ap_slice){0};
    const struct name *of = &registry->names[name];
    for (uint32_t i = 0; i < of->pair_count; i++) {
        const struct pair *pair = &registry->pairs[of->pairs[i]];
        struct ap_slice value = ap_slice(pair->value, pair->value_bytes);
        if (pair->postings.count && (!prefix.bytes || starts_with(value, prefix)) &&
            matcher_matches(matcher, value) == wanted)
            postings_or_into(&pair->postings, bitmap);
    }
    return bitmap;
}

/* A matcher that the empty value matches keeps all but those with a value that it does not match. */
roaring_bitmap_t *registry_select(const struct registry *registry, const struct matchers *matchers)
{
    roaring_bitmap_t *selected = NULL;
    for (size_t i = 0; i < matchers->count; i++) {
        if (matcher_matches_empty(matchers->items[i]))
            continue;
        roaring_bitmap_t *bitmap = having(registry, matchers->items[i], true);
        if (selected) {
            roaring_bitmap_and_inplace(selected, bitmap);
            roaring_bitmap_free(bitmap);
        } else {
            selected = bitmap;
        }
    }
    if (!selected)
        selected = roaring_bitmap_copy(registry->live);
    for (size_t i = 0; i < matchers->count && !roaring_bitmap_is_empty(selected); i++) {
        if (!matcher_matches_empty(matchers->items[i]))
            continue;
        roaring_bitmap_t *bitmap = having(registry, matchers->items[i], false);
        roaring_bitmap_andnot_inplace(selected, bitmap);
        roaring_bitmap_free(bitmap);
    }
    return selected;
}

/* ---- Names and values ---- */

struct entry {
    struct ap_slice text;
    uint64_t series_count;
};

static int compare_entries(const void *a, const void *b)
{
    const struct ap_slice *x = &((const struct entry *)a)->text;
    const struct ap_slice *y = &((const struct entry *)b)->text;
    int order = memcmp(x->data, y->data, AP_MIN(x->bytes, y->bytes));
    return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static void emit(struct entry *entries, size_t count, registry_text_fn each, void *context)
{
    if (count)
        qsort(entries, count, sizeof(*entries), compare_entries);
    for (size_t i = 0; i < count; i++)
        if (!each(entries[i].text, entries[i].series_count, context))
            return;
}

static bool name_is_in(const struct registry *registry, const struct name *name, const roaring_bitmap_t *refs)
{
    for (uint32_t i = 0; i < name->pair_count; i++)
        if (postings_meet(&registry->pairs[name->pairs[i]].postings, refs))
            return true;
    return false;
}

static void each_name(const struct registry *registry, const roaring_bitmap_t *refs, registry_text_fn each,
                      void *context)
{
    AP_AUTO_FREE struct entry *entries = ap_new0_array(struct entry, registry->name_count + 1);
    size_t count = 0;
    for (uint32_t i = 0; i < registry->name_count; i++) {
        const struct name *name = &registry->names[i];
        if (name->series_count && (!refs || name_is_in(registry, name, refs)))
            entries[count++] = (struct entry){ap_slice(name->text, name->bytes), name->series_count};
    }
    emit(entries, count, each, context);
}

static void each_value(const struct registry *registry, struct ap_slice text, const roaring_bitmap_t *refs,
                       registry_text_fn each, void *context)
{
    uint32_t number = registry_find_name(registry, text);
    if (number == PAIR_NONE)
        return;
    const struct name *name = &registry->names[number];
    AP_AUTO_FREE struct entry *entries = ap_new0_array(struct entry, name->pair_count + 1);
    size_t count = 0;
    for (uint32_t i = 0; i < name->pair_count; i++) {
        const struct pair *pair = &registry->pairs[name->pairs[i]];
        if (pair->postings.count && (!refs || postings_meet(&pair->postings, refs)))
            entries[count++] = (struct entry){ap_slice(pair->value, pair->value_bytes), pair->postings.count};
    }
    emit(entries, count, each, context);
}

void registry_each_name(const struct registry *registry, registry_text_fn each, void *context)
{
    each_name(registry, NULL, each, context);
}

void registry_each_value(const struct registry *registry, struct ap_slice name, registry_text_fn each, void *context)
{
    each_value(registry, name, NULL, each, context);
}

void registry_each_name_of(const struct registry *registry, const roaring_bitmap_t *refs, registry_text_fn each,
                           void *context)
{
    each_name(registry, refs, each, context);
}

void registry_each_value_of(const struct registry *registry, struct ap_slice name, const roaring_bitmap_t *refs,
                            registry_text_fn each, void *context)
{
    each_value(registry, name, refs, each, context);
}

/* ---- Figures ---- */

void registry_stats_get(const struct registry *registry, struct registry_stats *ret_stats)
{
    *ret_stats = (struct registry_stats){
        .series_count = registry_count(registry),
        .created_count = registry->created_count,
        .removed_count = registry->removed_count,
        .memory_bytes = registry->texts.used_bytes + registry->pair_lists.used_bytes +
                        (registry->slot_mask + 1) * sizeof(struct slot) +
                        (registry->pair_slot_mask + 1) * sizeof(uint32_t) +
                        registry->pair_capacity * sizeof(struct pair) +
                        (uint64_t)registry_ref_end(registry) * sizeof(struct series_entry),
    };
    for (uint32_t i = 0; i < registry->pair_count; i++)
        ret_stats->pair_count += registry->pairs[i].postings.count > 0;
    for (uint32_t i = 0; i < registry->name_count; i++)
        ret_stats->name_count += registry->names[i].series_count > 0;
}

/* Keeps the largest `max`, largest first. */
static void top_add(struct registry_top *top, size_t max, size_t *count, const struct registry_top *entry)
{
    size_t at = *count;
    while (at > 0 && top[at - 1].count < entry->count)
        at--;
    if (at >= max)
        return;
    *count = AP_MIN(*count + 1, max);
    memmove(&top[at + 1], &top[at], (*count - at - 1) * sizeof(*top));
    top[at] = *entry;
}

static size_t top_names(const struct registry *registry, bool is_by_bytes, struct registry_top *top, size_t max)
{
    size_t count = 0;
    for (uint32_t i = 0; i < registry->name_count; i++) {
        const struct name *name = &registry->names[i];
        struct registry_top entry = {.name = ap_slice(name->text, name->bytes)};
        for (uint32_t j = 0; j < name->pair_count; j++) {
            const struct pair *pair = &registry->pairs[name->pairs[j]];
            if (pair->postings.count)
                entry.count += is_by_bytes ? pair->value_bytes : 1;
        }
        if (entry.count)
            top_add(top, max, &count, &entry);
    }
    return count;
}

static size_t top_pairs(const struct registry *registry, uint32_t only_name, struct registry_top *top, size_t max)
{
    size_t count = 0;
    for (uint32_t i = 0; i < registry->pair_count; i++) {
        const struct pair *pair = &registry->pairs[i];
        if (pair->postings.count == 0 || (only_name != PAIR_NONE && pair->name != only_name))
            continue;
        struct ap_slice value = ap_slice(pair->value, pair->value_bytes);
        const struct name *name = &registry->names[pair->name];
        struct registry_top entry = {.name = only_name != PAIR_NONE ? value : ap_slice(name->text, name->bytes),
                                     .value = value,
                                     .count = pair->postings.count};
        top_add(top, max, &count, &entry);
    }
    return count;
}

size_t registry_top(const struct registry *registry, enum registry_top_kind kind, struct registry_top *ret_top,
                    size_t max)
{
    if (max == 0)
        return 0;
    if (kind == REGISTRY_TOP_LABEL_NAMES || kind == REGISTRY_TOP_LABEL_BYTES)
        return top_names(registry, kind == REGISTRY_TOP_LABEL_BYTES, ret_top, max);
    if (kind == REGISTRY_TOP_PAIRS)
        return top_pairs(registry, PAIR_NONE, ret_top, max);
    uint32_t metric = registry_find_name(registry, ap_slice_cstr(LABEL_METRIC_NAME));
    return metric == PAIR_NONE ? 0 : top_pairs(registry, metric, ret_top, max);
}
