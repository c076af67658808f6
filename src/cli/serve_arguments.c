#include "cli/serve_arguments.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "cli/options.h"

static const char serve_details[] =
    "Every setting can stand in the configuration file, in the environment (APIARY_WAL_MAX_SIZE for wal.max_size) and, "
    "by\n"
    "--set, on the command line, which goes first. docs/configuration.md has them all.\n"
    "\n"
    "Signals: SIGHUP reads keys, rule files, alerting.config, scrape.config and heartbeats again, SIGTERM and SIGINT\n"
    "answer what is under way and end.\n"
    "\n"
    "Examples:\n"
    "  apiary serve --open --pack packs/hive\n"
    "  apiary serve --open --scrape prometheus.yml\n"
    "  apiary serve --config apiary.yaml --listen 0.0.0.0:8484 --set wal.max_size=8GiB\n";

enum { FLAGS_MAX = CLI_LIST_MAX + 8 };

struct flags {
    struct config_flag items[FLAGS_MAX];
    size_t count;
};

static void add_flag(struct flags *flags, const char *key, const char *value)
{
    if (value)
        flags->items[flags->count++] = (struct config_flag){key, value};
}

/* "a,b" of a list option, or NULL when it was not given. free() it. */
static char *join(const struct cli_list *list)
{
    if (list->count == 0)
        return NULL;
    AP_AUTO_BUF struct ap_buf joined = {0};
    for (size_t i = 0; i < list->count; i++)
        ap_buf_printf(&joined, "%s%s", i ? "," : "", list->items[i]);
    return ap_buf_detach(&joined);
}

static void print_config(const struct config *config)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    config_print(config, &text);
    printf("%.*s", AP_SLICE_ARG(ap_buf_slice(&text)));
}

bool serve_arguments_read(int argc, char **argv, struct config **ret_config, int *ret_exit_code)
{
    const char *file = NULL, *data = NULL, *scrape = NULL, *alerting = NULL;
    struct cli_list listen = {0}, otlp_listen = {0}, packs = {0}, rules = {0}, settings = {0};
    bool is_open = false, is_print = false;
    const struct cli_option options[] = {
        {"config", 'c', CLI_OPTION_TEXT, "FILE", &file, "configuration file (YAML)"},
        {"data", 0, CLI_OPTION_TEXT, "DIR", &data, "data directory (default: data)"},
        {"listen", 0, CLI_OPTION_LIST, "ADDRESS", &listen,
         "address and port, may be repeated\n(default: 127.0.0.1:8484)"},
        {"otlp-listen", 0, CLI_OPTION_LIST, "ADDRESS", &otlp_listen,
         "for OpenTelemetry alone, may be repeated; '' is none\n(default: 127.0.0.1:4318, if it is free)"},
        {"pack", 0, CLI_OPTION_LIST, "DIR", &packs, "pack to load, may be repeated"},
        {"rules", 0, CLI_OPTION_LIST, "FILE", &rules, "rule file or pattern ('rules/*.yml'), may be repeated"},
        {"scrape", 0, CLI_OPTION_TEXT, "FILE", &scrape, "Prometheus' configuration: its scrape_configs are scraped"},
        {"alerting", 0, CLI_OPTION_TEXT, "FILE", &alerting,
         "Alertmanager's configuration: who is told of which alerts"},
        {"open", 0, CLI_OPTION_FLAG, NULL, &is_open, "ask for no keys; only on loopback addresses"},
        {"set", 0, CLI_OPTION_LIST, "KEY=VALUE", &settings, "any setting, may be repeated"},
        {"print-config", 0, CLI_OPTION_FLAG, NULL, &is_print, "show the settings in effect, and where each came from"},
    };
    const struct cli_command command = {
        .name = "serve",
        .summary = "Takes data in, keeps it, answers questions, shows pages.",
        .details = serve_details,
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    int first;
    if (!cli_parse(&command, argc, argv, &first, ret_exit_code))
        return false;

    struct flags flags = {0};
    AP_AUTO_FREE char *listen_text = join(&listen);
    AP_AUTO_FREE char *otlp_listen_text = join(&otlp_listen);
    AP_AUTO_FREE char *packs_text = join(&packs);
    AP_AUTO_FREE char *rules_text = join(&rules);
    add_flag(&flags, "data", data);
    add_flag(&flags, "listen", listen_text);
    add_flag(&flags, "otlp.listen", otlp_listen_text);
    add_flag(&flags, "pack", packs_text);
    add_flag(&flags, "rules.files", rules_text);
    add_flag(&flags, "scrape.config", scrape);
    add_flag(&flags, "alerting.config", alerting);
    add_flag(&flags, "open", is_open ? "true" : NULL);
    char *keys[CLI_LIST_MAX] = {0};
    bool is_fine = true;
    for (size_t i = 0; i < settings.count && is_fine; i++) {
        const char *equals = strchr(settings.items[i], '=');
        is_fine = equals != NULL;
        if (is_fine) {
            keys[i] = ap_strndup(settings.items[i], (size_t)(equals - settings.items[i]));
            add_flag(&flags, keys[i], equals + 1);
        } else {
            *ret_exit_code = cli_misused(&command, "--set wants KEY=VALUE, not '%s'", settings.items[i]);
        }
    }

    AP_AUTO(config) struct config *config = NULL;
    struct ap_err err;
    if (is_fine && (config_load(flags.items, flags.count, file, (const char *const *)environ, &config, &err) != AP_OK ||
                    config_check(config, &err) != AP_OK)) {
        *ret_exit_code = cli_misused(&command, "%s", err.text);
        is_fine = false;
    }
    for (size_t i = 0; i < settings.count; i++)
        free(keys[i]);
    if (is_fine && is_print) {
        print_config(config);
        *ret_exit_code = CLI_DONE;
        is_fine = false;
    }
    if (is_fine)
        *ret_config = AP_MOVE(config);
    return is_fine;
}
