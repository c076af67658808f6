-- Runs and failures of each command by the minute (see rollups/commands.yaml).
SELECT minute, command, runs, failures
FROM hive_command_minutes
