/* Questions to the registry that postings answer: which series, which names and values, what there is most of. */
#include <string.h>

#include "base/mem.h"
#include "tsdb/registry_internal.h"

static int compare_texts(struct ap_slice a, struct ap_slice b)
{
    size_t bytes = AP_MIN(a.bytes, b.bytes);
    int order = bytes ? memcmp(a.data, b.data, bytes) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* ---- Series by matchers ---- */

static bool starts_with(struct ap_slice text, struct ap_slice prefix)
{
    return text.bytes >= prefix.bytes && (prefix.bytes == 0 || memcmp(text.data, prefix.data, prefix.bytes) == 0);
}

/* The one value other than "" that the matcher can want. */
static bool only_value(const struct matcher *matcher, struct ap_slice *ret_value)
{
    const struct ap_slice *values;
    size_t count;
    if (!matcher_values(matcher, &values, &count) || count != 1 || values[0].bytes == 0)
        return false;
    *ret_value = values[0];
    return true;
}

/* The pair that it wants; PAIR_NONE: there is no such pair, or it wants others too. */
static uint32_t only_pair(const struct registry *registry, const struct matcher *matcher)
{
    struct ap_slice value;
    if (!only_value(matcher, &value))
        return PAIR_NONE;
    uint32_t name = registry_find_name(registry, matcher_name(matcher));
    return name == PAIR_NONE ? PAIR_NONE : registry_find_pair(registry, name, value);
}

/* The postings of the only pair that the matcher can want; NULL: it is not of that kind. */
static const struct postings *only_postings(const struct registry *registry, const struct matcher *matcher)
{
    static const struct postings none;
    struct ap_slice value;
    if (!only_value(matcher, &value))
        return NULL;
    uint32_t pair = only_pair(registry, matcher);
    return pair == PAIR_NONE ? &none : &registry->pairs[pair].postings;
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
        for (size_t i = 0; i < value_count; i++) {
            uint32_t pair = registry_find_pair(registry, name, values[i]);
            if (pair != PAIR_NONE)
                postings_or_into(&registry->pairs[pair].postings, bitmap);
        }
        return bitmap;
    }
    struct ap_slice prefix = wanted ? matcher_prefix(matcher) : (struct ap_slice){0};
    const struct name *of = &registry->names[name];
    for (uint32_t i = 0; i < of->pair_count; i++) {
        const struct pair *pair = &registry->pairs[of->pairs[i]];
        if (pair->postings.count && starts_with(pair_value(pair), prefix) &&
            matcher_matches(matcher, pair_value(pair)) == wanted)
            postings_or_into(&pair->postings, bitmap);
    }
    return bitmap;
}

static struct ap_slice value_of(const struct registry *registry, uint32_t ref, uint32_t name)
{
    const uint32_t *list = registry_list(registry_entry(registry, ref));
    for (uint32_t i = 1; i <= list[0]; i++)
        if (registry->pairs[list[i]].name == name)
            return pair_value(&registry->pairs[list[i]]);
    return ap_slice("", 0);
}

/* Few series, many values: ask each series. */
static void narrow_by_series(const struct registry *registry, const struct matcher *matcher, uint32_t name,
                             roaring_bitmap_t *selected)
{
    size_t count = (size_t)roaring_bitmap_get_cardinality(selected);
    AP_AUTO_FREE uint32_t *refs = ap_new0_array(uint32_t, count + 1);
    roaring_bitmap_to_uint32_array(selected, refs);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (matcher_matches(matcher, value_of(registry, refs[i], name)))
            refs[kept++] = refs[i];
    roaring_bitmap_clear(selected);
    roaring_bitmap_add_many(selected, kept, refs);
}

/* A matcher that the empty value matches keeps all but those with a value that it does not match. */
static void narrow(const struct registry *registry, const struct matcher *matcher, roaring_bitmap_t *selected)
{
    bool matches_empty = matcher_matches_empty(matcher);
    uint32_t name = registry_find_name(registry, matcher_name(matcher));
    if (name != PAIR_NONE && registry->names[name].pair_count > roaring_bitmap_get_cardinality(selected)) {
        narrow_by_series(registry, matcher, name, selected);
        return;
    }
    roaring_bitmap_t *bitmap = having(registry, matcher, !matches_empty);
    if (matches_empty)
        roaring_bitmap_andnot_inplace(selected, bitmap);
    else
        roaring_bitmap_and_inplace(selected, bitmap);
    roaring_bitmap_free(bitmap);
}

/* `selected` may be NULL: everything so far. */
static roaring_bitmap_t *narrow_to(const struct postings *postings, roaring_bitmap_t *selected)
{
    if (selected) {
        postings_and_into(postings, selected);
        return selected;
    }
    selected = roaring_bitmap_create();
    postings_or_into(postings, selected);
    return selected;
}

/*
 * What is cheapest first: matchers of one value, from the one with the fewest series on, then those that need values to
 * be tried, then those that only take away.
 */
roaring_bitmap_t *registry_select(const struct registry *registry, const struct matchers *matchers)
{
    const struct postings *only[MATCHERS_MAX];
    size_t only_count = 0;
    bool is_done[MATCHERS_MAX];
    for (size_t i = 0; i < matchers->count; i++) {
        const struct postings *postings = only_postings(registry, matchers->items[i]);
        is_done[i] = postings != NULL;
        if (!postings)
            continue;
        size_t at = only_count++;
        for (; at > 0 && only[at - 1]->count > postings->count; at--)
            only[at] = only[at - 1];
        only[at] = postings;
    }
    roaring_bitmap_t *selected = NULL;
    for (size_t i = 0; i < only_count; i++)
        selected = narrow_to(only[i], selected);
    for (int takes_away = 0; takes_away <= 1; takes_away++) {
        for (size_t i = 0; i < matchers->count; i++) {
            if (is_done[i] || matcher_matches_empty(matchers->items[i]) != (bool)takes_away)
                continue;
            if (!selected && !takes_away)
                selected = having(registry, matchers->items[i], true);
            else
                narrow(registry, matchers->items[i],
                       selected ? selected : (selected = roaring_bitmap_copy(registry->live)));
        }
    }
    return selected ? selected : roaring_bitmap_copy(registry->live);
}

/* ---- The same again ---- */

uint64_t registry_change(const struct registry *registry)
{
    return registry->change;
}

/* Whatever comes and is wanted has all pairs that are named: one that has not changed says that nothing did. */
uint64_t registry_last_change(const struct registry *registry, const struct matchers *matchers)
{
    uint64_t last = UINT64_MAX;
    for (size_t i = 0; i < matchers->count; i++) {
        uint32_t pair = only_pair(registry, matchers->items[i]);
        if (pair != PAIR_NONE)
            last = AP_MIN(last, registry->pairs[pair].change);
    }
    return last;
}

/* ---- Order ---- */

/* As labels_compare(), of the pairs' numbers: what two series have in common is not looked at. */
static int compare_series(const void *a, const void *b, void *context)
{
    const struct registry *registry = context;
    const uint32_t *x = registry_list(registry_entry(registry, *(const uint32_t *)a));
    const uint32_t *y = registry_list(registry_entry(registry, *(const uint32_t *)b));
    uint32_t count = AP_MIN(x[0], y[0]), i = 1;
    while (i <= count && x[i] == y[i])
        i++;
    if (i > count)
        return (x[0] > y[0]) - (x[0] < y[0]);
    const struct pair *p = &registry->pairs[x[i]], *q = &registry->pairs[y[i]];
    if (p->name == q->name)
        return compare_texts(pair_value(p), pair_value(q));
    const struct name *m = &registry->names[p->name], *n = &registry->names[q->name];
    return compare_texts(ap_slice(m->text, m->bytes), ap_slice(n->text, n->bytes));
}

void registry_sort(const struct registry *registry, uint32_t *refs, size_t count)
{
    if (count)
        qsort_r(refs, count, sizeof(*refs), compare_series, (void *)(uintptr_t)registry);
}

/* ---- Names and values ---- */

/* A value's first bytes as a number decide most comparisons without reading the value. */
struct sorting {
    uint64_t key;
    uint32_t pair;
    struct ap_slice value;
};

static int compare_sorting(const void *a, const void *b)
{
    const struct sorting *x = a;
    const struct sorting *y = b;
    return x->key != y->key ? (x->key > y->key) - (x->key < y->key) : compare_texts(x->value, y->value);
}

static uint64_t sorting_key(struct ap_slice value)
{
    uint64_t key = 0;
    memcpy(&key, value.data, AP_MIN(value.bytes, sizeof(key)));
    return __builtin_bswap64(key);
}

/* Brings name->sorted up to date: what is new is sorted and merged in. */
static void sort_values(const struct registry *registry, struct name *name)
{
    uint32_t new_count = name->pair_count - name->unsorted_from;
    if (new_count == 0)
        return;
    AP_AUTO_FREE struct sorting *fresh = ap_new0_array(struct sorting, new_count);
    for (uint32_t i = 0; i < new_count; i++) {
        uint32_t pair = name->pairs[name->unsorted_from + i];
        struct ap_slice value = pair_value(&registry->pairs[pair]);
        fresh[i] = (struct sorting){sorting_key(value), pair, value};
    }
    qsort(fresh, new_count, sizeof(*fresh), compare_sorting);
    uint32_t *merged = ap_realloc(NULL, name->pair_count * sizeof(uint32_t));
    uint32_t from = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < new_count; i++) {
        while (from < name->sorted_count &&
               compare_texts(pair_value(&registry->pairs[name->sorted[from]]), fresh[i].value) < 0)
            merged[count++] = name->sorted[from++];
        merged[count++] = fresh[i].pair;
    }
    while (from < name->sorted_count)
        merged[count++] = name->sorted[from++];
    free(name->sorted);
    name->sorted = merged;
    name->sorted_count = count;
    name->unsorted_from = name->pair_count;
}

/* A copy, so that `each` runs without the mutex. */
static uint32_t *sorted_pairs(const struct registry *registry, uint32_t number, uint32_t *ret_count)
{
    pthread_mutex_t *mtx = (pthread_mutex_t *)(uintptr_t)&registry->sorted_mtx; /* a cache; nothing that callers see */
    struct name *name = &registry->names[number];
    pthread_mutex_lock(mtx);
    sort_values(registry, name);
    uint32_t *copy = ap_new0_array(uint32_t, name->sorted_count + 1);
    if (name->sorted_count)
        memcpy(copy, name->sorted, name->sorted_count * sizeof(uint32_t));
    *ret_count = name->sorted_count;
    pthread_mutex_unlock(mtx);
    return copy;
}

static void each_value(const struct registry *registry, struct ap_slice text, const roaring_bitmap_t *refs,
                       registry_text_fn each, void *context)
{
    uint32_t number = registry_find_name(registry, text);
    if (number == PAIR_NONE)
        return;
    uint32_t count;
    AP_AUTO_FREE uint32_t *pairs = sorted_pairs(registry, number, &count);
    for (uint32_t i = 0; i < count; i++) {
        const struct pair *pair = &registry->pairs[pairs[i]];
        uint64_t series_count = refs ? postings_meet_count(&pair->postings, refs) : pair->postings.count;
        if (series_count && !each(pair_value(pair), series_count, context))
            return;
    }
}

struct name_entry {
    struct ap_slice text;
    uint64_t series_count;
};

static int compare_name_entries(const void *a, const void *b)
{
    return compare_texts(((const struct name_entry *)a)->text, ((const struct name_entry *)b)->text);
}

/* How many of the series have each name: asking the series or the pairs, whichever are fewer. */
static void count_names_of(const struct registry *registry, const roaring_bitmap_t *refs, uint64_t *counts)
{
    if (roaring_bitmap_get_cardinality(refs) > registry->pair_count) {
        for (uint32_t i = 0; i < registry->pair_count; i++)
            counts[registry->pairs[i].name] += postings_meet_count(&registry->pairs[i].postings, refs);
        return;
    }
    roaring_uint32_iterator_t iterator;
    roaring_init_iterator(refs, &iterator);
    for (; iterator.has_value; roaring_advance_uint32_iterator(&iterator)) {
        if (!registry_has(registry, iterator.current_value))
            continue;
        const uint32_t *list = registry_entry(registry, iterator.current_value)->pairs;
        for (uint32_t i = 1; i <= list[0]; i++)
            counts[registry->pairs[list[i]].name]++;
    }
}

static void each_name(const struct registry *registry, const roaring_bitmap_t *refs, registry_text_fn each,
                      void *context)
{
    AP_AUTO_FREE struct name_entry *entries = ap_new0_array(struct name_entry, registry->name_count + 1);
    AP_AUTO_FREE uint64_t *counts = ap_new0_array(uint64_t, registry->name_count + 1);
    if (refs)
        count_names_of(registry, refs, counts);
    size_t count = 0;
    for (uint32_t i = 0; i < registry->name_count; i++) {
        const struct name *name = &registry->names[i];
        uint64_t series_count = refs ? counts[i] : name->series_count;
        if (series_count)
            entries[count++] = (struct name_entry){ap_slice(name->text, name->bytes), series_count};
    }
    qsort(entries, count, sizeof(*entries), compare_name_entries);
    for (size_t i = 0; i < count; i++)
        if (!each(entries[i].text, entries[i].series_count, context))
            return;
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
    };
    uint64_t pair_bytes = registry->texts.block_bytes +
                          (registry->pair_slots.mask + registry->name_slots.mask + 2) * sizeof(struct slot) +
                          registry->pair_capacity * sizeof(struct pair) +
                          registry->name_capacity * sizeof(struct name) +
                          registry->free_pairs.capacity * sizeof(uint32_t);
    uint64_t bytes = sizeof(*registry) + registry->lists.block_bytes +
                     (registry->slots.mask + 1) * sizeof(struct slot) +
                     registry->page_capacity * sizeof(*registry->pages) +
                     registry->page_count * SERIES_PER_PAGE * sizeof(struct series_entry) +
                     roaring_bitmap_portable_size_in_bytes(registry->live);
    const struct refs *lists[] = {&registry->removed, &registry->unsaved, &registry->unsaved_removed,
                                  &registry->file_pairs};
    for (size_t i = 0; i < AP_ARRAY_COUNT(lists); i++)
        bytes += lists[i]->capacity * sizeof(uint32_t);
    for (uint32_t i = 0; i < registry->pair_count; i++) {
        ret_stats->pair_count += registry->pairs[i].postings.count > 0;
        bytes += postings_memory_bytes(&registry->pairs[i].postings);
    }
    for (uint32_t i = 0; i < registry->name_count; i++) {
        ret_stats->name_count += registry->names[i].series_count > 0;
        pair_bytes += registry->names[i].pair_capacity * sizeof(uint32_t);
    }
    bytes += pair_bytes;
    ret_stats->pair_memory_bytes = pair_bytes;
    ret_stats->memory_bytes = bytes;
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
