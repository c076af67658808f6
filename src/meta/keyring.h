/*
 * meta/keyring.h - the keys in memory, asked on every request
 *
 * Look-ups take no lock. A thread of the keyring looks once a second whether another process changed the keys
 * (`apiary key revoke` while the server runs) and writes back when keys were last used.
 * Entries live as long as the keyring: a request may keep the pointer; a revoked key stays and says so.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "meta/keys.h"

struct keyring;

struct keyring_entry {
    /* Constant. */
    int64_t id;
    enum key_kind kind;
    const char *name;    /* owned by the keyring */
    const char *origins; /* owned by the keyring; separated by spaces; empty: all */
    uint32_t rows_per_second;
    uint32_t rows_burst;
    uint8_t hash[KEY_HASH_BYTES];
    /* Any thread, atomic. */
    bool is_revoked;
    int64_t last_used_ms;
    int64_t paid_until_ns;  /* monotonic: by then the bucket is full again */
    uint64_t rows_count;    /* charged since the start */
    uint64_t refused_count; /* requests refused by rate */
};

/* `path` is that of meta_open(); the keyring opens a connection of its own. `clock` is lent. */
ap_nodiscard enum ap_rc keyring_open(const char *path, const struct ap_clock *clock, struct keyring **ret_keyring,
                                     struct ap_err *err);
void keyring_close(struct keyring *keyring); /* NULL is allowed */
AP_DEFINE_AUTO(keyring, struct keyring, keyring_close)

/* Reads the keys again at once, for SIGHUP and for tests. Callable from any thread. */
ap_nodiscard enum ap_rc keyring_refresh(struct keyring *keyring, struct ap_err *err);

/*
 * The key of `token`. AP_E_AUTH with a sentence for the client when it is mistyped, unknown or revoked. Any thread.
 */
ap_nodiscard enum ap_rc keyring_find(struct keyring *keyring, struct ap_slice token, struct keyring_entry **ret_entry,
                                     struct ap_err *err);

/*
 * The rate limit is a bucket of `rows_burst` rows that fills at `rows_per_second`. A request is admitted while the
 * bucket is not empty, before its body is decoded, and pays its rows afterwards: one large batch may leave the bucket
 * in debt, and the key then waits until that is paid off. `now_us` is monotonic. AP_E_BUSY sets *ret_retry_after_ms.
 * Any thread.
 */
ap_nodiscard enum ap_rc keyring_entry_admit(struct keyring_entry *entry, int64_t now_us, int64_t *ret_retry_after_ms,
                                            struct ap_err *err);
void keyring_entry_charge(struct keyring_entry *entry, int64_t now_us, uint64_t rows_count);

/*
 * The last failure of the keyring's own thread (disk full, file locked for long), which goes on with the keys that it
 * has. False when the latest round went well.
 */
bool keyring_last_error(struct keyring *keyring, struct ap_err *ret_err);

/* For every key, in no order; for metrics and lists. Any thread. */
void keyring_each(struct keyring *keyring, void (*visit)(void *context, const struct keyring_entry *entry),
                  void *context);
