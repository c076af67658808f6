/*
 * Blocks: what was written is read back; with any byte of any file changed, or any file cut anywhere, it is noticed or
 * makes no difference; merging several gives what they held together.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/bits.h"
#include "base/mem.h"
#include "base/random.h"
#include "tsdb/block.h"
#include "tsdb/histogram.h"

enum { SERIES = 10, CHUNK = 30, SAMPLES_MAX = 400 };
static const int64_t START_MS = INT64_C(1764000000000);

/* ---- What blocks shall hold ---- */

struct model {
    struct model_sample {
        int64_t ts_ms;
        double value;
    } samples[SERIES][SAMPLES_MAX]; /* by rising time */
    size_t counts[SERIES];
};

struct fixture {
    char dir[64];
    int blocks_fd;
    char id[BLOCK_ID_BYTES];
    uint64_t made_count;
};

static int setup(void **state)
{
    struct fixture *fx = calloc(1, sizeof(*fx));
    struct ap_err err;
    snprintf(fx->dir, sizeof(fx->dir), "/tmp/apiary-test-XXXXXX");
    if (!mkdtemp(fx->dir) || os_dir_open(fx->dir, &fx->blocks_fd, &err) != AP_OK)
        return -1;
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    char command[128];
    close(fx->blocks_fd);
    snprintf(command, sizeof(command), "rm -rf %s", fx->dir);
    free(fx);
    return system(command);
}

/* Series i: labels in the order of their numbers. */
static void add_labels(unsigned i, struct ap_buf *out)
{
    char instance[16];
    char zone[16];
    snprintf(instance, sizeof(instance), "host-%02u", i);
    snprintf(zone, sizeof(zone), "zone-%u", i % 3);
    struct label labels[] = {
        {ap_slice_cstr("__name__"), ap_slice_cstr("cpu")},
        {ap_slice_cstr("instance"), ap_slice_cstr(instance)},
        {ap_slice_cstr("zone"), ap_slice_cstr(zone)},
    };
    struct ap_err err;
    assert_int_equal(labels_encode(labels, AP_ARRAY_COUNT(labels), out, &err), AP_OK);
}

static struct chunk_entry add_floats(struct block_writer *writer, const struct model_sample *samples, size_t count)
{
    int64_t ts_ms[CHUNK];
    double values[CHUNK];
    for (size_t i = 0; i < count; i++) {
        ts_ms[i] = samples[i].ts_ms;
        values[i] = samples[i].value;
    }
    AP_AUTO_BUF struct ap_buf chunk = {0};
    chunk_encode_floats(ts_ms, values, count, &chunk);
    struct chunk_entry entry = {
        .min_ts_ms = ts_ms[0],
        .max_ts_ms = ts_ms[count - 1],
        .sample_count = (uint32_t)count,
        .kind = CHUNK_FLOATS,
    };
    struct ap_err err;
    assert_int_equal(block_writer_add_chunk(writer, ap_buf_slice(&chunk), &entry, &err), AP_OK);
    return entry;
}

static struct chunk_entry add_histograms(struct block_writer *writer, int64_t start_ms)
{
    struct histogram_span span = {-1, 3};
    uint64_t counts[3] = {0};
    AP_AUTO_BUF struct ap_buf bytes = {0};
    size_t ends[CHUNK];
    int64_t ts_ms[CHUNK];
    for (size_t i = 0; i < CHUNK; i++) {
        counts[i % 3] += i;
        struct histogram histogram = {
            .schema = 3,
            .zero_threshold = 1e-128,
            .count = counts[0] + counts[1] + counts[2],
            .sum = (double)i * 0.5,
            .positive = {.spans = &span, .span_count = 1, .counts = counts, .count = 3},
        };
        histogram_encode(&histogram, &bytes);
        ends[i] = bytes.bytes;
        ts_ms[i] = start_ms + (int64_t)i * 10000;
    }
    struct ap_slice blobs[CHUNK];
    for (size_t i = 0; i < CHUNK; i++) {
        size_t begin = i ? ends[i - 1] : 0;
        blobs[i] = ap_slice(bytes.data + begin, ends[i] - begin);
    }
    AP_AUTO_BUF struct ap_buf chunk = {0};
    chunk_encode_histograms(ts_ms, blobs, CHUNK, &chunk);
    struct chunk_entry entry = {
        .min_ts_ms = ts_ms[0], .max_ts_ms = ts_ms[CHUNK - 1], .sample_count = CHUNK, .kind = CHUNK_HISTOGRAMS};
    struct ap_err err;
    assert_int_equal(block_writer_add_chunk(writer, ap_buf_slice(&chunk), &entry, &err), AP_OK);
    return entry;
}

/* A block of what the model has; with a histogram in the last series on demand. */
static void make_block(struct fixture *fx, const struct model *model, bool has_histograms)
{
    struct ap_err err;
    struct block_meta meta = {.level = 1};
    block_id_make(START_MS + (int64_t)fx->made_count++, 1, 2, fx->id);
    AP_AUTO(block_writer) struct block_writer *writer = NULL;
    assert_int_equal(block_writer_new(&os_fs_system, fx->blocks_fd, fx->id, &writer, &err), AP_OK);
    for (unsigned i = 0; i < SERIES; i++) {
        struct chunk_entry entries[SAMPLES_MAX / CHUNK + 2];
        size_t entry_count = 0;
        for (size_t at = 0; at < model->counts[i]; at += CHUNK)
            entries[entry_count++] =
                add_floats(writer, &model->samples[i][at], AP_MIN((size_t)CHUNK, model->counts[i] - at));
        if (has_histograms && i == SERIES - 1)
            entries[entry_count++] = add_histograms(writer, START_MS + 3600 * 1000);
        if (entry_count == 0)
            continue;
        AP_AUTO_BUF struct ap_buf labels = {0};
        add_labels(i, &labels);
        assert_int_equal(block_writer_add_series(writer, ap_buf_slice(&labels), entries, entry_count, &err), AP_OK);
    }
    if (block_writer_finish(writer, &meta, &err) != AP_OK)
        fail_msg("%s", err.text);
}

static void fill(struct model *model, unsigned first_series, int64_t start_ms, size_t count, uint64_t seed)
{
    struct ap_random random;
    ap_random_init(&random, seed);
    memset(model, 0, sizeof(*model));
    for (unsigned i = first_series; i < SERIES; i++) {
        for (size_t j = 0; j < count; j++) {
            double value = i % 3 == 0   ? ap_double_of_bits(ap_random_u64(&random))
                           : i % 3 == 1 ? (double)ap_random_below(&random, 1000) / 10
                                        : 42;
            model->samples[i][j] = (struct model_sample){start_ms + (int64_t)j * 10000, value};
        }
        model->counts[i] = count;
    }
}

/* ---- What they say ---- */

/* Everything that can be asked, as one number; 0: something was refused as damaged, and *err says what. */
struct answers {
    uint64_t sum;
    struct ap_err err;
};

static void mix(struct answers *answers, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        answers->sum = (answers->sum ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3);
}

static bool mix_text(struct ap_slice text, uint64_t series_count, void *context)
{
    mix(context, text.data, text.bytes);
    mix(context, &series_count, sizeof(series_count));
    return true;
}

static enum ap_rc mix_chunk(const struct block *block, const struct chunk_entry *entry, struct answers *answers)
{
    struct ap_slice chunk;
    enum ap_rc rc = block_chunk(block, entry, &chunk, &answers->err);
    if (rc != AP_OK)
        return rc;
    if (entry->kind == CHUNK_FLOATS) {
        struct chunk_floats floats;
        rc = chunk_decode_floats(chunk, entry->min_ts_ms, &floats, &answers->err);
        if (rc == AP_OK) {
            mix(answers, floats.ts_ms, floats.count * sizeof(int64_t));
            mix(answers, floats.values, floats.count * sizeof(double));
        }
        return rc;
    }
    struct ap_arena arena;
    ap_arena_init(&arena, 0);
    size_t count;
    const int64_t *ts_ms;
    const struct ap_slice *blobs;
    rc = chunk_decode_histograms(chunk, entry->min_ts_ms, &arena, &count, &ts_ms, &blobs, &answers->err);
    for (size_t i = 0; rc == AP_OK && i < count; i++) {
        mix(answers, &ts_ms[i], sizeof(ts_ms[i]));
        mix(answers, blobs[i].data, blobs[i].bytes);
    }
    ap_arena_clear(&arena);
    return rc;
}

static enum ap_rc mix_series(const struct block *block, const char *selector, struct answers *answers)
{
    struct matchers matchers;
    AP_AUTO_FREE uint32_t *series = NULL;
    size_t count;
    assert_int_equal(matchers_parse(ap_slice_cstr(selector), &matchers, &answers->err), AP_OK);
    enum ap_rc rc = block_select(block, &matchers, &series, &count, &answers->err);
    matchers_clear(&matchers);
    AP_AUTO_FREE struct chunk_entry *entries = NULL;
    size_t capacity = 0;
    for (size_t i = 0; rc == AP_OK && i < count; i++) {
        AP_AUTO_BUF struct ap_buf labels = {0};
        block_series_labels(block, series[i], &labels);
        mix(answers, labels.data, labels.bytes);
        size_t entry_count = 0;
        rc = block_series_chunks(block, series[i], INT64_MIN, INT64_MAX, &entries, &entry_count, &capacity,
                                 &answers->err);
        for (size_t j = 0; rc == AP_OK && j < entry_count; j++)
            rc = mix_chunk(block, &entries[j], answers);
    }
    return rc;
}

static struct answers ask_everything(const struct fixture *fx)
{
    struct answers answers = {.sum = UINT64_C(0xcbf29ce484222325)};
    AP_AUTO(block) struct block *block = NULL;
    enum ap_rc rc = block_open(&os_fs_system, fx->blocks_fd, fx->id, &block, &answers.err);
    if (rc == AP_OK) {
        const struct block_meta *meta = block_meta_of(block);
        const uint64_t counts[] = {meta->series_count, meta->chunk_count,         meta->sample_count,
                                   meta->level,        (uint64_t)meta->min_ts_ms, (uint64_t)meta->max_ts_ms};
        mix(&answers, counts, sizeof(counts));
        block_each_name(block, mix_text, &answers);
        block_each_value(block, ap_slice_cstr("instance"), mix_text, &answers);
        block_each_value(block, ap_slice_cstr("zone"), mix_text, &answers);
        rc = mix_series(block, "cpu", &answers);
        if (rc == AP_OK)
            rc = mix_series(block, "cpu{zone=\"zone-1\"}", &answers);
        if (rc == AP_OK)
            rc = mix_series(block, "cpu{instance=~\"host-0[3-5]\",zone!=\"zone-0\"}", &answers);
    }
    if (rc == AP_OK)
        return answers;
    if (rc != AP_E_CORRUPT && rc != AP_E_NOT_FOUND)
        fail_msg("neither read nor called damaged: %s", answers.err.text);
    answers.sum = 0;
    return answers;
}

struct faults {
    size_t count;
    struct block_fault first;
};

static void note_fault(const struct block_fault *fault, void *context)
{
    struct faults *faults = context;
    if (faults->count++ == 0)
        faults->first = *fault;
}

static struct faults verify(const struct fixture *fx)
{
    struct faults faults = {0};
    uint64_t chunk_count;
    uint64_t sample_count;
    size_t count = block_verify(&os_fs_system, fx->blocks_fd, fx->id, note_fault, &faults, &chunk_count, &sample_count);
    assert_int_equal(count, faults.count);
    return faults;
}

/* ---- Files of the block ---- */

static const char *const files[] = {"index", "chunks-0000", "meta.json"};

static int open_file(const struct fixture *fx, const char *name, size_t *ret_bytes)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/%s/%s", fx->dir, fx->id, name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    *ret_bytes = (size_t)status.st_size;
    return fd;
}

static void test_reads_back(void **state)
{
    struct fixture *fx = *state;
    static struct model model;
    fill(&model, 0, START_MS, 70, 1);
    make_block(fx, &model, true);
    AP_AUTO(block) struct block *block = NULL;
    struct ap_err err;
    assert_int_equal(block_open(&os_fs_system, fx->blocks_fd, fx->id, &block, &err), AP_OK);
    assert_int_equal(block_series_count(block), SERIES);
    assert_int_equal(block_meta_of(block)->sample_count, 70 * SERIES + CHUNK);
    assert_int_equal(block_meta_of(block)->min_ts_ms, START_MS);
    assert_int_equal(verify(fx).count, 0);
    static const struct {
        const char *selector;
        unsigned wanted; /* bits: series */
    } cases[] = {
        {"cpu", 0x3ff},
        {"nothing", 0},
        {"cpu{zone=\"zone-1\"}", 0x092},
        {"cpu{zone!=\"zone-1\"}", 0x36d},
        {"cpu{instance=~\"host-0[3-5]\"}", 0x038},
        {"cpu{instance!~\"host-0.*\"}", 0},
        {"cpu{absent=\"\"}", 0x3ff},
        {"cpu{absent!=\"\"}", 0},
        {"{zone=~\"zone-0|zone-2\",instance=\"host-05\"}", 0x020},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        struct matchers matchers;
        AP_AUTO_FREE uint32_t *series = NULL;
        size_t count;
        assert_int_equal(matchers_parse(ap_slice_cstr(cases[i].selector), &matchers, &err), AP_OK);
        assert_int_equal(block_select(block, &matchers, &series, &count, &err), AP_OK);
        matchers_clear(&matchers);
        unsigned got = 0;
        for (size_t j = 0; j < count; j++)
            got |= 1u << series[j];
        assert_int_equal(got, cases[i].wanted);
    }
    for (unsigned i = 0; i < SERIES; i++) {
        AP_AUTO_BUF struct ap_buf wanted = {0};
        AP_AUTO_BUF struct ap_buf labels = {0};
        add_labels(i, &wanted);
        block_series_labels(block, i, &labels);
        assert_true(ap_slice_equal(ap_buf_slice(&wanted), ap_buf_slice(&labels)));
    }
}

/* Both: what reads it says so or gives the same answers, and verify finds it and names the file. */
static void assert_noticed(const struct fixture *fx, uint64_t wanted, const char *file, size_t at)
{
    struct answers answers = ask_everything(fx);
    if (answers.sum != 0 && answers.sum != wanted)
        fail_msg("%s changed at %zu: other answers, and nobody says so", file, at);
    if (answers.sum == 0 && answers.err.text[0] == '\0')
        fail_msg("%s changed at %zu: refused without a reason", file, at);
    struct faults faults = verify(fx);
    if (faults.count == 0)
        fail_msg("%s changed at %zu: verify finds nothing", file, at);
    if (faults.first.file[0] == '\0' && !strstr(faults.first.text, file) && !strstr(faults.first.text, fx->id))
        fail_msg("%s changed at %zu: verify does not say where: %s", file, at, faults.first.text);
}

static void test_every_byte_flipped(void **state)
{
    struct fixture *fx = *state;
    static struct model model;
    fill(&model, 0, START_MS, 40, 2);
    make_block(fx, &model, true);
    uint64_t wanted = ask_everything(fx).sum;
    assert_true(wanted != 0);
    for (size_t i = 0; i < AP_ARRAY_COUNT(files); i++) {
        size_t bytes;
        int fd = open_file(fx, files[i], &bytes);
        for (size_t at = 0; at < bytes; at++) {
            uint8_t byte;
            assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
            uint8_t flipped = (uint8_t)(byte ^ (1u << at % 8));
            assert_int_equal(pwrite(fd, &flipped, 1, (off_t)at), 1);
            assert_noticed(fx, wanted, files[i], at);
            assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
        }
        close(fd);
    }
    assert_true(ask_everything(fx).sum == wanted);
    assert_int_equal(verify(fx).count, 0);
}

static void test_cut_everywhere(void **state)
{
    struct fixture *fx = *state;
    static struct model model;
    fill(&model, 0, START_MS, 40, 3);
    make_block(fx, &model, false);
    uint64_t wanted = ask_everything(fx).sum;
    for (size_t i = 0; i < AP_ARRAY_COUNT(files); i++) {
        size_t bytes;
        int fd = open_file(fx, files[i], &bytes);
        AP_AUTO_FREE char *content = malloc(bytes);
        assert_int_equal(pread(fd, content, bytes, 0), bytes);
        for (size_t left = bytes; left-- > 0;) {
            assert_int_equal(ftruncate(fd, (off_t)left), 0);
            assert_noticed(fx, wanted, files[i], left);
        }
        assert_int_equal(pwrite(fd, content, bytes, 0), bytes);
        close(fd);
        char path[160];
        char aside[170];
        snprintf(path, sizeof(path), "%s/%s/%s", fx->dir, fx->id, files[i]);
        snprintf(aside, sizeof(aside), "%s.aside", path);
        assert_int_equal(rename(path, aside), 0);
        assert_int_equal(ask_everything(fx).sum, 0);
        assert_true(verify(fx).count > 0);
        assert_int_equal(rename(aside, path), 0);
    }
    assert_true(ask_everything(fx).sum == wanted);
}

/* ---- Merging ---- */

static void model_add(struct model *to, const struct model *from)
{
    for (unsigned i = 0; i < SERIES; i++) {
        static struct model_sample merged[SAMPLES_MAX];
        size_t a = 0;
        size_t b = 0;
        size_t count = 0;
        while (a < to->counts[i] || b < from->counts[i]) {
            bool takes_a =
                b == from->counts[i] || (a < to->counts[i] && to->samples[i][a].ts_ms <= from->samples[i][b].ts_ms);
            struct model_sample next = takes_a ? to->samples[i][a++] : from->samples[i][b++];
            if (count == 0 || merged[count - 1].ts_ms != next.ts_ms)
                merged[count++] = next;
        }
        memcpy(to->samples[i], merged, count * sizeof(*merged));
        to->counts[i] = count;
    }
}

static void model_delete(struct model *model, unsigned series, int64_t min_ts_ms, int64_t max_ts_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < model->counts[series]; i++)
        if (model->samples[series][i].ts_ms < min_ts_ms || model->samples[series][i].ts_ms > max_ts_ms)
            model->samples[series][kept++] = model->samples[series][i];
    model->counts[series] = kept;
}

static void assert_touches(const struct block *block, uint32_t series, int64_t min_ts_ms, int64_t max_ts_ms)
{
    AP_AUTO_FREE struct chunk_entry *entries = NULL;
    size_t count = 0, capacity = 0;
    struct ap_err err;
    bool touches;
    assert_int_equal(block_series_chunks(block, series, min_ts_ms, max_ts_ms, &entries, &count, &capacity, &err),
                     AP_OK);
    assert_int_equal(block_series_touches(block, series, min_ts_ms, max_ts_ms, &touches, &err), AP_OK);
    assert_int_equal(touches, count > 0);
}

static void assert_holds(const struct fixture *fx, const struct model *model)
{
    AP_AUTO(block) struct block *block = NULL;
    struct ap_err err;
    if (block_open(&os_fs_system, fx->blocks_fd, fx->id, &block, &err) != AP_OK)
        fail_msg("%s", err.text);
    assert_int_equal(verify(fx).count, 0);
    uint32_t number = 0;
    AP_AUTO_FREE struct chunk_entry *entries = NULL;
    size_t capacity = 0;
    for (unsigned i = 0; i < SERIES; i++) {
        if (model->counts[i] == 0)
            continue;
        AP_AUTO_BUF struct ap_buf wanted = {0};
        AP_AUTO_BUF struct ap_buf labels = {0};
        add_labels(i, &wanted);
        block_series_labels(block, number, &labels);
        assert_true(ap_slice_equal(ap_buf_slice(&wanted), ap_buf_slice(&labels)));
        size_t entry_count = 0;
        assert_int_equal(
            block_series_chunks(block, number, INT64_MIN, INT64_MAX, &entries, &entry_count, &capacity, &err), AP_OK);
        size_t at = 0;
        for (size_t j = 0; j < entry_count; j++) {
            struct ap_slice chunk;
            struct chunk_floats floats;
            assert_int_equal(block_chunk(block, &entries[j], &chunk, &err), AP_OK);
            assert_int_equal(chunk_decode_floats(chunk, entries[j].min_ts_ms, &floats, &err), AP_OK);
            assert_true(at + floats.count <= model->counts[i]);
            for (size_t k = 0; k < floats.count; k++, at++) {
                assert_int_equal(floats.ts_ms[k], model->samples[i][at].ts_ms);
                assert_true(ap_double_same(floats.values[k], model->samples[i][at].value));
            }
        }
        assert_int_equal(at, model->counts[i]);
        /* Right before, at and behind the ends of every chunk, and all that the block spans. */
        const struct block_meta *meta = block_meta_of(block);
        assert_touches(block, number, meta->min_ts_ms, meta->max_ts_ms);
        for (size_t j = 0; j < entry_count; j++)
            for (int64_t off = -1; off <= 1; off++) {
                assert_touches(block, number, entries[j].min_ts_ms + off, entries[j].min_ts_ms + off);
                assert_touches(block, number, entries[j].max_ts_ms + off, entries[j].max_ts_ms + off);
            }
        number++;
    }
    assert_int_equal(block_series_count(block), number);
}

struct sources {
    struct block *blocks[3];
    struct model models[3];
};

static void make_sources(struct fixture *fx, struct sources *sources, const int64_t starts_ms[3])
{
    for (unsigned i = 0; i < 3; i++) {
        /* Each lacks some of the series. The same seed: where blocks overlap, they say the same. */
        fill(&sources->models[i], i * 2, starts_ms[i], 60, 9);
        for (unsigned j = 0; j < SERIES; j++)
            for (size_t k = 0; k < sources->models[i].counts[j]; k++)
                sources->models[i].samples[j][k].value =
                    (double)(sources->models[i].samples[j][k].ts_ms / 10000 % 977) + j;
        make_block(fx, &sources->models[i], false);
        struct ap_err err;
        assert_int_equal(block_open(&os_fs_system, fx->blocks_fd, fx->id, &sources->blocks[i], &err), AP_OK);
    }
}

static void merge(struct fixture *fx, struct sources *sources, unsigned count, bool is_rewriting)
{
    block_id_make(START_MS + (int64_t)fx->made_count++, 1, 2, fx->id);
    struct block_merge_options options = {
        .fs = &os_fs_system, .blocks_fd = fx->blocks_fd, .id = fx->id, .is_rewriting = is_rewriting};
    struct ap_err err;
    if (block_merge(&options, sources->blocks, count, &err) != AP_OK)
        fail_msg("%s", err.text);
}

static void clear_sources(struct sources *sources)
{
    for (unsigned i = 0; i < 3; i++)
        block_unref(sources->blocks[i]);
}

static void test_merge_side_by_side(void **state)
{
    struct fixture *fx = *state;
    static struct sources sources;
    make_sources(fx, &sources, (int64_t[]){START_MS, START_MS + 600 * 1000, START_MS + 1200 * 1000});
    static struct model all;
    for (unsigned count = 2; count <= 3; count++) {
        memset(&all, 0, sizeof(all));
        for (unsigned i = 0; i < count; i++)
            model_add(&all, &sources.models[i]);
        merge(fx, &sources, count, false); /* links the files */
        assert_holds(fx, &all);
        merge(fx, &sources, count, true);
        assert_holds(fx, &all);
    }
    clear_sources(&sources);
}

static void test_merge_overlapping(void **state)
{
    struct fixture *fx = *state;
    static struct sources sources;
    make_sources(fx, &sources, (int64_t[]){START_MS, START_MS + 305 * 1000, START_MS + 300 * 1000});
    assert_true(block_merge_must_rewrite(sources.blocks, 3));
    static struct model all;
    memset(&all, 0, sizeof(all));
    for (unsigned i = 0; i < 3; i++)
        model_add(&all, &sources.models[i]);
    merge(fx, &sources, 3, true);
    assert_holds(fx, &all);
    clear_sources(&sources);
}

static void test_merge_drops_what_was_deleted(void **state)
{
    struct fixture *fx = *state;
    static struct sources sources;
    make_sources(fx, &sources, (int64_t[]){START_MS, START_MS + 600 * 1000, START_MS + 1200 * 1000});
    struct ap_err err;
    struct matchers matchers;
    size_t count;
    int64_t min_ts_ms = START_MS + 100 * 1000;
    int64_t max_ts_ms = START_MS + 1500 * 1000;
    assert_int_equal(matchers_parse(ap_slice_cstr("cpu{zone=\"zone-1\"}"), &matchers, &err), AP_OK);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(block_delete(sources.blocks[i], &matchers, min_ts_ms, max_ts_ms, &count, &err), AP_OK);
    matchers_clear(&matchers);
    assert_true(block_merge_must_rewrite(sources.blocks, 3));
    static struct model all;
    memset(&all, 0, sizeof(all));
    for (unsigned i = 0; i < 3; i++)
        model_add(&all, &sources.models[i]);
    for (unsigned i = 1; i < SERIES; i += 3)
        model_delete(&all, i, min_ts_ms, max_ts_ms);
    merge(fx, &sources, 3, true);
    assert_holds(fx, &all);
    clear_sources(&sources);
}

/* ---- Chunk files ---- */

static void test_chunk_file(void **state)
{
    struct fixture *fx = *state;
    struct ap_err err;
    struct chunk_file *file = NULL;
    assert_int_equal(chunk_file_create(&os_fs_system, fx->blocks_fd, "chunks", &file, &err), AP_OK);
    char content[1000];
    uint64_t offsets[50];
    for (size_t i = 0; i < AP_ARRAY_COUNT(offsets); i++) {
        memset(content, 'a' + (int)(i % 26), sizeof(content));
        assert_int_equal(chunk_file_append(file, ap_slice(content, 10 * i + 1), &offsets[i], &err), AP_OK);
    }
    assert_int_equal(chunk_file_sync(file, &err), AP_OK);
    uint64_t bytes = chunk_file_bytes(file);
    struct ap_slice chunk;
    assert_int_equal(chunk_file_read(file, bytes - 1, 2, &chunk, &err), AP_E_CORRUPT);
    assert_int_equal(chunk_file_read(file, UINT64_MAX, 2, &chunk, &err), AP_E_CORRUPT);
    chunk_file_unref(file);

    /* A crash left something behind the end: it is cut, and what comes next stands in its place. */
    int fd = openat(fx->blocks_fd, "chunks", O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "torn", 4), 4);
    close(fd);
    assert_int_equal(chunk_file_open(&os_fs_system, fx->blocks_fd, "chunks", bytes, true, &file, &err), AP_OK);
    uint64_t offset;
    assert_int_equal(chunk_file_append(file, ap_slice_cstr("next"), &offset, &err), AP_OK);
    assert_int_equal(offset, bytes);
    for (size_t i = 0; i < AP_ARRAY_COUNT(offsets); i++) {
        assert_int_equal(chunk_file_read(file, offsets[i], (uint32_t)(10 * i + 1), &chunk, &err), AP_OK);
        assert_int_equal(chunk.data[10 * i], 'a' + (int)(i % 26));
    }
    assert_int_equal(chunk_file_read(file, offset, 4, &chunk, &err), AP_OK);
    assert_true(ap_slice_equal_cstr(chunk, "next"));
    chunk_file_unref(file);

    /* Shorter than it is said to be, or another header. */
    assert_int_equal(chunk_file_open(&os_fs_system, fx->blocks_fd, "chunks", bytes + 5, false, &file, &err),
                     AP_E_CORRUPT);
    assert_non_null(strstr(err.text, "chunks"));
    fd = openat(fx->blocks_fd, "chunks", O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "B", 1, 1), 1);
    close(fd);
    assert_int_equal(chunk_file_open(&os_fs_system, fx->blocks_fd, "chunks", bytes, false, &file, &err), AP_E_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reads_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_byte_flipped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_everywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merge_side_by_side, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merge_overlapping, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merge_drops_what_was_deleted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk_file, setup, teardown),
    };
    return cmocka_run_group_tests_name("block", tests, NULL, NULL);
}
