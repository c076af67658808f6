/* The simulated fleet, through its header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/fleet.h"

/* 2026-11-23 (a Monday) 12:00 UTC */
static const int64_t now_us = INT64_C(1795435200) * AP_US_PER_S;

static struct fleet_options options_of(uint64_t seed, uint32_t days, double scale)
{
    return (struct fleet_options){.seed = seed, .now_us = now_us, .days = days, .scale = scale};
}

/* FNV-1a over every byte of the past, and over the first rows of the future at this pace. */
static uint64_t hash_of(const struct fleet_options *options, double pace, size_t *ret_rows)
{
    AP_AUTO(fleet) struct fleet *fleet = fleet_new(options);
    fleet_set_pace(fleet, pace);
    struct fleet_row row;
    uint64_t hash = 0xcbf29ce484222325;
    size_t rows = 0;
    for (size_t live = 0; live < 1000; rows++) {
        if (fleet_peek_us(fleet) >= now_us)
            live++;
        fleet_next(fleet, &row);
        for (size_t i = 0; i < row.bytes; i++)
            hash = (hash ^ (uint8_t)row.line[i]) * 0x100000001b3;
    }
    *ret_rows = rows;
    return hash;
}

static void test_same_seed_same_bytes(void **state)
{
    (void)state;
    struct fleet_options options = options_of(7, 20, 0.1);
    struct fleet_options other_seed = options_of(8, 20, 0.1);
    struct fleet_options other_time = options;
    other_time.now_us += 1000;
    size_t rows, rows_again, ignored;
    uint64_t hash = hash_of(&options, 5, &rows);
    assert_true(rows > 10000);
    assert_true(hash_of(&options, 5, &rows_again) == hash);
    assert_int_equal(rows_again, rows);
    assert_true(hash_of(&other_seed, 5, &ignored) != hash);
    assert_true(hash_of(&other_time, 5, &ignored) != hash);
    assert_true(hash_of(&options, 6, &ignored) != hash);
}

static void test_rows_are_in_order_of_time(void **state)
{
    (void)state;
    struct fleet_options options = options_of(1, 30, 0.1);
    AP_AUTO(fleet) struct fleet *fleet = fleet_new(&options);
    fleet_set_pace(fleet, 40);
    struct fleet_row row;
    int64_t last_us = now_us - 30 * AP_US_PER_DAY;
    size_t tables[FLEET_TABLE_COUNT] = {0};
    while (last_us < now_us + AP_US_PER_DAY / 24) {
        int64_t peeked_us = fleet_peek_us(fleet);
        fleet_next(fleet, &row);
        assert_int_equal(row.wall_us, peeked_us);
        assert_true(row.wall_us >= last_us);
        last_us = row.wall_us;
        tables[row.table]++;
    }
    for (int i = 0; i < FLEET_TABLE_COUNT; i++)
        assert_true(tables[i] > 1000);
}

/* Eight times the pace: about eight times as much in the same half day of timestamps. */
static void test_pace(void **state)
{
    (void)state;
    size_t rows[2] = {0};
    for (int fast = 0; fast < 2; fast++) {
        struct fleet_options options = options_of(1, 3, 0.3);
        AP_AUTO(fleet) struct fleet *fleet = fleet_new(&options);
        fleet_set_pace(fleet, fast ? 8 : 1);
        struct fleet_row row;
        while (fleet_peek_us(fleet) < now_us + AP_US_PER_DAY / 2) {
            rows[fast] += fleet_peek_us(fleet) >= now_us;
            fleet_next(fleet, &row);
        }
    }
    assert_in_range(rows[1], rows[0] * 4, rows[0] * 16); /* the hours that pass are other ones */
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    assert_non_null(text);
    assert_true(text[0] != '\0');
    return text;
}

static void check_row(const struct fleet_row *row)
{
    json_error_t error;
    json_t *object = json_loadb(row->line, row->bytes, JSON_REJECT_DUPLICATES, &error);
    if (!object)
        fail_msg("%s in %.*s", error.text, (int)row->bytes, row->line);
    const json_t *timestamp = json_object_get(object, "timestamp");
    int64_t wall_us;
    if (row->table == FLEET_TABLE_SYNTHETIC)
        assert_true(ap_time_parse(ap_slice_cstr(json_string_value(timestamp)), &wall_us));
    else
        wall_us = json_integer_value(timestamp) * AP_US_PER_MS;
    assert_int_equal(wall_us / AP_US_PER_MS, row->wall_us / AP_US_PER_MS);
    switch (row->table) {
    case FLEET_TABLE_EVENTS:
        assert_int_equal(strlen(text_of(object, "session_id")), 36);
        assert_int_equal(strlen(text_of(object, "installation_id")), 36);
        text_of(object, "event_type");
        text_of(object, "version");
        text_of(object, "platform");
        break;
    case FLEET_TABLE_VITALS:
        text_of(object, "name");
        text_of(object, "id");
        assert_true(json_number_value(json_object_get(object, "value")) >= 0);
        break;
    case FLEET_TABLE_DOWNLOADS:
        text_of(object, "method");
        break;
    default:
        text_of(object, "test");
        assert_true(json_is_boolean(json_object_get(object, "success")));
    }
    json_decref(object);
}

static void test_rows_are_json(void **state)
{
    (void)state;
    struct fleet_options options = options_of(3, 14, 0.1);
    AP_AUTO(fleet) struct fleet *fleet = fleet_new(&options);
    struct fleet_row row;
    while (fleet_peek_us(fleet) < now_us) {
        fleet_next(fleet, &row);
        assert_int_equal(row.line[row.bytes - 1], '\n');
        check_row(&row);
    }
}

static bool has(const struct fleet_row *row, const char *text)
{
    return memmem(row->line, row->bytes, text, strlen(text)) != NULL;
}

static void test_weekdays_and_hours(void **state)
{
    (void)state;
    struct fleet_options options = options_of(5, 28, 0.3);
    AP_AUTO(fleet) struct fleet *fleet = fleet_new(&options);
    struct fleet_row row;
    double days[7] = {0}, hours[24] = {0};
    while (fleet_peek_us(fleet) < now_us) {
        fleet_next(fleet, &row);
        if (row.table != FLEET_TABLE_EVENTS)
            continue;
        days[(ap_days_of_us(row.wall_us) + 4) % 7]++; /* from Sunday */
        hours[row.wall_us / (3600 * AP_US_PER_S) % 24]++;
    }
    assert_true(days[0] < 0.5 * days[3]);
    assert_true(days[6] < 0.5 * days[3]);
    assert_true(hours[3] < 0.7 * hours[15]);
}

/* The week in which an installation was first seen, and the weeks in which it was seen again. */
struct seen {
    char id[36];
    uint32_t weeks; /* bit set, from the beginning of the simulation */
};

enum { SEEN_SLOTS = 1 << 14, SEEN_DAYS = 84 };

static struct seen *seen_slot(struct seen *table, const char *id)
{
    uint32_t at = (uint32_t)strtoul((char[]){id[0], id[1], id[2], id[3], id[4], id[5], id[6], 0}, NULL, 16);
    for (at %= SEEN_SLOTS;; at = (at + 1) % SEEN_SLOTS) {
        if (table[at].weeks == 0)
            memcpy(table[at].id, id, sizeof(table[at].id));
        if (memcmp(table[at].id, id, sizeof(table[at].id)) == 0)
            return &table[at];
    }
}

static void test_cohorts_decay(void **state)
{
    (void)state;
    struct fleet_options options = options_of(11, SEEN_DAYS, 0.5);
    AP_AUTO(fleet) struct fleet *fleet = fleet_new(&options);
    AP_AUTO_FREE struct seen *table = ap_new0_array(struct seen, SEEN_SLOTS);
    struct fleet_row row;
    int64_t from_us = now_us - SEEN_DAYS * AP_US_PER_DAY;
    while (fleet_peek_us(fleet) < now_us) {
        fleet_next(fleet, &row);
        if (row.table != FLEET_TABLE_EVENTS)
            continue;
        static const char key[] = "\"installation_id\":\"";
        const char *id = memmem(row.line, row.bytes, key, sizeof(key) - 1);
        assert_non_null(id);
        seen_slot(table, id + sizeof(key) - 1)->weeks |= 1u << ((row.wall_us - from_us) / (7 * AP_US_PER_DAY));
    }
    /* Cohorts of weeks 5, 6 and 7: the base has been seen by then, and four weeks follow. */
    double first = 0, after_one = 0, after_four = 0;
    for (size_t i = 0; i < SEEN_SLOTS; i++)
        for (int week = 5; week <= 7; week++)
            if (table[i].weeks & 1u << week && (table[i].weeks & ((1u << week) - 1)) == 0) {
                first++;
                after_one += table[i].weeks >> (week + 1) & 1;
                after_four += table[i].weeks >> (week + 4) & 1;
            }
    assert_true(first > 100);
    assert_true(after_one < first);
    assert_true(after_four < after_one);
    assert_true(after_four > 0.6 * first);
    assert_true(after_four < 0.9 * first);
}

/* A release that fails often, replaced within a day, and one that spreads. */
static void test_releases_roll_out(void **state)
{
    (void)state;
    struct fleet_options options = options_of(2, 70, 0.3);
    AP_AUTO(fleet) struct fleet *fleet = fleet_new(&options);
    struct fleet_row row;
    double bad = 0, bad_failed = 0, good = 0, good_failed = 0;
    double early_new = 0, early = 0, late_new = 0, late = 0;
    while (fleet_peek_us(fleet) < now_us) {
        fleet_next(fleet, &row);
        if (row.table != FLEET_TABLE_EVENTS)
            continue;
        double age_days = (double)(now_us - row.wall_us) / (double)AP_US_PER_DAY;
        bool is_failed = has(&row, "\"success\":false");
        if (has(&row, "\"version\":\"2.0.0\"")) {
            bad++;
            bad_failed += is_failed;
        } else if (has(&row, "\"version\":\"2.0.2\"")) {
            good++;
            good_failed += is_failed;
        }
        bool is_new = has(&row, "\"version\":\"2.1.0\"");
        if (age_days < 27 && age_days > 26) {
            early++;
            early_new += is_new;
        } else if (age_days < 14 && age_days > 13) {
            late++;
            late_new += is_new;
        }
    }
    assert_true(bad > 50 && good > 10000);
    assert_true(bad_failed / bad > 4 * good_failed / good);
    assert_true(early_new / early < 0.4);
    assert_true(late_new / late > 0.6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_seed_same_bytes),
        cmocka_unit_test(test_rows_are_in_order_of_time),
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_rows_are_json),
        cmocka_unit_test(test_weekdays_and_hours),
        cmocka_unit_test(test_cohorts_decay),
        cmocka_unit_test(test_releases_roll_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
