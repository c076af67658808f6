#include "codec/zone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/buf.h"

static struct zone *load(const char *name)
{
    struct zone *zone;
    struct ap_err err;
    if (zone_load(name, &zone, &err) != AP_OK)
        fail_msg("%s", err.text);
    return zone;
}

/* The C library reads the same files, in its own way: every 11 hours and odd seconds of 200 years. */
static void test_agrees_with_the_c_library(void **state)
{
    (void)state;
    static const char *const names[] = {
        "Europe/Berlin",     "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kolkata",
        "Africa/Casablanca", "America/Nuuk",     "Europe/Dublin",       "Asia/Gaza",        "Pacific/Chatham",
        "Africa/Abidjan",    "Etc/GMT+12",       "America/Sao_Paulo",   "Antarctica/Troll",
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(names); i++) {
        AP_AUTO(zone) struct zone *zone = load(names[i]);
        setenv("TZ", names[i], 1);
        tzset();
        for (int64_t at = INT64_C(-2208988800); at < INT64_C(4102444800); at += 39601) {
            time_t now = (time_t)at;
            struct tm want;
            assert_non_null(localtime_r(&now, &want));
            struct ap_civil got = zone_time_of(zone, at);
            if (zone_offset_s(zone, at) != want.tm_gmtoff || got.year != want.tm_year + 1900 ||
                got.month != want.tm_mon + 1 || got.day != want.tm_mday || got.weekday != want.tm_wday ||
                got.hour != want.tm_hour || got.minute != want.tm_min || got.second != want.tm_sec)
                fail_msg("%s at %lld: %d seconds from UTC where the C library has %ld", names[i], (long long)at,
                         zone_offset_s(zone, at), want.tm_gmtoff);
        }
    }
}

/* ---- Files as the newest zic writes them: few transitions, and a rule ---- */

static void add_header(struct ap_buf *out, char version, uint32_t transitions, uint32_t types)
{
    ap_buf_add(out, "TZif", 4);
    ap_buf_add_char(out, version);
    for (int i = 0; i < 15; i++)
        ap_buf_add_char(out, '\0');
    uint32_t counts[] = {0, 0, 0, transitions, types, 4};
    for (size_t i = 0; i < 6; i++)
        for (int shift = 24; shift >= 0; shift -= 8)
            ap_buf_add_char(out, (char)(counts[i] >> shift));
}

/* Without transitions; the rule alone says what holds. */
static void file_of_rule(struct ap_buf *out, const char *rule)
{
    static const char type[10] = "\0\0\0\0\0\0UTC"; /* and its name */
    add_header(out, '2', 0, 1);
    ap_buf_add(out, type, sizeof(type));
    add_header(out, '2', 0, 1);
    ap_buf_add(out, type, sizeof(type));
    ap_buf_printf(out, "\n%s\n", rule);
}

static enum ap_rc decode_rule(const char *rule, struct zone **ret_zone)
{
    AP_AUTO_BUF struct ap_buf bytes = {0};
    struct ap_err err;
    file_of_rule(&bytes, rule);
    return zone_decode(ap_buf_slice(&bytes), ret_zone, &err);
}

#define OFFSET(rule, at, want)                                                                                         \
    do {                                                                                                               \
        struct zone *zone_;                                                                                            \
        assert_int_equal(decode_rule(rule, &zone_), AP_OK);                                                            \
        assert_int_equal(zone_offset_s(zone_, at), want);                                                              \
        zone_free(zone_);                                                                                              \
    } while (0)
#define BAD_RULE(rule)                                                                                                 \
    do {                                                                                                               \
        struct zone *zone_;                                                                                            \
        assert_int_equal(decode_rule(rule, &zone_), AP_E_PARSE);                                                       \
    } while (0)

static void test_rules(void **state)
{
    (void)state;
    enum { MARCH_29_2026_1H = 1774746000, OCTOBER_25_2026_1H = 1792890000 };
    OFFSET("CET-1CEST,M3.5.0,M10.5.0/3", MARCH_29_2026_1H - 1, 3600);
    OFFSET("CET-1CEST,M3.5.0,M10.5.0/3", MARCH_29_2026_1H, 7200);
    OFFSET("CET-1CEST,M3.5.0,M10.5.0/3", OCTOBER_25_2026_1H - 1, 7200);
    OFFSET("CET-1CEST,M3.5.0,M10.5.0/3", OCTOBER_25_2026_1H, 3600);
    OFFSET("<+0545>-5:45", 0, 20700);
    OFFSET("EST5", 0, -18000);
    OFFSET("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", MARCH_29_2026_1H - 1, -7200); /* the evening before */
    OFFSET("<-02>2<-01>,M3.5.0/-1,M10.5.0/0", MARCH_29_2026_1H, -3600);
    OFFSET("AAA3BBB,J60/0,300", 1772334000 - 1, -10800); /* March 1, whether the year has a February 29 or not */
    OFFSET("AAA3BBB,J60/0,300", 1772334000, -7200);
    OFFSET("AAA3BBB,J60/0,300", 1709262000 - 1, -10800);
    OFFSET("AAA3BBB,J60/0,300", 1709262000, -7200);
    OFFSET("", 0, 0);
    BAD_RULE("CET");
    BAD_RULE("-1");
    BAD_RULE("CET-1CEST");
    BAD_RULE("CET-1CEST,M3.5.0");
    BAD_RULE("CET-1CEST,M13.5.0,M10.5.0");
    BAD_RULE("CET-1CEST,M3.6.0,M10.5.0");
    BAD_RULE("CET-1CEST,M3.5.7,M10.5.0");
    BAD_RULE("CET-1CEST,M3.5.0,M10.5.0 ");
    BAD_RULE("<CET-1");
    BAD_RULE("CET-168");
    BAD_RULE("CET-1CEST,J0,J365");
}

static void test_names(void **state)
{
    (void)state;
    static const char *const bad[] = {"",        "../../etc/passwd", "/etc/passwd", "Europe//Berlin",
                                      "Europe/", "Mars/Base",        "a b"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(bad); i++) {
        struct zone *zone;
        struct ap_err err;
        assert_int_equal(zone_load(bad[i], &zone, &err), AP_E_NOT_FOUND);
        assert_non_null(strstr(err.text, "Europe/Berlin"));
    }
    AP_AUTO(zone) struct zone *utc = load("UTC");
    assert_int_equal(zone_offset_s(utc, 1772334000), 0);
}

/* Cut anywhere, or with any byte changed, it is refused or read: nothing is read that is not there. */
static void test_damage(void **state)
{
    (void)state;
    char bytes[4096];
    FILE *file = fopen("/usr/share/zoneinfo/Europe/Berlin", "re");
    assert_non_null(file);
    size_t count = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    for (size_t i = 0; i < 2 * count; i++) {
        bool is_cut = i < count;
        size_t length = is_cut ? i : count;
        char *copy = ap_realloc(NULL, length + 1);
        memcpy(copy, bytes, length);
        char *exact = length ? ap_realloc(copy, length) : copy;
        if (!is_cut)
            exact[i - count] = (char)(exact[i - count] ^ 0x81);
        struct zone *zone;
        struct ap_err err;
        if (zone_decode(ap_slice(exact, length), &zone, &err) == AP_OK) {
            assert_false(is_cut);
            (void)zone_offset_s(zone, 0);
            zone_free(zone);
        }
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_with_the_c_library),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
