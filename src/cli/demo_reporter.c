#include "cli/demo_reporter.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum { STOP_MS = 3000, POLL_NS = 20 * 1000 * 1000, LINE_BYTES_MAX = 400, EXIT_NOT_FOUND = 127 };

static const int64_t back_off_first_us = AP_US_PER_S;
static const int64_t back_off_max_us = 60 * AP_US_PER_S;
static const int64_t well_us = 60 * AP_US_PER_S; /* having run for so long, it was well: the back-off begins anew */

/* The program of the first pack that has one; free() it. */
static char *find_script(const struct cli_list *packs)
{
    for (size_t i = 0; i < packs->count; i++) {
        char *script = ap_asprintf("%s/demo/report.mjs", packs->items[i]);
        if (access(script, R_OK) == 0)
            return script;
        free(script);
    }
    return NULL;
}

static bool has_packages(const char *script)
{
    AP_AUTO_FREE char *folder = ap_asprintf("%.*s/node_modules", (int)(strrchr(script, '/') - script), script);
    return access(folder, X_OK) == 0;
}

_Noreturn static void run_child(char *const *arguments, int log_fd, pid_t parent)
{
    setpgid(0, 0); /* Ctrl-C is for the demo, which then ends this */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd >= 0)
        dup2(null_fd, STDIN_FILENO);
    dup2(log_fd >= 0 ? log_fd : STDERR_FILENO, STDOUT_FILENO);
    if (log_fd >= 0)
        dup2(log_fd, STDERR_FILENO);
    execvp(arguments[0], arguments);
    _exit(EXIT_NOT_FOUND);
}

static void start(struct demo_reporter *reporter)
{
    const struct demo_reporter_options *options = &reporter->options;
    AP_AUTO_FREE char *seed = ap_asprintf("%" PRIu64, options->seed);
    AP_AUTO_FREE char *installations = ap_asprintf("%" PRIu32, options->installations);
    /* What was reported before it was started again would be refused as a repetition. */
    AP_AUTO_FREE char *history = ap_asprintf("%" PRIu32, reporter->is_restart ? 0 : options->history_h);
    AP_AUTO_FREE char *began = ap_asprintf("%" PRId64, options->began_us / AP_US_PER_S);
    const char *arguments[] = {"node",
                               "--max-old-space-size=64", /* MiB; it needs 20, and the server shall have the machine */
                               "--max-semi-space-size=1",
                               reporter->script,
                               "--url",
                               options->url,
                               "--seed",
                               seed,
                               "--installations",
                               installations,
                               "--history",
                               history,
                               options->is_not_live ? "--no-live" : "--began",
                               options->is_not_live ? NULL : began,
                               NULL};
    if (reporter->log_fd >= 0 && ftruncate(reporter->log_fd, 0) < 0)
        fprintf(stderr, "apiary demo: empty the reporter's log: %s\n", strerror(errno));
    fflush(stdout);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        run_child((char *const *)(uintptr_t)arguments, reporter->log_fd, parent);
    reporter->pid = AP_MAX(pid, 0);
    reporter->restart_us = 0;
    reporter->begun_us = ap_clock_monotonic_us(&ap_clock_system);
    if (pid < 0)
        fprintf(stderr, "apiary demo: metrics are not reported: start node: %s\n", strerror(errno));
}

void demo_reporter_start(struct demo_reporter *ret_reporter, const struct demo_reporter_options *options)
{
    *ret_reporter = (struct demo_reporter){.options = *options, .log_fd = -1, .back_off_us = back_off_first_us};
    char *script = find_script(options->packs);
    if (!script)
        return;
    if (!has_packages(script)) {
        int folder_bytes = (int)(strrchr(script, '/') - script);
        printf(
            "Metrics are not reported: %.*s has no node_modules; `npm ci` there brings them, and so does make demo.\n",
            folder_bytes, script);
        free(script);
        return;
    }
    ret_reporter->script = script;
    if (!options->is_verbose) {
        char path[] = "/tmp/apiary-demo-log.XXXXXX";
        ret_reporter->log_fd = mkostemp(path, O_CLOEXEC | O_APPEND);
        if (ret_reporter->log_fd >= 0)
            unlink(path);
    }
    printf("Metrics are reported by OTLP: %s\n", script);
    start(ret_reporter);
}

/* The last line that it has said, or "". */
static void read_last_line(const struct demo_reporter *reporter, char line[LINE_BYTES_MAX])
{
    struct stat status;
    line[0] = '\0';
    if (reporter->log_fd < 0 || fstat(reporter->log_fd, &status) < 0)
        return;
    off_t from = AP_MAX(status.st_size - (LINE_BYTES_MAX - 1), 0);
    ssize_t bytes = pread(reporter->log_fd, line, LINE_BYTES_MAX - 1, from);
    while (bytes > 0 && line[bytes - 1] == '\n')
        bytes--;
    line[AP_MAX(bytes, 0)] = '\0';
    char *end_before = strrchr(line, '\n');
    if (end_before)
        memmove(line, end_before + 1, strlen(end_before));
}

/* Whether it ended, with *ret_status as waitpid(2) has it. */
static bool has_ended(struct demo_reporter *reporter, int *ret_status)
{
    pid_t ended = waitpid(reporter->pid, ret_status, WNOHANG);
    if (ended == 0 || (ended < 0 && errno == EINTR))
        return false;
    reporter->pid = 0;
    return true;
}

static void note_end(struct demo_reporter *reporter, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return; /* the past is in, and more was not asked for */
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_NOT_FOUND) {
        printf("\nMetrics are not reported: there is no node in PATH to run %s.\n", reporter->script);
        fflush(stdout);
        return;
    }
    int64_t now_us = ap_clock_monotonic_us(&ap_clock_system);
    if (now_us - reporter->begun_us >= well_us)
        reporter->back_off_us = back_off_first_us;
    char line[LINE_BYTES_MAX];
    read_last_line(reporter, line);
    printf("\nMetrics: the reporter ended (%s %d), once more in %" PRId64 " s%s%s\n",
           WIFSIGNALED(status) ? "signal" : "exit status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
           reporter->back_off_us / AP_US_PER_S, line[0] ? ": " : "", line);
    fflush(stdout);
    reporter->restart_us = now_us + reporter->back_off_us;
    reporter->back_off_us = AP_MIN(2 * reporter->back_off_us, back_off_max_us);
    reporter->is_restart = true;
}

void demo_reporter_tend(struct demo_reporter *reporter)
{
    int status;
    if (reporter->pid > 0 && has_ended(reporter, &status))
        note_end(reporter, status);
    if (reporter->restart_us && ap_clock_monotonic_us(&ap_clock_system) >= reporter->restart_us)
        start(reporter);
}

void demo_reporter_stop(struct demo_reporter *reporter)
{
    int status;
    if (reporter->pid > 0)
        kill(reporter->pid, SIGTERM);
    for (int waited_ms = 0; reporter->pid > 0 && !has_ended(reporter, &status); waited_ms += POLL_NS / 1000000) {
        if (waited_ms >= STOP_MS)
            kill(reporter->pid, SIGKILL);
        nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
    }
    if (reporter->log_fd >= 0)
        close(reporter->log_fd);
    free(reporter->script);
    *reporter = (struct demo_reporter){.log_fd = -1};
}
