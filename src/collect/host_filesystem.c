/*
 * File systems: /proc/1/mounts and statfs(2).
 *
 * statfs() on a mount whose server is away waits for as long as the server is away, and nothing ends it. So it is asked
 * on a thread of its own for every kind of file system that is not known to answer from memory; a mount that did not
 * answer in time is not asked again before that thread comes back, and says `device_error` 1.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "collect/host_internal.h"
#include "os/thread.h"

enum { PATH_BYTES_MAX = 4096, MOUNTS_MAX = 10000, WAIT_MS = 5000 };

/* ---- Which ones ---- */

static bool is_below(struct ap_slice path, const char *directory)
{
    size_t bytes = strlen(directory);
    return ap_slice_starts_with(path, directory) && (path.bytes == bytes || path.data[bytes] == '/');
}

/* ^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/) */
static bool is_place_left_out(struct ap_slice path)
{
    static const char *const trees[] = {"/dev", "/proc", "/sys"};
    static const char *const insides[] = {"/run/credentials/", "/var/lib/docker/", "/var/lib/containers/storage/"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(trees); i++)
        if (is_below(path, trees[i]))
            return true;
    for (size_t i = 0; i < AP_ARRAY_COUNT(insides); i++)
        if (ap_slice_starts_with(path, insides[i]) && path.bytes > strlen(insides[i]))
            return true;
    return false;
}

static bool is_one_of(struct ap_slice text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ap_slice_equal_cstr(text, words[i]))
            return true;
    return false;
}

/* Those that hold no files of anybody. */
static bool is_type_left_out(struct ap_slice type)
{
    static const char *const types[] = {"autofs",     "binfmt_misc", "bpf",       "cgroup",   "cgroup2",   "configfs",
                                        "debugfs",    "devpts",      "devtmpfs",  "fusectl",  "hugetlbfs", "iso9660",
                                        "mqueue",     "nsfs",        "overlay",   "proc",     "procfs",    "pstore",
                                        "rpc_pipefs", "securityfs",  "selinuxfs", "squashfs", "sysfs",     "tracefs"};
    return is_one_of(type, types, AP_ARRAY_COUNT(types));
}

static bool is_answering_from_memory(struct ap_slice type)
{
    static const char *const types[] = {"ext2", "ext3", "ext4", "xfs",   "btrfs", "tmpfs",    "ramfs",
                                        "vfat", "f2fs", "zfs",  "exfat", "erofs", "bcachefs", "rootfs"};
    return is_one_of(type, types, AP_ARRAY_COUNT(types));
}

/* ---- Asking without waiting for ever ---- */

struct answer {
    int error; /* errno; 0: `stat` is there */
    struct statfs stat;
};

/* One statfs() on a thread of its own. Counted: by the mounts' list and by the thread. */
struct asking {
    struct asking *next;
    char *path; /* owned */
    int (*statfs)(const char *path, struct statfs *ret);
    struct host_mounts *mounts; /* a reference */
    /* Under mounts->mtx. */
    bool is_done;
    bool is_given_up; /* nobody waits; the thread frees it */
    struct answer answer;
};

struct host_mounts {
    pthread_mutex_t mtx; /* a leaf */
    pthread_cond_t done;
    unsigned ref_count;
    struct asking *stuck; /* given up and not back yet */
};

struct host_mounts *host_mounts_new(void)
{
    struct host_mounts *mounts = ap_new0(struct host_mounts);
    pthread_mutex_init(&mounts->mtx, NULL);
    os_cond_init(&mounts->done);
    mounts->ref_count = 1;
    return mounts;
}

static void mounts_unref_locked(struct host_mounts *mounts)
{
    bool is_last = --mounts->ref_count == 0;
    pthread_mutex_unlock(&mounts->mtx);
    if (!is_last)
        return;
    pthread_cond_destroy(&mounts->done);
    pthread_mutex_destroy(&mounts->mtx);
    free(mounts);
}

void host_mounts_unref(struct host_mounts *mounts)
{
    pthread_mutex_lock(&mounts->mtx);
    mounts_unref_locked(mounts);
}

static void asking_free(struct asking *asking)
{
    free(asking->path);
    free(asking);
}

static void *asking_run(void *context)
{
    struct asking *asking = context;
    struct host_mounts *mounts = asking->mounts;
    struct answer answer = {0};
    if (asking->statfs(asking->path, &answer.stat) != 0)
        answer.error = errno;
    pthread_mutex_lock(&mounts->mtx);
    asking->answer = answer;
    asking->is_done = true;
    pthread_cond_broadcast(&mounts->done);
    if (asking->is_given_up) {
        struct asking **at = &mounts->stuck;
        while (*at != asking)
            at = &(*at)->next;
        *at = asking->next;
        asking_free(asking);
    }
    mounts_unref_locked(mounts);
    return NULL;
}

static bool is_stuck(struct host_mounts *mounts, const char *path)
{
    bool is_found = false;
    pthread_mutex_lock(&mounts->mtx);
    for (const struct asking *asking = mounts->stuck; asking && !is_found; asking = asking->next)
        is_found = strcmp(asking->path, path) == 0;
    pthread_mutex_unlock(&mounts->mtx);
    return is_found;
}

static struct asking *asking_start(struct host *host, const char *path)
{
    struct asking *asking = ap_new0(struct asking);
    asking->path = ap_strdup(path);
    asking->statfs = host->statfs;
    asking->mounts = host->mounts;
    pthread_mutex_lock(&host->mounts->mtx);
    host->mounts->ref_count++;
    pthread_mutex_unlock(&host->mounts->mtx);
    pthread_t thread;
    if (os_thread_start("statfs", asking_run, asking, &thread, NULL) == AP_OK) {
        pthread_detach(thread);
        return asking;
    }
    host_mounts_unref(host->mounts);
    asking_free(asking);
    return NULL;
}

static struct answer ask_beside(struct host *host, const char *path, int64_t deadline_us)
{
    struct host_mounts *mounts = host->mounts;
    struct asking *asking = is_stuck(mounts, path) ? NULL : asking_start(host, path);
    if (!asking)
        return (struct answer){.error = ETIMEDOUT};
    struct answer answer = {.error = ETIMEDOUT};
    pthread_mutex_lock(&mounts->mtx);
    while (!asking->is_done && os_cond_wait_until(&mounts->done, &mounts->mtx, deadline_us))
        ;
    if (asking->is_done) {
        answer = asking->answer;
        asking_free(asking);
    } else {
        asking->is_given_up = true;
        asking->next = mounts->stuck;
        mounts->stuck = asking;
    }
    pthread_mutex_unlock(&mounts->mtx);
    return answer;
}

/* ---- Saying ---- */

struct mount {
    struct ap_slice device, place, type, options; /* lent */
};

/* "\040" and "\011" are how the kernel writes a space and a tab. */
static struct ap_slice unescaped(struct host_scrape *scrape, struct ap_slice text)
{
    if (!host_has_text(text, "\\"))
        return text;
    struct ap_slice kept = host_keep(scrape, text);
    char *to = (char *)(uintptr_t)kept.data;
    size_t bytes = 0;
    for (size_t i = 0; i < kept.bytes;) {
        bool is_space = kept.bytes - i >= 4 && memcmp(kept.data + i, "\\040", 4) == 0;
        bool is_tab = kept.bytes - i >= 4 && memcmp(kept.data + i, "\\011", 4) == 0;
        to[bytes++] = is_space ? ' ' : is_tab ? '\t' : kept.data[i];
        i += is_space || is_tab ? 4 : 1;
    }
    return ap_slice(to, bytes);
}

/* A mount point as the machine sees it: below `root_path`, without that. */
static struct ap_slice without_root(const struct host *host, struct ap_slice place)
{
    size_t bytes = strlen(host->root_path);
    if (bytes == 0 || !is_below(place, host->root_path))
        return place;
    return place.bytes == bytes ? ap_slice_cstr("/") : ap_slice(place.data + bytes, place.bytes - bytes);
}

static bool has_option(struct ap_slice options, const char *word)
{
    while (options.data)
        if (ap_slice_equal_cstr(ap_slice_split(&options, ','), word))
            return true;
    return false;
}

static void add_mount(struct host_scrape *scrape, const struct mount *mount, const struct answer *answer)
{
    static const struct family device_error = {"node_filesystem_device_error",
                                               "Whether an error occurred while getting statistics for the given "
                                               "device.",
                                               FAMILY_GAUGE};
    static const struct family families[] = {
        {"node_filesystem_size_bytes", "Filesystem size in bytes.", FAMILY_GAUGE},
        {"node_filesystem_free_bytes", "Filesystem free space in bytes.", FAMILY_GAUGE},
        {"node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.", FAMILY_GAUGE},
        {"node_filesystem_files", "Filesystem total file nodes.", FAMILY_GAUGE},
        {"node_filesystem_files_free", "Filesystem total free file nodes.", FAMILY_GAUGE},
        {"node_filesystem_readonly", "Filesystem read-only status.", FAMILY_GAUGE},
    };
    const struct label labels[] = {
        {AP_SLICE_LITERAL("device"), mount->device},
        {AP_SLICE_LITERAL("fstype"), mount->type},
        {AP_SLICE_LITERAL("mountpoint"), mount->place},
    };
    families_add_labels(scrape->families, &device_error, answer->error != 0, labels, AP_ARRAY_COUNT(labels));
    if (answer->error)
        return;
    const struct statfs *stat = &answer->stat;
    double block_bytes = (double)stat->f_bsize;
    bool is_read_only = (stat->f_flags & ST_RDONLY) != 0 || has_option(mount->options, "ro");
    const double values[AP_ARRAY_COUNT(families)] = {
        (double)stat->f_blocks * block_bytes,
        (double)stat->f_bfree * block_bytes,
        (double)stat->f_bavail * block_bytes,
        (double)stat->f_files,
        (double)stat->f_ffree,
        is_read_only,
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(families); i++)
        families_add_labels(scrape->families, &families[i], values[i], labels, AP_ARRAY_COUNT(labels));
}

static bool is_same(const struct mount *a, const struct mount *b)
{
    return ap_slice_equal(a->device, b->device) && ap_slice_equal(a->place, b->place) &&
           ap_slice_equal(a->type, b->type);
}

static bool is_mount_seen(const struct mount *seen, size_t count, const struct mount *mount)
{
    for (size_t i = 0; i < count; i++)
        if (is_same(&seen[i], mount))
            return true;
    return false;
}

static void ask_mount(struct host_scrape *scrape, const struct mount *mount)
{
    struct host *host = scrape->host;
    AP_AUTO_FREE char *path = ap_asprintf("%s%.*s", host->root_path, AP_SLICE_ARG(mount->place));
    struct answer answer = {0};
    if (!is_answering_from_memory(mount->type))
        answer = ask_beside(host, path, AP_MIN(scrape->deadline_us, os_deadline_us(WAIT_MS)));
    else if (host->statfs(path, &answer.stat) != 0)
        answer.error = errno;
    add_mount(scrape, mount, &answer);
}

enum ap_rc host_filesystem(struct host_scrape *scrape, struct ap_err *err)
{
    struct ap_slice rest, line;
    /* Those of process 1: in a container, the host's. */
    if (host_read(scrape, scrape->proc_fd, "1/mounts", &rest, err) != AP_OK) {
        enum ap_rc rc = host_read(scrape, scrape->proc_fd, "mounts", &rest, err);
        if (rc != AP_OK)
            return rc;
    }
    AP_AUTO_FREE struct mount *mounts = NULL;
    size_t count = 0;
    while (host_line(&rest, &line) && count < MOUNTS_MAX) {
        struct mount mount;
        mount.device = host_field(&line);
        mount.place = without_root(scrape->host, unescaped(scrape, host_field(&line)));
        mount.type = host_field(&line);
        mount.options = host_field(&line);
        if (mount.type.bytes == 0 || mount.place.bytes > PATH_BYTES_MAX || is_place_left_out(mount.place) ||
            is_type_left_out(mount.type) || is_mount_seen(mounts, count, &mount))
            continue;
        mounts = ap_realloc(mounts, (count + 1) * sizeof(mounts[0]));
        mounts[count++] = mount;
    }
    for (size_t i = 0; i < count; i++)
        ask_mount(scrape, &mounts[i]);
    return AP_OK;
}
