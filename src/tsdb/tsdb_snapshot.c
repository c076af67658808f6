/* A copy to keep: blocks by hard link, the head as blocks of its own. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "tsdb/tsdb_internal.h"

struct linking {
    struct tsdb *tsdb;
    int from_fd;
    int to_fd;
    int error;
};

static bool link_file(void *context, const char *name)
{
    struct linking *linking = context;
    if (linkat(linking->from_fd, name, linking->to_fd, name, 0) != 0)
        linking->error = errno;
    return linking->error == 0;
}

static enum ap_rc link_block(struct tsdb *tsdb, const char *id, int blocks_fd, struct ap_err *err)
{
    const struct os_fs *fs = tsdb->options.fs;
    if (mkdirat(blocks_fd, id, 0750) != 0)
        return ap_fail_errno(err, errno, "make block %s of the snapshot", id);
    AP_AUTO_FD int from_fd = openat(tsdb->blocks_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AP_AUTO_FD int to_fd = openat(blocks_fd, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (from_fd < 0 || to_fd < 0)
        return ap_fail_errno(err, errno, "open block %s", id);
    struct linking linking = {tsdb, from_fd, to_fd, 0};
    int result = fs->list(fs->context, from_fd, link_file, &linking);
    if (result == 0 && linking.error == 0)
        result = fs->sync_dir(fs->context, to_fd);
    return result < 0      ? ap_fail_errno(err, -result, "link block %s", id)
           : linking.error ? ap_fail_errno(err, linking.error, "link block %s", id)
                           : AP_OK;
}

/* The ranges that are still open, as they are now. */
static enum ap_rc write_head(struct tsdb *tsdb, int blocks_fd, struct ap_err *err)
{
    struct head *head = tsdb->head;
    tsdb_seal_all(tsdb); /* also what has no range yet */
    for (size_t i = 0;; i++) {
        pthread_mutex_lock(&head->ranges_mtx);
        struct head_range *range = i < head->range_count ? head->ranges[i] : NULL;
        pthread_mutex_unlock(&head->ranges_mtx); /* only we take ranges away */
        char id[BLOCK_ID_BYTES];
        if (!range)
            return AP_OK;
        if (range->cut_generation)
            continue; /* its block was linked */
        tsdb_block_id(tsdb, id);
        enum ap_rc rc = tsdb_write_range(tsdb, range, blocks_fd, id, err);
        if (rc != AP_OK && rc != AP_E_NOT_FOUND)
            return rc;
    }
}

static enum ap_rc fill(struct tsdb *tsdb, const char *path, bool is_skipping_head, struct ap_err *err)
{
    AP_AUTO_FREE char *blocks_path = ap_asprintf("%s/blocks", path);
    AP_AUTO_FD int blocks_fd = -1;
    enum ap_rc rc = os_dir_open(blocks_path, &blocks_fd, err);
    for (size_t i = 0; i < tsdb->block_count && rc == AP_OK; i++)
        rc = link_block(tsdb, block_meta_of(tsdb->blocks[i])->id, blocks_fd, err);
    if (rc == AP_OK && !is_skipping_head)
        rc = write_head(tsdb, blocks_fd, err);
    if (rc != AP_OK)
        return rc;
    int result = tsdb->options.fs->sync_dir(tsdb->options.fs->context, blocks_fd);
    return result < 0 ? ap_fail_errno(err, -result, "sync %s", blocks_path) : AP_OK;
}

enum ap_rc tsdb_snapshot(struct tsdb *tsdb, bool is_skipping_head, char ret_name[64], struct ap_err *err)
{
    struct ap_civil now = ap_civil_of_s(ap_clock_wall_us(tsdb->options.clock) / AP_US_PER_S);
    pthread_mutex_lock(&tsdb->maintain_mtx);
    snprintf(ret_name, 64, "%04" PRId64 "%02d%02dT%02d%02d%02dZ-%016" PRIx64, now.year, now.month, now.day, now.hour,
             now.minute, now.second, ap_random_u64(&tsdb->random));
    AP_AUTO_FREE char *unfinished = ap_asprintf("%s/snapshots/%s.tmp", tsdb->dir, ret_name);
    AP_AUTO_FREE char *path = ap_asprintf("%s/snapshots/%s", tsdb->dir, ret_name);
    AP_AUTO_FREE char *parent = ap_asprintf("%s/snapshots", tsdb->dir);
    enum ap_rc rc = fill(tsdb, unfinished, is_skipping_head, err);
    if (rc == AP_OK && rename(unfinished, path) != 0)
        rc = ap_fail_errno(err, errno, "rename %s", unfinished);
    AP_AUTO_FD int parent_fd = -1;
    if (rc == AP_OK)
        rc = os_dir_open(parent, &parent_fd, err);
    if (rc == AP_OK && fsync(parent_fd) != 0)
        rc = ap_fail_errno(err, errno, "sync %s", parent);
    pthread_mutex_unlock(&tsdb->maintain_mtx);
    return rc;
}
