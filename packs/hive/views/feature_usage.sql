-- One row a use of a feature. From events of type `feature_usage` that name a feature.
SELECT timestamp, date, feature, context, session_id, user_id, version, platform, country
FROM hive_features
