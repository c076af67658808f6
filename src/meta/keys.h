/*
 * meta/keys.h - access keys as they are kept: made, listed, revoked
 *
 * A key's token is shown once, when it is made; only its hash is kept. A token reads
 *
 *     apk_pub_ 7k2m…(32 characters, 160 random bits) …x9q4(4 characters, checksum)
 *
 * so that a scanner for leaked secrets can find it and a mistyped one is told apart from an unknown one. Letters and
 * digits are Crockford's base 32: no i, l, o, u.
 * For the check on every request see meta/keyring.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "meta/meta.h"

enum key_kind {
    KEY_KIND_PUBLIC, /* writes only; may be shipped in browsers and binaries */
    KEY_KIND_SECRET, /* writes, from servers: may date back and give client addresses */
    KEY_KIND_VIEWER, /* reads */
    /* Reads, and does what is done while something is wrong: changes alerts and silences, beats heart-beats, sends test
     * messages. Administers nothing, and sees no settings. */
    KEY_KIND_OPERATOR,
    KEY_KIND_COUNT
};

/* "public", "secret", "viewer", "operator". */
const char *key_kind_name(enum key_kind kind);
bool key_kind_parse(const char *text, enum key_kind *ret_kind);

enum {
    KEY_TOKEN_BYTES_MAX = 64, /* with the final NUL */
    KEY_HASH_BYTES = 32,
    KEY_NAME_BYTES_MAX = 100,
    KEY_ORIGINS_BYTES_MAX = 1000,
    KEY_ROWS_PER_SECOND_MAX = 10 * 1000 * 1000,
    KEY_BURST_SECONDS_DEFAULT = 10,
};

struct key_options {
    enum key_kind kind;
    const char *name;         /* what it is for; shown in lists; not empty */
    uint32_t rows_per_second; /* 0: no limit */
    uint32_t rows_burst;      /* rows that may come at once; 0: KEY_BURST_SECONDS_DEFAULT's worth */
    const char *origins;      /* web origins that may use it, separated by spaces; NULL or empty: all */
};

struct key_info {
    int64_t id;
    enum key_kind kind;
    char *name;    /* owned */
    char *origins; /* owned; empty: all */
    char *hint;    /* owned; "apk_pub_7k2m…": enough to tell keys apart, too little to use one */
    uint32_t rows_per_second;
    uint32_t rows_burst;
    int64_t created_ms;
    int64_t last_used_ms; /* 0: never. Written once a minute at most. */
    int64_t revoked_ms;   /* 0: valid */
    uint8_t hash[KEY_HASH_BYTES];
};

/* Bad names and origins are AP_E_PARSE or AP_E_LIMIT. The token cannot be had again. */
ap_nodiscard enum ap_rc key_create(struct meta *meta, const struct ap_clock *clock, const struct key_options *options,
                                   int64_t *ret_id, char ret_token[KEY_TOKEN_BYTES_MAX], struct ap_err *err);

/* All keys, revoked ones too, oldest first. key_list_clear() it. */
struct key_list {
    struct key_info *items; /* owned */
    size_t count;
};
ap_nodiscard enum ap_rc key_list(struct meta *meta, struct key_list *ret_list, struct ap_err *err);
void key_list_clear(struct key_list *list);
#define AP_AUTO_KEY_LIST AP_CLEANUP(key_list_clear)

/* AP_E_NOT_FOUND when there is none, AP_E_CONFLICT when it is revoked already. */
ap_nodiscard enum ap_rc key_revoke(struct meta *meta, const struct ap_clock *clock, int64_t id, struct ap_err *err);

/* Notes when a key was last used; keeps the later of the two times. */
ap_nodiscard enum ap_rc key_note_used(struct meta *meta, int64_t id, int64_t used_ms, struct ap_err *err);

/* What is kept of a token. BLAKE2b without a salt is enough: a token is 160 random bits, nobody tries them all. */
void key_token_hash(struct ap_slice token, uint8_t ret_hash[KEY_HASH_BYTES]);

/* False when the token cannot be one of ours: wrong form or a checksum that does not fit (a typing error). */
bool key_token_is_well_formed(struct ap_slice token);
