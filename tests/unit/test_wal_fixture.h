/*
 * What the tests of the log share: records that can be recognised, and checks that what comes back is what was written.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "test_wal_disk.h"
#include "wal/wal.h"

enum { FIXTURE_PAYLOAD_BYTES_MAX = 200, FIXTURE_RECORDS_MAX = 4096, FIXTURE_DIR_FD = 7 };

/* Small segments, so that a few records exercise their borders. */
static inline struct wal_options fixture_options(const struct os_fs *fs)
{
    struct wal_options options;
    wal_options_init(&options);
    options.segment_bytes = 1024;
    options.record_bytes_max = FIXTURE_PAYLOAD_BYTES_MAX;
    options.fs = fs;
    return options;
}

/* The payload of record `number`: every length from 4 to the maximum comes up. */
static inline struct ap_slice fixture_payload(uint32_t number, char bytes[FIXTURE_PAYLOAD_BYTES_MAX])
{
    size_t size = sizeof(number) + (size_t)number * 7919 % (FIXTURE_PAYLOAD_BYTES_MAX - sizeof(number) + 1);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(number * 31 + i * 7);
    memcpy(bytes, &number, sizeof(number));
    return ap_slice(bytes, size);
}

/* The number of a record; fails when its payload or type is not what record of that number has. */
static inline uint32_t fixture_number(const struct wal_record *record)
{
    uint32_t number;
    assert_true(record->payload.bytes >= sizeof(number));
    memcpy(&number, record->payload.data, sizeof(number));
    char bytes[FIXTURE_PAYLOAD_BYTES_MAX];
    struct ap_slice expected = fixture_payload(number, bytes);
    assert_true(ap_slice_equal(record->payload, expected));
    assert_int_equal(record->type, 1 + number % 255);
    return number;
}

static inline enum ap_rc fixture_append(struct wal *wal, uint32_t number, uint64_t *ret_lsn)
{
    char bytes[FIXTURE_PAYLOAD_BYTES_MAX];
    struct ap_err err;
    return wal_append_sync(wal, (uint8_t)(1 + number % 255), fixture_payload(number, bytes), ret_lsn, &err);
}

static inline struct wal *fixture_open(int dir_fd, const struct wal_options *options)
{
    struct wal *wal;
    struct ap_err err = {0};
    uint64_t cut_bytes;
    if (wal_open(dir_fd, options, &wal, &cut_bytes, &err) != AP_OK)
        fail_msg("wal_open: %s", err.text);
    return wal;
}

static inline struct wal_cursor *fixture_cursor(struct wal *wal, const char *name, uint64_t lsn)
{
    struct wal_cursor *cursor;
    struct ap_err err = {0};
    if (wal_cursor_open(wal, name, lsn, &cursor, &err) != AP_OK)
        fail_msg("wal_cursor_open: %s", err.text);
    return cursor;
}

static inline struct wal_stats fixture_stats(struct wal *wal)
{
    struct wal_stats stats;
    wal_stats_get(wal, &stats);
    return stats;
}

/* Several tickets that become one group: they are submitted from the done() of another, so all wait together. */
struct fixture_ticket {
    struct wal_ticket ticket;
    char bytes[FIXTURE_PAYLOAD_BYTES_MAX];
    uint32_t number;
    enum ap_rc rc;
    uint64_t lsn;
    struct fixture_group *group;
};

struct fixture_group {
    struct wal *wal;
    struct fixture_ticket *tickets;
    unsigned count;
    unsigned left_count; /* under mtx */
    pthread_mutex_t mtx;
    pthread_cond_t cond;
};

static inline void fixture_ticket_finish(struct fixture_ticket *ticket, enum ap_rc rc, uint64_t lsn)
{
    struct fixture_group *group = ticket->group;
    pthread_mutex_lock(&group->mtx);
    ticket->rc = rc;
    ticket->lsn = lsn;
    group->left_count--;
    pthread_cond_signal(&group->cond);
    pthread_mutex_unlock(&group->mtx);
}

static inline void fixture_group_done(struct wal_ticket *wal_ticket, enum ap_rc rc, uint64_t lsn)
{
    struct fixture_ticket *ticket = AP_CONTAINER_OF(wal_ticket, struct fixture_ticket, ticket);
    struct fixture_group *group = ticket->group;
    if (ticket == &group->tickets[0])
        for (unsigned i = 1; i < group->count; i++) {
            struct ap_err err;
            enum ap_rc submit_rc = wal_submit(group->wal, &group->tickets[i].ticket, &err);
            if (submit_rc != AP_OK)
                fixture_ticket_finish(&group->tickets[i], submit_rc, 0);
        }
    fixture_ticket_finish(ticket, rc, lsn);
}

/* Appends `count` records from `number` on: the first as a group of its own, the others as one group. */
static inline void fixture_append_group(struct wal *wal, uint32_t number, unsigned count,
                                        struct fixture_ticket tickets[])
{
    struct fixture_group group = {.wal = wal, .tickets = tickets, .count = count, .left_count = count};
    pthread_mutex_init(&group.mtx, NULL);
    pthread_cond_init(&group.cond, NULL);
    for (unsigned i = 0; i < count; i++) {
        struct fixture_ticket *ticket = &tickets[i];
        ticket->number = number + i;
        ticket->group = &group;
        ticket->ticket = (struct wal_ticket){
            .slices = {fixture_payload(ticket->number, ticket->bytes)},
            .slice_count = 1,
            .type = (uint8_t)(1 + ticket->number % 255),
            .done = fixture_group_done,
        };
    }
    struct ap_err err;
    if (wal_submit(wal, &tickets[0].ticket, &err) != AP_OK)
        fail_msg("wal_submit: %s", err.text);
    pthread_mutex_lock(&group.mtx);
    while (group.left_count > 0)
        pthread_cond_wait(&group.cond, &group.mtx);
    pthread_mutex_unlock(&group.mtx);
    pthread_cond_destroy(&group.cond);
    pthread_mutex_destroy(&group.mtx);
}
