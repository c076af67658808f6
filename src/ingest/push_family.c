#include "ingest/push_family.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/bits.h"
#include "codec/protobuf.h"
#include "tsdb/histogram.h"

enum { BLOB_MEMORY_MAX = 64 << 20 };

struct push_family *push_family_new(struct ap_slice name, enum metadata_type type)
{
    struct push_family *family = ap_new0(struct push_family);
    family->name_hash = push_name_hash(name);
    family->type = type;
    family->name_bytes = (uint32_t)name.bytes;
    ap_buf_add_slice(&family->text, name);
    return family;
}

void push_family_free(struct push_family *family)
{
    if (!family)
        return;
    ap_buf_clear(&family->text);
    free(family->series);
    free(family);
}

uint64_t push_name_hash(struct ap_slice name)
{
    return labels_hash_of(0, name).low;
}

struct ap_slice push_family_name(const struct push_family *family)
{
    return ap_slice(family->text.data, family->name_bytes);
}

struct ap_slice push_family_help(const struct push_family *family)
{
    return ap_slice(family->text.data + family->help_at, family->help_bytes);
}

struct ap_slice push_series_labels(const struct push_family *family, const struct push_series *series)
{
    return ap_slice(family->text.data + series->labels_at, series->labels_bytes);
}

struct ap_slice push_series_blob(const struct push_family *family, const struct push_series *series)
{
    return ap_slice(family->text.data + series->blob_at, series->blob_bytes);
}

void push_family_set_help(struct push_family *family, struct ap_slice help)
{
    family->help_at = (uint32_t)family->text.bytes;
    family->help_bytes = (uint32_t)help.bytes;
    ap_buf_add_slice(&family->text, help);
}

void push_family_add(struct push_family *family, uint64_t hash_seed, struct ap_slice labels, double value,
                     struct ap_slice blob)
{
    if (family->count == family->capacity) {
        family->capacity = family->capacity ? family->capacity * 2 : 4;
        family->series = ap_realloc(family->series, family->capacity * sizeof(*family->series));
    }
    family->series[family->count++] = (struct push_series){
        .hash = labels_hash_of(hash_seed, labels),
        .value = value,
        .labels_at = (uint32_t)family->text.bytes,
        .labels_bytes = (uint32_t)labels.bytes,
        .blob_at = (uint32_t)(family->text.bytes + labels.bytes),
        .blob_bytes = (uint32_t)blob.bytes,
    };
    ap_buf_add_slice(&family->text, labels);
    ap_buf_add_slice(&family->text, blob);
}

static int compare_hashes(struct labels_hash a, struct labels_hash b)
{
    if (a.low != b.low)
        return a.low < b.low ? -1 : 1;
    return a.high < b.high ? -1 : a.high > b.high;
}

static int compare_series(const void *a, const void *b)
{
    return compare_hashes(((const struct push_series *)a)->hash, ((const struct push_series *)b)->hash);
}

void push_family_complete(struct push_family *family)
{
    if (family->count)
        qsort(family->series, family->count, sizeof(*family->series), compare_series);
}

const struct push_series *push_family_find(const struct push_family *family, struct labels_hash hash)
{
    size_t low = 0;
    size_t high = family->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_hashes(family->series[middle].hash, hash);
        if (order == 0)
            return &family->series[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

size_t push_family_bytes(const struct push_family *family)
{
    return sizeof(*family) + family->text.bytes + family->count * sizeof(*family->series);
}

/* ---- Bytes ---- */

static void add_bytes(struct ap_buf *out, struct ap_slice bytes)
{
    ap_buf_add_varint(out, bytes.bytes);
    ap_buf_add_slice(out, bytes);
}

void push_family_encode(const struct push_family *family, struct ap_buf *out)
{
    for (size_t i = 0; i < family->count; i++) {
        const struct push_series *series = &family->series[i];
        add_bytes(out, push_series_labels(family, series));
        add_bytes(out, push_series_blob(family, series));
        if (series->blob_bytes == 0)
            ap_buf_add_u64(out, ap_double_to_bits(series->value));
    }
}

static bool take_bytes(const uint8_t **at, const uint8_t *end, struct ap_slice *ret_bytes)
{
    uint64_t bytes;
    const uint8_t *begin = protobuf_varint(*at, end, &bytes);
    if (!begin || bytes > (uint64_t)(end - begin))
        return false;
    *ret_bytes = ap_slice(begin, (size_t)bytes);
    *at = begin + bytes;
    return true;
}

static bool is_histogram(struct ap_slice blob)
{
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, BLOB_MEMORY_MAX);
    struct histogram histogram;
    return histogram_decode(blob, &arena, &histogram, NULL) == AP_OK;
}

enum ap_rc push_family_decode(struct push_family *family, uint64_t hash_seed, struct ap_slice bytes, struct ap_err *err)
{
    const uint8_t *at = (const uint8_t *)bytes.data;
    const uint8_t *end = at ? at + bytes.bytes : at;
    while (at < end) {
        struct ap_slice labels;
        struct ap_slice blob;
        double value = 0;
        bool is_sound = take_bytes(&at, end, &labels) && labels_check(labels, NULL) == AP_OK &&
                        take_bytes(&at, end, &blob) && (blob.bytes ? is_histogram(blob) : end - at >= 8);
        if (!is_sound)
            return ap_fail(err, AP_E_CORRUPT, "the series of the pushed metric %.*s are damaged",
                           AP_SLICE_ARG(push_family_name(family)));
        if (blob.bytes == 0) {
            value = ap_double_of_bits(protobuf_fixed64(at));
            at += 8;
        }
        push_family_add(family, hash_seed, labels, value, blob);
    }
    push_family_complete(family);
    return AP_OK;
}
