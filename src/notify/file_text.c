#include "notify/file_text.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"

enum { PIECE_BYTES = 16 << 10 };

enum ap_rc file_text_read(const char *path, size_t bytes_max, struct ap_buf *out, struct ap_err *err)
{
    AP_AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return ap_fail_errno(err, errno, "open %s", path);
    for (size_t total = 0;;) {
        char piece[PIECE_BYTES];
        ssize_t got = read(fd, piece, sizeof(piece));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ap_fail_errno(err, errno, "read %s", path);
        if (got == 0)
            return AP_OK;
        total += (size_t)got;
        if (total > bytes_max)
            return ap_fail(err, AP_E_LIMIT, "%s has more than %zu bytes", path, bytes_max);
        ap_buf_add(out, piece, (size_t)got);
    }
}
