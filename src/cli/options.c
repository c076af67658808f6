#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { OPTIONS_MAX = 48, HELP_COLUMN = 30, LONG_ONLY = 256 };

static void print_help_text(const char *text)
{
    for (const char *end; (end = strchr(text, '\n')); text = end + 1)
        printf("%.*s\n%*s", (int)(end - text), text, HELP_COLUMN, "");
    printf("%s\n", text);
}

static void print_option(const struct cli_option *option)
{
    char head[96];
    int used = option->letter ? snprintf(head, sizeof(head), "  -%c, --%s", option->letter, option->name)
                              : snprintf(head, sizeof(head), "      --%s", option->name);
    if (option->argument)
        used += snprintf(head + used, sizeof(head) - (size_t)used, " %s", option->argument);
    if (used < HELP_COLUMN - 1)
        printf("%-*s", HELP_COLUMN, head);
    else
        printf("%s\n%*s", head, HELP_COLUMN, "");
    print_help_text(option->help);
}

static void print_help(const struct cli_command *command)
{
    printf("Usage: apiary %s [OPTION]...%s%s\n%s\n\n", command->name, command->arguments ? " " : "",
           command->arguments ? command->arguments : "", command->summary);
    for (size_t i = 0; i < command->option_count; i++)
        print_option(&command->options[i]);
    print_option(&(struct cli_option){.name = "help", .letter = 'h', .help = "show this and end"});
    if (command->details)
        printf("\n%s", command->details);
}

int cli_misused(const struct cli_command *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "apiary %s: ", command->name);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nTry 'apiary %s --help'.\n", command->name);
    return CLI_MISUSED;
}

/* False when the value does not fit the option. */
static bool store_value(const struct cli_option *option, const char *value)
{
    switch (option->kind) {
    case CLI_OPTION_FLAG:
        *(bool *)option->target = true;
        return true;
    case CLI_OPTION_TEXT:
        *(const char **)option->target = value;
        return true;
    case CLI_OPTION_NUMBER: {
        char *end;
        errno = 0;
        unsigned long long number = strtoull(value, &end, 10);
        *(uint64_t *)option->target = number;
        return value[0] >= '0' && value[0] <= '9' && *end == '\0' && errno == 0;
    }
    case CLI_OPTION_LIST: {
        struct cli_list *list = option->target;
        if (list->count == CLI_LIST_MAX)
            return false;
        list->items[list->count++] = value;
        return true;
    }
    }
    return false;
}

bool cli_parse(const struct cli_command *command, int argc, char **argv, int *ret_first_argument, int *ret_exit_code)
{
    AP_ASSERT(command->option_count + 2 <= OPTIONS_MAX);
    struct option long_options[OPTIONS_MAX] = {0};
    char letters[2 * OPTIONS_MAX + 4] = "+:h"; /* stop at the first argument, tell a missing value apart */
    size_t letter_count = strlen(letters);
    for (size_t i = 0; i < command->option_count; i++) {
        const struct cli_option *option = &command->options[i];
        bool has_value = option->kind != CLI_OPTION_FLAG;
        long_options[i] =
            (struct option){option->name, has_value ? required_argument : no_argument, NULL, (int)(LONG_ONLY + i)};
        if (option->letter) {
            letters[letter_count++] = option->letter;
            if (has_value)
                letters[letter_count++] = ':';
        }
    }
    long_options[command->option_count] = (struct option){"help", no_argument, NULL, 'h'};

    optind = 0; /* glibc: start anew, whatever was parsed before */
    opterr = 0;
    for (int found; (found = getopt_long(argc, argv, letters, long_options, NULL)) != -1;) {
        if (found == 'h') {
            print_help(command);
            *ret_exit_code = CLI_DONE;
            return false;
        }
        const char *given = argv[optind > 1 ? optind - 1 : 1];
        if (found == '?' || found == ':') {
            *ret_exit_code = cli_misused(command, found == ':' ? "%s wants a value" : "unknown option %s", given);
            return false;
        }
        size_t index = 0;
        while (index < command->option_count && found != (int)(LONG_ONLY + index) &&
               found != command->options[index].letter)
            index++;
        AP_ASSERT(index < command->option_count);
        if (!store_value(&command->options[index], optarg)) {
            *ret_exit_code = cli_misused(command, "--%s: not a usable value: %s", command->options[index].name, optarg);
            return false;
        }
    }
    if (!command->arguments && optind < argc) {
        *ret_exit_code = cli_misused(command, "takes no arguments, but was given '%s'", argv[optind]);
        return false;
    }
    *ret_first_argument = optind;
    return true;
}
