-- One row a cohort: the users first seen in the same ISO week, which begins on a Monday (UTC). Retained are those who
-- were active in the last 7 days.
SELECT date_trunc('week', first_seen)::DATE AS cohort_week,
       count(*) AS cohort_users,
       count(*) FILTER (last_seen >= CURRENT_DATE - INTERVAL '7 days') AS retained_users,
       retained_users / cohort_users AS retention_rate
FROM hive_users
GROUP BY cohort_week
