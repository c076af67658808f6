/* Leases are Linux' own. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "history/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "history/numbered_files.h"
#include "os/fs.h"

struct names {
    char (*items)[PROMETHEUS_BLOCK_NAME_BYTES];
    size_t count;
    bool has_wal;
};

static bool collect(void *context, const char *name)
{
    struct names *names = context;
    names->has_wal |= strcmp(name, "wal") == 0 || strcmp(name, "chunks_head") == 0;
    if (strlen(name) != PROMETHEUS_BLOCK_NAME_BYTES - 1 ||
        strspn(name, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != strlen(name))
        return true;
    names->items = ap_realloc(names->items, (names->count + 1) * sizeof(*names->items));
    memcpy(names->items[names->count++], name, PROMETHEUS_BLOCK_NAME_BYTES);
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int compare_blocks(const void *a, const void *b)
{
    const struct prometheus_block *x = *(struct prometheus_block *const *)a;
    const struct prometheus_block *y = *(struct prometheus_block *const *)b;
    if (x->first_ts_ms != y->first_ts_ms)
        return x->first_ts_ms < y->first_ts_ms ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Their leases are for the server to give, which may refuse whoever asks. */
static bool is_over_the_network(int fd)
{
    static const uint32_t kinds[] = {0x6969 /* NFS */, 0xff534d42 /* CIFS */, 0xfe534d42 /* SMB 2 */};
    struct statfs info;
    if (fstatfs(fd, &info) != 0)
        return true;
    for (size_t i = 0; i < AP_ARRAY_COUNT(kinds); i++)
        if ((uint32_t)info.f_type == kinds[i])
            return true;
    return false;
}

/*
 * Whether somebody has the newest segment of the log open for writing, as a running Prometheus has: then the kernel
 * gives no read lease on it. Where it gives none for other reasons (another's file, say), that says nothing.
 */
static bool is_being_written(const struct history_source *source)
{
    AP_AUTO_FREE char *path = ap_asprintf("%s/wal", source->dir);
    struct numbered_files names;
    AP_AUTO_FD int dir_fd = -1;
    struct ap_err ignored;
    if (numbered_files_list(source->dir_fd, "wal", path, &dir_fd, &names, &ignored) != AP_OK)
        return false;
    AP_AUTO_FD int fd =
        names.count ? openat(dir_fd, names.items[names.count - 1].name, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    numbered_files_clear(&names);
    if (fd < 0 || is_over_the_network(fd))
        return false;
    if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0)
        return errno == EAGAIN;
    (void)fcntl(fd, F_SETLEASE, F_UNLCK);
    return false;
}

/*
 * A running Prometheus holds its lock, and cannot begin while we do. Some packages (Debian's) turn that off, so the log
 * is looked at as well.
 */
static enum ap_rc take_lock(struct history_source *source, struct ap_err *err)
{
    bool is_running = is_being_written(source);
    source->lock_fd = openat(source->dir_fd, "lock", O_RDONLY | O_CLOEXEC);
    if (source->lock_fd < 0 && errno != ENOENT)
        return ap_fail_errno(err, errno, "open %s/lock", source->dir);
    if (source->lock_fd >= 0)
        is_running |= flock(source->lock_fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (!is_running)
        return AP_OK;
    return ap_fail(err, AP_E_CONFLICT,
                   "a Prometheus runs on %s: stop it, or let it make a copy (started with --web.enable-admin-api: "
                   "curl -X POST http://localhost:9090/api/v1/admin/tsdb/snapshot) and import %s/snapshots/<name>",
                   source->dir, source->dir);
}

static enum ap_rc open_blocks(struct history_source *source, const struct names *names,
                              const struct history_source_options *options, struct ap_err *err)
{
    source->blocks = ap_new0_array(struct prometheus_block *, names->count + 1);
    for (size_t i = 0; i < names->count; i++) {
        AP_AUTO_FREE char *path = ap_asprintf("%s/%s", source->dir, names->items[i]);
        enum ap_rc rc =
            prometheus_block_open(source->dir_fd, names->items[i], path, &source->blocks[source->block_count], err);
        if (rc == AP_OK) {
            source->block_count++;
        } else if (rc == AP_E_CORRUPT || rc == AP_E_NOT_FOUND) {
            source->damaged_blocks++;
            (void)ap_err_prefix(err, "block %s is damaged and left out", names->items[i]);
            history_trouble_tell(source->trouble, err);
        } else {
            return rc;
        }
        if (options->opened)
            options->opened(i + 1, names->count, options->context);
    }
    if (source->block_count)
        qsort(source->blocks, source->block_count, sizeof(struct prometheus_block *), compare_blocks);
    return AP_OK;
}

static enum ap_rc open_head(struct history_source *source, struct ap_err *err)
{
    AP_AUTO_FREE int64_t *ends_ms = ap_new0_array(int64_t, source->block_count + 1);
    size_t end_count = 0;
    for (size_t i = 0; i < source->block_count; i++)
        if (!source->blocks[i]->is_from_out_of_order)
            ends_ms[end_count++] = source->blocks[i]->end_ts_ms;
    enum ap_rc rc =
        prometheus_head_open(source->dir_fd, source->dir, ends_ms, end_count, source->trouble, &source->head, err);
    if (rc == AP_OK)
        prometheus_head_facts(source->head, &source->head_facts);
    return rc;
}

enum ap_rc history_source_open(const char *dir, const struct history_source_options *options,
                               struct history_source **ret_source, struct ap_err *err)
{
    AP_AUTO(history_source) struct history_source *source = ap_new0(struct history_source);
    source->dir = ap_strdup(dir);
    source->lock_fd = -1;
    source->trouble = options->trouble;
    source->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (source->dir_fd < 0)
        return ap_fail_errno(err, errno, "open %s", dir);
    struct names names = {0};
    int result = os_fs_system.list(os_fs_system.context, source->dir_fd, collect, &names);
    enum ap_rc rc = result < 0 ? ap_fail_errno(err, -result, "list %s", dir) : AP_OK;
    if (rc == AP_OK && names.count == 0 && !names.has_wal)
        rc = ap_fail(err, AP_E_NOT_FOUND,
                     "%s is no data directory of Prometheus: it has neither blocks nor wal/ (give the directory that "
                     "--storage.tsdb.path names)",
                     dir);
    if (rc == AP_OK)
        rc = take_lock(source, err);
    if (rc == AP_OK) {
        if (names.count)
            qsort(names.items, names.count, sizeof(*names.items), compare_names);
        rc = open_blocks(source, &names, options, err);
    }
    if (rc == AP_OK)
        rc = open_head(source, err);
    free(names.items);
    if (rc == AP_OK)
        *ret_source = AP_MOVE(source);
    return rc;
}

void history_source_close(struct history_source *source)
{
    if (!source)
        return;
    for (size_t i = 0; i < source->block_count; i++)
        prometheus_block_close(source->blocks[i]);
    free(source->blocks);
    prometheus_head_close(source->head);
    if (source->lock_fd >= 0)
        close(source->lock_fd);
    if (source->dir_fd >= 0)
        close(source->dir_fd);
    free(source->dir);
    free(source);
}
