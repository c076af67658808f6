-- One row a session (see rollups/sessions.yaml). user_id is the installation where no event names a user.
SELECT session_id, coalesce(user_id, installation_id) AS user_id, started_at, last_activity, event_count,
       command_count, error_count, version, platform, country
FROM hive_sessions
