/*
 * history/mapped_file.h - a file of somebody else's, mapped to be read
 *
 * It must not become shorter meanwhile: whoever reads a directory holds its lock, or the directory is a copy.
 */
#pragma once

#include "base/buf.h"
#include "base/rc.h"
#include "base/slice.h"

struct mapped_file {
    char *data; /* owned, mapped; NULL when the file is empty */
    size_t bytes;
};

/* `path` is for the message alone. AP_E_NOT_FOUND: there is none. */
ap_nodiscard enum ap_rc mapped_file_open(int dir_fd, const char *name, const char *path, struct mapped_file *ret_file,
                                         struct ap_err *err);
void mapped_file_close(struct mapped_file *file); /* {0} is allowed */

static inline struct ap_slice mapped_file_slice(const struct mapped_file *file)
{
    return ap_slice(file->data, file->bytes);
}
