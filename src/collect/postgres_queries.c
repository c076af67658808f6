#include "collect/postgres_queries.h"

#include "base/mem.h"

#define LABEL(column)                                                                                                  \
    {                                                                                                                  \
        POSTGRES_LABEL, column, NULL, NULL                                                                             \
    }
#define COUNTER(column, help)                                                                                          \
    {                                                                                                                  \
        POSTGRES_COUNTER, column, help, NULL                                                                           \
    }
#define GAUGE(column, help)                                                                                            \
    {                                                                                                                  \
        POSTGRES_GAUGE, column, help, NULL                                                                             \
    }
#define DATABASE_LABELS  LABEL("datid"), LABEL("datname")
#define TABLE_LABELS     LABEL("datname"), LABEL("schemaname"), LABEL("relname")
#define INDEX_LABELS     TABLE_LABELS, LABEL("indexrelname")
#define STATEMENT_LABELS LABEL("user"), LABEL("datname"), LABEL("queryid")

/* The oldest databases: the same ones each time. */
#define DATABASES                                                                                                      \
    "(SELECT oid, datname, datfrozenxid, datminmxid, datallowconn, "                                                   \
    "greatest(count(*) OVER () - $1::int, 0) AS cut FROM pg_database ORDER BY oid LIMIT $1::int)"

/*
 * The largest tables and indexes by what the last VACUUM or ANALYZE noted, which costs nothing to read. Their sizes are
 * files that must be looked at, and for that a lock, which whoever alters or rewrites the table does not share: of such
 * a table there is no size.
 */
#define LOCKED "(SELECT relation FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation IS NOT NULL)"
#define TABLES                                                                                                         \
    "(SELECT c.oid, "                                                                                                  \
    "c.oid IN " LOCKED " OR c.oid IN (SELECT indrelid FROM pg_index WHERE indexrelid IN " LOCKED ") AS locked, "       \
    "greatest(count(*) OVER () - $1::int, 0) AS cut FROM pg_class c "                                                  \
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' "    \
    "AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast' "                          \
    "ORDER BY c.relpages DESC, c.oid LIMIT $1::int)"
#define INDEXES                                                                                                        \
    "(SELECT c.oid, "                                                                                                  \
    "c.oid IN " LOCKED " AS locked, "                                                                                  \
    "greatest(count(*) OVER () - $1::int, 0) AS cut FROM pg_class c "                                                  \
    "JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_namespace n ON n.oid = c.relnamespace "                           \
    "WHERE c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema') "                         \
    "AND n.nspname !~ '^pg_toast' ORDER BY c.relpages DESC, c.oid LIMIT $1::int)"

/*
 * The statements that took the most time. The text is given once for each queryid, and only in part: what is longer
 * than a label may be is cut here, so that it is not sent. Statements at the top and inside of functions are one,
 * with the deviation from the mean of all.
 */
#define STATEMENTS(total_time, mean, min, max, stddev, read_time, write_time)                                          \
    "SELECT pg_get_userbyid(userid) AS user, datname, queryid, "                                                       \
    "CASE WHEN row_number() OVER (PARTITION BY queryid ORDER BY seconds DESC, userid, dbid) = 1 "                      \
    "THEN left(query, 2000) END AS query, calls AS calls_total, seconds AS seconds_total, rows AS rows_total, "        \
    "read_seconds AS block_read_seconds_total, write_seconds AS block_write_seconds_total, "                           \
    "hit AS shared_blks_hit_total, read AS shared_blks_read_total, "                                                   \
    "mean_time_seconds, min_time_seconds, max_time_seconds, stddev_time_seconds, cut "                                 \
    "FROM (SELECT userid, dbid, queryid, min(query) AS query, sum(calls) AS calls, sum(" total_time                    \
    ") / 1000 AS seconds, "                                                                                            \
    "sum(rows) AS rows, sum(" read_time ") / 1000 AS read_seconds, sum(" write_time ") / 1000 AS write_seconds, "      \
    "sum(shared_blks_hit) AS hit, sum(shared_blks_read) AS read, "                                                     \
    "CASE WHEN count(*) = 1 THEN max(" mean ") ELSE sum(" total_time                                                   \
    ") / nullif(sum(calls), 0) END / 1000 AS mean_time_seconds, min(" min ") / 1000 AS min_time_seconds, "             \
    "max(" max ") / 1000 AS max_time_seconds, CASE WHEN count(*) = 1 THEN max(" stddev ") ELSE "                       \
    "sqrt(greatest(sum(calls * (" stddev " ^ 2 + " mean " ^ 2)) / nullif(sum(calls), 0) - "                            \
    "(sum(" total_time ") / nullif(sum(calls), 0)) ^ 2, 0)) END / 1000 AS stddev_time_seconds, "                       \
    "greatest(count(*) OVER () - $1::int, 0) AS cut "                                                                  \
    "FROM @extension@.pg_stat_statements WHERE queryid IS NOT NULL GROUP BY userid, dbid, queryid "                    \
    "ORDER BY seconds DESC, queryid LIMIT $1::int) s JOIN pg_database d ON d.oid = dbid"
#define STATEMENT_COLUMNS                                                                                              \
    STATEMENT_LABELS, {POSTGRES_STATEMENT, "query", "SQL Query to queryid mapping", NULL},                             \
        COUNTER("calls_total", "Number of times executed"),                                                            \
        COUNTER("seconds_total", "Total time spent in the statement, in seconds"),                                     \
        COUNTER("rows_total", "Total number of rows retrieved or affected by the statement"),                          \
        COUNTER("block_read_seconds_total", "Total time the statement spent reading blocks, in seconds"),              \
        COUNTER("block_write_seconds_total", "Total time the statement spent writing blocks, in seconds"),             \
        COUNTER("shared_blks_hit_total", "Total number of shared block cache hits by the statement"),                  \
        COUNTER("shared_blks_read_total", "Total number of shared blocks read by the statement"),                      \
        GAUGE("mean_time_seconds", "Mean time spent in the statement since its figures were reset, in seconds"),       \
        GAUGE("min_time_seconds", "Minimum time spent in the statement since its figures were reset, in seconds"),     \
        GAUGE("max_time_seconds", "Maximum time spent in the statement since its figures were reset, in seconds"),     \
        GAUGE("stddev_time_seconds", "Population standard deviation of the time spent in the statement, in seconds")

/* clang-format off */
const struct postgres_query postgres_queries[] = {
    {.collector = "static", .prefix = "pg",
     .sql = "SELECT version() AS version, current_setting('server_version_num')::int / 10000 || '.' || "
            "current_setting('server_version_num')::int % 10000 || '.0' AS short_version, 1 AS static",
     .columns = {LABEL("version"), LABEL("short_version"),
                 {POSTGRES_UNTYPED, "static", "Version string as reported by postgres", NULL}}},

    /* What this session has set for itself (source "session") is told as it would be without. */
    {.collector = "settings", .prefix = "pg_settings",
     .sql = "SELECT regexp_replace(name, '[^a-zA-Z0-9_]', '_', 'g') || coalesce('_' || kind, '') AS name, "
            "short_desc || coalesce(' [Units converted to ' || kind || '.]', '') AS help, "
            "CASE WHEN vartype = 'bool' THEN (value = 'on')::int::float8 WHEN value = '-1' THEN -1 "
            "ELSE value::float8 * coalesce(substring(unit FROM '^[0-9]+')::float8, 1) * coalesce(times, 1) / "
            "coalesce(part, 1) END AS value "
            "FROM (SELECT name, short_desc, vartype, unit, "
            "CASE WHEN name = 'transaction_read_only' AND pg_is_in_recovery() THEN 'on' "
            "WHEN source = 'session' OR name = 'transaction_read_only' THEN reset_val ELSE setting END AS value "
            "FROM pg_settings WHERE vartype IN ('bool', 'integer', 'real')) s "
            "LEFT JOIN (VALUES ('us', 'seconds', 1::float8, 1000000), ('ms', 'seconds', 1, 1000), "
            "('s', 'seconds', 1, 1), ('min', 'seconds', 60, 1), ('h', 'seconds', 3600, 1), ('d', 'seconds', 86400, 1), "
            "('B', 'bytes', 1, 1), ('kB', 'bytes', 1024, 1), ('MB', 'bytes', 1048576, 1), "
            "('GB', 'bytes', 1073741824, 1), ('TB', 'bytes', 1099511627776, 1)) AS u(unit_name, kind, times, part) "
            "ON unit_name = regexp_replace(unit, '^[0-9]+', '')",
     .columns = {{POSTGRES_NAME, "name", NULL, NULL}, {POSTGRES_HELP, "help", NULL, NULL},
                 {POSTGRES_GAUGE, "value", NULL, NULL}}},

    {.collector = "database", .prefix = "pg_database", .limit = POSTGRES_LIMIT_DATABASES,
     .sql = "SELECT datname, CASE WHEN has_database_privilege(oid, 'CONNECT') OR "
            "pg_has_role('pg_read_all_stats', 'USAGE') THEN pg_database_size(oid) END AS size_bytes, cut "
            "FROM " DATABASES " d",
     .columns = {LABEL("datname"), GAUGE("size_bytes", "Disk space used by the database")}},

    /* Named as ages of time in postgres_exporter; they are numbers of transactions. */
    {.collector = "database_wraparound", .prefix = "pg_database_wraparound", .limit = POSTGRES_LIMIT_DATABASES,
     .sql = "SELECT datname, age(datfrozenxid) AS age_datfrozenxid_seconds, "
            "mxid_age(datminmxid) AS age_datminmxid_seconds, cut FROM " DATABASES " d WHERE datallowconn",
     .columns = {LABEL("datname"),
                 GAUGE("age_datfrozenxid_seconds", "Age of the oldest transaction ID that has not been frozen."),
                 GAUGE("age_datminmxid_seconds",
                       "Age of the oldest multi-transaction ID that has been replaced with a transaction ID.")}},

    {.collector = "stat_database", .prefix = "pg_stat_database", .limit = POSTGRES_LIMIT_DATABASES,
     .sql = "SELECT datid, datname, numbackends, xact_commit, xact_rollback, blks_read, blks_hit, tup_returned, "
            "tup_fetched, tup_inserted, tup_updated, tup_deleted, conflicts, temp_files, temp_bytes, deadlocks, "
            "checksum_failures, floor(extract(epoch FROM checksum_last_failure)) AS checksum_last_failure, "
            "blk_read_time, blk_write_time, floor(extract(epoch FROM stats_reset)) AS stats_reset, "
            "greatest(count(*) OVER () - $1::int - 1, 0) AS cut FROM pg_stat_database "
            "ORDER BY datid LIMIT $1::int + 1", /* one row is of no database: what all of them share */
     .columns =
         {DATABASE_LABELS,
          GAUGE("numbackends", "Number of backends currently connected to this database. This is the only column in "
                               "this view that returns a value reflecting current state; all other columns return the "
                               "accumulated values since the last reset."),
          COUNTER("xact_commit", "Number of transactions in this database that have been committed"),
          COUNTER("xact_rollback", "Number of transactions in this database that have been rolled back"),
          COUNTER("blks_read", "Number of disk blocks read in this database"),
          COUNTER("blks_hit", "Number of times disk blocks were found already in the buffer cache, so that a read was "
                              "not necessary (this only includes hits in the PostgreSQL buffer cache, not the operating "
                              "system's file system cache)"),
          COUNTER("tup_returned", "Number of rows returned by queries in this database"),
          COUNTER("tup_fetched", "Number of rows fetched by queries in this database"),
          COUNTER("tup_inserted", "Number of rows inserted by queries in this database"),
          COUNTER("tup_updated", "Number of rows updated by queries in this database"),
          COUNTER("tup_deleted", "Number of rows deleted by queries in this database"),
          COUNTER("conflicts", "Number of queries canceled due to conflicts with recovery in this database. (Conflicts "
                               "occur only on standby servers; see pg_stat_database_conflicts for details.)"),
          COUNTER("temp_files", "Number of temporary files created by queries in this database. All temporary files are "
                                "counted, regardless of why the temporary file was created (e.g., sorting or hashing), "
                                "and regardless of the log_temp_files setting."),
          COUNTER("temp_bytes", "Total amount of data written to temporary files by queries in this database. All "
                                "temporary files are counted, regardless of why the temporary file was created, and "
                                "regardless of the log_temp_files setting."),
          COUNTER("deadlocks", "Number of deadlocks detected in this database"),
          COUNTER("checksum_failures", "Number of data page checksum failures detected in this database"),
          GAUGE("checksum_last_failure", "Time at which the last data page checksum failure was detected"),
          COUNTER("blk_read_time", "Time spent reading data file blocks by backends in this database, in milliseconds"),
          COUNTER("blk_write_time", "Time spent writing data file blocks by backends in this database, in milliseconds"),
          COUNTER("stats_reset", "Time at which these statistics were last reset")}},

    {.collector = "stat_database_sessions", .prefix = "pg_stat_database", .server_min = 140000,
     .limit = POSTGRES_LIMIT_DATABASES,
     .sql = "SELECT datid, datname, session_time, active_time, active_time / 1000 AS active_time_seconds_total, "
            "idle_in_transaction_time, sessions, sessions_abandoned, sessions_fatal, sessions_killed, "
            "greatest(count(*) OVER () - $1::int - 1, 0) AS cut FROM pg_stat_database "
            "ORDER BY datid LIMIT $1::int + 1",
     .columns = {DATABASE_LABELS,
                 COUNTER("session_time", "Time spent by sessions in this database, in milliseconds"),
                 COUNTER("active_time", "Time spent executing SQL statements in this database, in milliseconds"),
                 COUNTER("active_time_seconds_total", "Time spent executing SQL statements in this database, in seconds"),
                 COUNTER("idle_in_transaction_time", "Time spent idle in a transaction in this database, in milliseconds"),
                 COUNTER("sessions", "Number of sessions established to this database"),
                 COUNTER("sessions_abandoned", "Number of sessions to this database that the client left without a word"),
                 COUNTER("sessions_fatal", "Number of sessions to this database that a fatal error ended"),
                 COUNTER("sessions_killed", "Number of sessions to this database that an operator ended")}},

    {.collector = "stat_database_conflicts", .prefix = "pg_stat_database_conflicts", .limit = POSTGRES_LIMIT_DATABASES,
     .sql = "SELECT datid, datname, confl_tablespace, confl_lock, confl_snapshot, confl_bufferpin, confl_deadlock, "
            "greatest(count(*) OVER () - $1::int, 0) AS cut FROM pg_stat_database_conflicts "
            "ORDER BY datid LIMIT $1::int",
     .columns = {DATABASE_LABELS,
                 COUNTER("confl_tablespace",
                         "Number of queries in this database that have been canceled due to dropped tablespaces"),
                 COUNTER("confl_lock", "Number of queries in this database that have been canceled due to lock timeouts"),
                 COUNTER("confl_snapshot", "Number of queries in this database that have been canceled due to old snapshots"),
                 COUNTER("confl_bufferpin",
                         "Number of queries in this database that have been canceled due to pinned buffers"),
                 COUNTER("confl_deadlock", "Number of queries in this database that have been canceled due to deadlocks")}},

    {.collector = "locks", .prefix = "pg_locks", .limit = POSTGRES_LIMIT_DATABASES,
     .sql = "SELECT d.datname, m.mode, coalesce(l.count, 0) AS count, cut FROM " DATABASES " d "
            "CROSS JOIN (VALUES ('accesssharelock'), ('rowsharelock'), ('rowexclusivelock'), "
            "('shareupdateexclusivelock'), ('sharelock'), ('sharerowexclusivelock'), ('exclusivelock'), "
            "('accessexclusivelock'), ('sireadlock')) AS m(mode) "
            "LEFT JOIN (SELECT database, lower(mode) AS mode, count(*) AS count FROM pg_locks GROUP BY 1, 2) l "
            "ON l.database = d.oid AND l.mode = m.mode",
     .columns = {LABEL("datname"), LABEL("mode"), GAUGE("count", "Number of locks")}},

    {.collector = "stat_activity", .prefix = "pg_stat_activity", .limit = POSTGRES_LIMIT_DATABASES,
     .sql = "SELECT d.datname, s.state, coalesce(a.count, 0) AS count, "
            "coalesce(a.max_tx_duration, 0) AS max_tx_duration, cut FROM " DATABASES " d "
            "CROSS JOIN (VALUES ('active'), ('idle'), ('idle in transaction'), ('idle in transaction (aborted)'), "
            "('fastpath function call'), ('disabled')) AS s(state) "
            "LEFT JOIN (SELECT datid, state, count(*) AS count, "
            "max(extract(epoch FROM now() - xact_start))::float8 AS max_tx_duration "
            "FROM pg_stat_activity GROUP BY 1, 2) a ON a.datid = d.oid AND a.state = s.state",
     .columns = {LABEL("datname"), LABEL("state"), GAUGE("count", "number of connections in this state"),
                 GAUGE("max_tx_duration", "max duration in seconds any active transaction has been running")}},

    {.collector = "long_running_transactions", .prefix = "pg_long_running_transactions",
     .sql = "SELECT count(*) FILTER (WHERE age >= 60) AS transactions, "
            "coalesce(max(age), 0) AS oldest_timestamp_seconds "
            "FROM (SELECT extract(epoch FROM clock_timestamp() - xact_start) AS age FROM pg_stat_activity "
            "WHERE state IS DISTINCT FROM 'idle' AND backend_type = 'client backend' AND pid <> pg_backend_pid()) a",
     .columns = {{POSTGRES_GAUGE, "transactions", "Current number of long running transactions",
                  "pg_long_running_transactions"},
                 GAUGE("oldest_timestamp_seconds", "The current maximum transaction age in seconds")}},

    /* Standbys that cannot be told apart by these labels are one: the one that is behind the most. */
    {.collector = "stat_replication", .prefix = "pg_stat_replication",
     .sql = "SELECT application_name, host(client_addr) AS client_addr, state, slot_name, "
            "max(pg_wal_lsn_diff(at, '0/0')) AS pg_current_wal_lsn_bytes, "
            "max(pg_wal_lsn_diff(at, replay_lsn)) AS pg_wal_lsn_diff, "
            "extract(epoch FROM max(write_lag)) AS write_lag_seconds, "
            "extract(epoch FROM max(flush_lag)) AS flush_lag_seconds, "
            "extract(epoch FROM max(replay_lag)) AS replay_lag_seconds, "
            "floor(extract(epoch FROM min(reply_time))) AS reply_time "
            "FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid, "
            "(SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_lsn() END AS at) w "
            "GROUP BY 1, 2, 3, 4",
     .columns = {LABEL("application_name"), LABEL("client_addr"), LABEL("state"), LABEL("slot_name"),
                 GAUGE("pg_current_wal_lsn_bytes", "WAL position in bytes"),
                 GAUGE("pg_wal_lsn_diff", "Lag in bytes between master and slave"),
                 GAUGE("write_lag_seconds", "Time until recent WAL was written by the standby"),
                 GAUGE("flush_lag_seconds", "Time until recent WAL was flushed by the standby"),
                 GAUGE("replay_lag_seconds", "Time until recent WAL was replayed by the standby"),
                 GAUGE("reply_time", "Time at which the standby sent its last reply")}},

    {.collector = "replication_slots", .prefix = "pg_replication_slots",
     .sql = "SELECT slot_name, database, active, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() "
            "THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, restart_lsn) AS pg_wal_lsn_diff "
            "FROM pg_replication_slots",
     .columns = {LABEL("slot_name"), LABEL("database"), GAUGE("active", "Flag indicating if the slot is active"),
                 GAUGE("pg_wal_lsn_diff", "Replication lag in bytes")}},

    {.collector = "replication_slots_wal", .prefix = "pg_replication_slots", .server_min = 130000,
     .sql = "SELECT slot_name, slot_type, safe_wal_size AS safe_wal_size_bytes FROM pg_replication_slots",
     .columns = {LABEL("slot_name"), LABEL("slot_type"),
                 GAUGE("safe_wal_size_bytes", "number of bytes that can be written to WAL such that this slot is not in "
                                              "danger of getting in state lost")}},

    {.collector = "replication_slots_wal_status", .prefix = "pg_replication_slots", .server_min = 130000,
     .sql = "SELECT slot_name, slot_type, wal_status, 1 AS wal_status FROM pg_replication_slots "
            "WHERE wal_status IS NOT NULL",
     .columns = {LABEL("slot_name"), LABEL("slot_type"), LABEL("wal_status"),
                 GAUGE("wal_status", "availability of WAL files claimed by this slot")}},

    {.collector = "replication", .prefix = "pg_replication",
     .sql = "SELECT lag, lag AS lag_seconds, is_replica::int AS is_replica, last_replay_seconds "
            "FROM (SELECT pg_is_in_recovery() AS is_replica, "
            "extract(epoch FROM now() - pg_last_xact_replay_timestamp()) AS last_replay_seconds, "
            /* All that came in is replayed: a quiet primary is not a lag. */
            "CASE WHEN NOT pg_is_in_recovery() OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 "
            "ELSE greatest(0, extract(epoch FROM now() - pg_last_xact_replay_timestamp())) END AS lag) r",
     .columns = {GAUGE("lag", "Replication lag behind master in seconds"),
                 GAUGE("lag_seconds", "Replication lag behind master in seconds"),
                 GAUGE("is_replica", "Indicates if the server is a replica"),
                 GAUGE("last_replay_seconds", "Age of last replay in seconds")}},

    {.collector = "stat_archiver", .prefix = "pg_stat_archiver",
     .sql = "SELECT archived_count, failed_count, extract(epoch FROM now() - last_archived_time) AS last_archive_age "
            "FROM pg_stat_archiver",
     .columns = {COUNTER("archived_count", "Number of WAL files that have been successfully archived"),
                 COUNTER("failed_count", "Number of failed attempts for archiving WAL files"),
                 GAUGE("last_archive_age", "Time in seconds since last WAL segment was successfully archived")}},

    {.collector = "stat_bgwriter", .prefix = "pg_stat_bgwriter", .server_max = 170000,
     .sql = "SELECT checkpoints_timed AS checkpoints_timed_total, checkpoints_req AS checkpoints_req_total, "
            "checkpoint_write_time AS checkpoint_write_time_total, checkpoint_sync_time AS checkpoint_sync_time_total, "
            "buffers_checkpoint AS buffers_checkpoint_total, buffers_clean AS buffers_clean_total, "
            "maxwritten_clean AS maxwritten_clean_total, buffers_backend AS buffers_backend_total, "
            "buffers_backend_fsync AS buffers_backend_fsync_total, buffers_alloc AS buffers_alloc_total, "
            "floor(extract(epoch FROM stats_reset)) AS stats_reset_total FROM pg_stat_bgwriter",
     .columns =
         {COUNTER("checkpoints_timed_total", "Number of scheduled checkpoints that have been performed"),
          COUNTER("checkpoints_req_total", "Number of requested checkpoints that have been performed"),
          COUNTER("checkpoint_write_time_total", "Total amount of time that has been spent in the portion of checkpoint "
                                                 "processing where files are written to disk, in milliseconds"),
          COUNTER("checkpoint_sync_time_total", "Total amount of time that has been spent in the portion of checkpoint "
                                                "processing where files are synchronized to disk, in milliseconds"),
          COUNTER("buffers_checkpoint_total", "Number of buffers written during checkpoints"),
          COUNTER("buffers_clean_total", "Number of buffers written by the background writer"),
          COUNTER("maxwritten_clean_total", "Number of times the background writer stopped a cleaning scan because it "
                                            "had written too many buffers"),
          COUNTER("buffers_backend_total", "Number of buffers written directly by a backend"),
          COUNTER("buffers_backend_fsync_total", "Number of times a backend had to execute its own fsync call (normally "
                                                 "the background writer handles those even when the backend does its "
                                                 "own write)"),
          COUNTER("buffers_alloc_total", "Number of buffers allocated"),
          COUNTER("stats_reset_total", "Time at which these statistics were last reset")}},

    {.collector = "stat_bgwriter", .prefix = "pg_stat_bgwriter", .server_min = 170000,
     .sql = "SELECT buffers_clean AS buffers_clean_total, maxwritten_clean AS maxwritten_clean_total, "
            "buffers_alloc AS buffers_alloc_total, floor(extract(epoch FROM stats_reset)) AS stats_reset_total "
            "FROM pg_stat_bgwriter",
     .columns = {COUNTER("buffers_clean_total", "Number of buffers written by the background writer"),
                 COUNTER("maxwritten_clean_total", "Number of times the background writer stopped a cleaning scan "
                                                   "because it had written too many buffers"),
                 COUNTER("buffers_alloc_total", "Number of buffers allocated"),
                 COUNTER("stats_reset_total", "Time at which these statistics were last reset")}},

    {.collector = "stat_checkpointer", .prefix = "pg_stat_checkpointer", .server_min = 170000,
     .sql = "SELECT num_timed AS num_timed_total, num_requested AS num_requested_total, "
            "restartpoints_timed AS restartpoints_timed_total, restartpoints_req AS restartpoints_req_total, "
            "restartpoints_done AS restartpoints_done_total, write_time AS write_time_total, "
            "sync_time AS sync_time_total, buffers_written AS buffers_written_total, "
            "floor(extract(epoch FROM stats_reset)) AS stats_reset_total FROM pg_stat_checkpointer",
     .columns =
         {COUNTER("num_timed_total", "Number of scheduled checkpoints due to timeout"),
          COUNTER("num_requested_total", "Number of requested checkpoints that have been performed"),
          COUNTER("restartpoints_timed_total",
                  "Number of scheduled restartpoints due to timeout or after a failed attempt to perform it"),
          COUNTER("restartpoints_req_total", "Number of requested restartpoints"),
          COUNTER("restartpoints_done_total", "Number of restartpoints that have been performed"),
          COUNTER("write_time_total", "Total amount of time that has been spent in the portion of processing checkpoints "
                                      "and restartpoints where files are written to disk, in milliseconds"),
          COUNTER("sync_time_total", "Total amount of time that has been spent in the portion of processing checkpoints "
                                     "and restartpoints where files are synchronized to disk, in milliseconds"),
          COUNTER("buffers_written_total", "Number of buffers written during checkpoints and restartpoints"),
          COUNTER("stats_reset_total", "Time at which these statistics were last reset")}},

    {.collector = "stat_io", .prefix = "pg_stat_io", .server_min = 160000,
     .sql = "SELECT backend_type, object, context, reads, read_time, writes, write_time, writebacks, extends, hits, "
            "evictions, reuses, fsyncs, fsync_time FROM pg_stat_io",
     .columns = {LABEL("backend_type"), LABEL("object"), LABEL("context"),
                 COUNTER("reads", "Number of read operations"),
                 COUNTER("read_time", "Time spent in read operations, in milliseconds"),
                 COUNTER("writes", "Number of write operations"),
                 COUNTER("write_time", "Time spent in write operations, in milliseconds"),
                 COUNTER("writebacks", "Number of units that the kernel was asked to write out"),
                 COUNTER("extends", "Number of relation extend operations"),
                 COUNTER("hits", "Number of times that a block was found in a shared buffer"),
                 COUNTER("evictions", "Number of times that a buffer was taken for another block"),
                 COUNTER("reuses", "Number of times that a buffer of a ring was used again"),
                 COUNTER("fsyncs", "Number of fsync calls"),
                 COUNTER("fsync_time", "Time spent in fsync calls, in milliseconds")}},

    {.collector = "postmaster", .prefix = "pg_postmaster",
     .sql = "SELECT extract(epoch FROM pg_postmaster_start_time()) AS start_time_seconds",
     .columns = {GAUGE("start_time_seconds", "Time at which postmaster started")}},

    {.collector = "wal", .prefix = "pg_wal",
     .sql = "SELECT count(*) AS segments, coalesce(sum(size), 0) AS size_bytes, "
            "pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, "
            "'0/0') AS lsn_location_bytes FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'",
     .columns = {GAUGE("segments", "Number of WAL segments"), GAUGE("size_bytes", "Total size of WAL segments"),
                 GAUGE("lsn_location_bytes", "WAL Log Sequence Number in bytes")}},

    /* An extension keeps the version that it was created with, whatever server it is in by now. */
    {.collector = "stat_statements", .prefix = "pg_stat_statements", .extension = "pg_stat_statements",
     .extension_max = 108, .limit = POSTGRES_LIMIT_STATEMENTS,
     .sql = STATEMENTS("total_time", "mean_time", "min_time", "max_time", "stddev_time", "blk_read_time",
                       "blk_write_time"),
     .columns = {STATEMENT_COLUMNS}},
    {.collector = "stat_statements", .prefix = "pg_stat_statements", .extension = "pg_stat_statements",
     .extension_min = 108, .extension_max = 111, .limit = POSTGRES_LIMIT_STATEMENTS,
     .sql = STATEMENTS("total_exec_time", "mean_exec_time", "min_exec_time", "max_exec_time", "stddev_exec_time",
                       "blk_read_time", "blk_write_time"),
     .columns = {STATEMENT_COLUMNS}},
    {.collector = "stat_statements", .prefix = "pg_stat_statements", .extension = "pg_stat_statements",
     .extension_min = 111, .limit = POSTGRES_LIMIT_STATEMENTS,
     .sql = STATEMENTS("total_exec_time", "mean_exec_time", "min_exec_time", "max_exec_time", "stddev_exec_time",
                       "shared_blk_read_time", "shared_blk_write_time"),
     .columns = {STATEMENT_COLUMNS}},

    /*
     * The extension keeps the last few spans of time and forgets older ones, so that this is a gauge: how long statements
     * took within them. Cumulative by `le`, for histogram_quantile() as it stands.
     */
    {.collector = "stat_monitor", .prefix = "pg_stat_monitor", .server_min = 130000, .extension = "pg_stat_monitor",
     .is_optional = true, .limit = POSTGRES_LIMIT_STATEMENTS,
     .sql = "WITH top AS (SELECT userid::oid AS userid, datname, queryid::text AS queryid, "
            "greatest(count(*) OVER () - $1::int, 0) AS cut FROM @extension@.pg_stat_monitor "
            "WHERE queryid IS NOT NULL GROUP BY 1, 2, 3 ORDER BY sum(total_exec_time) DESC, 3 LIMIT $1::int), "
            "bounds AS (SELECT nth, CASE WHEN bound[1] = '...' THEN '+Inf' ELSE (bound[1]::float8 / 1000)::text END AS le "
            "FROM regexp_matches(@extension@.get_histogram_timings(), '- ([0-9.]+)[)}]', 'g') "
            "WITH ORDINALITY AS b(bound, nth)) "
            "SELECT pg_get_userbyid(m.userid::oid) AS user, m.datname, m.queryid, le, "
            "sum(sum(count::float8)) OVER (PARTITION BY m.userid::oid, m.datname, m.queryid::text ORDER BY nth) "
            "AS exec_seconds_bucket, min(cut) AS cut "
            "FROM @extension@.pg_stat_monitor m CROSS JOIN unnest(m.resp_calls) WITH ORDINALITY AS c(count, n) "
            "JOIN bounds ON nth = n JOIN top t ON t.userid = m.userid::oid AND t.datname = m.datname "
            "AND t.queryid = m.queryid::text GROUP BY m.userid::oid, m.datname, m.queryid::text, m.queryid, nth, le",
     .columns = {STATEMENT_LABELS, LABEL("le"),
                 GAUGE("exec_seconds_bucket", "Number of executions within the time that pg_stat_monitor keeps that took "
                                              "at most so many seconds")}},

    {.collector = "stat_user_tables", .prefix = "pg_stat_user_tables", .is_of_each_database = true,
     .limit = POSTGRES_LIMIT_TABLES,
     .sql = "SELECT current_database() AS datname, schemaname, relname, seq_scan, seq_tup_read, "
            "coalesce(idx_scan, 0) AS idx_scan, coalesce(idx_tup_fetch, 0) AS idx_tup_fetch, n_tup_ins, n_tup_upd, "
            "n_tup_del, n_tup_hot_upd, n_live_tup, n_dead_tup, n_mod_since_analyze, "
            "coalesce(floor(extract(epoch FROM last_vacuum)), 0) AS last_vacuum, "
            "coalesce(floor(extract(epoch FROM last_autovacuum)), 0) AS last_autovacuum, "
            "coalesce(floor(extract(epoch FROM last_analyze)), 0) AS last_analyze, "
            "coalesce(floor(extract(epoch FROM last_autoanalyze)), 0) AS last_autoanalyze, "
            "vacuum_count, autovacuum_count, analyze_count, autoanalyze_count, "
            "CASE WHEN NOT locked THEN pg_indexes_size(relid) END AS index_size_bytes, "
            "CASE WHEN NOT locked THEN pg_table_size(relid) END AS table_size_bytes, cut "
            "FROM " TABLES " t JOIN pg_stat_user_tables s ON s.relid = t.oid",
     .columns =
         {TABLE_LABELS, COUNTER("seq_scan", "Number of sequential scans initiated on this table"),
          COUNTER("seq_tup_read", "Number of live rows fetched by sequential scans"),
          COUNTER("idx_scan", "Number of index scans initiated on this table"),
          COUNTER("idx_tup_fetch", "Number of live rows fetched by index scans"),
          COUNTER("n_tup_ins", "Number of rows inserted"), COUNTER("n_tup_upd", "Number of rows updated"),
          COUNTER("n_tup_del", "Number of rows deleted"),
          COUNTER("n_tup_hot_upd", "Number of rows HOT updated (i.e., with no separate index update required)"),
          GAUGE("n_live_tup", "Estimated number of live rows"), GAUGE("n_dead_tup", "Estimated number of dead rows"),
          GAUGE("n_mod_since_analyze", "Estimated number of rows changed since last analyze"),
          GAUGE("last_vacuum", "Last time at which this table was manually vacuumed (not counting VACUUM FULL)"),
          GAUGE("last_autovacuum", "Last time at which this table was vacuumed by the autovacuum daemon"),
          GAUGE("last_analyze", "Last time at which this table was manually analyzed"),
          GAUGE("last_autoanalyze", "Last time at which this table was analyzed by the autovacuum daemon"),
          COUNTER("vacuum_count", "Number of times this table has been manually vacuumed (not counting VACUUM FULL)"),
          COUNTER("autovacuum_count", "Number of times this table has been vacuumed by the autovacuum daemon"),
          COUNTER("analyze_count", "Number of times this table has been manually analyzed"),
          COUNTER("autoanalyze_count", "Number of times this table has been analyzed by the autovacuum daemon"),
          GAUGE("index_size_bytes", "Total disk space used by this index, in bytes"),
          GAUGE("table_size_bytes", "Total disk space used by this table, in bytes")}},

    {.collector = "statio_user_tables", .prefix = "pg_statio_user_tables", .is_of_each_database = true,
     .limit = POSTGRES_LIMIT_TABLES,
     .sql = "SELECT current_database() AS datname, schemaname, relname, heap_blks_read AS heap_blocks_read, "
            "heap_blks_hit AS heap_blocks_hit, coalesce(idx_blks_read, 0) AS idx_blocks_read, "
            "coalesce(idx_blks_hit, 0) AS idx_blocks_hit, coalesce(toast_blks_read, 0) AS toast_blocks_read, "
            "coalesce(toast_blks_hit, 0) AS toast_blocks_hit, coalesce(tidx_blks_read, 0) AS tidx_blocks_read, "
            "coalesce(tidx_blks_hit, 0) AS tidx_blocks_hit, cut "
            "FROM " TABLES " t JOIN pg_statio_user_tables s ON s.relid = t.oid",
     .columns = {TABLE_LABELS, COUNTER("heap_blocks_read", "Number of disk blocks read from this table"),
                 COUNTER("heap_blocks_hit", "Number of buffer hits in this table"),
                 COUNTER("idx_blocks_read", "Number of disk blocks read from all indexes on this table"),
                 COUNTER("idx_blocks_hit", "Number of buffer hits in all indexes on this table"),
                 COUNTER("toast_blocks_read", "Number of disk blocks read from this table's TOAST table (if any)"),
                 COUNTER("toast_blocks_hit", "Number of buffer hits in this table's TOAST table (if any)"),
                 COUNTER("tidx_blocks_read",
                         "Number of disk blocks read from this table's TOAST table indexes (if any)"),
                 COUNTER("tidx_blocks_hit", "Number of buffer hits in this table's TOAST table indexes (if any)")}},

    {.collector = "stat_user_indexes", .prefix = "pg_stat_user_indexes", .is_of_each_database = true,
     .limit = POSTGRES_LIMIT_TABLES,
     .sql = "SELECT current_database() AS datname, schemaname, relname, indexrelname, idx_scan, idx_tup_read, "
            "idx_tup_fetch, CASE WHEN NOT locked THEN pg_relation_size(indexrelid) END AS size_bytes, cut "
            "FROM " INDEXES " i JOIN pg_stat_user_indexes s ON s.indexrelid = i.oid",
     .columns = {INDEX_LABELS, COUNTER("idx_scan", "Number of index scans initiated on this index"),
                 COUNTER("idx_tup_read", "Number of index entries returned by scans on this index"),
                 COUNTER("idx_tup_fetch", "Number of live table rows fetched by simple index scans using this index"),
                 GAUGE("size_bytes", "Disk space used by this index, in bytes")}},

    {.collector = "statio_user_indexes", .prefix = "pg_statio_user_indexes", .is_of_each_database = true,
     .limit = POSTGRES_LIMIT_TABLES,
     .sql = "SELECT current_database() AS datname, schemaname, relname, indexrelname, "
            "idx_blks_read AS idx_blks_read_total, idx_blks_hit AS idx_blks_hit_total, cut "
            "FROM " INDEXES " i JOIN pg_statio_user_indexes s ON s.indexrelid = i.oid",
     .columns = {INDEX_LABELS, COUNTER("idx_blks_read_total", "Number of disk blocks read from this index"),
                 COUNTER("idx_blks_hit_total", "Number of buffer hits in this index")}},
};
/* clang-format on */
const size_t postgres_query_count = AP_ARRAY_COUNT(postgres_queries);

static bool is_within(int version, int min, int max)
{
    return version >= min && (max == 0 || version < max);
}

bool postgres_query_is_for(const struct postgres_query *query, int server_version, int extension_version)
{
    return is_within(server_version, query->server_min, query->server_max) &&
           (!query->extension || is_within(extension_version, query->extension_min, query->extension_max));
}
