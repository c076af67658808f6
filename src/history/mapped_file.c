#include "history/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/mem.h"

enum ap_rc mapped_file_open(int dir_fd, const char *name, const char *path, struct mapped_file *ret_file,
                            struct ap_err *err)
{
    AP_AUTO_FD int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ap_fail_errno(err, errno, "open %s", path);
    struct stat info;
    if (fstat(fd, &info) != 0)
        return ap_fail_errno(err, errno, "size of %s", path);
    if (!S_ISREG(info.st_mode))
        return ap_fail(err, AP_E_CORRUPT, "%s is not a file", path);
    struct mapped_file file = {.bytes = (size_t)info.st_size};
    if (file.bytes) {
        void *data = mmap(NULL, file.bytes, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            return ap_fail_errno(err, errno, "map %s", path);
        file.data = data;
    }
    *ret_file = file;
    return AP_OK;
}

void mapped_file_close(struct mapped_file *file)
{
    if (file->data)
        munmap(file->data, file->bytes);
    *file = (struct mapped_file){0};
}
