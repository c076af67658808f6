#include "cli/demo_server.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"

enum { ARGUMENTS_MAX = 12 + 2 * CLI_LIST_MAX, POLL_MS = 100, STOP_MS = 30000, LOG_SHOWN_BYTES = 4096 };

static const char ready_prefix[] = "apiary: listening on ";

_Noreturn static void run_child(const char *binary, char *const *arguments, int out_fd, int log_fd, pid_t parent)
{
    /* Ctrl-C on a terminal goes to the whole process group: the demo alone decides when the server ends. */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd >= 0)
        dup2(null_fd, STDIN_FILENO);
    dup2(out_fd, STDOUT_FILENO);
    if (log_fd >= 0)
        dup2(log_fd, STDERR_FILENO);
    execv(binary, arguments);
    dprintf(STDERR_FILENO, "apiary demo: start the server: %s\n", strerror(errno));
    _exit(127);
}

bool demo_server_is_running(const struct demo_server *server)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)server->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

/* Until the ready line is there, the server has ended or is_stopped(). */
static enum ap_rc wait_until_ready(struct demo_server *server, bool (*is_stopped)(void), struct ap_err *err)
{
    char said[1024];
    size_t bytes = 0;
    while (bytes < sizeof(said) - 1) {
        struct pollfd poll_fd = {.fd = server->out_fd, .events = POLLIN};
        if (is_stopped())
            return ap_fail(err, AP_E_BUSY, "stopped before the server was ready");
        if (poll(&poll_fd, 1, POLL_MS) <= 0)
            continue;
        ssize_t got = read(server->out_fd, said + bytes, sizeof(said) - 1 - bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ap_fail(err, AP_E_INTERNAL, "the server ended before it was ready");
        bytes += (size_t)got;
        said[bytes] = '\0';
        const char *line = strstr(said, ready_prefix);
        const char *end = line ? strchr(line, '\n') : NULL;
        if (!end)
            continue;
        line += sizeof(ready_prefix) - 1;
        size_t url_bytes = strcspn(line, " \t\r\n");
        if (url_bytes == 0 || url_bytes >= sizeof(server->url))
            break;
        memcpy(server->url, line, url_bytes);
        server->url[url_bytes] = '\0';
        return AP_OK;
    }
    return ap_fail(err, AP_E_INTERNAL, "the server does not say where it listens");
}

/*
 * Settings that only the demo wants; who has set one in the environment keeps it. Not in the child: between fork() and
 * execv() of a process with threads nothing may take a lock.
 */
static void set_environment(const struct demo_server_options *options)
{
    /* The server has metrics of its own by the time that those of the past hours come. */
    setenv("APIARY_TSDB_OUT_OF_ORDER_WINDOW", "12h", 0);
    setenv("APIARY_RULES_INTERVAL", "15s", 0); /* who tries it out looks for minutes, not for hours */
    const char *listen = options->listen ? options->listen : "127.0.0.1:8484", *port = strrchr(listen, ':');
    if (!port || strcmp(port, ":0") == 0)
        return;
    AP_AUTO_FREE char *url = ap_asprintf("http://%s", listen);
    setenv("APIARY_EXTERNAL_URL", url, 0); /* what messages link to */
}

enum ap_rc demo_server_start(const struct demo_server_options *options, bool (*is_stopped)(void),
                             struct demo_server *ret_server, struct ap_err *err)
{
    *ret_server = (struct demo_server){.pid = -1, .out_fd = -1, .log_fd = -1};
    const char *arguments[ARGUMENTS_MAX];
    size_t count = 0;
    arguments[count++] = "apiary";
    arguments[count++] = "serve";
    arguments[count++] = "--open";
    arguments[count++] = "--data";
    arguments[count++] = options->data_dir;
    if (options->listen) {
        arguments[count++] = "--listen";
        arguments[count++] = options->listen;
    }
    if (options->alerting) {
        arguments[count++] = "--alerting";
        arguments[count++] = options->alerting;
    }
    if (options->rules) {
        arguments[count++] = "--rules";
        arguments[count++] = options->rules;
    }
    for (size_t i = 0; i < options->packs->count; i++) {
        arguments[count++] = "--pack";
        arguments[count++] = options->packs->items[i];
    }
    AP_ASSERT(count < ARGUMENTS_MAX);
    arguments[count] = NULL;

    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return ap_fail_errno(err, errno, "make a pipe to the server");
    ret_server->out_fd = pipe_fds[0];
    AP_AUTO_FD int write_fd = pipe_fds[1];
    if (!options->is_verbose) {
        char path[] = "/tmp/apiary-demo-log.XXXXXX";
        ret_server->log_fd = mkostemp(path, O_CLOEXEC | O_APPEND);
        if (ret_server->log_fd < 0)
            return ap_fail_errno(err, errno, "make a file for the server's log");
        unlink(path);
    }
    /* By its own name, so that ps and top show "apiary" and not "exe". */
    char binary[PATH_MAX];
    ssize_t binary_bytes = readlink("/proc/self/exe", binary, sizeof(binary) - 1);
    if (binary_bytes < 0)
        return ap_fail_errno(err, errno, "find the program itself");
    binary[binary_bytes] = '\0';
    set_environment(options);
    pid_t parent = getpid();
    ret_server->pid = fork();
    if (ret_server->pid < 0)
        return ap_fail_errno(err, errno, "start the server");
    if (ret_server->pid == 0)
        run_child(binary, (char *const *)(uintptr_t)arguments, write_fd, ret_server->log_fd, parent);

    close(AP_MOVE_FD(write_fd)); /* so that the end of the server is the end of the file here */
    enum ap_rc rc = wait_until_ready(ret_server, is_stopped, err);
    if (rc != AP_OK)
        demo_server_stop(ret_server, NULL);
    return rc;
}

int demo_server_stop(struct demo_server *server, bool (*is_hurried)(void))
{
    if (server->pid <= 0)
        return 0;
    kill(server->pid, SIGTERM);
    int64_t until_us = ap_clock_monotonic_us(&ap_clock_system) + STOP_MS * AP_US_PER_MS;
    while (demo_server_is_running(server)) {
        if (ap_clock_monotonic_us(&ap_clock_system) > until_us || (is_hurried && is_hurried()))
            kill(server->pid, SIGKILL);
        nanosleep(&(struct timespec){.tv_nsec = 20 * 1000 * 1000}, NULL);
    }
    int status = 0;
    while (waitpid(server->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    server->pid = -1;
    return status;
}

void demo_server_print_log(const struct demo_server *server, FILE *to)
{
    struct stat status;
    if (server->log_fd < 0 || fstat(server->log_fd, &status) < 0 || status.st_size == 0)
        return;
    char text[LOG_SHOWN_BYTES];
    off_t from = status.st_size > LOG_SHOWN_BYTES ? status.st_size - LOG_SHOWN_BYTES : 0;
    ssize_t bytes = pread(server->log_fd, text, sizeof(text), from);
    if (bytes <= 0)
        return;
    fprintf(to, "The server's last words:\n%s%.*s", from > 0 ? "…" : "", (int)bytes, text);
}

void demo_server_clear(struct demo_server *server)
{
    if (server->out_fd >= 0)
        close(server->out_fd);
    if (server->log_fd >= 0)
        close(server->log_fd);
    server->out_fd = server->log_fd = -1;
}
