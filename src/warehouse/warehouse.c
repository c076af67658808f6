#include "warehouse/warehouse.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "warehouse/cache.h"
#include "warehouse/duck.h"
#include "warehouse/readers.h"
#include "warehouse/schema.h"
#include "warehouse/warehouse_internal.h"
#include "warehouse/writer.h"

void warehouse_options_init(struct warehouse_options *options)
{
    *options = (struct warehouse_options){
        .clock = &ap_clock_system,
        .memory_bytes_max = 512 << 20,
        .threads = 2,
        .reader_count = 2,
        .query_queue_max = 256,
        .cache_bytes_max = 16 << 20,
        .checkpoint_bytes = 64 << 20,
    };
}

/*
 * What holds for every connection. Files and network are out of reach but for the database itself, and the last setting
 * keeps it so. Without a directory for temporary files a query that outgrows memory fails instead of filling the disk
 * that the log needs.
 */
static enum ap_rc configure(const struct warehouse_options *options, duckdb_config config, struct ap_err *err)
{
    char memory[32], threads[16];
    snprintf(memory, sizeof(memory), "%" PRIu64 "B", options->memory_bytes_max);
    snprintf(threads, sizeof(threads), "%u", options->threads);
    const struct {
        const char *name;
        const char *value;
    } settings[] = {
        {"memory_limit", memory},
        {"threads", threads},
        {"temp_directory", ""},
        {"checkpoint_threshold", "1TB"}, /* never inside of a COMMIT: see checkpoint.h */
        {"enable_external_access", "false"},
        {"autoinstall_known_extensions", "false"},
        {"autoload_known_extensions", "false"},
        {"allow_community_extensions", "false"},
    };
    for (size_t i = 0; i < AP_ARRAY_COUNT(settings); i++)
        if (duckdb_set_config(config, settings[i].name, settings[i].value) == DuckDBError)
            return ap_fail(err, AP_E_INTERNAL, "DuckDB does not take the setting %s = %s", settings[i].name,
                           settings[i].value);
    return AP_OK;
}

static enum ap_rc open_database(struct warehouse *warehouse, struct ap_err *err)
{
    duckdb_config config;
    if (duckdb_create_config(&config) == DuckDBError)
        return ap_fail(err, AP_E_INTERNAL, "DuckDB does not start");
    enum ap_rc rc = configure(&warehouse->options, config, err);
    char *message = NULL;
    if (rc == AP_OK && duckdb_open_ext(warehouse->path, &warehouse->database, config, &message) == DuckDBError) {
        rc = duck_fail(err, DUCKDB_ERROR_IO, message, NULL, NULL);
        ap_err_prefix(err, "open %s", warehouse->path);
        duckdb_free(message);
    }
    duckdb_destroy_config(&config);
    return rc;
}

static enum ap_rc prepare_database(struct warehouse *warehouse, struct ap_err *err)
{
    duckdb_connection connection;
    if (duckdb_connect(warehouse->database, &connection) == DuckDBError)
        return ap_fail(err, AP_E_INTERNAL, "connect to the warehouse");
    enum ap_rc rc = schema_make_tables(connection, err);
    if (rc == AP_OK)
        rc = duck_run(connection, err, "SET GLOBAL TimeZone = 'UTC'; SET GLOBAL lock_configuration = true");
    duckdb_disconnect(&connection);
    return rc;
}

enum ap_rc warehouse_open(const struct warehouse_options *options, struct warehouse **ret_warehouse, struct ap_err *err)
{
    AP_AUTO(warehouse) struct warehouse *warehouse = ap_new0(struct warehouse);
    warehouse->options = *options;
    warehouse->path = ap_asprintf("%s/hot.duckdb", options->dir);
    warehouse->options.dir = NULL; /* lent for this call only */
    warehouse->cache = cache_new(options->cache_bytes_max, options->clock);
    enum ap_rc rc = open_database(warehouse, err);
    if (rc == AP_OK)
        rc = prepare_database(warehouse, err);
    if (rc == AP_OK)
        rc = readers_open(warehouse, &warehouse->readers, err);
    if (rc != AP_OK)
        return rc;
    *ret_warehouse = AP_MOVE(warehouse);
    return AP_OK;
}

enum ap_rc warehouse_start(struct warehouse *warehouse, struct wal *wal, struct ap_err *err)
{
    return writer_start(warehouse, wal, &warehouse->writer, err);
}

void warehouse_close(struct warehouse *warehouse)
{
    if (!warehouse)
        return;
    writer_stop(warehouse->writer);
    readers_close(warehouse->readers);
    cache_free(warehouse->cache);
    rollups_free(warehouse->rollups, warehouse->rollup_count);
    if (warehouse->database)
        duckdb_close(&warehouse->database);
    free(warehouse->path);
    free(warehouse);
}

void warehouse_stats_get(struct warehouse *warehouse, struct warehouse_stats *ret_stats)
{
    *ret_stats = (struct warehouse_stats){0};
    if (warehouse->writer)
        writer_stats_get(warehouse->writer, ret_stats);
    readers_stats_get(warehouse->readers, ret_stats);
    struct stat info;
    if (stat(warehouse->path, &info) == 0)
        ret_stats->database_bytes = (uint64_t)info.st_size;
}
