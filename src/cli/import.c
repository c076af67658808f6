/* apiary import: takes in what another program has kept. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/config.h"
#include "cli/import_store.h"
#include "cli/import_text.h"
#include "cli/options.h"
#include "cli/tsdb_store.h"
#include "history/handover_link.h"
#include "history/import.h"

enum {
    MEMORY_MIB = 256,
    THREADS_MAX = 8,
    /* Beside a server: */
    NICENESS = 10,
    FREE_PART = 20, /* of the disk stays free, or FREE_BYTES_MAX where that is less */
};
#define FREE_BYTES_MAX (UINT64_C(1) << 30)

static const char import_details[] =
    "Reads the data directory of a Prometheus that is stopped, or a snapshot of one that runs: blocks, write-ahead log "
    "and\n"
    "the rest of its head. Nothing in it is changed. A server of Apiary that runs on the data directory goes on, and\n"
    "shows what was imported step by step; run this as the user that it runs as.\n"
    "\n"
    "It may be interrupted: the same command goes on where it was. Samples that Apiary has already stay as they are. "
    "At\n"
    "the end everything is read again and compared, sample by sample. Exit status 1: something is damaged, refused or\n"
    "differs, and it says what.\n"
    "\n"
    "A time is seconds since 1970, a date (2026-01-31) or RFC 3339 (2026-01-31T12:00:00Z).\n"
    "\n"
    "Examples:\n"
    "  apiary import prometheus /var/lib/prometheus --data /var/lib/apiary --dry-run\n"
    "  apiary import prometheus /var/lib/prometheus --data /var/lib/apiary --set tsdb.retention=2y\n"
    "  apiary import prometheus /var/lib/prometheus --from 2026-01-01 --match '{job=\"node\"}'\n";

/* The command line, as it was read. */
struct arguments {
    const char *config_file;
    const char *data;
    const char *from;
    const char *to;
    struct cli_list matches;
    struct cli_list settings;
    uint64_t memory_mib;
    bool is_dry_run;
    bool is_verify_only;
    bool is_json;
};

/* What that comes to. */
struct importing {
    const struct arguments *arguments;
    const char *dir;
    struct config *config;
    struct handover_link *link; /* to the server that runs on the data directory; NULL: none does */
    int64_t from_ms;
    int64_t to_ms;
    struct matchers *selectors; /* owned */
    size_t selector_count;
    struct ap_buf selectors_text;
    struct import_text text;
    int64_t began_us; /* monotonic */
};

/* ---- The command line ---- */

static bool parse_time(const char *text, int64_t *ret_ms)
{
    char *end;
    errno = 0;
    double seconds = strtod(text, &end);
    int64_t wall_us;
    if (*text && *end == '\0' && errno == 0 && seconds > -1e11 && seconds < 1e11) {
        *ret_ms = (int64_t)(seconds * 1000);
        return true;
    }
    AP_AUTO_FREE char *with_time = ap_asprintf("%s%s", text, strlen(text) == 10 ? "T00:00:00Z" : "");
    if (!ap_time_parse(ap_slice_cstr(with_time), &wall_us))
        return false;
    *ret_ms = wall_us / AP_US_PER_MS;
    return true;
}

static enum ap_rc read_times(struct importing *importing, struct ap_err *err)
{
    const struct arguments *arguments = importing->arguments;
    importing->from_ms = INT64_MIN;
    importing->to_ms = INT64_MAX;
    if (arguments->from && !parse_time(arguments->from, &importing->from_ms))
        return ap_fail(err, AP_E_PARSE, "--from wants a time, not '%s'", arguments->from);
    if (arguments->to && !parse_time(arguments->to, &importing->to_ms))
        return ap_fail(err, AP_E_PARSE, "--to wants a time, not '%s'", arguments->to);
    if (importing->from_ms > importing->to_ms)
        return ap_fail(err, AP_E_PARSE, "--from is behind --to");
    return AP_OK;
}

static enum ap_rc read_selectors(struct importing *importing, struct ap_err *err)
{
    const struct cli_list *matches = &importing->arguments->matches;
    importing->selectors = ap_new0_array(struct matchers, matches->count + 1);
    for (size_t i = 0; i < matches->count; i++) {
        enum ap_rc rc = matchers_parse(ap_slice_cstr(matches->items[i]), &importing->selectors[i], err);
        if (rc != AP_OK)
            return ap_err_prefix(err, "--match '%s'", matches->items[i]);
        importing->selector_count++;
        ap_buf_add(&importing->selectors_text, matches->items[i], strlen(matches->items[i]) + 1);
    }
    return AP_OK;
}

static enum ap_rc read_config(struct importing *importing, struct ap_err *err)
{
    const struct arguments *arguments = importing->arguments;
    struct config_flag flags[CLI_LIST_MAX + 1];
    char *keys[CLI_LIST_MAX] = {0};
    size_t count = 0;
    enum ap_rc rc = AP_OK;
    if (arguments->data)
        flags[count++] = (struct config_flag){"data", arguments->data};
    for (size_t i = 0; i < arguments->settings.count && rc == AP_OK; i++) {
        const char *item = arguments->settings.items[i], *equals = strchr(item, '=');
        if (!equals) {
            rc = ap_fail(err, AP_E_PARSE, "--set wants KEY=VALUE, not '%s'", item);
            break;
        }
        keys[i] = ap_strndup(item, (size_t)(equals - item));
        flags[count++] = (struct config_flag){keys[i], equals + 1};
    }
    if (rc == AP_OK)
        rc = config_load(flags, count, arguments->config_file, (const char *const *)environ, &importing->config, err);
    for (size_t i = 0; i < AP_ARRAY_COUNT(keys); i++)
        free(keys[i]);
    return rc;
}

/* ---- Before it begins ---- */

/* What the store has already. */
struct stored {
    int64_t newest_ms; /* INT64_MIN: nothing */
    uint64_t block_bytes;
};

/* What is past retention would be taken away by the server's next look: then it is not worth taking in. */
static enum ap_rc check_retention(const struct importing *importing, const struct history_facts *facts,
                                  const struct stored *stored, struct ap_err *err)
{
    int64_t retention_ms = importing->config->tsdb.retention;
    if (retention_ms == 0 || facts->unit_count == 0)
        return AP_OK;
    int64_t newest_ms = AP_MAX(stored->newest_ms, facts->last_ts_ms);
    int64_t kept_ms = newest_ms - retention_ms;
    if (facts->first_ts_ms >= kept_ms)
        return AP_OK;
    char first[32], kept[32], from[AP_TIME_TEXT_BYTES];
    tsdb_store_format_time(facts->first_ts_ms, first);
    tsdb_store_format_time(kept_ms, kept);
    ap_time_format(kept_ms * AP_US_PER_MS + AP_US_PER_S - 1, from);
    int64_t days = (newest_ms - facts->first_ts_ms) / AP_MS_PER_DAY + 1;
    return ap_fail(err, AP_E_LIMIT,
                   "samples from %s to %s UTC are older than tsdb.retention (%" PRId64
                   " days%s) and would be removed at once. Set tsdb.retention to at least %" PRId64
                   "d%s, or leave them out with --from %.19sZ",
                   first, kept, retention_ms / AP_MS_PER_DAY, importing->link ? " in the server that runs" : "", days,
                   importing->link ? " in its configuration and start it anew" : ", for the server as well", from);
}

static void warn_of_size(struct importing *importing, const struct history_facts *facts, const struct stored *stored)
{
    uint64_t limit = (uint64_t)importing->config->tsdb.retention_size;
    if (limit && stored->block_bytes + facts->block_bytes + facts->head.bytes > limit)
        import_text_say(&importing->text,
                        "warning: with this there may be more than tsdb.retention_size (%" PRIu64
                        " MiB), and the server removes the oldest blocks",
                        limit >> 20);
}

static enum ap_rc check(struct importing *importing, const struct history_facts *facts, const struct stored *stored,
                        struct ap_err *err)
{
    if (importing->arguments->is_verify_only)
        return AP_OK;
    enum ap_rc rc = check_retention(importing, facts, stored, err);
    if (rc == AP_OK)
        warn_of_size(importing, facts, stored);
    return rc;
}

/* ---- Doing it ---- */

static enum ap_rc run(const struct importing *importing, struct history_import *import,
                      const struct history_store *store, struct import_outcome *outcome, struct ap_err *err)
{
    if (importing->arguments->is_verify_only)
        return AP_OK;
    outcome->has_imported = true;
    return history_import_run(import, store, &outcome->report, err);
}

static enum ap_rc verify(struct importing *importing, struct history_import *import, struct tsdb *tsdb,
                         struct import_outcome *outcome, struct ap_err *err)
{
    enum ap_rc rc =
        history_import_verify(import, tsdb, import_text_difference, &importing->text, &outcome->verification, err);
    outcome->has_verified = rc == AP_OK;
    return rc;
}

/* No server runs. */
static enum ap_rc with_store(struct importing *importing, struct history_import *import, struct import_outcome *outcome,
                             struct ap_err *err)
{
    struct import_store store;
    struct tsdb_stats stats;
    enum ap_rc rc = import_store_open(importing->config, import_text_trouble, &importing->text, &store, err);
    if (rc == AP_OK) {
        tsdb_stats_get(store.tsdb, &stats);
        const struct stored stored = {tsdb_newest_ms(store.tsdb), stats.block_bytes};
        rc = check(importing, &outcome->facts, &stored, err);
    }
    const struct history_store local = history_store_local(store.tsdb);
    if (rc == AP_OK)
        rc = run(importing, import, &local, outcome, err);
    if (rc == AP_OK)
        rc = verify(importing, import, store.tsdb, outcome, err);
    import_store_close(&store);
    return rc;
}

/* What the server gives out is what is in its blocks and its head: a copy of these is compared, and costs it nothing.
 */
static enum ap_rc verify_snapshot(struct importing *importing, struct history_import *import,
                                  struct import_outcome *outcome, struct ap_err *err)
{
    AP_AUTO_FREE char *dir = ap_asprintf("%s/tsdb/import/snapshot", importing->config->data);
    struct import_store store = {.data_fd = -1, .lock_fd = -1, .wal_fd = -1};
    enum ap_rc rc = handover_link_snapshot(importing->link, outcome->facts.last_ts_ms, err);
    if (rc != AP_OK)
        return rc;
    rc = import_store_open_snapshot(dir, import_text_trouble, &importing->text, &store, err);
    if (rc == AP_OK)
        rc = verify(importing, import, store.tsdb, outcome, err);
    import_store_close(&store);
    handover_link_release(importing->link);
    return rc;
}

static enum ap_rc with_server(struct importing *importing, struct history_import *import,
                              struct import_outcome *outcome, struct ap_err *err)
{
    const struct handover_facts *facts = handover_link_facts(importing->link);
    const struct stored stored = {facts->newest_ms, facts->block_bytes};
    const struct history_store store = handover_link_store(importing->link);
    enum ap_rc rc = check(importing, &outcome->facts, &stored, err);
    if (rc == AP_OK)
        rc = history_import_lock(import, err);
    if (rc == AP_OK)
        rc = run(importing, import, &store, outcome, err);
    return rc == AP_OK ? verify_snapshot(importing, import, outcome, err) : rc;
}

/* ---- Beside a server ---- */

static void say_waiting(void *context)
{
    struct importing *importing = context;
    import_text_say(&importing->text, "the server is gone; waiting a minute for it");
}

/* Is there one? Then its settings count, and it goes first. */
static enum ap_rc find_server(struct importing *importing, struct ap_err *err)
{
    struct config *config = importing->config;
    enum ap_rc rc = handover_link_open(config->data, say_waiting, importing, &importing->link, err);
    if (rc != AP_OK)
        return rc == AP_E_NOT_FOUND ? AP_OK : rc;
    const struct handover_facts *facts = handover_link_facts(importing->link);
    config->tsdb.retention = facts->retention_ms;
    config->tsdb.retention_size = (int64_t)facts->retention_bytes;
    config->tsdb.block_range = facts->block_range_ms;
    (void)setpriority(PRIO_PROCESS, 0, NICENESS);
    import_text_say(&importing->text, "a server runs on %s (process %" PRIu64 "): it goes on", config->data,
                    facts->process_id);
    return AP_OK;
}

static unsigned thread_count(const struct importing *importing)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return (unsigned)AP_MIN(AP_MAX(importing->link ? cores / 2 : cores, 1L), (long)THREADS_MAX);
}

/* What has to stay free on the disk, since a server's log is on it. */
static uint64_t free_bytes_min(const struct importing *importing)
{
    struct statvfs disk;
    if (!importing->link || statvfs(importing->config->data, &disk) != 0)
        return 0;
    return AP_MIN((uint64_t)disk.f_blocks * disk.f_frsize / FREE_PART, FREE_BYTES_MAX);
}

/* ---- All of it ---- */

static void tell_outcome(struct importing *importing, struct import_outcome *outcome)
{
    outcome->seconds = (double)(ap_clock_monotonic_us(&ap_clock_system) - importing->began_us) / 1e6;
    import_text_outcome(&importing->text, importing->dir, outcome);
}

static enum ap_rc import_prometheus(struct importing *importing, struct import_outcome *outcome, struct ap_err *err)
{
    const struct arguments *arguments = importing->arguments;
    const struct config *config = importing->config;
    enum ap_rc rc = find_server(importing, err);
    if (rc != AP_OK)
        return rc;
    AP_AUTO_FREE char *tsdb_dir = ap_asprintf("%s/tsdb", config->data);
    int64_t unit_ms_max = INT64_C(31) * AP_MS_PER_DAY; /* as the server merges */
    if (config->tsdb.retention)
        unit_ms_max = AP_MIN(unit_ms_max, config->tsdb.retention / 10);
    const struct history_import_options options = {
        .dir = importing->dir,
        .tsdb_dir = tsdb_dir,
        .clock = &ap_clock_system,
        .from_ms = importing->from_ms,
        .to_ms = importing->to_ms,
        .selectors = importing->selectors,
        .selector_count = importing->selector_count,
        .selectors_text = ap_buf_slice(&importing->selectors_text),
        .memory_bytes = (size_t)arguments->memory_mib << 20,
        .thread_count = thread_count(importing),
        .block_range_ms = config->tsdb.block_range,
        .unit_ms_max = unit_ms_max,
        .free_bytes_min = free_bytes_min(importing),
        .progress = import_text_progress,
        .trouble = import_text_trouble,
        .context = &importing->text,
    };
    AP_AUTO(history_import) struct history_import *import = NULL;
    rc = history_import_open(&options, &import, err);
    if (rc != AP_OK)
        return rc;
    history_import_facts(import, &outcome->facts);
    import_text_facts(&importing->text, importing->dir, &outcome->facts);
    struct ap_err warning;
    if (!arguments->is_dry_run)
        rc = importing->link ? with_server(importing, import, outcome, err)
                             : with_store(importing, import, outcome, err);
    else if (check_retention(importing, &outcome->facts, &(struct stored){INT64_MIN, 0}, &warning) != AP_OK)
        import_text_say(&importing->text, "%s", warning.text);
    outcome->damages = history_import_damages(import);
    if (rc == AP_OK)
        tell_outcome(importing, outcome);
    return rc;
}

static int import_with(const struct cli_command *command, const struct arguments *arguments, const char *dir)
{
    struct importing importing = {.arguments = arguments, .dir = dir};
    struct import_outcome outcome = {0};
    struct ap_err err;
    int exit_code = CLI_DONE;
    importing.began_us = ap_clock_monotonic_us(&ap_clock_system);
    import_text_init(&importing.text, arguments->is_json);
    enum ap_rc rc = read_times(&importing, &err);
    if (rc == AP_OK)
        rc = read_selectors(&importing, &err);
    if (rc == AP_OK)
        rc = read_config(&importing, &err);
    if (rc != AP_OK)
        exit_code = cli_misused(command, "%s", err.text);
    if (rc == AP_OK) {
        rc = import_prometheus(&importing, &outcome, &err);
        if (rc != AP_OK)
            import_text_say(&importing.text, "%s%s", err.text,
                            rc == AP_E_FULL ? ": what was imported stays; make room and run it again" : "");
        exit_code = rc == AP_OK && import_outcome_is_clean(&outcome) ? CLI_DONE : CLI_FAILED;
    }
    for (size_t i = 0; i < importing.selector_count; i++)
        matchers_clear(&importing.selectors[i]);
    free(importing.selectors);
    ap_buf_clear(&importing.selectors_text);
    config_free(importing.config);
    handover_link_close(importing.link);
    import_text_clear(&importing.text);
    return exit_code;
}

int cli_import(int argc, char **argv)
{
    struct arguments arguments = {.memory_mib = MEMORY_MIB};
    const struct cli_option options[] = {
        {"data", 0, CLI_OPTION_TEXT, "DIR", &arguments.data, "data directory of Apiary (default: data)"},
        {"config", 'c', CLI_OPTION_TEXT, "FILE", &arguments.config_file, "the server's configuration file (YAML)"},
        {"set", 0, CLI_OPTION_LIST, "KEY=VALUE", &arguments.settings, "any setting, may be repeated"},
        {"from", 0, CLI_OPTION_TEXT, "TIME", &arguments.from, "leave out what is older"},
        {"to", 0, CLI_OPTION_TEXT, "TIME", &arguments.to, "leave out what is newer"},
        {"match", 0, CLI_OPTION_LIST, "SELECTOR", &arguments.matches,
         "only series that match, may be repeated: they match one of them"},
        {"memory", 0, CLI_OPTION_NUMBER, "MIB", &arguments.memory_mib,
         "for samples of the write-ahead log (default: 256); beside it about\n1 KiB for each series is needed"},
        {"dry-run", 0, CLI_OPTION_FLAG, NULL, &arguments.is_dry_run, "say what is there, and import nothing"},
        {"verify-only", 0, CLI_OPTION_FLAG, NULL, &arguments.is_verify_only,
         "import nothing, compare what was imported"},
        {"json", 0, CLI_OPTION_FLAG, NULL, &arguments.is_json, "for programs"},
    };
    const struct cli_command command = {
        .name = "import",
        .arguments = "prometheus DIR",
        .summary = "Takes in the history that a Prometheus has.",
        .details = import_details,
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    /* What and from where come first on the command line. */
    const char *words[2] = {NULL, NULL};
    size_t word_count = 0;
    while (word_count < AP_ARRAY_COUNT(words) && argc > 1 && argv[1][0] != '-') {
        words[word_count++] = argv[1];
        argc--, argv++;
    }
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    for (; argv[first]; first++) {
        if (word_count == AP_ARRAY_COUNT(words))
            return cli_misused(&command, "too many arguments: '%s'", argv[first]);
        words[word_count++] = argv[first];
    }
    if (word_count == 0 || strcmp(words[0], "prometheus") != 0)
        return cli_misused(&command, "say what to import: 'apiary import prometheus DIR'");
    if (word_count < 2)
        return cli_misused(&command, "say from where: the directory that --storage.tsdb.path of Prometheus names");
    if (arguments.is_dry_run && arguments.is_verify_only)
        return cli_misused(&command, "--dry-run and --verify-only exclude each other");
    if (arguments.memory_mib == 0 || arguments.memory_mib > 1 << 20)
        return cli_misused(&command, "--memory is from 1 to 1048576 MiB");
    return import_with(&command, &arguments, words[1]);
}
