/* Alerts of rules on their way to whoever tells people: when, how often, with which labels and times. */
#include "alert/from_rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "promql/memory_storage.h"
#include "promql/series_text.h"
#include "rules/group.h"
#include "scrape/scrape_file.h"
#include "tsdb/labels.h"

struct fixture {
    struct rule_file *file;
    struct memory_storage *storage;
    struct rules_world world;
    struct group_run *run;
    struct ap_buf external; /* labels */
    struct alerts_from_rules from_rules;
    struct ap_buf told;
    bool is_refusing;
};

static enum ap_rc keep(void *context, const struct rules_sample *samples, size_t count, struct ap_err *err)
{
    (void)context;
    (void)samples;
    (void)count;
    (void)err;
    return AP_OK;
}

static bool take(void *context, const struct alert_in *alerts, size_t count)
{
    struct fixture *fx = context;
    for (size_t i = 0; i < count && !fx->is_refusing; i++) {
        labels_format_set(alerts[i].labels, &fx->told);
        ap_buf_printf(&fx->told, " %lld-%lld\n", (long long)alerts[i].starts_ms / 1000,
                      (long long)alerts[i].ends_ms / 1000);
    }
    return !fx->is_refusing;
}

static void put(struct fixture *fx, int64_t ts_s, double value)
{
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct ap_err err;
    assert_int_equal(series_text_labels(ap_slice_cstr("up{job=\"a\"}"), &labels, &err), AP_OK);
    memory_storage_add(fx->storage, ap_buf_slice(&labels), ts_s * 1000, value, NULL);
}

static int set_up(void **state)
{
    static struct fixture fx;
    static const char rules[] = "groups:\n- name: g\n  interval: 30s\n  rules:\n"
                                "  - {alert: Down, expr: up==0, for: 1m, labels: {site: own}}\n";
    char path[] = "/tmp/apiary-rules-XXXXXX";
    int fd = mkstemp(path);
    struct ap_err err;
    struct label labels[] = {{ap_slice_cstr("site"), ap_slice_cstr("here")},
                             {ap_slice_cstr("zone"), ap_slice_cstr("z")}};
    struct promql_engine_options options;
    promql_engine_options_init(&options);
    options.threads_max = 1;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, rules, strlen(rules)), (ssize_t)strlen(rules));
    close(fd);
    fx = (struct fixture){.storage = memory_storage_new()};
    assert_int_equal(labels_encode(labels, 2, &fx.external, &err), AP_OK);
    fx.from_rules = (struct alerts_from_rules){.external_labels = ap_buf_slice(&fx.external),
                                               .external_url = ap_slice_cstr("http://a.example/"),
                                               .relabel_lock = PTHREAD_RWLOCK_INITIALIZER,
                                               .take = take,
                                               .context = &fx};
    fx.world = (struct rules_world){.storage = promql_storage_memory(fx.storage),
                                    .keep = keep,
                                    .tell = alerts_from_rules,
                                    .tell_context = &fx.from_rules,
                                    .clock = &ap_clock_system};
    assert_int_equal(rule_file_load(path, false, NULL, NULL, &fx.file, &err), AP_OK);
    assert_int_equal(promql_engine_open(&options, &fx.world.engine, &err), AP_OK);
    fx.run = group_run_new(&fx.file->groups[0], &fx.world);
    unlink(path);
    *state = &fx;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fx = *state;
    group_run_free(fx->run);
    alerts_from_rules_relabel(&fx->from_rules, NULL);
    promql_engine_close(fx->world.engine);
    memory_storage_free(fx->storage);
    rule_file_free(fx->file);
    ap_buf_clear(&fx->external);
    ap_buf_clear(&fx->told);
    return 0;
}

/* What is told when the group is evaluated. */
static const char *evaluate(struct fixture *fx, int64_t ts_s, double value)
{
    put(fx, ts_s, value);
    ap_buf_reset(&fx->told);
    group_run_evaluate(fx->run, ts_s * 1000);
    ap_buf_add_char(&fx->told, '\0');
    return fx->told.data;
}

#define ALERT "{alertname=\"Down\", job=\"a\", site=\"own\", zone=\"z\"}"

static void test_when(void **state)
{
    struct fixture *fx = *state;
    assert_string_equal(evaluate(fx, 1000, 0), ""); /* pending */
    assert_string_equal(evaluate(fx, 1030, 0), "");
    assert_string_equal(evaluate(fx, 1060, 0), ALERT " 1060-1300\n"); /* four times the resend delay */
    assert_string_equal(evaluate(fx, 1090, 0), "");
    assert_string_equal(evaluate(fx, 1120, 0), ""); /* more than a minute later, not after one */
    assert_string_equal(evaluate(fx, 1150, 0), ALERT " 1060-1390\n");
    assert_string_equal(evaluate(fx, 1180, 1), ALERT " 1060-1180\n"); /* resolved: at once */
    assert_string_equal(evaluate(fx, 1210, 1), "");
    assert_string_equal(evaluate(fx, 1270, 1), ALERT " 1060-1180\n"); /* and again, for a quarter of an hour */
    assert_string_equal(evaluate(fx, 1180 + 900, 1), ALERT " 1060-1180\n");
    assert_string_equal(evaluate(fx, 1180 + 990, 1), "");
    assert_string_equal(evaluate(fx, 3000, 0), ""); /* it begins anew */
    assert_string_equal(evaluate(fx, 3060, 0), ALERT " 3060-3300\n");
}

static void test_refused(void **state)
{
    struct fixture *fx = *state;
    (void)evaluate(fx, 1000, 0);
    fx->is_refusing = true;
    assert_string_equal(evaluate(fx, 1060, 0), "");
    fx->is_refusing = false;
    assert_string_equal(evaluate(fx, 1090, 0), ALERT " 1060-1330\n"); /* what was not taken comes again */
    fx->is_refusing = true;
    assert_string_equal(evaluate(fx, 1100, 1), "");
    fx->is_refusing = false;
    assert_string_equal(evaluate(fx, 1110, 1), ALERT " 1060-1100\n");
}

static void relabel(struct fixture *fx, const char *alerting)
{
    AP_AUTO_FREE char *text = ap_asprintf("alerting: {alertmanagers: [], alert_relabel_configs: [%s]}\n", alerting);
    struct scrape_file file;
    struct ap_err err;
    if (scrape_file_parse(ap_slice_cstr(text), "prometheus.yml", NULL, &file, &err) != AP_OK)
        fail_msg("%s", err.text);
    alerts_from_rules_relabel(&fx->from_rules, file.alert_relabel);
    file.alert_relabel = NULL;
    scrape_file_clear(&file);
}

static void test_relabelled(void **state)
{
    struct fixture *fx = *state;
    relabel(fx, "{action: labeldrop, regex: zone}, {source_labels: [job], target_label: team, replacement: of-$1}");
    (void)evaluate(fx, 1000, 0);
    assert_string_equal(evaluate(fx, 1060, 0),
                        "{alertname=\"Down\", job=\"a\", site=\"own\", team=\"of-a\"} 1060-1300\n");
    relabel(fx, "{source_labels: [site, zone], regex: own;z, action: drop}"); /* labels of this server are there */
    assert_string_equal(evaluate(fx, 1150, 0), "");
    relabel(fx, "{action: labeldrop, regex: .*}"); /* nothing is left to tell of */
    assert_string_equal(evaluate(fx, 1240, 0), "");
    relabel(fx, "");
    assert_string_equal(evaluate(fx, 1330, 0), ALERT " 1060-1570\n");
}

static void test_url(void **state)
{
    (void)state;
    AP_AUTO_BUF struct ap_buf url = {0};
    const struct rule promql = {.expr = ap_slice_cstr("sum(rate(x{a=~\"b+\"}[5m]))>1e3")};
    alert_generator_url(ap_slice_cstr("http://a.example/x/"), &promql, &url);
    ap_buf_add_char(&url, '\0');
    assert_string_equal(url.data, "http://a.example/x/graph?g0.expr=sum%28rate%28x%7Ba%3D~%22b%2B%22%7D%5B5m%5D%29%29"
                                  "+%3E+1000&g0.tab=1");
    ap_buf_reset(&url);
    const struct rule sql = {.name = "Few sign-ups", .language = RULE_LANGUAGE_SQL, .expr = ap_slice_cstr("SELECT 1")};
    alert_generator_url(ap_slice_cstr("http://a.example/x/"), &sql, &url);
    ap_buf_add_char(&url, '\0');
    assert_string_equal(url.data, "http://a.example/x/rules?q=Few+sign-ups");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_when, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_relabelled, set_up, tear_down),
        cmocka_unit_test(test_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
