#include "cli/serve_postgres.h"

#include "base/log.h"
#include "collect/postgres_link.h"

/* Once for each change of a query: nobody has to be kept from flooding the log. */
static void log_notice(const struct ap_err *err, void *context)
{
    (void)context;
    ap_log(err->rc == AP_OK ? AP_LOG_INFO : AP_LOG_WARN, "postgres", "%s", err->text);
}

static enum ap_rc check_connections(const struct yaml_texts *connections, struct ap_err *err)
{
    for (size_t i = 0; i < connections->count; i++) {
        struct ap_err reason;
        if (postgres_link_check(connections->items[i], &reason) == AP_OK)
            continue;
        if (connections->nodes && connections->nodes[i])
            return yaml_fail(err, connections->nodes[i], "postgres.connections: %s: %s", connections->keys[i],
                             reason.text);
        return ap_fail(err, reason.rc, "postgres.connections: %s: %s", connections->keys[i], reason.text);
    }
    return AP_OK;
}

enum ap_rc serve_postgres_open(const struct config *config, struct postgres **ret_postgres, struct ap_err *err)
{
    const struct yaml_texts *texts = &config->postgres.connections;
    enum ap_rc rc = check_connections(texts, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO_FREE struct postgres_connection *connections = ap_new0_array(struct postgres_connection, texts->count + 1);
    for (size_t i = 0; i < texts->count; i++)
        connections[i] = (struct postgres_connection){texts->keys[i], texts->items[i]};
    const struct postgres_options options = {
        .connections = connections,
        .connection_count = texts->count,
        .statements_max = (uint32_t)config->postgres.max_statements,
        .databases_max = (uint32_t)config->postgres.max_databases,
        .tables_max = (uint32_t)config->postgres.max_tables,
        .notice = log_notice,
    };
    return postgres_open(&options, ret_postgres, err);
}
