/* Who waits for the store, and until when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingest/backlog.h"

enum { BYTES_MAX = 1000, HOLD_MS_MAX = 2000, ENTRIES = 8 };

struct fixture {
    struct backlog *backlog;
    struct ap_clock clock;
    int64_t now_us;
    struct entry {
        struct backlog_entry entry;
        unsigned released_count;
    } entries[ENTRIES];
};

static int64_t fixture_time(void *context)
{
    return ((struct fixture *)context)->now_us;
}

static void note_release(struct backlog_entry *entry)
{
    AP_CONTAINER_OF(entry, struct entry, entry)->released_count++;
}

static int set_up(void **state)
{
    struct fixture *fixture = ap_new0(struct fixture);
    fixture->clock = (struct ap_clock){fixture_time, fixture_time, fixture};
    fixture->backlog = backlog_new(BYTES_MAX, HOLD_MS_MAX, &fixture->clock);
    for (int i = 0; i < ENTRIES; i++)
        fixture->entries[i].entry.release = note_release;
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    backlog_release_all(fixture->backlog);
    backlog_free(fixture->backlog);
    free(fixture);
    return 0;
}

static bool hold(struct fixture *fixture, int index, uint64_t lsn)
{
    return backlog_hold(fixture->backlog, &fixture->entries[index].entry, lsn);
}

#define RELEASED(index, count) assert_int_equal(fixture->entries[index].released_count, count)

static void test_nobody_waits_for_a_silent_store(void **state)
{
    struct fixture *fixture = *state;
    assert_false(hold(fixture, 0, 1000000));
    RELEASED(0, 0);
}

static void test_waits_while_the_store_is_behind(void **state)
{
    struct fixture *fixture = *state;
    backlog_note_visible(fixture->backlog, 500);
    assert_false(hold(fixture, 0, 500 + BYTES_MAX));
    assert_true(hold(fixture, 1, 501 + BYTES_MAX));
    assert_true(hold(fixture, 2, 700 + BYTES_MAX));
    assert_true(hold(fixture, 3, 900 + BYTES_MAX));
    backlog_note_visible(fixture->backlog, 700);
    RELEASED(1, 1);
    RELEASED(2, 1);
    RELEASED(3, 0);
    assert_true(hold(fixture, 4, 950 + BYTES_MAX));
    backlog_note_visible(fixture->backlog, 2000);
    for (int i = 1; i <= 4; i++)
        RELEASED(i, 1);
}

static void test_trouble_releases_all(void **state)
{
    struct fixture *fixture = *state;
    backlog_note_visible(fixture->backlog, 0);
    assert_true(hold(fixture, 0, 5000));
    assert_true(hold(fixture, 1, 6000));
    backlog_release_all(fixture->backlog);
    RELEASED(0, 1);
    RELEASED(1, 1);
    assert_false(hold(fixture, 2, 7000));
    backlog_note_visible(fixture->backlog, 1000); /* it works again */
    assert_true(hold(fixture, 3, 8000));
}

static void test_does_not_wait_for_a_whole_history(void **state)
{
    struct fixture *fixture = *state;
    backlog_note_visible(fixture->backlog, 0);
    assert_true(hold(fixture, 0, 50000));
    fixture->now_us += HOLD_MS_MAX * AP_US_PER_MS / 2;
    assert_true(hold(fixture, 1, 60000));
    backlog_note_visible(fixture->backlog, 100);
    RELEASED(0, 0);
    fixture->now_us += HOLD_MS_MAX * AP_US_PER_MS / 2;
    backlog_note_visible(fixture->backlog, 200);
    RELEASED(0, 1);
    RELEASED(1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nobody_waits_for_a_silent_store, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_waits_while_the_store_is_behind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_trouble_releases_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_does_not_wait_for_a_whole_history, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
