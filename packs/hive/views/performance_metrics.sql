-- One row a start of the program; startup_duration in seconds. From events of type `startup` with a duration.
SELECT timestamp, date, startup_duration, session_id, user_id, version, platform, country
FROM hive_startups
