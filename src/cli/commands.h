/*
 * cli/commands.h - the subcommands; main.c has the table of them
 *
 * Each gets its own name in argv[0] and returns CLI_DONE, CLI_FAILED or CLI_MISUSED (cli/options.h).
 */
#pragma once

int cli_serve(int argc, char **argv);
int cli_demo(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_check_alerts(int argc, char **argv); /* by cli_check(), as the next six */
int cli_check_coverage(int argc, char **argv);
int cli_check_notify(int argc, char **argv);
int cli_check_routes(int argc, char **argv);
int cli_check_rules(int argc, char **argv);
int cli_check_scrape(int argc, char **argv);
int cli_check_test(int argc, char **argv);
int cli_collect(int argc, char **argv);
int cli_collect_postgres(int argc, char **argv); /* by cli_collect() */
int cli_query(int argc, char **argv);
int cli_sql(int argc, char **argv);
int cli_notifications(int argc, char **argv);
int cli_tsdb(int argc, char **argv);
int cli_import(int argc, char **argv);
int cli_key(int argc, char **argv);
int cli_version(int argc, char **argv);
