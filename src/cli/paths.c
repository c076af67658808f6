#include "cli/paths.h"

#include <libgen.h>
#include <limits.h>
#include <unistd.h>

#include "base/mem.h"

char *cli_find_file(const char *name)
{
    char binary[PATH_MAX];
    ssize_t bytes = readlink("/proc/self/exe", binary, sizeof(binary) - 1);
    if (bytes < 0)
        return NULL;
    binary[bytes] = '\0';
    const char *dir = dirname(binary);
    /* build/ and the builds inside it (build/asan), the top of the source tree, the installed layout. */
    static const char *const places[] = {"deps/share", "../deps/share", "..", "../share/apiary"};
    for (size_t i = 0; i < AP_ARRAY_COUNT(places); i++) {
        AP_AUTO_FREE char *path = ap_asprintf("%s/%s/%s", dir, places[i], name);
        if (access(path, R_OK) == 0)
            return AP_MOVE(path);
    }
    return NULL;
}
