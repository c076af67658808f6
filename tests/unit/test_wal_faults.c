/*
 * wal/ on a disk that fails: nothing acknowledged is ever missing, nothing refused ever comes back, and the log goes on
 * as soon as the disk does.
 *
 * APIARY_WAL_ROUNDS and APIARY_WAL_KILLS set how many random power cuts and kill -9 are tried; APIARY_WAL_SEED where
 * the random ones begin.
 */
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test_wal_fixture.h"

static unsigned long number_from_env(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);
    return text ? strtoul(text, NULL, 10) : otherwise;
}

enum fate { FATE_NOT_SUBMITTED, FATE_UNKNOWN, FATE_ACKNOWLEDGED, FATE_REFUSED };

/* What the outside world knows about the log: one entry a record number. */
struct witness {
    enum fate fates[FIXTURE_RECORDS_MAX];
    uint64_t lsns[FIXTURE_RECORDS_MAX];
    uint32_t next_number;
    uint64_t consumed_lsn; /* the store has taken all below, durably */
    bool has_consumed[FIXTURE_RECORDS_MAX];
    bool may_resurface; /* a refused record may be there: the machine died before the log could take it back */
};

static void witness_result(struct witness *witness, uint32_t number, enum ap_rc rc, uint64_t lsn)
{
    witness->fates[number] = rc == AP_OK ? FATE_ACKNOWLEDGED : FATE_REFUSED;
    witness->lsns[number] = lsn;
}

static void write_some(struct witness *witness, struct wal *wal, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct fixture_ticket tickets[5];
        unsigned group_count = i % 3 == 0 ? 5 : 1;
        AP_ASSERT(witness->next_number + group_count <= FIXTURE_RECORDS_MAX);
        fixture_append_group(wal, witness->next_number, group_count, tickets);
        for (unsigned k = 0; k < group_count; k++)
            witness_result(witness, witness->next_number++, tickets[k].rc, tickets[k].lsn);
    }
}

/* Reads up to `count` records as a store does, and releases them when `releases`. */
static void read_some(struct witness *witness, struct wal *wal, struct wal_cursor *cursor, unsigned count,
                      bool releases)
{
    (void)wal;
    struct wal_record record;
    struct ap_err err = {0};
    for (unsigned i = 0; i < count; i++) {
        enum ap_rc rc = wal_cursor_next(cursor, 0, &record, &err);
        if (rc != AP_OK) { /* the disk fails, or the end */
            if (rc != AP_E_IO && rc != AP_E_TIMEOUT && rc != AP_E_FULL)
                fail_msg("%s: %s", ap_rc_name(rc), err.text);
            return;
        }
        uint32_t number = fixture_number(&record);
        assert_true(number < witness->next_number);
        assert_false(witness->has_consumed[number]); /* never twice */
        if (witness->fates[number] == FATE_REFUSED && !witness->may_resurface)
            fail_msg("record %u was refused and is at %llu", number, (unsigned long long)record.lsn);
        if (witness->fates[number] == FATE_ACKNOWLEDGED)
            assert_int_equal(record.lsn, witness->lsns[number]);
        if (releases) {
            witness->has_consumed[number] = true;
            witness->consumed_lsn = record.next_lsn;
            wal_cursor_release(cursor, record.next_lsn);
        }
    }
}

/* On a healthy disk: all that was acknowledged and not consumed is there, at its place, once, in order. */
static void check_nothing_is_missing(const struct witness *witness, struct wal *wal)
{
    struct wal_cursor *cursor = fixture_cursor(wal, "check", witness->consumed_lsn);
    static bool is_there[FIXTURE_RECORDS_MAX];
    memset(is_there, 0, sizeof(is_there));
    struct wal_record record;
    struct ap_err err = {0};
    enum ap_rc rc;
    uint64_t lsn = witness->consumed_lsn;
    while ((rc = wal_cursor_next(cursor, 0, &record, &err)) == AP_OK) {
        assert_int_equal(record.lsn, lsn);
        lsn = record.next_lsn;
        uint32_t number = fixture_number(&record);
        assert_true(number < witness->next_number);
        assert_false(is_there[number] || witness->has_consumed[number]);
        is_there[number] = true;
        if (witness->fates[number] == FATE_REFUSED && !witness->may_resurface)
            fail_msg("record %u was refused and came back at %llu", number, (unsigned long long)record.lsn);
        if (witness->fates[number] == FATE_ACKNOWLEDGED)
            assert_int_equal(record.lsn, witness->lsns[number]);
    }
    if (rc != AP_E_TIMEOUT)
        fail_msg("%s: %s", ap_rc_name(rc), err.text);
    for (uint32_t i = 0; i < witness->next_number; i++)
        if (witness->fates[i] == FATE_ACKNOWLEDGED && !is_there[i] && !witness->has_consumed[i])
            fail_msg("record %u was acknowledged at %llu and is missing", i, (unsigned long long)witness->lsns[i]);
    wal_cursor_close(cursor);
}

/* Opens, writes, reads, writes, closes; any of it may fail. */
static void live(struct witness *witness, const struct wal_options *options, unsigned count)
{
    struct wal *wal;
    struct ap_err err = {0};
    uint64_t cut_bytes;
    enum ap_rc rc = wal_open(FIXTURE_DIR_FD, options, &wal, &cut_bytes, &err);
    if (rc != AP_OK) {
        assert_true(rc == AP_E_IO || rc == AP_E_FULL);
        return;
    }
    struct wal_cursor *cursor = fixture_cursor(wal, "store", witness->consumed_lsn);
    write_some(witness, wal, count);
    read_some(witness, wal, cursor, count, true);
    write_some(witness, wal, count);
    read_some(witness, wal, cursor, 1000, false);
    wal_cursor_close(cursor);
    wal_close(wal);
}

static void recover_and_check(struct witness *witness, struct disk *disk, const struct wal_options *options)
{
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, options);
    check_nothing_is_missing(witness, wal);
    /* And it works again. */
    uint32_t number = witness->next_number;
    write_some(witness, wal, 4);
    for (; number < witness->next_number; number++)
        assert_int_equal(witness->fates[number], FATE_ACKNOWLEDGED);
    check_nothing_is_missing(witness, wal);
    wal_close(wal);
    (void)disk;
}

static const struct {
    enum disk_fault fault;
    bool is_sticky;
    const char *name;
} faults[] = {
    {DISK_FAULT_EIO, false, "one error"},
    {DISK_FAULT_ENOSPC, false, "one \"disk full\""},
    {DISK_FAULT_SHORT, false, "one short write"},
    {DISK_FAULT_EIO, true, "errors from there on"},
    {DISK_FAULT_ENOSPC, true, "full from there on"},
    {DISK_FAULT_POWER_CUT, true, "power cut"},
};

static void test_each_io_failing(void **state)
{
    (void)state;
    struct witness *witness = ap_new0(struct witness);
    for (size_t kind = 0; kind < AP_ARRAY_COUNT(faults); kind++) {
        unsigned long nth = 0;
        for (bool has_fired = true; has_fired; nth++) {
            *witness = (struct witness){.may_resurface = faults[kind].is_sticky};
            struct disk *disk = disk_new(nth);
            struct wal_options options = fixture_options(&disk->fs);
            live(witness, &options, 3); /* so that there is something to recover */
            disk_arm(disk, faults[kind].fault, nth, faults[kind].is_sticky);
            live(witness, &options, 8);
            has_fired = disk_heal(disk);
            recover_and_check(witness, disk, &options);
            disk_free(disk);
        }
        assert_true(nth > 40);
        print_message("%s at each of %lu operations\n", faults[kind].name, nth);
    }
    free(witness);
}

/* After any single failure the same log goes on, without being opened again. */
static void test_goes_on_after_each_failure(void **state)
{
    (void)state;
    struct witness *witness = ap_new0(struct witness);
    for (size_t kind = 0; kind < 3; kind++) {
        bool has_fired = true;
        for (unsigned long nth = 0; has_fired; nth++) {
            *witness = (struct witness){0};
            struct disk *disk = disk_new(nth);
            struct wal_options options = fixture_options(&disk->fs);
            struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
            write_some(witness, wal, 1);
            disk_arm(disk, faults[kind].fault, nth, false);
            write_some(witness, wal, 8);
            has_fired = disk->has_fired;
            disk->fault = DISK_FAULT_NONE;
            uint32_t number = witness->next_number;
            write_some(witness, wal, 3);
            for (; number < witness->next_number; number++)
                assert_int_equal(witness->fates[number], FATE_ACKNOWLEDGED);
            assert_false(fixture_stats(wal).is_failing);
            check_nothing_is_missing(witness, wal);
            wal_close(wal);
            /* The power goes right afterwards: pages that a failed sync lost would be missing now. */
            disk->is_dead = true;
            disk_heal(disk);
            recover_and_check(witness, disk, &options);
            disk_free(disk);
        }
    }
    free(witness);
}

static void test_random_power_cuts(void **state)
{
    (void)state;
    unsigned long rounds = number_from_env("APIARY_WAL_ROUNDS", 300);
    unsigned long first_seed = number_from_env("APIARY_WAL_SEED", 1);
    struct witness *witness = ap_new0(struct witness);
    for (unsigned long seed = first_seed; seed < first_seed + rounds; seed++) {
        *witness = (struct witness){.may_resurface = true};
        struct disk *disk = disk_new(seed);
        struct wal_options options = fixture_options(&disk->fs);
        struct ap_random random;
        ap_random_init(&random, seed);
        options.segment_bytes = 512 + ap_random_below(&random, 2000);
        disk->cannot_allocate = ap_random_below(&random, 4) == 0;
        print_message("%s", seed == first_seed ? "seeds from here on\n" : "");
        for (int life = 0; life < 10; life++) {
            unsigned long nth = ap_random_below(&random, 120);
            enum disk_fault fault = faults[ap_random_below(&random, AP_ARRAY_COUNT(faults))].fault;
            disk_arm(disk, fault, nth, fault == DISK_FAULT_POWER_CUT || ap_random_below(&random, 2));
            live(witness, &options, 1 + (unsigned)ap_random_below(&random, 12));
            if (ap_random_below(&random, 2))
                disk->is_dead = true; /* and then the power goes */
            disk_heal(disk);
            struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
            check_nothing_is_missing(witness, wal);
            wal_close(wal);
        }
        disk_free(disk);
    }
    free(witness);
}

static void test_full_disk_and_back(void **state)
{
    (void)state;
    for (int cannot_allocate = 0; cannot_allocate < 2; cannot_allocate++) {
        struct witness *witness = ap_new0(struct witness);
        struct disk *disk = disk_new(1);
        disk->cannot_allocate = cannot_allocate == 1;
        disk->space_bytes = 6000;
        struct wal_options options = fixture_options(&disk->fs);
        struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
        struct wal_cursor *cursor = fixture_cursor(wal, "store", 0);
        for (int round = 0; round < 5; round++) {
            do
                write_some(witness, wal, 1);
            while (witness->fates[witness->next_number - 1] == FATE_ACKNOWLEDGED);
            struct wal_stats stats = fixture_stats(wal);
            assert_true(stats.is_failing && stats.failed_full > 0 && stats.failed_io == 0);
            assert_non_null(strstr(stats.last_error, "No space left"));
            assert_int_equal(fixture_append(wal, witness->next_number, NULL), AP_E_FULL);
            if (round % 2 == 0) { /* the store moves on and frees segments */
                read_some(witness, wal, cursor, 1000, true);
            } else { /* somebody makes room */
                disk->space_bytes += 3000;
            }
            uint32_t number = witness->next_number;
            write_some(witness, wal, 1);
            for (; number < witness->next_number; number++)
                assert_int_equal(witness->fates[number], FATE_ACKNOWLEDGED);
            assert_false(fixture_stats(wal).is_failing);
            check_nothing_is_missing(witness, wal);
            wal_cursor_close(fixture_cursor(wal, "check", fixture_stats(wal).durable_lsn)); /* holds nothing back */
        }
        wal_cursor_close(cursor);
        wal_close(wal);
        /* A full disk does not keep the log from being opened and read. */
        disk->space_bytes = 1;
        wal = fixture_open(FIXTURE_DIR_FD, &options);
        check_nothing_is_missing(witness, wal);
        wal_close(wal);
        disk_free(disk);
        free(witness);
    }
}

static void test_failed_sync_begins_a_new_file(void **state)
{
    (void)state;
    struct disk *disk = disk_new(1);
    struct wal_options options = fixture_options(&disk->fs);
    options.segment_bytes = 64 * 1024;
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    uint64_t lsn, next_lsn;
    assert_int_equal(fixture_append(wal, 0, &lsn), AP_OK);
    next_lsn = fixture_stats(wal).durable_lsn;
    disk_arm(disk, DISK_FAULT_EIO, 1, false); /* the write succeeds, its sync does not */
    assert_int_equal(fixture_append(wal, 1, &lsn), AP_E_IO);
    assert_true(disk->has_fired);
    assert_int_equal(fixture_stats(wal).durable_lsn, next_lsn);
    assert_int_equal(fixture_append(wal, 2, &lsn), AP_OK);
    assert_int_equal(lsn, next_lsn); /* in the place of the one that failed, but in another file */
    struct wal_stats stats = fixture_stats(wal);
    assert_int_equal(stats.segment_count, 2);
    assert_int_equal(stats.failed_io, 1);
    assert_int_equal(stats.failed_records, 1);
    wal_close(wal);
    disk_free(disk);
}

/* ---- Chained records: each says how it differs from the one before ---- */

/* A segment that has the gate's record in it has room for QUEUED_GROUP of these, which are therefore one group. */
enum {
    QUEUED_BYTES = 104,
    QUEUED_GROUP = 7,
    QUEUED = 24,
    QUEUED_STALE = QUEUED,
    QUEUED_FRESH,
    QUEUED_PLAIN,
    QUEUED_ALL
};

struct queued {
    struct wal_ticket ticket;
    char bytes[QUEUED_BYTES];
    struct queue *queue;
    enum ap_rc rc;
    uint64_t lsn;
    uint64_t break_count; /* as done() saw it */
    unsigned done_count;
};

/* Tickets that wait together: the commit thread is held in the done() of `gate` meanwhile. */
struct queue {
    struct wal *wal;
    struct disk *disk;
    struct wal_ticket gate;
    sem_t is_held;
    sem_t may_go_on;
    sem_t is_done;
    bool fails_again; /* right after the first failure */
    bool has_failed;
    enum ap_rc stale_rc; /* wal_submit() in the first done() that told of a failure */
    enum ap_rc fresh_rc;
    struct queued tickets[QUEUED_ALL];
};

static void gate_done(struct wal_ticket *ticket, enum ap_rc rc, uint64_t lsn)
{
    struct queue *queue = AP_CONTAINER_OF(ticket, struct queue, gate);
    (void)rc;
    (void)lsn;
    sem_post(&queue->is_held);
    sem_wait(&queue->may_go_on);
}

static enum ap_rc submit_queued(struct queue *queue, unsigned index, bool is_chained, uint64_t break_count)
{
    struct queued *queued = &queue->tickets[index];
    snprintf(queued->bytes, sizeof(queued->bytes), "%u", index);
    queued->queue = queue;
    queued->ticket.slices[0] = ap_slice(queued->bytes, sizeof(queued->bytes));
    queued->ticket.slice_count = 1;
    queued->ticket.type = 1;
    queued->ticket.is_chained = is_chained;
    queued->ticket.break_count = break_count;
    struct ap_err err;
    return wal_submit(queue->wal, &queued->ticket, &err);
}

static void queued_done(struct wal_ticket *ticket, enum ap_rc rc, uint64_t lsn)
{
    struct queued *queued = AP_CONTAINER_OF(ticket, struct queued, ticket);
    struct queue *queue = queued->queue;
    queued->rc = rc;
    queued->lsn = lsn;
    queued->break_count = wal_break_count(queue->wal);
    queued->done_count++;
    if (rc != AP_OK && !queue->has_failed) {
        queue->has_failed = true;
        queue->stale_rc = submit_queued(queue, QUEUED_STALE, true, 0);
        queue->fresh_rc = submit_queued(queue, QUEUED_FRESH, true, queued->break_count);
        if (queue->fails_again)
            disk_arm(queue->disk, DISK_FAULT_EIO, 0, false);
    }
    sem_post(&queue->is_done);
}

static bool is_queued_chained(unsigned index)
{
    return index % 3 != 1;
}

/* The log holds exactly the tickets that succeeded, in order, and ends at wal_durable_lsn(). */
static void check_queued(const struct queue *queue, struct wal *wal)
{
    struct wal_cursor *cursor = fixture_cursor(wal, "check", 0);
    struct wal_record record;
    struct ap_err err;
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), AP_OK);
    assert_int_equal(record.payload.bytes, 0); /* the gate */
    for (unsigned i = 0; i < QUEUED_ALL; i++) {
        const struct queued *queued = &queue->tickets[i];
        if (queued->rc != AP_OK)
            continue;
        assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), AP_OK);
        assert_int_equal(strtoul(record.payload.data, NULL, 10), i);
        assert_int_equal(record.lsn, queued->lsn);
    }
    assert_int_equal(wal_cursor_next(cursor, 0, &record, &err), AP_E_TIMEOUT);
    assert_int_equal(record.next_lsn, wal_durable_lsn(wal));
    wal_cursor_close(cursor);
}

struct break_case {
    const char *name;
    enum disk_fault fault;
    unsigned long nth;
    unsigned failed_first; /* the group that the disk refuses */
    unsigned failed_end;
    enum ap_rc rc; /* of that group and of the chained ones behind it */
    bool fails_again;
};

static const struct break_case break_cases[] = {
    {"none", DISK_FAULT_NONE, 0, QUEUED, QUEUED, AP_OK, false},
    {"a short write, which is continued", DISK_FAULT_SHORT, 0, QUEUED, QUEUED, AP_OK, false},
    {"write", DISK_FAULT_EIO, 0, 0, QUEUED_GROUP, AP_E_IO, false},
    {"write, full", DISK_FAULT_ENOSPC, 0, 0, QUEUED_GROUP, AP_E_FULL, false},
    {"sync", DISK_FAULT_EIO, 1, 0, QUEUED_GROUP, AP_E_IO, false},
    {"sync, full", DISK_FAULT_ENOSPC, 1, 0, QUEUED_GROUP, AP_E_FULL, false},
    /* The first group's write and sync, the truncation of its segment; without a new one all that wait fail. */
    {"new segment", DISK_FAULT_EIO, 3, QUEUED_GROUP, QUEUED, AP_E_IO, false},
    {"new segment, full", DISK_FAULT_ENOSPC, 3, QUEUED_GROUP, QUEUED, AP_E_FULL, false},
    {"write, full, and then the new segment", DISK_FAULT_ENOSPC, 0, 0, QUEUED_GROUP, AP_E_FULL, true},
};

static enum ap_rc expected_rc(const struct break_case *c, unsigned index)
{
    if (index < c->failed_first)
        return AP_OK;
    if (index < c->failed_end)
        return c->rc;
    if (c->fails_again)
        return AP_E_IO;
    return is_queued_chained(index) ? c->rc : AP_OK;
}

static void check_break(const struct break_case *c, unsigned long seed)
{
    struct disk *disk = disk_new(seed);
    struct wal_options options = fixture_options(&disk->fs);
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    struct queue *queue = ap_new0(struct queue);
    *queue =
        (struct queue){.wal = wal, .disk = disk, .gate = {.type = 1, .done = gate_done}, .fails_again = c->fails_again};
    sem_init(&queue->is_held, 0, 0);
    sem_init(&queue->may_go_on, 0, 0);
    sem_init(&queue->is_done, 0, 0);
    for (unsigned i = 0; i < QUEUED_ALL; i++) {
        queue->tickets[i].rc = AP_E_INTERNAL;
        queue->tickets[i].ticket.done = queued_done;
    }
    struct ap_err err;
    assert_int_equal(wal_submit(wal, &queue->gate, &err), AP_OK);
    sem_wait(&queue->is_held);
    for (unsigned i = 0; i < QUEUED; i++)
        assert_int_equal(submit_queued(queue, i, is_queued_chained(i), 0), AP_OK);
    disk_arm(disk, c->fault, c->nth, false);
    sem_post(&queue->may_go_on);
    bool is_breaking = c->rc != AP_OK;
    for (unsigned i = 0; i < QUEUED + (is_breaking ? 1u : 0u); i++)
        sem_wait(&queue->is_done);
    assert_int_equal(disk->has_fired, c->fault != DISK_FAULT_NONE);

    uint64_t break_count = is_breaking ? 1 + c->fails_again : 0;
    unsigned failed_count = 0;
    for (unsigned i = 0; i < QUEUED; i++) {
        const struct queued *queued = &queue->tickets[i];
        assert_int_equal(queued->done_count, 1);
        if (queued->rc != expected_rc(c, i))
            fail_msg("ticket %u: %s", i, ap_rc_name(queued->rc));
        failed_count += queued->rc != AP_OK;
        if (queued->rc != AP_OK)
            assert_int_equal(queued->lsn, 0);
        /* Whoever is told of a failure sees that the chain is broken, and before it nobody does. */
        assert_int_equal(queued->break_count, i < c->failed_first ? 0 : i < c->failed_end ? 1 : break_count);
    }
    assert_int_equal(wal_break_count(wal), break_count);
    const struct queued *fresh = &queue->tickets[QUEUED_FRESH];
    if (is_breaking) {
        assert_int_equal(queue->stale_rc, AP_E_CONFLICT);
        assert_int_equal(queue->fresh_rc, AP_OK);
        assert_int_equal(fresh->rc, c->fails_again ? AP_E_IO : AP_OK);
        failed_count += c->fails_again;
        /* Still so, however long ago the break was. */
        for (uint64_t stale = 0; stale < break_count; stale++)
            assert_int_equal(submit_queued(queue, QUEUED_STALE, true, stale), AP_E_CONFLICT);
    }
    if (fresh->rc != AP_OK) { /* made anew once more */
        assert_int_equal(submit_queued(queue, QUEUED_FRESH, true, break_count), AP_OK);
        sem_wait(&queue->is_done);
        assert_int_equal(fresh->rc, AP_OK);
    }
    assert_int_equal(submit_queued(queue, QUEUED_PLAIN, false, 0), AP_OK); /* the count means nothing to it */
    sem_wait(&queue->is_done);
    assert_int_equal(queue->tickets[QUEUED_PLAIN].rc, AP_OK);
    assert_int_equal(queue->tickets[QUEUED_STALE].done_count, 0);
    assert_int_equal(wal_break_count(wal), break_count); /* refusing is not breaking */

    struct wal_stats stats = fixture_stats(wal);
    assert_int_equal(stats.failed_io + stats.failed_full, break_count);
    assert_int_equal(stats.failed_full, c->rc == AP_E_FULL);
    assert_int_equal(stats.failed_records, failed_count);
    assert_int_equal(stats.queued_bytes, 0);
    assert_false(stats.is_failing);

    check_queued(queue, wal);
    uint64_t durable_lsn = wal_durable_lsn(wal);
    wal_close(wal);
    disk->is_dead = true; /* and after a power cut */
    disk_heal(disk);
    wal = fixture_open(FIXTURE_DIR_FD, &options);
    assert_int_equal(wal_durable_lsn(wal), durable_lsn);
    assert_int_equal(wal_break_count(wal), 0);
    check_queued(queue, wal);
    wal_close(wal);
    sem_destroy(&queue->is_held);
    sem_destroy(&queue->may_go_on);
    sem_destroy(&queue->is_done);
    free(queue);
    disk_free(disk);
}

/* What waits behind a group that fails: the chained fail with it and are never in the log, the others go on. */
static void test_chained_behind_a_failed_group(void **state)
{
    (void)state;
    for (size_t i = 0; i < AP_ARRAY_COUNT(break_cases); i++)
        for (unsigned long seed = 1; seed <= 8; seed++)
            check_break(&break_cases[i], seed);
}

enum { CHAINS = 3, CHAIN_THREADS = 2, LINKS = 400, LINK_TYPE = 1, LINK_END_TYPE = 2 };

struct link {
    struct wal_ticket ticket;
    struct link_payload {
        uint32_t chain;
        uint32_t number;
        uint32_t epoch;
        uint32_t is_first; /* `value` is the value itself; otherwise what is added to that of the record before */
        int64_t value;
    } payload;
    int64_t whole;
    enum ap_rc rc;
    struct chains *chains;
};

/* A counter that several threads move on. */
struct chain {
    struct chains *chains;
    uint32_t number;
    /* Any thread, under mtx, which is held until the record is submitted: the log has them in the order of the values.
     */
    pthread_mutex_t mtx;
    struct ap_random random;
    uint64_t break_count; /* when the epoch began */
    uint32_t epoch;
    bool is_first; /* no record of the epoch has been submitted */
    int64_t last;
    uint32_t link_count;
    struct link links[LINKS];
};

struct chains {
    struct wal *wal;
    struct disk *disk;
    struct ap_random random; /* of the commit thread */
    _Atomic unsigned pending;
    _Atomic unsigned conflicts;
    struct chain chains[CHAINS];
};

/* On the commit thread, which is the one that uses the disk: now and then an operation to come will fail. */
static void link_done(struct wal_ticket *ticket, enum ap_rc rc, uint64_t lsn)
{
    (void)lsn;
    struct link *link = AP_CONTAINER_OF(ticket, struct link, ticket);
    struct chains *chains = link->chains;
    link->rc = rc;
    if (ap_random_below(&chains->random, 10) == 0)
        disk_arm(chains->disk, ap_random_below(&chains->random, 2) ? DISK_FAULT_EIO : DISK_FAULT_ENOSPC,
                 ap_random_below(&chains->random, 6), false);
    atomic_fetch_sub(&chains->pending, 1);
}

static void append_link_locked(struct chain *chain)
{
    struct chains *chains = chain->chains;
    uint32_t number = chain->link_count++;
    struct link *link = &chain->links[number];
    int64_t whole = (int64_t)ap_random_below(&chain->random, 1000000);
    enum ap_rc rc;
    do {
        uint64_t break_count = wal_break_count(chains->wal);
        if (break_count != chain->break_count) {
            chain->break_count = break_count;
            chain->is_first = true;
            chain->epoch++;
        }
        *link = (struct link){
            .payload = {chain->number, number, chain->epoch, chain->is_first,
                        chain->is_first ? whole : whole - chain->last},
            .whole = whole,
            .chains = chains,
            .rc = AP_E_INTERNAL,
        };
        link->ticket = (struct wal_ticket){
            .slices = {ap_slice((const char *)&link->payload, sizeof(link->payload))},
            .slice_count = 1,
            .type = LINK_TYPE,
            .is_chained = true,
            .break_count = break_count,
            .done = link_done,
        };
        if (ap_random_below(&chain->random, 8) == 0)
            usleep(100); /* while others break the chain */
        struct ap_err err;
        atomic_fetch_add(&chains->pending, 1);
        rc = wal_submit(chains->wal, &link->ticket, &err);
        if (rc != AP_OK)
            atomic_fetch_sub(&chains->pending, 1);
        if (rc == AP_E_CONFLICT)
            atomic_fetch_add(&chains->conflicts, 1);
    } while (rc != AP_OK);
    chain->is_first = false;
    chain->last = whole;
}

static void *append_links(void *context)
{
    struct chain *chain = context;
    bool is_full = false;
    while (!is_full) {
        pthread_mutex_lock(&chain->mtx);
        is_full = chain->link_count == LINKS;
        if (!is_full)
            append_link_locked(chain);
        pthread_mutex_unlock(&chain->mtx);
    }
    return NULL;
}

/* Adds up the differences: each record gives the value that was meant, and those acknowledged are there, no others. */
static void check_links(const struct chains *chains, struct wal *wal)
{
    static bool is_there[CHAINS][LINKS];
    memset(is_there, 0, sizeof(is_there));
    int64_t values[CHAINS] = {0};
    uint32_t epochs[CHAINS] = {0};
    struct wal_cursor *cursor = fixture_cursor(wal, "check", 0);
    struct wal_record record;
    struct ap_err err;
    enum ap_rc rc;
    while ((rc = wal_cursor_next(cursor, 0, &record, &err)) == AP_OK) {
        if (record.type == LINK_END_TYPE)
            continue;
        struct link_payload payload;
        assert_int_equal(record.payload.bytes, sizeof(payload));
        memcpy(&payload, record.payload.data, sizeof(payload));
        uint32_t chain = payload.chain;
        if (!payload.is_first && epochs[chain] != payload.epoch)
            fail_msg("record %u of chain %u builds on one that is not there", payload.number, chain);
        values[chain] = payload.is_first ? payload.value : values[chain] + payload.value;
        epochs[chain] = payload.epoch;
        assert_int_equal(values[chain], chains->chains[chain].links[payload.number].whole);
        assert_false(is_there[chain][payload.number]);
        is_there[chain][payload.number] = true;
    }
    assert_int_equal(rc, AP_E_TIMEOUT);
    assert_int_equal(wal_durable_lsn(wal), record.next_lsn);
    wal_cursor_close(cursor);
    for (uint32_t i = 0; i < CHAINS; i++)
        for (uint32_t j = 0; j < LINKS; j++)
            assert_int_equal(is_there[i][j], chains->chains[i].links[j].rc == AP_OK);
}

/* Whatever failed on the way: what is in the log adds up to what was meant, and all that was acknowledged is in it. */
static void test_chained_records_add_up(void **state)
{
    (void)state;
    unsigned refused = 0;
    unsigned conflicts = 0;
    for (unsigned long seed = 1; seed <= 10; seed++) {
        struct disk *disk = disk_new(seed);
        struct wal_options options = fixture_options(&disk->fs);
        options.segment_bytes = 8192;
        struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
        struct chains *chains = ap_new0(struct chains);
        chains->wal = wal;
        chains->disk = disk;
        ap_random_init(&chains->random, seed);
        pthread_t threads[CHAINS * CHAIN_THREADS];
        for (uint32_t i = 0; i < CHAINS; i++) {
            struct chain *chain = &chains->chains[i];
            chain->chains = chains;
            chain->number = i;
            chain->break_count = UINT64_MAX;
            pthread_mutex_init(&chain->mtx, NULL);
            ap_random_init(&chain->random, seed * CHAINS + i);
        }
        for (uint32_t i = 0; i < AP_ARRAY_COUNT(threads); i++)
            assert_int_equal(pthread_create(&threads[i], NULL, append_links, &chains->chains[i % CHAINS]), 0);
        for (uint32_t i = 0; i < AP_ARRAY_COUNT(threads); i++)
            pthread_join(threads[i], NULL);
        while (atomic_load(&chains->pending) > 0)
            sched_yield();
        conflicts += atomic_load(&chains->conflicts);
        disk->fault = DISK_FAULT_NONE;

        check_links(chains, wal);
        for (uint32_t i = 0; i < CHAINS; i++)
            for (uint32_t j = 0; j < LINKS; j++)
                refused += chains->chains[i].links[j].rc != AP_OK;
        struct wal_stats stats = fixture_stats(wal);
        assert_int_equal(wal_break_count(wal), stats.failed_io + stats.failed_full);
        /* The same after a power cut. At the end is a group that succeeded: one that failed might come back there. */
        assert_int_equal(fixture_append(wal, LINK_END_TYPE - 1, NULL), AP_OK);
        wal_close(wal);
        disk->is_dead = true;
        disk_heal(disk);
        wal = fixture_open(FIXTURE_DIR_FD, &options);
        check_links(chains, wal);
        wal_close(wal);
        for (uint32_t i = 0; i < CHAINS; i++)
            pthread_mutex_destroy(&chains->chains[i].mtx);
        disk_free(disk);
        free(chains);
    }
    print_message("%u links were refused when they were written, %u when they were submitted\n", refused, conflicts);
    assert_true(refused > 0 && conflicts > 0); /* the test tries what it is there for */
}

enum { LSN_WRITERS = 3, LSN_RECORDS = 250 };

struct lsn_writer {
    struct wal *wal;
    uint32_t first_number;
    _Atomic unsigned *running_count;
    const char *mistake;
};

static void *append_and_look(void *context)
{
    struct lsn_writer *writer = context;
    for (uint32_t i = 0; i < LSN_RECORDS && !writer->mistake; i++) {
        uint64_t before_lsn = wal_durable_lsn(writer->wal);
        uint64_t lsn;
        if (fixture_append(writer->wal, writer->first_number + i, &lsn) != AP_OK)
            continue;
        if (lsn < before_lsn)
            writer->mistake = "a record came below what was durable before";
        if (wal_durable_lsn(writer->wal) <= lsn)
            writer->mistake = "a record was acknowledged that is not durable";
    }
    atomic_fetch_sub(writer->running_count, 1);
    return NULL;
}

struct lsn_faults {
    struct disk *disk;
    struct ap_random random;
};

/* On the commit thread, after each group. */
static void arm_at_random(void *context)
{
    struct lsn_faults *faults_to_come = context;
    if (ap_random_below(&faults_to_come->random, 8) == 0)
        disk_arm(faults_to_come->disk, DISK_FAULT_EIO, ap_random_below(&faults_to_come->random, 6), false);
}

/*
 * While groups succeed and fail: wal_durable_lsn() only grows, a reader gets exactly the records below it, and a store
 * that releases up to it loses none of what another has yet to read.
 */
static void test_durable_lsn_is_where_readers_get_to(void **state)
{
    (void)state;
    struct disk *disk = disk_new(1);
    struct lsn_faults faults_to_come = {.disk = disk};
    ap_random_init(&faults_to_come.random, 1);
    struct wal_options options = fixture_options(&disk->fs);
    options.segment_bytes = 4096;
    options.group_done = arm_at_random;
    options.group_context = &faults_to_come;
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    assert_int_equal(wal_durable_lsn(wal), 0);
    struct wal_cursor *reader = fixture_cursor(wal, "reader", 0);
    struct wal_cursor *holder = fixture_cursor(wal, "holder", 0);
    _Atomic unsigned running_count = LSN_WRITERS;
    struct lsn_writer writers[LSN_WRITERS];
    pthread_t threads[LSN_WRITERS];
    for (uint32_t i = 0; i < LSN_WRITERS; i++) {
        writers[i] = (struct lsn_writer){.wal = wal, .first_number = i * LSN_RECORDS, .running_count = &running_count};
        assert_int_equal(pthread_create(&threads[i], NULL, append_and_look, &writers[i]), 0);
    }
    uint64_t durable_lsn = 0;
    uint64_t lsn = 0;
    uint64_t record_count = 0;
    struct wal_record record;
    struct ap_err err;
    bool is_last;
    do {
        is_last = atomic_load(&running_count) == 0;
        uint64_t before_lsn = durable_lsn;
        durable_lsn = wal_durable_lsn(wal);
        assert_true(durable_lsn >= before_lsn);
        wal_cursor_release(holder, durable_lsn);
        while (lsn < durable_lsn) {
            enum ap_rc rc = wal_cursor_next(reader, 0, &record, &err);
            if (rc == AP_E_IO) /* the fault hit this thread */
                continue;
            if (rc != AP_OK)
                fail_msg("%s: %s", ap_rc_name(rc), err.text);
            assert_int_equal(record.lsn, lsn);
            (void)fixture_number(&record);
            lsn = record.next_lsn;
            record_count++;
            assert_true(lsn <= wal_durable_lsn(wal));
        }
        assert_int_equal(lsn, durable_lsn); /* it lies between two records */
        wal_cursor_release(reader, lsn);
    } while (!is_last);
    for (uint32_t i = 0; i < LSN_WRITERS; i++) {
        pthread_join(threads[i], NULL);
        if (writers[i].mistake)
            fail_msg("%s", writers[i].mistake);
    }
    disk->fault = DISK_FAULT_NONE;
    assert_int_equal(wal_cursor_next(reader, 0, &record, &err), AP_E_TIMEOUT);
    struct wal_stats stats = fixture_stats(wal);
    assert_int_equal(stats.durable_lsn, wal_durable_lsn(wal));
    assert_int_equal(stats.appended_records, record_count);
    assert_int_equal(stats.appended_records + stats.failed_records, LSN_WRITERS * LSN_RECORDS);
    assert_true(stats.failed_io > 0);
    wal_cursor_release(reader, wal_durable_lsn(wal));
    assert_int_equal(fixture_stats(wal).segment_count, 1);
    wal_cursor_close(reader);
    wal_cursor_close(holder);
    wal_close(wal);
    disk_free(disk);
}

/* A store that did not read the records, because it made them, lets go of them up to any place that is durable. */
static void test_released_without_reading(void **state)
{
    (void)state;
    struct disk *disk = disk_new(1);
    struct wal_options options = fixture_options(&disk->fs);
    struct wal *wal = fixture_open(FIXTURE_DIR_FD, &options);
    struct wal_cursor *cursor = fixture_cursor(wal, "store", 0);
    uint64_t middle_lsn = 0;
    for (uint32_t i = 0; i < 60; i++) {
        uint64_t lsn;
        uint64_t before_lsn = wal_durable_lsn(wal);
        assert_int_equal(fixture_append(wal, i, &lsn), AP_OK);
        assert_int_equal(lsn, before_lsn);
        assert_true(wal_durable_lsn(wal) > lsn);
        if (i == 30)
            middle_lsn = lsn;
    }
    uint64_t segments = fixture_stats(wal).segment_count;
    wal_cursor_release(cursor, middle_lsn);
    struct wal_stats stats = fixture_stats(wal);
    assert_true(stats.segment_count < segments && stats.segment_count > 1);
    assert_true(stats.oldest_lsn <= middle_lsn);
    struct wal_cursor *again = fixture_cursor(wal, "reader", middle_lsn);
    struct wal_record record;
    struct ap_err err;
    assert_int_equal(wal_cursor_next(again, 0, &record, &err), AP_OK);
    assert_int_equal(fixture_number(&record), 30);
    wal_cursor_release(again, wal_durable_lsn(wal));
    wal_cursor_release(cursor, wal_durable_lsn(wal));
    assert_int_equal(fixture_stats(wal).segment_count, 1);
    wal_cursor_close(again);
    wal_cursor_close(cursor);
    wal_close(wal);
    disk_free(disk);
}

/* A directory on the real file system. */
static char *make_real_dir(int *ret_dir_fd)
{
    char *path = ap_asprintf("%s/apiary-test-wal-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(path));
    struct ap_err err;
    assert_int_equal(os_dir_open(path, ret_dir_fd, &err), AP_OK);
    return path;
}

static bool remove_entry(void *context, const char *name)
{
    (void)unlinkat(*(int *)context, name, 0);
    return true;
}

static void remove_real_dir(char *take_path, int take_dir_fd)
{
    os_fs_system.list(NULL, take_dir_fd, remove_entry, &take_dir_fd);
    close(take_dir_fd);
    assert_int_equal(rmdir(take_path), 0);
    free(take_path);
}

enum { KILL_THREADS = 4, KILL_PER_THREAD = 100000 };

struct killed_writer {
    struct wal *wal;
    int pipe_fd;
    uint32_t thread;
};

struct receipt {
    uint32_t number;
    uint64_t lsn;
};

/* Appends for ever, and tells each acknowledgement to the parent. */
static void *write_until_killed(void *context)
{
    const struct killed_writer *writer = context;
    for (uint32_t i = 0; i < KILL_PER_THREAD; i++) {
        struct receipt receipt = {.number = writer->thread * KILL_PER_THREAD + i};
        char text[64];
        int bytes = snprintf(text, sizeof(text), "record %u", receipt.number);
        struct ap_err err;
        if (wal_append_sync(writer->wal, 1, ap_slice(text, (size_t)bytes), &receipt.lsn, &err) != AP_OK ||
            write(writer->pipe_fd, &receipt, sizeof(receipt)) != sizeof(receipt))
            _exit(1);
    }
    return NULL;
}

static void child_main(int dir_fd, const struct wal_options *options, int pipe_fd)
{
    struct wal *wal;
    struct ap_err err;
    uint64_t cut_bytes;
    if (wal_open(dir_fd, options, &wal, &cut_bytes, &err) != AP_OK)
        _exit(2);
    struct killed_writer writers[KILL_THREADS];
    pthread_t threads[KILL_THREADS];
    for (uint32_t i = 0; i < KILL_THREADS; i++) {
        writers[i] = (struct killed_writer){.wal = wal, .pipe_fd = pipe_fd, .thread = i};
        if (pthread_create(&threads[i], NULL, write_until_killed, &writers[i]) != 0)
            _exit(3);
    }
    for (uint32_t i = 0; i < KILL_THREADS; i++)
        pthread_join(threads[i], NULL);
    _exit(0);
}

/* Receipts that arrived whole, up to `count`; less at the end of the pipe. */
static size_t read_receipts(int fd, struct receipt receipts[], size_t count)
{
    size_t done_bytes = 0;
    while (done_bytes < count * sizeof(struct receipt)) {
        ssize_t got = read(fd, (char *)receipts + done_bytes, count * sizeof(struct receipt) - done_bytes);
        if (got <= 0)
            break;
        done_bytes += (size_t)got;
    }
    return done_bytes / sizeof(struct receipt);
}

/* Every receipt's record is at its LSN; from `first_lsn` the log has no record twice. Returns the end. */
static uint64_t check_receipts(int dir_fd, const struct wal_options *options, uint64_t first_lsn,
                               const struct receipt receipts[], size_t receipt_count)
{
    struct wal *wal = fixture_open(dir_fd, options);
    struct wal_cursor *cursor = fixture_cursor(wal, "check", first_lsn);
    bool *is_there = ap_new0_array(bool, KILL_THREADS *KILL_PER_THREAD);
    uint64_t *lsns = ap_new0_array(uint64_t, KILL_THREADS * KILL_PER_THREAD);
    struct wal_record record;
    struct ap_err err;
    uint64_t end_lsn = first_lsn;
    while (wal_cursor_next(cursor, 0, &record, &err) == AP_OK) {
        char text[64] = {0};
        assert_true(record.payload.bytes < sizeof(text));
        memcpy(text, record.payload.data, record.payload.bytes);
        assert_true(ap_slice_starts_with(record.payload, "record "));
        unsigned long number = strtoul(text + 7, NULL, 10);
        assert_true(number < KILL_THREADS * KILL_PER_THREAD && !is_there[number]);
        is_there[number] = true;
        lsns[number] = record.lsn;
        end_lsn = record.next_lsn;
    }
    assert_int_equal(err.rc, AP_E_TIMEOUT);
    for (size_t i = 0; i < receipt_count; i++) {
        assert_true(is_there[receipts[i].number]);
        assert_int_equal(lsns[receipts[i].number], receipts[i].lsn);
    }
    wal_cursor_release(cursor, end_lsn);
    free(lsns);
    free(is_there);
    wal_cursor_close(cursor);
    wal_close(wal);
    return end_lsn;
}

static void test_kill_9(void **state)
{
    (void)state;
    int dir_fd;
    char *path = make_real_dir(&dir_fd);
    struct wal_options options;
    wal_options_init(&options);
    options.segment_bytes = 64 * 1024;
    options.record_bytes_max = 1024;
    unsigned long kills = number_from_env("APIARY_WAL_KILLS", 20);
    struct ap_random random;
    ap_random_init(&random, number_from_env("APIARY_WAL_SEED", 1));
    uint64_t lsn = 0;
    size_t receipts_max = 400 + 64 * 1024; /* more than fit into a pipe */
    struct receipt *receipts = ap_new0_array(struct receipt, receipts_max);
    size_t total_count = 0;
    for (unsigned long i = 0; i < kills; i++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(fds[0]);
            child_main(dir_fd, &options, fds[1]);
        }
        close(fds[1]);
        size_t wanted_count = 1 + ap_random_below(&random, 400);
        size_t count = read_receipts(fds[0], receipts, wanted_count);
        assert_int_equal(count, wanted_count); /* otherwise the child failed */
        assert_int_equal(kill(child, SIGKILL), 0);
        count += read_receipts(fds[0], receipts + count, receipts_max - count); /* what it had still sent */
        close(fds[0]);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        lsn = check_receipts(dir_fd, &options, lsn, receipts, count);
        total_count += count;
    }
    print_message("%zu records were acknowledged in %lu rounds, all are there\n", total_count, kills);
    free(receipts);
    remove_real_dir(path, dir_fd);
}

enum { SKIPPED = 77 };

/* In a child with a mount table of its own, so that the mount goes with it. */
static void fill_small_tmpfs(const char *path)
{
    if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        _exit(SKIPPED);
    (void)mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
    if (mount("tmpfs", path, "tmpfs", 0, "size=2m") < 0)
        _exit(SKIPPED);
    int dir_fd;
    struct ap_err err;
    struct wal_options options;
    wal_options_init(&options);
    options.segment_bytes = 256 * 1024;
    options.record_bytes_max = 4096;
    struct wal *wal;
    uint64_t cut_bytes;
    if (os_dir_open(path, &dir_fd, &err) != AP_OK || wal_open(dir_fd, &options, &wal, &cut_bytes, &err) != AP_OK)
        _exit(1);
    struct wal_cursor *cursor;
    if (wal_cursor_open(wal, "store", 0, &cursor, &err) != AP_OK)
        _exit(2);
    char payload[4096] = {1};
    unsigned appended_count = 0;
    enum ap_rc rc;
    while ((rc = wal_append_sync(wal, 1, ap_slice(payload, sizeof(payload)), NULL, &err)) == AP_OK)
        appended_count++;
    if (rc != AP_E_FULL || appended_count < 100)
        _exit(3);
    struct wal_record record;
    for (unsigned i = 0; i < appended_count; i++)
        if (wal_cursor_next(cursor, 0, &record, &err) != AP_OK)
            _exit(4);
    if (wal_append_sync(wal, 1, ap_slice(payload, sizeof(payload)), NULL, &err) != AP_E_FULL)
        _exit(5);
    wal_cursor_release(cursor, record.next_lsn);
    if (wal_append_sync(wal, 1, ap_slice(payload, sizeof(payload)), NULL, &err) != AP_OK ||
        wal_cursor_next(cursor, 0, &record, &err) != AP_OK)
        _exit(6);
    wal_cursor_close(cursor);
    wal_close(wal);
    _exit(0);
}

static void test_real_full_disk(void **state)
{
    (void)state;
    int dir_fd;
    char *path = make_real_dir(&dir_fd);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        fill_small_tmpfs(path);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    remove_real_dir(path, dir_fd);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == SKIPPED) {
        print_message("this user may not mount a tmpfs\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_io_failing),
        cmocka_unit_test(test_goes_on_after_each_failure),
        cmocka_unit_test(test_random_power_cuts),
        cmocka_unit_test(test_full_disk_and_back),
        cmocka_unit_test(test_failed_sync_begins_a_new_file),
        cmocka_unit_test(test_chained_behind_a_failed_group),
        cmocka_unit_test(test_chained_records_add_up),
        cmocka_unit_test(test_durable_lsn_is_where_readers_get_to),
        cmocka_unit_test(test_released_without_reading),
        cmocka_unit_test(test_kill_9),
        cmocka_unit_test(test_real_full_disk),
    };
    return cmocka_run_group_tests_name("wal faults", tests, NULL, NULL);
}
