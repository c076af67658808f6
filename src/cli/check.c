/* apiary check: everything that can be known about a configuration and packs without serving. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/check_warehouse.h"
#include "cli/commands.h"
#include "cli/config.h"
#include "cli/options.h"
#include "cli/serve_postgres.h"
#include "collect/probe_module.h"
#include "pack/pack.h"

struct report {
    bool is_json;
    struct ap_buf json;
    unsigned query_count;
    unsigned error_count;
};

static void add_result(struct report *report, const char *what, const char *error)
{
    report->error_count += error != NULL;
    if (!report->is_json) {
        if (error)
            fprintf(stderr, "%s\n", error);
        return;
    }
    ap_buf_add_cstr(&report->json, report->json.bytes ? ",{\"what\":" : "{\"what\":");
    ap_buf_add_json_string(&report->json, ap_slice_cstr(what));
    ap_buf_add_cstr(&report->json, ",\"error\":");
    if (error)
        ap_buf_add_json_string(&report->json, ap_slice_cstr(error));
    else
        ap_buf_add_cstr(&report->json, "null");
    ap_buf_add_char(&report->json, '}');
}

static void report_query(const struct pack *pack, const char *what, const char *error, void *context)
{
    (void)pack;
    struct report *report = context;
    report->query_count++;
    add_result(report, what, error);
}

static void check_packs(const struct pack *const *packs, size_t pack_count, struct report *report)
{
    AP_AUTO(check_warehouse) struct check_warehouse *made = NULL;
    struct ap_err err;
    enum ap_rc rc = check_warehouse_open(packs, pack_count, &made, &err);
    if (rc != AP_OK)
        add_result(report, "packs", err.text);
    for (size_t i = 0; i < pack_count && rc == AP_OK; i++)
        (void)!pack_check(packs[i], check_warehouse_of(made), report_query, report, &err);
}

static void check_postgres(const struct config *config, struct report *report)
{
    AP_AUTO(postgres) struct postgres *postgres = NULL;
    struct ap_err err;
    if (serve_postgres_open(config, &postgres, &err) != AP_OK)
        add_result(report, "postgres.connections", err.text);
}

static void check_probes(const char *path, struct report *report)
{
    AP_AUTO(probe_modules) struct probe_modules *modules = NULL;
    struct ap_err err;
    add_result(report, path, probe_modules_load(path, &modules, &err) == AP_OK ? NULL : err.text);
}

static void check_all(const struct config *config, struct report *report)
{
    check_postgres(config, report);
    struct pack *packs[CLI_LIST_MAX] = {0};
    size_t pack_count = 0;
    struct ap_err err;
    for (size_t i = 0; i < config->packs.count && i < CLI_LIST_MAX; i++) {
        if (pack_load(config->packs.items[i], &packs[pack_count], &err) == AP_OK)
            pack_count++;
        else
            add_result(report, config->packs.items[i], err.text);
    }
    if (config->probes.modules)
        check_probes(config->probes.modules, report);
    if (report->error_count == 0)
        check_packs((const struct pack *const *)packs, pack_count, report);
    for (size_t i = 0; i < pack_count; i++)
        pack_free(packs[i]);
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} parts[] = {
    {"alerts", cli_check_alerts}, {"coverage", cli_check_coverage}, {"notify", cli_check_notify},
    {"routes", cli_check_routes}, {"rules", cli_check_rules},       {"scrape", cli_check_scrape},
    {"test", cli_check_test},
};

int cli_check(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < AP_ARRAY_COUNT(parts); i++)
        if (strcmp(argv[1], parts[i].name) == 0)
            return parts[i].run(argc - 1, argv + 1);
    const char *file = NULL;
    struct cli_list packs = {0};
    struct report report = {0};
    const struct cli_option options[] = {
        {"config", 'c', CLI_OPTION_TEXT, "FILE", &file, "configuration file (YAML)"},
        {"pack", 0, CLI_OPTION_LIST, "DIR", &packs, "pack to check, may be repeated\n(default: those of the file)"},
        {"json", 0, CLI_OPTION_FLAG, NULL, &report.is_json, "for programs"},
    };
    const struct cli_command command = {
        .name = "check",
        .summary = "Checks a configuration file and packs without serving: settings, dashboards, every query.",
        .details = "What else can be checked, each with --help of its own:\n"
                   "  apiary check alerts    alerts of packs and rule files in words, and when they would have fired\n"
                   "  apiary check coverage  which metrics of the packs a running server has seen\n"
                   "  apiary check notify    what a receiver is told, and a test of the way to it\n"
                   "  apiary check routes    Alertmanager's configuration file\n"
                   "  apiary check rules     rule files\n"
                   "  apiary check scrape    what is scraped: Prometheus' configuration file\n"
                   "  apiary check test      unit tests of rules\n\n"
                   "Examples:\n  apiary check --config apiary.yaml\n  apiary check --pack packs/hive --json\n"
                   "  apiary check rules alerts.yml\n  apiary check scrape prometheus.yml\n",
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;

    AP_AUTO_BUF struct ap_buf pack_dirs = {0};
    for (size_t i = 0; i < packs.count; i++)
        ap_buf_printf(&pack_dirs, "%s%s", i ? "," : "", packs.items[i]);
    AP_AUTO_FREE char *pack_text = ap_buf_detach(&pack_dirs);
    struct config_flag flag = {"pack", pack_text};
    AP_AUTO(config) struct config *config = NULL;
    struct ap_err err;
    if (config_load(&flag, packs.count > 0, file, (const char *const *)environ, &config, &err) != AP_OK ||
        config_check(config, &err) != AP_OK)
        add_result(&report, file ? file : "settings", err.text);
    else
        check_all(config, &report);
    if (report.is_json)
        printf("{\"ok\":%s,\"results\":[%.*s]}\n", report.error_count ? "false" : "true",
               AP_SLICE_ARG(ap_buf_slice(&report.json)));
    else if (report.error_count == 0)
        printf("good: %zu packs, %u queries\n", config->packs.count, report.query_count);
    ap_buf_clear(&report.json);
    return report.error_count ? CLI_FAILED : CLI_DONE;
}
