/* apiary collect postgres: what a PostgreSQL server says at this moment, as a scrape of it would see it. */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/collect.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "collect/postgres.h"

enum { DEADLINE_S = 10 };

/* A query that fails costs its figures only, which are printed without it: people want to know of that. */
static void print_notice(const struct ap_err *err, void *context)
{
    (void)context;
    fprintf(stderr, "apiary collect postgres: %s\n", err->text);
}

static int collect(const struct postgres_options *options, uint64_t timeout_s, bool is_json)
{
    AP_AUTO(postgres) struct postgres *postgres = NULL;
    struct ap_err err;
    if (postgres_open(options, &postgres, &err) != AP_OK) {
        fprintf(stderr, "apiary collect postgres: %s\n", err.text);
        return CLI_FAILED;
    }
    const struct collector collector = postgres_collector(postgres);
    const struct collector_request request = {
        .target = ap_slice_cstr(options->connections[0].name),
        .deadline_monotonic_us = ap_clock_monotonic_us(&ap_clock_system) + (int64_t)timeout_s * AP_US_PER_S,
    };
    return collect_run(&collector, &request, is_json);
}

int cli_collect_postgres(int argc, char **argv)
{
    bool is_json = false;
    const char *conninfo = "";
    uint64_t timeout_s = DEADLINE_S, statements = POSTGRES_STATEMENTS_DEFAULT, databases = POSTGRES_DATABASES_DEFAULT,
             tables = POSTGRES_TABLES_DEFAULT;
    const struct cli_option options[] = {
        {"connection", 'c', CLI_OPTION_TEXT, "URI", &conninfo,
         "postgresql://user@host:5432/database or host=... user=..., as libpq takes it; what\n"
         "it leaves out comes from PGHOST, PGUSER, PGPASSWORD and the like"},
        {"timeout", 't', CLI_OPTION_NUMBER, "SECONDS", &timeout_s, "as that of a scrape; 10 unless given"},
        {"statements", 0, CLI_OPTION_NUMBER, "N", &statements, "at most so many; 100 unless given"},
        {"databases", 0, CLI_OPTION_NUMBER, "N", &databases, "at most so many; 50 unless given"},
        {"tables", 0, CLI_OPTION_NUMBER, "N", &tables, "at most so many of a database; 500 unless given"},
        {"json", 0, CLI_OPTION_FLAG, NULL, &is_json, "for programs"},
    };
    const struct cli_command command = {
        .name = "collect postgres",
        .summary = "Prints what the collector `postgres` says of a server, in the names of postgres_exporter.",
        .details = "The password is better in PGPASSWORD or in a file of passwords (passfile=...) than here, where\n"
                   "everybody on the machine sees it.\n\n"
                   "Example:\n  apiary collect postgres --connection postgresql://monitor@db1/postgres\n",
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    if (first != argc)
        return cli_misused(&command, "'%s' is too much", argv[first]);
    const struct postgres_connection connection = {"connection", conninfo};
    const struct postgres_options postgres_options = {
        .connections = &connection,
        .connection_count = 1,
        .statements_max = (uint32_t)AP_MIN(statements, INT32_MAX),
        .databases_max = (uint32_t)AP_MIN(databases, INT32_MAX),
        .tables_max = (uint32_t)AP_MIN(tables, INT32_MAX),
        .notice = print_notice,
    };
    return collect(&postgres_options, AP_MAX(timeout_s, 1), is_json);
}
