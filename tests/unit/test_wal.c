/* wal/: what goes in comes out, and damage is found; on a disk in memory. Failing disks: test_wal_faults.c. */
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test_wal_fixture.h"
#include "wal/crc32c.h"
#include "wal/record.h"

static int setup(void **state)
{
    *state = disk_new(1);
    return 0;
}

static int teardown(void **state)
{
    disk_free(*state);
    return 0;
}

/* Reads all that is durable from `lsn` on and checks that it is records from `first_number` on, without a gap. */
static uint32_t read_all(struct wal *wal, uint64_t lsn, uint32_t first_number)
{
    struct wal_cursor *cursor = fixture_cursor(wal, "test", lsn);
    struct wal_record record;
    struct ap_err err = {0};
    uint32_t count = 0;
    enum ap_rc rc;
    while ((rc = wal_cursor_next(cursor, 0, &record, &err)) == AP_OK) {
        assert_int_equal(record.lsn, lsn);
        assert_int_equal(fixture_number(&record), first_number + count);
        lsn = record.next_lsn;
        count++;
    }
    assert_int_equal(rc, AP_E_TIMEOUT);
    wal_cursor_close(cursor);
    return count;
}

static void test_crc32c(void **state)
{
    (void)state;
    uint8_t bytes[67];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    /* RFC 3720 B.4 and the usual check value. */
    assert_int_equal(wal_crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(wal_crc32c_portable(0, "123456789", 9), 0xE3069283);
    assert_int_equal(wal_crc32c(0, bytes, 32), 0x46DD794E);
    for (size_t i = 0; i <= sizeof(bytes); i++) {
        uint32_t whole = wal_crc32c_portable(0, bytes, sizeof(bytes));
        assert_int_equal(wal_crc32c(wal_crc32c(0, bytes, i), bytes + i, sizeof(bytes) - i), whole);
        assert_int_equal(wal_crc32c(0, bytes, i), wal_crc32c_portable(0, bytes, i));
    }
}

static void test_round_trip_and_reopen(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    assert_int_equal(read_all(wal, 0, 0), 0);
    assert_int_equal(disk->entry_count, 0); /* nothing before the first record */
    uint64_t lsns[200];
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(fixture_append(wal, i, &lsns[i]), AP_OK);
        if (i == 120) { /* in the middle, too */
            wal_close(wal);
            wal = fixture_open(FIXTURE_DIR_FD, &options);
        }
    }
    assert_int_equal(lsns[0], 0);
    assert_int_equal(read_all(wal, 0, 0), 200);
    assert_int_equal(read_all(wal, lsns[77], 77), 123);
    struct wal_stats stats = fixture_stats(wal);
    assert_int_equal(stats.appended_records, 79);
    assert_int_equal(stats.syncs, 79);
    assert_int_equal(stats.durable_lsn, lsns[199] + wal_record_bytes(4 + 199u * 7919 % 197));
    assert_true(stats.segment_count > 15);
    assert_int_equal(stats.queued_bytes, 0);
    wal_close(wal);
    wal = fixture_open(FIXTURE_DIR_FD, &options);
    assert_int_equal(read_all(wal, 0, 0), 200);
    wal_close(wal);
}

/* Long slices go to the disk from where they lie, short ones are copied together; both at once and empty ones. */
static void test_long_records_of_many_slices(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    options.segment_bytes = 4 << 20;
    options.record_bytes_max = 1 << 20;
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    enum { BYTES = 900000 };
    AP_AUTO_FREE char *bytes = ap_alloc0(1, BYTES);
    for (int i = 0; i < BYTES; i++)
        bytes[i] = (char)(i * 31 / 7);
    static const size_t cuts[][3] = {
        {0, 0, 0}, {1, 2, 3}, {5, 70000, 70001}, {40000, 40000, 500000}, {10, 400000, BYTES},
    };
    uint64_t lsn;
    struct ap_err err;
    for (size_t i = 0; i < AP_ARRAY_COUNT(cuts); i++) {
        struct fixture_ticket ticket = {0};
        struct fixture_group group = {.wal = wal, .tickets = &ticket, .count = 1, .left_count = 1};
        pthread_mutex_init(&group.mtx, NULL);
        pthread_cond_init(&group.cond, NULL);
        ticket.group = &group;
        const size_t *cut = cuts[i];
        ticket.ticket = (struct wal_ticket){
            .slices = {ap_slice(bytes, cut[0]), ap_slice(bytes + cut[0], cut[1] - cut[0]),
                       ap_slice(bytes + cut[1], cut[2] - cut[1]), ap_slice(bytes + cut[2], BYTES - cut[2])},
            .slice_count = 4,
            .type = 9,
            .done = fixture_group_done,
        };
        assert_int_equal(wal_submit(wal, &ticket.ticket, &err), AP_OK);
        pthread_mutex_lock(&group.mtx);
        while (group.left_count > 0)
            pthread_cond_wait(&group.cond, &group.mtx);
        pthread_mutex_unlock(&group.mtx);
        assert_int_equal(ticket.rc, AP_OK);
        pthread_cond_destroy(&group.cond);
        pthread_mutex_destroy(&group.mtx);
    }
    assert_int_equal(wal_append_sync(wal, 9, ap_slice(NULL, 0), &lsn, &err), AP_OK);
    AP_AUTO_FREE char *too_long = ap_alloc0(1, (1 << 20) + 1);
    assert_int_equal(wal_append_sync(wal, 9, ap_slice(too_long, (1 << 20) + 1), &lsn, &err), AP_E_LIMIT);
    assert_int_equal(wal_append_sync(wal, 9, ap_slice(too_long, 1 << 20), &lsn, &err), AP_OK);
    struct wal_cursor *cursor = fixture_cursor(wal, "test", 0);
    struct wal_record record;
    for (size_t i = 0; i < AP_ARRAY_COUNT(cuts); i++) {
        assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), AP_OK);
        assert_true(ap_slice_equal(record.payload, ap_slice(bytes, BYTES)));
    }
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), AP_OK);
    assert_int_equal(record.payload.bytes, 0);
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), AP_OK);
    assert_int_equal(record.payload.bytes, 1 << 20);
    wal_cursor_close(cursor);
    wal_close(wal);
}

static void test_options_that_cannot_work(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    struct wal *wal;
    uint64_t cut_bytes;
    struct ap_err err;
    options.segment_bytes = 200;
    assert_int_equal(wal_open(FIXTURE_DIR_FD, &options, &wal, &cut_bytes, &err), AP_E_LIMIT);
    options = fixture_options(&disk->fs);
    options.bytes_max = 100;
    assert_int_equal(wal_open(FIXTURE_DIR_FD, &options, &wal, &cut_bytes, &err), AP_E_LIMIT);
}

enum { THREADS = 8, PER_THREAD = 300 };

struct submitter {
    struct wal *wal;
    uint32_t first_number;
};

static void *submit_many(void *context)
{
    struct submitter *submitter = context;
    for (uint32_t i = 0; i < PER_THREAD; i++)
        if (fixture_append(submitter->wal, submitter->first_number + i, NULL) != AP_OK)
            return submitter;
    return NULL;
}

static void test_many_threads_submit(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    options.segment_bytes = 64 * 1024;
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    struct submitter submitters[THREADS];
    pthread_t threads[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        submitters[i] = (struct submitter){.wal = wal, .first_number = i * PER_THREAD};
        assert_int_equal(pthread_create(&threads[i], NULL, submit_many, &submitters[i]), 0);
    }
    /* A reader meanwhile: each thread's records come in its order, and all of them. */
    struct wal_cursor *cursor = fixture_cursor(wal, "test", 0);
    uint32_t counts[THREADS] = {0};
    struct ap_err err;
    for (int i = 0; i < THREADS * PER_THREAD; i++) {
        struct wal_record record;
        assert_int_equal(wal_cursor_next(cursor, -1, &record, &err), AP_OK);
        uint32_t number = fixture_number(&record);
        uint32_t thread = number / PER_THREAD;
        assert_true(thread < THREADS);
        assert_int_equal(number % PER_THREAD, counts[thread]);
        counts[thread]++;
        wal_cursor_release(cursor, record.next_lsn);
    }
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
    struct wal_record record;
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), AP_E_TIMEOUT);
    struct wal_stats stats = fixture_stats(wal);
    assert_int_equal(stats.appended_records, THREADS * PER_THREAD);
    assert_int_equal(stats.retained_bytes, 0);
    assert_int_equal(stats.segment_count, 1);
    wal_cursor_close(cursor);
    wal_close(wal);
}

static void test_waiting_tickets_become_one_group(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    options.segment_bytes = 64 * 1024;
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    struct fixture_ticket tickets[100];
    fixture_append_group(wal, 0, 100, tickets);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(tickets[i].rc, AP_OK);
        assert_true(i == 0 || tickets[i].lsn > tickets[i - 1].lsn);
    }
    wal_stop(wal); /* the counters of the last group are published before its done(), but be sure of all */
    struct wal_stats stats = fixture_stats(wal);
    assert_int_equal(stats.appended_groups, 2);
    assert_int_equal(stats.group_records_max, 99);
    assert_int_equal(disk->datasyncs, 3); /* one for the new segment */
    wal_close(wal);
    wal = fixture_open(FIXTURE_DIR_FD, &options);
    assert_int_equal(read_all(wal, 0, 0), 100);
    wal_close(wal);
}

struct patient {
    struct wal_ticket ticket;
    char payload[4];
    sem_t is_done;
    enum ap_rc rc;
    uint64_t lsn;
};

static void patient_done(struct wal_ticket *ticket, enum ap_rc rc, uint64_t lsn)
{
    struct patient *patient = AP_CONTAINER_OF(ticket, struct patient, ticket);
    patient->rc = rc;
    patient->lsn = lsn;
    sem_post(&patient->is_done);
}

static void submit_patient(struct wal *wal, struct patient *patient, bool can_wait)
{
    struct ap_err err;
    *patient = (struct patient){.payload = "abc"};
    sem_init(&patient->is_done, 0, 0);
    patient->ticket = (struct wal_ticket){.slices = {ap_slice(patient->payload, sizeof(patient->payload))},
                                          .slice_count = 1,
                                          .type = 1,
                                          .can_wait = can_wait,
                                          .done = patient_done};
    assert_int_equal(wal_submit(wal, &patient->ticket, &err), AP_OK);
}

/* With patience without end: only what cannot wait, or the end of the log, has them written. */
static void test_who_can_wait_is_written_with_others(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    options.segment_bytes = 64 * 1024;
    options.patience_ms = 3600 * 1000;
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    struct patient patients[20];
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < AP_ARRAY_COUNT(patients); i++)
            submit_patient(wal, &patients[i], i + 1 < AP_ARRAY_COUNT(patients));
        for (size_t i = 0; i < AP_ARRAY_COUNT(patients); i++) {
            sem_wait(&patients[i].is_done);
            assert_int_equal(patients[i].rc, AP_OK);
            assert_true(i == 0 || patients[i].lsn > patients[i - 1].lsn);
        }
    }
    submit_patient(wal, &patients[0], true);
    wal_stop(wal);
    assert_int_equal(sem_trywait(&patients[0].is_done), 0);
    assert_int_equal(patients[0].rc, AP_OK);
    struct wal_stats stats = fixture_stats(wal);
    assert_int_equal(stats.appended_records, 3 * AP_ARRAY_COUNT(patients) + 1);
    assert_int_equal(stats.appended_groups, 4);
    wal_close(wal);
}

static void test_patience_ends(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    options.patience_ms = 1;
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    struct patient patients[5];
    for (size_t i = 0; i < AP_ARRAY_COUNT(patients); i++) {
        submit_patient(wal, &patients[i], true);
        sem_wait(&patients[i].is_done);
        assert_int_equal(patients[i].rc, AP_OK);
    }
    wal_close(wal);
}

/* A queue that is half full is written, although nobody waits. */
static void test_no_patience_in_a_full_queue(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    options.patience_ms = 3600 * 1000;
    options.queue_bytes_max = 256;
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    struct patient patients[6]; /* of 32 bytes each: above half with the sixth */
    for (size_t i = 0; i < AP_ARRAY_COUNT(patients); i++)
        submit_patient(wal, &patients[i], true);
    for (size_t i = 0; i < AP_ARRAY_COUNT(patients); i++)
        sem_wait(&patients[i].is_done);
    wal_close(wal);
}

struct blocked {
    struct wal_ticket ticket;
    sem_t is_running;
    sem_t may_end;
};

static void blocked_done(struct wal_ticket *ticket, enum ap_rc rc, uint64_t lsn)
{
    (void)rc;
    (void)lsn;
    struct blocked *blocked = AP_CONTAINER_OF(ticket, struct blocked, ticket);
    sem_post(&blocked->is_running);
    sem_wait(&blocked->may_end);
}

static void ignore_done(struct wal_ticket *ticket, enum ap_rc rc, uint64_t lsn)
{
    (void)lsn;
    *(enum ap_rc *)ticket->context = rc;
}

static void test_queue_is_bounded(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    options.segment_bytes = 64 * 1024;
    options.queue_bytes_max = 10 * wal_record_bytes(100);
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    /* Holds the commit thread in a done(), so that the queue fills. */
    char payload[100] = {0};
    struct blocked blocked = {.ticket = {.type = 1, .done = blocked_done}};
    sem_init(&blocked.is_running, 0, 0);
    sem_init(&blocked.may_end, 0, 0);
    struct ap_err err;
    assert_int_equal(wal_submit(wal, &blocked.ticket, &err), AP_OK);
    sem_wait(&blocked.is_running);
    struct wal_ticket tickets[11];
    enum ap_rc results[11];
    for (int i = 0; i < 11; i++) {
        results[i] = AP_E_INTERNAL;
        tickets[i] = (struct wal_ticket){
            .slices = {ap_slice(payload, sizeof(payload))},
            .slice_count = 1,
            .type = 2,
            .done = ignore_done,
            .context = &results[i],
        };
        assert_int_equal(wal_submit(wal, &tickets[i], &err), i < 10 ? AP_OK : AP_E_BUSY);
    }
    assert_int_equal(fixture_stats(wal).refused_busy, 1);
    sem_post(&blocked.may_end);
    wal_stop(wal); /* what was accepted is committed */
    for (int i = 0; i < 11; i++)
        assert_int_equal(results[i], i < 10 ? AP_OK : AP_E_INTERNAL);
    assert_int_equal(wal_submit(wal, &tickets[0], &err), AP_E_BUSY);
    assert_int_equal(fixture_stats(wal).appended_records, 11);
    sem_destroy(&blocked.is_running);
    sem_destroy(&blocked.may_end);
    wal_close(wal);
}

static void test_size_limit_until_a_cursor_moves(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    options.bytes_max = 5000;
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    struct wal_cursor *fast = fixture_cursor(wal, "fast", 0);
    struct wal_cursor *slow = fixture_cursor(wal, "slow", 0);
    uint32_t number = 0;
    while (fixture_append(wal, number, NULL) == AP_OK)
        number++;
    assert_true(number > 20);
    assert_int_equal(fixture_append(wal, number, NULL), AP_E_FULL);
    struct wal_stats stats = fixture_stats(wal);
    assert_true(stats.retained_bytes <= 5000);
    assert_int_equal(stats.refused_full, 2);
    struct wal_record record = {0};
    struct ap_err err;
    for (uint32_t i = 0; i < number; i++) {
        assert_int_equal(wal_cursor_next(fast, 0, &record, &err), AP_OK);
        wal_cursor_release(fast, record.next_lsn);
    }
    assert_int_equal(fixture_append(wal, number, NULL), AP_E_FULL); /* the slow one still needs it */
    for (uint32_t i = 0; i < number / 2; i++)
        assert_int_equal(wal_cursor_next(slow, 0, &record, &err), AP_OK);
    assert_int_equal(fixture_append(wal, number, NULL), AP_E_FULL); /* reading is not releasing */
    wal_cursor_release(slow, record.next_lsn);
    assert_int_equal(fixture_append(wal, number, NULL), AP_OK);
    wal_cursor_close(fast);
    wal_cursor_close(slow);
    wal_close(wal);
}

struct waiter {
    struct wal_cursor *cursor;
    enum ap_rc rc;
    uint32_t number;
};

static void *wait_for_record(void *context)
{
    struct waiter *waiter = context;
    struct wal_record record;
    struct ap_err err;
    waiter->rc = wal_cursor_next(waiter->cursor, -1, &record, &err);
    if (waiter->rc == AP_OK)
        memcpy(&waiter->number, record.payload.data, sizeof(waiter->number));
    return NULL;
}

static void test_cursor_waits(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    struct waiter waiter = {.cursor = fixture_cursor(wal, "test", 0)};
    struct wal_record record;
    struct ap_err err;
    assert_int_equal(wal_cursor_next(waiter.cursor, 0, &record, &err), AP_E_TIMEOUT);
    assert_int_equal(wal_cursor_next(waiter.cursor, 1, &record, &err), AP_E_TIMEOUT);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wait_for_record, &waiter), 0);
    assert_int_equal(fixture_append(wal, 42, NULL), AP_OK);
    pthread_join(thread, NULL);
    assert_int_equal(waiter.rc, AP_OK);
    assert_int_equal(waiter.number, 42);
    /* Stopping wakes it as well; what is durable by then is still delivered. */
    assert_int_equal(pthread_create(&thread, NULL, wait_for_record, &waiter), 0);
    wal_stop(wal);
    pthread_join(thread, NULL);
    assert_int_equal(waiter.rc, AP_E_BUSY);
    wal_cursor_close(waiter.cursor);
    waiter.cursor = fixture_cursor(wal, "test", 0);
    wait_for_record(&waiter);
    assert_int_equal(waiter.rc, AP_OK);
    wait_for_record(&waiter);
    assert_int_equal(waiter.rc, AP_E_BUSY);
    wal_cursor_close(waiter.cursor);
    wal_close(wal);
}

static void test_released_segments_are_removed(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    for (uint32_t i = 0; i < 50; i++)
        assert_int_equal(fixture_append(wal, i, NULL), AP_OK);
    struct wal_cursor *a = fixture_cursor(wal, "a", 0);
    struct wal_cursor *b = fixture_cursor(wal, "b", 0);
    struct wal_cursor *other;
    struct ap_err err;
    assert_int_equal(wal_cursor_open(wal, "a", 0, &other, &err), AP_E_CONFLICT); /* the name is taken */
    uint64_t segments_before = fixture_stats(wal).segment_count;
    struct wal_record record;
    for (int i = 0; i < 50; i++)
        assert_int_equal(wal_cursor_next(a, 0, &record, &err), AP_OK);
    wal_cursor_release(a, record.next_lsn);
    assert_int_equal(fixture_stats(wal).segment_count, segments_before); /* b needs them */
    for (int i = 0; i < 25; i++)
        assert_int_equal(wal_cursor_next(b, 0, &record, &err), AP_OK);
    uint64_t b_lsn = record.next_lsn;
    wal_cursor_release(b, b_lsn);
    struct wal_stats stats = fixture_stats(wal);
    assert_true(stats.segment_count < segments_before && stats.segment_count > 1);
    assert_true(stats.oldest_lsn <= b_lsn);
    assert_int_equal(stats.removed_segments, segments_before - stats.segment_count);
    /* Closing is not releasing: a goes on, b comes back and finds its place. */
    wal_cursor_close(b);
    for (uint32_t i = 50; i < 80; i++) {
        assert_int_equal(fixture_append(wal, i, NULL), AP_OK);
        assert_int_equal(wal_cursor_next(a, 0, &record, &err), AP_OK);
        wal_cursor_release(a, record.next_lsn);
    }
    assert_int_equal(wal_cursor_open(wal, "c", 0, &other, &err), AP_E_NOT_FOUND);
    assert_int_equal(wal_cursor_open(wal, "c", record.next_lsn + 8, &other, &err), AP_E_CONFLICT);
    b = fixture_cursor(wal, "b", b_lsn);
    for (uint32_t i = 25; i < 80; i++) {
        assert_int_equal(wal_cursor_next(b, 0, &record, &err), AP_OK);
        assert_int_equal(fixture_number(&record), i);
    }
    /* A failing unlink loses nothing and is tried again. */
    disk_arm(disk, DISK_FAULT_EIO, 0, true);
    wal_cursor_release(b, record.next_lsn);
    stats = fixture_stats(wal);
    assert_true(stats.segment_count > 1);
    assert_non_null(strstr(stats.last_error, "remove log segment"));
    disk->fault = DISK_FAULT_NONE;
    wal_cursor_release(b, record.next_lsn);
    stats = fixture_stats(wal);
    assert_int_equal(stats.segment_count, 1); /* the last one stays: it knows where the log has got to */
    assert_int_equal(stats.retained_bytes, 0);
    wal_cursor_close(a);
    wal_cursor_close(b);
    wal_close(wal);
    wal = fixture_open(FIXTURE_DIR_FD, &options);
    assert_int_equal(fixture_append(wal, 80, NULL), AP_OK);
    assert_int_equal(read_all(wal, record.next_lsn, 80), 1);
    wal_close(wal);
}

/* The first LSN of the segment that `lsn` is in; of the last one for the end of the log. */
static uint64_t segment_of(const struct disk *disk, uint64_t lsn)
{
    uint64_t found_lsn = 0;
    for (int i = 0; i < disk->entry_count; i++) {
        const struct disk_entry *entry = &disk->entries[i];
        uint64_t first_lsn = strtoull(entry->name, NULL, 16);
        if (entry->seen_file >= 0 && first_lsn <= lsn)
            found_lsn = AP_MAX(found_lsn, first_lsn);
    }
    return found_lsn;
}

enum { RELEASE_RECORDS = 24 };

/* Makes a log; lsns[RELEASE_RECORDS] is its end. */
static struct wal *make_log_to_release(const struct wal_options *options, uint64_t lsns[RELEASE_RECORDS + 1])
{
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, options);
    for (uint32_t i = 0; i < RELEASE_RECORDS; i++)
        assert_int_equal(fixture_append(wal, i, &lsns[i]), AP_OK);
    lsns[RELEASE_RECORDS] = wal_durable_lsn(wal);
    return wal;
}

/* Step by step: a segment goes when all of it is released, and not before. Nothing has been read. */
static void test_release_at_every_lsn(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    uint64_t lsns[RELEASE_RECORDS + 1];
    struct wal *wal = make_log_to_release(&options, lsns);
    struct wal_cursor *cursor = fixture_cursor(wal, "store", 0);
    uint64_t segments = fixture_stats(wal).segment_count;
    assert_true(segments > 2);
    for (uint64_t lsn = 0; lsn <= lsns[RELEASE_RECORDS]; lsn += 8) {
        uint64_t first_lsn = segment_of(disk, lsn);
        wal_cursor_release(cursor, lsn);
        struct wal_stats stats = fixture_stats(wal);
        assert_int_equal(stats.oldest_lsn, first_lsn);
        assert_int_equal(stats.released_lsn, lsn);
        assert_int_equal(stats.retained_bytes, lsns[RELEASE_RECORDS] - lsn);
        assert_int_equal(stats.segment_count + stats.removed_segments, segments);
    }
    assert_int_equal(fixture_stats(wal).segment_count, 1);
    wal_cursor_close(cursor);
    wal_close(wal);
}

/*
 * At once, to there: what is below is gone and stays so over a restart, what is above can be read then. Where in its
 * segment a store was, the log does not know any more; the store does.
 */
static void release_once(uint64_t lsn, uint32_t next_number)
{
    struct disk *disk = disk_new(lsn);
    struct wal_options options = fixture_options(&disk->fs);
    uint64_t lsns[RELEASE_RECORDS + 1];
    struct wal *wal = make_log_to_release(&options, lsns);
    struct wal_cursor *cursor = fixture_cursor(wal, "store", 0);
    struct wal_cursor *other = fixture_cursor(wal, "other", 0);
    uint64_t first_lsn = segment_of(disk, lsn);
    wal_cursor_release(cursor, lsn);
    assert_int_equal(fixture_stats(wal).oldest_lsn, 0); /* the other one may still want it */
    wal_cursor_release(other, lsns[RELEASE_RECORDS]);
    assert_int_equal(fixture_stats(wal).oldest_lsn, first_lsn);
    wal_cursor_release(cursor, lsn / 2); /* cannot be taken back */
    assert_int_equal(fixture_stats(wal).released_lsn, lsn);
    wal_cursor_close(other);
    wal_cursor_close(cursor);
    wal_close(wal);
    disk->is_dead = true; /* the power goes */
    disk_heal(disk);

    wal = fixture_open(FIXTURE_DIR_FD, &options);
    struct wal_stats stats = fixture_stats(wal);
    assert_int_equal(stats.oldest_lsn, first_lsn);
    assert_int_equal(stats.released_lsn, first_lsn);
    assert_int_equal(wal_durable_lsn(wal), lsns[RELEASE_RECORDS]);
    struct ap_err err;
    if (first_lsn > 0)
        assert_int_equal(wal_cursor_open(wal, "store", first_lsn - 8, &cursor, &err), AP_E_NOT_FOUND);
    assert_int_equal(read_all(wal, lsns[next_number], next_number), RELEASE_RECORDS - next_number);
    wal_close(wal);
    disk_free(disk);
}

static void test_release_over_a_restart(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    uint64_t lsns[RELEASE_RECORDS + 1];
    wal_close(make_log_to_release(&options, lsns));
    for (uint32_t i = 0; i <= RELEASE_RECORDS; i++) {
        release_once(lsns[i], i);
        if (i < RELEASE_RECORDS)
            release_once(lsns[i] + 8, i + 1); /* inside a record: the next one is the first that can be read */
    }
}

/* Nobody can be done with what is not yet there; going on would remove records that nobody has read. */
static void test_release_beyond_the_end_is_a_bug(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    uint64_t lsns[RELEASE_RECORDS + 1];
    struct wal *wal = make_log_to_release(&options, lsns);
    struct wal_cursor *cursor = fixture_cursor(wal, "store", 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &no_core);
        close(STDERR_FILENO); /* the "BUG:" line is meant to be there */
        wal_cursor_release(cursor, lsns[RELEASE_RECORDS] + 1);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    wal_cursor_release(cursor, lsns[RELEASE_RECORDS]);
    wal_cursor_close(cursor);
    wal_close(wal);
}

/* Nothing has failed, so nothing is broken: chained tickets are as others. A count that never was is refused. */
static void test_chained_on_a_healthy_disk(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    enum { TICKETS = 40 };
    struct wal_ticket tickets[TICKETS];
    enum ap_rc results[TICKETS];
    char payloads[TICKETS][FIXTURE_PAYLOAD_BYTES_MAX];
    struct ap_err err;
    for (uint32_t i = 0; i < TICKETS; i++) {
        results[i] = AP_E_INTERNAL;
        tickets[i] = (struct wal_ticket){
            .slices = {fixture_payload(i, payloads[i])},
            .slice_count = 1,
            .type = (uint8_t)(1 + i),
            .is_chained = i % 2 == 0,
            .break_count = wal_break_count(wal),
            .done = ignore_done,
            .context = &results[i],
        };
        assert_int_equal(wal_submit(wal, &tickets[i], &err), AP_OK);
    }
    enum ap_rc never = AP_E_INTERNAL;
    struct wal_ticket wrong = {.type = 1, .is_chained = true, .break_count = 1, .done = ignore_done, .context = &never};
    assert_int_equal(wal_submit(wal, &wrong, &err), AP_E_CONFLICT);
    assert_non_null(strstr(err.text, "builds on"));
    wal_stop(wal);
    for (uint32_t i = 0; i < TICKETS; i++)
        assert_int_equal(results[i], AP_OK);
    assert_int_equal(never, AP_E_INTERNAL);
    assert_int_equal(wal_break_count(wal), 0);
    struct wal_stats stats = fixture_stats(wal);
    assert_int_equal(stats.failed_records, 0);
    uint64_t durable_lsn = wal_durable_lsn(wal); /* stopping does not move it, neither does opening again */
    assert_int_equal(durable_lsn, stats.appended_bytes);
    wal_close(wal);
    wal = fixture_open(FIXTURE_DIR_FD, &options);
    assert_int_equal(wal_durable_lsn(wal), durable_lsn);
    assert_int_equal(read_all(wal, 0, 0), TICKETS);
    wal_close(wal);
}

/* A small log of two segments, as bytes. Its first segment is sealed, its last is cut to what is used. */
struct small_log {
    char name[2][DISK_NAME_BYTES];
    char bytes[2][1024];
    size_t size[2];
    uint32_t record_count;
    uint64_t lsns[32]; /* of each record, and the end */
};

/* The last four records are one group; the others stand alone. */
static void make_small_log(struct small_log *log)
{
    struct disk *disk = disk_new(3);
    struct wal_options options = fixture_options(&disk->fs);
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    *log = (struct small_log){0};
    do
        assert_int_equal(fixture_append(wal, log->record_count, &log->lsns[log->record_count]), AP_OK);
    while (log->record_count++, fixture_stats(wal).segment_count < 2);
    struct fixture_ticket tickets[5];
    fixture_append_group(wal, log->record_count, 5, tickets);
    for (int i = 0; i < 5; i++)
        log->lsns[log->record_count++] = tickets[i].lsn;
    struct wal_stats stats = fixture_stats(wal);
    assert_int_equal(stats.segment_count, 2);
    assert_int_equal(stats.group_records_max, 4);
    log->lsns[log->record_count] = stats.durable_lsn;
    wal_close(wal);
    int found = 0;
    for (int i = 0; i < disk->entry_count; i++) {
        const struct disk_entry *entry = &disk->entries[i];
        if (entry->seen_file < 0)
            continue;
        const struct disk_image *image = &disk->files[entry->seen_file].seen;
        int to = strcmp(entry->name, "0000000000000000.wal") == 0 ? 0 : 1;
        memcpy(log->name[to], entry->name, sizeof(log->name[to]));
        uint64_t first_lsn = strtoull(entry->name, NULL, 16);
        log->size[to] = to == 0 ? image->bytes : (size_t)(WAL_SEGMENT_HEADER_BYTES + stats.durable_lsn - first_lsn);
        memcpy(log->bytes[to], image->data, log->size[to]);
        found++;
    }
    assert_int_equal(found, 2);
    disk_free(disk);
}

/*
 * Opens the log in this state and reads it: every record that comes is the right one at its place. Returns how many
 * came before the end or the first error; *ret_rc is that of opening or reading, AP_OK at the end.
 */
static uint32_t read_small_log(const struct small_log *log, enum ap_rc *ret_rc, uint64_t *ret_cut_bytes)
{
    struct disk *disk = disk_new(4);
    for (int i = 0; i < 2; i++)
        disk_put(disk, log->name[i], log->bytes[i], log->size[i]);
    struct wal_options options = fixture_options(&disk->fs);
    struct ap_err err = {0};
    struct wal *wal;
    uint32_t count = 0;
    *ret_rc = wal_open(FIXTURE_DIR_FD, &options, &wal, ret_cut_bytes, &err);
    if (*ret_rc == AP_OK) {
        struct wal_cursor *cursor = fixture_cursor(wal, "test", 0);
        struct wal_record record;
        while ((*ret_rc = wal_cursor_next(cursor, 0, &record, &err)) == AP_OK) {
            assert_int_equal(record.lsn, log->lsns[count]);
            assert_int_equal(fixture_number(&record), count);
            count++;
        }
        if (*ret_rc == AP_E_TIMEOUT) {
            /* The log goes on where it was cut. */
            *ret_rc = AP_OK;
            uint64_t lsn;
            assert_int_equal(fixture_append(wal, 1000, &lsn), AP_OK);
            assert_int_equal(lsn, log->lsns[count]);
            assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), AP_OK);
            assert_int_equal(fixture_number(&record), 1000);
        }
        wal_cursor_close(cursor);
        wal_close(wal);
    } else {
        assert_true(err.text[0] != '\0');
        /* The files are as they were. */
        for (int i = 0; i < 2; i++) {
            const struct disk_image *image = &disk->files[disk_find(disk, log->name[i])->seen_file].seen;
            assert_int_equal(image->bytes, log->size[i]);
            assert_true(log->size[i] == 0 || memcmp(image->data, log->bytes[i], log->size[i]) == 0);
        }
    }
    disk_free(disk);
    return count;
}

static void test_cut_at_every_byte(void **state)
{
    (void)state;
    struct small_log log;
    make_small_log(&log);
    struct small_log cut = log;
    enum ap_rc rc;
    uint64_t cut_bytes;
    uint64_t last_first_lsn = strtoull(log.name[1], NULL, 16);
    for (size_t size = 0; size <= log.size[1]; size++) {
        cut.size[1] = size;
        uint32_t count = read_small_log(&cut, &rc, &cut_bytes);
        if (size < WAL_SEGMENT_HEADER_BYTES) {
            assert_int_equal(rc, AP_E_CORRUPT); /* a segment gets its name after its header */
            continue;
        }
        uint64_t end_lsn = last_first_lsn + size - WAL_SEGMENT_HEADER_BYTES;
        uint32_t whole = 0;
        while (whole < log.record_count && log.lsns[whole + 1] <= end_lsn)
            whole++;
        assert_int_equal(rc, AP_OK);
        assert_int_equal(count, whole);
        assert_true(cut_bytes <= end_lsn - log.lsns[whole]); /* zeros at its end do not count */
        bool is_torn = false; /* a checksum may begin with a zero byte, and be cut behind it */
        for (uint64_t lsn = log.lsns[whole]; lsn < end_lsn; lsn++)
            is_torn |= log.bytes[1][WAL_SEGMENT_HEADER_BYTES + lsn - last_first_lsn] != 0;
        assert_int_equal(cut_bytes > 0, is_torn);
        /* The same with the rest of the file still there, as zeros: preallocated space is no damage. */
        memset(cut.bytes[1] + size, 0, sizeof(cut.bytes[1]) - size);
        cut.size[1] = sizeof(cut.bytes[1]);
        bool is_rest_zero = whole < log.record_count; /* then nothing is missing */
        for (size_t i = size; is_rest_zero && i < WAL_SEGMENT_HEADER_BYTES + log.lsns[whole + 1] - last_first_lsn; i++)
            is_rest_zero = log.bytes[1][i] == 0;
        assert_int_equal(read_small_log(&cut, &rc, &cut_bytes), whole + is_rest_zero);
        assert_int_equal(rc, AP_OK);
        memcpy(cut.bytes[1], log.bytes[1], log.size[1]);
    }
    cut = log;
    for (size_t size = 0; size < log.size[0]; size++) {
        cut.size[0] = size;
        assert_int_equal(read_small_log(&cut, &rc, &cut_bytes), 0);
        assert_int_equal(rc, AP_E_CORRUPT); /* a sealed segment is whole */
    }
}

static void test_flip_every_byte(void **state)
{
    (void)state;
    struct small_log log;
    make_small_log(&log);
    uint64_t last_first_lsn = strtoull(log.name[1], NULL, 16);
    uint64_t last_group_lsn = log.lsns[log.record_count - 4];
    for (int file = 0; file < 2; file++)
        for (size_t at = 0; at < log.size[file]; at++)
            for (int bit = 0; bit < 8; bit += 7) {
                struct small_log flipped = log;
                flipped.bytes[file][at] = (char)(flipped.bytes[file][at] ^ 1 << bit);
                enum ap_rc rc;
                uint64_t cut_bytes = 0;
                uint32_t count = read_small_log(&flipped, &rc, &cut_bytes);
                uint64_t lsn = (file == 1 ? last_first_lsn : 0) + at - WAL_SEGMENT_HEADER_BYTES;
                if (file == 1 && at >= WAL_SEGMENT_HEADER_BYTES && lsn >= last_group_lsn) {
                    /* Indistinguishable from a write that was under way: cut, and said so. */
                    assert_int_equal(rc, AP_OK);
                    assert_true(cut_bytes > 0);
                    assert_true(count < log.record_count && count >= log.record_count - 4);
                } else {
                    assert_int_equal(rc, AP_E_CORRUPT);
                }
            }
}

/* A power cut leaves any part of the last group: its later records without its earlier ones, too. */
static void test_hole_in_the_last_group_is_torn_not_damaged(void **state)
{
    (void)state;
    struct small_log log;
    make_small_log(&log);
    uint64_t last_first_lsn = strtoull(log.name[1], NULL, 16);
    for (uint32_t i = log.record_count - 6; i < log.record_count; i++) {
        struct small_log holed = log;
        if (log.lsns[i] < last_first_lsn)
            continue;
        memset(holed.bytes[1] + WAL_SEGMENT_HEADER_BYTES + log.lsns[i] - last_first_lsn, 0,
               log.lsns[i + 1] - log.lsns[i]);
        enum ap_rc rc;
        uint64_t cut_bytes;
        uint32_t count = read_small_log(&holed, &rc, &cut_bytes);
        if (i >= log.record_count - 4) {
            assert_int_equal(rc, AP_OK);
            assert_int_equal(count, i);
        } else {
            assert_int_equal(rc, AP_E_CORRUPT);
        }
    }
}

/* Behind the cut stand whole records of the torn group; a new record that fills the hole exactly must not revive them.
 */
static void test_what_was_cut_does_not_come_back(void **state)
{
    struct disk *disk = *state;
    struct small_log log;
    make_small_log(&log);
    uint32_t hole = log.record_count - 4;
    size_t at = WAL_SEGMENT_HEADER_BYTES + (size_t)(log.lsns[hole] - strtoull(log.name[1], NULL, 16));
    memset(log.bytes[1] + at, 0, log.lsns[hole + 1] - log.lsns[hole]);
    for (int i = 0; i < 2; i++)
        disk_put(disk, log.name[i], log.bytes[i], log.size[i]);
    struct wal_options options = fixture_options(&disk->fs);
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    uint32_t same_length = hole + FIXTURE_PAYLOAD_BYTES_MAX - 4 + 1; /* see fixture_payload() */
    uint64_t lsn;
    assert_int_equal(fixture_append(wal, same_length, &lsn), AP_OK);
    assert_int_equal(lsn, log.lsns[hole]);
    assert_int_equal(fixture_stats(wal).durable_lsn, log.lsns[hole + 1]);
    wal_close(wal);
    wal = fixture_open(FIXTURE_DIR_FD, &options);
    assert_int_equal(fixture_stats(wal).durable_lsn, log.lsns[hole + 1]);
    assert_int_equal(read_all(wal, lsn, same_length), 1);
    wal_close(wal);
}

static void test_damage_is_named(void **state)
{
    struct disk *disk = *state;
    struct small_log log;
    make_small_log(&log);
    struct wal_options options = fixture_options(&disk->fs);
    struct wal *wal;
    uint64_t cut_bytes;
    struct ap_err err;
    /* A missing segment in the middle. */
    disk_put(disk, log.name[0], log.bytes[0], log.size[0]);
    struct wal_segment_header header = {.first_lsn = 0x10000, .salt = 1};
    uint8_t header_bytes[WAL_SEGMENT_HEADER_BYTES];
    wal_segment_header_encode(&header, header_bytes);
    disk_put(disk, "0000000000010000.wal", header_bytes, sizeof(header_bytes));
    assert_int_equal(wal_open(FIXTURE_DIR_FD, &options, &wal, &cut_bytes, &err), AP_E_CORRUPT);
    assert_non_null(strstr(err.text, "0000000000000000.wal ends at offset"));
    /* A segment under another's name. */
    assert_int_equal(disk_unlink(disk, 0, "0000000000010000.wal"), 0);
    disk_put(disk, "00000000000000f0.wal", header_bytes, sizeof(header_bytes));
    assert_int_equal(wal_open(FIXTURE_DIR_FD, &options, &wal, &cut_bytes, &err), AP_E_CORRUPT);
    assert_non_null(strstr(err.text, "00000000000000f0.wal"));
    assert_int_equal(disk_unlink(disk, 0, "00000000000000f0.wal"), 0);
    /* Damage in a sealed segment is found when a reader comes there: file and offset. What is before it is delivered.
     */
    log.bytes[0][WAL_SEGMENT_HEADER_BYTES + log.lsns[2] + 30] ^= 1;
    disk_put(disk, log.name[0], log.bytes[0], log.size[0]);
    disk_put(disk, log.name[1], log.bytes[1], log.size[1]);
    wal = fixture_open(FIXTURE_DIR_FD, &options);
    struct wal_cursor *cursor = fixture_cursor(wal, "test", 0);
    struct wal_record record;
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), AP_OK);
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), AP_OK);
    char want[128];
    snprintf(want, sizeof(want), "log segment 0000000000000000.wal is damaged at offset %u: ",
             (unsigned)(WAL_SEGMENT_HEADER_BYTES + log.lsns[2]));
    for (int i = 0; i < 2; i++) { /* the second time, too */
        assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), AP_E_CORRUPT);
        assert_non_null(strstr(err.text, want));
    }
    wal_cursor_close(cursor);
    wal_close(wal);
}

/* A client may send anything, also bytes that look like records: they are not found behind a torn record. */
static void test_payload_that_looks_like_a_record(void **state)
{
    struct disk *disk = *state;
    struct wal_options options = fixture_options(&disk->fs);
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    uint8_t payload[48] = {0};
    struct wal_record_header header = {.group_lsn = 48, .payload_bytes = 0, .type = 1};
    wal_record_header_encode(&header, 0, 48, payload + 24); /* right but for the salt, which nobody outside knows */
    struct ap_err err;
    assert_int_equal(wal_append_sync(wal, 1, ap_slice(payload, sizeof(payload)), NULL, &err), AP_OK);
    wal_close(wal);
    struct disk_image *image = &disk->files[disk_find(disk, "0000000000000000.wal")->seen_file].seen;
    image->data[WAL_SEGMENT_HEADER_BYTES] ^= 1;
    uint64_t cut_bytes;
    assert_int_equal(wal_open(FIXTURE_DIR_FD, &options, &wal, &cut_bytes, &err), AP_OK);
    assert_true(cut_bytes > 48);
    wal_close(wal);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_crc32c),
        TEST(test_round_trip_and_reopen),
        TEST(test_long_records_of_many_slices),
        TEST(test_options_that_cannot_work),
        TEST(test_many_threads_submit),
        TEST(test_waiting_tickets_become_one_group),
        TEST(test_who_can_wait_is_written_with_others),
        TEST(test_patience_ends),
        TEST(test_no_patience_in_a_full_queue),
        TEST(test_queue_is_bounded),
        TEST(test_size_limit_until_a_cursor_moves),
        TEST(test_cursor_waits),
        TEST(test_released_segments_are_removed),
        TEST(test_release_at_every_lsn),
        TEST(test_release_over_a_restart),
        TEST(test_release_beyond_the_end_is_a_bug),
        TEST(test_chained_on_a_healthy_disk),
        TEST(test_cut_at_every_byte),
        TEST(test_flip_every_byte),
        TEST(test_hole_in_the_last_group_is_torn_not_damaged),
        TEST(test_what_was_cut_does_not_come_back),
        TEST(test_damage_is_named),
        TEST(test_payload_that_looks_like_a_record),
    };
    return cmocka_run_group_tests_name("wal", tests, NULL, NULL);
}
