/* Series of a block by matchers: the same as registry_select.c, over the index file. */
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "tsdb/block_internal.h"

static int compare_bytes(struct ap_slice a, struct ap_slice b)
{
    size_t bytes = AP_MIN(a.bytes, b.bytes);
    int order = bytes ? memcmp(a.data, b.data, bytes) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static struct ap_slice value_of(const struct block *block, const struct index_pair *pair)
{
    return block_text(block, pair->text_offset, pair->text_bytes);
}

/* The first of the name's pairs whose value is not below `value`. */
static uint32_t first_from(const struct block *block, const struct index_name *name, struct ap_slice value)
{
    uint32_t low = 0;
    uint32_t high = name->pair_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct index_pair pair = block_pair(block, name->first_pair + middle);
        if (compare_bytes(value_of(block, &pair), value) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool starts_with(struct ap_slice text, struct ap_slice prefix)
{
    return text.bytes >= prefix.bytes && (prefix.bytes == 0 || memcmp(text.data, prefix.data, prefix.bytes) == 0);
}

static bool or_values(const struct block *block, const struct index_name *name, const struct matcher *matcher,
                      const struct ap_slice *values, size_t count, roaring_bitmap_t *bitmap)
{
    bool is_sound = true;
    for (size_t i = 0; i < count && is_sound; i++) {
        uint32_t at = first_from(block, name, values[i]);
        struct index_pair pair = block_pair(block, name->first_pair + at);
        if (at < name->pair_count && ap_slice_equal(value_of(block, &pair), values[i]) &&
            matcher_matches(matcher, values[i]))
            is_sound = block_postings_or(block, &pair, bitmap);
    }
    return is_sound;
}

static bool or_scanned(const struct block *block, const struct index_name *name, const struct matcher *matcher,
                       bool wanted, roaring_bitmap_t *bitmap)
{
    struct ap_slice prefix = wanted ? matcher_prefix(matcher) : (struct ap_slice){0};
    for (uint32_t i = prefix.bytes ? first_from(block, name, prefix) : 0; i < name->pair_count; i++) {
        struct index_pair pair = block_pair(block, name->first_pair + i);
        struct ap_slice value = value_of(block, &pair);
        if (!starts_with(value, prefix))
            break; /* values are in order: nothing further has it */
        if (matcher_matches(matcher, value) == wanted && !block_postings_or(block, &pair, bitmap))
            return false;
    }
    return true;
}

/* Series that have the label, with a value for which `wanted` is what the matcher says. NULL: the index is malformed.
 */
static roaring_bitmap_t *having(const struct block *block, const struct matcher *matcher, bool wanted)
{
    roaring_bitmap_t *bitmap = roaring_bitmap_create();
    uint32_t number = block_find_name(block, matcher_name(matcher));
    if (number == UINT32_MAX)
        return bitmap;
    struct index_name name = block_name(block, number);
    const struct ap_slice *values;
    size_t count;
    bool is_sound = wanted && matcher_values(matcher, &values, &count)
                        ? or_values(block, &name, matcher, values, count, bitmap)
                        : or_scanned(block, &name, matcher, wanted, bitmap);
    if (is_sound)
        return bitmap;
    roaring_bitmap_free(bitmap);
    return NULL;
}

static bool narrow(const struct block *block, const struct matcher *matcher, roaring_bitmap_t *selected)
{
    bool matches_empty = matcher_matches_empty(matcher);
    roaring_bitmap_t *bitmap = having(block, matcher, !matches_empty);
    if (!bitmap)
        return false;
    if (matches_empty)
        roaring_bitmap_andnot_inplace(selected, bitmap);
    else
        roaring_bitmap_and_inplace(selected, bitmap);
    roaring_bitmap_free(bitmap);
    return true;
}

enum ap_rc block_select(const struct block *block, const struct matchers *matchers, uint32_t **ret_series,
                        size_t *ret_count, struct ap_err *err)
{
    roaring_bitmap_t *selected = roaring_bitmap_create();
    roaring_bitmap_add_range(selected, 0, block->series_count);
    bool is_sound = true;
    for (size_t i = 0; i < matchers->count && is_sound && !roaring_bitmap_is_empty(selected); i++)
        is_sound = narrow(block, matchers->items[i], selected);
    if (is_sound) {
        size_t count = (size_t)roaring_bitmap_get_cardinality(selected);
        *ret_series = ap_new0_array(uint32_t, count + 1);
        roaring_bitmap_to_uint32_array(selected, *ret_series);
        *ret_count = count;
    }
    roaring_bitmap_free(selected);
    return is_sound ? AP_OK : ap_fail(err, AP_E_CORRUPT, "blocks/%s/index: postings make no sense", block->meta.id);
}
