/* Pools over their life, with something that counts in place of the scraper. */
#include "scrape/manager.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- What stands for the scraper ---- */

struct fixture {
    char dir[64];
    char *path;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    char said[4096]; /* "pool: url url; pool: …", each sync behind the other */
    char trouble[AP_ERR_TEXT_BYTES];
    struct scrape_manager_options options;
    struct scrape_manager *manager;
};

static int compare_urls(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void fake_sync(void *context, const char *pool, const struct scrape_target *const *targets, size_t count)
{
    struct fixture *fx = context;
    const char *urls[32];
    assert_true(count <= AP_ARRAY_COUNT(urls));
    for (size_t i = 0; i < count; i++)
        urls[i] = targets[i]->url;
    if (count)
        qsort(urls, count, sizeof(*urls), compare_urls);
    pthread_mutex_lock(&fx->mutex);
    size_t at = strlen(fx->said);
    at += (size_t)snprintf(fx->said + at, sizeof(fx->said) - at, "%s%s:", at ? "; " : "", pool);
    for (size_t i = 0; i < count; i++)
        at += (size_t)snprintf(fx->said + at, sizeof(fx->said) - at, " %s", urls[i]);
    pthread_cond_broadcast(&fx->changed);
    pthread_mutex_unlock(&fx->mutex);
}

static void note_trouble(const struct ap_err *err, void *context)
{
    struct fixture *fx = context;
    pthread_mutex_lock(&fx->mutex);
    snprintf(fx->trouble, sizeof(fx->trouble), "%s", err->text);
    pthread_cond_broadcast(&fx->changed);
    pthread_mutex_unlock(&fx->mutex);
}

static enum ap_rc no_collect(void *context, const struct collector_request *request, struct ap_buf *out,
                             struct ap_err *err)
{
    (void)context;
    (void)request;
    (void)out;
    (void)err;
    return AP_OK;
}
static const struct collector host = {.name = "host", .collect = no_collect};
static const char *const boxes[] = {"box"};
static const struct scrape_builtin node = {.job = "node", .collector = "host", .instances = boxes, .instance_count = 1};

static void write_named(const struct fixture *fx, const char *name, const char *text)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/%s", fx->dir, name), *fresh = ap_asprintf("%s.new", path);
    FILE *file = fopen(fresh, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(rename(fresh, path), 0);
}

static void write_config(const struct fixture *fx, const char *text)
{
    write_named(fx, "s.yml", text);
}

static int set_up(void **state)
{
    struct fixture *fx = ap_new0(struct fixture);
    strcpy(fx->dir, "/tmp/apiary-manager-XXXXXX");
    assert_non_null(mkdtemp(fx->dir));
    fx->path = ap_asprintf("%s/s.yml", fx->dir);
    pthread_mutex_init(&fx->mutex, NULL);
    pthread_cond_init(&fx->changed, NULL);
    fx->options = (struct scrape_manager_options){
        .path = fx->path,
        .builtin_interval_ms = 15000,
        .collectors = &host,
        .collector_count = 1,
        .clock = &ap_clock_system,
        .sync = fake_sync,
        .sync_context = fx,
        .trouble = note_trouble,
        .context = fx,
    };
    *state = fx;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fx = *state;
    static const char *const names[] = {"s.yml", "a.json", "b.json"};
    scrape_manager_close(fx->manager);
    for (size_t i = 0; i < AP_ARRAY_COUNT(names); i++) {
        AP_AUTO_FREE char *path = ap_asprintf("%s/%s", fx->dir, names[i]);
        unlink(path);
    }
    rmdir(fx->dir);
    pthread_mutex_destroy(&fx->mutex);
    pthread_cond_destroy(&fx->changed);
    free(fx->path);
    free(fx);
    return 0;
}

static void start(struct fixture *fx)
{
    struct ap_err err;
    if (scrape_manager_open(&fx->options, &fx->manager, &err) != AP_OK ||
        scrape_manager_start(fx->manager, &err) != AP_OK)
        fail_msg("%s", err.text);
}

static void reload(struct fixture *fx)
{
    struct ap_err err;
    if (scrape_manager_reload(fx->manager, &err) != AP_OK)
        fail_msg("%s", err.text);
}

/* What was said since the last time must be this. */
static void check_said(struct fixture *fx, const char *want, int line)
{
    pthread_mutex_lock(&fx->mutex);
    char got[sizeof(fx->said)];
    strcpy(got, fx->said);
    fx->said[0] = '\0';
    pthread_mutex_unlock(&fx->mutex);
    if (strcmp(got, want) != 0)
        fail_msg("line %d: %s", line, got);
}
#define SAID(fx, want) check_said(fx, want, __LINE__)

/* ---- Pools ---- */

static void test_start(void **state)
{
    struct fixture *fx = *state;
    fx->options.builtins = &node;
    fx->options.builtin_count = 1;
    write_config(fx, "rule_files: [r.yml]\nscrape_configs:\n"
                     "- {job_name: z, static_configs: [{targets: ['b:1', 'a:1']}]}\n"
                     "- {job_name: a, static_configs: [{targets: ['c:1']}]}\n");
    struct ap_err err;
    assert_int_equal(scrape_manager_open(&fx->options, &fx->manager, &err), AP_OK);
    SAID(fx, "");
    assert_int_equal(scrape_manager_start(fx->manager, &err), AP_OK);
    SAID(fx, "a: http://c:1/metrics; node: host:box; z: http://a:1/metrics http://b:1/metrics");
    AP_AUTO_FREE char *ignored = scrape_manager_ignored(fx->manager);
    assert_string_equal(ignored, "rule_files");
    struct scrape_manager_stats stats;
    scrape_manager_stats_get(fx->manager, &stats);
    assert_int_equal(stats.pool_count, 3);
    assert_int_equal(stats.target_count, 4);
    assert_int_equal(stats.is_reload_good, 1);
}

static void test_builtin_gives_way(void **state)
{
    struct fixture *fx = *state;
    fx->options.builtins = &node;
    fx->options.builtin_count = 1;
    write_config(fx, "scrape_configs: [{job_name: node, static_configs: [{targets: ['own:9100']}]}]\n");
    start(fx);
    SAID(fx, "node: http://own:9100/metrics");
}

static void test_builtin_gives_way_to_its_collector(void **state)
{
    struct fixture *fx = *state;
    fx->options.builtins = &node;
    fx->options.builtin_count = 1;
    write_config(fx, "scrape_configs: [{job_name: own, collector: host, static_configs: [{targets: [a, b]}]}]\n");
    start(fx);
    SAID(fx, "own: host:a host:b");
}

static void test_builtin_of_several(void **state)
{
    struct fixture *fx = *state;
    static const char *const names[] = {"main \"1\"", "other"};
    static const struct scrape_builtin several = {"dbs", "host", names, AP_ARRAY_COUNT(names)};
    fx->options.builtins = &several;
    fx->options.builtin_count = 1;
    write_config(fx, "scrape_configs: []\n");
    start(fx);
    SAID(fx, "dbs: host:main \"1\" host:other");
}

static void test_no_file(void **state)
{
    struct fixture *fx = *state;
    struct ap_err err;
    assert_int_equal(scrape_manager_open(&fx->options, &fx->manager, &err), AP_E_NOT_FOUND);
    fx->manager = NULL;
    fx->options.path = NULL;
    start(fx);
    SAID(fx, "");
}

/* ---- Reload ---- */

static void test_reload(void **state)
{
    struct fixture *fx = *state;
    write_config(fx, "scrape_configs:\n"
                     "- {job_name: a, static_configs: [{targets: ['a:1']}]}\n"
                     "- {job_name: b, static_configs: [{targets: ['b:1']}]}\n"
                     "- {job_name: c, static_configs: [{targets: ['c:1']}]}\n");
    start(fx);
    SAID(fx, "a: http://a:1/metrics; b: http://b:1/metrics; c: http://c:1/metrics");
    reload(fx);
    SAID(fx, ""); /* nothing has changed */
    write_config(fx, "scrape_configs:\n"
                     "# the same jobs elsewhere in the file are the same jobs\n"
                     "- {job_name: c, static_configs: [{targets: ['c:1']}]}\n"
                     "- {job_name: b, static_configs: [{targets: ['b:2']}]}\n"
                     "- {job_name: d, static_configs: [{targets: ['d:1']}]}\n");
    reload(fx);
    SAID(fx, "a:; b: http://b:2/metrics; d: http://d:1/metrics");
    write_config(fx, "global: {scrape_interval: 5s}\nscrape_configs:\n"
                     "- {job_name: c, static_configs: [{targets: ['c:1']}]}\n");
    reload(fx);
    SAID(fx, "b:; c: http://c:1/metrics; d:"); /* what was left out of it has changed */
}

static void test_wrong_reload(void **state)
{
    struct fixture *fx = *state;
    write_config(fx, "scrape_configs: [{job_name: a, static_configs: [{targets: ['a:1']}]}]\n");
    start(fx);
    SAID(fx, "a: http://a:1/metrics");
    write_config(fx, "scrape_configs:\n- job_name: a\n  scrape_intervall: 5s\n");
    struct ap_err err;
    assert_int_equal(scrape_manager_reload(fx->manager, &err), AP_E_PARSE);
    AP_AUTO_FREE char *want =
        ap_asprintf("%s:3:3: unknown key \"scrape_intervall\"; did you mean \"scrape_interval\"?", fx->path);
    assert_string_equal(err.text, want);
    SAID(fx, "");
    struct scrape_manager_stats stats;
    scrape_manager_stats_get(fx->manager, &stats);
    assert_int_equal(stats.is_reload_good, 0);
    assert_int_equal(stats.target_count, 1);
}

/* ---- Discoveries ---- */

/* Until the last that was said is this; what was said before it does not count. */
static void wait_until_said(struct fixture *fx, const char *want)
{
    size_t bytes = strlen(want);
    pthread_mutex_lock(&fx->mutex);
    for (;;) {
        size_t said = strlen(fx->said);
        if (said >= bytes && strcmp(fx->said + said - bytes, want) == 0)
            break;
        pthread_cond_wait(&fx->changed, &fx->mutex);
    }
    fx->said[0] = '\0';
    pthread_mutex_unlock(&fx->mutex);
}

static void wait_for_trouble(struct fixture *fx, const char *want)
{
    pthread_mutex_lock(&fx->mutex);
    while (!strstr(fx->trouble, want))
        pthread_cond_wait(&fx->changed, &fx->mutex);
    pthread_mutex_unlock(&fx->mutex);
}

static void test_discovery(void **state)
{
    struct fixture *fx = *state;
    write_config(fx, "scrape_configs: [{job_name: a, static_configs: [{targets: ['s:1']}], file_sd_configs: [{files: "
                     "['[ab].json']}]}]\n");
    write_named(fx, "a.json", "[{\"targets\":[\"a:1\"]}]");
    start(fx);
    wait_until_said(fx, "a: http://a:1/metrics http://s:1/metrics");
    write_named(fx, "b.json",
                "[{\"targets\":[\"b:1\", \"a:1\"]}]"); /* seen at once, though the interval is five minutes */
    wait_until_said(fx, "a: http://a:1/metrics http://b:1/metrics http://s:1/metrics");
    write_named(fx, "a.json", "[");
    wait_for_trouble(fx, "a.json: line 1, column 2: ");

    /* A job that is another by now keeps what is found in the same way: nothing is gone in between. */
    write_config(fx, "scrape_configs: [{job_name: a, metrics_path: /m, static_configs: [{targets: ['s:1']}], "
                     "file_sd_configs: [{files: ['[ab].json']}]}]\n");
    SAID(fx, "");
    reload(fx);
    SAID(fx, "a: http://a:1/m http://b:1/m http://s:1/m");
    write_named(fx, "b.json", "[]");
    wait_until_said(fx, "a: http://a:1/m http://s:1/m");
    scrape_manager_stop(fx->manager);
    write_named(fx, "b.json", "[{\"targets\":[\"c:1\"]}]");
    struct scrape_manager_stats stats;
    scrape_manager_stats_get(fx->manager, &stats);
    assert_int_equal(stats.discovery_count, 2);
    assert_true(stats.refreshes >= 3 && stats.refresh_failures >= 1);
    SAID(fx, "");
}

/* Jobs come and go while files change: for the sanitizers. */
/* Found in the same ways, told to somebody else, and nobody's jobs. */
static void test_alertmanagers(void **state)
{
    struct fixture *fx = *state;
    fx->options.sync_alertmanagers = fake_sync;
    write_named(fx, "a.json", "[{\"targets\":[\"m:9093\", \"n:9093\"]}]");
    write_config(fx,
                 "scrape_configs: [{job_name: zz, static_configs: [{targets: ['a:1']}]}]\n"
                 "alerting:\n  alertmanagers:\n"
                 "  - {scheme: https, path_prefix: am//x/, timeout: 3s, static_configs: [{targets: ['s:1', 't:1']}],\n"
                 "     relabel_configs: [{source_labels: [__address__], regex: 't.*', action: drop}]}\n"
                 "  - {file_sd_configs: [{files: [a.json]}]}\n");
    start(fx);
    wait_until_said(fx, "zz: http://a:1/metrics; alerting.alertmanagers[0]: https://s:1/am/x/api/v2/alerts; "
                        "alerting.alertmanagers[1]:; "
                        "alerting.alertmanagers[1]: http://m:9093/api/v2/alerts http://n:9093/api/v2/alerts");
    assert_int_equal(scrape_manager_alertmanager_count(fx->manager), 2);
    struct scrape_manager_stats stats;
    scrape_manager_stats_get(fx->manager, &stats);
    assert_int_equal(stats.pool_count, 1);
    assert_int_equal(stats.target_count, 1);
    reload(fx);
    SAID(fx, "");
    write_config(fx, "scrape_configs: [{job_name: zz, static_configs: [{targets: ['a:1']}]}]\n"
                     "alerting: {alertmanagers: [{file_sd_configs: [{files: [a.json]}], path_prefix: /am}]}\n");
    reload(fx);
    wait_until_said(fx, "alerting.alertmanagers[0]:; alerting.alertmanagers[1]:; "
                        "alerting.alertmanagers[0]: http://m:9093/am/api/v2/alerts http://n:9093/am/api/v2/alerts");
}

static void test_alertmanagers_that_nobody_asks_for(void **state)
{
    struct fixture *fx = *state;
    write_config(fx, "alerting: {alertmanagers: [{static_configs: [{targets: ['a:1']}]}]}\n");
    start(fx);
    SAID(fx, "");
    assert_int_equal(scrape_manager_alertmanager_count(fx->manager), 1);
}

static void test_reload_under_load(void **state)
{
    struct fixture *fx = *state;
    write_config(fx, "scrape_configs: [{job_name: a, file_sd_configs: [{files: [a.json]}, {files: [b.json]}]}]\n");
    write_named(fx, "a.json", "[{\"targets\":[\"a:1\"]}]");
    start(fx);
    for (int i = 0; i < 20; i++) {
        AP_AUTO_FREE char *config =
            ap_asprintf("scrape_configs: [{job_name: a, metrics_path: /%d, file_sd_configs: [{files: [a.json]}%s]}]\n",
                        i, i % 3 ? ", {files: [b.json]}" : "");
        AP_AUTO_FREE char *groups = ap_asprintf("[{\"targets\":[\"a:%d\"]}]", i);
        write_named(fx, "a.json", groups);
        write_config(fx, config);
        reload(fx);
        pthread_mutex_lock(&fx->mutex);
        fx->said[0] = '\0';
        pthread_mutex_unlock(&fx->mutex);
    }
    write_named(fx, "a.json", "[{\"targets\":[\"end:1\"]}]");
    wait_until_said(fx, "a: http://end:1/19");
}

/* ---- Reading ---- */

static void check_pool(const struct scrape_pool_view *view, void *context)
{
    size_t *seen = context;
    (*seen)++;
    assert_string_equal(view->name, "a");
    assert_int_equal(view->target_count, 2);
    assert_int_equal(view->dropped_count, 1);
    assert_int_equal(view->failure_count, 1);
    assert_string_equal(view->failure_reason, "no address");
    assert_true(view->is_over_limit);
    assert_int_equal(relabel_rules_count(view->relabel), 1);
}

static void test_views(void **state)
{
    struct fixture *fx = *state;
    write_config(fx, "scrape_configs: [{job_name: a, target_limit: 1, static_configs: [{targets: [a, b, c, '']}], "
                     "relabel_configs: [{source_labels: [__address__], regex: c, action: drop}]}]\n");
    start(fx);
    size_t seen = 0;
    scrape_manager_each_pool(fx->manager, check_pool, &seen);
    assert_true(scrape_manager_pool(fx->manager, ap_slice_cstr("a"), check_pool, &seen));
    assert_false(scrape_manager_pool(fx->manager, ap_slice_cstr("b"), check_pool, &seen));
    assert_int_equal(seen, 2);
    assert_string_equal(fx->trouble, "job a: 1 targets cannot be asked; the first: no address: {__metrics_path__="
                                     "\"/metrics\", __scheme__=\"http\", __scrape_interval__=\"1m\", "
                                     "__scrape_timeout__=\"10s\", job=\"a\"}");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_start),
        CASE(test_builtin_gives_way),
        CASE(test_builtin_gives_way_to_its_collector),
        CASE(test_builtin_of_several),
        CASE(test_no_file),
        CASE(test_reload),
        CASE(test_wrong_reload),
        CASE(test_views),
        CASE(test_discovery),
        CASE(test_alertmanagers),
        CASE(test_alertmanagers_that_nobody_asks_for),
        CASE(test_reload_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
