/* Where `apiary import` hands over what it made, while this server runs. */
#include <inttypes.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/serve_internal.h"
#include "history/handover_desk.h"

enum { LOG_INTERVAL_MS = 10 * 1000 };

static void adopted(const char *id, const struct tsdb_adoption *adoption, void *context)
{
    (void)context;
    static struct ap_log_limit limit = {.interval_ms = LOG_INTERVAL_MS};
    ap_log_limited(&limit, AP_LOG_INFO, "import",
                   "took in block %s: %" PRIu64 " samples; %" PRIu64 " were there already, %" PRIu64
                   " have another value here, which stays",
                   id, adoption->samples_added, adoption->samples_same, adoption->samples_other);
}

static void trouble(const struct ap_err *err, void *context)
{
    (void)context;
    ap_log(AP_LOG_WARN, "import", "%s", err->text);
}

/* Without it everything else works, and an import needs the server to be stopped. */
void serve_open_import(struct apiary *apiary)
{
    const struct config *config = apiary->config;
    AP_AUTO_FREE char *tsdb_dir = ap_asprintf("%s/tsdb", config->data);
    const struct handover_desk_options options = {
        .data_fd = apiary->data_fd,
        .tsdb_dir = tsdb_dir,
        .tsdb = apiary->tsdb,
        .retention_ms = config->tsdb.retention,
        .retention_bytes = (uint64_t)config->tsdb.retention_size,
        .block_range_ms = config->tsdb.block_range,
        .adopted = adopted,
        .trouble = trouble,
    };
    struct ap_err err;
    if (handover_desk_open(&options, &apiary->handover, &err) != AP_OK)
        ap_log(AP_LOG_WARN, "import", "'apiary import' cannot work beside this server: %s", err.text);
}
