/* /api/apiary/v1/catalogue and coverage: a pack's metrics beside series that come from several versions. */
#include "test_api_fixture.h"

#include <jansson.h>
#include <sys/stat.h>

#include "ingest/otlp_names.h"
#include "pack/catalogue.h"
#include "pack/pack.h"

static const char area[] =
    "title: Tills\n"
    "metrics:\n"
    "- {name: till.open, series: till_open_seconds, type: histogram, unit: s, title: Open,\n"
    "   meaning: M, owner: O, short_name: opening, target: '<50ms',\n"
    "   query: 'histogram_quantile(0.9, rate(till_open_seconds_bucket[5m]))',\n"
    "   attributes: [{name: kind, values: [old, new]}]}\n"
    "- {name: till.sales, series: till_sales_total, type: counter, unit: '{sale}', title: Sales,\n"
    "   meaning: M, owner: O, query: sum(till_sales_total)}\n"
    "- {name: till.coins, series: till_coins, type: gauge, unit: '{coin}', title: Coins,\n"
    "   meaning: M, owner: O, query: sum(till_coins)}\n";

static const char dashboard[] =
    "title: D\n"
    "default_range: 1h\n"
    "ranges: [1h]\n"
    "sections:\n"
    "- title: S\n"
    "  panels:\n"
    "  - {id: open, metric: opening, visualization: number}\n"
    "  - {id: own, metric: till.open, title: Mine, description: D, unit: ms, target: '<1s', better: higher,\n"
    "     visualization: number}\n"
    "  - {id: coins, metric: till.coins, visualization: gauge}\n"
    "  - {id: lines, title: Lines, promql: till_coins * 2, visualization: line_chart, unit: count}\n"
    "  - {id: rows, title: Rows, promql: sort_desc(till_coins), visualization: bar_chart}\n"
    "  - {id: sums, title: Sums, promql: sum(till_coins), visualization: table}\n"
    "  - {id: nothing, title: Nothing, promql: till_bell, visualization: line_chart}\n"
    "  - {id: fails, title: Fails, promql: 'till_coins + on () till_coins', visualization: number}\n";

static void write_file(const char *dir, const char *name, const char *text)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

/* The server of the fixture with a pack; `services` is what stands behind the colon. */
static struct pack *give_pack(struct fixture *fx, const char *services)
{
    static const struct pack *packs[1];
    AP_AUTO_FREE char *dir = ap_asprintf("%s/pack", fx->dir);
    AP_AUTO_FREE char *metrics = ap_asprintf("%s/metrics", dir);
    AP_AUTO_FREE char *head = ap_asprintf("name: shop\nversion: \"1\"\ntitle: The shop\nservices: %s\n", services);
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(mkdir(metrics, 0700), 0);
    write_file(dir, "pack.yaml", head);
    write_file(dir, "metrics/tills.yaml", area);
    AP_AUTO_FREE char *dashboards = ap_asprintf("%s/dashboards", dir);
    assert_int_equal(mkdir(dashboards, 0700), 0);
    write_file(dir, "dashboards/d.yaml", dashboard);
    struct pack *pack;
    MUST(pack_load(dir, &pack, &must_err));
    packs[0] = pack;
    fx->api.packs = packs;
    fx->api.pack_count = 1;
    return pack;
}

static json_t *get(struct fixture *fx, const char *path)
{
    json_t *answer = json_loads(ask(fx, "GET", path, NULL), 0, NULL);
    if (fx->status != 200 || !answer)
        fail_msg("%s: %u %s", path, fx->status, fx->body);
    return answer;
}

static json_t *item(json_t *list, const char *key, const char *text)
{
    size_t index;
    json_t *entry;
    json_array_foreach(list, index, entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, key)), text) == 0)
            return entry;
    }
    fail_msg("nothing with %s %s", key, text);
    return NULL;
}

/* "2.1.0=1@-60 2.2.0=3@0": series and seconds from noon of the newest, of each version. */
static void check_versions(json_t *seen, const char *count_key, const char *want, int line)
{
    AP_AUTO_BUF struct ap_buf have = {0};
    size_t index;
    json_t *version;
    json_array_foreach(json_object_get(seen, "versions"), index, version)
    {
        long long age_ms = json_integer_value(json_object_get(version, "newest_ms")) - NOON_MS;
        ap_buf_printf(&have, "%s%s=%lld@%lld", index ? " " : "", json_string_value(json_object_get(version, "version")),
                      json_integer_value(json_object_get(version, count_key)), age_ms / 1000);
    }
    if (!ap_slice_equal_cstr(ap_buf_slice(&have), want))
        fail_msg("line %d: %.*s", line, AP_SLICE_ARG(ap_buf_slice(&have)));
}
#define VERSIONS(seen, want) check_versions(seen, "series_count", want, __LINE__)

static void append_at(struct fixture *fx, const char *const *labels, int64_t from_s, int64_t to_s, double value)
{
    for (int64_t s = from_s; s <= to_s; s += 30)
        append_one(fx, labels, NOON_MS + s * 1000, value);
}

static void add_metadata(struct fixture *fx, const char *metric, enum metadata_type type, const char *unit)
{
    struct batch batch = {0};
    *batch_add_metadata(&batch) =
        (struct batch_metadata){ap_slice_cstr(metric), ap_slice_cstr(""), ap_slice_cstr(unit), type};
    append_batch(fx, &batch);
    batch_clear(&batch);
}

static void test_catalogue(void **state)
{
    struct fixture *fx = *state;
    struct pack *pack = give_pack(fx, "[till]");
    json_t *answer = get(fx, "/api/apiary/v1/catalogue");
    json_t *shop = item(json_object_get(answer, "packs"), "pack", "shop");
    json_t *tills = item(json_object_get(shop, "areas"), "id", "tills");
    json_t *open = item(json_object_get(tills, "metrics"), "name", "till.open");
    assert_string_equal(json_string_value(json_object_get(open, "series")), "till_open_seconds");
    assert_string_equal(json_string_value(json_object_get(open, "short_name")), "opening");
    assert_string_equal(json_string_value(json_object_get(open, "query_unit")), "s");
    assert_string_equal(json_string_value(json_object_get(json_object_get(open, "target"), "text")), "< 50 ms");
    assert_string_equal(json_string_value(json_object_get(open, "better")), "lower");
    json_t *kind = item(json_object_get(open, "attributes"), "name", "kind");
    assert_string_equal(json_string_value(json_array_get(json_object_get(kind, "values"), 1)), "new");
    assert_true(json_is_null(json_object_get(item(json_object_get(tills, "metrics"), "name", "till.coins"), "target")));
    json_decref(answer);
    pack_free(pack);
}

static void test_coverage(void **state)
{
    struct fixture *fx = *state;
    struct pack *pack = give_pack(fx, "[till, shop/web]");
    /* Instance a is upgraded in between, b is on the new version, c tells its version with each series. */
    append_at(fx, LABELS("target_info", "job", "till", "instance", "a", "service_version", "2.9.0"), -600, -330, 1);
    append_at(fx, LABELS("target_info", "job", "till", "instance", "a", "service_version", "2.10.0"), -300, 0, 1);
    append_at(fx, LABELS("target_info", "job", "till", "instance", "b", "service_version", "2.10.0"), -60, 0, 1);
    append_at(fx, LABELS("till_sales_total", "job", "till", "instance", "a"), -600, 0, 1);
    append_at(fx, LABELS("till_sales_total", "job", "till", "instance", "b"), -60, -30, 1);
    append_at(fx, LABELS("till_sales_total", "job", "shop/web", "service_version", "3.0"), -90, -90, 1);
    append_at(fx, LABELS("till_sales_total", "job", "another"), -60, 0, 1); /* not the product's */
    /* A histogram counts once for a set of labels; this one ended before the upgrade. */
    append_at(fx, LABELS("till_open_seconds_bucket", "job", "till", "instance", "a", "le", "1"), -600, -420, 1);
    append_at(fx, LABELS("till_open_seconds_bucket", "job", "till", "instance", "a", "le", "+Inf"), -600, -420, 1);
    append_at(fx, LABELS("till_open_seconds_sum", "job", "till", "instance", "a"), -600, -420, 1);
    append_at(fx, LABELS("till_open_seconds_count", "job", "till", "instance", "a"), -600, -420, 1);
    /* Strangers, and what is none. */
    append_at(fx, LABELS("till_drawer_count", "job", "till", "instance", "b"), -60, -60, 1);
    append_at(fx, LABELS("till_bell", "job", "till", "instance", "none"), -60, -60, 1);
    append_at(fx, LABELS("up", "job", "till", "instance", "b"), -60, -60, 1);
    append_at(fx, LABELS("job:till:sum", "job", "till"), -60, -60, 1);
    add_metadata(fx, "till_sales_total", METADATA_GAUGE, "");
    add_metadata(fx, "till_open_seconds", METADATA_HISTOGRAM, "milliseconds");

    json_t *answer = get(fx, "/api/apiary/v1/coverage");
    assert_int_equal(json_integer_value(json_object_get(answer, "now_ms")), NOON_MS);
    assert_int_equal(json_integer_value(json_object_get(answer, "from_ms")), NOON_MS - 86400000);
    json_t *shop = item(json_object_get(answer, "packs"), "pack", "shop");
    assert_int_equal(json_integer_value(json_object_get(shop, "metric_count")), 3);
    assert_int_equal(json_integer_value(json_object_get(shop, "seen_count")), 2);
    check_versions(shop, "instance_count", "=0@-60 2.9.0=1@-330 2.10.0=2@0 3.0=0@-90", __LINE__);

    json_t *metrics = json_object_get(shop, "metrics");
    json_t *sales = item(metrics, "name", "till.sales");
    assert_true(json_is_true(json_object_get(sales, "is_seen")));
    assert_int_equal(json_integer_value(json_object_get(sales, "series_count")), 3);
    assert_int_equal(json_integer_value(json_object_get(sales, "newest_ms")), NOON_MS);
    VERSIONS(sales, "2.9.0=1@-330 2.10.0=2@0 3.0=1@-90");
    assert_true(json_is_false(json_object_get(sales, "type_agrees")));
    assert_true(json_is_true(json_object_get(sales, "unit_agrees")));
    json_t *open = item(metrics, "name", "till.open");
    assert_int_equal(json_integer_value(json_object_get(open, "series_count")), 1);
    VERSIONS(open, "2.9.0=1@-420");
    assert_true(json_is_true(json_object_get(open, "type_agrees")));
    assert_true(json_is_false(json_object_get(open, "unit_agrees")));
    assert_string_equal(json_string_value(json_object_get(open, "expected_unit")), "seconds");
    json_t *coins = item(metrics, "name", "till.coins");
    assert_true(json_is_false(json_object_get(coins, "is_seen")));
    assert_true(json_is_null(json_object_get(coins, "newest_ms")));
    assert_true(json_is_null(json_object_get(coins, "type_agrees")));

    json_t *strangers = json_object_get(shop, "strangers");
    assert_int_equal(json_array_size(strangers), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(strangers, 0), "series")), "till_bell");
    VERSIONS(json_array_get(strangers, 0), "=1@-60");
    assert_string_equal(json_string_value(json_object_get(json_array_get(strangers, 1), "series")), "till_drawer");
    VERSIONS(json_array_get(strangers, 1), "2.10.0=1@-60");
    json_decref(answer);
    pack_free(pack);
}

/* Only what is in the span counts, and staleness markers are no samples. */
static void test_coverage_of_a_span(void **state)
{
    struct fixture *fx = *state;
    struct pack *pack = give_pack(fx, "till");
    append_at(fx, LABELS("till_sales_total", "job", "till"), -600, -300, 1);
    uint64_t bits = UINT64_C(0x7ff0000000000002);
    double stale;
    memcpy(&stale, &bits, sizeof(stale));
    append_at(fx, LABELS("till_sales_total", "job", "till"), -270, -270, stale);
    append_at(fx, LABELS("till_coins", "job", "till"), -270, -270, stale);
    append_at(fx, LABELS("till_bell", "job", "till"), -270, -270, stale);
    json_t *answer = get(fx, "/api/apiary/v1/coverage?since=10m");
    json_t *shop = item(json_object_get(answer, "packs"), "pack", "shop");
    assert_int_equal(json_integer_value(json_object_get(shop, "seen_count")), 1);
    json_t *sales = item(json_object_get(shop, "metrics"), "name", "till.sales");
    assert_int_equal(json_integer_value(json_object_get(sales, "newest_ms")), NOON_MS - 300000);
    assert_int_equal(json_array_size(json_object_get(shop, "strangers")), 0);
    json_decref(answer);
    answer = get(fx, "/api/apiary/v1/coverage?since=4m");
    shop = item(json_object_get(answer, "packs"), "pack", "shop");
    assert_int_equal(json_integer_value(json_object_get(shop, "seen_count")), 0);
    json_decref(answer);
    ask(fx, "GET", "/api/apiary/v1/coverage?since=soon", NULL);
    assert_int_equal(fx->status, 400);
    assert_non_null(strstr(fx->body, "since: \\\"soon\\\" is not a duration such as 24h"));
    pack_free(pack);
}

/* A pack that names no services: whoever reports a metric of the catalogue counts, and nobody is a stranger. */
static void test_coverage_without_services(void **state)
{
    struct fixture *fx = *state;
    struct pack *pack = give_pack(fx, "");
    append_at(fx, LABELS("target_info", "job", "b", "instance", "1", "service_version", "7"), -60, 0, 1);
    append_at(fx, LABELS("till_sales_total", "job", "a"), -60, 0, 1);
    append_at(fx, LABELS("till_open_seconds_count", "job", "b", "instance", "1"), -60, 0, 1);
    append_at(fx, LABELS("till_bell", "job", "a"), -60, 0, 1);
    json_t *answer = get(fx, "/api/apiary/v1/coverage");
    json_t *shop = item(json_object_get(answer, "packs"), "pack", "shop");
    assert_int_equal(json_integer_value(json_object_get(shop, "seen_count")), 2);
    VERSIONS(item(json_object_get(shop, "metrics"), "name", "till.open"), "7=1@0");
    VERSIONS(item(json_object_get(shop, "metrics"), "name", "till.sales"), "=1@0");
    assert_int_equal(json_array_size(json_object_get(shop, "strangers")), 0);
    json_decref(answer);
    pack_free(pack);
}

/* A native histogram is one series, under the name alone. */
static void test_coverage_of_native_histograms(void **state)
{
    struct fixture *fx = *state;
    struct pack *pack = give_pack(fx, "till");
    static const struct histogram_span span = {0, 1};
    static const uint64_t counts[] = {3};
    struct histogram histogram = {
        .count = 3, .sum = 2.5, .positive = {.spans = &span, .span_count = 1, .counts = counts, .count = 1}};
    AP_AUTO_BUF struct ap_buf blob = {0};
    AP_AUTO_BUF struct ap_buf labels = {0};
    histogram_encode(&histogram, &blob);
    struct batch batch = {0};
    add_series(fx, &batch, &labels, LABELS("till_open_seconds", "job", "till", "instance", "a"));
    batch_add_histogram(&batch, NOON_MS - 5000, ap_buf_slice(&blob));
    append_batch(fx, &batch);
    batch_clear(&batch);
    append_at(fx, LABELS("target_info", "job", "till", "instance", "a", "service_version", "1"), -60, -60, 1);
    append_at(fx, LABELS("target_info", "job", "till", "instance", "a", "service_version", "2"), -30, 0, 1);
    json_t *answer = get(fx, "/api/apiary/v1/coverage");
    json_t *shop = item(json_object_get(answer, "packs"), "pack", "shop");
    json_t *open = item(json_object_get(shop, "metrics"), "name", "till.open");
    assert_int_equal(json_integer_value(json_object_get(open, "series_count")), 1);
    assert_int_equal(json_integer_value(json_object_get(open, "newest_ms")), NOON_MS - 5000);
    VERSIONS(open, "2=1@-5");
    json_decref(answer);
    pack_free(pack);
}

/* However many there are of what nobody expected: the answer stays readable, and says that there is more. */
static void test_coverage_is_cut(void **state)
{
    struct fixture *fx = *state;
    struct pack *pack = give_pack(fx, "till");
    enum { COUNT = 1005 };
    struct batch batch = {0};
    AP_AUTO_BUF struct ap_buf all = {0};
    struct {
        size_t from, to;
    } places[2 * COUNT];
    for (int i = 0; i < 2 * COUNT; i++) {
        char name[32], version[32];
        snprintf(name, sizeof(name), i < COUNT ? "till_sales_total" : "stranger_%d", i);
        snprintf(version, sizeof(version), "%d", i % COUNT);
        places[i].from = all.bytes;
        encode_labels(&all, i < COUNT ? LABELS(name, "job", "till", "service_version", version)
                                      : LABELS(name, "job", "till", "service_version", "0"));
        places[i].to = all.bytes;
    }
    for (int i = 0; i < 2 * COUNT; i++) {
        struct ap_slice labels = ap_slice(all.data + places[i].from, places[i].to - places[i].from);
        batch_add_series(&batch, labels, labels_hash_of(tsdb_hash_seed(fx->tsdb), labels));
        batch_add_sample(&batch, NOON_MS, 1);
    }
    append_batch(fx, &batch);
    batch_clear(&batch);
    json_t *answer = get(fx, "/api/apiary/v1/coverage");
    json_t *shop = item(json_object_get(answer, "packs"), "pack", "shop");
    assert_true(json_is_true(json_object_get(shop, "is_cut")));
    assert_int_equal(json_array_size(json_object_get(shop, "strangers")), 1000);
    assert_int_equal(json_array_size(json_object_get(shop, "versions")), 1001); /* and the one without a name */
    json_t *sales = item(json_object_get(shop, "metrics"), "name", "till.sales");
    assert_int_equal(json_integer_value(json_object_get(sales, "series_count")), COUNT);
    json_decref(answer);
    pack_free(pack);
}

/* ---- The pack that is shipped ---- */

/* What its catalogue calls a metric in PromQL is what OTLP makes of it, and so is the unit. */
static void test_hive_has_the_names_that_otlp_gives(void **state)
{
    (void)state;
    const char *root = getenv("APIARY_SOURCE_ROOT");
    if (!root)
        skip();
    AP_AUTO_FREE char *dir = ap_asprintf("%s/packs/hive", root);
    AP_AUTO(pack) struct pack *pack = NULL;
    MUST(pack_load(dir, &pack, &must_err));
    const struct otlp_naming naming = {.strategy = OTLP_UNDERSCORES_WITH_SUFFIXES, .is_keeping_underscores = true};
    for (size_t a = 0; a < pack->area_count; a++) {
        for (size_t m = 0; m < pack->areas[a].metric_count; m++) {
            const struct catalogue_metric *metric = &pack->areas[a].metrics[m];
            bool is_ratio = metric->type == CATALOGUE_GAUGE && strcmp(metric->unit, "1") == 0;
            enum otlp_suffix suffix = metric->type == CATALOGUE_COUNTER ? OTLP_SUFFIX_TOTAL
                                      : is_ratio                        ? OTLP_SUFFIX_RATIO
                                                                        : OTLP_SUFFIX_NONE;
            AP_AUTO_BUF struct ap_buf series = {0};
            AP_AUTO_BUF struct ap_buf unit = {0};
            MUST(otlp_metric_name(&naming, ap_slice_cstr(metric->name), ap_slice_cstr(metric->unit), suffix, &series,
                                  &must_err));
            otlp_unit_name(ap_slice_cstr(metric->unit), &unit);
            if (!ap_slice_equal_cstr(ap_buf_slice(&series), metric->series))
                fail_msg("%s becomes %.*s, not %s", metric->name, AP_SLICE_ARG(ap_buf_slice(&series)), metric->series);
            if (!ap_slice_equal_cstr(ap_buf_slice(&unit), catalogue_unit_word(metric->unit)))
                fail_msg("%s becomes %.*s, not %s", metric->unit, AP_SLICE_ARG(ap_buf_slice(&unit)),
                         catalogue_unit_word(metric->unit));
        }
    }
}

static void test_units_have_the_words_that_otlp_gives(void **state)
{
    (void)state;
    static const char *const units[] = {"1",    "%",    "s",    "ms",  "us",  "ns",   "min", "h",   "d",      "By",
                                        "KiBy", "MiBy", "GiBy", "MBy", "GBy", "By/s", "Hz",  "{a}", "{a b}/s"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(units); i++) {
        AP_AUTO_BUF struct ap_buf word = {0};
        otlp_unit_name(ap_slice_cstr(units[i]), &word);
        if (!ap_slice_equal_cstr(ap_buf_slice(&word), catalogue_unit_word(units[i])))
            fail_msg("%s: %.*s", units[i], AP_SLICE_ARG(ap_buf_slice(&word)));
    }
}

/* ---- Panels of PromQL ---- */

static const char *text(json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void test_a_panel_takes_from_its_metric(void **state)
{
    struct fixture *fx = *state;
    struct pack *pack = give_pack(fx, "till");
    json_t *answer = get(fx, "/api/apiary/v1/dashboards/d");
    json_t *panels = json_object_get(json_array_get(json_object_get(answer, "sections"), 0), "panels");
    json_t *open = item(panels, "id", "open");
    assert_string_equal(text(open, "title"), "Open");
    assert_string_equal(text(open, "description"), "M");
    assert_string_equal(text(open, "unit"), "s");
    assert_string_equal(text(json_object_get(open, "target"), "text"), "< 50 ms");
    assert_string_equal(text(open, "better"), "lower");
    assert_string_equal(text(open, "query"), "histogram_quantile(0.9, rate(till_open_seconds_bucket[5m]))");
    assert_string_equal(text(open, "language"), "promql");
    assert_true(json_is_true(json_object_get(open, "uses_range")));
    json_t *own = item(panels, "id", "own");
    assert_string_equal(text(own, "title"), "Mine");
    assert_string_equal(text(own, "description"), "D");
    assert_string_equal(text(own, "unit"), "ms");
    assert_string_equal(text(json_object_get(own, "target"), "text"), "< 1 s");
    assert_string_equal(text(own, "better"), "higher");
    json_decref(answer);
    pack_free(pack);
}

#define PANEL(id, query) "/api/apiary/v1/dashboards/d/panels/" id "?" query
/* Five minutes up to a minute after noon, in which the clock stands. */
#define WINDOW "from=1795434960000&to=1795435260000"

static void check_member(struct fixture *fx, const char *path, const char *want, int line)
{
    ask(fx, "GET", path, NULL);
    if (fx->status != 200 || !strstr(fx->body, want))
        fail_msg("line %d: %u %s", line, fx->status, fx->body);
}
#define HAS(path, want) check_member(fx, path, want, __LINE__)

static void test_panels(void **state)
{
    struct fixture *fx = *state;
    struct pack *pack = give_pack(fx, "till");
    append_at(fx, LABELS("till_coins", "a", "x", "b", "1"), -590, -590, 4);
    append_at(fx, LABELS("till_coins", "a", "x", "b", "1"), -120, 0, 3);
    append_at(fx, LABELS("till_coins", "a", "y"), 0, 0, 5);

    HAS(PANEL("coins", WINDOW), "\"from\":1795434960000,\"to\":1795435260000,\"step\":60000,");
    HAS(PANEL("coins", WINDOW), ",\"value\":8,\"previous\":4,"); /* now, and five minutes ago */
    HAS(PANEL("coins", WINDOW), "\"trend\":[[1795434960000,null],[1795435020000,null],[1795435080000,3],"
                                "[1795435140000,3],[1795435200000,8]],\"columns\":[],\"rows\":[]}");
    HAS(PANEL("lines", WINDOW), "\"columns\":[{\"name\":\"time\",\"type\":\"timestamp\"},{\"name\":\"x, 1\","
                                "\"type\":\"number\"},{\"name\":\"y\",\"type\":\"number\"}],\"rows\":["
                                "[1795434960000,null,null],[1795435020000,null,null],[1795435080000,6,null],"
                                "[1795435140000,6,null],[1795435200000,6,10]]}");
    HAS(PANEL("rows", WINDOW), "\"rows\":[[\"y\",5],[\"x, 1\",3]]}");
    HAS(PANEL("sums", WINDOW), "\"rows\":[[\"Sums\",8]]}");
    HAS(PANEL("nothing", "range=1h"), "\"columns\":[{\"name\":\"time\",\"type\":\"timestamp\"}],\"rows\":[]}");
    HAS(PANEL("open", "range=1h"), "\"value\":null,\"previous\":null,\"trend\":[],");
    HAS(PANEL("lines", "from=1795435300000&to=1795435400000"), "\"columns\":[],\"rows\":[]}"); /* all in the future */
    ask(fx, "GET", PANEL("fails", WINDOW), NULL);
    assert_int_equal(fx->status, 500);
    assert_non_null(strstr(fx->body, "\"error\":\"panel fails: "));
    ask(fx, "GET", PANEL("coins", "range=soon"), NULL);
    assert_int_equal(fx->status, 400);
    pack_free(pack);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_catalogue),
        FIXTURE_TEST(test_coverage),
        FIXTURE_TEST(test_coverage_of_a_span),
        FIXTURE_TEST(test_coverage_without_services),
        FIXTURE_TEST(test_coverage_of_native_histograms),
        FIXTURE_TEST(test_coverage_is_cut),
        cmocka_unit_test(test_hive_has_the_names_that_otlp_gives),
        cmocka_unit_test(test_units_have_the_words_that_otlp_gives),
        FIXTURE_TEST(test_a_panel_takes_from_its_metric),
        FIXTURE_TEST(test_panels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
