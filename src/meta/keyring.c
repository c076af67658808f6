#include "meta/keyring.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "meta/meta.h"

enum {
    KEYRING_POLL_MS = 1000,
    KEYRING_NOTE_USED_MS = 60 * 1000, /* how often times of use are written back */
    KEYRING_USED_STEP_MS = 1000,      /* finer steps would only make threads fight for the field */
    KEYRING_SLOTS_MIN = 64,
};

struct keyring_item {
    struct keyring_entry entry;
    struct keyring_item *next; /* newest first */
    int64_t written_used_ms;   /* what the database has */
    bool is_listed;            /* while reloading */
};

/*
 * Open addressing by the first bytes of the hash. Slots go from empty to filled and never back, a larger table replaces
 * a full one, and old tables are freed with the keyring: so readers need no lock, and all old tables together are
 * smaller than the current one.
 */
struct keyring_table {
    struct keyring_table *previous;
    size_t slot_count; /* a power of two, at least twice the entries */
    size_t used_count;
    struct keyring_entry *slots[]; /* atomic */
};

struct keyring {
    /* Constant. */
    const struct ap_clock *clock;
    pthread_t thread;
    /* Any thread, atomic. */
    struct keyring_table *table;
    struct keyring_item *items;
    /* Any thread, under mtx. */
    pthread_mutex_t mtx;
    pthread_cond_t stop_cond;
    bool is_stopping;
    struct meta *meta;
    int64_t next_note_us;
    struct ap_err last_err; /* rc AP_OK: none */
};

static size_t slot_of(const struct keyring_table *table, const uint8_t hash[KEY_HASH_BYTES])
{
    size_t first;
    memcpy(&first, hash, sizeof(first));
    return first & (table->slot_count - 1);
}

static struct keyring_table *table_new(size_t slot_count)
{
    struct keyring_table *table = ap_alloc0(1, sizeof(*table) + slot_count * sizeof(table->slots[0]));
    table->slot_count = slot_count;
    return table;
}

static void table_insert(struct keyring_table *table, struct keyring_entry *entry)
{
    size_t slot = slot_of(table, entry->hash);
    while (table->slots[slot])
        slot = (slot + 1) & (table->slot_count - 1);
    __atomic_store_n(&table->slots[slot], entry, __ATOMIC_RELEASE);
    table->used_count++;
}

/* Comparing needs no constant time: what an attacker could learn byte by byte is a hash. */
static struct keyring_entry *table_find(const struct keyring_table *table, const uint8_t hash[KEY_HASH_BYTES])
{
    struct keyring_entry *entry;
    size_t slot = slot_of(table, hash);
    while ((entry = __atomic_load_n(&table->slots[slot], __ATOMIC_ACQUIRE)) != NULL) {
        if (memcmp(entry->hash, hash, KEY_HASH_BYTES) == 0)
            return entry;
        slot = (slot + 1) & (table->slot_count - 1);
    }
    return NULL;
}

static struct keyring_entry *add_entry_locked(struct keyring *keyring, const struct key_info *info)
{
    struct keyring_item *item = ap_new0(struct keyring_item);
    item->entry = (struct keyring_entry){
        .id = info->id,
        .kind = info->kind,
        .name = ap_strdup(info->name),
        .origins = ap_strdup(info->origins),
        .rows_per_second = info->rows_per_second,
        .rows_burst = info->rows_burst ? info->rows_burst : info->rows_per_second * KEY_BURST_SECONDS_DEFAULT,
        .is_revoked = info->revoked_ms != 0,
        .last_used_ms = info->last_used_ms,
    };
    memcpy(item->entry.hash, info->hash, KEY_HASH_BYTES);
    item->written_used_ms = info->last_used_ms;
    item->next = keyring->items;
    __atomic_store_n(&keyring->items, item, __ATOMIC_RELEASE);

    struct keyring_table *table = keyring->table;
    if ((table->used_count + 1) * 2 > table->slot_count) {
        struct keyring_table *larger = table_new(table->slot_count * 2);
        larger->previous = table;
        for (struct keyring_item *each = item->next; each; each = each->next)
            table_insert(larger, &each->entry);
        table_insert(larger, &item->entry);
        __atomic_store_n(&keyring->table, larger, __ATOMIC_RELEASE);
    } else {
        table_insert(table, &item->entry);
    }
    return &item->entry;
}

static enum ap_rc reload_locked(struct keyring *keyring, struct ap_err *err)
{
    AP_AUTO_KEY_LIST struct key_list list = {0};
    enum ap_rc rc = key_list(keyring->meta, &list, err);
    if (rc != AP_OK)
        return rc;
    for (struct keyring_item *item = keyring->items; item; item = item->next)
        item->is_listed = false;
    for (size_t i = 0; i < list.count; i++) {
        struct keyring_entry *entry = table_find(keyring->table, list.items[i].hash);
        if (!entry)
            entry = add_entry_locked(keyring, &list.items[i]);
        __atomic_store_n(&entry->is_revoked, list.items[i].revoked_ms != 0, __ATOMIC_RELAXED);
        AP_CONTAINER_OF(entry, struct keyring_item, entry)->is_listed = true;
    }
    /* A key that somebody deleted with other tools is as good as revoked. */
    for (struct keyring_item *item = keyring->items; item; item = item->next)
        if (!item->is_listed)
            __atomic_store_n(&item->entry.is_revoked, true, __ATOMIC_RELAXED);
    return AP_OK;
}

static enum ap_rc note_used_locked(struct keyring *keyring, struct ap_err *err)
{
    for (struct keyring_item *item = keyring->items; item; item = item->next) {
        int64_t used_ms = __atomic_load_n(&item->entry.last_used_ms, __ATOMIC_RELAXED);
        if (used_ms == item->written_used_ms)
            continue;
        enum ap_rc rc = key_note_used(keyring->meta, item->entry.id, used_ms, err);
        if (rc != AP_OK)
            return rc;
        item->written_used_ms = used_ms;
    }
    return AP_OK;
}

static enum ap_rc poll_locked(struct keyring *keyring, struct ap_err *err)
{
    bool has_changed;
    enum ap_rc rc = meta_has_changed(keyring->meta, &has_changed, err);
    if (rc == AP_OK && has_changed)
        rc = reload_locked(keyring, err);
    int64_t now_us = ap_clock_monotonic_us(&ap_clock_system);
    if (rc != AP_OK || now_us < keyring->next_note_us)
        return rc;
    keyring->next_note_us = now_us + KEYRING_NOTE_USED_MS * AP_US_PER_MS;
    return note_used_locked(keyring, err);
}

static void *run(void *context)
{
    struct keyring *keyring = context;
    pthread_mutex_lock(&keyring->mtx);
    while (!keyring->is_stopping) {
        struct timespec wake_at;
        clock_gettime(CLOCK_MONOTONIC, &wake_at);
        wake_at.tv_sec += KEYRING_POLL_MS / 1000;
        pthread_cond_timedwait(&keyring->stop_cond, &keyring->mtx, &wake_at);
        if (poll_locked(keyring, &keyring->last_err) == AP_OK)
            keyring->last_err.rc = AP_OK;
    }
    /* When this fails nobody is left to be told: some times of last use stay up to a minute old. */
    enum ap_rc ignored = note_used_locked(keyring, NULL);
    (void)ignored;
    pthread_mutex_unlock(&keyring->mtx);
    return NULL;
}

enum ap_rc keyring_open(const char *path, const struct ap_clock *clock, struct keyring **ret_keyring,
                        struct ap_err *err)
{
    AP_AUTO(meta) struct meta *meta = NULL;
    enum ap_rc rc = meta_open(path, &meta, err);
    if (rc != AP_OK)
        return rc;
    struct keyring *keyring = ap_new0(struct keyring);
    keyring->clock = clock;
    keyring->meta = AP_MOVE(meta);
    keyring->table = table_new(KEYRING_SLOTS_MIN);
    keyring->next_note_us = ap_clock_monotonic_us(&ap_clock_system) + KEYRING_NOTE_USED_MS * AP_US_PER_MS;
    pthread_mutex_init(&keyring->mtx, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&keyring->stop_cond, &attributes);
    pthread_condattr_destroy(&attributes);

    rc = reload_locked(keyring, err); /* nobody else knows it yet */
    int failed = rc == AP_OK ? pthread_create(&keyring->thread, NULL, run, keyring) : 0;
    if (failed)
        rc = ap_fail_errno(err, failed, "start the keyring's thread");
    if (rc != AP_OK) {
        keyring->is_stopping = true; /* there is no thread to join */
        keyring_close(keyring);
        return rc;
    }
    *ret_keyring = keyring;
    return AP_OK;
}

void keyring_close(struct keyring *keyring)
{
    if (!keyring)
        return;
    pthread_mutex_lock(&keyring->mtx);
    bool has_thread = !keyring->is_stopping;
    keyring->is_stopping = true;
    pthread_cond_signal(&keyring->stop_cond);
    pthread_mutex_unlock(&keyring->mtx);
    if (has_thread)
        pthread_join(keyring->thread, NULL);
    while (keyring->items) {
        struct keyring_item *item = keyring->items;
        keyring->items = item->next;
        free((char *)item->entry.name);
        free((char *)item->entry.origins);
        free(item);
    }
    while (keyring->table) {
        struct keyring_table *table = keyring->table;
        keyring->table = table->previous;
        free(table);
    }
    meta_close(keyring->meta);
    pthread_cond_destroy(&keyring->stop_cond);
    pthread_mutex_destroy(&keyring->mtx);
    free(keyring);
}

enum ap_rc keyring_refresh(struct keyring *keyring, struct ap_err *err)
{
    pthread_mutex_lock(&keyring->mtx);
    enum ap_rc rc = reload_locked(keyring, err);
    if (rc == AP_OK)
        rc = note_used_locked(keyring, err);
    pthread_mutex_unlock(&keyring->mtx);
    return rc;
}

bool keyring_last_error(struct keyring *keyring, struct ap_err *ret_err)
{
    pthread_mutex_lock(&keyring->mtx);
    bool is_there = keyring->last_err.rc != AP_OK;
    if (is_there)
        *ret_err = keyring->last_err;
    pthread_mutex_unlock(&keyring->mtx);
    return is_there;
}

enum ap_rc keyring_find(struct keyring *keyring, struct ap_slice token, struct keyring_entry **ret_entry,
                        struct ap_err *err)
{
    if (token.bytes == 0 || token.bytes >= KEY_TOKEN_BYTES_MAX)
        return ap_fail(err, AP_E_AUTH, "this is not a key; keys begin with apk_ (see `apiary key create`)");
    uint8_t hash[KEY_HASH_BYTES];
    key_token_hash(token, hash);
    struct keyring_entry *entry = table_find(__atomic_load_n(&keyring->table, __ATOMIC_ACQUIRE), hash);
    if (!entry && !key_token_is_well_formed(token))
        return ap_fail(err, AP_E_AUTH, "this key is mistyped or cut off: its checksum does not fit");
    if (!entry)
        return ap_fail(err, AP_E_AUTH, "this key is not known here; `apiary key list` shows the ones that are");
    if (__atomic_load_n(&entry->is_revoked, __ATOMIC_RELAXED))
        return ap_fail(err, AP_E_AUTH, "this key (number %lld) was revoked; make a new one by `apiary key create`",
                       (long long)entry->id);
    int64_t now_ms = ap_clock_wall_us(keyring->clock) / AP_US_PER_MS;
    if (now_ms - __atomic_load_n(&entry->last_used_ms, __ATOMIC_RELAXED) >= KEYRING_USED_STEP_MS)
        __atomic_store_n(&entry->last_used_ms, now_ms, __ATOMIC_RELAXED);
    *ret_entry = entry;
    return AP_OK;
}

/*
 * The bucket is kept as one number, the time when it will be full again ("generic cell rate algorithm"): each row moves
 * that by 1/rate into the future, and the bucket is empty when it is a whole burst ahead.
 */
#define NS_PER_S INT64_C(1000000000)

static int64_t burst_ns(const struct keyring_entry *entry)
{
    return (int64_t)entry->rows_burst * NS_PER_S / entry->rows_per_second;
}

enum ap_rc keyring_entry_admit(struct keyring_entry *entry, int64_t now_us, int64_t *ret_retry_after_ms,
                               struct ap_err *err)
{
    if (entry->rows_per_second == 0)
        return AP_OK;
    int64_t ahead_ns = __atomic_load_n(&entry->paid_until_ns, __ATOMIC_RELAXED) - now_us * 1000;
    int64_t excess_ns = ahead_ns - burst_ns(entry);
    if (excess_ns < 0)
        return AP_OK;
    __atomic_fetch_add(&entry->refused_count, 1, __ATOMIC_RELAXED);
    *ret_retry_after_ms = (excess_ns + NS_PER_S / entry->rows_per_second) / 1000000 + 1;
    return ap_fail(err, AP_E_BUSY, "this key may send %u rows a second; wait %lld ms", entry->rows_per_second,
                   (long long)*ret_retry_after_ms);
}

void keyring_entry_charge(struct keyring_entry *entry, int64_t now_us, uint64_t rows_count)
{
    __atomic_fetch_add(&entry->rows_count, rows_count, __ATOMIC_RELAXED);
    if (entry->rows_per_second == 0)
        return;
    int64_t cost_ns = (int64_t)(rows_count * (uint64_t)NS_PER_S / entry->rows_per_second);
    int64_t was_ns = __atomic_load_n(&entry->paid_until_ns, __ATOMIC_RELAXED);
    int64_t will_be_ns;
    do {
        will_be_ns = AP_MAX(was_ns, now_us * 1000) + cost_ns;
    } while (!__atomic_compare_exchange_n(&entry->paid_until_ns, &was_ns, will_be_ns, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
}

void keyring_each(struct keyring *keyring, void (*visit)(void *context, const struct keyring_entry *entry),
                  void *context)
{
    const struct keyring_item *item = __atomic_load_n(&keyring->items, __ATOMIC_ACQUIRE);
    for (; item; item = item->next)
        visit(context, &item->entry);
}
