/* apiary check scrape: what would be scraped, without serving. */
#include <inttypes.h>
#include <stdio.h>

#include "api/prometheus.h"
#include "base/buf.h"
#include "cli/collectors.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "promql/parser.h"
#include "scrape/manager.h"
#include "tsdb/labels.h"

/* Of one file. */
struct report {
    bool is_json;
    struct ap_buf *targets; /* owned: of each pool, in order */
    size_t pool_count;
    size_t seen;        /* pools that were written */
    struct ap_buf jobs; /* what is said of all pools */
    struct ap_buf alertmanagers;
    struct ap_buf errors; /* lines, or items of a list */
    size_t target_count, error_count;
};

static void report_clear(struct report *report)
{
    for (size_t i = 0; i < report->pool_count; i++)
        ap_buf_clear(&report->targets[i]);
    free(report->targets);
    ap_buf_clear(&report->jobs);
    ap_buf_clear(&report->alertmanagers);
    ap_buf_clear(&report->errors);
}

static void add_json(struct ap_buf *out, const char *before, const char *text)
{
    ap_buf_add_cstr(out, before);
    ap_buf_add_json_string(out, ap_slice_cstr(text));
}

/* For the log while serving; here it is what the check is for. */
static void note_error(const struct ap_err *err, void *context)
{
    struct report *report = context;
    if (report->is_json)
        add_json(&report->errors, report->error_count ? "," : "", err->text);
    else
        ap_buf_printf(&report->errors, "  %s\n", err->text);
    report->error_count++;
}

/* ---- Targets and pools ---- */

static void add_target(const struct report *report, const struct scrape_target *target, struct ap_buf *out)
{
    if (!report->is_json) {
        ap_buf_printf(out, "    %s  ", target->url);
        labels_format_set(target->labels, out);
        ap_buf_add_char(out, '\n');
        return;
    }
    add_json(out, out->bytes ? ",{\"url\":" : "{\"url\":", target->url);
    ap_buf_add_cstr(out, ",\"labels\":");
    labels_format_json(target->labels, out);
    ap_buf_printf(out, ",\"interval_ms\":%" PRId64 ",\"timeout_ms\":%" PRId64 "}", target->interval_ms,
                  target->timeout_ms);
}

/* Stands for the scraper. */
static void note_targets(void *context, const char *pool, const struct scrape_target *const *targets, size_t count)
{
    struct report *report = context;
    (void)pool; /* they come in the order in which they are looked at */
    report->targets = ap_realloc(report->targets, (report->pool_count + 1) * sizeof(*report->targets));
    struct ap_buf *out = &report->targets[report->pool_count++];
    *out = (struct ap_buf){0};
    for (size_t i = 0; i < count; i++)
        add_target(report, targets[i], out);
    report->target_count += count;
}

/* Stands for who tells them. */
static void note_alertmanagers(void *context, const char *entry, const struct scrape_target *const *targets,
                               size_t count)
{
    struct report *report = context;
    struct ap_buf *out = &report->alertmanagers;
    if (!report->is_json)
        ap_buf_printf(out, "  %s: %zu address%s that stand%s in the file\n", entry, count, count == 1 ? "" : "es",
                      count == 1 ? "s" : "");
    for (size_t i = 0; i < count; i++) {
        if (report->is_json)
            add_json(out, out->bytes ? "," : "", targets[i]->url);
        else
            ap_buf_printf(out, "    %s\n", targets[i]->url);
    }
}

static void add_pool_json(const struct scrape_pool_view *pool, struct ap_slice targets, struct ap_buf *out)
{
    add_json(out, out->bytes ? ",{\"name\":" : "{\"name\":", pool->name);
    if (pool->job->collector)
        add_json(out, ",\"collector\":", pool->job->collector);
    ap_buf_printf(out,
                  ",\"interval_ms\":%" PRId64 ",\"timeout_ms\":%" PRId64 ",\"discoveries\":%zu,\"dropped\":%" PRIu64
                  ",\"refused\":%zu,\"targets\":[%.*s]}",
                  pool->job->interval_ms, pool->job->timeout_ms, pool->discovery_count, pool->dropped_count,
                  pool->failure_count, AP_SLICE_ARG(targets));
}

static void add_pool_text(const struct scrape_pool_view *pool, struct ap_slice targets, struct ap_buf *out)
{
    AP_AUTO_BUF struct ap_buf interval = {0};
    promql_print_duration(pool->job->interval_ms, &interval);
    ap_buf_printf(out, "  %s, every %.*s: %zu target%s", pool->name, AP_SLICE_ARG(ap_buf_slice(&interval)),
                  pool->target_count, pool->target_count == 1 ? "" : "s");
    if (pool->job->collector)
        ap_buf_printf(out, ", of the collector %s", pool->job->collector);
    if (pool->discovery_count)
        ap_buf_printf(out, ", and what %zu discover%s find%s while serving", pool->discovery_count,
                      pool->discovery_count == 1 ? "y" : "ies", pool->discovery_count == 1 ? "s" : "");
    if (pool->dropped_count)
        ap_buf_printf(out, "; %" PRIu64 " dropped by relabelling", pool->dropped_count);
    if (pool->is_over_limit)
        ap_buf_add_cstr(out, "; MORE THAN target_limit: none of them would be scraped");
    ap_buf_printf(out, "\n%.*s", AP_SLICE_ARG(targets));
}

static void add_pool(const struct scrape_pool_view *pool, void *context)
{
    struct report *report = context;
    struct ap_slice targets = ap_buf_slice(&report->targets[report->seen++]);
    if (report->is_json)
        add_pool_json(pool, targets, &report->jobs);
    else
        add_pool_text(pool, targets, &report->jobs);
}

/* ---- Files ---- */

static void print_json(const char *path, const struct report *report, const char *ignored)
{
    AP_AUTO_BUF struct ap_buf names = {0};
    add_json(&names, "{\"file\":", path);
    printf("%.*s,\"ok\":%s,\"jobs\":[%.*s],\"ignored\":[", AP_SLICE_ARG(ap_buf_slice(&names)),
           report->error_count ? "false" : "true", AP_SLICE_ARG(ap_buf_slice(&report->jobs)));
    for (struct ap_slice rest = ap_slice_cstr(ignored), key; rest.data && rest.bytes;) {
        key = ap_slice_trim(ap_slice_split(&rest, ','));
        printf("\"%.*s\"%s", AP_SLICE_ARG(key), rest.data ? "," : "");
    }
    printf("],\"alertmanagers\":[%.*s],\"errors\":[%.*s]}\n", AP_SLICE_ARG(ap_buf_slice(&report->alertmanagers)),
           AP_SLICE_ARG(ap_buf_slice(&report->errors)));
}

static void print_text(const char *path, const struct report *report, const char *ignored)
{
    printf("Checking %s\n%.*s%.*s", path, AP_SLICE_ARG(ap_buf_slice(&report->jobs)),
           AP_SLICE_ARG(ap_buf_slice(&report->alertmanagers)));
    if (ignored[0])
        printf("  not read, since it is not about scraping: %s\n", ignored);
    fflush(stdout); /* before what goes to standard error */
    if (report->error_count) {
        fprintf(stderr, "%.*s  FAILED\n", AP_SLICE_ARG(ap_buf_slice(&report->errors)));
        return;
    }
    printf("  SUCCESS: %zu jobs with %zu targets that stand in the file\n", report->pool_count, report->target_count);
}

/* False: something is wrong with it. */
static bool check_file(const char *path, const struct collectors *collectors, bool is_json)
{
    struct report report = {.is_json = is_json};
    const struct scrape_manager_options options = {
        .path = path,
        .collectors = collectors->items,
        .collector_count = collectors->count,
        .clock = &ap_clock_system,
        .sync = note_targets,
        .sync_context = &report,
        .sync_alertmanagers = note_alertmanagers,
        .trouble = note_error,
        .context = &report,
    };
    AP_AUTO(scrape_manager) struct scrape_manager *manager = NULL;
    AP_AUTO_FREE char *ignored = NULL;
    struct ap_err err;
    if (scrape_manager_open(&options, &manager, &err) == AP_OK) {
        scrape_manager_sync(manager);
        scrape_manager_each_pool(manager, add_pool, &report);
        ignored = scrape_manager_ignored(manager);
    } else {
        note_error(&err, &report);
    }
    (is_json ? print_json : print_text)(path, &report, ignored ? ignored : "");
    bool is_good = report.error_count == 0;
    report_clear(&report);
    return is_good;
}

int cli_check_scrape(int argc, char **argv)
{
    bool is_json = false;
    const struct cli_option options[] = {
        {"json", 0, CLI_OPTION_FLAG, NULL, &is_json, "for programs: one object a file"},
    };
    const struct cli_command command = {
        .name = "check scrape",
        .arguments = "FILE...",
        .summary = "Checks Prometheus configuration files, and shows what would be scraped: each job with its static "
                   "targets after relabelling; and the Alertmanagers that alerts would go to.",
        .details = "Example:\n  apiary check scrape prometheus.yml\n",
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    if (first >= argc)
        return cli_misused(&command, "name at least one configuration file");
    struct collectors collectors;
    collectors_init_names(&collectors);
    bool are_good = true;
    for (int i = first; i < argc; i++)
        are_good = check_file(argv[i], &collectors, is_json) && are_good;
    return are_good ? CLI_DONE : CLI_FAILED;
}
