/* Prometheus' files one by one: read as they are described, and with any byte changed, or cut anywhere, found out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <snappy-c.h>
#include <zstd.h>

#include "base/random.h"
#include "history/prometheus_chunks.h"
#include "history/prometheus_decode.h"
#include "history/prometheus_index.h"
#include "history/prometheus_log.h"
#include "history/prometheus_record.h"
#include "history/prometheus_tombstones.h"
#include "history/ref_map.h"
#include "test_prometheus_dir.h"
#include "tsdb/histogram.h"

static const struct made_chunk early[] = {{1000, 15000, 10, 1}, {200000, 15000, 3, 20}};
static const struct made_chunk late[] = {{-5000, 1, 1, 7}};
static const struct made_series series[] = {
    {"load", "a", early, 2},
    {"up", "a", late, 1},
    {"up", "b", early, 1},
    {"up", "c", NULL, 0},
};
enum { SERIES = sizeof(series) / sizeof(series[0]) };

/* In memory of its own size, so that the address sanitizer sees a read past its end. free() the data. */
static struct ap_slice exact(struct ap_slice bytes)
{
    char *copy = malloc(bytes.bytes + 1);
    memcpy(copy, bytes.data, bytes.bytes);
    return ap_slice(realloc(copy, bytes.bytes ? bytes.bytes : 1), bytes.bytes);
}

/* ---- Index ---- */

/* As text: labels and chunks of all series; empty on failure. */
static void describe(struct ap_slice file, struct ap_buf *out)
{
    struct prometheus_index index;
    struct prometheus_series read = {0};
    struct ap_err err;
    if (prometheus_index_open(file, &index, &err) != AP_OK)
        return;
    uint64_t offset = index.series_offset;
    for (bool is_end = false; !is_end;) {
        if (prometheus_index_next(&index, &offset, &read, &is_end, &err) != AP_OK) {
            ap_buf_reset(out);
            break;
        }
        if (is_end)
            break;
        labels_format(ap_buf_slice(&read.labels), out);
        for (size_t i = 0; i < read.chunk_count; i++)
            ap_buf_printf(out, " %lld+%lld@%llu", (long long)read.chunks[i].min_ts_ms,
                          (long long)(read.chunks[i].max_ts_ms - read.chunks[i].min_ts_ms),
                          (unsigned long long)read.chunks[i].ref);
        ap_buf_add_char(out, '\n');
    }
    prometheus_series_clear(&read);
    prometheus_index_clear(&index);
}

static void test_index(void **state)
{
    (void)state;
    for (uint8_t version = 1; version <= 2; version++) {
        struct made_block block;
        AP_AUTO_BUF struct ap_buf text = {0};
        make_block(&block, version, series, SERIES);
        describe(ap_buf_slice(&block.index), &text);
        ap_buf_add_char(&text, '\0');
        char want[512];
        snprintf(want, sizeof(want),
                 "load{job=\"a\"} 1000+135000@%zu 200000+30000@%zu\nup{job=\"a\"} -5000+0@%zu\n"
                 "up{job=\"b\"} 1000+135000@%zu\nup{job=\"c\"}\n",
                 block.offsets[0][0], block.offsets[0][1], block.offsets[1][0], block.offsets[2][0]);
        assert_string_equal(text.data, want);
        made_block_clear(&block);
    }
}

/* Padding is of no meaning; whatever else is changed, the checksums tell. */
static void test_damaged_index(void **state)
{
    (void)state;
    for (uint8_t version = 1; version <= 2; version++) {
        struct made_block block;
        AP_AUTO_BUF struct ap_buf whole = {0};
        make_block(&block, version, series, SERIES);
        describe(ap_buf_slice(&block.index), &whole);
        for (size_t at = 0; at < block.index.bytes; at++) {
            AP_AUTO_BUF struct ap_buf text = {0};
            struct ap_slice copy = exact(ap_buf_slice(&block.index));
            ((char *)(uintptr_t)copy.data)[at] ^= 1 << (at % 8);
            describe(copy, &text);
            if (text.bytes && !ap_slice_equal(ap_buf_slice(&text), ap_buf_slice(&whole)))
                fail_msg("version %u, byte %zu: %.*s", version, at, AP_SLICE_ARG(ap_buf_slice(&text)));
            bool is_padding = block.index.data[at] == 0;
            if (text.bytes && !is_padding)
                fail_msg("version %u, byte %zu is not looked at", version, at);
            copy.bytes = at;
            ap_buf_reset(&text);
            describe(copy, &text);
            assert_int_equal(text.bytes, 0);
            free((void *)(uintptr_t)copy.data);
        }
        made_block_clear(&block);
    }
}

static void test_refused_labels(void **state)
{
    (void)state;
    struct made_block block;
    const struct made_series odd[] = {{"a", "\xff\xfe", late, 1}, {"b", "", late, 1}};
    struct prometheus_index index;
    struct prometheus_series read = {0};
    struct ap_err err;
    bool is_end;
    make_block(&block, 2, odd, 2);
    assert_int_equal(prometheus_index_open(ap_buf_slice(&block.index), &index, &err), AP_OK);
    uint64_t offset = index.series_offset;
    assert_int_equal(prometheus_index_next(&index, &offset, &read, &is_end, &err), AP_OK);
    assert_int_equal(read.refusal.rc, AP_E_PARSE);
    assert_int_equal(read.labels.bytes, 0);
    assert_int_equal(prometheus_index_next(&index, &offset, &read, &is_end, &err), AP_OK);
    assert_int_equal(read.refusal.rc, AP_OK);
    assert_int_equal(labels_count(ap_buf_slice(&read.labels)), 1); /* an empty label is none */
    prometheus_series_clear(&read);
    prometheus_index_clear(&index);
    made_block_clear(&block);
}

/* ---- Chunks ---- */

static void test_chunks(void **state)
{
    (void)state;
    struct made_block block;
    struct ap_arena arena;
    ap_arena_init(&arena, 0);
    make_block(&block, 2, series, SERIES);
    struct mapped_file file = {block.chunks.data, block.chunks.bytes};
    const struct prometheus_chunks chunks = {.files = &file, .count = 1};
    struct history_samples samples = {0};
    struct prometheus_refusals refusals = {0};
    struct ap_err err;
    uint8_t encoding;
    struct ap_slice data;
    assert_int_equal(prometheus_chunks_get(&chunks, block.offsets[0][0], &encoding, &data, &err), AP_OK);
    assert_int_equal(encoding, PROMETHEUS_XOR);
    const struct prometheus_stone stone = {0, 31000, 60999};
    const struct prometheus_clip clip = {16000, 120000, &stone, 1};
    assert_int_equal(prometheus_decode_chunk(encoding, data, &clip, &arena, &samples, &refusals, &err), AP_OK);
    assert_int_equal(samples.count, 5); /* 16000, 61000 … 106000 */
    assert_int_equal(samples.ts_ms[1], 61000);
    assert_true(samples.values[1] == 5);
    assert_int_equal(prometheus_decode_chunk(9, data, &clip, &arena, &samples, &refusals, &err), AP_E_LIMIT);
    assert_non_null(strstr(err.text, "encoding 9"));
    assert_int_equal(prometheus_chunks_get(&chunks, UINT64_C(1) << 32 | 8, &encoding, &data, &err), AP_E_CORRUPT);
    for (size_t at = 8; at < block.chunks.bytes; at++) {
        block.chunks.data[at] ^= 4;
        unsigned damaged = 0;
        for (size_t i = 0; i < SERIES; i++)
            for (size_t j = 0; j < series[i].chunk_count; j++)
                damaged += prometheus_chunks_get(&chunks, block.offsets[i][j], &encoding, &data, &err) != AP_OK;
        if (damaged != 1)
            fail_msg("byte %zu: %u chunks are damaged", at, damaged);
        block.chunks.data[at] ^= 4;
    }
    history_samples_clear(&samples);
    ap_arena_clear(&arena);
    made_block_clear(&block);
}

static void test_head_chunks(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf file = {0};
    (void)put_head_chunk(&file, 7, false, &early[0]);
    (void)put_head_chunk(&file, 8, true, &early[1]);
    size_t end = file.bytes;
    for (int i = 0; i < 100; i++)
        ap_buf_add_char(&file, '\0');
    struct prometheus_head_chunk chunk = {0};
    struct ap_err err;
    uint64_t offset = 0;
    bool is_end;
    assert_int_equal(prometheus_head_chunk_next(ap_buf_slice(&file), &offset, &chunk, &is_end, &err), AP_OK);
    assert_true(!is_end && chunk.series_ref == 7 && !chunk.is_out_of_order && chunk.max_ts_ms == 136000);
    assert_int_equal(prometheus_head_chunk_next(ap_buf_slice(&file), &offset, &chunk, &is_end, &err), AP_OK);
    assert_true(!is_end && chunk.series_ref == 8 && chunk.is_out_of_order && chunk.encoding == PROMETHEUS_XOR);
    assert_int_equal(offset, end);
    assert_int_equal(prometheus_head_chunk_next(ap_buf_slice(&file), &offset, &chunk, &is_end, &err), AP_OK);
    assert_true(is_end);
    for (size_t at = 0; at < end; at++) {
        if (at > 4 && at < 8)
            continue; /* padding */
        file.data[at] ^= 2;
        enum ap_rc rc = AP_OK;
        for (offset = 0, is_end = false; rc == AP_OK && !is_end;)
            rc = prometheus_head_chunk_next(ap_buf_slice(&file), &offset, &chunk, &is_end, &err);
        if (rc != AP_E_CORRUPT)
            fail_msg("byte %zu is not looked at", at);
        file.data[at] ^= 2;
    }
}

/* ---- Tombstones ---- */

static void test_tombstones(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf file = {0};
    struct prometheus_tombstones tombstones = {0};
    struct ap_err err;
    put_big_endian(&file, 0x0130BA30, 4);
    ap_buf_add_char(&file, 1);
    const int64_t stones[][3] = {{9, 100, 200}, {5, 300, 400}, {9, -50, 50}, {5, 1, 2}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(stones); i++) {
        ap_buf_add_varint(&file, (uint64_t)stones[i][0]);
        put_zigzag(&file, stones[i][1]);
        put_zigzag(&file, stones[i][2]);
    }
    put_crc(&file, 5);
    assert_int_equal(prometheus_tombstones_read(ap_buf_slice(&file), &tombstones, &err), AP_OK);
    prometheus_tombstones_sort(&tombstones);
    size_t count;
    const struct prometheus_stone *found = prometheus_tombstones_of(&tombstones, 9, &count);
    assert_int_equal(count, 2);
    assert_int_equal(found[0].min_ts_ms, -50);
    assert_true(prometheus_stones_hold(found, count, 200) && !prometheus_stones_hold(found, count, 99));
    (void)prometheus_tombstones_of(&tombstones, 6, &count);
    assert_int_equal(count, 0);
    prometheus_tombstones_clear(&tombstones);
    for (size_t at = 0; at < file.bytes; at++) {
        file.data[at] ^= 1;
        assert_int_equal(prometheus_tombstones_read(ap_buf_slice(&file), &tombstones, &err), AP_E_CORRUPT);
        file.data[at] ^= 1;
        assert_int_equal(prometheus_tombstones_read(ap_slice(file.data, at), &tombstones, &err), AP_E_CORRUPT);
    }
}

/* ---- Logs ---- */

enum { RECORDS = 40 };

static size_t record_bytes(size_t number)
{
    return 1 + (number * 7919) % 9000;
}

static void make_log(struct ap_buf *segment)
{
    for (size_t i = 0; i < RECORDS; i++) {
        AP_AUTO_BUF struct ap_buf record = {0};
        for (size_t j = 0; j < record_bytes(i); j++)
            ap_buf_add_char(&record, (char)(i + j * 31));
        put_record(segment, &record);
    }
}

/* Which records come, each as it was written; bit i: record i. */
static uint64_t read_log(struct ap_slice segment, unsigned *ret_damages, uint64_t *ret_torn_bytes)
{
    struct prometheus_log log;
    struct prometheus_log_cursor cursor = {0};
    uint64_t seen = 0;
    size_t next = 0;
    *ret_damages = 0;
    prometheus_log_of(segment, &log);
    for (bool is_end = false; !is_end;) {
        struct ap_slice record;
        struct ap_err err;
        enum ap_rc rc = prometheus_log_next(&log, &cursor, &record, &is_end, &err);
        if (rc != AP_OK) {
            ++*ret_damages;
            continue;
        }
        if (is_end)
            break;
        while (next < RECORDS && (record_bytes(next) != record.bytes || record.data[0] != (char)next))
            next++;
        if (next == RECORDS)
            fail_msg("a record of %zu bytes that nobody wrote", record.bytes);
        for (size_t j = 0; j < record.bytes; j++)
            assert_int_equal(record.data[j], (char)(next + j * 31));
        seen |= UINT64_C(1) << next++;
    }
    *ret_torn_bytes = cursor.torn_bytes;
    prometheus_log_cursor_clear(&cursor);
    free(log.segments);
    return seen;
}

static void test_log(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf segment = {0};
    unsigned damages;
    uint64_t torn;
    make_log(&segment);
    assert_true(segment.bytes > 4 * 32768);
    assert_int_equal(read_log(ap_buf_slice(&segment), &damages, &torn), (UINT64_C(1) << RECORDS) - 1);
    assert_int_equal(damages, 0);
    assert_int_equal(torn, 0);
}

/* By snappy, by zstd, and not at all, by turns. */
static void test_compressed_log(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf segment = {0};
    unsigned damages;
    uint64_t torn;
    for (size_t i = 0; i < RECORDS; i++) {
        AP_AUTO_BUF struct ap_buf record = {0};
        AP_AUTO_BUF struct ap_buf compressed = {0};
        for (size_t j = 0; j < record_bytes(i); j++)
            ap_buf_add_char(&record, (char)(i + j * 31));
        size_t room = ZSTD_compressBound(record.bytes) + snappy_max_compressed_length(record.bytes);
        char *to = ap_buf_reserve(&compressed, room);
        if (i % 3 == 0) {
            put_record(&segment, &record);
        } else if (i % 3 == 1) {
            assert_int_equal(snappy_compress(record.data, record.bytes, to, &room), SNAPPY_OK);
            compressed.bytes = room;
            put_fragments(&segment, &compressed, 8);
        } else {
            compressed.bytes = ZSTD_compress(to, room, record.data, record.bytes, 1);
            put_fragments(&segment, &compressed, 16);
        }
    }
    assert_int_equal(read_log(ap_buf_slice(&segment), &damages, &torn), (UINT64_C(1) << RECORDS) - 1);
    assert_int_equal(damages, 0);
    /* Bytes whose checksum fits and that are none of snappy's. */
    AP_AUTO_BUF struct ap_buf nonsense = {0};
    ap_buf_add_cstr(&nonsense, "\xff\xff\xff\xff\xff\xff");
    put_fragments(&segment, &nonsense, 8);
    assert_int_equal(read_log(ap_buf_slice(&segment), &damages, &torn), (UINT64_C(1) << RECORDS) - 1);
    assert_int_equal(damages, 1);
}

/* Cut anywhere, as a crash leaves it: what is whole comes, and nothing is damage. */
static void test_torn_log(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf segment = {0};
    make_log(&segment);
    unsigned last = 0;
    for (size_t bytes = 0; bytes <= segment.bytes; bytes += 1 + bytes % 97) {
        unsigned damages;
        uint64_t torn;
        struct ap_slice copy = exact(ap_slice(segment.data, bytes));
        uint64_t seen = read_log(copy, &damages, &torn);
        assert_int_equal(seen & (seen + 1), 0); /* all up to one */
        assert_true((unsigned)__builtin_popcountll(seen) >= last);
        last = (unsigned)__builtin_popcountll(seen);
        assert_int_equal(damages, 0);
        free((void *)(uintptr_t)copy.data);
    }
}

/* A changed byte costs at most what is in its page, and is told. */
static void test_damaged_log(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf segment = {0};
    make_log(&segment);
    for (size_t at = 0; at < segment.bytes; at += 1 + at % 89) {
        unsigned damages;
        uint64_t torn;
        segment.data[at] ^= 16;
        uint64_t seen = read_log(ap_buf_slice(&segment), &damages, &torn);
        segment.data[at] ^= 16;
        if (seen == (UINT64_C(1) << RECORDS) - 1)
            continue; /* a flag of no meaning, or padding */
        if (damages + torn == 0)
            fail_msg("byte %zu costs records %016llx, and nobody says so", at, (unsigned long long)~seen);
        assert_true(__builtin_popcountll(seen) > RECORDS - 20);
    }
}

/* ---- Records ---- */

static void tell_series(void *context, uint64_t ref, struct label *labels, size_t count)
{
    ap_buf_printf(context, "series %llu", (unsigned long long)ref);
    for (size_t i = 0; i < count; i++)
        ap_buf_printf(context, " %.*s=%.*s", AP_SLICE_ARG(labels[i].name), AP_SLICE_ARG(labels[i].value));
    ap_buf_add_cstr(context, "\n");
}
static void tell_sample(void *context, uint64_t ref, int64_t ts_ms, double value)
{
    ap_buf_printf(context, "%llu@%lld=%g\n", (unsigned long long)ref, (long long)ts_ms, value);
}
static void tell_histogram(void *context, uint64_t ref, int64_t ts_ms, bool is_float, struct ap_slice raw)
{
    struct history_samples samples = {0};
    struct prometheus_refusals refusals = {0};
    struct ap_arena arena;
    struct ap_err err;
    struct histogram histogram;
    ap_arena_init(&arena, 0);
    assert_int_equal(prometheus_histogram_add(raw, is_float, ts_ms, &arena, &samples, &refusals, &err), AP_OK);
    history_samples_settle(&samples);
    if (samples.histogram_count == 0)
        fail_msg("%s", refusals.first.text);
    assert_int_equal(histogram_decode(samples.histograms[0], &arena, &histogram, &err), AP_OK);
    ap_buf_printf(context, "%llu@%lld=%s%d count %g sum %g\n", (unsigned long long)ref, (long long)ts_ms,
                  is_float ? "float " : "", histogram.schema,
                  is_float ? histogram.count_value : (double)histogram.count, histogram.sum);
    history_samples_clear(&samples);
    ap_arena_clear(&arena);
}
static void tell_stone(void *context, const struct prometheus_stone *stone)
{
    ap_buf_printf(context, "stone %llu %lld %lld\n", (unsigned long long)stone->series_ref, (long long)stone->min_ts_ms,
                  (long long)stone->max_ts_ms);
}
static void tell_exemplar(void *context, const struct prometheus_exemplar *exemplar)
{
    ap_buf_printf(context, "exemplar %llu@%lld=%g %.*s\n", (unsigned long long)exemplar->ref,
                  (long long)exemplar->ts_ms, exemplar->value, AP_SLICE_ARG(exemplar->labels[0].value));
}
static void tell_metadata(void *context, const struct prometheus_metadata *metadata)
{
    ap_buf_printf(context, "metadata %llu %u %.*s %.*s\n", (unsigned long long)metadata->ref, metadata->type,
                  AP_SLICE_ARG(metadata->unit), AP_SLICE_ARG(metadata->help));
}
static void tell_marker(void *context, uint64_t ref, uint64_t chunk_ref)
{
    ap_buf_printf(context, "marker %llu %llu\n", (unsigned long long)ref, (unsigned long long)chunk_ref);
}
static void tell_min_valid(void *context, int64_t ts_ms)
{
    ap_buf_printf(context, "valid from %lld\n", (long long)ts_ms);
}
static void tell_unknown(void *context, uint8_t type)
{
    ap_buf_printf(context, "unknown %u\n", type);
}

/* What the record in this file of the fuzz target's corpus says. */
static void check_record(const char *name, const char *want)
{
    const char *root = getenv("APIARY_SOURCE_ROOT");
    AP_AUTO_FREE char *path = ap_asprintf("%s/tests/corpus/fuzz_prometheus_log/%s", root ? root : ".", name);
    FILE *file = fopen(path, "r");
    char bytes[4096];
    AP_AUTO_BUF struct ap_buf said = {0};
    struct ap_err err;
    if (!file)
        fail_msg("no %s", path);
    size_t count = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    const struct prometheus_record_visitor visitor = {
        &said,         tell_series,   tell_sample, tell_histogram, tell_stone,
        tell_exemplar, tell_metadata, tell_marker, tell_min_valid, tell_unknown,
    };
    if (prometheus_record_visit(ap_slice(bytes + 1, count - 1), &visitor, &err) != AP_OK)
        fail_msg("%s: %s", name, err.text);
    ap_buf_add_char(&said, '\0');
    assert_string_equal(said.data, want);
    for (size_t cut = 2; cut < count; cut++) { /* nothing is read beyond the end, and most cuts are noticed */
        struct ap_slice shorter = exact(ap_slice(bytes + 1, cut - 1));
        ap_buf_reset(&said);
        (void)!prometheus_record_visit(shorter, &visitor, &err);
        free((void *)(uintptr_t)shorter.data);
    }
}

static void test_records(void **state)
{
    (void)state;
    check_record("series", "series 7 __name__=up job=a\n");
    check_record("samples", "7@1000=1.5\n8@16000=2\n");
    check_record("samples_v2", "7@1000=1\n8@16000=2\n7@31000=3\n");
    check_record("stones", "stone 7 -5 5000\n");
    check_record("exemplars", "exemplar 7@1003=1 x\n");
    check_record("markers", "marker 7 34359738376\n");
    check_record("metadata", "metadata 7 1 s help\n");
    check_record("min_valid_time", "valid from 5000\n");
    check_record("histograms_7", "7@1000=1 count 8 sum 12.5\n7@16000=1 count 8 sum 12.5\n");
    check_record("histograms_8", "7@1000=float 1 count 8 sum 12.5\n7@16000=float 1 count 8 sum 12.5\n");
    check_record("histograms_9", "7@1000=-53 count 6 sum 12.5\n7@16000=-53 count 6 sum 12.5\n");
    check_record("histograms_10", "7@1000=float -53 count 6 sum 12.5\n7@16000=float -53 count 6 sum 12.5\n");
    check_record("histograms_12", "7@1000=1 count 8 sum 12.5\n7@16000=1 count 8 sum 12.5\n");
    check_record("histograms_13", "7@1000=float 1 count 8 sum 12.5\n7@16000=float 1 count 8 sum 12.5\n");
    AP_AUTO_BUF struct ap_buf said = {0};
    struct ap_err err;
    assert_int_equal(
        prometheus_record_visit(ap_slice("\x63zz", 3),
                                &(struct prometheus_record_visitor){.context = &said, .unknown = tell_unknown}, &err),
        AP_OK);
    assert_true(ap_slice_equal_cstr(ap_buf_slice(&said), "unknown 99\n"));
}

/* ---- What is beside them ---- */

static void test_ref_map(void **state)
{
    (void)state;
    struct ref_map map = {0};
    assert_int_equal(ref_map_get(&map, 1), REF_MAP_NONE);
    for (uint32_t i = 0; i < 5000; i++)
        ref_map_set(&map, (uint64_t)i << 20, i);
    ref_map_set(&map, 0, 77);
    for (uint32_t i = 1; i < 5000; i++)
        assert_int_equal(ref_map_get(&map, (uint64_t)i << 20), i);
    assert_int_equal(ref_map_get(&map, 0), 77);
    assert_int_equal(ref_map_get(&map, 3), REF_MAP_NONE);
    ref_map_clear(&map);
}

/* What was added first wins. */
static void test_samples(void **state)
{
    (void)state;
    struct history_samples samples = {0};
    const int64_t ts_ms[] = {50, 10, 30, 10, 50, 20};
    for (size_t i = 0; i < AP_ARRAY_COUNT(ts_ms); i++) {
        history_samples_add(&samples, ts_ms[i], (double)i);
        size_t offset = samples.blobs.bytes;
        ap_buf_add_char(&samples.blobs, (char)('a' + i));
        history_samples_add_histogram(&samples, ts_ms[i], offset);
    }
    history_samples_settle(&samples);
    assert_int_equal(samples.count, 4);
    assert_int_equal(samples.histogram_count, 4);
    const int64_t want_ms[] = {10, 20, 30, 50};
    const double want[] = {1, 5, 2, 0};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(samples.ts_ms[i], want_ms[i]);
        assert_true(samples.values[i] == want[i]);
        assert_int_equal(samples.histograms[i].data[0], 'a' + (int)want[i]);
    }
    history_samples_clear(&samples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_damaged_index),
        cmocka_unit_test(test_refused_labels),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_head_chunks),
        cmocka_unit_test(test_tombstones),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_compressed_log),
        cmocka_unit_test(test_torn_log),
        cmocka_unit_test(test_damaged_log),
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_ref_map),
        cmocka_unit_test(test_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
