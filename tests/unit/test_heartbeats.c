#include "alert/heartbeats.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "rules/group.h"
#include "rules/rule_file.h"
#include "tsdb/labels.h"

#define MUST(call)                                                                                                     \
    do {                                                                                                               \
        struct ap_err must_err = {0};                                                                                  \
        (void)must_err;                                                                                                \
        if ((call) != AP_OK)                                                                                           \
            fail_msg("%s: %s", #call, must_err.text);                                                                  \
    } while (0)

/* ---- The settings ---- */

static enum ap_rc read_list(const char *text, struct yaml_document **ret_document, struct heartbeat_list *ret_list,
                            struct ap_err *err)
{
    MUST(yaml_parse(ap_slice_cstr(text), "s.yaml", ret_document, &must_err));
    return heartbeat_list_read(yaml_get(yaml_root(*ret_document), "heartbeats"), ret_list, err);
}

static void check_bad(const char *item, const char *want, int line)
{
    AP_AUTO(yaml) struct yaml_document *document = NULL;
    AP_AUTO_FREE char *text = ap_asprintf("heartbeats:\n%s\n", item);
    struct heartbeat_list list;
    struct ap_err err = {0};
    if (read_list(text, &document, &list, &err) != AP_E_PARSE || strcmp(err.text, want) != 0)
        fail_msg("line %d: \"%s\"", line, err.text);
}
#define BAD(item, want) check_bad(item, want, __LINE__)

static void test_settings_that_are_wrong(void **state)
{
    (void)state;
    BAD("  backup: 1d", "s.yaml:2:3: heartbeats: expected a list such as [{name: backup, every: 1d}], found a map");
    BAD("- name: a", "s.yaml:2:3: \"every\" is missing: how often it comes, such as 1d");
    BAD("- {name: a, every: daily}",
        "s.yaml:2:20: every: expected a duration such as 250ms, 30s, 12h or 7d, found \"daily\"");
    BAD("- {name: a, every: 1d, graze: 1h}", "s.yaml:2:24: unknown key \"graze\"; did you mean \"grace\"?");
    BAD("- {name: a/b, every: 1d}", "s.yaml:2:10: name: expected up to 64 letters, digits and any of \"._-\", "
                                    "which become part of an address");
    BAD("- {name: a, every: 1d}\n- {name: a, every: 1h}", "s.yaml:3:10: name: \"a\" is there twice");
    BAD("- {name: a, every: 1d, labels: {severity: page}}",
        "s.yaml:2:33: labels: severity is set already; take another name");
    BAD("- {name: a, every: 1d, labels: {a-b: c}}", "s.yaml:2:33: labels: \"a-b\" cannot be the name of a label");
    BAD("- {name: a, every: 1d, labels: {a: '{{b}}'}}", "s.yaml:2:36: labels: a: templates cannot be used here");
}

static void test_rules(void **state)
{
    (void)state;
    AP_AUTO(yaml) struct yaml_document *document = NULL;
    AP_AUTO(rule_file) struct rule_file *file = NULL;
    AP_AUTO_BUF struct ap_buf text = {0};
    struct heartbeat_list list;
    MUST(read_list("heartbeats:\n"
                   "- {name: backup.db-1, every: 1d, grace: 2h, severity: critical, labels: {team: \"a \\\"b\\\"\"}}\n"
                   "- {name: poll, every: 10s, grace: 10s}\n",
                   &document, &list, &must_err));
    ap_buf_add_cstr(&text, "groups:\n");
    heartbeat_list_add_rules(&list, &text);
    MUST(rule_file_parse(ap_buf_slice(&text), "test", false, NULL, NULL, &file, &must_err));
    assert_int_equal(file->group_count, 1);
    assert_int_equal(file->groups[0].interval_ms, 5000); /* a quarter of 20 s */
    assert_int_equal(file->groups[0].rule_count, 4);
    const struct rule *missing = &file->groups[0].rules[0];
    assert_string_equal(missing->name, "HeartbeatMissing");
    assert_int_equal(missing->for_ms, 7200000);
    assert_non_null(memmem(missing->expr.data, missing->expr.bytes, "\"backup.db-1\"", 13));
    assert_string_equal(missing->labels.items[0], "critical");
    assert_string_equal(missing->labels.items[1], "a \"b\"");
    const struct rule *failed = &file->groups[0].rules[3];
    assert_string_equal(failed->name, "HeartbeatFailed");
    assert_string_equal(failed->labels.items[0], "warning");
    heartbeat_list_clear(&list);
}

/* ---- At work ---- */

enum { T0 = 1700000000 };
#define AT(seconds) ((T0 + (int64_t)(seconds)) * 1000)

struct fixture {
    char dir[32];
    char path[64];
    int64_t now_ms;
    struct ap_clock clock;
    struct yaml_document *document;
    struct heartbeat_list list;
    struct heartbeats *heartbeats;
    struct ap_buf kept; /* the samples of the last call of keep(), as text */
    enum ap_rc keep_rc;
    size_t trouble_count;
};

static int64_t wall_us(void *context)
{
    return ((struct fixture *)context)->now_ms * 1000;
}

static enum ap_rc keep(void *context, const struct rules_sample *samples, size_t count, struct ap_err *err)
{
    struct fixture *fx = context;
    if (fx->keep_rc != AP_OK)
        return ap_fail(err, fx->keep_rc, "no room");
    ap_buf_reset(&fx->kept);
    for (size_t i = 0; i < count; i++) {
        struct ap_slice name = labels_get(samples[i].labels, ap_slice_cstr(LABEL_METRIC_NAME));
        struct ap_slice heartbeat = labels_get(samples[i].labels, ap_slice_cstr("heartbeat"));
        name = ap_slice(name.data + strlen("apiary_heartbeat_"), name.bytes - strlen("apiary_heartbeat_"));
        ap_buf_printf(&fx->kept, "%.*s %.*s=%g@%lld;", AP_SLICE_ARG(heartbeat), AP_SLICE_ARG(name),
                      samples[i].value >= T0 ? samples[i].value - T0 : samples[i].value,
                      (long long)(samples[i].ts_ms - AT(0)));
    }
    return AP_OK;
}

static void trouble(const struct ap_err *err, void *context)
{
    struct fixture *fx = context;
    assert_string_equal(err->text, "series of heart-beats: no room");
    fx->trouble_count++;
}

static void open_all(struct fixture *fx)
{
    const struct heartbeats_options options = {
        .list = &fx->list,
        .meta_path = fx->path,
        .clock = &fx->clock,
        .keep = keep,
        .keep_context = fx,
        .trouble = trouble,
        .context = fx,
    };
    MUST(heartbeats_open(&options, &fx->heartbeats, &must_err));
}

static void set_list(struct fixture *fx, const char *text)
{
    heartbeats_close(fx->heartbeats);
    fx->heartbeats = NULL;
    heartbeat_list_clear(&fx->list);
    yaml_free(fx->document);
    MUST(read_list(text, &fx->document, &fx->list, &must_err));
    open_all(fx);
}

#define BACKUP "heartbeats: [{name: backup, every: 60s, grace: 30s}]\n"

static int setup(void **state)
{
    struct fixture *fx = ap_new0(struct fixture);
    strcpy(fx->dir, "/tmp/apiary-beats-XXXXXX");
    assert_non_null(mkdtemp(fx->dir));
    snprintf(fx->path, sizeof(fx->path), "%s/meta.sqlite", fx->dir);
    fx->now_ms = AT(0);
    fx->clock = (struct ap_clock){.wall_us = wall_us, .monotonic_us = wall_us, .context = fx};
    set_list(fx, BACKUP);
    *state = fx;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fx = *state;
    heartbeats_close(fx->heartbeats);
    heartbeat_list_clear(&fx->list);
    yaml_free(fx->document);
    ap_buf_clear(&fx->kept);
    AP_AUTO_FREE char *command = ap_asprintf("rm -r %s", fx->dir);
    assert_int_equal(system(command), 0);
    free(fx);
    return 0;
}

static void add_view(const struct heartbeat_view *view, void *context)
{
    ap_buf_printf(context, "%s %s last %lld due %lld from %s;", view->heartbeat->name,
                  heartbeat_state_name(view->state), view->last_ms ? (long long)(view->last_ms - AT(0)) / 1000 : -1,
                  (long long)(view->due_ms - AT(0)) / 1000, view->source[0] ? view->source : "nobody");
}

static void check_views(struct fixture *fx, const char *want, int line)
{
    AP_AUTO_BUF struct ap_buf got = {0};
    heartbeats_each(fx->heartbeats, add_view, &got);
    ap_buf_add_char(&got, '\0');
    if (strcmp(got.data, want) != 0)
        fail_msg("line %d: %s", line, got.data);
}
#define VIEWS(want) check_views(fx, want, __LINE__)

static void check_kept(const struct fixture *fx, const char *want, int line)
{
    if (!ap_slice_equal_cstr(ap_buf_slice(&fx->kept), want))
        fail_msg("line %d: %.*s", line, AP_SLICE_ARG(ap_buf_slice(&fx->kept)));
}
#define KEPT(want) check_kept(fx, want, __LINE__)

static void beat(struct fixture *fx, bool is_failure)
{
    MUST(heartbeats_beat(fx->heartbeats, ap_slice_cstr("backup"), is_failure, "192.0.2.7", &must_err));
}

static void reopen(struct fixture *fx)
{
    heartbeats_close(fx->heartbeats);
    open_all(fx);
}

static void test_states(void **state)
{
    struct fixture *fx = *state;
    VIEWS("backup waiting last -1 due 60 from nobody;");
    heartbeats_step(fx->heartbeats);
    KEPT("backup due_timestamp_seconds=60@0;backup failed=0@0;");
    fx->now_ms = AT(61);
    VIEWS("backup late last -1 due 60 from nobody;");
    fx->now_ms = AT(91);
    VIEWS("backup down last -1 due 60 from nobody;");
    beat(fx, false);
    VIEWS("backup up last 91 due 151 from 192.0.2.7;");
    /* The series have it at once. */
    KEPT("backup timestamp_seconds=91@91000;backup due_timestamp_seconds=151@91000;backup failed=0@91000;");
    fx->now_ms = AT(100);
    beat(fx, true);
    VIEWS("backup failed last 100 due 160 from 192.0.2.7;");
    KEPT("backup timestamp_seconds=100@100000;backup due_timestamp_seconds=160@100000;backup failed=1@100000;");
    fx->now_ms = AT(191);
    VIEWS("backup down last 100 due 160 from 192.0.2.7;"); /* it does not even fail any more */
    beat(fx, false);
    VIEWS("backup up last 191 due 251 from 192.0.2.7;");
}

static void test_a_restart(void **state)
{
    struct fixture *fx = *state;
    fx->now_ms = AT(50);
    reopen(fx); /* none has ever come: it is waited for since the beginning, not since now */
    VIEWS("backup waiting last -1 due 60 from nobody;");
    beat(fx, true);
    fx->now_ms = AT(70);
    reopen(fx);
    VIEWS("backup failed last 50 due 110 from 192.0.2.7;");
    set_list(fx, "heartbeats: [{name: other, every: 1m}]\n");
    VIEWS("other waiting last -1 due 130 from nobody;");
    set_list(fx, "heartbeats: [{name: backup, every: 2m}, {name: other, every: 2m}]\n"); /* the first was forgotten */
    VIEWS("backup waiting last -1 due 190 from nobody;other waiting last -1 due 190 from nobody;");
}

/* ---- Others than before, while it runs ---- */

static void reconfigure(struct fixture *fx, const char *text)
{
    struct yaml_document *document = NULL;
    struct heartbeat_list list;
    MUST(read_list(text, &document, &list, &must_err));
    MUST(heartbeats_reconfigure(fx->heartbeats, &list, &must_err));
    heartbeat_list_clear(&fx->list); /* nobody looks at these any more */
    yaml_free(fx->document);
    fx->document = document;
    fx->list = list;
}

static void test_others_while_it_runs(void **state)
{
    struct fixture *fx = *state;
    fx->now_ms = AT(10);
    beat(fx, false);
    fx->now_ms = AT(20);
    reconfigure(fx, "heartbeats: [{name: new, every: 10s}, {name: backup, every: 2m}]\n");
    VIEWS("new waiting last -1 due 30 from nobody;backup up last 10 due 130 from 192.0.2.7;");
    /* Their series are there before a rule looks for them. */
    KEPT("new due_timestamp_seconds=30@20000;new failed=0@20000;"
         "backup timestamp_seconds=10@20000;backup due_timestamp_seconds=130@20000;backup failed=0@20000;");
    heartbeats_end_gone(fx->heartbeats); /* none is */
    KEPT("new due_timestamp_seconds=30@20000;new failed=0@20000;"
         "backup timestamp_seconds=10@20000;backup due_timestamp_seconds=130@20000;backup failed=0@20000;");
    fx->now_ms = AT(25);
    reopen(fx); /* since when the new one is waited for is on disk */
    VIEWS("new waiting last -1 due 30 from nobody;backup up last 10 due 130 from 192.0.2.7;");
}

static void test_one_that_is_gone(void **state)
{
    struct fixture *fx = *state;
    struct ap_err err;
    beat(fx, true);
    fx->now_ms = AT(20);
    reconfigure(fx, "heartbeats: [{name: other, every: 10s}]\n");
    VIEWS("other waiting last -1 due 30 from nobody;");
    KEPT("other due_timestamp_seconds=30@20000;other failed=0@20000;"); /* the others have not ended yet */
    assert_int_equal(heartbeats_beat(fx->heartbeats, ap_slice_cstr("backup"), false, "", &err), AP_E_NOT_FOUND);
    fx->now_ms = AT(21);
    heartbeats_end_gone(fx->heartbeats);
    KEPT("backup timestamp_seconds=nan@21000;backup due_timestamp_seconds=nan@21000;backup failed=nan@21000;");
    reconfigure(fx, BACKUP); /* it is back, and nothing is known of it */
    VIEWS("backup waiting last -1 due 81 from nobody;");
    heartbeats_end_gone(fx->heartbeats);
    KEPT("other due_timestamp_seconds=nan@21000;other failed=nan@21000;");
    reconfigure(fx, "heartbeats: []\n");
    VIEWS("");
}

static void test_beats_within_a_millisecond(void **state)
{
    struct fixture *fx = *state;
    beat(fx, false);
    beat(fx, true);
    beat(fx, false); /* the last one counts, in the store too */
    KEPT("backup timestamp_seconds=0@2;backup due_timestamp_seconds=60@2;backup failed=0@2;");
}

static void test_clock_is_set_back(void **state)
{
    struct fixture *fx = *state;
    fx->now_ms = AT(3600);
    beat(fx, false);
    fx->now_ms = AT(5);
    heartbeats_step(fx->heartbeats);
    VIEWS("backup up last 5 due 65 from 192.0.2.7;"); /* and not in an hour */
    KEPT("backup timestamp_seconds=5@5000;backup due_timestamp_seconds=65@5000;backup failed=0@5000;");
}

static void test_what_is_refused(void **state)
{
    struct fixture *fx = *state;
    struct ap_err err;
    assert_int_equal(heartbeats_beat(fx->heartbeats, ap_slice_cstr("back"), false, "", &err), AP_E_NOT_FOUND);
    assert_string_equal(err.text, "no heart-beat \"back\" is waited for; add it to heartbeats: in the settings");
    /* The store is full: the beat counts, since meta.sqlite has it. */
    fx->keep_rc = AP_E_FULL;
    beat(fx, false);
    assert_int_equal(fx->trouble_count, 1);
    VIEWS("backup up last 0 due 60 from 192.0.2.7;");
    heartbeats_stop(fx->heartbeats);
    assert_int_equal(heartbeats_beat(fx->heartbeats, ap_slice_cstr("backup"), false, "", &err), AP_E_BUSY);
}

/* With its thread: the first samples are there when it has started. */
static void test_start(void **state)
{
    struct fixture *fx = *state;
    MUST(heartbeats_start(fx->heartbeats, &must_err));
    KEPT("backup due_timestamp_seconds=60@0;backup failed=0@0;");
    beat(fx, false);
    heartbeats_stop(fx->heartbeats);
    reopen(fx);
    VIEWS("backup up last 0 due 60 from 192.0.2.7;");
}

/* ---- From several threads ---- */

enum { BEATERS = 4, BEATS_EACH = 25 };

static void *beat_often(void *context)
{
    struct fixture *fx = context;
    for (int i = 0; i < BEATS_EACH; i++)
        beat(fx, i % 2 == 0);
    return NULL;
}

static void *reconfigure_often(void *context)
{
    struct fixture *fx = context;
    for (int i = 0; i < BEATS_EACH; i++) {
        reconfigure(fx, i % 2 ? BACKUP : "heartbeats: [{name: other, every: 1m}, {name: backup, every: 60s}]\n");
        heartbeats_end_gone(fx->heartbeats);
    }
    return NULL;
}

static void *look_often(void *context)
{
    struct fixture *fx = context;
    AP_AUTO_BUF struct ap_buf views = {0};
    for (int i = 0; i < BEATERS * BEATS_EACH; i++) {
        heartbeats_step(fx->heartbeats);
        heartbeats_each(fx->heartbeats, add_view, &views);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct fixture *fx = *state;
    pthread_t threads[BEATERS + 2];
    MUST(heartbeats_start(fx->heartbeats, &must_err));
    for (int i = 0; i < BEATERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, beat_often, fx), 0);
    assert_int_equal(pthread_create(&threads[BEATERS], NULL, look_often, fx), 0);
    assert_int_equal(pthread_create(&threads[BEATERS + 1], NULL, reconfigure_often, fx), 0);
    for (int i = 0; i < BEATERS + 2; i++)
        pthread_join(threads[i], NULL);
    heartbeats_stop(fx->heartbeats);
    reopen(fx);
    AP_AUTO_BUF struct ap_buf views = {0};
    heartbeats_each(fx->heartbeats, add_view, &views);
    ap_buf_add_char(&views, '\0');
    assert_non_null(strstr(views.data, " last 0 due 60 from 192.0.2.7;"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_that_are_wrong),
        cmocka_unit_test(test_rules),
        cmocka_unit_test_setup_teardown(test_states, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others_while_it_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_that_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_beats_within_a_millisecond, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clock_is_set_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
