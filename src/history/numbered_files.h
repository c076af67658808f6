/*
 * history/numbered_files.h - the files of a directory whose names are numbers, in order of these: segments
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

enum { NUMBERED_FILE_NAME_BYTES = 24 };

struct numbered_files {
    struct numbered_file {
        char name[NUMBERED_FILE_NAME_BYTES];
        uint64_t number;
    } * items; /* owned */
    size_t count;
};

/* *ret_fd: the directory, the caller's; -1 when it is not there, which is no failure. Other names are passed over. */
ap_nodiscard enum ap_rc numbered_files_list(int dir_fd, const char *name, const char *path, int *ret_fd,
                                            struct numbered_files *ret_files, struct ap_err *err);
void numbered_files_clear(struct numbered_files *files);
