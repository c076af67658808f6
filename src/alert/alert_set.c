#include "alert/alert_set.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { SLOTS_FIRST = 64 };

void alert_set_init(struct alert_set *set, uint64_t seed)
{
    *set = (struct alert_set){.seed = seed};
}

static void free_texts(struct known_alert *alert)
{
    free((void *)alert->alert.labels.data);
    free((void *)alert->alert.annotations.data);
    free((void *)alert->alert.generator_url.data);
    free(alert->groups);
}

void alert_set_clear(struct alert_set *set)
{
    for (size_t i = 0; i < set->slot_count; i++)
        if (set->slots[i]) {
            free_texts(set->slots[i]);
            free(set->slots[i]);
        }
    free(set->slots);
    *set = (struct alert_set){.seed = set->seed};
}

/* Where it is, or the empty place where it would be. */
static size_t find_slot(const struct alert_set *set, struct labels_hash hash)
{
    size_t at = (size_t)hash.low & (set->slot_count - 1);
    while (set->slots[at] && !labels_hash_equal(set->slots[at]->hash, hash))
        at = (at + 1) & (set->slot_count - 1);
    return at;
}

struct known_alert *alert_set_find(const struct alert_set *set, struct labels_hash hash)
{
    return set->slot_count ? set->slots[find_slot(set, hash)] : NULL;
}

static void grow(struct alert_set *set)
{
    struct alert_set bigger = {.seed = set->seed, .slot_count = AP_MAX(set->slot_count * 2, (size_t)SLOTS_FIRST)};
    bigger.slots = ap_new0_array(struct known_alert *, bigger.slot_count);
    for (size_t i = 0; i < set->slot_count; i++)
        if (set->slots[i])
            bigger.slots[find_slot(&bigger, set->slots[i]->hash)] = set->slots[i];
    free(set->slots);
    set->slots = bigger.slots;
    set->slot_count = bigger.slot_count;
}

static struct ap_slice copy(struct ap_slice text)
{
    return ap_slice(ap_slice_dup(text), text.bytes);
}

static struct known_alert *add(struct alert_set *set, struct labels_hash hash, const struct alert_in *in)
{
    if ((set->count + 1) * 2 > set->slot_count)
        grow(set);
    struct known_alert *alert = ap_new0(struct known_alert);
    alert->hash = hash;
    alert->alert = *in;
    alert->alert.labels = copy(in->labels);
    alert->alert.annotations = copy(in->annotations);
    alert->alert.generator_url = copy(in->generator_url);
    set->slots[find_slot(set, hash)] = alert;
    set->count++;
    return alert;
}

static void take_text(struct ap_slice *own, struct ap_slice text)
{
    if (ap_slice_equal(*own, text))
        return;
    free((void *)own->data);
    *own = copy(text);
}

/* provider/mem and types.Alert.Merge of Alertmanager: the later one is right, unless the one before says more of it. */
static void merge(struct known_alert *known, const struct alert_in *in, bool is_timeout, int64_t now_ms)
{
    struct alert_in *old = &known->alert;
    bool is_overlapping = (in->ends_ms > old->starts_ms && in->ends_ms < old->ends_ms) ||
                          (in->starts_ms > old->starts_ms && in->starts_ms < old->ends_ms);
    int64_t starts_ms = in->starts_ms, ends_ms = in->ends_ms;
    if (is_overlapping) {
        starts_ms = AP_MIN(starts_ms, old->starts_ms);
        bool is_resolved = in->ends_ms <= now_ms;
        bool is_old_end_right = is_resolved ? old->ends_ms <= now_ms : !known->is_timeout;
        if (is_old_end_right && old->ends_ms > ends_ms)
            ends_ms = old->ends_ms;
    }
    old->starts_ms = starts_ms;
    old->ends_ms = ends_ms;
    known->is_timeout = is_timeout;
    known->updated_ms = now_ms;
    take_text(&old->annotations, in->annotations);
    take_text(&old->generator_url, in->generator_url);
}

struct known_alert *alert_set_put(struct alert_set *set, const struct alert_in *in, int64_t now_ms,
                                  int64_t resolve_timeout_ms, uint64_t max)
{
    struct alert_in whole = *in;
    bool is_timeout = in->ends_ms == 0;
    if (whole.starts_ms == 0)
        whole.starts_ms = is_timeout ? now_ms : whole.ends_ms;
    if (is_timeout)
        whole.ends_ms = now_ms + resolve_timeout_ms;
    struct labels_hash hash = labels_hash_of(set->seed, in->labels);
    struct known_alert *known = alert_set_find(set, hash);
    if (known) {
        merge(known, &whole, is_timeout, now_ms);
        return known;
    }
    if (set->count >= max)
        return NULL;
    known = add(set, hash, &whole);
    known->is_timeout = is_timeout;
    known->updated_ms = now_ms;
    return known;
}

struct known_alert *alert_set_restore(struct alert_set *set, const struct alert_in *in, int64_t updated_ms,
                                      bool is_timeout)
{
    struct labels_hash hash = labels_hash_of(set->seed, in->labels);
    struct known_alert *known = alert_set_find(set, hash);
    if (!known)
        known = add(set, hash, in);
    known->alert.starts_ms = in->starts_ms;
    known->alert.ends_ms = in->ends_ms;
    take_text(&known->alert.annotations, in->annotations);
    take_text(&known->alert.generator_url, in->generator_url);
    known->updated_ms = updated_ms;
    known->is_timeout = is_timeout;
    return known;
}

void alert_set_remove(struct alert_set *set, struct known_alert *alert)
{
    AP_ASSERT(alert->group_count == 0);
    size_t at = find_slot(set, alert->hash);
    AP_ASSERT(set->slots[at] == alert);
    set->slots[at] = NULL;
    set->count--;
    /* Those behind it may have been displaced by it: they find their places anew. */
    for (size_t next = (at + 1) & (set->slot_count - 1); set->slots[next]; next = (next + 1) & (set->slot_count - 1)) {
        struct known_alert *moved = set->slots[next];
        set->slots[next] = NULL;
        set->slots[find_slot(set, moved->hash)] = moved;
    }
    free_texts(alert);
    free(alert);
}

uint64_t alert_fingerprint(struct ap_slice labels)
{
    const uint64_t prime = UINT64_C(1099511628211);
    uint64_t hash = UINT64_C(14695981039346656037);
    struct label label;
    while (labels_next(&labels, &label)) {
        const struct ap_slice parts[] = {label.name, label.value};
        for (size_t p = 0; p < AP_ARRAY_COUNT(parts); p++) {
            for (size_t i = 0; i < parts[p].bytes; i++)
                hash = (hash ^ (uint8_t)parts[p].data[i]) * prime;
            hash = (hash ^ 255) * prime; /* a byte that UTF-8 has not */
        }
    }
    return hash;
}

static int compare_alerts(const void *a, const void *b)
{
    return labels_compare((*(struct known_alert *const *)a)->alert.labels,
                          (*(struct known_alert *const *)b)->alert.labels);
}

struct known_alert **alert_set_sorted(const struct alert_set *set)
{
    struct known_alert **sorted = ap_new0_array(struct known_alert *, set->count + 1);
    size_t count = 0;
    for (size_t i = 0; i < set->slot_count; i++)
        if (set->slots[i])
            sorted[count++] = set->slots[i];
    qsort(sorted, count, sizeof(struct known_alert *), compare_alerts);
    return sorted;
}
