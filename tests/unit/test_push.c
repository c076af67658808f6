/* Pushes: addresses to grouping keys, bodies to families, and the groups themselves with a double of the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/buf.h"
#include "codec/protobuf.h"
#include "ingest/push.h"
#include "ingest/push_body.h"
#include "ingest/push_key.h"
#include "test_dir.h"
#include "tsdb/histogram.h"

#define SEED 7

/* ---- Grouping keys ---- */

static void expect_key(const char *rest, bool is_base64, const char *want, const char *file, int line)
{
    struct push_key key;
    struct ap_err err;
    struct ap_buf got = {0};
    if (push_key_read(ap_slice_cstr(rest), is_base64, &key, &err) == AP_OK) {
        for (size_t i = 0; i < key.count; i++)
            ap_buf_printf(&got, "%s%.*s=%.*s", i ? " " : "", AP_SLICE_ARG(key.labels[i].name),
                          AP_SLICE_ARG(key.labels[i].value));
        push_key_clear(&key);
    } else {
        ap_buf_add_cstr(&got, err.text);
    }
    ap_buf_add_char(&got, '\0');
    _assert_string_equal(got.data, want, file, line);
    ap_buf_clear(&got);
}
#define KEY(rest, want)    expect_key(rest, false, want, __FILE__, __LINE__)
#define BASE64(rest, want) expect_key(rest, true, want, __FILE__, __LINE__)

static void test_keys(void **state)
{
    (void)state;
    KEY("/a", "job=a");
    KEY("/a/", "job=a");
    KEY("/a/x/1", "x=1 job=a");
    KEY("/a/x/1/y/", "x=1 y= job=a");
    KEY("/a/x/1/x/2", "x=2 job=a");
    KEY("/a/job/b", "job=a");
    KEY("/a b/x/\xc3\xa9", "x=\xc3\xa9 job=a b");
    KEY("/a/p@base64/L3Zhcg==", "p=/var job=a");
    KEY("/a/p@base64/L3Zhcg/q@base64/=", "p=/var q= job=a");
    BASE64("/YQ", "job=a");
    BASE64("/YS9i/x/1", "x=1 job=a/b");
    KEY("", "job name is required");
    KEY("/", "job name is required");
    KEY("//x/1", "job name is required");
    BASE64("/=", "job name is required");
    KEY("/a/x", "odd number of components in label string \"/x\"");
    KEY("/a/x/1/y", "odd number of components in label string \"/x/1/y\"");
    KEY("/a/__x/1", "improper label name \"__x\"");
    KEY("/a/x-y/1", "improper label name \"x-y\"");
    KEY("/a/1x/1", "improper label name \"1x\"");
    KEY("/a//1", "improper label name \"\"");
    KEY("/a/@base64/YQ", "improper label name \"\"");
    BASE64("/Y!", "invalid base64 encoding in job name \"Y!\": illegal base64 data at input byte 1");
    KEY("/a/p@base64/a", "invalid base64 encoding for label p=\"a\": illegal base64 data at input byte 1");
    KEY("/a/p@base64/YW+j", "invalid base64 encoding for label p=\"YW+j\": illegal base64 data at input byte 2");
}

/* ---- Bodies ---- */

static void add_series(const struct push_family *family, const struct push_series *series, struct ap_buf *out)
{
    struct ap_err err;
    assert_int_equal(labels_check(push_series_labels(family, series), &err), AP_OK);
    assert_true(labels_hash_equal(series->hash, labels_hash_of(SEED, push_series_labels(family, series))));
    labels_format(push_series_labels(family, series), out);
    if (series->blob_bytes)
        ap_buf_add_cstr(out, " histogram");
    else
        ap_buf_printf(out, " %g", series->value);
}

/* "type name: series value, …; …", series in the order of their hashes. */
static void read_body(struct ap_slice body, bool is_protobuf, struct push_families *families, struct ap_buf *out)
{
    struct push_key key;
    struct ap_err err;
    assert_int_equal(push_key_read(ap_slice_cstr("/j/x/1"), false, &key, &err), AP_OK);
    struct push_body_options options = {
        .key = &key, .hash_seed = SEED, .pushed_us = 5, .bytes_max = 1 << 20, .is_protobuf = is_protobuf};
    if (push_body_read(&options, body, families, &err) != AP_OK) {
        *families = (struct push_families){0};
        ap_buf_add_cstr(out, err.text);
    }
    for (size_t f = 0; f < families->count; f++) {
        const struct push_family *family = families->items[f];
        ap_buf_printf(out, "%s%s %.*s:", f ? "; " : "", metadata_type_name(family->type),
                      AP_SLICE_ARG(push_family_name(family)));
        for (size_t i = 0; i < family->count; i++) {
            ap_buf_add_cstr(out, i ? ", " : " ");
            add_series(family, &family->series[i], out);
            assert_ptr_equal(push_family_find(family, family->series[i].hash), &family->series[i]);
        }
    }
    ap_buf_add_char(out, '\0');
    push_key_clear(&key);
}

static void expect_body(const char *text, const char *want, const char *file, int line)
{
    struct push_families families = {0};
    struct ap_buf got = {0};
    read_body(ap_slice_cstr(text), false, &families, &got);
    _assert_string_equal(got.data, want, file, line);
    push_families_clear(&families);
    ap_buf_clear(&got);
}
#define BODY(text, want) expect_body(text, want, __FILE__, __LINE__)
#define BAD(number, text, reason)                                                                                      \
    expect_body(text, "text format parsing error in line " #number ": " reason, __FILE__, __LINE__)

static void test_text(void **state)
{
    (void)state;
    BODY("m 1\n", "unknown m: m{job=\"j\", x=\"1\"} 1");
    BODY("m 1", "unknown m: m{job=\"j\", x=\"1\"} 1");
    BODY("# HELP m text\n# TYPE m gauge\nm{a=\"b\"} 1\n", "gauge m: m{a=\"b\", job=\"j\", x=\"1\"} 1");
    BODY("m{job=\"other\",x=\"2\",instance=\"i\"} 1\n", "unknown m: m{instance=\"i\", job=\"j\", x=\"1\"} 1");
    BODY("m{a=\"\"} 1\n", "unknown m: m{job=\"j\", x=\"1\"} 1");
    BODY("# TYPE m gauge\n", "");
    BODY("", "");
    BODY("h_sum 1\n", "unknown h_sum: h_sum{job=\"j\", x=\"1\"} 1");
    BODY("# TYPE h histogram\nh_sum 1\n", "histogram h: h_sum{job=\"j\", x=\"1\"} 1");
    BODY("# TYPE h histogram\nh_bucket{le=\"1\"} 1\n", "histogram h: h_bucket{job=\"j\", le=\"1.0\", x=\"1\"} 1");
    BODY("# TYPE h histogram\nh_bucket{le=\"1e6\"} 1\n", "histogram h: h_bucket{job=\"j\", le=\"1e+06\", x=\"1\"} 1");
    BODY("# TYPE s summary\ns{quantile=\"0.50\"} 1\n", "summary s: s{job=\"j\", quantile=\"0.5\", x=\"1\"} 1");
    BODY("# TYPE s summary\ns_bucket 1\n", "unknown s_bucket: s_bucket{job=\"j\", x=\"1\"} 1");
    BODY("# TYPE g gauge\ng_sum{le=\"x\"} 1\n", "unknown g_sum: g_sum{job=\"j\", le=\"x\", x=\"1\"} 1");
    BAD(3, "m 1\n# x\nm{ 1\n", "expected the name of a label, or }");
    BAD(2, "m 1\n# TYPE m gauge\n", "second TYPE line for metric name \"m\", or TYPE reported after samples");
    BAD(2, "# HELP m a\n# HELP m b\n", "second HELP line for metric name \"m\"");
    BAD(1, "m{__name__=\"n\"} 1\n", "label name \"__name__\" is reserved");
    BAD(2, "# TYPE h histogram\nh_bucket{le=\"a\"} 1\n", "expected float as value for 'le' label, got \"a\"");
    BAD(2, "# TYPE s summary\ns{quantile=\"\"} 1\n", "expected float as value for 'quantile' label, got \"\"");
}

static void test_times_and_limits(void **state)
{
    (void)state;
    struct push_families families = {0};
    struct ap_buf got = {0};
    read_body(ap_slice_cstr("m 1 1000\n"), false, &families, &got);
    assert_true(families.has_ts);
    push_families_clear(&families);
    ap_buf_reset(&got);
    struct ap_buf text = {0};
    for (int i = 0; i < 20000; i++)
        ap_buf_printf(&text, "m{i=\"%d\"} 1\n", i);
    read_body(ap_buf_slice(&text), false, &families, &got);
    assert_non_null(strstr(got.data, "push.max_size"));
    ap_buf_clear(&text);
    ap_buf_clear(&got);
}

/* ---- Messages ---- */

static void add_label(struct ap_buf *metric, const char *name, const char *value)
{
    struct ap_buf label = {0};
    protobuf_add_text(&label, 1, name);
    protobuf_add_text(&label, 2, value);
    protobuf_add_bytes(metric, 1, ap_buf_slice(&label));
    ap_buf_clear(&label);
}

/* One family with one metric, whose body is field `number`. */
static void add_family(struct ap_buf *out, const char *name, uint64_t type, uint32_t number, struct ap_slice body)
{
    struct ap_buf metric = {0};
    struct ap_buf family = {0};
    add_label(&metric, "a", "b");
    protobuf_add_bytes(&metric, number, body);
    protobuf_add_text(&family, 1, name);
    protobuf_add_text(&family, 2, "help");
    protobuf_add_varint(&family, 3, type);
    protobuf_add_bytes(&family, 4, ap_buf_slice(&metric));
    ap_buf_add_varint(out, family.bytes);
    ap_buf_add_slice(out, ap_buf_slice(&family));
    ap_buf_clear(&metric);
    ap_buf_clear(&family);
}

static void add_pair(struct ap_buf *out, uint32_t field, uint64_t count, double bound)
{
    struct ap_buf pair = {0};
    protobuf_add_varint(&pair, 1, count);
    protobuf_add_double(&pair, 2, bound);
    protobuf_add_bytes(out, field, ap_buf_slice(&pair));
    ap_buf_clear(&pair);
}

static const struct push_series *find_series(const struct push_family *family, const char *want)
{
    struct ap_buf text = {0};
    const struct push_series *found = NULL;
    for (size_t i = 0; i < family->count && !found; i++) {
        ap_buf_reset(&text);
        labels_format(push_series_labels(family, &family->series[i]), &text);
        if (ap_slice_equal_cstr(ap_buf_slice(&text), want))
            found = &family->series[i];
    }
    ap_buf_clear(&text);
    if (!found)
        fail_msg("no series %s", want);
    return found;
}

static double value_of(const struct push_family *family, const char *want)
{
    return find_series(family, want)->value;
}

static void test_messages(void **state)
{
    (void)state;
    struct ap_buf body = {0};
    struct ap_buf part = {0};
    protobuf_add_double(&part, 1, 2.5);
    add_family(&body, "g", 1, 2, ap_buf_slice(&part));
    add_family(&body, "c", 0, 3, ap_buf_slice(&part));
    add_family(&body, "u", 3, 5, ap_buf_slice(&part));
    struct push_families families = {0};
    struct ap_buf got = {0};
    read_body(ap_buf_slice(&body), true, &families, &got);
    assert_string_equal(got.data,
                        "gauge g: g{a=\"b\", job=\"j\", x=\"1\"} 2.5; counter c: c{a=\"b\", job=\"j\", x=\"1\"} "
                        "2.5; unknown u: u{a=\"b\", job=\"j\", x=\"1\"} 2.5");
    assert_string_equal("help", ap_slice_equal_cstr(push_family_help(families.items[0]), "help") ? "help" : "no");
    push_families_clear(&families);
    body.bytes--; /* cut */
    ap_buf_reset(&got);
    read_body(ap_buf_slice(&body), true, &families, &got);
    assert_non_null(strstr(got.data, "length-delimited"));
    ap_buf_clear(&body);
    ap_buf_clear(&part);
    ap_buf_clear(&got);
}

static void test_message_histograms(void **state)
{
    (void)state;
    struct ap_buf body = {0};
    struct ap_buf part = {0};
    protobuf_add_varint(&part, 1, 3);
    protobuf_add_double(&part, 2, 4.5);
    add_pair(&part, 3, 2, 1);
    add_family(&body, "h", 4, 7, ap_buf_slice(&part));
    ap_buf_reset(&part);
    protobuf_add_varint(&part, 1, 3);
    protobuf_add_double(&part, 2, 4.5);
    struct ap_buf quantile = {0};
    protobuf_add_double(&quantile, 1, 0.5);
    protobuf_add_double(&quantile, 2, 7);
    protobuf_add_bytes(&part, 3, ap_buf_slice(&quantile));
    add_family(&body, "s", 2, 4, ap_buf_slice(&part));
    struct push_families families = {0};
    struct ap_buf got = {0};
    read_body(ap_buf_slice(&body), true, &families, &got);
    assert_int_equal(families.count, 2);
    const struct push_family *h = families.items[0];
    assert_int_equal(h->count, 4);
    assert_true(value_of(h, "h_bucket{a=\"b\", job=\"j\", le=\"1.0\", x=\"1\"}") == 2);
    assert_true(value_of(h, "h_bucket{a=\"b\", job=\"j\", le=\"+Inf\", x=\"1\"}") == 3);
    assert_true(value_of(h, "h_sum{a=\"b\", job=\"j\", x=\"1\"}") == 4.5);
    assert_true(value_of(h, "h_count{a=\"b\", job=\"j\", x=\"1\"}") == 3);
    const struct push_family *s = families.items[1];
    assert_int_equal(s->count, 3);
    assert_true(value_of(s, "s{a=\"b\", job=\"j\", quantile=\"0.5\", x=\"1\"}") == 7);
    assert_true(value_of(s, "s_count{a=\"b\", job=\"j\", x=\"1\"}") == 3);
    push_families_clear(&families);
    ap_buf_clear(&quantile);
    ap_buf_clear(&body);
    ap_buf_clear(&part);
    ap_buf_clear(&got);
}

/* Schema 0, threshold 0.001, one observation at zero, buckets 0 and 1 with 2 and 3; and one classic bucket. */
static void add_native(struct ap_buf *part)
{
    struct ap_buf span = {0};
    protobuf_add_varint(part, 1, 6);
    protobuf_add_double(part, 2, 9);
    add_pair(part, 3, 6, 1);
    protobuf_add_sint(part, 5, 0);
    protobuf_add_double(part, 6, 0.001);
    protobuf_add_varint(part, 7, 1);
    protobuf_add_sint(&span, 1, 0);
    protobuf_add_varint(&span, 2, 2);
    protobuf_add_bytes(part, 12, ap_buf_slice(&span));
    protobuf_add_sint(part, 13, 2);
    protobuf_add_sint(part, 13, 1);
    ap_buf_clear(&span);
}

static void test_message_native(void **state)
{
    (void)state;
    struct ap_buf body = {0};
    struct ap_buf part = {0};
    add_native(&part);
    add_family(&body, "h", 4, 7, ap_buf_slice(&part));
    struct push_families families = {0};
    struct ap_buf got = {0};
    struct ap_err err;
    read_body(ap_buf_slice(&body), true, &families, &got);
    assert_string_equal(got.data, "histogram h: h{a=\"b\", job=\"j\", x=\"1\"} histogram");
    const struct push_family *h = families.items[0];
    AP_AUTO_ARENA struct ap_arena arena;
    ap_arena_init(&arena, 0);
    struct histogram histogram;
    assert_int_equal(histogram_decode(push_series_blob(h, &h->series[0]), &arena, &histogram, &err), AP_OK);
    assert_int_equal(histogram.count, 6);
    assert_int_equal(histogram.positive.counts[1], 3);
    assert_true(histogram.zero_threshold == 0.001);
    /* As it is kept. */
    struct ap_buf bytes = {0};
    push_family_encode(h, &bytes);
    struct push_family *again = push_family_new(push_family_name(h), h->type);
    assert_int_equal(push_family_decode(again, SEED, ap_buf_slice(&bytes), &err), AP_OK);
    assert_int_equal(again->count, 1);
    assert_true(ap_slice_equal(push_series_blob(again, &again->series[0]), push_series_blob(h, &h->series[0])));
    for (size_t cut = 1; cut < bytes.bytes; cut++) {
        struct push_family *torn = push_family_new(push_family_name(h), h->type);
        assert_int_equal(push_family_decode(torn, SEED, ap_slice(bytes.data, cut), &err), AP_E_CORRUPT);
        push_family_free(torn);
    }
    push_family_free(again);
    push_families_clear(&families);
    ap_buf_clear(&bytes);
    ap_buf_clear(&body);
    ap_buf_clear(&part);
    ap_buf_clear(&got);
}

/* ---- Groups ---- */

struct fixture {
    char dir[64];
    char meta_path[96];
    struct ap_clock clock;
    _Atomic int64_t wall_us;
    _Atomic int64_t monotonic_us;
    struct push_options options;
    struct push *push;
    /* The store's double. */
    pthread_mutex_t mtx;
    pthread_cond_t changed;
    struct ap_buf written; /* every series of every batch since the last look, a line each: "ts labels value" */
    size_t batch_count;
    enum ap_rc append_rc;
    /* The answer to the last update. */
    bool is_answered;
    enum ap_rc rc;
    char text[600];
};

static struct ap_err must_err;
#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != AP_OK)                                                                                           \
            fail_msg("%s: %s", #call, must_err.text);                                                                  \
    } while (0)

static int64_t wall(void *context)
{
    return ((struct fixture *)context)->wall_us;
}

static int64_t monotonic(void *context)
{
    return ((struct fixture *)context)->monotonic_us;
}

static void note_batch(struct fixture *fx, const struct batch *batch)
{
    for (size_t i = 0; i < batch->series_count; i++) {
        const struct batch_series *series = &batch->series[i];
        assert_true(labels_hash_equal(series->hash, labels_hash_of(SEED, series->labels)));
        assert_int_equal(series->sample_count + series->histogram_count, 1);
        bool is_histogram = series->histogram_count;
        ap_buf_printf(&fx->written, "%lld ",
                      (long long)(is_histogram ? batch->histograms[series->histogram_first].ts_ms
                                               : batch->ts_ms[series->sample_first]));
        labels_format(series->labels, &fx->written);
        if (is_histogram)
            ap_buf_add_cstr(&fx->written, " histogram\n");
        else if (ap_double_to_bits(batch->values[series->sample_first]) == 0x7ff0000000000002)
            ap_buf_add_cstr(&fx->written, " stale\n");
        else
            ap_buf_printf(&fx->written, " %.10g\n", batch->values[series->sample_first]);
    }
}

static enum ap_rc append(struct tsdb *tsdb, struct tsdb_append *append, struct ap_err *err)
{
    struct fixture *fx = (struct fixture *)(void *)tsdb;
    pthread_mutex_lock(&fx->mtx);
    enum ap_rc rc = fx->append_rc;
    if (rc == AP_OK)
        note_batch(fx, append->batch);
    fx->batch_count++;
    pthread_cond_broadcast(&fx->changed);
    pthread_mutex_unlock(&fx->mtx);
    if (rc != AP_OK)
        return ap_fail(err, rc, "as the test wants it");
    append->outcome.samples_written = append->batch->sample_count;
    append->done(append, AP_OK);
    return AP_OK;
}

static void answer(struct fixture *fx, enum ap_rc rc, const char *text)
{
    pthread_mutex_lock(&fx->mtx);
    fx->is_answered = true;
    fx->rc = rc;
    snprintf(fx->text, sizeof(fx->text), "%s", text);
    pthread_cond_broadcast(&fx->changed);
    pthread_mutex_unlock(&fx->mtx);
}

static void update_done(struct tsdb_append *append, enum ap_rc rc)
{
    answer(append->context, rc, "");
}

static void update_failed(void *context, enum ap_rc rc, const char *text)
{
    answer(context, rc, text);
}

static void open_push(struct fixture *fx)
{
    MUST(push_open(&fx->options, &fx->push, &must_err));
    MUST(push_start(fx->push, &must_err));
}

static int setup(void **state)
{
    struct fixture *fx = ap_new0(struct fixture);
    pthread_mutex_init(&fx->mtx, NULL);
    pthread_cond_init(&fx->changed, NULL);
    snprintf(fx->dir, sizeof(fx->dir), "/tmp/test_push.XXXXXX");
    assert_non_null(mkdtemp(fx->dir));
    snprintf(fx->meta_path, sizeof(fx->meta_path), "%s/meta.sqlite", fx->dir);
    fx->wall_us = 1000 * AP_US_PER_S;
    fx->clock = (struct ap_clock){wall, monotonic, fx};
    fx->options = (struct push_options){
        .meta_path = fx->meta_path,
        .tsdb = (struct tsdb *)(void *)fx,
        .append = append,
        .hash_seed = SEED,
        .clock = &fx->clock,
        .interval_ms = 15000,
        .groups_max = 3,
        .bytes_max = 100000,
    };
    open_push(fx);
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    push_close(fx->push);
    ap_buf_clear(&fx->written);
    pthread_mutex_destroy(&fx->mtx);
    pthread_cond_destroy(&fx->changed);
    dir_remove(fx->dir);
    free(fx);
    return 0;
}

/* Pushes and waits for the answer. */
static enum ap_rc push(struct fixture *fx, enum push_kind kind, const char *rest, struct ap_slice body,
                       bool is_protobuf)
{
    struct push_key key;
    struct tsdb_append append = {.done = update_done, .context = fx};
    MUST(push_key_read(ap_slice_cstr(rest), false, &key, &must_err));
    struct push_update *update = push_update_new(kind);
    update->append = &append;
    update->failed = update_failed;
    struct push_body_options options = {
        .key = &key, .hash_seed = SEED, .pushed_us = fx->wall_us, .bytes_max = 1 << 20, .is_protobuf = is_protobuf};
    MUST(push_body_read(&options, body, &update->families, &must_err));
    MUST(labels_encode(key.labels, key.count, &update->labels, &must_err));
    push_key_clear(&key);
    fx->is_answered = false;
    MUST(push_submit(fx->push, update, &must_err));
    pthread_mutex_lock(&fx->mtx);
    while (!fx->is_answered)
        pthread_cond_wait(&fx->changed, &fx->mtx);
    pthread_mutex_unlock(&fx->mtx);
    return fx->rc;
}

static enum ap_rc push_text(struct fixture *fx, enum push_kind kind, const char *rest, const char *text)
{
    return push(fx, kind, rest, ap_slice_cstr(text), false);
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What was written since the last look, its lines sorted; without our two metrics unless `has_times`. */
static void expect_written(struct fixture *fx, bool has_times, const char *want, const char *file, int line)
{
    char *lines[64];
    size_t count = 0;
    struct ap_buf got = {0};
    pthread_mutex_lock(&fx->mtx);
    ap_buf_add_char(&fx->written, '\0');
    for (char *at = strtok(fx->written.data, "\n"); at; at = strtok(NULL, "\n"))
        if (has_times || (!strstr(at, "push_time") && !strstr(at, "push_failure")))
            lines[count++] = at;
    qsort(lines, count, sizeof(*lines), compare_lines);
    for (size_t i = 0; i < count; i++)
        ap_buf_printf(&got, "%s\n", lines[i]);
    ap_buf_reset(&fx->written);
    pthread_mutex_unlock(&fx->mtx);
    ap_buf_add_char(&got, '\0');
    _assert_string_equal(got.data, want, file, line);
    ap_buf_clear(&got);
}
#define WRITTEN(want)            expect_written(fx, false, want, __FILE__, __LINE__)
#define WRITTEN_WITH_TIMES(want) expect_written(fx, true, want, __FILE__, __LINE__)

/* Time goes on by an interval, and the thread notices: it is woken by an update that changes nothing. */
static void pass_interval(struct fixture *fx)
{
    fx->monotonic_us += 15 * AP_US_PER_S;
    fx->wall_us += 15 * AP_US_PER_S;
    pthread_mutex_lock(&fx->mtx);
    size_t before = fx->batch_count;
    pthread_mutex_unlock(&fx->mtx);
    assert_int_equal(push_text(fx, PUSH_DELETE, "/nobody", ""), AP_OK);
    pthread_mutex_lock(&fx->mtx);
    while (fx->batch_count == before)
        pthread_cond_wait(&fx->changed, &fx->mtx);
    pthread_mutex_unlock(&fx->mtx);
}

static void test_replace_and_add(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/a", "m{i=\"1\"} 1\nm{i=\"2\"} 2\nn 3\n"), AP_OK);
    WRITTEN_WITH_TIMES("1000000 m{i=\"1\", job=\"a\"} 1\n"
                       "1000000 m{i=\"2\", job=\"a\"} 2\n"
                       "1000000 n{job=\"a\"} 3\n"
                       "1000000 push_failure_time_seconds{job=\"a\"} 0\n"
                       "1000000 push_time_seconds{job=\"a\"} 1000\n");
    /* Within the same millisecond: a millisecond later. POST replaces metrics of the same name, and only these. */
    assert_int_equal(push_text(fx, PUSH_ADD, "/a", "m{i=\"2\"} 5\n"), AP_OK);
    WRITTEN("1000001 m{i=\"1\", job=\"a\"} stale\n"
            "1000001 m{i=\"2\", job=\"a\"} 5\n");
    fx->wall_us += AP_US_PER_S;
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/a", "o 1\n"), AP_OK);
    WRITTEN("1001000 m{i=\"2\", job=\"a\"} stale\n"
            "1001000 n{job=\"a\"} stale\n"
            "1001000 o{job=\"a\"} 1\n");
    fx->wall_us += AP_US_PER_S;
    assert_int_equal(push_text(fx, PUSH_DELETE, "/a", ""), AP_OK);
    WRITTEN_WITH_TIMES("1002000 o{job=\"a\"} stale\n"
                       "1002000 push_failure_time_seconds{job=\"a\"} stale\n"
                       "1002000 push_time_seconds{job=\"a\"} stale\n");
    assert_int_equal(push_text(fx, PUSH_DELETE, "/a", ""), AP_OK);
    WRITTEN_WITH_TIMES("");
    /* Others may follow in the same series at once. */
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/a", "o 2\n"), AP_OK);
    WRITTEN("1002001 o{job=\"a\"} 2\n");
}

static void test_intervals_and_restart(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/a", "# TYPE m gauge\n# HELP m h\nm 1\n"), AP_OK);
    struct ap_buf body = {0};
    struct ap_buf part = {0};
    add_native(&part);
    add_family(&body, "h", 4, 7, ap_buf_slice(&part));
    assert_int_equal(push(fx, PUSH_ADD, "/a/x/1", ap_buf_slice(&body), true), AP_OK);
    ap_buf_clear(&body);
    ap_buf_clear(&part);
    WRITTEN("1000000 h{a=\"b\", job=\"a\", x=\"1\"} histogram\n"
            "1000000 m{job=\"a\"} 1\n");
    pass_interval(fx);
    WRITTEN("1015000 h{a=\"b\", job=\"a\", x=\"1\"} histogram\n"
            "1015000 m{job=\"a\"} 1\n");
    push_close(fx->push);
    fx->wall_us += AP_US_PER_S;
    open_push(fx); /* writes at once */
    WRITTEN_WITH_TIMES("1016000 h{a=\"b\", job=\"a\", x=\"1\"} histogram\n"
                       "1016000 m{job=\"a\"} 1\n"
                       "1016000 push_failure_time_seconds{job=\"a\", x=\"1\"} 0\n"
                       "1016000 push_failure_time_seconds{job=\"a\"} 0\n"
                       "1016000 push_time_seconds{job=\"a\", x=\"1\"} 1000\n"
                       "1016000 push_time_seconds{job=\"a\"} 1000\n");
    fx->wall_us += AP_US_PER_S;
    assert_int_equal(push_text(fx, PUSH_DELETE, "/a/x/1", ""), AP_OK);
    WRITTEN("1017000 h{a=\"b\", job=\"a\", x=\"1\"} histogram\n"); /* one that says that it ends */
    struct push_stats stats;
    push_stats_get(fx->push, &stats);
    assert_int_equal(stats.groups, 1);
    assert_int_equal(stats.series, 1);
}

static void expect_refused(struct fixture *fx, const char *rest, const char *text, const char *want, const char *file,
                           int line)
{
    _assert_int_equal(push_text(fx, PUSH_REPLACE, rest, text), AP_E_PARSE, file, line);
    AP_AUTO_FREE char *whole =
        ap_asprintf("pushed metrics are invalid or inconsistent with existing metrics: %s", want);
    _assert_string_equal(fx->text, whole, file, line);
}
#define REFUSED(rest, text, want) expect_refused(fx, rest, text, want, __FILE__, __LINE__)

static void test_consistency(void **state)
{
    struct fixture *fx = *state;
    fx->options.groups_max = 100;
    push_close(fx->push);
    open_push(fx);
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/a", "m{x=\"1\"} 1\n# TYPE h histogram\nh_sum 1\nc_count 1\n"),
                     AP_OK);
    WRITTEN("1000000 c_count{job=\"a\"} 1\n1000000 h_sum{job=\"a\"} 1\n1000000 m{job=\"a\", x=\"1\"} 1\n");
    REFUSED("/b", "# TYPE m counter\nm 1\n", "collected metric m{job=\"b\"} is not a UNTYPED");
    REFUSED("/a/x/1", "m 1\n",
            "collected metric m{job=\"a\", x=\"1\"} was collected before with the same name and "
            "label values");
    REFUSED("/b", "n 1\nn 2\n",
            "collected metric n{job=\"b\"} was collected before with the same name and label values");
    REFUSED("/b", "n 1 17\n", "pushed metrics must not have timestamps");
    REFUSED("/b", "h_count 1\n",
            "collected metric named \"h_count\" collides with previously collected histogram named \"h\"");
    REFUSED("/b", "# TYPE c summary\nc 1\n",
            "collected metric named \"c_count\" collides with previously collected summary named \"c\"");
    WRITTEN("");
    pass_interval(fx);
    /* That a push failed is there to be alerted on; nothing of it is. */
    expect_written(fx, true,
                   "1015000 c_count{job=\"a\"} 1\n"
                   "1015000 h_sum{job=\"a\"} 1\n"
                   "1015000 m{job=\"a\", x=\"1\"} 1\n"
                   "1015000 push_failure_time_seconds{job=\"a\", x=\"1\"} 1000\n"
                   "1015000 push_failure_time_seconds{job=\"a\"} 0\n"
                   "1015000 push_failure_time_seconds{job=\"b\"} 1000\n"
                   "1015000 push_time_seconds{job=\"a\", x=\"1\"} 0\n"
                   "1015000 push_time_seconds{job=\"a\"} 1000\n"
                   "1015000 push_time_seconds{job=\"b\"} 0\n",
                   __FILE__, __LINE__);
    /* A group may change its own types. */
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/a", "# TYPE m counter\nm{x=\"1\"} 1\nh_count 1\n"), AP_OK);
    struct push_stats stats;
    push_stats_get(fx->push, &stats);
    assert_int_equal(stats.refused, 6);
}

static void test_our_names(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/a", "push_time_seconds 3\n"), AP_OK);
    WRITTEN_WITH_TIMES("1000000 push_failure_time_seconds{job=\"a\"} 0\n1000000 push_time_seconds{job=\"a\"} 1000\n");
}

static void test_limits(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(push_text(fx, PUSH_ADD, "/a", "m 1\n"), AP_OK);
    assert_int_equal(push_text(fx, PUSH_ADD, "/b", "m 1\n"), AP_OK);
    assert_int_equal(push_text(fx, PUSH_ADD, "/c", "m 1\n"), AP_OK);
    assert_int_equal(push_text(fx, PUSH_ADD, "/d", "m 1\n"), AP_E_LIMIT);
    assert_non_null(strstr(fx->text, "push.max_groups"));
    assert_int_equal(push_text(fx, PUSH_ADD, "/a", "n 1\n"), AP_OK);
    struct ap_buf text = {0};
    for (int i = 0; i < 1500; i++)
        ap_buf_printf(&text, "m{i=\"%d\"} 1\n", i);
    ap_buf_add_char(&text, '\0');
    assert_int_equal(push_text(fx, PUSH_ADD, "/a", text.data), AP_E_LIMIT);
    assert_non_null(strstr(fx->text, "push.max_size"));
    ap_buf_clear(&text);
}

static void test_expiry(void **state)
{
    struct fixture *fx = *state;
    push_close(fx->push);
    fx->options.expire_ms = 20000;
    open_push(fx);
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/a", "m 1\n"), AP_OK);
    pass_interval(fx);
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/b", "m 1\n"), AP_OK);
    WRITTEN("1000000 m{job=\"a\"} 1\n1015000 m{job=\"a\"} 1\n1015000 m{job=\"b\"} 1\n");
    pass_interval(fx);
    push_close(fx->push); /* what the interval does is done */
    WRITTEN("1030000 m{job=\"a\"} stale\n1030001 m{job=\"b\"} 1\n");
    open_push(fx);
    struct push_stats stats;
    push_stats_get(fx->push, &stats);
    assert_int_equal(stats.groups, 1);
}

/* All at the same time, so that nothing is written far ahead of the clock. */
static void test_wipe(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(push_text(fx, PUSH_ADD, "/a", "m 1\n"), AP_OK);
    assert_int_equal(push_text(fx, PUSH_ADD, "/b", "m 1\n"), AP_OK);
    assert_int_equal(push_text(fx, PUSH_ADD, "/c", "m 1\n"), AP_OK);
    WRITTEN("1000000 m{job=\"a\"} 1\n1000000 m{job=\"b\"} 1\n1000000 m{job=\"c\"} 1\n");
    assert_int_equal(push_text(fx, PUSH_WIPE, "/any", ""), AP_OK);
    WRITTEN("1000001 m{job=\"a\"} stale\n1000001 m{job=\"b\"} stale\n1000001 m{job=\"c\"} stale\n");
    assert_int_equal(push_text(fx, PUSH_ADD, "/c", "m 2\n"), AP_OK);
    WRITTEN("1000002 m{job=\"c\"} 2\n");
    struct push_stats stats;
    push_stats_get(fx->push, &stats);
    assert_int_equal(stats.groups, 1);
}

static void test_store_refuses(void **state)
{
    struct fixture *fx = *state;
    fx->append_rc = AP_E_FULL;
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/a", "m 1\n"), AP_E_FULL);
    fx->append_rc = AP_OK;
    pass_interval(fx);
    WRITTEN("1015000 m{job=\"a\"} 1\n"); /* it was taken after all, as the sender was told that it may be */
}

static void change_tables(const struct fixture *fx, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(fx->meta_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* A push that cannot be kept is refused for now, and leaves nothing; what was there is there again when the disk is. */
static void test_disk_fails(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/a", "m{x=\"1\"} 1\n"), AP_OK);
    change_tables(fx, "ALTER TABLE pushed_families RENAME TO away");
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/a", "n 2\n"), AP_E_BUSY);
    assert_non_null(strstr(fx->text, "meta.sqlite"));
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/b", "n 2\n"), AP_E_BUSY);
    change_tables(fx, "ALTER TABLE away RENAME TO pushed_families");
    fx->wall_us += AP_US_PER_S;
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/a/x/1", "m 2\n"), AP_E_PARSE); /* it is known again */
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/b", "n 2\n"), AP_OK);
    WRITTEN("1000000 m{job=\"a\", x=\"1\"} 1\n1001000 n{job=\"b\"} 2\n");
    pass_interval(fx);
    WRITTEN("1016000 m{job=\"a\", x=\"1\"} 1\n1016000 n{job=\"b\"} 2\n");
}

static void note_trouble(const struct ap_err *err, void *context)
{
    struct fixture *fx = context;
    snprintf(fx->text, sizeof(fx->text), "%s", err->text);
}

/* What was kept and is damaged is told and left out; all else goes on. */
static void test_damage(void **state)
{
    struct fixture *fx = *state;
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/a", "m 1\nn 2\no 3\n"), AP_OK);
    assert_int_equal(push_text(fx, PUSH_REPLACE, "/b", "m 1\n"), AP_OK);
    WRITTEN("1000000 m{job=\"a\"} 1\n1000000 m{job=\"b\"} 1\n1000000 n{job=\"a\"} 2\n1000000 o{job=\"a\"} 3\n");
    fx->options.trouble = note_trouble;
    fx->options.context = fx;
    static const struct {
        const char *sql;
        const char *trouble;
    } cases[] = {
        {"UPDATE pushed_families SET series = x'0a0b' WHERE name = CAST('n' AS BLOB)",
         "the pushed metric n are damaged"},
        {"UPDATE pushed_families SET type = 99 WHERE name = CAST('n' AS BLOB)", "the type of the pushed metric n"},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(cases); i++) {
        push_close(fx->push);
        change_tables(fx, cases[i].sql);
        fx->wall_us += AP_US_PER_S;
        open_push(fx);
        assert_non_null(strstr(fx->text, cases[i].trouble));
        AP_AUTO_FREE char *want =
            ap_asprintf("%d m{job=\"a\"} 1\n%d m{job=\"b\"} 1\n%d o{job=\"a\"} 3\n", 1001000 + 1000 * (int)i,
                        1001000 + 1000 * (int)i, 1001000 + 1000 * (int)i);
        WRITTEN(want);
    }
    push_close(fx->push);
    change_tables(fx, "UPDATE pushed_groups SET labels = x'0a' WHERE labels = (SELECT min(labels) FROM pushed_groups)");
    open_push(fx);
    assert_non_null(strstr(fx->text, "the labels of a pushed group"));
    struct push_stats stats;
    push_stats_get(fx->push, &stats);
    assert_int_equal(stats.groups, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_times_and_limits),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_message_histograms),
        cmocka_unit_test(test_message_native),
        cmocka_unit_test_setup_teardown(test_replace_and_add, setup, teardown),
        cmocka_unit_test_setup_teardown(test_intervals_and_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_consistency, setup, teardown),
        cmocka_unit_test_setup_teardown(test_our_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wipe, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disk_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
