/*
 * cli/options.h - command lines: one table says what a subcommand takes, and is its --help too
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a subcommand ends with, as GNU tools do. */
enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_MISUSED = 2 };

enum cli_option_kind {
    CLI_OPTION_FLAG,   /* target: bool */
    CLI_OPTION_TEXT,   /* target: const char *, lent from argv */
    CLI_OPTION_NUMBER, /* target: uint64_t, decimal */
    CLI_OPTION_LIST,   /* target: struct cli_list; may be given several times */
};

enum { CLI_LIST_MAX = 32 };
struct cli_list {
    const char *items[CLI_LIST_MAX]; /* lent from argv */
    size_t count;
};

struct cli_option {
    const char *name; /* long name without dashes */
    char letter;      /* short form, or 0 */
    enum cli_option_kind kind;
    const char *argument; /* what the help calls the value; NULL for a flag */
    void *target;
    const char *help; /* one line, or several separated by \n */
};

struct cli_command {
    const char *name;      /* "serve" */
    const char *arguments; /* behind the options in the usage line: "[QUERY]"; NULL: takes none */
    const char *summary;   /* one line */
    const char *details;   /* examples and the like, printed behind the options; may be NULL */
    const struct cli_option *options;
    size_t option_count;
};

/*
 * Reads argv[1…] (argv[0] is the subcommand). True: go on; what is left over is at argv[*ret_first_argument]. False:
 * end with *ret_exit_code: help was asked for and printed, or something was wrong and has been said.
 */
bool cli_parse(const struct cli_command *command, int argc, char **argv, int *ret_first_argument, int *ret_exit_code);

/* "apiary serve: <sentence>" and where to find help, on standard error; returns CLI_MISUSED. */
int cli_misused(const struct cli_command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
