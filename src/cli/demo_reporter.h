/*
 * cli/demo_reporter.h - a pack's own program that reports metrics while the demo runs, as a child process
 *
 * What belongs to one product stays in its pack: `demo/report.mjs`, with its npm packages in `demo/node_modules`. It is
 * run by the Node.js in PATH and told where the server is. It ends with the demo, however that ends, and is started
 * again, later each time, when it ends by itself.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/options.h"

struct demo_reporter_options {
    const struct cli_list *packs; /* the first one with a program is it */
    const char *url;
    uint64_t seed;
    uint32_t installations;
    uint32_t history_h;
    int64_t began_us; /* by the wall clock: when the demo began, which its incidents are told from */
    bool is_not_live; /* the past only */
    bool is_verbose;  /* what it says goes to standard error as it comes */
};

struct demo_reporter {
    struct demo_reporter_options options;
    char *script; /* owned; NULL: there is nothing to run */
    pid_t pid;    /* 0: does not run now */
    int log_fd;   /* owned; a file without a name, or -1 */
    bool is_restart;
    int64_t begun_us;    /* by the monotonic clock, as the next */
    int64_t restart_us;  /* when to start it again; 0: never */
    int64_t back_off_us; /* the wait before the next start */
};

/*
 * Starts it where a pack has one and all that it needs is there; otherwise says in one line why not. What `options`
 * points to must outlive the reporter.
 */
void demo_reporter_start(struct demo_reporter *ret_reporter, const struct demo_reporter_options *options);

/* To be called now and then: notices that it ended, says so in one line, and starts it again when its time has come. */
void demo_reporter_tend(struct demo_reporter *reporter);

/* Ends it and waits for that. Calling it again does nothing. */
void demo_reporter_stop(struct demo_reporter *reporter);
