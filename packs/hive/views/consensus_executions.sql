-- One row a run of the consensus command; duration_ms in milliseconds. From `command_execution` events with the command
-- `consensus`.
SELECT timestamp, date, success, duration_ms, session_id, user_id, version, platform, country
FROM hive_consensus
