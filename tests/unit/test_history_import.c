/* A directory of a Prometheus, made by hand, taken into a store: what is there then, to the sample. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <pthread.h>

#include "history/import.h"
#include "os/fs.h"
#include "test_prometheus_dir.h"
#include "tsdb/tsdb.h"
#include "wal/wal.h"

#define HOUR_MS INT64_C(3600000)
#define NOON_MS INT64_C(1764000000000) /* a multiple of two hours, but for 40 minutes */
#define ZERO_MS (NOON_MS / (2 * HOUR_MS) * (2 * HOUR_MS))

struct fixture {
    char root[64];
    char source[96];
    char tsdb_dir[96];
    int wal_fd;
    struct wal *wal;
    struct tsdb *tsdb;
    struct ap_buf told; /* damage */
    pthread_mutex_t mtx;
    struct history_report report;
    struct history_verification verification;
    struct ap_buf differences;
};

static int64_t wall_us(void *context)
{
    (void)context;
    return (NOON_MS + 24 * HOUR_MS) * 1000;
}
static const struct ap_clock fixed_clock = {wall_us, wall_us, NULL};

static void open_store(struct fixture *fx)
{
    struct ap_err err;
    AP_AUTO_FREE char *wal_dir = ap_asprintf("%s/wal", fx->root);
    assert_int_equal(os_dir_open(wal_dir, &fx->wal_fd, &err), AP_OK);
    struct wal_options wal_options;
    wal_options_init(&wal_options);
    wal_options.segment_bytes = 1 << 20;
    wal_options.record_bytes_max = 512 * 1024;
    uint64_t cut;
    assert_int_equal(wal_open(fx->wal_fd, &wal_options, &fx->wal, &cut, &err), AP_OK);
    struct tsdb_options options;
    tsdb_options_init(&options);
    options.dir = fx->tsdb_dir;
    options.wal = fx->wal;
    options.clock = &fixed_clock;
    options.retention_ms = 0;
    if (tsdb_open(&options, &fx->tsdb, &err) != AP_OK)
        fail_msg("%s", err.text);
}

static void close_store(struct fixture *fx)
{
    tsdb_close(fx->tsdb);
    wal_close(fx->wal);
    close(fx->wal_fd);
}

static void fixture_init(struct fixture *fx)
{
    memset(fx, 0, sizeof(*fx));
    snprintf(fx->root, sizeof(fx->root), "/tmp/apiary-test-XXXXXX");
    assert_non_null(mkdtemp(fx->root));
    snprintf(fx->source, sizeof(fx->source), "%s/source", fx->root);
    snprintf(fx->tsdb_dir, sizeof(fx->tsdb_dir), "%s/tsdb", fx->root);
    pthread_mutex_init(&fx->mtx, NULL);
    open_store(fx);
}

static void fixture_clear(struct fixture *fx)
{
    close_store(fx);
    ap_buf_clear(&fx->told);
    ap_buf_clear(&fx->differences);
    AP_AUTO_FREE char *command = ap_asprintf("rm -rf %s", fx->root);
    assert_int_equal(system(command), 0);
}

/* ---- Importing ---- */

static void trouble(const struct ap_err *err, void *context)
{
    struct fixture *fx = context;
    pthread_mutex_lock(&fx->mtx);
    ap_buf_printf(&fx->told, "%s\n", err->text);
    pthread_mutex_unlock(&fx->mtx);
}

static void difference(const struct history_difference *found, void *context)
{
    struct fixture *fx = context;
    labels_format(found->labels, &fx->differences);
    ap_buf_printf(&fx->differences, " %llu %llu %llu\n", (unsigned long long)found->source_count,
                  (unsigned long long)found->store_count, (unsigned long long)found->other_count);
}

static struct history_import *open_import(struct fixture *fx, const struct history_import_options *changes)
{
    struct history_import_options options = *changes;
    struct history_import *import = NULL;
    struct ap_err err;
    options.dir = fx->source;
    options.tsdb_dir = fx->tsdb_dir;
    options.clock = &fixed_clock;
    options.to_ms = options.to_ms ? options.to_ms : INT64_MAX;
    options.from_ms = options.from_ms ? options.from_ms : INT64_MIN;
    options.memory_bytes = options.memory_bytes ? options.memory_bytes : 1 << 20;
    options.thread_count = 2;
    options.block_range_ms = 2 * HOUR_MS;
    options.unit_ms_max = 18 * HOUR_MS;
    options.trouble = trouble;
    options.context = fx;
    ap_buf_reset(&fx->told);
    ap_buf_reset(&fx->differences);
    if (history_import_open(&options, &import, &err) != AP_OK)
        fail_msg("%s", err.text);
    return import;
}

static struct history_facts import_with(struct fixture *fx, const struct history_import_options *changes)
{
    AP_AUTO(history_import) struct history_import *import = open_import(fx, changes);
    const struct history_store store = history_store_local(fx->tsdb);
    struct history_facts facts;
    struct ap_err err;
    if (history_import_run(import, &store, &fx->report, &err) != AP_OK ||
        history_import_verify(import, fx->tsdb, difference, fx, &fx->verification, &err) != AP_OK)
        fail_msg("%s", err.text);
    history_import_facts(import, &facts);
    return facts;
}

static struct history_facts import(struct fixture *fx)
{
    return import_with(fx, &(struct history_import_options){0});
}

/* "name{job="a"}: minute=value …", times from ZERO_MS on in minutes. */
static void check_stored(struct fixture *fx, const char *want)
{
    const struct matchers all = {.count = 0};
    const struct tsdb_select_options options = {.matchers = &all, .min_ts_ms = INT64_MIN, .max_ts_ms = INT64_MAX};
    AP_AUTO(tsdb_set) struct tsdb_set *set = NULL;
    AP_AUTO_BUF struct ap_buf text = {0};
    struct tsdb_columns columns = {0};
    struct ap_err err;
    assert_int_equal(tsdb_select(fx->tsdb, &options, &set, &err), AP_OK);
    for (size_t i = 0; i < tsdb_set_count(set); i++) {
        assert_int_equal(tsdb_set_read(set, i, &columns, &err), AP_OK);
        labels_format(tsdb_set_labels(set, i), &text);
        for (size_t j = 0; j < columns.count; j++)
            ap_buf_printf(&text, " %lld=%g", (long long)(columns.ts_ms[j] - ZERO_MS) / 60000, columns.values[j]);
        for (size_t j = 0; j < columns.histogram_count; j++)
            ap_buf_printf(&text, " %lld=h", (long long)(columns.histogram_ts_ms[j] - ZERO_MS) / 60000);
        ap_buf_add_char(&text, '\n');
    }
    tsdb_columns_clear(&columns);
    ap_buf_add_char(&text, '\0');
    assert_string_equal(text.data, want);
}

static int64_t minute(int64_t number)
{
    return ZERO_MS + number * 60000;
}

/* ---- Blocks ---- */

static void write_two_blocks(const struct fixture *fx)
{
    const struct made_chunk first[] = {{minute(0), 60000, 3, 1}, {minute(60), 60000, 2, 10}};
    const struct made_chunk over[] = {{minute(1), 60000, 2, 99}, {minute(200), 60000, 2, 50}};
    const struct made_series one[] = {{"up", "a", first, 2}, {"up", "b", first, 1}};
    const struct made_series two[] = {{"load", "x", over, 1}, {"up", "a", over, 2}};
    const int64_t stones[][3] = {{0, minute(1), minute(1)}, {1, minute(2), minute(500)}};
    struct made_block block;
    make_block(&block, 1, one, 2);
    write_block(&block, fx->source, "01AAAAAAAAAAAAAAAAAAAAAAAA", minute(0), minute(120), stones, 2);
    made_block_clear(&block);
    make_block(&block, 2, two, 2);
    write_block(&block, fx->source, "01BBBBBBBBBBBBBBBBBBBBBBBB", minute(0), minute(240), NULL, 0);
    made_block_clear(&block);
}

/* Overlapping blocks: the older one's sample counts, and what is deleted in it comes from the other. */
static void test_blocks(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    write_two_blocks(&fx);
    struct history_facts facts = import(&fx);
    static const char want[] = "load{job=\"x\"} 1=99 2=100\n"
                               "up{job=\"a\"} 0=1 1=99 2=3 60=10 61=11 200=50 201=51\n"
                               "up{job=\"b\"} 0=1 1=2\n";
    assert_int_equal(facts.block_count, 2);
    assert_int_equal(fx.report.samples_added, 11);
    assert_int_equal(fx.verification.samples, 11);
    assert_int_equal(fx.verification.differing_series, 0);
    assert_true(fx.verification.checksum == fx.verification.store_checksum && fx.verification.checksum != 0);
    check_stored(&fx, want);
    /* Again, with and without what is noted; and after a restart. */
    (void)import(&fx);
    assert_int_equal(fx.report.units, 0);
    close_store(&fx);
    open_store(&fx);
    AP_AUTO_FREE char *state_path = ap_asprintf("%s/import/state", fx.tsdb_dir);
    assert_int_equal(unlink(state_path), 0);
    (void)import(&fx);
    assert_int_equal(fx.report.samples_same, 11);
    assert_int_equal(fx.report.samples_added, 0);
    check_stored(&fx, want);
    fixture_clear(&fx);
}

static void test_spans_and_selectors(void **state)
{
    (void)state;
    struct fixture fx;
    struct ap_err err;
    struct matchers selectors[2];
    fixture_init(&fx);
    write_two_blocks(&fx);
    assert_int_equal(matchers_parse(ap_slice_cstr("up{job=\"b\"}"), &selectors[0], &err), AP_OK);
    assert_int_equal(matchers_parse(ap_slice_cstr("load"), &selectors[1], &err), AP_OK);
    const struct history_import_options options = {
        .selectors = selectors, .selector_count = 2, .from_ms = minute(1), .to_ms = minute(1)};
    (void)import_with(&fx, &options);
    check_stored(&fx, "load{job=\"x\"} 1=99\nup{job=\"b\"} 1=2\n");
    (void)import_with(&fx, &(struct history_import_options){.from_ms = minute(61)});
    check_stored(&fx, "load{job=\"x\"} 1=99\nup{job=\"a\"} 61=11 200=50 201=51\nup{job=\"b\"} 1=2\n");
    for (int i = 0; i < 2; i++)
        matchers_clear(&selectors[i]);
    fixture_clear(&fx);
}

/* ---- The head ---- */

static void put_histogram(struct ap_buf *segment, uint64_t ref, int64_t ts_ms, uint64_t count)
{
    AP_AUTO_BUF struct ap_buf record = {0};
    ap_buf_add_char(&record, 7);
    put_big_endian(&record, ref, 8);
    put_big_endian(&record, (uint64_t)ts_ms, 8);
    put_zigzag(&record, 0);
    put_zigzag(&record, 0);
    ap_buf_add_char(&record, 0);
    put_zigzag(&record, 0);
    put_big_endian(&record, 0, 8);
    ap_buf_add_varint(&record, 0);
    ap_buf_add_varint(&record, count);
    put_big_endian(&record, ap_double_to_bits(1.5), 8);
    const uint8_t rest[] = {1, 0, 1, 0, 1}; /* a span of one bucket, no negative ones */
    ap_buf_add(&record, rest, sizeof(rest));
    put_zigzag(&record, (int64_t)count);
    ap_buf_add_varint(&record, 0);
    put_record(segment, &record);
}

static void put_marker(struct ap_buf *segment, uint64_t ref, uint64_t chunk_ref)
{
    AP_AUTO_BUF struct ap_buf record = {0};
    ap_buf_add_char(&record, 5);
    put_big_endian(&record, ref, 8);
    put_big_endian(&record, chunk_ref, 8);
    put_record(segment, &record);
}

static void put_exemplar(struct ap_buf *segment, uint64_t ref, int64_t ts_ms, double value)
{
    AP_AUTO_BUF struct ap_buf record = {0};
    ap_buf_add_char(&record, 4);
    put_big_endian(&record, ref, 8);
    put_big_endian(&record, (uint64_t)ts_ms, 8);
    put_zigzag(&record, 0);
    put_zigzag(&record, 0);
    put_big_endian(&record, ap_double_to_bits(value), 8);
    ap_buf_add_varint(&record, 1);
    put_text(&record, "trace_id");
    put_text(&record, "abc");
    put_record(segment, &record);
}

static void put_metadata(struct ap_buf *segment, uint64_t ref)
{
    AP_AUTO_BUF struct ap_buf record = {0};
    ap_buf_add_char(&record, 6);
    ap_buf_add_varint(&record, ref);
    ap_buf_add_char(&record, 2);
    ap_buf_add_varint(&record, 2);
    put_text(&record, "UNIT");
    put_text(&record, "");
    put_text(&record, "HELP");
    put_text(&record, "Whether it is up.");
    put_record(segment, &record);
}

static void put_stone(struct ap_buf *segment, uint64_t ref, int64_t min_ms, int64_t max_ms)
{
    AP_AUTO_BUF struct ap_buf record = {0};
    ap_buf_add_char(&record, 3);
    put_big_endian(&record, ref, 8);
    put_zigzag(&record, min_ms);
    put_zigzag(&record, max_ms);
    put_record(segment, &record);
}

/*
 * A block up to minute 120, its last sample deleted, and one of late samples up to 240, which does not say that it is
 * one (2.42 forgets it when it merges them). Then, in the checkpoint, series 1 to 3; in the log behind it their
 * samples: such that the block has, such that come twice or late, histograms, a deletion, and a series that gets a
 * second number.
 */
static void write_head(const struct fixture *fx)
{
    const struct made_chunk last[] = {{minute(110), 60000, 10, 5}};
    const struct made_series series[] = {{"up", "a", last, 1}};
    struct made_block block;
    make_block(&block, 2, series, 1);
    const int64_t stones[][3] = {{0, minute(119), minute(119)}};
    write_block(&block, fx->source, "01AAAAAAAAAAAAAAAAAAAAAAAA", minute(0), minute(120), stones, 1);
    made_block_clear(&block);
    const struct made_chunk one_late[] = {{minute(130), 60000, 1, 9}};
    const struct made_series late_series[] = {{"up", "b", one_late, 1}};
    make_block(&block, 2, late_series, 1);
    write_block(&block, fx->source, "01BBBBBBBBBBBBBBBBBBBBBBBB", minute(120), minute(240), NULL, 0);
    made_block_clear(&block);

    AP_AUTO_BUF struct ap_buf before = {0};
    AP_AUTO_BUF struct ap_buf checkpoint = {0};
    AP_AUTO_BUF struct ap_buf log = {0};
    AP_AUTO_BUF struct ap_buf late = {0};
    AP_AUTO_BUF struct ap_buf chunks = {0};
    put_sample_record(&before, 1, minute(130), 666); /* behind the checkpoint: nobody reads it */
    put_series_record(&checkpoint, 1, "up", "a");
    put_series_record(&checkpoint, 2, "up", "b");
    put_series_record(&checkpoint, 3, "size", "c");
    put_sample_record(&checkpoint, 1, minute(119), 777); /* the block's time */
    put_sample_record(&log, 1, minute(121), 21);
    put_sample_record(&log, 1, minute(122), 22);
    put_sample_record(&log, 1, minute(122), 222); /* twice */
    put_sample_record(&log, 1, minute(120), 20);  /* late, and wbl/ does not have it */
    put_sample_record(&log, 1, minute(125), 25);
    put_sample_record(&log, 9, minute(125), 9); /* of nobody */
    put_sample_record(&log, 2, minute(121), 1);
    put_sample_record(&log, 2, minute(131), 2);
    put_sample_record(&log, 2, minute(141), 3);
    put_stone(&log, 2, minute(130), minute(135));
    put_histogram(&log, 3, minute(140), 4);
    put_histogram(&log, 3, minute(141), 6);
    put_series_record(&log, 4, "up", "a"); /* it went and came again */
    put_sample_record(&log, 4, minute(150), 50);
    put_exemplar(&log, 1, minute(121), 0.5);
    put_metadata(&log, 1);
    /* In chunks: 126 and 127 in order (the log has 127 as well), 100 and 101 late and spoken of, 90 not. */
    (void)put_head_chunk(&chunks, 1, false, &(struct made_chunk){minute(126), 60000, 2, 26});
    put_sample_record(&log, 4, minute(151), 51);
    put_sample_record(&log, 4, minute(185), 52); /* more than an hour behind the first block */
    size_t spoken = put_head_chunk(&chunks, 1, true, &(struct made_chunk){minute(100), 60000, 2, 70});
    (void)put_head_chunk(&chunks, 1, true, &(struct made_chunk){minute(90), 60000, 2, 80});
    put_marker(&late, 1, UINT64_C(1) << 32 | spoken);
    put_sample_record(&late, 1, minute(101), 171); /* the chunk's counts */
    put_sample_record(&late, 1, minute(123), 23);
    put_sample_record(&late, 1, minute(125), 125); /* came in order before */
    put_file(fx->source, "wal/00000000", &before);
    put_file(fx->source, "wal/checkpoint.00000000/00000000", &checkpoint);
    put_file(fx->source, "wal/00000001", &log);
    put_file(fx->source, "wbl/00000000", &late);
    put_file(fx->source, "chunks_head/000001", &chunks);
}

static void add_exemplar_text(struct ap_buf *text, const struct batch_exemplar *exemplar)
{
    ap_buf_printf(text, "%lld=%g", (long long)(exemplar->ts_ms - ZERO_MS) / 60000, exemplar->value);
}
static bool each_exemplar(struct ap_slice labels, const struct batch_exemplar *exemplar, void *context)
{
    labels_format(labels, context);
    add_exemplar_text(context, exemplar);
    labels_format(exemplar->labels, context);
    return true;
}
static bool each_metadata(const struct batch_metadata *metadata, void *context)
{
    ap_buf_printf(context, "%.*s %s %.*s", AP_SLICE_ARG(metadata->metric), metadata_type_name(metadata->type),
                  AP_SLICE_ARG(metadata->help));
    return true;
}

static void test_head(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        struct fixture fx;
        fixture_init(&fx);
        write_head(&fx);
        /* In the second round each series is a group of its own. */
        struct history_facts facts =
            import_with(&fx, &(struct history_import_options){.memory_bytes = round ? 2 : 1 << 20});
        assert_int_equal(facts.head.lost_samples, 1);
        assert_int_equal(facts.head.series_count, 3);
        assert_int_equal(fx.told.bytes, 0);
        assert_int_equal(fx.verification.differing_series, 0);
        check_stored(&fx, "size{job=\"c\"} 140=h 141=h\n"
                          "up{job=\"a\"} 100=70 101=71 110=5 111=6 112=7 113=8 114=9 115=10 116=11 117=12 118=13 "
                          "121=21 122=22 123=23 125=25 126=26 127=27 150=50 151=51 185=52\n"
                          "up{job=\"b\"} 121=1 130=9 141=3\n");
        AP_AUTO_BUF struct ap_buf text = {0};
        const struct matchers all = {.count = 0};
        tsdb_exemplars(fx.tsdb, &all, INT64_MIN, INT64_MAX, each_exemplar, &text);
        assert_true(ap_slice_equal_cstr(ap_buf_slice(&text), "up{job=\"a\"}121=0.5{trace_id=\"abc\"}"));
        ap_buf_reset(&text);
        tsdb_metadata(fx.tsdb, ap_slice(NULL, 0), each_metadata, &text);
        assert_true(ap_slice_equal_cstr(ap_buf_slice(&text), "up gauge Whether it is up."));
        fixture_clear(&fx);
    }
}

/* ---- What goes wrong ---- */

static void flip(const struct fixture *fx, const char *name, long offset)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/%s", fx->source, name);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, offset, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, offset, SEEK_SET);
    fputc(byte ^ 8, file);
    fclose(file);
}

static void test_damage(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    write_two_blocks(&fx);
    flip(&fx, "01BBBBBBBBBBBBBBBBBBBBBBBB/index", 20);
    struct history_facts facts = import(&fx);
    assert_int_equal(facts.damaged_blocks, 1);
    ap_buf_add_char(&fx.told, '\0');
    assert_string_equal(fx.told.data, "block 01BBBBBBBBBBBBBBBBBBBBBBBB is damaged and left out: index, offset 5: the "
                                      "checksum of the symbols does not fit\n");
    check_stored(&fx, "up{job=\"a\"} 0=1 2=3 60=10 61=11\nup{job=\"b\"} 0=1 1=2\n");
    flip(&fx, "01BBBBBBBBBBBBBBBBBBBBBBBB/index", 20); /* mended: the rest comes */
    flip(&fx, "01AAAAAAAAAAAAAAAAAAAAAAAA/chunks/000001", 14);
    facts = import(&fx);
    assert_int_equal(facts.damaged_blocks, 0);
    ap_buf_add_char(&fx.told, '\0');
    assert_non_null(strstr(fx.told.data, "block 01AAAAAAAAAAAAAAAAAAAAAAAA: chunks/000001, offset 8: the checksum"));
    check_stored(&fx, "load{job=\"x\"} 1=99 2=100\nup{job=\"a\"} 0=1 1=99 2=3 60=10 61=11 200=50 201=51\n"
                      "up{job=\"b\"} 0=1 1=2\n");
    fixture_clear(&fx);
}

static void test_differences_are_told(void **state)
{
    (void)state;
    struct fixture fx;
    struct ap_err err;
    struct matchers selector;
    fixture_init(&fx);
    write_two_blocks(&fx);
    (void)import(&fx);
    assert_int_equal(matchers_parse(ap_slice_cstr("up{job=\"a\"}"), &selector, &err), AP_OK);
    assert_int_equal(tsdb_delete(fx.tsdb, &selector, minute(60), minute(60), &err), AP_OK);
    matchers_clear(&selector);
    (void)import(&fx); /* what was done stays done: a deletion in Apiary is not undone by running it again */
    assert_int_equal(fx.verification.differing_series, 1);
    assert_int_equal(fx.verification.missing_samples, 1);
    assert_true(fx.verification.checksum != fx.verification.store_checksum);
    assert_true(ap_slice_equal_cstr(ap_buf_slice(&fx.differences), "up{job=\"a\"} 7 6 0\n"));
    fixture_clear(&fx);
}

/* Killed between the steps of a unit: a block that was finished and not noted, and one that was noted. */
static void test_goes_on(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx);
    write_two_blocks(&fx);
    (void)import(&fx);
    AP_AUTO_FREE char *command =
        ap_asprintf("cd %s && mkdir -p staging/01CCCCCCCCCCCCCCCCCCCCCCCC staging/01DDDDDDDDDDDDDDDDDDDDDDDD.tmp && "
                    "echo x > staging/01CCCCCCCCCCCCCCCCCCCCCCCC/index && "
                    "sed -i 's/done/staged 01EEEEEEEEEEEEEEEEEEEEEEEE/' import/state",
                    fx.tsdb_dir);
    assert_int_equal(system(command), 0);
    (void)import(&fx); /* what is noted and not in staging/ was taken in; what is there and not noted goes */
    assert_int_equal(fx.report.units, 0);
    assert_int_equal(fx.verification.differing_series, 0);
    AP_AUTO_FREE char *check = ap_asprintf("cd %s && test -z \"$(ls staging)\" && ! grep -q staged import/state && "
                                           "grep -q done import/state",
                                           fx.tsdb_dir);
    assert_int_equal(system(check), 0);
    fixture_clear(&fx);
}

/* A store that finds fault with what it is to take in. */
static enum ap_rc refuse(void *context, const char *id, struct tsdb_adoption *ret_adoption, struct ap_err *err)
{
    (void)context, (void)ret_adoption;
    return ap_fail(err, AP_E_CORRUPT, "staging/%s/index, offset 7: bad", id);
}

/* It is put aside, and the step is done again by the next run. */
static void test_damaged_block_is_put_aside(void **state)
{
    (void)state;
    struct fixture fx;
    struct ap_err err;
    fixture_init(&fx);
    write_two_blocks(&fx);
    struct history_import *import_refused = open_import(&fx, &(struct history_import_options){0});
    const struct history_store store = {.adopt = refuse};
    assert_int_equal(history_import_run(import_refused, &store, &fx.report, &err), AP_E_CORRUPT);
    assert_non_null(strstr(err.text, "quarantine; run this again: staging/"));
    assert_non_null(strstr(err.text, "offset 7: bad"));
    history_import_close(import_refused);
    AP_AUTO_FREE char *check =
        ap_asprintf("cd %s && test $(ls quarantine | wc -l) -ge 1 && test $(ls quarantine/*/index | wc -l) "
                    "= $(ls quarantine | wc -l)",
                    fx.tsdb_dir);
    assert_int_equal(system(check), 0);
    (void)import(&fx);
    assert_int_equal(fx.report.samples_added, 11);
    assert_int_equal(fx.verification.differing_series, 0);
    fixture_clear(&fx);
}

/* One at a time on a store, until it is closed. */
static void test_one_at_a_time(void **state)
{
    (void)state;
    struct fixture fx;
    struct ap_err err;
    fixture_init(&fx);
    write_two_blocks(&fx);
    struct history_import *first = open_import(&fx, &(struct history_import_options){0});
    struct history_import *second = open_import(&fx, &(struct history_import_options){0});
    const struct history_store store = history_store_local(fx.tsdb);
    assert_int_equal(history_import_lock(first, &err), AP_OK);
    assert_int_equal(history_import_run(second, &store, &fx.report, &err), AP_E_CONFLICT);
    assert_non_null(strstr(err.text, "another import is at work on "));
    assert_int_equal(history_import_run(first, &store, &fx.report, &err), AP_OK);
    history_import_close(first);
    assert_int_equal(history_import_run(second, &store, &fx.report, &err), AP_OK);
    history_import_close(second);
    fixture_clear(&fx);
}

static void test_leaves_room_on_the_disk(void **state)
{
    (void)state;
    struct fixture fx;
    struct ap_err err;
    fixture_init(&fx);
    write_two_blocks(&fx);
    struct history_import *starved = open_import(&fx, &(struct history_import_options){.free_bytes_min = UINT64_MAX});
    const struct history_store store = history_store_local(fx.tsdb);
    assert_int_equal(history_import_run(starved, &store, &fx.report, &err), AP_E_FULL);
    assert_non_null(strstr(err.text, "MiB are left to the server"));
    history_import_close(starved);
    (void)import(&fx);
    assert_int_equal(fx.report.samples_added, 11);
    fixture_clear(&fx);
}

static void test_no_directory(void **state)
{
    (void)state;
    struct history_import *import = NULL;
    struct ap_err err;
    struct history_import_options options = {
        .dir = "/tmp", .tsdb_dir = "/nonexistent", .clock = &fixed_clock, .thread_count = 1};
    assert_int_equal(history_import_open(&options, &import, &err), AP_E_NOT_FOUND);
    assert_non_null(strstr(err.text, "no data directory of Prometheus"));
    options.dir = "/nonexistent";
    assert_int_equal(history_import_open(&options, &import, &err), AP_E_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),        cmocka_unit_test(test_spans_and_selectors),
        cmocka_unit_test(test_head),          cmocka_unit_test(test_damage),
        cmocka_unit_test(test_goes_on),       cmocka_unit_test(test_differences_are_told),
        cmocka_unit_test(test_no_directory),  cmocka_unit_test(test_damaged_block_is_put_aside),
        cmocka_unit_test(test_one_at_a_time), cmocka_unit_test(test_leaves_room_on_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
