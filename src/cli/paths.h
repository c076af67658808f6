/*
 * cli/paths.h - where the files lie that come with the program
 *
 * In a source tree beside the binary that was built in it, once installed in share/apiary.
 */
#pragma once

/*
 * The first of `build/deps/share/NAME`, `NAME` at the top of the source tree, and `share/apiary/NAME` that exists, seen
 * from the running binary. Owned by the caller (free()); NULL when there is none.
 */
char *cli_find_file(const char *name);
