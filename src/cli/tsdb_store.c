#include "cli/tsdb_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

static bool is_block_id(const char *name)
{
    return strlen(name) == BLOCK_ID_BYTES - 1 && strspn(name, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") == BLOCK_ID_BYTES - 1;
}

static int compare_ids(const void *left, const void *right)
{
    return strcmp(left, right);
}

static enum ap_rc list_blocks(struct tsdb_store *store, struct ap_err *err)
{
    int fd = dup(store->blocks_fd);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        return ap_fail_errno(err, error, "list %s/blocks", store->dir);
    }
    size_t capacity = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!is_block_id(entry->d_name))
            continue;
        if (store->id_count == capacity) {
            capacity = capacity ? capacity * 2 : 64;
            store->ids = ap_realloc(store->ids, capacity * sizeof(*store->ids));
        }
        memcpy(store->ids[store->id_count++], entry->d_name, BLOCK_ID_BYTES);
    }
    closedir(dir);
    if (store->id_count)
        qsort(store->ids, store->id_count, sizeof(*store->ids), compare_ids);
    return AP_OK;
}

enum ap_rc tsdb_store_open(const char *dir, struct tsdb_store *ret_store, struct ap_err *err)
{
    struct tsdb_store store = {.dir = ap_strdup(dir), .dir_fd = -1, .blocks_fd = -1};
    enum ap_rc rc = AP_OK;
    store.dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store.dir_fd < 0)
        rc = ap_fail_errno(err, errno, "open %s", dir);
    if (rc == AP_OK) {
        store.blocks_fd = openat(store.dir_fd, "blocks", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (store.blocks_fd < 0)
            rc = ap_fail_errno(err, errno, "open %s/blocks", dir);
    }
    if (rc == AP_OK)
        rc = list_blocks(&store, err);
    if (rc == AP_OK)
        *ret_store = store;
    else
        tsdb_store_clear(&store);
    return rc;
}

void tsdb_store_clear(struct tsdb_store *store)
{
    if (store->dir_fd >= 0)
        close(store->dir_fd);
    if (store->blocks_fd >= 0)
        close(store->blocks_fd);
    free(store->ids);
    free(store->dir);
}

bool tsdb_store_has_block(const struct tsdb_store *store, const char *id)
{
    struct stat info;
    return fstatat(store->blocks_fd, id, &info, 0) == 0;
}

void tsdb_store_progress(const struct tsdb_store *store, const char *what, size_t at, size_t of)
{
    if (!store->is_terminal)
        return;
    if (what)
        fprintf(stderr, "\r\033[K%s %zu of %zu", what, at, of);
    else
        fputs("\r\033[K", stderr);
    fflush(stderr);
}

void tsdb_store_format_time(int64_t ts_ms, char text[32])
{
    char whole[AP_TIME_TEXT_BYTES];
    ap_time_format(ts_ms * AP_US_PER_MS, whole);
    snprintf(text, 32, "%.10s %.8s", whole, whole + 11);
}

void tsdb_store_format_bytes(uint64_t bytes, char text[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1024 && unit + 1 < AP_ARRAY_COUNT(units); unit++)
        value /= 1024;
    snprintf(text, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}
