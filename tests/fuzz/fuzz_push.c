/*
 * The first byte chooses: the rest of an address, a body as text or messages, the series of a family as they are kept.
 * Whatever comes: families are sound and sorted, and what was encoded is read back the same.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "ingest/push_body.h"
#include "ingest/push_groups.h"
#include "ingest/push_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEED = 7 };

static void check_family(const struct push_family *family)
{
    struct ap_err err;
    for (size_t i = 0; i < family->count; i++) {
        const struct push_series *series = &family->series[i];
        AP_ASSERT(labels_check(push_series_labels(family, series), &err) == AP_OK);
        AP_ASSERT(push_family_find(family, series->hash));
    }
    AP_AUTO_BUF struct ap_buf bytes = {0};
    push_family_encode(family, &bytes);
    AP_AUTO(push_family) struct push_family *again = push_family_new(push_family_name(family), family->type);
    AP_ASSERT(push_family_decode(again, SEED, ap_buf_slice(&bytes), &err) == AP_OK && again->count == family->count);
}

static void check_body(struct ap_slice body, const struct push_key *key, bool is_protobuf)
{
    struct push_body_options options = {
        .key = key, .hash_seed = SEED, .bytes_max = 1 << 20, .is_protobuf = is_protobuf};
    struct push_families families;
    struct push_groups groups = {0};
    struct ap_err err = {0};
    enum ap_rc rc = push_body_read(&options, body, &families, &err);
    if (rc != AP_OK) {
        AP_ASSERT((rc == AP_E_PARSE || rc == AP_E_LIMIT) && err.text[0]);
        return;
    }
    for (size_t i = 0; i < families.count; i++)
        check_family(families.items[i]);
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct label copies[PUSH_KEY_LABELS_MAX];
    memcpy(copies, key->labels, key->count * sizeof(copies[0]));
    AP_ASSERT(labels_encode(copies, key->count, &labels, &err) == AP_OK);
    rc = push_groups_check(&groups, ap_buf_slice(&labels), &families, true, &err);
    AP_ASSERT(rc == AP_OK || rc == AP_E_CONFLICT);
    push_families_clear(&families);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct ap_slice input = ap_slice(data + 1, size - 1);
    struct push_key key;
    struct ap_err err = {0};
    if (data[0] % 4 == 3) {
        AP_AUTO(push_family) struct push_family *family = push_family_new(ap_slice_cstr("m"), METADATA_GAUGE);
        if (push_family_decode(family, SEED, input, &err) == AP_OK)
            check_family(family);
        return 0;
    }
    bool is_key = data[0] % 4 == 0;
    enum ap_rc rc = push_key_read(is_key ? input : ap_slice_cstr("/j/x/1"), data[0] & 4, &key, &err);
    if (rc != AP_OK) {
        AP_ASSERT(err.text[0]);
        return 0;
    }
    AP_ASSERT(push_key_find(&key, ap_slice_cstr("job"))->value.bytes > 0);
    if (!is_key)
        check_body(input, &key, data[0] % 4 == 2);
    push_key_clear(&key);
    return 0;
}
