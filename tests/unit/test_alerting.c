/*
 * Alerts to notifications, on a clock of the test's own: what is told is written down as lines, "second receiver: why
 * +firing -resolved", and compared with what Alertmanager's semantics say.
 */
#include "alert/alerting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "alert/matcher_text.h"
#include "base/buf.h"
#include "base/random.h"
#include "os/fs.h"
#include "tsdb/labels.h"
#include "wal/wal.h"

enum { HELD_MAX = 64, STEP_MS = 100 };
#define START_MS INT64_C(1796029200000) /* Monday, 2026-11-30 09:00 UTC */

struct fixture {
    int64_t now_ms;
    struct ap_clock clock;
    struct alerting *alerting;
    char root[64]; /* with a log; empty: without */
    unsigned copies;
    char dir[96];
    int wal_fd;
    struct wal *wal;
    const char *config_text;
    struct ap_buf told;
    struct notification *held[HELD_MAX]; /* handed over, and not told back yet */
    size_t held_count;
    enum delivery_outcome outcome;
    int64_t retry_after_ms;
    bool is_hanging;  /* nothing is told back */
    const char *only; /* the receiver that these three are about; NULL: any */
};

static int64_t wall_us(void *context)
{
    const struct fixture *fx = context;
    return fx->now_ms * 1000;
}

static void deliver(void *context, struct notification *notification)
{
    static const char *const reasons[] = {"first", "new", "some resolved", "all resolved", "repeat"};
    struct fixture *fx = context;
    ap_buf_printf(&fx->told, "%g %s: %s", (double)(fx->now_ms - START_MS) / 1000, notification->receiver->name,
                  reasons[notification->reason]);
    if (notification->fallback_of)
        ap_buf_printf(&fx->told, " for %s", notification->fallback_of->name);
    if (notification->late_since_ms)
        ap_buf_printf(&fx->told, " since %g", (double)(notification->late_since_ms - START_MS) / 1000);
    for (size_t i = 0; i < notification->alert_count; i++) {
        struct ap_slice name = labels_get(notification->alerts[i].labels, ap_slice_cstr("alertname"));
        ap_buf_printf(&fx->told, " %c%.*s", notification->alerts[i].is_resolved ? '-' : '+', AP_SLICE_ARG(name));
    }
    ap_buf_add_char(&fx->told, '\n');
    assert_true(fx->held_count < HELD_MAX);
    fx->held[fx->held_count++] = notification_ref(notification);
}

static bool is_concerned(const struct fixture *fx, const struct notification *notification)
{
    return !fx->only || strcmp(fx->only, notification->receiver->name) == 0;
}

static void tell_back(struct fixture *fx)
{
    size_t hanging_count = 0;
    for (size_t i = 0; i < fx->held_count; i++) {
        struct notification *notification = fx->held[i];
        bool is_concerning = is_concerned(fx, notification);
        if (is_concerning && fx->is_hanging) {
            fx->held[hanging_count++] = notification;
            continue;
        }
        struct delivery delivery = {.outcome = is_concerning ? fx->outcome : DELIVERY_DONE,
                                    .retry_after_ms = is_concerning ? fx->retry_after_ms : 0};
        snprintf(delivery.reference, sizeof(delivery.reference), "message-%llu", (unsigned long long)notification->id);
        alerting_delivered(fx->alerting, notification, &delivery);
        notification_unref(notification);
    }
    fx->held_count = hanging_count;
}

static struct alert_config *config_of(const char *text)
{
    char path[] = "/tmp/apiary-alerting-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    struct alert_config *config;
    struct ap_err err;
    if (alert_config_load(path, &config, &err) != AP_OK)
        fail_msg("%s", err.text);
    unlink(path);
    return config;
}

static void open_alerting(struct fixture *fx)
{
    struct ap_err err;
    struct alerting_options options = {.clock = &fx->clock, .deliver = deliver, .context = fx, .alerts_max = 1000};
    char path[128];
    if (fx->root[0]) {
        struct wal_options wal_options;
        wal_options_init(&wal_options);
        snprintf(path, sizeof(path), "%s/wal", fx->dir);
        uint64_t cut;
        assert_int_equal(os_dir_open(path, &fx->wal_fd, &err), AP_OK);
        if (wal_open(fx->wal_fd, &wal_options, &fx->wal, &cut, &err) != AP_OK)
            fail_msg("%s", err.text);
        snprintf(path, sizeof(path), "%s/alerting", fx->dir);
        options.dir = path;
        options.wal = fx->wal;
    }
    if (alerting_open(&options, config_of(fx->config_text), &fx->alerting, &err) != AP_OK)
        fail_msg("%s", err.text);
}

static void start(struct fixture *fx, bool has_log, const char *config)
{
    *fx = (struct fixture){.now_ms = START_MS, .config_text = config, .wal_fd = -1};
    fx->clock = (struct ap_clock){wall_us, wall_us, fx};
    if (has_log) {
        snprintf(fx->root, sizeof(fx->root), "/tmp/apiary-alerting-XXXXXX");
        assert_non_null(mkdtemp(fx->root));
        snprintf(fx->dir, sizeof(fx->dir), "%s/0", fx->root);
    }
    open_alerting(fx);
}

static void close_alerting(struct fixture *fx)
{
    for (size_t i = 0; i < fx->held_count; i++) {
        const struct delivery lost = {.outcome = DELIVERY_RETRY};
        alerting_delivered(fx->alerting, fx->held[i], &lost);
        notification_unref(fx->held[i]);
    }
    fx->held_count = 0;
    if (fx->wal)
        wal_stop(fx->wal);
    alerting_close(fx->alerting);
    wal_close(fx->wal);
    if (fx->wal_fd >= 0)
        close(fx->wal_fd);
    fx->wal = NULL;
    fx->wal_fd = -1;
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

/* What a machine finds that lost its power now: a copy of the files while everything is open. */
static void crash(struct fixture *fx)
{
    char before[96];
    memcpy(before, fx->dir, sizeof(before));
    snprintf(fx->dir, sizeof(fx->dir), "%s/%u", fx->root, ++fx->copies);
    run("cp -a %s %s", before, fx->dir);
    close_alerting(fx);
    ap_buf_reset(&fx->told);
    open_alerting(fx);
}

static void end(struct fixture *fx)
{
    close_alerting(fx);
    ap_buf_clear(&fx->told);
    if (fx->root[0])
        run("rm -rf %s", fx->root);
}

static void advance(struct fixture *fx, int64_t seconds)
{
    for (int64_t until_ms = fx->now_ms + seconds * 1000; fx->now_ms < until_ms; fx->now_ms += STEP_MS) {
        alerting_step(fx->alerting);
        tell_back(fx);
    }
    alerting_step(fx->alerting);
    tell_back(fx);
}

static void put_done(void *context, enum ap_rc rc)
{
    assert_int_equal(rc, AP_OK);
    __atomic_store_n((int *)context, 1, __ATOMIC_RELEASE);
}

/* "name=value,…"; `ends_s` 0: resolve_timeout from now, negative: it ended so long ago. */
static void put_with(struct fixture *fx, const char *text, int64_t starts_s, int64_t ends_s, const char *summary)
{
    struct label labels[8];
    size_t count = 0;
    struct ap_slice rest = ap_slice_cstr(text);
    while (rest.data) {
        struct ap_slice value = ap_slice_split(&rest, ',');
        struct ap_slice name = ap_slice_split(&value, '=');
        labels[count++] = (struct label){name, value};
    }
    AP_AUTO_BUF struct ap_buf encoded = {0};
    AP_AUTO_BUF struct ap_buf annotations = {0};
    struct ap_err err;
    assert_int_equal(labels_encode(labels, count, &encoded, &err), AP_OK);
    struct label annotation = {AP_SLICE_LITERAL("summary"), ap_slice_cstr(summary)};
    assert_int_equal(labels_encode(&annotation, 1, &annotations, &err), AP_OK);
    const struct alert_in in = {.labels = ap_buf_slice(&encoded),
                                .annotations = ap_buf_slice(&annotations),
                                .starts_ms = starts_s ? fx->now_ms + starts_s * 1000 : 0,
                                .ends_ms = ends_s ? fx->now_ms + ends_s * 1000 : 0};
    int is_done = 0;
    if (alerting_put(fx->alerting, &in, 1, put_done, &is_done, &err) != AP_OK)
        fail_msg("%s", err.text);
    while (!__atomic_load_n(&is_done, __ATOMIC_ACQUIRE))
        usleep(50);
}

static void fire(struct fixture *fx, const char *text)
{
    put_with(fx, text, 0, 600, "it is so");
}

static void resolve(struct fixture *fx, const char *text)
{
    put_with(fx, text, -1, -1, "it was so");
}

/* What was told since the last time. */
#define TOLD(fx, want)                                                                                                 \
    do {                                                                                                               \
        ap_buf_add_char(&(fx)->told, '\0');                                                                            \
        assert_string_equal((fx)->told.data, want);                                                                    \
        ap_buf_reset(&(fx)->told);                                                                                     \
    } while (0)

#define ONE                                                                                                            \
    "route: {receiver: r, group_by: [job], group_wait: 10s, group_interval: 60s, repeat_interval: 300s}\n"             \
    "receivers: [{name: r, webhook_configs: [{url: 'http://h/'}]}]\n"

/* ---- Groups ---- */

static void test_a_group(void **state)
{
    (void)state;
    struct fixture fx;
    start(&fx, false, ONE);
    fire(&fx, "alertname=A,job=x");
    advance(&fx, 5);
    fire(&fx, "alertname=B,job=x"); /* within group_wait: in the same message */
    fire(&fx, "alertname=C,job=y"); /* another group, which waits by itself */
    advance(&fx, 4);
    TOLD(&fx, "");
    advance(&fx, 1);
    TOLD(&fx, "10 r: first +A +B\n");
    advance(&fx, 5);
    TOLD(&fx, "15 r: first +C\n");
    fire(&fx, "alertname=D,job=x"); /* waits for group_interval */
    advance(&fx, 54);
    TOLD(&fx, "");
    advance(&fx, 1);
    TOLD(&fx, "70 r: new +A +B +D\n");
    resolve(&fx, "alertname=B,job=x");
    advance(&fx, 60);
    TOLD(&fx, "130 r: some resolved +A -B +D\n");
    advance(&fx, 60); /* B is not told again */
    TOLD(&fx, "");
    resolve(&fx, "alertname=A,job=x");
    resolve(&fx, "alertname=D,job=x");
    resolve(&fx, "alertname=C,job=y");
    advance(&fx, 60);
    TOLD(&fx, "195 r: all resolved -C\n250 r: all resolved -A -D\n");
    advance(&fx, 600);
    TOLD(&fx, "");
    struct alerting_stats stats;
    alerting_stats_get(fx.alerting, &stats);
    assert_int_equal(stats.groups, 0);
    assert_int_equal(stats.alerts_firing + stats.alerts_resolved, 0);
    assert_int_equal(stats.notifications[RECEIVER_WEBHOOK], 6);
    /* It begins anew. */
    fire(&fx, "alertname=A,job=x");
    advance(&fx, 10);
    TOLD(&fx, "860 r: first +A\n");
    end(&fx);
}

static void test_repeats(void **state)
{
    (void)state;
    struct fixture fx;
    start(&fx, false, ONE);
    put_with(&fx, "alertname=A,job=x", 0, 3000, "s");
    advance(&fx, 800); /* as soon as a flush is more than repeat_interval later */
    TOLD(&fx, "10 r: first +A\n370 r: repeat +A\n730 r: repeat +A\n");
    end(&fx);
}

/* What nobody tells again ends; what ended before anybody was told is told nobody. */
static void test_ends(void **state)
{
    (void)state;
    struct fixture fx;
    start(&fx, false, "global: {resolve_timeout: 1m}\n" ONE);
    put_with(&fx, "alertname=A,job=x", 0, 0, "s");
    advance(&fx, 5);
    fire(&fx, "alertname=B,job=y");
    advance(&fx, 3);
    resolve(&fx, "alertname=B,job=y");
    advance(&fx, 122);
    TOLD(&fx, "10 r: first +A\n70 r: all resolved -A\n");
    /* One that has been firing for longer than group_wait already is told at once. */
    put_with(&fx, "alertname=C,job=z", -20, 600, "s");
    advance(&fx, 1);
    TOLD(&fx, "130 r: first +C\n");
    end(&fx);
}

static void test_routes_and_ways(void **state)
{
    (void)state;
    struct fixture fx;
    start(&fx, false,
          "route:\n  receiver: all\n  group_wait: 0s\n  group_interval: 10s\n  routes:\n"
          "  - {matchers: [severity=page], receiver: pager, continue: true, group_by: ['...']}\n"
          "  - {matchers: [severity=page], receiver: log}\n"
          "receivers:\n- name: all\n"
          "- name: pager\n  webhook_configs: [{url: 'http://a/'}, {url: 'http://b/', send_resolved: false}]\n"
          "- name: log\n  webhook_configs: [{url: 'http://c/'}]\n");
    fire(&fx, "alertname=A,severity=page");
    fire(&fx, "alertname=B,severity=page");
    fire(&fx, "alertname=C"); /* its receiver has no way: nobody is told */
    advance(&fx, 1);
    TOLD(&fx, "0 pager: first +A\n0 pager: first +B\n0 pager: first +A\n0 pager: first +B\n0 log: first +A +B\n");
    resolve(&fx, "alertname=A,severity=page");
    advance(&fx, 10);
    TOLD(&fx, "10 pager: all resolved -A\n10 log: some resolved -A +B\n");
    fire(&fx, "alertname=A,severity=page"); /* both of the pager's ways know that it had ended */
    advance(&fx, 10);
    TOLD(&fx, "20 pager: first +A\n20 pager: first +A\n20 log: new +A +B\n");
    end(&fx);
}

/* ---- What keeps silent ---- */

static const struct silence *silence_of(struct fixture *fx, const char *matchers_text, int64_t from_s, int64_t to_s,
                                        struct matchers *matchers, struct silence *silence)
{
    struct ap_err err;
    assert_int_equal(matcher_text_parse_list(ap_slice_cstr(matchers_text), matchers, &err), AP_OK);
    *silence = (struct silence){.matchers = matchers,
                                .starts_ms = fx->now_ms + from_s * 1000,
                                .ends_ms = fx->now_ms + to_s * 1000,
                                .created_by = ap_slice_cstr("me"),
                                .comment = ap_slice_cstr("at work")};
    return silence;
}

static void test_silences(void **state)
{
    (void)state;
    struct fixture fx;
    struct ap_err err;
    struct matchers matchers = {0};
    struct silence silence;
    char id[37], other[37];
    start(&fx, false, ONE);
    (void)silence_of(&fx, "alertname=A", 0, 100, &matchers, &silence);
    assert_int_equal(alerting_silence_set(fx.alerting, &silence, id, &err), AP_OK);
    fire(&fx, "alertname=A,job=x");
    fire(&fx, "alertname=B,job=x");
    advance(&fx, 70);
    TOLD(&fx, "10 r: first +B\n");
    advance(&fx, 60); /* it is over at 100 */
    TOLD(&fx, "130 r: new +A +B\n");
    /* Longer again is a new one, since the first has expired. */
    memcpy(silence.id, id, sizeof(id));
    silence.ends_ms = fx.now_ms + 1000000;
    assert_int_equal(alerting_silence_set(fx.alerting, &silence, other, &err), AP_OK);
    assert_string_not_equal(id, other);
    /* An active one may end later under its own name; with other matchers it is another. */
    memcpy(silence.id, other, sizeof(id));
    silence.ends_ms += 1000;
    silence.starts_ms = fx.now_ms;
    assert_int_equal(alerting_silence_set(fx.alerting, &silence, id, &err), AP_OK);
    assert_string_equal(id, other);
    assert_int_equal(alerting_silence_expire(fx.alerting, id, &err), AP_OK);
    assert_int_equal(alerting_silence_expire(fx.alerting, id, &err), AP_E_CONFLICT);
    assert_int_equal(alerting_silence_expire(fx.alerting, "nobody", &err), AP_E_NOT_FOUND);
    matchers_clear(&matchers);
    (void)silence_of(&fx, "alertname=~\".*\"", 0, 100, &matchers, &silence);
    assert_int_equal(alerting_silence_set(fx.alerting, &silence, id, &err), AP_E_PARSE);
    matchers_clear(&matchers);
    end(&fx);
}

static void test_inhibition(void **state)
{
    (void)state;
    struct fixture fx;
    start(&fx, false,
          "inhibit_rules:\n- {source_matchers: [severity=page], target_matchers: ['severity=~\"mail|page\"'], equal: "
          "[site]}\n"
          "route: {receiver: r, group_by: ['...'], group_wait: 1s, group_interval: 10s}\n"
          "receivers: [{name: r, webhook_configs: [{url: 'http://h/'}]}]\n");
    fire(&fx, "alertname=A,severity=page,site=x"); /* both sides: not by itself */
    fire(&fx, "alertname=B,severity=mail,site=x");
    fire(&fx, "alertname=C,severity=mail,site=y"); /* another site */
    fire(&fx, "alertname=D,severity=mail");
    advance(&fx, 2);
    TOLD(&fx, "1 r: first +A\n1 r: first +C\n1 r: first +D\n");
    resolve(&fx, "alertname=A,severity=page,site=x");
    advance(&fx, 10);
    TOLD(&fx, "11 r: all resolved -A\n11 r: first +B\n");
    end(&fx);
}

static void test_times(void **state)
{
    (void)state;
    struct fixture fx;
    start(&fx, false,
          "time_intervals: [{name: soon, time_intervals: [{times: [{start_time: '09:01', end_time: '09:02'}]}]}]\n"
          "route:\n  receiver: r\n  group_wait: 0s\n  group_interval: 10s\n  routes:\n"
          "  - {matchers: [alertname=A], mute_time_intervals: [soon]}\n"
          "  - {matchers: [alertname=B], active_time_intervals: [soon]}\n"
          "receivers: [{name: r, webhook_configs: [{url: 'http://h/'}]}]\n");
    fire(&fx, "alertname=B");
    advance(&fx, 65);
    TOLD(&fx, "60 r: first +B\n");
    fire(&fx, "alertname=A");
    advance(&fx, 65);
    TOLD(&fx, "125 r: first +A\n");
    end(&fx);
}

/* ---- Trouble ---- */

static void test_retries(void **state)
{
    (void)state;
    struct fixture fx;
    start(&fx, false, ONE);
    fx.outcome = DELIVERY_RETRY;
    fire(&fx, "alertname=A,job=x");
    advance(&fx, 13); /* pauses of 0.5, 0.75, 1.125, … */
    TOLD(&fx, "10 r: first +A\n10.5 r: first +A\n11.3 r: first +A\n12.5 r: first +A\n");
    fx.retry_after_ms = 30000;
    advance(&fx, 2);
    TOLD(&fx, "14.2 r: first +A\n");
    fire(&fx, "alertname=B,job=x");
    fx.outcome = DELIVERY_DONE;
    advance(&fx, 30);
    TOLD(&fx, "44.2 r: first +A +B\n"); /* what is true by then */
    advance(&fx, 30);
    TOLD(&fx, "");
    /* Refused for good: not before the next flush. */
    fx.outcome = DELIVERY_REFUSED;
    fire(&fx, "alertname=C,job=x");
    advance(&fx, 60);
    TOLD(&fx, "130 r: new +A +B +C\n");
    resolve(&fx, "alertname=B,job=x");
    fx.outcome = DELIVERY_DONE;
    advance(&fx, 60);
    TOLD(&fx, "190 r: new +A -B +C\n");
    /* One that hangs is not sent again; what changes meanwhile is told when it is done. */
    fx.is_hanging = true;
    resolve(&fx, "alertname=A,job=x");
    advance(&fx, 120);
    TOLD(&fx, "250 r: some resolved -A +C\n");
    resolve(&fx, "alertname=C,job=x");
    fx.is_hanging = false;
    advance(&fx, 60);
    TOLD(&fx, "370 r: all resolved -C\n");
    struct alerting_stats stats;
    alerting_stats_get(fx.alerting, &stats);
    assert_int_equal(stats.failures[RECEIVER_WEBHOOK], 6);
    assert_int_equal(stats.given_up[RECEIVER_WEBHOOK], 1);
    end(&fx);
}

/* What nobody waits for (that an alert was forgotten, what was told) is on disk, too: a record behind it is. */
static void sync_log(struct fixture *fx)
{
    struct ap_err err;
    assert_int_equal(wal_append_sync(fx->wal, 255, ap_slice_cstr("x"), NULL, &err), AP_OK);
}

static void fire_long(struct fixture *fx, const char *text)
{
    put_with(fx, text, 0, 100000, "it is so");
}

/* Six hours, over crashes: what is true by then is told with one message; of what ended meanwhile, that it is over. */
static void test_down_for_hours(void **state)
{
    (void)state;
    struct fixture fx;
    start(&fx, true, ONE);
    fire_long(&fx, "alertname=Known,job=x");
    advance(&fx, 10);
    TOLD(&fx, "10 r: first +Known\n");
    fx.outcome = DELIVERY_RETRY;
    for (int hour = 0; hour < 6; hour++) {
        char came[64];
        snprintf(came, sizeof(came), "alertname=Stays%d,job=x", hour);
        fire_long(&fx, came);
        fire_long(&fx, "alertname=Goes,job=x");
        advance(&fx, 1800);
        resolve(&fx, "alertname=Goes,job=x");
        advance(&fx, 1800);
        sync_log(&fx);
        if (hour % 2)
            crash(&fx);
    }
    ap_buf_reset(&fx.told);
    fx.outcome = DELIVERY_DONE;
    advance(&fx, 61); /* no attempt is further away */
    struct ap_slice line = ap_buf_slice(&fx.told);
    line = ap_slice_split(&line, '\n');
    assert_int_equal(line.bytes + 1, fx.told.bytes);
    (void)ap_slice_split(&line, ':');
    assert_true(ap_slice_equal_cstr(line, " new -Goes +Known +Stays0 +Stays1 +Stays2 +Stays3 +Stays4 +Stays5"));
    ap_buf_reset(&fx.told);
    advance(&fx, 200);
    TOLD(&fx, "");
    end(&fx);
}

/* ---- Fall-back ---- */

#define STEPS                                                                                                          \
    "route: {receiver: r, group_by: [job], group_wait: 0s, group_interval: 60s, repeat_interval: 600s,\n"              \
    "        fallback: [{receiver: mail, after: 2m}, {receiver: boss, after: 5m}]}\n"                                  \
    "receivers: [{name: r, webhook_configs: [{url: 'http://h/'}]}, {name: mail, webhook_configs: [{url: "              \
    "'http://m/'}]}, {name: boss, webhook_configs: [{url: 'http://b/'}]}]\n"

/* What was told but the receiver's own attempts. */
static void told_others(struct fixture *fx, struct ap_buf *ret_lines)
{
    struct ap_slice rest = ap_buf_slice(&fx->told);
    ap_buf_reset(ret_lines);
    while (rest.bytes) {
        struct ap_slice line = ap_slice_split(&rest, '\n');
        if (!memmem(line.data, line.bytes, " r: ", 4))
            ap_buf_printf(ret_lines, "%.*s\n", AP_SLICE_ARG(line));
    }
    ap_buf_add_char(ret_lines, '\0');
    ap_buf_reset(&fx->told);
}
#define TOLD_OTHERS(fx, want)                                                                                          \
    do {                                                                                                               \
        AP_AUTO_BUF struct ap_buf lines = {0};                                                                         \
        told_others(fx, &lines);                                                                                       \
        assert_string_equal(lines.data, want);                                                                         \
    } while (0)

static void test_fallback(void **state)
{
    (void)state;
    struct fixture fx;
    struct alerting_stats stats;
    start(&fx, false, STEPS);
    fx.only = "r";
    fx.outcome = DELIVERY_RETRY;
    fire_long(&fx, "alertname=A,job=x");
    advance(&fx, 119);
    TOLD_OTHERS(&fx, "");
    advance(&fx, 1);
    TOLD_OTHERS(&fx, "120 mail: first for r since 0 +A\n");
    fire_long(&fx, "alertname=B,job=x"); /* as long as it lasts, the mail is told what is new */
    advance(&fx, 60);
    TOLD_OTHERS(&fx, "180 mail: new for r since 0 +A +B\n");
    advance(&fx, 600); /* and in time again; the boss is not, since the mail arrives */
    TOLD_OTHERS(&fx, "");
    advance(&fx, 60);
    TOLD_OTHERS(&fx, "840 mail: repeat for r since 0 +A +B\n");
    alerting_stats_get(fx.alerting, &stats);
    assert_int_equal(stats.groups_falling_back, 1);
    /* The receiver is back: it is told all, with the next attempt, and the others nothing more, but how it ends. */
    fx.outcome = DELIVERY_DONE;
    ap_buf_reset(&fx.told);
    advance(&fx, 70);
    TOLD_OTHERS(&fx, "");
    alerting_stats_get(fx.alerting, &stats);
    assert_int_equal(stats.groups_falling_back, 0);
    assert_int_equal(stats.fallbacks[RECEIVER_WEBHOOK], 3);
    fire_long(&fx, "alertname=C,job=x");
    resolve(&fx, "alertname=A,job=x");
    advance(&fx, 60);
    TOLD(&fx, "960 r: new -A +B +C\n960 mail: some resolved for r -A +B\n");
    resolve(&fx, "alertname=B,job=x");
    advance(&fx, 60);
    TOLD(&fx, "1020 r: some resolved -B +C\n1020 mail: all resolved for r -B\n");
    resolve(&fx, "alertname=C,job=x");
    advance(&fx, 60);
    TOLD(&fx, "1080 r: all resolved -C\n");
    /* A long time later they begin anew, and nobody else is told. */
    fire_long(&fx, "alertname=A,job=x");
    advance(&fx, 400);
    TOLD_OTHERS(&fx, "");
    end(&fx);
}

/* What was told in place of another is remembered for as long as it fires, however long that is. */
static void test_fallback_ends_late(void **state)
{
    (void)state;
    struct fixture fx;
    start(&fx, false, STEPS);
    fx.only = "r";
    fx.outcome = DELIVERY_REFUSED; /* no matter why it is not told */
    fire_long(&fx, "alertname=A,job=x");
    advance(&fx, 120);
    TOLD_OTHERS(&fx, "120 mail: first for r since 0 +A\n");
    fx.outcome = DELIVERY_DONE;
    advance(&fx, 5000);
    TOLD_OTHERS(&fx, "");
    resolve(&fx, "alertname=A,job=x");
    advance(&fx, 60);
    TOLD_OTHERS(&fx, "5160 mail: all resolved for r -A\n");
    end(&fx);
}

/* The next one after that is told when that one cannot be either; one that hangs counts as one that refuses. */
static void test_fallback_of_fallback(void **state)
{
    (void)state;
    struct fixture fx;
    start(&fx, false, STEPS);
    fx.is_hanging = true;
    fire_long(&fx, "alertname=A,job=x");
    advance(&fx, 299);
    TOLD(&fx, "0 r: first +A\n120 mail: first for r since 0 +A\n");
    fx.only = "r"; /* the mail works again, a moment too soon */
    advance(&fx, 10);
    TOLD(&fx, "");
    fx.only = NULL;
    fire_long(&fx, "alertname=B,job=x");
    advance(&fx, 51);
    TOLD(&fx, "360 mail: new for r since 0 +A +B\n");
    advance(&fx, 180); /* three minutes after the mail was to be told, as the file has it */
    TOLD(&fx, "540 boss: first for r since 0 +A +B\n");
    fx.is_hanging = false;
    advance(&fx, 60);
    TOLD(&fx, "600 r: new +A +B\n");
    resolve(&fx, "alertname=A,job=x");
    resolve(&fx, "alertname=B,job=x");
    advance(&fx, 60);
    TOLD(&fx, "660 r: all resolved -A -B\n660 mail: all resolved for r -A -B\n660 boss: all resolved for r -A -B\n");
    end(&fx);
}

/* Each way counts: nobody but the receiver knows which of them wakes somebody. */
static void test_fallback_of_one_way(void **state)
{
    (void)state;
    struct fixture fx;
    start(&fx, false,
          "route: {receiver: r, group_wait: 0s, fallback: [{receiver: mail, after: 1m}],\n"
          "        routes: [{matchers: [team=web], receiver: mail}, {matchers: [team=db], fallback: []}]}\n"
          "receivers: [{name: r, webhook_configs: [{url: 'http://h/'}, {url: 'http://i/'}]},\n"
          "            {name: mail, webhook_configs: [{url: 'http://m/'}]}]\n");
    fx.only = "r";
    fx.outcome = DELIVERY_RETRY;
    fx.retry_after_ms = 1000000;
    fire_long(&fx, "alertname=A");
    fire_long(&fx, "alertname=B,team=db");  /* says that it has none */
    fire_long(&fx, "alertname=C,team=web"); /* its receiver is the parent's fall-back */
    alerting_step(fx.alerting);
    const struct delivery done = {.outcome = DELIVERY_DONE};
    for (size_t i = 0; i < fx.held_count; i++)
        if (fx.held[i]->way == &fx.held[i]->receiver->ways[0]) {
            alerting_delivered(fx.alerting, fx.held[i], &done);
            notification_unref(fx.held[i]);
            fx.held[i--] = fx.held[--fx.held_count];
        }
    advance(&fx, 61);
    TOLD_OTHERS(&fx, "0 mail: first +C\n60 mail: first for r since 0 +A\n");
    end(&fx);
}

static void test_clock_is_set(void **state)
{
    (void)state;
    struct fixture fx;
    start(&fx, false, ONE);
    put_with(&fx, "alertname=A,job=x", 0, 1000000, "s");
    advance(&fx, 10);
    TOLD(&fx, "10 r: first +A\n");
    fx.now_ms -= 7200 * 1000; /* an hour back is not waited for */
    put_with(&fx, "alertname=B,job=x", 0, 1000000, "s");
    advance(&fx, 61);
    TOLD(&fx, "-7190 r: new +A +B\n");
    fx.now_ms += 7200 * 1000;
    advance(&fx, 1);
    TOLD(&fx, "71 r: first +A +B\n"); /* what was told so long ago is forgotten, as in Alertmanager */
    end(&fx);
}

static void test_reload(void **state)
{
    (void)state;
    struct fixture fx;
    start(&fx, false, ONE);
    put_with(&fx, "alertname=A,job=x", 0, 10000, "s");
    advance(&fx, 20);
    TOLD(&fx, "10 r: first +A\n");
    alerting_reconfigure(fx.alerting, config_of(ONE)); /* the same: it was told */
    advance(&fx, 60);
    TOLD(&fx, "");
    fx.is_hanging = true;
    fire(&fx, "alertname=B,job=x");
    advance(&fx, 60);
    TOLD(&fx, "140 r: new +A +B\n");
    /* What is on its way belongs to a configuration that is gone by now. */
    alerting_reconfigure(fx.alerting, config_of("route: {receiver: s, group_wait: 5s}\n"
                                                "receivers: [{name: s, webhook_configs: [{url: 'http://s/'}]}]\n"));
    fx.is_hanging = false;
    advance(&fx, 6);
    TOLD(&fx, "140 s: first +A +B\n");
    end(&fx);
}

/* What is on its way when the configuration is read again is told once, and goes on as it would have. */
static void test_reload_in_flight(void **state)
{
    (void)state;
    struct fixture fx;
    start(&fx, false, ONE);
    fx.is_hanging = true;
    put_with(&fx, "alertname=A,job=x", 0, 10000, "s");
    advance(&fx, 20);
    TOLD(&fx, "10 r: first +A\n");
    alerting_reconfigure(fx.alerting, config_of(ONE));
    alerting_reconfigure(fx.alerting, config_of(ONE));
    advance(&fx, 30);
    TOLD(&fx, "");
    fx.outcome = DELIVERY_RETRY;
    fx.is_hanging = false;
    advance(&fx, 1);
    TOLD(&fx, "50.5 r: first +A\n");
    fx.outcome = DELIVERY_DONE;
    advance(&fx, 60);
    TOLD(&fx, "51.3 r: first +A\n");
    fx.is_hanging = true;
    resolve(&fx, "alertname=A,job=x");
    advance(&fx, 60);
    TOLD(&fx, "140 r: all resolved -A\n");
    alerting_reconfigure(fx.alerting, config_of(ONE));
    advance(&fx, 30);
    fx.is_hanging = false;
    advance(&fx, 120);
    TOLD(&fx, "");
    end(&fx);
}

/* ---- Restarts ---- */

static void test_restart(void **state)
{
    (void)state;
    struct fixture fx;
    struct ap_err err;
    struct matchers matchers = {0};
    struct silence silence;
    char id[37];
    start(&fx, true, ONE);
    put_with(&fx, "alertname=A,job=x", 0, 0, "a");
    fire(&fx, "alertname=Q,job=y");
    (void)silence_of(&fx, "alertname=Q", 0, 100000, &matchers, &silence);
    assert_int_equal(alerting_silence_set(fx.alerting, &silence, id, &err), AP_OK);
    matchers_clear(&matchers);
    advance(&fx, 5);
    crash(&fx); /* before anything was told */
    advance(&fx, 10);
    TOLD(&fx, "10 r: first +A\n");
    sync_log(&fx);
    crash(&fx); /* after it was: not told again */
    advance(&fx, 60);
    TOLD(&fx, "");
    fx.is_hanging = true;
    fire(&fx, "alertname=B,job=x");
    advance(&fx, 60);
    TOLD(&fx, "135 r: new +A +B\n");
    char key[65];
    memcpy(key, fx.held[0]->dedup_key, sizeof(key));
    assert_string_equal(fx.held[0]->reference, "message-1");
    crash(&fx); /* while it was told: once more, and the same to whoever knows the key */
    advance(&fx, 1);
    TOLD(&fx, "135 r: new +A +B\n");
    assert_string_equal(fx.held[0]->dedup_key, key);
    fx.is_hanging = false;
    tell_back(&fx);
    /* It ends while nobody looks: nobody tells it again for longer than resolve_timeout. */
    sync_log(&fx);
    crash(&fx);
    resolve(&fx, "alertname=B,job=x");
    advance(&fx, 301);
    TOLD(&fx, "136 r: some resolved +A -B\n436 r: all resolved -A\n");
    assert_int_equal(alerting_silence_expire(fx.alerting, id, &err), AP_OK); /* it is there */
    crash(&fx);
    assert_int_equal(alerting_silence_expire(fx.alerting, id, &err), AP_E_CONFLICT);
    end(&fx);
}

/* Since when the receiver is late, and who was told in its place, is known after a crash. */
static void test_restart_of_fallback(void **state)
{
    (void)state;
    struct fixture fx;
    start(&fx, true, STEPS);
    fx.only = "r";
    fx.outcome = DELIVERY_RETRY;
    fire_long(&fx, "alertname=A,job=x");
    for (int i = 0; i < 4; i++) { /* killed again and again, more often than the time that is waited for */
        advance(&fx, 29);
        TOLD_OTHERS(&fx, "");
        sync_log(&fx);
        crash(&fx);
    }
    advance(&fx, 10);
    TOLD_OTHERS(&fx, "120 mail: first for r since 0 +A\n");
    sync_log(&fx);
    crash(&fx);
    advance(&fx, 50); /* not once more */
    TOLD_OTHERS(&fx, "");
    fx.outcome = DELIVERY_DONE;
    advance(&fx, 60);
    sync_log(&fx);
    crash(&fx); /* it is late no longer */
    resolve(&fx, "alertname=A,job=x");
    advance(&fx, 60);
    TOLD_OTHERS(&fx, "236 mail: all resolved for r -A\n");
    sync_log(&fx);
    fx.outcome = DELIVERY_RETRY;
    fire_long(&fx, "alertname=A,job=x");
    crash(&fx);
    advance(&fx, 119);
    TOLD_OTHERS(&fx, "");
    end(&fx);
}

/* What an Apiary of before has written: records of version 1. */
static void test_first_version(void **state)
{
    (void)state;
    struct fixture fx;
    struct ap_err err;
    struct alerting_stats stats;
    AP_AUTO_BUF struct ap_buf record = {0};
    AP_AUTO_BUF struct ap_buf labels = {0};
    struct label label = {AP_SLICE_LITERAL("alertname"), AP_SLICE_LITERAL("Old")};
    assert_int_equal(labels_encode(&label, 1, &labels, &err), AP_OK);
    start(&fx, true, ONE);
    ap_buf_add(&record, "\1\1", 2);
    ap_buf_add_varint(&record, labels.bytes);
    ap_buf_add_slice(&record, ap_buf_slice(&labels));
    ap_buf_add(&record, "\0\0", 2);
    ap_buf_add_u64(&record, (uint64_t)fx.now_ms);
    ap_buf_add_u64(&record, (uint64_t)fx.now_ms + 1000000);
    ap_buf_add_u64(&record, (uint64_t)fx.now_ms);
    ap_buf_add_char(&record, 0);
    assert_int_equal(wal_append_sync(fx.wal, 4, ap_buf_slice(&record), NULL, &err), AP_OK);
    crash(&fx);
    alerting_stats_get(fx.alerting, &stats);
    assert_int_equal(stats.alerts_firing, 1);
    advance(&fx, 10);
    TOLD(&fx, "10 r: first +Old\n");
    end(&fx);
}

static void count_alert(const struct alert_view *view, void *context)
{
    struct ap_buf *out = context;
    labels_format(view->alert.labels, out);
    ap_buf_printf(out, " %s %s%zu%zu%zu\n", view->fingerprint, view->is_resolved ? "resolved " : "",
                  view->silenced_count, view->inhibited_count, view->receiver_count);
}

/* The log is not held for alerting because others write much: a snapshot stands for what is behind it. */
static void test_log_is_let_go(void **state)
{
    (void)state;
    enum { RECORD_BYTES = 1 << 20, RECORDS = 17 };
    struct fixture fx;
    struct ap_err err;
    struct wal_stats stats;
    AP_AUTO_FREE char *others = ap_new0_array(char, RECORD_BYTES);
    start(&fx, true, ONE);
    fire(&fx, "alertname=A");
    advance(&fx, 10);
    TOLD(&fx, "10 r: first +A\n");
    for (int i = 0; i < RECORDS; i++)
        assert_int_equal(wal_append_sync(fx.wal, 1, ap_slice(others, RECORD_BYTES), NULL, &err), AP_OK);
    advance(&fx, 1);
    wal_stats_get(fx.wal, &stats);
    assert_int_equal(stats.cursor_count, 1);
    assert_true(stats.durable_lsn - stats.cursors[0].released_lsn < RECORD_BYTES);
    crash(&fx); /* what the snapshot has is as good as what the log has */
    advance(&fx, 60);
    TOLD(&fx, "");
    struct alerting_stats known;
    alerting_stats_get(fx.alerting, &known);
    assert_int_equal(known.alerts_firing, 1);
    end(&fx);
}

/* A restart at any moment of a long random story goes on with the same alerts; what was told is not told again. */
static void test_random_story(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct fixture fx;
        struct ap_random random;
        print_message("seed %llu\n", (unsigned long long)seed);
        ap_random_init(&random, seed);
        start(&fx, true,
              "route: {receiver: r, group_by: [job], group_wait: 10s, group_interval: 60s, repeat_interval: 30d}\n"
              "receivers: [{name: r, webhook_configs: [{url: 'http://h/'}]}]\n");
        AP_AUTO_BUF struct ap_buf before = {0};
        AP_AUTO_BUF struct ap_buf after = {0};
        for (int step = 0; step < 60; step++) {
            char text[64];
            snprintf(text, sizeof(text), "alertname=N%u,job=j%u", (unsigned)ap_random_below(&random, 6),
                     (unsigned)ap_random_below(&random, 2));
            if (ap_random_below(&random, 3))
                put_with(&fx, text, 0, 100000, step % 2 ? "odd" : "even");
            else
                resolve(&fx, text);
            fx.outcome = ap_random_below(&random, 4) ? DELIVERY_DONE : DELIVERY_RETRY;
            advance(&fx, (int64_t)ap_random_below(&random, 40));
            if (ap_random_below(&random, 8))
                continue;
            ap_buf_reset(&before);
            ap_buf_reset(&after);
            alerting_each_alert(fx.alerting, count_alert, &before);
            sync_log(&fx);
            crash(&fx);
            alerting_each_alert(fx.alerting, count_alert, &after);
            assert_true(ap_slice_equal(ap_buf_slice(&before), ap_buf_slice(&after)));
        }
        fx.outcome = DELIVERY_DONE;
        advance(&fx, 200); /* everything is told by then */
        ap_buf_reset(&fx.told);
        sync_log(&fx);
        crash(&fx);
        advance(&fx, 100);
        TOLD(&fx, "");
        end(&fx);
    }
}

static void test_views(void **state)
{
    (void)state;
    struct fixture fx;
    struct matchers matchers = {0};
    struct silence silence;
    struct ap_err err;
    char id[37];
    AP_AUTO_BUF struct ap_buf text = {0};
    start(&fx, false, "inhibit_rules: [{source_matchers: [alertname=A], target_matchers: [alertname=B]}]\n" ONE);
    fire(&fx, "alertname=A,job=x");
    fire(&fx, "alertname=B,job=x");
    (void)silence_of(&fx, "alertname=A", 0, 100, &matchers, &silence);
    assert_int_equal(alerting_silence_set(fx.alerting, &silence, id, &err), AP_OK);
    matchers_clear(&matchers);
    alerting_each_alert(fx.alerting, count_alert, &text);
    ap_buf_add_char(&text, '\0');
    /* Fingerprints as amtool shows them for the same labels. */
    assert_string_equal(text.data, "{alertname=\"A\", job=\"x\"} 593b3fc30668dd0a 101\n"
                                   "{alertname=\"B\", job=\"x\"} a40eee49b368ef61 011\n");
    end(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_group),
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_routes_and_ways),
        cmocka_unit_test(test_silences),
        cmocka_unit_test(test_inhibition),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_clock_is_set),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_reload_in_flight),
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_log_is_let_go),
        cmocka_unit_test(test_random_story),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_down_for_hours),
        cmocka_unit_test(test_fallback),
        cmocka_unit_test(test_fallback_ends_late),
        cmocka_unit_test(test_fallback_of_fallback),
        cmocka_unit_test(test_fallback_of_one_way),
        cmocka_unit_test(test_restart_of_fallback),
        cmocka_unit_test(test_first_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
