#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/options.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"serve", cli_serve, "take data in, keep it, answer questions, show pages"},
    {"demo", cli_demo, "the same on a temporary directory, with a simulated fleet that reports to it"},
    {"check", cli_check, "check a configuration file and packs without serving"},
    {"collect", cli_collect, "print what a collector says at this moment, as a scrape would see it"},
    {"query", cli_query, "ask a running server a question in PromQL"},
    {"sql", cli_sql, "ask a running server a question in SQL"},
    {"notifications", cli_notifications, "list whom a running server told of which alerts"},
    {"tsdb", cli_tsdb, "show and check the files of the time-series store"},
    {"import", cli_import, "take in the history that a Prometheus has"},
    {"key", cli_key, "make, list and revoke access keys"},
    {"version", cli_version, "say which version this is"},
};

static void print_help(FILE *to)
{
    fputs("Usage: apiary COMMAND [OPTION]... [ARGUMENT]...\n"
          "Production monitoring and product analytics in one program.\n\n",
          to);
    for (size_t i = 0; i < AP_ARRAY_COUNT(commands); i++)
        fprintf(to, "  %-15s%s\n", commands[i].name, commands[i].summary);
    fputs("\n'apiary COMMAND --help' says more, with an example.\n"
          "To see it at work:  apiary demo\n",
          to);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a client that went away is an error of that write, not the end of the process */
    if (argc < 2) {
        print_help(stderr);
        return CLI_MISUSED;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return CLI_DONE;
    }
    if (strcmp(argv[1], "--version") == 0)
        return cli_version(1, argv + 1);
    for (size_t i = 0; i < AP_ARRAY_COUNT(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "apiary: unknown command '%s'\nTry 'apiary --help'.\n", argv[1]);
    return CLI_MISUSED;
}
