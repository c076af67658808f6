/*
 * What becomes of a target's answers: page after page of one target into a store, at times that the test sets.
 */
#include "test_scrape_fixture.h"

#include "codec/protobuf.h"
#include "scrape/relabel.h"
#include "scrape/target.h"

enum { BASE_MS = 1000000 };
static const int64_t base_ms = INT64_C(1764000000000);

struct fixture {
    struct store store;
    struct job job;
    struct keeper *keeper;
    struct target_desk desk;
    struct target *target;
    struct target_result result;
    int64_t ts_ms;
    char trouble[512];
};

static void note_trouble(const struct ap_err *err, void *context)
{
    struct fixture *fx = context;
    snprintf(fx->trouble, sizeof(fx->trouble), "%s", err->text);
}

static struct scrape_target shown(const struct fixture *fx, struct ap_buf *labels)
{
    struct label items[] = {
        {AP_SLICE_LITERAL("instance"), AP_SLICE_LITERAL("i")},
        {AP_SLICE_LITERAL("job"), AP_SLICE_LITERAL("j")},
    };
    struct ap_err err;
    ap_buf_reset(labels);
    assert_int_equal(labels_encode(items, 2, labels, &err), AP_OK);
    return (struct scrape_target){
        .job = &fx->job.shown,
        .url = "http://target/metrics",
        .labels = ap_buf_slice(labels),
        .discovered = {"", 0},
        .address = {"", 0},
        .interval_ms = 10000,
        .timeout_ms = 5000,
    };
}

static void begin_target(struct fixture *fx)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct scrape_target told = shown(fx, &labels);
    fx->target = target_new(&told, 7, tsdb_hash_seed(fx->store.tsdb));
}

static void open_all(struct fixture *fx)
{
    store_open(&fx->store);
    fx->keeper = keeper_new(&(struct keeper_options){
        .tsdb = fx->store.tsdb, .append = tsdb_append, .trouble = note_trouble, .context = fx});
    target_desk_init(&fx->desk, fx->keeper);
    fx->desk.trouble = note_trouble;
    fx->desk.context = fx;
    begin_target(fx);
}

static void close_all(struct fixture *fx)
{
    target_unref(fx->target);
    target_desk_clear(&fx->desk);
    keeper_free(fx->keeper);
    store_close(&fx->store);
}

static int set_up(void **state)
{
    struct fixture *fx = ap_new0(struct fixture);
    fx->job = job_default("j");
    fx->ts_ms = base_ms;
    fx->store.now_ms = base_ms;
    open_all(fx);
    *state = fx;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fx = *state;
    close_all(fx);
    store_remove(&fx->store);
    free(fx);
    return 0;
}

static void answer(struct fixture *fx, const char *content_type, struct ap_slice body)
{
    struct target *target = fx->target;
    target->answer = (struct fetch_answer){.is_gzip = false};
    snprintf(target->answer.content_type, sizeof(target->answer.content_type), "%s", content_type);
    ap_buf_add_slice(&target->answer.body, body);
}

static void finish(struct fixture *fx)
{
    target_info_unref(fx->target->asked);
    fx->target->asked = target_info_ref(fx->target->info);
    fx->target->ts_ms = fx->ts_ms;
    fx->store.now_ms = fx->ts_ms;
    fx->target->began_us = ap_clock_monotonic_us(&ap_clock_system);
    target_finish(fx->target, &fx->desk, &fx->result);
    (void)target_desk_flush(&fx->desk);
    fx->ts_ms += 10000;
}

/* A scrape of this page, ten seconds after the one before. */
static void scrape(struct fixture *fx, const char *page)
{
    answer(fx, "text/plain; version=0.0.4", ap_slice_cstr(page));
    finish(fx);
}
static void scrape_ok(struct fixture *fx, const char *page)
{
    scrape(fx, page);
    if (fx->result.err.rc != AP_OK)
        fail_msg("%s", fx->result.err.text);
}
static void scrape_openmetrics(struct fixture *fx, const char *page)
{
    answer(fx, "application/openmetrics-text; version=1.0.0; charset=utf-8", ap_slice_cstr(page));
    finish(fx);
}
static void scrape_failing(struct fixture *fx, const char *why)
{
    fx->target->answer = (struct fetch_answer){.is_gzip = false};
    (void)ap_fail(&fx->target->answer.err, AP_E_IO, "%s", why);
    finish(fx);
}

#define HOLDS(selector, want) assert_string_equal(store_text(&fx->store, selector, base_ms), want)
#define FAILED(want)          assert_string_equal(fx->result.err.text, want)

/* ---- The cases ---- */

static void test_same_lines(void **state)
{
    struct fixture *fx = *state;
    scrape_ok(fx, "# TYPE a counter\na 1\nb{x=\"y\"} 2.5\n");
    scrape_ok(fx, "# TYPE a counter\na 2\nb{x=\"y\"} -2e3\n");
    scrape_ok(fx, "# TYPE a counter\na 3\nb{x=\"y\"} NaN\n");
    HOLDS("a", "a{instance=\"i\", job=\"j\"} 1@0 2@10000 3@20000\n");
    HOLDS("b", "b{instance=\"i\", job=\"j\", x=\"y\"} 2.5@0 -2000@10000 nan@20000\n");
    HOLDS("up", "up{instance=\"i\", job=\"j\"} 1@0 1@10000 1@20000\n");
    HOLDS("scrape_samples_scraped", "scrape_samples_scraped{instance=\"i\", job=\"j\"} 2@0 2@10000 2@20000\n");
    HOLDS("scrape_samples_post_metric_relabeling",
          "scrape_samples_post_metric_relabeling{instance=\"i\", job=\"j\"} 2@0 2@10000 2@20000\n");
    HOLDS("scrape_series_added", "scrape_series_added{instance=\"i\", job=\"j\"} 2@0 0@10000 0@20000\n");
}

static void test_lines_come_and_go(void **state)
{
    struct fixture *fx = *state;
    scrape_ok(fx, "a 1\nb 1\nc 1\n");
    scrape_ok(fx, "c 2\na 2\nd 2\n");
    scrape_ok(fx, "d 3\nb 3\nc 3\na 3\n");
    scrape_ok(fx, "d 4\nb 4\n");
    HOLDS("{__name__=~\"[abcd]\"}", "a{instance=\"i\", job=\"j\"} 1@0 2@10000 3@20000 stale@30000\n"
                                    "b{instance=\"i\", job=\"j\"} 1@0 stale@10000 3@20000 4@30000\n"
                                    "c{instance=\"i\", job=\"j\"} 1@0 2@10000 3@20000 stale@30000\n"
                                    "d{instance=\"i\", job=\"j\"} 2@10000 3@20000 4@30000\n");
    HOLDS("scrape_series_added", "scrape_series_added{instance=\"i\", job=\"j\"} 3@0 1@10000 1@20000 0@30000\n");
    assert_int_equal(fx->target->cache.count, 2);
}

static void test_failure_ends_all(void **state)
{
    struct fixture *fx = *state;
    scrape_ok(fx, "a 1\n");
    scrape_failing(fx, "no");
    FAILED("no");
    scrape_failing(fx, "no");
    scrape_ok(fx, "a 4\n");
    scrape(fx, "a 5\nb{ 1\n");
    FAILED("line 2, column 4: expected the name of a label, or }");
    HOLDS("{__name__=~\"[ab]\"}", "a{instance=\"i\", job=\"j\"} 1@0 stale@10000 4@30000 stale@40000\n");
    HOLDS("up", "up{instance=\"i\", job=\"j\"} 1@0 0@10000 0@20000 1@30000 0@40000\n");
    HOLDS("scrape_series_added",
          "scrape_series_added{instance=\"i\", job=\"j\"} 1@0 0@10000 0@20000 0@30000 0@40000\n");
}

static void test_failure_log(void **state)
{
    struct fixture *fx = *state;
    char path[96];
    char text[512] = "";
    snprintf(path, sizeof(path), "%s/failures", fx->store.root);
    fx->job.shown.failure_log_file = path;
    scrape_ok(fx, "a 1\n");
    scrape_failing(fx, "no \"way\"");
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    assert_non_null(strstr(text, "Z\",\"level\":\"ERROR\",\"msg\":\"no \\\"way\\\"\",\"job_name\":\"j\","
                                 "\"target\":\"http://target/metrics\"}\n"));
    assert_memory_equal(text, "{\"time\":\"20", 11);
    fx->job.shown.failure_log_file = "/nonexistent/failures";
    scrape_failing(fx, "no");
    assert_string_equal(fx->trouble, "scrape_failure_log_file: open /nonexistent/failures: No such file or directory");
}

static void test_empty_page(void **state)
{
    struct fixture *fx = *state;
    scrape_ok(fx, "a 1\n");
    scrape_ok(fx, "");
    scrape_ok(fx, "a 3\n");
    HOLDS("a", "a{instance=\"i\", job=\"j\"} 1@0 stale@10000 3@20000\n");
    HOLDS("up", "up{instance=\"i\", job=\"j\"} 1@0 1@10000 1@20000\n");
}

static void test_duplicates(void **state)
{
    struct fixture *fx = *state;
    for (int i = 1; i <= 3; i++)
        scrape_ok(fx, "a 1\na 2\nb 1\n");
    HOLDS("a", "a{instance=\"i\", job=\"j\"} 1@0 1@10000 1@20000\n");
    HOLDS("b", "b{instance=\"i\", job=\"j\"} 1@0 1@10000 1@20000\n");
    HOLDS("scrape_samples_post_metric_relabeling",
          "scrape_samples_post_metric_relabeling{instance=\"i\", job=\"j\"} 3@0 3@10000 3@20000\n");
    assert_int_equal(fx->result.samples_refused, 1);
    assert_non_null(strstr(fx->trouble, "1 told twice"));
    assert_non_null(strstr(fx->trouble, "http://target/metrics"));
}

static void test_own_times(void **state)
{
    struct fixture *fx = *state;
    char page[128];
    for (int i = 0; i < 3; i++) {
        snprintf(page, sizeof(page), "a %d %" PRId64 "\n%s", i, base_ms + i * 100, i == 2 ? "" : "b 1 1764000000005\n");
        scrape_ok(fx, page);
    }
    scrape_ok(fx, "");
    HOLDS("a", "a{instance=\"i\", job=\"j\"} 0@0 1@100 2@200\n"); /* no marker: its time is its own */
    HOLDS("b", "b{instance=\"i\", job=\"j\"} 1@5\n");
    fx->job.shown.is_tracking_timestamps_staleness = true;
    scrape_ok(fx, "c 1 1764000000005\n");
    scrape_ok(fx, "");
    HOLDS("c", "c{instance=\"i\", job=\"j\"} 1@5 stale@50000\n");
    fx->job.shown.is_honoring_timestamps = false;
    scrape_ok(fx, "d 1 5\n");
    HOLDS("d", "d{instance=\"i\", job=\"j\"} 1@60000\n");
    fx->job.shown.is_honoring_timestamps = true;
    scrape_ok(fx, "e 1 1964000000005\nf 1\n"); /* far in the future */
    HOLDS("e", "");
    HOLDS("f", "f{instance=\"i\", job=\"j\"} 1@70000\n");
}

/* Exporters that give every line a time: read as quickly as others, and nothing is lost when they stop doing so. */
static void test_own_times_again(void **state)
{
    struct fixture *fx = *state;
    char page[128];
    for (int i = 0; i < 4; i++) {
        snprintf(page, sizeof(page), "a %d %" PRId64 "\nb %d%s\n", i, base_ms + i * 100, i,
                 i == 2 ? " 1764000000700" : "");
        scrape_ok(fx, page);
    }
    scrape_ok(fx, "b 4\na 4\n");
    scrape_ok(fx, "b 5\na 5 5\n"); /* before all that the store takes */
    scrape_ok(fx, "");
    HOLDS("a", "a{instance=\"i\", job=\"j\"} 0@0 1@100 2@200 3@300 4@40000\n");
    HOLDS("b", "b{instance=\"i\", job=\"j\"} 0@0 2@700 1@10000 3@30000 4@40000 5@50000 stale@60000\n");
    assert_non_null(strstr(fx->trouble, "too old"));
    fx->job.shown.is_honoring_timestamps = false;
    for (int i = 0; i < 2; i++)
        scrape_ok(fx, "c 1 1764000000005\n");
    HOLDS("c", "c{instance=\"i\", job=\"j\"} 1@70000 1@80000\n");
}

static void test_honor_labels(void **state)
{
    struct fixture *fx = *state;
    scrape_ok(fx, "a{job=\"own\",exported_job=\"x\",instance=\"\"} 1\n");
    HOLDS("a", "a{exported_exported_job=\"own\", exported_job=\"x\", instance=\"i\", job=\"j\"} 1@0\n");
    fx->job.shown.is_honoring_labels = true;
    target_unref(fx->target);
    begin_target(fx);
    scrape_ok(fx, "b{job=\"own\",instance=\"\"} 1\n");
    HOLDS("b", "b{job=\"own\"} 1@10000\n");
}

static void test_limits(void **state)
{
    struct fixture *fx = *state;
    fx->job.shown.limits.samples_max = 2;
    scrape_ok(fx, "a 1\nb 1\n");
    scrape(fx, "a 1\nb 1\nc 1\nd 1\n");
    FAILED("sample limit exceeded");
    HOLDS("scrape_samples_scraped", "scrape_samples_scraped{instance=\"i\", job=\"j\"} 2@0 4@10000\n");
    HOLDS("scrape_samples_post_metric_relabeling",
          "scrape_samples_post_metric_relabeling{instance=\"i\", job=\"j\"} 2@0 4@10000\n");
    HOLDS("a", "a{instance=\"i\", job=\"j\"} 1@0 stale@10000\n");
    fx->job.shown.limits = (struct scrape_limits){.labels_max = 3};
    scrape(fx, "e{a=\"1\"} 1\n");
    FAILED("line 1: label_limit exceeded (metric: e, number of labels: 4, limit: 3)");
    fx->job.shown.limits = (struct scrape_limits){.label_name_bytes_max = 8};
    scrape(fx, "e{a23456789=\"1\"} 1\n");
    FAILED("line 1: label_name_length_limit exceeded (metric: e, label name: a23456789, length: 9, limit: 8)");
    fx->job.shown.limits = (struct scrape_limits){.label_value_bytes_max = 2};
    scrape(fx, "e{a=\"123\"} 1\n");
    FAILED("line 1: label_value_length_limit exceeded (metric: e, label name: a, value: \"123\", length: 3, limit: 2)");
    fx->job.shown.limits = (struct scrape_limits){.body_bytes_max = 4};
    scrape(fx, "e 1\n");
    FAILED("body size limit exceeded");
}

static void test_invalid_utf8(void **state)
{
    struct fixture *fx = *state;
    scrape(fx, "a{x=\"\xff\"} 1\nb 1\n");
    assert_int_equal(fx->result.err.rc, AP_E_PARSE);
    HOLDS("b", "");
    HOLDS("up", "up{instance=\"i\", job=\"j\"} 0@0\n");
}

static void test_legacy_names(void **state)
{
    struct fixture *fx = *state;
    scrape_ok(fx, "{\"a b\"} 1\n");
    fx->job.shown.is_utf8_names = false;
    target_unref(fx->target);
    begin_target(fx);
    scrape_ok(fx, "a:b{c_1=\"d e\"} 1\n");
    scrape(fx, "{\"a b\"} 1\n");
    FAILED("line 1: invalid metric name or label names: {__name__=\"a b\", instance=\"i\", job=\"j\"}");
    scrape(fx, "a{\"c:d\"=\"1\"} 1\n");
    FAILED("line 1: invalid metric name or label names: {__name__=\"a\", \"c:d\"=\"1\", instance=\"i\", job=\"j\"}");
}

static void test_openmetrics(void **state)
{
    struct fixture *fx = *state;
    scrape_openmetrics(fx, "# TYPE a counter\na_total 1 1764000000.5 # {trace_id=\"t\"} 0.5\n# EOF\n");
    HOLDS("a_total", "a_total{instance=\"i\", job=\"j\"} 1@500\n");
    scrape_openmetrics(fx, "# TYPE a counter\na_total 1\n");
    FAILED("data does not end with # EOF");
    scrape_openmetrics(fx, "a_total 1\n# EOF\na_total 2\n");
    FAILED("line 3, column 1: there is something behind # EOF");
}

static void test_content_types(void **state)
{
    struct fixture *fx = *state;
    answer(fx, "", ap_slice_cstr("a 1\n"));
    finish(fx);
    FAILED(
        "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target");
    answer(fx, "text/html", ap_slice_cstr("a 1\n"));
    finish(fx);
    FAILED("received unsupported Content-Type \"text/html\" and no fallback_scrape_protocol specified for target");
    fx->job.shown.fallback = SCRAPE_PROTOCOL_TEXT_0_0_4;
    answer(fx, "text/html", ap_slice_cstr("a 1\n"));
    finish(fx);
    HOLDS("a", "a{instance=\"i\", job=\"j\"} 1@20000\n");
}

static void test_target_ends(void **state)
{
    struct fixture *fx = *state;
    fx->job.shown.is_extra_metrics = true;
    scrape_ok(fx, "a 1\n");
    fx->target->stale_ms = fx->ts_ms;
    target_end(fx->target, &fx->desk);
    (void)target_desk_flush(&fx->desk);
    HOLDS("a", "a{instance=\"i\", job=\"j\"} 1@0 stale@10000\n");
    HOLDS("up", "up{instance=\"i\", job=\"j\"} 1@0 stale@10000\n");
    HOLDS("scrape_timeout_seconds", "scrape_timeout_seconds{instance=\"i\", job=\"j\"} 5@0 stale@10000\n");
    HOLDS("scrape_body_size_bytes", "scrape_body_size_bytes{instance=\"i\", job=\"j\"} 4@0 stale@10000\n");
}

/* One that comes back is another target with the same series: the old one's end must not come behind it. */
static void test_target_comes_back(void **state)
{
    struct fixture *fx = *state;
    scrape_ok(fx, "a 1\nb 1\n");
    struct target *old = fx->target;
    old->stale_ms = fx->ts_ms;
    begin_target(fx);
    scrape_ok(fx, "a 2\n");
    scrape_ok(fx, "a 3\n");
    target_end(old, &fx->desk);
    (void)target_desk_flush(&fx->desk);
    target_unref(old);
    HOLDS("a", "a{instance=\"i\", job=\"j\"} 1@0 2@10000 3@20000\n");
    HOLDS("b", "b{instance=\"i\", job=\"j\"} 1@0 stale@10000\n");
    HOLDS("up", "up{instance=\"i\", job=\"j\"} 1@0 1@10000 1@20000\n");
}

static void test_restart(void **state)
{
    struct fixture *fx = *state;
    scrape_ok(fx, "a 1\nb 1\n");
    close_all(fx);
    open_all(fx);
    scrape_ok(fx, "a 2\nb 2\n");
    HOLDS("{__name__=~\"a|b|up\"}", "a{instance=\"i\", job=\"j\"} 1@0 2@10000\n"
                                    "b{instance=\"i\", job=\"j\"} 1@0 2@10000\n"
                                    "up{instance=\"i\", job=\"j\"} 1@0 1@10000\n");
    struct tsdb_stats stats;
    tsdb_stats_get(fx->store.tsdb, &stats);
    assert_int_equal(stats.head_series, 2 + REPORT_BASIC_COUNT);
}

/* The store forgets series while the cache has their numbers. */
static void test_series_removed(void **state)
{
    struct fixture *fx = *state;
    struct ap_err err;
    scrape_ok(fx, "a 1\nb 1\n");
    fx->ts_ms += 3 * 86400 * 1000;
    fx->store.now_ms = fx->ts_ms;
    uint64_t removed = 0;
    for (int i = 0; i < 6; i++) { /* blocks are cut, series without samples in the head are removed, numbers reused */
        char page[64];
        snprintf(page, sizeof(page), "new%d 1\n", i);
        struct target *kept = fx->target;
        begin_target(fx);
        scrape_ok(fx, page);
        target_unref(fx->target);
        fx->target = kept;
        assert_int_equal(tsdb_settle(fx->store.tsdb, true, &err), AP_OK);
        struct tsdb_stats stats;
        tsdb_stats_get(fx->store.tsdb, &stats);
        removed = stats.series_removed;
        fx->ts_ms += 86400 * 1000;
    }
    assert_true(removed > 2);
    scrape_ok(fx, "a 2\nb 2\n");
    const char *text = store_text(&fx->store, "{__name__=~\"a|b\"}", fx->ts_ms - 10000);
    assert_non_null(strstr(text, "a{instance=\"i\", job=\"j\"} 1@"));
    assert_non_null(strstr(text, " 2@0\nb{instance=\"i\", job=\"j\"} 1@"));
}

static bool add_metadata(const struct batch_metadata *metadata, void *context)
{
    ap_buf_printf(context, "%.*s %s %.*s %.*s\n", AP_SLICE_ARG(metadata->metric), metadata_type_name(metadata->type),
                  AP_SLICE_ARG(metadata->help), AP_SLICE_ARG(metadata->unit));
    return true;
}

static void test_metadata(void **state)
{
    struct fixture *fx = *state;
    const char *page =
        "# HELP a Says \\\\ a.\n# TYPE a counter\n# UNIT a bytes\na 1\n# TYPE b gauge\nb 1\n# a comment\n";
    AP_AUTO_BUF struct ap_buf text = {0};
    for (int i = 0; i < 2; i++) {
        scrape_ok(fx, page);
        ap_buf_reset(&text);
        tsdb_metadata(fx->store.tsdb, (struct ap_slice){0}, add_metadata, &text);
        page_each_metadata(&fx->target->cache, add_metadata, &text);
        ap_buf_add_char(&text, '\0');
        assert_string_equal(text.data,
                            "a counter Says \\ a. bytes\nb gauge  \na counter Says \\ a. bytes\nb gauge  \n");
    }
}

/* ---- Protobuf ---- */

static void add_message(struct ap_buf *out, uint32_t field, const struct ap_buf *message)
{
    protobuf_add_bytes(out, field, ap_slice(message->data ? message->data : "", message->bytes));
}

static void add_label(struct ap_buf *out, const char *name, const char *value)
{
    AP_AUTO_BUF struct ap_buf label = {0};
    protobuf_add_text(&label, 1, name);
    protobuf_add_text(&label, 2, value);
    add_message(out, 1, &label);
}

static void add_ts(struct ap_buf *out, uint32_t field, int64_t ts_ms)
{
    AP_AUTO_BUF struct ap_buf ts = {0};
    protobuf_add_varint(&ts, 1, (uint64_t)(ts_ms / 1000));
    protobuf_add_varint(&ts, 2, (uint64_t)(ts_ms % 1000 * 1000000));
    add_message(out, field, &ts);
}

static void add_exemplar(struct ap_buf *out, uint32_t field, const char *trace_id, double value, int64_t ts_ms)
{
    AP_AUTO_BUF struct ap_buf exemplar = {0};
    add_label(&exemplar, "trace_id", trace_id);
    protobuf_add_double(&exemplar, 2, value);
    if (ts_ms)
        add_ts(&exemplar, 3, ts_ms);
    add_message(out, field, &exemplar);
}

/* One family with one metric, delimited. */
static void add_family(struct ap_buf *page, const char *name, uint64_t type, uint32_t field, const struct ap_buf *value,
                       const char *label, int64_t ts_ms)
{
    AP_AUTO_BUF struct ap_buf metric = {0};
    AP_AUTO_BUF struct ap_buf family = {0};
    if (label)
        add_label(&metric, "l", label);
    add_message(&metric, field, value);
    if (ts_ms)
        protobuf_add_varint(&metric, 6, (uint64_t)ts_ms);
    protobuf_add_text(&family, 1, name);
    protobuf_add_text(&family, 2, "Helps\nmuch.");
    protobuf_add_varint(&family, 3, type);
    add_message(&family, 4, &metric);
    ap_buf_add_varint(page, family.bytes);
    ap_buf_add_slice(page, ap_buf_slice(&family));
}

static void scrape_protobuf(struct fixture *fx, const struct ap_buf *page)
{
    answer(fx, "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
           ap_buf_slice(page));
    finish(fx);
}
static void scrape_protobuf_ok(struct fixture *fx, const struct ap_buf *page)
{
    scrape_protobuf(fx, page);
    if (fx->result.err.rc != AP_OK)
        fail_msg("%s", fx->result.err.text);
}

static void add_span(struct ap_buf *out, uint32_t field, int32_t offset, uint32_t length)
{
    AP_AUTO_BUF struct ap_buf span = {0};
    protobuf_add_sint(&span, 1, offset);
    protobuf_add_varint(&span, 2, length);
    add_message(out, field, &span);
}

static void add_bucket(struct ap_buf *out, double bound, uint64_t cumulative, int64_t exemplar_ts_ms)
{
    AP_AUTO_BUF struct ap_buf bucket = {0};
    protobuf_add_varint(&bucket, 1, cumulative);
    protobuf_add_double(&bucket, 2, bound);
    if (exemplar_ts_ms)
        add_exemplar(&bucket, 3, "b", bound / 2, exemplar_ts_ms);
    add_message(out, 3, &bucket);
}

/* Classic buckets, and exponential ones when `is_native`. */
static void make_histogram(struct ap_buf *out, bool is_native)
{
    protobuf_add_varint(out, 1, 6);
    protobuf_add_double(out, 2, 12.5);
    add_bucket(out, 1, 2, base_ms + 1);
    add_bucket(out, 2.5, 5, base_ms);
    if (!is_native)
        return;
    protobuf_add_sint(out, 5, 0);
    protobuf_add_double(out, 6, 0.001);
    protobuf_add_varint(out, 7, 1);
    add_span(out, 12, 1, 2); /* two that become one at half the resolution */
    protobuf_add_sint(out, 13, 2);
    protobuf_add_sint(out, 13, 1);
}

static bool add_exemplar_text(struct ap_slice series_labels, const struct batch_exemplar *exemplar, void *context)
{
    struct ap_buf *out = context;
    ap_buf_add_slice(out, labels_get(series_labels, ap_slice_cstr("__name__")));
    ap_buf_printf(out, " %.*s %g@%" PRId64 "\n", AP_SLICE_ARG(labels_get(exemplar->labels, ap_slice_cstr("trace_id"))),
                  exemplar->value, exemplar->ts_ms - base_ms);
    return true;
}

static const char *exemplars_text(struct fixture *fx)
{
    static struct ap_buf out;
    struct matchers matchers = {0};
    struct ap_err err;
    assert_int_equal(matchers_parse(ap_slice_cstr("{job=\"j\"}"), &matchers, &err), AP_OK);
    ap_buf_reset(&out);
    tsdb_exemplars(fx->store.tsdb, &matchers, INT64_MIN, INT64_MAX, add_exemplar_text, &out);
    ap_buf_add_char(&out, '\0');
    matchers_clear(&matchers);
    return out.data;
}

static void test_protobuf_values(void **state)
{
    struct fixture *fx = *state;
    AP_AUTO_BUF struct ap_buf page = {0};
    AP_AUTO_BUF struct ap_buf counter = {0};
    AP_AUTO_BUF struct ap_buf gauge = {0};
    AP_AUTO_BUF struct ap_buf summary = {0};
    AP_AUTO_BUF struct ap_buf quantile = {0};
    protobuf_add_double(&counter, 1, 42);
    add_exemplar(&counter, 2, "t", 1, base_ms + 7);
    add_ts(&counter, 3, base_ms - 5000);
    protobuf_add_double(&gauge, 1, -1.5);
    protobuf_add_double(&quantile, 1, 1);
    protobuf_add_double(&quantile, 2, 9);
    protobuf_add_varint(&summary, 1, 3);
    protobuf_add_double(&summary, 2, 10);
    add_message(&summary, 3, &quantile);
    add_family(&page, "c_total", 0, 3, &counter, "a\"b\\c\nd", 0);
    add_family(&page, "g.h", 1, 2, &gauge, NULL, base_ms + 11);
    add_family(&page, "s", 2, 4, &summary, NULL, 0);
    add_family(&page, "u", 3, 5, &gauge, NULL, 0);
    scrape_protobuf_ok(fx, &page);
    scrape_protobuf_ok(fx, &page);
    HOLDS("c_total", "c_total{instance=\"i\", job=\"j\", l=\"a\\\"b\\\\c\\nd\"} 42@0 42@10000\n");
    HOLDS("{__name__=\"g.h\"}", "{\"g.h\", instance=\"i\", job=\"j\"} -1.5@11\n");
    HOLDS("{__name__=~\"s|s_.*\"}", "s{instance=\"i\", job=\"j\", quantile=\"1.0\"} 9@0 9@10000\n"
                                    "s_count{instance=\"i\", job=\"j\"} 3@0 3@10000\n"
                                    "s_sum{instance=\"i\", job=\"j\"} 10@0 10@10000\n");
    HOLDS("u", "u{instance=\"i\", job=\"j\"} -1.5@0 -1.5@10000\n");
    HOLDS("scrape_samples_scraped", "scrape_samples_scraped{instance=\"i\", job=\"j\"} 6@0 6@10000\n");
    HOLDS("scrape_series_added", "scrape_series_added{instance=\"i\", job=\"j\"} 6@0 0@10000\n");
    assert_string_equal(exemplars_text(fx), "c_total t 1@7\n");
    AP_AUTO_BUF struct ap_buf text = {0};
    page_each_metadata(&fx->target->cache, add_metadata, &text);
    ap_buf_add_char(&text, '\0');
    assert_string_equal(text.data, "c_total counter Helps\nmuch. \ng.h gauge Helps\nmuch. \n"
                                   "s summary Helps\nmuch. \nu unknown Helps\nmuch. \n");
    /* A target that changes its format goes on with the same series. */
    scrape_ok(fx, "# TYPE s summary\ns{quantile=\"1\"} 10\ns_count 4\ns_sum 11\n");
    HOLDS("s", "s{instance=\"i\", job=\"j\", quantile=\"1.0\"} 9@0 9@10000 10@20000\n");
    HOLDS("u", "u{instance=\"i\", job=\"j\"} -1.5@0 -1.5@10000 stale@20000\n");
}

static void test_protobuf_start_times(void **state)
{
    struct fixture *fx = *state;
    AP_AUTO_BUF struct ap_buf page = {0};
    AP_AUTO_BUF struct ap_buf counter = {0};
    protobuf_add_double(&counter, 1, 42);
    add_ts(&counter, 3, base_ms - 5000);
    add_family(&page, "c_total", 0, 3, &counter, NULL, 0);
    fx->desk.is_wanting_start_times = true;
    scrape_protobuf_ok(fx, &page);
    scrape_protobuf_ok(fx, &page);
    HOLDS("c_total", "c_total{instance=\"i\", job=\"j\"} 0@-5000 42@0 42@10000\n");
}

static void test_protobuf_histograms(void **state)
{
    struct fixture *fx = *state;
    static const char classic[] = "h_bucket{instance=\"i\", job=\"j\", le=\"+Inf\"} 6@%d\n"
                                  "h_bucket{instance=\"i\", job=\"j\", le=\"1.0\"} 2@%d\n"
                                  "h_bucket{instance=\"i\", job=\"j\", le=\"2.5\"} 5@%d\n"
                                  "h_count{instance=\"i\", job=\"j\"} 6@%d\n"
                                  "h_sum{instance=\"i\", job=\"j\"} 12.5@%d\n";
    char want[512];
    AP_AUTO_BUF struct ap_buf page = {0};
    AP_AUTO_BUF struct ap_buf histogram = {0};
    make_histogram(&histogram, true);
    add_family(&page, "h", 4, 7, &histogram, NULL, 0);
    scrape_protobuf_ok(fx, &page); /* native ones are not wanted */
    snprintf(want, sizeof(want), classic, 0, 0, 0, 0, 0);
    HOLDS("{__name__=~\"h|h_.*\"}", want);
    assert_string_equal(exemplars_text(fx), "h_bucket b 0.5@1\nh_bucket b 1.25@0\n");
    fx->job.shown.is_native_histograms = true;
    scrape_protobuf_ok(fx, &page);
    HOLDS("h", "h{instance=\"i\", job=\"j\"} h(6,12.5)@10000\n");
    HOLDS("h_count", "h_count{instance=\"i\", job=\"j\"} 6@0 stale@10000\n");
    assert_non_null(strstr(exemplars_text(fx), "h b 1.25@0\nh b 0.5@1\n")); /* by time, not by bucket */
    fx->job.shown.is_always_classic = true;
    scrape_protobuf_ok(fx, &page);
    HOLDS("h_count", "h_count{instance=\"i\", job=\"j\"} 6@0 stale@10000 6@20000\n");
    scrape_ok(fx, "a 1\n");
    HOLDS("h", "h{instance=\"i\", job=\"j\"} h(6,12.5)@10000 h(6,12.5)@20000 hstale@30000\n");
    fx->job.shown.limits.histogram_buckets_max = 1;
    scrape_protobuf_ok(fx, &page); /* halved until it fits */
    HOLDS("h", "h{instance=\"i\", job=\"j\"} h(6,12.5)@10000 h(6,12.5)@20000 hstale@30000 h(6,12.5)@40000\n");
}

static void test_protobuf_bad(void **state)
{
    struct fixture *fx = *state;
    AP_AUTO_BUF struct ap_buf page = {0};
    AP_AUTO_BUF struct ap_buf gauge = {0};
    protobuf_add_double(&gauge, 1, 1);
    add_family(&page, "g", 1, 2, &gauge, NULL, 0);
    page.bytes--;
    scrape_protobuf(fx, &page);
    FAILED("the page is cut off");
    ap_buf_reset(&page);
    add_family(&page, "g", 77, 2, &gauge, NULL, 0);
    scrape_protobuf(fx, &page);
    FAILED("unknown metric type for metric \"g\"");
    ap_buf_reset(&page);
    add_family(&page, "", 1, 2, &gauge, NULL, 0);
    scrape_protobuf(fx, &page);
    FAILED("invalid metric name: ");
    ap_buf_reset(&page);
    add_family(&page, "g", 1, 2, &gauge, "\xff", 0);
    scrape_protobuf(fx, &page);
    assert_int_equal(fx->result.err.rc, AP_E_PARSE);
    /* Buckets that do not sum up. */
    AP_AUTO_BUF struct ap_buf histogram = {0};
    protobuf_add_varint(&histogram, 1, 1);
    protobuf_add_sint(&histogram, 5, 0);
    add_span(&histogram, 12, 0, 1);
    protobuf_add_sint(&histogram, 13, 5);
    ap_buf_reset(&page);
    fx->job.shown.is_native_histograms = true;
    add_family(&page, "h", 4, 7, &histogram, NULL, 0);
    scrape_protobuf(fx, &page);
    assert_int_equal(fx->result.err.rc, AP_E_PARSE);
    HOLDS("h", "");
}

/* ---- Meaning of text ---- */

static void test_bounds(void **state)
{
    struct fixture *fx = *state;
    for (int i = 0; i < 2; i++)
        scrape_ok(fx, "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"0.10\"} 0\nh_bucket{le=\"1e6\"} 1\n"
                      "h_bucket{le=\"+Inf\"} 1\n# TYPE g gauge\ng{le=\"1\"} 1\n");
    HOLDS("h_bucket", "h_bucket{instance=\"i\", job=\"j\", le=\"+Inf\"} 1@0 1@10000\n"
                      "h_bucket{instance=\"i\", job=\"j\", le=\"0.1\"} 0@0 0@10000\n"
                      "h_bucket{instance=\"i\", job=\"j\", le=\"1.0\"} 1@0 1@10000\n"
                      "h_bucket{instance=\"i\", job=\"j\", le=\"1e+06\"} 1@0 1@10000\n");
    HOLDS("g", "g{instance=\"i\", job=\"j\", le=\"1\"} 1@0 1@10000\n");
}

static void test_start_times(void **state)
{
    struct fixture *fx = *state;
    static const char page[] = "# TYPE c counter\nc_total{a=\"1\"} 5\nc_created{a=\"1\"} 1763999990\n"
                               "c_total{a=\"2\"} 6\nc_created{a=\"2\"} 1763999991.5\n"
                               "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 2\nh_created 1763999992\n"
                               "# EOF\n";
    fx->desk.is_wanting_start_times = true;
    for (int i = 0; i < 2; i++) {
        scrape_openmetrics(fx, page);
        FAILED("");
    }
    HOLDS("c_total", "c_total{a=\"1\", instance=\"i\", job=\"j\"} 0@-10000 5@0 5@10000\n"
                     "c_total{a=\"2\", instance=\"i\", job=\"j\"} 0@-8500 6@0 6@10000\n");
    HOLDS("{__name__=~\"h_.*\"}", "h_bucket{instance=\"i\", job=\"j\", le=\"+Inf\"} 0@-8000 1@0 1@10000\n"
                                  "h_count{instance=\"i\", job=\"j\"} 0@-8000 1@0 1@10000\n"
                                  "h_sum{instance=\"i\", job=\"j\"} 0@-8000 2@0 2@10000\n");
    HOLDS("c_created", "");
    fx->desk.is_wanting_start_times = false;
    scrape_openmetrics(fx, page);
    HOLDS("h_created", "h_created{instance=\"i\", job=\"j\"} 1.764e+09@20000\n");
}

static void test_classic_to_custom(void **state)
{
    struct fixture *fx = *state;
    static const char page[] =
        "# TYPE h histogram\nh_bucket{a=\"1\",le=\"1\"} 2\nh_bucket{a=\"1\",le=\"5\"} 2\n"
        "h_bucket{a=\"1\",le=\"+Inf\"} 3\nh_sum{a=\"1\"} 9\nh_count{a=\"1\"} 3\n"
        "h_bucket{a=\"2\",le=\"+Inf\"} 1\nh_sum{a=\"2\"} 4\nh_count{a=\"2\"} 1\n# TYPE g gauge\ng 1\n"
        "# TYPE bad histogram\nbad_bucket{le=\"1\"} 2\nbad_bucket{le=\"+Inf\"} 1\n";
    fx->job.shown.is_classic_to_custom = true;
    scrape_ok(fx, page);
    scrape_ok(fx, page);
    HOLDS("{__name__=~\"h.*|g|bad.*\"}", "g{instance=\"i\", job=\"j\"} 1@0 1@10000\n"
                                         "h{a=\"1\", instance=\"i\", job=\"j\"} h(3,9)@0 h(3,9)@10000\n"
                                         "h{a=\"2\", instance=\"i\", job=\"j\"} h(1,4)@0 h(1,4)@10000\n");
    fx->job.shown.is_always_classic = true;
    scrape_ok(fx, page);
    HOLDS("h_count", "h_count{a=\"1\", instance=\"i\", job=\"j\"} 3@20000\n"
                     "h_count{a=\"2\", instance=\"i\", job=\"j\"} 1@20000\n");
    HOLDS("h", "h{a=\"1\", instance=\"i\", job=\"j\"} h(3,9)@0 h(3,9)@10000 h(3,9)@20000\n"
               "h{a=\"2\", instance=\"i\", job=\"j\"} h(1,4)@0 h(1,4)@10000 h(1,4)@20000\n");
}

/* ---- Rules ---- */

static struct relabel_rules *rules_of(const char *yaml)
{
    AP_AUTO(yaml) struct yaml_document *document = NULL;
    struct relabel_rules *rules = NULL;
    struct ap_err err = {0};
    if (yaml_parse(ap_slice_cstr(yaml), "rules", &document, &err) != AP_OK ||
        relabel_rules_read(yaml_root(document), true, &rules, &err) != AP_OK)
        fail_msg("%s", err.text);
    return rules;
}

static void test_relabelling(void **state)
{
    struct fixture *fx = *state;
    AP_AUTO(relabel_rules)
    struct relabel_rules *rules =
        rules_of("- {source_labels: [__name__], regex: 'drop_.*', action: drop}\n"
                 "- {source_labels: [x], target_label: y}\n- {regex: x, action: labeldrop}\n");
    fx->job.shown.metric_relabel = rules;
    fx->job.shown.limits.samples_max = 2; /* counted behind the rules */
    for (int i = 0; i < 2; i++)
        scrape_ok(fx, "drop_a 1\nb{x=\"1\"} 1\ndrop_c 1\nd 1\n");
    HOLDS("{__name__=~\"[bd]|drop.*\"}", "b{instance=\"i\", job=\"j\", y=\"1\"} 1@0 1@10000\n"
                                         "d{instance=\"i\", job=\"j\"} 1@0 1@10000\n");
    HOLDS("scrape_samples_scraped", "scrape_samples_scraped{instance=\"i\", job=\"j\"} 4@0 4@10000\n");
    HOLDS("scrape_samples_post_metric_relabeling",
          "scrape_samples_post_metric_relabeling{instance=\"i\", job=\"j\"} 2@0 2@10000\n");
    HOLDS("scrape_series_added", "scrape_series_added{instance=\"i\", job=\"j\"} 2@0 0@10000\n");
}

/* A reload that changes the rules makes other series of the same lines: those that were end, those that stay go on. */
static void test_rules_change(void **state)
{
    struct fixture *fx = *state;
    AP_AUTO(relabel_rules)
    struct relabel_rules *rules =
        rules_of("- {source_labels: [__name__], regex: b, target_label: __name__, replacement: c}\n");
    scrape_ok(fx, "a 1\nb 1\n");
    struct job changed = fx->job;
    changed.shown.metric_relabel = rules;
    struct scrape_target told = fx->target->info->shown;
    told.job = &changed.shown;
    struct target_info *info = target_info_new(&told);
    target_info_unref(fx->target->info);
    fx->target->info = info;
    scrape_ok(fx, "a 2\nb 2\n");
    scrape_ok(fx, "a 3\nb 3\n");
    HOLDS("{__name__=~\"[abc]\"}", "a{instance=\"i\", job=\"j\"} 1@0 2@10000 3@20000\n"
                                   "b{instance=\"i\", job=\"j\"} 1@0 stale@10000\n"
                                   "c{instance=\"i\", job=\"j\"} 2@10000 3@20000\n");
    target_unref(fx->target); /* before the rules go */
    begin_target(fx);
}

/* What waits for other targets is the same as what does not. */
static void test_kept_together(void **state)
{
    struct fixture *fx = *state;
    struct target *first = fx->target;
    for (int i = 0; i < 3; i++) {
        for (int which = 0; which < 2; which++) {
            if (which == 1 && i == 0)
                begin_target(fx);
            char page[32];
            snprintf(page, sizeof(page), "t%d %d\n", which, i);
            answer(fx, "text/plain", ap_slice_cstr(page));
            target_info_unref(fx->target->asked);
            fx->target->asked = target_info_ref(fx->target->info);
            fx->target->ts_ms = fx->ts_ms;
            target_finish(fx->target, &fx->desk, &fx->result);
            struct target *other = fx->target;
            fx->target = first;
            first = other;
        }
        if (i == 1) { /* known lines of both wait; the store forgets nothing meanwhile, and neither do they */
            assert_null(strstr(store_text(&fx->store, "{__name__=~\"t.\"}", base_ms), "@10000"));
        }
        fx->store.now_ms = fx->ts_ms;
        (void)target_desk_flush(&fx->desk); /* both have the same labels: the second one's duration is refused */
        fx->ts_ms += 10000;
    }
    HOLDS("{__name__=~\"t.\"}", "t0{instance=\"i\", job=\"j\"} 0@0 1@10000 2@20000\n"
                                "t1{instance=\"i\", job=\"j\"} 0@0 1@10000 2@20000\n");
    target_unref(first);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_same_lines),
        CASE(test_lines_come_and_go),
        CASE(test_failure_ends_all),
        CASE(test_empty_page),
        CASE(test_failure_log),
        CASE(test_legacy_names),
        CASE(test_duplicates),
        CASE(test_own_times),
        CASE(test_own_times_again),
        CASE(test_honor_labels),
        CASE(test_limits),
        CASE(test_invalid_utf8),
        CASE(test_openmetrics),
        CASE(test_content_types),
        CASE(test_target_ends),
        CASE(test_target_comes_back),
        CASE(test_restart),
        CASE(test_series_removed),
        CASE(test_metadata),
        CASE(test_protobuf_values),
        CASE(test_protobuf_start_times),
        CASE(test_protobuf_histograms),
        CASE(test_protobuf_bad),
        CASE(test_bounds),
        CASE(test_start_times),
        CASE(test_classic_to_custom),
        CASE(test_relabelling),
        CASE(test_rules_change),
        CASE(test_kept_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
