/*
 * The store as a whole, against a model that is a sorted array: random batches, settling, restarts, crashes, deletions,
 * retention, snapshots. A crash is a copy of the directory as it lies there, opened as it is.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/bits.h"
#include "base/random.h"
#include "os/fs.h"
#include "tsdb/block.h"
#include "tsdb/head_verify.h"
#include "tsdb/histogram.h"
#include "tsdb/tsdb.h"
#include "wal/crc32c.h"
#include "wal/wal.h"

enum { SERIES_COUNT = 24, MODEL_MAX = 200000, RANGE_MS = 600 * 1000 };

struct model_sample {
    int64_t ts_ms;
    uint64_t bits;
};

struct fixture {
    char root[64];
    char dir[96];
    unsigned dir_number;
    int wal_fd;
    struct wal *wal;
    struct tsdb *tsdb;
    struct tsdb_options options;
    struct ap_random random;
    int64_t now_ms;
    struct ap_clock clock;
    struct model_sample *model[SERIES_COUNT]; /* sorted */
    size_t model_count[SERIES_COUNT];
    double last[SERIES_COUNT];
    char trouble[512];
};

static int64_t wall_us(void *context)
{
    return ((struct fixture *)context)->now_ms * 1000;
}
static int64_t monotonic_us(void *context)
{
    return ((struct fixture *)context)->now_ms * 1000;
}

static void note_trouble(const struct ap_err *err, void *context)
{
    snprintf(((struct fixture *)context)->trouble, sizeof(((struct fixture *)context)->trouble), "%s", err->text);
}

static void open_store(struct fixture *fx)
{
    struct ap_err err = {0};
    char path[128];
    snprintf(path, sizeof(path), "%s/wal", fx->dir);
    assert_int_equal(os_dir_open(path, &fx->wal_fd, &err), AP_OK);
    struct wal_options wal_options;
    wal_options_init(&wal_options);
    wal_options.segment_bytes = 1 << 20;
    wal_options.record_bytes_max = 512 * 1024;
    uint64_t cut;
    assert_int_equal(wal_open(fx->wal_fd, &wal_options, &fx->wal, &cut, &err), AP_OK);
    snprintf(path, sizeof(path), "%s/tsdb", fx->dir);
    fx->options.dir = path;
    fx->options.wal = fx->wal;
    enum ap_rc rc = tsdb_open(&fx->options, &fx->tsdb, &err);
    if (rc != AP_OK)
        fail_msg("%s", err.text);
}

static void close_store(struct fixture *fx)
{
    tsdb_close(fx->tsdb);
    wal_close(fx->wal);
    close(fx->wal_fd);
}

static void run(const char *format, ...)
{
    char command[512];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    assert_int_equal(system(command), 0);
}

static void fixture_init(struct fixture *fx, uint64_t seed)
{
    memset(fx, 0, sizeof(*fx));
    snprintf(fx->root, sizeof(fx->root), "/tmp/apiary-test-XXXXXX");
    assert_non_null(mkdtemp(fx->root));
    snprintf(fx->dir, sizeof(fx->dir), "%s/0", fx->root);
    ap_random_init(&fx->random, seed);
    fx->now_ms = INT64_C(1764000000000);
    fx->clock = (struct ap_clock){wall_us, monotonic_us, fx};
    tsdb_options_init(&fx->options);
    fx->options.clock = &fx->clock;
    fx->options.block_range_ms = RANGE_MS;
    fx->options.out_of_order_window_ms = 2 * RANGE_MS;
    fx->options.block_merge_max_ms = 20 * RANGE_MS;
    fx->options.retention_ms = 0;
    fx->options.shard_count = 2;
    fx->options.trouble = note_trouble;
    fx->options.context = fx;
    for (int i = 0; i < SERIES_COUNT; i++)
        fx->model[i] = calloc(MODEL_MAX, sizeof(struct model_sample));
    open_store(fx);
}

static void fixture_clear(struct fixture *fx)
{
    close_store(fx);
    for (int i = 0; i < SERIES_COUNT; i++)
        free(fx->model[i]);
    run("rm -rf %s", fx->root);
}

static void restart(struct fixture *fx)
{
    close_store(fx);
    open_store(fx);
}

static void fault_found(const struct block_fault *fault, void *context)
{
    (void)context;
    fail_msg("head/%s: %s", fault->file, fault->text);
}

/* `apiary tsdb verify` has nothing to complain about. */
static void verify_head(const struct fixture *fx)
{
    char path[128];
    struct head_verified verified;
    snprintf(path, sizeof(path), "%s/tsdb", fx->dir);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(head_verify(&os_fs_system, fd, fault_found, NULL, &verified), 0);
    close(fd);
}

/* What a machine finds that lost its power now. */
static void crash(struct fixture *fx)
{
    char before[96];
    snprintf(before, sizeof(before), "%s", fx->dir);
    snprintf(fx->dir, sizeof(fx->dir), "%s/%u", fx->root, ++fx->dir_number);
    run("cp -a %s %s", before, fx->dir);
    char after[96];
    snprintf(after, sizeof(after), "%s", fx->dir);
    snprintf(fx->dir, sizeof(fx->dir), "%s", before);
    close_store(fx);
    run("rm -rf %s", before);
    snprintf(fx->dir, sizeof(fx->dir), "%s", after);
    verify_head(fx);
    open_store(fx);
}

/* ---- Writing ---- */

static void series_labels(const struct fixture *fx, unsigned series, struct ap_buf *out)
{
    (void)fx;
    char name[32];
    char instance[32];
    snprintf(name, sizeof(name), "metric_%u", series % 5);
    snprintf(instance, sizeof(instance), "host-%u", series);
    struct label labels[] = {
        {ap_slice_cstr("__name__"), ap_slice_cstr(name)},
        {ap_slice_cstr("instance"), ap_slice_cstr(instance)},
        {ap_slice_cstr("job"), ap_slice_cstr(series % 2 ? "odd" : "even")},
    };
    struct ap_err err;
    assert_int_equal(labels_encode(labels, 3, out, &err), AP_OK);
}

struct waiting {
    struct tsdb_append append;
    volatile int is_done;
    bool is_appended;
    enum ap_rc rc;
};

static void append_done(struct tsdb_append *append, enum ap_rc rc)
{
    struct waiting *waiting = append->context;
    waiting->rc = rc;
    __atomic_store_n(&waiting->is_done, 1, __ATOMIC_RELEASE);
}

static struct tsdb_outcome append(struct fixture *fx, const struct batch *batch)
{
    struct waiting waiting = {.append = {.batch = batch, .done = append_done}};
    waiting.append.context = &waiting;
    struct ap_err err;
    assert_int_equal(tsdb_append(fx->tsdb, &waiting.append, &err), AP_OK);
    while (!__atomic_load_n(&waiting.is_done, __ATOMIC_ACQUIRE))
        usleep(50);
    assert_int_equal(waiting.rc, AP_OK);
    return waiting.append.outcome;
}

/* False: there is one of this time already. */
static bool model_add(struct fixture *fx, unsigned series, int64_t ts_ms, double value)
{
    struct model_sample *samples = fx->model[series];
    size_t count = fx->model_count[series];
    assert_true(count < MODEL_MAX);
    size_t at = count;
    while (at > 0 && samples[at - 1].ts_ms >= ts_ms)
        at--;
    if (at < count && samples[at].ts_ms == ts_ms)
        return false;
    memmove(&samples[at + 1], &samples[at], (count - at) * sizeof(*samples));
    samples[at] = (struct model_sample){ts_ms, ap_double_to_bits(value)};
    fx->model_count[series]++;
    return true;
}

static double next_value(struct fixture *fx, unsigned series)
{
    static const uint64_t odd[] = {0x7ff0000000000002, 0x8000000000000000, 0x7ff0000000000000, 0xfff8000000000001, 1};
    if (ap_random_below(&fx->random, 200) == 0) {
        double value;
        memcpy(&value, &odd[ap_random_below(&fx->random, 5)], 8);
        return value;
    }
    double *last = &fx->last[series];
    switch (series % 4) {
    case 0:
        return *last = round((*last + ap_random_normal(&fx->random) * 0.3) * 10) / 10;
    case 1:
        *last = ap_random_below(&fx->random, 500) == 0 ? 0 : *last + (double)ap_random_below(&fx->random, 1000);
        return *last;
    case 2:
        return 42;
    default:
        return ap_random_unit(&fx->random) * 100;
    }
}

/* One request: some series, each with one or several samples, now and then late or twice. */
static void write_some(struct fixture *fx)
{
    struct batch batch = {0};
    AP_AUTO_BUF struct ap_buf labels = {.bytes_max = 0};
    char *kept[SERIES_COUNT] = {0};
    fx->now_ms += 10 * 1000;
    uint64_t expected = 0;
    for (unsigned series = 0; series < SERIES_COUNT; series++) {
        if (ap_random_below(&fx->random, 4) == 0)
            continue;
        ap_buf_reset(&labels);
        series_labels(fx, series, &labels);
        kept[series] = malloc(labels.bytes);
        memcpy(kept[series], labels.data, labels.bytes);
        struct ap_slice slice = ap_slice(kept[series], labels.bytes);
        batch_add_series(&batch, slice, labels_hash_of(tsdb_hash_seed(fx->tsdb), slice));
        unsigned count = ap_random_below(&fx->random, 50) == 0 ? 400 : 1 + (unsigned)ap_random_below(&fx->random, 2);
        for (unsigned i = 0; i < count; i++) {
            int64_t ts_ms = fx->now_ms + (int64_t)series + (int64_t)i * 20;
            if (ap_random_below(&fx->random, 20) == 0)
                ts_ms -= (int64_t)ap_random_below(&fx->random, 3 * RANGE_MS / 2);
            double value = next_value(fx, series);
            if (!model_add(fx, series, ts_ms, value))
                continue;
            batch_add_sample(&batch, ts_ms, value);
            expected++;
        }
    }
    struct tsdb_outcome outcome = append(fx, &batch);
    if (outcome.samples_written != expected)
        fail_msg("%" PRIu64 " of %" PRIu64 " written: %s", outcome.samples_written, expected, outcome.reason);
    batch_clear(&batch);
    for (unsigned i = 0; i < SERIES_COUNT; i++)
        free(kept[i]);
}

/* ---- Comparing ---- */

static void select_or_die(struct fixture *fx, const char *selector, int64_t min_ms, int64_t max_ms,
                          struct tsdb_set **ret_set)
{
    struct matchers matchers;
    struct ap_err err;
    if (matchers_parse(ap_slice_cstr(selector), &matchers, &err) != AP_OK)
        fail_msg("%s", err.text);
    struct tsdb_select_options options = {.matchers = &matchers, .min_ts_ms = min_ms, .max_ts_ms = max_ms};
    if (tsdb_select(fx->tsdb, &options, ret_set, &err) != AP_OK)
        fail_msg("%s", err.text);
    matchers_clear(&matchers);
}

static void compare_series(struct fixture *fx, unsigned series, int64_t min_ms, int64_t max_ms, const char *when)
{
    char selector[64];
    snprintf(selector, sizeof(selector), "{instance=\"host-%u\"}", series);
    struct tsdb_set *set;
    select_or_die(fx, selector, min_ms, max_ms, &set);
    struct tsdb_columns columns = {0};
    struct ap_err err;
    size_t got = 0;
    if (tsdb_set_count(set)) {
        assert_int_equal(tsdb_set_count(set), 1);
        assert_int_equal(tsdb_set_read(set, 0, &columns, &err), AP_OK);
        got = columns.count;
    }
    size_t at = 0;
    for (size_t i = 0; i < fx->model_count[series]; i++) {
        const struct model_sample *sample = &fx->model[series][i];
        if (sample->ts_ms < min_ms || sample->ts_ms > max_ms)
            continue;
        if (at >= got || columns.ts_ms[at] != sample->ts_ms || ap_double_to_bits(columns.values[at]) != sample->bits)
            fail_msg("%s, series %u: sample %zu of %zu is at %" PRId64 " (%016" PRIx64 ") where %" PRId64
                     " (%016" PRIx64 ") was written; trouble: %s",
                     when, series, at, got, at < got ? columns.ts_ms[at] : 0,
                     at < got ? ap_double_to_bits(columns.values[at]) : 0, sample->ts_ms, sample->bits, fx->trouble);
        at++;
    }
    if (at != got)
        fail_msg("%s, series %u: %zu samples where %zu were written", when, series, got, at);
    tsdb_columns_clear(&columns);
    tsdb_set_free(set);
}

static void compare_all(struct fixture *fx, const char *when)
{
    for (unsigned series = 0; series < SERIES_COUNT; series++) {
        compare_series(fx, series, INT64_MIN, INT64_MAX, when);
        int64_t middle = fx->now_ms - (int64_t)ap_random_below(&fx->random, 10 * RANGE_MS);
        compare_series(fx, series, middle, middle + RANGE_MS, when);
    }
}

static void settle(struct fixture *fx, bool is_all)
{
    struct ap_err err;
    if (tsdb_settle(fx->tsdb, is_all, &err) != AP_OK)
        fail_msg("%s", err.text);
}

/* ---- Deleting ---- */

static void delete_or_die(struct fixture *fx, const char *selector, int64_t min_ms, int64_t max_ms)
{
    struct matchers matchers;
    struct ap_err err;
    assert_int_equal(matchers_parse(ap_slice_cstr(selector), &matchers, &err), AP_OK);
    if (tsdb_delete(fx->tsdb, &matchers, min_ms, max_ms, &err) != AP_OK)
        fail_msg("%s", err.text);
    matchers_clear(&matchers);
}

static void model_delete(struct fixture *fx, unsigned series, int64_t min_ms, int64_t max_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < fx->model_count[series]; i++)
        if (fx->model[series][i].ts_ms < min_ms || fx->model[series][i].ts_ms > max_ms)
            fx->model[series][kept++] = fx->model[series][i];
    fx->model_count[series] = kept;
}

/* A span of one series; now and then what was in it comes again, with other values. */
static void delete_some(struct fixture *fx)
{
    unsigned series = (unsigned)ap_random_below(&fx->random, SERIES_COUNT);
    int64_t min_ms = fx->now_ms - (int64_t)ap_random_below(&fx->random, 3 * RANGE_MS / 2);
    int64_t max_ms = min_ms + (int64_t)ap_random_below(&fx->random, RANGE_MS);
    char selector[64];
    snprintf(selector, sizeof(selector), "{instance=\"host-%u\"}", series);
    size_t count = 0;
    int64_t *deleted_ms = calloc(fx->model_count[series] + 1, sizeof(*deleted_ms));
    for (size_t i = 0; i < fx->model_count[series]; i++)
        if (fx->model[series][i].ts_ms >= min_ms && fx->model[series][i].ts_ms <= max_ms)
            deleted_ms[count++] = fx->model[series][i].ts_ms;
    delete_or_die(fx, selector, min_ms, max_ms);
    model_delete(fx, series, min_ms, max_ms);
    struct batch batch = {0};
    AP_AUTO_BUF struct ap_buf labels = {0};
    series_labels(fx, series, &labels);
    batch_add_series(&batch, ap_buf_slice(&labels), labels_hash_of(tsdb_hash_seed(fx->tsdb), ap_buf_slice(&labels)));
    if (ap_random_below(&fx->random, 2))
        count = 0;
    for (size_t i = 0; i < count; i++) {
        batch_add_sample(&batch, deleted_ms[i], (double)i);
        (void)model_add(fx, series, deleted_ms[i], (double)i);
    }
    assert_int_equal(append(fx, &batch).samples_written, count);
    batch_clear(&batch);
    free(deleted_ms);
}

/* ---- Tests ---- */

static void test_agrees_with_model(void **state)
{
    (void)state;
    struct fixture fx;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        print_message("seed %" PRIu64 "\n", seed);
        fixture_init(&fx, seed);
        for (int step = 0; step < 400; step++) {
            const char *what = "after a batch";
            write_some(&fx);
            switch (ap_random_below(&fx.random, 40)) {
            case 0:
                settle(&fx, false);
                what = "after settling";
                break;
            case 1:
                settle(&fx, true);
                what = "after sealing all";
                break;
            case 2:
                restart(&fx);
                what = "after a restart";
                break;
            case 3:
            case 4:
                crash(&fx);
                what = "after a crash";
                break;
            case 5:
            case 6:
                delete_some(&fx);
                what = "after a deletion";
                break;
            default:
                if (step % 40)
                    continue;
            }
            compare_all(&fx, what);
        }
        struct tsdb_stats stats;
        tsdb_stats_get(fx.tsdb, &stats);
        assert_int_equal(stats.chunks_damaged, 0);
        settle(&fx, true);
        tsdb_stats_get(fx.tsdb, &stats);
        assert_true(stats.block_count > 0);
        assert_int_equal(stats.head_chunks, 0);
        compare_all(&fx, "in blocks alone");
        crash(&fx);
        compare_all(&fx, "in blocks alone after a crash");
        fixture_clear(&fx);
    }
}

static struct tsdb_outcome append_one(struct fixture *fx, unsigned series, int64_t ts_ms, double value)
{
    struct batch batch = {0};
    AP_AUTO_BUF struct ap_buf labels = {0};
    series_labels(fx, series, &labels);
    batch_add_series(&batch, ap_buf_slice(&labels), labels_hash_of(tsdb_hash_seed(fx->tsdb), ap_buf_slice(&labels)));
    batch_add_sample(&batch, ts_ms, value);
    struct tsdb_outcome outcome = append(fx, &batch);
    batch_clear(&batch);
    return outcome;
}

static void test_duplicates_and_windows(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 7);
    int64_t now_ms = fx.now_ms;
    assert_int_equal(append_one(&fx, 0, now_ms, 1).samples_written, 1);
    assert_int_equal(append_one(&fx, 0, now_ms, 1).samples_written, 1); /* the same again */
    assert_int_equal(append_one(&fx, 0, now_ms, 2).refused_duplicate, 1);
    assert_int_equal(append_one(&fx, 0, now_ms - RANGE_MS, 3).samples_written, 1); /* late */
    assert_int_equal(append_one(&fx, 0, now_ms - RANGE_MS, 4).refused_duplicate, 1);
    struct tsdb_outcome outcome = append_one(&fx, 0, now_ms - 3 * RANGE_MS, 5);
    assert_int_equal(outcome.refused_old, 1);
    assert_non_null(strstr(outcome.reason, "host-0"));
    assert_int_equal(append_one(&fx, 0, now_ms + 2 * 3600 * 1000, 6).refused_future, 1);
    /* A clock that was set back changes nothing for those who go on. */
    fx.now_ms -= 10 * 3600 * 1000;
    assert_int_equal(append_one(&fx, 0, now_ms + 1000, 7).samples_written, 1);
    model_add(&fx, 0, now_ms, 1);
    model_add(&fx, 0, now_ms - RANGE_MS, 3);
    model_add(&fx, 0, now_ms + 1000, 7);
    compare_series(&fx, 0, INT64_MIN, INT64_MAX, "live");
    crash(&fx);
    compare_series(&fx, 0, INT64_MIN, INT64_MAX, "after a crash");
    fixture_clear(&fx);
}

/* ---- Numbers in place of labels ---- */

struct remembering {
    struct fixture *fx;
    unsigned asked; /* how often labels were asked for */
};

/* The batch has the series 0, 1, 2 … in this order. */
static void find_labels(void *context, size_t series_index, struct ap_buf *out)
{
    struct remembering *remembering = context;
    remembering->asked++;
    series_labels(remembering->fx, (unsigned)series_index, out);
}

static struct tsdb_outcome append_remembered(struct remembering *remembering, size_t count, uint32_t *refs,
                                             bool is_only_if_newest, int64_t ts_ms, double value)
{
    struct fixture *fx = remembering->fx;
    struct batch batch = {.find_labels = find_labels, .find_labels_context = remembering};
    for (unsigned i = 0; i < count; i++) {
        AP_AUTO_BUF struct ap_buf labels = {0};
        series_labels(fx, i, &labels);
        struct labels_hash hash = labels_hash_of(tsdb_hash_seed(fx->tsdb), ap_buf_slice(&labels));
        struct batch_series *series = batch_add_series(&batch, (struct ap_slice){0}, hash);
        series->is_only_if_newest = is_only_if_newest;
        batch_add_sample(&batch, ts_ms, value);
    }
    struct waiting waiting = {.append = {.batch = &batch, .done = append_done, .refs = refs}};
    waiting.append.context = &waiting;
    struct ap_err err;
    assert_int_equal(tsdb_append(fx->tsdb, &waiting.append, &err), AP_OK);
    while (!__atomic_load_n(&waiting.is_done, __ATOMIC_ACQUIRE))
        usleep(50);
    batch_clear(&batch);
    return waiting.append.outcome;
}

static void test_remembered_numbers(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 11);
    struct remembering remembering = {.fx = &fx};
    uint32_t refs[2] = {TSDB_REF_NONE, TSDB_REF_NONE};
    int64_t now_ms = fx.now_ms;
    assert_int_equal(append_remembered(&remembering, 2, refs, false, now_ms, 1).samples_written, 2);
    assert_int_equal(remembering.asked, 2);
    assert_true(refs[0] != refs[1] && refs[0] != TSDB_REF_NONE && refs[1] != TSDB_REF_NONE);
    /* Right, wrong, and none: the hash decides. */
    uint32_t first = refs[0];
    uint32_t guesses[][2] = {{refs[0], refs[1]}, {refs[1], refs[0]}, {TSDB_REF_NONE, 4000000000u}};
    for (size_t i = 0; i < AP_ARRAY_COUNT(guesses); i++) {
        now_ms += 1000;
        assert_int_equal(append_remembered(&remembering, 2, guesses[i], false, now_ms, (double)i).samples_written, 2);
        assert_true(guesses[i][0] == refs[0] && guesses[i][1] == refs[1]);
    }
    assert_int_equal(remembering.asked, 2);
    model_add(&fx, 0, fx.now_ms, 1);
    for (int i = 0; i < 3; i++)
        model_add(&fx, 0, fx.now_ms + 1000 * (i + 1), i);
    compare_series(&fx, 0, INT64_MIN, INT64_MAX, "live");
    /* Refused: the labels are asked for, for the reason alone, and the number is none. */
    fx.options.series_max = 2;
    restart(&fx);
    uint32_t three[3] = {first, refs[1], TSDB_REF_NONE};
    struct tsdb_outcome outcome = append_remembered(&remembering, 3, three, false, now_ms + 1000, 7);
    assert_int_equal(outcome.refused_series, 1);
    assert_int_equal(outcome.samples_written, 2);
    assert_non_null(strstr(outcome.reason, "host-2"));
    assert_int_equal(three[2], TSDB_REF_NONE);
    fixture_clear(&fx);
}

static void test_only_if_newest(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 12);
    struct remembering remembering = {.fx = &fx};
    uint32_t refs[1] = {TSDB_REF_NONE};
    int64_t now_ms = fx.now_ms;
    /* No series is made for one. */
    assert_int_equal(append_remembered(&remembering, 1, refs, true, now_ms, 5).samples_written, 0);
    assert_int_equal(refs[0], TSDB_REF_NONE);
    assert_int_equal(append_remembered(&remembering, 1, refs, false, now_ms, 1).samples_written, 1);
    for (int64_t ts_ms = now_ms - 1000; ts_ms <= now_ms; ts_ms += 1000) {
        struct tsdb_outcome outcome = append_remembered(&remembering, 1, refs, true, ts_ms, 5);
        assert_int_equal(outcome.samples_written + outcome.samples_refused, 0);
    }
    assert_int_equal(append_remembered(&remembering, 1, refs, true, now_ms + 1000, 5).samples_written, 1);
    model_add(&fx, 0, now_ms, 1);
    model_add(&fx, 0, now_ms + 1000, 5);
    compare_series(&fx, 0, INT64_MIN, INT64_MAX, "live");
    crash(&fx);
    compare_series(&fx, 0, INT64_MIN, INT64_MAX, "after a crash");
    fixture_clear(&fx);
}

static void test_series_limit(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 8);
    fx.options.series_max = 3;
    restart(&fx);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(append_one(&fx, i, fx.now_ms, i).samples_written, 1);
    struct tsdb_outcome outcome = append_one(&fx, 3, fx.now_ms, 3);
    assert_int_equal(outcome.refused_series, 1);
    assert_non_null(strstr(outcome.reason, "max_series"));
    assert_int_equal(append_one(&fx, 2, fx.now_ms + 1, 9).samples_written, 1);
    fixture_clear(&fx);
}

/* A series' beginning comes with each of its samples, and counts once. */
static void test_start_zero(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 14);
    int64_t start_ms = fx.now_ms - 60 * 1000;
    for (int i = 0; i < 3; i++) {
        struct batch batch = {0};
        AP_AUTO_BUF struct ap_buf labels = {0};
        series_labels(&fx, 0, &labels);
        struct batch_series *series = batch_add_series(&batch, ap_buf_slice(&labels),
                                                       labels_hash_of(tsdb_hash_seed(fx.tsdb), ap_buf_slice(&labels)));
        series->has_start_zero = true;
        batch_add_sample(&batch, start_ms, 0);
        batch_add_sample(&batch, fx.now_ms + i, 5);
        struct tsdb_outcome outcome = append(&fx, &batch);
        assert_int_equal(outcome.samples_written, 1);
        assert_int_equal(outcome.samples_refused, 0);
        batch_clear(&batch);
        model_add(&fx, 0, fx.now_ms + i, 5);
    }
    model_add(&fx, 0, start_ms, 0);
    compare_series(&fx, 0, INT64_MIN, INT64_MAX, "live");
    crash(&fx);
    compare_series(&fx, 0, INT64_MIN, INT64_MAX, "after a crash");
    fixture_clear(&fx);
}

/* A 0 at the start of a sender that has begun anew: only behind what the series has, and not where it has nothing. */
static void test_start_zero_for_restart(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 15);
    static const struct {
        int64_t start_ms, ts_ms; /* before and behind now */
        bool is_kept;
    } cases[] = {{-500, 0, false}, {-500, 1000, false}, {0, 2000, false}, {2500, 3000, true}, {2500, 4000, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct batch batch = {0};
        AP_AUTO_BUF struct ap_buf labels = {0};
        series_labels(&fx, 0, &labels);
        struct batch_series *series = batch_add_series(&batch, ap_buf_slice(&labels),
                                                       labels_hash_of(tsdb_hash_seed(fx.tsdb), ap_buf_slice(&labels)));
        series->has_start_zero = series->is_start_zero_for_restart = true;
        batch_add_sample(&batch, fx.now_ms + cases[i].start_ms, 0);
        batch_add_sample(&batch, fx.now_ms + cases[i].ts_ms, 5);
        struct tsdb_outcome outcome = append(&fx, &batch);
        assert_int_equal(outcome.samples_written, 1);
        assert_int_equal(outcome.samples_refused, 0);
        batch_clear(&batch);
        model_add(&fx, 0, fx.now_ms + cases[i].ts_ms, 5);
        if (cases[i].is_kept)
            model_add(&fx, 0, fx.now_ms + cases[i].start_ms, 0);
        compare_series(&fx, 0, INT64_MIN, INT64_MAX, "live");
    }
    crash(&fx);
    compare_series(&fx, 0, INT64_MIN, INT64_MAX, "after a crash");
    fixture_clear(&fx);
}

static struct ap_slice encoded(double sum, struct ap_buf *out)
{
    struct histogram histogram = {
        .zero_threshold = 1e-128, .zero_count = (uint64_t)sum, .count = (uint64_t)sum, .sum = sum};
    ap_buf_reset(out);
    histogram_encode(&histogram, out);
    return ap_buf_slice(out);
}

static struct tsdb_newest newest_of(struct fixture *fx, unsigned series, struct ap_arena *arena)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct tsdb_newest newest;
    series_labels(fx, series, &labels);
    assert_true(tsdb_newest(fx->tsdb, labels_hash_of(tsdb_hash_seed(fx->tsdb), ap_buf_slice(&labels)), arena, &newest));
    return newest;
}

/* One record brings more of a series than a tail holds, of several ranges, floats and histograms: all of it is there
 * when the log is read again, with and without a checkpoint before. */
static void test_record_that_seals(void **state)
{
    (void)state;
    enum { COUNT = 3000, STEP_MS = 5000 }; /* four hours */
    struct fixture fx;
    struct batch batch = {0};
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct ap_buf *blobs = ap_new0_array(struct ap_buf, COUNT);
    fixture_init(&fx, 17);
    series_labels(&fx, 1, &labels);
    struct labels_hash hash = labels_hash_of(tsdb_hash_seed(fx.tsdb), ap_buf_slice(&labels));
    batch_add_series(&batch, ap_buf_slice(&labels), hash);
    for (int i = 0; i < COUNT; i++) {
        int64_t ts_ms = fx.now_ms - (COUNT - i) * INT64_C(5000);
        batch_add_sample(&batch, ts_ms, i);
        batch_add_histogram(&batch, ts_ms + STEP_MS / 2, encoded(i + 1, &blobs[i]));
    }
    struct tsdb_outcome outcome = append(&fx, &batch);
    assert_int_equal(outcome.samples_written, COUNT);
    assert_int_equal(outcome.histograms_written, COUNT);
    batch_clear(&batch);
    for (int round = 0; round < 4; round++) {
        struct tsdb_set *set;
        struct tsdb_columns columns = {0};
        struct ap_err err;
        select_or_die(&fx, "{__name__=~\".+\"}", INT64_MIN, INT64_MAX, &set);
        assert_int_equal(tsdb_set_count(set), 1);
        assert_int_equal(tsdb_set_read(set, 0, &columns, &err), AP_OK);
        assert_int_equal(columns.count, COUNT);
        assert_int_equal(columns.histogram_count, COUNT);
        for (int i = 0; i < COUNT; i++) {
            assert_true(columns.values[i] == i);
            assert_true(ap_slice_equal(columns.histograms[i], ap_buf_slice(&blobs[i])));
        }
        tsdb_columns_clear(&columns);
        tsdb_set_free(set);
        if (round == 2)
            settle(&fx, false);
        crash(&fx);
    }
    for (int i = 0; i < COUNT; i++)
        ap_buf_clear(&blobs[i]);
    free(blobs);
    fixture_clear(&fx);
}

/* Floats and histograms, with a 0 before each, from tails, from chunks, and behind restarts. */
static void test_newest(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 16);
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    struct tsdb_newest newest;
    AP_AUTO_BUF struct ap_buf blob = {0};
    AP_AUTO_BUF struct ap_buf zero = {0};
    assert_false(tsdb_newest(fx.tsdb, (struct labels_hash){1, 2}, &arena, &newest));
    for (int i = 0; i < 900; i++) {
        struct batch batch = {0};
        AP_AUTO_BUF struct ap_buf labels = {0};
        series_labels(&fx, 1, &labels);
        struct labels_hash hash = labels_hash_of(tsdb_hash_seed(fx.tsdb), ap_buf_slice(&labels));
        fx.now_ms += 100;
        batch_add_series(&batch, ap_buf_slice(&labels), hash);
        batch_add_sample(&batch, fx.now_ms, i);
        struct batch_series *series = batch_add_series(&batch, ap_buf_slice(&labels), hash);
        series->has_start_zero = true;
        batch_add_histogram(&batch, fx.now_ms - 50, encoded(0, &zero));
        batch_add_histogram(&batch, fx.now_ms, encoded(i + 1, &blob));
        struct tsdb_outcome outcome = append(&fx, &batch);
        assert_int_equal(outcome.histograms_written, 1);
        assert_int_equal(outcome.samples_refused, 0);
        batch_clear(&batch);
        if (i % 300 == 299)
            restart(&fx);
        else if (i % 300 == 150)
            crash(&fx);
        ap_arena_reset(&arena);
        newest = newest_of(&fx, 1, &arena);
        assert_int_equal(newest.ts_ms, fx.now_ms);
        assert_true(newest.has_value && newest.value == i);
        assert_int_equal(newest.histogram_ts_ms, fx.now_ms);
        assert_true(ap_slice_equal(newest.histogram, encoded(i + 1, &blob)));
    }
    fixture_clear(&fx);
}

static void note_appended(struct tsdb_append *append)
{
    struct waiting *waiting = append->context;
    assert_false(__atomic_load_n(&waiting->is_done, __ATOMIC_ACQUIRE));
    assert_int_equal(append->outcome.samples_refused, append->refused_by_series[0] + append->refused_by_series[1]);
    waiting->is_appended = true;
}

/* What was refused is told by series, before anybody hears that the rest is durable. */
static void test_refused_by_series(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 17);
    append_one(&fx, 0, fx.now_ms, 1);
    struct batch batch = {0};
    struct ap_buf labels[2] = {{0}, {0}};
    for (unsigned i = 0; i < 2; i++) {
        series_labels(&fx, i, &labels[i]);
        batch_add_series(&batch, ap_buf_slice(&labels[i]),
                         labels_hash_of(tsdb_hash_seed(fx.tsdb), ap_buf_slice(&labels[i])));
        batch_add_sample(&batch, fx.now_ms, 2); /* another value for the first */
        batch_add_sample(&batch, fx.now_ms + 1, 2);
    }
    uint32_t refused[2] = {0, 0};
    struct waiting waiting = {
        .append = {.batch = &batch, .done = append_done, .appended = note_appended, .refused_by_series = refused}};
    waiting.append.context = &waiting;
    struct ap_err err;
    assert_int_equal(tsdb_append(fx.tsdb, &waiting.append, &err), AP_OK);
    assert_true(waiting.is_appended);
    assert_int_equal(refused[0], 1);
    assert_int_equal(refused[1], 0);
    while (!__atomic_load_n(&waiting.is_done, __ATOMIC_ACQUIRE))
        usleep(50);
    batch_clear(&batch);
    ap_buf_clear(&labels[0]);
    ap_buf_clear(&labels[1]);
    fixture_clear(&fx);
}

static void test_deletion(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 9);
    for (int i = 0; i < 300; i++) {
        write_some(&fx);
        if (i == 150)
            settle(&fx, false);
    }
    int64_t from_ms = fx.now_ms - 4 * RANGE_MS;
    delete_or_die(&fx, "{job=\"odd\"}", from_ms, from_ms + 2 * RANGE_MS);
    delete_or_die(&fx, "{instance=\"host-4\"}", INT64_MIN, INT64_MAX);
    for (unsigned series = 1; series < SERIES_COUNT; series += 2)
        model_delete(&fx, series, from_ms, from_ms + 2 * RANGE_MS);
    model_delete(&fx, 4, INT64_MIN, INT64_MAX);
    compare_all(&fx, "after deletion");
    crash(&fx);
    compare_all(&fx, "after deletion and a crash");
    settle(&fx, true);
    compare_all(&fx, "after deletion, in blocks");
    struct ap_err err;
    assert_int_equal(tsdb_clean_tombstones(fx.tsdb, &err), AP_OK);
    compare_all(&fx, "after cleaning");
    restart(&fx);
    compare_all(&fx, "after cleaning and a restart");
    fixture_clear(&fx);
}

static void test_snapshot(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 10);
    for (int i = 0; i < 200; i++) {
        write_some(&fx);
        if (i == 120)
            settle(&fx, false);
    }
    char name[64];
    struct ap_err err;
    if (tsdb_snapshot(fx.tsdb, false, name, &err) != AP_OK)
        fail_msg("%s", err.text);
    compare_all(&fx, "after a snapshot");
    /* The snapshot becomes the store of an empty data directory, with a log and a seed of its own. */
    char before[96];
    snprintf(before, sizeof(before), "%s", fx.dir);
    close_store(&fx);
    snprintf(fx.dir, sizeof(fx.dir), "%s/restored", fx.root);
    run("mkdir %s && cp -a %s/tsdb/snapshots/%s %s/tsdb", fx.dir, before, name, fx.dir);
    open_store(&fx);
    compare_all(&fx, "in the restored snapshot");
    write_some(&fx);
    compare_all(&fx, "in the restored snapshot, written to");
    fixture_clear(&fx);
}

static void test_retention(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 11);
    fx.options.retention_ms = 3 * RANGE_MS;
    restart(&fx);
    for (int i = 0; i < 600; i++) {
        write_some(&fx);
        if (i % 50 == 0)
            settle(&fx, false);
    }
    struct tsdb_stats stats;
    tsdb_stats_get(fx.tsdb, &stats);
    assert_true(stats.blocks_removed > 0);
    compare_series(&fx, 1, fx.now_ms - 2 * RANGE_MS, INT64_MAX, "what is kept");
    fixture_clear(&fx);
}

struct texts {
    char text[4096];
};

static bool add_text(struct ap_slice text, void *context)
{
    struct texts *texts = context;
    size_t used = strlen(texts->text);
    snprintf(texts->text + used, sizeof(texts->text) - used, "%.*s ", AP_SLICE_ARG(text));
    return true;
}

static void test_names_and_values(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 12);
    for (int i = 0; i < 200; i++)
        write_some(&fx);
    settle(&fx, false);
    struct ap_err err;
    struct texts texts = {""};
    assert_int_equal(tsdb_label_names(fx.tsdb, NULL, INT64_MIN, INT64_MAX, add_text, &texts, &err), AP_OK);
    assert_string_equal(texts.text, "__name__ instance job ");
    struct matchers matchers;
    assert_int_equal(matchers_parse(ap_slice_cstr("{instance=~\"host-(1|2|13)\"}"), &matchers, &err), AP_OK);
    texts.text[0] = '\0';
    assert_int_equal(
        tsdb_label_values(fx.tsdb, ap_slice_cstr("__name__"), &matchers, INT64_MIN, INT64_MAX, add_text, &texts, &err),
        AP_OK);
    assert_string_equal(texts.text, "metric_1 metric_2 metric_3 ");
    matchers_clear(&matchers);
    fixture_clear(&fx);
}

/* A store whose series come and go: those that are over are forgotten, their numbers used again, nothing mixed up. */
static void test_churn(void **state)
{
    (void)state;
    struct fixture fx;
    uint64_t removed = 0;
    fixture_init(&fx, 13);
    for (unsigned round = 0; round < 12; round++) {
        for (unsigned i = 0; i < 30; i++) {
            fx.now_ms += RANGE_MS / 20;
            unsigned first = round % 3 * 8;
            for (unsigned series = first; series < first + 8; series++) {
                model_add(&fx, series, fx.now_ms, round + i / 100.0);
                assert_int_equal(append_one(&fx, series, fx.now_ms, round + i / 100.0).samples_written, 1);
            }
            if (i % 10 == 0)
                settle(&fx, false);
        }
        struct tsdb_stats stats;
        tsdb_stats_get(fx.tsdb, &stats);
        removed += stats.series_removed; /* counted from the last start on */
        if (round % 2)
            crash(&fx);
        compare_all(&fx, "with churn");
    }
    assert_true(removed > 0);
    fixture_clear(&fx);
}

/* The next mark is of a period of its own. */
static uint64_t mark_later(struct fixture *fx)
{
    fx->now_ms += 1000;
    return tsdb_change_mark(fx->tsdb);
}

static void test_changes(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 14);
    int64_t now_ms = fx.now_ms;
    uint64_t first = tsdb_change_mark(fx.tsdb);
#define CHANGED(mark, want_ms) assert_true(tsdb_changed_since(fx.tsdb, mark) == (want_ms))
    CHANGED(first, INT64_MAX);
    append_one(&fx, 0, now_ms, 1);
    append_one(&fx, 1, now_ms - 5, 1); /* in another shard */
    CHANGED(first, now_ms - 5);
    uint64_t second = mark_later(&fx);
    CHANGED(second, INT64_MAX);
    CHANGED(first, now_ms - 5);
    append_one(&fx, 0, now_ms, 1); /* the same again, and what is refused: nothing to see */
    append_one(&fx, 0, now_ms, 2);
    append_one(&fx, 0, now_ms - 9 * RANGE_MS, 2);
    CHANGED(second, INT64_MAX);
    append_one(&fx, 0, now_ms + 500, 1);
    append_one(&fx, 0, now_ms - RANGE_MS, 3); /* late */
    CHANGED(second, now_ms - RANGE_MS);
    uint64_t third = mark_later(&fx);
    append_one(&fx, 0, now_ms + 1000, 1);
    CHANGED(third, now_ms + 1000);
    CHANGED(second, now_ms - RANGE_MS);
    /* A mark that is not followed by another one at once goes on with its period: too much counts, not too little. */
    CHANGED(tsdb_change_mark(fx.tsdb), now_ms + 1000);
    uint64_t fourth = mark_later(&fx);
    delete_or_die(&fx, "{instance=\"host-1\"}", now_ms - 10, now_ms);
    CHANGED(fourth, now_ms - 10);
    uint64_t fifth = mark_later(&fx);
    settle(&fx, true); /* blocks come in place of ranges */
    assert_true(tsdb_changed_since(fx.tsdb, fifth) <= now_ms - RANGE_MS);
    uint64_t sixth = mark_later(&fx);
    delete_or_die(&fx, "{instance=\"host-0\"}", now_ms + 400, now_ms + 600); /* in a block */
    CHANGED(sixth, now_ms + 400);
    /* What is not remembered. */
    CHANGED(sixth + 100, INT64_MIN);
    CHANGED(0, INT64_MIN);
    for (unsigned i = 0; i < 5000; i++)
        mark_later(&fx);
    CHANGED(sixth, INT64_MIN);
    CHANGED(mark_later(&fx), INT64_MAX);
#undef CHANGED
    fixture_clear(&fx);
}

/* ---- Blocks that others made ---- */

/* What one sample of the staged block should come to. */
struct expected {
    uint64_t added;
    uint64_t same;
    uint64_t other;
};

/* Samples before the model's first, between its own, and at the same times: every third with another value. */
static void stage_series(struct fixture *fx, unsigned series, struct block_writer *writer, struct expected *expected)
{
    static int64_t ts_ms[MODEL_MAX];
    static double values[MODEL_MAX];
    size_t count = 0, model_count = fx->model_count[series];
    struct ap_err err;
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct model_sample *model = malloc((model_count + 1) * sizeof(*model));
    memcpy(model, fx->model[series], model_count * sizeof(*model));
    int64_t first_ms = model_count ? model[0].ts_ms : fx->now_ms;
    for (int i = 0; i < 300; i++) {
        ts_ms[count] = first_ms - 3000000 + i * 10000;
        values[count++] = i;
    }
    for (size_t i = 0; i < model_count; i += 2) {
        if (model[i].ts_ms <= ts_ms[count - 1])
            continue;
        ts_ms[count] = model[i].ts_ms;
        values[count++] = i % 3 == 0 ? 1e300 : ap_double_of_bits(model[i].bits);
        if (i + 1 < model_count && model[i].ts_ms + 1 < model[i + 1].ts_ms) {
            ts_ms[count] = model[i].ts_ms + 1;
            values[count++] = (double)i;
        }
    }
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < model_count && model[at].ts_ms < ts_ms[i])
            at++;
        if (model_add(fx, series, ts_ms[i], values[i]))
            expected->added++;
        else if (model[at].bits == ap_double_to_bits(values[i]))
            expected->same++;
        else
            expected->other++;
    }
    free(model);
    series_labels(fx, series, &labels);
    const struct block_samples samples = {.ts_ms = ts_ms, .values = values, .count = count};
    assert_int_equal(block_writer_add_samples(writer, ap_buf_slice(&labels), &samples, &err), AP_OK);
}

/* By labels: metric_<n % 5>, then host-<n>, as text. */
static int compare_numbers(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    char left[32], right[32];
    snprintf(left, sizeof(left), "%u host-%u", x % 5, x);
    snprintf(right, sizeof(right), "%u host-%u", y % 5, y);
    return strcmp(left, right);
}

static const char staged_id[] = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

static struct expected stage(struct fixture *fx)
{
    char path[128];
    struct ap_err err;
    int staging_fd;
    struct expected expected = {0};
    struct block_writer *writer;
    snprintf(path, sizeof(path), "%s/tsdb/staging", fx->dir);
    assert_int_equal(os_dir_open(path, &staging_fd, &err), AP_OK);
    assert_int_equal(block_writer_new(&os_fs_system, staging_fd, staged_id, &writer, &err), AP_OK);
    unsigned order[SERIES_COUNT];
    for (unsigned i = 0; i < SERIES_COUNT; i++)
        order[i] = i;
    qsort(order, SERIES_COUNT, sizeof(*order), compare_numbers);
    for (unsigned i = 0; i < SERIES_COUNT; i++)
        stage_series(fx, order[i], writer, &expected);
    assert_int_equal(block_writer_finish(writer, &(struct block_meta){.level = 1}, &err), AP_OK);
    block_writer_free(writer);
    close(staging_fd);
    return expected;
}

static struct tsdb_adoption adopt(struct fixture *fx)
{
    struct tsdb_adoption adoption = {0};
    struct ap_err err;
    if (tsdb_adopt(fx->tsdb, staged_id, &adoption, &err) != AP_OK)
        fail_msg("%s", err.text);
    return adoption;
}

/* Into head and blocks that overlap it: what is lacking comes, nothing twice, what was there stays. */
static void test_adoption(void **state)
{
    (void)state;
    struct fixture fx;
    struct tsdb_adoption adoption;
    struct ap_err err;
    fixture_init(&fx, 77);
    for (int round = 0; round < 300; round++) {
        write_some(&fx);
        if (round == 150)
            settle(&fx, true);
    }
    struct expected expected = stage(&fx);
    assert_true(expected.added > 1000 && expected.same > 1000 && expected.other > 500);
    run("cp -a %s/tsdb/staging %s/staged", fx.dir, fx.root);
    adoption = adopt(&fx);
    assert_int_equal(adoption.samples_added, expected.added);
    assert_int_equal(adoption.samples_same, expected.same);
    assert_int_equal(adoption.samples_other, expected.other);
    compare_all(&fx, "adopted");
    assert_int_equal(tsdb_adopt(fx.tsdb, staged_id, &adoption, &err), AP_E_NOT_FOUND);
    /* The machine stopped before the staged block was removed: it comes again, and brings nothing. */
    crash(&fx);
    run("cp -a %s/staged/* %s/tsdb/staging/", fx.root, fx.dir);
    adoption = adopt(&fx);
    assert_int_equal(adoption.samples_added, 0);
    assert_int_equal(adoption.samples_same, expected.added + expected.same);
    compare_all(&fx, "adopted twice");
    for (int round = 0; round < 20; round++)
        write_some(&fx);
    settle(&fx, true);
    compare_all(&fx, "merged");
    restart(&fx);
    compare_all(&fx, "restarted");
    fixture_clear(&fx);
}

/* Nothing else is of its time: the block moves as it is. And whatever cannot be taken in stays where it is. */
static void test_adoption_alone(void **state)
{
    (void)state;
    struct fixture fx;
    struct ap_err err;
    struct tsdb_adoption adoption;
    fixture_init(&fx, 78);
    struct expected expected = stage(&fx);
    uint64_t mark = tsdb_change_mark(fx.tsdb);
    fx.now_ms -= INT64_C(5000) * 1000;
    assert_int_equal(tsdb_adopt(fx.tsdb, staged_id, &adoption, &err), AP_E_LIMIT);
    assert_non_null(strstr(err.text, "ahead of the clock"));
    fx.now_ms += INT64_C(5000) * 1000;
    assert_int_equal(tsdb_adopt(fx.tsdb, "../../etc/passwd", &adoption, &err), AP_E_PARSE);
    assert_int_equal(adopt(&fx).samples_added, expected.added);
    assert_true(tsdb_changed_since(fx.tsdb, mark) <= fx.now_ms - 3000000);
    compare_all(&fx, "adopted");
    crash(&fx);
    compare_all(&fx, "crashed");
    write_some(&fx);
    compare_all(&fx, "gone on");
    fixture_clear(&fx);
}

/* What was deleted before does not come off a block that is taken in afterwards, nor when the log is read again. */
static void test_adoption_after_deletion(void **state)
{
    (void)state;
    struct fixture fx;
    fixture_init(&fx, 80);
    for (int round = 0; round < 100; round++)
        write_some(&fx);
    settle(&fx, true);
    delete_or_die(&fx, "{job=~\"odd|even\"}", INT64_MIN, INT64_MAX);
    for (unsigned series = 0; series < SERIES_COUNT; series++)
        model_delete(&fx, series, INT64_MIN, INT64_MAX);
    struct expected expected = stage(&fx);
    assert_int_equal(adopt(&fx).samples_added, expected.added);
    compare_all(&fx, "adopted");
    crash(&fx);
    compare_all(&fx, "crashed");
    fixture_clear(&fx);
}

static void test_adoption_of_damage(void **state)
{
    (void)state;
    struct fixture fx;
    struct ap_err err;
    struct tsdb_adoption adoption;
    fixture_init(&fx, 79);
    (void)stage(&fx);
    run("printf x | dd of=%s/tsdb/staging/%s/index bs=1 seek=300 conv=notrunc status=none", fx.dir, staged_id);
    assert_int_equal(tsdb_adopt(fx.tsdb, staged_id, &adoption, &err), AP_E_CORRUPT);
    fixture_clear(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_model),
        cmocka_unit_test(test_duplicates_and_windows),
        cmocka_unit_test(test_series_limit),
        cmocka_unit_test(test_remembered_numbers),
        cmocka_unit_test(test_record_that_seals),
        cmocka_unit_test(test_only_if_newest),
        cmocka_unit_test(test_deletion),
        cmocka_unit_test(test_start_zero),
        cmocka_unit_test(test_start_zero_for_restart),
        cmocka_unit_test(test_newest),
        cmocka_unit_test(test_refused_by_series),
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_retention),
        cmocka_unit_test(test_names_and_values),
        cmocka_unit_test(test_churn),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_adoption),
        cmocka_unit_test(test_adoption_alone),
        cmocka_unit_test(test_adoption_after_deletion),
        cmocka_unit_test(test_adoption_of_damage),
    };
    return cmocka_run_group_tests_name("tsdb", tests, NULL, NULL);
}
