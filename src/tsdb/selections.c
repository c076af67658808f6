#include "tsdb/selections.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/buf.h"

enum {
    ROWS = 16384, /* a power of two */
    WAYS = 4,     /* places in a row: a key has its row, and there the place that was not used for longest */
    OWN_REFS = 16 /* what an entry takes beside its refs, in refs */
};

struct selections {
    size_t refs_max;
    pthread_mutex_t mtx;
    /* All under mtx. */
    struct selection *entries[ROWS][WAYS]; /* a reference each, or NULL */
    size_t ref_count;                      /* OWN_REFS included */
    uint64_t now;                          /* counts questions */
    uint64_t swept;                        /* `now` when the hand last began; what was not used since has to go first */
    uint64_t sweep_began;
    size_t hand; /* the row that gives way next */
};

struct selections *selections_new(size_t refs_max)
{
    struct selections *selections = ap_new0(struct selections);
    selections->refs_max = refs_max;
    pthread_mutex_init(&selections->mtx, NULL);
    return selections;
}

void selection_unref(struct selection *selection)
{
    if (selection && __atomic_sub_fetch(&selection->holder_count, 1, __ATOMIC_ACQ_REL) == 0)
        free(selection);
}

static struct selection *ref(struct selection *selection)
{
    __atomic_add_fetch(&selection->holder_count, 1, __ATOMIC_RELAXED);
    return selection;
}

void selections_free(struct selections *selections)
{
    if (!selections)
        return;
    for (size_t row = 0; row < ROWS; row++)
        for (size_t way = 0; way < WAYS; way++)
            selection_unref(selections->entries[row][way]);
    pthread_mutex_destroy(&selections->mtx);
    free(selections);
}

/* ---- Keeping ---- */

static void drop_locked(struct selections *selections, struct selection **entry)
{
    if (*entry)
        selections->ref_count -= (*entry)->count + OWN_REFS;
    selection_unref(*entry);
    *entry = NULL;
}

/* Row by row, what was not used since the round before began; in a second round everything is older than that. */
static void make_room_locked(struct selections *selections)
{
    while (selections->ref_count > selections->refs_max) {
        for (size_t way = 0; way < WAYS; way++) {
            struct selection **entry = &selections->entries[selections->hand][way];
            if (*entry && (*entry)->used <= selections->swept)
                drop_locked(selections, entry);
        }
        if (++selections->hand == ROWS) {
            selections->hand = 0;
            selections->swept = selections->sweep_began;
            selections->sweep_began = selections->now;
        }
    }
}

static struct selection *find_locked(struct selections *selections, struct labels_hash key, uint64_t last_change)
{
    struct selection **row = selections->entries[key.low % ROWS];
    for (size_t way = 0; way < WAYS; way++)
        if (row[way] && labels_hash_equal(row[way]->key, key) && row[way]->change >= last_change) {
            row[way]->used = ++selections->now;
            return ref(row[way]);
        }
    return NULL;
}

static void keep_locked(struct selections *selections, struct selection *selection)
{
    struct selection **row = selections->entries[selection->key.low % ROWS], **place = &row[0];
    for (size_t way = 0; way < WAYS; way++) {
        if (row[way] && labels_hash_equal(row[way]->key, selection->key)) { /* out of date */
            place = &row[way];
            break;
        }
        if (*place && (!row[way] || row[way]->used < (*place)->used))
            place = &row[way];
    }
    drop_locked(selections, place);
    selection->used = ++selections->now;
    *place = ref(selection);
    selections->ref_count += selection->count + OWN_REFS;
    make_room_locked(selections);
}

/* ---- Making ---- */

static void add_text(struct ap_buf *out, struct ap_slice text)
{
    ap_buf_add_varint(out, text.bytes);
    ap_buf_add_slice(out, text);
}

static struct labels_hash key_of(const struct registry *registry, const struct matchers *matchers)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    for (size_t i = 0; i < matchers->count; i++) {
        ap_buf_add_char(&text, (char)matcher_kind_of(matchers->items[i]));
        add_text(&text, matcher_name(matchers->items[i]));
        add_text(&text, matcher_value(matchers->items[i]));
    }
    return labels_hash_of(registry_seed(registry), ap_buf_slice(&text));
}

static struct selection *make(const struct registry *registry, const struct matchers *matchers, struct labels_hash key)
{
    roaring_bitmap_t *bitmap = registry_select(registry, matchers);
    size_t count = (size_t)roaring_bitmap_get_cardinality(bitmap);
    struct selection *selection = ap_realloc(NULL, sizeof(*selection) + count * sizeof(uint32_t));
    *selection = (struct selection){
        .holder_count = 1, .count = (uint32_t)count, .key = key, .change = registry_change(registry)};
    roaring_bitmap_to_uint32_array(bitmap, selection->refs);
    roaring_bitmap_free(bitmap);
    registry_sort(registry, selection->refs, count);
    return selection;
}

struct selection *selections_get(struct selections *selections, const struct registry *registry,
                                 const struct matchers *matchers)
{
    struct labels_hash key = key_of(registry, matchers);
    uint64_t last_change = registry_last_change(registry, matchers);
    pthread_mutex_lock(&selections->mtx);
    struct selection *selection = find_locked(selections, key, last_change);
    pthread_mutex_unlock(&selections->mtx);
    if (selection)
        return selection;
    selection = make(registry, matchers, key);
    if (last_change == UINT64_MAX || selection->count > selections->refs_max / 8)
        return selection;
    pthread_mutex_lock(&selections->mtx);
    keep_locked(selections, selection);
    pthread_mutex_unlock(&selections->mtx);
    return selection;
}

size_t selections_refs(struct selections *selections)
{
    size_t count = 0;
    pthread_mutex_lock(&selections->mtx);
    for (size_t row = 0; row < ROWS; row++)
        for (size_t way = 0; way < WAYS; way++)
            count += selections->entries[row][way] ? selections->entries[row][way]->count : 0;
    pthread_mutex_unlock(&selections->mtx);
    return count;
}
