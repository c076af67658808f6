#include "ingest/metrics_body.h"

#include <string.h>

#include "base/assert.h"
#include "ingest/otlp_cache.h"

enum {
    ARENA_FIRST_BYTES = 256 << 10,
    ARENA_KEPT_BYTES_MAX = 4 << 20, /* what requests need again and again is not asked of the system each time */
    KEPT_SAMPLES_MAX = 256 << 10,   /* a larger request's arrays are given back */
    KEPT_SERIES_MAX = 64 << 10,
    KEPT_BUF_BYTES_MAX = 1 << 20,
};

struct metrics_body *metrics_body_new(uint64_t hash_seed, bool is_injecting_start_zeros)
{
    struct metrics_body *body = ap_new0(struct metrics_body);
    body->hash_seed = hash_seed;
    body->is_injecting_start_zeros = is_injecting_start_zeros;
    body->arena_memory_bytes = ARENA_FIRST_BYTES;
    body->arena_memory = ap_realloc(NULL, body->arena_memory_bytes);
    ap_arena_init_with(&body->arena, body->arena_memory, body->arena_memory_bytes, METRICS_ARENA_BYTES_MAX);
    return body;
}

/* The arena begins with as much memory as the last request needed. */
static void reset_arena(struct metrics_body *body)
{
    size_t used_bytes = AP_MIN(body->arena.used_bytes + body->arena.used_bytes / 8, (size_t)ARENA_KEPT_BYTES_MAX);
    ap_arena_reset(&body->arena);
    if (used_bytes <= body->arena_memory_bytes)
        return;
    free(body->arena_memory);
    body->arena_memory_bytes = used_bytes;
    body->arena_memory = ap_realloc(NULL, body->arena_memory_bytes);
    ap_arena_init_with(&body->arena, body->arena_memory, body->arena_memory_bytes, METRICS_ARENA_BYTES_MAX);
}

void metrics_body_free(struct metrics_body *body)
{
    if (!body)
        return;
    batch_clear(&body->batch);
    ap_arena_clear(&body->arena);
    free(body->arena_memory);
    free(body->unpacked);
    ap_buf_clear(&body->labels);
    ap_buf_clear(&body->blob);
    for (size_t i = 0; i < AP_ARRAY_COUNT(body->numbers); i++)
        ap_buf_clear(&body->numbers[i]);
    ap_buf_clear(&body->symbols);
    ap_buf_clear(&body->metadata_cache);
    otlp_cache_free(body->otlp_cache);
    metrics_body_free(body->again);
    free(body);
}

static void reset_buf(struct ap_buf *buf)
{
    if (buf->capacity_bytes > KEPT_BUF_BYTES_MAX)
        ap_buf_clear(buf);
    else
        ap_buf_reset(buf);
}

void metrics_body_reset(struct metrics_body *body)
{
    struct batch *batch = &body->batch;
    if (batch->sample_capacity > KEPT_SAMPLES_MAX || batch->series_capacity > KEPT_SERIES_MAX ||
        batch->histogram_capacity > KEPT_SERIES_MAX || batch->exemplar_capacity > KEPT_SERIES_MAX ||
        batch->metadata_capacity > KEPT_SERIES_MAX)
        batch_clear(batch);
    else
        batch_reset(batch);
    reset_arena(body);
    free(body->unpacked);
    body->unpacked = NULL;
    reset_buf(&body->labels);
    reset_buf(&body->blob);
    for (size_t i = 0; i < AP_ARRAY_COUNT(body->numbers); i++)
        reset_buf(&body->numbers[i]);
    reset_buf(&body->symbols);
    reset_buf(&body->metadata_cache);
    metrics_body_free(body->again);
    body->again = NULL;
    body->samples_refused = 0;
    body->histograms_refused = 0;
    body->exemplars_refused = 0;
    body->reason[0] = '\0';
    body->exemplar_reason[0] = '\0';
}

enum ap_rc metrics_body_keep(struct metrics_body *body, struct ap_slice bytes, struct ap_slice *ret_kept,
                             struct ap_err *err)
{
    char *kept = ap_arena_try_alloc(&body->arena, bytes.bytes);
    if (!kept)
        return ap_fail(err, AP_E_LIMIT, "the request holds too many labels; send it in smaller parts");
    if (bytes.bytes)
        memcpy(kept, bytes.data, bytes.bytes);
    *ret_kept = ap_slice(kept, bytes.bytes);
    return AP_OK;
}

enum ap_rc metrics_body_check_size(const struct metrics_body *body, struct ap_err *err)
{
    if (body->batch.series_count > METRICS_SERIES_MAX)
        return ap_fail(err, AP_E_LIMIT, "a request may have %d series; send it in smaller parts", METRICS_SERIES_MAX);
    if (body->batch.sample_count + body->batch.histogram_count > METRICS_SAMPLES_MAX)
        return ap_fail(err, AP_E_LIMIT, "a request may have %d samples; send it in smaller parts", METRICS_SAMPLES_MAX);
    return AP_OK;
}

static void give_reason(char reason[METRICS_REASON_BYTES], const char *text)
{
    if (reason[0])
        return;
    size_t bytes = AP_MIN(strlen(text), (size_t)METRICS_REASON_BYTES - 1);
    memcpy(reason, text, bytes);
    reason[bytes] = '\0';
    /* Cutting may have split a character, and names come from clients. */
    reason[ap_utf8_valid_bytes(ap_slice_cstr(reason))] = '\0';
}

/* ---- Exemplars ---- */

static size_t character_count(struct ap_slice text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.bytes; i++)
        count += ((uint8_t)text.data[i] & 0xc0) != 0x80;
    return count;
}

static enum ap_rc check_exemplar(struct metrics_body *body, struct label *labels, size_t label_count,
                                 struct ap_err *err)
{
    size_t characters = 0;
    for (size_t i = 0; i < label_count; i++)
        characters += character_count(labels[i].name) + character_count(labels[i].value);
    if (characters > METRICS_EXEMPLAR_CHARACTERS_MAX)
        return ap_fail(err, AP_E_LIMIT, "the labels of an exemplar have %zu characters; %d are allowed", characters,
                       METRICS_EXEMPLAR_CHARACTERS_MAX);
    ap_buf_reset(&body->labels);
    return label_count ? labels_encode(labels, label_count, &body->labels, err) : AP_OK;
}

enum ap_rc metrics_body_add_exemplar(struct metrics_body *body, struct label *labels, size_t label_count, int64_t ts_ms,
                                     double value, struct ap_err *err)
{
    struct ap_slice kept = {0};
    if (check_exemplar(body, labels, label_count, err) != AP_OK) {
        metrics_body_refuse_exemplar(body, err->text);
        return AP_OK;
    }
    enum ap_rc rc = metrics_body_keep(body, ap_buf_slice(&body->labels), &kept, err);
    if (rc != AP_OK)
        return rc;
    struct batch_exemplar *exemplar = batch_add_exemplar(&body->batch);
    *exemplar = (struct batch_exemplar){.ts_ms = ts_ms, .value = value, .labels = kept};
    return AP_OK;
}

/* ---- Series ---- */

bool metrics_body_has_name(struct ap_slice labels)
{
    static const char field[] = "\x0a\x08" LABEL_METRIC_NAME; /* the name of a label, as it is written */
    enum { FIELD_BYTES = sizeof(field) - 1 };
    /* Behind tag and length of the label; the length has two bytes when it is above 127. Then comes the value. */
    size_t at = labels.bytes > 1 && (uint8_t)labels.data[1] >= 0x80 ? 3 : 2;
    if (labels.bytes > at + FIELD_BYTES + 2 && memcmp(labels.data + at, field, FIELD_BYTES) == 0 &&
        labels.data[at + FIELD_BYTES] == 0x12 && labels.data[at + FIELD_BYTES + 1] != 0)
        return true;
    struct label label;
    while (labels_next(&labels, &label))
        if (ap_slice_equal_cstr(label.name, LABEL_METRIC_NAME))
            return label.value.bytes > 0;
    return false;
}

static void drop_series(struct batch *batch)
{
    const struct batch_series *series = &batch->series[--batch->series_count];
    batch->sample_count = series->sample_first;
    batch->histogram_count = series->histogram_first;
    batch->exemplar_count = series->exemplar_first;
}

void metrics_body_refuse_series(struct metrics_body *body, const char *reason)
{
    const struct batch_series *series = &body->batch.series[body->batch.series_count - 1];
    body->samples_refused += series->sample_count - series->has_start_zero;
    body->histograms_refused += series->histogram_count;
    body->exemplars_refused += series->exemplar_count;
    if (series->sample_count || series->histogram_count)
        give_reason(body->reason, reason);
    else if (series->exemplar_count)
        give_reason(body->exemplar_reason, reason);
    drop_series(&body->batch);
}

void metrics_body_end_series(struct metrics_body *body)
{
    AP_ASSERT(body->batch.series_count > 0);
    const struct batch_series *series = &body->batch.series[body->batch.series_count - 1];
    if (series->sample_count + series->histogram_count + series->exemplar_count == 0)
        drop_series(&body->batch);
    else if (!metrics_body_has_name(series->labels))
        metrics_body_refuse_series(body, "a series has no metric name (label __name__)");
}

void metrics_body_refuse_histogram(struct metrics_body *body, const char *reason)
{
    body->histograms_refused++;
    give_reason(body->reason, reason);
}

void metrics_body_refuse_sample(struct metrics_body *body, const char *reason)
{
    body->samples_refused++;
    give_reason(body->reason, reason);
}

void metrics_body_refuse_exemplar(struct metrics_body *body, const char *reason)
{
    body->exemplars_refused++;
    give_reason(body->exemplar_reason, reason);
}
