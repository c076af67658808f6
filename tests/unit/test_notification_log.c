/* notify/notification_log.h: rows of what was told, read back from the log. */
#include "notify/notification_log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tsdb/labels.h"
#include "wal/wal.h"
#include "warehouse/row.h"

enum { NOW_US = 1767225600, ALERTS_MANY = 1000 };

/* ---- A notification in the test's memory ---- */

struct fixture {
    struct receiver_way ways[3];
    struct receiver receiver;
    struct ap_buf labels;
    struct notified_alert alerts[ALERTS_MANY];
    struct notification notification;
    struct delivery delivery;
};

static void set_labels(struct fixture *fixture, const char *name, const char *value)
{
    struct label labels[] = {{ap_slice_cstr("alertname"), ap_slice_cstr(name)},
                             {ap_slice_cstr("x"), ap_slice_cstr(value)}};
    ap_buf_reset(&fixture->labels);
    assert_int_equal(labels_encode(labels, 2, &fixture->labels, NULL), AP_OK);
    for (size_t i = 0; i < ALERTS_MANY; i++)
        fixture->alerts[i].labels = ap_buf_slice(&fixture->labels);
    fixture->notification.group_labels = ap_buf_slice(&fixture->labels);
}

static int set_up(void **state)
{
    struct fixture *fixture = ap_new0(struct fixture);
    *state = fixture;
    fixture->ways[0].kind = RECEIVER_WEBHOOK;
    fixture->ways[1].kind = fixture->ways[2].kind = RECEIVER_SLACK;
    fixture->receiver = (struct receiver){.name = "team-db", .ways = fixture->ways, .way_count = 3};
    fixture->alerts[1].is_resolved = true;
    fixture->notification = (struct notification){
        .receiver = &fixture->receiver,
        .way = &fixture->ways[2],
        .group_key = ap_slice_cstr("{}:{x=\"1\"}"),
        .alerts = fixture->alerts,
        .alert_count = 2,
        .firing_count = 1,
        .kind = NOTIFICATION_TEST,
        .reason = NOTIFICATION_SOME_RESOLVED,
        .attempt = 3,
        .dedup_key = "abc",
    };
    fixture->delivery = (struct delivery){
        .outcome = DELIVERY_REFUSED, .status = 404, .text = "Slack answered: no", .duration_us = 1500};
    set_labels(fixture, "Down", "\"1\"");
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    ap_buf_clear(&fixture->labels);
    free(fixture);
    return 0;
}

/* ---- Reading ---- */

static struct row read_row(struct ap_slice record, const struct table **ret_table)
{
    struct row_reader reader;
    struct row row;
    struct ap_err err;
    bool has_row = false;
    if (row_reader_open(&reader, record, &err) != AP_OK || row_reader_next(&reader, &row, &has_row, &err) != AP_OK)
        fail_msg("%s", err.text);
    assert_int_equal(reader.row_count, 1);
    assert_int_equal(reader.received_at_us, NOW_US);
    assert_true(has_row);
    *ret_table = reader.table;
    return row;
}

static void expect(const struct row *row, const struct table *table, const char *name, const char *want)
{
    char text[64 << 10];
    int index = table_find_column(table, ap_slice_cstr(name));
    assert_true(index >= 0);
    const union row_value *value = &row->values[index];
    if (!row_has(row, (size_t)index))
        snprintf(text, sizeof(text), "null");
    else if (table->columns[index].type == COLUMN_F64)
        snprintf(text, sizeof(text), "%g", value->f64);
    else
        snprintf(text, sizeof(text), "%.*s", AP_SLICE_ARG(value->text));
    if (strcmp(text, want) != 0)
        fail_msg("%s is %s, not %s", name, text, want);
}
#define HAS(name, want) expect(&row, table, name, want)

static struct row encode(const struct fixture *fixture, struct ap_buf *out, const struct table **ret_table)
{
    ap_buf_reset(out);
    notification_log_encode(&fixture->notification, &fixture->delivery, NOW_US, out);
    return read_row(ap_buf_slice(out), ret_table);
}

/* ---- Cases ---- */

static void test_every_column(void **state)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    const struct table *table;
    struct row row = encode(*state, &out, &table);
    assert_string_equal(table->name, "notifications");
    assert_int_equal(row.values[0].ts_us, NOW_US);
    HAS("receiver", "team-db");
    HAS("way", "slack");
    HAS("way_index", "1"); /* the second Slack, though the third way */
    HAS("kind", "test");
    HAS("reason", "some_resolved");
    HAS("outcome", "refused");
    HAS("status", "404");
    HAS("answer", "Slack answered: no");
    HAS("duration_ms", "1.5");
    HAS("attempt", "3");
    HAS("group_key", "{}:{x=\"1\"}");
    HAS("group_labels", "{\"alertname\":\"Down\",\"x\":\"\\\"1\\\"\"}");
    HAS("alerts", "[{\"name\":\"Down\",\"labels\":{\"alertname\":\"Down\",\"x\":\"\\\"1\\\"\"},\"is_resolved\":false},"
                  "{\"name\":\"Down\",\"labels\":{\"alertname\":\"Down\",\"x\":\"\\\"1\\\"\"},\"is_resolved\":true}]");
    HAS("alert_count", "2");
    HAS("firing_count", "1");
    HAS("dedup_key", "abc");
}

static void test_in_place_of_another(void **state)
{
    struct fixture *fixture = *state;
    AP_AUTO_BUF struct ap_buf out = {0};
    const struct table *table;
    const struct receiver other = {.name = "team-web"};
    fixture->notification.fallback_of = &other;
    struct row row = encode(fixture, &out, &table);
    HAS("reason", "some_resolved, in place of team-web");
}

static void test_nothing_to_say(void **state)
{
    struct fixture *fixture = *state;
    AP_AUTO_BUF struct ap_buf out = {0};
    const struct table *table;
    fixture->notification.group_labels = (struct ap_slice){0};
    fixture->notification.alert_count = 0;
    fixture->delivery.status = 0;
    struct row row = encode(fixture, &out, &table);
    HAS("status", "null");
    HAS("group_labels", "{}");
    HAS("alerts", "[]");
}

/* Of very many alerts the first ones, whole; of one that is too large its name, so that it is found. */
static void test_alerts_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    AP_AUTO_BUF struct ap_buf out = {0};
    const struct table *table;
    fixture->notification.alert_count = ALERTS_MANY;
    struct row row = encode(fixture, &out, &table);
    HAS("alert_count", "1000");
    struct ap_slice alerts = row.values[table_find_column(table, ap_slice_cstr("alerts"))].text;
    assert_in_range(alerts.bytes, NOTIFICATION_LOG_ALERTS_BYTES_MAX - 200, NOTIFICATION_LOG_ALERTS_BYTES_MAX);
    assert_memory_equal(alerts.data + alerts.bytes - 3, "e}]", 3);

    AP_AUTO_FREE char *large = ap_alloc0(1, NOTIFICATION_LOG_ALERTS_BYTES_MAX + 1);
    memset(large, 'y', NOTIFICATION_LOG_ALERTS_BYTES_MAX);
    set_labels(fixture, "Large", large);
    row = encode(fixture, &out, &table);
    HAS("alerts", "[{\"name\":\"Large\",\"labels\":{},\"is_resolved\":false}]");
}

static void test_a_long_name_is_cut(void **state)
{
    struct fixture *fixture = *state;
    AP_AUTO_BUF struct ap_buf out = {0};
    const struct table *table;
    AP_AUTO_FREE char *name = ap_alloc0(1, 2 * 1500 + 1);
    for (size_t i = 0; i < 1500; i++)
        memcpy(name + 2 * i, "é", 2);
    fixture->receiver.name = name + 1; /* an odd place: not within a character */
    name[0] = name[1] = 'a';
    struct row row = encode(fixture, &out, &table);
    size_t bytes = row.values[table_find_column(table, ap_slice_cstr("receiver"))].text.bytes;
    assert_int_equal(bytes, 2047);
}

static int64_t fixed_us(void *context)
{
    (void)context;
    return NOW_US;
}

static void test_by_way_of_the_log(void **state)
{
    struct fixture *fixture = *state;
    char dir[] = "/tmp/apiary-notification-log-XXXXXX";
    assert_non_null(mkdtemp(dir));
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct wal_options options;
    wal_options_init(&options);
    struct wal *wal;
    struct ap_err err;
    uint64_t cut_bytes;
    if (wal_open(dir_fd, &options, &wal, &cut_bytes, &err) != AP_OK)
        fail_msg("%s", err.text);
    struct wal_cursor *cursor;
    assert_int_equal(wal_cursor_open(wal, "test", 0, &cursor, &err), AP_OK);
    const struct ap_clock clock = {.wall_us = fixed_us, .monotonic_us = fixed_us};
    struct notification_log *log = notification_log_new(wal, &clock);

    notification_log_add(log, &fixture->notification, &fixture->delivery);
    struct wal_record record;
    assert_int_equal(wal_cursor_next(cursor, 60000, &record, &err), AP_OK);
    assert_int_equal(record.type, ROW_RECORD_TYPE);
    const struct table *table;
    struct row row = read_row(record.payload, &table);
    HAS("receiver", "team-db");

    /* What was not tried is no attempt; what the log does not take is counted, and nobody waits for it. */
    struct delivery unsent = {.outcome = DELIVERY_RETRY, .is_unsent = true};
    notification_log_add(log, &fixture->notification, &unsent);
    wal_stop(wal);
    notification_log_add(log, &fixture->notification, &fixture->delivery);
    struct notification_log_stats stats;
    notification_log_stats_get(log, &stats);
    assert_int_equal(stats.logged, 1);
    assert_int_equal(stats.lost, 1);
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), AP_E_BUSY);

    wal_cursor_close(cursor);
    wal_close(wal);
    notification_log_free(log);
    close(dir_fd);
    AP_AUTO_FREE char *command = ap_asprintf("rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_column, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_in_place_of_another, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_to_say, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_alerts_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_long_name_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_by_way_of_the_log, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
