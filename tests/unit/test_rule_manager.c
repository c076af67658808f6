#include "rules/manager.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "promql/memory_storage.h"
#include "tsdb/labels.h"

#define SECONDS_NOW INT64_C(1000000000)

/* A manager whose clock the test moves; what its rules give is text in `kept`. */
struct fixture {
    char dir[32];
    char *pattern;
    struct yaml_texts patterns;
    struct memory_storage *storage;
    struct ap_clock clock;
    int64_t now_ms;
    struct rule_manager_options options;
    struct rule_manager *manager;
    pthread_mutex_t mutex; /* kept, when there are threads */
    struct ap_buf kept;
    struct ap_buf told;
    double kept_s; /* the last time among it */
};

static int64_t read_clock(void *context)
{
    return __atomic_load_n(&((struct fixture *)context)->now_ms, __ATOMIC_RELAXED) * 1000;
}

static enum ap_rc keep(void *context, const struct rules_sample *samples, size_t count, struct ap_err *err)
{
    (void)err;
    struct fixture *fixture = context;
    pthread_mutex_lock(&fixture->mutex);
    for (size_t i = 0; i < count; i++) {
        labels_format(samples[i].labels, &fixture->kept);
        if (samples[i].value > SECONDS_NOW / 2) {
            ap_buf_add_cstr(&fixture->kept, " a time\n");
            fixture->kept_s = samples[i].value;
        } else if (samples[i].value == samples[i].value)
            ap_buf_printf(&fixture->kept, " %g\n", samples[i].value);
        else
            ap_buf_add_cstr(&fixture->kept, " stale\n");
    }
    pthread_mutex_unlock(&fixture->mutex);
    return AP_OK;
}

static void write_rules(struct fixture *fixture, const char *name, const char *text)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/%s", fixture->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    fclose(file);
}

static void start(struct fixture *fixture)
{
    *fixture = (struct fixture){
        .dir = "/tmp/apiary-manager-XXXXXX", .storage = memory_storage_new(), .now_ms = SECONDS_NOW * 1000};
    assert_non_null(mkdtemp(fixture->dir));
    fixture->pattern = ap_asprintf("%s/*.yml", fixture->dir);
    fixture->patterns = (struct yaml_texts){.items = (const char **)&fixture->pattern, .count = 1};
    fixture->clock = (struct ap_clock){read_clock, read_clock, fixture};
    pthread_mutex_init(&fixture->mutex, NULL);
    struct promql_engine_options engine;
    struct ap_err err;
    promql_engine_options_init(&engine);
    engine.threads_max = 1;
    fixture->options = (struct rule_manager_options){
        .world = {.storage = promql_storage_memory(fixture->storage),
                  .keep = keep,
                  .context = fixture,
                  .clock = &fixture->clock},
        .patterns = &fixture->patterns,
        .interval_ms = 60000,
    };
    assert_int_equal(promql_engine_open(&engine, &fixture->options.world.engine, &err), AP_OK);
}

static void open_manager(struct fixture *fixture)
{
    struct ap_err err;
    if (rule_manager_open(&fixture->options, &fixture->manager, &err) != AP_OK)
        fail_msg("%s", err.text);
}

static void end(struct fixture *fixture)
{
    rule_manager_close(fixture->manager);
    promql_engine_close(fixture->options.world.engine);
    memory_storage_free(fixture->storage);
    AP_AUTO_FREE char *command = ap_asprintf("rm -r %s", fixture->dir);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a directory of ours */
    free(fixture->pattern);
    ap_buf_clear(&fixture->kept);
    ap_buf_clear(&fixture->told);
    pthread_mutex_destroy(&fixture->mutex);
}

/* All that is due `ms` later; what it gave. */
static const char *advance(struct fixture *fixture, int64_t ms)
{
    ap_buf_reset(&fixture->kept);
    fixture->now_ms += ms;
    while (rule_manager_step(fixture->manager) == 0)
        ;
    ap_buf_add_char(&fixture->kept, '\0');
    return fixture->kept.data;
}

static struct rule_manager_stats stats_of(struct fixture *fixture)
{
    struct rule_manager_stats stats;
    rule_manager_stats_get(fixture->manager, &stats);
    return stats;
}

/* Groups that come from no file run beside those of the files, and through a reload. */
static void test_given_groups(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture);
    struct rule rule = {
        .name = "Given", .is_alert = true, .expr = ap_slice_cstr("vector(7) > 5"), .for_ms = 120000, .line = 3};
    struct rule_group group = {.name = "alerting_rules", .file = "pack/alerts/a.yaml", .rules = &rule, .rule_count = 1};
    const struct rule_group *groups[] = {&group};
    fixture.options.groups = groups;
    fixture.options.group_count = 1;
    write_rules(&fixture, "a.yml", "groups: [{name: read, rules: [{record: a, expr: '1'}]}]\n");
    open_manager(&fixture);
    assert_int_equal(stats_of(&fixture).group_count, 2);
    assert_non_null(strstr(advance(&fixture, 60000), "alertstate=\"pending\""));
    struct ap_err err;
    write_rules(&fixture, "a.yml", "groups: []\n");
    assert_int_equal(rule_manager_reload(fixture.manager, &err), AP_OK);
    assert_int_equal(stats_of(&fixture).group_count, 1);
    (void)advance(&fixture, 60000);
    assert_int_equal(stats_of(&fixture).pending_count, 1);
    assert_non_null(strstr(advance(&fixture, 60000), "alertstate=\"firing\""));
    assert_int_equal(rule_manager_lock(fixture.manager), 1);
    assert_ptr_equal(group_run_group(rule_manager_group(fixture.manager, 0).run), &group);
    rule_manager_unlock(fixture.manager);
    end(&fixture);
}

static void test_conditions_are_counted(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture);
    write_rules(&fixture, "a.yml",
                "groups:\n- name: a\n  rules:\n"
                "  - {alert: NoData, expr: nothing > 5, no_data: keep}\n  - {alert: Unasked, expr: nothing > 5}\n"
                "  - {alert: NoTables, sql: SELECT 1 AS value, threshold: '> 5'}\n  - {record: fine, expr: '1'}\n");
    open_manager(&fixture);
    assert_int_equal(stats_of(&fixture).no_data_count, 0);
    (void)advance(&fixture, 60000);
    struct rule_manager_stats stats = stats_of(&fixture);
    assert_int_equal(stats.no_data_count, 1);
    assert_int_equal(stats.error_count, 1);
    assert_int_equal(stats.failures, 1);
    end(&fixture);
}

static void test_due(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture);
    write_rules(&fixture, "b.yml", "groups: [{name: slow, rules: [{record: a, expr: '1'}]}]\n");
    write_rules(&fixture, "a.yml", "groups: [{name: fast, interval: 10s, rules: [{record: b, expr: 'time()'}]}]\n");
    open_manager(&fixture);
    assert_string_equal(advance(&fixture, 0), "");
    (void)advance(&fixture, 60000); /* of the fast one, the last of six */
    struct rule_manager_stats stats = stats_of(&fixture);
    assert_int_equal(stats.group_count, 2);
    assert_int_equal(stats.rule_count, 2);
    assert_int_equal(stats.evaluations, 2);
    assert_int_equal(stats.missed, 5);
    /* Each at moments of its own, a whole interval apart, in order of the files. */
    assert_int_equal(rule_manager_lock(fixture.manager), 2);
    struct rule_manager_group fast = rule_manager_group(fixture.manager, 0);
    struct rule_manager_group slow = rule_manager_group(fixture.manager, 1);
    rule_manager_unlock(fixture.manager);
    assert_string_equal(group_run_group(fast.run)->name, "fast");
    assert_int_equal(slow.interval_ms, 60000);
    int64_t fast_ms = group_run_evaluated_ms(fast.run), slow_ms = group_run_evaluated_ms(slow.run);
    assert_in_range(fixture.now_ms - fast_ms, 0, 9999);
    assert_in_range(fixture.now_ms - slow_ms, 0, 59999);
    (void)advance(&fixture, 60000);
    assert_int_equal(group_run_evaluated_ms(fast.run), fast_ms + 60000);
    assert_int_equal(group_run_evaluated_ms(slow.run), slow_ms + 60000);
    /* A clock that is set back does not stop them. */
    fixture.now_ms -= 3600000;
    (void)advance(&fixture, 0);
    (void)advance(&fixture, 60000);
    assert_int_equal(group_run_evaluated_ms(fast.run), fast_ms - 3600000 + 120000);
    assert_int_equal(group_run_evaluated_ms(slow.run), slow_ms - 3600000 + 120000);
    end(&fixture);
}

static void test_reload(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ap_err err;
    start(&fixture);
    write_rules(&fixture, "a.yml",
                "groups:\n- name: g\n  rules:\n  - {record: a, expr: '1'}\n"
                "  - {record: b, expr: '2'}\n  - {alert: A, expr: '3', for: 1h}\n");
    open_manager(&fixture);
    assert_string_equal(advance(&fixture, 60000), "a 1\nb 2\n"
                                                  "ALERTS{alertname=\"A\", alertstate=\"pending\"} 1\n"
                                                  "ALERTS_FOR_STATE{alertname=\"A\"} a time\n");
    double since_s = fixture.kept_s;
    /* What cannot be read changes nothing. */
    write_rules(&fixture, "a.yml", "groups:\n- name: g\n  rules:\n  - {record: a, expr: '1 +'}\n");
    assert_int_equal(rule_manager_reload(fixture.manager, &err), AP_E_PARSE);
    assert_non_null(strstr(err.text, "/a.yml:4:"));
    assert_int_equal(stats_of(&fixture).is_reload_good, 0);
    assert_int_equal(stats_of(&fixture).rule_count, 3);
    /* b is gone and ends at once; the alert is the one that it was; a is another, under the same name. */
    write_rules(&fixture, "a.yml",
                "groups:\n- name: g\n  rules:\n  - {alert: A, expr: '4', for: 1h}\n"
                "  - {record: c, expr: '5'}\n  - {record: a, expr: '6'}\n");
    ap_buf_reset(&fixture.kept);
    assert_int_equal(rule_manager_reload(fixture.manager, &err), AP_OK);
    ap_buf_add_char(&fixture.kept, '\0');
    assert_string_equal(fixture.kept.data, "b stale\n");
    assert_int_equal(stats_of(&fixture).pending_count, 1);
    assert_int_equal(stats_of(&fixture).is_reload_good, 1);
    assert_string_equal(advance(&fixture, 60000), "ALERTS{alertname=\"A\", alertstate=\"pending\"} 1\n"
                                                  "ALERTS_FOR_STATE{alertname=\"A\"} a time\nc 5\na 6\n");
    assert_float_equal(fixture.kept_s, since_s, 0);
    /* A file that is gone takes its groups with it. */
    write_rules(&fixture, "a.yml", "");
    ap_buf_reset(&fixture.kept);
    assert_int_equal(rule_manager_reload(fixture.manager, &err), AP_OK);
    ap_buf_add_char(&fixture.kept, '\0');
    assert_string_equal(fixture.kept.data, "ALERTS{alertname=\"A\", alertstate=\"pending\"} stale\n"
                                           "ALERTS_FOR_STATE{alertname=\"A\"} stale\nc stale\na stale\n");
    assert_int_equal(stats_of(&fixture).group_count, 0);
    end(&fixture);
}

/* "A firing; B over; " */
static bool tell(void *context, const struct rule *rule, const struct alert *const *alerts, size_t count,
                 int64_t ends_ms)
{
    struct fixture *fixture = context;
    (void)ends_ms;
    for (size_t i = 0; i < count; i++) {
        struct ap_slice who = labels_get(alerts[i]->labels, ap_slice_cstr("who"));
        ap_buf_printf(&fixture->told, "%s%.*s %s; ", rule->name, AP_SLICE_ARG(who),
                      alerts[i]->state == ALERT_STATE_FIRING ? "firing" : "over");
    }
    return true;
}

static const char *take_told(struct fixture *fixture)
{
    ap_buf_add_char(&fixture->told, '\0');
    ap_buf_reset(&fixture->told);
    return fixture->told.data;
}

/* Who was told that it fires is told that it is over when its rule is gone, and not when it only stands elsewhere. */
static void test_alerts_of_rules_that_are_gone(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ap_err err;
    start(&fixture);
    fixture.options.world.tell = tell;
    fixture.options.world.tell_context = &fixture;
    write_rules(&fixture, "a.yml",
                "groups:\n- name: g\n  rules:\n  - {alert: Gone, expr: '1'}\n  - {alert: Moved, expr: '2'}\n"
                "  - {alert: Late, expr: '3', for: 1h}\n  - {alert: Stays, expr: '4'}\n");
    open_manager(&fixture);
    (void)advance(&fixture, 60000);
    assert_string_equal(take_told(&fixture), "Gone firing; Moved firing; Stays firing; ");
    write_rules(&fixture, "a.yml",
                "groups:\n- name: g\n  rules:\n  - {alert: Stays, expr: '5'}\n"
                "- name: h\n  rules:\n  - {alert: Moved, expr: '2'}\n");
    assert_int_equal(rule_manager_reload(fixture.manager, &err), AP_OK);
    assert_string_equal(take_told(&fixture), "Gone over; ");
    (void)advance(&fixture, 60000);
    assert_string_equal(take_told(&fixture), "Moved firing; ");
    end(&fixture);
}

/* Rules of one name and the same labels: which was which is seen by their expressions. */
static void test_regroup(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture);
    fixture.options.world.tell = tell;
    fixture.options.world.tell_context = &fixture;
#define WHO(name) "label_replace(vector(1), \"who\", \"" name "\", \"\", \"\")"
    struct rule rules[] = {{.name = "Missing", .is_alert = true, .expr = ap_slice_cstr(WHO("a"))},
                           {.name = "Missing", .is_alert = true, .expr = ap_slice_cstr(WHO("b")), .for_ms = 60000}};
    struct rule others[] = {rules[1], {.name = "Missing", .is_alert = true, .expr = ap_slice_cstr(WHO("c"))}};
    struct rule_group before = {.name = "given", .file = "f", .rules = rules, .rule_count = 2};
    struct rule_group after = {.name = "given", .file = "f", .rules = others, .rule_count = 2};
    const struct rule_group *groups[] = {&before}, *groups_after[] = {&after};
    write_rules(&fixture, "a.yml", "groups: [{name: read, rules: [{record: a, expr: '1'}]}]\n");
    fixture.options.groups = groups;
    fixture.options.group_count = 1;
    open_manager(&fixture);
    (void)advance(&fixture, 60000);
    assert_string_equal(take_told(&fixture), "Missinga firing; ");
    rule_manager_regroup(fixture.manager, groups_after, 1);
    assert_int_equal(stats_of(&fixture).rule_count, 3);
    (void)advance(&fixture, 60000); /* b has been pending for its minute, and what was a's is over */
    assert_string_equal(take_told(&fixture), "Missingb firing; Missinga over; Missingc firing; ");
    rule_manager_regroup(fixture.manager, NULL, 0);
    assert_string_equal(take_told(&fixture), "Missingb over; Missingc over; ");
    (void)advance(&fixture, 60000);
    struct ap_err err;
    assert_int_equal(rule_manager_reload(fixture.manager, &err),
                     AP_OK); /* the files are still read from where they are */
    assert_int_equal(stats_of(&fixture).rule_count, 1);
    end(&fixture);
}

/* Threads evaluate while the rules are read again and again, and while others look. */
static void test_threads(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ap_err err;
    start(&fixture);
    AP_AUTO_BUF struct ap_buf text = {0};
    ap_buf_add_cstr(&text, "groups:\n");
    for (int i = 0; i < 20; i++)
        ap_buf_printf(&text, "- {name: g%d, interval: 1ms, rules: [{record: r%d, expr: '1'}]}\n", i, i);
    ap_buf_add_char(&text, '\0');
    write_rules(&fixture, "a.yml", text.data);
    fixture.options.thread_count = 4;
    open_manager(&fixture);
    assert_int_equal(rule_manager_start(fixture.manager, &err), AP_OK);
    uint64_t evaluations = 0;
    for (int i = 0; i < 50 || evaluations < 1000; i++) {
        __atomic_add_fetch(&fixture.now_ms, 1, __ATOMIC_RELAXED);
        assert_int_equal(rule_manager_reload(fixture.manager, &err), AP_OK);
        evaluations = stats_of(&fixture).evaluations;
    }
    rule_manager_stop(fixture.manager);
    assert_int_equal(stats_of(&fixture).failures, 0);
    assert_null(memmem(fixture.kept.data, fixture.kept.bytes, "stale", 5));
    end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions_are_counted),
        cmocka_unit_test(test_due),
        cmocka_unit_test(test_given_groups),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_alerts_of_rules_that_are_gone),
        cmocka_unit_test(test_regroup),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
