/*
 * apiary demo: a server as a child process, and a simulated fleet that reports to it through its HTTP endpoints.
 *
 *     start server ──► print the address ──► back-fill the past, with progress ──► live until Ctrl-C ──► clean up
 *                                        ├─► the pack's own program that reports metrics, beside it ──┤
 *                                        └─► an inbox for whom the pack's alerts would tell ──────────┘
 */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/slice.h"
#include "cli/commands.h"
#include "cli/demo_alerting.h"
#include "cli/demo_inbox.h"
#include "cli/demo_reporter.h"
#include "cli/demo_server.h"
#include "cli/fleet.h"
#include "cli/fleet_sender.h"
#include "cli/options.h"
#include "cli/paths.h"

enum {
    DAYS = 90,
    DAYS_QUICK = 35, /* enough for the cohort of four weeks ago */
    CONNECTIONS = 4,
    BATCH_ROWS = 1000,
    PACE_DAYS = 7, /* the fleet's own pace is measured on its last days */
    LIVE_TICK_MS = 250,
    PROGRESS_MS_TERMINAL = 100,
    PROGRESS_MS_LINES = 5000,
    BAR_WIDTH = 30,
    /* Of those that report metrics by OTLP; each is a few hundred series. */
    INSTALLATIONS = 12,
    INSTALLATIONS_QUICK = 6,
    METRICS_HISTORY_H = 6,
    METRICS_HISTORY_QUICK_H = 1,
};
static const double scale_full = 1.0;
static const double scale_quick = 0.2;

static const char demo_details[] =
    "The address is printed at once; the page fills while the past is sent in. Everything goes through the same\n"
    "endpoints that a real fleet would use: /events, /vitals, /downloads, /synthetic. Where the pack has a program "
    "that\n"
    "reports metrics (demo/report.mjs) and Node.js is there, it is run beside it and reports by OTLP. Where the pack "
    "has\n"
    "routes for its alerts (alerting/alertmanager.yml), an inbox shows what people would be told.\n"
    "\n"
    "Examples:\n"
    "  apiary demo\n"
    "  apiary demo --seed 7 --listen 127.0.0.1:8080\n"
    "  apiary demo --quick --no-live --data /tmp/history   # make a small data directory and go on serving it\n";

struct demo_arguments {
    const char *listen;
    const char *data;
    const char *at;
    struct cli_list packs;
    uint64_t seed;
    uint64_t rate;
    bool is_quick;
    bool is_not_live;
    bool is_verbose;
};

struct demo {
    const struct demo_arguments *arguments;
    struct demo_server server;
    struct demo_reporter reporter;
    struct demo_inbox *inbox;    /* owned */
    struct fleet *fleet;         /* owned */
    struct fleet_sender *sender; /* owned */
    int64_t now_us;              /* the present of the simulation when it began … */
    int64_t began_us;            /* … and the machine's clock then */
    uint64_t pace_rows;          /* in the last PACE_DAYS of the past */
    bool is_terminal;
};

static volatile sig_atomic_t stop_signals;

static void on_stop_signal(int number)
{
    (void)number;
    stop_signals++;
}

static bool is_stopped(void)
{
    return stop_signals > 0;
}

static bool is_hurried(void)
{
    return stop_signals > 1;
}

/* For the sender: on Ctrl-C, and when there is nobody left to send to. */
static bool is_sending_over(void *context)
{
    const struct demo *demo = context;
    return is_stopped() || !demo_server_is_running(&demo->server);
}

static void sleep_ms(int64_t ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static int failed(const char *text)
{
    fprintf(stderr, "apiary demo: %s\n", text);
    return CLI_FAILED;
}

/* ---- Progress ---- */

/* "2,548,225" */
static const char *grouped(uint64_t value, char text[32])
{
    char digits[24];
    int count = snprintf(digits, sizeof(digits), "%" PRIu64, value);
    char *out = text;
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            *out++ = ',';
        *out++ = digits[i];
    }
    *out = '\0';
    return text;
}

static void print_progress(const struct demo *demo, double share, int64_t elapsed_us)
{
    uint64_t rows = fleet_sender_rows(demo->sender);
    char rows_text[32], rate_text[32];
    grouped(rows, rows_text);
    grouped((uint64_t)((double)rows * 1e6 / (double)(elapsed_us + 1)), rate_text);
    int percent = (int)(share * 100);
    if (demo->is_terminal) {
        char bar[BAR_WIDTH + 1];
        memset(bar, '.', BAR_WIDTH);
        memset(bar, '#', (size_t)(share * BAR_WIDTH));
        bar[BAR_WIDTH] = '\0';
        printf("\r  [%s] %3d %%  %s rows, %s a second\033[K", bar, percent, rows_text, rate_text);
    } else {
        printf("back-fill: %d %%, %s rows, %s a second\n", percent, rows_text, rate_text);
    }
    fflush(stdout);
}

static void say_told(const char *line, void *context)
{
    const struct demo *demo = context;
    printf("%s  %s\n", demo->is_terminal ? "\r\033[K" : "", line);
}

/* What goes on beside the fleet. */
static void tend(struct demo *demo)
{
    demo_reporter_tend(&demo->reporter);
    demo_inbox_tend(demo->inbox, say_told, demo);
    fflush(stdout);
}

/* ---- The past and the present ---- */

static enum ap_rc back_fill(struct demo *demo, uint32_t days, struct ap_err *err)
{
    int64_t interval_us = (demo->is_terminal ? PROGRESS_MS_TERMINAL : PROGRESS_MS_LINES) * AP_US_PER_MS;
    int64_t start_us = ap_clock_monotonic_us(&ap_clock_system);
    int64_t next_progress_us = start_us + (demo->is_terminal ? 0 : AP_US_PER_S);
    int64_t from_us = demo->now_us - days * AP_US_PER_DAY;
    struct fleet_row row;
    enum ap_rc rc = AP_OK;
    for (uint64_t count = 0; rc == AP_OK && fleet_peek_us(demo->fleet) < demo->now_us; count++) {
        fleet_next(demo->fleet, &row);
        if (row.wall_us >= demo->now_us - PACE_DAYS * AP_US_PER_DAY)
            demo->pace_rows++;
        rc = fleet_sender_add(demo->sender, &row, err);
        if (count % 1024 != 0)
            continue;
        tend(demo);
        int64_t time_us = ap_clock_monotonic_us(&ap_clock_system);
        if (time_us >= next_progress_us) {
            print_progress(demo, (double)(row.wall_us - from_us) / (double)(demo->now_us - from_us),
                           time_us - start_us);
            next_progress_us = time_us + interval_us;
        }
    }
    if (rc == AP_OK)
        rc = fleet_sender_flush(demo->sender, err);
    int64_t took_us = ap_clock_monotonic_us(&ap_clock_system) - start_us;
    if (rc != AP_OK) {
        if (demo->is_terminal)
            printf("\n");
        return rc;
    }
    print_progress(demo, 1, took_us);
    char alive_text[32];
    printf("%sThe past is in: %u days, %s installations in use at their end, sent in %.1f s.\n",
           demo->is_terminal ? "\n" : "", days, grouped(fleet_installations_alive(demo->fleet), alive_text),
           (double)took_us / 1e6);
    return AP_OK;
}

/* Sends what has become due, four times a second, until it is stopped. */
static enum ap_rc live(struct demo *demo, struct ap_err *err)
{
    struct fleet_row row;
    while (!is_sending_over(demo)) {
        int64_t due_us = demo->now_us + ap_clock_wall_us(&ap_clock_system) - demo->began_us;
        while (fleet_peek_us(demo->fleet) <= due_us) {
            fleet_next(demo->fleet, &row);
            enum ap_rc rc = fleet_sender_add(demo->sender, &row, err);
            if (rc != AP_OK)
                return rc;
        }
        enum ap_rc rc = fleet_sender_flush(demo->sender, err);
        if (rc != AP_OK)
            return rc;
        tend(demo);
        sleep_ms(LIVE_TICK_MS);
    }
    return AP_OK;
}

static enum ap_rc simulate(struct demo *demo, struct ap_err *err)
{
    const struct demo_arguments *arguments = demo->arguments;
    const struct fleet_options options = {
        .seed = arguments->seed,
        .now_us = demo->now_us,
        .days = arguments->is_quick ? DAYS_QUICK : DAYS,
        .scale = arguments->is_quick ? scale_quick : scale_full,
    };
    demo->fleet = fleet_new(&options);
    const struct fleet_sender_options sender_options = {
        .url = demo->server.url,
        .connection_count = CONNECTIONS,
        .batch_rows = BATCH_ROWS,
        .is_stopped = is_sending_over,
        .context = demo,
    };
    demo->sender = fleet_sender_new(&sender_options);
    enum ap_rc rc = back_fill(demo, options.days, err);
    if (rc != AP_OK)
        return rc;
    if (arguments->rate > 0)
        fleet_set_pace(demo->fleet, (double)arguments->rate * PACE_DAYS * 86400 / (double)(demo->pace_rows + 1));
    printf("%s  %s   (Ctrl-C ends it)\n", arguments->is_not_live ? "Ready:" : "Live: ", demo->server.url);
    fflush(stdout);
    if (!arguments->is_not_live)
        return live(demo, err);
    while (!is_sending_over(demo)) {
        tend(demo);
        sleep_ms(LIVE_TICK_MS);
    }
    return AP_OK;
}

/* ---- Set-up and clean-up ---- */

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void remove_tree(const char *path)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
        fprintf(stderr, "apiary demo: remove %s: %s\n", path, strerror(errno));
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_stop_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL); /* without SA_RESTART, so that it ends every wait */
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

static void start_reporter(struct demo *demo)
{
    const struct demo_arguments *arguments = demo->arguments;
    if (arguments->at) { /* the store takes samples of about the server's own time only */
        printf("Metrics are not reported: --at is another time than the server's.\n");
        return;
    }
    const struct demo_reporter_options options = {
        .packs = &arguments->packs,
        .url = demo->server.url,
        .seed = arguments->seed,
        .installations = arguments->is_quick ? INSTALLATIONS_QUICK : INSTALLATIONS,
        .history_h = arguments->is_quick ? METRICS_HISTORY_QUICK_H : METRICS_HISTORY_H,
        .began_us = demo->began_us,
        .is_not_live = arguments->is_not_live,
        .is_verbose = arguments->is_verbose,
    };
    demo_reporter_start(&demo->reporter, &options);
}

static int run(struct demo *demo, const struct demo_server_options *server_options)
{
    struct ap_err err = {0};
    enum ap_rc rc = demo_server_start(server_options, is_stopped, &demo->server, &err);
    if (rc != AP_OK) {
        if (is_stopped())
            return CLI_DONE;
        failed(err.text);
        demo_server_print_log(&demo->server, stderr);
        return CLI_FAILED;
    }
    printf("Apiary is at  %s\nIt fills while you look.\n", demo->server.url);
    if (server_options->alerting)
        printf("Alerts are at  %salerts\nThey tell an inbox in place of people; what it gets is said here, and shown "
               "at  %s/\n",
               demo->server.url, demo_inbox_url(demo->inbox));
    start_reporter(demo);
    fflush(stdout);
    rc = simulate(demo, &err);

    bool was_running = demo_server_is_running(&demo->server);
    if (was_running && demo->is_terminal)
        printf("\nEnding …\n");
    fleet_sender_free(AP_MOVE(demo->sender));
    demo_reporter_stop(&demo->reporter);
    int status = demo_server_stop(&demo->server, is_hurried);
    if (!was_running) {
        fprintf(stderr, "apiary demo: the server ended by itself (%s %d)\n",
                WIFSIGNALED(status) ? "signal" : "exit status",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        demo_server_print_log(&demo->server, stderr);
        return CLI_FAILED;
    }
    if (rc != AP_OK && !is_stopped()) {
        failed(err.text);
        demo_server_print_log(&demo->server, stderr);
        return CLI_FAILED;
    }
    return CLI_DONE;
}

/* The rule file of the first pack that has one for the demo; free() it. */
static char *find_rules(const struct cli_list *packs)
{
    for (size_t i = 0; i < packs->count; i++) {
        char *path = ap_asprintf("%s/demo/rules.yml", packs->items[i]);
        if (access(path, R_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

static int run_with_inbox(struct demo *demo, const char *tmp_dir)
{
    const struct demo_arguments *arguments = demo->arguments;
    struct ap_err err;
    AP_AUTO_FREE char *data = ap_asprintf("%s/data", tmp_dir);
    AP_AUTO_FREE char *rules = find_rules(&arguments->packs);
    AP_AUTO_FREE char *alerting = NULL;
    if (demo_inbox_open(&demo->inbox, &err) != AP_OK ||
        demo_alerting_write(&arguments->packs, demo_inbox_url(demo->inbox), tmp_dir, &alerting, &err) != AP_OK)
        return failed(err.text);
    const struct demo_server_options options = {
        .listen = arguments->listen,
        .data_dir = arguments->data ? arguments->data : data,
        .packs = &arguments->packs,
        .alerting = alerting,
        .rules = rules,
        .is_verbose = arguments->is_verbose,
    };
    return run(demo, &options);
}

static int run_in_place(struct demo *demo)
{
    const char *tmp = getenv("TMPDIR");
    AP_AUTO_FREE char *tmp_dir = ap_asprintf("%s/apiary-demo.XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    if (!mkdtemp(tmp_dir)) {
        fprintf(stderr, "apiary demo: make a temporary directory %s: %s\n", tmp_dir, strerror(errno));
        return CLI_FAILED;
    }
    int result = run_with_inbox(demo, tmp_dir);
    demo_inbox_close(demo->inbox);
    remove_tree(tmp_dir);
    return result;
}

int cli_demo(int argc, char **argv)
{
    struct demo_arguments arguments = {.seed = 1, .rate = 2};
    const struct cli_option options[] = {
        {"listen", 0, CLI_OPTION_TEXT, "ADDRESS", &arguments.listen,
         "where the page is (default: 127.0.0.1:8484; port 0: any free one)"},
        {"seed", 0, CLI_OPTION_NUMBER, "N", &arguments.seed, "repeats itself exactly (default: 1)"},
        {"at", 0, CLI_OPTION_TEXT, "TIME", &arguments.at, "the present of the simulation, RFC 3339 (default: now)"},
        {"quick", 0, CLI_OPTION_FLAG, NULL, &arguments.is_quick, "35 days of a fifth of the fleet in place of 90 days"},
        {"rate", 0, CLI_OPTION_NUMBER, "ROWS", &arguments.rate,
         "rows a second when live (default: 2; 0: the fleet's own pace)"},
        {"no-live", 0, CLI_OPTION_FLAG, NULL, &arguments.is_not_live, "the past only; goes on serving"},
        {"data", 0, CLI_OPTION_TEXT, "DIR", &arguments.data,
         "keep the data there, in a new or empty directory\n(default: a temporary one, removed at the end)"},
        {"pack", 0, CLI_OPTION_LIST, "DIR", &arguments.packs, "pack to load (default: packs/hive)"},
        {"verbose", 'v', CLI_OPTION_FLAG, NULL, &arguments.is_verbose, "show the server's log"},
    };
    const struct cli_command command = {
        .name = "demo",
        .summary = "Shows Apiary at work: a server on a temporary directory and a simulated fleet that reports to it.",
        .details = demo_details,
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    struct demo demo = {
        .arguments = &arguments, .server = {.pid = -1, .out_fd = -1, .log_fd = -1}, .reporter = {.log_fd = -1}};
    demo.began_us = demo.now_us = ap_clock_wall_us(&ap_clock_system);
    if (arguments.at && !ap_time_parse(ap_slice_cstr(arguments.at), &demo.now_us))
        return cli_misused(&command, "--at wants a time like 2026-11-23T12:00:00Z, not '%s'", arguments.at);
    if (arguments.data && rmdir(arguments.data) < 0 && errno != ENOENT)
        return cli_misused(&command,
                           "--data %s is not a new or empty directory; to see what is in it: "
                           "apiary serve --open --data %s",
                           arguments.data, arguments.data);
    demo.is_terminal = isatty(STDOUT_FILENO);
    catch_signals();

    AP_AUTO_FREE char *pack = NULL;
    if (arguments.packs.count == 0 && (pack = cli_find_file("packs/hive")) != NULL)
        arguments.packs.items[arguments.packs.count++] = pack;

    int result = run_in_place(&demo);
    fleet_sender_free(demo.sender);
    fleet_free(demo.fleet);
    demo_server_clear(&demo.server);
    return result;
}
