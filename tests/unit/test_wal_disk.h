/*
 * A disk in memory behind `struct os_fs`, for tests of code that promises durability.
 *
 * It keeps two pictures of every file and of the directory: what programs see (the page cache) and what has been
 * synced. A power cut leaves of each sector, and of each name, one or the other by chance. It can make the nth
 * operation fail, write short, or cut the power; it can be full; and a failed sync loses pages as Linux does: the next
 * one reports success for data that never reached the disk.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "os/fs.h"

enum { DISK_FILES_MAX = 512, DISK_NAME_BYTES = 40, DISK_FDS_MAX = 64, DISK_SECTOR_BYTES = 64 };

struct disk_image {
    char *data;
    size_t bytes;
};

struct disk_file {
    bool exists; /* some name or descriptor leads to it, or did */
    struct disk_image seen;
    struct disk_image durable;
    struct disk_image lost; /* a flag for each sector of `seen` that a failed sync dropped and nobody wrote since */
};

struct disk_entry {
    char name[DISK_NAME_BYTES];
    int seen_file;    /* -1: none */
    int durable_file; /* -1: none */
};

enum disk_fault { DISK_FAULT_NONE, DISK_FAULT_EIO, DISK_FAULT_ENOSPC, DISK_FAULT_SHORT, DISK_FAULT_POWER_CUT };

struct disk {
    pthread_mutex_t mtx;
    struct os_fs fs;
    struct disk_file files[DISK_FILES_MAX];
    struct disk_entry entries[DISK_FILES_MAX];
    int entry_count;
    int fds[DISK_FDS_MAX]; /* file index, -1: free */
    struct ap_random random;
    enum disk_fault fault;
    bool is_sticky;          /* the fault stays from the nth operation on */
    unsigned long fault_nth; /* counted from 0 */
    unsigned long operations;
    unsigned long datasyncs;
    bool has_fired;
    bool is_dead;
    bool cannot_allocate; /* as a file system without preallocation */
    uint64_t space_bytes; /* 0: endless */
};

static void disk_image_resize(struct disk_image *image, size_t bytes)
{
    image->data = ap_realloc(image->data, bytes + 1);
    if (bytes > image->bytes)
        memset(image->data + image->bytes, 0, bytes - image->bytes);
    image->bytes = bytes;
}

/* Sets the visible size; the sector at the end is written anew with it. */
static void disk_resize(struct disk_file *file, size_t bytes)
{
    disk_image_resize(&file->seen, bytes);
    disk_image_resize(&file->lost, (bytes + DISK_SECTOR_BYTES - 1) / DISK_SECTOR_BYTES);
    if (file->lost.bytes > 0)
        file->lost.data[file->lost.bytes - 1] = 0;
}

static uint64_t disk_used_bytes(const struct disk *disk)
{
    uint64_t bytes = 0;
    for (int i = 0; i < disk->entry_count; i++)
        if (disk->entries[i].seen_file >= 0)
            bytes += disk->files[disk->entries[i].seen_file].seen.bytes;
    return bytes;
}

/* Counts the operation; 0, or -errno when it is to fail. DISK_FAULT_SHORT is left to the write that it hits. */
static int disk_begin(struct disk *disk, bool *ret_is_hit)
{
    *ret_is_hit = false;
    unsigned long nth = disk->operations++;
    if (disk->is_dead)
        return -EIO;
    if (disk->fault == DISK_FAULT_NONE || (disk->is_sticky ? nth < disk->fault_nth : nth != disk->fault_nth))
        return 0;
    disk->has_fired = true;
    *ret_is_hit = true;
    switch (disk->fault) {
    case DISK_FAULT_POWER_CUT:
        disk->is_dead = true;
        return -EIO;
    case DISK_FAULT_EIO:
        return -EIO;
    case DISK_FAULT_ENOSPC:
        return -ENOSPC;
    default:
        return 0;
    }
}

static struct disk_entry *disk_find(struct disk *disk, const char *name)
{
    for (int i = 0; i < disk->entry_count; i++)
        if (strcmp(disk->entries[i].name, name) == 0)
            return &disk->entries[i];
    return NULL;
}

static struct disk_entry *disk_find_or_add(struct disk *disk, const char *name)
{
    struct disk_entry *entry = disk_find(disk, name);
    if (!entry) {
        AP_ASSERT(disk->entry_count < DISK_FILES_MAX && strlen(name) < DISK_NAME_BYTES);
        entry = &disk->entries[disk->entry_count++];
        *entry = (struct disk_entry){.seen_file = -1, .durable_file = -1};
        snprintf(entry->name, sizeof(entry->name), "%s", name);
    }
    return entry;
}

static bool disk_is_referenced(const struct disk *disk, int file)
{
    for (int i = 0; i < disk->entry_count; i++)
        if (disk->entries[i].seen_file == file || disk->entries[i].durable_file == file)
            return true;
    for (int i = 0; i < DISK_FDS_MAX; i++)
        if (disk->fds[i] == file)
            return true;
    return false;
}

static int disk_new_file(struct disk *disk)
{
    for (int i = 0; i < DISK_FILES_MAX; i++) {
        struct disk_file *file = &disk->files[i];
        if (file->exists && disk_is_referenced(disk, i))
            continue;
        disk_image_resize(&file->seen, 0);
        disk_image_resize(&file->durable, 0);
        disk_image_resize(&file->lost, 0);
        file->exists = true;
        return i;
    }
    AP_ASSERT(!"the disk has too many files");
    return -1;
}

static int disk_open(void *context, int dir_fd, const char *name, int flags, mode_t mode)
{
    struct disk *disk = context;
    (void)dir_fd;
    (void)mode;
    pthread_mutex_lock(&disk->mtx);
    bool is_hit;
    int result = disk_begin(disk, &is_hit);
    if (result == 0) {
        struct disk_entry *entry = disk_find(disk, name);
        if ((!entry || entry->seen_file < 0) && !(flags & O_CREAT)) {
            result = -ENOENT;
        } else {
            entry = disk_find_or_add(disk, name);
            if (entry->seen_file < 0)
                entry->seen_file = disk_new_file(disk);
            if (flags & O_TRUNC)
                disk_resize(&disk->files[entry->seen_file], 0);
            for (result = 0; disk->fds[result] >= 0; result++)
                AP_ASSERT(result + 1 < DISK_FDS_MAX); /* a descriptor leaks */
            disk->fds[result] = entry->seen_file;
        }
    }
    pthread_mutex_unlock(&disk->mtx);
    return result;
}

static void disk_close(void *context, int fd)
{
    struct disk *disk = context;
    pthread_mutex_lock(&disk->mtx);
    AP_ASSERT(fd >= 0 && fd < DISK_FDS_MAX && disk->fds[fd] >= 0);
    disk->fds[fd] = -1;
    pthread_mutex_unlock(&disk->mtx);
}

static struct disk_file *disk_file_of(struct disk *disk, int fd)
{
    AP_ASSERT(fd >= 0 && fd < DISK_FDS_MAX && disk->fds[fd] >= 0);
    return &disk->files[disk->fds[fd]];
}

static ssize_t disk_pread(void *context, int fd, void *data, size_t bytes, uint64_t offset)
{
    struct disk *disk = context;
    pthread_mutex_lock(&disk->mtx);
    const struct disk_image *image = &disk_file_of(disk, fd)->seen;
    bool is_hit;
    ssize_t result = disk_begin(disk, &is_hit);
    if (result == 0 && offset < image->bytes) {
        size_t count = AP_MIN(bytes, image->bytes - (size_t)offset);
        if (is_hit && count > 1)
            count /= 2;
        memcpy(data, image->data + offset, count);
        result = (ssize_t)count;
    }
    pthread_mutex_unlock(&disk->mtx);
    return result;
}

static void disk_write(struct disk_file *file, const void *data, size_t bytes, uint64_t offset)
{
    if (offset + bytes > file->seen.bytes)
        disk_resize(file, (size_t)offset + bytes);
    memcpy(file->seen.data + offset, data, bytes);
    for (size_t sector = offset / DISK_SECTOR_BYTES; sector <= (offset + bytes - 1) / DISK_SECTOR_BYTES; sector++)
        file->lost.data[sector] = 0;
}

static ssize_t disk_pwritev(void *context, int fd, const struct iovec *parts, int part_count, uint64_t offset)
{
    struct disk *disk = context;
    pthread_mutex_lock(&disk->mtx);
    struct disk_file *file = disk_file_of(disk, fd);
    const struct disk_image *image = &file->seen;
    bool is_hit;
    ssize_t result = disk_begin(disk, &is_hit);
    bool is_cut = is_hit; /* an error after part of the bytes, a short write, or the power goes meanwhile */
    bool is_failed = result < 0;
    size_t total_bytes = 0;
    for (int i = 0; i < part_count; i++)
        total_bytes += parts[i].iov_len;
    uint64_t end = offset + total_bytes;
    if (result == 0 && disk->space_bytes > 0 && end > image->bytes &&
        disk_used_bytes(disk) + (end - image->bytes) > disk->space_bytes) {
        is_failed = true;
        is_cut = true;
        result = -ENOSPC;
    }
    size_t left_bytes = is_cut ? ap_random_below(&disk->random, total_bytes) : total_bytes;
    if (disk->is_dead && !is_hit)
        left_bytes = 0;
    if (!is_failed)
        left_bytes = AP_MAX(left_bytes, (size_t)1);
    if (!is_failed)
        result = (ssize_t)left_bytes;
    for (int i = 0; i < part_count && left_bytes > 0; i++) {
        size_t bytes = AP_MIN(left_bytes, parts[i].iov_len);
        if (bytes > 0)
            disk_write(file, parts[i].iov_base, bytes, offset);
        offset += bytes;
        left_bytes -= bytes;
    }
    pthread_mutex_unlock(&disk->mtx);
    return result;
}

static int disk_allocate(void *context, int fd, uint64_t bytes)
{
    struct disk *disk = context;
    pthread_mutex_lock(&disk->mtx);
    struct disk_file *file = disk_file_of(disk, fd);
    const struct disk_image *image = &file->seen;
    bool is_hit;
    int result = disk_begin(disk, &is_hit);
    if (result == 0 && disk->cannot_allocate)
        result = -EOPNOTSUPP;
    if (result == 0 && bytes > image->bytes) {
        if (disk->space_bytes > 0 && disk_used_bytes(disk) + bytes - image->bytes > disk->space_bytes)
            result = -ENOSPC;
        else
            disk_resize(file, (size_t)bytes);
    }
    pthread_mutex_unlock(&disk->mtx);
    return result;
}

static int disk_truncate(void *context, int fd, uint64_t bytes)
{
    struct disk *disk = context;
    pthread_mutex_lock(&disk->mtx);
    bool is_hit;
    int result = disk_begin(disk, &is_hit);
    if (result == 0)
        disk_resize(disk_file_of(disk, fd), (size_t)bytes);
    pthread_mutex_unlock(&disk->mtx);
    return result;
}

/* What a sync leaves on the disk: the sectors of `seen`, of which each counts by chance when `is_cut`. */
static void disk_settle(struct disk *disk, struct disk_file *file, bool is_cut)
{
    struct disk_image settled = {0};
    bool has_new_size = !is_cut || ap_random_below(&disk->random, 2);
    disk_image_resize(&settled, has_new_size ? file->seen.bytes : file->durable.bytes);
    for (size_t at = 0; at < settled.bytes; at += DISK_SECTOR_BYTES) {
        size_t sector = at / DISK_SECTOR_BYTES;
        bool is_new =
            at < file->seen.bytes && !file->lost.data[sector] && (!is_cut || ap_random_below(&disk->random, 2));
        const struct disk_image *from = is_new ? &file->seen : &file->durable;
        size_t end = AP_MIN(at + DISK_SECTOR_BYTES, AP_MIN(settled.bytes, from->bytes));
        if (at < end)
            memcpy(settled.data + at, from->data + at, end - at);
    }
    free(file->durable.data);
    file->durable = settled;
}

/* After a failed sync Linux calls the pages clean: only writing them again gets them to the disk. */
static void disk_lose(struct disk_file *file)
{
    for (size_t at = 0; at < file->seen.bytes; at += DISK_SECTOR_BYTES) {
        size_t bytes = AP_MIN((size_t)DISK_SECTOR_BYTES, file->seen.bytes - at);
        bool is_same =
            at + bytes <= file->durable.bytes && memcmp(file->seen.data + at, file->durable.data + at, bytes) == 0;
        file->lost.data[at / DISK_SECTOR_BYTES] = !is_same;
    }
}

static int disk_datasync(void *context, int fd)
{
    struct disk *disk = context;
    pthread_mutex_lock(&disk->mtx);
    struct disk_file *file = disk_file_of(disk, fd);
    bool is_hit;
    int result = disk_begin(disk, &is_hit);
    disk->datasyncs++;
    if (is_hit && result < 0) {
        disk_settle(disk, file, true);
        disk_lose(file);
    } else if (result == 0) {
        disk_settle(disk, file, false);
    }
    pthread_mutex_unlock(&disk->mtx);
    return result;
}

static int disk_size(void *context, int fd, uint64_t *ret_bytes)
{
    struct disk *disk = context;
    pthread_mutex_lock(&disk->mtx);
    bool is_hit;
    int result = disk_begin(disk, &is_hit);
    if (result == 0)
        *ret_bytes = disk_file_of(disk, fd)->seen.bytes;
    pthread_mutex_unlock(&disk->mtx);
    return result;
}

static int disk_rename(void *context, int dir_fd, const char *from, const char *to)
{
    struct disk *disk = context;
    (void)dir_fd;
    pthread_mutex_lock(&disk->mtx);
    bool is_hit;
    int result = disk_begin(disk, &is_hit);
    struct disk_entry *old_entry = disk_find(disk, from);
    if (result == 0 && (!old_entry || old_entry->seen_file < 0))
        result = -ENOENT;
    if (result == 0) {
        struct disk_entry *new_entry = disk_find_or_add(disk, to);
        new_entry->seen_file = old_entry->seen_file;
        old_entry->seen_file = -1;
    }
    pthread_mutex_unlock(&disk->mtx);
    return result;
}

static int disk_unlink(void *context, int dir_fd, const char *name)
{
    struct disk *disk = context;
    (void)dir_fd;
    pthread_mutex_lock(&disk->mtx);
    bool is_hit;
    int result = disk_begin(disk, &is_hit);
    struct disk_entry *entry = disk_find(disk, name);
    if (result == 0 && (!entry || entry->seen_file < 0))
        result = -ENOENT;
    if (result == 0)
        entry->seen_file = -1;
    pthread_mutex_unlock(&disk->mtx);
    return result;
}

static int disk_sync_dir(void *context, int dir_fd)
{
    struct disk *disk = context;
    (void)dir_fd;
    pthread_mutex_lock(&disk->mtx);
    bool is_hit;
    int result = disk_begin(disk, &is_hit);
    for (int i = 0; i < disk->entry_count && result == 0; i++)
        disk->entries[i].durable_file = disk->entries[i].seen_file;
    pthread_mutex_unlock(&disk->mtx);
    return result;
}

static int disk_list(void *context, int dir_fd, bool (*each)(void *each_context, const char *name), void *each_context)
{
    struct disk *disk = context;
    (void)dir_fd;
    pthread_mutex_lock(&disk->mtx);
    bool is_hit;
    int result = disk_begin(disk, &is_hit);
    for (int i = 0; i < disk->entry_count && result == 0; i++)
        if (disk->entries[i].seen_file >= 0 && !each(each_context, disk->entries[i].name))
            break;
    pthread_mutex_unlock(&disk->mtx);
    return result;
}

static struct disk *disk_new(uint64_t seed)
{
    struct disk *disk = ap_new0(struct disk);
    pthread_mutex_init(&disk->mtx, NULL);
    ap_random_init(&disk->random, seed);
    for (int i = 0; i < DISK_FDS_MAX; i++)
        disk->fds[i] = -1;
    disk->fs = (struct os_fs){
        .context = disk,
        .open = disk_open,
        .close = disk_close,
        .pread = disk_pread,
        .pwritev = disk_pwritev,
        .allocate = disk_allocate,
        .truncate = disk_truncate,
        .datasync = disk_datasync,
        .size = disk_size,
        .rename = disk_rename,
        .unlink = disk_unlink,
        .sync_dir = disk_sync_dir,
        .list = disk_list,
    };
    return disk;
}

static void disk_free(struct disk *disk)
{
    for (int i = 0; i < DISK_FILES_MAX; i++) {
        free(disk->files[i].seen.data);
        free(disk->files[i].durable.data);
        free(disk->files[i].lost.data);
    }
    pthread_mutex_destroy(&disk->mtx);
    free(disk);
}

/* A file with this content, durable. */
static inline void disk_put(struct disk *disk, const char *name, const void *data, size_t bytes)
{
    struct disk_entry *entry = disk_find_or_add(disk, name);
    if (entry->seen_file < 0)
        entry->seen_file = disk_new_file(disk);
    entry->durable_file = entry->seen_file;
    struct disk_file *file = &disk->files[entry->seen_file];
    disk_resize(file, 0);
    disk_resize(file, bytes);
    if (bytes > 0)
        memcpy(file->seen.data, data, bytes);
    disk_settle(disk, file, false);
}

/* Arms a fault that hits the nth operation from now. */
static inline void disk_arm(struct disk *disk, enum disk_fault fault, unsigned long nth, bool is_sticky)
{
    pthread_mutex_lock(&disk->mtx);
    disk->fault = fault;
    disk->fault_nth = disk->operations + nth;
    disk->is_sticky = is_sticky;
    disk->has_fired = false;
    pthread_mutex_unlock(&disk->mtx);
}

/* No more faults, the machine is up again. True when the fault had happened. After a power cut only that is there which
 * was synced, and by chance some more. Nothing may be open. */
static inline bool disk_heal(struct disk *disk)
{
    for (int i = 0; i < DISK_FDS_MAX; i++)
        AP_ASSERT(disk->fds[i] < 0);
    bool has_fired = disk->has_fired;
    disk->fault = DISK_FAULT_NONE;
    disk->has_fired = false;
    if (disk->is_dead) {
        for (int i = 0; i < DISK_FILES_MAX; i++) {
            struct disk_file *file = &disk->files[i];
            if (!file->exists)
                continue;
            disk_settle(disk, file, true);
            disk_resize(file, 0);
            disk_resize(file, file->durable.bytes);
            memcpy(file->seen.data, file->durable.data, file->durable.bytes);
        }
        for (int i = 0; i < disk->entry_count; i++) {
            struct disk_entry *entry = &disk->entries[i];
            if (ap_random_below(&disk->random, 2))
                entry->durable_file = entry->seen_file;
            entry->seen_file = entry->durable_file;
        }
    }
    disk->is_dead = false;
    return has_fired;
}
