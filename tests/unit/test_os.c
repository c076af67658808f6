/* os/: the real file table, whole reads and writes, threads, through their headers. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "os/fs.h"
#include "os/thread.h"

/* A fresh directory; the test leaves it empty. */
static int setup(void **state)
{
    const char *parent = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    char *path = ap_asprintf("%s/apiary-test-os-XXXXXX", parent);
    *state = mkdtemp(path);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    int result = rmdir(*state);
    free(*state);
    return result;
}

static bool count_entry(void *context, const char *name)
{
    (void)name;
    ++*(int *)context;
    return true;
}

static void test_files(void **state)
{
    const struct os_fs *fs = &os_fs_system;
    struct ap_err err;
    int dir_fd;
    assert_int_equal(os_dir_open(*state, &dir_fd, &err), AP_OK);
    assert_int_equal(fs->open(fs->context, dir_fd, "a", O_RDWR, 0), -ENOENT);
    int fd = fs->open(fs->context, dir_fd, "a", O_RDWR | O_CREAT, 0640);
    assert_true(fd >= 0);
    struct iovec parts[] = {
        {.iov_base = "hello", .iov_len = 5},
        {.iov_base = "", .iov_len = 0},
        {.iov_base = " world", .iov_len = 6},
    };
    assert_int_equal(os_write_all(fs, fd, parts, 3, 100, "a", &err), AP_OK);
    char bytes[11];
    assert_int_equal(os_read_all(fs, fd, bytes, sizeof(bytes), 100, "a", &err), AP_OK);
    assert_memory_equal(bytes, "hello world", 11);
    assert_int_equal(os_read_all(fs, fd, bytes, sizeof(bytes), 101, "a", &err), AP_E_CORRUPT);
    assert_string_equal(err.text, "a ends at 111, before what must be in it");
    assert_int_equal(fs->truncate(fs->context, fd, 50), 0);
    uint64_t size;
    assert_int_equal(fs->size(fs->context, fd, &size), 0);
    assert_int_equal(size, 50);
    int result = fs->allocate(fs->context, fd, 8192);
    if (result != -EOPNOTSUPP) {
        assert_int_equal(result, 0);
        assert_int_equal(fs->size(fs->context, fd, &size), 0);
        assert_int_equal(size, 8192);
    }
    assert_int_equal(fs->datasync(fs->context, fd), 0);
    fs->close(fs->context, fd);
    assert_int_equal(fs->rename(fs->context, dir_fd, "a", "b"), 0);
    assert_int_equal(fs->sync_dir(fs->context, dir_fd), 0);
    for (int i = 0; i < 2; i++) { /* each listing begins at the beginning */
        int count = 0;
        assert_int_equal(fs->list(fs->context, dir_fd, count_entry, &count), 0);
        assert_int_equal(count, 1);
    }
    assert_int_equal(fs->unlink(fs->context, dir_fd, "a"), -ENOENT);
    assert_int_equal(fs->unlink(fs->context, dir_fd, "b"), 0);
    close(dir_fd);
}

static void test_dir_open_makes_what_is_missing(void **state)
{
    AP_AUTO_FREE char *middle = ap_asprintf("%s/x", (char *)*state);
    AP_AUTO_FREE char *path = ap_asprintf("%s/x/y", (char *)*state);
    struct ap_err err;
    for (int i = 0; i < 2; i++) { /* made, then found */
        int fd;
        assert_int_equal(os_dir_open(path, &fd, &err), AP_OK);
        struct stat status;
        assert_int_equal(fstat(fd, &status), 0);
        assert_true(S_ISDIR(status.st_mode));
        close(fd);
    }
    AP_AUTO_FREE char *file = ap_asprintf("%s/file", path);
    AP_AUTO_FREE char *below_file = ap_asprintf("%s/file/z", path);
    close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    int fd;
    assert_int_equal(os_dir_open(below_file, &fd, &err), AP_E_IO);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(middle), 0);
}

struct shared {
    pthread_mutex_t mtx;
    pthread_cond_t cond;
    bool is_set;
    bool has_signals_blocked;
};

static void *set_it(void *context)
{
    struct shared *shared = context;
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    pthread_mutex_lock(&shared->mtx);
    shared->has_signals_blocked = sigismember(&blocked, SIGTERM) == 1;
    shared->is_set = true;
    pthread_cond_signal(&shared->cond);
    pthread_mutex_unlock(&shared->mtx);
    return NULL;
}

static void test_thread_and_deadline(void **state)
{
    (void)state;
    struct shared shared = {.mtx = PTHREAD_MUTEX_INITIALIZER};
    os_cond_init(&shared.cond);
    pthread_mutex_lock(&shared.mtx);
    int64_t deadline_us = os_deadline_us(1);
    while (os_cond_wait_until(&shared.cond, &shared.mtx, deadline_us))
        ; /* woken without reason */
    pthread_t thread;
    struct ap_err err;
    assert_int_equal(os_thread_start("test", set_it, &shared, &thread, &err), AP_OK);
    while (!shared.is_set)
        assert_true(os_cond_wait_until(&shared.cond, &shared.mtx, os_deadline_us(-1)));
    assert_true(shared.has_signals_blocked);
    pthread_mutex_unlock(&shared.mtx);
    pthread_join(thread, NULL);
    assert_int_equal(os_deadline_us(INT64_MAX), INT64_MAX);
    pthread_cond_destroy(&shared.cond);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dir_open_makes_what_is_missing, setup, teardown),
        cmocka_unit_test(test_thread_and_deadline),
    };
    return cmocka_run_group_tests_name("os", tests, NULL, NULL);
}
