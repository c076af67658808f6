/*
 * Reads the segments at start: checks their chain and finds the end of the last one.
 *
 * Where the last segment stops making sense, either a write was under way when the machine stopped (a torn end, cut off
 * silently but for its length: nobody was told that it succeeded), or something damaged what was durable (never
 * repaired silently). The two look alike at that place: a disk writes the sectors of one group in any order, so whole
 * records of the torn group may stand behind the gap. But each record tells where its group begins, and a group is
 * written only after the one before it is durable. So a record behind the gap, of a group that begins behind the gap,
 * proves that the gap was once durable: damage. Otherwise it is a torn end.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "wal/wal_internal.h"

/* Keeps `lsn + bytes` far from overflow; 4 EiB of log are out of reach. */
#define LSN_MAX (UINT64_C(1) << 62)

struct listing {
    uint64_t *first_lsns; /* owned */
    size_t count;
    size_t capacity;
    char (*unfinished)[WAL_SEGMENT_NAME_BYTES]; /* owned */
    size_t unfinished_count;
};

static void ap_auto_listing(struct listing *listing)
{
    free(listing->first_lsns);
    free(listing->unfinished);
}

static bool list_one(void *context, const char *name)
{
    struct listing *listing = context;
    uint64_t first_lsn;
    if (wal_segment_name_parse(name, &first_lsn)) {
        if (listing->count == listing->capacity) {
            listing->capacity = listing->capacity ? listing->capacity * 2 : 64;
            listing->first_lsns = ap_realloc(listing->first_lsns, listing->capacity * sizeof(uint64_t));
        }
        listing->first_lsns[listing->count++] = first_lsn;
    } else if (wal_segment_name_is_unfinished(name)) {
        size_t bytes = (listing->unfinished_count + 1) * sizeof(listing->unfinished[0]);
        listing->unfinished = ap_realloc(listing->unfinished, bytes);
        snprintf(listing->unfinished[listing->unfinished_count++], WAL_SEGMENT_NAME_BYTES, "%s", name);
    }
    return true;
}

static int compare_lsns(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* Room for records in the file, or AP_E_CORRUPT when there cannot be so much. */
static enum ap_rc records_room(struct wal *wal, int fd, const struct wal_segment_header *header, uint64_t *ret_bytes,
                               struct ap_err *err)
{
    char name[WAL_SEGMENT_NAME_BYTES];
    wal_segment_name(header->first_lsn, name);
    uint64_t bytes;
    int result = wal->options.fs->size(wal->options.fs->context, fd, &bytes);
    if (result < 0)
        return ap_fail_errno(err, -result, "size of log segment %s", name);
    if (header->first_lsn > LSN_MAX || bytes > LSN_MAX || bytes < WAL_SEGMENT_HEADER_BYTES)
        return ap_fail(err, AP_E_CORRUPT, "log segment %s is damaged: impossible position or size", name);
    *ret_bytes = bytes - WAL_SEGMENT_HEADER_BYTES;
    return AP_OK;
}

/* A segment that has a successor: its header, and that it reaches up to there. Its records are checked when read. */
static enum ap_rc check_sealed(struct wal *wal, uint64_t first_lsn, uint64_t end_lsn, struct ap_err *err)
{
    struct wal_segment_header header;
    int fd;
    enum ap_rc rc = wal_segment_open(wal->options.fs, wal->dir_fd, first_lsn, O_RDONLY, &header, &fd, err);
    if (rc != AP_OK)
        return rc;
    uint64_t room_bytes;
    rc = records_room(wal, fd, &header, &room_bytes, err);
    wal->options.fs->close(wal->options.fs->context, fd);
    if (rc != AP_OK)
        return rc;
    if (room_bytes < end_lsn - first_lsn) {
        char name[WAL_SEGMENT_NAME_BYTES];
        wal_segment_name(first_lsn, name);
        return ap_fail(err, AP_E_CORRUPT,
                       "log segment %s ends at offset %" PRIu64 ", %" PRIu64
                       " bytes before the next one begins: cut short, or a segment between them is missing",
                       name, WAL_SEGMENT_HEADER_BYTES + room_bytes, end_lsn - first_lsn - room_bytes);
    }
    wal_add_segment_locked(wal, &header); /* nobody else knows the log yet */
    return AP_OK;
}

/* Mostly there is nothing but preallocated zeros behind the end; they are skipped in pieces of this size. */
enum { ZERO_RUN_BYTES = 4096 };

/*
 * Looks behind the first place that holds no record, `gap_lsn`. AP_E_CORRUPT with *err as it was when that place was
 * durable; otherwise the length of what has to be cut (0: nothing but zeros).
 */
static enum ap_rc judge_gap(struct wal_reader *reader, uint64_t gap_lsn, uint64_t limit_lsn, uint64_t *ret_cut_bytes,
                            struct ap_err *err)
{
    uint64_t used_lsn = gap_lsn;
    uint64_t step_bytes;
    for (uint64_t lsn = gap_lsn; lsn < limit_lsn; lsn += step_bytes) {
        uint64_t bytes = AP_MIN(limit_lsn - lsn, (uint64_t)ZERO_RUN_BYTES);
        const uint8_t *at;
        struct ap_err read_err;
        enum ap_rc rc = wal_reader_peek(reader, lsn, bytes, limit_lsn, &at, &read_err);
        if (rc != AP_OK) {
            if (err)
                *err = read_err;
            return rc;
        }
        if (bytes == ZERO_RUN_BYTES && at[0] == 0 && memcmp(at, at + 1, bytes - 1) == 0) {
            step_bytes = bytes - (WAL_RECORD_HEADER_BYTES - WAL_ALIGN_BYTES); /* a header may begin in its last bytes */
            continue;
        }
        step_bytes = WAL_ALIGN_BYTES;
        for (uint64_t i = 0; i < AP_MIN(bytes, step_bytes); i++)
            if (at[i] != 0)
                used_lsn = lsn + i + 1;
        struct wal_record_header header;
        if (lsn > gap_lsn && bytes >= WAL_RECORD_HEADER_BYTES &&
            wal_record_header_decode(at, reader->segment.salt, lsn, &header) && header.group_lsn > gap_lsn)
            return AP_E_CORRUPT;
    }
    *ret_cut_bytes = used_lsn - gap_lsn;
    return AP_OK;
}

/* What reading the last segment found. */
struct tail {
    uint64_t group_lsn; /* the last group begins here; end_lsn when there is none */
    uint64_t end_lsn;
    uint64_t cut_bytes;
};

/* Reads the last segment to its end. Changes nothing. */
static enum ap_rc find_end(struct wal *wal, int fd, struct tail *ret_tail, struct ap_err *err)
{
    uint64_t room_bytes;
    enum ap_rc rc = records_room(wal, fd, &wal->active, &room_bytes, err);
    if (rc != AP_OK)
        return rc;
    uint64_t limit_lsn = wal->active.first_lsn + room_bytes;
    uint64_t lsn = wal->active.first_lsn;
    struct wal_reader reader;
    wal_reader_init(&reader, wal->options.fs);
    wal_reader_set_segment(&reader, fd, &wal->active);
    struct wal_record record;
    while ((rc = wal_reader_next(&reader, lsn, limit_lsn, &record, err)) == AP_OK)
        lsn = record.next_lsn;
    if (rc == AP_E_CORRUPT)
        rc = judge_gap(&reader, lsn, limit_lsn, &ret_tail->cut_bytes, err);
    ret_tail->group_lsn = lsn > wal->active.first_lsn ? reader.group_lsn : lsn;
    ret_tail->end_lsn = lsn;
    (void)AP_MOVE_FD(reader.fd); /* only lent to the reader */
    wal_reader_clear(&reader);
    return rc;
}

/*
 * Writes the bytes of the last group once more over themselves. If the sync of that group failed before the program was
 * restarted, the kernel holds its pages for clean although they never reached the disk, and a sync alone would succeed
 * without writing them. All groups before it were synced with success, or it would not be there.
 */
static enum ap_rc rewrite_last_group(struct wal *wal, const struct tail *tail, const char *name, struct ap_err *err)
{
    const struct os_fs *fs = wal->options.fs;
    for (uint64_t lsn = tail->group_lsn; lsn < tail->end_lsn;) {
        struct iovec part = {.iov_base = wal->staging,
                             .iov_len = AP_MIN(tail->end_lsn - lsn, (uint64_t)WAL_STAGING_BYTES)};
        size_t bytes = part.iov_len;
        uint64_t offset = WAL_SEGMENT_HEADER_BYTES + (lsn - wal->active.first_lsn);
        enum ap_rc rc = os_read_all(fs, wal->active_fd, part.iov_base, bytes, offset, name, err);
        if (rc == AP_OK)
            rc = os_write_all(fs, wal->active_fd, &part, 1, offset, name, err);
        if (rc != AP_OK)
            return rc;
        lsn += bytes;
    }
    return AP_OK;
}

/*
 * Makes the last segment ready to be appended to. What was found in it may so far be only in the page cache (the
 * program was killed, the machine was not), so it is made durable before any store sees it.
 */
static enum ap_rc make_appendable(struct wal *wal, const struct tail *tail, struct ap_err *err)
{
    const struct os_fs *fs = wal->options.fs;
    char name[WAL_SEGMENT_NAME_BYTES];
    wal_segment_name(wal->active.first_lsn, name);
    uint64_t used_bytes = WAL_SEGMENT_HEADER_BYTES + (tail->end_lsn - wal->active.first_lsn);
    int result = tail->cut_bytes > 0 ? fs->truncate(fs->context, wal->active_fd, used_bytes) : 0;
    if (result < 0)
        return ap_fail_errno(err, -result, "cut the torn end of log segment %s", name);
    enum ap_rc rc = rewrite_last_group(wal, tail, name, err);
    if (rc != AP_OK)
        return rc;
    int allocate_result = 0;
    if (used_bytes < wal->options.segment_bytes)
        allocate_result = fs->allocate(fs->context, wal->active_fd, wal->options.segment_bytes);
    result = fs->datasync(fs->context, wal->active_fd);
    if (result < 0)
        return ap_fail_errno(err, -result, "sync log segment %s", name);
    wal->next_lsn = tail->end_lsn;
    wal->zeroed_bytes = used_bytes;
    if (allocate_result < 0 && allocate_result != -EOPNOTSUPP) {
        fs->close(fs->context, wal->active_fd); /* a full disk: readers go on, and each group tries for a new segment */
        wal->active_fd = -1;
    }
    return AP_OK;
}

static enum ap_rc remove_unfinished(struct wal *wal, const struct listing *listing, struct ap_err *err)
{
    for (size_t i = 0; i < listing->unfinished_count; i++) {
        int result = wal->options.fs->unlink(wal->options.fs->context, wal->dir_fd, listing->unfinished[i]);
        if (result < 0)
            return ap_fail_errno(err, -result, "remove unfinished log segment %s", listing->unfinished[i]);
    }
    return AP_OK;
}

enum ap_rc wal_recover(struct wal *wal, uint64_t *ret_cut_bytes, struct ap_err *err)
{
    const struct os_fs *fs = wal->options.fs;
    __attribute__((cleanup(ap_auto_listing))) struct listing listing = {0};
    int result = fs->list(fs->context, wal->dir_fd, list_one, &listing);
    if (result < 0)
        return ap_fail_errno(err, -result, "list the log's directory");
    struct tail tail = {0};
    if (listing.count > 0) {
        qsort(listing.first_lsns, listing.count, sizeof(uint64_t), compare_lsns);
        for (size_t i = 0; i + 1 < listing.count; i++) {
            enum ap_rc rc = check_sealed(wal, listing.first_lsns[i], listing.first_lsns[i + 1], err);
            if (rc != AP_OK)
                return rc;
        }
        enum ap_rc rc = wal_segment_open(fs, wal->dir_fd, listing.first_lsns[listing.count - 1], O_RDWR, &wal->active,
                                         &wal->active_fd, err);
        if (rc == AP_OK)
            rc = find_end(wal, wal->active_fd, &tail, err);
        if (rc == AP_OK)
            rc = make_appendable(wal, &tail, err);
        if (rc != AP_OK)
            return rc;
        wal_add_segment_locked(wal, &wal->active);
        atomic_store(&wal->durable_lsn, wal->next_lsn);
        atomic_store(&wal->released_lsn, wal->segments->header.first_lsn);
    }
    enum ap_rc rc = remove_unfinished(wal, &listing, err);
    if (rc != AP_OK)
        return rc;
    /* A name that a killed program had not yet synced must not vanish after records were read from it. */
    result = fs->sync_dir(fs->context, wal->dir_fd);
    if (result < 0)
        return ap_fail_errno(err, -result, "sync the log's directory");
    *ret_cut_bytes = tail.cut_bytes;
    return AP_OK;
}
