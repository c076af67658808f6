#include <duckdb.h>
#include <stdio.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/options.h"

int cli_version(int argc, char **argv)
{
    bool is_json = false;
    const struct cli_option options[] = {
        {"json", 0, CLI_OPTION_FLAG, NULL, &is_json, "for programs"},
    };
    const struct cli_command command = {
        .name = "version",
        .summary = "Says which version this is.",
        .details = "Example:\n  apiary version --json\n",
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    if (is_json)
        printf("{\"version\":\"%s\",\"duckdb\":\"%s\"}\n", APIARY_VERSION, duckdb_library_version());
    else
        printf("apiary %s (DuckDB %s)\n", APIARY_VERSION, duckdb_library_version());
    return CLI_DONE;
}
