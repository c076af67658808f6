#include "ingest/user_id.h"

#include <sodium.h>
#include <string.h>

enum { HASH_BYTES = 16 };

void user_id_hash(struct ap_slice user_id, const uint8_t key[USER_ID_HASH_KEY_BYTES],
                  char ret_text[USER_ID_HASH_TEXT_BYTES])
{
    uint8_t hash[HASH_BYTES];
    crypto_generichash(hash, sizeof(hash), (const uint8_t *)user_id.data, user_id.bytes, key, USER_ID_HASH_KEY_BYTES);
    memcpy(ret_text, "u_", 2);
    sodium_bin2hex(ret_text + 2, USER_ID_HASH_TEXT_BYTES - 2, hash, sizeof(hash));
}
