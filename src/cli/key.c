#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "meta/keys.h"
#include "meta/meta.h"
#include "os/fs.h"

static const char key_details[] =
    "Commands:\n"
    "  create   make a key and show its token, once\n"
    "  list     show all keys, without their tokens\n"
    "  revoke   end a key, by the id that 'list' shows; a running server notices within a second\n"
    "\n"
    "Kinds:\n"
    "  public    writes only; for browsers and for programs that you ship\n"
    "  secret    writes, from servers of yours: may date back and tell the addresses of clients\n"
    "  viewer    reads: pages and SQL\n"
    "  operator  reads, and changes alerts and silences, beats heart-beats, sends test messages\n"
    "\n"
    "Examples:\n"
    "  apiary key create --kind public --name website --origin https://example.com\n"
    "  apiary key list\n"
    "  apiary key revoke 3\n";

struct key_arguments {
    const char *data;
    const char *kind;
    const char *name;
    struct cli_list origins;
    uint64_t rate;
    uint64_t burst;
    bool is_json;
};

static int failed(const struct ap_err *err)
{
    fprintf(stderr, "apiary key: %s\n", err->text);
    return CLI_FAILED;
}

static int create_key(const struct cli_command *command, struct meta *meta, const struct key_arguments *arguments)
{
    enum key_kind kind;
    if (!arguments->kind || !key_kind_parse(arguments->kind, &kind))
        return cli_misused(command, "create wants --kind public, secret, viewer or operator");
    if (!arguments->name)
        return cli_misused(command, "create wants --name, to know the key by later");
    if (arguments->rate > UINT32_MAX || arguments->burst > UINT32_MAX)
        return cli_misused(command, "--rate and --burst are at most %u", UINT32_MAX);
    AP_AUTO_BUF struct ap_buf origins = {0};
    for (size_t i = 0; i < arguments->origins.count; i++)
        ap_buf_printf(&origins, "%s%s", i ? " " : "", arguments->origins.items[i]);
    AP_AUTO_FREE char *origins_text = ap_buf_detach(&origins);

    struct key_options options = {
        .kind = kind,
        .name = arguments->name,
        .rows_per_second = (uint32_t)arguments->rate,
        .rows_burst = (uint32_t)arguments->burst,
        .origins = origins_text,
    };
    int64_t id;
    char token[KEY_TOKEN_BYTES_MAX];
    struct ap_err err;
    if (key_create(meta, &ap_clock_system, &options, &id, token, &err) != AP_OK)
        return failed(&err);
    if (arguments->is_json)
        printf("{\"id\":%" PRId64 ",\"kind\":\"%s\",\"token\":\"%s\"}\n", id, key_kind_name(kind), token);
    else
        printf("%s\nThis is key %" PRId64 " (%s). It is shown this once; keep it now.\n", token, id,
               key_kind_name(kind));
    return CLI_DONE;
}

/* "2026-11-23 12:00", or "never". */
static void format_minute(int64_t ms, char text[AP_TIME_TEXT_BYTES])
{
    if (ms == 0) {
        snprintf(text, AP_TIME_TEXT_BYTES, "never");
        return;
    }
    ap_time_format(ms * AP_US_PER_MS, text);
    text[10] = ' ';
    text[16] = '\0';
}

static void print_list_json(const struct key_list *list)
{
    AP_AUTO_BUF struct ap_buf out = {0};
    ap_buf_add_cstr(&out, "{\"keys\":[");
    for (size_t i = 0; i < list->count; i++) {
        const struct key_info *key = &list->items[i];
        ap_buf_printf(&out, "%s{\"id\":%" PRId64 ",\"kind\":\"%s\",\"name\":", i ? "," : "", key->id,
                      key_kind_name(key->kind));
        ap_buf_add_json_string(&out, ap_slice_cstr(key->name));
        ap_buf_add_cstr(&out, ",\"hint\":");
        ap_buf_add_json_string(&out, ap_slice_cstr(key->hint));
        ap_buf_add_cstr(&out, ",\"origins\":");
        ap_buf_add_json_string(&out, ap_slice_cstr(key->origins));
        ap_buf_printf(&out,
                      ",\"rows_per_second\":%u,\"rows_burst\":%u,\"created_ms\":%" PRId64 ",\"last_used_ms\":%" PRId64
                      ",\"revoked_ms\":%" PRId64 "}",
                      key->rows_per_second, key->rows_burst, key->created_ms, key->last_used_ms, key->revoked_ms);
    }
    printf("%.*s]}\n", AP_SLICE_ARG(ap_buf_slice(&out)));
}

static void print_list_table(const struct key_list *list)
{
    printf("%4s  %-8s  %-16s  %8s  %-16s  %-16s  %s\n", "id", "kind", "token", "rows/s", "last used", "revoked",
           "name");
    for (size_t i = 0; i < list->count; i++) {
        const struct key_info *key = &list->items[i];
        char used[AP_TIME_TEXT_BYTES], revoked[AP_TIME_TEXT_BYTES], rate[16] = "any";
        format_minute(key->last_used_ms, used);
        format_minute(key->revoked_ms, revoked);
        if (key->rows_per_second)
            snprintf(rate, sizeof(rate), "%u", key->rows_per_second);
        printf("%4" PRId64 "  %-8s  %-16s  %8s  %-16s  %-16s  %s\n", key->id, key_kind_name(key->kind), key->hint, rate,
               used, key->revoked_ms ? revoked : "", key->name);
    }
    if (list->count == 0)
        printf("There are no keys yet; see 'apiary key --help'.\n");
}

static int list_keys(struct meta *meta, bool is_json)
{
    struct key_list list = {0};
    struct ap_err err;
    if (key_list(meta, &list, &err) != AP_OK)
        return failed(&err);
    if (is_json)
        print_list_json(&list);
    else
        print_list_table(&list);
    key_list_clear(&list);
    return CLI_DONE;
}

static int revoke_key(const struct cli_command *command, struct meta *meta, const char *id_text)
{
    char *end = NULL;
    int64_t id = id_text ? strtoll(id_text, &end, 10) : 0;
    if (!id_text || end == id_text || *end != '\0')
        return cli_misused(command, "revoke wants the id of a key, as 'apiary key list' shows it");
    struct ap_err err;
    if (key_revoke(meta, &ap_clock_system, id, &err) != AP_OK)
        return failed(&err);
    return CLI_DONE;
}

int cli_key(int argc, char **argv)
{
    struct key_arguments arguments = {.data = "data"};
    const struct cli_option options[] = {
        {"data", 0, CLI_OPTION_TEXT, "DIR", &arguments.data, "data directory of the server (default: data)"},
        {"kind", 0, CLI_OPTION_TEXT, "KIND", &arguments.kind, "create: public, secret, viewer or operator"},
        {"name", 0, CLI_OPTION_TEXT, "NAME", &arguments.name, "create: what the key is for"},
        {"origin", 0, CLI_OPTION_LIST, "URL", &arguments.origins,
         "create: web origin that may use it; may be repeated (default: any)"},
        {"rate", 0, CLI_OPTION_NUMBER, "ROWS", &arguments.rate,
         "create: rows a second that it may send (default: any)"},
        {"burst", 0, CLI_OPTION_NUMBER, "ROWS", &arguments.burst,
         "create: rows that may come at once (default: ten seconds' worth)"},
        {"json", 0, CLI_OPTION_FLAG, NULL, &arguments.is_json, "for programs"},
    };
    const struct cli_command command = {
        .name = "key",
        .arguments = "create|list|revoke [ID]",
        .summary = "Makes, lists and revokes access keys.",
        .details = key_details,
        .options = options,
        .option_count = AP_ARRAY_COUNT(options),
    };
    /* The verb comes first on the command line, as people say it: key create --kind … */
    const char *verb = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
    int first, exit_code;
    if (!cli_parse(&command, verb ? argc - 1 : argc, verb ? argv + 1 : argv, &first, &exit_code))
        return exit_code;
    const char *argument = (verb ? argv + 1 : argv)[first];
    if (!verb)
        return cli_misused(&command, "say what to do: create, list or revoke");

    /* The first key may well be made before the server first runs. */
    struct ap_err err;
    AP_AUTO_FD int dir_fd = -1;
    if (strcmp(verb, "create") == 0 && os_dir_open(arguments.data, &dir_fd, &err) != AP_OK)
        return failed(&err);
    AP_AUTO_FREE char *path = ap_asprintf("%s/meta.sqlite", arguments.data);
    AP_AUTO(meta) struct meta *meta = NULL;
    if (dir_fd < 0 && access(path, F_OK) != 0)
        return cli_misused(&command, "there is no %s; name the server's data directory by --data", path);
    if (meta_open(path, &meta, &err) != AP_OK)
        return failed(&err);
    if (strcmp(verb, "create") == 0)
        return create_key(&command, meta, &arguments);
    if (strcmp(verb, "list") == 0)
        return list_keys(meta, arguments.is_json);
    if (strcmp(verb, "revoke") == 0)
        return revoke_key(&command, meta, argument);
    return cli_misused(&command, "no such thing to do: '%s'", verb);
}
