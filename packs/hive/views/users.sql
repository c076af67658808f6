-- One row a user (see rollups/users.yaml).
SELECT user_id, first_seen, last_seen, version, platform, country
FROM hive_users
