/* apiary tsdb: looks at the files of the time-series store, whether a server runs on them or not. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/tsdb_store.h"

static const char tsdb_details[] =
    "Commands:\n"
    "  stats          the blocks on disk: time, series, samples, bytes a sample\n"
    "  inspect BLOCK  one of them: files, codecs, labels\n"
    "  verify         reads everything and checks every checksum; exit status 1 when something is damaged\n"
    "\n"
    "All of them only read, also while a server runs on the same directory. What is in a server's memory it tells "
    "itself:\n"
    "GET /api/v1/status/tsdb and /metrics.\n"
    "\n"
    "Examples:\n"
    "  apiary tsdb stats --data /var/lib/apiary\n"
    "  apiary tsdb verify --data /var/lib/apiary --json\n"
    "  apiary tsdb verify --store /var/lib/apiary/tsdb/snapshots/20261123T120000Z-1a2b3c4d\n";

int cli_tsdb(int argc, char **argv)
{
    const char *data = "data", *store_dir = NULL;
    bool is_json = false;
    const struct cli_option options[] = {
        {"data", 0, CLI_OPTION_TEXT, "DIR", &data, "data directory of the server (default: data)"},
        {"store", 0, CLI_OPTION_TEXT, "DIR", &store_dir, "directory of a store itself, such as a snapshot"},
        {"json", 0, CLI_OPTION_FLAG, NULL, &is_json, "for programs"},
    };
    const struct cli_command command = {
        .name = "tsdb",
        .arguments = "stats|inspect|verify [BLOCK]",
        .summary = "Shows and checks the files of the time-series store.",
        .details = tsdb_details,
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    /* The verb comes first on the command line, and what it is about next: tsdb inspect BLOCK --data … */
    const char *verb = NULL, *id = NULL;
    if (argc > 1 && argv[1][0] != '-') {
        verb = argv[1];
        argc--, argv++;
    }
    bool is_inspect = verb && strcmp(verb, "inspect") == 0;
    if (is_inspect && argc > 1 && argv[1][0] != '-') {
        id = argv[1];
        argc--, argv++;
    }
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    if (!id)
        id = argv[first];
    if (!verb)
        return cli_misused(&command, "say what to do: stats, inspect or verify");
    if (is_inspect && !id)
        return cli_misused(&command, "inspect wants the name of a block, as 'apiary tsdb stats' shows it");
    if (!is_inspect && id)
        return cli_misused(&command, "too many arguments: '%s'", id);

    AP_AUTO_FREE char *dir = store_dir ? ap_strdup(store_dir) : ap_asprintf("%s/tsdb", data);
    struct tsdb_store store;
    struct ap_err err;
    if (tsdb_store_open(dir, &store, &err) != AP_OK) {
        fprintf(stderr, "apiary tsdb: %s\n", err.text);
        return CLI_FAILED;
    }
    store.is_json = is_json;
    store.is_terminal = !is_json && isatty(STDERR_FILENO);
    if (is_inspect)
        exit_code = tsdb_inspect(&store, id);
    else if (strcmp(verb, "stats") == 0)
        exit_code = tsdb_stats(&store);
    else if (strcmp(verb, "verify") == 0)
        exit_code = tsdb_verify(&store);
    else
        exit_code = cli_misused(&command, "no such thing to do: '%s'", verb);
    tsdb_store_clear(&store);
    return exit_code;
}
