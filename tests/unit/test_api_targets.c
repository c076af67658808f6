/* What is scraped, as the API tells it: a manager and a scraper whose targets are due an hour apart. */
#include "test_api_fixture.h"

#include "scrape/manager.h"
#include "scrape/scraper.h"

static void sync_targets(void *context, const char *pool, const struct scrape_target *const *targets, size_t count)
{
    scraper_sync(context, pool, targets, count);
}

static void write_config(const struct fixture *fx, const char *text)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/s.yml", fx->dir);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static const char config[] = "global: {scrape_interval: 1d}\n"
                             "scrape_configs:\n"
                             "- job_name: a\n"
                             "  params: {m: [x y]}\n"
                             "  static_configs: [{targets: ['127.0.0.1:1', 'gone:1'], labels: {env: prod}}]\n"
                             "  relabel_configs:\n"
                             "  - {source_labels: [__address__], regex: 'gone.*', action: drop}\n"
                             "  - {source_labels: [env], target_label: stage}\n"
                             "- job_name: b\n";

static int setup_targets(void **state)
{
    assert_int_equal(setup(state), 0);
    struct fixture *fx = *state;
    write_config(fx, config);
    const struct scraper_options scraper_options = {.tsdb = fx->tsdb, .append = tsdb_append, .clock = &ap_clock_system};
    MUST(scraper_open(&scraper_options, &fx->api.scraper, &must_err));
    static char path[128]; /* lent to the manager */
    snprintf(path, sizeof(path), "%s/s.yml", fx->dir);
    const struct scrape_manager_options options = {
        .path = path, .clock = &ap_clock_system, .sync = sync_targets, .sync_context = fx->api.scraper};
    MUST(scrape_manager_open(&options, &fx->api.scrape, &must_err));
    scrape_manager_sync(fx->api.scrape);
    fx->api.external_url = "https://apiary.example/mon";
    return 0;
}

static int teardown_targets(void **state)
{
    struct fixture *fx = *state;
    scrape_manager_close(fx->api.scrape);
    scraper_close(fx->api.scraper);
    return teardown(state);
}

#define BEFORE(address)                                                                                                \
    "{\"__address__\":\"" address "\",\"__metrics_path__\":\"/metrics\",\"__param_m\":\"x y\",\"__scheme__\":"         \
    "\"http\",\"__scrape_interval__\":\"1d\",\"__scrape_timeout__\":\"10s\",\"env\":\"prod\",\"job\":\"a\"}"
#define ACTIVE                                                                                                         \
    "{\"discoveredLabels\":" BEFORE(                                                                                   \
        "127.0.0.1:1") ",\"labels\":{\"env\":\"prod\",\"instance\":\"127.0.0.1:1\","                                   \
                       "\"job\":\"a\",\"stage\":\"prod\"},\"scrapePool\":\"a\",\"scrapeUrl\":\"http://127.0.0.1:1/"    \
                       "metrics?m=x+y\","                                                                              \
                       "\"globalUrl\":\"http://apiary.example:1/metrics?m=x+y\",\"lastError\":\"\",\"lastScrape\":"    \
                       "\"0001-01-01T00:00:00Z\",\"lastScrapeDuration\":0,\"health\":\"unknown\",\"scrapeInterval\":"  \
                       "\"1d\","                                                                                       \
                       "\"scrapeTimeout\":\"10s\"}"
#define DROPPED "{\"discoveredLabels\":" BEFORE("gone:1") ",\"scrapePool\":\"a\"}"
#define TARGETS(active, dropped, counts)                                                                               \
    DATA("{\"activeTargets\":[" active "],\"droppedTargets\":[" dropped "],\"droppedTargetCounts\":{" counts "}}")
#define COUNTS "\"a\":1,\"b\":0"

static void test_targets(void **state)
{
    struct fixture *fx = *state;
    GET("/api/v1/targets", TARGETS(ACTIVE, DROPPED, COUNTS));
    GET("/api/v1/targets?state=any", TARGETS(ACTIVE, DROPPED, COUNTS));
    GET("/api/v1/targets?state=active", TARGETS(ACTIVE, "", ""));
    GET("/api/v1/targets?state=Dropped", TARGETS("", DROPPED, COUNTS));
    GET("/api/v1/targets?state=other", TARGETS("", "", ""));
    GET("/api/v1/targets?scrapePool=b", TARGETS("", "", COUNTS));
    GET("/api/v1/scrape_pools", DATA("{\"scrapePools\":[\"a\",\"b\"]}"));
    GET("/api/v1/targets/metadata?match_target=%7Bjob=%22a%22%7D", DATA("[]"));
}

#define RULE_1                                                                                                         \
    "{\"rule\":{\"sourceLabels\":[\"__address__\"],\"separator\":\";\",\"regex\":\"gone.*\",\"replacement\":\"$1\","   \
    "\"action\":\"drop\"},\"output\":"
#define RULE_2                                                                                                         \
    "{\"rule\":{\"sourceLabels\":[\"env\"],\"separator\":\";\",\"regex\":\"(.*)\",\"targetLabel\":\"stage\","          \
    "\"replacement\":\"$1\",\"action\":\"replace\"},\"output\":"

static void test_relabel_steps(void **state)
{
    struct fixture *fx = *state;
    GET("/api/v1/targets/relabel_steps?scrapePool=a&labels={%22env%22:%22x%22}",
        DATA("{\"steps\":[" RULE_1 "{\"env\":\"x\"},\"keep\":true}," RULE_2
             "{\"env\":\"x\",\"stage\":\"x\"},\"keep\":true}]}"));
    GET("/api/v1/targets/relabel_steps?scrapePool=a&labels={%22__address__%22:%22gone%22}",
        DATA("{\"steps\":[" RULE_1 "{},\"keep\":false}," RULE_2 "{},\"keep\":false}]}"));
    GET("/api/v1/targets/relabel_steps?scrapePool=b&labels={}", DATA("{\"steps\":[]}"));
    REFUSED("/api/v1/targets/relabel_steps?scrapePool=a&labels=[]", NULL, 400,
            BAD("error parsing labels: expected object, got array"));
}

static void test_wrong_reload(void **state)
{
    struct fixture *fx = *state;
    struct scrape_manager_stats stats;
    struct ap_err err;
    write_config(fx, "scrape_configs: 1\n");
    assert_int_equal(scrape_manager_reload(fx->api.scrape, &err), AP_E_PARSE);
    scrape_manager_stats_get(fx->api.scrape, &stats);
    assert_int_equal(stats.is_reload_good, 0);
    GET("/api/v1/targets", TARGETS(ACTIVE, DROPPED, COUNTS));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup_targets, teardown_targets)

int main(void)
{
    const struct CMUnitTest tests[] = {CASE(test_targets), CASE(test_relabel_steps), CASE(test_wrong_reload)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
