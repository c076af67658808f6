/* apiary tsdb stats: what is on disk. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/options.h"
#include "cli/tsdb_store.h"

struct totals {
    uint64_t bytes;
    uint64_t samples;
    uint64_t chunks;
    size_t block_count;
    size_t damaged_count;
    int64_t min_ts_ms;
    int64_t max_ts_ms;
};

/* What the files of a directory take, and how many entries it has; without it: nothing. */
static uint64_t directory_bytes(int parent_fd, const char *name, size_t *ret_entries)
{
    *ret_entries = 0;
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return 0;
    }
    uint64_t bytes = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct stat info;
        if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &info, 0) != 0)
            continue;
        (*ret_entries)++;
        bytes += S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
    }
    closedir(dir);
    return bytes;
}

static void print_block(const struct tsdb_store *store, const struct block_meta *meta, uint64_t bytes, bool is_first)
{
    double each = meta->sample_count ? (double)bytes / (double)meta->sample_count : 0;
    if (store->is_json) {
        printf("%s{\"id\":\"%s\",\"min_ts_ms\":%" PRId64 ",\"max_ts_ms\":%" PRId64 ",\"level\":%" PRIu32
               ",\"series\":%" PRIu64 ",\"chunks\":%" PRIu64 ",\"samples\":%" PRIu64 ",\"bytes\":%" PRIu64 "}",
               is_first ? "" : ",", meta->id, meta->min_ts_ms, meta->max_ts_ms, meta->level, meta->series_count,
               meta->chunk_count, meta->sample_count, bytes);
        return;
    }
    char from[32], to[32], size[32];
    tsdb_store_format_time(meta->min_ts_ms, from);
    tsdb_store_format_time(meta->max_ts_ms, to);
    tsdb_store_format_bytes(bytes, size);
    printf("%s  %s  %s  %5" PRIu32 "  %10" PRIu64 "  %12" PRIu64 "  %10s  %12.2f\n", meta->id, from, to, meta->level,
           meta->series_count, meta->sample_count, size, each);
}

static void add_block(struct tsdb_store *store, const char *id, struct totals *totals)
{
    AP_AUTO(block) struct block *block = NULL;
    struct ap_err err;
    if (block_open(&os_fs_system, store->blocks_fd, id, &block, &err) != AP_OK) {
        if (!tsdb_store_has_block(store, id))
            return;
        fprintf(stderr, "apiary tsdb: %s\n", err.text);
        totals->damaged_count++;
        return;
    }
    const struct block_meta *meta = block_meta_of(block);
    uint64_t bytes = block_disk_bytes(block);
    print_block(store, meta, bytes, totals->block_count == 0);
    totals->bytes += bytes;
    totals->samples += meta->sample_count;
    totals->chunks += meta->chunk_count;
    totals->min_ts_ms = totals->block_count ? AP_MIN(totals->min_ts_ms, meta->min_ts_ms) : meta->min_ts_ms;
    totals->max_ts_ms = totals->block_count ? AP_MAX(totals->max_ts_ms, meta->max_ts_ms) : meta->max_ts_ms;
    totals->block_count++;
}

static void print_totals(const struct tsdb_store *store, const struct totals *totals)
{
    size_t head_files, quarantined, snapshots;
    uint64_t head_bytes = directory_bytes(store->dir_fd, "head", &head_files);
    (void)directory_bytes(store->dir_fd, "quarantine", &quarantined);
    (void)directory_bytes(store->dir_fd, "snapshots", &snapshots);
    if (store->is_json) {
        printf("],\"block_count\":%zu,\"bytes\":%" PRIu64 ",\"samples\":%" PRIu64 ",\"chunks\":%" PRIu64
               ",\"head_bytes\":%" PRIu64 ",\"quarantined\":%zu,\"snapshots\":%zu,\"damaged\":%zu}\n",
               totals->block_count, totals->bytes, totals->samples, totals->chunks, head_bytes, quarantined, snapshots,
               totals->damaged_count);
        return;
    }
    char size[32], head_size[32], from[32], to[32];
    tsdb_store_format_bytes(totals->bytes, size);
    tsdb_store_format_bytes(head_bytes, head_size);
    tsdb_store_format_time(totals->min_ts_ms, from);
    tsdb_store_format_time(totals->max_ts_ms, to);
    printf("\nblocks        %zu, %s\n", totals->block_count, size);
    if (totals->block_count)
        printf("time          %s to %s UTC\n", from, to);
    if (totals->samples)
        printf("samples       %" PRIu64 " in %" PRIu64 " chunks, %.2f bytes each\n", totals->samples, totals->chunks,
               (double)totals->bytes / (double)totals->samples);
    printf("head          %s in %zu files, as of its last checkpoint\n", head_size, head_files);
    if (snapshots)
        printf("snapshots     %zu\n", snapshots);
    if (quarantined)
        printf("quarantine    %zu damaged blocks: 'apiary tsdb verify' and the server's log tell why\n", quarantined);
}

int tsdb_stats(struct tsdb_store *store)
{
    if (store->is_json)
        printf("{\"blocks\":[");
    else
        printf("%-26s  %-19s  %-19s  %5s  %10s  %12s  %10s  %12s\n", "block", "from (UTC)", "to", "level", "series",
               "samples", "size", "bytes/sample");
    struct totals totals = {0};
    for (size_t i = 0; i < store->id_count; i++)
        add_block(store, store->ids[i], &totals);
    print_totals(store, &totals);
    return totals.damaged_count ? CLI_FAILED : CLI_DONE;
}
