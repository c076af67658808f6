/*
 * The directory of a test, and all that is in it, goes at its end. After cmocka's own.
 */
#pragma once

#include <ftw.h>
#include <stdio.h>

static inline int dir_remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline void dir_remove(const char *path)
{
    assert_int_equal(nftw(path, dir_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}
