/* apiary collect: what a collector says at this moment, as a scrape would see it. */
#include "cli/collect.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "codec/exposition.h"
#include "collect/host.h"
#include "collect/probe.h"

enum { DEADLINE_MS = 60 * 1000 };

/* ---- Printing ---- */

static const char *type_name(enum exposition_type type)
{
    switch (type) {
    case EXPOSITION_COUNTER:
        return "counter";
    case EXPOSITION_GAUGE:
        return "gauge";
    case EXPOSITION_HISTOGRAM:
        return "histogram";
    case EXPOSITION_SUMMARY:
        return "summary";
    default:
        return "untyped";
    }
}

static void add_json_labels(struct ap_buf *out, const struct exposition_entry *entry)
{
    ap_buf_add_char(out, '{');
    for (size_t i = 0; i < entry->label_count; i++) {
        if (i)
            ap_buf_add_char(out, ',');
        ap_buf_add_json_string(out, entry->labels[i].name);
        ap_buf_add_char(out, ':');
        ap_buf_add_json_string(out, entry->labels[i].value);
    }
    ap_buf_add_char(out, '}');
}

/* A string, as in Prometheus' API: JSON has no infinity. */
static void add_json_value(struct ap_buf *out, double value)
{
    ap_buf_add_cstr(out, ",\"value\":\"");
    if (isfinite(value))
        ap_buf_add_json_double(out, value);
    else
        ap_buf_add_cstr(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
    ap_buf_add_cstr(out, "\"}");
}

/* A list of families, each with its samples. */
static void add_json(struct ap_buf *out, struct ap_slice text)
{
    AP_AUTO(exposition) struct exposition *parser = exposition_new();
    struct exposition_entry entry;
    AP_AUTO_BUF struct ap_buf help = {0};
    bool is_first_family = true, is_first_sample = true;
    exposition_begin(parser, EXPOSITION_TEXT, text);
    ap_buf_add_char(out, '[');
    for (enum exposition_kind kind; (kind = exposition_next(parser, &entry)) != EXPOSITION_END;) {
        if (kind == EXPOSITION_HELP) {
            ap_buf_reset(&help);
            ap_buf_add_slice(&help, entry.text);
        } else if (kind == EXPOSITION_TYPE) {
            ap_buf_add_cstr(out, is_first_family ? "{\"name\":" : "]},\n {\"name\":");
            ap_buf_add_json_string(out, entry.name);
            ap_buf_printf(out, ",\"type\":\"%s\",\"help\":", type_name(entry.type));
            ap_buf_add_json_string(out, ap_buf_slice(&help));
            ap_buf_add_cstr(out, ",\"samples\":[");
            is_first_family = false;
            is_first_sample = true;
        } else if (kind == EXPOSITION_SAMPLE) {
            ap_buf_add_cstr(out, is_first_sample ? "{\"name\":" : ",{\"name\":");
            ap_buf_add_json_string(out, entry.name);
            ap_buf_add_cstr(out, ",\"labels\":");
            add_json_labels(out, &entry);
            add_json_value(out, entry.value);
            is_first_sample = false;
        }
    }
    ap_buf_add_cstr(out, is_first_family ? "]\n" : "]}]\n");
}

static void print(struct ap_slice text, bool is_json)
{
    AP_AUTO_BUF struct ap_buf json = {0};
    if (is_json) {
        add_json(&json, text);
        text = ap_buf_slice(&json);
    }
    fwrite(text.data, 1, text.bytes, stdout);
}

int collect_run(const struct collector *collector, const struct collector_request *request, bool is_json)
{
    AP_AUTO_BUF struct ap_buf text = {0};
    struct ap_err err;
    if (collector->collect(collector->context, request, &text, &err) != AP_OK) {
        fprintf(stderr, "apiary collect %s: %s\n", collector->name, err.text);
        return CLI_FAILED;
    }
    print(ap_buf_slice(&text), is_json);
    return CLI_DONE;
}

static int64_t deadline_us(void)
{
    return ap_clock_monotonic_us(&ap_clock_system) + (int64_t)DEADLINE_MS * AP_US_PER_MS;
}

/* ---- host ---- */

static int collect_host(int argc, char **argv)
{
    bool is_json = false;
    struct cli_list only = {0};
    struct host_options host_options = {0};
    const struct cli_option options[] = {
        {"only", 'o', CLI_OPTION_LIST, "PART", &only, "this part alone, such as cpu; may be given several times"},
        {"proc", 0, CLI_OPTION_TEXT, "DIR", &host_options.proc_path, "read this in place of /proc"},
        {"sys", 0, CLI_OPTION_TEXT, "DIR", &host_options.sys_path, "read this in place of /sys"},
        {"root", 0, CLI_OPTION_TEXT, "DIR", &host_options.root_path, "where / of the machine is seen from here"},
        {"textfile", 0, CLI_OPTION_TEXT, "DIR", &host_options.textfile_path, "say what is in its files NAME.prom, too"},
        {"json", 0, CLI_OPTION_FLAG, NULL, &is_json, "for programs"},
    };
    const struct cli_command command = {
        .name = "collect host",
        .summary = "Prints what the collector `host` says of this machine, in the names of node_exporter.",
        .details = "Example:\n  apiary collect host --only meminfo --only pressure\n",
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    if (first != argc)
        return cli_misused(&command, "'%s' is too much", argv[first]);
    struct label params[CLI_LIST_MAX];
    for (size_t i = 0; i < only.count; i++)
        params[i] = (struct label){AP_SLICE_LITERAL("collect[]"), ap_slice_cstr(only.items[i])};
    AP_AUTO(host) struct host *host = NULL;
    struct ap_err err;
    if (host_open(&host_options, &host, &err) != AP_OK) {
        fprintf(stderr, "apiary collect host: %s\n", err.text);
        return CLI_FAILED;
    }
    const struct collector collector = {"host", host_collect, host};
    const struct collector_request request = {
        .params = params, .param_count = only.count, .deadline_monotonic_us = deadline_us()};
    return collect_run(&collector, &request, is_json);
}

/* ---- probe ---- */

static int collect_probe(int argc, char **argv)
{
    bool is_json = false, is_debug = false;
    const char *target = NULL, *module = "http_2xx", *modules_path = NULL;
    const struct cli_option options[] = {
        {"target", 't', CLI_OPTION_TEXT, "TARGET", &target, "a URL, or an address with or without port"},
        {"module", 'm', CLI_OPTION_TEXT, "NAME", &module, "how to probe (default: http_2xx)"},
        {"modules", 0, CLI_OPTION_TEXT, "FILE", &modules_path,
         "blackbox_exporter's file of modules; without it:\nhttp_2xx, http_post_2xx, tcp_connect, icmp, dns"},
        {"debug", 'd', CLI_OPTION_FLAG, NULL, &is_debug, "also say what was done, step by step"},
        {"json", 0, CLI_OPTION_FLAG, NULL, &is_json, "for programs"},
    };
    const struct cli_command command = {
        .name = "collect probe",
        .summary =
            "Probes a target once and prints what the collector `probe` says, in the names of blackbox_exporter.",
        .details = "A probe that failed is an answer too: probe_success is 0, and the exit status is 0.\n\n"
                   "Example:\n  apiary collect probe --target https://example.com --debug\n",
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    if (first != argc)
        return cli_misused(&command, "'%s' is too much", argv[first]);
    if (!target)
        return cli_misused(&command, "--target is needed");
    if (is_json && is_debug)
        return cli_misused(&command, "--json and --debug do not go together");
    AP_AUTO(probes) struct probes *probes = NULL;
    AP_AUTO_BUF struct ap_buf text = {0};
    struct ap_err err;
    const struct probe_request request = {.target = ap_slice_cstr(target),
                                          .module = ap_slice_cstr(module),
                                          .deadline_monotonic_us = deadline_us(),
                                          .is_debug = is_debug};
    if (probes_open(modules_path, "Apiary/" APIARY_VERSION, &probes, &err) != AP_OK ||
        probes_run(probes, &request, &text, &err) != AP_OK) {
        fprintf(stderr, "apiary collect probe: %s\n", err.text);
        return CLI_FAILED;
    }
    print(ap_buf_slice(&text), is_json);
    return CLI_DONE;
}

int cli_collect(int argc, char **argv)
{
    const struct cli_command command = {
        .name = "collect",
        .arguments = "host|postgres|probe [OPTION]...",
        .summary = "Prints what a collector says at this moment, as a scrape would see it.",
        .details = "Collectors:\n"
                   "  host      this machine\n"
                   "  postgres  a PostgreSQL server\n"
                   "  probe     somebody else, over HTTP, TCP, DNS or ICMP\n\n"
                   "'apiary collect host --help' says more.\n\n"
                   "Examples:\n"
                   "  apiary collect host --only cpu\n"
                   "  apiary collect postgres --connection postgresql://monitor@db1/postgres\n"
                   "  apiary collect probe --target https://example.com\n",
    };
    if (argc > 1 && strcmp(argv[1], "host") == 0)
        return collect_host(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "postgres") == 0)
        return cli_collect_postgres(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "probe") == 0)
        return collect_probe(argc - 1, argv + 1);
    int first, exit_code;
    if (!cli_parse(&command, argc, argv, &first, &exit_code))
        return exit_code;
    if (first == argc)
        return cli_misused(&command, "which collector?");
    return cli_misused(&command, "there is no collector '%s'", argv[first]);
}
