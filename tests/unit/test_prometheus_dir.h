/*
 * test_prometheus_dir.h - Prometheus' files, made by hand from the description of their formats
 *
 * Whoever includes it has cmocka.h before it.
 */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/buf.h"
#include "base/mem.h"
#include "codec/xor_chunk.h"
#include "tsdb/labels.h"
#include "wal/crc32c.h"

/* ---- Bytes ---- */

static inline void put_big_endian(struct ap_buf *out, uint64_t value, int count)
{
    for (int i = count - 1; i >= 0; i--)
        ap_buf_add_char(out, (char)(value >> (8 * i)));
}
static inline void put_zigzag(struct ap_buf *out, int64_t value)
{
    ap_buf_add_varint(out, ap_zigzag(value));
}
static inline void put_text(struct ap_buf *out, const char *text)
{
    ap_buf_add_varint(out, strlen(text));
    ap_buf_add_cstr(out, text);
}
static inline void put_crc(struct ap_buf *out, size_t from)
{
    put_big_endian(out, wal_crc32c(0, out->data + from, out->bytes - from), 4);
}
static inline void put_file(const char *dir, const char *name, const struct ap_buf *bytes)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/%s", dir, name);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    if (bytes->bytes)
        assert_int_equal(fwrite(bytes->data, 1, bytes->bytes, file), bytes->bytes);
    fclose(file);
}

/* ---- A block ---- */

/* A series `name{job="…"}` and its chunks. */
struct made_chunk {
    int64_t first_ms;
    int64_t step_ms;
    size_t count;
    double value; /* of the first sample; each has one more */
};
struct made_series {
    const char *name;
    const char *job;
    const struct made_chunk *chunks;
    size_t chunk_count;
};
struct made_block {
    uint8_t version;
    struct ap_buf index;
    struct ap_buf chunks;
    uint64_t refs[16];     /* of its series, as tombstones name them */
    size_t offsets[16][8]; /* of their chunks, in `chunks` */
};

static inline void make_chunk_data(const struct made_chunk *chunk, struct ap_buf *out)
{
    int64_t ts_ms[1024];
    double values[1024];
    for (size_t i = 0; i < chunk->count; i++) {
        ts_ms[i] = chunk->first_ms + (int64_t)i * chunk->step_ms;
        values[i] = chunk->value + (double)i;
    }
    xor_chunk_encode(ts_ms, values, chunk->count, out);
}

static inline void make_chunks(struct made_block *block, const struct made_series *series, size_t count)
{
    put_big_endian(&block->chunks, 0x85BD40DD, 4);
    put_big_endian(&block->chunks, UINT64_C(1) << 24, 4);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < series[i].chunk_count; j++) {
            AP_AUTO_BUF struct ap_buf data = {0};
            make_chunk_data(&series[i].chunks[j], &data);
            block->offsets[i][j] = block->chunks.bytes;
            ap_buf_add_varint(&block->chunks, data.bytes);
            size_t from = block->chunks.bytes;
            ap_buf_add_char(&block->chunks, 1);
            ap_buf_add_slice(&block->chunks, ap_buf_slice(&data));
            put_crc(&block->chunks, from);
        }
    }
}

/* Symbols are the words in the order in which they are first used, which readers do not mind. */
struct made_symbols {
    const char *words[64];
    uint64_t refs[64];
    size_t count;
    struct ap_buf bytes;
};

static inline uint64_t symbol_of(struct made_symbols *symbols, const char *word, uint8_t version)
{
    for (size_t i = 0; i < symbols->count; i++)
        if (strcmp(symbols->words[i], word) == 0)
            return symbols->refs[i];
    /* In version 1 its place in the file: behind head, length and count. */
    uint64_t ref = version == 1 ? 5 + 4 + 4 + symbols->bytes.bytes : symbols->count;
    symbols->words[symbols->count] = word;
    symbols->refs[symbols->count++] = ref;
    put_text(&symbols->bytes, word);
    return ref;
}

static inline void put_series(struct made_block *block, const struct made_series *series, size_t index,
                              struct made_symbols *symbols, struct ap_buf *out)
{
    const char *words[] = {"__name__", series->name, "job", series->job};
    ap_buf_add_varint(out, 2);
    for (int i = 0; i < 4; i++)
        ap_buf_add_varint(out, symbol_of(symbols, words[i], block->version));
    ap_buf_add_varint(out, series->chunk_count);
    int64_t ts_ms = 0;
    uint64_t ref = 0;
    for (size_t i = 0; i < series->chunk_count; i++) {
        const struct made_chunk *chunk = &series->chunks[i];
        int64_t span_ms = (int64_t)(chunk->count - 1) * chunk->step_ms;
        if (i == 0)
            put_zigzag(out, chunk->first_ms);
        else
            ap_buf_add_varint(out, (uint64_t)(chunk->first_ms - ts_ms));
        ap_buf_add_varint(out, (uint64_t)span_ms);
        ts_ms = chunk->first_ms + span_ms;
        if (i == 0)
            ap_buf_add_varint(out, block->offsets[index][i]);
        else
            put_zigzag(out, (int64_t)(block->offsets[index][i] - ref));
        ref = block->offsets[index][i];
    }
}

static inline void make_block(struct made_block *block, uint8_t version, const struct made_series *series, size_t count)
{
    struct made_symbols symbols = {0};
    struct ap_buf entries[16] = {{0}};
    *block = (struct made_block){.version = version};
    make_chunks(block, series, count);
    for (size_t i = 0; i < count; i++)
        put_series(block, &series[i], i, &symbols, &entries[i]);
    struct ap_buf *out = &block->index;
    put_big_endian(out, 0xBAAAD700, 4);
    ap_buf_add_char(out, (char)version);
    put_big_endian(out, 4 + symbols.bytes.bytes, 4);
    put_big_endian(out, symbols.count, 4);
    ap_buf_add_slice(out, ap_buf_slice(&symbols.bytes));
    put_crc(out, 9);
    size_t series_at = 0;
    for (size_t i = 0; i < count; i++) {
        while (version == 2 && out->bytes % 16)
            ap_buf_add_char(out, '\0');
        series_at = series_at ? series_at : out->bytes;
        block->refs[i] = version == 2 ? out->bytes / 16 : out->bytes;
        ap_buf_add_varint(out, entries[i].bytes);
        size_t from = out->bytes;
        ap_buf_add_slice(out, ap_buf_slice(&entries[i]));
        put_crc(out, from);
        ap_buf_clear(&entries[i]);
    }
    size_t end = out->bytes;
    const uint64_t places[] = {5, series_at, 0, 0, end, end};
    for (int i = 0; i < 6; i++)
        put_big_endian(out, places[i], 8);
    put_crc(out, end);
    ap_buf_clear(&symbols.bytes);
}

static inline void made_block_clear(struct made_block *block)
{
    ap_buf_clear(&block->index);
    ap_buf_clear(&block->chunks);
}

/* `stones`: (series, first, last) of `stone_count`. */
static inline void write_block(const struct made_block *block, const char *dir, const char *id, int64_t min_ms,
                               int64_t end_ms, const int64_t (*stones)[3], size_t stone_count)
{
    AP_AUTO_FREE char *below = ap_asprintf("%s/%s", dir, id);
    AP_AUTO_BUF struct ap_buf meta = {0};
    AP_AUTO_BUF struct ap_buf tombstones = {0};
    ap_buf_printf(&meta,
                  "{\"ulid\":\"%s\",\"minTime\":%lld,\"maxTime\":%lld,\"stats\":{\"numSamples\":100},\"compaction\":"
                  "{\"level\":1,\"sources\":[\"%s\"]},\"version\":1}",
                  id, (long long)min_ms, (long long)end_ms, id);
    put_big_endian(&tombstones, 0x0130BA30, 4);
    ap_buf_add_char(&tombstones, 1);
    for (size_t i = 0; i < stone_count; i++) {
        ap_buf_add_varint(&tombstones, block->refs[stones[i][0]]);
        put_zigzag(&tombstones, stones[i][1]);
        put_zigzag(&tombstones, stones[i][2]);
    }
    put_crc(&tombstones, 5);
    put_file(below, "meta.json", &meta);
    put_file(below, "index", &block->index);
    put_file(below, "chunks/000001", &block->chunks);
    put_file(below, "tombstones", &tombstones);
}

/* ---- A log ---- */

/* Adds a record to a segment, in as many fragments as pages ask for. `flags`: how it is compressed. */
static inline void put_fragments(struct ap_buf *segment, const struct ap_buf *record, int flags)
{
    size_t at = 0;
    do {
        size_t left = 32768 - segment->bytes % 32768;
        if (left < 8) {
            for (; left; left--)
                ap_buf_add_char(segment, '\0');
            continue;
        }
        size_t bytes = AP_MIN(record->bytes - at, left - 7);
        bool is_first = at == 0, is_last = at + bytes == record->bytes;
        int kind = is_first ? (is_last ? 1 : 2) : (is_last ? 4 : 3);
        ap_buf_add_char(segment, (char)(kind | flags));
        put_big_endian(segment, bytes, 2);
        put_big_endian(segment, wal_crc32c(0, record->data + at, bytes), 4);
        ap_buf_add(segment, record->data + at, bytes);
        at += bytes;
    } while (at < record->bytes);
}

static inline void put_record(struct ap_buf *segment, const struct ap_buf *record)
{
    put_fragments(segment, record, 0);
}

static inline void put_series_record(struct ap_buf *segment, uint64_t ref, const char *name, const char *job)
{
    AP_AUTO_BUF struct ap_buf record = {0};
    ap_buf_add_char(&record, 1);
    put_big_endian(&record, ref, 8);
    ap_buf_add_varint(&record, 2);
    put_text(&record, "__name__");
    put_text(&record, name);
    put_text(&record, "job");
    put_text(&record, job);
    put_record(segment, &record);
}

/* One sample a record, as many records as samples. */
static inline void put_sample_record(struct ap_buf *segment, uint64_t ref, int64_t ts_ms, double value)
{
    AP_AUTO_BUF struct ap_buf record = {0};
    ap_buf_add_char(&record, 2);
    put_big_endian(&record, ref, 8);
    put_big_endian(&record, (uint64_t)ts_ms, 8);
    put_zigzag(&record, 0);
    put_zigzag(&record, 0);
    put_big_endian(&record, ap_double_to_bits(value), 8);
    put_record(segment, &record);
}

/* ---- Chunks of the head ---- */

/* Returns where it begins, as markers name it within its file. */
static inline size_t put_head_chunk(struct ap_buf *file, uint64_t ref, bool is_late, const struct made_chunk *chunk)
{
    AP_AUTO_BUF struct ap_buf data = {0};
    if (file->bytes == 0) {
        put_big_endian(file, 0x0130BC91, 4);
        put_big_endian(file, UINT64_C(1) << 24, 4);
    }
    make_chunk_data(chunk, &data);
    size_t from = file->bytes;
    put_big_endian(file, ref, 8);
    put_big_endian(file, (uint64_t)chunk->first_ms, 8);
    put_big_endian(file, (uint64_t)(chunk->first_ms + (int64_t)(chunk->count - 1) * chunk->step_ms), 8);
    ap_buf_add_char(file, is_late ? (char)0x81 : 1);
    ap_buf_add_varint(file, data.bytes);
    ap_buf_add_slice(file, ap_buf_slice(&data));
    put_crc(file, from);
    return from;
}
