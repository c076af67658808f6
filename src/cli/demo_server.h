/*
 * cli/demo_server.h - `apiary serve --open` as a child process of the demo
 *
 * The same program, started by its own path. It dies with the demo, however that ends. What it logs is kept and shown
 * when it ends by itself.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/rc.h"
#include "cli/options.h"

struct demo_server_options {
    const char *listen; /* NULL: the server's default */
    const char *data_dir;
    const struct cli_list *packs;
    const char *alerting; /* Alertmanager's configuration file; NULL: nobody is told */
    const char *rules;    /* a rule file; NULL: those of the packs only */
    bool is_verbose;      /* its log goes to standard error as it comes */
};

struct demo_server {
    pid_t pid;
    int out_fd; /* owned; what it says on standard output */
    int log_fd; /* owned; a file without a name, or -1 when verbose */
    char url[256];
};

/*
 * Starts it and waits for its line "apiary: listening on URL". AP_E_BUSY: is_stopped() said to end. On failure nothing
 * runs any more, and the log is in *ret_server for demo_server_print_log() and demo_server_clear().
 */
ap_nodiscard enum ap_rc demo_server_start(const struct demo_server_options *options, bool (*is_stopped)(void),
                                          struct demo_server *ret_server, struct ap_err *err);

/* Any thread. */
bool demo_server_is_running(const struct demo_server *server);

/*
 * Asks it to end and waits until it has; kills it after 30 seconds, or when is_hurried() says so. Returns what it ended
 * with, as waitpid(2) tells; 0 when it was gone before.
 */
int demo_server_stop(struct demo_server *server, bool (*is_hurried)(void));

/* The end of its log. */
void demo_server_print_log(const struct demo_server *server, FILE *to);
void demo_server_clear(struct demo_server *server);
