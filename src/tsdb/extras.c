#include "tsdb/extras.h"

#include <string.h>

#include "base/bits.h"
#include "base/mem.h"
#include "tsdb/registry.h"

/* One allocation; the texts follow each other in `text`. */
struct metadata_entry {
    struct batch_metadata metadata;
    uint32_t epoch; /* of the log when it was said last */
    char text[];
};

void extras_init(struct extras *extras, uint32_t exemplars_max)
{
    *extras = (struct extras){.capacity = exemplars_max};
}

void extras_clear(struct extras *extras)
{
    for (uint32_t i = 0; i < extras->count; i++)
        free(extras->ring[i].labels);
    free(extras->ring);
    for (size_t i = 0; i < extras->metadata_count; i++)
        free(extras->metadata[i]);
    free(extras->metadata);
    *extras = (struct extras){0};
}

/* ---- Exemplars ---- */

/* The i-th newest. */
static struct exemplar *newest(const struct extras *extras, uint32_t i)
{
    return &extras->ring[(extras->next + extras->capacity - 1 - i) % extras->capacity];
}

/*
 * How far back a series' newest exemplar is looked for. Older ones stand so far behind that a repetition of them does
 * no harm: it is shown twice.
 */
enum { LOOK_BACK_COUNT = 256 };

enum exemplar_verdict extras_add_exemplar(struct extras *extras, uint32_t ref, int64_t ts_ms, double value,
                                          struct ap_slice labels)
{
    if (extras->capacity == 0)
        return EXEMPLAR_OLD;
    if (!extras->ring)
        extras->ring = ap_new0_array(struct exemplar, extras->capacity);
    uint32_t look_back = AP_MIN(extras->count, (uint32_t)LOOK_BACK_COUNT);
    for (uint32_t i = 0; i < look_back; i++) {
        const struct exemplar *last = newest(extras, i);
        if (last->ref != ref)
            continue;
        if (last->ts_ms > ts_ms)
            return EXEMPLAR_OLD;
        if (last->ts_ms == ts_ms && ap_double_same(last->value, value) &&
            ap_slice_equal(ap_slice(last->labels, last->labels_bytes), labels))
            return EXEMPLAR_SAME;
        break;
    }
    struct exemplar *exemplar = &extras->ring[extras->next];
    free(exemplar->labels);
    *exemplar = (struct exemplar){
        .ref = ref,
        .labels_bytes = (uint32_t)labels.bytes,
        .ts_ms = ts_ms,
        .value = value,
        .labels = ap_slice_dup(labels),
    };
    extras->next = (extras->next + 1) % extras->capacity;
    extras->count = AP_MIN(extras->count + 1, extras->capacity);
    return EXEMPLAR_NEW;
}

void extras_each_exemplar(const struct extras *extras, uint32_t ref, int64_t min_ts_ms, int64_t max_ts_ms,
                          extras_exemplar_fn each, void *context)
{
    for (uint32_t i = extras->count; i-- > 0;) {
        const struct exemplar *exemplar = newest(extras, i);
        if (exemplar->ref == ref && exemplar->ts_ms >= min_ts_ms && exemplar->ts_ms <= max_ts_ms &&
            !each(exemplar, context))
            return;
    }
}

void extras_forget_series(struct extras *extras, const roaring_bitmap_t *refs)
{
    for (uint32_t i = 0; i < extras->count; i++)
        if (extras->ring[i].ref != REGISTRY_NONE && roaring_bitmap_contains(refs, extras->ring[i].ref))
            extras->ring[i].ref = REGISTRY_NONE;
}

/* ---- Metadata ---- */

static int compare_text(struct ap_slice a, struct ap_slice b)
{
    int order = memcmp(a.data ? a.data : "", b.data ? b.data : "", AP_MIN(a.bytes, b.bytes));
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* Where this metric is, or would have to be. */
static size_t find_metric(const struct extras *extras, struct ap_slice metric, bool *ret_found)
{
    size_t low = 0;
    size_t high = extras->metadata_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_text(extras->metadata[middle]->metadata.metric, metric);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_found = false;
    return low;
}

static struct ap_slice cut_text(struct ap_slice text)
{
    text.bytes = AP_MIN(text.bytes, (size_t)EXTRAS_TEXT_BYTES_MAX);
    text.bytes = ap_utf8_valid_bytes(text);
    return text;
}

static struct metadata_entry *entry_new(const struct batch_metadata *from, uint32_t epoch)
{
    const struct ap_slice texts[] = {from->metric, cut_text(from->help), cut_text(from->unit)};
    size_t bytes = texts[0].bytes + texts[1].bytes + texts[2].bytes;
    struct metadata_entry *entry = ap_alloc0(1, sizeof(*entry) + bytes);
    struct ap_slice *to[] = {&entry->metadata.metric, &entry->metadata.help, &entry->metadata.unit};
    char *at = entry->text;
    for (size_t i = 0; i < AP_ARRAY_COUNT(texts); i++) {
        if (texts[i].bytes)
            memcpy(at, texts[i].data, texts[i].bytes);
        *to[i] = ap_slice(at, texts[i].bytes);
        at += texts[i].bytes;
    }
    entry->metadata.type = from->type;
    entry->epoch = epoch;
    return entry;
}

bool extras_set_metadata(struct extras *extras, const struct batch_metadata *metadata, uint32_t epoch)
{
    if (metadata->metric.bytes == 0 || metadata->metric.bytes > EXTRAS_TEXT_BYTES_MAX)
        return false;
    bool is_known;
    size_t at = find_metric(extras, metadata->metric, &is_known);
    if (is_known) {
        const struct batch_metadata *there = &extras->metadata[at]->metadata;
        if (extras->metadata[at]->epoch == epoch && there->type == metadata->type &&
            ap_slice_equal(there->help, cut_text(metadata->help)) &&
            ap_slice_equal(there->unit, cut_text(metadata->unit)))
            return false;
        free(extras->metadata[at]);
        extras->metadata[at] = entry_new(metadata, epoch);
        return true;
    }
    if (extras->metadata_count >= EXTRAS_METADATA_MAX)
        return false;
    if (extras->metadata_count == extras->metadata_capacity) {
        extras->metadata_capacity = extras->metadata_capacity ? extras->metadata_capacity * 2 : 64;
        extras->metadata = ap_realloc(extras->metadata, extras->metadata_capacity * sizeof(struct metadata_entry *));
    }
    memmove(&extras->metadata[at + 1], &extras->metadata[at],
            (extras->metadata_count - at) * sizeof(struct metadata_entry *));
    extras->metadata[at] = entry_new(metadata, epoch);
    extras->metadata_count++;
    return true;
}

void extras_each_metadata(const struct extras *extras, struct ap_slice metric, extras_metadata_fn each, void *context)
{
    bool is_known = true;
    size_t first = metric.data ? find_metric(extras, metric, &is_known) : 0;
    size_t end = metric.data ? first + is_known : extras->metadata_count;
    for (size_t i = first; i < end; i++)
        if (!each(&extras->metadata[i]->metadata, context))
            return;
}

/* ---- Bytes: docs/format/tsdb.md, "Checkpoint" ---- */

static void add_text(struct ap_buf *out, struct ap_slice text)
{
    ap_buf_add_varint(out, text.bytes);
    ap_buf_add_slice(out, text);
}

void extras_encode(const struct extras *extras, struct ap_buf *out)
{
    ap_buf_add_varint(out, extras->metadata_count);
    for (size_t i = 0; i < extras->metadata_count; i++) {
        const struct batch_metadata *metadata = &extras->metadata[i]->metadata;
        ap_buf_add_char(out, (char)metadata->type);
        add_text(out, metadata->metric);
        add_text(out, metadata->help);
        add_text(out, metadata->unit);
    }
    ap_buf_add_varint(out, extras->count);
    for (uint32_t i = extras->count; i-- > 0;) {
        const struct exemplar *exemplar = newest(extras, i);
        ap_buf_add_u32(out, exemplar->ref);
        ap_buf_add_u64(out, (uint64_t)exemplar->ts_ms);
        ap_buf_add_u64(out, ap_double_to_bits(exemplar->value));
        add_text(out, ap_slice(exemplar->labels, exemplar->labels_bytes));
    }
}

static bool take(struct ap_slice *rest, void *to, size_t bytes)
{
    if (rest->bytes < bytes)
        return false;
    memcpy(to, rest->data, bytes);
    rest->data += bytes;
    rest->bytes -= bytes;
    return true;
}

static bool take_varint(struct ap_slice *rest, uint64_t *ret_value)
{
    *ret_value = 0;
    uint8_t byte;
    for (unsigned shift = 0; shift < 64 && take(rest, &byte, 1); shift += 7) {
        *ret_value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool take_text(struct ap_slice *rest, struct ap_slice *ret_text)
{
    uint64_t bytes;
    if (!take_varint(rest, &bytes) || bytes > rest->bytes)
        return false;
    *ret_text = ap_slice(rest->data, (size_t)bytes);
    rest->data += bytes;
    rest->bytes -= (size_t)bytes;
    return true;
}

static bool decode_metadata(struct extras *extras, struct ap_slice *rest)
{
    uint64_t count;
    if (!take_varint(rest, &count))
        return false;
    for (uint64_t i = 0; i < count; i++) {
        struct batch_metadata metadata = {0};
        uint8_t type;
        if (!take(rest, &type, 1) || type >= METADATA_TYPE_COUNT || !take_text(rest, &metadata.metric) ||
            !take_text(rest, &metadata.help) || !take_text(rest, &metadata.unit))
            return false;
        metadata.type = (enum metadata_type)type;
        (void)extras_set_metadata(extras, &metadata, 0);
    }
    return true;
}

enum ap_rc extras_decode(struct extras *extras, struct ap_slice bytes, struct ap_err *err)
{
    struct ap_slice rest = bytes;
    uint64_t count = 0;
    bool is_sound = decode_metadata(extras, &rest) && take_varint(&rest, &count);
    for (uint64_t i = 0; i < count && is_sound; i++) {
        uint32_t ref;
        int64_t ts_ms;
        double value;
        struct ap_slice labels;
        is_sound = take(&rest, &ref, sizeof(ref)) && take(&rest, &ts_ms, sizeof(ts_ms)) &&
                   take(&rest, &value, sizeof(value)) && take_text(&rest, &labels);
        if (is_sound)
            (void)extras_add_exemplar(extras, ref, ts_ms, value, labels);
    }
    return is_sound ? AP_OK : ap_fail(err, AP_E_CORRUPT, "metadata and exemplars of the checkpoint are damaged");
}
