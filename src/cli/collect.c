/* apiary collect: what a collector says at this moment, as a scrape would see it. */
#include <string.h>

#include "cli/commands.h"
#include "cli/options.h"

int cli_collect(int argc, char **argv)
{
    const struct cli_command command = {
        .name = "collect",
        .arguments = "postgres [OPTION]...",
        .summary = "Prints what a collector says at this moment, as a scrape would see it.",
        .details = "'apiary collect postgres --help' says more.\n",
    };
    if (argc > 1 && strcmp(argv[1], "postgres") == 0)
        return cli_collect_postgres(argc - 1, argv + 1);
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    if (first == argc)
        return cli_misused(&command, "which collector?");
    return cli_misused(&command, "there is no collector '%s'", argv[first]);
}
