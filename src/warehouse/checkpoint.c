#include "warehouse/checkpoint.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "warehouse/duck.h"

/* New rows are written compressed, but roll-ups are written again as far as they changed. */
enum { ROOM_FACTOR = 4 };

enum ap_rc checkpoint_if_due(struct warehouse *warehouse, duckdb_connection connection, struct ap_err *err)
{
    AP_AUTO_FREE char *log_path = ap_asprintf("%s.wal", warehouse->path);
    struct stat info;
    if (stat(log_path, &info) != 0 || (uint64_t)info.st_size < warehouse->options.checkpoint_bytes)
        return AP_OK;
    uint64_t needed_bytes = ROOM_FACTOR * (uint64_t)info.st_size;
    struct statvfs disk;
    if (statvfs(warehouse->path, &disk) == 0 && disk.f_bavail * disk.f_frsize < needed_bytes)
        return ap_fail(err, AP_E_FULL, "%s waits for %" PRIu64 " MiB of free disk to be merged into the database",
                       log_path, needed_bytes >> 20);
    enum ap_rc rc = duck_run(connection, err, "CHECKPOINT");
    return rc == AP_OK ? AP_OK : ap_err_prefix(err, "checkpoint of the warehouse; it takes no rows until a restart");
}
