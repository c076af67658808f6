#include "history/numbered_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "os/fs.h"

static bool collect(void *context, const char *name)
{
    struct numbered_files *files = context;
    if (strspn(name, "0123456789") != strlen(name) || strlen(name) >= NUMBERED_FILE_NAME_BYTES - 4)
        return true;
    files->items = ap_realloc(files->items, (files->count + 1) * sizeof(*files->items));
    struct numbered_file *file = &files->items[files->count++];
    snprintf(file->name, sizeof(file->name), "%s", name);
    file->number = strtoull(name, NULL, 10);
    return true;
}

static int compare(const void *a, const void *b)
{
    const struct numbered_file *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

enum ap_rc numbered_files_list(int dir_fd, const char *name, const char *path, int *ret_fd,
                               struct numbered_files *ret_files, struct ap_err *err)
{
    *ret_files = (struct numbered_files){0};
    *ret_fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*ret_fd < 0)
        return errno == ENOENT ? AP_OK : ap_fail_errno(err, errno, "open %s", path);
    int result = os_fs_system.list(os_fs_system.context, *ret_fd, collect, ret_files);
    if (result < 0) {
        numbered_files_clear(ret_files);
        return ap_fail_errno(err, -result, "list %s", path);
    }
    if (ret_files->count)
        qsort(ret_files->items, ret_files->count, sizeof(*ret_files->items), compare);
    return AP_OK;
}

void numbered_files_clear(struct numbered_files *files)
{
    free(files->items);
    *files = (struct numbered_files){0};
}
