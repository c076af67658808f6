-- One row a user and day with activity (see rollups/user_days.yaml).
SELECT date, user_id
FROM hive_user_days
