#include "tsdb/postings.h"

#include <string.h>

#include "base/mem.h"

/* Arrays grow by powers of two, from 4. A bitmap stays one: its count is above the array's maximum or was. */
static bool is_bitmap(const struct postings *postings)
{
    return postings->one == UINT32_MAX && postings->count > 0;
}

static uint32_t capacity_for(uint32_t count)
{
    uint32_t capacity = 4;
    while (capacity < count)
        capacity *= 2;
    return capacity;
}

void postings_clear(struct postings *postings)
{
    if (is_bitmap(postings))
        roaring_bitmap_free(postings->bitmap);
    else if (postings->count > 1)
        free(postings->array);
    *postings = (struct postings){0};
}

static void become_array(struct postings *postings)
{
    uint32_t one = postings->one;
    postings->array = ap_realloc(NULL, capacity_for(2) * sizeof(uint32_t));
    postings->array[0] = one;
    postings->one = 0;
}

static void become_bitmap(struct postings *postings)
{
    uint32_t *array = postings->array;
    postings->bitmap = roaring_bitmap_of_ptr(postings->count, array);
    postings->one = UINT32_MAX;
    free(array);
}

void postings_add(struct postings *postings, uint32_t ref)
{
    if (postings->count == 0) {
        postings->one = ref;
        postings->count = 1;
        return;
    }
    if (is_bitmap(postings)) {
        roaring_bitmap_add(postings->bitmap, ref);
        postings->count++;
        return;
    }
    if (postings->count == 1)
        become_array(postings);
    if (postings->count == POSTINGS_ARRAY_MAX) {
        become_bitmap(postings);
        roaring_bitmap_add(postings->bitmap, ref);
        postings->count++;
        return;
    }
    if (postings->count == capacity_for(postings->count))
        postings->array = ap_realloc(postings->array, capacity_for(postings->count + 1) * sizeof(uint32_t));
    uint32_t at = postings->count;
    while (at > 0 && postings->array[at - 1] > ref)
        at--;
    memmove(&postings->array[at + 1], &postings->array[at], (postings->count - at) * sizeof(uint32_t));
    postings->array[at] = ref;
    postings->count++;
}

/* Neighbours are added as one range, which costs no more than one of them. */
void postings_add_to_bitmap(roaring_bitmap_t *bitmap, const uint32_t *refs, size_t count)
{
    if (count == 0)
        return;
    size_t runs = 1;
    for (size_t i = 1; i < count; i++)
        runs += refs[i] != refs[i - 1] + 1;
    if (runs > count / 8) {
        roaring_bitmap_add_many(bitmap, count, refs);
        return;
    }
    for (size_t start = 0; start < count;) {
        size_t end = start + 1;
        while (end < count && refs[end] == refs[end - 1] + 1)
            end++;
        roaring_bitmap_add_range_closed(bitmap, refs[start], refs[end - 1]);
        start = end;
    }
}

void postings_add_many(struct postings *postings, const uint32_t *refs, size_t count)
{
    if (count <= 4 || (!is_bitmap(postings) && postings->count + count <= POSTINGS_ARRAY_MAX && postings->count)) {
        for (size_t i = 0; i < count; i++)
            postings_add(postings, refs[i]);
        return;
    }
    if (postings->count == 0 && count <= POSTINGS_ARRAY_MAX) {
        postings->array = ap_realloc(NULL, capacity_for((uint32_t)count) * sizeof(uint32_t));
        memcpy(postings->array, refs, count * sizeof(uint32_t));
        postings->count = (uint32_t)count;
        postings->one = 0;
        return;
    }
    if (!is_bitmap(postings)) {
        roaring_bitmap_t *bitmap = roaring_bitmap_create();
        postings_or_into(postings, bitmap);
        uint32_t before = postings->count;
        postings_clear(postings);
        *postings = (struct postings){.count = before, .one = UINT32_MAX, .bitmap = bitmap};
    }
    postings_add_to_bitmap(postings->bitmap, refs, count);
    postings->count += (uint32_t)count;
}

void postings_remove(struct postings *postings, uint32_t ref)
{
    if (is_bitmap(postings)) {
        if (postings->count == 1) {
            postings_clear(postings);
            return;
        }
        roaring_bitmap_remove(postings->bitmap, ref);
        postings->count--;
        return;
    }
    if (postings->count <= 1) {
        postings_clear(postings);
        return;
    }
    uint32_t at = 0;
    while (postings->array[at] != ref)
        at++;
    postings->count--;
    memmove(&postings->array[at], &postings->array[at + 1], (postings->count - at) * sizeof(uint32_t));
    if (postings->count == 1) {
        uint32_t one = postings->array[0];
        free(postings->array);
        postings->array = NULL;
        postings->one = one;
    }
}

void postings_or_into(const struct postings *postings, roaring_bitmap_t *bitmap)
{
    if (is_bitmap(postings))
        roaring_bitmap_or_inplace(bitmap, postings->bitmap);
    else if (postings->count == 1)
        roaring_bitmap_add(bitmap, postings->one);
    else if (postings->count > 1)
        roaring_bitmap_add_many(bitmap, postings->count, postings->array);
}

bool postings_has(const struct postings *postings, uint32_t ref)
{
    if (is_bitmap(postings))
        return roaring_bitmap_contains(postings->bitmap, ref);
    if (postings->count == 1)
        return postings->one == ref;
    for (uint32_t i = 0; i < postings->count; i++)
        if (postings->array[i] == ref)
            return true;
    return false;
}

void postings_and_into(const struct postings *postings, roaring_bitmap_t *bitmap)
{
    if (is_bitmap(postings)) {
        roaring_bitmap_and_inplace(bitmap, postings->bitmap);
        return;
    }
    uint32_t kept[POSTINGS_ARRAY_MAX];
    size_t kept_count = 0;
    const uint32_t *refs = postings->count == 1 ? &postings->one : postings->array;
    for (uint32_t i = 0; i < postings->count; i++)
        if (roaring_bitmap_contains(bitmap, refs[i]))
            kept[kept_count++] = refs[i];
    roaring_bitmap_clear(bitmap);
    roaring_bitmap_add_many(bitmap, kept_count, kept);
}

uint64_t postings_meet_count(const struct postings *postings, const roaring_bitmap_t *bitmap)
{
    if (is_bitmap(postings))
        return roaring_bitmap_and_cardinality(postings->bitmap, bitmap);
    const uint32_t *refs = postings->count == 1 ? &postings->one : postings->array;
    uint64_t count = 0;
    for (uint32_t i = 0; i < postings->count; i++)
        count += roaring_bitmap_contains(bitmap, refs[i]);
    return count;
}

bool postings_meet(const struct postings *postings, const roaring_bitmap_t *bitmap)
{
    if (is_bitmap(postings))
        return roaring_bitmap_intersect(postings->bitmap, bitmap);
    if (postings->count == 1)
        return roaring_bitmap_contains(bitmap, postings->one);
    for (uint32_t i = 0; i < postings->count; i++)
        if (roaring_bitmap_contains(bitmap, postings->array[i]))
            return true;
    return false;
}

uint64_t postings_memory_bytes(const struct postings *postings)
{
    if (is_bitmap(postings))
        return roaring_bitmap_portable_size_in_bytes(postings->bitmap) + 64;
    return postings->count > 1 ? capacity_for(postings->count) * sizeof(uint32_t) : 0;
}
