/*
 * ingest/user_id.h - a keyed hash in place of a user's id
 *
 * With `privacy.hash_user_ids` rows never hold the id that the client sent, only a hash that cannot be computed or
 * tried out without this installation's secret. The same id gives the same hash, so users can still be counted and
 * followed.
 */
#pragma once

#include <stdint.h>

#include "base/slice.h"

enum { USER_ID_HASH_TEXT_BYTES = 35, USER_ID_HASH_KEY_BYTES = 32 };

/* "u_" and 32 hexadecimal digits (128 bits of keyed BLAKE2b), with a final NUL. */
void user_id_hash(struct ap_slice user_id, const uint8_t key[USER_ID_HASH_KEY_BYTES],
                  char ret_text[USER_ID_HASH_TEXT_BYTES]);
