/*
 * What becomes of a target's answers: page after page of one target into a store, at times that the test sets.
 */
#include "test_scrape_fixture.h"

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

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_same_lines),        CASE(test_lines_come_and_go), CASE(test_failure_ends_all), CASE(test_empty_page),
        CASE(test_duplicates),        CASE(test_own_times),         CASE(test_honor_labels),     CASE(test_limits),
        CASE(test_invalid_utf8),      CASE(test_openmetrics),       CASE(test_content_types),    CASE(test_target_ends),
        CASE(test_target_comes_back), CASE(test_restart),           CASE(test_series_removed),   CASE(test_metadata),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
